//! The README's configuration tables are what the services print.

use std::path::PathBuf;

use end_to_end::{Process, SERVICES};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_readme_shows_every_setting_of_every_service() {
    let readme = include_str!("../../../../README.md");
    let logs = PathBuf::from(env!("CARGO_TARGET_TMPDIR"))
        .join("end-to-end")
        .join("readme");
    for service in SERVICES {
        let nothing: [(&'static str, String); 0] = [];
        let process = Process::new(service, &logs, nothing).await;
        let printed = process.run(&["config"], &[]).await;
        let table = String::from_utf8(printed.stdout).unwrap();
        let (_, after) = readme
            .split_once(&format!("<!-- config: {service} -->"))
            .unwrap_or_else(|| panic!("the README has no place for {service}"));
        let (shown, _) = after.split_once("<!-- /config -->").unwrap();
        assert_eq!(
            shown.trim(),
            table.trim(),
            "the README's table of {service} is not what `{service} config` prints: paste it in"
        );
    }
}
