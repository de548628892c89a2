//! A browser without scripts before the panel: pages are asked for, forms are sent as they stand.

use reqwest::{Method, StatusCode};

use crate::operator::{Office, Said};

/// What came back, and where it leads.
#[derive(Debug)]
pub(crate) struct Answered {
    pub(crate) status: u16,
    pub(crate) to: String,
    pub(crate) text: String,
}

pub(crate) async fn post(office: &Office, path: &str, fields: &[(&str, &str)]) -> Answered {
    let body: String = url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs(fields)
        .finish();
    let request = office
        .request(Method::POST, path)
        .header("content-type", "application/x-www-form-urlencoded")
        .header("origin", &office.running.base)
        .header("accept-language", "en")
        .body(body);
    let answer = request.send().await.unwrap();
    let to = answer
        .headers()
        .get("location")
        .map(|to| to.to_str().unwrap().to_owned());
    Answered {
        status: answer.status().as_u16(),
        to: to.unwrap_or_default(),
        text: answer.text().await.unwrap(),
    }
}

/// A page, read in English.
pub(crate) async fn page(office: &Office, path: &str) -> String {
    let said = in_language(office, path, "en").await;
    assert_eq!(said.status, StatusCode::OK, "{path}: {said:?}");
    said.text
}

pub(crate) async fn in_language(office: &Office, path: &str, language: &str) -> Said {
    crate::operator::said(
        office
            .request(Method::GET, path)
            .header("accept-language", language),
    )
    .await
}

/// The value of a hidden field.
pub(crate) fn hidden(page: &str, name: &str) -> String {
    let mark = format!("name=\"{name}\" value=\"");
    let at = page.find(&mark);
    assert!(at.is_some(), "no {name}: {page}");
    let rest = &page[at.unwrap() + mark.len()..];
    rest[..rest.find('"').unwrap()].to_owned()
}
