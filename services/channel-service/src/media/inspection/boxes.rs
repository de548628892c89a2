//! Films and sounds in boxes (ISO base media): the brand says which family, the tracks say whether there is a picture.

use std::io::{self, Read, Seek};

use super::{Content, read};
use crate::media::file_type::named;

/// Most boxes that are looked at on one level.
const MOST_BOXES: usize = 4_096;
/// Largest list of brands.
const MOST_BRANDS: usize = 1_024;

#[derive(Debug, Clone, Copy, Default)]
struct Tracks {
    sound: bool,
    picture: bool,
}

/// One box: what it is, and where its content begins and ends.
struct Boxed {
    kind: [u8; 4],
    start: u64,
    end: u64,
}

/// `None`: the file is not made of boxes.
pub(super) fn look(file: &mut (impl Read + Seek), size: u64, head: &[u8]) -> io::Result<Option<Content>> {
    if head.get(4..8) != Some(b"ftyp") {
        return Ok(None);
    }
    let Some(brands) = brands(head) else {
        return Ok(Some(Content::Unknown));
    };
    let is = |wanted: &[&[u8]]| {
        brands
            .iter()
            .any(|brand| wanted.iter().any(|begin| brand.starts_with(begin)))
    };
    let main = &brands[..1];
    let main_is = |wanted: &[&[u8]]| {
        main.iter()
            .any(|brand| wanted.iter().any(|begin| brand.starts_with(begin)))
    };
    let content = if main_is(&[b"3g2"]) {
        Content::Unknown
    } else if main_is(&[b"qt  "]) {
        Content::Known(named("video/quicktime"))
    } else if is(&[b"avif", b"avis"]) {
        Content::Known(named("image/avif"))
    } else if main_is(&[b"heic", b"heix", b"hevc", b"mif1", b"msf1"]) {
        Content::Known(named("image/heif"))
    } else {
        let tracks = tracks(file, size)?;
        match (tracks.picture, tracks.sound) {
            (true, _) if main_is(&[b"3gp", b"3ge", b"3gg", b"3gr", b"3gs"]) => {
                Content::Known(named("video/3gpp"))
            }
            (true, _) => Content::Known(named("video/mp4")),
            (false, true) => Content::Known(named("audio/mp4")),
            (false, false) if main_is(&[b"M4A ", b"M4B "]) => Content::Known(named("audio/mp4")),
            (false, false) if main_is(&[b"3g"]) => Content::Known(named("video/3gpp")),
            (false, false) => Content::SoundOrFilm,
        }
    };
    Ok(Some(content))
}

/// The main brand and those it is compatible with.
fn brands(head: &[u8]) -> Option<Vec<[u8; 4]>> {
    let length = usize::try_from(u32::from_be_bytes(head.get(..4)?.try_into().ok()?)).ok()?;
    let names = head.get(8..length.min(MOST_BRANDS).min(head.len()))?;
    let mut brands: Vec<[u8; 4]> = names
        .chunks_exact(4)
        .filter_map(|name| name.try_into().ok())
        .collect();
    // Between them stands a version.
    if brands.len() > 1 {
        brands.remove(1);
    }
    (!brands.is_empty()).then_some(brands)
}

fn tracks(file: &mut (impl Read + Seek), size: u64) -> io::Result<Tracks> {
    let mut tracks = Tracks::default();
    for film in children(file, 0, size, *b"moov")? {
        for track in children(file, film.start, film.end, *b"trak")? {
            for media in children(file, track.start, track.end, *b"mdia")? {
                for handler in children(file, media.start, media.end, *b"hdlr")? {
                    // A version and a zero stand before the handler's kind.
                    match read(file, handler.start + 8, 4)?.as_slice() {
                        b"soun" => tracks.sound = true,
                        b"vide" => tracks.picture = true,
                        _ => {}
                    }
                }
            }
        }
    }
    Ok(tracks)
}

/// The boxes of one kind between two places. What cannot be a box ends the search.
fn children(file: &mut (impl Read + Seek), from: u64, to: u64, wanted: [u8; 4]) -> io::Result<Vec<Boxed>> {
    let (mut at, mut found) = (from, Vec::new());
    for _ in 0..MOST_BOXES {
        let header = read(file, at, 16)?;
        let Some(next) = boxed(&header, at, to) else { break };
        at = next.end;
        if next.kind == wanted {
            found.push(next);
        }
    }
    Ok(found)
}

fn boxed(header: &[u8], at: u64, to: u64) -> Option<Boxed> {
    let short = u64::from(u32::from_be_bytes(header.get(..4)?.try_into().ok()?));
    let kind = header.get(4..8)?.try_into().ok()?;
    let (begin, length) = match short {
        0 => (8, to.checked_sub(at)?),
        1 => (16, u64::from_be_bytes(header.get(8..16)?.try_into().ok()?)),
        length => (8, length),
    };
    let end = at.checked_add(length)?;
    (length >= begin && end <= to).then_some(Boxed {
        kind,
        start: at + begin,
        end,
    })
}
