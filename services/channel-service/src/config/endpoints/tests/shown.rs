//! What stands in the list is shown to nobody.

use super::*;

/// No place of any endpoint, right or wrong, shows what stands there.
#[test]
fn no_message_and_no_debug_shows_a_value() {
    const PLANTED: &str = "S3CRETplanted";
    let shows = |what: &str, shown: &str| {
        let lower = shown.to_ascii_lowercase();
        assert!(
            !lower.contains(&PLANTED.to_ascii_lowercase()),
            "{what} shows it: {shown}"
        );
    };
    let shapes = [
        PLANTED.to_owned(),
        format!("{PLANTED} with blanks"),
        format!("https://{PLANTED}:{PLANTED}@x.example/?{PLANTED}#{PLANTED}"),
        format!("{PLANTED}://{PLANTED}"),
        format!("$(ENV:{PLANTED})"),
        format!("$(FILE:/{PLANTED})"),
        format!("$(FILE:{PLANTED})"),
        format!("$(AWS_SECRET:{PLANTED}#{PLANTED})"),
        format!("$(AWS_SECRET:kanal/json#{PLANTED})"),
        format!("$({PLANTED}"),
        format!("$({PLANTED}:x)"),
        format!("$(ENV:$(ENV:{PLANTED}))"),
        format!("{PLANTED}:{PLANTED}:{PLANTED}"),
    ];
    let mut tried = 0;
    for members in [GENFITY, GOWA, CLOUD] {
        let keys = [
            "name",
            "apiUrl",
            "apiKey",
            "provider",
            "webhookSecret",
            "sessions",
            "appSecret",
            "verifyToken",
        ];
        for key in keys
            .into_iter()
            .chain(["phoneNumberIds", PLANTED, "apikeyS3CRETplanted"])
        {
            for shape in &shapes {
                for value in [
                    format!("\"{shape}\""),
                    format!("[\"{shape}\"]"),
                    format!("{{\"{shape}\": 1}}"),
                ] {
                    let text = list(&[endpoint(members, &[(key, &value)]), "7".to_owned()]);
                    let error = read(&text).unwrap_err();
                    shows(key, &error.to_string());
                    shows(key, &format!("{error:?}"));
                    tried += 1;
                }
            }
        }
    }
    for broken in [
        "[{\"name\": \"S3CRETplanted",
        "[S3CRETplanted]",
        "[{\"a\": S3CRETplanted}]",
        "\"S3CRETplanted\"",
    ] {
        shows("broken JSON", &read(broken).unwrap_err().to_string());
    }
    assert!(tried > 1000);

    // And right ones: everything that is a secret.
    let planted = format!("\"{PLANTED}\"");
    let text = list(&[
        endpoint(GENFITY, &[("apiKey", &planted), ("webhookSecret", &planted)]),
        endpoint(
            GENFITY,
            &[
                ("name", "\"S\""),
                ("sessions", "\"server\""),
                ("apiKey", &planted),
            ],
        ),
        endpoint(GOWA, &[("apiKey", "\"S3CRETplanted:S3CRETplanted\"")]),
        endpoint(
            CLOUD,
            &[
                ("apiKey", &planted),
                ("appSecret", &planted),
                ("verifyToken", &planted),
            ],
        ),
    ]);
    let values = [(LIST, text.as_str())];
    shows("the reader", &format!("{:?}", SettingsReader::from_map(values)));
    let settings = read(&text).unwrap();
    shows("Debug", &format!("{settings:?} {settings:#?}"));
    shows(
        "fetched secrets",
        &format!("{:?}", {
            let fetched = BTreeMap::from([("path".to_owned(), Ok(SecretString::from(PLANTED)))]);
            FetchedSecrets::new(fetched)
        }),
    );
}
