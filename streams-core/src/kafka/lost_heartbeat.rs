//! What the answer to a heartbeat said is told again when the answer was lost.

use crate::embedded::EmbeddedBroker;
use crate::kafka::{KafkaBroker, KafkaConsumer, KafkaSettings};
use crate::record::TopicPartition;
use crate::runtime::broker::{Broker, ConsumerOptions, GroupConsumer, GroupEvent, NewTopic};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

const TIMEOUT: Duration = Duration::from_secs(30);
const VICTIM: &str = "victim";
/// `ConsumerGroupHeartbeat`, as a request has it behind its length.
const HEARTBEAT: [u8; 2] = [0, 68];

/// Takes connections to a broker, and keeps one answer to one client's heartbeats for itself: the first that is longer than
/// the one before it, since it has partitions in it.
#[derive(Default)]
struct Proxy {
    last_len: AtomicUsize,
    has_kept: AtomicBool,
}

impl Proxy {
    fn start(listener: TcpListener, broker: String) -> Arc<Proxy> {
        let proxy = Arc::new(Proxy::default());
        let shared = proxy.clone();
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let broker = TcpStream::connect(&broker).unwrap();
                shared.pass(client, broker);
            }
        });
        proxy
    }

    fn pass(self: &Arc<Self>, client: TcpStream, broker: TcpStream) {
        let (from_client, from_broker) = (client.try_clone().unwrap(), broker.try_clone().unwrap());
        // The number of the victim's last heartbeat, which its answer has too.
        let heartbeat = Arc::new(Mutex::new(None));
        let asked = heartbeat.clone();
        thread::spawn(move || {
            copy(from_client, broker, |request| {
                let is_of_victim = |bytes: &[u8]| bytes == VICTIM.as_bytes();
                if request.get(4..6) == Some(&HEARTBEAT)
                    && request.windows(VICTIM.len()).any(is_of_victim)
                {
                    *asked.lock().unwrap() = request.get(8..12).map(<[u8]>::to_vec);
                }
                true
            });
        });
        let shared = self.clone();
        thread::spawn(move || {
            copy(from_broker, client, |answer| {
                if answer.get(4..8) != heartbeat.lock().unwrap().as_deref() {
                    return true;
                }
                let last_len = shared.last_len.swap(answer.len(), Ordering::Relaxed);
                let is_news = last_len > 0 && answer.len() > last_len;
                let keeps = is_news && !shared.has_kept.swap(true, Ordering::Relaxed);
                !keeps
            });
        });
    }
}

/// Copies messages, each behind its length, that `passes` lets through, until one side has ended.
fn copy(mut from: TcpStream, mut to: TcpStream, passes: impl Fn(&[u8]) -> bool) {
    let mut message = vec![0; 4];
    while from.read_exact(&mut message[..4]).is_ok() {
        let len = u32::from_be_bytes(message[..4].try_into().unwrap());
        message.resize(4 + len as usize, 0);
        if from.read_exact(&mut message[4..]).is_err()
            || (passes(&message) && to.write_all(&message).is_err())
        {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
}

fn next_event(consumer: &mut KafkaConsumer, until: Instant) -> Option<GroupEvent> {
    while Instant::now() < until {
        let event = consumer.poll(Duration::from_millis(20), 0, &mut Vec::new());
        if let Some(event) = event.unwrap() {
            return Some(event);
        }
    }
    None
}

/// Does what the group says until `is_done`.
fn follow(
    consumers: &mut [(KafkaConsumer, BTreeSet<TopicPartition>)],
    until: Instant,
    is_done: impl Fn(&[(KafkaConsumer, BTreeSet<TopicPartition>)]) -> bool,
) {
    while !is_done(consumers) {
        assert!(Instant::now() < until);
        for (consumer, had) in &mut *consumers {
            let soon = Instant::now() + Duration::from_millis(50);
            match next_event(consumer, soon) {
                Some(GroupEvent::Assigned(partitions)) => {
                    consumer.accept(&partitions).unwrap();
                    had.extend(partitions);
                }
                Some(GroupEvent::Revoked(partitions)) => {
                    consumer.release(&partitions).unwrap();
                    had.retain(|each| !partitions.contains(each));
                }
                None => {}
                Some(event) => panic!("{event:?}"),
            }
        }
    }
}

#[test]
fn a_partition_is_given_back_although_the_answer_that_asked_for_it_was_lost() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let cluster = EmbeddedBroker::builder()
        .advertised_port(address.port())
        .start()
        .unwrap();
    let proxy = Proxy::start(listener, cluster.bootstrap_servers());
    let mut settings = KafkaSettings::default();
    for (name, value) in [
        ("bootstrap.servers", address.to_string().as_str()),
        ("group.protocol", "consumer"),
    ] {
        settings.common.insert(name.into(), value.into());
    }
    let broker = KafkaBroker::new(settings).unwrap();
    let topic = NewTopic {
        name: "t".into(),
        partition_count: 2,
        replication_factor: 1,
        config: BTreeMap::new(),
    };
    broker.create_topics(&[topic], TIMEOUT).unwrap();
    let join = |client_id: &str| {
        let options = ConsumerOptions {
            group_id: "g".into(),
            client_id: client_id.into(),
            instance_id: None,
            auto_offset_reset: "none".into(),
        };
        let mut consumer = broker.consumer(&options).unwrap();
        consumer.subscribe(&["t"]).unwrap();
        (consumer, BTreeSet::new())
    };
    let until = Instant::now() + TIMEOUT;
    let mut members = vec![join(VICTIM)];
    follow(&mut members, until, |members| members[0].1.len() == 2);
    members.push(join("second"));
    // The victim is to give one back, and does not hear of it.
    follow(&mut members, until, |members| {
        members.iter().all(|(_, had)| had.len() == 1)
    });
    assert!(proxy.has_kept.load(Ordering::Relaxed));
    assert!(members[0].1.is_disjoint(&members[1].1));
}
