//! How long a session's contacts take from the WA server into the tables.

use std::time::{Duration, Instant};

use test_support::TestProcessDatabase;

use crate::service::{self, Api, Service};
use crate::upstream::CONTACTS;

const ROUNDS: usize = 5;

/// A sync of all contacts, when all are new and when none is.
pub(crate) async fn synced(
    database: &TestProcessDatabase,
    gateway: &Service,
    upstream: std::net::SocketAddr,
    (customer, session): (&str, &str),
) {
    let api = Api::of(gateway);
    let key = api.new_key(customer).await;
    let mut took: [Vec<Duration>; 3] = Default::default();
    for _ in 0..ROUNDS {
        let asked = Instant::now();
        api.get_all(format!("http://{upstream}/user/contacts")).await;
        took[0].push(asked.elapsed());
        service::sql(database, "DELETE FROM wa_support.contacts").await;
        for took in &mut took[1..] {
            let asked = Instant::now();
            assert_eq!(api.sync_contacts(&key, session).await, CONTACTS);
            took.push(asked.elapsed());
        }
    }
    println!("\n{CONTACTS} contacts in one sync, {ROUNDS} times, with the WA server's own time");
    let [own, new, known] = took.map(service::median_and_worst);
    println!(
        "{:<11} {own}\n{:<11} {new}\n{:<11} {known}",
        "its own", "all new", "all known"
    );
}
