//! Joins of two tables on their keys.

use super::options::{History, Materialized, ValueSerde};
use super::same_key::SameKey;
use super::table::{Deletable, GetterFactory, KTable, RowState, StoresWanted};
use super::table_node;
use super::table_store::{ResultStore, result_children};
use crate::operators::table_table_join::{JoinGetter, JoinMerge, JoinSide, Joiner, Needs};
use std::panic::Location;
use std::rc::Rc;
use std::sync::Arc;

impl<K: 'static, V: 'static, T: RowState> KTable<K, V, T> {
    /// The rows both tables have, joined. A change of either side changes the result.
    ///
    /// Both tables must have the same number of partitions.
    ///
    /// ```
    /// # use streams_core::{Consumed, Materialized, Produced, StreamsBuilder, TopologyTestDriver};
    /// # use streams_core::serdes::{Nullable, Utf8};
    /// let builder = StreamsBuilder::new();
    /// let names = builder.table::<String, String>("names", Consumed::new(), Materialized::new());
    /// let towns = builder.table::<String, String>("towns", Consumed::new(), Materialized::new());
    /// names
    ///     .join(&towns, |name, town| format!("{name}, {town}"))
    ///     .to_stream()
    ///     .to("addresses", Produced::new());
    /// # let mut driver = TopologyTestDriver::new(&builder.build()?)?;
    /// # let (names, towns) = (driver.input("names", Utf8, Utf8), driver.input("towns", Utf8, Utf8));
    /// # let output = driver.output("addresses", Utf8, Nullable(Utf8));
    /// driver.pipe(&names, "1", "Ann")?;
    /// driver.pipe(&towns, "1", "Mosbach")?;
    /// assert_eq!(driver.read_values(&output)?, [Some("Ann, Mosbach".to_owned())]);
    /// # Ok::<(), streams_core::Error>(())
    /// ```
    #[track_caller]
    pub fn join<K2: SameKey<K>, V2: 'static, VOut: 'static, T2: RowState>(
        &self,
        other: &KTable<K2, V2, T2>,
        joiner: impl Fn(&V, &V2) -> VOut + Send + Sync + 'static,
    ) -> KTable<K, VOut, Deletable> {
        self.joined(
            K2::table(other),
            inner(joiner),
            INNER,
            None,
            Location::caller(),
        )
    }

    /// As [`KTable::join`], with the result in a store of its own.
    #[track_caller]
    pub fn join_with<K2: SameKey<K>, V2: 'static, VOut: 'static, T2: RowState, H: History>(
        &self,
        other: &KTable<K2, V2, T2>,
        joiner: impl Fn(&V, &V2) -> VOut + Send + Sync + 'static,
        materialized: Materialized<impl ValueSerde<VOut>, H>,
    ) -> KTable<K, VOut, H::Rows<Deletable>> {
        let location = Location::caller();
        let store = self.result_store(materialized, "KTABLE-MERGE-STATE-STORE-", location);
        self.joined(
            K2::table(other),
            inner(joiner),
            INNER,
            Some(store),
            location,
        )
    }

    /// Every row of this table, joined with the other's or with `None`.
    ///
    /// ```
    /// # use streams_core::{Consumed, Materialized, Produced, StreamsBuilder, TopologyTestDriver};
    /// # use streams_core::serdes::{Nullable, Utf8};
    /// let builder = StreamsBuilder::new();
    /// let names = builder.table::<String, String>("names", Consumed::new(), Materialized::new());
    /// let towns = builder.table::<String, String>("towns", Consumed::new(), Materialized::new());
    /// names
    ///     .left_join(&towns, |name, town| format!("{name}, {}", town.map_or("?", String::as_str)))
    ///     .to_stream()
    ///     .to("addresses", Produced::new());
    /// # let mut driver = TopologyTestDriver::new(&builder.build()?)?;
    /// # let names = driver.input("names", Utf8, Utf8);
    /// # let output = driver.output("addresses", Utf8, Nullable(Utf8));
    /// driver.pipe(&names, "1", "Ann")?;
    /// assert_eq!(driver.read_values(&output)?, [Some("Ann, ?".to_owned())]);
    /// # Ok::<(), streams_core::Error>(())
    /// ```
    #[track_caller]
    pub fn left_join<K2: SameKey<K>, V2: 'static, VOut: 'static, T2: RowState>(
        &self,
        other: &KTable<K2, V2, T2>,
        joiner: impl Fn(&V, Option<&V2>) -> VOut + Send + Sync + 'static,
    ) -> KTable<K, VOut, Deletable> {
        self.joined(
            K2::table(other),
            left(joiner),
            LEFT,
            None,
            Location::caller(),
        )
    }

    /// As [`KTable::left_join`], with the result in a store of its own.
    #[track_caller]
    pub fn left_join_with<K2: SameKey<K>, V2: 'static, VOut: 'static, T2: RowState, H: History>(
        &self,
        other: &KTable<K2, V2, T2>,
        joiner: impl Fn(&V, Option<&V2>) -> VOut + Send + Sync + 'static,
        materialized: Materialized<impl ValueSerde<VOut>, H>,
    ) -> KTable<K, VOut, H::Rows<Deletable>> {
        let location = Location::caller();
        let store = self.result_store(materialized, "KTABLE-MERGE-STATE-STORE-", location);
        self.joined(K2::table(other), left(joiner), LEFT, Some(store), location)
    }

    /// Every row of either table, joined with the other's or with `None`; the joiner never gets `None` twice.
    ///
    /// ```
    /// # use streams_core::{Consumed, Materialized, Produced, StreamsBuilder, TopologyTestDriver};
    /// # use streams_core::serdes::{I64, Nullable, Utf8};
    /// let builder = StreamsBuilder::new();
    /// let web = builder.table::<String, i64>("web-sales", Consumed::new(), Materialized::new());
    /// let shop = builder.table::<String, i64>("shop-sales", Consumed::new(), Materialized::new());
    /// web.outer_join(&shop, |web, shop| web.unwrap_or(&0) + shop.unwrap_or(&0))
    ///     .to_stream()
    ///     .to("sales", Produced::new());
    /// # let mut driver = TopologyTestDriver::new(&builder.build()?)?;
    /// # let (web, shop) = (driver.input("web-sales", Utf8, I64), driver.input("shop-sales", Utf8, I64));
    /// # let output = driver.output("sales", Utf8, Nullable(I64));
    /// driver.pipe(&shop, "pens", &2)?;
    /// driver.pipe(&web, "pens", &3)?;
    /// assert_eq!(driver.read_values(&output)?, [Some(2), Some(5)]);
    /// # Ok::<(), streams_core::Error>(())
    /// ```
    #[track_caller]
    pub fn outer_join<K2: SameKey<K>, V2: 'static, VOut: 'static, T2: RowState>(
        &self,
        other: &KTable<K2, V2, T2>,
        joiner: impl Fn(Option<&V>, Option<&V2>) -> VOut + Send + Sync + 'static,
    ) -> KTable<K, VOut, Deletable> {
        self.joined(
            K2::table(other),
            Arc::new(joiner),
            OUTER,
            None,
            Location::caller(),
        )
    }

    /// As [`KTable::outer_join`], with the result in a store of its own.
    #[track_caller]
    pub fn outer_join_with<K2: SameKey<K>, V2: 'static, VOut: 'static, T2: RowState, H: History>(
        &self,
        other: &KTable<K2, V2, T2>,
        joiner: impl Fn(Option<&V>, Option<&V2>) -> VOut + Send + Sync + 'static,
        materialized: Materialized<impl ValueSerde<VOut>, H>,
    ) -> KTable<K, VOut, H::Rows<Deletable>> {
        let location = Location::caller();
        let store = self.result_store(materialized, "KTABLE-MERGE-STATE-STORE-", location);
        self.joined(
            K2::table(other),
            Arc::new(joiner),
            OUTER,
            Some(store),
            location,
        )
    }

    fn joined<V2: 'static, VOut: 'static, T2: RowState, R: RowState>(
        &self,
        other: &KTable<K, V2, T2>,
        joiner: Joiner<V, V2, VOut>,
        needs: Needs,
        store: Option<ResultStore<VOut>>,
        location: &'static Location<'static>,
    ) -> KTable<K, VOut, R> {
        let (this_parts, other_parts) = (&self.parts, &other.parts);
        let mut graph = this_parts.graph.borrow_mut();
        // What a side without a row would have deleted is known only with the old value.
        if !needs.other {
            (this_parts.old_values)(&mut graph, true);
        }
        if !needs.this {
            (other_parts.old_values)(&mut graph, true);
        }
        let generated = (
            graph.new_name("KTABLE-MERGE-"),
            graph.new_name("KTABLE-JOINTHIS-"),
            graph.new_name("KTABLE-JOINOTHER-"),
        );
        let (merge_name, this_name, other_name) = match self.given_name() {
            None => generated,
            Some(name) => {
                graph.check_name(name);
                (
                    name.to_owned(),
                    format!("{name}-join-this"),
                    format!("{name}-join-other"),
                )
            }
        };
        let mirrored = Needs {
            this: needs.other,
            other: needs.this,
        };
        let turned: Joiner<V2, V, VOut> = {
            let joiner = joiner.clone();
            Arc::new(move |other, this| joiner(this, other))
        };
        let this_only_latest = graph.is_versioned(this_parts.node);
        let other_only_latest = graph.is_versioned(other_parts.node);
        let (getter, join) = (other_parts.getter.clone(), joiner.clone());
        let this_side = graph.add_processor(
            this_name,
            vec![this_parts.node],
            table_node::<K, V>(move |scope, id| {
                Ok(Box::new(JoinSide {
                    other: getter(scope),
                    joiner: join.clone(),
                    needs,
                    only_latest: this_only_latest,
                    sends_old_values: scope.node(id).sends_old_values,
                    children: scope.table_children(id)?,
                }))
            }),
            location,
        );
        let getter = this_parts.getter.clone();
        let other_side = graph.add_processor(
            other_name,
            vec![other_parts.node],
            table_node::<K, V2>(move |scope, id| {
                Ok(Box::new(JoinSide {
                    other: getter(scope),
                    joiner: turned.clone(),
                    needs: mirrored,
                    only_latest: other_only_latest,
                    sends_old_values: scope.node(id).sends_old_values,
                    children: scope.table_children(id)?,
                }))
            }),
            location,
        );
        let this_stores = (this_parts.stores)(&mut graph);
        let other_stores = (other_parts.stores)(&mut graph);
        for store in &this_stores {
            graph.connect(other_side, *store);
        }
        for store in &other_stores {
            graph.connect(this_side, *store);
        }
        let store = store.map(|store| ResultStore {
            old_values_arrive: true,
            ..store
        });
        let made = store.clone();
        let merge = graph.add_processor(
            merge_name,
            vec![this_side, other_side],
            table_node::<K, VOut>(move |scope, id| {
                let children = result_children(scope, id, &made, false)?;
                Ok(Box::new(JoinMerge {
                    sends_old_values: scope.node(id).sends_old_values,
                    children,
                }))
            }),
            location,
        );
        graph.copartition(&[this_parts.node, other_parts.node]);
        let (this_getter, other_getter) = (this_parts.getter.clone(), other_parts.getter.clone());
        let computed: GetterFactory<K, VOut> = Arc::new(move |scope| {
            Box::new(JoinGetter {
                this: this_getter(scope),
                other: other_getter(scope),
                joiner: joiner.clone(),
                needs,
            })
        });
        let value = store.as_ref().map(|store| store.value.clone());
        let materialized = store.is_some();
        let mut result: KTable<K, VOut, R> = self.result(&mut graph, merge, store, value, computed);
        if !materialized {
            // Even the join of two versioned tables is none (KIP-914).
            graph.set_versioned(merge, false);
            let stores: StoresWanted = Rc::new(move |_| {
                let mut stores = this_stores.clone();
                stores.extend(&other_stores);
                stores
            });
            result.parts.stores = stores;
        }
        let (this_old, other_old) = (
            this_parts.old_values.clone(),
            other_parts.old_values.clone(),
        );
        result.parts.old_values = Rc::new(move |graph, _| {
            this_old(graph, true);
            other_old(graph, true);
            for node in [this_side, other_side, merge] {
                graph.send_old_values(node);
            }
            true
        });
        result
    }
}

const INNER: Needs = Needs {
    this: true,
    other: true,
};
const LEFT: Needs = Needs {
    this: true,
    other: false,
};
const OUTER: Needs = Needs {
    this: false,
    other: false,
};

const BOTH_THERE: &str = "an inner join has both rows";

fn inner<V: 'static, V2: 'static, VOut: 'static>(
    joiner: impl Fn(&V, &V2) -> VOut + Send + Sync + 'static,
) -> Joiner<V, V2, VOut> {
    Arc::new(move |this, other| joiner(this.expect(BOTH_THERE), other.expect(BOTH_THERE)))
}

fn left<V: 'static, V2: 'static, VOut: 'static>(
    joiner: impl Fn(&V, Option<&V2>) -> VOut + Send + Sync + 'static,
) -> Joiner<V, V2, VOut> {
    Arc::new(move |this, other| joiner(this.expect("a left join has the left row"), other))
}
