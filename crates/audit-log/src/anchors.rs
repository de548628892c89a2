//! Heads of chains that were noted elsewhere: what tells a chain whose end was cut off, or that was written anew, from one
//! that is whole.

use std::collections::HashMap;
use std::fmt;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;

use crate::chain::Chain;
use crate::encoding::Hash;

/// Longest file that is read, in bytes: heads of some hundred thousand chains.
const MOST: u64 = 64 * 1024 * 1024;

/// The head that a chain had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Anchor {
    /// The number of its last entry.
    pub seq: i64,
    /// That entry's hash.
    pub hash: Hash,
}

impl fmt::Display for Anchor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.seq, self.hash)
    }
}

/// Noted heads, one for each chain.
#[derive(Debug, Clone, Default)]
pub struct Anchors(HashMap<Chain, Anchor>);

/// A file that is not what `audit verify` printed.
#[derive(Debug, thiserror::Error)]
pub enum InvalidAnchors {
    /// It cannot be read.
    #[error("the noted heads cannot be read")]
    Unreadable(#[from] std::io::Error),
    /// A line of it is none of ours.
    #[error("line {0} of the noted heads is none that `audit verify` printed")]
    Line(usize),
    /// It is too long.
    #[error("the noted heads are longer than {MOST} bytes")]
    TooLong,
}

#[derive(serde::Deserialize)]
struct Line {
    chain: Option<String>,
    tenant_id: Option<String>,
    seq: Option<i64>,
    hash: Option<Hash>,
}

impl Anchors {
    /// Reads what `audit verify` printed: its lines about chains, the others say nothing about heads. Where a chain has
    /// several, the last one counts.
    ///
    /// # Errors
    /// [`InvalidAnchors`].
    pub fn read(path: &Path) -> Result<Self, InvalidAnchors> {
        let mut anchors = HashMap::new();
        let mut read: u64 = 0;
        for (place, line) in BufReader::new(File::open(path)?.take(MOST + 1))
            .lines()
            .enumerate()
        {
            let line = line?;
            read = read
                .saturating_add(u64::try_from(line.len()).unwrap_or(u64::MAX))
                .saturating_add(1);
            if read > MOST {
                return Err(InvalidAnchors::TooLong);
            }
            if line.trim().is_empty() {
                continue;
            }
            let line: Line = serde_json::from_str(&line).map_err(|_| InvalidAnchors::Line(place + 1))?;
            let chain = match (line.chain.as_deref(), line.tenant_id) {
                (Some("platform"), None) => Chain::Platform,
                (Some("tenant"), Some(tenant)) => Chain::Tenant(tenant),
                (None, _) => continue,
                _ => return Err(InvalidAnchors::Line(place + 1)),
            };
            // A chain that had no entries has no head.
            if let (Some(seq), Some(hash)) = (line.seq, line.hash) {
                anchors.insert(chain, Anchor { seq, hash });
            }
        }
        Ok(Self(anchors))
    }

    pub(crate) fn take(&mut self, chain: &Chain) -> Option<Anchor> {
        self.0.remove(chain)
    }

    /// What was not taken: chains that were there once.
    pub(crate) fn rest(self) -> impl Iterator<Item = (Chain, Anchor)> {
        self.0.into_iter()
    }
}

impl FromIterator<(Chain, Anchor)> for Anchors {
    fn from_iter<I: IntoIterator<Item = (Chain, Anchor)>>(heads: I) -> Self {
        Self(heads.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn read(text: &str) -> Result<Anchors, InvalidAnchors> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        Anchors::read(file.path())
    }

    #[test]
    fn what_verify_prints_is_read_and_nothing_else() {
        let hash = "ab".repeat(32);
        let text = format!(
            "{{\"chain\":\"platform\",\"entries\":0}}\n\n\
             {{\"chain\":\"tenant\",\"tenant_id\":\"a\",\"seq\":3,\"hash\":\"{hash}\"}}\n\
             {{\"chain\":\"tenant\",\"tenant_id\":\"a\",\"seq\":4,\"hash\":\"{hash}\"}}\n{{\"chains\":2}}\n"
        );
        let mut anchors = read(&text).unwrap();
        assert_eq!(anchors.take(&Chain::Platform), None);
        assert_eq!(
            anchors
                .take(&Chain::Tenant("a".to_owned()))
                .map(|anchor| anchor.seq),
            Some(4)
        );
        assert_eq!(anchors.rest().count(), 0);
        for wrong in [
            "x",
            "{\"chain\":\"tenant\"}",
            "{\"chain\":\"tenant\",\"tenant_id\":\"a\",\"hash\":\"00\"}",
        ] {
            assert!(matches!(read(wrong), Err(InvalidAnchors::Line(1))), "{wrong}");
        }
    }
}
