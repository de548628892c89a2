//! Each way in which a database may fail to keep tenants apart is found.

use std::time::Duration;

use database::{Database, PoolSettings};
use diesel_async::SimpleAsyncConnection as _;
use tenant_isolation::policy::{PolicyError, check};
use url::Url;
use uuid::Uuid;

use super::World;

const SETTINGS: PoolSettings = PoolSettings {
    size: 1,
    wait: Duration::from_secs(5),
};

async fn holes(db: &Database) -> Vec<String> {
    match check(db).await {
        Ok(()) => Vec::new(),
        Err(PolicyError::Holes(holes)) => holes,
        Err(error) => panic!("{error:?}"),
    }
}

/// The holes after a statement of the schema's owner.
async fn after(world: &World, statement: &str) -> Vec<String> {
    world.test.admin().await.batch_execute(statement).await.unwrap();
    holes(&world.db).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_migrated_schema_has_none() {
    let world = World::new().await;
    assert_eq!(holes(&world.db).await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_without_their_rules_are_found() {
    let world = World::new().await;
    let unforced = "table notes has no forced row-level security";
    assert_eq!(
        after(&world, "ALTER TABLE notes NO FORCE ROW LEVEL SECURITY").await,
        [unforced]
    );
    assert_eq!(
        after(
            &world,
            "ALTER TABLE notes FORCE ROW LEVEL SECURITY; ALTER TABLE notes DISABLE ROW LEVEL SECURITY"
        )
        .await,
        [unforced]
    );
    assert_eq!(
        after(
            &world,
            "ALTER TABLE notes ENABLE ROW LEVEL SECURITY; DROP POLICY tenants_of_the_transaction ON notes"
        )
        .await,
        ["table notes has no policy for channel_tenant"]
    );
    let parts = after(
        &world,
        "DROP TABLE notes; CREATE TABLE parted (tenant_id text) PARTITION BY LIST (tenant_id); \
         SELECT keep_tenants_apart('parted'); \
         CREATE TABLE part PARTITION OF parted DEFAULT",
    )
    .await;
    assert_eq!(
        parts,
        [
            "table part has no forced row-level security",
            "table part has no policy for channel_tenant"
        ]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn policies_that_let_everything_through_are_found() {
    for (policy, found) in [
        ("CREATE POLICY open ON notes TO channel_tenant USING (true)", 1),
        ("CREATE POLICY open ON notes USING (true)", 1),
        (
            "CREATE POLICY open ON notes FOR INSERT TO channel_tenant WITH CHECK (true)",
            1,
        ),
        (
            "CREATE POLICY open ON notes TO channel_tenant \
             USING (tenant_id = current_setting('kanal.tenants')) WITH CHECK (true)",
            1,
        ),
        ("CREATE POLICY open ON notes TO channel_platform USING (true)", 0),
        (
            "CREATE POLICY closed ON notes AS RESTRICTIVE TO channel_tenant USING (id > 0)",
            0,
        ),
    ] {
        let world = World::new().await;
        let holes = after(&world, policy).await;
        assert_eq!(holes.len(), found, "{policy}: {holes:?}");
        for hole in holes {
            assert_eq!(
                hole,
                "policy open on table notes does not ask for whom the transaction works"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_lends_its_owners_rights_is_found() {
    let world = World::new().await;
    assert_eq!(
        after(&world, "CREATE VIEW peek AS SELECT * FROM notes").await,
        ["view peek shows rows with its owner's eyes"]
    );
    assert_eq!(
        after(&world, "ALTER VIEW peek SET (security_invoker = true)").await,
        Vec::<String>::new()
    );
    assert_eq!(
        after(&world, "CREATE MATERIALIZED VIEW copy AS SELECT * FROM notes").await,
        ["view copy shows rows with its owner's eyes"]
    );
    assert_eq!(
        after(
            &world,
            "DROP MATERIALIZED VIEW copy; \
             CREATE FUNCTION peep() RETURNS bigint LANGUAGE sql SECURITY DEFINER AS 'SELECT count(*) FROM notes'"
        )
        .await,
        ["function peep works with its owner's rights"]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_logs_in_as_a_superuser_is_found() {
    let world = World::new().await;
    let admin = world.test.admin_url().parse().unwrap();
    let db = Database::new(&admin, world.test.names.clone(), SETTINGS).unwrap();
    let holes = holes(&db).await;
    assert!(
        holes
            .iter()
            .any(|hole| hole.ends_with("is a superuser or may bypass row-level security")),
        "{holes:?}"
    );
    assert!(
        holes.iter().any(|hole| hole.ends_with("owns table notes")),
        "{holes:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn login_roles_with_too_many_rights_are_found() {
    let world = World::new().await;
    let (login, strong) = (
        format!("test_login_{}", Uuid::now_v7().simple()),
        format!("test_strong_{}", Uuid::now_v7().simple()),
    );
    let mut admin = world.test.admin().await;
    admin
        .batch_execute(&format!(
            "CREATE ROLE {login} LOGIN INHERIT PASSWORD 'secret'; GRANT channel_tenant, channel_platform TO {login}"
        ))
        .await
        .unwrap();
    let mut url = Url::parse(&world.test.admin_url()).unwrap();
    url.set_username(&login).unwrap();
    url.set_password(Some("secret")).unwrap();
    let url = url.as_str().parse().unwrap();
    let inheriting = Database::new(&url, world.test.names.clone(), SETTINGS).unwrap();
    assert_eq!(
        holes(&inheriting).await,
        [format!("role {login} inherits the rights of channel_platform")]
    );

    admin
        .batch_execute(&format!(
            "ALTER ROLE {login} NOINHERIT; CREATE ROLE {strong} BYPASSRLS; GRANT {strong} TO {login}"
        ))
        .await
        .unwrap();
    let becoming = Database::new(&url, world.test.names.clone(), SETTINGS).unwrap();
    assert_eq!(
        holes(&becoming).await,
        [format!("role {login} may become {strong}")]
    );

    admin
        .batch_execute(&format!("ALTER ROLE {login} BYPASSRLS"))
        .await
        .unwrap();
    let bypassing = Database::new(&url, world.test.names.clone(), SETTINGS).unwrap();
    let found = holes(&bypassing).await;
    let bypasses = format!("role {login} is a superuser or may bypass row-level security");
    assert!(found.contains(&bypasses), "{found:?}");

    drop((inheriting, becoming, bypassing));
    test_support::eventually("the roles can be dropped", || async {
        let mut admin = world.test.admin().await;
        admin
            .batch_execute(&format!("DROP ROLE {login}; DROP ROLE {strong}"))
            .await
            .ok()
    })
    .await;
}
