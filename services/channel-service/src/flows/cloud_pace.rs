//! How fast messages go out through the Cloud API (contract meta-cloud-api 5): gates of the app, the business account, the
//! number and the person, which processes share and which Meta's refusals make slower.
//!
//! | refused for the speed of | who waits |
//! |---|---|
//! | the app, the business account | everybody there, as long as Meta says |
//! | the number | its bucket is empty and fills half as fast, a tenth of the rate more with each minute |
//! | the person | that chat, four times as long each time; nobody else |
//! | a form | that message |

use std::time::{Duration, Instant};

use cache::{CacheKey, Gate, GateRate, Passed, RedisLink, Shut, Throttle};
use domain::ids::{ChatId, PhoneNumberId};
use tenant_isolation::TenantScope;
use whatsapp::port::{RateScope, SendOutcome};

use super::pace::Turns;
use crate::config::CloudSendingSettings;
use crate::store::cloud_sending::CloudState;

/// Those who wait for one gate come back over so long a time.
const APART_MS: u64 = 1_000;

/// The pace of all numbers. Cheap to clone.
#[derive(Clone)]
pub struct CloudPace {
    throttle: Throttle,
    /// How fast, and what is done about refusals.
    pub settings: CloudSendingSettings,
    turns: Turns,
    upgraded_turns: Turns,
}

/// What one message passes.
pub(super) struct Gates {
    list: Vec<Gate>,
    app: CacheKey,
    business: Option<CacheKey>,
    number: CacheKey,
    number_rate: GateRate,
    is_upgraded: bool,
    pair: CacheKey,
}

impl CloudPace {
    /// The pace that these settings want.
    #[must_use]
    pub fn new(redis: RedisLink, settings: CloudSendingSettings) -> Self {
        let of = |rate: std::num::NonZeroU32| Turns::every(Duration::from_secs(1) / rate.get());
        Self {
            throttle: Throttle::new(redis),
            settings,
            turns: of(settings.number_rate),
            upgraded_turns: of(settings.upgraded_rate),
        }
    }

    /// What a message to this chat passes.
    pub(super) fn gates(
        &self,
        scope: &TenantScope,
        endpoint: &str,
        number: &PhoneNumberId,
        state: &CloudState,
        chat: ChatId,
    ) -> Gates {
        let per_second = if state.is_upgraded {
            self.settings.upgraded_rate
        } else {
            self.settings.number_rate
        };
        let number_rate = GateRate {
            interval: Duration::from_secs(1) / per_second.get(),
            burst: per_second,
        };
        let app = CacheKey::of_endpoint("cloud_app", endpoint);
        let business = state
            .waba_id
            .as_deref()
            .map(|waba| CacheKey::of_endpoint("cloud_waba", waba));
        let number = CacheKey::of_tenant(scope, "cloud_number", number.as_str());
        // One chat is one number with one person.
        let pair = CacheKey::of_tenant(scope, "cloud_pair", &chat.to_string());
        let open = |key: &CacheKey| Gate {
            key: key.clone(),
            rate: None,
        };
        let mut list = vec![
            Gate {
                key: number.clone(),
                rate: Some(number_rate),
            },
            Gate {
                key: pair.clone(),
                rate: Some(self.settings.pair),
            },
            open(&app),
        ];
        list.extend(business.as_ref().map(open));
        Gates {
            list,
            app,
            business,
            number,
            number_rate,
            is_upgraded: state.is_upgraded,
            pair,
        }
    }

    /// May the message go out now?
    ///
    /// # Errors
    /// The wait until its turn, when it asks again.
    pub(super) async fn ask(&self, gates: &Gates) -> Result<Passed, Duration> {
        let Shut { gate, wait } = match self.throttle.pass(&gates.list).await {
            Ok(passed) => return Ok(passed),
            Err(shut) => shut,
        };
        Err(match gate {
            0 => {
                let turns = if gates.is_upgraded {
                    &self.upgraded_turns
                } else {
                    &self.turns
                };
                turns.next(&gates.number, wait, Instant::now())
            }
            1 => wait,
            _ => wait + Duration::from_millis(rand::random_range(0..APART_MS)),
        })
    }

    /// What came of it. `Some`: the chat comes back after this time.
    pub(super) async fn hear(
        &self,
        gates: &Gates,
        passed: Passed,
        outcome: &SendOutcome,
    ) -> Option<Duration> {
        match outcome {
            SendOutcome::Accepted { .. } if passed.was_closed => {
                self.throttle.open(&gates.pair).await;
                None
            }
            SendOutcome::RateLimited { scope, after, .. } => {
                metrics::counter!("kanal_cloud_throttled_total", "scope" => scope.as_str()).increment(1);
                match scope {
                    RateScope::Chat => Some(
                        self.throttle
                            .close_longer(&gates.pair, self.settings.pair_backoff)
                            .await,
                    ),
                    RateScope::Number => {
                        self.throttle.slow(&gates.number, gates.number_rate).await;
                        None
                    }
                    RateScope::App => {
                        self.throttle.close(&gates.app, *after).await;
                        None
                    }
                    RateScope::Business => {
                        let gate = gates.business.as_ref().unwrap_or(&gates.number);
                        self.throttle.close(gate, *after).await;
                        None
                    }
                    RateScope::Flow | RateScope::Registration => None,
                }
            }
            _ => None,
        }
    }
}
