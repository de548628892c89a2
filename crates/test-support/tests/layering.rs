//! Who may lean on whom. The table below is the one of `docs/ARCHITECTURE.md`; a crate that is not in it is refused.
//!
//! Only what a crate is built with counts: its tests may use `test-support` and `simulator`.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::collections::BTreeSet;

use cargo_metadata::{DependencyKind, Edition, MetadataCommand, Package};

/// Crates of ours that a crate may use, and outside crates (by the beginning of their names) that would surprise a
/// reader in it.
const TABLE: [(&str, &[&str], &[&str]); 16] = [
    (
        "domain",
        &[],
        &["tokio", "diesel", "actix", "reqwest", "lapin", "redis"],
    ),
    (
        "trace-context",
        &[],
        &["diesel", "actix", "reqwest", "lapin", "redis"],
    ),
    (
        "runtime",
        &["trace-context"],
        &["diesel", "actix", "lapin", "redis"],
    ),
    (
        "outbound-url",
        &["runtime"],
        &["diesel", "actix", "lapin", "redis"],
    ),
    ("database", &["domain"], &["lapin", "reqwest", "actix"]),
    (
        "tenant-isolation",
        &["domain", "database"],
        &["lapin", "reqwest", "actix"],
    ),
    (
        "audit-log",
        &["domain", "database", "tenant-isolation"],
        &["lapin", "reqwest", "actix", "redis"],
    ),
    ("cache", &["domain", "tenant-isolation"], &["diesel"]),
    (
        "messaging",
        &["domain", "tenant-isolation", "database", "trace-context"],
        &["actix", "reqwest"],
    ),
    (
        "whatsapp",
        &["domain", "trace-context"],
        &["diesel", "lapin", "actix"],
    ),
    (
        "web",
        &["domain", "tenant-isolation", "runtime", "trace-context"],
        &["diesel", "lapin"],
    ),
    ("console", &[], &["diesel", "lapin", "redis", "reqwest"]),
    (
        "chores",
        &["domain", "database", "tenant-isolation", "messaging", "runtime"],
        &["actix", "diesel", "lapin", "redis"],
    ),
    ("simulator", &[], &["diesel", "lapin"]),
    (
        "test-support",
        &["domain", "database", "tenant-isolation", "messaging", "runtime"],
        &[],
    ),
    // Meets the services as processes.
    ("end-to-end", &[], &["diesel", "actix"]),
];

/// Stand in for the outside world; nothing that runs for real may lean on them.
const FOR_TESTS: [&str; 3] = ["simulator", "test-support", "end-to-end"];

/// A package of the workspace and what it is built with.
struct Member {
    name: String,
    is_service: bool,
    uses: Vec<String>,
}

impl Member {
    fn of(package: &Package) -> Self {
        let built_with = package
            .dependencies
            .iter()
            .filter(|dependency| dependency.kind != DependencyKind::Development);
        Self {
            name: package.name.to_string(),
            is_service: package
                .manifest_path
                .components()
                .any(|part| part.as_str() == "services"),
            uses: built_with.map(|dependency| dependency.name.clone()).collect(),
        }
    }
}

/// Every arrow that runs the wrong way.
fn wrong_arrows(members: &[Member]) -> Vec<String> {
    let ours: BTreeSet<&str> = members.iter().map(|member| member.name.as_str()).collect();
    let services: BTreeSet<&str> = members
        .iter()
        .filter(|member| member.is_service)
        .map(|member| member.name.as_str())
        .collect();
    let mut wrong = Vec::new();
    for member in members {
        let row = TABLE.iter().find(|(name, ..)| *name == member.name);
        if row.is_none() && !member.is_service {
            wrong.push(format!("{} has no place in the table", member.name));
        }
        for used in &member.uses {
            let used = used.as_str();
            let allowed = match row {
                Some((_, friends, _)) if ours.contains(used) => friends.contains(&used),
                Some((_, _, strangers)) => !strangers.iter().any(|stranger| used.starts_with(stranger)),
                None => !services.contains(used) && !FOR_TESTS.contains(&used),
            };
            if !allowed {
                wrong.push(format!("{} -> {used}", member.name));
            }
        }
    }
    wrong
}

/// What every package declares alike.
fn wrong_manifests(packages: &[Package]) -> Vec<String> {
    let mut wrong = Vec::new();
    for package in packages {
        let text = std::fs::read_to_string(&package.manifest_path).unwrap();
        if !opts_into_lints(&text) {
            wrong.push(format!(
                "{} does not opt into the workspace's lints",
                package.name
            ));
        }
        if package.edition != Edition::E2024 {
            wrong.push(format!("{} is not of edition 2024", package.name));
        }
    }
    wrong
}

fn opts_into_lints(manifest: &str) -> bool {
    let mut lines = manifest
        .lines()
        .map(str::trim)
        .skip_while(|line| *line != "[lints]")
        .skip(1)
        .take_while(|line| !line.starts_with('['));
    lines.any(|line| line.replace(' ', "") == "workspace=true")
}

fn workspace() -> Vec<Package> {
    let metadata = MetadataCommand::new().no_deps().exec().unwrap();
    metadata.packages
}

#[test]
fn every_arrow_of_the_workspace_runs_the_right_way() {
    let members: Vec<Member> = workspace().iter().map(Member::of).collect();
    for (name, ..) in TABLE {
        assert!(
            members.iter().any(|member| member.name == name),
            "the table names {name}, which is gone"
        );
    }
    assert_eq!(wrong_arrows(&members), Vec::<String>::new());
}

#[test]
fn every_package_has_the_workspaces_lints_and_edition() {
    assert_eq!(wrong_manifests(&workspace()), Vec::<String>::new());
}

#[test]
fn wrong_arrows_are_seen() {
    let member = |name: &str, is_service, uses: &[&str]| Member {
        name: name.to_owned(),
        is_service,
        uses: uses.iter().map(|used| (*used).to_owned()).collect(),
    };
    let members = [
        member("domain", false, &["serde", "tokio-util"]),
        member("runtime", false, &["domain"]),
        member("database", false, &["domain", "diesel-async", "actix-web"]),
        member("whatsapp", false, &["domain", "reqwest", "database"]),
        member("web", false, &["runtime", "tenant-isolation", "messaging"]),
        member("messaging", false, &["test-support", "lapin"]),
        member("tenant-isolation", false, &["web"]),
        member("simulator", false, &["domain", "actix-web"]),
        member("test-support", false, &["messaging", "one-service"]),
        member("helpers", false, &[]),
        member(
            "one-service",
            true,
            &["web", "messaging", "other-service", "lapin"],
        ),
        member("other-service", true, &["simulator", "whatsapp", "test-support"]),
    ];
    assert_eq!(
        wrong_arrows(&members),
        [
            "domain -> tokio-util",
            "runtime -> domain",
            "database -> actix-web",
            "whatsapp -> database",
            "web -> messaging",
            "messaging -> test-support",
            "tenant-isolation -> web",
            "simulator -> domain",
            "test-support -> one-service",
            "helpers has no place in the table",
            "one-service -> other-service",
            "other-service -> simulator",
            "other-service -> test-support",
        ]
    );
}

#[test]
fn a_manifest_without_lints_is_seen() {
    assert!(opts_into_lints(
        "[package]\nname = \"a\"\n\n[lints]\nworkspace = true\n"
    ));
    assert!(!opts_into_lints("[package]\nname = \"a\"\n"));
    assert!(!opts_into_lints("[lints]\n\n[dependencies]\nworkspace = true\n"));
    assert!(!opts_into_lints("[lints.rust]\nworkspace = true\n"));
}
