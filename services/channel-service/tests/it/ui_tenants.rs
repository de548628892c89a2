//! Superadmins find, make, name, suspend, give out and erase tenants on pages.

use serde_json::json;

use crate::browser::{Browser, sent_to};
use crate::harness::TestApp;

const HERE: &str = "/dashboard/tenants";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_is_made_named_suspended_and_resumed() {
    let app = TestApp::spawn().await;
    let browser = Browser::of_superadmin(&app).await;
    assert!(browser.page(HERE).await.contains("No tenant yet"));
    assert!(
        browser
            .page("/dashboard/tenants/new")
            .await
            .contains("id=\"make-tenant\"")
    );
    for (id, words) in [
        ("", "Use 1 to 100 letters"),
        ("desa satu", "Use 1 to 100 letters"),
    ] {
        let refused = browser.post(HERE, &[("id", id), ("name", "Desa")]).await;
        assert_eq!(refused.status, 422);
        assert!(refused.text.contains(words));
        assert!(
            refused.text.contains("value=\"Desa\""),
            "what was filled in stays"
        );
    }
    let script = "<script>alert(1)</script>";
    let made = browser.post(HERE, &[("id", "desa-satu"), ("name", script)]).await;
    assert_eq!(sent_to(&made), "/dashboard/tenants/desa-satu?said=made");
    let twice = browser.post(HERE, &[("id", "desa-satu"), ("name", "Lain")]).await;
    assert_eq!(twice.status, 422);
    assert!(twice.text.contains("with this id already"));

    let one = browser.page("/dashboard/tenants/desa-satu?said=made").await;
    assert!(one.contains("The tenant is there."));
    for page in [&one, &browser.page(HERE).await] {
        assert!(
            !page.contains(script) && page.contains("&#60;script&#62;"),
            "{page}"
        );
    }
    let at = |action: &str| format!("{HERE}/desa-satu/{action}");
    let renamed = browser.post(&at("name"), &[("name", " Desa Satu ")]).await;
    assert_eq!(sent_to(&renamed), "/dashboard/tenants/desa-satu?said=saved");
    assert_eq!(browser.post(&at("name"), &[("name", " ")]).await.status, 422);
    sent_to(&browser.post(&at("suspend"), &[]).await);
    let shown = browser.page("/dashboard/tenants/desa-satu?said=suspended").await;
    assert!(shown.contains("This tenant is suspended") && shown.contains("Suspended"));
    sent_to(&browser.post(&at("resume"), &[]).await);
    let status = app
        .values("SELECT name || ' ' || status AS value FROM tenants")
        .await;
    assert_eq!(status, [json!("Desa Satu active")]);
    let acts = app
        .values("SELECT action AS value FROM audit_log WHERE actor = 'user super@kanal.id' ORDER BY id")
        .await;
    assert_eq!(
        acts,
        [
            json!("tenant.create"),
            json!("tenant.rename"),
            json!("tenant.suspend"),
            json!("tenant.resume")
        ]
    );

    // Without the form's token nothing is done, and what nobody registered is nowhere.
    assert_eq!(browser.send(&at("suspend"), &[]).await.status, 403);
    assert_eq!(browser.get("/dashboard/tenants/desa-dua").await.status, 404);
    assert_eq!(
        browser
            .post("/dashboard/tenants/desa-dua/suspend", &[])
            .await
            .status,
        404
    );
    let indonesian = Browser::new(&app).in_indonesian();
    indonesian
        .log_in("super@kanal.id", "kata sandi yang panjang")
        .await;
    assert!(indonesian.page(HERE).await.contains("Tenant baru"));
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tenants_are_found_by_beginnings_of_words_and_paged_by_their_ids() {
    let app = TestApp::spawn().await;
    app.run_sql(
        "INSERT INTO tenants (tenant_id, name) \
         SELECT 'desa-' || n, 'Desa Suka' || n || ' (Jawa-Barat)' FROM generate_series(1001, 1120) n; \
         INSERT INTO tenants (tenant_id, name) VALUES ('firma_hukum', 'Kantor Hukum Adil'), ('kota:9', 'Kota')",
    )
    .await;
    let browser = Browser::of_superadmin(&app).await;
    for (q, found, missing) in [
        ("adi", "firma_hukum", "kota:9"),
        ("HUKUM kan", "firma_hukum", "desa-1001"),
        ("kota%3A9", "kota:9", "firma_hukum"),
        ("desa+1042", "desa-1042", "desa-1043"),
        ("suka1007+barat", "desa-1007", "desa-1008"),
    ] {
        let page = browser.page(&format!("{HERE}?q={q}").replace(' ', "+")).await;
        assert!(page.contains(&format!("/tenants/{found}\"")), "{q}: {page}");
        assert!(!page.contains(&format!("/tenants/{missing}\"")), "{q}");
    }
    for q in ["hukumx", "uka1007"] {
        assert!(
            browser
                .page(&format!("{HERE}?q={q}"))
                .await
                .contains("Nothing found"),
            "{q}"
        );
    }
    // What is no word at all looks for nothing in particular.
    for q in ["%27%26%7C%21", "%00", "+"] {
        assert!(browser.page(&format!("{HERE}?q={q}")).await.contains("desa-1001"));
    }

    let mut seen = Vec::new();
    let mut path = format!("{HERE}?q=desa+jawa");
    loop {
        let page = browser.page(&path).await;
        let ids = page
            .split("<th scope=\"row\"><a href=\"/dashboard/tenants/")
            .skip(1);
        seen.extend(ids.map(|rest| rest.split('"').next().unwrap().to_owned()));
        let Some((before, _)) = page.split_once("\" rel=\"next\"") else {
            break;
        };
        path = before.rsplit_once("href=\"").unwrap().1.replace("&#38;", "&");
    }
    let all: Vec<String> = (1001..=1120).map(|n| format!("desa-{n}")).collect();
    assert_eq!(seen, all);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_is_given_out_as_a_file_and_erased_by_typing_its_id() {
    let app = TestApp::spawn().await;
    app.bare_tenant("desa-satu").await;
    app.bare_tenant("desa-dua").await;
    let browser = Browser::of_superadmin(&app).await;
    let file = browser.post("/dashboard/tenants/desa-satu/export", &[]).await;
    assert_eq!(file.status, 200);
    let name = file.headers["content-disposition"].to_str().unwrap();
    assert!(name.contains("desa-satu.jsonl"), "{name}");
    assert!(
        file.text
            .lines()
            .any(|line| line.contains("\"table\":\"tenants\""))
    );
    assert!(!file.text.contains("desa-dua"));
    let lost = browser.post("/dashboard/tenants/desa-tiga/export", &[]).await;
    assert_eq!(lost.status, 404);

    let erase = "/dashboard/tenants/desa-satu/erase";
    assert!(browser.page(erase).await.contains("To confirm, type"));
    for typed in ["", "desa", "desa-dua"] {
        let refused = browser.post(erase, &[("confirm", typed)]).await;
        assert_eq!(refused.status, 422, "{typed}");
        assert!(refused.text.contains("Nothing was erased."));
    }
    assert_eq!(app.count("tenants").await, 2);
    let begun = browser.post(erase, &[("confirm", "desa-satu")]).await;
    // A slow machine is shown the page in between.
    let to = sent_to(&begun);
    assert!(
        to == "/dashboard/tenants?said=erased" || to == "/dashboard/tenants/desa-satu/erasing",
        "{to}"
    );
    test_support::eventually("the tenant is gone", || async {
        let page = browser.page("/dashboard/tenants/desa-satu/erasing").await;
        page.contains("The tenant and everything it had is gone.")
            .then_some(())
    })
    .await;
    assert_eq!(browser.get("/dashboard/tenants/desa-satu").await.status, 404);
    assert_eq!(
        app.values("SELECT tenant_id AS value FROM tenants").await,
        [json!("desa-dua")]
    );
    app.finish().await;
}
