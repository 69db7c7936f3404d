//! `RowBudget`: how much memory one table may take for rows.

/// A table's part of the memory that the tables of a process share.
pub(crate) trait RowBudget: Send {
    /// How much it may hold, in bytes.
    fn share(&self) -> usize;

    /// Takes note of how much it holds, in bytes.
    fn note(&self, bytes: usize);
}

/// The part of a table that shares with none.
#[cfg(any(test, feature = "simulation"))]
pub(crate) struct FixedBudget(pub usize);

#[cfg(any(test, feature = "simulation"))]
impl RowBudget for FixedBudget {
    fn share(&self) -> usize {
        self.0
    }

    fn note(&self, _bytes: usize) {}
}
