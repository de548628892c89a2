//! W3C's `traceparent`, read and written.

use std::borrow::Cow;
use std::fmt;
use std::sync::OnceLock;

use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The header it travels in.
pub const TRACEPARENT: &str = "traceparent";

/// Length of version 00, and of the part of later versions that is known.
const LENGTH: usize = 55;
/// Later versions may be longer, but not without end.
const LONGEST: usize = 256;
const SAMPLED: u8 = 1;

/// A place in a trace: what happens because of it names it as its parent.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TraceContext {
    trace: [u8; 16],
    span: [u8; 8],
    sampled: bool,
}

/// The trace's id as logs show it: 32 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TraceId([u8; 16]);

impl TraceContext {
    /// Reads a header's value. `None` for everything that W3C does not allow.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = text.as_bytes();
        if !(LENGTH..=LONGEST).contains(&bytes.len()) || [2, 35, 52].iter().any(|at| bytes[*at] != b'-') {
            return None;
        }
        let [version] = digits::<1>(&bytes[..2])?;
        let end_fits = match version {
            0 => bytes.len() == LENGTH,
            255 => false,
            _ => bytes.len() == LENGTH || bytes[LENGTH] == b'-',
        };
        let trace = digits::<16>(&bytes[3..35])?;
        let span = digits::<8>(&bytes[36..52])?;
        let [flags] = digits::<1>(&bytes[53..LENGTH])?;
        (end_fits && trace != [0; 16] && span != [0; 8]).then_some(Self {
            trace,
            span,
            sampled: flags & SAMPLED == SAMPLED,
        })
    }

    /// The first place of a new trace. A request's id is a good `seed`: then one is found by the other.
    #[must_use]
    pub fn root(seed: [u8; 16]) -> Self {
        let trace = if seed == [0; 16] { rand::random() } else { seed };
        Self {
            trace,
            span: new_span(),
            sampled: is_sampled(trace),
        }
    }

    /// The next place in the same trace.
    #[must_use]
    pub fn child(self) -> Self {
        Self {
            span: new_span(),
            ..self
        }
    }

    /// The same place of a trace that is not exported.
    #[must_use]
    pub(crate) const fn unsampled(self) -> Self {
        Self {
            sampled: false,
            ..self
        }
    }

    /// The id that all places of the trace share.
    #[must_use]
    pub const fn trace_id(self) -> TraceId {
        TraceId(self.trace)
    }

    /// The bytes of that id.
    #[must_use]
    pub const fn trace_bytes(self) -> [u8; 16] {
        self.trace
    }

    /// The bytes of this place's own id.
    #[must_use]
    pub const fn span_bytes(self) -> [u8; 8] {
        self.span
    }

    /// Is the trace one of those that are exported?
    #[must_use]
    pub const fn is_sampled(self) -> bool {
        self.sampled
    }
}

/// How many values the last 56 bits of an id can have: the part that W3C wants to be random.
const VALUES: u64 = 1 << 56;

static SAMPLED_BELOW: OnceLock<u64> = OnceLock::new();

/// Says which part of the traces that begin here is exported, from 0 to 1; the first call decides. A trace that began
/// elsewhere follows what was decided there.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "the ratio is between 0 and 1, the product between 0 and 2^56"
)]
pub fn sample(ratio: f64) {
    SAMPLED_BELOW.get_or_init(|| (ratio.clamp(0.0, 1.0) * VALUES as f64) as u64);
}

fn is_sampled(trace: [u8; 16]) -> bool {
    let below = SAMPLED_BELOW.get().copied().unwrap_or(VALUES);
    let last = trace[9..]
        .iter()
        .fold(0, |value, byte| value << 8 | u64::from(*byte));
    last < below
}

/// Zero is no id.
fn new_span() -> [u8; 8] {
    rand::random::<u64>().max(1).to_be_bytes()
}

/// Lower case only: W3C allows no other.
fn digits<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    if text.iter().any(u8::is_ascii_uppercase) {
        return None;
    }
    let mut read = [0; N];
    hex::decode_to_slice(text, &mut read).ok()?;
    Some(read)
}

impl TraceId {
    /// Its digits, written into `room`.
    #[must_use]
    pub fn encode(self, room: &mut [u8; 32]) -> &str {
        // It always fits, and is always text.
        let written = hex::encode_to_slice(self.0, room);
        written
            .ok()
            .and_then(|()| std::str::from_utf8(room).ok())
            .unwrap_or_default()
    }
}

/// At most sixteen bytes.
fn write_hex(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    let mut room = [0; 32];
    let digits = room.get_mut(..2 * bytes.len()).ok_or(fmt::Error)?;
    hex::encode_to_slice(bytes, digits).map_err(|_| fmt::Error)?;
    f.write_str(std::str::from_utf8(digits).map_err(|_| fmt::Error)?)
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.encode(&mut [0; 32]))
    }
}

impl fmt::Debug for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("00-")?;
        write_hex(f, &self.trace)?;
        f.write_str("-")?;
        write_hex(f, &self.span)?;
        write!(f, "-{:02x}", u8::from(self.sampled))
    }
}

impl fmt::Debug for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for TraceContext {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Reads an optional field. What is stored or sent must stay readable whatever stands there, so what is malformed is `None`.
///
/// # Errors
/// Only those of the format itself.
pub fn lenient<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<TraceContext>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Found<'a> {
        // Borrowed: this is read for every message, traced or not.
        Text(#[serde(borrow)] Cow<'a, str>),
        Other(IgnoredAny),
    }
    Ok(match Found::deserialize(deserializer)? {
        Found::Text(text) => TraceContext::parse(&text),
        Found::Other(_) => None,
    })
}

#[cfg(test)]
mod tests {

    use super::*;

    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn what_is_written_is_read() {
        let read = TraceContext::parse(GOOD).unwrap();
        assert_eq!(read.to_string(), GOOD);
        assert_eq!(read.trace_id().to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
        let unsampled = GOOD.replace("-01", "-00");
        assert_eq!(TraceContext::parse(&unsampled).unwrap().to_string(), unsampled);
        // Flags that are not known here are not passed on.
        let read = TraceContext::parse(&GOOD.replace("-01", "-ff")).unwrap();
        assert_eq!(read.to_string(), GOOD);
    }

    #[test]
    fn later_versions_are_read_as_far_as_they_are_known() {
        let later = GOOD.replacen("00", "01", 1);
        assert!(TraceContext::parse(&later).is_some());
        assert!(TraceContext::parse(&format!("{later}-more")).is_some());
        assert!(TraceContext::parse(&format!("{later}more")).is_none());
        assert!(TraceContext::parse(&format!("{later}-{}", "x".repeat(LONGEST))).is_none());
    }

    #[test]
    fn hostile_values_are_nothing() {
        let long = "0".repeat(1_000_000);
        for bad in [
            "",
            "-",
            &long,
            &GOOD[1..],
            &format!("{GOOD}-x"),
            &format!(" {GOOD}"),
            &GOOD.to_uppercase(),
            &GOOD.replacen("00", "ff", 1),
            &GOOD.replace('-', "_"),
            &GOOD.replace("4bf92f3577b34da6a3ce929d0e0e4736", &"0".repeat(32)),
            &GOOD.replace("00f067aa0ba902b7", &"0".repeat(16)),
            &GOOD.replace("4bf9", "4bg9"),
            &GOOD.replace("4bf9", "4b\u{e9}"),
            &GOOD.replace("4bf9", "\r\nx:"),
            &"\u{1F600}".repeat(14),
        ] {
            assert_eq!(TraceContext::parse(bad), None, "{bad:.80}");
        }
    }

    #[test]
    fn a_stored_field_never_makes_its_object_unreadable() {
        #[derive(Deserialize, Serialize)]
        struct Stored {
            #[serde(default, deserialize_with = "lenient")]
            traceparent: Option<TraceContext>,
        }
        for odd in [
            "{}",
            r#"{"traceparent":null}"#,
            r#"{"traceparent":7}"#,
            r#"{"traceparent":["x"]}"#,
            r#"{"traceparent":"x"}"#,
        ] {
            let stored: Stored = serde_json::from_str(odd).unwrap();
            assert_eq!(stored.traceparent, None, "{odd}");
        }
        let text = format!(r#"{{"traceparent":"{GOOD}"}}"#);
        let stored: Stored = serde_json::from_str(&text).unwrap();
        assert_eq!(serde_json::to_string(&stored).unwrap(), text);
    }

    #[test]
    fn a_child_is_another_place_of_the_same_trace() {
        let root = TraceContext::root([7; 16]);
        let child = root.child();
        assert_eq!(child.trace_id(), root.trace_id());
        assert_ne!(child, root);
        assert_eq!(root.trace_id().to_string(), "07".repeat(16));
        assert!(TraceContext::parse(&TraceContext::root([0; 16]).to_string()).is_some());
    }
}
