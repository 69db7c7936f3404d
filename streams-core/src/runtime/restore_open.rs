//! The first step of a restoration: the stores opened, and where each changelog is read from and to.

use crate::error::Result;
use crate::record::TopicPartition;
use crate::runtime::broker::{Broker, Input, InputSlot, LogReader, StartOffset};
use crate::runtime::restore::{Restorer, RestoringTask};
use crate::runtime::restore_request::{OpenStores, RestoreRequest, StoreToRestore};
use crate::runtime::restoring_store::RestoringStore;
use crate::runtime::state_directory::TaskDirectory;
use streams_state::{StoreBackend, StoreSpec, TaskStores};

impl<B: Broker> Restorer<B> {
    /// Opens the stores of requests whose folders are free and starts to read their changelogs.
    pub(crate) fn open_waiting(&mut self) {
        for request in std::mem::take(&mut self.waiting) {
            let now = self.context.clock.elapsed();
            let directory = match self.context.directory.lock_task(request.task, now) {
                Ok(Some(directory)) => directory,
                // Another thread of this process is still closing it.
                Ok(None) => {
                    self.waiting.push(request);
                    continue;
                }
                Err(error) => {
                    request.answer(Err(error), now);
                    continue;
                }
            };
            match self.start(&request, &directory) {
                Ok((stores, changelogs)) => self.active.push(RestoringTask {
                    request,
                    open: OpenStores { stores, directory },
                    changelogs,
                    started: self.context.clock.elapsed(),
                }),
                Err(error) if error.is_retriable() && !self.timed_out() => {
                    tracing::warn!(task = %request.task, %error, "cannot start restoring yet");
                    // The state is wanted again in a moment, so it counts as used until now.
                    directory.release(self.context.clock.elapsed());
                    self.waiting.push(request);
                }
                Err(error) => {
                    directory.release(self.context.clock.elapsed());
                    let context = format!("opening the stores of task {}", request.task);
                    request.answer(Err(error.context(context)), now);
                }
            }
        }
    }

    fn start(
        &mut self,
        request: &RestoreRequest,
        directory: &TaskDirectory,
    ) -> Result<(TaskStores, Vec<RestoringStore>)> {
        let specs: Vec<StoreSpec> = request
            .stores
            .iter()
            .map(|store| store.definition.spec.clone())
            .collect();
        // A task without a store on disk leaves no database behind.
        let on_disk = specs
            .iter()
            .any(|spec| !matches!(spec.backend, StoreBackend::Memory));
        let path = directory.path().filter(|_| on_disk);
        let logged: Vec<(usize, TopicPartition)> = request
            .stores
            .iter()
            .enumerate()
            .filter_map(|(index, store)| Some((index, store.changelog.clone()?)))
            .collect();
        let bounds = self.bounds(&logged)?;
        let mut stores = TaskStores::open(path, &specs, &self.context.resources)?;
        let out_of_range = logged.iter().zip(&bounds).find(|((index, _), bounds)| {
            stores
                .position(*index)
                .is_some_and(|position| position < bounds.0 || position > bounds.1)
        });
        if let Some(((index, changelog), (first, end))) = out_of_range {
            tracing::warn!(
                task = %request.task, %changelog, position = ?stores.position(*index), first, end,
                "the changelog no longer holds what the store on disk continues from; starting from an empty store"
            );
            stores.close()?;
            if let Some(path) = path {
                TaskStores::wipe(path, &self.context.resources)?;
            }
            stores = TaskStores::open(path, &specs, &self.context.resources)?;
        }

        let mut changelogs = Vec::with_capacity(logged.len());
        let mut inputs = Vec::new();
        let mut reading = Vec::new();
        for ((index, changelog), (first, end)) in logged.into_iter().zip(bounds) {
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

    fn bounds(&mut self, logged: &[(usize, TopicPartition)]) -> Result<Vec<(i64, i64)>> {
        if logged.is_empty() {
            return Ok(Vec::new());
        }
        let partitions: Vec<TopicPartition> = logged.iter().map(|(_, p)| p.clone()).collect();
        let timeout = self.context.request_timeout;
        self.reader()?.offsets(&partitions, timeout)
    }
}
