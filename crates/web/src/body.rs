//! Reading a body with a bound on its size and on the caller's patience.

use std::time::Duration;

use actix_web::HttpRequest;
use actix_web::http::StatusCode;
use actix_web::http::header::CONTENT_LENGTH;
use actix_web::web::{BytesMut, Payload};
use bytes::Bytes;
use futures_util::StreamExt as _;

use crate::error::ApiError;

/// A caller that has not sent its body by then is holding a place for nothing.
const PATIENCE: Duration = Duration::from_secs(60);

/// Reads the raw bytes of a body of at most `limit` bytes, announced or chunked alike.
///
/// # Errors
/// 413 above the limit, 408 when it takes too long, 400 when it is cut off.
pub async fn read_body(request: &HttpRequest, payload: Payload, limit: usize) -> Result<Bytes, ApiError> {
    read_within(PATIENCE, request, payload, limit).await
}

async fn read_within(
    patience: Duration,
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
        while let Some(chunk) = payload.next().await {
            let chunk =
                chunk.map_err(|_| ApiError::bad_request("body_cut_off", "The request body ended early"))?;
            if body.len() + chunk.len() > limit {
                return Err(ApiError::too_large());
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body.freeze())
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
    use actix_web::FromRequest as _;
    use actix_web::error::PayloadError;
    use actix_web::test::TestRequest;
    use futures_util::Stream;
    use futures_util::stream;

    use super::*;

    async fn read(
        chunks: impl Stream<Item = Result<Bytes, PayloadError>> + 'static,
        patience: Duration,
    ) -> Result<Bytes, ApiError> {
        let request = TestRequest::default().to_http_request();
        let mut payload =
            actix_web::dev::Payload::from(Box::pin(chunks) as std::pin::Pin<Box<dyn Stream<Item = _>>>);
        let payload = Payload::from_request(&request, &mut payload).await.unwrap();
        read_within(patience, &request, payload, 10).await
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
    async fn a_body_that_is_cut_off_is_no_body() {
        let cut = stream::iter([chunk("12345"), Err(PayloadError::Incomplete(None))]);
        assert_eq!(read(cut, PATIENCE).await.unwrap_err().code(), "body_cut_off");
    }
}
