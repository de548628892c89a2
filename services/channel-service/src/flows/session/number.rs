//! A number of Meta's Cloud API as a device: nothing is made or removed outside, it is only said whose the number is.

use domain::device::DeviceName;
use domain::endpoint::Provider;
use domain::ids::{AccountId, PhoneNumberId, WabaId};
use secrecy::SecretString;
use tenant_isolation::{TenantScope, TenantTransaction};

use super::work::Work;
use super::{DeviceView, SessionError, Sessions};
use crate::endpoints::Endpoints;
use crate::flows::tenant::Actor;
use crate::flows::tenant_config::{Place, ensure_primary, place_of};
use crate::store::account::{self, AccountRow, CLOUD_NUMBER};
use crate::store::session::{self, SessionVia};
use crate::store::tenant_move::{self, Binding};
use crate::store::{audit, cloud_number, device, session_intent, tenant};

/// The number that a device is to be.
#[derive(Debug, Clone)]
pub struct NewNumber {
    /// Its id at Meta.
    pub number: PhoneNumberId,
    /// The business account it is in. Learned from the first webhook where nobody says it.
    pub waba: Option<WabaId>,
}

impl Sessions {
    /// Makes a number the tenant's, as a device of its own, and asks how it is.
    ///
    /// # Errors
    /// [`SessionError::NotANumbersEndpoint`] where the tenant's endpoint has no numbers, [`SessionError::UnknownNumber`]
    /// where it has not this one, [`SessionError::NumberTaken`] where somebody has it already.
    pub async fn add_number(
        &self,
        scope: &TenantScope,
        name: Option<&DeviceName>,
        new: &NewNumber,
        actor: &Actor,
    ) -> Result<DeviceView, SessionError> {
        let work = self.begin_work(scope).await?;
        let taken = self.take_number(&work, name, new, actor).await;
        work.end().await;
        let account = taken?;
        self.routes.forget(CLOUD_NUMBER, new.number.as_str()).await;
        self.changed(scope, account).await;
        self.connect_new(scope, account).await;
        self.device(scope, account).await
    }

    async fn take_number(
        &self,
        work: &Work<'_>,
        name: Option<&DeviceName>,
        new: &NewNumber,
        actor: &Actor,
    ) -> Result<AccountId, SessionError> {
        let scope = work.scope();
        let mut tx = work.transaction("take number").await?;
        let tenant = tenant::find(&mut tx).await?.ok_or(SessionError::NoTenant)?;
        if !tenant.is_active() {
            return Err(SessionError::Suspended);
        }
        let Place {
            name: place,
            endpoint,
        } = place_of(&mut tx, &self.endpoints).await?;
        let Some(endpoint) = endpoint else {
            return Err(SessionError::EndpointMissing(place.unwrap_or_default()));
        };
        let cloud = endpoint
            .cloud
            .as_ref()
            .filter(|_| endpoint.provider == Provider::Cloud)
            .ok_or(SessionError::NotANumbersEndpoint)?;
        if !cloud
            .phone_number_ids
            .iter()
            .any(|known| known == new.number.as_str())
        {
            return Err(SessionError::UnknownNumber);
        }
        let account = account_for(&mut tx, &self.endpoints, &new.number).await?;
        if device::count_others(&mut tx, account).await? >= i64::from(tenant.session_limit) {
            return Err(SessionError::LimitReached);
        }
        let to = Binding {
            endpoint: &endpoint.name,
            provider: endpoint.provider,
        };
        tenant_move::bind(&mut tx, &[account], to).await?;
        let number = new.number.as_str();
        let token_binding = account::token_binding(scope.tenant(), account);
        let row = AccountRow {
            id: account.as_uuid(),
            provider: endpoint.provider.to_string(),
            endpoint: endpoint.name.to_string(),
            instance_name: number.to_owned(),
            session_id: Some(number.to_owned()),
            token_sealed: Some(self.keys.seal(&SecretString::from(number), &token_binding)?),
            webhook_keys_sealed: Vec::new(),
        };
        account::upsert(&mut tx, &row).await?;
        let free = cloud_number::take(&mut tx, &new.number, new.waba.as_ref(), account).await?
            && account::register(&mut tx, CLOUD_NUMBER, number, account).await?;
        if !free {
            return Err(SessionError::NumberTaken);
        }
        session::set_via(&mut tx, account, SessionVia::Cloud).await?;
        if let Some(name) = name {
            device::set_name(&mut tx, account, name).await?;
        }
        audit::note(&mut tx, &actor.act("number.take", Some(number.to_owned()))).await?;
        tx.commit().await?;
        Ok(account)
    }
}

/// The account that had the number before, else the first one if it has no session, else another one.
async fn account_for(
    tx: &mut TenantTransaction,
    endpoints: &Endpoints,
    number: &PhoneNumberId,
) -> Result<AccountId, SessionError> {
    if let Some(known) = account::find_by_instance(tx, number.as_str()).await? {
        if known.token_sealed.is_some() {
            return Err(SessionError::NumberTaken);
        }
        let known = AccountId::from_uuid(known.id);
        device::keep(tx, known).await?;
        return Ok(known);
    }
    let first = ensure_primary(tx, endpoints).await?;
    let is_going = device::find(tx, first).await?.is_some_and(|row| row.is_going);
    let is_begun = session_intent::find(tx, first).await?.is_some();
    let has_session = account::find(tx, first).await?.token_sealed.is_some();
    if is_going || is_begun || has_session {
        let place = place_of(tx, endpoints).await?;
        let another = account::add(tx, number.as_str(), place.home()).await?;
        return Ok(AccountId::from_uuid(another.id));
    }
    Ok(first)
}
