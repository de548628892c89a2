//! Five hundred messages a second over the whole way, both ways, while each service is stopped and started, and then replaced by
//! another build. `deploy/dev/load-check` builds what is deployed and says where it is.

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use test_support::eventually_within;

use crate::HEAVY;
use crate::ledger::{Book, Books};
use crate::pauses::{Interruption, Report};
use crate::traffic::{Traffic, Volume};
use crate::world::{PATIENCE, STOP_PATIENCE, Setup, Tenant, World, bring_up};

/// Each with a session of its own, whose webhooks the gateway passes on one after the other.
const TENANTS: u64 = 10;
const CHATS: u64 = 20;
/// Of five messages four are people's and one is an agent's answer.
const INBOUND_OF_FIVE: u64 = 4;

/// What is done when so many per cent of the messages have been taken in.
const STEPS: [(u64, Step); 7] = [
    (8, Step::Restart("wa-support-gateway")),
    (20, Step::Restart("channel-service")),
    (32, Step::Restart("chatwoot-bridge")),
    (44, Step::Migrate),
    (52, Step::Replace("wa-support-gateway")),
    (66, Step::Replace("channel-service")),
    (80, Step::Replace("chatwoot-bridge")),
];

#[derive(Clone, Copy)]
enum Step {
    /// Stopped and started again, the same build.
    Restart(&'static str),
    /// The next release's migrations, beside the services of the one before.
    Migrate,
    /// Stopped, and started as the next release.
    Replace(&'static str),
}

/// A number that whoever measures may choose.
fn chosen(variable: &str, otherwise: u32) -> u32 {
    std::env::var(variable).map_or(otherwise, |text| text.parse().unwrap())
}

/// What each tenant writes and gets.
fn volume_of(tenant: u64, per_second: u64, seconds: u64) -> Volume {
    let inbound = (per_second * INBOUND_OF_FIVE / 5 / TENANTS).max(1);
    let replies = (per_second / 5 / TENANTS).max(1);
    let pace = [inbound, replies].map(|pace| NonZeroU32::new(u32::try_from(pace).unwrap()).unwrap());
    Volume {
        pace: Some(pace),
        // Agents answer from the first second on.
        greeted: true,
        first_phone: 6_281_300_000_000 + tenant * 1_000_000,
        ..Volume::unpaced(CHATS, inbound * seconds, replies * seconds / CHATS, false)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "measures: deploy/dev/load-check"]
async fn each_service_is_stopped_and_replaced_under_five_hundred_messages_a_second() {
    let before = std::env::var_os("PREVIOUS_BINARIES").map(PathBuf::from);
    let (per_second, seconds) = (chosen("LOAD_PER_SECOND", 500), chosen("LOAD_SECONDS", 60));
    let _alone = HEAVY.lock().await;
    let mut world = started(before).await;
    let mut tenants = Vec::new();
    for number in 0..TENANTS {
        let volume = volume_of(number, per_second.into(), seconds.into());
        tenants.push((world.add_tenant(&format!("desa-{number}")).await, volume));
    }

    for (tenant, volume) in &tenants {
        Traffic::greet(&world, tenant, *volume).await;
    }
    let began = Utc::now();
    let load = Load::start(&world, tenants).await;
    let mut books = Books::default();
    let mut interruptions = Vec::new();
    for (per_cent, step) in STEPS {
        load.is_taken(&world, per_cent).await;
        match step {
            Step::Restart(name) => {
                interruptions.push(interrupt(&mut world, name, "restarted", &mut books).await);
            }
            Step::Migrate => {
                for service in world.services() {
                    service.take_release(None);
                    bring_up(service).await;
                }
            }
            Step::Replace(name) => {
                interruptions.push(interrupt(&mut world, name, "replaced", &mut books).await);
            }
        }
    }
    load.is_over(&world).await;
    // First what was measured, also when the judgement is that something is wrong.
    let report = Report::of(&world, &load.parts, began, &interruptions);
    println!("{report}");
    for (tenant, traffic) in &load.parts {
        traffic.judge(&world, tenant).await;
        let book = Book::of(&world, tenant).await;
        println!("{}: {book}", tenant.id);
        book.is_even(traffic.volume());
    }
    books.are_even(&world).await;
    world.finish().await;
}

/// Served as it is deployed, but for the bounds that are about other people's servers.
async fn started(release: Option<PathBuf>) -> World {
    let setup = Setup {
        release,
        ..Setup::named("load")
    };
    let mut world = World::prepare(setup).await;
    for service in world.services() {
        service.set("DATABASE_POOL_SIZE", "16");
        service.set("METRICS_TOKEN", crate::ledger::METRICS_TOKEN);
    }
    // One simulated server stands for ten, and does not count calls.
    world.bridge.set("CHATWOOT_RATE_PER_MINUTE", "1000000");
    world.bridge.set("CHATWOOT_CONCURRENCY", "16");
    // Where all shares two cores webhooks come later than the watch has patience for, and it would take sessions for deaf
    // that are not.
    world.channel.set("SESSION_DEAF_AFTER_MS", "120000");
    for service in world.services() {
        service.start();
    }
    world.all_ready().await;
    world
}

/// Asks a service to stop and starts it, as soon as it is gone.
async fn interrupt(
    world: &mut World,
    name: &'static str,
    how: &'static str,
    books: &mut Books,
) -> Interruption {
    let (began, started) = (Utc::now(), Instant::now());
    let service = world.service(name);
    assert_eq!(service.ended(), None, "{name} goes on");
    let status = service.terminate(STOP_PATIENCE).await;
    assert_eq!(
        status.and_then(|status| status.code()),
        Some(0),
        "{name} ends in order"
    );
    let stopped = started.elapsed();
    // Nobody else writes its tables now.
    books.open(world, name).await;
    let closed = Instant::now();
    world.service(name).start();
    world.ready(name).await;
    Interruption {
        name,
        how,
        began,
        stopped,
        started: closed.elapsed(),
    }
}

/// All tenants' messages.
struct Load {
    parts: Vec<(Tenant, Traffic)>,
    total: u64,
}

impl Load {
    async fn start(world: &World, tenants: Vec<(Tenant, Volume)>) -> Self {
        // Greetings were before.
        let total = tenants
            .iter()
            .map(|(_, volume)| volume.inbound + volume.answers())
            .sum();
        let mut parts: Vec<(Tenant, Traffic)> = tenants
            .into_iter()
            .map(|(tenant, volume)| {
                let traffic = Traffic::start(world, &tenant, volume);
                (tenant, traffic)
            })
            .collect();
        for (tenant, traffic) in &mut parts {
            traffic.answer(world, tenant).await;
        }
        Self { parts, total }
    }

    fn taken(&self, world: &World) -> u64 {
        self.parts
            .iter()
            .flat_map(|(_, traffic)| traffic.taken(world))
            .sum()
    }

    /// Waits until so much of it was accepted by the first service that it reached.
    async fn is_taken(&self, world: &World, per_cent: u64) {
        eventually_within(PATIENCE, &format!("{per_cent} % are taken in"), || async {
            (self.taken(world) >= self.total * per_cent / 100).then_some(())
        })
        .await;
    }

    /// Waits until all has arrived.
    async fn is_over(&self, world: &World) {
        for (tenant, traffic) in &self.parts {
            traffic.accepted(world).await;
            traffic.reaches(world, tenant, traffic.volume().total()).await;
        }
    }
}

/// As the simulator writes it down.
pub(crate) fn moment(text: &str) -> DateTime<Utc> {
    DateTime::parse_from_rfc3339(text).unwrap().to_utc()
}

/// In seconds.
pub(crate) fn seconds(duration: Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}
