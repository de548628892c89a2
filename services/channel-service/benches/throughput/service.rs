//! channel-service as a process of its own.

use std::net::SocketAddr;
use std::process::Stdio;
use std::time::Duration;

use lapin::options::{ExchangeDeleteOptions, QueueDeleteOptions};
use lapin::{Connection, ConnectionProperties};
use messaging::topology::{Queue, Topology};
use tempfile::TempDir;
use test_support::TestProcessDatabase;
use tokio::process::{Child, Command};

/// What callers of the internal routes show.
pub(crate) const INTERNAL_KEY: (&str, &str) = ("x-internal-api-key", "bench-internal-key");

/// How a measurement wants its service.
#[derive(Default)]
pub(crate) struct Wishes {
    /// Nobody is where the broker should be.
    pub(crate) broker_away: bool,
    /// Prefix of the WhatsApp server's API, if it is called at all.
    pub(crate) wa_api: Option<String>,
    /// `WHATSAPP_ENDPOINTS`, instead of that one server.
    pub(crate) endpoints: Option<String>,
    /// Settings besides the usual ones.
    pub(crate) settings: &'static [(&'static str, &'static str)],
}

pub(crate) struct Service {
    child: Child,
    /// Where files lie; gone with the service.
    _uploads: TempDir,
    address: SocketAddr,
    topology: Topology,
}

pub(crate) async fn start(database: &TestProcessDatabase, wishes: Wishes) -> Service {
    let address = web::bind("127.0.0.1:0".parse().unwrap())
        .unwrap()
        .local_addr()
        .unwrap();
    let prefix = test_support::unique_prefix("bench");
    let uploads = tempfile::tempdir().expect("a directory for files");
    // A port nobody listens on: the broker is away, and accepting goes on.
    let rabbitmq = if wishes.broker_away {
        "amqp://127.0.0.1:9/%2f".to_owned()
    } else {
        test_support::rabbitmq_url()
    };
    let child = Command::new(env!("CARGO_BIN_EXE_channel-service"))
        .env_clear()
        .env("HOST", "127.0.0.1")
        .env("PORT", address.port().to_string())
        .env("DATABASE_URL", database.service_url("channel"))
        .env("REDIS_URL", test_support::redis_url())
        .env("REDIS_PREFIX", test_support::unique_prefix("bench"))
        .env("RABBITMQ_URL", rabbitmq)
        .env("BROKER_PREFIX", &prefix)
        .env("ENCRYPTION_KEYS", test_support::ENCRYPTION_KEYS)
        .env("INTERNAL_API_KEY", INTERNAL_KEY.1)
        .env(
            wishes
                .endpoints
                .as_ref()
                .map_or("WA_API_URL", |_| "WHATSAPP_ENDPOINTS"),
            wishes
                .endpoints
                .or(wishes.wa_api)
                .unwrap_or_else(|| "http://127.0.0.1:9".to_owned()),
        )
        .env("MEDIA_STORAGE_PATH", uploads.path())
        // What is refused is counted, and until it is ready the service refuses to say that it is.
        .env("LOG_LEVEL", "error,web::server=off")
        .env("LOG_FORMAT", "pretty")
        .envs(wishes.settings.iter().copied())
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("the service starts");
    test_support::eventually("the service is ready", || async {
        web::healthcheck::run(address).await.ok()
    })
    .await;
    Service {
        child,
        _uploads: uploads,
        address,
        topology: Topology::with_prefix(&prefix),
    }
}

impl Service {
    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Processor time so far, user and system.
    pub(crate) fn cpu_seconds(&self) -> f64 {
        let stat = self.proc("stat");
        // Fields are counted behind the name, which may hold blanks; the kernel's tick is 10 ms.
        let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
        let ticks: f64 = fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap();
        ticks / 100.0
    }

    /// Most memory ever resident.
    pub(crate) fn peak_memory_mib(&self) -> f64 {
        let status = self.proc("status");
        let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1024.0
    }

    fn proc(&self, file: &str) -> String {
        std::fs::read_to_string(format!("/proc/{}/{file}", self.child.id().unwrap())).unwrap()
    }

    /// Ends the service. Returns how many events waited for chatwoot-bridge, which is away: all that were relayed to it.
    pub(crate) async fn stop(&mut self) -> u32 {
        let pid = self.child.id().unwrap().to_string();
        Command::new("kill").arg(pid).status().await.unwrap();
        let stopped = tokio::time::timeout(Duration::from_secs(15), self.child.wait()).await;
        stopped.expect("it stops in time").unwrap();
        self.clear_broker().await
    }

    /// Takes away what the service declared, and all the events on it.
    async fn clear_broker(&self) -> u32 {
        let properties = ConnectionProperties::default();
        let connection = Connection::connect(&test_support::rabbitmq_url(), properties)
            .await
            .unwrap();
        let channel = connection.create_channel().await.unwrap();
        let mut waiting = 0;
        for queue in Queue::ALL {
            for name in [self.topology.queue(queue), self.topology.dead_letter_queue(queue)] {
                let options = QueueDeleteOptions::default();
                let messages = channel.queue_delete(name.as_str().into(), options).await.unwrap();
                if name == self.topology.queue(Queue::BridgeEvents) {
                    waiting = messages;
                }
            }
        }
        for exchange in [self.topology.events_exchange(), self.topology.dead_exchange()] {
            let options = ExchangeDeleteOptions::default();
            channel.exchange_delete(exchange.into(), options).await.unwrap();
        }
        connection.close(200, "done".into()).await.unwrap();
        waiting
    }
}
