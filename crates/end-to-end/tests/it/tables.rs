//! A look into the services' tables, behind the policies.

use tokio_postgres::{Client, NoTls};

/// What is counted to see whether work is left.
pub(crate) const UNFINISHED: [&str; 6] = [
    "wa_support.outbox",
    "wa_support.lane_tasks",
    "channel.outbox",
    "channel.lane_tasks",
    "chatwoot_bridge.outbox",
    "chatwoot_bridge.lane_tasks",
];

/// A connection of the privileged role.
pub(crate) struct Tables(Client);

impl Tables {
    pub(crate) async fn of(admin_url: &str) -> Self {
        let (client, connection) = tokio_postgres::connect(admin_url, NoTls).await.unwrap();
        tokio::spawn(connection);
        Self(client)
    }

    /// The only number of the only row.
    pub(crate) async fn number(&self, query: &str) -> i64 {
        self.0.query_one(query, &[]).await.unwrap().get(0)
    }

    /// The only text of the only row.
    pub(crate) async fn text(&self, query: &str) -> String {
        self.0.query_one(query, &[]).await.unwrap().get(0)
    }

    pub(crate) async fn count(&self, rows: &str) -> i64 {
        self.number(&format!("SELECT count(*) FROM {rows}")).await
    }

    /// What is still to be published or to be done, by table.
    pub(crate) async fn unfinished(&self) -> [i64; UNFINISHED.len()] {
        let mut left = [0; UNFINISHED.len()];
        for (left, table) in left.iter_mut().zip(UNFINISHED) {
            *left = self.count(table).await;
        }
        left
    }

    /// What was put aside for people. A session pairs before its account is registered, so the events of that are nobody's.
    pub(crate) async fn put_aside(&self) -> i64 {
        self.number(
            "SELECT (SELECT count(*) FROM channel.lane_tasks WHERE parked) \
                  + (SELECT count(*) FROM chatwoot_bridge.lane_tasks WHERE parked) \
                  + (SELECT count(*) FROM wa_support.lane_tasks WHERE parked) \
                  + (SELECT count(*) FROM channel.quarantine \
                      WHERE convert_from(body, 'UTF8') ~ 'type...(Message|ReadReceipt)')",
        )
        .await
    }
}
