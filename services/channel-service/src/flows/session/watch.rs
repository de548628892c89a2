//! Where a session stands, for dialogs that ask every second or more often: whoever asks at the same time shares one
//! call, and its answer is good for a second, also in other processes.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use cache::NotLoaded;
use domain::account::AccountStatus;
use domain::address::{Jid, PhoneNumber};
use domain::endpoint::{EndpointName, Provider};
use serde::{Deserialize, Serialize};
use tenant_isolation::{TenantScope, TenantTransaction};
use tokio::time::Instant;
use whatsapp::credentials::SessionToken;
use whatsapp::session::{FailureReason, SessionState};

use super::call::SessionCall;
use super::{SessionError, Sessions, Which, held_key, qr_key, status_key};
use crate::endpoints::LiveEndpoint;
use crate::flows::device_number::{self, DeviceNumber};
use crate::store::channel_account;
use crate::store::session::{self, SessionRow};

/// How long an answer is good.
pub(super) const FRESH: Duration = Duration::from_secs(1);

/// How long a GoWA's code is shown before it is asked for another one.
pub(super) const HELD: Duration = Duration::from_secs(20);

/// How long nobody is asked at an endpoint after it said that we ask too often. It counts by our address, for all tenants
/// together, and blocks whoever goes on (contract 6.1).
const PAUSE: Duration = Duration::from_secs(10);

/// Until when nobody is asked at which endpoint. Asking is for dialogs only, so it can wait; what people do is not held
/// up. Bounded by the names of endpoints.
#[derive(Debug, Default)]
pub(super) struct Pause(Mutex<HashMap<String, Instant>>);

impl Pause {
    pub(super) fn begin(&self, endpoint: &EndpointName) {
        let until = Instant::now() + PAUSE;
        let mut pauses = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        pauses.insert(endpoint.to_string(), until);
        metrics::counter!("kanal_session_asking_paused_total").increment(1);
    }

    pub(super) fn is_on(&self, endpoint: &EndpointName) -> bool {
        let pauses = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let until = pauses.get(endpoint.as_str());
        until.is_some_and(|until| Instant::now() < *until)
    }
}

/// Where a session stands. That nobody can tell is not that it is down.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum StatusView {
    /// What the provider says.
    Known {
        /// The socket to WhatsApp is up.
        connected: bool,
        /// Paired and usable.
        logged_in: bool,
        /// Its own address.
        jid: String,
        /// What is to be scanned.
        qr_code: String,
        /// What it is called.
        name: String,
        /// What it tells of.
        events: String,
        /// Where.
        webhook: String,
        /// Its number.
        phone: Option<String>,
    },
    /// The provider could not be asked, or did not say.
    Unknown,
}

/// The code that waits to be scanned, or why there is none.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum QrView {
    /// A data URL; empty until the first code is there.
    Code(String),
    /// There is nothing to scan.
    AlreadyLoggedIn,
    /// The session runs nowhere.
    NoSession,
    /// It could not be had, for this reason.
    Failed {
        /// The stable code.
        code: String,
        /// What the provider said.
        said: String,
    },
}

impl Sessions {
    /// Where a session of the tenant's stands, with what is stored of it. `None`: there is none.
    ///
    /// # Errors
    /// [`SessionError`] about our own side only: a provider that fails is [`StatusView::Unknown`].
    pub async fn status(
        &self,
        scope: &TenantScope,
        which: Which,
    ) -> Result<Option<(SessionRow, StatusView)>, SessionError> {
        let Some(row) = self.find(scope, which).await? else {
            return Ok(None);
        };
        let key = status_key(scope, row.account());
        let asked = self
            .statuses
            .get(&key, || async {
                Ok::<_, SessionError>(Some(self.ask_status(scope, &row).await))
            })
            .await;
        let view = asked.ok().flatten().unwrap_or(StatusView::Unknown);
        Ok(Some((row, view)))
    }

    async fn ask_status(&self, scope: &TenantScope, row: &SessionRow) -> StatusView {
        let Ok(token) = self.token(scope, row) else {
            tracing::error!(tenant = %scope.tenant(), "a session's token does not open");
            return StatusView::Unknown;
        };
        let Some(endpoint) = self.endpoints.of_account(&row.provider, &row.endpoint) else {
            tracing::info!(tenant = %scope.tenant(), endpoint = row.endpoint,
                "where a session stands could not be asked: its endpoint is not configured");
            return StatusView::Unknown;
        };
        if self.pause.is_on(&endpoint.name) {
            return StatusView::Unknown;
        }
        metrics::counter!("kanal_session_status_calls_total").increment(1);
        let state = match self
            .call(
                scope,
                &endpoint,
                SessionCall::Status,
                endpoint.sessions.status(&token),
            )
            .await
        {
            Ok(state) => state,
            Err(failure) => {
                if failure.reason == FailureReason::RateLimited {
                    self.pause.begin(&endpoint.name);
                }
                tracing::info!(tenant = %scope.tenant(), reason = failure.reason.as_str(),
                    "where a session stands could not be asked");
                return StatusView::Unknown;
            }
        };
        let phone = number_of(&state.jid);
        if !self.endpoints.is_dry_run()
            && let Err(error) = self.learn(scope, row, &state, phone.as_deref()).await
        {
            tracing::warn!(error = %crate::error::chain(&error), "a session's state was not kept");
        }
        StatusView::Known {
            connected: state.connected,
            logged_in: state.logged_in,
            jid: state.jid,
            qr_code: state.qr_code,
            name: state.name,
            events: state.events,
            webhook: state.webhook,
            phone,
        }
    }

    /// Keeps what is news.
    pub(super) async fn learn(
        &self,
        scope: &TenantScope,
        row: &SessionRow,
        state: &SessionState,
        phone: Option<&str>,
    ) -> Result<(), SessionError> {
        let status = standing(state.connected, state.logged_in, &row.status);
        let mut tx = TenantTransaction::begin(&self.db, scope, "learn session state").await?;
        session::note_state(&mut tx, row.account(), status, phone).await?;
        if let Some(phone) = phone {
            channel_account::show_number(&mut tx, row.account(), phone).await?;
        }
        tx.commit().await?;
        if row.provider.parse() == Ok(Provider::Gowa) {
            self.learn_holder(scope, row, state, phone).await?;
        }
        Ok(())
    }

    /// A device that is logged in holds its number; one that no phone knows holds none.
    async fn learn_holder(
        &self,
        scope: &TenantScope,
        row: &SessionRow,
        state: &SessionState,
        phone: Option<&str>,
    ) -> Result<(), SessionError> {
        let number = phone
            .filter(|_| state.logged_in)
            .and_then(|phone| PhoneNumber::parse(phone).ok())
            .map(|phone| DeviceNumber::new(&row.endpoint, &phone));
        match number {
            Some(number) if device_number::is_settled(&self.routes, &number, row.account()).await => {}
            Some(number) => {
                device_number::hold(&self.db, &self.routes, scope, row.account(), &number).await?;
            }
            None if state.jid.is_empty() => self.let_number_go(scope, row).await?,
            None => {}
        }
        Ok(())
    }

    /// No phone knows the session any more. Only numbers of devices of a GoWA lead anywhere.
    pub(super) async fn let_number_go(
        &self,
        scope: &TenantScope,
        row: &SessionRow,
    ) -> Result<(), SessionError> {
        if row.provider.parse() == Ok(Provider::Gowa) {
            device_number::let_go(&self.db, &self.routes, scope, row.account()).await?;
        }
        Ok(())
    }

    /// The code that waits to be scanned.
    ///
    /// # Errors
    /// [`SessionError`] about our own side only.
    pub async fn qr(&self, scope: &TenantScope, which: Which) -> Result<QrView, SessionError> {
        let row = self.of(scope, which).await?;
        let endpoint = self.pairing_endpoint(&row)?;
        let token = self.token(scope, &row)?;
        let key = qr_key(scope, row.account());
        let asked = self
            .qr_codes
            .get(&key, || async {
                Ok::<_, SessionError>(Some(match endpoint.provider {
                    Provider::Gowa => self.held_qr(scope, &row, &endpoint, &token).await,
                    Provider::Genfity | Provider::Cloud => self.ask_qr(scope, &endpoint, &token).await,
                }))
            })
            .await;
        Ok(asked.ok().flatten().unwrap_or(QrView::NoSession))
    }

    /// Asking a GoWA for a code makes a new one, after which the one before does not count. So one is held for as long as
    /// it can be scanned.
    async fn held_qr(
        &self,
        scope: &TenantScope,
        row: &SessionRow,
        endpoint: &LiveEndpoint,
        token: &SessionToken,
    ) -> QrView {
        let held = self
            .held_codes
            .get(&held_key(scope, row.account()), || async {
                match self.ask_qr(scope, endpoint, token).await {
                    QrView::Code(code) if !code.is_empty() => {
                        // Whoever asks for a code wants the device, and nothing else has to be asked for before it.
                        if let Err(error) = self.keep_off(scope, row.account(), false).await {
                            tracing::warn!(%error, account = %row.account(), "a device that is paired may be left alone");
                        }
                        Ok(Some(QrView::Code(code)))
                    }
                    other => Err(NoCode(other)),
                }
            })
            .await;
        match held {
            Ok(view) => view.unwrap_or(QrView::NoSession),
            Err(error) => match &*error {
                NotLoaded::Failed(NoCode(view)) => view.clone(),
                NotLoaded::Absent => QrView::NoSession,
            },
        }
    }
}

/// What is not held.
struct NoCode(QrView);

impl Sessions {
    async fn ask_qr(&self, scope: &TenantScope, endpoint: &LiveEndpoint, token: &SessionToken) -> QrView {
        if self.pause.is_on(&endpoint.name) {
            return QrView::Failed {
                code: FailureReason::RateLimited.as_str().to_owned(),
                said: "rate limit exceeded".to_owned(),
            };
        }
        metrics::counter!("kanal_session_qr_calls_total").increment(1);
        let failure = match self
            .call(scope, endpoint, SessionCall::Qr, endpoint.sessions.qr(token))
            .await
        {
            Ok(code) => return QrView::Code(code.0),
            Err(failure) => failure,
        };
        match failure.reason {
            FailureReason::AlreadyLoggedIn => return QrView::AlreadyLoggedIn,
            FailureReason::NoSession => return QrView::NoSession,
            FailureReason::RateLimited => self.pause.begin(&endpoint.name),
            _ => {}
        }
        QrView::Failed {
            code: failure.reason.as_str().to_owned(),
            said: failure.said.as_str().to_owned(),
        }
    }
}

/// What the provider's words mean for an account that stood like this before.
pub(super) fn standing(connected: bool, logged_in: bool, before: &str) -> AccountStatus {
    match (connected, logged_in) {
        (true, true) => AccountStatus::Connected,
        (true, false) => AccountStatus::QrWaiting,
        // Down because it was unlinked says more than down.
        (false, _) if before.parse() == Ok(AccountStatus::LoggedOut) => AccountStatus::LoggedOut,
        (false, _) => AccountStatus::Disconnected,
    }
}

/// The number of an address with a device. A hidden id is no number.
pub(super) fn number_of(jid: &str) -> Option<String> {
    let jid = Jid::parse(jid).ok()?;
    let (user, server) = (jid.user(), jid.server());
    (server == "s.whatsapp.net")
        .then(|| PhoneNumber::parse(user).ok())
        .flatten()
        .map(|phone| phone.as_str().to_owned())
}

#[cfg(test)]
mod tests {
    use super::number_of;

    #[test]
    fn only_a_number_is_a_number() {
        assert_eq!(
            number_of("6281100000009:12@s.whatsapp.net").as_deref(),
            Some("6281100000009")
        );
        assert_eq!(
            number_of("6281100000009@s.whatsapp.net").as_deref(),
            Some("6281100000009")
        );
        for none in ["", "190000000000001:3@lid", "x"] {
            assert_eq!(number_of(none), None, "{none}");
        }
    }
}
