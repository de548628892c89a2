//! Links to files of messages: each opens one file of one tenant, for a time, whole or in parts.

use reqwest::Method;
use tenant_isolation::TenantTransaction;
use test_support::eventually;
use uuid::Uuid;

use crate::harness::{MediaWishes, Tenant, TestApp, Wishes};
use crate::media::{assert_harmless, header, jpeg, picture, with_inline};

impl TestApp {
    /// Both have a row in each of the files' tables; with no condition at all, one tenant sees its own.
    async fn no_row_is_seen_by(&self, one: &Tenant, other: &Tenant) {
        #[derive(diesel::QueryableByName)]
        struct Seen {
            #[diesel(sql_type = diesel::sql_types::Text)]
            tenant_id: String,
        }
        for tenant in [one, other] {
            self.run_sql(&format!(
                "INSERT INTO media_garbage VALUES ('{}', 'x')",
                tenant.id
            ))
            .await;
        }
        for table in ["media", "media_garbage"] {
            assert_eq!(self.count(table).await, 2);
            let mut tx = TenantTransaction::begin(&self.direct, &one.scope(), "look around")
                .await
                .unwrap();
            let query = format!("SELECT tenant_id FROM {table}");
            let seen: Vec<Seen> = diesel_async::RunQueryDsl::load(diesel::sql_query(query), tx.connection())
                .await
                .unwrap();
            assert!(seen.len() == 1 && seen[0].tenant_id == one.id, "{table}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_opens_one_file_of_one_tenant() {
    let app = TestApp::spawn().await;
    let (ours, theirs) = (app.tenant("desa-satu").await, app.tenant("desa-dua").await);
    // Equal in everything but the tenant.
    let event = with_inline(picture("3EB0IMG1", ""), &jpeg(700));
    let message = app.post(&ours.json(&event)).await.assert_kept();
    let other = app.post(&theirs.json(&event)).await.assert_kept();
    let link = app.link("desa-satu", &message);
    let (path, token) = link.split_once("?token=").unwrap();
    assert_eq!(app.fetch(&link, &[]).await.0, 200);
    let flipped = |at: usize| {
        let mut token = token.as_bytes().to_vec();
        token[at] = if token[at] == b'A' { b'B' } else { b'A' };
        format!("{path}?token={}", String::from_utf8(token).unwrap())
    };
    for wrong in [
        path.to_owned(),
        format!("{path}?token="),
        format!("{path}?token=%00"),
        format!("{path}?token={}", "A".repeat(5_000)),
        flipped(3),
        flipped(12),
        flipped(token.len() - 5),
        // Our token for their message, and a token that is really ours, for a message that is not.
        format!("/uploads/media/{other}?token={token}"),
        app.link("desa-satu", &other),
        app.link("desa-dua", &message),
        app.link("desa-satu", &Uuid::now_v7().to_string()),
    ] {
        app.get(&wrong).await.assert_error(404, "route_not_found");
    }
    assert_eq!(app.fetch(&app.link("desa-dua", &other), &[]).await.0, 200);
    app.no_row_is_seen_by(&ours, &theirs).await;
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_expires() {
    let media = MediaWishes {
        link_seconds: "1",
        ..MediaWishes::default()
    };
    let app = TestApp::with(Wishes {
        media,
        ..Wishes::default()
    })
    .await;
    let tenant = app.tenant("desa-satu").await;
    let event = with_inline(picture("3EB0IMG1", ""), &jpeg(700));
    let message = app.post(&tenant.json(&event)).await.assert_kept();
    let link = app.link("desa-satu", &message);
    eventually("the link has expired", || async {
        (app.get(&link).await.status == 404).then_some(())
    })
    .await;
    // The file is still there for a new link.
    eventually("a new link opens it", || async {
        (app.fetch(&app.link("desa-satu", &message), &[]).await.0 == 200).then_some(())
    })
    .await;
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parts_and_known_copies_are_answered_as_browsers_ask() {
    let app = TestApp::spawn().await;
    let tenant = app.tenant("desa-satu").await;
    let bytes = jpeg(100_000);
    let event = with_inline(picture("3EB0IMG1", ""), &bytes);
    let message = app.post(&tenant.json(&event)).await.assert_kept();
    let link = app.link("desa-satu", &message);
    let (_, headers, _) = app.fetch(&link, &[]).await;
    assert_eq!(header(&headers, "accept-ranges"), "bytes");
    let etag = header(&headers, "etag").to_owned();

    let (status, headers, body) = app.fetch(&link, &[("range", "bytes=100-199")]).await;
    assert_eq!((status, &body[..]), (206, &bytes[100..200]));
    assert_eq!(header(&headers, "content-range"), "bytes 100-199/100000");
    assert_eq!(header(&headers, "content-length"), "100");
    assert_harmless(&headers);
    let (status, _, body) = app
        .fetch(&link, &[("range", "bytes=-10"), ("if-range", &etag)])
        .await;
    assert_eq!((status, &body[..]), (206, &bytes[99_990..]));
    let (status, _, body) = app
        .fetch(&link, &[("range", "bytes=-10"), ("if-range", "\"x\"")])
        .await;
    assert_eq!((status, body.len()), (200, bytes.len()));
    let (status, headers, _) = app.fetch(&link, &[("range", "bytes=100000-")]).await;
    assert_eq!(
        (status, header(&headers, "content-range")),
        (416, "bytes */100000")
    );

    let (status, _, body) = app.fetch(&link, &[("if-none-match", &etag)]).await;
    assert_eq!((status, body.len()), (304, 0));
    let (status, headers, body) = app.fetch_as(Method::HEAD, &link, &[]).await;
    assert_eq!((status, body.len()), (200, 0));
    assert_eq!(header(&headers, "content-length"), "100000");
    app.finish().await;
}
