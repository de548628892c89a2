//! Alerts, provoked: what services need is taken away, and a real Prometheus with our rules says which alerts fire.
//! `deploy/dev/alerts-check` brings the Prometheus along.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use end_to_end::free_port;
use serde_json::{Value, json};
use test_support::{CuttableProxy, eventually_within, rabbitmq_url, redis_url};
use tokio::process::{Child, Command};

use crate::world::{INTERNAL_API_KEY, PATIENCE, STOP_PATIENCE, Setup, World, address};

const TOKEN: &str = "end-to-end-metrics-token";

/// A Prometheus that dies with this value.
struct Prometheus {
    _child: Child,
    url: String,
    http: reqwest::Client,
}

impl Prometheus {
    /// With our rules, whose `for:` are left out: how long a thing has to last before somebody is called is promtool's to test.
    async fn start(binary: &str, dir: &Path, world: &World) -> Self {
        let rules = dir.join("rules");
        std::fs::create_dir_all(&rules).unwrap();
        let ours = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/observability/prometheus/rules");
        for entry in std::fs::read_dir(ours).unwrap() {
            let path = entry.unwrap().path();
            let text = std::fs::read_to_string(&path).unwrap();
            let lines: Vec<&str> = text
                .lines()
                .filter(|line| !line.trim_start().starts_with("for: "))
                .collect();
            std::fs::write(rules.join(path.file_name().unwrap()), lines.join("\n")).unwrap();
        }
        std::fs::write(dir.join("token"), TOKEN).unwrap();
        let targets: String = [&world.gateway, &world.channel, &world.bridge]
            .iter()
            .map(|service| {
                let (target, name) = (address(service), service.service());
                let target = target.trim_start_matches("http://");
                format!("      - targets: ['{target}']\n        labels: {{ service: {name} }}\n")
            })
            .collect();
        let config = format!(
            "global: {{ scrape_interval: 1s, evaluation_interval: 1s }}\nrule_files: [rules/*.yml]\n\
             scrape_configs:\n  - job_name: kanal\n    authorization: {{ credentials_file: token }}\n    static_configs:\n{targets}"
        );
        let file = dir.join("prometheus.yml");
        std::fs::write(&file, config).unwrap();
        let port = free_port();
        let log = std::fs::File::create(dir.join("prometheus.log")).unwrap();
        let child = Command::new(binary)
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--storage.tsdb.path={}", dir.join("data").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .stdout(Stdio::null())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        Self {
            _child: child,
            url: format!("http://127.0.0.1:{port}"),
            http: reqwest::Client::builder().no_proxy().build().unwrap(),
        }
    }

    async fn ask(&self, path: &str) -> Option<Value> {
        let asked = self.http.get(format!("{}/api/v1/{path}", self.url));
        let answer = asked.timeout(Duration::from_secs(5)).send().await.ok()?;
        answer.json().await.ok()
    }

    /// The alerts that fire, as `alert service`.
    async fn firing(&self) -> BTreeSet<String> {
        let answer = self.ask("alerts").await.unwrap_or_default();
        let alerts = answer["data"]["alerts"].as_array().cloned().unwrap_or_default();
        alerts
            .iter()
            .filter(|alert| alert["state"] == "firing")
            .map(|alert| {
                let label = |name: &str| alert["labels"][name].as_str().unwrap_or_default().to_owned();
                format!("{} {}", label("alertname"), label("service"))
            })
            .collect()
    }

    async fn fires(&self, wanted: &str) {
        eventually_within(PATIENCE, wanted, || async {
            self.firing().await.contains(wanted).then_some(())
        })
        .await;
    }

    async fn is_quiet(&self) {
        eventually_within(PATIENCE, "all are scraped and no alert fires", || async {
            let up = self.ask("query?query=count(up==1)").await?;
            let up = up["data"]["result"][0]["value"][1] == "3";
            let ready = self.ask("query?query=count(kanal_ledger_held)").await?;
            let seen = ready["data"]["result"][0]["value"][1]
                .as_str()?
                .parse::<u32>()
                .ok()?
                >= 12;
            (up && seen && self.firing().await.is_empty()).then_some(())
        })
        .await;
    }
}

/// Orders a message. The answer comes when it is known what became of it, for which this does not wait.
fn send(world: &World, tenant: &str, to: &str) {
    let order = world
        .http
        .post(format!("{}/internal/send", address(&world.channel)))
        .header("x-internal-api-key", INTERNAL_API_KEY)
        .json(&json!({"village_id": tenant, "wa_user_id": to, "message": "Halo"}));
    tokio::spawn(order.send());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a Prometheus: deploy/dev/alerts-check"]
async fn alerts_fire_when_what_they_are_about_happens_and_not_before() {
    let binary = std::env::var("PROMETHEUS_BIN").unwrap();
    let (rabbitmq, redis) = (rabbitmq_url(), redis_url());
    let broker = CuttableProxy::in_front_of(&rabbitmq, 5672).await;
    let cache = CuttableProxy::in_front_of(&redis, 6379).await;
    let mut world = World::prepare(Setup {
        rabbitmq_url: broker.url(&rabbitmq),
        redis_url: cache.url(&redis),
        ..Setup::named("alerts")
    })
    .await;
    let database = world.channel.variable("DATABASE_URL").to_owned();
    let postgres = CuttableProxy::in_front_of(&database, 5432).await;
    world.channel.set("DATABASE_URL", postgres.url(&database));
    for service in world.services() {
        service.set("METRICS_TOKEN", TOKEN);
        service.start();
    }
    world.all_ready().await;
    let tenant = world.add_tenant("desa-contoh").await;
    let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("end-to-end/alerts/prometheus");
    if dir.exists() {
        std::fs::remove_dir_all(&dir).unwrap();
    }
    let prometheus = Prometheus::start(&binary, &dir, &world).await;
    prometheus.is_quiet().await;

    // The broker, with something that waits for it and has done so for long.
    broker.cut();
    send(&world, &tenant.id, "6281234500031");
    eventually_within(PATIENCE, "something waits for the broker", || async {
        (world.tables.count("channel.outbox").await > 0).then_some(())
    })
    .await;
    world
        .tables
        .number("WITH old AS (UPDATE channel.outbox SET created_at = now() - interval '10 minutes' RETURNING 1) SELECT count(*) FROM old")
        .await;
    cache.cut();
    for alert in [
        "KanalRabbitmqAway channel-service",
        "KanalRabbitmqAway chatwoot-bridge",
        "KanalOutboxOld channel-service",
        "KanalRedisAway channel-service",
    ] {
        prometheus.fires(alert).await;
    }
    broker.restore();
    cache.restore();

    // The WhatsApp server that channel-service talks to is the gateway.
    let stopped = world.gateway.terminate(STOP_PATIENCE).await;
    assert!(stopped.is_some());
    for last in 0..8 {
        send(&world, &tenant.id, &format!("628123450004{last}"));
    }
    prometheus.fires("KanalServiceDown wa-support-gateway").await;
    prometheus.fires("KanalBreakerOpen channel-service").await;
    world.gateway.start();

    postgres.cut();
    for alert in [
        "KanalPostgresAway channel-service",
        "KanalNotReady channel-service",
    ] {
        prometheus.fires(alert).await;
    }
    postgres.restore();

    // And all of it ends by itself.
    world.all_ready().await;
    eventually_within(PATIENCE, "the alerts end", || async {
        let lasting = prometheus.firing().await;
        let over = [
            "KanalRabbitmqAway",
            "KanalOutboxOld",
            "KanalRedisAway",
            "KanalServiceDown",
            "KanalBreakerOpen",
            "KanalPostgresAway",
            "KanalNotReady",
        ];
        let lasts = lasting
            .iter()
            .any(|alert| over.iter().any(|over| alert.starts_with(over)));
        (!lasts).then_some(())
    })
    .await;
    world.finish().await;
}
