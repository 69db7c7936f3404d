//! Suppliers of processors, which may bring the stores of those along.

use super::{FixedKeyProcessor, Processor, ValueTransformerWithKey};
use crate::stores::{StoreBuilder, StoreOptions, StoreParts, StoreType};

/// A store that a supplier brings along: made of a [`StoreBuilder`].
#[derive(Clone)]
pub struct ConnectedStore {
    pub(crate) name: String,
    pub(crate) parts: StoreParts,
    pub(crate) options: StoreOptions,
}

impl<S: StoreType> From<StoreBuilder<S>> for ConnectedStore {
    fn from(store: StoreBuilder<S>) -> Self {
        ConnectedStore {
            name: store.name,
            parts: store.parts,
            options: store.options,
        }
    }
}

/// Makes the processors of [`KStream::process`](crate::KStream::process), one for each task.
///
/// Any closure that returns a [`Processor`] is one. A type of one's own may bring the stores of its processors along, so that
/// whoever uses it neither adds nor names them (Kafka Streams' `ConnectedStoreProvider`, KIP-401):
///
/// ```
/// use streams_core::processor::{ConnectedStore, Processor, ProcessorContext, ProcessorSupplier};
/// use streams_core::serdes::{I64, Utf8};
/// use streams_core::stores::{KeyValueStore, StoreHandle, Stores};
/// use streams_core::{Consumed, Produced, Record, Result, StreamsBuilder, TopologyTestDriver};
///
/// struct Count(StoreHandle<KeyValueStore<String, i64>>);
///
/// impl Processor<String, String, String, i64> for Count {
///     fn process(
///         &mut self,
///         record: Record<'_, String, String>,
///         context: &mut ProcessorContext<'_, String, i64>,
///     ) -> Result<()> {
///         let mut counts = context.store(&self.0)?;
///         let count = counts.get(record.key)?.unwrap_or(0) + 1;
///         counts.put(record.key, count)?;
///         context.forward(record.key, &count, record.timestamp)
///     }
/// }
///
/// /// Counts the records of each key.
/// struct Counting;
///
/// impl ProcessorSupplier<String, String, String, i64> for Counting {
///     type Processor = Count;
///
///     fn get(&self) -> Count {
///         Count(StoreHandle::named("counts"))
///     }
///
///     fn stores(&self) -> Vec<ConnectedStore> {
///         vec![Stores::key_value("counts", Utf8, I64).into()]
///     }
/// }
///
/// let builder = StreamsBuilder::new();
/// builder
///     .stream::<String, String>("words", Consumed::new())
///     .process(Counting, &[])
///     .to("counts", Produced::with(Utf8, I64));
/// # let mut driver = TopologyTestDriver::new(&builder.build()?)?;
/// # let (words, counts) = (driver.input("words", Utf8, Utf8), driver.output("counts", Utf8, I64));
/// driver.pipe(&words, "a", "x")?;
/// driver.pipe(&words, "a", "y")?;
/// assert_eq!(driver.read_values(&counts)?, [1, 2]);
/// # Ok::<(), streams_core::Error>(())
/// ```
pub trait ProcessorSupplier<K, V, KOut, VOut>: Send + Sync + 'static {
    /// What it makes.
    type Processor: Processor<K, V, KOut, VOut>;

    /// A new processor.
    fn get(&self) -> Self::Processor;

    /// Stores to add, and to connect to the node beside those it is given by name. Suppliers may share a store: they return
    /// clones of one [`StoreBuilder`]; two that were made apart must have different names.
    fn stores(&self) -> Vec<ConnectedStore> {
        Vec::new()
    }
}

impl<F, Q, K, V, KOut, VOut> ProcessorSupplier<K, V, KOut, VOut> for F
where
    F: Fn() -> Q + Send + Sync + 'static,
    Q: Processor<K, V, KOut, VOut>,
{
    type Processor = Q;

    fn get(&self) -> Q {
        self()
    }
}

/// Makes the processors of [`KStream::process_values`](crate::KStream::process_values): see [`ProcessorSupplier`].
pub trait FixedKeyProcessorSupplier<K, V, VOut>: Send + Sync + 'static {
    /// What it makes.
    type Processor: FixedKeyProcessor<K, V, VOut>;

    /// A new processor.
    fn get(&self) -> Self::Processor;

    /// As [`ProcessorSupplier::stores`].
    fn stores(&self) -> Vec<ConnectedStore> {
        Vec::new()
    }
}

impl<F, Q, K, V, VOut> FixedKeyProcessorSupplier<K, V, VOut> for F
where
    F: Fn() -> Q + Send + Sync + 'static,
    Q: FixedKeyProcessor<K, V, VOut>,
{
    type Processor = Q;

    fn get(&self) -> Q {
        self()
    }
}

/// Makes the transformers of [`KTable::transform_values`](crate::KTable::transform_values): see [`ProcessorSupplier`].
pub trait ValueTransformerWithKeySupplier<K, V, VOut>: Send + Sync + 'static {
    /// What it makes.
    type Transformer: ValueTransformerWithKey<K, V, VOut>;

    /// A new transformer.
    fn get(&self) -> Self::Transformer;

    /// As [`ProcessorSupplier::stores`].
    fn stores(&self) -> Vec<ConnectedStore> {
        Vec::new()
    }
}

impl<F, Q, K, V, VOut> ValueTransformerWithKeySupplier<K, V, VOut> for F
where
    F: Fn() -> Q + Send + Sync + 'static,
    Q: ValueTransformerWithKey<K, V, VOut>,
{
    type Transformer = Q;

    fn get(&self) -> Q {
        self()
    }
}

#[cfg(all(test, feature = "test-driver"))]
mod tests {
    use super::*;
    use crate::processor::ProcessorContext;
    use crate::serdes::{I64, Utf8};
    use crate::stores::{KeyValueStore, StoreHandle, Stores};
    use crate::{Consumed, Record, Result, StreamsBuilder};

    type Counts = StoreBuilder<KeyValueStore<String, i64>>;

    struct Count;

    impl Processor<String, String, (), ()> for Count {
        fn process(
            &mut self,
            record: Record<'_, String, String>,
            context: &mut ProcessorContext<'_, (), ()>,
        ) -> Result<()> {
            let counts: StoreHandle<KeyValueStore<String, i64>> = StoreHandle::named("counts");
            context.store(&counts)?.put(record.key, 1)
        }
    }

    struct Counting(Counts);

    impl ProcessorSupplier<String, String, (), ()> for Counting {
        type Processor = Count;

        fn get(&self) -> Count {
            Count
        }

        fn stores(&self) -> Vec<ConnectedStore> {
            vec![self.0.clone().into()]
        }
    }

    fn counts() -> Counts {
        Stores::key_value("counts", Utf8, I64)
    }

    fn described(suppliers: [Counting; 2]) -> Result<String> {
        let builder = StreamsBuilder::new();
        for (supplier, topic) in suppliers.into_iter().zip(["a", "b"]) {
            let lines = builder.stream::<String, String>(topic, Consumed::new());
            lines.named(format!("of-{topic}")).process(supplier, &[]);
        }
        Ok(builder.build()?.describe())
    }

    /// `KStreamImplTest#shouldProcessWithProcessorAndState`, `InternalTopologyBuilder#addStateStore`.
    #[test]
    fn suppliers_share_a_store_but_not_two_of_one_name() -> Result<()> {
        let shared = counts();
        let text = described([Counting(shared.clone()), Counting(shared)])?;
        assert!(
            text.contains("of-a (stores: [counts])") && text.contains("of-b (stores: [counts])")
        );
        assert!(!text.contains("Sub-topology: 1"), "{text}");
        let error = described([Counting(counts()), Counting(counts())]);
        let error = error.expect_err("these are two stores").to_string();
        assert!(error.contains("'counts'"), "{error}");
        Ok(())
    }
}
