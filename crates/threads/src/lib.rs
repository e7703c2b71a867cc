//! How soon the system's scheduler runs a thread.
//!
//! Two kinds of threads share the cores: those that answer, which have a little to do each time they wake, and workers, which have much.
//! Workers have the lowest priority ([`background`]), but that alone does not make way: Linux's scheduler (EEVDF, since 6.6) lets a thread
//! that it has chosen run for a slice, 1.4 to 3 ms by default, whatever wakes meanwhile, and looks again at the next tick of its clock, up to 4 ms later. Since 6.12 a
//! thread may ask for slices of its own, and one that wakes with a shorter slice than that of the running thread takes the core at once. That is
//! what threads that answer should ask for ([`prompt`]).
//!
//! Measured by the scheduler's trace on two cores, while 20,000 changes a second were folded on workers: within 4.5 s the threads of the
//! runtime waited behind workers, each time for half a millisecond and more, for 28-79 ms in all, and for 0-9 ms once they were prompt.
//!
//! This is the one crate with `unsafe`: no well-kept library makes the call that sets a slice.

use std::io;

/// Has the calling thread run at once when it wakes, beside threads that have not asked for it. For the threads of a runtime on which guilds or sessions live:
///
/// ```
/// let mut builder = tokio::runtime::Builder::new_multi_thread();
/// builder.on_thread_start(|| drop(guildhall_threads::prompt()));
/// ```
///
/// It takes no more of a core for that, only in shorter slices. Kernels before Linux 6.12 accept it and change nothing; so do other systems.
///
/// # Errors
/// Those of the system: where a sandbox forbids the call, or the thread has a real-time policy. The thread goes on as before.
pub fn prompt() -> io::Result<()> {
    #[cfg(target_os = "linux")]
    slice::ask(SLICE_NANOS)?;
    Ok(())
}

/// Has the calling thread run at the lowest priority: a worker's.
///
/// # Errors
/// Those of the system. The thread goes on as before.
pub fn background() -> io::Result<()> {
    Ok(rustix::process::setpriority_process(None, NICE)?)
}

/// The shortest slice that Linux grants.
#[cfg(target_os = "linux")]
const SLICE_NANOS: u64 = 100_000;
/// The lowest priority there is.
const NICE: i32 = 19;

#[cfg(target_os = "linux")]
mod slice {
    #![allow(unsafe_code)]

    use std::io;

    use libc::{SCHED_FLAG_KEEP_POLICY, SYS_sched_setattr, sched_attr, syscall};

    /// Asks for slices of so many nanoseconds for the calling thread, which keeps its policy and priority.
    pub(super) fn ask(nanos: u64) -> io::Result<()> {
        let attr = sched_attr {
            size: size_of::<sched_attr>() as u32,
            sched_policy: 0,
            sched_flags: SCHED_FLAG_KEEP_POLICY as u64,
            sched_nice: rustix::process::getpriority_process(None)?,
            sched_priority: 0,
            sched_runtime: nanos,
            sched_deadline: 0,
            sched_period: 0,
        };
        // SAFETY: the kernel reads `size` bytes from the pointer, which are those of `attr`, all of them written; it keeps none, and writes
        // `size` alone, and that only if it does not know the struct's. `attr` is a local that outlives the call, and 0 names the calling thread.
        let refused = unsafe { syscall(SYS_sched_setattr, 0, &raw const attr, 0) } != 0;
        if refused { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    #[cfg(test)]
    pub(super) fn now() -> sched_attr {
        // SAFETY: the struct is numbers, for which zeros are good.
        let mut attr: sched_attr = unsafe { std::mem::zeroed() };
        let size = size_of::<sched_attr>() as u32;
        // SAFETY: the kernel writes at most `size` bytes behind the pointer, which is that of a local as long as that.
        let refused = unsafe { syscall(libc::SYS_sched_getattr, 0, &raw mut attr, size, 0) } != 0;
        assert!(!refused, "{}", io::Error::last_os_error());
        attr
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::thread;

    use super::*;

    /// Whether the kernel knows slices: before that it tells none.
    fn has_slices() -> bool {
        slice::now().sched_runtime > 0
    }

    #[test]
    fn a_prompt_thread_has_short_slices_and_keeps_its_policy_and_priority() {
        let told = thread::spawn(|| {
            let before = slice::now();
            prompt().unwrap();
            (before, slice::now())
        });
        let (before, after) = told.join().unwrap();
        assert_eq!((after.sched_policy, after.sched_nice), (before.sched_policy, before.sched_nice));
        if has_slices() {
            assert!(before.sched_runtime > SLICE_NANOS, "{}", before.sched_runtime);
            assert_eq!(after.sched_runtime, SLICE_NANOS);
        }
        assert_ne!(slice::now().sched_runtime, SLICE_NANOS, "it is that thread's alone");
    }

    #[test]
    fn a_worker_has_the_lowest_priority_and_keeps_it_when_it_is_prompt() {
        let nice = |act: fn() -> io::Result<()>| {
            act().unwrap();
            slice::now().sched_nice
        };
        let told = thread::spawn(move || [nice(background), nice(prompt)]);
        assert_eq!(told.join().unwrap(), [NICE, NICE]);
        assert_eq!(slice::now().sched_nice, 0, "it is that thread's alone");
    }
}
