//! Files: uploaded, described, downloaded, deleted, and dead after a while (contract 4).

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::errors::Refusal;
use super::faults::{Fate, GraphCall, Seen};
use super::state::GraphState;
use super::{access, overlay};
use crate::http::{Answer, Call};
use crate::multipart;
use crate::signature::sha256_hex;

/// Bytes of files that are kept; the oldest fall out.
const KEPT_BYTES: usize = 256 * 1024 * 1024;
/// Download addresses that are remembered.
const ADDRESSES: usize = 50_000;
/// Meta counts in powers of ten when it refuses.
const MB: usize = 1_000_000;

/// Kind, type, most bytes, and how names end.
const TYPES: &[(&str, &str, usize, &[&str])] = &[
    ("audio", "audio/aac", 16 * MB, &["aac"]),
    ("audio", "audio/amr", 16 * MB, &["amr"]),
    ("audio", "audio/mpeg", 16 * MB, &["mp3"]),
    ("audio", "audio/mp4", 16 * MB, &["m4a", "mp4"]),
    ("audio", "audio/ogg", 16 * MB, &["ogg"]),
    ("document", "text/plain", 100 * MB, &["txt"]),
    ("document", "application/pdf", 100 * MB, &["pdf"]),
    ("document", "application/msword", 100 * MB, &["doc"]),
    (
        "document",
        "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
        100 * MB,
        &["docx"],
    ),
    ("document", "application/vnd.ms-excel", 100 * MB, &["xls"]),
    (
        "document",
        "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
        100 * MB,
        &["xlsx"],
    ),
    ("document", "application/vnd.ms-powerpoint", 100 * MB, &["ppt"]),
    (
        "document",
        "application/vnd.openxmlformats-officedocument.presentationml.presentation",
        100 * MB,
        &["pptx"],
    ),
    ("image", "image/jpeg", 5 * MB, &["jpeg", "jpg"]),
    ("image", "image/png", 5 * MB, &["png"]),
    ("sticker", "image/webp", MB / 2, &["webp"]),
    ("video", "video/3gpp", 16 * MB, &["3gp", "3gpp"]),
    ("video", "video/mp4", 16 * MB, &["mp4"]),
];

/// A file as read back.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct GraphMedia {
    /// Its id.
    pub id: String,
    /// The number it was uploaded for or came to.
    pub number: String,
    /// Its type, as it is told.
    pub mime_type: String,
    /// SHA-256 in hex, as it is told.
    pub sha256: String,
    /// Its real size.
    pub bytes: u64,
    /// The id still works.
    pub alive: bool,
    /// How often it was downloaded.
    pub downloads: u64,
}

#[derive(Debug)]
pub(super) struct NewFile {
    pub(super) id: String,
    pub(super) number: String,
    pub(super) mime_type: String,
    pub(super) sha256: String,
    pub(super) told_size: Option<u64>,
    pub(super) expired: bool,
    pub(super) bytes: Vec<u8>,
}

#[derive(Debug)]
struct File {
    new: NewFile,
    until: Instant,
    downloads: u64,
}

impl File {
    fn alive(&self) -> bool {
        !self.new.expired && Instant::now() < self.until
    }
}

/// What a download address stands for.
#[derive(Debug)]
struct Address {
    file: String,
    until: Instant,
}

#[derive(Debug, Default)]
pub(super) struct Files {
    by_id: HashMap<String, File>,
    order: VecDeque<String>,
    bytes: usize,
    addresses: HashMap<String, Address>,
}

impl Files {
    pub(super) fn put(&mut self, new: NewFile, life_ms: u64) {
        self.bytes += new.bytes.len();
        self.order.push_back(new.id.clone());
        let file = File {
            until: Instant::now() + Duration::from_millis(life_ms),
            downloads: 0,
            new,
        };
        self.by_id.insert(file.new.id.clone(), file);
        while self.bytes > KEPT_BYTES
            && let Some(oldest) = self.order.pop_front()
        {
            self.remove(&oldest);
        }
    }

    fn remove(&mut self, id: &str) -> bool {
        let removed = self.by_id.remove(id);
        self.bytes -= removed.as_ref().map_or(0, |file| file.new.bytes.len());
        removed.is_some()
    }

    fn living(&self, id: &str) -> Option<&File> {
        self.by_id.get(id).filter(|file| file.alive())
    }

    /// A new address to download the file from.
    pub(super) fn address(&mut self, base: &str, id: &str, life_ms: u64) -> String {
        let now = Instant::now();
        if self.addresses.len() >= ADDRESSES {
            self.addresses.retain(|_, address| address.until > now);
        }
        if self.addresses.len() >= ADDRESSES {
            self.addresses.clear();
        }
        let hash = format!("AR{}", hex::encode(rand::random::<[u8; 12]>()));
        let life = Duration::from_millis(life_ms);
        let ends = chrono::Utc::now().timestamp() + i64::try_from(life.as_secs()).unwrap_or(300);
        let address = Address {
            file: id.to_owned(),
            until: now + life,
        };
        self.addresses.insert(hash.clone(), address);
        format!("{base}/whatsapp_business/attachments/?mid={id}&ext={ends}&hash={hash}")
    }

    /// A file may be sent by this number as this kind.
    pub(super) fn fits(&self, id: &str, number: &str, kind: &str) -> Result<(), Refusal> {
        let Some(file) = self.living(id).filter(|file| file.new.number == number) else {
            return Err(Refusal::no_such(id, "get"));
        };
        let essence = essence(&file.new.mime_type);
        let known = TYPES.iter().any(|(of, mime, ..)| *of == kind && *mime == essence);
        // As a document any type goes that could be uploaded.
        if known || kind == "document" {
            return Ok(());
        }
        let details = format!("Unsupported {kind} mime type {essence}.");
        Err(Refusal::because(131_053, details))
    }

    /// All download addresses are dead from now on.
    pub(super) fn expire_addresses(&mut self) {
        self.addresses.clear();
    }

    /// The id is dead from now on.
    pub(super) fn expire(&mut self, id: &str) -> bool {
        self.by_id.get_mut(id).is_some_and(|file| {
            file.new.expired = true;
            true
        })
    }

    pub(super) fn list(&self) -> Vec<GraphMedia> {
        let files = self.order.iter().filter_map(|id| self.by_id.get(id));
        files
            .map(|file| GraphMedia {
                id: file.new.id.clone(),
                number: file.new.number.clone(),
                mime_type: file.new.mime_type.clone(),
                sha256: file.new.sha256.clone(),
                bytes: file.new.bytes.len() as u64,
                alive: file.alive(),
                downloads: file.downloads,
            })
            .collect()
    }

    pub(super) fn content(&self, id: &str) -> Option<Vec<u8>> {
        self.by_id.get(id).map(|file| file.new.bytes.clone())
    }

    pub(super) fn knows(&self, id: &str) -> bool {
        self.by_id.contains_key(id)
    }
}

fn essence(mime_type: &str) -> String {
    let essence = mime_type.split(';').next().unwrap_or_default();
    essence.trim().to_ascii_lowercase()
}

fn fate(state: &mut GraphState, call: GraphCall, number: &str) -> Fate {
    state.troubles.of(&Seen {
        call,
        number,
        recipient: "",
        message_type: "",
    })
}

/// `POST /{number}/media`.
pub(super) fn upload(state: &mut GraphState, call: &Call, number: &str) -> Answer {
    if let Err(refusal) = access::number(state, call, number) {
        return refusal.answer();
    }
    let fate = fate(state, GraphCall::Upload, number);
    if let Some(instead) = overlay::before(state, number, &fate) {
        return instead;
    }
    let answer = take(state, call, number).unwrap_or_else(Refusal::answer);
    overlay::after(state, number, &fate, answer)
}

fn take(state: &mut GraphState, call: &Call, number: &str) -> Result<Answer, Refusal> {
    let content_type = call.header("content-type").unwrap_or_default();
    let (fields, files) = multipart::parse(content_type, &call.body)
        .ok_or_else(|| Refusal::because(100, "The request is not multipart/form-data"))?;
    if fields.get("messaging_product") != Some(&json!("whatsapp")) {
        return Err(Refusal {
            message: Some("(#100) The parameter messaging_product is required.".to_owned()),
            ..Refusal::new(100)
        });
    }
    let file = files
        .into_iter()
        .find(|file| file.field == "file")
        .ok_or_else(|| Refusal {
            message: Some("(#100) The parameter file is required.".to_owned()),
            ..Refusal::new(100)
        })?;
    let declared = fields
        .get("type")
        .and_then(|value| value.as_str())
        .filter(|kind| !kind.is_empty())
        .unwrap_or(&file.content_type)
        .to_owned();
    let kind = essence(&declared);
    let Some((_, _, most, _)) = TYPES.iter().find(|(_, mime, ..)| *mime == kind) else {
        let names: Vec<&str> = TYPES.iter().map(|(_, mime, ..)| *mime).collect();
        return Err(Refusal {
            message: Some(format!(
                "(#100) Param file must be a file with one of the following types: {}. Received file of type '{kind}'.",
                names.join(", ")
            )),
            ..Refusal::new(100)
        });
    };
    let ending = file
        .name
        .rsplit_once('.')
        .map(|(_, ending)| ending.to_ascii_lowercase());
    // The name is looked at, too: one that speaks of another type is refused.
    let other = ending.is_some_and(|ending| {
        let speaks = |endings: &[&str]| endings.contains(&ending.as_str());
        TYPES.iter().any(|(.., endings)| speaks(endings))
            && !TYPES
                .iter()
                .any(|(_, mime, _, endings)| *mime == kind && speaks(endings))
    });
    if other {
        return Err(Refusal::because(
            131_053,
            "The name of the file and its type do not go together",
        ));
    }
    if file.bytes > *most || file.bytes == 0 {
        return Err(Refusal::because(
            131_053,
            format!("Media file of {} bytes, allowed are 1 to {most}", file.bytes),
        ));
    }
    let id = state.next_id("18000000");
    state.files.put(
        NewFile {
            id: id.clone(),
            number: number.to_owned(),
            mime_type: declared,
            sha256: sha256_hex(&file.content),
            told_size: None,
            expired: false,
            bytes: file.content,
        },
        state.settings.uploaded_media_life_ms,
    );
    Ok(Answer::ok(&json!({"id": id})))
}

/// `GET` and `DELETE /{media}`.
pub(super) fn about(state: &mut GraphState, call: &Call, id: &str) -> Answer {
    if let Err(refusal) = access::anybody(state, call) {
        return refusal.answer();
    }
    let number = state
        .files
        .by_id
        .get(id)
        .map(|file| file.new.number.clone())
        .unwrap_or_default();
    let fate = fate(state, GraphCall::MediaInfo, &number);
    if let Some(instead) = overlay::before(state, &number, &fate) {
        return instead;
    }
    let reaches = access::number(state, call, &number);
    let other = call.query("phone_number_id").is_some_and(|asked| asked != number);
    let alive = state.files.living(id).is_some();
    let answer = match reaches {
        Err(refusal) if refusal.code != 100 => refusal.answer(),
        Ok(()) if alive && !other => match call.method.as_str() {
            "DELETE" => Answer::ok(&json!({"success": state.files.remove(id)})),
            _ => described(state, call, id),
        },
        _ => Refusal::no_such(id, &call.method).answer(),
    };
    overlay::after(state, &number, &fate, answer)
}

fn described(state: &mut GraphState, call: &Call, id: &str) -> Answer {
    let base = match call.header("host") {
        Some(host) => format!("http://{host}/graph"),
        None => state.base_url.clone(),
    };
    let url = state.files.address(&base, id, state.settings.media_url_life_ms);
    let Some(file) = state.files.by_id.get(id) else {
        return Refusal::no_such(id, &call.method).answer();
    };
    let size = file.new.told_size.unwrap_or(file.new.bytes.len() as u64);
    Answer::ok(&json!({
        "messaging_product": "whatsapp", "url": url, "mime_type": file.new.mime_type, "sha256": file.new.sha256,
        "file_size": size, "id": id,
    }))
}

/// The download address. Whatever is wrong, it is 404.
pub(super) fn download(state: &mut GraphState, call: &Call) -> Answer {
    let missing = || Answer::text(404, "Not Found");
    let hash = call.query("hash").unwrap_or_default();
    let now = Instant::now();
    let Some(id) = state
        .files
        .addresses
        .get(hash)
        .filter(|address| address.until > now && call.query("mid") == Some(&address.file))
        .map(|address| address.file.clone())
    else {
        return missing();
    };
    let Some(number) = state.files.living(&id).map(|file| file.new.number.clone()) else {
        return missing();
    };
    let fate = fate(state, GraphCall::Download, &number);
    if let Some(instead) = overlay::before(state, &number, &fate) {
        return instead;
    }
    // Only a header counts here, never a parameter.
    if call.header("authorization").is_none() || access::number(state, call, &number).is_err() {
        return missing();
    }
    let Some(file) = state.files.by_id.get_mut(&id) else {
        return missing();
    };
    file.downloads += 1;
    let mut answer = Answer {
        body: file.new.bytes.clone(),
        ..Answer::text(200, "")
    };
    answer.headers.push(("content-type", file.new.mime_type.clone()));
    overlay::after(state, &number, &fate, answer)
}
