//! The runtime on which guilds, links and sessions live.

use std::io;

use tokio::runtime::{Builder, Runtime};

/// A thread for each core, prompt ones.
///
/// # Errors
/// Those of starting threads.
pub(crate) fn runtime() -> io::Result<Runtime> {
    let prompt = || {
        if let Err(error) = guildhall_threads::prompt() {
            tracing::debug!(%error, "a thread of the runtime waits for workers' slices");
        }
    };
    Builder::new_multi_thread().enable_all().on_thread_start(prompt).build()
}
