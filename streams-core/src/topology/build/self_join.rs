//! `topology.optimization` = `single.store.self.join`: a stream that is joined with itself needs one store instead of two.
//!
//! Kafka's `InternalStreamsBuilder#rewriteSingleStoreSelfJoin`, which does so for joins of all kinds.

use super::PendingStore;
use crate::topology::NodeId;
use crate::topology::node::{NodeKind, OperatorFactory};
use crate::topology::rewrite::Rewrite;

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

/// Leaves one window node and one store of each join of a stream with itself.
pub(super) fn rewrite_self_joins(
    rewrite: &mut Rewrite,
    joins: Vec<SelfJoin>,
    stores: &mut [PendingStore],
) {
    for join in joins {
        let nodes = &mut rewrite.nodes;
        if nodes[join.this_windowed].parents != nodes[join.other_windowed].parents {
            continue;
        }
        nodes[join.merge].takes_null_keys = nodes[join.this_join].takes_null_keys;
        nodes[join.merge].kind = NodeKind::Processor {
            factory: join.factory,
        };
        rewrite.move_child(join.merge, join.this_join, join.this_windowed);
        rewrite.detach(join.merge, join.other_join);
        for node in [join.this_join, join.other_join, join.other_windowed] {
            rewrite.remove(node);
        }
        stores[join.this_store].nodes = vec![join.this_windowed, join.merge];
        for store in [Some(join.other_store), join.outer_store]
            .into_iter()
            .flatten()
        {
            stores[store].nodes.clear();
            stores[store].wanted.set(false);
        }
    }
}

#[cfg(all(test, feature = "test-driver"))]
mod tests {
    use crate::serdes::Utf8;
    use crate::{
        Consumed, JoinWindows, Produced, StreamsBuilder, StreamsConfig, TopologyTestDriver,
    };
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
            let optimization = match single_store {
                true => "single.store.self.join",
                false => "none",
            };
            let config = StreamsConfig::new("app")
                .set("topology.optimization", optimization)
                .expect("a setting");
            let topology = builder.build_with(&config).expect("a topology");
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
