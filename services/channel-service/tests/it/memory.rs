//! A large file passes through the service without being held: seen from outside, on the service as a process of its
//! own.

use std::process::Stdio;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use channel_service::config::{EndpointsSettings, FetchedSecrets};
use channel_service::endpoints::{CallSettings, Endpoints};
use channel_service::flows::register_account::{NewAccount, register};
use channel_service::flows::route_account::AccountRoutes;
use database::{Database, DatabaseUrl, PoolSettings, SchemaNames};
use domain::ids::TenantId;
use runtime::config::{Setting as _, SettingsReader};
use runtime::encryption::KeyRing;
use secrecy::SecretString;
use serde_json::json;
use simulator::{Inbound, InboundMedia, NewSession, Simulator, SimulatorConfig, hmac_sha256_hex};
use test_support::{TestProcessDatabase, eventually, eventually_within};
use tokio::process::{Child, Command};
use tokio_postgres::NoTls;

use crate::media::jpeg;

const KEY: &str = "a-key-of-at-least-thirty-two-characters";
const FILE: usize = 48 * 1024 * 1024;
/// Parts on their way to a slow disk, and what an allocator keeps of them: less than the file, let alone its base64.
const ROOM: u64 = 40 * 1024;

/// Most memory ever resident, in KiB.
fn peak(child: &Child) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id().unwrap())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// From here on the peak counts anew.
fn forget_peak(child: &Child) {
    std::fs::write(format!("/proc/{}/clear_refs", child.id().unwrap()), "5").unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_file_passes_without_being_held() {
    test_support::install_crypto_provider();
    let database = TestProcessDatabase::create().await;
    let simulator = Simulator::start(SimulatorConfig::for_tests()).await.unwrap();
    let uploads = tempfile::tempdir().unwrap();
    let address = {
        let listener = web::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        listener.local_addr().unwrap()
    };
    let url: DatabaseUrl = database.service_url("channel").parse().unwrap();
    let names = SchemaNames::of_service(channel_service::SCHEMA);
    let admin: DatabaseUrl = database.admin_url().parse().unwrap();
    database::migrate(&admin, &url, &names, channel_service::MIGRATIONS)
        .await
        .unwrap();
    let prefix = test_support::unique_prefix("memory");
    let session = simulator
        .create_wa_session(NewSession {
            name: "desa-wa".to_owned(),
            webhook: format!("http://{address}/webhook"),
            hmac_key: Some(KEY.to_owned()),
            ..NewSession::default()
        })
        .unwrap();
    let pool = PoolSettings {
        size: 2,
        wait: Duration::from_secs(10),
    };
    let db = Database::new(&url, names, pool).unwrap();
    let redis = cache::RedisLink::new(&SecretString::from(test_support::redis_url()), &prefix).unwrap();
    let new = NewAccount {
        tenant: TenantId::parse("desa").unwrap(),
        instance_name: session.name.clone(),
        session_id: Some(session.id.clone()),
        token: SecretString::from(session.token.as_str()),
        webhook_key: Some(SecretString::from(KEY)),
        unsigned: false,
    };
    let keys = KeyRing::from_text(test_support::ENCRYPTION_KEYS).unwrap();
    let settings = EndpointsSettings::read(SettingsReader::from_map([]), &FetchedSecrets::default()).unwrap();
    let calls = CallSettings {
        timeout: Duration::from_secs(5),
        dry_run: false,
        outage: channel_service::config::OutageSettings::default(),
    };
    let endpoints = Endpoints::build(&settings, calls).unwrap();
    register(
        &db,
        &AccountRoutes::new(db.clone(), redis),
        &keys,
        &endpoints,
        new,
    )
    .await
    .unwrap();

    let mut service = Command::new(env!("CARGO_BIN_EXE_channel-service"))
        .env_clear()
        .env("HOST", "127.0.0.1")
        .env("PORT", address.port().to_string())
        .env("DATABASE_URL", database.service_url("channel"))
        .env("REDIS_URL", test_support::redis_url())
        .env("REDIS_PREFIX", &prefix)
        // Nobody listens there: the broker is away, and receiving goes on.
        .env("RABBITMQ_URL", "amqp://127.0.0.1:9/%2f")
        .env("ENCRYPTION_KEYS", test_support::ENCRYPTION_KEYS)
        .env("INTERNAL_API_KEY", "internal-key-of-the-tests")
        .env("WA_API_URL", format!("{}/wa", simulator.base_url()))
        .env("MEDIA_STORAGE_PATH", uploads.path())
        .env("WEBHOOK_BODY_LIMIT_BYTES", "1048576")
        .env("LOG_LEVEL", "error")
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    eventually("the service is ready", || async {
        web::healthcheck::run(address).await.ok()
    })
    .await;

    let (client, connection) = tokio_postgres::connect(&database.admin_url(), NoTls)
        .await
        .unwrap();
    tokio::spawn(connection);
    let stored = |count: i64| {
        let client = &client;
        async move {
            let query = "SELECT count(*) FROM channel.media WHERE state = 'stored' AND size = $1";
            let row = client
                .query_one(query, &[&i64::try_from(FILE).unwrap()])
                .await
                .unwrap();
            (row.get::<_, i64>(0) == count).then_some(())
        }
    };
    let bytes = jpeg(FILE);
    let small = |name: &str, data: &[u8]| Inbound {
        session: session.id.clone(),
        from: "6281290000022".to_owned(),
        media: Some(InboundMedia {
            kind: "image".to_owned(),
            mimetype: "image/jpeg".to_owned(),
            data: BASE64.encode(data),
            file_name: Some(name.to_owned()),
            ptt: false,
        }),
        ..Inbound::default()
    };
    // Everything that is made once is made now.
    simulator
        .inbound(&small("warm-up.jpg", &jpeg(6 * 1024 * 1024)))
        .unwrap();
    eventually("the first file is stored", || async {
        let row = client
            .query_one("SELECT count(*) FROM channel.media WHERE state = 'stored'", &[])
            .await
            .unwrap();
        (row.get::<_, i64>(0) == 1).then_some(())
    })
    .await;

    forget_peak(&service);
    let before = peak(&service);
    simulator.inbound(&small("large.jpg", &bytes)).unwrap();
    eventually_within(Duration::from_secs(120), "the file is downloaded", || stored(1)).await;
    let grown = peak(&service) - before;
    assert!(grown < ROOM, "a download of {} KiB took {grown} KiB", FILE / 1024);

    // The same file inside of a webhook, over the limit of what is held.
    let mut event = crate::harness::message(
        "6281290000022",
        "3EB0LARGE",
        &json!({"imageMessage": {"mimetype": "image/jpeg", "caption": "besar"}}),
    );
    event["base64"] = json!(BASE64.encode(&bytes));
    event["instanceName"] = json!(session.name);
    event["userID"] = json!(session.id);
    let body = event.to_string();
    let signature = hmac_sha256_hex(KEY, &[body.as_bytes()]);
    forget_peak(&service);
    let before = peak(&service);
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let answer = http
        .post(format!("http://{address}/webhook"))
        .header("content-type", "application/json")
        .header("x-hmac-signature", signature)
        .body(body)
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 200);
    stored(2).await.unwrap();
    let grown = peak(&service) - before;
    assert!(
        grown < ROOM,
        "a webhook with {} KiB took {grown} KiB",
        FILE / 1024
    );

    service.kill().await.unwrap();
    simulator.stop().await;
}
