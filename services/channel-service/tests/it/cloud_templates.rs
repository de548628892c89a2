//! Approved templates: what Meta tells of them late, and lists that it does not give.

use std::time::Duration;

use channel_service::flows::templates::Templates;
use domain::ids::TenantId;
use reqwest::Method;
use serde_json::{Value, json};
use simulator::GraphTemplate;
use tenant_isolation::TenantScope;

use crate::cloud_troubles::{at_meta, with_settings};
use crate::cloud_world::{DUA, Number, SATU, accepted, body, now, number, take};
use crate::harness::TestApp;
use crate::signing_in::ask;

/// Lists are renewed by the test and by nobody else.
const BY_HAND: &[(&str, &str)] = &[
    crate::cloud_world::ENDPOINTS,
    ("CLOUD_TEMPLATE_REFRESH_SECONDS", "0"),
];
const DAY: Duration = Duration::from_secs(86_400);

fn templates(app: &TestApp) -> Templates {
    Templates {
        db: app.direct.clone(),
        keys: app.keys.clone(),
        endpoints: app.endpoints.clone(),
    }
}

fn put(app: &TestApp, waba: &str, name: &str) {
    let made: GraphTemplate = serde_json::from_value(json!({
        "name": name, "language": "id", "status": "APPROVED", "category": "UTILITY",
        "components": [{"type": "BODY", "text": "Halo"}],
    }))
    .unwrap();
    app.simulator.put_graph_template(waba, made).unwrap();
}

/// Meta tells something of the template, of this time.
async fn tell(app: &TestApp, waba: &str, name: &str, at: i64, field: &str, news: Value) {
    let mut value =
        json!({"message_template_id": 7, "message_template_name": name, "message_template_language": "id"});
    value
        .as_object_mut()
        .unwrap()
        .extend(news.as_object().unwrap().clone());
    let mut told = body(waba, &[json!({"field": field, "value": value})]);
    told["entry"][0]["time"] = json!(at);
    accepted(app, &told).await;
}

async fn status(app: &TestApp, waba: &str, at: i64, event: &str) {
    let news = json!({"event": event, "reason": "NONE"});
    tell(app, waba, "pengingat", at, "message_template_status_update", news).await;
}

async fn category(app: &TestApp, waba: &str, at: i64, now: &str) {
    let news = json!({"previous_category": "UTILITY", "new_category": now});
    tell(app, waba, "pengingat", at, "template_category_update", news).await;
}

async fn quality(app: &TestApp, waba: &str, at: i64, now: &str) {
    let news = json!({"previous_quality_score": "UNKNOWN", "new_quality_score": now});
    tell(
        app,
        waba,
        "pengingat",
        at,
        "message_template_quality_update",
        news,
    )
    .await;
}

async fn known(number: &Number<'_>) -> Value {
    let desk = &number.desk;
    let headers = [("authorization", desk.bearer.as_str())];
    ask(desk.app, Method::GET, "/whatsapp/templates", &headers, None)
        .await
        .json()
}

async fn standing(number: &Number<'_>) -> (Value, Value, Value) {
    let mut known = known(number).await;
    let mut of = |field: &str| known["templates"][0][field].take();
    (of("status"), of("category"), of("quality"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_told_late_of_a_template_changes_nothing_that_is_newer() {
    let app = with_settings(BY_HAND).await;
    at_meta(&app, &[SATU]);
    let satu = number(&app, "desa-satu", "Meta", SATU).await;
    let waba = satu.waba;
    put(&app, waba, "pengingat");
    let templates = templates(&app);
    assert_eq!(templates.renew_due(DAY).await.unwrap(), 1);
    let listed = (json!("APPROVED"), json!("UTILITY"), standing(&satu).await.2);
    assert_eq!(standing(&satu).await, listed);

    // Long before the list.
    let list = now();
    status(&app, waba, list - 3_600, "REJECTED").await;
    category(&app, waba, list - 3_600, "MARKETING").await;
    quality(&app, waba, list - 3_600, "RED").await;
    assert_eq!(standing(&satu).await, listed);
    assert_ne!(known(&satu).await["synced_at"], Value::Null);

    // After it, and what had happened in between comes afterwards.
    let newer = (json!("PAUSED"), json!("MARKETING"), json!("RED"));
    status(&app, waba, list + 600, "PAUSED").await;
    category(&app, waba, list + 600, "MARKETING").await;
    quality(&app, waba, list + 600, "RED").await;
    assert_eq!(standing(&satu).await, newer);
    status(&app, waba, list + 590, "APPROVED").await;
    category(&app, waba, list + 590, "UTILITY").await;
    quality(&app, waba, list + 590, "GREEN").await;
    assert_eq!(standing(&satu).await, newer);
    // So little later may be a mistake of somebody's: Meta is asked. What was told after it was asked counts.
    assert_eq!(known(&satu).await["synced_at"], Value::Null);
    assert_eq!(templates.renew_due(DAY).await.unwrap(), 1);
    assert_eq!(standing(&satu).await, newer);
    assert_ne!(known(&satu).await["synced_at"], Value::Null);

    // A list of afterwards has the last word, and does not know yet what has just happened.
    let schema = &app.database.names.schema;
    app.run_sql(&format!(
        "UPDATE {schema}.cloud_templates SET status_at = 'epoch', category_at = 'epoch', quality_at = 'epoch'"
    ))
    .await;
    templates
        .list_anew(&TenantScope::named_by_operator(
            TenantId::parse("desa-satu").unwrap(),
        ))
        .await
        .unwrap();
    assert_eq!(standing(&satu).await, listed);
    status(&app, waba, list - 60, "DISABLED").await;
    assert_eq!(standing(&satu).await, listed);
    assert_eq!(known(&satu).await["synced_at"], Value::Null);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_account_that_cannot_be_listed_waits_ever_longer_and_others_do_not() {
    let app = with_settings(BY_HAND).await;
    // Meta does not let us see the other one.
    at_meta(&app, &[SATU]);
    let satu = number(&app, "desa-satu", "Meta", SATU).await;
    put(&app, satu.waba, "pengingat");
    let taken = take(&app, "desa-satu", DUA.0, Some(DUA.1)).await;
    assert_eq!(taken.status, 201, "{}", taken.text);
    let templates = templates(&app);
    assert_eq!(templates.renew_due(DAY).await.unwrap(), 2);
    let of = |mut known: Value, waba: &str| {
        let accounts = known["accounts"].take();
        let all = accounts.as_array().unwrap();
        all.iter().find(|one| one["waba_id"] == waba).cloned().unwrap()
    };
    let good = of(known(&satu).await, satu.waba);
    assert_ne!(good["synced_at"], Value::Null);
    assert_eq!(
        (&good["failures"], &good["next_try_at"]),
        (&json!(0), &Value::Null)
    );

    let schema = &app.database.names.schema;
    let tried_before = async |seconds: u32| {
        app.run_sql(&format!(
            "UPDATE {schema}.cloud_template_syncs SET tried_at = now() - {seconds} * interval '1 second' \
             WHERE waba_id = '{}'",
            DUA.1
        ))
        .await;
    };
    for (failures, minutes) in [(1, 1), (2, 2), (3, 4), (4, 8), (5, 16), (6, 32), (7, 60), (8, 60)] {
        let bad = of(known(&satu).await, DUA.1);
        assert_eq!(
            (&bad["failures"], &bad["synced_at"]),
            (&json!(failures), &Value::Null)
        );
        assert_ne!(bad["failure"], Value::Null);
        assert_ne!(bad["next_try_at"], Value::Null);
        tried_before(minutes * 60 - 30).await;
        assert_eq!(templates.renew_due(DAY).await.unwrap(), 0, "{failures}");
        tried_before(minutes * 60 + 1).await;
        assert_eq!(templates.renew_due(DAY).await.unwrap(), 1, "{failures}");
    }
    // Nor is it asked for whenever something is told of it; of the other one it is.
    for waba in [DUA.1, satu.waba] {
        let news = json!({"event": "APPROVED", "reason": "NONE"});
        tell(&app, waba, "baru", now(), "message_template_status_update", news).await;
    }
    assert_eq!(of(known(&satu).await, satu.waba)["synced_at"], Value::Null);
    assert_eq!(templates.renew_due(DAY).await.unwrap(), 1);
    // Once it can be listed it is as any other.
    at_meta(&app, &[DUA]);
    tried_before(3_601).await;
    assert_eq!(templates.renew_due(DAY).await.unwrap(), 1);
    let well = of(known(&satu).await, DUA.1);
    assert_eq!((&well["failures"], &well["failure"]), (&json!(0), &Value::Null));
    assert_ne!(well["synced_at"], Value::Null);
    app.finish().await;
}
