//! What stays for people: listed, replayed into its old place, shown to the agent, and deleted when it grows too old.

use chatwoot_bridge::flows::forward::parked::{self, ParkedEvent};
use chatwoot_bridge::store::routes;
use chatwoot_bridge::workers::forward_retention::{Leaving, step};
use serde_json::json;
use simulator::{NewInbox, Reply};
use tenant_isolation::TenantTransaction;
use test_support::eventually;

use crate::target::{
    Forwarding, Receiver, change, know_token, message, only_received, post, put_of, route_of, settled, tries,
};
use crate::world::{scope, start_chatwoot};

async fn listed(side: &Forwarding) -> Vec<ParkedEvent> {
    let (events, _) = parked::parked(&side.world.tools.db, &scope("desa-a"), None, 100)
        .await
        .unwrap();
    events
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parked_event_lets_the_next_ones_pass_and_goes_back_to_its_old_place() {
    let side = Forwarding::start(|settings| settings.forward.retry = tries(2)).await;
    side.target.answer(503);
    side.post(&message(42, 1, 1)).await;
    side.until_settled().await;
    let event = listed(&side).await.remove(0);
    assert_eq!((event.failures, event.reason.as_deref()), (2, Some("http_503")));
    assert_eq!(
        (event.route, event.route_id),
        (Some(side.route.number), side.route.id)
    );
    let (db, desa) = (&side.world.tools.db, scope("desa-a"));
    let shown = parked::show(db, &desa, event.event_id).await.unwrap().unwrap();
    assert_eq!(shown.event, "message_created");
    // It is nobody else's.
    let other = scope("desa-b");
    assert!(parked::show(db, &other, event.event_id).await.unwrap().is_none());
    assert!(!parked::replay(db, &other, event.event_id).await.unwrap());
    assert_eq!(parked::replay_all(db, &other, None).await.unwrap(), 0);
    assert_eq!(parked::parked_anywhere(db, 10).await.unwrap().len(), 1);

    // What came later waits, when the first one is taken up again.
    let sets = "UPDATE routes SET enabled = false";
    side.world.sql(sets).await;
    side.target.answer(200);
    side.world
        .sql(&format!(
            "INSERT INTO forward_events (tenant_id, id, route_id, conversation, event, class, message, ordered_by, \
                 headers, body, size) \
             SELECT tenant_id, gen_random_uuid(), route_id, conversation, event, class, 2, 2, headers, \
                 convert_to('{{\"id\":2}}', 'UTF8'), size FROM forward_events WHERE id = '{}'",
            event.event_id
        ))
        .await;
    side.world
        .sql("UPDATE forward_lanes SET accepted = accepted + 1, held = held + 1, held_bytes = held_bytes * 2")
        .await;
    assert_eq!(
        parked::replay_all(db, &desa, Some(side.route.id)).await.unwrap(),
        1
    );
    side.world
        .sql("UPDATE routes SET enabled = true, updated_at = now()")
        .await;
    side.world
        .sql("UPDATE forward_lanes SET ready_at = now() WHERE in_hand IS NULL")
        .await;
    eventually("both are taken", || async {
        side.world
            .sql("UPDATE forward_lanes SET ready_at = now() WHERE in_hand IS NULL AND ready_at IS NOT NULL")
            .await;
        (side.target.taken().len() == 2).then_some(())
    })
    .await;
    assert_eq!(side.target.taken(), [1, 2]);
    side.until_settled().await;
    assert!(listed(&side).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_sees_what_was_not_passed_on_and_that_it_was_after_all() {
    let (side, chatwoot) = (
        Forwarding::start(|settings| settings.forward.retry = tries(1)).await,
        start_chatwoot().await,
    );
    let account = chatwoot.create_chatwoot_account(simulator::NewAccount::default());
    let inbox = chatwoot
        .create_chatwoot_inbox(NewInbox {
            account_id: account.id,
            name: "GoWA".into(),
            webhook_url: format!("{}/webhook", side.running.base),
            secret: None,
            lock_to_single_conversation: false,
            channel_type: None,
        })
        .unwrap();
    let base = format!("{}/chatwoot", chatwoot.base_url());
    know_token(&side.world.tools, &base, account.id, &account.api_access_token).await;
    let place = i64::try_from(inbox.id).unwrap();
    let new = crate::target::route(place, &side.target.url(), &side.world.tools);
    crate::target::put(&side.world.tools, &new).await;
    let conversation = conversation(&base, &account, inbox.id).await;
    let reply = |content: &str| Reply {
        account_id: account.id,
        conversation_id: conversation,
        content: content.into(),
        ..Reply::default()
    };
    side.target.answer(404);
    let first = chatwoot.agent_reply(&reply("satu")).unwrap();
    let status = |id: u64| {
        let messages = chatwoot.chatwoot_messages(account.id);
        let one = messages.into_iter().find(|message| message.id == id)?;
        Some((
            one.status,
            one.content_attributes
                .get("external_error")
                .and_then(|it| it.as_str())
                .map(str::to_owned),
        ))
    };
    eventually("the agent sees a red mark", || async {
        let shown = status(first)?;
        (shown.0 == "failed" && shown.1.as_deref() == Some("not passed on to WhatsApp: http 404"))
            .then_some(())
    })
    .await;
    let second = chatwoot.agent_reply(&reply("dua")).unwrap();
    eventually("the second one, too", || async {
        (status(second)?.0 == "failed").then_some(())
    })
    .await;
    let lanes = "SELECT count(*) AS n FROM lane_tasks WHERE NOT parked";
    eventually("all is told", || async {
        (side.world.count(lanes).await == 0).then_some(())
    })
    .await;
    // One note, not one for each.
    let notes = || {
        let messages = chatwoot.chatwoot_messages(account.id);
        messages.iter().filter(|message| message.private).count()
    };
    assert_eq!(notes(), 1);

    side.target.answer(200);
    settled(&side.world).await;
    let replayed = parked::replay_all(&side.world.tools.db, &scope("desa-a"), None)
        .await
        .unwrap();
    assert!(replayed >= 2, "{replayed}");
    for id in [first, second] {
        eventually("the mark goes away", || async {
            (status(id)?.0 == "sent").then_some(())
        })
        .await;
    }
}

async fn conversation(base: &str, account: &simulator::AccountCreated, inbox: u64) -> u64 {
    let client = reqwest::Client::new();
    let call = async |path: &str, body: serde_json::Value| {
        let url = format!("{base}/api/v1/accounts/{}{path}", account.id);
        let answer = client
            .post(url)
            .header("api_access_token", &account.api_access_token)
            .json(&body)
            .send()
            .await
            .unwrap();
        assert!(answer.status().is_success(), "{}", answer.status());
        answer.json::<serde_json::Value>().await.unwrap()
    };
    let source = "628123450001@s.whatsapp.net";
    let contact = call(
        "/contacts",
        json!({"inbox_id": inbox, "name": "Sari", "identifier": source, "source_id": source}),
    )
    .await;
    let contact = contact["payload"]["contact"]["id"].as_u64().unwrap();
    let made = call(
        "/conversations",
        json!({"inbox_id": inbox, "contact_id": contact, "source_id": source}),
    )
    .await;
    made["id"].as_u64().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn events_of_a_route_that_is_gone_go_nowhere_and_are_counted() {
    let side = Forwarding::start(|settings| settings.forward.retry = tries(100_000)).await;
    side.target.answer(503);
    side.post(&change(42, 1, 1)).await;
    side.target.until(1).await;
    let mut tx = TenantTransaction::begin(&side.world.tools.db, &scope("desa-a"), "test")
        .await
        .unwrap();
    routes::remove(&mut tx, side.route.id).await.unwrap();
    tx.commit().await.unwrap();
    side.until_settled().await;
    let dropped = "SELECT sum(dropped)::bigint AS n FROM forward_lanes";
    assert_eq!(side.world.count(dropped).await, 1);
    eventually("the process knows that the route is gone", || async {
        let answer = post(&side.running, change(42, 1, 2).to_string()).await;
        (answer == only_received()).then_some(())
    })
    .await;
    settled(&side.world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_grows_too_old_is_deleted_and_counted() {
    let side = Forwarding::start(|settings| settings.forward.retry = tries(1)).await;
    side.target.answer(404);
    for id in 1..=2 {
        side.post(&message(42, id, id)).await;
    }
    side.until_settled().await;
    side.target.answer(200);
    side.post(&message(42, 3, 3)).await;
    side.until_settled().await;
    let settings = crate::target::quick(&side.world).forward;
    let leave = async || {
        let mut left = Vec::new();
        for what in [Leaving::Events, Leaving::Seen, Leaving::Lanes] {
            left.push(step(&side.world.tools.db, settings, what).await.unwrap());
        }
        left
    };
    assert_eq!(leave().await, [0, 0, 0]);
    let old = "now() - interval '8 days'";
    side.world
        .sql(&format!(
            "UPDATE forward_events SET received_at = {old} WHERE message = 1"
        ))
        .await;
    side.world
        .sql(&format!(
            "UPDATE forward_seen SET received_at = {old} WHERE key = (SELECT key FROM forward_seen ORDER BY key LIMIT 1)"
        ))
        .await;
    // Of two old lanes one holds something.
    side.world
        .sql(&format!(
            "UPDATE forward_lanes SET used_at = {old} WHERE conversation <> 1"
        ))
        .await;
    assert_eq!(leave().await, [1, 1, 1]);
    assert_eq!(leave().await, [0, 0, 0]);
    settled(&side.world).await;
    // What is forgotten still counts.
    let (held, counts) = parked::parked(&side.world.tools.db, &scope("desa-a"), None, 10)
        .await
        .unwrap();
    assert_eq!(held.len(), 1);
    assert_eq!(counts.len(), 1);
    let of = &counts[0];
    assert_eq!((of.accepted, of.delivered, of.expired, of.held), (3, 1, 1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn equal_ids_of_two_installations_never_meet() {
    let side = Forwarding::start(|_| {}).await;
    let other = Receiver::start();
    let mut new = route_of("desa-b", 42, &other.url(), &side.world.tools);
    new.installation = "cabang".into();
    let theirs = put_of("desa-b", &side.world.tools, &new).await;
    side.post(&message(42, 317, 9001)).await;
    let body = message(42, 317, 9001).to_string();
    let answer = crate::target::post_with(&side.running.base, "/webhook/cabang", body, &[]).await;
    assert_eq!(answer, crate::target::forwarded());
    side.until_settled().await;
    assert_eq!((side.target.taken(), other.taken()), (vec![9001], vec![9001]));
    let (_, counts) = parked::parked(&side.world.tools.db, &scope("desa-b"), None, 10)
        .await
        .unwrap();
    assert_eq!(counts.len(), 1);
    assert_eq!(counts[0].route_id, theirs.id);
}
