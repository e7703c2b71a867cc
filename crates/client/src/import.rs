//! Imports of any length: as many operations as it takes, one after the other.

use guildhall_proto::limits::BULK_MEMBERS_MAX;
use guildhall_proto::{Actor, Command, LineFault, NewMember, OpId, Outcome, Position};

use crate::error::ClientError;
use crate::guild::Guild;

/// Members on their way into a guild. What was pushed last is only carried out by [`end`](Self::end): dropped before that, it is not.
#[derive(Debug)]
pub struct Import {
    guild: Guild,
    actor: Actor,
    /// Those that wait.
    lines: Vec<NewMember>,
    /// The operation that was begun with the first so many of them, and of which nobody knows yet what it came to.
    begun: Option<(OpId, usize)>,
    /// How many were taken before these.
    taken: u64,
    /// The line that ended it.
    stopped: Option<(u64, LineFault)>,
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
        let (lines, imported) = (Vec::new(), Imported::default());
        Import { guild: self.clone(), actor, lines, begun: None, taken: 0, stopped: None, imported }
    }
}

impl Import {
    /// Adds a line, and carries out what there is once that fills an operation. May be cancelled: the line is taken, and what was under way is done by the
    /// next that is pushed, or by the end; it is not done twice.
    ///
    /// # Errors
    /// [`ImportError`]; the line is taken all the same. Behind [`Line`](ImportError::Line) nothing more is to be pushed, and all that is says the same; where
    /// a call came to nothing the next makes it again.
    pub async fn push(&mut self, line: NewMember) -> Result<(), ImportError> {
        self.check()?;
        self.lines.push(line);
        while self.lines.len() >= BULK_MEMBERS_MAX {
            self.carry_out().await?;
        }
        Ok(())
    }

    /// Carries out what is left.
    ///
    /// # Errors
    /// [`ImportError`].
    pub async fn end(mut self) -> Result<Imported, ImportError> {
        self.check()?;
        while !self.lines.is_empty() {
            self.carry_out().await?;
        }
        Ok(self.imported)
    }

    /// Whether no line has ended it.
    fn check(&self) -> Result<(), ImportError> {
        self.stopped.map_or(Ok(()), |(line, fault)| Err(ImportError::Line { line, fault }))
    }

    /// Carries out an operation's worth of lines, or what was begun before.
    async fn carry_out(&mut self) -> Result<(), ImportError> {
        let opened = if self.begun.is_none() { Some(self.guild.begin().await?) } else { None };
        let fresh = opened.as_ref().map(|operation| (operation.op, self.lines.len().min(BULK_MEMBERS_MAX)));
        let Some((op, lines)) = self.begun.or(fresh) else { return Ok(()) };
        // Noted before anything is waited for: whatever becomes of it, it is the same operation the next time.
        self.begun = Some((op, lines));
        let command = Command::ImportMembers(self.lines[..lines].to_vec());
        let outcome = self.guild.call_as(op, self.actor, command).await;
        if !matches!(outcome, Err(ClientError::OutcomeUnknown)) {
            // What it came to is known: what was refused, or not begun, is another operation the next time.
            self.begun = None;
        }
        let outcome = outcome?;
        self.lines.drain(..lines);
        let Outcome::MembersImported { at, lines, added, existing, banned, stopped } = outcome else {
            return Err(self.guild.refused(&format!("{outcome:?} of an import")).into());
        };
        self.imported.at = at;
        self.imported.added += u64::from(added);
        self.imported.existing += u64::from(existing);
        self.imported.banned += u64::from(banned);
        self.taken += u64::from(lines);
        self.stopped = stopped.map(|fault| (self.taken, fault));
        self.check()
    }
}
