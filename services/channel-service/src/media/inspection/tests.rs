//! Good files of every type that people send, and a corpus of hostile ones.

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

#[test]
fn what_people_send_is_handed_out_as_what_it_is() {
    use MediaKind::{Audio, Document, Image, Sticker, Video, Voice};
    let good: Vec<(&str, Vec<u8>, MediaKind, &str, &str)> = vec![
        ("a photo", jpeg(), Image, "image/jpeg", "image/jpeg"),
        (
            "a PNG that a phone calls JPEG",
            png(),
            Image,
            "image/jpeg",
            "image/png",
        ),
        ("a sticker", webp(), Sticker, "image/webp", "image/webp"),
        (
            "a moving sticker",
            zip(&["animation/animation.json"]),
            Sticker,
            "application/was",
            "application/zip",
        ),
        (
            "a photo sent as a file",
            jpeg(),
            Document,
            "image/jpeg",
            "image/jpeg",
        ),
        (
            "a voice note",
            ogg(),
            Voice,
            "audio/ogg; codecs=opus",
            "audio/ogg",
        ),
        (
            "a film",
            film(b"isom", &[b"vide", b"soun"]),
            Video,
            "video/mp4",
            "video/mp4",
        ),
        (
            "a film of a phone",
            film(b"3gp4", &[b"vide"]),
            Video,
            "video/3gpp",
            "video/3gpp",
        ),
        (
            "a film of an iPhone",
            film(b"qt  ", &[b"vide"]),
            Video,
            "video/mp4",
            "video/quicktime",
        ),
        (
            "a recording of Android",
            film(b"mp42", &[b"soun"]),
            Audio,
            "audio/mp4",
            "audio/mp4",
        ),
        (
            "a recording with its own brand",
            film(b"M4A ", &[]),
            Audio,
            "audio/mp4",
            "audio/mp4",
        ),
        (
            "a film whose tracks cannot be read",
            film(b"isom", &[]),
            Video,
            "video/mp4",
            "video/mp4",
        ),
        (
            "an MP3",
            padded(b"\xff\xfb\x90\x64"),
            Audio,
            "audio/mpeg",
            "audio/mpeg",
        ),
        (
            "an MP3 with a tag",
            padded(b"ID3\x04\0\0\0\0\0\x04TAGS\xff\xfb\x90\x64"),
            Audio,
            "audio/mpeg",
            "audio/mpeg",
        ),
        (
            "an AAC",
            padded(b"\xff\xf1\x50\x80"),
            Audio,
            "audio/aac",
            "audio/aac",
        ),
        (
            "an AAC with a tag",
            padded(b"ID3\x04\0\0\0\0\0\x04TAGS\xff\xf1\x50\x80"),
            Audio,
            "audio/aac",
            "audio/aac",
        ),
        ("an AMR", padded(b"#!AMR\n\x3c"), Voice, "audio/amr", "audio/amr"),
        ("a PDF", pdf(), Document, "application/pdf", "application/pdf"),
        (
            "a PDF behind a mark",
            joined(&[b"\xef\xbb\xbf", &pdf()]),
            Document,
            "application/pdf",
            "application/pdf",
        ),
        (
            "a Word document",
            document("word/document.xml"),
            Document,
            DOCX,
            DOCX,
        ),
        (
            "an Excel document",
            document("xl/workbook.xml"),
            Document,
            XLSX,
            XLSX,
        ),
        (
            "a PowerPoint document",
            document("ppt/presentation.xml"),
            Document,
            PPTX,
            PPTX,
        ),
        (
            "an old Word document",
            compound(&["/WordDocument"], None),
            Document,
            DOC,
            DOC,
        ),
        (
            "an old Excel document",
            compound(&["/Workbook"], None),
            Document,
            "application/vnd.ms-excel",
            "application/vnd.ms-excel",
        ),
        (
            "a locked document",
            compound(&["/EncryptedPackage", "/EncryptionInfo"], None),
            Document,
            DOCX,
            DOCX,
        ),
        (
            "an archive",
            zip(&["surat.txt"]),
            Document,
            "application/zip",
            "application/zip",
        ),
        (
            "a book",
            zip(&["mimetype", "META-INF/container.xml"]),
            Document,
            "application/epub+zip",
            "application/epub+zip",
        ),
        (
            "an open document",
            zip(&["mimetype", "content.xml"]),
            Document,
            "application/vnd.oasis.opendocument.text",
            "application/zip",
        ),
        (
            "a text",
            b"Kepada Yth. Kepala Desa\r\n".to_vec(),
            Document,
            "text/plain",
            "text/plain",
        ),
        (
            "a table",
            b"nama;alamat\nBudi;Dusun 1\n".to_vec(),
            Document,
            "text/csv",
            "text/csv",
        ),
        (
            "a table in an old character set",
            b"nama;alamat\nAndr\xe9;Dusun 1\n".to_vec(),
            Document,
            "text/csv",
            "text/csv",
        ),
        (
            "something of one's own",
            padded(b"\x01\x02\x03\x04"),
            Document,
            "application/x-own",
            "application/octet-stream",
        ),
        (
            "something nobody named",
            padded(b"\x01\x02\x03\x04"),
            Document,
            "",
            "application/octet-stream",
        ),
    ];
    for (what, bytes, kind, declared, mime) in good {
        let found = look_at(&bytes, kind, declared);
        assert_eq!((found.file_type.mime, found.suspicion), (mime, None), "{what}");
    }
}

#[test]
fn hostile_files_are_not_handed_out() {
    use MediaKind::{Audio, Document, Image, Sticker, Video, Voice};
    use Suspicion::{ArchiveBomb, Executable, Macros, Polyglot, Script, TypeMismatch, Unreadable};
    let any = "application/octet-stream";
    let archive = zip(&["a.txt"]);
    let hostile: Vec<(&str, Vec<u8>, MediaKind, &str, Suspicion)> = vec![
        // Programs under every flag.
        (
            "a Windows program",
            padded(b"MZ\x90\0\x03"),
            Document,
            any,
            Executable,
        ),
        (
            "one called a PDF",
            padded(b"MZ\x90\0\x03"),
            Document,
            "application/pdf",
            Executable,
        ),
        (
            "one called a photo",
            padded(b"MZ\x90\0\x03"),
            Image,
            "image/jpeg",
            Executable,
        ),
        (
            "one called a text",
            b"MZ ini hanya teks".to_vec(),
            Document,
            "text/plain",
            Executable,
        ),
        (
            "a Linux program",
            padded(b"\x7fELF\x02\x01\x01"),
            Document,
            any,
            Executable,
        ),
        (
            "a Linux program called a film",
            padded(b"\x7fELF\x02\x01\x01"),
            Video,
            "video/mp4",
            Executable,
        ),
        (
            "a Mac program",
            padded(b"\xcf\xfa\xed\xfe\x07"),
            Document,
            any,
            Executable,
        ),
        (
            "an older Mac program",
            padded(b"\xfe\xed\xfa\xce\0"),
            Document,
            any,
            Executable,
        ),
        (
            "a Java class",
            padded(b"\xca\xfe\xba\xbe\0\0\0\x34"),
            Document,
            any,
            Executable,
        ),
        ("Android code", padded(b"dex\n035\0"), Document, any, Executable),
        (
            "WebAssembly",
            padded(b"\0asm\x01\0\0\0"),
            Document,
            any,
            Executable,
        ),
        ("Flash", padded(b"CWS\x0a"), Document, any, Executable),
        (
            "a Windows shortcut",
            padded(b"\x4c\0\0\0\x01\x14\x02\0"),
            Document,
            any,
            Executable,
        ),
        ("a cabinet", padded(b"MSCF\0\0\0\0"), Document, any, Executable),
        (
            "compiled help",
            padded(b"ITSF\x03\0\0\0"),
            Document,
            any,
            Executable,
        ),
        (
            "a Debian package",
            padded(b"!<arch>\ndebian-binary"),
            Document,
            any,
            Executable,
        ),
        (
            "an RPM package",
            padded(b"\xed\xab\xee\xdb\x03"),
            Document,
            any,
            Executable,
        ),
        (
            "an Android package",
            zip(&["AndroidManifest.xml", "classes.dex"]),
            Document,
            "application/vnd.android.package-archive",
            Executable,
        ),
        (
            "an Android package called an archive",
            zip(&["AndroidManifest.xml"]),
            Document,
            "application/zip",
            Executable,
        ),
        (
            "a Java archive",
            zip(&["META-INF/MANIFEST.MF", "Main.class"]),
            Document,
            "application/java-archive",
            Executable,
        ),
        (
            "a Windows installer",
            compound(&["/Tabel"], Some("000c1084-0000-0000-c000-000000000046")),
            Document,
            any,
            Executable,
        ),
        // Pages and scripts.
        (
            "a page",
            b"<!DOCTYPE html><p>Halo".to_vec(),
            Document,
            "text/html",
            Script,
        ),
        (
            "a page called a text",
            b"<html><body>Halo".to_vec(),
            Document,
            "text/plain",
            Script,
        ),
        (
            "a page called a table",
            b"<HTML><table>".to_vec(),
            Document,
            "application/vnd.ms-excel",
            Script,
        ),
        (
            "a page called a photo",
            b"<html><script>".to_vec(),
            Image,
            "image/jpeg",
            Script,
        ),
        (
            "a page behind blanks",
            b" \r\n\t<script>alert(1)</script>".to_vec(),
            Document,
            "text/plain",
            Script,
        ),
        (
            "a page behind a mark",
            b"\xef\xbb\xbf<html>".to_vec(),
            Document,
            "text/plain",
            Script,
        ),
        (
            "a page behind a remark",
            b"<!-- x --><script>".to_vec(),
            Document,
            "text/plain",
            Script,
        ),
        (
            "a drawing",
            b"<svg xmlns=\"http://www.w3.org/2000/svg\" onload=\"alert(1)\"/>".to_vec(),
            Image,
            "image/svg+xml",
            Script,
        ),
        (
            "a drawing with a head",
            b"<?xml version=\"1.0\"?><svg/>".to_vec(),
            Document,
            any,
            Script,
        ),
        (
            "a mail with a page",
            b"MIME-Version: 1.0\r\nContent-Type: multipart/related".to_vec(),
            Document,
            any,
            Script,
        ),
        (
            "PHP",
            b"<?php system($_GET[0]);".to_vec(),
            Document,
            "text/plain",
            Script,
        ),
        (
            "ASP",
            b"<% eval request(0) %>".to_vec(),
            Document,
            "text/plain",
            Script,
        ),
        (
            "a shell script",
            b"#!/bin/sh\nrm -rf /\n".to_vec(),
            Document,
            "text/plain",
            Script,
        ),
        (
            "a batch file",
            b"@ECHO off\r\ndel *.*\r\n".to_vec(),
            Document,
            "text/plain",
            Script,
        ),
        (
            "a script host's job",
            b"<job><script language=\"VBScript\">".to_vec(),
            Document,
            any,
            Script,
        ),
        (
            "an HTML application",
            b"<hta:application>".to_vec(),
            Document,
            any,
            Script,
        ),
        (
            "changes of the registry",
            b"Windows Registry Editor Version 5.00\r\n".to_vec(),
            Document,
            "text/plain",
            Script,
        ),
        (
            "a link",
            b"[InternetShortcut]\r\nURL=file://x\r\n".to_vec(),
            Document,
            "text/plain",
            Script,
        ),
        (
            "a Linux shortcut",
            b"[Desktop Entry]\nExec=sh\n".to_vec(),
            Document,
            "text/plain",
            Script,
        ),
        (
            "an autostart",
            b"[autorun]\r\nopen=a.exe\r\n".to_vec(),
            Document,
            "text/plain",
            Script,
        ),
        // Documents with programs.
        (
            "a Word document with macros",
            zip(&["[Content_Types].xml", "word/document.xml", "word/vbaProject.bin"]),
            Document,
            DOCX,
            Macros,
        ),
        (
            "an Excel document with macros",
            zip(&["[Content_Types].xml", "xl/workbook.xml", "xl/vbaProject.bin"]),
            Document,
            XLSX,
            Macros,
        ),
        (
            "an old Word document with macros",
            compound(&["/WordDocument", "/Macros/VBA/dir"], None),
            Document,
            DOC,
            Macros,
        ),
        (
            "an old Excel document with macros",
            compound(&["/Workbook", "/_VBA_PROJECT_CUR/VBA/dir"], None),
            Document,
            any,
            Macros,
        ),
        // Two files in one.
        (
            "a photo and an archive",
            joined(&[&jpeg(), &archive]),
            Image,
            "image/jpeg",
            Polyglot,
        ),
        (
            "a PNG and an Android package",
            joined(&[&png(), &zip(&["AndroidManifest.xml"])]),
            Image,
            "image/png",
            Polyglot,
        ),
        (
            "a PDF and an archive",
            joined(&[&pdf(), &archive]),
            Document,
            "application/pdf",
            Polyglot,
        ),
        (
            "a film and an archive",
            joined(&[&film(b"isom", &[b"vide"]), &archive]),
            Video,
            "video/mp4",
            Polyglot,
        ),
        (
            "a sound and an archive",
            joined(&[&ogg(), &archive]),
            Voice,
            "audio/ogg",
            Polyglot,
        ),
        (
            "a photo and a RAR archive",
            joined(&[&jpeg(), b"Rar!\x1a\x07\x01\0"]),
            Image,
            "image/jpeg",
            Polyglot,
        ),
        (
            "a photo with a page",
            joined(&[b"\xff\xd8\xff\xfe\0\x20<script>alert(1)</script>", &[0x11; 500]]),
            Image,
            "image/jpeg",
            Polyglot,
        ),
        (
            "a photo with a page at its end",
            joined(&[&jpeg(), b"<HTML><body onload=x>"]),
            Image,
            "image/jpeg",
            Polyglot,
        ),
        (
            "a GIF with PHP",
            joined(&[b"GIF89a\x01\0\x01\0", b"<?php eval(1);", &[0x11; 500]]),
            Image,
            "image/gif",
            Polyglot,
        ),
        (
            "a GIF that is a script",
            joined(&[
                b"GIF89a/*\x11\x11*/=1;location='javascript:alert(1)'",
                &[0x11; 500],
            ]),
            Image,
            "image/gif",
            Polyglot,
        ),
        (
            "a photo that is a PDF",
            joined(&[b"\xff\xd8\xff\xe0\0\x10JFIF\0\x01", &pdf()]),
            Image,
            "image/jpeg",
            Polyglot,
        ),
        (
            "an archive behind something",
            joined(&[b"PK\x03\x04\0\0\0\0 awalan", &archive]),
            Document,
            "application/zip",
            Polyglot,
        ),
        // Not what was announced.
        (
            "a text called a photo",
            b"halo".to_vec(),
            Image,
            "image/jpeg",
            TypeMismatch,
        ),
        (
            "nothing known, called a photo",
            padded(b"\x01\x02\x03"),
            Image,
            "image/jpeg",
            TypeMismatch,
        ),
        (
            "a photo cut to two bytes",
            b"\xff\xd8".to_vec(),
            Image,
            "image/jpeg",
            TypeMismatch,
        ),
        ("a PDF called a photo", pdf(), Image, "image/png", TypeMismatch),
        (
            "a photo called a PDF",
            jpeg(),
            Document,
            "application/pdf",
            TypeMismatch,
        ),
        (
            "an archive called a Word document",
            archive.clone(),
            Document,
            DOCX,
            TypeMismatch,
        ),
        (
            "an Excel document called a Word document",
            document("xl/workbook.xml"),
            Document,
            DOCX,
            TypeMismatch,
        ),
        (
            "an archive called a photo",
            archive.clone(),
            Image,
            "image/jpeg",
            TypeMismatch,
        ),
        (
            "a mail of Outlook's called a Word document",
            compound(&["/__properties"], None),
            Document,
            DOC,
            TypeMismatch,
        ),
        (
            "a film called a photo",
            film(b"isom", &[b"vide"]),
            Image,
            "image/jpeg",
            TypeMismatch,
        ),
        (
            "a film called a sound",
            film(b"isom", &[b"vide", b"soun"]),
            Audio,
            "audio/mp4",
            TypeMismatch,
        ),
        (
            "a sound called a film",
            film(b"isom", &[b"soun"]),
            Video,
            "video/mp4",
            TypeMismatch,
        ),
        (
            "a film of another family",
            film(b"3g2a", &[b"vide"]),
            Video,
            "video/3gpp",
            TypeMismatch,
        ),
        (
            "a voice note called a photo",
            ogg(),
            Image,
            "image/jpeg",
            TypeMismatch,
        ),
        (
            "a photo called a voice note",
            jpeg(),
            Voice,
            "audio/ogg",
            TypeMismatch,
        ),
        (
            "a PDF called a sticker",
            pdf(),
            Sticker,
            "image/webp",
            TypeMismatch,
        ),
        (
            "nothing readable, called a text",
            padded(b"halo\0\x01"),
            Document,
            "text/plain",
            TypeMismatch,
        ),
        // Archives to choke on.
        (
            "an archive of four gigabytes of nothing",
            bomb(u32::MAX - 1),
            Document,
            "application/zip",
            ArchiveBomb,
        ),
        (
            "an archive that grows a thousandfold",
            bomb(100 * 1024 * 1024),
            Document,
            "application/zip",
            ArchiveBomb,
        ),
        (
            "an archive cut short",
            archive[..archive.len() - 5].to_vec(),
            Document,
            "application/zip",
            Unreadable,
        ),
        (
            "the head of an archive",
            padded(b"PK\x03\x04\x14\0"),
            Document,
            DOCX,
            Unreadable,
        ),
        (
            "an empty archive",
            joined(&[b"PK\x05\x06", &[0; 18]]),
            Document,
            "application/zip",
            Unreadable,
        ),
        (
            "one piece of an archive",
            padded(b"PK\x07\x08PK\x03\x04"),
            Document,
            "application/zip",
            Unreadable,
        ),
        (
            "the head of an old document",
            padded(compound::MAGIC),
            Document,
            DOC,
            Unreadable,
        ),
    ];
    assert!(hostile.len() >= 60, "{}", hostile.len());
    for (what, bytes, kind, declared, suspicion) in hostile {
        let found = look_at(&bytes, kind, declared);
        assert_eq!(found.suspicion, Some(suspicion), "{what}");
    }
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
