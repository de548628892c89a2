//! The OpenAPI document, and that it tells of every route there is.

use channel_service::routes;
use reqwest::Method;
use serde_json::Value;

use crate::harness::{INTERNAL_KEY, TestApp};

#[test]
fn the_document_is_as_it_was_agreed() {
    insta::assert_json_snapshot!(routes::openapi());
}

/// Readers of the document stop at the first type that is none.
#[test]
fn every_type_in_the_document_is_one() {
    fn wrong(value: &Value, at: &str, found: &mut Vec<String>) {
        let words = [
            "array", "boolean", "integer", "null", "number", "object", "string",
        ];
        let known = |word: &Value| word.as_str().is_some_and(|word| words.contains(&word));
        if let Some(fields) = value.as_object() {
            // A property may be called `type`; then it is a schema.
            let named = fields.get("type").filter(|named| !named.is_object());
            let good = named.is_none_or(|named| match named.as_array() {
                Some(several) => several.iter().all(known),
                // A scheme of security has types of its own.
                None => known(named) || at.starts_with("/components/securitySchemes"),
            });
            if !good {
                found.push(at.to_owned());
            }
            for (name, inner) in fields {
                wrong(inner, &format!("{at}/{name}"), found);
            }
        }
        for inner in value.as_array().into_iter().flatten() {
            wrong(inner, at, found);
        }
    }
    let mut found = Vec::new();
    wrong(&routes::openapi(), "", &mut found);
    assert_eq!(found, [] as [String; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_route_of_the_document_is_there_and_knows_no_stranger() {
    let app = TestApp::spawn().await;
    let served = routes::served();
    assert!(served.len() > 10);
    for (method, path) in served {
        let method: Method = method.parse().unwrap();
        let url = format!("{}{}", app.url, path.replace(['{', '}'], ""));
        // A stranger learns nothing, not even which routes there are.
        let open = path.ends_with("/login") || path.starts_with("/api/whatsapp/webhook");
        let guarded = path.starts_with("/internal") || (path.starts_with("/api") && !open);
        // Of everything that is wrong with a link to a file one hears that there is no such route; that these are there
        // is shown with good links, in `media` and `upload`.
        if path.starts_with("/uploads") {
            continue;
        }
        let answer = app.http().request(method.clone(), &url).send().await.unwrap();
        if guarded {
            assert_eq!(answer.status().as_u16(), 401, "{method} {path}");
        }
        let answer = app
            .http()
            .request(method.clone(), &url)
            .header("x-internal-api-key", INTERNAL_KEY)
            .send()
            .await
            .unwrap();
        let body = answer.text().await.unwrap();
        let is_nothing = body.contains("route_not_found") || body.contains("\"code\":2500");
        assert!(!is_nothing, "{method} {path}: {body}");
    }
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_other_sites_page_may_read_an_answer() {
    let app = TestApp::spawn().await;
    for (method, path) in routes::served() {
        let url = format!("{}{}", app.url, path.replace(['{', '}'], ""));
        for asked in [method.parse().unwrap(), Method::OPTIONS] {
            let answer = app
                .http()
                .request(asked.clone(), &url)
                .header("origin", "https://elsewhere.example")
                .header("access-control-request-method", &method)
                .header("x-internal-api-key", INTERNAL_KEY)
                .send()
                .await
                .unwrap();
            let mut names = answer.headers().keys();
            let allowed = names.find(|name| name.as_str().starts_with("access-control-"));
            assert_eq!(allowed, None, "{asked} {path}");
            if asked == Method::OPTIONS {
                assert!(
                    matches!(answer.status().as_u16(), 401 | 404),
                    "{path}: {answer:?}"
                );
            }
        }
    }
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn people_can_read_it_in_the_browser() {
    let app = TestApp::spawn().await;
    assert_eq!(app.get("/api-docs.json").await.json(), routes::openapi());
    let page = app.get("/api-docs/").await;
    assert_eq!(page.status, 200);
    assert!(page.text.contains("swagger-ui"));
    let script = app.get("/api-docs/begin.js").await;
    assert!(script.text.contains("/api-docs.json"), "{}", script.text);
    app.finish().await;
}
