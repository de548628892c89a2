//! Files of people, from channel-service to Chatwoot: whole, once, and never in the way of the words for long.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chatwoot_bridge::channel_files::ChannelFiles;
use chatwoot_bridge::flows::Tools;
use chatwoot_bridge::workers::lanes::Lanes;
use domain::ids::ChatId;
use messaging::events::message_received::{ChatMessage, MediaLink};
use messaging::lanes::claim_and_work;
use serde_json::{Value, json};
use simulator::{FaultKind, MessageView, Simulator};
use test_support::eventually;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};

use crate::kinds::of_kind;
use crate::world::{LANES, Place, World, fault, message, received, start_chatwoot};

const LIMIT: u64 = 300_000;

/// (type, name, bytes)
type Upload = (&'static str, &'static str, Vec<u8>);

/// Stands for channel-service: files by their path, and 404 for what is not there.
#[derive(Clone, Default)]
struct Uploads(Arc<Mutex<HashMap<String, Upload>>>);

impl Uploads {
    async fn start() -> (Self, String) {
        let uploads = Self::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}/uploads", listener.local_addr().unwrap());
        let serving = uploads.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let serving = serving.clone();
                tokio::spawn(async move { serving.answer(stream).await });
            }
        });
        (uploads, base)
    }

    fn put(&self, path: &str, mime_type: &'static str, name: &'static str, bytes: Vec<u8>) {
        self.0
            .lock()
            .unwrap()
            .insert(path.to_owned(), (mime_type, name, bytes));
    }

    async fn answer(self, stream: TcpStream) {
        let mut stream = BufReader::new(stream);
        let mut asked = String::new();
        stream.read_line(&mut asked).await.unwrap();
        let mut line = String::new();
        while stream.read_line(&mut line).await.unwrap() > 2 {
            line.clear();
        }
        let path = asked.split(' ').nth(1).unwrap_or_default().to_owned();
        let found = self.0.lock().unwrap().get(&path).cloned();
        let (head, bytes) = match found {
            Some((mime_type, name, bytes)) => (
                format!(
                    "HTTP/1.1 200 OK\r\ncontent-type: {mime_type}\r\ncontent-length: {}\r\n\
                     content-disposition: inline; filename=\"{name}\"\r\nconnection: close\r\n\r\n",
                    bytes.len()
                ),
                bytes,
            ),
            None => (
                "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".to_owned(),
                Vec::new(),
            ),
        };
        // The other side may have seen enough.
        drop(stream.write_all(head.as_bytes()).await);
        drop(stream.write_all(&bytes).await);
        drop(stream.shutdown().await);
    }
}

pub(crate) struct Files {
    pub(crate) world: World,
    pub(crate) chatwoot: Simulator,
    pub(crate) place: Place,
    uploads: Uploads,
    base: String,
}

impl Files {
    /// Words wait `patience` for their file.
    pub(crate) async fn start(patience: Duration) -> Self {
        let (world, chatwoot) = (World::start().await, start_chatwoot().await);
        let (uploads, base) = Uploads::start().await;
        let place = world.connect(&chatwoot, "desa-a", "default", "").await;
        let tools = Tools {
            files: ChannelFiles::new(&base, LIMIT, patience).unwrap(),
            ..world.tools.clone()
        };
        let lanes = Lanes {
            tools: tools.clone(),
            ..world.lanes.clone()
        };
        let world = World {
            tools,
            lanes,
            ..world
        };
        Self {
            world,
            chatwoot,
            place,
            uploads,
            base,
        }
    }

    pub(crate) fn link(&self, path: &str) -> String {
        format!("{}/media/{path}?token=abc", self.base)
    }

    pub(crate) fn put(&self, path: &str, mime_type: &'static str, name: &'static str, bytes: Vec<u8>) {
        self.uploads.put(
            &format!("/uploads/media/{path}?token=abc"),
            mime_type,
            name,
            bytes,
        );
    }

    fn picture(&self, chat: ChatId, id: &str, caption: Option<&str>) -> ChatMessage {
        self.media(
            chat,
            id,
            &json!({"kind": "media", "media_kind": "image", "caption": caption}),
        )
    }

    fn media(&self, chat: ChatId, id: &str, content: &Value) -> ChatMessage {
        let mut told = of_kind(&self.place, chat, id, content);
        told.media = Some(MediaLink { url: self.link(id) });
        told
    }

    async fn takes(&self, told: ChatMessage) {
        self.world.take(&received(&self.place, told)).await;
    }

    fn messages(&self) -> Vec<MessageView> {
        self.chatwoot.chatwoot_messages(self.place.chatwoot_account)
    }

    fn by_mark(&self, mark: &str) -> Vec<MessageView> {
        let all = self.messages().into_iter();
        all.filter(|it| it.source_id.as_deref() == Some(mark)).collect()
    }
}

/// (what Chatwoot takes it for, how many bytes)
fn file(message: &MessageView) -> (&str, u64) {
    assert_eq!(message.attachments.len(), 1);
    let file = &message.attachments[0];
    (
        file["file_type"].as_str().unwrap(),
        file["file_size"].as_u64().unwrap(),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn files_arrive_with_the_words_under_them_and_quotes_and_under_their_names() {
    let files = Files::start(Duration::from_secs(20)).await;
    let chat = ChatId::generate();
    files.put("3EB0F1", "image/jpeg", "image.jpg", vec![7; 200_000]);
    files.put("3EB0F2", "audio/ogg", "voice.ogg", vec![8; 1_000]);
    files.put("3EB0F3", "application/pdf", "document.pdf", vec![9; 10]);
    files
        .takes(files.picture(chat, "3EB0F1", Some("jalan rusak")))
        .await;
    let voice = json!({"kind": "media", "media_kind": "voice"});
    let mut voice = files.media(chat, "3EB0F2", &voice);
    voice.quoted = Some("3EB0F1".parse().unwrap());
    files.takes(voice).await;
    let letter = json!({"kind": "media", "media_kind": "document", "file_name": "Kartu Keluarga.pdf"});
    let letter = files.media(chat, "3EB0F3", &letter);
    files.takes(letter).await;
    files.world.work().await;

    let messages = files.messages();
    assert_eq!(messages.len(), 3);
    assert_eq!(messages[0].content.as_deref(), Some("jalan rusak"));
    assert_eq!(file(&messages[0]), ("image", 200_000));
    assert_eq!(messages[0].message_type, "incoming");
    assert_eq!(messages[0].source_id.as_deref(), Some("WAID:3EB0F1"));
    assert_eq!(messages[1].content, None);
    assert_eq!(file(&messages[1]), ("audio", 1_000));
    assert_eq!(messages[1].content_attributes["in_reply_to"], messages[0].id);
    assert_eq!(
        messages[1].content_attributes["in_reply_to_external_id"],
        "WAID:3EB0F1"
    );
    assert_eq!(file(&messages[2]), ("file", 10));
    for (message, name, content_type, bytes) in [
        (&messages[0], "image.jpg", "image/jpeg", vec![7; 200_000]),
        (&messages[1], "voice.ogg", "audio/ogg", vec![8; 1_000]),
        (&messages[2], "Kartu Keluarga.pdf", "application/pdf", vec![9; 10]),
    ] {
        let kept = files.chatwoot.chatwoot_file(message.id, 0).unwrap();
        assert_eq!(
            (kept.name.as_str(), kept.content_type.as_str()),
            (name, content_type)
        );
        assert!(kept.bytes == bytes, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_makes_no_second_file() {
    let files = Files::start(Duration::from_secs(20)).await;
    files.put("3EB0F1", "image/jpeg", "image.jpg", vec![7; 50_000]);
    let lost = fault(
        &files.place,
        "POST",
        "/conversations/1/messages",
        FaultKind::LostAnswer,
        1,
    );
    files.chatwoot.add_fault(lost).unwrap();
    files
        .takes(files.picture(ChatId::generate(), "3EB0F1", Some("sekali")))
        .await;
    files.world.work().await;
    assert_eq!(files.chatwoot.faults()[0].hits, 1);
    assert_eq!(files.messages().len(), 1);
    assert_eq!(file(&files.messages()[0]), ("image", 50_000));
    // It is known that its file is there.
    assert_eq!(files.world.count("SELECT count(*) AS n FROM lane_tasks").await, 0);
    assert_eq!(
        files.world.count("SELECT count(*) AS n FROM message_links").await,
        1
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn words_wait_a_while_for_their_file_and_keep_their_place() {
    let files = Files::start(Duration::from_secs(60)).await;
    let chat = ChatId::generate();
    files.takes(files.picture(chat, "3EB0F1", Some("satu"))).await;
    files
        .takes(message(&files.place, chat, "628123450001", "3EB0T", "dua"))
        .await;
    files.world.step().await;
    assert!(files.messages().is_empty());
    let waits =
        "SELECT count(*) AS n FROM lane_tasks WHERE last_error = 'file_not_there_yet' AND failures = 0";
    assert_eq!(files.world.count(waits).await, 1);
    files.put("3EB0F1", "image/jpeg", "image.jpg", vec![7; 10]);
    files.world.sql("UPDATE lanes SET ready_at = now()").await;
    files.world.work().await;
    let messages = files.messages();
    assert_eq!(messages.len(), 2);
    assert_eq!(file(&messages[0]), ("image", 10));
    assert_eq!(messages[1].content.as_deref(), Some("dua"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_late_follows_once_and_quotes_its_words() {
    let files = Files::start(Duration::from_millis(200)).await;
    let chat = ChatId::generate();
    files
        .takes(files.picture(chat, "3EB0F1", Some("ini fotonya")))
        .await;
    eventually("the words are there", || async {
        files.world.step().await;
        (files.messages().len() == 1).then_some(())
    })
    .await;
    let words = &files.messages()[0];
    assert_eq!(
        words.content.as_deref(),
        Some("ini fotonya\n[image] The file is still on its way and follows.")
    );
    // The same event again makes no second promise.
    files
        .takes(files.picture(chat, "3EB0F1", Some("ini fotonya")))
        .await;
    // Nothing waits for it.
    files
        .takes(message(&files.place, chat, "628123450001", "3EB0T", "lalu"))
        .await;
    eventually("what came after it is there", || async {
        files.world.step().await;
        (files.messages().len() == 2).then_some(())
    })
    .await;
    let waiting = "SELECT count(*) AS n FROM lane_tasks WHERE kind = 'late_file' AND lane LIKE 'file:%'";
    assert_eq!(files.world.count(waiting).await, 1);

    files.put("3EB0F1", "image/jpeg", "image.jpg", vec![7; 10]);
    let lost = fault(
        &files.place,
        "POST",
        "/conversations/1/messages",
        FaultKind::LostAnswer,
        1,
    );
    files.chatwoot.add_fault(lost).unwrap();
    eventually("the file's task is done", || async {
        files
            .world
            .sql("UPDATE lanes SET ready_at = now() WHERE ready_at > now()")
            .await;
        claim_and_work(&files.world.database.db, &files.world.lanes, LANES)
            .await
            .unwrap();
        (files.world.count("SELECT count(*) AS n FROM lane_tasks").await == 0).then_some(())
    })
    .await;
    let late = files.by_mark("WAID:3EB0F1#file");
    assert_eq!(late.len(), 1);
    assert_eq!(
        (file(&late[0]), late[0].content.as_deref()),
        (("image", 10), None)
    );
    assert_eq!(late[0].content_attributes["in_reply_to"], words.id);
    assert_eq!(files.messages().len(), 3);
    let ours = "SELECT count(*) AS n FROM message_links WHERE direction = 'inbound' AND chatwoot_message_id IS NOT NULL";
    assert_eq!(files.world.count(ours).await, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_never_comes_is_for_people() {
    let files = Files::start(Duration::from_millis(1)).await;
    files
        .takes(files.picture(ChatId::generate(), "3EB0F1", None))
        .await;
    eventually("the words are there", || async {
        files.world.step().await;
        (files.messages().len() == 1).then_some(())
    })
    .await;
    files
        .world
        .sql("UPDATE lane_tasks SET created_at = now() - interval '1 day'")
        .await;
    eventually("it is given up", || async {
        files
            .world
            .sql("UPDATE lanes SET ready_at = now() WHERE ready_at > now()")
            .await;
        files.world.step().await;
        let parked = "SELECT count(*) AS n FROM lane_tasks WHERE parked AND last_error = 'file_never_came'";
        (files.world.count(parked).await == 1).then_some(())
    })
    .await;
    assert_eq!(files.messages().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_chatwoot_is_not_given_is_said_in_words() {
    let files = Files::start(Duration::from_secs(20)).await;
    let chat = ChatId::generate();
    files.put("3EB0BIG", "video/mp4", "video.mp4", vec![1; 400_000]);
    let film = json!({"kind": "media", "media_kind": "video", "caption": "banjir"});
    files.takes(files.media(chat, "3EB0BIG", &film)).await;
    // A link that leads elsewhere is not followed, and one that is missing is none.
    let mut foreign = files.picture(chat, "3EB0ELSE", None);
    foreign.media = Some(MediaLink {
        url: format!("{}/chatwoot/api", files.chatwoot.base_url()),
    });
    files.takes(foreign).await;
    let mut none = files.picture(chat, "3EB0NONE", Some("tanpa"));
    none.media = None;
    files.takes(none).await;
    files.world.work().await;
    // Chatwoot has its own opinion of some.
    files.put("3EB0NO", "application/x-msdownload", "a.exe", vec![2; 10]);
    let refused = FaultKind::Status {
        status: 422,
        body: Some(json!({"message": "Attachments type not supported"})),
        retry_after: None,
    };
    files
        .chatwoot
        .add_fault(fault(
            &files.place,
            "POST",
            "/conversations/1/messages",
            refused,
            1,
        ))
        .unwrap();
    let program = json!({"kind": "media", "media_kind": "document", "file_name": "a.exe"});
    files.takes(files.media(chat, "3EB0NO", &program)).await;
    files.world.work().await;
    let words: Vec<String> = files.messages().into_iter().filter_map(|it| it.content).collect();
    assert_eq!(
        words,
        [
            "banjir\n[video] 391 KB: too large for here; it is in WhatsApp.",
            "[image]",
            "tanpa\n[image]",
            "[document: a.exe] Chatwoot does not take this file; it is in WhatsApp.",
        ]
    );
    assert!(files.messages().iter().all(|it| it.attachments.is_empty()));
    assert_eq!(files.world.count("SELECT count(*) AS n FROM lane_tasks").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_to_words_without_a_file_makes_no_second_notice() {
    let files = Files::start(Duration::from_secs(20)).await;
    files.put("3EB0BIG", "video/mp4", "video.mp4", vec![1; 400_000]);
    let path = "/conversations/1/messages";
    let lost = fault(&files.place, "POST", path, FaultKind::LostAnswer, 1);
    files.chatwoot.add_fault(lost).unwrap();
    let film = json!({"kind": "media", "media_kind": "video", "caption": "banjir"});
    files
        .takes(files.media(ChatId::generate(), "3EB0BIG", &film))
        .await;
    files.world.work().await;
    assert_eq!(files.chatwoot.faults()[0].hits, 1);
    let words: Vec<String> = files.messages().into_iter().filter_map(|it| it.content).collect();
    assert_eq!(
        words,
        ["banjir\n[video] 391 KB: too large for here; it is in WhatsApp."]
    );
}
