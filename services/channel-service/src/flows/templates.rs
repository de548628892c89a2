//! Approved templates of the business accounts that tenants have numbers in: listed from Meta, on demand and now and then.

use std::time::Duration;

use chrono::{DateTime, Utc};
use database::{Database, DatabaseError};
use domain::endpoint::Provider;
use domain::ids::{TenantId, WabaId};
use domain::text::Text;
use runtime::encryption::KeyRing;
use secrecy::ExposeSecret as _;
use tenant_isolation::{PlatformScope, PlatformTransaction, TenantScope, TenantTransaction};
use whatsapp::cloud::{GraphFailure, Template};
use whatsapp::credentials::SessionToken;

use crate::endpoints::Endpoints;
use crate::store::account;
use crate::store::cloud_template::{self, NewTemplate, SyncRow, TemplateRow, WabaRow};

/// Most templates that are shown: a business has at most 6,000.
const MOST: i64 = 6_000;
/// Lists that are renewed in one round.
const AT_ONCE: i64 = 20;

/// Lists templates. Cheap to clone.
#[derive(Clone)]
pub struct Templates {
    /// The tables.
    pub db: Database,
    /// Opens the accounts' tokens.
    pub keys: KeyRing,
    /// The ways to Meta.
    pub endpoints: Endpoints,
}

/// What came of listing one business account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// The business account.
    pub waba: String,
    /// How many templates it has, or why that is not known.
    pub count: Result<usize, &'static str>,
}

/// What is known of a tenant's templates.
#[derive(Debug)]
pub struct Known {
    /// The templates, by name.
    pub templates: Vec<TemplateRow>,
    /// When each business account was listed.
    pub syncs: Vec<SyncRow>,
}

impl Known {
    /// Since when the oldest of the lists holds. `None`: one is missing.
    #[must_use]
    pub fn as_of(&self) -> Option<DateTime<Utc>> {
        let all: Option<Vec<DateTime<Utc>>> = self.syncs.iter().map(|sync| sync.synced_at).collect();
        all?.into_iter().min()
    }
}

impl Templates {
    /// The tenant's templates as they were last listed.
    ///
    /// # Errors
    /// [`DatabaseError`].
    pub async fn known(&self, scope: &TenantScope) -> Result<Known, DatabaseError> {
        let mut tx = TenantTransaction::begin(&self.db, scope, "list templates").await?;
        let templates = cloud_template::list(&mut tx, MOST).await?;
        let syncs = cloud_template::syncs(&mut tx).await?;
        tx.commit().await?;
        Ok(Known { templates, syncs })
    }

    /// Lists all business accounts of the tenant anew. Of one that cannot be listed everything stays as it was.
    ///
    /// # Errors
    /// [`DatabaseError`].
    pub async fn list_anew(&self, scope: &TenantScope) -> Result<Vec<Listed>, DatabaseError> {
        let mut listed = Vec::new();
        for row in self.wabas(scope).await? {
            listed.push(self.list_one(scope, row).await?);
        }
        Ok(listed)
    }

    async fn wabas(&self, scope: &TenantScope) -> Result<Vec<WabaRow>, DatabaseError> {
        let mut tx = TenantTransaction::begin(&self.db, scope, "find business accounts").await?;
        let wabas = cloud_template::wabas(&mut tx).await?;
        tx.commit().await?;
        Ok(wabas)
    }

    async fn list_one(&self, scope: &TenantScope, row: WabaRow) -> Result<Listed, DatabaseError> {
        // Before it is asked: what is told after that is newer than the list.
        let asked_at = Utc::now();
        let asked = self.ask(scope, &row).await;
        let mut tx = TenantTransaction::begin(&self.db, scope, "keep templates").await?;
        let count = match asked {
            Ok(templates) => {
                let kept: Vec<NewTemplate> = templates.iter().map(new_template).collect();
                cloud_template::replace_all(&mut tx, &row.waba_id, asked_at, &kept).await?;
                Ok(kept.len())
            }
            Err(why) => {
                cloud_template::note_failure(&mut tx, &row.waba_id, why).await?;
                tracing::warn!(tenant = %scope.tenant(), waba = row.waba_id, why, "templates could not be listed");
                Err(why)
            }
        };
        tx.commit().await?;
        metrics::counter!("kanal_template_lists_total",
            "outcome" => count.err().unwrap_or("listed"))
        .increment(1);
        Ok(Listed {
            waba: row.waba_id,
            count,
        })
    }

    /// Renews some of the lists that are older than this, and no others of their tenants. Returns how many that were.
    ///
    /// # Errors
    /// [`DatabaseError`].
    pub async fn renew_due(&self, older_than: Duration) -> Result<usize, DatabaseError> {
        let platform = PlatformScope::for_purpose("renew templates");
        let mut tx = PlatformTransaction::begin(&self.db, platform).await?;
        let due: Vec<(TenantId, String)> = cloud_template::due(&mut tx, older_than, AT_ONCE).await?;
        tx.commit().await?;
        let mut renewed = 0;
        for (tenant, waba) in due {
            let scope = TenantScope::of_swept_row(&platform, tenant);
            let row = self
                .wabas(&scope)
                .await?
                .into_iter()
                .find(|row| row.waba_id == waba);
            if let Some(row) = row {
                self.list_one(&scope, row).await?;
                renewed += 1;
            }
        }
        Ok(renewed)
    }

    async fn ask(&self, scope: &TenantScope, row: &WabaRow) -> Result<Vec<Template>, &'static str> {
        let endpoint = self
            .endpoints
            .of_account(Provider::Cloud.as_str(), &row.endpoint)
            .ok_or("endpoint_missing")?;
        let templates = endpoint.templates.as_ref().ok_or("nothing_goes_out")?;
        let binding = account::token_binding(scope.tenant(), row.account());
        let token = self
            .keys
            .open(&row.token_sealed, &binding)
            .ok()
            .and_then(|token| SessionToken::new(token.expose_secret()).ok())
            .ok_or("token_does_not_open")?;
        let waba = WabaId::parse(row.waba_id.as_str()).map_err(|_| "no_business_account")?;
        templates
            .list(Some(&token), &waba)
            .await
            .map_err(|failure| why(&failure))
    }
}

/// The stable code of a failure.
fn why(failure: &GraphFailure) -> &'static str {
    match failure {
        GraphFailure::Refused(refusal) => refusal.class.as_str(),
        GraphFailure::Unreachable(_) => "unreachable",
        GraphFailure::NoAnswer { .. } => "no_answer",
        GraphFailure::Unreadable(_) => "unreadable_answer",
        GraphFailure::Unsendable => "not_sendable",
    }
}

fn new_template(template: &Template) -> NewTemplate {
    let words = |text: &Text| text.as_str().to_owned();
    NewTemplate {
        name: words(&template.name),
        language: words(&template.language),
        status: words(&template.status),
        category: words(&template.category),
        quality: template.quality().map_or_else(String::new, Text::into_string),
        raw: template.raw.as_value().to_string(),
    }
}
