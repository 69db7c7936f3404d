//! The points that do not count as delivered yet, in batches, in order.

use crate::point::Point;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// A batch is closed when it has this many bytes: one write.
const BATCH_BYTES: usize = 16 * 1024;

/// A partition that points come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SourceId(pub usize);

/// Lines that go to carbon in one write.
struct Batch {
    lines: Vec<u8>,
    points: u64,
    /// The first offset of each source with a point in here.
    first_offsets: Vec<(SourceId, i64)>,
    opened: Instant,
    state: BatchState,
    /// Whether it was ever written before.
    is_replay: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum BatchState {
    /// Takes more points.
    Open,
    /// Waits to be written, or is being written.
    Closed,
    /// Written on the connection of now.
    Written(Instant),
}

/// What to write next.
pub(super) struct NextBatch {
    pub lines: Vec<u8>,
    pub points: u64,
    pub is_replay: bool,
}

/// Written batches first, then closed ones, then perhaps one that is open.
pub(super) struct Buffer {
    batches: VecDeque<Batch>,
    written: usize,
    bytes_len: usize,
    points_len: u64,
}

impl Buffer {
    pub(super) fn new() -> Self {
        Buffer {
            batches: VecDeque::new(),
            written: 0,
            bytes_len: 0,
            points_len: 0,
        }
    }

    /// Bytes of lines in here.
    pub(super) fn bytes_len(&self) -> usize {
        self.bytes_len
    }

    /// Points in here.
    pub(super) fn points_len(&self) -> u64 {
        self.points_len
    }

    /// Whether the writer has nothing left to do.
    pub(super) fn is_all_written(&self) -> bool {
        self.written == self.batches.len()
    }

    /// Takes a point.
    pub(super) fn push(&mut self, point: &Point, source: SourceId, offset: i64, now: Instant) {
        let has_open = self
            .batches
            .back()
            .is_some_and(|batch| batch.state == BatchState::Open);
        if !has_open {
            self.batches.push_back(Batch {
                lines: Vec::new(),
                points: 0,
                first_offsets: Vec::new(),
                opened: now,
                state: BatchState::Open,
                is_replay: false,
            });
        }
        let batch = self.batches.back_mut().expect("there is an open batch now");
        let length_before = batch.lines.len();
        point.write_line(&mut batch.lines);
        batch.points += 1;
        if !batch
            .first_offsets
            .iter()
            .any(|(known, _)| *known == source)
        {
            batch.first_offsets.push((source, offset));
        }
        if batch.lines.len() >= BATCH_BYTES {
            batch.state = BatchState::Closed;
        }
        self.bytes_len += batch.lines.len() - length_before;
        self.points_len += 1;
    }

    /// Takes out the next lines to write: of a closed batch, or of an open one that has waited for `linger`.
    pub(super) fn next(&mut self, now: Instant, linger: Duration) -> Option<NextBatch> {
        let batch = self.batches.get_mut(self.written)?;
        if batch.state == BatchState::Open && now < batch.opened + linger {
            return None;
        }
        batch.state = BatchState::Closed;
        Some(NextBatch {
            lines: std::mem::take(&mut batch.lines),
            points: batch.points,
            is_replay: batch.is_replay,
        })
    }

    /// When [`Buffer::next`] will have something, if it only needs time.
    pub(super) fn due(&self, linger: Duration) -> Option<Instant> {
        let batch = self.batches.get(self.written)?;
        Some(match batch.state {
            BatchState::Open => batch.opened + linger,
            _ => batch.opened,
        })
    }

    /// The lines that [`Buffer::next`] gave out were written, or may have been in part.
    pub(super) fn give_back(&mut self, lines: Vec<u8>, written: Option<Instant>) {
        let batch = &mut self.batches[self.written];
        batch.lines = lines;
        batch.is_replay = true;
        if let Some(at) = written {
            batch.state = BatchState::Written(at);
            self.written += 1;
        }
    }

    /// The connection was found alive at that time: what was written `settle` before counts as delivered.
    /// Returns how many points that were.
    pub(super) fn settle(&mut self, alive: Instant, settle: Duration) -> u64 {
        let mut points = 0;
        while let Some(batch) = self.batches.front()
            && let BatchState::Written(at) = batch.state
            && at + settle <= alive
        {
            points += batch.points;
            self.bytes_len -= batch.lines.len();
            self.batches.pop_front();
            self.written -= 1;
        }
        self.points_len -= points;
        points
    }

    /// The connection is lost: all that is in here must be written again.
    pub(super) fn disconnected(&mut self) {
        for batch in self.batches.iter_mut().take(self.written) {
            batch.state = BatchState::Closed;
        }
        self.written = 0;
    }

    /// The lowest offset of that source in here. Offsets of a source do not run back, so it is in the first batch that
    /// knows the source.
    pub(super) fn oldest_pending(&self, source: SourceId) -> Option<i64> {
        self.batches
            .iter()
            .flat_map(|batch| &batch.first_offsets)
            .find(|(known, _)| *known == source)
            .map(|&(_, offset)| offset)
    }

    /// Keeps the points of that source but not their offsets.
    pub(super) fn forget(&mut self, source: SourceId) {
        for batch in &mut self.batches {
            batch.first_offsets.retain(|(known, _)| *known != source);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINGER: Duration = Duration::from_millis(200);
    const SETTLE: Duration = Duration::from_secs(5);
    const A: SourceId = SourceId(0);
    const B: SourceId = SourceId(1);

    fn point(time_s: i64) -> Point {
        Point::new("a", 1.0, time_s).unwrap()
    }

    fn write_next(buffer: &mut Buffer, now: Instant) -> Option<(String, bool)> {
        let batch = buffer.next(now, LINGER)?;
        let text = String::from_utf8(batch.lines.clone()).unwrap();
        buffer.give_back(batch.lines, Some(now));
        Some((text, batch.is_replay))
    }

    #[test]
    fn lines_wait_for_company_but_not_long() {
        let start = Instant::now();
        let mut buffer = Buffer::new();
        buffer.push(&point(1), A, 0, start);
        assert!(buffer.next(start, LINGER).is_none());
        assert_eq!(buffer.due(LINGER), Some(start + LINGER));
        buffer.push(&point(2), A, 1, start + LINGER / 2);
        let (text, _) = write_next(&mut buffer, start + LINGER).unwrap();
        assert_eq!(text, "a 1 1\na 1 2\n");
        assert!(buffer.is_all_written());
    }

    #[test]
    fn a_full_batch_does_not_wait() {
        let start = Instant::now();
        let mut buffer = Buffer::new();
        for offset in 0..4000 {
            buffer.push(&point(offset), A, offset, start);
        }
        let (text, _) = write_next(&mut buffer, start).unwrap();
        assert!(text.len() >= BATCH_BYTES && text.len() < BATCH_BYTES + 100);
        assert!(text.ends_with('\n'));
    }

    #[test]
    fn written_is_not_delivered_until_it_settled() {
        let start = Instant::now();
        let mut buffer = Buffer::new();
        buffer.push(&point(1), A, 7, start);
        buffer.push(&point(1), B, 3, start);
        write_next(&mut buffer, start + LINGER);
        buffer.push(&point(2), A, 8, start + LINGER);
        assert_eq!(buffer.settle(start + SETTLE, SETTLE), 0);
        assert_eq!(buffer.oldest_pending(A), Some(7));
        assert_eq!(buffer.settle(start + LINGER + SETTLE, SETTLE), 2);
        assert_eq!(buffer.oldest_pending(A), Some(8));
        assert_eq!(buffer.oldest_pending(B), None);
        assert_eq!(buffer.points_len(), 1);
        assert_eq!(buffer.bytes_len(), "a 1 2\n".len());
    }

    #[test]
    fn after_a_lost_connection_all_is_written_again_in_order() {
        let start = Instant::now();
        let mut buffer = Buffer::new();
        for offset in 0..3 {
            buffer.push(&point(offset), A, offset, start);
            write_next(&mut buffer, start + LINGER);
        }
        buffer.push(&point(3), A, 3, start);
        // The connection broke in the middle of the fourth.
        let batch = buffer.next(start + LINGER, LINGER).unwrap();
        buffer.give_back(batch.lines, None);
        buffer.disconnected();
        assert_eq!(buffer.settle(start + SETTLE * 2, SETTLE), 0);
        let again: Vec<_> =
            std::iter::from_fn(|| write_next(&mut buffer, start + LINGER)).collect();
        let expected =
            ["a 1 0\n", "a 1 1\n", "a 1 2\n", "a 1 3\n"].map(|line| (line.to_owned(), true));
        assert_eq!(again, expected);
    }

    #[test]
    fn a_source_that_is_read_anew_has_nothing_pending() {
        let start = Instant::now();
        let mut buffer = Buffer::new();
        buffer.push(&point(1), A, 7, start);
        buffer.forget(A);
        assert_eq!(buffer.oldest_pending(A), None);
        buffer.push(&point(1), A, 5, start);
        assert_eq!(buffer.oldest_pending(A), Some(5));
        assert_eq!(buffer.points_len(), 2);
    }
}
