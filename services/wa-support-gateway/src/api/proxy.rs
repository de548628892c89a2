//! `/wa/*` and `/v1/wa/*`: the token proxy (contract §8).

use ::web::source;
use actix_web::body::SizedStream;
use actix_web::http::StatusCode;
use actix_web::http::header::{
    ACCEPT, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER,
};
use actix_web::web::{self, Data};
use actix_web::{HttpRequest, HttpResponse, ResponseError as _};
use futures_util::StreamExt as _;
use secrecy::SecretString;
use web::Payload;

use super::budget::announce;
use super::upload::UploadFault;
use super::{session_token, upload};
use crate::error::Error;
use crate::flows::admit::Admitted;
use crate::flows::limit::Budget;
use crate::flows::proxy_path::ProxyPath;
use crate::flows::send_kind::SendKind;
use crate::flows::sending::Sending;
use crate::flows::{proxy_query, typing};
use crate::state::Gateway;
use crate::wa_server::{ForwardBody, ForwardError, ForwardRequest};

/// Where the proxy hangs. Matched against the raw path: another spelling of a prefix is another path.
const PREFIXES: [&str; 2] = ["/wa", "/v1/wa"];

/// What a caller may know of an answer besides its status and body.
const RETURNED: [HeaderName; 3] = [CONTENT_TYPE, CONTENT_ENCODING, RETRY_AFTER];

/// Passes a request on to the WA server, or says why not. Either way the answer says where its caller stands with the
/// limits.
pub(crate) async fn proxy(request: HttpRequest, payload: Payload, gateway: Data<Gateway>) -> HttpResponse {
    let mut count = Count("caller_left");
    let mut budget = None;
    let answered = pass_on(&request, payload, &gateway, &mut budget).await;
    count.0 = answered.as_ref().map_or_else(Error::outcome, |_| "forwarded");
    let mut response = answered.unwrap_or_else(|error| error.answer(request.path()).error_response());
    if let Some(budget) = budget {
        announce(&mut response, &budget);
    }
    response
}

async fn pass_on(
    request: &HttpRequest,
    payload: Payload,
    gateway: &Data<Gateway>,
    budget: &mut Option<Budget>,
) -> Result<HttpResponse, Error> {
    let raw = request.uri().path();
    let rest = PREFIXES
        .iter()
        .find_map(|prefix| raw.strip_prefix(prefix))
        .filter(|rest| rest.starts_with('/'));
    let (Some(rest), Some(method)) = (rest, passed_on(request.method())) else {
        return Err(Error::NoRoute);
    };

    let presented = session_token::presented(request.headers(), request.uri().query());
    if !gateway.policies.are_confirmed() {
        return Err(Error::NotReady);
    }
    let address = source::caller_or_peer(request, &gateway.callers.proxies);
    let (admissions, limits) = (gateway.admissions.clone(), gateway.traffic.limits.clone());
    let entered = gateway
        .on_process(async move { Ok(admissions.enter(presented, address, &limits).await) })
        .await?;
    *budget = entered.budget;
    let admitted = entered.admitted?;
    ::web::note_tenant(&admitted.scope);

    let path = ProxyPath::judge(method.as_str(), rest)?;
    let outgoing = Outgoing {
        kind: SendKind::of(method.as_str(), &path),
        query: request.uri().query().and_then(proxy_query::without_tokens),
        content_type: upstream_header(request, &CONTENT_TYPE),
        accept: upstream_header(request, &ACCEPT),
        method,
        path,
    };
    match outgoing.kind {
        Some(kind) => send(request, payload, gateway, admitted, outgoing, kind).await,
        None => {
            let (body, fault) = upload::begin(request, payload, gateway.body_limit)?;
            let forwarded = forward(gateway, outgoing.with(admitted.token, body)).await;
            passed_back(forwarded.map_err(|error| blamed(error, &fault))?)
        }
    }
}

/// What goes upstream, but for the token and the body.
struct Outgoing {
    kind: Option<SendKind>,
    method: reqwest::Method,
    path: ProxyPath,
    query: Option<String>,
    content_type: Option<reqwest::header::HeaderValue>,
    accept: Option<reqwest::header::HeaderValue>,
}

impl Outgoing {
    fn with(self, token: SecretString, body: Option<ForwardBody>) -> ForwardRequest {
        ForwardRequest {
            method: self.method,
            path: self.path,
            query: self.query,
            token,
            content_type: self.content_type,
            accept: self.accept,
            body,
        }
    }
}

/// A send: charged before it goes out, settled when its outcome is known.
async fn send(
    request: &HttpRequest,
    mut payload: Payload,
    gateway: &Data<Gateway>,
    admitted: Admitted,
    outgoing: Outgoing,
    kind: SendKind,
) -> Result<HttpResponse, Error> {
    let traffic = gateway.traffic.clone();
    let (admitted, mut sending) = gateway
        .on_process(async move {
            let sending = Sending::begin(&traffic, &admitted, kind).await?;
            Ok((admitted, sending))
        })
        .await?;
    let small = if admitted.typing && kind == SendKind::Text {
        upload::read_small(request, &mut payload, typing::BODY_LIMIT).await?
    } else {
        None
    };
    let (body, fault, typed) = match small {
        Some(body) => {
            let (typing, token, text) = (
                gateway.traffic.typing.clone(),
                admitted.token.clone(),
                body.clone(),
            );
            let typed = gateway
                .on_process(async move { Ok(typing.begin(&token, &text).await) })
                .await?;
            (Some(upload::whole(body)), UploadFault::default(), typed)
        }
        None => {
            let (body, fault) = upload::begin(request, payload, gateway.body_limit)?;
            (body, fault, None)
        }
    };
    sending.goes_out();
    let forwarded = forward(gateway, outgoing.with(admitted.token, body)).await;
    if let Some(typed) = typed {
        // The answer does not wait for it.
        drop(gateway.process.spawn(typed.end()));
    }
    match forwarded {
        Ok(answer) => {
            sending.answered(answer.status().is_success());
            passed_back(answer)
        }
        Err(error) => {
            let error = blamed(error, &fault);
            match error {
                Error::Forward(ForwardError::Redirected) => sending.answered(false),
                Error::Forward(ForwardError::Unreachable) | Error::TooLarge | Error::BodyCutOff => {
                    sending.did_not_happen();
                }
                // Nobody knows.
                _ => drop(sending),
            }
            Err(error)
        }
    }
}

async fn forward(gateway: &Data<Gateway>, outgoing: ForwardRequest) -> Result<reqwest::Response, Error> {
    let wa_server = gateway.wa_server.clone();
    gateway
        .on_process(async move { Ok(wa_server.forward(outgoing).await?) })
        .await
}

/// A request that broke off because its caller's body did is the caller's error.
fn blamed(error: Error, fault: &UploadFault) -> Error {
    match error {
        Error::Forward(_) => fault.error().unwrap_or(error),
        other => other,
    }
}

/// The methods of the contract (§8.1); with another one a path is as unknown as any.
fn passed_on(method: &actix_web::http::Method) -> Option<reqwest::Method> {
    use reqwest::Method;
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
fn upstream_header(request: &HttpRequest, name: &HeaderName) -> Option<reqwest::header::HeaderValue> {
    let value = request.headers().get(name)?;
    reqwest::header::HeaderValue::from_bytes(value.as_bytes()).ok()
}

fn passed_back(answer: reqwest::Response) -> Result<HttpResponse, Error> {
    let status = StatusCode::from_u16(answer.status().as_u16())
        .map_err(|_| Error::Forward(ForwardError::Unavailable))?;
    let mut response = HttpResponse::build(status);
    for name in RETURNED {
        let value = answer.headers().get(name.as_str());
        if let Some(value) = value.and_then(|value| HeaderValue::from_bytes(value.as_bytes()).ok()) {
            response.insert_header((name, value));
        }
    }
    // Read from the header: the answer to a HEAD announces the length of a body it does not have.
    let length = answer
        .headers()
        .get(CONTENT_LENGTH.as_str())
        .and_then(|length| length.to_str().ok()?.parse().ok());
    let body = answer.bytes_stream().map(|piece| {
        piece.map_err(|error| {
            tracing::warn!(error = ?error.without_url(), "the WA server's answer broke off");
            ForwardError::Unavailable
        })
    });
    Ok(match length {
        Some(length) => response.body(SizedStream::new(length, body)),
        None if status == StatusCode::NO_CONTENT => response.finish(),
        None => response.streaming(body),
    })
}

/// Counts a request when it is over, also one whose caller did not wait.
struct Count(&'static str);

impl Drop for Count {
    fn drop(&mut self) {
        metrics::counter!("kanal_proxy_requests_total", "outcome" => self.0).increment(1);
    }
}
