//! Files of messages that go: with their message or their tenant, at once or with the sweep.

use std::time::Duration;

use cache::RedisLink;
use channel_service::flows::erase_tenant::erase;
use channel_service::flows::tenant::Actor;
use channel_service::workers::media::sweep;
use domain::ids::TenantId;
use domain::user::Role;
use reqwest::Method;
use secrecy::SecretString;
use serde_json::json;
use tenant_isolation::{TenantScope, TenantTransaction};
use test_support::eventually;

use crate::harness::TestApp;
use crate::media::{jpeg, picture, with_inline, with_s3};
use crate::signing_in::{ask, bearer_of};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_left_behind() {
    let app = TestApp::spawn().await;
    let tenant = app.tenant("desa-satu").await;
    let bytes = jpeg(1_000);
    let url = app.simulator.put_s3_object("b.jpg", bytes.clone());
    app.post(&tenant.json(&with_s3(picture("FETCHED", ""), &url, 9)))
        .await
        .assert_kept();
    app.until_media("stored").await;
    let kept = app
        .post(&tenant.json(&with_inline(picture("INLINE", ""), &bytes)))
        .await
        .assert_kept();
    assert_eq!(app.objects().len(), 2);
    // As if the process had died between object and commit.
    let orphan = app.objects()[0].with_file_name("0123456789abcdef0123456789abcdef");
    std::fs::write(&orphan, b"x").unwrap();
    // A message is deleted by its tenant, and with it the row of its file.
    let mut tx = TenantTransaction::begin(&app.direct, &tenant.scope(), "delete")
        .await
        .unwrap();
    diesel_async::SimpleAsyncConnection::batch_execute(
        tx.connection(),
        &format!("DELETE FROM messages WHERE id <> '{kept}'"),
    )
    .await
    .unwrap();
    tx.commit().await.unwrap();
    assert_eq!(app.count("media").await, 1);
    assert_eq!(app.count("media_garbage").await, 1);

    sweep(&app.direct, &app.media.storage, Duration::from_secs(3_600))
        .await
        .unwrap();
    assert_eq!(app.objects().len(), 2, "too young to be an orphan");
    assert_eq!(app.count("media_garbage").await, 0);
    sweep(&app.direct, &app.media.storage, Duration::ZERO)
        .await
        .unwrap();
    let row = app.media_row().await;
    assert_eq!(app.objects().len(), 1);
    assert!(app.objects()[0].ends_with(row["object_key"].as_str().unwrap()));
    eventually("idle lanes are gone", || async {
        sweep(&app.direct, &app.media.storage, Duration::ZERO)
            .await
            .unwrap();
        (app.count("lanes WHERE lane LIKE 'media:%'").await == 0).then_some(())
    })
    .await;
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_erased_tenant_takes_its_files_with_it() {
    let app = TestApp::spawn().await;
    let bytes = jpeg(1_000);
    for id in ["desa-satu", "desa-dua"] {
        let tenant = app.tenant(id).await;
        for n in 0..2 {
            let webhook = tenant.json(&with_inline(picture(&format!("{id}-{n}"), "jalan rusak"), &bytes));
            app.post(&webhook).await.assert_kept();
        }
    }
    assert_eq!(app.objects().len(), 4);
    let root = bearer_of(&app, "super@kanal.id", Role::Superadmin, None).await;
    let confirm = Some(json!({"confirm": "desa-satu"}));
    let path = "/tenants/desa-satu";
    let answer = ask(&app, Method::DELETE, path, &[("authorization", &root)], confirm).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let left = app.objects();
    assert!(
        left.len() == 2
            && left
                .iter()
                .all(|path| path.to_str().unwrap().contains("t-desa-dua"))
    );
    assert_eq!(
        (app.count("media").await, app.count("media_garbage").await),
        (2, 0)
    );

    // Where the object store is not at hand, the names wait for the sweep.
    let redis = RedisLink::new(&SecretString::from(test_support::redis_url()), "eraser").unwrap();
    let dua = TenantScope::named_by_operator(TenantId::parse("desa-dua").unwrap());
    let operator = Actor::operator();
    erase(&app.direct, &app.keys, &redis, &app.routes, None, &dua, &operator)
        .await
        .unwrap();
    assert_eq!(
        (app.count("media").await, app.count("media_garbage").await),
        (0, 2)
    );
    assert_eq!(app.objects().len(), 2);
    sweep(&app.direct, &app.media.storage, Duration::from_secs(3_600))
        .await
        .unwrap();
    assert_eq!(app.objects().len(), 0);
    assert_eq!(app.count("media_garbage").await, 0);
    app.finish().await;
}
