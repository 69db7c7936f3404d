//! What stores on disk hold, compared with what their changelogs say.

use super::world::World;
use crate::error::Result;
use crate::record::{OwnedRecord, TopicPartition};
use crate::runtime::broker::InputSlot;
use crate::runtime::simulated::RestoringStore;
use crate::topology::StoreDefinition;
use std::path::Path;
use streams_state::{SimulatedDisk, SimulatedStore, StoreResources, TaskStores};

impl World {
    /// Under exactly-once every store is what its changelog holds of committed records, up to its position: not a record more,
    /// and none less.
    pub(super) fn check_stores(&self, disk: &SimulatedDisk) {
        if !self.setup.exactly_once {
            return;
        }
        for directory in disk.directories() {
            for sub_topology in self.setup.topology.sub_topologies() {
                for store in &sub_topology.stores {
                    self.check_store(disk, &directory, store);
                }
            }
        }
    }

    fn check_store(&self, disk: &SimulatedDisk, directory: &Path, store: &StoreDefinition) {
        let Some((changelog, _)) = self.changelog(directory, &store.name) else {
            return;
        };
        let Some(held) = disk.store(directory, &store.spec) else {
            return;
        };
        let position = held.position.unwrap_or(0);
        let committed = self
            .cluster
            .borrow()
            .committed_records(&changelog, position);
        let count = committed.len();
        match restored(store, &changelog, position, committed) {
            Ok(expected) if expected.rows == held.rows => {}
            Ok(expected) => self.violate(format!(
                "store {} in {} has {} rows at position {position}, which are not the {} rows of the {count} committed records \
                 of {changelog} up to there",
                store.name,
                directory.display(),
                held.rows.len(),
                expected.rows.len()
            )),
            Err(error) => self.violate(format!("{changelog} cannot be restored: {error}")),
        }
    }
}

/// The store that these records of its changelog make.
fn restored(
    store: &StoreDefinition,
    changelog: &TopicPartition,
    end: i64,
    records: Vec<OwnedRecord>,
) -> Result<SimulatedStore> {
    let disk = SimulatedDisk::new(|_| Ok(()));
    let directory = Path::new("restored");
    let specs = [store.spec.clone()];
    let resources = StoreResources::simulated(&disk);
    let mut stores = TaskStores::open(Some(directory), &specs, &resources)?;
    let slot = InputSlot(0);
    let mut restoring = RestoringStore {
        index: 0,
        name: store.name.clone(),
        form: store.changelog_form(),
        changelog: changelog.clone(),
        slot,
        position: 0,
        start: 0,
        end,
        bounded: true,
        records_total: 0,
        done: false,
    };
    let run: Vec<(InputSlot, OwnedRecord)> = records.into_iter().map(|r| (slot, r)).collect();
    restoring.apply(&mut stores, &run)?;
    Ok(disk.store(directory, &store.spec).unwrap_or_default())
}
