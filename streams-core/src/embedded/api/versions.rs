//! Which requests are spoken, and in which versions.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::ApiKey;
use kafka_protocol::messages::api_versions_response::{ApiVersion, ApiVersionsResponse};

/// A request and the versions of it that are spoken.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SpokenApi {
    pub(crate) key: ApiKey,
    pub(crate) version_min: i16,
    pub(crate) version_max: i16,
}

const fn spoken(key: ApiKey, version_min: i16, version_max: i16) -> SpokenApi {
    SpokenApi {
        key,
        version_min,
        version_max,
    }
}

/// The first version of `Produce` that is spoken; see [`SPOKEN_APIS`].
const PRODUCE_VERSION_MIN: i16 = 3;

/// Everything that is spoken.
///
/// `Produce` is announced from 0 on although it is refused below 3, as Kafka 4 does: librdkafka takes a broker that does
/// not announce the old versions for one that cannot compress. Transactions end at the versions before KIP-890's second
/// part, which the broker would have to announce as a feature.
pub(crate) const SPOKEN_APIS: &[SpokenApi] = &[
    spoken(ApiKey::Produce, 0, 13),
    spoken(ApiKey::Fetch, 4, 17),
    spoken(ApiKey::ListOffsets, 1, 8),
    spoken(ApiKey::Metadata, 0, 13),
    spoken(ApiKey::OffsetCommit, 2, 9),
    spoken(ApiKey::OffsetFetch, 1, 9),
    spoken(ApiKey::FindCoordinator, 0, 6),
    spoken(ApiKey::JoinGroup, 0, 9),
    spoken(ApiKey::Heartbeat, 0, 4),
    spoken(ApiKey::LeaveGroup, 0, 5),
    spoken(ApiKey::SyncGroup, 0, 5),
    spoken(ApiKey::DescribeGroups, 0, 6),
    spoken(ApiKey::ListGroups, 0, 5),
    spoken(ApiKey::ApiVersions, 0, 4),
    spoken(ApiKey::CreateTopics, 2, 7),
    spoken(ApiKey::DeleteTopics, 1, 6),
    spoken(ApiKey::DeleteRecords, 0, 2),
    spoken(ApiKey::InitProducerId, 0, 5),
    spoken(ApiKey::OffsetForLeaderEpoch, 2, 4),
    spoken(ApiKey::AddPartitionsToTxn, 0, 3),
    spoken(ApiKey::AddOffsetsToTxn, 0, 4),
    spoken(ApiKey::EndTxn, 0, 4),
    spoken(ApiKey::TxnOffsetCommit, 0, 4),
    spoken(ApiKey::DescribeConfigs, 1, 4),
    spoken(ApiKey::AlterConfigs, 0, 2),
    spoken(ApiKey::CreatePartitions, 0, 3),
    spoken(ApiKey::DeleteGroups, 0, 2),
    spoken(ApiKey::IncrementalAlterConfigs, 0, 1),
    spoken(ApiKey::OffsetDelete, 0, 0),
    spoken(ApiKey::DescribeCluster, 0, 2),
    spoken(ApiKey::DescribeProducers, 0, 0),
    spoken(ApiKey::DescribeTransactions, 0, 0),
    spoken(ApiKey::ListTransactions, 0, 1),
    spoken(ApiKey::ConsumerGroupHeartbeat, 0, 1),
    spoken(ApiKey::ConsumerGroupDescribe, 0, 1),
];

/// Whether this version of this request is spoken.
pub(crate) fn is_spoken(key: ApiKey, version: i16) -> bool {
    let version_min = |api: &SpokenApi| {
        if key == ApiKey::Produce {
            PRODUCE_VERSION_MIN
        } else {
            api.version_min
        }
    };
    SPOKEN_APIS
        .iter()
        .any(|api| api.key == key && (version_min(api)..=api.version_max).contains(&version))
}

/// The answer to a client that asks what is spoken, and to one that asks in a version nobody here understands.
pub(crate) fn api_versions(version: i16) -> ApiVersionsResponse {
    let is_understood = is_spoken(ApiKey::ApiVersions, version);
    let describe = |api: &SpokenApi| {
        ApiVersion::default()
            .with_api_key(api.key as i16)
            .with_min_version(api.version_min)
            .with_max_version(api.version_max)
    };
    ApiVersionsResponse::default()
        .with_error_code(if is_understood {
            0
        } else {
            ResponseError::UnsupportedVersion.code()
        })
        .with_api_keys(SPOKEN_APIS.iter().map(describe).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_spoken_can_be_decoded() {
        for api in SPOKEN_APIS {
            let valid = api.key.valid_versions();
            assert!(api.version_max <= valid.max, "{:?}", api.key);
            assert!(
                api.version_min >= valid.min || api.key == ApiKey::Produce,
                "{:?}",
                api.key
            );
        }
        assert!(!is_spoken(ApiKey::Produce, 2) && is_spoken(ApiKey::Produce, 3));
    }

    #[test]
    fn a_version_of_the_future_is_answered_with_what_there_is() {
        let response = api_versions(99);
        assert_eq!(
            response.error_code,
            ResponseError::UnsupportedVersion.code()
        );
        assert_eq!(response.api_keys.len(), SPOKEN_APIS.len());
    }
}
