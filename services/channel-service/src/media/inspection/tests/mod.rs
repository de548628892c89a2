//! Good files of every type that people send, and a corpus of hostile ones.

mod good;
mod hostile;

use std::io::{Cursor, Write as _};

use ::cfb::CompoundFile;

use super::*;

const DOCX: &str = "application/vnd.openxmlformats-officedocument.wordprocessingml.document";
const XLSX: &str = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet";
const PPTX: &str = "application/vnd.openxmlformats-officedocument.presentationml.presentation";
const DOC: &str = "application/msword";

fn look_at(bytes: &[u8], kind: MediaKind, declared: &str) -> Inspected {
    let announced = Announced {
        kind,
        declared: Some(declared).filter(|declared| !declared.is_empty()),
    };
    inspect(&mut Cursor::new(bytes), &announced).unwrap()
}

fn padded(begin: &[u8]) -> Vec<u8> {
    let mut bytes = begin.to_vec();
    bytes.resize(begin.len() + 600, 0x11);
    bytes
}

fn jpeg() -> Vec<u8> {
    padded(b"\xff\xd8\xff\xe0\0\x10JFIF\0\x01")
}

fn png() -> Vec<u8> {
    padded(b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR\0\0\x02\0\0\0\x02\0\x08\x06\0\0\0")
}

fn webp() -> Vec<u8> {
    padded(b"RIFF\x24\x02\0\0WEBPVP8X\x0a\0\0\0\x02\0\0\0")
}

fn pdf() -> Vec<u8> {
    b"%PDF-1.7\n1 0 obj\n<< /Type /Catalog >>\nendobj\ntrailer\n%%EOF\n".to_vec()
}

fn ogg() -> Vec<u8> {
    padded(b"OggS\0\x02\0\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\0\0\0\0\x01\x13OpusHead\x01\x01")
}

fn zip(names: &[&str]) -> Vec<u8> {
    let mut writer = ::zip::ZipWriter::new(Cursor::new(Vec::new()));
    let options =
        ::zip::write::SimpleFileOptions::default().compression_method(::zip::CompressionMethod::Stored);
    for name in names {
        writer.start_file(*name, options).unwrap();
        writer.write_all(b"isi").unwrap();
    }
    writer.finish().unwrap().into_inner()
}

fn document(entry: &str) -> Vec<u8> {
    zip(&["[Content_Types].xml", "_rels/.rels", entry])
}

/// An archive whose directory says that its one entry is this large unpacked.
fn bomb(unpacked: u32) -> Vec<u8> {
    let mut archive = zip(&["nol.bin"]);
    let at = archive.windows(4).position(|w| w == b"PK\x01\x02").unwrap() + 24;
    archive[at..at + 4].copy_from_slice(&unpacked.to_le_bytes());
    archive
}

fn compound(streams: &[&str], root: Option<&str>) -> Vec<u8> {
    let mut container = CompoundFile::create(Cursor::new(Vec::new())).unwrap();
    for name in streams {
        let path = std::path::Path::new(name);
        if let Some(parent) = path
            .parent()
            .filter(|parent| *parent != std::path::Path::new("/"))
        {
            container.create_storage_all(parent).unwrap();
        }
        container.create_stream(path).unwrap().write_all(b"isi").unwrap();
    }
    if let Some(class) = root {
        container.set_storage_clsid("/", class.parse().unwrap()).unwrap();
    }
    container.flush().unwrap();
    container.into_inner().into_inner()
}

fn boxed(kind: &[u8; 4], content: &[u8]) -> Vec<u8> {
    let length = u32::try_from(content.len() + 8).unwrap().to_be_bytes();
    [&length[..], kind, content].concat()
}

/// A film or sound; its tracks stand at the end, behind what they describe.
fn film(brand: &[u8; 4], tracks: &[&[u8; 4]]) -> Vec<u8> {
    let track = |handler: &&[u8; 4]| {
        let handler = boxed(b"hdlr", &[&[0; 8][..], &handler[..], &[0; 13]].concat());
        boxed(
            b"trak",
            &boxed(b"mdia", &[boxed(b"mdhd", &[0; 24]), handler].concat()),
        )
    };
    let moov = [
        boxed(b"mvhd", &[0; 100]),
        tracks.iter().map(track).collect::<Vec<_>>().concat(),
    ]
    .concat();
    [
        boxed(b"ftyp", &[&brand[..], &[0; 4], b"isomiso2"].concat()),
        boxed(b"mdat", &[0x11; 70_000]),
        boxed(b"moov", &moov),
    ]
    .concat()
}

fn joined(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}

/// Writers that do not know a size in advance put it behind the entry, and into the directory.
#[test]
fn an_archive_that_was_written_as_it_came_is_no_bomb() {
    let mut archive = document("xl/workbook.xml");
    for signature in [&b"PK\x01\x02"[..], b"PK\x03\x04"] {
        let flags = if signature[2] == 1 { 8 } else { 6 };
        let places: Vec<usize> = (0..archive.len() - 4)
            .filter(|at| archive[*at..].starts_with(signature))
            .collect();
        for at in places {
            archive[at + flags] |= 8;
        }
    }
    let found = look_at(&archive, MediaKind::Document, XLSX);
    assert_eq!((found.file_type.mime, found.suspicion), (XLSX, None));
}

/// A list of the table's sectors that leads to itself makes a reader take the table again and again.
#[test]
fn a_container_whose_table_never_ends_is_not_opened() {
    let mut container = compound(&["/WordDocument"], None);
    container[68..72].copy_from_slice(&0_u32.to_le_bytes());
    container[72..76].copy_from_slice(&u32::MAX.to_le_bytes());
    let found = look_at(&container, MediaKind::Document, DOC);
    assert_eq!(found.suspicion, Some(Suspicion::Unreadable));
    let mut container = compound(&["/WordDocument"], None);
    container[44..48].copy_from_slice(&1_000_000_u32.to_le_bytes());
    let found = look_at(&container, MediaKind::Document, DOC);
    assert_eq!(found.suspicion, Some(Suspicion::Unreadable));
}

#[test]
fn no_file_is_too_short_or_too_broken_to_be_looked_at() {
    let whole = [
        jpeg(),
        pdf(),
        ogg(),
        document("word/document.xml"),
        compound(&["/WordDocument"], None),
        film(b"isom", &[b"vide"]),
    ];
    for bytes in whole {
        for cut in (0..bytes.len().min(400)).chain(bytes.len().saturating_sub(200)..bytes.len()) {
            look_at(&bytes[..cut], MediaKind::Document, "");
            let mut broken = bytes.clone();
            broken[cut] ^= 0xff;
            look_at(&broken, MediaKind::Image, "image/jpeg");
        }
    }
}
