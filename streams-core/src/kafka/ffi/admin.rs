//! Requests that are answered by an event: topics, their configuration, records to delete, ends of partitions.

use super::client::{Client, Refusal};
use super::list::ListedPartition;
use super::queue::{Event, Queue};
use super::{millis, string};
use rdkafka::TopicPartitionList;
use rdkafka::bindings as sys;
use rdkafka::types::RDKafkaErrorCode;
use std::collections::BTreeMap;
use std::ffi::{CString, c_char};
use std::ptr::NonNull;
use std::sync::Arc;
use std::time::Duration;

/// Which end of a partition [`Client::list_offsets`] asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::kafka) enum OffsetSpec {
    /// The first offset in the log.
    Earliest,
    /// The offset behind the last one.
    Latest,
}

/// How much longer than its own time-out an answer is waited for.
const ANSWER_MARGIN: Duration = Duration::from_secs(1);

/// Options of one request.
struct Options(NonNull<sys::rd_kafka_AdminOptions_t>);

impl Options {
    fn new(
        client: &Client,
        operation: sys::rd_kafka_admin_op_t,
        timeout: Duration,
    ) -> Result<Options, Refusal> {
        let mut text = [0 as c_char; 256];
        // SAFETY: the client is live; the options returned are ours and `text` outlives the call.
        unsafe {
            let options = NonNull::new(sys::rd_kafka_AdminOptions_new(client.ptr(), operation))
                .map(Options)
                .ok_or_else(|| Refusal::of(RDKafkaErrorCode::InvalidArgument))?;
            Refusal::check_code(sys::rd_kafka_AdminOptions_set_request_timeout(
                options.0.as_ptr(),
                millis(timeout),
                text.as_mut_ptr(),
                text.len(),
            ))?;
            Ok(options)
        }
    }

    /// How long the broker may take to carry out what it accepted.
    fn wait_for_operation(self, timeout: Duration) -> Result<Options, Refusal> {
        let mut text = [0 as c_char; 256];
        // SAFETY: the options are ours and `text` outlives the call.
        Refusal::check_code(unsafe {
            sys::rd_kafka_AdminOptions_set_operation_timeout(
                self.0.as_ptr(),
                millis(timeout),
                text.as_mut_ptr(),
                text.len(),
            )
        })?;
        Ok(self)
    }
}

impl Drop for Options {
    fn drop(&mut self) {
        // SAFETY: the options are ours and destroyed once.
        unsafe { sys::rd_kafka_AdminOptions_destroy(self.0.as_ptr()) }
    }
}

/// Waits for the answer, which is an event of the type asked for or an error.
fn answer(answers: &Queue, timeout: Duration) -> Result<Event, Refusal> {
    let event = answers
        .poll(timeout + ANSWER_MARGIN)
        .ok_or_else(|| Refusal::of(RDKafkaErrorCode::OperationTimedOut))?;
    match event.error_code() {
        RDKafkaErrorCode::NoError => Ok(event),
        code => Err(Refusal {
            text: event.error_text(),
            ..Refusal::of(code)
        }),
    }
}

fn c_string(text: &str) -> Result<CString, Refusal> {
    CString::new(text).map_err(|_| Refusal::of(RDKafkaErrorCode::InvalidArgument))
}

// SAFETY, for every request below: client and queue are live, librdkafka copies what it is given before it returns, and
// what was made for the request is destroyed here. An answer owns what is read of it, which is copied.
impl Client {
    /// Creates one topic; `replication_factor` -1 is the broker's default.
    pub(in crate::kafka) fn create_topic(
        self: &Arc<Self>,
        name: &str,
        partition_count: i32,
        replication_factor: i32,
        config: &BTreeMap<String, String>,
        timeout: Duration,
    ) -> Result<(), Refusal> {
        let answers = Queue::new(self)?;
        let options = Options::new(
            self,
            sys::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_CREATETOPICS,
            timeout,
        )?
        .wait_for_operation(timeout)?;
        let name = c_string(name)?;
        let config = config
            .iter()
            .map(|(name, value)| Ok((c_string(name)?, c_string(value)?)))
            .collect::<Result<Vec<_>, Refusal>>()?;
        let mut text = [0 as c_char; 256];
        // SAFETY: see above.
        unsafe {
            let mut topic = sys::rd_kafka_NewTopic_new(
                name.as_ptr(),
                partition_count,
                replication_factor,
                text.as_mut_ptr(),
                text.len(),
            );
            if topic.is_null() {
                return Err(Refusal {
                    text: string(text.as_ptr()),
                    ..Refusal::of(RDKafkaErrorCode::InvalidArgument)
                });
            }
            let configured = config.iter().try_for_each(|(name, value)| {
                Refusal::check_code(sys::rd_kafka_NewTopic_set_config(
                    topic,
                    name.as_ptr(),
                    value.as_ptr(),
                ))
            });
            if configured.is_ok() {
                sys::rd_kafka_CreateTopics(
                    self.ptr(),
                    &raw mut topic,
                    1,
                    options.0.as_ptr(),
                    answers.ptr(),
                );
            }
            sys::rd_kafka_NewTopic_destroy(topic);
            configured?;
        }
        let event = answer(&answers, timeout)?;
        let mut count = 0usize;
        // SAFETY: see above; the result has `count` topics.
        unsafe {
            let result = sys::rd_kafka_event_CreateTopics_result(event.ptr());
            let topics = sys::rd_kafka_CreateTopics_result_topics(result, &raw mut count);
            if count == 0 {
                return Err(Refusal::of(RDKafkaErrorCode::Fail));
            }
            match RDKafkaErrorCode::from(sys::rd_kafka_topic_result_error(*topics)) {
                RDKafkaErrorCode::NoError => Ok(()),
                code => Err(Refusal {
                    text: string(sys::rd_kafka_topic_result_error_string(*topics)),
                    ..Refusal::of(code)
                }),
            }
        }
    }

    /// The configuration of a topic; a topic that does not exist is an error.
    pub(in crate::kafka) fn topic_config(
        self: &Arc<Self>,
        topic: &str,
        timeout: Duration,
    ) -> Result<BTreeMap<String, String>, Refusal> {
        let answers = Queue::new(self)?;
        let options = Options::new(
            self,
            sys::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBECONFIGS,
            timeout,
        )?;
        let topic = c_string(topic)?;
        // SAFETY: see above.
        unsafe {
            let mut resource = sys::rd_kafka_ConfigResource_new(
                sys::rd_kafka_ResourceType_t::RD_KAFKA_RESOURCE_TOPIC,
                topic.as_ptr(),
            );
            sys::rd_kafka_DescribeConfigs(
                self.ptr(),
                &raw mut resource,
                1,
                options.0.as_ptr(),
                answers.ptr(),
            );
            sys::rd_kafka_ConfigResource_destroy(resource);
        }
        let event = answer(&answers, timeout)?;
        let (mut resource_count, mut entry_count) = (0usize, 0usize);
        // SAFETY: see above; the result has `resource_count` resources and the first of them `entry_count` entries.
        unsafe {
            let result = sys::rd_kafka_event_DescribeConfigs_result(event.ptr());
            let resources =
                sys::rd_kafka_DescribeConfigs_result_resources(result, &raw mut resource_count);
            if resource_count == 0 {
                return Err(Refusal::of(RDKafkaErrorCode::UnknownTopicOrPartition));
            }
            let resource = *resources;
            let code = RDKafkaErrorCode::from(sys::rd_kafka_ConfigResource_error(resource));
            if code != RDKafkaErrorCode::NoError {
                return Err(Refusal {
                    text: string(sys::rd_kafka_ConfigResource_error_string(resource)),
                    ..Refusal::of(code)
                });
            }
            let entries = sys::rd_kafka_ConfigResource_configs(resource, &raw mut entry_count);
            Ok((0..entry_count)
                .filter_map(|index| {
                    let entry = *entries.add(index);
                    let value = sys::rd_kafka_ConfigEntry_value(entry);
                    // A value that is secret comes as null.
                    (!value.is_null())
                        .then(|| (string(sys::rd_kafka_ConfigEntry_name(entry)), string(value)))
                })
                .collect())
        }
    }

    /// Deletes the records before the offsets in the list; the answers carry the partitions' errors.
    pub(in crate::kafka) fn delete_records(
        self: &Arc<Self>,
        before: &TopicPartitionList,
        timeout: Duration,
    ) -> Result<Vec<ListedPartition>, Refusal> {
        let answers = Queue::new(self)?;
        let options = Options::new(
            self,
            sys::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DELETERECORDS,
            timeout,
        )?
        .wait_for_operation(timeout)?;
        // SAFETY: see above.
        unsafe {
            let mut request = sys::rd_kafka_DeleteRecords_new(before.ptr());
            sys::rd_kafka_DeleteRecords(
                self.ptr(),
                &raw mut request,
                1,
                options.0.as_ptr(),
                answers.ptr(),
            );
            sys::rd_kafka_DeleteRecords_destroy(request);
        }
        let event = answer(&answers, timeout)?;
        // SAFETY: see above.
        unsafe {
            let result = sys::rd_kafka_event_DeleteRecords_result(event.ptr());
            Ok(ListedPartition::copy_all(
                sys::rd_kafka_DeleteRecords_result_offsets(result),
            ))
        }
    }

    /// Asks the brokers for one end of many partitions at once; the answers come in no particular order.
    pub(in crate::kafka) fn list_offsets(
        self: &Arc<Self>,
        partitions: &TopicPartitionList,
        spec: OffsetSpec,
        timeout: Duration,
    ) -> Result<Vec<ListedPartition>, Refusal> {
        let answers = Queue::new(self)?;
        let options = Options::new(
            self,
            sys::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_LISTOFFSETS,
            timeout,
        )?;
        let spec = match spec {
            OffsetSpec::Earliest => sys::rd_kafka_OffsetSpec_t::RD_KAFKA_OFFSET_SPEC_EARLIEST,
            OffsetSpec::Latest => sys::rd_kafka_OffsetSpec_t::RD_KAFKA_OFFSET_SPEC_LATEST,
        };
        // SAFETY: see above. The offsets in the list say which end is asked for.
        unsafe {
            let list = partitions.ptr();
            for index in 0..usize::try_from((*list).cnt).unwrap_or(0) {
                (*(*list).elems.add(index)).offset = spec as i64;
            }
            sys::rd_kafka_ListOffsets(self.ptr(), list, options.0.as_ptr(), answers.ptr());
        }
        let event = answer(&answers, timeout)?;
        let mut count = 0usize;
        // SAFETY: see above; the result has `count` infos, each with its partition.
        unsafe {
            let result = sys::rd_kafka_event_ListOffsets_result(event.ptr());
            let infos = sys::rd_kafka_ListOffsets_result_infos(result, &raw mut count);
            Ok((0..count)
                .map(|index| {
                    let info = *infos.add(index);
                    ListedPartition::copy(&*sys::rd_kafka_ListOffsetsResultInfo_topic_partition(
                        info,
                    ))
                })
                .collect())
        }
    }
}
