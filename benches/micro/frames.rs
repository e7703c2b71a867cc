//! Frames of one feed, 300-byte bodies: written behind one another, and read as they come in one piece or in packets of 1,200 bytes.
//!
//! Paper estimates, for one frame:
//!
//! | Row | Estimate | From |
//! |---|---|---|
//! | `write` | 40-50 ns | the sum of 306 bytes (20-30 ns), a copy of them (10 ns), the header |
//! | `read whole` | 45-60 ns | the same sum, two counts of a reference (10 ns), the header |
//! | `read in packets` | 70-90 ns | the same; of four frames one lies in two packets: an allocation and a copy of it (80 ns) |
//!
//! A QUIC stream itself carries some 3 M such frames a second, written 64 or more together: 330 ns each.

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use guildhall_proto::Version;
use guildhall_proto::frame::{self, FrameReader, Kind, Lane};

const FRAMES: usize = 1_024;
const BODY: [u8; 300] = [7; 300];
const PACKET_BYTES: usize = 1_200;
const VERSION: Version = Version::new(1).unwrap();

fn written(buffer: &mut Vec<u8>) {
    for _ in 0..FRAMES {
        frame::append(Kind::Feed, VERSION, &BODY, buffer).expect("300 bytes are within the cap");
    }
}

fn read(frames: &Bytes, packet_bytes: usize) -> usize {
    let mut reader = FrameReader::new(Lane::Push, VERSION);
    let (mut rest, mut bytes) = (frames.clone(), 0);
    while !rest.is_empty() {
        let mut packet = rest.split_to(packet_bytes.min(rest.len()));
        while let Some(frame) = reader.read(&mut packet).expect("what was written is read") {
            bytes += frame.body.len();
        }
    }
    bytes
}

fn frames(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("frames of 300 bytes");
    group.throughput(Throughput::Elements(FRAMES as u64));
    let mut buffer = Vec::new();
    group.bench_function("write", |bencher| {
        bencher.iter(|| {
            buffer.clear();
            written(&mut buffer);
        });
    });
    buffer.clear();
    written(&mut buffer);
    let frames = Bytes::from(buffer);
    for (name, packet_bytes) in [("read whole", frames.len()), ("read in packets", PACKET_BYTES)] {
        group.bench_function(name, |bencher| {
            bencher.iter(|| assert_eq!(read(&frames, packet_bytes), FRAMES * BODY.len()))
        });
    }
    group.finish();
}

criterion_group!(benches, frames);
criterion_main!(benches);
