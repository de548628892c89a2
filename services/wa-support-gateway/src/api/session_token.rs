//! Which token a request presents (contract §3.3).

use actix_web::http::header::{AUTHORIZATION, HeaderMap};
use secrecy::SecretString;

use crate::error::Error;

/// No token of ours is longer than 47; longer ones are not worth a hash.
const MAX_LENGTH: usize = 1024;

/// The `token` header as it is; without it `Authorization`, with or without `Bearer`. The query is never looked at.
pub(crate) fn presented(headers: &HeaderMap) -> Result<SecretString, Error> {
    let direct = headers
        .get("token")
        .map(|value| value.as_bytes())
        .filter(|value| !value.is_empty());
    let token = match direct {
        Some(token) => token,
        None => headers
            .get(AUTHORIZATION)
            .map(|value| bare(value.as_bytes()))
            .unwrap_or_default(),
    };
    if token.is_empty() {
        return Err(Error::TokenRequired);
    }
    if token.len() > MAX_LENGTH {
        return Err(Error::InvalidToken);
    }
    std::str::from_utf8(token)
        .map(SecretString::from)
        .map_err(|_| Error::InvalidToken)
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
    use actix_web::http::header::{HeaderName, HeaderValue};
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
            let found = presented(&map).ok();
            assert_eq!(
                found.as_ref().map(|found| found.expose_secret()),
                token,
                "{headers:?}"
            );
        }
    }
}
