//! Tenants with an account and a session, and the webhooks that come from them.

use std::sync::PoisonError;

use channel_service::flows::register_account::{NewAccount, register};
use channel_service::flows::tenant::{Actor, create};
use domain::ids::{AccountId, TenantId};
use secrecy::SecretString;
use serde_json::{Value, json};
use simulator::{NewSession, WaUser};
use tenant_isolation::TenantScope;
use uuid::Uuid;

use super::{TestApp, Webhook};

/// A tenant with one account.
#[derive(Debug, Clone)]
pub(crate) struct Tenant {
    pub(crate) id: String,
    pub(crate) account: AccountId,
    pub(crate) session: WaUser,
    /// What its webhooks are signed with.
    pub(crate) key: Option<String>,
}

impl TestApp {
    /// A tenant whose account is signed and whose session posts no webhooks by itself.
    pub(crate) async fn tenant(&self, id: &str) -> Tenant {
        self.tenant_as(id, "", true).await
    }

    /// As [`Self::tenant`], with a session that posts its events here.
    pub(crate) async fn live_tenant(&self, id: &str) -> Tenant {
        self.tenant_as(id, &format!("{}/webhook", self.url), true).await
    }

    /// A tenant that never got a key.
    pub(crate) async fn unsigned_tenant(&self, id: &str) -> Tenant {
        self.tenant_as(id, "", false).await
    }

    async fn tenant_as(&self, id: &str, webhook: &str, signed: bool) -> Tenant {
        let key = signed.then(|| format!("key-{}", Uuid::now_v7().simple()));
        let session = self
            .simulator
            .create_wa_session(NewSession {
                name: format!("{id}-wa"),
                webhook: webhook.to_owned(),
                hmac_key: key.clone(),
                ..NewSession::default()
            })
            .unwrap();
        let account = self.register(id, &session, key.as_deref()).await;
        Tenant {
            id: id.to_owned(),
            account,
            session,
            key,
        }
    }

    /// Registers the session, or replaces its credentials.
    pub(crate) async fn register(&self, tenant: &str, session: &WaUser, key: Option<&str>) -> AccountId {
        self.secrets
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .extend(
                [Some(session.token.as_str()), key]
                    .into_iter()
                    .flatten()
                    .map(str::to_owned),
            );
        let new = NewAccount {
            tenant: TenantId::parse(tenant).unwrap(),
            instance_name: session.name.clone(),
            session_id: Some(session.id.clone()),
            token: SecretString::from(session.token.as_str()),
            webhook_key: key.map(SecretString::from),
            unsigned: key.is_none(),
        };
        register(&self.direct, &self.routes, &self.keys, &self.endpoints, new)
            .await
            .unwrap()
    }

    /// Registers a tenant that has no session.
    pub(crate) async fn bare_tenant(&self, id: &str) {
        let scope = TenantScope::named_by_operator(TenantId::parse(id).unwrap());
        create(&self.direct, &self.endpoints, &scope, None, &Actor::operator())
            .await
            .unwrap();
    }
}

impl Tenant {
    /// The event in JSON mode, from this tenant's session, signed.
    pub(crate) fn json(&self, event: &Value) -> Webhook {
        let mut event = event.clone();
        event["instanceName"] = json!(self.session.name);
        event["userID"] = json!(self.session.id);
        Webhook::json(&event).signed(self.key.as_deref())
    }

    /// The event in form mode, from this tenant's session, signed.
    pub(crate) fn form(&self, event: &Value) -> Webhook {
        Webhook::form(&[
            ("instanceName", &self.session.name),
            ("jsonData", &event.to_string()),
            ("userID", &self.session.id),
        ])
        .signed(self.key.as_deref())
    }

    pub(crate) fn scope(&self) -> TenantScope {
        TenantScope::named_by_operator(TenantId::parse(self.id.as_str()).unwrap())
    }
}
