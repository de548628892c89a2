//! People log in to the pages, are sent where they wanted to go, change their password, and are logged out.

use domain::user::Role;

use crate::browser::{Browser, between, sent_to};
use crate::harness::TestApp;
use crate::signing_in::person;

const PASSWORD: &str = "kata sandi yang panjang";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_browser_is_led_to_the_log_in_and_from_there_to_the_page_it_wanted() {
    let app = TestApp::spawn().await;
    person(&app, "super@kanal.id", Role::Superadmin, None).await;
    assert_eq!(app.get("/").await.json()["status"], "running");
    let browser = Browser::new(&app);
    assert_eq!(sent_to(&browser.get("/").await), "/dashboard");
    assert_eq!(sent_to(&browser.get("/dashboard").await), "/login");
    let wanted = browser.get("/dashboard/users?q=a").await;
    assert_eq!(sent_to(&wanted), "/login?next=/dashboard/users");

    let form = browser.get("/login?next=/dashboard/users").await;
    assert!(form.text.contains("<html lang=\"en\""), "{}", form.text);
    assert!(form.text.contains("name=\"next\" value=\"/dashboard/users\""));
    let policy = form.headers["content-security-policy"].to_str().unwrap();
    assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"));
    assert_eq!(form.headers["cache-control"], "no-store");

    for (email, password) in [
        ("orang@kanal.id", "sandi-salah-77"),
        ("\"><script>alert(1)</script>@kanal.id", PASSWORD),
    ] {
        let refused = browser.log_in(email, password).await;
        assert_eq!(refused.status, 401);
        assert!(
            refused
                .text
                .contains("The e-mail address or the password is wrong.")
        );
        assert!(!refused.text.contains("<script>alert"), "{}", refused.text);
        assert!(
            !refused.text.contains(password),
            "a password is never shown again"
        );
    }
    for (next, leads_to) in [
        ("/dashboard/users", "/dashboard/users"),
        ("https://evil.example/", "/dashboard"),
        ("//evil.example/dashboard/", "/dashboard"),
        ("/internal/tenants", "/dashboard"),
        ("/dashboard/\r\nx: y", "/dashboard"),
    ] {
        let fields = [
            ("email", "SUPER@kanal.id "),
            ("password", PASSWORD),
            ("next", next),
        ];
        let begun = Browser::new(&app).send("/login", &fields).await;
        assert_eq!(sent_to(&begun), leads_to, "{next:?}");
        let cookie = begun.headers["set-cookie"].to_str().unwrap();
        assert!(
            cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"),
            "{cookie}"
        );
    }
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_ends_by_a_form_of_its_own_and_an_ended_one_is_told_so() {
    let app = TestApp::spawn().await;
    let browser = Browser::of_superadmin(&app).await;
    assert_eq!(sent_to(&browser.get("/login").await), "/dashboard");
    let start = browser.page("/dashboard").await;
    assert!(start.contains("Welcome, Rara") && start.contains("aria-current=\"page\""));

    // Another site's form has no token, and another session's is none.
    for fields in [&[][..], &[("csrf", "")], &[("csrf", "0".repeat(64).as_str())]] {
        let refused = browser.send("/logout", fields).await;
        assert_eq!(refused.status, 403);
        assert!(
            refused.text.contains("This form is out of date"),
            "{}",
            refused.text
        );
    }
    let token = browser.cookie("kanal_session").unwrap();
    assert_eq!(sent_to(&browser.post("/logout", &[]).await), "/login?said=out");
    assert_eq!(browser.cookie("kanal_session"), None);
    assert!(
        browser
            .page("/login?said=out")
            .await
            .contains("You are logged out.")
    );

    browser.set_cookie("kanal_session", &token);
    assert_eq!(sent_to(&browser.get("/dashboard").await), "/login");
    assert!(browser.page("/login").await.contains("Your session has ended."));
    // Whoever is out already may press the button once more.
    assert_eq!(sent_to(&browser.send("/logout", &[]).await), "/login?said=out");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_tries_too_often_is_told_how_long_to_wait() {
    let app = TestApp::spawn().await;
    person(&app, "super@kanal.id", Role::Superadmin, None).await;
    let browser = Browser::new(&app).in_indonesian();
    let mut last = browser.log_in("super@kanal.id", "salah").await;
    for _ in 0..10 {
        if last.status == 429 {
            break;
        }
        assert_eq!(last.status, 401);
        last = browser.log_in("super@kanal.id", "salah").await;
    }
    assert_eq!(last.status, 429, "{}", last.text);
    assert!(last.text.contains("Terlalu sering dicoba."), "{}", last.text);
    let wait: u64 = last.headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=30).contains(&wait), "{wait}");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_password_is_changed_and_every_other_session_ends() {
    let app = TestApp::spawn().await;
    app.bare_tenant("desa-satu").await;
    let email = "rara@desa.id";
    // Five tries at a password are free: two log-ins, two refusals that look at it, and the change.
    let browser = Browser::of(&app, email, Role::TenantAdmin, Some("desa-satu")).await;
    let other = Browser::new(&app);
    other.log_in(email, PASSWORD).await;
    let change = "/dashboard/account/password";
    for (current, new, again, words) in [
        (
            "salah sekali",
            "sandi lain yang panjang",
            "sandi lain yang panjang",
            "This is not your password.",
        ),
        (PASSWORD, "pendek", "pendek", "Take at least 10 characters"),
        (
            PASSWORD,
            "sandi lain yang panjang",
            "yang berbeda",
            "not the same as the new",
        ),
    ] {
        let fields = [("current", current), ("new", new), ("again", again)];
        let refused = browser.post(change, &fields).await;
        assert_eq!(refused.status, 422);
        assert!(refused.text.contains(words), "{words}: {}", refused.text);
        assert!(refused.text.contains("aria-invalid=\"true\""));
    }
    let new = "sandi lain yang panjang";
    let fields = [("current", PASSWORD), ("new", new), ("again", new)];
    let changed = browser.post(change, &fields).await;
    assert_eq!(sent_to(&changed), "/dashboard/account?said=saved");
    assert!(
        browser
            .page("/dashboard/account?said=saved")
            .await
            .contains("Saved.")
    );
    assert_eq!(sent_to(&other.get("/dashboard").await), "/login");

    let out = browser.post("/dashboard/account/log-out-everywhere", &[]).await;
    assert_eq!(sent_to(&out), "/login?said=everywhere");
    assert_eq!(sent_to(&browser.get("/dashboard").await), "/login");
    assert_eq!(app.count("user_sessions").await, 0);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_speak_two_languages_and_are_light_or_dark() {
    let app = TestApp::spawn().await;
    let browser = Browser::new(&app).in_indonesian();
    let page = browser.page("/login").await;
    assert!(page.contains("<html lang=\"id\" data-theme=\"auto\""), "{page}");
    assert!(page.contains("Kata sandi"));
    let back = [("language", "en"), ("back", "/login?next=/dashboard/users")];
    assert_eq!(
        sent_to(&browser.send("/look", &back).await),
        "/login?next=/dashboard/users"
    );
    let away = [("theme", "dark"), ("back", "//evil.example")];
    assert_eq!(sent_to(&browser.send("/look", &away).await), "/dashboard");
    let odd = [("theme", "\"><script>"), ("language", "xx"), ("back", "/login")];
    sent_to(&browser.send("/look", &odd).await);
    let page = browser.page("/login").await;
    assert!(page.contains("<html lang=\"en\" data-theme=\"dark\""), "{page}");

    // Files are kept for a year under their hash, and for nothing under another one.
    let sheet = between(&page, "rel=\"stylesheet\" href=\"", "\"").to_owned();
    let answer = browser.get(&sheet).await;
    assert_eq!(answer.headers["content-type"], "text/css; charset=utf-8");
    let kept = answer.headers["cache-control"].to_str().unwrap();
    assert!(kept.contains("immutable"), "{kept}");
    let older = browser.get("/assets/0123456789abcdef/console.css").await;
    assert_eq!(older.headers["cache-control"], "no-cache");
    assert_eq!(
        browser.get("/assets/0123456789abcdef/../Cargo.toml").await.status,
        404
    );
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_there_or_not_for_them_is_said_on_a_page() {
    let app = TestApp::spawn().await;
    for tenant in ["desa-satu", "desa-dua"] {
        app.bare_tenant(tenant).await;
    }
    let rara = Browser::of(&app, "rara@desa.id", Role::TenantAdmin, Some("desa-satu")).await;
    for (path, status, words) in [
        ("/dashboard/nowhere", 404, "There is nothing here"),
        ("/dashboard/t/desa-dua/audit", 404, "There is nothing here"),
        ("/dashboard/t/desa-tiga/audit", 404, "There is nothing here"),
        ("/dashboard/t/desa%20satu/audit", 404, "There is nothing here"),
        ("/dashboard/tenants", 403, "This is not for you"),
        ("/dashboard/tenants/desa-satu", 403, "This is not for you"),
        ("/dashboard/users", 403, "This is not for you"),
        ("/dashboard/audit", 403, "This is not for you"),
    ] {
        let answer = rara.get(path).await;
        assert_eq!(answer.status, status, "{path}");
        assert!(
            answer.text.contains(words) && answer.text.contains("<h1>"),
            "{path}: {}",
            answer.text
        );
    }
    let wrong_method = rara.send("/dashboard/account", &[]).await;
    assert_eq!(wrong_method.status, 404);
    // A part of a page that finds the session gone sends the whole page to the log-in.
    let part = app
        .http()
        .get(format!("{}/dashboard", app.url))
        .header("hx-request", "true")
        .send()
        .await
        .unwrap();
    assert_eq!(
        (part.status().as_u16(), &part.headers()["hx-redirect"]),
        (401, &"/login".parse().unwrap())
    );
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_with_all_it_loads_is_small() {
    let app = TestApp::spawn().await;
    app.bare_tenant("desa-satu").await;
    let many = "INSERT INTO tenants (tenant_id, name) SELECT 'desa-' || n, 'Desa ' || n FROM generate_series(100, 400) n";
    app.run_sql(many).await;
    let browser = Browser::of_superadmin(&app).await;
    for path in [
        "/dashboard",
        "/dashboard/tenants",
        "/dashboard/tenants/desa-satu",
        "/dashboard/users",
        "/dashboard/audit",
        "/dashboard/account",
    ] {
        let page = browser.page(path).await;
        let mut bytes = page.len();
        for part in page.split("/assets/").skip(1) {
            let address = format!("/assets/{}", part.split('"').next().unwrap());
            bytes += browser.page(&address).await.len();
        }
        assert!(bytes < 150_000, "{path}: {bytes} bytes");
        for inline in ["<style", " style=", "<script>", " onclick=", "javascript:"] {
            assert!(!page.contains(inline), "{path}: {inline}");
        }
    }
    app.finish().await;
}
