//! Who decides who is alive and who owns what: one trait, whatever lies behind it.
//!
//! A coordinator has one placement in force. Reading it never waits; changing it may. What changed is not sent to anybody: a *bell* is rung, and
//! whoever hears it takes the placement that is in force by then, and holds it against the one it had. So nothing is queued for a reader that
//! lags, no history is kept for it, and the last word is never lost. It needs no runtime either: a bell is a plain call, which a shell
//! makes into whatever its tasks wait for, and a simulation into an entry of its queue.

use std::sync::Weak;

use guildhall_proto::{GuildId, Instance, NodeId};

use crate::{Joined, Left, Peer, Place, Placement, UnknownNode};

/// Called after a change, on the thread that made it: it must not wait, and may call the coordinator.
pub type Bell = dyn Fn() + Send + Sync;

/// Keeps the placement of a cluster.
///
/// # Watching it
/// Register the bell first, then look: what came before that is in what you see.
pub trait Coordinator: Send + Sync + 'static {
    /// The placement in force: of any two looks of one thread the later is at the same revision or a higher one. Never waits.
    fn placement(&self) -> Placement;

    /// Has `bell` rung after every change, for as long as it lives.
    fn watch(&self, bell: Weak<Bell>);

    /// A node is alive, in this run. May wait.
    fn join(&self, node: NodeId, peer: Peer) -> Joined;

    /// A run of a node is over: told by itself when it stops, or by who has seen that it is dead. May wait.
    fn leave(&self, node: NodeId, instance: Instance) -> Left;

    /// Places one guild by itself. May wait.
    ///
    /// # Errors
    /// [`UnknownNode`]; nothing changed.
    fn pin(&self, guild: GuildId, node: NodeId) -> Result<Place, UnknownNode>;

    /// Places a guild with its shard again; `None` while no node is alive. May wait.
    fn unpin(&self, guild: GuildId) -> Option<Place>;
}
