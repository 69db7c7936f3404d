//! `Rows`: rows of a store with duplicates, one behind the other in chunks, each with the place of its key's row before it.
//!
//! Chunks leave whole, the oldest first; what leads into a chunk that has left leads nowhere.

use std::collections::VecDeque;

/// Rows begin at multiples of this.
const ALIGN: usize = 8;
/// A place is the number of a chunk in front of so many bits that say where in the chunk.
pub(super) const UNIT_BITS: u32 = 15;
/// From one chunk to the next.
pub(super) const CHUNK_STEP: u32 = 1 << UNIT_BITS;
/// A row that is larger has a chunk of its own.
pub(super) const CHUNK_BYTES: usize = ALIGN << UNIT_BITS;
/// Half of the numbers there are, so that a place that is gone is not taken for one to come.
const CHUNKS_MAX: usize = 1 << (31 - UNIT_BITS);
/// In front of a row's key and value: the place of the key's row before, their lengths, the sequence, the start, and the latest
/// start of the key's rows before, so that a look-up ends without looking at a row that is too old.
const HEADER: usize = 32;

/// Where a row is. Numbers begin anew when they have come to their end.
pub(super) type Place = u32;

pub(super) struct Chunk {
    pub bytes: Vec<u8>,
    /// No row of it starts later.
    newest_ms: i64,
}

/// A row of the log.
#[derive(Clone, Copy)]
pub(super) struct LoggedRow<'a> {
    pub key: &'a [u8],
    pub start_ms: i64,
    pub sequence: i32,
    pub value: &'a [u8],
}

#[derive(Clone, Copy)]
pub(super) struct Header {
    pub before: Place,
    pub key_len: u32,
    pub value_len: u32,
    pub sequence: i32,
    pub start_ms: i64,
    pub newest_before_ms: i64,
}

impl Header {
    fn to_bytes(self) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        bytes[..4].copy_from_slice(&self.before.to_ne_bytes());
        bytes[4..8].copy_from_slice(&self.key_len.to_ne_bytes());
        bytes[8..12].copy_from_slice(&self.value_len.to_ne_bytes());
        bytes[12..16].copy_from_slice(&self.sequence.to_ne_bytes());
        bytes[16..24].copy_from_slice(&self.start_ms.to_ne_bytes());
        bytes[24..].copy_from_slice(&self.newest_before_ms.to_ne_bytes());
        bytes
    }

    fn read(bytes: &[u8]) -> Header {
        let bytes: &[u8; HEADER] = bytes.first_chunk().expect("a row begins with its header");
        let word = |at: usize| [bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]];
        let long = |at: usize| {
            let (low, high) = (word(at), word(at + 4));
            [
                low[0], low[1], low[2], low[3], high[0], high[1], high[2], high[3],
            ]
        };
        Header {
            before: u32::from_ne_bytes(word(0)),
            key_len: u32::from_ne_bytes(word(4)),
            value_len: u32::from_ne_bytes(word(8)),
            sequence: i32::from_ne_bytes(word(12)),
            start_ms: i64::from_ne_bytes(long(16)),
            newest_before_ms: i64::from_ne_bytes(long(24)),
        }
    }

    pub(super) fn row_len(&self) -> usize {
        (HEADER + self.key_len as usize + self.value_len as usize).next_multiple_of(ALIGN)
    }
}

/// The chunks.
#[derive(Default)]
pub(super) struct Rows {
    pub chunks: VecDeque<Chunk>,
    /// Where the first chunk begins.
    pub first: Place,
}

impl Rows {
    /// Whether there are as many chunks as there may be.
    pub(super) fn is_full(&self) -> bool {
        self.chunks.len() >= CHUNKS_MAX / 2
    }

    /// The latest start in the first chunk, and the place behind its last row.
    pub(super) fn first_chunk(&self) -> Option<(i64, Place)> {
        let chunk = self.chunks.front()?;
        let units = (chunk.bytes.len() / ALIGN).min(CHUNK_STEP as usize) as u32;
        Some((chunk.newest_ms, self.first.wrapping_add(units)))
    }

    /// Lets the first chunk go, and returns how many bytes it took.
    pub(super) fn drop_first_chunk(&mut self) -> usize {
        let dropped = self.chunks.pop_front();
        self.first = self.first.wrapping_add(CHUNK_STEP);
        dropped.map_or(0, |chunk| chunk.bytes.len())
    }

    /// Whether the chunk of this place is still there.
    pub(super) fn has(&self, at: Place) -> bool {
        self.chunk_index(at) < self.chunks.len()
    }

    fn chunk_index(&self, at: Place) -> usize {
        (at.wrapping_sub(self.first) >> UNIT_BITS) as usize
    }

    pub(super) fn bytes_at(&self, at: Place) -> &[u8] {
        let start = (at % CHUNK_STEP) as usize * ALIGN;
        &self.chunks[self.chunk_index(at)].bytes[start..]
    }

    pub(super) fn header(&self, at: Place) -> Header {
        Header::read(self.bytes_at(at))
    }

    pub(super) fn key(&self, at: Place) -> &[u8] {
        self.row(at).key
    }

    pub(super) fn row(&self, at: Place) -> LoggedRow<'_> {
        let bytes = self.bytes_at(at);
        let header = Header::read(bytes);
        let (key, rest) = bytes[HEADER..].split_at(header.key_len as usize);
        LoggedRow {
            key,
            start_ms: header.start_ms,
            sequence: header.sequence,
            value: &rest[..header.value_len as usize],
        }
    }

    /// The row of the same key before the one at this place.
    pub(super) fn before(&self, at: Place, header: &Header) -> Option<Place> {
        let distance = at.wrapping_sub(header.before);
        (distance != 0 && distance <= at.wrapping_sub(self.first)).then_some(header.before)
    }

    /// Where the next row goes if it fits into the last chunk, which may be full.
    pub(super) fn end(&self) -> Place {
        let Some((last, chunks)) = self.chunks.back().zip(self.chunks.len().checked_sub(1)) else {
            return self.first;
        };
        let units = (last.bytes.len() / ALIGN).min(CHUNK_STEP as usize) as u32;
        self.first
            .wrapping_add(chunks as u32 * CHUNK_STEP)
            .wrapping_add(units)
    }

    /// The places of the rows from this one on.
    pub(super) fn places(&self, from: Place) -> impl Iterator<Item = Place> {
        let mut at = from;
        std::iter::from_fn(move || {
            loop {
                let chunk = self.chunks.get(self.chunk_index(at))?;
                let start = (at % CHUNK_STEP) as usize * ALIGN;
                if start < chunk.bytes.len() {
                    let found = at;
                    let next = start + self.header(at).row_len();
                    at = match next < chunk.bytes.len() {
                        true => at + ((next - start) / ALIGN) as u32,
                        false => behind_chunk(at),
                    };
                    return Some(found);
                }
                at = behind_chunk(at);
            }
        })
    }

    /// How many bytes rows take from this place on.
    pub(super) fn bytes_from(&self, from: Place) -> usize {
        let index = self.chunk_index(from);
        let before = (from % CHUNK_STEP) as usize * ALIGN;
        let chunks = self.chunks.iter().skip(index);
        let bytes: usize = chunks.map(|chunk| chunk.bytes.len()).sum();
        bytes.saturating_sub(before)
    }

    pub(super) fn append(
        &mut self,
        row: LoggedRow<'_>,
        header: Header,
        before: Option<Place>,
    ) -> Place {
        let len = header.row_len();
        let fits = |chunk: &Chunk| chunk.bytes.len() + len <= CHUNK_BYTES;
        if !self.chunks.back().is_some_and(fits) {
            assert!(self.chunks.len() < CHUNKS_MAX, "less than 16 GiB of rows");
            // The first chunk grows as rows come: there are many stores that have few.
            let room = match self.chunks.is_empty() {
                true => 0,
                false => CHUNK_BYTES,
            };
            self.chunks.push_back(Chunk {
                bytes: Vec::with_capacity(room),
                newest_ms: i64::MIN,
            });
        }
        let at = self.end();
        let chunk = self.chunks.back_mut().expect("there is one by now");
        chunk.newest_ms = chunk.newest_ms.max(row.start_ms);
        let header = Header {
            before: before.unwrap_or(at),
            ..header
        };
        let end = chunk.bytes.len() + len;
        chunk.bytes.extend_from_slice(&header.to_bytes());
        chunk.bytes.extend_from_slice(row.key);
        chunk.bytes.extend_from_slice(row.value);
        chunk.bytes.resize(end, 0);
        at
    }

    /// Takes the rows from this place on out, and says how many bytes they had.
    pub(super) fn truncate(&mut self, from: Place) -> usize {
        let bytes = self.bytes_from(from);
        let index = self.chunk_index(from);
        match (from % CHUNK_STEP) as usize * ALIGN {
            0 => self.chunks.truncate(index),
            kept => {
                self.chunks.truncate(index + 1);
                let last = self.chunks.back_mut();
                last.into_iter()
                    .for_each(|chunk| chunk.bytes.truncate(kept));
            }
        }
        bytes
    }
}

fn behind_chunk(at: Place) -> Place {
    (at - at % CHUNK_STEP).wrapping_add(CHUNK_STEP)
}
