//! Every migration of the tree: down and up again, as the schema's owner, and over tenants' rows. What a release at work would trip over
//! is looked for in `test-support/tests/migrations`.

use std::path::{Path, PathBuf};

use test_support::TestProcessDatabase;
use tokio_postgres::Client;

use crate::roles::{catalogs, lines, set_up};
use crate::world::{answer, successful};

/// Everything that makes a schema what it is, but for the order of its columns and the numbers of its objects.
async fn described(client: &Client, schema: &str) -> Vec<String> {
    let query = format!(
        "WITH n AS (SELECT '{schema}'::regnamespace AS oid) \
         SELECT concat_ws(' ', 'relation', relname, relkind, relrowsecurity, relforcerowsecurity, relowner::regrole, \
                          (SELECT string_agg(acl::text, ',' ORDER BY acl::text) FROM unnest(relacl) acl)) \
           FROM pg_class, n WHERE relnamespace = n.oid \
         UNION ALL SELECT concat_ws(' ', 'column', a.attrelid::regclass, attname, format_type(atttypid, atttypmod), attnotnull, \
                          attidentity, attgenerated, pg_get_expr(adbin, adrelid)) \
           FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN n ON c.relnamespace = n.oid \
           LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum WHERE attnum > 0 AND NOT attisdropped \
         UNION ALL SELECT concat_ws(' ', 'constraint', conrelid::regclass, conname, convalidated, pg_get_constraintdef(pg_constraint.oid)) \
           FROM pg_constraint, n WHERE connamespace = n.oid \
         UNION ALL SELECT concat_ws(' ', 'index', indexdef) FROM pg_indexes WHERE schemaname = '{schema}' \
         UNION ALL SELECT concat_ws(' ', 'policy', tablename, policyname, permissive, roles, cmd, qual, with_check) \
           FROM pg_policies WHERE schemaname = '{schema}' \
         UNION ALL SELECT concat_ws(' ', 'trigger', pg_get_triggerdef(t.oid)) FROM pg_trigger t \
           JOIN pg_class c ON c.oid = t.tgrelid JOIN n ON c.relnamespace = n.oid WHERE NOT tgisinternal \
         UNION ALL SELECT concat_ws(' ', 'function', proname, proowner::regrole, pg_get_functiondef(pg_proc.oid)) \
           FROM pg_proc, n WHERE pronamespace = n.oid AND prokind <> 'a' \
         ORDER BY 1"
    );
    lines(client, &query).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_migration_goes_down_and_up_again_to_the_same_schema() {
    let database = TestProcessDatabase::create().await;
    let processes = set_up(&database, "down-and-up").await;
    let client = catalogs(&database.admin_url()).await;
    for (schema, process) in &processes {
        let before = described(&client, schema).await;
        assert!(before.len() > 100, "{schema}: {}", before.len());
        let down = ["migrate", "--down", "999", "--confirm", schema];
        successful(process, &process.run(&down, &[]).await);
        let left = format!(
            "SELECT relname::text FROM pg_class WHERE relnamespace = '{schema}'::regnamespace AND relkind <> 'i' \
             UNION ALL SELECT proname::text FROM pg_proc WHERE pronamespace = '{schema}'::regnamespace \
             UNION ALL SELECT typname::text FROM pg_type WHERE typnamespace = '{schema}'::regnamespace AND typtype <> 'c' \
                AND typcategory <> 'A' ORDER BY 1"
        );
        assert_eq!(
            lines(&client, &left).await,
            ["__diesel_schema_migrations", "__migrations_to_know"],
            "{schema}"
        );
        successful(process, &process.run(&["migrate"], &[]).await);
        let after = described(&client, schema).await;
        let lost: Vec<&String> = before.iter().filter(|line| !after.contains(line)).collect();
        let new: Vec<&String> = after.iter().filter(|line| !before.contains(line)).collect();
        assert!(
            lost.is_empty() && new.is_empty(),
            "{schema}: lost {lost:#?}, new {new:#?}"
        );
    }
}

/// A migration runs as the owner, whom forced row-level security binds: what it does to tenants' rows would be done to none.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn migrations_lift_the_rule_from_the_owner_where_they_touch_tenants_rows() {
    let database = TestProcessDatabase::create().await;
    let processes = set_up(&database, "lifted").await;
    let client = catalogs(&database.admin_url()).await;
    let mut forgotten = Vec::new();
    let mut lifted = 0;
    for (schema, _) in &processes {
        let forced = format!(
            "SELECT relname::text FROM pg_class WHERE relnamespace = '{schema}'::regnamespace AND relforcerowsecurity"
        );
        let forced = lines(&client, &forced).await;
        for migration in migrations(schema) {
            for way in ["up.sql", "down.sql"] {
                let text = statements(&migration, way);
                for table in &forced {
                    match touches(&text, table) {
                        Some(true) => lifted += 1,
                        Some(false) => forgotten.push(format!("{}/{way}: {table}", migration.display())),
                        None => {}
                    }
                }
            }
        }
    }
    assert!(forgotten.is_empty(), "{forgotten:#?}");
    assert!(lifted > 10, "{lifted}");
}

/// Are the rows of a table read or written, and if so, is the rule lifted before?
fn touches(text: &str, table: &str) -> Option<bool> {
    let words: Vec<&str> = text
        .split(|c: char| c.is_whitespace() || "(),;".contains(c))
        .filter(|word| !word.is_empty())
        .collect();
    let touched = (1..words.len())
        .find(|&at| words[at] == table && ["UPDATE", "FROM", "INTO", "JOIN"].contains(&words[at - 1]))?;
    let before = words[..touched].join(" ");
    let bound = !before.contains(&format!("CREATE TABLE {table} "))
        || before.contains(&format!("keep_tenants_apart '{table}'"));
    bound.then(|| before.contains(&format!("ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY")))
}

/// The directories of a schema's migrations.
fn migrations(schema: &str) -> Vec<PathBuf> {
    let all = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../migrations")
        .join(schema);
    let found = std::fs::read_dir(all).unwrap();
    found.map(|entry| entry.unwrap().path()).collect()
}

/// One way of a migration without comments and the bodies of functions, which run as whoever calls them; a blank between
/// words.
fn statements(migration: &Path, way: &str) -> String {
    let text = std::fs::read_to_string(migration.join(way)).unwrap();
    let outside = text.split("$$").step_by(2).collect::<Vec<_>>().join(" ");
    let lines = outside.lines().filter_map(|line| line.split("--").next());
    lines
        .flat_map(str::split_whitespace)
        .collect::<Vec<_>>()
        .join(" ")
}

/// What an upgrade does to what people have, done by the role that upgrades: who sees no row changes none, without an error.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_owner_brings_tenants_rows_along() {
    let database = TestProcessDatabase::create().await;
    let mut processes = set_up(&database, "brought-along").await;
    let (schema, mut process) = processes.remove(0);
    let client = catalogs(&database.admin_url()).await;
    // As the owner from here on, who logs in with a password of its own.
    let mut owner = url::Url::parse(process.variable("DATABASE_URL")).unwrap();
    process.set("OWNER_PASSWORD", owner.password().unwrap().to_owned());
    successful(&process, &process.run(&["migrate", "--bootstrap"], &[]).await);
    owner.set_username(&format!("{schema}_owner")).unwrap();
    process.set("MIGRATE_DATABASE_URL", owner.as_str());

    let status = answer(&process, &process.run(&["migrate", "--status"], &[]).await);
    let applied = status["applied"].as_array().unwrap();
    let later = applied
        .iter()
        .filter(|version| version.as_str().unwrap() > "20261121000003");
    let later = later.count().to_string();
    let down = ["migrate", "--down", &later, "--confirm", schema];
    successful(&process, &process.run(&down, &[]).await);
    client
        .batch_execute(
            "SET search_path TO channel; \
             INSERT INTO accounts (tenant_id, id, provider, endpoint, instance_name, token_sealed) \
             VALUES ('desa-a', '00000000-0000-0000-0000-000000000001', 'wa_support', 'main', 'desa-a', 'sealed'); \
             INSERT INTO chats (tenant_id, id, account_id, address, phone, lid, name, last_message_at, last_text) \
             SELECT tenant_id, id, id, '628123@s.whatsapp.net', '628123', '777', 'Ibu Sari', now(), '' FROM accounts; \
             INSERT INTO messages (tenant_id, id, account_id, chat_id, direction, source, provider_message_id, kind, body, content, \
                                   sent_at, status) \
             SELECT tenant_id, id, id, id, 'inbound', 'webhook', 'A', 'text', '', '', '2026-11-21 08:00+00', 'received' FROM accounts",
        )
        .await
        .unwrap();
    successful(&process, &process.run(&["migrate"], &[]).await);
    let brought = "SELECT (last_inbound_at AT TIME ZONE 'UTC')::text FROM chats UNION ALL SELECT concat(lid, ' ', phone) FROM contact_lids \
                   UNION ALL SELECT string_agg(word, ' ' ORDER BY word) FROM chat_words ORDER BY 1";
    assert_eq!(
        lines(&client, brought).await,
        ["2026-11-21 08:00:00", "628123 ibu sari", "777 628123"]
    );
    client
        .batch_execute(&format!("ALTER ROLE {schema}_owner NOLOGIN PASSWORD NULL"))
        .await
        .unwrap();
}
