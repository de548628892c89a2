//! Receivers that are away, slow, elsewhere or gone.

use std::time::Duration;

use test_support::{CuttableProxy, eventually};

use super::world::{
    COUNTS, HookedSession, KEPT, Received, Receiver, ask, schedule, start, start_with, until_it_is,
};

const REASONS: &str = "SELECT string_agg(last_error || CASE WHEN parked THEN '!' ELSE '' END, ' ' ORDER BY seq) FROM lane_tasks";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_that_was_away_gets_everything_once_and_in_order() {
    let gateway = start_with(|settings| settings.hooks.retry = schedule(1000)).await;
    let receiver = Receiver::start();
    let proxy = CuttableProxy::in_front_of(&receiver.url(), 80).await;
    let session = HookedSession::make(&gateway, "desa-a", &proxy.url(&receiver.url())).await;
    session.accepted(&gateway, &session.event("0")).await;
    receiver.until(1).await;
    proxy.cut();
    for mark in ["1", "2", "3"] {
        session.accepted(&gateway, &session.event(mark)).await;
    }
    until_it_is(
        &gateway,
        "SELECT count(*) FROM lane_tasks WHERE failures > 1",
        "1",
    )
    .await;
    proxy.restore();
    receiver.until(4).await;
    until_it_is(&gateway, KEPT, "0").await;
    assert_eq!(receiver.marks(), ["0", "1", "2", "3"]);
    until_it_is(&gateway, COUNTS, "4 4 0 0 0 0").await;
    receiver.stop().await;
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_takes_no_connection_costs_no_tries_while_it_rests() {
    let gateway = start_with(|settings| settings.hooks.retry = schedule(1000)).await;
    // Taken and not listened on: nobody else gets it.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let dead = format!("http://{}/hook", socket.local_addr().unwrap());
    let session = HookedSession::make(&gateway, "desa-a", &dead).await;
    session.accepted(&gateway, &session.event("one")).await;
    // Five tries found nobody; what comes then is none.
    let question = "SELECT last_error || ' ' || failures FROM lane_tasks";
    until_it_is(&gateway, question, "host_resting 5").await;
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refusals_redirects_and_silence_are_tried_again_and_then_parked() {
    for (status, reason) in [
        (500, "http_500!"),
        (404, "http_404!"),
        (302, "http_302!"),
        (0, "timeout!"),
    ] {
        let gateway = start_with(|settings| {
            settings.hooks.timeout = Duration::from_millis(if status == 0 { 300 } else { 20_000 });
        })
        .await;
        let receiver = Receiver::start();
        let session = HookedSession::make(&gateway, "desa-a", &receiver.url()).await;
        receiver.answer(status);
        session.accepted(&gateway, &session.event("one")).await;
        until_it_is(&gateway, REASONS, reason).await;
        let received = receiver.received();
        // A redirect is not followed: each try is one request.
        let attempts: Vec<Option<&str>> = received
            .iter()
            .map(|received| received.header("x-kanal-attempt"))
            .collect();
        assert_eq!(attempts, [Some("1"), Some("2"), Some("3")], "{status}");
        let mut ids: Vec<Option<&str>> = received
            .iter()
            .map(|received| received.header("x-kanal-event-id"))
            .collect();
        ids.dedup();
        assert_eq!(ids.len(), 1);
        // The next one has its turn.
        receiver.answer(200);
        session.accepted(&gateway, &session.event("two")).await;
        receiver.until(4).await;
        until_it_is(&gateway, REASONS, reason).await;
        receiver.stop().await;
        gateway.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_that_is_gone_is_asked_once() {
    let (gateway, receiver) = (start().await, Receiver::start());
    let session = HookedSession::make(&gateway, "desa-a", &receiver.url()).await;
    receiver.answer(410);
    session.accepted(&gateway, &session.event("one")).await;
    until_it_is(&gateway, COUNTS, "1 0 1 0 0 0").await;
    assert_eq!(ask(&gateway.database, KEPT).await, "0");
    assert_eq!(receiver.marks(), ["one"]);
    // A receiver that was taken back meanwhile is not asked at all.
    receiver.answer(500);
    session.accepted(&gateway, &session.event("two")).await;
    receiver.until(2).await;
    gateway.sql("UPDATE sessions SET webhook_url = NULL").await;
    until_it_is(&gateway, COUNTS, "2 0 2 0 0 0").await;
    receiver.stop().await;
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stuck_session_delays_no_other() {
    let (gateway, stuck, well) = (start().await, Receiver::start(), Receiver::start());
    stuck.answer(0);
    let one = HookedSession::make(&gateway, "desa-a", &stuck.url()).await;
    let two = HookedSession::make(&gateway, "desa-b", &well.url()).await;
    one.accepted(&gateway, &one.event("held")).await;
    stuck.until(1).await;
    for mark in ["1", "2", "3"] {
        two.accepted(&gateway, &two.event(mark)).await;
    }
    well.until(3).await;
    assert_eq!(stuck.received().len(), 1);
    stuck.stop().await;
    well.stop().await;
    gateway.shutdown.begin();
    drop(gateway.running);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn private_addresses_are_dialled_only_where_they_are_listed() {
    let gateway = start_with(|settings| settings.hooks.outbound = Default::default()).await;
    let receiver = Receiver::start();
    for (customer, url, reason) in [
        ("desa-a", receiver.url(), "refused_url!"),
        // A name leads there as well, and is found out when it is looked up.
        (
            "desa-b",
            receiver.url().replace("127.0.0.1", "localhost"),
            "unreachable!",
        ),
    ] {
        let session = HookedSession::make(&gateway, customer, &url).await;
        session.accepted(&gateway, &session.event("one")).await;
        let question = format!("{REASONS} WHERE tenant_id = '{customer}'");
        until_it_is(&gateway, &question, reason).await;
    }
    assert!(receiver.received().is_empty());
    receiver.stop().await;
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_accepted_before_the_relay_was_switched_off_is_delivered() {
    let (gateway, receiver) = (
        start_with(|settings| settings.relay.public_base = None).await,
        Receiver::start(),
    );
    let session = HookedSession::make(&gateway, "desa-a", &receiver.url()).await;
    let event = uuid::Uuid::now_v7();
    gateway
        .sql(&format!(
            "INSERT INTO hook_counts (tenant_id, session, accepted, held, held_bytes) VALUES ('desa-a', '{0}', 1, 1, 1036); \
             INSERT INTO hook_events (tenant_id, id, session, event_type, body) \
                VALUES ('desa-a', '{event}', '{0}', 'QR', '{{\"mark\":\"1\"}}'); \
             INSERT INTO lanes (tenant_id, lane, ready_at) VALUES ('desa-a', 'hook:{0}', now()); \
             INSERT INTO lane_tasks (tenant_id, id, lane, kind, payload) VALUES ('desa-a', '{event}', 'hook:{0}', 'hook', '{{}}')",
            session.id
        ))
        .await;
    let received: Vec<Received> = receiver.until(1).await;
    assert_eq!(received[0].mark(), "1");
    assert_eq!(received[0].header("content-type"), None);
    eventually("it is forgotten", || async {
        (ask(&gateway.database, KEPT).await == "0").then_some(())
    })
    .await;
    receiver.stop().await;
    gateway.stop().await;
}
