//! The spam guard's numbers, with the contract's names (channel-service 7).

use cache::SpamRules;
use runtime::config::{Milliseconds, SettingsReader};

pub(super) fn take(reader: &mut SettingsReader) -> Option<SpamRules> {
    let enabled: Option<String> = reader.with_default(
        "SPAM_GUARD_ENABLED",
        "true",
        "`false` hands every message over to the AI",
    );
    let max_identical = reader.with_default(
        "SPAM_GUARD_MAX_IDENTICAL",
        "5",
        "How often the same text may wait for one answer",
    );
    let ban: Option<Milliseconds> = reader.with_default(
        "SPAM_GUARD_BAN_DURATION_MS",
        "60000",
        "How long a text or a person is kept from the AI",
    );
    let rate_max = reader.with_default(
        "SPAM_RATE_MAX_MESSAGES",
        "10",
        "Messages of one person within the window that the AI gets",
    );
    let rate_window: Option<Milliseconds> = reader.with_default("SPAM_RATE_WINDOW_MS", "10000", "The window");
    Some(SpamRules {
        // On unless it says exactly this.
        enabled: enabled? != "false",
        max_identical: max_identical?,
        ban: ban?.0,
        rate_max: rate_max?,
        rate_window: rate_window?.0,
    })
}
