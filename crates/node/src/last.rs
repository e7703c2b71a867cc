//! What is left to read of a guild whose owner ended before its time, until the next one has come.
//!
//! It is the last view that the owner let out: all of it is stored, and nothing of the turns that were not. It grows old from the
//! owner's end on, and whoever reads it is told how old it is.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use guildhall_members::View;
use guildhall_proto::CallError;
use tokio::time::Instant;

use crate::live::{Control, Live};
use crate::offload::{JobPanicked, Offload};

/// The last view of a guild that has no owner now.
#[derive(Debug)]
pub(crate) struct Last {
    /// `None` only while it is dropped.
    view: Option<Arc<View>>,
    /// When the owner ended.
    since: Instant,
    scans: AtomicU32,
    /// In which round of the node's sweeps somebody last read it.
    used: AtomicU32,
    offload: Offload,
}

/// Where a read finds what it reads.
#[derive(Debug, Clone)]
pub(crate) enum Readable {
    Live(Arc<Live>),
    Last(Arc<Last>),
}

impl Last {
    pub(crate) fn new(view: Arc<View>, offload: Offload) -> Self {
        let (scans, used) = (AtomicU32::new(0), AtomicU32::new(0));
        Self { view: Some(view), since: Instant::now(), scans, used, offload }
    }

    pub(crate) fn touch(&self, round: u32) {
        self.used.store(round, Ordering::Relaxed);
    }

    /// Rounds that have begun since somebody read it.
    pub(crate) fn idle_rounds(&self, round: u32) -> u32 {
        round.wrapping_sub(self.used.load(Ordering::Relaxed))
    }
}

/// It dies on a worker, as any view.
impl Drop for Last {
    fn drop(&mut self) {
        if let Some(view) = self.view.take() {
            self.offload.discard(view);
        }
    }
}

impl Readable {
    /// The latest view that may be seen, and how long there has been no owner, if there is none.
    ///
    /// # Errors
    /// `UnknownGuild` if the guild does not exist.
    pub(crate) fn view(&self) -> Result<(Arc<View>, Option<Duration>), CallError> {
        match self {
            Self::Live(live) => Ok((live.view()?, None)),
            Self::Last(last) => {
                let view = last.view.as_ref().expect("the view is taken out by the drop alone");
                Ok((Arc::clone(view), Some(last.since.elapsed())))
            }
        }
    }

    /// The scans that run or wait over it.
    pub(crate) fn scans(&self) -> &AtomicU32 {
        match self {
            Self::Live(live) => live.scans(),
            Self::Last(last) => &last.scans,
        }
    }

    /// Has the owner end, if there is one, for a job of the guild has panicked.
    pub(crate) fn retire(&self, panic: &JobPanicked) {
        match self {
            Self::Live(live) => live.mailbox.post_control(Control::JobPanicked(panic.clone())),
            Self::Last(_) => {}
        }
    }
}
