//! What one endpoint and its links may take of memory, time and places. The defaults of the library are for a browser's peer, not for this:
//! some are unlimited.

use std::time::Duration;

use quinn::{IdleTimeout, VarInt};

/// The limits of an endpoint. What is beyond one is refused, and counted with its reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TransportConfig {
    /// Bytes that the other end may have under way to this one on all lanes of a link together. Default 32 MiB. Less bounds throughput to
    /// this much a round trip; more is what a link whose reader stands still may hold here. Lanes that nobody reads hold up all the others, feeds
    /// among them, once they have taken all of it: with the defaults, a hundred of them.
    pub link_receive_bytes: u32,
    /// The same on one lane. Default 288 KiB, a little more than the greatest frame. Less bounds the throughput of a lane, the one of a link's feeds and
    /// an import's among them, to this much a round trip; with more, fewer lanes that nobody reads hold up the others, and calls wait longer behind what of
    /// a long answer is under way (with 1 MiB, on two processors at both ends, four times as long as on a quiet link).
    pub lane_receive_bytes: u32,
    /// Bytes that a link keeps of what was sent and is not acknowledged. Default 16 MiB. Less bounds throughput; more is what a link whose
    /// other end stands still holds here.
    pub link_send_bytes: u32,
    /// Calls that the other end may have open on one link. Default 256. Fewer, and calls wait for one another; each more may hold one frame that
    /// has begun (`BODY_BYTES_MAX`, 256 KiB) beside the windows.
    pub calls_max: u32,
    /// After how long without a word a link is given up. Default 15 s. Shorter, and a stall looks like a death; longer, and a death goes unnoticed.
    pub idle: Duration,
    /// How often a link that is quiet is shown to be alive. Default 5 s. At most half of `idle`.
    pub keep_alive: Duration,
    /// How long handshake and hello may take together. Default 5 s. Shorter, and a node on a busy machine never gets in; longer, and who never
    /// finishes holds a place longer.
    pub handshake: Duration,
    /// Handshakes under way at an endpoint; one more takes the place of the oldest. Default 256. Fewer, and a flood displaces honest handshakes
    /// sooner; more cost some 20 KiB each.
    pub handshakes_max: usize,
    /// From how many handshakes under way on a dialer must first prove that it receives at its address, which costs it a round trip. Default 32,
    /// at most half of `handshakes_max`.
    pub handshakes_trusted: usize,
    /// Links that were dialed to an endpoint. Default 1,024; one more is refused.
    pub links_max: usize,
    /// Of these, links of one identity, which several processes may share. Default 64; one more is refused. Should be well below `links_max`, so
    /// that nobody can take all places.
    pub peer_links_max: usize,
    /// How long a lane that was opened may be without a whole first frame. Default 5 s. Shorter, and a lane of a busy link is given up; longer, and
    /// lanes without content hold their places longer.
    pub first_frame: Duration,
    /// How long a frame may take from its first byte to its last. Default 20 s. Shorter, and a long answer over a slow link is given up; longer, and
    /// half frames hold their memory longer.
    pub frame: Duration,
    /// How long the other end may take nothing of an answer that is ready for it, or leave out the next frame of a long request. Default 10 s. Shorter, and
    /// who stalls for a moment loses an answer; longer, and who has stopped holds the places that its calls take for longer.
    pub stall: Duration,
}

/// Why limits do not fit together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// It would let nothing through.
    #[error("{name} must not be 0")]
    Zero {
        /// Which limit.
        name: &'static str,
    },
    /// It is beyond what it depends on.
    #[error("{name} must be at most {bound}")]
    Beyond {
        /// Which limit.
        name: &'static str,
        /// What bounds it.
        bound: &'static str,
    },
}

impl Default for TransportConfig {
    fn default() -> Self {
        Self {
            link_receive_bytes: 32 * MIB,
            lane_receive_bytes: 288 * 1024,
            link_send_bytes: 16 * MIB,
            calls_max: 256,
            idle: Duration::from_secs(15),
            keep_alive: Duration::from_secs(5),
            handshake: Duration::from_secs(5),
            handshakes_max: 256,
            handshakes_trusted: 32,
            links_max: 1_024,
            peer_links_max: 64,
            first_frame: Duration::from_secs(5),
            frame: Duration::from_secs(20),
            stall: Duration::from_secs(10),
        }
    }
}

impl TransportConfig {
    /// Checks that the limits fit together.
    ///
    /// # Errors
    /// [`ConfigError`] names the first that does not.
    pub fn check(&self) -> Result<(), ConfigError> {
        let counts = [
            ("link_receive_bytes", self.link_receive_bytes as usize),
            ("lane_receive_bytes", self.lane_receive_bytes as usize),
            ("link_send_bytes", self.link_send_bytes as usize),
            ("calls_max", self.calls_max as usize),
            ("handshakes_max", self.handshakes_max),
            ("links_max", self.links_max),
            ("peer_links_max", self.peer_links_max),
        ];
        let times = [
            ("idle", self.idle),
            ("keep_alive", self.keep_alive),
            ("handshake", self.handshake),
            ("first_frame", self.first_frame),
            ("frame", self.frame),
            ("stall", self.stall),
        ];
        let zero = counts.iter().find(|(_, count)| *count == 0).map(|(name, _)| *name);
        let zero = zero.or(times.iter().find(|(_, time)| time.as_millis() == 0).map(|(name, _)| *name));
        if let Some(name) = zero {
            return Err(ConfigError::Zero { name });
        }
        let pairs = [
            (self.lane_receive_bytes > self.link_receive_bytes, "lane_receive_bytes", "link_receive_bytes"),
            (self.keep_alive > self.idle / 2, "keep_alive", "half of idle"),
            (self.idle > IDLE_MAX, "idle", "an hour"),
            (self.handshakes_trusted > self.handshakes_max / 2, "handshakes_trusted", "half of handshakes_max"),
            (self.peer_links_max > self.links_max, "peer_links_max", "links_max"),
            (self.calls_max > CALLS_MAX, "calls_max", "65536"),
        ];
        match pairs.iter().find(|(is_beyond, ..)| *is_beyond) {
            Some((_, name, bound)) => Err(ConfigError::Beyond { name, bound }),
            None => Ok(()),
        }
    }

    /// The limits as QUIC has them, of an end that the other may open `both` lanes in both directions to, and `one` in one.
    pub(crate) fn quic(&self, both: u32, one: u32) -> quinn::TransportConfig {
        let idle = IdleTimeout::try_from(self.idle).expect("an hour is a time that QUIC can tell");
        let mut quic = quinn::TransportConfig::default();
        quic.max_concurrent_bidi_streams(VarInt::from_u32(both))
            .max_concurrent_uni_streams(VarInt::from_u32(one))
            .receive_window(VarInt::from_u32(self.link_receive_bytes))
            .stream_receive_window(VarInt::from_u32(self.lane_receive_bytes))
            .send_window(u64::from(self.link_send_bytes))
            .max_idle_timeout(Some(idle))
            .keep_alive_interval(Some(self.keep_alive))
            // Nothing is sent as a datagram.
            .datagram_receive_buffer_size(None)
            // What watchers on the way may learn of round trips is of no use to us.
            .allow_spin(false);
        quic
    }
}

const MIB: u32 = 1024 * 1024;

/// Far more than is sensible, and little enough for QUIC.
const IDLE_MAX: Duration = Duration::from_secs(3600);

/// With these many, frames that have begun may take 16 GiB of one link.
const CALLS_MAX: u32 = 65_536;

#[cfg(test)]
mod tests {
    use super::*;

    type Change = fn(&mut TransportConfig);

    #[test]
    fn the_defaults_fit_together() {
        assert_eq!(TransportConfig::default().check(), Ok(()));
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let cases: [(&str, Change); 16] = [
            ("link_receive_bytes", |config| config.link_receive_bytes = 0),
            ("lane_receive_bytes", |config| config.lane_receive_bytes = 0),
            ("lane_receive_bytes", |config| config.lane_receive_bytes = config.link_receive_bytes + 1),
            ("link_send_bytes", |config| config.link_send_bytes = 0),
            ("calls_max", |config| config.calls_max = 0),
            ("calls_max", |config| config.calls_max = CALLS_MAX + 1),
            ("handshakes_max", |config| config.handshakes_max = 0),
            ("handshakes_trusted", |config| config.handshakes_max = 63),
            ("links_max", |config| config.links_max = 0),
            ("peer_links_max", |config| config.peer_links_max = 1_025),
            ("idle", |config| config.idle = IDLE_MAX + Duration::from_millis(1)),
            ("keep_alive", |config| config.keep_alive = Duration::from_millis(7_501)),
            ("keep_alive", |config| config.keep_alive = Duration::ZERO),
            ("handshake", |config| config.handshake = Duration::ZERO),
            ("first_frame", |config| config.first_frame = Duration::ZERO),
            ("frame", |config| config.frame = Duration::from_micros(999)),
        ];
        for (wrong, change) in cases {
            let mut config = TransportConfig::default();
            change(&mut config);
            let told = match config.check().unwrap_err() {
                ConfigError::Zero { name } | ConfigError::Beyond { name, .. } => name,
            };
            assert_eq!(told, wrong);
        }
    }
}
