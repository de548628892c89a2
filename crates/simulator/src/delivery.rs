//! Posting a webhook, whichever server it is of: with everything that faults do to it, and again until it is accepted or the
//! schedule ends.

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::faults::FaultTarget;
use crate::hub::{Hub, Moment, body_start, chain, lock, milliseconds};

/// A webhook as it is posted, the same bytes at every attempt.
pub(crate) trait Webhook: Send + Sync + 'static {
    /// What faults are set on.
    const TARGET: FaultTarget;

    /// Waits between attempts, in milliseconds. Asked each time, because tests shorten the schedule while webhooks wait.
    fn pauses(hub: &Hub) -> Vec<u64>;

    /// Is it over with this status?
    fn is_accepted(status: u16) -> bool {
        (200..300).contains(&status)
    }

    /// Posts it once: the status and the beginning of the answer, or what broke.
    fn post(&self, hub: &Hub) -> impl Future<Output = Result<(u16, String), String>> + Send;

    /// Writes an attempt down.
    fn note(&self, hub: &Arc<Hub>, attempt: Attempt);
}

/// One attempt.
pub(crate) struct Attempt {
    /// When it was over.
    pub(crate) moment: Moment,
    /// Which, from 1.
    pub(crate) attempt: u32,
    /// Which duplicate; the original is 0.
    pub(crate) copy: u32,
    pub(crate) status: Option<u16>,
    pub(crate) error: Option<String>,
    pub(crate) response: String,
    pub(crate) duration_ms: u64,
}

/// Delivers it with everything that faults add to it. False: the schedule ended before it was accepted, whatever became of
/// its duplicates.
pub(crate) async fn deliver<W: Webhook>(hub: &Arc<Hub>, webhook: &Arc<W>) -> bool {
    let copies = start_copies(hub, webhook).await;
    let accepted = with_retries(hub, webhook.as_ref(), 0).await;
    for copy in copies {
        with_retries(hub, webhook.as_ref(), copy).await;
    }
    accepted
}

/// Delivers it until it is accepted, however often that takes. For streams, which must not lose their place.
pub(crate) async fn deliver_until_accepted<W: Webhook>(hub: &Arc<Hub>, webhook: &Arc<W>, pause: Duration) {
    let copies = start_copies(hub, webhook).await;
    let mut attempt = 1;
    while !attempt_once(hub, webhook.as_ref(), attempt, 0).await {
        tokio::time::sleep(pause).await;
        attempt += 1;
    }
    for copy in copies {
        with_retries(hub, webhook.as_ref(), copy).await;
    }
}

/// Starts as many duplicates at the same time.
pub(crate) fn copies_at_once<W: Webhook>(hub: &Arc<Hub>, webhook: &Arc<W>, copies: u32) {
    for copy in 1..=copies {
        let (shared, webhook) = (Arc::clone(hub), Arc::clone(webhook));
        hub.spawn(async move {
            with_retries(&shared, webhook.as_ref(), copy).await;
        });
    }
}

/// Sends a request: the status and the beginning of the answer, or what broke.
pub(crate) async fn answer_to(request: reqwest::RequestBuilder) -> Result<(u16, String), String> {
    let response = request.send().await.map_err(|error| chain(&error))?;
    let status = response.status().as_u16();
    let start = body_start(response).await.map_err(|error| chain(&error))?;
    Ok((status, start))
}

/// Posts it as often as the schedule says. False: it was not accepted.
pub(crate) async fn with_retries<W: Webhook>(hub: &Arc<Hub>, webhook: &W, copy: u32) -> bool {
    let mut attempt: u32 = 1;
    while !attempt_once(hub, webhook, attempt, copy).await {
        let Some(pause) = W::pauses(hub).get(attempt as usize - 1).copied() else {
            return false;
        };
        tokio::time::sleep(Duration::from_millis(pause)).await;
        attempt += 1;
    }
    true
}

/// Holds it back if it is to be reordered and starts the duplicates that run beside it. What comes back are the duplicates
/// that are to follow it.
async fn start_copies<W: Webhook>(hub: &Arc<Hub>, webhook: &Arc<W>) -> Range<u32> {
    let fate = lock(&hub.faults).for_event(W::TARGET);
    if !fate.hold.is_zero() {
        tokio::time::sleep(fate.hold).await;
    }
    if !fate.concurrent {
        return 1..fate.copies + 1;
    }
    copies_at_once(hub, webhook, fate.copies);
    1..1
}

/// One attempt, journalled. True if it was accepted.
async fn attempt_once<W: Webhook>(hub: &Arc<Hub>, webhook: &W, attempt: u32, copy: u32) -> bool {
    let fate = lock(&hub.faults).for_attempt(W::TARGET);
    if !fate.delay.is_zero() {
        tokio::time::sleep(fate.delay).await;
    }
    let started = Instant::now();
    let outcome = if fate.cut {
        Err("cut on purpose, nothing was sent".to_owned())
    } else {
        let answered = webhook.post(hub).await;
        if fate.lose_answer {
            Err("sent, answer lost on purpose".to_owned())
        } else {
            answered
        }
    };
    let duration_ms = milliseconds(started);
    let moment = hub.now();
    let (status, error, response) = match outcome {
        Ok((status, response)) => (Some(status), None, response),
        Err(error) => (None, Some(error), String::new()),
    };
    webhook.note(
        hub,
        Attempt {
            moment,
            attempt,
            copy,
            status,
            error,
            response,
            duration_ms,
        },
    );
    status.is_some_and(W::is_accepted)
}
