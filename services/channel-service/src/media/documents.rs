//! The five types that may be uploaded, and how each is recognised. Word documents are containers, and a container is
//! looked into: an archive with another ending is no document.

use super::file_type::{FileType, detect, named};

const DOC: &str = "application/msword";
const DOCX: &str = "application/vnd.openxmlformats-officedocument.wordprocessingml.document";

/// The type of a whole uploaded file. `None`: it may not be uploaded.
#[must_use]
pub fn detect_upload(bytes: &[u8]) -> Option<FileType> {
    if is_doc(bytes) {
        return Some(named(DOC));
    }
    if is_docx(bytes) {
        return Some(named(DOCX));
    }
    let found = detect(bytes);
    matches!(found.mime, "application/pdf" | "image/jpeg" | "image/png").then_some(found)
}

/// An OLE container with a stream of Word's. The directory's names are UTF-16.
fn is_doc(bytes: &[u8]) -> bool {
    const OLE: &[u8] = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1";
    const NAME: &str = "WordDocument";
    let name: Vec<u8> = NAME.encode_utf16().flat_map(u16::to_le_bytes).collect();
    bytes.starts_with(OLE) && bytes.windows(name.len()).any(|window| window == name)
}

/// A zip archive whose directory lists a Word document, and no macros: those are another type.
fn is_docx(bytes: &[u8]) -> bool {
    let Some(names) = zip_names(bytes) else {
        return false;
    };
    let has = |wanted: &str| names.contains(&wanted.as_bytes());
    has("[Content_Types].xml")
        && has("word/document.xml")
        && !names.iter().any(|n| n.ends_with(b"vbaProject.bin"))
}

/// The names in a zip archive's directory, which stands at its end.
fn zip_names(bytes: &[u8]) -> Option<Vec<&[u8]>> {
    const END: &[u8] = b"PK\x05\x06";
    const ENTRY: &[u8] = b"PK\x01\x02";
    const END_SIZE: usize = 22;
    const ENTRY_SIZE: usize = 46;
    if !bytes.starts_with(b"PK\x03\x04") {
        return None;
    }
    let word = |at: usize| -> Option<usize> {
        Some(usize::from(u16::from_le_bytes(
            bytes.get(at..at + 2)?.try_into().ok()?,
        )))
    };
    let double = |at: usize| -> Option<usize> {
        usize::try_from(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?)).ok()
    };
    // Behind it there may only be a comment, of at most 64 KiB.
    let last = bytes.len().checked_sub(END_SIZE)?;
    let end = (last.saturating_sub(usize::from(u16::MAX))..=last)
        .rev()
        .find(|at| bytes[*at..].starts_with(END))?;
    let count = word(end + 10)?;
    let mut at = double(end + 16)?;
    let mut names = Vec::new();
    for _ in 0..count {
        if !bytes.get(at..)?.starts_with(ENTRY) {
            return None;
        }
        let (name, extra, comment) = (word(at + 28)?, word(at + 30)?, word(at + 32)?);
        names.push(bytes.get(at + ENTRY_SIZE..at + ENTRY_SIZE + name)?);
        at += ENTRY_SIZE + name + extra + comment;
    }
    Some(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An archive of empty files.
    fn zip(names: &[&str]) -> Vec<u8> {
        let (mut archive, mut directory) = (Vec::new(), Vec::new());
        for name in names {
            let offset = u32::try_from(archive.len()).unwrap().to_le_bytes();
            let length = u16::try_from(name.len()).unwrap().to_le_bytes();
            archive.extend_from_slice(b"PK\x03\x04");
            archive.extend_from_slice(&[0; 22]);
            archive.extend_from_slice(&length);
            archive.extend_from_slice(&[0; 2]);
            archive.extend_from_slice(name.as_bytes());
            directory.extend_from_slice(b"PK\x01\x02");
            directory.extend_from_slice(&[0; 24]);
            directory.extend_from_slice(&length);
            directory.extend_from_slice(&[0; 12]);
            directory.extend_from_slice(&offset);
            directory.extend_from_slice(name.as_bytes());
        }
        let start = u32::try_from(archive.len()).unwrap().to_le_bytes();
        let count = u16::try_from(names.len()).unwrap().to_le_bytes();
        archive.extend_from_slice(&directory);
        archive.extend_from_slice(b"PK\x05\x06\0\0\0\0");
        archive.extend_from_slice(&count);
        archive.extend_from_slice(&count);
        archive.extend_from_slice(&u32::try_from(directory.len()).unwrap().to_le_bytes());
        archive.extend_from_slice(&start);
        archive.extend_from_slice(&[0; 2]);
        archive
    }

    #[test]
    fn word_documents_are_looked_into() {
        let docx = zip(&["[Content_Types].xml", "_rels/.rels", "word/document.xml"]);
        assert_eq!(detect_upload(&docx).unwrap().extension, "docx");
        let mut doc = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1".to_vec();
        doc.extend_from_slice(&[0; 600]);
        assert_eq!(detect_upload(&doc), None, "some other OLE container");
        doc.extend("WordDocument".encode_utf16().flat_map(u16::to_le_bytes));
        assert_eq!(detect_upload(&doc).unwrap().extension, "doc");
    }

    #[test]
    fn other_archives_and_broken_ones_are_no_documents() {
        for names in [
            &["a.txt"][..],
            &["[Content_Types].xml", "xl/workbook.xml"],
            &["word/document.xml"],
            &["[Content_Types].xml", "word/document.xml", "word/vbaProject.bin"],
        ] {
            assert_eq!(detect_upload(&zip(names)), None, "{names:?}");
        }
        let docx = zip(&["[Content_Types].xml", "word/document.xml"]);
        for cut in 0..docx.len() {
            assert_eq!(detect_upload(&docx[..cut]), None);
        }
    }
}
