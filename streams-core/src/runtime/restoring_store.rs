//! One store on its way through its changelog.

use crate::error::Result;
use crate::record::{FetchedRecord, TopicPartition};
use crate::runtime::broker::InputSlot;
use crate::topology::store::ChangelogForm;
use streams_state::{Change, TaskStores, timestamped, versioned_change};

/// How far one store of a task is restored.
pub(crate) struct RestoringStore {
    pub(crate) index: usize,
    pub(crate) name: String,
    pub(crate) form: ChangelogForm,
    pub(crate) changelog: TopicPartition,
    pub(crate) slot: InputSlot,
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
