//! Who sits where: each session with what decides on what it must hear.

use guildhall_client::Attach;
use guildhall_proto::{ChannelId, Level, RoleId, SessionId, Status, UserId};

use crate::checks::Number;
use crate::trial::shape::{CHANNELS, OPEN_CHANNELS, Shape};

/// How a session is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Service {
    /// A task of its own.
    Stream,
    /// With all others of its relay by one task.
    Batch,
}

/// What the demo does with a session beside letting it listen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Errand {
    None,
    /// It takes the other level for some of the time.
    Turn,
    /// Its connection breaks, and it comes back, to the same relay or another.
    Break,
    /// Its user is away for some of the time.
    Nod,
    /// It stops reading until it has lost events.
    Stall,
}

/// One session as it is planned.
#[derive(Debug, Clone)]
pub(crate) struct Seat {
    pub(crate) session: SessionId,
    /// The member's number.
    pub(crate) member: u64,
    pub(crate) roles: Vec<RoleId>,
    pub(crate) members: bool,
    pub(crate) level: Level,
    pub(crate) status: Status,
    pub(crate) service: Service,
    /// Which relay.
    pub(crate) relay: usize,
    pub(crate) errand: Errand,
}

/// A seat with what became of it: enough to tell what its session must hear.
#[derive(Debug, Clone)]
pub(crate) struct Sitting {
    pub(crate) seat: Seat,
    /// Levels with the number up to which the one before held, ascending.
    pub(crate) turns: Vec<(Number, Level)>,
}

impl Seat {
    pub(crate) fn user(&self) -> UserId {
        Shape::user(self.member)
    }

    pub(crate) fn attach(&self) -> Attach {
        Attach {
            session: self.session,
            user: self.user(),
            status: self.status,
            members: self.members,
            level: self.level,
        }
    }
}

/// The seats of a demo: the owner's two, then as many as were asked for.
#[derive(Debug)]
pub(crate) struct Seats(pub(crate) Vec<Seat>);

impl Seats {
    /// Spreads `sessions` over the members. Nine in ten are passive, one in five is served by itself.
    pub(crate) fn plan(shape: Shape, sessions: u64) -> Self {
        let owner = |service, errand, relay| Seat {
            session: SessionId::MIN,
            member: 0,
            roles: Vec::new(),
            members: true,
            level: Level::Active,
            status: Status::Online,
            service,
            relay,
            errand,
        };
        let auditor = owner(Service::Stream, Errand::None, 0);
        let staller = Seat { members: false, ..owner(Service::Stream, Errand::Stall, 0) };
        let others = shape.members - 1;
        let planned = (0..sessions).map(|idx| {
            let member = match others {
                0 => 0,
                _ if sessions <= others => 1 + idx * others / sessions,
                _ => 1 + idx % others,
            };
            Seat {
                session: SessionId::MIN,
                member,
                roles: shape.roles_of(member),
                members: idx % 100 == 50,
                level: if idx % 10 == 0 { Level::Active } else { Level::Passive },
                status: match idx % 7 {
                    3 => Status::Offline,
                    4 => Status::Idle,
                    5 => Status::DoNotDisturb,
                    _ => Status::Online,
                },
                service: if idx / 10 % 5 == 0 { Service::Stream } else { Service::Batch },
                relay: usize::try_from(idx / 50).expect("sessions are fewer than addresses") % RELAYS,
                errand: match idx % 500 {
                    idx if TURNING.contains(&idx) => Errand::Turn,
                    NODDING => Errand::Nod,
                    _ => Errand::None,
                },
            }
        });
        let mut seats: Vec<Seat> = [auditor, staller].into_iter().chain(planned).collect();
        // Who is pruned while its session is cut has none to come back to.
        let may_break = |seat: &&mut Seat| {
            (seat.service, seat.errand) == (Service::Stream, Errand::None) && !shape.is_lapsed(seat.member)
        };
        let may_break = seats[2..].iter_mut().filter(may_break);
        let breaking = may_break.enumerate().filter(|(idx, _)| idx % 9 >= 4).map(|(_, seat)| seat);
        breaking.take(BREAKING_MAX).for_each(|seat| seat.errand = Errand::Break);
        for (idx, seat) in seats.iter_mut().enumerate() {
            seat.session = SessionId::new(1 + idx as u64).expect("sessions are few");
        }
        Self(seats)
    }

    /// An active session that reads for itself, and a channel that it may not see as the guild begins.
    pub(crate) fn kept_out(&self, shape: Shape) -> Option<(usize, ChannelId)> {
        let rights = shape.rights();
        let is_fit = |seat: &&(usize, &Seat)| {
            let Seat { member, level, service, errand, .. } = seat.1;
            let stays = *member > 0 && !shape.is_lapsed(*member);
            stays && (*level, *service, *errand) == (Level::Active, Service::Stream, Errand::None)
        };
        self.0.iter().enumerate().filter(|seat| is_fit(&seat)).find_map(|(idx, seat)| {
            let hidden = |channel: &ChannelId| !rights.sees(seat.user(), &seat.roles, *channel);
            Some((idx, (OPEN_CHANNELS..CHANNELS).map(Shape::channel).find(hidden)?))
        })
    }

    /// The seat of the owner's session that hears everything.
    pub(crate) const AUDITOR: usize = 0;
}

/// Of 500 sessions, those that take the other level for a time: one of each level and service.
const TURNING: [u64; 4] = [6, 20, 26, 250];

/// Sessions whose connection breaks: five in nine of those that read for themselves and do nothing else, up to so many.
const BREAKING_MAX: usize = 1_000;

/// Of 500 sessions, the one whose user is away for a time: active, so that it makes no difference to what calls it; and in a batch.
const NODDING: u64 = 30;

/// Relays of the demo, each as on a backend node of its own.
pub(crate) const RELAYS: usize = 3;
/// Sessions of one member, at most: the owner's own two come on top.
pub(crate) const MEMBER_SESSIONS_MAX: u64 = 62;
/// The owner's own sessions.
pub(crate) const OWN_SESSIONS: u64 = 2;

const _: () = assert!(
    MEMBER_SESSIONS_MAX + OWN_SESSIONS <= guildhall_proto::limits::USER_SESSIONS_MAX as u64,
    "a member of a guild of one has all the sessions"
);

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::GUILD;
    use super::*;

    #[test]
    fn sessions_are_spread_over_members_relays_levels_and_services() {
        for (members, sessions) in [(1, 62), (2, 62), (10, 558), (10, 3), (1_000, 999), (1_000, 5_000)] {
            let Seats(seats) = Seats::plan(Shape { guild: GUILD, members, seed: 1 }, sessions);
            assert_eq!(seats.len() as u64, sessions + OWN_SESSIONS);
            let mut of_member: BTreeMap<u64, u64> = BTreeMap::new();
            for seat in &seats[2..] {
                *of_member.entry(seat.member).or_default() += 1;
            }
            let most = sessions.div_ceil((members - 1).max(1));
            assert!(of_member.values().all(|count| *count <= most), "{members} {sessions}: {of_member:?}");
            assert!(of_member.keys().all(|member| *member < members));
        }
        let Seats(seats) = Seats::plan(Shape { guild: GUILD, members: 10_000, seed: 1 }, 3_000);
        let count = |is: &dyn Fn(&Seat) -> bool| seats[2..].iter().filter(|seat| is(seat)).count();
        assert_eq!(count(&|seat| seat.level == Level::Passive), 2_700);
        assert_eq!(count(&|seat| seat.service == Service::Stream), 600);
        assert!((250..=300).contains(&count(&|seat| seat.errand == Errand::Break)));
        assert!(count(&|seat| (seat.level, seat.errand) == (Level::Active, Errand::Break)) > 10);
        for service in [Service::Stream, Service::Batch] {
            for level in [Level::Active, Level::Passive] {
                for relay in 0..RELAYS {
                    assert!(count(&|seat| (seat.service, seat.level, seat.relay) == (service, level, relay)) > 0);
                }
                let turns = |seat: &Seat| (seat.service, seat.level, seat.errand) == (service, level, Errand::Turn);
                assert!(count(&turns) > 0, "{service:?} {level:?}");
            }
        }
    }
}
