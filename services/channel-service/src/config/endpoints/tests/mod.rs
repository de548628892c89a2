mod broken;
mod shown;

use std::collections::BTreeMap;

use whatsapp::credentials::BasicAuth;

use super::*;

const GENFITY: &[(&str, &str)] = &[
    ("name", r#""Primary""#),
    ("apiUrl", r#""https://api.example/v1/wa""#),
    ("apiKey", r#""govconnect:key""#),
];
const GOWA: &[(&str, &str)] = &[
    ("name", r#""Toko""#),
    ("provider", r#""gowa""#),
    ("apiUrl", r#""http://gowa.example:3000""#),
];
const CLOUD: &[(&str, &str)] = &[
    ("name", r#""Meta""#),
    ("provider", r#""cloud""#),
    ("apiUrl", r#""https://graph.facebook.com/v22.0""#),
    ("apiKey", r#""EAAtoken""#),
    ("appSecret", r#"["new", "old"]"#),
    ("verifyToken", r#""verify""#),
    ("phoneNumberIds", r#"["100200300"]"#),
];

/// An endpoint with members replaced, added, or, where the new value is empty, taken away.
fn endpoint(members: &[(&str, &str)], changes: &[(&str, &str)]) -> String {
    let mut all: Vec<(&str, &str)> = members.to_vec();
    for change in changes {
        match all.iter_mut().find(|(key, _)| *key == change.0) {
            Some(known) => *known = *change,
            None => all.push(*change),
        }
    }
    let kept = all.iter().filter(|(_, value)| !value.is_empty());
    let written: Vec<String> = kept.map(|(key, value)| format!("\"{key}\": {value}")).collect();
    format!("{{{}}}", written.join(", "))
}

fn list(endpoints: &[String]) -> String {
    format!("[{}]", endpoints.join(",\n"))
}

fn genfity(key: &str, value: &str) -> String {
    list(&[endpoint(GENFITY, &[(key, value)])])
}

fn gowa(key: &str, value: &str) -> String {
    list(&[endpoint(GOWA, &[(key, value)])])
}

fn cloud(key: &str, value: &str) -> String {
    list(&[endpoint(CLOUD, &[(key, value)])])
}

fn secrets() -> FetchedSecrets {
    let mut fetched = BTreeMap::new();
    let text = |text: &str| Ok(SecretString::from(text));
    fetched.insert("kanal/key".to_owned(), text("aws-key"));
    fetched.insert(
        "kanal/json".to_owned(),
        text(r#"{"key": "json-key", "number": 7, "list": []}"#),
    );
    fetched.insert("kanal/empty".to_owned(), text(""));
    fetched.insert(
        "kanal/none".to_owned(),
        Err(SecretTrouble::Refused("ResourceNotFoundException".to_owned())),
    );
    fetched.insert("kanal/away".to_owned(), Err(SecretTrouble::Unreachable));
    FetchedSecrets::new(fetched)
}

fn read_in(text: &str, environment: &[(&str, &str)]) -> Result<EndpointsSettings, InvalidSettings> {
    let values = environment.iter().copied().chain([(LIST, text)]);
    EndpointsSettings::read(SettingsReader::from_map(values), &secrets())
}

fn read(text: &str) -> Result<EndpointsSettings, InvalidSettings> {
    read_in(text, &[("SET", "value"), ("EMPTY", "")])
}

fn mistakes(text: &str) -> Vec<String> {
    match read(text) {
        Ok(_) => Vec::new(),
        Err(invalid) => invalid
            .problems
            .iter()
            .map(|problem| format!("{}: {}", problem.name, problem.rule))
            .collect(),
    }
}

#[test]
fn endpoints_of_every_kind_are_read() {
    let text = list(&[
        endpoint(GENFITY, &[("webhookSecret", "\"hook\"")]),
        endpoint(
            GENFITY,
            &[("name", "\"Server\""), ("apiUrl", "\"http://wa.example:8080/\"")],
        ),
        endpoint(GENFITY, &[("name", "\"S2\""), ("sessions", "\"server\"")]),
        endpoint(
            GOWA,
            &[
                ("webhookSecret", "[\"new\", \"old\"]"),
                ("apiKey", "\"user:password\""),
            ],
        ),
        endpoint(GOWA, &[("name", "\"Open\""), ("apiKey", "\"\"")]),
        endpoint(CLOUD, &[]),
    ]);
    let read = read(&text).unwrap();
    let kinds: Vec<String> = read
        .list
        .iter()
        .map(|endpoint| format!("{} {}", endpoint.name, endpoint.provider.kind()))
        .collect();
    assert_eq!(
        kinds,
        [
            "Primary genfity",
            "Server genfity",
            "S2 genfity",
            "Toko gowa",
            "Open gowa",
            "Meta cloud"
        ]
    );
    let makers: Vec<(Option<String>, Option<String>)> = read
        .list
        .iter()
        .filter_map(|endpoint| match &endpoint.provider {
            ProviderSettings::Genfity { gateway, server } => Some((
                gateway.as_ref().map(|(base, _)| base.as_str().to_owned()),
                server.as_ref().map(|(base, _)| base.as_str().to_owned()),
            )),
            _ => None,
        })
        .collect();
    assert_eq!(
        makers,
        [
            (Some("https://api.example".to_owned()), None),
            (None, Some("http://wa.example:8080".to_owned())),
            (None, Some("https://api.example/v1/wa".to_owned())),
        ]
    );
    assert_eq!(read.list[0].webhook_keys, [WebhookKey::new("hook").unwrap()]);
    let rotated = [WebhookKey::new("new").unwrap(), WebhookKey::new("old").unwrap()];
    assert_eq!(read.list[3].webhook_keys, rotated);
    let auth = BasicAuth::parse("user:password").ok();
    assert_eq!(read.list[3].provider, ProviderSettings::Gowa { auth });
    assert_eq!(read.list[4].provider, ProviderSettings::Gowa { auth: None });
    let ProviderSettings::Cloud(cloud) = &read.list[5].provider else {
        panic!("no cloud");
    };
    assert_eq!(cloud.access_token, "EAAtoken".parse().unwrap());
    assert_eq!(cloud.verify_token, "verify".parse().unwrap());
    assert_eq!(cloud.app_secrets, rotated);
    assert_eq!(cloud.phone_number_ids, ["100200300"]);
}

#[test]
fn references_stand_for_values_wherever_a_text_stands() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("key");
    std::fs::write(&file, "from-$(ENV:SET)-file\r\n").unwrap();
    let text = list(&[
        endpoint(
            GENFITY,
            &[
                ("name", "\"$(ENV:NAME)\""),
                ("apiUrl", "\"https://$(ENV:HOST).example/$(ENV:PART)/wa\""),
                ("apiKey", &format!("\"govconnect:$(FILE:{})\"", file.display())),
                (
                    "webhookSecret",
                    "[\"$(AWS_SECRET:kanal/key)\", \"$(AWS_SECRET:kanal/json#key)\"]",
                ),
            ],
        ),
        endpoint(
            CLOUD,
            &[
                ("provider", "\"$(ENV:KIND)\""),
                (
                    "phoneNumberIds",
                    "[\"$(AWS_SECRET:kanal/json#number)\", \"1$(ENV:DIGIT)\"]",
                ),
            ],
        ),
    ]);
    let environment = [
        ("NAME", "Desa"),
        ("HOST", "api"),
        ("PART", "v1"),
        ("KIND", "cloud"),
        ("DIGIT", "2"),
        ("SET", "not this"),
    ];
    let read = read_in(&text, &environment).unwrap();
    let first = &read.list[0];
    assert_eq!(first.name.as_str(), "Desa");
    assert_eq!(first.api_url.as_str(), "https://api.example/v1/wa");
    let ProviderSettings::Genfity { gateway, .. } = &first.provider else {
        panic!("no genfity");
    };
    let key: InternalKey = "govconnect:from-$(ENV:SET)-file".parse().unwrap();
    assert_eq!(gateway.as_ref().map(|(_, key)| key), Some(&key));
    let hooks = [
        WebhookKey::new("aws-key").unwrap(),
        WebhookKey::new("json-key").unwrap(),
    ];
    assert_eq!(first.webhook_keys, hooks);
    let ProviderSettings::Cloud(cloud) = &read.list[1].provider else {
        panic!("no cloud");
    };
    assert_eq!(cloud.phone_number_ids, ["7", "12"]);
    assert_eq!(aws_paths(&text), ["kanal/json", "kanal/key"]);
}

#[test]
fn files_of_secrets_are_bounded() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("key");
    let text = genfity("apiKey", &format!("\"$(FILE:{})\"", file.display()));
    for (bytes, fits) in [
        (b"key\n".to_vec(), true),
        (b"key".to_vec(), true),
        (b"\n".to_vec(), false),
        (b"".to_vec(), false),
        (vec![b'x'; 64 * 1024 + 1], false),
        (vec![0xff, 0xfe], false),
    ] {
        std::fs::write(&file, &bytes).unwrap();
        assert_eq!(read(&text).is_ok(), fits, "{} bytes", bytes.len());
    }
}

#[test]
fn without_a_list_there_is_one_endpoint_of_the_older_settings() {
    let read = |values: &[(&str, &str)]| {
        EndpointsSettings::read(
            SettingsReader::from_map(values.iter().copied()),
            &FetchedSecrets::default(),
        )
    };
    let older = [
        ("WA_API_URL", "http://gateway.example/v1/wa"),
        ("WA_SUPPORT_URL", "http://gateway.example"),
        ("WA_SUPPORT_INTERNAL_API_KEY", "key"),
        (LIST, " \n"),
    ];
    let alone = read(&older).unwrap();
    assert_eq!(alone.list.len(), 1);
    assert_eq!(alone.list[0].name.as_str(), PRIMARY);
    assert_eq!(alone.list[0].api_url.as_str(), "http://gateway.example/v1/wa");
    let ProviderSettings::Genfity { gateway, server } = &alone.list[0].provider else {
        panic!("no genfity");
    };
    assert!(gateway.is_some() && server.is_none());

    let text = list(&[endpoint(GOWA, &[])]);
    let mut with_list = older.to_vec();
    with_list[3].1 = &text;
    let listed = read(&with_list).unwrap();
    let names: Vec<&str> = listed
        .list
        .iter()
        .map(|endpoint| endpoint.name.as_str())
        .collect();
    assert_eq!(names, ["Toko"], "a list is all there is");
}

#[test]
fn a_list_over_many_lines_comes_from_a_file_of_variables() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(".env");
    let lines = "[\n  {\n    \"name\": \"Primary\", \"apiUrl\": \"https://api.example/wa\",\n    \"apiKey\": \
                 \"$(ENV:GATEWAY_KEY)\"\n  },\n  {\"name\": \"Toko\", \"provider\": \"gowa\", \"apiUrl\": \
                 \"http://gowa:3000\"}\n]";
    for quoted in [
        format!("WHATSAPP_ENDPOINTS={lines}"),
        format!("WHATSAPP_ENDPOINTS='{lines}'"),
        format!("export WHATSAPP_ENDPOINTS=\"{}\"", lines.replace('"', "\\\"")),
    ] {
        std::fs::write(
            &path,
            format!("# keys\nGATEWAY_KEY='a key'\nGATEWAY_KEY=key\n{quoted}\nLOG_LEVEL=info\n"),
        )
        .unwrap();
        let reader = SettingsReader::from_map_and_its_files([("KANAL_ENV_FILE", path.to_str().unwrap())]);
        let read = EndpointsSettings::read(reader, &FetchedSecrets::default()).unwrap();
        assert_eq!(read.list.len(), 2, "{quoted}");
    }
}
