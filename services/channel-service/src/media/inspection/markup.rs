//! Programs, scripts and plain words, by how they begin.

/// How programs, installers and shortcuts begin.
const PROGRAMS: &[&[u8]] = &[
    // DOS and Windows.
    b"MZ",
    b"\x4c\x00\x00\x00\x01\x14\x02\x00",
    b"MSCF",
    b"ITSF",
    // Unix.
    b"\x7fELF",
    b"!<arch>",
    b"\xed\xab\xee\xdb",
    // Apple.
    b"\xfe\xed\xfa\xce",
    b"\xfe\xed\xfa\xcf",
    b"\xce\xfa\xed\xfe",
    b"\xcf\xfa\xed\xfe",
    // Java (and Apple's files for several machines), Android, WebAssembly, Flash.
    b"\xca\xfe\xba\xbe",
    b"dex\n",
    b"\0asm",
    b"FWS",
    b"CWS",
    b"ZWS",
];

/// How texts begin that something runs or opens as a page; in small letters, blanks before them do not count.
const SCRIPTS: &[&[u8]] = &[
    b"#!",
    b"<!doctype",
    b"<!--",
    b"<html",
    b"<head",
    b"<body",
    b"<script",
    b"<iframe",
    b"<img",
    b"<svg",
    b"<math",
    b"<?xml",
    b"<?php",
    b"<%",
    b"<hta",
    b"<job",
    b"<package",
    b"@echo",
    b"windows registry editor",
    b"regedit4",
    b"[internetshortcut]",
    b"[desktop entry]",
    b"[autorun]",
    b"mime-version:",
];

/// What makes a browser run something, wherever it stands.
const IN_PAGES: &[&[u8]] = &[
    b"<script",
    b"<html",
    b"<!doctype html",
    b"<iframe",
    b"<?php",
    b"javascript:",
];

/// How far into a picture or sound pages are looked for.
const REACH: usize = 4 * 1024;

pub(super) fn is_program(head: &[u8]) -> bool {
    PROGRAMS.iter().any(|begin| head.starts_with(begin))
}

pub(super) fn is_script(head: &[u8]) -> bool {
    let text = without_marks(head);
    SCRIPTS.iter().any(|begin| starts_with(text, begin))
}

/// Is there a page in a file that is none?
pub(super) fn has_script(head: &[u8], tail: &[u8]) -> bool {
    let begin = &head[..head.len().min(REACH)];
    let end = &tail[tail.len().saturating_sub(REACH)..];
    [begin, end].into_iter().any(|bytes| {
        let bytes = bytes.to_ascii_lowercase();
        IN_PAGES.iter().any(|wanted| super::contains(&bytes, wanted))
    })
}

/// Only characters that are written or lay words out, in whatever character set. Text in UTF-16 says so.
pub(super) fn is_text(bytes: &[u8]) -> bool {
    if bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff") {
        return true;
    }
    bytes
        .iter()
        .all(|byte| *byte >= b' ' && *byte != 0x7f || matches!(byte, b'\t' | b'\n' | b'\r' | 0x0c))
}

/// Without the mark of UTF-8, of UTF-16 (whose every other byte is nothing in such texts) and blanks.
fn without_marks(head: &[u8]) -> &[u8] {
    let text = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head);
    text.trim_ascii_start()
}

fn starts_with(text: &[u8], begin: &[u8]) -> bool {
    text.get(..begin.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(begin))
}
