//! Whether a stream's records still lie in the partition of their key, told by the type.

use crate::serdes::{BoxSerde, DefaultSerde, default_serde};

/// The keys are those the topic was partitioned by: the next stateful operation needs no repartition topic.
#[derive(Clone, Copy, Debug)]
pub enum Partitioned {}

/// The keys may have changed: the next stateful operation goes through a repartition topic and needs serdes for it.
#[derive(Clone, Copy, Debug)]
pub enum Rekeyed {}

/// [`Partitioned`] or [`Rekeyed`].
pub trait Partitioning: sealed::Sealed + 'static {
    /// What two streams are together: rekeyed as soon as one of them is.
    type Or<Other: Partitioning>: Partitioning;
    #[doc(hidden)]
    const REKEYED: bool;
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::Partitioned {}
    impl Sealed for super::Rekeyed {}
}

impl Partitioning for Partitioned {
    type Or<Other: Partitioning> = Other;
    const REKEYED: bool = false;
}

impl Partitioning for Rekeyed {
    type Or<Other: Partitioning> = Rekeyed;
    const REKEYED: bool = true;
}

/// The serdes a repartition topic would need: none for [`Partitioned`] streams, the default ones of key and value for
/// [`Rekeyed`] ones.
///
/// What may have changed its keys cannot be grouped without serdes:
///
/// ```compile_fail,E0277
/// # use streams_core::{Consumed, StreamsBuilder};
/// struct Station(u32); // no default serde
///
/// StreamsBuilder::new()
///     .stream::<String, String>("readings", Consumed::new())
///     .select_key(|_, value| Station(value.len() as u32))
///     .group_by_key();
/// ```
#[diagnostic::on_unimplemented(
    message = "the keys of this stream may have changed, so it goes through a repartition topic, which needs a serde for `{K}` and one for `{V}`",
    label = "serdes are missing here",
    note = "use `group_by_key_with(Grouped::with(key_serde, value_serde))` or `join_with(.., Joined::with(key_serde, value_serde))`, or implement `DefaultSerde` for both types",
    note = "when the key did not change, use `map_values` instead of `map`, or `process_values` instead of `process`"
)]
pub trait RepartitionSerdes<K, V>: Partitioning {
    #[doc(hidden)]
    fn serdes() -> Option<(BoxSerde<K>, BoxSerde<V>)>;
}

impl<K, V> RepartitionSerdes<K, V> for Partitioned {
    fn serdes() -> Option<(BoxSerde<K>, BoxSerde<V>)> {
        None
    }
}

#[diagnostic::do_not_recommend]
impl<K: DefaultSerde, V: DefaultSerde> RepartitionSerdes<K, V> for Rekeyed {
    fn serdes() -> Option<(BoxSerde<K>, BoxSerde<V>)> {
        Some((default_serde(), default_serde()))
    }
}
