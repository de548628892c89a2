//! `trace`: everything that the three services know of an id, put together to chains.
//!
//! The service that is asked looks into its own tables; the others are asked over HTTP. What they know by other ids is then
//! looked for by these, at all of them. Of that only counts what belongs to a chain already: a number that Chatwoot gave
//! out twice, or the same WhatsApp id at another tenant, is somebody else's.

use std::collections::BTreeSet;
use std::fmt;

use chrono::{DateTime, SecondsFormat, Utc};
use clap::Args;
use futures_util::future::join_all;
use serde::Serialize;

use crate::journey::{Answer, Hop, Journey, LONGEST_ID, Name, NameKind, Place, readable};
use crate::peers::{self, Peer, Service};

/// Most ids that are looked for, the given one among them.
const MOST_IDS: usize = 24;

/// The way of a message over the three services.
#[derive(Debug, Args)]
pub struct TraceCommand {
    /// Any id of it: channel-service's, WhatsApp's, Chatwoot's, an order's, a request's, an event's, or the key under which
    /// it was ordered
    id: String,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Why nothing can be told.
#[derive(Debug, thiserror::Error)]
pub enum TraceError<E: std::error::Error + 'static> {
    /// That is no id.
    #[error("an id has 1 to {LONGEST_ID} bytes and no control characters")]
    NoId,
    /// The own tables cannot be read.
    #[error("the own tables cannot be read")]
    Own(#[source] E),
    /// The others cannot be asked.
    #[error("the HTTP client cannot be set up")]
    Client(#[from] reqwest::Error),
}

/// What the services know of an id.
#[derive(Debug, Clone, Serialize)]
pub struct Trace {
    /// As it was given.
    pub id: String,
    /// What goes by it; one chain for each thing, and of each tenant.
    pub chains: Vec<Chain>,
    /// Who was asked.
    pub asked: Vec<Asked>,
}

/// A service that was asked.
#[derive(Debug, Clone, Serialize)]
pub struct Asked {
    /// Which.
    pub service: &'static str,
    /// Why it told nothing, or not all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub silent: Option<String>,
    /// Where it looked.
    pub looked_in: Vec<Place>,
}

/// A thing and its way.
#[derive(Debug, Clone, Serialize)]
pub struct Chain {
    /// Whose.
    pub tenant_id: String,
    /// By which ids it goes.
    pub names: Vec<Name>,
    /// What it is at each service.
    pub parts: Vec<Part>,
    /// What happened, oldest first.
    pub hops: Vec<ChainHop>,
}

/// What a thing is at one service.
#[derive(Debug, Clone, Serialize)]
pub struct Part {
    /// Where.
    pub service: String,
    /// What it is there.
    pub subject: String,
    /// What goes which way, in a few words.
    pub about: String,
    /// Where it stands.
    pub state: String,
    /// Why, as a stable code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What is still to be done about it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub now: Vec<String>,
}

/// One thing that happened, and where.
#[derive(Debug, Clone, Serialize)]
pub struct ChainHop {
    /// Where.
    pub service: String,
    /// How long after what happened before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since_before_ms: Option<i64>,
    /// What.
    #[serde(flatten)]
    pub hop: Hop,
}

/// Does what the command asks for, at the service `own`, which tells by `ask_own` what it knows itself. Returns what to
/// print.
///
/// # Errors
/// [`TraceError`]. A service that is away is none.
pub async fn run<E: std::error::Error + 'static>(
    command: &TraceCommand,
    own: Service,
    others: &[Peer],
    ask_own: impl AsyncFnMut(&str) -> Result<Answer, E>,
) -> Result<String, TraceError<E>> {
    let trace = follow(&command.id, own, others, ask_own).await?;
    Ok(if command.json {
        serde_json::json!(trace).to_string()
    } else {
        // What a stranger sent must not steer the terminal.
        trace
            .to_string()
            .replace(|sign: char| sign.is_control() && sign != '\n', "\u{fffd}")
    })
}

/// Looks for an id everywhere, and then for what it is called elsewhere.
///
/// # Errors
/// [`TraceError`].
pub async fn follow<E: std::error::Error + 'static>(
    id: &str,
    own: Service,
    others: &[Peer],
    mut ask_own: impl AsyncFnMut(&str) -> Result<Answer, E>,
) -> Result<Trace, TraceError<E>> {
    let first = readable(id).ok_or(TraceError::NoId)?;
    let http = peers::client()?;
    let mut asked: Vec<Asked> = Vec::new();
    let mut known: Vec<Journey> = Vec::new();
    let mut ids: Vec<String> = vec![first.to_owned()];
    let mut next = 0;
    while let Some(id) = ids.get(next).cloned() {
        let of_own = ask_own(&id).await.map_err(TraceError::Own)?;
        let ready: Vec<&Peer> = others
            .iter()
            .filter(|peer| !is_silent(&asked, peer.service()))
            .collect();
        let told = join_all(ready.iter().map(|peer| peer.ask(&http, &id))).await;
        let answers =
            std::iter::once((own, Ok(of_own))).chain(ready.iter().map(|peer| peer.service()).zip(told));
        let mut found = Vec::new();
        for (service, answer) in answers {
            let (silent, answer) = match answer {
                Ok(answer) => (None, Some(answer)),
                Err(silent) => (Some(silent.to_string()), None),
            };
            let (looked_in, journeys) =
                answer.map_or_else(Default::default, |answer| (answer.looked_in, answer.journeys));
            found.extend(journeys);
            match asked.iter_mut().find(|asked| asked.service == service.name()) {
                Some(before) => before.silent = before.silent.take().or(silent),
                None => asked.push(Asked {
                    service: service.name(),
                    silent,
                    looked_in,
                }),
            }
        }
        take_in(&mut known, found, next == 0);
        next += 1;
        for name in known.iter().flat_map(|journey| &journey.names) {
            if ids.len() < MOST_IDS && is_asked_for(name) && !ids.contains(&name.id) {
                ids.push(name.id.clone());
            }
        }
    }
    asked.sort_by_key(|asked| Service::ALL.iter().position(|one| one.name() == asked.service));
    Ok(Trace {
        id: first.to_owned(),
        chains: chains(known),
        asked,
    })
}

fn is_silent(asked: &[Asked], service: Service) -> bool {
    asked
        .iter()
        .any(|asked| asked.service == service.name() && asked.silent.is_some())
}

/// Others may know it by this id. A request brings many things: it is looked for only when it was given.
fn is_asked_for(name: &Name) -> bool {
    matches!(
        name.kind,
        NameKind::Message | NameKind::Whatsapp | NameKind::Order | NameKind::Chatwoot
    )
}

/// Adds what is new. What was found by another id than the given one counts if it belongs to something that is known.
fn take_in(known: &mut Vec<Journey>, mut found: Vec<Journey>, is_first: bool) {
    found.retain(|journey| !known.iter().any(|before| is_same(before, journey)));
    if is_first {
        for journey in found {
            if !known.iter().any(|before| is_same(before, &journey)) {
                known.push(journey);
            }
        }
        return;
    }
    // One may belong to another that was found with it.
    while let Some(place) = found
        .iter()
        .position(|journey| known.iter().any(|before| belong_together(before, journey)))
    {
        let journey = found.swap_remove(place);
        if !known.iter().any(|before| is_same(before, &journey)) {
            known.push(journey);
        }
    }
}

fn is_same(one: &Journey, other: &Journey) -> bool {
    one.service == other.service
        && one.tenant_id == other.tenant_id
        && one.subject == other.subject
        && one.names.first() == other.names.first()
}

fn belong_together(one: &Journey, other: &Journey) -> bool {
    one.tenant_id == other.tenant_id
        && one
            .names
            .iter()
            .any(|name| name.kind != NameKind::Request && other.names.contains(name))
}

/// Puts together what belongs together.
fn chains(mut journeys: Vec<Journey>) -> Vec<Chain> {
    let mut chains = Vec::new();
    while !journeys.is_empty() {
        let mut together = vec![journeys.remove(0)];
        while let Some(place) = journeys
            .iter()
            .position(|journey| together.iter().any(|one| belong_together(one, journey)))
        {
            together.push(journeys.remove(place));
        }
        chains.push(Chain::of(together));
    }
    chains
}

impl Chain {
    fn of(mut journeys: Vec<Journey>) -> Self {
        let tenant_id = journeys
            .first()
            .map(|journey| journey.tenant_id.clone())
            .unwrap_or_default();
        let mut names: Vec<Name> = Vec::new();
        let (mut parts, mut hops) = (Vec::new(), Vec::new());
        for journey in &mut journeys {
            for name in journey.names.drain(..) {
                // Where it means one thing says nothing to whoever reads it.
                if !names
                    .iter()
                    .any(|known| known.kind == name.kind && known.id == name.id)
                {
                    names.push(name);
                }
            }
            hops.extend(journey.hops.drain(..).map(|hop| ChainHop {
                service: journey.service.clone(),
                since_before_ms: None,
                hop,
            }));
        }
        for journey in journeys {
            parts.push(Part {
                service: journey.service,
                subject: journey.subject,
                about: journey.about,
                state: journey.state,
                reason: journey.reason,
                now: journey.now,
            });
        }
        names.sort();
        hops.sort_by_key(|hop| hop.hop.at);
        let mut before: Option<DateTime<Utc>> = None;
        for hop in &mut hops {
            hop.since_before_ms = before.map(|before| (hop.hop.at - before).num_milliseconds());
            before = Some(hop.hop.at);
        }
        Self {
            tenant_id,
            names,
            parts,
            hops,
        }
    }
}

/// For a terminal: a chain after the other, a line a hop.
impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chain in &self.chains {
            writeln!(f, "{chain}")?;
        }
        if self.chains.is_empty() {
            writeln!(f, "nothing goes by {}. It was looked for", self.id)?;
            for asked in &self.asked {
                for place in &asked.looked_in {
                    writeln!(
                        f,
                        "  at {} among {}, kept {}",
                        asked.service, place.among, place.kept
                    )?;
                }
            }
        }
        let tenants: BTreeSet<&str> = self.chains.iter().map(|chain| chain.tenant_id.as_str()).collect();
        if tenants.len() > 1 {
            writeln!(f, "{} tenants have something by this id", tenants.len())?;
        }
        for asked in &self.asked {
            if let Some(silent) = &asked.silent {
                writeln!(f, "{} {silent}", asked.service)?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "tenant {}", self.tenant_id)?;
        for part in &self.parts {
            write!(f, "  {:<18}  {}: {}", part.service, part.about, part.state)?;
            writeln!(f, "{}", in_brackets(part.reason.as_deref()))?;
        }
        for name in &self.names {
            writeln!(f, "  {:<9} {}", name.kind.as_str(), name.id)?;
        }
        for hop in &self.hops {
            writeln!(f, "{hop}")?;
        }
        for part in &self.parts {
            for now in &part.now {
                writeln!(f, "now, at {}: {now}", part.service)?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for ChainHop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Hop {
            at,
            what,
            class,
            code,
            attempt,
            took_ms,
            endpoint,
            by,
        } = &self.hop;
        let since = self.since_before_ms.map(elapsed).unwrap_or_default();
        let at = at.to_rfc3339_opts(SecondsFormat::Millis, true);
        write!(f, "{at}  {since:>10}  {:<18}  {what}", self.service)?;
        if let Some(attempt) = attempt {
            write!(f, " {attempt}")?;
        }
        if let Some(class) = class {
            write!(f, " {class}")?;
        }
        f.write_str(&in_brackets(code.as_deref()))?;
        if let Some(endpoint) = endpoint {
            write!(f, " at {endpoint}")?;
        }
        if let Some(took) = took_ms {
            write!(f, " after {took} ms")?;
        }
        if let Some(by) = by {
            write!(f, " by {by}")?;
        }
        Ok(())
    }
}

fn elapsed(ms: i64) -> String {
    match ms {
        ..10_000 => format!("+{ms} ms"),
        10_000..600_000 => format!("+{} s", ms / 1_000),
        600_000..172_800_000 => format!("+{} min", ms / 60_000),
        _ => format!("+{} d", ms / 86_400_000),
    }
}

fn in_brackets(code: Option<&str>) -> String {
    code.filter(|code| !code.is_empty())
        .map(|code| format!(" ({code})"))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests;
