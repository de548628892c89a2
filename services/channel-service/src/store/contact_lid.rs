//! `contact_lids`: which number is behind a hidden id, as an account has learned it. WhatsApp's own hidden ids stand there
//! as their digits, Meta's user ids as addresses: no text is both.

use std::collections::{BTreeMap, HashMap};

use database::DatabaseError;
use diesel::sql_types::{Array, Nullable, Text, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use domain::address::{ChatAddress, Lid, PhoneNumber, UserId};
use domain::ids::{AccountId, TenantId};
use domain::message::InboundMessage;
use tenant_isolation::{GroupTransaction, TenantTransaction};
use uuid::Uuid;

/// By what an account knows a person whose number it is not shown.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum HiddenId {
    /// WhatsApp's hidden id.
    Lid(Lid),
    /// Meta's user id.
    User(UserId),
}

impl HiddenId {
    /// The one that a message shows of its partner.
    #[must_use]
    pub fn shown_by(message: &InboundMessage) -> Option<Self> {
        let lid = message.chat_lid.clone().map(Self::Lid);
        lid.or_else(|| message.chat_user.clone().map(Self::User))
    }

    /// The address of the chat with whoever is behind it, while nothing else is known.
    #[must_use]
    pub fn as_jid(&self) -> &str {
        match self {
            Self::Lid(lid) => lid.as_jid(),
            Self::User(user) => user.as_jid(),
        }
    }

    /// As it stands in the table.
    #[must_use]
    pub fn as_stored(&self) -> &str {
        match self {
            Self::Lid(lid) => lid.as_str(),
            Self::User(user) => user.as_jid(),
        }
    }

    fn of_stored(text: &str) -> Result<Self, DatabaseError> {
        let refused = |error: domain::address::InvalidAddress| DatabaseError::Refused(error.into());
        if !text.contains('@') {
            return Lid::parse(text).map(Self::Lid).map_err(refused);
        }
        match ChatAddress::parse(text).map_err(refused)? {
            ChatAddress::User(user) => Ok(Self::User(user)),
            _ => Err(refused(domain::address::InvalidAddress::UserId)),
        }
    }
}

/// A hidden id as one account meets it.
pub type LidKey = (TenantId, AccountId, HiddenId);

#[derive(diesel::QueryableByName)]
struct Row {
    #[diesel(sql_type = Text)]
    tenant_id: String,
    #[diesel(sql_type = SqlUuid)]
    account_id: Uuid,
    #[diesel(sql_type = Text)]
    lid: String,
    #[diesel(sql_type = Nullable<Text>)]
    phone: Option<String>,
}

/// Notes what a group's messages tell, and answers with what is known now. Each id's row is locked until the commit,
/// so that of two messages of one person, of which one brings the number, the later one sees what the other did.
///
/// # Errors
/// [`DatabaseError`].
pub async fn claim_group(
    tx: &mut GroupTransaction,
    claims: &BTreeMap<LidKey, Option<PhoneNumber>>,
) -> Result<HashMap<LidKey, PhoneNumber>, DatabaseError> {
    claim(tx.connection(), claims).await
}

/// The number behind an id, if it is known. Locked as in [`claim_group`].
///
/// # Errors
/// [`DatabaseError`].
pub async fn claim_one(
    tx: &mut TenantTransaction,
    account: AccountId,
    hidden: &HiddenId,
) -> Result<Option<PhoneNumber>, DatabaseError> {
    let key = (tx.scope().tenant().clone(), account, hidden.clone());
    let claims = BTreeMap::from([(key, None)]);
    let known = claim(tx.connection(), &claims).await?;
    Ok(known.into_values().next())
}

async fn claim(
    connection: &mut AsyncPgConnection,
    claims: &BTreeMap<LidKey, Option<PhoneNumber>>,
) -> Result<HashMap<LidKey, PhoneNumber>, DatabaseError> {
    // In the order of the keys, as everywhere. The number that was learned last counts: people change theirs.
    let rows: Vec<Row> = database::sql(
        "INSERT INTO contact_lids AS l (tenant_id, account_id, lid, phone) \
         SELECT * FROM unnest($1, $2, $3, $4) \
         ON CONFLICT (tenant_id, account_id, lid) DO UPDATE SET phone = coalesce(excluded.phone, l.phone), \
             learned_at = CASE WHEN excluded.phone IS NULL THEN l.learned_at ELSE now() END \
         RETURNING tenant_id, account_id, lid, phone",
    )
    .bind::<Array<Text>, _>(
        claims
            .keys()
            .map(|(tenant, ..)| tenant.as_str())
            .collect::<Vec<_>>(),
    )
    .bind::<Array<SqlUuid>, _>(
        claims
            .keys()
            .map(|(_, account, _)| account.as_uuid())
            .collect::<Vec<_>>(),
    )
    .bind::<Array<Text>, _>(
        claims
            .keys()
            .map(|(.., hidden)| hidden.as_stored())
            .collect::<Vec<_>>(),
    )
    .bind::<Array<Nullable<Text>>, _>(
        claims
            .values()
            .map(|phone| phone.as_ref().map(PhoneNumber::as_str))
            .collect::<Vec<_>>(),
    )
    .load(connection)
    .await?;
    let mut known = HashMap::with_capacity(rows.len());
    for row in rows {
        let refused = |error: Box<dyn std::error::Error + Send + Sync>| DatabaseError::Refused(error);
        let Some(phone) = row.phone else { continue };
        let key = (
            TenantId::parse(row.tenant_id).map_err(|error| refused(error.into()))?,
            AccountId::from_uuid(row.account_id),
            HiddenId::of_stored(&row.lid)?,
        );
        let phone = PhoneNumber::parse(&phone).map_err(|error| refused(error.into()))?;
        known.insert(key, phone);
    }
    Ok(known)
}
