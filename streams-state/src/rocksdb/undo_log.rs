//! `UndoLog`: what the writes since the last commit replaced in [`RecentRows`](super::recent_rows::RecentRows).

/// What undoing a write takes beside the bytes that it replaced.
const UNDO_BYTES: usize = size_of::<Undo>();
const _: () = assert!(UNDO_BYTES == 16, "there may be hundreds of thousands");
/// Values begin at multiples of this, so that 32-bit numbers find them.
const ALIGN: usize = 8;
/// In place of a value's length: the row was deleted.
const DELETED: u32 = u32::MAX;
/// How much room stays for the next commit, in bytes.
const BYTES_KEPT: usize = 64 << 10;

/// The writes since the last commit.
#[derive(Default)]
pub(super) struct UndoLog {
    writes: Vec<Undo>,
    values: Vec<u8>,
    /// How many bytes of records were added since the last commit.
    pub(super) added_bytes: usize,
}

struct Undo {
    at: u32,
    kept: Kept,
}

enum Kept {
    Unknown,
    OnDisk,
    /// Where the value begins, and how long it is.
    Waiting(u32, u32),
}

/// What a write replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Before<'a> {
    /// There was no row here.
    Unknown,
    /// The row that the disk has.
    OnDisk,
    /// A committed row that waited, with its value; `None` where that was deleted.
    Waiting(Option<&'a [u8]>),
}

impl UndoLog {
    /// Notes a write to the key of a record; the bytes of the key stay there until the commit.
    pub(super) fn note(&mut self, at: u32, before: Before<'_>) {
        let kept = match before {
            Before::Unknown => Kept::Unknown,
            Before::OnDisk => Kept::OnDisk,
            Before::Waiting(value) => self.keep(value),
        };
        self.writes.push(Undo { at, kept });
    }

    fn keep(&mut self, value: Option<&[u8]>) -> Kept {
        let start = u32::try_from(self.values.len() / ALIGN).expect("less than 32 GiB of rows");
        let Some(value) = value else {
            return Kept::Waiting(start, DELETED);
        };
        self.values.extend_from_slice(value);
        let len = self.values.len().next_multiple_of(ALIGN);
        self.values.resize(len, 0);
        let len = u32::try_from(value.len()).expect("a value is shorter than a record");
        Kept::Waiting(start, len)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.writes.is_empty()
    }

    /// The record of each write, and what that replaced.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, Before<'_>)> {
        self.writes.iter().map(|undo| {
            let before = match undo.kept {
                Kept::Unknown => Before::Unknown,
                Kept::OnDisk => Before::OnDisk,
                Kept::Waiting(_, DELETED) => Before::Waiting(None),
                Kept::Waiting(start, len) => {
                    let start = start as usize * ALIGN;
                    Before::Waiting(Some(&self.values[start..start + len as usize]))
                }
            };
            (undo.at, before)
        })
    }

    /// How much memory it takes, in bytes.
    #[inline]
    pub(super) fn bytes(&self) -> usize {
        self.writes.len() * UNDO_BYTES + self.values.len()
    }

    /// Forgets all.
    pub(super) fn clear(&mut self) {
        self.writes.clear();
        self.writes.shrink_to(BYTES_KEPT / UNDO_BYTES);
        self.values.clear();
        self.values.shrink_to(BYTES_KEPT);
        self.added_bytes = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_replaced_is_known_until_it_is_forgotten() {
        let mut undo = UndoLog::default();
        let all = [
            (1, Before::Waiting(Some(&b"a value"[..]))),
            (2, Before::Unknown),
            (3, Before::Waiting(None)),
            (4, Before::OnDisk),
            (5, Before::Waiting(Some(&b""[..]))),
            (6, Before::Waiting(Some(&b"another value"[..]))),
        ];
        for (at, before) in all {
            undo.note(at, before);
        }
        assert!(undo.iter().eq(all));
        assert_eq!(undo.bytes(), 6 * UNDO_BYTES + 8 + 16);
        undo.clear();
        assert!(undo.is_empty() && undo.bytes() == 0);
    }
}
