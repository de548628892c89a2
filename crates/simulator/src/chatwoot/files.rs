//! Files of messages and contacts, and where Chatwoot shows them: at an address that redirects to one that expires
//! (contract 2.8).

use std::collections::BTreeMap;

use chrono::Utc;
use serde_json::{Value, json};

use super::state::{ChatwootState, secret};
use crate::http::{Answer, Call};
use crate::multipart;

/// Bytes kept in all; the oldest files fall out.
const KEPT_BYTES: usize = 256 * 1024 * 1024;

/// A file as Chatwoot holds it.
#[derive(Clone, PartialEq, Eq)]
pub struct ChatwootFile {
    /// Name it was uploaded under.
    pub name: String,
    /// Type it was uploaded with.
    pub content_type: String,
    /// The file.
    pub bytes: Vec<u8>,
}

impl std::fmt::Debug for ChatwootFile {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("ChatwootFile")
            .field("name", &self.name)
            .field("content_type", &self.content_type)
            .field("bytes", &self.bytes.len())
            .finish()
    }
}

#[derive(Debug)]
struct Stored {
    file: ChatwootFile,
    /// What makes the address unguessable.
    signed: String,
    /// How often its bytes were asked for.
    asked: u64,
}

#[derive(Debug, Default)]
pub(super) struct Files {
    by_id: BTreeMap<u64, Stored>,
    bytes: usize,
}

impl Files {
    fn put(&mut self, id: u64, file: ChatwootFile) -> &Stored {
        self.bytes += file.bytes.len();
        while self.bytes > KEPT_BYTES
            && let Some((_, oldest)) = self.by_id.pop_first()
        {
            self.bytes -= oldest.file.bytes.len();
        }
        self.by_id.entry(id).or_insert(Stored {
            file,
            signed: secret(),
            asked: 0,
        })
    }

    pub(super) fn get(&self, id: u64) -> Option<&ChatwootFile> {
        self.by_id.get(&id).map(|stored| &stored.file)
    }

    pub(super) fn remove(&mut self, id: u64) {
        if let Some(stored) = self.by_id.remove(&id) {
            self.bytes -= stored.file.bytes.len();
        }
    }

    fn signed(&mut self, id: u64, signed: &str) -> Option<&mut Stored> {
        self.by_id.get_mut(&id).filter(|stored| stored.signed == signed)
    }
}

/// Keeps a file and says where it is shown.
pub(super) fn keep(state: &mut ChatwootState, id: u64, file: multipart::File) -> String {
    let base = state.settings.frontend_url.clone();
    let base = if base.is_empty() {
        state.base_url.clone()
    } else {
        base
    };
    let stored = state.files.put(
        id,
        ChatwootFile {
            name: file.name,
            content_type: file.content_type,
            bytes: file.content,
        },
    );
    format!(
        "{base}/rails/active_storage/blobs/redirect/{id}--{}/{}",
        stored.signed,
        encoded(&stored.file.name)
    )
}

/// The attachment of a message that a file becomes.
pub(super) fn attachment(state: &mut ChatwootState, place: (u64, u64), file: multipart::File) -> Value {
    let (account_id, message_id) = place;
    let (id, kind, size) = (state.next_id(), file.kind(), file.bytes);
    let data_url = keep(state, id, file);
    json!({
        "id": id, "message_id": message_id, "file_type": kind, "account_id": account_id, "extension": null,
        "data_url": data_url, "thumb_url": "", "file_size": size, "width": null, "height": null,
    })
}

/// The file that is shown at an address of ours.
pub(super) fn at_address<'a>(state: &'a ChatwootState, address: &str) -> Option<&'a ChatwootFile> {
    let (_, rest) = address.split_once("/rails/active_storage/blobs/redirect/")?;
    state.files.get(rest.split_once("--")?.0.parse().ok()?)
}

/// The file of an attachment.
pub(super) fn of_attachment<'a>(state: &'a ChatwootState, attachment: &Value) -> Option<&'a ChatwootFile> {
    state.files.get(attachment["id"].as_u64()?)
}

/// `/rails/active_storage`: the address of a file, and the one it leads to.
pub(super) fn answer(state: &mut ChatwootState, call: &Call, path: &[&str]) -> Answer {
    match (call.method.as_str(), path) {
        ("GET" | "HEAD", ["blobs", "redirect", signed, _]) => redirect(state, call, signed, 1),
        ("GET" | "HEAD", ["disk", token, _]) => disk(state, call, token),
        _ => Answer::text(404, ""),
    }
}

/// `<id>--<signature>`, and what else the address says.
fn parts(token: &str) -> Option<(u64, Vec<&str>)> {
    let mut parts = token.split("--");
    let id = parts.next()?.parse().ok()?;
    Some((id, parts.collect()))
}

fn redirect(state: &mut ChatwootState, call: &Call, signed: &str, hop: u64) -> Answer {
    let Some((id, rest)) = parts(signed) else {
        return Answer::text(404, "");
    };
    let settings = state.settings.clone();
    let Some(stored) = rest.first().and_then(|signed| state.files.signed(id, signed)) else {
        return Answer::text(404, "");
    };
    let location = if settings.file_redirect_to.is_empty() {
        // Rails names the host it was asked under, not the one it shows to people.
        let host = call.header("host").unwrap_or("localhost");
        let mount = call.path.split("/rails/").next().unwrap_or_default();
        let until = Utc::now().timestamp_millis() + i64::try_from(settings.file_seconds).unwrap_or(0) * 1000;
        format!(
            "http://{host}{mount}/rails/active_storage/disk/{id}--{}--{until}--{hop}/{}",
            stored.signed,
            encoded(&stored.file.name)
        )
    } else {
        settings.file_redirect_to
    };
    Answer {
        headers: vec![("location", location)],
        ..Answer::text(302, "")
    }
}

/// The bytes: not before they are uploaded, and not after the address has expired.
fn disk(state: &mut ChatwootState, call: &Call, token: &str) -> Answer {
    let Some((id, rest)) = parts(token) else {
        return Answer::text(404, "");
    };
    let [signed, until, hop] = rest.as_slice() else {
        return Answer::text(404, "");
    };
    let (until, hop) = (
        until.parse::<i64>().unwrap_or_default(),
        hop.parse::<u64>().unwrap_or_default(),
    );
    if until < Utc::now().timestamp_millis() {
        return Answer::text(404, "");
    }
    if hop < state.settings.file_hops {
        return redirect(state, call, &format!("{id}--{signed}"), hop + 1);
    }
    let early = state.settings.file_404s;
    let Some(stored) = state.files.signed(id, signed) else {
        return Answer::text(404, "");
    };
    stored.asked += 1;
    if stored.asked <= early {
        return Answer::text(404, "");
    }
    let ChatwootFile {
        name,
        content_type,
        bytes,
    } = &stored.file;
    Answer {
        headers: vec![
            ("content-type", content_type.clone()),
            (
                "content-disposition",
                format!(
                    "inline; filename=\"{}\"; filename*=UTF-8''{}",
                    name.replace(|c: char| !c.is_ascii() || c == '"' || c.is_ascii_control(), "?"),
                    encoded(name)
                ),
            ),
        ],
        body: bytes.clone(),
        ..Answer::text(200, "")
    }
}

/// A file name as one segment of a path.
fn encoded(name: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    name.bytes()
        .map(|byte| match plain(byte) {
            true => char::from(byte).to_string(),
            false => format!("%{byte:02X}"),
        })
        .collect()
}
