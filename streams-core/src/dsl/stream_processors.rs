//! User code in a stream: `process` and `process_values`.

use super::builder::store_definition;
use super::partitioning::{Partitioning, Rekeyed};
use super::stream::KStream;
use super::stream_node;
use crate::operators::process::{Process, ProcessValues};
use crate::operators::{Punctuate, Reached, StreamOperator};
use crate::processor::{ConnectedStore, FixedKeyProcessorSupplier, ProcessorSupplier};
use crate::topology::build::Graph;
use crate::topology::{NodeId, Scope, StoreDefinition};
use std::cell::{Cell, RefCell};
use std::marker::PhantomData;
use std::panic::Location;
use std::rc::Rc;

impl<K: 'static, V: 'static, P: Partitioning> KStream<K, V, P> {
    /// Runs user code with stores, timers and any output: see the [Processor API](crate::processor).
    ///
    /// `supplier` makes a processor for each task; `stores` names the stores it uses.
    #[track_caller]
    pub fn process<K2: 'static, V2: 'static>(
        &self,
        supplier: impl ProcessorSupplier<K, V, K2, V2>,
        stores: &[&str],
    ) -> KStream<K2, V2, Rekeyed> {
        let location = Location::caller();
        let own = supplier.stores();
        let node = self.add_processor(
            "KSTREAM-PROCESSOR-",
            stream_node::<K, V>(move |scope, id| {
                let process = Process {
                    processor: supplier.get(),
                    name: scope.node(id).name.clone(),
                    punctuated: scope.punctuates.len(),
                    stores: connected_stores(scope, id),
                    children: Default::default(),
                    input: PhantomData::<fn((K, V))>,
                };
                let node = Rc::new(RefCell::new(process));
                scope.punctuated.push(id);
                scope
                    .punctuates
                    .push(node.clone() as Rc<RefCell<dyn Punctuate>>);
                let children = scope.stream_children(id)?;
                node.borrow_mut().children = children;
                Ok(Box::new(Reached(node)) as Box<dyn StreamOperator<K, V>>)
            }),
            location,
        );
        self.connect(node, own, stores, location);
        self.behind(node, None, None)
    }

    /// Runs user code that changes values and keeps keys, so that nothing needs repartitioning behind it.
    ///
    /// ```
    /// use streams_core::processor::{FixedKeyContext, FixedKeyProcessor, FixedKeyRecord};
    /// use streams_core::serdes::{F64, Utf8};
    /// use streams_core::stores::{KeyValueStore, StoreHandle, Stores};
    /// use streams_core::{Consumed, Produced, Result, StreamsBuilder, TopologyTestDriver};
    ///
    /// /// How much a value changed since the last one.
    /// struct Delta(StoreHandle<KeyValueStore<String, f64>>);
    ///
    /// impl FixedKeyProcessor<String, f64, f64> for Delta {
    ///     fn process(
    ///         &mut self,
    ///         record: FixedKeyRecord<'_, String, f64>,
    ///         context: &mut FixedKeyContext<'_, '_, String, f64>,
    ///     ) -> Result<()> {
    ///         let mut last = context.store(&self.0)?;
    ///         let before = last.get(record.key())?;
    ///         last.put(record.key(), *record.value())?;
    ///         match before {
    ///             Some(before) => context.forward(record.with_value(&(record.value() - before))),
    ///             None => Ok(()),
    ///         }
    ///     }
    /// }
    ///
    /// let builder = StreamsBuilder::new();
    /// let last = builder.add_state_store(Stores::key_value("last", Utf8, F64));
    /// let name = last.name().to_owned();
    /// builder
    ///     .stream("meters", Consumed::with(Utf8, F64))
    ///     .process_values(move || Delta(last.clone()), &[&name])
    ///     .to("consumption", Produced::with(Utf8, F64));
    /// # let mut driver = TopologyTestDriver::new(&builder.build()?)?;
    /// # let (input, output) = (driver.input("meters", Utf8, F64), driver.output("consumption", Utf8, F64));
    /// driver.pipe(&input, "m1", &10.0)?;
    /// driver.pipe(&input, "m1", &12.5)?;
    /// assert_eq!(driver.read_values(&output)?, [2.5]);
    /// # Ok::<(), streams_core::Error>(())
    /// ```
    #[track_caller]
    pub fn process_values<V2: 'static>(
        &self,
        supplier: impl FixedKeyProcessorSupplier<K, V, V2>,
        stores: &[&str],
    ) -> KStream<K, V2, P> {
        let location = Location::caller();
        let own = supplier.stores();
        let node = self.add_processor(
            "KSTREAM-PROCESSVALUES-",
            stream_node::<K, V>(move |scope, id| {
                let process = Process {
                    processor: supplier.get(),
                    name: scope.node(id).name.clone(),
                    punctuated: scope.punctuates.len(),
                    stores: connected_stores(scope, id),
                    children: Default::default(),
                    input: PhantomData::<fn((K, V))>,
                };
                let node = Rc::new(RefCell::new(ProcessValues(process)));
                scope.punctuated.push(id);
                scope
                    .punctuates
                    .push(node.clone() as Rc<RefCell<dyn Punctuate>>);
                let children = scope.stream_children(id)?;
                node.borrow_mut().0.children = children;
                Ok(Box::new(Reached(node)) as Box<dyn StreamOperator<K, V>>)
            }),
            location,
        );
        self.connect(node, own, stores, location);
        self.behind(node, self.key.clone(), None)
    }

    fn connect(
        &self,
        node: NodeId,
        own: Vec<ConnectedStore>,
        stores: &[&str],
        location: &'static Location<'static>,
    ) {
        let mut graph = self.graph.borrow_mut();
        connect_own(&mut graph, node, own, location);
        connect_named(&mut graph, node, stores, location);
    }
}

/// Connects a node of user code to the stores that its supplier brings along, and adds those that no other has brought.
pub(super) fn connect_own(
    graph: &mut Graph,
    node: NodeId,
    stores: Vec<ConnectedStore>,
    location: &'static Location<'static>,
) {
    for store in stores {
        graph.check_name(&store.name);
        let known = graph.store_made_by(&store.name, &store.parts.state);
        let index = known.unwrap_or_else(|| {
            let definition = StoreDefinition {
                elides_tombstones: false,
                ..store_definition(store.name, store.parts, store.options, location)
            };
            graph.add_store(definition, Rc::new(Cell::new(true)))
        });
        graph.connect(node, index);
    }
}

/// Connects a node of user code to the stores it names.
pub(super) fn connect_named(
    graph: &mut Graph,
    node: NodeId,
    stores: &[&str],
    location: &'static Location<'static>,
) {
    for name in stores {
        match graph.store_named(name) {
            Some(store) => graph.connect(node, store),
            None => graph.fail(crate::Error::topology(format!(
                "there is no store '{name}' for the processor at {location}: add it with `StreamsBuilder::add_state_store` first"
            ))),
        }
    }
}

/// The stores a node is connected to, by name, with their index in the task.
pub(super) fn connected_stores(scope: &Scope<'_>, id: NodeId) -> Vec<(String, usize)> {
    scope
        .node(id)
        .stores
        .iter()
        .map(|store| {
            (
                scope.parts.stores[*store].name.clone(),
                scope.local_store(*store),
            )
        })
        .collect()
}
