//! A node's part in a cluster: which guilds are its to own, and by whose leave.
//!
//! Before a guild is claimed the placement in force is looked at: one that is to be elsewhere is not, and its callers are told where. When the
//! placement changes, the owners of guilds that are to be elsewhere end as at a stop: they let out what they have accepted, hand the store a last
//! checkpoint, and who waits asks again, which leads to the next node. That one may claim a guild before it has ended here; then the store takes
//! nothing more from here, and what is durable retires the guild. So the placement says who may try, and the store alone who may write.
//!
//! An owner also ends if the guild is to be here, but by another leave than it was claimed by: it may have been elsewhere meanwhile, and another may have
//! claimed it there, or yet claim it by a leave that was given between. The next owner here claims by the leave in force, which shuts all those out.

use std::fmt;
use std::sync::Arc;

use guildhall_cluster::{Bell, Coordinator, Leave, Placement};
use guildhall_proto::{CallError, Grant, GuildId, Instance, NodeId};
use tokio::sync::{Semaphore, watch};

use crate::live::{Control, Live, NoReply};
use crate::registry::{LEAVING_MAX, Places};

/// Which node this is of a cluster, and who says what it may own.
#[derive(Clone)]
pub struct Membership {
    /// Which node.
    pub node: NodeId,
    /// Which run of it.
    pub instance: Instance,
    /// Who keeps the placement. The node owns nothing before it has [joined](Coordinator::join) there, or after it was said to have left.
    pub coordinator: Arc<dyn Coordinator>,
}

/// Where guilds are to be, for one node.
#[derive(Debug, Clone)]
pub(crate) enum Whereabouts {
    /// The node is alone: all are here.
    Here,
    Placed(Membership),
}

/// As long as it is held, guilds end here that are to be elsewhere.
pub(crate) struct Watching {
    _bell: Option<Arc<Bell>>,
}

impl Whereabouts {
    /// The leave to claim a guild.
    ///
    /// # Errors
    /// `Moved` if it is to be elsewhere; `Unavailable` if no node is to have it, or a later run of this one is there.
    pub(crate) fn grant(&self, guild: GuildId) -> Result<Grant, CallError> {
        match self {
            Self::Here => Ok(Grant::default()),
            Self::Placed(own) => own.grant(&own.coordinator.placement(), guild),
        }
    }

    /// That a guild is to be here, and by the leave that it was claimed by.
    ///
    /// # Errors
    /// As [`grant`](Self::grant); `Unavailable` if there is another leave.
    pub(crate) fn require(&self, live: &Live) -> Result<(), CallError> {
        match self {
            Self::Here => Ok(()),
            Self::Placed(own) => own.require(&own.coordinator.placement(), live),
        }
    }

    /// Has owners end whose guilds are to be elsewhere, whenever the placement changes. Must be called within a tokio runtime.
    pub(crate) fn watch(&self, places: Arc<Places>) -> Watching {
        let Self::Placed(own) = self else {
            return Watching { _bell: None };
        };
        let (ring, rung) = watch::channel(());
        let bell: Arc<Bell> = Arc::new(move || ring.send_replace(()));
        own.coordinator.watch(Arc::downgrade(&bell));
        tokio::spawn(leave_what_is_elsewhere(own.clone(), places, rung));
        Watching { _bell: Some(bell) }
    }
}

impl Membership {
    fn grant(&self, placement: &Placement, guild: GuildId) -> Result<Grant, CallError> {
        granted(placement.leave_to(guild, self.node, self.instance))
    }

    fn require(&self, placement: &Placement, live: &Live) -> Result<(), CallError> {
        let leave = placement.leave_to(live.guild, self.node, self.instance);
        match leave.is_for(live.grant) {
            true => Ok(()),
            false => Err(granted(leave).err().unwrap_or_else(|| unplaced("the guild was placed anew"))),
        }
    }
}

/// Ends with the bell that rings. All that is elsewhere is closed at once; a few at a time are waited for, and nobody waits for them here.
async fn leave_what_is_elsewhere(own: Membership, places: Arc<Places>, mut rung: watch::Receiver<()>) {
    let leaving = Arc::new(Semaphore::new(LEAVING_MAX));
    while rung.changed().await.is_ok() {
        let placement = own.coordinator.placement();
        for awake in places.awake_by_shard() {
            for live in awake.into_iter().filter(|live| own.require(&placement, live).is_err()) {
                // Told before, it has nothing more to be told.
                if !live.mailbox.is_closed() {
                    live.mailbox.post_control(Control::Stop(NoReply::Unhandled));
                    tokio::spawn(leave(live, Arc::clone(&leaving)));
                }
            }
            // A shard is some hundred microseconds' work.
            tokio::task::yield_now().await;
        }
    }
}

async fn leave(live: Arc<Live>, leaving: Arc<Semaphore>) {
    let _place = leaving.acquire().await.expect("the semaphore is never closed");
    live.leave().await;
}

fn granted(leave: Leave) -> Result<Grant, CallError> {
    match leave {
        Leave::Given(grant) => Ok(grant),
        Leave::Elsewhere(place) => Err(CallError::Moved { node: place.node, grant: place.grant }),
        Leave::Outlived => Err(unplaced("a later run of this node has its guilds")),
        Leave::Nowhere => Err(unplaced("no node of the cluster is alive")),
    }
}

fn unplaced(reason: &str) -> CallError {
    CallError::Unavailable { reason: reason.into() }
}

impl fmt::Debug for Membership {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Membership").field("node", &self.node).field("instance", &self.instance).finish_non_exhaustive()
    }
}
