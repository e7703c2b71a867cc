//! Seeded defects: faults of the product, put there on purpose and switched on one at a time, to see whether the simulation finds them.
//!
//! All but three lie in code that runs in a node or a client as it runs in the simulation. Those whose place is `sim` are faults of a shell, which the
//! simulation has of its own: they show that the checks see such a fault, and nothing of the product's shell, which is for its own tests. What each
//! stands for: `moved-after-applied` for an owner's end at a move (`crates/node/src/owner.rs`), `link-ends-next` and `feed-over-epochs` for the feeds of
//! a link (`crates/node/src/links/feeds.rs`, `crates/sessions/src/local.rs`).
//!
//! This module and every place that asks for it are built with the feature `defects` alone, which is for the simulation: without it
//! nothing of a defect is in the product. A place is one condition, [`Defect::is_on`], behind `#[cfg(feature = "defects")]`; what it
//! does wrong is said here and nowhere else.
//!
//! Which defect is on is known to a thread for itself, so that runs side by side do not see each other's; or to a process that is killed, as a
//! whole.
//!
//! ```
//! use guildhall_proto::defects::{self, Defect};
//!
//! let on = defects::switch_on(Defect::GateOpen);
//! assert!(Defect::GateOpen.is_on() && !Defect::SyncSkipped.is_on());
//! drop(on);
//! assert!(!Defect::GateOpen.is_on());
//! ```

use std::cell::Cell;
use std::marker::PhantomData;
use std::sync::OnceLock;

/// Makes the enum, and what is known of each defect.
macro_rules! defects {
    ($($defect:ident $name:literal in $place:ident breaks [$($promise:literal),+]: $what:literal;)+) => {
        /// A fault that can be switched on.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Defect {
            $(#[doc = $what] $defect,)+
        }

        impl Defect {
            /// All there are.
            pub const ALL: &[Self] = &[$(Self::$defect),+];

            /// How it is called on a command line.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$defect => $name,)+
                }
            }

            /// What goes wrong.
            pub const fn what(self) -> &'static str {
                match self {
                    $(Self::$defect => $what,)+
                }
            }

            /// In which crate its place is, by the crate's folder; `sim` is no part of the product.
            pub const fn place(self) -> &'static str {
                match self {
                    $(Self::$defect => stringify!($place),)+
                }
            }

            /// The promises that it breaks, as the simulation numbers them: a checker that finds it names one of them. The first is the
            /// one meant.
            pub const fn promises(self) -> &'static [u8] {
                match self {
                    $(Self::$defect => &[$($promise),+],)+
                }
            }
        }
    };
}

defects! {
    RetryAppliedAgain "retry-applied-again" in guild breaks [3]:
        "A retry of an operation that was answered is applied once more.";
    OutcomesForgotten "outcomes-forgotten" in guild breaks [3]:
        "Recovery forgets which operations its records are of, so their retries are applied once more.";
    ExpiredApplied "expired-applied" in guild breaks [3]:
        "An operation whose outcome may have been forgotten long ago is applied.";
    BodyIgnored "body-ignored" in guild breaks [3]:
        "Another body under the id of an operation that was answered gets that answer.";
    IssueTimeIgnored "issue-time-ignored" in guild breaks [3]:
        "The id of an operation that was answered, with another issue time, gets that answer.";
    ForgottenEarly "forgotten-early" in guild breaks [3]:
        "Outcomes are kept for one minute, and ids are taken for ten.";
    OutcomesUnbounded "outcomes-unbounded" in guild breaks [7]:
        "All outcomes of a client are kept, however many there are.";
    WorksUnbounded "works-unbounded" in guild breaks [7, 12]:
        "However many imports and prunes are under way, one more is begun.";
    FloorNotRaised "floor-not-raised" in guild breaks [3]:
        "A counter floor stays where it is when a client's oldest outcomes are forgotten.";
    RoomIgnored "room-ignored" in guild breaks [7, 3]:
        "Durable commands are taken while the store has no room for records.";
    RefusalDropped "refusal-dropped" in guild breaks [11, 7]:
        "Who is refused never hears of it.";
    GateOpen "gate-open" in guild breaks [3, 9]:
        "A turn is let out before its records are stored.";
    SeqReused "seq-reused" in guild breaks [2, 4, 3]:
        "A guild that comes back from the store goes on in the epoch before, and names new events as others were named.";
    StructureTooLate "structure-too-late" in guild breaks [3, 9]:
        "A checkpoint covers what was recorded while its fold ran, but has the members as of before.";
    PruneUnfinished "prune-unfinished" in guild breaks [3]:
        "A prune finds every other member only.";
    ImportUnfinished "import-unfinished" in guild breaks [3]:
        "An import takes some lines for those of members, and adds nobody for them.";
    WaitersForgotten "waiters-forgotten" in guild breaks [11]:
        "Of those who wait for a whole-guild change only the first is answered.";
    SleepUnsaved "sleep-unsaved" in guild breaks [3]:
        "A guild falls asleep without having saved its latest messages.";
    AnyGeneration "any-generation" in guild breaks [4]:
        "A session may come back with a secret that it has used before.";
    HearsayTaken "hearsay-taken" in guild breaks [4]:
        "A session may come back to an owner that does not know whether it came back to the one before.";
    GenerationsAnew "generations-anew" in guild breaks [4]:
        "Each owner numbers generations from one.";
    SupersededActs "superseded-acts" in guild breaks [4]:
        "Who held a session before it came back elsewhere may still change it.";
    MemberTurnedAway "member-turned-away" in guild breaks [4]:
        "A member with three roles or more cannot listen.";
    TypistUnasked "typist-unasked" in guild breaks [5]:
        "Anybody may be told of as typing anywhere.";
    ForeignPublisher "foreign-publisher" in guild breaks [3, 4]:
        "Anybody may publish as another user's session.";
    FoldOverNewer "fold-over-newer" in members breaks [3, 9]:
        "A fold drops the changes that came while it ran.";
    OverlayUnbounded "overlay-unbounded" in members breaks [7]:
        "Changes are taken while a fold is under way, however many wait for the next one.";
    TombstoneForgotten "tombstone-forgotten" in members breaks [3, 9]:
        "A member who left is one again, if an earlier fold knows of it.";
    PageLost "page-lost" in members breaks [3, 9, 4]:
        "A fold leaves out the last page if nothing in it has changed.";
    PresenceLost "presence-lost" in members breaks [9]:
        "A fold that touches a page forgets who is there.";
    RoleUnmasked "role-unmasked" in members breaks [9, 3]:
        "A deleted role stays in the records of those who held it.";
    TakenBackWrongly "taken-back-wrongly" in permissions breaks [10, 4, 5]:
        "Rights of the past have the roles and role overwrites of later.";
    DenyWins "deny-wins" in permissions breaks [4, 5, 3]:
        "What one role denies in a channel is denied, though another of the member's roles allows it.";
    GapDropped "gap-dropped" in ring breaks [4]:
        "A reader that has fallen out of a ring goes on at its tail without a word.";
    RingUnbounded "ring-unbounded" in ring breaks [7]:
        "A ring keeps everything.";
    LatestUnbounded "latest-unbounded" in ring breaks [7]:
        "A keep-latest map keeps all subjects.";
    PendingUnbounded "pending-unbounded" in relay breaks [7]:
        "However much waits for a relay to come to a position, more is taken.";
    LeakAfterRevoke "leak-after-revoke" in relay breaks [5, 4]:
        "Who sees a channel stays as it was when one of its overwrites changes.";
    RolesTakenLate "roles-taken-late" in relay breaks [5, 4]:
        "A session keeps its rights when its member's roles change, until they change again.";
    WakeTooFew "wake-too-few" in relay breaks [4, 11]:
        "Of the waiting sessions that an event is for, only those of one cohort are woken.";
    MentionLost "mention-lost" in relay breaks [4]:
        "A passive session does not hear a message that calls its user.";
    ReplayByToday "replay-by-today" in relay breaks [10, 4, 5]:
        "What a session has missed is filtered by its member's rights of now.";
    UnreadDropped "unread-dropped" in relay breaks [4]:
        "Unread summaries leave a channel out.";
    CohortOfNow "cohort-of-now" in relay breaks [5, 4]:
        "A session that was woken and lags reads by the rights that its member has come to meanwhile.";
    BegunLate "begun-late" in relay breaks [4]:
        "A session that is attached in the past begins one event behind the position where it was accepted.";
    BegunEarly "begun-early" in relay breaks [4, 5, 10]:
        "A session begins one event before the position where it was accepted.";
    HoleUntold "hole-untold" in relay breaks [4]:
        "A relay that starts again from a view does not tell its sessions of the hole.";
    NeedlessGap "needless-gap" in relay breaks [4]:
        "Whoever comes back is told a gap, though all of it is there.";
    SignatureUnchecked "signature-unchecked" in relay breaks [5]:
        "A secret is taken whoever signed it.";
    UncleanTrusted "unclean-trusted" in relay breaks [4, 2, 11]:
        "A relay takes an epoch that opened after an unclean end for a clean one.";
    ToldAhead "told-ahead" in relay breaks [5, 4]:
        "Typing and presence are told before the events that they were accepted behind.";
    HeardAfterLeaving "heard-after-leaving" in relay breaks [5, 4]:
        "The sessions of a member that left hear on.";
    MessageRepeated "message-repeated" in cluster breaks [3]:
        "A message whose answer was lost is sent again.";
    DoubtForgotten "doubt-forgotten" in cluster breaks [3]:
        "A call that may have been carried out is given up as one that was not.";
    DeadlinePassed "deadline-passed" in cluster breaks [11]:
        "A call that was sent is waited for when its time is over.";
    BudgetUnspent "budget-unspent" in cluster breaks [7]:
        "Calls are repeated whatever the client's budget says.";
    StaleFollowed "stale-followed" in cluster breaks [13]:
        "Of what is said of a guild the last word wins, not the highest grant.";
    DoubtedFollowed "doubted-followed" in cluster breaks [13]:
        "A guild is looked for at a node whose link has ended, as before.";
    RoutesUnbounded "routes-unbounded" in cluster breaks [7]:
        "A client forgets no guild that it knows the way to.";
    GrantFalls "grant-falls" in cluster breaks [1, 11]:
        "A guild that is pinned no more is granted by its shard's row as that was before.";
    ExpiredBelieved "expired-believed" in cluster breaks [3]:
        "An operation that had expired when it was sent again is told as one that was not carried out, though it may have been.";
    MovedAfterApplied "moved-after-applied" in sim breaks [3]:
        "An owner whose guild moves says so also to those whose commands it has applied and not answered yet.";
    GrantBorrowed "grant-borrowed" in cluster breaks [1, 13, 11]:
        "A node claims guilds that are placed elsewhere, by the grant of who has them.";
    MovedKept "moved-kept" in cluster breaks [13, 1, 11, 9]:
        "An owner goes on when its guild is placed elsewhere.";
    DeletedForgotten "deleted-forgotten" in guild breaks [3]:
        "Of a guild that was deleted a node says that there is none, also to who asks again for what was done before.";
    LinkEndsNext "link-ends-next" in sim breaks [11]:
        "The end of a link, noticed late, ends the feeds of the link after it.";
    FeedOverEpochs "feed-over-epochs" in sim breaks [4, 2, 11]:
        "A feed goes on behind its relay's last event although that was another owner's.";
    SyncSkipped "sync-skipped" in store breaks [3]:
        "No file is ever synced.";
    NameSyncSkipped "name-sync-skipped" in store breaks [3]:
        "Files are synced, but not their names.";
    AcknowledgedEarly "acknowledged-early" in store breaks [3, 1]:
        "A batch is said to be stored as soon as it is queued.";
    EpochNotRaised "epoch-not-raised" in store breaks [1, 2]:
        "A claim gives the epoch of the owner before.";
    GrantMayFall "grant-may-fall" in store breaks [1]:
        "A claim is granted by a grant below one that was seen.";
    FenceUnchecked "fence-unchecked" in store breaks [1, 3]:
        "Records and checkpoints are taken from whoever brings them.";
    TailCut "tail-cut" in store breaks [3]:
        "The last record is left out when a guild is loaded.";
    NewerForgotten "newer-forgotten" in store breaks [3]:
        "With the records that a checkpoint covers, those behind them are given up.";
    LiveGivenBack "live-given-back" in store breaks [3]:
        "With the segments in which nothing is live, the one behind them is removed.";
    SegmentsKept "segments-kept" in store breaks [7]:
        "Segments that are given back are not removed.";
    CheckpointTooFar "checkpoint-too-far" in store breaks [3, 9]:
        "A checkpoint is said to cover one record more than it does.";
    OutlivedForgotten "outlived-forgotten" in relay breaks [4, 5]:
        "A relay that starts again from a view keeps the sessions that have outlived their member.";
    ViewBeforeGate "view-before-gate" in guild breaks [3, 9, 4]:
        "With a turn the view of the latest is let out, whose records may not be stored.";
    ViewAfterAnswer "view-after-answer" in guild breaks [9, 11, 4]:
        "A turn's view is let out with the next turn, behind the answers.";
    FailureIgnored "failure-ignored" in guild breaks [3, 1]:
        "A turn whose records the store refused is let out, and its owner goes on.";
}

impl Defect {
    /// The defect of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|defect| defect.name() == name)
    }

    /// Whether it is switched on in this thread, or everywhere.
    pub fn is_on(self) -> bool {
        ON.get() == Some(self) || EVERYWHERE.get() == Some(&self)
    }
}

/// Switches a defect on in all threads of this process, for good. Whether it is the one: there is one such at most.
pub fn switch_on_everywhere(defect: Defect) -> bool {
    *EVERYWHERE.get_or_init(|| defect) == defect
}

/// Switches a defect on in this thread, for as long as what is returned lives.
///
/// # Panics
/// If one is on already.
pub fn switch_on(defect: Defect) -> Switched {
    let before = ON.replace(Some(defect));
    assert_eq!(before, None, "one defect is on at a time");
    Switched { _of_this_thread: PhantomData }
}

/// A defect is on for as long as this lives.
#[derive(Debug)]
#[must_use = "a defect is on for as long as this lives"]
pub struct Switched {
    _of_this_thread: PhantomData<*const ()>,
}

impl Drop for Switched {
    fn drop(&mut self) {
        ON.set(None);
    }
}

static EVERYWHERE: OnceLock<Defect> = OnceLock::new();

thread_local! {
    static ON: Cell<Option<Defect>> = const { Cell::new(None) };
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::thread;

    use super::*;

    #[test]
    fn each_has_a_name_of_its_own_by_which_it_is_found() {
        let names: BTreeSet<&str> = Defect::ALL.iter().map(|defect| defect.name()).collect();
        assert_eq!(names.len(), Defect::ALL.len());
        assert!(Defect::ALL.iter().all(|defect| Defect::named(defect.name()) == Some(*defect)));
        assert_eq!(Defect::named("none"), None);
    }

    #[test]
    fn one_is_on_in_one_thread_until_it_is_switched_off() {
        let on_here = || Defect::ALL.iter().copied().filter(|defect| defect.is_on()).collect::<Vec<_>>();
        let on = switch_on(Defect::PageLost);
        assert_eq!(on_here(), [Defect::PageLost]);
        thread::scope(|scope| {
            scope.spawn(|| assert_eq!(on_here(), []));
        });
        drop(on);
        assert_eq!(on_here(), []);
    }
}
