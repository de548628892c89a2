//! The tenants, and how the WhatsApp server knows them.

use channel_service::config::{EndpointsSettings, FetchedSecrets};
use channel_service::endpoints::{CallSettings, Endpoints};
use channel_service::flows::register_account::{NewAccount, register};
use channel_service::flows::route_account::AccountRoutes;
use database::{Database, DatabaseUrl, PoolSettings, SchemaNames};
use domain::ids::{AccountId, TenantId};
use futures_util::StreamExt as _;
use runtime::config::{Setting as _, SettingsReader};
use runtime::encryption::KeyRing;
use secrecy::SecretString;
use simulator::{NewSession, Simulator, SimulatorConfig};
use test_support::TestProcessDatabase;

/// A tenant with one account.
pub(crate) struct Tenant {
    pub(crate) id: String,
    pub(crate) account: AccountId,
    pub(crate) token: String,
    pub(crate) key: String,
}

/// Migrates the database and registers the tenants.
pub(crate) async fn prepare(database: &TestProcessDatabase, count: usize) -> Vec<Tenant> {
    let admin: DatabaseUrl = database.admin_url().parse().expect("a URL");
    let url: DatabaseUrl = database.service_url("channel").parse().expect("a URL");
    let names = SchemaNames::of_service(channel_service::SCHEMA);
    database::migrate(&admin, &url, &names, channel_service::MIGRATIONS)
        .await
        .expect("the migrations run");
    let pool = PoolSettings {
        size: 16,
        wait: std::time::Duration::from_secs(10),
    };
    let db = Database::new(&url, names, pool).expect("a pool");
    let redis =
        cache::RedisLink::new(&SecretString::from(test_support::redis_url()), "bench:").expect("a URL");
    let routes = AccountRoutes::new(db.clone(), redis);
    let keys = KeyRing::from_text(test_support::ENCRYPTION_KEYS).expect("a key ring");
    let settings = EndpointsSettings::read(SettingsReader::from_map([]), &FetchedSecrets::default());
    let calls = CallSettings {
        timeout: std::time::Duration::from_secs(10),
        dry_run: false,
        outage: channel_service::config::OutageSettings::default(),
    };
    let endpoints = Endpoints::build(&settings.expect("no setting is needed"), calls).expect("endpoints");
    futures_util::stream::iter(0..count)
        .map(|n| {
            let (db, routes, keys, endpoints) = (&db, &routes, &keys, &endpoints);
            async move {
                let id = format!("desa-{n}");
                let (token, key) = (format!("wat_{n}"), format!("{n:0>40}"));
                let new = NewAccount {
                    tenant: TenantId::parse(id.as_str()).expect("a tenant id"),
                    instance_name: format!("instance-{n}"),
                    session_id: Some(format!("{n:032x}")),
                    token: SecretString::from(token.as_str()),
                    webhook_key: Some(SecretString::from(key.as_str())),
                    unsigned: false,
                };
                let account = register(db, routes, keys, endpoints, new)
                    .await
                    .expect("an account");
                Tenant {
                    id,
                    account,
                    token,
                    key,
                }
            }
        })
        .buffered(16)
        .collect()
        .await
}

/// A WhatsApp server in this process that has the tenants' sessions, connected and paired.
pub(crate) async fn server_of(tenants: &[Tenant]) -> Simulator {
    let simulator = Simulator::start(SimulatorConfig::for_tests())
        .await
        .expect("the simulator starts");
    for (n, tenant) in tenants.iter().enumerate() {
        let session = NewSession {
            name: format!("instance-{n}"),
            token: Some(tenant.token.clone()),
            ..NewSession::default()
        };
        simulator.create_wa_session(session).expect("a session");
    }
    simulator
}
