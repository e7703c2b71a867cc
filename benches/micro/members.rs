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
//! | `parts written` | 5-8 ms | 38 MB of columns and half a MB of role sets copied into a buffer that is kept |
//! | `parts read` | 90-150 ms | a member: 38 bytes copied (4 ns), nick checked and its order (15-25 ns), five hashes of the digest (40-70 ns), pages allocated |
//! | `parts read by two` | half of it | pages are read side by side; joined in 1-3 ms |
//! | `restored` | < 1 ms | 489 blocks of presence; the sums came with the pages |

use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use guildhall_benches::worlds::{NOW, Random, channel, members, nick, user, view, zipf_roles};
use guildhall_members::{Base, Dictionary, Members, MembersConfig, PagePiece, PartKind, Question};
use guildhall_permissions::Rights;
use guildhall_proto::{Member, MemberFlags, Position};

const MEMBERS: u64 = 1_000_000;

fn lookup(criterion: &mut Criterion, members: &mut Members) {
    let view = view(members);
    let mut random = Random(2);
    criterion.bench_function("members/1M/lookup", |bencher| {
        bencher.iter(|| {
            let user = user(random.below(MEMBERS));
            let read = view.with_member(black_box(user), |member| {
                let roles = member.roles().fold(0, |sum: u64, role| sum.wrapping_add(role.get()));
                (member.nick.len(), member.joined_at, roles)
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
    let mut members = members(MEMBERS);
    lookup(criterion, &mut members);
    scans(criterion, &mut members);
    fold(criterion, &mut members);
    put(criterion, &mut members);
    parts(criterion, &mut members);
}

criterion_group!(benches, all);
criterion_main!(benches);
