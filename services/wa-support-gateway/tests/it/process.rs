//! The binary as operators run it: migrate, make a session, serve, stop by SIGTERM.

use std::process::{Output, Stdio};

use diesel_async::{AsyncConnection as _, AsyncPgConnection, SimpleAsyncConnection as _};
use serde_json::{Value, json};
use test_support::{ENCRYPTION_KEYS, TestProcessDatabase, eventually};
use tokio::io::AsyncReadExt as _;
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;

use crate::support::{ADMIN_TOKEN, FakeWaServer, Fault, new_owner};

pub(crate) struct Process {
    pub(crate) variables: Vec<(&'static str, String)>,
}

impl Process {
    /// The service in this database, in front of this WA server; and its port.
    pub(crate) fn serving(database: &TestProcessDatabase, wa: &FakeWaServer) -> (Self, u16) {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let variables = vec![
            ("HOST", "127.0.0.1".to_owned()),
            ("PORT", port.to_string()),
            ("DATABASE_URL", database.service_url("wa_support")),
            ("MIGRATE_DATABASE_URL", database.admin_url()),
            ("WA_SERVER_URL", wa.url()),
            ("WA_ADMIN_TOKEN", ADMIN_TOKEN.to_owned()),
            ("REDIS_URL", test_support::redis_url()),
            ("REDIS_PREFIX", test_support::unique_prefix("wa-support")),
            ("ENCRYPTION_KEYS", ENCRYPTION_KEYS.to_owned()),
        ];
        (Self { variables }, port)
    }

    /// The same with another variable.
    pub(crate) fn with(mut self, name: &'static str, value: &str) -> Self {
        self.variables.push((name, value.to_owned()));
        self
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
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

    /// What it prints, which is JSON.
    pub(crate) async fn json(&self, arguments: &[&str]) -> Value {
        let output: Output = self.command(arguments).output().await.unwrap();
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{arguments:?}: {errors}");
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// Starts it and waits until it is healthy; with what it logs until its end.
    pub(crate) async fn serve(&self) -> (Child, JoinHandle<String>) {
        let mut child = self.command(&["serve"]).spawn().unwrap();
        let mut errors = child.stderr.take().unwrap();
        let logs = tokio::spawn(async move {
            let mut logs = String::new();
            errors.read_to_string(&mut logs).await.unwrap();
            logs
        });
        eventually("it is healthy", || async {
            let output = self.command(&["healthcheck"]).output().await.unwrap();
            output.status.success().then_some(())
        })
        .await;
        (child, logs)
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

pub(crate) async fn terminate(child: &Child) {
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
    let (process, port) = Process::serving(&database, &wa);
    let process = process
        .with("LOG_LEVEL", "debug")
        .with("METRICS_TOKEN", "metrics-s3cret");
    // One JSON object and nothing else: logs go to standard error.
    let migrated: serde_json::Value =
        serde_json::from_str(&stdout(&process.run(&["migrate", "--bootstrap"]).await)).unwrap();
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

    let listed: Value = serde_json::from_str(&stdout(&process.run(&["session", "list"]).await)).unwrap();
    assert_eq!(
        (&listed["session_id"], &listed["phase"], &listed["customer"]),
        (
            &first["session_id"],
            &Value::from("ready"),
            &Value::from("desa-contoh")
        )
    );
    let nobodys = process.run(&["session", "list", "--customer", "desa-lain"]).await;
    assert_eq!(stdout(&nobodys), "");
    let report: Value = serde_json::from_str(&stdout(
        &process.run(&["session", "reconcile", "--dry-run"]).await,
    ))
    .unwrap();
    assert_eq!(
        (&report["missing"], &report["mended"]),
        (&serde_json::json!([]), &Value::from(0))
    );
    let sealed: Value = serde_json::from_str(&stdout(&process.run(&["key", "reencrypt"]).await)).unwrap();
    assert_eq!(
        sealed["kinds"]["sessions.token_sealed"]["resealed"], 0,
        "there is one key only"
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

/// A customer's own calls, with everything that goes wrong in them, leave no secret in the log.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_customers_calls_leave_no_secret_in_the_log() {
    test_support::install_crypto_provider();
    let (database, wa) = (TestProcessDatabase::create().await, FakeWaServer::start());
    let (process, port) = Process::serving(&database, &wa);
    let process = process.with("LOG_LEVEL", "debug");
    stdout(&process.run(&["migrate", "--bootstrap"]).await);
    let (owner, statements) = new_owner("desa-a", 1);
    let mut admin = AsyncPgConnection::establish(&database.admin_url()).await.unwrap();
    let statements = format!("SET search_path TO wa_support; {statements}");
    admin.batch_execute(&statements).await.unwrap();
    drop(admin);

    let mut child = process.command(&[]).spawn().unwrap();
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
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let ask = |method: reqwest::Method, path: String, body: Value| {
        let call = client
            .request(method, format!("http://127.0.0.1:{port}/v1/sessions{path}"))
            .header("x-api-key", &owner.key);
        async move {
            let answer = call.json(&body).send().await.unwrap();
            (answer.status().as_u16(), answer.json::<Value>().await.unwrap())
        }
    };
    use reqwest::Method;
    let key = "a-customers-own-key-of-32-characters-or-more";
    let new = json!({"session_name": "desa-a", "hmac_key": key, "webhook_url": "https://hook.invalid/?secret=in-the-url"});
    wa.fail("POST", "/admin/users", Fault::Status(500), 1);
    assert_eq!(ask(Method::POST, String::new(), new.clone()).await.0, 502);
    let (status, made) = ask(Method::POST, String::new(), new).await;
    assert_eq!(status, 201);
    let token = made["session"]["session_token"].as_str().unwrap().to_owned();
    let own_key = wa.user("desa-a")["hmacKey"].as_str().unwrap().to_owned();
    let id = made["session"]["session_id"].as_str().unwrap().to_owned();
    wa.fail("PUT", "/webhook", Fault::Garbage, 1);
    let (status, _) = ask(Method::PUT, format!("/{id}/settings"), json!({"events": "QR"})).await;
    assert_eq!(status, 502);
    let connect = client.post(format!("http://127.0.0.1:{port}/wa/session/connect"));
    let connect = connect.header("token", &token).body("{}").send().await.unwrap();
    assert_eq!(connect.status(), 200);
    eventually("the WA server is told of it all", || async {
        wa.calls()
            .iter()
            .any(|call| call == "POST /session/s3/config")
            .then_some(())
    })
    .await;
    wa.fail("DELETE", "/admin/users", Fault::Status(401), 1);
    assert_eq!(ask(Method::DELETE, format!("/{id}"), Value::Null).await.0, 502);
    assert_eq!(ask(Method::DELETE, format!("/{id}"), Value::Null).await.0, 200);

    terminate(&child).await;
    assert!(child.wait().await.unwrap().success());
    let logs = logs.await.unwrap();
    assert!(
        logs.contains("the WA server did not do what it was asked for"),
        "{logs}"
    );
    for secret in [&token, &own_key, key, &owner.key, ADMIN_TOKEN, "in-the-url"] {
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
