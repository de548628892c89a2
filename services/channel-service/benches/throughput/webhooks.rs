//! The webhooks that tenants get, signed.

use std::sync::atomic::{AtomicU64, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use crate::callers::{Call, post};
use crate::tenants::Tenant;

/// Size of a text's webhook.
pub(crate) const BODY_BYTES: usize = 1_500;
/// One in so many of a tenant's messages opens a new chat.
const MESSAGES_OF_CHAT: u64 = 50;

/// Numbers no message of this run has had.
static NEXT: AtomicU64 = AtomicU64::new(0);

/// The next message: its tenant and its number.
pub(crate) fn next(tenants: usize) -> (usize, u64) {
    let n = NEXT.fetch_add(1, Ordering::Relaxed);
    (usize::try_from(n).unwrap() % tenants, n / tenants as u64)
}

/// A text: number `n` of tenant number `tenant`.
pub(crate) fn text(tenants: &[Tenant], tenant: usize, n: u64) -> Call {
    let words = format!(
        r#"{{"conversation":"Selamat pagi {}","messageContextInfo":{{"deviceListMetadataVersion":2}}}}"#,
        "a".repeat(820)
    );
    signed(&tenants[tenant], message(tenant, n, "text", &words, ""))
}

/// A picture in base64, as often as it is wanted.
#[derive(Clone)]
pub(crate) struct Picture(String);

impl Picture {
    pub(crate) fn of_bytes(size: usize) -> Self {
        let mut bytes = b"\xff\xd8\xff\xe0\0\x10JFIF\0\x01\x01".to_vec();
        bytes.resize_with(size.max(bytes.len()), rand::random::<u8>);
        Self(BASE64.encode(bytes))
    }
}

/// A message with a picture that comes inside its webhook.
pub(crate) fn picture(tenants: &[Tenant], tenant: usize, n: u64, picture: &Picture) -> Call {
    let content = r#"{"imageMessage":{"mimetype":"image/jpeg","caption":"Jalan rusak di RT 3"}}"#;
    let file = format!(r#","base64":"{}","mimeType":"image/jpeg""#, picture.0);
    signed(&tenants[tenant], message(tenant, n, "media", content, &file))
}

/// Somebody's phone confirms a message: it came, or it was read.
pub(crate) fn receipt(tenants: &[Tenant], tenant: usize, person: &str, id: &str, read: bool) -> Call {
    let (state, kind) = if read { ("Read", "read") } else { ("Delivered", "") };
    let body = format!(
        r#"{{"event":{{"Chat":"{person}@s.whatsapp.net","IsFromMe":false,"IsGroup":false,"MessageIDs":["{id}"],"Sender":"{person}@s.whatsapp.net","Timestamp":"2026-02-17T09:15:04-03:00","Type":"{kind}"}},"instanceName":"instance-{tenant}","state":"{state}","type":"ReadReceipt","userID":"{tenant:032x}"}}"#
    );
    signed(&tenants[tenant], body)
}

fn message(tenant: usize, n: u64, kind: &str, content: &str, file: &str) -> String {
    let chat = 6_281_200_000_000 + n / MESSAGES_OF_CHAT;
    // Each person has a hidden id of their own, which the first message of the chat teaches.
    let lid = 190_000_000_000_000 + n / MESSAGES_OF_CHAT;
    format!(
        r#"{{"event":{{"Info":{{"AddressingMode":"","BroadcastListOwner":"","BroadcastRecipients":null,"Category":"","Chat":"{chat}@s.whatsapp.net","ID":"3EB0{tenant:05X}{n:013X}","IsFromMe":false,"IsGroup":false,"MediaType":"","PushName":"Budi","RecipientAlt":"","Sender":"{chat}:3@s.whatsapp.net","SenderAlt":"{lid}:3@lid","ServerID":0,"Timestamp":"2026-02-17T09:15:04-03:00","Type":"{kind}"}},"IsEdit":false,"IsEphemeral":false,"IsViewOnce":false,"Message":{content},"RetryCount":0}},"instanceName":"instance-{tenant}","type":"Message","userID":"{tenant:032x}"{file}}}"#
    )
}

fn signed(tenant: &Tenant, body: String) -> Call {
    let mut mac = Hmac::<Sha256>::new_from_slice(tenant.key.as_bytes()).expect("any length is a key");
    mac.update(body.as_bytes());
    let signature = hex::encode(mac.finalize().into_bytes());
    post("/webhook", &[("x-hmac-signature", &signature)], body)
}
