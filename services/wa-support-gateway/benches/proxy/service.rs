//! wa-support-gateway as a process of its own.

use std::net::SocketAddr;
use std::process::Stdio;
use std::time::Duration;

use test_support::TestProcessDatabase;
use tokio::process::{Child, Command};

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
        .env("REDIS_PREFIX", test_support::unique_prefix("bench-gateway"))
        .env("RABBITMQ_URL", test_support::rabbitmq_url())
        .env("BROKER_PREFIX", test_support::unique_prefix("bench-gateway"))
        .env("ENCRYPTION_KEYS", test_support::ENCRYPTION_KEYS)
        .env("WA_SERVER_URL", format!("http://{upstream}"))
        .env("WA_ADMIN_TOKEN", "bench-admin-token")
        // What is measured is passing on, not being held back.
        .env("PUBLIC_KEY_RATE_LIMIT_MAX_REQUEST", "1000000000")
        .env("PUBLIC_KEY_SPAM_MAX_PER_10S", "1000000000")
        .env("LOG_LEVEL", "error")
        .env("LOG_FORMAT", "pretty");
    command
}

pub(crate) async fn start(database: &TestProcessDatabase, upstream: SocketAddr) -> Service {
    let migrated = command(database, upstream).arg("migrate").output().await.unwrap();
    assert!(
        migrated.status.success(),
        "{}",
        String::from_utf8_lossy(&migrated.stderr)
    );
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

/// Makes a customer with a session; its token.
pub(crate) async fn session(database: &TestProcessDatabase, upstream: SocketAddr, name: &str) -> String {
    let made = command(database, upstream)
        .args(["session", "create", "--customer", name, "--name", name])
        .output()
        .await
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let made: serde_json::Value = serde_json::from_slice(&made.stdout).unwrap();
    made["session_token"].as_str().unwrap().to_owned()
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
