//! Event names, and the JSON objects of the events (§12, §13, §14).

use chrono::{DateTime, FixedOffset, SecondsFormat, TimeZone as _, Utc};
use serde_json::{Map, Value, json};

/// Names a subscription to which has an effect.
pub(super) const ACTIVE: [&str; 22] = [
    "Message",
    "MessageSent",
    "Receipt",
    "Connected",
    "Disconnected",
    "ConnectFailure",
    "LoggedOut",
    "StreamReplaced",
    "PairSuccess",
    "QR",
    "PushNameSetting",
    "AppState",
    "AppStateSyncComplete",
    "HistorySync",
    "CallOffer",
    "CallAccept",
    "CallTerminate",
    "CallOfferNotice",
    "CallRelayLatency",
    "Presence",
    "ChatPresence",
    "All",
];

/// Names that are accepted and do nothing.
pub(super) const INACTIVE: [&str; 27] = [
    "UndecryptableMessage",
    "MediaRetry",
    "ReadReceipt",
    "GroupInfo",
    "JoinedGroup",
    "Picture",
    "BlocklistChange",
    "Blocklist",
    "KeepAliveRestored",
    "KeepAliveTimeout",
    "QRTimeout",
    "ClientOutdated",
    "TemporaryBan",
    "StreamError",
    "PairError",
    "QRScannedWithoutMultidevice",
    "PrivacySettings",
    "UserAbout",
    "OfflineSyncCompleted",
    "OfflineSyncPreview",
    "IdentityChange",
    "CATRefreshError",
    "NewsletterJoin",
    "NewsletterLeave",
    "NewsletterMuteChange",
    "NewsletterLiveUpdate",
    "FBMessage",
];

pub(super) fn is_known(name: &str) -> bool {
    ACTIVE.contains(&name) || INACTIVE.contains(&name)
}

/// Keeps the known names; the rest is dropped silently, as `connect` and `webhook` do.
pub(super) fn keep_known(names: &[String]) -> String {
    let kept: Vec<&str> = names
        .iter()
        .map(|name| name.trim())
        .filter(|name| is_known(name))
        .collect();
    kept.join(",")
}

/// Whether an event of this type passes a user's list: only active names count, `All` lets everything through (§12).
pub(super) fn passes(subscribed: &str, kind: &str) -> bool {
    subscribed
        .split(',')
        .map(str::trim)
        .filter(|name| ACTIVE.contains(name))
        .any(|name| name == kind || name == "All")
}

/// RFC 3339 in the offset of the server's default time zone (-03:00), which is not the zone of our users on purpose.
pub(super) fn local_time(at: DateTime<Utc>) -> String {
    match FixedOffset::west_opt(3 * 3600) {
        Some(zone) => zone
            .from_utc_datetime(&at.naive_utc())
            .to_rfc3339_opts(SecondsFormat::Secs, false),
        None => at.to_rfc3339_opts(SecondsFormat::Secs, false),
    }
}

/// `Info` with all its keys, the variable ones empty.
pub(super) fn blank_info() -> Value {
    json!({
        "Chat": "", "Sender": "", "IsFromMe": false, "IsGroup": false, "AddressingMode": "", "SenderAlt": "",
        "RecipientAlt": "", "BroadcastListOwner": "", "BroadcastRecipients": null, "ID": "", "ServerID": 0,
        "Type": "text", "PushName": "", "Timestamp": "", "Category": "", "Multicast": false, "MediaType": "",
        "Edit": "",
        "MsgBotInfo": {"EditType": "", "EditTargetID": "", "EditSenderTimestampMS": "0001-01-01T00:00:00Z"},
        "MsgMetaInfo": {
            "TargetID": "", "TargetSender": "", "TargetChat": "", "DeprecatedLIDSession": null,
            "ThreadMessageID": "", "ThreadMessageSenderJID": "",
        },
        "VerifiedName": null, "DeviceSentMeta": null,
    })
}

/// The `event` of a `Message`.
pub(super) fn message_event(info: Value, message: Value, raw: Value) -> Value {
    let edited = info["Edit"] == "1";
    let captioned = raw.get("documentWithCaptionMessage").is_some();
    json!({
        "Info": info, "Message": message, "IsEphemeral": false, "IsViewOnce": false, "IsViewOnceV2": false,
        "IsViewOnceV2Extension": false, "IsDocumentWithCaption": captioned, "IsLottieSticker": false,
        "IsBotInvoke": false, "IsEdit": edited, "SourceWebMsg": null, "UnavailableRequestID": "", "RetryCount": 0,
        "NewsletterMeta": null, "RawMessage": raw,
    })
}

/// The `event` of a `MessageSent`: only these five keys in `Info` (S14).
pub(super) fn message_sent_event(
    chat: &str,
    id: &str,
    kind: &str,
    at: DateTime<Utc>,
    message: Value,
) -> Value {
    json!({
        "Info": {"Chat": chat, "ID": id, "IsFromMe": true, "MessageType": kind, "Timestamp": local_time(at)},
        "Message": message,
    })
}

/// The `event` of a `ReadReceipt` (S15); `read` is false for a delivery receipt.
pub(super) fn receipt_event(chat: &str, ids: &[String], read: bool, at: DateTime<Utc>) -> Value {
    json!({
        "Chat": chat, "Sender": chat, "IsFromMe": false, "IsGroup": false, "AddressingMode": "", "SenderAlt": "",
        "RecipientAlt": "", "BroadcastListOwner": "", "BroadcastRecipients": null, "MessageIDs": ids,
        "Timestamp": local_time(at), "Type": if read { "read" } else { "" }, "MessageSender": "",
    })
}

/// `Info.Type` and `Info.MediaType` as the sending client would set them for this message.
pub(super) fn classify(message: &Map<String, Value>) -> (&'static str, &'static str) {
    let kinds: [(&str, (&str, &str)); 10] = [
        ("imageMessage", ("media", "image")),
        ("videoMessage", ("media", "video")),
        ("documentMessage", ("media", "document")),
        ("stickerMessage", ("media", "sticker")),
        ("locationMessage", ("media", "location")),
        ("contactMessage", ("media", "vcard")),
        ("contactsArrayMessage", ("media", "contact_array")),
        ("reactionMessage", ("reaction", "")),
        ("pollCreationMessageV3", ("poll", "")),
        ("pollUpdateMessage", ("poll", "")),
    ];
    if let Some(audio) = message.get("audioMessage") {
        let voice_note = audio["PTT"] == true;
        return ("media", if voice_note { "ptt" } else { "audio" });
    }
    kinds
        .into_iter()
        .find(|(key, _)| message.contains_key(*key))
        .map_or(("text", ""), |(_, kind)| kind)
}
