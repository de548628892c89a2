//! Pictures that people show of themselves, at their contacts: each once, a chosen one never replaced, and no message
//! disturbed by any of it.

use std::time::Duration;

use domain::ids::ChatId;
use messaging::events::chat_profile::{ChatProfile, ProfilePicture};
use messaging::events::message_received::MediaLink;
use reqwest::Method;
use serde_json::json;
use simulator::{ContactView, FaultKind};

use crate::incoming_files::Files;
use crate::world::{envelope, fault, message, received, server_error};

const PHONE: &str = "628123450001";

struct Person {
    files: Files,
    chat: ChatId,
}

impl Person {
    /// Somebody of whom nothing is known.
    async fn stranger() -> Self {
        Self {
            files: Files::start(Duration::ZERO).await,
            chat: ChatId::generate(),
        }
    }

    /// Somebody who wrote.
    async fn start() -> Self {
        let person = Self::stranger().await;
        person.writes("3EB01").await;
        person.files.world.work().await;
        person
    }

    async fn writes(&self, id: &str) {
        let files = &self.files;
        let told = message(&files.place, self.chat, PHONE, id, id);
        files.world.take(&received(&files.place, told)).await;
    }

    /// The person was looked at.
    async fn shows(&self, picture: Option<&str>) {
        let files = &self.files;
        let partner = message(&files.place, self.chat, PHONE, "x", "x").partner;
        let profile = ChatProfile {
            account_id: files.place.account,
            chat_id: self.chat,
            partner,
            picture: picture.map(|name| ProfilePicture {
                sha256: name.to_owned(),
                mime_type: "image/png".into(),
                size: name.len().try_into().unwrap(),
                media: MediaLink {
                    url: files.link(name),
                },
            }),
            at: chrono::Utc::now(),
        };
        files.world.take(&envelope(&files.place, &profile)).await;
    }

    /// The person shows this picture, whose file is its name.
    async fn shows_and_works(&self, name: &str) {
        self.put(name, "image/png", name.as_bytes());
        self.shows(Some(name)).await;
        self.files.world.work().await;
    }

    fn put(&self, name: &str, mime_type: &'static str, bytes: &[u8]) {
        self.files.put(name, mime_type, "picture.png", bytes.to_vec());
    }

    fn contact(&self) -> ContactView {
        let contacts = self
            .files
            .chatwoot
            .chatwoot_contacts(self.files.place.chatwoot_account);
        assert_eq!(contacts.len(), 1);
        contacts[0].clone()
    }

    fn avatar(&self) -> Option<String> {
        let account = self.files.place.chatwoot_account;
        let file = self.files.chatwoot.chatwoot_avatar(account, self.contact().id)?;
        assert_eq!(file.content_type, "image/png");
        Some(String::from_utf8(file.bytes).unwrap())
    }

    /// Pictures that were put up.
    fn uploads(&self) -> usize {
        let requests = self.files.chatwoot.requests();
        let is_upload = |path: &str, method: &str| method == "PUT" && path.contains("/contacts/");
        requests
            .iter()
            .filter(|it| is_upload(&it.path, &it.method))
            .count()
    }

    async fn fails(&self, method: &str, kind: FaultKind, times: u64) {
        let fault = fault(&self.files.place, method, "/contacts/", kind, times);
        self.files.chatwoot.add_fault(fault).unwrap();
    }

    /// Every message is there, and nothing waits or is put aside.
    async fn all_is_well(&self, messages: usize) {
        let texts = self
            .files
            .chatwoot
            .chatwoot_messages(self.files.place.chatwoot_account);
        assert_eq!(texts.len(), messages);
        let tasks = "SELECT count(*) AS n FROM lane_tasks";
        assert_eq!(self.files.world.count(tasks).await, 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_picture_is_put_up_once_and_taken_down() {
    let person = Person::start().await;
    assert_eq!(person.avatar(), None);
    for _ in 0..2 {
        person.shows_and_works("satu").await;
        assert_eq!((person.avatar().as_deref(), person.uploads()), (Some("satu"), 1));
    }
    person.shows_and_works("dua").await;
    assert_eq!((person.avatar().as_deref(), person.uploads()), (Some("dua"), 2));
    assert_eq!(person.contact().name, "Sari Contoh");
    for _ in 0..2 {
        person.shows(None).await;
        person.files.world.work().await;
        assert_eq!(person.avatar(), None);
    }
    person.shows_and_works("dua").await;
    assert_eq!((person.avatar().as_deref(), person.uploads()), (Some("dua"), 3));
    person.all_is_well(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_picture_somebody_chose_stays() {
    let person = Person::start().await;
    let place = &person.files.place;
    let url = format!(
        "{}/chatwoot/api/v1/accounts/{}/contacts/{}",
        person.files.chatwoot.base_url(),
        place.chatwoot_account,
        person.contact().id
    );
    let token = person.files.world.token(place).await;
    let request = reqwest::Client::new()
        .request(Method::PATCH, url)
        .header("api_access_token", token)
        .json(&json!({"avatar_url": "https://pictures.example/bu-rt.png"}));
    assert!(request.send().await.unwrap().status().is_success());
    person.shows_and_works("satu").await;
    person.shows(None).await;
    person.files.world.work().await;
    assert_eq!(person.contact().thumbnail, "https://pictures.example/bu-rt.png");
    assert_eq!(person.uploads(), 0);
    person.all_is_well(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_waits_for_the_contact_and_comes_after_a_lost_answer() {
    let person = Person::stranger().await;
    person.put("satu", "image/png", b"satu");
    person.shows(Some("satu")).await;
    assert_eq!(person.files.world.step().await, 1);
    person.fails("PUT", FaultKind::LostAnswer, 1).await;
    person.writes("3EB01").await;
    person.files.world.work().await;
    // What was put up before the answer was lost is ours, and not somebody's choice.
    assert_eq!((person.avatar().as_deref(), person.uploads()), (Some("satu"), 2));
    person.shows_and_works("dua").await;
    assert_eq!(person.avatar().as_deref(), Some("dua"));
    person.all_is_well(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_shown_is_given_up_and_stops_nothing() {
    let person = Person::start().await;
    // Chatwoot fails whoever asks that; it does not like the file; it is none; there is none; it is too large.
    let refusal = FaultKind::Status {
        status: 422,
        body: Some(json!({"message": "Avatar filesize is too big"})),
        retry_after: None,
    };
    for (name, mime_type, fault) in [
        ("satu", "image/png", Some(server_error())),
        ("dua", "image/png", Some(refusal)),
        ("tiga", "application/pdf", None),
    ] {
        if let Some(fault) = fault {
            person.fails("PUT", fault, 1_000).await;
        }
        person.put(name, mime_type, name.as_bytes());
        person.shows(Some(name)).await;
        person.writes(&format!("3EB-{name}")).await;
        person.files.world.work().await;
        assert_eq!(person.avatar(), None, "{name}");
        person.files.chatwoot.clear_faults();
    }
    person.shows(Some("nowhere")).await;
    person.put("besar", "image/png", &[b'x'; 300_001]);
    person.shows(Some("besar")).await;
    person.files.world.work().await;
    person.all_is_well(4).await;
    // Nothing of it counts against the next one.
    person.shows_and_works("satu").await;
    assert_eq!(person.avatar().as_deref(), Some("satu"));
    person.all_is_well(4).await;
}
