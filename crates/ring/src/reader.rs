//! The readers' side: visiting entries from a cursor on.

use std::fmt;
use std::ops::ControlFlow;
use std::sync::Arc;

use crate::budget::Lease;
use crate::shared::Shared;
use crate::{Cursor, Gap, Read, ReadError};

/// Leave to read one ring. Cheap to clone and to send; any number of threads may read at once, through one reader or many.
///
/// It holds no place: a cursor does. It keeps working when the writer is gone.
pub struct Reader<T> {
    shared: Arc<Shared<T>>,
}

impl<T> Reader<T> {
    pub(crate) fn new(shared: Arc<Shared<T>>) -> Self {
        Self { shared }
    }

    /// The place behind the newest entry: where a reader begins that wants only what comes from now on.
    pub fn head(&self) -> Cursor {
        self.shared.head()
    }

    /// The place of the oldest entry that is still in the ring; equals the head while there is none.
    pub fn tail(&self) -> Cursor {
        self.shared.directory().tail
    }

    /// What the ring has leased of its budget, in bytes; 0 without one.
    pub fn leased(&self) -> usize {
        self.shared.lease().map_or(0, Lease::bytes)
    }

    /// Visits, in order, the entries from `cursor` up to the head as it is when the read begins, while the visitor says
    /// `Continue`.
    ///
    /// `Continue` takes the entry: the cursor moves behind it before the next is visited. `Break` leaves it: the read ends with
    /// the cursor still on that entry, which the next read visits again. A visitor that panics leaves its entry too.
    ///
    /// Never waits. While it runs, the chunks it may still visit stay in memory even if the ring evicts them meanwhile: a
    /// visitor hands its work on rather than waiting. The visitor may read the same ring, and append to another.
    ///
    /// # Errors
    /// [`ReadError::Gap`] if the entry at `cursor` has left the ring, [`ReadError::Ahead`] if `cursor` is beyond the head. In
    /// both cases nothing was visited and the cursor has not moved.
    pub fn read(
        &self,
        cursor: &mut Cursor,
        mut visit: impl FnMut(Cursor, &T) -> ControlFlow<()>,
    ) -> Result<Read, ReadError> {
        // The head first, the directory second: only so are all entries between in the directory.
        let head = self.shared.head();
        if *cursor > head {
            return Err(ReadError::Ahead { from: *cursor, head });
        }
        if *cursor == head {
            return Ok(Read { entries: 0, at_head: true });
        }
        let directory = self.shared.directory();
        #[cfg(feature = "defects")]
        if guildhall_proto::Defect::GapDropped.is_on() {
            *cursor = directory.tail.max(*cursor);
        }
        if *cursor < directory.tail {
            // The head again: the tail may have overtaken the one seen above.
            return Err(Gap { from: *cursor, tail: directory.tail, head: self.shared.head() }.into());
        }
        let begin = *cursor;
        let flow = directory.visit(begin, head, |at, entry| {
            visit(at, entry)?;
            *cursor = at.next();
            ControlFlow::Continue(())
        });
        Ok(Read { entries: cursor.since(begin), at_head: flow.is_continue() })
    }

    /// The entry `at`, or `None` if it has left the ring or is not yet in it. O(log chunks).
    pub fn get(&self, at: Cursor) -> Option<T>
    where
        T: Clone,
    {
        let mut found = None;
        // A gap and a cursor ahead are both an entry that is not there.
        let _absent = self.read(&mut at.clone(), |_, entry| {
            found = Some(entry.clone());
            ControlFlow::Break(())
        });
        found
    }
}

impl<T> Clone for Reader<T> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<T> fmt::Debug for Reader<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader").field("tail", &self.tail()).field("head", &self.head()).finish()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::{RingConfig, Weigh, Writer, ring};

    /// An entry whose life can be watched from outside.
    #[derive(Clone)]
    struct Watched(Arc<u64>);

    impl Weigh for Watched {
        fn weight_bytes(&self) -> usize {
            1
        }
    }

    fn ring_of(entries_max: usize, entries: u64) -> (Writer<Watched>, Reader<Watched>) {
        let (mut writer, reader) = ring(RingConfig { entries_max, ..RingConfig::default() }, Cursor(1));
        append(&mut writer, entries);
        (writer, reader)
    }

    fn append(writer: &mut Writer<Watched>, entries: u64) {
        for _ in 0..entries {
            writer.append(Watched(Arc::new(writer.head().0)));
        }
    }

    /// All that is left to read from `cursor` on, up to the entry `break_at`.
    fn read_until(reader: &Reader<Watched>, cursor: &mut Cursor, break_at: u64) -> (Vec<u64>, Result<Read, ReadError>) {
        let mut taken = Vec::new();
        let result = reader.read(cursor, |_, entry| {
            if *entry.0 == break_at {
                return ControlFlow::Break(());
            }
            taken.push(*entry.0);
            ControlFlow::Continue(())
        });
        (taken, result)
    }

    #[test]
    fn an_entry_that_breaks_a_read_is_read_again() {
        let (_writer, reader) = ring_of(100, 5);
        let mut cursor = Cursor(1);
        let broken = read_until(&reader, &mut cursor, 3);
        assert_eq!(broken, (vec![1, 2], Ok(Read { entries: 2, at_head: false })));
        assert_eq!(cursor, Cursor(3));
        let rest = read_until(&reader, &mut cursor, u64::MAX);
        assert_eq!(rest, (vec![3, 4, 5], Ok(Read { entries: 3, at_head: true })));
        assert_eq!(cursor, reader.head());
    }

    #[test]
    fn a_read_at_the_head_takes_nothing_and_says_so() {
        let (mut writer, reader) = ring_of(100, 0);
        let mut cursor = reader.head();
        let nothing = (Vec::new(), Ok(Read { entries: 0, at_head: true }));
        assert_eq!(read_until(&reader, &mut cursor, u64::MAX), nothing);
        append(&mut writer, 1);
        assert_eq!(read_until(&reader, &mut cursor, u64::MAX).0, [1]);
        assert_eq!(read_until(&reader, &mut cursor, u64::MAX), nothing);
    }

    #[test]
    fn a_cursor_of_another_ring_is_refused() {
        let (_writer, reader) = ring_of(100, 5);
        let mut cursor = Cursor(7);
        let ahead = ReadError::Ahead { from: Cursor(7), head: Cursor(6) };
        assert_eq!(read_until(&reader, &mut cursor, u64::MAX), (Vec::new(), Err(ahead)));
        assert_eq!(cursor, Cursor(7));
        assert!(reader.get(Cursor(7)).is_none() && reader.get(Cursor(u64::MAX)).is_none());
    }

    #[test]
    fn a_gap_leaves_the_cursor_and_names_what_was_missed() {
        let (_writer, reader) = ring_of(4, 10);
        let mut cursor = Cursor(2);
        let gap = Gap { from: Cursor(2), tail: Cursor(7), head: Cursor(11) };
        assert_eq!(read_until(&reader, &mut cursor, u64::MAX), (Vec::new(), Err(gap.into())));
        assert_eq!(cursor, Cursor(2));
        assert_eq!(gap.to_string(), "entries 2 to 6 have left the ring; it reaches up to 11");
        assert!(reader.get(Cursor(6)).is_none() && reader.get(Cursor(7)).is_some());
    }

    #[test]
    fn an_entry_under_a_visitor_outlives_its_eviction_and_no_longer() {
        let (mut writer, reader) = ring_of(8, 8);
        let eldest = Arc::downgrade(&reader.get(Cursor(1)).expect("the ring is not yet over its bound").0);
        let mut taken = Vec::new();
        let read = reader.read(&mut Cursor(1), |at, entry| {
            if at == Cursor(1) {
                append(&mut writer, 100);
                assert!(writer.tail() > Cursor(8), "all that is being visited has left the ring");
            }
            taken.push(*entry.0);
            ControlFlow::Continue(())
        });
        // Up to the head as it was when the read began: what came meanwhile waits for the next.
        assert_eq!(read, Ok(Read { entries: 8, at_head: true }));
        assert_eq!(taken, [1, 2, 3, 4, 5, 6, 7, 8]);
        assert!(eldest.upgrade().is_none());
    }

    #[test]
    fn a_visitor_that_panics_leaves_its_entry() {
        let (_writer, reader) = ring_of(100, 5);
        let mut cursor = Cursor(1);
        let visited = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            reader.read(&mut cursor, |at, _| {
                assert_ne!(at, Cursor(3), "the panic of this test");
                ControlFlow::Continue(())
            })
        }));
        assert!(visited.is_err());
        assert_eq!(cursor, Cursor(3));
    }

    #[test]
    fn a_reader_goes_on_when_its_writer_is_gone() {
        let (writer, reader) = ring_of(100, 5);
        drop(writer);
        assert_eq!(read_until(&reader.clone(), &mut Cursor(1), u64::MAX).0, [1, 2, 3, 4, 5]);
    }

    #[test]
    fn rings_of_events_go_to_any_thread() {
        fn any_thread<T: Send + Sync>() {}
        any_thread::<Reader<Arc<guildhall_proto::Event>>>();
        any_thread::<Writer<Arc<guildhall_proto::Event>>>();
    }
}
