//! The pages of a tenant's WhatsApp numbers, as a browser without scripts uses them, and their streams as one with scripts
//! reads them.

use std::time::Duration;

use domain::user::Role;
use reqwest::Method;
use reqwest::redirect::Policy;
use serde_json::{Value, json};
use simulator::{FaultSpec, GowaConfigChange, TroubleKind, WaConfigChange};
use test_support::{eventually, logs};
use uuid::Uuid;

use crate::harness::{Answer, Maker, TestApp, Wishes, refusal};
use crate::signing_in::bearer_of;
use crate::{cloud_world, gowa_world};

/// Somebody at a browser without scripts.
pub(crate) struct Visitor<'a> {
    app: &'a TestApp,
    http: reqwest::Client,
    pub(crate) cookie: String,
    language: &'static str,
}

impl<'a> Visitor<'a> {
    pub(crate) async fn enter(app: &'a TestApp, role: Role, tenant: Option<&str>) -> Self {
        let email = format!("{}@desa.id", Uuid::now_v7().simple());
        let bearer = bearer_of(app, &email, role, tenant).await;
        let http = reqwest::Client::builder()
            .no_proxy()
            .redirect(Policy::none())
            .build()
            .unwrap();
        Self {
            app,
            http,
            cookie: bearer.replace("Bearer ", "kanal_session="),
            language: "en",
        }
    }

    /// The admin of a tenant that may have this many numbers, and has none.
    pub(crate) async fn admin(app: &'a TestApp, tenant: &str, limit: u32) -> Self {
        app.bare_tenant(tenant).await;
        app.run_sql(&format!(
            "UPDATE {}.tenants SET session_limit = {limit} WHERE tenant_id = '{tenant}'",
            app.database.names.schema
        ))
        .await;
        Self::enter(app, Role::TenantAdmin, Some(tenant)).await
    }

    /// The same person, reading Indonesian.
    pub(crate) fn in_indonesian(&self) -> Self {
        Self {
            app: self.app,
            http: self.http.clone(),
            cookie: self.cookie.clone(),
            language: "id",
        }
    }

    fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.http
            .request(method, format!("{}{path}", self.app.url))
            .header("cookie", &self.cookie)
            .header("accept-language", self.language)
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        Answer::of(self.request(Method::GET, path).send().await.unwrap()).await
    }

    /// A page, with what every page has to be.
    pub(crate) async fn page(&self, path: &str) -> String {
        let answer = self.get(path).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text);
        assert_is_page(&answer);
        answer.text
    }

    /// What a form of the page sends, with the token that the page holds.
    pub(crate) async fn post(&self, page: &str, path: &str, fields: &[(&str, &str)]) -> Answer {
        let page = self.page(page).await;
        let (_, token) = page.split_once("name=\"csrf\" value=\"").unwrap();
        let (token, _) = token.split_once('"').unwrap();
        self.post_with(path, Some(token), fields).await
    }

    pub(crate) async fn post_with(&self, path: &str, token: Option<&str>, fields: &[(&str, &str)]) -> Answer {
        let body = form_urlencoded::Serializer::new(String::new())
            .extend_pairs(token.map(|token| ("csrf", token)))
            .extend_pairs(fields)
            .finish();
        let request = self
            .request(Method::POST, path)
            .header("content-type", "application/x-www-form-urlencoded")
            .body(body);
        Answer::of(request.send().await.unwrap()).await
    }

    /// As [`Self::post`], to where the browser goes then.
    pub(crate) async fn post_and_go(&self, page: &str, path: &str, fields: &[(&str, &str)]) -> String {
        goes_to(&self.post(page, path, fields).await)
    }

    async fn stream(&self, path: &str) -> Stream {
        let response = self
            .request(Method::GET, path)
            .header("hx-request", "true")
            .send()
            .await
            .unwrap();
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        assert_eq!(response.headers()["cache-control"], "no-store");
        Stream {
            response,
            read: String::new(),
        }
    }

    /// Adds a number by the button of the empty page. Returns where it is.
    async fn begin(&self, tenant: &str) -> String {
        let base = format!("/dashboard/t/{tenant}/device");
        let link = self.post_and_go(&base, &format!("{base}/add"), &[]).await;
        link.strip_suffix("/link").unwrap().to_owned()
    }
}

/// Where a browser goes after a form.
pub(crate) fn goes_to(answer: &Answer) -> String {
    assert_eq!(answer.status, 303, "{}", answer.text);
    answer.headers["location"].to_str().unwrap().to_owned()
}

fn assert_is_page(answer: &Answer) {
    let policy = answer.headers["content-security-policy"].to_str().unwrap();
    assert!(policy.contains("script-src 'self'"), "{policy}");
    assert_eq!(answer.headers["cache-control"], "no-store");
    let html = &answer.text;
    for inline in ["style=\"", " onclick", " onload", "<style", "javascript:"] {
        assert!(!html.contains(inline), "{inline}");
    }
    assert_eq!(html.matches("<h1").count(), 1);
}

/// A stream of pieces of a page.
struct Stream {
    response: reqwest::Response,
    read: String,
}

#[derive(Debug, PartialEq)]
enum Told {
    Part(String),
    Last,
    End,
}

impl Stream {
    async fn next(&mut self) -> Told {
        loop {
            if let Some((block, rest)) = self.read.split_once("\n\n") {
                let (block, rest) = (block.to_owned(), rest.to_owned());
                self.read = rest;
                if block.starts_with(':') {
                    continue;
                }
                if block.starts_with("event: last\n") {
                    return Told::Last;
                }
                let lines = block.lines().map(|line| line.strip_prefix("data: ").unwrap());
                return Told::Part(lines.collect::<Vec<_>>().join("\n"));
            }
            let chunk = tokio::time::timeout(Duration::from_secs(60), self.response.chunk());
            match chunk.await.unwrap().unwrap() {
                Some(chunk) => self.read.push_str(std::str::from_utf8(&chunk).unwrap()),
                None => return Told::End,
            }
        }
    }

    /// The next piece that holds this.
    async fn until(&mut self, words: &str) -> String {
        loop {
            match self.next().await {
                Told::Part(part) if part.contains(words) => return part,
                Told::Part(_) => {}
                end => panic!("{words}: {end:?}"),
            }
        }
    }

    async fn ends(mut self) {
        assert_eq!(self.next().await, Told::Last);
        assert_eq!(self.next().await, Told::End);
    }
}

async fn spawn(settings: &'static [(&'static str, &'static str)]) -> TestApp {
    let app = TestApp::with(Wishes {
        maker: Maker::Server,
        events_come_here: true,
        settings,
        ..Wishes::default()
    })
    .await;
    app.simulator.configure_wa(WaConfigChange {
        auto_login: Some(false),
        ..WaConfigChange::default()
    });
    app
}

/// What the session of the device at this address is called at its server.
async fn session_of(app: &TestApp, at: &str) -> String {
    let id = at.rsplit('/').next().unwrap();
    let names = app
        .values(&format!(
            "SELECT instance_name AS value FROM accounts WHERE id = '{id}'"
        ))
        .await;
    names[0].as_str().unwrap().to_owned()
}

async fn scan(app: &TestApp, at: &str, number: &str) {
    let session = session_of(app, at).await;
    app.simulator
        .scan_qr(&session, Some(format!("{number}:5@s.whatsapp.net")))
        .unwrap();
}

/// A number that a phone is linked with.
async fn connected(visitor: &Visitor<'_>, tenant: &str, number: &str) -> String {
    let at = visitor.begin(tenant).await;
    scan(visitor.app, &at, number).await;
    eventually("it is connected", || async {
        visitor.page(&at).await.contains(">Connected<").then_some(())
    })
    .await;
    at
}

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
async fn what_is_ended_is_told_before_and_after() {
    let app = spawn(&[]).await;
    let admin = Visitor::admin(&app, "desa-satu", 1).await;
    let at = connected(&admin, "desa-satu", "6281200000003").await;
    let mut stream = admin.stream(&format!("{at}/live")).await;
    stream.until(">Connected<").await;

    let ask = format!("{at}/disconnect");
    let question = admin.page(&ask).await;
    assert!(question.contains("The phone stays linked") && question.contains("Leave everything as it is"));
    assert!(
        admin
            .in_indonesian()
            .page(&ask)
            .await
            .contains("Putuskan nomor ini?")
    );
    let to = admin.post_and_go(&ask, &ask, &[]).await;
    let page = admin.page(&to).await;
    assert!(page.contains("It is disconnected"), "{page}");
    assert!(page.contains("Somebody has disconnected this number"), "{page}");
    stream.until("Connect again").await;
    let to = admin.post_and_go(&at, &format!("{at}/connect"), &[]).await;
    assert!(to.starts_with(&at) && !to.ends_with("/link"), "{to}");
    stream.until(">Connected<").await;

    // The phone unlinks it: only linking it anew helps, and that leads to the code.
    let session = session_of(&app, &at).await;
    app.simulator.trouble(&session, TroubleKind::Unlinked).unwrap();
    stream.until("Link the phone again").await;
    let to = admin.post_and_go(&at, &format!("{at}/connect"), &[]).await;
    assert_eq!(to, format!("{at}/link"));
    scan(&app, &at, "6281200000003").await;
    stream.until(">Connected<").await;

    let ask = format!("{at}/logout");
    assert!(admin.page(&ask).await.contains("All chats are kept"));
    let page = admin.page(&admin.post_and_go(&ask, &ask, &[]).await).await;
    assert!(page.contains("The phone is unlinked"), "{page}");

    let ask = format!("{at}/delete");
    assert!(admin.page(&ask).await.contains("Its chats can still be read"));
    let page = admin.page(&admin.post_and_go(&ask, &ask, &[]).await).await;
    assert!(page.contains("The number is deleted"), "{page}");
    assert!(page.contains("No WhatsApp number is connected yet"), "{page}");
    stream.until("This number is deleted").await;
    stream.ends().await;
    assert_eq!(admin.get(&at).await.status, 404);
    let acts = app
        .values("SELECT action AS value FROM audit_log WHERE actor LIKE 'user %' ORDER BY id")
        .await;
    assert_eq!(
        acts,
        [
            "session.create",
            "session.disconnect",
            "session.connect",
            "session.connect",
            "session.logout",
            "device.remove",
            "session.delete"
        ]
    );
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_see_and_change_nothing() {
    let app = spawn(&[]).await;
    let owner = Visitor::admin(&app, "desa-satu", 2).await;
    let other = Visitor::admin(&app, "desa-dua", 2).await;
    let at = owner.begin("desa-satu").await;
    let id = at.rsplit('/').next().unwrap();
    let pages = [
        "",
        "/link",
        "/code",
        "/live",
        "/link/live",
        "/disconnect",
        "/logout",
        "/delete",
        "/duplicate",
    ];
    let forms = [
        "/code",
        "/name",
        "/connect",
        "/disconnect",
        "/logout",
        "/delete",
        "/duplicate",
    ];
    let before = app.rows("SELECT * FROM audit_log ORDER BY id").await;
    // Under the owner's address, under their own, and what is no id.
    let base = "/dashboard/t/desa-dua/device";
    let token = token_of(&other, &format!("{base}/add")).await;
    for place in [at.clone(), format!("{base}/{id}"), format!("{base}/bukan-id")] {
        for page in pages {
            let answer = other.get(&format!("{place}{page}")).await;
            assert_eq!(answer.status, 404, "{place}{page}");
        }
        for form in forms {
            let path = format!("{place}{form}");
            let answer = other
                .post_with(
                    &path,
                    Some(&token),
                    &[("phone", "6281200000009"), ("name", "Punya kami")],
                )
                .await;
            assert_eq!(answer.status, 404, "{path}");
        }
    }
    for path in ["", "/add"] {
        assert_eq!(
            other
                .get(&format!("/dashboard/t/desa-satu/device{path}"))
                .await
                .status,
            404
        );
    }
    // Without a session, and without the token of forms.
    let nobody = Visitor {
        cookie: "kanal_session=0".to_owned(),
        ..owner.in_indonesian()
    };
    for page in pages.into_iter().filter(|page| !page.ends_with("/live")) {
        let answer = nobody.get(&format!("{at}{page}")).await;
        assert!(goes_to(&answer).starts_with("/login"), "{page}");
    }
    for form in forms {
        let path = format!("{at}{form}");
        assert!(goes_to(&nobody.post_with(&path, None, &[]).await).starts_with("/login"));
        assert_eq!(owner.post_with(&path, None, &[]).await.status, 403, "{path}");
        assert_eq!(
            owner.post_with(&path, Some(&token), &[]).await.status,
            403,
            "{path}"
        );
    }
    assert_eq!(app.rows("SELECT * FROM audit_log ORDER BY id").await, before);
    // Whose session has ended learns it in the page, and the page does not come again.
    for live in ["/live", "/link/live"] {
        let mut stream = nobody.stream(&format!("{at}{live}")).await;
        stream.until("/login").await;
        stream.ends().await;
    }
    app.finish().await;
}

async fn token_of(visitor: &Visitor<'_>, page: &str) -> String {
    let page = visitor.page(page).await;
    let (_, token) = page.split_once("name=\"csrf\" value=\"").unwrap();
    token.split_once('"').unwrap().0.to_owned()
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
async fn a_number_that_is_held_twice_is_ended_elsewhere_without_a_name() {
    let app = spawn(&[]).await;
    let first = Visitor::admin(&app, "desa-satu", 1).await;
    let second = Visitor::admin(&app, "desa-dua", 1).await;
    let theirs = connected(&first, "desa-satu", "6281200000005").await;
    let ours = connected(&second, "desa-dua", "6281200000005").await;
    let page = second.page(&ours).await;
    assert!(page.contains("also connected somewhere else"), "{page}");
    assert!(
        second
            .in_indonesian()
            .page(&ours)
            .await
            .contains("juga terhubung di tempat lain")
    );
    let ask = format!("{ours}/duplicate");
    let question = second.page(&ask).await;
    assert!(question.contains("End the other connection") && question.contains("Unlink it here"));
    for page in [&page, &question] {
        assert!(!page.contains("desa-satu"), "{page}");
    }
    let page = second.page(&second.post_and_go(&ask, &ask, &[]).await).await;
    assert!(
        page.contains("was ended") && !page.contains("somewhere else"),
        "{page}"
    );
    let page = first.page("/dashboard/t/desa-satu/device").await;
    assert!(page.contains("No WhatsApp number is connected yet"), "{page}");
    assert!(!page.contains("desa-dua"), "{page}");
    assert_eq!(first.get(&theirs).await.status, 404);
    assert_eq!(app.simulator.wa_users().len(), 1);
    let acts = app
        .rows(
            "SELECT tenant_id, action, actor LIKE 'user %' AS by_user, \
                    (actor || coalesce(detail, '') || coalesce(subject, '')) LIKE '%desa-dua%' AS names_us \
             FROM audit_log WHERE action LIKE 'session.force%' ORDER BY tenant_id",
        )
        .await;
    assert_eq!(
        acts,
        [
            json!({"tenant_id": "desa-dua", "action": "session.force_disconnect", "by_user": true, "names_us": true}),
            json!({"tenant_id": "desa-satu", "action": "session.force_delete", "by_user": false, "names_us": false}),
        ]
    );
    // A second time there is nobody; and a device that is not connected proves nothing.
    let late = second.post(&ask, &ask, &[]).await;
    assert_eq!(late.status, 409);
    assert!(
        late.text.contains("Nobody else holds this number"),
        "{}",
        late.text
    );
    let third = connected(&first, "desa-satu", "6281200000005").await;
    let out = format!("{ours}/logout");
    second.post_and_go(&out, &out, &[]).await;
    let refused = second.post(&ask, &ask, &[]).await;
    assert_eq!(refused.status, 409, "{}", refused.text);
    assert!(
        refused.text.contains("connected here at this moment"),
        "{}",
        refused.text
    );
    assert!(first.page(&third).await.contains(">Connected<"));
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_numbers_have_names_and_a_limit() {
    let app = spawn(&[]).await;
    let admin = Visitor::admin(&app, "desa-satu", 2).await;
    let base = "/dashboard/t/desa-satu/device";
    let add = format!("{base}/add");
    let long = "x".repeat(101);
    let wrong = admin.post(&add, &add, &[("name", &long)]).await;
    assert_eq!(wrong.status, 400);
    assert!(
        wrong.text.contains(&long) && wrong.text.contains("e-name"),
        "{}",
        wrong.text
    );
    let hostile = "<script>alert(1)</script>";
    let link = admin.post_and_go(&add, &add, &[("name", hostile)]).await;
    let at = link.strip_suffix("/link").unwrap();
    for path in [base, at, &link, &format!("{at}/delete"), &format!("{at}/code")] {
        let page = admin.page(path).await;
        assert!(!page.contains(hostile), "{path}");
        assert!(
            path.ends_with("/code") || page.contains("&#60;script&#62;"),
            "{path}: {page}"
        );
    }
    let rename = format!("{at}/name");
    assert_eq!(admin.post(at, &rename, &[("name", " ")]).await.status, 400);
    let page = admin
        .page(&admin.post_and_go(at, &rename, &[("name", "Balai Desa")]).await)
        .await;
    assert!(
        page.contains("Balai Desa") && page.contains("It has its new name"),
        "{page}"
    );
    let page = admin.page(base).await;
    assert!(page.contains("1 of 2") && page.contains("Add a number"), "{page}");
    admin.post_and_go(&add, &add, &[("name", "Kantor")]).await;
    let page = admin.page(base).await;
    assert!(page.contains("Kantor") && page.contains("Balai Desa"), "{page}");
    assert!(
        !page.contains(">Add a number<") && page.contains("No further number"),
        "{page}"
    );
    let full = admin.post(&add, &add, &[]).await;
    assert_eq!(full.status, 409);
    assert!(
        full.text.contains("as many numbers as you may have"),
        "{}",
        full.text
    );

    // The server is away: nothing is claimed to be down.
    app.simulator
        .add_fault(FaultSpec::on_path(
            "/wa/session/status",
            refusal(503, "away", None),
        ))
        .unwrap();
    eventually("nobody knows where it stands", || async {
        let page = admin.page(at).await;
        (page.contains("Not known right now") && page.contains("does not answer")).then_some(())
    })
    .await;
    assert!(admin.in_indonesian().page(at).await.contains("Belum diketahui"));
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
