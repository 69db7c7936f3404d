//! The instances of an application as they tell each other of themselves, through records in the task topic.
//!
//! Each writes a record every few seconds, and one at once when its tasks change. Only the end of one partition is read, what
//! was written lately, so nothing depends on when the brokers compact it: who is there is in it, and who is in it and does not
//! say so again soon is gone.

use crate::error::Result;
use crate::record::{FetchedRecord, Headers, TopicPartition};
use crate::runtime::broker::{
    Broker, Input, InputSlot, LogProducer, LogReader, ProduceRecord, StartOffset,
};
use crate::runtime::clock::Clock;
use crate::runtime::member_record::{Member, OpenCopy, TaskCopy, decode_key, encode_key};
use crate::runtime::standby::placement::Members;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

/// Which partition of the task topic the records are in.
const PARTITION: i32 = 0;
/// How long one question to the brokers may take.
const TIMEOUT: Duration = Duration::from_secs(2);
const RECORDS_PER_POLL_MAX: usize = 1000;
/// How many of the last records are read at first: more than all instances write in the time for which they are counted in.
const TAIL_RECORDS: i64 = 1000;
/// How much the clocks of instances may differ: by that much longer a record that was written before this instance began to
/// listen is believed.
const CLOCK_SKEW: Duration = Duration::from_secs(30);

/// What a [`MemberList`] is made with.
pub(crate) struct MemberOptions {
    pub(crate) topic: Arc<str>,
    /// By what this instance is known.
    pub(crate) id: Uuid,
    /// What the names of its clients begin with.
    pub(crate) client_id: String,
    /// How often this instance tells of itself, and every other one.
    pub(crate) interval: Duration,
}

/// The instances that have been heard of.
pub(crate) struct MemberList<B: Broker> {
    broker: Arc<B>,
    options: MemberOptions,
    clock: Arc<dyn Clock>,
    reader: Option<B::Reader>,
    /// Up to where records were there when it began to listen; nothing once it is there.
    tail_end: Option<i64>,
    producer: Option<B::Producer>,
    records: Vec<(InputSlot, B::Record)>,
    /// When each was heard last, and what it said.
    heard: BTreeMap<Uuid, (Duration, Member)>,
    /// When this instance last heard itself, or that there was nothing before it.
    heard_itself: Option<Duration>,
    told: Option<(Duration, Member)>,
}

impl<B: Broker> MemberList<B> {
    pub(crate) fn new(broker: Arc<B>, clock: Arc<dyn Clock>, options: MemberOptions) -> Self {
        MemberList {
            broker,
            options,
            clock,
            reader: None,
            tail_end: None,
            producer: None,
            records: Vec::new(),
            heard: BTreeMap::new(),
            heard_itself: None,
            told: None,
        }
    }

    /// Says whether anything new was heard.
    pub(crate) fn hear(&mut self) -> bool {
        self.listen().unwrap_or_else(|error| {
            tracing::debug!(%error, "other instances are not heard");
            // From the end on again: who is there says so again.
            self.reader = None;
            false
        })
    }

    /// Tells what this instance is when that is due. It waits until that is written, the first time for a producer to connect.
    pub(crate) fn tell_if_due(&mut self, own: &Member) {
        if self.is_due(own) {
            // One that is not written is followed by the next.
            self.told = Some((self.clock.elapsed(), own.clone()));
            let value = own.encode();
            if let Err(error) = self.tell(Some(&value)) {
                tracing::debug!(%error, "other instances are not told of this one");
                self.producer = None;
            }
        }
    }

    /// Tells the others that this instance has none of its tasks any more.
    pub(crate) fn leave(&mut self) {
        if self.told.is_some()
            && let Err(error) = self.tell(None)
        {
            tracing::debug!(%error, "other instances notice only later that this one has stopped");
        }
    }

    /// All that are there, this one as `own`; `None` as long as what they wrote before has not been read.
    ///
    /// An instance is gone when this one has heard itself for longer without it: when the topic cannot be read, or this
    /// process stands still, nobody is gone.
    pub(crate) fn all(&self, own: &Member) -> Option<Members> {
        let id = self.options.id;
        let last = self.heard_itself?;
        let there = self
            .heard
            .iter()
            .filter(|(_, (heard, member))| *heard + member.patience >= last);
        let mut all: Members = there
            .map(|(id, (_, member))| (*id, member.clone()))
            .collect();
        all.insert(id, own.clone());
        Some(all)
    }

    fn is_due(&self, own: &Member) -> bool {
        let Some((at, told)) = &self.told else {
            return self.reader.is_some();
        };
        let now = self.clock.elapsed();
        let interval = self.options.interval;
        now >= *at + interval || (differs(told, own) && now >= *at + interval / 20)
    }

    fn listen(&mut self) -> Result<bool> {
        let reader = match &mut self.reader {
            Some(reader) => reader,
            none => {
                let client_id = format!("{}-member-consumer", self.options.client_id);
                let mut reader = self.broker.reader(&client_id)?;
                let partition = TopicPartition::new(&*self.options.topic, PARTITION);
                let offsets = reader.offsets(std::slice::from_ref(&partition), TIMEOUT)?;
                let (first, end) = offsets.first().copied().unwrap_or_default();
                let start = match self.heard_itself {
                    None => first.max(end - TAIL_RECORDS),
                    // Who is there says so again.
                    Some(_) => end,
                };
                reader.add_inputs(&[Input {
                    partition,
                    slot: InputSlot(0),
                    offset: StartOffset::At(start),
                }])?;
                self.tail_end = Some(end);
                none.insert(reader)
            }
        };
        reader.poll(Duration::ZERO, RECORDS_PER_POLL_MAX, &mut self.records)?;
        let now = self.clock.elapsed();
        let mut is_new = false;
        let position = reader.position(&TopicPartition::new(&*self.options.topic, PARTITION));
        let is_read = |end: i64| position.is_some_and(|position| position >= end);
        if let Some(end) = self.tail_end
            && is_read(end)
        {
            self.tail_end = None;
            self.heard_itself.get_or_insert(now);
            is_new = true;
        }
        for (_, record) in self.records.drain(..) {
            let Some(id) = record.key().and_then(decode_key) else {
                continue;
            };
            if id == self.options.id && self.heard_itself.is_some() {
                self.heard_itself = Some(now);
            }
            match record.value() {
                None => is_new |= self.heard.remove(&id).is_some(),
                Some(value) => {
                    let Some(member) = Member::decode(value) else {
                        continue;
                    };
                    let age_ms = self.clock.wall_ms().saturating_sub(record.timestamp());
                    let age = Duration::from_millis(u64::try_from(age_ms).unwrap_or(0));
                    if age > member.patience + CLOCK_SKEW {
                        // It is of an earlier life of the application.
                        continue;
                    }
                    let before = self.heard.insert(id, (now, member));
                    let member = &self.heard[&id].1;
                    is_new |= before.is_none_or(|(_, before)| differs(&before, member));
                }
            }
        }
        Ok(is_new)
    }

    fn tell(&mut self, value: Option<&[u8]>) -> Result<()> {
        let producer = match &mut self.producer {
            Some(producer) => producer,
            none => {
                let client_id = format!("{}-member-producer", self.options.client_id);
                none.insert(self.broker.producer(&client_id, None)?)
            }
        };
        let key = encode_key(self.options.id);
        producer.send(&mut std::iter::once(ProduceRecord {
            topic: &self.options.topic,
            partition: PARTITION,
            timestamp: Some(self.clock.wall_ms()),
            key: Some(&key),
            value,
            headers: &Headers::new(),
        }))?;
        producer.flush(TIMEOUT)
    }
}

/// Whether others should know at once: another lag alone can wait, unless the copy becomes warm by it.
fn differs(a: &Member, b: &Member) -> bool {
    let essence = |copy: &TaskCopy| match copy {
        TaskCopy::Kept => TaskCopy::Kept,
        TaskCopy::Open(open) => TaskCopy::Open(OpenCopy { lag: 0, ..*open }),
    };
    let alike =
        |(a, b): ((&_, &TaskCopy), (&_, &TaskCopy))| a.0 == b.0 && essence(a.1) == essence(b.1);
    a.given != b.given
        || a.host != b.host
        || (a.threads, a.patience) != (b.threads, b.patience)
        || a.copies.len() != b.copies.len()
        || !a.copies.iter().zip(&b.copies).all(alike)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::memory_broker::MemoryBroker;
    use crate::task::TaskId;
    use std::sync::Mutex;

    const INTERVAL: Duration = Duration::from_secs(2);

    /// Stands still until it is told.
    #[derive(Default)]
    struct TestClock(Mutex<Duration>);

    impl Clock for TestClock {
        fn wall_ms(&self) -> i64 {
            self.elapsed().as_millis() as i64
        }

        fn elapsed(&self) -> Duration {
            *self.0.lock().unwrap()
        }

        fn sleep(&self, time: Duration) {
            *self.0.lock().unwrap() += time;
        }
    }

    fn turn(list: &mut MemberList<MemoryBroker>, own: &Member) -> bool {
        let heard = list.hear();
        list.tell_if_due(own);
        heard
    }

    fn list(
        broker: &MemoryBroker,
        clock: &Arc<TestClock>,
        number: u128,
    ) -> MemberList<MemoryBroker> {
        let clock: Arc<dyn Clock> = Arc::<TestClock>::clone(clock);
        let options = MemberOptions {
            topic: "app-tasks".into(),
            id: Uuid::from_u128(number),
            client_id: format!("app-{number}"),
            interval: INTERVAL,
        };
        MemberList::new(Arc::new(broker.clone()), clock, options)
    }

    fn given(partition: i32) -> Member {
        Member {
            given: [TaskId {
                sub_topology: 0,
                partition,
            }]
            .into(),
            patience: INTERVAL * 4,
            ..Member::default()
        }
    }

    #[test]
    fn instances_hear_of_each_other_until_one_is_silent_or_leaves() {
        let (broker, clock) = (MemoryBroker::default(), Arc::new(TestClock::default()));
        broker.create("app-tasks", 2);
        let own = [given(0), given(1), given(2)];
        let mut lists = [1, 2, 3].map(|number| list(&broker, &clock, number));
        let numbers = |list: &MemberList<MemoryBroker>, own| {
            let all = list.all(own)?;
            Some(all.keys().map(|id| id.as_u128()).collect::<Vec<_>>())
        };
        let turn = |lists: &mut [MemberList<MemoryBroker>]| {
            clock.sleep(INTERVAL / 4);
            for (list, own) in lists.iter_mut().zip(&own) {
                turn(list, own);
            }
        };
        assert_eq!(numbers(&lists[0], &own[0]), None);
        turn(&mut lists);
        assert_eq!(numbers(&lists[0], &own[0]), Some(vec![1]));
        for _ in 0..2 {
            turn(&mut lists);
        }
        assert_eq!(numbers(&lists[0], &own[0]), Some(vec![1, 2, 3]));
        assert_eq!(lists[0].all(&own[0]).unwrap()[&Uuid::from_u128(3)], own[2]);

        lists[1].leave();
        turn(&mut lists[..1]);
        assert_eq!(numbers(&lists[0], &own[0]), Some(vec![1, 3]));
        // The third says nothing any more: gone after four intervals.
        for _ in 0..12 {
            turn(&mut lists[..1]);
        }
        assert_eq!(numbers(&lists[0], &own[0]), Some(vec![1, 3]));
        for _ in 0..10 {
            turn(&mut lists[..1]);
        }
        assert_eq!(numbers(&lists[0], &own[0]), Some(vec![1]));
    }

    #[test]
    fn an_instance_that_hears_nothing_takes_nobody_for_gone() {
        let (broker, clock) = (MemoryBroker::default(), Arc::new(TestClock::default()));
        broker.create("app-tasks", 1);
        let mut lists = [1, 2].map(|number| list(&broker, &clock, number));
        for _ in 0..8 {
            clock.sleep(INTERVAL / 2);
            for list in &mut lists {
                turn(list, &given(0));
            }
        }
        clock.sleep(INTERVAL * 100);
        assert_eq!(lists[0].all(&given(0)).unwrap().len(), 2);
    }

    fn copy(lag: u64, is_warm: bool) -> TaskCopy {
        TaskCopy::Open(OpenCopy {
            lag,
            is_warm,
            is_warm_up: false,
        })
    }

    /// An instance that starts knows at once who is there, but not who was there long ago.
    #[test]
    fn what_was_written_lately_is_read() {
        let (broker, clock) = (MemoryBroker::default(), Arc::new(TestClock::default()));
        broker.create("app-tasks", 1);
        let mut old = list(&broker, &clock, 1);
        turn(&mut old, &given(0));
        turn(&mut old, &given(0));
        clock.sleep(CLOCK_SKEW + INTERVAL * 5);
        let mut other = list(&broker, &clock, 2);
        turn(&mut other, &given(1));
        turn(&mut other, &given(1));
        let mut new = list(&broker, &clock, 3);
        assert!(turn(&mut new, &given(2)));
        let all = new.all(&given(2)).unwrap();
        let numbers: Vec<u128> = all.keys().map(Uuid::as_u128).collect();
        assert_eq!(numbers, [2, 3]);
    }

    #[test]
    fn other_tasks_are_told_at_once_another_lag_when_it_is_time() {
        let (broker, clock) = (MemoryBroker::default(), Arc::new(TestClock::default()));
        broker.create("app-tasks", 1);
        let mut list = list(&broker, &clock, 1);
        let mut own = given(0);
        let mut told = |own: &Member, after: Duration| {
            clock.sleep(after);
            let before = broker.entry_count("app-tasks");
            turn(&mut list, own);
            broker.entry_count("app-tasks") - before
        };
        assert_eq!(told(&own, Duration::ZERO), 1);
        assert_eq!(told(&own, INTERVAL / 4), 0);
        let task = TaskId {
            sub_topology: 0,
            partition: 7,
        };
        own.copies.insert(task, copy(50_000, false));
        assert_eq!(told(&own, INTERVAL / 4), 1);
        own.copies.insert(task, copy(20_000, false));
        assert_eq!(told(&own, INTERVAL / 4), 0);
        own.copies.insert(task, copy(20, true));
        assert_eq!(told(&own, INTERVAL / 4), 1);
        own.copies.insert(task, copy(10, true));
        assert_eq!(told(&own, INTERVAL / 2), 0);
        assert_eq!(told(&own, INTERVAL / 2), 1);
    }
}
