//! Everything a tenant has of one person is given out, as lines like those of a tenant's export.

use std::collections::BTreeSet;

use chores::export::{ExportError, LineSender, Lines, channel, hand_out};
use chores::person::pseudonym;
use database::Database;
use domain::address::ChatAddress;
use runtime::encryption::KeyRing;
use tenant_isolation::{TenantScope, TenantTransaction};

use super::person;
use crate::store::audit_log::{self, Actor};
use crate::store::people::Holdings;
use crate::store::tenant_data;

/// Notes that a person's data is given out, and to whom. The note names no number.
///
/// # Errors
/// [`ExportError::NoSuchTenant`] or [`ExportError::Database`].
pub async fn announce(
    db: &Database,
    keys: &KeyRing,
    scope: &TenantScope,
    who: &ChatAddress,
    actor: &Actor,
) -> Result<(), ExportError> {
    let mut tx = TenantTransaction::begin(db, scope, "announce export of a person").await?;
    if !tenant_data::is_known(&mut tx).await? {
        return Err(ExportError::NoSuchTenant);
    }
    let subject = pseudonym(keys, scope, who);
    audit_log::note(&mut tx, &actor.act("person.export", Some(subject))).await?;
    tx.commit().await?;
    Ok(())
}

/// Begins to hand out the lines; see [`export`]. The last one is an error where the export ended early.
#[must_use]
pub fn begin(db: Database, scope: TenantScope, who: ChatAddress) -> Lines {
    let (lines, taken) = channel();
    tokio::spawn(async move {
        if let Err(error) = export(&db, &scope, &who, &lines).await {
            tracing::warn!(tenant = %scope.tenant(), %error, "an export of a person ended early");
            drop(lines.send(Err(error)).await);
        }
    });
    taken
}

/// Hands out the lines, each with its line break.
///
/// # Errors
/// [`ExportError`].
pub async fn export(
    db: &Database,
    scope: &TenantScope,
    who: &ChatAddress,
    lines: &LineSender,
) -> Result<(), ExportError> {
    let mut tx = TenantTransaction::begin(db, scope, "export person").await?;
    let found = person::find(&mut tx, who).await?;
    let orders = found.orders(&mut tx).await?;
    let (mut events, mut conversations_of_routes) = (BTreeSet::new(), BTreeSet::new());
    let mut next = Some(0);
    while let Some(after) = next {
        let theirs = person::events(&mut tx, &found.names, after).await?;
        events.extend(theirs.events);
        conversations_of_routes.extend(theirs.conversations);
        next = theirs.next;
    }
    let holdings = Holdings {
        names: &found.names,
        contacts: found.contacts.into_iter().collect(),
        conversations: found.conversations.into_iter().collect(),
        lanes: found.lanes.into_iter().collect(),
        orders,
        events: events.into_iter().collect(),
        conversations_of_routes: conversations_of_routes.into_iter().collect(),
    };
    for (table, condition) in holdings.conditions(scope.tenant()) {
        hand_out(&mut tx, table, &condition, lines).await?;
    }
    tx.commit().await?;
    Ok(())
}
