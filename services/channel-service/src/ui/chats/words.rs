//! Stable codes in words: where a message stands and why, and why a file is not there.

use console::Language;
use domain::delivery::DeliveryStatus;
use domain::message::MessageSource;

use crate::ui::reasons;

/// Where a message of ours stands: how it is meant, and a word.
pub(super) const fn standing(l: Language, status: DeliveryStatus) -> (&'static str, &'static str) {
    match status {
        DeliveryStatus::Queued => ("idle", l.t("Waiting to be sent", "Menunggu dikirim")),
        DeliveryStatus::Sent => ("ok", l.t("Sent", "Terkirim")),
        DeliveryStatus::Delivered => ("ok", l.t("Delivered", "Sampai")),
        DeliveryStatus::Read => ("ok", l.t("Read", "Dibaca")),
        DeliveryStatus::Failed => ("bad", l.t("Not sent", "Gagal terkirim")),
        DeliveryStatus::Parked => ("bad", l.t("Not sent, put aside", "Tidak terkirim, disisihkan")),
        DeliveryStatus::Unknown => ("warn", l.t("Perhaps sent", "Mungkin terkirim")),
    }
}

/// Why a message stands where it does, and what to do about it.
pub(super) fn why(l: Language, reason: &str) -> String {
    let words = reasons::words(l, reason);
    format!("{}. {}", words.what, words.remedy)
}

/// Why a file is not handed out.
pub(super) const fn dangerous(l: Language, reason: &str) -> &'static str {
    match reason.as_bytes() {
        b"executable" => l.t("it is a program", "berkas ini sebuah program"),
        b"script" => l.t("it holds a script", "berkas ini berisi skrip"),
        b"macros" => l.t("the document holds macros", "dokumen ini berisi makro"),
        b"archive_bomb" => l.t(
            "unpacked it would be far too large",
            "jika dibuka ukurannya terlalu besar",
        ),
        b"polyglot" => l.t(
            "it is two kinds of file at once",
            "berkas ini dua jenis sekaligus",
        ),
        b"type_mismatch" => l.t(
            "it is not the kind of file it claims to be",
            "isinya tidak sesuai dengan jenis berkasnya",
        ),
        _ => l.t("its content cannot be checked", "isinya tidak dapat diperiksa"),
    }
}

/// Who wrote a message of ours.
pub(super) const fn author(l: Language, source: MessageSource) -> &'static str {
    match source {
        MessageSource::Ai => l.t("AI", "AI"),
        MessageSource::Admin => l.t("Dashboard", "Dasbor"),
        MessageSource::Phone => l.t("On the phone", "Dari ponsel"),
        MessageSource::Api => l.t("Another system", "Sistem lain"),
        MessageSource::System | MessageSource::Webhook => l.t("Notification", "Pemberitahuan"),
    }
}

/// The last words of a chat as the list shows them: what stands for a file is said in the reader's language.
pub(super) fn excerpt(l: Language, text: &str) -> String {
    const LONGEST: usize = 90;
    let words = match text {
        "[image]" => l.t("Picture", "Gambar"),
        "[video]" => l.t("Video", "Video"),
        "[audio]" => l.t("Sound", "Audio"),
        "[voice note]" => l.t("Voice note", "Pesan suara"),
        "[document]" => l.t("Document", "Dokumen"),
        "[sticker]" => l.t("Sticker", "Stiker"),
        "[poll vote]" => l.t("Voted in a poll", "Memilih dalam polling"),
        "[message deleted]" => l.t("Deleted", "Dihapus"),
        "[reaction removed]" => l.t("Took a reaction back", "Membatalkan reaksi"),
        "" => l.t("No messages yet", "Belum ada pesan"),
        _ => return shortened(text, LONGEST),
    };
    words.to_owned()
}

/// The beginning of a text, on one line.
pub(super) fn shortened(text: &str, most: usize) -> String {
    let mut line: String = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(most)
        .collect();
    if text.chars().nth(most).is_some() {
        line.push('…');
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_has_words_of_its_own_in_both_languages() {
        for l in Language::ALL {
            let mut words: Vec<_> = DeliveryStatus::ALL.map(|status| standing(l, status).1).to_vec();
            words.sort_unstable();
            words.dedup();
            assert_eq!(words.len(), DeliveryStatus::ALL.len());
        }
    }

    #[test]
    fn a_reason_says_what_happened_and_what_helps() {
        for l in Language::ALL {
            let words = why(l, "window_closed");
            assert!(words.split(". ").count() > 1 && !words.contains('_'), "{words}");
        }
        assert!(why(Language::En, "some_new_code").starts_with("some new code. "));
    }

    #[test]
    fn a_shortened_text_is_one_line() {
        assert_eq!(shortened("a\nb", 5), "a b");
        assert_eq!(shortened("éééé", 3), "ééé…");
        assert_eq!(shortened("ééé", 3), "ééé");
    }
}
