//! `process` and `process_values`: user code as an operator.

use super::{Punctuate, StreamChildren, StreamOperator};
use crate::error::Result;
use crate::operators::sink::NO_HEADERS;
use crate::processor::{
    FixedKeyContext, FixedKeyProcessor, FixedKeyRecord, NodeReference, Processor, ProcessorContext,
    Schedule,
};
use crate::record::{Headers, Record};
use crate::task::context::Context;
use std::marker::PhantomData;
use std::sync::Arc;

/// A processor node: the user's code, and what it may reach.
pub(crate) struct Process<P, I, KOut, VOut> {
    pub(crate) processor: P,
    pub(crate) name: Arc<str>,
    pub(crate) punctuated: usize,
    /// Connected stores by name, with their index among the task's.
    pub(crate) stores: Vec<(String, usize)>,
    pub(crate) children: StreamChildren<KOut, VOut>,
    /// The input types, which the user's code may be generic over.
    pub(crate) input: PhantomData<fn(I)>,
}

impl<P, I, KOut, VOut> Process<P, I, KOut, VOut> {
    #[inline]
    fn parts<'a>(
        &'a mut self,
        context: &'a mut Context,
        timestamp: i64,
        headers: &'a Headers,
    ) -> (&'a mut P, ProcessorContext<'a, KOut, VOut>) {
        (
            &mut self.processor,
            ProcessorContext {
                children: &mut self.children,
                context,
                node: NodeReference {
                    name: &self.name,
                    punctuated: self.punctuated,
                    stores: &self.stores,
                },
                timestamp,
                headers,
            },
        )
    }
}

impl<P, K, V, KOut, VOut> StreamOperator<K, V> for Process<P, (K, V), KOut, VOut>
where
    P: Processor<K, V, KOut, VOut>,
{
    fn process(&mut self, record: Record<'_, K, V>, context: &mut Context) -> Result<()> {
        let (processor, mut context) = self.parts(context, record.timestamp, record.headers);
        processor.process(record, &mut context)
    }
}

impl<P, K, V, KOut, VOut> Punctuate for Process<P, (K, V), KOut, VOut>
where
    P: Processor<K, V, KOut, VOut>,
{
    fn name(&self) -> &Arc<str> {
        &self.name
    }

    fn init(&mut self, context: &mut Context) -> Result<()> {
        let (processor, mut context) = self.parts(context, -1, &NO_HEADERS);
        processor.init(&mut context)
    }

    fn punctuate(&mut self, schedule: u64, timestamp_ms: i64, context: &mut Context) -> Result<()> {
        let (processor, mut context) = self.parts(context, timestamp_ms, &NO_HEADERS);
        processor.punctuate(Schedule(schedule), timestamp_ms, &mut context)
    }

    fn is_ready(&mut self) -> bool {
        self.processor.is_ready()
    }

    fn pending_offset(&self, topic: &str, partition: i32) -> Option<i64> {
        self.processor.pending_offset(topic, partition)
    }

    fn close(&mut self) {
        self.processor.close();
    }
}

/// The node of a [`FixedKeyProcessor`].
pub(crate) struct ProcessValues<P, K, V, VOut>(pub(crate) Process<P, (K, V), K, VOut>);

impl<P, K: 'static, V: 'static, VOut: 'static> StreamOperator<K, V> for ProcessValues<P, K, V, VOut>
where
    P: FixedKeyProcessor<K, V, VOut>,
{
    fn process(&mut self, record: Record<'_, K, V>, context: &mut Context) -> Result<()> {
        let (processor, mut context) = self.0.parts(context, record.timestamp, record.headers);
        let mut context = FixedKeyContext {
            inner: &mut context,
        };
        processor.process(FixedKeyRecord::new(record), &mut context)
    }
}

impl<P, K: 'static, V: 'static, VOut: 'static> Punctuate for ProcessValues<P, K, V, VOut>
where
    P: FixedKeyProcessor<K, V, VOut>,
{
    fn name(&self) -> &Arc<str> {
        &self.0.name
    }

    fn init(&mut self, context: &mut Context) -> Result<()> {
        let (processor, mut context) = self.0.parts(context, -1, &NO_HEADERS);
        processor.init(&mut context)
    }

    fn punctuate(&mut self, schedule: u64, timestamp_ms: i64, context: &mut Context) -> Result<()> {
        let (processor, mut context) = self.0.parts(context, timestamp_ms, &NO_HEADERS);
        let mut context = FixedKeyContext {
            inner: &mut context,
        };
        processor.punctuate(Schedule(schedule), timestamp_ms, &mut context)
    }

    fn is_ready(&mut self) -> bool {
        self.0.processor.is_ready()
    }

    fn pending_offset(&self, topic: &str, partition: i32) -> Option<i64> {
        self.0.processor.pending_offset(topic, partition)
    }

    fn close(&mut self) {
        self.0.processor.close();
    }
}
