//! A GoWA in REST mode behind a Chatwoot inbox: what agents send has an id and a tick, what fails says so where it was
//! written, and the button under it sends it once more.

use reqwest::Method;
use serde_json::json;
use simulator::{
    FaultKind, FaultSpec, GowaConfigChange, GowaInbound, GowaReceipt, MessageView, Reply, ReplyFile,
};
use test_support::eventually_within;

use crate::endpoints::Person;
use crate::world::{PATIENCE, Setup, Tenant, World};

const PHONE: &str = "6281234500033";
const NUMBER: &str = "6281200000088:1@s.whatsapp.net";
const PICTURE: &[u8] = b"\xff\xd8\xff\xe0 not much of a picture";

/// A tenant with a paired GoWA device and an inbox. Returns the device, too.
async fn with_gowa(world: &World, id: &str) -> (Tenant, String) {
    let root = Person::sign_in(world, "super@kanal.id", &["--role", "superadmin"]).await;
    for (path, body) in [
        ("/tenants".to_owned(), json!({"village_id": id, "name": id})),
        (
            format!("/whatsapp/tenant-config/{id}"),
            json!({"endpoint_name": "Toko"}),
        ),
    ] {
        let (status, made) = root.call(Method::POST, &path, body).await;
        assert!((200..300).contains(&status), "{made}");
    }
    let email = format!("admin@{id}.id");
    let admin = Person::sign_in(world, &email, &["--role", "tenant_admin", "--tenant", id]).await;
    let device = admin.add_device().await;
    let there = world.simulator.gowa_devices().remove(0);
    world
        .simulator
        .scan_gowa(&there.id, Some(NUMBER.to_owned()))
        .unwrap();
    admin.until_connected(&device).await;
    let account = format!("SELECT id::text FROM channel.accounts WHERE tenant_id = '{id}'");
    let account = world.tables.text(&account).await;
    (world.add_inbox(id, &account).await, there.id)
}

/// The agents' messages, as they are shown when the last one is shown as `status`.
async fn shown(world: &World, tenant: &Tenant, status: &str) -> Vec<MessageView> {
    eventually_within(PATIENCE, &format!("the answer is {status}"), || async {
        let messages = world.messages(tenant, "outgoing");
        (messages.last()?.status == status).then_some(messages)
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ids_ticks_and_failures_come_back() {
    let world = World::start(Setup {
        with_gowa: true,
        ..Setup::named("chatwoot-gowa")
    })
    .await;
    world.simulator.configure_gowa(GowaConfigChange {
        auto_login: Some(false),
        auto_receipts: Some(false),
        ..GowaConfigChange::default()
    });
    let (tenant, device) = with_gowa(&world, "toko-gowa").await;
    let asked = world
        .simulator
        .gowa_inbound(&GowaInbound {
            device: device.clone(),
            from: PHONE.to_owned(),
            text: Some("Masih ada?".to_owned()),
            ..GowaInbound::default()
        })
        .unwrap();
    let question = eventually_within(PATIENCE, "the question is in Chatwoot", || async {
        world.messages(&tenant, "incoming").pop()
    })
    .await;
    assert_eq!(question.source_id, Some(format!("WAID:{asked}")));
    let reply = |content: &str, files: Vec<ReplyFile>| Reply {
        account_id: tenant.chatwoot_account,
        conversation_id: question.conversation_id,
        content: content.to_owned(),
        in_reply_to: Some(question.id),
        files,
        ..Reply::default()
    };

    // Words under a picture, which GoWA gets byte for byte.
    let picture = ReplyFile::new("stok.jpg", "image/jpeg", PICTURE);
    world
        .simulator
        .agent_reply(&reply("**Masih**, kak", vec![picture]))
        .unwrap();
    // Chatwoot shows a message as sent from the beginning.
    let sent = eventually_within(PATIENCE, "it went out", || async {
        let sent = world.simulator.gowa_sends();
        (sent.len() == 1).then_some(sent)
    })
    .await;
    assert_eq!(
        (sent[0].path.as_str(), sent[0].message.as_str()),
        ("/send/image", "*Masih*, kak")
    );
    assert_eq!(sent[0].file.as_ref().unwrap().bytes, PICTURE.len() as u64);
    let phone = world.simulator.gowa_phone(PHONE);
    assert_eq!(phone[0].quoted_id.as_deref(), Some(asked.as_str()));
    world
        .simulator
        .gowa_receipt(&GowaReceipt {
            device,
            ids: vec![sent[0].message_id.clone()],
            from: PHONE.to_owned(),
            receipt_type: "read".to_owned(),
            ..GowaReceipt::default()
        })
        .unwrap();
    shown(&world, &tenant, "read").await;

    // GoWA refuses for good: the agent sees why, and asks for it again.
    let refused = FaultKind::Status {
        status: 400,
        body: Some(json!({"code": "INVALID_JID", "message": "not on WhatsApp"})),
        retry_after: None,
    };
    let fault = FaultSpec::on_path("/gowa/send/message", refused).times(1);
    world.simulator.add_fault(fault).unwrap();
    let failing = world.simulator.agent_reply(&reply("Jadi?", Vec::new())).unwrap();
    let messages = shown(&world, &tenant, "failed").await;
    let error = &messages.last().unwrap().content_attributes["external_error"];
    assert!(
        error.as_str().unwrap().starts_with("not delivered to WhatsApp: "),
        "{error}"
    );
    assert_eq!(world.simulator.gowa_sends().len(), 1);
    world.simulator.press_retry(failing).unwrap();
    eventually_within(PATIENCE, "it went out", || async {
        (world.simulator.gowa_sends().len() == 2).then_some(())
    })
    .await;
    world.quiet().await;
    assert_eq!(world.simulator.gowa_sends()[1].message, "Jadi?");
    let messages = shown(&world, &tenant, "sent").await;
    assert!(
        messages
            .last()
            .unwrap()
            .content_attributes
            .get("external_error")
            .is_none()
    );

    // Deleted here, deleted there.
    world.simulator.agent_deletes(failing).unwrap();
    eventually_within(PATIENCE, "it is deleted for everyone", || async {
        let phone = world.simulator.gowa_phone(PHONE);
        phone
            .iter()
            .any(|it| it.text == "Jadi?" && it.deleted)
            .then_some(())
    })
    .await;
    world.quiet().await;
    assert_eq!(
        world.messages(&tenant, "outgoing").len(),
        2,
        "nothing came back as an echo"
    );
    world.finish().await;
}
