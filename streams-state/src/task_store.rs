//! `TaskStore`: what a store is to the task it belongs to, beyond its reads and writes.

use crate::table::RowSink;
use crate::{Change, KeyValueStore, Result, SessionStore, VersionedKeyValueStore, WindowStore};

/// How a store takes part in the commits of its task.
pub(crate) trait Transactional: Send {
    /// Hands every uncommitted write to `sink`, and forgets none of them yet.
    fn stage(&self, sink: &mut dyn RowSink);

    /// What was staged is written: it is committed now.
    fn committed(&mut self) -> Result<()>;

    /// Whether what is uncommitted may be committed by staying in memory, for a later [`stage`](Self::stage) to hand out.
    fn may_wait(&self) -> bool {
        false
    }

    /// Everything uncommitted is committed, and waits in memory.
    fn committed_in_memory(&mut self) {}

    /// About how many bytes [`stage`](Self::stage) hands out, if each key comes once and in order.
    fn sorted_bytes(&self) -> Option<usize> {
        None
    }

    /// Where among the rows, and behind all of them, the position may be written with them.
    #[cfg(feature = "rocksdb")]
    fn position_row(&self) -> Option<&'static [u8]> {
        None
    }

    /// Applies changelog records in memory, where they wait as if they were committed; false when they may not.
    fn restore_in_memory(&mut self, _changes: &[Change<'_>]) -> Result<bool> {
        Ok(false)
    }

    /// Forgets every uncommitted write.
    fn rollback(&mut self);

    /// Forgets what closing and opening it again forgets: uncommitted writes, and the time it has observed.
    fn reopen(&mut self) {
        self.rollback();
    }

    /// Roughly how much memory the uncommitted writes take, in bytes.
    fn uncommitted_bytes(&self) -> usize;

    /// Applies changelog records below the uncommitted writes.
    fn restore(&mut self, changes: &[Change<'_>], sink: &mut dyn RowSink) -> Result<()>;
}

/// A key-value store of a task.
pub(crate) trait TaskKeyValueStore: KeyValueStore + Transactional {}

impl<S: KeyValueStore + Transactional> TaskKeyValueStore for S {}

/// A window store of a task.
pub(crate) trait TaskWindowStore: WindowStore + Transactional {}

impl<S: WindowStore + Transactional> TaskWindowStore for S {}

/// A session store of a task.
pub(crate) trait TaskSessionStore: SessionStore + Transactional {}

impl<S: SessionStore + Transactional> TaskSessionStore for S {}

/// A versioned store of a task.
pub(crate) trait TaskVersionedStore: VersionedKeyValueStore + Transactional {}

impl<S: VersionedKeyValueStore + Transactional> TaskVersionedStore for S {}

/// One store of a task, of any kind.
pub(crate) enum TaskStore {
    KeyValue(Box<dyn TaskKeyValueStore>),
    Window(Box<dyn TaskWindowStore>),
    Session(Box<dyn TaskSessionStore>),
    Versioned(Box<dyn TaskVersionedStore>),
}

impl TaskStore {
    pub fn transactional(&self) -> &dyn Transactional {
        match self {
            Self::KeyValue(store) => store.as_ref(),
            Self::Window(store) => store.as_ref(),
            Self::Session(store) => store.as_ref(),
            Self::Versioned(store) => store.as_ref(),
        }
    }

    pub fn transactional_mut(&mut self) -> &mut dyn Transactional {
        match self {
            Self::KeyValue(store) => store.as_mut(),
            Self::Window(store) => store.as_mut(),
            Self::Session(store) => store.as_mut(),
            Self::Versioned(store) => store.as_mut(),
        }
    }

    /// What kind of store it is, for messages.
    #[cold]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::KeyValue(_) => "key-value",
            Self::Window(_) => "window",
            Self::Session(_) => "session",
            Self::Versioned(_) => "versioned",
        }
    }
}
