//! Schemas and roles.

use database::{DatabaseUrl, SchemaNames, migrate, quote_identifier};
use diesel::sql_types::{Bool, Text};
use diesel_async::{AsyncConnection as _, AsyncPgConnection, RunQueryDsl as _, SimpleAsyncConnection as _};
use test_support::{TestProcessDatabase, environment};
use url::Url;

use super::MIGRATIONS;

/// Roles and a schema that no other test knows.
pub(crate) struct Own {
    pub(crate) names: SchemaNames,
    pub(crate) login: String,
}

impl Own {
    pub(crate) fn new() -> Self {
        let name = format!("test_{}", uuid::Uuid::now_v7().simple());
        Self {
            names: SchemaNames::of_service(&name),
            login: format!("{name}_login"),
        }
    }

    /// The login role's URL on the server that `admin` names.
    pub(crate) fn url(&self, admin: &str) -> DatabaseUrl {
        let mut url = Url::parse(admin).unwrap();
        url.set_username(&self.login).unwrap();
        url.set_password(Some("it's a secret")).unwrap();
        url.as_str().parse().unwrap()
    }

    /// Takes everything away again in the databases of `admins`.
    pub(crate) async fn clean(&self, admins: &[String]) {
        for admin in admins {
            let mut connection = AsyncPgConnection::establish(admin).await.unwrap();
            let schema = quote_identifier(&self.names.schema);
            connection
                .batch_execute(&format!("DROP SCHEMA IF EXISTS {schema} CASCADE"))
                .await
                .unwrap();
        }
        let mut connection = AsyncPgConnection::establish(&admin_url()).await.unwrap();
        let names = &self.names;
        for role in [
            &self.login,
            &names.tenant_role,
            &names.platform_role,
            &names.owner_role,
        ] {
            connection
                .batch_execute(&format!("DROP ROLE IF EXISTS {}", quote_identifier(role)))
                .await
                .unwrap();
        }
    }
}

pub(crate) fn admin_url() -> String {
    environment("TEST_DATABASE_URL")
}

fn names(ran: &[String]) -> Vec<&str> {
    ran.iter().map(String::as_str).collect()
}

#[derive(diesel::QueryableByName)]
struct Role {
    #[diesel(sql_type = Bool)]
    rolinherit: bool,
    #[diesel(sql_type = Bool)]
    rolsuper: bool,
    #[diesel(sql_type = Bool)]
    rolbypassrls: bool,
    #[diesel(sql_type = Bool)]
    rolcanlogin: bool,
}

async fn role(connection: &mut AsyncPgConnection, name: &str) -> Role {
    diesel::sql_query(
        "SELECT rolinherit, rolsuper, rolbypassrls, rolcanlogin FROM pg_roles WHERE rolname = $1",
    )
    .bind::<Text, _>(name)
    .get_result(connection)
    .await
    .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn migrating_again_changes_nothing() {
    let own = Own::new();
    let (admin, service) = (admin_url().parse().unwrap(), own.url(&admin_url()));
    let first = migrate(&admin, &service, &own.names, MIGRATIONS).await.unwrap();
    assert_eq!(names(&first), ["20261121000001", "20261121000002"]);
    let second = migrate(&admin, &service, &own.names, MIGRATIONS).await.unwrap();
    assert_eq!(second, Vec::<String>::new());
    own.clean(&[admin_url()]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_several_processes_that_migrate_at_once_one_does_the_work() {
    let own = Own::new();
    let running: Vec<_> = (0..4)
        .map(|_| {
            let (admin, service) = (admin_url().parse().unwrap(), own.url(&admin_url()));
            let names = own.names.clone();
            tokio::spawn(async move { migrate(&admin, &service, &names, MIGRATIONS).await })
        })
        .collect();
    let mut ran = Vec::new();
    for one in running {
        ran.extend(one.await.unwrap().unwrap());
    }
    assert_eq!(names(&ran), ["20261121000001", "20261121000002"]);
    own.clean(&[admin_url()]).await;
}

/// The roles belong to the whole cluster, while everything else belongs to one database.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_in_several_databases_make_the_shared_roles_together() {
    let mut databases = Vec::new();
    for _ in 0..4 {
        databases.push(TestProcessDatabase::create().await);
    }
    let admins: Vec<String> = databases.iter().map(TestProcessDatabase::admin_url).collect();
    // The race is short: several goes at it.
    for _ in 0..3 {
        let own = Own::new();
        let running: Vec<_> = admins
            .iter()
            .map(|admin| {
                let (service, names) = (own.url(admin), own.names.clone());
                let admin = admin.parse().unwrap();
                tokio::spawn(async move { migrate(&admin, &service, &names, MIGRATIONS).await })
            })
            .collect();
        for one in running {
            assert_eq!(one.await.unwrap().unwrap().len(), 2);
        }
        own.clean(&admins).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_login_role_has_no_rights_of_its_own() {
    let own = Own::new();
    let (admin, service) = (admin_url().parse().unwrap(), own.url(&admin_url()));
    migrate(&admin, &service, &own.names, MIGRATIONS).await.unwrap();
    let mut connection = AsyncPgConnection::establish(&admin_url()).await.unwrap();
    let login = role(&mut connection, &own.login).await;
    assert!(login.rolcanlogin && !login.rolinherit && !login.rolsuper && !login.rolbypassrls);
    for name in [&own.names.tenant_role, &own.names.platform_role] {
        let worker = role(&mut connection, name).await;
        assert!(!worker.rolcanlogin && !worker.rolsuper && !worker.rolbypassrls);
    }

    let mut url = Url::parse(&admin_url()).unwrap();
    url.set_username(&own.login).unwrap();
    url.set_password(Some("it's a secret")).unwrap();
    let mut as_login = AsyncPgConnection::establish(url.as_str()).await.unwrap();
    let things = format!("SELECT * FROM {}.things", quote_identifier(&own.names.schema));
    let refused = as_login.batch_execute(&things).await.unwrap_err();
    assert!(refused.to_string().contains("permission denied"), "{refused}");
    // Which migrations ran may be read and not changed.
    let (tenant, schema) = (
        quote_identifier(&own.names.tenant_role),
        quote_identifier(&own.names.schema),
    );
    for table in ["__diesel_schema_migrations", "__migrations_to_know"] {
        let read = format!("SET ROLE {tenant}; SELECT * FROM {schema}.{table}");
        as_login.batch_execute(&read).await.unwrap();
        let forget = format!("DELETE FROM {schema}.{table}");
        let refused = as_login.batch_execute(&forget).await.unwrap_err();
        assert!(refused.to_string().contains("permission denied"), "{refused}");
    }
    as_login
        .batch_execute(&format!(
            "SET ROLE {}; {things}",
            quote_identifier(&own.names.tenant_role)
        ))
        .await
        .unwrap();
    drop(as_login);
    own.clean(&[admin_url()]).await;
}

#[derive(diesel::QueryableByName)]
struct Waiting {
    #[diesel(sql_type = Bool)]
    waiting: bool,
}

/// A service may be at work while its schema gets an owner: it uses tables in its own order.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_schema_changes_hands_beside_a_transaction_that_uses_two_of_its_tables() {
    let own = Own::new();
    let schema = quote_identifier(&own.names.schema);
    let mut busy = AsyncPgConnection::establish(&admin_url()).await.unwrap();
    busy.batch_execute(&format!(
        "CREATE SCHEMA {schema}; CREATE TABLE {schema}.first (); CREATE TABLE {schema}.second ()"
    ))
    .await
    .unwrap();
    busy.batch_execute(&format!(
        "BEGIN; LOCK TABLE {schema}.second IN ROW EXCLUSIVE MODE"
    ))
    .await
    .unwrap();
    let (admin, service) = (admin_url().parse().unwrap(), own.url(&admin_url()));
    let names = own.names.clone();
    let migrating = tokio::spawn(async move { migrate(&admin, &service, &names, MIGRATIONS).await });
    let query = format!(
        "SELECT EXISTS (SELECT 1 FROM pg_locks WHERE relation = '{schema}.second'::regclass AND NOT granted) AS waiting"
    );
    let mut watching = AsyncPgConnection::establish(&admin_url()).await.unwrap();
    loop {
        let Waiting { waiting } = diesel::sql_query(&query).get_result(&mut watching).await.unwrap();
        if waiting {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    busy.batch_execute(&format!(
        "LOCK TABLE {schema}.first IN ROW EXCLUSIVE MODE; COMMIT"
    ))
    .await
    .unwrap();
    migrating.await.unwrap().unwrap();
    own.clean(&[admin_url()]).await;
}
