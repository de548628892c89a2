//! The pages that show a service's OpenAPI document to people: Swagger UI, from our own address alone.

use actix_web::HttpResponse;
use actix_web::http::header::{CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use actix_web::web::{self, ServiceConfig};

/// A file of the page. What is packed is given out as it is: every browser reads it.
struct File {
    path: &'static str,
    kind: &'static str,
    body: &'static [u8],
    is_packed: bool,
}

const FILES: [File; 4] = [
    File {
        path: "/api-docs/",
        kind: "text/html; charset=utf-8",
        body: include_bytes!("viewer/index.html"),
        is_packed: false,
    },
    File {
        path: "/api-docs/begin.js",
        kind: "text/javascript; charset=utf-8",
        body: include_bytes!("viewer/begin.js"),
        is_packed: false,
    },
    File {
        path: "/api-docs/swagger-ui-bundle.js",
        kind: "text/javascript; charset=utf-8",
        body: include_bytes!(concat!(env!("OUT_DIR"), "/swagger-ui-bundle.js.gz")),
        is_packed: true,
    },
    File {
        path: "/api-docs/swagger-ui.css",
        kind: "text/css; charset=utf-8",
        body: include_bytes!(concat!(env!("OUT_DIR"), "/swagger-ui.css.gz")),
        is_packed: true,
    },
];

/// Nothing from elsewhere. Swagger UI writes styles into its elements and carries small pictures along.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
     connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Adds the pages under `/api-docs/`, which read the document at `/api-docs.json`.
pub fn viewer(config: &mut ServiceConfig) {
    for file in &FILES {
        config.route(file.path, web::get().to(move || async move { answer(file) }));
    }
}

fn answer(file: &File) -> HttpResponse {
    let mut response = HttpResponse::Ok();
    response
        .insert_header((CONTENT_TYPE, file.kind))
        .insert_header((CONTENT_SECURITY_POLICY, POLICY))
        .insert_header(("x-content-type-options", "nosniff"));
    if file.is_packed {
        response.insert_header((CONTENT_ENCODING, "gzip"));
    }
    response.body(file.body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_finds_every_file_it_names_and_none_elsewhere() {
        let page = std::str::from_utf8(FILES[0].body).unwrap();
        let named: Vec<_> = page
            .split(['"'])
            .collect::<Vec<_>>()
            .chunks_exact(2)
            .filter(|pair| pair[0].ends_with("src=") || pair[0].ends_with("href="))
            .map(|pair| pair[1])
            .filter(|name| *name != "data:,")
            .collect();
        assert_eq!(named.len(), FILES.len() - 1, "{named:?}");
        for name in named {
            let path = format!("/api-docs/{name}");
            let file = FILES.iter().find(|file| file.path == path).expect(name);
            assert_eq!(file.is_packed, file.body.starts_with(&[0x1f, 0x8b]), "{name}");
        }
    }
}
