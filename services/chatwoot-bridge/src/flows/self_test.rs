//! Does an inbox work, both ways? And what is it that will not work, before anybody notices.
//!
//! Into a conversation with a contact of our own an incoming message is put, then an outgoing one under our mark. Chatwoot
//! tells of that one by webhook, as of every message: when it comes, and is believed, both ways are there. It is marked
//! as ours, so nobody is sent it.

use std::time::{Duration, Instant};

use database::DatabaseError;
use runtime::config::BaseUrl;
use serde::Serialize;
use tenant_isolation::{TenantScope, TenantTransaction};
use uuid::Uuid;

use super::Tools;
use super::target_url::TargetUrl;
use crate::chatwoot::{ChatwootError, InboxAddress};
use crate::outbound_url::{OutboundPolicy, OutboundRefusal};
use crate::store::probes;

/// How long a webhook is waited for. Chatwoot posts it by a job of its own.
pub const PATIENCE: Duration = Duration::from_secs(15);
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Begins the mark of a test message; the nonce stands behind it.
const MARK: &str = "WAID:kanal-test-";
const NONCE_DIGITS: usize = 32;

/// One way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Leg {
    /// Does it work?
    pub works: bool,
    /// Why not, as a stable word.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// How long it took.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub took_ms: Option<u64>,
}

/// Both ways.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Tested {
    /// A message was put into Chatwoot.
    pub to_chatwoot: Leg,
    /// Chatwoot told this service of one.
    pub from_chatwoot: Leg,
}

/// Something that will not work, or not with every version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Warning {
    /// A stable word.
    pub code: &'static str,
    /// What it is and what to do.
    pub text: String,
}

impl Leg {
    fn failed(reason: impl Into<String>) -> Self {
        Self {
            works: false,
            reason: Some(reason.into()),
            took_ms: None,
        }
    }

    fn worked(since: Instant) -> Self {
        Self {
            works: true,
            reason: None,
            took_ms: u64::try_from(since.elapsed().as_millis()).ok(),
        }
    }
}

impl Tested {
    /// Does everything work?
    #[must_use]
    pub const fn works(&self) -> bool {
        self.to_chatwoot.works && self.from_chatwoot.works
    }
}

/// Tests the inbox at `at`, whose events a running bridge is to take for `route`.
///
/// # Errors
/// [`DatabaseError`]. What Chatwoot does is in the outcome.
pub async fn both_ways(
    tools: &Tools,
    scope: &TenantScope,
    route: Uuid,
    at: &InboxAddress,
    patience: Duration,
) -> Result<Tested, DatabaseError> {
    let started = Instant::now();
    let nonce = Uuid::new_v4().simple().to_string();
    let api = tools.chatwoot.at(at);
    let to_chatwoot = async {
        let conversation = api.test_conversation().await?;
        let mark = format!("WAID:kanal-test-in-{nonce}");
        api.create_test_message(
            conversation,
            "Kanal: a test message towards Chatwoot",
            &mark,
            false,
        )
        .await?;
        Ok::<_, ChatwootError>(conversation)
    };
    let conversation = match to_chatwoot.await {
        Ok(conversation) => conversation,
        Err(error) => {
            return Ok(Tested {
                to_chatwoot: Leg::failed(error.reason()),
                from_chatwoot: Leg::failed("not_tried"),
            });
        }
    };
    let to_chatwoot = Leg::worked(started);
    let from_chatwoot = hear(tools, scope, route, at, (conversation, &nonce), patience).await?;
    if let Err(error) = api.resolve(conversation).await {
        tracing::info!(reason = error.reason(), "the test's conversation stays open");
    }
    Ok(Tested {
        to_chatwoot,
        from_chatwoot,
    })
}

async fn hear(
    tools: &Tools,
    scope: &TenantScope,
    route: Uuid,
    at: &InboxAddress,
    (conversation, nonce): (i64, &str),
    patience: Duration,
) -> Result<Leg, DatabaseError> {
    let mut tx = TenantTransaction::begin(&tools.db, scope, "expect test message").await?;
    probes::expect(&mut tx, nonce, route).await?;
    tx.commit().await?;
    let started = Instant::now();
    let api = tools.chatwoot.at(at);
    let text = "Kanal: a test message from Chatwoot; nobody on WhatsApp gets it";
    let mark = format!("{MARK}{nonce}");
    if let Err(error) = api.create_test_message(conversation, text, &mark, true).await {
        return Ok(Leg::failed(error.reason()));
    }
    loop {
        let mut tx = TenantTransaction::begin(&tools.db, scope, "await test message").await?;
        let arrived = probes::has_arrived(&mut tx, nonce).await?;
        tx.commit().await?;
        if arrived {
            return Ok(Leg::worked(started));
        }
        if started.elapsed() >= patience {
            return Ok(Leg::failed("no_webhook"));
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Notes that a test message came back, if that is what a webhook of ours tells of.
///
/// # Errors
/// [`DatabaseError`].
pub async fn note_arrival(tools: &Tools, scope: &TenantScope, body: &[u8]) -> Result<(), DatabaseError> {
    let Some(nonce) = nonce_in(body) else {
        return Ok(());
    };
    let mut tx = TenantTransaction::begin(&tools.db, scope, "test message arrived").await?;
    probes::arrived(&mut tx, nonce).await?;
    tx.commit().await
}

/// The nonce of a test message, wherever it stands: it cannot be guessed, so a person's words are none.
fn nonce_in(body: &[u8]) -> Option<&str> {
    let at = body
        .windows(MARK.len())
        .position(|window| window == MARK.as_bytes())?;
    let nonce = body.get(at + MARK.len()..)?.get(..NONCE_DIGITS)?;
    let nonce = std::str::from_utf8(nonce).ok()?;
    nonce
        .bytes()
        .all(|byte| byte.is_ascii_hexdigit())
        .then_some(nonce)
}

/// What will not work because an address is private (contract 2.4; 6, 18).
pub async fn warnings(public_url: Option<&BaseUrl>, target: Option<&TargetUrl>) -> Vec<Warning> {
    let mut warnings = Vec::new();
    // Chatwoot knows nothing of what we allow ourselves.
    let strangers = OutboundPolicy::default();
    match public_url {
        None => warnings.push(Warning {
            code: "bridge_url_unknown",
            text:
                "PUBLIC_BRIDGE_URL is not set, so nobody here knows where Chatwoot has to send its webhooks"
                    .to_owned(),
        }),
        Some(url) => {
            if strangers.check_for_others(url.url()).await == Err(OutboundRefusal::Private) {
                warnings.push(Warning {
                    code: "bridge_url_private",
                    text: "PUBLIC_BRIDGE_URL is a private address. Chatwoot from 4.14 on sends nothing there and marks \
                           agents' messages as failed, unless SAFE_FETCH_ALLOW_PRIVATE_NETWORK=true is in its environment; \
                           its forms take no host name without a dot"
                        .to_owned(),
                });
            }
        }
    }
    if let Some(target) = target
        && target.check_name(&strangers).await.is_err()
    {
        warnings.push(Warning {
            code: "target_url_private",
            text: "The target is a private address. Events go there only while OUTBOUND_ALLOWED_PRIVATE_HOSTS lists its \
                   host and port"
                .to_owned(),
        });
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_nonce_behind_the_mark_is_one() {
        let nonce = Uuid::new_v4().simple().to_string();
        let body = format!(r#"{{"content":"x","source_id":"WAID:kanal-test-{nonce}"}}"#);
        assert_eq!(nonce_in(body.as_bytes()), Some(nonce.as_str()));
        for other in [
            r#"{"source_id":"WAID:3EB0"}"#.to_owned(),
            r#"{"source_id":"WAID:kanal-test-12"}"#.to_owned(),
            format!(r#"{{"source_id":"WAID:kanal-test-in-{nonce}"}}"#),
            String::new(),
        ] {
            assert_eq!(nonce_in(other.as_bytes()), None, "{other}");
        }
    }
}
