//! From the text of `WHATSAPP_ENDPOINTS` to settings, or to everything that is wrong with it: where, and what would be
//! right, never what stands there.

use std::collections::HashMap;
use std::str::FromStr as _;

use domain::endpoint::{EndpointName, Provider};
use runtime::config::{BaseUrl, Problem, Setting as _};
use whatsapp::credentials::{BasicAuth, WebhookKey};
use whatsapp::genfity::InternalKey;

use super::json::{self, Json};
use super::references::{self, Sources};
use super::{
    ApiKey, CloudSettings, EndpointSettings, EndpointsSettings, LIST, ProviderSettings, address_is_gateways,
    gateway_base,
};

/// Most endpoints of one configuration.
const MOST_ENDPOINTS: usize = 500;
/// Longest text of the whole, in bytes.
const MOST_TEXT: usize = 1024 * 1024;
/// Most secrets of one kind, for rotation.
const MOST_KEYS: usize = 10;
/// Most numbers of one endpoint.
const MOST_NUMBERS: usize = 1000;

/// A key of an endpoint and to which kinds of API it belongs; none for all.
const KEYS: [(&str, Option<Provider>); 9] = [
    ("name", None),
    ("apiUrl", None),
    ("apiKey", None),
    ("provider", None),
    ("webhookSecret", None),
    ("sessions", Some(Provider::Genfity)),
    ("appSecret", Some(Provider::Cloud)),
    ("verifyToken", Some(Provider::Cloud)),
    ("phoneNumberIds", Some(Provider::Cloud)),
];

/// The list's settings.
pub(super) fn parse(text: &str, sources: &Sources<'_>) -> Result<EndpointsSettings, Vec<Problem>> {
    let mut mistakes = Mistakes::default();
    let list = match whole(text) {
        Ok(list) => list,
        Err(rule) => {
            mistakes.note(LIST.to_owned(), rule);
            return Err(mistakes.0);
        }
    };
    let mut endpoints = Vec::new();
    let mut told_apart = ToldApart::default();
    for (index, item) in list.into_iter().enumerate() {
        let place = format!("{LIST}[{index}]");
        let Json::Object(members) = item else {
            mistakes.note(
                place,
                format!(
                    "is {}: write an object {{\"name\": …, \"apiUrl\": …, \"apiKey\": …}}",
                    item.what()
                ),
            );
            continue;
        };
        let mut fields = Fields::of(&place, members, sources, &mut mistakes);
        endpoints.extend(fields.endpoint(&mut told_apart, &mut mistakes));
    }
    if mistakes.0.is_empty() {
        Ok(EndpointsSettings { list: endpoints })
    } else {
        Err(mistakes.0)
    }
}

/// The paths in Amazon's Secrets Manager that the list refers to, each once.
#[must_use]
pub fn aws_paths(text: &str) -> Vec<String> {
    fn walk(json: &Json, found: &mut Vec<String>) {
        match json {
            Json::Text(text) => found.extend(references::aws_paths(text).map(str::to_owned)),
            Json::List(items) => items.iter().for_each(|item| walk(item, found)),
            Json::Object(members) => members.iter().for_each(|(_, value)| walk(value, found)),
            Json::Null | Json::Bool | Json::Number => {}
        }
    }
    let mut found = Vec::new();
    for item in whole(text).unwrap_or_default() {
        walk(&item, &mut found);
    }
    found.sort_unstable();
    found.dedup();
    found
}

fn whole(text: &str) -> Result<Vec<Json>, String> {
    if text.len() > MOST_TEXT {
        return Err("is longer than 1 MiB: shorten it".to_owned());
    }
    let list = match json::read(text)? {
        Json::List(list) => list,
        other => {
            return Err(format!(
                "is {}: write a list [{{…}}, {{…}}] of endpoints",
                other.what()
            ));
        }
    };
    match list.len() {
        0 => Err("is an empty list: name at least one endpoint, or do not set it".to_owned()),
        count if count > MOST_ENDPOINTS => Err(format!(
            "has more than {MOST_ENDPOINTS} endpoints: take some away"
        )),
        _ => Ok(list),
    }
}

#[derive(Default)]
struct Mistakes(Vec<Problem>);

impl Mistakes {
    fn note(&mut self, name: String, rule: impl Into<String>) {
        let rule = rule.into();
        self.0.push(Problem { name, rule });
    }
}

/// What no two endpoints may have in common, with the place where it was first.
#[derive(Default)]
struct ToldApart {
    names: HashMap<String, (String, String)>,
    numbers: HashMap<String, String>,
}

/// The members of one endpoint. A member is taken out when it is read.
struct Fields<'a> {
    place: &'a str,
    members: HashMap<&'static str, Json>,
    sources: &'a Sources<'a>,
}

impl<'a> Fields<'a> {
    fn of(
        place: &'a str,
        members: Vec<(String, Json)>,
        sources: &'a Sources<'a>,
        mistakes: &mut Mistakes,
    ) -> Self {
        let mut fields = Self {
            place,
            members: HashMap::new(),
            sources,
        };
        for (position, (key, value)) in members.into_iter().enumerate() {
            let Some((known, _)) = KEYS.iter().find(|(known, _)| *known == key) else {
                mistakes.note(place.to_owned(), unknown_key(position, &key));
                continue;
            };
            if fields.members.insert(*known, value).is_some() {
                mistakes.note(fields.at(known), "is there twice: keep one");
            }
        }
        fields
    }

    fn at(&self, key: &str) -> String {
        format!("{}.{key}", self.place)
    }

    fn endpoint(&mut self, apart: &mut ToldApart, mistakes: &mut Mistakes) -> Option<EndpointSettings> {
        let name = self.name(apart, mistakes);
        let api_url = self.api_url(mistakes);
        let kind = self.kind(mistakes);
        let webhook_keys = self.webhook_keys("webhookSecret", mistakes);
        if let Some(kind) = kind {
            self.refuse_others(kind, mistakes);
        }
        // What belongs to no known kind cannot be judged.
        let provider = match kind? {
            Provider::Genfity => self.genfity(api_url.as_ref(), mistakes),
            Provider::Gowa => self.gowa(mistakes),
            Provider::Cloud => self.cloud(&mut apart.numbers, mistakes),
        };
        Some(EndpointSettings {
            name: name?,
            api_url: api_url?,
            provider: provider?,
            webhook_keys: webhook_keys?.unwrap_or_default(),
        })
    }

    fn name(&mut self, apart: &mut ToldApart, mistakes: &mut Mistakes) -> Option<EndpointName> {
        let text = self.required("name", mistakes)?;
        let Ok(name) = EndpointName::parse(text) else {
            mistakes.note(
                self.at("name"),
                "must have 1 to 64 letters, digits, _ or -: choose another name",
            );
            return None;
        };
        let lower = name.as_str().to_ascii_lowercase();
        if let Some((place, spelled)) = apart.names.get(&lower) {
            let rule = if spelled == name.as_str() {
                format!("is the name of {place}, too: choose another name")
            } else {
                format!("differs from the name of {place} by upper and lower case only: choose another name")
            };
            mistakes.note(self.at("name"), rule);
            return None;
        }
        apart
            .names
            .insert(lower, (self.place.to_owned(), name.to_string()));
        Some(name)
    }

    fn api_url(&mut self, mistakes: &mut Mistakes) -> Option<BaseUrl> {
        let text = self.required("apiUrl", mistakes)?;
        let rules = wrong_with_address(&text);
        for rule in &rules {
            mistakes.note(self.at("apiUrl"), *rule);
        }
        rules.is_empty().then(|| BaseUrl::from_text(&text)).flatten()
    }

    fn kind(&mut self, mistakes: &mut Mistakes) -> Option<Provider> {
        if !self.members.contains_key("provider") {
            return Some(Provider::Genfity);
        }
        let text = self.optional("provider", mistakes)??;
        let kind = Provider::from_str(&text).ok();
        if kind.is_none() {
            mistakes.note(
                self.at("provider"),
                "must be genfity, gowa or cloud, in lower case; genfity may be left out",
            );
        }
        kind
    }

    fn refuse_others(&self, kind: Provider, mistakes: &mut Mistakes) {
        for (key, of) in KEYS {
            if let Some(of) = of.filter(|of| *of != kind)
                && self.members.contains_key(key)
            {
                let rule = format!(
                    "belongs to provider {of} and this one is {kind}: take it away, or correct provider"
                );
                mistakes.note(self.at(key), rule);
            }
        }
    }

    fn genfity(&mut self, api_url: Option<&BaseUrl>, mistakes: &mut Mistakes) -> Option<ProviderSettings> {
        let place = self.at("apiKey");
        let key = self.required("apiKey", mistakes);
        let sessions = match self.optional("sessions", mistakes)?.as_deref() {
            None => None,
            Some("gateway") => Some(true),
            Some("server") => Some(false),
            Some(_) => {
                mistakes.note(
                    self.at("sessions"),
                    "must be gateway or server: who makes sessions there",
                );
                return None;
            }
        };
        let (key, api_url) = (key?, api_url?);
        let at_gateway = sessions.unwrap_or_else(|| address_is_gateways(api_url.url()));
        if !at_gateway {
            let Ok(token) = key.parse::<ApiKey>() else {
                mistakes.note(
                    place,
                    format!(
                        "{}: write the token of the server's administration",
                        ApiKey::EXPECTED
                    ),
                );
                return None;
            };
            return Some(ProviderSettings::Genfity {
                gateway: None,
                server: Some((api_url.clone(), token)),
            });
        }
        let base = gateway_base(api_url.url()).and_then(|base| BaseUrl::from_text(base.as_str()));
        if base.is_none() {
            let rule = "must end with /wa or /v1/wa where sessions are made at the gateway: that is where it serves the \
                        API; or write \"sessions\": \"server\"";
            mistakes.note(self.at("apiUrl"), rule);
        }
        let key = key.parse::<InternalKey>();
        if key.is_err() {
            let rule = format!(
                "{} of wa-support-gateway, printable without blanks",
                InternalKey::EXPECTED
            );
            mistakes.note(place, rule);
        }
        Some(ProviderSettings::Genfity {
            gateway: Some((base?, key.ok()?)),
            server: None,
        })
    }

    fn gowa(&mut self, mistakes: &mut Mistakes) -> Option<ProviderSettings> {
        let auth = match self.optional("apiKey", mistakes)? {
            Some(text) if !text.is_empty() => match BasicAuth::parse(&text) {
                Ok(auth) => Some(auth),
                Err(_) => {
                    let rule = "must be user:password with exactly one colon, at most 1024 characters; leave it out \
                                where GoWA asks for none";
                    mistakes.note(self.at("apiKey"), rule);
                    return None;
                }
            },
            _ => None,
        };
        Some(ProviderSettings::Gowa { auth })
    }

    fn cloud(
        &mut self,
        numbers: &mut HashMap<String, String>,
        mistakes: &mut Mistakes,
    ) -> Option<ProviderSettings> {
        let access_token = self.key("apiKey", mistakes);
        let verify_token = self.key("verifyToken", mistakes);
        let app_secrets = if self.members.contains_key("appSecret") {
            self.webhook_keys("appSecret", mistakes).flatten()
        } else {
            self.missing("appSecret", mistakes);
            None
        };
        let phone_number_ids = self.numbers(numbers, mistakes);
        Some(ProviderSettings::Cloud(CloudSettings {
            access_token: access_token?,
            app_secrets: app_secrets?,
            verify_token: verify_token?,
            phone_number_ids: phone_number_ids?,
        }))
    }

    fn key(&mut self, key: &'static str, mistakes: &mut Mistakes) -> Option<ApiKey> {
        let text = self.required(key, mistakes)?;
        let parsed = text.parse().ok();
        if parsed.is_none() {
            mistakes.note(self.at(key), format!("{}: correct it", ApiKey::EXPECTED));
        }
        parsed
    }

    /// `Some(None)`: it is not there, which is no mistake.
    #[expect(clippy::option_option, reason = "not there, or wrong")]
    fn webhook_keys(
        &mut self,
        key: &'static str,
        mistakes: &mut Mistakes,
    ) -> Option<Option<Vec<WebhookKey>>> {
        let Some(value) = self.members.remove(key) else {
            return Some(None);
        };
        let items = match value {
            text @ Json::Text(_) => vec![(self.at(key), text)],
            Json::List(items) => {
                if items.is_empty() {
                    mistakes.note(
                        self.at(key),
                        "is an empty list: write a secret into it, or take the key away",
                    );
                    return None;
                }
                if items.len() > MOST_KEYS {
                    mistakes.note(
                        self.at(key),
                        format!("has more than {MOST_KEYS} secrets: take the old ones away"),
                    );
                    return None;
                }
                let place = self.at(key);
                let placed = items.into_iter().enumerate();
                placed
                    .map(|(index, item)| (format!("{place}[{index}]"), item))
                    .collect()
            }
            other => {
                let rule = format!("is {}: write a text, or a list of texts", other.what());
                mistakes.note(self.at(key), rule);
                return None;
            }
        };
        let mut keys = Some(Vec::new());
        for (place, item) in items {
            let text = self.text_of(&place, item, mistakes);
            let parsed = text.and_then(|text| {
                let parsed = WebhookKey::new(text).ok();
                if parsed.is_none() {
                    mistakes.note(
                        place,
                        "must have 1 to 1024 characters: write the secret, or take it away",
                    );
                }
                parsed
            });
            keys = keys.zip(parsed).map(|(mut keys, key)| {
                keys.push(key);
                keys
            });
        }
        keys.map(Some)
    }

    fn numbers(
        &mut self,
        known: &mut HashMap<String, String>,
        mistakes: &mut Mistakes,
    ) -> Option<Vec<String>> {
        const KEY: &str = "phoneNumberIds";
        let place = self.at(KEY);
        let items = match self.members.remove(KEY) {
            None => {
                self.missing(KEY, mistakes);
                return None;
            }
            Some(Json::List(items)) if items.is_empty() => {
                mistakes.note(
                    place,
                    "is an empty list: write at least one phone number id into it",
                );
                return None;
            }
            Some(Json::List(items)) if items.len() > MOST_NUMBERS => {
                mistakes.note(
                    place,
                    format!("has more than {MOST_NUMBERS} ids: make a second endpoint"),
                );
                return None;
            }
            Some(Json::List(items)) => items,
            Some(other) => {
                mistakes.note(place, format!("is {}: write a list of texts", other.what()));
                return None;
            }
        };
        let mut ids = Some(Vec::new());
        for (index, item) in items.into_iter().enumerate() {
            let place = format!("{place}[{index}]");
            let id = self.text_of(&place, item, mistakes).and_then(|id| {
                if !(1..=32).contains(&id.len()) || !id.bytes().all(|byte| byte.is_ascii_digit()) {
                    mistakes.note(
                        place,
                        "must have 1 to 32 digits: copy the phone number id, not the number itself",
                    );
                    return None;
                }
                if let Some(first) = known.get(&id) {
                    mistakes.note(place, format!("is at {first}, too: keep one"));
                    return None;
                }
                known.insert(id.clone(), place);
                Some(id)
            });
            ids = ids.zip(id).map(|(mut ids, id)| {
                ids.push(id);
                ids
            });
        }
        ids
    }

    /// A text that has to be there and to say something.
    fn required(&mut self, key: &'static str, mistakes: &mut Mistakes) -> Option<String> {
        if !self.members.contains_key(key) {
            self.missing(key, mistakes);
            return None;
        }
        let text = self.optional(key, mistakes)??;
        if text.is_empty() {
            mistakes.note(self.at(key), "is empty: fill it");
            return None;
        }
        Some(text)
    }

    /// A text that may be missing. `None`: what is there is wrong.
    #[expect(clippy::option_option, reason = "not there, or wrong")]
    fn optional(&mut self, key: &'static str, mistakes: &mut Mistakes) -> Option<Option<String>> {
        match self.members.remove(key) {
            None => Some(None),
            Some(value) => self.text_of(&self.at(key), value, mistakes).map(Some),
        }
    }

    fn text_of(&self, place: &str, value: Json, mistakes: &mut Mistakes) -> Option<String> {
        let Json::Text(text) = value else {
            mistakes.note(
                place.to_owned(),
                format!("is {}: write a text in double quotes", value.what()),
            );
            return None;
        };
        match references::resolve(&text, self.sources) {
            Ok(text) => Some(text),
            Err(rules) => {
                for rule in rules {
                    mistakes.note(place.to_owned(), rule);
                }
                None
            }
        }
    }

    fn missing(&self, key: &str, mistakes: &mut Mistakes) {
        mistakes.note(self.at(key), "is missing: add it");
    }
}

/// A key may be a secret that lost its own, so it is shown by its place.
fn unknown_key(position: usize, key: &str) -> String {
    let plain = |text: &str| text.replace(['_', '-', ' '], "").to_ascii_lowercase();
    let near = KEYS.iter().find(|(known, _)| {
        let (known, key) = (plain(known), plain(key));
        known == key || format!("{known}s") == key || known == format!("{key}s")
    });
    let cure = match near {
        Some((known, _)) => format!("write {known}"),
        None => {
            let known: Vec<&str> = KEYS.iter().map(|(known, _)| *known).collect();
            format!("take it away; known are {}", known.join(", "))
        }
    };
    format!("key {} of this endpoint is not known: {cure}", position + 1)
}

/// Everything that is wrong with an address.
fn wrong_with_address(text: &str) -> Vec<&'static str> {
    const LONGEST: usize = 2048;
    let mut rules = Vec::new();
    let Ok(url) = url::Url::parse(text) else {
        return vec!["is no address: write http:// or https:// and a host, without blanks"];
    };
    if !matches!(url.scheme(), "http" | "https") {
        rules.push("must begin with http:// or https://");
    } else if url.host_str().is_none_or(str::is_empty) {
        rules.push("has no host: write it behind the //");
    }
    if text.len() > LONGEST {
        rules.push("is longer than 2048 characters: shorten it");
    }
    if !url.username().is_empty() || url.password().is_some() {
        rules.push("must have no user and password in it: move them into apiKey");
    }
    if url.query().is_some() {
        rules.push("must have no query: take away the ? and what follows");
    }
    if url.fragment().is_some() {
        rules.push("must have no fragment: take away the # and what follows");
    }
    if text.chars().any(|c| c.is_whitespace() || c.is_control()) {
        rules.push("must have no blanks in it: take them away");
    }
    rules
}
