//! `TableJoined`: serdes, partitioners and name of a join of two tables by foreign key.

use crate::partitioner::StreamPartitioner;
use crate::serdes::{BoxSerde, DefaultSerde, Serde};
use std::sync::Arc;

/// What a join of two tables by foreign key is called, how it chooses partitions, and the serdes of the rows that it sends from
/// one table's partitions to the other's (KIP-775; Java's has no serdes).
///
/// ```
/// use streams_core::serdes::{Json, Utf8};
/// use streams_core::{Consumed, Materialized, StreamsBuilder, TableJoined};
///
/// #[derive(serde::Serialize, serde::Deserialize)]
/// struct Order {
///     customer: String,
///     amount: f64,
/// }
///
/// #[derive(serde::Serialize, serde::Deserialize)]
/// struct Customer {
///     name: String,
/// }
///
/// let builder = StreamsBuilder::new();
/// let orders = builder.table("orders", Consumed::with(Utf8, Json), Materialized::new());
/// let customers = builder.table("customers", Consumed::with(Utf8, Json), Materialized::new());
/// let joined = orders.join_foreign_key_with(
///     &customers,
///     |_id: &String, order: &Order| order.customer.clone(),
///     |order, customer: &Customer| format!("{} owes {}", customer.name, order.amount),
///     TableJoined::with(Json, Json).named("debts"),
///     Materialized::new(),
/// );
/// # let joined: streams_core::KTable<String, String> = joined;
/// let described = builder.build()?.describe();
/// assert!(described.contains("topics: [debts-subscription-registration-topic]"));
/// # Ok::<(), streams_core::Error>(())
/// ```
pub struct TableJoined<K, V, KO, VO> {
    pub(crate) name: Option<String>,
    pub(crate) value: JoinedSerde<V>,
    pub(crate) other_value: JoinedSerde<VO>,
    pub(crate) partitioner: Option<Arc<dyn StreamPartitioner<K, ()>>>,
    pub(crate) other_partitioner: Option<Arc<dyn StreamPartitioner<KO, ()>>>,
}

/// Where the serde of a table's rows comes from.
pub(crate) enum JoinedSerde<V> {
    /// From the caller.
    Given(BoxSerde<V>),
    /// From the table, and where that has none, this.
    Default(BoxSerde<V>),
}

impl<V> JoinedSerde<V> {
    /// The serde to use for a table.
    pub(crate) fn of(self, table: &Option<BoxSerde<V>>) -> BoxSerde<V> {
        match self {
            JoinedSerde::Given(serde) => serde,
            JoinedSerde::Default(serde) => table.clone().unwrap_or(serde),
        }
    }
}

impl<K: 'static, V: 'static, KO: 'static, VO: 'static> TableJoined<K, V, KO, VO> {
    /// With these serdes for the values of this table and of the other. Its values' bytes tell whether a row has changed, so
    /// equal values must have equal bytes.
    pub fn with(value: impl Serde<V>, other_value: impl Serde<VO>) -> Self {
        TableJoined::of(
            JoinedSerde::Given(Arc::new(value)),
            JoinedSerde::Given(Arc::new(other_value)),
        )
    }

    /// With the serdes that the tables were made with, as far as they have some, otherwise with the default ones.
    pub fn new() -> Self
    where
        V: JoinedByDefault,
        VO: JoinedByDefault,
    {
        TableJoined::of(
            JoinedSerde::Default(V::default_serde()),
            JoinedSerde::Default(VO::default_serde()),
        )
    }

    fn of(value: JoinedSerde<V>, other_value: JoinedSerde<VO>) -> Self {
        TableJoined {
            name: None,
            value,
            other_value,
            partitioner: None,
            other_partitioner: None,
        }
    }

    /// Names the nodes, topics and the store of the join: `<name>-subscription-registration-topic`,
    /// `<name>-subscription-store` and so on.
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// How this table's topic is partitioned, where that is otherwise than by Kafka's hash of the key. Without it, responses
    /// go to the partition their row came from.
    ///
    /// It has to choose exactly one partition.
    pub fn with_partitioner(mut self, partitioner: impl StreamPartitioner<K, ()>) -> Self {
        self.partitioner = Some(Arc::new(partitioner));
        self
    }

    /// How the other table's topic is partitioned, where that is otherwise than by Kafka's hash of the key.
    ///
    /// It has to choose exactly one partition. A row without foreign key goes to any partition, without asking.
    ///
    /// ```
    /// use streams_core::partitioner;
    /// use streams_core::{Consumed, Materialized, StreamsBuilder, TableJoined};
    ///
    /// let builder = StreamsBuilder::new();
    /// let readings = builder.table::<String, i64>("readings", Consumed::new(), Materialized::new());
    /// let stations = builder.table::<i64, String>("stations", Consumed::new(), Materialized::new());
    /// readings.left_join_foreign_key_with(
    ///     &stations,
    ///     |_, station| *station,
    ///     |_, station| station.cloned().unwrap_or_default(),
    ///     TableJoined::new().with_other_partitioner(partitioner::by(
    ///         |station: &i64, _: &(), partitions| (station % i64::from(partitions)) as i32,
    ///     )),
    ///     Materialized::new(),
    /// );
    /// # builder.build()?;
    /// # Ok::<(), streams_core::Error>(())
    /// ```
    pub fn with_other_partitioner(mut self, partitioner: impl StreamPartitioner<KO, ()>) -> Self {
        self.other_partitioner = Some(Arc::new(partitioner));
        self
    }
}

impl<K: 'static, V: JoinedByDefault, KO: 'static, VO: JoinedByDefault> Default
    for TableJoined<K, V, KO, VO>
{
    fn default() -> Self {
        TableJoined::new()
    }
}

/// A value that a join by foreign key can send and keep without being given a serde: any type with a
/// [default serde](DefaultSerde).
#[diagnostic::on_unimplemented(
    message = "a join by foreign key sends rows from one table to the other and keeps its results, which needs a serde for `{Self}`",
    label = "no serde for `{Self}`",
    note = "use `join_foreign_key_with` or `left_join_foreign_key_with`, with `TableJoined::with(value_serde, other_value_serde)` and `Materialized::new().with_value(result_serde)`, or implement `DefaultSerde` for `{Self}`"
)]
pub trait JoinedByDefault: Sized + 'static {
    #[doc(hidden)]
    fn default_serde() -> BoxSerde<Self>;
}

#[diagnostic::do_not_recommend]
impl<T: DefaultSerde> JoinedByDefault for T {
    fn default_serde() -> BoxSerde<Self> {
        crate::serdes::default_serde()
    }
}

/// What says which row of another table, with keys `K`, a row refers to: a `K`, or an `Option<K>` where some rows refer to
/// none.
#[diagnostic::on_unimplemented(
    message = "the foreign key is a `{Self}`, but the keys of the other table are of type `{K}`",
    label = "joined by a foreign key of type `{Self}`",
    note = "return a `{K}`, or an `Option<{K}>` that is `None` for a row that refers to none"
)]
pub trait ForeignKey<K> {
    #[doc(hidden)]
    fn into_option(self) -> Option<K>;
}

#[diagnostic::do_not_recommend]
impl<K> ForeignKey<K> for K {
    fn into_option(self) -> Option<K> {
        Some(self)
    }
}

#[diagnostic::do_not_recommend]
impl<K> ForeignKey<K> for Option<K> {
    fn into_option(self) -> Option<K> {
        self
    }
}
