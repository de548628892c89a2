//! The services' executables: in the directory the tests run from, and fresh; or where `SERVICE_BINARIES` says.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant, SystemTime};

use tokio::process::Command;
use tokio::sync::OnceCell;

/// The services, by the names of their packages and executables.
pub const SERVICES: [&str; 3] = ["channel-service", "wa-support-gateway", "chatwoot-bridge"];

static DIRECTORY: OnceCell<PathBuf> = OnceCell::const_new();

/// What the services are made of.
const SOURCES: [&str; 5] = ["Cargo.toml", "Cargo.lock", "crates", "services", "migrations"];
/// What is in there and is no part of them.
const NO_PART: [&str; 5] = ["tests", "benches", "simulator", "test-support", "end-to-end"];
/// A file that was saved this long before an executable was linked may have been saved after it was compiled.
const DOUBT: Duration = Duration::from_secs(120);

/// The executable of a service. The first call in a process makes sure that all of them are up to date.
///
/// Those in the directory that `SERVICE_BINARIES` names are taken as they are. Else `cargo test --workspace` has just built them. Cargo is asked only when they are not obviously newer than their
/// sources: with other packages in the command it picks other features, and would build half of the tree once more.
///
/// # Panics
/// When they do not build.
pub async fn binary(service: &str) -> PathBuf {
    DIRECTORY.get_or_init(prepare).await.join(service)
}

async fn prepare() -> PathBuf {
    if let Some(named) = env::var_os("SERVICE_BINARIES") {
        return PathBuf::from(named);
    }
    let directory = profile_directory();
    if SERVICES
        .iter()
        .all(|service| is_fresh(&directory, service) == Some(true))
    {
        eprintln!("the services in {} are up to date", directory.display());
    } else {
        build(&directory).await;
    }
    directory
}

/// Is the executable newer than every source? `None` when that cannot be said, which is no. Cargo's own list of them lies beside
/// the executable after `cargo build` alone.
fn is_fresh(directory: &Path, service: &str) -> Option<bool> {
    let built = saved(&directory.join(service))?;
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut newest = SystemTime::UNIX_EPOCH;
    let mut left: Vec<PathBuf> = SOURCES.iter().map(|name| root.join(name)).collect();
    while let Some(path) = left.pop() {
        if !path.is_dir() {
            newest = newest.max(saved(&path)?);
            continue;
        }
        for entry in std::fs::read_dir(&path).ok()? {
            let entry = entry.ok()?;
            if !NO_PART.iter().any(|name| entry.file_name() == *name) {
                left.push(entry.path());
            }
        }
    }
    Some(newest + DOUBT < built)
}

fn saved(file: &Path) -> Option<SystemTime> {
    std::fs::metadata(file).ok()?.modified().ok()
}

async fn build(directory: &Path) {
    let profile = directory
        .file_name()
        .and_then(|name| name.to_str())
        .expect("the directory is named after the profile");
    let target = directory
        .parent()
        .expect("the profile's directory is in the target directory");
    let cargo = env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let mut command = Command::new(cargo);
    command
        .arg("build")
        .arg("--manifest-path")
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../Cargo.toml"))
        .arg("--target-dir")
        .arg(target)
        // What cargo calls `debug` on disk it calls `dev` on the command line.
        .args(["--profile", if profile == "debug" { "dev" } else { profile }]);
    for service in SERVICES {
        command.args(["-p", service]);
    }
    eprintln!("building {} ({profile}) …", SERVICES.join(", "));
    let started = Instant::now();
    let output = command
        .stdin(Stdio::null())
        .output()
        .await
        .expect("cargo can be run");
    assert!(
        output.status.success(),
        "the services do not build:\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    eprintln!(
        "… up to date after {:.1} s in {}",
        started.elapsed().as_secs_f32(),
        directory.display()
    );
}

/// `target/<profile>`, two above the test's own executable in `target/<profile>/deps`.
fn profile_directory() -> PathBuf {
    let executable = env::current_exe().expect("a process knows its executable");
    executable
        .ancestors()
        .nth(2)
        .expect("a test's executable is in target/<profile>/deps")
        .to_owned()
}
