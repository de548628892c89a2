//! What became of an agent's message, shown to the agent: forward only, and harmless when repeated.

use chatwoot_bridge::flows::accept_reply::{Acceptance, Reply, Signals, accept_reply};
use chatwoot_bridge::flows::agent_files::Attachment;
use chatwoot_bridge::flows::agent_parts::Written;
use chatwoot_bridge::flows::parked_tasks;
use chatwoot_bridge::store::inboxes;
use domain::address::ChatAddress;
use domain::delivery::DeliveryStatus::{self, Delivered, Failed, Parked, Queued, Read, Sent, Unknown};
use domain::ids::ChatId;
use simulator::{FaultKind, Simulator};
use tenant_isolation::TenantTransaction;
use test_support::eventually;

use crate::desk::{Desk, Tells, reference};
use crate::world::{Place, World, fault, given_up, message, received, server_error, start_chatwoot, status};

struct Answered {
    world: World,
    chatwoot: Simulator,
    place: Place,
    message_id: u64,
    reference: String,
}

impl Answered {
    /// A person wrote, an agent answered, and the bridge has accepted the answer.
    async fn start() -> Self {
        let (world, chatwoot) = (World::start().await, start_chatwoot().await);
        let place = world.connect(&chatwoot, "desa-a", "default", "").await;
        world
            .take(&received(
                &place,
                message(&place, ChatId::generate(), "628123450001", "3EB01", "tanya"),
            ))
            .await;
        world.work().await;
        let reply = simulator::Reply {
            account_id: place.chatwoot_account,
            conversation_id: 1,
            content: "jawab".into(),
            ..simulator::Reply::default()
        };
        let message_id = chatwoot.agent_reply(&reply).unwrap();
        let answered = Self {
            reference: format!("chatwoot:{}:{message_id}", place.link),
            world,
            chatwoot,
            place,
            message_id,
        };
        assert_eq!(answered.accept(Some("jawab"), false).await, Acceptance::Forwarded);
        answered
    }

    async fn accept(&self, content: Option<&str>, has_attachments: bool) -> Acceptance {
        let db = &self.world.database.db;
        let mut tx = TenantTransaction::begin(db, &self.place.scope, "test")
            .await
            .unwrap();
        let inbox = inboxes::find(&mut tx, self.place.link).await.unwrap().unwrap();
        tx.commit().await.unwrap();
        let reply = Reply {
            message_id: self.message_id.try_into().unwrap(),
            conversation_id: 1,
            written: Written {
                content: content.map(str::to_owned),
                // One that is nowhere.
                attachments: vec![Attachment::default(); usize::from(has_attachments)],
                ..Written::default()
            },
            to: ChatAddress::parse("628123450001@s.whatsapp.net").ok(),
        };
        accept_reply(
            &self.world.tools,
            &self.place.scope,
            &inbox,
            &reply,
            None,
            &Signals::default(),
        )
        .await
        .unwrap()
    }

    async fn comes(&self, new: DeliveryStatus, reason: Option<&str>) {
        self.world
            .take(&status(&self.place, &self.reference, new, reason))
            .await;
        self.world.work().await;
    }

    fn shown(&self) -> Vec<String> {
        self.chatwoot
            .status_updates()
            .into_iter()
            .map(|update| update.status)
            .collect()
    }

    async fn stored(&self, status: &str) -> bool {
        self.world
            .count(&format!(
                "SELECT count(*) AS n FROM agent_messages WHERE status = '{status}'"
            ))
            .await
            == 1
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ticks_only_go_forward() {
    let answered = Answered::start().await;
    for new in [Sent, Sent, Delivered, Sent, Read, Delivered, Read, Failed] {
        answered.comes(new, None).await;
    }
    assert_eq!(answered.shown(), ["sent", "delivered", "read"]);
    assert!(answered.stored("read").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_has_its_reason_and_a_replay_heals_it() {
    let answered = Answered::start().await;
    let told = |n: usize| answered.chatwoot.status_updates()[n].external_error.clone();
    // It is tried again with the same id.
    answered.comes(Unknown, Some("provider_timeout")).await;
    assert!(answered.shown().is_empty() && answered.stored("unknown").await);
    // And not any more.
    answered
        .world
        .take(&given_up(
            &answered.place,
            &answered.reference,
            "provider_timeout",
        ))
        .await;
    answered.world.work().await;
    assert_eq!(answered.shown(), ["failed"]);
    assert_eq!(
        told(0).as_deref(),
        Some("it is not known whether this reached WhatsApp: look at the phone before sending it again")
    );
    answered.comes(Parked, Some("session_logged_out")).await;
    assert_eq!(answered.shown(), ["failed", "failed"]);
    assert_eq!(
        told(1).as_deref(),
        Some("not delivered to WhatsApp: session logged out")
    );
    assert!(answered.stored("parked").await);
    answered.comes(Queued, None).await;
    answered.comes(Sent, None).await;
    assert_eq!(answered.shown(), ["failed", "failed", "sent"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_is_refused_leaves_no_tick() {
    let answered = Answered::start().await;
    answered.comes(Failed, Some("tenant_suspended")).await;
    let updates = answered.chatwoot.status_updates();
    assert_eq!(answered.shown(), ["failed"]);
    assert_eq!(updates[0].message_id, answered.message_id);
    assert_eq!(
        updates[0].external_error.as_deref(),
        Some("not delivered to WhatsApp: tenant suspended")
    );
    assert!(answered.stored("failed").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parked_status_does_its_work_when_it_is_taken_up_again() {
    let answered = Answered::start().await;
    let (db, scope) = (&answered.world.database.db, &answered.place.scope);
    let refused = FaultKind::Status {
        status: 402,
        body: None,
        retry_after: None,
    };
    answered
        .chatwoot
        .add_fault(fault(&answered.place, "PATCH", "", refused, 1))
        .unwrap();
    answered.comes(Sent, None).await;
    assert!(answered.shown().is_empty() && answered.stored("queued").await);

    let parked = parked_tasks::parked(db, scope, 10).await.unwrap();
    assert_eq!(parked.len(), 1);
    assert_eq!(
        (parked[0].kind.as_str(), parked[0].reason.as_deref()),
        ("status", Some("chatwoot_refused_402"))
    );
    let other = crate::world::scope("desa-b");
    assert!(parked_tasks::parked(db, &other, 10).await.unwrap().is_empty());
    assert!(!parked_tasks::replay(db, &other, parked[0].id).await.unwrap());
    assert_eq!(parked_tasks::replay_all(db, &other).await.unwrap(), 0);
    assert!(parked_tasks::replay(db, scope, parked[0].id).await.unwrap());
    answered.world.work().await;
    assert_eq!(answered.shown(), ["sent"]);
    assert!(answered.stored("sent").await);
    assert_eq!(parked_tasks::replay_all(db, scope).await.unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn chatwoots_troubles_delay_a_tick_and_a_deleted_message_needs_none() {
    let answered = Answered::start().await;
    answered
        .chatwoot
        .add_fault(fault(&answered.place, "PATCH", "", server_error(), 2))
        .unwrap();
    answered.comes(Sent, None).await;
    assert_eq!(answered.shown(), ["sent"]);
    answered
        .chatwoot
        .add_fault(fault(&answered.place, "PATCH", "", FaultKind::LostAnswer, 1))
        .unwrap();
    answered.comes(Delivered, None).await;
    assert_eq!(answered.shown(), ["sent", "delivered", "delivered"]);
    for (code, new) in [(404, Read), (403, Read)] {
        let gone = FaultKind::Status {
            status: code,
            body: None,
            retry_after: None,
        };
        answered
            .chatwoot
            .add_fault(fault(&answered.place, "PATCH", "", gone, 1))
            .unwrap();
        answered.comes(new, None).await;
    }
    assert_eq!(
        answered.world.count("SELECT count(*) AS n FROM lane_tasks").await,
        0
    );
    assert!(answered.stored("read").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_sent_is_marked_where_it_was_written() {
    let answered = Answered::start().await;
    answered.world.sql("DELETE FROM agent_messages").await;
    assert_eq!(answered.accept(None, true).await, Acceptance::Refused);
    assert_eq!(answered.accept(None, true).await, Acceptance::Repeated);
    answered.world.work().await;
    let updates = answered.chatwoot.status_updates();
    assert_eq!(updates.len(), 1);
    assert_eq!(
        (updates[0].status.as_str(), updates[0].message_id),
        ("failed", answered.message_id)
    );
    assert_eq!(
        updates[0].external_error.as_deref(),
        Some("an attachment of this message cannot be sent to WhatsApp")
    );
    assert!(answered.stored("failed").await);
    // Only the first, sendable one went out.
    assert_eq!(answered.world.count("SELECT count(*) AS n FROM outbox").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn statuses_that_are_nobodys_change_nothing() {
    let answered = Answered::start().await;
    let unknown = format!("chatwoot:{}:999999", answered.place.link);
    for reference in [unknown.as_str(), "api:1", "chatwoot:x:y"] {
        answered
            .world
            .take(&status(&answered.place, reference, Sent, None))
            .await;
    }
    answered.world.work().await;
    assert!(answered.shown().is_empty());
    // Another tenant's event about our message does not reach it.
    let other = Place {
        scope: crate::world::scope("desa-b"),
        ..answered.place.clone()
    };
    answered
        .world
        .take(&status(&other, &answered.reference, Read, None))
        .await;
    answered.world.work().await;
    assert!(answered.chatwoot.status_updates().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quote_of_an_agents_message_finds_it() {
    let answered = Answered::start().await;
    answered.comes(Sent, None).await;
    let mut quoting = message(
        &answered.place,
        ChatId::generate(),
        "628123450001",
        "3EB09",
        "yang ini",
    );
    quoting.quoted = Some("3EB0STATUS".parse().unwrap());
    answered.world.take(&received(&answered.place, quoting)).await;
    answered.world.work().await;
    let made = answered
        .chatwoot
        .chatwoot_messages(answered.place.chatwoot_account)
        .pop()
        .unwrap();
    assert_eq!(made.content_attributes["in_reply_to"], answered.message_id);
    // It was made by an agent, so it is no echo.
    assert_eq!(answered.accept(Some("jawab"), false).await, Acceptance::Repeated);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_comes_before_the_red_mark_is_no_press_of_the_button() {
    let desk = Desk::start().await;
    let (id, event, order) = desk.ordered("jawab").await;
    // Chatwoot does not take the red mark until somebody sees to it.
    let refused = FaultKind::Status {
        status: 402,
        body: None,
        retry_after: None,
    };
    desk.chatwoot
        .add_fault(fault(&desk.place, "PATCH", "", refused.clone(), 1))
        .unwrap();
    desk.told(&order, Tells::that(Failed, "3EB0A")).await;
    assert!(desk.shown().is_empty());
    let mut changed = event.clone();
    changed["event"] = "message_updated".into();
    assert_eq!(desk.take(&changed).await, Acceptance::Ignored("nothing_failed"));
    desk.world.work().await;
    assert_eq!(desk.orders().await.len(), 1);

    let (db, scope) = (&desk.world.database.db, &desk.place.scope);
    assert_eq!(parked_tasks::replay_all(db, scope).await.unwrap(), 1);
    desk.world.work().await;
    assert_eq!(desk.shown(), ["failed"]);
    desk.chatwoot.press_retry(id.try_into().unwrap()).unwrap();
    assert_eq!(desk.take(&changed).await, Acceptance::Forwarded);
    desk.world.work().await;
    assert_eq!(desk.orders().await.len(), 2, "and now it is one");
    // The new attempt failed, and Chatwoot does not know that yet either.
    desk.chatwoot
        .add_fault(fault(&desk.place, "PATCH", "", refused, 1))
        .unwrap();
    let again = reference(&desk.orders().await[1]);
    desk.told(&again, Tells::that(Failed, "3EB0B")).await;
    assert_eq!(desk.take(&changed).await, Acceptance::Ignored("nothing_failed"));
    desk.world.work().await;
    assert_eq!(desk.orders().await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_button_pressed_before_the_red_mark_is_written_down_here_counts() {
    let desk = Desk::start().await;
    let (id, event, order) = desk.ordered("jawab").await;
    let slow = FaultKind::SlowAnswer { ms: 2_000 };
    desk.chatwoot
        .add_fault(fault(&desk.place, "PATCH", "", slow, 1))
        .unwrap();
    let failing = desk.told(&order, Tells::that(Failed, "3EB0A"));
    let pressing = async {
        eventually("the red mark is there", || async {
            (desk.shown() == ["failed"]).then_some(())
        })
        .await;
        desk.chatwoot.press_retry(id.try_into().unwrap()).unwrap();
        let mut changed = event.clone();
        changed["event"] = "message_updated".into();
        // Nothing here says yet that there is a red mark.
        assert_eq!(desk.take(&changed).await, Acceptance::Ignored("nothing_failed"));
    };
    tokio::join!(failing, pressing);
    desk.world.work().await;
    assert_eq!(desk.orders().await.len(), 2, "it is sent again all the same");
}
