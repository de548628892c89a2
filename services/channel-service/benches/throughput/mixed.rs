//! What a day's traffic costs beside texts alone: of ten webhooks seven are texts, one brings a picture inside it, and two
//! are receipts of messages that the tenants sent before.
//!
//! Both parts have a service of their own, so that each has its own peak of memory. Its processor time is counted until
//! everything is relayed, for what is only accepted is not done.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde::Serialize;
use test_support::TestProcessDatabase;
use tokio_postgres::Client;

use crate::callers::{Call, call_for};
use crate::measured::Measured;
use crate::service::{self, Wishes};
use crate::tenants::Tenant;
use crate::webhooks::Picture;
use crate::{straight, tenants, webhooks};

const TENANTS: usize = 50;
const CONNECTIONS: usize = 64;
/// Bytes of a picture; a third more in base64.
const PICTURE_BYTES: usize = 40_000;
/// Chats of each tenant in which it wrote before.
const CHATS: u64 = 10;
/// Messages of each tenant that wait for their receipts, for each second that is measured.
const SENT_A_SECOND: u64 = 20;
/// How long the relay may take to catch up.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Picture,
    Receipt,
}

impl Kind {
    /// What number `n` is.
    const fn of(n: u64) -> Self {
        match n % 10 {
            0..=6 => Self::Text,
            7 => Self::Picture,
            _ => Self::Receipt,
        }
    }
}

/// One of the two mixtures.
#[derive(Debug, Serialize)]
struct Part {
    all: Measured,
    kinds: Vec<Measured>,
    /// Events that were relayed: one for each message that came in, and for each of ours that moved.
    events: u32,
    /// Seconds from the last answer until the outbox was empty and every picture stored. None: longer than our patience.
    done_after_seconds: Option<f64>,
}

#[derive(Debug, Serialize)]
pub(crate) struct Report {
    tenants: usize,
    picture_bytes: usize,
    texts: Part,
    mixed: Part,
    /// Messages of ours that a receipt moved.
    confirmed: i64,
    ratio: f64,
}

pub(crate) async fn run(time: Duration) -> Report {
    println!("\n# mixed ingest\n\npreparing {TENANTS} tenants");
    let database = TestProcessDatabase::create().await;
    let tenants = Arc::new(tenants::prepare(&database, TENANTS).await);
    let admin = straight::admin(&database).await;

    println!("\n{}", Measured::header());
    let of_all = Arc::clone(&tenants);
    let texts = part(&database, &admin, "texts alone", time, move |_| {
        let (tenant, n) = webhooks::next(of_all.len());
        (Kind::Text, webhooks::text(&of_all, tenant, n))
    })
    .await;

    straight::clear(&database).await;
    let sent = SENT_A_SECOND * time.as_secs();
    write_before(&admin, sent).await;
    let sources = Arc::new(Sources {
        tenants,
        picture: Picture::of_bytes(PICTURE_BYTES),
        receipts: (0..TENANTS).map(|_| AtomicU64::new(0)).collect(),
        sent,
    });
    let mixed = part(&database, &admin, "mixed", time, move |_| sources.next()).await;
    let confirmed = confirmed(&admin).await;
    assert!(confirmed > 0, "receipts find their messages");

    let report = Report {
        tenants: TENANTS,
        picture_bytes: PICTURE_BYTES,
        ratio: mixed.all.per_second / texts.all.per_second,
        texts,
        mixed,
        confirmed,
    };
    println!("\nmessages moved by receipts: {confirmed}");
    println!("mixed rate / rate of texts alone: {:.2}", report.ratio);
    report
}

/// Where the mixture comes from.
struct Sources {
    tenants: Arc<Vec<Tenant>>,
    picture: Picture,
    /// Receipts so far, by tenant.
    receipts: Vec<AtomicU64>,
    /// Messages of each tenant that can be confirmed.
    sent: u64,
}

impl Sources {
    fn next(&self) -> (Kind, Call) {
        let tenants = self.tenants.as_slice();
        let (tenant, n) = webhooks::next(tenants.len());
        // Tenants are out of step, so that all kinds come at any time.
        let kind = Kind::of(n + tenant as u64);
        let call = match kind {
            Kind::Text => webhooks::text(tenants, tenant, n),
            Kind::Picture => webhooks::picture(tenants, tenant, n, &self.picture),
            Kind::Receipt => {
                // Each message is delivered, then read.
                let number = self.receipts[tenant].fetch_add(1, Ordering::Relaxed);
                let message = number / 2 % self.sent;
                let person = (6_281_300_000_000 + message % CHATS).to_string();
                let id = format!("3EB0FACE{message:012}");
                webhooks::receipt(tenants, tenant, &person, &id, number % 2 == 1)
            }
        };
        (kind, call)
    }
}

async fn part(
    database: &TestProcessDatabase,
    admin: &Client,
    name: &'static str,
    time: Duration,
    next: impl Fn(usize) -> (Kind, Call) + Clone + Send + 'static,
) -> Part {
    let mut service = service::start(database, Wishes::default()).await;
    let before = service.cpu_seconds();
    let heard = call_for(time, service.address(), CONNECTIONS, None, next).await;
    let pictures = heard.times_of(|kind| *kind == Kind::Picture).len();
    let done_after_seconds = until_done(admin, pictures).await;
    let cpu = service.cpu_seconds() - before;
    let all = Measured::new(name, CONNECTIONS, heard.times(), heard.refused, heard.took)
        .with_cost(cpu, service.peak_memory_mib());
    let events = service.stop().await;

    println!("{all}");
    let mut kinds = Vec::new();
    for (kind, name) in [
        (Kind::Text, "  of them texts"),
        (Kind::Picture, "  of them pictures"),
        (Kind::Receipt, "  of them receipts"),
    ] {
        let times = heard.times_of(|of| *of == kind);
        if !times.is_empty() && times.len() < heard.accepted.len() {
            let measured = Measured::new(name, CONNECTIONS, times, 0, heard.took);
            println!("{measured}");
            kinds.push(measured);
        }
    }
    match done_after_seconds {
        Some(seconds) => println!(
            "  {events} events relayed and {pictures} pictures stored {seconds:.2} s after the last answer"
        ),
        None => println!("  not all relayed and stored within {} s", PATIENCE.as_secs()),
    }
    Part {
        all,
        kinds,
        events,
        done_after_seconds,
    }
}

/// Waits until the outbox is empty and so many files are stored.
async fn until_done(admin: &Client, pictures: usize) -> Option<f64> {
    let pictures = i64::try_from(pictures).unwrap();
    let started = Instant::now();
    while started.elapsed() < PATIENCE {
        let row = admin
            .query_one(
                "SELECT NOT EXISTS (SELECT FROM outbox) \
                    AND (SELECT count(*) FROM media WHERE state = 'stored') >= $1",
                &[&pictures],
            )
            .await
            .unwrap();
        if row.get(0) {
            return Some(started.elapsed().as_secs_f64());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    None
}

/// Every tenant has written so many messages, which wait for their receipts.
async fn write_before(admin: &Client, messages: u64) {
    admin
        .execute(
            "INSERT INTO chats (tenant_id, id, account_id, address, phone, name, last_message_at, last_text) \
             SELECT a.tenant_id, gen_random_uuid(), a.id, number || '@s.whatsapp.net', number::text, 'Budi', now(), '' \
             FROM accounts a, generate_series(6281300000000, 6281300000000 + $1::bigint - 1) number",
            &[&i64::try_from(CHATS).unwrap()],
        )
        .await
        .unwrap();
    admin
        .execute(
            "INSERT INTO messages (tenant_id, id, account_id, chat_id, direction, source, provider_message_id, kind, \
                                   body, content, sent_at, status) \
             SELECT c.tenant_id, gen_random_uuid(), c.account_id, c.id, 'outbound', 'system', \
                    '3EB0FACE' || lpad(n::text, 12, '0'), 'text', 'Baik', '{\"kind\":\"text\",\"text\":\"Baik\"}', \
                    now(), 'sent' \
             FROM generate_series(0, $1::bigint - 1) n JOIN chats c ON c.phone = (6281300000000 + n % $2)::text",
            &[&i64::try_from(messages).unwrap(), &i64::try_from(CHATS).unwrap()],
        )
        .await
        .unwrap();
    admin
        .batch_execute("ANALYZE chats, messages; CHECKPOINT")
        .await
        .unwrap();
}

/// Messages of ours that people have received, as far as that is known.
pub(crate) async fn confirmed(admin: &Client) -> i64 {
    let row = admin
        .query_one(
            "SELECT count(*) FROM messages WHERE direction = 'outbound' AND status IN ('delivered', 'read')",
            &[],
        )
        .await
        .unwrap();
    row.get(0)
}
