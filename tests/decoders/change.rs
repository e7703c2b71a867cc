//! What may happen to bytes on their way.

/// What may happen to bytes; places are taken modulo what is there.
#[derive(Debug, Clone)]
pub(crate) enum Change {
    Set(usize, u8),
    Flip(usize, u8),
    Insert(usize, Vec<u8>),
    Remove(usize, usize),
    Repeat(usize, usize),
    /// The end of another file of the corpus in place of one's own.
    Splice(usize, usize),
    Cut(usize),
}

/// What becomes of `bytes`.
pub(crate) fn changed(bytes: &[u8], also: &[u8], changes: &[Change]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for change in changes {
        let place = |at: usize| at % (bytes.len() + 1);
        let run = |at: usize, count: usize| place(at)..(place(at) + count).min(bytes.len());
        match change {
            Change::Set(at, byte) => {
                let at = place(*at);
                bytes.splice(at..(at + 1).min(bytes.len()), [*byte]);
            }
            Change::Flip(at, bit) => {
                let at = place(*at);
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 1 << bit;
                }
            }
            Change::Insert(at, inserted) => {
                let at = place(*at);
                bytes.splice(at..at, inserted.iter().copied());
            }
            Change::Remove(at, count) => {
                bytes.drain(run(*at, *count));
            }
            Change::Repeat(at, count) => {
                let run = run(*at, *count);
                let repeated = bytes[run.clone()].to_vec();
                bytes.splice(run.end..run.end, repeated);
            }
            Change::Splice(at, from) => {
                bytes.truncate(place(*at));
                bytes.extend_from_slice(&also[from % (also.len() + 1)..]);
            }
            Change::Cut(at) => bytes.truncate(place(*at)),
        }
    }
    bytes
}

/// Bytes at which varints and lengths turn into others.
pub(crate) const EDGES: [u8; 10] = [0, 1, 127, 128, 250, 251, 252, 253, 254, 255];
