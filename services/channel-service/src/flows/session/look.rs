//! What somebody sees who watches a device being paired. However many watch, the provider is asked once a second at most.

use domain::endpoint::Provider;
use domain::ids::AccountId;
use tenant_isolation::TenantScope;

use super::{QrView, SessionError, Sessions, StatusView, Which, status_key};

/// What there is to see.
#[derive(Clone, PartialEq, Eq)]
pub enum Sight {
    /// The first code is not there yet.
    Nothing,
    /// A code to scan: a data URL.
    Code(String),
    /// Somebody scanned it, or the device was paired before.
    LoggedIn,
    /// It runs nowhere: it was never connected, or the codes ran out.
    NotRunning,
    /// Nobody knows, for this reason.
    Trouble(String),
}

impl Sessions {
    /// Looks at a device that is being paired.
    ///
    /// # Errors
    /// [`SessionError`] about our own side, and when there is no such device.
    pub async fn sight(&self, scope: &TenantScope, id: AccountId) -> Result<Sight, SessionError> {
        let row = self.of(scope, Which::Device(id)).await?;
        // A code of these is held for a while, during which only this tells that it was scanned.
        if row.provider.parse() == Ok(Provider::Gowa) && self.is_logged_in(scope, id).await? {
            return Ok(Sight::LoggedIn);
        }
        Ok(match self.qr(scope, Which::Device(id)).await? {
            QrView::Code(code) if code.is_empty() => Sight::Nothing,
            QrView::Code(code) => Sight::Code(code),
            QrView::AlreadyLoggedIn => {
                // What was said of it before that is out of date.
                self.statuses.forget(&status_key(scope, id)).await;
                Sight::LoggedIn
            }
            QrView::NoSession => Sight::NotRunning,
            QrView::Failed { code, .. } => Sight::Trouble(code),
        })
    }

    async fn is_logged_in(&self, scope: &TenantScope, id: AccountId) -> Result<bool, SessionError> {
        let status = self.status(scope, Which::Device(id)).await?;
        Ok(matches!(
            status,
            Some((_, StatusView::Known { logged_in: true, .. }))
        ))
    }
}
