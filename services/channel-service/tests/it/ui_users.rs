//! Superadmins make users, keep them out, and give them other passwords.

use domain::user::Role;
use serde_json::json;

use crate::browser::{Browser, between, sent_to};
use crate::harness::TestApp;

const HERE: &str = "/dashboard/users";

/// The path of a user's page, as the list links it.
async fn path_of(browser: &Browser<'_>, email: &str) -> String {
    let page = browser
        .page(&format!("{HERE}?q={}", email.replace('@', "%40")))
        .await;
    let (before, _) = page
        .split_once(&format!("\">{email}</a>"))
        .unwrap_or_else(|| panic!("no {email} in {page}"));
    before.rsplit_once("href=\"").unwrap().1.to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_is_made_with_a_password_that_is_shown_once() {
    let app = TestApp::spawn().await;
    app.bare_tenant("desa-satu").await;
    let browser = Browser::of_superadmin(&app).await;
    let form = browser.page("/dashboard/users/new?tenant=desa-satu").await;
    assert!(form.contains("value=\"desa-satu\""));
    let base = [("role", "tenant_admin"), ("name", "<b>Rara</b>")];
    for (email, tenant, password, words) in [
        ("rara", "desa-satu", "", "An e-mail address has the form"),
        ("rara@desa.id", "", "", "Give the id of the tenant"),
        ("rara@desa.id", "desa-dua", "", "There is no tenant with this id"),
        (
            "rara@desa.id",
            "desa-satu",
            "pendek",
            "Take at least 10 characters",
        ),
        ("super@kanal.id", "desa-satu", "", "Somebody has this address"),
    ] {
        let mut fields = base.to_vec();
        fields.extend([("email", email), ("tenant", tenant), ("password", password)]);
        let refused = browser.post(HERE, &fields).await;
        assert_eq!(refused.status, 422, "{words}");
        assert!(refused.text.contains(words), "{words}: {}", refused.text);
        assert!(!refused.text.contains("<b>Rara"), "{}", refused.text);
    }
    let mut fields = base.to_vec();
    fields.extend([("email", "Rara@desa.id"), ("tenant", "desa-satu")]);
    let made = browser.post(HERE, &fields).await;
    assert_eq!(made.status, 200, "{}", made.text);
    let password = between(&made.text, "id=\"made-password\">", "<").to_owned();
    app.never_log(&password);
    let rara = Browser::new(&app);
    assert_eq!(
        sent_to(&rara.log_in("rara@desa.id", &password).await),
        "/dashboard"
    );
    // Only their own tenant, and no users.
    rara.page("/dashboard/t/desa-satu/audit").await;
    assert_eq!(rara.get(HERE).await.status, 403);
    assert_eq!(rara.post(HERE, &fields).await.status, 403);

    let given = [
        ("email", "kawan@kanal.id"),
        ("role", "superadmin"),
        ("password", "sandi pilihan sendiri"),
    ];
    let made = browser.post(HERE, &given).await;
    assert!(sent_to(&made).ends_with("?said=created"));
    let acts = app
        .values("SELECT action || ' ' || subject || ' ' || detail AS value FROM platform_acts WHERE actor = 'user super@kanal.id' ORDER BY id")
        .await;
    assert_eq!(
        acts,
        [
            json!("user.create rara@desa.id tenant_admin of desa-satu"),
            json!("user.create kawan@kanal.id superadmin")
        ]
    );
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_is_kept_out_let_in_and_given_another_password() {
    let app = TestApp::spawn().await;
    app.bare_tenant("desa-satu").await;
    let browser = Browser::of_superadmin(&app).await;
    let email = "rara@desa.id";
    let rara = Browser::of(&app, email, Role::TenantAdmin, Some("desa-satu")).await;
    let path = path_of(&browser, email).await;
    assert!(browser.page(&path).await.contains("1 session"));

    sent_to(&browser.post(&format!("{path}/end-sessions"), &[]).await);
    assert_eq!(sent_to(&rara.get("/dashboard").await), "/login");
    rara.log_in(email, "kata sandi yang panjang").await;
    rara.page("/dashboard").await;
    sent_to(&browser.post(&format!("{path}/disable"), &[]).await);
    assert!(browser.page(&path).await.contains("Kept out"));
    assert_eq!(sent_to(&rara.get("/dashboard").await), "/login");
    assert_eq!(rara.log_in(email, "kata sandi yang panjang").await.status, 401);
    sent_to(&browser.post(&format!("{path}/enable"), &[]).await);
    sent_to(&rara.log_in(email, "kata sandi yang panjang").await);

    let made = browser.post(&format!("{path}/password"), &[]).await;
    let password = between(&made.text, "id=\"made-password\">", "<").to_owned();
    app.never_log(&password);
    assert_eq!(sent_to(&rara.get("/dashboard").await), "/login");
    sent_to(&rara.log_in(email, &password).await);

    // Nobody keeps themselves out; what is nobody's id is nowhere.
    let own = path_of(&browser, "super@kanal.id").await;
    let refused = browser.post(&format!("{own}/disable"), &[]).await;
    assert_eq!(refused.status, 409);
    assert!(refused.text.contains("You cannot keep yourself out."));
    assert!(browser.page(&own).await.contains("This is you."));
    for nobody in ["x", "f0000000-0000-7000-8000-000000000001"] {
        assert_eq!(browser.get(&format!("{HERE}/{nobody}")).await.status, 404);
    }
    app.finish().await;
}
