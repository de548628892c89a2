//! Routes as operators look for them: by number, inbox, tenant, name, or the host of the target.

use database::DatabaseError;
use diesel::sql_types::{BigInt, Nullable, Text};
use diesel_async::RunQueryDsl as _;
use tenant_isolation::PlatformTransaction;

use super::routes::{COLUMNS, OwnedRoute, Row};

/// Most words that are looked for.
const MOST_WORDS: usize = 8;
/// Longest of them, in characters.
const LONGEST_WORD: usize = 60;

/// What somebody typed, as a question that Postgres understands: every word, the beginning of one being enough, but numbers
/// whole. Of a URL only the host counts. `None` where there is no word in it.
#[must_use]
pub fn question(text: &str) -> Option<String> {
    let text = match text.split_once("://") {
        Some((_, rest)) => {
            let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
            authority.rsplit_once('@').map_or(authority, |(_, host)| host)
        }
        None => text,
    };
    let between =
        |letter: char| letter.is_ascii_punctuation() || letter.is_whitespace() || letter.is_control();
    let words = text.split(between).filter(|word| !word.is_empty());
    let words: Vec<String> = words
        .take(MOST_WORDS)
        .map(|word| {
            let word: String = word.to_lowercase().chars().take(LONGEST_WORD).collect();
            if word.bytes().all(|byte| byte.is_ascii_digit()) {
                word
            } else {
                format!("{word}:*")
            }
        })
        .collect();
    (!words.is_empty()).then(|| words.join(" & "))
}

/// Everybody's routes that fit the [question], newest first: at most `most`, those behind the one called `after`.
///
/// # Errors
/// [`DatabaseError`].
pub async fn search(
    tx: &mut PlatformTransaction,
    question: &str,
    after: Option<i64>,
    most: i64,
) -> Result<Vec<OwnedRoute>, DatabaseError> {
    let query = format!(
        "SELECT {COLUMNS} FROM routes r WHERE search @@ to_tsquery('simple', $1) AND ($2::bigint IS NULL \
             OR (created_at, number) < (SELECT l.created_at, l.number FROM routes l WHERE l.number = $2)) \
         ORDER BY created_at DESC, number DESC LIMIT $3"
    );
    let rows: Vec<Row> = database::sql(query)
        .bind::<Text, _>(question)
        .bind::<Nullable<BigInt>, _>(after)
        .bind::<BigInt, _>(most)
        .load(tx.connection())
        .await?;
    rows.into_iter().map(OwnedRoute::try_from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_typed_becomes_words_and_no_operators() {
        for (typed, expected) in [
            ("42", Some("42")),
            ("Toko  Maju", Some("toko:* & maju:*")),
            ("gowa.example:3000", Some("gowa:* & example:* & 3000")),
            (
                "https://u:s3cret@gowa.example/hook?a=b",
                Some("gowa:* & example:*"),
            ),
            ("a | !(b) <-> 'c'", Some("a:* & b:* & c:*")),
            ("Éclair\0x", Some("éclair:* & x:*")),
            (" .,& ", None),
            ("", None),
        ] {
            assert_eq!(question(typed).as_deref(), expected, "{typed}");
        }
    }
}
