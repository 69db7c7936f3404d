//! Bugs that a simulation plants to see that it would find them. Only builds with the feature `simulation` can have one.

#[cfg(feature = "simulation")]
pub(crate) use crate::testing::simulation::{PlantedBug, is_planted};

#[cfg(not(feature = "simulation"))]
pub(crate) use none::{PlantedBug, is_planted};

#[cfg(not(feature = "simulation"))]
mod none {
    pub(crate) enum PlantedBug {
        CommitBeforeFlush,
        StateBeforeTransaction,
        TasksGoAnywhere,
    }

    pub(crate) const fn is_planted(_bug: PlantedBug) -> bool {
        false
    }
}
