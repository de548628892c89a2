//! What is looked at on every page: by axe-core in both themes, whether it fits a phone, and pictures of it for people.

use std::path::PathBuf;

use base64::Engine as _;
use serde_json::{Value, json};

use crate::browser::devtools;
use crate::page::Page;

const THEMES: [&str; 2] = ["light", "dark"];
/// Name, width and height.
const SIZES: [(&str, u32, u32); 2] = [("wide", 1280, 800), ("phone", 390, 844)];
/// The narrowest phone on which pages have to work.
const NARROWEST: u32 = 360;
/// A picture is at most this many heights of the screen long.
const LONGEST: u32 = 3;

/// What axe-core may find before anybody has to act: `minor` and `moderate` are advice.
const GRAVE: [&str; 2] = ["serious", "critical"];

impl Page {
    /// Fails when the current page is hard to use for somebody, does not fit, or the browser complained on the way to it.
    /// Keeps pictures of it when `SCREENSHOTS` is set.
    pub(crate) async fn is_sound(&self, name: &str) {
        self.is_clean().await;
        for theme in THEMES {
            self.looks(theme, SIZES[0]).await;
            self.is_accessible(name, theme).await;
            for size in SIZES {
                self.looks(theme, size).await;
                self.keep_picture(name, theme, size).await;
            }
        }
        self.looks(THEMES[0], ("narrow", NARROWEST, 740)).await;
        self.fits(name).await;
        devtools(&self.client, "Emulation.clearDeviceMetricsOverride", json!({})).await;
        self.is_clean().await;
    }

    async fn looks(&self, theme: &str, (_, width, height): (&str, u32, u32)) {
        let features = json!([
            {"name": "prefers-color-scheme", "value": theme},
            {"name": "prefers-reduced-motion", "value": "reduce"},
        ]);
        devtools(
            &self.client,
            "Emulation.setEmulatedMedia",
            json!({"features": features}),
        )
        .await;
        let metrics = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false});
        devtools(&self.client, "Emulation.setDeviceMetricsOverride", metrics).await;
    }

    async fn is_accessible(&self, name: &str, theme: &str) {
        let Some(axe) = std::env::var_os("AXE_CORE").filter(|file| !file.is_empty()) else {
            eprintln!("{name}: axe-core is not there (AXE_CORE), so nobody looks for barriers");
            return;
        };
        let loaded = self
            .client
            .execute("return typeof axe === 'object'", vec![])
            .await;
        if loaded.unwrap() != json!(true) {
            let script = std::fs::read_to_string(axe).unwrap();
            self.client.execute(&script, vec![]).await.unwrap();
        }
        let run = "const done = arguments[arguments.length - 1]; \
            axe.run(document, {resultTypes: ['violations']}).then( \
                found => done(found.violations), \
                error => done([{impact: 'critical', id: 'axe', help: String(error), nodes: []}]))";
        let found = self.client.execute_async(run, vec![]).await.unwrap();
        let grave: Vec<String> = found
            .as_array()
            .unwrap()
            .iter()
            .filter(|finding| {
                let impact = finding["impact"].as_str().unwrap_or_default();
                GRAVE.contains(&impact)
            })
            .map(described)
            .collect();
        assert!(
            grave.is_empty(),
            "{name} ({theme}) has barriers:\n{}",
            grave.join("\n")
        );
    }

    /// Nothing sticks out to the right of a small screen.
    async fn fits(&self, name: &str) {
        let script = "const width = document.documentElement.clientWidth; \
            const reachable = element => { for (let e = element.parentElement; e; e = e.parentElement) { \
                if (['auto', 'scroll', 'hidden', 'clip'].includes(getComputedStyle(e).overflowX)) return true; } \
                return false; }; \
            if (document.scrollingElement.scrollWidth <= width + 1) return []; \
            return [...document.body.querySelectorAll('*')] \
                .filter(e => e.getBoundingClientRect().right > width + 1 && !reachable(e)) \
                .slice(0, 5).map(e => e.outerHTML.slice(0, 200))";
        let sticks_out = self.client.execute(script, vec![]).await.unwrap();
        assert_eq!(sticks_out, json!([]), "{name} does not fit {NARROWEST} px");
    }

    async fn keep_picture(&self, name: &str, theme: &str, (size, width, height): (&str, u32, u32)) {
        if std::env::var_os("SCREENSHOTS").is_none() {
            return;
        }
        let script = "return Math.ceil(document.documentElement.scrollHeight)";
        let whole = self.client.execute(script, vec![]).await.unwrap();
        let whole = u32::try_from(whole.as_u64().unwrap()).unwrap();
        let clip = json!({
            "x": 0, "y": 0, "width": width, "height": whole.clamp(height, height * LONGEST), "scale": 1,
        });
        let parameters = json!({"format": "png", "captureBeyondViewport": true, "clip": clip});
        let taken = devtools(&self.client, "Page.captureScreenshot", parameters).await;
        let png = base64::engine::general_purpose::STANDARD
            .decode(taken["data"].as_str().unwrap())
            .unwrap();
        let directory = pictures();
        std::fs::create_dir_all(&directory).unwrap();
        std::fs::write(directory.join(format!("{name}-{theme}-{size}.png")), png).unwrap();
    }
}

/// `target/screenshots`, unless said otherwise.
pub(crate) fn pictures() -> PathBuf {
    std::env::var_os("SCREENSHOTS")
        .filter(|directory| !directory.is_empty())
        .map_or_else(
            || PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("../screenshots"),
            PathBuf::from,
        )
}

fn described(finding: &Value) -> String {
    let places: Vec<String> = finding["nodes"]
        .as_array()
        .into_iter()
        .flatten()
        .take(5)
        .map(|node| {
            format!(
                "    {}\n      {}",
                node["target"],
                node["html"].as_str().unwrap_or_default()
            )
        })
        .collect();
    format!(
        "  {} ({}): {}\n{}",
        finding["id"].as_str().unwrap_or_default(),
        finding["impact"].as_str().unwrap_or_default(),
        finding["help"].as_str().unwrap_or_default(),
        places.join("\n")
    )
}
