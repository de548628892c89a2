//! Files of agents, from Chatwoot's store to the person's phone: through the bridge, which keeps none of them.

use simulator::{Inbound, Reply, ReplyFile};
use test_support::eventually_within;

use crate::round_trip::PHONE;
use crate::world::{PATIENCE, Setup, World};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_files_and_the_words_once() {
    let world = World::start(Setup::named("chatwoot-files")).await;
    let tenant = world.add_tenant("desa-berkas").await;
    world
        .simulator
        .inbound(&Inbound {
            session: tenant.session.clone(),
            from: PHONE.to_owned(),
            text: Some("Boleh minta formulirnya?".to_owned()),
            ..Inbound::default()
        })
        .unwrap();
    let question = eventually_within(PATIENCE, "the question is in Chatwoot", || async {
        world.messages(&tenant, "incoming").pop()
    })
    .await;
    let form: Vec<u8> = (0..200_000_u32).map(|n| (n % 251) as u8).collect();
    world
        .simulator
        .agent_reply(&Reply {
            account_id: tenant.chatwoot_account,
            conversation_id: question.conversation_id,
            content: "Ini *keduanya*".to_owned(),
            files: vec![
                ReplyFile::new("formulir kosong.pdf", "application/pdf", &form),
                ReplyFile::new("contoh.pdf", "application/pdf", b"%PDF-1.4 contoh"),
            ],
            ..Reply::default()
        })
        .unwrap();
    eventually_within(PATIENCE, "the agent sees that all was read", || async {
        (world.messages(&tenant, "outgoing").last()?.status == "read").then_some(())
    })
    .await;
    world.quiet().await;
    let shown = world.simulator.phone(PHONE);
    let files: Vec<(Option<&str>, u64, Option<&str>)> = shown
        .iter()
        .map(|message| {
            let media = message.media.as_ref().unwrap();
            (media.file_name.as_deref(), media.bytes, message.text.as_deref())
        })
        .collect();
    assert_eq!(
        files,
        [
            (Some("formulir kosong.pdf"), 200_000, Some("Ini _keduanya_")),
            (Some("contoh.pdf"), 15, None),
        ]
    );
    world.finish().await;
}
