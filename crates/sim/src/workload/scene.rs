//! One moment of a workload: picks by the dice among what is known, and short ways to say what happens.
//!
//! What is picked is mostly there, so that most of what is asked is possible. A few picks miss on purpose: refusals are part of every
//! day.

use std::time::Duration;

use guildhall_proto::limits::CLIENT_OUTCOMES_MAX;
use guildhall_proto::{
    Actor, ChannelId, Command, GuildId, Level, Mentions, Millis, Payload, Publish, RoleId, SessionId, Status, UserId,
};

use crate::dice::Dice;
use crate::model::Community;
use crate::workload::town::{self, Founding, Town};
use crate::workload::{CallAs, Doing, Known, KnownSession, KnownStage, Pace, Proof, Way};

/// All that [`Workload::next`](crate::workload::Workload::next) is given, in one hand.
#[derive(Debug)]
pub struct Scene<'a, 'k> {
    /// What the clocks show.
    pub now: Millis,
    /// What is left to chance.
    pub dice: &'a mut Dice,
    /// What a chat backend knows.
    pub known: &'a Known<'k>,
    /// What happens, in order.
    pub doings: &'a mut Vec<Doing>,
}

impl<'k> Scene<'_, 'k> {
    /// The town's guild, once it is complete; what it lacks before that is asked for. If it was deleted, the town moves on to the
    /// next guild that there may be.
    pub fn settled(&mut self, town: &mut Town) -> Option<(GuildId, &'k Community)> {
        let guilds = self.known.guilds();
        if self.known.is_deleted(guilds[town.nth % guilds.len()]) {
            (town.nth, town.founding) = (town.nth + 1, Founding::Tried(0, Millis(0)));
        }
        let guild = guilds[town.nth % guilds.len()];
        let known = self.known.community(guild);
        if let Founding::Tried(times, at) = town.founding
            && (self.known.calls_open(guild) == 0 || self.now.since(at) >= FOUNDING_EVERY)
        {
            let missing = town.missing(guild, known, self.dice);
            let is_enough = missing.is_empty() || known.is_some() && times >= FOUNDING_TRIES;
            town.founding = if is_enough { Founding::Done } else { Founding::Tried(times + 1, self.now) };
            missing.into_iter().for_each(|command| self.ask(guild, command));
        }
        known.filter(|_| town.founding == Founding::Done).map(|known| (guild, known))
    }

    /// The chat backend asks.
    pub fn ask(&mut self, guild: GuildId, command: Command) {
        self.call(guild, Actor::System, command);
    }

    /// Somebody asks, unless too much is unanswered.
    pub fn call(&mut self, guild: GuildId, actor: Actor, command: Command) {
        if self.known.calls_open(guild) < CALLS_OPEN_MAX {
            self.doings.push(Doing::Call { guild, actor, command, id: CallAs::Fresh });
        }
    }

    /// One of the latest calls is made once more.
    pub fn retry(&mut self, guild: GuildId) {
        let nth_last = self.dice.zipf(64).unwrap_or(0);
        self.doings.push(Doing::Retry { guild, nth_last });
    }

    /// Somebody opens a client: one in ten to look at the guild, the others to be called.
    pub fn attach(&mut self, guild: GuildId, user: UserId) {
        let level = if self.dice.one_in(10) { Level::Active } else { Level::Passive };
        self.attach_at(guild, user, level);
    }

    /// Somebody opens a client at any backend.
    pub fn attach_at(&mut self, guild: GuildId, user: UserId, level: Level) {
        let session = SessionId::new(self.known.fresh()).expect("fresh numbers start at 1");
        let way = if self.dice.one_in(2) { Way::Stream } else { Way::Batch };
        let (backend, status, members) = (self.backend(), self.status(), self.dice.one_in(4));
        self.doings.push(Doing::Attach { session, guild, user, backend, way, level, status, members });
    }

    /// Members open clients, some at a time, until so many are open in all guilds together, and at least some in this one.
    pub fn keep_listening(&mut self, guild: GuildId, known: &Community, sessions: usize) {
        let lacking = sessions.saturating_sub(self.known.sessions().len()).min(ATTACH_BURST);
        let none_near = self.session(guild).is_none();
        for _ in 0..lacking.max(usize::from(none_near)) {
            let user = self.member(known);
            self.attach(guild, user);
        }
    }

    /// A listener, if there is one near, changes how it listens: at which level, how fast, as who is there; or is cut, or comes back.
    /// Whatever is asked of a guild beside this is then also heard late, in part, and as of the past.
    pub fn stir(&mut self, guild: GuildId) {
        match (self.dice.below(10), self.session(guild), self.session_at(guild, KnownStage::Cut)) {
            (0..3, Some((session, known)), _) => self.turn(session, &known),
            (3, Some((session, _)), _) => {
                let status = self.status();
                self.doings.push(Doing::SetStatus(session, status));
            }
            (4 | 5, Some((session, _)), _) => {
                let pace = self.dice.one_of(&[Pace::Fast, Pace::Fast, Pace::Slow, Pace::Stopped]);
                self.doings.extend(pace.map(|pace| Doing::Pace(session, *pace)));
            }
            (6 | 7, Some((session, _)), _) => self.doings.push(Doing::Cut(session)),
            (8.., _, Some((session, known))) => self.resume(session, &known),
            _ => {}
        }
    }

    /// A session that was cut comes back, at the backend where it was or at any.
    pub fn resume(&mut self, session: SessionId, known: &KnownSession) {
        let backend = if self.dice.one_in(2) { self.backend() } else { known.backend };
        let status = if self.dice.one_in(4) { self.status() } else { known.status };
        self.doings.push(Doing::Resume { session, proof: Proof::Secret, backend, level: known.level, status });
    }

    /// Who looks at the guild looks away; of the others one in five looks at it.
    pub fn turn(&mut self, session: SessionId, known: &KnownSession) {
        let level = match known.level {
            Level::Active => Level::Passive,
            Level::Passive if self.dice.one_in(5) => Level::Active,
            Level::Passive => Level::Passive,
        };
        self.doings.push(Doing::SetLevel(session, level));
    }

    /// Somebody writes into some channel, mostly a busy one; one message in eight calls somebody. Half of the authors write from a
    /// client of theirs that is open.
    pub fn say(&mut self, guild: GuildId, known: &Community) {
        let bytes = if self.dice.one_in(40) { self.dice.within(2_000, 8_000) } else { self.dice.within(8, 300) };
        self.say_bytes(guild, known, bytes);
    }

    /// The same, of so many bytes.
    pub fn say_bytes(&mut self, guild: GuildId, known: &Community, bytes: u64) {
        let mentions = if self.dice.one_in(8) { self.mentions(guild, known) } else { Mentions::default() };
        let from = if self.dice.one_in(2) { self.session(guild) } else { None };
        let actor = match from {
            Some((_, known)) => Actor::User(known.user),
            None if self.dice.one_in(4) => Actor::System,
            None => Actor::User(self.talker(known)),
        };
        // People write where they may read, but for one in ten.
        let reads = |channel: &ChannelId| match actor {
            Actor::System => true,
            Actor::User(user) => known.sees(user, *channel),
        };
        let picks = [self.channel(known), self.channel(known), self.channel(known)];
        let readable = if self.dice.one_in(10) { None } else { picks.iter().copied().find(reads) };
        let channel = readable.unwrap_or(picks[0]);
        let (session, payload, echo) = (from.map(|(session, _)| session), self.payload(bytes), self.dice.one_in(2));
        self.call(guild, actor, Command::Publish(Publish { channel, payload, mentions, session, echo }));
    }

    /// Whom a message calls: somebody who has a client open, a role, all.
    pub fn mentions(&mut self, guild: GuildId, known: &Community) -> Mentions {
        let mut mentions = Mentions::default();
        match self.dice.below(6) {
            0..3 => mentions.users.extend(self.session(guild).map(|(_, known)| known.user)),
            3 => mentions.roles.push(self.role(known)),
            4 => mentions.everyone = true,
            _ => mentions.here = true,
        }
        mentions
    }

    /// So many bytes; from eight on hardly any other message has the same.
    pub fn payload(&mut self, bytes: u64) -> Payload {
        let mark = self.dice.number().to_le_bytes();
        let bytes: Vec<u8> = mark.into_iter().cycle().take(bytes as usize).collect();
        Payload::new(bytes).expect("workloads keep to the limit")
    }

    /// The chat backend, or, one time in three, one of those who may be moderators.
    pub fn actor(&mut self) -> Actor {
        if self.dice.one_in(3) { Actor::User(town::user(self.dice.below(5))) } else { Actor::System }
    }

    /// Any member, each as likely.
    pub fn member(&mut self, known: &Community) -> UserId {
        let from = town::user_id(self.dice);
        let found = known.members.range(from..).next().or_else(|| known.members.iter().next());
        found.map_or(from, |(user, _)| *user)
    }

    /// A member who writes much, or else any.
    pub fn talker(&mut self, known: &Community) -> UserId {
        let talker = town::user(self.dice.zipf(known.members.len()).unwrap_or(0) as u64);
        if known.members.contains_key(&talker) { talker } else { self.member(known) }
    }

    /// Somebody who has a client open, or else any member: what becomes of them is heard.
    pub fn listener(&mut self, guild: GuildId, known: &Community) -> UserId {
        self.session(guild).map_or_else(|| self.member(known), |(_, known)| known.user)
    }

    /// A role, the popular ones more likely; one time in eight everyone's, whose id is the first.
    pub fn role(&mut self, known: &Community) -> RoleId {
        let nth = if self.dice.one_in(8) { 0 } else { 1 + self.dice.zipf(known.roles.len()).unwrap_or(0) };
        known.roles.keys().nth(nth).copied().unwrap_or(town::role(0))
    }

    /// A channel, the busy ones more likely.
    pub fn channel(&mut self, known: &Community) -> ChannelId {
        let nth = self.dice.zipf(known.channels.len()).unwrap_or(0);
        known.channels.keys().nth(nth).copied().unwrap_or(town::channel(0))
    }

    /// A session of the guild that is served, if one lies near where the dice look.
    pub fn session(&mut self, guild: GuildId) -> Option<(SessionId, KnownSession)> {
        self.session_at(guild, KnownStage::Served)
    }

    /// A session of the guild that is so far, if one lies near where the dice look.
    pub fn session_at(&mut self, guild: GuildId, stage: KnownStage) -> Option<(SessionId, KnownSession)> {
        let all = self.known.sessions();
        let (first, last) = (all.keys().next()?.get(), all.keys().next_back()?.get());
        let from = SessionId::new(self.dice.within(first, last + 1)).ok()?;
        let near = all.range(from..).chain(all.range(..from)).take(LOOK_SESSIONS);
        near.map(|(session, known)| (*session, *known)).find(|(_, known)| known.guild == guild && known.stage == stage)
    }

    /// Any backend.
    pub fn backend(&mut self) -> usize {
        self.dice.index(self.known.backends()).unwrap_or(0)
    }

    /// What a client shows: half of them nothing.
    pub fn status(&mut self) -> Status {
        match self.dice.below(10) {
            0..3 => Status::Online,
            3 => Status::Idle,
            4 => Status::DoNotDisturb,
            _ => Status::Offline,
        }
    }
}

/// From so many unanswered calls of a guild on nobody asks more of it: half of what one client may hold open.
const CALLS_OPEN_MAX: usize = CLIENT_OUTCOMES_MAX / 2;
/// Clients opened at one moment.
const ATTACH_BURST: usize = 50;
/// What a community lacks is asked for so often; then it makes do.
const FOUNDING_TRIES: u32 = 8;
/// And at least so often while others keep its guild busy: long enough for an answer.
const FOUNDING_EVERY: Duration = Duration::from_millis(500);
/// Sessions looked at until one fits.
const LOOK_SESSIONS: usize = 32;
