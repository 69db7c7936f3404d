//! The sink against a carbon that dies, comes back, hangs or never was.

use super::*;
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::AtomicBool;

/// Waits for something to become true, for at most 20 s.
#[track_caller]
fn wait_until(what: &str, mut is_true: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(20);
    while !is_true() {
        assert!(Instant::now() < end, "waited too long for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A carbon that, like the real one, can forget what it got shortly before it stops.
struct Carbon {
    address: SocketAddr,
    got: Arc<Mutex<Vec<(Instant, String)>>>,
    connections: Arc<Mutex<Vec<TcpStream>>>,
    stopping: Arc<AtomicBool>,
    acceptor: Option<JoinHandle<()>>,
}

impl Carbon {
    fn start(port: u16) -> Self {
        // The port of a carbon that just stopped may be in use for another moment.
        let mut bound = None;
        wait_until("the port", || {
            bound = TcpListener::bind(("127.0.0.1", port)).ok();
            bound.is_some()
        });
        let listener = bound.unwrap();
        let address = listener.local_addr().unwrap();
        let got: Arc<Mutex<Vec<(Instant, String)>>> = Arc::default();
        let connections: Arc<Mutex<Vec<TcpStream>>> = Arc::default();
        let stopping = Arc::new(AtomicBool::new(false));
        let acceptor = std::thread::spawn({
            let (got, connections, stopping) = (got.clone(), connections.clone(), stopping.clone());
            move || {
                for stream in listener.incoming() {
                    if stopping.load(Ordering::Relaxed) {
                        return;
                    }
                    let stream = stream.unwrap();
                    connections
                        .lock()
                        .unwrap()
                        .push(stream.try_clone().unwrap());
                    let got = got.clone();
                    std::thread::spawn(move || {
                        for line in BufReader::new(&stream).lines().map_while(Result::ok) {
                            got.lock().unwrap().push((Instant::now(), line));
                        }
                        // As carbon does when the other side has nothing more to say.
                        let _ = stream.shutdown(std::net::Shutdown::Both);
                    });
                }
            }
        });
        Carbon {
            address,
            got,
            connections,
            stopping,
            acceptor: Some(acceptor),
        }
    }

    fn lines(&self) -> Vec<String> {
        let got = self.got.lock().unwrap();
        got.iter().map(|(_, line)| line.clone()).collect()
    }

    /// Ends all connections and returns what reached the disk.
    fn stop(mut self, forgets: Duration) -> Vec<String> {
        self.stopping.store(true, Ordering::Relaxed);
        let _wakes_the_acceptor = TcpStream::connect(self.address);
        self.acceptor.take().unwrap().join().unwrap();
        for connection in self.connections.lock().unwrap().iter() {
            // It may have been closed from the other side.
            let _ = connection.shutdown(std::net::Shutdown::Both);
        }
        let kept = Instant::now() - forgets;
        let got = self.got.lock().unwrap();
        got.iter()
            .filter(|(at, _)| *at <= kept)
            .map(|(_, line)| line.clone())
            .collect()
    }
}

fn settings(port: u16) -> SinkSettings {
    SinkSettings {
        settle: Duration::from_millis(400),
        linger: Duration::from_millis(5),
        timeout: Duration::from_millis(500),
        ..SinkSettings::new(&format!("127.0.0.1:{port}"))
    }
}

fn push(sink: &GraphiteSink, offset: i64) {
    let point = Point::new("weather.mosbach.tempAvg", 1.5, offset).unwrap();
    sink.push(&point, "weather", 0, offset);
}

fn line(offset: i64) -> String {
    format!("weather.mosbach.tempAvg 1.5 {offset}")
}

#[test]
fn points_arrive_in_order_and_settle() {
    let carbon = Carbon::start(0);
    let sink = GraphiteSink::start(settings(carbon.address.port()));
    for offset in 0..100 {
        push(&sink, offset);
    }
    wait_until("the lines", || carbon.lines().len() == 100);
    assert_eq!(carbon.lines(), (0..100).map(line).collect::<Vec<_>>());
    wait_until("settling", || sink.oldest_pending("weather", 0).is_none());
    let expected = SinkCounts {
        pushed: 100,
        written: 100,
        replayed: 0,
        settled: 100,
        connections: 1,
    };
    assert_eq!(sink.counts(), expected);
    assert_eq!(sink.oldest_pending("other", 0), None);
}

#[test]
fn a_carbon_that_restarts_in_the_middle_loses_nothing() {
    let carbon = Carbon::start(0);
    let port = carbon.address.port();
    let sink = GraphiteSink::start(settings(port));
    let mut stored = BTreeSet::new();
    let mut carbon = Some(carbon);
    for offset in 0..800 {
        push(&sink, offset);
        std::thread::sleep(Duration::from_millis(1));
        if offset == 300 || offset == 600 {
            // Like the real one it loses its last moments; half the settling time here.
            stored.extend(carbon.take().unwrap().stop(Duration::from_millis(200)));
            assert!(sink.oldest_pending("weather", 0).is_some());
        }
        if offset == 400 || offset == 650 {
            carbon = Some(Carbon::start(port));
        }
    }
    wait_until("settling", || sink.oldest_pending("weather", 0).is_none());
    stored.extend(carbon.unwrap().stop(Duration::ZERO));
    assert_eq!(stored, (0..800).map(line).collect());
    let counts = sink.counts();
    assert_eq!((counts.pushed, counts.settled), (800, 800));
    assert!(counts.replayed > 0 && counts.connections >= 3, "{counts:?}");
}

#[test]
fn no_offset_is_released_before_its_point_is_safe() {
    let carbon = Carbon::start(0);
    let sink = GraphiteSink::start(SinkSettings {
        settle: Duration::from_secs(3600),
        ..settings(carbon.address.port())
    });
    push(&sink, 5);
    push(&sink, 6);
    wait_until("the lines", || carbon.lines().len() == 2);
    assert_eq!(sink.oldest_pending("weather", 0), Some(5));
    sink.restart("weather", 0);
    assert_eq!(sink.oldest_pending("weather", 0), None);
}

#[test]
fn closing_sends_the_rest_and_waits_for_carbon_to_read_it() {
    let carbon = Carbon::start(0);
    let sink = GraphiteSink::start(SinkSettings {
        linger: Duration::from_secs(3600),
        ..settings(carbon.address.port())
    });
    for offset in 0..10 {
        push(&sink, offset);
    }
    sink.close().unwrap();
    assert_eq!(carbon.lines().len(), 10);
}

#[test]
fn a_graphite_that_stays_away_is_a_failure_that_names_it() {
    let carbon = Carbon::start(0);
    let port = carbon.address.port();
    carbon.stop(Duration::ZERO);
    let sink = GraphiteSink::start(SinkSettings {
        outage_max: Duration::from_millis(300),
        ..settings(port)
    });
    push(&sink, 0);
    wait_until("giving up", || sink.failure().is_some());
    let message = sink.failure().unwrap().to_string();
    assert!(message.contains(&format!("127.0.0.1:{port}")), "{message}");
    assert!(message.contains("GRAPHITE_HOST"), "{message}");
    assert_eq!(sink.oldest_pending("weather", 0), Some(0));
    assert!(sink.close().is_err());
}

#[test]
fn a_carbon_that_reads_nothing_does_not_hang_the_sink_and_fills_the_buffer() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let sink = GraphiteSink::start(SinkSettings {
        buffer_bytes_max: 1_000_000,
        ..settings(listener.local_addr().unwrap().port())
    });
    // More than the kernel's buffers take for the other side.
    let mut offset = 0;
    while sink.counts().connections < 2 {
        if sink.has_room() || offset < 400_000 {
            push(&sink, offset);
            offset += 1;
        } else {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
    assert!(!sink.has_room());
    assert_eq!(sink.oldest_pending("weather", 0), Some(0));
}
