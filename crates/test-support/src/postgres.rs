//! A schema, or a whole database, for one test.

use std::time::Duration;

use database::{Database, DatabaseUrl, PoolSettings, SchemaNames, migrate, quote_identifier};
use diesel_async::{AsyncConnection as _, AsyncPgConnection, SimpleAsyncConnection as _};
use diesel_migrations::EmbeddedMigrations;

use crate::environment;

/// A schema of a service, fresh and migrated; dropped when the test passes.
#[derive(Debug)]
pub struct TestDatabase {
    /// As the service uses it: under its login role, in this test's schema.
    pub db: Database,
    /// The login role's URL.
    pub url: DatabaseUrl,
    /// The schema and its roles.
    pub names: SchemaNames,
}

impl TestDatabase {
    /// Makes and migrates a schema for `service` (`channel`, `wa_support`, `chatwoot_bridge`). Needs the
    /// multi-thread runtime.
    ///
    /// # Panics
    /// When Postgres is not there.
    pub async fn create(service: &str, migrations: EmbeddedMigrations) -> Self {
        Self::create_behind(service, migrations, |url| url.to_owned()).await
    }

    /// As [`Self::create`], with the service's URL changed by `route`, e.g. to lead through a proxy.
    ///
    /// # Panics
    /// When Postgres is not there.
    pub async fn create_behind(
        service: &str,
        migrations: EmbeddedMigrations,
        route: impl Fn(&str) -> String,
    ) -> Self {
        let admin: DatabaseUrl = admin_url().parse().expect("TEST_DATABASE_URL is a postgres URL");
        let direct = service_url(service);
        let url: DatabaseUrl = route(&direct)
            .parse()
            .expect("the service's URL is a postgres URL");
        let schema = format!("test_{}", uuid::Uuid::now_v7().simple());
        let names = SchemaNames::with_roles_of(&schema, service);
        migrate(&admin, &url, &names, migrations)
            .await
            .expect("the migrations run");
        let settings = PoolSettings {
            size: 8,
            wait: Duration::from_secs(5),
        };
        let db = Database::new(&url, names.clone(), settings).expect("pool settings are possible");
        Self { db, url, names }
    }

    /// A connection of the privileged role, for looking behind the policies.
    ///
    /// # Panics
    /// When Postgres is not there.
    pub async fn admin(&self) -> AsyncPgConnection {
        let mut connection = AsyncPgConnection::establish(&admin_url())
            .await
            .expect("Postgres answers");
        connection
            .batch_execute(&format!(
                "SET search_path TO {}",
                quote_identifier(&self.names.schema)
            ))
            .await
            .expect("the search path can be set");
        connection
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // A failed test leaves its schema for whoever looks into it.
            return;
        }
        let schema = self.names.schema.clone();
        let dropping = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .ok()?;
            runtime.block_on(async {
                let mut connection = AsyncPgConnection::establish(&admin_url()).await.ok()?;
                let statement = format!(
                    "SET lock_timeout = '2s'; DROP SCHEMA {} CASCADE",
                    quote_identifier(&schema)
                );
                connection.batch_execute(&statement).await.ok()
            })
        });
        drop(dropping.join());
    }
}

/// A database of its own, in which whole processes find their usual schemas.
#[derive(Debug)]
pub struct TestProcessDatabase {
    name: String,
}

impl TestProcessDatabase {
    /// Makes an empty database.
    ///
    /// # Panics
    /// When Postgres is not there.
    pub async fn create() -> Self {
        let name = format!("test_{}", uuid::Uuid::now_v7().simple());
        let mut connection = AsyncPgConnection::establish(&admin_url())
            .await
            .expect("Postgres answers");
        connection
            .batch_execute(&format!("CREATE DATABASE {}", quote_identifier(&name)))
            .await
            .expect("a database can be made");
        Self { name }
    }

    /// The privileged URL of this database.
    #[must_use]
    pub fn admin_url(&self) -> String {
        self.in_this(&admin_url())
    }

    /// The login URL of a service (`channel`, `wa_support`, `chatwoot_bridge`) in this database.
    #[must_use]
    pub fn service_url(&self, service: &str) -> String {
        self.in_this(&service_url(service))
    }

    fn in_this(&self, url: &str) -> String {
        let mut url = url::Url::parse(url).expect("a URL");
        url.set_path(&self.name);
        url.to_string()
    }
}

impl Drop for TestProcessDatabase {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        let name = self.name.clone();
        let dropping = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .ok()?;
            runtime.block_on(async {
                let mut connection = AsyncPgConnection::establish(&admin_url()).await.ok()?;
                let statement = format!("DROP DATABASE {} WITH (FORCE)", quote_identifier(&name));
                connection.batch_execute(&statement).await.ok()
            })
        });
        drop(dropping.join());
    }
}

fn admin_url() -> String {
    environment("TEST_DATABASE_URL")
}

fn service_url(service: &str) -> String {
    environment(&format!("{}_DATABASE_URL", service.to_ascii_uppercase()))
}
