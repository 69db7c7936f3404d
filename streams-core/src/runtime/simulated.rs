//! What a simulation puts together instead of `application`: the same parts, without threads.

pub(crate) use crate::runtime::assignment::TaskTable;
pub(crate) use crate::runtime::clock::Clock;
pub(crate) use crate::runtime::commit::PurgeList;
pub(crate) use crate::runtime::internal_topics::{changelog_topic, internal_topics, make_ready};
pub(crate) use crate::runtime::jobs::{Jobs, JobsDone};
pub(crate) use crate::runtime::lifecycle::{Lifecycle, State};
pub(crate) use crate::runtime::local_tasks::LocalTasks;
pub(crate) use crate::runtime::member_record::{Member, TaskCopy, decode_key};
pub(crate) use crate::runtime::notices::Notices;
pub(crate) use crate::runtime::partition_plan::{PartitionPlan, external_topics};
pub(crate) use crate::runtime::restore::{RestoreContext, Restorer};
pub(crate) use crate::runtime::restore_pool::{Next, RestorePool, RestoreWorker};
pub(crate) use crate::runtime::restoring_store::RestoringStore;
pub(crate) use crate::runtime::settings::RuntimeSettings;
pub(crate) use crate::runtime::standby::{StandbyContext, StandbyTasks};
pub(crate) use crate::runtime::state_directory::StateDirectory;
pub(crate) use crate::runtime::task_layout::stateful_parts;
pub(crate) use crate::runtime::topic_metadata::CachedTopicMetadata;
pub(crate) use crate::runtime::worker::{Worker, WorkerContext};
