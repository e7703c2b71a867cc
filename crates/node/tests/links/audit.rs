//! What operators do is on record, and nobody else's calls are.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex};

use guildhall_node::{AUDIT, Counter};
use guildhall_proto::call::{Ask, CallFault, Malformed, Read, Request, Within};
use guildhall_proto::frame::Kind;
use guildhall_proto::{Actor, Command, GuildId};
use guildhall_transport::Role;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

use crate::roles::{chunks, requests};
use crate::world::{World, answered, lines, new_member, read, soon, until, user};

/// One line: its fields as text.
type Line = BTreeMap<&'static str, String>;

/// Keeps what is put on record by this thread, which is that of the whole test.
#[derive(Clone, Default)]
struct Records(Arc<Mutex<Vec<Line>>>);

impl Records {
    /// The next line, once it is there.
    async fn next(&self) -> Line {
        until(|| !self.0.lock().unwrap().is_empty()).await;
        self.0.lock().unwrap().remove(0)
    }

    fn is_empty(&self) -> bool {
        self.0.lock().unwrap().is_empty()
    }
}

struct Fields(Line);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.insert(field.name(), format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name(), value.to_owned());
    }
}

impl Subscriber for Records {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == AUDIT
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut fields = Fields(Line::new());
        event.record(&mut fields);
        self.0.lock().unwrap().push(fields.0);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

#[tokio::test]
async fn each_call_of_an_operator_leaves_one_line_and_nobody_elses_does() {
    let records = Records::default();
    let _collecting = tracing::subscriber::set_default(records.clone());
    let world = World::new();
    let guild = world.found(1, 3).await;
    for role in [Role::GuildNode, Role::Backend, Role::Observer] {
        let dialer = world.dial(role).await;
        for request in requests(&world, guild) {
            let chunks = chunks(&request);
            drop(dialer.ask_with(request, &chunks).await);
        }
        dialer.close().await;
    }
    assert!(records.is_empty(), "others are on record: {:?}", records.0);

    let operator = world.dial(Role::Operator).await;
    for request in requests(&world, guild) {
        let (chunks, about, call) = (chunks(&request), request.guild(), request.call());
        let answered = operator.ask_with(request.clone(), &chunks).await;
        let line = records.next().await;
        assert_eq!(line["operator"], "spiffe://main/operator/x");
        assert_eq!(line.get("guild"), about.map(|guild: GuildId| guild.to_string()).as_ref(), "{line:?}");
        let (is_change, name) = match &request {
            Request::Command { op, command, .. } => (Some(*op), command.name()),
            Request::Import { op, .. } => (Some(*op), "Import"),
            Request::Read { read, .. } => (None, read.name()),
            _ => (None, call.name()),
        };
        assert_eq!(line["call"], name);
        let op = is_change.map(|op| format!("{}.{}", op.client.get(), op.counter));
        assert_eq!(line.get("op"), op.as_ref(), "{line:?}");
        match answered {
            Ok(_) => assert_eq!((&*line["outcome"], line.contains_key("at")), ("answered", is_change.is_some())),
            Err(fault) => assert_eq!((&line["outcome"], &line["why"]), (&fault.reason().into(), &fault.to_string())),
        }
        assert!(records.is_empty(), "two lines of {name}");
    }
}

#[tokio::test]
async fn it_is_on_record_what_was_read_and_about_whom() {
    let records = Records::default();
    let _collecting = tracing::subscriber::set_default(records.clone());
    let world = World::new();
    let guild = world.found(1, 3).await;
    let operator = world.dial(Role::Operator).await;
    for (asked, name, about) in [
        (Read::Member(user(2)), "ReadMember", Some("2")),
        (Read::Can { user: user(3), channel: None }, "ReadCan", Some("3")),
        (Read::Show, "ReadShow", None),
    ] {
        operator.ask(read(guild, asked)).await.unwrap();
        let line = records.next().await;
        assert_eq!((&*line["call"], line.get("user").map(|user| &**user)), (name, about));
    }
}

#[tokio::test]
async fn a_call_that_comes_to_nothing_is_on_record_with_its_end() {
    let records = Records::default();
    let _collecting = tracing::subscriber::set_default(records.clone());
    let world = World::new();
    let guild = world.found(1, 3).await;
    let operator = world.dial(Role::Operator).await;
    let member = |number| world.command(guild, Command::AddMember(new_member(number)));
    // A command that the guild refuses, and about whom it was.
    operator.ask(member(2)).await.unwrap_err();
    let line = records.next().await;
    assert_eq!((&*line["call"], &*line["user"], &*line["outcome"]), ("AddMember", "2", "refused"));
    assert!(line["why"].contains("2") && !line.contains_key("at"), "{line:?}");
    // What is no request.
    let (mut send, receive) = soon(operator.call()).await.unwrap();
    send.append(Kind::Request, &[0xFF; 9]).unwrap();
    soon(send.finish()).await.unwrap();
    assert_eq!(answered(&Request::Ping, receive).await, Err(CallFault::Malformed(Malformed::Request)));
    let line = records.next().await;
    assert_eq!((&*line["call"], &*line["outcome"]), ("unreadable", "malformed_request"));
    // Half an import, of whose other half its sender lets go.
    let request = Request::Import { guild, op: world.op(), actor: Actor::System };
    let (mut send, _receive) = soon(operator.call()).await.unwrap();
    send.append_value(Kind::Request, &Ask { within: Within::MAX, request }).unwrap();
    send.append(Kind::Chunk, &lines([new_member(9)].into_iter())[0]).unwrap();
    soon(send.flush()).await.unwrap();
    // A lane that is given up takes what has not been read with it.
    world.until_counted(Counter::CallsImport, 1).await;
    drop(send);
    let line = records.next().await;
    assert_eq!((&*line["call"], &*line["outcome"]), ("Import", "left"));
    assert!(records.is_empty());
}
