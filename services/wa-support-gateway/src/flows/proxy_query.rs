//! What of a caller's query string goes upstream: everything but tokens (contract §8.4, W-02).

use percent_encoding::percent_decode_str;

/// The query without any parameter that the WA server could read as `token`; `None` when nothing is left.
///
/// Pieces are kept as they were written. A piece is taken out when any reading of it names a token: decoded keys,
/// other cases, and `;` as a separator, which older Go servers understood.
pub(crate) fn without_tokens(query: &str) -> Option<String> {
    let kept: Vec<&str> = query
        .split('&')
        .filter(|piece| !piece.split(';').any(names_a_token))
        .collect();
    let kept = kept.join("&");
    (!kept.is_empty()).then_some(kept)
}

fn names_a_token(pair: &str) -> bool {
    let key = pair.split('=').next().unwrap_or_default().replace('+', " ");
    let decoded = percent_decode_str(&key).decode_utf8_lossy();
    decoded.trim().eq_ignore_ascii_case("token")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_of_a_token_is_taken_out_and_the_rest_stays_as_it_was() {
        for (query, kept) in [
            ("token=B", None),
            ("token", None),
            ("token=&token=B&token=C", None),
            ("a=1&token=B&b=%20x+y", Some("a=1&b=%20x+y")),
            ("%74oken=B&a=1", Some("a=1")),
            ("%54OKEN=B&a=1", Some("a=1")),
            ("+token=B&a=1", Some("a=1")),
            ("a=1;token=B&c=2", Some("c=2")),
            ("groupJID=1@g.us&tokens=5", Some("groupJID=1@g.us&tokens=5")),
            ("x=token=1", Some("x=token=1")),
            ("", None),
        ] {
            assert_eq!(without_tokens(query).as_deref(), kept, "{query}");
        }
    }
}
