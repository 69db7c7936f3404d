//! `Change`: one write, as the changelog of a store has it.

/// One write as the changelog has it. The key is in the form the changelog uses, which for a window store is that of
/// [`key_encoding`](crate::key_encoding); the value is in the form the store uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change<'a> {
    /// The key of the changelog record.
    pub key: &'a [u8],
    /// What the store shall hold for it; `None` deletes.
    pub value: Option<&'a [u8]>,
}
