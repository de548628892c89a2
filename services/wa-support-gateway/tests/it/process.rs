//! The binary as operators run it: migrate, make a session, serve, stop by SIGTERM.

use std::process::{Output, Stdio};

use serde_json::Value;
use test_support::{ENCRYPTION_KEYS, TestProcessDatabase, eventually};
use tokio::io::AsyncReadExt as _;
use tokio::process::{Child, Command};

use crate::support::{ADMIN_TOKEN, FakeWaServer};

pub(crate) struct Process {
    pub(crate) variables: Vec<(&'static str, String)>,
}

impl Process {
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_wa-support-gateway"));
        command
            .env_clear()
            .envs(self.variables.iter().cloned())
            .args(arguments)
            .kill_on_drop(true);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    pub(crate) async fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().await.unwrap()
    }
}

pub(crate) fn stdout(output: &Output) -> String {
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout.clone()).unwrap()
}

async fn terminate(child: &Child) {
    let pid = child.id().unwrap().to_string();
    assert!(
        Command::new("kill")
            .args(["-TERM", &pid])
            .status()
            .await
            .unwrap()
            .success()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn from_an_empty_database_to_an_orderly_end() {
    test_support::install_crypto_provider();
    let (database, wa) = (TestProcessDatabase::create().await, FakeWaServer::start());
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let process = Process {
        variables: vec![
            ("HOST", "127.0.0.1".to_owned()),
            ("PORT", port.to_string()),
            ("LOG_LEVEL", "debug".to_owned()),
            ("DATABASE_URL", database.service_url("wa_support")),
            ("MIGRATE_DATABASE_URL", database.admin_url()),
            ("WA_SERVER_URL", wa.url()),
            ("WA_ADMIN_TOKEN", ADMIN_TOKEN.to_owned()),
            ("REDIS_URL", test_support::redis_url()),
            ("REDIS_PREFIX", test_support::unique_prefix("wa-support")),
            ("ENCRYPTION_KEYS", ENCRYPTION_KEYS.to_owned()),
            ("METRICS_TOKEN", "metrics-s3cret".to_owned()),
        ],
    };
    // One JSON object and nothing else: logs go to standard error.
    let migrated: serde_json::Value =
        serde_json::from_str(&stdout(&process.run(&["migrate"]).await)).unwrap();
    assert_eq!(migrated["schema"], "wa_support");
    assert!(
        !process.run(&["healthcheck"]).await.status.success(),
        "nothing runs yet"
    );

    let create = [
        "session",
        "create",
        "--customer",
        "desa-contoh",
        "--name",
        "desa-contoh",
        "--webhook-url",
    ];
    let create = [&create[..], &["http://127.0.0.1:3001/webhook"]].concat();
    let first: Value = serde_json::from_str(&stdout(&process.run(&create).await)).unwrap();
    let again: Value = serde_json::from_str(&stdout(&process.run(&create).await)).unwrap();
    assert_eq!(
        (&first["created"], &again["created"]),
        (&Value::from(true), &Value::from(false))
    );
    for field in [
        "customer",
        "session_id",
        "session_name",
        "session_token",
        "hmac_key",
    ] {
        assert_eq!(first[field], again[field], "{field}");
        assert!(
            first[field].as_str().is_some_and(|text| !text.is_empty()),
            "{field}"
        );
    }
    let taken = process
        .run(&[
            "session",
            "create",
            "--customer",
            "desa-lain",
            "--name",
            "desa-contoh",
        ])
        .await;
    assert_eq!(taken.status.code(), Some(1));
    let complaint = String::from_utf8(taken.stderr).unwrap();
    assert!(
        complaint.contains("the session name desa-contoh belongs to another customer"),
        "{complaint}"
    );

    let mut child = process.command(&[]).spawn().unwrap();
    // Read all along: a log that nobody reads would hold the process up as soon as the pipe is full.
    let mut stderr = child.stderr.take().unwrap();
    let logs = tokio::spawn(async move {
        let mut logs = String::new();
        stderr.read_to_string(&mut logs).await.unwrap();
        logs
    });
    eventually("it is healthy", || async {
        process.run(&["healthcheck"]).await.status.success().then_some(())
    })
    .await;
    let token = first["session_token"].as_str().unwrap().to_owned();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let base = format!("http://127.0.0.1:{port}");
    let slow = client.post(format!("{base}/v1/wa/chat/send/slow?token={token}&Body=whisper"));
    let slow = tokio::spawn(slow.header("token", &token).body("a-private-whisper").send());
    eventually("the send is on its way", || async {
        wa.seen()
            .iter()
            .any(|seen| seen.target.contains("/chat/send/slow"))
            .then_some(())
    })
    .await;
    let metrics = client
        .get(format!("{base}/metrics"))
        .bearer_auth("metrics-s3cret")
        .send()
        .await
        .unwrap();
    assert_eq!(metrics.status(), 200);
    let refused = client
        .get(format!("{base}/wa/admin/users"))
        .header("token", &token)
        .send()
        .await
        .unwrap();
    assert_eq!(refused.status(), 403);
    let metrics = client
        .get(format!("{base}/metrics"))
        .bearer_auth("metrics-s3cret")
        .send()
        .await
        .unwrap();
    let metrics = metrics.text().await.unwrap();
    assert!(
        metrics.contains("kanal_proxy_requests_total{outcome=\"admin_refused\"} 1"),
        "{metrics}"
    );

    terminate(&child).await;
    let answer = slow.await.unwrap().unwrap();
    assert_eq!(answer.status(), 200);
    let request_id = answer.headers()["x-request-id"].to_str().unwrap().to_owned();
    assert_eq!(answer.json::<Value>().await.unwrap()["data"]["Details"], "Sent");
    let status = child.wait().await.unwrap();
    let logs = logs.await.unwrap();
    assert!(status.success(), "{status}: {logs}");
    let line = logs
        .lines()
        .find(|line| line.contains(&request_id) && line.contains("request done"))
        .unwrap();
    assert!(line.contains("\"tenant\":\"desa-contoh\""), "{line}");
    let hmac_key = first["hmac_key"].as_str().unwrap();
    for secret in [
        token.as_str(),
        hmac_key,
        ADMIN_TOKEN,
        "metrics-s3cret",
        "whisper",
        "AAECAwQFBgcICQoL",
    ] {
        assert!(!logs.contains(secret), "{secret} is in the log");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_settings_end_it_before_a_port_opens() {
    let process = Process {
        variables: vec![("WA_SERVER_URL", "ftp://s3cret@host".to_owned())],
    };
    let output = process.run(&["serve"]).await;
    assert_eq!(output.status.code(), Some(78));
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(
        text.contains("DATABASE_URL") && text.contains("WA_SERVER_URL") && !text.contains("s3cret"),
        "{text}"
    );
    assert_eq!(
        process
            .run(&["session", "create", "--customer", "a", "--name", "b"])
            .await
            .status
            .code(),
        Some(78)
    );

    let table = stdout(&process.run(&["config"]).await);
    assert!(table.starts_with("| variable | default | meaning |"), "{table}");
    assert!(table.contains("| `WA_READ_TIMEOUT_MS` | `130000` |"), "{table}");
}
