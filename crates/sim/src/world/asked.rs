//! What the workload asks for, carried out.

use guildhall_proto::SessionId;

use super::backend::{Coming, Errand};
use super::message::Happening;
use super::wire::Host;
use super::{What, World};
use crate::check::Breach;
use crate::workload::{Doing, Known, KnownStage};

impl World {
    /// Asks the workload what comes next, and does that.
    pub(super) fn ask_workload(&mut self) -> Result<(), Breach> {
        if self.is_healed {
            return Ok(());
        }
        let mut doings = Vec::new();
        let known = Known {
            guilds: &self.guilds,
            backends: self.backends.len(),
            chronicle: &self.watch.ledger.chronicle,
            calls_open: &self.callers.open,
            sessions: &self.sessions,
            fresh: &self.fresh,
        };
        let now = self.wire.clock();
        let next = self.workload.next(now, &mut self.workload_dice, &known, &mut doings);
        for doing in doings {
            self.watch.digest.note(3);
            self.remember(What::Asked(doing.clone()));
            self.carry_out(doing)?;
        }
        if let Some(after) = next {
            self.wire.later(after, Happening::Workload);
        }
        Ok(())
    }

    fn carry_out(&mut self, doing: Doing) -> Result<(), Breach> {
        match doing {
            Doing::Call { guild, actor, command, id } => return self.call(guild, actor, command, id),
            Doing::Retry { guild, nth_last } => return self.retry(guild, nth_last),
            Doing::Read { guild, user } => return self.read(guild, user),
            Doing::Type { guild, user, channel } => return self.typing(guild, user, channel),
            Doing::Attach { session, guild, user, backend, way, level, status, members } => {
                let backend = backend % self.backends.len();
                if !self.sessions.contains_key(&session) {
                    let coming = Coming { session, guild, user, way, members, level, status };
                    return self.take_seat(backend, coming, Errand::Attach, None);
                }
            }
            Doing::Detach(session) => return self.leave(session),
            Doing::Evict { guild, session, user } => return self.evict(guild, session, user),
            Doing::Cut(session) => self.cut_session(session),
            Doing::Resume { session, proof, backend, level, status } => {
                return self.resume(session, proof, backend % self.backends.len(), level, status);
            }
            Doing::SetLevel(session, level) => return self.ask_served(session, Errand::SetLevel(level)),
            Doing::SetStatus(session, status) => return self.ask_served(session, Errand::SetStatus(status)),
            Doing::Pace(session, pace) => {
                if let Some(known) = self.sessions.get_mut(&session) {
                    known.pace = pace;
                    let (backend, seat) = (known.backend, self.holdings[&session].seat);
                    self.set_pace(backend, seat, pace);
                }
            }
            Doing::Move { guild, to } => {
                let nodes = self.nodes_of(self.machine_of(guild));
                let to = to.map(|to| nodes[usize::try_from(to).unwrap_or(0) % nodes.len()]);
                return self.place_guild(guild, to);
            }
            Doing::CutLink { guild, backend } => {
                let client = backend.map_or(Host::Callers, |backend| Host::Backend(backend % self.backends.len()));
                if let Some(node) = self.placed(guild) {
                    self.watch.seen.links_cut += 1;
                    self.wire.cut(client, node, false);
                }
            }
            Doing::Retire { guild } => return self.retire(guild),
        }
        Ok(())
    }

    fn ask_served(&mut self, session: SessionId, errand: Errand) -> Result<(), Breach> {
        match self.sessions.get(&session) {
            Some(known) if known.stage == KnownStage::Served => {
                let (backend, seat) = (known.backend, self.holdings[&session].seat);
                self.ask_seat(backend, seat, errand)
            }
            Some(_) | None => Ok(()),
        }
    }
}
