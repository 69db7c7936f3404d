//! The first step of a standby copy: its stores opened, and its changelogs read from where they stand.

use super::update::QUESTION_TIMEOUT;
use super::{CatchingUp, POLL_TIMEOUT, StandbyCopy, StandbyTasks};
use crate::error::Result;
use crate::record::TopicPartition;
use crate::runtime::broker::{Broker, Input, LogReader, StartOffset};
use crate::runtime::restore_open::{logged, open_stores};
use crate::runtime::restore_request::OpenStores;
use crate::runtime::restoring_store::RestoringStore;
use crate::task::TaskId;

impl<B: Broker> StandbyTasks<B> {
    /// Opens the copies that wait and whose folders are free. Those for which a turn has no time stay for the next one: brokers
    /// that answer late keep neither a promotion nor the end of the application waiting.
    pub(super) fn open_waiting(&mut self) -> Result<()> {
        let until = self.now() + POLL_TIMEOUT;
        for task in self.waiting.clone() {
            let is_open = self
                .open(task)
                .map_err(|error| error.context(format!("opening a standby copy of task {task}")))?;
            if is_open {
                self.waiting.remove(&task);
                if self.now() >= until {
                    break;
                }
            }
        }
        Ok(())
    }

    /// Opens a copy; says whether its folder was free.
    fn open(&mut self, task: TaskId) -> Result<bool> {
        let worker = &self.context.worker;
        let inputs = worker.input_partitions(task)?;
        // How far source topics may be read is asked later.
        let committed = vec![None; inputs.len()];
        let stores = worker.stores_to_restore(task, &inputs, &committed)?;
        let logged = logged(&stores);
        let partitions: Vec<TopicPartition> = logged.iter().map(|(_, p)| p.clone()).collect();
        let now = self.now();
        // Before the brokers are asked: a folder that is taken is no question.
        let (directory, open) = match self.returned.remove(&task) {
            Some(OpenStores { stores, directory }) => (directory, Some(stores)),
            None => match self.context.restore.directory.lock_task(task, now)? {
                Some(directory) => (directory, None),
                // A thread of this process is still closing it, or has just been given it.
                None => return Ok(false),
            },
        };
        let asked = self
            .reader()
            .and_then(|reader| reader.offsets(&partitions, QUESTION_TIMEOUT));
        let bounds = match asked {
            Ok(bounds) => bounds,
            Err(error) => {
                if let Some(stores) = open {
                    let stores = OpenStores { stores, directory };
                    self.returned.insert(task, stores);
                }
                return Err(error);
            }
        };
        let context = &self.context.restore;
        let opened = match open_stores(context, task, &stores, &bounds, &directory, open) {
            Ok(opened) => opened,
            Err(error) => {
                directory.release(now);
                return Err(error);
            }
        };
        let mut changelogs = Vec::with_capacity(logged.len());
        let mut inputs = Vec::new();
        for ((index, changelog), (first, end)) in logged.into_iter().zip(bounds) {
            let definition = &stores[index].definition;
            let bounded = stores[index].end_max.is_some();
            let position = opened.position(index).unwrap_or(first);
            let slot = self.new_slot();
            if let Some(listener) = &self.context.listener {
                listener.on_update_start(&definition.name, &changelog, position);
            }
            if !bounded {
                self.slots.insert(slot, (task, index));
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
                end: if bounded { position } else { end },
                bounded,
                records_total: 0,
                done: bounded,
            });
        }
        let open = OpenStores {
            stores: opened,
            directory,
        };
        let catching_up = Some(CatchingUp {
            ends: changelogs.iter().map(|store| store.end).collect(),
            since: now,
        });
        let copy = StandbyCopy {
            open,
            catching_up,
            is_measured: changelogs.iter().all(|store| !store.bounded),
            is_warm: false,
            is_warm_up: !self.placed.contains(&task),
            changelogs,
        };
        let warm_up = copy.is_warm_up;
        tracing::info!(%task, lag = copy.lag(), warm_up, "standby copy is kept up to date from now on");
        self.copies.insert(task, copy);
        self.look_at_committed_soon();
        self.add_inputs(&inputs)?;
        Ok(true)
    }
}
