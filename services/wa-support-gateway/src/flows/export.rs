//! Everything a customer has, or everything it has of one person, is given out: a line of JSON for each row,
//! `{"table": …, "row": …}`. Never a token, a key or a hash.

use database::{Database, DatabaseError};
use runtime::encryption::KeyRing;
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use tenant_isolation::{TenantScope, TenantTransaction};
use tokio::runtime::Handle;
use tokio::sync::mpsc::{self, Receiver, Sender};
use tracing::Instrument as _;

use super::customers::Actor;
use super::people::{self, PersonName};
use crate::error::Error;
use crate::store::{audit, ownership, person, tenant_rows};

/// Rows read at once.
const BATCH: u16 = 200;
/// The table of webhooks, which may be large: they are read one by one.
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

/// Why an export ended early.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ExportError {
    /// Whoever wanted the lines has gone.
    #[error("nobody reads the export any more")]
    Abandoned,
    /// Postgres failed; the lines so far are no whole.
    #[error(transparent)]
    Database(#[from] DatabaseError),
}

/// Lines, each with its line break. The last one is an error where the export ended early.
pub(crate) type Lines = Receiver<Result<String, ExportError>>;

#[derive(serde::Serialize)]
struct Line<'a> {
    table: &'a str,
    row: Box<RawValue>,
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
    let (lines, taken) = mpsc::channel(16);
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
async fn export(
    db: &Database,
    scope: &TenantScope,
    of: &Of,
    lines: &Sender<Result<String, ExportError>>,
) -> Result<(), ExportError> {
    let theirs = match of {
        Of::Customer => None,
        Of::Person(name) => Some(person::holdings(&people::find(db, scope, name).await?.names)),
    };
    let mut tx = TenantTransaction::begin(db, scope, "export").await?;
    match theirs {
        Some(tables) => {
            for (table, condition) in &tables {
                hand_out(&mut tx, table, condition, lines).await?;
            }
        }
        None => {
            let mut tables = tenant_rows::tables(&mut tx).await?;
            tables.retain(|table| table != tenant_rows::DIRECTORY);
            for table in &tables {
                hand_out(&mut tx, table, "true", lines).await?;
            }
        }
    }
    tx.commit().await?;
    Ok(())
}

async fn hand_out(
    tx: &mut TenantTransaction,
    table: &str,
    condition: &str,
    lines: &Sender<Result<String, ExportError>>,
) -> Result<(), ExportError> {
    tenant_rows::open(tx, table, condition).await?;
    let most = if table == WEBHOOKS { 1 } else { BATCH };
    loop {
        let rows = tenant_rows::next(tx, most).await?;
        if rows.is_empty() {
            break;
        }
        for row in rows {
            let line = line(table, row).map_err(|error| DatabaseError::Refused(error.into()))?;
            lines.send(Ok(line)).await.map_err(|_| ExportError::Abandoned)?;
        }
    }
    tenant_rows::close(tx).await?;
    Ok(())
}

fn line(table: &str, row: String) -> Result<String, serde_json::Error> {
    let row = if table == WEBHOOKS { readable(&row)? } else { row };
    let row = RawValue::from_string(row)?;
    let mut line = serde_json::to_string(&Line { table, row })?;
    line.push('\n');
    Ok(line)
}

/// The same row with the words of a webhook as words. Bytes that are no text stay as Postgres writes them.
fn readable(row: &str) -> Result<String, serde_json::Error> {
    let mut row: Map<String, Value> = serde_json::from_str(row)?;
    let text = row
        .get(BODY)
        .and_then(Value::as_str)
        .and_then(|body| hex::decode(body.strip_prefix(HEX)?).ok())
        .and_then(|bytes| String::from_utf8(bytes).ok());
    if let Some(text) = text {
        row.insert(BODY.to_owned(), Value::String(text));
    }
    serde_json::to_string(&row)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_a_webhook_are_given_out_as_words_and_other_bytes_as_they_are() {
        let written = |body: &str| {
            let line = line(WEBHOOKS, format!("{{\"id\":7,\"body\":\"{body}\"}}")).unwrap();
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
        // Elsewhere a text may look like it.
        assert!(
            line("contacts", r#"{"body":"\\x41"}"#.to_owned())
                .unwrap()
                .contains(r"\\x41")
        );
    }
}
