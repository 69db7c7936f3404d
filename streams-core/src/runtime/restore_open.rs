//! The first step of a restoration: the stores opened, and where each changelog is read from and to.

use crate::error::{Error, Result};
use crate::record::TopicPartition;
use crate::runtime::broker::{Broker, Input, InputSlot, LogReader, StartOffset};
use crate::runtime::restore::{RestoreContext, Restorer, RestoringTask};
use crate::runtime::restore_request::{OpenStores, RestoreRequest, StoreToRestore};
use crate::runtime::restoring_store::RestoringStore;
use crate::runtime::state_directory::TaskDirectory;
use crate::task::TaskId;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use streams_state::{StoreBackend, StoreSpec, TaskStores};

/// How long tasks that are to be opened may keep the others waiting that are restored already.
const BOUNDS_TIMEOUT: Duration = Duration::from_secs(2);

/// The folder of a task that is to be restored, with the stores in it when they are open as a standby copy.
struct Found {
    directory: TaskDirectory,
    stores: Option<TaskStores>,
}

/// The stores that have a changelog, by number.
pub(crate) fn logged(stores: &[StoreToRestore]) -> Vec<(usize, TopicPartition)> {
    let stores = stores.iter().enumerate();
    stores
        .filter_map(|(index, store)| Some((index, store.changelog.clone()?)))
        .collect()
}

/// Opens the stores of a task, unless they are `open` already, and empties them when their changelogs, which hold `bounds`
/// now, no longer have what they continue from.
pub(crate) fn open_stores<B: Broker>(
    context: &RestoreContext<B>,
    task: TaskId,
    stores: &[StoreToRestore],
    bounds: &[(i64, i64)],
    directory: &TaskDirectory,
    open: Option<TaskStores>,
) -> Result<TaskStores> {
    let specs: Vec<StoreSpec> = stores
        .iter()
        .map(|store| store.definition.spec.clone())
        .collect();
    // A task without a store on disk leaves no database behind.
    let on_disk = specs
        .iter()
        .any(|spec| !matches!(spec.backend, StoreBackend::Memory));
    let path = directory.path().filter(|_| on_disk);
    let opened = match open {
        Some(open) => open,
        None => TaskStores::open(path, &specs, &context.resources)?,
    };
    let logged = logged(stores);
    let out_of_range = logged.iter().zip(bounds).find(|((index, _), bounds)| {
        opened
            .position(*index)
            .is_some_and(|position| position < bounds.0 || position > bounds.1)
    });
    let Some(((index, changelog), (first, end))) = out_of_range else {
        return Ok(opened);
    };
    tracing::warn!(
        %task, %changelog, position = ?opened.position(*index), first, end,
        "the changelog no longer holds what the store on disk continues from; starting from an empty store"
    );
    opened.close()?;
    if let Some(path) = path {
        TaskStores::wipe(path, &context.resources)?;
    }
    Ok(TaskStores::open(path, &specs, &context.resources)?)
}

/// A request with the folder of its task.
struct ToOpen {
    request: RestoreRequest,
    found: Found,
    /// What its changelogs hold.
    bounds: Vec<(i64, i64)>,
}

impl<B: Broker> Restorer<B> {
    /// Opens the stores of requests whose folders are free and starts to read their changelogs.
    pub(crate) fn open_waiting(&mut self) {
        let mut ready = self.find_folders();
        if ready.is_empty() {
            return;
        }
        // All are asked for at once: a question for each would be most of what a start without much state takes.
        let changelogs = ready
            .iter()
            .flat_map(|to_open| logged(&to_open.request.stores));
        let changelogs: Vec<TopicPartition> = changelogs.map(|(_, changelog)| changelog).collect();
        match self.bounds(&changelogs) {
            Ok(bounds) => {
                let mut bounds = bounds.into_iter();
                for to_open in &mut ready {
                    let count = logged(&to_open.request.stores).len();
                    to_open.bounds = bounds.by_ref().take(count).collect();
                }
            }
            Err(error) => {
                for ToOpen { request, found, .. } in ready {
                    self.give_back(request.task, found);
                    self.retry(request, Error::new(error.kind(), error.to_string()));
                }
                return;
            }
        }
        for (to_open, opened) in self.open_all(ready) {
            let ToOpen {
                request,
                found: Found { directory, .. },
                bounds,
            } = to_open;
            let started = opened.and_then(|stores| self.start(&request, &bounds, stores));
            match started {
                Ok((stores, changelogs)) => self.active.push(RestoringTask {
                    request,
                    open: OpenStores { stores, directory },
                    changelogs,
                    started: self.context.clock.elapsed(),
                }),
                Err(error) => {
                    // The state is wanted again in a moment, so it counts as used until now.
                    directory.release(self.context.clock.elapsed());
                    self.retry(request, error);
                }
            }
        }
    }

    /// The requests whose folders are free; the others go on waiting.
    fn find_folders(&mut self) -> Vec<ToOpen> {
        let mut ready = Vec::new();
        for request in std::mem::take(&mut self.waiting) {
            let now = self.context.clock.elapsed();
            let found = match self.context.directory.lock_task(request.task, now) {
                Ok(Some(directory)) => Found {
                    directory,
                    stores: None,
                },
                Ok(None) => match self.context.local_tasks.take_warm(request.task) {
                    Some(OpenStores { stores, directory }) => Found {
                        directory,
                        stores: Some(stores),
                    },
                    // Another thread of this process is still closing it.
                    None => {
                        self.waiting.push(request);
                        continue;
                    }
                },
                Err(error) => {
                    request.answer(Err(error), now);
                    continue;
                }
            };
            let bounds = Vec::new();
            ready.push(ToOpen {
                request,
                found,
                bounds,
            });
        }
        ready
    }

    /// Opens the stores of all of them. RocksDB waits for the disk again and again when it makes a database, so several are
    /// opened at once.
    fn open_all(&self, ready: Vec<ToOpen>) -> Vec<(ToOpen, Result<TaskStores>)> {
        let context = &*self.context;
        let open = |mut to_open: ToOpen| {
            let ToOpen {
                request,
                found,
                bounds,
            } = &mut to_open;
            let open = found.stores.take();
            let (task, stores) = (request.task, &request.stores);
            let opened = open_stores(context, task, stores, bounds, &found.directory, open);
            (to_open, opened)
        };
        let at_once = context.opened_at_once.max(1).min(ready.len());
        if at_once == 1 {
            return ready.into_iter().map(open).collect();
        }
        let count = ready.len();
        let left = Mutex::new(ready.into_iter().enumerate());
        let next = || left.lock().unwrap_or_else(PoisonError::into_inner).next();
        let work = || {
            let opened = std::iter::from_fn(next).map(|(index, to_open)| (index, open(to_open)));
            opened.collect::<Vec<_>>()
        };
        let mut opened = std::thread::scope(|scope| {
            let helpers: Vec<_> = (1..at_once).map(|_| scope.spawn(work)).collect();
            let mut opened = work();
            for helper in helpers {
                match helper.join() {
                    Ok(by_helper) => opened.extend(by_helper),
                    Err(panic) => std::panic::resume_unwind(panic),
                }
            }
            opened
        });
        debug_assert_eq!(opened.len(), count);
        opened.sort_by_key(|(index, _)| *index);
        opened.into_iter().map(|(_, opened)| opened).collect()
    }

    /// Leaves what was found as it was.
    fn give_back(&self, task: TaskId, found: Found) {
        let Found { directory, stores } = found;
        match stores {
            Some(stores) => {
                let open = OpenStores { stores, directory };
                self.context.local_tasks.put_warm(task, open);
            }
            None => directory.release(self.context.clock.elapsed()),
        }
    }

    fn retry(&mut self, request: RestoreRequest, error: Error) {
        if error.is_retriable() && !self.timed_out() {
            tracing::warn!(task = %request.task, %error, "cannot start restoring yet");
            self.waiting.push(request);
        } else {
            let context = format!("opening the stores of task {}", request.task);
            request.answer(Err(error.context(context)), self.context.clock.elapsed());
        }
    }

    fn start(
        &mut self,
        request: &RestoreRequest,
        bounds: &[(i64, i64)],
        stores: TaskStores,
    ) -> Result<(TaskStores, Vec<RestoringStore>)> {
        let logged = logged(&request.stores);
        let mut changelogs = Vec::with_capacity(logged.len());
        let mut inputs = Vec::new();
        let mut reading = Vec::new();
        for ((index, changelog), (first, end)) in logged.into_iter().zip(bounds.iter().copied()) {
            let StoreToRestore {
                definition,
                end_max,
                ..
            } = &request.stores[index];
            let position = stores.position(index).unwrap_or(first);
            let end = end_max.map_or(end, |max| end.min(max));
            let slot = InputSlot(self.next_slot);
            self.next_slot = self.next_slot.wrapping_add(1);
            let done = position >= end;
            if !done {
                tracing::info!(
                    task = %request.task, store = %definition.name, %changelog, position, end,
                    "restoring"
                );
                if let Some(listener) = &self.context.listener {
                    listener.on_restore_start(&definition.name, &changelog, position, end);
                }
                reading.push((slot, (request.task, index)));
                inputs.push(Input {
                    partition: changelog.clone(),
                    slot,
                    offset: StartOffset::At(position),
                });
            }
            changelogs.push(RestoringStore {
                index,
                name: definition.name.clone(),
                form: definition.changelog_form(),
                changelog,
                slot,
                start: position,
                position,
                end,
                bounded: end_max.is_some(),
                records_total: 0,
                done,
            });
        }
        if !inputs.is_empty() {
            self.reader()?.add_inputs(&inputs)?;
            self.slots.extend(reading);
        }
        Ok((stores, changelogs))
    }

    fn bounds(&mut self, changelogs: &[TopicPartition]) -> Result<Vec<(i64, i64)>> {
        if changelogs.is_empty() {
            return Ok(Vec::new());
        }
        let timeout = self.context.request_timeout.min(BOUNDS_TIMEOUT);
        self.reader()?.offsets(changelogs, timeout)
    }
}
