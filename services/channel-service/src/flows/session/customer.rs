//! The tenant as a customer of wa-support-gateway, and what the gateway tells about its customers (contract 1.8).

use std::sync::Arc;

use domain::account::AccountStatus;
use domain::endpoint::EndpointName;
use domain::ids::AccountId;
use secrecy::SecretString;
use serde_json::{Map, Value};
use tenant_isolation::{PlatformScope, PlatformTransaction, TenantScope, TenantTransaction};
use whatsapp::genfity::{CallError, CustomerKey, EnsuredCustomer, GatewaySession, SupportGateway, UserPage};

use super::work::Work;
use super::{SessionError, Sessions};
use crate::config::PRIMARY;
use crate::endpoints::LiveEndpoint;
use crate::flows::tenant::Actor;
use crate::flows::tenant_config::place_of;
use crate::store::session::{self, SessionRow};
use crate::store::{account, audit, session_intent, support_customer, tenant};

/// A customer as the gateway and we know it.
#[derive(Debug)]
pub struct CustomerView {
    /// What the gateway tells; `None` when it has no such customer of ours.
    pub info: Option<Value>,
    /// Its sessions, without their tokens; none while we have no key of it.
    pub sessions: Vec<Value>,
}

/// A customer and its session here.
#[derive(Debug)]
pub struct SummaryItem {
    /// What the gateway tells.
    pub user: Map<String, Value>,
    /// What we have.
    pub session: Option<SessionRow>,
}

/// Most customers of one page, and of the summary.
pub const PAGE: u32 = 100;

impl Sessions {
    /// The gateway that is meant where no tenant is: that of the endpoint for whoever is not assigned, else the first.
    fn gateway(&self) -> Result<SupportGateway, SessionError> {
        let endpoints = self.endpoints.fallback().into_iter().chain(self.endpoints.all());
        let mut gateways = endpoints.filter_map(|endpoint| endpoint.makers.gateway.clone());
        gateways.next().ok_or(SessionError::NotConfigured)
    }

    /// The endpoint whose customer the tenant is: where its first account has its session, else where its next one is made.
    async fn customer_endpoint(&self, scope: &TenantScope) -> Result<Arc<LiveEndpoint>, SessionError> {
        let mut tx = TenantTransaction::begin(&self.db, scope, "find a tenant's endpoint").await?;
        let mut bound = account::find_primary(&mut tx).await?;
        if let Some(row) = &bound
            && row.token_sealed.is_none()
            && session_intent::find(&mut tx, AccountId::from_uuid(row.id))
                .await?
                .is_none()
        {
            bound = None;
        }
        let place = place_of(&mut tx, &self.endpoints).await?;
        tx.commit().await?;
        match bound {
            Some(row) => self.endpoint_named(&row.provider, &row.endpoint),
            None => place.endpoint.ok_or_else(|| {
                SessionError::EndpointMissing(place.name.unwrap_or_else(|| PRIMARY.to_owned()))
            }),
        }
    }

    /// Is there a gateway to be asked?
    #[must_use]
    pub fn has_gateway(&self) -> bool {
        self.gateway().is_ok()
    }

    /// Who the gateway takes us for.
    ///
    /// # Errors
    /// [`SessionError`].
    pub async fn gateway_health(&self) -> Result<Value, SessionError> {
        Ok(self.gateway()?.me().await?)
    }

    /// A page of the gateway's customers of ours.
    ///
    /// # Errors
    /// [`SessionError`].
    pub async fn customers(&self, page: u32, limit: u32) -> Result<UserPage, SessionError> {
        Ok(self.gateway()?.users(page, limit.min(PAGE)).await?)
    }

    /// One customer.
    ///
    /// # Errors
    /// [`SessionError`].
    pub async fn customer(&self, scope: &TenantScope) -> Result<CustomerView, SessionError> {
        let endpoint = self.customer_endpoint(scope).await?;
        let gateway = endpoint.gateway()?;
        let info = gateway.user(scope.tenant().as_str()).await?;
        let sessions = match self.customer_key(scope, &endpoint.name).await? {
            Some(key) => match gateway.show_sessions(&key).await {
                Err(error) if SupportGateway::is_stale_key(&error) => Vec::new(),
                listed => listed?,
            },
            None => Vec::new(),
        };
        Ok(CustomerView { info, sessions })
    }

    /// A session's settings and counters at the gateway. `None`: the customer has no such session.
    ///
    /// # Errors
    /// [`SessionError`].
    pub async fn customer_session(
        &self,
        scope: &TenantScope,
        session_id: &str,
    ) -> Result<Option<Value>, SessionError> {
        let endpoint = self.customer_endpoint(scope).await?;
        let gateway = endpoint.gateway()?;
        let key = self.customer_key(scope, &endpoint.name).await?;
        let key = key.ok_or(SessionError::NoCustomerKey)?;
        Ok(gateway.session_settings(&key, session_id).await?)
    }

    /// The gateway's first customers, each with its session here, and how many there are.
    ///
    /// # Errors
    /// [`SessionError`].
    pub async fn summary(&self) -> Result<(u64, Vec<SummaryItem>), SessionError> {
        let page = self.gateway()?.users(1, PAGE).await?;
        let tenants: Vec<String> = page
            .items
            .iter()
            .filter_map(|item| UserPage::id_of(item).map(str::to_owned))
            .collect();
        let platform = PlatformScope::for_purpose("summarise gateway customers");
        let mut tx = PlatformTransaction::begin(&self.db, platform).await?;
        let rows = session::of_tenants(&mut tx, &tenants).await?;
        tx.commit().await?;
        let items = page
            .items
            .into_iter()
            .map(|user| SummaryItem {
                session: UserPage::id_of(&user)
                    .and_then(|id| rows.iter().find(|row| row.tenant_id == id).cloned()),
                user,
            })
            .collect();
        Ok((page.total, items))
    }

    /// Makes the tenant a customer of the gateway, and keeps the key that is shown once.
    ///
    /// # Errors
    /// [`SessionError`]; running it again is safe.
    pub async fn provision(&self, scope: &TenantScope, actor: &Actor) -> Result<(), SessionError> {
        // Before a lease is taken, which is a row too.
        self.customer_endpoint(scope).await?.gateway()?;
        let work = self.begin_work(scope).await?;
        let provisioned = async {
            // It may have moved meanwhile, and goes nowhere from now on.
            let endpoint = self.customer_endpoint(scope).await?;
            let gateway = endpoint.gateway()?;
            work.go_on().await?;
            let ensured = gateway.ensure_customer(scope.tenant().as_str()).await?;
            let mut tx = work.transaction("provision customer").await?;
            if tenant::ensure(&mut tx, None).await? {
                audit::note(&mut tx, &actor.act("tenant.create", None)).await?;
            }
            if let EnsuredCustomer::New(key) = ensured {
                let sealed = self.seal_key(scope, &endpoint.name, &key)?;
                support_customer::keep_key(&mut tx, &endpoint.name, &sealed).await?;
            }
            audit::note(&mut tx, &actor.act("support.provision", None)).await?;
            tx.commit().await?;
            Ok(())
        }
        .await;
        work.end().await;
        provisioned
    }

    /// The tenant's key at the endpoint's gateway, when we have one. What is kept for another endpoint does not open.
    pub(super) async fn customer_key(
        &self,
        scope: &TenantScope,
        endpoint: &EndpointName,
    ) -> Result<Option<CustomerKey>, SessionError> {
        let mut tx = TenantTransaction::begin(&self.db, scope, "load customer key").await?;
        let Some(row) = support_customer::find_key(&mut tx, endpoint).await? else {
            return Ok(None);
        };
        let tenant = scope.tenant();
        if row.names_endpoint {
            tx.commit().await?;
            let binding = support_customer::key_binding(tenant, endpoint);
            return Ok(Some(CustomerKey(self.keys.open(&row.key_sealed, &binding)?)));
        }
        let binding = support_customer::key_binding_without_endpoint(tenant);
        let key = CustomerKey(self.keys.open(&row.key_sealed, &binding)?);
        let sealed = self.seal_key(scope, endpoint, &key)?;
        support_customer::keep_key(&mut tx, endpoint, &sealed).await?;
        tx.commit().await?;
        Ok(Some(key))
    }

    fn seal_key(
        &self,
        scope: &TenantScope,
        endpoint: &EndpointName,
        key: &CustomerKey,
    ) -> Result<String, SessionError> {
        let secret: &SecretString = &key.0;
        let binding = support_customer::key_binding(scope.tenant(), endpoint);
        Ok(self.keys.seal(secret, &binding)?)
    }

    async fn keep_key(
        &self,
        work: &Work<'_>,
        endpoint: &EndpointName,
        key: &CustomerKey,
    ) -> Result<(), SessionError> {
        let sealed = self.seal_key(work.scope(), endpoint, key)?;
        let mut tx = work.transaction("keep customer key").await?;
        support_customer::keep_key(&mut tx, endpoint, &sealed).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Makes sure that the tenant is a customer of the endpoint's gateway and that we have its key.
    pub(super) async fn ensure_customer(
        &self,
        work: &Work<'_>,
        endpoint: &LiveEndpoint,
    ) -> Result<CustomerKey, SessionError> {
        match self.customer_key(work.scope(), &endpoint.name).await? {
            Some(key) => Ok(key),
            None => self.renew_key(work, endpoint).await,
        }
    }

    /// A key that opens: of a new customer its first, of a known one another in place of the one that nobody has.
    async fn renew_key(&self, work: &Work<'_>, endpoint: &LiveEndpoint) -> Result<CustomerKey, SessionError> {
        let gateway = endpoint.gateway()?;
        let tenant = work.scope().tenant().as_str();
        work.go_on().await?;
        let key = match gateway.ensure_customer(tenant).await? {
            EnsuredCustomer::New(key) => key,
            EnsuredCustomer::Known => {
                work.go_on().await?;
                gateway.rotate_key(tenant).await?
            }
        };
        self.keep_key(work, &endpoint.name, &key).await?;
        Ok(key)
    }

    /// The customer's sessions, with the key that opened them: one that was replaced behind our back is renewed.
    pub(super) async fn listed(
        &self,
        work: &Work<'_>,
        endpoint: &LiveEndpoint,
    ) -> Result<(CustomerKey, Vec<GatewaySession>), SessionError> {
        let gateway = endpoint.gateway()?;
        let key = self.ensure_customer(work, endpoint).await?;
        work.go_on().await?;
        let first: Result<_, CallError> = gateway.sessions(&key).await;
        match first {
            Err(error) if SupportGateway::is_stale_key(&error) => {
                let key = self.renew_key(work, endpoint).await?;
                work.go_on().await?;
                let listed = gateway.sessions(&key).await?;
                Ok((key, listed))
            }
            listed => Ok((key, listed?)),
        }
    }
}

/// The three words that the original knows of a session's status.
#[must_use]
pub fn plain_status(row: &SessionRow) -> Option<&'static str> {
    match row.status.parse() {
        Ok(AccountStatus::Connected) => Some("connected"),
        Ok(AccountStatus::Disconnected | AccountStatus::LoggedOut | AccountStatus::QrWaiting) => {
            Some("disconnected")
        }
        Ok(AccountStatus::Unknown) | Err(_) => None,
    }
}
