//! The pages of a tenant's WhatsApp numbers, as a browser without scripts uses them, and their streams as one with scripts
//! reads them.

use std::time::Duration;

use domain::user::Role;
use reqwest::Method;
use reqwest::redirect::Policy;
use simulator::{FaultSpec, TroubleKind, WaConfigChange};
use test_support::eventually;
use uuid::Uuid;

use crate::harness::{Answer, Maker, TestApp, Wishes, refusal};
use crate::signing_in::bearer_of;

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

    pub(crate) async fn stream(&self, path: &str) -> Stream {
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
    pub(crate) async fn begin(&self, tenant: &str) -> String {
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

pub(crate) fn assert_is_page(answer: &Answer) {
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
pub(crate) struct Stream {
    pub(crate) response: reqwest::Response,
    read: String,
}

#[derive(Debug, PartialEq)]
pub(crate) enum Told {
    Part(String),
    Last,
    End,
}

impl Stream {
    pub(crate) async fn next(&mut self) -> Told {
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
    pub(crate) async fn until(&mut self, words: &str) -> String {
        loop {
            match self.next().await {
                Told::Part(part) if part.contains(words) => return part,
                Told::Part(_) => {}
                end => panic!("{words}: {end:?}"),
            }
        }
    }

    pub(crate) async fn ends(mut self) {
        assert_eq!(self.next().await, Told::Last);
        assert_eq!(self.next().await, Told::End);
    }
}

pub(crate) async fn spawn(settings: &'static [(&'static str, &'static str)]) -> TestApp {
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
pub(crate) async fn session_of(app: &TestApp, at: &str) -> String {
    let id = at.rsplit('/').next().unwrap();
    let names = app
        .values(&format!(
            "SELECT instance_name AS value FROM accounts WHERE id = '{id}'"
        ))
        .await;
    names[0].as_str().unwrap().to_owned()
}

pub(crate) async fn scan(app: &TestApp, at: &str, number: &str) {
    let session = session_of(app, at).await;
    app.simulator
        .scan_qr(&session, Some(format!("{number}:5@s.whatsapp.net")))
        .unwrap();
}

/// A number that a phone is linked with.
pub(crate) async fn connected(visitor: &Visitor<'_>, tenant: &str, number: &str) -> String {
    let at = visitor.begin(tenant).await;
    scan(visitor.app, &at, number).await;
    eventually("it is connected", || async {
        visitor.page(&at).await.contains(">Connected<").then_some(())
    })
    .await;
    at
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

pub(crate) async fn token_of(visitor: &Visitor<'_>, page: &str) -> String {
    let page = visitor.page(page).await;
    let (_, token) = page.split_once("name=\"csrf\" value=\"").unwrap();
    token.split_once('"').unwrap().0.to_owned()
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
