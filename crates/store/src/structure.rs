//! A structure as bytes, part by part: the whole may take hundreds of megabytes, ten times what the codec takes at once.
//!
//! The head says what the guild is and how much of everything follows; then come the roles, the channels with their
//! overwrites, the bans, and the kept operations by client, each in runs. A run ends behind an item whose id says so (a
//! multiple of it hashes low) and at a number of bytes, so what is added or removed moves no boundary but its own, and the
//! runs that did not change have the same bytes as before: whoever names parts by a hash of their content writes the
//! others alone.
//!
//! ```
//! # use guildhall_proto::{Millis, Position, Standing, Structure};
//! use guildhall_store::structure::{StructurePart, join, parts};
//!
//! # let (position, clock, departed) = (Position::default(), Millis(7), Millis(5));
//! # let (standing, operations) = (Standing::Uncreated, Vec::new());
//! let structure = Structure { position, records: 0, clock, departed, standing, operations };
//! let mut written = Vec::new();
//! for part in parts(&structure) {
//!     let mut bytes = Vec::new();
//!     part.encode_into(&mut bytes)?;
//!     written.push(bytes);
//! }
//! // Each part on whatever thread; then all together, in order.
//! let read = written.iter().map(|bytes| StructurePart::decode(bytes)).collect::<Result<_, _>>()?;
//! assert_eq!(join(read)?, structure);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Form
//!
//! A byte for the kind (1 head, 2 roles, 3 channels, 4 bans, 5 clients), the form's version (1), and the codec's encoding:
//! of the head the structure without what the other parts hold, and the four counts (32 bits each); of the others the list
//! of items.

mod join;
mod runs;

use guildhall_proto::codec::{self, CodecError};
use guildhall_proto::limits::ENCODED_BYTES_MAX;
use guildhall_proto::{Ban, Channel, KeptClient, Overwrite, Role, Standing, Structure};

pub use join::{StructureError, StructurePiece, join};

use runs::runs;

/// A channel and its overwrites.
type ChannelEntry = (Channel, Vec<Overwrite>);

/// One part of a structure, not yet written out. Encoded, at most [`PART_BYTES_MAX`] bytes.
#[derive(Debug, Clone, Copy)]
pub struct StructurePart<'a>(Content<'a>);

#[derive(Debug, Clone, Copy)]
enum Content<'a> {
    Head(&'a Structure),
    Roles(&'a [Role]),
    Channels(&'a [ChannelEntry]),
    Bans(&'a [Ban]),
    Clients(&'a [KeptClient]),
}

/// Cuts a structure into its parts: the head first, then each kind in order. O(items); copies nothing.
pub fn parts(structure: &Structure) -> impl Iterator<Item = StructurePart<'_>> {
    let (roles, channels, bans) = lists(structure);
    let head = std::iter::once(Content::Head(structure));
    head.chain(runs(roles).map(Content::Roles))
        .chain(runs(channels).map(Content::Channels))
        .chain(runs(bans).map(Content::Bans))
        .chain(runs(&structure.operations).map(Content::Clients))
        .map(StructurePart)
}

impl StructurePart<'_> {
    /// Appends its bytes to `buffer`.
    ///
    /// # Errors
    /// [`CodecError`] cannot come of what a guild holds within its limits: a part is far below what the codec takes.
    pub fn encode_into(&self, buffer: &mut Vec<u8>) -> Result<(), CodecError> {
        buffer.extend([self.0.code(), FORM]);
        match self.0 {
            Content::Head(structure) => codec::encode_into(&(skeleton(structure), counts(structure)), buffer),
            Content::Roles(roles) => codec::encode_into(&roles, buffer),
            Content::Channels(channels) => codec::encode_into(&channels, buffer),
            Content::Bans(bans) => codec::encode_into(&bans, buffer),
            Content::Clients(clients) => codec::encode_into(&clients, buffer),
        }
    }
}

impl Content<'_> {
    fn code(&self) -> u8 {
        match self {
            Self::Head(_) => HEAD,
            Self::Roles(_) => ROLES,
            Self::Channels(_) => CHANNELS,
            Self::Bans(_) => BANS,
            Self::Clients(_) => CLIENTS,
        }
    }
}

/// What only a guild that is alive has.
fn lists(structure: &Structure) -> (&[Role], &[ChannelEntry], &[Ban]) {
    match &structure.standing {
        Standing::Alive { roles, channels, bans, .. } => (roles, channels, bans),
        Standing::Uncreated | Standing::Deleted => (&[], &[], &[]),
    }
}

/// How many roles, channels, bans and clients there are.
fn counts(structure: &Structure) -> [u32; 4] {
    let (roles, channels, bans) = lists(structure);
    [roles.len(), channels.len(), bans.len(), structure.operations.len()]
        .map(|count| u32::try_from(count).expect("the largest limit of a guild's lists is 100,000"))
}

/// The structure without what the other parts hold.
fn skeleton(structure: &Structure) -> Structure {
    let Structure { position, records, clock, departed, standing, operations: _ } = structure;
    let standing = match standing {
        Standing::Uncreated => Standing::Uncreated,
        Standing::Alive { settings, .. } => {
            let (roles, channels, bans) = (Vec::new(), Vec::new(), Vec::new());
            Standing::Alive { settings: settings.clone(), roles, channels, bans }
        }
        Standing::Deleted => Standing::Deleted,
    };
    let (position, records, clock, departed) = (*position, *records, *clock, *departed);
    Structure { position, records, clock, departed, standing, operations: Vec::new() }
}

/// Bytes of one part, at most: one that is cut for its size, and the largest item that closes it.
pub const PART_BYTES_MAX: usize = runs::RUN_BYTES_MAX + PART_HEAD_BYTES;

const HEAD: u8 = 1;
const ROLES: u8 = 2;
const CHANNELS: u8 = 3;
const BANS: u8 = 4;
const CLIENTS: u8 = 5;
/// The version of the form. Another one is another form: it is added beside this, which stays readable.
const FORM: u8 = 1;
/// Kind, version and the number of items.
const PART_HEAD_BYTES: usize = 16;

const _: () = assert!(PART_BYTES_MAX * 8 <= ENCODED_BYTES_MAX, "far below what the codec takes");

#[cfg(test)]
mod tests;
