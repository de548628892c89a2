//! What `doctor` of each service has in common: questions that are asked side by side, each with a limit, and a report.
//!
//! A question is a future that ends in checks; what it asks is the business of whoever owns the thing that is asked.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use domain::check::{Check, Verdict};
use futures_util::future::{BoxFuture, FutureExt as _, join_all};
use runtime::config::InvalidSettings;
use runtime::process::{EXIT_CONFIG, ProcessSettings};
use serde::Serialize;

use crate::healthcheck::{self, NotReady};

/// Longest time of one question. All are asked at once, so it bounds the whole examination.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Free space below which files are soon refused.
const LITTLE_SPACE: u64 = 1024 * 1024 * 1024;

/// An examination: gather questions, then [`ask`](Self::ask).
pub struct Doctor {
    service: &'static str,
    settings: Vec<Check>,
    questions: Vec<(String, BoxFuture<'static, Vec<Check>>)>,
    patience: Duration,
}

/// What was found.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Of which service.
    pub service: &'static str,
    /// The worst of it.
    pub verdict: Verdict,
    /// All of it, in the order of the questions.
    pub checks: Vec<Check>,
    #[serde(skip)]
    settings_are_invalid: bool,
}

impl Doctor {
    /// Begins with the settings, as `serve` would: every mistake is a line.
    #[must_use]
    pub fn new(service: &'static str, settings: Result<(), &InvalidSettings>) -> Self {
        let settings = match settings {
            Ok(()) => vec![Check::ok("settings", "can be read")],
            Err(invalid) => invalid
                .problems
                .iter()
                .map(|problem| {
                    Check::wrong(
                        format!("setting {}", problem.name),
                        problem.rule.clone(),
                        format!("see `{service} config`; the service does not start like this"),
                    )
                })
                .collect(),
        };
        Self {
            service,
            settings,
            questions: Vec::new(),
            patience: PATIENCE,
        }
    }

    /// Adds a question. `about` is for its line if it gets no answer.
    pub fn question(
        &mut self,
        about: impl Into<String>,
        asking: impl Future<Output = Vec<Check>> + Send + 'static,
    ) {
        self.questions.push((about.into(), asking.boxed()));
    }

    /// Adds a question about something that may not be known, because it is not set or its setting is wrong.
    pub fn question_of<T, F>(&mut self, about: &str, subject: Option<T>, ask: impl FnOnce(T) -> F)
    where
        F: Future<Output = Vec<Check>> + Send + 'static,
    {
        match subject {
            Some(subject) => self.question(about, ask(subject)),
            None => self.say(Check::skipped(about, "its settings are missing or wrong")),
        }
    }

    /// Adds what is known without asking anybody.
    pub fn say(&mut self, check: Check) {
        self.question(check.about.clone(), async move { vec![check] });
    }

    /// Does every configured host have an address? By the name of the setting.
    pub fn hosts(&mut self, hosts: Vec<(String, Host)>) {
        for (setting, host) in hosts {
            self.question(format!("dns, {setting}"), resolves(setting, host));
        }
    }

    /// Is a service running on the configured port?
    pub fn running(&mut self, process: Option<ProcessSettings>) {
        self.question_of("service", process, async |process: ProcessSettings| {
            let port = process.address.port();
            let check = match healthcheck::run(process.address).await {
                Ok(()) => Check::ok("service", format!("answers on port {port}, and is ready")),
                Err(NotReady::NoAnswer(_)) => {
                    Check::ok("service", format!("nothing answers on port {port}: it does not run"))
                }
                Err(NotReady::Says(_)) => Check::warn(
                    "service",
                    format!("answers on port {port}, and is not ready"),
                    "mend what is wrong below; if nothing is, ask /health/ready and look into its log. Is it this service?",
                ),
            };
            vec![check]
        });
    }

    /// Can files be written there, and for how long?
    pub fn directory(&mut self, setting: &'static str, path: PathBuf, keeps_files: bool) {
        self.question(format!("disk, {setting}"), async move {
            let looking = tokio::task::spawn_blocking(move || directory(setting, &path, keeps_files));
            looking
                .await
                .unwrap_or_else(|_| vec![Check::skipped("disk", "could not be looked at")])
        });
    }

    /// Asks everything at once.
    pub async fn ask(self) -> Report {
        let settings_are_invalid = self.settings.iter().any(|check| check.verdict == Verdict::Wrong);
        let patience = self.patience;
        let asked = self.questions.into_iter().map(|(about, asking)| async move {
            match tokio::time::timeout(patience, tokio::spawn(asking)).await {
                Ok(Ok(checks)) => checks,
                Ok(Err(_)) => vec![Check::wrong(
                    about,
                    "the check itself broke off",
                    "report this, with the version",
                )],
                Err(_) => vec![Check::wrong(
                    about,
                    format!("no answer within {} s", patience.as_secs()),
                    "it is overloaded, frozen, or a firewall swallows packets",
                )],
            }
        });
        let mut checks = self.settings;
        checks.extend(join_all(asked).await.into_iter().flatten());
        Report {
            service: self.service,
            verdict: checks
                .iter()
                .map(|check| check.verdict)
                .max()
                .unwrap_or(Verdict::Ok),
            checks,
            settings_are_invalid,
        }
    }
}

impl Report {
    /// 0: nothing is wrong; 1: something is; 78: the settings are.
    #[must_use]
    pub const fn exit_code(&self) -> u8 {
        match self.verdict {
            _ if self.settings_are_invalid => EXIT_CONFIG,
            Verdict::Wrong => 1,
            Verdict::Ok | Verdict::Skipped | Verdict::Warn => 0,
        }
    }

    /// Prints it: a line a check, or all of it as one JSON object.
    pub fn print(&self, json: bool) {
        if json {
            runtime::process::print(&serde_json::json!(self));
        } else {
            runtime::process::print(self);
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for check in &self.checks {
            writeln!(f, "{check}")?;
        }
        let count = |verdict| {
            self.checks
                .iter()
                .filter(|check| check.verdict == verdict)
                .count()
        };
        write!(
            f,
            "{}: {} ok, {} warn, {} wrong, {} skipped",
            self.service,
            count(Verdict::Ok),
            count(Verdict::Warn),
            count(Verdict::Wrong),
            count(Verdict::Skipped),
        )
    }
}

/// A host of a setting, without anything else of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    name: String,
}

impl Host {
    /// The host of a URL, of whatever scheme. `None`: it has none.
    #[must_use]
    pub fn of_url(url: &str) -> Option<Self> {
        let rest = url.split_once("://")?.1;
        let authority = rest.split(['/', '?', '#']).next()?;
        let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
        let name = match host.strip_prefix('[') {
            Some(v6) => v6.split(']').next()?,
            None => host.split(':').next()?,
        };
        (!name.is_empty()).then(|| Self {
            name: name.to_owned(),
        })
    }
}

async fn resolves(setting: String, host: Host) -> Vec<Check> {
    let about = format!("dns, {setting}");
    let name = host.name;
    let check = match tokio::net::lookup_host((name.as_str(), 0)).await {
        Ok(addresses) => match addresses.count() {
            0 => unresolved(about, &name),
            n => Check::ok(about, format!("{name} has {n} address(es)")),
        },
        Err(_) => unresolved(about, &name),
    };
    vec![check]
}

fn unresolved(about: String, name: &str) -> Check {
    Check::wrong(
        about,
        format!("{name} has no address"),
        "correct the name, or let /etc/resolv.conf (in a container: its network) know it",
    )
}

fn directory(setting: &'static str, path: &std::path::Path, keeps_files: bool) -> Vec<Check> {
    let about = format!("disk, {setting}");
    // One that is missing is made at the start, where that is possible.
    let Some(path) = path
        .ancestors()
        .find(|path| path.is_dir() || path.as_os_str().is_empty())
    else {
        return vec![Check::wrong(
            about,
            "no part of its path is a directory",
            format!("let {setting} name another place"),
        )];
    };
    let path = if path.as_os_str().is_empty() {
        std::path::Path::new(".")
    } else {
        path
    };
    let probe = path.join(format!(".doctor-{}", std::process::id()));
    let written = std::fs::write(&probe, b"here").and_then(|()| std::fs::remove_file(&probe));
    if let Err(error) = written {
        let found = match error.kind() {
            std::io::ErrorKind::NotFound => "the directory does not exist",
            std::io::ErrorKind::PermissionDenied => "this user may not write there",
            std::io::ErrorKind::StorageFull => "there is no space left",
            std::io::ErrorKind::ReadOnlyFilesystem => "it is mounted read-only",
            _ => "nothing can be written there",
        };
        return vec![Check::wrong(
            about,
            found,
            format!("make it writable for the user of the service, or let {setting} name another place"),
        )];
    }
    match free_space(path) {
        Some(free) if free < LITTLE_SPACE && keeps_files => vec![Check::warn(
            about,
            format!("writable, {} MiB are free", free / 1024 / 1024),
            "make room, or shorten what is kept",
        )],
        Some(free) => vec![Check::ok(
            about,
            format!("writable, {} MiB are free", free / 1024 / 1024),
        )],
        None => vec![Check::ok(about, "writable")],
    }
}

fn free_space(path: &std::path::Path) -> Option<u64> {
    let stat = rustix::fs::statvfs(path).ok()?;
    Some(stat.f_bavail.saturating_mul(stat.f_frsize))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_url_only_the_host_is_taken() {
        let host = |url: &str| Host::of_url(url).map(|host| host.name);
        assert_eq!(host("amqp://u:p%40@s3@broker:5672/v").as_deref(), Some("broker"));
        assert_eq!(host("redis://[::1]:6379/0").as_deref(), Some("::1"));
        assert_eq!(
            host("https://example.org?token=s3cret").as_deref(),
            Some("example.org")
        );
        assert_eq!(host("broker"), None);
    }

    #[tokio::test]
    async fn what_never_answers_is_told_of_and_keeps_nothing_waiting() {
        let mut doctor = Doctor::new("test", Ok(()));
        doctor.patience = Duration::from_millis(50);
        doctor.question("dead", std::future::pending());
        doctor.question("live", async { vec![Check::ok("live", "here")] });
        let report = doctor.ask().await;
        assert_eq!(report.exit_code(), 1);
        let dead = &report.checks[1];
        assert_eq!((dead.about.as_str(), dead.verdict), ("dead", Verdict::Wrong));
        assert_eq!(report.checks[2].verdict, Verdict::Ok);
    }

    #[tokio::test]
    async fn the_exit_code_tells_the_worst() {
        async fn code(check: Check, invalid: bool) -> u8 {
            let problems = vec![runtime::config::Problem {
                name: "PORT".to_owned(),
                rule: "must be a number".to_owned(),
            }];
            let invalid_settings = InvalidSettings { problems };
            let settings = if invalid { Err(&invalid_settings) } else { Ok(()) };
            let mut doctor = Doctor::new("test", settings);
            doctor.say(check);
            doctor.ask().await.exit_code()
        }
        assert_eq!(code(Check::ok("a", ""), false).await, 0);
        assert_eq!(code(Check::warn("a", "", ""), false).await, 0);
        assert_eq!(code(Check::wrong("a", "", ""), false).await, 1);
        assert_eq!(code(Check::ok("a", ""), true).await, 78);
    }
}
