//! The operators behind a node, and what happens when one of them fails.
//!
//! A failure is the failing node's own: its parents go on with what else they have to forward. That is so because it is caught
//! here, where a node is entered, as in Kafka's `ProcessorNode#process`. A sink's failure is its parent's (`SinkNode` catches
//! nothing).

use super::{Change, StreamOperator, TableOperator};
use crate::error::{Error, Result};
use crate::exception_handlers::FailedRecord;
use crate::record::Record;
use crate::task::context::Context;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// Runs code that may panic; a panic is an error like any other.
///
/// What the code changed is the caller's to be careful about. As long as nothing panics it costs one or two calls.
#[inline]
pub(crate) fn catch<T>(code: impl FnOnce() -> Result<T>) -> Result<T> {
    match catch_unwind(AssertUnwindSafe(code)) {
        Ok(done) => done,
        Err(panic) => Err(Error::of_panic(&*panic)),
    }
}

/// The operators behind a stream node.
pub(crate) struct StreamChildren<K, V>(Vec<StreamChild<K, V>>);

struct StreamChild<K, V> {
    name: Arc<str>,
    operator: Box<dyn StreamOperator<K, V>>,
    /// How a handler gets to see a record.
    show: fn(Record<'_, K, V>) -> FailedRecord<'_>,
    is_sink: bool,
}

impl<K, V> Default for StreamChildren<K, V> {
    fn default() -> Self {
        StreamChildren(Vec::new())
    }
}

impl<K: 'static, V: 'static> StreamChildren<K, V> {
    pub(crate) fn add(
        &mut self,
        name: Arc<str>,
        operator: Box<dyn StreamOperator<K, V>>,
        is_sink: bool,
    ) {
        self.0.push(StreamChild {
            name,
            operator,
            show: |record| FailedRecord::of(record),
            is_sink,
        });
    }
}

impl<K, V> StreamChildren<K, V> {
    #[inline]
    pub(crate) fn forward(
        &mut self,
        record: Record<'_, K, V>,
        context: &mut Context,
    ) -> Result<()> {
        for child in &mut self.0 {
            child.process(record, context)?;
        }
        Ok(())
    }

    /// To the child of that name alone.
    pub(crate) fn forward_to(
        &mut self,
        name: &str,
        record: Record<'_, K, V>,
        context: &mut Context,
    ) -> Result<()> {
        match self.0.iter_mut().find(|child| &*child.name == name) {
            Some(child) => child.process(record, context),
            None => Err(unknown_child(name)),
        }
    }

    /// To the child at that position alone.
    #[inline]
    pub(crate) fn forward_to_index(
        &mut self,
        index: usize,
        record: Record<'_, K, V>,
        context: &mut Context,
    ) -> Result<()> {
        self.0[index].process(record, context)
    }
}

impl<K, V> StreamChild<K, V> {
    #[inline]
    fn process(&mut self, record: Record<'_, K, V>, context: &mut Context) -> Result<()> {
        match catch(|| self.operator.process(record, context)) {
            Ok(()) => Ok(()),
            Err(error) => self.failed(error, record, context),
        }
    }

    #[cold]
    #[inline(never)]
    fn failed(&self, error: Error, record: Record<'_, K, V>, context: &mut Context) -> Result<()> {
        match self.is_sink {
            true => Err(error.at_node(&self.name)),
            false => context.processing_failed(error, &self.name, Some((self.show)(record))),
        }
    }
}

#[cold]
fn unknown_child(name: &str) -> Error {
    Error::topology(format!(
        "there is no child node '{name}': `forward_to` takes the name given to the operator behind this one with `Named`"
    ))
}

/// The operators behind a table node.
pub(crate) struct TableChildren<K, V>(Vec<TableChild<K, V>>);

struct TableChild<K, V> {
    name: Arc<str>,
    operator: Box<dyn TableOperator<K, V>>,
    show: fn(Record<'_, K, Option<V>>) -> FailedRecord<'_>,
}

impl<K, V> Default for TableChildren<K, V> {
    fn default() -> Self {
        TableChildren(Vec::new())
    }
}

impl<K: 'static, V: 'static> TableChildren<K, V> {
    pub(crate) fn add(&mut self, name: Arc<str>, operator: Box<dyn TableOperator<K, V>>) {
        self.0.push(TableChild {
            name,
            operator,
            show: |record| FailedRecord::of(record),
        });
    }
}

impl<K, V> TableChildren<K, V> {
    #[inline]
    pub(crate) fn forward(
        &mut self,
        change: Change<'_, K, V>,
        context: &mut Context,
    ) -> Result<()> {
        for child in &mut self.0 {
            if let Err(error) = catch(|| child.operator.process(change, context)) {
                child.failed(error, change, context)?;
            }
        }
        Ok(())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<K, V> TableChild<K, V> {
    #[cold]
    #[inline(never)]
    fn failed(&self, error: Error, change: Change<'_, K, V>, context: &mut Context) -> Result<()> {
        let record = Record::new(change.key, change.new, change.timestamp, change.headers);
        context.processing_failed(error, &self.name, Some((self.show)(record)))
    }
}
