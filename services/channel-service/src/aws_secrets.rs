//! Secrets that settings refer to in AWS Secrets Manager: asked for before the settings are read, a few at once.
//!
//! Credentials come from where they ordinarily do: `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`, the file of
//! profiles, a web identity, the container, the machine. The object store's library knows all of these but the file, and
//! how requests are signed; so Amazon's own library is not needed.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use object_store::ClientOptions;
use object_store::RetryConfig;
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey, AwsAuthorizer, AwsCredential};
use object_store::client::{HttpRequest, HttpRequestBody};
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Client, Method, StatusCode, redirect};
use runtime::config::SettingsReader;
use runtime::env_file;
use secrecy::SecretString;
use serde::Deserialize;
use url::Url;

use crate::config::{FetchedSecrets, LIST, SecretTrouble, aws_paths};

/// Longest wait for one answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// Secrets that are asked for at once.
const AT_ONCE: usize = 8;
/// Most bytes of an answer: a secret has at most 64 KiB, and JSON may write each byte with six.
const MOST_ANSWER: usize = 512 * 1024;
/// Largest secret that is taken.
const MOST_SECRET: usize = 64 * 1024;
/// Largest file of profiles.
const MOST_PROFILES: u64 = 256 * 1024;

/// Fetches whatever the endpoints' settings refer to. Calls nobody when they refer to nothing.
pub async fn fetch_for(reader: &SettingsReader) -> FetchedSecrets {
    let paths = reader.untrimmed(LIST).map(aws_paths).unwrap_or_default();
    if paths.is_empty() {
        return FetchedSecrets::default();
    }
    let fetched: BTreeMap<_, _> = match Manager::of(reader).await {
        Ok(manager) => {
            stream::iter(paths)
                .map(|path| async {
                    let secret = manager.fetch(&path).await;
                    (path, secret)
                })
                .buffer_unordered(AT_ONCE)
                .collect()
                .await
        }
        Err(trouble) => paths
            .into_iter()
            .map(|path| (path, Err(trouble.clone())))
            .collect(),
    };
    FetchedSecrets::new(fetched)
}

/// The Secrets Manager of one region, with what opens it.
struct Manager {
    http: Client,
    address: Url,
    region: String,
    credential: Arc<AwsCredential>,
}

/// A refusal, in Amazon's words.
#[derive(Deserialize)]
struct Refusal {
    #[serde(rename = "__type", default)]
    kind: String,
}

/// A secret.
#[derive(Deserialize)]
struct Answer {
    #[serde(rename = "SecretString")]
    text: Option<SecretString>,
}

impl Manager {
    async fn of(reader: &SettingsReader) -> Result<Self, SecretTrouble> {
        let named = |name: &str| reader.variable(name).map(str::to_owned);
        let region = named("AWS_REGION")
            .or_else(|| named("AWS_DEFAULT_REGION"))
            .filter(|region| region.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-'))
            .ok_or(SecretTrouble::NoRegion)?;
        let address = match named("AWS_ENDPOINT_URL_SECRETS_MANAGER").or_else(|| named("AWS_ENDPOINT_URL")) {
            Some(address) => address,
            None if region.starts_with("cn-") => format!("https://secretsmanager.{region}.amazonaws.com.cn"),
            None => format!("https://secretsmanager.{region}.amazonaws.com"),
        };
        let address = Url::parse(&address)
            .ok()
            .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
            .ok_or(SecretTrouble::BadEndpoint)?;
        let credential = tokio::time::timeout(PATIENCE, credential(reader, &region))
            .await
            .ok()
            .flatten()
            // The library takes it for granted that a token fits into a header.
            .filter(|found| {
                let token = found.token.as_deref().unwrap_or_default();
                token
                    .bytes()
                    .chain(found.key_id.bytes())
                    .all(|b| b.is_ascii_graphic())
            })
            .ok_or(SecretTrouble::NoCredentials)?;
        let http = Client::builder()
            .connect_timeout(PATIENCE / 2)
            .timeout(PATIENCE)
            .redirect(redirect::Policy::none())
            .no_proxy()
            .build()
            .map_err(|_| SecretTrouble::Unreachable)?;
        Ok(Self {
            http,
            address,
            region,
            credential,
        })
    }

    async fn fetch(&self, path: &str) -> Result<SecretString, SecretTrouble> {
        let body = serde_json::json!({ "SecretId": path }).to_string();
        let headers = self.signed(&body)?;
        let request = self.http.post(self.address.clone()).headers(headers).body(body);
        let mut answer = request.send().await.map_err(|_| SecretTrouble::Unreachable)?;
        let status = answer.status();
        let mut bytes = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(|_| SecretTrouble::Unreachable)? {
            if bytes.len() + chunk.len() > MOST_ANSWER {
                return Err(SecretTrouble::NoText);
            }
            bytes.extend_from_slice(&chunk);
        }
        if status != StatusCode::OK {
            return Err(SecretTrouble::Refused(refusal(status, &bytes)));
        }
        let answer: Answer = serde_json::from_slice(&bytes).map_err(|_| SecretTrouble::NoText)?;
        answer
            .text
            .filter(|text| secrecy::ExposeSecret::expose_secret(text).len() <= MOST_SECRET)
            .ok_or(SecretTrouble::NoText)
    }

    fn signed(&self, body: &str) -> Result<HeaderMap, SecretTrouble> {
        let mut request = HttpRequest::new(HttpRequestBody::from(body.to_owned()));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self
            .address
            .as_str()
            .parse()
            .map_err(|_| SecretTrouble::BadEndpoint)?;
        let headers = request.headers_mut();
        headers.insert(
            CONTENT_TYPE,
            HeaderValue::from_static("application/x-amz-json-1.1"),
        );
        headers.insert(
            "x-amz-target",
            HeaderValue::from_static("secretsmanager.GetSecretValue"),
        );
        AwsAuthorizer::new(&self.credential, "secretsmanager", &self.region)
            .try_authorize(&mut request, None)
            .map_err(|_| SecretTrouble::NoCredentials)?;
        Ok(std::mem::take(request.headers_mut()))
    }
}

/// What Amazon calls it, or the status. Nothing else of the answer is for people.
fn refusal(status: StatusCode, body: &[u8]) -> String {
    let kind = serde_json::from_slice::<Refusal>(body).map_or_else(|_| String::new(), |refusal| refusal.kind);
    let name = kind.rsplit('#').next().unwrap_or_default();
    let plain = (1..=64).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric());
    if plain {
        name.to_owned()
    } else {
        status.as_u16().to_string()
    }
}

/// What proves us to AWS, from the first place that has something.
async fn credential(reader: &SettingsReader, region: &str) -> Option<Arc<AwsCredential>> {
    use AmazonS3ConfigKey as Key;
    let places = [
        ("AWS_ACCESS_KEY_ID", Key::AccessKeyId),
        ("AWS_SECRET_ACCESS_KEY", Key::SecretAccessKey),
        ("AWS_SESSION_TOKEN", Key::Token),
        ("AWS_WEB_IDENTITY_TOKEN_FILE", Key::WebIdentityTokenFile),
        ("AWS_ROLE_ARN", Key::RoleArn),
        ("AWS_ROLE_SESSION_NAME", Key::RoleSessionName),
        ("AWS_ENDPOINT_URL_STS", Key::StsEndpoint),
        (
            "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
            Key::ContainerCredentialsRelativeUri,
        ),
        (
            "AWS_CONTAINER_CREDENTIALS_FULL_URI",
            Key::ContainerCredentialsFullUri,
        ),
        (
            "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
            Key::ContainerAuthorizationTokenFile,
        ),
        ("AWS_METADATA_ENDPOINT", Key::MetadataEndpoint),
    ];
    let has_keys = reader.variable("AWS_ACCESS_KEY_ID").is_some();
    if let Some(found) = (!has_keys).then(|| of_profile(reader)).flatten() {
        return Some(Arc::new(found));
    }
    let mut builder = AmazonS3Builder::new()
        .with_region(region)
        // A store needs a name; none is ever called.
        .with_bucket_name("none")
        .with_client_options(
            ClientOptions::new()
                .with_connect_timeout(PATIENCE / 4)
                .with_timeout(PATIENCE / 2),
        )
        .with_retry(RetryConfig {
            max_retries: 1,
            retry_timeout: PATIENCE,
            ..RetryConfig::default()
        });
    for (name, key) in places {
        if let Some(value) = reader.variable(name) {
            builder = builder.with_config(key, value);
        }
    }
    builder.build().ok()?.credentials().get_credential().await.ok()
}

/// The keys of the profile, when the file of profiles has any for it.
fn of_profile(reader: &SettingsReader) -> Option<AwsCredential> {
    let path = match reader.variable("AWS_SHARED_CREDENTIALS_FILE") {
        Some(path) => PathBuf::from(path),
        None => PathBuf::from(reader.variable("HOME")?).join(".aws/credentials"),
    };
    let text = env_file::read_text(&path, MOST_PROFILES)?;
    let profile = reader.variable("AWS_PROFILE").unwrap_or("default");
    let value = |wanted: &str| {
        let mut inside = false;
        text.lines().find_map(|line| {
            let line = line.trim();
            if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
                inside = name.trim() == profile;
            }
            let (key, value) = line.split_once('=')?;
            (inside && key.trim() == wanted).then(|| value.trim().to_owned())
        })
    };
    Some(AwsCredential {
        key_id: value("aws_access_key_id")?,
        secret_key: value("aws_secret_access_key")?,
        token: value("aws_session_token"),
    })
}
