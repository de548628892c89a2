//! SIGHUP to the real process.

use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Value, json};
use tempfile::TempDir;
use test_support::eventually;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

/// In every secret; no line of the log may hold it.
const SECRET: &str = "s3cret-of-an-endpoint";

struct Running {
    process: Child,
    lines: Arc<Mutex<Vec<Value>>>,
    dir: TempDir,
}

impl Running {
    /// Nothing the service depends on is there: it starts and waits for it.
    async fn start(list: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        write(&dir, list);
        let mut process = Command::new(env!("CARGO_BIN_EXE_channel-service"))
            .env_clear()
            .env("HOST", "127.0.0.1")
            .env("PORT", "0")
            .env("DATABASE_URL", "postgres://u:p@127.0.0.1:9/none")
            .env("REDIS_URL", "redis://127.0.0.1:9")
            .env("RABBITMQ_URL", "amqp://127.0.0.1:9/%2f")
            .env("ENCRYPTION_KEYS", test_support::ENCRYPTION_KEYS)
            .env("INTERNAL_API_KEY", "internal-key-of-the-tests")
            .env("MEDIA_STORAGE_PATH", dir.path().join("uploads"))
            .env("KANAL_ENV_FILE", dir.path().join(".env"))
            .env("LOG_LEVEL", "debug")
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let lines = Arc::new(Mutex::new(Vec::new()));
        let (kept, stderr) = (Arc::clone(&lines), process.stderr.take().unwrap());
        tokio::spawn(async move {
            let mut reading = BufReader::new(stderr).lines();
            while let Ok(Some(line)) = reading.next_line().await {
                assert!(!line.contains(SECRET), "{line}");
                let line = serde_json::from_str(&line).unwrap_or(Value::String(line));
                kept.lock().unwrap_or_else(PoisonError::into_inner).push(line);
            }
        });
        Self { process, lines, dir }
    }

    async fn until(&self, message: &str, count: usize) -> Vec<Value> {
        eventually(&format!("{message} ({count})"), || async {
            let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
            let found: Vec<Value> = lines
                .iter()
                .filter(|line| line["message"] == message)
                .cloned()
                .collect();
            (found.len() >= count).then_some(found)
        })
        .await
    }

    async fn signal(&self, name: &str) {
        let id = self.process.id().unwrap().to_string();
        let killed = Command::new("kill").args(["-s", name, &id]).status().await;
        assert!(killed.unwrap().success());
    }
}

fn write(dir: &TempDir, list: &str) {
    let text = format!("# endpoints\nGATEWAY_KEY='{SECRET}'\nWHATSAPP_ENDPOINTS={list}\n");
    std::fs::write(dir.path().join(".env"), text).unwrap();
}

const FIRST: &str = r#"[
  {
    "name": "Primary",
    "apiUrl": "https://api.example/v1/wa", "apiKey": "$(ENV:GATEWAY_KEY)"
  },
  {"name": "Toko", "provider": "gowa", "apiUrl": "http://gowa.example:3000", "apiKey": "user:s3cret-of-an-endpoint"}
]"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_process_reads_its_endpoints_anew_and_lives_on() {
    const TAKEN: &str = "the endpoints were read anew";
    const REFUSED: &str = "the endpoints were not read anew: those of before stay";
    let mut running = Running::start(FIRST).await;
    let started = running.until("the WhatsApp endpoints are configured", 1).await;
    assert_eq!(started[0]["endpoints"], "Primary, Toko");

    running.signal("HUP").await;
    let taken = running.until(TAKEN, 1).await;
    let of = |line: &Value| json!([line["new"], line["changed"], line["removed"], line["configured"]]);
    assert_eq!(of(&taken[0]), json!(["", "", "", 2]), "nothing changed");

    let changed = FIRST
        .replace("gowa.example", "gowa2.example")
        .replace("Primary", "Utama");
    write(&running.dir, &changed);
    running.signal("HUP").await;
    let taken = running.until(TAKEN, 2).await;
    assert_eq!(of(&taken[1]), json!(["Utama", "Toko", "Primary", 2]));

    write(
        &running.dir,
        &changed.replace("user:", "").replace("Utama", "Desa Utama"),
    );
    running.signal("HUP").await;
    running.until(REFUSED, 1).await;
    let wrong: Vec<Value> = running.until("a setting is wrong", 2).await;
    let places: Vec<&Value> = wrong.iter().map(|line| &line["setting"]).collect();
    assert_eq!(
        places,
        ["WHATSAPP_ENDPOINTS[0].name", "WHATSAPP_ENDPOINTS[1].apiKey"]
    );

    // Whatever else is wrong with the file, the process lives on with what it has, and can be told again.
    std::fs::write(running.dir.path().join(".env"), "WHATSAPP_ENDPOINTS='[").unwrap();
    running.signal("HUP").await;
    running.until(REFUSED, 2).await;
    write(&running.dir, &changed);
    running.signal("HUP").await;
    let taken = running.until(TAKEN, 3).await;
    assert_eq!(
        of(&taken[2]),
        json!(["", "", "", 2]),
        "the table is that of before the mistakes"
    );
    assert_eq!(running.process.try_wait().unwrap(), None);

    running.signal("TERM").await;
    assert!(running.process.wait().await.unwrap().success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_with_mistakes_says_all_of_them_and_no_value() {
    let broken = FIRST
        .replace("$(ENV:GATEWAY_KEY)", "$(ENV:S3CRET)")
        .replace("user:", "")
        .replace("Toko", "primary");
    let mut running = Running::start(&broken).await;
    let status = running.process.wait().await.unwrap();
    assert_eq!(status.code(), Some(78));
    let said = eventually("everything is said", || async {
        let lines = running.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let lines: Vec<&str> = lines.iter().filter_map(Value::as_str).collect();
        (lines.len() >= 4).then(|| lines.join("\n"))
    })
    .await;
    for place in [
        "WHATSAPP_ENDPOINTS[0].apiKey: refers to a variable",
        "WHATSAPP_ENDPOINTS[1].name: differs",
        "WHATSAPP_ENDPOINTS[1].apiKey: must be user:password",
        "3 mistake(s)",
    ] {
        assert!(said.contains(place), "{place}: {said}");
    }
    assert!(!said.to_lowercase().contains("s3cret"), "{said}");
}
