//! What is wrong at the node itself, and not with whoever asks.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use guildhall_node::{Clock, Counter};
use guildhall_proto::CallError;
use guildhall_proto::call::{Ask, CallFault, Request, Within};
use guildhall_transport::{LaneError, Role};
use tracing::span::{Attributes, Id, Record as Values};
use tracing::{Event, Level, Metadata, Subscriber};

use crate::world::{World, broken, now, soon};

/// A clock that panics when it is asked next, once.
fn clock(panics: &Arc<AtomicBool>) -> Clock {
    let panics = Arc::clone(panics);
    Clock::from_fn(move || {
        assert!(!panics.swap(false, Ordering::SeqCst), "the clock");
        now()
    })
}

#[tokio::test]
async fn a_call_that_panics_where_its_link_takes_it_leaves_the_link_serving() {
    let panics = Arc::default();
    let world = World::with(|node, _| node.clock = clock(&panics));
    let dialer = world.dial(Role::Backend).await;
    dialer.ask(Request::Ping).await.unwrap();
    panics.store(true, Ordering::SeqCst);
    let (send, receive) = dialer.begin(Ask { within: Within::MAX, request: Request::Ping }, &[]).await;
    soon(send.finish()).await.unwrap();
    let error = broken(receive).await;
    assert!(matches!(error, LaneError::GivenUp), "{error}");
    assert!(!panics.load(Ordering::SeqCst), "it was that call");
    dialer.ask(Request::Ping).await.unwrap();
}

#[tokio::test]
async fn an_answer_that_fits_into_no_frame_is_told_as_a_fault() {
    // As many counters as no node has.
    let counted = Arc::new(AtomicU64::new(1));
    let world = World::with(|_, serve| serve.also_counted = vec![(LONG_NAME, counted); 10_000]);
    let dialer = world.dial(Role::Observer).await;
    match dialer.ask(Request::Stats).await {
        Err(CallFault::Call(CallError::Unavailable { reason })) => {
            assert!(reason.contains("cannot be sent"), "{reason}")
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(world.count(Counter::CallsFailedUnavailable), 1);
    dialer.ask(Request::Ping).await.unwrap();
}

const LONG_NAME: &str = "counters_that_have_a_name_of_some_length_and_of_which_there_are_far_too_many_total";

/// What is told at the level `ERROR`, of links; panics where the end of the first is told of.
#[derive(Clone, Default)]
struct Panics {
    ended: Arc<AtomicU64>,
    errors: Arc<AtomicU64>,
}

impl Subscriber for Panics {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "guildhall_node::links" && metadata.is_event()
    }

    fn new_span(&self, _span: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _span: &Id, _values: &Values<'_>) {}

    fn record_follows_from(&self, _span: &Id, _follows: &Id) {}

    fn event(&self, event: &Event<'_>) {
        if *event.metadata().level() == Level::ERROR {
            self.errors.fetch_add(1, Ordering::SeqCst);
        } else {
            assert!(self.ended.fetch_add(1, Ordering::SeqCst) > 0, "the end of the first link is told of");
        }
    }

    fn enter(&self, _span: &Id) {}

    fn exit(&self, _span: &Id) {}
}

#[tokio::test]
async fn a_link_whose_task_panics_is_told_of_and_the_others_are_waited_for_at_a_stop() {
    let world = World::new();
    let (one, other) = (world.dial(Role::Backend).await, world.dial(Role::Backend).await);
    for dialer in [&one, &other] {
        // It is taken on.
        dialer.ask(Request::Ping).await.unwrap();
    }
    let panics = Panics::default();
    let _told = tracing::subscriber::set_default(panics.clone());
    soon(world.serving.stop()).await;
    assert_eq!((panics.ended.load(Ordering::SeqCst), panics.errors.load(Ordering::SeqCst)), (2, 1));
    for dialer in [one, other] {
        soon(dialer.closed()).await;
    }
}
