//! Records as every workload reads them: a key of eight hexadecimal digits, a value of 100 bytes that begins with a reading.

use streams_core::serdes::{Serde, SerdeError};
use streams_core::{FetchedRecord, Headers};

const VALUE_LEN: usize = 100;

/// Reads no more of a value than its reading.
#[derive(Clone, Copy)]
pub struct Reading;

impl Serde<f64> for Reading {
    fn serialize(&self, reading: &f64, bytes: &mut Vec<u8>) -> Result<(), SerdeError> {
        bytes.extend_from_slice(&reading.to_be_bytes());
        Ok(())
    }

    fn deserialize(&self, bytes: &[u8]) -> Result<f64, SerdeError> {
        match bytes.first_chunk::<8>() {
            Some(reading) => Ok(f64::from_be_bytes(*reading)),
            None => Err(SerdeError::new("a value begins with a reading of 8 bytes")),
        }
    }
}

/// What a mean is made of.
#[derive(Default)]
pub struct Mean {
    pub sum: f64,
    pub count: u64,
}

impl Mean {
    pub fn add(&mut self, reading: f64) {
        self.sum += reading;
        self.count += 1;
    }
}

#[derive(Clone, Copy)]
pub struct MeanSerde;

impl Serde<Mean> for MeanSerde {
    fn serialize(&self, mean: &Mean, bytes: &mut Vec<u8>) -> Result<(), SerdeError> {
        bytes.extend_from_slice(&mean.sum.to_be_bytes());
        bytes.extend_from_slice(&mean.count.to_be_bytes());
        Ok(())
    }

    fn deserialize(&self, bytes: &[u8]) -> Result<Mean, SerdeError> {
        match bytes.split_first_chunk::<8>() {
            Some((sum, count)) if count.len() == 8 => Ok(Mean {
                sum: f64::from_be_bytes(*sum),
                count: u64::from_be_bytes(count.try_into().expect("eight bytes")),
            }),
            _ => Err(SerdeError::new("a mean has 16 bytes")),
        }
    }
}

/// A record whose bytes are made on the way.
pub struct Prepared {
    key: [u8; 8],
    value: [u8; VALUE_LEN],
    offset: i64,
    timestamp: i64,
}

impl Prepared {
    /// Record number `index` of a key, the same in every run.
    pub fn new(key: u64, index: u64, timestamp: i64) -> Self {
        let mut value = [b'v'; VALUE_LEN];
        let reading = (mix(index) % 10_000) as f64 / 100.0;
        value[..8].copy_from_slice(&reading.to_be_bytes());
        Prepared {
            key: hex(key),
            value,
            offset: index as i64,
            timestamp,
        }
    }
}

fn hex(key: u64) -> [u8; 8] {
    std::array::from_fn(|at| b"0123456789abcdef"[(key >> (28 - 4 * at)) as usize & 15])
}

/// A number that looks random and belongs to this one (the finalizer of splitmix64).
pub fn mix(number: u64) -> u64 {
    let number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

impl FetchedRecord for Prepared {
    fn offset(&self) -> i64 {
        self.offset
    }

    fn timestamp(&self) -> i64 {
        self.timestamp
    }

    fn key(&self) -> Option<&[u8]> {
        Some(&self.key)
    }

    fn value(&self) -> Option<&[u8]> {
        Some(&self.value)
    }

    fn read_headers(&self, headers: &mut Headers) {
        headers.clear();
    }
}
