//! The measure: the same rows, written straight into the same tables, one message a transaction.
//!
//! Written as the privileged role, whom no policy slows down, with prepared statements that are sent without waiting
//! for one another. What is left is what Postgres itself costs.

use std::sync::Arc;
use std::time::{Duration, Instant};

use test_support::TestProcessDatabase;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, NoTls};
use uuid::Uuid;

use crate::measured::Measured;
use crate::tenants::Tenant;
use crate::webhooks::{BODY_BYTES, next};

pub(crate) async fn measure(
    database: &TestProcessDatabase,
    tenants: &Arc<Vec<Tenant>>,
    connections: usize,
    time: Duration,
) -> Measured {
    let mut clients = Vec::with_capacity(connections);
    for _ in 0..connections {
        clients.push(admin(database).await);
    }
    let started = Instant::now();
    let tasks: Vec<_> = clients
        .into_iter()
        .map(|client| tokio::spawn(one_connection(client, Arc::clone(tenants), started + time)))
        .collect();
    let mut times = Vec::new();
    for task in tasks {
        times.extend(task.await.unwrap());
    }
    Measured::new("straight", connections, times, 0, started.elapsed())
}

async fn one_connection(client: Client, tenants: Arc<Vec<Tenant>>, end: Instant) -> Vec<Duration> {
    let ledger = client
        .prepare(
            "INSERT INTO inbound_ledger (tenant_id, account_id, provider_message_id, message_id) \
             VALUES ($1, $2::text::uuid, $3, $4::text::uuid) ON CONFLICT DO NOTHING",
        )
        .await
        .unwrap();
    let chat = client
        .prepare(
            "INSERT INTO chats AS c (tenant_id, id, account_id, address, phone, name, last_message_at, last_text, unread) \
             VALUES ($1, $2::text::uuid, $3::text::uuid, $4, $5, 'Budi', now(), $6, 1) \
             ON CONFLICT (tenant_id, account_id, address) DO UPDATE SET unread = c.unread + 1, \
                 last_message_at = greatest(excluded.last_message_at, c.last_message_at), \
                 last_text = excluded.last_text",
        )
        .await
        .unwrap();
    let message = client
        .prepare(
            "INSERT INTO messages (tenant_id, id, account_id, chat_id, direction, source, provider_message_id, kind, \
                                   body, content, sent_at, status) \
             SELECT $1, $2::text::uuid, $3::text::uuid, id, 'inbound', 'webhook', $5, 'text', $6, $7, now(), 'delivered' \
             FROM chats WHERE tenant_id = $1 AND account_id = $3::text::uuid AND address = $4",
        )
        .await
        .unwrap();
    let outbox = client
        .prepare(
            "INSERT INTO outbox (tenant_id, lane, event_id, event_type, envelope) \
             VALUES ($1, $2, $3::text::uuid, 'message.received', $4)",
        )
        .await
        .unwrap();
    let text = "a".repeat(830);
    let excerpt: String = text.chars().take(500).collect();
    let content = format!(r#"{{"kind":"text","text":"{text}"}}"#);
    let envelope = "e".repeat(BODY_BYTES + 800);
    let mut times = Vec::new();
    while Instant::now() < end {
        let (tenant, n) = next(tenants.len());
        let Tenant { id, account, .. } = &tenants[tenant];
        let (message_id, account) = (Uuid::now_v7().to_string(), account.to_string());
        let phone = (6_281_100_000_000 + n / 50).to_string();
        let address = format!("{phone}@s.whatsapp.net");
        let provider_id = format!("3EB0{tenant:05X}{n:013X}");
        let lane = Uuid::now_v7().to_string();
        let sent = Instant::now();
        let ledger_row: [&(dyn ToSql + Sync); 4] = [id, &account, &provider_id, &message_id];
        let chat_id = Uuid::now_v7().to_string();
        let chat_row: [&(dyn ToSql + Sync); 6] = [id, &chat_id, &account, &address, &phone, &excerpt];
        let message_row: [&(dyn ToSql + Sync); 7] =
            [id, &message_id, &account, &address, &provider_id, &text, &content];
        let outbox_row: [&(dyn ToSql + Sync); 4] = [id, &lane, &message_id, &envelope];
        // Polled in order, so they travel in order on the one connection without a pause between them.
        let (begun, a, b, c, d, committed) = tokio::join!(
            client.batch_execute("BEGIN"),
            client.execute(&ledger, &ledger_row),
            client.execute(&chat, &chat_row),
            client.execute(&message, &message_row),
            client.execute(&outbox, &outbox_row),
            client.batch_execute("COMMIT"),
        );
        begun.unwrap();
        for rows in [a, b, c, d] {
            assert_eq!(rows.unwrap(), 1);
        }
        committed.unwrap();
        times.push(sent.elapsed());
    }
    times
}

/// Takes everything that was written out again: the service's relay would find outbox rows that are no events.
pub(crate) async fn clear(database: &TestProcessDatabase) {
    admin(database)
        .await
        .batch_execute("TRUNCATE outbox, messages, chats, inbound_ledger CASCADE; CHECKPOINT")
        .await
        .unwrap();
}

/// Straight to the service's tables, past all policies.
pub(crate) async fn admin(database: &TestProcessDatabase) -> Client {
    let (client, connection) = tokio_postgres::connect(&database.admin_url(), NoTls)
        .await
        .expect("Postgres");
    tokio::spawn(connection);
    client.batch_execute("SET search_path TO channel").await.unwrap();
    client
}
