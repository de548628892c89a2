//! The pages: forms do what the calls do, and nothing that people wrote becomes markup.

use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::operator::{Office, Said, said};
use crate::router::signed;
use crate::world::start_chatwoot;

async fn posted(office: &Office, path: &str, fields: &[(&str, &str)]) -> (StatusCode, String, Said) {
    let body: String = url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs(fields)
        .finish();
    let request = office
        .request(Method::POST, path)
        .header("content-type", "application/x-www-form-urlencoded")
        .header("origin", &office.running.base)
        .body(body);
    let answer = request.send().await.unwrap();
    let to = answer
        .headers()
        .get("location")
        .map(|to| to.to_str().unwrap().to_owned());
    let status = answer.status();
    let text = answer.text().await.unwrap();
    (status, to.unwrap_or_default(), Said { status, text })
}

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
    let (status, to, _) = posted(&office, "/admin/panel/routes", &fields).await;
    assert_eq!(status.as_u16(), 303);
    let page = office.get(&to).await;
    assert_eq!(page.status.as_u16(), 200);
    for text in [&page.text, &office.get("/admin").await.text] {
        assert!(!text.contains("<script>") && !text.contains("s3cret"), "{text}");
        assert!(
            text.contains("&#60;script&#62;") || text.contains("&lt;script&gt;"),
            "{text}"
        );
        assert!(text.contains("https://u:***@gowa.example/hook?a=***"), "{text}");
    }
    assert!(page.text.contains("The route is there."));
    let id = office.get("/admin/routes").await.ok()["routes"][0]["id"].clone();
    // The form sends everything back that it shows; the secrets stay.
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
    let path = format!("/admin/panel/routes/{id}");
    assert_eq!(posted(&office, &path, &fields).await.0.as_u16(), 303);
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
    let (status, _, page) = posted(
        &office,
        &path,
        &[
            ("inboxId", "8"),
            ("webhookUrl", "nonsense"),
            ("installation", "default"),
        ],
    )
    .await;
    assert!(
        status.as_u16() == 422 && page.text.contains("webhookUrl must be a whole URL"),
        "{page:?}"
    );
    // A new secret leaves the one before it, until the webhook is signed with the new one.
    for (secret, stored) in [("s3cret-second", 2), ("s3cret-second", 2), ("s3cret-third", 2)] {
        let mut fields = fields.to_vec();
        fields.retain(|(name, _)| *name != "inboxSecret");
        fields.extend([("inboxSecret", secret), ("enabled", "on")]);
        assert_eq!(posted(&office, &path, &fields).await.0.as_u16(), 303);
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
    let (status, to, _) = posted(&office, &format!("{path}/delete"), &[]).await;
    assert_eq!((status.as_u16(), to.as_str()), (303, "/admin?said=deleted"));
    assert_eq!(office.get("/admin/routes").await.ok(), json!({"routes": []}));
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
    let page = office.get("/admin").await.text;
    for field in [
        r#"name="inboxId" value="42""#,
        r#"name="accountId" value="3""#,
        r#"name="installation" value="cabang""#,
    ] {
        assert!(page.contains(field), "{field}: {page}");
    }
    let fields = [
        ("inboxId", "42"),
        ("accountId", "3"),
        ("installation", "cabang"),
        ("webhookUrl", "https://gowa.example/h"),
    ];
    assert_eq!(
        posted(&office, "/admin/panel/routes", &fields).await.0.as_u16(),
        303
    );
    let page = office.get("/admin").await.text;
    assert!(
        page.contains("42 (account 3, cabang)")
            && page.contains("Every inbox that sent something has a route")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_inbox_is_connected_with_the_form() {
    let (office, chatwoot) = (Office::open().await, start_chatwoot().await);
    let account = chatwoot.create_chatwoot_account(simulator::NewAccount::default());
    let (url, number) = (
        format!("{}/chatwoot", chatwoot.base_url()),
        account.id.to_string(),
    );
    let fields = [
        ("url", url.as_str()),
        ("apiToken", &account.api_access_token),
        ("tenantId", "desa-a"),
        ("whatsappAccountId", "0190a1b2-0000-7000-8000-000000000001"),
        ("accountId", &number),
    ];
    let (status, _, page) = posted(&office, "/admin/panel/setup", &fields).await;
    assert!(
        status.as_u16() == 200 && page.text.contains("Connected, and it works"),
        "{page:?}"
    );
    assert!(!page.text.contains(&account.api_access_token));
    let (status, _, page) = posted(&office, "/admin/panel/setup", &[("url", "x")]).await;
    assert!(
        status.as_u16() == 422 && page.text.contains("apiToken is needed"),
        "{page:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_run_no_script_and_stand_in_nobodys_frame() {
    let office = Office::open().await;
    for path in ["/admin", "/admin/panel/setup"] {
        let answer = office.request(Method::GET, path).send().await.unwrap();
        let policy = answer.headers()["content-security-policy"]
            .to_str()
            .unwrap()
            .to_owned();
        for part in [
            "default-src 'none'",
            "style-src 'self'",
            "form-action 'self'",
            "frame-ancestors 'none'",
        ] {
            assert!(policy.contains(part) && !policy.contains("unsafe"), "{policy}");
        }
        assert_eq!(answer.headers()["cache-control"], "no-store");
        let text = answer.text().await.unwrap();
        assert!(
            !text.contains("<script") && !text.contains(" style=") && !text.contains(" onclick="),
            "{text}"
        );
    }
    let style = said(office.request(Method::GET, "/admin/style.css")).await;
    assert!(style.status.as_u16() == 200 && style.text.contains("body"));
    // A link can put no words of its own on the page.
    let page = office.get("/admin?said=%3Cb%3Ehalo").await;
    assert!(!page.text.contains("halo"));
}
