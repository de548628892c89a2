//! Phones that are linked from the dashboard's pages: by a code to scan, by a code to type, at a GoWA; the streams that show
//! it; and a number at Meta, which has no code.

use domain::user::Role;
use reqwest::Method;
use serde_json::{Value, json};
use simulator::GowaConfigChange;
use test_support::{eventually, logs};

use crate::harness::TestApp;
use crate::signing_in::bearer_of;
use crate::ui_device::{Told, Visitor, assert_is_page, goes_to, scan, session_of, spawn, token_of};
use crate::{cloud_world, gowa_world};

/// The drawing in a piece of a page.
fn drawing(html: &str) -> &str {
    let (_, rest) = html.split_once("<svg xmlns").unwrap();
    rest.split_once("</svg>").unwrap().0
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_officer_links_a_phone_while_two_pages_look_on() {
    let app = spawn(&[]).await;
    let admin = Visitor::admin(&app, "desa-satu", 1).await;
    let base = "/dashboard/t/desa-satu/device";
    let empty = admin.page(base).await;
    assert!(empty.contains("No WhatsApp number is connected yet"), "{empty}");
    let empty = admin.in_indonesian().page(base).await;
    assert!(
        empty.contains("Belum ada nomor WhatsApp yang terhubung"),
        "{empty}"
    );
    assert!(empty.contains("Hubungkan nomor WhatsApp"));

    let at = admin.begin("desa-satu").await;
    let link = format!("{at}/link");
    let page = admin.page(&link).await;
    for words in ["Linked devices", "Link a device", "Use a code to type", "Refresh"] {
        assert!(page.contains(words), "{words}");
    }
    assert!(page.contains(&format!("hx-sse:connect=\"{link}/live\"")));
    assert!(
        admin
            .in_indonesian()
            .page(&link)
            .await
            .contains("Perangkat tertaut")
    );
    let shown = drawing(&page).to_owned();

    let live = format!("{link}/live");
    let (mut one, mut two) = (admin.stream(&live).await, admin.stream(&live).await);
    for stream in [&mut one, &mut two] {
        assert_eq!(drawing(&stream.until("<svg xmlns").await), shown);
    }
    app.simulator.renew_qr(&session_of(&app, &at).await).unwrap();
    let renewed = drawing(&one.until("<svg xmlns").await).to_owned();
    assert_ne!(renewed, shown);
    assert_eq!(drawing(&two.until("<svg xmlns").await), renewed);
    // Whoever has no scripts asks again.
    assert_eq!(drawing(&admin.page(&link).await), renewed);

    scan(&app, &at, "6281200000001").await;
    for mut stream in [one, two] {
        let part = stream.until(">Connected<").await;
        assert!(
            part.contains("+62 812-0000-0001") && !part.contains("<svg"),
            "{part}"
        );
        stream.ends().await;
    }
    let page = admin.page(&link).await;
    assert!(
        page.contains(">Connected<") && !page.contains("<svg xmlns"),
        "{page}"
    );
    // The only number there may be is shown at once.
    let page = admin.page(base).await;
    for words in [
        "Connected since",
        "+62 812-0000-0001",
        "Primary",
        "Unlink the phone",
    ] {
        assert!(page.contains(words), "{words}: {page}");
    }
    let title = page
        .split_once("<title>")
        .unwrap()
        .1
        .split_once("</title>")
        .unwrap()
        .0;
    assert!(!title.contains("812"), "{title}");
    assert!(admin.in_indonesian().page(base).await.contains("Terhubung sejak"));
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_phone_is_linked_by_a_code_to_type() {
    let app = spawn(&[]).await;
    let admin = Visitor::admin(&app, "desa-satu", 1).await;
    let at = admin.begin("desa-satu").await;
    let code = format!("{at}/code");
    assert!(
        admin
            .page(&code)
            .await
            .contains("The WhatsApp number of that phone")
    );
    let wrong = admin.post(&code, &code, &[("phone", "nol \"delapan\"")]).await;
    assert_eq!(wrong.status, 400);
    assert!(wrong.text.contains("aria-invalid=\"true\""), "{}", wrong.text);
    assert!(wrong.text.contains("nol &#34;delapan&#34;"), "{}", wrong.text);
    let made = admin.post(&code, &code, &[("phone", "0812 0000 0002")]).await;
    assert_eq!(made.status, 200, "{}", made.text);
    assert_is_page(&made);
    assert!(made.text.contains(">ABCD-EFGH<"), "{}", made.text);
    assert!(!logs::hold("ABCD-EFGH") && !logs::hold("6281200000002"));

    let mut stream = admin.stream(&format!("{at}/live")).await;
    stream.until("Waiting for the phone").await;
    scan(&app, &at, "6281200000002").await;
    stream.until("+62 812-0000-0002").await;
    // A code for what is linked already.
    let late = admin.post(&code, &code, &[("phone", "6281200000002")]).await;
    assert!(
        late.status >= 400 && late.text.contains("class=\"error\""),
        "{}",
        late.text
    );
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_are_few_and_end_with_the_session() {
    let app = spawn(&[("PAGE_STREAMS_PER_USER", "2"), ("PAGE_CHECK_SECONDS", "1")]).await;
    let admin = Visitor::admin(&app, "desa-satu", 1).await;
    let at = admin.begin("desa-satu").await;
    let live = format!("{at}/live");
    let (mut one, two) = (
        admin.stream(&live).await,
        admin.stream(&format!("{at}/link/live")).await,
    );
    one.until("Waiting for the phone").await;
    let mut full = admin.stream(&live).await;
    assert_eq!(full.response.status(), 429);
    full.until("Refresh").await;
    full.ends().await;
    // A colleague has places of their own.
    let colleague = Visitor::enter(&app, Role::TenantAdmin, Some("desa-satu")).await;
    let mut theirs = colleague.stream(&live).await;
    theirs.until("Waiting for the phone").await;
    // Whoever leaves leaves the place.
    drop(two);
    let mut again = eventually("there is a place again", || async {
        let stream = admin.stream(&live).await;
        (stream.response.status() == 200).then_some(stream)
    })
    .await;
    again.until("Waiting for the phone").await;

    let token = token_of(&admin, &at).await;
    assert!(goes_to(&admin.post_with("/logout", Some(&token), &[]).await).starts_with("/login"));
    for mut stream in [one, again] {
        while stream.next().await != Told::End {}
    }
    // The colleague's goes on.
    scan(&app, &at, "6281200000004").await;
    theirs.until(">Connected<").await;
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_of_a_gowa_is_linked_in_the_same_way() {
    let app = gowa_world::spawn().await;
    app.simulator.configure_gowa(GowaConfigChange {
        auto_login: Some(false),
        ..GowaConfigChange::default()
    });
    let admin = Visitor::admin(&app, "toko-satu", 1).await;
    assign(&app, "toko-satu", "Toko").await;
    let at = admin.begin("toko-satu").await;
    let mut stream = admin.stream(&format!("{at}/link/live")).await;
    stream.until("<svg xmlns").await;
    let session = session_of(&app, &at).await;
    app.simulator
        .scan_gowa(&session, Some("6281200000006:5@s.whatsapp.net".to_owned()))
        .unwrap();
    stream.until("+62 812-0000-0006").await;
    stream.ends().await;
    let page = admin.page(&at).await;
    // It cannot be taken off the network and keep its pairing.
    assert!(
        page.contains("Unlink the phone") && !page.contains("Disconnect for a while"),
        "{page}"
    );
    app.finish().await;
}

async fn assign(app: &TestApp, tenant: &str, endpoint: &str) {
    let root = bearer_of(app, &format!("super-{tenant}@kanal.id"), Role::Superadmin, None).await;
    let path = format!("/whatsapp/tenant-config/{tenant}");
    let body: Option<Value> = Some(json!({"endpoint_name": endpoint}));
    let answer = crate::signing_in::ask(app, Method::POST, &path, &[("authorization", &root)], body).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_number_at_meta_is_entered_by_a_superadmin_and_has_no_code() {
    let app = cloud_world::spawn().await;
    let admin = Visitor::admin(&app, "desa-satu", 2).await;
    assign(&app, "desa-satu", "Meta").await;
    let base = "/dashboard/t/desa-satu/device";
    let add = format!("{base}/add");
    let empty = admin.page(base).await;
    assert!(
        empty.contains("phone number id") && !empty.contains("Enter a phone number id"),
        "{empty}"
    );
    let page = admin.page(&add).await;
    assert!(!page.contains(cloud_world::SATU.0), "{page}");
    let token = token_of(&admin, base).await;
    let fields = [("phone_number_id", cloud_world::SATU.0)];
    assert_eq!(admin.post_with(&add, Some(&token), &fields).await.status, 403);

    let root = Visitor::enter(&app, Role::Superadmin, None).await;
    let page = root.page(&add).await;
    assert!(
        page.contains(cloud_world::SATU.0) && page.contains("API setup"),
        "{page}"
    );
    for (number, status) in [("nol", 400), ("110987650000999", 400)] {
        let wrong = root.post(&add, &add, &[("phone_number_id", number)]).await;
        assert_eq!(wrong.status, status, "{}", wrong.text);
        assert!(wrong.text.contains("e-phone_number_id"), "{}", wrong.text);
    }
    let fields = [
        ("phone_number_id", cloud_world::SATU.0),
        ("waba_id", cloud_world::SATU.1),
    ];
    let at = root.post_and_go(&add, &add, &fields).await;
    let page = admin.page(&at).await;
    assert!(
        page.contains("Cloud API") && !page.contains("Unlink the phone"),
        "{page}"
    );
    for path in ["/link", "/code"] {
        assert_eq!(goes_to(&admin.get(&format!("{at}{path}")).await), at);
    }
    let ask = format!("{at}/delete");
    assert!(admin.page(&ask).await.contains("At Meta nothing changes"));
    app.finish().await;
}
