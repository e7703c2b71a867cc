//! What one command costs the owner: handled, admitted by the gate, appended to the ring; without mailbox, task and store.
//!
//! Paper estimates:
//!
//! | Row | Estimate | From |
//! |---|---|---|
//! | `publish 300 B` | 300-500 ns | rights of the actor 50 ns, one outcome kept 50 ns, one event of about 250 bytes allocated and dropped 100 ns, view 100 ns, gate and ring 80 ns |
//! | `member change` | 1.0-1.6 µs | the same without payload, one record, and a put (see `members`) with the read of what was before |
//!
//! | `prune 96`, `import 96` | 110-180 µs | one batch: for each member two lookups 300 ns and a removal 800 ns, or a line checked 200 ns and a put 900 ns; one event, one record |
//!
//! None depends on recipients, channels or relays: nothing of them is touched.

use std::time::{Duration, Instant};

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use guildhall_benches::owner::Owner;
use guildhall_benches::worlds::{Operations, Random, channel, guild, nick, role, user};
use guildhall_guild::Input;
use guildhall_proto::{Command, MemberEdit, MemberFlags, Mentions, NewMember, Payload, PruneBy, Publish};

const MEMBERS: u64 = 100_000;
/// Members of one batch.
const BATCH: u64 = 96;
/// Inputs of one turn.
const TURN: usize = 64;

/// A turn, and what it asks of workers, in place: that is small against the turns between two folds.
fn turn(owner: &mut Owner, inputs: Vec<Input>) {
    let mut inputs = inputs;
    while !inputs.is_empty() {
        inputs = owner.turn(inputs).run();
    }
}

/// A turn with one command that is spread over turns, and its only batch.
fn batch(owner: &mut Owner, input: Input) -> Duration {
    let begin = Instant::now();
    let aside = owner.turn([input]);
    let took = begin.elapsed();
    assert!(!owner.guild.has_work(), "one batch is all there is");
    turn(owner, aside.run());
    took
}

fn commands(criterion: &mut Criterion) {
    let mut owner = Owner::new(guild(MEMBERS));
    let mut operations = Operations::default();
    // Counters that the world has used are answered, not applied.
    (0..1_000).for_each(|_| drop(operations.call(Command::DeleteGuild)));
    let mut random = Random(5);

    let mut group = criterion.benchmark_group("guild/100k");
    group.throughput(Throughput::Elements(TURN as u64));
    let payload = Payload::new(vec![7; 300]).expect("300 bytes are a payload");
    group.bench_function("publish 300 B", |bencher| {
        let inputs = || -> Vec<Input> {
            let publish = |number: u64| Publish {
                channel: channel(number),
                payload: payload.clone(),
                mentions: Mentions::default(),
                session: None,
                echo: false,
            };
            (0..TURN).map(|at| Input::Command(operations.call(Command::Publish(publish(at as u64))))).collect()
        };
        bencher.iter_batched(inputs, |inputs| turn(&mut owner, inputs), BatchSize::SmallInput);
    });
    group.bench_function("member change", |bencher| {
        let inputs = || -> Vec<Input> {
            let change = |random: &mut Random| {
                let edit = MemberEdit { nick: Some(nick(random.draw())), ..MemberEdit::default() };
                Command::UpdateMember { user: user(random.below(MEMBERS)), edit }
            };
            (0..TURN).map(|_| Input::Command(operations.call(change(&mut random)))).collect()
        };
        bencher.iter_batched(inputs, |inputs| turn(&mut owner, inputs), BatchSize::SmallInput);
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
        let import = Command::ImportMembers(lines.collect());
        let import = batch(owner, Input::Command(operations.call(import)));
        let absent = PruneBy::Absent(strangers(round).collect());
        let prune = batch(owner, Input::Command(operations.call(Command::PruneMembers(absent))));
        round += 1;
        (import, prune)
    };
    let mut group = criterion.benchmark_group("guild/100k");
    group.throughput(Throughput::Elements(BATCH));
    group.bench_function("import 96", |bencher| {
        bencher.iter_custom(|rounds| (0..rounds).map(|_| both(owner).0).sum());
    });
    group.bench_function("prune 96", |bencher| {
        bencher.iter_custom(|rounds| (0..rounds).map(|_| both(owner).1).sum());
    });
    group.finish();
}

criterion_group!(benches, commands);
criterion_main!(benches);
