//! Partition lists that librdkafka hands back.

use super::string;
use rdkafka::bindings as sys;
use rdkafka::types::RDKafkaErrorCode;

/// One entry of a partition list, copied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::kafka) struct ListedPartition {
    /// The topic's name.
    pub(in crate::kafka) topic: String,
    /// The partition.
    pub(in crate::kafka) partition: i32,
    /// An offset, or one of librdkafka's negative marks.
    pub(in crate::kafka) offset: i64,
    /// What was committed with the offset.
    pub(in crate::kafka) metadata: Vec<u8>,
    /// What went wrong with this partition.
    pub(in crate::kafka) error: Option<RDKafkaErrorCode>,
}

impl ListedPartition {
    /// # Safety
    /// `element` is a live element of a partition list.
    pub(super) unsafe fn copy(element: &sys::rd_kafka_topic_partition_t) -> ListedPartition {
        let metadata = if element.metadata.is_null() {
            Vec::new()
        } else {
            // SAFETY: librdkafka keeps `metadata_size` bytes there as long as the element lives.
            unsafe {
                std::slice::from_raw_parts(element.metadata.cast::<u8>(), element.metadata_size)
            }
            .to_vec()
        };
        ListedPartition {
            topic: string(element.topic),
            partition: element.partition,
            offset: element.offset,
            metadata,
            error: match RDKafkaErrorCode::from(element.err) {
                RDKafkaErrorCode::NoError => None,
                code => Some(code),
            },
        }
    }

    /// # Safety
    /// `list` is null or a live partition list.
    pub(super) unsafe fn copy_all(
        list: *const sys::rd_kafka_topic_partition_list_t,
    ) -> Vec<ListedPartition> {
        if list.is_null() {
            return Vec::new();
        }
        // SAFETY: the list is live and has `cnt` elements.
        unsafe {
            let count = usize::try_from((*list).cnt).unwrap_or(0);
            (0..count)
                .map(|index| ListedPartition::copy(&*(*list).elems.add(index)))
                .collect()
        }
    }
}
