//! Everything a customer has, or everything it has of one person, is given out: a line of JSON for each row,
//! `{"table": …, "row": …}`. Never a token, a key or a hash.

use chores::export::{ExportError, LineSender, Lines, channel, hand_out};
use database::{Database, DatabaseError};
use runtime::encryption::KeyRing;
use serde_json::{Map, Value, json};
use tenant_isolation::{TenantScope, TenantTransaction, rows};
use tokio::runtime::Handle;
use tracing::Instrument as _;

use super::customers::Actor;
use super::people::{self, PersonName};
use crate::error::Error;
use crate::store::{audit, ownership, person, tenant_rows};

/// The table of webhooks, which may be large: they are read one by one, and their words are given out as words.
const WEBHOOKS: &str = "hook_events";
/// Their column of bytes.
const BODY: &str = "body";
/// How Postgres begins bytes in JSON.
const HEX: &str = "\\x";

/// Whose rows are given out.
#[derive(Clone)]
pub(crate) enum Of {
    /// The customer's, all of them.
    Customer,
    /// Those of one person.
    Person(PersonName),
}

/// Notes that data is given out, and to whom.
///
/// # Errors
/// [`Error::NotItsCustomer`], [`Error::NoCustomer`], [`Error::Database`].
pub(crate) async fn announce(
    db: &Database,
    keys: &KeyRing,
    by: &Actor,
    scope: &TenantScope,
    of: &Of,
) -> Result<(), Error> {
    let mut tx = TenantTransaction::begin(db, scope, "announce export").await?;
    by.owned(ownership::find(&mut tx).await?)?;
    let act = match of {
        Of::Customer => by.act("customer.export", None),
        Of::Person(name) => {
            let mut act = by.act("person.export", None);
            act.subject = Some(name.pseudonym(keys, scope));
            act
        }
    };
    audit::note(&mut tx, &act).await?;
    tx.commit().await?;
    Ok(())
}

/// Begins to hand out the lines, as fast as they are taken.
pub(crate) fn begin(process: &Handle, db: Database, scope: TenantScope, of: Of) -> Lines {
    let (lines, taken) = channel();
    let work = async move {
        if let Err(error) = export(&db, &scope, &of, &lines).await {
            tracing::warn!(tenant = %scope.tenant(), error = ?error, "an export ended early");
            drop(lines.send(Err(error)).await);
        }
    };
    drop(process.spawn(work.in_current_span()));
    taken
}

/// Memory stays as it is however much there is: the next rows are read when the last ones were taken.
async fn export(db: &Database, scope: &TenantScope, of: &Of, lines: &LineSender) -> Result<(), ExportError> {
    let theirs = match of {
        Of::Customer => None,
        Of::Person(name) => Some(person::holdings(&people::find(db, scope, name).await?.names)),
    };
    let mut tx = TenantTransaction::begin(db, scope, "export").await?;
    match theirs {
        Some(tables) => {
            for (table, condition) in &tables {
                give(&mut tx, table, condition, lines).await?;
            }
        }
        None => {
            for table in tenant_rows::given_out(&mut tx).await? {
                give(&mut tx, &table, "true", lines).await?;
            }
        }
    }
    tx.commit().await?;
    Ok(())
}

async fn give(
    tx: &mut TenantTransaction,
    table: &str,
    condition: &str,
    lines: &LineSender,
) -> Result<(), ExportError> {
    if table != WEBHOOKS {
        return hand_out(tx, table, condition, lines).await;
    }
    rows::open(tx, table, condition).await?;
    while let Some(row) = rows::next(tx, 1).await?.pop() {
        let line = webhook(&row).map_err(|error| DatabaseError::Refused(error.into()))?;
        lines.send(Ok(line)).await.map_err(|_| ExportError::Abandoned)?;
    }
    rows::close(tx).await?;
    Ok(())
}

/// The line of a webhook. Bytes that are no text stay as Postgres writes them.
fn webhook(row: &str) -> Result<String, serde_json::Error> {
    let mut row: Map<String, Value> = serde_json::from_str(row)?;
    let text = row
        .get(BODY)
        .and_then(Value::as_str)
        .and_then(|body| hex::decode(body.strip_prefix(HEX)?).ok())
        .and_then(|bytes| String::from_utf8(bytes).ok());
    if let Some(text) = text {
        row.insert(BODY.to_owned(), Value::String(text));
    }
    Ok(format!("{}\n", json!({"table": WEBHOOKS, "row": row})))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_a_webhook_are_given_out_as_words_and_other_bytes_as_they_are() {
        let written = |body: &str| {
            let line = webhook(&format!("{{\"id\":7,\"body\":\"{body}\"}}")).unwrap();
            assert!(line.ends_with('\n'));
            let line: Value = serde_json::from_str(&line).unwrap();
            assert_eq!(
                (&line["table"], &line["row"]["id"]),
                (&"hook_events".into(), &7.into())
            );
            line["row"]["body"].as_str().unwrap().to_owned()
        };
        assert_eq!(written("\\\\x7b2268616c6f223a317d"), "{\"halo\":1}");
        assert_eq!(written("\\\\xff00"), "\\xff00");
    }
}
