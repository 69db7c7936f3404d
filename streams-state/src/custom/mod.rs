//! Stores of the user's own making, under uncommitted writes that are kept here.
//!
//! Such a store knows reads and writes but nothing of commits. So what is uncommitted waits in front of it, and is
//! written to it when the task commits.

mod key_value;
mod window;

pub(crate) use self::key_value::CustomKeyValueTable;
pub(crate) use self::window::CustomWindowStore;
