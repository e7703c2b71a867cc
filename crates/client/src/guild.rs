//! Calls to one guild: what changes it, and what is read of it.

use std::collections::VecDeque;
use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use guildhall_cluster::Repeat;
use guildhall_proto::call::{
    Answer, Ask, Freshness, IdRun, Packer, PageLimit, Piece, PieceRun, Prefix, Read, Request, Users,
};
use guildhall_proto::limits::MEMBERS_MAX;
use guildhall_proto::{
    Actor, AsOf, ChannelId, Command, GuildId, Member, OpId, Outcome, Permissions, Position, Question, Reply, UserId,
};
use tokio::time::{Instant, timeout};

use crate::call::{Answered, Terms};
use crate::client::{Client, Held};
use crate::counters::Counter;
use crate::error::{ClientError, Failed, unfit};
use crate::operations::Operation;
use crate::rest::Rest;

/// One guild, to be called. Cheap to make: nothing is asked by that.
///
/// A call ends by its deadline ([`within`](Self::within)), and a call that is dropped is given up: nothing more is sent of it, a read ends at the node
/// too, and a command that has been sent may be carried out all the same.
#[derive(Debug, Clone)]
pub struct Guild {
    held: Held,
    guild: GuildId,
    within: Duration,
    freshness: Freshness,
}

/// Pieces of a guild, as they come. To be read on: of what nothing is read for some seconds a node gives the rest up ([`ClientError::Unread`]).
#[derive(Debug)]
pub struct Pieces {
    as_of: AsOf,
    members: u32,
    online: u32,
    bans: u32,
    /// `None` once nothing follows.
    rest: Option<(Rest, PieceRun)>,
}

/// Members, as they come. To be read on, as [`Pieces`].
#[derive(Debug)]
pub struct MemberStream {
    pieces: Pieces,
    came: VecDeque<Member>,
}

/// Whom a ping reaches, as it comes. To be read on, as [`Pieces`].
#[derive(Debug)]
pub struct Recipients {
    as_of: AsOf,
    rest: Option<Rest>,
    run: IdRun,
}

impl Client {
    /// A guild, wherever it is.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/node.rs"));
    /// # fn main() -> node::Done { node::with_backend(async |client| {
    /// use guildhall_client::proto::{GuildId, UserId};
    ///
    /// let guild = client.guild(GuildId::new(1)?);
    /// let (_, member) = guild.member(UserId::new(3)?).await?;
    /// assert_eq!(member.nick.as_str(), "Cy");
    /// # Ok(()) }) }
    /// ```
    pub fn guild(&self, guild: GuildId) -> Guild {
        let within = self.held.config.deadline;
        Guild { held: self.held.clone(), guild, within, freshness: Freshness::Latest }
    }
}

impl Guild {
    /// The same, where calls may take that long: at most 10 minutes.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/node.rs"));
    /// # fn main() -> node::Done { node::with_backend(async |client| {
    /// use std::time::Duration;
    ///
    /// use guildhall_client::proto::GuildId;
    /// use guildhall_client::ClientError;
    ///
    /// // Nothing is answered in no time at all.
    /// let guild = client.guild(GuildId::new(1)?).within(Duration::ZERO);
    /// assert_eq!(guild.show().await.unwrap_err(), ClientError::Late);
    /// # Ok(()) }) }
    /// ```
    #[must_use]
    pub fn within(mut self, within: Duration) -> Self {
        self.within = within;
        self
    }

    /// The same, where reads are as fresh as that.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/node.rs"));
    /// # fn main() -> node::Done { node::with_backend(async |client| {
    /// use guildhall_client::proto::{Actor, Command, GuildId, MemberEdit, Nick, UserId};
    /// use guildhall_client::Freshness;
    ///
    /// let (guild, cy) = (client.guild(GuildId::new(1)?), UserId::new(3)?);
    /// let edit = MemberEdit { nick: Some(Nick::parse("Cyrus")?), ..MemberEdit::default() };
    /// let outcome = guild.call(Actor::User(UserId::new(1)?), Command::UpdateMember { user: cy, edit }).await?;
    /// // Who has written reads it, on any link, also in another process that is told the position.
    /// let (as_of, member) = guild.clone().fresh(Freshness::AtLeast(outcome.at())).member(cy).await?;
    /// assert!(as_of.at >= outcome.at() && member.nick.as_str() == "Cyrus");
    /// // Whatever anybody was told before now is seen, and no owner that was replaced answers.
    /// guild.clone().fresh(Freshness::Strong).can(cy, None).await?;
    /// # Ok(()) }) }
    /// ```
    #[must_use]
    pub fn fresh(mut self, freshness: Freshness) -> Self {
        self.freshness = freshness;
        self
    }

    /// Carries a command out, under a new operation id: at most once, however often it has to be sent. Of a message no more is sent once it may
    /// have come through.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/node.rs"));
    /// # fn main() -> node::Done { node::with_backend(async |client| {
    /// use guildhall_client::proto::{
    ///     Actor, ChannelId, Command, CommandError, GuildId, Mentions, NewMember, Payload, Permissions, Publish, Role, RoleId, UserId,
    /// };
    /// # use guildhall_client::proto::{MemberFlags, Name, Nick};
    /// use guildhall_client::ClientError;
    ///
    /// let (guild, ada, cy) = (client.guild(GuildId::new(1)?), UserId::new(1)?, UserId::new(3)?);
    /// // As the system, whom no permissions hold back: what the chat backend has decided itself.
    /// let zoe = NewMember { user: UserId::new(26)?, nick: Nick::parse("Zoe")?, roles: vec![], flags: MemberFlags::NONE };
    /// guild.call(Actor::System, Command::AddMember(zoe)).await?;
    /// // On behalf of a user, who must be allowed to.
    /// let role = Role {
    ///     id: RoleId::new(21)?,
    ///     name: Name::parse("moderators")?,
    ///     position: 1,
    ///     permissions: Permissions::KICK_MEMBERS,
    ///     hoist: true,
    ///     mentionable: true,
    /// };
    /// let refused = guild.call(Actor::User(cy), Command::CreateRole(role.clone())).await.unwrap_err();
    /// assert!(matches!(refused, ClientError::Refused(CommandError::MissingPermissions { .. })), "{refused}");
    /// guild.call(Actor::User(ada), Command::CreateRole(role)).await?;
    /// // Messages too.
    /// let (channel, payload, mentions) = (ChannelId::new(2)?, Payload::new(&b"hello"[..])?, Mentions::default());
    /// let publish = Publish { channel, payload, mentions, session: None, echo: false };
    /// let published = guild.call(Actor::User(cy), Command::Publish(publish)).await?;
    /// println!("said at {}", published.at());
    /// # Ok(()) }) }
    /// ```
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn call(&self, actor: Actor, command: Command) -> Result<Outcome, ClientError> {
        let begun = Instant::now();
        let operation = self.begin().await?;
        let left = self.clone().within(self.within.saturating_sub(begun.elapsed()));
        left.call_as(operation.op, actor, command).await
    }

    /// Opens an operation, for the outcome of which there is room.
    pub(crate) async fn begin(&self) -> Result<Operation<'_>, ClientError> {
        let begin = self.held.operations.begin(self.guild);
        timeout(self.within, begin).await.map_err(|_| ClientError::Late)
    }

    /// The same under an operation id of the caller's, which a retry bears again, also in another process. Those that [`call`](Self::call) makes are
    /// of a name that was drawn when the client began.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/node.rs"));
    /// # fn main() -> node::Done { node::with_backend(async |client| {
    /// use std::time::{SystemTime, UNIX_EPOCH};
    ///
    /// use guildhall_client::proto::{Actor, ClientId, Command, GuildId, Millis, OpId, UserId};
    ///
    /// let guild = client.guild(GuildId::new(1)?);
    /// // A name that is written down with the job that it is for, before that is begun.
    /// let issued_at = Millis(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis() as u64);
    /// let op = OpId { client: ClientId::new(77)?, counter: 1, issued_at };
    /// let kick = Command::RemoveMember { user: UserId::new(9)? };
    /// let first = guild.call_as(op, Actor::System, kick.clone()).await?;
    /// // Whoever finds the job unfinished does it again: it is answered as before, and not carried out twice.
    /// assert_eq!(guild.call_as(op, Actor::System, kick).await?, first);
    /// # Ok(()) }) }
    /// ```
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn call_as(&self, op: OpId, actor: Actor, command: Command) -> Result<Outcome, ClientError> {
        let repeat = if command.is_durable() { Repeat::ById } else { Repeat::Never };
        let (request, lines) = Request::command(self.guild, op, actor, command);
        let chunks = packed(&lines)?;
        let (answer, _) = self.ask(repeat, request, chunks).await?;
        if let Answer::Reply(Reply::Outcome(outcome)) = answer { Ok(outcome) } else { Err(unfit(&answer)) }
    }

    /// Tells that a member types; as of which position that is told. Within [`TYPING_EVERY`](guildhall_proto::limits::TYPING_EVERY) it is not told
    /// again, and the position is that of what was told before.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/node.rs"));
    /// # fn main() -> node::Done { node::with_backend(async |client| {
    /// use guildhall_client::proto::{ChannelId, GuildId, UserId};
    ///
    /// client.guild(GuildId::new(1)?).typing(UserId::new(3)?, ChannelId::new(2)?).await?;
    /// # Ok(()) }) }
    /// ```
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn typing(&self, user: UserId, channel: ChannelId) -> Result<Position, ClientError> {
        let request = Request::Typing { guild: self.guild, user, channel };
        let (answer, _) = self.ask(Repeat::Freely, request, Vec::new()).await?;
        if let Answer::Reply(Reply::Accepted(at)) = answer { Ok(at) } else { Err(unfit(&answer)) }
    }

    /// A member, with when that is true.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/node.rs"));
    /// # fn main() -> node::Done { node::with_backend(async |client| {
    /// use guildhall_client::proto::{CommandError, GuildId, UserId};
    /// use guildhall_client::ClientError;
    ///
    /// let (guild, nobody) = (client.guild(GuildId::new(1)?), UserId::new(99)?);
    /// let (as_of, member) = guild.member(UserId::new(3)?).await?;
    /// println!("{} since {:?}, as of {}", member.nick.as_str(), member.joined_at, as_of.at);
    /// let refused = guild.member(nobody).await.unwrap_err();
    /// assert_eq!(refused, ClientError::Refused(CommandError::UnknownMember { user: nobody }));
    /// # Ok(()) }) }
    /// ```
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn member(&self, user: UserId) -> Result<(AsOf, Member), ClientError> {
        let (answer, _) = self.read(Read::Member(user)).await?;
        if let Answer::Member { as_of, member } = answer { Ok((as_of, member)) } else { Err(unfit(&answer)) }
    }

    /// What a member may do, in a channel or in the guild as a whole.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/node.rs"));
    /// # fn main() -> node::Done { node::with_backend(async |client| {
    /// use guildhall_client::proto::{ChannelId, GuildId, Permissions, UserId};
    ///
    /// let (_, may) = client.guild(GuildId::new(1)?).can(UserId::new(3)?, Some(ChannelId::new(2)?)).await?;
    /// assert!(may.contains(Permissions::SEND_MESSAGES) && !may.contains(Permissions::MANAGE_CHANNELS));
    /// # Ok(()) }) }
    /// ```
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn can(&self, user: UserId, channel: Option<ChannelId>) -> Result<(AsOf, Permissions), ClientError> {
        let (answer, _) = self.read(Read::Can { user, channel }).await?;
        if let Answer::Can { as_of, permissions } = answer { Ok((as_of, permissions)) } else { Err(unfit(&answer)) }
    }

    /// The guild's settings, roles and channels with their overwrites.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/node.rs"));
    /// # fn main() -> node::Done { node::with_backend(async |client| {
    /// use guildhall_client::proto::GuildId;
    /// use guildhall_client::Piece;
    ///
    /// let mut pieces = client.guild(GuildId::new(1)?).show().await?;
    /// println!("{} members, {} of them online", pieces.members(), pieces.online());
    /// while let Some(some) = pieces.next().await? {
    ///     for piece in some {
    ///         match piece {
    ///             Piece::Settings(settings) => println!("{}, owned by {}", settings.name, settings.owner),
    ///             Piece::Role(role) => println!("role {}", role.name),
    ///             Piece::Channel(channel, overwrites) => println!("channel {}, {overwrites:?}", channel.name),
    ///             Piece::Ban(_) | Piece::Member(_) | Piece::Event(_) => unreachable!("not asked for"),
    ///         }
    ///     }
    /// }
    /// # Ok(()) }) }
    /// ```
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn show(&self) -> Result<Pieces, ClientError> {
        self.pieces(Request::Read { guild: self.guild, freshness: self.freshness, read: Read::Show }).await
    }

    /// The whole guild, but for what is kept of operations: for operators.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/node.rs"));
    /// # fn main() -> node::Done { node::with_operator(async |client| {
    /// use guildhall_client::proto::GuildId;
    /// use guildhall_client::Piece;
    ///
    /// let mut export = client.guild(GuildId::new(1)?).export().await?;
    /// let mut members = 0;
    /// while let Some(pieces) = export.next().await? {
    ///     members += pieces.iter().filter(|piece| matches!(piece, Piece::Member(_))).count();
    /// }
    /// assert_eq!(members, export.members() as usize);
    /// # Ok(()) }) }
    /// ```
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn export(&self) -> Result<Pieces, ClientError> {
        self.pieces(Request::Export { guild: self.guild, freshness: self.freshness }).await
    }

    /// Members in the order of their ids, after `after`, at most `limit`; all of one moment.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/node.rs"));
    /// # fn main() -> node::Done { node::with_backend(async |client| {
    /// use guildhall_client::proto::GuildId;
    ///
    /// let guild = client.guild(GuildId::new(1)?);
    /// let (mut members, mut nicks) = (guild.members(None, Some(3)).await?, Vec::new());
    /// let mut last = None;
    /// while let Some(member) = members.next().await? {
    ///     last = Some(member.user);
    ///     nicks.push(member.nick.as_str().to_owned());
    /// }
    /// assert_eq!(nicks, ["Ada", "Bo", "Cy"]);
    /// // The next page.
    /// assert_eq!(guild.members(last, None).await?.next().await?.expect("there are nine").nick.as_str(), "Di");
    /// # Ok(()) }) }
    /// ```
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn members(&self, after: Option<UserId>, limit: Option<u32>) -> Result<MemberStream, ClientError> {
        self.member_stream(Read::Members { after, limit }).await
    }

    /// The members among these users.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/node.rs"));
    /// # fn main() -> node::Done { node::with_backend(async |client| {
    /// use guildhall_client::proto::{GuildId, UserId};
    /// use guildhall_client::Users;
    ///
    /// let asked = Users::new(vec![UserId::new(99)?, UserId::new(3)?])?;
    /// let mut members = client.guild(GuildId::new(1)?).members_by_id(asked).await?;
    /// assert_eq!(members.next().await?.expect("Cy is a member").user, UserId::new(3)?);
    /// assert_eq!(members.next().await?, None);
    /// # Ok(()) }) }
    /// ```
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn members_by_id(&self, users: Users) -> Result<MemberStream, ClientError> {
        self.member_stream(Read::MembersById(users)).await
    }

    /// Members whose nick begins so, whatever the case, in the order of their nicks.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/node.rs"));
    /// # fn main() -> node::Done { node::with_backend(async |client| {
    /// use guildhall_client::proto::GuildId;
    /// use guildhall_client::{PageLimit, Prefix};
    ///
    /// let limit = PageLimit::new(10).expect("10 is at most 1,000");
    /// let mut members = client.guild(GuildId::new(1)?).members_by_prefix(Prefix::new("a")?, limit).await?;
    /// assert_eq!(members.next().await?.expect("Ada is a member").nick.as_str(), "Ada");
    /// assert_eq!(members.next().await?, None);
    /// # Ok(()) }) }
    /// ```
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn members_by_prefix(&self, prefix: Prefix, limit: PageLimit) -> Result<MemberStream, ClientError> {
        self.member_stream(Read::MembersByPrefix { prefix, limit }).await
    }

    /// Whom a ping reaches.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/node.rs"));
    /// # fn main() -> node::Done { node::with_backend(async |client| {
    /// use guildhall_client::proto::{ChannelId, GuildId, Question, RoleId};
    ///
    /// let (id, channel) = (GuildId::new(1)?, ChannelId::new(2)?);
    /// let guild = client.guild(id);
    /// let everyone = Question::Everyone { channel };
    /// let here = Question::Here { channel }; // Of these, who is online.
    /// let role = Question::Role { role: RoleId::everyone(id), channel: None };
    /// for (question, count) in [(everyone, 9), (here, 0), (role, 9)] {
    ///     let (mut recipients, mut users) = (guild.recipients(question).await?, Vec::new());
    ///     while let Some(chunk) = recipients.next().await? {
    ///         users.extend(chunk);
    ///     }
    ///     assert_eq!(users.len(), count);
    /// }
    /// # Ok(()) }) }
    /// ```
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn recipients(&self, question: Question) -> Result<Recipients, ClientError> {
        let request = Request::Recipients { guild: self.guild, freshness: self.freshness, question };
        match self.ask(Repeat::Freely, request, Vec::new()).await? {
            (Answer::Recipients(as_of), rest) => {
                Ok(Recipients { as_of, rest: Some(rest), run: IdRun::new(MEMBERS_MAX) })
            }
            (other, _) => Err(unfit(&other)),
        }
    }

    async fn member_stream(&self, read: Read) -> Result<MemberStream, ClientError> {
        let request = Request::Read { guild: self.guild, freshness: self.freshness, read };
        Ok(MemberStream { pieces: self.pieces(request).await?, came: VecDeque::new() })
    }

    async fn pieces(&self, request: Request) -> Result<Pieces, ClientError> {
        let course = request.course().expect("what is asked for is answered in pieces");
        match self.ask(Repeat::Freely, request, Vec::new()).await? {
            (Answer::Pieces { as_of, members, online, bans }, rest) => {
                Ok(Pieces { as_of, members, online, bans, rest: Some((rest, PieceRun::new(course))) })
            }
            (other, _) => Err(unfit(&other)),
        }
    }

    async fn read(&self, read: Read) -> Result<Answered, ClientError> {
        let request = Request::Read { guild: self.guild, freshness: self.freshness, read };
        self.ask(Repeat::Freely, request, Vec::new()).await
    }

    /// What was answered is no answer to the call.
    pub(crate) fn refused(&self, why: &dyn Display) -> ClientError {
        Failed::refused(&self.held.counters, Counter::CallsFailedOtherAnswer, why).into()
    }

    async fn ask(&self, repeat: Repeat, request: Request, chunks: Vec<Vec<u8>>) -> Result<Answered, ClientError> {
        let terms = Terms { guild: self.guild, repeat, within: self.within };
        let (request, chunks) = (&request, &chunks[..]);
        let attempt = |linked: Arc<crate::links::Linked>, within| async move {
            linked.send(&Ask { within, request: request.clone() }, chunks).await
        };
        self.held.call(terms, attempt).await
    }
}

impl Pieces {
    /// When they are true.
    pub const fn as_of(&self) -> AsOf {
        self.as_of
    }

    /// How many members the guild has.
    pub const fn members(&self) -> u32 {
        self.members
    }

    /// How many of these are online.
    pub const fn online(&self) -> u32 {
        self.online
    }

    /// How many users are banned from it.
    pub const fn bans(&self) -> u32 {
        self.bans
    }

    /// The next of them, some at a time; `None` behind the last.
    ///
    /// # Errors
    /// [`ClientError`]: what came before is good, and more will not come.
    pub async fn next(&mut self) -> Result<Option<Vec<Piece>>, ClientError> {
        let Some((rest, _)) = &mut self.rest else { return Ok(None) };
        let came = rest.next().await;
        let Some((rest, mut run)) = self.rest.take() else { return Ok(None) };
        let Some(chunk) = came? else {
            run.end().map_err(|fault| rest.refused(&fault))?;
            return Ok(None);
        };
        let mut pieces = Vec::new();
        run.take(&chunk, &mut pieces).map_err(|fault| rest.refused(&fault))?;
        self.rest = Some((rest, run));
        Ok(Some(pieces))
    }
}

impl MemberStream {
    /// When they are true.
    pub const fn as_of(&self) -> AsOf {
        self.pieces.as_of()
    }

    /// The next of them; `None` behind the last.
    ///
    /// # Errors
    /// [`ClientError`]: who came before is a member, and more will not come.
    pub async fn next(&mut self) -> Result<Option<Member>, ClientError> {
        loop {
            if let Some(member) = self.came.pop_front() {
                return Ok(Some(member));
            }
            let Some(pieces) = self.pieces.next().await? else { return Ok(None) };
            self.came.extend(pieces.into_iter().filter_map(|piece| match piece {
                Piece::Member(member) => Some(member),
                // The run lets no other kind through where members were asked for.
                Piece::Settings(_) | Piece::Role(_) | Piece::Channel(..) | Piece::Ban(_) | Piece::Event(_) => None,
            }));
        }
    }
}

impl Recipients {
    /// When that is true.
    pub const fn as_of(&self) -> AsOf {
        self.as_of
    }

    /// The next chunk of users, ascending; `None` behind the last.
    ///
    /// # Errors
    /// [`ClientError`]: who came before is meant, and more will not come.
    pub async fn next(&mut self) -> Result<Option<Vec<UserId>>, ClientError> {
        let Some(rest) = &mut self.rest else { return Ok(None) };
        let came = match rest.next().await {
            Ok(Some(chunk)) => {
                let mut users = Vec::new();
                let taken = self.run.take(&chunk, &mut users);
                taken.map(|()| Some(users)).map_err(|fault| rest.refused(&fault).into())
            }
            Ok(None) => Ok(None),
            Err(failed) => Err(failed.into()),
        };
        if !matches!(came, Ok(Some(_))) {
            self.rest = None;
        }
        came
    }
}

/// The bodies of the chunks that hold an import's lines.
fn packed(lines: &[guildhall_proto::NewMember]) -> Result<Vec<Vec<u8>>, ClientError> {
    let mut packer = Packer::default();
    let mut chunks = Vec::new();
    for line in lines {
        let full = packer.push(line).map_err(|error| ClientError::Answer(error.to_string()))?;
        chunks.extend(full);
    }
    chunks.extend(packer.rest());
    Ok(chunks)
}
