//! Tenants are made, suspended, given out and erased by superadmins, and by nobody else.

use domain::user::Role;
use reqwest::Method;
use serde_json::{Value, json};
use test_support::eventually;

use crate::gate_world::token_of;
use crate::harness::{Answer, LIMITED_KEY, TestApp, text};
use crate::signing_in::{ask, bearer_of};

const RARA: &str = "6281290000011";

async fn as_user(app: &TestApp, bearer: &str, method: Method, path: &str, body: Option<Value>) -> Answer {
    ask(app, method, path, &[("authorization", bearer)], body).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_superadmin_makes_lists_suspends_and_resumes() {
    let app = TestApp::spawn().await;
    let root = bearer_of(&app, "super@kanal.id", Role::Superadmin, None).await;
    let new = json!({"village_id": "desa-satu", "name": "Desa  Satu\n"});
    let answer = as_user(&app, &root, Method::POST, "/tenants", Some(new.clone())).await;
    assert_eq!(answer.status, 201, "{}", answer.text);
    assert_eq!(
        as_user(&app, &root, Method::POST, "/tenants", Some(new))
            .await
            .status,
        200
    );
    let wrong = json!({"village_id": "desa satu"});
    as_user(&app, &root, Method::POST, "/tenants", Some(wrong))
        .await
        .assert_error(400, "invalid_village_id");
    as_user(&app, &root, Method::POST, "/tenants", None)
        .await
        .assert_error(400, "village_id_required");

    as_user(&app, &root, Method::POST, "/tenants/desa-satu/suspend", None).await;
    let all = as_user(&app, &root, Method::GET, "/tenants", None).await.json();
    assert_eq!(
        (
            &all["data"][0]["tenant_id"],
            &all["data"][0]["name"],
            &all["data"][0]["status"]
        ),
        (&json!("desa-satu"), &json!("Desa  Satu"), &json!("suspended"))
    );
    as_user(&app, &root, Method::POST, "/tenants/desa-satu/resume", None).await;
    as_user(&app, &root, Method::POST, "/tenants/desa-asing/suspend", None)
        .await
        .assert_error(404, "village_not_found");
    let acts = as_user(&app, &root, Method::GET, "/tenants/desa-satu/audit", None)
        .await
        .json();
    let acts: Vec<(&str, &str)> = acts["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|act| (act["action"].as_str().unwrap(), act["actor"].as_str().unwrap()))
        .collect();
    assert_eq!(
        acts,
        [
            ("tenant.resume", "user super@kanal.id"),
            ("tenant.suspend", "user super@kanal.id"),
            ("tenant.create", "user super@kanal.id")
        ]
    );
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_admin_administers_nobody() {
    let app = TestApp::spawn().await;
    app.bare_tenant("desa-satu").await;
    app.bare_tenant("desa-dua").await;
    let admin = bearer_of(&app, "rara@desa.id", Role::TenantAdmin, Some("desa-satu")).await;
    for (method, path) in [
        (Method::GET, "/tenants"),
        (Method::POST, "/tenants"),
        (Method::POST, "/tenants/desa-satu/suspend"),
        (Method::POST, "/tenants/desa-satu/resume"),
        (Method::GET, "/tenants/desa-satu/export"),
        (Method::DELETE, "/tenants/desa-satu"),
        (Method::DELETE, "/tenants/desa-dua"),
    ] {
        let body = json!({"confirm": "desa-satu", "village_id": "desa-satu"});
        as_user(&app, &admin, method.clone(), path, Some(body))
            .await
            .assert_error(403, "superadmin_only");
        ask(&app, method, path, &[("x-internal-api-key", LIMITED_KEY)], None)
            .await
            .assert_error(401, "not_signed_in");
    }
    assert_eq!(
        as_user(&app, &admin, Method::GET, "/tenants/desa-satu/audit", None)
            .await
            .status,
        200
    );
    as_user(&app, &admin, Method::GET, "/tenants/desa-dua/audit", None)
        .await
        .assert_error(403, "not_your_village");
    assert_eq!(app.count("tenants").await, 2);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_export_holds_everything_of_one_tenant_and_no_key_to_it() {
    let app = TestApp::spawn().await;
    let (satu, dua) = (app.tenant("desa-satu").await, app.tenant("desa-dua").await);
    for n in 0..450 {
        let words = format!("satu nomor {n}");
        app.post(&satu.json(&text(RARA, &format!("3EB0S{n}"), &words)))
            .await
            .assert_kept();
    }
    app.post(&dua.json(&text(RARA, "3EB0D1", "kata desa dua")))
        .await
        .assert_kept();
    token_of(&app, "desa-satu").await;
    let root = bearer_of(&app, "super@kanal.id", Role::Superadmin, None).await;
    let answer = as_user(&app, &root, Method::GET, "/tenants/desa-satu/export", None).await;
    assert_eq!(
        answer.headers["content-disposition"],
        "attachment; filename=\"desa-satu.jsonl\""
    );
    let lines: Vec<Value> = answer
        .text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let of = |table: &str| lines.iter().filter(|line| line["table"] == table).count();
    assert_eq!(
        ["messages", "chats", "accounts", "tenants", "gate_tokens"].map(of),
        [450, 1, 1, 1, 1]
    );
    assert!(lines.iter().all(|line| line["row"]["tenant_id"] == "desa-satu"));
    assert!(!answer.text.contains("desa dua") && !answer.text.contains("sealed"));
    assert!(
        !answer.text.contains("hash"),
        "nobody can guess at tokens with it"
    );
    assert!(!answer.text.contains(&satu.session.token));
    as_user(&app, &root, Method::GET, "/tenants/desa-asing/export", None)
        .await
        .assert_error(404, "village_not_found");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_erased_tenant_leaves_its_acts_and_nothing_else() {
    let app = TestApp::spawn().await;
    let (satu, dua) = (app.tenant("desa-satu").await, app.tenant("desa-dua").await);
    for (tenant, id) in [(&satu, "3EB0S1"), (&dua, "3EB0D1")] {
        app.post(&tenant.json(&text(RARA, id, "halo")))
            .await
            .assert_kept();
        app.order(tenant, RARA, &format!("jawaban {id}")).await;
        app.until_status(&format!("jawaban {id}"), "sent").await;
    }
    app.run_sql(
        "INSERT INTO tenant_whatsapp_config (tenant_id, id, endpoint_name) \
         VALUES ('desa-satu', gen_random_uuid(), 'Primary')",
    )
    .await;
    let root = bearer_of(&app, "super@kanal.id", Role::Superadmin, None).await;
    for body in [
        None,
        Some(json!({"confirm": "desa-dua"})),
        Some(json!({"confirm": null})),
    ] {
        as_user(&app, &root, Method::DELETE, "/tenants/desa-satu", body)
            .await
            .assert_error(400, "confirmation_required");
    }
    let confirm = Some(json!({"confirm": "desa-satu"}));
    let answer = as_user(&app, &root, Method::DELETE, "/tenants/desa-satu", confirm.clone()).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert!(answer.json()["data"]["rows"].as_u64().unwrap() > 5);

    // Its session is unlinked where it is, and until then it is known which that is.
    eventually("its session is unlinked", || async {
        let left = app.count("sessions_to_unlink").await + app.count("session_leases").await;
        (left == 0).then_some(())
    })
    .await;
    let tables = app
        .values(
            "SELECT c.relname AS value FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid \
             WHERE a.attname = 'tenant_id' AND c.relnamespace = current_schema()::regnamespace AND c.relkind = 'r'",
        )
        .await;
    assert!(tables.len() > 10);
    for table in tables {
        let table = table.as_str().unwrap();
        let left = app
            .values(&format!(
                "SELECT count(*) AS value FROM {table} WHERE tenant_id = 'desa-satu'"
            ))
            .await;
        let expected = u64::from(table == "audit_log") * 3;
        assert_eq!(left[0].as_u64().unwrap(), expected, "{table}");
    }
    assert_eq!(
        app.values("SELECT body AS value FROM messages ORDER BY id").await,
        ["halo", "jawaban 3EB0D1"]
    );
    // Nobody's from now on, and not brought back by a webhook.
    app.post(&satu.json(&text(RARA, "3EB0S2", "masih ada?")))
        .await
        .assert_done("Unknown instance");
    app.post(&dua.json(&text(RARA, "3EB0D2", "masih ada?")))
        .await
        .assert_kept();
    as_user(&app, &root, Method::DELETE, "/tenants/desa-satu", confirm)
        .await
        .assert_error(404, "village_not_found");
    app.finish().await;
}
