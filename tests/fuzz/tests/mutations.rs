//! What the fuzzer looks for at length, in short: every target with its seeds, cut, changed and put together at random.

use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use streams_core::fuzzing::targets;

const CASES: u32 = 4_000;

/// A change of some bytes.
#[derive(Clone, Debug)]
enum Mutation {
    Set(prop::sample::Index, u8),
    Flip(prop::sample::Index, u8),
    Insert(prop::sample::Index, Vec<u8>),
    Remove(prop::sample::Index, u8),
    Cut(prop::sample::Index),
}

fn mutation() -> impl Strategy<Value = Mutation> {
    let at = any::<prop::sample::Index>;
    // Lengths and times are what decoders trust: their extremes come often.
    let byte = prop_oneof![any::<u8>(), Just(0), Just(0x7f), Just(0x80), Just(0xff)];
    prop_oneof![
        (at(), byte.clone()).prop_map(|(at, byte)| Mutation::Set(at, byte)),
        (at(), 0..8_u8).prop_map(|(at, bit)| Mutation::Flip(at, bit)),
        (at(), prop::collection::vec(byte, 1..12))
            .prop_map(|(at, bytes)| Mutation::Insert(at, bytes)),
        (at(), 1..9_u8).prop_map(|(at, count)| Mutation::Remove(at, count)),
        at().prop_map(Mutation::Cut),
    ]
}

fn mutate(bytes: &mut Vec<u8>, mutation: &Mutation) {
    let at = |index: &prop::sample::Index| index.index(bytes.len() + 1);
    match mutation {
        Mutation::Set(index, byte) => {
            let at = at(index);
            if let Some(found) = bytes.get_mut(at) {
                *found = *byte;
            }
        }
        Mutation::Flip(index, bit) => {
            let at = at(index);
            if let Some(found) = bytes.get_mut(at) {
                *found ^= 1 << bit;
            }
        }
        Mutation::Insert(index, inserted) => {
            let at = at(index);
            bytes.splice(at..at, inserted.iter().copied());
        }
        Mutation::Remove(index, count) => {
            let from = at(index);
            let to = (from + usize::from(*count)).min(bytes.len());
            bytes.drain(from..to);
        }
        Mutation::Cut(index) => {
            let at = at(index);
            bytes.truncate(at);
        }
    }
}

#[test]
fn no_bytes_make_a_decoder_panic() {
    for target in targets() {
        let seeds = (target.seeds)();
        for seed in &seeds {
            // Otherwise nothing behind the first check would be tried.
            assert!((target.decode)(seed), "{} takes {seed:?}", target.name);
            for len in 0..=seed.len() {
                (target.decode)(&seed[..len]);
            }
        }
        let mutated = (
            prop::sample::select(seeds),
            prop::collection::vec(mutation(), 0..6),
        );
        let bytes = mutated.prop_map(|(mut bytes, mutations)| {
            for mutation in &mutations {
                mutate(&mut bytes, mutation);
            }
            bytes
        });
        let config = Config {
            cases: CASES,
            failure_persistence: None,
            ..Config::default()
        };
        let random = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
        let checked = TestRunner::new_with_rng(config, random).run(&bytes, |bytes| {
            (target.decode)(&bytes);
            Ok(())
        });
        if let Err(error) = checked {
            panic!("{}: {error}", target.name);
        }
    }
}
