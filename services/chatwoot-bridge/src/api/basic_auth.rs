//! Who gets into `/admin` (contract 1.4): the one user, by HTTP Basic auth, before anybody learns which paths there are.
//!
//! | what comes | answer |
//! |---|---|
//! | no `Authorization`, another scheme | 401 without a body |
//! | base64 or a pair that cannot be read, a wrong pair | 401, and counted by the caller's address |
//! | too many wrong ones from there | 429, until one may be tried again |
//! | right, but sent by a page of another site | 403: a browser sends the password along wherever it is asked to |
//!
//! The password is in the environment and nowhere at rest, so what is compared are digests, in constant time. A slow hash
//! would protect nothing and cost each click its time.

use std::collections::HashMap;
use std::future::{Ready, ready};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use ::web::ApiError;
use ::web::source::{Networks, caller_or_peer};
use actix_web::body::MessageBody;
use actix_web::dev::{Payload, ServiceRequest, ServiceResponse};
use actix_web::http::header::{AUTHORIZATION, HOST, HeaderMap, ORIGIN, WWW_AUTHENTICATE};
use actix_web::http::{Method, StatusCode};
use actix_web::middleware::Next;
use actix_web::{Error, FromRequest, HttpMessage as _, HttpRequest, HttpResponse, ResponseError as _, web};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use secrecy::ExposeSecret as _;
use sha2::{Digest as _, Sha256};
use subtle::{Choice, ConstantTimeEq as _};

use crate::config::admin::AdminSettings;
use crate::store::audit_log::Actor;

/// As the predecessor's, so that browsers go on with what they remember.
const CHALLENGE: &str = r#"Basic realm="Chatgowa Admin""#;
/// Wrong pairs at once from one address, and then one in so long.
const AT_ONCE: u32 = 10;
const THEN_EVERY: Duration = Duration::from_secs(5);
/// Most addresses that are remembered. What comes from further ones then counts together.
const MOST_ADDRESSES: usize = 10_000;
/// Longest header that is looked at, in bytes.
const MAX_HEADER: usize = 2_048;

/// The door of `/admin`. Cheap to clone.
#[derive(Clone)]
pub struct Door(Arc<Inner>);

struct Inner {
    user: String,
    expected: Option<(Digest, Digest)>,
    proxies: Networks,
    /// How browsers name us behind a proxy that names us differently.
    public_host: Option<String>,
    tries: WrongTries,
    /// Set when the database's defences have been checked; before that nobody is let at the rows.
    open: Arc<AtomicBool>,
}

type Digest = [u8; 32];

impl std::fmt::Debug for Door {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Door").finish_non_exhaustive()
    }
}

impl Door {
    /// The door for this user. `public_host` is host and port as people's browsers know them.
    #[must_use]
    pub fn new(
        settings: &AdminSettings,
        proxies: Networks,
        public_host: Option<String>,
        open: Arc<AtomicBool>,
    ) -> Self {
        let digests = |password: &secrecy::SecretString| {
            (
                digest(settings.user.as_bytes()),
                digest(password.expose_secret().as_bytes()),
            )
        };
        if settings.password.is_none() {
            tracing::warn!("BASIC_AUTH_PASS is not set: nobody can use /admin");
        }
        Self(Arc::new(Inner {
            user: settings.user.clone(),
            expected: settings.password.as_ref().map(digests),
            proxies,
            public_host,
            tries: WrongTries::default(),
            open,
        }))
    }

    fn admit(&self, request: &ServiceRequest) -> Result<Actor, Refusal> {
        let address = caller_or_peer(request.request(), &self.0.proxies);
        let place = address.map_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED), network_of);
        let header = request.headers().get(AUTHORIZATION);
        let presented = header.and_then(|value| value.as_bytes().strip_prefix(b"Basic "));
        let Some(presented) = presented else {
            return Err(Refusal::Stranger);
        };
        self.0
            .tries
            .may_try(place, Instant::now())
            .map_err(Refusal::TooMany)?;
        if !self.0.is_right(presented) {
            metrics::counter!("kanal_bridge_admin_refused_total").increment(1);
            self.0.tries.note(place, Instant::now());
            return Err(Refusal::Stranger);
        }
        if !is_own_page(request.method(), request.headers(), self.0.public_host.as_deref()) {
            return Err(Refusal::OtherSite);
        }
        if !self.0.open.load(Ordering::Acquire) {
            return Err(Refusal::NotYet);
        }
        Ok(Actor {
            name: self.0.user.clone(),
            source: address.map(|address| address.to_string()),
        })
    }
}

enum Refusal {
    Stranger,
    TooMany(Duration),
    OtherSite,
    NotYet,
}

impl Inner {
    /// Looks at both halves, whatever the first one says, and at both ways in which browsers write letters beyond ASCII.
    fn is_right(&self, presented: &[u8]) -> bool {
        let (Some((user, password)), true) = (&self.expected, presented.len() <= MAX_HEADER) else {
            return false;
        };
        let Ok(pair) = BASE64.decode(presented.trim_ascii()) else {
            return false;
        };
        let Some(colon) = pair.iter().position(|byte| *byte == b':') else {
            return false;
        };
        let (given_user, given_password) = (&pair[..colon], &pair[colon + 1..]);
        let mut right = Choice::from(0);
        for written in [<[u8]>::to_vec as fn(&[u8]) -> Vec<u8>, from_latin1] {
            right |=
                digest(&written(given_user)).ct_eq(user) & digest(&written(given_password)).ct_eq(password);
        }
        right.into()
    }
}

fn digest(bytes: &[u8]) -> Digest {
    Sha256::digest(bytes).into()
}

/// A byte of Latin-1 is the character of that number.
fn from_latin1(bytes: &[u8]) -> Vec<u8> {
    let text: String = bytes.iter().map(|byte| char::from(*byte)).collect();
    text.into_bytes()
}

/// Did no other site's page make the browser send this? Whoever is no browser says nothing about it, and may pass.
fn is_own_page(method: &Method, headers: &HeaderMap, public_host: Option<&str>) -> bool {
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    let reads = matches!(*method, Method::GET | Method::HEAD);
    match text("sec-fetch-site") {
        Some("same-origin" | "none") => return true,
        // Following a link from elsewhere changes nothing here.
        Some(_) => return reads && text("sec-fetch-mode") == Some("navigate"),
        None => {}
    }
    let Some(origin) = text(ORIGIN.as_str()) else {
        return true;
    };
    let from = origin.split_once("://").map(|(_, host)| host);
    from.is_some() && (from == text(HOST.as_str()) || from == public_host)
}

/// Lets only the user through. Wrap the whole scope in it.
///
/// # Errors
/// 429 and 403; a stranger gets 401.
pub async fn require_operator(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let door = request
        .app_data::<web::Data<Door>>()
        .ok_or_else(ApiError::internal)?;
    match door.admit(&request) {
        Ok(actor) => {
            request.extensions_mut().insert(actor);
            Ok(next.call(request).await?.map_into_left_body())
        }
        Err(Refusal::Stranger) => {
            let answer = HttpResponse::Unauthorized()
                .insert_header((WWW_AUTHENTICATE, CHALLENGE))
                .finish();
            Ok(request.into_response(answer).map_into_right_body())
        }
        Err(Refusal::NotYet) => Ok(refused(request, &ApiError::unavailable(THEN_EVERY))),
        Err(Refusal::TooMany(wait)) => Ok(refused(request, &ApiError::too_many(wait))),
        Err(Refusal::OtherSite) => Ok(refused(
            request,
            &ApiError::new(
                StatusCode::FORBIDDEN,
                "other_site",
                "This was sent by a page of another site",
            ),
        )),
    }
}

fn refused<B>(request: ServiceRequest, error: &ApiError) -> ServiceResponse<actix_web::body::EitherBody<B>> {
    request
        .into_response(error.error_response())
        .map_into_right_body()
}

/// Whom [`require_operator`] let through.
#[derive(Debug, Clone)]
pub struct Operator(pub Actor);

impl FromRequest for Operator {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _payload: &mut Payload) -> Self::Future {
        let actor = request.extensions().get::<Actor>().cloned();
        // Nobody let it through: the route stands outside the scope, which is our mistake.
        ready(actor.map(Self).ok_or_else(ApiError::internal))
    }
}

/// Whoever has one IPv6 address has the 2^64 around it.
fn network_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64))),
        address @ IpAddr::V4(_) => address,
    }
}

/// Wrong pairs by address: for each the time at which all of them are forgiven (the generic cell rate algorithm).
#[derive(Default)]
struct WrongTries(Mutex<HashMap<IpAddr, Instant>>);

impl WrongTries {
    fn may_try(&self, place: IpAddr, now: Instant) -> Result<(), Duration> {
        let forgiven = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let place = known(&forgiven, place);
        let left = forgiven
            .get(&place)
            .map_or(Duration::ZERO, |at| at.saturating_duration_since(now));
        match left.checked_sub(THEN_EVERY * (AT_ONCE - 1)) {
            Some(wait) if !wait.is_zero() => Err(wait),
            _ => Ok(()),
        }
    }

    fn note(&self, place: IpAddr, now: Instant) {
        let mut forgiven = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if forgiven.len() >= MOST_ADDRESSES {
            forgiven.retain(|_, at| *at > now);
        }
        let place = known(&forgiven, place);
        let at = forgiven.entry(place).or_insert(now);
        *at = (*at).max(now) + THEN_EVERY;
    }
}

/// Where this address is counted: by itself while there is room.
fn known(forgiven: &HashMap<IpAddr, Instant>, place: IpAddr) -> IpAddr {
    if forgiven.contains_key(&place) || forgiven.len() < MOST_ADDRESSES {
        return place;
    }
    IpAddr::V6(Ipv6Addr::UNSPECIFIED)
}

#[cfg(test)]
mod tests {
    use secrecy::SecretString;

    use super::*;

    fn door(user: &str, password: Option<&str>) -> Door {
        let settings = AdminSettings {
            user: user.into(),
            password: password.map(SecretString::from),
            drift_every: Duration::from_secs(900),
        };
        Door::new(&settings, Networks::default(), None, Arc::default())
    }

    fn is_right(door: &Door, pair: &[u8]) -> bool {
        door.0.is_right(BASE64.encode(pair).as_bytes())
    }

    #[test]
    fn the_pair_is_read_as_browsers_write_it() {
        let door = door("admin", Some("rahasia:déjà"));
        assert!(is_right(&door, "admin:rahasia:déjà".as_bytes()));
        assert!(is_right(&door, b"admin:rahasia:d\xe9j\xe0"));
        for wrong in [
            &b"admin:rahasia"[..],
            b"admin",
            b"",
            b"Admin:rahasia:d\xe9j\xe0",
            b":",
        ] {
            assert!(!is_right(&door, wrong));
        }
        assert!(!door.0.is_right(b"%%%"));
        assert!(!format!("{door:?}").contains("rahasia"));
    }

    #[test]
    fn without_a_password_nothing_is_right() {
        let door = door("admin", None);
        for pair in ["admin:", ":", "admin:yourpassword"] {
            assert!(!is_right(&door, pair.as_bytes()));
        }
    }

    #[test]
    fn wrong_ones_are_ten_and_then_one_in_five_seconds() {
        let (tries, here, now) = (
            WrongTries::default(),
            "203.0.113.7".parse().unwrap(),
            Instant::now(),
        );
        for _ in 0..10 {
            tries.may_try(here, now).unwrap();
            tries.note(here, now);
        }
        assert_eq!(tries.may_try(here, now).unwrap_err(), Duration::from_secs(5));
        tries.may_try("203.0.113.8".parse().unwrap(), now).unwrap();
        let later = now + Duration::from_secs(5);
        tries.may_try(here, later).unwrap();
        tries.note(here, later);
        assert!(tries.may_try(here, later).is_err());
    }

    #[test]
    fn so_many_addresses_are_remembered_and_no_more() {
        let (tries, now) = (WrongTries::default(), Instant::now());
        for n in 0..2 * u32::try_from(MOST_ADDRESSES).unwrap() {
            tries.note(IpAddr::V4(n.into()), now);
        }
        assert!(tries.0.lock().unwrap().len() <= MOST_ADDRESSES + 1);
    }

    #[test]
    fn other_sites_pages_are_told_from_our_own() {
        let ours = |method: Method, headers: &[(&str, &str)]| {
            let mut map = HeaderMap::new();
            for (name, value) in headers {
                map.insert(name.parse().unwrap(), value.parse().unwrap());
            }
            is_own_page(&method, &map, Some("bridge.example"))
        };
        let host = ("host", "127.0.0.1:3000");
        for (method, headers, own) in [
            (Method::POST, vec![host], true),
            (
                Method::POST,
                vec![host, ("origin", "http://127.0.0.1:3000")],
                true,
            ),
            (
                Method::POST,
                vec![host, ("origin", "https://bridge.example")],
                true,
            ),
            (
                Method::POST,
                vec![host, ("origin", "https://evil.example")],
                false,
            ),
            (Method::POST, vec![host, ("origin", "null")], false),
            (
                Method::POST,
                vec![host, ("sec-fetch-site", "same-origin"), ("origin", "null")],
                true,
            ),
            (Method::POST, vec![host, ("sec-fetch-site", "cross-site")], false),
            (Method::POST, vec![host, ("sec-fetch-site", "same-site")], false),
            (
                Method::POST,
                vec![
                    host,
                    ("sec-fetch-site", "cross-site"),
                    ("sec-fetch-mode", "navigate"),
                ],
                false,
            ),
            (
                Method::GET,
                vec![
                    host,
                    ("sec-fetch-site", "cross-site"),
                    ("sec-fetch-mode", "navigate"),
                ],
                true,
            ),
            (
                Method::GET,
                vec![
                    host,
                    ("sec-fetch-site", "cross-site"),
                    ("sec-fetch-mode", "no-cors"),
                ],
                false,
            ),
        ] {
            assert_eq!(ours(method.clone(), &headers), own, "{method} {headers:?}");
        }
    }
}
