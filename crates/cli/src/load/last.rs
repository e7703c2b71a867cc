//! What sessions were told of now in the end: of each subject what was set last.

use guildhall_proto::ChannelId;
use tracing::info;

use super::ear::Ears;
use super::seat::Seat;
use super::told::{Latest, may_be_told};
use crate::checks::{Number, Waited};

/// What sessions must have been told last of a subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Last {
    /// Nothing need have been told.
    Anything,
    /// This, as a number.
    Said(u64),
    /// Something as of this number or a later one, and all the same. Since when somebody types only those know who were told.
    AsOf(Number),
}

impl Last {
    /// Whether it was told. `newest` is what anybody was told of the subject that is the newest.
    fn is_told(self, told: Option<Latest>, newest: Option<Latest>) -> bool {
        match self {
            Self::Anything => true,
            Self::Said(what) => told.is_some_and(|told| told.what == what),
            Self::AsOf(number) => told.is_some_and(|told| told.at >= number) && told == newest,
        }
    }
}

impl Ears {
    /// Which sessions must in the end have been told of which of the load's own subjects, by their places: those for which it is, and
    /// whose rights have not changed.
    pub(super) fn listeners(&self, sees: impl Fn(&Seat, ChannelId) -> bool) -> Vec<(usize, usize)> {
        let mut listeners = Vec::new();
        for (idx, seat) in self.seats.iter().enumerate() {
            for (place, subject) in self.subjects.all().iter().enumerate() {
                let is_for = may_be_told(seat, Some(subject));
                if is_for && subject.channel.is_none_or(|channel| seat.keeps && sees(seat, channel)) {
                    listeners.push((idx, place));
                }
            }
        }
        listeners
    }

    /// Waits until these have been told what was set last of each subject, but for those that were told a gap, or nothing is told any more; how often
    /// somebody was not.
    pub(super) async fn hear_last(&self, listeners: &[(usize, usize)], last: &[Last]) -> u64 {
        loop {
            let words = self.words.total();
            let untold = self.untold(listeners, last);
            if untold.is_empty() {
                return 0;
            }
            if let Waited::Stalled(_) = self.words.wait_for(words + 1).await {
                for (idx, place) in &untold {
                    let (session, told) = (self.seats[*idx].session, self.records[*idx].lock().told.latest(*place));
                    let (subject, last) = (self.subjects.all()[*place], last[*place]);
                    info!(%session, ?subject, ?last, ?told, "not told in the end what was set last");
                }
                return untold.len() as u64;
            }
        }
    }

    /// Those of these that were not told what was set last, and no gap.
    fn untold(&self, listeners: &[(usize, usize)], last: &[Last]) -> Vec<(usize, usize)> {
        let mut newest = vec![None; last.len()];
        let mut told = Vec::new();
        for (idx, place) in listeners {
            let record = self.records[*idx].lock();
            if !record.has_lost() {
                let latest = record.told.latest(*place);
                newest[*place] = latest.max(newest[*place]);
                told.push((*idx, *place, latest));
            }
        }
        told.retain(|(_, place, latest)| !last[*place].is_told(*latest, newest[*place]));
        told.into_iter().map(|(idx, place, _)| (idx, place)).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use guildhall_client::Gap;
    use guildhall_proto::{Ephemeral, EphemeralKind, Epoch, Level, Millis, Position, Seq, Status, Subject, UserId};

    use super::*;
    use crate::load::found::Spread;
    use crate::load::told::Subjects;

    const TYPING: usize = 0;
    const THERE: usize = 1;

    /// Two sessions that are told of everything: that somebody types, and whether somebody is there.
    fn ears() -> (Ears, Vec<(usize, usize)>) {
        let (user, channel) = (UserId::MIN, ChannelId::MIN);
        let subjects = Subjects::new(vec![Subject { user, channel: Some(channel) }, Subject::of_user(user)]);
        let seat = |number| {
            let spread = Spread { sessions: 2, active: 100, first: 1 };
            let seat = Seat::new(number, spread, UserId::new(number + 2).unwrap(), [].into());
            Seat { level: Level::Active, members: true, keeps: true, ..seat }
        };
        let ears = Ears::new(vec![seat(0), seat(1)], at(1), Vec::new(), Arc::new(subjects));
        let listeners = ears.listeners(|_, _| true);
        assert_eq!(listeners, [(0, TYPING), (0, THERE), (1, TYPING), (1, THERE)]);
        (ears, listeners)
    }

    fn at(number: Number) -> Position {
        Position { epoch: Epoch(1), seq: Seq(number) }
    }

    fn types(ears: &Ears, idx: usize, number: Number, since: u64) {
        let kind = EphemeralKind::Typing { channel: ChannelId::MIN, user: UserId::MIN, since: Millis(since) };
        ears.tell(idx, ears.subjects.word(&Ephemeral { at: at(number), kind }));
    }

    fn is_there(ears: &Ears, idx: usize, status: Status) {
        let kind = EphemeralKind::Presence { user: UserId::MIN, status };
        ears.tell(idx, ears.subjects.word(&Ephemeral { at: at(5), kind }));
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_accepted_and_told_to_nobody_is_noticed() {
        let (ears, listeners) = ears();
        assert_eq!(ears.hear_last(&listeners, &[Last::AsOf(5), Last::Anything]).await, 2);
        // Nobody has typed, as far as they must know.
        assert_eq!(ears.hear_last(&listeners, &[Last::Anything, Last::Anything]).await, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_first_word_is_not_the_last() {
        let (ears, listeners) = ears();
        [0, 1].iter().for_each(|idx| types(&ears, *idx, 5, 1_000));
        assert_eq!(ears.hear_last(&listeners, &[Last::AsOf(5), Last::Anything]).await, 0);
        assert_eq!(ears.hear_last(&listeners, &[Last::AsOf(6), Last::Anything]).await, 2);
        // One hears the next.
        types(&ears, 0, 6, 5_000);
        assert_eq!(ears.hear_last(&listeners, &[Last::AsOf(6), Last::Anything]).await, 1);
        // Somebody else has had the member type on: all must know.
        assert_eq!(ears.hear_last(&listeners, &[Last::AsOf(5), Last::Anything]).await, 1);
        types(&ears, 1, 6, 5_000);
        assert_eq!(ears.hear_last(&listeners, &[Last::AsOf(6), Last::Anything]).await, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn whether_somebody_is_there_is_told_as_it_was_set_last_or_is_under_a_gap() {
        let (ears, listeners) = ears();
        let idle = [Last::Anything, Last::Said(Status::Idle as u64)];
        assert_eq!(ears.hear_last(&listeners, &idle).await, 2);
        is_there(&ears, 0, Status::Idle);
        is_there(&ears, 1, Status::Online);
        assert_eq!(ears.hear_last(&listeners, &idle).await, 1);
        ears.gap(1, Gap { after: at(5), through: at(7) });
        assert_eq!(ears.hear_last(&listeners, &idle).await, 0);
    }
}
