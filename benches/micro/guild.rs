//! What one command costs the owner: handled, admitted by the gate, appended to the ring; without mailbox, task and store.
//!
//! Paper estimates:
//!
//! | Row | Estimate | From |
//! |---|---|---|
//! | `publish 300 B` | 400-600 ns | encoding and hashing the body 100 ns, rights of the actor 50 ns, one outcome kept 50 ns, one event of about 250 bytes allocated and dropped 100 ns, view 100 ns, gate and ring 80 ns |
//! | `member change` | 1.0-1.6 µs | the same without payload, one record, and a put (see `members`) with the read of what was before |
//!
//! | `prune 256`, `import 256` | 250-400 µs | one batch: for each member two lookups 300 ns and a removal 800 ns, or a line checked 200 ns and a put 900 ns; one event, one record |
//!
//! None depends on recipients, channels or relays: nothing of them is touched.

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use guildhall_benches::worlds::{NOW, Operations, Random, channel, guild, nick, role, user};
use guildhall_guild::{Effect, Gate, Guild, Input};
use guildhall_proto::{Command, Event, MemberEdit, MemberFlags, Mentions, NewMember, Payload, PruneBy, Publish};
use guildhall_ring::{Cursor, RingConfig, Writer, ring};
use std::sync::Arc;
use std::time::{Duration, Instant};

const MEMBERS: u64 = 100_000;
/// Members of one batch.
const BATCH: u64 = 256;
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
        self.release();
    }

    /// A turn in which nothing comes, and what the batch takes in it. The operation under way is finished by it.
    fn batch(&mut self) -> Duration {
        let begin = Instant::now();
        self.guild.proceed(NOW, &mut self.effects);
        let took = begin.elapsed();
        self.turn(Vec::new());
        assert!(!self.guild.has_work(), "one batch is all there is");
        took
    }

    fn release(&mut self) {
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
    batches(criterion, &mut owner, &mut operations);
}

/// One batch each of what is spread over turns: members added, and pruned again.
fn batches(criterion: &mut Criterion, owner: &mut Owner, operations: &mut Operations) {
    let strangers = |round: u64| (0..BATCH).map(move |number| user(MEMBERS + (round * BATCH + number) % 1_000_000));
    let mut round = 0;
    let mut both = |owner: &mut Owner| {
        let lines = strangers(round).map(|user| NewMember {
            user,
            nick: nick(user.get()),
            roles: vec![role(1), role(2), role(3), role(4)],
            flags: MemberFlags::NONE,
        });
        owner.guild.handle(
            NOW,
            Input::Command(operations.call(Command::ImportMembers(lines.collect()))),
            &mut owner.effects,
        );
        let import = owner.batch();
        let absent = PruneBy::Absent(strangers(round).collect());
        owner.guild.handle(NOW, Input::Command(operations.call(Command::PruneMembers(absent))), &mut owner.effects);
        let prune = owner.batch();
        round += 1;
        (import, prune)
    };
    let mut group = criterion.benchmark_group("guild/100k");
    group.throughput(Throughput::Elements(BATCH));
    group.bench_function("import 256", |bencher| {
        bencher.iter_custom(|rounds| (0..rounds).map(|_| both(owner).0).sum());
    });
    group.bench_function("prune 256", |bencher| {
        bencher.iter_custom(|rounds| (0..rounds).map(|_| both(owner).1).sum());
    });
    group.finish();
}

criterion_group!(benches, commands);
criterion_main!(benches);
