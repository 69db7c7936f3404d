//! Who and where the broker is, and what topics it has: `Metadata`, `DescribeCluster`, `FindCoordinator`.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::describe_cluster_response::{
    DescribeClusterBroker, DescribeClusterResponse,
};
use kafka_protocol::messages::find_coordinator_response::{Coordinator, FindCoordinatorResponse};
use kafka_protocol::messages::metadata_request::{MetadataRequest, MetadataRequestTopic};
use kafka_protocol::messages::metadata_response::{
    MetadataResponse, MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::{BrokerId, FindCoordinatorRequest, TopicName};
use kafka_protocol::protocol::StrBytes;

use crate::embedded::core::topics::Topic;
use crate::embedded::core::{BrokerCore, NODE_ID, owned};

impl BrokerCore {
    /// The topics asked for, created on the way if that is allowed, and the broker.
    pub(super) fn metadata(&mut self, request: &MetadataRequest, version: i16) -> MetadataResponse {
        let topics = match &request.topics {
            None => self.topics.iter().map(described).collect(),
            Some(wanted) if wanted.is_empty() && version == 0 => {
                self.topics.iter().map(described).collect()
            }
            Some(wanted) => {
                let creates = self.config.auto_create_topics
                    && (request.allow_auto_topic_creation || version < 4);
                wanted
                    .iter()
                    .map(|wanted| self.described_or_error(wanted, creates))
                    .collect()
            }
        };
        let broker = MetadataResponseBroker::default()
            .with_node_id(BrokerId(NODE_ID))
            .with_host(owned(&self.config.host))
            .with_port(i32::from(self.config.port));
        MetadataResponse::default()
            .with_brokers(vec![broker])
            .with_cluster_id(Some(owned(&self.cluster_id)))
            .with_controller_id(BrokerId(NODE_ID))
            .with_topics(topics)
    }

    fn described_or_error(
        &mut self,
        wanted: &MetadataRequestTopic,
        creates: bool,
    ) -> MetadataResponseTopic {
        let answer = MetadataResponseTopic::default()
            .with_topic_id(wanted.topic_id)
            .with_name(wanted.name.clone());
        let Some(name) = &wanted.name else {
            let topic = self
                .topics
                .name_of(wanted.topic_id)
                .and_then(|name| self.topics.get(name));
            let unknown = || answer.with_error_code(ResponseError::UnknownTopicId.code());
            return topic.map_or_else(unknown, described);
        };
        if creates
            && self.topics.get(name).is_none()
            && let Err(error) = self.auto_create_topic(name)
        {
            return answer.with_error_code(error.code());
        }
        let unknown = || answer.with_error_code(ResponseError::UnknownTopicOrPartition.code());
        self.topics.get(name).map_or_else(unknown, described)
    }

    /// The one-node cluster.
    pub(super) fn describe_cluster(&self) -> DescribeClusterResponse {
        let broker = DescribeClusterBroker::default()
            .with_broker_id(BrokerId(NODE_ID))
            .with_host(owned(&self.config.host))
            .with_port(i32::from(self.config.port));
        DescribeClusterResponse::default()
            .with_cluster_id(owned(&self.cluster_id))
            .with_controller_id(BrokerId(NODE_ID))
            .with_brokers(vec![broker])
    }

    /// The only node coordinates every group and every transactional id.
    pub(super) fn find_coordinator(
        &self,
        request: &FindCoordinatorRequest,
        version: i16,
    ) -> FindCoordinatorResponse {
        const KEY_TYPES: std::ops::RangeInclusive<i8> = 0..=1;
        if !KEY_TYPES.contains(&request.key_type) {
            let error = ResponseError::InvalidRequest.code();
            if version < 4 {
                return FindCoordinatorResponse::default()
                    .with_error_code(error)
                    .with_node_id(BrokerId(-1))
                    .with_port(-1);
            }
            let refuse = |key: &StrBytes| {
                Coordinator::default()
                    .with_key(key.clone())
                    .with_error_code(error)
            };
            return FindCoordinatorResponse::default()
                .with_coordinators(request.coordinator_keys.iter().map(refuse).collect());
        }
        let (host, port) = (owned(&self.config.host), i32::from(self.config.port));
        if version < 4 {
            return FindCoordinatorResponse::default()
                .with_node_id(BrokerId(NODE_ID))
                .with_host(host)
                .with_port(port);
        }
        let coordinator = |key: &StrBytes| {
            Coordinator::default()
                .with_key(key.clone())
                .with_node_id(BrokerId(NODE_ID))
                .with_host(host.clone())
                .with_port(port)
        };
        FindCoordinatorResponse::default()
            .with_coordinators(request.coordinator_keys.iter().map(coordinator).collect())
    }
}

fn described(topic: &Topic) -> MetadataResponseTopic {
    let partition = |index: usize| {
        MetadataResponsePartition::default()
            .with_partition_index(i32::try_from(index).expect("partition numbers are small"))
            .with_leader_id(BrokerId(NODE_ID))
            .with_leader_epoch(0)
            .with_replica_nodes(vec![BrokerId(NODE_ID)])
            .with_isr_nodes(vec![BrokerId(NODE_ID)])
    };
    MetadataResponseTopic::default()
        .with_topic_id(topic.id)
        .with_name(Some(TopicName(owned(&topic.name))))
        .with_partitions((0..topic.partitions.len()).map(partition).collect())
}
