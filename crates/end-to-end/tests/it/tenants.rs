//! Two tenants who have everything in common but the tenant.

use simulator::{Inbound, Reply};
use test_support::eventually_within;

use crate::world::{PATIENCE, Setup, World};

const PHONES: [&str; 3] = ["6281230000001", "6281230000002", "6281230000003"];
const QUESTION: &str = "Apakah kantor buka hari ini?";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_crosses_between_two_tenants_with_the_same_people() {
    let world = World::start(Setup::named("tenants")).await;
    let tenants = [
        world.add_tenant("desa-satu").await,
        world.add_tenant("desa-dua").await,
    ];

    // The same people write the same words under the same ids to both.
    for (number, phone) in PHONES.iter().enumerate() {
        for tenant in &tenants {
            world
                .simulator
                .inbound(&Inbound {
                    session: tenant.session.clone(),
                    from: (*phone).to_owned(),
                    text: Some(QUESTION.to_owned()),
                    id: Some(format!("SAMA{number}")),
                    ..Inbound::default()
                })
                .unwrap();
        }
    }
    for tenant in &tenants {
        eventually_within(PATIENCE, "the questions are in Chatwoot", || async {
            (world.messages(tenant, "incoming").len() >= PHONES.len()).then_some(())
        })
        .await;
    }
    // The first tenant's agents answer everybody, the second one's nobody.
    for conversation in world.conversations(&tenants[0]) {
        world
            .simulator
            .agent_reply(&Reply {
                account_id: tenants[0].chatwoot_account,
                conversation_id: conversation.id,
                content: "Buka sampai jam tiga.".to_owned(),
                ..Reply::default()
            })
            .unwrap();
    }
    eventually_within(PATIENCE, "the answers were read", || async {
        let answers = world.messages(&tenants[0], "outgoing");
        answers.iter().all(|answer| answer.status == "read").then_some(())
    })
    .await;
    world.quiet().await;

    for tenant in &tenants {
        let incoming = world.messages(tenant, "incoming");
        assert_eq!(incoming.len(), PHONES.len(), "{}", tenant.id);
        let mut ids: Vec<_> = incoming
            .iter()
            .filter_map(|message| message.source_id.clone())
            .collect();
        ids.sort();
        assert_eq!(ids, ["WAID:SAMA0", "WAID:SAMA1", "WAID:SAMA2"], "{}", tenant.id);
        assert!(incoming.iter().all(|message| message.inbox_id == tenant.inbox));
        assert_eq!(world.contacts(tenant).len(), PHONES.len(), "{}", tenant.id);
        assert_eq!(world.conversations(tenant).len(), PHONES.len(), "{}", tenant.id);
        for table in ["messages", "chats", "inbound_ledger"] {
            let rows = format!("channel.{table} WHERE tenant_id = '{}'", tenant.id);
            let answers = if table == "messages" {
                world.messages(tenant, "outgoing").len()
            } else {
                0
            };
            assert_eq!(
                world.tables.count(&rows).await,
                (PHONES.len() + answers) as i64,
                "{rows}"
            );
        }
    }
    assert_eq!(world.messages(&tenants[0], "outgoing").len(), PHONES.len());
    assert_eq!(world.messages(&tenants[1], "outgoing").len(), 0);
    for phone in PHONES {
        let shown = world.simulator.phone(phone);
        assert_eq!(shown.len(), 1, "{phone}");
        assert_eq!(shown[0].session_name, tenants[0].session);
    }
    world.finish().await;
}
