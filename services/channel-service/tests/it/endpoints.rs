//! Several WhatsApp API servers: every call goes to that of its account, and the table may change while calls are made.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use channel_service::config::LIST;
use channel_service::endpoints::Changes;
use channel_service::endpoints::reload::{ReadSettings, ReloadError, reload};
use domain::endpoint::EndpointName;
use domain::ids::AccountId;
use reqwest::Method;
use runtime::config::SettingsReader;
use serde_json::{Value, json};
use simulator::{
    FaultKind, FaultSpec, Inbound, InboundMedia, NewSession, Simulator, SimulatorConfig, WaUser,
};
use test_support::{eventually, logs};
use whatsapp::probe::ProbeReason;

use crate::harness::{Maker, Tenant, TestApp, Wishes, order, text};

const RARA: &str = "6281290000011";
const ADMIN: &str = "simulator-admin-token";
const STATUS: &str = "/whatsapp/status?village_id=";

async fn second_server() -> Simulator {
    Simulator::start(SimulatorConfig::for_tests()).await.unwrap()
}

/// A WhatsApp server as one endpoint.
fn server(name: &str, simulator: &Simulator) -> Value {
    json!({"name": name, "apiUrl": format!("{}/wa", simulator.base_url()), "apiKey": ADMIN, "sessions": "server"})
}

fn gowa(name: &str, simulator: &Simulator) -> Value {
    json!({"name": name, "apiUrl": format!("{}/gowa", simulator.base_url()), "provider": "gowa"})
}

fn source(list: &str) -> ReadSettings {
    let list = list.to_owned();
    Arc::new(move || SettingsReader::from_map([(LIST, list.as_str())]))
}

async fn configure(app: &TestApp, list: &[Value]) -> Changes {
    let list = Value::Array(list.to_vec()).to_string();
    reload(&app.endpoints, &source(&list)).await.unwrap()
}

fn names(of: &[EndpointName]) -> Vec<&str> {
    of.iter().map(EndpointName::as_str).collect()
}

/// A tenant whose session is at another server than the harness's.
pub(crate) async fn tenant_at(app: &TestApp, simulator: &Simulator, endpoint: &str, id: &str) -> Tenant {
    let session: WaUser = simulator
        .create_wa_session(NewSession {
            name: format!("{id}-wa"),
            webhook: format!("{}/webhook", app.url),
            hmac_key: Some(format!("hmac-of-{id}-{endpoint}")),
            ..NewSession::default()
        })
        .unwrap();
    let key = format!("hmac-of-{id}-{endpoint}");
    let account = app.register(id, &session, Some(&key)).await;
    bind(app, account, "genfity", endpoint).await;
    Tenant {
        id: id.to_owned(),
        account,
        session,
        key: Some(key),
    }
}

async fn bind(app: &TestApp, account: AccountId, provider: &str, endpoint: &str) {
    let statement = format!(
        "UPDATE accounts SET provider = '{provider}', endpoint = '{endpoint}' WHERE id = '{account}'"
    );
    app.run_sql(&statement).await;
    // What the service knows of the account may be a second old.
    for row in app.rows("SELECT kind, external_id FROM tenant_directory").await {
        for kind in ["genfity_instance", "genfity_session"] {
            if row["kind"] == kind {
                app.routes
                    .forget(kind, row["external_id"].as_str().unwrap())
                    .await;
            }
        }
    }
}

fn texts_at(simulator: &Simulator) -> Vec<String> {
    let arrived = simulator.phone(RARA).into_iter();
    arrived.filter_map(|message| message.text).collect()
}

fn asked(simulator: &Simulator, path: &str) -> usize {
    let requests = simulator.requests();
    requests.iter().filter(|request| request.path == path).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_call_goes_to_the_endpoint_of_its_account() {
    let app = TestApp::spawn().await;
    let second = second_server().await;
    let changes = configure(
        &app,
        &[server("Primary", &app.simulator), server("Second", &second)],
    )
    .await;
    assert_eq!(names(&changes.new), ["Second"]);
    let satu = app.tenant("desa-satu").await;
    let dua = tenant_at(&app, &second, "Second", "desa-dua").await;

    for tenant in [&satu, &dua] {
        app.order(tenant, RARA, &format!("dari {}", tenant.id)).await;
    }
    for tenant in [&satu, &dua] {
        app.until_status(&format!("dari {}", tenant.id), "sent").await;
    }
    assert_eq!(texts_at(&app.simulator), ["dari desa-satu"]);
    assert_eq!(texts_at(&second), ["dari desa-dua"]);

    // Sessions, typing, files.
    app.internal(Method::GET, &format!("{STATUS}desa-dua"), None)
        .await;
    assert_eq!(asked(&app.simulator, "/wa/session/status"), 0);
    assert_eq!(asked(&second, "/wa/session/status"), 1);
    let typing = json!({"village_id": "desa-dua", "wa_user_id": RARA});
    let shown = app.internal(Method::POST, "/typing", Some(&typing)).await;
    assert_eq!(shown.json(), json!({"status": "ok", "state": "composing"}));
    assert_eq!(asked(&app.simulator, "/wa/chat/presence"), 0);
    assert_eq!(asked(&second, "/wa/chat/presence"), 1);
    let mut bytes = b"OggS\0\x02\0\0\0\0\0\0\0\0".to_vec();
    bytes.resize(20_000, 3);
    second
        .inbound(&Inbound {
            session: dua.session.id.clone(),
            from: RARA.to_owned(),
            media: Some(InboundMedia {
                kind: "audio".to_owned(),
                mimetype: "audio/ogg; codecs=opus".to_owned(),
                data: BASE64.encode(&bytes),
                file_name: None,
                ptt: true,
            }),
            ..Inbound::default()
        })
        .unwrap();
    eventually("the file is stored", || async {
        (app.count("media WHERE state = 'stored'").await == 1).then_some(())
    })
    .await;
    assert_eq!(asked(&app.simulator, "/wa/chat/downloadaudio"), 0);
    assert_eq!(asked(&second, "/wa/chat/downloadaudio"), 1);

    // And a session is made where the tenant was put.
    app.bare_tenant("desa-tiga").await;
    app.run_sql(
        "INSERT INTO tenant_whatsapp_config (tenant_id, id, endpoint_name) \
         VALUES ('desa-tiga', gen_random_uuid(), 'Second')",
    )
    .await;
    let (before_here, before_there) = (app.simulator.wa_users().len(), second.wa_users().len());
    let made = app
        .internal(Method::POST, "/whatsapp/session?village_id=desa-tiga", None)
        .await;
    assert_eq!(made.status, 200, "{}", made.text);
    assert_eq!(app.simulator.wa_users().len(), before_here);
    assert_eq!(second.wa_users().len(), before_there + 1);
    let gone = app
        .internal(Method::DELETE, "/whatsapp/session?village_id=desa-tiga", None)
        .await;
    assert_eq!(gone.status, 200, "{}", gone.text);
    assert_eq!(second.wa_users().len(), before_there);
    app.finish().await;
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_belongs_to_a_missing_endpoint_waits_and_goes_on() {
    let app = TestApp::spawn().await;
    let second = second_server().await;
    let dua = tenant_at(&app, &second, "Second", "desa-dua").await;
    app.order(&dua, RARA, "satu").await;
    app.order(&dua, RARA, "dua").await;
    let waits = || async {
        let waiting = "lane_tasks WHERE last_error = 'endpoint_missing' AND failures = 0";
        (app.count(waiting).await == 1).then_some(())
    };
    eventually("it waits", waits).await;
    assert_eq!(app.statuses("satu"), ["queued"]);
    let calls = [
        (Method::DELETE, "/whatsapp/session"),
        (Method::POST, "/whatsapp/connect"),
        (Method::POST, "/whatsapp/disconnect"),
        (Method::POST, "/whatsapp/logout"),
        (Method::GET, "/whatsapp/qr"),
    ];
    for (method, path) in calls {
        let path = format!("{path}?village_id=desa-dua");
        let answer = app.internal(method, &path, None).await;
        answer.assert_error(409, "endpoint_missing");
        assert_eq!(answer.json()["success"], false, "{path}");
    }
    assert_eq!(
        app.count("accounts WHERE token_sealed IS NOT NULL").await,
        1,
        "nothing is forgotten"
    );

    // The name is there, but another kind of API goes by it, or it is written in another way.
    for list in [
        vec![server("Primary", &app.simulator), gowa("Second", &second)],
        vec![server("Primary", &app.simulator), server("second", &second)],
    ] {
        configure(&app, &list).await;
        app.run_sql("UPDATE lane_tasks SET last_error = NULL; UPDATE lanes SET ready_at = now()")
            .await;
        eventually("it waits still", waits).await;
    }
    assert_eq!(
        second.wa_sends(None).len() + app.simulator.wa_sends(None).len(),
        0
    );

    configure(
        &app,
        &[server("Primary", &app.simulator), server("Second", &second)],
    )
    .await;
    app.run_sql("UPDATE lanes SET ready_at = now() WHERE ready_at IS NOT NULL")
        .await;
    app.until_status("dua", "sent").await;
    assert_eq!(texts_at(&second), ["satu", "dua"]);
    app.finish().await;
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_token_for_accounts_without_one_stays_at_the_first_endpoint() {
    let lender = second_server().await;
    let lent = lender
        .create_wa_session(NewSession {
            name: "lent".to_owned(),
            ..NewSession::default()
        })
        .unwrap();
    let app = TestApp::with(Wishes {
        access_token: lent.token.clone(),
        ..Wishes::default()
    })
    .await;
    configure(
        &app,
        &[server("Primary", &lender), server("Second", &app.simulator)],
    )
    .await;
    for (tenant, endpoint, status) in [("desa-satu", "Primary", "sent"), ("desa-dua", "Second", "parked")] {
        app.bare_tenant(tenant).await;
        app.run_sql(&format!(
            "UPDATE accounts SET endpoint = '{endpoint}' WHERE tenant_id = '{tenant}'"
        ))
        .await;
        let rows = app
            .values(&format!(
                "SELECT id AS value FROM accounts WHERE tenant_id = '{tenant}'"
            ))
            .await;
        let account = AccountId::from_uuid(rows[0].as_str().unwrap().parse().unwrap());
        app.publish(tenant, &order(account, RARA, tenant)).await;
        app.until_status(tenant, status).await;
    }
    assert_eq!(texts_at(&lender), ["desa-satu"]);
    let sends = app.simulator.requests();
    assert!(
        sends
            .iter()
            .all(|request| !request.path.starts_with("/wa/chat/send"))
    );
    app.finish().await;
    lender.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_is_taken_whole_or_not_at_all() {
    let app = TestApp::spawn().await;
    let (one, two) = (second_server().await, second_server().await);
    configure(
        &app,
        &[
            server("Primary", &app.simulator),
            server("Moves", &one),
            server("Goes", &two),
        ],
    )
    .await;
    let of = |name: &str| app.endpoints.find(name);
    let (primary, moves) = (of("Primary").unwrap(), of("Moves").unwrap());

    // Mistakes: all of them, and the table stays as it is.
    let secret = format!("s3cret-{}", uuid::Uuid::now_v7().simple());
    let broken = json!([
        server("Moves", &one),
        {"name": "Moves", "apiUrl": format!("https://u:{secret}@x.example"), "apiKey": secret},
        {"name": "Z", "provider": "gowa", "apiUrl": "http://x.example", "apiKey": secret},
    ]);
    let refused = reload(&app.endpoints, &source(&broken.to_string()))
        .await
        .unwrap_err();
    let ReloadError::Settings(invalid) = &refused else {
        panic!("{refused}");
    };
    let places: Vec<&str> = invalid
        .problems
        .iter()
        .map(|problem| problem.name.as_str())
        .collect();
    assert_eq!(
        places,
        [
            "WHATSAPP_ENDPOINTS[1].name",
            "WHATSAPP_ENDPOINTS[1].apiUrl",
            "WHATSAPP_ENDPOINTS[2].apiKey"
        ]
    );
    assert!(!format!("{refused} {refused:?}").contains(&secret));
    assert_eq!(names(&app.endpoints.names()), ["Primary", "Moves", "Goes"]);
    assert!(Arc::ptr_eq(&primary, &of("Primary").unwrap()));

    // A message is on its way through what is replaced.
    let dua = tenant_at(&app, &one, "Moves", "desa-dua").await;
    let slow = FaultSpec::on_path("/wa/chat/send/text", FaultKind::Delay { ms: 1_500 });
    one.add_fault(slow.times(1)).unwrap();
    app.order(&dua, RARA, "di jalan").await;
    eventually("it is on its way", || async {
        (asked(&one, "/wa/chat/send/text") == 1 || !one.faults().is_empty() && one.faults()[0].hits == 1)
            .then_some(())
    })
    .await;
    let changes = configure(
        &app,
        &[
            server("New", &two),
            server("Moves", &two),
            server("Primary", &app.simulator),
        ],
    )
    .await;
    assert_eq!(names(&changes.new), ["New"]);
    assert_eq!(names(&changes.changed), ["Moves"]);
    assert_eq!(names(&changes.removed), ["Goes"]);
    assert_eq!(names(&app.endpoints.names()), ["New", "Moves", "Primary"]);
    assert!(of("Goes").is_none() && of("moves").is_none());
    assert!(!Arc::ptr_eq(&moves, &of("Moves").unwrap()));
    assert!(
        Arc::ptr_eq(&primary, &of("Primary").unwrap()),
        "what is as it was keeps its connections"
    );
    app.until_status("di jalan", "sent").await;
    assert_eq!(
        texts_at(&one),
        ["di jalan"],
        "the call was finished where it was begun"
    );
    assert_eq!(texts_at(&two), [""; 0]);
    app.finish().await;
    one.stop().await;
    two.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endpoint_may_sign_for_its_accounts_and_for_no_others() {
    let app = TestApp::spawn().await;
    let second = second_server().await;
    let mut signing = server("Second", &second);
    signing["webhookSecret"] = json!(["kunci baru", "kunci lama"]);
    configure(&app, &[server("Primary", &app.simulator), signing]).await;
    let satu = app.tenant("desa-satu").await;
    let dua = tenant_at(&app, &second, "Second", "desa-dua").await;
    let unsigned = app.unsigned_tenant("desa-tiga").await;
    bind(&app, unsigned.account, "genfity", "Second").await;
    let signed = |tenant: &Tenant, id: &str, key: Option<&str>| {
        let mut webhook = tenant.json(&text(RARA, id, "halo"));
        webhook.signature = None;
        webhook.signed(key)
    };
    for (number, tenant, key, taken) in [
        (1, &dua, dua.key.as_deref(), true),
        (2, &dua, Some("kunci baru"), true),
        (3, &dua, Some("kunci lama"), true),
        (4, &dua, Some("kunci lain"), false),
        (5, &dua, None, false),
        (6, &satu, Some("kunci baru"), false),
        (7, &satu, satu.key.as_deref(), true),
        (8, &unsigned, Some("kunci lama"), true),
        (9, &unsigned, None, false),
    ] {
        let webhook = signed(tenant, &format!("3EB0E{number}"), key);
        let answer = app.post(&webhook).await;
        assert_eq!(answer.status == 200, taken, "{number}: {}", answer.text);
    }
    // Without the endpoint its key is not known, and that is no reason to take what nobody has signed.
    configure(&app, &[server("Primary", &app.simulator)]).await;
    for (number, tenant, key, status) in [
        (10, &unsigned, None, 503),
        (11, &unsigned, Some("kunci lama"), 503),
        (12, &dua, dua.key.as_deref(), 200),
    ] {
        let webhook = signed(tenant, &format!("3EB0E{number}"), key);
        let answer = app.post(&webhook).await;
        assert_eq!(answer.status, status, "{number}: {}", answer.text);
    }
    app.finish().await;
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_probe_says_whether_an_endpoint_answers_and_takes_our_key() {
    let app = TestApp::with(Wishes {
        maker: Maker::Gateway,
        ..Wishes::default()
    })
    .await;
    let base = app.simulator.base_url();
    let gateway = |name: &str, key: &str| json!({"name": name, "apiUrl": format!("{base}/support/v1/wa"), "apiKey": key});
    let mut wrong_token = server("WrongToken", &app.simulator);
    let secret = format!("wrong-{}", uuid::Uuid::now_v7().simple());
    app.never_log(&secret);
    wrong_token["apiKey"] = json!(secret);
    configure(
        &app,
        &[
            gateway("Gateway", "govconnect:simulator-internal-key"),
            gateway("WrongKey", &secret),
            server("Server", &app.simulator),
            wrong_token,
            gowa("Gowa", &app.simulator),
            json!({"name": "Down", "apiUrl": "http://127.0.0.1:9", "apiKey": "x"}),
            json!({"name": "Other", "apiUrl": format!("{base}/nothing"), "apiKey": "x"}),
            json!({"name": "Meta", "provider": "cloud", "apiUrl": "http://127.0.0.1:9/v22.0", "apiKey": "x",
                   "appSecret": "x", "verifyToken": "x", "phoneNumberIds": ["1"]}),
        ],
    )
    .await;
    let probe = |name: &'static str| {
        let endpoint = app.endpoints.find(name).unwrap();
        async move { endpoint.probe.probe().await }
    };
    for (name, key_taken) in [("Gateway", true), ("Server", true), ("Gowa", false)] {
        let report = probe(name).await.unwrap();
        assert_eq!(report.key_taken, key_taken, "{name}");
        assert!(report.took < Duration::from_secs(10));
    }
    for (name, reason) in [
        ("WrongKey", ProbeReason::KeyRefused),
        ("WrongToken", ProbeReason::KeyRefused),
        ("Down", ProbeReason::Unreachable),
        ("Other", ProbeReason::Unexpected),
        ("Meta", ProbeReason::Unreachable),
    ] {
        let failure = probe(name).await.unwrap_err();
        assert_eq!(failure.reason, reason, "{name}: {failure}");
        assert!(!format!("{failure} {failure:?}").contains(&secret));
    }
    for (kind, reason) in [
        (crate::harness::refusal(503, "down", None), ProbeReason::Unwell),
        (
            crate::harness::refusal(429, "slow", None),
            ProbeReason::RateLimited,
        ),
        (FaultKind::Cut, ProbeReason::NoAnswer),
    ] {
        for (name, path) in [
            ("Gateway", "/support/internal/me"),
            ("Server", "/wa/health"),
            ("Server", "/wa/admin/users"),
            ("Gowa", "/gowa/devices"),
        ] {
            let fault = app
                .simulator
                .add_fault(FaultSpec::on_path(path, kind.clone()))
                .unwrap();
            let failure = probe(name).await.unwrap_err();
            assert_eq!(failure.reason, reason, "{name} {path}: {failure}");
            app.simulator.remove_fault(fault);
        }
    }
    probe("Gateway").await.unwrap();
    assert!(!logs::hold(&secret));
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_nothing_may_go_out_no_endpoint_is_called() {
    let app = TestApp::with(Wishes {
        dry_run: true,
        ..Wishes::default()
    })
    .await;
    let second = second_server().await;
    configure(
        &app,
        &[server("Primary", &app.simulator), server("Second", &second)],
    )
    .await;
    let dua = tenant_at(&app, &second, "Second", "desa-dua").await;
    app.order(&dua, RARA, "di atas kertas").await;
    app.until_status("di atas kertas", "sent").await;
    for endpoint in app.endpoints.all() {
        endpoint.probe.probe().await.unwrap();
    }
    app.internal(Method::POST, "/whatsapp/connect?village_id=desa-dua", None)
        .await;
    assert_eq!(second.requests().len(), 0);
    app.finish().await;
    second.stop().await;
}
