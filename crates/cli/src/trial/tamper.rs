//! Breaks one delivery between a session and the checker, so that anyone can see the checker find it.

use std::sync::Arc;

use guildhall_proto::{ChannelId, Event, EventKind};
use parking_lot::Mutex;

/// What to break.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Tamper {
    /// Keep one delivery from the checker
    Lost,
    /// Show it one delivery again when its session ends
    Duplicated,
    /// Show it one delivery after the next
    Reordered,
    /// Show it two deliveries with what they say exchanged
    Altered,
    /// Show it one delivery as that of a session which may not see it
    Leaked,
}

/// Stands before the checker of one session.
#[derive(Debug)]
pub(crate) enum Meddler {
    /// Lets everything pass.
    Idle,
    /// Loses the next message.
    Lose,
    /// Doubles the next message, in the end.
    Double,
    /// Shows this in the end.
    Keep(Arc<Event>),
    /// Holds the next message back.
    Hold,
    /// Holds this back until another event has passed.
    Held(Arc<Event>),
    /// Holds what passes back, from one message to the next, of which each then says what the other said.
    Exchange(Vec<Arc<Event>>),
    /// Takes a copy of the next message in a channel.
    Overhear(ChannelId, Overheard),
    /// Shows what was overheard, as soon as the session is past that.
    Show(Overheard),
}

/// A message on its way to a session which may not see it.
pub(crate) type Overheard = Arc<Mutex<Option<Arc<Event>>>>;

impl Meddler {
    /// Hands an event on as the meddler is told to.
    pub(crate) fn pass(&mut self, event: Arc<Event>, mut hear: impl FnMut(&Event)) {
        let is_message = matches!(event.kind, EventKind::MessagePublished(_));
        match std::mem::replace(self, Self::Idle) {
            Self::Lose if is_message => {}
            Self::Double if is_message => {
                hear(&event);
                *self = Self::Keep(event);
            }
            Self::Hold if is_message => *self = Self::Held(event),
            Self::Held(earlier) => {
                hear(&event);
                hear(&earlier);
            }
            Self::Exchange(held) if held.is_empty() && is_message => *self = Self::Exchange(vec![event]),
            Self::Exchange(mut held) if !held.is_empty() => {
                held.push(event);
                if is_message {
                    exchanged(&held).for_each(|event| hear(&event));
                } else {
                    *self = Self::Exchange(held);
                }
            }
            Self::Overhear(channel, overheard) if is_in(&event, channel) => {
                *overheard.lock() = Some(Arc::clone(&event));
                hear(&event);
            }
            Self::Show(overheard) => {
                hear(&event);
                // Only once the session itself is past it, so that nothing else seems to come late.
                let taken = overheard.lock().take_if(|foreign| foreign.position < event.position);
                match taken {
                    Some(foreign) => hear(&foreign),
                    None => *self = Self::Show(overheard),
                }
            }
            Self::Idle => hear(&event),
            patient @ (Self::Lose
            | Self::Double
            | Self::Hold
            | Self::Keep(_)
            | Self::Exchange(_)
            | Self::Overhear(..)) => {
                *self = patient;
                hear(&event);
            }
        }
    }
}

impl Meddler {
    /// Takes note that the session has ended, which hears nothing more otherwise.
    pub(crate) fn end(&mut self, mut hear: impl FnMut(&Event)) {
        if let Self::Keep(event) = std::mem::replace(self, Self::Idle) {
            hear(&event);
        }
    }
}

/// These, of which the first and the last say what the other said.
fn exchanged(held: &[Arc<Event>]) -> impl Iterator<Item = Event> {
    let last = held.len() - 1;
    held.iter().enumerate().map(move |(idx, event)| {
        let says = match idx {
            0 => &held[last],
            _ if idx == last => &held[0],
            _ => event,
        };
        Event { kind: says.kind.clone(), ..Event::clone(event) }
    })
}

fn is_in(event: &Event, channel: ChannelId) -> bool {
    matches!(&event.kind, EventKind::MessagePublished(message) if message.channel == channel)
}
