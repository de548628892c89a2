//! One service as a child process: its environment, its log, its signals.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Output, Stdio};
use std::time::Duration;

use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::binaries::binary;

/// Longest time for a command that is not `serve`.
const COMMAND_PATIENCE: Duration = Duration::from_secs(120);
/// Lines of the log that are shown when a test fails.
const TAIL: usize = 40;

/// A service that can be started, killed and started again, always with the same environment. It dies with this value.
#[derive(Debug)]
pub struct Process {
    service: &'static str,
    /// Of this tree.
    built: PathBuf,
    /// What runs: that, or another release's.
    binary: PathBuf,
    variables: BTreeMap<&'static str, String>,
    log: PathBuf,
    child: Option<Child>,
}

impl Process {
    /// A service that is not running yet. Its log goes to `<service>.log` in `logs`.
    ///
    /// # Panics
    /// When the service does not build.
    pub async fn new(
        service: &'static str,
        logs: &Path,
        variables: impl IntoIterator<Item = (&'static str, String)>,
    ) -> Self {
        std::fs::create_dir_all(logs).expect("the directory for logs can be made");
        let built = binary(service).await;
        Self {
            service,
            binary: built.clone(),
            built,
            variables: variables.into_iter().collect(),
            log: logs.join(format!("{service}.log")),
            child: None,
        }
    }

    /// The service's name.
    #[must_use]
    pub const fn service(&self) -> &'static str {
        self.service
    }

    /// A variable of its environment; nothing when it has none of this name.
    #[must_use]
    pub fn variable(&self, name: &str) -> &str {
        self.variables.get(name).map_or("", String::as_str)
    }

    /// Changes a variable for what is started from now on.
    pub fn set(&mut self, name: &'static str, value: impl Into<String>) {
        self.variables.insert(name, value.into());
    }

    /// Runs the executable in `directory` from the next start on, e.g. an older release's; with nothing, this tree's again.
    pub fn take_release(&mut self, directory: Option<&Path>) {
        self.binary = directory.map_or_else(|| self.built.clone(), |directory| directory.join(self.service));
    }

    /// Starts serving.
    ///
    /// # Panics
    /// When it runs already or cannot be started.
    pub fn start(&mut self) {
        assert!(self.child.is_none(), "{} runs already", self.service);
        let log = self.open_log();
        let errors = log.try_clone().expect("a file can be shared");
        let child = self
            .command()
            .arg("serve")
            .stdout(log)
            .stderr(errors)
            .spawn()
            .expect("the service can be started");
        self.child = Some(child);
    }

    /// Runs another command of the executable to its end. `more` is added to the environment.
    ///
    /// # Panics
    /// When it does not end.
    pub async fn run(&self, arguments: &[&str], more: &[(&str, &str)]) -> Output {
        let command = self.command().args(arguments).envs(more.iter().copied()).output();
        timeout(COMMAND_PATIENCE, command)
            .await
            .unwrap_or_else(|_| panic!("{} {arguments:?} does not end", self.service))
            .expect("the executable can be run")
    }

    /// As `kill -9` does.
    ///
    /// # Panics
    /// When it does not run any more.
    pub async fn kill(&mut self) {
        let mut child = self.running();
        child.start_kill().expect("a child can be killed");
        child.wait().await.expect("a killed child ends");
    }

    /// Asks it to stop and waits at most `patience`. Nothing when it is still there; then it is killed.
    ///
    /// # Panics
    /// When it does not run any more.
    pub async fn terminate(&mut self, patience: Duration) -> Option<ExitStatus> {
        let mut child = self.running();
        let pid = child.id().expect("a running child has a number").to_string();
        let sent = Command::new("kill").args(["-TERM", &pid]).status().await;
        assert!(
            sent.is_ok_and(|status| status.success()),
            "SIGTERM cannot be sent to {}",
            self.service
        );
        match timeout(patience, child.wait()).await {
            Ok(status) => Some(status.expect("a child's end can be waited for")),
            Err(_) => {
                child.kill().await.expect("a child can be killed");
                None
            }
        }
    }

    /// Everything it wrote to its log, over all its lives.
    ///
    /// # Panics
    /// When the log cannot be read.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).expect("the log can be read")
    }

    /// Has it ended by itself?
    ///
    /// # Panics
    /// When it was never started.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        let child = self.child.as_mut().expect("the service was started");
        child.try_wait().expect("a child's state can be asked for")
    }

    fn running(&mut self) -> Child {
        if let Some(status) = self.ended() {
            panic!("{} has ended by itself: {status}", self.service);
        }
        self.child.take().expect("the service was started")
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.binary);
        command
            .env_clear()
            .env("RUST_BACKTRACE", "1")
            .envs(&self.variables)
            .stdin(Stdio::null())
            .kill_on_drop(true);
        command
    }

    fn open_log(&self) -> File {
        OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.log)
            .expect("the log can be opened")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let tail = &lines[lines.len().saturating_sub(TAIL)..];
        eprintln!(
            "--- the end of {} ({} lines)\n{}\n---",
            self.log.display(),
            lines.len(),
            tail.join("\n")
        );
    }
}
