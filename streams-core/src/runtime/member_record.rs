//! What an instance tells the others about itself, as bytes: a record of the task topic, keyed by the instance.
//!
//! Other kinds of records may be in the same topic; they have other keys. A record of another version is left alone.

use crate::task::TaskId;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use uuid::Uuid;

/// What the keys of these records begin with; the id of the process follows as text.
const KEY: &[u8] = b"instance-";
const VERSION: u8 = 2;
const KEPT: u8 = 0;
const OPEN: u8 = 1;
/// Added to [`OPEN`].
const WARM: u8 = 2;
const WARM_UP: u8 = 4;

/// What is known of one instance.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Member {
    /// `application.server`: where it answers queries.
    pub(crate) host: Option<String>,
    /// How many stream threads it has: without one it takes no tasks.
    pub(crate) threads: u32,
    /// How long the others are to count it in when they hear nothing of it.
    pub(crate) patience: Duration,
    /// The tasks its threads have been given.
    pub(crate) given: BTreeSet<TaskId>,
    /// What it has of other tasks' state.
    pub(crate) copies: BTreeMap<TaskId, TaskCopy>,
}

/// A copy of a task's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TaskCopy {
    /// On disk from the time when the task ran there, and not kept up to date.
    Kept,
    /// Kept up to date.
    Open(OpenCopy),
}

/// A copy that is kept up to date.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct OpenCopy {
    /// How many offsets it is behind.
    pub(crate) lag: u64,
    /// Whether that is little enough for the task to go on from there at once.
    pub(crate) is_warm: bool,
    /// Whether it is there for a task that is to move, and not as one of the standby replicas.
    pub(crate) is_warm_up: bool,
}

/// The key of an instance's records.
pub(crate) fn encode_key(process_id: Uuid) -> Vec<u8> {
    [KEY, process_id.to_string().as_bytes()].concat()
}

/// The instance a record is of; `None` for a record of another kind.
pub(crate) fn decode_key(key: &[u8]) -> Option<Uuid> {
    let id = key.strip_prefix(KEY)?;
    Uuid::try_parse_ascii(id).ok()
}

impl Member {
    /// `[version u8] [host] [threads u32] [patience u64 ms] [given] [copies]`: big-endian, lists with their lengths before them.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![VERSION];
        let host = self.host.as_deref().unwrap_or_default();
        put_length(&mut bytes, host.len());
        bytes.extend_from_slice(host.as_bytes());
        bytes.extend_from_slice(&self.threads.to_be_bytes());
        let patience_ms = u64::try_from(self.patience.as_millis()).unwrap_or(u64::MAX);
        bytes.extend_from_slice(&patience_ms.to_be_bytes());
        put_length(&mut bytes, self.given.len());
        for task in &self.given {
            put_task(&mut bytes, *task);
        }
        put_length(&mut bytes, self.copies.len());
        for (task, copy) in &self.copies {
            put_task(&mut bytes, *task);
            let (kind, lag) = match copy {
                TaskCopy::Kept => (KEPT, 0),
                TaskCopy::Open(open) => {
                    let is_warm = u8::from(open.is_warm) * WARM;
                    let is_warm_up = u8::from(open.is_warm_up) * WARM_UP;
                    (OPEN | is_warm | is_warm_up, open.lag)
                }
            };
            bytes.push(kind);
            bytes.extend_from_slice(&lag.to_be_bytes());
        }
        bytes
    }

    /// What such bytes say; `None` when they are of another version or damaged.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Member> {
        let mut bytes = Bytes(bytes);
        if bytes.byte()? != VERSION {
            return None;
        }
        let length = bytes.length()?;
        let host = std::str::from_utf8(bytes.take(length)?).ok()?;
        let mut member = Member {
            host: (!host.is_empty()).then(|| host.to_owned()),
            threads: u32::from_be_bytes(bytes.array()?),
            patience: Duration::from_millis(u64::from_be_bytes(bytes.array()?)),
            ..Member::default()
        };
        for _ in 0..bytes.length()? {
            member.given.insert(bytes.task()?);
        }
        for _ in 0..bytes.length()? {
            let task = bytes.task()?;
            let kind = bytes.byte()?;
            let lag = u64::from_be_bytes(bytes.array()?);
            let copy = match kind {
                KEPT => TaskCopy::Kept,
                open if open & !(WARM | WARM_UP) == OPEN => TaskCopy::Open(OpenCopy {
                    lag,
                    is_warm: open & WARM != 0,
                    is_warm_up: open & WARM_UP != 0,
                }),
                _ => return None,
            };
            member.copies.insert(task, copy);
        }
        bytes.0.is_empty().then_some(member)
    }
}

fn put_length(bytes: &mut Vec<u8>, length: usize) {
    let length = u32::try_from(length).unwrap_or(u32::MAX);
    bytes.extend_from_slice(&length.to_be_bytes());
}

fn put_task(bytes: &mut Vec<u8>, task: TaskId) {
    bytes.extend_from_slice(&task.sub_topology.to_be_bytes());
    bytes.extend_from_slice(&task.partition.to_be_bytes());
}

/// What is still to be read.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    fn byte(&mut self) -> Option<u8> {
        self.array().map(|[byte]| byte)
    }

    fn length(&mut self) -> Option<usize> {
        usize::try_from(u32::from_be_bytes(self.array()?)).ok()
    }

    fn task(&mut self) -> Option<TaskId> {
        let sub_topology = u32::from_be_bytes(self.array()?);
        let partition = i32::from_be_bytes(self.array()?);
        (partition >= 0).then_some(TaskId {
            sub_topology,
            partition,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn tasks() -> impl Strategy<Value = TaskId> {
        (any::<u32>(), 0..i32::MAX).prop_map(|(sub_topology, partition)| TaskId {
            sub_topology,
            partition,
        })
    }

    fn members() -> impl Strategy<Value = Member> {
        let copy = prop_oneof![
            Just(TaskCopy::Kept),
            any::<(u64, bool, bool)>().prop_map(|(lag, is_warm, is_warm_up)| {
                TaskCopy::Open(OpenCopy {
                    lag,
                    is_warm,
                    is_warm_up,
                })
            })
        ];
        let given = prop::collection::btree_set(tasks(), 0..8);
        let copies = prop::collection::btree_map(tasks(), copy, 0..8);
        let host = prop::option::of("[a-z.]{1,20}:[0-9]{4}");
        let rest = (any::<u32>(), any::<u64>());
        (host, given, copies, rest).prop_map(|(host, given, copies, (threads, ms))| Member {
            host,
            threads,
            patience: Duration::from_millis(ms),
            given,
            copies,
        })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(member in members(), cut in any::<prop::sample::Index>()) {
            let bytes = member.encode();
            prop_assert_eq!(Member::decode(&bytes), Some(member));
            // Half a record is none, and neither is one with something behind it.
            prop_assert_eq!(Member::decode(&bytes[..cut.index(bytes.len())]), None);
            prop_assert_eq!(Member::decode(&[&bytes[..], b"x"].concat()), None);
        }

        #[test]
        fn any_bytes_are_read_without_harm(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = Member::decode(&bytes);
            let _ = Member::decode(&[&[VERSION][..], &bytes].concat());
            prop_assert_eq!(decode_key(&bytes), None);
        }
    }

    #[test]
    fn a_later_version_and_other_kinds_are_left_alone() {
        let mut bytes = Member::default().encode();
        bytes[0] = VERSION + 1;
        assert_eq!(Member::decode(&bytes), None);
        let id = Uuid::new_v4();
        assert_eq!(decode_key(&encode_key(id)), Some(id));
        assert_eq!(decode_key(b"shutdown-requested"), None);
    }
}
