//! Codes to scan, as the servers show them: a picture of a text that nobody else was shown.

use qrcode::{Color, EcLevel, QrCode};

/// Pixels of one module's side.
const MODULE: usize = 4;
/// Modules of white around the code.
const QUIET: usize = 4;

/// A new text to pair with: four parts behind a version, as WhatsApp has them.
pub(crate) fn new_text() -> String {
    let part = || hex::encode(rand::random::<[u8; 32]>());
    format!("2@{},{},{},{}", part(), part(), part(), part())
}

/// The picture of a text, as a PNG. Empty for a text that no code holds, which none of ours is.
pub(crate) fn picture(text: &str) -> Vec<u8> {
    let Ok(code) = QrCode::with_error_correction_level(text, EcLevel::M) else {
        return Vec::new();
    };
    let modules = code.to_colors();
    let width = code.width();
    let side = (width + 2 * QUIET) * MODULE;
    let is_dark = |x: usize, y: usize| {
        let (x, y) = ((x / MODULE).wrapping_sub(QUIET), (y / MODULE).wrapping_sub(QUIET));
        x < width && y < width && modules[y * width + x] == Color::Dark
    };
    let mut pixels = Vec::with_capacity(side * side);
    for y in 0..side {
        pixels.extend((0..side).map(|x| if is_dark(x, y) { 0 } else { 255 }));
    }
    let mut bytes = Vec::new();
    let length = u32::try_from(side).unwrap_or(u32::MAX);
    let mut encoder = png::Encoder::new(&mut bytes, length, length);
    encoder.set_color(png::ColorType::Grayscale);
    encoder.set_depth(png::BitDepth::Eight);
    let written = encoder
        .write_header()
        .and_then(|mut writer| writer.write_image_data(&pixels));
    if written.is_err() {
        return Vec::new();
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::{new_text, picture};

    #[test]
    fn every_code_is_a_picture_of_its_own() {
        let (one, two) = (picture(&new_text()), picture(&new_text()));
        assert!(one.starts_with(b"\x89PNG\r\n\x1a\n"));
        assert_ne!(one, two);
    }
}
