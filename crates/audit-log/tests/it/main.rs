//! The audit log over a real Postgres, in the schemas of all three services.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

mod chains;
mod chores;
mod migrations;
mod tampering;

use audit_log::{Actor, Anchor, Anchors, Chain, Report, note, note_platform, verify};
use database::Database;
use diesel_async::SimpleAsyncConnection as _;
use diesel_migrations::{EmbeddedMigrations, embed_migrations};
use domain::ids::TenantId;
use tenant_isolation::{PlatformScope, PlatformTransaction, TenantScope, TenantTransaction};
use test_support::TestDatabase;

const CHANNEL: EmbeddedMigrations = embed_migrations!("../../migrations/channel");
const WA_SUPPORT: EmbeddedMigrations = embed_migrations!("../../migrations/wa_support");
const CHATWOOT_BRIDGE: EmbeddedMigrations = embed_migrations!("../../migrations/chatwoot_bridge");

/// A schema of a service.
struct World {
    service: &'static str,
    test: TestDatabase,
}

impl World {
    async fn channel() -> Self {
        Self::of("channel", CHANNEL).await
    }

    async fn of(service: &'static str, migrations: EmbeddedMigrations) -> Self {
        let test = TestDatabase::create(service, migrations).await;
        Self { service, test }
    }

    async fn of_each_service() -> [Self; 3] {
        [
            Self::channel().await,
            Self::of("wa_support", WA_SUPPORT).await,
            Self::of("chatwoot_bridge", CHATWOOT_BRIDGE).await,
        ]
    }

    fn db(&self) -> &Database {
        &self.test.db
    }

    /// Notes `acts` acts, each in a transaction of its own.
    async fn with_acts(self, tenant: &str, acts: usize) -> Self {
        for place in 0..acts {
            act(self.db(), tenant, &place.to_string()).await;
        }
        self
    }

    /// A statement of the owner, who may do everything once the table's own refusal is out of the way.
    async fn tamper(&self, statement: &str) {
        let whole = format!(
            "BEGIN; ALTER TABLE audit_log DISABLE TRIGGER USER; ALTER TABLE platform_acts DISABLE TRIGGER USER; {statement}; \
             ALTER TABLE audit_log ENABLE TRIGGER USER; ALTER TABLE platform_acts ENABLE TRIGGER USER; COMMIT"
        );
        self.test.admin().await.batch_execute(&whole).await.unwrap();
    }

    async fn reports(&self, noted: Anchors) -> Vec<Report> {
        let mut reports = Vec::new();
        let complete = verify(self.db(), None, noted, u64::MAX, |report| reports.push(report)).await;
        assert!(complete.unwrap());
        reports
    }

    /// Each chain that is broken, and how.
    async fn broken(&self, noted: Anchors) -> Vec<(String, String)> {
        let reports = self.reports(noted).await.into_iter();
        let broken = reports.filter_map(|report| {
            let broken = report.broken?.to_string();
            Some((report.chain.tenant().unwrap_or("platform").to_owned(), broken))
        });
        broken.collect()
    }

    async fn head(&self, tenant: &str) -> Anchor {
        let chain = Chain::Tenant(tenant.to_owned());
        let reports = self.reports(Anchors::default()).await.into_iter();
        let mut heads = reports
            .filter(|report| report.chain == chain)
            .filter_map(|report| report.head);
        heads.next().unwrap()
    }
}

fn scope(tenant: &str) -> TenantScope {
    TenantScope::named_by_operator(TenantId::parse(tenant).unwrap())
}

async fn act(db: &Database, tenant: &str, subject: &str) {
    let actor = Actor::operator();
    let mut tx = TenantTransaction::begin(db, &scope(tenant), "test")
        .await
        .unwrap();
    note(&mut tx, &actor.act("test.act", Some(subject.to_owned())))
        .await
        .unwrap();
    tx.commit().await.unwrap();
}

async fn platform_act(db: &Database, subject: &str) {
    let actor = Actor::operator();
    let purpose = PlatformScope::for_purpose("test");
    let mut tx = PlatformTransaction::begin(db, purpose).await.unwrap();
    note_platform(&mut tx, &actor.act("test.act", Some(subject.to_owned())))
        .await
        .unwrap();
    tx.commit().await.unwrap();
}

/// One chain's head, as somebody noted it.
fn noted(tenant: &str, head: Anchor) -> Anchors {
    Anchors::from_iter([(Chain::Tenant(tenant.to_owned()), head)])
}
