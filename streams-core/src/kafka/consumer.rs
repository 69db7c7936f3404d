//! A member of the application's group.
//!
//! What the group hands out and what is read are two things here: the group may subscribe to a topic that stands for the
//! tasks while records come from the tasks' real inputs, or both may be the same partitions. So an assignment is accepted
//! paused, and a partition is read from the moment it becomes an input.

use super::assignment::Assignment;
use super::errors;
use super::fetch::{Fetcher, check_new, list};
use super::ffi::{Client, Event, EventKind, GroupMetadata, Queue, RebalanceProtocol, Refusal};
use super::offsets::{offsets, starts};
use super::record::KafkaRecord;
use crate::error::{Error, ErrorKind, Result};
use crate::record::TopicPartition;
use crate::runtime::broker::{
    CommittedOffset, GroupConsumer, GroupEvent, Input, InputSlot, StartOffset,
};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use std::collections::{BTreeMap, VecDeque};
use std::fmt::Display;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long leaving the group may take; after that the group finds out by the session's time-out.
const CLOSE_MAX: Duration = Duration::from_secs(10);
/// How long the end may take after a rebalance was answered while leaving; a later one is answered only when it was not the end.
const AFTER_ANSWER: Duration = Duration::from_millis(200);
/// The same for a consumer that is dropped without [`GroupConsumer::close`], as while unwinding.
const DROP_MAX: Duration = Duration::from_secs(2);

/// A member of the application's group over librdkafka.
pub struct KafkaConsumer {
    fetcher: Fetcher,
    topics: Vec<String>,
    assignment: Assignment,
    /// What the group decided and nobody has polled yet.
    undelivered: VecDeque<GroupEvent>,
    /// Whether the group counts us in; committing when it does not would make librdkafka start to join anew each time.
    is_member: bool,
    /// Whether a revocation waits for [`GroupConsumer::release`].
    is_revoking: bool,
    is_left: bool,
    api_timeout: Duration,
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
            assignment: Assignment::default(),
            undelivered: VecDeque::new(),
            is_member: false,
            is_revoking: false,
            is_left: false,
            api_timeout,
        })
    }

    fn check_member(&self, what: &str) -> Result<()> {
        if self.is_member {
            return Ok(());
        }
        Err(Error::fenced(format!(
            "{what}: this consumer is not a member of its group at the moment"
        )))
    }

    pub(super) fn client(&self) -> &Arc<Client> {
        &self.fetcher.client
    }

    fn refused(&self, refusal: &Refusal, what: impl Display) -> Error {
        errors::refused(refusal, what, self.client().signals().trouble())
    }

    fn subscribe_again(&self) -> Result<()> {
        if self.topics.is_empty() {
            let unsubscribed = self.client().unsubscribe();
            return unsubscribed.map_err(|refusal| self.refused(&refusal, "leaving the group"));
        }
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
                EventKind::Assign => {
                    self.is_member = true;
                    self.fetcher.note_joined();
                    return Some(GroupEvent::Assigned(partitions(&event)));
                }
                EventKind::Revoke => {
                    self.is_revoking = true;
                    let partitions = partitions(&event);
                    return Some(if self.client().is_assignment_lost() {
                        self.is_member = false;
                        self.client().signals().heartbeats().start_joining();
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

    fn set_paused(&mut self, partitions: &[TopicPartition], is_paused: bool) -> Result<()> {
        let what = if is_paused { "pausing" } else { "resuming" };
        if let Some(stranger) = partitions
            .iter()
            .find(|partition| !self.assignment.has_input(partition))
        {
            return Err(Error::fatal(format!(
                "{what} {stranger}: it is not an input of this consumer"
            )));
        }
        self.assignment
            .set_paused(&self.fetcher.client, partitions, is_paused)
            .map_err(|refusal| self.refused(&refusal, format_args!("{what} partitions")))
    }

    /// Inputs whose position is no longer in the log, with that position. An input with an error older than its start is read
    /// on.
    fn take_out_of_range(&mut self) -> Result<Vec<(TopicPartition, i64)>> {
        let mut lost = Vec::new();
        let mut noted = self.fetcher.take_out_of_range().into_iter();
        while let Some((partition, offset)) = noted.next() {
            let start = self.assignment.start_behind(&partition, offset);
            let Some((start, slot)) = start.zip(self.fetcher.inputs.slot_of(&partition)) else {
                lost.push((partition, offset));
                continue;
            };
            tracing::info!(%partition, offset, start, "passing over an error of before");
            if let Err(error) = self.start_again(partition.clone(), slot, start) {
                // librdkafka does not tell of them again.
                lost.push((partition, offset));
                lost.extend(noted);
                self.fetcher.put_out_of_range_back(lost);
                return Err(error);
            }
        }
        Ok(lost)
    }

    /// Reads an input on from where it is: an error may have stopped it.
    fn start_again(
        &mut self,
        partition: TopicPartition,
        slot: InputSlot,
        start: i64,
    ) -> Result<()> {
        let offset = StartOffset::At(position(self.client(), &partition, start));
        let is_paused = self.assignment.is_paused(&partition);
        let input = [Input {
            partition,
            slot,
            offset,
        }];
        let partition = std::slice::from_ref(&input[0].partition);
        self.remove_inputs(partition)?;
        self.add_inputs(&input)?;
        if is_paused {
            self.pause(partition)?;
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
        let mut answers = 0;
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
                // An answer when the member is out waits for ever: librdkafka throws it away. That can be so when one given
                // before was enough for this event, too; then the end comes soon.
                if answers > 0 {
                    self.await_closed(AFTER_ANSWER);
                }
                if self.client().is_closed() {
                    break;
                }
                answers += 1;
                let protocol = self.client().rebalance_protocol();
                let answered = if protocol == RebalanceProtocol::Eager {
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

    /// Waits until the member is out of the group, at most for `timeout`.
    fn await_closed(&self, timeout: Duration) {
        let deadline = Instant::now() + timeout;
        while !self.client().is_closed() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

impl GroupConsumer for KafkaConsumer {
    type Record = KafkaRecord;
    type GroupMetadata = GroupMetadata;

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
            if let Some(event) = self.undelivered.pop_front().or_else(|| self.next_event()) {
                return Ok(Some(event));
            }
            self.fetcher.check()?;
            if self.fetcher.check_missing()? {
                // Only this makes librdkafka look at the topics it subscribes to before its next regular refresh.
                self.subscribe_again()?;
            }
            if records_max > 0 && self.fetcher.take(records_max, records) > 0 {
                let lost = self.take_out_of_range()?;
                return Ok((!lost.is_empty()).then_some(GroupEvent::OutOfRange(lost)));
            }
            if timeout.is_zero() || !self.fetcher.wait_until(deadline) {
                return Ok(None);
            }
        }
    }

    fn accept(&mut self, partitions: &[TopicPartition]) -> Result<()> {
        self.assignment
            .accept(&self.fetcher, partitions)
            .map_err(|refusal| self.refused(&refusal, "accepting an assignment"))
    }

    fn release(&mut self, partitions: &[TopicPartition]) -> Result<()> {
        self.is_revoking = false;
        self.assignment
            .release(&mut self.fetcher, partitions)
            .map_err(|refusal| self.refused(&refusal, "giving partitions back"))
    }

    fn add_inputs(&mut self, inputs: &[Input]) -> Result<()> {
        check_new(inputs, |partition| self.assignment.has_input(partition))?;
        let starts = starts(self.client(), inputs, self.api_timeout)?;
        self.assignment
            .add(&mut self.fetcher, inputs, &starts)
            .map_err(|refusal| self.refused(&refusal, "starting to read"))
    }

    /// While a revocation waits to be polled, librdkafka takes this for its answer. Then the group moves on a little early,
    /// and a commit that comes after that is refused: what it covered is processed again, nothing is lost.
    fn remove_inputs(&mut self, partitions: &[TopicPartition]) -> Result<()> {
        self.assignment
            .remove(&mut self.fetcher, partitions, self.is_revoking)
            .map_err(|refusal| self.refused(&refusal, "stopping to read"))
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
                let metadata = String::from_utf8(answer.metadata)
                    .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned());
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
        self.check_member(what)?;
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

    fn group_metadata(&mut self) -> Result<GroupMetadata> {
        let what = "committing offsets in a transaction";
        let metadata = self
            .client()
            .group_metadata()
            .ok_or_else(|| Error::fatal("this consumer belongs to no group"))?;
        // librdkafka tells of a revocation before it joins anew, but takes any change of the inputs for an answer: what it says
        // now may be the membership behind a revocation that the caller does not know of, whose partitions are not its own.
        while let Some(event) = self.next_event() {
            self.undelivered.push_back(event);
        }
        // Without a membership the broker would take the offsets unchecked.
        self.check_member(what)?;
        if !self.undelivered.is_empty() {
            return Err(Error::retriable(format!(
                "{what}: what the group has decided meanwhile comes first"
            )));
        }
        Ok(metadata)
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
        let start = self.assignment.start(partition)?;
        Some(position(self.client(), partition, start))
    }

    fn is_member(&mut self) -> bool {
        self.client()
            .group_metadata()
            .is_some_and(|group| group.generation() > 0)
    }

    fn close(mut self) -> Result<()> {
        self.leave(CLOSE_MAX)
    }

    fn close_and_stay(mut self) -> Result<()> {
        // The client is destroyed without leaving.
        self.is_left = true;
        Ok(())
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
pub(super) fn position(client: &Client, partition: &TopicPartition, start: i64) -> i64 {
    let positions = client.positions(&list([partition])).unwrap_or_default();
    match positions.first() {
        Some(position) => position.offset.max(start),
        None => start,
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
