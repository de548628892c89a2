//! What a tenant decided about messages that come into an inbox: columns of `inboxes` of their own.

use database::DatabaseError;
use diesel::sql_types::{Array, Text, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use tenant_isolation::TenantTransaction;
use uuid::Uuid;

/// In which conversation a person's message goes. One that is open always goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ConversationPolicy {
    /// In the one the person has; Chatwoot opens it again.
    #[default]
    Reopen,
    /// In another one, once theirs is resolved.
    New,
    /// As with `Reopen`, and what is new or opened again is pending: for bots that look first.
    Pending,
    /// As with `Reopen`, and one that somebody resolved is gone on with rather than another made.
    Single,
}

impl ConversationPolicy {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Reopen, Self::New, Self::Pending, Self::Single];

    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Reopen => "reopen",
            Self::New => "new",
            Self::Pending => "pending",
            Self::Single => "single",
        }
    }
}

/// No policy is called that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a policy is reopen, new, pending or single")]
pub struct NoSuchPolicy;

impl std::str::FromStr for ConversationPolicy {
    type Err = NoSuchPolicy;

    fn from_str(text: &str) -> Result<Self, NoSuchPolicy> {
        Self::ALL
            .into_iter()
            .find(|policy| policy.as_str() == text)
            .ok_or(NoSuchPolicy)
    }
}

/// The rules of an inbox.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct InboundRules {
    /// In which conversation messages go.
    pub policy: ConversationPolicy,
    /// Whose messages stay out of Chatwoot: addresses, digits of numbers, or `@server` for all of a kind.
    pub ignored: Vec<String>,
}

impl std::fmt::Debug for InboundRules {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("InboundRules")
            .field("policy", &self.policy)
            .field("ignored", &self.ignored.len())
            .finish()
    }
}

impl InboundRules {
    /// Do this person's messages stay out?
    #[must_use]
    pub fn ignores(&self, address: &str, phone: Option<&str>) -> bool {
        self.ignored.iter().any(|entry| {
            entry == address
                || phone.is_some_and(|digits| entry.trim_start_matches('+') == digits)
                || (entry.starts_with('@') && address.ends_with(entry))
        })
    }
}

#[derive(diesel::QueryableByName)]
struct Row {
    #[diesel(sql_type = Text)]
    conversation_policy: String,
    #[diesel(sql_type = Array<Text>)]
    ignored: Vec<String>,
}

/// The rules of an inbox; the usual ones when there is no such inbox.
///
/// # Errors
/// [`DatabaseError`].
pub async fn find(tx: &mut TenantTransaction, inbox: Uuid) -> Result<InboundRules, DatabaseError> {
    let tenant = tx.scope().tenant().as_str().to_owned();
    let rows: Vec<Row> =
        database::sql("SELECT conversation_policy, ignored FROM inboxes WHERE tenant_id = $1 AND id = $2")
            .bind::<Text, _>(tenant)
            .bind::<SqlUuid, _>(inbox)
            .load(tx.connection())
            .await?;
    let Some(row) = rows.into_iter().next() else {
        return Ok(InboundRules::default());
    };
    let policy = row
        .conversation_policy
        .parse()
        .map_err(|error: NoSuchPolicy| DatabaseError::Refused(Box::new(error)))?;
    Ok(InboundRules {
        policy,
        ignored: row.ignored,
    })
}

/// Writes the rules of an inbox. False when there is no such inbox.
///
/// # Errors
/// [`DatabaseError`].
pub async fn put(
    tx: &mut TenantTransaction,
    inbox: Uuid,
    rules: &InboundRules,
) -> Result<bool, DatabaseError> {
    let tenant = tx.scope().tenant().as_str().to_owned();
    let written = database::sql(
        "UPDATE inboxes SET conversation_policy = $3, ignored = $4, updated_at = now() \
         WHERE tenant_id = $1 AND id = $2",
    )
    .bind::<Text, _>(tenant)
    .bind::<SqlUuid, _>(inbox)
    .bind::<Text, _>(rules.policy.as_str())
    .bind::<Array<Text>, _>(&rules.ignored)
    .execute(tx.connection())
    .await?;
    Ok(written == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_policies_are_the_same() {
        for policy in ConversationPolicy::ALL {
            assert_eq!(policy.as_str().parse(), Ok(policy));
        }
        assert_eq!("Reopen".parse::<ConversationPolicy>(), Err(NoSuchPolicy));
    }

    #[test]
    fn people_and_kinds_of_addresses_can_be_left_out() {
        let rules = |entry: &str| InboundRules {
            ignored: vec![entry.to_owned()],
            ..InboundRules::default()
        };
        let (address, phone) = ("628123450001@s.whatsapp.net", Some("628123450001"));
        for entry in [address, "628123450001", "+628123450001", "@s.whatsapp.net"] {
            assert!(rules(entry).ignores(address, phone), "{entry}");
        }
        for entry in ["", "62812345000", "@lid", "s.whatsapp.net"] {
            assert!(!rules(entry).ignores(address, phone), "{entry}");
        }
    }
}
