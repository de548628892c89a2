//! `/wa/*` and `/v1/wa/*`: the token proxy (contract §8).
//!
//! A request stays on the thread that read it: what it needs of others is at hand or is asked for over the thread's own
//! connections.

use std::net::IpAddr;
use std::sync::Arc;

use ::web::source;
use actix_web::body::SizedStream;
use actix_web::dev::{
    AppService, HttpServiceFactory, Payload, ResourceDef, ServiceRequest, ServiceResponse, fn_service,
};
use actix_web::http::header::{ACCEPT, CONTENT_ENCODING, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use actix_web::http::{Method, StatusCode};
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse, ResponseError as _};
use bytes::Bytes;
use futures_util::TryStreamExt as _;
use secrecy::SecretString;
use uuid::Uuid;

use super::budget::announce;
use super::cors::{Told, preflight};
use super::follow::{Follow, Watch};
use super::upload::UploadFault;
use super::{session_token, upload};
use crate::error::Error;
use crate::flows::admit::{Admitted, Known};
use crate::flows::limit::{Budget, Limits, OF_SESSION};
use crate::flows::proxy_path::ProxyPath;
use crate::flows::proxy_query;
use crate::flows::send_kind::SendKind;
use crate::flows::sending::Sending;
use crate::flows::typing::Typed;
use crate::state::{Gateway, WorkerLinks};
use crate::wa_server::{Answer, AnswerBody, ForwardBody, ForwardError, ForwardRequest, announced};

/// Where the proxy hangs. Matched against the raw path: another spelling of a prefix is another path.
const PREFIXES: [&str; 2] = ["/wa", "/v1/wa"];

const FORWARDED: &str = "forwarded";

/// What a caller may know of an answer besides its status and body.
const RETURNED: [HeaderName; 3] = [CONTENT_TYPE, CONTENT_ENCODING, RETRY_AFTER];

/// Everything below the proxy's prefixes. No resource: the pattern of one would be searched for in the path of every
/// request, only to find what begins like this.
pub(crate) struct Proxy;

impl HttpServiceFactory for Proxy {
    fn register(self, config: &mut AppService) {
        for prefix in PREFIXES {
            config.register_service(ResourceDef::prefix(prefix), None, fn_service(proxy), None);
        }
    }
}

/// Tells listed pages that they may read the answer, as `allow_listed_pages` does.
async fn proxy(request: ServiceRequest) -> Result<ServiceResponse, actix_web::Error> {
    let told = Told::of(&request);
    let (request, payload) = request.into_parts();
    let mut response = if request.method() == Method::OPTIONS {
        preflight().await
    } else {
        answer(&request, payload).await
    };
    told.write(response.headers_mut());
    Ok(ServiceResponse::new(request, response))
}

/// Passes a request on to the WA server, or says why not. Either way the answer says where its caller stands with the
/// limits.
async fn answer(request: &HttpRequest, payload: Payload) -> HttpResponse {
    let (gateway, links) = (request.app_data(), request.app_data());
    let (Some(gateway), Some(links)): (Option<&Data<Gateway>>, Option<&Data<WorkerLinks>>) = (gateway, links)
    else {
        return Error::NotReady.answer(request.path()).error_response();
    };
    let mut count = Count {
        outcome: "caller_left",
        forwarded: &links.forwarded,
    };
    let mut budget = None;
    let answered = pass_on(request, payload, gateway, links, &mut budget).await;
    count.outcome = answered.as_ref().map_or_else(Error::outcome, |_| FORWARDED);
    let mut response = answered.unwrap_or_else(|error| error.answer(request.path()).error_response());
    if let Some(budget) = budget {
        announce(&mut response, &budget);
    }
    response
}

async fn pass_on(
    request: &HttpRequest,
    payload: Payload,
    gateway: &Gateway,
    links: &WorkerLinks,
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
    let admitted = enter(gateway, &links.limits, presented, address, budget).await?;
    ::web::note_tenant(&admitted.scope);

    let path = ProxyPath::judge(method.as_str(), rest)?;
    let mut follow = Follow::new(&method, &path, &admitted.scope, admitted.session);
    let kind = SendKind::of(method.as_str(), &path);
    let (body, fault) = upload::begin(request, payload, gateway.body_limit).await?;
    let outgoing = ForwardRequest {
        method,
        path,
        query: request.uri().query().and_then(proxy_query::without_tokens),
        token: Arc::clone(&admitted.token),
        content_type: upstream_header(request, &CONTENT_TYPE),
        accept: upstream_header(request, &ACCEPT),
        body,
    };
    follow.goes_out(gateway).await?;
    let answer = match kind {
        Some(kind) => send(gateway, links, &admitted, outgoing, kind, &fault).await?,
        None => forward(links, outgoing, &fault).await?,
    };
    let watch = follow.answered(gateway, answer.status.is_success());
    passed_back(answer, watch)
}

/// Judges a presented token, after its session was counted; whoever shows none that is known is counted by its address
/// (contract §8.2, §12).
async fn enter(
    gateway: &Gateway,
    limits: &Limits,
    presented: Result<SecretString, Error>,
    address: Option<IpAddr>,
    budget: &mut Option<Budget>,
) -> Result<Admitted, Error> {
    let known = match presented {
        Ok(token) => known(gateway, token, address).await,
        Err(error) => Err(error),
    };
    let (counted, known) = match known {
        Ok(known) => {
            let session = known.session().simple();
            let mut digits = Uuid::encode_buffer();
            let session = session.encode_lower(&mut digits);
            (limits.known(&known.scope(), OF_SESSION, session).await, Ok(known))
        }
        Err(stranger @ (Error::TokenRequired | Error::InvalidToken)) => {
            (limits.stranger(address).await, Err(stranger))
        }
        // Refused by its own budget, and counted there. Our own trouble is nobody's request.
        Err(error) => return Err(error),
    };
    *budget = Some(counted.unwrap_or_else(|excess| excess.budget));
    counted?;
    let known = known?;
    if let Some(admitted) = gateway.admissions.admit(&known)? {
        return Ok(admitted);
    }
    let admissions = gateway.admissions.clone();
    gateway
        .on_process(async move { admissions.admit_anew(&known).await })
        .await
}

/// Whose token it is: nearly always at hand, else somebody has to be asked.
async fn known(gateway: &Gateway, token: SecretString, address: Option<IpAddr>) -> Result<Known, Error> {
    if let Some(known) = gateway.admissions.at_hand(&token).await {
        return Ok(known);
    }
    let admissions = gateway.admissions.clone();
    gateway
        .on_process(async move { admissions.look_up(&token, address).await })
        .await
}

/// A send: charged before it goes out, settled when its outcome is known.
async fn send(
    gateway: &Gateway,
    links: &WorkerLinks,
    admitted: &Admitted,
    outgoing: ForwardRequest,
    kind: SendKind,
    fault: &UploadFault,
) -> Result<Answer, Error> {
    let mut sending = Sending::begin(&gateway.traffic, admitted, kind).await?;
    let typed = match &outgoing.body {
        Some(ForwardBody::Whole(text)) if admitted.typing && kind == SendKind::Text => {
            begin_typing(gateway, &admitted.token, text).await
        }
        _ => None,
    };
    sending.goes_out();
    let forwarded = forward(links, outgoing, fault).await;
    if let Some(typed) = typed {
        // The answer does not wait for it.
        drop(gateway.process.spawn(typed.end()));
    }
    match &forwarded {
        Ok(answer) => sending.answered(answer.status.is_success()),
        Err(Error::Forward(ForwardError::Redirected)) => sending.answered(false),
        Err(Error::Forward(ForwardError::Unreachable) | Error::TooLarge | Error::BodyCutOff) => {
            sending.did_not_happen();
        }
        // Nobody knows.
        Err(_) => drop(sending),
    }
    forwarded
}

async fn begin_typing(gateway: &Gateway, token: &Arc<SecretString>, text: &Bytes) -> Option<Typed> {
    let (typing, token, text) = (gateway.traffic.typing.clone(), Arc::clone(token), text.clone());
    let shown = gateway.on_process(async move { Ok(typing.begin(&token, &text).await) });
    shown.await.ok().flatten()
}

async fn forward(
    links: &WorkerLinks,
    outgoing: ForwardRequest,
    fault: &UploadFault,
) -> Result<Answer, Error> {
    let forwarded = links.forwarder.forward(outgoing).await;
    forwarded.map_err(|error| blamed(error.into(), fault))
}

/// A request that broke off because its caller's body did is the caller's error.
fn blamed(error: Error, fault: &UploadFault) -> Error {
    match error {
        Error::Forward(_) => fault.error().unwrap_or(error),
        other => other,
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

fn passed_back(answer: Answer, mut watch: Option<Watch>) -> Result<HttpResponse, Error> {
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
        AnswerBody::Whole(body) => {
            if let Some(watch) = &mut watch {
                watch.see(&body);
            }
            response.body(body)
        }
        AnswerBody::Pieces(pieces) => {
            let pieces = pieces.inspect_ok(move |piece| {
                if let Some(watch) = &mut watch {
                    watch.see(piece);
                }
            });
            // Read from the header: the answer to a HEAD announces the length of a body it does not have.
            match announced(&answer.headers) {
                Some(length) => response.body(SizedStream::new(length, pieces)),
                None if status == StatusCode::NO_CONTENT => response.finish(),
                None => response.streaming(pieces),
            }
        }
    })
}

/// Counts a request when it is over, also one whose caller did not wait.
struct Count<'a> {
    outcome: &'static str,
    forwarded: &'a metrics::Counter,
}

impl Drop for Count<'_> {
    fn drop(&mut self) {
        match self.outcome {
            FORWARDED => self.forwarded.increment(1),
            other => requests(other).increment(1),
        }
    }
}

/// What became of so many requests.
fn requests(outcome: &'static str) -> metrics::Counter {
    metrics::counter!("kanal_proxy_requests_total", "outcome" => outcome)
}

/// Requests that were passed on: nearly all. Looking their counter up each time would take longer than counting.
pub(crate) fn forwarded_requests() -> metrics::Counter {
    requests(FORWARDED)
}
