//! Agents hear of it when their number is logged out.

use chatwoot_bridge::flows::notices::Notices;
use serde_json::json;
use simulator::FaultKind;

use crate::channel_service::ChannelStub;
use crate::world::{World, fault, start_chatwoot};

#[tokio::test(flavor = "multi_thread")]
async fn a_number_that_is_logged_out_is_told_once() {
    let (world, chatwoot, stub) = (World::start().await, start_chatwoot().await, ChannelStub::start());
    let place = world.connect(&chatwoot, "desa-a", "default", "").await;
    let stands = |status: &str| {
        stub.accounts_are(json!([
            {"id": place.account, "provider": "genfity", "phone": "628111000001", "status": status},
        ]));
    };
    let notices = Notices {
        tools: world.tools.clone(),
        channel: stub.service.clone(),
    };
    let notes = || -> Vec<bool> {
        let messages = chatwoot.chatwoot_messages(place.chatwoot_account);
        messages.iter().map(|note| note.private).collect()
    };
    for status in ["connected", "disconnected", "unknown", "something new"] {
        stands(status);
        assert_eq!(notices.round().await.unwrap(), 0, "{status}");
    }
    stands("logged_out");
    // Chatwoot has it and nobody hears of that.
    let lost = fault(
        &place,
        "POST",
        "/conversations/1/messages",
        FaultKind::LostAnswer,
        1,
    );
    chatwoot.add_fault(lost).unwrap();
    assert_eq!(notices.round().await.unwrap(), 0);
    assert_eq!(notices.round().await.unwrap(), 1);
    for _ in 0..3 {
        assert_eq!(notices.round().await.unwrap(), 0);
    }
    assert_eq!(notes(), [true], "one note, for agents only");
    let note = &chatwoot.chatwoot_messages(place.chatwoot_account)[0];
    assert!(note.content.as_ref().unwrap().contains("+628111000001"));
    let contact = &chatwoot.chatwoot_contacts(place.chatwoot_account)[0];
    assert_eq!(contact.identifier.as_deref(), Some("kanal-notices"));

    stands("connected");
    notices.round().await.unwrap();
    stands("logged_out");
    assert_eq!(notices.round().await.unwrap(), 1, "it was back meanwhile");
    assert_eq!(notes(), [true, true]);
    assert_eq!(chatwoot.chatwoot_conversations(place.chatwoot_account).len(), 1);
}
