//! Words for what messages are and where they stand.

use console::Language;

/// What sort of message it is.
pub(crate) fn kind(l: Language, kind: &str) -> String {
    let words = match kind {
        "text" => l.t("Text", "Teks"),
        "image" => l.t("Picture", "Gambar"),
        "video" => l.t("Video", "Video"),
        "audio" => l.t("Audio", "Audio"),
        "voice" | "ptt" => l.t("Voice note", "Pesan suara"),
        "document" => l.t("Document", "Dokumen"),
        "sticker" => l.t("Sticker", "Stiker"),
        "location" => l.t("Location", "Lokasi"),
        "contact" => l.t("Contact", "Kontak"),
        "reaction" => l.t("Reaction", "Reaksi"),
        "poll" => l.t("Poll", "Jajak pendapat"),
        "poll_vote" => l.t("Vote", "Suara jajak pendapat"),
        "edit" => l.t("Edit", "Suntingan"),
        "revoke" => l.t("Deletion", "Penghapusan"),
        "template" => l.t("Template", "Template"),
        "interactive" => l.t("Interactive", "Interaktif"),
        "interactive_reply" => l.t("Reply to a choice", "Balasan pilihan"),
        "unsupported" => l.t("Unsupported", "Tidak didukung"),
        other => return other.replace('_', " "),
    };
    words.to_owned()
}

/// Where a message stands: how that is meant, and the words.
pub(crate) fn status(l: Language, status: &str) -> (&'static str, String) {
    let (tone, words) = match status {
        "queued" => ("idle", l.t("Queued", "Antre")),
        "sent" => ("ok", l.t("Sent", "Terkirim")),
        "delivered" => ("ok", l.t("Delivered", "Sampai")),
        "read" => ("ok", l.t("Read", "Dibaca")),
        "played" => ("ok", l.t("Played", "Diputar")),
        "failed" => ("bad", l.t("Failed", "Gagal")),
        "parked" => ("warn", l.t("Put aside", "Disisihkan")),
        "unknown" => ("warn", l.t("Outcome unknown", "Hasil tidak diketahui")),
        other => return ("idle", other.replace('_', " ")),
    };
    (tone, words.to_owned())
}
