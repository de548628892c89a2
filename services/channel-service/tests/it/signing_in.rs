//! People sign in to the dashboard, prove who they are, and are signed out.

use channel_service::flows::user;
use domain::ids::TenantId;
use domain::user::{EmailAddress, Role};
use reqwest::Method;
use secrecy::SecretString;
use serde_json::{Value, json};
use test_support::logs;

use crate::harness::{Answer, TestApp, Wishes};

const PASSWORD: &str = "kata sandi yang panjang";

pub(crate) async fn person(app: &TestApp, email: &str, role: Role, tenant: Option<&str>) {
    let email = EmailAddress::parse(email).unwrap();
    let tenant = tenant.map(|id| TenantId::parse(id).unwrap());
    user::create(
        &app.direct,
        &email,
        Some("Rara"),
        role,
        tenant,
        &SecretString::from(PASSWORD),
    )
    .await
    .unwrap();
}

/// Signs a new user in; what comes back goes into the header `authorization`.
pub(crate) async fn bearer_of(app: &TestApp, email: &str, role: Role, tenant: Option<&str>) -> String {
    person(app, email, role, tenant).await;
    Session::of(&log_in(app, email, PASSWORD).await).bearer
}

/// A request to the dashboard's API with these headers.
pub(crate) async fn ask(
    app: &TestApp,
    method: Method,
    path: &str,
    headers: &[(&str, &str)],
    body: Option<Value>,
) -> Answer {
    let mut request = app.http().request(method, format!("{}/api{path}", app.url));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    if let Some(body) = body {
        request = request.json(&body);
    }
    Answer::of(request.send().await.unwrap()).await
}

async fn log_in(app: &TestApp, email: &str, password: &str) -> Answer {
    ask(
        app,
        Method::POST,
        "/auth/login",
        &[],
        Some(json!({"email": email, "password": password})),
    )
    .await
}

struct Session {
    cookie: String,
    bearer: String,
    csrf: String,
}

impl Session {
    fn of(answer: &Answer) -> Self {
        assert_eq!(answer.status, 200, "{}", answer.text);
        let cookie = answer.headers["set-cookie"].to_str().unwrap().to_owned();
        let data = answer.json()["data"].take();
        Self {
            cookie: cookie.split(';').next().unwrap().to_owned(),
            bearer: format!("Bearer {}", data["token"].as_str().unwrap()),
            csrf: data["csrf_token"].as_str().unwrap().to_owned(),
        }
    }

    async fn is_good(&self, app: &TestApp) -> bool {
        let by_cookie = ask(app, Method::GET, "/auth/me", &[("cookie", &self.cookie)], None).await;
        let by_bearer = ask(
            app,
            Method::GET,
            "/auth/me",
            &[("authorization", &self.bearer)],
            None,
        )
        .await;
        assert_eq!(by_cookie.status, by_bearer.status);
        by_cookie.status == 200
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn somebody_signs_in_is_known_and_signs_out() {
    let app = TestApp::spawn().await;
    app.bare_tenant("desa-satu").await;
    person(&app, "rara@desa.id", Role::TenantAdmin, Some("desa-satu")).await;

    let answer = log_in(&app, " Rara@Desa.id ", PASSWORD).await;
    let cookie = answer.headers["set-cookie"].to_str().unwrap().to_owned();
    for part in ["HttpOnly", "SameSite=Strict", "Secure", "Path=/", "Max-Age="] {
        assert!(cookie.contains(part), "{cookie}");
    }
    let session = Session::of(&answer);
    let me = ask(
        &app,
        Method::GET,
        "/auth/me",
        &[("cookie", &session.cookie)],
        None,
    )
    .await
    .json();
    assert_eq!(
        (
            &me["data"]["user"]["email"],
            &me["data"]["user"]["role"],
            &me["data"]["user"]["village_id"]
        ),
        (
            &json!("rara@desa.id"),
            &json!("tenant_admin"),
            &json!("desa-satu")
        )
    );
    assert_eq!(me["data"]["csrf_token"], json!(session.csrf));
    assert!(session.is_good(&app).await);

    let token = session.bearer.strip_prefix("Bearer ").unwrap();
    assert!(
        app.values("SELECT encode(token_hash, 'hex') AS value FROM user_sessions")
            .await[0]
            != token
    );
    assert!(!logs::hold(token) && !logs::hold(PASSWORD));

    let headers = [
        ("cookie", session.cookie.as_str()),
        ("x-csrf-token", session.csrf.as_str()),
    ];
    let answer = ask(&app, Method::POST, "/auth/logout", &headers, None).await;
    assert_eq!(answer.status, 200);
    assert!(
        answer.headers["set-cookie"]
            .to_str()
            .unwrap()
            .contains("Max-Age=0")
    );
    assert!(!session.is_good(&app).await);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_is_not_signed_in_gets_nothing() {
    let app = TestApp::spawn().await;
    person(&app, "super@kanal.id", Role::Superadmin, None).await;
    for headers in [
        &[][..],
        &[("cookie", "kanal_session=")],
        &[("cookie", "kanal_session=00000000")],
        &[("authorization", "Bearer x")],
        &[("authorization", "Basic c3VwZXI6eA==")],
        &[(
            "authorization",
            "Bearer 0000000000000000000000000000000000000000000000000000000000000000",
        )],
    ] {
        for (method, path) in [
            (Method::GET, "/auth/me"),
            (Method::POST, "/auth/logout"),
            (Method::POST, "/auth/logout-everywhere"),
            (Method::POST, "/auth/password"),
        ] {
            let answer = ask(&app, method, path, headers, None).await;
            answer.assert_error(401, "not_signed_in");
            assert_eq!(answer.json()["error"], "Unauthorized");
        }
    }
    for (email, password) in [
        ("super@kanal.id", "kata sandi yang salah"),
        ("nobody@kanal.id", PASSWORD),
        ("no address", PASSWORD),
        ("", ""),
        ("super@kanal.id", &"x".repeat(300)),
    ] {
        let answer = log_in(&app, email, password).await;
        answer.assert_error(401, "wrong_credentials");
    }
    let wrong = json!({"email": 7, "password": PASSWORD});
    ask(&app, Method::POST, "/auth/login", &[], Some(wrong))
        .await
        .assert_error(400, "invalid_field");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_site_changes_nothing_with_the_cookie() {
    let app = TestApp::spawn().await;
    person(&app, "super@kanal.id", Role::Superadmin, None).await;
    let one = Session::of(&log_in(&app, "super@kanal.id", PASSWORD).await);
    let two = Session::of(&log_in(&app, "super@kanal.id", PASSWORD).await);
    for headers in [
        &[("cookie", one.cookie.as_str())][..],
        &[("cookie", one.cookie.as_str()), ("x-csrf-token", "")],
        &[
            ("cookie", one.cookie.as_str()),
            ("x-csrf-token", two.csrf.as_str()),
        ],
    ] {
        ask(&app, Method::POST, "/auth/logout", headers, None)
            .await
            .assert_error(403, "csrf_token_required");
    }
    assert!(one.is_good(&app).await);
    // A bearer is never sent by itself, so it needs no second proof.
    let answer = ask(
        &app,
        Method::POST,
        "/auth/logout",
        &[("authorization", &one.bearer)],
        None,
    )
    .await;
    assert_eq!(answer.status, 200);
    assert!(!one.is_good(&app).await && two.is_good(&app).await);
    let elsewhere = [("sec-fetch-site", "cross-site")];
    let body = json!({"email": "super@kanal.id", "password": PASSWORD});
    ask(&app, Method::POST, "/auth/login", &elsewhere, Some(body))
        .await
        .assert_error(403, "other_site");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_old_token_is_replaced_and_good_for_a_moment_more() {
    let app = TestApp::spawn().await;
    person(&app, "super@kanal.id", Role::Superadmin, None).await;
    let session = Session::of(&log_in(&app, "super@kanal.id", PASSWORD).await);
    app.run_sql("UPDATE user_sessions SET created_at = now() - interval '31 minutes'")
        .await;
    let by_bearer = ask(
        &app,
        Method::GET,
        "/auth/me",
        &[("authorization", &session.bearer)],
        None,
    )
    .await;
    assert!(
        !by_bearer.headers.contains_key("set-cookie"),
        "a program keeps its token"
    );

    let me = ask(
        &app,
        Method::GET,
        "/auth/me",
        &[("cookie", &session.cookie)],
        None,
    )
    .await;
    let younger = me.headers["set-cookie"]
        .to_str()
        .unwrap()
        .split(';')
        .next()
        .unwrap()
        .to_owned();
    assert_ne!(younger, session.cookie);
    assert_ne!(
        me.json()["data"]["csrf_token"],
        json!(session.csrf),
        "the CSRF token goes with it"
    );
    for cookie in [&younger, &session.cookie] {
        let again = ask(&app, Method::GET, "/auth/me", &[("cookie", cookie)], None).await;
        assert_eq!(again.status, 200);
        assert!(!again.headers.contains_key("set-cookie"));
    }
    app.run_sql("UPDATE user_sessions SET replaced_at = replaced_at - interval '2 minutes'")
        .await;
    assert!(!session.is_good(&app).await);
    assert_eq!(
        ask(&app, Method::GET, "/auth/me", &[("cookie", &younger)], None)
            .await
            .status,
        200
    );
    app.run_sql("UPDATE user_sessions SET expires_at = now()").await;
    assert_eq!(
        ask(&app, Method::GET, "/auth/me", &[("cookie", &younger)], None)
            .await
            .status,
        401
    );
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_password_and_a_disabled_user_end_every_session() {
    let app = TestApp::spawn().await;
    person(&app, "super@kanal.id", Role::Superadmin, None).await;
    let (one, two) = (
        Session::of(&log_in(&app, "super@kanal.id", PASSWORD).await),
        Session::of(&log_in(&app, "super@kanal.id", PASSWORD).await),
    );
    let change = |current: &str, new: &str| json!({"current_password": current, "new_password": new});
    let as_one = [("authorization", one.bearer.as_str())];
    ask(
        &app,
        Method::POST,
        "/auth/password",
        &as_one,
        Some(change("wrong wrong wrong", "kata sandi baru")),
    )
    .await
    .assert_error(401, "wrong_credentials");
    let answer = ask(
        &app,
        Method::POST,
        "/auth/password",
        &as_one,
        Some(change(PASSWORD, "kata sandi baru")),
    )
    .await;
    let three = Session::of(&answer);
    assert!(!one.is_good(&app).await && !two.is_good(&app).await && three.is_good(&app).await);

    let email = EmailAddress::parse("super@kanal.id").unwrap();
    user::set_disabled(&app.direct, &email, true).await.unwrap();
    assert!(!three.is_good(&app).await);
    log_in(&app, "super@kanal.id", "kata sandi baru")
        .await
        .assert_error(401, "wrong_credentials");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn guessing_is_slow_for_one_user_and_for_one_address() {
    let app = TestApp::spawn().await;
    person(&app, "super@kanal.id", Role::Superadmin, None).await;
    for _ in 0..5 {
        log_in(&app, "super@kanal.id", "salah salah salah")
            .await
            .assert_error(401, "wrong_credentials");
    }
    let answer = log_in(&app, "super@kanal.id", PASSWORD).await;
    answer.assert_error(429, "too_many_requests");
    let wait: u64 = answer.headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=30).contains(&wait), "{wait}");
    // Others from the same place still may, until the place itself has tried too often.
    let mut refused = 0;
    for n in 0..8 {
        refused += u32::from(
            log_in(&app, &format!("orang{n}@kanal.id"), "salah salah salah")
                .await
                .status
                == 429,
        );
    }
    assert!((1..=5).contains(&refused), "{refused}");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn behind_a_listed_proxy_each_caller_has_their_own_tries() {
    let app = TestApp::with(Wishes {
        settings: &[("TRUSTED_PROXIES", "127.0.0.1")],
        ..Wishes::default()
    })
    .await;
    let attempt = async |source: &str, n: usize| {
        let body = json!({"email": format!("orang{n}@kanal.id"), "password": "salah salah salah"});
        let request = app.http().post(format!("{}/api/auth/login", app.url));
        let request = request.header("x-forwarded-for", source).json(&body);
        request.send().await.unwrap().status().as_u16()
    };
    let mut stranger = Vec::new();
    for n in 0..14 {
        stranger.push(attempt("203.0.113.7", n).await);
    }
    assert!(stranger.contains(&429), "{stranger:?}");
    assert_eq!(attempt("198.51.100.1", 99).await, 401);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_what_fits_together_becomes_a_user() {
    let app = TestApp::spawn().await;
    app.bare_tenant("desa-satu").await;
    let email = EmailAddress::parse("rara@desa.id").unwrap();
    let tenant = |id: &str| Some(TenantId::parse(id).unwrap());
    let password = SecretString::from(PASSWORD);
    let make = |role, tenant, password: SecretString| {
        let (app, email) = (&app, &email);
        async move { user::create(&app.direct, email, None, role, tenant, &password).await }
    };
    use user::UserError;
    let refused = make(Role::TenantAdmin, None, password.clone()).await;
    assert!(matches!(refused, Err(UserError::RoleAndTenant)));
    let refused = make(Role::Superadmin, tenant("desa-satu"), password.clone()).await;
    assert!(matches!(refused, Err(UserError::RoleAndTenant)));
    let refused = make(Role::TenantAdmin, tenant("desa-asing"), password.clone()).await;
    assert!(matches!(refused, Err(UserError::NoSuchTenant)));
    let refused = make(
        Role::TenantAdmin,
        tenant("desa-satu"),
        SecretString::from("pendek"),
    )
    .await;
    assert!(matches!(refused, Err(UserError::Password(_))));
    make(Role::TenantAdmin, tenant("desa-satu"), password.clone())
        .await
        .unwrap();
    let refused = make(Role::TenantAdmin, tenant("desa-satu"), password).await;
    assert!(matches!(refused, Err(UserError::Taken)));
    app.finish().await;
}
