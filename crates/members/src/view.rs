//! A view: a guild's members, their presence and rights as of one position; read by anyone, changed by nobody.

mod prefix;

use std::sync::Arc;

use guildhall_permissions::Rights;
use guildhall_proto::{ChannelId, Member, Permissions, Position, Question, RoleId, Status, UserId};

use crate::bans::Bans;
use crate::layers::Layers;
use crate::member_ref::MemberRef;
use crate::memory::Memory;
use crate::scan::{Filter, Scan};

/// A guild's members as of one position. Clone is O(1); reads never wait and allocate only what they return.
///
/// Dropping the last clone may free a superseded base: let a worker do that.
#[derive(Debug, Clone)]
pub struct View(Arc<Contents>);

#[derive(Debug)]
struct Contents {
    position: Position,
    rights: Rights,
    layers: Layers,
    bans: Bans,
}

/// What a question named that is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UnknownInView {
    /// The user is no member as of the view.
    #[error("{0:?} is not a member")]
    Member(UserId),
    /// The guild has no such channel as of the view.
    #[error("{0:?} is not a channel of the guild")]
    Channel(ChannelId),
    /// The guild has no such role as of the view.
    #[error("{0:?} is not a role of the guild")]
    Role(RoleId),
}

impl View {
    pub(crate) fn new(position: Position, rights: Rights, layers: Layers, bans: Bans) -> Self {
        Self(Arc::new(Contents { position, rights, layers, bans }))
    }

    pub(crate) fn layers(&self) -> &Layers {
        &self.0.layers
    }

    /// The position that everything in the view is true at.
    pub fn position(&self) -> Position {
        self.0.position
    }

    /// The guild's roles, channels and overwrites.
    pub fn rights(&self) -> &Rights {
        &self.0.rights
    }

    /// Who is kept out, and why: for moderators alone, not for whoever may see the guild.
    pub fn bans(&self) -> &Bans {
        &self.0.bans
    }

    /// How many members there are. O(1).
    pub fn len(&self) -> usize {
        self.0.layers.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.layers.len == 0
    }

    /// How many members are online: have any status but offline. O(1).
    pub fn online(&self) -> usize {
        self.0.layers.online
    }

    /// The member's record; `None` if `user` is no member. As [`with_member`](Self::with_member), and copies nick and
    /// roles.
    pub fn member(&self, user: UserId) -> Option<Member> {
        self.with_member(user, |member| member.to_member())
    }

    /// Reads the member's record in place, without allocating; `None` if `user` is no member.
    ///
    /// O(log n) at worst; with ids spread evenly, a handful of memory reads whatever the number of members.
    pub fn with_member<R>(&self, user: UserId, f: impl FnOnce(MemberRef<'_>) -> R) -> Option<R> {
        self.0.layers.member(user).map(f)
    }

    /// The member's status; `None` if `user` is no member. Costs what [`with_member`](Self::with_member) does.
    pub fn status(&self, user: UserId) -> Option<Status> {
        self.0.layers.status(user)
    }

    /// What the member may do in `channel`, or, with `None`, in the guild as a whole.
    ///
    /// # Errors
    /// [`UnknownInView::Member`] if `user` is no member, else [`UnknownInView::Channel`] if there is no such channel.
    pub fn can(&self, user: UserId, channel: Option<ChannelId>) -> Result<Permissions, UnknownInView> {
        let rights = &self.0.rights;
        let permissions = self.with_member(user, |member| {
            member.with_role_slice(|roles| match channel {
                Some(channel) => rights.in_channel(user, roles, channel).ok_or(UnknownInView::Channel(channel)),
                None => Ok(rights.base(user, roles)),
            })
        });
        permissions.ok_or(UnknownInView::Member(user))?
    }

    /// The next at most `limit` members behind `after`, ascending by user; from the first one with `None`.
    ///
    /// O(log n + limit): the last member's user is the `after` of the next call.
    pub fn range(&self, after: Option<UserId>, limit: usize) -> Vec<Member> {
        let layers = &self.0.layers;
        let behind =
            layers.walk(after, None).map(|place| layers.member_at(place)).filter(|member| Some(member.user) != after);
        behind.take(limit).map(|member| member.to_member()).collect()
    }

    /// The next at most `limit` users behind `after` for whom `keep` holds, ascending; from the first one with `None`.
    ///
    /// O(log n + members looked at), on this thread: for a job that goes through all members in steps.
    pub fn search(
        &self,
        after: Option<UserId>,
        limit: usize,
        keep: impl Fn(&MemberRef<'_>, Status) -> bool,
    ) -> Vec<UserId> {
        let layers = self.layers();
        let members = layers.walk(after, None).map(|place| (layers.member_at(place), layers.status_at(place)));
        let found = members.filter(|(member, status)| Some(member.user) != after && keep(member, *status));
        found.map(|(member, _)| member.user).take(limit).collect()
    }

    /// Whether the guild is so large that it is worth to [order](Self::order_nicks) it for searches, and nobody has.
    pub fn wants_nick_order(&self) -> bool {
        self.layers().base.wants_nick_order()
    }

    /// Makes searches [by prefix](Self::by_prefix) quick, in this view and all others of the guild from the last fold to some folds
    /// behind the last search: folds carry the order on. Takes 4 bytes a member until then.
    ///
    /// O(n log n), 100 to 200 ms per million members: a worker's to do. At once if it has been done.
    pub fn order_nicks(&self) {
        self.layers().base.order_nicks();
    }

    /// The same, if it has been done for `other`, another view of the guild: O(n), and O(log n) for each nick in which
    /// they differ. So an order is not lost that was made while folds went on.
    pub fn order_nicks_as(&self, other: &Self) {
        self.layers().base.carry_nick_order(&other.layers().base);
    }

    /// The question, ready to be scanned for: who are they?
    ///
    /// O(roles + overwrites of the channel).
    ///
    /// # Errors
    /// [`UnknownInView::Channel`] or [`UnknownInView::Role`] if the guild has not what the question names.
    pub fn scan(&self, question: Question) -> Result<Scan, UnknownInView> {
        Scan::new(self.clone(), question)
    }

    /// All members for whom `keep` holds, ready to be scanned for. `keep` is asked once for each member.
    pub fn filter<F>(&self, keep: F) -> Filter<F>
    where
        F: Fn(&MemberRef<'_>, Status) -> bool,
    {
        Filter::new(self.clone(), keep)
    }

    /// What the view keeps in memory, most of it shared with its owner and other views. O(pages + role sets + changes).
    pub fn memory(&self) -> Memory {
        Memory::of(&self.0.layers, &self.0.bans)
    }
}
