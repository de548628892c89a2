//! Whose an update of Meta's is: by the number that it came for, the time that it tells of, and the secret it was signed with.
//!
//! A number may have been another tenant's. What was written, or reported, while it was that one's stays that one's or
//! nobody's, however late it comes; a report about a message is for whoever sent the message.

use std::collections::HashMap;
use std::sync::Arc;

use cache::NotLoaded;
use chrono::{DateTime, TimeDelta, Utc};
use database::{Database, DatabaseError};
use domain::endpoint::Provider;
use domain::ids::{AccountId, PhoneNumberId, ProviderMessageId, WabaId};
use tenant_isolation::{PlatformScope, PlatformTransaction, TenantScope, TenantTransaction};
use whatsapp::event::Keep;

use super::route_account::{AccountRoute, AccountRoutes};
use crate::store::account::CLOUD_NUMBER;
use crate::store::cloud_number::{self, OwnerRow};

/// Meta repeats what was not taken, and reports on messages, for so long.
const LATEST: TimeDelta = TimeDelta::days(30);

/// Whose an update is.
#[derive(Debug, Clone)]
pub struct Owner {
    /// The tenant.
    pub scope: TenantScope,
    /// Its account.
    pub account: AccountId,
    /// Messages from which places the tenant keeps.
    pub keep: Keep,
}

/// Why an update is nobody's. Each is a reason in quarantine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nobodys {
    /// Nobody has the number or had it at that time.
    UnknownNumber,
    /// Nobody has a number in the business account.
    UnknownWaba,
    /// It is not said which number or business account it is for.
    NoNumber,
    /// The number is known to be in another business account.
    WabaMismatch,
    /// It was signed with a secret of an endpoint that the account is not bound to.
    ForeignSignature,
    /// The number changed hands, and it is not said when this happened.
    UnknownTime,
}

impl Nobodys {
    /// The stable code.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::UnknownNumber => "unknown_number",
            Self::UnknownWaba => "unknown_waba",
            Self::NoNumber => "no_number",
            Self::WabaMismatch => "waba_mismatch",
            Self::ForeignSignature => "foreign_signature",
            Self::UnknownTime => "unknown_time",
        }
    }

    /// Could it become somebody's, when the number or the business account is registered?
    #[must_use]
    pub const fn may_be_claimed(self) -> bool {
        matches!(self, Self::UnknownNumber | Self::UnknownWaba)
    }

    /// Reasons that may have gone since: what was kept for them is looked at again when somebody asks for it.
    pub const PASSING: [Self; 3] = [Self::UnknownNumber, Self::UnknownWaba, Self::WabaMismatch];
}

/// What says whose an update is.
#[derive(Debug, Clone, Copy)]
pub struct Address<'a> {
    /// The number it came for.
    pub number: &'a PhoneNumberId,
    /// The business account it came for.
    pub waba: Option<&'a WabaId>,
    /// The number as people write it.
    pub display_number: Option<&'a str>,
    /// When it happened, where it says so.
    pub at: Option<DateTime<Utc>>,
    /// The message of ours that it is about, by Meta's id and by ours.
    pub about: Option<(&'a ProviderMessageId, Option<&'a str>)>,
}

/// A report about a message of ours: the number it went out from, and Meta's id and ours of it.
pub type Report<'a> = (&'a PhoneNumberId, (&'a ProviderMessageId, Option<&'a str>));

/// Why nobody can tell whose it is.
#[derive(Debug, thiserror::Error)]
pub enum RouteError {
    /// An account could not be loaded.
    #[error(transparent)]
    NotLoaded(#[from] Arc<NotLoaded<DatabaseError>>),
    /// Postgres failed.
    #[error(transparent)]
    Database(#[from] DatabaseError),
}

/// Finds owners for the updates of one webhook.
pub struct NumberRouter<'a> {
    db: &'a Database,
    routes: &'a AccountRoutes,
    /// The endpoints one of whose secrets signed the webhook.
    signed_by: &'a [String],
    live: HashMap<PhoneNumberId, Option<AccountRoute>>,
    /// Of numbers that were somebody else's: who sent the messages that the webhook reports about.
    senders: HashMap<PhoneNumberId, HashMap<String, OwnerRow>>,
}

impl<'a> NumberRouter<'a> {
    /// For a webhook that the secrets of these endpoints have signed.
    #[must_use]
    pub fn new(db: &'a Database, routes: &'a AccountRoutes, signed_by: &'a [String]) -> Self {
        Self {
            db,
            routes,
            signed_by,
            live: HashMap::new(),
            senders: HashMap::new(),
        }
    }

    /// Looks up together who sent the messages that a webhook reports about, where that may be another than who has the
    /// number now: a thousand reports must not be a thousand questions. What cannot be looked up now is asked for singly.
    ///
    /// # Errors
    /// [`RouteError`].
    pub async fn prepare(&mut self, reports: Vec<Report<'_>>) -> Result<(), RouteError> {
        let mut of_number: HashMap<&PhoneNumberId, Vec<&str>> = HashMap::new();
        for (number, (theirs, ours)) in reports {
            let ids = of_number.entry(number).or_default();
            ids.push(theirs.as_str());
            ids.extend(ours);
        }
        for (number, ids) in of_number {
            let account = self.live(number).await?.map(|route| route.account());
            if !self.may_be_anothers(number, account).await? {
                continue;
            }
            let mut tx = self.platform("find senders of messages").await?;
            let senders = cloud_number::owners_of_messages(&mut tx, number, &ids).await?;
            tx.commit().await?;
            self.senders.insert(number.clone(), senders.into_iter().collect());
        }
        Ok(())
    }

    /// Whose an update about a number is.
    ///
    /// # Errors
    /// [`RouteError`], which is not "nobody's".
    pub async fn find(&mut self, to: Address<'_>) -> Result<Result<Owner, Nobodys>, RouteError> {
        let live = self.live(to.number).await?;
        let since = live
            .as_ref()
            .and_then(|route| route.number())
            .map(|row| row.valid_from);
        let Some((route, since)) = live.zip(since) else {
            return self.find_before(to, None).await;
        };
        // The first who had the number has it since ever, and then there was nobody before.
        if since > DateTime::UNIX_EPOCH {
            if let Some(owner) = self.of_message(to, Some(&route)).await? {
                return Ok(self.checked_row(&owner, to.waba, Some(&route)));
            }
            match to.at {
                Some(at) if at < since => return self.find_before(to, Some(&route)).await,
                None if since > Utc::now() - LATEST => return Ok(Err(Nobodys::UnknownTime)),
                _ => {}
            }
        }
        let owner = self.checked(&route, to.waba);
        if owner.is_ok() {
            self.learn(&route, to).await?;
        }
        Ok(owner)
    }

    /// Everybody whom an update about a business account concerns; with a number, whoever has that.
    ///
    /// # Errors
    /// [`DatabaseError`].
    pub async fn find_all(
        &self,
        waba: &WabaId,
        display_number: Option<&str>,
    ) -> Result<Vec<OwnerRow>, DatabaseError> {
        let mut tx = self.platform("find owners of business account").await?;
        let mut owners = cloud_number::owners_of_waba(&mut tx, waba, self.signed_by).await?;
        tx.commit().await?;
        // What is about one number is nobody else's, also where it is not known yet who has that.
        if let Some(named) = display_number.map(digits).filter(|digits| !digits.is_empty()) {
            owners.retain(|owner| owner.display_number.as_deref() == Some(named.as_str()));
        }
        Ok(owners)
    }

    async fn live(&mut self, number: &PhoneNumberId) -> Result<Option<AccountRoute>, RouteError> {
        if let Some(known) = self.live.get(number) {
            return Ok(known.clone());
        }
        let route = self.routes.find_number(number).await?;
        self.live.insert(number.clone(), route.clone());
        Ok(route)
    }

    /// Nobody has the number now, or whoever has it had it not at that time.
    async fn find_before(
        &self,
        to: Address<'_>,
        live: Option<&AccountRoute>,
    ) -> Result<Result<Owner, Nobodys>, RouteError> {
        if self.routes.holders(to.number).await?.is_empty() {
            return Ok(Err(Nobodys::UnknownNumber));
        }
        if let Some(owner) = self.of_message(to, live).await? {
            return Ok(self.checked_row(&owner, to.waba, live));
        }
        let Some(at) = to.at else {
            return Ok(Err(Nobodys::UnknownNumber));
        };
        let mut tx = self.platform("find former owner of number").await?;
        let owner = cloud_number::owner_at(&mut tx, to.number, at).await?;
        tx.commit().await?;
        let Some(owner) = owner else {
            return Ok(Err(Nobodys::UnknownNumber));
        };
        Ok(self.checked_row(&owner, to.waba, live))
    }

    /// Whoever had the number and sent the message that it is about.
    async fn of_message(
        &self,
        to: Address<'_>,
        live: Option<&AccountRoute>,
    ) -> Result<Option<OwnerRow>, RouteError> {
        let Some((theirs, ours)) = to.about else {
            return Ok(None);
        };
        let mut ids = std::iter::once(theirs.as_str()).chain(ours);
        if let Some(senders) = self.senders.get(to.number) {
            return Ok(ids.find_map(|id| senders.get(id)).cloned());
        }
        if !self
            .may_be_anothers(to.number, live.map(AccountRoute::account))
            .await?
        {
            return Ok(None);
        }
        let ids: Vec<&str> = ids.collect();
        let mut tx = self.platform("find sender of message").await?;
        let mut senders = cloud_number::owners_of_messages(&mut tx, to.number, &ids).await?;
        tx.commit().await?;
        Ok(senders.pop().map(|(_, owner)| owner))
    }

    /// May a message that went out from the number be another's than this account's? Not where nobody else had the number, or
    /// nobody for so long that nothing is reported any more.
    async fn may_be_anothers(
        &self,
        number: &PhoneNumberId,
        account: Option<AccountId>,
    ) -> Result<bool, RouteError> {
        let since = Utc::now() - LATEST;
        let holders = self.routes.holders(number).await?;
        Ok(holders.iter().any(|holder| {
            Some(holder.account()) != account && holder.until.is_none_or(|until| until > since)
        }))
    }

    fn checked(&self, route: &AccountRoute, waba: Option<&WabaId>) -> Result<Owner, Nobodys> {
        let known = route.number().and_then(|row| row.waba_id.as_deref());
        self.check(route.endpoint(), known, waba)?;
        Ok(Owner {
            scope: route.scope(),
            account: route.account(),
            keep: route.keep(),
        })
    }

    fn checked_row(
        &self,
        owner: &OwnerRow,
        waba: Option<&WabaId>,
        live: Option<&AccountRoute>,
    ) -> Result<Owner, Nobodys> {
        let endpoint = Some((owner.provider.as_str(), owner.endpoint.as_str()));
        let tenant = owner.tenant().map_err(|_| Nobodys::UnknownNumber)?;
        // Who has the number again may have been told meanwhile where it really is.
        let known_now = live
            .filter(|route| route.account() == owner.account() && *route.scope().tenant() == tenant)
            .and_then(|route| route.number()?.waba_id.as_deref());
        let is_there_now = known_now.is_some() && known_now == waba.map(WabaId::as_str);
        let known = if is_there_now {
            known_now
        } else {
            owner.waba_id.as_deref()
        };
        self.check(endpoint, known, waba)?;
        let platform = PlatformScope::for_purpose("former owner of number");
        Ok(Owner {
            scope: TenantScope::of_swept_row(&platform, tenant),
            account: owner.account(),
            keep: Keep::default(),
        })
    }

    fn check(
        &self,
        endpoint: Option<(&str, &str)>,
        known: Option<&str>,
        told: Option<&WabaId>,
    ) -> Result<(), Nobodys> {
        let is_ours = endpoint.is_some_and(|(provider, name)| {
            provider == Provider::Cloud.as_str() && self.signed_by.iter().any(|signer| signer == name)
        });
        if !is_ours {
            return Err(Nobodys::ForeignSignature);
        }
        match (known, told) {
            (Some(known), Some(told)) if known != told.as_str() => Err(Nobodys::WabaMismatch),
            _ => Ok(()),
        }
    }

    /// Notes in which business account the number is, and what people dial, once that is told.
    async fn learn(&mut self, route: &AccountRoute, to: Address<'_>) -> Result<(), DatabaseError> {
        let Some(row) = route.number() else { return Ok(()) };
        let dialled = to.display_number.map(digits).filter(|digits| !digits.is_empty());
        let new_waba = row.waba_id.is_none() && to.waba.is_some();
        let new_number = dialled.is_some() && dialled != row.display_number;
        if !new_waba && !new_number {
            return Ok(());
        }
        let mut tx = TenantTransaction::begin(self.db, &route.scope(), "learn of number").await?;
        let waba = to.waba.map(WabaId::as_str);
        cloud_number::learn(&mut tx, route.account(), waba, dialled.as_deref()).await?;
        tx.commit().await?;
        self.routes.forget(CLOUD_NUMBER, to.number.as_str()).await;
        self.live.remove(to.number);
        Ok(())
    }

    async fn platform(&self, purpose: &'static str) -> Result<PlatformTransaction, DatabaseError> {
        PlatformTransaction::begin(self.db, PlatformScope::for_purpose(purpose)).await
    }
}

/// A number as Meta and people write it, digits only.
fn digits(text: &str) -> String {
    text.chars().filter(char::is_ascii_digit).take(20).collect()
}
