//! Who is believed: the contract's own signatures, and the question Meta asks before it sends anything.

use bytes::Bytes;
use secrecy::SecretString;
use whatsapp::cloud::{Refused, answer_challenge, sign, verify};
use whatsapp::credentials::WebhookKey;
use whatsapp::error::SignatureError;

use crate::cloud_samples::secret;

/// Body, and its signature with the key `0123456789abcdef0123456789abcdef` (contract 2.1).
const VECTORS: &[(&str, usize, &str)] = &[
    (
        r#"{"object":"whatsapp_business_account","entry":[]}"#,
        49,
        "eefab58106e73358686845848feb95c56372e7391b3dc050b6a31c8c5f347ece",
    ),
    (
        r#"{"object":"whatsapp_business_account","note":"\u00e4\u00f6\u00e5 \ud83d\ude00"}"#,
        79,
        "f73ea8f01308c97a1c2f8eed61fbd4fbf40d790c2231a873557a72fa2d5973ee",
    ),
    (
        r#"{"object":"whatsapp_business_account","note":"äöå 😀"}"#,
        59,
        "ea1e68a22d86cfd1f531b9f0b2edc4394ce21311ffde38dc4f66c8b5428582cb",
    ),
    (
        r#"{"object":"whatsapp_business_account","note":"https:\/\/example.test\/a"}"#,
        73,
        "73b722e87d4eb04903bf9b82080bc9b31d523238b100cf5cf3f5c395b63c9a88",
    ),
    (
        "",
        0,
        "796cd3078af14636753d26b3b5555422ff55a3e261cf847b48e95371b9bd0aa2",
    ),
];

fn check(body: &str, header: Option<&str>, secrets: &[WebhookKey]) -> Result<usize, SignatureError> {
    verify(Bytes::copy_from_slice(body.as_bytes()), header, secrets).map(|signed| signed.secret())
}

#[test]
fn the_contracts_signatures_are_made_and_taken() {
    for (body, length, digest) in VECTORS {
        assert_eq!(body.len(), *length);
        let header = format!("sha256={digest}");
        assert_eq!(sign(&secret(), body.as_bytes()), header);
        assert_eq!(check(body, Some(&header), &[secret()]), Ok(0));
    }
}

#[test]
fn the_same_object_in_other_bytes_is_another_message() {
    for (body, ..) in VECTORS {
        for (other, _, digest) in VECTORS {
            let header = format!("sha256={digest}");
            let taken = check(body, Some(&header), &[secret()]);
            assert_eq!(taken.is_ok(), body == other, "{body} with {other}'s");
        }
    }
}

#[test]
fn any_of_several_secrets_is_good_and_told() {
    let (body, _, digest) = VECTORS[0];
    let header = format!("sha256={digest}");
    let other = || WebhookKey::new("another").unwrap();
    assert_eq!(check(body, Some(&header), &[other(), secret()]), Ok(1));
    assert_eq!(check(body, Some(&header), &[secret(), secret()]), Ok(0));
    assert_eq!(
        check(body, Some(&header), &[other()]),
        Err(SignatureError::Mismatch)
    );
    // The secret's text is the key, not the bytes its digits stand for.
    let decoded = String::from_utf8(vec![0x01, 0x23, 0x45, 0x67]).unwrap();
    let decoded = WebhookKey::new(decoded).unwrap();
    assert_eq!(
        check(body, Some(&header), &[decoded]),
        Err(SignatureError::Mismatch)
    );
}

#[test]
fn what_is_not_written_as_meta_writes_it_is_refused() {
    let (body, _, digest) = VECTORS[0];
    for (header, error) in [
        (None, SignatureError::Missing),
        (Some(String::new()), SignatureError::Missing),
        (Some(digest.to_owned()), SignatureError::Malformed),
        (Some(format!("sha1={digest}")), SignatureError::Malformed),
        (Some(format!("SHA256={digest}")), SignatureError::Malformed),
        (Some(format!(" sha256={digest}")), SignatureError::Malformed),
        (Some(format!("sha256={digest} ")), SignatureError::Malformed),
        (Some(format!("sha256= {digest}")), SignatureError::Malformed),
        (
            Some(format!("sha256={}", &digest[1..])),
            SignatureError::Malformed,
        ),
        (Some(format!("sha256={digest}00")), SignatureError::Malformed),
        (
            Some(format!("sha256={digest},sha256={digest}")),
            SignatureError::Malformed,
        ),
        (Some("sha256=".to_owned()), SignatureError::Malformed),
        (
            Some(format!("sha256={}", "é".repeat(32))),
            SignatureError::Malformed,
        ),
        (
            Some(format!("sha256={}", digest.replace('e', "f"))),
            SignatureError::Mismatch,
        ),
    ] {
        assert_eq!(
            check(body, header.as_deref(), &[secret()]),
            Err(error),
            "{header:?}"
        );
    }
    let header = format!("sha256={digest}");
    assert_eq!(
        check(&format!("{body}\n"), Some(&header), &[secret()]),
        Err(SignatureError::Mismatch)
    );
    // Nobody is believed where there is no secret: there is no unsigned mode.
    assert_eq!(check(body, Some(&header), &[]), Err(SignatureError::Missing));
}

#[test]
fn a_challenge_is_answered_to_whoever_knows_the_token() {
    let tokens = [SecretString::from("vt-alt"), SecretString::from("vt-demo")];
    for (query, challenge) in [
        (
            "hub.mode=subscribe&hub.challenge=1158201444&hub.verify_token=vt-demo",
            "1158201444",
        ),
        (
            "hub.verify_token=vt-alt&hub.challenge=00123456789012345678901234567890&hub.mode=subscribe&x=1",
            "00123456789012345678901234567890",
        ),
        // As decoded, and nothing added.
        (
            "hub.mode=subscribe&hub.challenge=a%3Cb%3E+%22%C3%A9&hub.verify_token=vt%2Ddemo",
            "a<b> \"é",
        ),
    ] {
        assert_eq!(
            answer_challenge(query, &tokens).unwrap().as_str(),
            challenge,
            "{query}"
        );
    }
}

#[test]
fn a_challenge_is_refused_to_everybody_else() {
    let tokens = [SecretString::from("vt-demo")];
    let long = format!(
        "hub.mode=subscribe&hub.challenge={}&hub.verify_token=vt-demo",
        "1".repeat(257)
    );
    for query in [
        "",
        "hub.mode=subscribe&hub.challenge=1&hub.verify_token=vt-dem",
        "hub.mode=subscribe&hub.challenge=1&hub.verify_token=vt-demo1",
        "hub.mode=subscribe&hub.challenge=1&hub.verify_token=",
        "hub.mode=subscribe&hub.challenge=1",
        "hub.mode=unsubscribe&hub.challenge=1&hub.verify_token=vt-demo",
        "hub.mode=&hub.challenge=1&hub.verify_token=vt-demo",
        "hub.challenge=1&hub.verify_token=vt-demo",
        "hub.mode=subscribe&hub.challenge=&hub.verify_token=vt-demo",
        "hub.mode=subscribe&hub.verify_token=vt-demo",
        "hub_mode=subscribe&hub_challenge=1&hub_verify_token=vt-demo",
        "hub.mode=subscribe&hub.challenge=%FF&hub.verify_token=vt-demo",
        // Two readers could read two things.
        "hub.mode=subscribe&hub.challenge=1&hub.challenge=2&hub.verify_token=vt-demo",
        "hub.mode=subscribe&hub.challenge=1&hub.verify_token=x&hub.verify_token=vt-demo",
        long.as_str(),
    ] {
        assert_eq!(answer_challenge(query, &tokens), Err(Refused), "{query}");
    }
    let empty = [SecretString::from("")];
    for query in [
        "hub.mode=subscribe&hub.challenge=1&hub.verify_token=",
        "hub.mode=subscribe&hub.challenge=1&hub.verify_token=vt-demo",
    ] {
        assert_eq!(answer_challenge(query, &[]), Err(Refused));
        assert_eq!(answer_challenge(query, &empty), Err(Refused));
    }
}
