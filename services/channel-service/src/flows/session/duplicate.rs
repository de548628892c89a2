//! Two tenants that hold one number: found, and ended for one of them.

use tenant_isolation::{PlatformScope, PlatformTransaction, TenantScope, TenantTransaction};

use super::delete::Removing;
use super::{SessionError, Sessions, Which};
use crate::flows::tenant::Actor;
use crate::store::{audit, session};

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
}
