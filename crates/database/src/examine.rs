//! Postgres as an operator wants to know it: reachable, recent enough, with the schema that this build was made for.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use diesel::migration::MigrationSource;
use diesel::pg::Pg;
use diesel_migrations::EmbeddedMigrations;
use domain::check::Check;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Error};

use crate::tls::Trouble;
use crate::{DatabaseUrl, SchemaNames, quote_identifier};

/// Views that respect the reader's rights are the youngest thing that the migrations use.
const OLDEST: i32 = 150_000;

const SUBJECT: &str = "postgres";
const MIGRATIONS: &str = "migrations";

/// Looks at the server and the schema. Changes nothing. `admin` may be another way in, for what the service's own role
/// must not read.
pub async fn examine(
    url: &DatabaseUrl,
    admin: Option<&DatabaseUrl>,
    names: &SchemaNames,
    migrations: &EmbeddedMigrations,
) -> Vec<Check> {
    let client = match connect(url).await {
        Ok(client) => client,
        Err(error) => return vec![refused(url, &error)],
    };
    let mut checks = server(&client).await;
    checks.push(encryption(url));
    checks.extend(schema(&client, url, names).await);
    checks.push(match applied(&client, admin, names).await {
        Some(applied) => compare(&applied, migrations),
        None => Check::skipped(
            MIGRATIONS,
            format!(
                "{} may not read which have run; with MIGRATE_DATABASE_URL set it can be told",
                url.user()
            ),
        ),
    });
    checks
}

async fn connect(url: &DatabaseUrl) -> Result<Client, Error> {
    let mut options = url.options()?;
    options
        .application_name("kanal doctor")
        .connect_timeout(Duration::from_secs(5));
    let (client, connection) = url.connect(options).await?;
    tokio::spawn(connection);
    client
        .batch_execute("SET statement_timeout = '5s'; SET default_transaction_read_only = on")
        .await?;
    Ok(client)
}

/// The driver's words stay out: they quote what the server says.
fn refused(url: &DatabaseUrl, error: &Error) -> Check {
    if let Some(trouble) = Trouble::of(error) {
        return not_encrypted(trouble);
    }
    let user = url.user();
    let code = error.code();
    if code == Some(&SqlState::INVALID_AUTHORIZATION_SPECIFICATION) && !url.is_encrypted() {
        return Check::wrong(
            SUBJECT,
            format!("does not let {user} in without TLS, or not at all"),
            "put sslmode=verify-full into DATABASE_URL (DATABASE_SSLMODE), and compare its user; `migrate` makes the role \
             where it is missing",
        );
    }
    if code == Some(&SqlState::INVALID_PASSWORD)
        || code == Some(&SqlState::INVALID_AUTHORIZATION_SPECIFICATION)
    {
        return Check::wrong(
            SUBJECT,
            format!("does not let {user} in"),
            "compare user and password of DATABASE_URL; `migrate` makes the role where it is missing",
        );
    }
    if code == Some(&SqlState::INVALID_CATALOG_NAME) {
        return Check::wrong(
            SUBJECT,
            "has no database of the name in DATABASE_URL",
            "make the database, or correct the name, then run `migrate`",
        );
    }
    if code == Some(&SqlState::TOO_MANY_CONNECTIONS) {
        return Check::wrong(
            SUBJECT,
            "has no connection to spare",
            "lower DATABASE_POOL_SIZE of the services, or raise max_connections",
        );
    }
    let found = match code {
        Some(code) => format!("refuses (SQLSTATE {})", code.code()),
        None => "cannot be reached".to_owned(),
    };
    Check::wrong(
        SUBJECT,
        found,
        "is it running, and do host, port and firewall fit DATABASE_URL?",
    )
}

fn not_encrypted(trouble: Trouble) -> Check {
    let (found, cure) = match trouble {
        Trouble::NotSpoken => (
            "speaks no TLS, which DATABASE_URL asks for",
            "let it (ssl = on); sslmode=disable is for a server on this machine or behind a tunnel that encrypts",
        ),
        Trouble::UnknownAuthority => (
            "shows a certificate of an authority that is not trusted",
            "name the file with the authority's certificate in sslrootcert (DATABASE_SSLROOTCERT)",
        ),
        Trouble::OtherName => (
            "shows a certificate of another host",
            "let DATABASE_URL name the host as its certificate does (subjectAltName), or have one made for this name",
        ),
        Trouble::OutOfTime => (
            "shows a certificate that is not valid now",
            "renew it, or set this machine's clock",
        ),
        Trouble::Handshake => (
            "breaks off while TLS begins, or shows a certificate that cannot be checked",
            "look into its log; a certificate that signs itself is refused: have an authority and a certificate of its own",
        ),
    };
    Check::wrong(SUBJECT, found, cure)
}

/// Connections are as the URL says, or there are none.
fn encryption(url: &DatabaseUrl) -> Check {
    if url.is_encrypted() {
        Check::ok(
            SUBJECT,
            "the connection is encrypted, the server's certificate and name are checked",
        )
    } else if url.is_local() {
        Check::ok(SUBJECT, "the connection is plain, and stays on this machine")
    } else {
        Check::warn(
            SUBJECT,
            "the connection is plain: whoever is between can read and change what goes over it",
            "put sslmode=verify-full into DATABASE_URL (DATABASE_SSLMODE); leave it where the network itself encrypts",
        )
    }
}

async fn server(client: &Client) -> Vec<Check> {
    const SERVER: &str = "SELECT current_setting('server_version'), current_setting('server_version_num')::int, \
                          extract(epoch FROM clock_timestamp())::float8, pg_is_in_recovery()";
    let Ok(row) = client.query_one(SERVER, &[]).await else {
        return vec![Check::wrong(
            SUBJECT,
            "lets us in and does not answer",
            "look into its log",
        )];
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let (text, number): (String, i32) = (row.get(0), row.get(1));
    let version = text.split(' ').next().unwrap_or_default();
    let server = if row.get(3) {
        Check::wrong(
            SUBJECT,
            format!("version {version} is a standby, which takes no writes"),
            "let DATABASE_URL lead to the primary",
        )
    } else if number < OLDEST {
        Check::wrong(
            SUBJECT,
            format!("version {version} is too old"),
            format!("upgrade it to {} or later", OLDEST / 10_000),
        )
    } else {
        Check::ok(SUBJECT, format!("answers, version {version}"))
    };
    let ahead = row.get::<_, f64>(2) - now.as_secs_f64();
    vec![server, Check::clock("postgres", ahead)]
}

/// Is there a schema for us, and may we work as the two roles?
async fn schema(client: &Client, url: &DatabaseUrl, names: &SchemaNames) -> Vec<Check> {
    const ROLES: &str = "SELECT EXISTS (SELECT 1 FROM pg_namespace WHERE nspname = $1), \
                         (SELECT pg_has_role(session_user, oid, 'MEMBER') FROM pg_roles WHERE rolname = $2), \
                         (SELECT pg_has_role(session_user, oid, 'MEMBER') FROM pg_roles WHERE rolname = $3)";
    let names_of = [&names.schema, &names.tenant_role, &names.platform_role];
    let Ok(row) = client
        .query_one(ROLES, &[names_of[0], names_of[1], names_of[2]])
        .await
    else {
        return vec![Check::wrong(
            "schema",
            "cannot be looked at",
            "look into the log of Postgres",
        )];
    };
    if !row.get::<_, bool>(0) {
        return vec![Check::wrong(
            "schema",
            format!("there is no schema {}", names.schema),
            "run `migrate`",
        )];
    }
    let mut checks = Vec::new();
    for (column, role) in [(1, &names.tenant_role), (2, &names.platform_role)] {
        if row.get::<_, Option<bool>>(column) != Some(true) {
            checks.push(Check::wrong(
                "schema",
                format!("{} may not work as {role}", url.user()),
                "run `migrate` with this DATABASE_URL; it grants the role",
            ));
        }
    }
    if checks.is_empty() {
        checks.push(Check::ok(
            "schema",
            format!("{} is there, and its roles are ours", names.schema),
        ));
    }
    checks
}

/// Which migrations have run; `None`: nobody whom we can be may read it.
async fn applied(
    client: &Client,
    admin: Option<&DatabaseUrl>,
    names: &SchemaNames,
) -> Option<BTreeSet<String>> {
    let table = format!("{}.__diesel_schema_migrations", quote_identifier(&names.schema));
    let select = format!("SELECT version FROM {table}");
    let own = [None, Some(&names.tenant_role), Some(&names.platform_role)];
    for role in own {
        let become_it = match role {
            Some(role) => format!("SET ROLE {}", quote_identifier(role)),
            None => "RESET ROLE".to_owned(),
        };
        if client.batch_execute(&become_it).await.is_ok()
            && let Ok(rows) = client.query(&select, &[]).await
        {
            return Some(rows.iter().map(|row| row.get(0)).collect());
        }
    }
    let admin = connect(admin?).await.ok()?;
    match admin.query(&select, &[]).await {
        Ok(rows) => Some(rows.iter().map(|row| row.get(0)).collect()),
        Err(error) if error.code() == Some(&SqlState::UNDEFINED_TABLE) => Some(BTreeSet::new()),
        Err(_) => None,
    }
}

fn compare(applied: &BTreeSet<String>, migrations: &EmbeddedMigrations) -> Check {
    let Ok(ours) = MigrationSource::<Pg>::migrations(migrations) else {
        return Check::wrong(
            MIGRATIONS,
            "those of this binary cannot be read",
            "take another build",
        );
    };
    let ours: BTreeSet<String> = ours
        .iter()
        .map(|migration| migration.name().version().to_string())
        .collect();
    let (pending, unknown) = (
        ours.difference(applied).count(),
        applied.difference(&ours).count(),
    );
    match (pending, unknown) {
        (0, 0) => Check::ok(MIGRATIONS, format!("all {} have run", ours.len())),
        (pending, 0) => Check::wrong(
            MIGRATIONS,
            format!("{pending} have not run"),
            "run `migrate` of this version",
        ),
        (pending, unknown) => Check::wrong(
            MIGRATIONS,
            format!("the schema has {unknown} that this version does not know, and lacks {pending}"),
            "run the newer version that the schema was made for, or take those steps back with it first",
        ),
    }
}
