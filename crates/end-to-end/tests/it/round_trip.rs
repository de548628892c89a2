//! A message in, an answer out, and the ticks under the answer.

use simulator::{Inbound, Reply};
use test_support::eventually_within;

use crate::world::{PATIENCE, Setup, Tenant, World};

pub(crate) const PHONE: &str = "6281234567890";
pub(crate) const PUSH_NAME: &str = "Wulandari Pushname";
pub(crate) const QUESTION: &str = "Kapan surat domisili selesai?";
pub(crate) const ANSWER: &str = "Besok pagi, Bu, di kantor desa.";

/// One message each way, judged at both ends.
pub(crate) async fn round_trip(world: &World, tenant: &Tenant) {
    let id = world
        .simulator
        .inbound(&Inbound {
            session: tenant.session.clone(),
            from: PHONE.to_owned(),
            text: Some(QUESTION.to_owned()),
            push_name: Some(PUSH_NAME.to_owned()),
            ..Inbound::default()
        })
        .unwrap();
    let asked = eventually_within(PATIENCE, "the question is in Chatwoot", || async {
        world.messages(tenant, "incoming").pop()
    })
    .await;
    assert_eq!(asked.content.as_deref(), Some(QUESTION));
    assert_eq!(asked.source_id, Some(format!("WAID:{id}")));
    let (contacts, conversations) = (world.contacts(tenant), world.conversations(tenant));
    assert_eq!((contacts.len(), conversations.len()), (1, 1));
    assert_eq!(contacts[0].name, PUSH_NAME);
    assert_eq!(contacts[0].phone_number, Some(format!("+{PHONE}")));
    assert_eq!(conversations[0].contact_id, contacts[0].id);
    assert_eq!(asked.conversation_id, conversations[0].id);

    let reply = world
        .simulator
        .agent_reply(&Reply {
            account_id: tenant.chatwoot_account,
            conversation_id: asked.conversation_id,
            content: ANSWER.to_owned(),
            ..Reply::default()
        })
        .unwrap();
    eventually_within(PATIENCE, "the agent sees that the answer was read", || async {
        let messages = world.messages(tenant, "outgoing");
        (messages.last()?.status == "read").then_some(())
    })
    .await;
    world.quiet().await;

    // Another tenant may write to the same person.
    let mut shown = world.simulator.phone(PHONE);
    shown.retain(|message| message.session_name == tenant.session);
    assert_eq!(shown.len(), 1, "on the phone once");
    assert_eq!((shown[0].text.as_deref(), shown[0].arrivals), (Some(ANSWER), 1));
    let (incoming, outgoing) = (
        world.messages(tenant, "incoming"),
        world.messages(tenant, "outgoing"),
    );
    assert_eq!((incoming.len(), outgoing.len()), (1, 1), "once in Chatwoot");
    let updates = world.simulator.status_updates();
    let statuses: Vec<&str> = updates
        .iter()
        .filter(|update| update.message_id == reply && update.applied)
        .map(|update| update.status.as_str())
        .collect();
    let order = ["sent", "delivered", "read"];
    assert!(
        statuses
            .iter()
            .is_sorted_by_key(|status| order.iter().position(|known| *known == *status)),
        "{statuses:?}"
    );
    assert_eq!(statuses.last(), Some(&"read"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_question_and_its_answer() {
    let world = World::start(Setup::named("round-trip")).await;
    let tenant = world.add_tenant("desa-contoh").await;
    round_trip(&world, &tenant).await;

    // The answer went the only way that is allowed: through the gateway, with its own log of it.
    let log = world.gateway.log();
    let proxied = log
        .lines()
        .filter(|line| line.contains("/v1/wa/chat/send/text"))
        .count();
    assert_eq!(proxied, 1, "through the gateway once");
    world.finish().await;
}
