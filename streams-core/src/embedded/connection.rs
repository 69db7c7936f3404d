//! One client's connection: frames in, one request at a time, frames out.
//!
//! As in Kafka, a request is answered before the next one of the same connection is looked at, so answers are in order.

use std::io::{self, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use kafka_protocol::messages::{ApiKey, RequestHeader, RequestKind, ResponseHeader, ResponseKind};
use kafka_protocol::protocol::{Decodable, Encodable};

use super::api::versions::{api_versions, is_spoken};
use super::server::Shared;

/// The largest request, `socket.request.max.bytes`.
const REQUEST_BYTES_MAX: usize = 100 << 20;
/// The least a request can be: key, version and correlation id.
const REQUEST_BYTES_MIN: usize = 8;
/// A connection that says nothing for so long is closed, `connections.max.idle.ms`.
const IDLE_MAX: Duration = Duration::from_secs(600);
/// A client that does not read its answer for so long is given up.
const WRITE_MAX: Duration = Duration::from_secs(60);
const READ_BUFFER_BYTES: usize = 256 << 10;
/// How much memory a request gets on the word of its length alone.
const REQUEST_BYTES_TRUSTED: usize = 1 << 20;

/// Serves a client until it goes, misbehaves, or the broker shuts down.
///
/// # Errors
/// What ended the connection, unless the client closed it between two requests.
pub(super) fn serve(stream: &TcpStream, shared: &Shared) -> io::Result<()> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(IDLE_MAX))?;
    stream.set_write_timeout(Some(WRITE_MAX))?;
    let client_host = format!("/{}", stream.peer_addr()?.ip());
    let mut reader = BufReader::with_capacity(READ_BUFFER_BYTES, stream);
    let mut writer = stream;
    while let Some(frame) = read_frame(&mut reader)? {
        let request = DecodedRequest::decode(frame)?;
        let response = match request.body {
            None => Some(ResponseKind::ApiVersions(api_versions(request.version))),
            Some(body) => {
                let Some(answer) = shared.ask(
                    request.version,
                    request.client_id,
                    client_host.clone(),
                    body,
                ) else {
                    return Ok(());
                };
                answer.into_response()
            }
        };
        let Some(response) = response else { continue };
        let frame = encode(
            request.api_key,
            request.answer_version,
            request.correlation_id,
            &response,
        )?;
        writer.write_all(&frame)?;
    }
    Ok(())
}

/// A request out of its frame.
struct DecodedRequest {
    api_key: ApiKey,
    version: i16,
    /// The version the answer is written in. It differs from the request's when the client asks for the versions in one
    /// that is not known: then it is 0, which everybody understands (KIP-511).
    answer_version: i16,
    correlation_id: i32,
    client_id: String,
    /// The request itself; none if its version cannot be read.
    body: Option<RequestKind>,
}

impl DecodedRequest {
    fn decode(mut frame: Bytes) -> io::Result<Self> {
        let (key, version, correlation_id) = (
            (&frame[..2]).get_i16(),
            (&frame[2..4]).get_i16(),
            (&frame[4..8]).get_i32(),
        );
        let api_key =
            ApiKey::try_from(key).map_err(|()| invalid(format!("request key {key} is unknown")))?;
        if !is_spoken(api_key, version) {
            if api_key == ApiKey::ApiVersions {
                let client_id = String::new();
                return Ok(Self {
                    api_key,
                    version,
                    answer_version: 0,
                    correlation_id,
                    client_id,
                    body: None,
                });
            }
            return Err(invalid(format!(
                "{api_key:?} in version {version} is not spoken here"
            )));
        }
        let header = RequestHeader::decode(&mut frame, api_key.request_header_version(version));
        let header =
            header.map_err(|error| invalid(format!("bad header of {api_key:?}: {error}")))?;
        let body = RequestKind::decode(api_key, &mut frame, version);
        let body = body
            .map_err(|error| invalid(format!("bad {api_key:?} in version {version}: {error}")))?;
        let client_id = header
            .client_id
            .map(|id| id.to_string())
            .unwrap_or_default();
        Ok(Self {
            api_key,
            version,
            answer_version: version,
            correlation_id,
            client_id,
            body: Some(body),
        })
    }
}

/// The next frame without its length, or `None` if the client closed the connection before it.
fn read_frame(reader: &mut impl Read) -> io::Result<Option<Bytes>> {
    let mut len = [0; 4];
    let read = reader.read(&mut len)?;
    if read == 0 {
        return Ok(None);
    }
    reader.read_exact(&mut len[read..])?;
    let len = usize::try_from(i32::from_be_bytes(len)).unwrap_or(usize::MAX);
    if !(REQUEST_BYTES_MIN..=REQUEST_BYTES_MAX).contains(&len) {
        return Err(invalid(format!(
            "a request of {len} bytes; this port speaks Kafka's protocol without TLS"
        )));
    }
    let mut frame = Vec::with_capacity(len.min(REQUEST_BYTES_TRUSTED));
    reader.take(len as u64).read_to_end(&mut frame)?;
    if frame.len() < len {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(Some(Bytes::from(frame)))
}

fn encode(
    api_key: ApiKey,
    version: i16,
    correlation_id: i32,
    response: &ResponseKind,
) -> io::Result<BytesMut> {
    let mut frame = BytesMut::with_capacity(256);
    frame.put_i32(0);
    let header = ResponseHeader::default().with_correlation_id(correlation_id);
    let encoded = header.encode(&mut frame, api_key.response_header_version(version));
    let encoded = encoded.and_then(|()| response.encode(&mut frame, version));
    encoded.map_err(|error| {
        invalid(format!(
            "cannot answer {api_key:?} in version {version}: {error}"
        ))
    })?;
    let len =
        u32::try_from(frame.len() - 4).map_err(|_| invalid("the answer is too long".to_owned()))?;
    frame[..4].copy_from_slice(&len.to_be_bytes());
    Ok(frame)
}

fn invalid(message: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_bounded_and_complete() {
        assert!(read_frame(&mut &b""[..]).unwrap().is_none());
        assert!(
            read_frame(&mut &b"\0\0\0\x0912345678"[..]).is_err(),
            "one byte short"
        );
        assert!(read_frame(&mut &b"GET / HTTP/1.1"[..]).is_err());
        assert!(read_frame(&mut &b"\xff\xff\xff\xff12345678"[..]).is_err());
        assert_eq!(
            read_frame(&mut &b"\0\0\0\x0812345678rest"[..])
                .unwrap()
                .unwrap(),
            &b"12345678"[..]
        );
    }

    #[test]
    fn an_unknown_version_of_api_versions_is_answered_in_version_0() {
        let frame = Bytes::from_static(b"\x00\x12\x00\x63\x00\x00\x00\x07");
        let request = DecodedRequest::decode(frame).unwrap();
        assert!(request.body.is_none());
        assert_eq!(
            (
                request.answer_version,
                request.correlation_id,
                request.version
            ),
            (0, 7, 99)
        );
    }

    #[test]
    fn anything_else_unknown_is_an_error() {
        assert!(
            DecodedRequest::decode(Bytes::from_static(b"\x7f\x00\x00\x00\x00\x00\x00\x07"))
                .is_err()
        );
        assert!(
            DecodedRequest::decode(Bytes::from_static(b"\x00\x00\x00\x01\x00\x00\x00\x07"))
                .is_err()
        );
        assert!(
            DecodedRequest::decode(Bytes::from_static(b"\x00\x03\x00\x09\x00\x00\x00\x07"))
                .is_err()
        );
    }
}
