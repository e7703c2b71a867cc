//! A checkpoint as it lies in the log: a manifest that says of what it consists, and the parts.
//!
//! The parts of a small checkpoint lie in the manifest itself. Those of a larger one are records of their own, each named by a hash of
//! its content; a part that the checkpoint before had is not written again, so what a checkpoint costs is what has changed.

use guildhall_members::PartKind;
use guildhall_proto::{Epoch, Grant, GuildId, Millis, Position, Seq};

use super::bytes::{Cursor, Malformed, Put};
use super::rows::Spot;

/// What a checkpoint is of, and its parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Manifest<'a> {
    pub(crate) title: Title,
    /// Those of the structure, then those of the members, each in their order.
    pub(crate) parts: Vec<Listed<'a>>,
}

/// What a checkpoint is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Title {
    pub(crate) guild: GuildId,
    /// The owner's who made it, or the last one's that read it.
    pub(crate) epoch: Epoch,
    pub(crate) grant: Grant,
    pub(crate) position: Position,
    /// The number of the last record that it covers.
    pub(crate) records: u64,
    pub(crate) clock: Millis,
    pub(crate) members: u64,
}

/// What a part is a part of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Of {
    Structure,
    Members(PartKind),
}

/// One part of a checkpoint and where it is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Listed<'a> {
    pub(crate) of: Of,
    pub(crate) content: Content<'a>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Content<'a> {
    /// In the manifest.
    Here(&'a [u8]),
    /// In a record of its own.
    There { hash: u128, spot: Spot },
}

impl<'a> Manifest<'a> {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let Title { guild, epoch, grant, position, records, clock, members } = self.title;
        let mut bytes = Vec::new();
        let numbers = [
            guild.get(),
            epoch.0,
            grant.0,
            position.epoch.0,
            position.seq.0,
            records,
            clock.0,
            members,
            self.parts.len() as u64,
        ];
        for number in numbers {
            bytes.put_u64(number);
        }
        for part in &self.parts {
            bytes.put_u8(part.of.code());
            match part.content {
                Content::Here(content) => {
                    bytes.put_u8(HERE);
                    bytes.put_run(content);
                }
                Content::There { hash, spot } => {
                    bytes.put_u8(THERE);
                    bytes.put_u128(hash);
                    spot.put(&mut bytes);
                }
            }
        }
        bytes
    }

    pub(crate) fn decode(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let mut cursor = Cursor::new(bytes);
        let guild = GuildId::new(cursor.u64()?).map_err(|_| Malformed("its guild is none"))?;
        let (epoch, grant) = (Epoch(cursor.u64()?), Grant(cursor.u64()?));
        let position = Position { epoch: Epoch(cursor.u64()?), seq: Seq(cursor.u64()?) };
        let (records, clock, members) = (cursor.u64()?, Millis(cursor.u64()?), cursor.u64()?);
        let title = Title { guild, epoch, grant, position, records, clock, members };
        let n_parts = cursor.u64()?;
        if n_parts > cursor.left() as u64 {
            return Err(Malformed("it lists more parts than it has bytes"));
        }
        let mut parts = Vec::new();
        for _ in 0..n_parts {
            let of = Of::from_code(cursor.u8()?)?;
            let content = match cursor.u8()? {
                HERE => Content::Here(cursor.run()?),
                THERE => Content::There { hash: cursor.u128()?, spot: Spot::take(&mut cursor)? },
                _ => return Err(Malformed("a part lies neither here nor there")),
            };
            parts.push(Listed { of, content });
        }
        cursor.end()?;
        Ok(Self { title, parts })
    }

    /// Whether all parts lie in it.
    pub(crate) fn is_whole(&self) -> bool {
        self.parts.iter().all(|part| part.there().is_none())
    }

    /// How many bytes are live in which segments while this checkpoint, which lies at `spot`, is the one in force.
    pub(crate) fn shares(&self, spot: Spot) -> Vec<(u32, u64)> {
        let parts = self.parts.iter().filter_map(|part| part.there());
        [spot].into_iter().chain(parts.map(|(_, spot)| spot)).map(|spot| (spot.segment, spot.bytes())).collect()
    }
}

impl<'a> Listed<'a> {
    /// The bytes of a part that lies in the manifest; none of another.
    pub(crate) fn here(&self) -> &'a [u8] {
        match self.content {
            Content::Here(bytes) => bytes,
            Content::There { .. } => &[],
        }
    }

    /// The hash and the place of a part that is a record of its own.
    pub(crate) fn there(&self) -> Option<(u128, Spot)> {
        match self.content {
            Content::Here(_) => None,
            Content::There { hash, spot } => Some((hash, spot)),
        }
    }
}

impl Of {
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Structure => 1,
            Self::Members(PartKind::Dictionary) => 2,
            Self::Members(PartKind::Sets) => 3,
            Self::Members(PartKind::Page) => 4,
        }
    }

    pub(crate) fn from_code(code: u8) -> Result<Self, Malformed> {
        match code {
            1 => Ok(Self::Structure),
            2 => Ok(Self::Members(PartKind::Dictionary)),
            3 => Ok(Self::Members(PartKind::Sets)),
            4 => Ok(Self::Members(PartKind::Page)),
            _ => Err(Malformed("a part is of nothing that a guild has")),
        }
    }
}

const HERE: u8 = 0;
const THERE: u8 = 1;
