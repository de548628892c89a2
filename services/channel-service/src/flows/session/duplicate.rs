//! Two tenants that hold one number: found, and ended for one of them.

use domain::ids::{AccountId, TenantId};
use tenant_isolation::{PlatformScope, PlatformTransaction, TenantScope, TenantTransaction};

use super::delete::Removing;
use super::{DeviceView, MOST_DEVICES, SessionError, Sessions, Standing, Which};
use crate::flows::tenant::Actor;
use crate::store::session::NumberHolder;
use crate::store::{audit, device, session};

/// Most sessions that are ended at once because one device holds their number.
const MOST_HOLDERS: i64 = 10;

/// Who else holds the number of a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Duplicate {
    /// Nobody.
    None,
    /// Another device of the same tenant, which people call this.
    Own(String),
    /// Somebody else. Not said who: it is nobody's business but theirs.
    Elsewhere,
}

impl Sessions {
    /// Another tenant whose connected session has this number. Tells its id and nothing else of it.
    ///
    /// # Errors
    /// [`SessionError::Database`].
    pub async fn other_holder(
        &self,
        scope: &TenantScope,
        phone: &str,
    ) -> Result<Option<String>, SessionError> {
        let platform = PlatformScope::for_purpose("check for a duplicate number");
        let mut tx = PlatformTransaction::begin(&self.db, platform).await?;
        let holder = session::other_holder(&mut tx, scope.tenant().as_str(), phone).await?;
        tx.commit().await?;
        Ok(holder)
    }

    /// Removes another tenant's session because ours holds the same number. Written into both tenants' audit logs.
    ///
    /// # Errors
    /// [`SessionError::NoTarget`] and [`SessionError::OtherNumber`] among others; nothing is changed then.
    pub async fn force_disconnect(
        &self,
        scope: &TenantScope,
        target: &TenantScope,
        actor: &Actor,
    ) -> Result<(), SessionError> {
        let Some(theirs) = self.find(target, Which::Primary).await? else {
            return Err(SessionError::NoTarget);
        };
        let ours = self.of(scope, Which::Primary).await?;
        let same = scope != target && ours.phone.is_some() && ours.phone == theirs.phone;
        if !same {
            return Err(SessionError::OtherNumber);
        }
        let removing = Removing {
            action: "session.force_delete",
            detail: Some(format!("the number is held by {} too", scope.tenant())),
            actor,
        };
        if !self.remove(target, Which::Primary, &removing).await? {
            return Err(SessionError::NoTarget);
        }
        let mut tx = TenantTransaction::begin(&self.db, scope, "note forced disconnect").await?;
        let act = actor.act("session.force_disconnect", Some(target.tenant().to_string()));
        audit::note(&mut tx, &act).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Who else holds the number with which this device is logged in.
    ///
    /// # Errors
    /// [`SessionError::Database`].
    pub async fn duplicate_of(
        &self,
        scope: &TenantScope,
        device: &DeviceView,
    ) -> Result<Duplicate, SessionError> {
        let Some(phone) = number_in_use(device) else {
            return Ok(Duplicate::None);
        };
        let mut tx = TenantTransaction::begin(&self.db, scope, "check own devices' numbers").await?;
        let own = device::list(&mut tx, MOST_DEVICES).await?;
        tx.commit().await?;
        let same = own.into_iter().find(|row| {
            row.id != device.row.id && row.phone.as_deref() == Some(phone) && row.status == "connected"
        });
        if let Some(row) = same {
            return Ok(Duplicate::Own(row.display_name.unwrap_or(row.instance_name)));
        }
        Ok(match self.other_holder(scope, phone).await? {
            Some(_) => Duplicate::Elsewhere,
            None => Duplicate::None,
        })
    }

    /// Removes the sessions of other tenants that hold the number with which this device is logged in at this moment: whoever
    /// has the phone in hand has just shown it. Written into all tenants' audit logs, without telling one of the other.
    /// Returns how many there were.
    ///
    /// # Errors
    /// [`SessionError::OtherNumber`] for a device that is not logged in, [`SessionError::NoTarget`] where nobody else has the
    /// number.
    pub async fn end_duplicates(
        &self,
        scope: &TenantScope,
        id: AccountId,
        actor: &Actor,
    ) -> Result<usize, SessionError> {
        let ours = self.device(scope, id).await?;
        let Some(phone) = number_in_use(&ours) else {
            return Err(SessionError::OtherNumber);
        };
        let platform = PlatformScope::for_purpose("end sessions of a duplicate number");
        let mut tx = PlatformTransaction::begin(&self.db, platform).await?;
        let holders = session::other_holders(&mut tx, scope.tenant().as_str(), phone, MOST_HOLDERS).await?;
        tx.commit().await?;
        let mut ended = 0;
        for NumberHolder {
            tenant_id,
            account_id,
        } in holders
        {
            let Ok(tenant) = TenantId::parse(tenant_id) else {
                continue;
            };
            let target = TenantScope::of_swept_row(&platform, tenant);
            if self
                .end_holder(&target, AccountId::from_uuid(account_id), phone)
                .await?
            {
                ended += 1;
            }
        }
        if ended == 0 {
            return Err(SessionError::NoTarget);
        }
        let mut tx = TenantTransaction::begin(&self.db, scope, "note forced disconnect").await?;
        let act = actor.act("session.force_disconnect", Some(ours.row.instance_name));
        audit::note(&mut tx, &act).await?;
        tx.commit().await?;
        Ok(ended)
    }

    /// False when it does not hold the number any more.
    async fn end_holder(
        &self,
        target: &TenantScope,
        account: AccountId,
        phone: &str,
    ) -> Result<bool, SessionError> {
        // Their log is theirs to read: it says what happened, and not who else there is.
        let actor = Actor {
            name: "the number's other holder".to_owned(),
            source: None,
        };
        let removing = Removing {
            action: "session.force_delete",
            detail: Some("the number was linked once more, somewhere else".to_owned()),
            actor: &actor,
        };
        let which = Which::Device(account);
        let work = self.begin_work(target).await?;
        let removed = async {
            let row = self.find(target, which).await?;
            if row.is_none_or(|row| row.phone.as_deref() != Some(phone)) {
                return Ok(false);
            }
            self.remove_under(&work, which, &removing).await
        };
        let removed = removed.await;
        work.end().await;
        removed
    }
}

/// The number of a device that a phone has logged in.
fn number_in_use(device: &DeviceView) -> Option<&str> {
    match &device.standing {
        Standing::Known {
            logged_in: true,
            phone,
            ..
        } => phone.as_deref(),
        _ => None,
    }
}
