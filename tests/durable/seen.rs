//! What happened in the histories: so that a test can tell that it did.

/// Counted over all histories.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) power_cuts: u64,
    /// Of these, so many while the store was opened after another.
    pub(crate) double_cuts: u64,
    /// And so many later in the recovery, while the guilds were claimed.
    pub(crate) cuts_while_claiming: u64,
    pub(crate) creations_cut: u64,
    /// Ends of the process that the page cache outlived.
    pub(crate) kills: u64,
    pub(crate) cuts_between_append_and_sync: u64,
    pub(crate) cuts_in_checkpoints: u64,
    pub(crate) cuts_in_truncation: u64,
    pub(crate) cuts_in_carrying: u64,
    pub(crate) cuts_in_compaction: u64,
    pub(crate) torn_tails: u64,
    /// Opens that found a whole last group which nobody knew to be synced.
    pub(crate) unmarked_ends: u64,
    /// Durable operations answered.
    pub(crate) acknowledged: u64,
    /// Durable operations carried out in memory and then cut off by the power.
    pub(crate) operations_cut: u64,
    /// Durable operations found though nobody had been told.
    pub(crate) found_untold: u64,
    pub(crate) refused: u64,
    pub(crate) messages: u64,
    pub(crate) events: u64,
    pub(crate) views: u64,
    pub(crate) retries_of_answered: u64,
    pub(crate) retries_of_unanswered: u64,
    /// Of messages, to the same owner or over a sleep.
    pub(crate) retries_of_messages: u64,
    /// Retries that came too late.
    pub(crate) expired: u64,
    /// Imports and prunes finished.
    pub(crate) spread_finished: u64,
    /// Such whose owner came to its end between two batches, and that a retry finished.
    pub(crate) spread_resumed: u64,
    pub(crate) recovered_from_checkpoints: u64,
    pub(crate) checkpoints: u64,
    pub(crate) folds: u64,
    pub(crate) fell_asleep: u64,
    pub(crate) woke: u64,
    pub(crate) retired: u64,
    pub(crate) stale_owners_refused: u64,
    pub(crate) carried: u64,
    pub(crate) compacted: u64,
    pub(crate) segments_freed: u64,
    pub(crate) parts_kept: u64,
}

impl Seen {
    /// What 300 power cuts should have shown more often.
    pub(crate) fn too_rare(&self) -> Vec<(&'static str, u64)> {
        let least = [
            ("double cuts", self.double_cuts, 60),
            ("cuts while guilds were claimed", self.cuts_while_claiming, 5),
            ("creations cut", self.creations_cut, 1),
            ("kills", self.kills, 10),
            ("cuts between append and sync", self.cuts_between_append_and_sync, 10),
            ("cuts in checkpoints", self.cuts_in_checkpoints, 10),
            ("cuts in truncation", self.cuts_in_truncation, 5),
            ("cuts in carrying", self.cuts_in_carrying, 3),
            ("cuts in compaction", self.cuts_in_compaction, 3),
            ("torn tails", self.torn_tails, 5),
            ("unmarked ends", self.unmarked_ends, 10),
            ("acknowledged operations", self.acknowledged, 3_000),
            ("operations cut", self.operations_cut, 200),
            ("operations found though nobody was told", self.found_untold, 50),
            ("refused", self.refused, 300),
            ("messages", self.messages, 300),
            ("events", self.events, 3_000),
            ("views", self.views, 1_000),
            ("retries of answered operations", self.retries_of_answered, 1_000),
            ("retries of unanswered operations", self.retries_of_unanswered, 100),
            ("retries of messages", self.retries_of_messages, 20),
            ("expired retries", self.expired, 20),
            ("imports and prunes finished", self.spread_finished, 50),
            ("imports and prunes resumed", self.spread_resumed, 3),
            ("recoveries from checkpoints", self.recovered_from_checkpoints, 200),
            ("checkpoints", self.checkpoints, 200),
            ("folds", self.folds, 50),
            ("guilds that fell asleep", self.fell_asleep, 30),
            ("guilds that woke", self.woke, 20),
            ("owners that retired", self.retired, 50),
            ("stale owners refused", self.stale_owners_refused, 10),
            ("records carried", self.carried, 50),
            ("checkpoints compacted", self.compacted, 30),
            ("segments given back", self.segments_freed, 100),
            ("parts kept", self.parts_kept, 100),
        ];
        least.into_iter().filter(|(_, times, least)| times < least).map(|(what, times, _)| (what, times)).collect()
    }
}
