//! Redis as an operator wants to know it: reachable, recent enough, with room, and ours to write in.

use std::time::Duration;

use domain::check::Check;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, ErrorKind, RedisError, RedisResult};
use secrecy::{ExposeSecret, SecretString};

/// What the scripts of buckets and windows are written for.
const OLDEST: u32 = 6;

/// Percent of its memory above which a server that lets nothing go is told of.
const NEARLY_FULL: u64 = 75;
const PATIENCE: Duration = Duration::from_secs(5);
const SUBJECT: &str = "redis";

/// Looks at the server; writes, reads and deletes one key of its own.
pub async fn examine(url: &SecretString, prefix: &str) -> Vec<Check> {
    let Ok(client) = Client::open(url.expose_secret()) else {
        return vec![Check::wrong(
            SUBJECT,
            "REDIS_URL is no URL of Redis",
            "write it as redis://user:password@host:port/0",
        )];
    };
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(PATIENCE))
        .set_response_timeout(Some(PATIENCE));
    let mut connection = match client.get_multiplexed_async_connection_with_config(&config).await {
        Ok(connection) => connection,
        Err(error) => return vec![refused(&error)],
    };
    let info: RedisResult<String> = redis::cmd("INFO").query_async(&mut connection).await;
    let mut checks = match info {
        Ok(info) => vec![server(&info), memory(&info)],
        Err(error) => vec![refused(&error)],
    };
    checks.push(own_key(&mut connection, prefix).await);
    checks
}

fn refused(error: &RedisError) -> Check {
    let refuses = error.kind() == ErrorKind::AuthenticationFailed
        || matches!(error.code(), Some("NOAUTH" | "WRONGPASS" | "NOPERM"));
    if refuses {
        Check::wrong(
            SUBJECT,
            "does not let us in",
            "compare user and password of REDIS_URL with its ACL",
        )
    } else {
        Check::wrong(
            SUBJECT,
            "does not answer",
            "is it running, and do host, port and firewall fit REDIS_URL? Meanwhile caches read through",
        )
    }
}

fn field<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    info.lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
        .map(str::trim)
}

fn server(info: &str) -> Check {
    let version: String = field(info, "redis_version")
        .unwrap_or_default()
        .chars()
        .filter(|c| c.is_ascii_digit() || *c == '.')
        .take(16)
        .collect();
    let major: u32 = version
        .split('.')
        .next()
        .and_then(|n| n.parse().ok())
        .unwrap_or(0);
    if major < OLDEST {
        return Check::wrong(
            SUBJECT,
            format!("version {version} is too old"),
            format!("upgrade it to {OLDEST} or later"),
        );
    }
    if field(info, "role") == Some("slave") {
        return Check::wrong(
            SUBJECT,
            format!("version {version} is a replica, which takes no writes"),
            "let REDIS_URL lead to the primary",
        );
    }
    Check::ok(SUBJECT, format!("answers, version {version}"))
}

/// Everything of ours has an end or can be loaded again, so the oldest may go. A full server that refuses writes keeps
/// neither buckets nor windows.
fn memory(info: &str) -> Check {
    let about = "redis memory";
    let limit: u64 = field(info, "maxmemory").and_then(|n| n.parse().ok()).unwrap_or(0);
    let used: u64 = field(info, "used_memory")
        .and_then(|n| n.parse().ok())
        .unwrap_or(0);
    let keeps_all = field(info, "maxmemory_policy") == Some("noeviction");
    if limit == 0 {
        return Check::ok(about, "no maxmemory is set; it grows with what is cached");
    }
    let found = format!("{} % of maxmemory are used", percent(used, limit));
    if keeps_all && percent(used, limit) >= NEARLY_FULL {
        return Check::warn(
            about,
            format!("{found}, and a full one refuses writes (noeviction)"),
            "give it more (maxmemory), or let what ends soonest go first (maxmemory-policy volatile-ttl)",
        );
    }
    Check::ok(about, found)
}

const fn percent(used: u64, limit: u64) -> u64 {
    used.saturating_mul(100) / if limit == 0 { 1 } else { limit }
}

async fn own_key(connection: &mut MultiplexedConnection, prefix: &str) -> Check {
    let about = "redis key";
    let key = format!("{prefix}doctor/{}", std::process::id());
    let tried: RedisResult<(String, u64)> = async {
        redis::cmd("SET")
            .arg(&key)
            .arg("here")
            .arg("EX")
            .arg(60)
            .query_async::<()>(connection)
            .await?;
        let read = redis::cmd("GET").arg(&key).query_async(connection).await?;
        let gone = redis::cmd("DEL").arg(&key).query_async(connection).await?;
        Ok((read, gone))
    }
    .await;
    match tried {
        Ok((read, 1)) if read == "here" => Check::ok(about, "written, read and deleted under REDIS_PREFIX"),
        Ok(_) => Check::wrong(
            about,
            "what was written is not what is read",
            "is REDIS_URL a proxy before several servers that share nothing?",
        ),
        Err(_) => Check::wrong(
            about,
            "our key cannot be written, read and deleted",
            "let its ACL allow all commands on keys under REDIS_PREFIX, and see whether it is full or read-only",
        ),
    }
}

#[cfg(test)]
mod tests {
    use domain::check::Verdict;

    use super::*;

    #[test]
    fn a_full_server_that_refuses_writes_is_told_of() {
        let info = |limit: u64, policy: &str| {
            format!(
                "redis_version:7.0.1\r\nrole:master\r\nused_memory:50\r\nmaxmemory:{limit}\r\nmaxmemory_policy:{policy}\r\n"
            )
        };
        assert_eq!(memory(&info(0, "noeviction")).verdict, Verdict::Ok);
        assert_eq!(memory(&info(50, "allkeys-lru")).verdict, Verdict::Ok);
        assert_eq!(memory(&info(100, "noeviction")).verdict, Verdict::Ok);
        let full = memory(&info(60, "noeviction"));
        assert_eq!(full.verdict, Verdict::Warn);
        assert!(full.found.contains("83 %"), "{full}");
        assert_eq!(server(&info(0, "")).verdict, Verdict::Ok);
        assert_eq!(
            server("redis_version:5.0.14\r\nrole:master\r\n").verdict,
            Verdict::Wrong
        );
        assert_eq!(
            server("redis_version:7.0.1\r\nrole:slave\r\n").verdict,
            Verdict::Wrong
        );
    }

    #[tokio::test]
    async fn a_server_that_is_there_is_well_and_one_that_is_not_is_told_of() {
        let prefix = test_support::unique_prefix("doctor");
        let checks = examine(&SecretString::from(test_support::redis_url()), &prefix).await;
        assert!(
            checks.iter().all(|check| check.verdict < Verdict::Wrong),
            "{checks:?}"
        );
        assert_eq!(checks.len(), 3);
        let away = examine(&SecretString::from("redis://u:s3cret@127.0.0.1:1/"), &prefix).await;
        assert_eq!(away.len(), 1);
        assert_eq!(
            (away[0].verdict, away[0].found.as_str()),
            (Verdict::Wrong, "does not answer")
        );
        assert!(!format!("{away:?}").contains("s3cret"));
    }
}
