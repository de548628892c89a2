//! Bodies of `/internal` and `/v1`: JSON whatever their content type says, names of fields in any case, unknown fields
//! ignored, and never empty (contract §2).

use std::pin::Pin;

use ::web::{ApiError, Fields, read_body};
use actix_web::{FromRequest, HttpRequest, dev, web};
use serde_json::{Map, Value};

/// Largest body of fields, in bytes. The largest that means something is far below.
const LIMIT: usize = 1024 * 1024;

/// The fields of a body that has to be there.
#[derive(Debug, Clone)]
pub(crate) struct JsonFields(pub(crate) Fields);

/// The fields of a body that may be missing.
#[derive(Debug, Clone)]
pub(crate) struct OptionalJsonFields(pub(crate) Fields);

impl FromRequest for JsonFields {
    type Error = ApiError;
    type Future = Pin<Box<dyn Future<Output = Result<Self, ApiError>>>>;

    fn from_request(request: &HttpRequest, payload: &mut dev::Payload) -> Self::Future {
        let body = read(request, payload);
        Box::pin(async move {
            let fields = parse(&body.await?)?;
            fields
                .map(Self)
                .ok_or_else(|| ApiError::bad_request("body_required", "The request has no body"))
        })
    }
}

impl FromRequest for OptionalJsonFields {
    type Error = ApiError;
    type Future = Pin<Box<dyn Future<Output = Result<Self, ApiError>>>>;

    fn from_request(request: &HttpRequest, payload: &mut dev::Payload) -> Self::Future {
        let body = read(request, payload);
        Box::pin(async move { Ok(Self(parse(&body.await?)?.unwrap_or_default())) })
    }
}

fn read(
    request: &HttpRequest,
    payload: &mut dev::Payload,
) -> impl Future<Output = Result<bytes::Bytes, ApiError>> + 'static {
    let request = request.clone();
    let payload = web::Payload::from_request(&request, payload);
    async move {
        let payload = payload.await.map_err(|_| ApiError::internal())?;
        read_body(&request, payload, LIMIT).await
    }
}

/// `None`: there is no body.
fn parse(body: &[u8]) -> Result<Option<Fields>, ApiError> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Ok(None);
    }
    let given: Map<String, Value> = serde_json::from_slice(body)
        .map_err(|_| ApiError::bad_request("invalid_json", "The request body is not a JSON object"))?;
    let mut fields = Map::new();
    for (name, value) in given {
        fields.insert(name.to_lowercase(), value);
    }
    Ok(Some(Fields::from(fields)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_in_any_case_and_nothing_is_no_body() {
        let fields = parse(br#"{"User_ID": "desa-a", "more": 1}"#).unwrap().unwrap();
        assert_eq!(fields.text("user_id").unwrap(), Some("desa-a"));
        assert!(parse(b" \n").unwrap().is_none());
        for wrong in ["[]", "7", "{", "null"] {
            assert_eq!(
                parse(wrong.as_bytes()).unwrap_err().code(),
                "invalid_json",
                "{wrong}"
            );
        }
    }
}
