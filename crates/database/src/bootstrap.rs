//! What takes an administrator: the schema, the roles and who may become whom. Done anew as often as one likes.

use diesel_async::{AsyncPgConnection, RunQueryDsl as _, SimpleAsyncConnection as _};
use secrecy::{ExposeSecret as _, SecretString};

use crate::patience::Patience;
use crate::{DatabaseUrl, MigrationError, SchemaNames, quote_identifier, quote_literal};

/// Makes what is missing and takes over what somebody else owns. `connection` is `admin`'s and holds the migrations' lock.
pub(crate) async fn bootstrap(
    connection: &mut AsyncPgConnection,
    admin: &DatabaseUrl,
    service: &DatabaseUrl,
    owner_password: Option<&SecretString>,
    names: &SchemaNames,
) -> Result<(), MigrationError> {
    let roles = [&names.owner_role, &names.tenant_role, &names.platform_role];
    if service.user() == admin.user() || roles.iter().any(|role| role.as_str() == service.user()) {
        return Err(MigrationError::SameRole {
            role: service.user().to_owned(),
        });
    }
    for role in roles {
        let create = format!(
            "CREATE ROLE {} NOLOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOBYPASSRLS",
            quote_identifier(role)
        );
        ensure(connection, ROLE_EXISTS, &[role], &create).await?;
    }
    if let Some(password) = owner_password {
        let owner = quote_identifier(&names.owner_role);
        let login = format!("ALTER ROLE {owner} LOGIN PASSWORD {}", literal(password));
        ensure_password(connection, admin, &names.owner_role, password, &login).await?;
    }
    login_role(connection, admin, service).await?;
    for role in [&names.tenant_role, &names.platform_role] {
        let grant = format!(
            "GRANT {} TO {}",
            quote_identifier(role),
            quote_identifier(service.user())
        );
        ensure(connection, IS_MEMBER, &[role, service.user()], &grant).await?;
    }
    for role in roles.map(String::as_str).into_iter().chain([service.user()]) {
        refuse_power(connection, role, names).await?;
    }
    own_schema(connection, names).await?;
    Ok(())
}

const ROLE_EXISTS: &str = "SELECT 1 AS one FROM pg_roles WHERE rolname = $1";
/// May whoever is connected work as this role? Since Postgres 16 who makes a role is a member of it, and may not.
pub(crate) const MAY_BECOME: &str = "SELECT 1 AS one WHERE pg_has_role(current_user, $1::name, \
                                     CASE WHEN current_setting('server_version_num')::int < 160000 THEN 'MEMBER' ELSE 'SET' END)";
const IS_MEMBER: &str = "SELECT 1 AS one FROM pg_auth_members m JOIN pg_roles r ON r.oid = m.roleid \
                         JOIN pg_roles u ON u.oid = m.member WHERE r.rolname = $1 AND u.rolname = $2";

/// The role that the service logs in as. It has no rights of its own until it takes one of the roles it is given, so it
/// inherits nothing.
async fn login_role(
    connection: &mut AsyncPgConnection,
    admin: &DatabaseUrl,
    service: &DatabaseUrl,
) -> Result<(), MigrationError> {
    let (login, password) = (quote_identifier(service.user()), literal(service.password()));
    let create = format!(
        "CREATE ROLE {login} LOGIN NOINHERIT NOSUPERUSER NOCREATEDB NOCREATEROLE NOBYPASSRLS PASSWORD {password}"
    );
    ensure(connection, ROLE_EXISTS, &[service.user()], &create).await?;
    let inherits_nothing = "SELECT 1 AS one FROM pg_roles WHERE rolname = $1 AND NOT rolinherit";
    let stop = format!("ALTER ROLE {login} NOINHERIT");
    ensure(connection, inherits_nothing, &[service.user()], &stop).await?;
    let change = format!("ALTER ROLE {login} LOGIN PASSWORD {password}");
    ensure_password(connection, admin, service.user(), service.password(), &change).await
}

/// Changes a password that does not open the door. It is tried first: many may be setting up at once, and the same role
/// cannot be changed by two of them.
async fn ensure_password(
    connection: &mut AsyncPgConnection,
    admin: &DatabaseUrl,
    role: &str,
    password: &SecretString,
    change: &str,
) -> Result<(), MigrationError> {
    if admin.lets_in(role, password).await {
        return Ok(());
    }
    match connection.batch_execute(change).await {
        Err(error) if !admin.lets_in(role, password).await => Err(error.into()),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Roles that were there before may be anybody. Nothing is taken away from them, because something else may live on it.
async fn refuse_power(
    connection: &mut AsyncPgConnection,
    role: &str,
    names: &SchemaNames,
) -> Result<(), MigrationError> {
    let powerful = "SELECT 1 AS one FROM pg_roles \
                     WHERE rolname = $1 AND (rolsuper OR rolbypassrls OR rolcreaterole OR rolcreatedb)";
    let becomes_owner = "SELECT 1 AS one WHERE $1 <> $2 AND pg_has_role($1::name, $2::name, 'MEMBER')";
    if exists(connection, powerful, &[role]).await?
        || exists(connection, becomes_owner, &[role, &names.owner_role]).await?
    {
        return Err(MigrationError::TooPowerful {
            role: role.to_owned(),
            owner: names.owner_role.clone(),
        });
    }
    Ok(())
}

/// The schema and all that is in it belong to the owner role, whoever made it.
async fn own_schema(connection: &mut AsyncPgConnection, names: &SchemaNames) -> Result<(), MigrationError> {
    let (schema, owner) = (
        quote_identifier(&names.schema),
        quote_identifier(&names.owner_role),
    );
    // Whoever gives something to a role must be able to become it; a superuser always is.
    let grant = format!("GRANT {owner} TO CURRENT_USER");
    ensure(connection, MAY_BECOME, &[&names.owner_role], &grant).await?;
    connection
        .batch_execute(&format!("CREATE SCHEMA IF NOT EXISTS {schema}"))
        .await?;
    let owned = "SELECT 1 AS one FROM pg_namespace n JOIN pg_roles r ON r.oid = n.nspowner \
                  WHERE n.nspname = $1 AND r.rolname = $2";
    let take = format!("ALTER SCHEMA {schema} OWNER TO {owner}");
    ensure(connection, owned, &[&names.schema, &names.owner_role], &take).await?;
    // Each by itself: whoever held several tables at once would meet the service, which may be at work, in another order.
    let take_over = TAKE_OVER
        .replace("{schema}", &quote_literal(&schema))
        .replace("{owner}", &quote_literal(&owner));
    let statements: Vec<Take> = diesel::sql_query(take_over).load(connection).await?;
    let patience = Patience::default();
    connection.batch_execute(&patience.setting()).await?;
    for Take { take } in statements {
        let mut tries = patience.tries();
        loop {
            tries.begin(connection, names).await?;
            match connection.batch_execute(&take).await {
                Ok(()) => break,
                Err(failure) => tries.again(connection, names, failure.into()).await?,
            }
        }
    }
    Ok(())
}

#[derive(diesel::QueryableByName)]
struct Take {
    #[diesel(sql_type = diesel::sql_types::Text)]
    take: String,
}

/// Sequences of columns go with their tables, and rows' types with their tables too.
const TAKE_OVER: &str = r"
SELECT format('ALTER %s %s OWNER TO %s',
              CASE c.relkind WHEN 'S' THEN 'SEQUENCE' WHEN 'v' THEN 'VIEW' WHEN 'm' THEN 'MATERIALIZED VIEW'
                             WHEN 'f' THEN 'FOREIGN TABLE' WHEN 'c' THEN 'TYPE' ELSE 'TABLE' END,
              c.oid::regclass, {owner}::regrole) AS take
  FROM pg_class c
 WHERE c.relnamespace = {schema}::regnamespace AND c.relowner <> {owner}::regrole
   AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'c', 'S')
   AND NOT (c.relkind = 'S' AND EXISTS (
           SELECT 1 FROM pg_depend d
            WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.refclassid = 'pg_class'::regclass
              AND d.refobjsubid > 0 AND d.deptype IN ('a', 'i')))
UNION ALL
SELECT format('ALTER ROUTINE %s OWNER TO %s', p.oid::regprocedure, {owner}::regrole)
  FROM pg_proc p WHERE p.pronamespace = {schema}::regnamespace AND p.proowner <> {owner}::regrole
UNION ALL
SELECT format('ALTER TYPE %s OWNER TO %s', t.oid::regtype, {owner}::regrole)
  FROM pg_type t
 WHERE t.typnamespace = {schema}::regnamespace AND t.typowner <> {owner}::regrole AND t.typtype IN ('e', 'd', 'r')
";

fn literal(secret: &SecretString) -> String {
    quote_literal(secret.expose_secret())
}

/// Makes what is not there. The migrations' lock holds within one database, but roles belong to all of them: somebody may
/// be making the same one in another database, and then our failure is their success.
async fn ensure(
    connection: &mut AsyncPgConnection,
    query: &str,
    binds: &[&str],
    make: &str,
) -> Result<(), diesel::result::Error> {
    if exists(connection, query, binds).await? {
        return Ok(());
    }
    match connection.batch_execute(make).await {
        Err(error) if !exists(connection, query, binds).await? => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

#[derive(diesel::QueryableByName)]
struct One {
    #[diesel(sql_type = diesel::sql_types::Integer)]
    #[expect(dead_code, reason = "only its existence matters")]
    one: i32,
}

pub(crate) async fn exists(
    connection: &mut AsyncPgConnection,
    query: &str,
    binds: &[&str],
) -> Result<bool, diesel::result::Error> {
    let mut query = diesel::sql_query(query).into_boxed::<diesel::pg::Pg>();
    for bind in binds {
        query = query.bind::<diesel::sql_types::Text, _>((*bind).to_owned());
    }
    let rows: Vec<One> = query.load(connection).await?;
    Ok(!rows.is_empty())
}
