//! Where a device stands, in words for whoever has it, and what did not work.

use actix_web::http::StatusCode;
use chrono::{DateTime, Utc};
use console::Language;
use domain::account::AccountStatus;
use domain::endpoint::Provider;
use whatsapp::session::FailureReason;

use crate::flows::session::{Background, DeviceView, Duplicate, SessionError, Standing};
use crate::store::device::DeviceRow;
use crate::store::endpoint_health::HealthStatus;

/// What one can do about it, as the first thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Act {
    /// Nothing.
    None,
    /// Connect it: a form.
    Connect(&'static str),
    /// Show the code: a link.
    ShowCode(&'static str),
}

/// Where a device stands.
#[derive(Debug)]
pub(super) struct Now {
    /// The class of the badge.
    pub(super) tone: &'static str,
    /// The badge.
    pub(super) word: &'static str,
    /// Its number.
    pub(super) number: Option<String>,
    /// What that means, a sentence each.
    pub(super) lines: Vec<String>,
    pub(super) act: Act,
    /// A name and what is there.
    pub(super) facts: Vec<(&'static str, String)>,
    /// Its server.
    pub(super) server: Server,
    /// Somebody else holds the number: what that means.
    pub(super) duplicate: Option<String>,
}

/// A device's server.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) name: String,
    pub(super) tone: &'static str,
    pub(super) word: &'static str,
    pub(super) line: Option<String>,
}

/// What people call the device.
pub(super) fn name_of(row: &DeviceRow) -> &str {
    row.display_name.as_deref().unwrap_or(&row.instance_name)
}

/// A number as people write it: `+62 812-3456-7890`.
pub(super) fn number(digits: &str) -> String {
    let Some(local) = digits
        .strip_prefix("62")
        .filter(|local| local.len() > 7 && local.is_ascii())
    else {
        return format!("+{digits}");
    };
    let (network, rest) = local.split_at(3);
    let (first, last) = rest.split_at(4.min(rest.len()));
    match last {
        "" => format!("+62 {network}-{first}"),
        _ => format!("+62 {network}-{first}-{last}"),
    }
}

pub(super) fn number_of(view: &DeviceView) -> Option<String> {
    let phone = match &view.standing {
        Standing::Known { phone, .. } => phone.as_deref(),
        _ => view.row.phone.as_deref(),
    };
    phone.map(number)
}

pub(super) fn is_number(row: &DeviceRow) -> bool {
    row.provider == Provider::Cloud.as_str()
}

/// A badge: its class and its word.
pub(super) fn badge(l: Language, view: &DeviceView) -> (&'static str, &'static str) {
    if view.row.is_going {
        return ("idle", l.t("Being removed", "Sedang dihapus"));
    }
    match &view.standing {
        Standing::Begun => ("idle", l.t("Being prepared", "Sedang disiapkan")),
        Standing::WithoutSession => ("idle", l.t("Not linked", "Belum tertaut")),
        Standing::Unknown => ("warn", l.t("Not known right now", "Belum diketahui")),
        Standing::Known {
            connected, logged_in, ..
        } => match (connected, logged_in) {
            (true, true) => ("ok", l.t("Connected", "Terhubung")),
            (true, false) if is_number(&view.row) => ("warn", l.t("Not registered", "Belum terdaftar")),
            (true, false) => ("warn", l.t("Waiting for the phone", "Menunggu ponsel")),
            (false, _) if was_unlinked(view) => ("bad", l.t("Unlinked", "Tautan dilepas")),
            (false, _) if was_linked(view) => ("bad", l.t("Disconnected", "Terputus")),
            (false, _) => ("idle", l.t("Not linked", "Belum tertaut")),
        },
    }
}

fn was_unlinked(view: &DeviceView) -> bool {
    matches!(
        &view.standing,
        Standing::Known {
            status: AccountStatus::LoggedOut,
            ..
        }
    )
}

fn was_linked(view: &DeviceView) -> bool {
    match &view.standing {
        Standing::Known { jid, logged_in, .. } => *logged_in || jid.is_some(),
        _ => false,
    }
}

/// All there is to say.
pub(super) fn now(l: Language, view: &DeviceView, background: &Background, duplicate: &Duplicate) -> Now {
    let (tone, word) = badge(l, view);
    let row = &view.row;
    let (lines, act) = match &view.standing {
        _ if row.is_going => (
            vec![l.t(
                "Its server could not be reached yet. We keep trying; it disappears from here by itself.",
                "Servernya belum bisa dihubungi. Kami terus mencoba; nomor ini akan hilang sendiri dari sini.",
            ).to_owned()],
            Act::None,
        ),
        Standing::Begun => (
            vec![l.t(
                "This was begun and not finished. Go on with it, or delete it.",
                "Ini sudah dimulai tetapi belum selesai. Lanjutkan, atau hapus.",
            ).to_owned()],
            Act::Connect(l.t("Go on", "Lanjutkan")),
        ),
        Standing::WithoutSession => (
            vec![l.t(
                "No phone is linked. Link one, and messages come in and go out here.",
                "Belum ada ponsel yang tertaut. Tautkan ponsel, maka pesan masuk dan keluar lewat sini.",
            ).to_owned()],
            Act::Connect(l.t("Link a phone", "Tautkan ponsel")),
        ),
        Standing::Unknown => (unknown(l, row, background), Act::None),
        Standing::Known {
            connected, logged_in, ..
        } => known(l, view, background, *connected, *logged_in),
    };
    Now {
        tone,
        word,
        number: number_of(view),
        lines,
        act,
        facts: facts(l, view),
        server: server(l, row, background),
        duplicate: match duplicate {
            Duplicate::None => None,
            Duplicate::Own(name) => Some(match l {
                Language::En => format!(
                    "Your other number “{name}” is linked to the same phone. One of the two is enough: each message arrives twice."
                ),
                Language::Id => format!(
                    "Nomor Anda yang lain “{name}” tertaut ke ponsel yang sama. Cukup satu saja: setiap pesan masuk dua kali."
                ),
            }),
            Duplicate::Elsewhere => Some(
                l.t(
                    "The same number is also connected somewhere else. People may get two answers.",
                    "Nomor yang sama juga terhubung di tempat lain. Warga bisa menerima dua jawaban.",
                )
                .to_owned(),
            ),
        },
    }
}

fn known(
    l: Language,
    view: &DeviceView,
    background: &Background,
    connected: bool,
    logged_in: bool,
) -> (Vec<String>, Act) {
    let say = |en, id| vec![l.t(en, id).to_owned()];
    match (connected, logged_in) {
        (true, true) => (
            say(
                "Messages come in and go out through this number.",
                "Pesan masuk dan keluar lewat nomor ini.",
            ),
            Act::None,
        ),
        _ if is_number(&view.row) => (
            say(
                "Meta says that this number is not registered with the Cloud API yet, or not usable. Its owner registers it in Meta Business Manager (with its PIN); then press the button.",
                "Meta menyatakan nomor ini belum terdaftar di Cloud API, atau belum bisa dipakai. Pemiliknya mendaftarkan nomor itu di Meta Business Manager (dengan PIN-nya); setelah itu tekan tombol ini.",
            ),
            Act::Connect(l.t("Ask Meta again", "Tanyakan lagi ke Meta")),
        ),
        (true, false) => (
            say(
                "Everything is ready; only the phone is missing. Show the QR code and scan it with WhatsApp.",
                "Semua siap; tinggal ponselnya. Tampilkan kode QR lalu pindai dengan WhatsApp.",
            ),
            Act::ShowCode(l.t("Show the QR code", "Tampilkan kode QR")),
        ),
        (false, _) if was_unlinked(view) => (
            say(
                "The phone has unlinked this connection, so only linking it anew helps. Chats are kept.",
                "Ponsel sudah melepas tautan ini, jadi harus ditautkan lagi. Percakapan tetap tersimpan.",
            ),
            Act::Connect(l.t("Link the phone again", "Tautkan ponsel lagi")),
        ),
        (false, _) if was_linked(view) => (
            lost(l, background),
            Act::Connect(l.t("Connect again", "Sambungkan lagi")),
        ),
        (false, _) => (
            say(
                "No phone is linked yet. Show the QR code and scan it with WhatsApp.",
                "Belum ada ponsel yang tertaut. Tampilkan kode QR lalu pindai dengan WhatsApp.",
            ),
            Act::Connect(l.t("Show the QR code", "Tampilkan kode QR")),
        ),
    }
}

fn lost(l: Language, background: &Background) -> Vec<String> {
    let outage = &background.outage;
    if outage.kept_off {
        return vec![
            l.t(
                "Somebody has disconnected this number. New messages do not come in, and what you send waits. The phone stays linked: no code is needed to connect again.",
                "Nomor ini diputuskan oleh seseorang. Pesan baru tidak masuk, dan yang Anda kirim menunggu. Ponsel tetap tertaut: menyambungkan lagi tidak perlu kode.",
            )
            .to_owned(),
        ];
    }
    let mut lines = vec![
        l.t(
            "The connection to WhatsApp was lost. What you send waits and goes out later.",
            "Sambungan ke WhatsApp terputus. Yang Anda kirim menunggu dan terkirim nanti.",
        )
        .to_owned(),
    ];
    lines.push(match (&outage.gave_up, outage.try_at) {
        (Some(_), _) => l
            .t(
                "We tried many times and have stopped. See that the phone is on and has internet, then connect it again.",
                "Kami sudah mencoba berkali-kali dan berhenti. Pastikan ponsel menyala dan ada internet, lalu sambungkan lagi.",
            )
            .to_owned(),
        (None, Some(at)) if at > Utc::now() => format!(
            "{} {}.",
            l.t("We connect it again by ourselves; next try", "Kami menyambungkannya lagi sendiri; percobaan berikutnya"),
            l.exactly(at)
        ),
        (None, _) => l
            .t(
                "We connect it again by ourselves. You can also do it at once.",
                "Kami menyambungkannya lagi sendiri. Anda juga bisa melakukannya sekarang.",
            )
            .to_owned(),
    });
    lines
}

fn unknown(l: Language, row: &DeviceRow, background: &Background) -> Vec<String> {
    if !background.is_configured {
        return vec![match l {
            Language::En => format!(
                "Its server “{}” is not set up any more. Tell your administrator; what you send waits.",
                row.endpoint
            ),
            Language::Id => format!(
                "Servernya “{}” tidak lagi disetel. Beri tahu administrator; yang Anda kirim menunggu.",
                row.endpoint
            ),
        }];
    }
    vec![
        l.t(
            "The WhatsApp server does not answer right now, so nobody knows whether the number is connected.",
            "Server WhatsApp tidak menjawab saat ini, jadi belum diketahui apakah nomor ini terhubung.",
        )
        .to_owned(),
        l.t(
            "You need not do anything: what you send waits and goes out when the server is back.",
            "Anda tidak perlu melakukan apa pun: yang Anda kirim menunggu dan terkirim setelah server kembali.",
        )
        .to_owned(),
    ]
}

fn facts(l: Language, view: &DeviceView) -> Vec<(&'static str, String)> {
    let row = &view.row;
    let is_connected = matches!(
        view.standing,
        Standing::Known {
            connected: true,
            logged_in: true,
            ..
        }
    );
    let mut facts = Vec::new();
    let mut fact = |name, at: Option<DateTime<Utc>>| {
        if let Some(at) = at {
            facts.push((name, l.when(at)));
        }
    };
    if is_connected {
        fact(l.t("Connected since", "Terhubung sejak"), row.connected_since);
    } else {
        fact(
            l.t("Last seen connected", "Terakhir terhubung"),
            row.last_connected_at,
        );
    }
    fact(l.t("Added", "Ditambahkan"), Some(row.created_at));
    facts
}

/// A server and how it is.
pub(super) fn server(l: Language, row: &DeviceRow, background: &Background) -> Server {
    let status = background
        .health
        .as_ref()
        .map_or(HealthStatus::Unknown, |health| health.status);
    let (tone, word) = match status {
        _ if !background.is_configured => ("bad", l.t("not set up", "tidak disetel")),
        HealthStatus::Healthy => ("ok", l.t("works", "berjalan baik")),
        HealthStatus::Degraded => ("warn", l.t("slow or unsteady", "lambat atau tidak stabil")),
        HealthStatus::Unhealthy => ("bad", l.t("away", "tidak bisa dihubungi")),
        HealthStatus::Unknown => ("idle", l.t("not checked yet", "belum diperiksa")),
    };
    let line = (status == HealthStatus::Unhealthy && background.is_configured).then(|| {
        l.t(
            "Your administrator can see why. Messages wait meanwhile.",
            "Administrator bisa melihat sebabnya. Sementara itu pesan menunggu.",
        )
        .to_owned()
    });
    Server {
        name: row.endpoint.clone(),
        tone,
        word,
        line,
    }
}

/// Something that did not work, in English and Indonesian. `None`: it is no matter of the device's.
pub(super) fn trouble(error: &SessionError) -> Option<(StatusCode, &'static str, &'static str)> {
    let away = (
        StatusCode::BAD_GATEWAY,
        "The WhatsApp server does not answer right now. Wait a minute and try again; if it stays like this, tell your administrator.",
        "Server WhatsApp tidak menjawab saat ini. Tunggu sebentar lalu coba lagi; bila tetap begini, beri tahu administrator.",
    );
    Some(match error {
        SessionError::LimitReached => (
            StatusCode::CONFLICT,
            "You have as many numbers as you may have. Delete one, or ask your administrator for more.",
            "Jumlah nomor sudah mencapai batas. Hapus salah satu, atau minta tambahan kepada administrator.",
        ),
        SessionError::Suspended => (
            StatusCode::FORBIDDEN,
            "This tenant is suspended, so no number can be connected. Ask your administrator.",
            "Tenant ini ditangguhkan, jadi nomor tidak bisa dihubungkan. Hubungi administrator.",
        ),
        SessionError::EndpointMissing(_) | SessionError::NotConfigured | SessionError::NoCustomerKey => (
            StatusCode::CONFLICT,
            "The WhatsApp server for this is not set up. Ask your administrator to choose one.",
            "Server WhatsApp untuk ini belum disetel. Minta administrator untuk memilihnya.",
        ),
        SessionError::NumberNeeded => (
            StatusCode::CONFLICT,
            "Numbers of this kind are entered by your administrator, by their phone number id at Meta.",
            "Nomor jenis ini dimasukkan oleh administrator, dengan phone number id-nya di Meta.",
        ),
        SessionError::NotANumbersEndpoint | SessionError::NotANumber => (
            StatusCode::CONFLICT,
            "The server of this tenant is none of Meta's Cloud API: link a phone instead.",
            "Server tenant ini bukan Cloud API dari Meta: tautkan ponsel saja.",
        ),
        SessionError::UnknownNumber => (
            StatusCode::BAD_REQUEST,
            "The server has no number with this id. Compare it with the list.",
            "Server tidak punya nomor dengan id ini. Cocokkan dengan daftarnya.",
        ),
        SessionError::NumberTaken => (
            StatusCode::CONFLICT,
            "This number is in use already.",
            "Nomor ini sudah dipakai.",
        ),
        SessionError::NotPaired => (
            StatusCode::CONFLICT,
            "A number of Meta's Cloud API is not linked with a phone; it is registered at Meta.",
            "Nomor Cloud API dari Meta tidak ditautkan dengan ponsel; nomor itu didaftarkan di Meta.",
        ),
        SessionError::Going => (
            StatusCode::CONFLICT,
            "This number is being removed.",
            "Nomor ini sedang dihapus.",
        ),
        SessionError::NotMade | SessionError::NoSession => (
            StatusCode::CONFLICT,
            "No phone is linked yet. Press the button to begin.",
            "Belum ada ponsel yang tertaut. Tekan tombol untuk memulai.",
        ),
        SessionError::NoTarget => (
            StatusCode::CONFLICT,
            "Nobody else holds this number any more; nothing was changed.",
            "Nomor ini sudah tidak terhubung di tempat lain; tidak ada yang diubah.",
        ),
        SessionError::OtherNumber => (
            StatusCode::CONFLICT,
            "Only a number that is connected here at this moment can end its other connections.",
            "Hanya nomor yang sedang terhubung di sini yang bisa mengakhiri sambungannya yang lain.",
        ),
        SessionError::Busy => (
            StatusCode::CONFLICT,
            "Somebody else is changing this right now. Wait a moment and try again.",
            "Sedang diubah oleh orang lain. Tunggu sebentar lalu coba lagi.",
        ),
        SessionError::Provider(failure) => return of_provider(failure.reason).or(Some(away)),
        SessionError::Maker(_) => away,
        SessionError::NoDevice
        | SessionError::NoTenant
        | SessionError::Register(_)
        | SessionError::Encryption(_)
        | SessionError::Database(_) => return None,
    })
}

const fn of_provider(reason: FailureReason) -> Option<(StatusCode, &'static str, &'static str)> {
    Some(match reason {
        FailureReason::AlreadyLoggedIn => (
            StatusCode::CONFLICT,
            "A phone is linked already.",
            "Sudah ada ponsel yang tertaut.",
        ),
        FailureReason::NoSession | FailureReason::NotConnected => (
            StatusCode::CONFLICT,
            "It is not connected at the moment. Connect it first.",
            "Saat ini belum tersambung. Sambungkan dulu.",
        ),
        FailureReason::NotLoggedIn => (
            StatusCode::CONFLICT,
            "No phone is linked, so there is nothing to end.",
            "Tidak ada ponsel yang tertaut, jadi tidak ada yang perlu diakhiri.",
        ),
        FailureReason::RateLimited => (
            StatusCode::TOO_MANY_REQUESTS,
            "The WhatsApp server was asked too often. Wait half a minute and try again.",
            "Server WhatsApp terlalu sering ditanya. Tunggu setengah menit lalu coba lagi.",
        ),
        FailureReason::Refused => (
            StatusCode::CONFLICT,
            "The WhatsApp server refused this. Check the number, or try again in a moment.",
            "Server WhatsApp menolak ini. Periksa nomornya, atau coba lagi sebentar lagi.",
        ),
        FailureReason::UnknownToken | FailureReason::NotVisible => (
            StatusCode::BAD_GATEWAY,
            "The WhatsApp server does not know this number any more. Delete it here and add it anew.",
            "Server WhatsApp tidak mengenal nomor ini lagi. Hapus di sini lalu tambahkan lagi.",
        ),
        FailureReason::Unreachable | FailureReason::NoAnswer | FailureReason::Unreadable => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::number;

    #[test]
    fn numbers_are_written_as_people_write_them() {
        for (digits, shown) in [
            ("6281234567890", "+62 812-3456-7890"),
            ("628123456789", "+62 812-3456-789"),
            ("622150000111", "+62 215-0000-111"),
            ("6281234567", "+62 812-3456-7"),
            ("15551234567", "+15551234567"),
            ("62812", "+62812"),
        ] {
            assert_eq!(number(digits), shown);
        }
    }
}
