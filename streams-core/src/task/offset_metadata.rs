//! What a commit says besides the offset: the partition's stream time and what processors keep there.
//!
//! It is the metadata string of an offset commit, in the form of Kafka Streams' `TopicPartitionMetadata`: base64 of
//! `02 [partition time i64]` and, unless there are none, `[count i32] ([length i32] [name] [value i64])*`.

use std::collections::BTreeMap;

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

/// Writes padding and does not ask for it, as `java.util.Base64`.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// The version that has only the partition time.
const VERSION_TIME: u8 = 1;
/// The version that is written.
const VERSION: u8 = 2;
/// The partition time that says it is not known (Kafka Streams' `RecordQueue.UNKNOWN`).
const UNKNOWN_TIME_MS: i64 = -1;

/// The metadata of one partition's committed offset.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct OffsetMetadata {
    /// The highest timestamp processed in this partition, if any was.
    pub(crate) partition_time_ms: Option<i64>,
    /// What processors keep with the commit, by name: windowed aggregations that emit on close put the time of the last
    /// emission there, under the name of their store.
    pub(crate) processor: BTreeMap<String, i64>,
}

/// What became of a metadata string.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Decoded {
    /// What could be read of it.
    pub(crate) metadata: OffsetMetadata,
    /// Why the rest could not be read, for the caller to warn about.
    pub(crate) warning: Option<String>,
}

impl OffsetMetadata {
    /// The metadata string.
    pub(crate) fn encode(&self) -> String {
        let mut bytes = vec![VERSION];
        let time_ms = self.partition_time_ms.unwrap_or(UNKNOWN_TIME_MS);
        bytes.extend_from_slice(&time_ms.to_be_bytes());
        if !self.processor.is_empty() {
            bytes.extend_from_slice(&java_int(self.processor.len()).to_be_bytes());
            for (name, value) in &self.processor {
                bytes.extend_from_slice(&java_int(name.len()).to_be_bytes());
                bytes.extend_from_slice(name.as_bytes());
                bytes.extend_from_slice(&value.to_be_bytes());
            }
        }
        BASE64.encode(bytes)
    }

    /// What a metadata string says; nothing, with a warning, when it is in no known form.
    ///
    /// The empty string is what a commit without metadata has, and no reason to warn.
    pub(crate) fn decode(text: &str) -> Decoded {
        let mut metadata = OffsetMetadata::default();
        let warning = read(text, &mut metadata).err();
        Decoded { metadata, warning }
    }
}

/// A commit's metadata is limited to kilobytes by the broker, so its lengths fit.
fn java_int(length: usize) -> i32 {
    i32::try_from(length).expect("offset metadata is shorter than 2 GiB")
}

fn read(text: &str, metadata: &mut OffsetMetadata) -> Result<(), String> {
    if text.is_empty() {
        return Ok(());
    }
    let bytes = BASE64
        .decode(text)
        .map_err(|error| format!("offset metadata '{text}' is not base64: {error}"))?;
    let truncated = || format!("offset metadata '{text}' ends too early");
    let (&version, mut rest) = bytes.split_first().ok_or_else(truncated)?;
    if version != VERSION_TIME && version != VERSION {
        return Err(format!(
            "offset metadata '{text}' has version {version}, known are versions up to {VERSION}"
        ));
    }
    let time_ms = take_i64(&mut rest).ok_or_else(truncated)?;
    metadata.partition_time_ms = (time_ms != UNKNOWN_TIME_MS).then_some(time_ms);
    if version == VERSION && !rest.is_empty() {
        metadata.processor = read_processor(rest).ok_or_else(truncated)?;
    }
    Ok(())
}

fn read_processor(mut bytes: &[u8]) -> Option<BTreeMap<String, i64>> {
    let mut processor = BTreeMap::new();
    for _ in 0..take_i32(&mut bytes)? {
        let length = usize::try_from(take_i32(&mut bytes)?).ok()?;
        let (name, rest) = bytes.split_at_checked(length)?;
        bytes = rest;
        let name = String::from_utf8_lossy(name).into_owned();
        processor.insert(name, take_i64(&mut bytes)?);
    }
    Some(processor)
}

fn take_i32(bytes: &mut &[u8]) -> Option<i32> {
    let (value, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(i32::from_be_bytes(*value))
}

fn take_i64(bytes: &mut &[u8]) -> Option<i64> {
    let (value, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(i64::from_be_bytes(*value))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn metadata(partition_time_ms: Option<i64>, processor: &[(&str, i64)]) -> OffsetMetadata {
        OffsetMetadata {
            partition_time_ms,
            processor: processor
                .iter()
                .map(|(name, value)| ((*name).to_owned(), *value))
                .collect(),
        }
    }

    #[track_caller]
    fn check(metadata: &OffsetMetadata, text: &str) {
        assert_eq!(metadata.encode(), text);
        let decoded = OffsetMetadata::decode(text);
        assert_eq!(&decoded.metadata, metadata);
        assert_eq!(decoded.warning, None);
    }

    #[track_caller]
    fn check_warning(text: &str, expected: &OffsetMetadata, words: &str) {
        let decoded = OffsetMetadata::decode(text);
        assert_eq!(&decoded.metadata, expected);
        let warning = decoded.warning.expect("a warning");
        assert!(warning.contains(words), "{warning}");
    }

    #[test]
    fn the_text_is_javas() {
        check(&metadata(Some(1_234_567_890), &[]), "AgAAAABJlgLS");
        check(
            &metadata(Some(1_234_567_890), &[("em", 42)]),
            "AgAAAABJlgLSAAAAAQAAAAJlbQAAAAAAAAAq",
        );
        check(&metadata(None, &[]), "Av//////////");
    }

    #[test]
    fn no_text_says_nothing() {
        assert_eq!(OffsetMetadata::decode(""), Decoded::default());
    }

    #[test]
    fn the_first_version_has_only_a_time() {
        let decoded = OffsetMetadata::decode("AQAAAABJlgLS");
        assert_eq!(decoded.metadata, metadata(Some(1_234_567_890), &[]));
        assert_eq!(decoded.warning, None);
    }

    #[test]
    fn padding_may_be_missing() {
        let text = metadata(Some(5), &[("a", 1)]).encode();
        assert!(text.ends_with('='));
        let decoded = OffsetMetadata::decode(text.trim_end_matches('='));
        assert_eq!(decoded.metadata, metadata(Some(5), &[("a", 1)]));
        assert_eq!(decoded.warning, None);
    }

    #[test]
    fn what_cannot_be_read_is_unknown_and_warned_about() {
        let nothing = metadata(None, &[]);
        check_warning("not base64!", &nothing, "is not base64");
        check_warning(&BASE64.encode([3, 0]), &nothing, "version 3");
        check_warning(&BASE64.encode([2, 0, 0]), &nothing, "ends too early");
        // The time comes first and is kept, as Java keeps it.
        let mut bytes = vec![2, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 1];
        check_warning(
            &BASE64.encode(&bytes),
            &metadata(Some(7), &[]),
            "ends too early",
        );
        bytes.extend_from_slice(&[0xff; 4]);
        check_warning(
            &BASE64.encode(&bytes),
            &metadata(Some(7), &[]),
            "ends too early",
        );
    }

    proptest! {
        #[test]
        fn every_metadata_comes_back(
            time_ms in proptest::option::of(0..i64::MAX),
            processor: BTreeMap<String, i64>,
        ) {
            let metadata = OffsetMetadata { partition_time_ms: time_ms, processor };
            let decoded = OffsetMetadata::decode(&metadata.encode());
            prop_assert_eq!(decoded, Decoded { metadata, warning: None });
        }

        #[test]
        fn any_text_is_metadata_or_a_warning(bytes: Vec<u8>) {
            let _ = OffsetMetadata::decode(&BASE64.encode(bytes));
        }
    }
}
