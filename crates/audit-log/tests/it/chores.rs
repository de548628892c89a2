//! The commands, and old acts that go.

use audit_log::{Anchors, AuditCommand, Chain, Finding, PruneError, prune, run};
use chrono::{TimeDelta, Utc};
use database::MigrationError;
use serde_json::{Value, json};
use std::io::Write as _;

use super::{World, act, noted, platform_act};

/// What a command prints and finds.
async fn chore(world: &World, command: AuditCommand) -> (Vec<Value>, Finding) {
    let mut lines = Vec::new();
    let finding = run(world.db(), None, command, |line| lines.push(line.clone()))
        .await
        .unwrap();
    (lines, finding)
}

fn verify(anchor: Option<&std::path::Path>) -> AuditCommand {
    AuditCommand::Verify {
        tenant: None,
        anchor: anchor.map(std::path::Path::to_owned),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_verify_prints_tells_later_whether_an_end_was_cut_off() {
    for world in World::of_each_service().await {
        let world = world.with_acts("a", 3).await.with_acts("b", 2).await;
        let (lines, finding) = chore(&world, verify(None)).await;
        assert_eq!(finding, Finding::Well);
        assert_eq!(lines.len(), 4, "{lines:?}");
        assert_eq!(lines[0], json!({"chain": "platform", "entries": 0}));
        assert_eq!(
            (&lines[1]["tenant_id"], &lines[1]["seq"]),
            (&json!("a"), &json!(3))
        );
        assert_eq!(lines[3], json!({"chains": 3, "entries": 5, "broken": 0}));
        let mut file = tempfile::NamedTempFile::new().unwrap();
        for line in &lines {
            writeln!(file, "{line}").unwrap();
        }
        assert_eq!(chore(&world, verify(Some(file.path()))).await.1, Finding::Well);
        world
            .tamper("DELETE FROM audit_log WHERE tenant_id = 'a' AND seq = 3 OR tenant_id = 'b'")
            .await;
        assert_eq!(chore(&world, verify(None)).await.1, Finding::Well);
        let (lines, finding) = chore(&world, verify(Some(file.path()))).await;
        assert_eq!(finding, Finding::Broken);
        let said: Vec<&Value> = lines.iter().map(|line| &line["broken"]).collect();
        assert_eq!(said[1], "entry 3, which was noted, is gone");
        assert_eq!(said[2], "entry 2, which was noted, is gone");
        assert_eq!(said[3], 2);

        // Each time that all of it was verified is an act by itself.
        let mut tx = tenant_isolation::PlatformTransaction::begin(
            world.db(),
            tenant_isolation::PlatformScope::for_purpose("test"),
        )
        .await
        .unwrap();
        let last = audit_log::last_check(&mut tx).await.unwrap().unwrap();
        assert!(!last.whole && last.said.ends_with("2 broken"), "{last:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acts_are_listed_by_tenant_and_by_page() {
    let world = World::channel()
        .await
        .with_acts("a", 3)
        .await
        .with_acts("b", 1)
        .await;
    platform_act(world.db(), "everybody").await;
    let list = |tenant: Option<&str>, before, limit| AuditCommand::List {
        tenant: tenant.map(|tenant| domain::ids::TenantId::parse(tenant).unwrap()),
        before,
        limit,
    };
    let subjects = |lines: &[Value]| -> Vec<Value> {
        let acts = lines[0]["acts"].as_array().unwrap();
        acts.iter().map(|act| act["subject"].clone()).collect()
    };
    let (lines, _) = chore(&world, list(None, None, 2)).await;
    assert_eq!(subjects(&lines), ["everybody", "0"]);
    let (lines, _) = chore(&world, list(Some("a"), None, 2)).await;
    assert_eq!(subjects(&lines), ["2", "1"]);
    let last = lines[0]["acts"][1]["id"].as_str().unwrap().parse().unwrap();
    let (lines, _) = chore(&world, list(Some("a"), Some(last), 2)).await;
    assert_eq!(subjects(&lines), ["0"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pruned_chain_is_whole_and_says_what_went() {
    for world in World::of_each_service().await {
        let owner = world.test.admin_url().parse().unwrap();
        let world = world.with_acts("a", 4).await;
        platform_act(world.db(), "1").await;
        let then = world.head("a").await;
        let cut = Utc::now();
        act(world.db(), "a", "young").await;
        let chain = Chain::Tenant("a".to_owned());
        let pruned = prune(world.db(), &owner, &chain, cut).await.unwrap();
        assert_eq!((pruned.entries, pruned.last), (4, Some(then)));
        let again = prune(world.db(), &owner, &chain, cut).await.unwrap();
        assert_eq!((again.entries, again.last), (0, None));
        assert_eq!(world.broken(Anchors::default()).await, [], "{}", world.service);
        assert_eq!(world.head("a").await.seq, 6);
        assert_eq!(world.broken(noted("a", then)).await, []);

        // Another one goes and everything but the acts of pruning.
        let before = world.head("a").await;
        let pruned = prune(world.db(), &owner, &chain, Utc::now()).await.unwrap();
        assert_eq!(pruned.entries, 2);
        assert_eq!(world.broken(noted("a", before)).await, []);
        let pruned_too = "entry 4, which was noted, was pruned, so nothing noted confirms this chain: note its head before pruning";
        assert_eq!(
            world.broken(noted("a", then)).await,
            [("a".to_owned(), pruned_too.to_owned())]
        );
        let pruned = prune(world.db(), &owner, &Chain::Platform, Utc::now())
            .await
            .unwrap();
        assert_eq!(pruned.entries, 1);
        assert_eq!(world.broken(Anchors::default()).await, []);

        // More than was noted went.
        act(world.db(), "a", "x").await;
        world
            .tamper("DELETE FROM audit_log WHERE seq = (SELECT min(seq) FROM audit_log)")
            .await;
        assert_eq!(world.broken(Anchors::default()).await.len(), 1);
        let refused = prune(world.db(), &owner, &chain, Utc::now()).await;
        assert!(matches!(refused, Err(PruneError::Broken(_))), "{refused:?}");
        let tomorrow = Utc::now() + TimeDelta::days(1);
        let refused = prune(world.db(), &owner, &chain, tomorrow).await;
        assert!(matches!(refused, Err(PruneError::InTheFuture)), "{refused:?}");
        let service = prune(world.db(), &world.test.url, &Chain::Platform, Utc::now()).await;
        assert!(
            matches!(service, Err(PruneError::Owner(MigrationError::NotOwner { .. }))),
            "{service:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_chain_is_pruned_in_batches() {
    let world = World::channel().await;
    let owner = world.test.admin_url().parse().unwrap();
    let statement = "INSERT INTO audit_log (tenant_id, id, actor, action) \
                     SELECT 'a', gen_random_uuid(), 'x', 'x' FROM generate_series(1, 2500)";
    diesel_async::SimpleAsyncConnection::batch_execute(&mut world.test.admin().await, statement)
        .await
        .unwrap();
    let pruned = prune(world.db(), &owner, &Chain::Tenant("a".to_owned()), Utc::now())
        .await
        .unwrap();
    assert!(pruned.entries >= 2500, "{pruned:?}");
    assert_eq!(world.broken(Anchors::default()).await, []);
}
