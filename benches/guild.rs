//! What one command costs the owner: handled, admitted by the gate, appended to the ring; without mailbox, task and store.
//!
//! Paper estimates:
//!
//! | Row | Estimate | From |
//! |---|---|---|
//! | `publish 300 B` | 400-600 ns | encoding and hashing the body 100 ns, rights of the actor 50 ns, one outcome kept 50 ns, one event of about 250 bytes allocated and dropped 100 ns, view 100 ns, gate and ring 80 ns |
//! | `member change` | 1.0-1.6 µs | the same without payload, one record, and a put (see `members`) with the read of what was before |
//!
//! Neither depends on recipients, channels or relays: nothing of them is touched.

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use guildhall_benches::{NOW, Operations, Random, channel, guild, nick, user};
use guildhall_guild::{Effect, Gate, Guild, Input};
use guildhall_proto::{Command, Event, MemberEdit, Mentions, Payload, Publish};
use guildhall_ring::{Cursor, RingConfig, Writer, ring};
use std::sync::Arc;

const MEMBERS: u64 = 100_000;
/// Inputs of one turn.
const TURN: usize = 64;

struct Owner {
    guild: Guild,
    gate: Gate,
    ring: Writer<Arc<Event>>,
    effects: Vec<Effect>,
}

impl Owner {
    fn turn(&mut self, inputs: Vec<Input>) {
        for input in inputs {
            self.guild.handle(NOW, input, &mut self.effects);
        }
        let view = self.guild.view();
        let admitted = self.gate.admit(&mut self.effects, view);
        if let Some((turn, records)) = admitted.append {
            drop(records);
            self.gate.settle(turn);
        }
        if let Some(job) = admitted.fold {
            // A worker's time, in an owner that goes on; here it is small against the turns between two folds.
            self.guild.handle(NOW, Input::FoldDone(job.run()), &mut self.effects);
        }
        while let Some(outcomes) = self.gate.release() {
            for event in outcomes.events {
                self.ring.append(event);
            }
        }
    }
}

fn commands(criterion: &mut Criterion) {
    let (ring, _) = ring(RingConfig { entries_max: 4_096, bytes_max: 8 << 20 }, Cursor(1));
    let mut owner = Owner { guild: guild(MEMBERS), gate: Gate::default(), ring, effects: Vec::new() };
    let mut operations = Operations::default();
    // Counters that the world has used are answered, not applied.
    (0..1_000).for_each(|_| drop(operations.call(Command::DeleteGuild)));
    let mut random = Random(5);

    let mut group = criterion.benchmark_group("guild/100k");
    group.throughput(Throughput::Elements(TURN as u64));
    let payload = Payload::new(vec![7; 300]).expect("300 bytes are a payload");
    group.bench_function("publish 300 B", |bencher| {
        let turn = || -> Vec<Input> {
            let publish = |number: u64| Publish {
                channel: channel(number),
                payload: payload.clone(),
                mentions: Mentions::default(),
                session: None,
                echo: false,
            };
            (0..TURN).map(|at| Input::Command(operations.call(Command::Publish(publish(at as u64))))).collect()
        };
        bencher.iter_batched(turn, |inputs| owner.turn(inputs), BatchSize::SmallInput);
    });
    group.bench_function("member change", |bencher| {
        let turn = || -> Vec<Input> {
            let change = |random: &mut Random| {
                let edit = MemberEdit { nick: Some(nick(random.draw())), ..MemberEdit::default() };
                Command::UpdateMember { user: user(random.below(MEMBERS)), edit }
            };
            (0..TURN).map(|_| Input::Command(operations.call(change(&mut random)))).collect()
        };
        bencher.iter_batched(turn, |inputs| owner.turn(inputs), BatchSize::SmallInput);
    });
    group.finish();
}

criterion_group!(benches, commands);
criterion_main!(benches);
