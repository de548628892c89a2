//! Where the WA server is told to post a session's events, which of them, and what it signs them with.

use secrecy::SecretString;
use uuid::Uuid;
use whatsapp::genfity::EventList;

use crate::config::RelaySettings;

/// What reading on the customer's behalf needs to hear of.
const MESSAGE: &str = "Message";

/// What a session's customer wants of its events, its secrets opened.
#[derive(Debug)]
pub(crate) struct SessionWebhook<'a> {
    /// The session's own id.
    pub(crate) session: Uuid,
    /// Where the customer wants its events.
    pub(crate) webhook_url: Option<&'a str>,
    /// Which of them.
    pub(crate) events: &'a EventList,
    /// Are incoming messages to be marked as read?
    pub(crate) auto_read: bool,
    /// The key between the WA server and us.
    pub(crate) hmac_key: &'a SecretString,
    /// What the customer's webhooks are signed with, where it chose a key.
    pub(crate) customer_hmac_key: Option<&'a SecretString>,
}

/// What the WA server is told about a session's events.
#[derive(Debug, Clone)]
pub(crate) struct WaWebhook {
    /// Where it posts them; `None`: nowhere.
    pub(crate) url: Option<String>,
    /// Which of them. A relay passes on only what the customer asked for.
    pub(crate) events: EventList,
    /// What it signs them with.
    pub(crate) hmac_key: SecretString,
}

/// With a relay the WA server posts to us, under a key of ours, as long as there is somebody to pass events on to or a
/// message to mark as read; without one it is told what the customer wants.
pub(crate) fn wa_webhook(settings: &RelaySettings, session: &SessionWebhook<'_>) -> WaWebhook {
    let customers_url = session.webhook_url.map(ToOwned::to_owned);
    let Some(base) = &settings.public_base else {
        return WaWebhook {
            url: customers_url,
            events: session.events.clone(),
            hmac_key: session.customer_hmac_key.unwrap_or(session.hmac_key).clone(),
        };
    };
    let heard = customers_url.is_some() || session.auto_read;
    let events = session.events.clone();
    WaWebhook {
        url: heard.then(|| format!("{}/hooks/{}", base.as_str(), session.session)),
        events: if session.auto_read {
            events.with(MESSAGE)
        } else {
            events
        },
        hmac_key: session.hmac_key.clone(),
    }
}

#[cfg(test)]
mod tests {
    use runtime::config::Setting as _;
    use secrecy::ExposeSecret as _;

    use super::*;

    fn told(
        relayed: bool,
        webhook_url: Option<&str>,
        auto_read: bool,
        own_key: bool,
    ) -> (Option<String>, String, String) {
        let base = runtime::config::BaseUrl::from_text("https://gateway.example.id/base/");
        let settings = RelaySettings {
            public_base: base.filter(|_| relayed),
            missing_base: false,
        };
        let (events, ours, theirs) = (
            EventList::parse("QR").unwrap(),
            SecretString::from("ours"),
            SecretString::from("theirs"),
        );
        let session = SessionWebhook {
            session: Uuid::nil(),
            webhook_url,
            events: &events,
            auto_read,
            hmac_key: &ours,
            customer_hmac_key: own_key.then_some(&theirs),
        };
        let told = wa_webhook(&settings, &session);
        (
            told.url,
            told.events.to_string(),
            told.hmac_key.expose_secret().to_owned(),
        )
    }

    #[test]
    fn without_a_relay_the_customers_wishes_go_to_the_wa_server() {
        let url = Some("https://customer.example/hook");
        let text = |url: Option<&str>, events: &str, key: &str| {
            (url.map(str::to_owned), events.to_owned(), key.to_owned())
        };
        assert_eq!(told(false, url, true, true), text(url, "QR", "theirs"));
        assert_eq!(told(false, url, false, false), text(url, "QR", "ours"));
        assert_eq!(told(false, None, true, true), text(None, "QR", "theirs"));
    }

    #[test]
    fn with_a_relay_the_wa_server_hears_of_us_only() {
        let hook = format!("https://gateway.example.id/base/hooks/{}", Uuid::nil());
        let customers = Some("https://customer.example/hook");
        for (webhook_url, auto_read, url, events) in [
            (customers, false, Some(&hook), "QR"),
            (customers, true, Some(&hook), "QR,Message"),
            (None, true, Some(&hook), "QR,Message"),
            (None, false, None, "QR"),
        ] {
            let told = told(true, webhook_url, auto_read, true);
            assert_eq!(told, (url.cloned(), events.to_owned(), "ours".to_owned()));
        }
    }
}
