//! What a call asks: the body of a `Request` frame.

use super::Call;
use super::answer::Answer;
use super::bounds::{PageLimit, Prefix, Users, Within};
use super::chunk::{Course, RequestChunks};
use super::feed::FeedId;
use crate::codec::{Decode, Encode};
use crate::{
    Actor, ChannelId, Command, GuildId, NewMember, OpId, Position, Question, Reply, SessionId, SessionRequest, UserId,
};

/// A request, with how long its caller waits.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Ask {
    /// What is left of the caller's time when it is sent. After that nobody listens to the answer.
    pub within: Within,
    /// What is asked.
    pub request: Request,
}

/// What may be asked.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum Request {
    /// Whether the node answers, and since when it runs. [`Answer::Pong`].
    Ping,
    /// The node's counters. [`Answer::Stats`].
    Stats,
    /// Which guilds it has, one page of them. [`Answer::Guilds`].
    Guilds {
        /// Only those behind this one.
        after: Option<GuildId>,
        /// How many at most.
        limit: PageLimit,
    },
    /// To change a guild, or to publish a message. [`Reply::Outcome`].
    Command {
        /// Which guild.
        guild: GuildId,
        /// The operation's name, the same in a retry.
        op: OpId,
        /// On whose behalf.
        actor: Actor,
        /// What to do.
        command: Command,
    },
    /// The same for a [`Command::ImportMembers`], whose lines follow in chunks. [`Reply::Outcome`].
    Import {
        /// Which guild.
        guild: GuildId,
        /// The operation's name, the same in a retry.
        op: OpId,
        /// On whose behalf.
        actor: Actor,
    },
    /// To tell that a member types. [`Reply::Accepted`].
    Typing {
        /// In which guild.
        guild: GuildId,
        /// Who.
        user: UserId,
        /// Where.
        channel: ChannelId,
    },
    /// To read from a guild.
    Read {
        /// Which guild.
        guild: GuildId,
        /// As of when.
        freshness: Freshness,
        /// What.
        read: Read,
    },
    /// Whom a ping reaches. [`Answer::Recipients`].
    Recipients {
        /// In which guild.
        guild: GuildId,
        /// As of when.
        freshness: Freshness,
        /// Who is meant.
        question: Question,
    },
    /// Something about a session. [`Reply::Attached`] or [`Reply::Accepted`].
    Session {
        /// In which guild.
        guild: GuildId,
        /// Which session.
        session: SessionId,
        /// What it wants.
        request: SessionRequest,
    },
    /// The keys with which the cluster signs sessions' secrets. [`Answer::SecretKeys`].
    SecretKeys,
    /// To open the feed of a guild, in place of the one that this link has of it, if it has one. The users follow, in chunks, whose members the
    /// relay needs, as it has sessions of theirs. [`Answer::Fed`].
    Feed {
        /// Which guild.
        guild: GuildId,
        /// As what it is named on this link from now on.
        feed: FeedId,
        /// How many past events the relay can use; it gets as many of them as the owner has.
        past: u32,
        /// Where a relay goes on that listened before: what was told of users' presence there or later under that epoch is told again, for it may not have
        /// heard of it.
        told_since: Option<Position>,
    },
    /// To end a feed; also if there is none of this name (any more). [`Answer::FeedClosed`].
    CloseFeed {
        /// Which.
        feed: FeedId,
    },
    /// A whole guild, but for what is kept of operations. [`Answer::Pieces`].
    Export {
        /// Which guild.
        guild: GuildId,
        /// As of when.
        freshness: Freshness,
    },
    /// All guilds that the node's store has, as one archive to make a store of, each as it is stored when its turn comes. [`Answer::Archive`].
    Backup,
}

/// As of when a read must be true.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub enum Freshness {
    /// As it is known now; if the guild has no owner now, as it was last let out.
    Latest,
    /// At this position or later, as one's own writes need it: waits for that, as long as the caller does.
    AtLeast(Position),
    /// As of the request or later: the store has confirmed after it came that the guild has no other owner.
    Strong,
}

/// What is read from a guild.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum Read {
    /// A member. [`Answer::Member`].
    Member(UserId),
    /// What a member may do. [`Answer::Can`].
    Can {
        /// Who.
        user: UserId,
        /// In which channel; `None` for the guild as a whole.
        channel: Option<ChannelId>,
    },
    /// Settings, roles, channels with their overwrites. [`Answer::Pieces`].
    Show,
    /// Members, ascending by user. [`Answer::Pieces`].
    Members {
        /// Only those behind this user.
        after: Option<UserId>,
        /// How many at most; `None` for all.
        limit: Option<u32>,
    },
    /// The members among these users, ascending. [`Answer::Pieces`].
    MembersById(Users),
    /// Members whose nick begins so, whatever the case, in the order of their nicks. [`Answer::Pieces`].
    MembersByPrefix {
        /// How it begins.
        prefix: Prefix,
        /// How many at most.
        limit: PageLimit,
    },
}

impl Read {
    /// What is read, in a word: as it stands on record.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Member(_) => "ReadMember",
            Self::Can { .. } => "ReadCan",
            Self::Show => "ReadShow",
            Self::Members { .. } => "ReadMembers",
            Self::MembersById(_) => "ReadMembersById",
            Self::MembersByPrefix { .. } => "ReadMembersByPrefix",
        }
    }

    /// About whom it is, if it is about one user.
    pub const fn user(&self) -> Option<UserId> {
        match self {
            Self::Member(user) | Self::Can { user, .. } => Some(*user),
            Self::Show | Self::Members { .. } | Self::MembersById(_) | Self::MembersByPrefix { .. } => None,
        }
    }
}

impl Request {
    /// The request for a command, and the lines that follow it in chunks, if it is an import.
    pub fn command(guild: GuildId, op: OpId, actor: Actor, command: Command) -> (Self, Vec<NewMember>) {
        if let Command::ImportMembers(lines) = command {
            return (Self::Import { guild, op, actor }, lines);
        }
        (Self::Command { guild, op, actor, command }, Vec::new())
    }

    /// What is asked for, as the table of roles names it.
    pub const fn call(&self) -> Call {
        match self {
            Self::Ping => Call::Ping,
            Self::Stats => Call::Stats,
            Self::Guilds { .. } => Call::ListGuilds,
            Self::Command { command, .. } => Call::of(command),
            Self::Import { .. } => Call::Import,
            Self::Typing { .. } => Call::Typing,
            Self::Read { .. } => Call::Read,
            Self::Recipients { .. } => Call::Recipients,
            Self::Session { .. } | Self::SecretKeys => Call::Sessions,
            Self::Feed { .. } | Self::CloseFeed { .. } => Call::Feed,
            Self::Export { .. } => Call::Export,
            Self::Backup => Call::Backup,
        }
    }

    /// Which guild it is about; `None` if that is the node.
    pub const fn guild(&self) -> Option<GuildId> {
        match self {
            Self::Command { guild, .. }
            | Self::Import { guild, .. }
            | Self::Typing { guild, .. }
            | Self::Read { guild, .. }
            | Self::Recipients { guild, .. }
            | Self::Session { guild, .. }
            | Self::Feed { guild, .. }
            | Self::Export { guild, .. } => Some(*guild),
            Self::Ping
            | Self::Stats
            | Self::Guilds { .. }
            | Self::SecretKeys
            | Self::CloseFeed { .. }
            | Self::Backup => None,
        }
    }

    /// What the chunks hold that follow it; `None` if none do.
    pub const fn chunks(&self) -> Option<RequestChunks> {
        match self {
            Self::Import { .. } => Some(RequestChunks::Lines),
            Self::Feed { .. } => Some(RequestChunks::Users),
            Self::Ping
            | Self::Stats
            | Self::Guilds { .. }
            | Self::Command { .. }
            | Self::Typing { .. }
            | Self::Read { .. }
            | Self::Recipients { .. }
            | Self::Session { .. }
            | Self::SecretKeys
            | Self::CloseFeed { .. }
            | Self::Export { .. }
            | Self::Backup => None,
        }
    }

    /// Which pieces its answer's chunks hold; `None` if they hold none.
    pub const fn course(&self) -> Option<Course> {
        match self {
            Self::Read { read, .. } => match read {
                Read::Show => Some(Course::Show),
                Read::Members { limit, .. } => Some(Course::Members { limit: *limit }),
                Read::MembersById(users) => Some(Course::Members { limit: Some(users.count()) }),
                Read::MembersByPrefix { limit, .. } => Some(Course::Found { limit: *limit }),
                Read::Member(_) | Read::Can { .. } => None,
            },
            Self::Feed { past, .. } => Some(Course::Feed { past: *past }),
            Self::Export { .. } => Some(Course::Export),
            Self::Ping
            | Self::Stats
            | Self::Guilds { .. }
            | Self::Command { .. }
            | Self::Import { .. }
            | Self::Typing { .. }
            | Self::Recipients { .. }
            | Self::Session { .. }
            | Self::SecretKeys
            | Self::CloseFeed { .. }
            | Self::Backup => None,
        }
    }

    /// Whether an answer is one to this request.
    pub const fn is_answered_by(&self, answer: &Answer) -> bool {
        match self {
            Self::Ping => matches!(answer, Answer::Pong { .. }),
            Self::Stats => matches!(answer, Answer::Stats(_)),
            Self::Guilds { .. } => matches!(answer, Answer::Guilds { .. }),
            Self::Command { .. } | Self::Import { .. } => matches!(answer, Answer::Reply(Reply::Outcome(_))),
            Self::Typing { .. } => matches!(answer, Answer::Reply(Reply::Accepted(_))),
            Self::Read { read, .. } => match read {
                Read::Member(_) => matches!(answer, Answer::Member { .. }),
                Read::Can { .. } => matches!(answer, Answer::Can { .. }),
                Read::Show | Read::Members { .. } | Read::MembersById(_) | Read::MembersByPrefix { .. } => {
                    matches!(answer, Answer::Pieces { .. })
                }
            },
            Self::Recipients { .. } => matches!(answer, Answer::Recipients(_)),
            Self::Session { request, .. } => match request {
                SessionRequest::Attach { .. } | SessionRequest::Resume { .. } => {
                    matches!(answer, Answer::Reply(Reply::Attached(_)))
                }
                SessionRequest::Reattach { .. }
                | SessionRequest::SetStatus { .. }
                | SessionRequest::SetLevel { .. }
                | SessionRequest::Detach { .. }
                | SessionRequest::Release { .. } => matches!(answer, Answer::Reply(Reply::Accepted(_))),
            },
            Self::SecretKeys => matches!(answer, Answer::SecretKeys { .. }),
            Self::Feed { .. } => matches!(answer, Answer::Fed { .. }),
            Self::CloseFeed { .. } => matches!(answer, Answer::FeedClosed),
            Self::Export { .. } => matches!(answer, Answer::Pieces { .. }),
            Self::Backup => matches!(answer, Answer::Archive),
        }
    }
}
