//! Registering accounts: what stands stays, and no tenant's name leads to another one.

use channel_service::flows::register_account::{NewAccount, RegisterError, register};
use domain::ids::TenantId;
use secrecy::SecretString;

use crate::harness::{Tenant, TestApp, text};

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
    let id = register(&app.direct, &app.routes, &app.keys, again(&desa, false))
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

    register(&app.direct, &app.routes, &app.keys, again(&desa, true))
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
    register(&app.direct, &app.routes, &app.keys, squatting)
        .await
        .unwrap();
    let mut second = again(&satu, true);
    second.tenant = TenantId::parse("desa-dua").unwrap();
    (second.instance_name, second.session_id) = ("desa-dua-wa".to_owned(), None);
    let refused = register(&app.direct, &app.routes, &app.keys, second).await;
    let Err(RegisterError::TenantNameTaken(name)) = refused else {
        panic!("{refused:?}");
    };
    assert_eq!(name.as_str(), "desa-dua");
    assert_eq!(app.count("accounts WHERE tenant_id = 'desa-dua'").await, 0);
    app.finish().await;
}
