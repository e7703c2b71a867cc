//! What happened in a run: so that it can be told that it did.

macro_rules! seen {
    ($($(#[$doc:meta])* $name:ident: $words:literal;)*) => {
        /// How often the rare states were reached.
        #[derive(Debug, Default, Clone, PartialEq, Eq)]
        pub struct Seen {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl Seen {
            /// Adds what was seen in another run.
            pub fn add(&mut self, other: &Self) {
                $(self.$name += other.$name;)*
            }

            /// Each with its name.
            pub fn all(&self) -> Vec<(&'static str, u64)> {
                vec![$(($words, self.$name),)*]
            }
        }
    };
}

seen! {
    /// Durable operations acknowledged, retries among them.
    acknowledged: "acknowledged";
    /// Operations carried out.
    applied: "applied";
    /// Operations refused.
    refused: "refused";
    /// Retries of what had been carried out.
    retries: "retries answered as before";
    /// Operations that came too late.
    expired: "operation expired";
    /// Durable operations refused for want of room.
    refused_for_room: "refused for want of room";
    /// Imports and prunes that came to their end.
    spread_finished: "import or prune finished";
    /// Events let out.
    events: "events";
    /// Views let out.
    views: "views";
    /// Reads answered.
    reads: "reads";
    /// Turns that an owner let out that had been shut out.
    late_turns: "turn of an owner that was shut out";
    /// Messages that were let out, and that the next owner knows nothing of.
    messages_lost: "message lost with its owner";
    /// Turns on their way to the store that were lost.
    turns_lost: "turn lost on its way to the store";
    /// Turns found in the store that nobody had been told of.
    found_untold: "turn found though nobody was told";
    /// Machines whose power was cut.
    power_cuts: "power cut";
    /// The same between an append and its sync.
    power_cuts_at_sync: "power cut between append and sync";
    /// The same while the store was opened after another.
    double_crashes: "double crash";
    /// Processes killed.
    kills: "process killed";
    /// Disks that failed an operation.
    disk_errors: "disk error";
    /// Stores without room.
    disks_full: "disk full";
    /// Opens that found a torn end.
    torn_tails: "torn tail";
    /// Nodes that stood still and went on.
    pauses: "node paused";
    /// Owners that went on after they had been shut out.
    zombies: "owner woke up shut out";
    /// Batches that the store refused to an owner that was shut out.
    fenced: "append of a stale owner refused";
    /// Claims by a grant below one that the store had seen.
    stale_grants: "claim by a stale grant refused";
    /// Owners that retired.
    retired: "owner retired";
    /// Owners that began.
    loaded: "guild loaded";
    /// The same from a checkpoint.
    from_checkpoints: "recovered from a checkpoint";
    /// Guilds that fell asleep.
    fell_asleep: "guild fell asleep";
    /// Guilds that were woken.
    woken: "guild woken";
    /// Folds by workers.
    folds: "fold by a worker";
    /// Turns that took nothing, though much waited, because a fold was under way.
    congested: "congested by a fold";
    /// Checkpoints stored.
    checkpoints: "checkpoint stored";
    /// Links that broke.
    links_cut: "link cut";
    /// Partitions.
    partitions: "partition";
    /// Calls that came twice.
    duplicates: "call duplicated";
    /// Calls that a client gave up waiting for, and sent again.
    timeouts: "call timed out";
    /// Messages whose outcome stays unknown.
    unknown_outcomes: "outcome unknown";
    /// Calls refused because a queue was full.
    overloaded: "overloaded";
    /// Relays that began again from a view.
    resyncs: "relay resynced";
    /// Relays that fell out of an owner's ring.
    fallen_out: "relay fell out of the ring";
    /// Gaps told to streams.
    gaps_of_streams: "gap sent to a stream";
    /// Gaps told to batches.
    gaps_of_batches: "gap sent to a batch";
    /// Events heard.
    heard: "events heard";
    /// Sessions attached.
    attached: "session attached";
    /// Sessions that came back.
    resumed: "session resumed";
    /// The same on another backend.
    resumed_elsewhere: "session resumed elsewhere";
    /// The same with a gap.
    resumed_with_gap: "session resumed with a gap";
    /// Sessions that came back without having been cut, or with what is not theirs.
    came_out_of_place: "session came back out of place";
    /// Sessions that could not come back.
    resume_refused: "resume refused";
    /// Sessions that a new owner was told of.
    reattached: "session reattached";
    /// Claims of guilds that the disk gave wrong bits of, which were told so.
    damage_told: "damage told of";
    /// Sessions superseded.
    superseded: "session superseded";
    /// Of these, such as listened still, and heard it.
    superseded_heard: "session that listened heard that it goes on elsewhere";
    /// Changes of level taken.
    level_changes: "level changed";
    /// The same while the session lagged.
    level_changes_under_lag: "level changed under lag";
    /// Sessions or changes of theirs that a relay did not take, because too much waited for it to come to a position.
    pending_full: "too much ahead of a relay";
    /// Rights taken from a session that lagged.
    revokes_under_lag: "revoke under lag";
    /// Unread summaries heard.
    unread: "unread summary heard";
    /// Ephemerals heard.
    ephemeral: "typing or presence heard";
    /// What was told of others that made room for it in an owner's keep-latest map.
    displaced_at_owners: "keep-latest map of an owner full";
    /// The same in a relay's.
    displaced_at_relays: "keep-latest map of a relay full";
    /// Sessions that ended with their member.
    ended_with_member: "session ended with its member";
    /// Sessions that ended with their guild.
    ended_with_guild: "session ended with its guild";
    /// Events heard by sessions that came back, from the time that they were away.
    replayed: "past event heard";
    /// Of these, such as their members would not see by the rights of when they came back.
    replayed_hidden: "past event heard by past rights alone";
    /// Events heard late, by members who did not see them any more by then.
    hidden_meanwhile: "event heard late, after a revoke";
    /// Calls heard by passive sessions.
    calls: "passive session called";
    /// Events that were for a session, and under its gap.
    missed: "event under a gap";
    /// Epochs that sessions came into by a gap.
    epochs_over_gaps: "epoch begun with a gap";
    /// Sessions that left.
    left: "session left";
    /// Backends that were lost.
    backends_lost: "backend lost";
    /// Calls sent on to where a node said that their guild is.
    redirected: "call redirected";
    /// Calls that came to a node without their guild though nothing had happened for long: their client had not heard of the last move.
    missed_in_calm: "guild missed in a calm";
    /// Word of where a guild is that was older than what was known.
    stale_words: "older word of a guild passed over";
    /// Calls whose answer was lost, with their link or their owner.
    lost_with_link: "answer of a call lost";
    /// Of these, such as were answered when they were sent again.
    answered_in_doubt: "call answered that was in doubt";
    /// Calls given up that were known not to have been carried out.
    given_up: "call given up, not carried out";
    /// Calls given up because too much had been repeated.
    budget_spent: "retry budget spent";
    /// Operations that had expired when they were sent again, whose outcome is therefore unknown.
    expired_in_doubt: "operation expired in doubt";
    /// Calls that came to their node when nobody waited for them any more.
    came_too_late: "call came too late";
    /// Links of which the client knew before the node that they had ended.
    clients_knew_first: "link ended, known to its client first";
    /// The same the other way round.
    nodes_knew_first: "link ended, known to its node first";
    /// Links that stood before their node knew that the one before had ended.
    dialed_ahead: "link dialed before its node missed the last";
    /// Feeds that went on where their relay was.
    feeds_continued: "feed went on at its cursor";
    /// Feeds whose relay the owner's ring had passed meanwhile.
    feeds_passed: "feed opened anew behind its ring";
    /// Feeds that ended because their guild had moved.
    feeds_moved: "feed ended by a move";
    /// Guilds that were placed at another node.
    guilds_moved: "guild moved";
    /// Owners that let out what they had taken, and ended, for their guild was to be elsewhere.
    moved_away: "owner ended by a move";
    /// Owners that ended because their guild was to be claimed by another grant, and at the same node.
    granted_anew: "owner ended to be granted anew";
    /// Nodes that were taken for dead and were not.
    taken_for_dead: "node taken for dead came back";
    /// Nodes that stopped in good order.
    nodes_stopped: "node stopped";
    /// Sessions that came back at another backend while the first still took them for its own.
    held_twice: "session at two backends";
}
