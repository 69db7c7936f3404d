//! What is run on a cluster that fails: a repartition, a sum per account and one per account and window, a join with a table
//! and one of two streams, such that every result that may come is known from the inputs alone.
//!
//! `ledger APPLICATION-ID`; settings come from the environment. Topics: `payments` (value `ID ACCOUNT AMOUNT`), `receipts`
//! (key ID) and the table `owners` (key ACCOUNT); results: `totals`, `windows` and `settled`.

use std::env;
use std::io;
use std::process::ExitCode;
use std::time::Duration;

use streams_core::{
    Consumed, Error, JoinWindows, KafkaStreams, Materialized, Produced, Repartitioned, Result,
    StreamsBuilder, StreamsConfig, TimeWindows, Topology,
};
use tracing_subscriber::EnvFilter;

const WINDOW: Duration = Duration::from_secs(10);
/// Longer than any run: what comes late comes late because of a fault, and must count all the same.
const GRACE: Duration = Duration::from_secs(24 * 60 * 60);
const JOIN_WINDOW: Duration = Duration::from_secs(60);

fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::from_default_env())
        .with_ansi(false)
        .with_writer(io::stderr)
        .init();
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ledger: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [application_id] = &arguments[..] else {
        return Err(Error::config("usage: ledger APPLICATION-ID"));
    };
    let config = StreamsConfig::new(application_id).with_environment()?;
    KafkaStreams::new(topology()?, config)?.run_blocking()
}

fn topology() -> Result<Topology> {
    let builder = StreamsBuilder::new();
    let payments = builder.stream::<Option<String>, String>("payments", Consumed::new());
    let by_account = payments
        .select_key(|_key, payment| word(payment, 1).to_owned())
        .repartition(Repartitioned::new().named("by-account"));

    let owners =
        builder.table::<String, String>("owners", Consumed::new(), Materialized::named("owners"));
    by_account
        .group_by_key()
        .aggregate(
            String::new,
            |_account, payment, total| add(total, payment),
            Materialized::named("totals"),
        )
        .to_stream()
        .left_join(&owners, |total, owner| {
            format!("{total} {}", owner.map_or("nobody", String::as_str))
        })
        .to("totals", Produced::new());

    by_account
        .group_by_key()
        .windowed_by(TimeWindows::of_size_and_grace(WINDOW, GRACE))
        .aggregate(
            String::new,
            |_account, payment, total| add(total, payment),
            Materialized::named("windows"),
        )
        .to_stream()
        .map(|account, total| {
            let key = format!("{}@{}", account.key, account.window.start_ms);
            (key, total.clone())
        })
        .to("windows", Produced::new());

    let receipts = builder.stream::<String, String>("receipts", Consumed::new());
    payments
        .select_key(|_key, payment| word(payment, 0).to_owned())
        .join_stream(
            &receipts,
            |payment, receipt| format!("{payment} {receipt}"),
            JoinWindows::of_time_difference_and_grace(JOIN_WINDOW, GRACE),
        )
        .to("settled", Produced::new());
    builder.build()
}

/// A total is how many payments it is of, and their sum.
fn add(total: &mut String, payment: &str) {
    let (count, sum) = (number(total, 0), number(total, 1));
    *total = format!("{} {}", count + 1, sum + number(payment, 2));
}

fn word(text: &str, index: usize) -> &str {
    text.split(' ').nth(index).unwrap_or_default()
}

fn number(text: &str, index: usize) -> i64 {
    word(text, index).parse().unwrap_or(0)
}
