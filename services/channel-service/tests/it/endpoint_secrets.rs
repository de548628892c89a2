//! Secrets in AWS Secrets Manager: fetched from a server that looks at the signature, and from moto where there is one.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use channel_service::aws_secrets;
use channel_service::config::{EndpointsSettings, LIST, ProviderSettings};
use hmac::{Hmac, KeyInit as _, Mac as _};
use runtime::config::{InvalidSettings, SettingsReader};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use whatsapp::credentials::WebhookKey;

const REGION: &str = "ap-southeast-3";
const KEY_ID: &str = "AKIDEXAMPLE";
const SECRET_KEY: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";

/// A Secrets Manager that knows some secrets and one key.
struct FakeManager {
    url: String,
    asked: Arc<Mutex<Vec<String>>>,
}

/// A request as it came.
struct Request {
    headers: BTreeMap<String, String>,
    body: Vec<u8>,
}

impl FakeManager {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&asked);
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(serve(stream, Arc::clone(&noted)));
            }
        });
        Self { url, asked }
    }

    fn asked(&self) -> Vec<String> {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone();
        asked.sort_unstable();
        asked
    }
}

async fn serve(mut stream: TcpStream, asked: Arc<Mutex<Vec<String>>>) {
    while let Some(request) = receive(&mut stream).await {
        let (status, body) = answer(&request, &asked);
        let head = format!(
            "HTTP/1.1 {status} X\r\ncontent-type: application/x-amz-json-1.1\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(body.as_bytes()).await.unwrap();
    }
}

async fn receive(stream: &mut TcpStream) -> Option<Request> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break end;
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    assert!(head.starts_with("POST / HTTP/1.1\r\n"), "{head}");
    let headers: BTreeMap<String, String> = head
        .lines()
        .skip(1)
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let mut body = bytes.split_off(end + 4);
    let length: usize = headers["content-length"].parse().unwrap();
    while body.len() < length {
        stream.read_buf(&mut body).await.ok()?;
    }
    Some(Request { headers, body })
}

fn answer(request: &Request, asked: &Mutex<Vec<String>>) -> (u16, String) {
    assert_eq!(request.headers["x-amz-target"], "secretsmanager.GetSecretValue");
    assert_eq!(request.headers["content-type"], "application/x-amz-json-1.1");
    let refused = |kind: &str| {
        (
            400,
            json!({"__type": kind, "Message": "s3cret words"}).to_string(),
        )
    };
    if !is_signed(request) {
        return refused("InvalidSignatureException");
    }
    let body: Value = serde_json::from_slice(&request.body).unwrap();
    let path = body["SecretId"].as_str().unwrap().to_owned();
    asked
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push(path.clone());
    let text = |text: &str| (200, json!({"Name": path, "SecretString": text}).to_string());
    match path.as_str() {
        "kanal/gateway" => text("aws-gateway-key"),
        "kanal/gowa" => text(r#"{"basic": "user:aws-password", "hook": "aws-hook"}"#),
        "kanal/binary" => (200, json!({"Name": path, "SecretBinary": "AAAA"}).to_string()),
        "kanal/large" => text(&"x".repeat(64 * 1024 + 1)),
        "kanal/huge" => text(&"x".repeat(1024 * 1024)),
        "kanal/denied" => refused("com.amazonaws.secretsmanager#AccessDeniedException"),
        "kanal/rude" => refused("s3cret words <b>"),
        "kanal/broken" => (500, "s3cret words".to_owned()),
        _ => refused("ResourceNotFoundException"),
    }
}

/// The signature as Amazon computes it (SigV4).
fn is_signed(request: &Request) -> bool {
    let authorization = &request.headers["authorization"];
    let part = |name: &str| {
        let (_, rest) = authorization.split_once(&format!("{name}="))?;
        rest.split(',').next().map(str::to_owned)
    };
    let (Some(credential), Some(signed), Some(signature)) =
        (part("Credential"), part("SignedHeaders"), part("Signature"))
    else {
        return false;
    };
    let wanted = ["content-type", "host", "x-amz-date", "x-amz-target"];
    if !wanted
        .iter()
        .all(|name| signed.split(';').any(|header| header == *name))
    {
        return false;
    }
    let (id, scope) = credential.split_once('/').unwrap();
    let date = &request.headers["x-amz-date"];
    if id != KEY_ID || scope != format!("{}/{REGION}/secretsmanager/aws4_request", &date[..8]) {
        return false;
    }
    let headers: String = signed
        .split(';')
        .map(|name| format!("{name}:{}\n", request.headers[name]))
        .collect();
    let digest = hex::encode(Sha256::digest(&request.body));
    let canonical = format!("POST\n/\n\n{headers}\n{signed}\n{digest}");
    let to_sign = format!(
        "AWS4-HMAC-SHA256\n{date}\n{scope}\n{}",
        hex::encode(Sha256::digest(canonical.as_bytes()))
    );
    let mut key = format!("AWS4{SECRET_KEY}").into_bytes();
    for part in [&date[..8], REGION, "secretsmanager", "aws4_request"] {
        key = mac(&key, part);
    }
    hex::encode(mac(&key, &to_sign)) == signature
}

fn mac(key: &[u8], text: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

fn list(key: &str) -> String {
    json!([
        {"name": "Primary", "apiUrl": "https://api.example/wa", "apiKey": key},
        {"name": "Toko", "provider": "gowa", "apiUrl": "http://gowa.example:3000",
         "apiKey": "$(AWS_SECRET:kanal/gowa#basic)", "webhookSecret": "$(AWS_SECRET:kanal/gowa#hook)"},
    ])
    .to_string()
}

async fn read(list: &str, environment: &[(&str, &str)]) -> Result<EndpointsSettings, InvalidSettings> {
    test_support::install_crypto_provider();
    let values = environment.iter().copied().chain([(LIST, list)]);
    let reader = SettingsReader::from_map(values);
    let secrets = aws_secrets::fetch_for(&reader).await;
    EndpointsSettings::read(reader, &secrets)
}

fn with_keys(url: &str) -> Vec<(&str, &str)> {
    vec![
        ("AWS_REGION", REGION),
        ("AWS_ENDPOINT_URL_SECRETS_MANAGER", url),
        ("AWS_ACCESS_KEY_ID", KEY_ID),
        ("AWS_SECRET_ACCESS_KEY", SECRET_KEY),
    ]
}

fn assert_read(settings: &EndpointsSettings) {
    let ProviderSettings::Genfity { gateway, .. } = &settings.list[0].provider else {
        panic!("no genfity");
    };
    assert_eq!(gateway.as_ref().unwrap().1, "aws-gateway-key".parse().unwrap());
    assert_eq!(
        settings.list[1].webhook_keys,
        [WebhookKey::new("aws-hook").unwrap()]
    );
}

#[tokio::test]
async fn secrets_are_fetched_with_a_signature_and_each_once() {
    let manager = FakeManager::start().await;
    let list = list("$(AWS_SECRET:kanal/gateway)");
    assert_read(&read(&list, &with_keys(&manager.url)).await.unwrap());
    assert_eq!(manager.asked(), ["kanal/gateway", "kanal/gowa"]);

    // The general address, the older name of the region, and the credentials of a profile.
    let dir = tempfile::tempdir().unwrap();
    let profiles = dir.path().join("credentials");
    std::fs::write(
        &profiles,
        format!(
            "[default]\naws_access_key_id = other\naws_secret_access_key = other\n\n[kanal]\n# ours\n\
             aws_access_key_id={KEY_ID}\naws_secret_access_key = {SECRET_KEY}\n"
        ),
    )
    .unwrap();
    let environment = [
        ("AWS_DEFAULT_REGION", REGION),
        ("AWS_ENDPOINT_URL", manager.url.as_str()),
        ("AWS_SHARED_CREDENTIALS_FILE", profiles.to_str().unwrap()),
        ("AWS_PROFILE", "kanal"),
    ];
    assert_read(&read(&list, &environment).await.unwrap());

    // Nothing is referred to: nobody is asked.
    let asked = manager.asked().len();
    let plain = json!([{"name": "Primary", "apiUrl": "https://api.example/wa", "apiKey": "key"}]).to_string();
    read(&plain, &with_keys(&manager.url)).await.unwrap();
    assert_eq!(manager.asked().len(), asked);
}

#[tokio::test]
async fn what_cannot_be_fetched_is_told_without_amazons_words() {
    let manager = FakeManager::start().await;
    let no_text = "the secret of AWS holds no text";
    for (path, said) in [
        ("kanal/none", "answers ResourceNotFoundException"),
        ("kanal/denied", "answers AccessDeniedException"),
        ("kanal/rude", "answers 400"),
        ("kanal/broken", "answers 500"),
        ("kanal/binary", no_text),
        ("kanal/large", no_text),
        ("kanal/huge", no_text),
    ] {
        let list = list(&format!("$(AWS_SECRET:{path})"));
        let error = read(&list, &with_keys(&manager.url)).await.unwrap_err();
        assert_eq!(error.problems.len(), 1, "{error}");
        assert_eq!(error.problems[0].name, "WHATSAPP_ENDPOINTS[0].apiKey");
        assert!(error.problems[0].rule.contains(said), "{path}: {error}");
        assert!(
            !error.to_string().contains("s3cret") && !error.to_string().contains(path),
            "{error}"
        );
    }

    // All mistakes at once, whatever is wrong with the way to Amazon.
    let list = list("$(AWS_SECRET:kanal/gateway)");
    let (mut no_region, mut wrong_key, mut away) = (
        with_keys(&manager.url),
        with_keys(&manager.url),
        with_keys("http://127.0.0.1:9"),
    );
    let mut no_address = with_keys("nowhere");
    no_region[0].1 = "";
    wrong_key[3].1 = "s3cret of somebody else";
    away[0].1 = REGION;
    no_address[0].1 = REGION;
    let mut half = with_keys(&manager.url);
    half.remove(3);
    for (environment, said) in [
        (no_region, "set AWS_REGION"),
        (wrong_key, "answers InvalidSignatureException"),
        (away, "cannot be reached"),
        (no_address, "is no http:// or https:// address"),
        (half, "no credentials of AWS were found"),
    ] {
        let error = read(&list, &environment).await.unwrap_err();
        assert_eq!(error.problems.len(), 3, "{error}");
        assert!(
            error.problems.iter().all(|problem| problem.rule.contains(said)),
            "{error}"
        );
        assert!(!error.to_string().contains("s3cret"), "{error}");
    }
}

/// Run by `deploy/dev/aws-check`, which starts a moto and names it in `MOTO_URL`.
#[tokio::test]
#[ignore = "needs moto from PyPI; deploy/dev/aws-check runs it"]
async fn moto_gives_its_secrets() {
    let url = std::env::var("MOTO_URL").unwrap();
    test_support::install_crypto_provider();
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    for (name, text) in [
        ("kanal/gateway", "aws-gateway-key"),
        (
            "kanal/gowa",
            r#"{"basic": "user:aws-password", "hook": "aws-hook"}"#,
        ),
    ] {
        let made = http
            .post(&url)
            .header("content-type", "application/x-amz-json-1.1")
            .header("x-amz-target", "secretsmanager.CreateSecret")
            .header(
                "authorization",
                format!(
                    "AWS4-HMAC-SHA256 Credential={KEY_ID}/20261128/{REGION}/secretsmanager/aws4_request, \
                     SignedHeaders=host, Signature=0"
                ),
            )
            .body(json!({"Name": name, "SecretString": text}).to_string())
            .send()
            .await
            .unwrap();
        assert_eq!(made.status(), 200, "{}", made.text().await.unwrap());
    }
    let list_of = |path: &str| list(&format!("$(AWS_SECRET:{path})"));
    assert_read(&read(&list_of("kanal/gateway"), &with_keys(&url)).await.unwrap());
    let error = read(&list_of("kanal/none"), &with_keys(&url)).await.unwrap_err();
    assert!(
        error.to_string().contains("answers ResourceNotFoundException"),
        "{error}"
    );
}
