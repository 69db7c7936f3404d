//! Configuration: `DescribeConfigs`, `AlterConfigs`, `IncrementalAlterConfigs`.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::alter_configs_request::AlterConfigsRequest;
use kafka_protocol::messages::alter_configs_response::{
    AlterConfigsResourceResponse as FullResourceResponse, AlterConfigsResponse,
};
use kafka_protocol::messages::describe_configs_request::{
    DescribeConfigsRequest, DescribeConfigsResource,
};
use kafka_protocol::messages::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResponse, DescribeConfigsResult,
    DescribeConfigsSynonym,
};
use kafka_protocol::messages::incremental_alter_configs_request::{
    AlterableConfig, IncrementalAlterConfigsRequest,
};
use kafka_protocol::messages::incremental_alter_configs_response::{
    AlterConfigsResourceResponse, IncrementalAlterConfigsResponse,
};
use kafka_protocol::protocol::StrBytes;

use super::topics::{SOURCE_DEFAULT, SOURCE_TOPIC};
use crate::embedded::core::topic_config::{SETTINGS, Setting, SettingType, TopicConfig};
use crate::embedded::core::{BrokerCore, NODE_ID, owned};

/// `ConfigResource.Type`.
const RESOURCE_TOPIC: i8 = 2;
const RESOURCE_BROKER: i8 = 4;
/// `ConfigSource` of what the broker was started with.
const SOURCE_STATIC_BROKER: i8 = 4;
/// `AlterConfigOp.OpType`.
const OPERATION_SET: i8 = 0;
const OPERATION_DELETE: i8 = 1;
const OPERATION_APPEND: i8 = 2;
const OPERATION_SUBTRACT: i8 = 3;

type Refusal = (ResponseError, String);

impl BrokerCore {
    /// The configuration of topics and of the broker.
    pub(super) fn describe_configs(
        &self,
        request: &DescribeConfigsRequest,
    ) -> DescribeConfigsResponse {
        let describe = |resource: &DescribeConfigsResource| {
            let result = DescribeConfigsResult::default()
                .with_resource_type(resource.resource_type)
                .with_resource_name(resource.resource_name.clone());
            match self.described_resource(resource, request.include_synonyms) {
                Ok(configs) => result.with_configs(configs),
                Err((error, message)) => result
                    .with_error_code(error.code())
                    .with_error_message(Some(StrBytes::from_string(message))),
            }
        };
        DescribeConfigsResponse::default()
            .with_results(request.resources.iter().map(describe).collect())
    }

    fn described_resource(
        &self,
        resource: &DescribeConfigsResource,
        with_synonyms: bool,
    ) -> Result<Vec<DescribeConfigsResourceResult>, Refusal> {
        let wanted = resource
            .configuration_keys
            .as_ref()
            .filter(|keys| !keys.is_empty());
        let is_wanted =
            |name: &str| wanted.is_none_or(|keys| keys.iter().any(|key| key.as_str() == name));
        let name = resource.resource_name.as_str();
        match resource.resource_type {
            RESOURCE_TOPIC => {
                let topic = self.topics.get(name).ok_or_else(|| unknown_topic(name))?;
                let settings = SETTINGS.iter().filter(|setting| is_wanted(setting.name));
                Ok(settings
                    .map(|setting| described(setting, &topic.config, with_synonyms))
                    .collect())
            }
            RESOURCE_BROKER if name.is_empty() => Ok(Vec::new()),
            RESOURCE_BROKER if name == NODE_ID.to_string() => Ok(self.broker_settings(is_wanted)),
            RESOURCE_BROKER => Err((
                ResponseError::InvalidRequest,
                format!("Unexpected broker id, expected {NODE_ID}, but received {name}"),
            )),
            // Groups, loggers and the like have no configuration here.
            _ => Ok(Vec::new()),
        }
    }

    fn broker_settings(
        &self,
        is_wanted: impl Fn(&str) -> bool,
    ) -> Vec<DescribeConfigsResourceResult> {
        let config = &self.config;
        let settings = [
            (
                "auto.create.topics.enable",
                SettingType::Boolean,
                config.auto_create_topics.to_string(),
            ),
            ("broker.id", SettingType::Int, NODE_ID.to_string()),
            (
                "default.replication.factor",
                SettingType::Int,
                "1".to_owned(),
            ),
            (
                "group.initial.rebalance.delay.ms",
                SettingType::Int,
                config.group_initial_rebalance_delay_ms.to_string(),
            ),
            (
                "listeners",
                SettingType::List,
                format!("PLAINTEXT://{}:{}", config.host, config.port),
            ),
            (
                "num.partitions",
                SettingType::Int,
                config.default_partitions.to_string(),
            ),
        ];
        let describe = |(name, setting_type, value): (&'static str, SettingType, String)| {
            DescribeConfigsResourceResult::default()
                .with_name(StrBytes::from_static_str(name))
                .with_value(Some(StrBytes::from_string(value)))
                .with_read_only(true)
                .with_config_source(SOURCE_STATIC_BROKER)
                .with_config_type(setting_type as i8)
        };
        settings
            .into_iter()
            .filter(|(name, ..)| is_wanted(name))
            .map(describe)
            .collect()
    }

    /// Replaces the whole configuration of topics.
    pub(super) fn alter_configs(&mut self, request: &AlterConfigsRequest) -> AlterConfigsResponse {
        let mut responses = Vec::with_capacity(request.resources.len());
        for resource in &request.resources {
            let altered = self.alter(
                resource.resource_type,
                &resource.resource_name,
                request.validate_only,
                |config| {
                    *config = TopicConfig::default();
                    resource.configs.iter().try_for_each(|setting| {
                        let value = setting
                            .value
                            .as_deref()
                            .ok_or_else(|| format!("{} needs a value", setting.name))?;
                        config.set(&setting.name, value)
                    })
                },
            );
            let response = FullResourceResponse::default()
                .with_resource_type(resource.resource_type)
                .with_resource_name(resource.resource_name.clone());
            responses.push(match altered {
                Ok(()) => response,
                Err((error, message)) => response
                    .with_error_code(error.code())
                    .with_error_message(Some(StrBytes::from_string(message))),
            });
        }
        AlterConfigsResponse::default().with_responses(responses)
    }

    /// Changes single settings of topics.
    pub(super) fn incremental_alter_configs(
        &mut self,
        request: &IncrementalAlterConfigsRequest,
    ) -> IncrementalAlterConfigsResponse {
        let mut responses = Vec::with_capacity(request.resources.len());
        for resource in &request.resources {
            let altered = self.alter(
                resource.resource_type,
                &resource.resource_name,
                request.validate_only,
                |config| {
                    resource
                        .configs
                        .iter()
                        .try_for_each(|setting| change(config, setting))
                },
            );
            let response = AlterConfigsResourceResponse::default()
                .with_resource_type(resource.resource_type)
                .with_resource_name(resource.resource_name.clone());
            responses.push(match altered {
                Ok(()) => response,
                Err((error, message)) => response
                    .with_error_code(error.code())
                    .with_error_message(Some(StrBytes::from_string(message))),
            });
        }
        IncrementalAlterConfigsResponse::default().with_responses(responses)
    }

    fn alter(
        &mut self,
        resource_type: i8,
        name: &str,
        is_dry_run: bool,
        change: impl FnOnce(&mut TopicConfig) -> Result<(), String>,
    ) -> Result<(), Refusal> {
        if resource_type != RESOURCE_TOPIC {
            let message =
                "Only topics can be configured while the embedded broker runs.".to_owned();
            return Err((ResponseError::InvalidRequest, message));
        }
        let topic = self.topics.get(name).ok_or_else(|| unknown_topic(name))?;
        let mut config = topic.config.clone();
        change(&mut config).map_err(|message| (ResponseError::InvalidConfig, message))?;
        if !is_dry_run {
            self.topics.configure(name, config, &mut self.changes);
        }
        Ok(())
    }
}

fn unknown_topic(name: &str) -> Refusal {
    (
        ResponseError::UnknownTopicOrPartition,
        format!("The topic '{name}' does not exist."),
    )
}

fn change(config: &mut TopicConfig, setting: &AlterableConfig) -> Result<(), String> {
    let name = setting.name.as_str();
    if setting.config_operation == OPERATION_DELETE {
        return config.reset(name);
    }
    let value = setting
        .value
        .as_deref()
        .ok_or_else(|| format!("{name} needs a value"))?;
    match setting.config_operation {
        OPERATION_SET => config.set(name, value),
        OPERATION_APPEND => config.change_list(name, value, true),
        OPERATION_SUBTRACT => config.change_list(name, value, false),
        other => Err(format!("Unknown operation {other} for {name}")),
    }
}

fn described(
    setting: &Setting,
    config: &TopicConfig,
    with_synonyms: bool,
) -> DescribeConfigsResourceResult {
    let name = StrBytes::from_static_str(setting.name);
    let value = config.get(setting.name).map(owned);
    let is_overridden = config.is_overridden(setting.name);
    let mut synonyms = Vec::new();
    if with_synonyms {
        let synonym = |value: Option<StrBytes>, source| {
            DescribeConfigsSynonym::default()
                .with_name(name.clone())
                .with_value(value)
                .with_source(source)
        };
        if is_overridden {
            synonyms.push(synonym(value.clone(), SOURCE_TOPIC));
        }
        synonyms.push(synonym(
            Some(StrBytes::from_static_str(setting.default)),
            SOURCE_DEFAULT,
        ));
    }
    DescribeConfigsResourceResult::default()
        .with_name(name)
        .with_value(value)
        .with_config_source(if is_overridden {
            SOURCE_TOPIC
        } else {
            SOURCE_DEFAULT
        })
        .with_config_type(setting.setting_type as i8)
        .with_synonyms(synonyms)
}
