//! Pictures that people show of themselves: looked at when they write, kept like other files, told when they change.

use std::num::NonZeroU32;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use channel_service::config::{PictureHosts, PictureSettings};
use channel_service::flows::chat_picture::{PictureLooks, Wish};
use channel_service::flows::courtesy::Courtesies;
use channel_service::flows::fetch_url::FileClient;
use channel_service::workers::media::sweep;
use domain::ids::ChatId;
use messaging::outbox::Signal;
use outbound_url::OutboundPolicy;
use runtime::config::Setting as _;
use serde_json::Value;
use simulator::{FaultSpec, GowaConfigChange, GowaInbound, ShownPicture};
use tenant_isolation::{TenantScope, TenantTransaction};
use test_support::eventually;

use crate::gowa_world::{self, ENDPOINTS, RARA};
use crate::harness::{Tenant, TestApp, Wishes, refusal, text};

const AVATAR: &str = "/wa/user/avatar";
const FILES: &str = "/wa/_pictures/";

fn jpeg(seed: u8) -> Vec<u8> {
    let mut bytes = BASE64.decode("/9j/4AAQSkZJRgABAQ==").unwrap();
    bytes.extend([seed; 64]);
    bytes
}

fn shown(phone: &str, id: &str, bytes: &[u8]) -> ShownPicture {
    ShownPicture {
        phone: phone.to_owned(),
        data: Some(BASE64.encode(bytes)),
        id: Some(id.to_owned()),
        elsewhere: None,
    }
}

fn looks(app: &TestApp) -> PictureLooks {
    let every = Duration::from_secs(7 * 24 * 60 * 60);
    PictureLooks {
        ways: Courtesies {
            db: app.direct.clone(),
            keys: app.keys.clone(),
            endpoints: app.endpoints.clone(),
        },
        storage: app.media.storage.clone(),
        links: app.media.links.clone(),
        files: FileClient::new(OutboundPolicy::from_text("127.0.0.1:*").unwrap()).unwrap(),
        settings: PictureSettings {
            every: Some(every),
            per_minute: NonZeroU32::MAX,
            limit: 1_000,
            hosts: PictureHosts::from_text("*.whatsapp.net").unwrap(),
        },
        every,
        relay: Signal::default(),
    }
}

struct Chat {
    app: TestApp,
    looks: PictureLooks,
    wish: Wish,
}

impl Chat {
    /// Somebody wrote.
    async fn start() -> (Self, Tenant) {
        let app = TestApp::spawn().await;
        let desa = app.tenant("desa-satu").await;
        app.post(&desa.json(&text(RARA, "3EB01", "halo")))
            .await
            .assert_kept();
        let looks = looks(&app);
        let wish = Wish {
            scope: desa.scope(),
            chat: chat_of(&app, &desa).await,
        };
        (Self { app, looks, wish }, desa)
    }

    /// False: it was not time.
    async fn look(&self) -> bool {
        let Some(begun) = self.looks.begin(self.wish.clone()).await.unwrap() else {
            return false;
        };
        self.looks.look(begun).await.unwrap();
        true
    }

    /// As [`Self::look`], when the days are over.
    async fn look_again(&self) {
        self.app.run_sql("UPDATE chat_pictures SET due_at = now()").await;
        assert!(self.look().await);
    }

    fn shows(&self, picture: &ShownPicture) {
        self.app.simulator.show_picture(picture).unwrap();
    }

    async fn row(&self) -> Value {
        let query = "SELECT *, due_at > now() + interval '6 days' AS days, due_at > now() AS later FROM chat_pictures";
        self.app.rows(query).await.pop().unwrap()
    }

    fn asked(&self, path: &str) -> usize {
        let requests = self.app.simulator.requests();
        requests.iter().filter(|it| it.path.starts_with(path)).count()
    }

    async fn told(&self, count: usize) -> Value {
        eventually(&format!("{count} events are told"), || async {
            let told = self.app.data_of("chat.profile");
            (told.len() >= count).then_some(told)
        })
        .await
        .swap_remove(count - 1)
    }

    /// What an event's link leads to.
    async fn file(&self, event: &Value) -> (u16, Vec<u8>) {
        let url = event["picture"]["media"]["url"].as_str().unwrap();
        let path = url.strip_prefix("http://inside.example").unwrap();
        let answer = self.app.http().get(format!("{}{path}", self.app.url)).send();
        let answer = answer.await.unwrap();
        (answer.status().as_u16(), answer.bytes().await.unwrap().to_vec())
    }
}

async fn chat_of(app: &TestApp, tenant: &Tenant) -> ChatId {
    let query = format!("SELECT id FROM chats WHERE tenant_id = '{}'", tenant.id);
    let row = app.rows(&query).await.pop().unwrap();
    ChatId::from_uuid(row["id"].as_str().unwrap().parse().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_picture_is_kept_once_and_told_until_another_follows() {
    let (chat, _) = Chat::start().await;
    chat.shows(&shown(RARA, "1", &jpeg(1)));
    assert!(chat.look().await);
    let first = chat.told(1).await;
    assert_eq!(first["partner"]["name"], "Rara");
    assert_eq!(first["partner"]["phone"], RARA);
    assert_eq!(first["picture"]["mime_type"], "image/jpeg");
    assert_eq!(chat.file(&first).await, (200, jpeg(1)));

    // Not again for days, whoever writes.
    assert!(!chat.look().await);
    assert_eq!(
        (chat.asked(AVATAR), chat.row().await["days"].clone()),
        (1, true.into())
    );

    // By its id it is known without being fetched, and told to whoever came since.
    chat.look_again().await;
    assert_eq!(
        chat.told(2).await["picture"]["sha256"],
        first["picture"]["sha256"]
    );
    assert_eq!((chat.asked(AVATAR), chat.asked(FILES)), (2, 1));
    // Under another id by its content.
    chat.shows(&shown(RARA, "2", &jpeg(1)));
    chat.look_again().await;
    assert_eq!(
        chat.told(3).await["picture"]["sha256"],
        first["picture"]["sha256"]
    );
    assert_eq!(
        (chat.row().await["whatsapp_id"].clone(), chat.asked(FILES)),
        ("2".into(), 2)
    );
    assert_eq!(chat.app.objects().len(), 1);

    // Another one takes its place.
    chat.shows(&shown(RARA, "3", &jpeg(3)));
    chat.look_again().await;
    let other = chat.told(4).await;
    assert_ne!(other["picture"]["sha256"], first["picture"]["sha256"]);
    assert_eq!(chat.file(&other).await, (200, jpeg(3)));
    assert_eq!(chat.file(&first).await.0, 404);
    assert_eq!(chat.app.count("media_garbage").await, 1);
    sweep(&chat.app.direct, &chat.app.media.storage, Duration::ZERO)
        .await
        .unwrap();
    assert_eq!(chat.app.objects().len(), 1, "the old one goes, the new one stays");
    assert_eq!(chat.file(&other).await, (200, jpeg(3)));

    // None any more: told once.
    chat.shows(&ShownPicture {
        phone: RARA.to_owned(),
        ..ShownPicture::default()
    });
    chat.look_again().await;
    assert_eq!(chat.told(5).await.get("picture"), None);
    assert_eq!(chat.file(&other).await.0, 404);
    chat.look_again().await;
    assert_eq!(chat.row().await["days"], true);

    // With the chat goes what is known of it.
    chat.shows(&shown(RARA, "4", &jpeg(4)));
    chat.look_again().await;
    chat.told(6).await;
    chat.app.run_sql("DELETE FROM messages; DELETE FROM chats").await;
    assert_eq!(chat.app.count("chat_pictures").await, 0);
    sweep(&chat.app.direct, &chat.app.media.storage, Duration::ZERO)
        .await
        .unwrap();
    assert_eq!(chat.app.objects().len(), 0);
    chat.app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_had_or_is_no_picture_is_left_for_later() {
    let (chat, _) = Chat::start().await;
    chat.app
        .simulator
        .add_fault(FaultSpec::on_path(AVATAR, refusal(500, "failed", None)).times(1))
        .unwrap();
    let elsewhere = |url: &str| ShownPicture {
        elsewhere: Some(url.to_owned()),
        ..shown(RARA, "1", &jpeg(1))
    };
    for (failures, picture) in [
        (1, shown(RARA, "1", &jpeg(1))),
        (2, shown(RARA, "1", b"%PDF-1.4 kartu")),
        (3, shown(RARA, "1", b"MZ\x90\x00 not a picture")),
        (4, shown(RARA, "1", &[jpeg(1), vec![0; 1_000]].concat())),
        // A host that is not named; one that is, without TLS; and what is not dialled at all.
        (5, elsewhere("https://evil.example/a.jpg")),
        (6, elsewhere("http://pps.whatsapp.net/a.jpg")),
        (7, elsewhere("http://169.254.169.254/latest")),
        (8, elsewhere("file:///etc/passwd")),
    ] {
        chat.shows(&picture);
        if failures == 1 {
            assert!(chat.look().await);
        } else {
            chat.look_again().await;
        }
        let row = chat.row().await;
        assert_eq!(
            (row["failures"].as_i64(), &row["later"]),
            (Some(failures), &true.into())
        );
        assert_eq!(row["picture_id"], Value::Null);
    }
    assert_eq!(chat.app.objects().len(), 0);
    // Nobody asks anew as soon as it failed.
    assert!(!chat.look().await);
    chat.shows(&shown(RARA, "1", &jpeg(1)));
    chat.look_again().await;
    assert_eq!(chat.row().await["failures"], 0);
    let told = chat.told(1).await;
    assert_eq!(chat.file(&told).await, (200, jpeg(1)), "the first that was told");
    chat.app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_looks_at_once_are_one_and_a_late_one_writes_nothing() {
    let (chat, _) = Chat::start().await;
    chat.shows(&shown(RARA, "1", &jpeg(1)));
    let slow = chat.looks.begin(chat.wish.clone()).await.unwrap().unwrap();
    assert!(chat.looks.begin(chat.wish.clone()).await.unwrap().is_none());
    // It takes so long that another one begins, and ends first.
    chat.look_again().await;
    let told = chat.told(1).await;
    chat.shows(&shown(RARA, "2", &jpeg(2)));
    chat.looks.look(slow).await.unwrap();
    assert_eq!(chat.row().await["whatsapp_id"], "1");
    assert_eq!(chat.file(&told).await, (200, jpeg(1)));
    assert_eq!(
        (chat.app.objects().len(), chat.app.count("media_garbage").await),
        (1, 0)
    );
    chat.app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pictures_of_two_tenants_never_meet() {
    let (chat, one) = Chat::start().await;
    let two = chat.app.tenant("desa-dua").await;
    chat.app
        .post(&two.json(&text(RARA, "3EB01", "halo")))
        .await
        .assert_kept();
    chat.shows(&shown(RARA, "1", &jpeg(1)));
    assert!(chat.look().await);
    // Another tenant's scope with this chat's id finds nothing to look at.
    let foreign = Wish {
        scope: two.scope(),
        ..chat.wish.clone()
    };
    assert!(chat.looks.begin(foreign).await.unwrap().is_none());
    let own = Wish {
        scope: two.scope(),
        chat: chat_of(&chat.app, &two).await,
    };
    let begun = chat.looks.begin(own).await.unwrap().unwrap();
    chat.looks.look(begun).await.unwrap();
    assert_eq!(chat.app.count("chat_pictures").await, 2);
    for (tenant, other) in [(&one, &two), (&two, &one)] {
        assert_eq!(seen_by(&chat.app, &tenant.scope()).await, [tenant.id.as_str()]);
        let query = format!(
            "SELECT picture_id FROM chat_pictures WHERE tenant_id = '{}'",
            tenant.id
        );
        let row = chat.app.rows(&query).await.pop().unwrap();
        let id = row["picture_id"].as_str().unwrap();
        let path = |tenant: &Tenant| chat.app.link(&tenant.id, id);
        assert_eq!(chat.app.get(&path(tenant)).await.status, 200);
        assert_eq!(chat.app.get(&path(other)).await.status, 404);
    }
    chat.app.finish().await;
}

/// Whose rows a tenant sees with no condition at all.
async fn seen_by(app: &TestApp, scope: &TenantScope) -> Vec<String> {
    #[derive(diesel::QueryableByName)]
    struct Seen {
        #[diesel(sql_type = diesel::sql_types::Text)]
        tenant_id: String,
    }
    let mut tx = TenantTransaction::begin(&app.direct, scope, "look around")
        .await
        .unwrap();
    let query = diesel::sql_query("SELECT tenant_id FROM chat_pictures");
    let seen: Vec<Seen> = diesel_async::RunQueryDsl::load(query, tx.connection())
        .await
        .unwrap();
    seen.into_iter().map(|row| row.tenant_id).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_writes_is_looked_at_whichever_server_it_is() {
    let app = TestApp::with(Wishes {
        settings: &[
            ENDPOINTS,
            ("PROFILE_PICTURE_DAYS", "7"),
            ("PROFILE_PICTURES_PER_MINUTE", "60000"),
        ],
        ..Wishes::default()
    })
    .await;
    app.simulator.configure_gowa(GowaConfigChange {
        basic_auth: Some("kanal:password-of-gowa".to_owned()),
        ..GowaConfigChange::default()
    });
    let toko = gowa_world::device(&app, "toko-satu", "toko-1", "628111000001").await;
    app.simulator
        .gowa_show_picture(&shown(RARA, "g1", &jpeg(9)))
        .unwrap();
    // Of the message with which somebody comes, and of no other one.
    for id in ["3EB01", "3EB02"] {
        let inbound = GowaInbound {
            device: toko.id.clone(),
            from: RARA.to_owned(),
            text: Some(id.to_owned()),
            id: Some(id.to_owned()),
            ..GowaInbound::default()
        };
        app.simulator.gowa_inbound(&inbound).unwrap();
    }
    let told = eventually("the picture is told", || async {
        app.data_of("chat.profile").pop()
    })
    .await;
    assert_eq!(told["account_id"], toko.account.to_string());
    assert_eq!(told["picture"]["size"], jpeg(9).len());
    app.finish().await;
}
