//! Whoever asks for TLS has it on every connection, with the right server, or has no connection.

use std::time::Duration;

use database::{
    Database, DatabaseUrl, MigrationError, Migrator, PoolSettings, connect_as_owner, examine, migrate,
    read_elsewhere,
};
use diesel::sql_types::Bool;
use diesel_async::{AsyncPgConnection, RunQueryDsl as _};
use domain::check::{Check, Verdict};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::MIGRATIONS;
use super::migrating::Own;
use super::own_server::OwnServer;

fn pool(url: &DatabaseUrl, own: &Own) -> Database {
    let settings = PoolSettings {
        size: 1,
        wait: Duration::from_secs(20),
    };
    Database::new(url, own.names.clone(), settings).unwrap()
}

async fn is_encrypted(connection: &mut AsyncPgConnection) -> bool {
    #[derive(diesel::QueryableByName)]
    struct Encrypted {
        #[diesel(sql_type = Bool)]
        ssl: bool,
    }
    diesel::sql_query("RESET ROLE").execute(connection).await.unwrap();
    let asked = diesel::sql_query("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()");
    let Encrypted { ssl } = asked.get_result(connection).await.unwrap();
    ssl
}

/// Does the pool get a connection? Otherwise with every cause.
async fn refusal(url: &str, own: &Own) -> Option<String> {
    let url = url.parse().unwrap();
    let mut error: &dyn std::error::Error = &pool(&url, own).connection().await.err()?;
    let mut said = error.to_string();
    while let Some(cause) = error.source() {
        said = format!("{said}: {cause}");
        error = cause;
    }
    Some(said)
}

async fn doctor(url: &str, own: &Own) -> Vec<Check> {
    examine(&url.parse().unwrap(), None, &own.names, &MIGRATIONS).await
}

fn found(checks: &[Check], verdict: Verdict, words: &str) -> bool {
    checks
        .iter()
        .any(|check| check.verdict == verdict && check.to_string().contains(words))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_connection_is_encrypted_where_the_url_says_so() {
    let (server, own) = (OwnServer::start().await, Own::new());
    // The server lets nobody in without: what forgets about TLS fails here.
    let bound = format!("&sslmode=verify-full{}&channel_binding=require", server.trusted());
    let url = server.url(&bound);
    let (admin, service): (DatabaseUrl, _) = (url.parse().unwrap(), own.url(&url));
    migrate(&admin, &service, &own.names, MIGRATIONS).await.unwrap();

    let db = pool(&service, &own);
    assert!(is_encrypted(&mut db.connection().await.unwrap()).await);
    assert!(is_encrypted(&mut connect_as_owner(&admin, &own.names).await.unwrap()).await);
    assert!(is_encrypted(&mut read_elsewhere(&admin).await.unwrap()).await);
    let checks = examine(&service, Some(&admin), &own.names, &MIGRATIONS).await;
    assert!(found(&checks, Verdict::Ok, "is encrypted"), "{checks:?}");

    // The other mode is no weaker, only another word.
    let required = server.url(&format!("&sslmode=require{}", server.trusted()));
    assert!(is_encrypted(&mut read_elsewhere(&required.parse().unwrap()).await.unwrap()).await);

    let plain = server.url("");
    assert!(refusal(&plain, &own).await.unwrap().contains("no encryption"));
    let checks = doctor(&plain, &own).await;
    assert!(
        found(&checks, Verdict::Wrong, "sslmode=verify-full"),
        "{checks:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_does_not_prove_who_it_is_is_refused_in_either_mode() {
    let (server, own) = (OwnServer::start().await, Own::new());
    let (trusted, another) = (server.trusted(), server.another());
    for mode in ["&sslmode=verify-full", "&sslmode=require"] {
        let good = server.url(&format!("{mode}{trusted}"));
        read_elsewhere(&good.parse().unwrap()).await.unwrap();
        for (url, why, words) in [
            // Signed by another authority than the one named, and by none that everybody knows.
            (
                server.url(&format!("{mode}{another}")),
                "UnknownIssuer",
                "authority",
            ),
            (server.url(mode), "UnknownIssuer", "authority"),
            (
                server.url_as("other.test", &format!("{mode}{trusted}")),
                "not valid for name",
                "another host",
            ),
        ] {
            let refused = refusal(&url, &own).await.unwrap();
            assert!(refused.contains(why), "{mode}: {refused}");
            let checks = doctor(&url, &own).await;
            assert!(found(&checks, Verdict::Wrong, words), "{mode}: {checks:?}");
            let refused = Migrator::connect(&url.parse().unwrap(), &own.names)
                .await
                .err()
                .unwrap();
            assert!(matches!(refused, MigrationError::Connect { .. }), "{refused}");
            assert!(refused.to_string().contains(why), "{refused}");
        }
    }
}

/// The first bytes that a client sends, and what comes after the server said that it has no TLS.
async fn said_to_a_server_without_tls(parameters: &str) -> (Vec<u8>, Vec<u8>, String, Vec<Check>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let url = format!("postgres://u:s3cret@127.0.0.1:{port}/kanal{parameters}");
    let client = tokio::spawn(async move {
        let own = Own::new();
        let refused = read_elsewhere(&url.parse().unwrap()).await.err().unwrap();
        let said = std::error::Error::source(&refused).unwrap().to_string();
        (said, doctor(&url, &own).await)
    });
    let (mut first, mut rest) = (vec![0; 8], Vec::new());
    for _ in 0..2 {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.read_exact(&mut first).await.unwrap();
        stream.write_all(b"N").await.unwrap();
        stream.shutdown().await.unwrap();
        stream.read_to_end(&mut rest).await.unwrap();
    }
    let (said, checks) = client.await.unwrap();
    (first, rest, said, checks)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_without_tls_hears_nothing_but_the_question_for_it() {
    const QUESTION: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];
    for mode in ["require", "verify-full"] {
        let (first, rest, said, checks) = said_to_a_server_without_tls(&format!("?sslmode={mode}")).await;
        assert_eq!(first, QUESTION, "{mode}");
        assert!(rest.is_empty(), "{mode}: {rest:?}");
        assert!(said.contains("does not support TLS"), "{mode}: {said}");
        assert!(found(&checks, Verdict::Wrong, "speaks no TLS"), "{checks:?}");
    }
    // Without a word, and where it is switched off, nobody asks.
    for parameters in ["", "?sslmode=disable"] {
        let (first, ..) = said_to_a_server_without_tls(parameters).await;
        assert_eq!(first[4..], 196_608_u32.to_be_bytes(), "{parameters}");
    }
}
