//! Media: what was sent to us as data URLs, and what inbound events refer to for later download.

use std::collections::{HashMap, VecDeque};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::state::SentMedia;
use crate::signature::sha256_hex;

/// Bytes of inbound media kept for `/chat/download*`; the oldest fall out.
const STORED_BYTES: usize = 256 * 1024 * 1024;

#[derive(Debug, Default)]
pub(crate) struct MediaStore {
    by_path: HashMap<String, Vec<u8>>,
    order: VecDeque<String>,
    bytes: usize,
}

impl MediaStore {
    pub(crate) fn put(&mut self, direct_path: &str, bytes: Vec<u8>) {
        self.bytes += bytes.len();
        if let Some(replaced) = self.by_path.insert(direct_path.to_owned(), bytes) {
            self.bytes -= replaced.len();
        } else {
            self.order.push_back(direct_path.to_owned());
        }
        while self.bytes > STORED_BYTES
            && let Some(oldest) = self.order.pop_front()
        {
            self.bytes -= self.by_path.remove(&oldest).map_or(0, |dropped| dropped.len());
        }
    }

    pub(crate) fn get(&self, direct_path: &str) -> Option<&[u8]> {
        self.by_path.get(direct_path).map(Vec::as_slice)
    }
}

/// Splits `data:<type>;base64,<data>` and decodes it; the type keeps its parameters.
pub(super) fn parse_data_url(url: &str) -> Option<(String, Vec<u8>)> {
    let (head, data) = url.strip_prefix("data:")?.split_once(',')?;
    let mimetype = head.strip_suffix(";base64")?;
    Some((mimetype.to_owned(), STANDARD.decode(data).ok()?))
}

pub(super) fn describe(mimetype: String, bytes: &[u8], file_name: Option<String>) -> SentMedia {
    SentMedia {
        mimetype,
        bytes: bytes.len() as u64,
        sha256: sha256_hex(bytes),
        file_name,
        url: None,
    }
}

pub(super) fn encode(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

pub(super) fn decode(text: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text).ok()
}
