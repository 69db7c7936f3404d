//! `transform_values` of a table: user code with stores that makes each row's value (Kafka's `KTableTransformValues`).

use super::sink::NO_HEADERS;
use super::table_getter::TableGetter;
use super::{Change, Punctuate, StreamChildren, TableChildren, TableOperator};
use crate::error::Result;
use crate::processor::{
    NodeReference, ProcessorContext, Schedule, ValueTransformerContext, ValueTransformerWithKey,
};
use crate::record::Headers;
use crate::serdes::BoxSerde;
use crate::task::context::Context;
use crate::task::stores::{Found, Origin};
use std::cell::RefCell;
use std::marker::PhantomData;
use std::rc::Rc;
use std::sync::Arc;

/// The user's code, and what it may reach.
pub(crate) struct Transformer<Q, T> {
    transformer: Q,
    name: Arc<str>,
    punctuated: usize,
    /// Connected stores by name, with their index among the task's.
    stores: Vec<(String, usize)>,
    /// Always empty: it forwards nothing.
    children: StreamChildren<(), ()>,
    /// The types of key, value and result, which the user's code may be generic over.
    types: PhantomData<fn(T)>,
}

/// Reached by records and by time, which never overlap.
pub(crate) type SharedTransformer<Q, K, V, VOut> = Rc<RefCell<Transformer<Q, (K, V, VOut)>>>;

impl<Q, T> Transformer<Q, T> {
    pub(crate) fn new(
        transformer: Q,
        name: Arc<str>,
        punctuated: usize,
        stores: Vec<(String, usize)>,
    ) -> Self {
        Transformer {
            transformer,
            name,
            punctuated,
            stores,
            children: StreamChildren::default(),
            types: PhantomData,
        }
    }

    #[inline]
    fn parts<'a>(
        &'a mut self,
        context: &'a mut Context,
        timestamp: i64,
        headers: &'a Headers,
    ) -> (&'a mut Q, ValueTransformerContext<'a>) {
        let inner = ProcessorContext {
            children: &mut self.children,
            context,
            node: NodeReference {
                name: &self.name,
                punctuated: self.punctuated,
                stores: &self.stores,
            },
            timestamp,
            headers,
        };
        (&mut self.transformer, ValueTransformerContext { inner })
    }
}

impl<Q, K, V, VOut> Transformer<Q, (K, V, VOut)>
where
    Q: ValueTransformerWithKey<K, V, VOut>,
{
    #[inline]
    fn transform(
        &mut self,
        key: &K,
        value: &Option<V>,
        (timestamp, headers): (i64, &Headers),
        context: &mut Context,
    ) -> Result<Option<VOut>> {
        let (transformer, mut context) = self.parts(context, timestamp, headers);
        transformer.transform(key, value.as_ref(), &mut context)
    }
}

impl<Q, K, V, VOut> Punctuate for Transformer<Q, (K, V, VOut)>
where
    Q: ValueTransformerWithKey<K, V, VOut>,
{
    fn name(&self) -> &Arc<str> {
        &self.name
    }

    fn init(&mut self, context: &mut Context) -> Result<()> {
        let (transformer, mut context) = self.parts(context, -1, &NO_HEADERS);
        transformer.init(&mut context)
    }

    fn punctuate(&mut self, schedule: u64, timestamp_ms: i64, context: &mut Context) -> Result<()> {
        let (transformer, mut context) = self.parts(context, timestamp_ms, &NO_HEADERS);
        transformer.punctuate(Schedule(schedule), timestamp_ms, &mut context)
    }

    fn is_ready(&mut self) -> bool {
        true
    }

    fn pending_offset(&self, _topic: &str, _partition: i32) -> Option<i64> {
        None
    }

    fn close(&mut self) {
        self.transformer.close();
    }
}

pub(crate) struct TableTransformValues<Q, K, V, VOut> {
    pub(crate) transformer: SharedTransformer<Q, K, V, VOut>,
    pub(crate) sends_old_values: bool,
    pub(crate) children: TableChildren<K, VOut>,
}

impl<Q, K, V, VOut> TableOperator<K, V> for TableTransformValues<Q, K, V, VOut>
where
    Q: ValueTransformerWithKey<K, V, VOut>,
{
    fn process(&mut self, change: Change<'_, K, V>, context: &mut Context) -> Result<()> {
        let at = (change.timestamp, change.headers);
        let mut transformer = self.transformer.borrow_mut();
        let new = transformer.transform(change.key, change.new, at, context)?;
        let old = match self.sends_old_values {
            true => transformer.transform(change.key, change.old, at, context)?,
            false => None,
        };
        drop(transformer);
        self.children
            .forward(change.with_values(&new, &old), context)
    }
}

/// Looks a row up by transforming that of the table before, with a transformer of its own.
pub(crate) struct TransformValuesGetter<Q, K, V, VOut> {
    pub(crate) parent: Box<dyn TableGetter<K, V>>,
    pub(crate) transformer: SharedTransformer<Q, K, V, VOut>,
    /// Tells a null key, of which there is no row to transform.
    pub(crate) key: BoxSerde<K>,
    pub(crate) key_bytes: Vec<u8>,
}

impl<Q, K: 'static, V, VOut> TransformValuesGetter<Q, K, V, VOut>
where
    Q: ValueTransformerWithKey<K, V, VOut>,
{
    fn transformed(
        &mut self,
        key: &K,
        found: Option<Found<V>>,
        context: &mut Context,
    ) -> Result<Option<Found<VOut>>> {
        self.key_bytes.clear();
        if !self.key.serialize_nullable(key, &mut self.key_bytes)? {
            return Ok(None);
        }
        let timestamp = found.as_ref().map_or(-1, |found| found.timestamp);
        let value = found.map_or_else(Rc::default, |found| found.value);
        // Where the row came from is not known any more.
        let nowhere = Origin {
            input: None,
            offset: -1,
            timestamp,
        };
        let at_hand = std::mem::replace(&mut context.origin, nowhere);
        let transformed =
            self.transformer
                .borrow_mut()
                .transform(key, &value, (timestamp, &NO_HEADERS), context);
        context.origin = at_hand;
        Ok(transformed?.map(|value| Found {
            value: Rc::new(Some(value)),
            timestamp,
        }))
    }
}

impl<Q, K: 'static, V, VOut> TableGetter<K, VOut> for TransformValuesGetter<Q, K, V, VOut>
where
    Q: ValueTransformerWithKey<K, V, VOut>,
{
    fn get(&mut self, key: &K, context: &mut Context) -> Result<Option<Found<VOut>>> {
        let found = self.parent.get(key, context)?;
        self.transformed(key, found, context)
    }

    fn is_versioned(&self) -> bool {
        self.parent.is_versioned()
    }

    fn get_as_of(
        &mut self,
        key: &K,
        time_ms: i64,
        context: &mut Context,
    ) -> Result<Option<Found<VOut>>> {
        let found = self.parent.get_as_of(key, time_ms, context)?;
        self.transformed(key, found, context)
    }
}
