//! The machine that is measured on: what it is, and what it says of this process.

use std::fs;
use std::str::SplitWhitespace;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use rustix::thread::{CpuSet, sched_getaffinity};
use rustix::time::{ClockId, clock_gettime};

/// What is said above the table.
pub fn describe() -> String {
    let model = field("/proc/cpuinfo", "model name").unwrap_or_else(|| String::from("unknown processor"));
    let cores = processors().len();
    let memory = field("/proc/meminfo", "MemTotal").and_then(|all| all.split_whitespace().next()?.parse::<f64>().ok());
    let gib = memory.map_or(f64::NAN, |kib| kib / f64::from(1 << 20));
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!("{cores} cores ({model}), {gib:.1} GiB, Linux {}", kernel.trim())
}

/// What the host of a virtual machine has taken of its processors since it began.
pub fn stolen() -> Duration {
    let stat = fs::read_to_string("/proc/stat").expect("Linux says what its host takes");
    let ticks = stat.lines().next().and_then(|all| all.split_whitespace().nth(8)?.parse::<u64>().ok());
    Duration::from_millis(ticks.unwrap_or(0) * 10)
}

/// What this process has taken of the processors.
pub fn cpu() -> Duration {
    clock(ClockId::ProcessCPUTime)
}

/// What the calling thread has taken of the processors: not what it waited, nor, where the host tells it, what was stolen.
pub fn thread_cpu() -> Duration {
    clock(ClockId::ThreadCPUTime)
}

fn clock(clock: ClockId) -> Duration {
    let time = clock_gettime(clock);
    Duration::new(
        u64::try_from(time.tv_sec).expect("what was taken is not negative"),
        u32::try_from(time.tv_nsec).expect("less than a second in nanoseconds"),
    )
}

/// What another process has taken of the processors, in hundredths of a second.
fn cpu_of(process: u32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).expect("a process that runs");
    // Its name, in brackets, may have spaces in it.
    let (_, fields) = stat.rsplit_once(')').expect("a name in brackets");
    let ticks = fields.split_whitespace().skip(11).take(2).map(|ticks| ticks.parse::<u64>().unwrap_or(0));
    Duration::from_millis(ticks.sum::<u64>() * 10)
}

/// Sees how much is left to this process of the processors that it may use: `taskset` and the like leave it some of the machine's.
#[derive(Debug)]
pub struct Watch {
    since: Instant,
    processors: Vec<usize>,
    idle: Duration,
    own: Duration,
    /// Others that belong to it.
    with: Vec<u32>,
}

impl Watch {
    /// Begins to watch.
    pub fn begin() -> Self {
        Self::begin_with(&[])
    }

    /// Begins to watch what is left to this process and these others.
    pub fn begin_with(others: &[u32]) -> Self {
        let (processors, with) = (processors(), others.to_vec());
        Self { since: Instant::now(), idle: idle(&processors), own: Self::own(&with), processors, with }
    }

    fn own(with: &[u32]) -> Duration {
        cpu() + with.iter().map(|process| cpu_of(*process)).sum::<Duration>()
    }

    /// The share of these processors' time since then that others had: other processes, the system for them, and the machine's host.
    /// Linux counts idle time in hundredths of a second.
    pub fn others(&self) -> f64 {
        let all = self.since.elapsed().as_secs_f64() * self.processors.len() as f64;
        let [idle, own] = [(idle(&self.processors), self.idle), (Self::own(&self.with), self.own)]
            .map(|(now, then)| now.saturating_sub(then).as_secs_f64());
        ((all - idle - own) / all).max(0.0)
    }
}

/// The numbers of the processors that the calling thread may use, ascending.
fn processors() -> Vec<usize> {
    let set = sched_getaffinity(None).expect("Linux says where a thread may run");
    (0..CpuSet::MAX_CPU).filter(|processor| set.is_set(*processor)).collect()
}

/// For how long these processors have had nothing to do, all together.
fn idle(processors: &[usize]) -> Duration {
    idle_in(&fs::read_to_string("/proc/stat").expect("Linux says what its processors do"), processors)
}

/// The same by the text of `/proc/stat`: a line for all processors, and one for each.
fn idle_in(stat: &str, processors: &[usize]) -> Duration {
    let mut lines = stat.lines().map(str::split_whitespace).map(|mut line| (line.next().unwrap_or_default(), line));
    let all = lines.next();
    let each: Vec<_> =
        lines.map_while(|(name, line)| Some((name.strip_prefix("cpu")?.parse::<usize>().ok()?, line))).collect();
    let ours = each.iter().filter(|(processor, _)| processors.contains(processor));
    let ticks = |line: &SplitWhitespace<'_>| {
        let [idle, waiting] = [3, 4].map(|field| line.clone().nth(field).and_then(|ticks| ticks.parse::<u64>().ok()));
        idle.unwrap_or(0) + waiting.unwrap_or(0)
    };
    // Each line is rounded for itself: where all processors are ours, theirs is rounded once.
    let idle = match all {
        Some((_, all)) if ours.clone().count() == each.len() => ticks(&all),
        Some(_) | None => ours.map(|(_, line)| ticks(line)).sum(),
    };
    Duration::from_millis(idle * 10)
}

/// Resident bytes of this process.
pub fn resident() -> u64 {
    resident_of(std::process::id())
}

/// Stops a process where it stands, or has it go on.
pub fn hold(process: u32, is_held: bool) {
    let pid = i32::try_from(process).ok().and_then(Pid::from_raw).expect("the number of a process");
    let signal = if is_held { Signal::STOP } else { Signal::CONT };
    kill_process(pid, signal).expect("it is a child of this one");
}

/// Resident bytes of a process.
pub fn resident_of(process: u32) -> u64 {
    let rss = field(&format!("/proc/{process}/smaps_rollup"), "Rss").expect("Linux tells what is resident");
    rss.split_whitespace().next().and_then(|kib| kib.parse::<u64>().ok()).expect("a number of KiB") * 1024
}

/// What a file of `name: value` lines says first under a name.
fn field(path: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let values = text.lines().filter_map(|line| line.split_once(':'));
    values.filter(|(found, _)| found.trim() == name).map(|(_, value)| value.trim().to_owned()).next()
}

#[cfg(test)]
mod tests {
    use rustix::thread::sched_setaffinity;

    use super::*;

    #[test]
    fn the_machine_says_what_it_is() {
        let machine = describe();
        assert!(machine.contains("cores") && machine.contains("Linux") && !machine.contains("NaN"), "{machine}");
        assert!(resident() > 0);
    }

    #[test]
    fn a_thread_s_own_time_does_not_count_what_it_sleeps() {
        let before = thread_cpu();
        std::thread::sleep(Duration::from_millis(50));
        assert!(thread_cpu() - before < Duration::from_millis(40));
    }

    #[test]
    fn another_process_is_looked_at_as_this_one_is() {
        let own = std::process::id();
        assert!(cpu_of(own).abs_diff(cpu()) <= Duration::from_millis(100));
        assert!(resident_of(own).abs_diff(resident()) < 16 << 20);
    }

    #[test]
    fn what_this_process_does_is_not_counted_as_others() {
        let watch = Watch::begin();
        let (begin, before) = (Instant::now(), cpu());
        while cpu() - before < Duration::from_millis(100) {
            std::hint::spin_loop();
        }
        let own = 0.1 / begin.elapsed().as_secs_f64();
        let cores = processors().len() as f64;
        assert!(watch.others() <= 1.0 - own / cores + 0.01);
    }

    #[test]
    fn processors_that_this_process_may_not_use_are_not_looked_at() {
        let stat = "cpu  9 9 9 101 20 0 0 7\ncpu0 5 5 5 60 15 0 0 3\ncpu1 4 4 4 40 5 0 0 4\nintr 7 7 7 7 7 7\n";
        let idle = |processors: &[usize]| idle_in(stat, processors).as_millis();
        assert_eq!([idle(&[0]), idle(&[1]), idle(&[7])], [750, 450, 0]);
        assert_eq!(idle(&[0, 1]), 1_210, "of all, as they are summed up before they are rounded");
    }

    #[test]
    fn a_watch_is_on_the_processors_of_its_thread() {
        let watch = std::thread::spawn(|| {
            let mut one = CpuSet::new();
            one.set(processors()[0]);
            sched_setaffinity(None, &one).unwrap();
            Watch::begin()
        });
        assert_eq!(watch.join().unwrap().processors, processors()[..1]);
    }
}
