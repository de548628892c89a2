//! One scenario: the whole system, a browser in front of it, and what is kept for people when it fails.

use std::future::Future;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::sync::Semaphore;

use crate::audit::pictures;
use crate::browser::{Browser, Installed, Preferences};
use crate::finder::Kind;
use crate::page::Page;
use crate::world::{Setup, World, address};

/// Each has three services and a browser; more at a time only slow one another down.
static AT_A_TIME: Semaphore = Semaphore::const_new(2);
static BROWSERS: AtomicU32 = AtomicU32::new(0);

pub(crate) const PANEL_PASSWORD: &str = "panel-kata-sandi-1";
pub(crate) const PASSWORD: &str = "kata-sandi-yang-panjang-1";

/// What a scenario has.
pub(crate) struct Stage {
    pub(crate) world: World,
    /// Stands at the dashboard's door.
    pub(crate) page: Page,
}

impl Stage {
    /// The bridge's panel, with the password in hand.
    pub(crate) async fn panel(&self) -> Page {
        let root = address(&self.world.bridge);
        // The browser keeps it for this host; an address with a password in it is not what pages may ask from.
        let with_password = root.replacen("http://", &format!("http://admin:{PANEL_PASSWORD}@"), 1);
        self.page.at(with_password).goto("/admin").await;
        self.page.at(root)
    }

    /// At the dashboard's start page, as somebody who was made for it.
    pub(crate) async fn signed_in(&self, email: &str, role: &[&str]) -> &Page {
        self.add_user(email, role).await;
        self.signs_in(email).await
    }

    /// As somebody who was made on a page.
    pub(crate) async fn signs_in(&self, email: &str) -> &Page {
        let page = &self.page;
        page.goto("/login").await;
        page.fills(page.t("E-mail address", "Alamat email"), email).await;
        page.fills(page.t("Password", "Kata sandi"), PASSWORD).await;
        page.clicks(Kind::Button, page.t("Log in", "Masuk")).await;
        page.arrives_at("/dashboard").await;
        page
    }

    /// Makes somebody who may sign in to the dashboard.
    pub(crate) async fn add_user(&self, email: &str, role: &[&str]) {
        let create = [&["user", "create", "--email", email], role].concat();
        let made = self
            .world
            .channel
            .run(&create, &[("USER_PASSWORD", PASSWORD)])
            .await;
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    }
}

/// Runs it with a browser, or says why not. `prepare` changes the services' settings before they start.
pub(crate) async fn scenario<F>(
    name: &'static str,
    preferences: Preferences,
    prepare: impl FnOnce(&mut World),
    play: impl FnOnce(Stage) -> F,
) where
    F: Future<Output = ()> + Send + 'static,
{
    let Some(installed) = installed(name) else {
        return;
    };
    let _turn = AT_A_TIME.acquire().await.unwrap();
    let mut world = World::prepare(Setup {
        with_gowa: true,
        ..Setup::named(name)
    })
    .await;
    world.bridge.set("BASIC_AUTH_PASS", PANEL_PASSWORD);
    prepare(&mut world);
    for service in world.services() {
        service.start();
    }
    let number = BROWSERS.fetch_add(1, Ordering::Relaxed);
    let profile = PathBuf::from(env!("CARGO_TARGET_TMPDIR"))
        .join(format!("browser-{}-{number}-{name}", std::process::id()));
    let browser = Browser::start(&installed, &profile, preferences).await;
    world.all_ready().await;
    let mut page = Page::new(browser.client.clone(), address(&world.channel));
    if preferences.languages.starts_with("id") {
        page.reads_indonesian();
    }
    let seen = page.clone();
    let played = tokio::spawn(play(Stage { world, page })).await;
    if let Err(failed) = played {
        keep_what_was_seen(name, &seen).await;
        browser.close().await;
        std::panic::resume_unwind(failed.into_panic());
    }
    browser.close().await;
}

fn installed(name: &str) -> Option<Installed> {
    let wish = std::env::var("BROWSER_TESTS").unwrap_or_default();
    if wish == "off" {
        eprintln!("{name}: SKIPPED, as BROWSER_TESTS=off says");
        return None;
    }
    let found = Installed::find();
    if found.is_none() {
        assert!(
            wish != "required",
            "{name}: neither chromium nor chromedriver may be missing; `make test-browser` installs them"
        );
        eprintln!("{name}: SKIPPED, there is no Chromium here; `make test-browser` installs it");
    }
    found
}

/// A test that failed leaves a picture of where it stood.
async fn keep_what_was_seen(name: &str, page: &Page) {
    let directory = pictures();
    let file = directory.join(format!("failed-{name}.png"));
    if let Ok(png) = page.client.screenshot().await
        && std::fs::create_dir_all(&directory).is_ok()
        && std::fs::write(&file, png).is_ok()
    {
        eprintln!("{name}: where it failed: {}", file.display());
    }
}
