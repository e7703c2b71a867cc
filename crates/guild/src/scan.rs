//! Looking through all members for those that a prune may remove: on a worker, over a view.

use guildhall_members::{MemberRef, View};
use guildhall_proto::{PruneBy, Status, UserId};

use crate::work::WorkId;

/// One search, to be [run](Self::run) on a worker. Its result is a suggestion: the guild looks at each member again.
#[derive(Debug)]
pub struct ScanJob {
    pub(crate) work: WorkId,
    pub(crate) view: View,
    pub(crate) by: PruneBy,
    pub(crate) after: Option<UserId>,
}

/// What a search has found, for [`Input::ScanDone`](crate::Input::ScanDone).
#[derive(Debug)]
pub struct Scanned {
    pub(crate) work: WorkId,
    pub(crate) users: Vec<UserId>,
    /// The last user found, if there may be more behind.
    pub(crate) more: Option<UserId>,
}

impl ScanJob {
    /// Looks through the members, and lets the view go. O(members looked at), some 30 ns each; at most 65,536 are found at a time.
    pub fn run(self) -> Scanned {
        let Self { work, view, by, after } = self;
        let users = view.search(after, CANDIDATES_MAX, |member, status| may_match(&by, member, status));
        #[cfg(feature = "defects")]
        let users: Vec<UserId> =
            users.into_iter().step_by(1 + usize::from(guildhall_proto::Defect::PruneUnfinished.is_on())).collect();
        let more = users.last().copied().filter(|_| users.len() == CANDIDATES_MAX);
        Scanned { work, users, more }
    }
}

/// Whether a member is one that the prune is for, as far as its record and its status tell.
pub(crate) fn may_match(by: &PruneBy, member: &MemberRef<'_>, status: Status) -> bool {
    match by {
        PruneBy::Role(role) => member.holds(*role),
        PruneBy::Idle { joined_before } => {
            !status.is_online() && member.joined_at < *joined_before && member.roles().next().is_none()
        }
        PruneBy::Absent(_) => !status.is_online(),
    }
}

/// Candidates found by one search: 512 KiB, however many match.
const CANDIDATES_MAX: usize = 64 * 1024;
