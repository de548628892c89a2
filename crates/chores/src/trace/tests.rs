//! Chains, from what services told.

use std::convert::Infallible;

use runtime::config::SettingsReader;

use super::*;

fn at(ms: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(1_772_000_000_000 + ms).unwrap()
}

fn journey(service: Service, tenant: &str, names: &[(NameKind, &str)], hops: &[(i64, &str)]) -> Journey {
    Journey {
        service: service.name().to_owned(),
        tenant_id: tenant.to_owned(),
        subject: "message".to_owned(),
        about: "outbound text".to_owned(),
        state: "read".to_owned(),
        reason: None,
        names: names.iter().map(|(kind, id)| Name::new(*kind, *id)).collect(),
        hops: hops.iter().map(|(ms, what)| Hop::new(at(*ms), *what)).collect(),
        now: Vec::new(),
    }
}

/// One service that knows these, and two that nobody said anything of.
async fn trace(id: &str, knows: &[Journey]) -> Trace {
    let mut reader = SettingsReader::from_map([]);
    let others = [
        Service::Gateway.read(&mut reader),
        Service::Bridge.read(&mut reader),
    ];
    follow(id, Service::Channel, &others, async |id: &str| {
        let found = knows
            .iter()
            .filter(|one| one.names.iter().any(|name| name.id == id));
        Ok::<_, Infallible>(Answer {
            service: Service::Channel.name().to_owned(),
            looked_in: vec![Place::new("messages", "for ever")],
            journeys: found.cloned().collect(),
        })
    })
    .await
    .unwrap()
}

#[tokio::test]
async fn ids_lead_to_one_another_and_hops_stand_in_the_order_of_time() {
    test_support::install_crypto_provider();
    let knows = [
        journey(
            Service::Channel,
            "a",
            &[(NameKind::Message, "m"), (NameKind::Whatsapp, "w")],
            &[(30, "ordered")],
        ),
        journey(
            Service::Bridge,
            "a",
            &[(NameKind::Chatwoot, "17"), (NameKind::Whatsapp, "w")],
            &[(10, "accepted"), (40, "stands")],
        ),
        // The same WhatsApp id of somebody else, and the same number of another message.
        journey(
            Service::Channel,
            "b",
            &[(NameKind::Message, "n"), (NameKind::Whatsapp, "w")],
            &[(20, "ordered")],
        ),
        journey(
            Service::Bridge,
            "a",
            &[(NameKind::Order, "o")],
            &[(1, "accepted")],
        ),
    ];
    for id in ["m", "17", " m "] {
        let trace = trace(id, &knows).await;
        assert_eq!(trace.chains.len(), 1, "{id}");
        let chain = &trace.chains[0];
        let hops: Vec<_> = chain
            .hops
            .iter()
            .map(|hop| (hop.hop.what.as_str(), hop.since_before_ms))
            .collect();
        assert_eq!(
            hops,
            [("accepted", None), ("ordered", Some(20)), ("stands", Some(10))]
        );
        assert_eq!(chain.names.len(), 3);
    }
    let both = trace("w", &knows).await;
    let tenants: Vec<&str> = both.chains.iter().map(|chain| chain.tenant_id.as_str()).collect();
    assert_eq!(tenants, ["a", "b"]);
    let shown = both.to_string();
    assert!(shown.contains("2 tenants have something by this id"), "{shown}");
    assert!(
        shown.contains("2026-02-25T06:13:20.030Z      +20 ms  channel-service     ordered\n"),
        "{shown}"
    );
}

#[tokio::test]
async fn who_was_not_asked_is_said_and_where_was_looked() {
    test_support::install_crypto_provider();
    let shown = trace("nobody-s", &[]).await.to_string();
    assert!(
        shown.contains("at channel-service among messages, kept for ever\n"),
        "{shown}"
    );
    assert!(
        shown.contains(
            "chatwoot-bridge not asked: CHATWOOT_BRIDGE_URL and CHATWOOT_BRIDGE_AUTH are not both set\n"
        ),
        "{shown}"
    );
    assert!(
        shown.contains("wa-support-gateway not asked: WA_SUPPORT_URL"),
        "{shown}"
    );
}

#[tokio::test]
async fn what_a_stranger_sent_does_not_steer_the_terminal() {
    test_support::install_crypto_provider();
    let bad = journey(
        Service::Channel,
        "a",
        &[(NameKind::Message, "m"), (NameKind::Request, "\u{1b}[2J\u{9b}0m")],
        &[],
    );
    for json in [false, true] {
        let command = TraceCommand {
            id: "m".to_owned(),
            json,
        };
        let shown = run(&command, Service::Channel, &[], async |_: &str| {
            Ok::<_, Infallible>(Answer {
                service: Service::Channel.name().to_owned(),
                looked_in: Vec::new(),
                journeys: vec![bad.clone()],
            })
        })
        .await
        .unwrap();
        assert!(shown.contains("[2J"), "{shown}");
        assert!(
            !shown.contains('\u{1b}') && (json || !shown.contains('\u{9b}')),
            "{shown:?}"
        );
    }
}

#[test]
fn a_hop_is_a_line() {
    let hop = ChainHop {
        service: "channel-service".to_owned(),
        since_before_ms: Some(12_000),
        hop: Hop {
            class: Some("retry_later".to_owned()),
            code: Some("no_session".to_owned()),
            attempt: Some(2),
            took_ms: Some(31),
            endpoint: Some("Primary".to_owned()),
            ..Hop::new(at(0), "attempt")
        },
    };
    assert_eq!(
        hop.to_string(),
        "2026-02-25T06:13:20.000Z       +12 s  channel-service     attempt 2 retry_later (no_session) at Primary after 31 ms"
    );
}
