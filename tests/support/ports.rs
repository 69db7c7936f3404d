//! Free ports on loopback.

use std::hash::{BuildHasher, RandomState};
use std::net::{Ipv4Addr, TcpListener};

/// Below the range from which Linux takes ports for outgoing connections (32768 and up), so that no client
/// takes one between finding it and using it, nor while a broker that will return to it is down.
const RANGE: std::ops::Range<u16> = 15_000..32_000;

/// `N` different ports on 127.0.0.1 on which nothing listens.
pub fn free<const N: usize>() -> [u16; N] {
    // Several test binaries can look at once, so each starts at a random place. The listeners are held until
    // all ports are found, so that no port is found twice.
    let mut held = Vec::with_capacity(N);
    let width = u64::from(RANGE.end - RANGE.start);
    let mut candidate = RANGE.start + (RandomState::new().hash_one(N) % width) as u16;
    for _ in RANGE {
        if held.len() == N {
            break;
        }
        if let Ok(listener) = TcpListener::bind((Ipv4Addr::LOCALHOST, candidate)) {
            held.push((candidate, listener));
        }
        candidate = if candidate + 1 == RANGE.end {
            RANGE.start
        } else {
            candidate + 1
        };
    }
    let ports: Vec<u16> = held.iter().map(|(port, _)| *port).collect();
    ports
        .try_into()
        .expect("the range has more free ports than any test needs")
}
