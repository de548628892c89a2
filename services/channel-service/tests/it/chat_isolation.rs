//! Two tenants with equal everything never see each other: some thousand random operations, checked against what
//! each tenant alone should see.

use std::collections::BTreeMap;

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::TestApp;

/// Of each village; enough to meet every operation in every order many times.
const OPERATIONS: usize = 1_000;
const VILLAGES: [&str; 2] = ["desa-satu", "desa-dua"];
const PEOPLE: [&str; 5] = [
    "6281290000011",
    "6281290000012",
    "4915112345678",
    "web_sama",
    "204466881133557@lid",
];

/// A small generator with a seed, so that a failure can be repeated.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(sides).unwrap()).unwrap()
    }

    fn pick<'a>(&mut self, items: &[&'a str]) -> &'a str {
        items[self.roll(items.len())]
    }
}

/// What one tenant should see of one person.
#[derive(Default)]
struct Chat {
    texts: Vec<String>,
    unread: u64,
    admin: Option<String>,
    name: Option<String>,
}

/// What one tenant should see.
#[derive(Default)]
struct Village {
    chats: BTreeMap<&'static str, Chat>,
    /// Row ids by message id.
    known: BTreeMap<String, Value>,
}

struct World<'a> {
    app: &'a TestApp,
    village: Village,
}

fn path_of(person: &str) -> String {
    person.replace('@', "%40")
}

impl World<'_> {
    async fn call(&self, method: Method, path: String, body: Option<Value>) -> Value {
        let answer = self.app.internal(method.clone(), &path, body.as_ref()).await;
        assert!(
            answer.status < 300,
            "{method} {path}: {} {}",
            answer.status,
            answer.text
        );
        answer.json()
    }

    /// Equal message ids of both villages are told on purpose, and repeated on purpose.
    async fn keep(&mut self, dice: &mut Dice, village: &'static str, person: &'static str) {
        let id = format!("3EB0{}", dice.roll(400));
        let inbound = dice.roll(2) == 0;
        let words = format!("{village} {id}");
        let body = json!({"village_id": village, "wa_user_id": person, "message_id": id, "message_text": words,
                          "direction": if inbound { "IN" } else { "OUT" }});
        let answer = self.call(Method::POST, "/messages".to_owned(), Some(body)).await;
        assert_eq!(answer["message_id"], id.as_str());
        let model = &mut self.village;
        if let Some(known) = model.known.get(&id) {
            assert_eq!(
                &answer["id"], known,
                "a repeated id is answered like the first time"
            );
            return;
        }
        model.known.insert(id, answer["id"].clone());
        let chat = model.chats.entry(person).or_default();
        chat.texts.push(words);
        chat.unread += u64::from(inbound);
    }

    async fn history(&self, dice: &mut Dice, village: &'static str, person: &'static str) {
        let limit = 1 + dice.roll(100);
        let path = format!(
            "/messages?village_id={village}&wa_user_id={}&limit={limit}",
            path_of(person)
        );
        let answer = self.call(Method::GET, path, None).await;
        let seen: Vec<&str> = answer["messages"]
            .as_array()
            .unwrap()
            .iter()
            .map(|row| row["message_text"].as_str().unwrap())
            .collect();
        let model = self.village.chats.get(person);
        let texts = model.map(|chat| chat.texts.as_slice()).unwrap_or_default();
        let newest = &texts[texts.len().saturating_sub(limit)..];
        assert_eq!(seen, newest, "{village} {person}");
    }

    async fn open(&mut self, village: &'static str, person: &'static str) {
        let path = format!(
            "/conversations/{}?village_id={village}&limit=1000",
            path_of(person)
        );
        let data = self.call(Method::GET, path, None).await["data"].take();
        let model = &mut self.village;
        let Some(chat) = model.chats.get_mut(person) else {
            assert_eq!(data["conversation"], Value::Null, "{village} {person}");
            assert_eq!(data["messages"], json!([]));
            return;
        };
        chat.unread = 0;
        let seen: Vec<&str> = data["messages"]
            .as_array()
            .unwrap()
            .iter()
            .map(|row| {
                assert_eq!(row["village_id"], village);
                row["message_text"].as_str().unwrap()
            })
            .collect();
        assert_eq!(seen, chat.texts, "{village} {person}");
        let admin = data["takeover_session"]["admin_id"].as_str();
        assert_eq!(admin, chat.admin.as_deref(), "{village} {person}");
    }

    async fn list(&self, village: &'static str) {
        let path = format!("/conversations?village_id={village}");
        let answer = self.call(Method::GET, path, None).await;
        let seen: BTreeMap<&str, Value> = answer["data"]
            .as_array()
            .unwrap()
            .iter()
            .map(|row| {
                assert_eq!(row["village_id"], village);
                let about = json!([row["unread_count"], row["is_takeover"], row["user_name"]]);
                (row["channel_identifier"].as_str().unwrap(), about)
            })
            .collect();
        let expected: BTreeMap<&str, Value> = self
            .village
            .chats
            .iter()
            .map(|(person, chat)| (*person, json!([chat.unread, chat.admin.is_some(), chat.name])))
            .collect();
        assert_eq!(seen, expected, "{village}");
    }

    async fn take(&mut self, dice: &mut Dice, village: &'static str, person: &'static str) {
        let path = format!("/takeover/{}?village_id={village}", path_of(person));
        if dice.roll(2) == 0 {
            let admin = format!("{village} admin {}", dice.roll(1_000));
            self.call(Method::POST, path, Some(json!({"admin_id": admin})))
                .await;
            let model = &mut self.village;
            model.chats.entry(person).or_default().admin = Some(admin);
        } else {
            let answer = self.call(Method::DELETE, path, None).await;
            let model = &mut self.village;
            let admin = model.chats.get_mut(person).and_then(|chat| chat.admin.take());
            assert_eq!(answer["ended"], admin.is_some(), "{village} {person}");
        }
    }

    async fn profile(&mut self, dice: &mut Dice, village: &'static str, person: &'static str) {
        let name = format!("{village} {}", dice.roll(1_000));
        let body = json!({"village_id": village, "channel_identifier": person, "user_name": name});
        let path = "/conversations/user-profile".to_owned();
        self.call(Method::PATCH, path, Some(body)).await;
        let model = &mut self.village;
        if let Some(chat) = model.chats.get_mut(person) {
            chat.name = Some(name);
        }
    }

    async fn answer_visitor(&mut self, dice: &mut Dice, village: &'static str) {
        let path = format!("/conversations/web_sama/send?village_id={village}");
        let words = format!("{village} jawaban {}", dice.roll(1_000));
        self.call(Method::POST, path, Some(json!({"message": words})))
            .await;
        let model = &mut self.village;
        let chat = model.chats.entry("web_sama").or_default();
        chat.texts.push(words);
        chat.unread = 0;
    }

    async fn forget(&mut self, village: &'static str, person: &'static str) {
        let path = format!("/conversations/{}?village_id={village}", path_of(person));
        self.call(Method::DELETE, path, None).await;
        let model = &mut self.village;
        let gone = model.chats.remove(person).unwrap_or_default();
        // Their ids are free again: what is told now is told for the first time.
        model
            .known
            .retain(|id, _| !gone.texts.contains(&format!("{village} {id}")));
    }

    async fn mark_read(&mut self, village: &'static str, person: &'static str) {
        let path = format!("/conversations/{}/read?village_id={village}", path_of(person));
        self.call(Method::POST, path, None).await;
        let model = &mut self.village;
        if let Some(chat) = model.chats.get_mut(person) {
            chat.unread = 0;
        }
    }
}

/// What one village does, and what it sees of it.
async fn live(app: &TestApp, village: &'static str) {
    let mut dice = Dice(0x5eed_2026_1128 + village.len() as u64);
    let mut world = World {
        app,
        village: Village::default(),
    };
    for _ in 0..OPERATIONS {
        let person = dice.pick(&PEOPLE);
        match dice.roll(20) {
            0..=7 => world.keep(&mut dice, village, person).await,
            8..=10 => world.history(&mut dice, village, person).await,
            11..=12 => world.open(village, person).await,
            13..=14 => world.list(village).await,
            15 => world.take(&mut dice, village, person).await,
            16 => world.profile(&mut dice, village, person).await,
            17 => world.answer_visitor(&mut dice, village).await,
            18 => world.mark_read(village, person).await,
            _ if dice.roll(5) == 0 => world.forget(village, person).await,
            _ => {}
        }
    }
    world.list(village).await;
    for person in PEOPLE {
        world.open(village, person).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_villages_with_equal_everything_never_meet() {
    let app = TestApp::spawn().await;
    for village in VILLAGES {
        app.bare_tenant(village).await;
    }
    // Both at the same time, each with its own dice and its own idea of what is there.
    let [satu, dua] = VILLAGES.map(|village| live(&app, village));
    tokio::join!(satu, dua);
    let strays = app
        .values(
            "SELECT count(*) AS value FROM messages m JOIN chats c ON c.id = m.chat_id WHERE c.tenant_id <> m.tenant_id",
        )
        .await;
    assert_eq!(strays, [json!(0)]);
    app.finish().await;
}
