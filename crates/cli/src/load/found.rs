//! The guild that is loaded: made first if that is asked for, then read as it is.

use std::sync::Arc;

use anyhow::{Context, ensure};
use guildhall_client::{Client, ClientError, Freshness, Guild, Piece};
use guildhall_proto::limits::USER_SESSIONS_MAX;
use guildhall_proto::{
    ChannelId, ChannelKind, CommandError, GuildId, GuildSettings, Level, Member, Name, Position, RoleId, UserId,
};

use super::LoadError;
use super::seat::Seat;
use crate::bars;
use crate::trial::founding;
use crate::trial::rights::Rights;
use crate::trial::shape::Shape;
use crate::trial::tamper::{Meddler, Overheard, Tamper};

/// A guild as the load has found it.
pub(super) struct Found {
    pub(super) id: GuildId,
    pub(super) guild: Guild,
    pub(super) name: Name,
    pub(super) owner: UserId,
    /// Where it rests while sessions attach.
    pub(super) at: Position,
    pub(super) members: u64,
    pub(super) rights: Rights,
    /// Those for messages, ascending.
    pub(super) channels: Vec<ChannelId>,
    /// Those that members may have, everyone's left out; ascending.
    pub(super) roles: Vec<RoleId>,
    /// In the order of their sessions' ids.
    pub(super) seats: Vec<Seat>,
    /// Members without sessions, and their roles: some of them.
    pub(super) strangers: Vec<(UserId, Box<[RoleId]>)>,
}

/// How sessions are spread over a guild's members.
#[derive(Debug, Clone, Copy)]
pub(super) struct Spread {
    pub(super) sessions: u64,
    /// In a hundred.
    pub(super) active: u64,
    /// The id of the first; the others follow.
    pub(super) first: u64,
}

/// Makes a guild.
///
/// # Errors
/// [`LoadError::GuildExists`]; anything else if a call fails.
pub(super) async fn make(client: &Client, shape: Shape) -> anyhow::Result<()> {
    let bar = bars::bar(shape.members - 1, "members imported");
    let made = founding::found(&client.guild(shape.guild), shape, "load", |members, _| bar.inc(members)).await;
    bar.finish_and_clear();
    match made {
        Err(error) if is_there_already(&error) => Err(LoadError::GuildExists { guild: shape.guild }.into()),
        made => made,
    }
}

fn is_there_already(error: &anyhow::Error) -> bool {
    error.downcast_ref() == Some(&ClientError::Refused(CommandError::GuildExists))
}

impl Found {
    /// Reads a guild, and seats sessions among its members.
    ///
    /// # Errors
    /// [`LoadError`] if it has too few members, or no channels; anything else if a call fails.
    pub(super) async fn read(client: &Client, id: GuildId, spread: Spread) -> anyhow::Result<Self> {
        let guild = client.guild(id);
        let mut pieces = guild.show().await.with_context(|| format!("the guild {id} cannot be read"))?;
        let (at, members) = (pieces.as_of().at, u64::from(pieces.members()));
        let (mut settings, mut roles, mut channels) = (None, Vec::new(), Vec::new());
        while let Some(some) = pieces.next().await? {
            for piece in some {
                match piece {
                    Piece::Settings(found) => settings = Some(found),
                    Piece::Role(role) => roles.push((role.id, role.permissions)),
                    Piece::Channel(channel, overwrites) => channels.push((channel.id, channel.kind, overwrites)),
                    // A client lets none through where they were not asked for.
                    Piece::Ban(_) | Piece::Member(_) | Piece::Event(_) => {}
                }
            }
        }
        let GuildSettings { name, owner } = settings.context("a guild is shown without its settings")?;
        let most = members * USER_SESSIONS_MAX as u64;
        let sessions = spread.sessions;
        if sessions > most {
            return Err(LoadError::TooManySessions { guild: id, sessions, members, most }.into());
        }
        let of_messages = channels.iter().filter(|(_, kind, _)| *kind == ChannelKind::Text);
        let mut of_messages: Vec<ChannelId> = of_messages.map(|(channel, ..)| *channel).collect();
        of_messages.sort_unstable();
        if of_messages.is_empty() {
            return Err(LoadError::NoChannels { guild: id }.into());
        }
        let everyone = RoleId::everyone(id);
        let mut held: Vec<RoleId> = roles.iter().map(|(role, _)| *role).filter(|role| *role != everyone).collect();
        held.sort_unstable();
        let channels = channels.into_iter().map(|(channel, _, overwrites)| (channel, overwrites.into()));
        let mut found = Self {
            name,
            owner,
            at,
            members,
            rights: Rights::new(id, owner, roles, channels),
            channels: of_messages,
            roles: held,
            seats: Vec::new(),
            strangers: Vec::new(),
            id,
            guild,
        };
        found.seat(spread).await?;
        Ok(found)
    }

    /// Goes through all members, of which those that are needed are kept.
    async fn seat(&mut self, spread: Spread) -> anyhow::Result<()> {
        let mut stream = self.guild.clone().fresh(Freshness::AtLeast(self.at)).members(None, None).await?;
        ensure!(
            stream.as_of().at == self.at,
            "somebody else changes the guild: it was at {}, and is at {}",
            self.at,
            stream.as_of().at
        );
        let every = self.members.div_ceil(STRANGERS_MAX).max(1);
        let mut number = 0;
        while let Some(Member { user, roles, .. }) = stream.next().await? {
            let roles: Box<[RoleId]> = roles.into();
            let until =
                |number: u64| u128::from(number) * u128::from(spread.sessions) / u128::from(self.members.max(1));
            let sessions = until(number + 1) - until(number);
            for _ in 0..sessions {
                self.seats.push(Seat::new(self.seats.len() as u64, spread, user, roles.clone()));
            }
            if sessions == 0 && user != self.owner && number % every == 0 {
                self.strangers.push((user, roles));
            }
            number += 1;
        }
        Ok(())
    }

    /// Has somebody meddle: with a session that hears most, or, for a leak, with one that may not see what another sees, as long as both keep their
    /// roles.
    ///
    /// # Errors
    /// [`LoadError::NobodyToTamper`].
    pub(super) fn meddlers(&self, tamper: Tamper) -> Result<Vec<(usize, Meddler)>, LoadError> {
        let active = || self.seats.iter().enumerate().filter(|(_, seat)| seat.level == Level::Active && seat.keeps);
        let sees = |seat: &Seat, channel| self.rights.sees(seat.user, &seat.roles, channel);
        let one = |meddler| active().next().map(|(idx, _)| vec![(idx, meddler)]);
        let meddlers = match tamper {
            Tamper::Lost => one(Meddler::Lose),
            Tamper::Duplicated => one(Meddler::Double),
            Tamper::Reordered => one(Meddler::Hold),
            Tamper::Altered => one(Meddler::Exchange(Vec::new())),
            // The first channels are those in which most is said.
            Tamper::Leaked => self.channels.iter().find_map(|channel| {
                let (witness, _) = active().find(|(_, seat)| sees(seat, *channel))?;
                let (victim, _) = active().find(|(_, seat)| !sees(seat, *channel))?;
                let overheard = Overheard::default();
                let overhear = Meddler::Overhear(*channel, Arc::clone(&overheard));
                Some(vec![(witness, overhear), (victim, Meddler::Show(overheard))])
            }),
        };
        meddlers.ok_or(LoadError::NobodyToTamper)
    }
}

/// Members without sessions that are kept in mind, to be changed.
const STRANGERS_MAX: u64 = 100_000;
