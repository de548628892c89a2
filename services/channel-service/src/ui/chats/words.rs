//! Stable codes in words: where a message stands and why, and why a file is not there.

use console::Language;
use domain::delivery::DeliveryStatus;
use domain::message::MessageSource;

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
    let words = match reason {
        "window_closed" | "meta_131047" => l.t(
            "The person has not written for 24 hours. Only an approved template can be sent until they write again.",
            "Orang ini tidak menulis selama 24 jam. Sampai ia menulis lagi, hanya templat yang disetujui yang dapat dikirim.",
        ),
        "invalid_recipient" | "not_found" | "meta_131026" => l.t(
            "WhatsApp does not know this number.",
            "WhatsApp tidak mengenal nomor ini.",
        ),
        "no_session" | "unauthorized" | "token_does_not_open" | "token_refused" => l.t(
            "The WhatsApp number is not connected. Connect it on the page WhatsApp and send again.",
            "Nomor WhatsApp tidak terhubung. Hubungkan di halaman WhatsApp, lalu kirim lagi.",
        ),
        "endpoint_unreachable" | "upstream_unreachable" | "endpoint_missing" => l.t(
            "The WhatsApp server cannot be reached. The message goes out by itself when it is back.",
            "Server WhatsApp tidak dapat dihubungi. Pesan terkirim sendiri setelah server kembali.",
        ),
        "rate_limited" | "own_rate_limit" | "send_rate" | "account_paused" | "spam_limited" => l.t(
            "Too many messages in a short time. It is tried again by itself.",
            "Terlalu banyak pesan dalam waktu singkat. Akan dicoba lagi otomatis.",
        ),
        "reachout_timelock" => l.t(
            "WhatsApp lets this number begin no new conversations for now. Wait until the person writes.",
            "Untuk sementara WhatsApp tidak mengizinkan nomor ini memulai percakapan baru. Tunggu sampai orang itu menulis.",
        ),
        "too_large" => l.t("It is too large for WhatsApp.", "Ukurannya terlalu besar untuk WhatsApp."),
        "media_missing" | "media_unavailable" | "file_missing" | "upload_failed" => l.t(
            "The file could not be read. Send it again.",
            "Berkas tidak dapat dibaca. Kirim sekali lagi.",
        ),
        "subscription_expired" => l.t(
            "The subscription has expired. Renew it and send again.",
            "Langganan sudah berakhir. Perpanjang, lalu kirim lagi.",
        ),
        "quota_exceeded" => l.t(
            "The message quota is used up. Raise it or wait for the next period.",
            "Kuota pesan habis. Tambah kuota atau tunggu periode berikutnya.",
        ),
        "tenant_suspended" => l.t(
            "The tenant is suspended, so nothing is sent.",
            "Tenant ditangguhkan, jadi tidak ada yang dikirim.",
        ),
        "endpoint_changed" => l.t(
            "The tenant moved to another WhatsApp server before it went out.",
            "Tenant pindah ke server WhatsApp lain sebelum pesan terkirim.",
        ),
        "timeout" | "connection_cut" | "gateway_timeout" | "outcome_unknown" | "unreadable_answer"
        | "upload_unanswered" | "partly_sent" | "no_report" | "awaiting_report" => l.t(
            "The WhatsApp server did not say whether it went out. It is not sent again by itself, so that nobody gets it twice.",
            "Server WhatsApp tidak memberi tahu apakah pesan terkirim. Pesan tidak dikirim ulang otomatis agar tidak diterima dua kali.",
        ),
        "target_not_sent" => l.t(
            "The message it is about did not go out.",
            "Pesan yang dimaksud tidak terkirim.",
        ),
        "not_sendable" | "unreadable_message" | "invalid_request" | "unprocessable" => l.t(
            "WhatsApp does not take such a message.",
            "WhatsApp tidak menerima pesan seperti ini.",
        ),
        "policy" => l.t(
            "WhatsApp has blocked the number for breaking its rules.",
            "WhatsApp memblokir nomor ini karena melanggar aturan.",
        ),
        _ => {
            return format!(
                "{} {}",
                l.t("The WhatsApp server refused it:", "Server WhatsApp menolak:"),
                reason.replace('_', " ")
            );
        }
    };
    words.to_owned()
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
    fn a_reason_that_nobody_knows_is_still_readable() {
        assert!(why(Language::En, "meta_131049").ends_with("meta 131049"));
        assert!(why(Language::En, "window_closed").contains("24 hours"));
        assert!(why(Language::Id, "window_closed").contains("24 jam"));
    }

    #[test]
    fn a_shortened_text_is_one_line() {
        assert_eq!(shortened("a\nb", 5), "a b");
        assert_eq!(shortened("éééé", 3), "ééé…");
        assert_eq!(shortened("ééé", 3), "ééé");
    }
}
