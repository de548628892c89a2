//! Two services with a customer each, the same two people at both.

use reqwest::Method;
use serde_json::{Value, json};
use test_support::canary::{Of, keys_with};
use test_support::logs;
use url::form_urlencoded::Serializer;

use crate::hooks::world::{FORM, HookedSession, JSON, Receiver, relayed, until_it_is};
use crate::support::{APP, Answer, Gateway, with_callers};
use wa_support_gateway::config::Settings;

/// Who is erased: a number, and the hidden id that messages tell beside it.
pub(super) const ERIN: &str = "6281277700011";
pub(super) const LID: &str = "277466881133551";
/// Who stays.
pub(super) const BUDI: &str = "6281277700022";

pub(super) struct World {
    pub(super) gateway: Gateway,
    pub(super) settings: Settings,
    pub(super) receiver: Receiver,
    /// The session of `desa-a`, which is the service `app`'s.
    pub(super) satu: HookedSession,
    /// The customers' keys.
    pub(super) keys: [String; 2],
}

/// A message as the WA server tells it.
pub(super) fn message(session: &HookedSession, from: &str, alternative: &str, words: &str) -> String {
    let event = json!({
        "Info": {
            "Chat": from, "Sender": from.replace('@', ":7@"), "SenderAlt": alternative, "IsFromMe": false,
            "IsGroup": false, "ID": words, "Type": "text", "PushName": format!("{words}Name"),
            "Timestamp": "2026-02-17T09:15:04-03:00",
        },
        "Message": {"conversation": words},
    });
    session.event_of("Message", event, words)
}

pub(super) fn jid(number: &str) -> String {
    format!("{number}@s.whatsapp.net")
}

/// The address book of every phone here.
pub(super) fn contacts() -> String {
    json!({"code": 200, "success": true, "data": {
        jid(ERIN): {"Found": true, "FullName": "canaryErinContact"},
        format!("{LID}@lid"): {"Found": true, "PushName": "canaryErinHidden"},
        "6281277700033@s.whatsapp.net": {"Found": true, "FullName": "canaryErinOther 081277700011"},
        jid(BUDI): {"Found": true, "FullName": "canaryBudiContact"},
    }})
    .to_string()
}

impl World {
    pub(super) async fn start() -> Self {
        logs::keep();
        let mut settings = None;
        let gateway = Gateway::start_with(|given| {
            relayed(given);
            with_callers(given);
            settings = Some(given.clone());
        })
        .await;
        let receiver = Receiver::start();
        receiver.answer(500);
        let keys = [
            gateway.customer("desa-a", "app").await,
            gateway.customer("desa-b", "desk").await,
        ];
        let satu = HookedSession::make(&gateway, "desa-a", &receiver.url()).await;
        let dua = HookedSession::make(&gateway, "desa-b", &receiver.url()).await;
        let world = Self {
            gateway,
            settings: settings.unwrap(),
            receiver,
            satu,
            keys,
        };
        world.gateway.wa.answer_contacts(200, contacts());
        world.plant(&world.satu, &world.keys[0]).await;
        world.plant(&dua, &world.keys[1]).await;
        world
    }

    /// Something of both people in every place that webhooks and the address book reach.
    async fn plant(&self, session: &HookedSession, key: &str) {
        let gateway = &self.gateway;
        assert_eq!(self.sync(session, key).await.status, 200);
        let lid = format!("{LID}@lid");
        for body in [
            // By both names, then by the hidden one alone.
            message(session, &jid(ERIN), &format!("{LID}:7@lid"), "canaryErinBoth"),
            message(session, &lid, "", "canaryErinLid"),
            message(session, &jid(BUDI), "", "canaryBudi"),
            // Named by somebody else, behind an escape that ends with digits.
            message(session, &jid(BUDI), "", "canaryErinWords &MARK")
                .replace("&MARK", &format!("\\u0026{ERIN}")),
        ] {
            session.accepted(gateway, &body).await;
        }
        let said = message(session, &jid(ERIN), "", "canaryErinForm");
        let form = Serializer::new(String::new())
            .append_pair("instanceName", &session.customer)
            .append_pair("jsonData", &said)
            .append_pair("userID", &session.session_id)
            .finish();
        // No text at all, and the number behind a byte that Postgres writes with digits.
        let raw = [b"canaryErinRaw \xff\xe9".as_slice(), ERIN.as_bytes(), b" \x00"].concat();
        for (kind, body) in [(FORM, form.as_bytes()), (JSON, raw.as_slice())] {
            assert_eq!(session.post(gateway, kind, body).await.status(), 200);
        }
        let parked = format!(
            "SELECT count(*) FROM lane_tasks WHERE parked AND tenant_id = '{}'",
            session.customer
        );
        until_it_is(gateway, &parked, "6").await;
        // Read marks wait on a lane whose time has not come.
        let marks: Vec<String> = [ERIN, BUDI]
            .map(|number| {
                format!(
                    "INSERT INTO lane_tasks (tenant_id, id, lane, kind, payload) VALUES ('{0}', gen_random_uuid(), \
                     'read:{1}', 'read', '{{\"request_id\":null,\"chat\":\"{2}\",\"message\":\"3EB0\"}}')",
                    session.customer,
                    session.id,
                    jid(number)
                )
            })
            .into();
        gateway
            .sql(&format!(
                "INSERT INTO lanes (tenant_id, lane, ready_at) VALUES ('{}', 'read:{}', now() + interval '1 day'); {}",
                session.customer,
                session.id,
                marks.join("; ")
            ))
            .await;
    }

    /// Has the session's contacts brought up to date.
    pub(super) async fn sync(&self, session: &HookedSession, key: &str) -> Answer {
        let path = format!("/v1/sessions/{}/contacts/sync", session.session_id);
        self.gateway
            .call(Method::POST, &path, &[("x-api-key", key)])
            .await
    }

    /// Everywhere that these words are, but for the log.
    pub(super) async fn places_of(&self, words: &str, of: Of<'_>) -> Vec<String> {
        let mut places = self.gateway.database.columns_with(words, of).await;
        places.extend(keys_with(&self.settings.redis.prefix, words).await);
        places
    }

    /// A call of a service about `desa-a`, with its rest of the path.
    pub(super) async fn about_satu(&self, method: Method, rest: &str, key: &str, body: &Value) -> Answer {
        self.gateway
            .internal(method, &format!("/users/desa-a{rest}"), key, body)
            .await
    }

    /// The lines of an export, by the service `app`.
    pub(super) async fn exported(&self, method: Method, rest: &str, body: &Value) -> (String, Vec<Value>) {
        let path = format!("/users/desa-a{rest}");
        let request = self.gateway.internal_request(method, &path, APP).json(body);
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.headers()["content-type"], "application/x-ndjson");
        let text = answer.text().await.unwrap();
        let lines = text
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        (text, lines)
    }

    pub(super) async fn stop(self) {
        self.receiver.stop().await;
        self.gateway.stop().await;
    }
}
