//! What the scripts of the local stack tell the services.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

const LIST: &str =
    "[\n  {\"name\": \"Toko\", \"provider\": \"gowa\",\n   \"apiKey\": \"u:$(ENV:KEY_OF_TOKO)\"}\n]";

/// What the service's process finds in its environment.
fn environment_of(service: &str) -> BTreeMap<String, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let dir = std::env::temp_dir().join(format!("kanal-dev-stack-{}-{service}", std::process::id()));
    std::fs::create_dir_all(dir.join("run")).unwrap();
    let binary = dir.join(service);
    std::fs::write(&binary, "#!/bin/sh\nexec env -0\n").unwrap();
    std::fs::set_permissions(&binary, std::fs::Permissions::from_mode(0o755)).unwrap();
    let script = r#"set -eu; . "$ROOT/deploy/dev/lib/common.sh"; . "$ROOT/deploy/dev/lib/services.sh"; set +u
        STACK_DIR=$DIR BIN=$DIR; as_service "$SERVICE""#;
    let output = Command::new("bash")
        .args(["-c", script])
        .current_dir(&dir)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap())
        .env("ROOT", &root)
        .env("DIR", &dir)
        .env("SERVICE", service)
        .env("WHATSAPP_ENDPOINTS", LIST)
        .env("KANAL_ENV_FILE", "my.env")
        .env("KEY_OF_TOKO", "rahasia")
        .env("KEY_OF_SOMEBODY", "rahasia lain")
        .output()
        .unwrap();
    std::fs::remove_dir_all(&dir).unwrap();
    let told = String::from_utf8(output.stdout).unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let file = dir.join("my.env").to_str().unwrap().to_owned();
    told.split('\0')
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.replace(&file, "<dir>/my.env")))
        .collect()
}

#[test]
fn channel_service_gets_the_list_of_endpoints_and_what_it_refers_to() {
    let told = environment_of("channel-service");
    let of = |name: &str| told.get(name).map(String::as_str);
    assert_eq!(of("WHATSAPP_ENDPOINTS"), Some(LIST));
    assert_eq!(of("KEY_OF_TOKO"), Some("rahasia"));
    assert_eq!(of("KANAL_ENV_FILE"), Some("<dir>/my.env"));
    assert_eq!((of("KEY_OF_SOMEBODY"), of("SERVICE")), (None, None));
    assert_eq!(of("API_DOCS"), Some("true"), "and its own settings");
}

#[test]
fn other_services_get_nothing_of_it() {
    for service in ["wa-support-gateway", "chatwoot-bridge"] {
        let told = environment_of(service);
        for name in ["WHATSAPP_ENDPOINTS", "KANAL_ENV_FILE", "KEY_OF_TOKO"] {
            assert_eq!(told.get(name), None, "{service} {name}");
        }
    }
}
