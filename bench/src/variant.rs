//! How Kafka Streams is set: as it comes, and as somebody would who measured.

use crate::workload::{Shape, Workload};

/// Settings of the Java side.
#[derive(Clone, Debug)]
pub struct Variant {
    /// As it is reported: `default` or `tuned`.
    pub name: &'static str,
    /// Settings of Kafka Streams.
    pub settings: Vec<(String, String)>,
    /// The heap of the JVM.
    pub heap: &'static str,
}

impl Variant {
    /// As it comes, with two gigabytes of heap.
    pub fn default_of_java() -> Variant {
        Variant {
            name: "default",
            settings: Vec::new(),
            heap: "2g",
        }
    }

    /// With batches of 128 KiB where many records are written, and the record cache as large as the state or off, whichever is
    /// better for the workload; `None` where neither would change anything.
    pub fn tuned(workload: &Workload) -> Option<Variant> {
        let (cache, heap) = match workload.shape {
            // Caching what does not fit costs more than not caching, and so does a cache of its size.
            Shape::Count if workload.keys > 50_000 => (Some("0"), "2g"),
            Shape::Windows {
                on_close: false, ..
            } if workload.keys > 1_000 && !workload.tumbles() => (Some("1073741824"), "3g"),
            Shape::Sliding { .. } | Shape::Sessions { .. } | Shape::StreamTable { .. } => {
                (Some("536870912"), "2g")
            }
            Shape::Pass | Shape::WordCount | Shape::StreamStream { .. } => (None, "2g"),
            Shape::Count | Shape::Windows { .. } | Shape::Restore { .. } => return None,
        };
        let mut settings = vec![("producer.batch.size".to_owned(), "131072".to_owned())];
        if let Some(bytes) = cache {
            settings.push(("statestore.cache.max.bytes".to_owned(), bytes.to_owned()));
        }
        Some(Variant {
            name: "tuned",
            settings,
            heap,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_state_that_does_not_fit_goes_without_a_cache() {
        let cache = |name: &str| {
            let workload = Workload::named(name).expect("there is one");
            let settings = Variant::tuned(&workload)?.settings;
            let cache = settings
                .into_iter()
                .find(|(name, _)| name.contains("cache"));
            cache.map(|(_, bytes)| bytes)
        };
        assert_eq!(cache("W9-2M").as_deref(), Some("0"));
        assert_eq!(cache("W9-10k"), None);
        assert_eq!(cache("W3-10k"), None);
        assert_eq!(cache("W4-10k").as_deref(), Some("1073741824"));
    }
}
