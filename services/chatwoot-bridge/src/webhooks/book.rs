//! The routes at hand: an event finds its route without a question to Postgres.
//!
//! A version in Postgres moves inside every transaction that changes a route or a connected inbox. It is looked at twice
//! a second, and by whoever is about to turn an event away; only after it moved the routes are read anew. So a change is
//! known everywhere soon, and nothing is ever refused for want of one.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use database::{Database, DatabaseError};
use runtime::shutdown::Shutdown;
use tenant_isolation::{PlatformScope, PlatformTransaction, TenantScope};
use uuid::Uuid;

use super::event::Event;
use crate::store::inboxes::{self, Inbox};
use crate::store::routes::{self, OwnedRoute, Route};

/// How often the version is looked at.
const EVERY: Duration = Duration::from_millis(500);

/// A route, whose it is, and the connected inbox where it leads to one.
#[derive(Debug, Clone)]
pub struct KnownRoute {
    /// For whom its events are handled.
    pub scope: TenantScope,
    /// The route.
    pub route: Route,
    /// What [`Target::Account`](routes::Target::Account) leads to.
    pub link: Option<Inbox>,
}

/// What was found for an event.
#[derive(Debug, Clone)]
pub enum Found {
    /// Its route.
    Route(Arc<KnownRoute>),
    /// The event names no account, and more than one of them has a route for the inbox.
    Ambiguous,
    /// None.
    Nobody,
}

/// The routes at hand. Cheap to clone.
#[derive(Debug, Clone)]
pub struct RouteBook {
    db: Database,
    pages: Arc<RwLock<Arc<Pages>>>,
    /// Held by the one look that is under way.
    looking: Arc<tokio::sync::Mutex<Looked>>,
}

/// What the looks before this one were worth.
#[derive(Debug, Default)]
struct Looked {
    /// When the last one began that succeeded: what was committed before is at hand.
    began: Option<Instant>,
    /// When the last one failed.
    failed: Option<Instant>,
}

#[derive(Debug, Default)]
struct Pages {
    version: Option<i64>,
    /// By installation and inbox.
    places: HashMap<String, HashMap<i64, Vec<Arc<KnownRoute>>>>,
    by_id: HashMap<Uuid, Arc<KnownRoute>>,
}

impl RouteBook {
    /// An empty book: the first event fills it.
    #[must_use]
    pub fn new(db: Database) -> Self {
        Self {
            db,
            pages: Arc::default(),
            looking: Arc::default(),
        }
    }

    /// The route of an event. What is not at hand is looked for in Postgres before it is nobody's.
    ///
    /// # Errors
    /// [`DatabaseError`]: nothing is at hand, and nobody can tell.
    pub async fn find(&self, installation: &str, event: &Event) -> Result<Found, DatabaseError> {
        if let Found::Route(route) = self.pages().find(installation, event) {
            return Ok(Found::Route(route));
        }
        self.refresh().await?;
        Ok(self.pages().find(installation, event))
    }

    /// The route of an event as far as it is at hand.
    #[must_use]
    pub fn remembered(&self, installation: &str, event: &Event) -> Option<Arc<KnownRoute>> {
        match self.pages().find(installation, event) {
            Found::Route(route) => Some(route),
            Found::Ambiguous | Found::Nobody => None,
        }
    }

    /// The route with this id, as far as it is at hand.
    #[must_use]
    pub fn by_id(&self, id: Uuid) -> Option<Arc<KnownRoute>> {
        self.pages().by_id.get(&id).cloned()
    }

    /// Sees to it that everything that was committed before this call is at hand.
    ///
    /// # Errors
    /// [`DatabaseError`]: what was at hand still is.
    pub async fn refresh(&self) -> Result<(), DatabaseError> {
        let asked = Instant::now();
        let mut looked = self.looking.lock().await;
        // Somebody else's look is as good as an own one, if it began after the question; and if it failed meanwhile, the
        // next one would keep everybody waiting for as long again.
        if looked.began.is_some_and(|began| began >= asked) {
            return Ok(());
        }
        if looked.failed.is_some_and(|failed| failed >= asked) {
            return Err(DatabaseError::Unavailable("the routes could not be read".into()));
        }
        let began = Instant::now();
        match self.look().await {
            Ok(()) => {
                looked.began = Some(began);
                Ok(())
            }
            Err(error) => {
                looked.failed = Some(Instant::now());
                Err(error)
            }
        }
    }

    async fn look(&self) -> Result<(), DatabaseError> {
        let platform = PlatformScope::for_purpose("look at the routes");
        let mut tx = PlatformTransaction::begin(&self.db, platform).await?;
        // Read first: what changes after it will move it again.
        let version = Some(routes::version(&mut tx).await?);
        if self.pages().version != version {
            let routes = routes::registered(&mut tx).await?;
            let inboxes = inboxes::all(&mut tx).await?;
            let pages = Pages {
                version,
                ..Pages::of(&platform, routes, inboxes)
            };
            *self.pages.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(pages);
        }
        tx.commit().await
    }

    /// Looks at the version until the end.
    pub async fn keep_up(self, shutdown: Shutdown) {
        loop {
            if let Err(error) = self.refresh().await {
                tracing::debug!(%error, "the routes at hand may be old");
                metrics::counter!("kanal_bridge_route_looks_failed_total").increment(1);
            }
            if !shutdown.sleep(EVERY).await {
                return;
            }
        }
    }

    fn pages(&self) -> Arc<Pages> {
        Arc::clone(&self.pages.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Pages {
    fn of(platform: &PlatformScope, routes: Vec<OwnedRoute>, inboxes: Vec<(String, Inbox)>) -> Self {
        let mut links: HashMap<(String, Uuid), Inbox> = inboxes
            .into_iter()
            .map(|(tenant, inbox)| ((tenant, inbox.id), inbox))
            .collect();
        let mut pages = Self::default();
        for OwnedRoute { tenant, route } in routes {
            let link = match route.link() {
                Some(id) => match links.remove(&(tenant.as_str().to_owned(), id)) {
                    Some(inbox) => Some(inbox),
                    // Disconnected between the two looks.
                    None => continue,
                },
                None => None,
            };
            let known = Arc::new(KnownRoute {
                scope: TenantScope::of_swept_row(platform, tenant),
                route,
                link,
            });
            let route = &known.route;
            pages.by_id.insert(route.id, Arc::clone(&known));
            let inboxes = pages.places.entry(route.installation.clone()).or_default();
            inboxes
                .entry(route.inbox_id)
                .or_default()
                .push(Arc::clone(&known));
        }
        pages
    }

    fn find(&self, installation: &str, event: &Event) -> Found {
        let at_inbox = event
            .inbox_id
            .and_then(|inbox| self.places.get(installation)?.get(&inbox));
        let Some(routes) = at_inbox else {
            return Found::Nobody;
        };
        if event.account_id.is_none() {
            return match routes.as_slice() {
                [only] => Found::Route(Arc::clone(only)),
                _ => Found::Ambiguous,
            };
        }
        let of = |account| routes.iter().find(|known| known.route.account_id == account);
        of(event.account_id)
            .or_else(|| of(None))
            .map_or(Found::Nobody, |known| Found::Route(Arc::clone(known)))
    }
}
