//! The number a record is sent with, from which it is known what it came from if it comes back: its task, and the source
//! record's input and offset. It is all that is kept of millions of records under way.

use crate::task::TaskId;
use crate::task::effects::{Effects, ProduceRecord};
use crate::task::stores::Origin;

const TASK_BITS: u32 = 12;
const INPUT_BITS: u32 = 8;
const OFFSET_BITS: u32 = 64 - TASK_BITS - INPUT_BITS;
const OFFSET_MASK: u64 = (1 << OFFSET_BITS) - 1;
const INPUT_MASK: u64 = (1 << INPUT_BITS) - 1;
/// No input, or one beyond those that can be told apart.
const NO_INPUT: u64 = INPUT_MASK;
/// No offset, or one beyond those that can be told apart: 17 trillion.
const NO_OFFSET: u64 = OFFSET_MASK;
/// In place of the offset of a dead letter.
const DEAD_LETTER: u64 = OFFSET_MASK - 1;

/// What a record came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sent {
    /// The task's number at its worker.
    pub(crate) task: u16,
    /// The input of the source record, `None` in a punctuation.
    pub(crate) input: Option<usize>,
    /// The offset of the source record.
    pub(crate) offset: Option<i64>,
    /// Whether it is a dead letter.
    pub(crate) is_dead_letter: bool,
}

/// The tag of a record that task number `task` made of the record at `origin`.
#[inline]
pub(crate) fn tag(task: u16, origin: Origin) -> u64 {
    let input = origin.input.map_or(NO_INPUT, u64::from).min(NO_INPUT);
    let offset = match u64::try_from(origin.offset) {
        Ok(offset) if offset < DEAD_LETTER => offset,
        _ if origin == Origin::DEAD_LETTER => DEAD_LETTER,
        _ => NO_OFFSET,
    };
    (u64::from(task) << (INPUT_BITS + OFFSET_BITS)) | (input << OFFSET_BITS) | offset
}

/// What a tag says.
pub(crate) fn sent(tag: u64) -> Sent {
    let input = (tag >> OFFSET_BITS) & INPUT_MASK;
    let offset = tag & OFFSET_MASK;
    let is_known = input != NO_INPUT && offset < DEAD_LETTER;
    Sent {
        task: (tag >> (INPUT_BITS + OFFSET_BITS)) as u16,
        input: is_known.then_some(input as usize),
        offset: is_known.then_some(offset as i64),
        is_dead_letter: offset == DEAD_LETTER,
    }
}

/// Numbers for tasks: one that was given back is not given out again soon, because records of its task may still come back.
#[derive(Default)]
pub(crate) struct TaskNumbers(u16);

impl TaskNumbers {
    /// A number that none of these has. More tasks than there are numbers share one.
    pub(crate) fn next(&mut self, used: impl Fn(u16) -> bool) -> u16 {
        for _ in 0..1 << TASK_BITS {
            self.0 = (self.0 + 1) % (1 << TASK_BITS);
            if !used(self.0) {
                break;
            }
        }
        self.0
    }
}

/// A record that a broker refused in a transaction, and that is to be left out when the transaction is done again.
pub(crate) struct LeftOut {
    pub(crate) task: TaskId,
    pub(crate) topic: String,
    pub(crate) partition: i32,
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) value: Option<Vec<u8>>,
    /// What is written in its place.
    pub(crate) dead_letters: Effects,
}

impl LeftOut {
    /// Whether that is the record.
    pub(crate) fn is(&self, task: TaskId, record: &ProduceRecord<'_>) -> bool {
        self.task == task
            && *self.topic == **record.topic
            // Where the producer chooses the partition, it may choose another one this time.
            && (self.partition == record.partition || record.partition == Effects::ANY_PARTITION)
            && self.key.as_deref() == record.key
            && self.value.as_deref() == record.value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_says_what_it_was_made_of() {
        for (task, input, offset) in [(0, 0, 0), (4095, 254, 1 << 43), (7, 3, 123_456_789_012)] {
            let origin = Origin {
                input: Some(input),
                offset,
                timestamp: 5,
            };
            let expected = Sent {
                task,
                input: Some(input as usize),
                offset: Some(offset),
                is_dead_letter: false,
            };
            assert_eq!(sent(tag(task, origin)), expected);
        }
    }

    #[test]
    fn what_has_no_place_has_none_in_a_tag() {
        for (input, offset) in [(None, -1), (Some(300), 5), (Some(1), i64::MAX)] {
            let origin = Origin {
                input,
                offset,
                timestamp: 0,
            };
            let sent = sent(tag(9, origin));
            assert_eq!((sent.task, sent.input, sent.offset), (9, None, None));
        }
    }

    #[test]
    fn dead_letters_are_told_apart() {
        let sent = sent(tag(9, Origin::DEAD_LETTER));
        assert!(sent.is_dead_letter);
        assert_eq!((sent.task, sent.input, sent.offset), (9, None, None));
    }

    #[test]
    fn numbers_go_round() {
        let mut numbers = TaskNumbers::default();
        assert_eq!(numbers.next(|n| n == 1), 2);
        let seen: Vec<u16> = (0..4094).map(|_| numbers.next(|n| n == 1)).collect();
        assert_eq!(seen.last(), Some(&0));
        assert_eq!(numbers.next(|n| n == 1), 2);
    }
}
