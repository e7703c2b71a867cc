//! The bounded queue between those who log and the thread that writes.
//!
//! To log never waits: a line that finds the queue full is dropped and counted. So a terminal that nobody reads, or a full pipe,
//! costs log lines and nothing else.
//!
//! Invariants:
//! - queued are at most [`LINES_MAX`] lines and [`BYTES_MAX`] bytes, and the writer holds at most as much again;
//! - a line is written, or counted as lost;
//! - the lock is never held while something is written.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

/// Lines waiting to be written, shared by all who log.
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

#[derive(Default)]
struct Waiting {
    lines: VecDeque<Vec<u8>>,
    bytes: usize,
    /// Lines taken by the writer and not written yet.
    writing: usize,
    lost: u64,
    finishing: bool,
}

impl Queue {
    /// Starts the thread that writes to `sink`. It ends with [`finish`](Self::finish).
    pub(super) fn start(sink: impl Write + Send + 'static) -> io::Result<Arc<Self>> {
        let queue = Arc::new(Self { waiting: Mutex::default(), changed: Condvar::new() });
        let writer = Arc::clone(&queue);
        thread::Builder::new().name("log".into()).spawn(move || writer.write_to(sink))?;
        Ok(queue)
    }

    /// Queues a line, or drops and counts it. Never waits for the writer.
    pub(super) fn push(&self, line: Vec<u8>) {
        let mut waiting = self.waiting.lock();
        if waiting.finishing || waiting.lines.len() == LINES_MAX || waiting.bytes + line.len() > BYTES_MAX {
            waiting.lost += 1;
            return;
        }
        waiting.bytes += line.len();
        waiting.lines.push_back(line);
        self.changed.notify_all();
    }

    /// Ends the writing once all is written, or when `wait` is over. Returns how many lines were lost since the start.
    pub(super) fn finish(&self, wait: Duration) -> u64 {
        let deadline = Instant::now() + wait;
        let mut waiting = self.waiting.lock();
        waiting.finishing = true;
        self.changed.notify_all();
        self.changed.wait_while_until(&mut waiting, |waiting| waiting.unwritten() > 0, deadline);
        waiting.lost + waiting.unwritten() as u64
    }

    fn write_to(&self, mut sink: impl Write) {
        while let Some(lines) = self.take() {
            for line in lines {
                let written = sink.write_all(&line).is_ok();
                let mut waiting = self.waiting.lock();
                waiting.writing -= 1;
                waiting.lost += u64::from(!written);
            }
            // Lines written stay so, and whoever finishes waits for their number, not for this.
            drop(sink.flush());
            self.changed.notify_all();
        }
    }

    /// Waits for lines; `None` when no more will come.
    fn take(&self) -> Option<VecDeque<Vec<u8>>> {
        let mut waiting = self.waiting.lock();
        self.changed.wait_while(&mut waiting, |waiting| waiting.lines.is_empty() && !waiting.finishing);
        waiting.bytes = 0;
        waiting.writing = waiting.lines.len();
        Some(std::mem::take(&mut waiting.lines)).filter(|lines| !lines.is_empty())
    }
}

impl Waiting {
    fn unwritten(&self) -> usize {
        self.lines.len() + self.writing
    }
}

/// Lines that may wait. Logs mark changes of state, so this is minutes of them; more only comes from a loop gone wrong.
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
        queue.push(b"first".to_vec());
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
            queue.push(vec![line]);
        }
        assert_eq!(queue.finish(Duration::from_secs(600)), 0);
        drop(queue);
        assert_eq!(written.iter().flatten().collect::<Vec<_>>(), (0..100).collect::<Vec<_>>());
    }

    #[test]
    fn a_stuck_sink_costs_lines_and_no_time() {
        let (queue, go) = stuck();
        for _ in 0..LINES_MAX + 7 {
            queue.push(b"x".to_vec());
        }
        // Nothing was written: 7 found no room, the rest and the first are still waiting.
        assert_eq!(queue.finish(Duration::ZERO), 7 + LINES_MAX as u64 + 1);
        drop(go);
    }

    #[test]
    fn bytes_are_bounded_too() {
        let (queue, go) = stuck();
        for _ in 0..5 {
            queue.push(vec![b'x'; BYTES_MAX / 4]);
        }
        for _ in 0..5 {
            go.send(()).unwrap();
        }
        assert_eq!(queue.finish(Duration::from_secs(600)), 1);
    }

    #[test]
    fn a_line_that_the_sink_refuses_is_counted() {
        let (sink, written) = mpsc::channel();
        drop(written);
        let queue = Queue::start(Channel(sink)).unwrap();
        queue.push(b"x".to_vec());
        assert_eq!(queue.finish(Duration::from_secs(600)), 1);
    }

    #[test]
    fn a_line_after_the_end_is_counted() {
        let (sink, _written) = mpsc::channel();
        let queue = Queue::start(Channel(sink)).unwrap();
        assert_eq!(queue.finish(Duration::from_secs(600)), 0);
        queue.push(b"late".to_vec());
        assert_eq!(queue.finish(Duration::ZERO), 1);
    }
}
