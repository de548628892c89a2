//! Taking over the original's customers (contract §13).

use diesel::sql_types::Text;
use diesel_async::{AsyncConnection as _, AsyncPgConnection, RunQueryDsl as _, SimpleAsyncConnection as _};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use test_support::{ENCRYPTION_KEYS, TestProcessDatabase, eventually};

use crate::process::{Process, stdout, terminate};
use crate::support::FakeWaServer;

/// The original's tables, as its ORM makes them.
pub(crate) const TABLES: &str = "
CREATE TABLE wa_service_users (id varchar(64) PRIMARY KEY, source_service varchar(64) NOT NULL,
    customer_api_key varchar(128) NOT NULL, created_by varchar(128), status varchar(32) DEFAULT 'active',
    provider_mapping jsonb, created_at timestamptz, updated_at timestamptz);
CREATE UNIQUE INDEX ON wa_service_users (customer_api_key);
CREATE TABLE wa_user_subscriptions (id bigserial PRIMARY KEY, user_id varchar(64) NOT NULL,
    provider varchar(32) DEFAULT 'genfity-wa', max_sessions bigint DEFAULT 1, max_messages bigint DEFAULT 0,
    expires_at timestamptz NOT NULL, status varchar(16) DEFAULT 'active', created_at timestamptz, updated_at timestamptz);
CREATE TABLE wa_sessions (id bigserial PRIMARY KEY, user_id varchar(64) NOT NULL, provider varchar(32) DEFAULT 'genfity-wa',
    session_id varchar(128) NOT NULL, session_name varchar(255), session_token text, webhook_url text,
    connected boolean DEFAULT false, logged_in boolean DEFAULT false, j_id varchar(255), status varchar(64) DEFAULT 'inactive',
    last_synced_at timestamptz, last_activity_at timestamptz, last_message_sent bigint DEFAULT 0,
    last_message_fail bigint DEFAULT 0, created_at timestamptz, updated_at timestamptz);
CREATE UNIQUE INDEX ON wa_sessions (session_token);
CREATE TABLE wa_session_message_stats (id bigserial PRIMARY KEY, user_id varchar(64) NOT NULL,
    session_id varchar(128) NOT NULL, message_type varchar(64), total_sent bigint DEFAULT 0, total_failed bigint DEFAULT 0,
    last_success_at timestamptz, last_failed_at timestamptz, created_at timestamptz, updated_at timestamptz);
CREATE TABLE wa_session_contacts (id bigserial PRIMARY KEY, user_id varchar(64) NOT NULL, session_id varchar(128) NOT NULL,
    j_id varchar(255) NOT NULL, name varchar(255), phone varchar(64), raw jsonb, last_synced_at timestamptz,
    created_at timestamptz, updated_at timestamptz);
";

/// Three customers that are well, one that is switched off, and everything that no key forbids.
pub(crate) fn rows(key_hash: &str) -> String {
    format!(
        "
INSERT INTO wa_service_users VALUES
    ('desa-a', 'govconnect', '{key_hash}', 'channel', 'active', 'null', '2026-01-02', '2026-01-03'),
    ('desa-b', 'govconnect', '{b}', NULL, 'blocked', NULL, NULL, NULL),
    ('desa-c', 'other', 'plaintext-key', '', 'active', NULL, now(), now()),
    ('desa d', 'other', '{d}', '', 'active', NULL, now(), now()),
    ('desa-e', '', '{e}', '', 'active', NULL, now(), now());
INSERT INTO wa_user_subscriptions (user_id, provider, max_sessions, max_messages, expires_at, status, updated_at) VALUES
    ('desa-a', 'genfity-wa', 1, 0, '2001-01-01', 'expired', '2026-01-09'),
    ('desa-a', 'genfity-wa', 0, -5, '2099-12-31', 'active', '2026-01-05'),
    ('desa-a', NULL, 9, 9, '2099-12-31', 'active', '2026-01-04'),
    ('desa-b', 'genfity-wa', 5000000000, 100, '2001-01-01', 'strange', now()),
    ('desa d', 'genfity-wa', 1, 0, '2099-12-31', 'active', now()),
    ('nobody', 'genfity-wa', 1, 0, '2099-12-31', 'active', now());
INSERT INTO wa_sessions (user_id, session_id, session_name, session_token, webhook_url, connected, logged_in, j_id, status,
        last_message_sent, last_message_fail, updated_at) VALUES
    ('desa-a', 'sid-a', 'desa-a', 'wat_token-of-a', 'https://channel.example.id/webhook', true, true, '62811@s.whatsapp.net', '', 7, 2, '2026-01-05'),
    ('desa-a', 'sid-a', 'desa-a-old', 'wat_older', '', false, false, NULL, 'created', 0, 0, '2026-01-01'),
    ('desa-a', 'sid-a2', 'second', 'wat_second', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
    ('desa-a', 'sid-a3', 'no token', NULL, NULL, false, false, '', '', 0, 0, '2026-01-01'),
    ('desa-a', 'sid-a4', '', 'wat_nameless', NULL, false, false, '', '', 0, 0, '2026-01-01'),
    ('desa-b', 'sid-b', 'desa-a', 'wat_same-name', NULL, false, false, '', '', 0, 0, '2026-01-01'),
    ('nobody', 'sid-n', 'nobody', 'wat_nobody', NULL, false, false, '', '', 0, 0, now());
INSERT INTO wa_session_message_stats (user_id, session_id, message_type, total_sent, total_failed, last_success_at, last_failed_at, created_at) VALUES
    ('desa-a', 'sid-a', 'text', 3, 1, '2026-01-05', '0001-01-01 00:00:00+00', '2026-01-02 18:00:00+00'),
    ('desa-a', 'sid-a', 'text', 2, 0, '2026-01-06', '0001-01-01 00:00:00+00', '2026-01-03 18:00:00+00'),
    ('desa-a', 'sid-a', '../etc', 1, 1, NULL, NULL, '2026-01-02'),
    ('desa-b', 'sid-b', 'text', 1, 1, NULL, NULL, now()),
    ('nobody', 'sid-n', 'text', 1, 1, NULL, NULL, now());
INSERT INTO wa_session_contacts (user_id, session_id, j_id, name, phone, raw, updated_at) VALUES
    ('desa-a', 'sid-a', '6281@s.whatsapp.net', 'Old', '6281', '{{}}', '2026-01-01'),
    ('desa-a', 'sid-a', '6281@s.whatsapp.net', 'New', '6281', '{{\"FullName\": \"New\"}}', '2026-01-02'),
    ('desa-a', 'sid-a', '6282@s.whatsapp.net', NULL, NULL, NULL, NULL),
    ('desa-a', 'sid-none', '6283@s.whatsapp.net', 'Lost', '', '{{}}', now());
INSERT INTO wa_session_contacts (user_id, session_id, j_id, name, phone, raw, updated_at)
    SELECT 'desa-a', 'sid-a2', n || '@s.whatsapp.net', 'Person ' || n, n::text, '{{}}', now() FROM generate_series(1, 4500) n;
",
        b = "b".repeat(64),
        d = "d".repeat(64),
        e = "e".repeat(64),
    )
}

#[derive(diesel::QueryableByName)]
struct TextRow {
    #[diesel(sql_type = Text)]
    text: String,
}

async fn texts(connection: &mut AsyncPgConnection, query: &str) -> Vec<String> {
    let rows: Vec<TextRow> = diesel::sql_query(query).load(connection).await.unwrap();
    rows.into_iter().map(|row| row.text).collect()
}

/// Everything that an import writes, as one text.
async fn state(connection: &mut AsyncPgConnection) -> Vec<String> {
    let mut state = Vec::new();
    for table in [
        "customers",
        "api_keys",
        "subscriptions",
        "sessions",
        "message_usage",
        "contacts",
        "tenant_directory",
    ] {
        let query = format!("SELECT t::text AS text FROM wa_support.{table} t ORDER BY 1");
        state.extend(texts(connection, &query).await);
    }
    state
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn customers_keep_their_keys_and_sessions_and_everything_else_is_told() {
    test_support::install_crypto_provider();
    let (database, wa) = (TestProcessDatabase::create().await, FakeWaServer::start());
    let key = "gwa_a-key-of-the-original-that-nobody-else-knows";
    let mut connection = AsyncPgConnection::establish(&database.admin_url()).await.unwrap();
    connection.batch_execute(TABLES).await.unwrap();
    connection
        .batch_execute(&rows(&hex::encode(Sha256::digest(key))))
        .await
        .unwrap();
    let (process, port) = Process::serving(&database, &wa);
    stdout(&process.run(&["migrate", "--bootstrap"]).await);
    let from = database.admin_url();
    let import = async |more: &[&str]| -> Value {
        let arguments = [&["import", "--from", &from], more].concat();
        serde_json::from_str(&stdout(&process.run(&arguments).await)).unwrap()
    };

    let dry = import(&["--dry-run"]).await;
    assert_eq!(dry["dry_run"], true);
    assert!(
        state(&mut connection).await.is_empty(),
        "a dry run writes nothing"
    );
    let done = import(&[]).await;
    assert_eq!(done["dry_run"], false);
    assert_eq!(
        (&dry["tables"], &dry["skipped"]),
        (&done["tables"], &done["skipped"]),
        "it had told what would be"
    );

    let tables = &done["tables"];
    for (table, read, imported) in [
        ("wa_service_users", 5, 3),
        ("wa_user_subscriptions", 6, 2),
        ("wa_sessions", 7, 2),
        ("wa_session_message_stats", 5, 3),
        ("wa_session_contacts", 4504, 4502),
    ] {
        let counts = &tables[table];
        assert_eq!(
            (&counts["read"], &counts["imported"]),
            (&json!(read), &json!(imported)),
            "{table} {counts}"
        );
        let skipped: i64 = counts["skipped"]
            .as_object()
            .unwrap()
            .values()
            .map(|n| n.as_i64().unwrap())
            .sum();
        assert_eq!(
            imported + skipped,
            read,
            "{table}: every row is accounted for: {counts}"
        );
    }
    let sessions = &tables["wa_sessions"]["skipped"];
    for reason in [
        "another row of this session is newer",
        "another session has its name",
        "it has no token, or no id at the WA server",
        "its name can be no session's name here",
        "its user does not exist",
    ] {
        assert_eq!(sessions[reason], 1, "{reason}: {sessions}");
    }
    assert_eq!(done["without_key"], json!(["desa-c"]));
    let report = done.to_string();
    assert!(
        !report.contains("wat_") && !report.contains("plaintext-key"),
        "no secret is told"
    );

    let subscriptions = texts(
        &mut connection,
        "SELECT concat_ws(' ', tenant_id, status, max_sessions, max_messages, extract(year from expires_at)) AS text \
         FROM wa_support.subscriptions ORDER BY 1",
    )
    .await;
    assert_eq!(
        subscriptions,
        ["desa-a active 1 0 2099", "desa-b inactive 2147483647 100 2001"]
    );
    let customers = texts(
        &mut connection,
        "SELECT concat_ws(' ', tenant_id, status, source_service) AS text FROM wa_support.customers ORDER BY 1",
    )
    .await;
    assert_eq!(
        customers,
        [
            "desa-a active govconnect",
            "desa-b suspended govconnect",
            "desa-c active other"
        ]
    );
    let usage = texts(
        &mut connection,
        "SELECT concat_ws(' ', day, message_type, sent, failed) AS text FROM wa_support.message_usage ORDER BY 1",
    )
    .await;
    assert_eq!(
        usage,
        ["2026-01-02 other 1 1", "2026-01-03 text 5 1"],
        "days of Asia/Jakarta"
    );
    let contacts = texts(
        &mut connection,
        "SELECT concat_ws(' ', jid, name) AS text FROM wa_support.contacts WHERE jid LIKE '628_@%' ORDER BY 1",
    )
    .await;
    assert_eq!(contacts, ["6281@s.whatsapp.net New", "6282@s.whatsapp.net "]);
    let everything = state(&mut connection).await;
    assert!(
        !everything.iter().any(|row| row.contains("wat_")),
        "tokens are sealed"
    );

    // Again: nothing changes, not even what was changed here since.
    connection
        .batch_execute("UPDATE wa_support.subscriptions SET max_messages = 77 WHERE tenant_id = 'desa-a'")
        .await
        .unwrap();
    let before = state(&mut connection).await;
    let again = import(&[]).await;
    assert_eq!(state(&mut connection).await, before);
    for table in [
        "wa_service_users",
        "wa_user_subscriptions",
        "wa_sessions",
        "wa_session_message_stats",
        "wa_session_contacts",
    ] {
        let (now, first) = (&again["tables"][table], &tables[table]);
        assert_eq!(
            (&now["imported"], &now["unchanged"]),
            (&json!(0), &first["imported"]),
            "{table}"
        );
        assert_eq!(now["skipped"], first["skipped"], "{table}");
    }

    // The WA server signs with a key of ours from the first sweep on.
    wa.add_user(json!({
        "id": "sid-a", "name": "desa-a", "token": "wat_token-of-a", "events": "All",
        "webhook": "https://channel.example.id/webhook",
    }));
    stdout(&process.run(&["session", "reconcile"]).await);
    assert!(wa.hmac_key_of("sid-a").len() >= 32);

    // The customer goes on with its key and its token, and the WA server gets the very same token.
    let mut child = process
        .command(&[])
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    eventually("it is healthy", || async {
        process.run(&["healthcheck"]).await.status.success().then_some(())
    })
    .await;
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let base = format!("http://127.0.0.1:{port}");
    let me = client
        .get(format!("{base}/v1/me"))
        .header("x-api-key", key)
        .send()
        .await
        .unwrap();
    assert_eq!(me.json::<Value>().await.unwrap()["user"]["id"], "desa-a");
    let status = client
        .get(format!("{base}/wa/session/status"))
        .header("token", "wat_token-of-a");
    let status: Value = status.send().await.unwrap().json().await.unwrap();
    assert_eq!(status["data"]["token"], "wat_token-of-a");
    terminate(&child).await;
    assert!(child.wait().await.unwrap().success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_originals_tables_it_says_so() {
    let database = TestProcessDatabase::create().await;
    let process = Process {
        variables: vec![
            ("DATABASE_URL", database.service_url("wa_support")),
            ("MIGRATE_DATABASE_URL", database.admin_url()),
            ("ENCRYPTION_KEYS", ENCRYPTION_KEYS.to_owned()),
        ],
    };
    stdout(&process.run(&["migrate", "--bootstrap"]).await);
    for (arguments, complaint) in [
        (vec!["import"], "say where the original's tables are"),
        (
            vec!["import", "--from", &database.admin_url()],
            "the original's tables cannot be read",
        ),
    ] {
        let output = process.run(&arguments).await;
        assert_eq!(output.status.code(), Some(1));
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(text.contains(complaint), "{text}");
    }
}
