//! The code to scan, drawn for the page.
//!
//! Providers hand a small PNG. Its text is read and drawn anew as SVG: sharp at every size, with the white border that cameras
//! need, and nothing of the provider's in the page. What cannot be read is shown as it came, if it is a picture at all.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use qrcode::render::svg;
use qrcode::{EcLevel, QrCode};

/// What is before the bytes of the picture.
const DATA_URL: &str = "data:image/png;base64,";
/// Most bytes of a picture that is looked at.
const MOST_BYTES: usize = 256 * 1024;
/// Most pixels of its side.
const MOST_PIXELS: u32 = 1_024;
/// How large the drawing says it is, in CSS pixels. The page's style decides.
const SIDE: u32 = 264;

/// A code, ready for the page. No `Debug`: whoever scans it has the device.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum CodePicture {
    /// An SVG element. Holds numbers and fixed words only.
    Svg(String),
    /// A data URL of a PNG.
    Png(String),
}

impl CodePicture {
    /// Draws a provider's code. `None`: it is no picture.
    pub(super) fn of(code: &str) -> Option<Self> {
        let encoded = code.strip_prefix(DATA_URL)?;
        if encoded.len() > MOST_BYTES {
            return None;
        }
        let bytes = STANDARD.decode(encoded).ok()?;
        if let Some(svg) = read(&bytes).and_then(|text| draw(&text)) {
            return Some(Self::Svg(svg));
        }
        bytes
            .starts_with(b"\x89PNG\r\n\x1a\n")
            // Written anew, so that the attribute holds what was decoded and nothing else.
            .then(|| Self::Png(format!("{DATA_URL}{}", STANDARD.encode(&bytes))))
    }
}

/// The text of the code in a PNG.
fn read(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut decoder =
        png::Decoder::new_with_limits(std::io::Cursor::new(bytes), png::Limits { bytes: 8 << 20 });
    decoder.set_transformations(png::Transformations::normalize_to_color8());
    let mut reader = decoder.read_info().ok()?;
    let (width, height) = (reader.info().width, reader.info().height);
    if width > MOST_PIXELS || height > MOST_PIXELS {
        return None;
    }
    let mut pixels = vec![0; reader.output_buffer_size()?];
    let frame = reader.next_frame(&mut pixels).ok()?;
    let (samples, line) = (frame.color_type.samples(), frame.line_size);
    let (width, height) = (usize::try_from(width).ok()?, usize::try_from(height).ok()?);
    let has_alpha = matches!(
        frame.color_type,
        png::ColorType::GrayscaleAlpha | png::ColorType::Rgba
    );
    let mut image = rqrr::PreparedImage::prepare_from_greyscale(width, height, |x, y| {
        let at = y * line + x * samples;
        let pixel = pixels.get(at..at + samples).unwrap_or_default();
        // What is not there is white paper.
        if has_alpha && pixel.last().is_none_or(|alpha| *alpha < 128) {
            return u8::MAX;
        }
        pixel.first().copied().unwrap_or(u8::MAX)
    });
    let grids = image.detect_grids();
    let [grid] = grids.as_slice() else {
        return None;
    };
    let mut text = Vec::new();
    grid.decode_to(&mut text).ok()?;
    Some(text)
}

fn draw(text: &[u8]) -> Option<String> {
    let code = QrCode::with_error_correction_level(text, EcLevel::M).ok()?;
    let drawn = code
        .render::<svg::Color<'_>>()
        .min_dimensions(SIDE, SIDE)
        .dark_color(svg::Color("#000"))
        .light_color(svg::Color("#fff"))
        .build();
    // Its declaration is for a file of its own.
    let begin = drawn.find("<svg")?;
    Some(drawn[begin..].to_owned())
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use qrcode::{Color, QrCode};

    use super::{CodePicture, DATA_URL, read};

    /// A picture as providers make it: few pixels a module, a border.
    fn picture(text: &str, kind: png::ColorType) -> Vec<u8> {
        let code = QrCode::new(text).unwrap();
        let (modules, width, scale, quiet) = (code.to_colors(), code.width(), 3, 4);
        let side = (width + 2 * quiet) * scale;
        let mut pixels = Vec::new();
        for y in 0..side {
            for x in 0..side {
                let (x, y) = ((x / scale).wrapping_sub(quiet), (y / scale).wrapping_sub(quiet));
                let dark = x < width && y < width && modules[y * width + x] == Color::Dark;
                let value = if dark { 0 } else { 255 };
                match kind {
                    png::ColorType::Rgba => pixels.extend([value, value, value, 255]),
                    _ => pixels.push(value),
                }
            }
        }
        let mut bytes = Vec::new();
        let length = u32::try_from(side).unwrap();
        let mut encoder = png::Encoder::new(&mut bytes, length, length);
        encoder.set_color(kind);
        encoder.set_depth(png::BitDepth::Eight);
        let mut writer = encoder.write_header().unwrap();
        writer.write_image_data(&pixels).unwrap();
        writer.finish().unwrap();
        bytes
    }

    fn as_url(bytes: &[u8]) -> String {
        format!("{DATA_URL}{}", STANDARD.encode(bytes))
    }

    #[test]
    fn a_code_is_read_and_drawn_anew() {
        let text = format!("2@{},Ab/+={}", "x".repeat(120), "y".repeat(90));
        for kind in [png::ColorType::Grayscale, png::ColorType::Rgba] {
            let bytes = picture(&text, kind);
            assert_eq!(read(&bytes).as_deref(), Some(text.as_bytes()));
            let Some(CodePicture::Svg(svg)) = CodePicture::of(&as_url(&bytes)) else {
                panic!("not drawn");
            };
            assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"));
            assert!(!svg.contains("style=") && !svg.contains(&text));
            assert!(svg.len() < 60_000, "{}", svg.len());
        }
    }

    #[test]
    fn what_is_no_code_is_shown_as_it_came_and_what_is_no_picture_not_at_all() {
        let blank =
            "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNoAAAAggCBd81ytgAAAABJRU5ErkJggg==";
        let blank = format!("{DATA_URL}{blank}");
        assert!(matches!(CodePicture::of(&blank), Some(CodePicture::Png(url)) if url == blank));
        for wrong in [
            "",
            "dry-run-qr-not-available",
            "https://tempat.lain/kode.png",
            "data:image/png;base64,PHNjcmlwdD4=",
            "data:image/png;base64,\"><script>",
            "data:image/svg+xml;base64,PHN2Zz4=",
        ] {
            assert!(CodePicture::of(wrong).is_none(), "{wrong}");
        }
        let long = format!("{DATA_URL}{}", "A".repeat(super::MOST_BYTES + 1));
        assert!(CodePicture::of(&long).is_none());
    }
}
