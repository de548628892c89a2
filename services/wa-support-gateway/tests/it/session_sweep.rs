//! Our sessions and the WA server's users are brought back in step.

use std::time::Duration;

use serde_json::{Value, json};
use test_support::{ENCRYPTION_KEYS, eventually};
use wa_support_gateway::flows::session_reconcile::Repair;
use wa_support_gateway::flows::sessions::Sessions;

use crate::support::{ADMIN_TOKEN, Fault, Gateway, Owner, sessions_at, settings};

const HOOK: &str = "https://hook.invalid/a";
pub(crate) const NOW: Duration = Duration::ZERO;

async fn session(gateway: &Gateway, owner: &Owner) -> Value {
    let body = json!({"session_name": owner.id, "webhook_url": HOOK, "events": "Message"});
    let (status, made) = gateway.ask(owner, "POST", "/v1/sessions", body).await;
    assert_eq!(status, 201, "{made}");
    made["session"].clone()
}

fn chore(gateway: &Gateway) -> Sessions {
    sessions_at(
        &gateway.database.db,
        &settings(&gateway.wa.url()),
        ENCRYPTION_KEYS,
        ADMIN_TOKEN,
    )
}

pub(crate) const MEND: Repair = Repair {
    mend: true,
    remove_orphans: false,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_the_wa_server_lost_is_made_again_under_its_token() {
    let gateway = Gateway::start().await;
    let owner = gateway.owner("desa-a", 1).await;
    let made = session(&gateway, &owner).await;
    gateway.wa.lose_users();
    let report = chore(&gateway).reconcile(NOW, Repair::default()).await.unwrap();
    assert_eq!((report.sessions, report.missing.len(), report.mended), (1, 1, 0));
    assert!(gateway.wa.users().is_empty(), "a dry run does nothing");

    let report = chore(&gateway).reconcile(NOW, MEND).await.unwrap();
    assert_eq!((report.missing.len(), report.mended, report.failed), (1, 1, 0));
    let user = gateway.wa.user("desa-a");
    assert_eq!(
        (&user["token"], &user["webhook"], &user["events"]),
        (&made["session_token"], &json!(HOOK), &json!("Message"))
    );
    assert_ne!(user["id"], made["session_id"]);
    let (_, listed) = gateway.ask(&owner, "GET", "/v1/sessions", Value::Null).await;
    assert_eq!(listed["sessions"][0]["session_id"], user["id"]);
    let report = chore(&gateway).reconcile(NOW, MEND).await.unwrap();
    assert_eq!(
        (report.missing.len(), report.drifted.len(), report.orphans.len()),
        (0, 0, 0)
    );
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_wa_server_has_otherwise_is_put_right() {
    let gateway = Gateway::start().await;
    let owner = gateway.owner("desa-a", 1).await;
    session(&gateway, &owner).await;
    for change in [
        ("webhook", json!("https://elsewhere.example/")),
        ("name", json!("somebody-else")),
        ("id", json!("0".repeat(32))),
        ("events", json!("QR")),
    ] {
        gateway.wa.change_user("desa-a", |user| {
            user["connected"] = json!(true);
            user[change.0] = change.1.clone();
        });
        let report = chore(&gateway).reconcile(NOW, MEND).await.unwrap();
        assert_eq!((report.drifted.len(), report.mended), (1, 1), "{change:?}");
        let user = gateway.wa.user("desa-a");
        assert_eq!(
            (&user["webhook"], &user["events"]),
            (&json!(HOOK), &json!("Message")),
            "{change:?}"
        );
        let (_, listed) = gateway.ask(&owner, "GET", "/v1/sessions", Value::Null).await;
        assert_eq!(listed["sessions"][0]["session_id"], user["id"], "{change:?}");
    }
    // A disconnected session has no events until it is connected again.
    gateway.wa.change_user("desa-a", |user| {
        user["connected"] = json!(false);
        user["events"] = json!("");
    });
    let report = chore(&gateway).reconcile(NOW, MEND).await.unwrap();
    assert_eq!(report.drifted.len(), 0);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn users_that_nobody_has_are_reported_and_removed_only_when_told_to() {
    let gateway = Gateway::start().await;
    let owner = gateway.owner("desa-a", 1).await;
    let made = session(&gateway, &owner).await;
    gateway
        .wa
        .add_user(json!({"id": "orphan", "name": "left", "token": "wat_nobodys"}));
    gateway
        .wa
        .add_user(json!({"id": "double", "name": "again", "token": made["session_token"]}));
    gateway
        .wa
        .add_user(json!({"id": "foreign", "name": "not ours", "token": "of somebody else"}));
    let report = chore(&gateway).reconcile(NOW, MEND).await.unwrap();
    let mut orphans: Vec<&str> = report
        .orphans
        .iter()
        .map(|found| found.session_id.as_str())
        .collect();
    orphans.sort_unstable();
    assert_eq!((orphans, report.removed), (vec!["double", "orphan"], 0));
    assert!(!serde_json::to_string(&report).unwrap().contains("wat_"));
    assert_eq!(gateway.wa.users().len(), 4);

    let remove = Repair {
        mend: true,
        remove_orphans: true,
    };
    let report = chore(&gateway).reconcile(NOW, remove).await.unwrap();
    assert_eq!((report.removed, report.failed), (2, 0));
    let mut left: Vec<Value> = gateway
        .wa
        .users()
        .iter()
        .map(|user| user["name"].clone())
        .collect();
    left.sort_by_key(ToString::to_string);
    assert_eq!(left, ["desa-a", "not ours"]);
    let log = "SELECT concat_ws(' | ', action, subject, detail) AS text FROM platform_acts ORDER BY subject";
    assert_eq!(
        gateway.rows(log).await,
        ["orphan.remove | double | again", "orphan.remove | orphan | left"]
    );
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_running_service_mends_by_itself() {
    let gateway = Gateway::start_with(|settings| {
        settings.sessions.sweep_every = Duration::from_millis(100);
        settings.sessions.reconcile_every = Duration::from_millis(300);
        settings.sessions.unfinished_after = Duration::from_millis(100);
    })
    .await;
    let owner = gateway.owner("desa-a", 1).await;
    session(&gateway, &owner).await;
    gateway.wa.fail("GET", "/admin/users", Fault::Status(500), 2);
    gateway.wa.lose_users();
    eventually("the session is there again", || async {
        (gateway.wa.users().len() == 1).then_some(())
    })
    .await;
    // What a process was about to tell when it died, another one tells.
    gateway
        .sql("UPDATE sessions SET upkeep_due = now() - interval '1 hour'")
        .await;
    gateway
        .wa
        .change_user("desa-a", |user| user["hmacKey"] = Value::Null);
    eventually("the key is told again", || async {
        gateway.wa.user("desa-a")["hmacKey"].is_string().then_some(())
    })
    .await;
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_several_processes_looks_after_sessions() {
    let gateway = Gateway::start_with(|settings| {
        settings.sessions.sweep_every = Duration::from_millis(50);
        settings.sessions.reconcile_every = Duration::from_millis(100);
    })
    .await;
    // Somebody else has the lease.
    gateway
        .sql(
            "INSERT INTO leases VALUES ('session sweep', gen_random_uuid(), now() + interval '1 hour') \
             ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, until = excluded.until",
        )
        .await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    gateway.wa.forget();
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(
        !gateway.wa.calls().iter().any(|call| call.contains("/admin/")),
        "nothing while another one leads"
    );
    gateway
        .sql("UPDATE leases SET until = now() - interval '1 second'")
        .await;
    eventually("it takes over", || async {
        gateway
            .wa
            .calls()
            .iter()
            .any(|call| call == "GET /admin/users")
            .then_some(())
    })
    .await;
    gateway.stop().await;
}

/// What was compared is older than what a customer did since: the name of the row counts that is read while nobody else
/// works on the session.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_is_renamed_during_a_comparison_keeps_its_new_name() {
    let gateway = Gateway::start().await;
    let (one, two) = (gateway.owner("desa-a", 1).await, gateway.owner("desa-b", 1).await);
    session(&gateway, &one).await;
    let second = session(&gateway, &two).await;
    for name in ["desa-a", "desa-b"] {
        gateway
            .wa
            .change_user(name, |user| user["webhook"] = json!("https://elsewhere.example/"));
    }
    gateway
        .wa
        .change_user("desa-b", |user| user["name"] = json!("drifted"));
    // The first one is being mended while the second one's customer renames it.
    gateway.wa.fail("PUT", "/webhook", Fault::Late, 1);
    let chore = chore(&gateway);
    let comparing = chore.reconcile(NOW, MEND);
    let renaming = async {
        eventually("the first one is being mended", || async {
            (gateway.wa.called("PUT /webhook") > 0).then_some(())
        })
        .await;
        let path = format!("/v1/sessions/{}", second["session_id"].as_str().unwrap());
        let renamed = gateway
            .ask(&two, "PUT", &path, json!({"session_name": "renamed"}))
            .await;
        gateway.wa.let_go();
        renamed
    };
    let (report, (status, answer)) = tokio::join!(comparing, renaming);
    assert_eq!((status, report.unwrap().drifted.len()), (200, 2), "{answer}");
    let user = gateway.wa.user("renamed");
    assert_eq!(
        (&user["id"], &user["webhook"]),
        (&second["session_id"], &json!(HOOK))
    );
    let (_, listed) = gateway.ask(&two, "GET", "/v1/sessions", Value::Null).await;
    assert_eq!(listed["sessions"][0]["session_name"], "renamed");
    gateway.stop().await;
}

/// A name is told under the session's lease: not while somebody else is telling the WA server another one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_is_being_changed_is_not_renamed_by_a_comparison() {
    let gateway = Gateway::start().await;
    let (one, two) = (gateway.owner("desa-a", 1).await, gateway.owner("desa-b", 1).await);
    session(&gateway, &one).await;
    session(&gateway, &two).await;
    gateway.wa.change_user("desa-a", |user| {
        user["webhook"] = json!("https://elsewhere.example/");
    });
    gateway
        .wa
        .change_user("desa-b", |user| user["name"] = json!("drifted"));
    gateway.wa.fail("PUT", "/webhook", Fault::Late, 1);
    let chore = chore(&gateway);
    let comparing = chore.reconcile(NOW, MEND);
    let changing = async {
        eventually("the first one is being mended", || async {
            (gateway.wa.called("PUT /webhook") > 0).then_some(())
        })
        .await;
        gateway
            .sql(
                "UPDATE sessions SET busy_holder = gen_random_uuid(), busy_until = now() + interval '1 hour' \
                 WHERE tenant_id = 'desa-b'",
            )
            .await;
        gateway.wa.let_go();
    };
    let (report, ()) = tokio::join!(comparing, changing);
    let report = report.unwrap();
    assert_eq!((report.drifted.len(), report.mended, report.failed), (2, 1, 0));
    assert_eq!(gateway.wa.called("PUT /admin/users"), 0);
    gateway.stop().await;
}

/// A session that was made after the WA server listed its users cannot stand in the list.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_is_made_during_a_comparison_is_not_missing() {
    let gateway = Gateway::start().await;
    let (one, two) = (gateway.owner("desa-a", 1).await, gateway.owner("desa-b", 1).await);
    session(&gateway, &one).await;
    gateway.wa.fail("GET", "/admin/users", Fault::Late, 1);
    let chore = chore(&gateway);
    let comparing = chore.reconcile(NOW, MEND);
    let making = async {
        eventually("the users are listed", || async {
            (gateway.wa.called("GET /admin/users") > 0).then_some(())
        })
        .await;
        session(&gateway, &two).await;
        gateway.wa.let_go();
    };
    let (report, ()) = tokio::join!(comparing, making);
    let report = report.unwrap();
    assert_eq!(
        (report.sessions, report.missing.len(), report.mended),
        (1, 0, 0),
        "only the one that was there before"
    );
    gateway.stop().await;
}

/// A list that does not name a session is no proof that the session is gone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_was_only_left_out_of_the_list_stays_as_connected_as_it_is() {
    let gateway = Gateway::start().await;
    let owner = gateway.owner("desa-a", 1).await;
    let made = session(&gateway, &owner).await;
    gateway
        .sql("UPDATE sessions SET connected = true, logged_in = true, jid = '62811@s.whatsapp.net', status = 'connected'")
        .await;
    gateway.wa.fail("GET", "/admin/users", Fault::Nobody, 1);
    let report = chore(&gateway).reconcile(NOW, MEND).await.unwrap();
    assert_eq!(
        (report.missing.len(), report.mended, gateway.wa.users().len()),
        (1, 1, 1)
    );
    let (_, listed) = gateway.ask(&owner, "GET", "/v1/sessions", Value::Null).await;
    let row = &listed["sessions"][0];
    assert_eq!(row["session_id"], made["session_id"]);
    assert_eq!(
        (&row["status"], &row["connected"], &row["jid"]),
        (&json!("connected"), &json!(true), &json!("62811@s.whatsapp.net"))
    );

    // One that is made anew is not connected.
    gateway.wa.lose_users();
    chore(&gateway).reconcile(NOW, MEND).await.unwrap();
    let (_, listed) = gateway.ask(&owner, "GET", "/v1/sessions", Value::Null).await;
    let row = &listed["sessions"][0];
    assert_eq!(
        (&row["status"], &row["connected"], &row["jid"]),
        (&json!("created"), &json!(false), &json!(""))
    );
    gateway.stop().await;
}
