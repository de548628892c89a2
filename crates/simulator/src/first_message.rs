//! One message all the way round through the running system, told hop by hop.
//!
//! It only reads what the simulator saw from outside, so it needs no access to the services and proves nothing about
//! how they work inside: just that a message went in at one end and came out at the other.
#![expect(
    clippy::print_stdout,
    reason = "telling a human what happens is what this command is for"
)]

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use serde_json::{Value, json};

const POLL: Duration = Duration::from_millis(20);

/// Chatwoot's own default status is `sent` already, so a bridge need not say it. This long we wait whether it does.
const SENT_GRACE: Duration = Duration::from_secs(2);

#[derive(Debug, clap::Args)]
pub(crate) struct FirstMessage {
    /// Where the simulator listens.
    #[arg(long, default_value = "http://127.0.0.1:8090")]
    simulator_url: String,
    /// The session that gets the message: name or id of a user of the WA server.
    #[arg(long)]
    session: String,
    /// The Chatwoot account in which it should arrive.
    #[arg(long)]
    chatwoot_account: u64,
    /// The phone it is sent from.
    #[arg(long, default_value = "6281290000011")]
    from: String,
    /// What it says.
    #[arg(long, default_value = "Selamat pagi, mau tanya syarat surat domisili")]
    text: String,
    /// What the agent answers.
    #[arg(long, default_value = "Syaratnya KTP dan KK, silakan datang ke kantor desa.")]
    reply: String,
    /// How long to wait for any one hop.
    #[arg(long, default_value_t = 60)]
    timeout_seconds: u64,
}

/// Tells the story. A hop that does not happen is told, too, and makes the exit code 1.
pub(crate) async fn run(arguments: &FirstMessage) -> anyhow::Result<ExitCode> {
    let journey = Journey {
        client: crate::local_client(Duration::from_secs(10))?,
        arguments,
        started: Instant::now(),
    };
    match journey.travel().await {
        Ok(()) => {
            println!(
                "\nThe message went all the way round in {} ms.",
                journey.elapsed()
            );
            Ok(ExitCode::SUCCESS)
        }
        Err(Trouble::Stuck(stuck)) => {
            println!("\nStuck after {} ms: {}", journey.elapsed(), stuck.hop);
            println!("  last seen:  {}", stuck.last_seen);
            println!("  to look at: {}", stuck.look_at);
            Ok(ExitCode::FAILURE)
        }
        Err(Trouble::Other(error)) => {
            println!("\nCannot go on after {} ms: {error:#}", journey.elapsed());
            Ok(ExitCode::FAILURE)
        }
    }
}

struct Journey<'a> {
    client: reqwest::Client,
    arguments: &'a FirstMessage,
    started: Instant,
}

enum Trouble {
    Stuck(Stuck),
    Other(anyhow::Error),
}

impl From<anyhow::Error> for Trouble {
    fn from(error: anyhow::Error) -> Self {
        Self::Other(error)
    }
}

struct Stuck {
    hop: String,
    last_seen: String,
    look_at: &'static str,
}

/// Where the journals stood before, so that earlier messages are not taken for ours.
struct Before {
    wa_deliveries: u64,
    wa_sends: u64,
    chatwoot_deliveries: u64,
    status_updates: u64,
    message: u64,
    contacts: Vec<Value>,
    conversations: Vec<Value>,
}

impl Journey<'_> {
    async fn travel(&self) -> Result<(), Trouble> {
        let before = self.before().await?;
        let (message, conversation) = self.to_chatwoot(&before).await?;
        self.tell(&format!("message {message} arrived in Chatwoot"));
        self.back_to_the_phone(&before, conversation).await
    }

    /// From the phone to the agent's screen. Returns the message and its conversation.
    async fn to_chatwoot(&self, before: &Before) -> Result<(u64, u64), Trouble> {
        let FirstMessage {
            session,
            from,
            text,
            chatwoot_account: account,
            ..
        } = self.arguments;
        self.tell(&format!("phone {from} sends \"{text}\" to session {session}"));
        let inbound = json!({"session": session, "from": from, "text": text});
        let id = self.post("/_sim/wa/inbound", &inbound).await?["id"].clone();
        let status = self
            .until(
                "channel-service takes the WA server's webhook",
                "is channel-service running, and does the session's webhook point at it? GET /_sim/wa/users",
                &format!("/_sim/wa/deliveries?after={}", before.wa_deliveries),
                |attempt| attempt["message_id"] == id && is_accepted(attempt),
                |attempt| format!("attempt {}: {}", attempt["attempt"], outcome(attempt)),
            )
            .await?;
        self.tell(&format!("the webhook was answered {}", status["status"]));

        let contact = self
            .until(
                "a contact for the phone is in Chatwoot",
                "channel-service's outbox, the queue between the services, and chatwoot-bridge's log",
                &format!("/_sim/chatwoot/accounts/{account}/contacts"),
                |contact| mentions(contact, from),
                |contact| format!("contact \"{}\"", plain(&contact["name"])),
            )
            .await?;
        let known = before.contacts.iter().any(|old| old["id"] == contact["id"]);
        let verb = if known {
            "is in Chatwoot already"
        } else {
            "created in Chatwoot"
        };
        self.tell(&format!("contact \"{}\" {verb}", plain(&contact["name"])));

        let conversation = self
            .until(
                "a conversation with the contact is open",
                "chatwoot-bridge's log; GET /_sim/requests?path_prefix=/chatwoot",
                &format!("/_sim/chatwoot/accounts/{account}/conversations"),
                |conversation| {
                    conversation["contact_id"] == contact["id"] && conversation["status"] == "open"
                },
                |conversation| {
                    format!(
                        "conversation {} is {}",
                        conversation["id"],
                        plain(&conversation["status"])
                    )
                },
            )
            .await?;
        let known = before
            .conversations
            .iter()
            .any(|old| old["id"] == conversation["id"]);
        let verb = if known { "goes on" } else { "opened" };
        self.tell(&format!("conversation {} {verb}", conversation["id"]));

        let message = self
            .until(
                "the message is in the conversation",
                "chatwoot-bridge's log; GET /_sim/requests?path_prefix=/chatwoot",
                &format!(
                    "/_sim/chatwoot/accounts/{account}/messages?after={}",
                    before.message
                ),
                |message| message["message_type"] == "incoming" && has_text(message, text),
                |message| {
                    format!(
                        "message {} says \"{}\"",
                        message["id"],
                        plain(&message["content"])
                    )
                },
            )
            .await?;
        Ok((as_number(&message["id"]), as_number(&message["conversation_id"])))
    }

    /// From the agent's answer to the human who reads it.
    async fn back_to_the_phone(&self, before: &Before, conversation: u64) -> Result<(), Trouble> {
        let FirstMessage {
            session,
            from,
            reply,
            chatwoot_account: account,
            ..
        } = self.arguments;
        let body = json!({"account_id": account, "conversation_id": conversation, "content": reply});
        let answer = self.post("/_sim/chatwoot/reply", &body).await?["id"].clone();
        self.tell(&format!("agent replies \"{reply}\""));

        let delivery = self
            .until(
                "chatwoot-bridge takes Chatwoot's webhook",
                "is chatwoot-bridge running, and does the inbox's webhook_url point at it? GET /_sim/chatwoot/deliveries",
                &format!("/_sim/chatwoot/deliveries?after={}", before.chatwoot_deliveries),
                |d| d["message_id"] == answer && d["event"] == "message_created" && is_accepted(d),
                |d| format!("{} of message {}: {}", plain(&d["event"]), d["message_id"], outcome(d)),
            )
            .await?;
        self.tell(&format!(
            "chatwoot-bridge answered the webhook {} after {} ms",
            delivery["status"], delivery["duration_ms"]
        ));

        let send = self
            .until(
                "the WA server accepts the reply",
                "the send jobs of channel-service and wa-support-gateway; GET /_sim/requests?path_prefix=/wa/chat/send",
                &format!("/_sim/wa/sends?after={}", before.wa_sends),
                |call| call["phone"] == json!(from) && has_text(call, reply),
                |call| format!("{} to {}", plain(&call["path"]), plain(&call["phone"])),
            )
            .await?;
        let id = plain(&send["id"]);
        self.tell(&format!("WA server accepted the reply (id {id})"));

        self.until(
            "the reply is on the phone",
            "GET /_sim/wa/phones/<number>",
            &format!("/_sim/wa/phones/{from}"),
            |message| message["id"] == send["id"],
            |message| format!("message {}", plain(&message["id"])),
        )
        .await?;
        self.tell("reply is on the phone");
        self.told_as_sent(before, &answer).await?;

        let automatic = self.get("/_sim/wa/config").await?["auto_receipts"] == true;
        for (state, status) in [("Delivered", "delivered"), ("Read", "read")] {
            if !automatic {
                let receipt = json!({"session": session, "ids": [id], "chat": from, "state": state});
                self.post("/_sim/wa/receipt", &receipt).await?;
            }
            self.tell(&format!(
                "phone confirms {}",
                if status == "read" { "reading" } else { "delivery" }
            ));
            // Marks only move forward: after a reading that came first, nobody tells of the delivery.
            let update = self
                .until(
                    &format!("the agent's message is marked {status}"),
                    "is the session subscribed to All (receipts come with nothing else)? GET /_sim/wa/deliveries",
                    &format!("/_sim/chatwoot/status_updates?after={}", before.status_updates),
                    |update| {
                        update["message_id"] == answer
                            && (update["status"] == status || update["status"] == "read")
                    },
                    |update| {
                        format!(
                            "message {} was marked {}",
                            update["message_id"],
                            plain(&update["status"])
                        )
                    },
                )
                .await?;
            self.tell(&format!("agent's message is marked {}", plain(&update["status"])));
        }
        Ok(())
    }

    async fn told_as_sent(&self, before: &Before, answer: &Value) -> Result<(), Trouble> {
        let path = format!("/_sim/chatwoot/status_updates?after={}", before.status_updates);
        let until = Instant::now() + SENT_GRACE;
        while Instant::now() < until {
            let updates = self.get(&path).await?;
            if rows(&updates)
                .iter()
                .any(|update| update["message_id"] == *answer && update["status"] == "sent")
            {
                self.tell("agent's message is marked sent");
                return Ok(());
            }
            tokio::time::sleep(POLL).await;
        }
        Ok(())
    }

    /// Polls a list until a row matches. Running out of time is being stuck, with the newest row as what was seen last.
    async fn until(
        &self,
        hop: &str,
        look_at: &'static str,
        path: &str,
        matches: impl Fn(&Value) -> bool,
        describe: impl Fn(&Value) -> String,
    ) -> Result<Value, Trouble> {
        let deadline = Instant::now() + Duration::from_secs(self.arguments.timeout_seconds);
        loop {
            let list = self.get(path).await?;
            let rows = rows(&list);
            if let Some(row) = rows.iter().find(|row| matches(row)) {
                return Ok(row.clone());
            }
            if Instant::now() >= deadline {
                return Err(Trouble::Stuck(Stuck {
                    hop: format!(
                        "this did not happen within {} s: {hop}",
                        self.arguments.timeout_seconds
                    ),
                    last_seen: rows.last().map_or_else(|| "nothing at all".to_owned(), describe),
                    look_at,
                }));
            }
            tokio::time::sleep(POLL).await;
        }
    }

    async fn before(&self) -> anyhow::Result<Before> {
        let account = self.arguments.chatwoot_account;
        let path = |what: &str| format!("/_sim/chatwoot/accounts/{account}/{what}");
        let newest = |list: &Value, key: &str| rows(list).last().map_or(0, |row| as_number(&row[key]));
        Ok(Before {
            wa_deliveries: newest(&self.get("/_sim/wa/deliveries?limit=1").await?, "seq"),
            wa_sends: newest(&self.get("/_sim/wa/sends?limit=1").await?, "seq"),
            chatwoot_deliveries: newest(&self.get("/_sim/chatwoot/deliveries?limit=1").await?, "seq"),
            status_updates: newest(&self.get("/_sim/chatwoot/status_updates?limit=1").await?, "seq"),
            message: newest(&self.get(&path("messages")).await?, "id"),
            contacts: rows(&self.get(&path("contacts")).await?).to_vec(),
            conversations: rows(&self.get(&path("conversations")).await?).to_vec(),
        })
    }

    async fn get(&self, path: &str) -> anyhow::Result<Value> {
        let url = format!("{}{path}", self.arguments.simulator_url);
        let response = self.client.get(&url).send().await;
        read(
            response.with_context(|| format!("is the simulator running? GET {url}"))?,
            &url,
        )
        .await
    }

    async fn post(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        let url = format!("{}{path}", self.arguments.simulator_url);
        let response = self.client.post(&url).json(body).send().await;
        read(
            response.with_context(|| format!("is the simulator running? POST {url}"))?,
            &url,
        )
        .await
    }

    fn tell(&self, what: &str) {
        println!("{:>6} ms  {what}", self.elapsed());
    }

    fn elapsed(&self) -> u128 {
        self.started.elapsed().as_millis()
    }
}

async fn read(response: reqwest::Response, url: &str) -> anyhow::Result<Value> {
    let status = response.status();
    let body = response.text().await?;
    anyhow::ensure!(status.is_success(), "{url} answered {status}: {body}");
    serde_json::from_str(&body).with_context(|| format!("{url} did not answer with JSON"))
}

/// Most lists are bare arrays; a phone has its messages inside.
fn rows(list: &Value) -> &[Value] {
    let array = list.as_array().or_else(|| list["messages"].as_array());
    array.map(Vec::as_slice).unwrap_or_default()
}

fn is_accepted(attempt: &Value) -> bool {
    attempt["status"]
        .as_u64()
        .is_some_and(|status| (200..300).contains(&status))
}

fn outcome(attempt: &Value) -> String {
    match attempt["status"].as_u64() {
        Some(status) => format!("answered {status}"),
        None => plain(&attempt["error"]),
    }
}

fn mentions(contact: &Value, phone: &str) -> bool {
    ["phone_number", "identifier"]
        .iter()
        .any(|key| contact[*key].as_str().is_some_and(|value| value.contains(phone)))
}

/// Bridges may add to a text, e.g. the agent's name, so containing it is enough.
fn has_text(row: &Value, text: &str) -> bool {
    let said = row["content"].as_str().or_else(|| row["text"].as_str());
    said.is_some_and(|said| said.contains(text))
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn as_number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_default()
}
