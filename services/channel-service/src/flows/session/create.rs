//! A session is made: intent first, then the outside, then the account.
//!
//! The intent is committed with the name and the secrets of the session before anybody outside hears of it. A crash, a
//! refusal or a lost answer leaves the intent behind; the next try finds by it what was made at the gateway (by name)
//! or at the server (by token) and goes on from there, and the sweep takes back what nobody tries again.

use std::sync::Arc;

use domain::device::DeviceName;
use domain::endpoint::Provider;
use domain::ids::{AccountId, TenantId};
use secrecy::{ExposeSecret as _, SecretString};
use tenant_isolation::{TenantScope, TenantTransaction};
use whatsapp::credentials::{SessionToken, WebhookKey};
use whatsapp::genfity::{CallError, EventList, NewGatewaySession, NewWaUser, SupportGateway, WaAdmin};
use whatsapp::gowa::{DeviceWebhook, GowaDevices, NewDevice};

use super::name::{claim_device, claim_name, plain_name};
use super::work::Work;
use super::{SessionError, Sessions, Which, random_secret};
use crate::endpoints::{Endpoints, LiveEndpoint};
use crate::flows::register_account::{NewAccount, register_in};
use crate::flows::register_device::device_id;
use crate::flows::tenant::Actor;
use crate::flows::tenant_config::{Place, ensure_primary, place_of};
use crate::store::account::{self, AccountRow, GOWA_DEVICE, INSTANCE};
use crate::store::session::{self, SessionVia};
use crate::store::session_intent::{self, IntentRow};
use crate::store::tenant_move::{self, Binding};
use crate::store::{audit, device, tenant};

/// What came of the wish for a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Created {
    /// There was one.
    Existing,
    /// There is one now.
    New {
        /// The server's id of it.
        session_id: Option<String>,
    },
}

/// For which account a session is wished.
#[derive(Debug, Clone, Copy)]
pub(super) enum Wish<'a> {
    /// The tenant's first one, which is made when there is none; the session is called like this, if that is free.
    Primary(Option<&'a str>),
    /// This one.
    Of(AccountId),
    /// One that has none: what an earlier try left half made, the first account, or another one. People call it like this.
    Another(Option<&'a DeviceName>),
}

/// A session that is being made, opened.
pub(super) struct Intent {
    account: AccountId,
    pub(super) endpoint: Arc<LiveEndpoint>,
    pub(super) name: String,
    pub(super) via: SessionVia,
    pub(super) token: SecretString,
    webhook_key: SecretString,
}

/// A session as it was made.
struct Made {
    session_id: Option<String>,
    token: SecretString,
}

enum Intended {
    Existing,
    Make(Intent),
}

impl Sessions {
    /// Makes the session of the tenant's first account, unless it has one. A second call at the same time waits for the
    /// first.
    ///
    /// # Errors
    /// [`SessionError`]. Nothing stays behind that the next call or the sweep does not find.
    pub async fn create(
        &self,
        scope: &TenantScope,
        slug: Option<&str>,
        actor: &Actor,
    ) -> Result<Created, SessionError> {
        if self.find(scope, Which::Primary).await?.is_some() {
            return Ok(Created::Existing);
        }
        let (account, made) = self.make_one(scope, Wish::Primary(slug), actor).await?;
        if matches!(made, Created::New { .. }) {
            self.connect_new(scope, account).await;
        }
        Ok(made)
    }

    /// Makes a session for the account that is wished for, and says which that was.
    pub(super) async fn make_one(
        &self,
        scope: &TenantScope,
        wish: Wish<'_>,
        actor: &Actor,
    ) -> Result<(AccountId, Created), SessionError> {
        let work = self.begin_work(scope).await?;
        let made = self.make(&work, wish, actor).await;
        work.end().await;
        made
    }

    async fn make(
        &self,
        work: &Work<'_>,
        wish: Wish<'_>,
        actor: &Actor,
    ) -> Result<(AccountId, Created), SessionError> {
        let (account, intended) = self.intend(work, wish, actor).await?;
        let intent = match intended {
            Intended::Existing => return Ok((account, Created::Existing)),
            Intended::Make(intent) => intent,
        };
        self.clear_predecessors(work, &intent, actor).await?;
        let made = match intent.via {
            SessionVia::Gateway => self.make_at_gateway(work, &intent).await?,
            SessionVia::Server => {
                let server = intent.endpoint.server()?;
                self.make_at_server(work, server, &intent).await?
            }
            SessionVia::Gowa => {
                let devices = intent.endpoint.devices()?;
                self.make_at_gowa(work, devices, &intent).await?
            }
            // Numbers are taken, see `number.rs`, and never intended.
            SessionVia::Cloud => return Err(SessionError::NumberNeeded),
            SessionVia::DryRun => Made {
                session_id: None,
                token: intent.token.clone(),
            },
        };
        Ok((account, self.complete(work, &intent, made, actor).await?))
    }

    async fn intend(
        &self,
        work: &Work<'_>,
        wish: Wish<'_>,
        actor: &Actor,
    ) -> Result<(AccountId, Intended), SessionError> {
        let scope = work.scope();
        let mut tx = work.transaction("intend session").await?;
        if matches!(wish, Wish::Primary(_)) && tenant::ensure(&mut tx, None).await? {
            audit::note(&mut tx, &actor.act("tenant.create", None)).await?;
        }
        let tenant = tenant::find(&mut tx).await?;
        if tenant.as_ref().is_none_or(|tenant| !tenant.is_active()) {
            return Err(SessionError::Suspended);
        }
        let row = account_for(&mut tx, &self.endpoints, scope.tenant(), wish).await?;
        let account = AccountId::from_uuid(row.id);
        if row.token_sealed.is_some() {
            session_intent::delete(&mut tx, account).await?;
            tx.commit().await?;
            return Ok((account, Intended::Existing));
        }
        if let Wish::Another(Some(name)) = wish {
            device::set_name(&mut tx, account, name).await?;
        }
        if let Some(known) = session_intent::find(&mut tx, account).await? {
            let intent = self.open(scope, &known, &row)?;
            session_intent::touch(&mut tx, account).await?;
            tx.commit().await?;
            return Ok((account, Intended::Make(intent)));
        }
        let (row, endpoint) = self.place_new(&mut tx, row).await?;
        let limit = tenant.map_or(0, |tenant| i64::from(tenant.session_limit));
        if device::count_others(&mut tx, account).await? >= limit {
            return Err(SessionError::LimitReached);
        }
        let slug = match wish {
            Wish::Primary(slug) => slug,
            Wish::Of(_) | Wish::Another(_) => None,
        };
        let intent = self.write_intent(&mut tx, scope, &row, endpoint, slug).await?;
        tx.commit().await?;
        let (kind, id) = intent.outside_id();
        self.routes.forget(kind, &id).await;
        Ok((account, Intended::Make(intent)))
    }

    /// Where the account's new session is made: where its tenant was put last.
    async fn place_new(
        &self,
        tx: &mut TenantTransaction,
        row: AccountRow,
    ) -> Result<(AccountRow, Arc<LiveEndpoint>), SessionError> {
        let Place { name, endpoint } = place_of(tx, &self.endpoints).await?;
        let Some(endpoint) = endpoint else {
            return Err(SessionError::EndpointMissing(name.unwrap_or(row.endpoint)));
        };
        let to = Binding {
            endpoint: &endpoint.name,
            provider: endpoint.provider,
        };
        let account = AccountId::from_uuid(row.id);
        tenant_move::bind(tx, &[account], to).await?;
        Ok((account::find(tx, account).await?, endpoint))
    }

    pub(super) fn open(
        &self,
        scope: &TenantScope,
        known: &IntentRow,
        row: &AccountRow,
    ) -> Result<Intent, SessionError> {
        let account = known.account();
        let endpoint = self.endpoint_named(&row.provider, &row.endpoint)?;
        let token = self.keys.open(
            &known.token_sealed,
            &session_intent::token_binding(scope.tenant(), account),
        )?;
        let sealed = row.webhook_keys_sealed.first().map(String::as_str);
        let webhook_key = self.keys.open(
            sealed.unwrap_or_default(),
            &account::webhook_key_binding(scope.tenant(), account),
        )?;
        Ok(Intent {
            account,
            endpoint,
            name: known.session_name.clone(),
            via: SessionVia::parse(&known.via).ok_or(SessionError::NotConfigured)?,
            token,
            webhook_key,
        })
    }

    /// The name leads to the account from now on, and the account asks for signatures from now on: what the session
    /// tells before it is all there finds its tenant, and nobody else can use the name meanwhile.
    async fn write_intent(
        &self,
        tx: &mut TenantTransaction,
        scope: &TenantScope,
        row: &AccountRow,
        endpoint: Arc<LiveEndpoint>,
        slug: Option<&str>,
    ) -> Result<Intent, SessionError> {
        let via = endpoint.via()?;
        let account = AccountId::from_uuid(row.id);
        let name = if endpoint.provider == Provider::Gowa {
            claim_device(tx, scope, account, &endpoint).await?
        } else {
            claim_name(tx, scope, account, slug).await?
        };
        let webhook_key = random_secret("");
        let token = match via {
            // The device's id, which proves nothing: the endpoint's key does.
            _ if endpoint.provider == Provider::Gowa => SecretString::from(name.as_str()),
            SessionVia::DryRun => SecretString::from(format!(
                "dryrun_{}_{}",
                scope.tenant(),
                chrono::Utc::now().timestamp_millis()
            )),
            SessionVia::Gateway | SessionVia::Server | SessionVia::Gowa | SessionVia::Cloud => {
                random_secret("wat_")
            }
        };
        let key_binding = account::webhook_key_binding(scope.tenant(), account);
        let waiting = AccountRow {
            id: row.id,
            provider: row.provider.clone(),
            endpoint: row.endpoint.clone(),
            instance_name: name.clone(),
            session_id: None,
            token_sealed: None,
            webhook_keys_sealed: vec![self.keys.seal(&webhook_key, &key_binding)?],
        };
        account::upsert(tx, &waiting).await?;
        let token_binding = session_intent::token_binding(scope.tenant(), account);
        let written = IntentRow {
            account_id: row.id,
            session_name: name.clone(),
            via: via.as_str().to_owned(),
            token_sealed: self.keys.seal(&token, &token_binding)?,
        };
        session_intent::insert(tx, &written).await?;
        Ok(Intent {
            account,
            endpoint,
            name,
            via,
            token,
            webhook_key,
        })
    }

    async fn make_at_gateway(&self, work: &Work<'_>, intent: &Intent) -> Result<Made, SessionError> {
        let gateway = intent.endpoint.gateway()?;
        let (key, listed) = self.listed(work, &intent.endpoint).await?;
        if let Some(known) = listed.into_iter().find(|session| session.name == intent.name) {
            // Made by an earlier try whose answer was lost.
            if let Some(token) = known.token {
                return Ok(Made {
                    session_id: Some(known.id),
                    token,
                });
            }
            // Its token was shown to nobody, so nobody can use it.
            work.go_on().await?;
            gateway.delete_session(&key, &known.id).await?;
        }
        work.go_on().await?;
        let new = NewGatewaySession {
            name: &intent.name,
            webhook_url: self.webhook_url.as_deref(),
            hmac_key: &intent.webhook_key,
        };
        let made = match gateway.create_session(&key, &new).await {
            // It is a customer for one session, unless its tenant may have more.
            Err(error) if SupportGateway::is_full(&error) => {
                let most = self.limit_of(work).await?;
                work.go_on().await?;
                if !gateway
                    .allow_sessions(&key, work.scope().tenant().as_str(), most)
                    .await?
                {
                    return Err(error.into());
                }
                work.go_on().await?;
                gateway.create_session(&key, &new).await?
            }
            made => made?,
        };
        let token = made.token.ok_or(CallError::Unreadable {
            call: "POST /v1/sessions",
        })?;
        Ok(Made {
            session_id: Some(made.id),
            token,
        })
    }

    async fn limit_of(&self, work: &Work<'_>) -> Result<i64, SessionError> {
        let mut tx = work.transaction("read device limit").await?;
        let tenant = tenant::find(&mut tx).await?;
        tx.commit().await?;
        Ok(tenant.map_or(0, |tenant| i64::from(tenant.session_limit)))
    }

    async fn make_at_server(
        &self,
        work: &Work<'_>,
        server: &WaAdmin,
        intent: &Intent,
    ) -> Result<Made, SessionError> {
        work.go_on().await?;
        let new = NewWaUser {
            name: &intent.name,
            token: &intent.token,
            webhook: self.webhook_url.as_deref(),
            events: &EventList::all(),
            hmac_key: &intent.webhook_key,
            expiration: 0,
            history: 0,
        };
        let id = match server.create_user(&new).await? {
            Some(id) => id,
            // Made by an earlier try whose answer was lost.
            None => {
                work.go_on().await?;
                let known = server.find_user(&intent.token).await?;
                known.ok_or(CallError::Unreadable {
                    call: "GET /admin/users",
                })?
            }
        };
        Ok(Made {
            session_id: Some(id),
            token: intent.token.clone(),
        })
    }

    async fn make_at_gowa(
        &self,
        work: &Work<'_>,
        devices: &GowaDevices,
        intent: &Intent,
    ) -> Result<Made, SessionError> {
        let key = WebhookKey::new(intent.webhook_key.expose_secret());
        let url = self.webhook_url_at(intent.endpoint.provider, intent.endpoint.name.as_str());
        let new = NewDevice {
            id: SessionToken::new(intent.name.as_str()).map_err(|_| SessionError::NotConfigured)?,
            webhook: url.zip(key.ok()).map(|(url, key)| DeviceWebhook { url, key }),
        };
        work.go_on().await?;
        // One that an earlier try made, whose answer was lost, is found by its name.
        let made = devices.ensure(&new).await?;
        Ok(Made {
            session_id: Some(made.id),
            token: intent.token.clone(),
        })
    }

    async fn complete(
        &self,
        work: &Work<'_>,
        intent: &Intent,
        made: Made,
        actor: &Actor,
    ) -> Result<Created, SessionError> {
        let mut tx = work.transaction("complete session").await?;
        // Its tenant was erased meanwhile, and the intent taken over by whoever takes back what it left.
        if !session_intent::delete(&mut tx, intent.account).await? {
            return Err(SessionError::Busy);
        }
        let session_id = made.session_id.clone();
        let registered = if intent.endpoint.provider == Provider::Gowa {
            self.register_device(&mut tx, work.scope(), intent, made).await?;
            None
        } else {
            let new = NewAccount {
                tenant: work.scope().tenant().clone(),
                instance_name: intent.name.clone(),
                session_id: made.session_id,
                token: made.token,
                webhook_key: Some(intent.webhook_key.clone()),
                unsigned: false,
            };
            let place = Place {
                name: Some(intent.endpoint.name.to_string()),
                endpoint: Some(Arc::clone(&intent.endpoint)),
            };
            Some(register_in(&mut tx, &self.keys, &place, &new).await?)
        };
        session::set_via(&mut tx, intent.account, intent.via).await?;
        let mut act = actor.act("session.create", Some(intent.name.clone()));
        act.detail = Some(format!("via {}", intent.via.as_str()));
        audit::note(&mut tx, &act).await?;
        tx.commit().await?;
        if let Some(registered) = registered {
            registered.make_known(&self.routes).await;
        }
        let (kind, id) = intent.outside_id();
        self.routes.forget(kind, &id).await;
        self.changed(work.scope(), intent.account).await;
        Ok(Created::New { session_id })
    }

    /// A device's name leads to its account since it was intended.
    async fn register_device(
        &self,
        tx: &mut TenantTransaction,
        scope: &TenantScope,
        intent: &Intent,
        made: Made,
    ) -> Result<(), SessionError> {
        let account = intent.account;
        let key_binding = account::webhook_key_binding(scope.tenant(), account);
        let token_binding = account::token_binding(scope.tenant(), account);
        let row = AccountRow {
            id: account.as_uuid(),
            provider: intent.endpoint.provider.to_string(),
            endpoint: intent.endpoint.name.to_string(),
            instance_name: intent.name.clone(),
            session_id: made.session_id,
            token_sealed: Some(self.keys.seal(&made.token, &token_binding)?),
            webhook_keys_sealed: vec![self.keys.seal(&intent.webhook_key, &key_binding)?],
        };
        account::upsert(tx, &row).await?;
        Ok(())
    }
}

impl Intent {
    /// By which outside id its events find it.
    fn outside_id(&self) -> (&'static str, String) {
        if self.endpoint.provider == Provider::Gowa {
            (GOWA_DEVICE, device_id(self.endpoint.name.as_str(), &self.name))
        } else {
            (INSTANCE, self.name.clone())
        }
    }
}

/// The account that the session is for.
async fn account_for(
    tx: &mut TenantTransaction,
    endpoints: &Endpoints,
    tenant: &TenantId,
    wish: Wish<'_>,
) -> Result<AccountRow, SessionError> {
    let id = match wish {
        Wish::Primary(_) => {
            let first = ensure_primary(tx, endpoints).await?;
            // Whoever wants it now does not want it removed any more.
            device::keep(tx, first).await?;
            first
        }
        Wish::Of(account) => {
            let known = device::find(tx, account).await?.ok_or(SessionError::NoDevice)?;
            if known.is_going {
                return Err(SessionError::Going);
            }
            account
        }
        Wish::Another(_) => {
            // Nobody works on it: whoever has the tenant's right to make sessions is here.
            for left in session_intent::list(tx).await? {
                if !is_going(tx, left.account()).await? {
                    return Ok(account::find(tx, left.account()).await?);
                }
            }
            let first = ensure_primary(tx, endpoints).await?;
            if account::find(tx, first).await?.token_sealed.is_some() || is_going(tx, first).await? {
                let place = place_of(tx, endpoints).await?;
                return Ok(account::add(tx, &plain_name(tenant.as_str()), place.home()).await?);
            }
            first
        }
    };
    Ok(account::find(tx, id).await?)
}

async fn is_going(tx: &mut TenantTransaction, account: AccountId) -> Result<bool, SessionError> {
    Ok(device::find(tx, account).await?.is_some_and(|row| row.is_going))
}
