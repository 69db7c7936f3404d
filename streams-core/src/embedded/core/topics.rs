//! The topics: names, ids, partitions and configuration.

use std::collections::{BTreeMap, HashMap};

use kafka_protocol::ResponseError;
use uuid::Uuid;

use super::changes::{Change, Changes};
use super::log::PartitionLog;
use super::topic_config::TopicConfig;

/// The most partitions one topic may have. Kafka knows no limit, but a typing error should not eat the memory.
const PARTITION_COUNT_MAX: usize = 10_000;
/// The longest name of a topic, as in Kafka.
const NAME_LEN_MAX: usize = 249;

/// A topic and its data.
#[derive(Clone, Debug)]
pub(crate) struct Topic {
    pub(crate) id: Uuid,
    pub(crate) name: String,
    pub(crate) partitions: Vec<PartitionLog>,
    pub(crate) config: TopicConfig,
}

impl Topic {
    /// The log of a partition.
    ///
    /// # Errors
    /// `UNKNOWN_TOPIC_OR_PARTITION` if there is none with this number.
    pub(crate) fn partition(&self, partition: i32) -> Result<&PartitionLog, ResponseError> {
        let index =
            usize::try_from(partition).map_err(|_| ResponseError::UnknownTopicOrPartition)?;
        self.partitions
            .get(index)
            .ok_or(ResponseError::UnknownTopicOrPartition)
    }

    fn note(&self, changes: &mut Changes) {
        changes.push(|| Change::Topic {
            topic_id: self.id,
            name: self.name.clone(),
            partition_count: self.partitions.len(),
            config: self.config.clone(),
        });
    }
}

/// All topics.
#[derive(Clone, Debug, Default)]
pub(crate) struct Topics {
    by_name: BTreeMap<String, Topic>,
    names: HashMap<Uuid, String>,
}

impl Topics {
    /// The topic with this name.
    pub(crate) fn get(&self, name: &str) -> Option<&Topic> {
        self.by_name.get(name)
    }

    /// The name of the topic with this id.
    pub(crate) fn name_of(&self, id: Uuid) -> Option<&str> {
        self.names.get(&id).map(String::as_str)
    }

    /// The log of a partition.
    ///
    /// # Errors
    /// `UNKNOWN_TOPIC_OR_PARTITION` if there is no such topic or partition.
    pub(crate) fn partition(
        &self,
        topic: &str,
        partition: i32,
    ) -> Result<&PartitionLog, ResponseError> {
        self.get(topic)
            .ok_or(ResponseError::UnknownTopicOrPartition)?
            .partition(partition)
    }

    /// The log of a partition, to be changed, and the configuration of its topic.
    ///
    /// # Errors
    /// `UNKNOWN_TOPIC_OR_PARTITION` if there is no such topic or partition.
    pub(crate) fn partition_mut(
        &mut self,
        topic: &str,
        partition: i32,
    ) -> Result<(&mut PartitionLog, &TopicConfig), ResponseError> {
        let index =
            usize::try_from(partition).map_err(|_| ResponseError::UnknownTopicOrPartition)?;
        let topic = self
            .by_name
            .get_mut(topic)
            .ok_or(ResponseError::UnknownTopicOrPartition)?;
        let log = topic
            .partitions
            .get_mut(index)
            .ok_or(ResponseError::UnknownTopicOrPartition)?;
        Ok((log, &topic.config))
    }

    /// All topics by name.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Topic> {
        self.by_name.values()
    }

    /// All topics by name, to be changed.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Topic> {
        self.by_name.values_mut()
    }

    /// Whether a topic of this name and size could be created.
    ///
    /// # Errors
    /// `INVALID_TOPIC_EXCEPTION`, `TOPIC_ALREADY_EXISTS` or `INVALID_PARTITIONS`, with a message for the user.
    pub(crate) fn check_new(
        &self,
        name: &str,
        partition_count: i32,
    ) -> Result<usize, (ResponseError, String)> {
        check_name(name)?;
        if self.by_name.contains_key(name) {
            return Err((
                ResponseError::TopicAlreadyExists,
                format!("Topic '{name}' already exists."),
            ));
        }
        let collides = |other: &&String| other.replace('.', "_") == name.replace('.', "_");
        if let Some(other) = self.by_name.keys().find(collides) {
            let message = format!("Topic '{name}' collides with existing topic: {other}");
            return Err((ResponseError::InvalidTopicException, message));
        }
        check_partition_count(partition_count)
    }

    /// Creates a topic that [`Self::check_new`] has passed.
    pub(crate) fn create(
        &mut self,
        id: Uuid,
        name: &str,
        partition_count: usize,
        config: TopicConfig,
        changes: &mut Changes,
    ) {
        let mut topic = Topic {
            id,
            name: name.to_owned(),
            partitions: Vec::new(),
            config,
        };
        changes.push(|| Change::Topic {
            topic_id: id,
            name: name.to_owned(),
            partition_count,
            config: topic.config.clone(),
        });
        topic.partitions = (0..partition_count)
            .map(|partition| PartitionLog::new(id, partition, changes))
            .collect();
        self.insert(topic);
    }

    /// Puts back a topic that was kept.
    pub(crate) fn insert(&mut self, topic: Topic) {
        self.names.insert(topic.id, topic.name.clone());
        self.by_name.insert(topic.name.clone(), topic);
    }

    /// Deletes a topic and returns it.
    pub(crate) fn delete(&mut self, name: &str, changes: &mut Changes) -> Option<Topic> {
        let topic = self.by_name.remove(name)?;
        self.names.remove(&topic.id);
        changes.push(|| Change::TopicDeleted { topic_id: topic.id });
        Some(topic)
    }

    /// Whether the topic could have this many partitions.
    ///
    /// # Errors
    /// `UNKNOWN_TOPIC_OR_PARTITION`, or `INVALID_PARTITIONS` unless it is more than there are.
    pub(crate) fn check_grow(
        &self,
        name: &str,
        partition_count: i32,
    ) -> Result<usize, (ResponseError, String)> {
        let unknown = || {
            (
                ResponseError::UnknownTopicOrPartition,
                format!("The topic '{name}' does not exist."),
            )
        };
        let current = self.get(name).ok_or_else(unknown)?.partitions.len();
        let wanted = check_partition_count(partition_count)?;
        if wanted <= current {
            let message = format!(
                "The topic {name} currently has {current} partition(s); {wanted} would not be an increase."
            );
            return Err((ResponseError::InvalidPartitions, message));
        }
        Ok(wanted)
    }

    /// Gives a topic more partitions; [`Self::check_grow`] has passed the number.
    pub(crate) fn grow(&mut self, name: &str, partition_count: usize, changes: &mut Changes) {
        let Some(topic) = self.by_name.get_mut(name) else {
            return;
        };
        let (id, current) = (topic.id, topic.partitions.len());
        changes.push(|| Change::Topic {
            topic_id: id,
            name: name.to_owned(),
            partition_count,
            config: topic.config.clone(),
        });
        topic.partitions.extend(
            (current..partition_count).map(|partition| PartitionLog::new(id, partition, changes)),
        );
    }

    /// Replaces the configuration of a topic.
    pub(crate) fn configure(&mut self, name: &str, config: TopicConfig, changes: &mut Changes) {
        if let Some(topic) = self.by_name.get_mut(name) {
            topic.config = config;
            topic.note(changes);
        }
    }
}

fn check_name(name: &str) -> Result<(), (ResponseError, String)> {
    let is_legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let why = if name.is_empty() {
        "the empty string is not allowed".to_owned()
    } else if name == "." || name == ".." {
        "'.' or '..' is not allowed".to_owned()
    } else if name.len() > NAME_LEN_MAX {
        format!("the length of '{name}' is longer than the max allowed length {NAME_LEN_MAX}")
    } else if !name.chars().all(is_legal) {
        format!(
            "'{name}' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'"
        )
    } else {
        return Ok(());
    };
    Err((
        ResponseError::InvalidTopicException,
        format!("Topic name is invalid: {why}"),
    ))
}

fn check_partition_count(partition_count: i32) -> Result<usize, (ResponseError, String)> {
    match usize::try_from(partition_count) {
        Ok(count) if (1..=PARTITION_COUNT_MAX).contains(&count) => Ok(count),
        _ => {
            let message = format!(
                "Number of partitions was set to {partition_count}; it must be from 1 to {PARTITION_COUNT_MAX}."
            );
            Err((ResponseError::InvalidPartitions, message))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topics() -> Topics {
        let mut topics = Topics::default();
        topics.create(
            Uuid::from_u128(1),
            "a.b",
            2,
            TopicConfig::default(),
            &mut Changes::new(false),
        );
        topics
    }

    #[test]
    fn names_follow_kafkas_rules() {
        let topics = topics();
        for name in ["", ".", "..", "ä", "a b", &"x".repeat(250)] {
            assert_eq!(
                topics.check_new(name, 1).unwrap_err().0,
                ResponseError::InvalidTopicException,
                "{name}"
            );
        }
        assert_eq!(
            topics.check_new("a.b", 1).unwrap_err().0,
            ResponseError::TopicAlreadyExists
        );
        assert_eq!(
            topics.check_new("a_b", 1).unwrap_err().0,
            ResponseError::InvalidTopicException,
            "collides in metrics"
        );
        assert_eq!(
            topics.check_new("ok-1", 0).unwrap_err().0,
            ResponseError::InvalidPartitions
        );
        assert_eq!(topics.check_new("ok-1", 3), Ok(3));
    }

    #[test]
    fn partitions_only_grow() {
        let mut topics = topics();
        assert_eq!(
            topics.check_grow("a.b", 2).unwrap_err().0,
            ResponseError::InvalidPartitions
        );
        assert_eq!(
            topics.check_grow("none", 2).unwrap_err().0,
            ResponseError::UnknownTopicOrPartition
        );
        topics.grow("a.b", 5, &mut Changes::new(false));
        assert_eq!(topics.get("a.b").unwrap().partitions.len(), 5);
    }

    #[test]
    fn a_deleted_topic_is_gone_by_name_and_id() {
        let mut topics = topics();
        assert_eq!(topics.name_of(Uuid::from_u128(1)), Some("a.b"));
        assert!(topics.delete("a.b", &mut Changes::new(false)).is_some());
        assert!(topics.get("a.b").is_none() && topics.name_of(Uuid::from_u128(1)).is_none());
    }
}
