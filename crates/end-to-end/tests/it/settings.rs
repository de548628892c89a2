//! What an operator sees of a service before it serves: wrong settings, commands, exit codes.

use std::net::TcpListener;
use std::process::Output;

use end_to_end::{Process, SERVICES};
use test_support::{TestProcessDatabase, eventually_within};

use crate::roles::{SCHEMAS, logs, process};
use crate::world::{PATIENCE, STOP_PATIENCE, successful};

/// In every wrong value; it must not be seen again.
const VALUE: &str = "s3cret-value";

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Wrong on purpose, with the names that have to be reported.
fn mistakes(service: &str) -> (Vec<(&'static str, String)>, Vec<&'static str>) {
    let mut wrong = vec![
        ("DATABASE_URL", format!("mysql://u:{VALUE}@h/d")),
        ("LOG_FORMAT", VALUE.to_owned()),
        ("HTTP_WORKERS", VALUE.to_owned()),
        ("ENCRYPTION_KEYS", VALUE.to_owned()),
    ];
    wrong.push(match service {
        "channel-service" => ("WA_API_URL", format!("ftp://u:{VALUE}@h")),
        "wa-support-gateway" => ("WA_SERVER_URL", format!("ftp://u:{VALUE}@h")),
        _ => ("OUTBOUND_ALLOWED_PRIVATE_HOSTS", format!("{VALUE} x")),
    });
    let mut names: Vec<&str> = wrong.iter().map(|(name, _)| *name).collect();
    // And not set at all:
    names.extend(match service {
        "channel-service" => &["REDIS_URL", "RABBITMQ_URL", "INTERNAL_API_KEY"][..],
        "wa-support-gateway" => &["REDIS_URL", "WA_ADMIN_TOKEN"],
        _ => &["RABBITMQ_URL"],
    });
    (wrong, names)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_mistakes_are_reported_at_once_before_a_port_opens() {
    for service in SERVICES {
        // Whoever tried to open this port would complain about it.
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = taken.local_addr().unwrap().port();
        let (wrong, names) = mistakes(service);
        let variables = [("HOST", "127.0.0.1".to_owned()), ("PORT", port.to_string())];
        let process = Process::new(service, &logs("mistakes"), variables.into_iter().chain(wrong)).await;
        for command in [&["serve"][..], &[]] {
            let output = process.run(command, &[]).await;
            let said = stderr(&output);
            assert_eq!(output.status.code(), Some(78), "{service}: {said}");
            for name in &names {
                assert!(said.contains(name), "{service} does not name {name}: {said}");
            }
            assert!(
                said.contains(&format!("{} mistake", names.len())),
                "{service}: {said}"
            );
            assert!(!said.contains(VALUE), "{service} shows a value");
            assert!(
                !said.contains("in use"),
                "{service} tried to open its port: {said}"
            );
            assert!(output.stdout.is_empty());
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn help_and_settings_are_printed_without_any_setting() {
    for (service, own) in [
        ("channel-service", "account"),
        ("wa-support-gateway", "session"),
        ("chatwoot-bridge", "inbox"),
    ] {
        let process = Process::new(service, &logs("help"), []).await;
        let output = process.run(&["--help"], &[]).await;
        successful(&process, &output);
        let help = String::from_utf8(output.stdout).unwrap();
        for command in ["serve", "migrate", "healthcheck", "config", own] {
            assert!(
                help.lines().any(|line| line.trim_start().starts_with(command)),
                "{service} does not mention {command}: {help}"
            );
        }
        let output = process.run(&["config"], &[]).await;
        successful(&process, &output);
        let table = String::from_utf8(output.stdout).unwrap();
        assert!(
            table.starts_with("| variable | default | meaning |\n|---|---|---|\n"),
            "{table}"
        );
        for name in [
            "PORT",
            "DATABASE_URL",
            "MIGRATE_DATABASE_URL",
            "ENCRYPTION_KEYS",
            "LOG_FORMAT",
        ] {
            assert!(
                table.contains(&format!("\n| `{name}` |")),
                "{service} does not list {name}"
            );
        }
        let output = process.run(&["no-such-command"], &[]).await;
        assert_eq!(output.status.code(), Some(2), "{service}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn migrate_twice_serve_and_ask() {
    let database = TestProcessDatabase::create().await;
    for (service, schema) in SERVICES.into_iter().zip(SCHEMAS) {
        let mut process = process(service, schema, &database, "migrate").await;
        let asked = process.run(&["healthcheck"], &[]).await;
        assert_eq!(asked.status.code(), Some(1), "{service}: nobody is there");
        assert!(!asked.stderr.is_empty(), "{service} says why");

        for _ in 0..2 {
            let migrated = process.run(&["migrate", "--bootstrap"], &[]).await;
            successful(&process, &migrated);
        }
        process.start();
        eventually_within(PATIENCE, "the service is healthy", || async {
            let asked = process.run(&["healthcheck"], &[]).await;
            asked.status.success().then_some(())
        })
        .await;

        // A second one on the same port.
        let second = process.run(&["serve"], &[]).await;
        let said = stderr(&second);
        assert_eq!(second.status.code(), Some(1), "{service}: {said}");
        let complaint = said.lines().find(|line| line.contains("in use"));
        assert!(
            complaint.is_some_and(|line| line.contains(process.variable("PORT"))),
            "{service} does not say which port is taken: {said}"
        );
        assert_eq!(process.ended(), None, "{service} is not disturbed");

        let status = process.terminate(STOP_PATIENCE).await;
        assert_eq!(status.and_then(|status| status.code()), Some(0), "{service}");
        let asked = process.run(&["healthcheck"], &[]).await;
        assert_eq!(
            asked.status.code(),
            Some(1),
            "{service}: nobody is there any more"
        );
    }
}
