//! Every page once that needs no story to get to, with something to show on it: looked at for barriers, in both themes and on
//! a phone. `make screenshots` keeps pictures of them, and of those that the other scenarios come by.

use crate::browser::Preferences;
use crate::finder::Kind;
use crate::page::Page;
use crate::stage::scenario;
use crate::village::{self, TENANT, WRITER};

/// Name of the picture, and the address.
type Picture = (&'static str, &'static str);

const OF_SUPERADMIN: &[Picture] = &[
    ("superadmin-start", "/dashboard"),
    ("tenants", "/dashboard/tenants"),
    ("tenant", "/dashboard/tenants/desa-sukamaju"),
    ("tenant-new", "/dashboard/tenants/new"),
    ("tenant-erase", "/dashboard/tenants/desa-sukamaju/erase"),
    ("tenant-setup", "/dashboard/tenants/desa-sukamaju/setup"),
    ("endpoints", "/dashboard/endpoints"),
    ("endpoint", "/dashboard/endpoints/Primary"),
    ("users", "/dashboard/users"),
    ("user-new", "/dashboard/users/new"),
    ("audit", "/dashboard/audit"),
    ("pictures", "/dashboard/pictures"),
    ("system", "/dashboard/system"),
    ("all-deliveries", "/dashboard/deliveries"),
];
const OF_TENANT: &[Picture] = &[
    ("office-start", "/dashboard"),
    ("chats", "/dashboard/t/desa-sukamaju/chats"),
    ("device", "/dashboard/t/desa-sukamaju/device"),
    ("settings", "/dashboard/t/desa-sukamaju/settings"),
    ("programs", "/dashboard/t/desa-sukamaju/settings/programs"),
    ("office-pictures", "/dashboard/t/desa-sukamaju/pictures"),
    ("office-deliveries", "/dashboard/t/desa-sukamaju/deliveries"),
    ("account", "/dashboard/account"),
];

async fn look_at(page: &Page, pictures: &[Picture]) {
    for (name, path) in pictures {
        page.goto(path).await;
        page.is_sound(name).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gallery() {
    scenario(
        "gallery",
        Preferences::default(),
        |_| {},
        |stage| async move {
            village::settle(&stage.world).await;
            let office = "sari@desa-sukamaju.id";
            stage
                .add_user(office, &["--role", "tenant_admin", "--tenant", TENANT])
                .await;
            let page = stage.signed_in("ratna@kanal.id", &["--role", "superadmin"]).await;
            look_at(page, OF_SUPERADMIN).await;
            page.leaves("ratna@kanal.id").await;

            stage.signs_in(office).await;
            look_at(page, OF_TENANT).await;
            page.goto("/dashboard/t/desa-sukamaju/chats").await;
            page.clicks(Kind::Link, WRITER).await;
            page.sees("surat keterangan domisili").await;
            page.is_sound("chat").await;
            stage.world.finish().await;
        },
    )
    .await;
}
