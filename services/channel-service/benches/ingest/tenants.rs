//! The tenants and the webhooks they get.

use channel_service::flows::register_account::{NewAccount, register};
use channel_service::flows::route_account::AccountRoutes;
use database::{Database, DatabaseUrl, PoolSettings, SchemaNames};
use domain::ids::{AccountId, TenantId};
use futures_util::StreamExt as _;
use hmac::{Hmac, KeyInit as _, Mac as _};
use runtime::config::Setting as _;
use runtime::encryption::KeyRing;
use secrecy::SecretString;
use sha2::Sha256;
use test_support::TestProcessDatabase;

/// Size of a webhook's body.
pub(crate) const BODY_BYTES: usize = 1_500;

/// A tenant with one account.
pub(crate) struct Tenant {
    pub(crate) id: String,
    pub(crate) account: AccountId,
    key: String,
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
    futures_util::stream::iter(0..count)
        .map(|n| {
            let (db, routes, keys) = (&db, &routes, &keys);
            async move {
                let id = format!("desa-{n}");
                let key = format!("{n:0>40}");
                let new = NewAccount {
                    tenant: TenantId::parse(id.as_str()).expect("a tenant id"),
                    instance_name: format!("instance-{n}"),
                    session_id: Some(format!("{n:032x}")),
                    token: SecretString::from(format!("wat_{n}")),
                    webhook_key: Some(SecretString::from(key.clone())),
                    unsigned: false,
                };
                let account = register(db, routes, keys, new).await.expect("an account");
                Tenant { id, account, key }
            }
        })
        .buffered(16)
        .collect()
        .await
}

/// Webhook number `n` of tenant number `tenant`, and its signature. One in 50 of a tenant's messages opens a new chat.
pub(crate) fn webhook(tenants: &[Tenant], tenant: usize, n: u64) -> (String, String) {
    let chat = 6_281_200_000_000 + n / 50;
    // Each person has a hidden id of their own, which the first message of the chat teaches.
    let lid = 190_000_000_000_000 + n / 50;
    let padding = "a".repeat(820);
    let body = format!(
        r#"{{"event":{{"Info":{{"AddressingMode":"","BroadcastListOwner":"","BroadcastRecipients":null,"Category":"","Chat":"{chat}@s.whatsapp.net","ID":"3EB0{tenant:05X}{n:013X}","IsFromMe":false,"IsGroup":false,"MediaType":"","PushName":"Budi","RecipientAlt":"","Sender":"{chat}:3@s.whatsapp.net","SenderAlt":"{lid}:3@lid","ServerID":0,"Timestamp":"2026-02-17T09:15:04-03:00","Type":"text"}},"IsEdit":false,"IsEphemeral":false,"IsViewOnce":false,"Message":{{"conversation":"Selamat pagi {padding}","messageContextInfo":{{"deviceListMetadataVersion":2}}}},"RetryCount":0}},"instanceName":"instance-{tenant}","type":"Message","userID":"{tenant:032x}"}}"#
    );
    let key = &tenants[tenant].key;
    let mut mac = Hmac::<Sha256>::new_from_slice(key.as_bytes()).expect("any length is a key");
    mac.update(body.as_bytes());
    (body, hex::encode(mac.finalize().into_bytes()))
}
