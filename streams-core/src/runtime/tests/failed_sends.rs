//! Records that are not written: what the production handler is told, and what becomes of each of its answers.

use super::{IN, Instance, OUT, cluster, config, counts, texts, wait_until};
use crate::config::StreamsConfig;
use crate::error::{Error, ErrorKind};
use crate::exception_handlers::{
    DeadLetter, ErrorHandlerContext, ExceptionHandlers, ProductionExceptionHandler,
    ProductionResponse, ProductionResult, UnsentRecord,
};
use crate::record::FetchedRecord;
use crate::runtime::lifecycle::State;
use crate::runtime::memory_broker::MemoryBroker;
use crate::runtime::test_topology::count_by_key;
use crate::topology::Topology;
use crate::{Consumed, Produced, StreamsBuilder};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

const DEAD: &str = "dead";
const AT_LEAST_ONCE: (&str, &str) = ("processing.guarantee", "at_least_once");
const EXACTLY_ONCE: (&str, &str) = ("processing.guarantee", "exactly_once_v2");
/// What the count of the second record of a key is written as.
const TWO: &[u8] = &2i64.to_be_bytes();

/// Answers always the same, and remembers what it was asked.
#[derive(Clone, Debug)]
struct Answers(ProductionResult, Arc<Mutex<Vec<String>>>);

impl Answers {
    fn new(result: ProductionResult) -> Self {
        Answers(result, Arc::default())
    }

    fn asked(&self) -> Vec<String> {
        self.1.lock().unwrap().clone()
    }
}

impl ProductionExceptionHandler for Answers {
    fn handle_error(
        &self,
        context: &ErrorHandlerContext<'_>,
        record: &UnsentRecord<'_>,
        error: &Error,
    ) -> ProductionResponse {
        let text =
            |bytes: Option<&[u8]>| bytes.map(|bytes| String::from_utf8_lossy(bytes).into_owned());
        self.1.lock().unwrap().push(format!(
            "{:?}-{}@{} {} of {}: {:?} = {:?} for {}-{:?}: {:?}",
            context.topic,
            context.partition,
            context.offset,
            context.processor_node_id,
            context.task_id,
            text(context.source_raw_key),
            text(context.source_raw_value),
            record.topic,
            record.partition,
            error.kind(),
        ));
        match self.0 {
            ProductionResult::Resume => ProductionResponse::resume(),
            ProductionResult::Fail => ProductionResponse::fail(),
            ProductionResult::Retry => ProductionResponse::retry(),
        }
        .with_dead_letter(context.dead_letter(error))
    }
}

/// Copies records.
fn copy() -> Topology {
    let builder = StreamsBuilder::new();
    builder
        .stream::<String, String>(IN, Consumed::new())
        .to(OUT, Produced::new());
    builder.build().unwrap()
}

/// Counts by key.
fn start(
    broker: &MemoryBroker,
    dir: &Path,
    set: &[(&str, &str)],
    handler: Option<&Answers>,
) -> Instance {
    start_topology(count_by_key(IN, "counts", OUT), broker, dir, set, handler)
}

fn start_topology(
    topology: Topology,
    broker: &MemoryBroker,
    dir: &Path,
    set: &[(&str, &str)],
    handler: Option<&Answers>,
) -> Instance {
    broker.create(DEAD, 1);
    let mut all = vec![("errors.dead.letter.queue.topic.name", DEAD)];
    all.extend(set);
    let config: StreamsConfig = config(dir, &all);
    let mut handlers = ExceptionHandlers::new(&config);
    if let Some(handler) = handler {
        handlers.production = Arc::new(handler.clone());
    }
    Instance::start_with_handlers(topology, broker, &config, handlers)
}

/// All results of a key, in order.
fn results(broker: &MemoryBroker, key: &str) -> Vec<i64> {
    let records = broker.records(OUT);
    let of_key = records.iter().filter(|r| r.key() == Some(key.as_bytes()));
    of_key
        .map(|r| i64::from_be_bytes(r.value().unwrap().try_into().unwrap()))
        .collect()
}

#[test]
fn a_record_that_is_refused_can_be_left_out() {
    for (guarantee, is_local) in [
        (AT_LEAST_ONCE, true),
        (AT_LEAST_ONCE, false),
        (EXACTLY_ONCE, true),
        (EXACTLY_ONCE, false),
    ] {
        let (broker, dir) = (cluster(2), tempfile::tempdir().unwrap());
        let handler = Answers::new(ProductionResult::Resume);
        broker.refuse_sends((OUT, b"second"), ErrorKind::Data, is_local, usize::MAX);
        let instance = start_topology(copy(), &broker, dir.path(), &[guarantee], Some(&handler));
        for value in ["first", "second", "third"] {
            broker.produce(IN, 1, "a", value);
        }
        wait_until("the commit", || broker.committed(IN, 1) == Some(3));
        assert_eq!(instance.lifecycle.state(), State::Running);
        instance.close();
        let asked = handler.asked();
        assert_eq!(
            asked,
            [
                "Some(\"in\")-1@1 KSTREAM-SINK-0000000001 of 0_1: Some(\"a\") = Some(\"second\") for out-Some(0): Data"
            ]
        );
        if guarantee == EXACTLY_ONCE || is_local {
            assert_eq!(texts(&broker, OUT), ["first", "third"]);
        } else {
            // Done again since the last commit.
            assert!(texts(&broker, OUT).iter().all(|text| text != "second"));
        }
        let letters = broker.records(DEAD);
        assert_eq!(letters.len(), 1);
        assert_eq!(letters[0].key(), Some(&b"a"[..]));
        assert_eq!(letters[0].value(), Some(&b"second"[..]));
        let header = |name| letters[0].headers.last(name).map(<[u8]>::to_vec);
        assert_eq!(header(DeadLetter::TOPIC), Some(b"in".to_vec()));
        assert_eq!(header(DeadLetter::OFFSET), Some(b"1".to_vec()));
    }
}

#[test]
fn a_transaction_is_done_again_without_what_a_broker_refused_and_state_is_as_if_it_had_been_written()
 {
    let (broker, dir) = (cluster(2), tempfile::tempdir().unwrap());
    let handler = Answers::new(ProductionResult::Resume);
    broker.refuse_sends((OUT, TWO), ErrorKind::Data, false, usize::MAX);
    let instance = start(&broker, dir.path(), &[EXACTLY_ONCE], Some(&handler));
    for _ in 0..3 {
        broker.produce(IN, 1, "a", "x");
        broker.produce(IN, 0, "b", "x");
    }
    wait_until("the commits", || {
        broker.committed(IN, 1) == Some(3) && broker.committed(IN, 0) == Some(3)
    });
    instance.close();
    assert_eq!(results(&broker, "a"), [1, 3]);
    assert_eq!(results(&broker, "b"), [1, 3]);
    assert_eq!(broker.records(DEAD).len(), 2);
}

#[test]
fn a_dead_letter_that_is_refused_itself_is_lost_and_asks_nobody() {
    for (guarantee, is_local) in [
        (AT_LEAST_ONCE, true),
        (EXACTLY_ONCE, true),
        (EXACTLY_ONCE, false),
    ] {
        let (broker, dir) = (cluster(2), tempfile::tempdir().unwrap());
        let handler = Answers::new(ProductionResult::Resume);
        broker.refuse_sends((OUT, b"second"), ErrorKind::Data, is_local, usize::MAX);
        broker.refuse_sends((DEAD, b"second"), ErrorKind::Data, is_local, usize::MAX);
        let instance = start_topology(copy(), &broker, dir.path(), &[guarantee], Some(&handler));
        for value in ["first", "second", "third"] {
            broker.produce(IN, 1, "a", value);
        }
        wait_until("the commit", || broker.committed(IN, 1) == Some(3));
        instance.close();
        assert_eq!(handler.asked().len(), 1);
        assert_eq!(texts(&broker, OUT), ["first", "third"]);
        assert!(broker.records(DEAD).is_empty());
    }
}

#[test]
fn what_may_pass_is_tried_again_by_default() {
    for guarantee in [AT_LEAST_ONCE, EXACTLY_ONCE] {
        let (broker, dir) = (cluster(2), tempfile::tempdir().unwrap());
        broker.refuse_sends((OUT, TWO), ErrorKind::Retriable, false, 3);
        let instance = start(&broker, dir.path(), &[guarantee], None);
        for value in ["first", "second", "third"] {
            broker.produce(IN, 1, "a", value);
        }
        wait_until("the commit", || broker.committed(IN, 1) == Some(3));
        instance.close();
        assert!(counts(&broker)["a"] >= 3);
        if guarantee == EXACTLY_ONCE {
            assert_eq!(results(&broker, "a"), [1, 2, 3]);
        }
        assert!(broker.records(DEAD).is_empty());
    }
}

#[test]
fn to_fail_and_to_retry_in_vain_stop_the_application() {
    for guarantee in [AT_LEAST_ONCE, EXACTLY_ONCE] {
        for result in [ProductionResult::Fail, ProductionResult::Retry] {
            let (broker, dir) = (cluster(2), tempfile::tempdir().unwrap());
            let handler = Answers::new(result);
            broker.refuse_sends((OUT, TWO), ErrorKind::Data, true, usize::MAX);
            let set = [guarantee, ("commit.interval.ms", "60000")];
            broker.produce(IN, 0, "b", "first");
            broker.produce(IN, 1, "a", "first");
            broker.produce(IN, 1, "a", "second");
            let instance = start(&broker, dir.path(), &set, Some(&handler));
            let error = instance.error().to_string();
            assert!(error.contains("task 0_1: out refuses"), "{error}");
            assert_eq!(broker.committed(IN, 1), None);
            assert_eq!(handler.asked().len(), 1);
            if guarantee == EXACTLY_ONCE {
                assert!(broker.records(OUT).is_empty());
                assert!(broker.records(DEAD).is_empty());
            } else {
                assert_eq!(broker.records(DEAD).len(), 1);
                // What was sent before is not sent again on the way out.
                assert_eq!(results(&broker, "a"), [1]);
                assert!(results(&broker, "b").len() <= 1);
            }
        }
    }
}

#[test]
fn a_task_that_makes_no_progress_for_too_long_fails_and_others_go_on() {
    let (broker, dir) = (cluster(2), tempfile::tempdir().unwrap());
    let set = [("task.timeout.ms", "700")];
    let instance = start(&broker, dir.path(), &set, None);
    broker.produce(IN, 1, "a", "first");
    wait_until("the first", || broker.committed(IN, 1) == Some(1));
    // Of this key.
    broker.refuse_sends((OUT, b"a"), ErrorKind::Retriable, false, usize::MAX);
    broker.produce(IN, 1, "a", "second");
    std::thread::sleep(Duration::from_millis(200));
    broker.produce(IN, 0, "b", "first");
    wait_until("the other", || broker.committed(IN, 0) == Some(1));
    let error = instance.error().to_string();
    assert!(
        error.contains("task 0_1 has made no progress") && error.contains("task.timeout.ms"),
        "{error}"
    );
    assert_eq!(broker.committed(IN, 1), Some(1));
}
