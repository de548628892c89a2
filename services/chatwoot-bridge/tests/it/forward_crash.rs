//! Processes that die in the middle, and processes that work side by side.

use std::collections::BTreeSet;
use std::process::Stdio;
use std::time::Duration;

use chatwoot_bridge::app::tools;
use chatwoot_bridge::config::StorageSettings;
use chatwoot_bridge::flows::Tools;
use chatwoot_bridge::flows::forward::deliver::Deliveries;
use chatwoot_bridge::flows::forward::{Loads, parked};
use chatwoot_bridge::store::forward_lanes::{self, Room};
use chatwoot_bridge::store::routes::{Route, Target};
use chatwoot_bridge::targets::Targets;
use database::{Database, PoolSettings};
use diesel_async::SimpleAsyncConnection as _;
use futures_util::future::join_all;
use runtime::config::SettingsReader;
use secrecy::SecretString;
use tenant_isolation::{PlatformScope, PlatformTransaction};
use test_support::{
    ENCRYPTION_KEYS, TestProcessDatabase, eventually, install_crypto_provider, unique_prefix,
};
use tokio::process::{Child, Command};
use uuid::Uuid;

use crate::target::{
    Forwarding, Receiver, change, forwarded, message, post_with, put, quick, route, settled, tries,
};
use crate::world::{Running, World, open_policy, scope};

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_pass_each_event_on_once() {
    let side = Forwarding::start(|settings| settings.forward.retry = tries(1_000)).await;
    let mut settings = quick(&side.world);
    settings.forward.retry = tries(1_000);
    let other = Running::ready(settings).await;
    let ids: Vec<i64> = (1..=80).collect();
    // Everything is told to both.
    let told = ids.iter().flat_map(|id| {
        [&side.running, &other].map(|to| {
            let body = message(42, id % 9 + 1, *id).to_string();
            post_with(&to.base, "/webhook", body, &[])
        })
    });
    for answer in join_all(told).await {
        assert_eq!(answer, forwarded());
    }
    side.until_settled().await;
    let taken = side.target.taken();
    assert_eq!(taken.len(), ids.len());
    assert_eq!(
        taken.iter().copied().collect::<BTreeSet<_>>(),
        ids.iter().copied().collect()
    );
    assert!(other.stop().await && side.running.stop().await);
    settled(&side.world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_route_is_a_part_of_what_is_taken_in_hand() {
    let world = World::start().await;
    let (crowded, other) = (Uuid::now_v7(), Uuid::now_v7());
    for (route, lanes) in [(crowded, 150), (other, 3)] {
        world
            .sql(&format!(
                "INSERT INTO forward_lanes (tenant_id, route_id, conversation, ready_at) \
                 SELECT 'desa-a', '{route}', n, now() - interval '1 minute' + n * interval '1 ms' \
                 FROM generate_series(1, {lanes}) n"
            ))
            .await;
    }
    let take = async |not_of: &[Uuid]| {
        let platform = PlatformScope::for_purpose("test");
        let mut tx = PlatformTransaction::begin(&world.database.db, platform)
            .await
            .unwrap();
        let room = Room {
            most: 50,
            most_of_route: 8,
            not_of,
        };
        let lease = Duration::from_secs(600);
        let taken = forward_lanes::take(&mut tx, room, lease, Duration::ZERO)
            .await
            .unwrap();
        tx.commit().await.unwrap();
        let of = |route| taken.iter().filter(|one| one.route_id == route).count();
        (of(crowded), of(other))
    };
    assert_eq!(take(&[]).await, (8, 3));
    assert_eq!(take(&[crowded]).await, (0, 0));
    // What is too much for a full route is out of the way for a while.
    let mut tx = PlatformTransaction::begin(&world.database.db, PlatformScope::for_purpose("test"))
        .await
        .unwrap();
    let put_off = forward_lanes::put_off(&mut tx, &[crowded], 10, 1_000)
        .await
        .unwrap();
    tx.commit().await.unwrap();
    assert_eq!(put_off, 150 - 8 - 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_slept_for_a_lease_posts_nothing_any_more() {
    let (world, target) = (World::start().await, Receiver::start());
    let route = put(&world.tools, &route(42, &target.url(), &world.tools)).await;
    world
        .sql(&format!(
            "WITH event AS (INSERT INTO forward_events (tenant_id, id, route_id, conversation, event, class, headers, \
                    body, size) \
                VALUES ('desa-a', gen_random_uuid(), '{}', 1, 'conversation_updated', 'other', '[]', \
                    convert_to('{{\"id\":1}}', 'UTF8'), 1024) RETURNING tenant_id, route_id, conversation, size) \
             INSERT INTO forward_lanes (tenant_id, route_id, conversation, ready_at, accepted, held, held_bytes) \
             SELECT tenant_id, route_id, conversation, now(), 1, 1, size FROM event",
            route.id
        ))
        .await;
    let leasing_for = |lease| {
        let targets = Targets::new(open_policy(), Duration::from_secs(20), 8).unwrap();
        let tools = &world.tools;
        Deliveries::new(
            tools.db.clone(),
            tools.keys.clone(),
            targets,
            8,
            32,
            tries(4),
            Duration::ZERO,
        )
        .leasing_for(lease)
    };
    // The one sleeps with the event in hand, until the other has it and posts it.
    let (sleeps, wakes) = (
        leasing_for(Duration::from_millis(1)),
        leasing_for(Duration::from_secs(600)),
    );
    let slept_on = sleeps.take(1).await.unwrap().pop().unwrap();
    let taken_over = eventually("it is somebody else's", || async {
        wakes.take(1).await.unwrap().pop()
    })
    .await;
    wakes.deliver(taken_over).await;
    assert_eq!(target.taken(), [1]);
    sleeps.deliver(slept_on).await;
    assert_eq!(target.received().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_look_takes_an_eighth_of_all_places_for_one_route() {
    let world = World::start().await;
    for (route, lanes) in [(Uuid::now_v7(), 200), (Uuid::now_v7(), 3)] {
        world
            .sql(&format!(
                "INSERT INTO forward_lanes (tenant_id, route_id, conversation, ready_at) \
                 SELECT 'desa-a', '{route}', n, now() - interval '1 minute' + n * interval '1 ms' \
                 FROM generate_series(1, {lanes}) n"
            ))
            .await;
    }
    let deliveries = |at_once| {
        let targets = Targets::new(open_policy(), Duration::from_secs(20), 8).unwrap();
        let (db, keys) = (world.tools.db.clone(), world.tools.keys.clone());
        Deliveries::new(db, keys, targets, 8, at_once, tries(4), Duration::ZERO)
    };
    // What is asked for first is what waits longest: the others have their part of each look all the same.
    assert_eq!(deliveries(512).take(256).await.unwrap().len(), 64 + 3);
    assert_eq!(deliveries(16).take(16).await.unwrap().len(), 8);
    assert_eq!(deliveries(80).take(80).await.unwrap().len(), 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_look_at_the_load_costs_is_a_reason_to_look_less_often_and_a_failure_is_none() {
    let world = World::start().await;
    let loads = Loads::new(1_000);
    // Somebody keeps the look waiting.
    let mut holder = world.database.admin().await;
    holder
        .batch_execute("BEGIN; LOCK TABLE forward_lanes IN ACCESS EXCLUSIVE MODE")
        .await
        .unwrap();
    let (db, looking) = (world.tools.db.clone(), loads.clone());
    let slow = tokio::spawn(async move { looking.weigh(&db).await });
    let waiting =
        "SELECT count(*) AS n FROM pg_locks WHERE NOT granted AND relation = 'forward_lanes'::regclass";
    eventually("the look waits", || async {
        (world.count(waiting).await == 1).then_some(())
    })
    .await;
    tokio::time::sleep(Duration::from_millis(120)).await;
    holder.batch_execute("COMMIT").await.unwrap();
    assert_eq!(slow.await.unwrap(), Duration::from_secs(5));

    // Nobody answers there, and it is known only after a while.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("postgres://u:p@{}/d", silent.local_addr().unwrap());
    let pool = PoolSettings {
        size: 1,
        wait: Duration::from_millis(200),
    };
    let away = Database::new(&url.parse().unwrap(), world.database.names.clone(), pool).unwrap();
    assert_eq!(loads.weigh(&away).await, Duration::from_secs(1));
}

/// An agent's message of inbox 42 as a process leaves it that died while it posted it.
async fn leave_in_hand(side: &Forwarding) {
    side.world
        .sql(&format!(
            "WITH event AS (INSERT INTO forward_events (tenant_id, id, route_id, conversation, event, class, account, \
                    message, headers, body, size) \
                VALUES ('desa-a', gen_random_uuid(), '{}', 1, 'message_created', 'agent_message', 3, 1, '[]', \
                    convert_to('{{\"id\":1}}', 'UTF8'), 1024) RETURNING tenant_id, route_id, conversation, id, size) \
             INSERT INTO forward_lanes (tenant_id, route_id, conversation, ready_at, in_hand, accepted, held, held_bytes) \
             SELECT tenant_id, route_id, conversation, now(), id, 1, 1, size FROM event",
            side.route.id
        ))
        .await;
}

/// The one event that nobody knows of.
async fn unknown(side: &Forwarding) -> parked::ParkedEvent {
    let db = &side.world.tools.db;
    let event = eventually("what nobody knows of is held", || async {
        let (held, _) = parked::parked(db, &scope("desa-a"), None, 10).await.unwrap();
        held.into_iter().next()
    })
    .await;
    side.until_settled().await;
    assert!(event.unknown, "{event:?}");
    assert_eq!(side.target.received().len(), 0, "it was posted once more");
    event
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_begun_is_not_begun_anew_because_its_route_was_off_meanwhile() {
    let off = |mut route: Route, _: &Tools| {
        route.enabled = false;
        route
    };
    let side = Forwarding::start_with(|_| {}, off).await;
    leave_in_hand(&side).await;
    assert_eq!(unknown(&side).await.reason.as_deref(), Some("interrupted"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_begun_is_not_begun_anew_because_its_target_did_not_open_meanwhile() {
    let mut right = None;
    let unopenable = |mut route: Route, tools: &Tools| {
        right = Some(route.clone());
        if let Target::Url { url_sealed, .. } = &mut route.target {
            *url_sealed = tools
                .keys
                .seal(&SecretString::from("http://x"), "elsewhere")
                .unwrap();
        }
        route
    };
    let side = Forwarding::start_with(|settings| settings.forward.retry = tries(1_000), unopenable).await;
    leave_in_hand(&side).await;
    eventually("it was tried to open it", || async {
        let tried = "SELECT coalesce(max(failures), 0)::bigint AS n FROM forward_events";
        (side.world.count(tried).await >= 2).then_some(())
    })
    .await;
    put(&side.world.tools, &right.unwrap()).await;
    assert_eq!(unknown(&side).await.reason.as_deref(), Some("interrupted"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_begun_and_cannot_be_posted_any_more_is_not_known_either() {
    let unopenable = |mut route: Route, tools: &Tools| {
        if let Target::Url { url_sealed, .. } = &mut route.target {
            *url_sealed = tools
                .keys
                .seal(&SecretString::from("http://x"), "elsewhere")
                .unwrap();
        }
        route
    };
    let side = Forwarding::start_with(|settings| settings.forward.retry = tries(1), unopenable).await;
    leave_in_hand(&side).await;
    let reason = unknown(&side).await.reason;
    assert_eq!(reason.as_deref(), Some("secret_does_not_open"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_delivered_while_postgres_was_away_is_not_unknown_afterwards() {
    let side = Forwarding::start(|_| {}).await;
    // Nothing can be written down of what was in hand; a sequence counts the tries, they are not taken back.
    for statement in [
        "CREATE SEQUENCE tries",
        "CREATE FUNCTION away() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN \
             PERFORM nextval('tries'); RAISE EXCEPTION 'the database system is away'; END $$",
        "CREATE TRIGGER away BEFORE UPDATE ON forward_lanes FOR EACH ROW \
             WHEN (OLD.in_hand IS NOT NULL AND NEW.in_hand IS NULL) EXECUTE FUNCTION away()",
    ] {
        side.world.sql(statement).await;
    }
    side.post(&message(42, 1, 1)).await;
    assert_eq!(side.target.until_taken(1).await, [1]);
    let tries = "SELECT CASE WHEN is_called THEN last_value ELSE 0 END AS n FROM tries";
    let until_tried = async |often: i64| {
        eventually("it is tried to write it down", || async {
            (side.world.count(tries).await >= often).then_some(())
        })
        .await;
    };
    until_tried(2).await;
    // The lease ends, and somebody could take it over.
    side.world
        .sql("UPDATE forward_lanes SET ready_at = now() WHERE in_hand IS NOT NULL")
        .await;
    until_tried(6).await;
    side.world.sql("DROP TRIGGER away ON forward_lanes").await;
    side.until_settled().await;
    assert_eq!(side.target.received().len(), 1);
    let (held, counts) = parked::parked(&side.world.tools.db, &scope("desa-a"), None, 10)
        .await
        .unwrap();
    assert!(held.is_empty(), "{held:?}");
    assert_eq!(counts[0].delivered, 1);
}

/// A bridge as a process of its own.
struct Process<'a> {
    database: &'a TestProcessDatabase,
    prefix: String,
    port: u16,
}

impl Process<'_> {
    fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_chatwoot-bridge"));
        command
            .env_clear()
            .env("DATABASE_URL", self.database.service_url("chatwoot_bridge"))
            .env("MIGRATE_DATABASE_URL", self.database.admin_url())
            .env("RABBITMQ_URL", crate::target::NO_BROKER)
            .env("BROKER_PREFIX", &self.prefix)
            .env("ENCRYPTION_KEYS", ENCRYPTION_KEYS)
            .env("OUTBOUND_ALLOWED_PRIVATE_HOSTS", "127.0.0.1:*")
            .env("HOST", "127.0.0.1")
            .env("PORT", self.port.to_string())
            .env("HTTP_WORKERS", "1")
            .env("DATABASE_POOL_SIZE", "6")
            // Whoever has an event in hand keeps it for three seconds.
            .env("FETCH_TIMEOUT_MS", "500")
            .env("REPLY_ORDER_WINDOW_MS", "1")
            .env("FORWARD_RETRY_FIRST_MS", "50")
            .env("LOG_LEVEL", "warn")
            .stdout(Stdio::null())
            .kill_on_drop(true);
        command
    }

    async fn serve(&self) -> Child {
        let child = self.command().spawn().unwrap();
        let address = ([127, 0, 0, 1], self.port).into();
        eventually("the process is ready", || async {
            web::healthcheck::run(address).await.ok()
        })
        .await;
        child
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_is_killed_while_it_posts_loses_nothing_and_sends_no_message_twice() {
    install_crypto_provider();
    let (database, target) = (TestProcessDatabase::create().await, Receiver::start());
    let port = web::bind(([127, 0, 0, 1], 0).into())
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let process = Process {
        database: &database,
        prefix: unique_prefix("bridge"),
        port,
    };
    assert!(
        process
            .command()
            .args(["migrate", "--bootstrap"])
            .status()
            .await
            .unwrap()
            .success()
    );
    let reader = SettingsReader::from_map([
        ("DATABASE_URL", database.service_url("chatwoot_bridge").as_str()),
        ("ENCRYPTION_KEYS", ENCRYPTION_KEYS),
    ]);
    let tools = tools(&StorageSettings::read(reader).unwrap()).unwrap();
    put(&tools, &route(42, &target.url(), &tools)).await;
    let base = format!("http://127.0.0.1:{port}");
    let tell = async |event: serde_json::Value| {
        assert_eq!(
            post_with(&base, "/webhook", event.to_string(), &[]).await,
            forwarded()
        );
    };
    let mut child = process.serve().await;
    target.answer(0);
    // The agent's message may be on its way to a person when the process dies; that of the other conversation is no message.
    tell(message(42, 1, 1)).await;
    tell(change(42, 2, 5)).await;
    target.until(2).await;
    child.kill().await.unwrap();

    target.answer(200);
    let mut child = process.serve().await;
    tell(message(42, 1, 3)).await;
    let held = eventually("what nobody knows of is held", || async {
        let (held, _) = parked::parked(&tools.db, &scope("desa-a"), None, 10)
            .await
            .unwrap();
        held.into_iter().next()
    })
    .await;
    assert!(held.unknown);
    assert_eq!(held.message_id, Some(1));
    let taken = target.until_taken(2).await;
    assert_eq!(taken.into_iter().collect::<BTreeSet<_>>(), BTreeSet::from([2, 3]));
    // Whoever took the change over knows that it was begun before.
    let changes = target.received();
    let attempts: Vec<_> = changes
        .iter()
        .filter(|one| one.id() == 2)
        .filter_map(|one| one.header("x-kanal-attempt"))
        .collect();
    assert_eq!(attempts.first(), Some(&"1"));
    assert!(
        attempts.len() > 1 && attempts[1..].iter().all(|attempt| *attempt != "1"),
        "{attempts:?}"
    );
    assert!(
        parked::replay(&tools.db, &scope("desa-a"), held.event_id)
            .await
            .unwrap()
    );
    target.until_taken(3).await;
    assert_eq!(target.received().iter().filter(|one| one.id() == 1).count(), 2);
    child.kill().await.unwrap();
}
