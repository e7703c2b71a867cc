//! The bounded queue between those who log and the thread that writes.
//!
//! To log never waits: a line that finds no place is dropped and counted. So a terminal that nobody reads, or a full pipe,
//! costs log lines and nothing else. What operators do has places of its own, so that nothing else that is logged takes them.
//!
//! Invariants:
//! - of each [`Sort`] at most [`LINES_MAX`] lines and [`BYTES_MAX`] bytes are queued, and the writer holds at most as much again;
//! - lines are written in the order in which they came, of whichever sort;
//! - a line is written, or counted as lost;
//! - the lock is never held while something is written.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

/// Lines waiting to be written, shared by all who log.
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    changed: Condvar,
    lost: Lost,
}

/// What a line is about, for its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sort {
    /// What operators do.
    Audit,
    Other,
}

/// Lines that were lost since the start, for whoever tells of them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Lost {
    pub(crate) audit: Arc<AtomicU64>,
    pub(crate) other: Arc<AtomicU64>,
}

#[derive(Default)]
struct Waiting {
    lines: VecDeque<(Sort, Vec<u8>)>,
    audit: Taken,
    other: Taken,
    /// Lines taken by the writer and not written yet.
    writing: VecDeque<Sort>,
    finishing: bool,
}

/// The places of one sort that are taken.
#[derive(Default)]
struct Taken {
    lines: usize,
    bytes: usize,
}

impl Queue {
    /// Starts the thread that writes to `sink`. It ends with [`finish`](Self::finish).
    pub(super) fn start(sink: impl Write + Send + 'static) -> io::Result<Arc<Self>> {
        let queue = Arc::new(Self { waiting: Mutex::default(), changed: Condvar::new(), lost: Lost::default() });
        let writer = Arc::clone(&queue);
        thread::Builder::new().name("log".into()).spawn(move || writer.write_to(sink))?;
        Ok(queue)
    }

    /// What is lost, as it is counted on.
    pub(super) fn lost(&self) -> &Lost {
        &self.lost
    }

    /// Queues a line, or drops and counts it. Never waits for the writer.
    pub(super) fn push(&self, sort: Sort, line: Vec<u8>) {
        let mut waiting = self.waiting.lock();
        let is_over = waiting.finishing;
        let taken = waiting.taken(sort);
        if is_over || taken.lines == LINES_MAX || taken.bytes + line.len() > BYTES_MAX {
            self.lost.add(sort);
            return;
        }
        taken.lines += 1;
        taken.bytes += line.len();
        waiting.lines.push_back((sort, line));
        self.changed.notify_all();
    }

    /// Ends the writing once all is written, or when `wait` is over: what is not written then is lost.
    pub(super) fn finish(&self, wait: Duration) {
        let deadline = Instant::now() + wait;
        let mut waiting = self.waiting.lock();
        waiting.finishing = true;
        self.changed.notify_all();
        self.changed.wait_while_until(&mut waiting, |waiting| waiting.has_unwritten(), deadline);
        for (sort, _) in std::mem::take(&mut waiting.lines) {
            self.lost.add(sort);
        }
        for sort in std::mem::take(&mut waiting.writing) {
            self.lost.add(sort);
        }
    }

    fn write_to(&self, mut sink: impl Write) {
        while let Some(lines) = self.take() {
            for (sort, line) in lines {
                let written = sink.write_all(&line).is_ok();
                // None where it was given up meanwhile, and counted.
                if self.waiting.lock().writing.pop_front().is_some() && !written {
                    self.lost.add(sort);
                }
            }
            // Lines written stay so, and whoever finishes waits for their number, not for this.
            drop(sink.flush());
            self.changed.notify_all();
        }
    }

    /// Waits for lines; `None` when no more will come.
    fn take(&self) -> Option<VecDeque<(Sort, Vec<u8>)>> {
        let mut waiting = self.waiting.lock();
        self.changed.wait_while(&mut waiting, |waiting| waiting.lines.is_empty() && !waiting.finishing);
        (waiting.audit, waiting.other) = (Taken::default(), Taken::default());
        waiting.writing = waiting.lines.iter().map(|(sort, _)| *sort).collect();
        Some(std::mem::take(&mut waiting.lines)).filter(|lines| !lines.is_empty())
    }
}

impl Waiting {
    fn has_unwritten(&self) -> bool {
        !self.lines.is_empty() || !self.writing.is_empty()
    }

    fn taken(&mut self, sort: Sort) -> &mut Taken {
        match sort {
            Sort::Audit => &mut self.audit,
            Sort::Other => &mut self.other,
        }
    }
}

impl Lost {
    fn add(&self, sort: Sort) {
        let lost = match sort {
            Sort::Audit => &self.audit,
            Sort::Other => &self.other,
        };
        lost.fetch_add(1, Ordering::Relaxed);
    }

    /// Of what operators do, and of everything else.
    pub(crate) fn counts(&self) -> (u64, u64) {
        (self.audit.load(Ordering::Relaxed), self.other.load(Ordering::Relaxed))
    }
}

/// Lines of a sort that may wait. Logs mark changes of state, so this is minutes of them; more only comes from a loop gone wrong.
const LINES_MAX: usize = 4_096;
/// Bytes that may wait: some hundreds a line, and room for a few long ones.
const BYTES_MAX: usize = 4 * 1024 * 1024;

#[cfg(test)]
pub(super) mod tests {
    use std::sync::mpsc::{self, Sender};

    use super::*;

    /// A sink that passes on what is written.
    pub(in crate::logging) struct Channel(pub(in crate::logging) Sender<Vec<u8>>);

    impl Write for Channel {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.send(bytes.to_vec()).map_err(io::Error::other)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// A sink that says when a line has come, and takes it only when told.
    struct Stuck {
        came: Sender<()>,
        go: mpsc::Receiver<()>,
    }

    impl Write for Stuck {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.came.send(()).map_err(io::Error::other)?;
            self.go.recv().map_err(io::Error::other)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// A queue whose writer stands before a sink that takes nothing until told, with one line in its hands.
    fn stuck() -> (Arc<Queue>, Sender<()>) {
        let ((came, coming), (go, going)) = (mpsc::channel(), mpsc::channel());
        let queue = Queue::start(Stuck { came, go: going }).unwrap();
        queue.push(Sort::Other, b"first".to_vec());
        coming.recv().unwrap();
        // Later lines are not waited for, and need a receiver all the same.
        thread::spawn(move || coming.iter().for_each(drop));
        (queue, go)
    }

    #[test]
    fn lines_are_written_in_order_and_all_of_them() {
        let (sink, written) = mpsc::channel();
        let queue = Queue::start(Channel(sink)).unwrap();
        for line in 0..100_u8 {
            queue.push(if line % 3 == 0 { Sort::Audit } else { Sort::Other }, vec![line]);
        }
        queue.finish(Duration::from_secs(600));
        assert_eq!(queue.lost().counts(), (0, 0));
        drop(queue);
        assert_eq!(written.iter().flatten().collect::<Vec<_>>(), (0..100).collect::<Vec<_>>());
    }

    #[test]
    fn a_stuck_sink_costs_lines_and_no_time() {
        let (queue, go) = stuck();
        for _ in 0..LINES_MAX + 7 {
            queue.push(Sort::Other, b"x".to_vec());
        }
        assert_eq!(queue.lost().counts(), (0, 7));
        // Nothing was written: 7 found no room, the rest and the first are still waiting.
        queue.finish(Duration::ZERO);
        assert_eq!(queue.lost().counts(), (0, 7 + LINES_MAX as u64 + 1));
        drop(go);
    }

    #[test]
    fn what_operators_do_has_places_that_nothing_else_takes() {
        let (queue, go) = stuck();
        for _ in 0..LINES_MAX + 1 {
            queue.push(Sort::Other, b"x".to_vec());
        }
        for _ in 0..LINES_MAX {
            queue.push(Sort::Audit, b"a".to_vec());
        }
        assert_eq!(queue.lost().counts(), (0, 1));
        queue.push(Sort::Audit, b"one more".to_vec());
        assert_eq!(queue.lost().counts(), (1, 1));
        for _ in 0..2 * LINES_MAX + 1 {
            go.send(()).unwrap();
        }
        queue.finish(Duration::from_secs(600));
        assert_eq!(queue.lost().counts(), (1, 1));
    }

    #[test]
    fn bytes_are_bounded_too() {
        let (queue, go) = stuck();
        for _ in 0..5 {
            queue.push(Sort::Other, vec![b'x'; BYTES_MAX / 4]);
        }
        for _ in 0..5 {
            go.send(()).unwrap();
        }
        queue.finish(Duration::from_secs(600));
        assert_eq!(queue.lost().counts(), (0, 1));
    }

    #[test]
    fn a_line_that_the_sink_refuses_is_counted() {
        let (sink, written) = mpsc::channel();
        drop(written);
        let queue = Queue::start(Channel(sink)).unwrap();
        queue.push(Sort::Other, b"x".to_vec());
        queue.finish(Duration::from_secs(600));
        assert_eq!(queue.lost().counts(), (0, 1));
    }

    #[test]
    fn a_line_after_the_end_is_counted() {
        let (sink, _written) = mpsc::channel();
        let queue = Queue::start(Channel(sink)).unwrap();
        queue.finish(Duration::from_secs(600));
        queue.push(Sort::Audit, b"late".to_vec());
        assert_eq!(queue.lost().counts(), (1, 0));
    }
}
