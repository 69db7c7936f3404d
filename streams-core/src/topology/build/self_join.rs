//! `topology.optimization` = `single.store.self.join`: a stream that is joined with itself needs one store instead of two.
//!
//! Kafka's `InternalStreamsBuilder#rewriteSingleStoreSelfJoin`, which does so for joins of all kinds.

use super::Graph;
use crate::topology::NodeId;
use crate::topology::node::{NodeKind, OperatorFactory};
use std::collections::BTreeSet;

/// A stream-stream join whose sides have values of one type: a join of a stream with itself if both come from one node.
pub(crate) struct SelfJoin {
    pub(crate) this_windowed: NodeId,
    pub(crate) other_windowed: NodeId,
    pub(crate) this_join: NodeId,
    pub(crate) other_join: NodeId,
    pub(crate) merge: NodeId,
    pub(crate) this_store: usize,
    pub(crate) other_store: usize,
    pub(crate) outer_store: Option<usize>,
    /// Makes the operator that needs one store only, in the place of the merge node.
    pub(crate) factory: OperatorFactory,
}

impl Graph {
    /// Leaves one window node and one store of each join of a stream with itself.
    pub(super) fn rewrite_self_joins(&mut self) {
        let mut removed = BTreeSet::new();
        for join in std::mem::take(&mut self.self_joins) {
            if self.nodes[join.this_windowed].parents != self.nodes[join.other_windowed].parents {
                continue;
            }
            removed.extend([join.other_windowed, join.this_join, join.other_join]);
            self.nodes[join.this_windowed].children = vec![join.merge];
            let takes_null_keys = self.nodes[join.this_join].takes_null_keys;
            let merge = &mut self.nodes[join.merge];
            merge.takes_null_keys = takes_null_keys;
            merge.parents = vec![join.this_windowed];
            merge.kind = NodeKind::Processor {
                factory: join.factory,
            };
            self.stores[join.this_store].nodes = vec![join.this_windowed, join.merge];
            for store in [Some(join.other_store), join.outer_store]
                .into_iter()
                .flatten()
            {
                self.stores[store].nodes.clear();
                self.stores[store].wanted.set(false);
            }
        }
        self.remove_nodes(&removed);
    }

    /// Takes nodes out; those behind keep their order and move up.
    fn remove_nodes(&mut self, removed: &BTreeSet<NodeId>) {
        if removed.is_empty() {
            return;
        }
        let moved = |id: NodeId| id - removed.range(..id).count();
        let move_all = |ids: &mut Vec<NodeId>| {
            ids.retain(|id| !removed.contains(id));
            ids.iter_mut().for_each(|id| *id = moved(*id));
        };
        let mut id = 0;
        self.nodes.retain(|_| {
            id += 1;
            !removed.contains(&(id - 1))
        });
        for node in &mut self.nodes {
            move_all(&mut node.parents);
            move_all(&mut node.children);
        }
        self.stores
            .iter_mut()
            .for_each(|store| move_all(&mut store.nodes));
        self.copartitioned.iter_mut().for_each(move_all);
        for global in &mut self.global_stores {
            global.node = moved(global.node);
        }
    }
}

#[cfg(all(test, feature = "test-driver"))]
mod tests {
    use crate::serdes::Utf8;
    use crate::{Consumed, JoinWindows, Produced, StreamsBuilder, TopologyTestDriver};
    use std::time::Duration;

    /// The description and results are those of Kafka Streams 4.3.1.
    #[test]
    fn one_store_answers_as_two_do() {
        let results = |single_store: bool| {
            let builder = StreamsBuilder::new();
            let stream = builder.stream::<String, String>("in", Consumed::new());
            let ten = Duration::from_millis(10);
            let windows = JoinWindows::of_time_difference_and_grace(ten, ten / 2);
            stream
                .join_stream(&stream, |a, b| format!("{a}{b}"), windows)
                .to("out", Produced::new());
            builder.graph.borrow_mut().single_store_self_join = single_store;
            let topology = builder.build().expect("a topology");
            let mut driver = TopologyTestDriver::new(&topology).expect("a driver");
            let input = driver.input("in", Utf8, Utf8);
            for (value, timestamp) in [("1", 10), ("2", 12), ("0", 5), ("9", 100_000), ("old", 50)]
            {
                driver
                    .pipe_at(&input, "a", value, timestamp)
                    .expect("a record");
            }
            let output = driver.output("out", Utf8, Utf8);
            let values = driver.read_values(&output).expect("results");
            (topology.describe(), values)
        };
        let (described, values) = results(true);
        assert_eq!(
            described,
            "Topologies:
   Sub-topology: 0
    Source: KSTREAM-SOURCE-0000000000 (topics: [in])
      --> KSTREAM-WINDOWED-0000000001
    Processor: KSTREAM-WINDOWED-0000000001 (stores: [KSTREAM-JOINTHIS-0000000003-store])
      --> KSTREAM-MERGE-0000000005
      <-- KSTREAM-SOURCE-0000000000
    Processor: KSTREAM-MERGE-0000000005 (stores: [KSTREAM-JOINTHIS-0000000003-store])
      --> KSTREAM-SINK-0000000006
      <-- KSTREAM-WINDOWED-0000000001
    Sink: KSTREAM-SINK-0000000006 (topic: out)
      <-- KSTREAM-MERGE-0000000005

"
        );
        let expected = ["11", "21", "12", "22", "01", "02", "00", "10", "20", "99"];
        assert_eq!(values, expected);
        assert_eq!(results(false).1, expected);
    }
}
