//! Topics made, grown, emptied and deleted: `CreateTopics`, `DeleteTopics`, `CreatePartitions`, `DeleteRecords`.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::create_topics_request::{CreatableTopic, CreateTopicsRequest};
use kafka_protocol::messages::create_topics_response::{
    CreatableTopicConfigs, CreatableTopicResult, CreateTopicsResponse,
};
use kafka_protocol::protocol::StrBytes;
use uuid::Uuid;

use crate::embedded::core::topic_config::{SETTINGS, TopicConfig};
use crate::embedded::core::{BrokerCore, owned};

/// `ConfigSource` of a setting made for the topic, and of one left at its default.
pub(super) const SOURCE_TOPIC: i8 = 1;
pub(super) const SOURCE_DEFAULT: i8 = 5;

type Refusal = (ResponseError, String);

impl BrokerCore {
    /// Creates topics, each on its own.
    pub(super) fn create_topics(&mut self, request: &CreateTopicsRequest) -> CreateTopicsResponse {
        let create = |topic: &CreatableTopic| {
            let result = CreatableTopicResult::default().with_name(topic.name.clone());
            let is_repeated = request.topics.iter().filter(|other| other.name == topic.name).count() > 1;
            let created = if is_repeated {
                Err((ResponseError::InvalidRequest, format!("Duplicate topic name {} in the request.", topic.name.0)))
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

    fn create_topic(&mut self, topic: &CreatableTopic, is_dry_run: bool) -> Result<(Uuid, i32, TopicConfig), Refusal> {
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
                (ResponseError::InvalidConfig, format!("Null value not supported for topic configs: {}", setting.name))
            })?;
            config.set(&setting.name, value).map_err(|message| (ResponseError::InvalidConfig, message))?;
        }
        if is_dry_run {
            return Ok((Uuid::nil(), partition_count, config));
        }
        let id = self.ids.uuid();
        self.topics.create(id, &topic.name, count, config.clone(), &mut self.changes);
        self.topics_changed();
        Ok((id, partition_count, config))
    }
}

fn described(config: &TopicConfig) -> Vec<CreatableTopicConfigs> {
    let describe = |name: &'static str| {
        CreatableTopicConfigs::default()
            .with_name(StrBytes::from_static_str(name))
            .with_value(config.get(name).map(owned))
            .with_config_source(if config.is_overridden(name) { SOURCE_TOPIC } else { SOURCE_DEFAULT })
    };
    SETTINGS.iter().map(|setting| describe(setting.name)).collect()
}
