//! The protocol's requests, family by family, each translated into what the core does.
//!
//! [`versions`] says which versions of which requests are spoken; everything else is `impl BrokerCore`.

mod cluster;
mod configs;
mod consumer_groups;
mod fetch;
mod group_admin;
mod group_offsets;
mod groups;
mod list_offsets;
mod produce;
mod topics;
mod transaction_admin;
mod transactions;
pub(crate) mod versions;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::{RequestKind, ResponseKind};

use super::core::{BrokerCore, RequestContext};

impl BrokerCore {
    /// Does what a request asks and returns the response, unless the request has to wait or has been answered already.
    pub(crate) fn respond(
        &mut self,
        context: &RequestContext,
        request: RequestKind,
        now_ms: i64,
    ) -> Option<ResponseKind> {
        Some(match request {
            RequestKind::ApiVersions(_) => {
                ResponseKind::ApiVersions(versions::api_versions(context.version))
            }
            RequestKind::Metadata(request) => {
                ResponseKind::Metadata(self.metadata(&request, context.version))
            }
            RequestKind::DescribeCluster(_) => {
                ResponseKind::DescribeCluster(self.describe_cluster())
            }
            RequestKind::FindCoordinator(request) => {
                ResponseKind::FindCoordinator(self.find_coordinator(&request, context.version))
            }
            RequestKind::CreateTopics(request) => {
                ResponseKind::CreateTopics(self.create_topics(&request))
            }
            RequestKind::DeleteTopics(request) => {
                ResponseKind::DeleteTopics(self.delete_topics(&request, context.version))
            }
            RequestKind::CreatePartitions(request) => {
                ResponseKind::CreatePartitions(self.create_partitions(&request))
            }
            RequestKind::DeleteRecords(request) => {
                ResponseKind::DeleteRecords(self.delete_records(&request))
            }
            RequestKind::DescribeConfigs(request) => {
                ResponseKind::DescribeConfigs(self.describe_configs(&request))
            }
            RequestKind::AlterConfigs(request) => {
                ResponseKind::AlterConfigs(self.alter_configs(&request))
            }
            RequestKind::IncrementalAlterConfigs(request) => {
                ResponseKind::IncrementalAlterConfigs(self.incremental_alter_configs(&request))
            }
            RequestKind::Produce(request) => {
                self.produce(context, &request, now_ms);
                return None;
            }
            RequestKind::Fetch(request) => {
                self.fetch(context, request, now_ms);
                return None;
            }
            RequestKind::ListOffsets(request) => {
                ResponseKind::ListOffsets(self.list_offsets(&request, context.version))
            }
            RequestKind::OffsetForLeaderEpoch(request) => {
                ResponseKind::OffsetForLeaderEpoch(self.offset_for_leader_epoch(&request))
            }
            RequestKind::JoinGroup(request) => {
                self.join_group(context, &request, now_ms);
                return None;
            }
            RequestKind::SyncGroup(request) => {
                self.sync_group(context, &request, now_ms);
                return None;
            }
            RequestKind::Heartbeat(request) => {
                ResponseKind::Heartbeat(self.heartbeat(&request, now_ms))
            }
            RequestKind::LeaveGroup(request) => {
                ResponseKind::LeaveGroup(self.leave_group(&request, context.version, now_ms))
            }
            RequestKind::OffsetCommit(request) => {
                ResponseKind::OffsetCommit(self.offset_commit(&request, now_ms))
            }
            RequestKind::OffsetFetch(request) => {
                ResponseKind::OffsetFetch(self.offset_fetch(&request, context.version))
            }
            RequestKind::OffsetDelete(request) => {
                ResponseKind::OffsetDelete(self.offset_delete(&request))
            }
            RequestKind::ListGroups(request) => {
                ResponseKind::ListGroups(self.list_groups(&request))
            }
            RequestKind::DescribeGroups(request) => {
                ResponseKind::DescribeGroups(self.describe_groups(&request, context.version))
            }
            RequestKind::DeleteGroups(request) => {
                ResponseKind::DeleteGroups(self.delete_groups(&request))
            }
            RequestKind::ConsumerGroupHeartbeat(request) => ResponseKind::ConsumerGroupHeartbeat(
                self.consumer_group_heartbeat(context, &request, now_ms),
            ),
            RequestKind::ConsumerGroupDescribe(request) => {
                ResponseKind::ConsumerGroupDescribe(self.consumer_group_describe(&request))
            }
            RequestKind::InitProducerId(request) => ResponseKind::InitProducerId(
                self.init_producer_id(&request, context.version, now_ms),
            ),
            RequestKind::AddPartitionsToTxn(request) => ResponseKind::AddPartitionsToTxn(
                self.add_partitions_to_txn(&request, context.version, now_ms),
            ),
            RequestKind::AddOffsetsToTxn(request) => ResponseKind::AddOffsetsToTxn(
                self.add_offsets_to_txn(&request, context.version, now_ms),
            ),
            RequestKind::TxnOffsetCommit(request) => {
                ResponseKind::TxnOffsetCommit(self.txn_offset_commit(&request, now_ms))
            }
            RequestKind::EndTxn(request) => {
                ResponseKind::EndTxn(self.end_txn(&request, context.version, now_ms))
            }
            RequestKind::DescribeProducers(request) => {
                ResponseKind::DescribeProducers(self.describe_producers(&request))
            }
            RequestKind::DescribeTransactions(request) => {
                ResponseKind::DescribeTransactions(self.describe_transactions(&request))
            }
            RequestKind::ListTransactions(request) => {
                ResponseKind::ListTransactions(self.list_transactions(&request, now_ms))
            }
            // The list of spoken APIs lets nothing else through; see `versions`.
            other => {
                debug_assert!(false, "{other:?} is announced and not handled");
                return None;
            }
        })
    }
}

/// The code of a result: 0 for success.
fn code<T>(result: &Result<T, ResponseError>) -> i16 {
    result.as_ref().map_or_else(ResponseError::code, |_| 0)
}
