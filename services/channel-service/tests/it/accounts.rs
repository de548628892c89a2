//! Registering accounts: what stands stays, and no tenant's name leads to another one.

use channel_service::flows::register_account::{NewAccount, RegisterError, register};
use domain::ids::TenantId;
use reqwest::Method;
use secrecy::SecretString;
use serde_json::json;

use crate::harness::{Tenant, TestApp, Wishes, text};
use crate::tenant_config::{assign, root, two_endpoints};

const RARA: &str = "6281290000011";

fn again(tenant: &Tenant, unsigned: bool) -> NewAccount {
    NewAccount {
        tenant: TenantId::parse(tenant.id.as_str()).unwrap(),
        instance_name: tenant.session.name.clone(),
        session_id: Some(tenant.session.id.clone()),
        token: SecretString::from(tenant.session.token.as_str()),
        webhook_key: None,
        unsigned,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_account_stays_signed_until_somebody_says_otherwise() {
    let app = TestApp::spawn().await;
    let desa = app.tenant("desa-satu").await;
    let id = register(
        &app.direct,
        &app.routes,
        &app.keys,
        &app.endpoints,
        again(&desa, false),
    )
    .await
    .unwrap();
    assert_eq!(id, desa.account);
    app.routes.settled().await;
    let mut unsigned = desa.json(&text(RARA, "3EB0U1", "tanpa tanda tangan"));
    unsigned.signature = None;
    app.post(&unsigned).await.assert_error(401, "signature_missing");
    app.post(&desa.json(&text(RARA, "3EB0U2", "bertanda tangan")))
        .await
        .assert_kept();

    register(
        &app.direct,
        &app.routes,
        &app.keys,
        &app.endpoints,
        again(&desa, true),
    )
    .await
    .unwrap();
    app.routes.settled().await;
    test_support::eventually("unsigned webhooks are taken", || async {
        (app.post(&unsigned).await.status == 200).then_some(())
    })
    .await;
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_whose_id_names_another_ones_session_is_not_registered_silently() {
    let app = TestApp::spawn().await;
    let satu = app.tenant("desa-satu").await;
    let mut squatting = again(&satu, true);
    (squatting.instance_name, squatting.session_id) = ("desa-dua".to_owned(), None);
    register(&app.direct, &app.routes, &app.keys, &app.endpoints, squatting)
        .await
        .unwrap();
    let mut second = again(&satu, true);
    second.tenant = TenantId::parse("desa-dua").unwrap();
    (second.instance_name, second.session_id) = ("desa-dua-wa".to_owned(), None);
    let refused = register(&app.direct, &app.routes, &app.keys, &app.endpoints, second).await;
    let Err(RegisterError::TenantNameTaken(name)) = refused else {
        panic!("{refused:?}");
    };
    assert_eq!(name.as_str(), "desa-dua");
    assert_eq!(app.count("accounts WHERE tenant_id = 'desa-dua'").await, 0);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_account_belongs_where_its_tenant_was_put() {
    let (app, second) = two_endpoints(Wishes::default()).await;
    let root = root(&app).await;
    let bound = || app.rows("SELECT instance_name, endpoint FROM accounts ORDER BY id");
    // Known by its name only.
    let schema = &app.database.names.schema;
    app.run_sql(&format!(
        "INSERT INTO {schema}.tenants (tenant_id, name) VALUES ('desa-satu', 'Desa Satu')"
    ))
    .await;
    assign(&app, &root, "desa-satu", json!({"endpoint_name": "Secondary"})).await;
    assert!(bound().await.is_empty());
    let switches = json!({"enabled_wa": true, "enabled_webchat": true});
    let set = app
        .internal(Method::PUT, "/channel-accounts/desa-satu", Some(&switches))
        .await;
    assert_eq!(set.status, 200, "{}", set.text);
    let told = json!({"village_id": "desa-satu", "wa_user_id": "6281290000011", "message_text": "halo",
                      "direction": "IN", "source": "WA_WEBHOOK"});
    let kept = app.internal(Method::POST, "/messages", Some(&told)).await;
    assert_eq!(kept.status, 201, "{}", kept.text);
    assert_eq!(
        bound().await,
        [json!({"instance_name": "desa-satu", "endpoint": "Secondary"})]
    );

    // A session that is registered is the waiting account's, there.
    let new = |instance: &str| NewAccount {
        tenant: TenantId::parse("desa-satu").unwrap(),
        instance_name: instance.to_owned(),
        session_id: None,
        token: SecretString::from("wat_by_hand"),
        webhook_key: None,
        unsigned: true,
    };
    app.run_sql("UPDATE accounts SET endpoint = 'Primary'").await;
    for instance in ["satu", "dua"] {
        register(&app.direct, &app.routes, &app.keys, &app.endpoints, new(instance))
            .await
            .unwrap();
    }
    assert_eq!(
        bound().await,
        [
            json!({"instance_name": "satu", "endpoint": "Secondary"}),
            json!({"instance_name": "dua", "endpoint": "Secondary"})
        ]
    );
    // One that has a session stays where that is, and where none can be, none is.
    app.run_sql("UPDATE tenant_whatsapp_config SET endpoint_name = 'Gone'")
        .await;
    register(&app.direct, &app.routes, &app.keys, &app.endpoints, new("satu"))
        .await
        .unwrap();
    let refused = register(&app.direct, &app.routes, &app.keys, &app.endpoints, new("tiga")).await;
    assert!(
        matches!(&refused, Err(RegisterError::EndpointMissing(Some(name))) if name == "Gone"),
        "{refused:?}"
    );
    assert_eq!(bound().await.len(), 2);
    app.finish().await;
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_no_endpoint_is_the_primary_one_an_account_belongs_to_the_only_one() {
    let app = TestApp::with(Wishes {
        settings: &[(
            "WHATSAPP_ENDPOINTS",
            r#"[{"name":"Toko","provider":"gowa","apiUrl":"{simulator}/gowa"}]"#,
        )],
        ..Wishes::default()
    })
    .await;
    app.bare_tenant("desa-satu").await;
    assert_eq!(
        app.rows("SELECT provider, endpoint FROM accounts").await,
        [json!({"provider": "gowa", "endpoint": "Toko"})]
    );
    let new = NewAccount {
        tenant: TenantId::parse("desa-satu").unwrap(),
        instance_name: "satu".to_owned(),
        session_id: None,
        token: SecretString::from("wat_by_hand"),
        webhook_key: None,
        unsigned: true,
    };
    let refused = register(&app.direct, &app.routes, &app.keys, &app.endpoints, new).await;
    assert!(
        matches!(refused, Err(RegisterError::OtherProvider(_))),
        "{refused:?}"
    );
    app.finish().await;
}
