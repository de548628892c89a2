//! The table of contract §8.3 and thousands of spellings nobody thought of.

use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::Config;

use super::*;

#[path = "proxy_path_spellings.rs"]
mod spellings;

use spellings::{gullible, must_not_be_reached, spelling};

/// 100,000, or as many as the variable says: `PROXY_SPELLINGS=10000000 cargo test --release -p wa-support-gateway --lib
/// proxy_path`.
fn cases() -> u32 {
    let said = std::env::var("PROXY_SPELLINGS").ok();
    said.and_then(|number| number.parse().ok()).unwrap_or(100_000)
}

const METHODS: [&str; 6] = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD"];

fn refused(method: &str, raw: &str) -> Refusal {
    ProxyPath::judge(method, raw).expect_err(raw)
}

fn accepted(method: &str, raw: &str) -> String {
    ProxyPath::judge(method, raw)
        .unwrap_or_else(|refusal| panic!("{raw}: {refusal}"))
        .as_str()
        .to_owned()
}

#[test]
fn every_row_of_the_contracts_table_is_refused_with_every_method() {
    for method in METHODS {
        for (raw, why) in [
            ("/admin/users", Refusal::Admin),
            ("/%61dmin/users", Refusal::Admin),
            ("/administrator", Refusal::Unknown),
            ("/Admin/users", Refusal::Admin),
            ("//admin/users", Refusal::Invalid),
            ("/%2Fadmin/users", Refusal::Invalid),
            ("/./admin/users", Refusal::Invalid),
            ("/%2e/admin/users", Refusal::Invalid),
            ("/chat/../admin/users", Refusal::Invalid),
            ("/%2561dmin/users", Refusal::Invalid),
            ("/%2563hat/send/text", Refusal::Invalid),
            ("/chat%252Fsend/text", Refusal::Invalid),
            ("/x%3Fa=b", Refusal::Invalid),
            ("/%25zz", Refusal::Invalid),
        ] {
            assert_eq!(refused(method, raw), why, "{method} {raw}");
        }
    }
}

#[test]
fn what_has_more_than_one_reading_is_invalid() {
    for raw in [
        "",
        "session/status",
        "/session\\status",
        "/session%5cstatus",
        "/session/%00",
        "/session/%0d%0aHost:x",
        "/session/%7f",
        "/session/%",
        "/session/%6",
        "/session/%zz",
        "/session/%u0041",
        "/session/%23",
        "/session/%3f",
        "/session/%2e%2E/admin/users",
        "/session/.%2e/admin/users",
        "/session//status",
        "/session/status//",
        "//",
        "/session/%20",
        "/session/\u{ff0e}\u{ff0e}/x",
        "/session/%c0%ae%c0%ae/admin",
        "/session/%ef%bc%8f",
    ] {
        assert_eq!(refused("GET", raw), Refusal::Invalid, "{raw:?}");
    }
}

#[test]
fn only_the_exposed_first_segments_lead_anywhere() {
    for raw in [
        "/",
        "/health",
        "/dashboard",
        "/login",
        "/static/app.js",
        "/api",
        "/Session/status",
        "/admin.",
        "/x",
    ] {
        assert_eq!(refused("GET", raw), Refusal::Unknown, "{raw}");
    }
    for first in EXPOSED {
        accepted("GET", &format!("/{first}/x"));
    }
}

#[test]
fn settings_and_other_tenants_chats_are_not_exposed() {
    for method in METHODS {
        for raw in [
            "/session/proxy",
            "/session/proxy/",
            "/session/%70roxy",
            "/session/Proxy",
            "/session/s3",
            "/session/s3/config",
            "/session/s3/test",
            "/session/hmac/config",
            "/chat/history",
            "/chat/%68istory",
            "/Chat/History",
        ] {
            assert_eq!(refused(method, raw), Refusal::NotExposed, "{method} {raw}");
        }
    }
    for method in ["POST", "PUT", "PATCH", "DELETE"] {
        for raw in [
            "/webhook",
            "/webhook/",
            "/%77ebhook",
            "/webhook/events",
            "/Webhook",
        ] {
            assert_eq!(refused(method, raw), Refusal::NotExposed, "{method} {raw}");
        }
    }
    assert_eq!(accepted("GET", "/webhook"), "/webhook");
    assert_eq!(accepted("GET", "/webhook/events"), "/webhook/events");
}

#[test]
fn the_known_consumers_paths_arrive_as_they_are() {
    for (method, raw, upstream) in [
        ("GET", "/session/status", "/session/status"),
        ("GET", "/session/status/", "/session/status"),
        ("POST", "/session/connect", "/session/connect"),
        ("POST", "/chat/send/text", "/chat/send/text"),
        ("POST", "/%63hat/send/text", "/chat/send/text"),
        ("POST", "/chat/downloadimage", "/chat/downloadimage"),
        ("GET", "/session/history", "/session/history"),
        (
            "GET",
            "/user/lid/6281100000009@s.whatsapp.net",
            "/user/lid/6281100000009@s.whatsapp.net",
        ),
        (
            "GET",
            "/user/lid/6281100000009%40s.whatsapp.net",
            "/user/lid/6281100000009@s.whatsapp.net",
        ),
        ("GET", "/user/lid/%2B6281100000009", "/user/lid/+6281100000009"),
        ("GET", "/user/lid/a%3Cb", "/user/lid/a%3Cb"),
    ] {
        assert_eq!(accepted(method, raw), upstream);
    }
}

proptest! {
    #![proptest_config(Config { cases: cases(), failure_persistence: None, ..Config::default() })]

    #[test]
    fn no_accepted_path_reaches_what_is_not_exposed(raw in spelling(), method in select(METHODS.to_vec())) {
        if let Ok(path) = ProxyPath::judge(method, &raw) {
            let segments = gullible(path.as_str());
            prop_assert!(!must_not_be_reached(method, &segments, &EXPOSED), "{} {:?} -> {}", method, raw, path.as_str());

            // The client's own URL parser has nothing to clean, and a second judgement changes nothing.
            let url = url::Url::parse(&format!("http://wa-api:8080{}", path.as_str())).unwrap();
            prop_assert_eq!(url.path(), path.as_str());
            prop_assert!(url.query().is_none() && url.fragment().is_none());
            prop_assert_eq!(ProxyPath::judge(method, path.as_str()), Ok(path));
        }
    }

    /// The other way round: what a plain reader would take for an exposed path is let through.
    #[test]
    fn plain_paths_are_accepted(rest in proptest::collection::vec("[a-z0-9@._-]{1,8}x", 0..4)) {
        let raw = ["/user".to_owned()].into_iter().chain(rest).collect::<Vec<_>>().join("/");
        prop_assert_eq!(ProxyPath::judge("GET", &raw).map(|path| path.as_str().to_owned()), Ok(raw));
    }
}

#[test]
fn the_generator_meets_both_outcomes_often_enough_to_mean_something() {
    use proptest::strategy::ValueTree as _;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let accepted = (0..5_000)
        .filter(|_| {
            let raw = spelling().new_tree(&mut runner).unwrap().current();
            ProxyPath::judge("GET", &raw).is_ok()
        })
        .count();
    assert!(
        (100..4_900).contains(&accepted),
        "{accepted} of 5000 spellings were accepted"
    );
}
