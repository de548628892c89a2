//! Two villages that have everything, and everybody who asks for it: where `every_route` takes place.

use channel_service::flows::sign_in::{SessionSecret, sign_in};
use channel_service::flows::user;
use domain::ids::TenantId;
use domain::user::{EmailAddress, Role};
use reqwest::Method;
use secrecy::SecretString;
use serde_json::{Value, json};
use simulator::WaConfigChange;
use test_support::eventually;
use uuid::Uuid;

use crate::harness::{INTERNAL_KEY, LIMITED_KEY, Maker, TestApp, Wishes};
use crate::route_table::{DEVICES, Guard, RARA, Route};

/// The village of a limited key and of the dashboard's user.
pub(crate) const OURS: &str = "desa-satu";
/// The village that those two must learn nothing about.
pub(crate) const THEIRS: &str = "desa-dua";
/// What only [`THEIRS`] has: words, and a number.
pub(crate) const MARKERS: [&str; 2] = ["rahasia-4417", "6281294417441"];
const PASSWORD: &str = "kata sandi yang panjang";
/// The service with its villages and users.
pub(crate) struct World {
    pub(crate) app: TestApp,
    root: SessionSecret,
    admin: SessionSecret,
    /// A token of [`OURS`] for the gate.
    gate: String,
}

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Who {
    Nobody,
    WrongKey,
    /// With the key for all villages, or signed in as whoever may use the route.
    Entitled,
    /// The limited key, or the village's own admin, with the cookie.
    OfOurs,
}

impl World {
    pub(crate) async fn new() -> Self {
        let app = TestApp::with(Wishes {
            maker: Maker::Gateway,
            events_come_here: true,
            send_attempts: "1",
            message_timeout_ms: "2000",
            settings: &[
                ("WA_WEBHOOK_VERIFY_TOKEN", "verify-me-please"),
                // Each try to sign in comes from an address of its own.
                ("TRUSTED_PROXIES", "127.0.0.1"),
                ("SEND_RATE_PER_ACCOUNT", "10000"),
                ("SEND_RATE_PER_TENANT", "10000"),
            ],
            ..Wishes::default()
        })
        .await;
        app.simulator.configure_wa(WaConfigChange {
            auto_login: Some(false),
            ..WaConfigChange::default()
        });
        for (village, slug, number) in [(OURS, OURS, "6281290000001"), (THEIRS, MARKERS[0], MARKERS[1])] {
            open_village(&app, village, slug, number).await;
        }
        app.unsigned_tenant("desa-tiga").await;
        plant(&app).await;
        let root = signed_in(&app, "super@kanal.id", Role::Superadmin, None).await;
        let admin = signed_in(&app, "rara@desa.id", Role::TenantAdmin, Some(OURS)).await;
        signed_in(&app, "rahasia-4417@desa.id", Role::TenantAdmin, Some(THEIRS)).await;
        let gate = crate::gate_world::token_of(&app, OURS).await;
        Self {
            app,
            root,
            admin,
            gate,
        }
    }

    /// What proves who asks.
    pub(crate) async fn credentials(&self, route: &Route, who: Who) -> Vec<(String, String)> {
        let key = |key: &str| vec![("x-internal-api-key".to_owned(), key.to_owned())];
        match (route.guard, who) {
            (Guard::Nothing, _) | (_, Who::Nobody) => Vec::new(),
            (Guard::Key, Who::WrongKey) => key("internal-key-of-nobody"),
            (Guard::Key, Who::Entitled) => key(INTERNAL_KEY),
            (Guard::Key, Who::OfOurs) => key(LIMITED_KEY),
            // A session of the dashboard's opens nothing at the gate.
            (Guard::Session, Who::WrongKey) if route.path.starts_with("/graph") => {
                vec![("authorization".into(), format!("Bearer {}", self.admin.expose()))]
            }
            (Guard::Session, _) if route.path.starts_with("/graph") => {
                vec![("authorization".into(), format!("Bearer {}", self.gate))]
            }
            // A service's key opens nothing of the dashboard's.
            (Guard::Session, Who::WrongKey) => key(INTERNAL_KEY),
            (Guard::Session, Who::Entitled) => {
                let secret = if route.path.starts_with("/api/auth") {
                    // Their session may be over afterwards, and their password another.
                    let email = format!("{}@desa.id", Uuid::now_v7().simple());
                    signed_in(&self.app, &email, Role::TenantAdmin, Some(OURS)).await
                } else if route.is_for_superadmins() {
                    SessionSecret::presented(self.root.expose()).unwrap()
                } else {
                    SessionSecret::presented(self.admin.expose()).unwrap()
                };
                vec![("authorization".into(), format!("Bearer {}", secret.expose()))]
            }
            (Guard::Session, Who::OfOurs) => vec![
                ("cookie".into(), format!("kanal_session={}", self.admin.expose())),
                ("x-csrf-token".into(), self.admin.csrf_token()),
            ],
        }
    }

    /// Every row of a village, but for those that come and go by themselves.
    pub(crate) async fn rows_of(&self, village: &str) -> Value {
        let tables = self
            .app
            .values(
                "SELECT c.table_name::text AS value FROM information_schema.columns c \
                 JOIN information_schema.tables t USING (table_schema, table_name) \
                 WHERE c.column_name = 'tenant_id' AND c.table_schema = current_schema() \
                 AND t.table_type = 'BASE TABLE' AND c.table_name NOT IN ('lanes', 'leases') ORDER BY 1",
            )
            .await;
        assert!(tables.len() > 10, "{tables:?}");
        let parts: Vec<String> = tables
            .iter()
            .map(|table| {
                let table = table.as_str().unwrap();
                format!("SELECT '{table} ' || t::text AS value FROM {table} t WHERE tenant_id = '{village}'")
            })
            .collect();
        let all = parts.join(" UNION ALL ");
        Value::Array(
            self.app
                .values(&format!("SELECT value FROM ({all}) a ORDER BY 1"))
                .await,
        )
    }
}

async fn signed_in(app: &TestApp, email: &str, role: Role, tenant: Option<&str>) -> SessionSecret {
    let email = EmailAddress::parse(email).unwrap();
    let tenant = tenant.map(|id| TenantId::parse(id).unwrap());
    let password = SecretString::from(PASSWORD);
    user::create(&app.direct, &email, None, role, tenant, &password)
        .await
        .unwrap();
    sign_in(&app.direct, Some(&email), &password)
        .await
        .unwrap()
        .secret
}

/// A village with a session of its own, connected, whose chats have something in them.
async fn open_village(app: &TestApp, village: &str, slug: &str, number: &str) {
    app.bare_tenant(village).await;
    let switches = json!({"enabled_wa": true, "wa_number": number});
    let path = format!("/channel-accounts/{village}");
    assert_eq!(
        app.internal(Method::PUT, &path, Some(&switches)).await.status,
        200
    );
    let call = |method, path: &str, body| {
        let path = format!("{path}?village_id={village}");
        async move {
            let answer = app.internal(method, &path, Some(&body)).await;
            assert!(answer.status < 300, "{path}: {}", answer.text);
            answer.json()
        }
    };
    call(Method::POST, "/whatsapp/session", json!({"village_slug": slug})).await;
    app.simulator
        .scan_qr(slug, Some(format!("{number}:5@s.whatsapp.net")))
        .unwrap();
    eventually("the number is known", || async {
        let status = call(Method::GET, "/whatsapp/status", json!({})).await;
        (status["data"]["wa_number"] == number).then_some(())
    })
    .await;
    // What the session tells of itself is written down before anybody compares rows.
    eventually("all of its events are here", || async {
        let told = app.simulator.wa_deliveries();
        let has = |kind: &str| {
            told.iter()
                .any(|event| event.session_name == slug && event.kind == kind && event.accepted())
        };
        ["QR", "PairSuccess", "Connected"]
            .iter()
            .all(|kind| has(kind))
            .then_some(())
    })
    .await;
    for (person, direction) in [(RARA, "IN"), (RARA, "OUT"), ("web_sama", "IN")] {
        let message = json!({"village_id": village, "channel_identifier": person, "direction": direction,
                             "message_text": format!("dari {slug}")});
        let answer = app.internal(Method::POST, "/messages", Some(&message)).await;
        assert_eq!(answer.status, 201, "{}", answer.text);
    }
}

/// What a chat of theirs can have besides.
async fn plant(app: &TestApp) {
    let by = json!({"admin_id": MARKERS[0], "admin_name": MARKERS[0], "reason": MARKERS[0]});
    let profile = json!({"village_id": THEIRS, "channel_identifier": RARA, "user_name": MARKERS[0],
                         "user_phone": MARKERS[1]});
    let path = format!("/takeover/{RARA}?village_id={THEIRS}");
    assert_eq!(app.internal(Method::POST, &path, Some(&by)).await.status, 200);
    let path = "/conversations/user-profile";
    assert_eq!(
        app.internal(Method::PATCH, path, Some(&profile)).await.status,
        200
    );
    for (village, device, name) in [(OURS, DEVICES[0], "kantor"), (THEIRS, DEVICES[1], MARKERS[0])] {
        app.run_sql(&format!(
            "INSERT INTO accounts (tenant_id, id, provider, endpoint, instance_name, display_name, device_since) \
             VALUES ('{village}', '{device}', 'genfity', 'Primary', '{name}-2', '{name}', now())"
        ))
        .await;
    }
    app.run_sql(&format!(
        "UPDATE tenants SET name = '{0}' WHERE tenant_id = '{THEIRS}'; \
         UPDATE messages SET status = 'parked', reason = '{0}' WHERE tenant_id = '{THEIRS}' AND direction = 'outbound'",
        MARKERS[0]
    ))
    .await;
}
