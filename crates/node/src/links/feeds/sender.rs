//! The two tasks that send what the feeds of a link tell.
//!
//! A write is what was gathered while there was something to gather, and [`RUN_BYTES`] and one event at most. While it waits for the other end nothing
//! more is gathered: of a link that stalls nothing lies here but that, and what transport keeps.

use std::sync::Arc;

use guildhall_proto::call::FeedEnd;
use guildhall_transport::{LaneError, LaneSender};

use super::Feeds;
use super::open::{Looked, RUN_BYTES};
use crate::counters::{Counter, Counters};
use crate::node::Node;

/// Sends events until the lane goes no further.
pub(in crate::links) async fn send_events(feeds: Arc<Feeds>, node: Node, mut lane: LaneSender) -> LaneError {
    loop {
        let feed = feeds.events.next().await;
        node.counters().bump(Counter::FeedTurns);
        let looked = match feed.look(&mut lane, &node) {
            Ok(looked) => looked,
            Err(error) => return error,
        };
        match looked {
            Looked::AtHead(_) | Looked::Closed => {}
            // Behind those that wait.
            Looked::More(_) => feed.call(),
            Looked::Ended(..) => {
                feeds.close(feed.id());
            }
        }
        count(looked, node.counters());
        if (lane.gathered_bytes() >= RUN_BYTES || feeds.events.is_empty())
            && let Err(error) = lane.flush().await
        {
            return error;
        }
    }
}

/// Sends what is told of now until the lane goes no further.
pub(in crate::links) async fn send_told(feeds: Arc<Feeds>, node: Node, mut lane: LaneSender) -> LaneError {
    loop {
        let feed = feeds.told.next().await;
        match feed.tell(&mut lane) {
            Ok(told) => node.counters().add(Counter::FeedTold, told),
            Err(error) => return error,
        }
        if (lane.gathered_bytes() >= RUN_BYTES || feeds.told.is_empty())
            && let Err(error) = lane.flush().await
        {
            return error;
        }
    }
}

fn count(looked: Looked, counters: &Counters) {
    let events = match looked {
        Looked::AtHead(events) | Looked::More(events) => events,
        Looked::Ended(events, end) => {
            counters.bump(match end {
                FeedEnd::Gap => Counter::FeedsEndedGap,
                FeedEnd::OwnerEnded => Counter::FeedsEndedOwner,
                FeedEnd::Moved { .. } => Counter::FeedsEndedMoved,
                FeedEnd::GuildDeleted { .. } => Counter::FeedsEndedDeleted,
            });
            events
        }
        Looked::Closed => return,
    };
    counters.add(Counter::FeedEvents, events);
}
