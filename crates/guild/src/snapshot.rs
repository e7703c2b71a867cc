//! What leaves a guild to be stored: its structure, and with the base of its members a checkpoint.

use guildhall_members::{Bans, Base};
use guildhall_permissions::Rights;
use guildhall_proto::{Millis, Position, Standing, Structure};

use crate::operations::Operations;

/// A guild's durable state at one position, ready to be stored. Taking it costs the owner O(clients of the guild); writing it out
/// is for the one who stores it.
#[derive(Debug)]
pub struct Checkpoint {
    /// All but the members.
    pub structure: StructureSeed,
    /// The members.
    pub base: Base,
}

/// A guild's structure as shared parts, from which a [`Structure`] is made elsewhere.
#[derive(Debug, Clone)]
pub struct StructureSeed {
    pub(crate) position: Position,
    pub(crate) records: u64,
    pub(crate) clock: Millis,
    pub(crate) departed: Millis,
    pub(crate) standing: Life,
    pub(crate) bans: Bans,
    pub(crate) operations: Operations,
}

/// Whether the guild exists, with its rights if so.
#[derive(Debug, Clone)]
pub(crate) enum Life {
    Uncreated,
    Alive(Rights),
    Deleted,
}

impl StructureSeed {
    /// The position of the last event in it.
    pub fn position(&self) -> Position {
        self.position
    }

    /// Writes it out: O(roles, channels, overwrites, bans and kept operations).
    pub fn structure(&self) -> Structure {
        Structure {
            position: self.position,
            records: self.records,
            clock: self.clock,
            departed: self.departed,
            standing: match &self.standing {
                Life::Uncreated => Standing::Uncreated,
                Life::Alive(rights) => alive(rights, &self.bans),
                Life::Deleted => Standing::Deleted,
            },
            operations: self.operations.export(),
        }
    }
}

fn alive(rights: &Rights, bans: &Bans) -> Standing {
    let overwrites = |channel| rights.overwrites(channel).map_or_else(Vec::new, |all| all.as_slice().to_vec());
    // To the size: a store in memory keeps them.
    let (mut roles, mut channels) =
        (Vec::with_capacity(rights.roles().count()), Vec::with_capacity(rights.channels().count()));
    roles.extend(rights.roles().cloned());
    channels.extend(rights.channels().map(|channel| (channel.clone(), overwrites(channel.id))));
    Standing::Alive { settings: rights.settings().clone(), roles, channels, bans: bans.behind(None).collect() }
}
