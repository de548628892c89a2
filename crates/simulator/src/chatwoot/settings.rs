//! How this Chatwoot is set up, and what may be changed about that while it runs.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

/// What differs between Chatwoot's releases and between the servers they run on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChatwootSettings {
    /// Inboxes in API answers show their signing secret (3.6: nobody knows from which release on).
    pub shows_secrets: bool,
    /// The answer of `reset_secret` shows the new one.
    pub reset_shows_secret: bool,
    /// Webhooks are signed: not before v4.13 (2.3).
    pub signs: bool,
    /// Conversations name their account: not before #12445 (2.7).
    pub account_in_conversations: bool,
    /// A proxy in front drops headers with underscores, and the token with them (3.1).
    pub drops_underscore_headers: bool,
    /// Webhooks to private addresses fail, as since v4.14 (2.4).
    pub blocks_private_targets: bool,
    /// `message_created` is fired twice, under two delivery ids.
    pub created_twice: bool,
    /// Requests to all accounts together in one window; 0: as many as you like.
    pub requests_per_minute: u64,
    /// Contact searches in one account and window; 0: as many as you like.
    pub searches_per_minute: u64,
    /// Messages in one conversation and window; 0: as many as you like.
    pub messages_per_conversation: u64,
    /// How long that minute is.
    pub minute_ms: u64,
    /// How often a file's bytes are not there yet when they are asked for.
    pub file_404s: u64,
    /// How long the address behind the redirect holds.
    pub file_seconds: u64,
    /// Redirects before the bytes come.
    pub file_hops: u64,
    /// Where files redirect to; to their own bytes if empty.
    pub file_redirect_to: String,
    /// What files' addresses begin with; this server's own address if empty.
    pub frontend_url: String,
}

impl Default for ChatwootSettings {
    fn default() -> Self {
        Self {
            shows_secrets: false,
            reset_shows_secret: false,
            signs: true,
            account_in_conversations: true,
            drops_underscore_headers: false,
            blocks_private_targets: false,
            created_twice: false,
            requests_per_minute: 0,
            searches_per_minute: 0,
            messages_per_conversation: 0,
            minute_ms: 60_000,
            file_404s: 0,
            file_seconds: 300,
            file_hops: 1,
            file_redirect_to: String::new(),
            frontend_url: String::new(),
        }
    }
}

/// Settings to change; what is absent stays.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ChatwootConfigChange {
    /// See [`ChatwootSettings`].
    pub shows_secrets: Option<bool>,
    /// See [`ChatwootSettings`].
    pub reset_shows_secret: Option<bool>,
    /// See [`ChatwootSettings`].
    pub signs: Option<bool>,
    /// See [`ChatwootSettings`].
    pub account_in_conversations: Option<bool>,
    /// See [`ChatwootSettings`].
    pub drops_underscore_headers: Option<bool>,
    /// See [`ChatwootSettings`].
    pub blocks_private_targets: Option<bool>,
    /// See [`ChatwootSettings`].
    pub created_twice: Option<bool>,
    /// See [`ChatwootSettings`].
    pub requests_per_minute: Option<u64>,
    /// See [`ChatwootSettings`].
    pub searches_per_minute: Option<u64>,
    /// See [`ChatwootSettings`].
    pub messages_per_conversation: Option<u64>,
    /// See [`ChatwootSettings`].
    pub minute_ms: Option<u64>,
    /// See [`ChatwootSettings`].
    pub file_404s: Option<u64>,
    /// See [`ChatwootSettings`].
    pub file_seconds: Option<u64>,
    /// See [`ChatwootSettings`].
    pub file_hops: Option<u64>,
    /// See [`ChatwootSettings`].
    pub file_redirect_to: Option<String>,
    /// See [`ChatwootSettings`].
    pub frontend_url: Option<String>,
}

impl ChatwootSettings {
    pub(super) fn apply(&mut self, change: ChatwootConfigChange) {
        fn set<T>(place: &mut T, value: Option<T>) {
            if let Some(value) = value {
                *place = value;
            }
        }
        set(&mut self.shows_secrets, change.shows_secrets);
        set(&mut self.reset_shows_secret, change.reset_shows_secret);
        set(&mut self.signs, change.signs);
        set(
            &mut self.account_in_conversations,
            change.account_in_conversations,
        );
        set(
            &mut self.drops_underscore_headers,
            change.drops_underscore_headers,
        );
        set(&mut self.blocks_private_targets, change.blocks_private_targets);
        set(&mut self.created_twice, change.created_twice);
        set(&mut self.requests_per_minute, change.requests_per_minute);
        set(&mut self.searches_per_minute, change.searches_per_minute);
        set(
            &mut self.messages_per_conversation,
            change.messages_per_conversation,
        );
        set(&mut self.minute_ms, change.minute_ms);
        set(&mut self.file_404s, change.file_404s);
        set(&mut self.file_seconds, change.file_seconds);
        set(&mut self.file_hops, change.file_hops);
        set(&mut self.file_redirect_to, change.file_redirect_to);
        set(&mut self.frontend_url, change.frontend_url);
    }
}

/// What is counted by the minute, and whose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Counted {
    Requests,
    Searches(u64),
    Messages(u64, u64),
}

/// How much of everything came since the current minute began.
#[derive(Debug, Default)]
pub(super) struct Counts(HashMap<Counted, (Instant, u64)>);

impl Counts {
    /// Counts one more. False: that is more than a minute may have.
    pub(super) fn admits(&mut self, what: Counted, limit: u64, minute: Duration) -> bool {
        if limit == 0 {
            return true;
        }
        let now = Instant::now();
        self.0
            .retain(|_, (since, _)| now.saturating_duration_since(*since) < minute);
        let (_, count) = self.0.entry(what).or_insert((now, 0));
        *count += 1;
        *count <= limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minute_has_its_bound_and_the_next_begins_anew() {
        let mut counts = Counts::default();
        let hour = Duration::from_secs(3600);
        let admitted = |counts: &mut Counts, what, minute| counts.admits(what, 1, minute);
        assert!(admitted(&mut counts, Counted::Requests, hour));
        assert!(!admitted(&mut counts, Counted::Requests, hour));
        assert!(admitted(&mut counts, Counted::Messages(1, 1), hour));
        assert!(admitted(&mut counts, Counted::Messages(1, 2), hour));
        assert!(counts.admits(Counted::Requests, 0, hour), "no bound");
        assert!(admitted(&mut counts, Counted::Requests, Duration::ZERO));
    }
}
