//! A node over a store on a real disk that fills up: a small tmpfs, mounted where nobody else sees it.
//!
//! The test runs this binary again in a mount namespace of its own. Where the system allows none it says so and ends, unless it is the
//! root user of a CI run, who must be allowed one.

use std::collections::BTreeSet;
use std::env;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command as Process, Stdio};

use guildhall_node::{Counter, Delivery, SessionStream, SleepError};
use guildhall_proto::{CallError, Command, CommandError, GuildId, NewMember, Nick, Permissions, Position};
use guildhall_store::{Directory, EmbeddedConfig, Store};

use crate::durable::World;
use crate::world::{
    ADA, attach, attachment, message, name, new_member, number_of, poll_once, soon, until, until_async, user,
};

#[test]
fn whenever_a_disk_fills_up_only_what_is_durable_waits_and_it_goes_on_without_a_restart() {
    match env::var_os(MOUNTED) {
        Some(mount) => {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
            runtime.block_on(Box::pin(fill_and_free(Path::new(&mount))));
        }
        None => on_a_small_disk(
            "full_disk::whenever_a_disk_fills_up_only_what_is_durable_waits_and_it_goes_on_without_a_restart",
        ),
    }
}

async fn fill_and_free(mount: &Path) {
    let ballast = Ballast(mount.join("ballast"));
    let store = mount.join("store");
    let mut hall = Hall::open(&store, 1);
    hall.world.found(HOT, 10).await;
    hall.world.found(QUIET, 1_000).await;
    hall.world.found(ASLEEP, 10).await;
    let backend = hall.world.backend();
    let mut ada = attach(&backend, HOT, 1, ADA).await;
    soon(hall.world.sleep(ASLEEP)).await.unwrap();

    // Before a rotation of the records: what there is of segments takes some more, and then there is no next one.
    ballast.fill();
    hall.add_until_full(1).await;
    assert_eq!(hall.world.count(Counter::CheckpointsFailed), 0, "none was due");
    hall.all_else_goes_on(&mut ada).await;
    ballast.free();
    hall.add_once_there_is_room().await;

    // Before a guild falls asleep, and before the checkpoint of one that is in use.
    ballast.fill();
    hall.leave_no_room_for_checkpoints().await;
    let refused = hall.world.count(Counter::CheckpointsFailed);
    hall.add_until_full(1).await;
    until(|| hall.world.count(Counter::CheckpointsFailed) > refused).await;
    hall.all_else_goes_on(&mut ada).await;
    assert_eq!(soon(hall.world.view(QUIET)).await.unwrap().len(), 1_000);
    ballast.free();
    hall.add_once_there_is_room().await;
    until_async(async || hall.world.sleep(QUIET).await.is_ok()).await;

    // While an import is under way: it pauses where it is.
    hall.world.found(IMPORTING, 1).await;
    ballast.fill();
    hall.leave_no_room_for_checkpoints().await;
    let lines: Vec<_> = (2..=IMPORTED).map(newcomer).collect();
    let mut imports = Vec::new();
    for lines in lines.chunks(10_000) {
        let import = hall.world.operation(Command::ImportMembers(lines.to_vec()));
        imports.push(Box::pin(hall.world.begin(IMPORTING, import).unwrap().answer()));
    }
    until(|| !hall.world.durable.store().has_room()).await;
    hall.all_else_goes_on(&mut ada).await;
    let last = imports.last_mut().unwrap();
    assert!(poll_once(last).await.is_pending());
    let so_far = soon(hall.world.current_view(IMPORTING)).await.unwrap().len() as u64;
    assert!((2..IMPORTED).contains(&so_far), "{so_far} members");
    ballast.free();
    for import in imports {
        // Nobody calls: the owner looks for room.
        soon(import).await.unwrap();
    }
    assert_eq!(soon(hall.world.current_view(IMPORTING)).await.unwrap().len() as u64, IMPORTED);
    hall.add_once_there_is_room().await;

    // Stopped and started on the full disk.
    ballast.fill();
    hall.leave_no_room_for_checkpoints().await;
    hall.add_until_full(0).await;
    assert_eq!(hall.world.count(Counter::RetiredByStore), 0, "all guilds stayed loaded");
    soon(ada.detach()).await.unwrap();
    drop((ada, backend));
    let mut hall = hall.open_again(&store, 2).await;
    hall.is_all_there().await;
    hall.add_until_full(0).await;
    ballast.free();
    hall.add_once_there_is_room().await;
    let hall = hall.open_again(&store, 3).await;
    hall.is_all_there().await;
    assert_eq!(soon(hall.world.view(IMPORTING)).await.unwrap().len() as u64, IMPORTED);
    hall.world.stop().await.unwrap();
}

/// A node on the small disk, and the members of its guild that are there by all that was acknowledged.
struct Hall {
    world: World,
    members: BTreeSet<u64>,
    next: u64,
    messages: u64,
}

impl Hall {
    fn open(store: &Path, client: u64) -> Self {
        let config = EmbeddedConfig { segment_bytes: SEGMENT_BYTES, ..EmbeddedConfig::default() };
        let world = World::with(Directory::make(store).unwrap(), config, client, |config| {
            config.guild.checkpoints.changes_min = CHANGES_MIN;
        });
        Self { world, members: (1..=10).collect(), next: 100, messages: 0 }
    }

    /// Stops the node and its store, and starts the next over what they leave.
    async fn open_again(self, store: &Path, client: u64) -> Self {
        let Self { world, members, next, messages } = self;
        world.stop().await.unwrap();
        // The last jobs of the workers may hold the store for a moment more.
        until(|| Directory::make(store).is_ok()).await;
        Self { members, next, messages, ..Self::open(store, client) }
    }

    async fn add(&mut self) -> Result<(), CallError> {
        let new = self.next..self.next + ADDED;
        self.world.ask(HOT, Command::ImportMembers(new.clone().map(newcomer).collect())).await?;
        self.members.extend(new);
        self.next += ADDED;
        Ok(())
    }

    async fn say(&mut self, guild: GuildId) -> Position {
        self.messages += 1;
        self.world.ask(guild, message(self.messages)).await.unwrap().at()
    }

    /// Adds members until the disk is full, of whom some still find room.
    async fn add_until_full(&mut self, at_least: u64) {
        let before = self.next;
        let refused = loop {
            if let Err(refused) = self.add().await {
                break refused;
            }
            assert!(self.next - before < 200_000, "the disk is not full");
        };
        assert_eq!(refused, FULL);
        assert!(self.next - before >= at_least * ADDED);
        assert!(!self.world.durable.store().has_room());
    }

    async fn add_once_there_is_room(&mut self) {
        let hall = &*self;
        until_async(async || hall.world.durable.store().has_room()).await;
        self.add().await.unwrap();
    }

    /// Has a guild fall asleep and wake until its checkpoint finds no room: it stays awake then.
    async fn leave_no_room_for_checkpoints(&mut self) {
        for _ in 0..1_000 {
            self.say(QUIET).await;
            if let Err(refused) = soon(self.world.sleep(QUIET)).await {
                assert!(matches!(refused, SleepError::NotStored | SleepError::NoRoom), "{refused}");
                return;
            }
        }
        panic!("the disk is not full");
    }

    /// Everything but durable commands goes on.
    async fn all_else_goes_on(&mut self, ada: &mut SessionStream) {
        assert_eq!(self.world.ask(HOT, Command::AddMember(newcomer(self.next))).await, Err(FULL));
        let create = Command::CreateGuild { name: name("new"), everyone: Permissions::NONE, owner: new_member(ADA) };
        assert_eq!(self.world.ask(NEVER, create).await, Err(FULL));

        let mut at = self.say(HOT).await;
        loop {
            match soon(ada.next()).await.expect("the session goes on") {
                Delivery::Event(event) if number_of(&event) == Some(self.messages) => break,
                // Nobody listened while members were added: it may be told a gap, even up to the message.
                Delivery::Gap(gap) if gap.through >= at => at = self.say(HOT).await,
                Delivery::Event(_)
                | Delivery::Gap(_)
                | Delivery::Unread(_)
                | Delivery::Ephemeral(_)
                | Delivery::Detached(_) => {}
            }
        }
        self.is_all_there().await;

        let backend = self.world.backend();
        let mut other = soon(backend.attach(HOT, attachment(2, 2))).await.unwrap();
        soon(other.detach()).await.unwrap();

        // A guild that sleeps wakes.
        assert_eq!(soon(self.world.view(ASLEEP)).await.unwrap().len(), 10);
        assert_eq!(self.world.ask(ASLEEP, Command::AddMember(newcomer(11))).await, Err(FULL));
        self.say(ASLEEP).await;
    }

    async fn is_all_there(&self) {
        let view = soon(self.world.current_view(HOT)).await.unwrap();
        assert_eq!(view.len(), self.members.len());
        assert!(self.members.iter().all(|member| view.member(user(*member)).is_some()));
    }
}

/// What else lies on the disk.
struct Ballast(PathBuf);

impl Ballast {
    /// Takes all the room there is.
    fn fill(&self) {
        let mut file = File::options().create(true).append(true).open(&self.0).unwrap();
        for bytes in [64 * 1024, 512] {
            let refused = loop {
                if let Err(error) = file.write_all(&vec![0; bytes]) {
                    break error;
                }
            };
            assert_eq!(refused.kind(), io::ErrorKind::StorageFull, "{refused}");
        }
    }

    fn free(&self) {
        fs::remove_file(&self.0).unwrap();
    }
}

/// Runs a test of this binary again, alone, with a small disk of its own.
fn on_a_small_disk(test: &str) {
    let mount = tempfile::tempdir().unwrap();
    let within = |namespaces: &[&str], command: &[&str]| {
        let mut process = Process::new("unshare");
        process.args(namespaces).args(["--propagation", "private", "sh", "-c", MOUNT]).arg(mount.path()).args(command);
        process.env(MOUNTED, mount.path()).stdin(Stdio::null()).output()
    };
    let kinds: [&[&str]; 2] = [&["--user", "--map-root-user", "--mount"], &["--mount"]];
    let is_allowed = |kind: &&&[&str]| within(kind, &["true"]).is_ok_and(|output| output.status.success());
    let Some(namespaces) = kinds.iter().find(is_allowed) else {
        let must = env::var("CI").is_ok_and(|ci| ci == "true") && rustix::process::geteuid().is_root();
        assert!(!must, "root of a CI run may mount no tmpfs in a namespace of its own");
        eprintln!("NOT TESTED: no tmpfs may be mounted here in a namespace of its own, so no real disk fills up");
        return;
    };
    let binary = env::current_exe().unwrap();
    let command = [binary.to_str().unwrap(), "--exact", test, "--nocapture", "--test-threads=1"];
    let output = within(namespaces, &command).unwrap();
    let (said, failed) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && said.contains("1 passed"), "{said}{failed}");
    assert_eq!(fs::read_dir(mount.path()).unwrap().count(), 0, "nothing of it is seen outside");
}

fn newcomer(number: u64) -> NewMember {
    let nick = Nick::parse(&format!("who comes {number:022}")).unwrap();
    NewMember { nick, ..new_member(number) }
}

const fn numbered(guild: u64) -> GuildId {
    match GuildId::new(guild) {
        Ok(guild) => guild,
        Err(_) => panic!("a guild's number is above zero"),
    }
}

/// Mounts a small tmpfs at the first argument, and then is the command behind it.
const MOUNT: &str = r#"mount -t tmpfs -o size=48m tmpfs "$0" && exec "$@""#;
/// Where it is mounted, for the test that runs again.
const MOUNTED: &str = "GUILDHALL_TEST_SMALL_DISK";

/// The guild in use; its members are compared.
const HOT: GuildId = GuildId::MIN;
/// The guild that falls asleep.
const QUIET: GuildId = numbered(2);
/// The guild that sleeps until the disk is full.
const ASLEEP: GuildId = numbered(3);
/// The guild that members are imported into.
const IMPORTING: GuildId = numbered(4);
/// A guild that cannot be created.
const NEVER: GuildId = numbered(5);

const FULL: CallError = CallError::Refused(CommandError::StoreFull);
/// Two of them are taken at once by each log, and filled before the disk counts as full.
const SEGMENT_BYTES: u64 = 1024 * 1024;
/// Members added at once: one batch of an import, which either finds room or is refused.
const ADDED: u64 = 60;
/// More than fill the two segments of records once, less than fill them twice.
const CHANGES_MIN: u64 = 30_000;
/// More than two segments of records take.
const IMPORTED: u64 = 60_001;
