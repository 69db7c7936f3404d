//! Requests that are answered by an event: topics, their configuration, records to delete, ends of partitions.

use super::client::{Client, Refusal};
use super::list::ListedPartition;
use super::queue::{Event, Queue};
use super::{millis, string};
use crate::runtime::broker::NewTopic;
use rdkafka::TopicPartitionList;
use rdkafka::bindings as sys;
use rdkafka::types::RDKafkaErrorCode;
use std::collections::{BTreeMap, BTreeSet};
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

/// A topic as librdkafka takes it.
struct TopicToCreate(NonNull<sys::rd_kafka_NewTopic_t>);

impl TopicToCreate {
    fn new(topic: &NewTopic) -> Result<TopicToCreate, Refusal> {
        let name = c_string(&topic.name)?;
        let mut text = [0 as c_char; 256];
        // SAFETY: name and text outlive the call; what is returned is ours.
        let made = unsafe {
            sys::rd_kafka_NewTopic_new(
                name.as_ptr(),
                topic.partition_count,
                topic.replication_factor,
                text.as_mut_ptr(),
                text.len(),
            )
        };
        let made = NonNull::new(made)
            .map(TopicToCreate)
            .ok_or_else(|| Refusal {
                text: string(text.as_ptr()),
                ..Refusal::of(RDKafkaErrorCode::InvalidArgument)
            })?;
        for (name, value) in &topic.config {
            let (name, value) = (c_string(name)?, c_string(value)?);
            // SAFETY: the topic is ours, and both strings are copied.
            Refusal::check_code(unsafe {
                sys::rd_kafka_NewTopic_set_config(made.0.as_ptr(), name.as_ptr(), value.as_ptr())
            })?;
        }
        Ok(made)
    }
}

impl Drop for TopicToCreate {
    fn drop(&mut self) {
        // SAFETY: the topic is ours and destroyed once.
        unsafe { sys::rd_kafka_NewTopic_destroy(self.0.as_ptr()) }
    }
}

/// Waits for the answer, which is an event of the type asked for or an error.
fn answer(answers: &Queue, timeout: Duration) -> Result<Event, Refusal> {
    let event = answers
        .poll(timeout + ANSWER_MARGIN)
        .ok_or_else(|| Refusal::of(RDKafkaErrorCode::OperationTimedOut))?;
    match event.error_code() {
        RDKafkaErrorCode::NoError => Ok(event),
        // Partitions none of which has a leader just now; with one that has, each would say so by itself.
        RDKafkaErrorCode::NoEnt => Err(Refusal {
            text: event.error_text(),
            ..Refusal::of(RDKafkaErrorCode::LeaderNotAvailable)
        }),
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
    /// Asks how many partitions topics have, with one request; `None` for a topic that does not exist.
    pub(in crate::kafka) fn partition_counts(
        self: &Arc<Self>,
        topics: &[&str],
        timeout: Duration,
    ) -> Result<Vec<Option<i32>>, Refusal> {
        let answers = Queue::new(self)?;
        let options = Options::new(
            self,
            sys::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS,
            timeout,
        )?;
        // A name that is given twice is refused.
        let distinct: BTreeSet<&str> = topics.iter().copied().collect();
        let names = distinct.into_iter().map(c_string);
        let names = names.collect::<Result<Vec<CString>, Refusal>>()?;
        let mut pointers: Vec<*const c_char> = names.iter().map(|name| name.as_ptr()).collect();
        // SAFETY: see above; `names` outlives the call.
        unsafe {
            let collection =
                sys::rd_kafka_TopicCollection_of_topic_names(pointers.as_mut_ptr(), pointers.len());
            sys::rd_kafka_DescribeTopics(self.ptr(), collection, options.0.as_ptr(), answers.ptr());
            sys::rd_kafka_TopicCollection_destroy(collection);
        }
        let event = answer(&answers, timeout)?;
        let mut found = BTreeMap::new();
        let (mut topic_count, mut partition_count) = (0usize, 0usize);
        // SAFETY: see above; the result has `topic_count` topics.
        unsafe {
            let result = sys::rd_kafka_event_DescribeTopics_result(event.ptr());
            let described =
                sys::rd_kafka_DescribeTopics_result_topics(result, &raw mut topic_count);
            for index in 0..topic_count {
                let topic = *described.add(index);
                let error = sys::rd_kafka_TopicDescription_error(topic);
                let code = RDKafkaErrorCode::from(sys::rd_kafka_error_code(error));
                sys::rd_kafka_TopicDescription_partitions(topic, &raw mut partition_count);
                let name = string(sys::rd_kafka_TopicDescription_name(topic));
                let count = i32::try_from(partition_count).unwrap_or(i32::MAX);
                found.insert(name, (code, count));
            }
        }
        let count = |topic: &&str| match found.get(*topic) {
            Some((RDKafkaErrorCode::NoError, count)) => Ok(Some(*count)),
            Some((
                RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic,
                _,
            )) => Ok(None),
            Some((code, _)) => Err(Refusal {
                text: format!("{topic}: {code}"),
                ..Refusal::of(*code)
            }),
            None => Err(Refusal::of(RDKafkaErrorCode::UnknownTopicOrPartition)),
        };
        topics.iter().map(count).collect()
    }

    /// Creates topics with one request; says which were refused, by index. A replication factor of -1 is the broker's default.
    pub(in crate::kafka) fn create_topics(
        self: &Arc<Self>,
        topics: &[&NewTopic],
        timeout: Duration,
    ) -> Result<Vec<(usize, Refusal)>, Refusal> {
        let answers = Queue::new(self)?;
        let options = Options::new(
            self,
            sys::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_CREATETOPICS,
            timeout,
        )?
        .wait_for_operation(timeout)?;
        let made = topics.iter().map(|topic| TopicToCreate::new(topic));
        let made = made.collect::<Result<Vec<_>, Refusal>>()?;
        let mut pointers: Vec<_> = made.iter().map(|topic| topic.0.as_ptr()).collect();
        // SAFETY: see above; `made` outlives the call.
        unsafe {
            sys::rd_kafka_CreateTopics(
                self.ptr(),
                pointers.as_mut_ptr(),
                pointers.len(),
                options.0.as_ptr(),
                answers.ptr(),
            );
        }
        let event = answer(&answers, timeout)?;
        let mut count = 0usize;
        // SAFETY: see above; the result has `count` topics.
        let mut results: BTreeMap<String, Option<Refusal>> = unsafe {
            let result = sys::rd_kafka_event_CreateTopics_result(event.ptr());
            let results = sys::rd_kafka_CreateTopics_result_topics(result, &raw mut count);
            (0..count)
                .map(|index| {
                    let result = *results.add(index);
                    let name = string(sys::rd_kafka_topic_result_name(result));
                    let code = RDKafkaErrorCode::from(sys::rd_kafka_topic_result_error(result));
                    let refusal = (code != RDKafkaErrorCode::NoError).then(|| Refusal {
                        text: string(sys::rd_kafka_topic_result_error_string(result)),
                        ..Refusal::of(code)
                    });
                    (name, refusal)
                })
                .collect()
        };
        let refused = topics.iter().enumerate().filter_map(|(index, topic)| {
            let result = results.remove(&topic.name);
            // One without an answer was not created.
            let refusal = result.unwrap_or_else(|| Some(Refusal::of(RDKafkaErrorCode::Fail)))?;
            Some((index, refusal))
        });
        Ok(refused.collect())
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
