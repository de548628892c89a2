//! The OpenAPI document, and that it tells of exactly what is served.

use std::collections::BTreeSet;

use chatwoot_bridge::routes;
use reqwest::Method;
use serde_json::Value;

use crate::operator::Office;

#[test]
fn the_document_is_as_it_was_agreed() {
    insta::assert_json_snapshot!(routes::openapi());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_route_of_the_document_is_there_and_no_other() {
    let office = Office::open().await;
    let document: Value = office.get("/openapi.json").await.ok();
    assert_eq!(document, routes::openapi());
    let described: BTreeSet<(String, String)> = document["paths"]
        .as_object()
        .unwrap()
        .iter()
        .flat_map(|(path, item)| {
            let methods = item.as_object().unwrap().keys();
            methods.map(|method| (method.to_uppercase(), path.clone()))
        })
        .collect();
    let served: BTreeSet<(String, String)> = routes::served().into_iter().collect();
    assert_eq!(described, served);
    let paths: BTreeSet<&String> = served.iter().map(|(_, path)| path).collect();
    for path in paths {
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE"] {
            let verb: Method = method.parse().unwrap();
            let answer = office
                .request(verb, &path.replace(['{', '}'], ""))
                .send()
                .await
                .unwrap();
            // Pages say their refusals in words, with the code beside them.
            let in_words = answer
                .headers()
                .get("x-refusal")
                .is_some_and(|code| code == "route_not_found");
            let (status, text) = (answer.status(), answer.text().await.unwrap());
            if path.starts_with("/files/") && method == "GET" {
                // A file that is nobody's looks like no place at all.
                assert_eq!(status, 404);
                continue;
            }
            let is_there = !in_words && !text.contains("\"route_not_found\"");
            let told = served.contains(&(method.to_owned(), path.clone()));
            // What no method of the path takes may still be another path's place: `/routes/{id}` is none of `/routes`.
            assert_eq!(is_there, told, "{method} {path}: {status} {text}");
        }
    }
}
