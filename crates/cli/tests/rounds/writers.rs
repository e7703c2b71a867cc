//! Those who change the guild and talk in it all the while, and what they were told.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use guildhall_client::proto::{Actor, ChannelId, Command, GuildId, Mentions, Payload, Position, Publish, UserId};
use guildhall_client::{Client, ClientError};
use tokio::task::JoinHandle;

use crate::{CHANNEL, GUILD, SESSIONS, new_member};

/// What was asked for, and what came of it.
#[derive(Debug, Default)]
pub(crate) struct Written {
    /// Users who were added, and where.
    pub(crate) members: BTreeMap<u64, Position>,
    /// Of whom nobody knows.
    pub(crate) doubtful: BTreeSet<u64>,
    /// Of whom it was answered that nothing happened, as their node was gone.
    pub(crate) refused: BTreeSet<u64>,
    /// Numbers of messages of which nobody knows: they are sent once.
    pub(crate) doubtful_messages: BTreeSet<u64>,
    /// Of those of which it was answered that nothing happened.
    pub(crate) refused_messages: BTreeSet<u64>,
    /// Numbers of messages, and where they stand.
    pub(crate) messages: BTreeMap<Position, u64>,
    /// What must not be answered.
    faults: Vec<ClientError>,
}

pub(crate) struct Writers {
    written: Arc<Mutex<Written>>,
    ended: Arc<AtomicBool>,
    tasks: Vec<JoinHandle<()>>,
}

impl Writers {
    pub(crate) fn begin(client: &Client) -> Self {
        let (written, ended) = (Arc::<Mutex<Written>>::default(), Arc::new(AtomicBool::new(false)));
        let next = Arc::new(AtomicU64::new(SESSIONS + 1));
        let mut tasks = Vec::new();
        for _ in 0..3 {
            let (client, written) = (client.clone(), Arc::clone(&written));
            let (ended, next) = (Arc::clone(&ended), Arc::clone(&next));
            tasks.push(tokio::spawn(async move {
                while !ended.load(Ordering::Relaxed) {
                    add(&client, next.fetch_add(1, Ordering::Relaxed), &written).await;
                }
            }));
        }
        let (client, of_talk, has_ended) = (client.clone(), Arc::clone(&written), Arc::clone(&ended));
        tasks.push(tokio::spawn(async move {
            let mut number = 0;
            while !has_ended.load(Ordering::Relaxed) {
                number += 1;
                say(&client, number, &of_talk).await;
            }
        }));
        Self { written, ended, tasks }
    }

    /// The members who were acknowledged by now.
    pub(crate) fn acknowledged(&self) -> Vec<u64> {
        self.written.lock().unwrap().members.keys().copied().collect()
    }

    /// Fails if something was answered that must not be.
    pub(crate) fn faults(&self) {
        let faults = &self.written.lock().unwrap().faults;
        assert!(faults.is_empty(), "{faults:?}");
    }

    pub(crate) async fn end(self) -> Written {
        self.faults();
        self.ended.store(true, Ordering::Relaxed);
        for task in self.tasks {
            task.await.unwrap();
        }
        std::mem::take(&mut *self.written.lock().unwrap())
    }
}

async fn add(client: &Client, user: u64, written: &Mutex<Written>) {
    let guild = client.guild(GuildId::new(GUILD).unwrap());
    let added = guild.call(Actor::System, Command::AddMember(new_member(user))).await;
    let mut written = written.lock().unwrap();
    match added {
        Ok(outcome) => drop(written.members.insert(user, outcome.at())),
        Err(ClientError::OutcomeUnknown) => drop(written.doubtful.insert(user)),
        Err(error) if is_of_an_end(&error) => drop(written.refused.insert(user)),
        Err(error) => written.faults.push(error),
    }
}

async fn say(client: &Client, number: u64, written: &Mutex<Written>) {
    let (channel, payload) = (ChannelId::new(CHANNEL).unwrap(), Payload::new(number.to_le_bytes().to_vec()).unwrap());
    let publish = Publish { channel, payload, mentions: Mentions::default(), session: None, echo: false };
    let guild = client.guild(GuildId::new(GUILD).unwrap());
    let said = guild.call(Actor::User(UserId::new(1).unwrap()), Command::Publish(publish)).await;
    let mut written = written.lock().unwrap();
    match said {
        Ok(outcome) => {
            let before = written.messages.insert(outcome.at(), number);
            assert_eq!(before, None, "two messages at {}", outcome.at());
        }
        Err(ClientError::OutcomeUnknown) => drop(written.doubtful_messages.insert(number)),
        Err(error) if is_of_an_end(&error) => drop(written.refused_messages.insert(number)),
        Err(error) => written.faults.push(error),
    }
}

/// Whether a client may be told so whose node is killed, and that nothing happened.
fn is_of_an_end(error: &ClientError) -> bool {
    matches!(error, ClientError::Unavailable | ClientError::Late | ClientError::Overloaded { .. })
}
