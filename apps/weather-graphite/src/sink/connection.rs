//! One TCP connection to carbon.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

pub(super) struct Connection {
    stream: TcpStream,
    timeout: Duration,
    pub(super) since: Instant,
}

impl Connection {
    /// Connects to the first address of the name that answers.
    pub(super) fn open(address: &str, timeout: Duration) -> io::Result<Self> {
        let mut last_error = None;
        for address in address.to_socket_addrs()? {
            match TcpStream::connect_timeout(&address, timeout) {
                Ok(stream) => {
                    stream.set_nodelay(true)?;
                    stream.set_write_timeout(Some(timeout))?;
                    return Ok(Connection {
                        stream,
                        timeout,
                        since: Instant::now(),
                    });
                }
                Err(error) => last_error = Some(error),
            }
        }
        Err(last_error
            .unwrap_or_else(|| io::Error::new(ErrorKind::NotFound, "the name has no address")))
    }

    /// Writes all of it, or fails; then some of it may have arrived.
    pub(super) fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        let end = Instant::now() + self.timeout;
        let mut rest = lines;
        while !rest.is_empty() {
            match self.stream.write(rest) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(count) => rest = &rest[count..],
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    return Err(io::Error::new(
                        ErrorKind::TimedOut,
                        format!("carbon took nothing for {:?}", self.timeout),
                    ));
                }
                Err(error) => return Err(error),
            }
            if !rest.is_empty() && Instant::now() > end {
                return Err(io::Error::new(
                    ErrorKind::TimedOut,
                    format!(
                        "a write of {} bytes took longer than {:?}",
                        lines.len(),
                        self.timeout
                    ),
                ));
            }
        }
        Ok(())
    }

    /// Finds out whether carbon has closed its end. Carbon never sends anything: all one can read is the end.
    pub(super) fn check_alive(&mut self) -> io::Result<()> {
        self.stream.set_nonblocking(true)?;
        let alive = loop {
            match self.stream.read(&mut [0; 256]) {
                Ok(0) => break Err(closed()),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => break Err(error),
            }
        };
        self.stream.set_nonblocking(false)?;
        alive
    }

    /// Says that nothing more comes and waits until carbon closes too, which it does when it has read everything.
    pub(super) fn finish(mut self) -> io::Result<()> {
        self.stream.shutdown(Shutdown::Write)?;
        let end = Instant::now() + self.timeout;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(ErrorKind::TimedOut.into());
            }
            self.stream.set_read_timeout(Some(left))?;
            match self.stream.read(&mut [0; 256]) {
                Ok(0) => return Ok(()),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

fn closed() -> io::Error {
    io::Error::new(ErrorKind::ConnectionAborted, "carbon closed the connection")
}
