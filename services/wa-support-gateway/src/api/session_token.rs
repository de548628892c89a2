//! Which token a request presents (contract §3.3).

use std::borrow::Cow;

use actix_web::http::header::{AUTHORIZATION, HeaderMap, HeaderName};
use percent_encoding::percent_decode_str;
use secrecy::SecretString;

use crate::error::Error;

/// Made once: a name that is a text is read anew for every request.
const TOKEN: HeaderName = HeaderName::from_static("token");

/// No token of ours is longer than 47; longer ones are not worth a hash.
const MAX_LENGTH: usize = 1024;

/// The `token` header as it is; without it `Authorization`, with or without `Bearer`; without both the first `token` of
/// the query, as the WA server takes it. One of them is the request's token, and no other is looked at (W-02).
pub(crate) fn presented(headers: &HeaderMap, query: Option<&str>) -> Result<SecretString, Error> {
    let token = match in_headers(headers) {
        [] => in_query(query.unwrap_or_default()),
        token => Cow::Borrowed(token),
    };
    if token.is_empty() {
        return Err(Error::TokenRequired);
    }
    if token.len() > MAX_LENGTH {
        return Err(Error::InvalidToken);
    }
    std::str::from_utf8(&token)
        .map(SecretString::from)
        .map_err(|_| Error::InvalidToken)
}

fn in_query(query: &str) -> Cow<'_, [u8]> {
    let token = query
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .find(|(name, value)| percent_decode_str(name).eq(*b"token") && !value.is_empty())
        .map(|(_, value)| value);
    percent_decode_str(token.unwrap_or_default()).into()
}

fn in_headers(headers: &HeaderMap) -> &[u8] {
    let direct = headers
        .get(TOKEN)
        .map(|value| value.as_bytes())
        .filter(|value| !value.is_empty());
    match direct {
        Some(token) => token,
        None => headers
            .get(AUTHORIZATION)
            .map(|value| bare(value.as_bytes()))
            .unwrap_or_default(),
    }
}

/// A credential of an `Authorization` header without its scheme.
pub(super) fn bare(value: &[u8]) -> &[u8] {
    const SCHEME: usize = "Bearer".len();
    let value = value.trim_ascii();
    match value.split_at_checked(SCHEME) {
        Some((scheme, [])) if scheme.eq_ignore_ascii_case(b"bearer") => &[],
        Some((scheme, rest @ [b' ' | b'\t', ..])) if scheme.eq_ignore_ascii_case(b"bearer") => {
            rest.trim_ascii()
        }
        _ => value,
    }
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::HeaderValue;
    use secrecy::ExposeSecret as _;

    use super::*;

    #[test]
    fn the_token_header_comes_first_and_a_bearer_is_optional() {
        for (headers, token) in [
            (vec![("token", "A")], Some("A")),
            (vec![("token", "A"), ("authorization", "Bearer B")], Some("A")),
            (vec![("token", ""), ("authorization", "Bearer B")], Some("B")),
            (vec![("authorization", "bearer  B ")], Some("B")),
            (vec![("authorization", "B")], Some("B")),
            (vec![("authorization", "BearerB")], Some("BearerB")),
            (vec![("authorization", "Bearer")], None),
            (vec![("authorization", "Bearer  ")], None),
            (vec![], None),
        ] {
            let map: HeaderMap = headers
                .iter()
                .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
                .collect();
            let found = presented(&map, None).ok();
            assert_eq!(
                found.as_ref().map(|found| found.expose_secret()),
                token,
                "{headers:?}"
            );
        }
    }

    #[test]
    fn the_query_is_looked_at_when_no_header_has_a_token() {
        for (header, query, token) in [
            (None, "token=A", Some("A")),
            (None, "x=1&%74oken=%41&token=B", Some("A")),
            (None, "token=&token=B", Some("B")),
            (None, "TOKEN=A&tokens=B&token", None),
            (None, "", None),
            (Some("A"), "token=B", Some("A")),
        ] {
            let mut map = HeaderMap::new();
            if let Some(header) = header {
                map.insert(AUTHORIZATION, HeaderValue::from_static(header));
            }
            let found = presented(&map, Some(query)).ok();
            let found = found.as_ref().map(|found| found.expose_secret());
            assert_eq!(found, token, "{header:?} {query}");
        }
    }
}
