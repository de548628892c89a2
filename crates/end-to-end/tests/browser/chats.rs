//! People write, the office answers.

use simulator::Inbound;

use crate::browser::Preferences;
use crate::finder::Kind;
use crate::log_in::ENTER;
use crate::stage::{Stage, scenario};
use crate::world::{Tenant, World};

const OFFICE: &str = "sari@desa-sukamaju.id";
const TENANT: &str = "desa-sukamaju";
const PHONE: &str = "6281234567890";
const NAME: &str = "Bu Wulan";

fn writes(world: &World, tenant: &Tenant, text: &str) {
    world
        .simulator
        .inbound(&Inbound {
            session: tenant.session.clone(),
            from: PHONE.to_owned(),
            text: Some(text.to_owned()),
            push_name: Some(NAME.to_owned()),
            ..Inbound::default()
        })
        .unwrap();
}

/// What the person's phone got from the office, once it is there.
async fn phone_shows(stage: &Stage, text: &str) {
    let shown = || async {
        let phone = stage.world.simulator.phone(PHONE);
        let mut texts = phone.iter().filter_map(|message| message.text.as_deref());
        (texts.next_back() == Some(text)).then_some(())
    };
    stage.page.until("the answer is on the phone", shown).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_question_is_answered_and_taken_over() {
    scenario(
        "chats",
        Preferences::default(),
        |_| {},
        |stage| async move {
            let tenant = stage.world.add_tenant(TENANT).await;
            let page = stage
                .signed_in(OFFICE, &["--role", "tenant_admin", "--tenant", TENANT])
                .await;
            page.clicks(Kind::Link, "Chats").await;
            page.sees("No chats yet").await;

            // The list is live: whoever writes appears by themselves.
            page.is_marked().await;
            writes(
                &stage.world,
                &tenant,
                "Selamat pagi, apakah kantor buka hari Sabtu?",
            );
            page.sees(NAME).await;
            page.was_not_reloaded().await;
            page.clicks(Kind::Link, NAME).await;
            page.finds(Kind::Heading, NAME).await;
            page.sees("apakah kantor buka hari Sabtu?").await;

            page.clicks(Kind::Button, "Take over").await;
            page.finds(Kind::Button, "Hand back").await;
            page.fills(
                "Your message",
                "Selamat pagi, Bu. Sabtu buka pukul 08.00 sampai 12.00.",
            )
            .await;
            page.clicks(Kind::Button, "Send").await;
            page.sees("Sabtu buka pukul 08.00").await;
            phone_shows(&stage, "Selamat pagi, Bu. Sabtu buka pukul 08.00 sampai 12.00.").await;
            // Her phone says so, and so does the page.
            page.is_marked().await;
            page.sees("Read").await;
            writes(&stage.world, &tenant, "Baik, terima kasih");
            page.sees("Baik, terima kasih").await;
            page.was_not_reloaded().await;

            page.clicks(Kind::Button, "Hand back").await;
            page.finds(Kind::Button, "Take over").await;
            page.is_clean().await;
            stage.world.finish().await;
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chat_is_answered_with_a_keyboard_alone() {
    scenario(
        "chats-keyboard",
        Preferences::default(),
        |_| {},
        |stage| async move {
            let tenant = stage.world.add_tenant(TENANT).await;
            writes(&stage.world, &tenant, "Apakah surat pengantar sudah jadi?");
            let page = stage
                .signed_in(OFFICE, &["--role", "tenant_admin", "--tenant", TENANT])
                .await;
            page.tabs_to(Kind::Link, "Chats").await;
            page.types(ENTER).await;
            page.sees(NAME).await;
            page.tabs_to(Kind::Link, NAME).await;
            page.types(ENTER).await;
            page.finds(Kind::Heading, NAME).await;
            page.tabs_to(Kind::Field, "Your message").await;
            page.types("Sudah, Bu. Silakan diambil besok.").await;
            page.tabs_to(Kind::Button, "Send").await;
            page.types(ENTER).await;
            phone_shows(&stage, "Sudah, Bu. Silakan diambil besok.").await;
            page.is_clean().await;
            stage.world.finish().await;
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chat_is_answered_without_scripts() {
    let preferences = Preferences {
        languages: "id-ID,id",
        scripts: false,
    };
    scenario(
        "chats-no-script",
        preferences,
        |_| {},
        |stage| async move {
            let tenant = stage.world.add_tenant(TENANT).await;
            writes(&stage.world, &tenant, "Apakah surat pengantar sudah jadi?");
            let page = stage
                .signed_in(OFFICE, &["--role", "tenant_admin", "--tenant", TENANT])
                .await;
            page.clicks(Kind::Link, "Percakapan").await;
            page.reloads_until_sees(NAME).await;
            page.clicks(Kind::Link, NAME).await;
            page.clicks(Kind::Button, "Ambil alih").await;
            page.finds(Kind::Button, "Kembalikan").await;
            page.fills("Pesan Anda", "Sudah, Bu. Silakan diambil besok.")
                .await;
            page.clicks(Kind::Button, "Kirim").await;
            page.sees("Silakan diambil besok.").await;
            phone_shows(&stage, "Sudah, Bu. Silakan diambil besok.").await;
            page.is_clean().await;
            stage.world.finish().await;
        },
    )
    .await;
}
