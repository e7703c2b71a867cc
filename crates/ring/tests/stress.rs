//! One writer and several readers on threads of their own, in a ring that is much too small for them.
#![cfg(not(loom))]

use std::ops::ControlFlow;
use std::sync::{Arc, Barrier};
use std::thread;

use guildhall_ring::{Cursor, ReadError, Reader, RingConfig, Weigh, Writer, ring};

/// An entry whose content follows from its index, on the heap, so that one freed too early would show.
struct Marked(Arc<[u64; 4]>);

impl Marked {
    fn of(at: Cursor) -> Self {
        Self(Arc::new([at.0, !at.0, at.0.rotate_left(17), at.0.wrapping_mul(0x9E37_79B9_7F4A_7C15)]))
    }
}

impl Weigh for Marked {
    /// Uneven, so that chunks close for their weight as well as for their count.
    fn weight_bytes(&self) -> usize {
        32 + usize::try_from(self.0[3] % 97).expect("a number below 97 fits")
    }
}

const ENTRIES: u64 = 200_000;
const END: Cursor = Cursor(ENTRIES + 1);
const READERS: usize = 3;

#[derive(Default)]
struct Heard {
    entries: u64,
    missed: u64,
    gaps: u64,
}

/// Reads until the end, every third reader in small bites, and checks each entry.
fn listen(reader: &Reader<Marked>, bite_entries: u64) -> Heard {
    let mut heard = Heard::default();
    let mut cursor = Cursor(1);
    while cursor < END {
        let mut expected = cursor;
        let mut left = bite_entries;
        let result = reader.read(&mut cursor, |at, entry| {
            if left == 0 {
                return ControlFlow::Break(());
            }
            left -= 1;
            assert_eq!(at, expected, "entries come without holes");
            assert_eq!(entry.0, Marked::of(at).0, "the entry is the one appended there");
            expected = at.next();
            ControlFlow::Continue(())
        });
        match result {
            Ok(read) => {
                assert_eq!(cursor, expected, "the cursor stands behind what was taken");
                heard.entries += read.entries;
                if read.entries == 0 {
                    thread::yield_now();
                }
            }
            Err(ReadError::Gap(gap)) => {
                assert!(gap.from == cursor && gap.from < gap.tail && gap.tail <= gap.head && gap.head <= END);
                heard.gaps += 1;
                heard.missed += gap.tail.since(gap.from);
                cursor = gap.tail;
            }
            Err(ReadError::Ahead { from, head }) => panic!("{from:?} came from this ring, whose head is {head:?}"),
        }
    }
    heard
}

#[test]
fn readers_on_other_threads_hear_each_entry_once_or_are_told_of_its_loss() {
    let config = RingConfig { entries_max: 300, bytes_max: 16 * 1024 };
    let (mut writer, reader): (Writer<Marked>, _) = ring(config, Cursor(1));
    let overtaken = Barrier::new(READERS + 1);
    thread::scope(|scope| {
        let listeners: Vec<_> = [u64::MAX, 64, 3]
            .map(|bite_entries| {
                let (reader, overtaken) = (reader.clone(), &overtaken);
                scope.spawn(move || {
                    overtaken.wait();
                    listen(&reader, bite_entries)
                })
            })
            .into();
        for idx in 0..ENTRIES {
            // The readers begin when their first entry has left the ring: so each meets a gap, however threads are scheduled.
            if idx == 1_000 {
                overtaken.wait();
            }
            let at = writer.append(Marked::of(writer.head()));
            assert_eq!(at, Cursor(idx + 1));
            assert!(writer.bytes() <= config.bytes_max);
            assert!(writer.head().since(writer.tail()) <= 300);
        }
        for listener in listeners {
            let heard = listener.join().expect("no assertion of the listener failed");
            assert_eq!(heard.entries + heard.missed, ENTRIES, "what was not heard was told to be missed");
            assert!(heard.gaps > 0 && heard.entries > 0);
        }
    });
}
