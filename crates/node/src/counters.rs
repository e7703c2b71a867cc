//! Counters that are pulled: bumping one is an addition to a cell of the calling thread, never a message to anyone.
//!
//! Each thread is given one of a few shards; a [`Counts`] sums them. The names are a closed list, reasons included.

use std::cell::Cell;
use std::fmt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use guildhall_proto::call::Call;
use guildhall_proto::counters;

counters! {
    /// Guilds loaded: created, woken, or reloaded after a retirement.
    GuildsLoaded: "guilds_loaded_total",
    /// Guilds loaded that the store had: woken, or brought back after a retirement.
    GuildsWoken: "guilds_woken_total",
    /// Guilds that fell asleep.
    GuildsAsleep: "guilds_asleep_total",
    /// Loads that had to wait for others.
    LoadsWaited: "loads_waited_total",
    /// Loads that were given up before their turn came, because nobody waited for them any more.
    LoadsGivenUp: "loads_given_up_total",
    /// Loads refused because too many waited.
    RefusedLoad: "loads_refused_total{reason=\"queue_full\"}",
    /// Loads given up because the store had too much to do, or no room for the claim.
    RefusedLoadByStore: "loads_refused_total{reason=\"store_busy\"}",
    /// Loads that failed: the store is not available, or what it has of the guild is damaged.
    LoadsFailed: "loads_failed_total",
    /// Guilds loaded whose time was more than an hour ahead of the node's.
    LoadsAhead: "loads_clock_ahead_total",
    /// Loads refused because as many guilds were awake as may be.
    RefusedGuild: "loads_refused_total{reason=\"guilds_max\"}",
    /// Callers refused because too many waited for the same guild.
    RefusedLoadCaller: "loads_refused_total{reason=\"callers_max\"}",
    /// Guilds retired because the store did not take their records.
    RetiredByStore: "guilds_retired_total{reason=\"store\"}",
    /// Guilds retired because one of their offload jobs panicked.
    RetiredByJob: "guilds_retired_total{reason=\"job_panic\"}",
    /// Guilds retired because their owner panicked.
    RetiredByOwner: "guilds_retired_total{reason=\"owner_panic\"}",
    /// Reads answered from the last view of a guild whose owner ended before its time, while it is brought back.
    ReadsStale: "reads_stale_total",
    /// Turns of owners.
    Turns: "owner_turns_total",
    /// Inputs that owners handled.
    Inputs: "owner_inputs_total",
    /// Of these, commands and typing: all but what sessions ask for themselves.
    Calls: "owner_calls_total",
    /// Microseconds that handled inputs had waited in mailboxes.
    MailboxWaitMicros: "owner_mailbox_wait_microseconds_total",
    /// Events appended to rings.
    Events: "ring_events_total",
    /// Times that rings beyond their share of the node's budget were told to give bytes back.
    RingsCutBack: "rings_cut_back_total",
    /// Records handed to the store.
    Records: "store_records_total",
    /// Checkpoints handed to the store.
    Checkpoints: "store_checkpoints_total",
    /// Checkpoints that the store did not take; the records stay, and the next checkpoint covers them.
    CheckpointsFailed: "store_checkpoints_failed_total",
    /// Durable commands refused because the store had no room.
    RefusedStoreFull: "store_refused_total{reason=\"full\"}",
    /// Durable commands refused because the mailbox had no room.
    RefusedDurable: "mailbox_refused_total{class=\"durable\"}",
    /// Messages refused because the mailbox had no room.
    RefusedMessage: "mailbox_refused_total{class=\"message\"}",
    /// Session requests refused because the mailbox had no room.
    RefusedSession: "mailbox_refused_total{class=\"session\"}",
    /// Typing refused because the mailbox had no room.
    RefusedEphemeral: "mailbox_refused_total{class=\"ephemeral\"}",
    /// Typing and changes of presence put into keep-latest maps.
    EphemeralsTold: "ephemerals_told_total",
    /// Typing that was not told again, because the same was told a moment ago.
    TypingRepeated: "ephemerals_dropped_total{reason=\"repeated\"}",
    /// Subjects that left a full keep-latest map, of a guild or a relay, for newer ones: who had not read them misses them.
    EphemeralsPushedOut: "ephemerals_dropped_total{reason=\"map_full\"}",
    /// Scans refused because too many ran or waited.
    RefusedScan: "offload_refused_total{class=\"scan\"}",
    /// Folds run on workers.
    Folds: "offload_folds_total",
    /// Scans run on workers.
    Scans: "offload_scans_total",
    /// Orders of a guild's nicks made on workers, for searches by prefix.
    NicksOrdered: "offload_nick_orders_total",
    /// Things dropped in place because too many waited to be dropped by a worker.
    DroppedInPlace: "offload_dropped_in_place_total",
    /// Relays that fell out of their guild's ring, or met a new owner, and began again from a view.
    RelayResyncs: "relay_resyncs_total",
    /// Sessions that ended because they were dropped without a detach, and did not come back in time.
    SessionsAbandoned: "relay_sessions_abandoned_total",
    /// Sessions that were dropped without a detach, and may come back.
    SessionsCut: "relay_sessions_cut_total",
    /// Sessions that came back.
    SessionsResumed: "relay_sessions_resumed_total",
    /// Of these, those that were told a gap first: what they had missed was not to be had any more.
    SessionsResumedWithGap: "relay_sessions_resumed_with_gap_total",
    /// Sessions released because no link of their backend's had come back in time.
    SessionsForsaken: "sessions_released_total{reason=\"sponsor_gone\"}",
    /// Runs of backends whose links had ended and not come back in time, of those that had told of sessions.
    SponsorsGone: "sponsors_gone_total",
    /// Questions to the store whether owners are the owners still, for strong reads.
    Confirmations: "store_confirmations_total",
    /// Calls over links, allowed: `Ping`.
    CallsPing: "link_calls_total{call=\"ping\"}",
    /// Calls over links, allowed: `Stats`.
    CallsStats: "link_calls_total{call=\"stats\"}",
    /// Calls over links, allowed: `ListGuilds`.
    CallsListGuilds: "link_calls_total{call=\"list_guilds\"}",
    /// Calls over links, allowed: `Command`.
    CallsCommand: "link_calls_total{call=\"command\"}",
    /// Calls over links, allowed: `Import`.
    CallsImport: "link_calls_total{call=\"import\"}",
    /// Calls over links, allowed: `Publish`.
    CallsPublish: "link_calls_total{call=\"publish\"}",
    /// Calls over links, allowed: `Typing`.
    CallsTyping: "link_calls_total{call=\"typing\"}",
    /// Calls over links, allowed: `Read`.
    CallsRead: "link_calls_total{call=\"read\"}",
    /// Calls over links, allowed: `Recipients`.
    CallsRecipients: "link_calls_total{call=\"recipients\"}",
    /// Calls over links, allowed: `Sessions`.
    CallsSessions: "link_calls_total{call=\"sessions\"}",
    /// Calls over links, allowed: `Feed`.
    CallsFeed: "link_calls_total{call=\"feed\"}",
    /// Calls over links, allowed: `Export`.
    CallsExport: "link_calls_total{call=\"export\"}",
    /// Calls over links, allowed: `Backup`.
    CallsBackup: "link_calls_total{call=\"backup\"}",
    /// Calls over links that came to nothing: the guild refused.
    CallsFailedRefused: "link_calls_failed_total{reason=\"refused\"}",
    /// Calls over links that came to nothing: something was full.
    CallsFailedOverloaded: "link_calls_failed_total{reason=\"overloaded\"}",
    /// Calls over links that came to nothing: it is not known what became of it.
    CallsFailedOutcomeUnknown: "link_calls_failed_total{reason=\"outcome_unknown\"}",
    /// Calls over links that came to nothing: the node stops.
    CallsFailedStopping: "link_calls_failed_total{reason=\"stopping\"}",
    /// Calls over links that came to nothing: the guild could not be asked.
    CallsFailedUnavailable: "link_calls_failed_total{reason=\"unavailable\"}",
    /// Calls over links that came to nothing: the guild is another node's.
    CallsFailedMoved: "link_calls_failed_total{reason=\"moved\"}",
    /// Calls over links that came to nothing: the role may not ask for that.
    CallsFailedDenied: "link_calls_failed_total{reason=\"denied\"}",
    /// Calls over links that came to nothing: the request is none.
    CallsFailedMalformedRequest: "link_calls_failed_total{reason=\"malformed_request\"}",
    /// Calls over links that came to nothing: there were chunks where none belong, or none where they must be.
    CallsFailedMalformedChunks: "link_calls_failed_total{reason=\"malformed_chunks\"}",
    /// Calls over links that came to nothing: a chunk is not what belongs there.
    CallsFailedMalformedChunk: "link_calls_failed_total{reason=\"malformed_chunk\"}",
    /// Calls over links that came to nothing: the feed's id was in use.
    CallsFailedFeedIdInUse: "link_calls_failed_total{reason=\"feed_id_in_use\"}",
    /// Calls over links that came to nothing: the caller's time was over.
    CallsFailedTooLate: "link_calls_failed_total{reason=\"too_late\"}",
    /// Calls over links that came to nothing: the link had as many feeds as it may have.
    CallsFailedFeedsFull: "link_calls_failed_total{reason=\"feeds_full\"}",
    /// Calls over links that the caller gave up, or whose link ended.
    CallsLeft: "link_calls_given_up_total{reason=\"caller\"}",
    /// Answers over links that nobody had read by the end of the caller's time.
    CallsUnread: "link_calls_given_up_total{reason=\"unread\"}",
    /// Answers over links that were given up because the caller had read nothing of them for too long.
    CallsStalled: "link_calls_given_up_total{reason=\"stalled\"}",
    /// Calls over links refused because as many answers of their dialer's identity were being looked for as may be.
    RefusedPeerAnswer: "link_answers_refused_total",
    /// Feeds opened on links.
    FeedsOpened: "feeds_opened_total",
    /// Feeds ended because their link was so far behind that events had left the guild's ring.
    FeedsEndedGap: "feeds_ended_total{reason=\"gap\"}",
    /// Feeds ended because the guild's owner did.
    FeedsEndedOwner: "feeds_ended_total{reason=\"owner_ended\"}",
    /// Feeds ended because the guild has moved.
    FeedsEndedMoved: "feeds_ended_total{reason=\"moved\"}",
    /// Feeds ended because the guild was deleted, and the event that says so had left its ring.
    FeedsEndedDeleted: "feeds_ended_total{reason=\"guild_deleted\"}",
    /// Turns of feeds at their links: looks at a guild's ring, because there was news of it.
    FeedTurns: "feed_turns_total",
    /// Events sent to feeds: each once for each link that listens.
    FeedEvents: "feed_events_total",
    /// Typing and changes of presence sent to feeds.
    FeedTold: "feed_ephemerals_total",
}

impl Counter {
    /// What counts a call that was allowed.
    pub(crate) const fn of_call(call: Call) -> Self {
        match call {
            Call::Ping => Self::CallsPing,
            Call::Stats => Self::CallsStats,
            Call::ListGuilds => Self::CallsListGuilds,
            Call::Command => Self::CallsCommand,
            Call::Import => Self::CallsImport,
            Call::Publish => Self::CallsPublish,
            Call::Typing => Self::CallsTyping,
            Call::Read => Self::CallsRead,
            Call::Recipients => Self::CallsRecipients,
            Call::Sessions => Self::CallsSessions,
            Call::Feed => Self::CallsFeed,
            Call::Export => Self::CallsExport,
            Call::Backup => Self::CallsBackup,
        }
    }
}

/// One node's counters.
pub struct Counters {
    shards: Box<[Shard]>,
}

/// A line of its own for each shard, so that threads do not write to each other's.
#[repr(align(128))]
struct Shard([AtomicU64; Counter::ALL.len()]);

/// The counters at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counts([u64; Counter::ALL.len()]);

impl Default for Counters {
    fn default() -> Self {
        let shard = || Shard(std::array::from_fn(|_| AtomicU64::new(0)));
        Self { shards: (0..SHARDS).map(|_| shard()).collect() }
    }
}

impl Counters {
    /// Counts one.
    pub fn bump(&self, counter: Counter) {
        self.add(counter, 1);
    }

    /// Counts `by`.
    pub fn add(&self, counter: Counter, by: u64) {
        self.shards[shard()].0[counter as usize].fetch_add(by, Ordering::Relaxed);
    }

    /// One counter's value.
    pub fn of(&self, counter: Counter) -> u64 {
        self.shards.iter().map(|shard| shard.0[counter as usize].load(Ordering::Relaxed)).sum()
    }

    /// Pulls all counters. Each is exact; they are not taken at one instant.
    pub fn pull(&self) -> Counts {
        let mut counts = Counts([0; Counter::ALL.len()]);
        Counter::ALL.iter().for_each(|counter| counts.0[*counter as usize] = self.of(*counter));
        counts
    }
}

impl Counts {
    /// One counter's value.
    pub fn of(&self, counter: Counter) -> u64 {
        self.0[counter as usize]
    }

    /// Names and values, in the order of the list.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        Counter::ALL.iter().map(|counter| (counter.name(), self.of(*counter)))
    }
}

impl fmt::Debug for Counters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.pull().iter()).finish()
    }
}

/// The calling thread's shard, dealt out in turn at its first use.
fn shard() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static MINE: Cell<Option<usize>> = const { Cell::new(None) };
    }
    MINE.with(|mine| match mine.get() {
        Some(shard) => shard,
        None => {
            let shard = NEXT.fetch_add(1, Ordering::Relaxed) % SHARDS;
            mine.set(Some(shard));
            shard
        }
    })
}

/// More than the cores of most machines; threads that share a shard are still counted right.
const SHARDS: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_many_threads_count_is_summed() {
        let counters = Counters::default();
        std::thread::scope(|scope| {
            for _ in 0..SHARDS + 3 {
                scope.spawn(|| (0..1_000).for_each(|_| counters.bump(Counter::Turns)));
            }
        });
        counters.add(Counter::Events, 7);
        let counts = counters.pull();
        assert_eq!(counts.of(Counter::Turns), (SHARDS as u64 + 3) * 1_000);
        assert_eq!(counts.of(Counter::Events), 7);
        assert_eq!(counts.of(Counter::Inputs), 0);
    }

    #[test]
    fn every_counter_has_a_name_of_its_own() {
        let mut names: Vec<_> = Counter::ALL.iter().map(|counter| counter.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Counter::ALL.len());
    }
}
