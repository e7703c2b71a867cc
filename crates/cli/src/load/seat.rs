//! Who sits where: each session with what decides on what it must hear.

use guildhall_client::Attach;
use guildhall_proto::{Level, RoleId, SessionId, Status, UserId};

use super::found::Spread;
use crate::random::Random;

/// One session as it is planned.
#[derive(Debug, Clone)]
pub(super) struct Seat {
    pub(super) session: SessionId,
    pub(super) user: UserId,
    /// The roles that the user begins with.
    pub(super) roles: Box<[RoleId]>,
    pub(super) level: Level,
    pub(super) status: Status,
    /// Whether it hears of other members' changes.
    pub(super) members: bool,
    /// Whether its user keeps the roles, and may speak for that; the others are changed.
    pub(super) keeps: bool,
}

impl Seat {
    /// The session of this number.
    pub(super) fn new(number: u64, spread: Spread, user: UserId, roles: Box<[RoleId]>) -> Self {
        let active_before = number * spread.active / 100;
        let is_active = (number + 1) * spread.active / 100 > active_before;
        let session = spread.first + number;
        Self {
            session: SessionId::new(session).expect("the first is far from the end"),
            user,
            roles,
            level: if is_active { Level::Active } else { Level::Passive },
            status: match number % 7 {
                3 => Status::Offline,
                4 => Status::Idle,
                5 => Status::DoNotDisturb,
                _ => Status::Online,
            },
            members: is_active && active_before % MEMBERS_ONE_IN == MEMBERS_ONE_IN / 2,
            // By the user alone, who may have several.
            keeps: Random::new(KEEPING, user.get()).below(2) == 0,
        }
    }

    pub(super) fn attach(&self) -> Attach {
        let Self { session, user, status, members, level, .. } = *self;
        Attach { session, user, status, members, level }
    }
}

/// Tells what decides on who keeps the roles from what else is drawn.
const KEEPING: u64 = 0x6B65_6570;
/// Of so many active sessions, one hears of other members' changes.
const MEMBERS_ONE_IN: u64 = 100;
