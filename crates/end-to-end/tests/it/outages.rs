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
    let other = world.add_tenant("desa-lain").await;
    let volume = Volume::unpaced(8, 240, 20, true);
    let mut traffic = Traffic::start(&world, &tenant, volume);
    for arrived in [1, 10, 20] {
        // A moment is enough to lose what is under way.
        traffic.reaches(&world, &tenant, arrived).await;
        proxy.cut();
        proxy.restore();
    }
    traffic.answer(&world, &tenant).await;

    proxy.cut();
    world
        .simulator
        .inbound(&Inbound {
            session: other.session.clone(),
            from: "6281999999999".to_owned(),
            text: Some("Apakah ada orang?".to_owned()),
            ..Inbound::default()
        })
        .unwrap();
    // Both services accept all of it with nobody to hand it to.
    traffic.accepted(&world).await;
    eventually_within(PATIENCE, "the outboxes keep what was accepted", || async {
        let [_, _, channel, _, bridge, _] = world.tables.unfinished().await;
        (channel > 0 && bridge > 0).then_some(())
    })
    .await;
    proxy.restore();
    traffic.judge(&world, &tenant).await;
    let asked = eventually_within(PATIENCE, "the other tenant's message arrives", || async {
        world.messages(&other, "incoming").pop()
    })
    .await;
    assert_eq!(asked.content.as_deref(), Some("Apakah ada orang?"));
    assert_eq!(world.messages(&other, "incoming").len(), 1);
    world.finish().await;
}
