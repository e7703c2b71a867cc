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
    revoked_while_lagging: 10,
    messages_hidden: 1,
    echoes_withheld: 5,
}
