//! The door of the dashboard, and what everybody may choose for themselves.

use serde_json::json;

use crate::browser::Preferences;
use crate::finder::Kind;
use crate::page::Page;
use crate::stage::{PASSWORD, scenario};

const EMAIL: &str = "sari@desa-sukamaju.id";

async fn shown_theme(page: &Page) -> String {
    let script =
        "return document.documentElement.dataset.theme + ' ' + getComputedStyle(document.body).colorScheme";
    let shown = page.client.execute(script, vec![]).await.unwrap();
    shown.as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_person_logs_in_and_chooses_language_and_colours() {
    scenario(
        "log-in",
        Preferences::default(),
        |_| {},
        |stage| async move {
            stage.add_user(EMAIL, &["--role", "superadmin"]).await;
            let page = &stage.page;
            // A page that is asked for by whoever is not signed in leads to the door, and on from there.
            page.goto("/dashboard").await;
            page.arrives_at("/login").await;
            page.finds(Kind::Heading, "Log in").await;
            page.is_sound("log-in").await;

            page.fills("E-mail address", EMAIL).await;
            page.fills("Password", "bukan-kata-sandinya").await;
            page.clicks(Kind::Button, "Log in").await;
            page.sees("or the password is wrong").await;
            page.is_clean_but_refused().await;

            // What was typed wrongly is still there to be corrected, but for the password.
            let typed = page.finds(Kind::Field, "E-mail address").await;
            assert_eq!(typed.prop("value").await.unwrap().as_deref(), Some(EMAIL));
            page.fills("Password", PASSWORD).await;
            page.clicks(Kind::Button, "Log in").await;
            page.arrives_at("/dashboard").await;
            page.sees("Welcome").await;

            page.clicks(Kind::Button, EMAIL).await;
            page.clicks(Kind::Button, "Bahasa Indonesia").await;
            page.sees("Selamat datang").await;
            let language = "return document.documentElement.lang";
            assert_eq!(page.client.execute(language, vec![]).await.unwrap(), json!("id"));
            page.clicks(Kind::Button, EMAIL).await;
            page.clicks(Kind::Button, "Gelap").await;
            page.until("the page is dark", || async {
                (shown_theme(page).await == "dark dark").then_some(())
            })
            .await;
            page.is_clean().await;

            page.clicks(Kind::Button, EMAIL).await;
            page.clicks(Kind::Button, "Keluar").await;
            page.arrives_at("/login").await;
            page.goto("/dashboard").await;
            page.arrives_at("/login").await;
            page.finds(Kind::Heading, "Masuk").await;
            page.is_clean().await;
            stage.world.finish().await;
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_scripts_in_the_language_of_the_browser() {
    let preferences = Preferences {
        languages: "id-ID,id",
        scripts: false,
    };
    scenario(
        "log-in-no-script",
        preferences,
        |_| {},
        |stage| async move {
            stage.add_user(EMAIL, &["--role", "superadmin"]).await;
            let page = &stage.page;
            page.goto("/").await;
            page.arrives_at("/login").await;
            let scripted = "return document.documentElement.classList.contains('scripted')";
            assert_eq!(page.client.execute(scripted, vec![]).await.unwrap(), json!(false));
            page.fills("Alamat email", EMAIL).await;
            page.fills("Kata sandi", PASSWORD).await;
            page.clicks(Kind::Button, "Masuk").await;
            page.sees("Selamat datang").await;
            page.clicks(Kind::Button, EMAIL).await;
            page.clicks(Kind::Button, "English").await;
            page.sees("Welcome").await;
            page.is_clean().await;
            stage.world.finish().await;
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_nothing_but_a_keyboard() {
    scenario(
        "log-in-keyboard",
        Preferences::default(),
        |_| {},
        |stage| async move {
            stage.add_user(EMAIL, &["--role", "superadmin"]).await;
            let page = &stage.page;
            page.goto("/login").await;
            page.tabs_to(Kind::Field, "E-mail address").await;
            page.types(EMAIL).await;
            page.tabs_to(Kind::Field, "Password").await;
            page.types(PASSWORD).await;
            page.types(ENTER).await;
            page.arrives_at("/dashboard").await;
            // The first stop of every page leads past all that is the same on every page.
            page.finds(Kind::Heading, "Welcome").await;
            page.tabs_to(Kind::Link, "Skip to the content").await;
            page.types(ENTER).await;
            let focus = "return document.activeElement.id";
            assert_eq!(page.client.execute(focus, vec![]).await.unwrap(), json!("main"));
            page.is_clean().await;
            stage.world.finish().await;
        },
    )
    .await;
}

pub(crate) const ENTER: &str = "\u{e007}";
