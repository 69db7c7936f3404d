//! `split`: one stream into several by predicates.

use super::partitioning::Partitioning;
use super::stream::KStream;
use super::{GraphRef, stream_node};
use crate::operators::branch::{Branch, Predicate};
use crate::operators::merge::Merge;
use crate::serdes::BoxSerde;
use crate::topology::{NodeId, RecordEffect};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::panic::Location;
use std::sync::{Arc, Mutex, PoisonError};

/// A stream being split: made by [`KStream::split`].
pub struct BranchedKStream<K, V, P> {
    graph: GraphRef,
    node: NodeId,
    name: String,
    key: Option<BoxSerde<K>>,
    value: Option<BoxSerde<V>>,
    /// Read by the node's factory when tasks are made, long after the last branch was added.
    predicates: Arc<Mutex<Vec<Predicate<K, V>>>>,
    branches: RefCell<BTreeMap<String, KStream<K, V, P>>>,
}

/// The branches of a split stream, by name.
pub struct Branches<K, V, P> {
    branches: BTreeMap<String, KStream<K, V, P>>,
    prefix: String,
}

impl<K, V, P> Branches<K, V, P> {
    /// The branch of that name, with or without the prefix of the split.
    ///
    /// # Panics
    /// When there is no branch of that name: the names are those given to [`BranchedKStream::branch`].
    #[track_caller]
    pub fn get(&self, name: &str) -> &KStream<K, V, P> {
        let full = format!("{}{name}", self.prefix);
        match self.branches.get(&full).or_else(|| self.branches.get(name)) {
            Some(branch) => branch,
            None => panic!(
                "there is no branch '{name}'; there are: {}",
                self.names().collect::<Vec<_>>().join(", ")
            ),
        }
    }

    /// The full names, in alphabetical order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.branches.keys().map(String::as_str)
    }
}

impl<K: 'static, V: 'static, P: Partitioning> BranchedKStream<K, V, P> {
    pub(crate) fn new(
        stream: &KStream<K, V, P>,
        name: String,
        location: &'static Location<'static>,
    ) -> Self {
        let predicates: Arc<Mutex<Vec<Predicate<K, V>>>> = Arc::default();
        let shared = predicates.clone();
        let factory = stream_node::<K, V>(move |scope, id| {
            Ok(Box::new(Branch {
                predicates: shared
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .clone(),
                children: scope.stream_children(id)?,
            }))
        });
        let node = stream.graph.borrow_mut().add_processor(
            name.clone(),
            vec![stream.node],
            factory,
            location,
        );
        stream
            .graph
            .borrow_mut()
            .set_effect(node, RecordEffect::Passes);
        BranchedKStream {
            graph: stream.graph.clone(),
            node,
            name,
            key: stream.key.clone(),
            value: stream.value.clone(),
            predicates,
            branches: RefCell::default(),
        }
    }

    /// Records for which the predicate holds, and no earlier branch's did, go into the branch of that name.
    #[track_caller]
    pub fn branch(
        self,
        name: &str,
        predicate: impl Fn(&K, &V) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.add(name, Arc::new(predicate), Location::caller());
        self
    }

    /// All other records go into this branch, and the split is complete.
    #[track_caller]
    pub fn default_branch(self, name: &str) -> Branches<K, V, P> {
        self.add(name, Arc::new(|_, _| true), Location::caller());
        self.no_default_branch()
    }

    /// All other records are dropped, and the split is complete.
    pub fn no_default_branch(self) -> Branches<K, V, P> {
        Branches {
            branches: self.branches.into_inner(),
            prefix: self.name,
        }
    }

    fn add(&self, name: &str, predicate: Predicate<K, V>, location: &'static Location<'static>) {
        let mut graph = self.graph.borrow_mut();
        graph.burn_index();
        graph.check_name(name);
        let full = format!("{}{name}", self.name);
        let factory = stream_node::<K, V>(|scope, id| {
            Ok(Box::new(Merge {
                children: scope.stream_children(id)?,
            }))
        });
        let node = graph.add_processor(full.clone(), vec![self.node], factory, location);
        graph.set_effect(node, RecordEffect::Passes);
        self.predicates
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(predicate);
        self.branches.borrow_mut().insert(
            full,
            KStream::new(
                self.graph.clone(),
                node,
                self.key.clone(),
                self.value.clone(),
            ),
        );
    }
}
