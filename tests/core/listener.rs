//! One session at its end: what it must hear, and the check of what it does hear.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use guildhall_proto::{
    ChannelId, Event, EventKind, Generation, Level, Member, Mentions, Position, RoleId, Seq, Status, Subject, Unread,
    UserId,
};
use guildhall_relay::{DetachReason, Gap, SessionKey, Stream};

use crate::model::{Ear, Hearing, Reach};
use crate::places::{Places, Summary};
use crate::seen::Seen;
use crate::steps::Way;

/// A session from its accepted attach on. Every event that may be for it is in `chances`, in order; whether it is, its turns decide.
#[derive(Debug)]
pub(crate) struct Listener {
    pub(crate) ear: Ear,
    pub(crate) relay: usize,
    pub(crate) way: Way,
    /// Its member, as the owner's answer says.
    pub(crate) member: Option<Member>,
    pub(crate) accepted: u64,
    pub(crate) stage: Stage,
    pub(crate) chances: Vec<(u64, Reach)>,
    /// How it listens, and behind which event: first as attached, then rising.
    pub(crate) turns: Vec<(u64, Hearing)>,
    /// Whether it was ever told of another level: some of its turns may have been taken back.
    has_turned: bool,
    /// What it is to be told of messages that it does not hear.
    pub(crate) news: VecDeque<News>,
    /// The last position it knows: up to here it has heard everything, or was told a gap.
    pub(crate) known: u64,
    /// The last gap it was told: a summary made just there may have been lost in it.
    gap_through: Option<u64>,
    /// Up to where it has lost its place, and is still to be told so.
    pub(crate) lost_through: Option<u64>,
    /// Where its relay was when it was attached there.
    pub(crate) joined: u64,
    pub(crate) stream: Option<Stream>,
    pub(crate) key: Option<SessionKey>,
    /// How much its relay had been told when it came, or lost its place: nothing of that is for it.
    pub(crate) told_from: u64,
    /// The same when it was last told of another level.
    pub(crate) told_at_turn: u64,
    /// What it has heard of each subject: the how manieth thing its relay was told.
    pub(crate) told: BTreeMap<Subject, u64>,
    /// It waits, and was woken for something told that it has not read.
    pub(crate) is_called: bool,
    /// The relay has it among the waiting.
    pub(crate) waits: bool,
    /// Where it stood in both rings when it had read everything but did not wait: from there it may lose what is not for it.
    pub(crate) loose_at: Option<(usize, usize)>,
    /// What the owner has accepted of it, until the relay is told.
    pub(crate) due: VecDeque<(u64, Due)>,
    /// Where its detach was accepted, told to a relay that has not come so far.
    pub(crate) pending_detach: Option<u64>,
    /// What had been handed over to the batch consumer when it was detached: that it may still hear.
    pub(crate) handed_over: u64,
    /// Where and why it ends, once its relay knows.
    pub(crate) end: Option<(u64, DetachReason)>,
    /// Where roles were deleted that its member held then.
    pub(crate) lost_roles: Vec<u64>,
    /// As which the owner holds it.
    pub(crate) generation: Generation,
    /// Set if it comes back.
    pub(crate) back: Option<Back>,
}

/// What a session comes back with.
#[derive(Debug, Clone, Default)]
pub(crate) struct Back {
    /// The last position that it knows.
    pub(crate) known: u64,
    /// Whether to the relay that it was cut off from.
    pub(crate) same: bool,
    pub(crate) deleted_roles: Vec<RoleId>,
    pub(crate) deletions_unknown_to: Seq,
    /// Messages that it has missed in channels that its member did not see any more when it was accepted.
    pub(crate) hidden: Vec<u64>,
    /// Where the owner accepted it, once it is served again: up to there it hears the past.
    pub(crate) until: Option<u64>,
}

/// How far it has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// The owner's answer is held.
    Asked,
    /// The owner has answered; the relay does not know yet.
    Accepted,
    /// The relay serves it.
    Served,
    /// It was cut off and may come back.
    Cut,
    /// It hears nothing more.
    Over,
}

/// What a relay is to be told of a session that it serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Due {
    Level(Level),
    Status(Status),
    Detach,
}

/// A summary for one session.
#[derive(Debug)]
pub(crate) struct News {
    pub(crate) seq: u64,
    /// Its place in the slow ring.
    at: usize,
    channels: Vec<ChannelId>,
}

impl Listener {
    pub(crate) fn new(ear: Ear, hearing: Hearing, relay: usize, way: Way, accepted: u64) -> Self {
        Self {
            ear,
            relay,
            way,
            member: None,
            accepted,
            stage: Stage::Asked,
            chances: Vec::new(),
            turns: vec![(accepted, hearing)],
            has_turned: false,
            news: VecDeque::new(),
            known: accepted,
            gap_through: None,
            lost_through: None,
            joined: 0,
            stream: None,
            key: None,
            told_from: 0,
            told_at_turn: 0,
            told: BTreeMap::new(),
            is_called: false,
            waits: false,
            loose_at: None,
            due: VecDeque::new(),
            pending_detach: None,
            handed_over: 0,
            end: None,
            lost_roles: Vec::new(),
            generation: Generation::default(),
            back: None,
        }
    }

    /// How it listens just after an event.
    pub(crate) fn hearing_after(&self, seq: u64) -> Hearing {
        let turn = self.turns.iter().rev().find(|(at, _)| *at <= seq);
        turn.unwrap_or(&self.turns[0]).1
    }

    /// How it listens in the end, as far as its relay was told.
    pub(crate) fn hearing(&self) -> Hearing {
        self.turns.last().expect("it was attached in some way").1
    }

    /// Where it last came to listen at another level, or was attached.
    pub(crate) fn turned_at(&self) -> u64 {
        if self.has_turned { self.turns.last().map_or(0, |turn| turn.0) } else { 0 }
    }

    /// What it must hear and has not heard, in order.
    pub(crate) fn outstanding(&self) -> impl Iterator<Item = u64> + '_ {
        let behind = self.chances.partition_point(|(seq, _)| *seq <= self.known);
        let is_for = |(seq, reach): &&(u64, Reach)| reach.is_for(self.hearing_after(seq - 1));
        self.chances[behind..].iter().filter(is_for).map(|(seq, _)| *seq)
    }

    /// What it must hear next.
    pub(crate) fn next(&self) -> Option<u64> {
        self.outstanding().next()
    }

    /// Whether it must hear an event.
    pub(crate) fn hears(&self, seq: u64) -> bool {
        let at = self.chances.binary_search_by_key(&seq, |(seq, _)| *seq);
        at.is_ok_and(|at| self.chances[at].1.is_for(self.hearing_after(seq - 1)))
    }

    /// Whether there is something for it up to a position, beyond a gap that it is to be told.
    pub(crate) fn has_something(&self, position: u64) -> bool {
        let next = self.outstanding().find(|seq| self.lost_through.is_none_or(|through| *seq > through));
        next.is_some_and(|seq| seq <= position) || self.news.front().is_some_and(|news| news.seq <= position)
    }

    /// It has lost its place, and waits from here on; of its gap it is told by and by.
    pub(crate) fn lost(&mut self, places: &Places, seen: &mut Seen) {
        self.must_have_lost(places, seen);
        self.waits = true;
        self.lost_through = Some(places.position);
        self.news.clear();
    }

    /// It listens in another way behind an event, whatever it was to do from there on.
    pub(crate) fn turn(&mut self, at: u64, hearing: Hearing) {
        self.has_turned |= hearing.level != self.hearing().level;
        self.turns.retain(|turn| turn.0 <= at);
        self.turns.push((at, hearing));
    }

    /// It has come back, as one who listens from afar: it is told at once what was news while it was away.
    pub(crate) fn note_missed(&mut self, past: &[Arc<Event>], seen: &mut Seen) {
        if self.hearing().level == Level::Active || self.end.is_some() {
            return;
        }
        let mut channels = BTreeSet::new();
        for event in past {
            let at = self.chances.binary_search_by_key(&number(event.position), |(seq, _)| *seq);
            if let EventKind::MessagePublished(message) = &event.kind {
                if at.is_ok_and(|at| self.chances[at].1.active) {
                    channels.insert(message.channel);
                } else {
                    channels.remove(&message.channel);
                }
            } else if let EventKind::ChannelDeleted { channel, .. } = &event.kind {
                channels.remove(&channel.id);
            }
        }
        if !channels.is_empty() {
            seen.missed += 1;
            let channels = channels.into_iter().collect();
            self.news.push_back(News { seq: self.joined, at: usize::MAX, channels });
        }
    }

    /// Notes what a summary holds for it.
    pub(crate) fn note_summary(&mut self, summary: &Summary, seen: &mut Seen) {
        // Who comes back is told at once what was news by then.
        let mut since = if self.back.is_some() { self.accepted.max(self.joined) } else { self.accepted };
        for pair in self.turns.windows(2).filter(|pair| pair[0].1.level != pair[1].1.level) {
            since = if pair[1].0 <= summary.seq { pair[1].0 } else { since };
        }
        let is_news = |seq: u64| {
            let at = self.chances.binary_search_by_key(&seq, |(seq, _)| *seq);
            seq > since && at.is_ok_and(|at| self.chances[at].1.active)
        };
        let channels = summary.news.iter().filter(|(_, seq)| is_news(**seq)).map(|(channel, _)| *channel);
        let channels: Vec<ChannelId> = channels.collect();
        seen.news_withheld += (summary.news.values().filter(|seq| **seq > since).count() - channels.len()) as u64;
        if !channels.is_empty() {
            self.news.push_back(News { seq: summary.seq, at: summary.at, channels });
        }
    }

    pub(crate) fn hear(&mut self, event: &Arc<Event>, made: &[Arc<Event>], seen: &mut Seen) {
        let seq = event.position.seq.0;
        must_be_told(event, &made[seq as usize - 1]);
        assert_eq!(Some(seq), self.next(), "heard {:?}\nby {self:?}", event.kind);
        let is_behind = self.end.is_some_and(|(end, _)| seq > end.max(self.handed_over));
        assert!(!is_behind, "{seq} was heard behind the end of {self:?}");
        self.skip_news(|news| news.seq < seq);
        self.known = seq;
        seen.delivered += 1;
        seen.replayed += u64::from(self.back.as_ref().is_some_and(|back| back.until >= Some(seq)));
        seen.delivered_in_batches += u64::from(self.way == Way::Batch);
        let hearing = self.hearing_after(seq - 1);
        if let (Level::Passive, EventKind::MessagePublished(message)) = (hearing.level, &event.kind) {
            let Mentions { users, roles, everyone, here } = &message.mentions;
            seen.passive_mentions_of_users += u64::from(users.contains(&self.ear.user));
            let held = self.member.as_ref().is_some_and(|member| roles.iter().any(|role| member.roles.contains(role)));
            seen.passive_mentions_of_roles += u64::from(held);
            seen.passive_mentions_of_everyone += u64::from(*everyone);
            seen.passive_mentions_of_those_here += u64::from(*here);
        }
    }

    pub(crate) fn hear_unread(&mut self, unread: &Unread, seen: &mut Seen) {
        let seq = number(unread.at);
        assert!(self.next().is_none_or(|next| next > seq), "{unread:?} came too early to {self:?}");
        let is_behind = self.end.is_some_and(|(end, _)| seq > end.max(self.handed_over));
        assert!(!is_behind, "{unread:?} was told behind the end of {self:?}");
        self.skip_news(|news| news.seq < seq);
        let news = self.news.pop_front();
        let told = news.as_ref().map(|news| (news.seq, &news.channels));
        assert_eq!(told, Some((seq, &unread.channels)), "{self:?}");
        seen.summaries += 1;
        seen.summaries_in_batches += u64::from(self.way == Way::Batch);
    }

    pub(crate) fn lose(&mut self, gap: Gap, places: &Places, seen: &mut Seen) {
        let (after, through) = (number(gap.after), number(gap.through));
        assert!(through > after, "{gap:?} for {self:?}");
        // A batch's gap begins where its consumer was, before or behind what this session knows.
        assert!(self.way == Way::Batch || after == self.known, "{gap:?} for {self:?}");
        let next = self.next().unwrap_or(u64::MAX);
        assert!(next > after, "{next} is before {gap:?} for {self:?}");
        if places.is_hole(through, next) {
            seen.gaps_of_holes += 1;
        } else {
            let is_told = self.lost_through.is_some() || self.way == Way::Batch && places.batch_fell == Some(through);
            if !is_told {
                self.must_have_lost(places, seen);
            }
            seen.gaps_of_streams += u64::from(self.way == Way::Stream);
            seen.gaps_of_batches += u64::from(self.way == Way::Batch);
            seen.gaps_of_passive += u64::from(self.hearing().level == Level::Passive);
        }
        self.news.retain(|news| news.seq >= through);
        self.known = through;
        self.gap_through = Some(through);
        self.lost_through = None;
        self.loose_at = None;
    }

    /// Something that is for it must be gone from the ring that it reads.
    fn must_have_lost(&self, places: &Places, seen: &mut Seen) {
        let next = self.next().unwrap_or(u64::MAX);
        let (whole, slow) = match self.way {
            // Which ring it reads up to where is its own to say: something in them must be gone.
            Way::Stream if self.may_read_either() => {
                assert!(
                    places.has_lost_behind(self.known),
                    "no loss for {self:?}
with {places:?}"
                );
                return;
            }
            Way::Stream if self.hearing().level == Level::Passive => {
                let news = self.news.front().filter(|news| news.seq < next).map(|news| news.at);
                let loose = self.loose_at.map(|at| at.1);
                (None, places.first_slow_for(next, self.known).into_iter().chain(news).chain(loose).min())
            }
            Way::Stream | Way::Batch => {
                let loose = self.loose_at.map(|at| at.0);
                (places.first_for(next, self.known).into_iter().chain(loose).min(), None)
            }
        };
        let is_lost =
            whole.is_some_and(|at| !places.whole.is_kept(at)) || slow.is_some_and(|at| !places.slow.is_kept(at));
        assert!(
            is_lost,
            "no loss for {self:?}
with {places:?}"
        );
        let is_squeezed_out = whole.is_some_and(|at| places.whole.is_squeezed_out(at))
            || slow.is_some_and(|at| places.slow.is_squeezed_out(at));
        seen.gaps_under_pressure += u64::from(is_squeezed_out);
    }

    /// Whether it may read another ring than that of its level.
    fn may_read_either(&self) -> bool {
        // Attached in the past, or ending there, it reads the whole ring so far.
        let is_in_past = self.joined > self.accepted || self.end.is_some();
        self.has_turned || is_in_past && self.hearing().level == Level::Passive
    }

    pub(crate) fn detached(&mut self, reason: DetachReason, seen: &mut Seen) {
        let (end, why) = self.end.unwrap_or_else(|| panic!("detached for {reason:?} without an end: {self:?}"));
        assert_eq!(reason, why, "{self:?}");
        // A summary alone is not worth a gap: without an event behind it, there is none to be told.
        let known = self.known;
        self.skip_news_or(|_| true, |news| news.seq <= known || news.seq > end);
        self.must_have_heard(end);
        self.stage = Stage::Over;
        self.stream = None;
        seen.detached += u64::from(reason == DetachReason::Requested);
        seen.member_left += u64::from(reason == DetachReason::MemberLeft);
        seen.told_of_a_deletion += u64::from(reason == DetachReason::GuildDeleted);
    }

    /// Nothing up to `position` may be outstanding.
    pub(crate) fn must_have_heard(&mut self, position: u64) {
        let next = self.next();
        assert!(next.is_none_or(|seq| seq > position), "{next:?} was not heard up to {position} by {self:?}");
        self.skip_news(|news| news.seq <= position);
    }

    fn skip_news(&mut self, is_past: impl Fn(&News) -> bool) {
        self.skip_news_or(is_past, |_| false);
    }

    /// Passes summaries by that it was not told, and may not have been told.
    fn skip_news_or(&mut self, is_past: impl Fn(&News) -> bool, may_be_lost: impl Fn(&News) -> bool) {
        while let Some(news) = self.news.pop_front_if(|news| is_past(news)) {
            // At the end of a gap it is not seen from outside whether it was made before or after.
            let is_in_gap = self.gap_through.is_some_and(|through| news.seq <= through);
            let is_behind_end = self.way == Way::Batch && self.end.is_some_and(|(end, _)| news.seq > end);
            assert!(is_in_gap || is_behind_end || may_be_lost(&news), "{news:?} was not told to {self:?}");
        }
    }

    /// Whether a relay serves it, and knows no end of it.
    pub(crate) fn is_alive_at(&self, relay: usize) -> bool {
        self.relay == relay && self.stage == Stage::Served && self.end.is_none()
    }

    /// Whether its relay has reached its attach.
    pub(crate) fn has_joined(&self, position: u64) -> bool {
        self.stage == Stage::Served && self.accepted <= position
    }

    /// Notes what the relay knows of its end; the first counts.
    pub(crate) fn ends(&mut self, end: u64, reason: DetachReason) {
        let (end, _) = *self.end.get_or_insert((end, reason));
        if self.way == Way::Stream {
            self.news.retain(|news| news.seq <= end);
        }
    }
}

/// Why an event ends the sessions of a user, if it does.
pub(crate) fn ends(event: &EventKind, user: UserId) -> Option<DetachReason> {
    if matches!(event, EventKind::GuildDeleted) {
        return Some(DetachReason::GuildDeleted);
    }
    let is_left = matches!(event, EventKind::MemberLeft { member } if member.user == user)
        || matches!(event, EventKind::MembersLeft { users } if users.contains(&user));
    is_left.then_some(DetachReason::MemberLeft)
}

fn number(position: Position) -> u64 {
    position.seq.0
}

/// A session hears an event as it was made, but for where a deleted role had overwrites, and what stood under a deleted category: it
/// may not see all of those channels.
fn must_be_told(told: &Arc<Event>, made: &Arc<Event>) {
    let mut stripped = made.kind.clone();
    let is_stripped = if let EventKind::RoleDeleted { overwrites, .. } = &mut stripped {
        !std::mem::take(overwrites).is_empty()
    } else if let EventKind::ChannelDeleted { children, .. } = &mut stripped {
        !std::mem::take(children).is_empty()
    } else {
        false
    };
    if is_stripped {
        assert_eq!(**told, Event { kind: stripped, ..**made });
    } else {
        assert!(Arc::ptr_eq(told, made), "{told:?} is not the event that was made: {made:?}");
    }
}
