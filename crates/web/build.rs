//! Takes the two files of Swagger UI that the page of a document needs out of their archive, and packs each as browsers
//! read it: an eighth of what they would take in every binary.

use std::error::Error;
use std::fs::File;
use std::io::{Cursor, copy};
use std::path::PathBuf;

use flate2::Compression;
use flate2::write::GzEncoder;
use utoipa_swagger_ui_vendored::SWAGGER_UI_VENDORED;
use zip::ZipArchive;

const FILES: [&str; 2] = ["swagger-ui-bundle.js", "swagger-ui.css"];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    let mut archive = ZipArchive::new(Cursor::new(SWAGGER_UI_VENDORED))?;
    for file in FILES {
        let end = format!("/dist/{file}");
        let name = archive
            .file_names()
            .flatten()
            .find(|name| name.ends_with(&end))
            .ok_or(format!("Swagger UI has no {file}"))?
            .into_owned();
        let mut packed = GzEncoder::new(File::create(out.join(format!("{file}.gz")))?, Compression::best());
        copy(&mut archive.by_name(&name)?, &mut packed)?;
        packed.finish()?;
    }
    Ok(())
}
