//! The file of a person's message, from channel-service to Chatwoot. It streams through: nothing of it is kept here.

use std::time::Duration;

use chrono::{DateTime, Utc};
use messaging::events::message_received::MediaLink;

use super::NotDone;
use super::render::{Shown, ShownFile, readable_size};
use crate::channel_files::{ChannelFiles, Fetched, OpenFile};
use crate::chatwoot::{ChatwootError, MessageFile};

/// The pause before a file that is not there is asked for again.
const AGAIN_IN: Duration = Duration::from_secs(1);
/// Longest name of a file, in characters.
const LONGEST_NAME: usize = 255;

/// What goes to Chatwoot.
pub(super) enum Attached {
    /// The file, and with it the words under it.
    File(MessageFile),
    /// Words alone. `is_late`: the file follows when it is there.
    Words { words: String, is_late: bool },
}

impl Attached {
    /// Do the words promise a file that comes later?
    pub(super) const fn is_late(&self) -> bool {
        matches!(self, Self::Words { is_late: true, .. })
    }

    /// Bytes to carry besides the words.
    pub(super) const fn bytes(&self) -> u64 {
        match self {
            Self::File(file) => file.size,
            Self::Words { .. } => 0,
        }
    }
}

/// Asks for the message's file. `since`: when the message came, from which it is waited for; without, nothing is.
///
/// # Errors
/// [`NotDone::FileNotYet`]: the message waits a little longer.
pub(super) async fn attach(
    files: &ChannelFiles,
    shown: &Shown,
    link: Option<&MediaLink>,
    since: Option<DateTime<Utc>>,
) -> Result<Attached, NotDone> {
    let Some(file) = &shown.file else {
        return Ok(words(shown.words.clone()));
    };
    let Some(link) = link else {
        return Ok(words(shown.words_without_file("")));
    };
    match files.open(&link.url).await {
        Fetched::Open(open) => Ok(Attached::File(message_file(*open, file))),
        Fetched::TooLarge { size } => Ok(words(shown.words_without_file(&too_large(size)))),
        Fetched::Foreign => Ok(words(shown.words_without_file(""))),
        Fetched::NotThere => {
            let patience = files.patience();
            if let Some(since) = since
                && (Utc::now() - since).to_std().unwrap_or_default() < patience
            {
                return Err(NotDone::FileNotYet {
                    wait: AGAIN_IN.min(patience / 4),
                });
            }
            metrics::counter!("kanal_bridge_files_late_total").increment(1);
            Ok(Attached::Words {
                words: shown.words_without_file("The file is still on its way and follows."),
                is_late: true,
            })
        }
    }
}

/// What is said of a file that Chatwoot is not given.
pub(super) fn too_large(size: u64) -> String {
    format!("{}: too large for here; it is in WhatsApp.", readable_size(size))
}

const fn words(words: String) -> Attached {
    Attached::Words {
        words,
        is_late: false,
    }
}

/// A file as Chatwoot gets it, under its sender's name where it has one.
pub(super) fn message_file(open: OpenFile, shown: &ShownFile) -> MessageFile {
    let name = shown.name.as_deref().and_then(safe_name);
    let name = name
        .or_else(|| open.name.as_deref().and_then(safe_name))
        .unwrap_or_else(|| shown.kind.as_str().to_owned());
    MessageFile {
        name,
        mime_type: open.mime_type,
        size: open.size,
        body: reqwest::Body::from(open.body),
    }
}

/// The last part of what may be a path, without what no name holds.
fn safe_name(name: &str) -> Option<String> {
    let name = name.rsplit(['/', '\\']).next().unwrap_or_default();
    let name: String = name
        .chars()
        .filter(|c| !c.is_control() && *c != '"')
        .take(LONGEST_NAME)
        .collect();
    let name = name.trim();
    (!name.trim_matches('.').is_empty()).then(|| name.to_owned())
}

/// Was it the file that Chatwoot refused, and not the message?
pub(super) const fn is_files_fault(error: ChatwootError) -> bool {
    matches!(
        error,
        ChatwootError::Refused {
            status: 400 | 413 | 415 | 422
        }
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_nowhere() {
        for (name, safe) in [
            ("KK.pdf", Some("KK.pdf")),
            ("../../etc/passwd", Some("passwd")),
            ("C:\\foto \"baru\".jpg", Some("foto baru.jpg")),
            ("a\r\nb.txt", Some("ab.txt")),
            ("..", None),
            ("dir/", None),
            ("", None),
        ] {
            assert_eq!(safe_name(name).as_deref(), safe, "{name}");
        }
    }
}
