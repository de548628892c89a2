//! A customer with a key, as its owner calls.

use reqwest::{Method, RequestBuilder};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::Gateway;

/// A customer and its key.
#[derive(Debug, Clone)]
pub(crate) struct Owner {
    pub(crate) id: String,
    pub(crate) key: String,
}

/// A customer with a subscription for so many sessions, and the statements that make it.
pub(crate) fn new_owner(id: &str, max_sessions: u32) -> (Owner, String) {
    let key = format!("gwa_{id}-{}", uuid::Uuid::now_v7().simple());
    let (hash, row) = (hex::encode(Sha256::digest(&key)), uuid::Uuid::now_v7());
    let statements = format!(
        "INSERT INTO customers (tenant_id, source_service) VALUES ('{id}', 'test') ON CONFLICT DO NOTHING; \
         INSERT INTO subscriptions (tenant_id, id, provider, expires_at, max_sessions) \
         VALUES ('{id}', gen_random_uuid(), 'genfity-wa', '2099-12-31', {max_sessions}) ON CONFLICT DO NOTHING; \
         INSERT INTO api_keys (tenant_id, id, key_hash, prefix) VALUES ('{id}', '{row}', '{hash}', 'gwa_'); \
         INSERT INTO tenant_directory (kind, external_id, tenant_id, subject_id) \
         VALUES ('api_key', '{hash}', '{id}', '{row}')"
    );
    let owner = Owner {
        id: id.to_owned(),
        key,
    };
    (owner, statements)
}

impl Gateway {
    /// A customer with a subscription for so many sessions.
    pub(crate) async fn owner(&self, id: &str, max_sessions: u32) -> Owner {
        let (owner, statements) = new_owner(id, max_sessions);
        self.sql(&statements).await;
        owner
    }

    /// A call with the owner's key.
    pub(crate) fn as_owner(&self, owner: &Owner, method: Method, path: &str) -> RequestBuilder {
        self.client
            .request(method, self.url(path))
            .header("x-api-key", &owner.key)
    }

    /// A call with the owner's key and a body: its status and its answer.
    pub(crate) async fn ask(&self, owner: &Owner, method: &str, path: &str, body: Value) -> (u16, Value) {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let mut call = self.as_owner(owner, method, path);
        if !body.is_null() {
            call = call.json(&body);
        }
        let answer = call.send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    }

    /// A number out of the database.
    pub(crate) async fn count(&self, query: &str) -> i64 {
        use diesel_async::RunQueryDsl as _;
        #[derive(diesel::QueryableByName)]
        struct Count {
            #[diesel(sql_type = diesel::sql_types::BigInt)]
            count: i64,
        }
        let rows: Vec<Count> = diesel::sql_query(query)
            .load(&mut self.database.admin().await)
            .await
            .unwrap();
        rows[0].count
    }
}
