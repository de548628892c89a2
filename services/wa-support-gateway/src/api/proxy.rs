//! `/wa/*` and `/v1/wa/*`: the token proxy (contract §8).

use actix_web::body::SizedStream;
use actix_web::http::StatusCode;
use actix_web::http::header::{ACCEPT, CONTENT_ENCODING, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use actix_web::web::{self, Data};
use actix_web::{HttpRequest, HttpResponse};
use web::Payload;

use super::{session_token, upload};
use crate::error::Error;
use crate::flows::proxy_path::ProxyPath;
use crate::flows::proxy_query;
use crate::state::Gateway;
use crate::wa_server::{Answer, AnswerBody, ForwardError, ForwardRequest, announced};

/// Where the proxy hangs. Matched against the raw path: another spelling of a prefix is another path.
const PREFIXES: [&str; 2] = ["/wa", "/v1/wa"];

/// What a caller may know of an answer besides its status and body.
const RETURNED: [HeaderName; 3] = [CONTENT_TYPE, CONTENT_ENCODING, RETRY_AFTER];

/// Passes a request on to the WA server, or says why not.
pub(crate) async fn proxy(
    request: HttpRequest,
    payload: Payload,
    gateway: Data<Gateway>,
) -> Result<HttpResponse, ::web::ApiError> {
    let mut count = Count("caller_left");
    let answered = pass_on(&request, payload, &gateway).await;
    count.0 = answered.as_ref().map_or_else(Error::outcome, |_| "forwarded");
    answered.map_err(|error| error.answer(request.path()))
}

async fn pass_on(
    request: &HttpRequest,
    payload: Payload,
    gateway: &Data<Gateway>,
) -> Result<HttpResponse, Error> {
    let raw = request.uri().path();
    let rest = PREFIXES
        .iter()
        .find_map(|prefix| raw.strip_prefix(prefix))
        .filter(|rest| rest.starts_with('/'));
    let (Some(rest), Some(method)) = (rest, passed_on(request.method())) else {
        return Err(Error::NoRoute);
    };

    let presented = session_token::presented(request.headers())?;
    if !gateway.policies.are_confirmed() {
        return Err(Error::NotReady);
    }
    let admissions = gateway.admissions.clone();
    let admitted = gateway
        .on_process(async move { admissions.admit(&presented).await })
        .await?;
    ::web::note_tenant(&admitted.scope);

    let path = ProxyPath::judge(method.as_str(), rest)?;
    let (body, fault) = upload::begin(request, payload, gateway.body_limit).await?;
    let outgoing = ForwardRequest {
        method,
        path,
        query: request.uri().query().and_then(proxy_query::without_tokens),
        token: admitted.token,
        content_type: upstream_header(request, &CONTENT_TYPE),
        accept: upstream_header(request, &ACCEPT),
        body,
    };
    let forwarder = gateway.forwarder.clone();
    let answer = gateway
        .on_process(async move { Ok(forwarder.forward(outgoing).await?) })
        .await;
    match answer {
        Ok(answer) => passed_back(answer),
        Err(error @ Error::Forward(_)) => Err(fault.error().unwrap_or(error)),
        Err(error) => Err(error),
    }
}

/// The methods of the contract (§8.1); with another one a path is as unknown as any.
fn passed_on(method: &actix_web::http::Method) -> Option<hyper::Method> {
    use hyper::Method;
    [
        Method::GET,
        Method::POST,
        Method::PUT,
        Method::PATCH,
        Method::DELETE,
        Method::HEAD,
    ]
    .into_iter()
    .find(|known| known.as_str() == method.as_str())
}

/// actix and the client speak two generations of the http crate; bytes are what both understand.
fn upstream_header(request: &HttpRequest, name: &HeaderName) -> Option<hyper::header::HeaderValue> {
    let value = request.headers().get(name)?;
    hyper::header::HeaderValue::from_bytes(value.as_bytes()).ok()
}

fn passed_back(answer: Answer) -> Result<HttpResponse, Error> {
    let status = StatusCode::from_u16(answer.status.as_u16())
        .map_err(|_| Error::Forward(ForwardError::Unavailable))?;
    let mut response = HttpResponse::build(status);
    for name in RETURNED {
        let value = answer.headers.get(name.as_str());
        if let Some(value) = value.and_then(|value| HeaderValue::from_bytes(value.as_bytes()).ok()) {
            response.insert_header((name, value));
        }
    }
    Ok(match answer.body {
        AnswerBody::Whole(body) => response.body(body),
        // Read from the header: the answer to a HEAD announces the length of a body it does not have.
        AnswerBody::Pieces(pieces) => match announced(&answer.headers) {
            Some(length) => response.body(SizedStream::new(length, pieces)),
            None if status == StatusCode::NO_CONTENT => response.finish(),
            None => response.streaming(pieces),
        },
    })
}

/// Counts a request when it is over, also one whose caller did not wait.
struct Count(&'static str);

impl Drop for Count {
    fn drop(&mut self) {
        metrics::counter!("kanal_proxy_requests_total", "outcome" => self.0).increment(1);
    }
}
