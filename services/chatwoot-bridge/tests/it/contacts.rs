//! Names that people chose stay, and a contact that somebody deleted is made anew.

use domain::ids::ChatId;
use reqwest::Method;
use serde_json::{Value, json};
use simulator::{ContactMerge, FaultKind, Simulator};

use crate::world::{Place, World, fault, message, received, start_chatwoot};

const PHONE: &str = "628123450001";

async fn start() -> (World, Simulator, Place) {
    let (world, chatwoot) = (World::start().await, start_chatwoot().await);
    let place = world.connect(&chatwoot, "desa-a", "default", "").await;
    (world, chatwoot, place)
}

/// The person writes under a name.
async fn says(world: &World, place: &Place, chat: ChatId, id: &str, name: Option<&str>) {
    let mut told = message(place, chat, PHONE, id, id);
    told.partner.name = name.map(str::to_owned);
    world.take(&received(place, told)).await;
    world.work().await;
}

async fn at_contact(world: &World, chatwoot: &Simulator, place: &Place, method: Method, body: &Value) {
    let id = chatwoot.chatwoot_contacts(place.chatwoot_account)[0].id;
    let url = format!(
        "{}/chatwoot/api/v1/accounts/{}/contacts/{id}",
        chatwoot.base_url(),
        place.chatwoot_account
    );
    let token = world.token(place).await;
    let request = reqwest::Client::new()
        .request(method, url)
        .header("api_access_token", token);
    assert!(request.json(body).send().await.unwrap().status().is_success());
}

fn name(chatwoot: &Simulator, place: &Place) -> String {
    let contacts = chatwoot.chatwoot_contacts(place.chatwoot_account);
    assert_eq!(contacts.len(), 1);
    contacts[0].name.clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_somebody_chose_stays() {
    let (world, chatwoot, place) = start().await;
    let chat = ChatId::generate();
    says(&world, &place, chat, "3EB01", None).await;
    assert_eq!(name(&chatwoot, &place), "+628123450001");
    // What stood there only because nothing was known is replaced, and followed.
    says(&world, &place, chat, "3EB02", Some("Sari")).await;
    assert_eq!(name(&chatwoot, &place), "Sari");
    says(&world, &place, chat, "3EB03", None).await;
    says(&world, &place, chat, "3EB04", Some("Sari L.")).await;
    assert_eq!(name(&chatwoot, &place), "Sari L.");
    // A lost answer changes nothing about whose name it is.
    chatwoot
        .add_fault(fault(&place, "PUT", "/contacts", FaultKind::LostAnswer, 1))
        .unwrap();
    says(&world, &place, chat, "3EB05", Some("Sari Lestari")).await;
    says(&world, &place, chat, "3EB06", Some("Sari Lestari")).await;
    says(&world, &place, chat, "3EB07", Some("Bu Sari")).await;
    assert_eq!(name(&chatwoot, &place), "Bu Sari");

    at_contact(
        &world,
        &chatwoot,
        &place,
        Method::PUT,
        &json!({"name": "Bu RT 03"}),
    )
    .await;
    says(&world, &place, chat, "3EB08", Some("Sari lagi")).await;
    says(&world, &place, chat, "3EB09", Some("Sari saja")).await;
    assert_eq!(name(&chatwoot, &place), "Bu RT 03");
    assert_eq!(chatwoot.chatwoot_messages(place.chatwoot_account).len(), 9);
    // Not even asked any more.
    let theirs = "SELECT count(*) AS n FROM contacts WHERE name_by_us IS NULL";
    assert_eq!(world.count(theirs).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_contact_is_made_anew() {
    let (world, chatwoot, place) = start().await;
    let chat = ChatId::generate();
    says(&world, &place, chat, "3EB01", Some("Sari")).await;
    // Its conversations go with it.
    let contact = chatwoot.chatwoot_contacts(place.chatwoot_account)[0].id;
    chatwoot
        .delete_chatwoot_contact(place.chatwoot_account, contact)
        .unwrap();
    says(&world, &place, chat, "3EB02", Some("Sari")).await;
    says(&world, &place, chat, "3EB03", Some("Sari")).await;
    assert_eq!(chatwoot.chatwoot_contacts(place.chatwoot_account).len(), 1);
    assert_eq!(chatwoot.chatwoot_conversations(place.chatwoot_account).len(), 1);
    let texts = chatwoot.chatwoot_messages(place.chatwoot_account);
    let texts: Vec<&str> = texts.iter().filter_map(|it| it.content.as_deref()).collect();
    assert_eq!(texts, ["3EB02", "3EB03"]);

    let conversation = chatwoot.chatwoot_conversations(place.chatwoot_account)[0].id;
    chatwoot
        .delete_chatwoot_conversation(place.chatwoot_account, conversation)
        .unwrap();
    says(&world, &place, chat, "3EB04", Some("Sari")).await;
    assert_eq!(chatwoot.chatwoot_contacts(place.chatwoot_account).len(), 1);
    assert_eq!(chatwoot.chatwoot_messages(place.chatwoot_account).len(), 1);
    assert_eq!(world.count("SELECT count(*) AS n FROM lane_tasks").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_contact_that_an_agent_merged_into_another_is_followed() {
    let (world, chatwoot, place) = start().await;
    let chat = ChatId::generate();
    says(&world, &place, chat, "3EB01", Some("Sari")).await;
    says(&world, &place, ChatId::generate(), "3EB02", Some("Sari")).await;
    let mut other = message(&place, ChatId::generate(), "628123450002", "3EB03", "lain");
    other.partner.name = Some("Lain".into());
    world.take(&received(&place, other)).await;
    world.work().await;
    let ids: Vec<u64> = chatwoot
        .chatwoot_contacts(place.chatwoot_account)
        .iter()
        .map(|it| it.id)
        .collect();
    chatwoot
        .merge_chatwoot_contacts(&ContactMerge {
            account_id: place.chatwoot_account,
            base_contact_id: ids[1],
            mergee_contact_id: ids[0],
        })
        .unwrap();
    says(&world, &place, chat, "3EB04", Some("Sari Baru")).await;
    assert_eq!(chatwoot.chatwoot_contacts(place.chatwoot_account).len(), 1);
    assert_eq!(chatwoot.chatwoot_conversations(place.chatwoot_account).len(), 2);
    assert_eq!(chatwoot.chatwoot_messages(place.chatwoot_account).len(), 4);
    assert_eq!(world.count("SELECT count(*) AS n FROM lane_tasks").await, 0);
}
