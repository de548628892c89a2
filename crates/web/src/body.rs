//! Reading a body with a bound on its size, on all bodies together and on the caller's patience.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use actix_web::HttpRequest;
use actix_web::http::StatusCode;
use actix_web::http::header::CONTENT_LENGTH;
use actix_web::web::{BytesMut, Payload};
use bytes::Bytes;
use futures_util::StreamExt as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::error::ApiError;

/// A caller that has not sent its body by then is holding a place for nothing.
const PATIENCE: Duration = Duration::from_secs(60);

/// When to come again after the budget was used up.
const COME_BACK: Duration = Duration::from_secs(2);
/// The budget of a process that configures none: 256 MiB.
static DEFAULT_BUDGET: LazyLock<BodyBudget> = LazyLock::new(|| BodyBudget::of(256 * 1024 * 1024));

/// How many bytes of bodies may be in memory at once, of whatever callers: they are read before anybody knows who calls.
/// Put into the app's data; cheap to clone.
#[derive(Debug, Clone)]
pub struct BodyBudget(Arc<Semaphore>);

impl BodyBudget {
    /// A budget of so many bytes.
    #[must_use]
    pub fn of(bytes: usize) -> Self {
        Self(Arc::new(Semaphore::new(bytes.min(Semaphore::MAX_PERMITS))))
    }

    /// The budget of the app that serves this request.
    #[must_use]
    pub fn of_app(request: &HttpRequest) -> &Self {
        request.app_data::<Self>().unwrap_or(&DEFAULT_BUDGET)
    }

    fn take(&self, bytes: usize) -> Result<OwnedSemaphorePermit, ApiError> {
        let place = u32::try_from(bytes)
            .ok()
            .and_then(|bytes| Arc::clone(&self.0).try_acquire_many_owned(bytes).ok());
        place.ok_or_else(|| {
            metrics::counter!("kanal_bodies_over_budget_total").increment(1);
            ApiError::unavailable(COME_BACK)
        })
    }
}

/// A body's part of the budget; it comes back when this is dropped.
#[derive(Debug, Default)]
pub struct BodyPlace(Option<OwnedSemaphorePermit>);

impl BodyPlace {
    /// Takes so many bytes more.
    ///
    /// # Errors
    /// 503: there is no room for them now.
    pub fn grow(&mut self, budget: &BodyBudget, bytes: usize) -> Result<(), ApiError> {
        let more = budget.take(bytes)?;
        match &mut self.0 {
            Some(place) => place.merge(more),
            None => self.0 = Some(more),
        }
        Ok(())
    }

    /// Binds the place to the bytes it is for: it comes back when the last copy of them is gone.
    #[must_use]
    pub fn hold(self, body: impl AsRef<[u8]> + Send + 'static) -> Bytes {
        Bytes::from_owner(Budgeted { body, _place: self })
    }
}

struct Budgeted<B> {
    body: B,
    _place: BodyPlace,
}

impl<B: AsRef<[u8]>> AsRef<[u8]> for Budgeted<B> {
    fn as_ref(&self) -> &[u8] {
        self.body.as_ref()
    }
}

/// Reads the raw bytes of a body of at most `limit` bytes, announced or chunked alike, within the app's [`BodyBudget`].
///
/// # Errors
/// 413 above the limit, 503 above the budget, 408 when it takes too long, 400 when it is cut off.
pub async fn read_body(request: &HttpRequest, payload: Payload, limit: usize) -> Result<Bytes, ApiError> {
    read_within(PATIENCE, BodyBudget::of_app(request), request, payload, limit).await
}

async fn read_within(
    patience: Duration,
    budget: &BodyBudget,
    request: &HttpRequest,
    mut payload: Payload,
    limit: usize,
) -> Result<Bytes, ApiError> {
    let announced = request
        .headers()
        .get(CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if announced.is_some_and(|length| length > limit) {
        return Err(ApiError::too_large());
    }
    let reading = async {
        let mut body = BytesMut::with_capacity(announced.unwrap_or(0).min(64 * 1024));
        let mut place = BodyPlace::default();
        while let Some(chunk) = payload.next().await {
            let chunk =
                chunk.map_err(|_| ApiError::bad_request("body_cut_off", "The request body ended early"))?;
            if body.len() + chunk.len() > limit {
                return Err(ApiError::too_large());
            }
            place.grow(budget, chunk.len())?;
            body.extend_from_slice(&chunk);
        }
        Ok(place.hold(body))
    };
    tokio::time::timeout(patience, reading).await.unwrap_or_else(|_| {
        Err(ApiError::new(
            StatusCode::REQUEST_TIMEOUT,
            "body_too_slow",
            "The request body took too long",
        ))
    })
}

#[cfg(test)]
mod tests {
    use actix_web::error::PayloadError;
    use actix_web::test::TestRequest;
    use actix_web::{FromRequest as _, ResponseError as _};
    use futures_util::Stream;
    use futures_util::stream;

    use super::*;

    async fn read(
        chunks: impl Stream<Item = Result<Bytes, PayloadError>> + 'static,
        patience: Duration,
    ) -> Result<Bytes, ApiError> {
        read_in(&BodyBudget::of(100), chunks, patience).await
    }

    async fn read_in(
        budget: &BodyBudget,
        chunks: impl Stream<Item = Result<Bytes, PayloadError>> + 'static,
        patience: Duration,
    ) -> Result<Bytes, ApiError> {
        let request = TestRequest::default().to_http_request();
        let mut payload =
            actix_web::dev::Payload::from(Box::pin(chunks) as std::pin::Pin<Box<dyn Stream<Item = _>>>);
        let payload = Payload::from_request(&request, &mut payload).await.unwrap();
        read_within(patience, budget, &request, payload, 10).await
    }

    fn chunk(text: &'static str) -> Result<Bytes, PayloadError> {
        Ok(Bytes::from_static(text.as_bytes()))
    }

    #[actix_web::test]
    async fn a_body_of_the_limit_is_read_and_one_byte_more_is_refused() {
        let exact = read(stream::iter([chunk("12345"), chunk("67890")]), PATIENCE).await;
        assert_eq!(exact.unwrap(), "1234567890");
        let more = read(
            stream::iter([chunk("12345"), chunk("67890"), chunk("1")]),
            PATIENCE,
        )
        .await;
        assert_eq!(more.unwrap_err().code(), "payload_too_large");
    }

    #[actix_web::test]
    async fn a_body_that_does_not_come_is_not_waited_for_for_ever() {
        let slow = stream::StreamExt::chain(stream::iter([chunk("12345")]), stream::pending());
        let error = read(slow, Duration::from_millis(50)).await.unwrap_err();
        assert_eq!(error.code(), "body_too_slow");
    }

    #[actix_web::test]
    async fn all_bodies_together_stay_within_the_budget() {
        let budget = BodyBudget::of(12);
        let ten = || stream::iter([chunk("12345"), chunk("67890")]);
        let first = read_in(&budget, ten(), PATIENCE).await.unwrap();
        let kept = first.slice(..2);
        drop(first);
        let error = read_in(&budget, ten(), PATIENCE).await.unwrap_err();
        assert_eq!(
            (error.code(), error.status_code()),
            ("temporarily_unavailable", StatusCode::SERVICE_UNAVAILABLE)
        );
        // What was read of the refused one is given back; what is still in use is not.
        assert_eq!(budget.0.available_permits(), 2);
        drop(kept);
        assert_eq!(read_in(&budget, ten(), PATIENCE).await.unwrap(), "1234567890");
        assert_eq!(budget.0.available_permits(), 12);
    }

    #[actix_web::test]
    async fn a_body_that_is_cut_off_is_no_body() {
        let cut = stream::iter([chunk("12345"), Err(PayloadError::Incomplete(None))]);
        assert_eq!(read(cut, PATIENCE).await.unwrap_err().code(), "body_cut_off");
    }
}
