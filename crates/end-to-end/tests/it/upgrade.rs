//! A release takes the place of the one before while messages go through. `deploy/dev/upgrade-check` builds that one and says
//! where it is.

use std::path::PathBuf;

use crate::HEAVY;
use crate::traffic::{Traffic, Volume};
use crate::world::{STOP_PATIENCE, Setup, World, bring_up};

const VOLUME: Volume = Volume::unpaced(12, 900, 25, true);
/// When the schemas are brought up, in per cent of the messages that have arrived.
const MIGRATED: u64 = 15;
/// When each service is replaced. Until then the release before works on the new schemas.
const REPLACED: [(u64, &str); 3] = [
    (40, "wa-support-gateway"),
    (55, "chatwoot-bridge"),
    (70, "channel-service"),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the release before: deploy/dev/upgrade-check"]
async fn a_release_takes_the_place_of_the_one_before_under_load() {
    let before = PathBuf::from(test_support::environment("PREVIOUS_BINARIES"));
    let _alone = HEAVY.lock().await;
    let setup = Setup {
        release: Some(before),
        ..Setup::named("upgrade")
    };
    let mut world = World::start(setup).await;
    let tenant = world.add_tenant("desa-contoh").await;
    let mut traffic = Traffic::start(&world, &tenant, VOLUME);
    traffic.answer(&world, &tenant).await;

    traffic
        .reaches(&world, &tenant, VOLUME.total() * MIGRATED / 100)
        .await;
    for service in world.services() {
        service.take_release(None);
        bring_up(service).await;
    }
    for (at, name) in REPLACED {
        traffic.reaches(&world, &tenant, VOLUME.total() * at / 100).await;
        let service = world.service(name);
        assert_eq!(service.ended(), None, "{name} of the release before goes on");
        let status = service.terminate(STOP_PATIENCE).await;
        assert_eq!(status.and_then(|status| status.code()), Some(0), "{name}");
        service.start();
        world.ready(name).await;
    }
    traffic.judge(&world, &tenant).await;
    world.finish().await;
}
