//! Calls to one guild: what changes it, and what is read of it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use guildhall_cluster::Repeat;
use guildhall_proto::call::{
    Answer, Ask, ChunkFault, Freshness, IdRun, Packer, PageLimit, Piece, PieceRun, Prefix, Read, Request, Users,
};
use guildhall_proto::limits::MEMBERS_MAX;
use guildhall_proto::{
    Actor, AsOf, ChannelId, Command, GuildId, Member, OpId, Outcome, Permissions, Question, Reply, UserId,
};
use guildhall_transport::LaneReceiver;
use tokio::time::{Instant, timeout_at};

use crate::call::{Answered, Terms};
use crate::client::{Client, Held};
use crate::error::{ClientError, unfit};
use crate::remote::next_chunk;

/// One guild, to be called. Cheap to make: nothing is asked by that.
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
    /// `None` once nothing follows.
    rest: Option<(LaneReceiver, PieceRun)>,
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
    lane: Option<LaneReceiver>,
    run: IdRun,
}

impl Client {
    /// A guild, wherever it is.
    pub fn guild(&self, guild: GuildId) -> Guild {
        let within = self.held.config.deadline;
        Guild { held: self.held.clone(), guild, within, freshness: Freshness::Latest }
    }
}

impl Guild {
    /// The same, where calls may take that long: at most 10 minutes.
    #[must_use]
    pub fn within(mut self, within: Duration) -> Self {
        self.within = within;
        self
    }

    /// The same, where reads are as fresh as that.
    #[must_use]
    pub fn fresh(mut self, freshness: Freshness) -> Self {
        self.freshness = freshness;
        self
    }

    /// Carries a command out, under a new operation id: at most once, however often it has to be sent. Of a message no more is sent once it may
    /// have come through.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn call(&self, actor: Actor, command: Command) -> Result<Outcome, ClientError> {
        let begun = Instant::now();
        let begin = self.held.operations.begin(self.guild);
        let operation = timeout_at(begun + self.within, begin).await.map_err(|_| ClientError::Late)?;
        let left = self.clone().within(self.within.saturating_sub(begun.elapsed()));
        left.call_as(operation.op, actor, command).await
    }

    /// The same under an operation id of the caller's, which a retry bears again, also in another process. Those that [`call`](Self::call) makes are
    /// of a name that was drawn when the client began.
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

    /// Tells that a member types.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn typing(&self, user: UserId, channel: ChannelId) -> Result<(), ClientError> {
        let request = Request::Typing { guild: self.guild, user, channel };
        self.ask(Repeat::Freely, request, Vec::new()).await.map(|_| ())
    }

    /// A member, with when that is true.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn member(&self, user: UserId) -> Result<(AsOf, Member), ClientError> {
        let (answer, _) = self.read(Read::Member(user)).await?;
        if let Answer::Member { as_of, member } = answer { Ok((as_of, member)) } else { Err(unfit(&answer)) }
    }

    /// What a member may do, in a channel or in the guild as a whole.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn can(&self, user: UserId, channel: Option<ChannelId>) -> Result<(AsOf, Permissions), ClientError> {
        let (answer, _) = self.read(Read::Can { user, channel }).await?;
        if let Answer::Can { as_of, permissions } = answer { Ok((as_of, permissions)) } else { Err(unfit(&answer)) }
    }

    /// The guild's settings, roles and channels with their overwrites.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn show(&self) -> Result<Pieces, ClientError> {
        self.pieces(Request::Read { guild: self.guild, freshness: self.freshness, read: Read::Show }).await
    }

    /// The whole guild, but for what is kept of operations: for operators.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn export(&self) -> Result<Pieces, ClientError> {
        self.pieces(Request::Export { guild: self.guild, freshness: self.freshness }).await
    }

    /// Members in the order of their ids, after `after`, at most `limit`; all of one moment.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn members(&self, after: Option<UserId>, limit: Option<u32>) -> Result<MemberStream, ClientError> {
        self.member_stream(Read::Members { after, limit }).await
    }

    /// The members among these users.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn members_by_id(&self, users: Users) -> Result<MemberStream, ClientError> {
        self.member_stream(Read::MembersById(users)).await
    }

    /// Members whose nick begins so, whatever the case, in the order of their nicks.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn members_by_prefix(&self, prefix: Prefix, limit: PageLimit) -> Result<MemberStream, ClientError> {
        self.member_stream(Read::MembersByPrefix { prefix, limit }).await
    }

    /// Whom a ping reaches.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn recipients(&self, question: Question) -> Result<Recipients, ClientError> {
        let request = Request::Recipients { guild: self.guild, freshness: self.freshness, question };
        match self.ask(Repeat::Freely, request, Vec::new()).await? {
            (Answer::Recipients(as_of), lane) => {
                Ok(Recipients { as_of, lane: Some(lane), run: IdRun::new(MEMBERS_MAX) })
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
            (Answer::Pieces { as_of, members, online }, lane) => {
                Ok(Pieces { as_of, members, online, rest: Some((lane, PieceRun::new(course))) })
            }
            (other, _) => Err(unfit(&other)),
        }
    }

    async fn read(&self, read: Read) -> Result<Answered, ClientError> {
        let request = Request::Read { guild: self.guild, freshness: self.freshness, read };
        self.ask(Repeat::Freely, request, Vec::new()).await
    }

    async fn ask(&self, repeat: Repeat, request: Request, chunks: Vec<Vec<u8>>) -> Result<Answered, ClientError> {
        let terms = Terms { guild: self.guild, repeat, within: self.within };
        let asked = Arc::new((request, chunks));
        let attempt = |linked: Arc<crate::links::Linked>, within| {
            let asked = Arc::clone(&asked);
            async move { linked.send(&Ask { within, request: asked.0.clone() }, &asked.1).await }
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

    /// The next of them, some at a time; `None` behind the last.
    ///
    /// # Errors
    /// [`ClientError`]: what came before is good, and more will not come.
    pub async fn next(&mut self) -> Result<Option<Vec<Piece>>, ClientError> {
        // May be dropped while it waits: the lane keeps what has come.
        let Some((lane, _)) = &mut self.rest else { return Ok(None) };
        let came = next_chunk(lane).await;
        let Some((lane, mut run)) = self.rest.take() else { return Ok(None) };
        let Some(chunk) = came? else {
            run.end().map_err(unread)?;
            return Ok(None);
        };
        let mut pieces = Vec::new();
        run.take(&chunk, &mut pieces).map_err(unread)?;
        self.rest = Some((lane, run));
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
        let Some(lane) = &mut self.lane else { return Ok(None) };
        let came = match next_chunk(lane).await {
            Ok(Some(chunk)) => {
                let mut users = Vec::new();
                let taken = self.run.take(&chunk, &mut users);
                taken.map(|()| Some(users)).map_err(unread)
            }
            Ok(None) => Ok(None),
            Err(failed) => Err(failed.into()),
        };
        if !matches!(came, Ok(Some(_))) {
            self.lane = None;
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

fn unread(fault: ChunkFault) -> ClientError {
    ClientError::Answer(fault.to_string())
}
