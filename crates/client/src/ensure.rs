//! Commands by which something comes to be, and that it may be there already.

use guildhall_proto::{Actor, Command, CommandError, Outcome};

use crate::error::ClientError;
use crate::guild::Guild;

/// What a command came to by which something was to be there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ensured {
    /// It is there now.
    Made(Outcome),
    /// It was there already, and is as it was: perhaps not as it was to be made.
    Found,
}

impl Guild {
    /// Carries a command out, as [`call`](Self::call) does; that the guild, channel or member which it makes is there already is no error. So whoever
    /// starts makes what it needs, whether or not it has run before, and several may at once.
    ///
    /// The id of a role is also taken for a while after it was deleted: that it is taken does not say that it is there, and is an error.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/node.rs"));
    /// # fn main() -> node::Done { node::with_backend(async |client| {
    /// use guildhall_client::proto::{Actor, Command, GuildId, NewMember, Nick, UserId};
    /// use guildhall_client::Ensured;
    ///
    /// let guild = client.guild(GuildId::new(1)?);
    /// let zoe = Command::AddMember(NewMember::new(UserId::new(26)?, Nick::parse("Zoe")?));
    /// assert!(matches!(guild.ensure(Actor::System, zoe.clone()).await?, Ensured::Made(_)));
    /// assert_eq!(guild.ensure(Actor::System, zoe).await?, Ensured::Found);
    /// # Ok(()) }) }
    /// ```
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn ensure(&self, actor: Actor, command: Command) -> Result<Ensured, ClientError> {
        match self.call(actor, command).await {
            Err(ClientError::Refused(
                CommandError::GuildExists | CommandError::ChannelExists { .. } | CommandError::MemberExists { .. },
            )) => Ok(Ensured::Found),
            done => done.map(Ensured::Made),
        }
    }
}
