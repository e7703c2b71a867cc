//! Which shard a guild lies in: a hash that is written down in `proto/SPEC.md` and never changes.

use std::fmt;

use guildhall_proto::{GuildId, mix};

/// How many shards there are, whatever the nodes: a power of two, so that a shard is some bits of the hash. With a hundred nodes each still has
/// 41 or 40 of them; all rows are some 64 KiB, which is what a change of shards copies.
pub const SHARDS: usize = 1 << SHARD_BITS;

const SHARD_BITS: u32 = 12;
const _: () = assert!(SHARDS <= u16::MAX as usize + 1);

/// A fixed fraction of all guilds, by number: below [`SHARDS`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Shard(u16);

impl Shard {
    /// That in which `guild` lies: the high bits of its id, mixed.
    ///
    /// Ids are times with a counter behind them, so neither end of one is even; mixed, any bits are.
    pub const fn of(guild: GuildId) -> Self {
        Self((mix(guild.get()) >> (u64::BITS - SHARD_BITS)) as u16)
    }

    /// The shard of this number; `None` if there is none.
    pub fn find(number: u16) -> Option<Self> {
        (usize::from(number) < SHARDS).then_some(Self(number))
    }

    /// All of them, ascending.
    pub fn all() -> impl ExactSizeIterator<Item = Self> {
        (0..SHARDS as u16).map(Self)
    }

    /// Its number.
    pub const fn get(self) -> u16 {
        self.0
    }

    pub(crate) fn index(self) -> usize {
        usize::from(self.0)
    }
}

impl fmt::Debug for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "shard:{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rows of the table in the specification: a guild, the mixed id, the shard.
    fn written() -> Vec<(u64, u64, u16)> {
        let text = include_str!("../../../proto/SPEC.md");
        let head = "| Guild | Mixed, in hexadecimal | Shard |\n";
        let (_, rows) = text.split_once(head).expect("SPEC.md has the table");
        let rows = rows.lines().skip(1).take_while(|row| row.starts_with('|'));
        let vector = |row: &str| {
            let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
            let mixed = u64::from_str_radix(cells[1], 16).unwrap();
            (cells[0].parse().unwrap(), mixed, cells[2].parse().unwrap())
        };
        rows.map(vector).collect()
    }

    #[test]
    fn guilds_lie_in_the_shards_that_the_specification_says() {
        let vectors = written();
        assert_eq!(vectors.len(), 10);
        for (guild, mixed, shard) in vectors {
            assert_eq!(mix(guild), mixed, "guild {guild}");
            assert_eq!(Shard::of(GuildId::new(guild).unwrap()).get(), shard, "guild {guild}");
        }
    }

    #[test]
    fn guilds_are_spread_evenly_however_their_ids_are_made() {
        const GUILDS: u64 = 400_000;
        type Id = fn(u64) -> u64;
        for (how, id) in [
            ("counted", (|n| n + 1) as Id),
            ("snowflakes, one a millisecond", |n| (n + 1) << 22),
            ("snowflakes of one moment, by worker and counter", |n| 1 << 60 | n),
        ] {
            let mut guilds = vec![0_u32; SHARDS];
            for n in 0..GUILDS {
                guilds[Shard::of(GuildId::new(id(n)).unwrap()).index()] += 1;
            }
            let mean = GUILDS as f64 / SHARDS as f64;
            let chi_squared: f64 = guilds.iter().map(|guilds| (f64::from(*guilds) - mean).powi(2) / mean).sum();
            // With 4,095 degrees of freedom: six standard deviations, of 90.5, on either side of the mean.
            assert!((3_552.0..4_638.0).contains(&chi_squared), "{how}: {chi_squared}");
        }
    }

    #[test]
    fn there_is_no_shard_beyond_the_last() {
        assert_eq!(Shard::find(SHARDS as u16 - 1).map(Shard::get), Some(SHARDS as u16 - 1));
        assert_eq!(Shard::find(SHARDS as u16), None);
        assert!(Shard::all().map(Shard::index).eq(0..SHARDS));
    }
}
