//! The pages: forms do what the calls do, and nothing that people wrote becomes markup.

use reqwest::Method;
use serde_json::json;

use crate::browser::{hidden, in_language, page, post};
use crate::operator::Office;
use crate::router::signed;
use crate::world::start_chatwoot;

const PAGES: &[&str] = &[
    "/admin",
    "/admin/panel/routes",
    "/admin/panel/routes/new",
    "/admin/panel/seen",
    "/admin/panel/deliveries",
    "/admin/panel/deliveries?state=unknown",
    "/admin/panel/deliveries?state=waiting",
    "/admin/panel/deliveries?state=over",
    "/admin/panel/find",
    "/admin/panel/tasks",
    "/admin/panel/replays",
    "/admin/panel/connect",
    "/admin/panel/inboxes",
    "/admin/panel/drift",
    "/admin/panel/installations",
    "/admin/panel/import",
    "/admin/panel/log",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_route_is_made_changed_and_taken_away_with_forms_alone() {
    let office = Office::open().await;
    let nasty = "<script>alert(1)</script>\"'";
    let fields = [
        ("inboxId", "7"),
        ("webhookUrl", "https://u:s3cret@gowa.example/hook?a=s3cret"),
        ("name", nasty),
        ("accountId", ""),
        ("tenantId", ""),
    ];
    let made = post(&office, "/admin/panel/routes", &fields).await;
    assert_eq!(made.status, 303, "{made:?}");
    let shown = page(&office, &made.to).await;
    assert!(shown.contains("The route is there."));
    let list = page(&office, "/admin/panel/routes").await;
    for text in [&shown, &list] {
        assert!(
            !text.contains("<script>alert") && !text.contains("s3cret"),
            "{text}"
        );
        assert!(text.contains("&#60;script&#62;alert"), "{text}");
        assert!(text.contains("https://u:***@gowa.example/hook?a=***"), "{text}");
    }
    let id = office.get("/admin/routes").await.ok()["routes"][0]["id"].clone();
    let path = format!("/admin/panel/routes/{id}");
    // What the form shows is sent back; the secrets stay.
    let form = page(&office, &format!("{path}/edit")).await;
    assert!(form.contains("https://u:***@gowa.example/hook?a=***") && !form.contains("s3cret"));
    let fields = [
        ("inboxId", "8"),
        ("accountId", "3"),
        ("installation", "default"),
        ("webhookUrl", "https://u:***@gowa.example/hook?a=***"),
        ("name", "Toko"),
        ("events", "message_created, message_updated"),
        ("private", "on"),
        ("signingSecret", ""),
        ("inboxSecret", "s3cret-of-the-inbox"),
    ];
    assert_eq!(post(&office, &path, &fields).await.status, 303);
    let route = office.get(&format!("/admin/routes/{id}")).await.ok()["route"].clone();
    for (key, value) in [
        ("inboxId", json!(8)),
        ("accountId", json!(3)),
        ("webhookUrl", json!("https://u:***@gowa.example/hook?a=***")),
        ("name", json!("Toko")),
        ("events", json!(["message_created", "message_updated"])),
        ("private", json!(true)),
        ("enabled", json!(false)),
        ("webhookSecrets", json!({"inbox": 1, "account": 0})),
    ] {
        assert_eq!(route[key], value, "{key}");
    }
    // What is wrong stands beside its field, and what was typed is still there.
    let wrong = [
        ("inboxId", "acht"),
        ("webhookUrl", "nonsense"),
        ("name", "Toko Dua"),
    ];
    let refused = post(&office, &path, &wrong).await;
    assert_eq!(refused.status, 422, "{refused:?}");
    assert!(
        refused.text.contains("must be a whole number above 0") && refused.text.contains("Toko Dua"),
        "{refused:?}"
    );
    // A new secret leaves the one before it, until the webhook is signed with the new one.
    for (secret, stored) in [("s3cret-second", 2), ("s3cret-second", 2), ("s3cret-third", 2)] {
        let mut fields = fields.to_vec();
        fields.retain(|(name, _)| *name != "inboxSecret");
        fields.extend([("inboxSecret", secret), ("enabled", "on")]);
        assert_eq!(post(&office, &path, &fields).await.status, 303);
        let route = office.get(&format!("/admin/routes/{id}")).await.ok()["route"].clone();
        assert_eq!(route["webhookSecrets"], json!({"inbox": stored, "account": 0}));
    }
    let event = json!({"event": "message_created", "id": 1, "account": {"id": 3}, "inbox": {"id": 8},
        "message_type": "outgoing", "conversation": {"id": 9}, "content": "x"})
    .to_string();
    for (secret, opens) in [
        ("s3cret-third", true),
        ("s3cret-second", true),
        ("s3cret-of-the-inbox", false),
    ] {
        let mut request = office
            .client
            .post(format!("{}/webhook", office.running.base))
            .body(event.clone());
        for (name, value) in signed(secret, &event) {
            request = request.header(name, value);
        }
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status().as_u16() != 401, opens, "{secret}");
    }
    for (enabled, said) in [("no", "off"), ("yes", "on")] {
        let switched = post(&office, &format!("{path}/switch"), &[("enabled", enabled)]).await;
        assert!(switched.to.ends_with(&format!("said={said}")), "{switched:?}");
        let route = office.get(&format!("/admin/routes/{id}")).await.ok()["route"].clone();
        assert_eq!(route["enabled"], json!(enabled == "yes"));
    }
    // Nobody deletes by a slip of the finger.
    let delete = format!("{path}/delete");
    let slipped = post(&office, &delete, &[("confirm", "999")]).await;
    assert_eq!(slipped.status, 422, "{slipped:?}");
    assert!(page(&office, &delete).await.contains("name=\"confirm\""));
    let gone = post(&office, &delete, &[("confirm", &id.to_string())]).await;
    assert_eq!(
        (gone.status, gone.to.as_str()),
        (303, "/admin/panel/routes?said=deleted")
    );
    assert_eq!(office.get("/admin/routes").await.ok(), json!({"routes": []}));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn routes_are_searched_and_paged() {
    let office = Office::open().await;
    for inbox in 1..=51 {
        let url = format!("https://gowa{}.example/hook", inbox % 2);
        let inbox = inbox.to_string();
        let name = format!("Toko {inbox}");
        let fields = [("inboxId", inbox.as_str()), ("webhookUrl", &url), ("name", &name)];
        assert_eq!(post(&office, "/admin/panel/routes", &fields).await.status, 303);
    }
    let first = page(&office, "/admin/panel/routes").await;
    assert!(first.contains("Toko 51<") && !first.contains("Toko 1<"));
    let at = first.find("/admin/panel/routes?after=").unwrap();
    let next = &first[at..at + first[at..].find('"').unwrap()];
    let second = page(&office, next).await;
    assert!(second.contains("Toko 1<") && !second.contains("Toko 51<"));
    let found = page(&office, "/admin/panel/routes?q=gowa1.example+tok").await;
    assert!(found.contains("Toko 51<") && !found.contains("Toko 50<"));
    let found = page(&office, "/admin/panel/routes?q=%3Cscript%3E").await;
    assert!(found.contains("No route fits") && !found.contains("<script>"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_click_gives_a_seen_inbox_its_route() {
    let office = Office::open().await;
    let event = json!({"event": "message_created", "id": 1, "message_type": "outgoing", "content": "x",
        "account": {"id": 3}, "inbox": {"id": 42}, "conversation": {"id": 9}});
    let hook = format!("{}/webhook/cabang", office.running.base);
    office
        .client
        .post(hook)
        .body(event.to_string())
        .send()
        .await
        .unwrap();
    assert!(page(&office, "/admin").await.contains("Inboxes without a route"));
    let seen = page(&office, "/admin/panel/seen").await;
    let fields = ["inboxId", "accountId", "installation"].map(|name| (name, hidden(&seen, name)));
    assert_eq!(fields.clone().map(|(_, value)| value), ["42", "3", "cabang"]);
    let mut sent: Vec<(&str, &str)> = fields
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    sent.push(("webhookUrl", "https://gowa.example/h"));
    assert_eq!(post(&office, "/admin/panel/routes", &sent).await.status, 303);
    let routes = page(&office, "/admin/panel/routes").await;
    assert!(routes.contains("account 3, cabang"));
    let seen = page(&office, "/admin/panel/seen").await;
    assert!(seen.contains("Every inbox that sent something has a route"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_inbox_is_connected_step_by_step_and_no_page_shows_the_token() {
    let (office, chatwoot) = (Office::open().await, start_chatwoot().await);
    let account = chatwoot.create_chatwoot_account(simulator::NewAccount::default());
    let url = format!("{}/chatwoot", chatwoot.base_url());
    let token = account.api_access_token.as_str();
    let wrong = post(&office, "/admin/panel/connect", &[("url", "x")]).await;
    assert!(
        wrong.status == 422 && wrong.text.contains("is needed"),
        "{wrong:?}"
    );
    let fields = [
        ("url", url.as_str()),
        ("apiToken", "not-a-token"),
        ("tenantId", "desa-a"),
    ];
    let refused = post(&office, "/admin/panel/connect", &fields).await;
    assert!(
        refused.status == 502 && refused.text.contains("Chatwoot does not know this token"),
        "{refused:?}"
    );
    let fields = [("url", url.as_str()), ("apiToken", token), ("tenantId", "desa-a")];
    let mut step = post(&office, "/admin/panel/connect", &fields).await;
    assert!(step.status == 200 && !step.text.contains(token), "{step:?}");
    let number = account.id.to_string();
    if !step.text.contains("name=\"inboxName\"") {
        let sealed = hidden(&step.text, "sealed");
        let fields = [
            ("sealed", sealed.as_str()),
            ("tenantId", "desa-a"),
            ("accountId", &number),
        ];
        step = post(&office, "/admin/panel/connect/account", &fields).await;
    }
    assert!(
        step.text.contains("name=\"inboxName\"") && !step.text.contains(token),
        "{step:?}"
    );
    let sealed = hidden(&step.text, "sealed");
    let fields = [
        ("sealed", sealed.as_str()),
        ("tenantId", "desa-a"),
        ("accountId", &number),
        ("inboxId", ""),
        ("inboxName", "WA Desa"),
        ("whatsappAccountId", "0190a1b2-0000-7000-8000-000000000001"),
    ];
    let done = post(&office, "/admin/panel/connect/inbox", &fields).await;
    assert!(
        done.status == 200 && done.text.contains("Connected, and it works") && !done.text.contains(token),
        "{done:?}"
    );
    // A token that was changed under way is none.
    let mut broken = fields.to_vec();
    broken[0].1 = "k1.x.y";
    assert_eq!(
        post(&office, "/admin/panel/connect/inbox", &broken).await.status,
        422
    );
    // The connected inbox has a page with its choices and its history.
    let list = page(&office, "/admin/panel/inboxes").await;
    let at = list.find("/admin/panel/inboxes/desa-a/").unwrap();
    let inbox = &list[at..at + list[at..].find('"').unwrap()];
    assert!(page(&office, inbox).await.contains("Nothing was imported yet"));
    let choices = [
        ("conversationPolicy", "new"),
        ("templates", "text"),
        ("ignored", "@g.us\r\n"),
        ("signAgents", "on"),
    ];
    assert_eq!(post(&office, inbox, &choices).await.status, 303);
    let chosen = page(&office, inbox).await;
    assert!(
        chosen.contains("value=\"new\" selected") && chosen.contains("@g.us"),
        "{chosen}"
    );
    let without = post(&office, &format!("{inbox}/history"), &[("action", "start")]).await;
    assert!(
        without.status == 409 && without.text.contains("CHANNEL_SERVICE_URL"),
        "{without:?}"
    );
    // Another tenant's address of it leads nowhere.
    let foreign = inbox.replace("desa-a", "desa-b");
    assert_eq!(in_language(&office, &foreign, "en").await.status.as_u16(), 404);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_are_made_of_our_own_and_stand_in_nobodys_frame() {
    let office = Office::open().await;
    for path in PAGES {
        let answer = office.request(Method::GET, path).send().await.unwrap();
        assert_eq!(answer.status().as_u16(), 200, "{path}");
        let header = |name: &str| answer.headers()[name].to_str().unwrap().to_owned();
        let policy = header("content-security-policy");
        for part in [
            "default-src 'none'",
            "style-src 'self'",
            "script-src 'self'",
            "form-action 'self'",
            "frame-ancestors 'none'",
        ] {
            assert!(policy.contains(part) && !policy.contains("unsafe"), "{policy}");
        }
        assert_eq!(header("cache-control"), "no-store");
        let text = answer.text().await.unwrap();
        for own in [" style=", " onclick=", "<style", "href=\"http", "src=\"http"] {
            assert!(!text.contains(own), "{path} {own}: {text}");
        }
        assert!(text.len() + console::assets::bytes() < 150_000, "{path}");
        // Scripts are files of ours.
        for script in text.split("<script").skip(1) {
            assert!(
                script.trim_start().starts_with("src=\"/admin/assets/"),
                "{path}: {script}"
            );
        }
        assert_eq!(text.matches("<h1").count(), 1, "{path}");
    }
    let start = page(&office, "/admin").await;
    let at = start.find("/admin/assets/").unwrap();
    let style = &start[at..at + start[at..].find('"').unwrap()];
    assert_eq!(office.get(style).await.status.as_u16(), 200);
    // A link can put no words of its own on the page.
    assert!(!page(&office, "/admin?said=%3Cb%3Ehalo").await.contains("halo"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_speak_two_languages_and_have_two_colours() {
    let office = Office::open().await;
    for path in PAGES {
        let (en, id) = (
            in_language(&office, path, "en").await.text,
            in_language(&office, path, "id").await.text,
        );
        assert!(
            en.contains("<html lang=\"en\"") && en.contains("Skip to the content"),
            "{path}"
        );
        assert!(
            id.contains("<html lang=\"id\"") && id.contains("Langsung ke isi"),
            "{path}"
        );
    }
    let request = office
        .request(Method::GET, "/admin")
        .header("cookie", "kanal_lang=en; kanal_theme=dark")
        .header("accept-language", "id");
    let chosen = crate::operator::said(request).await.text;
    assert!(chosen.contains("lang=\"en\" data-theme=\"dark\""), "{chosen}");
    let back = [("theme", "light"), ("back", "/admin/panel/routes")];
    let switched = post(&office, "/admin/look", &back).await;
    assert_eq!(
        (switched.status, switched.to.as_str()),
        (303, "/admin/panel/routes")
    );
    let elsewhere = post(
        &office,
        "/admin/look",
        &[("theme", "light"), ("back", "//evil.example")],
    )
    .await;
    assert_eq!(elsewhere.to, "/admin");
    // Refusals are pages in the reader's language; those of calls stay as they were.
    let lost = in_language(&office, "/admin/panel/routes/999", "id").await;
    assert!(
        lost.status.as_u16() == 404 && lost.text.contains("Tidak ada apa-apa di sini"),
        "{lost:?}"
    );
    assert_eq!(office.get("/admin/routes/999").await.refusal().0, 404);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_of_an_account_goes_in_by_a_form_and_is_never_shown() {
    let office = Office::open().await;
    let path = "/admin/panel/installations";
    let wrong = post(
        &office,
        path,
        &[("url", "https://chat.example"), ("apiToken", "s3cret")],
    )
    .await;
    assert!(wrong.status == 422 && !wrong.text.contains("s3cret"), "{wrong:?}");
    let fields = [
        ("url", "https://chat.example"),
        ("apiToken", "s3cret"),
        ("accountId", "3"),
        ("tenantId", "desa-a"),
    ];
    assert_eq!(post(&office, path, &fields).await.status, 303);
    let listed = page(&office, path).await;
    assert!(listed.contains("https://chat.example") && !listed.contains("s3cret"));
    let log = page(&office, "/admin/panel/log?tenant=desa-a").await;
    assert!(
        log.contains("installation.put") && !log.contains("s3cret"),
        "{log}"
    );
    let which = [
        ("tenantId", "desa-a"),
        ("installation", "default"),
        ("accountId", "3"),
    ];
    assert_eq!(
        post(&office, "/admin/panel/installations/forget", &which)
            .await
            .status,
        303
    );
    assert!(page(&office, path).await.contains("None is stored."));
}
