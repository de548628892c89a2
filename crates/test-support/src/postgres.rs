//! A database for one test, with a service's schema or with none.

use std::time::Duration;

use database::{Database, DatabaseUrl, PoolSettings, SchemaNames, quote_identifier};
use diesel_async::{AsyncConnection as _, AsyncPgConnection, RunQueryDsl as _, SimpleAsyncConnection as _};
use diesel_migrations::EmbeddedMigrations;

use crate::environment;
use crate::template::template;

/// A migrated schema of a service in a database of its own, which is dropped when the test passes.
#[derive(Debug)]
pub struct TestDatabase {
    /// As the service uses it: under its login role, in its schema.
    pub db: Database,
    /// The login role's URL.
    pub url: DatabaseUrl,
    /// The schema and its roles.
    pub names: SchemaNames,
    of_its_own: TestProcessDatabase,
    service: String,
}

impl TestDatabase {
    /// Makes the schema of `service` (`channel`, `wa_support`, `chatwoot_bridge`). Needs the multi-thread runtime.
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
        let template = template(service, migrations).await;
        let of_its_own = TestProcessDatabase::copy_of(Some(&template.database)).await;
        let url: DatabaseUrl = route(&of_its_own.service_url(service))
            .parse()
            .expect("the service's URL is a postgres URL");
        let settings = PoolSettings {
            size: 8,
            wait: Duration::from_secs(5),
        };
        let db = Database::new(&url, template.names.clone(), settings).expect("pool settings are possible");
        Self {
            db,
            url,
            names: template.names,
            of_its_own,
            service: service.to_owned(),
        }
    }

    /// The login role's URL, past every proxy.
    #[must_use]
    pub fn direct_url(&self) -> String {
        self.of_its_own.service_url(&self.service)
    }

    /// The privileged URL.
    #[must_use]
    pub fn admin_url(&self) -> String {
        self.of_its_own.admin_url()
    }

    /// A connection of the privileged role, for looking behind the policies.
    ///
    /// # Panics
    /// When Postgres is not there.
    pub async fn admin(&self) -> AsyncPgConnection {
        let mut connection = AsyncPgConnection::establish(&self.admin_url())
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

    /// Every column of the schema that holds sealed secrets, by its name (`table.column`), in the order of names.
    ///
    /// # Panics
    /// When Postgres is not there.
    pub async fn sealed_columns(&self) -> Vec<String> {
        #[derive(diesel::QueryableByName)]
        struct Named {
            #[diesel(sql_type = diesel::sql_types::Text)]
            name: String,
        }
        let columns: Vec<Named> = diesel::sql_query(
            "SELECT c.relname || '.' || a.attname AS name FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid \
             WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind IN ('r', 'p') AND NOT a.attisdropped \
               AND a.attname LIKE '%sealed%' ORDER BY 1",
        )
        .load(&mut self.admin().await)
        .await
        .expect("the catalogue can be read");
        columns.into_iter().map(|column| column.name).collect()
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
        Self::copy_of(None).await
    }

    async fn copy_of(template: Option<&str>) -> Self {
        let name = format!("test_{}", uuid::Uuid::now_v7().simple());
        let mut statement = format!("CREATE DATABASE {}", quote_identifier(&name));
        if let Some(template) = template {
            statement = format!("{statement} TEMPLATE {}", quote_identifier(template));
        }
        connect()
            .await
            .batch_execute(&statement)
            .await
            .expect("a database can be made");
        Self { name }
    }

    /// The privileged URL of this database.
    #[must_use]
    pub fn admin_url(&self) -> String {
        in_database(&admin_url(), &self.name)
    }

    /// The login URL of a service (`channel`, `wa_support`, `chatwoot_bridge`) in this database.
    #[must_use]
    pub fn service_url(&self, service: &str) -> String {
        in_database(&service_url(service), &self.name)
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

pub(crate) fn in_database(url: &str, name: &str) -> String {
    let mut url = url::Url::parse(url).expect("a URL");
    url.set_path(name);
    url.to_string()
}

pub(crate) fn admin_url() -> String {
    environment("TEST_DATABASE_URL")
}

pub(crate) fn service_url(service: &str) -> String {
    environment(&format!("{}_DATABASE_URL", service.to_ascii_uppercase()))
}

/// The privileged role, in the database that every test may use.
pub(crate) async fn connect() -> AsyncPgConnection {
    AsyncPgConnection::establish(&admin_url())
        .await
        .expect("Postgres answers")
}
