//! `POST /hooks/{session}`: the WA server's webhooks (wa-server contract 10). No key is asked for: each is signed by its
//! session's.

use ::web::openapi::{Api, Doc, Group, object, one_of, text};
use ::web::{ApiError, read_body};
use actix_web::http::header::CONTENT_TYPE;
use actix_web::web::{Data, Path, Payload};
use actix_web::{HttpRequest, HttpResponse};
use serde_json::json;
use whatsapp::genfity::SIGNATURE_HEADER;

use crate::error::Error;
use crate::flows::hooks::accept::{Accepted, Webhook};
use crate::state::Gateway;

/// Longest content type that is kept.
const LONGEST_TYPE: usize = 255;

/// The relay's only route.
pub(crate) fn routes(api: &mut Api) {
    api.group(Group {
        tag: "Webhook relay",
        security: None,
        refusals: &[
            (
                401,
                "No such session, or not signed by its key: which of the two is not told",
            ),
            (408, "The body did not come in time"),
            (413, "The body is too large"),
            (429, "Too many hooks of no session from this address"),
            (503, "Nothing was accepted; Retry-After says when to come again"),
        ],
    });
    let take = Doc::new("An event of the WA server, as JSON or as a form; answered when it is durable")
        .header(
            SIGNATURE_HEADER,
            text(),
            "Lower-case hex HMAC-SHA256 over the raw body",
        )
        .takes(json!({"type": "object"}))
        .answers(
            200,
            "It will be passed on, or nobody wants it",
            object([("status", one_of(&["queued", "unwanted"]))]),
        );
    api.post("/{session}", take, receive);
}

async fn receive(
    request: HttpRequest,
    hook: Path<String>,
    payload: Payload,
    gateway: Data<Gateway>,
) -> Result<HttpResponse, ApiError> {
    let mut count = Count("caller_left");
    let accepted = accept(&request, &hook, payload, &gateway).await;
    count.0 = match &accepted {
        Ok(Ok(accepted)) => accepted.as_str(),
        Ok(Err(_)) => "unreadable_body",
        Err(error) => error.outcome(),
    };
    let accepted = accepted.map_err(|error| error.answer(request.path()))??;
    Ok(HttpResponse::Ok().json(json!({"status": accepted.as_str()})))
}

/// The inner error is the body's: too large, too slow, cut off, or no room for it.
async fn accept(
    request: &HttpRequest,
    hook: &str,
    payload: Payload,
    gateway: &Data<Gateway>,
) -> Result<Result<Accepted, ApiError>, Error> {
    if !gateway.policies.are_confirmed() {
        return Err(Error::NotReady);
    }
    let limit = gateway.hook_body_limit.ok_or(Error::NoRoute)?;
    // Whose hook it is comes first: what strangers send is not even read.
    let (hooks, name) = (gateway.hooks.clone(), hook.to_owned());
    let address = ::web::source::caller_or_peer(request, &gateway.callers.proxies);
    let sender = gateway
        .on_process(async move { hooks.sender(&name, address).await })
        .await?
        .ok_or(Error::HookRefused)?;
    ::web::note_tenant(&sender.scope);
    let body = match read_body(request, payload, limit).await {
        Ok(body) => body,
        Err(error) => return Ok(Err(error)),
    };
    let webhook = Webhook {
        content_type: text_header(request, CONTENT_TYPE.as_str())
            .filter(|content_type| content_type.len() <= LONGEST_TYPE),
        signature: text_header(request, SIGNATURE_HEADER),
        body,
        request_id: ::web::request_id(),
        traceparent: trace_context::current(),
    };
    let hooks = gateway.hooks.clone();
    gateway
        .on_process(async move { hooks.accept(sender, webhook).await })
        .await
        .map(Ok)
}

fn text_header(request: &HttpRequest, name: &str) -> Option<String> {
    let value = request.headers().get(name)?.to_str().ok()?;
    Some(value.to_owned())
}

/// Counts a webhook when it is over, also one whose sender did not wait.
struct Count(&'static str);

impl Drop for Count {
    fn drop(&mut self) {
        metrics::counter!("kanal_hook_requests_total", "outcome" => self.0).increment(1);
    }
}
