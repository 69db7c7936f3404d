//! The directory of an application's state: one process at a time, a folder per task, an identity that outlives restarts.
//!
//! Laid out as Kafka Streams lays it out (`StateDirectory`), including the lock: POSIX `fcntl` on `.lock`, which is what a
//! Java process takes, so a Java and a Rust instance keep each other out. `flock()` would not.

use crate::error::{Error, Result};
use crate::task::TaskId;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use uuid::Uuid;

const LOCK_FILE: &str = ".lock";
const PROCESS_FILE: &str = "kafka-streams-process-metadata";
const GLOBAL_DIRECTORY: &str = "global";

/// The directories locked by this process. The lock of the file system belongs to the process, so it does not keep two
/// applications of one process apart; this does.
static LOCKED: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());

/// The locked directory `<state.dir>/<application.id>`, or nothing but an identity when no store is kept on disk.
pub(crate) struct StateDirectory {
    root: Option<LockedDirectory>,
    /// Where tasks are on a simulated disk.
    #[cfg(feature = "simulation")]
    simulated: Option<(PathBuf, streams_state::SimulatedDisk)>,
    process_id: Uuid,
    tasks: Mutex<TaskUse>,
}

struct LockedDirectory {
    path: PathBuf,
    /// Holds the lock; closing it gives the lock back.
    _lock: File,
}

impl Drop for LockedDirectory {
    fn drop(&mut self) {
        lock(&LOCKED).remove(&self.path);
    }
}

#[derive(Default)]
struct TaskUse {
    in_use: BTreeSet<TaskId>,
    /// When each task that is not in use was given back, on the clock of [`StateDirectory::clean_unused`].
    released: BTreeMap<TaskId, Duration>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // These sets are valid between any two statements, so a panic elsewhere does not spoil them.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl StateDirectory {
    /// A process without state on disk: nothing to lock, a new identity at each start.
    pub(crate) fn in_memory() -> Arc<Self> {
        Arc::new(StateDirectory {
            root: None,
            #[cfg(feature = "simulation")]
            simulated: None,
            process_id: Uuid::new_v4(),
            tasks: Mutex::default(),
        })
    }

    /// The directory of a simulated process, of which there is only the name.
    #[cfg(feature = "simulation")]
    pub(crate) fn simulated(
        path: PathBuf,
        disk: &streams_state::SimulatedDisk,
        process_id: Uuid,
    ) -> Arc<Self> {
        Arc::new(StateDirectory {
            root: None,
            simulated: Some((path, disk.clone())),
            process_id,
            tasks: Mutex::default(),
        })
    }

    /// Creates and locks `<state_dir>/<application_id>` and reads, or makes up, the identity kept there.
    pub(crate) fn open(state_dir: &Path, application_id: &str) -> Result<Arc<Self>> {
        let root = LockedDirectory::lock(&state_dir.join(application_id))?;
        let process_id = read_process_id(&root.path)?;
        Ok(Arc::new(StateDirectory {
            root: Some(root),
            #[cfg(feature = "simulation")]
            simulated: None,
            process_id,
            tasks: Mutex::default(),
        }))
    }

    /// Deletes `<state_dir>/<application_id>` with everything in it, unless a process uses it.
    pub(crate) fn clean_up(state_dir: &Path, application_id: &str) -> Result<()> {
        let path = state_dir.join(application_id);
        if !path.exists() {
            return Ok(());
        }
        let locked = LockedDirectory::lock(&path)?;
        fs::remove_dir_all(&locked.path).map_err(|error| failed("delete", &path, &error))
    }

    /// Who this process is, the same after each restart on this directory.
    pub(crate) fn process_id(&self) -> Uuid {
        self.process_id
    }

    /// Where global tables live, `None` without state on disk.
    pub(crate) fn global(&self) -> Result<Option<PathBuf>> {
        self.root
            .as_ref()
            .map(|root| {
                let path = root.path.join(GLOBAL_DIRECTORY);
                create(&path)?;
                Ok(path)
            })
            .transpose()
    }

    /// Takes the folder of a task; `None` while somebody else in this process has it. A folder that is dropped instead of
    /// released counts as unused since `now`.
    pub(crate) fn lock_task(
        self: &Arc<Self>,
        id: TaskId,
        now: Duration,
    ) -> Result<Option<TaskDirectory>> {
        if !lock(&self.tasks).in_use.insert(id) {
            return Ok(None);
        }
        // From here on dropping the guard gives the task back, also when its folder cannot be made.
        let mut directory = TaskDirectory {
            owner: Arc::clone(self),
            id,
            path: None,
            now,
        };
        if let Some(root) = &self.root {
            let path = root.path.join(id.to_string());
            create(&path)?;
            directory.path = Some(path);
        }
        #[cfg(feature = "simulation")]
        if let Some((root, _)) = &self.simulated {
            directory.path = Some(root.join(id.to_string()));
        }
        Ok(Some(directory))
    }

    /// The tasks that have a folder with something in it that nobody uses at the moment; none when the directory cannot be read.
    pub(crate) fn kept_tasks(&self) -> BTreeSet<TaskId> {
        #[cfg(feature = "simulation")]
        if let Some((_, disk)) = &self.simulated {
            let tasks = lock(&self.tasks);
            let directories = disk.directories().into_iter();
            return directories
                .filter_map(|directory| parse_task_id(directory.file_name()?.to_str()?))
                .filter(|task| !tasks.in_use.contains(task))
                .collect();
        }
        let Some(entries) = self.root.as_ref().and_then(|r| fs::read_dir(&r.path).ok()) else {
            return BTreeSet::new();
        };
        let tasks = lock(&self.tasks);
        // A task that came and went before its stores were opened leaves an empty folder.
        let has_entries =
            |path: &Path| fs::read_dir(path).is_ok_and(|mut all| all.next().is_some());
        entries
            .filter_map(|entry| {
                let path = entry.ok()?.path();
                let task = parse_task_id(path.file_name()?.to_str()?)?;
                (!tasks.in_use.contains(&task) && has_entries(&path)).then_some(task)
            })
            .collect()
    }

    /// Deletes the folders of tasks that nobody used for `delay`; `now` and the times tasks are given back at are on the
    /// same clock, which starts with the process. Returns the tasks whose folders were deleted.
    pub(crate) fn clean_unused(&self, delay: Duration, now: Duration) -> Result<Vec<TaskId>> {
        let Some(root) = &self.root else {
            return Ok(Vec::new());
        };
        let mut deleted = Vec::new();
        let entries = fs::read_dir(&root.path).map_err(|e| failed("read", &root.path, &e))?;
        for entry in entries {
            let entry = entry.map_err(|e| failed("read", &root.path, &e))?;
            let Some(id) = entry.file_name().to_str().and_then(parse_task_id) else {
                continue;
            };
            // Held until the folder is gone, so that nobody opens it halfway.
            let mut tasks = lock(&self.tasks);
            let unused_since = tasks.released.get(&id).copied().unwrap_or_default();
            if tasks.in_use.contains(&id) || now < unused_since + delay {
                continue;
            }
            fs::remove_dir_all(entry.path()).map_err(|e| failed("delete", &entry.path(), &e))?;
            tasks.released.remove(&id);
            deleted.push(id);
        }
        Ok(deleted)
    }
}

impl LockedDirectory {
    fn lock(path: &Path) -> Result<Self> {
        create(path)?;
        let path = path
            .canonicalize()
            .map_err(|error| failed("open", path, &error))?;
        if !lock(&LOCKED).insert(path.clone()) {
            return Err(Error::config(format!(
                "the state directory {} is in use by another KafkaStreams of this process: give each its own `state.dir`",
                path.display()
            )));
        }
        match lock_file(&path) {
            Ok(file) => Ok(LockedDirectory { path, _lock: file }),
            Err(error) => {
                lock(&LOCKED).remove(&path);
                Err(error)
            }
        }
    }
}

fn lock_file(directory: &Path) -> Result<File> {
    use rustix::fs::{FlockOperation, fcntl_lock};
    use rustix::process::{Flock, FlockType, fcntl_getlk};

    let path = directory.join(LOCK_FILE);
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o640)
        .open(&path)
        .map_err(|error| failed("open", &path, &error))?;
    match fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::AGAIN | rustix::io::Errno::ACCESS) => {
            let owner = fcntl_getlk(&file, &Flock::from(FlockType::WriteLock))
                .ok()
                .flatten()
                .and_then(|held| held.pid)
                .map_or_else(
                    || "another process".to_owned(),
                    |pid| format!("process {}", pid.as_raw_nonzero()),
                );
            Err(Error::config(format!(
                "the state directory {} is in use by {owner}: stop that instance or give this one its own `state.dir`",
                directory.display()
            )))
        }
        Err(error) => Err(failed("lock", &path, &error.into())),
    }
}

/// The folder of one task, taken; dropping it gives the folder back.
pub(crate) struct TaskDirectory {
    owner: Arc<StateDirectory>,
    id: TaskId,
    path: Option<PathBuf>,
    now: Duration,
}

impl TaskDirectory {
    /// Where the task's stores live, `None` without state on disk.
    pub(crate) fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// Gives the folder back, unused since `now`.
    pub(crate) fn release(mut self, now: Duration) {
        self.now = now;
    }
}

impl Drop for TaskDirectory {
    fn drop(&mut self) {
        let mut tasks = lock(&self.owner.tasks);
        tasks.in_use.remove(&self.id);
        tasks.released.insert(self.id, self.now);
    }
}

pub(crate) fn parse_task_id(name: &str) -> Option<TaskId> {
    let (sub_topology, partition) = name.split_once('_')?;
    Some(TaskId {
        sub_topology: sub_topology.parse().ok()?,
        partition: partition.parse().ok().filter(|&p| p >= 0)?,
    })
}

fn create(path: &Path) -> Result<()> {
    // Mode rwxr-x---, as Kafka Streams creates it.
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o750)
        .create(path)
        .map_err(|error| failed("create", path, &error))
}

fn read_process_id(directory: &Path) -> Result<Uuid> {
    let path = directory.join(PROCESS_FILE);
    match fs::read(&path) {
        Ok(bytes) => serde_json::from_slice::<serde_json::Value>(&bytes)
            .ok()
            .and_then(|json| json.get("processId")?.as_str()?.parse().ok())
            .ok_or_else(|| {
                Error::state(format!(
                    "{} holds no process id: delete that file, the next start makes up a new identity",
                    path.display()
                ))
            }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let id = Uuid::new_v4();
            let json = serde_json::json!({ "processId": id.to_string() }).to_string();
            // Written aside and renamed, so that a crash leaves no half of it.
            let aside = path.with_extension("tmp");
            fs::write(&aside, json)
                .and_then(|()| fs::rename(&aside, &path))
                .map_err(|error| failed("write", &path, &error))?;
            Ok(id)
        }
        Err(error) => Err(failed("read", &path, &error)),
    }
}

#[cold]
fn failed(verb: &str, path: &Path, error: &io::Error) -> Error {
    Error::state(format!(
        "could not {verb} {}: {error}; check `state.dir`, its permissions and free space",
        path.display()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(sub_topology: u32, partition: i32) -> TaskId {
        TaskId {
            sub_topology,
            partition,
        }
    }

    #[test]
    fn the_identity_outlives_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let first = StateDirectory::open(dir.path(), "app")
            .unwrap()
            .process_id();
        let json = fs::read_to_string(dir.path().join("app").join(PROCESS_FILE)).unwrap();
        assert_eq!(json, format!("{{\"processId\":\"{first}\"}}"));
        assert_eq!(
            StateDirectory::open(dir.path(), "app")
                .unwrap()
                .process_id(),
            first
        );
    }

    #[test]
    fn a_second_application_is_refused_until_the_first_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let first = StateDirectory::open(dir.path(), "app").unwrap();
        let error = StateDirectory::open(dir.path(), "app").err().unwrap();
        assert!(error.to_string().contains("`state.dir`"), "{error}");
        assert!(StateDirectory::clean_up(dir.path(), "app").is_err());
        drop(first);
        StateDirectory::clean_up(dir.path(), "app").unwrap();
        assert!(!dir.path().join("app").exists());
        StateDirectory::open(dir.path(), "app").unwrap();
    }

    #[test]
    fn a_task_has_one_user_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let directory = StateDirectory::open(dir.path(), "app").unwrap();
        let task = directory
            .lock_task(id(0, 1), Duration::ZERO)
            .unwrap()
            .unwrap();
        assert!(task.path().unwrap().ends_with("app/0_1"));
        assert!(
            directory
                .lock_task(id(0, 1), Duration::ZERO)
                .unwrap()
                .is_none()
        );
        drop(task);
        assert!(
            directory
                .lock_task(id(0, 1), Duration::ZERO)
                .unwrap()
                .is_some()
        );
    }

    #[test]
    fn only_folders_of_tasks_unused_for_the_delay_are_deleted() {
        let dir = tempfile::tempdir().unwrap();
        let directory = StateDirectory::open(dir.path(), "app").unwrap();
        let used = directory
            .lock_task(id(0, 0), Duration::ZERO)
            .unwrap()
            .unwrap();
        let recent = directory
            .lock_task(id(0, 1), Duration::ZERO)
            .unwrap()
            .unwrap();
        let unused = directory
            .lock_task(id(1, 0), Duration::ZERO)
            .unwrap()
            .unwrap();
        let path = unused.path().unwrap().to_owned();
        drop(unused);
        let global = directory.global().unwrap().unwrap();
        // Nothing is in it yet.
        assert_eq!(directory.kept_tasks(), BTreeSet::new());
        fs::write(path.join("store"), "rows").unwrap();
        assert_eq!(directory.kept_tasks(), BTreeSet::from([id(1, 0)]));
        recent.release(Duration::from_secs(9));
        let seconds = Duration::from_secs;
        assert_eq!(
            directory.clean_unused(seconds(5), seconds(10)).unwrap(),
            [id(1, 0)]
        );
        assert_eq!(
            directory.clean_unused(seconds(5), seconds(14)).unwrap(),
            [id(0, 1)]
        );
        assert!(used.path().unwrap().exists());
        assert!(global.exists());
    }

    #[test]
    fn a_folder_that_is_dropped_counts_as_used_when_it_was_taken() {
        let dir = tempfile::tempdir().unwrap();
        let directory = StateDirectory::open(dir.path(), "app").unwrap();
        let seconds = Duration::from_secs;
        drop(directory.lock_task(id(0, 0), seconds(8)).unwrap());
        let deleted = directory.clean_unused(seconds(5), seconds(10)).unwrap();
        assert!(deleted.is_empty(), "{deleted:?}");
    }
}
