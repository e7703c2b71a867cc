//! What happened in each guild, as the world has seen it: every event by its name, and the guild as of each.
//!
//! The *trunk* is the history that the guild's present owner goes on from: the events of all epochs as far as recovery found them. An
//! owner that was shut out may go on to publish messages for a while; these have names of their own, and are not in the trunk.

use std::collections::BTreeMap;
use std::sync::Arc;

use guildhall_proto::{Epoch, Event, GuildId, Position};

use crate::model::Life;

/// The histories of all guilds.
#[derive(Debug, Default)]
pub struct Chronicle {
    guilds: BTreeMap<GuildId, Annals>,
}

/// One guild's history.
#[derive(Debug)]
pub struct Annals {
    guild: GuildId,
    beginning: Life,
    trunk: Vec<Entry>,
    names: BTreeMap<Position, Arc<Event>>,
    openings: BTreeMap<Epoch, Opening>,
}

/// An event, and the guild just after it.
#[derive(Debug, Clone)]
pub struct Entry {
    /// What happened.
    pub event: Arc<Event>,
    /// The guild after it.
    pub after: Life,
}

/// How an epoch began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opening {
    /// Which.
    pub epoch: Epoch,
    /// The last position of the history that its owner began with: its own events follow that seq.
    pub after: Position,
}

impl Chronicle {
    /// A guild's history, if anything of it was ever seen.
    pub fn find(&self, guild: GuildId) -> Option<&Annals> {
        self.guilds.get(&guild)
    }

    /// A guild's history.
    pub fn annals(&mut self, guild: GuildId) -> &mut Annals {
        self.guilds.entry(guild).or_insert_with(|| Annals::new(guild))
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (GuildId, &Annals)> {
        self.guilds.iter().map(|(guild, annals)| (*guild, annals))
    }
}

impl Annals {
    pub(crate) fn new(guild: GuildId) -> Self {
        Self { guild, beginning: Life::Uncreated, trunk: Vec::new(), names: BTreeMap::new(), openings: BTreeMap::new() }
    }

    /// Which guild's.
    pub fn guild(&self) -> GuildId {
        self.guild
    }

    /// The guild after the last event of the trunk.
    pub fn latest(&self) -> &Life {
        self.trunk.last().map_or(&self.beginning, |entry| &entry.after)
    }

    /// The position of the last event of the trunk.
    pub fn position(&self) -> Position {
        self.trunk.last().map_or(Position::default(), |entry| entry.event.position)
    }

    /// Where an owner of this epoch stands after the last event of the trunk.
    pub(crate) fn stands(&self, epoch: Epoch) -> Position {
        let begun = self.opening(epoch).map_or(guildhall_proto::Seq(0), |opening| opening.after.seq);
        Position { epoch, seq: begun.max(self.position().seq) }
    }

    /// The guild just after the event at a position, or after the last event before it.
    pub fn as_of(&self, at: Position) -> &Life {
        let behind = self.trunk.partition_point(|entry| entry.event.position <= at);
        behind.checked_sub(1).map_or(&self.beginning, |last| &self.trunk[last].after)
    }

    /// The event of a name, also of an owner that was shut out.
    pub fn event(&self, at: Position) -> Option<&Arc<Event>> {
        self.names.get(&at)
    }

    /// The events of the trunk behind one position, up to and with another.
    pub fn between(&self, after: Position, through: Position) -> &[Entry] {
        let from = self.trunk.partition_point(|entry| entry.event.position <= after);
        let to = self.trunk.partition_point(|entry| entry.event.position <= through);
        &self.trunk[from..to.max(from)]
    }

    /// The trunk.
    pub fn trunk(&self) -> &[Entry] {
        &self.trunk
    }

    /// How an epoch began; `None` of one that was never opened.
    pub fn opening(&self, epoch: Epoch) -> Option<Opening> {
        self.openings.get(&epoch).copied()
    }

    /// The latest epoch opened.
    pub fn epoch(&self) -> Option<Epoch> {
        self.openings.last_key_value().map(|(epoch, _)| *epoch)
    }

    /// Gives an event its name; the event that has it already, if there is one.
    pub(crate) fn name(&mut self, event: &Arc<Event>) -> Option<&Arc<Event>> {
        match self.names.entry(event.position) {
            std::collections::btree_map::Entry::Occupied(named) => Some(named.into_mut()),
            std::collections::btree_map::Entry::Vacant(vacant) => {
                vacant.insert(Arc::clone(event));
                None
            }
        }
    }

    /// Appends an event to the trunk.
    pub(crate) fn append(&mut self, event: Arc<Event>) {
        let mut after = self.latest().clone();
        after.apply(self.guild, &event.kind);
        self.trunk.push(Entry { event, after });
    }

    /// Lets go of what lies behind a position: nothing of it was found again.
    pub(crate) fn forget_behind(&mut self, at: Position) {
        let keep = self.trunk.partition_point(|entry| entry.event.position <= at);
        self.trunk.truncate(keep);
    }

    pub(crate) fn open(&mut self, opening: Opening) {
        self.openings.insert(opening.epoch, opening);
    }
}
