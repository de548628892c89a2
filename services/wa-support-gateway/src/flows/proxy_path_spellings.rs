//! Spellings that nobody thought of, and the most gullible server there could be. For the tests of the judgement and for
//! those of the whole proxy.

use proptest::prelude::*;
use proptest::sample::select;

/// Pieces from which paths that fool somebody are made.
fn piece() -> impl Strategy<Value = String> {
    let words = select(vec![
        "admin",
        "users",
        "session",
        "status",
        "proxy",
        "s3",
        "hmac",
        "config",
        "chat",
        "history",
        "send",
        "text",
        "webhook",
        "events",
        "user",
        "lid",
        "call",
        "group",
        "newsletter",
        "health",
        "x",
        "62@s.whatsapp.net",
    ]);
    let spelled = (words, proptest::collection::vec(0_u8..12, 1..18)).prop_map(|(word, ways)| {
        word.bytes()
            .zip(ways.into_iter().cycle())
            .fold(String::new(), |spelled, (byte, way)| spelled + &spell(byte, way))
    });
    let tricks = select(vec![
        "/",
        "/",
        "/",
        "/",
        "//",
        "/./",
        "/../",
        "..",
        ".",
        "%2e",
        "%2E%2e",
        ".%2e",
        "%2f",
        "%2F",
        "%252f",
        "%5c",
        "\\",
        "%00",
        "%0a",
        "%09",
        "%",
        "%2",
        "%zz",
        "%25",
        "%2525",
        "?",
        "%3f",
        "#",
        "%23",
        ";",
        ";x=1",
        "%3b",
        ":",
        "@",
        "%40",
        "+",
        "%20",
        "*",
        "~",
        "|",
        "^",
        "\u{ff0f}",
        "\u{2024}",
        "\u{e9}",
        "%c0%af",
        "%ef%bc%8f",
    ])
    .prop_map(str::to_owned);
    prop_oneof![5 => spelled, 4 => tricks, 1 => "[ -~]{0,6}"]
}

/// One letter as it is, in the other case, encoded, or encoded again and again.
fn spell(byte: u8, way: u8) -> String {
    match way {
        0 => char::from(byte).to_ascii_uppercase().to_string(),
        1 => format!("%{byte:02x}"),
        2 => format!("%{byte:02X}"),
        3 => format!("%25{byte:02x}"),
        4 => format!("%2525{byte:02x}"),
        _ => char::from(byte).to_string(),
    }
}

/// A whole path: free, or one that begins where the proxy says yes.
pub(crate) fn spelling() -> impl Strategy<Value = String> {
    let pieces = || proptest::collection::vec(piece(), 0..7).prop_map(|pieces| pieces.concat());
    let start = select(vec![
        "/",
        "/session/",
        "/chat/",
        "/webhook",
        "/user/lid/",
        "/%63hat/",
        "/session/%70",
        "",
    ]);
    (start, pieces()).prop_map(|(start, rest)| format!("{start}{rest}"))
}

/// The most gullible server there could be: decodes until nothing is left to decode, takes every slash for a slash,
/// cuts off what follows a `;`, a `?` or a `#`, walks dot segments, forgets empty ones, and ignores case.
pub(crate) fn gullible(path: &str) -> Vec<String> {
    let mut bytes = path.as_bytes().to_vec();
    loop {
        let decoded: Vec<u8> = percent_encoding::percent_decode(&bytes).collect();
        if decoded == bytes {
            break;
        }
        bytes = decoded;
    }
    let text = String::from_utf8_lossy(&bytes).to_lowercase().replace('\\', "/");
    let text = text.split(['?', '#', '\0']).next().unwrap_or_default().to_owned();
    let mut segments: Vec<String> = Vec::new();
    for segment in text.split('/') {
        match segment.split(';').next().unwrap_or_default().trim() {
            "" | "." => {}
            ".." => drop(segments.pop()),
            plain => segments.push(plain.to_owned()),
        }
    }
    segments
}

pub(crate) fn must_not_be_reached(method: &str, segments: &[String], exposed: &[&str]) -> bool {
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    match segments.as_slice() {
        ["admin", ..] | ["session", "proxy" | "s3" | "hmac", ..] | ["chat", "history", ..] => true,
        ["webhook", ..] => !matches!(method, "GET" | "HEAD"),
        [first, ..] => !exposed.contains(first),
        [] => true,
    }
}
