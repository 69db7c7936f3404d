//! A member of a group of the consumer protocol.

use std::collections::BTreeSet;

use regex::Regex;

use super::Heartbeat;
use crate::embedded::core::assignors::{Assignor, TopicPartition};
use crate::embedded::core::topics::Topics;

/// A member of the group.
#[derive(Clone, Debug)]
pub(crate) struct ConsumerMember {
    pub(crate) instance_id: Option<String>,
    pub(crate) rack_id: Option<String>,
    pub(crate) client_id: String,
    pub(crate) client_host: String,
    pub(crate) epoch: i32,
    pub(crate) subscribed_names: BTreeSet<String>,
    pub(crate) subscribed_regex: Option<String>,
    /// What it has been told to own.
    pub(crate) assigned: BTreeSet<TopicPartition>,
    pub(super) assignor: Option<Assignor>,
    pub(super) previous_epoch: i32,
    pub(super) rebalance_timeout_ms: i32,
    /// What it has been told to give up and may still own.
    pub(super) revoking: BTreeSet<TopicPartition>,
    pub(super) session_deadline_ms: i64,
    pub(super) revocation_deadline_ms: Option<i64>,
}

impl ConsumerMember {
    /// Takes over what the heartbeat says; `true` if that changes who should get what.
    pub(super) fn update(&mut self, heartbeat: &Heartbeat<'_>, assignor: Option<Assignor>) -> bool {
        let request = heartbeat.request;
        let before = (
            self.subscribed_names.clone(),
            self.subscribed_regex.clone(),
            self.assignor,
        );
        if let Some(names) = &request.subscribed_topic_names {
            self.subscribed_names = names.iter().map(|name| name.to_string()).collect();
        }
        if let Some(pattern) = &request.subscribed_topic_regex {
            self.subscribed_regex = Some(pattern.to_string()).filter(|pattern| !pattern.is_empty());
        }
        if assignor.is_some() {
            self.assignor = assignor;
        }
        if request.rebalance_timeout_ms > 0 {
            self.rebalance_timeout_ms = request.rebalance_timeout_ms;
        }
        if request.rack_id.is_some() {
            self.rack_id = request.rack_id.as_ref().map(ToString::to_string);
        }
        before
            != (
                self.subscribed_names.clone(),
                self.subscribed_regex.clone(),
                self.assignor,
            )
    }

    /// The names of the topics it wants, whether they exist or not.
    pub(super) fn subscribed(&self, topics: &Topics) -> BTreeSet<String> {
        let pattern = self.subscribed_regex.as_deref().and_then(full_match);
        let matching = topics.iter().filter(|topic| {
            pattern
                .as_ref()
                .is_some_and(|pattern| pattern.is_match(&topic.name))
        });
        matching
            .map(|topic| topic.name.clone())
            .chain(self.subscribed_names.iter().cloned())
            .collect()
    }

    pub(super) fn is_settled(
        &self,
        target: Option<&BTreeSet<TopicPartition>>,
        assignment_epoch: i32,
    ) -> bool {
        self.epoch == assignment_epoch && self.revoking.is_empty() && target == Some(&self.assigned)
    }

    pub(super) fn next_deadline_ms(&self) -> i64 {
        self.revocation_deadline_ms
            .map_or(self.session_deadline_ms, |deadline_ms| {
                deadline_ms.min(self.session_deadline_ms)
            })
    }
}

/// A pattern that has to match the whole name, as Kafka has it.
pub(super) fn full_match(pattern: &str) -> Option<Regex> {
    Regex::new(&format!("^(?:{pattern})$")).ok()
}
