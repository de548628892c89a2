//! Calls of a provider about a session: none takes longer than its tenant lets it, and each is logged.

use std::future::Future;
use std::time::Instant;

use tenant_isolation::TenantScope;
use whatsapp::port::OperatorText;
use whatsapp::session::{FailureReason, SessionFailure};

use super::Sessions;
use crate::endpoints::LiveEndpoint;

/// Which call it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SessionCall {
    Connect,
    Disconnect,
    Logout,
    PairPhone,
    /// Dialogs ask for it every second.
    Status,
    /// Dialogs ask for it every second.
    Qr,
}

impl SessionCall {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Disconnect => "disconnect",
            Self::Logout => "logout",
            Self::PairPhone => "pair_phone",
            Self::Status => "status",
            Self::Qr => "qr",
        }
    }
}

impl Sessions {
    /// Makes the call. One that takes longer than it may is over here, and nobody knows what became of it there.
    pub(super) async fn call<T>(
        &self,
        scope: &TenantScope,
        endpoint: &LiveEndpoint,
        what: SessionCall,
        call: impl Future<Output = Result<T, SessionFailure>>,
    ) -> Result<T, SessionFailure> {
        let begun = Instant::now();
        let outcome = self.within_limit(scope, call).await;
        let said = match &outcome {
            Ok(_) => "ok",
            Err(failure) => failure.reason.as_str(),
        };
        let (tenant, endpoint, call, took_ms) = (
            scope.tenant(),
            &endpoint.name,
            what.as_str(),
            begun.elapsed().as_millis(),
        );
        if matches!(what, SessionCall::Status | SessionCall::Qr) {
            tracing::debug!(%tenant, %endpoint, call, outcome = said, took_ms, "a provider was asked about a session");
        } else {
            tracing::info!(%tenant, %endpoint, call, outcome = said, took_ms, "a provider was called for a session");
        }
        outcome
    }

    async fn within_limit<T>(
        &self,
        scope: &TenantScope,
        call: impl Future<Output = Result<T, SessionFailure>>,
    ) -> Result<T, SessionFailure> {
        // Without the tenant's own limit there is everybody's, which the client keeps.
        let config = self.configs.of(scope).await.ok();
        let Some(limit) = config.and_then(|config| config.message_timeout()) else {
            return call.await;
        };
        tokio::time::timeout(limit, call).await.unwrap_or_else(|_| {
            Err(SessionFailure {
                reason: FailureReason::NoAnswer,
                said: OperatorText::default(),
            })
        })
    }
}
