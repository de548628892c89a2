//! A WhatsApp server that breaks: where it is seen, and how what lay meanwhile goes out.

use serde_json::json;
use simulator::{FaultKind, FaultSpec, Inbound};
use test_support::eventually_within;

use crate::browser::Preferences;
use crate::finder::Kind;
use crate::stage::{Stage, scenario};
use crate::world::{INTERNAL_API_KEY, PATIENCE, World, address};

const TENANT: &str = "desa-sukamaju";
const PHONE: &str = "6281234567890";
/// The tab of those of which nobody knows whether they went out.
const UNKNOWN: &str = "Unknown";
const ANSWER: &str = "Surat sudah jadi, Bu.";

/// Puts aside after the second failure: nobody has to wait for eight.
fn gives_up_soon(world: &mut World) {
    world.channel.set("SEND_ATTEMPTS", "2");
}

async fn answers_a_question(stage: &Stage) {
    let tenant = stage.world.add_tenant(TENANT).await;
    stage
        .world
        .simulator
        .inbound(&Inbound {
            session: tenant.session,
            from: PHONE.to_owned(),
            text: Some("Apakah suratnya sudah jadi?".to_owned()),
            push_name: Some("Bu Wulan".to_owned()),
            ..Inbound::default()
        })
        .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_broken_endpoint_left_is_found_and_sent_again() {
    scenario(
        "deliveries",
        Preferences::default(),
        gives_up_soon,
        |stage| async move {
            answers_a_question(&stage).await;
            let page = stage
                .signed_in(
                    "sari@desa-sukamaju.id",
                    &["--role", "tenant_admin", "--tenant", TENANT],
                )
                .await;
            let broken = FaultKind::Status {
                status: 503,
                body: None,
                retry_after: None,
            };
            let fault = FaultSpec::on_path("/wa/chat/send/text", broken);
            let fault = stage.world.simulator.add_fault(fault).unwrap();

            page.clicks(Kind::Link, "Chats").await;
            page.sees("Bu Wulan").await;
            page.clicks(Kind::Link, "Bu Wulan").await;
            page.fills("Your message", ANSWER).await;
            page.clicks(Kind::Button, "Send").await;
            // It says so beside the message by itself, and leads to what happened.
            page.sees("Perhaps sent").await;
            page.is_sound("chat-unknown").await;
            page.clicks(Kind::Link, "Perhaps sent").await;
            page.finds(Kind::Heading, "Journey").await;
            page.is_sound("journey").await;

            page.clicks(Kind::Link, "Deliveries").await;
            page.clicks(Kind::Link, UNKNOWN).await;
            page.finds(Kind::Button, "Replay all").await;
            page.is_sound("deliveries").await;
            stage.world.simulator.remove_fault(fault);
            page.clicks(Kind::Button, "Replay all").await;
            page.sees("Nothing has been sent yet").await;
            page.is_sound("replay-preview").await;
            assert_eq!(
                stage.world.simulator.phone(PHONE).len(),
                0,
                "a look sends nothing"
            );
            page.clicks(Kind::Button, "Replay now").await;
            page.finds(Kind::Heading, "Replay").await;
            page.until("the answer is on the phone", || async {
                let phone = stage.world.simulator.phone(PHONE);
                (phone.first()?.text.as_deref() == Some(ANSWER)).then_some(())
            })
            .await;
            page.sees("1 / 1").await;
            page.is_sound("replay").await;
            page.goto("/dashboard/t/desa-sukamaju/deliveries").await;
            page.clicks(Kind::Link, UNKNOWN).await;
            page.reloads_until_misses("Replay all").await;
            page.is_clean().await;
            stage.world.finish().await;
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_id_leads_to_the_journey() {
    scenario(
        "find",
        Preferences::default(),
        |_| {},
        |stage| async move {
            answers_a_question(&stage).await;
            let sent = stage
                .world
                .http
                .post(format!("{}/internal/send", address(&stage.world.channel)))
                .header("x-internal-api-key", INTERNAL_API_KEY)
                .json(&json!({"village_id": TENANT, "wa_user_id": PHONE, "message": ANSWER}))
                .send();
            assert_eq!(sent.await.unwrap().status(), 200);
            // As the WhatsApp server knows it.
            let id = eventually_within(PATIENCE, "the message has an id at WhatsApp", || async {
                let query = "SELECT coalesce(max(provider_message_id), '') FROM channel.messages \
                 WHERE direction = 'outbound'";
                Some(stage.world.tables.text(query).await).filter(|id| !id.is_empty())
            })
            .await;
            let page = stage.signed_in("ratna@kanal.id", &["--role", "superadmin"]).await;
            page.fills("Look up an id", &format!("{id}{}", crate::log_in::ENTER))
                .await;
            page.finds(Kind::Heading, "Journey").await;
            page.sees(&id).await;
            page.is_clean().await;
            stage.world.finish().await;
        },
    )
    .await;
}
