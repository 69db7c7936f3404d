//! What befalls apps and brokers: when, which and for how long is the seed's decision, as far as the cluster allows it.

use std::collections::VecDeque;
use std::fmt;
use std::time::{Duration, Instant};

use rdkafka::consumer::BaseConsumer;

use crate::apps::{APP_COUNT, App};
use crate::clients::all_copies_are_in_step;
use crate::random::Random;
use crate::support::cluster::{BROKER_COUNT, Cluster};

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// How long an app may take to stop in order.
const STOP_MAX: Duration = seconds(40);
/// How many apps may end by themselves before there is no point in going on.
const ENDED_MAX: usize = 10;
/// How often the brokers are asked whether they could lose one.
const ASK_INTERVAL: Duration = Duration::from_millis(500);

/// Kinds of faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    AppKilled,
    AppPaused,
    AppRestarted,
    BrokerKilled,
    BrokerPaused,
    BrokerRestarted,
}

/// All of them.
pub const KINDS: [Kind; 6] = [
    Kind::AppKilled,
    Kind::AppPaused,
    Kind::AppRestarted,
    Kind::BrokerKilled,
    Kind::BrokerPaused,
    Kind::BrokerRestarted,
];

impl Kind {
    fn is_of_app(self) -> bool {
        matches!(self, Kind::AppKilled | Kind::AppPaused | Kind::AppRestarted)
    }

    fn signal(self) -> &'static str {
        match self {
            Kind::AppKilled | Kind::BrokerKilled => "KILL",
            Kind::AppPaused | Kind::BrokerPaused => "STOP",
            Kind::AppRestarted | Kind::BrokerRestarted => "TERM",
        }
    }

    /// How long it lasts, at least and at most. An app is paused for longer than its session lasts, and often for longer than
    /// its transaction may; a broker for longer than the controllers wait for it.
    fn duration(self) -> (Duration, Duration) {
        match self {
            Kind::AppKilled | Kind::AppRestarted => (Duration::ZERO, seconds(8)),
            Kind::AppPaused => (seconds(11), seconds(20)),
            Kind::BrokerKilled | Kind::BrokerRestarted => (Duration::ZERO, seconds(10)),
            Kind::BrokerPaused => (seconds(7), seconds(14)),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Kind::AppKilled => "app killed",
            Kind::AppPaused => "app paused",
            Kind::AppRestarted => "app restarted",
            Kind::BrokerKilled => "broker killed",
            Kind::BrokerPaused => "broker paused",
            Kind::BrokerRestarted => "broker restarted",
        })
    }
}

/// A fault that was.
#[derive(Clone, Copy)]
pub struct Fault {
    pub kind: Kind,
    pub at: Instant,
}

/// A fault that is to be made good.
struct Repair {
    kind: Kind,
    /// Which app or broker, from 0.
    target: usize,
    at: Instant,
}

/// Apps and brokers, and what befell them.
pub struct Faults<'a> {
    pub cluster: &'a mut Cluster,
    pub apps: &'a mut [App],
    pub history: Vec<Fault>,
    /// Apps that ended without being asked to.
    pub ended_by_themselves: usize,
    asking: &'a BaseConsumer,
    random: Random,
    to_come: VecDeque<Kind>,
    repairs: Vec<Repair>,
    pub started: Instant,
    next_at: Instant,
    asked_at: Instant,
}

impl<'a> Faults<'a> {
    /// Nothing yet.
    pub fn new(
        cluster: &'a mut Cluster,
        apps: &'a mut [App],
        asking: &'a BaseConsumer,
        random: Random,
    ) -> Faults<'a> {
        let now = Instant::now();
        Faults {
            cluster,
            apps,
            history: Vec::new(),
            ended_by_themselves: 0,
            asking,
            random,
            to_come: VecDeque::new(),
            repairs: Vec::new(),
            started: now,
            next_at: now + seconds(2),
            asked_at: now,
        }
    }

    /// Does what is due: makes faults good, and makes new ones as long as `is_on`.
    pub fn turn(&mut self, is_on: bool) {
        self.watch_apps();
        let now = Instant::now();
        let (due, later) = std::mem::take(&mut self.repairs)
            .into_iter()
            .partition(|repair| repair.at <= now);
        self.repairs = later;
        let due: Vec<Repair> = due;
        for repair in due {
            self.repair(repair);
        }
        if is_on && now >= self.next_at {
            self.inject();
        }
    }

    /// Whether everything has been made good.
    pub fn is_over(&self) -> bool {
        self.repairs.is_empty()
    }

    fn is_hit(&self, of_app: bool, target: usize) -> bool {
        self.repairs
            .iter()
            .any(|repair| repair.kind.is_of_app() == of_app && repair.target == target)
    }

    fn inject(&mut self) {
        if self.to_come.is_empty() {
            self.to_come = self.random.shuffled(KINDS.to_vec()).into();
        }
        let Some(&kind) = self.to_come.front() else {
            return;
        };
        let of_app = kind.is_of_app();
        let (count, hit_max) = if of_app {
            (APP_COUNT, APP_COUNT - 1)
        } else {
            (BROKER_COUNT, 1)
        };
        let free: Vec<usize> = (0..count)
            .filter(|&target| !self.is_hit(of_app, target))
            .collect();
        if count - free.len() >= hit_max {
            return;
        }
        if !of_app {
            if self.asked_at.elapsed() < ASK_INTERVAL {
                return;
            }
            self.asked_at = Instant::now();
            if !all_copies_are_in_step(self.asking) {
                return;
            }
        }
        self.to_come.pop_front();
        let target = free[self.random.below(free.len())];
        let now = Instant::now();
        let (least, most) = kind.duration();
        let lasts = self.random.between(least, most);
        self.next_at = now + self.random.between(seconds(1), seconds(9));
        self.say(format_args!(
            "{} {} {} for {:.1} s",
            if of_app { "app" } else { "broker" },
            target + 1,
            kind.to_string().split(' ').next_back().unwrap_or_default(),
            lasts.as_secs_f64()
        ));
        if of_app {
            self.apps[target].signal(kind.signal());
        } else {
            self.cluster.signal(target, kind.signal());
        }
        self.history.push(Fault { kind, at: now });
        self.repairs.push(Repair {
            kind,
            target,
            at: now + lasts,
        });
    }

    fn repair(&mut self, repair: Repair) {
        let target = repair.target;
        match repair.kind {
            Kind::AppPaused => self.apps[target].signal("CONT"),
            Kind::BrokerPaused => self.cluster.signal(target, "CONT"),
            Kind::AppKilled | Kind::AppRestarted => {
                let Some(code) = self.apps[target].exit_code() else {
                    assert!(
                        repair.at.elapsed() < STOP_MAX,
                        "app {} does not stop; its log is {}",
                        target + 1,
                        self.apps[target].log().display()
                    );
                    self.repairs.push(repair);
                    return;
                };
                let is_in_order = self.apps[target].has_stopped_in_order(code);
                if repair.kind == Kind::AppRestarted && !is_in_order {
                    self.ended_by_themselves += 1;
                    println!("{}", self.apps[target].last_words(code));
                }
                self.apps[target].start();
            }
            Kind::BrokerKilled | Kind::BrokerRestarted => {
                if !self.cluster.has_ended(target) {
                    self.repairs.push(repair);
                    return;
                }
                self.cluster.launch(target);
            }
        }
    }

    /// An app that ends without being asked to is a failure; it is started again to see what else there is.
    fn watch_apps(&mut self) {
        for index in 0..self.apps.len() {
            if self.is_hit(true, index) {
                continue;
            }
            if let Some(code) = self.apps[index].exit_code() {
                self.ended_by_themselves += 1;
                self.say(self.apps[index].last_words(code));
                assert!(
                    self.ended_by_themselves < ENDED_MAX,
                    "the application does not stay up"
                );
                self.apps[index].start();
            }
        }
        for broker in 0..BROKER_COUNT {
            assert!(
                self.is_hit(false, broker) || !self.cluster.has_ended(broker),
                "broker {} ended by itself",
                broker + 1
            );
        }
    }

    fn say(&self, what: impl fmt::Display) {
        println!("{:>7.1} s  {what}", self.started.elapsed().as_secs_f64());
    }
}
