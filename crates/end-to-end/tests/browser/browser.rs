//! A headless Chromium with a profile of its own, and the driver through which it is told what to do.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use fantoccini::wd::WebDriverCompatibleCommand;
use fantoccini::{Client, ClientBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use url::Url;

/// A driver or a browser that has not come up by then will not.
const START_PATIENCE: Duration = Duration::from_secs(120);
/// How often a driver is started before it is given up.
const DRIVER_STARTS: u32 = 5;
/// Half-way between a phone and a large screen; pictures are taken in sizes of their own.
const WINDOW: &str = "--window-size=1280,800";
/// As root in a container there is neither a sandbox nor a graphics card nor much shared memory, and nothing outside
/// is to be talked to.
const FLAGS: [&str; 16] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--disable-extensions",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-sync",
    "--no-first-run",
    "--no-default-browser-check",
    "--password-store=basic",
    "--hide-scrollbars",
    "--force-device-scale-factor=1",
    WINDOW,
];

/// Where the two executables are.
#[derive(Debug, Clone)]
pub(crate) struct Installed {
    chromium: PathBuf,
    driver: PathBuf,
}

impl Installed {
    /// From Debian's packages `chromium` and `chromium-driver`, or wherever `PATH` leads.
    pub(crate) fn find() -> Option<Self> {
        Some(Self {
            chromium: executable("chromium")?,
            driver: executable("chromedriver")?,
        })
    }
}

fn executable(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|directory| directory.join(name))
        .find(|file| file.is_file())
}

/// What a person has set in their browser.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Preferences {
    /// As in `Accept-Language`.
    pub(crate) languages: &'static str,
    pub(crate) scripts: bool,
}

impl Default for Preferences {
    fn default() -> Self {
        Self {
            languages: "en-GB,en",
            scripts: true,
        }
    }
}

/// Ends with this value, however that comes.
pub(crate) struct Browser {
    pub(crate) client: Client,
    chromium: Option<u64>,
    driver: Child,
    profile: PathBuf,
}

impl Browser {
    pub(crate) async fn start(installed: &Installed, profile: &Path, preferences: Preferences) -> Self {
        drop(std::fs::remove_dir_all(profile));
        std::fs::create_dir_all(profile).unwrap();
        let (driver, port) = start_driver(installed, profile).await;
        let mut arguments: Vec<String> = FLAGS.map(str::to_owned).to_vec();
        arguments.push(format!("--user-data-dir={}", profile.join("profile").display()));
        arguments.push(format!("--accept-lang={}", preferences.languages));
        // Chromium's own number for "block".
        let scripts = if preferences.scripts { 1 } else { 2 };
        let wanted = json!({
            "browserName": "chrome",
            "goog:chromeOptions": {
                "binary": installed.chromium,
                "args": arguments,
                "prefs": {
                    "intl.accept_languages": preferences.languages,
                    "profile.managed_default_content_settings.javascript": scripts,
                    "credentials_enable_service": false,
                },
            },
            "goog:loggingPrefs": {"browser": "ALL"},
        });
        let Value::Object(wanted) = wanted else {
            unreachable!("written as an object");
        };
        let connecting = ClientBuilder::new(HttpConnector::new());
        let mut connecting = connecting;
        connecting.capabilities(wanted);
        let url = format!("http://127.0.0.1:{port}");
        let client = tokio::time::timeout(START_PATIENCE, connecting.connect(&url))
            .await
            .unwrap_or_else(|_| panic!("Chromium does not start within {START_PATIENCE:?}"))
            .unwrap_or_else(|error| panic!("Chromium does not start: {error}"));
        // The person sits in front of this window. Without being told, a new one sometimes takes itself for one behind
        // others, and then no page shows where the focus is.
        let in_front = json!({"enabled": true});
        devtools(&client, "Emulation.setFocusEmulationEnabled", in_front).await;
        let chromium = client
            .capabilities()
            .and_then(|told| told.get("goog:processID"))
            .and_then(Value::as_u64);
        Self {
            client,
            chromium,
            driver,
            profile: profile.to_owned(),
        }
    }

    /// Closes the window and waits until both processes are gone.
    pub(crate) async fn close(mut self) {
        drop(self.client.clone().close().await);
        drop(self.driver.kill().await);
        drop(std::fs::remove_dir_all(&self.profile));
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The driver goes by itself, but would leave the browser behind. Which of the machine's processes it is, the
        // driver has said; once the window is closed the number is nobody's.
        if let Some(pid) = self.chromium
            && self.runs_from_our_profile(pid)
        {
            drop(
                std::process::Command::new("kill")
                    .args(["-KILL", &pid.to_string()])
                    .status(),
            );
        }
    }
}

impl Browser {
    fn runs_from_our_profile(&self, pid: u64) -> bool {
        let profile = self.profile.display().to_string();
        std::fs::read(format!("/proc/{pid}/cmdline"))
            .is_ok_and(|line| String::from_utf8_lossy(&line).contains(&profile))
    }
}

/// A driver whose port was taken by somebody else in the same moment ends at once; then it is started again.
async fn start_driver(installed: &Installed, profile: &Path) -> (Child, u16) {
    for _ in 1..DRIVER_STARTS {
        if let Some(started) = try_driver(installed, profile).await {
            return started;
        }
    }
    let started = try_driver(installed, profile).await;
    started.unwrap_or_else(|| panic!("chromedriver does not start: {}", profile.display()))
}

/// On a port that it chooses itself, which it says in its first lines.
async fn try_driver(installed: &Installed, profile: &Path) -> Option<(Child, u16)> {
    let log = profile.join("chromedriver.log");
    let mut driver = Command::new(&installed.driver)
        .arg("--port=0")
        .arg(format!("--log-path={}", log.display()))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(driver.stdout.take().unwrap()).lines();
    let told = tokio::time::timeout(START_PATIENCE, async {
        while let Some(line) = lines.next_line().await.unwrap() {
            let port = line
                .split_once("started successfully on port ")
                .and_then(|(_, port)| port.trim_end_matches('.').parse().ok());
            if port.is_some() {
                return port;
            }
        }
        None
    });
    let port = told.await.ok().flatten()?;
    // Whoever writes into a pipe that nobody reads stands still.
    tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
    Some((driver, port))
}

/// What Chromium's driver can do beyond the standard.
#[derive(Debug)]
struct Beyond {
    path: &'static str,
    body: Value,
}

impl WebDriverCompatibleCommand for Beyond {
    fn endpoint(&self, base: &Url, session: Option<&str>) -> Result<Url, url::ParseError> {
        base.join(&format!("session/{}/{}", session.unwrap_or_default(), self.path))
    }

    fn method_and_body(&self, _: &Url) -> (hyper::Method, Option<String>) {
        (hyper::Method::POST, Some(self.body.to_string()))
    }
}

/// A command of the protocol that developers' tools speak.
pub(crate) async fn devtools(client: &Client, command: &str, parameters: Value) -> Value {
    let body = json!({"cmd": command, "params": parameters});
    let path = "goog/cdp/execute";
    let answer = client.issue_cmd(Beyond { path, body }).await;
    answer.unwrap_or_else(|error| panic!("{command}: {error}"))
}

/// A line of the console, since it was asked for the last time.
#[derive(Debug, Clone, serde::Deserialize)]
pub(crate) struct ConsoleLine {
    pub(crate) level: String,
    pub(crate) source: String,
    pub(crate) message: String,
}

pub(crate) async fn console(client: &Client) -> Vec<ConsoleLine> {
    let body = json!({"type": "browser"});
    let lines = client.issue_cmd(Beyond { path: "se/log", body }).await.unwrap();
    serde_json::from_value(lines).unwrap()
}
