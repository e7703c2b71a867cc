//! What the coordinators gave: which node was to have which guild by which grant, and for how long.
//!
//! It is told of every placement that was ever in force, and of nothing that nodes or clients make of it. Against this history are held the claims
//! of owners, the words by which callers are sent on, what clients believe, and from whom answers come.

use std::collections::BTreeMap;

use guildhall_cluster::Place;
use guildhall_proto::{Grant, GuildId, Instance, NodeId};

use super::{Breach, Promise};
use crate::queue::Micros;

/// The history of all guilds' places.
#[derive(Debug, Default)]
pub(crate) struct Given {
    /// By guild, one place after the other.
    stints: BTreeMap<GuildId, Vec<Stint>>,
}

/// For how long a guild was to be at one run of a node, by one grant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stint {
    place: Place,
    instance: Instance,
    /// `None` as long as it lasts.
    until: Option<Micros>,
}

impl Given {
    /// From now on a guild is to be at this run of a node. A grant never falls, and no two places of a guild have the same.
    pub(crate) fn in_force(
        &mut self,
        now: Micros,
        guild: GuildId,
        place: Place,
        instance: Instance,
    ) -> Result<(), Breach> {
        let before = self.stints(guild).last().copied();
        let fresh = Stint { place, instance, until: None };
        if before == Some(fresh) {
            return Ok(());
        }
        Promise::OneOwner.require(before.is_none_or(|before| before.place.grant < place.grant), || {
            format!("guild {guild} is placed as {fresh:?}, and was placed before as {before:?}")
        })?;
        self.ceases(now, guild);
        self.stints.entry(guild).or_default().push(fresh);
        Ok(())
    }

    /// From now on a guild is to be nowhere.
    pub(crate) fn ceases(&mut self, now: Micros, guild: GuildId) {
        if let Some(last) = self.stints.get_mut(&guild).and_then(|stints| stints.last_mut()) {
            last.until.get_or_insert(now);
        }
    }

    /// A node claims a guild: by a grant that it was given for that.
    pub(crate) fn claimed(&self, guild: GuildId, node: NodeId, grant: Grant) -> Result<(), Breach> {
        Promise::OneOwner.require(self.was_given(guild, Place { node, grant }), || {
            format!("guild {guild}: {node:?} claims it by grant {}, which it was not given for that", grant.0)
        })
    }

    /// Somebody is told, or believes, that a guild is at a place: it was, or is.
    pub(crate) fn said(&self, guild: GuildId, place: Place) -> Result<(), Breach> {
        Promise::Ways.require(self.was_given(guild, place), || {
            format!("guild {guild} is said to be at {place:?}, where no coordinator has placed it")
        })
    }

    /// A node answers for a guild, and was asked at `asked`: it was to have the guild then or later, or for no longer than `late` not any more, for
    /// so long it may take until it hears of that.
    pub(crate) fn answered(&self, guild: GuildId, node: NodeId, asked: Micros, late: Micros) -> Result<(), Breach> {
        let own = |stint: &&Stint| stint.place.node == node;
        let mut own = self.stints(guild).iter().rev().filter(own);
        let is_in_time = |stint: &Stint| stint.until.is_none_or(|until| until.plus(late) >= asked);
        Promise::Ways.require(own.next().is_some_and(is_in_time), || {
            let last = self.stints(guild).iter().rev().find(|stint| stint.place.node == node);
            format!("guild {guild}: {node:?} answers what it was asked at {} µs, and had it as {last:?}", asked.0)
        })
    }

    fn was_given(&self, guild: GuildId, place: Place) -> bool {
        self.stints(guild).iter().rev().any(|stint| stint.place == place)
    }

    fn stints(&self, guild: GuildId) -> &[Stint] {
        self.stints.get(&guild).map_or(&[], |stints| &stints[..])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GUILD: GuildId = GuildId::MIN;

    fn node(number: u64) -> NodeId {
        NodeId::new(number).unwrap()
    }

    fn place(number: u64, grant: u64) -> Place {
        Place { node: node(number), grant: Grant(grant) }
    }

    /// A guild that was at node 1 by grant 5 until 10 s, and has been at node 2 by grant 7 since.
    fn given() -> Given {
        let mut given = Given::default();
        given.in_force(Micros(0), GUILD, place(1, 5), Instance(1)).unwrap();
        given.in_force(Micros::seconds(3), GUILD, place(1, 5), Instance(1)).unwrap();
        given.in_force(Micros::seconds(10), GUILD, place(2, 7), Instance(2)).unwrap();
        given
    }

    #[test]
    fn a_grant_that_falls_or_is_given_twice_is_a_breach() {
        for wrong in [place(1, 6), place(1, 7)] {
            assert!(given().in_force(Micros::seconds(11), GUILD, wrong, Instance(1)).is_err());
        }
        let mut given = given();
        given.ceases(Micros::seconds(11), GUILD);
        assert!(given.in_force(Micros::seconds(12), GUILD, place(2, 7), Instance(2)).is_err());
        assert!(given.in_force(Micros::seconds(12), GUILD, place(1, 8), Instance(1)).is_ok());
    }

    #[test]
    fn only_what_was_given_is_claimed_and_said() {
        let given = given();
        assert!(given.claimed(GUILD, node(1), Grant(5)).is_ok() && given.said(GUILD, place(2, 7)).is_ok());
        assert!(given.claimed(GUILD, node(1), Grant(7)).is_err(), "another's");
        assert!(given.said(GUILD, place(2, 6)).is_err());
        assert!(given.said(GuildId::new(9).unwrap(), place(2, 7)).is_err(), "another guild's");
    }

    #[test]
    fn who_has_not_had_a_guild_for_long_does_not_answer_for_it() {
        let late = Micros::seconds(1);
        let answers = |number, seconds| given().answered(GUILD, node(number), Micros::seconds(seconds), late).is_ok();
        assert!(answers(1, 4) && answers(1, 11) && answers(2, 100));
        assert!(!answers(1, 12) && !answers(3, 4));
    }
}
