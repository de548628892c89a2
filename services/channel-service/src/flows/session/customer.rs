//! The tenant as a customer of wa-support-gateway, and what the gateway tells about its customers (contract 1.8).

use domain::account::AccountStatus;
use secrecy::SecretString;
use serde_json::{Map, Value};
use tenant_isolation::{PlatformScope, PlatformTransaction, TenantScope, TenantTransaction};
use whatsapp::genfity::{CallError, CustomerKey, EnsuredCustomer, GatewaySession, SupportGateway, UserPage};

use super::work::Work;
use super::{SessionError, Sessions};
use crate::flows::tenant::Actor;
use crate::store::session::{self, SessionRow};
use crate::store::{account, audit, support_customer, tenant};

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

    /// The gateway of the endpoint that the tenant is bound to. Its key opens no other one.
    async fn gateway_of(&self, scope: &TenantScope) -> Result<SupportGateway, SessionError> {
        let mut tx = TenantTransaction::begin(&self.db, scope, "find a tenant's endpoint").await?;
        let account = account::find_primary(&mut tx).await?;
        tx.commit().await?;
        match account {
            Some(row) => self
                .endpoint_named(&row.provider, &row.endpoint)?
                .gateway()
                .cloned(),
            None => self.gateway(),
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
        let gateway = self.gateway_of(scope).await?;
        let info = gateway.user(scope.tenant().as_str()).await?;
        let sessions = match self.customer_key(scope).await? {
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
        let gateway = self.gateway_of(scope).await?;
        let key = self.customer_key(scope).await?;
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
        let gateway = self.gateway_of(scope).await?;
        let work = self.begin_work(scope).await?;
        let provisioned = async {
            work.go_on().await?;
            let ensured = gateway.ensure_customer(scope.tenant().as_str()).await?;
            let mut tx = work.transaction("provision customer").await?;
            if tenant::ensure(&mut tx, None).await? {
                audit::note(&mut tx, &actor.act("tenant.create", None)).await?;
            }
            if let EnsuredCustomer::New(key) = ensured {
                support_customer::keep_key(&mut tx, &self.seal_key(scope, &key)?).await?;
            }
            audit::note(&mut tx, &actor.act("support.provision", None)).await?;
            tx.commit().await?;
            Ok(())
        }
        .await;
        work.end().await;
        provisioned
    }

    /// The tenant's key at the gateway, when we have one.
    pub(super) async fn customer_key(
        &self,
        scope: &TenantScope,
    ) -> Result<Option<CustomerKey>, SessionError> {
        let mut tx = TenantTransaction::begin(&self.db, scope, "load customer key").await?;
        let sealed = support_customer::find_key(&mut tx).await?;
        tx.commit().await?;
        let binding = support_customer::key_binding(scope.tenant());
        let key = sealed
            .map(|sealed| self.keys.open(&sealed, &binding))
            .transpose()?;
        Ok(key.map(CustomerKey))
    }

    fn seal_key(&self, scope: &TenantScope, key: &CustomerKey) -> Result<String, SessionError> {
        let secret: &SecretString = &key.0;
        Ok(self
            .keys
            .seal(secret, &support_customer::key_binding(scope.tenant()))?)
    }

    async fn keep_key(&self, work: &Work<'_>, key: &CustomerKey) -> Result<(), SessionError> {
        let sealed = self.seal_key(work.scope(), key)?;
        let mut tx = work.transaction("keep customer key").await?;
        support_customer::keep_key(&mut tx, &sealed).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Makes sure that the tenant is a customer and that we have its key.
    pub(super) async fn ensure_customer(
        &self,
        work: &Work<'_>,
        gateway: &SupportGateway,
    ) -> Result<CustomerKey, SessionError> {
        match self.customer_key(work.scope()).await? {
            Some(key) => Ok(key),
            None => self.renew_key(work, gateway).await,
        }
    }

    /// A key that opens: of a new customer its first, of a known one another in place of the one that nobody has.
    async fn renew_key(
        &self,
        work: &Work<'_>,
        gateway: &SupportGateway,
    ) -> Result<CustomerKey, SessionError> {
        let tenant = work.scope().tenant().as_str();
        work.go_on().await?;
        let key = match gateway.ensure_customer(tenant).await? {
            EnsuredCustomer::New(key) => key,
            EnsuredCustomer::Known => {
                work.go_on().await?;
                gateway.rotate_key(tenant).await?
            }
        };
        self.keep_key(work, &key).await?;
        Ok(key)
    }

    /// The customer's sessions, with the key that opened them: one that was replaced behind our back is renewed.
    pub(super) async fn listed(
        &self,
        work: &Work<'_>,
        gateway: &SupportGateway,
    ) -> Result<(CustomerKey, Vec<GatewaySession>), SessionError> {
        let key = self.ensure_customer(work, gateway).await?;
        work.go_on().await?;
        let first: Result<_, CallError> = gateway.sessions(&key).await;
        match first {
            Err(error) if SupportGateway::is_stale_key(&error) => {
                let key = self.renew_key(work, gateway).await?;
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
