//! What the machine allows: measured in the same process as the row that it bounds, with nothing of Guildhall in it.

use std::fs::{self, File};
use std::hint::black_box;
use std::io::{Seek, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use std::{iter, thread};

use hdrhistogram::Histogram;
use tokio::runtime::Runtime;
use tokio::sync::{Notify, mpsc, oneshot};

use crate::latency::{at_rate, latencies, note, until};
use crate::row::Sample;
use crate::worlds::Random;

/// Bytes copied a second, between two buffers far larger than the caches: each byte is read and written.
pub fn memcpy() -> f64 {
    let (from, mut to) = (vec![1_u8; COPIED], vec![2_u8; COPIED]);
    let runs = (0..RUNS).map(|_| {
        let begin = Instant::now();
        to.copy_from_slice(black_box(&from));
        black_box(&mut to);
        COPIED as f64 / begin.elapsed().as_secs_f64()
    });
    Sample::of(runs).middle
}

/// Bytes read a second, by one thread, in order.
pub fn read() -> f64 {
    let from = vec![1_u64; COPIED / size_of::<u64>()];
    let runs = (0..RUNS).map(|_| {
        let begin = Instant::now();
        black_box(black_box(&from).iter().fold(0, |sum: u64, word| sum.wrapping_add(*word)));
        COPIED as f64 / begin.elapsed().as_secs_f64()
    });
    Sample::of(runs).middle
}

/// Nanoseconds of a read at a random place of so many bytes, where the next place is known only then.
pub fn random_read(bytes: usize) -> f64 {
    // One cycle through all lines of 64 bytes (Sattolo's shuffle), so that no walk is short.
    let lines = bytes / 64;
    let mut random = Random(11);
    let mut order: Vec<u32> = (0..u32::try_from(lines).expect("less than 256 GiB")).collect();
    for at in (1..lines).rev() {
        order.swap(at, usize::try_from(random.below(at as u64)).expect("an index"));
    }
    let mut places = vec![[0_u32; 16]; lines];
    for (at, next) in order.iter().enumerate() {
        places[at][0] = *next;
    }
    let runs = (0..RUNS).map(|_| {
        let (begin, mut at) = (Instant::now(), 0);
        for _ in 0..STEPS {
            at = places[at as usize][0];
        }
        black_box(at);
        begin.elapsed().as_nanos() as f64 / STEPS as f64
    });
    Sample::of(runs).middle
}

/// Nanoseconds of a call over bare tokio channels: `callers` tasks, each with `at_once` calls under way, one task that answers each
/// through a channel of its own.
pub fn channel_call(runtime: &Runtime, callers: u64, at_once: u64, calls: u64) -> f64 {
    let runs = (0..RUNS).map(|_| {
        runtime.block_on(async {
            let (ask, mut asked) = mpsc::channel::<(u64, oneshot::Sender<u64>)>(8_192);
            let answering = tokio::spawn(async move {
                while let Some((number, answer)) = asked.recv().await {
                    answer.send(number + 1).expect("the caller waits");
                }
            });
            let rounds = calls / (callers * at_once);
            let begin = Instant::now();
            let callers: Vec<_> = (0..callers)
                .map(|_| {
                    let ask = ask.clone();
                    tokio::spawn(async move {
                        for round in 0..rounds {
                            let mut waiting = Vec::new();
                            for _ in 0..at_once {
                                let (tell, told) = oneshot::channel();
                                ask.send((round, tell)).await.expect("somebody answers");
                                waiting.push(told);
                            }
                            for told in waiting {
                                black_box(told.await.expect("every call is answered"));
                            }
                        }
                    })
                })
                .collect();
            drop(ask);
            let under_way = callers.len() as u64;
            for caller in callers {
                caller.await.expect("a caller ends well");
            }
            let took = begin.elapsed();
            answering.await.expect("it ends with the last caller");
            took.as_nanos() as f64 / (rounds * under_way * at_once) as f64
        })
    });
    Sample::of(runs).middle
}

/// Calls to a task that only answers, over bare tokio channels, 1,000 a second from their due times: microseconds.
pub fn echo(runtime: &Runtime, time: Duration, into: &mut Histogram<u64>) {
    let (ask, mut asked) = mpsc::channel::<oneshot::Sender<()>>(64);
    let answering = runtime.spawn(async move {
        while let Some(answer) = asked.recv().await {
            answer.send(()).expect("the caller waits");
        }
    });
    let begin = Instant::now();
    let mut due = begin;
    while due - begin < time {
        until(due);
        let (tell, told) = oneshot::channel();
        ask.try_send(tell).expect("one call at a time");
        runtime.block_on(told).expect("every call is answered");
        note(due, into);
        due += Duration::from_millis(1);
    }
    drop(ask);
    runtime.block_on(answering).expect("it ends with the last caller");
}

/// Nanoseconds of an event of 300 bytes that is made, sent over a bounded tokio channel, and received, all by one thread.
pub fn channel_send() -> f64 {
    let (tell, mut told) = mpsc::channel::<Arc<[u8; 300]>>(64);
    let runs = (0..RUNS).map(|_| {
        let begin = Instant::now();
        for _ in 0..STEPS / 64 {
            for _ in 0..64 {
                tell.try_send(Arc::new([7; 300])).expect("the channel holds them");
            }
            for _ in 0..64 {
                black_box(told.try_recv().expect("it was sent"));
            }
        }
        begin.elapsed().as_nanos() as f64 / STEPS as f64
    });
    Sample::of(runs).middle
}

/// Deliveries a second where one thread puts an `Arc` into the channel of each of so many tokio tasks, `burst` rounds of it, and the
/// tasks count what they get.
pub fn task_deliveries(runtime: &Runtime, tasks: u64, burst: u64) -> f64 {
    runtime.block_on(async {
        let heard = Arc::new((AtomicU64::new(0), Notify::new()));
        let due = tasks * burst;
        let mut doors = Vec::new();
        for _ in 0..tasks {
            let (tell, mut told) = mpsc::channel::<Arc<[u8; 300]>>(usize::try_from(burst).expect("a short burst"));
            let heard = Arc::clone(&heard);
            tokio::spawn(async move {
                let mut lump = 0;
                while told.recv().await.is_some() {
                    lump += 1;
                    if lump == burst {
                        if heard.0.fetch_add(lump, Ordering::Relaxed) + lump == due {
                            heard.1.notify_one();
                        }
                        lump = 0;
                    }
                }
            });
            doors.push(tell);
        }
        let mut runs = Vec::new();
        for _ in 0..3 {
            heard.0.store(0, Ordering::Relaxed);
            let begin = Instant::now();
            for _ in 0..burst {
                let event = Arc::new([7; 300]);
                for door in &doors {
                    door.try_send(Arc::clone(&event)).expect("a channel holds a burst");
                }
            }
            heard.1.notified().await;
            runs.push(due as f64 / begin.elapsed().as_secs_f64());
        }
        Sample::of(runs).middle
    })
}

/// Deliveries a second where one thread pushes an `Arc` to the plain vector of each of so many sessions.
pub fn push_deliveries(sessions: usize, burst: usize) -> f64 {
    let mut doors: Vec<Vec<Arc<[u8; 300]>>> = (0..sessions).map(|_| Vec::with_capacity(burst)).collect();
    let runs = (0..RUNS).map(|_| {
        doors.iter_mut().for_each(Vec::clear);
        let begin = Instant::now();
        for _ in 0..burst {
            let event = Arc::new([7; 300]);
            for door in &mut doors {
                door.push(Arc::clone(&event));
            }
        }
        (sessions * burst) as f64 / begin.elapsed().as_secs_f64()
    });
    Sample::of(runs).middle
}

/// So many appends of so many bytes to a file of this directory, each synced: microseconds.
pub fn append_and_sync(directory: &Path, bytes: usize, times: u64) -> Histogram<u64> {
    let path = directory.join("bare");
    let mut file = File::create(&path).expect("a file");
    let bytes = vec![7; bytes];
    let mut took = latencies();
    for _ in 0..times {
        let begin = Instant::now();
        file.write_all(&bytes).expect("written");
        file.sync_data().expect("synced");
        note(begin, &mut took);
    }
    fs::remove_file(path).expect("removed");
    took
}

/// As [`append_and_sync`], but so many a second, each from its due time: a thread of its own appends what has come while it synced, and
/// syncs that as one. The file has its length and its blocks before, as a log's segment has, and stays: to give blocks back would cost the
/// next syncs.
pub fn append_and_sync_when_due(directory: &Path, bytes: usize, times: u64, a_second: u32) -> Histogram<u64> {
    let path = directory.join("bare-when-due");
    let mut file = File::options().create(true).truncate(false).write(true).open(&path).expect("a file");
    file.write_all(&vec![0; bytes * usize::try_from(times).expect("some hundred")]).expect("written");
    file.sync_all().expect("synced");
    file.rewind().expect("a file can be");
    let (tell, told) = std::sync::mpsc::channel::<Instant>();
    let append = thread::spawn(move || {
        let mut took = latencies();
        while let Ok(first) = told.recv() {
            let dues: Vec<Instant> = iter::once(first).chain(told.try_iter()).collect();
            file.write_all(&vec![7; bytes * dues.len()]).expect("written");
            file.sync_data().expect("synced");
            dues.into_iter().for_each(|due| note(due, &mut took));
        }
        took
    });
    at_rate(times, a_second, |due| tell.send(due).expect("somebody appends"));
    drop(tell);
    append.join().expect("it has appended all")
}

const COPIED: usize = 256 << 20;
const STEPS: usize = 1_000_000;
const RUNS: usize = 5;
