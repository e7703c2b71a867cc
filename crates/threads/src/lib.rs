//! How soon the system's scheduler runs a thread.
//!
//! Two kinds of threads share the cores: those that answer, which have a little to do each time they wake, and workers, which have much.
//! Workers have the lowest priority ([`background`]), but that alone does not make way: Linux's scheduler (EEVDF, since 6.6) lets a thread
//! that it has chosen run for a slice, 1.4 to 3 ms by default, whatever wakes meanwhile, and looks again at the next tick of its clock, up to 4 ms later. Since 6.12 a
//! thread may ask for slices of its own, and one that wakes with a shorter slice than that of the running thread takes the core at once, unless it has lately had more
//! than its share. That is what threads that answer should ask for ([`prompt`]). Threads inherit slices, so workers ask for the usual ones.
//!
//! Measured by the scheduler's trace on two cores, while 20,000 changes a second were folded on workers: within 4.5 s the threads of the
//! runtime waited behind workers, each time for half a millisecond and more, for 79, 47 and 28 ms in all, and for 9, 0 and 48 ms where they were prompt, in
//! turns; in the last one the machine's host took much, which the trace shows as a wait too.
//!
//! This is the one crate with `unsafe`: no well-kept library makes the call that sets a slice.

use std::io;

/// Has the calling thread, and those that it starts, go before threads that have not asked for it when it wakes. For the threads of a runtime on which
/// guilds or sessions live:
///
/// ```
/// let mut builder = tokio::runtime::Builder::new_multi_thread();
/// builder.on_thread_start(|| drop(guildhall_threads::prompt()));
/// ```
///
/// It takes no more of a core for that, only in shorter slices. Kernels from Linux 5.3 to 6.11 accept it and change nothing; so do other systems.
///
/// # Errors
/// Those of the system: a kernel that is older, a sandbox that forbids the call, a thread with a real-time policy. The thread goes on as before.
pub fn prompt() -> io::Result<()> {
    #[cfg(target_os = "linux")]
    slice::ask(SLICE_NANOS)?;
    Ok(())
}

/// Has the calling thread not be [`prompt`], whoever started it.
///
/// # Errors
/// As of [`prompt`].
pub fn patient() -> io::Result<()> {
    #[cfg(target_os = "linux")]
    slice::ask(USUAL)?;
    Ok(())
}

/// Has the calling thread run at the lowest priority, and not be prompt: a worker's way. On other systems than Linux nothing changes.
///
/// # Errors
/// Those of the system.
pub fn background() -> io::Result<()> {
    #[cfg(target_os = "linux")]
    rustix::process::setpriority_process(None, NICE)?;
    patient()
}

/// The shortest slice that Linux grants.
#[cfg(target_os = "linux")]
const SLICE_NANOS: u64 = 100_000;
/// Has Linux use its own.
#[cfg(target_os = "linux")]
const USUAL: u64 = 0;
/// The lowest priority there is.
#[cfg(target_os = "linux")]
const NICE: i32 = 19;

#[cfg(target_os = "linux")]
mod slice {
    use std::io;

    use libc::{SCHED_FLAG_KEEP_POLICY, SYS_sched_setattr, c_long, sched_attr, syscall};

    /// Asks for slices of so many nanoseconds for the calling thread, which keeps its policy and priority.
    pub(super) fn ask(nanos: u64) -> io::Result<()> {
        let mut attr = sched_attr {
            size: size_of::<sched_attr>() as u32,
            sched_policy: 0,
            sched_flags: SCHED_FLAG_KEEP_POLICY as u64,
            sched_nice: rustix::process::getpriority_process(None)?,
            sched_priority: 0,
            sched_runtime: nanos,
            sched_deadline: 0,
            sched_period: 0,
        };
        #[expect(unsafe_code, reason = "no well-kept library makes this call")]
        // SAFETY: the kernel reads `size` bytes from the pointer, which are those of `attr`, all of them written, keeps none, and writes at most
        // `size` itself. `attr` is a local that outlives the call. 0 names the calling thread.
        let refused = unsafe { syscall(SYS_sched_setattr, 0 as c_long, &raw mut attr, 0 as c_long) } != 0;
        if refused { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    #[cfg(test)]
    #[expect(unsafe_code, reason = "no well-kept library makes this call")]
    pub(super) fn now() -> sched_attr {
        // SAFETY: the struct is numbers, for which zeros are good.
        let mut attr: sched_attr = unsafe { std::mem::zeroed() };
        let size = size_of::<sched_attr>() as c_long;
        // SAFETY: the kernel writes at most `size` bytes behind the pointer, which is that of a local as long as that.
        let refused = unsafe { syscall(libc::SYS_sched_getattr, 0 as c_long, &raw mut attr, size, 0 as c_long) } != 0;
        assert!(!refused, "{}", io::Error::last_os_error());
        attr
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::thread;

    use super::*;

    /// What `act` makes of a thread of its own, which has this thread's ways first; `None` if the kernel tells of no slices.
    fn slice_after(act: impl FnOnce() -> io::Result<()> + Send) -> Option<u64> {
        let told = thread::scope(|scope| {
            let changed = scope.spawn(|| {
                act().expect("the system allows it");
                slice::now()
            });
            changed.join().expect("it does not panic")
        });
        Some(told.sched_runtime).filter(|nanos| *nanos > 0)
    }

    #[test]
    fn a_prompt_thread_has_short_slices_and_keeps_its_policy_and_priority() {
        let before = slice::now();
        let prompted = thread::spawn(|| {
            prompt().unwrap();
            slice::now()
        });
        let after = prompted.join().unwrap();
        assert_eq!((after.sched_policy, after.sched_nice), (before.sched_policy, before.sched_nice));
        if before.sched_runtime > 0 {
            assert!(before.sched_runtime > SLICE_NANOS, "{}", before.sched_runtime);
            assert_eq!(after.sched_runtime, SLICE_NANOS);
        }
        assert_eq!(slice::now().sched_runtime, before.sched_runtime, "who started it is as before");
    }

    #[test]
    fn what_a_prompt_thread_starts_is_prompt_too_unless_it_is_a_worker_or_patient() {
        let usual = slice_after(|| Ok(()));
        let within_prompt = |act: fn() -> io::Result<()>| {
            let started = thread::spawn(move || {
                prompt().unwrap();
                slice_after(act)
            });
            started.join().unwrap()
        };
        let short = usual.map(|_| SLICE_NANOS);
        assert_eq!(
            [within_prompt(|| Ok(())), within_prompt(patient), within_prompt(background)],
            [short, usual, usual]
        );
    }

    #[test]
    fn a_worker_has_the_lowest_priority_and_keeps_it_when_it_is_prompt() {
        let before = slice::now().sched_nice;
        let nice = |act: fn() -> io::Result<()>| {
            act().unwrap();
            slice::now().sched_nice
        };
        let told = thread::spawn(move || [nice(background), nice(prompt)]);
        assert_eq!(told.join().unwrap(), [NICE, NICE]);
        assert_eq!(slice::now().sched_nice, before, "who started it is as before");
    }
}
