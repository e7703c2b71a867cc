//! The member store at one million members: 250 roles, four a member in 40,000 distinct sets, 100 channels, three in ten online.
//!
//! Paper estimates (one core; 13 ns an independent cache miss, 320 ns a dependent one over 256 MiB, 10 GB/s copied):
//!
//! | Row | Estimate | From |
//! |---|---|---|
//! | `lookup` | 250-400 ns | fence (4 KiB, in cache), then id, role set, nick and joined columns of one page: one dependent miss, the rest overlap |
//! | `put` | 400-600 ns | the lookup of what was there, without others beside it, two hashes of the digest, a record written, an entry of 16 bytes sorted into a run of 2 KiB and later merged |
//! | `put and view` | + 100 ns | the same, and a few reference counts |
//! | `here` | 1.2-2 ms | 1 M / 64 words of the online bitmap, 300 k × (role set → decision → id): about 4 ns each |
//! | `everyone` | 2-4 ms | 1 M × (4-byte role set, decision, 8-byte id written): 12 MB read, 8 MB written, about 2-3 ns each |
//! | `fold 4,096` | 6-10 ms | spread over 488 pages, so all are copied, but for their ids: 30 MB; nine nicks a page sorted in, ten comparisons of 10 ns each |
//! | `begin fold 34,815`, `the 34,816th put` | 0.15-0.3 ms | of all overlays that an owner lets a million members have (62,500 changes) the dearest to merge: 35,000 entries of 16 bytes copied into 140 fresh pages, and a filter of 64 KiB made anew, 3 ns an entry |
//! | `begin fold 557,055` | 3-6 ms | the same of ten million members: 9 MB copied, 2,300 fresh pages, a filter of 1 MiB |
//! | `parts written` | 5-8 ms | 38 MB of columns and half a MB of role sets copied into a buffer that is kept |
//! | `parts read` | 90-150 ms | a member: 38 bytes copied (4 ns), nick checked and its order (15-25 ns), five hashes of the digest (40-70 ns), pages allocated |
//! | `parts read by two` | half of it | pages are read side by side; joined in 1-3 ms |
//! | `restored` | < 1 ms | 489 blocks of presence; the sums came with the pages |

use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use guildhall_benches::worlds::{NOW, Random, channel, members, nick, user, view, zipf_roles};
use guildhall_members::{Base, Dictionary, Members, MembersConfig, PagePiece, PartKind, Question};
use guildhall_permissions::Rights;
use guildhall_proto::{Member, MemberFlags, Position, UserId};

const MEMBERS: u64 = 1_000_000;

fn lookup(criterion: &mut Criterion, members: &mut Members) {
    let view = view(members);
    let mut random = Random(2);
    criterion.bench_function("members/1M/lookup", |bencher| {
        bencher.iter(|| {
            let user = user(random.below(MEMBERS));
            let read = view.with_member(black_box(user), |member| {
                let roles = member.roles().fold(0, |sum: u64, role| sum.wrapping_add(role.get()));
                (member.nick().len(), member.joined_at, roles)
            });
            read.expect("every user below the count is a member")
        });
    });
}

fn put(criterion: &mut Criterion, members: &mut Members) {
    let rights: Rights = guildhall_benches::worlds::rights();
    let mut random = Random(3);
    let mut changed = move || {
        let number = random.below(MEMBERS);
        let roles = zipf_roles(&mut random);
        Member { user: user(number), nick: nick(number), roles, joined_at: NOW, flags: MemberFlags::NONE }
    };
    // As an owner does it: folded when due, by a worker, so outside the time.
    let due = |members: &mut Members| {
        if members.fold_due() {
            guildhall_benches::worlds::fold(members);
        }
    };
    criterion.bench_function("members/1M/put", |bencher| {
        bencher.iter_batched(&mut changed, |member| members.put(&member), BatchSize::NumIterations(1_000));
        due(members);
    });
    criterion.bench_function("members/1M/put and view", |bencher| {
        let mut last = None;
        bencher.iter_batched(
            &mut changed,
            |member| {
                members.put(&member);
                last = Some(members.view(Position::default(), &rights));
            },
            BatchSize::NumIterations(1_000),
        );
        due(members);
    });
}

fn scans(criterion: &mut Criterion, members: &mut Members) {
    guildhall_benches::worlds::fold(members);
    let view = view(members);
    let mut group = criterion.benchmark_group("members/1M");
    group.sample_size(20);
    // A hidden channel has overwrites of roles and users: the dear case.
    for (name, question) in
        [("here", Question::Here { channel: channel(1) }), ("everyone", Question::Everyone { channel: channel(1) })]
    {
        group.throughput(Throughput::Elements(MEMBERS));
        // Into a buffer that is kept: fresh memory for 8 MB of ids costs more than finding them.
        let mut ids = Vec::new();
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                ids.clear();
                let scan = view.scan(black_box(question)).expect("the channel is there");
                (0..scan.chunks()).for_each(|chunk| scan.run_chunk(chunk, &mut ids));
                ids.len()
            });
        });
    }
    group.finish();
}

fn fold(criterion: &mut Criterion, members: &mut Members) {
    let mut random = Random(4);
    let mut group = criterion.benchmark_group("members/1M");
    group.sample_size(10);
    group.bench_function("fold 4,096", |bencher| {
        bencher.iter_custom(|times| {
            (0..times)
                .map(|_| {
                    for _ in 0..4_096 {
                        let number = random.below(MEMBERS);
                        let roles = zipf_roles(&mut random);
                        let flags = MemberFlags::NONE;
                        members.put(&Member { user: user(number), nick: nick(number), roles, joined_at: NOW, flags });
                    }
                    let job = members.begin_fold().expect("there is something to fold");
                    let begin = std::time::Instant::now();
                    let folded = job.run();
                    let took = begin.elapsed();
                    drop(members.install(folded));
                    took
                })
                .sum()
        });
    });
    group.finish();
}

/// What an owner does of a fold in its turn, and the change that costs it as much: runs of changes merged, one with the next longer one. How many
/// changes there are tells how many are merged; the base is not looked at.
fn merges(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("members");
    group.sample_size(10);
    for changes in [2_047_u64, 34_815, 62_500, 557_055] {
        let mut members = Members::new(MembersConfig::default());
        group.bench_function(format!("begin fold {changes}"), |bencher| {
            bencher.iter_custom(|times| (0..times).map(|_| begun(&mut members, changes, |_| ())).sum());
        });
    }
    group.bench_function("the 34,816th put", |bencher| {
        bencher.iter_custom(|times| {
            let mut members = Members::new(MembersConfig::default());
            let mut took = std::time::Duration::ZERO;
            for _ in 0..times {
                begun(&mut members, 34_815, |members| {
                    let begin = std::time::Instant::now();
                    put_new(members, 34_816);
                    took += begin.elapsed();
                });
            }
            took
        });
    });
    group.finish();
}

/// How long a fold of so many changes takes to begin; before, `then` is done with them.
fn begun(members: &mut Members, changes: u64, then: impl FnOnce(&mut Members)) -> std::time::Duration {
    drop(members.take());
    (0..changes).for_each(|number| put_new(members, number));
    then(members);
    let begin = std::time::Instant::now();
    let job = members.begin_fold().expect("there are changes");
    let took = begin.elapsed();
    drop(job);
    members.abandon_fold();
    took
}

/// Ever another user, not in the order of ids.
fn put_new(members: &mut Members, number: u64) {
    let user = UserId::new(Random(number).draw() >> 1).expect("neither 0 nor the last");
    members.put(&Member { user, nick: nick(number), roles: Vec::new(), joined_at: NOW, flags: MemberFlags::NONE });
}

fn parts(criterion: &mut Criterion, members: &mut Members) {
    guildhall_benches::worlds::fold(members);
    let base = members.base();
    let mut group = criterion.benchmark_group("members/1M");
    group.sample_size(10);
    let mut buffer = Vec::new();
    group.bench_function("parts written", |bencher| {
        bencher.iter(|| {
            buffer.clear();
            base.parts().for_each(|part| part.encode_into(&mut buffer));
            buffer.len()
        });
    });
    let parts: Vec<(PartKind, Vec<u8>)> = base
        .parts()
        .map(|part| {
            let mut bytes = Vec::new();
            part.encode_into(&mut bytes);
            (part.kind(), bytes)
        })
        .collect();
    for (name, threads) in [("parts read", 1), ("parts read by two", 2)] {
        group.bench_function(name, |bencher| bencher.iter_with_large_drop(|| read(&parts, threads)));
    }
    group.bench_function("restored", |bencher| {
        let restore = |base| Members::restore(MembersConfig::default(), base);
        bencher.iter_batched(|| read(&parts, 2), restore, BatchSize::PerIteration);
    });
    group.finish();
}

/// The base of these parts, its pages read by so many threads.
fn read(parts: &[(PartKind, Vec<u8>)], threads: usize) -> Base {
    let of = |kind| parts.iter().filter(move |part| part.0 == kind).map(|(_, bytes)| &bytes[..]);
    let dictionary = of(PartKind::Dictionary).next().expect("every base has a dictionary");
    let dictionary = Dictionary::decode(dictionary).expect("written above");
    let sets = of(PartKind::Sets).map(|bytes| dictionary.decode_sets(bytes).expect("written above")).collect();
    let table = dictionary.join(sets).expect("written above");
    let pages: Vec<&[u8]> = of(PartKind::Page).collect();
    let read = |share: &[&[u8]]| -> Vec<PagePiece> {
        share.iter().map(|bytes| table.decode_page(bytes).expect("written above")).collect()
    };
    let pieces = std::thread::scope(|scope| {
        let shares: Vec<_> =
            pages.chunks(pages.len().div_ceil(threads)).map(|share| scope.spawn(|| read(share))).collect();
        shares.into_iter().flat_map(|share| share.join().expect("it does not panic")).collect()
    });
    table.assemble(pieces).expect("written above")
}

fn all(criterion: &mut Criterion) {
    merges(criterion);
    let mut members = members(MEMBERS);
    lookup(criterion, &mut members);
    scans(criterion, &mut members);
    fold(criterion, &mut members);
    put(criterion, &mut members);
    parts(criterion, &mut members);
}

criterion_group!(benches, all);
criterion_main!(benches);
