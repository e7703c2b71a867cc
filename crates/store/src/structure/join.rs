//! From parts back to a structure: each read by itself, on any thread, and put together in order.

use guildhall_proto::codec::{self, CodecError, Decode};
use guildhall_proto::limits::{BANS_MAX, CHANNELS_MAX, CLIENT_OUTCOMES_MAX, OVERWRITES_MAX, ROLES_MAX};
use guildhall_proto::{Ban, KeptClient, Role, Standing, Structure};

use super::{BANS, CHANNELS, CLIENTS, ChannelEntry, FORM, HEAD, PART_BYTES_MAX, ROLES, StructurePart};

/// Why bytes are not a part of a structure, or parts are not a structure.
#[derive(Debug, thiserror::Error)]
pub enum StructureError {
    /// They begin as no part does.
    #[error("begins with {found:?}: no part of version {FORM}")]
    Kind {
        /// The first two bytes, as far as there are: kind and version.
        found: Vec<u8>,
    },
    /// They are more than any part takes.
    #[error("{bytes} bytes; a part has at most {max}", max = PART_BYTES_MAX)]
    TooLong {
        /// Bytes there are.
        bytes: usize,
    },
    /// They begin as a part does, and do not go on as one.
    #[error("the part of {what}: {source}")]
    Codec {
        /// What it should hold.
        what: &'static str,
        /// What is wrong.
        source: CodecError,
    },
    /// A part is where another one belongs: the head stands first, and once; what follows has its order.
    #[error("part {at}, of {what}, is out of place")]
    Misplaced {
        /// What it holds.
        what: &'static str,
        /// The number of the part, from 0.
        at: usize,
    },
    /// There is no part at all.
    #[error("the head is missing")]
    Headless,
    /// An item does not come behind the one before it.
    #[error("{what} {at} is out of order")]
    Order {
        /// Which list.
        what: &'static str,
        /// Where in the list, from 0; of an overwrite or operation, that of its channel or client.
        at: usize,
    },
    /// An operation stands under a client that did not issue it.
    #[error("an operation of another client stands under client {at}")]
    Foreign {
        /// Which client, from 0.
        at: usize,
    },
    /// There are more of something than a guild, a channel or a client may have.
    #[error("{found} {what}; at most {max} are allowed")]
    Limit {
        /// Of what.
        what: &'static str,
        /// How many.
        found: usize,
        /// How many may be.
        max: usize,
    },
    /// There are not as many of something as the head says.
    #[error("{found} {what}; the head says {expected}")]
    Count {
        /// Of what.
        what: &'static str,
        /// How many there should be.
        expected: usize,
        /// How many there are.
        found: usize,
    },
}

/// A part of a structure, read.
#[derive(Debug)]
pub struct StructurePiece(Piece);

#[derive(Debug)]
enum Piece {
    Head(Box<(Structure, [u32; 4])>),
    Roles(Vec<Role>),
    Channels(Vec<ChannelEntry>),
    Bans(Vec<Ban>),
    Clients(Vec<KeptClient>),
}

impl StructurePart<'_> {
    /// Reads a part. Its items are looked at when all are there, by [`join`].
    ///
    /// # Errors
    /// [`StructureError::TooLong`] before a byte is read, [`StructureError::Kind`], [`StructureError::Codec`].
    pub fn decode(bytes: &[u8]) -> Result<StructurePiece, StructureError> {
        if bytes.len() > PART_BYTES_MAX {
            return Err(StructureError::TooLong { bytes: bytes.len() });
        }
        let (kind, body) = match bytes {
            [kind, FORM, body @ ..] => (*kind, body),
            other => return Err(StructureError::Kind { found: other.iter().copied().take(2).collect() }),
        };
        let piece = match kind {
            HEAD => Piece::Head(Box::new(decode("head", body)?)),
            ROLES => Piece::Roles(decode("roles", body)?),
            CHANNELS => Piece::Channels(decode("channels", body)?),
            BANS => Piece::Bans(decode("bans", body)?),
            CLIENTS => Piece::Clients(decode("clients", body)?),
            _ => return Err(StructureError::Kind { found: vec![kind, FORM] }),
        };
        Ok(StructurePiece(piece))
    }
}

fn decode<T: Decode<()>>(what: &'static str, body: &[u8]) -> Result<T, StructureError> {
    codec::decode(body).map_err(|source| StructureError::Codec { what, source })
}

/// Puts all parts together, in their order. O(items).
///
/// # Errors
/// [`StructureError`] if a part is missing, double or out of place, if a list does not ascend, or if there is more than a
/// guild may have.
pub fn join(pieces: Vec<StructurePiece>) -> Result<Structure, StructureError> {
    let mut pieces = pieces.into_iter();
    let (mut structure, counts) = match pieces.next() {
        Some(StructurePiece(Piece::Head(head))) => *head,
        Some(StructurePiece(other)) => return Err(StructureError::Misplaced { what: other.what(), at: 0 }),
        None => return Err(StructureError::Headless),
    };
    let (mut roles, mut channels, mut bans, mut clients) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut last = HEAD;
    for (at, StructurePiece(piece)) in (1..).zip(pieces) {
        let (what, code) = (piece.what(), piece.code());
        if code == HEAD || code < last {
            return Err(StructureError::Misplaced { what, at });
        }
        last = code;
        match piece {
            Piece::Head(_) => return Err(StructureError::Misplaced { what, at }),
            Piece::Roles(run) => roles.extend(run),
            Piece::Channels(run) => channels.extend(run),
            Piece::Bans(run) => bans.extend(run),
            Piece::Clients(run) => clients.extend(run),
        }
    }
    let [roles_due, channels_due, bans_due, clients_due] = counts.map(|count| count as usize);
    check_list("roles", &roles, roles_due, ROLES_MAX, |role| role.id)?;
    check_list("channels", &channels, channels_due, CHANNELS_MAX, |(channel, _)| channel.id)?;
    check_list("bans", &bans, bans_due, BANS_MAX, |ban| ban.user)?;
    // Not held to the limit: recovery keeps what every record of the tail says, and lets go of it when there is more to keep.
    check_list("clients", &clients, clients_due, usize::MAX, |client| client.client)?;
    for (at, (_, overwrites)) in channels.iter().enumerate() {
        check_limit("overwrites", overwrites.len(), OVERWRITES_MAX)?;
        check_order("overwrite of channel", at, overwrites, |overwrite| overwrite.target)?;
    }
    for (at, client) in clients.iter().enumerate() {
        check_limit("operations of a client", client.operations.len(), CLIENT_OUTCOMES_MAX)?;
        check_order("operation of client", at, &client.operations, |op| op.id.counter)?;
        if client.operations.iter().any(|op| op.id.client != client.client) {
            return Err(StructureError::Foreign { at });
        }
    }
    match &mut structure.standing {
        Standing::Alive { roles: own_roles, channels: own_channels, bans: own_bans, .. } => {
            check_limit("roles in the head", own_roles.len(), 0)?;
            check_limit("channels in the head", own_channels.len(), 0)?;
            check_limit("bans in the head", own_bans.len(), 0)?;
            (*own_roles, *own_channels, *own_bans) = (roles, channels, bans);
        }
        Standing::Uncreated | Standing::Deleted => {
            check_limit("lists of a guild that is not", roles.len() + channels.len() + bans.len(), 0)?;
        }
    }
    check_limit("clients in the head", structure.operations.len(), 0)?;
    structure.operations = clients;
    Ok(structure)
}

impl Piece {
    fn code(&self) -> u8 {
        match self {
            Self::Head(_) => HEAD,
            Self::Roles(_) => ROLES,
            Self::Channels(_) => CHANNELS,
            Self::Bans(_) => BANS,
            Self::Clients(_) => CLIENTS,
        }
    }

    fn what(&self) -> &'static str {
        match self {
            Self::Head(_) => "head",
            Self::Roles(_) => "roles",
            Self::Channels(_) => "channels",
            Self::Bans(_) => "bans",
            Self::Clients(_) => "clients",
        }
    }
}

/// That a list is as long as the head says, within its limit, and ascends.
fn check_list<T, K: Ord>(
    what: &'static str,
    list: &[T],
    expected: usize,
    max: usize,
    key: impl Fn(&T) -> K,
) -> Result<(), StructureError> {
    check_limit(what, list.len(), max)?;
    if list.len() != expected {
        return Err(StructureError::Count { what, expected, found: list.len() });
    }
    match list.windows(2).position(|pair| key(&pair[0]) >= key(&pair[1])) {
        Some(before) => Err(StructureError::Order { what, at: before + 1 }),
        None => Ok(()),
    }
}

fn check_order<T, K: Ord>(
    what: &'static str,
    at: usize,
    list: &[T],
    key: impl Fn(&T) -> K,
) -> Result<(), StructureError> {
    let ascends = list.is_sorted_by(|one, next| key(one) < key(next));
    if ascends { Ok(()) } else { Err(StructureError::Order { what, at }) }
}

fn check_limit(what: &'static str, found: usize, max: usize) -> Result<(), StructureError> {
    if found <= max { Ok(()) } else { Err(StructureError::Limit { what, found, max }) }
}
