//! Which paths the proxy passes on, and how they are written upstream (contract §8.3).
//!
//! Everything rests on one idea: a path is decoded once, must then be plain, and is written anew from what it was
//! decoded to. What was judged and what is sent are therefore the same, and nothing is left for the WA server to
//! decode, clean or redirect. A [`ProxyPath`] cannot be made any other way, and only a [`ProxyPath`] is forwarded.

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

/// First segments that lead to something a session may do. The rest of the WA server (its health, its dashboard, its
/// static files) is not ours to show.
const EXPOSED: [&str; 8] = [
    "session",
    "webhook",
    "chat",
    "status",
    "call",
    "user",
    "group",
    "newsletter",
];

/// Not needed for safety, as accepted segments hold only printable ASCII; it keeps the upstream URL well-formed.
const ESCAPED: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'/')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'\\')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

/// A path of the WA server that a session's token may call with the method it was judged for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProxyPath {
    upstream: String,
}

/// Why a path is not passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It has more than one reading, or none.
    #[error("invalid path")]
    Invalid,
    /// It leads to the WA server's administration.
    #[error("admin path is not exposed")]
    Admin,
    /// It would read other tenants' chats, or change what only the gateway may change (W-04, W-32).
    #[error("path is not exposed")]
    NotExposed,
    /// It leads to nothing a session can call.
    #[error("no such path")]
    Unknown,
}

impl ProxyPath {
    /// Judges the path that follows `/wa` (raw, as it came over the wire, beginning with `/`) for a method.
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn judge(method: &str, raw: &str) -> Result<Self, Refusal> {
        let path = raw.strip_prefix('/').ok_or(Refusal::Invalid)?;
        // One trailing slash is a habit of some clients and means nothing.
        let path = path.strip_suffix('/').unwrap_or(path);
        if path.is_empty() {
            return if raw == "/" {
                Err(Refusal::Unknown)
            } else {
                Err(Refusal::Invalid)
            };
        }
        let segments = path
            .split('/')
            .map(plain_segment)
            .collect::<Result<Vec<String>, Refusal>>()?;
        judge_segments(method, &segments)?;
        let mut upstream = String::with_capacity(raw.len());
        for segment in &segments {
            upstream.push('/');
            upstream.extend(utf8_percent_encode(segment, ESCAPED));
        }
        Ok(Self { upstream })
    }

    /// The path to put behind the WA server's base URL.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.upstream
    }
}

/// Decodes a segment once and refuses what is still not plain: then nobody further on can read it differently.
fn plain_segment(raw: &str) -> Result<String, Refusal> {
    let mut decoded = String::with_capacity(raw.len());
    let mut bytes = raw.bytes();
    while let Some(byte) = bytes.next() {
        let byte = match byte {
            b'%' => escaped(bytes.next(), bytes.next()).ok_or(Refusal::Invalid)?,
            plain => plain,
        };
        // Printable ASCII without what separates, escapes or ends a path, or a segment on some servers. No route of
        // the WA server needs more.
        if !byte.is_ascii_graphic() || matches!(byte, b'%' | b'/' | b'\\' | b'?' | b'#' | b';') {
            return Err(Refusal::Invalid);
        }
        decoded.push(char::from(byte));
    }
    match decoded.as_str() {
        "" | "." | ".." => Err(Refusal::Invalid),
        _ => Ok(decoded),
    }
}

fn escaped(high: Option<u8>, low: Option<u8>) -> Option<u8> {
    let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
    u8::try_from(digit(high)? * 16 + digit(low)?).ok()
}

fn judge_segments(method: &str, segments: &[String]) -> Result<(), Refusal> {
    let reads = matches!(method, "GET" | "HEAD");
    // What is refused is refused in any case; two segments tell.
    let [first, second] = [0, 1].map(|at| segments.get(at).map(|segment| segment.to_ascii_lowercase()));
    match (
        first.as_deref().unwrap_or_default(),
        second.as_deref().unwrap_or_default(),
    ) {
        ("admin", _) => Err(Refusal::Admin),
        // Where events go is the gateway's to set; a channel may still ask where that is.
        ("webhook", _) if !reads => Err(Refusal::NotExposed),
        // A network proxy, a storage endpoint: addresses the WA server would dial for whoever names them. And the
        // signature of webhooks is not the sender's to switch off.
        ("session", "proxy" | "s3" | "hmac") => Err(Refusal::NotExposed),
        // Lists every tenant's chats with `chat_jid=index`, and throws the session's webhook out of the WA server's
        // cache while history is off.
        ("chat", "history") => Err(Refusal::NotExposed),
        // The WA server's routes are case-sensitive: another spelling leads to its static files.
        _ if EXPOSED.contains(&segments[0].as_str()) => Ok(()),
        _ => Err(Refusal::Unknown),
    }
}

#[cfg(test)]
#[path = "proxy_path_tests.rs"]
mod tests;
