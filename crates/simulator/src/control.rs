//! The control plane, mounted at `/_sim`: makes things happen, switches faults on, reads everything back. JSON in and out.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::json;

use crate::chatwoot::{acts, control as chatwoot};
use crate::gowa::control as gowa;
use crate::graph::control as graph;
use crate::graph::control::GraphUpdate;
use crate::http::{Answer, Call};
use crate::hub::{Hub, lock};
use crate::wa::control::{self as wa, ControlError};

type Controlled = Result<Answer, ControlError>;

pub(crate) async fn answer(hub: &Arc<Hub>, call: &Call) -> Answer {
    let segments: Vec<&str> = call.segments.iter().map(String::as_str).collect();
    let answer = match segments.as_slice() {
        ["wa", path @ ..] => wa_route(hub, call, path),
        ["chatwoot", path @ ..] => chatwoot_route(hub, call, path),
        ["faults", path @ ..] => faults(hub, call, path),
        ["requests"] if call.method == "GET" => Ok(Answer::ok(&lock(&hub.requests).page(
            call.query_number("after"),
            call.limit(),
            |entry| {
                call.query("path_prefix")
                    .is_none_or(|prefix| entry.path.starts_with(prefix))
            },
        ))),
        ["support", "customers"] if call.method == "GET" => Ok(Answer::ok(&lock(&hub.support).view())),
        ["gowa", path @ ..] => gowa_route(hub, call, path),
        ["graph", "verify"] if call.method == "POST" => verify_graph(hub, call).await,
        ["graph", path @ ..] => graph_route(hub, call, path),
        _ => Ok(unknown(call)),
    };
    answer.unwrap_or_else(|refusal| Answer::problem(refusal.status(), refusal))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Scan {
    session: String,
    #[serde(default)]
    jid: Option<String>,
}

fn wa_route(hub: &Arc<Hub>, call: &Call, path: &[&str]) -> Controlled {
    let (after, limit, session) = (call.query_number("after"), call.limit(), call.query("session"));
    Ok(match (call.method.as_str(), path) {
        ("POST", ["sessions"]) => Answer::json(201, &wa::create_session(hub, call.json()?)?),
        ("POST", ["scan"]) => {
            let scan: Scan = call.json()?;
            wa::scan(hub, &scan.session, scan.jid)?;
            Answer::ok(&json!({"scanned": true}))
        }
        ("POST", ["renew"]) => {
            let scan: Scan = call.json()?;
            wa::renew_code(hub, &scan.session)?;
            Answer::ok(&json!({"renewed": true}))
        }
        ("POST", ["restart"]) => {
            wa::restart(hub);
            Answer::ok(&json!({"restarted": true}))
        }
        ("POST", ["trouble"]) => {
            wa::trouble(hub, &call.json()?)?;
            Answer::ok(&json!({"happened": true}))
        }
        ("POST", ["inbound"]) => Answer::ok(&json!({"id": wa::receive(hub, &call.json()?)?})),
        ("POST", ["inbound", "stream"]) => {
            Answer::json(202, &json!({"id": wa::start_stream(hub, call.json()?)?}))
        }
        ("GET", ["streams", id]) => {
            let id = id.parse().unwrap_or_default();
            found(wa::stream_progress(hub, id).as_ref(), call)
        }
        ("POST", ["picture"]) => {
            wa::show_picture(hub, &call.json()?)?;
            Answer::ok(&json!({"shown": true}))
        }
        ("POST", ["event"]) => Answer::ok(&json!({"event_id": wa::emit(hub, call.json()?)?})),
        ("POST", ["receipt"]) => Answer::ok(&json!({"event_id": wa::receipt(hub, &call.json()?)?})),
        ("GET", ["config"]) => Answer::ok(&wa::settings(hub)),
        ("POST", ["config"]) => Answer::ok(&wa::configure(hub, call.json()?)),
        ("GET", ["users"]) => Answer::ok(&wa::users(hub)),
        ("GET", ["sends"]) => Answer::ok(&wa::calls(hub, session, after, limit)),
        ("GET", ["deliveries"]) => Answer::ok(&wa::deliveries(hub, session, after, limit)),
        ("GET", ["phones", phone]) => {
            let (messages, read_by_session) = wa::phone(hub, phone)?;
            Answer::ok(&json!({"phone": phone, "messages": messages, "read_by_session": read_by_session}))
        }
        _ => unknown(call),
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GowaScan {
    device: String,
    #[serde(default)]
    jid: Option<String>,
}

fn gowa_route(hub: &Arc<Hub>, call: &Call, path: &[&str]) -> Controlled {
    let (after, limit) = (call.query_number("after"), call.limit());
    Ok(match (call.method.as_str(), path) {
        ("GET", ["devices"]) => Answer::ok(&gowa::all(hub)),
        ("POST", ["devices"]) => Answer::json(201, &gowa::create(hub, call.json()?)),
        ("POST", ["scan"]) => {
            let scan: GowaScan = call.json()?;
            gowa::scan(hub, &scan.device, scan.jid)?;
            Answer::ok(&json!({"scanned": true}))
        }
        ("POST", ["unlink"]) => {
            gowa::unlink(hub, &call.json::<GowaScan>()?.device);
            Answer::ok(&json!({"unlinked": true}))
        }
        ("POST", ["cut"]) => {
            gowa::lose_connection(hub, &call.json::<GowaScan>()?.device);
            Answer::ok(&json!({"cut": true}))
        }
        ("POST", ["picture"]) => {
            gowa::show_picture(hub, &call.json()?)?;
            Answer::ok(&json!({"shown": true}))
        }
        ("POST", ["inbound"]) => Answer::ok(&json!({"id": gowa::receive(hub, &call.json()?)?})),
        ("POST", ["receipt"]) => {
            gowa::receipt(hub, &call.json()?)?;
            Answer::ok(&json!({"confirmed": true}))
        }
        ("GET", ["config"]) => Answer::ok(&gowa::settings(hub)),
        ("POST", ["config"]) => Answer::ok(&gowa::configure(hub, call.json()?)),
        ("GET", ["sends"]) => Answer::ok(&lock(&hub.gowa).sends.page(after, limit, |_| true)),
        ("GET", ["deliveries"]) => Answer::ok(&gowa::deliveries(hub, after, limit)),
        ("GET", ["phones", phone]) => {
            Answer::ok(&json!({"phone": phone, "messages": gowa::phone(hub, phone)}))
        }
        ("GET", ["read"]) => Answer::ok(&gowa::read(hub)),
        ("GET", ["notes"]) => Answer::ok(&gowa::notes(hub)),
        _ => unknown(call),
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GraphVerify {
    #[serde(default)]
    app: String,
}

/// Apart from the others, because a callback is asked and waited for.
async fn verify_graph(hub: &Arc<Hub>, call: &Call) -> Controlled {
    let asked: GraphVerify = call.json()?;
    Ok(Answer::ok(&graph::verify(hub, &asked.app).await?))
}

fn graph_route(hub: &Arc<Hub>, call: &Call, path: &[&str]) -> Controlled {
    let (after, limit) = (call.query_number("after"), call.limit());
    let method = call.method.as_str();
    if let ["troubles", rest @ ..] = path {
        return graph_troubles(hub, call, rest);
    }
    Ok(match (method, path) {
        ("GET", ["numbers"]) => Answer::ok(&lock(&hub.graph).numbers),
        ("POST", ["numbers"]) => Answer::json(201, &graph::create_number(hub, call.json()?)),
        ("GET", ["apps"]) => Answer::ok(&lock(&hub.graph).apps),
        ("POST", ["apps"]) => {
            graph::put_app(hub, call.json()?);
            Answer::json(201, &json!({"set": true}))
        }
        ("POST", ["tokens"]) => {
            graph::put_token(hub, call.json()?);
            Answer::json(201, &json!({"set": true}))
        }
        ("GET", ["wabas"]) => Answer::ok(&lock(&hub.graph).wabas),
        ("POST", ["wabas", waba, "templates"]) => {
            Answer::json(201, &graph::put_template(hub, waba, call.json()?)?)
        }
        ("GET", ["config"]) => Answer::ok(&graph::settings(hub)),
        ("POST", ["config"]) => Answer::ok(&graph::configure(hub, call.json()?)?),
        ("POST", ["inbound"]) => Answer::ok(&json!({"id": graph::receive(hub, &call.json()?)?})),
        ("POST", ["status"]) => Answer::ok(&graph::emit(hub, &[GraphUpdate::Status(call.json()?)])?),
        ("POST", ["change"]) => Answer::ok(&graph::emit(hub, &[GraphUpdate::Change(call.json()?)])?),
        ("POST", ["batch"]) => Answer::ok(&graph::emit(hub, &call.json::<Vec<GraphUpdate>>()?)?),
        ("POST", ["raw"]) => Answer::ok(&json!({"event_id": graph::raw(hub, &call.json()?)?})),
        ("POST", ["redeliver"]) => {
            graph::redeliver(hub, &call.json()?)?;
            Answer::ok(&json!({"redelivered": true}))
        }
        ("POST", ["window"]) => {
            graph::set_window(hub, &call.json()?);
            Answer::ok(&json!({"set": true}))
        }
        ("POST", ["limits", "reset"]) => {
            graph::reset_limits(hub);
            Answer::ok(&json!({"reset": true}))
        }
        ("GET", ["media"]) => Answer::ok(&graph::media(hub)),
        ("POST", ["media", "expire"]) => {
            graph::expire(hub, None)?;
            Answer::ok(&json!({"expired": true}))
        }
        ("POST", ["media", id, "expire"]) => {
            graph::expire(hub, Some(id))?;
            Answer::ok(&json!({"expired": true}))
        }
        ("GET", ["sends"]) => Answer::ok(&lock(&hub.graph).sends.page(after, limit, |_| true)),
        ("GET", ["deliveries"]) => Answer::ok(&graph::deliveries(hub, after, limit)),
        _ => unknown(call),
    })
}

fn graph_troubles(hub: &Arc<Hub>, call: &Call, path: &[&str]) -> Controlled {
    let troubles = &mut lock(&hub.graph).troubles;
    Ok(match (call.method.as_str(), path) {
        ("GET", []) => Answer::ok(&troubles.list()),
        ("POST", []) => Answer::json(201, &json!({"id": troubles.add(call.json()?)?})),
        ("DELETE", []) => {
            troubles.clear();
            Answer::ok(&json!({"removed": true}))
        }
        ("DELETE", [id]) => {
            let removed = id.parse().is_ok_and(|id| troubles.remove(id));
            Answer::json(if removed { 200 } else { 404 }, &json!({"removed": removed}))
        }
        _ => unknown(call),
    })
}

/// What agents do to something that is there already.
fn chatwoot_act(hub: &Arc<Hub>, call: &Call, path: &[&str]) -> Controlled {
    let numbers: Vec<u64> = path.iter().filter_map(|part| part.parse().ok()).collect();
    let done = || Answer::ok(&json!({"done": true}));
    Ok(match (call.method.as_str(), path, numbers.as_slice()) {
        ("GET", ["config"], _) => Answer::ok(&acts::settings(hub)),
        ("POST", ["config"], _) => Answer::ok(&acts::configure(hub, call.json()?)),
        ("POST", ["messages", _, "retry"], [message]) => {
            acts::press_retry(hub, *message)?;
            done()
        }
        ("DELETE", ["messages", _], [message]) => {
            acts::delete_message(hub, *message)?;
            done()
        }
        ("GET", ["messages", _, "files", _], [message, number]) => {
            let number = usize::try_from(*number).unwrap_or(usize::MAX);
            match acts::file(hub, *message, number) {
                Some(file) => Answer {
                    headers: vec![("content-type", file.content_type)],
                    body: file.bytes,
                    ..Answer::text(200, "")
                },
                None => unknown(call),
            }
        }
        ("POST", ["conversations", "status"], _) => {
            acts::set_status(hub, &call.json()?)?;
            done()
        }
        ("POST", ["conversations", "typing"], _) => {
            acts::typing(hub, &call.json()?)?;
            done()
        }
        ("POST", ["contacts", "merge"], _) => {
            acts::merge(hub, &call.json()?)?;
            done()
        }
        ("DELETE", ["accounts", _, "contacts", _], [account, contact]) => {
            acts::delete_contact(hub, *account, *contact)?;
            done()
        }
        ("DELETE", ["accounts", _, "conversations", _], [account, conversation]) => {
            acts::delete_conversation(hub, *account, *conversation)?;
            done()
        }
        _ => unknown(call),
    })
}

fn chatwoot_route(hub: &Arc<Hub>, call: &Call, path: &[&str]) -> Controlled {
    let (after, limit) = (call.query_number("after"), call.limit());
    Ok(match (call.method.as_str(), path) {
        ("POST", ["accounts"]) => Answer::json(201, &chatwoot::add_account(hub, call.json()?)),
        ("POST", ["inboxes"]) => Answer::json(201, &chatwoot::add_inbox(hub, call.json()?)?),
        ("POST", ["reply"]) => Answer::ok(&json!({"id": chatwoot::reply(hub, &call.json()?)?})),
        ("POST", ["reply", "stream"]) => {
            Answer::json(202, &json!({"id": chatwoot::start_stream(hub, call.json()?)?}))
        }
        ("GET", ["streams", id]) => {
            let id = id.parse().unwrap_or_default();
            found(chatwoot::stream_progress(hub, id).as_ref(), call)
        }
        ("POST", ["redeliver"]) => {
            chatwoot::redeliver(hub, &call.json()?)?;
            Answer::ok(&json!({"redelivered": true}))
        }
        ("GET", ["accounts", account, what]) => {
            let account = account.parse().unwrap_or_default();
            let (inbox, conversation) = (
                call.query_number("inbox_id"),
                call.query_number("conversation_id"),
            );
            match *what {
                "contacts" => Answer::ok(&chatwoot::contacts(hub, account)),
                "conversations" => Answer::ok(&chatwoot::conversations(hub, account)),
                "messages" => Answer::ok(&chatwoot::messages(hub, account, inbox, conversation, after)),
                _ => unknown(call),
            }
        }
        ("GET", ["deliveries"]) => Answer::ok(&chatwoot::deliveries(hub, after, limit)),
        ("GET", ["status_updates"]) => Answer::ok(&chatwoot::status_updates(hub, after, limit)),
        _ => chatwoot_act(hub, call, path)?,
    })
}

fn faults(hub: &Arc<Hub>, call: &Call, path: &[&str]) -> Controlled {
    let mut faults = lock(&hub.faults);
    Ok(match (call.method.as_str(), path) {
        ("GET", []) => Answer::ok(&faults.list()),
        ("POST", []) => Answer::json(201, &json!({"id": faults.add(call.json()?)?})),
        ("DELETE", []) => {
            faults.clear();
            Answer::ok(&json!({"removed": true}))
        }
        ("DELETE", [id]) => {
            let removed = id.parse().is_ok_and(|id| faults.remove(id));
            Answer::json(if removed { 200 } else { 404 }, &json!({"removed": removed}))
        }
        _ => unknown(call),
    })
}

fn found(value: Option<&impl serde::Serialize>, call: &Call) -> Answer {
    value.map_or_else(|| unknown(call), |value| Answer::ok(value))
}

fn unknown(call: &Call) -> Answer {
    Answer::problem(
        404,
        format_args!("no control route {} {}", call.method, call.path),
    )
}
