//! Base64 that comes in pieces: files travel in it and are never held whole.

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

/// Padding at the end is optional, as senders differ.
const ENGINE: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The text is no base64.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the text is not base64")]
pub struct NotBase64;

/// Decodes text piece by piece, wherever it was cut.
#[derive(Debug, Default)]
pub struct Decoder {
    /// The beginning of a group of four.
    carry: [u8; 4],
    carried: usize,
    /// Padding was seen: nothing may follow.
    ended: bool,
}

impl Decoder {
    /// Decodes the next piece and appends the bytes to `out`.
    ///
    /// # Errors
    /// [`NotBase64`].
    pub fn feed(&mut self, mut text: &[u8], out: &mut Vec<u8>) -> Result<(), NotBase64> {
        while self.carried > 0 && self.carried < 4 {
            let Some((first, rest)) = text.split_first() else {
                return Ok(());
            };
            self.carry[self.carried] = *first;
            self.carried += 1;
            text = rest;
        }
        if self.carried == 4 {
            let group = std::mem::take(&mut self.carry);
            self.carried = 0;
            self.decode(&group, out)?;
        }
        let (whole, rest) = text.split_at(text.len() - text.len() % 4);
        self.decode(whole, out)?;
        self.carry[..rest.len()].copy_from_slice(rest);
        self.carried = rest.len();
        Ok(())
    }

    /// The text has ended.
    ///
    /// # Errors
    /// [`NotBase64`] when it ended in the middle.
    pub fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), NotBase64> {
        let group = std::mem::take(&mut self.carry);
        let carried = std::mem::take(&mut self.carried);
        self.decode(&group[..carried], out)
    }

    fn decode(&mut self, text: &[u8], out: &mut Vec<u8>) -> Result<(), NotBase64> {
        if text.is_empty() {
            return Ok(());
        }
        if self.ended {
            return Err(NotBase64);
        }
        self.ended = text.ends_with(b"=");
        ENGINE.decode_vec(text, out).map_err(|_| NotBase64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(text: &[u8], piece: usize) -> Result<Vec<u8>, NotBase64> {
        let (mut decoder, mut out) = (Decoder::default(), Vec::new());
        for piece in text.chunks(piece) {
            decoder.feed(piece, &mut out)?;
        }
        decoder.finish(&mut out)?;
        Ok(out)
    }

    #[test]
    fn wherever_it_is_cut_the_bytes_are_the_same() {
        let bytes: Vec<u8> = (0..=255).chain(0..100).collect();
        for length in [0, 1, 2, 3, 4, 254, 356] {
            let text = ENGINE.encode(&bytes[..length]);
            for piece in [1, 2, 3, 4, 5, 7, 64, 1000] {
                assert_eq!(decode(text.as_bytes(), piece).unwrap(), bytes[..length]);
                let bare = text.trim_end_matches('=');
                assert_eq!(decode(bare.as_bytes(), piece).unwrap(), bytes[..length]);
            }
        }
    }

    #[test]
    fn what_is_no_base64_is_refused() {
        for wrong in ["Zm9v!", "Zm9vY", "Zg==Zg==", "====", "Zm 9v", "Zg==Z"] {
            for piece in [1, 2, 3, 4, 100] {
                assert_eq!(
                    decode(wrong.as_bytes(), piece),
                    Err(NotBase64),
                    "{wrong} by {piece}"
                );
            }
        }
    }
}
