//! Guildhall in one thread, from one seed: virtual time, a simulated disk and network, and checks that watch it.
//!
//! A run is made from a [plan](run::Plan): a seed, a [workload], a [plan of faults](faults). It is a world of machines with their
//! stores on disks in memory, nodes with owners, backends with relays and sessions, and callers, over one queue of happenings; the
//! [checks](check) look at whatever leaves a host. [`run`](run::run) gives a [report](run::Report).
//!
//! What waits is bounded (promise 7), and each bound is held against what the product says it holds, or the disk: rings, keep-latest
//! maps, turns that wait for the store, changes that wait for a fold, what waits for a relay, kept outcomes, whole-guild changes, and the two
//! logs. Some runs draw bounds that are small, or folds that are slow, so that each is met.
//!
//! A run's digest is made of what is let out and heard: events, answers, what is told and unread summaries with all that they say, views
//! by their members' digest. Of an event that is heard it takes the position alone, for the ears hold the event against the one that was let
//! out there.
//!
//! What is asked of a guild is a call of some client, driven by the machines of `guildhall_cluster` over links that end when they like. The
//! nodes of a machine share its store and are a cluster of their own, with the coordinator that the store gives; a guild is moved among them.
//!
//! # How to read a violation
//!
//! ```text
//! seed 33, step 8201: promise 4 (Order): session:1000222 of user:4203543430 in guild:1 waits at 3.158, and was not told its end
//!        886765 µs  Pause
//!        …
//! shrunk to 7310 steps by --seed 33 --steps 5400 --workload mixed --faults mixed --without kill,slow-disk: promise 4 (Order): …
//! ```
//!
//! The first line says which promise of the design was broken (11 is liveness, 12 a panic, 13 where calls go), by whom, and at which position `epoch.seq`.
//! Then comes what was asked and what went wrong before it, in virtual microseconds. The last line is the shortest run found that breaks the same
//! promise: nothing of a run hangs on the machine, so with these arguments the binary runs it again, with whatever is printed along the
//! way. A seed that has found something is kept in `tests/seeds`: its arguments, with a line that says what. But what a seed does shifts
//! with each change of a host or a workload, so the fault itself is kept too: one of the product as a unit test or a seeded defect, one of
//! a check as a test beside that.
//!
//! # A workload in 30 lines
//!
//! A [`Workload`](workload::Workload) is asked again and again what happens next. A [`Scene`](workload::Scene) has short ways to pick
//! among what is known and to say what happens; a [`Town`](workload::Town) founds a guild with roles, channels and members. What has no
//! short way is a [`Doing`](workload::Doing).
//!
//! ```
//! use guildhall_proto::{Command, Millis, OverwriteTarget, Permissions};
//! use guildhall_sim::dice::Dice;
//! use guildhall_sim::queue::Micros;
//! use guildhall_sim::run::{Plan, run_workload};
//! use guildhall_sim::workload::{Doing, Known, Scene, Town, Workload, town};
//!
//! /// Guests are let into channels and shut out again, while others talk there.
//! struct Doorman {
//!     town: Town,
//! }
//!
//! impl Workload for Doorman {
//!     fn name(&self) -> &'static str {
//!         "doorman"
//!     }
//!
//!     fn next(&mut self, now: Millis, dice: &mut Dice, known: &Known<'_>, doings: &mut Vec<Doing>) -> Option<Micros> {
//!         let mut scene = Scene { now, dice, known, doings };
//!         // Until the guild is there, what it lacks is asked for.
//!         let Some((guild, known)) = scene.settled(&mut self.town) else { return Some(Micros::millis(20)) };
//!         scene.keep_listening(guild, known, 20);
//!         if scene.dice.one_in(4) {
//!             let (channel, guest) = (scene.channel(known), OverwriteTarget::User(scene.listener(guild, known)));
//!             let overwrite = if scene.dice.one_in(2) { town::allow } else { town::deny };
//!             scene.ask(guild, Command::SetOverwrite { channel, overwrite: overwrite(guest, Permissions::VIEW_CHANNEL) });
//!         } else {
//!             scene.say(guild, known);
//!         }
//!         Some(Micros(scene.dice.below(10_000))) // Until it is asked again.
//!     }
//! }
//!
//! let doorman = Doorman { town: Town::ordinary(0, &mut Dice::new(1)) };
//! let plan = Plan { seed: 1, steps: 2_000, workload: "doorman".into(), faults: "none".into(), without: vec![] };
//! let report = run_workload(&plan, Box::new(doorman))?;
//! assert_eq!(report.breach, None);
//! assert!(report.seen.heard > 0);
//! # Ok::<(), guildhall_sim::run::PlanError>(())
//! ```
//!
//! To be asked for by name it gets a line in the table at the end of `src/workload.rs`, and a test beside it that counts that it reaches
//! what it is for.

#![warn(missing_docs)]

pub mod check;
#[cfg(feature = "defects")]
pub mod defects;
pub mod dice;
pub mod faults;
pub mod model;
pub mod queue;
pub mod run;
pub mod seen;
pub mod shrink;
pub mod workload;
mod world;
