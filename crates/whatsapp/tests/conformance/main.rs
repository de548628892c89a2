//! One table of what the port promises, held against every provider: see `docs/PROVIDERS.md`.
//!
//! A row is done in a world of its own, which is the provider's imitation in the simulator, and what comes of it is
//! compared in words. Where a provider does something else, it says so in its list of deviations, and that list is held
//! against it, too.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a case that cannot go on fails under its name"
)]

mod breaking;
mod cases;
mod cloud;
mod deviations;
mod genfity;
mod gowa;
mod hooks;
mod provider;
mod receiver;
mod receiving;
mod run;
mod sending;
mod sessions;
mod troubles;
mod words;
mod world;

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use simulator::WebhookFormat;

use cases::Case;
use provider::ProviderUnderTest;

/// Cases at the same time.
const AT_ONCE: usize = 4;
/// Longest time of one case.
const PATIENCE: Duration = Duration::from_secs(120);

static GENFITY_FORM: genfity::Genfity = genfity::Genfity(WebhookFormat::Form);
static GENFITY_JSON: genfity::Genfity = genfity::Genfity(WebhookFormat::Json);
static GOWA: gowa::Gowa = gowa::Gowa;
static CLOUD: cloud::Cloud = cloud::Cloud;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn genfity_in_form_mode() {
    hold(&GENFITY_FORM, cases::all()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn genfity_in_json_mode() {
    hold(&GENFITY_JSON, cases::incoming()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gowa() {
    hold(&GOWA, cases::all()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cloud() {
    hold(&CLOUD, cases::outgoing()).await;
}

#[test]
fn the_table_names_every_case_once_and_deviations_name_cases() {
    let mut names = BTreeSet::new();
    for case in cases::all() {
        assert!(names.insert(case.name), "two cases are called {}", case.name);
    }
    assert!(names.len() >= 60, "{} cases", names.len());
    let providers: [&dyn ProviderUnderTest; 4] = [&GENFITY_FORM, &GENFITY_JSON, &GOWA, &CLOUD];
    for provider in providers {
        let mut seen = BTreeSet::new();
        for deviation in provider.deviations() {
            let (name, case) = (provider.name(), deviation.case);
            assert!(names.contains(case), "{name}: there is no case {case:?}");
            assert!(seen.insert(case), "{name}: {case:?} stands there twice");
            assert!(!deviation.why.is_empty(), "{name}: {case:?} has no reason");
        }
    }
}

/// Holds rows against a provider, and lists everything that does not fit.
async fn hold(provider: &'static dyn ProviderUnderTest, cases: Vec<Case>) {
    // Another test of this process may have been first.
    rustls::crypto::ring::default_provider().install_default().ok();
    let only = std::env::var("CASE").ok();
    let chosen = cases
        .into_iter()
        .filter(|case| only.as_ref().is_none_or(|only| case.name == only));
    let failures: Vec<String> = stream::iter(chosen)
        .map(|case| judge(provider, case))
        .buffer_unordered(AT_ONCE)
        .filter_map(async |failure| failure)
        .collect()
        .await;
    assert!(
        failures.is_empty(),
        "{}: {} cases do not fit\n{}",
        provider.name(),
        failures.len(),
        failures.join("\n")
    );
}

/// What does not fit about a case.
async fn judge(provider: &'static dyn ProviderUnderTest, case: Case) -> Option<String> {
    let Case { name, does, expect } = case;
    let deviation = provider
        .deviations()
        .iter()
        .find(|deviation| deviation.case == name);
    // In a task of its own, so that a case that panics fails alone.
    let running =
        tokio::spawn(async move { tokio::time::timeout(PATIENCE, run::run(provider, &does)).await });
    let came = match running.await {
        Ok(Ok(came)) => came,
        Ok(Err(_)) => "it did not end".to_owned(),
        Err(broken) => format!("it broke off: {broken}"),
    };
    match deviation {
        None if came == expect => None,
        None => Some(format!("  {name}\n    expected  {expect}\n    came      {came}")),
        Some(_) if came == expect => Some(format!("  {name}\n    needs no deviation: {came}")),
        Some(deviation) if came == deviation.instead => None,
        Some(deviation) => Some(format!(
            "  {name}\n    expected  {expect}\n    deviation {}\n    came      {came}",
            deviation.instead
        )),
    }
}
