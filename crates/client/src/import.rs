//! Imports of any length: as many operations as it takes, one after the other.

use std::mem::take;

use guildhall_proto::limits::BULK_MEMBERS_MAX;
use guildhall_proto::{Actor, Command, LineFault, NewMember, Outcome, Position};

use crate::error::ClientError;
use crate::guild::Guild;

/// Members on their way into a guild. What was pushed last is only carried out by [`end`](Self::end): dropped before that, it is not.
#[derive(Debug)]
pub struct Import {
    guild: Guild,
    actor: Actor,
    /// Those that wait for the next operation: fewer than one may have.
    lines: Vec<NewMember>,
    /// How many were taken before these.
    taken: u64,
    imported: Imported,
}

/// What an import came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Imported {
    /// From which position on all of it can be read.
    pub at: Position,
    /// How many became members.
    pub added: u64,
    /// How many were members already, and stayed as they were.
    pub existing: u64,
    /// How many are banned, and were left out.
    pub banned: u64,
}

/// Why an import went no further. Whoever was taken before is a member; the same import made again takes these for existing, and goes on behind them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ImportError {
    /// A line cannot be: none behind it was taken.
    #[error("line {line}: {fault}")]
    Line {
        /// Which, counted from 0.
        line: u64,
        /// What is wrong with it.
        fault: LineFault,
    },
    /// A call came to nothing.
    #[error(transparent)]
    Call(#[from] ClientError),
}

impl Guild {
    /// Begins to import members, as many as there are: they are sent 10,000 at a time, each time as one operation. Roles that they hold
    /// must be there. Each may take as long as [`within`](Self::within) says.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/node.rs"));
    /// # fn main() -> node::Done { node::with_backend(async |client| {
    /// use guildhall_client::proto::{Actor, GuildId, MemberFlags, NewMember, Nick, UserId};
    ///
    /// let mut import = client.guild(GuildId::new(1)?).import(Actor::System);
    /// for number in 100..12_600 {
    ///     let (user, nick) = (UserId::new(number)?, Nick::parse(&format!("guest {number}"))?);
    ///     import.push(NewMember { user, nick, roles: vec![], flags: MemberFlags::NONE }).await?;
    /// }
    /// let imported = import.end().await?;
    /// assert_eq!((imported.added, imported.existing), (12_500, 0));
    /// # Ok(()) }) }
    /// ```
    pub fn import(&self, actor: Actor) -> Import {
        Import { guild: self.clone(), actor, lines: Vec::new(), taken: 0, imported: Imported::default() }
    }
}

impl Import {
    /// Adds a line, and carries out what there is once that fills an operation.
    ///
    /// # Errors
    /// [`ImportError`]: nothing more is to be pushed then.
    pub async fn push(&mut self, line: NewMember) -> Result<(), ImportError> {
        self.lines.push(line);
        if self.lines.len() < BULK_MEMBERS_MAX { Ok(()) } else { self.carry_out().await }
    }

    /// Carries out what is left.
    ///
    /// # Errors
    /// [`ImportError`].
    pub async fn end(mut self) -> Result<Imported, ImportError> {
        if !self.lines.is_empty() {
            self.carry_out().await?;
        }
        Ok(self.imported)
    }

    async fn carry_out(&mut self) -> Result<(), ImportError> {
        let command = Command::ImportMembers(take(&mut self.lines));
        let outcome = self.guild.call(self.actor, command).await?;
        let Outcome::MembersImported { at, lines, added, existing, banned, stopped } = outcome else {
            return Err(self.guild.refused(&format!("{outcome:?} of an import")).into());
        };
        self.imported.at = at;
        self.imported.added += u64::from(added);
        self.imported.existing += u64::from(existing);
        self.imported.banned += u64::from(banned);
        self.taken += u64::from(lines);
        match stopped {
            Some(fault) => Err(ImportError::Line { line: self.taken, fault }),
            None => Ok(()),
        }
    }
}
