//! How endpoints and sessions are looked after, and who is told.

use std::time::Duration;

use runtime::config::{Milliseconds, Setting, SettingsReader};
use secrecy::{ExposeSecret as _, SecretString};
use url::Url;
use whatsapp::credentials::WebhookKey;

/// Checks of endpoints, alerts, and the watch over sessions.
#[derive(Debug, Clone)]
pub struct HealthSettings {
    /// Checks of endpoints; `None`: nobody looks.
    pub checks: Option<CheckSettings>,
    /// Who is told of an endpoint that stays unhealthy, besides the log and the metrics.
    pub alerts: Option<AlertSettings>,
    /// The watch over sessions; `None`: they are left alone.
    pub sessions: Option<WatchSettings>,
}

/// How endpoints are checked.
#[derive(Debug, Clone, Copy)]
pub struct CheckSettings {
    /// The shortest interval, whatever a tenant asks for.
    pub shortest: Duration,
    /// The interval of tenants that ask for none.
    pub usual: Duration,
    /// How soon a failure that may be chance is checked again.
    pub again: Duration,
    /// Longest wait for an answer.
    pub timeout: Duration,
    /// An answer that took longer is slow.
    pub slow: Duration,
    /// Failures in a row after which an endpoint is unhealthy.
    pub failures: u32,
    /// How long it has to stay unhealthy before somebody is told.
    pub alert_after: Duration,
    /// How long what checks found is kept.
    pub history_age: Duration,
    /// Checks that are kept of one endpoint.
    pub history_most: u32,
}

/// Where alerts go.
#[derive(Debug, Clone)]
pub struct AlertSettings {
    /// They are posted there.
    pub url: AlertUrl,
    /// What they are signed with.
    pub key: Option<WebhookKey>,
}

/// The address of the operators' webhook. Some services put a secret into it, so `Debug` shows none of it.
#[derive(Clone)]
pub struct AlertUrl(Url);

/// How sessions are looked after.
#[derive(Debug, Clone, Copy)]
pub struct WatchSettings {
    /// How often a session is looked at.
    pub look: Duration,
    /// How long a session may be silent after a send that its server took, before it is held for deaf.
    pub deaf_after: Duration,
    /// Longest wait between two tries to bring a session back.
    pub longest_wait: Duration,
    /// Tries before a session is given up.
    pub attempts: u32,
    /// Tries a second at one endpoint, over all processes.
    pub rate: u32,
}

/// Bounds within which all of it makes sense.
const LEAST: Duration = Duration::from_millis(20);

impl HealthSettings {
    pub(super) fn take(reader: &mut SettingsReader) -> Option<Self> {
        let is_checked: Option<bool> = reader.with_default(
            "ENDPOINT_CHECKS",
            "on",
            "Look after the WhatsApp API servers; one process at a time does it for all",
        );
        let checks = CheckSettings::take(reader);
        let alerts = AlertSettings::take(reader);
        let is_watched: Option<bool> = reader.with_default(
            "SESSION_WATCH",
            "on",
            "Bring dropped sessions back and attach deaf ones anew",
        );
        let sessions = WatchSettings::take(reader);
        let (checks, sessions) = (checks?, sessions?);
        Some(Self {
            checks: is_checked?.then_some(checks),
            alerts: alerts?,
            sessions: is_watched?.then_some(sessions),
        })
    }
}

impl CheckSettings {
    fn take(reader: &mut SettingsReader) -> Option<Self> {
        let shortest = time(
            reader,
            "ENDPOINT_CHECK_SHORTEST_MS",
            "1000",
            "Shortest interval between two checks of one endpoint, whatever a tenant's `health_check_interval` is",
        );
        let usual = time(
            reader,
            "ENDPOINT_CHECK_MS",
            "60000",
            "Interval between two checks for tenants that have not chosen a `health_check_interval`",
        );
        let again = time(
            reader,
            "ENDPOINT_CHECK_AGAIN_MS",
            "5000",
            "How soon a first failure is checked again, at most one interval",
        );
        let timeout = time(
            reader,
            "ENDPOINT_CHECK_TIMEOUT_MS",
            "10000",
            "Longest wait for the answer to a check",
        );
        let slow = time(
            reader,
            "ENDPOINT_SLOW_MS",
            "2000",
            "An endpoint whose answer takes longer is degraded",
        );
        let failures = count(
            reader,
            "ENDPOINT_FAILURES",
            "3",
            "Failed checks in a row after which an endpoint is unhealthy; a refused key is enough by itself",
        );
        let alert_after: Option<u64> = reader.with_default(
            "ENDPOINT_ALERT_AFTER_SECONDS",
            "300",
            "How long an endpoint has to stay unhealthy before an alert is raised",
        );
        let days: Option<u32> = reader.with_default(
            "ENDPOINT_HISTORY_DAYS",
            "7",
            "Days for which results of checks are kept",
        );
        let most = count(
            reader,
            "ENDPOINT_HISTORY_MOST",
            "20000",
            "Results of checks that are kept of one endpoint",
        );
        Some(Self {
            shortest: shortest?,
            usual: usual?,
            again: again?,
            timeout: timeout?,
            slow: slow?,
            failures: failures?,
            alert_after: Duration::from_secs(alert_after?),
            history_age: Duration::from_secs(u64::from(days?) * 24 * 60 * 60),
            history_most: most?,
        })
    }
}

impl AlertSettings {
    /// The outer `None` is a mistake, the inner one is nobody to tell.
    fn take(reader: &mut SettingsReader) -> Option<Option<Self>> {
        let url: Option<SecretString> = reader.optional(
            "ALERT_WEBHOOK_URL",
            "Alerts about endpoints, and their ends, are posted there as JSON; a private host must be in `OUTBOUND_ALLOWED_PRIVATE_HOSTS`",
        );
        let secret: Option<SecretString> = reader.optional(
            "ALERT_WEBHOOK_SECRET",
            "Alerts are signed with it (`X-Kanal-Signature: sha256=…`, HMAC-SHA256 of the body)",
        );
        let key = match secret.map(|secret| WebhookKey::new(secret.expose_secret())) {
            None => None,
            Some(Ok(key)) => Some(key),
            Some(Err(error)) => {
                reader.problem("ALERT_WEBHOOK_SECRET", &error.to_string());
                return None;
            }
        };
        let Some(url) = url else {
            return Some(None);
        };
        let Some(url) = AlertUrl::from_text(url.expose_secret()) else {
            reader.problem("ALERT_WEBHOOK_URL", AlertUrl::EXPECTED);
            return None;
        };
        Some(Some(Self { url, key }))
    }
}

impl AlertUrl {
    /// The address, for the call. Do not log it.
    #[must_use]
    pub const fn expose(&self) -> &Url {
        &self.0
    }
}

impl std::fmt::Debug for AlertUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AlertUrl")
    }
}

impl Setting for AlertUrl {
    const EXPECTED: &'static str = "must be an address that begins with http:// or https://, without a user";

    fn from_text(text: &str) -> Option<Self> {
        let url = Url::parse(text).ok()?;
        let fits = matches!(url.scheme(), "http" | "https")
            && url.has_host()
            && url.username().is_empty()
            && url.password().is_none();
        fits.then_some(Self(url))
    }
}

impl WatchSettings {
    fn take(reader: &mut SettingsReader) -> Option<Self> {
        let look = time(
            reader,
            "SESSION_LOOK_MS",
            "30000",
            "How often it is looked where a session stands",
        );
        let deaf_after = time(
            reader,
            "SESSION_DEAF_AFTER_MS",
            "20000",
            "How long a session may bring no event after a send that its server took, before it is attached anew",
        );
        let longest_wait = time(
            reader,
            "SESSION_RECONNECT_CAP_MS",
            "1800000",
            "Longest wait between two tries to bring a dropped session back; the first is the tenant's `reconnect_interval`, and it doubles",
        );
        let attempts = count(
            reader,
            "SESSION_RECONNECT_ATTEMPTS",
            "12",
            "Tries to bring a dropped session back before it is given up",
        );
        let rate = count(
            reader,
            "SESSION_RECONNECT_RATE",
            "5",
            "Sessions a second that are brought back at one endpoint, over all processes",
        );
        Some(Self {
            look: look?,
            deaf_after: deaf_after?,
            longest_wait: longest_wait?,
            attempts: attempts?,
            rate: rate?,
        })
    }
}

fn time(
    reader: &mut SettingsReader,
    name: &'static str,
    default: &str,
    meaning: &'static str,
) -> Option<Duration> {
    let time: Option<Milliseconds> = reader.with_default(name, default, meaning);
    if time.is_some_and(|time| time.0 < LEAST) {
        reader.problem(name, "must be at least 20");
    }
    time.map(|time| time.0)
}

fn count(
    reader: &mut SettingsReader,
    name: &'static str,
    default: &str,
    meaning: &'static str,
) -> Option<u32> {
    let count: Option<u32> = reader.with_default(name, default, meaning);
    if count == Some(0) {
        reader.problem(name, "must be at least 1");
    }
    count
}
