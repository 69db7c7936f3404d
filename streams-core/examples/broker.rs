//! The embedded broker by itself: `./dev broker --port 9092 [--directory DIR]`.

use std::error::Error;
use std::path::PathBuf;
use streams_core::embedded::EmbeddedBroker;

const USAGE: &str = "usage: broker [--port PORT] [--directory DIR]

  --port PORT      the port to listen on, on loopback (default 9092; 0 takes a free one)
  --directory DIR  keep topics and offsets there; without it everything is gone at the end";

struct Arguments {
    port: u16,
    directory: Option<PathBuf>,
}

fn parse(mut words: impl Iterator<Item = String>) -> Result<Arguments, String> {
    let mut arguments = Arguments {
        port: 9092,
        directory: None,
    };
    while let Some(word) = words.next() {
        let value = words
            .next()
            .ok_or_else(|| format!("{word} needs a value\n\n{USAGE}"));
        match word.as_str() {
            "--port" => {
                let value = value?;
                arguments.port = value
                    .parse()
                    .map_err(|_| format!("'{value}' is no port number\n\n{USAGE}"))?;
            }
            "--directory" => arguments.directory = Some(value?.into()),
            _ => return Err(format!("unknown argument '{word}'\n\n{USAGE}")),
        }
    }
    Ok(arguments)
}

fn main() -> Result<(), Box<dyn Error>> {
    if std::env::args().any(|word| word == "--help" || word == "-h") {
        println!("{USAGE}");
        return Ok(());
    }
    let arguments = match parse(std::env::args().skip(1)) {
        Ok(arguments) => arguments,
        Err(message) => {
            eprintln!("{message}");
            std::process::exit(2);
        }
    };
    let mut builder = EmbeddedBroker::builder().port(arguments.port);
    let kept = match &arguments.directory {
        Some(directory) => {
            builder = builder.directory(directory);
            format!("everything is kept in {}", directory.display())
        }
        None => String::from("nothing is kept: give --directory to keep it"),
    };
    let broker = builder.start()?;
    println!(
        "broker ready at {} ({kept}); Ctrl-C ends it",
        broker.bootstrap_servers()
    );
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(wait_for_signal())?;
    broker.shutdown();
    Ok(())
}

/// Until SIGINT or SIGTERM.
async fn wait_for_signal() -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut interrupted = signal(SignalKind::interrupt())?;
    let mut terminated = signal(SignalKind::terminate())?;
    tokio::select! {
        _ = interrupted.recv() => {}
        _ = terminated.recv() => {}
    }
    Ok(())
}
