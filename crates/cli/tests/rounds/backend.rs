//! A backend as a process: this test's own binary, begun again with what it is to do in its environment.
//!
//! It attaches sessions, or has them come back, and writes a line for all that each hears: the session's number, what it is, and two or three numbers.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;
use std::{env, thread};

use guildhall_client::proto::{CallError, Epoch, EventKind, GuildId, Level, Position, Seq, SessionId, Status, UserId};
use guildhall_client::{Attach, AttachError, Backend, Client, Delivery, Gap, Resume, ResumeError, SessionStream};

use crate::ears::Ears;
use crate::{GUILD, SESSIONS, config};

/// One that runs.
pub(crate) struct Process {
    child: Child,
    lines: Receiver<String>,
}

impl Process {
    /// Begins one, with what sessions are to come back by; without, they are attached.
    pub(crate) fn begin(address: &str, credentials: &Path, tokens: &[String]) -> Self {
        let mut command = Command::new(env::current_exe().unwrap());
        command.args(["--exact", "--ignored", "--nocapture", "backend::a_process_that_is_begun_by_the_rounds"]);
        command.env("ROUNDS_ADDRESS", address).env("ROUNDS_CREDENTIALS", credentials);
        command.env("ROUNDS_TOKENS", tokens.join("\n"));
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let (to, lines) = channel();
        let out = BufReader::new(child.stdout.take().unwrap());
        thread::spawn(move || read(out, &to));
        Self { child, lines }
    }

    /// The next line.
    pub(crate) fn line(&mut self) -> String {
        self.lines.recv_timeout(PATIENCE).unwrap_or_else(|error| panic!("nothing more is heard: {error}"))
    }

    /// Kills it, and has heard what it had written before.
    pub(crate) fn kill(mut self, ears: &mut Ears) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        loop {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(line) => ears.take(&line),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => panic!("it was killed, and still writes"),
            }
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Where a test has failed before it killed it.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Takes whole lines: of the last one a kill may leave a part.
fn read(mut out: BufReader<ChildStdout>, to: &std::sync::mpsc::Sender<String>) {
    let mut line = String::new();
    while out.read_line(&mut line).is_ok_and(|read| read > 0) && line.ends_with('\n') {
        if let Some(line) = line.strip_prefix(MARK)
            && to.send(line.trim_end().to_owned()).is_err()
        {
            return;
        }
        line.clear();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "the rounds begin it, in a process of its own"]
async fn a_process_that_is_begun_by_the_rounds() {
    let told = |name| env::var(name).expect("it is begun by the rounds alone");
    let config = config(&told("ROUNDS_ADDRESS"), Path::new(&told("ROUNDS_CREDENTIALS")));
    let tokens = told("ROUNDS_TOKENS");
    let client = Client::connect(config).await.unwrap();
    let backend = client.backend().unwrap();
    let tokens: Vec<Option<&str>> = match tokens.as_str() {
        "" => vec![None; SESSIONS as usize],
        tokens => tokens.lines().map(Some).collect(),
    };
    let mut sessions = Vec::new();
    for (number, token) in (1..).zip(tokens) {
        if let Some(session) = begun(&backend, number, token).await {
            sessions.push(tokio::spawn(listen(session, number)));
        }
    }
    for session in sessions {
        session.await.unwrap();
    }
    // It ends with its process.
    std::future::pending::<()>().await;
}

async fn begun(backend: &Backend, number: u64, token: Option<&str>) -> Option<SessionStream> {
    let (session, user) = (SessionId::new(number).unwrap(), UserId::new(number).unwrap());
    let attach = Attach { session, user, status: Status::Online, members: true, level: Level::Active };
    let guild = GuildId::new(GUILD).unwrap();
    let Some(token) = token else {
        let session = backend.attach(guild, attach).await.unwrap();
        said(&session, number, "attached");
        return Some(session);
    };
    let [secret, epoch, seq] = token.split(' ').collect::<Vec<_>>()[..] else { panic!("{token}") };
    let known = Position { epoch: Epoch(epoch.parse().unwrap()), seq: Seq(seq.parse().unwrap()) };
    match backend.resume(guild, Resume { attach, secret: secret.parse().unwrap(), known }).await {
        Ok(resumed) => {
            // What it is told first is heard by it too.
            said(&resumed.session, number, "resumed");
            Some(resumed.session)
        }
        Err(ResumeError::Attach(AttachError::Call(CallError::Refused(why)))) => {
            println!("{MARK}{number} refused {why:?}");
            None
        }
        Err(error) => panic!("the session {number} neither comes back nor is told that it cannot: {error}"),
    }
}

async fn listen(mut session: SessionStream, number: u64) {
    while let Some(delivery) = session.next().await {
        match delivery {
            Delivery::Event(event) => {
                let Position { epoch, seq } = event.position;
                let message = if let EventKind::MessagePublished(message) = &event.kind {
                    u64::from_le_bytes(message.payload.bytes()[..].try_into().unwrap())
                } else {
                    0
                };
                say(number, "event", &[epoch.0, seq.0, message]);
            }
            Delivery::Gap(Gap { after, through }) => {
                say(number, "gap", &[through.epoch.0, through.seq.0, after.epoch.0, after.seq.0]);
            }
            Delivery::Ephemeral(_) | Delivery::Unread(_) => {}
            Delivery::Detached(reason) => println!("{MARK}{number} detached {reason:?}"),
        }
    }
}

fn said(session: &SessionStream, number: u64, what: &str) {
    let Position { epoch, seq } = session.known();
    println!("{MARK}{number} {what} {} {} {}", epoch.0, seq.0, session.secret());
}

fn say(number: u64, what: &str, numbers: &[u64]) {
    let numbers: Vec<String> = numbers.iter().map(u64::to_string).collect();
    println!("{MARK}{number} {what} {}", numbers.join(" "));
}

/// How long the rounds wait for a line.
const PATIENCE: Duration = Duration::from_secs(60);
/// Tells its lines from those of whatever runs tests.
const MARK: &str = "@";
