//! How messages go out through the WhatsApp Cloud API.

use std::num::NonZeroU32;
use std::time::Duration;

use cache::GateRate;
use runtime::config::{Milliseconds, SettingsReader};

/// Meta allows no more at once to one person.
const MOST_AT_ONCE: u32 = 45;

/// How fast, and what is done about refusals.
#[derive(Debug, Clone, Copy)]
pub struct CloudSendingSettings {
    /// Messages a second of a number, in ten of which one is left for what comes in.
    pub number_rate: NonZeroU32,
    /// The same once Meta has upgraded the number.
    pub upgraded_rate: NonZeroU32,
    /// Of one number to one person.
    pub pair: GateRate,
    /// How long a person is left alone after the first refusal; four times as long after each further one.
    pub pair_backoff: Duration,
    /// How long a report is waited for that tells what became of a message.
    pub unknown_wait: Duration,
    /// A message of which that is not known is sent again, and may arrive twice.
    pub repeat_unknown: bool,
    /// How often it is asked whether a refused token is taken again.
    pub probe_every: Duration,
    /// How long a number rests that is taken for a spammer.
    pub spam_pause: Duration,
    /// The age at which lists of templates are renewed. `None`: never by themselves.
    pub template_refresh: Option<Duration>,
}

impl CloudSendingSettings {
    pub(super) fn take(reader: &mut SettingsReader) -> Option<Self> {
        let number: Option<u32> = reader.with_default(
            "CLOUD_RATE_PER_NUMBER",
            "72",
            "Messages a second of a number of the WhatsApp Cloud API; Meta allows 80, what comes in included",
        );
        let upgraded: Option<u32> = reader.with_default(
            "CLOUD_RATE_PER_UPGRADED_NUMBER",
            "900",
            "The same for a number that Meta has upgraded; it allows 1,000",
        );
        let interval: Option<Milliseconds> = reader.with_default(
            "CLOUD_PAIR_INTERVAL_MS",
            "6000",
            "Time between two messages of one number to one person, in the long run",
        );
        let burst: Option<u32> = reader.with_default(
            "CLOUD_PAIR_BURST",
            "45",
            "Messages of one number to one person that may go out at once, 1 to 45",
        );
        let backoff: Option<Milliseconds> = reader.with_default(
            "CLOUD_PAIR_BACKOFF_MS",
            "1000",
            "How long a person is left alone after Meta's first refusal for speed; four times as long after each further one",
        );
        let unknown: Option<Milliseconds> = reader.with_default(
            "CLOUD_UNKNOWN_WAIT_MS",
            "300000",
            "How long a message whose answer was lost waits for a report that tells what became of it, before it is put aside",
        );
        let repeat_unknown = reader.with_default(
            "CLOUD_REPEAT_UNKNOWN",
            "false",
            "Send a message whose answer was lost again instead, as often as a failed one; it may arrive twice",
        );
        let probe: Option<Milliseconds> = reader.with_default(
            "CLOUD_TOKEN_PROBE_MS",
            "60000",
            "How often it is asked whether an access token that was refused is taken again",
        );
        let spam: Option<Milliseconds> = reader.with_default(
            "CLOUD_SPAM_PAUSE_MS",
            "3600000",
            "How long a number sends nothing that Meta takes for a spammer",
        );
        let refresh: Option<u64> = reader.with_default(
            "CLOUD_TEMPLATE_REFRESH_SECONDS",
            "21600",
            "The age at which lists of approved templates are renewed; 0 for never",
        );
        let (number_rate, upgraded_rate) = (NonZeroU32::new(number?), NonZeroU32::new(upgraded?));
        if number_rate.is_none() || upgraded_rate.is_none() {
            reader.problem(
                "CLOUD_RATE_PER_NUMBER, CLOUD_RATE_PER_UPGRADED_NUMBER",
                "must be at least 1",
            );
        }
        let burst = NonZeroU32::new(burst?).filter(|burst| burst.get() <= MOST_AT_ONCE);
        if burst.is_none() {
            reader.problem("CLOUD_PAIR_BURST", "must be 1 to 45");
        }
        Some(Self {
            number_rate: number_rate?,
            upgraded_rate: upgraded_rate?,
            pair: GateRate {
                interval: interval?.0,
                burst: burst?,
            },
            pair_backoff: backoff?.0,
            unknown_wait: unknown?.0,
            repeat_unknown: repeat_unknown?,
            probe_every: probe?.0,
            spam_pause: spam?.0,
            template_refresh: Some(Duration::from_secs(refresh?)).filter(|age| !age.is_zero()),
        })
    }
}
