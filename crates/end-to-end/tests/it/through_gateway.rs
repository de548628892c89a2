//! channel-service makes a village's session at wa-support-gateway and everything of it goes through there: calls through
//! the proxy, events through the relay.

use reqwest::Method;
use serde_json::{Value, json};
use simulator::Inbound;
use test_support::eventually_within;

use crate::world::{INTERNAL_API_KEY, PATIENCE, Setup, World, address};

const VILLAGE: &str = "desa-lewat";
const PHONE: &str = "6281234500011";

/// Calls one of channel-service's internal routes.
async fn call(world: &World, method: Method, path: &str, body: Value) -> (u16, Value) {
    let answer = world
        .http
        .request(method, format!("{}{path}", address(&world.channel)))
        .header("x-internal-api-key", INTERNAL_API_KEY)
        .json(&body)
        .send()
        .await
        .unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_village_gets_its_session_through_the_gateway_and_lets_go_of_it() {
    let world = World::start(Setup::named("through_gateway")).await;
    let of_village = |path: &str| format!("/internal/whatsapp/{path}?village_id={VILLAGE}");

    let (status, made) = call(&world, Method::POST, &of_village("session"), json!({})).await;
    assert!((200..300).contains(&status), "{status} {made}");
    let users = world.simulator.wa_users();
    let [user] = &users[..] else {
        panic!("one user at the WhatsApp server: {users:?}");
    };
    let session = user.name.clone();
    let hook = user.webhook.clone();
    assert!(
        hook.contains("/hooks/") && hook.starts_with(&address(&world.gateway)),
        "events go through the gateway: {hook}"
    );
    // Asked for again, it is the same one.
    call(&world, Method::POST, &of_village("session"), json!({})).await;
    assert_eq!(world.simulator.wa_users().len(), 1);

    let (status, connected) = call(&world, Method::POST, &of_village("connect"), json!({})).await;
    assert_eq!(status, 200, "{connected}");
    eventually_within(PATIENCE, "the session is paired", || async {
        let users = world.simulator.wa_users();
        users.iter().any(|user| user.logged_in).then_some(())
    })
    .await;
    eventually_within(PATIENCE, "channel-service knows it", || async {
        let (_, told) = call(&world, Method::GET, &of_village("status"), json!({})).await;
        let told = told.to_string().replace('_', "").to_lowercase();
        told.contains("\"loggedin\":true").then_some(())
    })
    .await;

    // In: through the relay, signed with the village's own key.
    world
        .simulator
        .inbound(&Inbound {
            session: session.clone(),
            from: PHONE.to_owned(),
            text: Some("Selamat pagi lewat gerbang".to_owned()),
            ..Inbound::default()
        })
        .unwrap();
    eventually_within(PATIENCE, "the message is kept", || async {
        let kept = "channel.messages WHERE body = 'Selamat pagi lewat gerbang' AND direction = 'inbound'";
        (world.tables.count(kept).await == 1).then_some(())
    })
    .await;

    // Out: through the proxy.
    let send = json!({"village_id": VILLAGE, "wa_user_id": PHONE, "message": "Pagi juga"});
    let (status, sent) = call(&world, Method::POST, "/internal/send", send).await;
    assert_eq!(status, 200, "{sent}");
    assert_eq!(world.simulator.phone(PHONE).len(), 1);
    eventually_within(PATIENCE, "the gateway has counted it", || async {
        let counted = world
            .tables
            .number("SELECT sum(sent_total)::bigint FROM wa_support.sessions");
        (counted.await == 1).then_some(())
    })
    .await;
    world.quiet().await;

    let (status, gone) = call(&world, Method::DELETE, &of_village("session"), json!({})).await;
    assert_eq!(status, 200, "{gone}");
    assert!(world.simulator.wa_users().is_empty());
    assert_eq!(world.tables.count("wa_support.sessions").await, 0);
    assert_eq!(
        world
            .tables
            .count("wa_support.tenant_directory WHERE kind <> 'api_key'")
            .await,
        0
    );
    world.finish().await;
}
