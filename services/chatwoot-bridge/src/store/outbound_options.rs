//! How an inbox's agents' messages go out.

use database::DatabaseError;
use diesel::sql_types::{Bool, Text, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use tenant_isolation::TenantTransaction;
use uuid::Uuid;

/// What can be chosen for an inbox.
#[derive(Debug, Clone, PartialEq, Eq, diesel::QueryableByName)]
pub struct OutboundOptions {
    /// The agent's name stands above the words.
    #[diesel(sql_type = Bool)]
    pub sign_agents: bool,
    /// What stands between the name and the words.
    #[diesel(sql_type = Text)]
    pub sign_delimiter: String,
    /// [`Self::AS_TEXT`] or [`Self::AS_WHATSAPP`].
    #[diesel(sql_type = Text)]
    pub templates: String,
    /// Chatwoot's own greetings, out-of-office and survey messages are sent, too.
    #[diesel(sql_type = Bool)]
    pub send_automatic: bool,
}

impl OutboundOptions {
    /// A message with template parameters goes out as the words that the agent saw.
    pub const AS_TEXT: &str = "text";
    /// It goes out as a template that WhatsApp approved.
    pub const AS_WHATSAPP: &str = "whatsapp";
    /// Longest delimiter, in characters.
    pub const MAX_DELIMITER: usize = 16;

    /// Are message templates sent as WhatsApp's?
    #[must_use]
    pub fn sends_templates(&self) -> bool {
        self.templates == Self::AS_WHATSAPP
    }
}

impl Default for OutboundOptions {
    fn default() -> Self {
        Self {
            sign_agents: false,
            sign_delimiter: "\n\n".to_owned(),
            templates: Self::AS_TEXT.to_owned(),
            send_automatic: true,
        }
    }
}

/// An inbox's options. `None`: there is no such inbox.
///
/// # Errors
/// [`DatabaseError`].
pub async fn find(tx: &mut TenantTransaction, inbox: Uuid) -> Result<Option<OutboundOptions>, DatabaseError> {
    let tenant = tx.scope().tenant().as_str().to_owned();
    let rows: Vec<OutboundOptions> = database::sql(
        "SELECT sign_agents, sign_delimiter, templates, send_automatic FROM inboxes \
         WHERE tenant_id = $1 AND id = $2",
    )
    .bind::<Text, _>(tenant)
    .bind::<SqlUuid, _>(inbox)
    .load(tx.connection())
    .await?;
    Ok(rows.into_iter().next())
}

/// Writes all options of an inbox. False: there is no such inbox.
///
/// # Errors
/// [`DatabaseError`], also for a word that is no way to send templates.
pub async fn put(
    tx: &mut TenantTransaction,
    inbox: Uuid,
    options: &OutboundOptions,
) -> Result<bool, DatabaseError> {
    let tenant = tx.scope().tenant().as_str().to_owned();
    let changed = database::sql(
        "UPDATE inboxes SET sign_agents = $3, sign_delimiter = $4, templates = $5, send_automatic = $6, \
             updated_at = now() WHERE tenant_id = $1 AND id = $2",
    )
    .bind::<Text, _>(tenant)
    .bind::<SqlUuid, _>(inbox)
    .bind::<Bool, _>(options.sign_agents)
    .bind::<Text, _>(&options.sign_delimiter)
    .bind::<Text, _>(&options.templates)
    .bind::<Bool, _>(options.send_automatic)
    .execute(tx.connection())
    .await?;
    Ok(changed == 1)
}
