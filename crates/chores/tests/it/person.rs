//! Postgres finds a person in texts and bytes, however the names are written there.

use chores::person::Names;
use diesel::QueryableByName;
use diesel::sql_types::{Bool, Text};
use diesel_async::RunQueryDsl as _;
use domain::address::ChatAddress;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use test_support::TestDatabase;

use crate::MIGRATIONS;

const PHONE: &str = "6281290000011";
const LID: &str = "204466881133557";

#[derive(QueryableByName)]
struct Found {
    #[diesel(sql_type = Bool)]
    in_text: bool,
    #[diesel(sql_type = Bool)]
    in_bytes: bool,
}

async fn found(test: &TestDatabase, names: &Names, text: &str) -> (bool, bool) {
    let mut connection = test.admin().await;
    let found: Found = diesel::sql_query(
        "SELECT $1 ~ $2 AS in_text, encode(convert_to($1, 'UTF8'), 'escape') ~ $2 AS in_bytes",
    )
    .bind::<Text, _>(text)
    .bind::<Text, _>(names.pattern())
    .get_result(&mut connection)
    .await
    .unwrap();
    (found.in_text, found.in_bytes)
}

#[tokio::test]
async fn a_person_is_found_behind_every_escape_and_nobody_with_a_longer_number() {
    let test = TestDatabase::create("channel", MIGRATIONS).await;
    let mut names = Names::of(&ChatAddress::parse(&format!("{PHONE}@s.whatsapp.net")).unwrap());
    for address in [
        format!("{LID}@lid"),
        "ID.90_8-x@bsuid".to_owned(),
        "web_a@b".to_owned(),
    ] {
        names.add_address(&address);
    }
    let mut theirs = vec!["ID.90_8-x".to_owned(), "081290000011".to_owned()];
    for number in [PHONE, LID] {
        for before in [
            "",
            "+",
            r"\u0022",
            r"\u0026",
            r"\u002b",
            r"\u00e9",
            r"\uD83D\uDE00",
            r"\n",
            "é",
            "–",
            "😀",
        ] {
            theirs.push(format!(r#"{{"said":"{before}{number}"}}"#));
            theirs.push(format!(r"said {before}{number}\u0040s.whatsapp.net"));
        }
    }
    // Marks within a name.
    theirs.extend(
        [
            r"ID\u002E90\u005f8\u002dx",
            r"ID\u002e90_8-x",
            "ID%2E90%5F8%2dx",
            r"web_a\u0040b",
            "web_a%40b",
        ]
        .map(str::to_owned),
    );
    for text in theirs {
        let form = utf8_percent_encode(&text, NON_ALPHANUMERIC).to_string();
        let twice = serde_json::to_string(&text).unwrap();
        for text in [form, twice, text] {
            assert_eq!(found(&test, &names, &text).await, (true, true), "{text}");
        }
    }
    for others in [
        format!("{PHONE}2"),
        format!("1{PHONE}"),
        format!(r"\u00261{PHONE}"),
        format!("%2B9{LID}"),
        "ID.90_8".to_owned(),
        "IDx90_8-x".to_owned(),
        "web_ab".to_owned(),
    ] {
        assert_eq!(found(&test, &names, &others).await, (false, false), "{others}");
    }
}
