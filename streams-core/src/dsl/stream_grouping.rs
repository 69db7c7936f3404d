//! A stream grouped by key, to be aggregated.

use super::grouped_stream::{KGroupedStream, Regroup};
use super::grouping::Grouping;
use super::options::Grouped;
use super::partitioning::{Partitioning, RepartitionSerdes};
use super::stream::{KStream, select_key_node};
use crate::topology::RecordEffect;
use std::panic::Location;

impl<K: 'static, V: 'static, P: Partitioning> KStream<K, V, P> {
    /// Groups by the key there is. A stream whose keys may have changed goes through a repartition topic first, with the
    /// default serdes; see [`KStream::group_by_key_with`] for others.
    ///
    /// ```
    /// # use streams_core::{Consumed, Produced, StreamsBuilder, TopologyTestDriver};
    /// # use streams_core::serdes::{I64, Utf8};
    /// let builder = StreamsBuilder::new();
    /// builder
    ///     .stream::<String, String>("clicks", Consumed::new())
    ///     .group_by_key()
    ///     .count()
    ///     .to_stream()
    ///     .to("clicks-per-user", Produced::new());
    /// # let mut driver = TopologyTestDriver::new(&builder.build()?)?;
    /// # let (input, output) = (driver.input("clicks", Utf8, Utf8), driver.output("clicks-per-user", Utf8, I64));
    /// driver.pipe(&input, "ann", "home")?;
    /// driver.pipe(&input, "ann", "cart")?;
    /// assert_eq!(driver.read_values(&output)?, [1, 2]);
    /// # Ok::<(), streams_core::Error>(())
    /// ```
    pub fn group_by_key(&self) -> Grouping<K, V>
    where
        P: RepartitionSerdes<K, V>,
    {
        let (key, regroup) = match P::serdes() {
            None => (self.known_key(), None),
            Some((key, value)) => (key, Some(Regroup { value, name: None })),
        };
        Grouping::new(KGroupedStream::new(
            self.graph.clone(),
            self.node,
            key,
            regroup,
        ))
    }

    /// As [`KStream::group_by_key`], with serdes and a name for the repartition topic, should one be needed.
    pub fn group_by_key_with(&self, grouped: Grouped<K, V>) -> Grouping<K, V> {
        let regroup = P::REKEYED.then_some(Regroup {
            value: grouped.value,
            name: grouped.name,
        });
        Grouping::new(KGroupedStream::new(
            self.graph.clone(),
            self.node,
            grouped.key,
            regroup,
        ))
    }

    /// Groups by another key, always through a repartition topic.
    ///
    /// ```
    /// # use streams_core::{Consumed, Grouped, Produced, StreamsBuilder, TopologyTestDriver};
    /// # use streams_core::serdes::{I64, Utf8};
    /// let builder = StreamsBuilder::new();
    /// builder
    ///     .stream::<String, String>("people", Consumed::new())
    ///     .group_by(|_id, city| city.clone(), Grouped::new())
    ///     .count()
    ///     .to_stream()
    ///     .to("inhabitants", Produced::new());
    /// # let mut driver = TopologyTestDriver::new(&builder.build()?)?;
    /// # let (input, output) = (driver.input("people", Utf8, Utf8), driver.output("inhabitants", Utf8, I64));
    /// driver.pipe(&input, "1", "mosbach")?;
    /// driver.pipe(&input, "2", "mosbach")?;
    /// assert_eq!(driver.read_key_values(&output)?.last(), Some(&("mosbach".to_owned(), 2)));
    /// # Ok::<(), streams_core::Error>(())
    /// ```
    #[track_caller]
    pub fn group_by<K2: 'static>(
        &self,
        selector: impl Fn(&K, &V) -> K2 + Send + Sync + 'static,
        grouped: Grouped<K2, V>,
    ) -> Grouping<K2, V> {
        let given = self.name.as_deref().or(grouped.name.as_deref());
        let mut graph = self.graph.borrow_mut();
        let name = graph.name_or(given, "KSTREAM-KEY-SELECT-");
        let node = graph.add_processor(
            name,
            vec![self.node],
            select_key_node(selector),
            Location::caller(),
        );
        graph.set_effect(node, RecordEffect::ChangesKeys);
        Grouping::new(KGroupedStream::new(
            self.graph.clone(),
            node,
            grouped.key,
            Some(Regroup {
                value: grouped.value,
                name: grouped.name,
            }),
        ))
    }
}
