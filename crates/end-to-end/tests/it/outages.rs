//! What the services depend on goes away while they run.

use simulator::Inbound;
use test_support::{CuttableProxy, eventually_within};

use crate::HEAVY;
use crate::round_trip::round_trip;
use crate::traffic::{Traffic, Volume};
use crate::world::{PATIENCE, Setup, World};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_redis_everything_works() {
    let nobody = format!("redis://127.0.0.1:{}/", end_to_end::free_port());
    let world = World::start(Setup {
        redis_url: nobody,
        ..Setup::named("no-redis")
    })
    .await;
    let tenant = world.add_tenant("desa-contoh").await;
    round_trip(&world, &tenant).await;
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_accepted_while_rabbitmq_is_away_arrives_in_order_afterwards() {
    let _alone = HEAVY.lock().await;
    let url = test_support::rabbitmq_url();
    let proxy = CuttableProxy::in_front_of(&url, 5672).await;
    let world = World::start(Setup {
        rabbitmq_url: proxy.url(&url),
        ..Setup::named("no-rabbitmq")
    })
    .await;
    let tenant = world.add_tenant("desa-contoh").await;
    let volume = Volume {
        chats: 8,
        inbound: 240,
        replies: 20,
        receipts: true,
    };
    let mut traffic = Traffic::start(&world, &tenant, volume);
    traffic.answer(&world, &tenant).await;

    proxy.cut();
    // Both services accept all of it with nobody to hand it to.
    traffic.accepted(&world).await;
    let waiting = world.tables.unfinished().await;
    assert!(waiting[0] > 0, "channel-service's outbox keeps what it accepted");
    assert!(waiting[2] > 0, "chatwoot-bridge's outbox keeps what it accepted");
    proxy.restore();
    traffic.judge(&world, &tenant).await;

    // And once more, to see that the way is open again.
    world
        .simulator
        .inbound(&Inbound {
            session: tenant.session.clone(),
            from: "6281999999999".to_owned(),
            text: Some("Terima kasih".to_owned()),
            ..Inbound::default()
        })
        .unwrap();
    eventually_within(PATIENCE, "one more message arrives", || async {
        let last = world.messages(&tenant, "incoming").pop()?;
        (last.content.as_deref() == Some("Terima kasih")).then_some(())
    })
    .await;
    world.quiet().await;
    world.finish().await;
}
