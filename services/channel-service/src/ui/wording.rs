//! Words for states of endpoints and reasons of checks, in both languages.

use console::Language;
use console::plot::Tone;

use crate::store::endpoint_health::HealthStatus;

/// A state of an endpoint as people read it.
pub(super) struct Health {
    /// The class of its badge.
    pub(super) badge: &'static str,
    /// Its colour in plots.
    pub(super) plot: Tone,
    /// The word.
    pub(super) words: &'static str,
}

impl Health {
    pub(super) const fn of(l: Language, status: HealthStatus) -> Self {
        let (badge, plot, words) = match status {
            HealthStatus::Unknown => ("idle", Tone::Idle, l.t("Not checked yet", "Belum diperiksa")),
            HealthStatus::Healthy => ("ok", Tone::Ok, l.t("Healthy", "Sehat")),
            HealthStatus::Degraded => ("warn", Tone::Warn, l.t("Shaky", "Terganggu")),
            HealthStatus::Unhealthy => ("bad", Tone::Bad, l.t("Down", "Tidak berfungsi")),
        };
        Self { badge, plot, words }
    }
}

/// Why a check was not content, and what helps.
pub(super) fn reason(l: Language, code: &str) -> &'static str {
    match code {
        "unreachable" => l.t(
            "No connection can be made. Is the server running, and is its address right?",
            "Tidak bisa terhubung. Apakah servernya berjalan, dan alamatnya benar?",
        ),
        "no_answer" => l.t(
            "It does not answer in time. It may be overloaded or hang.",
            "Tidak menjawab tepat waktu. Mungkin kelebihan beban atau macet.",
        ),
        "key_refused" => l.t(
            "It does not accept our key. Put the right one into the configuration and reload it.",
            "Kunci kita ditolak. Perbaiki kunci di konfigurasi, lalu muat ulang.",
        ),
        "rate_limited" => l.t(
            "It says that we ask too often. It recovers by itself.",
            "Server menganggap kita terlalu sering bertanya. Akan pulih sendiri.",
        ),
        "unwell" => l.t(
            "It says itself that it does not work. Look at its own log.",
            "Server sendiri melaporkan tidak berfungsi. Periksa lognya.",
        ),
        "unexpected_answer" => l.t(
            "Something else answers at this address. Is the address right?",
            "Yang menjawab di alamat ini bukan server yang diharapkan. Apakah alamatnya benar?",
        ),
        "slow" => l.t(
            "It answers, but slowly. Messages still go out.",
            "Menjawab, tetapi lambat. Pesan tetap terkirim.",
        ),
        _ => l.t("The check was not content.", "Pemeriksaan menemukan masalah."),
    }
}

/// A state and its reason in a few words, for the small room of a plot.
pub(super) fn state_for(l: Language, status: HealthStatus, code: &str) -> &'static str {
    let is_down = status == HealthStatus::Unhealthy;
    match (is_down, code) {
        (true, "unreachable") => l.t("Down: no connection", "Tidak berfungsi: tidak terhubung"),
        (true, "no_answer") => l.t("Down: no answer", "Tidak berfungsi: tidak menjawab"),
        (true, "key_refused") => l.t("Down: key refused", "Tidak berfungsi: kunci ditolak"),
        (true, "unwell") => l.t("Down: says so itself", "Tidak berfungsi: dilaporkan server"),
        (true, "unexpected_answer") => l.t("Down: wrong server", "Tidak berfungsi: server keliru"),
        (false, "slow") => l.t("Shaky: slow", "Terganggu: lambat"),
        (false, "rate_limited") => l.t("Shaky: asked too often", "Terganggu: terlalu sering"),
        (false, "unreachable") => l.t("Shaky: no connection", "Terganggu: tidak terhubung"),
        (false, "no_answer") => l.t("Shaky: no answer", "Terganggu: tidak menjawab"),
        _ => Health::of(l, status).words,
    }
}

/// A number that is counted up to a bound.
pub(super) fn bounded(l: Language, many: i64, bound: i64) -> String {
    if many > bound {
        return format!("{} {}", l.t("more than", "lebih dari"), l.number(bound));
    }
    l.number(many)
}
