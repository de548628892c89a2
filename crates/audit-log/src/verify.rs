//! Every hash of a chain is computed anew, entry by entry, a page at a time.

use std::fmt;

use chrono::{DateTime, Utc};
use database::{Database, DatabaseError};
use tenant_isolation::{PlatformScope, PlatformTransaction};
use uuid::Uuid;

use crate::act::{Actor, note_platform};
use crate::anchors::{Anchor, Anchors};
use crate::chain::{self, Chain, Entry};
use crate::encoding::{GENESIS, hash_of};
use crate::prune::{PRUNED, subject_of};
use crate::read::{self, Wanted};

/// The act of having verified every chain.
pub const VERIFIED: &str = "audit.verify";
/// How often a chain is read again because it was pruned meanwhile.
const TRIES: u8 = 5;

/// What was found in a chain.
#[derive(Debug, Clone)]
pub struct Report {
    /// Which one.
    pub chain: Chain,
    /// Entries that were read.
    pub entries: u64,
    /// Its last entry that was read.
    pub head: Option<Anchor>,
    /// The first thing that is wrong.
    pub broken: Option<Broken>,
    /// Its end was read.
    pub complete: bool,
}

/// Where a chain is broken, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    /// The number of the entry.
    pub seq: i64,
    /// What is wrong with it.
    pub fault: Fault,
}

/// What is wrong with an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// Entries before it are gone.
    Missing {
        /// The first of them.
        from: i64,
    },
    /// Its fields are not those that its hash was made of.
    Altered,
    /// It does not follow the entry before it: one of the two is another than it was.
    Unlinked,
    /// It stands where another one should.
    OutOfPlace,
    /// The chain begins with it, and no entry says that the ones before it were pruned.
    BeginsLate,
    /// Up to it there are rows that are no entries of the chain.
    Strangers {
        /// How many more (or fewer) rows there are than entries.
        rows: i64,
    },
    /// It was the head once and is gone, with all that came before or after it.
    Gone,
    /// It was the head once, with another hash: the chain was written anew.
    Rewritten,
    /// It was the head once and has been pruned: whether this is the same chain cannot be told. Note a newer head before
    /// pruning.
    Pruned,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seq = self.seq;
        match &self.fault {
            Fault::Missing { from } => write!(f, "entries {from} to {} are missing", seq - 1),
            Fault::Altered => write!(f, "entry {seq} was altered"),
            Fault::Unlinked => write!(
                f,
                "entry {seq} does not follow the one before it: one of them was rewritten"
            ),
            Fault::OutOfPlace => write!(f, "entry {seq} stands where another one should"),
            Fault::BeginsLate => write!(
                f,
                "the chain begins with entry {seq}, and nothing says that those before it were pruned"
            ),
            Fault::Strangers { rows } => {
                write!(f, "up to entry {seq} there are {rows} rows more than entries")
            }
            Fault::Gone => write!(f, "entry {seq}, which was noted, is gone"),
            Fault::Rewritten => write!(
                f,
                "entry {seq} is not the one that was noted: the chain was written anew"
            ),
            Fault::Pruned => write!(
                f,
                "entry {seq}, which was noted, was pruned, so nothing noted confirms this chain: note its head before pruning"
            ),
        }
    }
}

/// Verifies one chain, or each of them, and hands every report to `found` as soon as it is there. At most `most` entries
/// are read altogether, a page more at the most; what was not read is not `complete`. Returns whether everything was.
///
/// # Errors
/// [`DatabaseError`].
pub async fn verify(
    db: &Database,
    only: Option<&Chain>,
    mut noted: Anchors,
    most: u64,
    mut found: impl FnMut(Report),
) -> Result<bool, DatabaseError> {
    let mut left = most;
    let mut next = Some(only.cloned().unwrap_or(Chain::Platform));
    while let Some(chain) = next {
        if left == 0 {
            return Ok(false);
        }
        let anchor = noted.take(&chain);
        let report = verify_chain(db, &chain, anchor, left).await?;
        left = left.saturating_sub(report.entries);
        let complete = report.complete;
        found(report);
        if !complete {
            return Ok(false);
        }
        next = match only {
            Some(_) => None,
            None => next_chain(db, &chain).await?,
        };
    }
    if only.is_none() {
        for (chain, anchor) in noted.rest() {
            found(Report {
                chain,
                entries: 0,
                head: None,
                broken: Some(Broken {
                    seq: anchor.seq,
                    fault: Fault::Gone,
                }),
                complete: true,
            });
        }
    }
    Ok(true)
}

/// The chain behind this one.
pub(crate) async fn next_chain(db: &Database, chain: &Chain) -> Result<Option<Chain>, DatabaseError> {
    let mut tx = begin(db).await?;
    let tenant = chain::next_tenant(tx.connection(), chain.tenant().unwrap_or_default()).await?;
    tx.commit().await?;
    Ok(tenant.map(Chain::Tenant))
}

/// Verifies one chain.
pub(crate) async fn verify_chain(
    db: &Database,
    chain: &Chain,
    noted: Option<Anchor>,
    most: u64,
) -> Result<Report, DatabaseError> {
    for _ in 1..TRIES {
        let (report, first) = walk(db, chain, noted, most).await?;
        // Pruned while it was read?
        if report.broken.is_none() || first == first_of(db, chain).await? {
            return Ok(report);
        }
    }
    Ok(walk(db, chain, noted, most).await?.0)
}

/// A chain as far as it was read.
struct Walk {
    noted: Option<Anchor>,
    /// The number and the hash that the entry before the first one had.
    opened_behind: Option<Anchor>,
    pruning_noted: bool,
    head: Option<Anchor>,
    entries: u64,
}

async fn walk(
    db: &Database,
    chain: &Chain,
    noted: Option<Anchor>,
    most: u64,
) -> Result<(Report, Option<i64>), DatabaseError> {
    let mut walk = Walk {
        noted,
        opened_behind: None,
        pruning_noted: false,
        head: None,
        entries: 0,
    };
    let mut after = (i64::MIN, Uuid::nil());
    let mut broken = None;
    let mut complete = false;
    while broken.is_none() && !complete && walk.entries < most {
        let mut tx = begin(db).await?;
        let page = chain::entries(tx.connection(), chain, after).await?;
        tx.commit().await?;
        complete = i64::try_from(page.len()).unwrap_or(i64::MAX) < chain::PAGE;
        for entry in page {
            after = (entry.seq, entry.id);
            let seq = entry.seq;
            if let Err(fault) = walk.take(entry) {
                broken = Some(Broken { seq, fault });
                break;
            }
        }
    }
    if broken.is_none() && complete {
        broken = walk.ended();
        if broken.is_none() {
            broken = strangers(db, chain, &walk).await?;
        }
    }
    let first = walk.opened_behind.map(|before| before.seq.saturating_add(1));
    let report = Report {
        chain: chain.clone(),
        entries: walk.entries,
        head: walk.head,
        complete: complete || broken.is_some(),
        broken,
    };
    Ok((report, first))
}

impl Walk {
    fn take(&mut self, entry: Entry) -> Result<(), Fault> {
        let (Some(before), Some(hash)) = (entry.before(), entry.hash()) else {
            return Err(Fault::Altered);
        };
        let seq = entry.seq;
        let previous = match self.head {
            Some(head) => head,
            None => {
                let opening = Anchor {
                    seq: seq.saturating_sub(1),
                    hash: before,
                };
                self.opened_behind = Some(opening);
                opening
            }
        };
        let expected = previous.seq.saturating_add(1);
        if seq > expected {
            return Err(Fault::Missing { from: expected });
        }
        if seq < expected || seq < 1 {
            return Err(Fault::OutOfPlace);
        }
        if let Some(opening) = self.opened_behind
            && entry.action == PRUNED
            && entry.subject.as_deref() == Some(subject_of(opening).as_str())
        {
            self.pruning_noted = true;
        }
        let fields = entry.into_fields().ok_or(Fault::Altered)?;
        if hash_of(seq, &before, &fields) != hash {
            return Err(Fault::Altered);
        }
        if before != previous.hash || (seq == 1 && before != GENESIS) {
            return Err(Fault::Unlinked);
        }
        if self
            .noted
            .is_some_and(|noted| noted.seq == seq && noted.hash != hash)
        {
            return Err(Fault::Rewritten);
        }
        self.head = Some(Anchor { seq, hash });
        self.entries += 1;
        Ok(())
    }

    /// What only the end tells.
    fn ended(&self) -> Option<Broken> {
        let opened_behind = self.opened_behind.map_or(0, |before| before.seq);
        if opened_behind > 0 && !self.pruning_noted {
            return Some(Broken {
                seq: opened_behind.saturating_add(1),
                fault: Fault::BeginsLate,
            });
        }
        let noted = self.noted?;
        let fault = if self.head.is_none_or(|head| head.seq < noted.seq) {
            Fault::Gone
        } else if noted.seq <= opened_behind {
            let same = self.opened_behind == Some(noted);
            return (!same).then_some(Broken {
                seq: noted.seq,
                fault: Fault::Pruned,
            });
        } else {
            return None;
        };
        Some(Broken {
            seq: noted.seq,
            fault,
        })
    }
}

/// Rows that no walk meets, because they have no number or one that another has.
async fn strangers(db: &Database, chain: &Chain, walk: &Walk) -> Result<Option<Broken>, DatabaseError> {
    let last = walk.head.map_or(0, |head| head.seq);
    let mut tx = begin(db).await?;
    let rows = chain::rows_until(tx.connection(), chain, last).await?;
    tx.commit().await?;
    let rows = rows.saturating_sub(i64::try_from(walk.entries).unwrap_or(i64::MAX));
    Ok((rows != 0).then_some(Broken {
        seq: last,
        fault: Fault::Strangers { rows },
    }))
}

async fn first_of(db: &Database, chain: &Chain) -> Result<Option<i64>, DatabaseError> {
    let mut tx = begin(db).await?;
    let first = chain::first(tx.connection(), chain).await?;
    tx.commit().await?;
    Ok(first)
}

async fn begin(db: &Database) -> Result<PlatformTransaction, DatabaseError> {
    PlatformTransaction::begin(db, PlatformScope::for_purpose("verify audit log")).await
}

/// The last time that every chain was verified.
#[derive(Debug, Clone)]
pub struct LastCheck {
    /// When.
    pub at: DateTime<Utc>,
    /// Every chain was whole.
    pub whole: bool,
    /// How many there were, and how many were not whole.
    pub said: String,
}

const WHOLE: &str = "whole";
const NOT_WHOLE: &str = "broken";

/// Notes that every chain was verified, as an act about the platform.
///
/// # Errors
/// [`DatabaseError`].
pub async fn note_check(db: &Database, chains: u64, entries: u64, broken: u64) -> Result<(), DatabaseError> {
    let outcome = if broken == 0 { WHOLE } else { NOT_WHOLE };
    let actor = Actor::operator();
    let said = format!("{chains} chains, {entries} entries, {broken} broken");
    let act = actor.act(VERIFIED, Some(outcome.to_owned())).saying(said);
    let mut tx = PlatformTransaction::begin(db, PlatformScope::for_purpose("note verification")).await?;
    note_platform(&mut tx, &act).await?;
    tx.commit().await
}

/// When every chain was verified last, and what came of it.
///
/// # Errors
/// [`DatabaseError`].
pub async fn last_check(tx: &mut PlatformTransaction) -> Result<Option<LastCheck>, DatabaseError> {
    let wanted = Wanted {
        action: Some(VERIFIED.to_owned()),
        ..Wanted::default()
    };
    let newest = read::page(tx, &wanted, 1).await?.pop();
    Ok(newest.map(|row| LastCheck {
        at: row.act.at,
        whole: row.act.subject.as_deref() == Some(WHOLE),
        said: row.act.detail.unwrap_or_default(),
    }))
}
