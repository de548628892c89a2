//! A phone is linked: by a code to scan, which renews itself on the page, or by one to type.

use std::sync::Arc;
use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::web::{Data, Path};
use askama::Template;
use console::{Frame, Language, page, see_other};
use domain::address::PhoneNumber;
use domain::endpoint::Provider;
use domain::ids::AccountId;
use tokio::time::Instant;

use super::code_picture::CodePicture;
use super::words::{is_number, name_of, number_of, trouble};
use super::{Answered, Watching, base, device_in, failed, gone, refused, rendered, too_many};
use crate::app::State;
use crate::flows::session::{DeviceView, Duplicate, News, Seen, SessionError, Sight, Standing, Which};
use crate::ui::errors::PageError;
use crate::ui::live::Teller;
use crate::ui::visit::{TenantPosted, TenantVisit};

/// How often a page looks for another code.
const EVERY: Duration = Duration::from_secs(1);
/// After how many looks a page says how old its code is.
const AGE_EVERY: u32 = 5;

/// What is to be seen.
enum Panel {
    /// A code to scan.
    Svg(String),
    /// A code to scan, as the provider drew it.
    Png(String),
    /// It is on its way.
    Coming,
    /// A phone is linked.
    Linked {
        number: Option<String>,
        /// Somebody else holds the number, too.
        twice: bool,
    },
    /// There is none; another one has to be asked for.
    None(&'static str),
    /// There is one, and it cannot be shown.
    Unreadable,
}

#[derive(Template)]
#[template(path = "device/code.html")]
struct CodePart<'a> {
    l: Language,
    csrf: &'a str,
    at: &'a str,
    panel: &'a Panel,
}

#[derive(Template)]
#[template(path = "device/age.html")]
struct Age {
    l: Language,
    seconds: i64,
}

#[derive(Template)]
#[template(path = "device/link.html")]
struct LinkPage {
    frame: Frame,
    at: String,
    name: String,
    /// A [`CodePart`].
    part: String,
}

pub(super) async fn link(visit: TenantVisit, path: Path<(String, String)>, state: Data<State>) -> Answered {
    let device = device_in(&path)?;
    let view = state
        .sessions
        .device(&visit.scope, device)
        .await
        .map_err(failed)?;
    let at = format!("{}/{device}", base(&visit.scope));
    if is_number(&view.row) || !view.row.has_session || view.row.is_going {
        return Ok(see_other(at));
    }
    let watching = Watching::of(&visit, &state, device);
    let panel = match state.sessions.sight(&visit.scope, device).await {
        Ok(sight) => watching.panel_of(sight).await,
        Err(error) => return Err(failed(error)),
    };
    Ok(page(
        StatusCode::OK,
        &LinkPage {
            frame: visit.frame("device"),
            name: name_of(&view.row).to_owned(),
            part: watching.code_part(&panel),
            at,
        },
    ))
}

impl Watching {
    fn code_part(&self, panel: &Panel) -> String {
        rendered(&CodePart {
            l: self.l,
            csrf: &self.csrf,
            at: &self.at(),
            panel,
        })
    }

    async fn panel_of(&self, sight: Sight) -> Panel {
        match sight {
            Sight::Nothing => Panel::Coming,
            Sight::Code(code) => code_panel(&code),
            Sight::LoggedIn => self.linked().await,
            Sight::NotRunning => Panel::None(not_running(self.l)),
            Sight::Trouble(_) => Panel::None(no_answer(self.l)),
        }
    }

    async fn linked(&self) -> Panel {
        let view = self.sessions.device(&self.scope, self.device).await.ok();
        let twice = match &view {
            Some(view) => matches!(self.duplicate_of(view).await, Ok(Duplicate::Elsewhere)),
            None => false,
        };
        Panel::Linked {
            number: view.as_ref().and_then(number_of),
            twice,
        }
    }

    /// Tells each code, until one was scanned or nothing is left to see.
    async fn watch_codes(self, teller: Arc<Teller>, lasting: Duration) {
        let until = Instant::now() + lasting;
        let mut seen = Seen::default();
        let mut looks_at_code = 0;
        let last = loop {
            if Instant::now() >= until {
                break Panel::None(self.l.t(
                    "This page has stopped asking for codes. Press the button to go on.",
                    "Halaman ini berhenti meminta kode. Tekan tombol untuk melanjutkan.",
                ));
            }
            let news = match self.sessions.sight(&self.scope, self.device).await {
                Ok(sight) => seen.news(sight),
                Err(SessionError::NoDevice) => {
                    teller.part(&gone(self.l, &base(&self.scope))).await;
                    return teller.last().await;
                }
                Err(error) => {
                    if !matches!(error, SessionError::NotMade) {
                        tracing::warn!(error = %crate::error::chain(&error), "a device could not be looked at");
                    }
                    break Panel::None(not_running(self.l));
                }
            };
            match news {
                News::None => {
                    if looks_at_code > 0 {
                        if looks_at_code % AGE_EVERY == 0 {
                            let seconds = i64::from(looks_at_code);
                            teller.part(&rendered(&Age { l: self.l, seconds })).await;
                        }
                        looks_at_code += 1;
                    }
                }
                News::Code(code) => {
                    looks_at_code = 1;
                    teller.part(&self.code_part(&code_panel(&code))).await;
                }
                News::LoggedIn => break self.linked().await,
                News::RanOut => {
                    break Panel::None(self.l.t(
                        "The codes ran out because none was scanned. Get the phone ready, then ask for a new one.",
                        "Kode habis karena belum ada yang dipindai. Siapkan ponselnya, lalu minta kode baru.",
                    ));
                }
                News::NotRunning => break Panel::None(not_running(self.l)),
                News::Trouble(_) => break Panel::None(no_answer(self.l)),
            }
            tokio::time::sleep(EVERY).await;
        };
        teller.part(&self.code_part(&last)).await;
        teller.last().await;
    }
}

fn code_panel(code: &str) -> Panel {
    match CodePicture::of(code) {
        Some(CodePicture::Svg(svg)) => Panel::Svg(svg),
        Some(CodePicture::Png(url)) => Panel::Png(url),
        None => Panel::Unreadable,
    }
}

const fn not_running(l: Language) -> &'static str {
    l.t(
        "No code is shown at the moment. Press the button to ask for one.",
        "Saat ini tidak ada kode. Tekan tombol untuk memintanya.",
    )
}

const fn no_answer(l: Language) -> &'static str {
    l.t(
        "The WhatsApp server does not answer right now. Wait a minute, then ask for a code; if it stays like this, tell your administrator.",
        "Server WhatsApp tidak menjawab saat ini. Tunggu sebentar, lalu minta kode; bila tetap begini, beri tahu administrator.",
    )
}

pub(super) async fn live(
    visit: Result<TenantVisit, PageError>,
    path: Path<(String, String)>,
    state: Data<State>,
) -> Answered {
    let visit = match visit {
        Ok(visit) => visit,
        Err(error) => return refused(error),
    };
    let device = device_in(&path)?;
    // Seen by whoever may see it.
    state
        .sessions
        .device(&visit.scope, device)
        .await
        .map_err(failed)?;
    let watching = Watching::of(&visit, &state, device);
    let lasting = state.qr_streams.lasting();
    Ok(state
        .live
        .begin(&state.db, &visit, |teller| watching.watch_codes(teller, lasting))
        .unwrap_or_else(|| too_many(visit.l())))
}

#[derive(Template)]
#[template(path = "device/pair.html")]
struct PairPage {
    frame: Frame,
    at: String,
    /// What was filled in.
    phone: String,
    error: String,
    /// The code to type.
    code: Option<String>,
    /// Where it stands, which changes by itself.
    part: String,
}

async fn pair_page(
    visit: &TenantVisit,
    state: &State,
    view: &DeviceView,
    status: StatusCode,
    phone: &str,
    answer: Result<Option<String>, String>,
) -> Answered {
    let (code, error) = match answer {
        Ok(code) => (code, String::new()),
        Err(error) => (None, error),
    };
    let part = match &code {
        Some(_) => Watching::of(visit, state, view.row.account())
            .part(view)
            .await
            .map_err(failed)?,
        None => String::new(),
    };
    Ok(page(
        status,
        &PairPage {
            frame: visit.frame("device"),
            at: format!("{}/{}", base(&visit.scope), view.row.id),
            phone: phone.to_owned(),
            error,
            code,
            part,
        },
    ))
}

pub(super) async fn ask_number(
    visit: TenantVisit,
    path: Path<(String, String)>,
    state: Data<State>,
) -> Answered {
    let device = device_in(&path)?;
    let view = state
        .sessions
        .device(&visit.scope, device)
        .await
        .map_err(failed)?;
    if is_number(&view.row) {
        return Ok(see_other(format!("{}/{device}", base(&visit.scope))));
    }
    pair_page(&visit, &state, &view, StatusCode::OK, "", Ok(None)).await
}

/// The code is shown in the answer to the form: it is nobody's else, and an address or a redirect is no place for it.
pub(super) async fn make_code(
    posted: TenantPosted,
    path: Path<(String, String)>,
    state: Data<State>,
) -> Answered {
    let device = device_in(&path)?;
    let TenantPosted { visit, fields } = posted;
    let l = visit.l();
    let view = state
        .sessions
        .device(&visit.scope, device)
        .await
        .map_err(failed)?;
    let typed = fields.text("phone")?.unwrap_or_default();
    let Some(phone) = read_phone(typed) else {
        let words = l.t(
            "Type the number with its country code, for example 62 812 3456 7890.",
            "Ketik nomornya dengan kode negara, misalnya 62 812 3456 7890.",
        );
        let refused = Err(words.to_owned());
        return pair_page(&visit, &state, &view, StatusCode::BAD_REQUEST, typed, refused).await;
    };
    match pair(&state, &visit, &view, &phone).await {
        Ok(code) => {
            let view = state
                .sessions
                .device(&visit.scope, device)
                .await
                .map_err(failed)?;
            pair_page(&visit, &state, &view, StatusCode::OK, typed, Ok(Some(code))).await
        }
        Err(error) => match trouble(&error) {
            Some((status, en, id)) => {
                let refused = Err(l.t(en, id).to_owned());
                pair_page(&visit, &state, &view, status, typed, refused).await
            }
            None => Err(failed(error)),
        },
    }
}

/// Asks for a code. What is not connected is connected first, so that nobody has to know that there is such a step.
async fn pair(
    state: &State,
    visit: &TenantVisit,
    view: &DeviceView,
    phone: &PhoneNumber,
) -> Result<String, SessionError> {
    let (scope, device, actor): (_, AccountId, _) = (&visit.scope, view.row.account(), visit.actor());
    let waits = matches!(&view.standing, Standing::Known { connected: true, .. });
    // A GoWA begins to log in when it is asked for the code.
    if !waits && (!view.row.has_session || view.row.provider == Provider::Genfity.as_str()) {
        state.sessions.connect_device(scope, device, &actor).await?;
    }
    let code = state
        .sessions
        .pair_phone(scope, Which::Device(device), phone, &actor)
        .await?;
    Ok(code.0)
}

/// A number as people type it: blanks, marks and a plus are no part of it, and a leading zero is Indonesia's.
fn read_phone(typed: &str) -> Option<PhoneNumber> {
    let digits: String = typed
        .chars()
        .filter(|c| !matches!(c, ' ' | '-' | '.' | '(' | ')' | '\u{a0}'))
        .collect();
    let digits = digits.strip_prefix('+').unwrap_or(&digits);
    let digits = match digits.strip_prefix('0') {
        Some(rest) => format!("62{rest}"),
        None => digits.to_owned(),
    };
    PhoneNumber::parse(&digits).ok()
}

#[cfg(test)]
mod tests {
    use super::read_phone;

    #[test]
    fn a_number_may_be_typed_as_it_stands_on_a_card() {
        for typed in [
            "6281234567890",
            "+62 812-3456-7890",
            "0812 3456 7890",
            "(0812) 3456.7890",
        ] {
            let phone = read_phone(typed).unwrap();
            assert_eq!(phone.as_str(), "6281234567890", "{typed}");
        }
        for wrong in ["", "nol delapan", "+", "12"] {
            assert!(read_phone(wrong).is_none(), "{wrong}");
        }
    }
}
