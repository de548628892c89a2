//! Why messages wait, lie aside or failed, in words, with what to do about it.

use console::Language;

/// A stable code, what it means, and what helps; each in English and in Indonesian.
type Known = (&'static str, [&'static str; 2], [&'static str; 2]);

/// What a code means and what helps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Words {
    /// What happened.
    pub(crate) what: String,
    /// What to do.
    pub(crate) remedy: String,
}

/// The words for a code.
pub(crate) fn words(l: Language, code: &str) -> Words {
    if let Some(number) = code.strip_prefix("meta_").filter(|number| !number.is_empty()) {
        return Words {
            what: format!(
                "{} ({number})",
                l.t("Meta did not deliver it", "Meta tidak menyampaikannya")
            ),
            remedy: l
                .t(
                    "Look the number up in Meta's list of error codes, then order the message anew.",
                    "Cari nomor ini di daftar kode galat Meta, lalu kirim pesan yang baru.",
                )
                .to_owned(),
        };
    }
    match KNOWN.iter().find(|(known, ..)| *known == code) {
        Some((_, what, remedy)) => Words {
            what: l.t(what[0], what[1]).to_owned(),
            remedy: l.t(remedy[0], remedy[1]).to_owned(),
        },
        None => Words {
            what: code.replace('_', " "),
            remedy: l
                .t(
                    "Open the message's journey to see what was tried.",
                    "Buka perjalanan pesan untuk melihat apa yang sudah dicoba.",
                )
                .to_owned(),
        },
    }
}

/// Every code with its words, for a choice.
pub(crate) fn choices(l: Language) -> Vec<(&'static str, &'static str)> {
    KNOWN
        .iter()
        .map(|(code, what, _)| (*code, l.t(what[0], what[1])))
        .collect()
}

const WAIT: [&str; 2] = [
    "Nothing to do: it is tried again by itself.",
    "Tidak perlu apa-apa: akan dicoba lagi dengan sendirinya.",
];
const RECONNECT: [&str; 2] = [
    "Connect the device again under WhatsApp, then replay the message.",
    "Hubungkan lagi perangkatnya di menu WhatsApp, lalu kirim ulang pesannya.",
];
const OPERATOR: [&str; 2] = [
    "Ask a superadmin to look at the endpoint's settings, then replay the message.",
    "Minta superadmin memeriksa setelan endpoint, lalu kirim ulang pesannya.",
];
const ENDPOINT: [&str; 2] = [
    "Look whether the endpoint is healthy; messages go out by themselves when it answers. A message put aside can be replayed.",
    "Periksa kesehatan endpoint; pesan terkirim sendiri saat endpoint menjawab. Pesan yang disisihkan dapat dikirim ulang.",
];
const LOOK: [&str; 2] = [
    "Look on the phone: if the message is there, mark it as sent; if not, replay it.",
    "Lihat di ponsel: bila pesannya ada, tandai terkirim; bila tidak, kirim ulang.",
];
const ANEW: [&str; 2] = [
    "Replaying would fail again: write a new message instead.",
    "Mengirim ulang akan gagal lagi: tulis pesan yang baru.",
];
const SUBSCRIPTION: [&str; 2] = [
    "Renew the subscription or raise its limit, then replay the message.",
    "Perpanjang langganan atau naikkan batasnya, lalu kirim ulang pesannya.",
];

#[rustfmt::skip]
const KNOWN: &[Known] = &[
    ("no_session", ["WhatsApp is not connected", "WhatsApp tidak terhubung"], RECONNECT),
    ("token_does_not_open", ["The session's key cannot be read", "Kunci sesi tidak dapat dibaca"], OPERATOR),
    ("token_refused", ["The access token is not accepted", "Token akses tidak diterima"], OPERATOR),
    ("unauthorized", ["The session is not known any more", "Sesi tidak dikenal lagi"], RECONNECT),
    ("forbidden", ["The session may not send", "Sesi tidak boleh mengirim"], OPERATOR),
    ("subscription_expired", ["The subscription has ended", "Langganan sudah berakhir"], SUBSCRIPTION),
    ("quota_exceeded", ["The message quota is used up", "Kuota pesan sudah habis"], SUBSCRIPTION),
    ("unreachable", ["The WhatsApp server cannot be reached", "Server WhatsApp tidak dapat dihubungi"], ENDPOINT),
    ("upstream_unreachable", ["The gateway cannot reach the WhatsApp server", "Gateway tidak dapat menghubungi server WhatsApp"], ENDPOINT),
    ("endpoint_unreachable", ["The WhatsApp server cannot be reached", "Server WhatsApp tidak dapat dihubungi"], ENDPOINT),
    ("unavailable", ["The WhatsApp server asks to come back later", "Server WhatsApp meminta dicoba nanti"], ENDPOINT),
    ("redirected", ["The endpoint's address leads elsewhere", "Alamat endpoint mengarah ke tempat lain"], OPERATOR),
    ("endpoint_missing", ["The endpoint is not configured", "Endpoint belum disetel"], OPERATOR),
    ("not_found", ["The WhatsApp server does not know this kind of call", "Server WhatsApp tidak mengenal panggilan ini"], OPERATOR),
    ("own_rate_limit", ["It waits for its turn", "Menunggu giliran"], WAIT),
    ("rate_limited", ["WhatsApp asks to send more slowly", "WhatsApp meminta pengiriman lebih lambat"], WAIT),
    ("account_paused", ["The number rests for a moment", "Nomor sedang beristirahat sejenak"], WAIT),
    ("awaiting_report", ["It waits for Meta's report", "Menunggu laporan dari Meta"], WAIT),
    ("no_report", ["Meta never told what became of it", "Meta tidak pernah memberi kabar"], LOOK),
    ("reachout_timelock", ["WhatsApp lets this number write to nobody new for a while", "WhatsApp sementara melarang nomor ini menyapa orang baru"],
        ["Wait until WhatsApp lifts it, then replay the message.", "Tunggu sampai WhatsApp mencabutnya, lalu kirim ulang pesannya."]),
    ("spam_limited", ["WhatsApp takes the number for a spammer", "WhatsApp menganggap nomor ini mengirim spam"],
        ["Let the number rest for a day and send less.", "Biarkan nomor beristirahat sehari dan kirim lebih sedikit."]),
    ("policy", ["Meta has a problem with the account", "Meta bermasalah dengan akun ini"],
        ["The owner has to look into Meta's Business Manager.", "Pemilik akun perlu memeriksa Business Manager Meta."]),
    ("tenant_suspended", ["The tenant is suspended", "Tenant ditangguhkan"],
        ["It goes out when a superadmin resumes the tenant.", "Terkirim saat superadmin mengaktifkan tenant kembali."]),
    ("window_closed", ["The person wrote too long ago", "Orang ini sudah terlalu lama tidak menulis"],
        ["Send an approved template instead.", "Kirim template yang disetujui sebagai gantinya."]),
    ("endpoint_changed", ["It may have gone out through an endpoint that was left", "Mungkin sudah terkirim lewat endpoint yang ditinggalkan"],
        ["It cannot be replayed: look on the phone, and write it anew if it is not there.", "Tidak dapat dikirim ulang: lihat di ponsel, dan tulis baru bila tidak ada."]),
    ("outcome_unknown", ["Nobody knows whether it went out", "Tidak diketahui apakah sudah terkirim"], LOOK),
    ("timeout", ["The WhatsApp server did not answer in time", "Server WhatsApp tidak menjawab tepat waktu"], LOOK),
    ("connection_cut", ["The connection broke in the middle", "Sambungan putus di tengah jalan"], LOOK),
    ("unreadable_answer", ["The answer cannot be read", "Jawaban tidak dapat dibaca"], LOOK),
    ("server_error", ["The WhatsApp server failed while sending", "Server WhatsApp gagal saat mengirim"], LOOK),
    ("bad_gateway", ["Something before the WhatsApp server failed", "Perantara di depan server WhatsApp gagal"], LOOK),
    ("gateway_timeout", ["Something before the WhatsApp server gave up waiting", "Perantara di depan server WhatsApp berhenti menunggu"], LOOK),
    ("partly_sent", ["Only some of it went out", "Hanya sebagian yang terkirim"], LOOK),
    ("upload_failed", ["The file could not be put up", "Berkas tidak dapat diunggah"], WAIT),
    ("upload_unanswered", ["Nobody said whether the file is up", "Tidak ada kabar apakah berkas terunggah"], WAIT),
    ("media_unavailable", ["The file cannot be had now", "Berkas belum dapat diambil"], WAIT),
    ("media_missing", ["The file is nowhere", "Berkasnya tidak ada"],
        ["Send the file again in a new message.", "Kirim berkasnya lagi dalam pesan baru."]),
    ("not_sendable", ["The request could not be built", "Permintaan tidak dapat disusun"], ANEW),
    ("invalid_request", ["WhatsApp cannot read the message", "WhatsApp tidak dapat membaca pesan ini"], ANEW),
    ("invalid_recipient", ["WhatsApp does not know the recipient", "WhatsApp tidak mengenal penerima"],
        ["Check the number, then write a new message.", "Periksa nomornya, lalu tulis pesan baru."]),
    ("too_large", ["The message is too large", "Pesan terlalu besar"], ANEW),
    ("unprocessable", ["WhatsApp refuses the message", "WhatsApp menolak pesan ini"], ANEW),
    ("refused", ["WhatsApp refuses the message", "WhatsApp menolak pesan ini"], ANEW),
    ("target_not_sent", ["The message it is about did not go out", "Pesan yang dimaksud tidak terkirim"], ANEW),
    ("unreadable_message", ["The stored message cannot be read", "Pesan tersimpan tidak dapat dibaca"], OPERATOR),
    ("unreadable_task", ["The stored task cannot be read", "Tugas tersimpan tidak dapat dibaca"], OPERATOR),
    ("replaced", ["Another message was ordered in its place", "Pesan lain dikirim sebagai gantinya"],
        ["Nothing to do.", "Tidak perlu apa-apa."]),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_words_in_both_languages_and_stands_once() {
        for (at, (code, what, remedy)) in KNOWN.iter().enumerate() {
            assert!(what.iter().chain(remedy).all(|words| !words.is_empty()), "{code}");
            assert_ne!(what[0], what[1], "{code}");
            assert!(KNOWN[..at].iter().all(|(known, ..)| known != code), "{code}");
        }
        assert_eq!(
            words(Language::En, "no_session").what,
            "WhatsApp is not connected"
        );
        assert_eq!(words(Language::Id, "no_session").what, "WhatsApp tidak terhubung");
    }

    #[test]
    fn what_is_not_known_is_said_as_it_is() {
        assert_eq!(words(Language::En, "some_new_code").what, "some new code");
        assert!(words(Language::En, "meta_131047").what.contains("131047"));
    }
}
