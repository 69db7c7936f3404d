//! Records that are no readings, on their way to the topic where someone looks at them.

use streams_core::processor::{Processor, ProcessorContext};
use streams_core::{Headers, Record, Result};
use weather_producer::{Incoming, Reason, Rejection, Rejections, city_name};

/// Forwards what was refused, as it came, with headers that say why and from where: `reason`, `message`, `topic`,
/// `partition` and `offset`. The letters' timestamp is the time of refusal.
pub(crate) struct DeadLetters {
    rejections: Rejections,
}

impl DeadLetters {
    pub(crate) fn new(rejections: Rejections) -> Self {
        DeadLetters { rejections }
    }
}

/// Whether a record goes on to the windows: a reading under the key of its city.
pub(crate) fn is_reading_of(key: &str, value: &Incoming) -> bool {
    value.reading().is_some_and(|reading| reading.city == key)
}

fn wrong_key(key: &str, city: &str) -> Rejection {
    let is_other_spelling = city_name(key) == city;
    let hint = if is_other_spelling {
        "the name without white space around it is expected"
    } else {
        "the city is expected; to take it from the reading whatever the key is, start with --rekey"
    };
    Rejection::new(
        Reason::WrongKey,
        format!("the key is '{key}' and the city '{city}': {hint}"),
    )
}

impl Processor<String, Incoming, String, Option<Vec<u8>>> for DeadLetters {
    fn process(
        &mut self,
        record: Record<'_, String, Incoming>,
        context: &mut ProcessorContext<'_, String, Option<Vec<u8>>>,
    ) -> Result<()> {
        let (rejection, bytes) = match record.value {
            Incoming::Refused(rejection, bytes) => (rejection.clone(), bytes.clone()),
            Incoming::Reading(reading) => (
                wrong_key(record.key, &reading.city),
                serde_json::to_vec(reading).ok(),
            ),
        };
        let mut headers = record.headers.clone();
        headers.add("reason", Some(rejection.reason.as_str().as_bytes()));
        headers.add("message", Some(rejection.message.as_bytes()));
        if let Some(source) = context.record_metadata() {
            headers.add("topic", Some(source.topic.as_bytes()));
            headers.add("partition", Some(source.partition.to_string().as_bytes()));
            headers.add("offset", Some(source.offset.to_string().as_bytes()));
            if self.rejections.count(rejection.reason) == 0 {
                tracing::warn!(
                    topic = source.topic,
                    partition = source.partition,
                    offset = source.offset,
                    "refused a record: {rejection}; more of this kind are counted only"
                );
            }
        }
        let now_ms = context.current_system_time_ms();
        context.forward_record(Record::new(record.key, &bytes, now_ms, &headers))
    }

    fn close(&mut self) {
        for (reason, count) in self.rejections.iter() {
            tracing::info!(reason = reason.as_str(), count, "records refused so far");
        }
    }
}

/// The headers of a dead letter, as text.
///
/// ```
/// use streams_core::Headers;
/// use weather_averages::dead_letter_header;
///
/// let mut headers = Headers::new();
/// headers.add("reason", Some(b"no-city"));
/// assert_eq!(dead_letter_header(&headers, "reason").as_deref(), Some("no-city"));
/// ```
pub fn dead_letter_header(headers: &Headers, name: &str) -> Option<String> {
    headers
        .last(name)
        .map(|value| String::from_utf8_lossy(value).into_owned())
}
