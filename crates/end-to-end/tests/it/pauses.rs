//! What a load has shown: at what pace messages came through, how long they took, and for how long nothing went on.

use std::fmt;
use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::load::{moment, seconds};
use crate::traffic::Traffic;
use crate::world::{Tenant, World};

/// A service that was away for a while.
pub(crate) struct Interruption {
    pub(crate) name: &'static str,
    pub(crate) how: &'static str,
    pub(crate) began: DateTime<Utc>,
    /// From the signal to the end of the process.
    pub(crate) stopped: Duration,
    /// From its start until it said that it is ready.
    pub(crate) started: Duration,
}

/// When messages came to a place, in order.
struct Arrivals {
    place: &'static str,
    times: Vec<DateTime<Utc>>,
}

impl Arrivals {
    /// Those since `began`.
    fn new(place: &'static str, began: DateTime<Utc>, mut times: Vec<DateTime<Utc>>) -> Self {
        times.retain(|time| *time >= began);
        times.sort_unstable();
        Self { place, times }
    }

    /// The longest time within which nothing came, of those that lie at least partly in this one.
    fn longest_gap(&self, from: DateTime<Utc>, to: DateTime<Utc>) -> Duration {
        let neighbours = self.times.windows(2).map(|two| (two[0], two[1]));
        let gaps = neighbours.filter(|(before, after)| *after > from && *before < to);
        let longest = gaps.map(|(before, after)| after - before).max();
        longest.and_then(|gap| gap.to_std().ok()).unwrap_or_default()
    }

    /// How many came in a second, second by second.
    fn by_second(&self, from: DateTime<Utc>) -> Vec<u64> {
        let mut counts = Vec::new();
        for time in &self.times {
            let second = usize::try_from((*time - from).num_seconds()).unwrap_or(0);
            counts.resize(counts.len().max(second + 1), 0);
            counts[second] += 1;
        }
        counts
    }
}

/// To be printed.
pub(crate) struct Report(String);

impl Report {
    pub(crate) fn of(
        world: &World,
        parts: &[(Tenant, Traffic)],
        began: DateTime<Utc>,
        interruptions: &[Interruption],
    ) -> Self {
        let deliveries = world.simulator.wa_deliveries();
        let taken = deliveries
            .iter()
            .filter(|delivery| delivery.accepted() && delivery.kind == "Message")
            .map(|delivery| moment(&delivery.moment.at));
        let (mut incoming, mut on_phones, mut delays) = (Vec::new(), Vec::new(), Vec::new());
        let mut offered = 0;
        for (tenant, traffic) in parts {
            offered += traffic.volume().inbound + traffic.volume().answers();
            for message in world.messages(tenant, "incoming") {
                let arrived = moment(&message.created_at);
                if let Some(due) = traffic.due(message.content.as_deref().unwrap_or_default()) {
                    delays.push((arrived - began).to_std().unwrap_or_default().saturating_sub(due));
                }
                incoming.push(arrived);
            }
            for chat in 0..traffic.volume().chats {
                let shown = traffic.on_phone(world, chat);
                on_phones.extend(shown.iter().map(|message| moment(&message.moment.at)));
            }
        }
        let places = [
            Arrivals::new("taken in", began, taken.collect()),
            Arrivals::new("in Chatwoot", began, incoming),
            Arrivals::new("on phones", began, on_phones),
        ];
        delays.sort_unstable();
        let mut text = format!("{offered} messages\n");
        for Arrivals { place, times } in &places {
            let (Some(first), Some(last)) = (times.first(), times.last()) else {
                continue;
            };
            let took = (*last - *first).to_std().unwrap_or_default();
            let pace = times.len() as f64 / took.as_secs_f64().max(0.001);
            text += &format!(
                "{place}: {} in {}, {pace:.0} a second\n",
                times.len(),
                seconds(took)
            );
        }
        text += "from when it is written until it is in Chatwoot:";
        for per_mille in [500, 900, 990, 1_000] {
            let at = (delays.len() * per_mille / 1_000).min(delays.len().saturating_sub(1));
            let delay = delays.get(at).copied().unwrap_or_default();
            text += &format!(" p{} {}", per_mille as f64 / 10.0, seconds(delay));
        }
        text.push('\n');
        for (number, interruption) in interruptions.iter().enumerate() {
            let next = interruptions
                .get(number + 1)
                .map_or_else(Utc::now, |next| next.began);
            text += &format!(
                "{} {}: stopped within {}, ready {} after its start; longest pause:",
                interruption.name,
                interruption.how,
                seconds(interruption.stopped),
                seconds(interruption.started)
            );
            for arrivals in &places {
                let gap = arrivals.longest_gap(interruption.began, next);
                text += &format!(" {} {}", arrivals.place, seconds(gap));
            }
            text.push('\n');
        }
        for arrivals in &places {
            text += &format!(
                "{} second by second: {:?}\n",
                arrivals.place,
                arrivals.by_second(began)
            );
        }
        Self(text)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
