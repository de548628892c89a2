//! `GET /files/{name}`: the files of agents' messages, as Chatwoot has them (contract 2.8; 6, 15).

use chatwoot_bridge::config::Settings;
use chatwoot_bridge::flows::agent_files::{FileLinks, LINK_LIFETIME};
use chatwoot_bridge::store::agent_files::FileKey;
use chrono::{TimeDelta, Utc};
use domain::ids::{ChatId, TenantId};
use reqwest::StatusCode;
use runtime::config::{BaseUrl, Setting as _};
use serde_json::Value;
use simulator::{ChatwootConfigChange, Reply, ReplyFile, Simulator};
use test_support::eventually;

use crate::world::{FILES_URL, Place, Running, World, keys, message, received, start_chatwoot};

const NO_BROKER: &str = "amqp://guest:guest@127.0.0.1:1/%2f";
const PDF: &[u8] = b"%PDF-1.4 kartu keluarga";

struct Side {
    world: World,
    chatwoot: Simulator,
    running: Running,
    place: Place,
}

impl Side {
    async fn start(change: impl FnOnce(&mut Settings)) -> Self {
        let (world, chatwoot) = (World::start().await, start_chatwoot().await);
        let mut settings = world.settings(NO_BROKER, "");
        settings.storage.files.files_url = BaseUrl::from_text(FILES_URL);
        change(&mut settings);
        let running = Running::ready(settings).await;
        let webhook = format!("{}/webhook", running.base);
        let place = world.connect(&chatwoot, "desa-a", "default", &webhook).await;
        let question = message(&place, ChatId::generate(), "628123450001", "3EB01", "tanya");
        world.take(&received(&place, question)).await;
        eventually("the question is in Chatwoot", || async {
            (chatwoot.chatwoot_messages(place.chatwoot_account).len() == 1).then_some(())
        })
        .await;
        Self {
            world,
            chatwoot,
            running,
            place,
        }
    }

    fn configure(&self, change: ChatwootConfigChange) {
        self.chatwoot.configure_chatwoot(change);
    }

    /// An agent sends a file. Returns the link to it.
    async fn link(&self, name: &str) -> String {
        #[derive(diesel::QueryableByName)]
        struct Row {
            #[diesel(sql_type = diesel::sql_types::Text)]
            envelope: String,
        }
        let id = self
            .chatwoot
            .agent_reply(&Reply {
                account_id: self.place.chatwoot_account,
                conversation_id: 1,
                files: vec![ReplyFile::new(name, "application/pdf", PDF)],
                ..Reply::default()
            })
            .unwrap();
        let query = format!(
            "SELECT envelope FROM outbox WHERE envelope::jsonb->'data'->>'reference' = 'chatwoot:{}:{id}'",
            self.place.link
        );
        let envelope = eventually("the order is made", || async {
            let mut connection = self.world.database.admin().await;
            let rows: Vec<Row> = diesel_async::RunQueryDsl::load(diesel::sql_query(&query), &mut connection)
                .await
                .unwrap();
            rows.into_iter().next().map(|row| row.envelope)
        })
        .await;
        let order: Value = serde_json::from_str(&envelope).unwrap();
        let url = &order["data"]["content"]["sources"][0]["url"];
        url.as_str().unwrap().to_owned()
    }

    /// Fetches what a link leads to, as channel-service would: without following anything.
    async fn fetch(&self, link: &str) -> reqwest::Response {
        let url = link.replacen(FILES_URL, &self.running.base, 1);
        let client = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .unwrap();
        client.get(url).send().await.unwrap()
    }

    async fn refused(&self, link: &str) -> (StatusCode, String) {
        let answer = self.fetch(link).await;
        let status = answer.status();
        let body: Value = answer.json().await.unwrap();
        (status, body["code"].as_str().unwrap().to_owned())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn redirects_late_files_hosts_names_types_expiry() {
    let side = Side::start(|_| {}).await;
    let link = side.link("KK baru é.pdf").await;
    // The upload is not finished when the message is told of; and the store is three redirects away.
    side.configure(ChatwootConfigChange {
        file_404s: Some(1),
        file_hops: Some(3),
        ..ChatwootConfigChange::default()
    });
    let late = side.link("terlambat.pdf").await;
    for link in [&link, &late] {
        let answer = side.fetch(link).await;
        assert_eq!(answer.status(), StatusCode::OK, "{link}");
        let header = |name: &str| answer.headers()[name].to_str().unwrap().to_owned();
        assert_eq!(header("content-type"), "application/pdf");
        assert_eq!(header("content-disposition"), "attachment");
        assert_eq!(header("x-content-type-options"), "nosniff");
        assert_eq!(header("content-length"), PDF.len().to_string());
        assert_eq!(answer.bytes().await.unwrap(), PDF);
    }
    assert!(link.contains("/files/KK%20baru%20%C3%A9.pdf?token="), "{link}");

    // It leads on and on; into our own network; and nowhere.
    for (change, code) in [
        (
            ChatwootConfigChange {
                file_hops: Some(4),
                ..ChatwootConfigChange::default()
            },
            "redirects_on_and_on",
        ),
        (
            ChatwootConfigChange {
                file_redirect_to: Some("http://169.254.169.254/latest".into()),
                ..ChatwootConfigChange::default()
            },
            "url_private",
        ),
        (
            ChatwootConfigChange {
                file_redirect_to: Some("file:///etc/passwd".into()),
                ..ChatwootConfigChange::default()
            },
            "url_invalid",
        ),
    ] {
        side.configure(change);
        let refused = side.refused(&link).await;
        assert_eq!(refused, (StatusCode::UNPROCESSABLE_ENTITY, code.to_owned()));
    }
    assert!(side.running.stop().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_opens_one_file_for_a_while_and_nothing_else() {
    let side = Side::start(|_| {}).await;
    let link = side.link("a.pdf").await;
    let nothing = (StatusCode::NOT_FOUND, "route_not_found".to_owned());
    let links = FileLinks::new(&keys(), FILES_URL).unwrap();
    let tenant = TenantId::parse("desa-a").unwrap();
    let token = link.split_once("token=").unwrap().1;
    let (_, key) = links.check(token, Utc::now()).unwrap();
    let past = Utc::now() - TimeDelta::from_std(LINK_LIFETIME).unwrap();
    let other_part = FileKey { part: 7, ..key };
    for wrong in [
        link[..link.len() - 2].to_owned(),
        format!("{FILES_URL}/files/a.pdf"),
        links.of(&tenant, &key, "a.pdf", past),
        links.of(&tenant, &other_part, "a.pdf", Utc::now()),
        // Another tenant's own link does not open this one's file.
        links.of(&TenantId::parse("desa-b").unwrap(), &key, "a.pdf", Utc::now()),
    ] {
        assert_eq!(side.refused(&wrong).await, nothing, "{wrong}");
    }
    assert_eq!(side.fetch(&link).await.status(), StatusCode::OK);
    side.world.sql("DELETE FROM agent_files").await;
    assert_eq!(side.refused(&link).await, nothing);
    assert!(side.running.stop().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chatwoot_that_calls_itself_by_another_name_is_reached_where_its_api_is() {
    let side = Side::start(|settings| settings.storage.files.rewrite_host = true).await;
    side.configure(ChatwootConfigChange {
        frontend_url: Some("https://chatwoot.invalid/chatwoot".into()),
        ..ChatwootConfigChange::default()
    });
    let link = side.link("a.pdf").await;
    let answer = side.fetch(&link).await;
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(answer.bytes().await.unwrap(), PDF);
    assert!(side.running.stop().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_large_is_not_handed_on() {
    let side = Side::start(|settings| settings.storage.files.file_limit = 10).await;
    let link = side.link("a.pdf").await;
    let refused = side.refused(&link).await;
    assert_eq!(refused.0, StatusCode::PAYLOAD_TOO_LARGE);
    assert!(side.running.stop().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_address_of_ours_a_file_is_refused_where_it_was_written() {
    let side = Side::start(|settings| settings.storage.files.files_url = None).await;
    let id = side
        .chatwoot
        .agent_reply(&Reply {
            account_id: side.place.chatwoot_account,
            conversation_id: 1,
            content: "ini".into(),
            files: vec![ReplyFile::new("a.pdf", "application/pdf", PDF)],
            ..Reply::default()
        })
        .unwrap();
    let shown = eventually("the agent is told", || async {
        side.chatwoot.status_updates().pop()
    })
    .await;
    assert_eq!((shown.message_id, shown.status.as_str()), (id, "failed"));
    assert!(shown.external_error.unwrap().contains("FILES_URL"));
    assert_eq!(side.world.count("SELECT count(*) AS n FROM outbox").await, 0);
    assert!(side.running.stop().await);
}
