//! What a new owner found in the store, held against what anyone has seen.

use std::collections::VecDeque;
use std::sync::Arc;

use guildhall_proto::{AppliedOp, Command, Epoch, Event, Grant, GuildId, Position, Record};

use super::spread::Found;
use super::{Breach, By, Ledger, Op, Promise, Turn};
use crate::check::Opening;
use crate::seen::Seen;

/// What a new owner begins with.
#[derive(Debug)]
pub(crate) struct Recovered<'a> {
    pub(crate) guild: GuildId,
    pub(crate) epoch: Epoch,
    /// Which node has claimed it, and by which grant.
    pub(crate) by: usize,
    pub(crate) grant: Grant,
    /// The position of its checkpoint, and how many records that covers.
    pub(crate) covered: (Position, u64),
    /// What its checkpoint says of operations that are carried out by and by and were not finished.
    pub(crate) unfinished: &'a [AppliedOp],
    /// The records since.
    pub(crate) tail: &'a [Record],
    /// Where the guild stands, its own epoch not counted.
    pub(crate) at: Position,
}

impl Ledger {
    /// A new owner has recovered a guild. Returns the events that it found and that nobody had been told of.
    pub(crate) fn recovered(&mut self, found: &Recovered<'_>, seen: &mut Seen) -> Result<Vec<Arc<Event>>, Breach> {
        let Recovered { guild, epoch, by, grant, covered: (covered_at, covered), unfinished, tail, at } = *found;
        let last = self.chronicle.annals(guild).epoch();
        Promise::Names.require(last.is_none_or(|last| epoch > last) && epoch > at.epoch, || {
            format!("guild {guild}: epoch {} after {last:?}", epoch.0)
        })?;
        let book = self.books.entry(guild).or_default();
        Promise::OneOwner.require(grant >= book.grant, || {
            format!("guild {guild}: it is claimed by grant {}, and was by grant {}", grant.0, book.grant.0)
        })?;
        let same = book.claimed.is_none_or(|(claimed, former)| claimed != grant || former == by);
        Promise::OneOwner.require(same, || {
            format!("guild {guild}: node {by} claims it by grant {}, which is another's: {:?}", grant.0, book.claimed)
        })?;
        (book.grant, book.claimed) = (grant, Some((grant, by)));
        let upto = covered + tail.len() as u64;
        Promise::Durable.require(upto >= book.certain, || {
            format!("guild {guild}: {upto} of {} records that somebody has seen are there", book.certain)
        })?;
        for (number, record) in (covered + 1..).zip(tail) {
            Promise::Durable.require(book.records.get(&number) == Some(record), || {
                format!("guild {guild}: record {number} is {record:?}, and was {:?}", book.records.get(&number))
            })?;
        }
        Promise::Durable
            .require(covered == 0 || book.records.contains_key(&covered) || covered <= book.certain, || {
                format!("guild {guild}: a checkpoint covers record {covered}, which nobody has made")
            })?;
        let fell_asleep = std::mem::take(&mut book.fell_asleep);
        let before = book.epoch;
        let mut pending = book.pending.remove(&before).unwrap_or_default();
        book.epoch = epoch;
        book.records.split_off(&(upto + 1));
        let shown = self.chronicle.annals(guild).position();
        self.find(guild, before, upto, &mut pending, seen)?;
        let annals = self.chronicle.annals(guild);
        let lost = annals.between(at, Position { epoch, ..Position::default() });
        let durable = lost.iter().find(|entry| entry.event.is_durable());
        Promise::Durable
            .require(durable.is_none(), || format!("guild {guild}: it goes on from {at}: {durable:?} is lost"))?;
        let is_lost = fell_asleep && !lost.is_empty();
        Promise::Durable.require(!is_lost, || format!("guild {guild}: it slept at {shown}, and goes on from {at}"))?;
        seen.messages_lost += lost.len() as u64;
        annals.forget_behind(at);
        annals.open(Opening { epoch, after: at });
        let untold = annals.between(shown, at).iter().map(|entry| Arc::clone(&entry.event)).collect();
        let book = self.books.entry(guild).or_default();
        book.register.begins();
        book.pending.insert(before, pending);
        for AppliedOp { id, outcome, .. } in unfinished {
            if tail.iter().any(|record| record.op.id == *id) {
                continue;
            }
            let wrong = |what: &str| {
                Promise::Durable
                    .breach(format!("guild {guild}: {id:?} has come to {outcome:?} in a checkpoint: {what}"))
            };
            let op = book.ops.get_mut(id).ok_or_else(|| wrong("nobody has asked for it"))?;
            let found = Found { command: &op.command, annals: self.chronicle.annals(guild), covered: covered_at };
            op.spread.is_found(*outcome, &found).map_err(|what| wrong(&what))?;
        }
        for op in book.ops.values_mut() {
            op.under_way = false;
            op.spread.is_broken_off();
            op.applied = op.applied.filter(|applied| match applied.number {
                Some(number) => number <= upto,
                // What a message came to lies in no record, but in a checkpoint.
                None => applied.outcome.at() <= covered_at,
            });
            let gone = op.acknowledged && op.applied.is_none() && op.command.is_durable();
            Promise::Durable
                .require(!gone, || format!("guild {guild}: {:?} was acknowledged and is gone", op.command))?;
        }
        Ok(untold)
    }

    /// Operations that may have come to their first batch.
    fn note_begun(&mut self, guild: GuildId, turn: &Turn) {
        let book = self.books.entry(guild).or_default();
        for made in &turn.made {
            if let By::Call { op, actor, command, .. } = &made.by
                && matches!(**command, Command::PruneMembers(_) | Command::ImportMembers(_))
            {
                book.ops.entry(*op).or_insert_with(|| Op::new(*actor, command));
            }
        }
    }

    /// Turns that nobody was told of, and that are there all the same: whole or not at all.
    fn find(
        &mut self,
        guild: GuildId,
        epoch: Epoch,
        upto: u64,
        pending: &mut VecDeque<Turn>,
        seen: &mut Seen,
    ) -> Result<(), Breach> {
        for turn in pending.iter_mut() {
            self.note_begun(guild, turn);
            let (Some(first), Some(last)) = (turn.first_record(), turn.last_record()) else { continue };
            if last > upto {
                Promise::Durable.require(first > upto, || {
                    format!("guild {guild}: of records {first} to {last} of one turn there are those up to {upto}")
                })?;
                seen.turns_lost += 1;
                continue;
            }
            seen.found_untold += 1;
            turn.found = true;
            for made in turn.made.iter().filter(|made| !made.records.is_empty()) {
                for event in &made.events {
                    self.name(guild, event)?;
                }
                self.carry(guild, epoch, made, false, seen)?;
                debug_assert!(matches!(made.by, By::Call { .. } | By::Batch));
            }
        }
        Ok(())
    }
}
