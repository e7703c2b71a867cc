//! What a client should know of where guilds are, and how much it may have repeated: kept naively beside the machines, and held against what
//! they do.

use std::collections::BTreeMap;

use guildhall_cluster::{BudgetConfig, Input, Place, Routes, RoutesConfig, Step};
use guildhall_proto::{GuildId, NodeId};

use crate::check::{Breach, Promise};
use crate::queue::Micros;

#[derive(Debug)]
pub(super) struct Naive {
    routes: RoutesConfig,
    budget: BudgetConfig,
    since: Micros,
    words: BTreeMap<GuildId, Word>,
    begun: u64,
    repeated: u64,
}

/// Of one guild.
#[derive(Debug, Default, Clone, Copy)]
struct Word {
    /// What was said under the highest grant.
    said: Option<Place>,
    /// Whether the link to who has it by that has ended since.
    is_doubted: bool,
    /// Who has answered for it since that is so, or since nothing was said.
    seen: Option<NodeId>,
}

impl Word {
    fn doubt(&mut self, node: NodeId) {
        self.is_doubted |= self.said.is_some_and(|said| said.node == node);
        self.seen = self.seen.filter(|seen| *seen != node);
    }
}

impl Naive {
    pub(super) const fn new(routes: RoutesConfig, budget: BudgetConfig, since: Micros) -> Self {
        Self { routes, budget, since, words: BTreeMap::new(), begun: 0, repeated: 0 }
    }

    pub(super) fn begins(&mut self) {
        self.begun += 1;
    }

    /// A call is sent again, or will be, that has cost a node something: promise 7 of what a client repeats.
    pub(super) fn repeats(&mut self, now: Micros) -> Result<(), Breach> {
        self.repeated += 1;
        let BudgetConfig { percent, per_second, burst } = self.budget;
        let micros = now.0 - self.since.0;
        let most =
            u64::from(burst) + self.begun * u64::from(percent) / 100 + micros * u64::from(per_second) / 1_000_000;
        Promise::Bounds.require(self.repeated <= most + 1, || {
            format!("a client has repeated {} of {} calls in {micros} µs: {:?}", self.repeated, self.begun, self.budget)
        })
    }

    /// Takes what a call is told. Whether it is word that is older than what is known.
    pub(super) fn hears(&mut self, guild: GuildId, from: Option<NodeId>, input: Input) -> bool {
        match (input, from) {
            (Input::Moved(place), Some(from)) => {
                let word = self.words.entry(guild).or_default();
                word.seen = word.seen.filter(|seen| *seen != from);
                if word.said.is_some_and(|said| place != said && place.grant <= said.grant) {
                    return true;
                }
                *word = Word { said: Some(place), ..Word::default() };
            }
            (Input::Answered, Some(from)) => {
                let word = self.words.entry(guild).or_default();
                if word.said.is_none() || word.is_doubted {
                    word.seen = Some(from);
                }
            }
            (..) => {}
        }
        false
    }

    pub(super) fn doubts(&mut self, node: NodeId) {
        self.words.values_mut().for_each(|word| word.doubt(node));
    }

    pub(super) fn doubts_of(&mut self, guild: GuildId, node: NodeId) {
        if let Some(word) = self.words.get_mut(&guild) {
            word.doubt(node);
        }
    }

    /// A call goes where its guild is by the best that is known, and asks where nothing is.
    pub(super) fn check(
        &self,
        guild: GuildId,
        input: Option<Input>,
        step: Step,
        routes: &Routes,
    ) -> Result<(), Breach> {
        Promise::Bounds.require(routes.len() <= self.routes.entries_max, || {
            format!("a client knows of {} guilds, and may of {}", routes.len(), self.routes.entries_max)
        })?;
        // What it has forgotten for want of room it asks for anew.
        let is_whole = self.words.len() <= self.routes.entries_max;
        let goes = match step {
            Step::Send(node) if !matches!(input, Some(Input::Chosen(_))) => Some(node),
            Step::Ask => None,
            Step::Send(_) | Step::Wait | Step::Done | Step::GiveUp(_) => return Ok(()),
        };
        let word = self.words.get(&guild).copied().unwrap_or_default();
        let leads = word.said.filter(|_| !word.is_doubted).map(|said| said.node).or(word.seen);
        Promise::Ways.require(goes == leads || !is_whole, || {
            format!(
                "a call to guild {guild} goes to {goes:?} behind {input:?}, and is known to be at {leads:?}: {word:?}"
            )
        })
    }
}
