//! SIGTERM in the middle of a stream: each service finishes what it has in hand, lets go of the rest and goes on later.

use std::time::Instant;

use crate::HEAVY;
use crate::traffic::{Traffic, Volume};
use crate::world::{STOP_PATIENCE, Setup, World};

const VOLUME: Volume = Volume::unpaced(12, 600, 20, true);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_service_is_stopped_in_the_middle() {
    let _alone = HEAVY.lock().await;
    let mut world = World::start(Setup::named("stopped")).await;
    let tenant = world.add_tenant("desa-contoh").await;
    let mut traffic = Traffic::start(&world, &tenant, VOLUME);
    traffic.answer(&world, &tenant).await;
    let victims = [
        ("channel-service", Some("channel")),
        ("chatwoot-bridge", Some("chatwoot_bridge")),
        ("wa-support-gateway", None),
    ];
    for (at, (victim, schema)) in [15, 40, 65].into_iter().zip(victims) {
        traffic.reaches(&world, &tenant, VOLUME.total() * at / 100).await;
        let started = Instant::now();
        let status = world.service(victim).terminate(STOP_PATIENCE).await;
        println!("{victim} stopped in {:.1} s", started.elapsed().as_secs_f32());
        assert_eq!(
            status.and_then(|status| status.code()),
            Some(0),
            "{victim} ends in order and in time"
        );
        if let Some(schema) = schema {
            let held = format!("{schema}.lanes WHERE leased_until > now()");
            assert_eq!(world.tables.count(&held).await, 0, "{victim} let go of its chats");
            // Of the outbox alone: who looked whether webhooks drifted keeps that lease for the interval.
            let held = format!("{schema}.leases WHERE name = 'outbox relay' AND until > now()");
            assert_eq!(
                world.tables.count(&held).await,
                0,
                "{victim} let go of its outbox"
            );
        }
        world.service(victim).start();
        world.ready(victim).await;
    }
    traffic.judge(&world, &tenant).await;
    world.finish().await;
}
