//! chatwoot-bridge as a process of its own, and the routes it has.

use std::net::SocketAddr;
use std::process::Stdio;

use chatwoot_bridge::app::tools;
use chatwoot_bridge::config::StorageSettings;
use chatwoot_bridge::store::routes::{self, Route, Target, Wants};
use domain::ids::TenantId;
use runtime::config::SettingsReader;
use secrecy::SecretString;
use tenant_isolation::{TenantScope, TenantTransaction};
use test_support::{ENCRYPTION_KEYS, TestProcessDatabase};
use tokio::process::{Child, Command};
use uuid::Uuid;

use crate::sink::Sink;

/// What signs the webhooks of every route.
pub(crate) const SECRET: &str = "bench-secret-not-real-01";
/// The route whose target hangs, when one does.
pub(crate) const HANGING_ROUTE: u32 = 0;
const TENANTS: u32 = 50;

pub(crate) struct Service {
    child: Child,
    address: SocketAddr,
}

fn command(database: &TestProcessDatabase) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_chatwoot-bridge"));
    command
        .env_clear()
        .env("DATABASE_URL", database.service_url("chatwoot_bridge"))
        .env("MIGRATE_DATABASE_URL", database.admin_url())
        .env("RABBITMQ_URL", test_support::rabbitmq_url())
        .env("BROKER_PREFIX", test_support::unique_prefix("bench-bridge"))
        .env("ENCRYPTION_KEYS", ENCRYPTION_KEYS)
        .env("OUTBOUND_ALLOWED_PRIVATE_HOSTS", "127.0.0.1:*")
        .env("LOG_LEVEL", "error")
        .env("LOG_FORMAT", "pretty");
    command
}

/// The schema, and routes of inboxes 1 and up, each with a secret of its own place.
pub(crate) async fn prepare(database: &TestProcessDatabase, sink: &Sink, number: u32) {
    let migrated = command(database)
        .args(["migrate", "--bootstrap"])
        .output()
        .await
        .unwrap();
    assert!(
        migrated.status.success(),
        "{}",
        String::from_utf8_lossy(&migrated.stderr)
    );
    let reader = SettingsReader::from_map([
        ("DATABASE_URL", database.service_url("chatwoot_bridge").as_str()),
        ("ENCRYPTION_KEYS", ENCRYPTION_KEYS),
    ]);
    let tools = tools(&StorageSettings::read(reader).unwrap()).unwrap();
    for route in 0..number {
        let tenant = format!("bench-{}", route % TENANTS);
        let id = Uuid::now_v7();
        let seal = |text: &str, place: String| tools.keys.seal(&SecretString::from(text), &place).unwrap();
        let new = Route {
            id,
            number: 0,
            installation: "default".into(),
            account_id: Some(3),
            inbox_id: i64::from(route) + 1,
            name: None,
            enabled: true,
            target: Target::Url {
                url_sealed: seal(&sink.url_of(route), Route::url_place(&tenant, id)),
                url_shown: "http://***".into(),
                signing_secret_sealed: None,
                retry_unknown: false,
            },
            wants: Wants::default(),
            inbox_secrets_sealed: vec![seal(SECRET, Route::inbox_secret_place(&tenant, id))],
            account_secrets_sealed: Vec::new(),
            path_token_sha256: None,
            created_at: chrono::Utc::now(),
            updated_at: chrono::Utc::now(),
        };
        let scope = TenantScope::named_by_operator(TenantId::parse(tenant.as_str()).unwrap());
        let mut tx = TenantTransaction::begin(&tools.db, &scope, "bench")
            .await
            .unwrap();
        routes::put(&mut tx, &new).await.unwrap();
        tx.commit().await.unwrap();
    }
}

impl Service {
    pub(crate) async fn start(database: &TestProcessDatabase, window_ms: u32) -> Self {
        let address = web::bind("127.0.0.1:0".parse().unwrap())
            .unwrap()
            .local_addr()
            .unwrap();
        let child = command(database)
            .env("REPLY_ORDER_WINDOW_MS", window_ms.to_string())
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
        Self { child, address }
    }

    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Memory that is resident now, in MiB.
    pub(crate) fn resident_mib(&self) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id().unwrap())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1024.0
    }

    pub(crate) async fn stop(&mut self) {
        let pid = self.child.id().unwrap().to_string();
        Command::new("kill").arg(pid).status().await.unwrap();
        let stopped = tokio::time::timeout(std::time::Duration::from_secs(15), self.child.wait()).await;
        stopped.expect("it stops in time").unwrap();
    }
}
