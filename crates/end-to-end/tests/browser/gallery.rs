//! Every page once, with something to show on it: looked at for barriers, in both themes and on a phone. `make screenshots`
//! runs this alone and keeps the pictures.

use crate::browser::Preferences;
use crate::stage::{Stage, scenario};

/// Name of the picture, and the address.
type Picture = (&'static str, &'static str);

const OF_SUPERADMIN: &[Picture] = &[("start", "/dashboard")];

async fn look_at(stage: &Stage, pictures: &[Picture]) {
    for (name, path) in pictures {
        stage.page.goto(path).await;
        stage.page.is_sound(name).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gallery() {
    scenario(
        "gallery",
        Preferences::default(),
        |_| {},
        |stage| async move {
            stage.signed_in("ratna@kanal.id", &["--role", "superadmin"]).await;
            look_at(&stage, OF_SUPERADMIN).await;
            stage.world.finish().await;
        },
    )
    .await;
}
