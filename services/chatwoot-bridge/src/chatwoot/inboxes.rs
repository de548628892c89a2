//! Inboxes and who the token is (contract 3.6): administrators' calls, made while an inbox is set up and looked after.

use reqwest::Method;
use serde::{Deserialize, Serialize};

use super::client::{ChatwootApi, NOTHING};
use super::error::ChatwootError;
use super::wire::Listed;

/// The type of the inboxes that webhooks and incoming messages are for.
pub const API_CHANNEL: &str = "Channel::Api";

/// An inbox, as far as it matters here. Versions differ in where they show what.
#[derive(Clone, Deserialize)]
pub struct InboxFound {
    /// Id, unique per installation.
    pub id: i64,
    /// What agents see.
    #[serde(default)]
    pub name: Option<String>,
    #[serde(default)]
    channel_type: Option<String>,
    #[serde(default)]
    webhook_url: Option<String>,
    #[serde(default)]
    secret: Option<String>,
    #[serde(default)]
    channel: Option<ChannelFound>,
}

#[derive(Clone, Deserialize)]
struct ChannelFound {
    #[serde(default)]
    webhook_url: Option<String>,
    #[serde(default)]
    secret: Option<String>,
}

impl std::fmt::Debug for InboxFound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("InboxFound")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

impl InboxFound {
    /// Is it one of those that we can serve?
    #[must_use]
    pub fn is_api(&self) -> bool {
        self.channel_type.as_deref() == Some(API_CHANNEL)
    }

    /// Where its events go.
    #[must_use]
    pub fn webhook_url(&self) -> Option<&str> {
        let of_channel = || self.channel.as_ref()?.webhook_url.as_deref();
        let url = self.webhook_url.as_deref().or_else(of_channel);
        url.filter(|url| !url.trim().is_empty())
    }

    /// What signs them, where this version shows it.
    #[must_use]
    pub fn secret(&self) -> Option<&str> {
        let of_channel = || self.channel.as_ref()?.secret.as_deref();
        let secret = self.secret.as_deref().or_else(of_channel);
        secret.filter(|secret| !secret.trim().is_empty())
    }
}

/// An account that a token is good for.
#[derive(Debug, Clone, Deserialize)]
pub struct AccountFound {
    /// Id.
    pub id: i64,
    /// What people call it.
    #[serde(default)]
    pub name: Option<String>,
    /// `administrator` or `agent`.
    #[serde(default)]
    pub role: Option<String>,
}

#[derive(Deserialize)]
struct Profile {
    #[serde(default)]
    accounts: Option<Vec<AccountFound>>,
}

#[derive(Serialize)]
struct NewInbox<'a> {
    name: &'a str,
    channel: NewChannel<'a>,
}

#[derive(Serialize)]
struct NewChannel<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    webhook_url: &'a str,
}

#[derive(Serialize)]
struct InboxChange<'a> {
    channel: ChannelChange<'a>,
}

#[derive(Serialize)]
struct ChannelChange<'a> {
    webhook_url: &'a str,
}

#[derive(Serialize)]
struct Toggle {
    status: &'static str,
}

impl ChatwootApi<'_> {
    /// The accounts of whoever's token it is.
    pub async fn accounts(&self) -> Result<Vec<AccountFound>, ChatwootError> {
        let profile: Profile = self
            .call("show_profile", Method::GET, "/api/v1/profile", NOTHING)
            .await?;
        Ok(profile.accounts.unwrap_or_default())
    }

    /// Every inbox of the account. Only administrators' tokens see all of them.
    pub async fn inboxes(&self) -> Result<Vec<InboxFound>, ChatwootError> {
        let listed: Listed<InboxFound> = self
            .call("list_inboxes", Method::GET, "/inboxes", NOTHING)
            .await?;
        Ok(listed.payload)
    }

    /// The inbox it is seen from.
    pub async fn inbox(&self) -> Result<InboxFound, ChatwootError> {
        let path = format!("/inboxes/{}", self.inbox_id());
        self.call("show_inbox", Method::GET, &path, NOTHING).await
    }

    /// Makes an API inbox. Chatwoot makes two when asked twice.
    pub async fn create_inbox(&self, name: &str, webhook_url: &str) -> Result<InboxFound, ChatwootError> {
        let body = NewInbox {
            name,
            channel: NewChannel {
                kind: "api",
                webhook_url,
            },
        };
        self.call("create_inbox", Method::POST, "/inboxes", Some(&body))
            .await
    }

    /// Sends an inbox's events somewhere.
    pub async fn set_webhook(&self, inbox: i64, webhook_url: &str) -> Result<InboxFound, ChatwootError> {
        let body = InboxChange {
            channel: ChannelChange { webhook_url },
        };
        let path = format!("/inboxes/{inbox}");
        self.call("set_webhook", Method::PATCH, &path, Some(&body)).await
    }

    /// Gives an inbox a new secret: webhooks under the old one are refused from now on by whoever knows only that.
    pub async fn reset_secret(&self, inbox: i64) -> Result<InboxFound, ChatwootError> {
        let path = format!("/inboxes/{inbox}/reset_secret");
        self.call("reset_secret", Method::POST, &path, NOTHING).await
    }

    /// Ends a conversation, for the time being.
    pub async fn resolve(&self, conversation: i64) -> Result<(), ChatwootError> {
        let path = format!("/conversations/{conversation}/toggle_status");
        let body = Toggle { status: "resolved" };
        let _answer: serde_json::Value = self
            .call("toggle_status", Method::POST, &path, Some(&body))
            .await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn webhook_and_secret_are_found_in_both_places() {
        for json in [
            r#"{"id":1,"channel_type":"Channel::Api","webhook_url":"https://b/webhook","secret":"s"}"#,
            r#"{"id":1,"channel_type":"Channel::Api","channel":{"webhook_url":"https://b/webhook","secret":"s"}}"#,
        ] {
            let inbox: InboxFound = serde_json::from_str(json).unwrap();
            assert!(inbox.is_api());
            assert_eq!(
                (inbox.webhook_url(), inbox.secret()),
                (Some("https://b/webhook"), Some("s"))
            );
            assert!(!format!("{inbox:?}").contains("\"s\""));
        }
        let bare: InboxFound =
            serde_json::from_str(r#"{"id":1,"webhook_url":"","secret":null,"channel":null}"#).unwrap();
        assert!(!bare.is_api() && bare.webhook_url().is_none() && bare.secret().is_none());
    }
}
