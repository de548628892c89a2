//! Everything around one test: a database, the simulator, the three services, and tenants that are set up the way an
//! operator does it, by commands.

use std::path::PathBuf;
use std::process::Output;
use std::time::Duration;

use end_to_end::{Process, free_port};
use serde_json::Value;
use simulator::{
    ContactView, ConversationView, MessageView, NewAccount, NewInbox, Simulator, SimulatorConfig,
};
use test_support::{ENCRYPTION_KEYS, TestProcessDatabase, eventually_within, redis_url, unique_prefix};

use crate::broker::Queues;
use crate::tables::{Tables, UNFINISHED};

/// Long enough for a debug build on a machine that compiles at the same time.
pub(crate) const PATIENCE: Duration = Duration::from_secs(240);
/// In which a service that is asked to stop has to be gone: its own grace of 10 s, and time for a busy machine to notice.
pub(crate) const STOP_PATIENCE: Duration = Duration::from_secs(30);

const WA_ADMIN_TOKEN: &str = "end-to-end-admin-token";
/// What channel-service is known to the gateway by.
const GATEWAY_KEY: &str = "end-to-end-gateway-key";
/// The operator's password at the bridge.
const BRIDGE_PASSWORD: &str = "end-to-end-bridge-password";
pub(crate) const INTERNAL_API_KEY: &str = "end-to-end-internal-key";

/// What differs from test to test.
pub(crate) struct Setup {
    pub(crate) name: &'static str,
    pub(crate) redis_url: String,
    pub(crate) rabbitmq_url: String,
    pub(crate) log_level: &'static str,
    /// Two WhatsApp API servers by name: wa-support-gateway is `Primary`, a GoWA is `Toko`.
    pub(crate) with_gowa: bool,
    /// Who gets the traces, as variables.
    pub(crate) traces: Vec<(&'static str, String)>,
    /// Where another release's executables are, if those are to run.
    pub(crate) release: Option<PathBuf>,
}

impl Setup {
    pub(crate) fn named(name: &'static str) -> Self {
        Self {
            name,
            redis_url: redis_url(),
            rabbitmq_url: test_support::rabbitmq_url(),
            log_level: "info",
            with_gowa: false,
            traces: Vec::new(),
            release: None,
        }
    }
}

/// As an operator writes it: over several lines.
fn endpoints(gateway: &str, simulator: &str) -> String {
    format!(
        r#"[
            {{"name": "Primary", "apiUrl": "{gateway}", "apiKey": "govconnect:{GATEWAY_KEY}"}},
            {{"name": "Toko", "provider": "gowa", "apiUrl": "{simulator}/gowa"}}
        ]"#
    )
}

/// A customer with a WhatsApp session and a Chatwoot inbox.
pub(crate) struct Tenant {
    pub(crate) id: String,
    pub(crate) session: String,
    pub(crate) chatwoot_account: u64,
    pub(crate) inbox: u64,
    /// All that must never be shown: tokens, keys, secrets.
    pub(crate) secrets: Vec<String>,
}

pub(crate) struct World {
    // Dropped from the top: first those who write, then what they write to.
    pub(crate) gateway: Process,
    pub(crate) channel: Process,
    pub(crate) bridge: Process,
    pub(crate) simulator: Simulator,
    pub(crate) tables: Tables,
    pub(crate) queues: Queues,
    database: TestProcessDatabase,
    pub(crate) http: reqwest::Client,
}

impl World {
    /// Migrated, started and ready; no tenant yet.
    pub(crate) async fn start(setup: Setup) -> Self {
        let mut world = Self::prepare(setup).await;
        for service in world.services() {
            service.start();
        }
        world.all_ready().await;
        world
    }

    /// Migrated, but nobody serves yet.
    pub(crate) async fn prepare(setup: Setup) -> Self {
        test_support::install_crypto_provider();
        let database = TestProcessDatabase::create().await;
        let simulator = Simulator::start(SimulatorConfig {
            wa_admin_token: WA_ADMIN_TOKEN.to_owned(),
            auto_receipts: true,
            // The real server tries for minutes; a service that is killed here is back within seconds.
            retry_delays: vec![Duration::from_millis(200); 300],
            // A machine that compiles may be slow to answer; what Chatwoot then does is another test's business.
            chatwoot_webhook_timeout: Duration::from_secs(60),
            ..SimulatorConfig::for_tests()
        })
        .await
        .unwrap();
        let logs = PathBuf::from(env!("CARGO_TARGET_TMPDIR"))
            .join("end-to-end")
            .join(setup.name);
        if logs.exists() {
            std::fs::remove_dir_all(&logs).unwrap();
        }
        let [gateway_port, channel_port, bridge_port] = [free_port(), free_port(), free_port()];
        let prefix = unique_prefix(setup.name);
        let common = |port: u16, database_of: &str| {
            [
                ("HOST", "127.0.0.1".to_owned()),
                ("PORT", port.to_string()),
                ("LOG_FORMAT", "json".to_owned()),
                ("LOG_LEVEL", setup.log_level.to_owned()),
                ("DATABASE_URL", database.service_url(database_of)),
                ("MIGRATE_DATABASE_URL", database.admin_url()),
                ("DATABASE_POOL_SIZE", "8".to_owned()),
                ("ENCRYPTION_KEYS", ENCRYPTION_KEYS.to_owned()),
                ("INTERNAL_API_KEY", INTERNAL_API_KEY.to_owned()),
            ]
        };
        // Where the services find one another when somebody asks one of them where a message is.
        let peers = || {
            let at = |port: u16| format!("http://127.0.0.1:{port}");
            [
                ("CHANNEL_SERVICE_URL", at(channel_port)),
                ("CHANNEL_SERVICE_KEY", INTERNAL_API_KEY.to_owned()),
                ("WA_SUPPORT_URL", at(gateway_port)),
                ("WA_SUPPORT_INTERNAL_API_KEY", format!("govconnect:{GATEWAY_KEY}")),
                ("CHATWOOT_BRIDGE_URL", at(bridge_port)),
                ("CHATWOOT_BRIDGE_AUTH", format!("admin:{BRIDGE_PASSWORD}")),
            ]
        };
        let shared = || {
            [
                ("REDIS_URL", setup.redis_url.clone()),
                ("REDIS_PREFIX", format!("{prefix}channel:")),
                ("RABBITMQ_URL", setup.rabbitmq_url.clone()),
                ("BROKER_PREFIX", prefix.clone()),
                // Short enough that a killed service's chats go on soon, long enough not to be lost on a busy machine.
                ("LANE_LEASE_MS", "6000".to_owned()),
            ]
        };
        let gateway = Process::new(
            "wa-support-gateway",
            &logs,
            common(gateway_port, "wa_support")
                .into_iter()
                .chain(setup.traces.clone())
                .chain(peers())
                .chain([
                    ("WA_SERVER_URL", format!("{}/wa", simulator.base_url())),
                    ("WA_ADMIN_TOKEN", WA_ADMIN_TOKEN.to_owned()),
                    ("REDIS_URL", setup.redis_url.clone()),
                    ("REDIS_PREFIX", format!("{prefix}wa-support:")),
                    ("RABBITMQ_URL", setup.rabbitmq_url.clone()),
                    ("BROKER_PREFIX", prefix.clone()),
                    ("INTERNAL_API_KEYS", format!("govconnect:{GATEWAY_KEY}")),
                    // Webhooks pass through the gateway on their way to channel-service.
                    (
                        "PUBLIC_GATEWAY_BASE_URL",
                        format!("http://127.0.0.1:{gateway_port}"),
                    ),
                    ("OUTBOUND_ALLOWED_PRIVATE_HOSTS", "127.0.0.1:*".to_owned()),
                    // What is sent is no spam, however fast this machine is.
                    ("PUBLIC_KEY_RATE_LIMIT_MAX_REQUEST", "1000000".to_owned()),
                    ("PUBLIC_KEY_SPAM_MAX_PER_10S", "1000000".to_owned()),
                    ("HOOK_LEASE_MS", "6000".to_owned()),
                    ("HOOK_RETRY_ATTEMPTS", "100".to_owned()),
                    ("HOOK_RETRY_FIRST_MS", "100".to_owned()),
                    ("HOOK_RETRY_LONGEST_MS", "1000".to_owned()),
                ]),
        );
        let channel = Process::new(
            "channel-service",
            &logs,
            common(channel_port, "channel")
                .into_iter()
                .chain(setup.traces.clone())
                .chain(shared())
                .chain(peers())
                .chain([
                    ("WA_API_URL", format!("http://127.0.0.1:{gateway_port}/v1/wa")),
                    (
                        "PUBLIC_CHANNEL_BASE_URL",
                        format!("http://127.0.0.1:{channel_port}"),
                    ),
                    ("MEDIA_STORAGE_PATH", logs.join("uploads").display().to_string()),
                    (
                        "MEDIA_INTERNAL_URL",
                        format!("http://127.0.0.1:{channel_port}/uploads"),
                    ),
                    // Agents' files are fetched from the bridge.
                    ("OUTBOUND_ALLOWED_PRIVATE_HOSTS", "127.0.0.1:*".to_owned()),
                    ("SEND_RATE_PER_ACCOUNT", "5000".to_owned()),
                    ("SEND_RATE_PER_TENANT", "5000".to_owned()),
                    ("SEND_ATTEMPTS", "100".to_owned()),
                    ("SEND_RETRY_FIRST_MS", "100".to_owned()),
                    ("SEND_RETRY_CAP_MS", "1000".to_owned()),
                ])
                .chain(setup.with_gowa.then(|| {
                    let gateway = format!("http://127.0.0.1:{gateway_port}/v1/wa");
                    ("WHATSAPP_ENDPOINTS", endpoints(&gateway, &simulator.base_url()))
                })),
        );
        let bridge = Process::new(
            "chatwoot-bridge",
            &logs,
            common(bridge_port, "chatwoot_bridge")
                .into_iter()
                .chain(setup.traces.clone())
                .chain(shared())
                .chain(peers())
                .chain([
                    ("BASIC_AUTH_PASS", BRIDGE_PASSWORD.to_owned()),
                    ("OUTBOUND_ALLOWED_PRIVATE_HOSTS", "127.0.0.1:*".to_owned()),
                    (
                        "CHANNEL_FILES_URL",
                        format!("http://127.0.0.1:{channel_port}/uploads"),
                    ),
                    ("FILES_URL", format!("http://127.0.0.1:{bridge_port}")),
                    ("RETRY_ATTEMPTS", "100".to_owned()),
                    ("RETRY_FIRST_MS", "100".to_owned()),
                    ("RETRY_LONGEST_MS", "1000".to_owned()),
                ]),
        );
        let mut world = Self {
            gateway: gateway.await,
            channel: channel.await,
            bridge: bridge.await,
            simulator,
            tables: Tables::of(&database.admin_url()).await,
            queues: Queues::with_prefix(&prefix).await,
            database,
            http: reqwest::Client::builder().no_proxy().build().unwrap(),
        };
        for service in world.services() {
            service.take_release(setup.release.as_deref());
            bring_up(service).await;
        }
        world
    }

    pub(crate) fn services(&mut self) -> [&mut Process; 3] {
        [&mut self.gateway, &mut self.channel, &mut self.bridge]
    }

    pub(crate) fn service(&mut self, name: &str) -> &mut Process {
        self.services()
            .into_iter()
            .find(|service| service.service() == name)
            .unwrap()
    }

    /// Waits until every service says that it is ready, for which only Postgres has to be there.
    pub(crate) async fn all_ready(&mut self) {
        for name in end_to_end::SERVICES {
            self.ready(name).await;
        }
    }

    pub(crate) async fn ready(&mut self, name: &str) {
        let url = format!("{}/health/ready", address(self.service(name)));
        let http = self.http.clone();
        eventually_within(PATIENCE, &format!("{name} is ready"), || {
            let asked = http.get(&url).timeout(Duration::from_secs(10)).send();
            async move { asked.await.ok()?.status().is_success().then_some(()) }
        })
        .await;
    }

    /// What `deploy/dev/lib/demo.sh` does.
    pub(crate) async fn add_tenant(&self, id: &str) -> Tenant {
        let (account, session, secrets) = self.add_account(id).await;
        let mut tenant = self.add_inbox(id, &account).await;
        tenant.session = session;
        tenant.secrets.extend(secrets);
        tenant
    }

    /// A tenant with a session that is paired, and no inbox. Returns the account's id and the session's name and secrets.
    pub(crate) async fn add_account(&self, id: &str) -> (String, String, [String; 2]) {
        let session = format!("{id}-wa");
        let webhook = format!("{}/webhook", address(&self.channel));
        let create = [
            "session",
            "create",
            "--customer",
            id,
            "--source",
            "govconnect",
            "--name",
            &session,
            "--webhook-url",
            &webhook,
        ];
        let made = answer(&self.gateway, &self.gateway.run(&create, &[]).await);
        let [session_id, token, key] =
            ["session_id", "session_token", "hmac_key"].map(|field| text(&made, field));

        let create = [
            "account",
            "create",
            "--tenant",
            id,
            "--instance",
            &session,
            "--session-id",
            &session_id,
        ];
        let secrets = [("SESSION_TOKEN", token.as_str()), ("HMAC_KEY", key.as_str())];
        let made = answer(&self.channel, &self.channel.run(&create, &secrets).await);
        assert_eq!(text(&made, "tenant_id"), id);
        let account = text(&made, "account_id");

        eventually_within(PATIENCE, "the session is paired", || async {
            let users = self.simulator.wa_users();
            users
                .iter()
                .any(|user| user.name == session && user.logged_in)
                .then_some(())
        })
        .await;
        (account, session, [token, key])
    }

    /// A Chatwoot account with an inbox that speaks for the tenant's account.
    pub(crate) async fn add_inbox(&self, id: &str, account: &str) -> Tenant {
        let chatwoot = self.simulator.create_chatwoot_account(NewAccount {
            name: Some(format!("Kanal {id}")),
        });
        let inbox = self
            .simulator
            .create_chatwoot_inbox(NewInbox {
                account_id: chatwoot.id,
                name: "WhatsApp".to_owned(),
                webhook_url: format!("{}/webhook", address(&self.bridge)),
                secret: None,
                lock_to_single_conversation: false,
                channel_type: None,
            })
            .unwrap();
        let (chatwoot_account, inbox_id) = (chatwoot.id.to_string(), inbox.id.to_string());
        let url = format!("{}/chatwoot", self.simulator.base_url());
        let connect = [
            "inbox",
            "connect",
            "--tenant",
            id,
            "--account",
            account,
            "--chatwoot-url",
            &url,
            "--chatwoot-account",
            &chatwoot_account,
            "--inbox",
            &inbox_id,
        ];
        let secrets = [
            ("CHATWOOT_API_TOKEN", chatwoot.api_access_token.as_str()),
            ("CHATWOOT_WEBHOOK_SECRET", inbox.secret.as_str()),
        ];
        let made = answer(&self.bridge, &self.bridge.run(&connect, &secrets).await);
        assert_eq!(text(&made, "tenant_id"), id);

        Tenant {
            id: id.to_owned(),
            session: String::new(),
            chatwoot_account: chatwoot.id,
            inbox: inbox.id,
            secrets: vec![chatwoot.api_access_token, inbox.secret],
        }
    }

    /// Waits until nothing is left to be published, taken or done.
    pub(crate) async fn quiet(&self) {
        let mut before = false;
        let mut left = String::new();
        let waiting = tokio::time::timeout(PATIENCE, async {
            loop {
                let (tables, queues) = (self.tables.unfinished().await, self.queues.waiting().await);
                let quiet = tables == [0; UNFINISHED.len()] && queues == 0;
                if quiet && before {
                    return;
                }
                before = quiet;
                left = format!("{UNFINISHED:?}: {tables:?}, queues: {queues}");
                // Between a queue and a table a message is in nobody's count: look twice.
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        });
        assert!(waiting.await.is_ok(), "work is left over: {left}");
        assert_eq!(self.tables.put_aside().await, 0, "put aside for people");
        assert_eq!(self.queues.dead_letters().await, 0, "dead letters");
    }

    /// Stops everything in order and cleans up.
    pub(crate) async fn finish(mut self) {
        for service in self.services() {
            let status = service.terminate(STOP_PATIENCE).await;
            assert_eq!(
                status.and_then(|status| status.code()),
                Some(0),
                "{}",
                service.service()
            );
        }
        self.simulator.stop().await;
        self.queues.delete().await;
        drop(self.database);
    }

    pub(crate) fn contacts(&self, tenant: &Tenant) -> Vec<ContactView> {
        self.simulator.chatwoot_contacts(tenant.chatwoot_account)
    }

    pub(crate) fn conversations(&self, tenant: &Tenant) -> Vec<ConversationView> {
        self.simulator.chatwoot_conversations(tenant.chatwoot_account)
    }

    /// The messages of one kind (`incoming`, `outgoing`) in a tenant's Chatwoot, oldest first.
    pub(crate) fn messages(&self, tenant: &Tenant, kind: &str) -> Vec<MessageView> {
        let mut messages = self.simulator.chatwoot_messages(tenant.chatwoot_account);
        messages.retain(|message| message.message_type == kind);
        messages
    }
}

/// `http://host:port` of a service.
pub(crate) fn address(service: &Process) -> String {
    format!("http://127.0.0.1:{}", service.variable("PORT"))
}

/// Panics with what the command said when it failed.
/// Brings a service's schema up to what its executable was made for.
pub(crate) async fn bring_up(service: &Process) {
    let mut output = service.run(&["migrate", "--bootstrap"], &[]).await;
    // Releases before this way of saying it did the same without.
    if output.status.code() == Some(2) {
        output = service.run(&["migrate"], &[]).await;
    }
    successful(service, &output);
}

pub(crate) fn successful(service: &Process, output: &Output) {
    assert!(
        output.status.success(),
        "{}: {}\n{}",
        service.service(),
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
}

/// The JSON object that a command prints.
pub(crate) fn answer(service: &Process, output: &Output) -> Value {
    successful(service, output);
    serde_json::from_slice(&output.stdout).unwrap()
}

fn text(object: &Value, field: &str) -> String {
    object[field]
        .as_str()
        .unwrap_or_else(|| panic!("no {field} in the answer"))
        .to_owned()
}
