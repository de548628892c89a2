//! Looking for words wherever the service may keep something: tables, Redis, files.

use std::path::{Path, PathBuf};

use test_support::canary::{Of, keys_with};

use crate::harness::TestApp;

impl TestApp {
    /// The places where these words are. What is logged stays logged: `logs::hold` tells.
    pub(crate) async fn places_of(&self, words: &str, of: Of<'_>) -> Vec<String> {
        let mut places = self.database.columns_with(words, of).await;
        let keys = match of {
            Of::All => self.redis_prefix().to_owned(),
            Of::Tenant(tenant) => format!("{}t/{tenant}/", self.redis_prefix()),
        };
        places.extend(keys_with(&keys, words).await);
        places.extend(self.files_with(words, of));
        places
    }

    fn files_with(&self, words: &str, of: Of<'_>) -> Vec<String> {
        let all = files_below(self.uploads.path()).into_iter();
        all.filter(|path| match of {
            Of::All => true,
            Of::Tenant(tenant) => path.iter().any(|part| *part == *format!("t-{tenant}")),
        })
        .filter(|path| {
            let bytes = std::fs::read(path).unwrap();
            let named = path.to_string_lossy().contains(words);
            named
                || bytes
                    .windows(words.len())
                    .any(|window| window == words.as_bytes())
        })
        .map(|path| format!("file {}", path.display()))
        .collect()
    }
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(files_below(&path));
        } else {
            files.push(path);
        }
    }
    files
}
