//! Customers: made, changed, shown and given keys, by the service they belong to or by an operator (contract §6).
//!
//! Whose customer it is is looked up in the transaction that works for it, under the customer's lock, so no service can
//! take over another one's customer between the question and the change (W-01).
//!
//! A period of a subscription begins when the subscription is made, and when its end moves to a later moment: that is a
//! renewal, and what was sent before no longer counts. The same end or an earlier one begins nothing.

use std::net::IpAddr;
use std::time::Duration;

use chrono::{DateTime, Utc};
use database::{Database, DatabaseError};
use secrecy::SecretString;
use tenant_isolation::resolve::ExternalId;
use tenant_isolation::source_keys::SourceCaller;
use tenant_isolation::{PlatformScope, PlatformTransaction, TenantScope, TenantTransaction};
use uuid::Uuid;

use super::customer_key::CustomerKeys;
use super::session_audit::SessionActor;
use super::standing::Standings;
use crate::error::Error;
use crate::secrets;
use crate::store::api_keys::{self, KeyRow};
use crate::store::audit::{self, Act, ActRow};
use crate::store::customer_list::{self, ListedRow};
use crate::store::ownership::{self, CustomerRow};
use crate::store::terms::{self, SomeTerms, SubscriptionRow, Terms};
use crate::store::{PROVIDER, customers, directory};

/// Keys a customer may have at once: the one in use and those that end soon.
const MOST_KEYS: i64 = 10;

/// Status of a customer that is switched off.
pub(super) const SUSPENDED: &str = "suspended";

/// Who acts.
#[derive(Debug, Clone)]
pub(crate) enum Actor {
    /// A service, calling from this address.
    Service(SourceCaller, Option<IpAddr>),
    /// Whoever types commands on the machine.
    Operator,
}

impl Actor {
    fn name(&self) -> &str {
        match self {
            Self::Service(caller, _) => caller.name(),
            Self::Operator => "operator",
        }
    }

    fn address(&self) -> Option<String> {
        match self {
            Self::Service(_, address) => address.map(|address| address.to_string()),
            Self::Operator => None,
        }
    }

    fn may_work_for(&self, source: &str) -> bool {
        match self {
            Self::Service(caller, _) => caller.may_work_for(source),
            Self::Operator => true,
        }
    }

    /// May it speak for this service at all?
    ///
    /// # Errors
    /// [`Error::NotItsSource`].
    pub(crate) fn speaks_for(&self, source: &str) -> Result<(), Error> {
        if self.may_work_for(source) {
            Ok(())
        } else {
            Err(Error::NotItsSource)
        }
    }

    /// Who it is where it works on sessions.
    pub(super) fn on_sessions(&self) -> SessionActor {
        match self {
            Self::Service(caller, address) => SessionActor::Caller(caller.name().to_owned(), *address),
            Self::Operator => SessionActor::Operator,
        }
    }

    /// What it reads of a customer that is not there: a service with a key of its own does not learn that.
    pub(crate) fn no_such_customer(&self) -> Error {
        match self {
            Self::Service(caller, _) if caller.source().is_some() => Error::NotItsCustomer,
            Self::Service(..) | Self::Operator => Error::NoCustomer,
        }
    }

    pub(super) fn owned(&self, row: Option<CustomerRow>) -> Result<CustomerRow, Error> {
        let row = row.ok_or_else(|| self.no_such_customer())?;
        if self.may_work_for(&row.source_service) {
            Ok(row)
        } else {
            Err(Error::NotItsCustomer)
        }
    }

    pub(super) fn act(&self, action: &'static str, detail: Option<String>) -> Act<'_> {
        Act {
            actor: self.name(),
            action,
            subject: None,
            detail,
            source: self.address(),
        }
    }
}

/// A customer as it shall be.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    pub(crate) scope: TenantScope,
    pub(crate) source: String,
    pub(crate) created_by: String,
    pub(crate) provider: String,
    pub(crate) terms: Terms,
}

/// A change of a customer.
#[derive(Debug, Clone)]
pub(crate) struct Change {
    pub(crate) scope: TenantScope,
    /// Gives the customer to this service.
    pub(crate) source: Option<String>,
    pub(crate) provider: String,
    pub(crate) terms: SomeTerms,
}

/// Which customers are listed.
#[derive(Debug, Clone)]
pub(crate) struct Listing {
    pub(crate) source: Option<String>,
    pub(crate) provider: String,
    pub(crate) limit: i64,
    pub(crate) offset: i64,
}

/// What an operator sees of a customer.
#[derive(Debug)]
pub(crate) struct Overview {
    pub(crate) customer: ListedRow,
    pub(crate) subscription: Option<SubscriptionRow>,
    pub(crate) keys: Vec<KeyRow>,
    pub(crate) acts: Vec<ActRow>,
}

/// Works for customers. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Customers {
    pub(super) db: Database,
    pub(super) standings: Standings,
    pub(super) keys: CustomerKeys,
}

impl Customers {
    pub(crate) const fn new(db: Database, standings: Standings, keys: CustomerKeys) -> Self {
        Self { db, standings, keys }
    }

    /// Makes the customer with its subscription, or brings both to what is wanted. A new customer's key is returned, this
    /// once.
    ///
    /// # Errors
    /// [`Error::NotItsSource`], [`Error::NotItsCustomer`].
    pub(crate) async fn upsert(&self, by: &Actor, wanted: &Wanted) -> Result<Option<SecretString>, Error> {
        by.speaks_for(&wanted.source)?;
        let mut tx = TenantTransaction::begin(&self.db, &wanted.scope, "upsert customer").await?;
        let made = ownership::make(&mut tx, &wanted.source, &wanted.created_by).await?;
        let given = if made {
            None
        } else {
            let row = by.owned(ownership::lock(&mut tx).await?)?;
            ownership::give_to(&mut tx, &wanted.source).await?;
            (row.source_service != wanted.source).then_some(row.source_service)
        };
        let began = terms::put(&mut tx, &wanted.provider, wanted.terms).await?;
        let key = if made { Some(add_key(&mut tx).await?) } else { None };

        let action = if made {
            "customer.create"
        } else {
            "customer.upsert"
        };
        let detail = format!(
            "{}; {}",
            told(&wanted.terms),
            owner(&wanted.source, given.as_deref())
        );
        audit::note(&mut tx, &by.act(action, Some(detail))).await?;
        if began && !made {
            note_renewal(&mut tx, by, &wanted.provider, wanted.terms.expires_at).await?;
        }
        tx.commit().await?;
        self.standings.forget(&wanted.scope).await;
        Ok(key)
    }

    /// Changes the customer. Terms that are left out stay; a subscription that is missing is made when an end is given.
    ///
    /// # Errors
    /// [`Error::NotItsSource`], [`Error::NotItsCustomer`], [`Error::NoCustomer`], [`Error::NoSubscription`].
    pub(crate) async fn change(&self, by: &Actor, change: &Change) -> Result<(), Error> {
        if let Some(source) = &change.source {
            by.speaks_for(source)?;
        }
        let mut tx = TenantTransaction::begin(&self.db, &change.scope, "change customer").await?;
        let row = by.owned(ownership::lock(&mut tx).await?)?;
        let source = change.source.as_deref().unwrap_or(&row.source_service);
        ownership::give_to(&mut tx, source).await?;
        let began = match (
            terms::change(&mut tx, &change.provider, change.terms).await?,
            change.terms,
        ) {
            (Some(began), _) => began,
            (
                None,
                SomeTerms {
                    expires_at: Some(expires_at),
                    max_sessions,
                    max_messages,
                },
            ) => {
                let terms = Terms {
                    expires_at,
                    max_sessions: max_sessions.unwrap_or(1),
                    max_messages: max_messages.unwrap_or(0),
                };
                terms::put(&mut tx, &change.provider, terms).await?
            }
            (
                None,
                SomeTerms {
                    max_sessions: None,
                    max_messages: None,
                    ..
                },
            ) => false,
            (None, _) => return Err(Error::NoSubscription),
        };
        let given = (row.source_service != source).then_some(row.source_service.as_str());
        audit::note(&mut tx, &by.act("customer.update", Some(owner(source, given)))).await?;
        if let (true, Some(end)) = (began, change.terms.expires_at) {
            note_renewal(&mut tx, by, &change.provider, end).await?;
        }
        tx.commit().await?;
        self.standings.forget(&change.scope).await;
        Ok(())
    }

    /// Gives the customer a new key, which is returned this once. Keys before it end after `grace`, at once without any.
    ///
    /// # Errors
    /// [`Error::NotItsCustomer`], [`Error::NoCustomer`].
    pub(crate) async fn rotate_key(
        &self,
        by: &Actor,
        scope: &TenantScope,
        grace: Duration,
    ) -> Result<SecretString, Error> {
        let mut tx = TenantTransaction::begin(&self.db, scope, "rotate key").await?;
        by.owned(ownership::lock(&mut tx).await?)?;
        let grace_seconds = i64::try_from(grace.as_secs()).unwrap_or(i64::MAX);
        let ended = api_keys::end_after(&mut tx, grace_seconds).await?;
        let key = add_key(&mut tx).await?;
        api_keys::keep_latest(&mut tx, MOST_KEYS).await?;
        let detail = format!(
            "prefix {}, keys before it end in {grace_seconds} s",
            secrets::key_prefix(&key)
        );
        audit::note(&mut tx, &by.act("key.rotate", Some(detail))).await?;
        tx.commit().await?;
        for hash in ended {
            self.keys.forget(&hash).await;
        }
        Ok(key)
    }

    /// The customer's keys that are good now, as people know them; the one in use first.
    ///
    /// # Errors
    /// [`Error::NotItsCustomer`], [`Error::NoCustomer`].
    pub(crate) async fn keys(&self, by: &Actor, scope: &TenantScope) -> Result<Vec<KeyRow>, Error> {
        let mut tx = TenantTransaction::begin(&self.db, scope, "show keys").await?;
        by.owned(ownership::find(&mut tx).await?)?;
        let keys = api_keys::good(&mut tx).await?;
        tx.commit().await?;
        Ok(keys)
    }

    /// A page of customers and how many there are in all.
    ///
    /// # Errors
    /// A database that cannot be asked.
    pub(crate) async fn list(&self, listing: &Listing) -> Result<(Vec<ListedRow>, i64), Error> {
        let scope = PlatformScope::for_purpose("list customers");
        let mut tx = PlatformTransaction::begin(&self.db, scope).await?;
        let source = listing.source.as_deref();
        let total = customer_list::count(&mut tx, source).await?;
        let wanted = customer_list::Wanted {
            source,
            provider: &listing.provider,
            limit: listing.limit,
            offset: listing.offset,
        };
        let rows = customer_list::page(&mut tx, wanted).await?;
        tx.commit().await?;
        Ok((rows, total))
    }

    /// One customer as the list shows it.
    ///
    /// # Errors
    /// [`Error::NotItsCustomer`], [`Error::NoCustomer`].
    pub(crate) async fn show(
        &self,
        by: &Actor,
        scope: &TenantScope,
        provider: &str,
    ) -> Result<ListedRow, Error> {
        let mut tx = TenantTransaction::begin(&self.db, scope, "show customer").await?;
        by.owned(ownership::find(&mut tx).await?)?;
        let row = customer_list::one(&mut tx, provider).await?;
        tx.commit().await?;
        row.ok_or_else(|| by.no_such_customer())
    }

    /// The customer and its subscription, as the customer itself sees them.
    ///
    /// # Errors
    /// [`Error::InvalidApiKey`], [`Error::SubscriptionExpired`] when either has gone meanwhile.
    pub(crate) async fn own_rows(
        &self,
        scope: &TenantScope,
    ) -> Result<(CustomerRow, SubscriptionRow), Error> {
        let mut tx = TenantTransaction::begin(&self.db, scope, "customer's own rows").await?;
        let customer = ownership::find(&mut tx).await?;
        let subscription = terms::find(&mut tx, PROVIDER).await?;
        tx.commit().await?;
        Ok((
            customer.ok_or(Error::InvalidApiKey)?,
            subscription.ok_or(Error::SubscriptionExpired)?,
        ))
    }

    /// Switches the customer on or off; nothing of its is lost. False when it was so already.
    ///
    /// # Errors
    /// [`Error::NoCustomer`].
    pub(crate) async fn set_active(
        &self,
        by: &Actor,
        scope: &TenantScope,
        active: bool,
    ) -> Result<bool, Error> {
        let (status, action) = if active {
            (customers::ACTIVE, "customer.activate")
        } else {
            (SUSPENDED, "customer.suspend")
        };
        let mut tx = TenantTransaction::begin(&self.db, scope, "switch customer").await?;
        by.owned(ownership::lock(&mut tx).await?)?;
        let changed = ownership::set_status(&mut tx, status).await?;
        if changed {
            audit::note(&mut tx, &by.act(action, None)).await?;
        }
        tx.commit().await?;
        self.standings.forget(scope).await;
        Ok(changed)
    }

    /// Everything about a customer that an operator may see.
    ///
    /// # Errors
    /// [`Error::NoCustomer`].
    pub(crate) async fn overview(&self, scope: &TenantScope, acts: i64) -> Result<Overview, Error> {
        let mut tx = TenantTransaction::begin(&self.db, scope, "overview of customer").await?;
        let customer = customer_list::one(&mut tx, PROVIDER)
            .await?
            .ok_or(Error::NoCustomer)?;
        let overview = Overview {
            customer,
            subscription: terms::find(&mut tx, PROVIDER).await?,
            keys: api_keys::good(&mut tx).await?,
            acts: audit::newest(&mut tx, acts).await?,
        };
        tx.commit().await?;
        Ok(overview)
    }

    /// Waits until every change is known everywhere, for a process that ends soon after it made one.
    pub(crate) async fn settled(&self) {
        tokio::join!(self.standings.settled(), self.keys.settled());
    }
}

/// Makes the key that is in use from now on.
async fn add_key(tx: &mut TenantTransaction) -> Result<SecretString, Error> {
    let (key, id) = (secrets::new_customer_key(), Uuid::now_v7());
    let hash = secrets::token_hash(&key);
    api_keys::insert(tx, id, &hash, &secrets::key_prefix(&key)).await?;
    let external = ExternalId::new(directory::API_KEY, &hash).ok_or(Error::Internal("a hash is no id"))?;
    if directory::claim(tx, &external, id).await? {
        Ok(key)
    } else {
        Err(Error::Internal("a fresh key exists already"))
    }
}

async fn note_renewal(
    tx: &mut TenantTransaction,
    by: &Actor,
    provider: &str,
    end: DateTime<Utc>,
) -> Result<(), DatabaseError> {
    let mut act = by.act("subscription.renew", Some(format!("until {}", end.to_rfc3339())));
    act.subject = Some(provider.to_owned());
    audit::note(tx, &act).await
}

fn told(terms: &Terms) -> String {
    let Terms {
        expires_at,
        max_sessions,
        max_messages,
    } = terms;
    format!(
        "until {}, {max_sessions} session(s), {max_messages} message(s)",
        expires_at.to_rfc3339()
    )
}

fn owner(source: &str, before: Option<&str>) -> String {
    match before {
        Some(before) => format!("of {source}, before of {before}"),
        None => format!("of {source}"),
    }
}
