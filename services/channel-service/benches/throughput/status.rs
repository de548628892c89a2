//! Many dialogs watch where sessions stand, and the WhatsApp server hardly notices: an answer of it is good for a second.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use simulator::Simulator;
use test_support::TestProcessDatabase;

use crate::callers::{Call, Connection, call_for, get};
use crate::measured::Measured;
use crate::service::{self, INTERNAL_KEY, Service, Wishes};
use crate::tenants::{self, Tenant};

const TENANTS: usize = 20;
const DIALOGS: usize = 200;
/// Where the WhatsApp server says where a session stands.
const ASKED: &str = "/wa/session/status";

/// One way to ask.
#[derive(Debug, Serialize)]
struct Part {
    answered: Measured,
    calls: usize,
    calls_per_account_and_second: f64,
}

#[derive(Debug, Serialize)]
pub(crate) struct Report {
    accounts: usize,
    dialogs: usize,
    once_a_second: Part,
    without_pause: Part,
    /// Answers given without a pause for each call of the WhatsApp server.
    answers_per_call: f64,
}

pub(crate) async fn run(time: Duration) -> Report {
    println!("\n# status\n\npreparing {TENANTS} tenants");
    let database = TestProcessDatabase::create().await;
    let tenants = Arc::new(tenants::prepare(&database, TENANTS).await);
    let server = tenants::server_of(&tenants).await;
    let wishes = Wishes {
        wa_api: Some(format!("{}/wa", server.base_url())),
        ..Wishes::default()
    };
    let mut service = service::start(&database, wishes).await;
    let (_, body) = Connection::open(service.address())
        .await
        .call(ask(&tenants[0]))
        .await;
    let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(body["data"]["loggedIn"], true, "the session is seen");

    println!(
        "\n{DIALOGS} dialogs over {TENANTS} accounts\n{}",
        Measured::header()
    );
    let second = Some(Duration::from_secs(1));
    let once_a_second = part(&service, &server, &tenants, "once a second", second, time).await;
    let without_pause = part(&service, &server, &tenants, "without a pause", None, time).await;
    service.stop().await;
    server.stop().await;

    let answers_per_call = without_pause.answered.accepted as f64 / without_pause.calls.max(1) as f64;
    println!("\nanswers without a pause / calls of the WhatsApp server: {answers_per_call:.0}");
    Report {
        accounts: TENANTS,
        dialogs: DIALOGS,
        once_a_second,
        without_pause,
        answers_per_call,
    }
}

async fn part(
    service: &Service,
    server: &Simulator,
    tenants: &Arc<Vec<Tenant>>,
    name: &'static str,
    pace: Option<Duration>,
    time: Duration,
) -> Part {
    // What was learned before is not good any more.
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    let (calls_before, before) = (calls(server), service.cpu_seconds());
    let of_all = Arc::clone(tenants);
    let heard = call_for(time, service.address(), DIALOGS, pace, move |dialog| {
        ((), ask(&of_all[dialog % of_all.len()]))
    })
    .await;
    let calls = calls(server) - calls_before;
    let cpu = service.cpu_seconds() - before;
    let answered = Measured::new(name, DIALOGS, heard.times(), heard.refused, heard.took)
        .with_cost(cpu, service.peak_memory_mib());
    println!("{answered}");
    let calls_per_account_and_second = calls as f64 / tenants.len() as f64 / heard.took.as_secs_f64();
    println!(
        "  calls that reached the WhatsApp server: {calls}, {calls_per_account_and_second:.2} per account and second"
    );
    Part {
        answered,
        calls,
        calls_per_account_and_second,
    }
}

fn ask(tenant: &Tenant) -> Call {
    let path = format!("/internal/whatsapp/status?village_id={}", tenant.id);
    get(&path, &[INTERNAL_KEY])
}

/// How often the WhatsApp server was asked so far.
fn calls(server: &Simulator) -> usize {
    let requests = server.requests();
    requests.iter().filter(|request| request.path == ASKED).count()
}
