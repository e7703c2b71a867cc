//! Audiences: which cohorts see a channel, as of one version of the guild's rights.
//!
//! An audience never changes. Entries of the ring hold it, so it also answers for sessions that read the past, and for cohorts
//! born after it was made: about those it decides by the rights it keeps.
//!
//! Invariants of the cache:
//! - a list's audience was made from the roles as they are, apart from changes that show or hide nothing;
//! - the channel it was made for still has that list of overwrites;
//! - `of_channel` names the list that the channel has.

use std::collections::BTreeMap;
use std::mem;
use std::sync::Arc;

use guildhall_permissions::{ChannelRule, Overwrites, Rights, RoleEffect};
use guildhall_proto::{ChannelId, EventKind, OverwriteTarget, Permissions, RoleId};

use crate::bits::Bits;
use crate::cohort::{Cohort, Cohorts, Standing, shows};

/// Which cohorts see at least one of some channels. Immutable.
#[derive(Debug)]
pub(crate) struct Audience {
    seen_by: Bits,
    /// Cohorts with a later stamp of birth are not covered by the bitmap.
    made: u64,
    rights: Rights,
    channels: Box<[ChannelId]>,
}

impl Audience {
    /// Whether the sessions of `cohort` see it. A bit test, or O(roles held × log roles) for a cohort that is not covered.
    #[inline]
    pub(crate) fn sees(&self, cohort: &Cohort) -> bool {
        if self.covers(cohort) { self.seen_by.contains(cohort.id) } else { self.decide(&cohort.standing) }
    }

    pub(crate) fn covers(&self, cohort: &Cohort) -> bool {
        cohort.born <= self.made
    }

    /// The covered cohorts that see it.
    pub(crate) fn seen_by(&self) -> &Bits {
        &self.seen_by
    }

    pub(crate) fn bytes(&self) -> usize {
        size_of::<Self>() + self.seen_by.bytes() + size_of_val(&self.channels[..])
    }

    #[cold]
    fn decide(&self, standing: &Standing) -> bool {
        self.channels.iter().any(|channel| {
            let rule = self.rights.rule(*channel).expect("an audience is made for channels that are there");
            decide(&rule, self.rights.everyone().id, *channel, standing, |role| rule.effect(role))
        })
    }

    fn make(rights: &Rights, channel: ChannelId, cohorts: &Cohorts) -> Self {
        let rule = rights.rule(channel).expect("an audience is made for channels that are there");
        // Looked up once a role, not once a role and cohort.
        let effects: Vec<(RoleId, RoleEffect)> =
            rights.roles().map(|role| (role.id, rule.effect(role.id))).filter(|(_, effect)| matters(effect)).collect();
        let effect = |role| match effects.binary_search_by_key(&role, |(role, _)| *role) {
            Ok(at) => effects[at].1,
            Err(_) => RoleEffect::default(),
        };
        let everyone = rights.everyone().id;
        let mut seen_by = Bits::default();
        for cohort in cohorts.iter() {
            seen_by.set(cohort.id, decide(&rule, everyone, channel, &cohort.standing, effect));
        }
        Self { seen_by, made: cohorts.youngest(), rights: rights.clone(), channels: Box::new([channel]) }
    }

    /// The same audience, with the cohorts born meanwhile; `None` if they are too many to be known.
    fn extend(&self, cohorts: &Cohorts) -> Option<Self> {
        let born = cohorts.born_after(self.made)?;
        let mut seen_by = self.seen_by.clone();
        for id in born {
            seen_by.set(*id, cohorts.find(*id).is_some_and(|cohort| self.decide(&cohort.standing)));
        }
        let made = cohorts.youngest();
        Some(Self { seen_by, made, rights: self.rights.clone(), channels: self.channels.clone() })
    }
}

/// What the documented rule says about members of a standing: whether they see the channel.
fn decide(
    rule: &ChannelRule<'_>,
    everyone: RoleId,
    channel: ChannelId,
    standing: &Standing,
    effect: impl Fn(RoleId) -> RoleEffect,
) -> bool {
    if standing.owner {
        return true;
    }
    let own = standing.roles.iter().fold(RoleEffect::default(), |all, role| all | effect(*role));
    if (effect(everyone).base | own.base).contains(Permissions::ADMINISTRATOR) {
        return true;
    }
    standing.overwrite(channel).unwrap_or_else(|| rule.resolve(own).contains(Permissions::VIEW_CHANNEL))
}

/// Whether a role's effect can decide who sees a channel.
fn matters(effect: &RoleEffect) -> bool {
    decisive(effect.base) || (effect.allow | effect.deny).contains(Permissions::VIEW_CHANNEL)
}

fn decisive(permissions: Permissions) -> bool {
    permissions.contains(Permissions::VIEW_CHANNEL) || permissions.contains(Permissions::ADMINISTRATOR)
}

/// What of an overwrite list decides who sees the channel: ascending by target, whether it is shown or hidden.
type ViewList = Arc<[(OverwriteTarget, bool)]>;

/// The audiences that hold for the rights as they are, made at first use.
#[derive(Debug, Default)]
pub(crate) struct Audiences {
    of_channel: BTreeMap<ChannelId, usize>,
    list_idx: BTreeMap<ViewList, usize>,
    of_list: Vec<Option<Arc<Audience>>>,
    made: u64,
    /// What those take that no entry was charged with yet.
    made_bytes: usize,
}

impl Audiences {
    /// How many were made so far, extensions among them.
    pub(crate) fn made(&self) -> u64 {
        self.made
    }

    /// Who sees `channel`; `None` if the guild has no such channel. The audience covers every cohort there is.
    pub(crate) fn of(&mut self, channel: ChannelId, rights: &Rights, cohorts: &Cohorts) -> Option<Arc<Audience>> {
        let idx = match self.of_channel.get(&channel) {
            Some(idx) => *idx,
            None => self.enlist(channel, rights.overwrites(channel)?, rights.channels().len()),
        };
        let cached = self.of_list[idx].as_ref();
        if let Some(audience) = cached.filter(|audience| audience.made == cohorts.youngest()) {
            return Some(Arc::clone(audience));
        }
        let extended = cached.and_then(|audience| audience.extend(cohorts));
        let audience = Arc::new(extended.unwrap_or_else(|| Audience::make(rights, channel, cohorts)));
        self.of_list[idx] = Some(Arc::clone(&audience));
        self.count(&audience);
        Some(audience)
    }

    /// Who sees at least one of `channels`; those that the guild does not have are seen by nobody.
    pub(crate) fn of_any(
        &mut self,
        channels: impl Iterator<Item = ChannelId>,
        rights: &Rights,
        cohorts: &Cohorts,
    ) -> Arc<Audience> {
        let mut seen_by = Bits::default();
        let mut there = Vec::new();
        for channel in channels {
            if let Some(audience) = self.of(channel, rights, cohorts) {
                seen_by.unite(audience.seen_by());
                there.push(channel);
            }
        }
        let made = cohorts.youngest();
        let audience = Arc::new(Audience { seen_by, made, rights: rights.clone(), channels: there.into() });
        self.count(&audience);
        audience
    }

    /// The bytes of the audiences made since this was last asked, for the entry that they were made for.
    pub(crate) fn take_made_bytes(&mut self) -> usize {
        mem::take(&mut self.made_bytes)
    }

    /// Forgets what no longer holds once `event` is applied.
    pub(crate) fn note(&mut self, event: &EventKind) {
        match event {
            EventKind::GuildCreated { .. } | EventKind::RoleDeleted { .. } => self.clear(),
            EventKind::RoleCreated { role } if decisive(role.permissions) => self.forget_all(),
            EventKind::RoleUpdated { before, after } if decides(before.permissions) != decides(after.permissions) => {
                self.forget_all();
            }
            #[cfg(feature = "defects")]
            EventKind::OverwriteChanged { .. } if guildhall_proto::Defect::LeakAfterRevoke.is_on() => {}
            EventKind::OverwriteChanged { channel, .. } => self.forget(*channel),
            EventKind::ChannelDeleted { channel, .. } => self.forget(channel.id),
            EventKind::GuildUpdated { .. }
            | EventKind::GuildDeleted
            | EventKind::RoleCreated { .. }
            | EventKind::RoleUpdated { .. }
            | EventKind::RolesReordered { .. }
            | EventKind::ChannelCreated { .. }
            | EventKind::ChannelUpdated { .. }
            | EventKind::ChannelsReordered { .. }
            | EventKind::MemberJoined { .. }
            | EventKind::MembersJoined { .. }
            | EventKind::MemberUpdated { .. }
            | EventKind::MemberLeft { .. }
            | EventKind::MessagePublished(_)
            | EventKind::MembersLeft { .. }
            | EventKind::UserBanned { .. }
            | EventKind::UserUnbanned { .. } => {}
        }
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        self.of_channel.clear();
        self.list_idx.clear();
        self.of_list.clear();
    }

    pub(crate) fn bytes(&self) -> usize {
        self.of_list.iter().flatten().map(|audience| audience.bytes()).sum()
    }

    fn count(&mut self, audience: &Audience) {
        self.made += 1;
        self.made_bytes += audience.bytes();
    }

    fn forget_all(&mut self) {
        self.of_list.fill(None);
    }

    fn forget(&mut self, channel: ChannelId) {
        self.of_channel.remove(&channel);
        // Its list may live on with other channels, but cohorts born from now on do not tell by this one what holds there.
        for audience in &mut self.of_list {
            if audience.as_ref().is_some_and(|audience| audience.channels.contains(&channel)) {
                *audience = None;
            }
        }
    }

    fn enlist(&mut self, channel: ChannelId, overwrites: &Overwrites, channels: usize) -> usize {
        if self.of_list.len() > LISTS_PER_CHANNEL * channels {
            self.clear();
        }
        let all = overwrites.as_slice().iter();
        let list: ViewList = all.filter_map(|overwrite| Some((overwrite.target, shows(overwrite)?))).collect();
        let idx = *self.list_idx.entry(list).or_insert(self.of_list.len());
        if idx == self.of_list.len() {
            self.of_list.push(None);
        }
        self.of_channel.insert(channel, idx);
        idx
    }
}

/// The part of a role's permissions that decides who sees channels.
fn decides(permissions: Permissions) -> (bool, bool) {
    (permissions.contains(Permissions::VIEW_CHANNEL), permissions.contains(Permissions::ADMINISTRATOR))
}

/// Lists remembered for each channel, before those that no channel has any more are forgotten together with the others.
const LISTS_PER_CHANNEL: usize = 4;
