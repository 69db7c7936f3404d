//! Topics as a topology names them, before the application's id is known.

use std::any::{TypeId, type_name};
use std::fmt;
use std::sync::Arc;

/// Where to start reading a source topic when the group has no committed offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OffsetReset {
    /// At the oldest record.
    Earliest,
    /// Behind the newest record.
    Latest,
}

/// A topic of the user's, or one the application makes for itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum TopicName {
    External(Arc<str>),
    Internal(Arc<InternalTopic>),
}

/// A repartition topic, or one of a foreign-key join.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct InternalTopic {
    /// `<base>-repartition` or `<base>-topic`: the application's id goes in front.
    pub(crate) base: String,
    /// The count the user asked for (`Repartitioned::with_number_of_partitions`).
    pub(crate) partition_count: Option<i32>,
}

impl TopicName {
    /// The name on the broker.
    pub(crate) fn full_name(&self, application_id: &str) -> Arc<str> {
        match self {
            TopicName::External(name) => name.clone(),
            TopicName::Internal(topic) => format!("{application_id}-{}", topic.base).into(),
        }
    }
}

/// As `describe` prints it: internal topics without the application's id, as Java does before it knows the id.
impl fmt::Display for TopicName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TopicName::External(name) => f.write_str(name),
            TopicName::Internal(topic) => f.write_str(&topic.base),
        }
    }
}

/// One input topic of a sub-topology.
#[derive(Clone, Debug)]
pub(crate) struct SourceTopic {
    pub(crate) topic: TopicName,
    pub(crate) auto_offset_reset: Option<OffsetReset>,
    /// The source node that reads it.
    pub(crate) node: super::NodeId,
}

/// The types of a stream's records, to compare with another's.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RecordTypes {
    key: (TypeId, &'static str),
    value: (TypeId, &'static str),
}

impl RecordTypes {
    pub(crate) fn of<K: 'static, V: 'static>() -> Self {
        RecordTypes {
            key: (TypeId::of::<K>(), type_name::<K>()),
            value: (TypeId::of::<V>(), type_name::<V>()),
        }
    }
}

impl PartialEq for RecordTypes {
    fn eq(&self, other: &Self) -> bool {
        (self.key.0, self.value.0) == (other.key.0, other.value.0)
    }
}

impl fmt::Display for RecordTypes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "keys `{}` and values `{}`", self.key.1, self.value.1)
    }
}
