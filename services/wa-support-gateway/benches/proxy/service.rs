//! wa-support-gateway as a process of its own.

use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::LazyLock;
use std::time::Duration;

use serde_json::Value;
use test_support::TestProcessDatabase;
use tokio::process::{Child, Command};

/// What all processes of one run share, so that several of them are replicas.
static PREFIX: LazyLock<String> = LazyLock::new(|| test_support::unique_prefix("bench-gateway"));
const SERVICE_KEY: &str = "bench-service-key";

pub(crate) struct Service {
    child: Child,
    address: SocketAddr,
}

fn command(database: &TestProcessDatabase, upstream: SocketAddr) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wa-support-gateway"));
    command
        .env_clear()
        .env("DATABASE_URL", database.service_url("wa_support"))
        .env("MIGRATE_DATABASE_URL", database.admin_url())
        .env("REDIS_URL", test_support::redis_url())
        .env("REDIS_PREFIX", PREFIX.as_str())
        .env("RABBITMQ_URL", test_support::rabbitmq_url())
        .env("BROKER_PREFIX", PREFIX.as_str())
        .env("ENCRYPTION_KEYS", test_support::ENCRYPTION_KEYS)
        .env("WA_SERVER_URL", format!("http://{upstream}"))
        .env("WA_ADMIN_TOKEN", "bench-admin-token")
        // What is measured is passing on, not being held back.
        .env("PUBLIC_KEY_RATE_LIMIT_MAX_REQUEST", "1000000000")
        .env("PUBLIC_KEY_SPAM_MAX_PER_10S", "1000000000")
        .env("PUBLIC_RATE_LIMIT_MAX_REQUEST", "1000000000")
        .env("PUBLIC_SPAM_MAX_PER_10S", "1000000000")
        .env("INTERNAL_API_KEYS", SERVICE_KEY)
        .env("LOG_LEVEL", "error");
    command
}

pub(crate) async fn start(database: &TestProcessDatabase, upstream: SocketAddr) -> Service {
    let migrated = command(database, upstream)
        .args(["migrate", "--bootstrap"])
        .output()
        .await
        .unwrap();
    assert!(
        migrated.status.success(),
        "{}",
        String::from_utf8_lossy(&migrated.stderr)
    );
    replica(database, upstream).await
}

/// One more process, in front of a database that is ready.
pub(crate) async fn replica(database: &TestProcessDatabase, upstream: SocketAddr) -> Service {
    let address = web::bind("127.0.0.1:0".parse().unwrap())
        .unwrap()
        .local_addr()
        .unwrap();
    let child = command(database, upstream)
        .env("HOST", "127.0.0.1")
        .env("PORT", address.port().to_string())
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("the service starts");
    test_support::eventually("the service is ready", || async {
        web::healthcheck::run(address).await.ok()
    })
    .await;
    Service { child, address }
}

/// Changes rows behind the service's back.
pub(crate) async fn sql(database: &TestProcessDatabase, statements: &str) {
    let (client, connection) = tokio_postgres::connect(&database.admin_url(), tokio_postgres::NoTls)
        .await
        .unwrap();
    let serving = tokio::spawn(connection);
    client.batch_execute(statements).await.unwrap();
    drop(client);
    serving.await.unwrap().unwrap();
}

/// Makes a customer with a session; the session's token and id.
pub(crate) async fn session(
    database: &TestProcessDatabase,
    upstream: SocketAddr,
    name: &str,
) -> (String, String) {
    let made = command(database, upstream)
        .args(["session", "create", "--customer", name, "--name", name])
        .output()
        .await
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let made: Value = serde_json::from_slice(&made.stdout).unwrap();
    let text = |field: &str| made[field].as_str().unwrap().to_owned();
    (text("session_token"), text("session_id"))
}

/// The middle one of some times, and the longest.
pub(crate) fn median_and_worst(mut times: Vec<Duration>) -> String {
    times.sort_unstable();
    let ms = |time: Option<&Duration>| time.map_or(f64::NAN, |time| time.as_secs_f64() * 1000.0);
    let (median, worst) = (ms(times.get(times.len() / 2)), ms(times.last()));
    format!("median {median:>8.1} ms, worst {worst:>8.1} ms")
}

/// A service's and a customer's calls.
pub(crate) struct Api {
    client: reqwest::Client,
    base: String,
}

impl Api {
    pub(crate) fn of(service: &Service) -> Self {
        Self {
            client: reqwest::Client::builder().no_proxy().build().unwrap(),
            base: format!("http://{}", service.address),
        }
    }

    /// A key of the customer's in the place of those before it.
    pub(crate) async fn new_key(&self, customer: &str) -> String {
        let url = format!("{}/internal/users/{customer}/apikey/rotate", self.base);
        let call = self.client.post(url).header("x-internal-api-key", SERVICE_KEY);
        let answer = call.send().await.unwrap().error_for_status().unwrap();
        answer.json::<Value>().await.unwrap()["api_key"]
            .as_str()
            .unwrap()
            .to_owned()
    }

    /// What is answered to whoever shows this key.
    pub(crate) async fn me(&self, key: &str) -> u16 {
        let call = self.client.get(format!("{}/v1/me", self.base));
        let answer = call.header("x-api-key", key).send().await.unwrap();
        let status = answer.status().as_u16();
        answer.bytes().await.unwrap();
        status
    }

    /// How many contacts were synced.
    pub(crate) async fn sync_contacts(&self, key: &str, session: &str) -> usize {
        let url = format!("{}/v1/sessions/{session}/contacts/sync", self.base);
        let call = self.client.post(url).header("x-api-key", key);
        let answer = call.send().await.unwrap().error_for_status().unwrap();
        let synced = answer.json::<Value>().await.unwrap()["synced"].as_u64().unwrap();
        usize::try_from(synced).unwrap()
    }

    /// Reads whatever is there to its end.
    pub(crate) async fn get_all(&self, url: String) {
        self.client.get(url).send().await.unwrap().bytes().await.unwrap();
    }
}

impl Service {
    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Memory that is resident now, in MiB.
    pub(crate) fn resident_mib(&self) -> f64 {
        self.memory("VmRSS:")
    }

    /// Most memory that was resident since [`Self::forget_peak`], in MiB.
    pub(crate) fn peak_mib(&self) -> f64 {
        self.memory("VmHWM:")
    }

    /// Lets the kernel count the peak anew.
    pub(crate) fn forget_peak(&self) {
        std::fs::write(format!("/proc/{}/clear_refs", self.child.id().unwrap()), "5").unwrap();
    }

    fn memory(&self, field: &str) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id().unwrap())).unwrap();
        let line = status.lines().find(|line| line.starts_with(field)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1024.0
    }

    pub(crate) async fn stop(&mut self) {
        let pid = self.child.id().unwrap().to_string();
        Command::new("kill").arg(pid).status().await.unwrap();
        let stopped = tokio::time::timeout(Duration::from_secs(15), self.child.wait()).await;
        stopped.expect("it stops in time").unwrap();
    }
}
