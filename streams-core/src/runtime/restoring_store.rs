//! One store on its way through its changelog.

use crate::error::Result;
use crate::record::{FetchedRecord, Headers, TopicPartition};
use crate::runtime::broker::InputSlot;
use crate::task::stores::suppress_changelog::{Logged, upgrade};
use crate::topology::store::ChangelogForm;
use streams_state::{Change, TaskStores, timestamped, versioned_change};

/// How far one store of a task is restored.
pub(crate) struct RestoringStore {
    pub(crate) index: usize,
    pub(crate) name: String,
    pub(crate) form: ChangelogForm,
    pub(crate) changelog: TopicPartition,
    pub(crate) slot: InputSlot,
    /// Where its restoration began.
    pub(crate) start: i64,
    /// The next offset to apply.
    pub(crate) position: i64,
    pub(crate) end: i64,
    /// Whether records from `end` on must not be applied.
    pub(crate) bounded: bool,
    pub(crate) records_total: u64,
    pub(crate) done: bool,
}

impl RestoringStore {
    /// Applies a run of this changelog's records; returns how many.
    pub(crate) fn apply<R: FetchedRecord>(
        &mut self,
        stores: &mut TaskStores,
        run: &[(InputSlot, R)],
    ) -> Result<u64> {
        let end = if self.bounded { self.end } else { i64::MAX };
        let records = || {
            run.iter()
                .map(|(_, record)| record)
                .filter(move |record| record.offset() < end)
        };
        let Some(last) = records().last() else {
            return Ok(0);
        };
        let position = last.offset() + 1;
        if self.form == ChangelogForm::Suppressed {
            return self.apply_suppressed(stores, records(), position);
        }
        // Values as the store takes them, one after the other, so that a batch costs one buffer.
        let mut bytes = Vec::new();
        let mut changes = Vec::with_capacity(run.len());
        if self.form == ChangelogForm::AsStored {
            for record in records() {
                if let Some(key) = record.key() {
                    changes.push(Change {
                        key,
                        value: record.value(),
                    });
                }
            }
        } else {
            let mut spans = Vec::with_capacity(run.len());
            for record in records() {
                let start = bytes.len();
                let present = match self.form {
                    // A deletion has a time, too.
                    ChangelogForm::Versioned => {
                        versioned_change(record.timestamp(), record.value(), &mut bytes);
                        true
                    }
                    _ => {
                        if let Some(value) = record.value() {
                            timestamped::encode(record.timestamp(), value, &mut bytes);
                        }
                        record.value().is_some()
                    }
                };
                spans.push(present.then_some(start..bytes.len()));
            }
            for (record, span) in records().zip(spans) {
                if let Some(key) = record.key() {
                    changes.push(Change {
                        key,
                        value: span.map(|span| &bytes[span]),
                    });
                }
            }
        }
        stores.restore(self.index, &changes, position)?;
        self.position = position;
        let applied = changes.len() as u64;
        self.records_total += applied;
        Ok(applied)
    }

    /// One by one, since the value that a key had before goes into the next one.
    fn apply_suppressed<'a, R: FetchedRecord>(
        &mut self,
        stores: &mut TaskStores,
        records: impl Iterator<Item = &'a R>,
        position: i64,
    ) -> Result<u64> {
        let mut applied = 0;
        let mut headers = Headers::new();
        for record in records {
            let Some(key) = record.key() else { continue };
            record.read_headers(&mut headers);
            let value = match record.value() {
                None => None,
                Some(value) => {
                    let before = stores.key_value(self.index).get(key)?;
                    let logged = Logged {
                        value,
                        headers: &headers,
                        topic: &self.changelog.topic,
                        partition: self.changelog.partition,
                        offset: record.offset(),
                        timestamp: record.timestamp(),
                    };
                    Some(upgrade(&logged, before.as_deref())?)
                }
            };
            let value = value.as_deref();
            stores.restore(self.index, &[Change { key, value }], record.offset() + 1)?;
            applied += 1;
        }
        stores.restore(self.index, &[], position)?;
        self.position = position;
        self.records_total += applied;
        Ok(applied)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::OwnedRecord;
    use streams_state::{StoreBackend, StoreResources, StoreSpec, VersionedSpec};

    fn record(offset: i64, key: Option<&str>, value: Option<&str>) -> (InputSlot, OwnedRecord) {
        (
            InputSlot(0),
            OwnedRecord {
                offset,
                timestamp: 7,
                key: key.map(|k| k.as_bytes().to_vec()),
                value: value.map(|v| v.as_bytes().to_vec()),
                ..OwnedRecord::default()
            },
        )
    }

    fn store(form: ChangelogForm, end: i64, bounded: bool) -> (RestoringStore, TaskStores) {
        let spec = match form {
            ChangelogForm::Versioned => StoreSpec::versioned(
                "counts",
                VersionedSpec::with_history_retention_ms(1000),
                StoreBackend::Memory,
            ),
            _ => StoreSpec::key_value("counts", StoreBackend::Memory),
        };
        let stores = TaskStores::open(None, &[spec], &StoreResources::in_memory()).unwrap();
        let store = RestoringStore {
            index: 0,
            name: "counts".to_owned(),
            form,
            changelog: TopicPartition::new("app-counts-changelog", 0),
            slot: InputSlot(0),
            start: 0,
            position: 0,
            end,
            bounded,
            records_total: 0,
            done: false,
        };
        (store, stores)
    }

    #[test]
    fn the_record_timestamp_goes_in_front_of_the_value() {
        let (mut store, mut stores) = store(ChangelogForm::Timestamped, 4, false);
        let run = [
            record(0, Some("a"), Some("1")),
            record(1, Some("b"), Some("2")),
            record(2, None, Some("nobody's")),
            record(3, Some("b"), None),
        ];
        assert_eq!(store.apply(&mut stores, &run).unwrap(), 3);
        assert_eq!(store.position, 4);
        let value = stores.key_value(0).get(b"a").unwrap().unwrap();
        assert_eq!(value, [0, 0, 0, 0, 0, 0, 0, 7, b'1']);
        assert_eq!(stores.key_value(0).get(b"b").unwrap(), None);
    }

    #[test]
    fn the_record_timestamp_is_that_of_the_version() {
        let (mut store, mut stores) = store(ChangelogForm::Versioned, 3, false);
        let mut run = [
            record(0, Some("a"), Some("1")),
            record(1, None, Some("nobody's")),
            record(2, Some("a"), None),
        ];
        run[2].1.timestamp = 9;
        assert_eq!(store.apply(&mut stores, &run).unwrap(), 2);
        assert_eq!(stores.versioned(0).get(b"a").unwrap(), None);
        let version = stores.versioned(0).get_as_of(b"a", 8).unwrap().unwrap();
        assert_eq!((version.valid_from_ms, version.valid_to_ms), (7, Some(9)));
    }

    /// Vectors of Kafka's `TimeOrderedKeyValueBufferTest`, captured from the releases that wrote them.
    #[test]
    fn held_changes_of_all_versions_are_read() {
        let hex = |digits: &str| -> Vec<u8> {
            (0..digits.len())
                .step_by(2)
                .map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap())
                .collect()
        };
        type Vectors = &'static [(&'static str, &'static str)];
        let versions: [(Option<u8>, Vectors); 4] = [
            (
                None,
                &[
                    ("todelete", "0000000000000000FFFFFFFF00000006646F6F6D6564"),
                    ("asdf", "0000000000000002FFFFFFFF0000000471776572"),
                    (
                        "zxcv",
                        "00000000000000010000000870726576696F757300000005656F34696D",
                    ),
                    ("zxcv", "000000000000000100000005656F34696D000000046E657874"),
                ],
            ),
            (
                Some(1),
                &[
                    (
                        "todelete",
                        "00000000000000000000000000000000000000000000000000000005746F70696300000000FFFFFFFF0000000EFFFFFFFF00000006646F6F6D6564",
                    ),
                    (
                        "asdf",
                        "00000000000000020000000000000001000000000000000000000005746F70696300000000FFFFFFFF0000000CFFFFFFFF0000000471776572",
                    ),
                    (
                        "zxcv",
                        "00000000000000010000000000000002000000000000000000000005746F70696300000000FFFFFFFF000000150000000870726576696F757300000005336F34696D",
                    ),
                    (
                        "zxcv",
                        "00000000000000010000000000000003000000000000000000000005746F70696300000000FFFFFFFF0000001100000005336F34696D000000046E657874",
                    ),
                ],
            ),
            (
                Some(2),
                &[
                    (
                        "todelete",
                        "0000000000000000000000000000000000000005746F70696300000000FFFFFFFF0000000EFFFFFFFF00000006646F6F6D6564FFFFFFFF0000000000000000",
                    ),
                    (
                        "zxcv",
                        "0000000000000002000000000000000000000005746F70696300000000FFFFFFFF000000140000000749474E4F52454400000005336F34696D0000000870726576696F75730000000000000001",
                    ),
                ],
            ),
            (
                Some(2),
                &[
                    (
                        "todelete",
                        "0000000000000000000000000000000000000005746F70696300000000FFFFFFFFFFFFFFFFFFFFFFFF00000006646F6F6D65640000000000000000",
                    ),
                    (
                        "zxcv",
                        "0000000000000002000000000000000000000005746F70696300000000FFFFFFFF0000000870726576696F75730000000749474E4F52454400000005336F34696D0000000000000001",
                    ),
                ],
            ),
        ];
        for (version, vectors) in versions {
            let run: Vec<_> = vectors
                .iter()
                .zip(0..)
                .map(|((key, digits), offset)| {
                    let mut record = record(offset, Some(key), None);
                    record.1.value = Some(hex(digits));
                    if let Some(version) = version {
                        record.1.headers.add("v", Some(&[version]));
                    }
                    record
                })
                .collect();
            let (mut store, mut stores) = store(ChangelogForm::Suppressed, 9, false);
            assert_eq!(
                store.apply(&mut stores, &run).unwrap(),
                vectors.len() as u64
            );
            let zxcv = stores.key_value(0).get(b"zxcv").unwrap().unwrap();
            // What it was before it was held, whatever came between; and when it is due.
            assert!(
                zxcv.windows(12).any(|at| at == b"\x00\x00\x00\x08previous"),
                "{version:?}"
            );
            assert!(zxcv.ends_with(&[0, 0, 0, 0, 0, 0, 0, 1]), "{version:?}");
            let deleted = record(5, Some("zxcv"), None);
            store.apply(&mut stores, &[deleted]).unwrap();
            assert_eq!(stores.key_value(0).get(b"zxcv").unwrap(), None);
        }
    }

    #[test]
    fn a_source_topic_is_read_up_to_the_committed_offset_only() {
        let (mut store, mut stores) = store(ChangelogForm::AsStored, 1, true);
        let run = [
            record(0, Some("a"), Some("1")),
            record(1, Some("a"), Some("2")),
        ];
        assert_eq!(store.apply(&mut stores, &run).unwrap(), 1);
        assert_eq!(store.position, 1);
        assert_eq!(stores.key_value(0).get(b"a").unwrap().unwrap(), b"1");
        assert_eq!(store.apply(&mut stores, &run[1..]).unwrap(), 0);
        assert_eq!(store.position, 1);
    }
}
