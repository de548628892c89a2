//! References to secrets inside of a text: `$(ENV:NAME)`, `$(FILE:/path)`, `$(AWS_SECRET:path)` and
//! `$(AWS_SECRET:path#key)`.
//!
//! What a reference stands for is taken as it is, so a value may hold `$(` where the text may not. Messages name the
//! kind and never what was asked for or found.

use std::collections::BTreeMap;
use std::path::Path;

use runtime::config::SettingsReader;
use runtime::env_file;
use secrecy::{ExposeSecret as _, SecretString};

/// Largest file that a reference may name, in bytes; as large as a secret of Amazon's may be.
const MOST_FILE: u64 = 64 * 1024;

/// What Amazon's Secrets Manager said to each path that is referred to. Asked before the settings are read, because
/// asking takes time.
#[derive(Debug, Clone, Default)]
pub struct FetchedSecrets(BTreeMap<String, Result<SecretString, SecretTrouble>>);

/// Why a secret of Amazon's is not there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SecretTrouble {
    /// Nobody asked.
    #[error("secrets of AWS are not fetched here")]
    NotAsked,
    /// It is not said where to ask.
    #[error("no region is set: set AWS_REGION")]
    NoRegion,
    /// The address of the Secrets Manager is none.
    #[error(
        "AWS_ENDPOINT_URL_SECRETS_MANAGER or AWS_ENDPOINT_URL is no http:// or https:// address: correct it"
    )]
    BadEndpoint,
    /// There are no credentials of AWS.
    #[error(
        "no credentials of AWS were found: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or run with a profile, \
         a web identity, or a role of the container or machine"
    )]
    NoCredentials,
    /// No answer.
    #[error("the Secrets Manager of AWS cannot be reached: correct the region or the network, or try again")]
    Unreachable,
    /// An answer that is a refusal; the code is Amazon's.
    #[error("the Secrets Manager of AWS answers {0}: correct the path or the role's rights")]
    Refused(String),
    /// The answer holds no text.
    #[error("the secret of AWS holds no text of at most 64 KiB: store it as a text")]
    NoText,
}

impl FetchedSecrets {
    /// What was fetched.
    #[must_use]
    pub const fn new(fetched: BTreeMap<String, Result<SecretString, SecretTrouble>>) -> Self {
        Self(fetched)
    }
}

/// What references are resolved with.
pub(super) struct Sources<'a> {
    pub(super) reader: &'a SettingsReader,
    pub(super) secrets: &'a FetchedSecrets,
}

/// A piece of a text.
enum Piece<'a> {
    Plain(&'a str),
    Env(&'a str),
    File(&'a str),
    Aws { path: &'a str, key: Option<&'a str> },
}

/// The paths in Amazon's Secrets Manager that a text refers to. Whatever is wrong with the text is told when it is
/// resolved.
pub(super) fn aws_paths(text: &str) -> impl Iterator<Item = &str> {
    text.match_indices("$(")
        .filter_map(|(at, _)| match first_reference(&text[at..]) {
            Ok((Piece::Aws { path, .. }, _)) => Some(path),
            _ => None,
        })
}

/// The text with what its references stand for, or everything that is wrong with them.
pub(super) fn resolve(text: &str, sources: &Sources<'_>) -> Result<String, Vec<String>> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find("$(") {
        pieces.push(Piece::Plain(&rest[..at]));
        // Behind a broken reference nothing can be told apart.
        let (piece, behind) = first_reference(&rest[at..]).map_err(|rule| vec![rule.to_owned()])?;
        pieces.push(piece);
        rest = behind;
    }
    pieces.push(Piece::Plain(rest));
    let (mut resolved, mut mistakes) = (String::new(), Vec::new());
    for piece in pieces {
        match sources.value(&piece) {
            Ok(value) => resolved.push_str(value.expose_secret()),
            Err(rule) => mistakes.push(rule),
        }
    }
    if mistakes.is_empty() {
        Ok(resolved)
    } else {
        Err(mistakes)
    }
}

/// The reference that a text begins with, and what comes after it.
fn first_reference(text: &str) -> Result<(Piece<'_>, &str), &'static str> {
    let inside = text.strip_prefix("$(").unwrap_or(text);
    let (reference, behind) = inside
        .split_once(')')
        .ok_or("has a $( without the ) that ends it; a value with $( in it goes into a file or variable that is referred to")?;
    if reference.contains("$(") {
        return Err("has a reference inside of a reference; write the inner one out");
    }
    let known = reference.split_once(':').ok_or(UNKNOWN)?;
    let piece = match known {
        ("ENV", name) if env_file::is_name(name) => Piece::Env(name),
        ("ENV", _) => {
            return Err("refers to a variable whose name has other characters than letters, digits and _");
        }
        ("FILE", path) if path.starts_with('/') => Piece::File(path),
        ("FILE", _) => return Err("refers to a file without saying where: the path begins with /"),
        ("AWS_SECRET", path) => {
            let (path, key) = match path.split_once('#') {
                Some((path, key)) => (path, Some(key)),
                None => (path, None),
            };
            if path.is_empty() || key.is_some_and(str::is_empty) {
                return Err("refers to a secret of AWS without a path, or with a # and no key behind it");
            }
            Piece::Aws { path, key }
        }
        _ => return Err(UNKNOWN),
    };
    Ok((piece, behind))
}

const UNKNOWN: &str = "has a $( that begins no reference; a reference is $(ENV:NAME), $(FILE:/path), \
                       $(AWS_SECRET:path) or $(AWS_SECRET:path#key), and a value with $( in it goes into a file or \
                       variable that is referred to";

impl Sources<'_> {
    fn value(&self, piece: &Piece<'_>) -> Result<SecretString, String> {
        match piece {
            Piece::Plain(text) => Ok(SecretString::from(*text)),
            Piece::Env(name) => self.reader.variable(name).map(SecretString::from).ok_or_else(|| {
                "refers to a variable that is not set or empty: set it, or correct the name".to_owned()
            }),
            Piece::File(path) => file(path),
            Piece::Aws { path, key } => self.aws(path, *key),
        }
    }

    fn aws(&self, path: &str, key: Option<&str>) -> Result<SecretString, String> {
        let secret = match self.secrets.0.get(path) {
            Some(Ok(secret)) => secret,
            Some(Err(trouble)) => return Err(trouble.to_string()),
            None => return Err(SecretTrouble::NotAsked.to_string()),
        };
        let Some(key) = key else {
            return filled(secret.expose_secret())
                .ok_or_else(|| "refers to a secret of AWS that is empty: fill it".to_owned());
        };
        let object: BTreeMap<String, serde_json::Value> = serde_json::from_str(secret.expose_secret())
            .map_err(
                |_| "refers to a key of a secret of AWS that is no JSON object: leave #key out, or store one",
            )?;
        match object.get(key) {
            Some(serde_json::Value::String(text)) => filled(text),
            Some(serde_json::Value::Number(number)) => Some(SecretString::from(number.to_string())),
            _ => None,
        }
        .ok_or_else(|| {
            "refers to a key that the secret of AWS does not have as a text: correct the key behind #, or add it"
                .to_owned()
        })
    }
}

fn file(path: &str) -> Result<SecretString, String> {
    let text = env_file::read_text(Path::new(path), MOST_FILE).ok_or(
        "refers to a file that cannot be read: it must be a plain file of UTF-8 text, at most 64 KiB, that this \
         process may read",
    )?;
    let text = SecretString::from(text);
    let trimmed = text.expose_secret();
    let trimmed = trimmed.strip_suffix('\n').unwrap_or(trimmed);
    filled(trimmed.strip_suffix('\r').unwrap_or(trimmed))
        .ok_or_else(|| "refers to a file that is empty: fill it, or correct the path".to_owned())
}

fn filled(text: &str) -> Option<SecretString> {
    (!text.is_empty()).then(|| SecretString::from(text))
}
