//! What an examination of an installation finds: `doctor` of each service is made of these.
//!
//! Texts are made of our own words and of names; whoever makes a check puts no value of a setting, no text of a library
//! and nothing that a peer said into it, because any of them may hold a secret.

use std::fmt;

use serde::Serialize;

/// How one thing stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// Not looked at, and why.
    Skipped,
    /// Works, and will make trouble.
    Warn,
    /// Does not work.
    Wrong,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What, e.g. `redis`.
    pub about: String,
    /// How it stands.
    pub verdict: Verdict,
    /// What was found.
    pub found: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cure: Option<String>,
}

/// Clocks that differ by more than this many seconds are told of: signatures and sessions depend on them.
const CLOCKS_MAY_DIFFER: f64 = 5.0;

impl Check {
    /// It is as it should be.
    #[must_use]
    pub fn ok(about: impl Into<String>, found: impl Into<String>) -> Self {
        Self::new(about, Verdict::Ok, found, None)
    }

    /// It could not be looked at, or does not apply.
    #[must_use]
    pub fn skipped(about: impl Into<String>, found: impl Into<String>) -> Self {
        Self::new(about, Verdict::Skipped, found, None)
    }

    /// It will make trouble.
    #[must_use]
    pub fn warn(about: impl Into<String>, found: impl Into<String>, cure: impl Into<String>) -> Self {
        Self::new(about, Verdict::Warn, found, Some(cure.into()))
    }

    /// It does not work.
    #[must_use]
    pub fn wrong(about: impl Into<String>, found: impl Into<String>, cure: impl Into<String>) -> Self {
        Self::new(about, Verdict::Wrong, found, Some(cure.into()))
    }

    /// This machine's clock beside a peer's, which is `ahead` by so many seconds.
    #[must_use]
    pub fn clock(peer: &str, ahead: f64) -> Self {
        let about = format!("clock, against {peer}");
        if ahead.abs() <= CLOCKS_MAY_DIFFER {
            return Self::ok(about, "they agree");
        }
        let (seconds, way) = (ahead.abs(), if ahead > 0.0 { "behind" } else { "ahead of" });
        Self::warn(
            about,
            format!("this machine is {seconds:.0} s {way} it"),
            "let both be set by NTP (timedatectl status); signatures, leases and links depend on it",
        )
    }

    fn new(
        about: impl Into<String>,
        verdict: Verdict,
        found: impl Into<String>,
        cure: Option<String>,
    ) -> Self {
        Self {
            about: about.into(),
            verdict,
            found: found.into(),
            cure,
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ok => "ok",
            Self::Skipped => "skipped",
            Self::Warn => "warn",
            Self::Wrong => "wrong",
        })
    }
}

/// A line, and the cure on the next.
impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:8} {}: {}", self.verdict, self.about, self.found)?;
        if let Some(cure) = &self.cure {
            write!(f, "\n         -> {cure}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_is_told_of_above_a_few_seconds_and_in_which_direction() {
        assert_eq!(Check::clock("postgres", 4.0).verdict, Verdict::Ok);
        let behind = Check::clock("postgres", 61.0);
        assert_eq!(behind.verdict, Verdict::Warn);
        assert!(behind.found.contains("61 s behind"), "{behind}");
        assert!(Check::clock("redis", -61.0).found.contains("61 s ahead of"));
    }

    #[test]
    fn the_cure_is_on_the_next_line() {
        let check = Check::wrong("redis", "does not answer", "start it");
        assert_eq!(
            check.to_string(),
            "wrong    redis: does not answer\n         -> start it"
        );
        assert_eq!(Check::ok("redis", "7").to_string(), "ok       redis: 7");
    }
}
