//! Setting up takes an administrator once; afterwards the owner does.

use database::{
    Database, DatabaseUrl, MigrationError, Migrator, PoolSettings, connect_as_owner, migrate,
    quote_identifier,
};
use diesel::sql_types::Text;
use diesel_async::{AsyncConnection as _, AsyncPgConnection, RunQueryDsl as _, SimpleAsyncConnection as _};
use secrecy::SecretString;
use url::Url;

use super::MIGRATIONS;
use super::migrating::{Own, admin_url};

fn login(role: &str, password: &str) -> DatabaseUrl {
    let mut url = Url::parse(&admin_url()).unwrap();
    url.set_username(role).unwrap();
    url.set_password(Some(password)).unwrap();
    url.as_str().parse().unwrap()
}

fn admin() -> DatabaseUrl {
    admin_url().parse().unwrap()
}

async fn as_admin(statements: &str) {
    let mut connection = AsyncPgConnection::establish(&admin_url()).await.unwrap();
    connection.batch_execute(statements).await.unwrap();
}

#[derive(diesel::QueryableByName)]
struct Owned {
    #[diesel(sql_type = Text)]
    what: String,
    #[diesel(sql_type = Text)]
    owner: String,
}

/// What is in the schema and does not belong to the owner role.
async fn foreign(own: &Own) -> Vec<String> {
    let mut connection = AsyncPgConnection::establish(&admin_url()).await.unwrap();
    let owned: Vec<Owned> = diesel::sql_query(
        "SELECT relname::text AS what, relowner::regrole::text AS owner FROM pg_class WHERE relnamespace = $1::regnamespace \
         UNION ALL SELECT proname::text, proowner::regrole::text FROM pg_proc WHERE pronamespace = $1::regnamespace \
         UNION ALL SELECT typname::text, typowner::regrole::text FROM pg_type WHERE typnamespace = $1::regnamespace \
         UNION ALL SELECT nspname::text, nspowner::regrole::text FROM pg_namespace WHERE oid = $1::regnamespace",
    )
    .bind::<Text, _>(quote_identifier(&own.names.schema))
    .load(&mut connection)
    .await
    .unwrap();
    assert!(owned.len() > 8, "{}", owned.len());
    let foreign = owned.into_iter().filter(|one| one.owner != own.names.owner_role);
    foreign.map(|one| one.what).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_installation_that_belongs_to_the_administrator_is_taken_over() {
    let own = Own::new();
    let service = own.url(&admin_url());
    migrate(&admin(), &service, &own.names, MIGRATIONS).await.unwrap();
    // As releases before this one left it, and with one of each kind.
    let schema = quote_identifier(&own.names.schema);
    let owner = quote_identifier(&own.names.owner_role);
    as_admin(&format!(
        "SET search_path TO {schema}; REASSIGN OWNED BY {owner} TO CURRENT_USER; DROP TABLE __migrations_to_know; \
         CREATE TABLE counted (id bigserial PRIMARY KEY, other bigint GENERATED ALWAYS AS IDENTITY); CREATE SEQUENCE alone; \
         CREATE VIEW seen AS SELECT * FROM counted; CREATE MATERIALIZED VIEW kept AS SELECT 1 AS one; \
         CREATE TYPE mood AS ENUM ('a'); CREATE DOMAIN short AS text; CREATE TYPE pair AS (a int, b int); \
         CREATE FUNCTION one(int, text) RETURNS int LANGUAGE sql AS 'SELECT 1'; \
         CREATE TABLE split (id int) PARTITION BY RANGE (id); CREATE TABLE \"Split 1\" PARTITION OF split DEFAULT; \
         INSERT INTO things VALUES (7, 'kept')"
    ))
    .await;
    assert!(foreign(&own).await.len() > 8);
    let refused = Migrator::connect(&admin(), &own.names).await.err().unwrap();
    assert!(matches!(refused, MigrationError::NotSetUp { .. }), "{refused}");
    assert!(refused.to_string().contains("migrate --bootstrap"), "{refused}");

    let ran = migrate(&admin(), &service, &own.names, MIGRATIONS).await.unwrap();
    assert!(ran.is_empty(), "{ran:?}");
    assert_eq!(foreign(&own).await, Vec::<String>::new());
    // And the service finds its rows.
    let settings = PoolSettings {
        size: 1,
        wait: std::time::Duration::from_secs(5),
    };
    let db = Database::new(&service, own.names.clone(), settings).unwrap();
    let mut connection = db.connection().await.unwrap();
    let found = diesel::sql_query("SELECT 1 FROM things WHERE name = 'kept'");
    assert_eq!(found.execute(&mut *connection).await.unwrap(), 1);
    drop((connection, db));
    own.clean(&[admin_url()]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_owner_migrates_by_itself_and_nobody_else_does() {
    let own = Own::new();
    let service = own.url(&admin_url());
    let missing = Migrator::connect(&admin(), &own.names).await.err().unwrap();
    assert!(matches!(missing, MigrationError::NotSetUp { .. }), "{missing}");
    let password = SecretString::from("own'er \\ pass$word");
    let set_up = Migrator::bootstrap(&admin(), &service, Some(&password), &own.names).await;
    drop(set_up.unwrap());

    let owner = login(&own.names.owner_role, "own'er \\ pass$word");
    let refused = Migrator::connect(&service, &own.names).await.err().unwrap();
    assert!(matches!(refused, MigrationError::NotOwner { .. }), "{refused}");
    let ran = Migrator::connect(&owner, &own.names)
        .await
        .unwrap()
        .up(MIGRATIONS)
        .await;
    assert_eq!(ran.unwrap().len(), 2);
    assert_eq!(foreign(&own).await, Vec::<String>::new());
    let down = Migrator::connect(&owner, &own.names)
        .await
        .unwrap()
        .down(9, MIGRATIONS)
        .await;
    assert_eq!(down.unwrap(), ["20261121000002", "20261121000001"]);
    own.clean(&[admin_url()]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn chores_of_the_owner_are_done_as_the_owner_whoever_logs_in() {
    #[derive(diesel::QueryableByName)]
    struct Role {
        #[diesel(sql_type = Text)]
        role: String,
    }
    let own = Own::new();
    let service = own.url(&admin_url());
    let missing = connect_as_owner(&admin(), &own.names).await.err().unwrap();
    assert!(matches!(missing, MigrationError::NotSetUp { .. }), "{missing}");
    let password = SecretString::from("owner's");
    let set_up = Migrator::bootstrap(&admin(), &service, Some(&password), &own.names).await;
    set_up.unwrap().up(MIGRATIONS).await.unwrap();
    for url in [admin(), login(&own.names.owner_role, "owner's")] {
        let mut connection = connect_as_owner(&url, &own.names).await.unwrap();
        let works_as: Role = diesel::sql_query("SELECT current_user::text AS role")
            .get_result(&mut connection)
            .await
            .unwrap();
        assert_eq!(works_as.role, own.names.owner_role);
        let what_owners_do = "BEGIN; ALTER TABLE things DISABLE TRIGGER USER; ROLLBACK";
        connection.batch_execute(what_owners_do).await.unwrap();
    }
    let refused = connect_as_owner(&service, &own.names).await.err().unwrap();
    assert!(matches!(refused, MigrationError::NotOwner { .. }), "{refused}");
    own.clean(&[admin_url()]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn setting_up_again_gives_the_service_its_new_password() {
    let own = Own::new();
    let old = own.url(&admin_url());
    migrate(&admin(), &old, &own.names, MIGRATIONS).await.unwrap();
    let new = login(&own.login, "an'other");
    migrate(&admin(), &new, &own.names, MIGRATIONS).await.unwrap();
    let mut url = Url::parse(&admin_url()).unwrap();
    url.set_username(&own.login).unwrap();
    url.set_password(Some("an'other")).unwrap();
    AsyncPgConnection::establish(url.as_str()).await.unwrap();
    url.set_password(Some("it's a secret")).unwrap();
    assert!(AsyncPgConnection::establish(url.as_str()).await.is_err());
    own.clean(&[admin_url()]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_powerful_role_becomes_the_services() {
    let own = Own::new();
    let service = own.url(&admin_url());
    let refused = migrate(&admin(), &admin(), &own.names, MIGRATIONS)
        .await
        .unwrap_err();
    assert!(matches!(refused, MigrationError::SameRole { .. }), "{refused}");
    let owner = login(&own.names.owner_role, "x");
    let refused = migrate(&admin(), &owner, &own.names, MIGRATIONS)
        .await
        .unwrap_err();
    assert!(matches!(refused, MigrationError::SameRole { .. }), "{refused}");
    migrate(&admin(), &service, &own.names, MIGRATIONS).await.unwrap();
    let name = quote_identifier(&own.login);
    let owner = quote_identifier(&own.names.owner_role);
    for (power, none) in [
        (
            format!("ALTER ROLE {name} SUPERUSER"),
            format!("ALTER ROLE {name} NOSUPERUSER"),
        ),
        (
            format!("ALTER ROLE {name} BYPASSRLS"),
            format!("ALTER ROLE {name} NOBYPASSRLS"),
        ),
        (
            format!("ALTER ROLE {name} CREATEROLE"),
            format!("ALTER ROLE {name} NOCREATEROLE"),
        ),
        (
            format!("ALTER ROLE {owner} SUPERUSER"),
            format!("ALTER ROLE {owner} NOSUPERUSER"),
        ),
        (
            format!("GRANT {owner} TO {name}"),
            format!("REVOKE {owner} FROM {name}"),
        ),
    ] {
        as_admin(&power).await;
        let refused = migrate(&admin(), &service, &own.names, MIGRATIONS)
            .await
            .unwrap_err();
        assert!(
            matches!(refused, MigrationError::TooPowerful { .. }),
            "{power}: {refused}"
        );
        as_admin(&none).await;
    }
    // What it inherits is put right without a word.
    as_admin(&format!("ALTER ROLE {name} INHERIT")).await;
    migrate(&admin(), &service, &own.names, MIGRATIONS).await.unwrap();
    own.clean(&[admin_url()]).await;
}

/// As at a hoster, who keeps the superuser.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_administrator_need_not_be_a_superuser() {
    let own = Own::new();
    let service = own.url(&admin_url());
    let hired = format!("{}_hired", own.names.schema);
    let role = quote_identifier(&hired);
    let database = quote_identifier(Url::parse(&admin_url()).unwrap().path().trim_start_matches('/'));
    as_admin(&format!(
        "CREATE ROLE {role} LOGIN CREATEROLE PASSWORD 'hired'; GRANT CREATE ON DATABASE {database} TO {role}"
    ))
    .await;
    for _ in 0..2 {
        let migrated = migrate(&login(&hired, "hired"), &service, &own.names, MIGRATIONS).await;
        migrated.unwrap();
    }
    assert_eq!(foreign(&own).await, Vec::<String>::new());
    as_admin(&format!("DROP OWNED BY {role}")).await;
    own.clean(&[admin_url()]).await;
    as_admin(&format!("DROP ROLE {role}")).await;
}
