//! Takes over the predecessor's routes. What is here already stays as it is, so the import may be repeated until the day
//! of the move; scripts go on with the numbers that they know.

use database::DatabaseError;
use runtime::encryption::EncryptionError;
use secrecy::ExposeSecret as _;
use serde::Serialize;
use tenant_isolation::{PlatformScope, PlatformTransaction, TenantScope, TenantTransaction};
use uuid::Uuid;

use super::Tools;
use super::target_url::{InvalidTarget, TargetUrl, shown_of};
use crate::outbound_url::OutboundPolicy;
use crate::store::audit_log::{self, Actor};
use crate::store::original::OriginalRoute;
use crate::store::routes::{self, PLACE_TAKEN, Route, Target, Wants};

/// The constraint that holds when a number is somebody's.
const NUMBER_TAKEN: &str = "routes_number";
/// Longest name, in characters.
const LONGEST_NAME: usize = 100;

/// What becomes of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It is a route now.
    Imported,
    /// It is a route now, and off: its URL is one that could not be dialled.
    ImportedOff,
    /// It was one already, with this URL.
    Unchanged,
    /// The inbox has a route of the tenant's that leads elsewhere; that one stays.
    Different,
    /// The inbox is somebody else's here.
    Taken,
    /// No inbox can have this id.
    Skipped,
}

/// A row, and what becomes of it.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Row {
    /// Its number in the predecessor.
    pub id: i64,
    /// Its number here, where it has one.
    pub new_id: Option<i64>,
    /// Chatwoot's inbox.
    pub inbox_id: Option<i64>,
    /// Its URL, without what is secret in it.
    pub webhook_url: String,
    /// What becomes of it.
    pub outcome: Outcome,
    /// Why, where that is not plain.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// What an import did, or would do.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Nothing was done.
    pub dry_run: bool,
    /// Whose the routes are.
    pub tenant_id: String,
    /// How many rows there are.
    pub read: usize,
    /// How many became routes, those that are off among them.
    pub imported: usize,
    /// Every row.
    pub routes: Vec<Row>,
}

/// Why an import ended early. Rows before that are imported.
#[derive(Debug, thiserror::Error)]
pub enum NotImported {
    /// The database.
    #[error("the routes cannot be written")]
    Database(#[from] DatabaseError),
    /// The cipher.
    #[error("a URL cannot be sealed or opened")]
    Encryption(#[from] EncryptionError),
}

/// Where the rows go.
#[derive(Debug, Clone, Copy)]
pub struct Import<'a> {
    /// Tables and keys.
    pub tools: &'a Tools,
    /// Which private hosts a URL may name.
    pub outbound: &'a OutboundPolicy,
    /// Whose they become.
    pub scope: &'a TenantScope,
    /// Which Chatwoot server they are about.
    pub installation: &'a str,
    /// Do the same, and commit nothing.
    pub dry_run: bool,
    /// Who wants it.
    pub actor: &'a Actor,
}

impl Import<'_> {
    /// Imports rows, in their order.
    ///
    /// # Errors
    /// [`NotImported`]; running it again goes on where it stopped.
    pub async fn run(&self, rows: &[OriginalRoute]) -> Result<Report, NotImported> {
        let mut report = Report {
            dry_run: self.dry_run,
            tenant_id: self.scope.tenant().to_string(),
            read: rows.len(),
            imported: 0,
            routes: Vec::with_capacity(rows.len()),
        };
        // First, so that a row that needs a new number gets none of a later row's.
        if let Some(highest) = rows.iter().map(|row| row.number).max()
            && !self.dry_run
        {
            let platform = PlatformScope::for_purpose("number routes past imported ones");
            let mut tx = PlatformTransaction::begin(&self.tools.db, platform).await?;
            routes::move_numbers_past(&mut tx, highest).await?;
            tx.commit().await?;
        }
        for row in rows {
            let row = match self.take(row, row.number).await {
                // Another route has its number: then it gets a new one.
                Err(NotImported::Database(DatabaseError::Conflict { constraint }))
                    if constraint == NUMBER_TAKEN =>
                {
                    self.take(row, 0).await?
                }
                taken => taken?,
            };
            report.imported += usize::from(matches!(row.outcome, Outcome::Imported | Outcome::ImportedOff));
            report.routes.push(row);
        }
        Ok(report)
    }

    async fn take(&self, original: &OriginalRoute, number: i64) -> Result<Row, NotImported> {
        let text = original.webhook_url.expose_secret();
        let target = TargetUrl::parse(text).and_then(|url| url.check(self.outbound).map(|()| url));
        let mut row = Row {
            id: original.number,
            new_id: None,
            inbox_id: original.inbox_id,
            webhook_url: match &target {
                Ok(url) => url.shown(),
                Err(_) => shown_of(text),
            },
            outcome: Outcome::Skipped,
            reason: None,
        };
        let Some(inbox) = original.inbox_id.filter(|id| *id > 0) else {
            row.reason = Some("no inbox has this id".to_owned());
            return Ok(row);
        };
        let mut tx = TenantTransaction::begin(&self.tools.db, self.scope, "import route").await?;
        routes::lock_place(&mut tx, self.installation, inbox).await?;
        if let Some(known) = routes::find_at(&mut tx, self.installation, None, inbox).await? {
            row.new_id = Some(known.number);
            row.outcome = self.compare(&known, text)?;
            return Ok(row);
        }
        let route = self.route(original, number, inbox, &target)?;
        let stored = match routes::put(&mut tx, &route).await {
            Ok(stored) => stored,
            Err(DatabaseError::Conflict { constraint }) if constraint == PLACE_TAKEN => {
                row.outcome = Outcome::Taken;
                row.reason = Some("another route takes this inbox's events".to_owned());
                return Ok(row);
            }
            Err(error) => return Err(error.into()),
        };
        routes::set_created_at(&mut tx, stored.id, route.created_at).await?;
        let act = self.actor.act("route.import", Some(stored.number.to_string()));
        let act = act.saying(format!("{}/*/{inbox} to {}", self.installation, row.webhook_url));
        audit_log::note(&mut tx, &act).await?;
        if !self.dry_run {
            tx.commit().await?;
            row.new_id = Some(stored.number);
        }
        (row.outcome, row.reason) = match target {
            Ok(_) => (Outcome::Imported, None),
            Err(error) => (Outcome::ImportedOff, Some(format!("the URL {error}"))),
        };
        Ok(row)
    }

    fn route(
        &self,
        original: &OriginalRoute,
        number: i64,
        inbox: i64,
        target: &Result<TargetUrl, InvalidTarget>,
    ) -> Result<Route, EncryptionError> {
        let id = Uuid::now_v7();
        let place = Route::url_place(self.scope.tenant().as_str(), id);
        let (whole, shown) = match target {
            Ok(url) => (url.whole(), url.shown()),
            // Kept as it is, so that nothing is lost of what people had typed.
            Err(_) => (
                original.webhook_url.clone(),
                shown_of(original.webhook_url.expose_secret()),
            ),
        };
        let name = original.name.as_ref().map(|name| {
            let plain = name.chars().filter(|letter| *letter != '\0');
            plain.take(LONGEST_NAME).collect()
        });
        let created = original.created_at.unwrap_or_else(chrono::Utc::now);
        Ok(Route {
            id,
            number: number.max(0),
            installation: self.installation.to_owned(),
            account_id: None,
            inbox_id: inbox,
            name,
            enabled: target.is_ok(),
            target: Target::Url {
                url_sealed: self.tools.keys.seal(&whole, &place)?,
                url_shown: shown,
                signing_secret_sealed: None,
                retry_unknown: false,
            },
            wants: Wants::default(),
            inbox_secrets_sealed: Vec::new(),
            account_secrets_sealed: Vec::new(),
            path_token_sha256: None,
            created_at: created,
            updated_at: created,
        })
    }

    fn compare(&self, known: &Route, text: &str) -> Result<Outcome, EncryptionError> {
        let Target::Url { url_sealed, .. } = &known.target else {
            return Ok(Outcome::Different);
        };
        let place = Route::url_place(self.scope.tenant().as_str(), known.id);
        let stored = self.tools.keys.open(url_sealed, &place)?;
        let same = match TargetUrl::parse(text) {
            Ok(url) => url.whole().expose_secret() == stored.expose_secret(),
            Err(_) => text == stored.expose_secret(),
        };
        Ok(if same {
            Outcome::Unchanged
        } else {
            Outcome::Different
        })
    }
}
