//! What tests' databases are copied from: migrating each costs five times as much.

use std::path::Path;

use database::{SchemaNames, migrate, quote_identifier};
use diesel::migration::{Migration, MigrationSource as _};
use diesel::pg::Pg;
use diesel_async::{RunQueryDsl as _, SimpleAsyncConnection as _};
use diesel_migrations::EmbeddedMigrations;
use tokio::sync::Mutex;
use uuid::Uuid;

use crate::postgres::{admin_url, connect, in_database, service_url};

/// A database that nobody is connected to, with the migrated schema of a service.
#[derive(Debug, Clone)]
pub(crate) struct Template {
    /// Its name.
    pub(crate) database: String,
    /// The schema in it, and its roles.
    pub(crate) names: SchemaNames,
}

/// The templates of this process, by the service and its migrations.
static TEMPLATES: Mutex<Vec<(Vec<String>, Template)>> = Mutex::const_new(Vec::new());

/// The template of a service with these migrations, made once in a process.
pub(crate) async fn template(service: &str, migrations: EmbeddedMigrations) -> Template {
    let mut what = vec![service.to_owned()];
    let all: Vec<Box<dyn Migration<Pg>>> = migrations.migrations().expect("migrations that can be listed");
    what.extend(all.iter().map(|migration| migration.name().to_string()));
    let mut templates = TEMPLATES.lock().await;
    if let Some((_, template)) = templates.iter().find(|(made, _)| *made == what) {
        return template.clone();
    }
    drop_templates_left_behind().await;
    let database = format!("template_{}_{}", std::process::id(), Uuid::now_v7().simple());
    let create = format!("CREATE DATABASE {}", quote_identifier(&database));
    connect()
        .await
        .batch_execute(&create)
        .await
        .expect("a database can be made");
    let schema = format!("test_{}", Uuid::now_v7().simple());
    let names = SchemaNames::with_roles_of(&schema, service);
    let admin = in_database(&admin_url(), &database)
        .parse()
        .expect("TEST_DATABASE_URL is a postgres URL");
    let login = in_database(&service_url(service), &database)
        .parse()
        .expect("the service's URL is a postgres URL");
    migrate(&admin, &login, &names, migrations)
        .await
        .expect("the migrations run");
    let template = Template { database, names };
    templates.push((what, template.clone()));
    template
}

/// A process cannot take its templates away when it ends, so a later one does.
async fn drop_templates_left_behind() {
    let mut connection = connect().await;
    let query = "SELECT datname::text AS name FROM pg_database WHERE datname LIKE 'template\\_%'";
    let names: Vec<Name> = diesel::sql_query(query)
        .load(&mut connection)
        .await
        .expect("databases can be listed");
    for Name { name } in names {
        let process = name.split('_').nth(1).unwrap_or_default();
        if !Path::new("/proc").join(process).exists() {
            let drop = format!("DROP DATABASE IF EXISTS {}", quote_identifier(&name));
            // Somebody else may be dropping it at this moment.
            connection.batch_execute(&drop).await.ok();
        }
    }
}

#[derive(diesel::QueryableByName)]
struct Name {
    #[diesel(sql_type = diesel::sql_types::Text)]
    name: String,
}
