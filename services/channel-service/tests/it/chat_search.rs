//! The list of chats, page by page, filtered and searched (flows of the dashboard's pages).

use channel_service::flows::chat_list::{PAGE, Page, Sought, page};
use channel_service::store::chat_list::{Among, Place};
use domain::ids::TenantId;
use reqwest::Method;
use serde_json::json;
use tenant_isolation::TenantScope;

use crate::harness::{TestApp, text};

const RARA: &str = "6281290000011";
const BIMA: &str = "6281290000022";

fn scope(tenant: &str) -> TenantScope {
    TenantScope::named_by_operator(TenantId::parse(tenant).unwrap())
}

async fn list(app: &TestApp, typed: &str, among: Among) -> Page {
    let sought = Sought::parse(typed);
    page(
        &app.direct,
        &scope("desa-satu"),
        sought.as_ref(),
        among,
        Place::TOP,
    )
    .await
    .unwrap()
}

async fn phones(app: &TestApp, typed: &str, among: Among) -> Vec<String> {
    let page = list(app, typed, among).await;
    page.chats
        .into_iter()
        .map(|row| row.chat.phone.unwrap())
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn people_are_found_by_the_words_of_their_names_and_by_the_beginning_of_their_number() {
    let app = TestApp::spawn().await;
    let (satu, dua) = (app.tenant("desa-satu").await, app.tenant("desa-dua").await);
    for (person, id) in [(RARA, "3EB0L1"), (BIMA, "3EB0L2")] {
        app.post(&satu.json(&text(person, id, "halo")))
            .await
            .assert_kept();
    }
    app.post(&dua.json(&text(RARA, "3EB0L3", "halo")))
        .await
        .assert_kept();
    app.run_sql(&format!(
        "UPDATE chats SET name = 'Rara Ayu-Lestari', last_message_at = now() - interval '1 hour' \
            WHERE tenant_id = 'desa-satu' AND phone = '{RARA}'; \
         UPDATE chats SET name = 'Bima', profile_name = 'Ayub (RT 05)', profile_phone = '0813-7777-1234' \
            WHERE tenant_id = 'desa-satu' AND phone = '{BIMA}';"
    ))
    .await;
    for (typed, found) in [
        ("rara", &[RARA][..]),
        ("RARA lest", &[RARA]),
        ("lestari ayu", &[RARA]),
        ("ay", &[BIMA, RARA]),
        ("rara bima", &[]),
        ("estari", &[]),
        ("rt 05", &[BIMA]),
        ("%", &[BIMA, RARA]),
        ("0812 9000", &[BIMA, RARA]),
        ("+62 812-9000-0011", &[RARA]),
        ("81290000022", &[BIMA]),
        ("0813 7777", &[BIMA]),
        ("0011", &[]),
    ] {
        assert_eq!(phones(&app, typed, Among::All).await, found, "{typed}");
    }
    // The name the person gave first is found still, a number that is replaced is not.
    app.run_sql("UPDATE chats SET profile_phone = NULL WHERE tenant_id = 'desa-satu'")
        .await;
    assert_eq!(phones(&app, "0813 7777", Among::All).await, [""; 0]);
    assert_eq!(phones(&app, "bima", Among::All).await, [BIMA]);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_list_is_turned_page_by_page_and_filtered() {
    let app = TestApp::spawn().await;
    let desa = app.tenant("desa-satu").await;
    app.run_sql(&format!(
        "INSERT INTO chats (tenant_id, id, account_id, address, phone, name, last_message_at, last_text, unread) \
         SELECT 'desa-satu', gen_random_uuid(), '{account}', '62812' || n || '@s.whatsapp.net', '62812' || n, 'Warga ' || n, \
                now() - (n % 7) * interval '1 hour', 'halo', CASE WHEN n % 10 = 0 THEN 1 ELSE 0 END \
         FROM generate_series(1001, 2200) n",
        account = desa.account
    ))
    .await;
    let path = "/takeover/628121500?village_id=desa-satu";
    app.internal(Method::POST, path, Some(&json!({"admin_id": "a1"})))
        .await;
    // Each chat once, in one order, however many were written to in the same hour; also where a word is everybody's.
    for (typed, among, count) in [
        ("", Among::All, 1200),
        ("", Among::Unread, 120),
        ("", Among::TakenOver, 1),
        ("warga", Among::All, 1200),
        ("warga", Among::Unread, 120),
        ("warga 15", Among::All, 100),
        ("warga 15", Among::TakenOver, 1),
    ] {
        let sought = Sought::parse(typed);
        let (mut seen, mut after) = (Vec::new(), Place::TOP);
        loop {
            let page = page(&app.direct, &scope("desa-satu"), sought.as_ref(), among, after)
                .await
                .unwrap();
            assert!(page.chats.len() <= usize::try_from(PAGE).unwrap());
            seen.extend(
                page.chats
                    .iter()
                    .map(|row| (row.chat.last_message_at, row.chat.id)),
            );
            match page.next {
                Some(next) => after = next,
                None => break,
            }
        }
        assert_eq!(seen.len(), count, "{typed:?} {among:?}");
        assert!(seen.is_sorted_by(|a, b| a > b), "{typed:?} {among:?}");
    }
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_changes_in_the_list_is_seen_by_its_mark() {
    let app = TestApp::spawn().await;
    let desa = app.tenant("desa-satu").await;
    app.post(&desa.json(&text(RARA, "3EB0M1", "halo")))
        .await
        .assert_kept();
    crate::ai_handover::until_handled(&app, "3EB0M1").await;
    let before = list(&app, "", Among::All).await.mark;
    assert_eq!(list(&app, "", Among::All).await.mark, before);
    let path = format!("/takeover/{RARA}?village_id=desa-satu");
    app.internal(Method::POST, &path, Some(&json!({"admin_id": "a1"})))
        .await;
    let taken = list(&app, "", Among::All).await.mark;
    assert_ne!(taken, before);
    app.post(&desa.json(&text(RARA, "3EB0M2", "lagi")))
        .await
        .assert_kept();
    assert_ne!(list(&app, "", Among::All).await.mark, taken);
    app.finish().await;
}
