//! What really happened, counted over all histories: a test that never met a gap proves nothing about gaps.

use std::ops::AddAssign;

macro_rules! seen {
    ($($name:ident: $at_least:literal,)*) => {
        /// Counts of what happened.
        #[derive(Debug, Clone, Copy, Default)]
        pub(crate) struct Seen {
            $(pub(crate) $name: u64,)*
        }

        impl Seen {
            /// Those that happened less than once in so many histories as is written beside them.
            pub(crate) fn too_rare(&self, histories: u64) -> Vec<&'static str> {
                let mut rare = Vec::new();
                $(
                    if self.$name * $at_least < histories {
                        rare.push(stringify!($name));
                    }
                )*
                rare
            }
        }

        impl AddAssign for Seen {
            fn add_assign(&mut self, other: Self) {
                $(self.$name += other.$name;)*
            }
        }
    };
}

seen! {
    steps: 1,
    events: 1,
    refusals: 1,
    unchanged: 1,
    retries: 1,
    turns: 1,
    settled_out_of_order: 5,
    checkpoints: 2,
    recovered: 5,
    recovered_from_checkpoints: 20,
    folds_late: 2,
    changed_while_folding: 5,
    roles_deleted: 2,
    roles_deleted_from_listeners: 20,
    roles_back: 50,
    guilds_deleted: 100,
    cohort_changes: 2,
    attached_at_the_head: 10,
    attached_ahead: 10,
    attached_in_the_past: 10,
    attached_too_late: 50,
    attached_pending_full: 100,
    detached: 5,
    member_left: 5,
    banned: 5,
    pruned: 5,
    spread_over_turns: 5,
    imported: 5,
    delivered: 1,
    delivered_in_batches: 1,
    waited: 1,
    woken: 1,
    gaps_of_streams: 10,
    gaps_of_batches: 10,
    gaps_of_holes: 5,
    resyncs: 2,
    fallen_out_of_the_owners_ring: 10,
    fallen_under_pressure: 50,
    gaps_of_passive: 10,
    gaps_under_pressure: 50,
    typed: 2,
    typing_refused: 2,
    typing_heard: 10,
    presences_heard: 10,
    told_in_batches: 10,
    told_ahead: 10,
    revoked_while_lagging: 10,
    levels_changed: 1,
    levels_changed_while_lagging: 5,
    levels_ahead: 20,
    levels_that_look_back: 100,
    levels_too_late: 200,
    statuses_told: 5,
    passive_mentions_of_users: 10,
    passive_mentions_of_roles: 10,
    passive_mentions_of_everyone: 10,
    passive_mentions_of_those_here: 10,
    summaries: 2,
    summaries_in_batches: 2,
    news_withheld: 5,
    presences_by_another_session: 5,
    deleted_with_sessions: 100,
    told_of_a_deletion: 50,
    banned_with_sessions: 20,
    pruned_with_sessions: 20,
    kept_out: 20,
    unbanned: 20,
    messages_hidden: 1,
    echoes_withheld: 5,
}
