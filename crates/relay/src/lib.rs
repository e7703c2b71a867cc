//! The fan-out of one guild beside its sessions: cohorts, audiences, cursors.
//!
//! A [`Relay`] is fed a guild's events in order and lets each attached session hear exactly those that are for it, in order,
//! without duplicates, and filtered by the rights of its member as of each event. It keeps the guild's rights, the roles of the
//! members of its own sessions, and one ring of events; nothing is queued for a session. Sessions hear in one of two ways:
//!
//! - a [`Stream`] each, read by the session's own task without the relay ([`Relay::attach_stream`]);
//! - as a batch: one consumer reads (event, sessions) for all of them with a [`Batch`] ([`Relay::attach_batch`]).
//!
//! # Driving it
//!
//! 1. Make it from a view: [`Relay::new`] with the rights as of a position; it accepts the events that follow.
//! 2. Feed it: [`Relay::apply`] for every event. It adds the sessions that have to be woken to a list; [`SessionKey::index`] is
//!    small and dense, made for an index into the shell's wakers. If the feed has a hole, or an epoch opened uncleanly,
//!    [`Relay::resync`] from a newer view: every session is told a [`Gap`]. If the guild is gone by then, [`Relay::end_guild`].
//! 3. Attach and detach sessions with the position at which the owner accepted that. The relay may be behind or past it.
//! 4. A session that comes back, here or from another relay, hears on from the position it knows: [`Relay::resume_stream`]. A relay
//!    that is made with a past ([`Relay::with_past`]) can be come back to at once. Who may is shown by a [`Secret`].
//! 5. A session comes to listen at another [`Level`](guildhall_proto::Level) by [`Relay::set_level`], with the position at which the
//!    owner accepted that. Time comes in by [`Relay::tick`], from [`Relay::unread_due`] on: it makes the unread summaries.
//!    What is told beside the events goes in by [`Relay::tell`], which refuses what is ahead of the events applied: it is to be told
//!    again after them.
//! 6. A session's task repeats [`Stream::read`] while it says [`Read::More`]. At [`Read::Idle`] it calls [`Relay::wait`], and
//!    sleeps only if that says [`Wait::Waiting`]: from then on the first event for the session wakes it.
//! 7. The batch consumer calls [`Relay::fill`] and then [`Batch::read`] until that is idle, whenever events were applied.
//!
//! Only reading needs no access to the relay, so a shell that puts the relay behind a lock holds it for the short calls alone. A
//! task registers for being woken *before* it calls [`Relay::wait`].
//!
//! ```
//! use std::sync::Arc;
//!
//! use guildhall_permissions::Rights;
//! use guildhall_proto::{
//!     Event, EventKind, GuildId, GuildSettings, Level, Member, MemberFlags, Millis, Name, Nick, Permissions, Position, SessionId,
//!     Status, UserId,
//! };
//! use guildhall_relay::{Attach, Delivery, Read, Relay, RelayConfig, Wait};
//!
//! let (guild, ada) = (GuildId::new(1)?, UserId::new(7)?);
//! let settings = GuildSettings { name: Name::parse("Ada's")?, owner: ada };
//! let rights = Rights::new(guild, settings.clone(), Rights::everyone_role(guild, Permissions::VIEW_CHANNEL));
//! let member = Member {
//!     user: ada,
//!     nick: Nick::parse("Ada")?,
//!     roles: Vec::new(),
//!     joined_at: Millis(0),
//!     flags: MemberFlags::NONE,
//! };
//!
//! let at = Position::default();
//! let (mut relay, _batch) = Relay::new(RelayConfig::default(), rights, at);
//! let attach = Attach {
//!     session: SessionId::new(9)?,
//!     accepted: at,
//!     user: ada,
//!     roles: &member.roles,
//!     members: false,
//!     level: Level::Active,
//!     status: Status::Online,
//! };
//! let mut stream = relay.attach_stream(attach)?;
//! assert_eq!(relay.wait(&mut stream)?, Wait::Waiting);
//!
//! let renamed = GuildSettings { name: Name::parse("Ada and Bob's")?, owner: ada };
//! let kind = EventKind::GuildUpdated { before: settings, after: renamed };
//! let mut woken = Vec::new();
//! relay.apply(Arc::new(Event { position: at.next(), at: Millis(1), kind }), &mut woken)?;
//! assert_eq!(woken, [stream.key()]);
//!
//! let mut heard = Vec::new();
//! let read = stream.read(64, |delivery| match delivery {
//!     Delivery::Event(event) => heard.push(event.position),
//!     Delivery::Ephemeral(told) => println!("now: {:?}", told.kind),
//!     Delivery::Unread(unread) => println!("news in {:?}", unread.channels),
//!     Delivery::Gap(gap) => println!("resync from {}", gap.through),
//!     Delivery::Detached(reason) => println!("over: {reason:?}"),
//! });
//! assert_eq!((read, heard), (Read::Idle, vec![at.next()]));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Who hears what
//!
//! | Event | Heard by |
//! |---|---|
//! | message | who sees the channel; its publishing session only with echo |
//! | channel made, changed, deleted, overwrite changed | who sees the channel just before or just after it |
//! | channels reordered | who sees at least one of those listed; the others in the list are named by id and place only |
//! | guild and roles | everyone |
//! | one member joined, changed, left | that member's own sessions, and who asked for other members at attach |
//! | many members joined | who asked for other members at attach |
//!
//! The sessions of a member that left, and all of a deleted guild, hear that last, then [`DetachReason`].
//!
//! That is the active level. A passive session hears of these:
//!
//! | Event | Heard by a passive session |
//! |---|---|
//! | message | if it sees the channel and is called: its user, a role it holds as of then, everyone, or `here` unless its status is offline |
//! | guild, roles, channels, overwrites, many members joined | as an active one |
//! | one member joined, changed, left | if it is its own member |
//!
//! and, at most once in [`RelayConfig::unread_every`], an [`Unread`](guildhall_proto::Unread) summary: the channels whose latest
//! message since the summary before came while it was passive, and is one that an active session in its place would have heard, by
//! its rights as of that message. A summary has no number; it is told in order with the events around it. One that comes back is
//! told at once what was news while it was away.
//!
//! Beside the events, active sessions are told of now ([`Delivery::Ephemeral`]): that somebody types, those that see the channel and are
//! not the typist's own; that somebody is there or not, those that asked for other members. Of each subject a session hears the latest,
//! once, when it has read all events. It is decided by its rights as of the place between events where it was told; a stream whose rights
//! have changed since does not hear of typing before that. Nothing from before its attach, or from before a gap, is told.
//!
//! # Levels and gaps
//!
//! A level holds from the position at which the owner accepted it. A session that lags reads the ring of its old level up to there,
//! and that of its new level from there on, so that it loses nothing and hears nothing twice. What it has heard already stays heard:
//! if that is later than the position, the level holds from there. A session that had read on and becomes active hears again what it
//! passed by, filtered by its rights of then. [`Relay::set_level`] returns from where the level holds.
//!
//! A session is told a gap only if something for it has left the ring that it reads. One that lags and comes late to a change of
//! level, or to its end, may find that the ring it is to read there has passed that place: then it is not known what it lost, and it
//! is told a gap.
//!
//! # How it works, and what it costs
//!
//! Sessions with equal rights form a *cohort*. A channel's *audience* is a bitmap over cohorts, made at the first use after rights
//! changed and immutable from then on; channels with equal overwrites share one. A ring entry is an event, its audience, and the
//! sessions that change their cohort with it: so a reader that lags filters the past by past rights, from the ring alone. A
//! session attached at a position that the relay has passed gets its earlier cohorts from the events between (they carry before
//! and after), and an audience that is older than its cohort decides by the rule it was made from.
//!
//! Entries that can be for passive sessions are in the *slow ring* as well, with bounds of its own: it holds calls and changes of the
//! guild for far longer than a busy guild's messages stay in the other. Waiting sessions are listed by cohort and by how they listen.
//! A message leaves a note under its channel; a summary is one entry of the slow ring, made of these notes, in which each session
//! finds its own channels. Whoever changed cohort meanwhile is noted with the cohort before.
//!
//! | Operation | Cost |
//! |---|---|
//! | [`Relay::apply`] of a message | O(cohorts / 64 + sessions woken); nothing for sessions that are not waiting, or that are passive and not called |
//! | the same, if it calls users | O(their sessions) more; roles: O(cohorts with waiting passive sessions × roles called) |
//! | [`Relay::tell`] | O(log subjects + cohorts / 64 + waiting sessions that hear it) |
//! | [`Relay::tick`] | O(waiting passive sessions × channels with news) once in a summary's time |
//! | [`Relay::set_level`] | O(log entries of the slow ring); O(events since) if the session looks back |
//! | an audience | O(cohorts × roles held) when made, O(new cohorts) when new ones came |
//! | [`Stream::read`] | a load of the ring and one of what is told, then a bit test an entry, or a subject |
//! | [`Batch::read`] | O(cohorts / 64 + cohorts that hear it) an event, whatever the sessions |
//! | attach, detach, wait | O(log sessions); an attach in the past, or a resume, O(events between) |
//! | [`Relay::with_past`] | O(events of the past), once |
//! | memory | the ring's bytes, audiences among them; bitmaps by the most cohorts at a time, however many came and went |
//!
//! A session that comes back is attached in the past: it is no more than a cursor, and nothing is kept for one that is away. The
//! roles that its member holds now are taken back by the events between; a deleted role's holders are known from their records, until
//! the guild cleans them. What cannot be known lies under the gap that the session is told first.
//!
//! The mechanism (one shared run of events, per-reader cursors, an explicit gap) is that of the LMAX Disruptor and of Kafka's
//! consumers, with groups of equal rights in the place of partitions.
//!
//! # What it is not for
//!
//! It holds no members but its own sessions' and answers no question about the guild. It knows no clock, socket or thread; who is
//! woken, and how, is the shell's.

#![warn(missing_docs)]

mod audience;
mod batch;
mod bits;
mod cohort;
mod entry;
mod hearing;
mod news;
mod rare;
mod relay;
mod scan;
mod secret;
mod session;
mod slots;
mod stream;
mod told;

pub use batch::{Batch, BatchItem, BatchRead};
pub use guildhall_proto::SecretKey;
pub use relay::{Opened, Relay, RelayConfig};
pub use secret::{Claims, Secret, SecretError, SecretKeys};
pub use session::{
    ApplyError, Attach, AttachError, Delivery, DetachReason, Gap, ListenError, Read, Resume, ResumeError, SessionKey,
    StaleEpoch, StaleResync, TellError, UnknownSession, Wait,
};
pub use stream::Stream;
