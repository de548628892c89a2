//! Values that are refused, and what is said about each.

use super::*;

const UNKNOWN_REFERENCE: &str = "has a $( that begins no reference; a reference is $(ENV:NAME), $(FILE:/path), \
                                 $(AWS_SECRET:path) or $(AWS_SECRET:path#key), and a value with $( in it goes into a \
                                 file or variable that is referred to";
const BAD_FILE: &str = "refers to a file that cannot be read: it must be a plain file of UTF-8 text, at most 64 KiB, \
                        that this process may read";
const KNOWN: &str = "take it away; known are name, apiUrl, apiKey, provider, webhookSecret, sessions, appSecret, \
                     verifyToken, phoneNumberIds";
const NAME: &str = "must have 1 to 64 letters, digits, _ or -: choose another name";

/// A broken value and what is said about it, each line behind `WHATSAPP_ENDPOINTS`.
fn broken() -> Vec<(String, Vec<String>)> {
    let mut table: Vec<(String, Vec<String>)> = Vec::new();
    let mut row = |text: String, said: &[&str]| {
        table.push((text, said.iter().map(|&line| line.to_owned()).collect()));
    };
    // The whole.
    row(
        "{".into(),
        &[": is not JSON at line 1, column 1: EOF while parsing an object; correct it there"],
    );
    row(
        "[\n  {\"name\": \"A\",\n   \"apiUrl\": \"x\" \"apiKey\"}\n]".into(),
        &[": is not JSON at line 3, column 18: expected `,` or `}`; correct it there"],
    );
    row(
        "[{\"name\": \"A\",}]".into(),
        &[": is not JSON at line 1, column 15: trailing comma; correct it there"],
    );
    row(
        "[] []".into(),
        &[": is not JSON at line 1, column 4: trailing characters; correct it there"],
    );
    row(
        "[{\"name\": \"a\nb\"}]".into(),
        &[
            ": is not JSON at line 2, column 0: control character (\\u0000-\\u001F) found while parsing a string; \
           correct it there",
        ],
    );
    row(
        "Primary".into(),
        &[": is not JSON at line 1, column 1: expected value; correct it there"],
    );
    row(
        "['x']".into(),
        &[": is not JSON at line 1, column 2: expected value; correct it there"],
    );
    row(
        "[{name: 1}]".into(),
        &[": is not JSON at line 1, column 3: key must be a string; correct it there"],
    );
    row(
        "[".repeat(200),
        &[": is not JSON at line 1, column 128: recursion limit exceeded; correct it there"],
    );
    row(
        "{}".into(),
        &[": is an object: write a list [{…}, {…}] of endpoints"],
    );
    row(
        "\"x\"".into(),
        &[": is a text: write a list [{…}, {…}] of endpoints"],
    );
    row(
        "null".into(),
        &[": is null: write a list [{…}, {…}] of endpoints"],
    );
    row(
        "[]".into(),
        &[": is an empty list: name at least one endpoint, or do not set it"],
    );
    row(
        format!("[{}1]", "1,".repeat(500)),
        &[": has more than 500 endpoints: take some away"],
    );
    row(
        format!("[\"{}\"]", "x".repeat(1024 * 1024)),
        &[": is longer than 1 MiB: shorten it"],
    );
    let object = "write an object {\"name\": …, \"apiUrl\": …, \"apiKey\": …}";
    row(
        "[1, null, \"x\", [], true]".into(),
        &[
            &format!("[0]: is a number: {object}"),
            &format!("[1]: is null: {object}"),
            &format!("[2]: is a text: {object}"),
            &format!("[3]: is a list: {object}"),
            &format!("[4]: is true or false: {object}"),
        ],
    );
    // Members.
    row(
        "[{}]".into(),
        &[
            "[0].name: is missing: add it",
            "[0].apiUrl: is missing: add it",
            "[0].apiKey: is missing: add it",
        ],
    );
    row(genfity("name", ""), &["[0].name: is missing: add it"]);
    row(genfity("name", "\"\""), &["[0].name: is empty: fill it"]);
    row(
        genfity("name", "7"),
        &["[0].name: is a number: write a text in double quotes"],
    );
    row(
        genfity("name", "null"),
        &["[0].name: is null: write a text in double quotes"],
    );
    row(genfity("name", "\"a b\""), &[&format!("[0].name: {NAME}")]);
    row(genfity("name", "\"désa\""), &[&format!("[0].name: {NAME}")]);
    row(
        genfity("name", &format!("\"{}\"", "x".repeat(65))),
        &[&format!("[0].name: {NAME}")],
    );
    row(
        list(&[
            endpoint(GENFITY, &[]),
            endpoint(GOWA, &[]),
            endpoint(GENFITY, &[]),
        ]),
        &["[2].name: is the name of WHATSAPP_ENDPOINTS[0], too: choose another name"],
    );
    row(
        list(&[endpoint(GENFITY, &[]), endpoint(GOWA, &[("name", "\"PRIMARY\"")])]),
        &[
            "[1].name: differs from the name of WHATSAPP_ENDPOINTS[0] by upper and lower case only: choose another name",
        ],
    );
    row(
        genfity("api_url", "\"x\""),
        &["[0]: key 4 of this endpoint is not known: write apiUrl"],
    );
    row(
        genfity("ApiKey", "\"x\""),
        &["[0]: key 4 of this endpoint is not known: write apiKey"],
    );
    row(
        genfity("webhookSecrets", "\"x\""),
        &["[0]: key 4 of this endpoint is not known: write webhookSecret"],
    );
    row(
        cloud("phoneNumberId", "\"x\""),
        &["[0]: key 8 of this endpoint is not known: write phoneNumberIds"],
    );
    row(
        genfity("url", "\"x\""),
        &[&format!("[0]: key 4 of this endpoint is not known: {KNOWN}")],
    );
    row(
        genfity("", "\"x\""),
        &[&format!("[0]: key 4 of this endpoint is not known: {KNOWN}")],
    );
    row(
        r#"[{"name": "A", "apiUrl": "https://a.example/wa", "apiKey": "a", "apiKey": "b"}]"#.into(),
        &["[0].apiKey: is there twice: keep one"],
    );
    // Addresses.
    row(genfity("apiUrl", "\"\""), &["[0].apiUrl: is empty: fill it"]);
    row(
        genfity("apiUrl", "true"),
        &["[0].apiUrl: is true or false: write a text in double quotes"],
    );
    let no_address = "[0].apiUrl: is no address: write http:// or https:// and a host, without blanks";
    for text in [
        "api.example/wa",
        "/wa",
        "https://",
        "http://a b/wa",
        "https://a.example:port/wa",
    ] {
        row(genfity("apiUrl", &format!("\"{text}\"")), &[no_address]);
    }
    row(
        genfity("apiUrl", "\"ftp://api.example/wa\""),
        &["[0].apiUrl: must begin with http:// or https://"],
    );
    row(
        genfity("apiUrl", "\"localhost:8080\""),
        &["[0].apiUrl: must begin with http:// or https://"],
    );
    let credentials = "[0].apiUrl: must have no user and password in it: move them into apiKey";
    let query = "[0].apiUrl: must have no query: take away the ? and what follows";
    let fragment = "[0].apiUrl: must have no fragment: take away the # and what follows";
    row(
        genfity("apiUrl", "\"https://u:p@api.example/wa\""),
        &[credentials],
    );
    row(genfity("apiUrl", "\"https://u@api.example/wa\""), &[credentials]);
    row(genfity("apiUrl", "\"https://api.example/wa?\""), &[query]);
    row(genfity("apiUrl", "\"https://api.example/wa#x\""), &[fragment]);
    row(
        genfity("apiUrl", "\"https://u:p@api.example/wa?x=1#y\""),
        &[credentials, query, fragment],
    );
    row(
        genfity("apiUrl", "\"https://api.example/w a\""),
        &["[0].apiUrl: must have no blanks in it: take them away"],
    );
    row(
        genfity(
            "apiUrl",
            &format!("\"https://api.example/{}/wa\"", "x".repeat(2048)),
        ),
        &["[0].apiUrl: is longer than 2048 characters: shorten it"],
    );
    // Providers.
    let provider = "[0].provider: must be genfity, gowa or cloud, in lower case; genfity may be left out";
    row(genfity("provider", "\"Genfity\""), &[provider]);
    row(genfity("provider", "\"meta\""), &[provider]);
    row(genfity("provider", "\"\""), &[provider]);
    row(
        genfity("provider", "[]"),
        &["[0].provider: is a list: write a text in double quotes"],
    );
    let belongs = |key: &str, of: &str, is: &str| {
        format!("[0].{key}: belongs to provider {of} and this one is {is}: take it away, or correct provider")
    };
    row(
        genfity("appSecret", "\"x\""),
        &[&belongs("appSecret", "cloud", "genfity")],
    );
    row(
        gowa("verifyToken", "\"x\""),
        &[&belongs("verifyToken", "cloud", "gowa")],
    );
    row(
        gowa("phoneNumberIds", "7"),
        &[&belongs("phoneNumberIds", "cloud", "gowa")],
    );
    row(
        gowa("sessions", "\"server\""),
        &[&belongs("sessions", "genfity", "gowa")],
    );
    row(
        cloud("sessions", "\"server\""),
        &[&belongs("sessions", "genfity", "cloud")],
    );
    // Keys.
    let internal =
        "[0].apiKey: must be `key` or `source:key` of wa-support-gateway, printable without blanks";
    row(genfity("apiKey", "\"\""), &["[0].apiKey: is empty: fill it"]);
    row(
        genfity("apiKey", "{}"),
        &["[0].apiKey: is an object: write a text in double quotes"],
    );
    row(genfity("apiKey", "\"source:\""), &[internal]);
    row(genfity("apiKey", "\"a b\""), &[internal]);
    let token = "[0].apiKey: must be 1 to 4096 printable ASCII characters without blanks: write the token of the \
                 server's administration";
    row(
        list(&[endpoint(
            GENFITY,
            &[("apiUrl", "\"http://wa.example:8080\""), ("apiKey", "\"a b\"")],
        )]),
        &[token],
    );
    row(
        list(&[endpoint(
            GENFITY,
            &[("sessions", "\"server\""), ("apiKey", "\"ké\"")],
        )]),
        &[token],
    );
    row(
        genfity("sessions", "\"Gateway\""),
        &["[0].sessions: must be gateway or server: who makes sessions there"],
    );
    row(
        list(&[endpoint(
            GENFITY,
            &[
                ("apiUrl", "\"https://api.example/x\""),
                ("sessions", "\"gateway\""),
            ],
        )]),
        &[
            "[0].apiUrl: must end with /wa or /v1/wa where sessions are made at the gateway: that is where it serves \
           the API; or write \"sessions\": \"server\"",
        ],
    );
    let basic = "[0].apiKey: must be user:password with exactly one colon, at most 1024 characters; leave it out \
                 where GoWA asks for none";
    for text in ["user", ":password", "user:", "a:b:c"] {
        row(gowa("apiKey", &format!("\"{text}\"")), &[basic]);
    }
    row(
        gowa("apiKey", "null"),
        &["[0].apiKey: is null: write a text in double quotes"],
    );
    row(cloud("apiKey", ""), &["[0].apiKey: is missing: add it"]);
    row(
        cloud("apiKey", "\"a b\""),
        &["[0].apiKey: must be 1 to 4096 printable ASCII characters without blanks: correct it"],
    );
    // Webhooks.
    let secret = "must have 1 to 1024 characters: write the secret, or take it away";
    row(
        genfity("webhookSecret", "\"\""),
        &[&format!("[0].webhookSecret: {secret}")],
    );
    row(
        genfity("webhookSecret", "7"),
        &["[0].webhookSecret: is a number: write a text, or a list of texts"],
    );
    row(
        genfity("webhookSecret", "[]"),
        &["[0].webhookSecret: is an empty list: write a secret into it, or take the key away"],
    );
    row(
        genfity("webhookSecret", "[\"a\", \"\", 7]"),
        &[
            &format!("[0].webhookSecret[1]: {secret}"),
            "[0].webhookSecret[2]: is a number: write a text in double quotes",
        ],
    );
    row(
        gowa("webhookSecret", &format!("[{}\"x\"]", "\"x\",".repeat(10))),
        &["[0].webhookSecret: has more than 10 secrets: take the old ones away"],
    );
    row(cloud("appSecret", ""), &["[0].appSecret: is missing: add it"]);
    row(cloud("appSecret", "\"\""), &[&format!("[0].appSecret: {secret}")]);
    row(
        cloud("appSecret", "{}"),
        &["[0].appSecret: is an object: write a text, or a list of texts"],
    );
    row(cloud("verifyToken", ""), &["[0].verifyToken: is missing: add it"]);
    row(
        cloud("verifyToken", "\"\""),
        &["[0].verifyToken: is empty: fill it"],
    );
    // Numbers.
    let digits = "must have 1 to 32 digits: copy the phone number id, not the number itself";
    row(
        cloud("phoneNumberIds", ""),
        &["[0].phoneNumberIds: is missing: add it"],
    );
    row(
        cloud("phoneNumberIds", "[]"),
        &["[0].phoneNumberIds: is an empty list: write at least one phone number id into it"],
    );
    row(
        cloud("phoneNumberIds", "\"1\""),
        &["[0].phoneNumberIds: is a text: write a list of texts"],
    );
    row(
        cloud("phoneNumberIds", "[\"1\", 2, \"+62\", \"1\"]"),
        &[
            "[0].phoneNumberIds[1]: is a number: write a text in double quotes",
            &format!("[0].phoneNumberIds[2]: {digits}"),
            "[0].phoneNumberIds[3]: is at WHATSAPP_ENDPOINTS[0].phoneNumberIds[0], too: keep one",
        ],
    );
    row(
        list(&[endpoint(CLOUD, &[]), endpoint(CLOUD, &[("name", "\"Meta2\"")])]),
        &["[1].phoneNumberIds[0]: is at WHATSAPP_ENDPOINTS[0].phoneNumberIds[0], too: keep one"],
    );
    // References.
    let unset = "[0].apiKey: refers to a variable that is not set or empty: set it, or correct the name";
    for (text, said) in [
        ("$(ENV:UNSET)", unset.to_owned()),
        ("$(ENV:EMPTY)", unset.to_owned()),
        (
            "$(ENV:A-B)",
            "[0].apiKey: refers to a variable whose name has other characters than letters, digits and _".to_owned(),
        ),
        ("$(FILE:/nowhere/key)", format!("[0].apiKey: {BAD_FILE}")),
        ("$(FILE:/dev/null)", format!("[0].apiKey: {BAD_FILE}")),
        ("$(FILE:/)", format!("[0].apiKey: {BAD_FILE}")),
        (
            "$(FILE:key)",
            "[0].apiKey: refers to a file without saying where: the path begins with /".to_owned(),
        ),
        (
            "$(AWS_SECRET:kanal/none)",
            "[0].apiKey: the Secrets Manager of AWS answers ResourceNotFoundException: correct the path or the role's \
             rights"
                .to_owned(),
        ),
        (
            "$(AWS_SECRET:kanal/away#key)",
            "[0].apiKey: the Secrets Manager of AWS cannot be reached: correct the region or the network, or try again"
                .to_owned(),
        ),
        (
            "$(AWS_SECRET:kanal/never-asked)",
            "[0].apiKey: secrets of AWS are not fetched here".to_owned(),
        ),
        (
            "$(AWS_SECRET:kanal/empty)",
            "[0].apiKey: refers to a secret of AWS that is empty: fill it".to_owned(),
        ),
        (
            "$(AWS_SECRET:kanal/key#x)",
            "[0].apiKey: refers to a key of a secret of AWS that is no JSON object: leave #key out, or store one"
                .to_owned(),
        ),
        (
            "$(AWS_SECRET:kanal/json#list)",
            "[0].apiKey: refers to a key that the secret of AWS does not have as a text: correct the key behind #, or \
             add it"
                .to_owned(),
        ),
        (
            "$(AWS_SECRET:)",
            "[0].apiKey: refers to a secret of AWS without a path, or with a # and no key behind it".to_owned(),
        ),
        (
            "$(AWS_SECRET:kanal/json#)",
            "[0].apiKey: refers to a secret of AWS without a path, or with a # and no key behind it".to_owned(),
        ),
        ("$(env:SET)", format!("[0].apiKey: {UNKNOWN_REFERENCE}")),
        ("$(SET)", format!("[0].apiKey: {UNKNOWN_REFERENCE}")),
        ("$(VAULT:x)", format!("[0].apiKey: {UNKNOWN_REFERENCE}")),
        ("$()", format!("[0].apiKey: {UNKNOWN_REFERENCE}")),
        (
            "x$(ENV:SET",
            "[0].apiKey: has a $( without the ) that ends it; a value with $( in it goes into a file or variable that \
             is referred to"
                .to_owned(),
        ),
        (
            "$(FILE:/run/$(ENV:SET))",
            "[0].apiKey: has a reference inside of a reference; write the inner one out".to_owned(),
        ),
    ] {
        row(genfity("apiKey", &format!("\"{text}\"")), &[&said]);
    }
    row(
        genfity("apiKey", "\"$(ENV:UNSET)-$(ENV:UNSET)\""),
        &[unset, unset],
    );
    row(
        genfity("name", "\"$(ENV:UNSET)\""),
        &["[0].name: refers to a variable that is not set or empty: set it, or correct the name"],
    );
    row(
        cloud("phoneNumberIds", "[\"1\", \"$(ENV:UNSET)\"]"),
        &[
            "[0].phoneNumberIds[1]: refers to a variable that is not set or empty: set it, or correct the name",
        ],
    );
    // All at once.
    row(
        format!(
            "[{}, 7, {}]",
            endpoint(
                GENFITY,
                &[
                    ("name", "\"a b\""),
                    ("apiUrl", "\"x\""),
                    ("apiKey", "\"\""),
                    ("x", "1")
                ]
            ),
            endpoint(
                GOWA,
                &[("apiKey", "\"x\""), ("webhookSecret", "[]"), ("apiUrl", "")]
            ),
        ),
        &[
            &format!("[0]: key 4 of this endpoint is not known: {KNOWN}"),
            &format!("[0].name: {NAME}"),
            no_address,
            "[0].apiKey: is empty: fill it",
            &format!("[1]: is a number: {object}"),
            "[2].apiUrl: is missing: add it",
            "[2].webhookSecret: is an empty list: write a secret into it, or take the key away",
            "[2].apiKey: must be user:password with exactly one colon, at most 1024 characters; leave it out where \
             GoWA asks for none",
        ],
    );
    table
}

#[test]
fn every_mistake_is_told_with_its_place_and_its_cure() {
    let table = broken();
    assert!(table.len() >= 60, "{}", table.len());
    for (text, said) in table {
        let expected: Vec<String> = said.iter().map(|line| format!("{LIST}{line}")).collect();
        let shown: String = text.chars().take(300).collect();
        assert_eq!(mistakes(&text), expected, "{shown}");
    }
}
