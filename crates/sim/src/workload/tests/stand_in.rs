//! A naive stand-in for the world: guilds that answer at once, sessions that are served at once. Nothing fails, nothing is heard.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Debug, Write};
use std::sync::Arc;

use guildhall_proto::{
    Command, Event, EventKind, GuildId, Member, Millis, NewMember, PruneBy, RoleId, SessionId, UserId,
};

use super::super::{CallAs, Doing, Known, KnownSession, KnownStage, Pace, named};
use crate::check::Chronicle;
use crate::dice::Dice;
use crate::model::{Community, Verdict};
use crate::queue::Micros;

#[derive(Default)]
pub(super) struct StandIn {
    now: Micros,
    pub(super) chronicle: Chronicle,
    pub(super) sessions: BTreeMap<SessionId, KnownSession>,
    /// How often what happened, by the names of doings, events and answers, and how much of something there was at most.
    pub(super) counts: BTreeMap<String, u64>,
    /// All that was done.
    pub(super) done: Vec<(Micros, Doing)>,
}

impl StandIn {
    /// Runs a workload for so many moments.
    pub(super) fn of(name: &str, seed: u64, moments: usize) -> Self {
        let mut dice = Dice::new(seed);
        let mut workload = named(name, &mut dice).unwrap();
        assert_eq!(workload.name(), name);
        let setting = workload.setting();
        let guilds: Vec<GuildId> = (1..=setting.guilds as u64).map(|id| GuildId::new(id).unwrap()).collect();
        let (fresh, none_open) = (Cell::new(0), BTreeMap::new());
        let mut world = Self::default();
        for _ in 0..moments {
            let (chronicle, sessions) = (&world.chronicle, &world.sessions);
            let (guilds, backends, calls_open) = (&guilds[..], setting.backends, &none_open);
            let known = Known { guilds, backends, chronicle, calls_open, sessions, fresh: &fresh };
            let mut doings = Vec::new();
            let Some(pause) = workload.next(world.now.clock(), &mut dice, &known, &mut doings) else { break };
            world.count("long pause", u64::from(pause >= setting.sleep_after));
            world.most("doings at once", doings.len());
            for doing in doings {
                world.done.push((world.now, doing.clone()));
                world.perform(doing);
            }
            world.most("sessions", world.sessions.len());
            world.now = world.now.plus(pause);
        }
        world
    }

    /// How often something happened, or how much of it there was at most.
    pub(super) fn counted(&self, what: &str) -> u64 {
        self.counts.get(what).copied().unwrap_or(0)
    }

    pub(super) fn add(&mut self, other: &Self) {
        for (what, times) in &other.counts {
            let all = self.counts.entry(what.clone()).or_default();
            *all = if what.starts_with("most ") { *times.max(all) } else { *times + *all };
        }
    }

    fn count(&mut self, what: &str, times: u64) {
        *self.counts.entry(what.to_owned()).or_default() += times;
    }

    fn most(&mut self, what: &str, now: usize) {
        let most = self.counts.entry(format!("most {what}")).or_default();
        *most = (*most).max(now as u64);
    }

    fn perform(&mut self, doing: Doing) {
        self.count(&variant(&doing), 1);
        match doing {
            Doing::Call { guild, actor, command, id: CallAs::Fresh | CallAs::Busy } => {
                let life = self.chronicle.annals(guild).latest().clone();
                match life.decide(self.now.clock(), actor, &command, RoleId::everyone(guild)) {
                    Verdict::Refused => self.count("refused", 1),
                    Verdict::Makes(made) | Verdict::Perhaps(made) => {
                        made.into_iter().for_each(|kind| self.happen(guild, kind));
                    }
                    Verdict::Later => {
                        let community = life.community().expect("only what is there is changed as a whole");
                        let made = self.spread(community, command);
                        made.into_iter().for_each(|kind| self.happen(guild, kind));
                    }
                }
            }
            Doing::Call { id, .. } => self.count(&variant(&id), 1),
            Doing::Attach { session, guild, user, backend, way, level, status, members: _ } => {
                let community = self.chronicle.annals(guild).latest().community();
                if community.is_some_and(|community| community.members.contains_key(&user)) {
                    let (pace, stage) = (Pace::Fast, KnownStage::Served);
                    let known = KnownSession { guild, user, backend, way, level, status, pace, stage };
                    assert_eq!(self.sessions.insert(session, known), None, "a session's id is its own");
                    self.count("attached", 1);
                }
            }
            Doing::Detach(session) => drop(self.sessions.remove(&session)),
            Doing::Cut(session) => self.change(session, |known| known.stage = KnownStage::Cut),
            Doing::Resume { session, proof: _, backend, level, status } => {
                let before = self.sessions.get(&session).filter(|known| known.stage == KnownStage::Cut);
                let place = before.map(|known| if known.backend == backend { "came back" } else { "came elsewhere" });
                self.count(place.unwrap_or("came out of place"), 1);
                self.change(session, |known| {
                    (known.backend, known.level, known.status) = (backend, level, status);
                    known.stage = KnownStage::Served;
                });
            }
            Doing::SetLevel(session, level) => self.change(session, |known| known.level = level),
            Doing::SetStatus(session, status) => self.change(session, |known| known.status = status),
            Doing::Pace(session, pace) => {
                self.count(&variant(&pace), 1);
                self.change(session, |known| known.pace = pace);
            }
            Doing::Retry { .. }
            | Doing::Evict { .. }
            | Doing::Type { .. }
            | Doing::Move { .. }
            | Doing::CutLink { .. }
            | Doing::Read { .. }
            | Doing::Retire { .. } => {}
        }
    }

    fn change(&mut self, session: SessionId, change: impl FnOnce(&mut KnownSession)) {
        self.sessions.entry(session).and_modify(change);
    }

    /// What an import or a prune makes of a guild, all at once.
    fn spread(&mut self, community: &Community, command: Command) -> Option<EventKind> {
        if let Command::PruneMembers(by) = &command {
            return self.prune(community, by);
        }
        let Command::ImportMembers(lines) = command else { unreachable!("{command:?} is carried out at once") };
        let is_good = |line: &NewMember| line.roles.iter().all(|role| community.roles.contains_key(role));
        let good = lines.iter().position(|line| !is_good(line)).unwrap_or(lines.len());
        let (old, new): (Vec<&NewMember>, Vec<&NewMember>) =
            lines[..good].iter().partition(|line| community.members.contains_key(&line.user));
        let new = new.into_iter().filter(|line| !community.bans.contains_key(&line.user));
        let members: Vec<Member> = new.map(|line| member(self.now.clock(), line)).collect();
        self.count("bad line", u64::from(good < lines.len()));
        self.count("imported", members.len() as u64);
        self.count("imported before", old.len() as u64);
        (!members.is_empty()).then_some(EventKind::MembersJoined { members })
    }

    fn prune(&mut self, community: &Community, by: &PruneBy) -> Option<EventKind> {
        let listening: BTreeSet<UserId> = self.sessions.values().map(|known| known.user).collect();
        let absent: BTreeSet<UserId> = match by {
            PruneBy::Absent(users) => users.iter().copied().filter(|user| !listening.contains(user)).collect(),
            PruneBy::Role(_) | PruneBy::Idle { .. } => BTreeSet::new(),
        };
        let goes = |member: &Member| match by {
            PruneBy::Role(role) => member.roles.contains(role),
            PruneBy::Idle { joined_before } => {
                member.roles.is_empty() && member.joined_at < *joined_before && !listening.contains(&member.user)
            }
            PruneBy::Absent(_) => absent.contains(&member.user),
        };
        let members = community.members.values().filter(|member| member.user != community.owner());
        let users: Vec<UserId> = members.filter(|member| goes(member)).map(|member| member.user).collect();
        self.count(&format!("pruned by {}", variant(by)), users.len() as u64);
        (!users.is_empty()).then_some(EventKind::MembersLeft { users })
    }

    fn happen(&mut self, guild: GuildId, kind: EventKind) {
        self.count(&variant(&kind), 1);
        let leaves =
            matches!(kind, EventKind::MemberLeft { .. } | EventKind::MembersLeft { .. } | EventKind::GuildDeleted);
        let annals = self.chronicle.annals(guild);
        annals.append(Arc::new(Event { position: annals.position().next(), at: self.now.clock(), kind }));
        let community = annals.latest().community();
        let (members, bans) = community.map_or((0, 0), |known| (known.members.len(), known.bans.len()));
        let is_member = |user| community.is_some_and(|community| community.members.contains_key(&user));
        let before = self.sessions.len();
        if leaves {
            self.sessions.retain(|_, known| known.guild != guild || is_member(known.user));
        }
        let ended = before - self.sessions.len();
        self.count("session ended with its member", ended as u64);
        self.most("members", members);
        self.most("bans", bans);
    }
}

fn member(now: Millis, line: &NewMember) -> Member {
    let NewMember { user, nick, roles, flags } = line.clone();
    Member { user, nick, roles, joined_at: now, flags }
}

/// The name of a variant.
fn variant(of: &impl Debug) -> String {
    let mut word = Word::default();
    let _ends = write!(word, "{of:?}");
    word.0
}

/// Takes letters, and ends at whatever else comes: what is large is not written out for its name.
#[derive(Default)]
struct Word(String);

impl Write for Word {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let letters = text.find(|letter: char| !letter.is_alphanumeric());
        self.0.push_str(&text[..letters.unwrap_or(text.len())]);
        letters.map_or(Ok(()), |_| Err(fmt::Error))
    }
}
