//! The owner's end: what is stored, and the guild that the next owner makes of it.

use std::sync::Arc;

use guildhall_guild::{Answer, Call, CallId, Checkpoint, Effect, Guild, Input, Operation};
use guildhall_proto::{Actor, Command, Epoch, Event, EventKind, GuildId, OpId, Record};

use super::Owner;
use crate::compare::compare;
use crate::model::Model;
use crate::seen::Seen;
use crate::steps::GUILD;

/// What the store holds.
#[derive(Default)]
pub(super) struct Stored {
    pub(super) checkpoint: Option<Checkpoint>,
    /// All, from the first on.
    pub(super) records: Vec<Record>,
    pub(super) answered: usize,
}

impl Owner {
    /// Were the owner to end now, with the records of so many of the turns that it holds stored: what would the next one begin with?
    ///
    /// That must be the guild as of the last turn stored, without sessions; a command answered by then is answered again as it was.
    pub(crate) fn recover(&self, turns: usize, nth: usize, probe: u64, seen: &mut Seen) -> Option<(Guild, Model)> {
        let held = self.held.iter().take(turns);
        let (mut model, answered) = match held.clone().next_back() {
            Some(last) => (last.model.clone(), last.answered),
            None => (self.published.as_ref()?.1.clone(), self.stored.answered),
        };
        let id = GuildId::new(GUILD).unwrap();
        let mut guild = match &self.stored.checkpoint {
            Some(Checkpoint { structure, base }) => {
                Guild::restore(self.config.clone(), id, structure.structure(), base.clone())
            }
            None => Guild::new(self.config.clone(), id, Epoch(0)),
        };
        let covered = self.stored.checkpoint.as_ref().map_or(0, |checkpoint| checkpoint.structure.structure().records);
        seen.recovered_from_checkpoints += u64::from(covered > 0);
        let records = self.stored.records.iter().chain(held.flat_map(|held| &held.records));
        for record in records.skip(usize::try_from(covered).unwrap()) {
            guild.replay(record).expect("what was stored is a history");
        }
        guild.open(Epoch(2));
        // Messages are not stored, so their numbers may come again in the new epoch.
        let seq = guild.position().seq.0;
        let is_stored = |event: &&Arc<Event>| !matches!(event.kind, EventKind::MessagePublished(_));
        let made = &self.events[..usize::try_from(model.seq).unwrap()];
        let durable = made.iter().rev().find(is_stored).map_or(0, |event| event.position.seq.0);
        assert!(seq >= durable && seq <= model.seq, "recovered at {seq}, between {durable} and {}", model.seq);
        model.seq = seq;
        model.sessions.clear();
        compare(guild.view().as_ref(), &model, probe);
        self.retry_at(&mut guild, nth, answered);
        seen.recovered += 1;
        Some((guild, model))
    }

    /// One of the stored commands once more, to the owner that comes next.
    fn retry_at(&self, guild: &mut Guild, nth: usize, answered: usize) {
        let is_stored =
            |(_, _, command, answer): &&(OpId, Actor, Command, Answer)| command.is_durable() && answer.is_ok();
        let stored: Vec<_> = self.answered[..answered].iter().filter(is_stored).collect();
        let Some((op, actor, command, first)) = nth.checked_rem(stored.len()).map(|at| stored[at].clone()) else {
            return;
        };
        let operation = Operation::new(op, actor, command).unwrap();
        let (call, mut effects) = (Call { id: CallId(0), operation }, Vec::new());
        guild.handle(self.now, Input::Command(call), &mut effects);
        for effect in effects {
            match effect {
                Effect::Answer(_, again) => assert_eq!(again, first),
                Effect::Append(_) | Effect::Record(_) | Effect::Scan(_) => panic!("{effect:?} for a retry"),
                // Due in any case.
                Effect::Fold(_) | Effect::Discard(_) | Effect::Tell(_) | Effect::Checkpoint(_) => {}
            }
        }
    }
}
