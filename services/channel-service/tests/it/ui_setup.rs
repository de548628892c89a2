//! A superadmin gives a tenant an endpoint on a page, is asked where that costs something, and sees no key and no address.

use domain::user::Role;
use serde_json::json;
use test_support::eventually;

use crate::browser::{Browser, sent_to};
use crate::harness::{TestApp, Wishes, refusal};
use crate::tenant_config::two_endpoints;

const RARA: &str = "6281290000011";
const HERE: &str = "/dashboard/tenants/desa-satu/setup";

/// What the form sends for `endpoint`, with the usual settings.
fn filled(endpoint: &str) -> Vec<(&'static str, String)> {
    [
        ("endpoint_name", endpoint),
        ("auto_reconnect", "on"),
        ("reconnect_interval", "45"),
        ("health_check_interval", "60"),
        ("webhook_retries", "3"),
        ("message_timeout", "30"),
    ]
    .map(|(name, value)| (name, value.to_owned()))
    .to_vec()
}

fn fields<'a>(of: &'a [(&'static str, String)]) -> Vec<(&'a str, &'a str)> {
    of.iter().map(|(name, value)| (*name, value.as_str())).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_tenant_is_given_an_endpoint_and_loses_it_again() {
    let (app, second) = two_endpoints(Wishes::default()).await;
    app.bare_tenant("desa-satu").await;
    app.run_sql("UPDATE tenants SET name = '<b>Desa</b>' WHERE tenant_id = 'desa-satu'")
        .await;
    let root = Browser::of_superadmin(&app).await;
    let page = root.page(HERE).await;
    assert!(
        page.contains("<option value=\"Primary\" selected>"),
        "the usual one: {page}"
    );
    assert!(page.contains("<option value=\"Secondary\">"));
    assert!(page.contains("Retries of a message") && page.contains("was given none of its own"));
    assert!(!page.contains("<b>Desa"), "a name is no markup");
    for secret in [
        "simulator-admin-token",
        &app.simulator.base_url(),
        &second.base_url(),
    ] {
        assert!(!page.contains(secret), "{secret}");
    }

    // What is wrong is said at its place, and nothing that was filled in is lost.
    let mut wrong = filled("http://evil");
    wrong[2].1 = "99999".to_owned();
    let answer = root.post(HERE, &fields(&wrong)).await;
    assert_eq!(answer.status, 422);
    assert!(
        answer.text.contains("id=\"e-endpoint_name\"") && answer.text.contains("id=\"e-reconnect_interval\"")
    );
    assert!(answer.text.contains("value=\"99999\""));
    assert_eq!(app.count("tenant_whatsapp_config").await, 0);

    let answer = root.post(HERE, &fields(&filled("Secondary"))).await;
    assert_eq!(sent_to(&answer), format!("{HERE}?said=given"));
    let page = root.page(&format!("{HERE}?said=given")).await;
    assert!(page.contains("The tenant has its endpoint.") && page.contains("value=\"45\""));
    let acts = app
        .values("SELECT action AS value FROM audit_log ORDER BY at")
        .await;
    assert!(acts.contains(&json!("endpoint.assign")), "{acts:?}");

    let answer = root.post(&format!("{HERE}/unassign"), &[]).await;
    assert_eq!(sent_to(&answer), format!("{HERE}?said=taken"));
    assert_eq!(app.count("tenant_whatsapp_config").await, 0);
    let page = root.in_indonesian().page(HERE).await;
    assert!(page.contains("Setelan WhatsApp") && page.contains("Percobaan ulang sebuah pesan"));
    app.finish().await;
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_move_that_costs_something_is_asked_for_and_the_tenants_id_is_the_answer() {
    let (app, second) = two_endpoints(Wishes {
        retry_first_ms: "60000",
        retry_cap_ms: "60000",
        ..Wishes::default()
    })
    .await;
    let satu = app.tenant("desa-satu").await;
    app.sends_fail(refusal(500, "no session", None), 1);
    app.order(&satu, RARA, "menunggu").await;
    eventually("it was tried", || async {
        (app.count("send_attempts").await > 0).then_some(())
    })
    .await;
    let root = Browser::of_superadmin(&app).await;
    let asked = root.post(HERE, &fields(&filled("Secondary"))).await;
    assert_eq!(asked.status, 200);
    assert!(
        asked.text.contains("1 message") && asked.text.contains("1 phone"),
        "{}",
        asked.text
    );
    assert!(asked.text.contains("name=\"endpoint_name\" value=\"Secondary\""));
    assert_eq!(
        app.count("tenant_whatsapp_config").await,
        0,
        "nothing was done yet"
    );

    let mut sure = filled("Secondary");
    sure.push(("confirm", "desa-dua".to_owned()));
    let answer = root.post(HERE, &fields(&sure)).await;
    assert_eq!(answer.status, 422);
    assert!(answer.text.contains("not the tenant&#39;s id") || answer.text.contains("not the tenant's id"));
    sure.pop();
    sure.push(("confirm", " desa-satu ".to_owned()));
    let answer = root.post(HERE, &fields(&sure)).await;
    assert_eq!(sent_to(&answer), format!("{HERE}?said=moved"));
    assert_eq!(
        app.count("messages WHERE status IN ('parked', 'unknown')").await,
        1
    );
    assert_eq!(
        app.count("tenant_whatsapp_config WHERE endpoint_name = 'Secondary'")
            .await,
        1
    );
    app.finish().await;
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_superadmins_set_up_and_only_from_their_own_pages() {
    let app = TestApp::spawn().await;
    app.bare_tenant("desa-satu").await;
    let admin = Browser::of(&app, "admin@desa.id", Role::TenantAdmin, Some("desa-satu")).await;
    for path in [
        HERE,
        "/dashboard/endpoints",
        "/dashboard/endpoints/Primary",
        "/dashboard/system",
        "/dashboard/pictures",
    ] {
        assert_eq!(admin.get(path).await.status, 403, "{path}");
    }
    assert_eq!(admin.post(HERE, &fields(&filled("Primary"))).await.status, 403);
    assert_eq!(admin.get("/dashboard/tenants/desa-lain/setup").await.status, 404);
    let fill = filled("Primary");
    let root = Browser::of_superadmin(&app).await;
    assert_eq!(root.get("/dashboard/tenants/desa-lain/setup").await.status, 404);
    for token in ["", "x"] {
        let mut sent = fields(&fill);
        sent.push(("csrf", token));
        assert_eq!(root.send(HERE, &sent).await.status, 403);
    }
    assert_eq!(app.count("tenant_whatsapp_config").await, 0);
    assert_eq!(
        sent_to(&Browser::new(&app).get(HERE).await),
        format!("/login?next={HERE}")
    );
    app.finish().await;
}
