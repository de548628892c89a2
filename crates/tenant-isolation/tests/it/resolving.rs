//! From an outside id to a tenant.

use database::DatabaseError;
use diesel::sql_types::{Text, Uuid as SqlUuid};
use diesel_async::RunQueryDsl as _;
use tenant_isolation::resolve::{ExternalId, resolve};
use uuid::Uuid;

use super::World;

async fn register(world: &World, kind: &str, id: &str, tenant: &str, subject: Uuid) {
    let mut tx = world.begin(tenant).await;
    diesel::sql_query(
        "INSERT INTO tenant_directory (kind, external_id, tenant_id, subject_id) VALUES ($1, $2, $3, $4)",
    )
    .bind::<Text, _>(kind)
    .bind::<Text, _>(id)
    .bind::<Text, _>(tenant)
    .bind::<SqlUuid, _>(subject)
    .execute(tx.connection())
    .await
    .unwrap();
    tx.commit().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_registered_is_found_and_nothing_is_guessed() {
    let world = World::new().await;
    let (a, b) = (Uuid::from_u128(1), Uuid::from_u128(2));
    register(&world, "instance", "desa", "a", a).await;
    register(&world, "inbox", "desa", "b", b).await;

    let found = async |kind, id| {
        resolve(&world.db, &ExternalId::new(kind, id).unwrap())
            .await
            .unwrap()
    };
    let one = found("instance", "desa").await.unwrap();
    assert_eq!(one.scope().tenant().as_str(), "a");
    assert_eq!(one.subject(), a);
    let other = found("inbox", "desa").await.unwrap();
    assert_eq!(other.scope().tenant().as_str(), "b");
    assert_eq!(other.subject(), b);
    for (kind, id) in [
        ("instance", "Desa"),
        ("instance", "des"),
        ("instance", "desa "),
        ("instance", "%"),
        ("token", "desa"),
    ] {
        assert_eq!(found(kind, id).await, None, "{kind} {id}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_outside_id_cannot_belong_to_two_tenants() {
    let world = World::new().await;
    register(&world, "instance", "desa", "a", Uuid::from_u128(1)).await;
    let mut tx = world.begin("b").await;
    let taken = diesel::sql_query(
        "INSERT INTO tenant_directory (kind, external_id, tenant_id, subject_id) \
         VALUES ('instance', 'desa', 'b', gen_random_uuid())",
    )
    .execute(tx.connection())
    .await;
    let error = DatabaseError::from(taken.unwrap_err());
    assert!(matches!(error, DatabaseError::Conflict { .. }), "{error:?}");
}

#[test]
fn what_can_be_in_no_directory_is_not_looked_up() {
    assert!(ExternalId::new("instance", "").is_none());
    assert!(ExternalId::new("instance", "a\0b").is_none());
    assert!(ExternalId::new("instance", &"x".repeat(301)).is_none());
    assert!(ExternalId::new("instance", &"x".repeat(300)).is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_directory_that_cannot_be_read_is_not_an_unknown_id() {
    let world = World::new().await;
    let _held = world.db.connection().await.unwrap();
    let error = resolve(&world.db, &ExternalId::new("instance", "desa").unwrap())
        .await
        .unwrap_err();
    assert!(matches!(error, DatabaseError::Unavailable(_)), "{error:?}");
}
