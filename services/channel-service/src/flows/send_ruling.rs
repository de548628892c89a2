//! From what came of a call to what happens next: the table at the head of [`super::send_message`] as a function, without a
//! clock, a database or chance of its own.

use std::time::Duration;

use chrono::{DateTime, Utc};
use domain::delivery::DeliveryStatus;
use domain::ids::ProviderMessageId;
use domain::retry::RetrySchedule;
use whatsapp::port::{RejectReason, ResendSafety, RetryReason, SendOutcome};

use super::cloud_trouble::{TOKEN_REFUSED, look_every};
use super::endpoint_away::{Waiting, count_held, uses_up};
use super::tenant_config::TenantConfig;
use crate::config::CloudSendingSettings;
use crate::endpoints::LiveEndpoint;
use crate::endpoints::outage::UNREACHABLE;

/// The attempt that met the provider's limit.
const RATE_LIMITED: &str = "rate_limited";

/// What an outcome means for the message and its task.
pub(super) struct Ruling {
    pub(super) attempt: &'static str,
    pub(super) reason: Option<&'static str>,
    pub(super) detail: Option<String>,
    pub(super) status: Option<DeliveryStatus>,
    pub(super) at: DateTime<Utc>,
    pub(super) task: TaskRuling,
    /// Why the task waits or is put aside, where that is not why the attempt failed.
    pub(super) held: Option<&'static str>,
    /// The id it went out under.
    pub(super) sent_as: Option<ProviderMessageId>,
    /// For so long the whole account sends nothing.
    pub(super) pause: Option<Duration>,
    /// The account sends nothing until something is done about this.
    pub(super) hold: Option<&'static str>,
}

impl Ruling {
    /// Nothing more is done about it now, but an earlier try may have gone out: then nobody may take it for one that did not.
    pub(super) fn after_all_tries(mut self, waiting: Waiting) -> Self {
        if self.status == Some(DeliveryStatus::Parked) {
            self.status = Some(waiting.status_at_the_end());
            if waiting.is_orphaned {
                self.attempt = "unknown";
            }
        }
        self
    }

    /// It comes back after another time, where whoever keeps the pace says so.
    pub(super) fn throttled(mut self, wait: Option<Duration>) -> Self {
        if let (Some(wait), TaskRuling::Wait { time, .. }) = (wait, &mut self.task) {
            *time = wait;
        }
        self
    }
}

/// What it means for the task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TaskRuling {
    Done,
    Wait { time: Duration, counts: bool },
    PutAside,
}

/// What bounds the tries of a message besides the schedule for everybody.
#[derive(Clone, Copy)]
pub(super) struct Tries<'a> {
    pub(super) config: &'a TenantConfig,
    /// Failures before this one that the endpoint answered.
    pub(super) answered: u32,
    /// It goes out through the Cloud API.
    pub(super) is_cloud: bool,
    /// Failures before this one that counted.
    pub(super) failures: i32,
}

/// What everybody's tries are bounded by.
#[derive(Clone, Copy)]
pub(super) struct Rules<'a> {
    /// When a failure is repeated.
    pub(super) retries: &'a RetrySchedule,
    /// What is done about refusals of the Cloud API.
    pub(super) cloud: &'a CloudSendingSettings,
    /// Between 0 and 1: decides how much longer a wait is than it must be.
    pub(super) chance: f64,
}

/// The endpoint could not be reached and the message certainly did not go out: it waits, uncounted, until its time is
/// over.
pub(super) fn rule_away(
    endpoint: &LiveEndpoint,
    waiting: Waiting,
    wait: Duration,
    outcome: SendOutcome,
) -> Ruling {
    let (reason, after, detail) = match outcome {
        SendOutcome::RetryLater {
            reason,
            after,
            detail,
        } => (reason.as_str(), after, Some(detail)),
        _ => (UNREACHABLE, None, None),
    };
    let left = waiting.time_left(endpoint.outage.longest_wait());
    if left.is_some() {
        count_held(endpoint.name.as_str(), UNREACHABLE);
    }
    Ruling {
        attempt: "retry_later",
        reason: Some(reason),
        detail: detail.map(|detail| detail.as_str().to_owned()),
        status: left.is_none().then_some(DeliveryStatus::Parked),
        at: Utc::now(),
        task: match left {
            Some(left) => TaskRuling::Wait {
                time: after.map_or(wait, |after| after.max(wait)).min(left),
                counts: false,
            },
            None => TaskRuling::PutAside,
        },
        held: Some(UNREACHABLE),
        sent_as: None,
        pause: None,
        hold: None,
    }
    .after_all_tries(waiting)
}

impl Rules<'_> {
    /// It did not go out, and may at another time: waits, or is parked after the last attempt.
    pub(super) fn try_later(
        self,
        tries: Tries<'_>,
        reason: &'static str,
        after: Option<Duration>,
        detail: Option<String>,
    ) -> Ruling {
        let wait = self.wait_after(tries, reason);
        Ruling {
            sent_as: None,
            pause: None,
            hold: None,
            held: None,
            attempt: "retry_later",
            reason: Some(reason),
            detail,
            status: wait.is_none().then_some(DeliveryStatus::Parked),
            at: Utc::now(),
            task: match wait {
                Some(wait) => TaskRuling::Wait {
                    time: after.map_or(wait, |after| after.max(wait)),
                    counts: true,
                },
                None => TaskRuling::PutAside,
            },
        }
    }

    /// How long to wait after this failure. `None`: it was the last attempt.
    fn wait_after(self, tries: Tries<'_>, reason: &str) -> Option<Duration> {
        if uses_up(reason) && tries.config.gives_up_after(tries.answered + 1) {
            return None;
        }
        let failures = u32::try_from(tries.failures).unwrap_or(0) + 1;
        self.retries.wait_after(failures, self.chance)
    }

    /// What this outcome means.
    pub(super) fn rule(self, tries: Tries<'_>, resend: ResendSafety, outcome: SendOutcome) -> Ruling {
        let now = Utc::now();
        let detail = |text: &whatsapp::port::OperatorText| Some(text.as_str().to_owned());
        match outcome {
            SendOutcome::Accepted {
                at,
                provider_message_id,
            } => Ruling {
                sent_as: Some(provider_message_id),
                pause: None,
                hold: None,
                held: None,
                attempt: "accepted",
                reason: None,
                detail: None,
                status: Some(DeliveryStatus::Sent),
                at,
                task: TaskRuling::Done,
            },
            SendOutcome::RetryLater {
                reason: reason @ RetryReason::Unauthorized,
                after,
                detail: text,
            } if tries.is_cloud => {
                let every = self.cloud.probe_every;
                Ruling {
                    sent_as: None,
                    pause: None,
                    hold: Some(TOKEN_REFUSED),
                    held: Some(TOKEN_REFUSED),
                    attempt: "retry_later",
                    reason: Some(reason.as_str()),
                    detail: detail(&text),
                    status: None,
                    at: now,
                    task: TaskRuling::Wait {
                        time: after.map_or(every, |after| after.max(every)),
                        counts: false,
                    },
                }
            }
            SendOutcome::RetryLater {
                reason,
                after,
                detail: text,
            } => self.try_later(tries, reason.as_str(), after, detail(&text)),
            SendOutcome::RateLimited {
                after,
                detail: text,
                scope: _,
            } => Ruling {
                sent_as: None,
                pause: (!tries.is_cloud).then_some(after),
                hold: None,
                held: None,
                attempt: RATE_LIMITED,
                reason: Some("rate_limited"),
                detail: detail(&text),
                status: None,
                at: now,
                task: TaskRuling::Wait {
                    time: after,
                    counts: false,
                },
            },
            SendOutcome::Rejected { reason, detail: text } => Ruling {
                sent_as: None,
                pause: (reason == RejectReason::SpamLimited).then_some(self.cloud.spam_pause),
                hold: None,
                held: None,
                attempt: "rejected",
                reason: Some(reason.as_str()),
                detail: detail(&text),
                status: Some(DeliveryStatus::Failed),
                at: now,
                task: TaskRuling::Done,
            },
            SendOutcome::Unknown { reason, detail: text } => Ruling {
                sent_as: None,
                pause: None,
                hold: None,
                held: None,
                attempt: "unknown",
                reason: Some(reason.as_str()),
                detail: detail(&text),
                status: Some(DeliveryStatus::Unknown),
                at: now,
                task: match self.wait_after(tries, reason.as_str()) {
                    Some(time) if resend.may_repeat() || tries.is_cloud && self.cloud.repeat_unknown => {
                        TaskRuling::Wait { time, counts: true }
                    }
                    _ if tries.is_cloud && !resend.may_repeat() && !self.cloud.repeat_unknown => {
                        TaskRuling::Wait {
                            time: look_every(self.cloud.unknown_wait),
                            counts: false,
                        }
                    }
                    _ => TaskRuling::PutAside,
                },
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use cache::GateRate;
    use whatsapp::port::{OperatorText, RateScope, UnknownReason};

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn cloud(repeat_unknown: bool) -> CloudSendingSettings {
        CloudSendingSettings {
            number_rate: NonZeroU32::MIN,
            upgraded_rate: NonZeroU32::MIN,
            pair: GateRate {
                interval: SECOND,
                burst: NonZeroU32::MIN,
            },
            pair_backoff: SECOND,
            unknown_wait: 300 * SECOND,
            repeat_unknown,
            probe_every: 60 * SECOND,
            spam_pause: 3_600 * SECOND,
            template_refresh: None,
        }
    }

    fn failed() -> SendOutcome {
        SendOutcome::RetryLater {
            reason: RetryReason::UploadFailed,
            after: None,
            detail: OperatorText::default(),
        }
    }

    fn unknown(reason: UnknownReason) -> SendOutcome {
        SendOutcome::Unknown {
            reason,
            detail: OperatorText::default(),
        }
    }

    fn limited(seconds: u64) -> SendOutcome {
        SendOutcome::RateLimited {
            after: Duration::from_secs(seconds),
            scope: RateScope::Number,
            detail: OperatorText::default(),
        }
    }

    /// A message through the Cloud API, from its first try to its end.
    struct Run {
        /// When it was tried, by a clock that nothing but the waits moves.
        tried: Vec<Duration>,
        end: Ruling,
    }

    impl Run {
        fn seconds(&self) -> Vec<f64> {
            self.tried.iter().map(Duration::as_secs_f64).collect()
        }
    }

    /// Everybody's schedule, as often as `attempts`, with Meta's answers in this order; the last one is repeated.
    fn run(attempts: u32, repeats: bool, chance: f64, config: &TenantConfig, answers: &[SendOutcome]) -> Run {
        let retries = RetrySchedule::new(SECOND, 300 * SECOND, attempts, 0.2).unwrap();
        let cloud = cloud(repeats);
        let rules = Rules {
            retries: &retries,
            cloud: &cloud,
            chance,
        };
        let (mut now, mut tried, mut failures, mut answered) = (Duration::ZERO, Vec::new(), 0, 0);
        loop {
            let answer = answers.get(tried.len()).or(answers.last()).unwrap();
            tried.push(now);
            assert!(tried.len() < 100, "it ends");
            let tries = Tries {
                config,
                answered,
                is_cloud: true,
                failures,
            };
            let ruling = rules.rule(tries, ResendSafety::EachCallIsAMessage, answer.clone());
            match ruling.task {
                TaskRuling::Wait { time, counts } => {
                    now += time;
                    failures += i32::from(counts);
                    answered += u32::from(counts && ruling.reason.is_some_and(uses_up));
                }
                TaskRuling::Done | TaskRuling::PutAside => return Run { tried, end: ruling },
            }
        }
    }

    #[test]
    fn failures_are_repeated_after_1_2_4_and_8_seconds_and_then_it_is_put_aside() {
        let everybody = TenantConfig::default();
        let run_of = |repeats, answer| run(5, repeats, 0.0, &everybody, &[answer]);
        let run = run_of(false, failed());
        assert_eq!(run.seconds(), [0.0, 1.0, 3.0, 7.0, 15.0]);
        assert_eq!(run.end.task, TaskRuling::PutAside);
        assert_eq!(
            (run.end.status, run.end.reason),
            (Some(DeliveryStatus::Parked), Some("upload_failed"))
        );
        // 5xx, silence and cut connections, where they are to be repeated: nobody says that it did not go out.
        for reason in [
            UnknownReason::ServerError,
            UnknownReason::Timeout,
            UnknownReason::ConnectionCut,
        ] {
            let run = run_of(true, unknown(reason));
            assert_eq!(run.seconds(), [0.0, 1.0, 3.0, 7.0, 15.0]);
            assert_eq!(run.end.task, TaskRuling::PutAside);
            assert_eq!(
                (run.end.status, run.end.reason),
                (Some(DeliveryStatus::Unknown), Some(reason.as_str()))
            );
        }
    }

    #[test]
    fn jitter_lengthens_each_wait_by_its_share_and_changes_nothing_else() {
        let everybody = TenantConfig::default();
        for step in 0..=20_u32 {
            let chance = f64::from(step) / 20.0;
            let run = run(6, false, chance, &everybody, &[failed()]);
            let waits = run.tried.windows(2).map(|pair| (pair[1] - pair[0]).as_secs_f64());
            for (wait, plain) in waits.zip([1.0, 2.0, 4.0, 8.0, 16.0]) {
                let wanted = plain * (1.0 + 0.2 * chance);
                assert!((wait - wanted).abs() < 1e-6, "{wait} for {wanted}");
            }
            assert_eq!(run.tried.len(), 6);
        }
    }

    #[test]
    fn throttling_is_waited_for_as_long_as_is_asked_and_uses_nothing_up() {
        let answers = [
            limited(10),
            failed(),
            limited(6),
            limited(24),
            failed(),
            failed(),
            limited(1),
            failed(),
            failed(),
        ];
        let run = run(5, false, 0.0, &TenantConfig::default(), &answers);
        assert_eq!(
            run.seconds(),
            [0.0, 10.0, 11.0, 17.0, 41.0, 43.0, 47.0, 48.0, 56.0]
        );
        assert_eq!(run.end.status, Some(DeliveryStatus::Parked));
    }

    #[test]
    fn what_the_other_side_asks_for_lengthens_a_wait_and_shortens_none() {
        let asked = |seconds| SendOutcome::RetryLater {
            reason: RetryReason::Forbidden,
            after: Some(Duration::from_secs(seconds)),
            detail: OperatorText::default(),
        };
        let answers = [asked(30), asked(1), asked(1)];
        let run = run(3, false, 0.0, &TenantConfig::default(), &answers);
        assert_eq!(run.seconds(), [0.0, 30.0, 32.0]);
    }

    #[test]
    fn a_tenants_own_limit_ends_it_sooner_and_counts_answers_only() {
        let mut config = TenantConfig {
            endpoint: Some("Meta".to_owned()),
            ..TenantConfig::default()
        };
        config.settings.webhook_retries = 2;
        let run_of = |answers: &[SendOutcome]| run(8, true, 0.0, &config, answers).seconds();
        assert_eq!(run_of(&[failed()]), [0.0, 1.0, 3.0]);
        let silent = unknown(UnknownReason::Timeout);
        assert_eq!(
            run_of(&[silent.clone(), silent, failed()]),
            [0.0, 1.0, 3.0, 7.0, 15.0]
        );
    }

    #[test]
    fn what_may_have_gone_out_is_only_looked_after_and_a_refused_token_uses_nothing_up() {
        let retries = RetrySchedule::new(SECOND, 300 * SECOND, 1, 0.2).unwrap();
        let (config, cloud) = (TenantConfig::default(), cloud(false));
        let rules = Rules {
            retries: &retries,
            cloud: &cloud,
            chance: 1.0,
        };
        let tries = Tries {
            config: &config,
            answered: 0,
            is_cloud: true,
            failures: 0,
        };
        let each = ResendSafety::EachCallIsAMessage;
        let lost = rules.rule(tries, each, unknown(UnknownReason::ServerError));
        let (time, counts) = (look_every(cloud.unknown_wait), false);
        assert_eq!(lost.task, TaskRuling::Wait { time, counts });
        assert_eq!(lost.status, Some(DeliveryStatus::Unknown));
        let refused = SendOutcome::RetryLater {
            reason: RetryReason::Unauthorized,
            after: None,
            detail: OperatorText::default(),
        };
        let held = rules.rule(tries, each, refused);
        let time = cloud.probe_every;
        assert_eq!(held.task, TaskRuling::Wait { time, counts });
        assert_eq!((held.hold, held.status), (Some(TOKEN_REFUSED), None));
    }

    #[test]
    fn what_may_have_gone_out_before_is_unknown_when_no_try_is_left() {
        let last = || run(1, false, 0.0, &TenantConfig::default(), &[failed()]).end;
        for (is_unknown, is_orphaned, attempt, status) in [
            (false, false, "retry_later", DeliveryStatus::Parked),
            (true, false, "retry_later", DeliveryStatus::Unknown),
            (false, true, "unknown", DeliveryStatus::Unknown),
        ] {
            let ruling = last().after_all_tries(Waiting::since_now(is_unknown, is_orphaned));
            assert_eq!((ruling.attempt, ruling.status), (attempt, Some(status)));
        }
    }
}
