//! What a store on one machine is given.

use std::time::Duration;

use guildhall_log::QueueConfig;

/// What a store on one machine is given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EmbeddedConfig {
    /// Bytes of a segment of each log (default 16 MiB), twice of which each takes from the disk at once. Smaller ones are given back
    /// sooner, but the largest batch and the largest page must fit into one: 11 MB for members that use every limit. Larger ones come
    /// back later.
    pub segment_bytes: u64,
    /// How much longer than twice what is live a log may be before what is live is carried forward (default 64 MiB). Less writes more
    /// often what was written before; more takes disk, and time to open.
    pub slack_bytes: u64,
    /// A checkpoint of up to so many bytes lies in one record (default 64 KiB). More writes more bytes for a small change of a guild
    /// of some size; less makes small guilds cost several records each.
    pub small_bytes: usize,
    /// Claims and batches that wait for the writer of records. Few or short: owners are told [`StoreError::Busy`](crate::StoreError::Busy) and retire; more takes
    /// memory and hides a disk that is too slow.
    pub records: QueueConfig,
    /// Checkpoints that wait for their writer (default 4,096, 256 MiB). Fewer are refused when many guilds fall asleep at once; more take
    /// memory.
    pub checkpoints: QueueConfig,
    /// How long nobody's question for room has the disk tried again after the last that had (default 0: each does, which takes no clock). Less has
    /// a full disk's directory change with every turn of every owner, and takes what room there comes to be from others; more finds
    /// new room later.
    pub room_pause: Duration,
    /// For how long it must not have been possible to read what lies in a segment that is to be given back before it is taken for lost
    /// (default 60 s; with 0 at once, which takes no clock). Less takes a disk's hiccup for damage; more keeps a segment, and all behind it,
    /// for longer.
    pub lost_after: Duration,
}

impl Default for EmbeddedConfig {
    fn default() -> Self {
        Self {
            segment_bytes: 16 * 1024 * 1024,
            slack_bytes: 64 * 1024 * 1024,
            small_bytes: 64 * 1024,
            records: QueueConfig::default(),
            checkpoints: QueueConfig {
                items_max: 4 * 1024,
                bytes_max: 256 * 1024 * 1024,
                group_items: 256,
                group_bytes: 8 * 1024 * 1024,
                ..QueueConfig::default()
            },
            room_pause: Duration::ZERO,
            lost_after: Duration::from_secs(60),
        }
    }
}
