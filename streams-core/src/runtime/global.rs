//! Global tables: read to their end before any stream thread starts, kept up by one thread from then on.

use crate::error::{Error, ErrorKind, Result};
use crate::exception_handlers::ExceptionHandlers;
use crate::record::TopicPartition;
use crate::runtime::broker::{Broker, Input, InputSlot, LogReader, StartOffset};
use crate::runtime::lifecycle::Lifecycle;
use crate::task::GlobalStores;
use crate::task::global_updates::GlobalUpdates;
use crate::topology::Topology;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};
use streams_state::{StoreResources, TaskStores};

const RECORDS_PER_POLL_MAX: usize = 8192;
const PROGRESS_INTERVAL: Duration = Duration::from_secs(10);
const RETRY_INTERVAL: Duration = Duration::from_millis(500);

/// What the thread of the global tables needs.
pub(crate) struct GlobalContext<B> {
    pub(crate) broker: Arc<B>,
    pub(crate) topology: Topology,
    pub(crate) application_id: Arc<str>,
    pub(crate) client_id: String,
    /// Where the tables live, `None` for in memory.
    pub(crate) directory: Option<PathBuf>,
    pub(crate) resources: StoreResources,
    pub(crate) handlers: ExceptionHandlers,
    /// The partition count of each global topic.
    pub(crate) partition_counts: BTreeMap<String, i32>,
    pub(crate) request_timeout: Duration,
    /// How long the brokers may go on without an answer.
    pub(crate) task_timeout: Duration,
    pub(crate) poll_interval: Duration,
    pub(crate) lifecycle: Arc<Lifecycle>,
}

/// One partition of a global topic.
struct GlobalInput {
    store: usize,
    partition: TopicPartition,
    slot: InputSlot,
    /// Where the table is complete enough for tasks to start.
    end: i64,
    /// The next offset to apply.
    position: i64,
}

/// Opens the tables, reads them to their end, hands them over through `ready` and keeps them up until the application stops.
pub(crate) fn run<B: Broker>(
    context: &GlobalContext<B>,
    ready: &Sender<Arc<GlobalStores>>,
) -> Result<()> {
    let Some((mut reader, stores, mut inputs)) = open(context)? else {
        return Ok(());
    };
    let mut updates = GlobalUpdates::new(
        &context.topology,
        &context.application_id,
        &context.handlers,
    )?;
    let started = Instant::now();
    let mut failing_since: Option<Instant> = None;
    let mut records = Vec::new();
    let mut progress_at = started;
    let mut restored: u64 = 0;
    let mut restoring = true;
    while !context.lifecycle.is_stopping() {
        if restoring && inputs.iter().all(|input| input.position >= input.end) {
            let seconds = started.elapsed().as_secs_f64();
            tracing::info!(records = restored, seconds, "global tables are complete");
            restoring = false;
            // Nobody waits any more when the application stops meanwhile; the loop sees that.
            let _ = ready.send(Arc::clone(&stores));
        }
        if restoring && progress_at.elapsed() > PROGRESS_INTERVAL {
            progress_at = Instant::now();
            let remaining: i64 = inputs.iter().map(|i| (i.end - i.position).max(0)).sum();
            tracing::info!(records = restored, remaining, "reading global tables");
        }
        match reader.poll(context.poll_interval, RECORDS_PER_POLL_MAX, &mut records) {
            Ok(()) => failing_since = None,
            Err(error) if error.is_retriable() => {
                let since = *failing_since.get_or_insert_with(Instant::now);
                retry_or_fail(context, since, error)?;
            }
            Err(error) if error.kind() == ErrorKind::Data => {
                return Err(error.context(
                    "a global topic was shortened while it was read; start again, its table is then read anew",
                ));
            }
            Err(error) => return Err(error.context("reading global tables")),
        }
        restored += records.len() as u64;
        apply(&stores, &mut updates, &mut inputs, &mut records, restoring)?;
        if restoring {
            // The last offsets of a topic may hold no records: transaction markers, compacted ones.
            for input in inputs.iter_mut().filter(|input| input.position < input.end) {
                if let Some(position) = reader.position(&input.partition)
                    && position >= input.end
                {
                    input.position = position;
                }
            }
        }
    }
    stores.close()
}

fn apply<R: crate::record::FetchedRecord>(
    stores: &GlobalStores,
    updates: &mut GlobalUpdates,
    inputs: &mut [GlobalInput],
    records: &mut Vec<(InputSlot, R)>,
    restoring: bool,
) -> Result<()> {
    let mut by_input: BTreeMap<InputSlot, Vec<R>> = BTreeMap::new();
    for (slot, record) in records.drain(..) {
        by_input.entry(slot).or_default().push(record);
    }
    for (slot, records) in by_input {
        let Some(input) = inputs.iter_mut().find(|input| input.slot == slot) else {
            continue;
        };
        let Some(last) = records.last() else { continue };
        let next = last.offset() + 1;
        stores
            .apply(
                updates,
                input.store,
                input.partition.partition,
                &records,
                next,
                restoring,
            )
            .map_err(|error| error.context(format!("global topic {}", input.partition)))?;
        input.position = next;
    }
    Ok(())
}

/// Waits a moment after a question the brokers did not answer; the error when they have not answered since `since`, for
/// longer than `task.timeout.ms`.
fn retry_or_fail<B: Broker>(
    context: &GlobalContext<B>,
    since: Instant,
    error: Error,
) -> Result<()> {
    if since.elapsed() > context.task_timeout {
        return Err(error.context(format_args!(
            "global tables have waited for the brokers for {} s (task.timeout.ms)",
            since.elapsed().as_secs()
        )));
    }
    tracing::warn!(%error, "global tables wait for the brokers");
    context.lifecycle.wait_for_stop(RETRY_INTERVAL);
    Ok(())
}

/// The ends of partitions, asked for as long as `task.timeout.ms` allows; `None` when the application is to stop meanwhile.
fn bounds<B: Broker>(
    context: &GlobalContext<B>,
    reader: &mut B::Reader,
    partitions: &[TopicPartition],
) -> Result<Option<Vec<(i64, i64)>>> {
    let since = Instant::now();
    while !context.lifecycle.is_stopping() {
        match reader.offsets(partitions, context.request_timeout) {
            Ok(bounds) => return Ok(Some(bounds)),
            Err(error) if error.is_retriable() => retry_or_fail(context, since, error)?,
            Err(error) => return Err(error.context("looking up the ends of global topics")),
        }
    }
    Ok(None)
}

/// What the thread of the global tables works with.
type OpenGlobals<B> = (<B as Broker>::Reader, Arc<GlobalStores>, Vec<GlobalInput>);

/// Opens the tables and starts to read behind what they hold; a table whose position is gone from its topic is read anew.
/// `None` when the application is to stop before the brokers say where the topics end.
fn open<B: Broker>(context: &GlobalContext<B>) -> Result<Option<OpenGlobals<B>>> {
    let mut reader = context.broker.global_reader(&context.client_id)?;
    let directory = context.directory.as_deref();
    let mut partitions = Vec::new();
    for (store, global) in context.topology.global_stores().iter().enumerate() {
        let topic = global.topic.to_string();
        let count = context.partition_counts.get(&topic).copied().unwrap_or(0);
        partitions.extend((0..count).map(|p| (store, TopicPartition::new(topic.clone(), p))));
    }
    let topics: Vec<TopicPartition> = partitions.iter().map(|(_, p)| p.clone()).collect();
    let Some(bounds) = bounds(context, &mut reader, &topics)? else {
        return Ok(None);
    };

    let open_stores = || {
        GlobalStores::open(
            &context.topology,
            directory,
            &context.resources,
            &context.handlers,
        )
    };
    let positions = |stores: &GlobalStores| -> Result<Vec<Option<i64>>> {
        let of = |(store, p): &(usize, TopicPartition)| stores.position(*store, p.partition);
        partitions.iter().map(of).collect()
    };
    let mut stores = open_stores()?;
    let mut known = positions(&stores)?;
    let gone = known
        .iter()
        .zip(&bounds)
        .position(|(known, (first, end))| known.is_some_and(|p| p < *first || p > *end));
    if let Some(gone) = gone {
        tracing::warn!(partition = %partitions[gone].1, "the topic no longer holds what the global table on disk continues from; reading global tables anew");
        stores.close()?;
        drop(stores);
        wipe(directory, &context.resources)?;
        stores = open_stores()?;
        known = positions(&stores)?;
    }
    let inputs: Vec<GlobalInput> = partitions
        .into_iter()
        .zip(bounds)
        .zip(known)
        .zip(0..)
        .map(
            |((((store, partition), (first, end)), known), slot)| GlobalInput {
                position: known.unwrap_or(first),
                store,
                partition,
                slot: InputSlot(slot),
                end,
            },
        )
        .collect();
    let added: Vec<Input> = inputs
        .iter()
        .map(|input| Input {
            partition: input.partition.clone(),
            slot: input.slot,
            offset: StartOffset::At(input.position),
        })
        .collect();
    reader.add_inputs(&added)?;
    Ok(Some((reader, stores, inputs)))
}

fn wipe(directory: Option<&Path>, resources: &StoreResources) -> Result<()> {
    match directory {
        Some(directory) => TaskStores::wipe(directory, resources).map_err(Error::from),
        None => Ok(()),
    }
}
