//! The members of the group, as their clients' background threads serve them: heartbeats, and what the group decides told to the
//! application in the order in which librdkafka tells it. What is here is for both protocols, and KIP-848; `classic` has the rest
//! of the other one.

use super::classic::Stage;
use super::world::{ProcessId, World};
use crate::error::{Error, Result};
use crate::record::TopicPartition;
use crate::runtime::broker::GroupEvent;
use kafka_protocol::ResponseError;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// How often a member lets the group hear of it.
const HEARTBEAT_US: u64 = 500_000;
/// How soon when it has something to say.
const NEWS_US: u64 = 5_000;

/// All members that clients serve, by number.
#[derive(Default)]
pub(super) struct Members(BTreeMap<u64, Member>);

pub(super) struct Member {
    pub(super) process: ProcessId,
    pub(super) client_id: String,
    pub(super) id: String,
    /// Or its generation; 0 while it is no member.
    pub(super) epoch: i32,
    /// What it subscribes to.
    pub(super) topics: BTreeSet<String>,
    /// What the application has accepted and not released.
    pub(super) owned: BTreeSet<TopicPartition>,
    /// What the group wants it to have, once it has said so.
    assigned: Option<BTreeSet<TopicPartition>>,
    /// What the application has not been told yet.
    events: VecDeque<GroupEvent>,
    /// Whether an event is told or waits to be, and not answered.
    is_deciding: bool,
    /// Whether the group has removed it, and the application still has something.
    is_lost: bool,
    /// Where it is in the classic protocol.
    pub(super) stage: Stage,
    /// Whether it has to join again when it has given up what it has to.
    joins_again: bool,
    due_us: u64,
    /// Until when the group hears nothing of it.
    pub(super) cut_off_until_us: u64,
}

impl Members {
    /// Joins, or lets the group know of another subscription.
    pub(super) fn subscribe(
        &mut self,
        number: u64,
        process: ProcessId,
        client_id: &str,
        topics: BTreeSet<String>,
        now_us: u64,
    ) {
        if let Some(member) = self.0.get_mut(&number) {
            member.topics = topics;
            member.joins_again = true;
            member.due_us = member.due_us.min(now_us + NEWS_US);
            if member.stage == Stage::In && !member.is_deciding {
                member.stage = Stage::Out;
            }
            return;
        }
        let member = Member {
            process,
            client_id: client_id.to_owned(),
            id: format!("m{number}"),
            epoch: 0,
            topics,
            owned: BTreeSet::new(),
            assigned: None,
            events: VecDeque::new(),
            is_deciding: false,
            is_lost: false,
            stage: Stage::Out,
            joins_again: false,
            due_us: 0,
            cut_off_until_us: 0,
        };
        self.0.insert(number, member);
    }

    pub(super) fn get(&mut self, number: u64) -> Option<&mut Member> {
        self.0.get_mut(&number)
    }

    pub(super) fn remove(&mut self, number: u64) -> Option<Member> {
        self.0.remove(&number)
    }

    /// The members of a process that died say nothing more.
    pub(super) fn forget(&mut self, process: ProcessId) {
        self.0.retain(|_, member| member.process != process);
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&u64, &Member)> {
        self.0.iter()
    }

    pub(super) fn numbers(&self) -> Vec<u64> {
        self.0.keys().copied().collect()
    }

    /// The next heartbeat of a process that `runs`: when, and whose.
    pub(super) fn next_due(&self, runs: impl Fn(ProcessId) -> bool) -> Option<(u64, u64)> {
        let running = self.0.iter().filter(|(_, member)| runs(member.process));
        running
            .map(|(number, member)| (member.due_us, *number))
            .min()
    }
}

impl Member {
    /// It has told the group everything there is to tell so far.
    pub(super) fn joined(&mut self) {
        self.joins_again = false;
    }

    pub(super) fn is_deciding(&self) -> bool {
        self.is_deciding
    }

    /// Takes what the group gives it in the classic protocol, which is all that it is to have.
    pub(super) fn assign(&mut self, assigned: BTreeSet<TopicPartition>) {
        self.joins_again |= self.owned.difference(&assigned).next().is_some();
        self.assigned = Some(assigned);
        self.decide();
        if !self.is_deciding {
            // It is told also when nothing is new.
            self.events.push_back(GroupEvent::Assigned(Vec::new()));
            self.is_deciding = true;
        }
    }

    /// Decides what to tell the application next.
    fn decide(&mut self) {
        let Some(assigned) = &self.assigned else {
            return;
        };
        if self.is_deciding || self.is_lost {
            return;
        }
        let gone: Vec<TopicPartition> = self.owned.difference(assigned).cloned().collect();
        let new: Vec<TopicPartition> = assigned.difference(&self.owned).cloned().collect();
        let event = if !gone.is_empty() {
            GroupEvent::Revoked(gone)
        } else if !new.is_empty() {
            GroupEvent::Assigned(new)
        } else {
            if self.stage == Stage::In && std::mem::take(&mut self.joins_again) {
                self.stage = Stage::Out;
            }
            return;
        };
        self.events.push_back(event);
        self.is_deciding = true;
    }

    /// The group no longer knows it.
    pub(super) fn lose(&mut self) {
        self.epoch = 0;
        self.joins_again = false;
        self.assigned = None;
        // What was not told yet is void; what was told and not answered is answered first.
        if self.events.pop_front().is_some() {
            self.is_deciding = false;
        }
        self.is_lost = !self.owned.is_empty();
        if self.is_lost && !self.is_deciding {
            self.tell_lost();
        }
    }

    fn tell_lost(&mut self) {
        let lost = self.owned.iter().cloned().collect();
        self.events.push_back(GroupEvent::Lost(lost));
        self.is_deciding = true;
    }

    pub(super) fn poll(&mut self) -> Option<GroupEvent> {
        self.events.pop_front()
    }

    pub(super) fn accept(&mut self, partitions: &[TopicPartition], now_us: u64) -> Result<()> {
        if self.epoch == 0 {
            self.is_deciding = false;
            return Err(Error::fenced("the group has moved on"));
        }
        self.owned.extend(partitions.iter().cloned());
        self.answered(now_us);
        Ok(())
    }

    pub(super) fn release(&mut self, partitions: &[TopicPartition], now_us: u64) {
        for partition in partitions {
            self.owned.remove(partition);
        }
        self.answered(now_us);
        if self.is_lost {
            self.is_lost = !self.owned.is_empty();
            if self.is_lost {
                self.tell_lost();
            }
        }
    }

    fn answered(&mut self, now_us: u64) {
        self.is_deciding = false;
        self.due_us = self.due_us.min(now_us + NEWS_US);
        self.decide();
    }

    pub(super) fn is_member(&self) -> bool {
        self.epoch > 0
    }

    /// Who it is, for a commit.
    pub(super) fn credentials(&self) -> Result<(String, i32)> {
        if self.epoch == 0 {
            return Err(Error::fenced("this consumer is not a member of its group"));
        }
        Ok((self.id.clone(), self.epoch))
    }

    /// Who it is, for a transaction: what the group has decided meanwhile comes first.
    pub(super) fn group_metadata(&self) -> Result<(String, i32)> {
        let credentials = self.credentials()?;
        if self.events.is_empty() {
            return Ok(credentials);
        }
        Err(Error::retriable(
            "the group has decided something meanwhile",
        ))
    }
}

impl World {
    /// A member lets the group hear of it, and hears what the group wants.
    pub(super) fn heartbeat(&self, number: u64) {
        let now_us = self.now_us();
        let jitter_us = self.between(0, 20_000);
        let is_lost = self.chance(self.faults.lost_answer);
        let mut members = self.members.borrow_mut();
        let Some(member) = members.get(number) else {
            return;
        };
        member.due_us = now_us + HEARTBEAT_US + jitter_us;
        // It joins anew when the application has given up what it had.
        if member.is_lost || now_us < member.cut_off_until_us || self.is_out() {
            return;
        }
        if self.setup.is_classic {
            if !is_lost {
                self.classic_step(member, number);
            }
            if member.stage != Stage::In {
                member.due_us = now_us + NEWS_US + jitter_us;
            }
            return;
        }
        let answer = self.cluster.borrow_mut().heartbeat(
            &self.setup.group,
            (&member.id, member.epoch),
            &member.client_id,
            &member.topics,
            &member.owned,
            self.now_ms(),
        );
        if is_lost {
            return;
        }
        match answer {
            Ok(membership) => {
                let has_news = member.epoch != membership.epoch
                    || member.assigned.as_ref() != Some(&membership.assigned);
                if has_news {
                    let process = member.process;
                    self.note(process, || {
                        let (epoch, assigned) = (membership.epoch, &membership.assigned);
                        format!("m{number} is to have {assigned:?} in epoch {epoch}")
                    });
                }
                member.epoch = membership.epoch;
                member.assigned = Some(membership.assigned);
                member.decide();
            }
            Err(error @ (ResponseError::UnknownMemberId | ResponseError::FencedMemberEpoch)) => {
                self.note(member.process, || format!("m{number} is out: {error}"));
                member.lose();
                member.due_us = now_us + NEWS_US;
            }
            Err(error) => self.violate(format!("a heartbeat was refused: {error}")),
        }
    }

    /// The group removes a member, as an administrator or a time-out does.
    pub(super) fn expel(&self, number: u64) {
        let mut members = self.members.borrow_mut();
        let Some(member) = members.get(number) else {
            return;
        };
        self.note(0, || format!("the group removes m{number}"));
        self.leave(member);
    }

    /// A member is in the group no more.
    pub(super) fn leave(&self, member: &Member) {
        if self.setup.is_classic {
            self.classic_leave(member);
        } else {
            let mut cluster = self.cluster.borrow_mut();
            let group = &self.setup.group;
            cluster.leave(group, &member.id, self.now_ms());
        }
    }
}
