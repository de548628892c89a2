//! The file of a person's message, from channel-service to Chatwoot. It streams through: nothing of it is kept here.

use std::time::Duration;

use chrono::{DateTime, Utc};
use messaging::events::message_received::MediaLink;
use messaging::lanes::Lease;
use tenant_isolation::TenantTransaction;

use super::render::{Shown, ShownFile, readable_size};
use super::{NotDone, Tools};
use crate::channel_files::{ChannelFiles, Fetched, OpenFile};
use crate::chatwoot::{ChatwootApi, ChatwootError, Message, MessageFile, NewMessage};

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

/// Posts a message with its file. A large file takes longer than a lane's lease lasts, so that is kept alive meanwhile.
///
/// # Errors
/// [`NotDone`].
pub(super) async fn post_with_file(
    tools: &Tools,
    lease: &Lease,
    api: ChatwootApi<'_>,
    conversation: i64,
    new: NewMessage<'_>,
    file: MessageFile,
) -> Result<Message, NotDone> {
    tokio::select! {
        made = api.create_message_with_file(conversation, new, file) => Ok(made?),
        lost = keep(tools, lease) => Err(lost),
    }
}

/// Ends only when the lease cannot be kept.
async fn keep(tools: &Tools, lease: &Lease) -> NotDone {
    loop {
        tokio::time::sleep(lease.length() / 3).await;
        if let Err(lost) = renew(tools, lease).await {
            return lost;
        }
    }
}

async fn renew(tools: &Tools, lease: &Lease) -> Result<(), NotDone> {
    let mut tx = TenantTransaction::begin(&tools.db, lease.scope(), "keep lane").await?;
    lease.guard(&mut tx).await?;
    Ok(tx.commit().await?)
}

/// Was it the file that Chatwoot refused, and not the message?
pub(super) const fn is_files_fault(error: &NotDone) -> bool {
    matches!(
        error,
        NotDone::Chatwoot(ChatwootError::Refused {
            status: 400 | 413 | 415 | 422
        })
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
