//! A caller's body on its way upstream: bounded in size, bounded in memory.
//!
//! actix's payload stays on its worker thread, the upstream request does not. Between the two runs a channel of a few
//! pieces, so a slow WA server slows the caller down instead of filling our memory.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use actix_web::HttpRequest;
use actix_web::dev::Payload;
use actix_web::http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use tokio::sync::mpsc;

use crate::error::Error;
use crate::wa_server::{BrokenBody, ForwardBody, whole};

/// A body that announces no more than this is taken whole before it is passed on, in bytes.
const WHOLE: u64 = 64 * 1024;

/// Pieces between the caller and the WA server. actix reads at most 64 KiB at a time.
const PIECES_IN_FLIGHT: usize = 4;

/// A caller that has not sent a small body by then is holding a place for nothing.
const PATIENCE: Duration = Duration::from_secs(60);

/// What went wrong with a body after it had begun to flow.
#[derive(Debug, Clone, Default)]
pub(crate) struct UploadFault(Arc<OnceLock<Fault>>);

#[derive(Debug, Clone, Copy)]
enum Fault {
    TooLarge,
    CutOff,
}

impl UploadFault {
    /// The reason an upstream request broke off, when it was the caller's.
    pub(crate) fn error(&self) -> Option<Error> {
        self.0.get().map(|fault| match fault {
            Fault::TooLarge => Error::TooLarge,
            Fault::CutOff => Error::BodyCutOff,
        })
    }
}

enum Piece {
    Part(Bytes),
    /// Said and not merely implied: a channel that just closes is an upload that somebody gave up.
    End,
}

/// Makes an upload of the request's body, if it has one. Sending a stream without need would turn a plain GET into a
/// chunked one.
pub(crate) async fn begin(
    request: &HttpRequest,
    mut payload: Payload,
    limit: u64,
) -> Result<(Option<ForwardBody>, UploadFault), Error> {
    let fault = UploadFault::default();
    let announced = request.headers().get(CONTENT_LENGTH);
    if announced.is_none() && !request.headers().contains_key(TRANSFER_ENCODING) {
        return Ok((None, fault));
    }
    // actix has refused a length that is no number, and one beside a transfer encoding.
    let length = announced.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if length.is_some_and(|length| length > limit) {
        return Err(Error::TooLarge);
    }
    if length.is_some_and(|length| length <= WHOLE) {
        let body = tokio::time::timeout(PATIENCE, whole(async || payload.try_next().await)).await;
        let Ok(Ok(body)) = body else {
            return Err(Error::BodyCutOff);
        };
        return Ok((Some(ForwardBody::Whole(body)), fault));
    }
    let (sender, receiver) = mpsc::channel(PIECES_IN_FLIGHT);
    actix_web::rt::spawn(pump(payload, sender, limit, fault.clone()));
    let pieces = stream::unfold(Some(receiver), |receiver| async move {
        let mut receiver: mpsc::Receiver<Piece> = receiver?;
        match receiver.recv().await {
            Some(Piece::Part(part)) => Some((Ok(part), Some(receiver))),
            Some(Piece::End) => None,
            None => Some((Err(BrokenBody), None)),
        }
    });
    Ok((
        Some(ForwardBody::Pieces {
            length,
            pieces: pieces.boxed(),
        }),
        fault,
    ))
}

async fn pump(mut payload: Payload, sender: mpsc::Sender<Piece>, limit: u64, fault: UploadFault) {
    let mut taken: u64 = 0;
    loop {
        let next = tokio::select! {
            next = payload.next() => next,
            () = sender.closed() => return,
        };
        let piece = match next {
            None => Piece::End,
            Some(Ok(part)) => {
                taken = taken.saturating_add(u64::try_from(part.len()).unwrap_or(u64::MAX));
                if taken > limit {
                    fault.0.get_or_init(|| Fault::TooLarge);
                    return;
                }
                Piece::Part(part)
            }
            Some(Err(_)) => {
                fault.0.get_or_init(|| Fault::CutOff);
                return;
            }
        };
        let last = matches!(piece, Piece::End);
        if sender.send(piece).await.is_err() || last {
            return;
        }
    }
}
