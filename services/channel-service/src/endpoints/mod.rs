//! The configured WhatsApp API servers, ready to be called.
//!
//! Every call to a provider begins here: an account's row names its endpoint, and [`Endpoints::find`] gives the ways to
//! it. Whoever has an endpoint in hand keeps it until the call is over, also while a reload replaces the table.

mod build;
pub mod outage;
pub mod reload;
mod timed;

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use domain::endpoint::{EndpointName, Provider};
use domain::tenant_config::MESSAGE_TIMEOUT;
use whatsapp::cloud::GraphTemplates;
use whatsapp::courtesy::ShowCourtesy;
use whatsapp::credentials::WebhookKey;
use whatsapp::download::DownloadMedia;
use whatsapp::genfity::InvalidEndpoint;
use whatsapp::picture::FindPicture;
use whatsapp::port::SendMessage;
use whatsapp::probe::ProbeEndpoint;
use whatsapp::session::ManageSession;

use crate::config::{CloudSettings, EndpointSettings, EndpointsSettings, OutageSettings, PRIMARY};
use crate::flows::session::Makers;
use outage::Outage;

/// All configured endpoints, as they are now. Cheap to clone; a reload replaces the whole table, for every clone.
#[derive(Clone)]
pub struct Endpoints {
    table: Arc<RwLock<Arc<Table>>>,
    calls: CallSettings,
}

/// How endpoints are called, whichever they are.
#[derive(Debug, Clone, Copy)]
pub struct CallSettings {
    /// Longest wait for the answer to a send.
    pub timeout: Duration,
    /// Nothing goes out.
    pub dry_run: bool,
    /// How long one that is away is left alone.
    pub outage: OutageSettings,
}

impl CallSettings {
    /// How long a client waits for the answer to a send. Whoever sends ends the call when it takes longer than it may
    /// for the tenant, whose limit may be above the one for everybody.
    #[must_use]
    pub fn longest_send(&self) -> Duration {
        let most = u64::try_from(MESSAGE_TIMEOUT.most).unwrap_or(0);
        self.timeout.max(Duration::from_secs(most))
    }
}

/// One endpoint and all ways to it.
pub struct LiveEndpoint {
    /// By this name rows refer to it.
    pub name: EndpointName,
    /// Which kind of API it is.
    pub provider: Provider,
    /// Sends messages.
    pub sender: Arc<dyn SendMessage>,
    /// Handles its sessions.
    pub sessions: Arc<dyn ManageSession>,
    /// Shows typing and read marks.
    pub courtesy: Arc<dyn ShowCourtesy>,
    /// Fetches files of messages.
    pub downloads: Arc<dyn DownloadMedia>,
    /// Finds people's pictures, where the provider has a call for that.
    pub pictures: Option<Arc<dyn FindPicture>>,
    /// Asks whether it is there and takes our key.
    pub probe: Arc<dyn ProbeEndpoint>,
    /// Who makes sessions there (genfity).
    pub makers: Makers,
    /// What it may sign webhooks with besides the keys of single sessions, newest first.
    pub webhook_keys: Vec<WebhookKey>,
    /// Lists approved templates (cloud).
    pub templates: Option<GraphTemplates>,
    /// What webhooks and numbers of the Graph API need.
    pub cloud: Option<CloudSettings>,
    /// Whether messages reach it.
    pub outage: Outage,
    settings: EndpointSettings,
}

/// An endpoint that cannot be used as it is configured.
#[derive(Debug, thiserror::Error)]
#[error("endpoint {name} cannot be used")]
pub struct EndpointError {
    /// Which.
    pub name: EndpointName,
    /// Why.
    #[source]
    pub cause: InvalidEndpoint,
}

/// What another configuration brought.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// Endpoints that were not there before.
    pub new: Vec<EndpointName>,
    /// Endpoints that are reached in another way.
    pub changed: Vec<EndpointName>,
    /// Endpoints that are not there any more.
    pub removed: Vec<EndpointName>,
}

#[derive(Default)]
struct Table {
    ordered: Vec<Arc<LiveEndpoint>>,
    by_name: HashMap<String, Arc<LiveEndpoint>>,
}

impl Endpoints {
    /// Prepares the ways to every endpoint; nothing is dialled yet.
    ///
    /// # Errors
    /// [`EndpointError`] for the first that cannot be used.
    pub fn build(settings: &EndpointsSettings, calls: CallSettings) -> Result<Self, EndpointError> {
        if calls.dry_run {
            tracing::warn!("WA_DRY_RUN is on: nothing goes out");
        }
        let (table, changes) = Table::build(settings, calls, &Table::default())?;
        tracing::info!(endpoints = %listed(&changes.new), "the WhatsApp endpoints are configured");
        table.show();
        Ok(Self {
            table: Arc::new(RwLock::new(Arc::new(table))),
            calls,
        })
    }

    /// The names, in the order of the configuration.
    #[must_use]
    pub fn names(&self) -> Vec<EndpointName> {
        self.now()
            .ordered
            .iter()
            .map(|endpoint| endpoint.name.clone())
            .collect()
    }

    /// Every endpoint, in the order of the configuration.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<LiveEndpoint>> {
        self.now().ordered.clone()
    }

    /// The endpoint of this name, matched exactly. `None`: it is not configured (any more).
    #[must_use]
    pub fn find(&self, name: &str) -> Option<Arc<LiveEndpoint>> {
        self.now().by_name.get(name).map(Arc::clone)
    }

    /// The endpoint of an account. `None`: it is not configured (any more), or another kind of API goes by its name now,
    /// which must not be shown what the account has at the first.
    #[must_use]
    pub fn of_account(&self, provider: &str, name: &str) -> Option<Arc<LiveEndpoint>> {
        self.find(name)
            .filter(|endpoint| endpoint.provider.as_str() == provider)
    }

    /// Where a tenant belongs that nobody has assigned: `Primary`, else the only endpoint there is.
    #[must_use]
    pub fn fallback(&self) -> Option<Arc<LiveEndpoint>> {
        let table = self.now();
        match (table.by_name.get(PRIMARY), table.ordered.as_slice()) {
            (Some(primary), _) => Some(Arc::clone(primary)),
            (None, [only]) => Some(Arc::clone(only)),
            (None, _) => None,
        }
    }

    /// Nothing goes out?
    #[must_use]
    pub const fn is_dry_run(&self) -> bool {
        self.calls.dry_run
    }

    /// Takes another configuration, as a whole or not at all. An endpoint whose settings are as they were keeps its
    /// connections. Whoever is calling through one that changed or went finishes the call.
    ///
    /// # Errors
    /// [`EndpointError`]; everything is as before then.
    pub fn replace(&self, settings: &EndpointsSettings) -> Result<Changes, EndpointError> {
        let before = self.now();
        let (table, changes) = Table::build(settings, self.calls, &before)?;
        let table = Arc::new(table);
        *self.table.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&table);
        for old in &before.ordered {
            let now = table.by_name.get(old.name.as_str());
            if !now.is_some_and(|now| Arc::ptr_eq(now, old)) {
                old.outage.retire();
            }
        }
        table.show();
        Ok(changes)
    }

    fn now(&self) -> Arc<Table> {
        Arc::clone(&self.table.read().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Names for a line of the log.
fn listed(names: &[EndpointName]) -> String {
    let names: Vec<&str> = names.iter().map(EndpointName::as_str).collect();
    names.join(", ")
}

impl Table {
    fn build(
        settings: &EndpointsSettings,
        calls: CallSettings,
        before: &Self,
    ) -> Result<(Self, Changes), EndpointError> {
        let (mut table, mut changes) = (Self::default(), Changes::default());
        for settings in &settings.list {
            let known = before.by_name.get(settings.name.as_str());
            if let Some(known) = known.filter(|known| known.settings == *settings) {
                table.add(Arc::clone(known));
                continue;
            }
            let endpoint = LiveEndpoint::build(settings, calls).map_err(|cause| EndpointError {
                name: settings.name.clone(),
                cause,
            })?;
            let noted = if known.is_some() {
                &mut changes.changed
            } else {
                &mut changes.new
            };
            noted.push(settings.name.clone());
            table.add(Arc::new(endpoint.timed()));
        }
        let gone = before.ordered.iter().map(|endpoint| &endpoint.name);
        changes.removed = gone
            .filter(|name| !table.by_name.contains_key(name.as_str()))
            .cloned()
            .collect();
        Ok((table, changes))
    }

    /// Shows of every endpoint whether it is reached.
    fn show(&self) {
        for endpoint in &self.ordered {
            endpoint.outage.show();
        }
    }

    fn add(&mut self, endpoint: Arc<LiveEndpoint>) {
        self.by_name
            .insert(endpoint.name.to_string(), Arc::clone(&endpoint));
        self.ordered.push(endpoint);
    }
}

impl fmt::Debug for Endpoints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.names()).finish()
    }
}

impl fmt::Debug for LiveEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LiveEndpoint")
            .field("name", &self.name)
            .field("provider", &self.provider)
            .finish_non_exhaustive()
    }
}
