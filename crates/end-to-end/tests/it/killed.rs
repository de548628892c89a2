//! `kill -9` in the middle of a stream of 2,000 messages, one service at a time.

use std::time::Duration;

use rand::RngExt as _;

use crate::HEAVY;
use crate::traffic::{Traffic, Volume};
use crate::world::{Setup, World};

const VOLUME: Volume = Volume::unpaced(20, 1_400, 30, false);
/// When the victim dies, in per cent of the messages that have arrived.
const DEATHS: [std::ops::Range<u64>; 2] = [1..15, 40..75];
/// How long it stays dead, in milliseconds.
const AWAY: std::ops::Range<u64> = 0..800;

async fn survives(name: &'static str, victim: &str) {
    let _alone = HEAVY.lock().await;
    let mut world = World::start(Setup::named(name)).await;
    let tenant = world.add_tenant("desa-contoh").await;
    let mut traffic = Traffic::start(&world, &tenant, VOLUME);
    // What people write does not pass the gateway: only answers can be lost with it.
    let only_answers = victim == "wa-support-gateway";
    for (death, range) in DEATHS.into_iter().enumerate() {
        let (at, away) = (rand::rng().random_range(range), rand::rng().random_range(AWAY));
        if only_answers {
            if death == 0 {
                traffic.answer(&world, &tenant).await;
            }
            let answers = VOLUME.chats * VOLUME.replies;
            traffic.answers_reach(&world, answers * at / 100).await;
        } else {
            if death == 1 {
                traffic.answer(&world, &tenant).await;
            }
            traffic.reaches(&world, &tenant, VOLUME.total() * at / 100).await;
        }
        println!("{victim} dies at {at} % for {away} ms");
        world.service(victim).kill().await;
        tokio::time::sleep(Duration::from_millis(away)).await;
        world.service(victim).start();
    }
    world.ready(victim).await;
    traffic.judge(&world, &tenant).await;
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn channel_service_is_killed_in_the_middle() {
    survives("killed-channel", "channel-service").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn chatwoot_bridge_is_killed_in_the_middle() {
    survives("killed-bridge", "chatwoot-bridge").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wa_support_gateway_is_killed_in_the_middle() {
    survives("killed-gateway", "wa-support-gateway").await;
}
