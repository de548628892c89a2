//! Chatwoot's files: uploaded, shown at an address that redirects, gone after a while (Chatwoot contract 2.8, 3.4).

use serde_json::{Value, json};
use simulator::{ChatwootConfigChange, Reply, ReplyFile, ReplyLocation, Simulator};

use crate::chatwoot::Desk;
use crate::receiver::Receiver;
use crate::{client, eventually, start};

const PHONE: &str = "6281200000001";

/// Asks for an address and says what came: status, where to go on, type, bytes.
async fn fetched(url: &str) -> (u16, Option<String>, String, Vec<u8>) {
    let direct = reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .unwrap();
    let answer = direct.get(url).send().await.unwrap();
    let header = |name: &str| {
        answer
            .headers()
            .get(name)
            .map(|value| value.to_str().unwrap().to_owned())
    };
    let (status, location, kind) = (
        answer.status().as_u16(),
        header("location"),
        header("content-type").unwrap_or_default(),
    );
    (status, location, kind, answer.bytes().await.unwrap().to_vec())
}

fn with_file(desk: &Desk, conversation: u64) -> Reply {
    Reply {
        account_id: desk.account,
        conversation_id: conversation,
        files: vec![ReplyFile::new(
            "surat keterangan.pdf",
            "application/pdf",
            b"%PDF-1.7",
        )],
        ..Reply::default()
    }
}

/// Address of the first attachment of a message.
fn address(simulator: &Simulator, desk: &Desk, message: u64) -> String {
    let messages = simulator.chatwoot_messages(desk.account);
    let message = messages.iter().find(|found| found.id == message).unwrap();
    message.attachments[0]["data_url"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn an_agents_file_is_behind_a_redirect_that_expires() {
    let (simulator, receiver) = (start().await, Receiver::start().await);
    let desk = Desk::new(&simulator, &receiver.url);
    let conversation = desk.conversation(PHONE).await;
    let id = simulator.agent_reply(&with_file(&desk, conversation)).unwrap();
    eventually("message_created", || receiver.count() == 2).await;
    let received = receiver.received();
    let webhook = received
        .iter()
        .find(|webhook| webhook.json()["event"] == "message_created")
        .unwrap();
    let body = webhook.json();
    assert_eq!(body["content"], Value::Null, "no words, no text");
    let attachment = &body["attachments"][0];
    assert_eq!(
        (
            &attachment["file_type"],
            &attachment["file_size"],
            &attachment["message_id"]
        ),
        (&json!("file"), &json!(8), &json!(id))
    );
    let url = attachment["data_url"].as_str().unwrap();
    assert!(url.ends_with("/surat%20keterangan.pdf"), "{url}");
    let (status, location, _, _) = fetched(url).await;
    assert_eq!(status, 302);
    let location = location.unwrap();
    assert!(location.contains("/rails/active_storage/disk/"), "{location}");
    let (status, _, kind, bytes) = fetched(&location).await;
    assert_eq!(
        (status, kind.as_str(), bytes.as_slice()),
        (200, "application/pdf", &b"%PDF-1.7"[..])
    );
    let kept = simulator.chatwoot_file(id, 0).unwrap();
    assert_eq!(
        (kept.name.as_str(), kept.bytes.as_slice()),
        ("surat keterangan.pdf", &b"%PDF-1.7"[..])
    );

    simulator.configure_chatwoot(ChatwootConfigChange {
        file_seconds: Some(0),
        ..ChatwootConfigChange::default()
    });
    let (_, expired, _, _) = fetched(url).await;
    // It held for no time at all; the next millisecond is another one.
    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    assert_eq!(fetched(&expired.unwrap()).await.0, 404);
    simulator.agent_deletes(id).unwrap();
    assert_eq!(fetched(url).await.0, 404);
    assert_eq!(simulator.chatwoot_file(id, 0), None);
}

#[tokio::test]
async fn files_come_late_by_way_of_more_hosts_and_under_another_name_of_the_server() {
    let simulator = start().await;
    let desk = Desk::new(&simulator, "");
    let conversation = desk.conversation(PHONE).await;
    simulator.configure_chatwoot(ChatwootConfigChange {
        file_404s: Some(2),
        file_hops: Some(3),
        ..ChatwootConfigChange::default()
    });
    let id = simulator.agent_reply(&with_file(&desk, conversation)).unwrap();
    let url = address(&simulator, &desk, id);
    let follow = async || {
        let answer = client().get(&url).send().await.unwrap();
        (answer.status().as_u16(), answer.url().to_string())
    };
    assert_eq!(follow().await.0, 404);
    assert_eq!(follow().await.0, 404);
    let (status, end) = follow().await;
    assert_eq!(status, 200);
    assert!(end.contains("--3/"), "three redirects, {end}");

    simulator.configure_chatwoot(ChatwootConfigChange {
        frontend_url: Some("http://chat.example".to_owned()),
        file_redirect_to: Some("http://10.0.0.1/inside".to_owned()),
        ..ChatwootConfigChange::default()
    });
    let id = simulator.agent_reply(&with_file(&desk, conversation)).unwrap();
    let shown = address(&simulator, &desk, id);
    let path = shown.strip_prefix("http://chat.example").unwrap();
    for base in [simulator.base_url(), format!("{}/chatwoot", simulator.base_url())] {
        let (status, location, _, _) = fetched(&format!("{base}{path}")).await;
        assert_eq!(
            (status, location.as_deref()),
            (302, Some("http://10.0.0.1/inside"))
        );
    }
    assert_eq!(
        fetched(&format!("{}{path}x", simulator.base_url())).await.0,
        302,
        "any name"
    );
    let forged = path.replacen("--", "--x", 1);
    assert_eq!(fetched(&format!("{}{forged}", simulator.base_url())).await.0, 404);
}

#[tokio::test]
async fn what_is_uploaded_is_kept_and_counted() {
    let simulator = start().await;
    let desk = Desk::new(&simulator, "");
    let conversation = desk.conversation(PHONE).await;
    let form = reqwest::multipart::Form::new()
        .text("content", "dua gambar")
        .text("message_type", "incoming")
        .text("source_id", "WAID:3EB0A")
        .text(
            "content_attributes",
            json!({"in_reply_to_external_id": "WAID:3EB09"}).to_string(),
        );
    let picture = |name: &'static str, bytes: &'static [u8]| {
        reqwest::multipart::Part::bytes(bytes)
            .file_name(name)
            .mime_str("image/jpeg")
            .unwrap()
    };
    let form = form
        .part("attachments[]", picture("satu.jpg", b"\xff\xd8\xff1"))
        .part("attachments[]", picture("kopí; dua.jpg", b"\xff\xd8\xff22"));
    let answer = client()
        .post(format!("{}/conversations/{conversation}/messages", desk.base))
        .header("api_access_token", &desk.token)
        .multipart(form)
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 200);
    let made: Value = answer.json().await.unwrap();
    assert_eq!(
        made["content_attributes"]["in_reply_to_external_id"],
        "WAID:3EB09"
    );
    let id = made["id"].as_u64().unwrap();
    let kept: Vec<(String, usize)> = [0, 1]
        .into_iter()
        .filter_map(|number| simulator.chatwoot_file(id, number))
        .map(|file| (file.name, file.bytes.len()))
        .collect();
    assert_eq!(
        kept,
        [("satu.jpg".to_owned(), 4), ("kopí; dua.jpg".to_owned(), 5)]
    );
    assert_eq!(simulator.chatwoot_file(id, 2), None);

    let avatar = reqwest::multipart::Form::new()
        .text("name", "Sari Lestari")
        .part("avatar", picture("sari.jpg", b"\xff\xd8\xff3"));
    let contact = simulator.chatwoot_contacts(desk.account)[0].id;
    let answer = client()
        .put(format!("{}/contacts/{contact}", desk.base))
        .header("api_access_token", &desk.token)
        .multipart(avatar)
        .send()
        .await
        .unwrap();
    let updated: Value = answer.json().await.unwrap();
    assert_eq!(updated["payload"]["name"], "Sari Lestari");
    let thumbnail = updated["payload"]["thumbnail"].as_str().unwrap().to_owned();
    let picture = client().get(thumbnail).send().await.unwrap();
    assert_eq!(picture.bytes().await.unwrap(), &b"\xff\xd8\xff3"[..]);
}

#[tokio::test]
async fn a_place_and_files_go_with_one_message() {
    let (simulator, receiver) = (start().await, Receiver::start().await);
    let desk = Desk::new(&simulator, &receiver.url);
    let conversation = desk.conversation(PHONE).await;
    let mut reply = with_file(&desk, conversation);
    reply.content = "di sini".to_owned();
    reply
        .files
        .push(ReplyFile::new("suara.ogg", "audio/ogg; codecs=opus", b"OggS"));
    reply.location = Some(ReplyLocation {
        latitude: -6.2,
        longitude: 106.816_667,
        title: "Monas".to_owned(),
    });
    simulator.agent_reply(&reply).unwrap();
    eventually("message_created", || receiver.count() == 2).await;
    let received = receiver.received();
    let created = received
        .iter()
        .map(crate::receiver::Received::json)
        .find(|body| body["event"] == "message_created")
        .unwrap();
    let kinds: Vec<&str> = created["attachments"]
        .as_array()
        .unwrap()
        .iter()
        .map(|attachment| attachment["file_type"].as_str().unwrap())
        .collect();
    assert_eq!(kinds, ["file", "audio", "location"]);
    assert_eq!(created["attachments"][2]["coordinates_lat"], -6.2);
    assert_eq!(created["content"], "di sini");
    assert_eq!(
        created["conversation"]["messages"][0]["attachments"],
        created["attachments"]
    );
}
