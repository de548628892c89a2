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
pub async fn read_body(request: &HttpRequest, mut payload: Payload, limit: usize) -> Result<Bytes, ApiError> {
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
    tokio::time::timeout(PATIENCE, reading).await.unwrap_or_else(|_| {
        Err(ApiError::new(
            StatusCode::REQUEST_TIMEOUT,
            "body_too_slow",
            "The request body took too long",
        ))
    })
}
