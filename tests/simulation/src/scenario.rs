//! What a seed stands for: a topology, its input, how many instances of how many threads run it, and under which guarantee.

use crate::counts::counts_of_words;
use crate::expect::{Check, Strictness};
use crate::join::stream_with_table;
use crate::windows::counts_in_windows;
use streams_core::Error;
use streams_core::simulation::{PlantedBug, Random, Run, Simulation};

/// An application, its input, and what it must come to.
pub struct Scenario {
    name: String,
    simulation: Simulation,
    check: Check,
}

/// What came of a seed.
pub struct Outcome {
    /// The scenario, in words.
    pub name: String,
    /// What happened.
    pub run: Run,
    /// What was wrong, if anything was.
    pub violation: Option<String>,
}

impl Scenario {
    /// The scenario of a seed.
    ///
    /// # Errors
    /// When its topology or configuration cannot be built, which is a mistake in here.
    pub fn of_seed(seed: u64) -> Result<Scenario, Error> {
        let mut random = Random::new(seed ^ 0x5ce7_a210);
        let exactly_once = random.below(4) > 0;
        // A cache leaves results out, so nobody could tell whether one is lost.
        let is_cached = exactly_once && random.below(3) == 0;
        let strictness = match (exactly_once, is_cached) {
            (false, _) => Strictness::AtLeastOnce,
            (true, false) => Strictness::Every,
            (true, true) => Strictness::Latest,
        };
        let (workload, (simulation, check)) = match random.below(3) {
            0 => ("counts", counts_of_words(&mut random, strictness)?),
            1 => ("windows", counts_in_windows(&mut random, strictness)?),
            _ => ("join", stream_with_table(&mut random, strictness)?),
        };
        let instances = random.between(1, 3) as usize;
        let threads = random.between(1, 2);
        let guarantee = if exactly_once {
            "exactly_once_v2"
        } else {
            "at_least_once"
        };
        let is_in_memory = random.below(5) == 0;
        let standbys = if instances > 1 { random.below(2) } else { 0 };
        let protocol = *random.pick(&["classic", "consumer"]);
        // The changelogs are short.
        let acceptable_lag = *random.pick(&[0, 3, 20, 10_000]);
        let name = format!(
            "{workload}, {guarantee}, {protocol}, {instances} instances of {threads} threads, {standbys} standby replicas{}{}",
            if is_cached { ", cached" } else { "" },
            if is_in_memory { ", in memory" } else { "" }
        );
        let cache_bytes = if is_cached { 1_000_000 } else { 0 };
        let simulation = simulation
            .set("processing.guarantee", guarantee)?
            .set("group.protocol", protocol)?
            .set("num.stream.threads", threads)?
            .set("num.standby.replicas", standbys)?
            .set("acceptable.recovery.lag", acceptable_lag)?
            .set("max.warmup.replicas", random.between(1, 2))?
            .set("statestore.cache.max.bytes", cache_bytes)?
            .set(
                "default.dsl.store",
                if is_in_memory { "in_memory" } else { "rocksDB" },
            )?
            .instances(instances);
        Ok(Scenario {
            name,
            simulation,
            check,
        })
    }

    fn run(self, seed: u64) -> Outcome {
        let run = self.simulation.run(seed);
        let violation = match run.violation() {
            Some(violation) => Some(violation.to_owned()),
            None => (self.check)(&run).err(),
        };
        Outcome {
            name: self.name,
            run,
            violation,
        }
    }
}

/// Runs the scenario of a seed. One that fails is run again with a trace.
///
/// # Panics
/// When the scenario cannot be built.
pub fn check(seed: u64) -> Outcome {
    check_with(seed, false, None)
}

/// The same with a trace in any case, and with a bug.
///
/// # Panics
/// When the scenario cannot be built.
pub fn check_with(seed: u64, is_traced: bool, bug: Option<PlantedBug>) -> Outcome {
    let scenario = |is_traced: bool| {
        let mut scenario = Scenario::of_seed(seed).expect("scenarios can be built");
        if let Some(bug) = bug {
            scenario.simulation = scenario.simulation.plant(bug);
        }
        if is_traced {
            scenario.simulation = scenario.simulation.traced();
        }
        scenario
    };
    let outcome = scenario(is_traced).run(seed);
    if is_traced || outcome.violation.is_none() {
        return outcome;
    }
    let traced = scenario(true).run(seed);
    assert_eq!(
        traced.violation, outcome.violation,
        "seed {seed} does not do the same twice"
    );
    traced
}

/// The first of these seeds that finds a planted bug.
pub fn search(bug: PlantedBug, seeds: std::ops::Range<u64>) -> Option<(u64, String)> {
    seeds.into_iter().find_map(|seed| {
        let outcome = check_with(seed, false, Some(bug));
        outcome.violation.map(|violation| (seed, violation))
    })
}
