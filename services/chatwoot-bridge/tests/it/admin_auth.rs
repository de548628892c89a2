//! Who gets into `/admin` (contract 1.4), and that strangers learn nothing of it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use chatwoot_bridge::routes;
use reqwest::{Client, Method};
use serde_json::json;
use test_support::eventually;

use crate::operator::{Office, PASSWORD, USER, said};

const CHALLENGE: &str = r#"Basic realm="Chatgowa Admin""#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_meet_the_same_closed_door_everywhere() {
    let office = Office::open().await;
    let stranger = Client::new();
    let mut paths: Vec<(String, String)> = routes::served()
        .into_iter()
        .filter(|(_, path)| path.starts_with("/admin"))
        .collect();
    assert!(paths.len() > 15, "{paths:?}");
    for (method, path) in [
        ("GET", "/admin/"),
        ("GET", "/admin/nothing"),
        ("PATCH", "/admin/routes"),
        ("OPTIONS", "/admin/routes"),
    ] {
        paths.push((method.to_owned(), path.to_owned()));
    }
    for (method, path) in &paths {
        let url = format!("{}{}", office.running.base, path.replace(['{', '}'], ""));
        let method: Method = method.parse().unwrap();
        for header in [None, Some("Bearer x"), Some("basic YWRtaW46eA==")] {
            let mut request = stranger.request(method.clone(), &url);
            if let Some(header) = header {
                request = request.header("authorization", header);
            }
            let answer = request.send().await.unwrap();
            assert_eq!(answer.status().as_u16(), 401, "{method} {path}");
            assert_eq!(answer.headers()["www-authenticate"], CHALLENGE);
            assert_eq!(answer.text().await.unwrap(), "", "{method} {path}");
        }
    }
    // Who is let in learns that there is nothing.
    for path in ["/admin/", "/admin/nothing", "/admin/routes/7/nothing"] {
        assert_eq!(office.get(path).await.status.as_u16(), 404, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_the_right_pair_opens_and_guessing_ends_soon() {
    let office = Office::open().await;
    let stranger = Client::new();
    let url = format!("{}/admin/routes", office.running.base);
    let with = |value: String| stranger.get(&url).header("authorization", value);
    let pair = |pair: &str| format!("Basic {}", BASE64.encode(pair));
    // The colon in the password is the password's own.
    assert_eq!(office.get("/admin/routes").await.ok(), json!({"routes": []}));
    let wrong = [
        "Basic %%%".to_owned(),
        "Basic ".to_owned(),
        pair("admin"),
        pair("admin:"),
        pair(&format!("Admin:{PASSWORD}")),
        pair(&format!("{USER}:{}", PASSWORD.to_uppercase())),
        pair("admin:yourpassword"),
    ];
    for value in &wrong {
        let answer = said(with(value.clone())).await;
        assert_eq!(
            (answer.status.as_u16(), answer.text.as_str()),
            (401, ""),
            "{value}"
        );
    }
    // One is forgiven each five seconds, so on a machine with much to do there may be more than ten.
    let mut tries = wrong.len();
    let shut = loop {
        let answer = with(pair("admin:yourpassword")).send().await.unwrap();
        if answer.status().as_u16() == 429 {
            break answer;
        }
        assert_eq!(answer.status().as_u16(), 401);
        tries += 1;
        assert!(tries < 1_000, "guessing never ends");
    };
    assert!(tries >= 10, "{tries}");
    let wait: u64 = shut.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=5).contains(&wait));
    // Whoever knows the password has to wait as well, or a guess would tell.
    eventually("the right pair has to wait, too", || async {
        said(with(pair("admin:yourpassword"))).await;
        (office.get("/admin/routes").await.status.as_u16() == 429).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_password_nobody_gets_in() {
    let office = Office::open_with(|settings| settings.admin.password = None).await;
    assert_eq!(office.get("/admin").await.status.as_u16(), 401);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_sites_page_cannot_use_the_browsers_password() {
    let office = Office::open().await;
    let new = json!({"inboxId": 7, "webhookUrl": "https://gowa.example/hook"}).to_string();
    let post = |headers: &[(&str, &str)]| {
        let mut request = office.request(Method::POST, "/admin/routes").body(new.clone());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        said(request)
    };
    for headers in [
        vec![("origin", "https://evil.example")],
        vec![("origin", "null")],
        vec![("sec-fetch-site", "cross-site")],
        vec![("sec-fetch-site", "same-site"), ("sec-fetch-mode", "navigate")],
    ] {
        let answer = post(&headers).await;
        assert_eq!(answer.status.as_u16(), 403, "{headers:?}");
        assert_eq!(answer.json()["code"], "other_site");
    }
    assert_eq!(office.get("/admin/routes").await.ok(), json!({"routes": []}));
    let own = office.running.base.clone();
    assert_eq!(post(&[("origin", &own)]).await.status.as_u16(), 201);
}
