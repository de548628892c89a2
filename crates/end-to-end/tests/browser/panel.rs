//! The bridge's panel.

use crate::browser::Preferences;
use crate::finder::Kind;
use crate::stage::scenario;

/// Nobody listens there.
const NOBODY: &str = "http://127.0.0.1:9/masuk";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_route_is_made_on_the_panel() {
    scenario(
        "browser-panel",
        Preferences::default(),
        |_| {},
        |stage| async move {
            let panel = stage.panel().await;
            panel.sees("There is no route yet").await;
            panel.fills("Inbox id", "7").await;
            panel.fills("URL", NOBODY).await;
            panel.fills("Name", "Loket depan").await;
            panel.clicks(Kind::Button, "Make the route").await;
            panel.sees("Loket depan").await;
            panel.clicks_at("Loket depan", Kind::Link, "Open").await;
            panel.sees("Goes to").await;
            panel.is_clean().await;
            stage.world.finish().await;
        },
    )
    .await;
}
