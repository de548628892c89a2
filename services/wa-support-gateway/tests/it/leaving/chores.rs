//! The same as operators do it.

use serde_json::{Value, json};
use test_support::TestProcessDatabase;

use super::world::ERIN;
use crate::process::{Process, stdout};
use crate::support::FakeWaServer;

const SURE: &str = "--i-know-that-everything-will-be-gone";

async fn refused(process: &Process, arguments: &[&str]) -> String {
    let output = process.run(arguments).await;
    assert_eq!(output.status.code(), Some(1), "{arguments:?}");
    assert!(output.stdout.is_empty());
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!said.contains(ERIN), "{said}");
    said
}

async fn lines(process: &Process, arguments: &[&str]) -> Vec<Value> {
    let printed = stdout(&process.run(arguments).await);
    printed
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_gives_out_and_erases_a_person_and_a_customer() {
    test_support::install_crypto_provider();
    let (database, wa) = (TestProcessDatabase::create().await, FakeWaServer::start());
    let (process, _) = Process::serving(&database, &wa);
    stdout(&process.run(&["migrate", "--bootstrap"]).await);
    let customer = ["--customer", "desa-a"];
    let with = |words: &[&'static str], more: &[&'static str]| [words, &customer[..], more].concat();
    stdout(
        &process
            .run(&with(&["session", "create"], &["--name", "desa-a"]))
            .await,
    );
    assert_eq!(wa.users().len(), 1);

    let person = ["--phone", ERIN];
    let given = lines(&process, &with(&["person", "export"], &person)).await;
    assert_eq!(given, [json!({"user_id": "desa-a", "complete": true})]);
    let erase = with(&["person", "erase"], &person);
    let said = refused(&process, &[&erase[..], &[SURE, "6281277700022"]].concat()).await;
    assert!(said.contains("nothing was erased"), "{said}");
    let said = refused(&process, &[&erase[..], &[SURE, "siapa"]].concat()).await;
    assert!(said.contains("by number"), "{said}");
    let done = lines(&process, &[&erase[..], &[SURE, "081277700011"]].concat()).await;
    let nothing = json!({"contacts": 0, "webhooks": 0, "read_marks": 0});
    assert_eq!(done, [json!({"user_id": "desa-a", "erased": nothing})]);

    let given = lines(&process, &with(&["customer", "export"], &[])).await;
    let tables: Vec<&str> = given.iter().filter_map(|line| line["table"].as_str()).collect();
    for table in ["customers", "sessions", "subscriptions", "audit_log"] {
        assert!(tables.contains(&table), "{table}");
    }
    assert_eq!(given.last().unwrap()["complete"], true);
    let said = refused(&process, &with(&["customer", "erase"], &[SURE, "desa-b"])).await;
    assert!(said.contains("nothing was erased"), "{said}");
    assert_eq!(wa.users().len(), 1);
    let sure = with(&["customer", "erase"], &[SURE, "desa-a"]);
    let done = lines(&process, &sure).await;
    assert_eq!(
        done,
        [json!({"user_id": "desa-a", "erased": {"sessions": 1, "cache": true}})]
    );
    assert!(wa.users().is_empty(), "its session is gone at the WA server");
    for gone in [
        sure,
        with(&["customer", "export"], &[]),
        with(&["person", "export"], &person),
    ] {
        let said = refused(&process, &gone).await;
        assert!(said.contains("no such customer"), "{said}");
    }
    let acts = lines(&process, &["audit", "list"]).await;
    assert!(!acts.is_empty());
    let verified = stdout(&process.run(&["audit", "verify"]).await);
    assert!(verified.contains("\"broken\":0"), "{verified}");
}
