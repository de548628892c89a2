//! The HTTP edge, a file per noun: `/internal` for other services, behind the internal key; `/api` for people who are
//! signed in to the dashboard.

pub(crate) mod auth;
pub(crate) mod bridge;
pub(crate) mod channel_accounts;
pub(crate) mod conversations;
pub(crate) mod dead_letters;
pub(crate) mod devices;
mod export;
mod files;
pub(crate) mod gate;
pub(crate) mod graph;
pub(crate) mod health;
pub(crate) mod journeys;
pub(crate) mod media;
pub(crate) mod messages;
pub(crate) mod people;
pub(crate) mod person;
pub(crate) mod qr_stream;
pub(crate) mod replay_jobs;
pub(crate) mod retention;
pub(crate) mod retry;
pub(crate) mod sending;
pub(crate) mod sessions;
pub(crate) mod signed_in;
pub(crate) mod spam_guard;
pub(crate) mod takeovers;
pub(crate) mod templates;
pub(crate) mod tenant_config;
pub(crate) mod tenants;
pub(crate) mod upload;
pub(crate) mod village;
pub(crate) mod wa_support;
pub(crate) mod whatsapp_messages;

use ::web::openapi::{Doc, Group, Schema, flag, object, text};

/// What every endpoint of `/internal` has in common.
pub(crate) const fn internal_group(tag: &'static str) -> Group {
    Group {
        tag,
        security: Some("internalKey"),
        refusals: &[
            (400, "The request is not what the endpoint takes"),
            (401, "No key"),
            (403, "A wrong key, or one that is not for this tenant"),
            (404, "No such route"),
            (408, "The body did not come in time"),
            (413, "The body is too large"),
            (415, "The body is of another type"),
            (500, "Our fault"),
            (
                503,
                "Something we depend on is away; Retry-After says when to come again",
            ),
        ],
    }
}

/// What every endpoint of the dashboard's API has in common.
pub(crate) const fn dashboard_group(tag: &'static str) -> Group {
    Group {
        tag,
        security: Some("session"),
        refusals: &[
            (400, "The request is not what the endpoint takes"),
            (401, "Nobody is signed in"),
            (403, "Not for this user, or the CSRF token is missing"),
            (404, "No such route"),
            (408, "The body did not come in time"),
            (413, "The body is too large"),
            (415, "The body is of another type"),
            (500, "Our fault"),
            (
                503,
                "Something we depend on is away; Retry-After says when to come again",
            ),
        ],
    }
}

/// An endpoint without a body: its village is named in the query or in a header.
pub(crate) fn of_village(summary: &'static str) -> Doc {
    Doc::new(summary)
        .query("village_id", text(), "the village, unless the header names it")
        .header("x-village-id", text(), "the village, unless the query names it")
}

/// As [`of_village`], about one conversation.
pub(crate) fn of_chat(summary: &'static str) -> Doc {
    of_village(summary).query("channel", text(), "`WHATSAPP` or `WEBCHAT`")
}

/// `{"success": true, "data": …}`.
pub(crate) fn data(schema: Schema) -> Schema {
    object([("success", flag()), ("data", schema)])
}
