//! Topics made, grown, emptied and deleted: `CreateTopics`, `DeleteTopics`, `CreatePartitions`, `DeleteRecords`.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::TopicName;
use kafka_protocol::messages::create_partitions_request::{
    CreatePartitionsRequest, CreatePartitionsTopic,
};
use kafka_protocol::messages::create_partitions_response::{
    CreatePartitionsResponse, CreatePartitionsTopicResult,
};
use kafka_protocol::messages::create_topics_request::{CreatableTopic, CreateTopicsRequest};
use kafka_protocol::messages::create_topics_response::{
    CreatableTopicConfigs, CreatableTopicResult, CreateTopicsResponse,
};
use kafka_protocol::messages::delete_records_request::{
    DeleteRecordsPartition, DeleteRecordsRequest, DeleteRecordsTopic,
};
use kafka_protocol::messages::delete_records_response::{
    DeleteRecordsPartitionResult, DeleteRecordsResponse, DeleteRecordsTopicResult,
};
use kafka_protocol::messages::delete_topics_request::{DeleteTopicState, DeleteTopicsRequest};
use kafka_protocol::messages::delete_topics_response::{
    DeletableTopicResult, DeleteTopicsResponse,
};
use kafka_protocol::protocol::StrBytes;
use uuid::Uuid;

use crate::embedded::core::topic_config::{SETTINGS, TopicConfig};
use crate::embedded::core::{BrokerCore, owned};

/// `ConfigSource` of a setting made for the topic, and of one left at its default.
pub(super) const SOURCE_TOPIC: i8 = 1;
pub(super) const SOURCE_DEFAULT: i8 = 5;

/// The version of `DeleteTopics` from which topics may be named by their id.
const DELETE_BY_ID_VERSION: i16 = 6;
/// In `DeleteRecords`: up to the end.
const TO_THE_END: i64 = -1;

type Refusal = (ResponseError, String);

impl BrokerCore {
    /// Creates topics, each on its own.
    pub(super) fn create_topics(&mut self, request: &CreateTopicsRequest) -> CreateTopicsResponse {
        let create = |topic: &CreatableTopic| {
            let result = CreatableTopicResult::default().with_name(topic.name.clone());
            let is_repeated = request
                .topics
                .iter()
                .filter(|other| other.name == topic.name)
                .count()
                > 1;
            let created = if is_repeated {
                Err((
                    ResponseError::InvalidRequest,
                    format!("Duplicate topic name {} in the request.", topic.name.0),
                ))
            } else {
                self.create_topic(topic, request.validate_only)
            };
            match created {
                Ok((id, partition_count, config)) => result
                    .with_topic_id(id)
                    .with_num_partitions(partition_count)
                    .with_replication_factor(1)
                    .with_configs(Some(described(&config))),
                Err((error, message)) => result
                    .with_error_code(error.code())
                    .with_error_message(Some(StrBytes::from_string(message)))
                    .with_num_partitions(-1)
                    .with_replication_factor(-1),
            }
        };
        CreateTopicsResponse::default().with_topics(request.topics.iter().map(create).collect())
    }

    fn create_topic(
        &mut self,
        topic: &CreatableTopic,
        is_dry_run: bool,
    ) -> Result<(Uuid, i32, TopicConfig), Refusal> {
        let assigned = i32::try_from(topic.assignments.len()).unwrap_or(i32::MAX);
        let partition_count = match (assigned, topic.num_partitions) {
            (0, -1) => self.config.default_partitions,
            (0, count) => count,
            (assigned, _) => assigned,
        };
        let count = self.topics.check_new(&topic.name, partition_count)?;
        if assigned == 0 && !matches!(topic.replication_factor, -1 | 1) {
            let message = format!(
                "Unable to replicate the partition {} time(s): this broker is alone, use a replication factor of 1 or -1.",
                topic.replication_factor
            );
            return Err((ResponseError::InvalidReplicationFactor, message));
        }
        let mut config = TopicConfig::default();
        for setting in &topic.configs {
            let value = setting.value.as_ref().ok_or_else(|| {
                (
                    ResponseError::InvalidConfig,
                    format!(
                        "Null value not supported for topic configs: {}",
                        setting.name
                    ),
                )
            })?;
            config
                .set(&setting.name, value)
                .map_err(|message| (ResponseError::InvalidConfig, message))?;
        }
        if is_dry_run {
            return Ok((Uuid::nil(), partition_count, config));
        }
        let id = self.ids.uuid();
        self.topics
            .create(id, &topic.name, count, config.clone(), &mut self.changes);
        Ok((id, partition_count, config))
    }

    /// Deletes topics with all that depends on them: waiting fetches, offsets of groups, parts of transactions.
    pub(super) fn delete_topics(
        &mut self,
        request: &DeleteTopicsRequest,
        version: i16,
    ) -> DeleteTopicsResponse {
        let by_name = |name: &TopicName| DeleteTopicState::default().with_name(Some(name.clone()));
        let wanted: Vec<DeleteTopicState> = if version < DELETE_BY_ID_VERSION {
            request.topic_names.iter().map(by_name).collect()
        } else {
            request.topics.clone()
        };
        let delete = |wanted: DeleteTopicState| {
            let result = DeletableTopicResult::default()
                .with_topic_id(wanted.topic_id)
                .with_name(wanted.name.clone());
            let named = match &wanted.name {
                Some(name) => Ok(name.to_string()),
                None => self
                    .topics
                    .name_of(wanted.topic_id)
                    .map(str::to_owned)
                    .ok_or(ResponseError::UnknownTopicId),
            };
            match named.and_then(|name| self.delete_topic(&name).map(|id| (name, id))) {
                Ok((name, id)) => result
                    .with_topic_id(id)
                    .with_name(Some(TopicName(owned(&name)))),
                Err(error) => result
                    .with_error_code(error.code())
                    .with_error_message(Some(StrBytes::from_string(error.to_string()))),
            }
        };
        DeleteTopicsResponse::default().with_responses(wanted.into_iter().map(delete).collect())
    }

    fn delete_topic(&mut self, name: &str) -> Result<Uuid, ResponseError> {
        let topic = self
            .topics
            .delete(name, &mut self.changes)
            .ok_or(ResponseError::UnknownTopicOrPartition)?;
        self.transactions.forget_topic(name);
        for (group_id, group) in self.groups.iter_mut() {
            group
                .offsets
                .delete_topic(group_id, name, &mut self.changes);
        }
        self.fetches.touch_topic(name);
        Ok(topic.id)
    }

    /// Gives topics more partitions.
    pub(super) fn create_partitions(
        &mut self,
        request: &CreatePartitionsRequest,
    ) -> CreatePartitionsResponse {
        let grow = |topic: &CreatePartitionsTopic| {
            let result = CreatePartitionsTopicResult::default().with_name(topic.name.clone());
            match self.topics.check_grow(&topic.name, topic.count) {
                Ok(count) => {
                    if !request.validate_only {
                        self.topics.grow(&topic.name, count, &mut self.changes);
                    }
                    result
                }
                Err((error, message)) => result
                    .with_error_code(error.code())
                    .with_error_message(Some(StrBytes::from_string(message))),
            }
        };
        CreatePartitionsResponse::default().with_results(request.topics.iter().map(grow).collect())
    }

    /// Deletes the oldest records of partitions, up to an offset.
    pub(super) fn delete_records(
        &mut self,
        request: &DeleteRecordsRequest,
    ) -> DeleteRecordsResponse {
        let delete_topic = |topic: &DeleteRecordsTopic| {
            let delete = |wanted: &DeleteRecordsPartition| {
                let result = DeleteRecordsPartitionResult::default()
                    .with_partition_index(wanted.partition_index);
                let deleted = self
                    .topics
                    .partition_mut(&topic.name, wanted.partition_index)
                    .and_then(|(log, config)| {
                        if !config.is_deleted() {
                            // A compacted topic keeps the latest of each key; deleting by offset would break that promise.
                            return Err(ResponseError::PolicyViolation);
                        }
                        let offset = if wanted.offset == TO_THE_END {
                            log.end_offset
                        } else {
                            wanted.offset
                        };
                        log.delete_before(offset, &mut self.changes)
                    });
                match deleted {
                    Ok(low_watermark) => result.with_low_watermark(low_watermark),
                    Err(error) => result.with_error_code(error.code()).with_low_watermark(-1),
                }
            };
            let result = DeleteRecordsTopicResult::default()
                .with_name(topic.name.clone())
                .with_partitions(topic.partitions.iter().map(delete).collect());
            self.fetches.touch_topic(&topic.name);
            result
        };
        DeleteRecordsResponse::default()
            .with_topics(request.topics.iter().map(delete_topic).collect())
    }
}

fn described(config: &TopicConfig) -> Vec<CreatableTopicConfigs> {
    let describe = |name: &'static str| {
        CreatableTopicConfigs::default()
            .with_name(StrBytes::from_static_str(name))
            .with_value(config.get(name).map(owned))
            .with_config_source(if config.is_overridden(name) {
                SOURCE_TOPIC
            } else {
                SOURCE_DEFAULT
            })
    };
    SETTINGS
        .iter()
        .map(|setting| describe(setting.name))
        .collect()
}
