//! How rows about webhooks, keys and secrets are done.

use std::fmt::Debug;

use chrono::Utc;
use domain::address::PhoneNumber;
use domain::message::MediaKind;
use simulator::{FaultKind, FaultSpec};
use whatsapp::courtesy::Typing;
use whatsapp::event::{InboundEvent, Keep};
use whatsapp::session::Upkeep;

use crate::cases::Signature;
use crate::provider::{By, Happening, KEY, OTHER_KEY, OWN, ProviderUnderTest, Settings, Taken, What};
use crate::receiver::{Manner, Receiver, Stub};
use crate::receiving::{self, ID};
use crate::world::{World, eventually, hello, key, message, message_of, partner};
use crate::{sending, words};

pub(crate) async fn told(
    provider: &'static dyn ProviderUnderTest,
    happening: &Happening,
    keep: Keep,
) -> String {
    let world = World::paired(provider).await;
    match world.told(happening).await {
        Some(webhook) => words::taken(&world.take(&webhook, keep)),
        None => words::NOT_TOLD.to_owned(),
    }
}

pub(crate) async fn told_twice(provider: &'static dyn ProviderUnderTest) -> String {
    let world = World::paired(provider).await;
    let twice = FaultKind::Duplicate {
        copies: 1,
        concurrent: true,
    };
    world.trouble(FaultSpec::on_webhook(provider.webhooks(), twice));
    let _first = world.text().await;
    eventually("the webhook comes twice", || world.hooks.posted().len() == 2).await;
    let posted = world.hooks.posted().into_iter();
    let ids: Vec<String> = posted
        .map(|webhook| {
            message_of(world.take(&webhook, Keep::default()))
                .provider_message_id
                .to_string()
        })
        .collect();
    if ids == [ID, ID] {
        "twice, the same id".to_owned()
    } else {
        ids.join(" and ")
    }
}

pub(crate) async fn signed(provider: &'static dyn ProviderUnderTest, signature: Signature) -> String {
    let world = World::paired(provider).await;
    let webhook = world.text().await;
    let right = webhook.signature.clone().unwrap();
    // As the provider's own code would have made it; what is posted comes from the imitation.
    assert_eq!(right, provider.sign(&key(KEY), &webhook.body));
    let mut keys = vec![key(KEY)];
    let mut webhook = webhook;
    webhook.signature = match signature {
        Signature::Right => Some(right),
        Signature::Shouted => Some(right.to_uppercase()),
        Signature::OlderKey => {
            keys.insert(0, key(OTHER_KEY));
            Some(right)
        }
        Signature::Missing => None,
        Signature::Empty => Some(String::new()),
        Signature::Malformed => Some(right.replace(|c: char| c.is_ascii_hexdigit(), "z")),
        Signature::Short => right.get(..right.len() - 32).map(str::to_owned),
        Signature::OfStranger => Some(provider.sign(&key(OTHER_KEY), &webhook.body)),
        Signature::ChangedBody => {
            let body = String::from_utf8_lossy(&webhook.body).replace("Halo", "Hala");
            webhook.body = bytes::Bytes::from(body);
            Some(right)
        }
        Signature::NotAsked => {
            keys.clear();
            Some("anything".to_owned())
        }
    };
    match provider.take(&webhook, &keys, Utc::now(), Keep::default()) {
        Taken::Event {
            signed,
            event: Ok(InboundEvent::Message(message)),
            ..
        } => {
            let said = message.content.text_for_humans();
            format!(
                "{} '{}'",
                if signed { "signed" } else { "unsigned" },
                said.as_str()
            )
        }
        other => words::taken(&other),
    }
}

pub(crate) async fn print_words(provider: &'static dyn ProviderUnderTest) -> String {
    let world = World::paired(provider).await;
    for what in [
        What::Text("sangat rahasia".to_owned()),
        What::Media {
            kind: MediaKind::Image,
            caption: Some("sangat rahasia"),
            file_name: None,
            gone: false,
        },
        What::Edit {
            target: "3EB0A",
            text: "sangat rahasia",
        },
    ] {
        let webhook = world.told(&receiving::by(By::Partner, what)).await.unwrap();
        let Taken::Event { event, .. } = world.take(&webhook, Keep::default()) else {
            return "not taken".to_owned();
        };
        let printed = format!("{event:?}");
        if printed.contains("rahasia") {
            return printed;
        }
    }
    "nothing printed".to_owned()
}

pub(crate) async fn rekey(provider: &'static dyn ProviderUnderTest) -> String {
    let world = World::paired(provider).await;
    let elsewhere = Receiver::start(provider.signature_header()).await;
    let upkeep = Upkeep {
        webhook_url: Some(elsewhere.url.clone()),
        webhook_key: Some(key(OTHER_KEY)),
    };
    if let Err(failure) = world.clients.sessions.connect(&world.token, &upkeep).await {
        return words::failure(&failure);
    }
    let text = receiving::by(By::Partner, receiving::text());
    assert!(provider.happen(&world.simulator, &world.token, &text));
    eventually("a webhook comes to either place", || {
        elsewhere.posted().len() + world.hooks.posted().len() == 1
    })
    .await;
    let Some(webhook) = elsewhere.posted().pop() else {
        return "at the old address".to_owned();
    };
    let taken = provider.take(&webhook, &[key(OTHER_KEY)], Utc::now(), Keep::default());
    match taken {
        Taken::Event {
            signed: true,
            event: Ok(_),
            ..
        } => "signed with the new key, at the new address".to_owned(),
        other => words::taken(&other),
    }
}

/// Calls everything of a server that repeats all it is shown, and looks for secrets in what comes of it.
pub(crate) async fn echo(provider: &'static dyn ProviderUnderTest) -> String {
    let world = World::paired(provider).await;
    let file = world.file(MediaKind::Image, false).await;
    let mut secrets = provider.secrets(&world.token);
    secrets.push(OTHER_KEY.to_owned());
    let stub = Stub::start(Manner::Echo, "").await;
    let clients = provider.clients(&stub.origin, Settings::default());
    let token = &world.token;
    let upkeep = Upkeep {
        webhook_url: Some("http://127.0.0.1:9/hook".to_owned()),
        webhook_key: Some(key(OTHER_KEY)),
    };
    let phone = PhoneNumber::parse(OWN).unwrap();
    let (sessions, courtesy) = (&clients.sessions, &clients.courtesy);
    let picture = message(sending::file(MediaKind::Image, "image/jpeg", None, None));
    let said = [
        ("clients", clients.printed.to_string()),
        ("upkeep", format!("{upkeep:?}")),
        ("send", print(&clients.sender.send(token, &hello()).await)),
        (
            "send of a file",
            print(&clients.sender.send(token, &picture).await),
        ),
        ("status", print_failure(sessions.status(token).await)),
        ("connect", print_failure(sessions.connect(token, &upkeep).await)),
        ("disconnect", print_failure(sessions.disconnect(token).await)),
        ("logout", print_failure(sessions.logout(token).await)),
        ("qr", print_failure(sessions.qr(token).await)),
        ("pair", print_failure(sessions.pair_phone(token, &phone).await)),
        (
            "typing",
            print(&courtesy.presence(token, &partner(), Typing::Paused).await),
        ),
        (
            "download",
            print(&clients.downloads.download(token, &file).await.err()),
        ),
        ("probe", print_failure(clients.probe.probe().await)),
    ];
    let shown: Vec<&str> = said
        .iter()
        .filter(|(_, said)| secrets.iter().any(|secret| said.contains(secret)))
        .map(|(call, _)| *call)
        .collect();
    if shown.is_empty() {
        "nothing shown".to_owned()
    } else {
        format!("shown by {}", shown.join(", "))
    }
}

fn print(value: &impl Debug) -> String {
    format!("{value:?}")
}

/// Both ways in which an error is written down.
fn print_failure<T: Debug, E: Debug + std::fmt::Display>(result: Result<T, E>) -> String {
    match result {
        Ok(value) => format!("{value:?}"),
        Err(error) => format!("{error:?} {error}"),
    }
}
