//! Pages about deliveries, as a browser without scripts uses them: listed, followed, found by id, replayed.

use domain::user::Role;
use test_support::eventually;
use uuid::Uuid;

use crate::browser::{Browser, sent_to};
use crate::harness::{Tenant, TestApp, Wishes, refusal};

const RARA: &str = "6281290000011";

/// The value of the first field of this name on a page, as a browser reads it.
fn value_of(page: &str, name: &str) -> String {
    let mark = format!("name=\"{name}\" value=\"");
    let (_, rest) = page
        .split_once(&mark)
        .unwrap_or_else(|| panic!("no {name}: {page}"));
    let (value, _) = rest.split_once('"').unwrap();
    value
        .replace("&#34;", "\"")
        .replace("&quot;", "\"")
        .replace("&#60;", "<")
        .replace("&amp;", "&")
        .replace("&#38;", "&")
}

async fn spawn() -> TestApp {
    TestApp::with(Wishes {
        send_attempts: "1",
        ..Wishes::default()
    })
    .await
}

async fn park(app: &TestApp, tenant: &Tenant, words: &str) -> String {
    app.sends_fail(refusal(500, "no session", None), 1);
    app.order(tenant, RARA, words).await;
    app.until_status(words, "parked").await;
    id_of(app, words).await
}

async fn id_of(app: &TestApp, words: &str) -> String {
    let ids = app
        .values(&format!(
            "SELECT id AS value FROM messages WHERE reference = '{words}'"
        ))
        .await;
    ids[0].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_needs_somebody_is_listed_with_words_and_only_to_whom_it_belongs() {
    let app = spawn().await;
    let (satu, dua) = (app.tenant("desa-satu").await, app.tenant("desa-dua").await);
    let mine = park(&app, &satu, "rahasia-satu").await;
    let other = park(&app, &dua, "rahasia-dua").await;
    app.run_sql("UPDATE accounts SET display_name = '<script>alert(1)</script>'")
        .await;
    let admin = Browser::of(&app, "rara@desa.id", Role::TenantAdmin, Some("desa-satu")).await;
    let root = Browser::of(&app, "super@kanal.id", Role::Superadmin, None).await;

    let own = "/dashboard/t/desa-satu/deliveries";
    let list = admin.page(own).await;
    assert!(
        list.contains(&format!("/dashboard/t/desa-satu/messages/{mine}")),
        "{list}"
    );
    assert!(list.contains("WhatsApp is not connected") && list.contains("Connect the device again"));
    assert!(
        list.contains("Put aside <span class=\"number\">(1)</span>"),
        "{list}"
    );
    assert!(!list.contains(&other) && !list.contains("desa-dua"));
    for shown in ["rahasia", RARA, "<script>alert"] {
        assert!(!list.contains(shown), "{shown}");
    }
    let indonesian = Browser::new(&app).in_indonesian();
    indonesian.set_cookie("kanal_session", &admin.cookie("kanal_session").unwrap());
    let list = indonesian.page(own).await;
    assert!(list.contains("WhatsApp tidak terhubung") && list.contains("Disisihkan"));

    for (query, is_there) in [
        ("?state=unknown", false),
        ("?state=in_flight", false),
        ("?state=retrying", false),
        ("?state=parked&reason=no_session&kind=text", true),
        ("?state=parked&reason=timeout", false),
        ("?state=parked&kind=image", false),
        ("?state=parked&age=1d", false),
        ("?state=nonsense&kind=%00&age=x&after=y&account=z", true),
    ] {
        let list = admin.page(&format!("{own}{query}")).await;
        let fits = list.contains(&format!("/messages/{mine}"));
        // A kind that is none is no filter that anything fits, once its NUL is gone it is empty.
        assert_eq!(fits, is_there, "{query}");
    }
    let account = format!("{own}?state=parked&account={}", satu.account);
    assert!(admin.page(&account).await.contains(&format!("/messages/{mine}")));

    for path in [
        "/dashboard/t/desa-dua/deliveries".to_owned(),
        format!("/dashboard/t/desa-dua/messages/{other}"),
        format!("/dashboard/t/desa-satu/messages/{other}"),
        format!("/dashboard/t/desa-satu/messages/{}", Uuid::now_v7()),
        "/dashboard/t/desa-satu/messages/x".to_owned(),
        format!("/dashboard/t/desa-satu/replays/{}", Uuid::now_v7()),
        "/dashboard/t/desa-satu/replays/x".to_owned(),
    ] {
        assert_eq!(admin.get(&path).await.status, 404, "{path}");
    }
    assert_eq!(sent_to(&admin.get("/dashboard/deliveries").await), own);
    let all = root.page("/dashboard/deliveries").await;
    assert!(
        all.contains(&mine) && all.contains(&other) && all.contains("desa-dua"),
        "{all}"
    );
    let narrowed = root
        .get("/dashboard/deliveries?tenant=desa-dua&state=parked")
        .await;
    assert_eq!(
        sent_to(&narrowed),
        "/dashboard/t/desa-dua/deliveries?state=parked"
    );
    assert_eq!(
        admin
            .get(&format!("/dashboard/replays/{}", Uuid::now_v7()))
            .await
            .status,
        403
    );

    let stranger = Browser::new(&app);
    for path in [own, "/dashboard/deliveries", "/dashboard/find"] {
        assert!(sent_to(&stranger.get(path).await).starts_with("/login"), "{path}");
    }
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_id_leads_to_the_journey_from_which_the_message_is_replayed() {
    let app = spawn().await;
    let (satu, dua) = (app.tenant("desa-satu").await, app.tenant("desa-dua").await);
    let mine = park(&app, &satu, "rahasia-satu").await;
    let other = park(&app, &dua, "rahasia-dua").await;
    let admin = Browser::of(&app, "rara@desa.id", Role::TenantAdmin, Some("desa-satu")).await;
    let root = Browser::of(&app, "super@kanal.id", Role::Superadmin, None).await;
    let provider_id = app
        .values(&format!(
            "SELECT provider_message_id AS value FROM messages WHERE id = '{mine}'"
        ))
        .await;
    let provider_id = provider_id[0].as_str().unwrap();
    let path = format!("/dashboard/t/desa-satu/messages/{mine}");

    // The form stands in the header of every page.
    let start = admin.page("/dashboard").await;
    assert!(start.contains("action=\"/dashboard/find\""), "{start}");
    for id in [mine.as_str(), provider_id] {
        for visitor in [&admin, &root] {
            let found = visitor.post("/dashboard/find", &[("id", id)]).await;
            assert_eq!(sent_to(&found), path, "{id}");
        }
    }
    for id in [other.as_str(), "<script>alert(1)</script>", "tiada"] {
        let nothing = admin.post("/dashboard/find", &[("id", id)]).await;
        assert_eq!(nothing.status, 404);
        assert!(nothing.text.contains("No message here has this id"));
        assert!(nothing.text.contains("chatwoot-bridge"));
        assert!(!nothing.text.contains("<script>alert") && !nothing.text.contains("desa-dua"));
    }
    assert_eq!(admin.send("/dashboard/find", &[("id", &mine)]).await.status, 403);

    let journey = admin.page(&path).await;
    for shown in [
        "Ordered, and put on its chat",
        "It did not go out",
        "no_session",
        "through Primary",
        "Put aside",
        "Connect the device again",
        provider_id,
        "Every event about it was published",
    ] {
        if shown.starts_with("Every") {
            app.until_published().await;
            assert!(admin.page(&path).await.contains(shown));
            continue;
        }
        assert!(journey.contains(shown), "{shown}: {journey}");
    }
    assert!(!journey.contains("rahasia") && !journey.contains(RARA));
    assert!(!journey.contains("/settle"), "nothing is unknown");

    let theirs = format!("/dashboard/t/desa-satu/messages/{other}/replay");
    assert_eq!(admin.post(&theirs, &[]).await.status, 404);
    let replay = format!("{path}/replay");
    assert_eq!(admin.send(&replay, &[]).await.status, 403, "without its token");
    let done = admin.post(&replay, &[]).await;
    assert_eq!(sent_to(&done), format!("{path}?said=queued"));
    let queued = admin.page(&format!("{path}?said=queued")).await;
    assert!(queued.contains("queued again"), "{queued}");
    app.until_status("rahasia-satu", "sent").await;
    let again = admin.post(&replay, &[]).await;
    let said = sent_to(&again);
    assert!(
        said.ends_with("said=went_out") || said.ends_with("said=not_there"),
        "{said}"
    );
    let sent = admin.page(&path).await;
    assert!(
        sent.contains("Somebody replayed it") && sent.contains("by user rara@desa.id"),
        "{sent}"
    );
    assert!(!sent.contains(&replay), "there is nothing to replay");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_are_looked_at_confirmed_and_followed_to_the_end() {
    let app = spawn().await;
    let (satu, dua) = (app.tenant("desa-satu").await, app.tenant("desa-dua").await);
    let (first, second) = (park(&app, &satu, "satu").await, park(&app, &satu, "dua").await);
    park(&app, &dua, "tetangga").await;
    let admin = Browser::of(&app, "rara@desa.id", Role::TenantAdmin, Some("desa-satu")).await;
    let list = admin.page("/dashboard/t/desa-satu/deliveries").await;
    assert!(list.contains(&format!("name=\"pick.{first}\"")), "{list}");
    let look = "/dashboard/t/desa-satu/replays/look";
    let none = admin.post(look, &[("what", "ticked")]).await;
    assert_eq!(none.status, 400);
    assert!(none.text.contains("No message is ticked"), "{}", none.text);
    assert_eq!(admin.send(look, &[("what", "fitting")]).await.status, 403);

    let ticked = format!("pick.{first}");
    let shown = admin.post(look, &[("what", "ticked"), (&ticked, "yes")]).await;
    assert_eq!(shown.status, 200, "{}", shown.text);
    assert!(
        shown.text.contains("1 message would be replayed"),
        "{}",
        shown.text
    );
    let fitting = [("what", "fitting"), ("state", "parked"), ("reason", "no_session")];
    let shown = admin.post(look, &fitting).await;
    assert!(
        shown.text.contains("2 messages would be replayed"),
        "{}",
        shown.text
    );
    assert!(shown.text.contains("WhatsApp is not connected"));
    assert_eq!(app.count("replay_jobs").await, 0, "looking does nothing");

    let begin = "/dashboard/t/desa-satu/replays";
    let (_, form) = shown.text.split_once("id=\"confirm\"").unwrap();
    let (id, which) = (value_of(form, "id"), value_of(form, "which"));
    let order = [("id", id.as_str()), ("which", which.as_str())];
    for broken in [
        &[("id", id.as_str()), ("which", "{")][..],
        &[("id", "x"), ("which", &which)],
    ] {
        assert_eq!(admin.post(begin, broken).await.status, 400);
    }
    // The button pressed twice begins one order.
    for _ in 0..2 {
        let begun = admin.post(begin, &order).await;
        assert_eq!(sent_to(&begun), format!("{begin}/{id}"));
    }
    let over = eventually("the order is done", || async {
        let page = admin.page(&format!("{begin}/{id}")).await;
        page.contains("<h2>Done</h2>").then_some(page)
    })
    .await;
    assert!(over.contains("2 / 2") && !over.contains("hx-trigger"), "{over}");
    for word in ["satu", "dua"] {
        app.until_status(word, "sent").await;
    }
    assert_eq!(app.texts_on(RARA), ["satu", "dua"]);
    assert_eq!(app.count("replay_jobs").await, 1);
    assert!(
        admin
            .page("/dashboard/t/desa-satu/deliveries")
            .await
            .contains(&id)
    );
    assert_eq!(
        admin
            .get(&format!("/dashboard/t/desa-dua/replays/{id}"))
            .await
            .status,
        404
    );
    let gone = admin
        .post(begin, &[("id", &Uuid::now_v7().to_string()), ("which", &which)])
        .await;
    assert_eq!(gone.status, 409, "{}", gone.text);

    // A superadmin does the same over all tenants, and may stop.
    let root = Browser::of(&app, "super@kanal.id", Role::Superadmin, None).await;
    app.run_sql("ALTER TABLE replay_jobs ALTER COLUMN leased_until SET DEFAULT now() + interval '1 hour'")
        .await;
    let shown = root.post("/dashboard/replays/look", &[("what", "fitting")]).await;
    assert!(
        shown.text.contains("desa-dua") && !shown.text.contains(&second),
        "{}",
        shown.text
    );
    let (_, form) = shown.text.split_once("id=\"confirm\"").unwrap();
    let (id, which) = (value_of(form, "id"), value_of(form, "which"));
    let begun = root
        .post("/dashboard/replays", &[("id", &id), ("which", &which)])
        .await;
    let path = sent_to(&begun);
    let running = root.page(path).await;
    assert!(
        running.contains("hx-trigger=\"every 2s\"") && running.contains("Refresh"),
        "{running}"
    );
    let stopped = root.post(&format!("{path}/cancel"), &[]).await;
    assert_eq!(sent_to(&stopped), path);
    assert!(root.page(path).await.contains("<h2>Cancelled</h2>"));
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_seen_on_the_phone_is_settled_from_its_page() {
    let app = spawn().await;
    let desa = app.tenant("desa-satu").await;
    app.sends_fail(simulator::FaultKind::LostAnswer, 1);
    app.order(&desa, RARA, "entah").await;
    app.until_status("entah", "unknown").await;
    eventually("it is put aside", || async {
        let rows = app
            .values("SELECT id AS value FROM lane_tasks WHERE parked")
            .await;
        (rows.len() == 1).then_some(())
    })
    .await;
    let admin = Browser::of(&app, "rara@desa.id", Role::TenantAdmin, Some("desa-satu")).await;
    let id = id_of(&app, "entah").await;
    let list = admin
        .page("/dashboard/t/desa-satu/deliveries?state=unknown")
        .await;
    assert!(list.contains(&id) && list.contains("Look on the phone"), "{list}");
    let path = format!("/dashboard/t/desa-satu/messages/{id}");
    let page = admin.page(&path).await;
    assert!(page.contains("mark as sent"), "{page}");
    let settled = admin.post(&format!("{path}/settle"), &[]).await;
    assert_eq!(sent_to(&settled), format!("{path}?said=settled"));
    app.until_status("entah", "sent").await;
    let again = admin.post(&format!("{path}/settle"), &[]).await;
    assert_eq!(sent_to(&again), format!("{path}?said=not_there"));
    assert_eq!(app.simulator.phone(RARA).len(), 1);
    app.finish().await;
}
