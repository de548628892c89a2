//! A tenant's devices: each an account with a session of its own. The first one is what everybody means who names none.
//!
//! A device is made like any session, as many as the tenant may have. It is removed as soon as somebody wants it so: what
//! cannot be removed outside now is tried again by the sweep, and it is here until it is gone there.

use std::time::Duration;

use domain::account::AccountStatus;
use domain::device::DeviceName;
use domain::ids::{AccountId, TenantId};
use futures_util::{StreamExt as _, stream};
use tenant_isolation::{PlatformScope, PlatformTransaction, TenantScope, TenantTransaction};
use tokio::time::Instant;
use whatsapp::session::Details;

use super::create::Wish;
use super::delete::Removing;
use super::take_back::sweeper;
use super::watch::standing;
use super::work::Work;
use super::{SessionError, Sessions, StatusView, Which};
use crate::flows::tenant::Actor;
use crate::store::device::{self, DeviceRow};
use crate::store::endpoint_health::{self, EndpointHealth};
use crate::store::session_watch::{self, OutageRow};
use crate::store::{audit, tenant};

/// Most devices that are shown at once.
pub const MOST_DEVICES: i64 = 200;
/// How long a list waits for providers that say where its devices stand.
const PATIENCE: Duration = Duration::from_secs(4);
/// How many are asked at the same time.
const ASKED_AT_ONCE: usize = 8;
/// Most devices that one sweep tries to remove.
const SWEPT: i64 = 100;

/// A device, and where it stands.
#[derive(Debug, Clone)]
pub struct DeviceView {
    /// What is stored.
    pub row: DeviceRow,
    /// What its provider says.
    pub standing: Standing,
}

/// Where a device stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// Its session is being made, or was left half made; connecting it goes on with that.
    Begun,
    /// It has no session; connecting it makes one.
    WithoutSession,
    /// What the provider says.
    Known {
        /// In one word.
        status: AccountStatus,
        /// The socket to WhatsApp is up.
        connected: bool,
        /// Paired and usable.
        logged_in: bool,
        /// Its own address, once it was paired.
        jid: Option<String>,
        /// Its number.
        phone: Option<String>,
    },
    /// The provider could not be asked, or did not say.
    Unknown,
}

/// A tenant's devices.
#[derive(Debug)]
pub struct Devices {
    /// Oldest first.
    pub list: Vec<DeviceView>,
    /// How many it may have.
    pub limit: i32,
}

/// What stands behind a device.
#[derive(Debug)]
pub struct Background {
    /// What is done about it while it is off the network.
    pub outage: OutageRow,
    /// How its server was when somebody last looked.
    pub health: Option<EndpointHealth>,
    /// Its server is configured.
    pub is_configured: bool,
}

/// What became of a wish for a removal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removed {
    /// It is gone, there and here.
    Gone,
    /// It could not be removed there yet, and will be.
    Later,
}

impl Sessions {
    /// The tenant's devices and where each stands, as far as providers say so in time.
    ///
    /// # Errors
    /// [`SessionError`] about our own side only.
    pub async fn devices(&self, scope: &TenantScope) -> Result<Devices, SessionError> {
        let mut tx = TenantTransaction::begin(&self.db, scope, "list devices").await?;
        let tenant = tenant::find(&mut tx).await?.ok_or(SessionError::NoTenant)?;
        let rows = device::list(&mut tx, MOST_DEVICES).await?;
        tx.commit().await?;
        let until = Instant::now() + PATIENCE;
        let list = stream::iter(rows)
            .map(|row| self.view(scope, row, until))
            .buffered(ASKED_AT_ONCE)
            .collect()
            .await;
        Ok(Devices {
            list,
            limit: tenant.session_limit,
        })
    }

    /// One of the tenant's devices.
    ///
    /// # Errors
    /// [`SessionError::NoDevice`], also for another tenant's.
    pub async fn device(&self, scope: &TenantScope, id: AccountId) -> Result<DeviceView, SessionError> {
        let row = self.device_row(scope, id).await?;
        Ok(self.view(scope, row, Instant::now() + PATIENCE).await)
    }

    /// What stands behind a device: its server, and what is done about it while it is off the network.
    ///
    /// # Errors
    /// [`SessionError::Database`].
    pub async fn background(&self, scope: &TenantScope, row: &DeviceRow) -> Result<Background, SessionError> {
        let mut tx = TenantTransaction::begin(&self.db, scope, "look behind device").await?;
        let outage = session_watch::outage_of(&mut tx, row.account()).await?;
        let health = endpoint_health::of(&mut tx, &row.endpoint).await?;
        tx.commit().await?;
        Ok(Background {
            outage: outage.unwrap_or_default(),
            health,
            is_configured: self.endpoint_named(&row.provider, &row.endpoint).is_ok(),
        })
    }

    /// Makes another device for the tenant and begins to connect it.
    ///
    /// # Errors
    /// [`SessionError`]. What is half made then is finished by the next call, or taken back by the sweep.
    pub async fn add_device(
        &self,
        scope: &TenantScope,
        name: Option<&DeviceName>,
        actor: &Actor,
    ) -> Result<DeviceView, SessionError> {
        let mut tx = TenantTransaction::begin(&self.db, scope, "look for tenant").await?;
        let known = tenant::find(&mut tx).await?;
        tx.commit().await?;
        known.ok_or(SessionError::NoTenant)?;
        let (account, _) = self.make_one(scope, Wish::Another(name), actor).await?;
        self.connect_new(scope, account).await;
        self.device(scope, account).await
    }

    /// Gives a device another name.
    ///
    /// # Errors
    /// [`SessionError::NoDevice`] among others.
    pub async fn rename_device(
        &self,
        scope: &TenantScope,
        id: AccountId,
        name: &DeviceName,
        actor: &Actor,
    ) -> Result<DeviceView, SessionError> {
        let mut tx = TenantTransaction::begin(&self.db, scope, "rename device").await?;
        let row = device::find(&mut tx, id).await?.ok_or(SessionError::NoDevice)?;
        device::set_name(&mut tx, id, name).await?;
        audit::note(&mut tx, &actor.act("device.rename", Some(row.instance_name))).await?;
        tx.commit().await?;
        self.device(scope, id).await
    }

    /// Connects a device. One without a session gets one first, on the endpoint where the tenant is now.
    ///
    /// # Errors
    /// [`SessionError`].
    pub async fn connect_device(
        &self,
        scope: &TenantScope,
        id: AccountId,
        actor: &Actor,
    ) -> Result<Details, SessionError> {
        let row = self.device_row(scope, id).await?;
        if row.is_going {
            return Err(SessionError::Going);
        }
        if !row.has_session {
            self.make_one(scope, Wish::Of(id), actor).await?;
        }
        self.connect(scope, Which::Device(id), actor).await
    }

    /// Removes a device; its chats stay. From now on it goes, whatever the provider says at the moment.
    ///
    /// # Errors
    /// [`SessionError::NoDevice`], and what is about our own side.
    pub async fn remove_device(
        &self,
        scope: &TenantScope,
        id: AccountId,
        actor: &Actor,
    ) -> Result<Removed, SessionError> {
        let mut tx = TenantTransaction::begin(&self.db, scope, "want device removed").await?;
        let row = device::find(&mut tx, id).await?.ok_or(SessionError::NoDevice)?;
        if !row.is_going {
            audit::note(&mut tx, &actor.act("device.remove", Some(row.instance_name))).await?;
        }
        device::note_removal(&mut tx, id).await?;
        tx.commit().await?;
        let removed = match self.begin_work(scope).await {
            Ok(work) => {
                let removed = self.remove_device_under(&work, id, actor).await;
                work.end().await;
                removed
            }
            Err(error) => Err(error),
        };
        match removed {
            Ok(()) => Ok(Removed::Gone),
            Err(SessionError::Database(error)) => Err(error.into()),
            Err(error) => {
                tracing::warn!(tenant = %scope.tenant(), error = %crate::error::chain(&error),
                    "a device could not be removed yet");
                Ok(Removed::Later)
            }
        }
    }

    /// Tries once more to remove the devices that were last tried `age` ago. Returns how many went.
    ///
    /// # Errors
    /// [`SessionError::Database`].
    pub async fn sweep_devices(&self, age: Duration) -> Result<usize, SessionError> {
        let platform = PlatformScope::for_purpose("sweep devices to remove");
        let mut tx = PlatformTransaction::begin(&self.db, platform).await?;
        let left = device::to_remove(&mut tx, age, SWEPT).await?;
        tx.commit().await?;
        let mut count = 0;
        for (tenant, id) in left {
            let Ok(tenant) = TenantId::parse(tenant) else {
                continue;
            };
            let scope = TenantScope::of_swept_row(&platform, tenant);
            match self.sweep_device(&scope, id).await {
                Ok(true) => count += 1,
                Ok(false) => {}
                Err(error) => {
                    tracing::warn!(tenant = %scope.tenant(), error = %crate::error::chain(&error),
                        "a device could not be removed yet");
                }
            }
        }
        Ok(count)
    }

    async fn sweep_device(&self, scope: &TenantScope, id: AccountId) -> Result<bool, SessionError> {
        // Others come first next time, whatever becomes of it now.
        let mut tx = TenantTransaction::begin(&self.db, scope, "try removal again").await?;
        let is_going = device::find(&mut tx, id).await?.is_some_and(|row| row.is_going);
        if is_going {
            device::note_removal(&mut tx, id).await?;
        }
        tx.commit().await?;
        if !is_going {
            return Ok(false);
        }
        let Some(work) = self.try_work(scope).await? else {
            return Ok(false);
        };
        let removed = self.remove_device_under(&work, id, &sweeper()).await;
        work.end().await;
        removed.map(|()| true)
    }

    async fn remove_device_under(
        &self,
        work: &Work<'_>,
        id: AccountId,
        actor: &Actor,
    ) -> Result<(), SessionError> {
        let removing = Removing {
            action: "session.delete",
            detail: None,
            actor,
        };
        if self.remove_under(work, Which::Device(id), &removing).await? {
            return Ok(());
        }
        // It had no session, so nothing of it is outside.
        let mut tx = work.transaction("forget device").await?;
        device::end(&mut tx, id).await?;
        tx.commit().await?;
        Ok(())
    }

    async fn device_row(&self, scope: &TenantScope, id: AccountId) -> Result<DeviceRow, SessionError> {
        let mut tx = TenantTransaction::begin(&self.db, scope, "find device").await?;
        let row = device::find(&mut tx, id).await?;
        tx.commit().await?;
        row.ok_or(SessionError::NoDevice)
    }

    async fn view(&self, scope: &TenantScope, row: DeviceRow, until: Instant) -> DeviceView {
        let standing = match (row.has_session, row.is_begun) {
            (true, _) => self.standing(scope, &row, until).await,
            (false, true) => Standing::Begun,
            (false, false) => Standing::WithoutSession,
        };
        DeviceView { row, standing }
    }

    async fn standing(&self, scope: &TenantScope, row: &DeviceRow, until: Instant) -> Standing {
        let asked = self.status(scope, Which::Device(row.account()));
        match tokio::time::timeout_at(until, asked).await {
            Ok(Ok(Some((
                row,
                StatusView::Known {
                    connected,
                    logged_in,
                    jid,
                    phone,
                    ..
                },
            )))) => Standing::Known {
                status: standing(connected, logged_in, &row.status),
                connected,
                logged_in,
                jid: Some(jid).filter(|jid| !jid.is_empty()),
                phone: phone.or(row.phone),
            },
            Ok(Ok(None)) => Standing::WithoutSession,
            Ok(Ok(Some((_, StatusView::Unknown))) | Err(_)) | Err(_) => Standing::Unknown,
        }
    }
}
