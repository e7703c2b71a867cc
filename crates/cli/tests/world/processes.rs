//! Nodes as processes of the built binary, and those who ask them, in one line each.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

/// A directory with an authority, and an operator.
pub(crate) struct World {
    pub(crate) dir: TempDir,
}

/// A node that runs, and who asks it.
pub(crate) struct Node<'a> {
    world: &'a World,
    pub(crate) child: Child,
    pub(crate) ready: Value,
    /// Held, so that it may write.
    _told: BufReader<ChildStdout>,
}

impl World {
    pub(crate) fn new() -> Self {
        let world = Self { dir: TempDir::new().unwrap() };
        world.succeed(&["pki", "init", "--cluster", "main", "--to", world.path("authority").to_str().unwrap()]);
        world.issue("operator", "ada", "authority", "operator");
        world
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn config(&self, name: &str) -> PathBuf {
        self.path(&format!("{name}.toml"))
    }

    pub(crate) fn issue(&self, role: &str, name: &str, authority: &str, to: &str) {
        let (authority, to) = (self.path(authority), self.path(to));
        let (authority, to) = (authority.to_str().unwrap(), to.to_str().unwrap());
        self.succeed(&["pki", "issue", role, name, "--authority", authority, "--to", to]);
    }

    /// The configuration of a node, with its certificate.
    pub(crate) fn prepare(&self, name: &str) -> PathBuf {
        let (credentials, config) = (format!("node-{name}"), self.config(name));
        if !config.exists() {
            self.issue("guild-node", name, "authority", &credentials);
            fs::create_dir(self.path(name)).unwrap();
            let text = format!("listen = \"127.0.0.1:0\"\ndata = \"{name}/data\"\ncredentials = \"{credentials}\"\n");
            fs::write(&config, text).unwrap();
        }
        config
    }

    /// Starts a node and waits until it is ready.
    pub(crate) fn serve(&self, name: &str) -> Node<'_> {
        self.started(binary(&["serve", "--config", self.prepare(name).to_str().unwrap()]))
    }

    /// The same, with its log as JSON in this file.
    pub(crate) fn serve_logged(&self, name: &str, log: &Path) -> Node<'_> {
        let mut command = binary(&["serve", "--config", self.prepare(name).to_str().unwrap(), "--log", "json"]);
        command.stderr(fs::File::create(log).unwrap());
        self.started(command)
    }

    fn started(&self, mut command: Command) -> Node<'_> {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let mut told = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        told.read_line(&mut line).unwrap();
        let ready = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"));
        Node { world: self, child, ready, _told: told }
    }

    pub(crate) fn succeed(&self, args: &[&str]) -> String {
        succeeded(args, self.guildhall(args))
    }

    pub(crate) fn guildhall(&self, args: &[&str]) -> Output {
        binary(args).current_dir(&self.dir).stdin(Stdio::null()).output().unwrap()
    }
}

impl Node<'_> {
    pub(crate) fn json(&self, args: &[&str]) -> Value {
        serde_json::from_str(&self.succeed(args)).unwrap()
    }

    pub(crate) fn json_of(&self, args: &[&str], input: &str) -> Value {
        serde_json::from_str(&succeeded(args, self.run_on(args, input))).unwrap()
    }

    pub(crate) fn succeed(&self, args: &[&str]) -> String {
        succeeded(args, self.run(args))
    }

    pub(crate) fn run(&self, args: &[&str]) -> Output {
        self.run_on(args, "")
    }

    pub(crate) fn run_on(&self, args: &[&str], input: &str) -> Output {
        self.run_as("operator", args, input)
    }

    /// Asks with these credentials.
    pub(crate) fn run_as(&self, who: &str, args: &[&str], input: &str) -> Output {
        let (address, credentials) = (self.ready["addresses"][0].as_str().unwrap(), self.world.path(who));
        let at = ["--node", address, "--credentials", credentials.to_str().unwrap()];
        let mut command = binary(&[args, &at].concat());
        let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // Who has read enough reads no more.
        drop(child.stdin.take().unwrap().write_all(input.as_bytes()));
        child.wait_with_output().unwrap()
    }

    /// Sends a signal, and waits for the end.
    pub(crate) fn end(&mut self, signal: &str) -> ExitStatus {
        let sent = Command::new("kill").args(["-s", signal, &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
        self.child.wait().unwrap()
    }
}

impl Drop for Node<'_> {
    fn drop(&mut self) {
        // Where a test has failed before it ended the node.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn succeeded(args: &[&str], output: Output) -> String {
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn binary(args: &[&str]) -> Command {
    let mut command = Command::new(Path::new(env!("CARGO_BIN_EXE_guildhall")));
    command.args(args);
    command
}
