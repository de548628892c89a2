//! The style and the scripts. Their address holds a hash of them all, so browsers keep them for a year and a new release
//! is seen at once.

use std::fmt::Write as _;
use std::sync::LazyLock;

use actix_web::http::header::CACHE_CONTROL;
use actix_web::web::{self, ServiceConfig};
use actix_web::{HttpResponse, Responder};
use sha2::{Digest as _, Sha256};

/// The sheets that make `console.css`, in order: what all pages have, then a file for each area.
const SHEETS: &[&str] = &[
    include_str!("../assets/css/console.css"),
    include_str!("../assets/css/setup.css"),
    include_str!("../assets/css/device.css"),
    include_str!("../assets/css/chats.css"),
    include_str!("../assets/css/deliveries.css"),
    include_str!("../assets/css/plot.css"),
    include_str!("../assets/css/panel.css"),
];

struct Asset {
    name: &'static str,
    content_type: &'static str,
    content: String,
}

struct Assets {
    version: String,
    all: [Asset; 5],
}

static ASSETS: LazyLock<Assets> = LazyLock::new(|| {
    const SCRIPT: &str = "text/javascript; charset=utf-8";
    let asset = |name, content_type, content: &str| Asset {
        name,
        content_type,
        content: content.to_owned(),
    };
    let all = [
        asset("console.css", "text/css; charset=utf-8", &SHEETS.join("\n")),
        asset("console.js", SCRIPT, include_str!("../assets/console.js")),
        asset(
            "htmx.min.js",
            SCRIPT,
            include_str!("../assets/vendor/htmx.min.js"),
        ),
        asset(
            "hx-sse.min.js",
            SCRIPT,
            include_str!("../assets/vendor/hx-sse.min.js"),
        ),
        asset("icon.svg", "image/svg+xml", include_str!("../assets/icon.svg")),
    ];
    let mut digest = Sha256::new();
    for asset in &all {
        digest.update(asset.name.as_bytes());
        digest.update(asset.content.as_bytes());
    }
    let mut version = hex::encode(digest.finalize());
    version.truncate(16);
    Assets { version, all }
});

/// Serves the files below `/assets`.
pub fn routes(config: &mut ServiceConfig) {
    config.route("/assets/{version}/{name}", web::get().to(serve));
}

async fn serve(path: web::Path<(String, String)>) -> impl Responder {
    let (version, name) = path.into_inner();
    let Some(asset) = ASSETS.all.iter().find(|asset| asset.name == name) else {
        return HttpResponse::NotFound().finish();
    };
    // While releases take turns, a page of one may ask another for its files: it gets what is there, and does not keep it.
    let kept = match version == ASSETS.version {
        true => "public, max-age=31536000, immutable",
        false => "no-cache",
    };
    HttpResponse::Ok()
        .content_type(asset.content_type)
        .insert_header((CACHE_CONTROL, kept))
        .insert_header(("x-content-type-options", "nosniff"))
        .insert_header(("cross-origin-resource-policy", "same-origin"))
        .body(asset.content.as_str())
}

/// The address of a file, below `base`.
#[must_use]
pub fn url(base: &str, name: &str) -> String {
    let mut url = String::new();
    // Writing into a text cannot fail.
    let _ = write!(url, "{base}/assets/{}/{name}", ASSETS.version);
    url
}

/// How many bytes all files have together: what the first page of a visit loads besides itself.
#[must_use]
pub fn bytes() -> usize {
    ASSETS.all.iter().map(|asset| asset.content.len()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_files_together_leave_room_for_a_page() {
        assert!(bytes() < 100_000, "{} bytes", bytes());
    }

    #[test]
    fn no_file_asks_for_anything_elsewhere() {
        for asset in &ASSETS.all {
            for elsewhere in ["@import", "url(http", "src=\"http", "//cdn"] {
                assert!(!asset.content.contains(elsewhere), "{} {elsewhere}", asset.name);
            }
        }
    }
}
