//! Fetches that wait for records.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use kafka_protocol::messages::FetchRequest;

use super::{RequestContext, RequestId};

/// A fetch that found too little and waits for more, at most until its deadline.
#[derive(Clone, Debug)]
pub(crate) struct WaitingFetch {
    pub(crate) context: RequestContext,
    pub(crate) request: FetchRequest,
    pub(crate) deadline_ms: i64,
    partitions: Vec<(String, i32)>,
}

/// All fetches that wait, found by partition and by deadline.
#[derive(Debug, Default)]
pub(crate) struct WaitingFetches {
    waiting: BTreeMap<RequestId, WaitingFetch>,
    by_partition: HashMap<String, HashMap<i32, BTreeSet<RequestId>>>,
    by_deadline: BTreeSet<(i64, RequestId)>,
    touched: BTreeSet<RequestId>,
}

impl WaitingFetches {
    /// Lets a fetch wait until something happens to one of `partitions`, or `deadline_ms`.
    pub(crate) fn wait(
        &mut self,
        context: RequestContext,
        request: FetchRequest,
        partitions: Vec<(String, i32)>,
        deadline_ms: i64,
    ) {
        let request_id = context.request_id;
        for (topic, partition) in &partitions {
            if !self.by_partition.contains_key(topic) {
                self.by_partition.insert(topic.clone(), HashMap::new());
            }
            let waiting = self
                .by_partition
                .get_mut(topic)
                .map(|topic| topic.entry(*partition).or_default());
            waiting.into_iter().for_each(|waiting| {
                waiting.insert(request_id);
            });
        }
        self.by_deadline.insert((deadline_ms, request_id));
        self.waiting.insert(
            request_id,
            WaitingFetch {
                context,
                request,
                deadline_ms,
                partitions,
            },
        );
    }

    /// Something happened to this partition.
    pub(crate) fn touch(&mut self, topic: &str, partition: i32) {
        if let Some(waiting) = self
            .by_partition
            .get(topic)
            .and_then(|topic| topic.get(&partition))
        {
            self.touched.extend(waiting);
        }
    }

    /// Something happened to every partition of this topic.
    pub(crate) fn touch_topic(&mut self, topic: &str) {
        if let Some(partitions) = self.by_partition.get(topic) {
            self.touched.extend(partitions.values().flatten());
        }
    }

    /// The fetches to look at again: those touched since the last call and those whose time has come.
    pub(crate) fn take_due(&mut self, now_ms: i64) -> BTreeSet<RequestId> {
        let mut due = std::mem::take(&mut self.touched);
        due.extend(
            self.by_deadline
                .iter()
                .take_while(|(deadline_ms, _)| *deadline_ms <= now_ms)
                .map(|(_, id)| *id),
        );
        due
    }

    /// Takes a fetch out.
    pub(crate) fn remove(&mut self, request_id: RequestId) -> Option<WaitingFetch> {
        let fetch = self.waiting.remove(&request_id)?;
        self.by_deadline.remove(&(fetch.deadline_ms, request_id));
        for (topic, partition) in &fetch.partitions {
            let Some(partitions) = self.by_partition.get_mut(topic) else {
                continue;
            };
            if let Some(waiting) = partitions.get_mut(partition) {
                waiting.remove(&request_id);
                if waiting.is_empty() {
                    partitions.remove(partition);
                }
            }
            if partitions.is_empty() {
                self.by_partition.remove(topic);
            }
        }
        Some(fetch)
    }

    /// When the next fetch has waited long enough.
    pub(crate) fn next_deadline_ms(&self) -> Option<i64> {
        self.by_deadline
            .first()
            .map(|(deadline_ms, _)| *deadline_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context(id: u64) -> RequestContext {
        RequestContext {
            request_id: RequestId(id),
            version: 12,
            client_id: String::new(),
            client_host: String::new(),
        }
    }

    #[test]
    fn a_fetch_is_due_when_touched_or_overdue_and_leaves_nothing_behind() {
        let mut fetches = WaitingFetches::default();
        fetches.wait(
            context(1),
            FetchRequest::default(),
            vec![("a".into(), 0), ("a".into(), 1)],
            100,
        );
        fetches.wait(
            context(2),
            FetchRequest::default(),
            vec![("b".into(), 0)],
            50,
        );
        assert_eq!(fetches.next_deadline_ms(), Some(50));
        assert!(fetches.take_due(49).is_empty());
        fetches.touch("a", 1);
        fetches.touch("a", 7);
        assert_eq!(fetches.take_due(0), BTreeSet::from([RequestId(1)]));
        assert_eq!(fetches.take_due(50), BTreeSet::from([RequestId(2)]));
        assert!(fetches.remove(RequestId(1)).is_some() && fetches.remove(RequestId(2)).is_some());
        assert!(fetches.by_partition.is_empty() && fetches.by_deadline.is_empty());
        assert!(fetches.remove(RequestId(1)).is_none());
    }
}
