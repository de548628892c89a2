//! The bridge's panel.

use serde_json::json;
use simulator::{NewAccount, NewInbox};

use crate::browser::Preferences;
use crate::finder::Kind;
use crate::sink::Sink;
use crate::stage::{Stage, scenario};
use crate::world::{INTERNAL_API_KEY, World, address};

/// An event that the target does not take is put aside at once: nobody has to wait for twelve tries.
fn gives_up_soon(world: &mut World) {
    world.bridge.set("FORWARD_ATTEMPTS", "1");
}

/// What Chatwoot posts when an agent has written.
async fn chatwoot_tells(stage: &Stage, message: u64) {
    let event = json!({
        "event": "message_created",
        "id": message,
        "content": "Surat sudah bisa diambil",
        "message_type": "outgoing",
        "private": false,
        "account": {"id": 3, "name": "Desa Sukamaju"},
        "inbox": {"id": 7, "name": "Loket depan"},
        "conversation": {"id": 41, "inbox_id": 7},
    });
    let posted = stage
        .world
        .http
        .post(format!("{}/webhook", address(&stage.world.bridge)))
        .json(&event)
        .send();
    assert_eq!(posted.await.unwrap().status(), 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_route_is_made_breaks_and_is_mended() {
    scenario(
        "panel",
        Preferences::default(),
        gives_up_soon,
        |stage| async move {
            let sink = Sink::start().await;
            let panel = stage.panel().await;
            panel.sees("No inbox is connected yet").await;
            panel.is_sound("panel-empty").await;

            panel.clicks(Kind::Link, "Make a route to a URL").await;
            panel.fills("Inbox id", "7").await;
            panel.fills("URL", &sink.url()).await;
            panel.fills("Name, for people", "Loket depan").await;
            panel.clicks(Kind::Button, "Make the route").await;
            panel.sees("Loket depan").await;
            let route = panel.path().await;
            panel.clicks(Kind::Button, "Test it").await;
            panel.finds(Kind::Heading, "It works").await;
            let tried = sink.taken();
            assert!(tried > 0, "the test reached the target");

            chatwoot_tells(&stage, 101).await;
            panel
                .until("the event arrives", || async {
                    (sink.taken() > tried).then_some(())
                })
                .await;

            sink.is_broken(true);
            chatwoot_tells(&stage, 102).await;
            panel.goto("/admin").await;
            panel.reloads_until_sees("Events put aside").await;
            panel.clicks(Kind::Link, "Look at them").await;
            panel.sees("message 102").await;
            panel.is_sound("panel-deliveries").await;
            panel.clicks(Kind::Link, "message_created").await;
            panel.finds(Kind::Heading, "Its journey").await;
            panel.is_sound("panel-journey").await;

            // First it is shown what would be sent again; then it is.
            sink.is_broken(false);
            let before = sink.taken();
            panel.goto(&route).await;
            panel.clicks(Kind::Button, "Send all of them again").await;
            panel.sees("Nothing was sent yet").await;
            panel.is_sound("panel-preview").await;
            assert_eq!(sink.taken(), before, "a look sends nothing");
            panel.clicks(Kind::Button, "Send them again").await;
            panel.finds(Kind::Heading, "Replay").await;
            panel
                .until("the event arrives late", || async {
                    (sink.taken() > before).then_some(())
                })
                .await;
            panel.goto("/admin/panel/deliveries").await;
            panel.reloads_until_sees("Nothing is put aside").await;
            panel.is_clean().await;

            panel.goto(&route).await;
            panel.is_sound("panel-route").await;
            panel.clicks(Kind::Link, "Change").await;
            panel.is_sound("panel-route-form").await;
            panel.goto("/admin/panel/routes").await;
            panel.is_sound("panel-routes").await;
            stage.world.finish().await;
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_inbox_is_connected_step_by_step() {
    let knows_itself = |world: &mut World| {
        let (own, channel) = (address(&world.bridge), address(&world.channel));
        world.bridge.set("PUBLIC_BRIDGE_URL", own);
        world.bridge.set("CHANNEL_SERVICE_URL", channel);
        world.bridge.set("CHANNEL_SERVICE_KEY", INTERNAL_API_KEY);
    };
    scenario(
        "panel-connect",
        Preferences::default(),
        knows_itself,
        |stage| async move {
            let (account, ..) = stage.world.add_account("desa-sukamaju").await;
            let chatwoot = stage.world.simulator.create_chatwoot_account(NewAccount {
                name: Some("Desa Sukamaju".to_owned()),
            });
            stage
                .world
                .simulator
                .create_chatwoot_inbox(NewInbox {
                    account_id: chatwoot.id,
                    name: "Loket depan".to_owned(),
                    webhook_url: String::new(),
                    secret: None,
                    lock_to_single_conversation: false,
                    channel_type: None,
                })
                .unwrap();
            let panel = stage.panel().await;
            panel.goto("/admin/panel/connect").await;
            panel.is_sound("panel-connect").await;
            let url = format!("{}/chatwoot", stage.world.simulator.base_url());
            panel.fills("Address of Chatwoot", &url).await;
            panel
                .fills("Access token of an administrator", &chatwoot.api_access_token)
                .await;
            panel.fills("Tenant", "desa-sukamaju").await;
            panel.clicks(Kind::Button, "Check").await;
            panel.sees("Chatwoot takes the token").await;
            if panel.has(Kind::Button, "Next").await {
                panel.marks("Desa Sukamaju").await;
                panel.clicks(Kind::Button, "Next").await;
            }
            panel.marks("Loket depan").await;
            if panel.has(Kind::Field, "by its id").await {
                panel.fills("by its id", &account).await;
            }
            panel.is_sound("panel-connect-inbox").await;
            panel.clicks(Kind::Button, "Connect and test").await;
            panel.finds(Kind::Heading, "Connected, and it works").await;
            panel.is_sound("panel-connected").await;
            stage.world.finish().await;
        },
    )
    .await;
}
