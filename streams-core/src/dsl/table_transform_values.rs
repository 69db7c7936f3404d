//! `transform_values`: user code with stores that makes each row's value.

use super::options::{History, Materialized, ValueSerde};
use super::stream_processors::{connect_named, connect_own, connected_stores};
use super::table::{Deletable, GetterFactory, KTable, RowState, StoresWanted};
use super::table_node;
use super::table_store::{ResultStore, result_children};
use crate::error::Error;
use crate::operators::Punctuate;
use crate::operators::table_transform_values::{
    SharedTransformer, TableTransformValues, TransformValuesGetter, Transformer,
};
use crate::processor::{ValueTransformerWithKey, ValueTransformerWithKeySupplier};
use crate::topology::{NodeId, Scope};
use std::cell::RefCell;
use std::panic::Location;
use std::rc::Rc;
use std::sync::Arc;

impl<K: 'static, V: 'static, T: RowState> KTable<K, V, T> {
    /// The table with a value in each row that user code makes, which may use stores and see timestamps, headers and where a
    /// change came from.
    ///
    /// `supplier` makes a transformer for each task; `stores` names the stores it uses. Unlike
    /// [`KTable::map_values`], it is called for deletions too, with `None`, and may delete or invent rows.
    ///
    /// The result has no store: it is computed whenever somebody wants to know a value, so the transformer should always make
    /// the same of the same row. A transformer with stores usually does not, which is why a table like that cannot be
    /// joined; use [`KTable::transform_values_with`] and a named store then.
    ///
    /// ```
    /// use streams_core::processor::{ValueTransformerContext, ValueTransformerWithKey};
    /// use streams_core::serdes::{I64, Nullable, Utf8};
    /// use streams_core::stores::{KeyValueStore, StoreHandle, Stores};
    /// use streams_core::{Consumed, Materialized, Produced, Result, StreamsBuilder, TopologyTestDriver};
    ///
    /// /// How often each row has changed.
    /// struct Changes(StoreHandle<KeyValueStore<String, i64>>);
    ///
    /// impl ValueTransformerWithKey<String, String, i64> for Changes {
    ///     fn transform(
    ///         &mut self,
    ///         user: &String,
    ///         _region: Option<&String>,
    ///         context: &mut ValueTransformerContext<'_>,
    ///     ) -> Result<Option<i64>> {
    ///         let mut changes = context.store(&self.0)?;
    ///         let now = changes.get(user)?.unwrap_or(0) + 1;
    ///         changes.put(user, now)?;
    ///         Ok(Some(now))
    ///     }
    /// }
    ///
    /// let builder = StreamsBuilder::new();
    /// let changes = builder.add_state_store(Stores::key_value("changes", Utf8, I64));
    /// let name = changes.name().to_owned();
    /// builder
    ///     .table::<String, String>("user-regions", Consumed::new(), Materialized::new())
    ///     .transform_values(move || Changes(changes.clone()), &[&name])
    ///     .to_stream()
    ///     .to("changes-per-user", Produced::new());
    /// # let mut driver = TopologyTestDriver::new(&builder.build()?)?;
    /// # let input = driver.input("user-regions", Utf8, Nullable(Utf8));
    /// # let output = driver.output("changes-per-user", Utf8, Nullable(I64));
    /// driver.pipe(&input, "ann", Some("asia".to_owned()))?;
    /// driver.pipe(&input, "ann", None)?;
    /// assert_eq!(driver.read_values(&output)?, [Some(1), Some(2)]);
    /// # Ok::<(), streams_core::Error>(())
    /// ```
    #[track_caller]
    pub fn transform_values<V2: 'static>(
        &self,
        supplier: impl ValueTransformerWithKeySupplier<K, V, V2>,
        stores: &[&str],
    ) -> KTable<K, V2, T::Filtered> {
        self.transformed(supplier, stores, None, Location::caller())
    }

    /// As [`KTable::transform_values`], with the result in a store of its own if `materialized` names one: the transformer is
    /// called once for each change, and old values and rows that others look up come from the store.
    ///
    /// ```
    /// # use streams_core::processor::{ValueTransformerContext, ValueTransformerWithKey};
    /// # use streams_core::serdes::{Nullable, Utf8};
    /// # use streams_core::{Consumed, Materialized, Produced, Result, StreamsBuilder, TopologyTestDriver};
    /// /// When a row changed.
    /// struct Stamped;
    ///
    /// impl ValueTransformerWithKey<String, String, String> for Stamped {
    ///     fn transform(
    ///         &mut self,
    ///         _user: &String,
    ///         region: Option<&String>,
    ///         context: &mut ValueTransformerContext<'_>,
    ///     ) -> Result<Option<String>> {
    ///         Ok(region.map(|region| format!("{region} since {}", context.timestamp())))
    ///     }
    /// }
    ///
    /// let builder = StreamsBuilder::new();
    /// builder
    ///     .table::<String, String>("user-regions", Consumed::new(), Materialized::new())
    ///     .transform_values_with(|| Stamped, &[], Materialized::named("since"))
    ///     .to_stream()
    ///     .to("regions-since", Produced::new());
    /// # let mut driver = TopologyTestDriver::new(&builder.build()?)?;
    /// # let input = driver.input("user-regions", Utf8, Utf8);
    /// # let output = driver.output("regions-since", Utf8, Nullable(Utf8));
    /// driver.pipe_at(&input, "ann", "asia", 7)?;
    /// assert_eq!(driver.read_values(&output)?, [Some("asia since 7".to_owned())]);
    /// # Ok::<(), streams_core::Error>(())
    /// ```
    #[track_caller]
    pub fn transform_values_with<V2, H>(
        &self,
        supplier: impl ValueTransformerWithKeySupplier<K, V, V2>,
        stores: &[&str],
        materialized: Materialized<impl ValueSerde<V2>, H>,
    ) -> KTable<K, V2, H::Rows<Deletable>>
    where
        V2: 'static,
        H: History,
    {
        let location = Location::caller();
        // Unlike those of a filter, options without a name use no number up.
        let store = materialized
            .name
            .is_some()
            .then(|| self.result_store(materialized, "", location));
        let stored = store.is_some();
        self.transformed(supplier, stores, store, location)
            .computed_with_materialized(stored)
    }

    fn transformed<V2: 'static, T2: RowState>(
        &self,
        supplier: impl ValueTransformerWithKeySupplier<K, V, V2>,
        stores: &[&str],
        store: Option<ResultStore<V2>>,
        location: &'static Location<'static>,
    ) -> KTable<K, V2, T2> {
        let parts = &self.parts;
        let mut graph = parts.graph.borrow_mut();
        let name = graph.name_or(self.given_name(), "KTABLE-TRANSFORMVALUES-");
        let own = supplier.stores();
        let supplier = Arc::new(supplier);
        let (make, made) = (supplier.clone(), store.clone());
        let node = graph.add_processor(
            name,
            vec![parts.node],
            table_node::<K, V>(move |scope, id| {
                let connected = connected_stores(scope, id);
                Ok(Box::new(TableTransformValues {
                    transformer: transformer(scope, id, make.get(), connected),
                    sends_old_values: made.is_none() && scope.node(id).sends_old_values,
                    children: result_children(scope, id, &made, false)?,
                }))
            }),
            location,
        );
        let is_stored = store.is_some();
        let value = store.as_ref().map(|store| store.value.clone());
        let (parent, key) = (parts.getter.clone(), parts.key.clone());
        let computed: GetterFactory<K, V2> = Arc::new(move |scope| {
            let parent = parent(scope);
            Box::new(TransformValuesGetter {
                parent,
                key: key.clone(),
                key_bytes: Vec::new(),
                transformer: transformer(scope, node, supplier.get(), Vec::new()),
            })
        });
        let mut result: KTable<K, V2, T2> = self.result(&mut graph, node, store, value, computed);
        let has_stores = !stores.is_empty() || !own.is_empty();
        connect_own(&mut graph, node, own, location);
        connect_named(&mut graph, node, stores, location);
        if !is_stored && has_stores {
            let parent = parts.stores.clone();
            let looked_up: StoresWanted = Rc::new(move |graph| {
                let name = graph.name_of(node).clone();
                graph.fail(Error::topology(format!(
                    "a join looks up rows of '{name}' at {location}, whose transformer cannot use its stores there: keep the rows in a store of their own, with `transform_values_with` and `Materialized::named`"
                )));
                parent(graph)
            });
            result.parts.stores = looked_up;
        }
        result
    }
}

/// The user's code in a task, to be initialized and closed with it.
fn transformer<K: 'static, V: 'static, V2: 'static, Q: ValueTransformerWithKey<K, V, V2>>(
    scope: &mut Scope<'_>,
    node: NodeId,
    transformer: Q,
    stores: Vec<(String, usize)>,
) -> SharedTransformer<Q, K, V, V2> {
    let name = scope.node(node).name.clone();
    let transformer = Transformer::new(transformer, name, scope.punctuates.len(), stores);
    let transformer = Rc::new(RefCell::new(transformer));
    scope.punctuated.push(node);
    scope
        .punctuates
        .push(transformer.clone() as Rc<RefCell<dyn Punctuate>>);
    transformer
}

#[cfg(all(test, feature = "test-driver"))]
mod tests {
    use super::{Punctuate, Transformer};
    use crate::processor::{
        PunctuationType, Schedule, ValueTransformerContext, ValueTransformerWithKey,
    };
    use crate::serdes::{I64, Utf8};
    use crate::stores::{KeyValueStore, StoreHandle, Stores};
    use crate::{
        Consumed, GlobalKTable, KTable, Materialized, Result, StreamsBuilder, TopologyTestDriver,
    };
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    const CALLS: &str = "calls";

    fn calls() -> StoreHandle<KeyValueStore<String, i64>> {
        StoreHandle::named(CALLS)
    }

    /// Puts what it gets into its store, and the times of its punctuations into a list.
    struct Noted {
        punctuated: Arc<Mutex<Vec<i64>>>,
        closed: Arc<AtomicUsize>,
    }

    impl ValueTransformerWithKey<String, String, String> for Noted {
        fn init(&mut self, context: &mut ValueTransformerContext<'_>) -> Result<()> {
            context.schedule(Duration::from_millis(10), PunctuationType::StreamTime);
            Ok(())
        }

        fn transform(
            &mut self,
            key: &String,
            value: Option<&String>,
            context: &mut ValueTransformerContext<'_>,
        ) -> Result<Option<String>> {
            let timestamp = context.timestamp();
            context.store(&calls())?.put(key, timestamp)?;
            Ok(value.cloned())
        }

        fn punctuate(
            &mut self,
            _schedule: Schedule,
            timestamp_ms: i64,
            context: &mut ValueTransformerContext<'_>,
        ) -> Result<()> {
            assert!(context.record_metadata().is_none());
            self.punctuated
                .lock()
                .expect("nobody panics")
                .push(timestamp_ms);
            Ok(())
        }

        fn close(&mut self) {
            self.closed.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn table(builder: &StreamsBuilder, topic: &str) -> KTable<String, String> {
        builder.table(topic, Consumed::new(), Materialized::new())
    }

    /// `KTableTransformValuesTest#shouldCloseTransformerOnProcessorClose` and those around it.
    #[test]
    fn a_transformer_is_called_by_time_and_closed() -> Result<()> {
        let (punctuated, closed) = (Arc::default(), Arc::default());
        let builder = StreamsBuilder::new();
        builder.add_state_store(Stores::key_value(CALLS, Utf8, I64));
        let (times, ends) = (Arc::clone(&punctuated), Arc::clone(&closed));
        let supplier = move || Noted {
            punctuated: Arc::clone(&times),
            closed: Arc::clone(&ends),
        };
        table(&builder, "rows")
            .transform_values(supplier.clone(), &[CALLS])
            .to_stream()
            .for_each(|_, _| ());
        let mut driver = TopologyTestDriver::new(&builder.build()?)?;
        let rows = driver.input("rows", Utf8, Utf8);
        for at in [3, 12] {
            driver.pipe_at(&rows, "a", "x", at)?;
        }
        assert_eq!(*punctuated.lock().expect("nobody panics"), [3, 12]);
        assert_eq!(driver.store(&calls())?.get(&"a".to_owned())?, Some(12));
        let transformer = supplier();
        let mut node: Transformer<_, (String, String, String)> =
            Transformer::new(transformer, CALLS.into(), 0, Vec::new());
        Punctuate::close(&mut node);
        assert_eq!(closed.load(Ordering::SeqCst), 1);
        Ok(())
    }

    #[test]
    fn rows_that_need_stores_to_be_computed_are_not_looked_up() {
        let join = |materialized: bool| {
            let builder = StreamsBuilder::new();
            builder.add_state_store(Stores::key_value(CALLS, Utf8, I64));
            let supplier = || Noted {
                punctuated: Arc::default(),
                closed: Arc::default(),
            };
            let rows = table(&builder, "rows");
            let transformed = match materialized {
                true => rows.transform_values_with(supplier, &[CALLS], Materialized::named("kept")),
                false => rows.transform_values(supplier, &[CALLS]),
            };
            let mapped = transformed.filter(|_, _| true);
            table(&builder, "others").join(&mapped, |left, _| left.clone());
            builder.build().map(drop).map_err(|error| error.to_string())
        };
        let refused = join(false).expect_err("its stores are out of reach");
        assert!(refused.contains("transform_values_with"), "{refused}");
        assert_eq!(join(true), Ok(()));
    }

    /// `KTableTransformValuesTest#shouldGetQueryableStoreNameIfMaterialized`, `KTableImpl#queryableStoreName`.
    #[test]
    fn tables_in_named_stores_tell_their_names() -> Result<()> {
        let builder = StreamsBuilder::new();
        let source = table(&builder, "rows");
        let named = builder.table::<String, String>(
            "named",
            Consumed::new(),
            Materialized::named("source"),
        );
        let kept = |name: &str| Materialized::named(name);
        let names: [(Option<&str>, KTable<String, String>); 7] = [
            (None, source.clone()),
            (Some("source"), named.named("later").deletable()),
            (None, source.filter(|_, _| true)),
            (None, source.filter_with(|_, _| true, Materialized::new())),
            (Some("f"), source.filter_with(|_, _| true, kept("f"))),
            (
                Some("m"),
                source.map_values_with(|_, v| v.clone(), kept("m")),
            ),
            (
                Some("j"),
                source.join_with(&named, |l, _| l.clone(), kept("j")),
            ),
        ];
        for (name, table) in &names {
            assert_eq!(table.queryable_store_name(), *name);
        }
        let joined = source.join_with(&named, |l, _| l.clone(), Materialized::new());
        let name = joined.queryable_store_name().unwrap_or_default();
        assert!(name.starts_with("KTABLE-MERGE-STATE-STORE-"), "{name}");
        let grouped = builder
            .stream::<String, String>("lines", Consumed::new())
            .group_by_key();
        assert_eq!(grouped.count().queryable_store_name(), None);
        let counts = grouped.count_with(Materialized::named("counts"));
        assert_eq!(counts.queryable_store_name(), Some("counts"));
        let global: GlobalKTable<String, String> =
            builder.global_table("everywhere", Consumed::new(), Materialized::new());
        assert!(
            global
                .queryable_store_name()
                .starts_with("everywhere-STATE-STORE-")
        );
        Ok(())
    }
}
