//! What results have to be like.

use std::collections::BTreeMap;
use streams_core::simulation::Run;

/// A check of the results of a run; what is wrong with them is the error.
pub(crate) type Check = Box<dyn Fn(&Run) -> Result<(), String>>;

/// How strict a check is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Strictness {
    /// Every result, once, in order.
    Every,
    /// Once and in order, but results may be left out when a later one for the same key replaces them.
    Latest,
    /// Nothing is lost: there is a result for each record, if not the right one. Without transactions nobody keeps a zombie from
    /// writing what it believes a count to be over what its successor has counted, in Kafka Streams either.
    AtLeastOnce,
}

/// The results of a topic by key, in order. Keys and values are text and numbers of 8 bytes.
pub(crate) fn counts(run: &Run, topic: &str) -> BTreeMap<String, Vec<i64>> {
    let mut counts: BTreeMap<String, Vec<i64>> = BTreeMap::new();
    for (_, record) in run.records(topic) {
        let value = record.value.as_deref().unwrap_or_default();
        let count = value.try_into().map_or(-1, i64::from_be_bytes);
        counts
            .entry(text(record.key.as_deref()))
            .or_default()
            .push(count);
    }
    counts
}

/// Bytes as text.
pub(crate) fn text(bytes: Option<&[u8]>) -> String {
    String::from_utf8_lossy(bytes.unwrap_or_default()).into_owned()
}

/// Compares counts by key with how often each key came.
pub(crate) fn check_counts(
    found: &BTreeMap<String, Vec<i64>>,
    expected: &BTreeMap<String, i64>,
    strictness: Strictness,
) -> Result<(), String> {
    for key in found.keys() {
        if !expected.contains_key(key) {
            return Err(format!("{key} was counted and never came"));
        }
    }
    for (key, total) in expected {
        let counts = found.get(key).map_or(&[][..], Vec::as_slice);
        let last = counts.last().copied().unwrap_or(0);
        let is_right = match strictness {
            Strictness::Every => counts.iter().copied().eq(1..=*total),
            Strictness::Latest => counts.windows(2).all(|pair| pair[0] < pair[1]) && last == *total,
            Strictness::AtLeastOnce => counts.len() as i64 >= *total,
        };
        if !is_right {
            return Err(format!(
                "{key} came {total} times and was counted {counts:?} ({strictness:?})"
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(counts: &[i64], strictness: Strictness) -> bool {
        let found = BTreeMap::from([("a".to_owned(), counts.to_vec())]);
        let expected = BTreeMap::from([("a".to_owned(), 3)]);
        check_counts(&found, &expected, strictness).is_ok()
    }

    #[test]
    fn results_are_as_strict_as_they_should_be() {
        use Strictness::{AtLeastOnce, Every, Latest};
        for (counts, every, latest, at_least_once) in [
            (&[1, 2, 3][..], true, true, true),
            (&[1, 3], false, true, false),
            (&[1, 2, 2, 3], false, false, true),
            (&[1, 2, 3, 4], false, false, true),
            (&[1, 2], false, false, false),
            (&[2, 1, 1], false, false, true),
            (&[3, 1], false, false, false),
            (&[], false, false, false),
        ] {
            assert_eq!(check(counts, Every), every, "{counts:?}");
            assert_eq!(check(counts, Latest), latest, "{counts:?}");
            assert_eq!(check(counts, AtLeastOnce), at_least_once, "{counts:?}");
        }
        let stranger = BTreeMap::from([("b".to_owned(), vec![1])]);
        assert!(check_counts(&stranger, &BTreeMap::new(), AtLeastOnce).is_err());
    }
}
