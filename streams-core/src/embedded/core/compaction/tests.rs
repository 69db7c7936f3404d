//! Logs compacted, rule by rule.

use uuid::Uuid;

use super::*;
use crate::embedded::core::batch::{RecordBatchBuilder, transaction_marker};

struct Bench {
    log: PartitionLog,
    config: TopicConfig,
    now_ms: i64,
}

impl Bench {
    fn new(settings: &[(&str, &str)]) -> Self {
        let mut config = TopicConfig::default();
        let defaults = [
            ("cleanup.policy", "compact"),
            ("min.cleanable.dirty.ratio", "0.1"),
            ("delete.retention.ms", "100"),
        ];
        defaults
            .iter()
            .chain(settings)
            .for_each(|(name, value)| config.set(name, value).unwrap());
        Self {
            log: PartitionLog::new(Uuid::nil(), 0, &mut Changes::new(false)),
            config,
            now_ms: 0,
        }
    }

    fn append(&mut self, builder: RecordBatchBuilder) {
        self.log
            .append(
                &builder.build(),
                &self.config,
                self.now_ms,
                &mut Changes::new(false),
            )
            .unwrap();
    }

    fn put(&mut self, key: &str, value: Option<&str>) {
        let now_ms = self.now_ms;
        self.append(RecordBatchBuilder::new().record(
            now_ms,
            Some(key.as_bytes()),
            value.map(str::as_bytes),
        ));
    }

    fn roll(&mut self) {
        self.log.roll(&mut Changes::new(false));
    }

    fn compact(&mut self) -> bool {
        let mut changes = Changes::new(false);
        let Some(due) = due(&mut self.log, &self.config, self.now_ms, &mut changes) else {
            return false;
        };
        compact(&mut self.log, due, &self.config, self.now_ms, &mut changes);
        true
    }

    fn records(&self) -> Vec<(i64, String, Option<String>)> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let mut all = Vec::new();
        for batch in self.log.batches_from(0).filter(|batch| !batch.is_control()) {
            let opened = open(batch).unwrap();
            for record in walk(batch, &opened).unwrap() {
                all.push((
                    record.offset,
                    text(record.key.unwrap()),
                    record.value.map(text),
                ));
            }
        }
        all
    }
}

fn row(offset: i64, key: &str, value: Option<&str>) -> (i64, String, Option<String>) {
    (offset, key.to_owned(), value.map(str::to_owned))
}

#[test]
fn the_latest_of_each_key_stays_at_its_offset() {
    let mut bench = Bench::new(&[]);
    bench.append(
        RecordBatchBuilder::new()
            .record(0, Some(b"a"), Some(b"1"))
            .record(0, Some(b"b"), Some(b"1")),
    );
    bench.put("a", Some("2"));
    bench.roll();
    bench.put("b", Some("2"));
    assert!(bench.compact());
    assert_eq!(
        bench.records(),
        [
            row(1, "b", Some("1")),
            row(2, "a", Some("2")),
            row(3, "b", Some("2"))
        ]
    );
    assert!(!bench.compact(), "nothing new");
    bench.roll();
    assert!(bench.compact());
    assert_eq!(
        bench.records(),
        [row(2, "a", Some("2")), row(3, "b", Some("2"))]
    );
    assert_eq!((bench.log.start_offset, bench.log.end_offset), (0, 4));
    assert_eq!(bench.log.segments.len(), 2, "small segments are joined");
}

#[test]
fn tombstones_stay_for_their_time() {
    let mut bench = Bench::new(&[]);
    bench.put("a", Some("1"));
    bench.put("a", None);
    bench.roll();
    assert!(bench.compact());
    assert_eq!(bench.records(), [row(1, "a", None)]);
    bench.now_ms = 99;
    bench.put("b", Some("1"));
    bench.roll();
    assert!(bench.compact());
    assert_eq!(bench.records().len(), 2);
    bench.now_ms = 101;
    bench.put("c", Some("1"));
    bench.roll();
    assert!(bench.compact());
    assert_eq!(
        bench.records(),
        [row(2, "b", Some("1")), row(3, "c", Some("1"))]
    );
}

#[test]
fn the_dirty_ratio_and_the_lags_decide_when() {
    let mut bench = Bench::new(&[
        ("min.cleanable.dirty.ratio", "0.5"),
        ("max.compaction.lag.ms", "1000"),
    ]);
    for i in 0..10 {
        bench.put(&format!("k{i}"), Some("1"));
    }
    bench.roll();
    assert!(bench.compact());
    bench.now_ms = 10;
    bench.put("k1", Some("2"));
    bench.roll();
    assert!(!bench.compact(), "a tenth is dirty");
    bench.now_ms = 1_011;
    assert!(bench.compact(), "it has waited long enough");
    let mut bench = Bench::new(&[("min.compaction.lag.ms", "500")]);
    bench.put("a", Some("1"));
    bench.roll();
    bench.now_ms = 500;
    assert!(!bench.compact());
    bench.now_ms = 501;
    assert!(bench.compact());
}

#[test]
fn an_idle_segment_is_closed_when_compaction_may_wait_no_longer() {
    let mut bench = Bench::new(&[("max.compaction.lag.ms", "100")]);
    bench.put("a", Some("1"));
    bench.put("a", Some("2"));
    assert!(!bench.compact());
    bench.now_ms = 101;
    assert!(bench.compact());
    assert_eq!(bench.records(), [row(1, "a", Some("2"))]);
}

#[test]
fn aborted_records_go_and_open_transactions_stop_it() {
    let mut bench = Bench::new(&[]);
    let in_transaction = |sequence, value: &[u8]| {
        RecordBatchBuilder::new()
            .producer(1, 0, sequence)
            .transactional()
            .record(0, Some(b"a"), Some(value))
    };
    let end = |bench: &mut Bench, is_commit| {
        let marker = transaction_marker(1, 0, is_commit, 0);
        bench
            .log
            .append_marker(&marker, &bench.config, 0, &mut Changes::new(false));
    };
    bench.put("a", Some("plain"));
    bench.append(in_transaction(0, b"aborted"));
    bench.roll();
    assert!(!bench.compact(), "the transaction is open");
    end(&mut bench, false);
    bench.roll();
    assert!(bench.compact());
    assert_eq!(bench.records(), [row(0, "a", Some("plain"))]);
    assert_eq!(
        bench.log.producers.aborted_between(0, 100).count(),
        0,
        "nothing aborted is left to be skipped"
    );
    bench.append(in_transaction(1, b"committed"));
    end(&mut bench, true);
    bench.roll();
    assert!(bench.compact());
    assert_eq!(bench.records(), [row(3, "a", Some("committed"))]);
    bench.now_ms = 1_000;
    bench.put("z", Some("1"));
    bench.roll();
    assert!(bench.compact());
    let markers: Vec<i64> = bench
        .log
        .batches_from(0)
        .filter(|b| b.is_control())
        .map(|b| b.base_offset)
        .collect();
    assert_eq!(
        markers,
        [4],
        "the marker of records that are still there stays, so that a replay sees them committed"
    );
}
