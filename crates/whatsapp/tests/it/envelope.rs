//! Who claims to send, in which format, and with which proof.

use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use whatsapp::credentials::WebhookKey;
use whatsapp::error::{MalformedWebhook, SignatureError};
use whatsapp::genfity::{SignatureCheck, Unverified};

use crate::fixtures::{FORM, JSON, accept, form_body, json_body, read};

const KEY: &str = "0123456789abcdef0123456789abcdef";
const OLD_KEY: &str = "fedcba9876543210fedcba9876543210";

fn key(text: &str) -> WebhookKey {
    WebhookKey::new(text).unwrap()
}

fn sign(key: &str, body: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(key.as_bytes()).unwrap();
    mac.update(body.as_bytes());
    hex::encode(mac.finalize().into_bytes())
}

#[test]
fn both_modes_name_the_same_session() {
    for (content_type, body) in [
        (JSON, json_body("s01-text")),
        (Some("Application/JSON; charset=utf-8"), json_body("s01-text")),
        (FORM, form_body("s01-text")),
        // The original takes this mixture too.
        (JSON, serde_json::json!({
            "jsonData": "{\"type\":\"Message\"}", "instanceName": "desa-contoh", "userID": "9f2c4a7be01d4c55a3b8e6d1f0a97c42",
        }).to_string()),
    ] {
        let webhook = read(content_type, &body).unwrap();
        assert_eq!(webhook.instance_name(), Some("desa-contoh"));
        assert_eq!(webhook.session_id(), Some("9f2c4a7be01d4c55a3b8e6d1f0a97c42"));
        assert_eq!(webhook.event_type(), "Message");
    }
}

#[test]
fn the_forms_own_names_win_and_empty_ones_do_not_count() {
    let inner = "%7B%22type%22%3A%22Message%22%2C%22instanceName%22%3A%22inner%22%7D";
    let webhook = read(FORM, &format!("instanceName=outer&jsonData={inner}&userID=")).unwrap();
    assert_eq!(
        (webhook.instance_name(), webhook.session_id()),
        (Some("outer"), None)
    );
    let webhook = read(FORM, &format!("instanceName=&jsonData={inner}&token=legacy")).unwrap();
    assert_eq!(webhook.instance_name(), Some("inner"));
}

#[test]
fn malformed_bodies_say_why() {
    let long = "x".repeat(256);
    for (content_type, body, why) in [
        (None, "{}", MalformedWebhook::UnsupportedContentType),
        (Some("text/plain"), "{}", MalformedWebhook::UnsupportedContentType),
        (
            Some("multipart/form-data; boundary=x"),
            "{}",
            MalformedWebhook::UnsupportedContentType,
        ),
        (JSON, "", MalformedWebhook::EmptyBody),
        (JSON, "{", MalformedWebhook::NotJson),
        (JSON, "null", MalformedWebhook::NotJson),
        (JSON, "[\"Message\"]", MalformedWebhook::NotJson),
        (JSON, "{\"type\":\"Message\"} x", MalformedWebhook::NotJson),
        (JSON, "{}", MalformedWebhook::MissingType),
        (JSON, "{\"type\":7}", MalformedWebhook::MissingType),
        (JSON, "{\"type\":\"\"}", MalformedWebhook::MissingType),
        (
            JSON,
            "{\"object\":\"whatsapp_business_account\",\"entry\":[]}",
            MalformedWebhook::CloudPayload,
        ),
        (
            JSON,
            "{\"type\":\"QR\",\"instanceName\":\"a\",\"instanceName\":\"b\"}",
            MalformedWebhook::DuplicateField,
        ),
        (
            JSON,
            "{\"type\":\"QR\",\"instanceName\":\"a\\u0000\"}",
            MalformedWebhook::InvalidInstance,
        ),
        (
            JSON,
            &format!("{{\"type\":\"QR\",\"userID\":\"{long}\"}}"),
            MalformedWebhook::InvalidInstance,
        ),
        (FORM, "instanceName=a", MalformedWebhook::MissingJsonData),
        (FORM, "jsonData=", MalformedWebhook::JsonDataNotJson),
        (FORM, "jsonData=null", MalformedWebhook::JsonDataNotJson),
        (FORM, "jsonData=%7B", MalformedWebhook::JsonDataNotJson),
        (FORM, "jsonData=%7B%7D", MalformedWebhook::MissingType),
        (FORM, "jsonData=%FF", MalformedWebhook::NotUtf8),
        (
            FORM,
            "jsonData=%7B%7D&jsonData=%7B%7D",
            MalformedWebhook::DuplicateField,
        ),
        (
            FORM,
            "instanceName=a&instanceName=b&jsonData=%7B%7D",
            MalformedWebhook::DuplicateField,
        ),
    ] {
        assert_eq!(read(content_type, body).err(), Some(why), "{body}");
    }
    assert_eq!(
        Unverified::read(JSON, Bytes::from_static(b"\xff")).err(),
        Some(MalformedWebhook::NotUtf8)
    );
}

#[test]
fn a_signature_covers_the_body_as_sent_in_both_modes() {
    for (content_type, body) in [(JSON, json_body("s01-text")), (FORM, form_body("s01-text"))] {
        let signature = sign(KEY, &body);
        for good in [
            signature.clone(),
            signature.to_uppercase(),
            format!(" {signature} "),
        ] {
            let verified = read(content_type, &body)
                .unwrap()
                .verify(Some(&good), &[key(KEY)])
                .unwrap();
            assert!(verified.is_signed());
        }
        let flipped = if signature.starts_with('0') {
            signature.replacen('0', "1", 1)
        } else {
            format!("0{}", &signature[1..])
        };
        for (bad, why) in [
            (None, SignatureError::Missing),
            (Some(""), SignatureError::Missing),
            (Some("zz"), SignatureError::Malformed),
            (Some(&signature[..62]), SignatureError::Malformed),
            (Some(flipped.as_str()), SignatureError::Mismatch),
            (Some(sign(OLD_KEY, &body).as_str()), SignatureError::Mismatch),
            (
                Some(sign(KEY, &format!("{body} ")).as_str()),
                SignatureError::Mismatch,
            ),
        ] {
            let refused = read(content_type, &body).unwrap().verify(bad, &[key(KEY)]);
            assert_eq!(refused.err(), Some(why), "{bad:?}");
        }
    }
}

#[test]
fn either_key_fits_during_a_rotation_and_no_key_means_unsigned() {
    let body = json_body("s01-text");
    for signer in [KEY, OLD_KEY] {
        let webhook = read(JSON, &body).unwrap();
        assert!(
            webhook
                .verify(Some(&sign(signer, &body)), &[key(OLD_KEY), key(KEY)])
                .is_ok()
        );
    }
    assert!(
        !read(JSON, &body)
            .unwrap()
            .verify(Some("anything"), &[])
            .unwrap()
            .is_signed()
    );
}

#[test]
fn an_inlined_file_can_be_taken_and_is_not_invented() {
    let json = accept(JSON, &json_body("c-image-inline"));
    assert_eq!(
        json.inline_file().as_deref(),
        Some("/9j/4AAQSkZJRgABAQAAAQABAAD/2Q==")
    );
    let form = accept(FORM, &form_body("c-image-inline"));
    assert_eq!(form.inline_file(), json.inline_file());
    assert_eq!(accept(JSON, &json_body("c-text")).inline_file(), None);
}

#[test]
fn a_signature_that_was_checked_before_the_body_is_read_proves_it() {
    let body = json_body("s01-text");
    let signature = whatsapp::genfity::sign(&key(KEY), body.as_bytes());
    assert_eq!(signature, sign(KEY, &body));
    let check = |keys: &[WebhookKey]| {
        let mut check = SignatureCheck::new(keys);
        check.update(body.as_bytes());
        check
    };
    let proof = check(&[key(OLD_KEY), key(KEY)]).passes(Some(&signature)).unwrap();
    assert!(read(JSON, &body).unwrap().proven(proof).is_signed());
    for (keys, claimed, error) in [
        (
            vec![key(OLD_KEY)],
            Some(signature.as_str()),
            SignatureError::Mismatch,
        ),
        (vec![key(KEY)], Some("zz"), SignatureError::Malformed),
        (vec![key(KEY)], None, SignatureError::Missing),
        // Nobody's signature is proof where there is no key.
        (vec![], Some(signature.as_str()), SignatureError::Mismatch),
    ] {
        assert_eq!(check(&keys).passes(claimed).unwrap_err(), error);
    }
}
