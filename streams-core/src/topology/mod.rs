//! The topology as data: nodes, stores, topics and the sub-topologies they form. Nothing here processes a record; tasks are
//! made from it.

pub(crate) mod build;
mod describe;
mod diagram;
mod internal_names;
mod java_order;
mod merge_sources;
pub(crate) mod node;
pub(crate) mod optimize;
mod rewrite;
pub(crate) mod store;
pub(crate) mod sub_topology;
pub(crate) mod topic;
mod validate;

pub use topic::OffsetReset;

pub(crate) use node::{NodeDefinition, NodeId, NodeKind, RecordEffect, Scope};
pub(crate) use store::{Cleanup, GlobalStoreDefinition, StoreDefinition};
pub(crate) use sub_topology::SubTopology;
pub(crate) use topic::TopicName;

use crate::StreamsConfig;
use crate::config::DslStore;
use std::fmt;
use std::sync::Arc;
use streams_state::StoreBackend;

/// A finished topology: what [`StreamsBuilder::build`](crate::StreamsBuilder::build) returns, ready for
/// [`KafkaStreams`](crate::KafkaStreams) or the test driver. Cheap to clone.
///
/// Printing it gives Kafka Streams' description (`Topology#describe`).
///
/// ```
/// use streams_core::serdes::Utf8;
/// use streams_core::{Consumed, Produced, StreamsBuilder};
///
/// let builder = StreamsBuilder::new();
/// builder
///     .stream("in", Consumed::with(Utf8, Utf8))
///     .to("out", Produced::with(Utf8, Utf8));
/// let topology = builder.build()?;
/// assert_eq!(
///     topology.to_string(),
///     "Topologies:\n   Sub-topology: 0\n    \
///      Source: KSTREAM-SOURCE-0000000000 (topics: [in])\n      --> KSTREAM-SINK-0000000001\n    \
///      Sink: KSTREAM-SINK-0000000001 (topic: out)\n      <-- KSTREAM-SOURCE-0000000000\n\n"
/// );
/// # Ok::<(), streams_core::Error>(())
/// ```
#[derive(Clone)]
pub struct Topology {
    inner: Arc<TopologyParts>,
}

/// Everything a topology consists of.
#[derive(Clone)]
pub(crate) struct TopologyParts {
    pub(crate) nodes: Vec<NodeDefinition>,
    pub(crate) stores: Vec<Arc<StoreDefinition>>,
    pub(crate) sub_topologies: Vec<SubTopology>,
    pub(crate) global_stores: Vec<GlobalStoreDefinition>,
}

impl TopologyParts {
    /// The node itself, or the one before it if nobody sees it.
    pub(crate) fn visible(&self, mut node: NodeId) -> NodeId {
        while self.nodes[node].hidden {
            node = self.nodes[node].parents[0];
        }
        node
    }
}

impl Topology {
    pub(crate) fn new(parts: TopologyParts) -> Self {
        Topology {
            inner: Arc::new(parts),
        }
    }

    /// The same topology with its stores where a configuration has them, but for those that were given a place.
    pub(crate) fn configured(self, config: &StreamsConfig) -> Topology {
        match config.default_dsl_store() {
            DslStore::InMemory => self.placed(&StoreBackend::Memory),
            DslStore::RocksDb => self,
        }
    }

    /// The same topology with its stores in this place, but for those that were given one.
    fn placed(self, backend: &StoreBackend) -> Topology {
        let place = |store: &mut Arc<StoreDefinition>| {
            if store.is_anywhere {
                *store = Arc::new(store.placed(backend));
            }
        };
        let mut parts = Arc::unwrap_or_clone(self.inner);
        parts.stores.iter_mut().for_each(place);
        for sub_topology in &mut parts.sub_topologies {
            sub_topology.stores.iter_mut().for_each(place);
        }
        for global in &mut parts.global_stores {
            place(&mut global.store);
        }
        Topology::new(parts)
    }

    pub(crate) fn parts(&self) -> &TopologyParts {
        &self.inner
    }

    pub(crate) fn sub_topologies(&self) -> &[SubTopology] {
        &self.inner.sub_topologies
    }

    /// The name of the first node of a sub-topology that writes to a topic: a sink of that topic, the user of a store whose
    /// changelog it is, or else a sink that chooses its topic for each record.
    pub(crate) fn writer_of(
        &self,
        sub_topology: u32,
        topic: &str,
        application_id: &str,
    ) -> Option<&str> {
        let parts = self.parts();
        let sub_topology = parts.sub_topologies.iter().find(|s| s.id == sub_topology)?;
        let writes = |id: &&NodeId| match &parts.nodes[**id].kind {
            NodeKind::Sink {
                topic: Some(name), ..
            } => *name.full_name(application_id) == *topic,
            _ => parts.nodes[**id].stores.iter().any(|store| {
                let name = &parts.stores[*store].name;
                topic.strip_prefix(application_id) == Some(&format!("-{name}-changelog"))
            }),
        };
        let chooses =
            |id: &&NodeId| matches!(parts.nodes[**id].kind, NodeKind::Sink { topic: None, .. });
        let nodes = || sub_topology.nodes.iter();
        let found = nodes().find(writes).or_else(|| nodes().find(chooses))?;
        Some(&parts.nodes[*found].name)
    }

    pub(crate) fn global_stores(&self) -> &[GlobalStoreDefinition] {
        &self.inner.global_stores
    }

    /// Kafka Streams' text form of the topology (`TopologyDescription#toString`), which viewers read.
    pub fn describe(&self) -> String {
        describe::describe(&self.inner)
    }

    /// The topology as a Mermaid flowchart, which GitHub and many editors draw: sub-topologies with their nodes and stores, and
    /// the topics between them.
    ///
    /// ```
    /// use streams_core::{Consumed, Produced, StreamsBuilder};
    ///
    /// let builder = StreamsBuilder::new();
    /// builder.stream::<String, String>("in", Consumed::new()).to("out", Produced::new());
    /// assert_eq!(
    ///     builder.build()?.describe_mermaid(),
    ///     r#"flowchart TD
    ///     t0[/"in"/]
    ///     t1[/"out"/]
    ///     subgraph c0["Sub-topology 0"]
    ///         n0["KSTREAM-SOURCE-0000000000"]
    ///         n1["KSTREAM-SINK-0000000001"]
    ///     end
    ///     t0 --> n0
    ///     n1 --> t1
    ///     n0 --> n1
    /// "#
    /// );
    /// # Ok::<(), streams_core::Error>(())
    /// ```
    pub fn describe_mermaid(&self) -> String {
        diagram::mermaid(&self.inner)
    }

    /// The topology as a graph for Graphviz (`dot -Tsvg`), with what [`Topology::describe_mermaid`] shows.
    ///
    /// ```
    /// use streams_core::{Consumed, Produced, StreamsBuilder};
    ///
    /// let builder = StreamsBuilder::new();
    /// builder.stream::<String, String>("in", Consumed::new()).to("out", Produced::new());
    /// let graph = builder.build()?.describe_dot();
    /// assert!(graph.starts_with("digraph topology {"));
    /// assert!(graph.contains("t0 -> n0;"));
    /// # Ok::<(), streams_core::Error>(())
    /// ```
    pub fn describe_dot(&self) -> String {
        diagram::dot(&self.inner)
    }
}

impl fmt::Display for Topology {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.describe())
    }
}

impl fmt::Debug for Topology {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.describe())
    }
}
