//! What Chatwoot told while nobody listened is found by looking.

use std::time::Duration;

use chatwoot_bridge::flows::accept_reply::Signals;
use chatwoot_bridge::flows::connect_inbox::{Connection, connect_inbox};
use chatwoot_bridge::flows::edit_route::{self, Editor, NewTarget, RouteChange};
use chatwoot_bridge::flows::reconcile::Reconciler;
use chatwoot_bridge::store::audit_log::Actor;
use chatwoot_bridge::webhooks::book::RouteBook;
use chrono::TimeDelta;
use domain::delivery::DeliveryStatus;
use domain::ids::ChatId;
use secrecy::SecretString;
use simulator::{FaultKind, Reply};

use crate::desk::{Desk, Tells, reference};
use crate::world::{fault, key, message, open_policy, received};

fn reconciler(desk: &Desk) -> Reconciler {
    let tools = desk.world.tools.clone();
    let book = RouteBook::new(tools.db.clone());
    Reconciler {
        under_way: TimeDelta::zero(),
        ..Reconciler::new(tools, book, Signals::default())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_was_told_is_found_and_done_once() {
    let desk = Desk::start().await;
    let reconciler = reconciler(&desk);
    assert_eq!(
        reconciler.round().await.unwrap(),
        0,
        "what people wrote is none of it"
    );
    for n in 1..=25 {
        desk.written(&format!("jawab {n}"));
    }
    let note = Reply {
        account_id: desk.place.chatwoot_account,
        conversation_id: 1,
        content: "catatan".into(),
        private: true,
        ..Reply::default()
    };
    desk.chatwoot.agent_reply(&note).unwrap();
    // Those of before the inbox was connected are none of ours.
    desk.world
        .sql("UPDATE routes SET created_at = now() + interval '1 hour'")
        .await;
    assert_eq!(reconciler.round().await.unwrap(), 0);
    desk.world
        .sql("UPDATE routes SET created_at = now() - interval '1 hour'")
        .await;
    assert_eq!(reconciler.round().await.unwrap(), 25);
    assert_eq!(reconciler.round().await.unwrap(), 0, "once");
    desk.world.work().await;
    let texts: Vec<String> = (1..=25).map(|n| format!("jawab {n}")).collect();
    assert_eq!(desk.world.ordered_texts().await, texts);
    let orders = desk.orders().await;
    assert_eq!(orders[0]["to"], crate::desk::CUSTOMER);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_press_of_the_button_and_a_deletion_are_found_too() {
    let desk = Desk::start().await;
    let reconciler = reconciler(&desk);
    let id = desk.written("jawab");
    reconciler.round().await.unwrap();
    desk.world.work().await;
    let reference = desk.orders().await[0]["reference"].as_str().unwrap().to_owned();
    let failed = Tells {
        reason: Some("not_on_whatsapp"),
        ..Tells::that(DeliveryStatus::Failed, "3EB0A")
    };
    desk.told(&reference, failed).await;
    desk.world.work().await;
    reconciler.round().await.unwrap();
    desk.world.work().await;
    assert_eq!(
        desk.orders().await.len(),
        1,
        "it failed, and nobody asked for it again"
    );
    let id = u64::try_from(id).unwrap();
    desk.chatwoot.press_retry(id).unwrap();
    for _ in 0..2 {
        reconciler.round().await.unwrap();
        desk.world.work().await;
    }
    let orders = desk.orders().await;
    assert_eq!(orders.len(), 2, "once more");
    let again = orders[1]["reference"].as_str().unwrap().to_owned();
    desk.told(&again, Tells::that(DeliveryStatus::Sent, "3EB0B"))
        .await;
    desk.world.work().await;
    desk.chatwoot.agent_deletes(id).unwrap();
    for _ in 0..2 {
        reconciler.round().await.unwrap();
        desk.world.work().await;
    }
    let orders = desk.orders().await;
    assert_eq!(
        (orders.len(), &orders[2]["content"]["kind"]),
        (3, &serde_json::json!("revoke"))
    );
}

/// Chatwoot tells whole seconds: what was written in this one is as new as what comes now.
async fn next_second() {
    tokio::time::sleep(Duration::from_millis(1_100)).await;
}

async fn change(desk: &Desk, change: RouteChange) {
    let outbound = open_policy();
    let editor = Editor {
        tools: &desk.world.tools,
        outbound: &outbound,
    };
    let number = desk.world.count("SELECT number AS n FROM routes").await;
    edit_route::update(editor, number, &change, &Actor::operator())
        .await
        .unwrap();
}

/// Nothing that is there is sent, and what comes from now on is.
async fn only_what_comes_now(desk: &Desk) {
    let reconciler = reconciler(desk);
    assert_eq!(reconciler.round().await.unwrap(), 0);
    desk.written("baru");
    assert_eq!(reconciler.round().await.unwrap(), 1);
    assert_eq!(reconciler.round().await.unwrap(), 0);
    desk.world.work().await;
    assert_eq!(desk.world.ordered_texts().await, ["baru"]);
}

fn to_url() -> RouteChange {
    RouteChange {
        target: Some(NewTarget::Url("http://127.0.0.1:9/webhook".into())),
        ..RouteChange::default()
    }
}

fn switched(on: bool) -> RouteChange {
    RouteChange {
        enabled: Some(on),
        ..RouteChange::default()
    }
}

async fn connect_at(desk: &Desk, host: &str, token: &str) {
    let port = desk.chatwoot.base_url().rsplit_once(':').unwrap().1.to_owned();
    let new = Connection {
        account: desk.place.account,
        chatwoot_url: format!("http://{host}:{port}/chatwoot"),
        key: key("default", desk.place.chatwoot_account, desk.place.inbox),
        api_token: SecretString::from(token),
        webhook_secrets: Some(Vec::new()),
    };
    connect_inbox(&desk.world.tools, &desk.place.scope, &new)
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_went_to_a_url_is_not_sent_when_the_route_leads_to_an_account() {
    let desk = Desk::start().await;
    let token = desk.token().await;
    // It is as old as its place, the connection is not.
    desk.sql("UPDATE routes SET created_at = now() - interval '90 days'")
        .await;
    change(&desk, to_url()).await;
    desk.sql("DELETE FROM reconcile_marks").await;
    desk.written("lewat url");
    next_second().await;
    connect_at(&desk, "127.0.0.1", &token).await;
    only_what_comes_now(&desk).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_written_under_the_old_address_is_not_sent_from_the_new_one() {
    let desk = Desk::start().await;
    desk.sql(
        "UPDATE inboxes SET chatwoot_url = 'http://127.0.0.1:9/old', created_at = now() - interval '1 day'",
    )
    .await;
    desk.sql("UPDATE routes SET created_at = now() - interval '1 day'")
        .await;
    desk.sql("UPDATE reconcile_marks SET seen_until = now() - interval '1 day'")
        .await;
    desk.written("lama");
    next_second().await;
    connect_at(&desk, "127.0.0.1", &desk.token().await).await;
    only_what_comes_now(&desk).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_written_while_the_route_was_off_or_led_elsewhere_stays_there() {
    for away in [switched(false), to_url()] {
        let desk = Desk::start().await;
        let token = desk.token().await;
        for table in ["inboxes", "routes"] {
            desk.sql(&format!(
                "UPDATE {table} SET created_at = now() - interval '1 day'"
            ))
            .await;
        }
        desk.sql("UPDATE reconcile_marks SET seen_until = now() - interval '1 day'")
            .await;
        let is_switched = away.enabled.is_some();
        change(&desk, away).await;
        desk.written("sementara");
        next_second().await;
        if is_switched {
            change(&desk, switched(true)).await;
        } else {
            connect_at(&desk, "127.0.0.1", &token).await;
        }
        only_what_comes_now(&desk).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_we_may_have_forgotten_is_not_sent_again() {
    let desk = Desk::start().await;
    for table in ["inboxes", "routes"] {
        desk.sql(&format!(
            "UPDATE {table} SET created_at = now() - interval '90 days'"
        ))
        .await;
    }
    let reconciler = reconciler(&desk);
    desk.written("lama");
    // A release that did not look yet leaves no mark: what is there then is none of ours.
    desk.sql("DELETE FROM reconcile_marks").await;
    next_second().await;
    for _ in 0..2 {
        assert_eq!(reconciler.round().await.unwrap(), 0);
    }
    // A mark that is fresh, over a page that shows what was written long before it.
    desk.sql("UPDATE reconcile_marks SET seen_until = now() + interval '10 minutes'")
        .await;
    assert_eq!(reconciler.round().await.unwrap(), 0);
    // A mark of long ago reaches back two days and no longer.
    desk.sql("UPDATE reconcile_marks SET seen_until = now() - interval '90 days'")
        .await;
    assert_eq!(reconciler.round().await.unwrap(), 1, "this one is younger");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_that_chatwoot_does_not_show_is_no_wish_to_send_again() {
    let desk = Desk::start().await;
    let reconciler = reconciler(&desk);
    for code in [403, 404] {
        let before = desk.orders().await.len();
        let id = desk.written("jawab");
        assert_eq!(reconciler.round().await.unwrap(), 1);
        desk.world.work().await;
        let refused = FaultKind::Status {
            status: code,
            body: None,
            retry_after: None,
        };
        desk.chatwoot
            .add_fault(fault(&desk.place, "PATCH", "", refused, 1))
            .unwrap();
        let failed = Tells {
            reason: Some("not_on_whatsapp"),
            ..Tells::that(DeliveryStatus::Failed, "3EB0A")
        };
        desk.told(&reference(&desk.orders().await[before]), failed).await;
        assert!(desk.shown().is_empty(), "{code}");
        for _ in 0..3 {
            assert_eq!(reconciler.round().await.unwrap(), 0, "{code}");
            desk.world.work().await;
        }
        let mut changed = desk.event(id, "jawab");
        changed["event"] = "message_updated".into();
        desk.take(&changed).await;
        desk.world.work().await;
        assert_eq!(desk.orders().await.len(), before + 1, "{code}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_odd_conversation_holds_up_no_other() {
    let desk = Desk::start().await;
    let question = message(&desk.place, ChatId::generate(), "628123450002", "3EB02", "tanya");
    desk.world.take(&received(&desk.place, question)).await;
    desk.world.work().await;
    desk.written_in(1, "di sini");
    desk.written_in(2, "di sana");
    let gone = FaultKind::Status {
        status: 404,
        body: None,
        retry_after: None,
    };
    // The newest is asked first.
    desk.chatwoot
        .add_fault(fault(&desk.place, "GET", "/conversations/2/messages", gone, 1))
        .unwrap();
    let reconciler = reconciler(&desk);
    assert_eq!(reconciler.round().await.unwrap(), 1);
    desk.world.work().await;
    assert_eq!(desk.world.ordered_texts().await, ["di sini"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_inbox_of_many_conversations_is_looked_through_in_several_rounds() {
    let desk = Desk::start().await;
    desk.written("jawab");
    next_second().await;
    for n in 10..35 {
        let (phone, id) = (format!("6281234500{n}"), format!("3EB1{n}"));
        let question = message(&desk.place, ChatId::generate(), &phone, &id, "tanya");
        desk.world.take(&received(&desk.place, question)).await;
    }
    desk.world.work().await;
    let reconciler = Reconciler {
        most_pages: 1,
        ..reconciler(&desk)
    };
    desk.sql("UPDATE reconcile_marks SET seen_until = now() - interval '1 hour'")
        .await;
    let under_way = "SELECT count(*) AS n FROM reconcile_marks WHERE look_began IS NOT NULL";
    assert_eq!(reconciler.round().await.unwrap(), 0, "it is on the second page");
    assert_eq!(desk.world.count(under_way).await, 1);
    assert_eq!(reconciler.round().await.unwrap(), 1);
    for _ in 0..2 {
        assert_eq!(reconciler.round().await.unwrap(), 0);
    }
    let moved = "SELECT count(*) AS n FROM reconcile_marks WHERE seen_until > now() - interval '30 minutes'";
    assert_eq!(desk.world.count(moved).await, 1, "and it comes to an end");
}
