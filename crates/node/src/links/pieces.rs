//! Long answers: the pieces of a guild, or users, in chunks.
//!
//! A long answer is true at one position, so it holds a view until it is read; that is as long as its caller waits at most. Where many members are
//! asked for, workers find and encode them, a window at a time, so that nothing else waits for that; they do not run ahead of the reader.

use std::sync::Arc;
use std::vec;

use guildhall_members::View;
use guildhall_proto::call::{EncodedIds, Packer, Piece};
use guildhall_proto::codec::CodecError;
use guildhall_proto::frame::Kind;
use guildhall_proto::{CallError, Event, Member, UserId};
use guildhall_transport::{LaneSender, Priority};
use tokio::sync::OwnedSemaphorePermit;

use super::Dialer;
use super::requests::Place;
use super::unanswered::Unanswered;
use crate::last::Readable;
use crate::node::Node;
use crate::reads::{Recipients, ViewRef, Workers};

/// What follows an answer, of one view.
pub(super) struct Pieces {
    view: Arc<ViewRef>,
    has_rights: bool,
    has_bans: bool,
    past: Vec<Arc<Event>>,
    members: Members,
    /// Where many members are found.
    workers: Option<Workers>,
    /// The dialer's place that the answer takes.
    _answer: Option<OwnedSemaphorePermit>,
    /// That of the request whose users these are.
    _place: Place,
}

/// Which members.
pub(super) enum Members {
    Nobody,
    /// So many behind a user.
    Behind {
        after: Option<UserId>,
        left: usize,
    },
    /// Those of these who are some.
    Of(vec::IntoIter<UserId>),
    /// These.
    Found(vec::IntoIter<Member>),
}

/// The users whom a ping reaches.
pub(super) struct Users {
    recipients: Recipients,
    /// The dialer's place that the answer takes.
    _answer: OwnedSemaphorePermit,
}

/// Sends a run of pieces.
struct Run<'a> {
    lane: &'a mut LaneSender,
    packer: Packer,
}

impl Pieces {
    /// These members of a view, from where it can be read.
    ///
    /// # Errors
    /// `Overloaded` if there are many, and too many such answers are being read.
    pub(super) fn of(node: &Node, of: &Readable, view: ViewRef, members: Members) -> Result<Self, CallError> {
        let many = members.at_most().min(view.len()) > INLINE_MEMBERS;
        let workers = if many {
            Some(Workers::new(of.clone(), node.offload().clone(), node.offload().answer(of)?))
        } else {
            None
        };
        let view = Arc::new(view);
        Ok(Self {
            view,
            has_rights: false,
            has_bans: false,
            past: Vec::new(),
            members,
            workers,
            _answer: None,
            _place: None,
        })
    }

    /// For this reader, which may have so many at a time.
    ///
    /// # Errors
    /// `Overloaded`.
    pub(super) fn of_dialer(self, dialer: &Dialer) -> Result<Self, CallError> {
        let answer = self.workers.as_ref().map(|_| dialer.answer_place()).transpose()?;
        Ok(Self { _answer: answer, ..self })
    }

    /// The same, where the place was waited for.
    pub(super) fn in_place(self, answer: Option<OwnedSemaphorePermit>) -> Self {
        Self { _answer: answer.filter(|_| self.workers.is_some()), ..self }
    }

    /// The guild's settings, roles and channels too.
    pub(super) fn with_rights(self) -> Self {
        Self { has_rights: true, ..self }
    }

    /// Who is kept out too.
    pub(super) fn with_bans(self) -> Self {
        Self { has_bans: true, ..self }
    }

    /// What has happened before too.
    pub(super) fn with_past(self, past: Vec<Arc<Event>>, place: Place) -> Self {
        Self { past, _place: place, ..self }
    }

    pub(super) async fn send(self, lane: &mut LaneSender) -> Result<(), Unanswered> {
        let mut run = Run { lane, packer: Packer::default() };
        if self.has_rights {
            run.rights(&self.view).await?;
        }
        if self.has_bans {
            let mut after = None;
            // A few at a time, for they are looked for in a tree that nothing may be borrowed from while somebody is waited for.
            loop {
                let bans: Vec<_> = self.view.bans().behind(after).take(BANS_AT_ONCE).collect();
                let Some(last) = bans.last() else {
                    break;
                };
                after = Some(last.user);
                for ban in bans {
                    run.push(&Piece::Ban(ban)).await?;
                }
            }
        }
        for event in self.past {
            run.push(&Piece::Event(event)).await?;
        }
        run.members(self.view, self.members, self.workers).await?;
        run.end()
    }
}

impl Members {
    /// Whether they are worth a worker, in a guild that has as many.
    pub(super) fn are_many(&self) -> bool {
        self.at_most() > INLINE_MEMBERS
    }

    fn at_most(&self) -> usize {
        match self {
            Self::Nobody => 0,
            Self::Behind { left, .. } => *left,
            Self::Of(users) => users.len(),
            // They are there already.
            Self::Found(_) => 0,
        }
    }

    /// The next of them; none are left if they are fewer than a window.
    fn next(&mut self, view: &View) -> (Vec<Member>, bool) {
        match self {
            Self::Nobody => (Vec::new(), false),
            Self::Behind { after, left } => {
                let wanted = WINDOW_MEMBERS.min(*left);
                let members = view.range(*after, wanted);
                *after = members.last().map(|member| member.user).or(*after);
                *left -= wanted;
                let more = members.len() == wanted && *left > 0;
                (members, more)
            }
            Self::Of(users) => {
                let members = users.by_ref().take(WINDOW_MEMBERS).filter_map(|user| view.member(user)).collect();
                (members, users.len() > 0)
            }
            Self::Found(found) => (found.collect(), false),
        }
    }

    /// The next of them, in bodies of chunks, as far as these are full; and whether there are more.
    fn pack(&mut self, view: &View, packer: &mut Packer) -> Result<(Vec<Vec<u8>>, bool), CodecError> {
        let (members, more) = self.next(view);
        let mut full = Vec::new();
        for member in members {
            full.extend(packer.push(&Piece::Member(member))?);
        }
        Ok((full, more))
    }
}

impl Run<'_> {
    async fn rights(&mut self, view: &View) -> Result<(), Unanswered> {
        let rights = view.rights();
        self.push(&Piece::Settings(rights.settings().clone())).await?;
        for role in rights.roles() {
            self.push(&Piece::Role(role.clone())).await?;
        }
        for channel in rights.channels() {
            let overwrites =
                rights.overwrites(channel.id).map_or(Vec::new(), |overwrites| overwrites.as_slice().to_vec());
            self.push(&Piece::Channel(channel.clone(), overwrites)).await?;
        }
        Ok(())
    }

    async fn members(
        &mut self,
        view: Arc<ViewRef>,
        mut members: Members,
        mut workers: Option<Workers>,
    ) -> Result<(), Unanswered> {
        let mut more = true;
        while more {
            let (full, more_to_come) = match &workers {
                None => members.pack(&view, &mut self.packer)?,
                Some(workers) => {
                    let (view, mut packer) = (Arc::clone(&view), std::mem::take(&mut self.packer));
                    let piece = move || {
                        let packed = members.pack(&view, &mut packer);
                        (packed, members, packer)
                    };
                    let packed;
                    (packed, members, self.packer) = workers.run(piece).await?;
                    packed?
                }
            };
            more = more_to_come;
            if !more {
                // They have done their work, however long that is read.
                workers = None;
            }
            for body in full {
                self.send(&body).await?;
            }
        }
        Ok(())
    }

    async fn push(&mut self, piece: &Piece) -> Result<(), Unanswered> {
        match self.packer.push(piece)? {
            Some(body) => self.send(&body).await,
            None => Ok(()),
        }
    }

    async fn send(&mut self, body: &[u8]) -> Result<(), Unanswered> {
        // What has more than one chunk is long.
        self.lane.set_priority(Priority::Bulk);
        self.lane.append(Kind::Chunk, body).map_err(Unanswered::unfit)?;
        Ok(self.lane.flush().await?)
    }

    fn end(self) -> Result<(), Unanswered> {
        if let Some(rest) = self.packer.rest() {
            self.lane.append(Kind::Chunk, &rest).map_err(Unanswered::unfit)?;
        }
        self.lane.append(Kind::End, &[]).map_err(Unanswered::unfit)
    }
}

impl Users {
    pub(super) fn of(recipients: Recipients, answer: OwnedSemaphorePermit) -> Self {
        Self { recipients, _answer: answer }
    }

    pub(super) async fn send(mut self, lane: &mut LaneSender) -> Result<(), Unanswered> {
        while let Some(users) = self.recipients.next().await? {
            for chunk in users.chunks(EncodedIds::CHUNK_IDS_MAX) {
                lane.append_value(Kind::Chunk, &EncodedIds(chunk)).map_err(Unanswered::unfit)?;
            }
            if lane.gathered_bytes() >= WRITE_BYTES {
                lane.set_priority(Priority::Bulk);
                lane.flush().await?;
            }
        }
        lane.append(Kind::End, &[]).map_err(Unanswered::unfit)
    }
}

/// Members found at once: a millisecond of a worker's time, some 300 KiB.
const WINDOW_MEMBERS: usize = 4_096;
/// As many members are not worth a worker.
const INLINE_MEMBERS: usize = 1_000;
/// Bans that are taken out of a view at once.
const BANS_AT_ONCE: usize = 64;
/// Bytes of users that are gathered before they are written.
const WRITE_BYTES: usize = 64 * 1024;
