//! A session that shows that it types before its text goes out (contract §7.7).
//!
//! It is a courtesy: nothing of it fails a send, and the longest it can hold one up is fixed.

use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep_until, timeout};

use crate::wa_server::{Presence, WaServer};

/// How long the WA server may take for either call.
const CALL_TIMEOUT: Duration = Duration::from_secs(2);
/// Sessions of one process that type at once. More texts go out without.
const AT_ONCE: usize = 256;

/// Shows who types. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Typing {
    wa_server: WaServer,
    pause: Duration,
    places: Arc<Semaphore>,
}

impl Typing {
    pub(crate) fn new(wa_server: WaServer, pause: Duration) -> Self {
        Self {
            wa_server,
            pause,
            places: Arc::new(Semaphore::new(AT_ONCE)),
        }
    }

    /// Shows in the chat that the body names that somebody types, and comes back after the pause. What comes back says
    /// when it is over.
    pub(crate) async fn begin(&self, token: &SecretString, body: &[u8]) -> Option<Typed> {
        let phone = addressee(body)?;
        let place = Arc::clone(&self.places).try_acquire_owned().ok()?;
        let ready = Instant::now() + self.pause;
        let shown = timeout(CALL_TIMEOUT, self.tell(token, &phone, Presence::Composing));
        if shown.await != Ok(true) {
            return None;
        }
        sleep_until(ready).await;
        Some(Typed {
            typing: self.clone(),
            token: token.clone(),
            phone,
            _place: place,
        })
    }

    async fn tell(&self, token: &SecretString, phone: &str, presence: Presence) -> bool {
        self.wa_server.presence(token, phone, presence).await
    }
}

/// Somebody who is shown as typing.
#[derive(Debug)]
pub(crate) struct Typed {
    typing: Typing,
    token: SecretString,
    phone: String,
    _place: tokio::sync::OwnedSemaphorePermit,
}

impl Typed {
    /// Shows no longer that somebody types.
    pub(crate) async fn end(self) {
        let told = self.typing.tell(&self.token, &self.phone, Presence::Paused);
        drop(timeout(CALL_TIMEOUT, told).await);
    }
}

/// To whom a text goes, in the sender's own words. The WA server takes the field in any case, and the last one counts.
fn addressee(body: &[u8]) -> Option<String> {
    let Addressee(phone) = serde_json::from_slice(body).ok()?;
    phone.filter(|phone| !phone.is_empty() && phone.len() <= 256)
}

struct Addressee(Option<String>);

impl<'de> Deserialize<'de> for Addressee {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;

        impl<'de> Visitor<'de> for Fields {
            type Value = Addressee;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a message")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Addressee, A::Error> {
                let mut phone = None;
                while let Some(name) = map.next_key::<std::borrow::Cow<'de, str>>()? {
                    if name.eq_ignore_ascii_case("phone") {
                        phone = Some(map.next_value()?);
                    } else {
                        map.next_value::<IgnoredAny>()?;
                    }
                }
                Ok(Addressee(phone))
            }
        }

        deserializer.deserialize_map(Fields)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_addressee_is_read_as_the_wa_server_reads_it() {
        for (body, phone) in [
            (r#"{"Phone":"62811","Body":"halo"}"#, Some("62811")),
            (r#"{"Body":{"Phone":"1"},"phone":"62811"}"#, Some("62811")),
            (r#"{"Phone":"1","PHONE":"62811"}"#, Some("62811")),
            (r#"{"Phone":"62\u0038"}"#, Some("628")),
            (r#"{"Phone":""}"#, None),
            (r#"{"Phone":62811}"#, None),
            (r#"{"Body":"halo"}"#, None),
            (r#"["Phone"]"#, None),
            ("{", None),
            ("", None),
        ] {
            assert_eq!(addressee(body.as_bytes()).as_deref(), phone, "{body}");
        }
    }
}
