//! The dashboard's pages of chats, as a browser without scripts uses them: the list and its search, a thread of every kind of
//! message, answers with words and files, taking over, and what changes while somebody looks.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use channel_service::flows::sign_in::SessionSecret;
use domain::user::Role;
use reqwest::Method;
use serde_json::{Value, json};
use test_support::eventually;

use crate::cloud_world;
use crate::harness::{Answer, Tenant, TestApp, message, receipt, refusal, text};
use crate::media::{jpeg, with_inline};
use crate::signing_in::bearer_of;

const RARA: &str = "6281290000011";
const BIMA: &str = "6281290000022";

/// Somebody with a browser.
struct Browser<'a> {
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

    async fn admin(app: &'a TestApp, tenant: &str) -> Self {
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

    async fn get(&self, path: &str) -> Answer {
        Answer::of(self.request(Method::GET, path).send().await.unwrap()).await
    }

    async fn page(&self, path: &str) -> String {
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
    async fn send(&self, chat: &str, key: &str, words: &str, to: &str, file: Option<Part<'_>>) -> Answer {
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

fn location(answer: &Answer) -> &str {
    assert_eq!(answer.status, 303, "{}", answer.text);
    answer.headers["location"].to_str().unwrap()
}

/// The path of the chat with this person, below `/dashboard/t/`.
async fn chat_with(app: &TestApp, tenant: &str, phone: &str) -> String {
    let query = format!("SELECT id AS value FROM chats WHERE tenant_id = '{tenant}' AND phone = '{phone}'");
    let id = app.values(&query).await.remove(0);
    format!("{tenant}/chats/{}", id.as_str().unwrap())
}

async fn id_of(app: &TestApp, provider_id: &str) -> String {
    let query = format!("SELECT id AS value FROM messages WHERE provider_message_id = '{provider_id}'");
    app.values(&query).await.remove(0).as_str().unwrap().to_owned()
}

async fn kept(app: &TestApp, tenant: &Tenant, event: &Value) {
    app.post(&tenant.json(event)).await.assert_kept();
}

fn named(mut event: Value, name: &str) -> Value {
    event["event"]["Info"]["PushName"] = json!(name);
    event
}

fn assert_has(page: &str, parts: &[&str]) {
    for part in parts {
        assert!(page.contains(part), "{part:?} is missing in {page}");
    }
}

fn assert_lacks(page: &str, parts: &[&str]) {
    for part in parts {
        assert!(!page.contains(part), "{part:?} is in {page}");
    }
}

fn title(page: &str) -> &str {
    let (_, rest) = page.split_once("<title>").unwrap();
    rest.split_once("</title>").unwrap().0
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
async fn what_people_write_is_shown_as_they_wrote_it_and_nothing_of_it_runs() {
    let app = TestApp::spawn().await;
    let desa = app.tenant("desa-satu").await;
    let evil = "</p><script>alert(1)</script>";
    let shown = "&#60;script&#62;alert(1)&#60;/script&#62;";
    kept(
        &app,
        &desa,
        &named(
            text(RARA, "3EB0X1", &format!("teks {evil}")),
            &format!("Rara {evil}"),
        ),
    )
    .await;
    let document = json!({"documentMessage": {"mimetype": "application/pdf", "fileName": format!("{evil}.pdf"),
                          "caption": format!("keterangan {evil}")}});
    let mut document = message(RARA, "3EB0X2", &document);
    document["base64"] = json!(BASE64.encode(b"%PDF-1.7\n%%EOF"));
    document["mimeType"] = json!("application/pdf");
    kept(&app, &desa, &document).await;
    let path = chat_with(&app, "desa-satu", RARA).await;
    let admin = Browser::admin(&app, "desa-satu").await;
    for page in [admin.page(&path).await, admin.page("desa-satu/chats").await] {
        assert_lacks(&page, &["<script>alert"]);
        assert_has(&page, &[shown]);
        assert_lacks(title(&page), &["Rara", "teks", "62812"]);
    }
    let answer = admin.get(&path).await;
    let policy = answer.headers["content-security-policy"].to_str().unwrap();
    assert!(
        policy.contains("script-src 'self';") && policy.contains("default-src 'none'"),
        "{policy}"
    );
    assert_eq!(answer.headers["cache-control"], "no-store");
    // What was not taken comes back as it was written.
    let back = admin
        .send(&path, "", &format!("</textarea>{evil}"), "", None)
        .await;
    assert_lacks(&back.text, &["<script>alert", "</textarea></p>"]);
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
async fn every_kind_of_message_can_be_read() {
    let app = TestApp::spawn().await;
    let desa = app.tenant("desa-satu").await;
    let admin = Browser::admin(&app, "desa-satu").await;
    let at = std::cell::Cell::new(1_770_000_000_i64);
    let said = |id: &str, content: Value| {
        at.set(at.get() + 60);
        let mut event = message(RARA, id, &content);
        let time = chrono::DateTime::from_timestamp(at.get(), 0).unwrap();
        event["event"]["Info"]["Timestamp"] = json!(time.to_rfc3339());
        event
    };
    kept(
        &app,
        &desa,
        &said("3EB0K1", json!({"conversation": "pertanyaan pertama"})),
    )
    .await;
    let picture = json!({"imageMessage": {"mimetype": "image/jpeg", "caption": "jalan rusak"}});
    kept(&app, &desa, &with_inline(said("3EB0K2", picture), &jpeg(400))).await;
    let nothing = json!({"imageMessage": {"mimetype": "image/jpeg"}});
    kept(&app, &desa, &said("3EB0KN", nothing)).await;
    let program = json!({"documentMessage": {"mimetype": "application/pdf", "fileName": "tagihan.pdf"}});
    let mut program = said("3EB0K3", program);
    program["base64"] = json!(BASE64.encode(b"MZ\x90\0\x03\0\0\0\x04\0\0\0\xff\xff\0\0\xb8\0\0\0\0\0\0\0"));
    kept(&app, &desa, &program).await;
    let place = json!({"locationMessage": {"degreesLatitude": -5.1477, "degreesLongitude": 119.4327, "name": "Balai Desa"}});
    kept(&app, &desa, &said("3EB0K4", place)).await;
    let card = "BEGIN:VCARD\nVERSION:3.0\nFN:Pak Lurah\nTEL;type=CELL:+62 813-1111-2222\nEND:VCARD";
    let card = json!({"contactMessage": {"displayName": "Pak Lurah", "vcard": card}});
    kept(&app, &desa, &said("3EB0K5", card)).await;
    let poll = json!({"pollCreationMessage": {"name": "Kapan rapat?", "selectableOptionsCount": 1,
                      "options": [{"optionName": "Sabtu"}, {"optionName": "Minggu"}]}});
    kept(&app, &desa, &said("3EB0K6", poll)).await;
    let answer = json!({"extendedTextMessage": {"text": "jawaban", "contextInfo": {"stanzaId": "3EB0K1",
                        "participant": format!("{RARA}@s.whatsapp.net"), "quotedMessage": {"conversation": "x"}}}});
    kept(&app, &desa, &said("3EB0K7", answer)).await;
    let reaction = json!({"reactionMessage": {"key": {"ID": "3EB0K1"}, "text": "👍"}});
    kept(&app, &desa, &said("3EB0K8", reaction)).await;
    let edit = json!({"protocolMessage": {"key": {"ID": "3EB0K7"}, "type": 14,
                      "editedMessage": {"conversation": "jawaban yang diubah"}}});
    kept(&app, &desa, &said("3EB0K9", edit)).await;
    kept(
        &app,
        &desa,
        &said("3EB0KA", json!({"conversation": "akan dihapus"})),
    )
    .await;
    kept(
        &app,
        &desa,
        &said(
            "3EB0KB",
            json!({"protocolMessage": {"key": {"ID": "3EB0KA"}, "type": 0}}),
        ),
    )
    .await;
    kept(
        &app,
        &desa,
        &said("3EB0KC", json!({"conversation": "x".repeat(4_000)})),
    )
    .await;
    let first = id_of(&app, "3EB0K1").await;

    let path = chat_with(&app, "desa-satu", RARA).await;
    let page = admin.page(&path).await;
    assert_has(
        &page,
        &[
            "pertanyaan pertama",
            "<img src=\"/uploads/media/",
            "loading=\"lazy\"",
            "jalan rusak",
            "tagihan.pdf",
            "not handed out: it is a program",
            "The message brought no file.",
            "Balai Desa",
            "-5.14770, 119.43270",
            "class=\"sketch\"",
            "Pak Lurah",
            "+62 813-1111-2222",
            "Kapan rapat?",
            "Minggu",
            &format!("href=\"#m-{first}\""),
            "👍",
            "jawaban yang diubah",
            "edited",
            "This message was deleted",
            "Show all of it",
            "2 Feb 2026",
        ],
    );
    assert_lacks(&page, &["akan dihapus", "files.example", &"x".repeat(3_100)]);
    // Edits, deletions and reactions are seen on what they are about, and nowhere else.
    assert_eq!(page.matches("<article").count(), 10);
    let (_, rest) = page.split_once("<img src=\"").unwrap();
    let link = rest.split('"').next().unwrap();
    let file = app.http().get(format!("{}{link}", app.url)).send().await.unwrap();
    assert_eq!(
        (
            file.status().as_u16(),
            file.headers()["content-type"].to_str().unwrap()
        ),
        (200, "image/jpeg")
    );
    let long = id_of(&app, "3EB0KC").await;
    let whole = admin.page(&format!("{path}?with={long}&whole={long}")).await;
    assert_has(&whole, &[&"x".repeat(4_000), "To the newest messages"]);
    let early = admin.page(&format!("{path}?with={first}")).await;
    assert_eq!(early.matches("<article").count(), 1);
    assert_lacks(&early, &["hx-sse:connect"]);
    assert_eq!(
        admin
            .get(&format!("{path}?before={}", uuid::Uuid::now_v7()))
            .await
            .status,
        404
    );
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_chat_is_read_backwards_page_by_page() {
    let app = TestApp::spawn().await;
    let desa = app.tenant("desa-satu").await;
    kept(&app, &desa, &text(RARA, "3EB0B1", "yang terbaru")).await;
    let path = chat_with(&app, "desa-satu", RARA).await;
    let chat = path.rsplit('/').next().unwrap();
    app.run_sql(&format!(
        "INSERT INTO messages (tenant_id, id, account_id, chat_id, direction, source, provider_message_id, kind, body, \
                               content, sent_at, status) \
         SELECT 'desa-satu', gen_random_uuid(), '{account}', '{chat}', 'inbound', 'webhook', 'OLD' || n, 'text', \
                'pesan ' || n || '.', json_build_object('kind', 'text', 'text', 'pesan ' || n || '.')::text, \
                now() - interval '1 day' - (n / 3) * interval '1 minute', 'delivered' FROM generate_series(1, 120) n",
        account = desa.account
    ))
    .await;
    let admin = Browser::admin(&app, "desa-satu").await;
    let (mut seen, mut at) = (0, path.clone());
    for _ in 0..3 {
        let page = admin.page(&at).await;
        seen += page.matches("<article").count();
        let Some((_, rest)) = page.split_once("?before=") else {
            break;
        };
        at = format!("{path}?before={}", &rest[..36]);
    }
    assert_eq!(seen, 121);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_goes_out_once_and_shows_what_becomes_of_it() {
    let app = TestApp::spawn().await;
    let desa = app.tenant("desa-satu").await;
    kept(&app, &desa, &text(RARA, "3EB0S1", "kapan buka?")).await;
    let path = chat_with(&app, "desa-satu", RARA).await;
    let admin = Browser::admin(&app, "desa-satu").await;
    let asked = id_of(&app, "3EB0S1").await;
    assert_has(
        &admin.page(&format!("{path}?answer={asked}")).await,
        &["You answer", "autofocus"],
    );
    for _ in 0..2 {
        let answer = admin
            .send(&path, "form-1", "Jam delapan\r\npagi", &asked, None)
            .await;
        assert_eq!(location(&answer), format!("/dashboard/t/{path}"));
    }
    eventually("the answer is on the phone", || async {
        (app.texts_on(RARA) == ["Jam delapan\npagi"]).then_some(())
    })
    .await;
    assert_eq!(
        app.values("SELECT quoted AS value FROM messages WHERE direction = 'outbound'")
            .await,
        [json!("3EB0S1")]
    );
    let page = eventually("it is shown as sent", || async {
        let page = admin.page(&path).await;
        page.contains(">Sent</a>").then_some(page)
    })
    .await;
    let mine = app
        .rows("SELECT id, provider_message_id FROM messages WHERE direction = 'outbound'")
        .await
        .remove(0);
    assert_has(
        &page,
        &[
            "Jam delapan\npagi",
            "Dashboard",
            &format!("/dashboard/t/desa-satu/messages/{}", mine["id"].as_str().unwrap()),
        ],
    );
    let read = receipt(RARA, &[mine["provider_message_id"].as_str().unwrap()], "Read");
    assert_eq!(app.post(&desa.json(&read)).await.status, 200);
    eventually("it is shown as read", || async {
        admin.page(&path).await.contains(">Read</a>").then_some(())
    })
    .await;

    // The same form with other words is not taken for the first, and not lost.
    let other = admin.send(&path, "form-1", "Jam sembilan", "", None).await;
    assert_eq!(other.status, 409);
    assert_has(&other.text, &["Jam sembilan</textarea>", "sent before"]);
    let nothing = admin.send(&path, "form-2", " \r\n ", "", None).await;
    assert_eq!(nothing.status, 422);
    assert_has(&nothing.text, &["Write something, or choose a file."]);
    let endless = admin.send(&path, "form-3", &"a".repeat(70_000), "", None).await;
    assert_eq!(endless.status, 422);
    assert_has(&endless.text, &["at most 65,536 characters", &"a".repeat(60_000)]);

    app.sends_fail(refusal(400, "no such number", None), 50);
    location(&admin.send(&path, "form-4", "tidak sampai", "", None).await);
    eventually("it is shown as not sent, with the reason", || async {
        let page = admin.page(&path).await;
        (page.contains("Not sent") && page.contains("tidak sampai")).then_some(())
    })
    .await;
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_goes_out_once_and_is_seen_in_the_thread() {
    let app = TestApp::spawn().await;
    let desa = app.tenant("desa-satu").await;
    kept(&app, &desa, &text(RARA, "3EB0D1", "kirim fotonya")).await;
    let path = chat_with(&app, "desa-satu", RARA).await;
    let admin = Browser::admin(&app, "desa-satu").await;
    let bytes = jpeg(2_000);
    let file = Some(("foto <1>.jpg", "image/jpeg", bytes.as_slice()));
    for _ in 0..2 {
        location(&admin.send(&path, "form-1", "ini fotonya", "", file).await);
    }
    let got = eventually("the picture is on the phone", || async {
        let mut got = app.simulator.phone(RARA);
        got.pop()
    })
    .await;
    assert_eq!(got.kind, "image");
    assert_eq!(app.count("messages").await, 2);
    assert_eq!(app.count("gate_media").await, 1);
    let page = admin.page(&path).await;
    assert_has(&page, &["<img src=\"/uploads/media/", "ini fotonya"]);
    let (_, rest) = page.split_once("<img src=\"").unwrap();
    let link = rest.split('"').next().unwrap();
    let shown = app.http().get(format!("{}{link}", app.url)).send().await.unwrap();
    assert_eq!(shown.bytes().await.unwrap(), bytes);
    // Another file in the same form is another message.
    let other = jpeg(3_000);
    let file = Some(("foto.jpg", "image/jpeg", other.as_slice()));
    location(&admin.send(&path, "form-1", "ini fotonya", "", file).await);
    assert_eq!(app.count("messages").await, 3);

    for (name, kind, bytes, status, words) in [
        (
            "besar.jpg",
            "image/jpeg",
            jpeg(5_000_001),
            413,
            "takes at most 5.0 MB",
        ),
        (
            "kosong.pdf",
            "application/pdf",
            Vec::new(),
            422,
            "The file is empty",
        ),
        (
            "a.pdf",
            "application/pdf",
            b"MZ\x90\0\x03\0\0\0\x04\0\0\0\xff\xff\0\0\xb8\0\0\0\0\0\0\0".to_vec(),
            422,
            "it is a program",
        ),
    ] {
        let answer = admin
            .send(
                &path,
                "form-2",
                "kata-kataku",
                "",
                Some((name, kind, bytes.as_slice())),
            )
            .await;
        assert_eq!(answer.status, status, "{name}");
        assert_has(&answer.text, &[words, "kata-kataku</textarea>"]);
    }
    assert_eq!(app.count("messages").await, 3);
    // Long afterwards the file is gone, and its message is not.
    app.run_sql("UPDATE gate_media SET expires_at = now() - interval '1 hour'")
        .await;
    assert_has(
        &admin.page(&path).await,
        &["not kept here (any more)", "ini fotonya"],
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_closed_window_is_explained_before_and_after() {
    let app = cloud_world::spawn().await;
    let number = cloud_world::number(&app, "desa-satu", "Meta", cloud_world::SATU).await;
    let long_ago = cloud_world::now() - 26 * 3_600;
    let words = cloud_world::text_at(RARA, &cloud_world::wamid(), long_ago, "halo");
    cloud_world::accepted(&app, &number.texts(&[words])).await;
    let path = chat_with(&app, "desa-satu", RARA).await;
    let admin = Browser::admin(&app, "desa-satu").await;
    assert_has(
        &admin.page(&path).await,
        &["within the last 24 hours", "id=\"answer\""],
    );
    let late = admin.send(&path, "form-1", "masih di sana?", "", None).await;
    assert_eq!(late.status, 409);
    assert_has(&late.text, &["send a template", "masih di sana?</textarea>"]);
    let words = cloud_world::text(RARA, &cloud_world::wamid(), "masih");
    cloud_world::accepted(&app, &number.texts(&[words])).await;
    assert_has(
        &admin.page(&path).await,
        &["WhatsApp lets you write freely here until"],
    );
    location(&admin.send(&path, "form-1", "masih di sana?", "", None).await);
    app.finish().await;
}
