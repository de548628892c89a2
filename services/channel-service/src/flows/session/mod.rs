//! A tenant's WhatsApp sessions: made, connected, paired, asked about, removed (channel-service contract 1.5 and 6.5).
//! Each belongs to an account, which is a device to people; where none is named the tenant's first one is meant.
//!
//! | rule | where |
//! |---|---|
//! | one is made at a time, and what is half made is finished or taken back | [`create`], [`take_back`], `session_intents` |
//! | it goes here only when it is gone there | [`delete`] |
//! | asking often costs one call a second | [`watch`] |
//! | it moves with its tenant to another endpoint, and no message goes out twice | [`assign`] |
//! | what a tenant left elsewhere is unlinked there, whenever that can be done | [`unlink`] |
//! | what the provider forgets is told again at every connect | [`connect`] |
//! | what dropped comes back, what is deaf is attached anew, what a person took off stays off | [`keep`] |

mod assign;
mod call;
mod connect;
mod create;
mod customer;
mod delete;
mod devices;
mod duplicate;
mod hearing;
pub mod keep;
mod look;
mod name;
mod number;
mod take_back;
mod unlink;
mod watch;
mod work;

use std::sync::Arc;

use cache::{CacheKey, ReadThrough, RedisLink};
use database::{Database, DatabaseError};
use domain::endpoint::Provider;
use domain::ids::AccountId;
use runtime::encryption::{EncryptionError, KeyRing};
use secrecy::{ExposeSecret as _, SecretString};
use tenant_isolation::{TenantScope, TenantTransaction};
use whatsapp::credentials::SessionToken;
use whatsapp::genfity::{CallError, SupportGateway, WaAdmin};
use whatsapp::gowa::GowaDevices;
use whatsapp::session::SessionFailure;

use super::register_account::RegisterError;
use super::route_account::AccountRoutes;
use super::tenant::Actor;
use super::tenant_config::TenantConfigs;
use crate::endpoints::{Endpoints, LiveEndpoint};
use crate::store::session::{self, SessionRow, SessionVia};
use crate::store::{account, audit, device};

pub use assign::{AssignError, Assignment, ENDPOINT_CHANGED, Foreseen, Moved};
pub use create::Created;
pub use customer::{CustomerView, PAGE, SummaryItem, plain_status};
pub use devices::{Background, DeviceView, Devices, MOST_DEVICES, Removed, Standing};
pub use duplicate::Duplicate;
pub use hearing::Hearing;
pub use keep::Keeper;
pub use look::{News, Seen, Sight};
pub use number::NewNumber;
pub use unlink::Unlinking;
pub(super) use unlink::leave_all;
pub use watch::{QrView, StatusView};

/// Which of a tenant's sessions is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// That of its first account.
    Primary,
    /// That of this account, which may be another tenant's.
    Device(AccountId),
}

/// Everything that is done about sessions. Shared by requests and workers.
pub struct Sessions {
    db: Database,
    keys: KeyRing,
    routes: AccountRoutes,
    endpoints: Endpoints,
    configs: TenantConfigs,
    webhook_url: Option<String>,
    statuses: ReadThrough<StatusView>,
    qr_codes: ReadThrough<QrView>,
    held_codes: ReadThrough<QrView>,
    pause: watch::Pause,
    hearing: Hearing,
}

/// Who can make sessions.
#[derive(Debug, Clone, Default)]
pub struct Makers {
    /// The gateway, asked first.
    pub gateway: Option<SupportGateway>,
    /// The WhatsApp server's administration.
    pub server: Option<WaAdmin>,
    /// The devices of a GoWA, which makes them itself.
    pub devices: Option<GowaDevices>,
    /// Nothing may go out: without a gateway, sessions exist on paper.
    pub dry_run: bool,
}

impl LiveEndpoint {
    fn gateway(&self) -> Result<&SupportGateway, SessionError> {
        self.makers.gateway.as_ref().ok_or(SessionError::NotConfigured)
    }

    fn server(&self) -> Result<&WaAdmin, SessionError> {
        self.makers.server.as_ref().ok_or(SessionError::NotConfigured)
    }

    fn devices(&self) -> Result<&GowaDevices, SessionError> {
        self.makers.devices.as_ref().ok_or(SessionError::NotConfigured)
    }

    /// Who makes a new session there.
    fn via(&self) -> Result<SessionVia, SessionError> {
        if self.provider == Provider::Cloud {
            return Err(SessionError::NumberNeeded);
        }
        if self.makers.gateway.is_some() {
            Ok(SessionVia::Gateway)
        } else if self.makers.dry_run {
            Ok(SessionVia::DryRun)
        } else if self.makers.devices.is_some() {
            Ok(SessionVia::Gowa)
        } else if self.makers.server.is_some() {
            Ok(SessionVia::Server)
        } else {
            Err(SessionError::NotConfigured)
        }
    }
}

/// What [`Sessions`] works with.
pub struct Tools {
    /// The tables.
    pub db: Database,
    /// Seals and opens what is in them.
    pub keys: KeyRing,
    /// Where webhooks find accounts.
    pub routes: AccountRoutes,
    /// Shares what was asked among processes.
    pub redis: RedisLink,
    /// Where they live, and who can make them there.
    pub endpoints: Endpoints,
    /// What tenants have chosen for themselves.
    pub configs: TenantConfigs,
    /// Where their events are to go.
    pub webhook_url: Option<String>,
}

/// Something about a session that could not be done.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The tenant has no session.
    #[error("the tenant has no session")]
    NoSession,
    /// The tenant has no such device.
    #[error("the tenant has no such device")]
    NoDevice,
    /// The device has no session: it is still being made, or it was left behind on another endpoint.
    #[error("the device has no session")]
    NotMade,
    /// The device is to be removed.
    #[error("the device is being removed")]
    Going,
    /// Nobody is registered under the tenant's id.
    #[error("there is no such tenant")]
    NoTenant,
    /// The tenant's endpoint makes no devices: a number of it has to be named.
    #[error("a device on this kind of endpoint is a number that is named")]
    NumberNeeded,
    /// The tenant's endpoint has no numbers that could be named.
    #[error("the tenant's endpoint has no numbers")]
    NotANumbersEndpoint,
    /// The number is not configured for the tenant's endpoint.
    #[error("the endpoint has no such number")]
    UnknownNumber,
    /// Somebody has the number.
    #[error("the number is taken")]
    NumberTaken,
    /// The device is no number of the Cloud API.
    #[error("the device is no number of the Cloud API")]
    NotANumber,
    /// The device is a number, which no phone is paired with.
    #[error("a number of the Cloud API is not paired")]
    NotPaired,
    /// The other tenant has no session.
    #[error("the other tenant has no session")]
    NoTarget,
    /// The two tenants do not hold the same number.
    #[error("the two sessions do not hold the same number")]
    OtherNumber,
    /// The tenant may have no more sessions.
    #[error("the tenant has as many sessions as it may have")]
    LimitReached,
    /// The tenant is suspended.
    #[error("the tenant is suspended")]
    Suspended,
    /// The account's endpoint is not configured (any more).
    #[error("the endpoint {0} is not configured")]
    EndpointMissing(String),
    /// Nobody is configured who could do it.
    #[error("nobody is configured who makes or removes sessions")]
    NotConfigured,
    /// Somebody else works on the tenant's session, and goes on doing so.
    #[error("somebody else works on the tenant's session")]
    Busy,
    /// The gateway keeps no key of the customer that we could use.
    #[error("the customer's key is not known")]
    NoCustomerKey,
    /// The session's own call did not succeed.
    #[error("the provider: {0}")]
    Provider(#[from] SessionFailure),
    /// The gateway's or the server's administration did not do it.
    #[error(transparent)]
    Maker(#[from] CallError),
    /// The account could not be registered.
    #[error(transparent)]
    Register(#[from] RegisterError),
    /// A stored secret does not open.
    #[error(transparent)]
    Encryption(#[from] EncryptionError),
    /// Postgres failed.
    #[error(transparent)]
    Database(#[from] DatabaseError),
}

/// Accounts whose state one process keeps at hand.
const WATCHED: u64 = 20_000;

impl Sessions {
    /// Puts it together.
    #[must_use]
    pub fn new(tools: Tools) -> Self {
        Self {
            db: tools.db,
            keys: tools.keys,
            routes: tools.routes,
            endpoints: tools.endpoints,
            configs: tools.configs,
            webhook_url: tools.webhook_url,
            statuses: ReadThrough::short_lived(tools.redis.clone(), WATCHED, watch::FRESH),
            qr_codes: ReadThrough::short_lived(tools.redis.clone(), WATCHED, watch::FRESH),
            held_codes: ReadThrough::held(tools.redis, WATCHED, watch::HELD),
            pause: watch::Pause::default(),
            hearing: Hearing::default(),
        }
    }

    /// A session of the tenant's as it is stored.
    ///
    /// # Errors
    /// [`SessionError::Database`].
    pub async fn find(&self, scope: &TenantScope, which: Which) -> Result<Option<SessionRow>, SessionError> {
        let mut tx = TenantTransaction::begin(&self.db, scope, "find session").await?;
        let row = match which {
            Which::Primary => session::find(&mut tx).await?,
            Which::Device(account) => session::find_of(&mut tx, account).await?,
        };
        tx.commit().await?;
        Ok(row)
    }

    /// As [`Self::find`], of a tenant that must have it.
    async fn of(&self, scope: &TenantScope, which: Which) -> Result<SessionRow, SessionError> {
        if let Some(row) = self.find(scope, which).await? {
            return Ok(row);
        }
        let Which::Device(account) = which else {
            return Err(SessionError::NoSession);
        };
        let mut tx = TenantTransaction::begin(&self.db, scope, "find device").await?;
        let known = device::find(&mut tx, account).await?;
        tx.commit().await?;
        Err(known.map_or(SessionError::NoDevice, |_| SessionError::NotMade))
    }

    /// The endpoint that the session lives on.
    fn endpoint(&self, row: &SessionRow) -> Result<Arc<LiveEndpoint>, SessionError> {
        self.endpoint_named(&row.provider, &row.endpoint)
    }

    fn endpoint_named(&self, provider: &str, name: &str) -> Result<Arc<LiveEndpoint>, SessionError> {
        self.endpoints
            .of_account(provider, name)
            .ok_or_else(|| SessionError::EndpointMissing(name.to_owned()))
    }

    /// Where a session's events are to go. Those of a GoWA have a road of their own, which says whose they are.
    fn webhook_url_at(&self, provider: Provider, endpoint: &str) -> Option<String> {
        let url = self.webhook_url.as_deref()?;
        Some(match provider {
            Provider::Gowa => format!("{url}/gowa/{endpoint}"),
            Provider::Genfity | Provider::Cloud => url.to_owned(),
        })
    }

    /// As [`Self::endpoint`], of a session that a phone is paired with.
    fn pairing_endpoint(&self, row: &SessionRow) -> Result<Arc<LiveEndpoint>, SessionError> {
        if row.is_number() {
            return Err(SessionError::NotPaired);
        }
        self.endpoint(row)
    }

    fn token(&self, scope: &TenantScope, row: &SessionRow) -> Result<SessionToken, SessionError> {
        let binding = account::token_binding(scope.tenant(), row.account());
        let token = self.keys.open(&row.token_sealed, &binding)?;
        SessionToken::new(token.expose_secret())
            .map_err(|_| SessionError::Encryption(EncryptionError::DoesNotOpen))
    }

    /// Notes an act that needed no change of ours.
    async fn note(
        &self,
        scope: &TenantScope,
        actor: &Actor,
        action: &'static str,
        row: &SessionRow,
    ) -> Result<(), SessionError> {
        let mut tx = TenantTransaction::begin(&self.db, scope, "note session act").await?;
        audit::note(&mut tx, &actor.act(action, Some(row.instance_name.clone()))).await?;
        tx.commit().await?;
        Ok(())
    }

    /// The account's state changed: who asks next is told anew, everywhere.
    pub async fn changed(&self, scope: &TenantScope, account: AccountId) {
        self.statuses.forget(&status_key(scope, account)).await;
        self.qr_codes.forget(&qr_key(scope, account)).await;
        self.held_codes.forget_once(&held_key(scope, account)).await;
    }
}

fn status_key(scope: &TenantScope, account: AccountId) -> CacheKey {
    CacheKey::of_tenant(scope, "session_status", &account.to_string())
}

fn qr_key(scope: &TenantScope, account: AccountId) -> CacheKey {
    CacheKey::of_tenant(scope, "session_qr", &account.to_string())
}

fn held_key(scope: &TenantScope, account: AccountId) -> CacheKey {
    CacheKey::of_tenant(scope, "held_qr", &account.to_string())
}

/// 64 random hexadecimal digits behind a prefix.
fn random_secret(prefix: &str) -> SecretString {
    let (high, low): (u128, u128) = (rand::random(), rand::random());
    SecretString::from(format!("{prefix}{high:032x}{low:032x}"))
}
