//! Stores that are filled from a topic of their own by user code: global ones, and read-only ones.

use super::builder::{StreamsBuilder, add_source, store_definition};
use super::options::Consumed;
use super::partitioning::Partitioned;
use super::stream::KStream;
use crate::operators::process::Process;
use crate::operators::{Reached, StreamChildren};
use crate::processor::Processor;
use crate::stores::{StoreBuilder, StoreHandle, StoreOptions, StoreType};
use crate::task::global_updates::{GlobalUpdate, GlobalUpdateFactory};
use crate::task::source::TypedInput;
use crate::topology::build::Graph;
use crate::topology::{GlobalStoreDefinition, StoreDefinition, TopicName};
use std::cell::{Cell, RefCell};
use std::marker::PhantomData;
use std::panic::Location;
use std::rc::Rc;
use std::sync::Arc;

impl StreamsBuilder {
    /// Adds a store that every instance holds whole, and that a processor of its own fills from a topic.
    ///
    /// The processor is run for every record of the topic, also while the store is filled at a start, which must be complete before
    /// any task begins (`StreamsBuilder#addGlobalStore`, KAFKA-7663). It has nothing behind it, and its schedules are never due.
    /// Other processors read the store with
    /// [`ProcessorContext::global_store`](crate::processor::ProcessorContext::global_store). It has no changelog; a null that the
    /// types have no place for goes to the deserialization handler.
    ///
    /// ```
    /// use streams_core::processor::{Processor, ProcessorContext};
    /// use streams_core::serdes::Utf8;
    /// use streams_core::stores::{KeyValueStore, StoreHandle, Stores};
    /// use streams_core::{Consumed, Record, Result, StreamsBuilder, TopologyTestDriver};
    ///
    /// /// Keeps names in capitals.
    /// struct Capitals(StoreHandle<KeyValueStore<String, String>>);
    ///
    /// impl Processor<String, String, (), ()> for Capitals {
    ///     fn process(
    ///         &mut self,
    ///         record: Record<'_, String, String>,
    ///         context: &mut ProcessorContext<'_, (), ()>,
    ///     ) -> Result<()> {
    ///         context.store(&self.0)?.put(record.key, record.value.to_uppercase())
    ///     }
    /// }
    ///
    /// let builder = StreamsBuilder::new();
    /// let store = Stores::key_value("names", Utf8, Utf8);
    /// let names = StoreHandle::named("names");
    /// let handle = names.clone();
    /// builder.add_global_store(store, "countries", Consumed::with(Utf8, Utf8), move || {
    ///     Capitals(handle.clone())
    /// });
    /// let mut driver = TopologyTestDriver::new(&builder.build()?)?;
    /// let countries = driver.input("countries", Utf8, Utf8);
    /// driver.pipe(&countries, "de", "Germany")?;
    /// let name = driver.global_store(&names)?.get(&"de".to_owned())?;
    /// assert_eq!(name.as_deref(), Some("GERMANY"));
    /// # Ok::<(), streams_core::Error>(())
    /// ```
    #[track_caller]
    pub fn add_global_store<K, V, S, Q>(
        &self,
        store: StoreBuilder<S>,
        topic: impl Into<String>,
        consumed: Consumed<K, V>,
        supplier: impl Fn() -> Q + Send + Sync + 'static,
    ) -> StoreHandle<S>
    where
        K: 'static,
        V: 'static,
        S: StoreType,
        Q: Processor<K, V, (), ()>,
    {
        let location = Location::caller();
        let mut graph = self.graph.borrow_mut();
        graph.check_name(&store.name);
        let handle = StoreHandle::named(&store.name);
        let (source_name, processor_name) = names(&mut graph, consumed.name.as_deref());
        let (store_name, node_name): (String, Arc<str>) =
            (store.name.clone(), processor_name.as_str().into());
        let update: GlobalUpdateFactory = Arc::new(move |index| {
            let processor = Rc::new(RefCell::new(Process {
                processor: supplier(),
                name: node_name.clone(),
                punctuated: 0,
                stores: vec![(store_name.clone(), index)],
                children: StreamChildren::<(), ()>::default(),
                input: PhantomData::<fn((K, V))>,
            }));
            let mut children = StreamChildren::default();
            let operator = Box::new(Reached(processor.clone()));
            children.add(node_name.clone(), operator, false);
            GlobalUpdate {
                input: Box::new(TypedInput {
                    key: consumed.key.clone(),
                    value: consumed.value.clone(),
                    extractor: consumed.extractor.clone(),
                    slot: None,
                    children: Rc::new(RefCell::new(children)),
                }),
                processor,
            }
        });
        let options = StoreOptions {
            logging: None,
            cached: false,
            ..store.options
        };
        let definition = GlobalStoreDefinition {
            store: Arc::new(store_definition(store.name, store.parts, options, location)),
            topic: topic.into().into(),
            sub_topology: 0,
            source_name,
            processor_name,
            check: Arc::new(|_, _| Ok(())),
            update: Some(update),
        };
        graph.add_global_store(definition, location);
        handle
    }

    /// Adds a store that a processor of its own fills from a topic, which is the store's changelog as well: nothing is logged, and
    /// a restore copies the topic's records as they are, without the processor (KIP-813).
    ///
    /// So the processor should put each record's key and value as they came. Other processors may read the store, and must not
    /// write to it: what they write would be gone after a restore. Its topic must have as many partitions as what they
    /// read. What Kafka Streams calls `Topology#addReadOnlyStateStore`.
    ///
    /// ```
    /// use streams_core::processor::{Processor, ProcessorContext};
    /// use streams_core::serdes::{I64, Utf8};
    /// use streams_core::stores::{KeyValueStore, StoreHandle, Stores};
    /// use streams_core::{Consumed, Record, Result, StreamsBuilder, TopologyTestDriver};
    ///
    /// /// Puts what it gets.
    /// struct Keep(StoreHandle<KeyValueStore<String, i64>>);
    ///
    /// impl Processor<String, i64, (), ()> for Keep {
    ///     fn process(
    ///         &mut self,
    ///         record: Record<'_, String, i64>,
    ///         context: &mut ProcessorContext<'_, (), ()>,
    ///     ) -> Result<()> {
    ///         context.store(&self.0)?.put(record.key, *record.value)
    ///     }
    /// }
    ///
    /// let builder = StreamsBuilder::new();
    /// let handle = StoreHandle::named("prices");
    /// let prices = builder.add_read_only_state_store(
    ///     Stores::key_value("prices", Utf8, I64),
    ///     "prices",
    ///     Consumed::with(Utf8, I64),
    ///     move || Keep(handle.clone()),
    /// );
    /// let mut driver = TopologyTestDriver::new(&builder.build()?)?;
    /// let input = driver.input("prices", Utf8, I64);
    /// driver.pipe(&input, "pen", 3)?;
    /// assert_eq!(driver.store(&prices)?.get(&"pen".to_owned())?, Some(3));
    /// assert_eq!(driver.produced_topic_names().count(), 0);
    /// # Ok::<(), streams_core::Error>(())
    /// ```
    #[track_caller]
    pub fn add_read_only_state_store<K, V, S, Q>(
        &self,
        store: StoreBuilder<S>,
        topic: impl Into<String>,
        consumed: Consumed<K, V>,
        supplier: impl Fn() -> Q + Send + Sync + 'static,
    ) -> StoreHandle<S>
    where
        K: 'static,
        V: 'static,
        S: StoreType,
        Q: Processor<K, V, (), ()>,
    {
        let location = Location::caller();
        let topic: Arc<str> = topic.into().into();
        let mut graph = self.graph.borrow_mut();
        graph.check_name(&store.name);
        let handle = StoreHandle::named(&store.name);
        // Where Kafka Streams has it, names are always given and use no number up.
        let (source_name, processor_name) = match &consumed.name {
            Some(name) => (format!("{name}-source"), name.clone()),
            None => names(&mut graph, None),
        };
        let definition = store_definition(store.name, store.parts, store.options, location);
        let definition = StoreDefinition {
            elides_tombstones: false,
            ..definition.changed_by(topic.clone())
        };
        graph.add_store(definition, Rc::new(Cell::new(true)));
        let source = add_source(
            &mut graph,
            source_name,
            vec![TopicName::External(topic)],
            consumed.key.clone(),
            consumed.value.clone(),
            consumed.extractor,
            consumed.offset_reset,
            location,
        );
        drop(graph);
        let (key, value) = (Some(consumed.key), Some(consumed.value));
        KStream::<K, V, Partitioned>::new(self.graph.clone(), source, key, value)
            .named(processor_name)
            .process(supplier, &[handle.name()]);
        handle
    }
}

/// What the source and the processor of a store are called, as those of a table.
fn names(graph: &mut Graph, given: Option<&str>) -> (String, String) {
    let source = graph.name_with_suffix_or(given, "-source", "KSTREAM-SOURCE-");
    (source, graph.name_or(given, "KTABLE-SOURCE-"))
}

#[cfg(all(test, feature = "test-driver"))]
mod tests {
    use crate::processor::{Processor, ProcessorContext};
    use crate::serdes::{Nullable, Utf8};
    use crate::stores::{KeyValueStore, StoreHandle, Stores};
    use crate::testing::LocalState;
    use crate::{Consumed, Record, Result, StreamsBuilder, TopologyTestDriver};

    /// Puts values in capitals, and adds its own mark.
    #[derive(Clone)]
    struct Upper(StoreHandle<KeyValueStore<String, String>>);

    impl Processor<String, Option<String>, (), ()> for Upper {
        fn process(
            &mut self,
            record: Record<'_, String, Option<String>>,
            context: &mut ProcessorContext<'_, (), ()>,
        ) -> Result<()> {
            let mut store = context.store(&self.0)?;
            match record.value {
                Some(value) => store.put(record.key, value.to_uppercase()),
                None => store.delete(record.key).map(|_| ()),
            }
        }
    }

    fn upper() -> (StoreHandle<KeyValueStore<String, String>>, Upper) {
        let handle = StoreHandle::named("names");
        (handle.clone(), Upper(handle))
    }

    #[test]
    fn a_global_store_is_filled_by_its_processor_again_after_a_restart() -> Result<()> {
        let (handle, upper) = upper();
        let builder = StreamsBuilder::new();
        let store = Stores::key_value("names", Utf8, Utf8);
        let consumed = Consumed::with(Utf8, Nullable(Utf8));
        builder.add_global_store(store, "in", consumed, move || upper.clone());
        let mut driver = TopologyTestDriver::new(&builder.build()?)?;
        let input = driver.input("in", Utf8, Nullable(Utf8));
        for (key, value) in [("a", Some("x")), ("b", Some("y")), ("b", None)] {
            driver.pipe(&input, key, value.map(str::to_owned))?;
        }
        let expected = [("a".to_owned(), "X".to_owned())];
        assert_eq!(driver.global_store(&handle)?.all()?, expected);
        driver.restart(LocalState::Lost)?;
        assert_eq!(driver.global_store(&handle)?.all()?, expected);
        Ok(())
    }

    #[test]
    fn a_read_only_store_is_restored_from_its_topic_without_its_processor() -> Result<()> {
        let (handle, upper) = upper();
        let builder = StreamsBuilder::new();
        let store = Stores::key_value("names", Utf8, Utf8);
        let consumed = Consumed::with(Utf8, Nullable(Utf8));
        builder.add_read_only_state_store(store, "in", consumed, move || upper.clone());
        let mut driver = TopologyTestDriver::new(&builder.build()?)?;
        let input = driver.input("in", Utf8, Nullable(Utf8));
        driver.pipe(&input, "a", Some("x".to_owned()))?;
        let row = |driver: &mut TopologyTestDriver| driver.store(&handle)?.get(&"a".to_owned());
        assert_eq!(row(&mut driver)?.as_deref(), Some("X"));
        driver.restart(LocalState::Lost)?;
        assert_eq!(row(&mut driver)?.as_deref(), Some("x"));
        Ok(())
    }
}
