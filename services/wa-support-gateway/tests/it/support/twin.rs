//! A second gateway on the database of the first, and keys of customers.

use runtime::shutdown::Shutdown;
use secrecy::SecretString;
use sha2::{Digest as _, Sha256};
use test_support::eventually;
use tokio::task::JoinHandle;
use uuid::Uuid;
use wa_support_gateway::app::{Application, ApplicationError};
use wa_support_gateway::config::Settings;

use super::Gateway;
use super::gateway::settings;

/// Another process, as far as requests can tell.
pub(crate) struct Twin {
    port: u16,
    shutdown: Shutdown,
    running: JoinHandle<Result<(), ApplicationError>>,
}

impl Twin {
    pub(crate) async fn of(gateway: &Gateway, change: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = settings(&gateway.wa.url());
        change(&mut settings);
        let listener = web::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let application = Application::build(&settings, gateway.database.db.clone(), listener).unwrap();
        let (port, shutdown) = (application.port(), Shutdown::new());
        let running = tokio::spawn(application.run_until_stopped(shutdown.clone()));
        let twin = Self {
            port,
            shutdown,
            running,
        };
        eventually("the twin is ready", || async {
            let answer = gateway.client.get(twin.url("/health/ready")).send().await.ok()?;
            answer.status().is_success().then_some(())
        })
        .await;
        twin
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    pub(crate) async fn stop(self) {
        self.shutdown.begin();
        self.running.await.unwrap().unwrap();
    }
}

impl Gateway {
    /// A key of the customer's, which exists already.
    pub(crate) async fn key_of(&self, customer: &str) -> SecretString {
        let (id, key) = (Uuid::now_v7(), format!("gwa_{}", Uuid::now_v7().simple()));
        let hash = hex::encode(Sha256::digest(key.as_bytes()));
        self.sql(&format!(
            "INSERT INTO api_keys (tenant_id, id, key_hash, prefix) VALUES ('{customer}', '{id}', '{hash}', 'gwa_'); \
             INSERT INTO tenant_directory (kind, external_id, tenant_id, subject_id) \
             VALUES ('api_key', '{hash}', '{customer}', '{id}')"
        ))
        .await;
        SecretString::from(key)
    }

    /// One number out of the database.
    pub(crate) async fn number(&self, query: &str) -> i64 {
        #[derive(diesel::QueryableByName)]
        struct Number {
            #[diesel(sql_type = diesel::sql_types::BigInt)]
            number: i64,
        }
        let mut admin = self.database.admin().await;
        let query = diesel::sql_query(format!("SELECT ({query})::bigint AS number"));
        let row: Number = diesel_async::RunQueryDsl::get_result(query, &mut admin)
            .await
            .unwrap();
        row.number
    }
}
