//! The dashboard's pages of chats, as a browser without scripts uses them: who sees them, the list and its search, taking
//! over, and what changes while somebody looks.

use channel_service::flows::sign_in::SessionSecret;
use domain::user::Role;
use reqwest::Method;
use serde_json::{Value, json};
use test_support::eventually;

use crate::harness::{Answer, Tenant, TestApp, text};
use crate::media::jpeg;
use crate::signing_in::bearer_of;

pub(crate) const RARA: &str = "6281290000011";
const BIMA: &str = "6281290000022";

/// Somebody with a browser.
pub(crate) struct Browser<'a> {
    app: &'a TestApp,
    cookie: String,
    csrf: String,
    language: &'static str,
}

/// A part of a form with a file.
type Part<'a> = (&'a str, &'a str, &'a [u8]);

impl<'a> Browser<'a> {
    async fn of(app: &'a TestApp, email: &str, role: Role, tenant: Option<&str>) -> Self {
        let bearer = bearer_of(app, email, role, tenant).await;
        let token = bearer.strip_prefix("Bearer ").unwrap();
        Self {
            app,
            cookie: format!("kanal_session={token}"),
            csrf: SessionSecret::presented(token).unwrap().csrf_token(),
            language: "en",
        }
    }

    pub(crate) async fn admin(app: &'a TestApp, tenant: &str) -> Self {
        let email = format!("admin@{tenant}.id");
        Self::of(app, &email, Role::TenantAdmin, Some(tenant)).await
    }

    fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        let url = format!("{}/dashboard/t/{path}", self.app.url);
        // A browser would follow at once; here each step is looked at.
        let client = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none());
        let request = client.build().unwrap().request(method, url);
        request
            .header("cookie", &self.cookie)
            .header("accept", "text/html")
            .header("accept-language", self.language)
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        Answer::of(self.request(Method::GET, path).send().await.unwrap()).await
    }

    pub(crate) async fn page(&self, path: &str) -> String {
        let answer = self.get(path).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text);
        answer.text
    }

    /// Sends a form with the token that stands in it.
    async fn post(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let mut form = vec![("csrf", self.csrf.as_str())];
        form.extend_from_slice(fields);
        self.post_bare(path, &form).await
    }

    async fn post_bare(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let body = form_urlencoded::Serializer::new(String::new())
            .extend_pairs(fields)
            .finish();
        let request = self.request(Method::POST, path);
        let request = request.header("content-type", "application/x-www-form-urlencoded");
        Answer::of(request.body(body).send().await.unwrap()).await
    }

    /// Sends the form under a chat, in the order in which its fields stand there.
    pub(crate) async fn send(
        &self,
        chat: &str,
        key: &str,
        words: &str,
        to: &str,
        file: Option<Part<'_>>,
    ) -> Answer {
        self.send_as(&self.csrf, chat, key, words, to, file).await
    }

    async fn send_as(
        &self,
        csrf: &str,
        chat: &str,
        key: &str,
        words: &str,
        to: &str,
        file: Option<Part<'_>>,
    ) -> Answer {
        let mut body = Vec::new();
        for (name, value) in [("csrf", csrf), ("key", key), ("to", to), ("text", words)] {
            let part =
                format!("--kanal\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n");
            body.extend_from_slice(part.as_bytes());
        }
        let (name, kind, bytes) = file.unwrap_or(("", "application/octet-stream", b""));
        let head = format!(
            "--kanal\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{name}\"\r\n\
             Content-Type: {kind}\r\n\r\n"
        );
        body.extend_from_slice(head.as_bytes());
        body.extend_from_slice(bytes);
        body.extend_from_slice(b"\r\n--kanal--\r\n");
        let request = self.request(Method::POST, &format!("{chat}/send"));
        let request = request.header("content-type", "multipart/form-data; boundary=kanal");
        Answer::of(request.body(body).send().await.unwrap()).await
    }
}

pub(crate) fn location(answer: &Answer) -> &str {
    assert_eq!(answer.status, 303, "{}", answer.text);
    answer.headers["location"].to_str().unwrap()
}

/// The path of the chat with this person, below `/dashboard/t/`.
pub(crate) async fn chat_with(app: &TestApp, tenant: &str, phone: &str) -> String {
    let query = format!("SELECT id AS value FROM chats WHERE tenant_id = '{tenant}' AND phone = '{phone}'");
    let id = app.values(&query).await.remove(0);
    format!("{tenant}/chats/{}", id.as_str().unwrap())
}

pub(crate) async fn id_of(app: &TestApp, provider_id: &str) -> String {
    let query = format!("SELECT id AS value FROM messages WHERE provider_message_id = '{provider_id}'");
    app.values(&query).await.remove(0).as_str().unwrap().to_owned()
}

pub(crate) async fn kept(app: &TestApp, tenant: &Tenant, event: &Value) {
    app.post(&tenant.json(event)).await.assert_kept();
}

pub(crate) fn named(mut event: Value, name: &str) -> Value {
    event["event"]["Info"]["PushName"] = json!(name);
    event
}

pub(crate) fn assert_has(page: &str, parts: &[&str]) {
    for part in parts {
        assert!(page.contains(part), "{part:?} is missing in {page}");
    }
}

pub(crate) fn assert_lacks(page: &str, parts: &[&str]) {
    for part in parts {
        assert!(!page.contains(part), "{part:?} is in {page}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenants_chats_are_seen_by_its_people_and_by_nobody_else() {
    let app = TestApp::spawn().await;
    let (satu, dua) = (app.tenant("desa-satu").await, app.tenant("desa-dua").await);
    kept(&app, &satu, &named(text(RARA, "3EB0P1", "dari satu"), "Rara")).await;
    kept(&app, &dua, &named(text(BIMA, "3EB0P2", "dari dua"), "Bima")).await;
    let (own, other) = (
        chat_with(&app, "desa-satu", RARA).await,
        chat_with(&app, "desa-dua", BIMA).await,
    );
    let admin = Browser::admin(&app, "desa-satu").await;
    let stranger = Browser {
        app: &app,
        cookie: String::new(),
        csrf: String::new(),
        language: "en",
    };
    let id = own.rsplit('/').next().unwrap();
    let foreign = format!("desa-satu/chats/{}", other.rsplit('/').next().unwrap());
    for path in ["desa-satu/chats", &own] {
        let answer = stranger.get(path).await;
        assert!(location(&answer).starts_with("/login"), "{path}");
    }
    assert_eq!(stranger.get(&format!("{own}/live")).await.status, 401);
    for path in [
        "desa-dua/chats",
        "desa-dua/chats/live",
        &other,
        &foreign,
        "desa-satu/chats/x",
        "niemand/chats",
    ] {
        let answer = admin.get(path).await;
        assert_eq!(answer.status, 404, "{path}: {}", answer.text);
        assert_lacks(&answer.text, &["dari dua", "Bima"]);
    }
    assert_eq!(admin.get(&format!("{foreign}/live")).await.status, 404);
    for path in [&other, &foreign] {
        for act in ["takeover", "hand-back"] {
            let answer = admin.post(&format!("{path}/{act}"), &[]).await;
            // Nothing is to be handed back where there is nothing.
            assert!(
                answer.status == 404 || (act == "hand-back" && path == &foreign),
                "{path}/{act}"
            );
        }
        assert_eq!(
            admin.send(path, "k", "halo", "", None).await.status,
            404,
            "{path}"
        );
    }
    // Without the form's token nothing happens.
    for path in [
        format!("{own}/takeover"),
        format!("{own}/hand-back"),
        "desa-satu/chats/search".to_owned(),
    ] {
        assert_eq!(admin.post_bare(&path, &[]).await.status, 403, "{path}");
    }
    let forged = admin
        .send_as(
            "x",
            &own,
            "k",
            "halo",
            "",
            Some(("a.jpg", "image/jpeg", &jpeg(100))),
        )
        .await;
    assert_eq!(forged.status, 403);
    assert_eq!(
        (
            app.count("takeovers").await,
            app.count("messages").await,
            app.count("gate_media").await
        ),
        (0, 2, 0)
    );

    let list = admin.page("desa-satu/chats").await;
    assert_has(
        &list,
        &[
            "Rara",
            "+6281290000011",
            "dari satu",
            &format!("/dashboard/t/desa-satu/chats/{id}"),
        ],
    );
    assert_lacks(&list, &["dari dua", "Bima"]);
    let root = Browser::of(&app, "super@kanal.id", Role::Superadmin, None).await;
    assert_has(&root.page(&other).await, &["dari dua"]);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_list_is_filtered_and_searched_and_no_address_says_for_whom() {
    let app = TestApp::spawn().await;
    let desa = app.tenant("desa-satu").await;
    kept(
        &app,
        &desa,
        &named(text(RARA, "3EB0F1", "satu"), "Sekartaji Wulandari"),
    )
    .await;
    kept(&app, &desa, &named(text(BIMA, "3EB0F2", "dua"), "Bima")).await;
    let admin = Browser::admin(&app, "desa-satu").await;
    app.never_log("sekartaji wul");
    for (words, found) in [
        ("sekartaji wul", "Sekartaji"),
        ("0812 9000-0022", "Bima"),
        ("+62812 90000011", "Sekartaji"),
    ] {
        let answer = admin
            .post("desa-satu/chats/search", &[("words", words), ("filter", "all")])
            .await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        assert_has(&answer.text, &[found, &format!("value=\"{words}\"")]);
        assert_lacks(
            &answer.text,
            &[
                if found == "Bima" { "Sekartaji" } else { "Bima" },
                "hx-sse:connect",
            ],
        );
    }
    let nobody = admin
        .post("desa-satu/chats/search", &[("words", "zzz")])
        .await
        .text;
    assert_has(&nobody, &["Nobody found"]);
    // Opening one reads it.
    assert_has(
        &admin.page("desa-satu/chats?filter=unread").await,
        &["Sekartaji", "Bima", "1 unread message"],
    );
    admin.page(&chat_with(&app, "desa-satu", BIMA).await).await;
    let unread = admin.page("desa-satu/chats?filter=unread").await;
    assert_has(&unread, &["Sekartaji"]);
    assert_lacks(&unread, &["Bima"]);
    assert_has(
        &admin.page("desa-satu/chats?filter=taken").await,
        &["Nobody has taken a chat over"],
    );
    let indonesian = Browser {
        language: "id",
        ..admin
    };
    assert_has(
        &indonesian.page("desa-satu/chats").await,
        &["Percakapan", "Belum dibaca", "lang=\"id\""],
    );
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chat_is_taken_over_and_handed_back() {
    let app = TestApp::spawn().await;
    let desa = app.tenant("desa-satu").await;
    kept(&app, &desa, &text(RARA, "3EB0T1", "halo")).await;
    crate::ai_handover::until_handled(&app, "3EB0T1").await;
    let path = chat_with(&app, "desa-satu", RARA).await;
    let admin = Browser::admin(&app, "desa-satu").await;
    assert_has(
        &admin.page(&path).await,
        &["The AI is writing an answer.", "Take over"],
    );
    let taken = admin.post(&format!("{path}/takeover"), &[]).await;
    let shown = location(&taken).strip_prefix("/dashboard/t/").unwrap().to_owned();
    assert_has(
        &admin.page(&shown).await,
        &["You answer here now.", "Taken over", "Rara,", "Hand back"],
    );
    assert_has(
        &admin.page("desa-satu/chats?filter=taken").await,
        &["Taken over", "+6281290000011"],
    );
    kept(&app, &desa, &text(RARA, "3EB0T2", "lagi")).await;
    assert_eq!(
        crate::ai_handover::until_handled(&app, "3EB0T2").await,
        "takeover"
    );
    location(&admin.post(&format!("{path}/hand-back"), &[]).await);
    let page = Browser {
        language: "id",
        ..admin
    }
    .page(&path)
    .await;
    assert_has(&page, &["Ambil alih"]);
    let acts = app
        .rows("SELECT actor, action FROM audit_log WHERE action LIKE 'takeover.%' ORDER BY id")
        .await;
    assert_eq!(
        acts,
        [
            json!({"actor": "user admin@desa-satu.id", "action": "takeover.start"}),
            json!({"actor": "user admin@desa-satu.id", "action": "takeover.end"}),
        ]
    );
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_changes_appears_while_somebody_looks() {
    let app = TestApp::spawn().await;
    let desa = app.tenant("desa-satu").await;
    kept(&app, &desa, &text(RARA, "3EB0V1", "pertama")).await;
    crate::ai_handover::until_handled(&app, "3EB0V1").await;
    let path = chat_with(&app, "desa-satu", RARA).await;
    let admin = Browser::admin(&app, "desa-satu").await;
    let page = admin.page(&path).await;
    let (_, rest) = page.split_once("hx-sse:connect=\"/dashboard/t/").unwrap();
    let live = rest.split('"').next().unwrap().replace("&#38;", "&");
    let mut stream = admin.request(Method::GET, &live).send().await.unwrap();
    assert_eq!(stream.headers()["content-type"], "text/event-stream");
    kept(&app, &desa, &text(RARA, "3EB0V2", "baris\nevent: palsu <b>")).await;
    let mut told = Vec::new();
    let whole = async {
        // A chunk may end in the middle of a letter, and the list may be told of before the chat is.
        let parts = [
            "hx-target=\"#messages\"",
            "hx-target=\"#list\"",
            "data: event: palsu",
        ];
        let is_whole = |told: &[u8]| {
            let text = String::from_utf8_lossy(told);
            parts.iter().all(|part| text.contains(part)) && text.ends_with("\n\n")
        };
        while !is_whole(&told) {
            told.extend_from_slice(&stream.chunk().await.unwrap().unwrap());
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(60), whole)
        .await
        .unwrap();
    let told = String::from_utf8(told).unwrap();
    assert_has(
        &told,
        &[
            "hx-target=\"#messages\"",
            "hx-target=\"#list\"",
            "data: event: palsu &#60;b&#62;",
            "pertama",
        ],
    );
    for line in told.lines() {
        assert!(
            line.is_empty() || line.starts_with("data: ") || line.starts_with(':'),
            "{line:?}"
        );
    }
    // Who looks at it has read it.
    eventually("nothing is unread", || async {
        (app.values("SELECT unread AS value FROM chats").await == [json!(0)]).then_some(())
    })
    .await;
    drop(stream);
    app.finish().await;
}
