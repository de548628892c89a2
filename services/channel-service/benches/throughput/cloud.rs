//! What Meta's Cloud API asks of a receiver: three reports for each message that goes out, and what people answer.
//!
//! A thousand messages a second are sent, delivered and read, in bodies of ten reports, and 300 texts a second come in, each in a
//! body of its own. Then the largest bodies there are: a thousand updates in each of three. At last texts come in bodies of a
//! hundred as fast as they are taken, beside the same rows written straight. All bodies are signed, as Meta signs them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use cache::RedisLink;
use channel_service::flows::route_account::AccountRoutes;
use database::{Database, DatabaseUrl, PoolSettings, SchemaNames};
use domain::ids::PhoneNumberId;
use hmac::{Hmac, KeyInit as _, Mac as _};
use secrecy::SecretString;
use serde::Serialize;
use serde_json::{Value, json};
use sha2::Sha256;
use test_support::TestProcessDatabase;
use tokio_postgres::Client;

use crate::callers::{Call, Connection, call_for, post};
use crate::measured::Measured;
use crate::mixed::confirmed;
use crate::service::{self, Service, Wishes};
use crate::{straight, tenants};

const TENANTS: usize = 50;
/// Chats of each tenant in which it wrote before.
const CHATS: u64 = 10;
/// Messages a second that go out.
const SENT_A_SECOND: u64 = 1_000;
/// Reports of one body.
const REPORTS: u64 = 10;
/// Bodies of either sort a second: three reports for each message, and 300 texts.
const BODIES_A_SECOND: u64 = 3 * SENT_A_SECOND / REPORTS;
const CONNECTIONS: usize = 60;
/// Updates of the largest bodies, how many of those come at the same time, and how often they do.
const MOST: u64 = 1_000;
const LARGE: usize = 3;
const ROUNDS: usize = 5;
/// Texts of one body, where as many are taken as can be.
const BATCH: u64 = 100;
const BATCHING: usize = 16;
/// Connections on which rows are written straight.
const STRAIGHT: usize = 32;
/// How long the flow goes on before it is measured: connections are opened, statements prepared and rows of tenants read.
const WARM: Duration = Duration::from_secs(3);
const LOOKUPS: u32 = 1_000_000;

const SECRET: &str = "0123456789abcdef0123456789abcdef";
const STAGES: [&str; 3] = ["sent", "delivered", "read"];

/// Numbers no text of this run has had.
static TEXTS: AtomicU64 = AtomicU64::new(0);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Reports,
    Text,
}

#[derive(Debug, Serialize)]
pub(crate) struct Report {
    tenants: usize,
    /// Updates a second that were posted, reports and texts.
    updates_per_second: f64,
    flow: Measured,
    kinds: Vec<Measured>,
    slowest_ms: f64,
    /// Messages of ours that the reports moved.
    moved: i64,
    /// Bodies of a thousand reports, and of a thousand texts.
    large: Vec<Measured>,
    straight: Measured,
    /// Bodies of a hundred texts.
    batched: Measured,
    /// Texts a second in bodies of a hundred / rows written straight.
    ratio: f64,
    /// Nanoseconds to say whose a number is, where the process knows it.
    lookup_ns: f64,
}

pub(crate) async fn run(time: Duration) -> Report {
    println!("\n# Cloud API\n\npreparing {TENANTS} tenants");
    let database = TestProcessDatabase::create().await;
    let tenants = Arc::new(tenants::prepare(&database, TENANTS).await);
    let admin = straight::admin(&database).await;
    give_numbers(&admin).await;

    println!("\n{}", Measured::header());
    let straight = straight::measure(&database, &tenants, STRAIGHT, time).await;
    println!("{straight}");
    straight::clear(&database).await;
    // A second more than is measured: the last bodies begin before the end.
    write_before(&admin, SENT_A_SECOND * (WARM.as_secs() + time.as_secs() + 1)).await;
    let wishes = Wishes {
        endpoints: Some(endpoint()),
        ..Wishes::default()
    };
    let mut service = service::start(&database, wishes).await;

    let (flow, kinds, slowest_ms, updates_per_second) = steady(&service, time).await;
    let moved = confirmed(&admin).await;
    assert!(moved > 0, "reports find their messages");
    println!(
        "  slowest {slowest_ms:.1} ms, {updates_per_second:.0} updates a second, {moved} messages moved"
    );

    let large = vec![
        largest(&service, "  1000 reports in each", |from| reports(from, MOST)).await,
        largest(&service, "  1000 texts in each", |from| texts(from, MOST)).await,
    ];

    let before = service.cpu_seconds();
    let heard = call_for(time, service.address(), BATCHING, None, |_| {
        ((), texts(TEXTS.fetch_add(BATCH, Ordering::Relaxed), BATCH))
    })
    .await;
    let cpu = service.cpu_seconds() - before;
    let batched = Measured::new(
        "bodies of 100 texts",
        BATCHING,
        heard.times(),
        heard.refused,
        heard.took,
    )
    .with_cost(cpu, service.peak_memory_mib());
    println!("{batched}");
    service.stop().await;

    let ratio = batched.per_second * BATCH as f64 / straight.per_second;
    println!("\ntexts a second in bodies of {BATCH} / rows written straight: {ratio:.2}");
    let lookup_ns = lookup(&database).await;
    println!("whose a number is, in process: {lookup_ns:.0} ns");
    Report {
        tenants: TENANTS,
        updates_per_second,
        flow,
        kinds,
        slowest_ms,
        moved,
        large,
        straight,
        batched,
        ratio,
        lookup_ns,
    }
}

/// The flow of reports and texts; by itself, by kind, its slowest answer and how many updates a second there were.
async fn steady(service: &Service, time: Duration) -> (Measured, Vec<Measured>, f64, f64) {
    let sent = Arc::new(AtomicU64::new(0));
    let bodies = Arc::new(AtomicU64::new(0));
    let pace = Duration::from_secs(1) * u32::try_from(CONNECTIONS).unwrap()
        / u32::try_from(2 * BODIES_A_SECOND).unwrap();
    let flow = move |_| {
        if bodies.fetch_add(1, Ordering::Relaxed).is_multiple_of(2) {
            let from = sent.fetch_add(REPORTS, Ordering::Relaxed);
            (Kind::Reports, reports(from, REPORTS))
        } else {
            (Kind::Text, texts(TEXTS.fetch_add(1, Ordering::Relaxed), 1))
        }
    };
    call_for(WARM, service.address(), CONNECTIONS, Some(pace), flow.clone()).await;
    let before = service.cpu_seconds();
    let heard = call_for(time, service.address(), CONNECTIONS, Some(pace), flow).await;
    let cpu = service.cpu_seconds() - before;
    let slowest = heard.times().into_iter().max().unwrap_or_default();
    let flow = Measured::new(
        "3,000 reports, 300 texts",
        CONNECTIONS,
        heard.times(),
        heard.refused,
        heard.took,
    )
    .with_cost(cpu, service.peak_memory_mib());
    println!("{flow}");
    let mut kinds = Vec::new();
    for (kind, name) in [
        (Kind::Reports, "  bodies of 10 reports"),
        (Kind::Text, "  bodies of a text"),
    ] {
        let times = heard.times_of(|of| *of == kind);
        let measured = Measured::new(name, CONNECTIONS, times, 0, heard.took);
        println!("{measured}");
        kinds.push(measured);
    }
    let updates = kinds[0].accepted * REPORTS + kinds[1].accepted;
    let per_second = updates as f64 / heard.took.as_secs_f64();
    (flow, kinds, slowest.as_secs_f64() * 1000.0, per_second)
}

/// Several of the largest bodies at the same time, a few times.
async fn largest(service: &Service, name: &'static str, body: impl Fn(u64) -> Call) -> Measured {
    let started = Instant::now();
    let (mut times, mut refused) = (Vec::new(), 0);
    for _ in 0..ROUNDS {
        let calls: Vec<_> = (0..LARGE)
            .map(|_| {
                let call = body(TEXTS.fetch_add(MOST, Ordering::Relaxed));
                let address = service.address();
                tokio::spawn(async move {
                    let mut connection = Connection::open(address).await;
                    let sent = Instant::now();
                    let (status, _) = connection.call(call).await;
                    status.is_success().then(|| sent.elapsed())
                })
            })
            .collect();
        for call in calls {
            match call.await.unwrap() {
                Some(time) => times.push(time),
                None => refused += 1,
            }
        }
    }
    let measured = Measured::new(name, LARGE, times, refused, started.elapsed());
    println!("{measured}");
    measured
}

/// Reports number `from` to `from + count`. A second's messages are all sent, then all delivered, then all read.
fn reports(from: u64, count: u64) -> Call {
    let told = (from..from + count).map(|n| {
        let second = n / (3 * SENT_A_SECOND);
        let (stage, place) = (n / SENT_A_SECOND % 3, n % SENT_A_SECOND);
        let message = second * SENT_A_SECOND + place;
        let stage = STAGES[usize::try_from(stage).unwrap()];
        let status = json!({
            "id": wamid(message), "status": stage, "timestamp": now(), "recipient_id": person(message),
            "biz_opaque_callback_data": "job:018f-0001",
            "pricing": {"billable": true, "pricing_model": "PMP", "type": "regular", "category": "utility"},
        });
        (tenant_of(message), status)
    });
    envelope("statuses", told)
}

/// Texts number `from` to `from + count`.
fn texts(from: u64, count: u64) -> Call {
    let words = format!("Selamat pagi {}", "a".repeat(820));
    let told = (from..from + count).map(|n| {
        // Ten people write now and then.
        let text = json!({"from": person(n / 50), "id": format!("wamid.HBgNTEXT{n:012}=="), "timestamp": now(), "type": "text",
            "text": {"body": words}});
        (tenant_of(n), text)
    });
    envelope("messages", told)
}

/// A signed body with these items, each for the number of a tenant. Neighbours for the same one share a change.
fn envelope(list: &str, items: impl Iterator<Item = (usize, Value)>) -> Call {
    let mut entries: Vec<(usize, Vec<Value>)> = Vec::new();
    for (tenant, item) in items {
        match entries.last_mut() {
            Some((last, items)) if *last == tenant => items.push(item),
            _ => entries.push((tenant, vec![item])),
        }
    }
    let entries: Vec<Value> = entries
        .into_iter()
        .map(|(tenant, items)| {
            json!({"id": waba(tenant), "changes": [{"field": "messages", "value": {"messaging_product": "whatsapp",
                "metadata": {"display_phone_number": display(tenant), "phone_number_id": number(tenant)}, list: items}}]})
        })
        .collect();
    let body = json!({"object": "whatsapp_business_account", "entry": entries}).to_string();
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).expect("any length is a key");
    mac.update(body.as_bytes());
    let signature = format!("sha256={}", hex::encode(mac.finalize().into_bytes()));
    post(
        "/api/whatsapp/webhook",
        &[("x-hub-signature-256", &signature)],
        body,
    )
}

/// Ten in a row are the same tenant's.
fn tenant_of(n: u64) -> usize {
    usize::try_from(n / REPORTS).unwrap() % TENANTS
}

fn number(tenant: usize) -> String {
    format!("11098{tenant:010}")
}

fn waba(tenant: usize) -> String {
    format!("21098{tenant:010}")
}

fn display(tenant: usize) -> String {
    format!("62215{tenant:07}")
}

fn wamid(message: u64) -> String {
    format!("wamid.HBgNOURS{message:012}==")
}

fn person(n: u64) -> String {
    (6_281_300_000_000 + n % CHATS).to_string()
}

fn now() -> String {
    chrono::Utc::now().timestamp().to_string()
}

fn endpoint() -> String {
    let numbers: Vec<String> = (0..TENANTS).map(number).collect();
    json!([{"name": "Meta", "provider": "cloud", "apiUrl": "http://127.0.0.1:9/graph", "apiKey": "bench-access-token",
        "appSecret": SECRET, "verifyToken": "bench-verify-token", "phoneNumberIds": numbers}])
    .to_string()
}

/// Every tenant's account has a number at Meta from now on.
async fn give_numbers(admin: &Client) {
    // Tenants are called `desa-<n>`.
    admin
        .batch_execute(
            "DELETE FROM tenant_directory; \
             UPDATE accounts SET provider = 'cloud', endpoint = 'Meta', webhook_keys_sealed = '{}', \
                 instance_name = '11098' || lpad(substr(tenant_id, 6), 10, '0'), \
                 session_id = '11098' || lpad(substr(tenant_id, 6), 10, '0'); \
             INSERT INTO cloud_numbers (tenant_id, phone_number_id, waba_id, display_number, account_id, valid_from) \
             SELECT tenant_id, instance_name, '21098' || lpad(substr(tenant_id, 6), 10, '0'), \
                    '62215' || lpad(substr(tenant_id, 6), 7, '0'), id, 'epoch' FROM accounts; \
             INSERT INTO tenant_directory (kind, external_id, tenant_id, subject_id) \
             SELECT 'cloud_number', instance_name, tenant_id, id FROM accounts",
        )
        .await
        .unwrap();
}

/// The tenants have written so many messages, ten in a row of each, which wait for their reports.
async fn write_before(admin: &Client, messages: u64) {
    let of = |number: u64| i64::try_from(number).unwrap();
    admin
        .execute(
            "INSERT INTO chats (tenant_id, id, account_id, address, phone, name, last_message_at, last_text) \
             SELECT a.tenant_id, gen_random_uuid(), a.id, number || '@s.whatsapp.net', number::text, 'Budi', now(), '' \
             FROM accounts a, generate_series(6281300000000, 6281300000000 + $1::bigint - 1) number",
            &[&of(CHATS)],
        )
        .await
        .unwrap();
    admin
        .execute(
            "INSERT INTO messages (tenant_id, id, account_id, chat_id, direction, source, provider_message_id, kind, \
                                   body, content, sent_at, status) \
             SELECT c.tenant_id, gen_random_uuid(), c.account_id, c.id, 'outbound', 'system', \
                    'wamid.HBgNOURS' || lpad(n::text, 12, '0') || '==', 'text', 'Baik', \
                    '{\"kind\":\"text\",\"text\":\"Baik\"}', now(), 'sent' \
             FROM generate_series(0, $1::bigint - 1) n \
             JOIN chats c ON c.phone = (6281300000000 + n % $2)::text AND c.tenant_id = 'desa-' || (n / $3 % $4)::text",
            &[&of(messages), &of(CHATS), &of(REPORTS), &of(TENANTS as u64)],
        )
        .await
        .unwrap();
    admin
        .batch_execute("ANALYZE chats, messages, accounts, cloud_numbers; CHECKPOINT")
        .await
        .unwrap();
}

/// How long it takes in the mean to say whose a number is, where this process has met it a moment ago.
async fn lookup(database: &TestProcessDatabase) -> f64 {
    let url: DatabaseUrl = database.service_url("channel").parse().expect("a URL");
    let pool = PoolSettings {
        size: 2,
        wait: Duration::from_secs(10),
    };
    let names = SchemaNames::of_service(channel_service::SCHEMA);
    let db = Database::new(&url, names, pool).expect("a pool");
    let prefix = test_support::unique_prefix("bench");
    let redis = RedisLink::new(&SecretString::from(test_support::redis_url()), &prefix).expect("a URL");
    let routes = AccountRoutes::new(db, redis);
    let numbers: Vec<PhoneNumberId> = (0..TENANTS)
        .map(|tenant| PhoneNumberId::parse(number(tenant)).expect("a number"))
        .collect();
    for number in &numbers {
        let known = routes.find_number(number).await.expect("an answer");
        assert!(known.is_some(), "the number is somebody's");
    }
    let started = Instant::now();
    for (_, number) in (0..LOOKUPS).zip(numbers.iter().cycle()) {
        std::hint::black_box(routes.find_number(number).await.expect("an answer"));
    }
    started.elapsed().as_secs_f64() * 1e9 / f64::from(LOOKUPS)
}
