//! A member of the application's group.
//!
//! What the group hands out and what is read are two things here: the group may subscribe to a topic that stands for the
//! tasks while records come from the tasks' real inputs, or both may be the same partitions. So an assignment is accepted
//! paused, at the end of its log, and a partition is read from the moment it becomes an input.

use super::errors;
use super::fetch::{Fetcher, list, start_list};
use super::ffi::{Client, Event, EventKind, GroupMetadata, Queue, RebalanceProtocol, Refusal};
use super::offsets::offsets;
use super::record::KafkaRecord;
use crate::error::{Error, ErrorKind, Result};
use crate::record::TopicPartition;
use crate::runtime::broker::{
    CommittedOffset, GroupConsumer, GroupEvent, Input, InputSlot, StartOffset,
};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long leaving the group may take; after that the group finds out by the session's time-out.
const CLOSE_MAX: Duration = Duration::from_secs(10);
/// The same for a consumer that is dropped without [`GroupConsumer::close`], as while unwinding.
const DROP_MAX: Duration = Duration::from_secs(2);
/// How long librdkafka may take to stop fetching a partition, which is a matter between its own threads.
const STOP_MAX: Duration = Duration::from_secs(10);

/// A member of the application's group over librdkafka.
pub struct KafkaConsumer {
    fetcher: Fetcher,
    topics: Vec<String>,
    /// What the group gave us and is assigned but paused, because it is no input.
    parked: BTreeSet<TopicPartition>,
    inputs: BTreeMap<TopicPartition, InputState>,
    /// What was assigned before: librdkafka may still be stopping it.
    stopping: BTreeSet<TopicPartition>,
    api_timeout: Duration,
    is_left: bool,
}

#[derive(Clone, Copy)]
struct InputState {
    start: StartOffset,
    /// Whether the group gave it to us as well.
    is_subscribed: bool,
    is_paused: bool,
}

impl KafkaConsumer {
    pub(super) fn new(client: Arc<Client>, api_timeout: Duration) -> Result<KafkaConsumer> {
        let start = || {
            let events = Queue::of_group(&client)?;
            Fetcher::new(client.clone(), events)
        };
        let fetcher =
            start().map_err(|refusal| errors::refused(&refusal, "making a consumer", None))?;
        Ok(KafkaConsumer {
            fetcher,
            topics: Vec::new(),
            parked: BTreeSet::new(),
            inputs: BTreeMap::new(),
            stopping: BTreeSet::new(),
            api_timeout,
            is_left: false,
        })
    }

    /// Who this member is now, for committing its offsets in a producer's transaction.
    ///
    /// # Errors
    /// [`ErrorKind::Retriable`] before it has joined.
    pub fn group_metadata(&self) -> Result<GroupMetadata> {
        self.client()
            .group_metadata()
            .ok_or_else(|| Error::retriable("this consumer is not a member of its group yet"))
    }

    fn client(&self) -> &Arc<Client> {
        &self.fetcher.client
    }

    fn refused(&self, refusal: &Refusal, what: impl Display) -> Error {
        errors::refused(refusal, what, self.client().signals().trouble())
    }

    fn is_eager(&self) -> bool {
        self.client().rebalance_protocol() == RebalanceProtocol::Eager
    }

    fn subscribe_again(&self) -> Result<()> {
        let mut subscription = TopicPartitionList::new();
        for topic in &self.topics {
            subscription.add_topic_unassigned(topic);
        }
        self.client().subscribe(&subscription).map_err(|refusal| {
            let topics = self.topics.join(", ");
            self.refused(&refusal, format_args!("subscribing to {topics}"))
        })
    }

    /// The group's next decision, errors and stray messages aside.
    fn next_event(&mut self) -> Option<GroupEvent> {
        while let Some(event) = self.fetcher.events.poll(Duration::ZERO) {
            match event.kind() {
                EventKind::Assign => return Some(GroupEvent::Assigned(partitions(&event))),
                EventKind::Revoke => {
                    let partitions = partitions(&event);
                    return Some(if self.client().is_assignment_lost() {
                        GroupEvent::Lost(partitions)
                    } else {
                        GroupEvent::Revoked(partitions)
                    });
                }
                EventKind::Error => {
                    let text = event.error_text();
                    let place = event.partition();
                    let place = match &place {
                        Some(place) => (place.topic.as_str(), place.partition, place.offset),
                        None => (subscribed_topic_in(&text, &self.topics), -1, -1),
                    };
                    self.fetcher.note(event.error_code(), &text, place);
                }
                // Messages of partitions that are no inputs.
                EventKind::Committed | EventKind::Other => {}
            }
        }
        None
    }

    /// Assigns what is new at its end and pauses it: it is assigned because the group is told what is, not to be read.
    fn park(&mut self, partitions: &[&TopicPartition]) -> Result<(), Refusal> {
        let mut at_end = TopicPartitionList::new();
        for partition in partitions {
            at_end
                .add_partition_offset(&partition.topic, partition.partition, Offset::End)
                .map_err(|_| Refusal::of(RDKafkaErrorCode::InvalidArgument))?;
        }
        self.client().incremental_assign(&at_end)?;
        if !partitions.is_empty() {
            self.client().pause(&at_end)?;
        }
        self.parked
            .extend(partitions.iter().map(|partition| (*partition).clone()));
        Ok(())
    }

    /// Takes partitions out of the assignment and remembers that they are being stopped.
    fn unassign(&mut self, partitions: &[&TopicPartition]) -> Result<(), Refusal> {
        let paused: Vec<_> = partitions
            .iter()
            .copied()
            .filter(|partition| {
                self.parked.contains(*partition)
                    || self
                        .inputs
                        .get(*partition)
                        .is_some_and(|input| input.is_paused)
            })
            .collect();
        if !paused.is_empty() {
            // The mark would stay on the partition and hold it up when it is assigned again.
            self.client().resume(&list(paused))?;
        }
        let unassigned = list(partitions.iter().copied());
        self.client().incremental_unassign(&unassigned)?;
        for partition in partitions {
            self.parked.remove(*partition);
            self.stopping.insert((*partition).clone());
        }
        Ok(())
    }

    /// Sends what is fetched for these partitions to the queue of records, before they are assigned.
    fn forward<'a>(
        &mut self,
        partitions: impl Iterator<Item = &'a TopicPartition> + Clone,
    ) -> Result<(), Refusal> {
        let stopping: Vec<TopicPartition> = partitions
            .clone()
            .filter_map(|partition| self.stopping.take(partition))
            .collect();
        // librdkafka takes the forwarding back when it stops a partition, so that must be over first.
        self.client()
            .wait_until_stopped(&list(&stopping), STOP_MAX)?;
        for partition in partitions {
            self.fetcher
                .records
                .take_partition(&partition.topic, partition.partition)?;
        }
        Ok(())
    }

    /// An eager group knows only whole assignments: everything is assigned anew, each input where it stands.
    fn assign_eagerly(&mut self) -> Result<()> {
        let refused = |refusal: Refusal| errors::refused(&refusal, "assigning partitions", None);
        let positions = self
            .client()
            .positions(&list(self.inputs.keys()))
            .map_err(refused)?;
        for position in positions.into_iter().filter(|position| position.offset >= 0) {
            let partition = TopicPartition::new(position.topic, position.partition);
            if let Some(input) = self.inputs.get_mut(&partition) {
                input.start = StartOffset::At(position.offset);
            }
        }
        self.client()
            .assign(&TopicPartitionList::new())
            .map_err(refused)?;
        self.stopping
            .extend(self.inputs.keys().chain(&self.parked).cloned());
        let inputs: Vec<TopicPartition> = self.inputs.keys().cloned().collect();
        self.forward(inputs.iter()).map_err(refused)?;
        let all = start_list(
            self.inputs
                .iter()
                .map(|(partition, input)| (partition, input.start))
                .chain(
                    self.parked
                        .iter()
                        .map(|partition| (partition, StartOffset::Latest)),
                ),
        )?;
        self.client().assign(&all).map_err(refused)?;
        let paused = list(
            self.inputs
                .iter()
                .filter(|(_, input)| input.is_paused)
                .map(|(partition, _)| partition)
                .chain(&self.parked),
        );
        if paused.count() > 0 {
            self.client().pause(&paused).map_err(refused)?;
        }
        Ok(())
    }

    fn forget_input(&mut self, partition: &TopicPartition) -> Option<InputState> {
        self.fetcher.inputs.remove(partition);
        self.inputs.remove(partition)
    }

    fn set_paused(&mut self, partitions: &[TopicPartition], is_paused: bool) -> Result<()> {
        let what = if is_paused { "pausing" } else { "resuming" };
        if let Some(stranger) = partitions
            .iter()
            .find(|partition| !self.inputs.contains_key(partition))
        {
            return Err(Error::fatal(format!(
                "{what} {stranger}: it is not an input of this consumer"
            )));
        }
        let changed: Vec<&TopicPartition> = partitions
            .iter()
            .filter(|partition| self.inputs[partition].is_paused != is_paused)
            .collect();
        if changed.is_empty() {
            return Ok(());
        }
        let listed = list(changed.iter().copied());
        let done = if is_paused {
            self.client().pause(&listed)
        } else {
            self.client().resume(&listed)
        };
        done.map_err(|refusal| self.refused(&refusal, format_args!("{what} partitions")))?;
        for partition in changed {
            if let Some(input) = self.inputs.get_mut(partition) {
                input.is_paused = is_paused;
            }
        }
        Ok(())
    }

    /// Leaves the group, answering the last revocation, and gives up after `timeout`.
    fn leave(&mut self, timeout: Duration) -> Result<()> {
        if std::mem::replace(&mut self.is_left, true) {
            return Ok(());
        }
        let deadline = Instant::now() + timeout;
        let started = Queue::new(self.client())
            .and_then(|events| self.client().start_close(&events).map(|()| events));
        let events = match started {
            Ok(events) => events,
            // After a fatal error the member is out already.
            Err(refusal) if refusal.is_fatal => return Ok(()),
            Err(refusal) => return Err(self.refused(&refusal, "leaving the group")),
        };
        while !self.client().is_closed() {
            let rest = deadline.saturating_duration_since(Instant::now());
            if rest.is_zero() {
                return Err(errors::timed_out(
                    "leaving the group; it will notice by the session's time-out",
                    timeout,
                    self.client().signals().trouble(),
                ));
            }
            // The end itself is not an event, so waiting is cut into slices.
            let Some(event) = events.poll(rest.min(Duration::from_millis(100))) else {
                continue;
            };
            if matches!(event.kind(), EventKind::Assign | EventKind::Revoke) {
                let answered = if self.is_eager() {
                    self.client().unassign()
                } else {
                    let listed = list(&partitions(&event));
                    self.client().incremental_unassign(&listed)
                };
                answered.map_err(|refusal| self.refused(&refusal, "leaving the group"))?;
            }
        }
        Ok(())
    }
}

impl GroupConsumer for KafkaConsumer {
    type Record = KafkaRecord;

    fn subscribe(&mut self, topics: &[&str]) -> Result<()> {
        self.topics = topics.iter().map(|topic| (*topic).to_owned()).collect();
        self.subscribe_again()
    }

    fn poll(
        &mut self,
        timeout: Duration,
        records_max: usize,
        records: &mut Vec<(InputSlot, KafkaRecord)>,
    ) -> Result<Option<GroupEvent>> {
        let deadline = Instant::now() + timeout;
        loop {
            self.fetcher.start_looking();
            if let Some(event) = self.next_event() {
                return Ok(Some(event));
            }
            self.fetcher.check()?;
            if self.fetcher.check_missing()? {
                // Only this makes librdkafka look at the topics it subscribes to before its next regular refresh.
                self.subscribe_again()?;
            }
            if records_max > 0 && self.fetcher.take(records_max, records) > 0 {
                let lost = self.fetcher.take_out_of_range();
                return Ok((!lost.is_empty()).then_some(GroupEvent::OutOfRange(lost)));
            }
            if timeout.is_zero() || !self.fetcher.wait_until(deadline) {
                return Ok(None);
            }
        }
    }

    fn accept(&mut self, partitions: &[TopicPartition]) -> Result<()> {
        let mut new = Vec::new();
        for partition in partitions {
            if let Some(input) = self.inputs.get_mut(partition) {
                input.is_subscribed = true;
            } else if !self.parked.contains(partition) {
                new.push(partition);
            }
        }
        if self.is_eager() {
            self.parked.extend(new.into_iter().cloned());
            return self.assign_eagerly();
        }
        self.park(&new)
            .map_err(|refusal| self.refused(&refusal, "accepting an assignment"))
    }

    fn release(&mut self, partitions: &[TopicPartition]) -> Result<()> {
        let what = "giving partitions back";
        if self.is_eager() {
            for partition in self.inputs.keys().cloned().collect::<Vec<_>>() {
                self.forget_input(&partition);
            }
            self.fetcher.inputs.clear();
            self.stopping.extend(std::mem::take(&mut self.parked));
            return self
                .client()
                .unassign()
                .map_err(|refusal| self.refused(&refusal, what));
        }
        let assigned: Vec<&TopicPartition> = partitions
            .iter()
            .filter(|partition| {
                self.parked.contains(partition) || self.inputs.contains_key(partition)
            })
            .collect();
        // An empty list is an answer too.
        self.unassign(&assigned)
            .map_err(|refusal| self.refused(&refusal, what))?;
        for partition in assigned {
            self.forget_input(partition);
        }
        Ok(())
    }

    fn add_inputs(&mut self, inputs: &[Input]) -> Result<()> {
        if let Some(twice) = inputs
            .iter()
            .find(|input| self.inputs.contains_key(&input.partition))
        {
            return Err(Error::fatal(format!(
                "reading {}: it is an input already",
                twice.partition
            )));
        }
        let what = "starting to read";
        let is_eager = self.is_eager();
        let promoted: Vec<&TopicPartition> = inputs
            .iter()
            .map(|input| &input.partition)
            .filter(|partition| self.parked.contains(*partition))
            .collect();
        for input in inputs {
            self.fetcher
                .inputs
                .insert(&self.fetcher.client, &input.partition, input.slot)
                .map_err(|refusal| self.refused(&refusal, what))?;
        }
        let state = |input: &Input| InputState {
            start: input.offset,
            is_subscribed: promoted.contains(&&input.partition),
            is_paused: false,
        };
        let states: Vec<InputState> = inputs.iter().map(state).collect();
        if is_eager {
            for (input, state) in inputs.iter().zip(states) {
                if self.parked.remove(&input.partition) {
                    self.stopping.insert(input.partition.clone());
                    let parked = list([&input.partition]);
                    self.client()
                        .resume(&parked)
                        .map_err(|refusal| self.refused(&refusal, what))?;
                }
                self.inputs.insert(input.partition.clone(), state);
            }
            return self.assign_eagerly();
        }
        let starts = start_list(inputs.iter().map(|input| (&input.partition, input.offset)))?;
        let mut start = || {
            if !promoted.is_empty() {
                self.unassign(&promoted)?;
            }
            self.forward(inputs.iter().map(|input| &input.partition))?;
            self.client().incremental_assign(&starts)
        };
        start().map_err(|refusal| self.refused(&refusal, what))?;
        for (input, state) in inputs.iter().zip(states) {
            self.inputs.insert(input.partition.clone(), state);
        }
        Ok(())
    }

    /// While a revocation waits to be polled, librdkafka takes this for its answer. Then the group moves on a little early,
    /// and a commit that comes after that is refused: what it covered is processed again, nothing is lost.
    fn remove_inputs(&mut self, partitions: &[TopicPartition]) -> Result<()> {
        let known: Vec<&TopicPartition> = partitions
            .iter()
            .filter(|partition| self.inputs.contains_key(partition))
            .collect();
        if known.is_empty() {
            return Ok(());
        }
        let what = "stopping to read";
        if self.is_eager() {
            for partition in known {
                if let Some(input) = self.forget_input(partition)
                    && input.is_subscribed
                {
                    self.parked.insert(partition.clone());
                }
            }
            return self.assign_eagerly();
        }
        self.unassign(&known)
            .map_err(|refusal| self.refused(&refusal, what))?;
        let mut still_ours = Vec::new();
        for partition in known {
            if let Some(input) = self.forget_input(partition)
                && input.is_subscribed
            {
                still_ours.push(partition);
            }
        }
        if !still_ours.is_empty() {
            self.park(&still_ours)
                .map_err(|refusal| self.refused(&refusal, what))?;
        }
        Ok(())
    }

    fn pause(&mut self, partitions: &[TopicPartition]) -> Result<()> {
        self.set_paused(partitions, true)
    }

    fn resume(&mut self, partitions: &[TopicPartition]) -> Result<()> {
        self.set_paused(partitions, false)
    }

    fn committed(
        &mut self,
        partitions: &[TopicPartition],
        timeout: Duration,
    ) -> Result<Vec<Option<CommittedOffset>>> {
        let what = "asking for committed offsets";
        if partitions.is_empty() {
            return Ok(Vec::new());
        }
        let answers = self
            .client()
            .committed(&list(partitions), timeout)
            .map_err(|refusal| match refusal.code {
                RDKafkaErrorCode::OperationTimedOut => {
                    errors::timed_out(what, timeout, self.client().signals().trouble())
                }
                _ => self.refused(&refusal, what),
            })?;
        let mut found = BTreeMap::new();
        for answer in answers {
            let partition = TopicPartition::new(answer.topic, answer.partition);
            if let Some(code) = answer.error {
                return Err(errors::error(code, format_args!("{what} of {partition}")));
            }
            if answer.offset >= 0 {
                let metadata = String::from_utf8(answer.metadata).unwrap_or_else(|error| {
                    String::from_utf8_lossy(error.as_bytes()).into_owned()
                });
                let offset = answer.offset;
                found.insert(partition, CommittedOffset { offset, metadata });
            }
        }
        Ok(partitions
            .iter()
            .map(|partition| found.remove(partition))
            .collect())
    }

    fn commit(&mut self, offsets: &[(TopicPartition, CommittedOffset)]) -> Result<()> {
        if offsets.is_empty() {
            return Ok(());
        }
        let what = "committing offsets";
        let listed = offset_list(offsets)?;
        self.client()
            .commit(&listed, self.api_timeout)
            .map_err(|refusal| match refusal.code {
                RDKafkaErrorCode::OperationTimedOut => {
                    errors::timed_out(what, self.api_timeout, self.client().signals().trouble())
                }
                // A rebalance that is under way makes the generation old for a moment. When it is more than that, librdkafka
                // has given the assignment up before it answers.
                RDKafkaErrorCode::IllegalGeneration if !self.client().is_assignment_lost() => {
                    errors::error_with(ErrorKind::Retriable, refusal.code, what, &refusal.text)
                }
                _ => self.refused(&refusal, what),
            })
    }

    fn offsets(
        &mut self,
        partitions: &[TopicPartition],
        timeout: Duration,
    ) -> Result<Vec<(i64, i64)>> {
        offsets(self.client(), partitions, timeout)
    }

    fn end_offset(&mut self, partition: &TopicPartition) -> Option<i64> {
        self.client()
            .fetched_high_watermark(&partition.topic, partition.partition)
    }

    fn position(&mut self, partition: &TopicPartition) -> Option<i64> {
        let input = self.inputs.get(partition)?;
        position(self.client(), partition, input.start)
    }

    fn close(mut self) -> Result<()> {
        self.leave(CLOSE_MAX)
    }
}

impl Drop for KafkaConsumer {
    fn drop(&mut self) {
        if let Err(error) = self.leave(DROP_MAX) {
            tracing::warn!("{error}");
        }
    }
}

/// Where a partition stands: behind what was delivered, or where it starts when nothing was yet.
pub(super) fn position(
    client: &Client,
    partition: &TopicPartition,
    start: StartOffset,
) -> Option<i64> {
    let positions = client.positions(&list([partition])).ok()?;
    match (positions.first().map(|each| each.offset), start) {
        (Some(offset), _) if offset >= 0 => Some(offset),
        (_, StartOffset::At(offset)) => Some(offset),
        _ => None,
    }
}

/// Offsets with their metadata as librdkafka takes them.
pub(super) fn offset_list(
    offsets: &[(TopicPartition, CommittedOffset)],
) -> Result<TopicPartitionList> {
    let mut listed = TopicPartitionList::new();
    for (partition, committed) in offsets {
        let mut element = listed.add_partition(&partition.topic, partition.partition);
        element.set_metadata(&committed.metadata);
        element
            .set_offset(Offset::Offset(committed.offset))
            .map_err(|error| {
                errors::from_kafka(error, format_args!("committing an offset of {partition}"))
            })?;
    }
    Ok(listed)
}

/// The subscribed topic that a complaint is about: librdkafka names it in the text only.
fn subscribed_topic_in<'a>(text: &str, topics: &'a [String]) -> &'a str {
    topics
        .iter()
        .find(|topic| text.contains(&format!(": {topic}:")))
        .map_or("", String::as_str)
}

fn partitions(event: &Event) -> Vec<TopicPartition> {
    event
        .partitions()
        .into_iter()
        .map(|each| TopicPartition::new(each.topic, each.partition))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_topic_of_a_complaint_is_found_by_its_whole_name() {
        let topics = ["orders".to_owned(), "orders-2".to_owned()];
        let text = "Subscribed topic not available: orders-2: Broker: Unknown topic or partition";
        assert_eq!(subscribed_topic_in(text, &topics), "orders-2");
        assert_eq!(subscribed_topic_in("1/1 brokers are down", &topics), "");
    }

    #[test]
    fn offsets_keep_their_metadata() {
        let committed = CommittedOffset {
            offset: 7,
            metadata: "AgAAAAAAAAPo".into(),
        };
        let listed = offset_list(&[(TopicPartition::new("t", 3), committed)]).unwrap();
        let elements = listed.elements();
        assert_eq!(elements[0].metadata(), "AgAAAAAAAAPo");
        assert_eq!(elements[0].offset(), Offset::Offset(7));
    }
}
