//! A session is made: intent first, then the outside, then the account.
//!
//! The intent is committed with the name and the secrets of the session before anybody outside hears of it. A crash, a
//! refusal or a lost answer leaves the intent behind; the next try finds by it what was made at the gateway (by name)
//! or at the server (by token) and goes on from there, and the sweep takes back what nobody tries again.

use std::sync::Arc;

use domain::ids::AccountId;
use secrecy::SecretString;
use tenant_isolation::{PlatformScope, PlatformTransaction, TenantScope, TenantTransaction};
use whatsapp::genfity::{CallError, EventList, NewGatewaySession, NewWaUser, SupportGateway, WaAdmin};

use super::work::Work;
use super::{SessionError, Sessions, random_secret};
use crate::endpoints::LiveEndpoint;
use crate::flows::register_account::{NewAccount, RegisterError, register_in};
use crate::flows::tenant::Actor;
use crate::store::account::{self, AccountRow, INSTANCE};
use crate::store::session::{self, SessionVia};
use crate::store::session_intent::{self, IntentRow};
use crate::store::{audit, tenant};

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

/// A session that is being made, opened.
struct Intent {
    endpoint: Arc<LiveEndpoint>,
    name: String,
    via: SessionVia,
    token: SecretString,
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

/// Names are tried in this many forms before one is given up as taken.
const MAX_NAME: usize = 100;

/// Most left-behind intents of one sweep.
const SWEPT: i64 = 100;

impl Sessions {
    /// Makes the tenant's session, unless it has one. A second call at the same time waits for the first.
    ///
    /// # Errors
    /// [`SessionError`]. Nothing stays behind that the next call or the sweep does not find.
    pub async fn create(
        &self,
        scope: &TenantScope,
        slug: Option<&str>,
        actor: &Actor,
    ) -> Result<Created, SessionError> {
        if self.find(scope).await?.is_some() {
            return Ok(Created::Existing);
        }
        let work = self.begin_work(scope).await?;
        let made = self.make(&work, slug, actor).await;
        work.end().await;
        let made = made?;
        if matches!(made, Created::New { .. }) {
            self.connect_new(scope).await;
        }
        Ok(made)
    }

    async fn make(
        &self,
        work: &Work<'_>,
        slug: Option<&str>,
        actor: &Actor,
    ) -> Result<Created, SessionError> {
        let intent = match self.intend(work, slug, actor).await? {
            Intended::Existing => return Ok(Created::Existing),
            Intended::Make(intent) => intent,
        };
        let made = match intent.via {
            SessionVia::Gateway => {
                let gateway = intent.endpoint.gateway()?;
                self.make_at_gateway(work, gateway, &intent).await?
            }
            SessionVia::Server => {
                let server = intent.endpoint.server()?;
                self.make_at_server(work, server, &intent).await?
            }
            SessionVia::DryRun => Made {
                session_id: None,
                token: intent.token.clone(),
            },
        };
        self.complete(work, &intent, made, actor).await
    }

    async fn intend(
        &self,
        work: &Work<'_>,
        slug: Option<&str>,
        actor: &Actor,
    ) -> Result<Intended, SessionError> {
        let scope = work.scope();
        let mut tx = work.transaction("intend session").await?;
        if tenant::ensure(&mut tx, None).await? {
            audit::note(&mut tx, &actor.act("tenant.create", None)).await?;
        }
        let tenant = tenant::find(&mut tx).await?;
        if tenant.as_ref().is_none_or(|tenant| !tenant.is_active()) {
            return Err(SessionError::Suspended);
        }
        let account = account::ensure_primary(&mut tx).await?;
        let row = account::find(&mut tx, account).await?;
        if row.token_sealed.is_some() {
            session_intent::delete(&mut tx).await?;
            tx.commit().await?;
            return Ok(Intended::Existing);
        }
        if let Some(known) = session_intent::find(&mut tx).await? {
            let intent = self.open(scope, &known, &row)?;
            session_intent::touch(&mut tx).await?;
            tx.commit().await?;
            return Ok(Intended::Make(intent));
        }
        let endpoint = self.endpoint_named(&row.provider, &row.endpoint)?;
        let limit = tenant.map_or(0, |tenant| i64::from(tenant.session_limit));
        if session::count(&mut tx).await? >= limit {
            return Err(SessionError::LimitReached);
        }
        let intent = self.write_intent(&mut tx, scope, &row, endpoint, slug).await?;
        tx.commit().await?;
        self.routes.forget(INSTANCE, &intent.name).await;
        Ok(Intended::Make(intent))
    }

    fn open(&self, scope: &TenantScope, known: &IntentRow, row: &AccountRow) -> Result<Intent, SessionError> {
        let account = AccountId::from_uuid(known.account_id);
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
        let name = claim_name(tx, scope, account, slug).await?;
        // As `register` will ask for it: better now than when the session is made.
        let own = scope.tenant().as_str();
        if !account::register(tx, INSTANCE, own, account).await?
            && !account::is_registered(tx, INSTANCE, own).await?
        {
            return Err(RegisterError::TenantNameTaken(scope.tenant().clone()).into());
        }
        let webhook_key = random_secret("");
        let token = match via {
            SessionVia::DryRun => SecretString::from(format!(
                "dryrun_{}_{}",
                scope.tenant(),
                chrono::Utc::now().timestamp_millis()
            )),
            SessionVia::Gateway | SessionVia::Server => random_secret("wat_"),
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
            endpoint,
            name,
            via,
            token,
            webhook_key,
        })
    }

    async fn make_at_gateway(
        &self,
        work: &Work<'_>,
        gateway: &SupportGateway,
        intent: &Intent,
    ) -> Result<Made, SessionError> {
        self.ensure_customer(work, gateway).await?;
        let (key, listed) = self.listed(work, gateway).await?;
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
        let made = gateway.create_session(&key, &new).await?;
        let token = made.token.ok_or(CallError::Unreadable {
            call: "POST /v1/sessions",
        })?;
        Ok(Made {
            session_id: Some(made.id),
            token,
        })
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

    async fn complete(
        &self,
        work: &Work<'_>,
        intent: &Intent,
        made: Made,
        actor: &Actor,
    ) -> Result<Created, SessionError> {
        let mut tx = work.transaction("complete session").await?;
        let new = NewAccount {
            tenant: work.scope().tenant().clone(),
            instance_name: intent.name.clone(),
            session_id: made.session_id.clone(),
            token: made.token,
            webhook_key: Some(intent.webhook_key.clone()),
            unsigned: false,
        };
        let registered = register_in(&mut tx, &self.keys, &new).await?;
        session::set_via(&mut tx, registered.id, intent.via).await?;
        session_intent::delete(&mut tx).await?;
        let mut act = actor.act("session.create", Some(intent.name.clone()));
        act.detail = Some(format!("via {}", intent.via.as_str()));
        audit::note(&mut tx, &act).await?;
        tx.commit().await?;
        registered.make_known(&self.routes).await;
        self.changed(work.scope(), registered.id).await;
        Ok(Created::New {
            session_id: made.session_id,
        })
    }

    /// Takes back what was begun `age` ago and never finished. Returns how many.
    ///
    /// # Errors
    /// [`SessionError::Database`]; what cannot be taken back now is taken back next time.
    pub async fn sweep(&self, age: std::time::Duration) -> Result<usize, SessionError> {
        let platform = PlatformScope::for_purpose("sweep session intents");
        let mut tx = PlatformTransaction::begin(&self.db, platform).await?;
        let left = session_intent::left_behind(&mut tx, age, SWEPT).await?;
        tx.commit().await?;
        let mut count = 0;
        for tenant in left {
            let Ok(tenant) = domain::ids::TenantId::parse(tenant) else {
                continue;
            };
            let scope = TenantScope::of_swept_row(&platform, tenant);
            match self.take_back(&scope).await {
                Ok(true) => count += 1,
                Ok(false) => {}
                Err(error) => {
                    tracing::warn!(tenant = %scope.tenant(), error = %crate::error::chain(&error),
                        "a session that was begun could not be taken back");
                }
            }
        }
        Ok(count)
    }

    async fn take_back(&self, scope: &TenantScope) -> Result<bool, SessionError> {
        let Some(work) = self.try_work(scope).await? else {
            return Ok(false);
        };
        let actor = Actor {
            name: "sweep".to_owned(),
            source: None,
        };
        let taken_back = self.abandon(&work, &actor).await;
        work.end().await;
        taken_back
    }

    /// Removes an intent and whatever was made of it outside. False when there is none.
    pub(super) async fn abandon(&self, work: &Work<'_>, actor: &Actor) -> Result<bool, SessionError> {
        let scope = work.scope();
        let mut tx = work.transaction("load session intent").await?;
        let Some(known) = session_intent::find(&mut tx).await? else {
            tx.commit().await?;
            return Ok(false);
        };
        let row = account::find(&mut tx, AccountId::from_uuid(known.account_id)).await?;
        tx.commit().await?;
        let finished = row.token_sealed.is_some();
        if !finished {
            self.remove_made(work, &known, &row).await?;
        }
        let mut tx = work.transaction("abandon session intent").await?;
        session_intent::delete(&mut tx).await?;
        if !finished {
            account::unregister(&mut tx, INSTANCE, &known.session_name).await?;
            account::unregister(&mut tx, INSTANCE, scope.tenant().as_str()).await?;
            session::clear(&mut tx, AccountId::from_uuid(known.account_id)).await?;
            let act = actor.act("session.abandon", Some(known.session_name.clone()));
            audit::note(&mut tx, &act).await?;
        }
        tx.commit().await?;
        self.routes.forget(INSTANCE, &known.session_name).await;
        self.routes.forget(INSTANCE, scope.tenant().as_str()).await;
        tracing::info!(tenant = %scope.tenant(), "a session that was begun was taken back");
        Ok(true)
    }

    async fn remove_made(
        &self,
        work: &Work<'_>,
        known: &IntentRow,
        row: &AccountRow,
    ) -> Result<(), SessionError> {
        let intent = self.open(work.scope(), known, row)?;
        match intent.via {
            SessionVia::DryRun => {}
            SessionVia::Gateway => {
                let gateway = intent.endpoint.gateway()?;
                // Without the customer's key nothing can have been made.
                if self.customer_key(work.scope()).await?.is_none() {
                    return Ok(());
                }
                let (key, listed) = self.listed(work, gateway).await?;
                for session in listed.into_iter().filter(|session| session.name == intent.name) {
                    work.go_on().await?;
                    gateway.delete_session(&key, &session.id).await?;
                }
            }
            SessionVia::Server => {
                let server = intent.endpoint.server()?;
                work.go_on().await?;
                if let Some(id) = server.find_user(&intent.token).await? {
                    work.go_on().await?;
                    server.delete_user(&id).await?;
                }
            }
        }
        Ok(())
    }
}

/// Points a free name at the account: the slug, else the tenant's id, else one that nobody can have.
async fn claim_name(
    tx: &mut TenantTransaction,
    scope: &TenantScope,
    account: AccountId,
    slug: Option<&str>,
) -> Result<String, SessionError> {
    let own = plain_name(scope.tenant().as_str());
    let unique = format!("{own}-{}", account.as_uuid().simple());
    let candidates = slug.map(plain_name).into_iter().chain([own, unique]);
    for name in candidates.filter(|name| !name.is_empty()) {
        let holder = account::find_by_instance(tx, &name).await?;
        if holder.is_some_and(|holder| holder.id != account.as_uuid()) {
            continue;
        }
        if account::register(tx, INSTANCE, &name, account).await? {
            return Ok(name);
        }
    }
    Err(RegisterError::InstanceTaken.into())
}

/// Lower case, with a dash for everything that is no letter, digit or dash.
fn plain_name(text: &str) -> String {
    text.trim()
        .to_lowercase()
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || c == '-' {
                c
            } else {
                '-'
            }
        })
        .take(MAX_NAME)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::plain_name;

    #[test]
    fn names_are_plain() {
        for (text, name) in [
            ("Desa_Suka.Maju", "desa-suka-maju"),
            (" cm9village01 ", "cm9village01"),
            ("a b/c", "a-b-c"),
            ("", ""),
        ] {
            assert_eq!(plain_name(text), name);
        }
        assert_eq!(plain_name(&"x".repeat(500)).len(), 100);
    }
}
