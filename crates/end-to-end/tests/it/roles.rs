//! What the services' roles may do in a database that their own commands set up, asked of Postgres' catalogs; what a service
//! says of a schema that is not its own; and passwords as people have them.

use std::path::PathBuf;

use end_to_end::{Process, SERVICES, free_port};
use test_support::{ENCRYPTION_KEYS, TestProcessDatabase, eventually_within};
use tokio_postgres::{Client, NoTls};

use crate::world::{PATIENCE, successful};

pub(crate) const SCHEMAS: [&str; 3] = ["channel", "wa_support", "chatwoot_bridge"];

pub(crate) fn logs(test: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR"))
        .join("end-to-end")
        .join(test)
}

/// A service that finds its database, and nobody else: neither has to be there for a start.
pub(crate) async fn process(
    service: &'static str,
    schema: &str,
    database: &TestProcessDatabase,
    test: &str,
) -> Process {
    let variables = [
        ("HOST", "127.0.0.1".to_owned()),
        ("PORT", free_port().to_string()),
        ("DATABASE_URL", database.service_url(schema)),
        ("MIGRATE_DATABASE_URL", database.admin_url()),
        ("ENCRYPTION_KEYS", ENCRYPTION_KEYS.to_owned()),
        ("INTERNAL_API_KEY", "end-to-end-internal-key".to_owned()),
        ("REDIS_URL", format!("redis://127.0.0.1:{}", free_port())),
        ("RABBITMQ_URL", format!("amqp://127.0.0.1:{}/%2f", free_port())),
        ("WA_SERVER_URL", format!("http://127.0.0.1:{}", free_port())),
        ("WA_ADMIN_TOKEN", "admin".to_owned()),
    ];
    Process::new(service, &logs(test), variables).await
}

pub(crate) async fn set_up(database: &TestProcessDatabase, test: &str) -> Vec<(&'static str, Process)> {
    let mut processes = Vec::new();
    for (service, schema) in SERVICES.into_iter().zip(SCHEMAS) {
        let process = process(service, schema, database, test).await;
        successful(&process, &process.run(&["migrate", "--bootstrap"], &[]).await);
        processes.push((schema, process));
    }
    processes
}

pub(crate) async fn catalogs(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

pub(crate) async fn lines(client: &Client, query: &str) -> Vec<String> {
    let rows = client.query(query, &[]).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

/// The login roles' names are the installation's choice.
pub(crate) fn login(process: &Process) -> String {
    let url = url::Url::parse(process.variable("DATABASE_URL")).unwrap();
    url.username().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_services_roles_may_do_their_work_and_nothing_else() {
    let database = TestProcessDatabase::create().await;
    let processes = set_up(&database, "roles").await;
    let client = catalogs(&database.admin_url()).await;
    client
        .batch_execute("CREATE TABLE public.others (secret text)")
        .await
        .unwrap();
    for (schema, process) in &processes {
        let login = login(process);
        let all = format!("('{login}', '{schema}_owner', '{schema}_tenant', '{schema}_platform')");
        let known = format!("SELECT rolname::text FROM pg_roles WHERE rolname IN {all}");
        assert_eq!(lines(&client, &known).await.len(), 4, "{schema}");
        // None is powerful, and none may become anybody who is: all that any of them is a member of.
        let powerful = format!(
            "SELECT DISTINCT r.rolname::text FROM pg_roles r JOIN pg_roles u ON pg_has_role(u.oid, r.oid, 'MEMBER') \
              WHERE u.rolname IN {all} AND NOT u.rolsuper \
                AND (r.rolsuper OR r.rolbypassrls OR r.rolcreaterole OR r.rolcreatedb OR r.rolreplication)"
        );
        assert_eq!(lines(&client, &powerful).await, Vec::<String>::new(), "{schema}");
        let members = format!(
            "SELECT concat(u.rolname, ' becomes ', r.rolname) FROM pg_auth_members m JOIN pg_roles r ON r.oid = m.roleid \
             JOIN pg_roles u ON u.oid = m.member WHERE u.rolname IN {all} ORDER BY 1"
        );
        assert_eq!(
            lines(&client, &members).await,
            [
                format!("{login} becomes {schema}_platform"),
                format!("{login} becomes {schema}_tenant")
            ]
        );
        let logins = format!(
            "SELECT rolname::text FROM pg_roles WHERE rolname IN {all} AND rolcanlogin AND NOT rolinherit"
        );
        assert_eq!(lines(&client, &logins).await, [login.as_str()]);

        // The schema and all that is in it is the owner's; the others make nothing, anywhere.
        let owners = format!(
            "SELECT DISTINCT o::regrole::text FROM (SELECT relowner FROM pg_class WHERE relnamespace = '{schema}'::regnamespace \
             UNION SELECT proowner FROM pg_proc WHERE pronamespace = '{schema}'::regnamespace \
             UNION SELECT typowner FROM pg_type WHERE typnamespace = '{schema}'::regnamespace \
             UNION SELECT nspowner FROM pg_namespace WHERE nspname = '{schema}') AS owners (o)"
        );
        assert_eq!(lines(&client, &owners).await, [format!("{schema}_owner")]);
        let makes = format!(
            "SELECT concat(u.rolname, ' in ', n.nspname) FROM pg_roles u, pg_namespace n \
              WHERE u.rolname IN {all} AND has_schema_privilege(u.oid, n.oid, 'CREATE') AND n.nspname !~ '^pg_(toast_)?temp'"
        );
        assert_eq!(
            lines(&client, &makes).await,
            [format!("{schema}_owner in {schema}")]
        );
        let databases = format!(
            "SELECT u.rolname::text FROM pg_roles u WHERE u.rolname IN {all} \
                AND has_database_privilege(u.oid, current_database(), 'CREATE')"
        );
        assert_eq!(lines(&client, &databases).await, Vec::<String>::new());

        // In the others' schemas there is nothing for any of them, nor in public; the login role has nothing even in its own.
        let reaches = format!(
            "SELECT concat(u.rolname, ' ', n.nspname) FROM pg_roles u, pg_namespace n \
              WHERE u.rolname IN {all} AND n.nspname IN ('channel', 'wa_support', 'chatwoot_bridge') \
                AND has_schema_privilege(u.oid, n.oid, 'USAGE') ORDER BY 1"
        );
        assert_eq!(
            lines(&client, &reaches).await,
            ["owner", "platform", "tenant"].map(|role| format!("{schema}_{role} {schema}"))
        );
        let touches = format!(
            "SELECT DISTINCT concat(u.rolname, ' ', c.relnamespace::regnamespace) FROM pg_roles u, pg_class c \
              WHERE u.rolname IN {all} AND c.relkind IN ('r', 'p', 'v', 'm', 'f') \
                AND c.relnamespace::regnamespace::text NOT IN ('pg_catalog', 'information_schema', 'pg_toast') \
                AND (has_table_privilege(u.oid, c.oid, 'SELECT, INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER') \
                     OR has_any_column_privilege(u.oid, c.oid, 'SELECT, INSERT, UPDATE, REFERENCES')) ORDER BY 1"
        );
        assert_eq!(
            lines(&client, &touches).await,
            ["owner", "platform", "tenant"].map(|role| format!("{schema}_{role} {schema}"))
        );
        // And what is granted in the schema is granted to these two, by its owner, without the right to hand it on.
        let granted = format!(
            "SELECT DISTINCT concat(a.grantee::regrole, ' by ', a.grantor::regrole, CASE WHEN a.is_grantable THEN ' onwards' END) \
               FROM pg_class c, aclexplode(c.relacl) a WHERE c.relnamespace = '{schema}'::regnamespace \
                AND a.grantee <> c.relowner ORDER BY 1"
        );
        assert_eq!(
            lines(&client, &granted).await,
            ["platform", "tenant"].map(|role| format!("{schema}_{role} by {schema}_owner"))
        );
        let truncates = format!(
            "SELECT DISTINCT a.privilege_type FROM pg_class c, aclexplode(c.relacl) a \
              WHERE c.relnamespace = '{schema}'::regnamespace AND c.relkind IN ('r', 'p') AND a.grantee <> c.relowner ORDER BY 1"
        );
        assert_eq!(
            lines(&client, &truncates).await,
            ["DELETE", "INSERT", "SELECT", "UPDATE"]
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_says_what_to_do_about_a_schema_that_is_not_its_own() {
    let database = TestProcessDatabase::create().await;
    let mut processes = set_up(&database, "other-schemas").await;
    let client = catalogs(&database.admin_url()).await;
    for (schema, process) in &mut processes {
        // A newer release added something: every start and every readiness is as before.
        let newer =
            format!("INSERT INTO {schema}.__diesel_schema_migrations (version) VALUES ('20991231000001')");
        client.batch_execute(&newer).await.unwrap();
        process.start();
        eventually_within(PATIENCE, "the service is healthy", || async {
            let asked = process.run(&["healthcheck"], &[]).await;
            asked.status.success().then_some(())
        })
        .await;
        // It took something away: nobody sends this one work any more, and it does not start again.
        let contract = format!("INSERT INTO {schema}.__migrations_to_know VALUES ('20991231000001')");
        client.batch_execute(&contract).await.unwrap();
        eventually_within(PATIENCE, "the service is not ready", || async {
            let asked = process.run(&["healthcheck"], &[]).await;
            (!asked.status.success()).then_some(())
        })
        .await;
        process.kill().await;
        refuses(process, "migrate --down").await;

        let forget = format!(
            "DELETE FROM {schema}.__migrations_to_know; \
             DELETE FROM {schema}.__diesel_schema_migrations WHERE version = '20991231000001'"
        );
        client.batch_execute(&forget).await.unwrap();
        let down = ["migrate", "--down", "1", "--confirm", schema];
        successful(process, &process.run(&down, &[]).await);
        refuses(process, "run `migrate`").await;
    }
}

async fn refuses(process: &Process, cure: &str) {
    let output = process.run(&["serve"], &[]).await;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let name = process.service();
    assert_eq!(output.status.code(), Some(65), "{name}: {said}");
    assert!(said.contains(cure), "{name}: {said}");
}

/// What a password manager makes, in an environment and in a file.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_password_has_to_be_encoded_by_hand() {
    let database = TestProcessDatabase::create().await;
    let admin = url::Url::parse(&database.admin_url()).unwrap();
    let client = catalogs(admin.as_str()).await;
    let special: String = (b' '..=b'~')
        .map(char::from)
        .filter(|c| !c.is_ascii_alphanumeric())
        .collect();
    let role = format!("{}_login", admin.path().trim_start_matches('/'));
    let file = std::env::temp_dir().join(&role);
    for (round, (name, password, given)) in [
        ("DATABASE_PASSWORD", format!("a{special}%41"), None),
        (
            "DATABASE_PASSWORD_FILE",
            format!("b{special}\"'\\"),
            Some(file.as_path()),
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let mut variables = vec![
            ("DATABASE_HOST", admin.host_str().unwrap().to_owned()),
            ("DATABASE_PORT", admin.port().unwrap().to_string()),
            ("DATABASE_NAME", admin.path().trim_start_matches('/').to_owned()),
            ("DATABASE_USER", role.clone()),
            ("MIGRATE_DATABASE_USER", admin.username().to_owned()),
            ("MIGRATE_DATABASE_PASSWORD", admin.password().unwrap().to_owned()),
        ];
        variables.push(match given {
            Some(file) => {
                std::fs::write(file, format!("{password}\n")).unwrap();
                (name, file.to_str().unwrap().to_owned())
            }
            None => (name, password.clone()),
        });
        let service = SERVICES[round];
        let mut process = Process::new(service, &logs("passwords"), variables).await;
        successful(&process, &process.run(&["migrate", "--bootstrap"], &[]).await);

        // It opens the door, and behind the door that role may not migrate.
        process.set("MIGRATE_DATABASE_USER", role.as_str());
        process.set("MIGRATE_DATABASE_PASSWORD", password.as_str());
        let output = process.run(&["migrate", "--status"], &[]).await;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains("may not become"), "{said}");
        process.set("MIGRATE_DATABASE_PASSWORD", format!("{password}x"));
        let output = process.run(&["migrate", "--status"], &[]).await;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            !output.status.success() && !said.contains("may not become"),
            "{said}"
        );
        assert!(!said.contains(&special), "{said}");
    }
    let _gone = std::fs::remove_file(&file);
    client
        .batch_execute(&format!("DROP ROLE \"{role}\""))
        .await
        .unwrap();
}
