//! Which rows there are for whom.

use database::DatabaseError;
use diesel_async::{AsyncPgConnection, RunQueryDsl as _};
use futures_util::FutureExt as _;
use tenant_isolation::{GroupTransaction, ScopeSet, TenantTransaction};

use super::{World, notes, scope, texts, write};

async fn execute(
    connection: &mut AsyncPgConnection,
    statement: &str,
) -> Result<usize, diesel::result::Error> {
    diesel::sql_query(statement).execute(connection).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_where_a_tenant_sees_its_own_rows() {
    let world = World::with_notes().await;
    let mut tx = world.begin("a").await;
    assert_eq!(notes(tx.connection()).await, ["a1", "a2"]);
    tx.commit().await.unwrap();
    let mut tx = world.begin("nobody").await;
    assert_eq!(notes(tx.connection()).await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_sees_exactly_its_tenants() {
    let world = World::with_notes().await;
    let scopes = [scope("a"), scope("c")];
    let set: ScopeSet = scopes.iter().collect();
    let mut tx = GroupTransaction::begin(&world.db, set, "test").await.unwrap();
    assert_eq!(notes(tx.connection()).await, ["a1", "a2", "c1"]);
    write(tx.connection(), "c", 9).await.unwrap();
    write(tx.connection(), "b", 9).await.unwrap_err();
    drop(tx);
    let mut nobody = GroupTransaction::begin(&world.db, ScopeSet::default(), "test")
        .await
        .unwrap();
    assert_eq!(notes(nobody.connection()).await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_group_does_for_one_of_its_tenants_sees_that_tenant_alone() {
    let world = World::with_notes().await;
    let scopes = [scope("a"), scope("c")];
    let begin = || GroupTransaction::begin(&world.db, scopes.iter().collect(), "test");
    let for_a = |tx: GroupTransaction| {
        tx.for_member(&scopes[0], |tx| {
            async move {
                assert_eq!(tx.scope().tenant().as_str(), "a");
                assert_eq!(notes(tx.connection()).await, ["a1", "a2"]);
                write(tx.connection(), "a", 8).await?;
                Ok(())
            }
            .boxed()
        })
    };
    let mut tx = for_a(begin().await.unwrap()).await.unwrap();
    assert_eq!(notes(tx.connection()).await, ["a1", "a2", "a8", "c1"]);
    write(tx.connection(), "c", 9).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(world.all().await, ["a1", "a2", "a8", "b1", "c1", "c9"]);

    // What fails for one ends all of it.
    let mut tx = begin().await.unwrap();
    write(tx.connection(), "a", 7).await.unwrap();
    let failed = tx.for_member(&scopes[0], |tx| {
        async move { Ok(write(tx.connection(), "c", 7).await.map(drop)?) }.boxed()
    });
    assert!(failed.await.is_err());
    let b = scope("b");
    let stranger = begin()
        .await
        .unwrap()
        .for_member(&b, |_| async { Ok(()) }.boxed());
    assert!(matches!(stranger.await, Err(DatabaseError::Refused(_))));
    assert!(!world.all().await.contains(&"a7".to_owned()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plans_are_kept_where_that_is_asked_for_and_nowhere_else() {
    let world = World::with_notes().await;
    let scopes = [scope("a"), scope("c")];
    let group = || scopes.iter().collect::<ScopeSet>();
    let shown = "SELECT current_setting('plan_cache_mode') AS found";
    let seqscan = "SELECT current_setting('enable_seqscan') AS found";
    let mut kept = GroupTransaction::begin(&world.db.keeping_plans(), group(), "test")
        .await
        .unwrap();
    assert_eq!(texts(kept.connection(), shown).await, ["auto"]);
    assert_eq!(texts(kept.connection(), seqscan).await, ["off"]);
    assert_eq!(notes(kept.connection()).await, ["a1", "a2", "c1"]);
    kept.commit().await.unwrap();
    let mut other = GroupTransaction::begin(&world.db, group(), "test").await.unwrap();
    assert_eq!(texts(other.connection(), shown).await, ["force_custom_plan"]);
    assert_eq!(texts(other.connection(), seqscan).await, ["on"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_what_may_be_forgotten_is_not_awaited() {
    let world = World::with_notes().await;
    let shown = "SELECT current_setting('synchronous_commit') AS found";
    let mut tx = TenantTransaction::begin_not_awaited(&world.db, &scope("a"), "test")
        .await
        .unwrap();
    assert_eq!(texts(tx.connection(), shown).await, ["off"]);
    assert_eq!(notes(tx.connection()).await, ["a1", "a2"]);
    tx.commit().await.unwrap();
    let mut tx = TenantTransaction::begin(&world.db, &scope("a"), "test")
        .await
        .unwrap();
    assert_eq!(texts(tx.connection(), shown).await, ["on"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_platform_sees_everybody() {
    let world = World::with_notes().await;
    let mut tx = world.begin_platform().await;
    assert_eq!(notes(tx.connection()).await, ["a1", "a2", "b1", "c1"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_transaction_there_are_no_rows() {
    let world = World::with_notes().await;
    let mut connection = world.db.connection().await.unwrap();
    assert_eq!(notes(&mut connection).await, Vec::<String>::new());
    write(&mut connection, "a", 9).await.unwrap_err();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_can_be_written_for_another_tenant() {
    let world = World::with_notes().await;
    let mut tx = world.begin("a").await;
    let error = DatabaseError::from(write(tx.connection(), "b", 9).await.unwrap_err());
    assert!(matches!(error, DatabaseError::Refused(_)), "{error:?}");
    drop(tx);
    let mut tx = world.begin("a").await;
    execute(
        tx.connection(),
        "UPDATE notes SET tenant_id = 'b', id = 9 WHERE id = 1",
    )
    .await
    .unwrap_err();
    drop(tx);
    // The others' rows are not refused, they do not exist.
    let mut tx = world.begin("a").await;
    let changed = execute(tx.connection(), "UPDATE notes SET id = 7 WHERE tenant_id = 'b'").await;
    assert_eq!(changed.unwrap(), 0);
    let deleted = execute(tx.connection(), "DELETE FROM notes WHERE tenant_id = 'c'").await;
    assert_eq!(deleted.unwrap(), 0);
    assert_eq!(execute(tx.connection(), "DELETE FROM notes").await.unwrap(), 2);
    tx.commit().await.unwrap();
    assert_eq!(world.all().await, ["b1", "c1"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_prepared_statement_is_not_a_way_around() {
    let world = World::with_notes().await;
    // All on the one connection of the pool, with one and the same prepared statement; more often than Postgres
    // needs to settle on a generic plan.
    for _ in 0..7 {
        for (tenant, own) in [("a", vec!["a1", "a2"]), ("b", vec!["b1"])] {
            let mut tx = world.begin(tenant).await;
            assert_eq!(notes(tx.connection()).await, own);
            tx.commit().await.unwrap();
        }
        let mut tx = world.begin_platform().await;
        assert_eq!(notes(tx.connection()).await.len(), 4);
        tx.commit().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_cannot_be_widened_by_a_tenants_name() {
    let world = World::with_notes().await;
    for odd in ["a,b", "a'; SET kanal.tenants = 'b", "a b"] {
        assert!(domain::ids::TenantId::parse(odd).is_err(), "{odd}");
    }
    let prefix = TenantTransaction::begin(&world.db, &scope("a:b"), "test").await;
    assert_eq!(notes(prefix.unwrap().connection()).await, Vec::<String>::new());
}
