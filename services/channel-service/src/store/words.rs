//! Looking for things by the beginnings of words.

/// Most words that are looked for at once.
const MOST: usize = 8;
/// Longest word that is looked for, in characters.
const LONGEST: usize = 100;

/// The words of what somebody typed: letters and digits in lower case; what else there is parts them.
#[must_use]
pub fn words_of(typed: &str) -> Vec<String> {
    typed
        .to_lowercase()
        .split(|character: char| !character.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .take(MOST)
        .map(|word| word.chars().take(LONGEST).collect())
        .collect()
}

/// What Postgres looks for: texts that have a word beginning with each of these. They are letters and digits, so nothing
/// has to be escaped.
#[must_use]
pub fn beginnings(words: &[String]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("'{word}':*")).collect();
    quoted.join(" & ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_is_typed_becomes_plain_words() {
        assert_eq!(words_of(" Desa-Satu:JAWA  7"), ["desa", "satu", "jawa", "7"]);
        assert_eq!(words_of("' | & ! :* \\ \0"), Vec::<String>::new());
        assert_eq!(words_of(&"a ".repeat(50)).len(), MOST);
        assert_eq!(words_of(&"é".repeat(500))[0].chars().count(), LONGEST);
        assert_eq!(beginnings(&words_of("Desa Sa")), "'desa':* & 'sa':*");
    }
}
