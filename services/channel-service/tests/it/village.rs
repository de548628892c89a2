//! A village as outside parties see it: its admin's dashboard, the keys of other services, the AI on the broker, and
//! phones that write to the simulated server.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use domain::ids::ProviderMessageId;
use domain::message::{Media, MediaKind, MediaSource, MessageContent};
use domain::user::Role;
use messaging::events::send_requested::SendRequested;
use reqwest::Method;
use serde_json::{Value, json};
use simulator::{Inbound, InboundKind, InboundMedia, RawEvent};
use test_support::eventually;

use crate::harness::{TestApp, message, order};
use crate::signing_in::{ask, bearer_of};

/// Whom answers and orders are for.
pub(crate) const RARA: &str = "6281290000011";

/// A village whose session was made by its own admin; events come from the simulated server.
pub(crate) struct Village<'a> {
    pub(crate) app: &'a TestApp,
    pub(crate) id: &'static str,
    admin: String,
}

impl<'a> Village<'a> {
    /// Registered by a superadmin, connected by its own admin, scanned with a phone.
    pub(crate) async fn opens(app: &'a TestApp, root: &str, id: &'static str, number: &str) -> Self {
        let new = json!({"village_id": id, "name": id});
        let made = ask(
            app,
            Method::POST,
            "/tenants",
            &[("authorization", root)],
            Some(new),
        )
        .await;
        assert_eq!(made.status, 201, "{}", made.text);
        let switches = Some(&json!({"enabled_wa": true}));
        let path = format!("/channel-accounts/{id}");
        assert_eq!(app.internal(Method::PUT, &path, switches).await.status, 200);
        let admin = bearer_of(app, &format!("admin@{id}.id"), Role::TenantAdmin, Some(id)).await;
        let village = Self { app, id, admin };

        assert_eq!(village.session(Method::GET, "status").await["exists"], false);
        assert_eq!(village.session(Method::POST, "session").await["existing"], false);
        village.session(Method::POST, "connect").await;
        let user = app.simulator.wa_users().into_iter().find(|user| user.name == id);
        app.never_log(&user.unwrap().token);
        let qr = eventually("a QR code", || async {
            let qr = village.session(Method::GET, "qr").await["QRCode"].take();
            qr.as_str().filter(|qr| !qr.is_empty()).map(str::to_owned)
        })
        .await;
        assert!(qr.starts_with("data:image/png;base64,"), "{qr}");
        let jid = format!("{number}:5@s.whatsapp.net");
        app.simulator.scan_qr(id, Some(jid)).unwrap();
        eventually("the status shows the number", || async {
            let status = village.session(Method::GET, "status").await;
            let there = json!([status["connected"], status["loggedIn"], status["wa_number"]]);
            (there == json!([true, true, number])).then_some(())
        })
        .await;
        village
    }

    /// What the admin's dashboard does with the session.
    pub(crate) async fn session(&self, method: Method, route: &str) -> Value {
        let headers = [("authorization", self.admin.as_str())];
        let answer = ask(self.app, method, &format!("/whatsapp/{route}"), &headers, None).await;
        assert_eq!(answer.status, 200, "{route}: {}", answer.text);
        answer.json()["data"].take()
    }

    pub(crate) async fn call(&self, method: Method, path: &str, body: Option<Value>) -> Value {
        let separator = if path.contains('?') { '&' } else { '?' };
        let path = format!("{path}{separator}village_id={}", self.id);
        let answer = self.app.internal(method, &path, body.as_ref()).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text);
        answer.json()
    }

    /// A phone writes; waits until it is kept.
    pub(crate) async fn hears(&self, from: &str, id: &str, inbound: Inbound) {
        let inbound = Inbound {
            session: self.id.to_owned(),
            from: from.to_owned(),
            id: Some(id.to_owned()),
            ..inbound
        };
        self.app.simulator.inbound(&inbound).unwrap();
        self.until_kept(id).await;
    }

    pub(crate) async fn hears_text(&self, from: &str, id: &str, words: &str) {
        let text = Some(words.to_owned());
        let inbound = Inbound {
            text,
            ..Inbound::default()
        };
        self.hears(from, id, inbound).await;
    }

    /// The village's people write on their own phone.
    pub(crate) async fn types_itself(&self, to: &str, id: &str, words: &str) {
        let own = Inbound {
            text: Some(words.to_owned()),
            kind: InboundKind::Own,
            ..Inbound::default()
        };
        self.hears(to, id, own).await;
    }

    pub(crate) async fn hears_content(&self, from: &str, id: &str, content: Value) {
        let message = Some(content);
        let inbound = Inbound {
            message,
            ..Inbound::default()
        };
        self.hears(from, id, inbound).await;
    }

    /// A file as the session's server delivers it by itself.
    pub(crate) async fn hears_file(
        &self,
        from: &str,
        id: &str,
        kind: &str,
        mimetype: &str,
        data: &[u8],
        caption: Option<&str>,
    ) {
        let media = Some(InboundMedia {
            kind: kind.to_owned(),
            mimetype: mimetype.to_owned(),
            data: BASE64.encode(data),
            file_name: (kind == "document").then(|| "KK.pdf".to_owned()),
            ptt: kind == "audio",
        });
        let text = caption.map(str::to_owned);
        let inbound = Inbound {
            media,
            text,
            ..Inbound::default()
        };
        self.hears(from, id, inbound).await;
    }

    /// A message with more beside the event, e.g. where its file lies.
    pub(crate) async fn hears_with(&self, from: &str, id: &str, content: Value, extra: Value) {
        let raw = RawEvent {
            session: self.id.to_owned(),
            kind: "Message".to_owned(),
            event: message(from, id, &content)["event"].take(),
            extra: serde_json::from_value(extra).unwrap(),
        };
        self.app.simulator.emit_wa_event(raw).unwrap();
        self.until_kept(id).await;
    }

    async fn until_kept(&self, id: &str) {
        let one = format!(
            "messages WHERE tenant_id = '{}' AND provider_message_id = '{id}'",
            self.id
        );
        eventually(&format!("{id} is kept"), || async {
            (self.app.count(&one).await == 1).then_some(())
        })
        .await;
    }

    /// The words of a chat, oldest first, as anybody who asks sees them. Reads nothing.
    pub(crate) async fn history(&self, person: &str) -> Vec<String> {
        let path = format!("/messages?wa_user_id={person}&limit=100");
        let answer = self.call(Method::GET, &path, None).await;
        let rows = answer["messages"].as_array().unwrap().iter();
        rows.map(|row| row["message_text"].as_str().unwrap().to_owned())
            .collect()
    }

    pub(crate) async fn unread(&self, person: &str) -> Value {
        let list = self.call(Method::GET, "/conversations", None).await;
        let rows = list["data"].as_array().unwrap();
        let mut found = rows.iter().filter(|row| row["channel_identifier"] == person);
        let row = found
            .next()
            .unwrap_or_else(|| panic!("no chat of {person}: {list}"));
        assert!(found.next().is_none(), "{person} has two chats");
        row["unread_count"].clone()
    }

    /// What the AI was given of this person's, by message id.
    pub(crate) fn given_to_ai(&self, person: &str) -> Vec<Value> {
        let mut given = self.app.to_ai();
        given.retain(|given| given["village_id"] == self.id && given["wa_user_id"] == person);
        given
    }

    pub(crate) async fn ai_replies(&self, answers: &str, words: &str) {
        let body = json!({"village_id": self.id, "wa_user_id": RARA, "reply_text": words, "message_id": answers,
                          "batched_message_ids": [answers]});
        self.app
            .govconnect_says("govconnect.ai.reply", body.to_string())
            .await;
    }

    /// An order for Rara from this village's account, which whoever listens has learned.
    pub(crate) fn order(
        &self,
        reference: &str,
        content: MessageContent,
        quoted: Option<&str>,
    ) -> SendRequested {
        let mut heard = self.app.events().into_iter();
        let mut heard = heard
            .find(|event| event.routing_key == "message.received" && event.body["tenant_id"] == self.id)
            .unwrap();
        let account = serde_json::from_value(heard.body["data"]["account_id"].take()).unwrap();
        SendRequested {
            text: String::new(),
            content: Some(content),
            quoted: quoted.map(id),
            ..order(account, RARA, reference)
        }
    }

    /// Orders a message for Rara over the broker.
    pub(crate) async fn orders(&self, reference: &str, content: MessageContent, quoted: Option<&str>) {
        let order = self.order(reference, content, quoted);
        self.app.publish(self.id, &order).await;
    }

    /// How many rows of the tenant there are.
    pub(crate) async fn number(&self, table: &str, condition: &str) -> u64 {
        let rows = format!("{table} WHERE tenant_id = '{}' AND {condition}", self.id);
        self.app.count(&rows).await
    }
}

/// An id of the provider's.
pub(crate) fn id(text: &str) -> ProviderMessageId {
    ProviderMessageId::parse(text).unwrap()
}

/// A text.
pub(crate) fn words(text: &str) -> MessageContent {
    MessageContent::Text { text: text.into() }
}

/// A file at an address.
pub(crate) fn linked(media_kind: MediaKind, url: &str) -> MessageContent {
    MessageContent::Media(Media {
        media_kind,
        caption: None,
        mime_type: None,
        file_name: Some("surat.pdf".into()),
        size: None,
        seconds: None,
        sha256: None,
        sources: vec![MediaSource::Link { url: url.to_owned() }],
    })
}
