//! The changelog of held changes in all its versions: what Kafka's `TimeOrderedKeyValueBufferChangelogDeserializationHelper`
//! reads becomes the current one.

use super::record_context::{RecordContext, read_sized, take};
use super::suppress_buffer::Held;
use crate::record::Headers;
use crate::serdes::SerdeError;

/// The version that is written; it stands in the header `v` as one byte.
pub(crate) const VERSION: u8 = 3;

/// A record of the changelog with a value.
pub(crate) struct Logged<'a> {
    pub(crate) value: &'a [u8],
    pub(crate) headers: &'a Headers,
    /// Where it stands: what the first version takes for the origin of the change.
    pub(crate) topic: &'a str,
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    pub(crate) timestamp: i64,
}

/// The value in the form of the current version. `before` is what the buffer has for the key, in that form.
///
/// # Errors
/// When it is of no version, or ends early.
pub(crate) fn upgrade(record: &Logged<'_>, before: Option<&[u8]>) -> Result<Vec<u8>, SerdeError> {
    let (held, time) = match record.headers.last("v") {
        None => first(record, before)?,
        Some([1]) => second(record, before)?,
        // Some releases of Java's wrote version 3 under the number 2.
        Some([2]) => third(record.value).or_else(|_| current(record.value))?,
        Some([VERSION]) => current(record.value)?,
        Some(version) => {
            return Err(SerdeError::new(format!(
                "the changelog of a suppressed table has versions 0 to {VERSION}, not {version:?}"
            )));
        }
    };
    let mut bytes = Vec::with_capacity(record.value.len());
    held.write(&mut bytes);
    bytes.extend_from_slice(&time.to_be_bytes());
    Ok(bytes)
}

/// `[time][old][new]`.
fn first(record: &Logged<'_>, before: Option<&[u8]>) -> Result<(Held, i64), SerdeError> {
    let mut bytes = record.value;
    let time = i64::from_be_bytes(take(&mut bytes)?);
    let context = RecordContext {
        timestamp: record.timestamp,
        offset: record.offset,
        topic: record.topic.to_owned(),
        partition: record.partition,
        headers: record.headers.clone(),
    };
    let change = change(bytes)?;
    Ok((with_prior(context, change, before)?, time))
}

/// `[time][context][change]`.
fn second(record: &Logged<'_>, before: Option<&[u8]>) -> Result<(Held, i64), SerdeError> {
    let mut bytes = record.value;
    let time = i64::from_be_bytes(take(&mut bytes)?);
    let context = RecordContext::read(&mut bytes)?;
    let change = change(read_sized(&mut bytes)?.unwrap_or_default())?;
    Ok((with_prior(context, change, before)?, time))
}

/// `[context][change][prior][time]`.
fn third(mut bytes: &[u8]) -> Result<(Held, i64), SerdeError> {
    let context = RecordContext::read(&mut bytes)?;
    let (old, new) = change(read_sized(&mut bytes)?.unwrap_or_default())?;
    let prior = read_sized(&mut bytes)?.map(<[u8]>::to_vec);
    let time = i64::from_be_bytes(take(&mut bytes)?);
    let held = Held {
        context,
        prior,
        old,
        new,
    };
    Ok((held, time))
}

/// `[context][prior][old][new][time]`.
fn current(mut bytes: &[u8]) -> Result<(Held, i64), SerdeError> {
    let held = Held::read(&mut bytes)?;
    Ok((held, i64::from_be_bytes(take(&mut bytes)?)))
}

type Values = (Option<Vec<u8>>, Option<Vec<u8>>);

/// `[old][new]`, each behind its length.
fn change(mut bytes: &[u8]) -> Result<Values, SerdeError> {
    let old = read_sized(&mut bytes)?.map(<[u8]>::to_vec);
    let new = read_sized(&mut bytes)?.map(<[u8]>::to_vec);
    Ok((old, new))
}

fn with_prior(
    context: RecordContext,
    (old, new): Values,
    before: Option<&[u8]>,
) -> Result<Held, SerdeError> {
    let before = before
        .map(|mut before| Held::read(&mut before))
        .transpose()?;
    let prior = match before.and_then(|before| before.prior) {
        Some(prior) => Some(prior),
        None => old.clone(),
    };
    Ok(Held {
        context,
        prior,
        old,
        new,
    })
}
