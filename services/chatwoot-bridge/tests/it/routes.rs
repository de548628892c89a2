//! Routes and their places: no two of whatever tenants take each other's events.

use chatwoot_bridge::flows::connect_inbox::{Connection, NotConnected, connect_inbox};
use chatwoot_bridge::store::routes::{self as route_store, PLACE_TAKEN, Route, Target};
use chatwoot_bridge::store::{installations, installations::Installation};
use chatwoot_bridge::webhooks::book::{Found, RouteBook};
use chatwoot_bridge::webhooks::event::Event;
use chrono::Utc;
use database::DatabaseError;
use diesel_async::SimpleAsyncConnection as _;
use domain::ids::AccountId;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};
use tenant_isolation::{PlatformScope, PlatformTransaction, TenantTransaction};
use uuid::Uuid;

use crate::process::DOWNS;
use crate::router::{put, url_route};
use crate::world::{World, key, scope, start_chatwoot};

fn event(json: &Value) -> Event {
    Event::read(json.to_string().as_bytes(), Utc::now()).unwrap()
}

fn at(account: Option<i64>, inbox: i64) -> Event {
    event(&json!({"event": "x", "inbox_id": inbox, "account": {"id": account}}))
}

async fn found(book: &RouteBook, installation: &str, event: &Event) -> Option<Uuid> {
    match book.find(installation, event).await.unwrap() {
        Found::Route(known) => Some(known.route.id),
        Found::Ambiguous | Found::Nobody => None,
    }
}

fn is_taken<T>(outcome: &Result<T, DatabaseError>) -> bool {
    matches!(outcome, Err(DatabaseError::Conflict { constraint }) if constraint == PLACE_TAKEN)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_place_is_somebodys_and_its_events_are_nobody_elses() {
    let world = World::start().await;
    let exact = put(&world, "desa-a", &url_route(&world, "desa-a", Some(3), 42))
        .await
        .unwrap();
    for tenant in ["desa-a", "desa-b"] {
        // The same place, and one that would take its events.
        for account in [Some(3), None] {
            let other = url_route(&world, tenant, account, 42);
            assert!(
                is_taken(&put(&world, tenant, &other).await),
                "{tenant} {account:?}"
            );
        }
    }
    let beside = put(&world, "desa-b", &url_route(&world, "desa-b", Some(4), 42))
        .await
        .unwrap();
    let any = put(&world, "desa-b", &url_route(&world, "desa-b", None, 43))
        .await
        .unwrap();
    assert!(is_taken(
        &put(&world, "desa-a", &url_route(&world, "desa-a", Some(3), 43)).await
    ));
    let elsewhere = Route {
        installation: "cabang".into(),
        ..url_route(&world, "desa-b", Some(3), 42)
    };
    put(&world, "desa-b", &elsewhere).await.unwrap();
    assert_eq!(
        (exact.number < beside.number, beside.number < any.number),
        (true, true)
    );

    // A route that moves leaves its place to others, and its number goes along.
    let moved = put(
        &world,
        "desa-a",
        &Route {
            inbox_id: 50,
            ..exact.clone()
        },
    )
    .await
    .unwrap();
    assert_eq!(moved.number, exact.number);
    assert!(is_taken(
        &put(
            &world,
            "desa-a",
            &Route {
                inbox_id: 43,
                ..moved.clone()
            }
        )
        .await
    ));
    let heir = put(&world, "desa-b", &url_route(&world, "desa-b", Some(3), 42))
        .await
        .unwrap();
    let book = RouteBook::new(world.database.db.clone());
    assert_eq!(found(&book, "default", &at(Some(3), 42)).await, Some(heir.id));
    assert_eq!(found(&book, "default", &at(Some(3), 50)).await, Some(moved.id));
    // Nobody is left in the directory or among the places.
    let mut tx = TenantTransaction::begin(&world.database.db, &scope("desa-a"), "test")
        .await
        .unwrap();
    assert!(
        !route_store::remove(&mut tx, heir.id).await.unwrap(),
        "another tenant's"
    );
    assert!(route_store::remove(&mut tx, moved.id).await.unwrap());
    tx.commit().await.unwrap();
    for table in ["routes", "route_places", "tenant_directory"] {
        assert_eq!(
            world.count(&format!("SELECT count(*) AS n FROM {table}")).await,
            4,
            "{table}"
        );
    }
    assert_eq!(
        found(&book, "default", &at(Some(3), 50)).await,
        Some(moved.id),
        "at hand until somebody looks"
    );
    book.refresh().await.unwrap();
    assert_eq!(found(&book, "default", &at(Some(3), 50)).await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_at_once_do_not_both_get_a_place() {
    let world = World::start().await;
    let tries = (0..8_i64).map(|n| {
        let (world, tenant) = (&world, format!("desa-{n}"));
        let route = url_route(world, &tenant, (n % 2 == 0).then_some(3), 42);
        async move { put(world, &tenant, &route).await }
    });
    let outcomes = futures_util::future::join_all(tries).await;
    assert_eq!(
        outcomes.iter().filter(|outcome| outcome.is_ok()).count(),
        1,
        "{outcomes:?}"
    );
    assert!(
        outcomes
            .iter()
            .all(|outcome| outcome.is_ok() || is_taken(outcome)),
        "{outcomes:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_finds_the_one_route_that_is_meant() {
    let world = World::start().await;
    let book = RouteBook::new(world.database.db.clone());
    assert_eq!(found(&book, "default", &at(Some(3), 42)).await, None);
    // Known at once, without a wait: who finds nothing looks again.
    let exact = put(&world, "desa-a", &url_route(&world, "desa-a", Some(3), 42))
        .await
        .unwrap();
    assert_eq!(found(&book, "default", &at(Some(3), 42)).await, Some(exact.id));
    assert_eq!(
        found(&book, "default", &at(Some(4), 42)).await,
        None,
        "another account's"
    );
    assert_eq!(found(&book, "cabang", &at(Some(3), 42)).await, None);
    assert_eq!(
        found(&book, "default", &at(None, 42)).await,
        Some(exact.id),
        "the only one"
    );
    put(&world, "desa-b", &url_route(&world, "desa-b", Some(4), 42))
        .await
        .unwrap();
    book.refresh().await.unwrap();
    let outcome = book.find("default", &at(None, 42)).await.unwrap();
    assert!(matches!(outcome, Found::Ambiguous), "two, and nobody guesses");
    let any = put(&world, "desa-a", &url_route(&world, "desa-a", None, 43))
        .await
        .unwrap();
    for account in [None, Some(3), Some(99)] {
        assert_eq!(found(&book, "default", &at(account, 43)).await, Some(any.id));
    }
    assert_eq!(
        found(&book, "default", &event(&json!({"event": "contact_created"}))).await,
        None
    );
    assert_eq!(
        book.by_id(any.id).map(|known| known.route.number),
        Some(any.number)
    );
    // What the directory does not know as its tenant's is not routed, whatever stands in the table.
    world
        .sql("DELETE FROM tenant_directory WHERE external_id = 'default/*/43'")
        .await;
    let fresh = RouteBook::new(world.database.db.clone());
    assert_eq!(found(&fresh, "default", &at(Some(3), 43)).await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_see_everybodys_newest_first_and_numbers_move_on() {
    let world = World::start().await;
    let mut numbers = Vec::new();
    for (n, tenant) in ["desa-a", "desa-b", "desa-a"].into_iter().enumerate() {
        let route = url_route(&world, tenant, None, 40 + i64::try_from(n).unwrap());
        numbers.insert(0, put(&world, tenant, &route).await.unwrap().number);
    }
    let platform = || PlatformTransaction::begin(&world.database.db, PlatformScope::for_purpose("test"));
    let mut tx = platform().await.unwrap();
    let mut listed = Vec::new();
    let mut after = None;
    loop {
        let page = route_store::list(&mut tx, after, 2).await.unwrap();
        let Some(last) = page.last() else { break };
        after = Some(last.route.number);
        listed.extend(page.iter().map(|owned| owned.route.number));
    }
    assert_eq!(listed, numbers);
    let owned = route_store::by_number(&mut tx, numbers[1])
        .await
        .unwrap()
        .unwrap();
    assert_eq!(owned.tenant.as_str(), "desa-b");
    assert!(route_store::by_number(&mut tx, 999).await.unwrap().is_none());
    route_store::move_numbers_past(&mut tx, 70).await.unwrap();
    tx.commit().await.unwrap();
    let kept = Route {
        number: 70,
        ..url_route(&world, "desa-a", None, 50)
    };
    assert_eq!(put(&world, "desa-a", &kept).await.unwrap().number, 70);
    let next = put(&world, "desa-a", &url_route(&world, "desa-a", None, 51))
        .await
        .unwrap();
    assert_eq!(next.number, 71);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connected_inbox_has_a_route_and_takes_one_over() {
    let world = World::start().await;
    let connection = |inbox, account| Connection {
        account,
        chatwoot_url: "https://chat.example".into(),
        key: key("default", 3, inbox),
        api_token: SecretString::from("token-not-real"),
        webhook_secrets: Some(Vec::new()),
    };
    let tenant = scope("desa-a");
    let before = put(&world, "desa-a", &url_route(&world, "desa-a", Some(3), 42))
        .await
        .unwrap();
    let account = AccountId::generate();
    let link = connect_inbox(&world.tools, &tenant, &connection(42, account))
        .await
        .unwrap();
    let of_link = async |link| {
        let mut tx = TenantTransaction::begin(&world.database.db, &tenant, "test")
            .await
            .unwrap();
        let route = route_store::find_by_link(&mut tx, link).await.unwrap();
        tx.commit().await.unwrap();
        route
    };
    let route = of_link(link).await.unwrap();
    assert_eq!((route.id, route.number), (before.id, before.number));
    assert_eq!(route.target, Target::Account { link });
    // Once more, under another address, it is the same connection still; in another inbox it is another one.
    let moved = Connection {
        chatwoot_url: "https://new.example".into(),
        ..connection(42, account)
    };
    let again = connect_inbox(&world.tools, &tenant, &moved).await.unwrap();
    assert_eq!(again, link);
    assert_eq!(of_link(again).await.unwrap().number, before.number);
    let other = connect_inbox(&world.tools, &tenant, &connection(43, account))
        .await
        .unwrap();
    assert_eq!(of_link(again).await.map(|route| route.id), None);
    assert_eq!(of_link(other).await.unwrap().id, other);
    for table in ["routes", "route_places", "tenant_directory", "inboxes"] {
        assert_eq!(
            world.count(&format!("SELECT count(*) AS n FROM {table}")).await,
            1,
            "{table}"
        );
    }
    // A route for whichever account has the place, too.
    put(&world, "desa-b", &url_route(&world, "desa-b", None, 44))
        .await
        .unwrap();
    let refused = connect_inbox(&world.tools, &tenant, &connection(44, AccountId::generate())).await;
    assert!(matches!(refused, Err(NotConnected::Taken)), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_connected_before_there_were_routes_has_one() {
    let (world, chatwoot) = (World::start().await, start_chatwoot().await);
    let place = world.connect(&chatwoot, "desa-a", "default", "").await;
    world
        .sql("INSERT INTO tenant_directory SELECT 'chatwoot_inbox', 'x/1/9', 'desa-a', gen_random_uuid()")
        .await;
    let mut connection = world.database.admin().await;
    for down in DOWNS {
        connection.batch_execute(down).await.unwrap();
        if down.contains("DROP TABLE routes") {
            break;
        }
    }
    let up = include_str!("../../../../migrations/chatwoot_bridge/2026-11-28-000013_routes/up.sql");
    connection.batch_execute(up).await.unwrap();
    let kept = format!(
        "SELECT count(*) AS n FROM routes r JOIN route_places p ON p.route_id = r.id \
         WHERE r.tenant_id = 'desa-a' AND r.id = '{0}' AND r.link_id = '{0}' AND r.number = 1 AND r.enabled \
           AND r.chatwoot_account_id = {1} AND p.chatwoot_inbox_id = {2}",
        place.link, place.chatwoot_account, place.inbox
    );
    assert_eq!(world.count(&kept).await, 1);
    assert_eq!(world.count("SELECT count(*) AS n FROM tenant_directory").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_accounts_own_token_comes_before_the_inboxes() {
    let (world, chatwoot) = (World::start().await, start_chatwoot().await);
    let place = world.connect(&chatwoot, "desa-a", "default", "").await;
    let account = i64::try_from(place.chatwoot_account).unwrap();
    let native = async {
        let mut tx = TenantTransaction::begin(&world.database.db, &place.scope, "test")
            .await
            .unwrap();
        let route = route_store::find_by_link(&mut tx, place.link)
            .await
            .unwrap()
            .unwrap();
        tx.commit().await.unwrap();
        route
    };
    let native = native.await;
    let url = put(&world, "desa-a", &url_route(&world, "desa-a", None, 50))
        .await
        .unwrap();
    let tools = &world.tools;
    let of_inbox = tools
        .address_of(&place.scope, &native, account)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(of_inbox.url, format!("{}/chatwoot", chatwoot.base_url()));
    assert!(
        tools
            .address_of(&place.scope, &native, account + 1)
            .await
            .unwrap()
            .is_none()
    );
    assert!(
        tools
            .address_of(&place.scope, &url, account)
            .await
            .unwrap()
            .is_none()
    );
    let token = SecretString::from("account-token-not-real");
    let bound = Installation::token_place("desa-a", "default", account);
    let row = Installation {
        installation: "default".into(),
        chatwoot_account_id: account,
        chatwoot_url: "https://chat.example".into(),
        api_token_sealed: tools.keys.seal(&token, &bound).unwrap(),
    };
    let mut tx = TenantTransaction::begin(&world.database.db, &place.scope, "test")
        .await
        .unwrap();
    installations::put(&mut tx, &row).await.unwrap();
    tx.commit().await.unwrap();
    for route in [&native, &url] {
        let at = tools
            .address_of(&place.scope, route, account)
            .await
            .unwrap()
            .unwrap();
        assert_eq!(at.token.expose_secret(), "account-token-not-real");
        assert_eq!(
            (at.url.as_str(), at.inbox_id),
            ("https://chat.example", route.inbox_id)
        );
    }
    // Another tenant's is not found, whoever asks for the same account.
    let stranger = tools.address_of(&scope("desa-b"), &url, account).await.unwrap();
    assert!(stranger.is_none());
}
