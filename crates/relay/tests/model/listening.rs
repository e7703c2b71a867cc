//! The driver's part about listening: what streams and the batch deliver, beside what is due.

use guildhall_proto::{Level, Unread};
use guildhall_relay::{BatchItem, BatchRead, Delivery, Read, Wait};

use super::Driver;
use crate::session::{Heard, Item, Model};

impl Driver {
    pub(super) fn read(&mut self, pick: usize, max: usize) {
        if self.sessions.is_empty() {
            return;
        }
        let idx = pick % self.sessions.len();
        let Some(stream) = self.streams.get_mut(&idx) else { return };
        let mut heard = Vec::new();
        let read = stream.read(max, |delivery| {
            heard.push(match delivery {
                Delivery::Event(event) => Heard::Event(event.position),
                Delivery::Gap(gap) => Heard::Gap(gap),
                Delivery::Unread(unread) => Heard::Unread(unread.clone()),
                Delivery::Ephemeral(told) => panic!("nothing is told here, but {told:?}"),
                Delivery::Detached(reason) => Heard::Detached(reason),
            });
        });
        assert!(heard.len() <= max);
        for heard in &heard {
            self.hear(idx, heard.clone());
        }
        let session = &mut self.sessions[idx];
        assert_eq!(read == Read::Ended, session.is_over);
        assert_eq!(read == Read::Waiting, session.is_waiting, "{session:?}");
        if read == Read::More {
            assert_eq!(heard.len(), max, "no read ends early");
        }
        if read == Read::Idle {
            let wait = self.relay.wait(self.streams.get_mut(&idx).unwrap()).unwrap();
            if !(wait == Wait::Gap && session.switches_while_lagging) {
                assert_eq!(wait == Wait::Waiting, session.due.is_empty(), "{session:?}");
            }
            session.may_have_lost_nothing |= wait == Wait::Gap && session.due.is_empty();
            session.switches_while_lagging &= wait != Wait::Waiting;
            // Who has lost its place waits, with a gap to be told.
            session.is_waiting = wait != Wait::Ready;
            session.is_lost = wait == Wait::Gap;
            session.lost_items = session.due.len();
        }
    }

    pub(super) fn read_all(&mut self, idx: usize) {
        let is_done = |session: &Model| session.is_over || session.is_waiting && session.due.is_empty();
        while self.streams.contains_key(&idx) && !is_done(&self.sessions[idx]) {
            self.read(idx, 3);
        }
    }

    /// Reads from the batch; whether there is more.
    pub(super) fn read_batch(&mut self, max: usize) -> bool {
        self.relay.fill(&mut self.batch);
        let mut heard = Vec::new();
        let read = self.batch.read(max, |item| match item {
            BatchItem::Event { event, tokens } => {
                heard.extend(tokens.iter().map(|token| (*token, Heard::Event(event.position))));
            }
            BatchItem::Gap { gap, tokens } => heard.extend(tokens.iter().map(|token| (*token, Heard::Gap(gap)))),
            BatchItem::Ephemeral { ephemeral, .. } => panic!("nothing is told here, but {ephemeral:?}"),
            BatchItem::Unread { unread, tokens } => {
                heard.extend(tokens.iter().map(|token| (*token, Heard::Unread(unread.clone()))));
            }
            BatchItem::Detached { reason, token } => heard.push((token, Heard::Detached(reason))),
        });
        for (token, heard) in heard {
            self.hear(token as usize, heard);
        }
        if read == BatchRead::Idle {
            for session in self.sessions.iter_mut().filter(|session| !session.is_stream) {
                session.forgive();
                assert!(session.due.is_empty(), "{session:?}");
            }
        }
        read == BatchRead::More
    }

    fn hear(&mut self, idx: usize, heard: Heard) {
        let session = &mut self.sessions[idx];
        assert!(!session.is_over, "{heard:?} after the end: {session:?}");
        let is_next_unread = matches!(
            (&heard, session.due.front()),
            (Heard::Unread(Unread { at, channels }), Some(Item::Unread(seq, due))) if at.seq.0 == *seq && channels == due
        );
        if !is_next_unread {
            session.forgive();
        }
        match heard {
            Heard::Event(position) => {
                let seq = position.seq.0;
                assert_eq!(session.due.pop_front(), Some(Item::Event(seq)), "{session:?}");
                session.known = seq;
                self.counts.note("deliveries", true);
            }
            Heard::Unread(Unread { at, channels }) => {
                let told = Some(Item::Unread(at.seq.0, channels));
                assert_eq!(session.due.front(), told.as_ref(), "{session:?}");
                session.due.pop_front();
                self.counts.note("summaries", true);
            }
            Heard::Gap(gap) => {
                let (after, through) = (gap.after.seq.0, gap.through.seq.0);
                let mut lost = Vec::new();
                let mut left = if session.is_lost { session.lost_items } else { usize::MAX };
                while let Some(item) = session.due.front()
                    && let Some(seq) = item.place()
                    && left > 0
                    && seq <= through
                {
                    if matches!(item, Item::Unread(..)) && seq == through && !session.is_lost {
                        session.unsure_through = Some(through);
                        break;
                    }
                    lost.extend(session.due.pop_front());
                    left -= 1;
                }
                if session.is_stream {
                    assert_eq!(after, session.known, "{session:?}");
                    assert!(
                        !lost.is_empty()
                            || session.unsure_through.is_some()
                            || session.may_have_lost_nothing
                            || session.ends_unsure
                            || session.switches_while_lagging,
                        "no gap without a loss: {gap:?} {session:?}"
                    );
                    // A hole of the feed itself counts as a loss; any other loss has really left the ring.
                    if let Some(Item::Event(seq)) = lost.first()
                        && *seq > self.run
                        && !session.switches_while_lagging
                    {
                        let passive = if session.was_passive { self.slow_entries } else { u64::MAX };
                        let entries = self.ring_entries.min(passive);
                        // A summary is an entry too.
                        let summaries = self.summaries.iter().filter(|(at, _)| at >= seq).count() as u64;
                        let summaries = if session.was_passive { summaries } else { 0 };
                        assert!(self.fed + summaries - seq >= entries - entries / 8 - 2, "{gap:?} {session:?}");
                    }
                    // A change of ring behind the gap is still before it.
                    session.switches_while_lagging &= !session.is_lost || session.switched > through;
                    session.may_have_lost_nothing &= !session.is_lost;
                    session.is_lost = false;
                    self.counts.note("stream gaps", true);
                    self.counts.note("passive gaps", session.ear.level == Level::Passive);
                } else {
                    // All sessions of the batch lag together, so that not each of them need have lost something.
                    let is_new = |item: &Item| item.place().is_some_and(|seq| seq > after);
                    assert!(lost.iter().all(|item| is_new(item) || matches!(item, Item::Unread(..))));
                    self.counts.note("batch gaps", true);
                }
                session.known = session.known.max(through);
            }
            Heard::Detached(reason) => {
                // A summary that alone has left the ring before the end is not worth a gap: no event is lost with it.
                if matches!(session.due.front(), Some(Item::Unread(seq, _)) if *seq <= session.known) {
                    session.due.pop_front();
                }
                assert_eq!(session.due.pop_front(), Some(Item::Detached(reason)), "{session:?}");
                session.is_over = true;
            }
        }
    }
}
