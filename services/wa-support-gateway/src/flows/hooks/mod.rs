//! The webhook relay: the WA server's events are taken in, kept until the customer's receiver has them, and marked as
//! read where the customer wants that.

pub(crate) mod accept;
pub(crate) mod deliver;
pub(crate) mod mark_read;
pub mod parked;

use messaging::lanes::NewTask;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use domain::address::ChatAddress;
use domain::ids::ProviderMessageId;

/// What the names of lanes begin with on which events are passed on, one lane a session.
pub(crate) const HOOK_LANES: &str = "hook:";

/// What the names of lanes begin with on which messages are marked as read, one lane a session: the WA server may be
/// slow, and deliveries do not wait for it.
pub(crate) const READ_LANES: &str = "read:";

/// The lane of a session's events.
pub(crate) fn hook_lane(session: Uuid) -> String {
    format!("{HOOK_LANES}{session}")
}

/// The lane of a session's read marks.
fn read_lane(session: Uuid) -> String {
    format!("{READ_LANES}{session}")
}

/// The session that a lane is about.
fn session_of(lane: &str, prefix: &str) -> Option<Uuid> {
    lane.strip_prefix(prefix)?.parse().ok()
}

/// Passes an event on; what and where to is in the rows. The task's id is the event's.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct HookErrand {
    /// The request that brought it.
    pub(crate) request_id: Option<String>,
    /// The place in its trace.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "trace_context::lenient"
    )]
    pub(crate) traceparent: Option<trace_context::TraceContext>,
}

impl HookErrand {
    fn task(self, session: Uuid, event: Uuid) -> Result<NewTask, serde_json::Error> {
        Ok(NewTask {
            lane: hook_lane(session),
            id: event,
            kind: "hook",
            payload: serde_json::to_string(&self)?,
        })
    }
}

/// Marks a message as read.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ReadErrand {
    /// The request that brought the message.
    pub(crate) request_id: Option<String>,
    /// The place in its trace.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "trace_context::lenient"
    )]
    pub(crate) traceparent: Option<trace_context::TraceContext>,
    /// With whom the conversation is.
    pub(crate) chat: ChatAddress,
    /// The message.
    pub(crate) message: ProviderMessageId,
}

impl ReadErrand {
    fn task(self, session: Uuid) -> Result<NewTask, serde_json::Error> {
        Ok(NewTask {
            lane: read_lane(session),
            id: Uuid::now_v7(),
            kind: "read",
            payload: serde_json::to_string(&self)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lane_names_its_session_and_its_sort() {
        let session = Uuid::now_v7();
        assert_eq!(session_of(&hook_lane(session), HOOK_LANES), Some(session));
        assert_eq!(session_of(&read_lane(session), READ_LANES), Some(session));
        assert_eq!(session_of(&read_lane(session), HOOK_LANES), None);
    }
}
