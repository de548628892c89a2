//! An account whose token is refused is held, and let go as soon as Meta takes its token again.

use std::sync::Arc;

use channel_service::endpoints::reload::{ReadSettings, reload};
use runtime::config::SettingsReader;
use serde_json::json;
use simulator::{GraphCall, GraphTrouble, GraphTroubleKind, NewGraphNumber};
use test_support::eventually;

use crate::cloud_sending::open_window;
use crate::cloud_troubles::{put, quick, sent, standing, until};
use crate::cloud_world::{BIMA, ENDPOINTS, RARA, SATU, number};
use crate::harness::TestApp;

/// Somebody gives the endpoint `Meta` this token, and tells the process.
async fn renew_token(app: &TestApp, token: &str) {
    let list = ENDPOINTS
        .1
        .replace("{simulator}", &app.simulator.base_url())
        .replace("token-of-meta", token);
    let read: ReadSettings = Arc::new(move || SettingsReader::from_map([(ENDPOINTS.0, list.as_str())]));
    reload(&app.endpoints, &read).await.unwrap();
}

/// A token may send for a number and not be allowed to look at it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_token_of_the_endpoint_releases_its_accounts_also_where_it_does_not_see_the_number() {
    let app = quick().await;
    app.simulator.create_graph_number(NewGraphNumber {
        id: SATU.0.to_owned(),
        waba: SATU.1.to_owned(),
        token: "token-baru".to_owned(),
        ..NewGraphNumber::default()
    });
    let satu = number(&app, "desa-satu", "Meta", SATU).await;
    for from in [RARA, BIMA] {
        open_window(&app, &satu, from).await;
    }
    let invisible = GraphTrouble {
        call: GraphCall::Management,
        kind: GraphTroubleKind::Error {
            code: 100,
            subcode: Some(33),
            status: None,
            details: None,
            retry_after: None,
            transient: None,
            accepted: false,
        },
        ..GraphTrouble::default()
    };
    app.simulator.add_graph_trouble(invisible).unwrap();
    put(&app, &satu, RARA, "pertama").await;
    eventually("the account is held", || async {
        (app.count("accounts WHERE send_held = 'token_refused'").await == 1).then_some(())
    })
    .await;
    put(&app, &satu, BIMA, "kedua").await;
    eventually("the other chat waits", || async {
        (standing(&app, "kedua").await["last_error"] == "token_refused").then_some(())
    })
    .await;
    // Whoever asked meanwhile was refused again, and that is no other trouble than before.
    assert_eq!(sent(&app), [""; 0]);
    assert_eq!(app.count("lane_tasks WHERE failures > 0 OR parked").await, 0);

    renew_token(&app, "token-baru").await;
    for words in ["pertama", "kedua"] {
        until(&app, words, "sent").await;
    }
    eventually("it is let go", || async {
        (app.count("accounts WHERE send_held IS NOT NULL").await == 0).then_some(())
    })
    .await;
    let others = app
        .values("SELECT DISTINCT coalesce(reason, outcome) AS value FROM send_attempts ORDER BY value")
        .await;
    assert_eq!(others, [json!("accepted"), json!("unauthorized")]);
    app.finish().await;
}
