//! The pages of a tenant's settings, as a browser without scripts uses them.

use domain::user::Role;
use serde_json::json;
use test_support::{eventually, logs};

use crate::ai_handover::{until_handled, write};
use crate::gate_world;
use crate::harness::TestApp;
use crate::ui_device::Visitor;

const AT: &str = "/dashboard/t/desa-satu/settings";
const RARA: &str = "6281290000011";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_setting_is_explained_and_saved() {
    let app = TestApp::spawn().await;
    let admin = Visitor::admin(&app, "desa-satu", 1).await;
    let page = admin.page(AT).await;
    for words in [
        "blue ticks",
        "typing…",
        "Chat on the web page",
        "Spam guard",
        "Nobody is blocked",
    ] {
        assert!(page.contains(words), "{words}: {page}");
    }
    let page = admin.in_indonesian().page(AT).await;
    for words in [
        "centang biru",
        "mengetik…",
        "Obrolan di situs web",
        "Penjaga spam",
        "tidak ada yang diblokir",
    ] {
        assert!(page.contains(words), "{words}: {page}");
    }
    // What is not ticked is not sent.
    let to = admin
        .post_and_go(AT, &format!("{AT}/reading"), &[("typing", "on")])
        .await;
    assert!(admin.page(&to).await.contains("Saved."));
    let row = app.rows("SELECT auto_read, typing_indicator FROM tenants").await;
    assert_eq!(row, [json!({"auto_read": false, "typing_indicator": true})]);

    let channels = format!("{AT}/channels");
    let wrong = admin
        .post(AT, &channels, &[("webchat", "on"), ("number", "<b>nol</b>")])
        .await;
    assert_eq!(wrong.status, 400);
    assert!(
        wrong.text.contains("&#60;b&#62;nol") && !wrong.text.contains("<b>nol"),
        "{}",
        wrong.text
    );
    assert!(wrong.text.contains("id=\"e-number\""), "{}", wrong.text);
    assert_eq!(app.count("channel_accounts").await, 0);
    let fields = [("webchat", "on"), ("number", "+62 812-0000-0001")];
    admin.post_and_go(AT, &channels, &fields).await;
    let row = app
        .rows("SELECT wa_number, enabled_wa, enabled_webchat FROM channel_accounts")
        .await;
    assert_eq!(
        row,
        [json!({"wa_number": "6281200000001", "enabled_wa": false, "enabled_webchat": true})]
    );
    let page = admin.page(AT).await;
    assert!(page.contains("name=\"webchat\" value=\"on\" checked"), "{page}");
    assert!(!page.contains("name=\"whatsapp\" value=\"on\" checked"), "{page}");

    // What is kept is for superadmins to say.
    let kept = format!("{AT}/kept");
    assert!(!page.contains(&kept) && page.contains("not kept"), "{page}");
    assert_eq!(admin.post(AT, &kept, &[("groups", "on")]).await.status, 403);
    let root = Visitor::enter(&app, Role::Superadmin, None).await;
    root.post_and_go(AT, &kept, &[("groups", "on")]).await;
    let row = app.rows("SELECT keep_groups, keep_status FROM tenants").await;
    assert_eq!(row, [json!({"keep_groups": true, "keep_status": false})]);
    assert!(root.page(AT).await.contains("/dashboard/tenants/desa-satu/setup"));

    let acts = app
        .values("SELECT action AS value FROM audit_log WHERE actor LIKE 'user %' ORDER BY id")
        .await;
    assert_eq!(
        acts,
        [
            "session_settings.set",
            "channel_account.set",
            "tenant.keep_places"
        ]
    );
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_change_nothing() {
    let app = TestApp::spawn().await;
    let owner = Visitor::admin(&app, "desa-satu", 1).await;
    let other = Visitor::admin(&app, "desa-dua", 1).await;
    let page = other.page("/dashboard/t/desa-dua/settings").await;
    let token = page.split_once("name=\"csrf\" value=\"").unwrap().1;
    let token = token.split_once('"').unwrap().0;
    for path in ["", "/programs"] {
        assert_eq!(other.get(&format!("{AT}{path}")).await.status, 404);
    }
    for form in [
        "/reading",
        "/channels",
        "/kept",
        "/bans",
        "/programs/tokens",
        "/programs/tokens/revoke",
        "/programs/subscriptions",
        "/programs/subscriptions/end",
    ] {
        let path = format!("{AT}{form}");
        assert_eq!(
            other.post_with(&path, Some(token), &[]).await.status,
            404,
            "{form}"
        );
        assert_eq!(owner.post_with(&path, None, &[]).await.status, 403, "{form}");
    }
    let acts = app
        .values("SELECT action AS value FROM audit_log WHERE actor LIKE 'user %'")
        .await;
    assert!(acts.is_empty(), "{acts:?}");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_blocked_is_seen_and_let_through() {
    let app = TestApp::spawn().await;
    let desa = app.tenant("desa-satu").await;
    let admin = Visitor::enter(&app, Role::TenantAdmin, Some("desa-satu")).await;
    for number in 0..6 {
        write(&app, &desa, RARA, &format!("3EB0I{number}"), "<i>tolong</i>").await;
    }
    until_handled(&app, "3EB0I5").await;
    let page = eventually("the block is seen", || async {
        let page = admin.page(AT).await;
        page.contains("id=\"bans\"").then_some(page)
    })
    .await;
    assert!(
        page.contains(RARA) && page.contains("the same text 6 times"),
        "{page}"
    );
    assert!(
        page.contains("&#60;i&#62;tolong") && !page.contains("<i>tolong"),
        "{page}"
    );
    let bans = format!("{AT}/bans");
    let to = admin.post_and_go(AT, &bans, &[("person", RARA)]).await;
    let page = admin.page(&to).await;
    assert!(
        page.contains("reaches the AI again") && page.contains("Nobody is blocked"),
        "{page}"
    );
    for nobody in [RARA, "bukan siapa-siapa", ""] {
        let to = admin.post_and_go(AT, &bans, &[("person", nobody)]).await;
        assert!(admin.page(&to).await.contains("no block any more"));
    }
    // Redis is away: the page says so, and the rest of it works.
    app.proxies.redis.cut();
    let page = admin.page(AT).await;
    assert!(page.contains("cannot be seen right now"), "{page}");
    app.proxies.redis.restore();
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_other_programs_need_is_made_and_shown_once() {
    let app = TestApp::spawn().await;
    let admin = Visitor::admin(&app, "desa-satu", 1).await;
    let at = format!("{AT}/programs");
    assert!(admin.page(&at).await.contains("There is none yet"));
    let tokens = format!("{at}/tokens");
    let wrong = admin.post(&at, &tokens, &[("name", " ")]).await;
    assert_eq!(wrong.status, 400);
    assert!(wrong.text.contains("id=\"e-name\""), "{}", wrong.text);
    let made = admin.post(&at, &tokens, &[("name", "Kasir <b>")]).await;
    assert_eq!(made.status, 200, "{}", made.text);
    assert_eq!(made.headers["cache-control"], "no-store");
    let (_, token) = made.text.split_once("id=\"token\">").unwrap();
    let token = token.split_once('<').unwrap().0.to_owned();
    assert!(token.starts_with("KANALGATE"), "{token}");
    assert!(!logs::hold(&token));
    let page = admin.page(&at).await;
    assert!(
        !page.contains(&token) && page.contains("Kasir &#60;b&#62;"),
        "{page}"
    );
    let (_, id) = page.split_once("name=\"id\" value=\"").unwrap();
    let id = id.split_once('"').unwrap().0.to_owned();
    let revoke = format!("{tokens}/revoke");
    let page = admin
        .page(&admin.post_and_go(&at, &revoke, &[("id", &id)]).await)
        .await;
    assert!(
        page.contains("opens nothing any more") && !page.contains("Kasir"),
        "{page}"
    );
    assert_eq!(admin.post(&at, &revoke, &[("id", &id)]).await.status, 404);

    // An address that does not answer is not told, and stays in its field.
    let hooks = format!("{at}/subscriptions");
    let fields = [("url", "https://127.0.0.1:1/hook"), ("verify", "kata-rahasia")];
    let refused = admin.post(&at, &hooks, &fields).await;
    assert_eq!(refused.status, 422, "{}", refused.text);
    assert!(
        refused.text.contains("https://127.0.0.1:1/hook"),
        "{}",
        refused.text
    );
    assert!(refused.text.contains("id=\"e-url\"") && !refused.text.contains("kata-rahasia"));
    let incomplete = admin.post(&at, &hooks, &[("url", "https://x.example")]).await;
    assert_eq!(incomplete.status, 400);
    assert!(incomplete.text.contains("id=\"e-verify\""), "{}", incomplete.text);
    assert_eq!(app.count("gate_subscriptions").await, 0);
    let receiver = gate_world::Receiver::start().await;
    let fields = [("url", receiver.url.as_str()), ("verify", "kata-kunci")];
    let made = admin.post(&at, &hooks, &fields).await;
    assert_eq!(made.status, 200, "{}", made.text);
    let (_, secret) = made.text.split_once("id=\"app-secret\">").unwrap();
    let secret = secret.split_once('<').unwrap().0.to_owned();
    app.never_log(&secret);
    let page = admin.page(&at).await;
    assert!(page.contains(&receiver.url) && !page.contains(&secret), "{page}");
    let (_, known) = page.split_once("name=\"id\" value=\"").unwrap();
    let known = known.split_once('"').unwrap().0.to_owned();
    let ended = admin
        .post_and_go(&at, &format!("{hooks}/end"), &[("id", &known)])
        .await;
    assert!(
        admin
            .page(&ended)
            .await
            .contains("Nothing is told there any more")
    );
    let nothing = admin.post(&at, &format!("{hooks}/end"), &[("id", &id)]).await;
    assert_eq!(nothing.status, 404);
    app.finish().await;
}
