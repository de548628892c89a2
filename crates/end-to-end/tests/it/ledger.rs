//! Is everything that was accepted somewhere? Per tenant in the tables, and of each process in what it counts itself.

use std::collections::BTreeMap;
use std::fmt;

use crate::traffic::Volume;
use crate::world::{Tenant, World, address};

pub(crate) const METRICS_TOKEN: &str = "end-to-end-metrics-token";

/// One tenant's messages as the services have them, when nothing goes on any more.
pub(crate) struct Book {
    /// What the WhatsApp server told the gateway: accepted, passed on, given up, still there.
    hooks: [i64; 4],
    /// What people wrote and what agents wrote, at channel-service.
    messages: [i64; 2],
    /// Agents' messages that are on phones, and those that were given up or are in doubt.
    sent: [i64; 2],
    /// Agents' messages that the bridge ordered to be sent.
    orders: i64,
    /// People's messages that the bridge knows to be in Chatwoot.
    links: i64,
    /// Rows that are to be published or done in any of the services.
    live: i64,
    /// Those that wait for people.
    parked: i64,
}

impl Book {
    pub(crate) async fn of(world: &World, tenant: &Tenant) -> Self {
        let id = &tenant.id;
        let number = async |query: String| world.tables.number(&query).await;
        let hooks = async |column: &str| {
            let query = format!(
                "SELECT coalesce(sum({column}), 0)::bigint FROM wa_support.hook_counts WHERE tenant_id = '{id}'"
            );
            number(query).await
        };
        let count =
            async |rows: &str| number(format!("SELECT count(*) FROM {rows} AND tenant_id = '{id}'")).await;
        let all = async |rows: &str| {
            let mut sum = 0;
            for schema in ["wa_support", "channel", "chatwoot_bridge"] {
                sum += count(&format!("{schema}.{rows}")).await;
            }
            sum
        };
        Self {
            hooks: [
                hooks("accepted").await,
                hooks("delivered").await,
                hooks("dropped + expired").await,
                hooks("held").await,
            ],
            messages: [
                count("channel.messages WHERE direction = 'inbound'").await,
                count("channel.messages WHERE direction = 'outbound'").await,
            ],
            sent: [
                count("channel.messages WHERE direction = 'outbound' AND status IN ('sent', 'delivered', 'read')").await,
                count("channel.messages WHERE direction = 'outbound' AND status IN ('failed', 'parked', 'unknown')").await,
            ],
            orders: count("chatwoot_bridge.agent_messages WHERE true").await,
            links: count("chatwoot_bridge.message_links WHERE direction = 'inbound' AND chatwoot_message_id IS NOT NULL").await,
            live: all("outbox WHERE parked IS NULL").await + all("lane_tasks WHERE NOT parked").await,
            parked: all("outbox WHERE parked IS NOT NULL").await + all("lane_tasks WHERE parked").await,
        }
    }

    /// Accepted is delivered, parked, expired or live; and as nothing goes on and nothing failed, all is delivered.
    pub(crate) fn is_even(&self, volume: Volume) {
        let [accepted, passed_on, given_up, held] = self.hooks;
        assert_eq!(
            accepted,
            passed_on + given_up + held,
            "the gateway's book: {self}"
        );
        let [inbound, outbound] = self.messages;
        let [delivered, troubled] = self.sent;
        assert_eq!(
            inbound + outbound,
            self.links + delivered + troubled + self.live + self.parked,
            "channel-service's and the bridge's: {self}"
        );
        assert_eq!(
            [given_up, held, troubled, self.live, self.parked],
            [0; 5],
            "{self}"
        );
        let written = [volume.written(), volume.answers()].map(|many| i64::try_from(many).unwrap());
        assert_eq!(self.messages, written, "{self}");
        assert_eq!(self.orders, outbound, "{self}");
    }
}

impl fmt::Display for Book {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [accepted, passed_on, given_up, held] = self.hooks;
        let [inbound, outbound] = self.messages;
        let [delivered, troubled] = self.sent;
        write!(
            f,
            "webhooks {accepted} = {passed_on} passed on + {given_up} given up + {held} held; messages {inbound} in ({} in Chatwoot) \
             and {outbound} out ({} ordered, {delivered} delivered, {troubled} in trouble); {} live, {} parked",
            self.links, self.orders, self.live, self.parked
        )
    }
}

/// What was there when the process began that runs now, by service and book.
#[derive(Default)]
pub(crate) struct Books(BTreeMap<(&'static str, &'static str), i64>);

impl Books {
    /// Notes it, while the service is stopped.
    pub(crate) async fn open(&mut self, world: &World, service: &'static str) {
        for (book, table) in [("outbox", "outbox"), ("tasks", "lane_tasks")] {
            let there = world
                .tables
                .count(&format!("{}.{table}", schema_of(service)))
                .await;
            self.0.insert((service, book), there);
        }
    }

    /// What a process found and accepted, it delivered or gave up, when nothing is left.
    pub(crate) async fn are_even(&self, world: &World) {
        for ((service, book), found) in &self.0 {
            let process = [&world.gateway, &world.channel, &world.bridge]
                .into_iter()
                .find(|process| process.service() == *service)
                .unwrap();
            let asked = world.http.get(format!("{}/metrics", address(process)));
            let shown = asked
                .bearer_auth(METRICS_TOKEN)
                .send()
                .await
                .unwrap()
                .text()
                .await
                .unwrap();
            let [accepted, delivered, expired] =
                ["accepted", "delivered", "expired"].map(|step| counted(&shown, book, step));
            println!(
                "{service}, {book}: {found} found + {accepted} accepted = {delivered} delivered + {expired} expired"
            );
            assert_eq!(found + accepted, delivered + expired, "{service}, {book}");
            // Not every service has events for the broker in this.
            assert!(
                accepted > 0 || *book == "outbox",
                "{service}, {book}: nothing was counted"
            );
        }
    }
}

fn schema_of(service: &str) -> &'static str {
    match service {
        "channel-service" => "channel",
        "chatwoot-bridge" => "chatwoot_bridge",
        _ => "wa_support",
    }
}

/// The value of `kanal_ledger_total{book=…,step=…}`, whatever other labels there are.
fn counted(shown: &str, book: &str, step: &str) -> i64 {
    let labels = [format!("book=\"{book}\""), format!("step=\"{step}\"")];
    let line = shown.lines().find(|line| {
        line.starts_with("kanal_ledger_total{") && labels.iter().all(|label| line.contains(label))
    });
    line.and_then(|line| line.rsplit(' ').next()?.parse().ok())
        .unwrap_or_else(|| panic!("no counter of {book}, {step}"))
}
