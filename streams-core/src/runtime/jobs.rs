//! What a running application does now and then, beside its threads: purge repartition topics, look for topics that grew,
//! delete the state of tasks that live elsewhere, hear what other instances tell.

use crate::error::Error;
use crate::runtime::broker::Broker;
use crate::runtime::clock::Clock;
use crate::runtime::commit::PurgeList;
use crate::runtime::lifecycle::Lifecycle;
use crate::runtime::notices::{NoticeReader, Notices};
use crate::runtime::settings::RuntimeSettings;
use crate::runtime::state_directory::StateDirectory;
use crate::runtime::topic_metadata::CachedTopicMetadata;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// How often the application looks whether one of the jobs is due.
const JOB_INTERVAL: Duration = Duration::from_secs(1);

/// The regular jobs of a running application and what they work on.
pub(crate) struct Jobs<B> {
    pub(crate) broker: Arc<B>,
    pub(crate) settings: Arc<RuntimeSettings>,
    pub(crate) lifecycle: Arc<Lifecycle>,
    pub(crate) purge: Arc<PurgeList>,
    pub(crate) notices: Arc<Notices<B>>,
    pub(crate) metadata: Arc<CachedTopicMetadata<B>>,
    pub(crate) directory: Arc<StateDirectory>,
    pub(crate) clock: Arc<dyn Clock>,
    /// The topics tasks read: which tasks there are depends on their partition counts.
    pub(crate) sources: BTreeSet<String>,
}

/// When each of the jobs was last done.
pub(crate) struct JobsDone {
    purged: Duration,
    refreshed: Duration,
    cleaned: Duration,
}

impl<B: Broker> Jobs<B> {
    /// Does the jobs when they are due, until the application stops.
    pub(crate) fn run(&self) {
        let mut done = self.started();
        let mut notices = NoticeReader::new(&self.notices);
        notices.look();
        while !self
            .lifecycle
            .wait_for_stop(JOB_INTERVAL.min(self.settings.purge_interval))
        {
            notices.look();
            self.turn(&mut done);
        }
    }

    /// As if every job had just been done.
    pub(crate) fn started(&self) -> JobsDone {
        let now = self.clock.elapsed();
        JobsDone {
            purged: now,
            refreshed: now,
            cleaned: now,
        }
    }

    /// Does the jobs that are due.
    pub(crate) fn turn(&self, done: &mut JobsDone) {
        let settings = &self.settings;
        let elapsed = || self.clock.elapsed();
        if elapsed() >= done.purged + settings.purge_interval {
            self.purge();
            done.purged = elapsed();
        }
        if elapsed() >= done.refreshed + settings.metadata_max_age {
            self.refresh_metadata();
            done.refreshed = elapsed();
        }
        if elapsed() >= done.cleaned + settings.cleanup_delay {
            clean(&self.directory, settings.cleanup_delay, elapsed());
            done.cleaned = elapsed();
        }
    }

    /// Deletes what has been processed from the repartition topics.
    fn purge(&self) {
        let before = self.purge.take();
        if before.is_empty() {
            return;
        }
        match self
            .broker
            .delete_records(&before, self.settings.request_timeout)
        {
            Ok(()) => tracing::debug!(partitions = before.len(), "purged repartition topics"),
            // The next commits bring these partitions up again.
            Err(error) => {
                tracing::warn!(%error, "processed records of repartition topics were not deleted yet");
            }
        }
    }

    /// Looks for topics that grew. Which task reads what was decided at the start, so a grown input stops the application:
    /// going on would leave its new partitions unread.
    fn refresh_metadata(&self) {
        match self.metadata.refresh() {
            Ok(changed) => {
                for (topic, old, new) in changed {
                    tracing::warn!(topic, old, new, "partition count changed");
                    if self.sources.contains(&topic) {
                        self.lifecycle.fail(Error::fatal(format!(
                            "the partition count of topic {topic} changed from {old} to {new} while the application runs: start it \
                             again to read the new partitions; an application with state has to be reset first, since its keys are \
                             spread over {old} partitions"
                        )));
                    }
                }
            }
            Err(error) => tracing::warn!(%error, "partition counts could not be refreshed"),
        }
    }
}

fn clean(directory: &StateDirectory, delay: Duration, now: Duration) {
    match directory.clean_unused(delay, now) {
        Ok(deleted) => {
            for task in deleted {
                tracing::info!(%task, "deleted the state of a task that lives elsewhere");
            }
        }
        Err(error) => tracing::warn!(%error, "state of tasks that live elsewhere was not deleted"),
    }
}
