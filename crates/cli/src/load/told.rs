//! What sessions are told of now: who types, and who is there.
//!
//! It has no number, and only the latest of each subject need be told. Of what the load itself does, each session keeps what it was told last: that must
//! never go backwards, must be for the session, and must in the end be what was set last. Of what others do, only that it is for the session.

use std::collections::HashMap;

use guildhall_proto::{ChannelId, Ephemeral, EphemeralKind, Level, Permissions, Status, Subject, UserId};

use super::found::Found;
use super::seat::Seat;
use crate::checks::Number;

/// What the load tells of, in an order in which sessions have a place for each: who types where, then who comes and goes.
#[derive(Debug, Default)]
pub(super) struct Subjects {
    all: Vec<Subject>,
    places: HashMap<Subject, usize>,
}

/// One thing that is told, looked at once for all who hear it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Word {
    is_typing: bool,
    /// Its bit in what a session was told of; `None` of somebody else's typing.
    bit: Option<usize>,
    latest: Latest,
}

/// What was told last of a subject; what was told later is greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Latest {
    pub(super) at: Number,
    /// Since when somebody types, or whether somebody is there, as a number.
    pub(super) what: u64,
}

/// What one session was told of now.
#[derive(Debug, Default)]
pub(super) struct Told {
    pub(super) typing: u32,
    pub(super) presence: u32,
    /// What it was told of since that was judged: a bit for each subject, and [`OTHERS`].
    pub(super) unjudged: [u64; 2],
    /// How often something was older than what was told of the same before.
    pub(super) backwards: u32,
    /// By the subjects' places; none before anything was told.
    latest: Box<[Option<Latest>]>,
}

impl Subjects {
    /// Who types where in the guild, and who of those without sessions comes and goes.
    pub(super) fn of(found: &Found, typing: u64, presence: u64) -> Self {
        let typists = if typing > 0 { typists(found) } else { Vec::new() };
        let walkers = if presence > 0 { walkers(found) } else { Vec::new() };
        Self::new(typists.into_iter().chain(walkers.into_iter().map(Subject::of_user)).collect())
    }

    pub(super) fn new(all: Vec<Subject>) -> Self {
        debug_assert!(all.len() <= OTHERS);
        let places = all.iter().enumerate().map(|(idx, subject)| (*subject, idx)).collect();
        Self { all, places }
    }

    pub(super) fn all(&self) -> &[Subject] {
        &self.all
    }

    /// Those with a channel, and their places.
    pub(super) fn typing(&self) -> impl Iterator<Item = (usize, Subject)> {
        self.all.iter().copied().enumerate().filter(|(_, subject)| subject.channel.is_some())
    }

    /// Those without, likewise.
    pub(super) fn walking(&self) -> impl Iterator<Item = (usize, UserId)> {
        self.all
            .iter()
            .enumerate()
            .filter(|(_, subject)| subject.channel.is_none())
            .map(|(idx, subject)| (idx, subject.user))
    }

    pub(super) fn word(&self, told: &Ephemeral) -> Word {
        let (is_typing, what) = match told.kind {
            EphemeralKind::Typing { since, .. } => (true, since.0),
            EphemeralKind::Presence { status, .. } => (false, said(status)),
        };
        let bit = self.places.get(&told.subject()).copied().or((!is_typing).then_some(OTHERS));
        Word { is_typing, bit, latest: Latest { at: told.at.seq.0, what } }
    }
}

impl Told {
    /// Takes note of a word. Of so many subjects.
    pub(super) fn hear(&mut self, word: Word, subjects: usize) {
        let Word { is_typing, bit, latest: now } = word;
        *(if is_typing { &mut self.typing } else { &mut self.presence }) += 1;
        let Some(bit) = bit else { return };
        self.unjudged[bit / WORD] |= 1 << (bit % WORD);
        if bit == OTHERS {
            return;
        }
        if self.latest.is_empty() {
            self.latest = vec![None; subjects].into();
        }
        let latest = &mut self.latest[bit];
        // Of two at one position it is not known which was first.
        self.backwards += u32::from(latest.is_some_and(|before| before.at > now.at));
        *latest = Some(now);
    }

    /// What it was told last of a subject.
    pub(super) fn latest(&self, place: usize) -> Option<Latest> {
        *self.latest.get(place)?
    }

    pub(super) fn bytes(&self) -> usize {
        size_of_val(&self.latest[..])
    }
}

/// Whether a session may be told of a subject at all; of a channel it must be known beside that whether it sees it.
pub(super) fn may_be_told(seat: &Seat, subject: Option<&Subject>) -> bool {
    let is_typing = subject.is_some_and(|subject| subject.channel.is_some());
    let may = if is_typing { subject.is_none_or(|subject| subject.user != seat.user) } else { seat.members };
    seat.level == Level::Active && may
}

/// A status as a number.
pub(super) fn said(status: Status) -> u64 {
    u64::from(status as u8)
}

/// The owner, and some users who keep their roles, each in a channel where they may speak.
fn typists(found: &Found) -> Vec<Subject> {
    let owner =
        found.channels.iter().take(OWN_CHANNELS).map(|channel| Subject { user: found.owner, channel: Some(*channel) });
    let others = found.seats.iter().filter(|seat| seat.keeps && seat.user != found.owner);
    let others = others.filter_map(|seat| {
        let speaks = Permissions::VIEW_CHANNEL | Permissions::SEND_MESSAGES;
        let may = |channel: &&ChannelId| found.rights.can(seat.user, &seat.roles, **channel).contains(speaks);
        found.channels.iter().find(may).map(|channel| Subject { user: seat.user, channel: Some(*channel) })
    });
    let mut all: Vec<Subject> = owner.chain(others.take(TYPISTS)).collect();
    // A user may have several sessions.
    all.sort_unstable();
    all.dedup();
    all
}

fn walkers(found: &Found) -> Vec<UserId> {
    let every = found.strangers.len().div_ceil(WALKERS).max(1);
    found.strangers.iter().step_by(every).map(|(user, _)| *user).collect()
}

/// The bit that stands for the presence of anybody else.
const OTHERS: usize = 2 * WORD - 1;
const WORD: usize = u64::BITS as usize;
/// Channels in which the owner types.
const OWN_CHANNELS: usize = 8;
/// Others who type, in one channel each.
const TYPISTS: usize = 24;
/// Members that come and go.
const WALKERS: usize = 64;

const _: () = assert!(OWN_CHANNELS + TYPISTS + WALKERS < OTHERS);

#[cfg(test)]
mod tests {
    use guildhall_proto::{Epoch, Millis, Position, Seq};

    use super::*;

    #[test]
    fn of_each_subject_the_latest_is_kept_and_what_is_older_is_noticed() {
        let (user, channel) = (UserId::MIN, ChannelId::MIN);
        let subjects = Subjects::new(vec![Subject { user, channel: Some(channel) }, Subject::of_user(user)]);
        let at = |seq| Position { epoch: Epoch(1), seq: Seq(seq) };
        let typing =
            |seq, since| Ephemeral { at: at(seq), kind: EphemeralKind::Typing { channel, user, since: Millis(since) } };
        let presence = |seq, status| Ephemeral { at: at(seq), kind: EphemeralKind::Presence { user, status } };
        let mut told = Told::default();
        let mut hear = |ephemeral| {
            told.hear(subjects.word(&ephemeral), subjects.all().len());
            let said = |place| told.latest(place).map(|latest| latest.what);
            (told.backwards, said(0), said(1))
        };
        assert_eq!(hear(typing(5, 50)), (0, Some(50), None));
        // One subject is not told with another.
        assert_eq!(hear(presence(3, Status::Idle)), (0, Some(50), Some(1)));
        // Two at one place.
        assert_eq!(hear(presence(3, Status::Online)), (0, Some(50), Some(3)));
        assert_eq!(hear(typing(4, 40)), (1, Some(40), Some(3)));
        assert_eq!(told.latest(0), Some(Latest { at: 4, what: 40 }));
        assert_eq!((told.typing, told.presence, told.unjudged), (2, 2, [0b11, 0]));
        // Somebody else's presence is judged, and somebody else's typing is not.
        let other = UserId::new(9).unwrap();
        let others = [
            EphemeralKind::Presence { user: other, status: Status::Idle },
            EphemeralKind::Typing { channel, user: other, since: Millis(1) },
        ];
        for kind in others {
            told.hear(subjects.word(&Ephemeral { at: at(1), kind }), subjects.all().len());
        }
        assert_eq!((told.typing, told.presence, told.unjudged, told.backwards), (3, 3, [0b11, 1 << 63], 1));
    }
}
