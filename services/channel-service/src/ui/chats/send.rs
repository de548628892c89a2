//! The form under a chat: words, a file, or both. It works without a script, so it is one form of several parts; what was
//! written stays in it when it is not taken.

use std::time::Duration;

use actix_multipart::{Field, Multipart};
use actix_web::http::StatusCode;
use actix_web::http::header::CONTENT_TYPE;
use actix_web::web::{self, Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use console::{Language, page, see_other};
use domain::ids::{ChatId, MessageId};
use domain::text::Text;
use futures_util::StreamExt as _;
use futures_util::stream::Fuse;

use super::view::{Draft, base, window_closed};
use super::{chat_id, shown, uuid_of, words};
use crate::app::State;
use crate::error::ServiceError;
use crate::flows::answer::{Answer, AnswerError, Answers};
use crate::flows::chat::ChatError;
use crate::flows::gate::uploads::{Announcement, Arrived, UploadError};
use crate::flows::order_message::OrderError;
use crate::flows::send_text::IdempotencyKey;
use crate::flows::thread::{self, Opened};
use crate::store::thread::End;
use crate::ui::errors::PageError;
use crate::ui::visit::TenantVisit;

/// Who sends more slowly than this holds a place for nothing.
const PATIENCE: Duration = Duration::from_secs(120);
/// Bytes of one field of words: as many as the longest text may have.
const LONGEST_FIELD: usize = Text::MAX_CHARS * 4;
/// What is read beyond that, so that the sender reads our answer and not a broken connection.
const DRAINED: usize = 128 * 1024 * 1024;
/// Parts of a form.
const MOST_PARTS: usize = 10;

/// What the form brought.
#[derive(Default)]
struct Form {
    csrf: String,
    key: String,
    to: String,
    text: String,
    is_too_long: bool,
    file: Option<Result<Arrived, UploadError>>,
}

pub(super) async fn send(
    visit: TenantVisit,
    request: HttpRequest,
    path: web::Path<(String, String)>,
    payload: Payload,
    state: Data<State>,
) -> Result<HttpResponse, PageError> {
    let chat = chat_id(&path.1)?;
    let kind = request.headers().get(CONTENT_TYPE);
    let kind = kind.and_then(|value| value.to_str().ok()).unwrap_or_default();
    if !kind
        .trim_start()
        .to_ascii_lowercase()
        .starts_with("multipart/form-data")
    {
        return Err(broken());
    }
    let reading = read(&visit, &state, Multipart::new(request.headers(), payload));
    let form = tokio::time::timeout(PATIENCE, reading)
        .await
        .map_err(|_| broken())??;
    let l = visit.l();
    let Form {
        key,
        to,
        text,
        is_too_long,
        file,
        ..
    } = form;
    let words = Text::new(&text);
    let to = uuid_of(Some(&to));
    let draft = |error: String| Draft {
        text: text.clone(),
        error,
        to,
    };
    if is_too_long || text.chars().count() > Text::MAX_CHARS {
        let error = l.t(
            "The message is too long: WhatsApp takes at most 65,536 characters. Shorten it.",
            "Pesan terlalu panjang: WhatsApp menerima paling banyak 65.536 karakter. Persingkatlah.",
        );
        return again(
            &visit,
            &state,
            chat,
            StatusCode::UNPROCESSABLE_ENTITY,
            draft(error.to_owned()),
        )
        .await;
    }
    let arrived = match file {
        Some(Err(error)) => {
            let status = match &error {
                UploadError::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
                UploadError::Database(_) | UploadError::Storage(_) => StatusCode::SERVICE_UNAVAILABLE,
                _ => StatusCode::UNPROCESSABLE_ENTITY,
            };
            return again(&visit, &state, chat, status, draft(refused_file(l, &error))).await;
        }
        Some(Ok(arrived)) => Some(arrived),
        None => None,
    };
    if arrived.is_none() && words.as_str().trim().is_empty() {
        let error = l.t(
            "Write something, or choose a file.",
            "Tulis sesuatu, atau pilih berkas.",
        );
        return again(
            &visit,
            &state,
            chat,
            StatusCode::UNPROCESSABLE_ENTITY,
            draft(error.to_owned()),
        )
        .await;
    }
    let key = IdempotencyKey::parse(&format!("dashboard {key}")).filter(|_| !key.is_empty());
    let answer = Answer {
        chat,
        words,
        to: to.map(MessageId::from_uuid),
        key: key.ok_or_else(broken)?,
    };
    let answers = Answers {
        db: &state.db,
        texts: &state.chats.texts,
        uploads: &state.gate.uploads,
        references: &state.gate.sender.references,
    };
    let sent = async {
        match arrived {
            Some(arrived) => answers.file(&visit.scope, answer, arrived).await,
            None => answers.words(&visit.scope, answer).await,
        }
    };
    let sent = messaging::cause::caused_by(::web::request_id(), &visit.scope, sent).await;
    match sent {
        Ok(()) => Ok(see_other(format!("{}/{chat}", base(&visit.scope)))),
        Err(error) => {
            let (status, words) = refused(l, error)?;
            again(&visit, &state, chat, status, draft(words)).await
        }
    }
}

/// Reads the form. The token of the session comes before everything that costs something.
async fn read(visit: &TenantVisit, state: &State, mut parts: Multipart) -> Result<Form, PageError> {
    let mut form = Form::default();
    let mut count = 0;
    while let Some(part) = parts.next().await {
        let mut part = part.map_err(|_| broken())?;
        count += 1;
        if count > MOST_PARTS {
            return Err(broken());
        }
        let name = part.name().unwrap_or_default().to_owned();
        match name.as_str() {
            "csrf" => form.csrf = words_of(&mut part).await?.0,
            "key" => form.key = words_of(&mut part).await?.0,
            "to" => form.to = words_of(&mut part).await?.0,
            "text" => (form.text, form.is_too_long) = words_of(&mut part).await?,
            "file" => {
                visit.check_csrf(&form.csrf)?;
                let called = part
                    .content_disposition()
                    .and_then(|disposition| disposition.get_filename())
                    .map(str::to_owned);
                // A browser sends the part of a file that nobody chose without a name.
                let is_chosen = called.as_deref().is_some_and(|name| !name.is_empty());
                let kind = part.content_type().map(|kind| kind.essence_str().to_owned());
                // Asked again after its end, a part panics.
                let mut bytes = part.fuse();
                if is_chosen && form.file.is_none() {
                    let announced = Announcement {
                        mime_type: kind.as_deref(),
                        file_name: called.as_deref(),
                    };
                    form.file = Some(take_in(visit, state, &announced, &mut bytes).await);
                }
                drain(&mut bytes).await?;
            }
            _ => drain(&mut part.fuse()).await?,
        }
    }
    visit.check_csrf(&form.csrf)?;
    Ok(form)
}

async fn take_in(
    visit: &TenantVisit,
    state: &State,
    announced: &Announcement<'_>,
    bytes: &mut Fuse<Field>,
) -> Result<Arrived, UploadError> {
    let uploads = &state.gate.uploads;
    let place = uploads.place(&visit.scope).await?;
    uploads.take_in(&place, announced, bytes).await
}

/// The words of a part, and whether there were more than are taken. Line ends as WhatsApp writes them.
async fn words_of(part: &mut Field) -> Result<(String, bool), PageError> {
    let mut bytes = Vec::new();
    let mut length = 0_usize;
    while let Some(chunk) = part.next().await {
        let chunk = chunk.map_err(|_| broken())?;
        length += chunk.len();
        if length > DRAINED {
            return Err(broken());
        }
        if length <= LONGEST_FIELD {
            bytes.extend_from_slice(&chunk);
        }
    }
    let text = String::from_utf8_lossy(&bytes).replace("\r\n", "\n");
    Ok((text, length > LONGEST_FIELD))
}

async fn drain(bytes: &mut Fuse<Field>) -> Result<(), PageError> {
    let mut length = 0_usize;
    while let Some(chunk) = bytes.next().await {
        length += chunk.map_err(|_| broken())?.len();
        if length > DRAINED {
            return Err(broken());
        }
    }
    Ok(())
}

fn broken() -> PageError {
    PageError::said(
        StatusCode::BAD_REQUEST,
        "The form did not arrive whole. Open the chat again and send it once more.",
        "Formulir tidak sampai dengan utuh. Buka lagi percakapannya, lalu kirim sekali lagi.",
    )
}

/// The page again, with what was written and why it was not taken.
async fn again(
    visit: &TenantVisit,
    state: &State,
    chat: ChatId,
    status: StatusCode,
    draft: Draft,
) -> Result<HttpResponse, PageError> {
    let references = &state.gate.sender.references;
    match thread::open(&state.db, &visit.scope, references, chat, End::Newest, true).await? {
        Opened::Here(thread) => Ok(page(status, &shown(visit, state, &thread, None, draft).await?)),
        Opened::Became(_) | Opened::Nothing => Err(PageError::NotFound),
    }
}

/// Why a file is not taken, and what to do.
fn refused_file(l: Language, error: &UploadError) -> String {
    match error {
        UploadError::TooLarge(most) => format!(
            "{} {}. {}",
            l.t(
                "The file is too large: WhatsApp takes at most",
                "Berkas terlalu besar: WhatsApp menerima paling banyak",
            ),
            l.size(*most),
            l.t("Choose a smaller one.", "Pilih yang lebih kecil."),
        ),
        UploadError::Suspicious(reason) => format!(
            "{} {}. {}",
            l.t("The file is not taken:", "Berkas tidak diterima:"),
            words::dangerous(l, reason),
            l.t("Choose another one.", "Pilih berkas lain."),
        ),
        UploadError::Empty => l
            .t(
                "The file is empty. Choose another one.",
                "Berkas kosong. Pilih berkas lain.",
            )
            .to_owned(),
        UploadError::Full(_) => l
            .t(
                "There is no room for more files at the moment. Those that were sent are removed after 30 days.",
                "Saat ini tidak ada ruang untuk berkas lagi. Berkas yang sudah dikirim dihapus setelah 30 hari.",
            )
            .to_owned(),
        UploadError::Busy => l
            .t(
                "Too many files are being sent at this moment. Try again in a few seconds.",
                "Terlalu banyak berkas sedang dikirim. Coba lagi beberapa detik lagi.",
            )
            .to_owned(),
        UploadError::Broken | UploadError::Slow => l
            .t(
                "The file did not arrive whole. Choose it again.",
                "Berkas tidak sampai dengan utuh. Pilih lagi.",
            )
            .to_owned(),
        UploadError::Storage(_) | UploadError::Database(_) => l
            .t(
                "The file cannot be kept just now. Try again in a few seconds.",
                "Berkas belum dapat disimpan. Coba lagi beberapa detik lagi.",
            )
            .to_owned(),
    }
}

/// Why nothing was sent, and what to do. Trouble of ours goes on as an error.
fn refused(l: Language, error: AnswerError) -> Result<(StatusCode, String), PageError> {
    let conflict = |en: &'static str, id: &'static str| Ok((StatusCode::CONFLICT, l.t(en, id).to_owned()));
    match error {
        AnswerError::NoChat => Err(PageError::NotFound),
        AnswerError::NoFiles => conflict(
            "A web chat takes words only. Send the file another way.",
            "Obrolan web hanya menerima kata-kata. Kirim berkasnya dengan cara lain.",
        ),
        AnswerError::Upload(error) => Ok((StatusCode::UNPROCESSABLE_ENTITY, refused_file(l, &error))),
        AnswerError::Order(OrderError::WindowClosed(_)) => Ok((StatusCode::CONFLICT, window_closed(l))),
        AnswerError::Order(OrderError::Chat(ChatError::KeyUsed)) => conflict(
            "This form was sent before with other words. Look whether your message is in the chat; if not, send it now.",
            "Formulir ini sudah pernah dikirim dengan kata-kata lain. Periksa apakah pesan Anda ada; bila belum, kirim sekarang.",
        ),
        AnswerError::Order(OrderError::Chat(ChatError::ChannelOff)) => conflict(
            "WhatsApp is switched off for this tenant. Switch it on in the settings.",
            "WhatsApp dimatikan untuk tenant ini. Nyalakan di pengaturan.",
        ),
        AnswerError::Order(OrderError::Chat(ChatError::Suspended)) => conflict(
            "The tenant is suspended, so nothing is sent.",
            "Tenant ditangguhkan, jadi tidak ada yang dikirim.",
        ),
        AnswerError::Order(OrderError::Chat(error)) => Err(ServiceError::from(error).into()),
        AnswerError::Order(
            OrderError::Unsayable(_)
            | OrderError::Template(_)
            | OrderError::NoTarget
            | OrderError::NoSuchDevice,
        ) => conflict(
            "The WhatsApp number of this chat cannot send this.",
            "Nomor WhatsApp percakapan ini tidak dapat mengirim ini.",
        ),
    }
}
