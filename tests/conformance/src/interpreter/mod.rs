//! Calls the DSL as the steps of a topology say.
//!
//! What a step returns is an [`Operand`]; each says itself what its operations are, one file for each family of verbs.

mod aggregations;
mod cogroup;
mod foreign_key_joins;
mod grouping;
mod options;
mod processor_context;
mod processor_stores;
mod processors;
mod sessions;
mod sliding;
mod sources;
mod stateless;
mod store_sources;
mod stores;
mod stream_joins;
mod stream_stream_joins;
mod streams;
mod suppress;
mod table_joins;
mod tables;
mod topics;
mod transformers;
mod windows;

use crate::step::{Step, Wrong};
use std::any::Any;
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use streams_core::{StreamsBuilder, StreamsConfig, Topology};

/// A stream, a table, a group, or anything else that has operations.
pub trait Operand: Any {
    /// Carries out an operation; `None` if that returns nothing.
    ///
    /// # Errors
    /// When the step is wrong or not interpreted.
    fn step(&self, op: &str, step: Step<'_>, all: &Interpreter) -> Outcome;
}

/// What an operation returns.
pub type Handle = Rc<dyn Operand>;

/// What a step comes to.
pub type Outcome = Result<Option<Handle>, Wrong>;

/// The topology so far.
pub struct Interpreter {
    /// What the sources are added to.
    pub builder: StreamsBuilder,
    handles: RefCell<HashMap<String, Handle>>,
    stores: RefCell<HashMap<String, String>>,
    /// Read-only stores by the node that may read them.
    read_only_stores: RefCell<HashMap<String, String>>,
}

impl Interpreter {
    /// What an earlier step returned under a name.
    ///
    /// # Errors
    /// When there is nothing of that name.
    pub fn handle(&self, name: &str) -> Result<Handle, Wrong> {
        let handles = self.handles.borrow();
        handles
            .get(name)
            .cloned()
            .ok_or_else(|| Wrong::new(format!("nothing is named '{name}' before this step")))
    }

    /// Gives what a step returned a name.
    pub fn name(&self, name: &str, handle: Handle) {
        self.handles.borrow_mut().insert(name.to_owned(), handle);
    }

    /// Remembers the type of a store by its name, which processors ask for.
    pub fn note_store(&self, name: &str, kind: impl Into<String>) {
        self.stores
            .borrow_mut()
            .insert(name.to_owned(), kind.into());
    }

    /// Remembers who may read a read-only store.
    pub fn note_reader(&self, node: &str, store: &str) {
        self.read_only_stores
            .borrow_mut()
            .insert(node.to_owned(), store.to_owned());
    }

    /// The read-only store that a node may read.
    pub fn read_only_store(&self, node: &str) -> Option<String> {
        self.read_only_stores.borrow().get(node).cloned()
    }

    /// The type of a store as noted.
    pub fn store_kind(&self, name: &str) -> Option<String> {
        self.stores.borrow().get(name).cloned()
    }
}

/// The topology of these steps, or why the library refuses it.
///
/// # Errors
/// When a step is wrong or not interpreted.
pub fn build(
    steps: &[Step<'_>],
    config: &StreamsConfig,
) -> Result<streams_core::Result<Topology>, Wrong> {
    let all = Interpreter {
        builder: StreamsBuilder::new(),
        handles: RefCell::default(),
        stores: RefCell::default(),
        read_only_stores: RefCell::default(),
    };
    // The library wants them before the nodes that read them.
    for step in steps {
        if step.text("op") == Some("read_only_store") {
            store_sources::add_read_only(*step, &all)?;
        }
    }
    for step in steps {
        let op = step.required("op")?;
        let result = match sources::step(op, *step, &all) {
            Some(result) => result?,
            None => all.handle(step.required("of")?)?.step(op, *step, &all)?,
        };
        if let Some(name) = step.text("as") {
            let handle = result.ok_or_else(|| {
                Wrong::new(format!(
                    "this returns nothing that could be named: {}",
                    step.0
                ))
            })?;
            all.name(name, handle);
        }
    }
    Ok(all.builder.build_with(config))
}

/// An operand as what it may be.
pub fn downcast<T: Operand>(handle: &Handle) -> Option<&T> {
    let any: &dyn Any = &**handle;
    any.downcast_ref()
}

/// A new handle.
pub fn returns(operand: impl Operand) -> Outcome {
    Ok(Some(Rc::new(operand)))
}

/// An operation that this operand does not have, or not yet.
pub fn not_interpreted(op: &str, of: &str) -> Outcome {
    Err(Wrong::not_interpreted(format!("'{op}' of {of}")))
}
