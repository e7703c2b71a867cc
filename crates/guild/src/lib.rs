//! The guild state machine: inputs in, effects out.
//!
//! A [`Guild`] is one community's live state. [`Guild::handle`] applies one [`Input`] and appends, in order, the [`Effect`]s that
//! the shell must perform; it reads no clock, waits for nothing, and gives the same effects for the same inputs on any node. What
//! a turn of inputs has produced passes the [`Gate`], which lets events, answers and the view out in order, and not before the
//! turn's records are stored.
//!
//! To drive a guild, a shell repeats: hand over inputs; let the guild proceed; start the offload jobs that the effects name; [`Gate::admit`] the turn;
//! store its records; [`Gate::settle`] it when they are stored; perform all that [`Gate::release`] lets out.
//!
//! Whole-guild changes (prunes, imports) are spread over turns: while [`Guild::has_work`], the shell calls [`Guild::proceed`] once a
//! turn, beside the inputs that come meanwhile; the answer comes with the last batch.
//!
//! Typing and changes of presence are no events: they bear the position at which they were accepted, and go into a keep-latest map
//! beside the ring ([`Tell`]), before the events of their turn go into the ring.
//!
//! A command becomes an event in one place (`decide`), an event changes the state in one place (`apply`), and recovery from
//! records takes the second half of that way: [`Guild::replay`].
//!
//! ```
//! use guildhall_guild::{Answer, Call, CallId, Effect, Guild, GuildConfig, Input, Operation, Reply};
//! use guildhall_proto::{
//!     Actor, ClientId, Command, Epoch, GuildId, MemberFlags, Millis, Name, NewMember, Nick, OpId, Permissions, UserId,
//! };
//!
//! let mut guild = Guild::new(GuildConfig::default(), GuildId::new(1)?, Epoch(1));
//! let now = Millis(1_700_000_000_000);
//! let ada = NewMember { user: UserId::new(7)?, nick: Nick::parse("Ada")?, roles: vec![], flags: MemberFlags::NONE };
//! let op = OpId { client: ClientId::new(1)?, counter: 1, issued_at: now };
//! let create = Command::CreateGuild { name: Name::parse("Ada's")?, everyone: Permissions::VIEW_CHANNEL, owner: ada };
//! let call = Call { id: CallId(1), operation: Operation::new(op, Actor::System, create)? };
//!
//! let mut effects = Vec::new();
//! guild.handle(now, Input::Command(call), &mut effects);
//!
//! // Recorded before anyone hears of it; answered last.
//! assert!(matches!(&effects[..], [Effect::Record(_), Effect::Append(_), Effect::Answer(CallId(1), Ok(Reply::Outcome(_)))]));
//! assert_eq!(guild.view().expect("the guild was created").len(), 1);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Not for: tasks, timers, queues, storage (the node's); fan-out (the relay's).

#![warn(missing_docs)]

mod apply;
mod decide;
mod effect;
mod forsaken;
mod gate;
mod guild;
mod input;
mod operations;
mod saving;
mod scan;
mod sessions;
mod snapshot;
mod spread;
mod work;

pub use effect::{Answer, Effect, Tell};
pub use gate::{Admitted, Gate, Outcomes, TurnId};
pub use guild::{Guild, GuildConfig, Purpose, RecoverError};
pub use guildhall_proto::{Attached, Reply, SessionRequest};
pub use input::{Call, CallId, Input, Operation, SessionCall, SponsorGone, TypingCall};
pub use saving::CheckpointConfig;
pub use scan::{ScanJob, Scanned};
pub use snapshot::{Checkpoint, StructureSeed};
