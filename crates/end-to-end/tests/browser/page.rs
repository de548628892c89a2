//! What a person does on a page and sees on it. Everything is waited for; nothing is slept for.

use std::future::Future;
use std::time::{Duration, Instant};

use fantoccini::Client;
use fantoccini::elements::Element;
use fantoccini::error::CmdError;
use serde_json::{Value, json};

use crate::browser::{ConsoleLine, console};
use crate::finder::{Kind, Wanted};

/// For what a page does by itself, and what one click leads to; many times what an idle machine needs.
const PATIENCE: Duration = Duration::from_secs(90);

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(50);

/// One person at one browser.
#[derive(Clone)]
pub(crate) struct Page {
    pub(crate) client: Client,
    /// `http://host:port` of the service whose pages these are.
    pub(crate) root: String,
    language: &'static str,
}

impl Page {
    pub(crate) const fn new(client: Client, root: String) -> Self {
        Self {
            client,
            root,
            language: "en",
        }
    }

    /// The same person looks at another service.
    pub(crate) fn at(&self, root: String) -> Self {
        Self { root, ..self.clone() }
    }

    /// Of the two, the one in the language that this person reads.
    pub(crate) fn t<'a>(&self, english: &'a str, indonesian: &'a str) -> &'a str {
        if self.language == "en" {
            english
        } else {
            indonesian
        }
    }

    pub(crate) const fn reads_indonesian(&mut self) {
        self.language = "id";
    }

    /// Types an address.
    pub(crate) async fn goto(&self, path: &str) {
        let url = format!("{}{path}", self.root);
        if let Err(error) = self.client.goto(&url).await {
            panic!("{path} does not open: {error}");
        }
    }

    pub(crate) async fn path(&self) -> String {
        self.client.current_url().await.unwrap().path().to_owned()
    }

    /// Waits until the page's address ends like this.
    pub(crate) async fn arrives_at(&self, end: &str) {
        self.until(&format!("arrives at …{end}"), || async {
            self.client
                .current_url()
                .await
                .is_ok_and(|url| url.path().ends_with(end))
                .then_some(())
        })
        .await;
    }

    /// Everything that is written on the page where it can be seen.
    pub(crate) async fn text(&self) -> String {
        let text = self
            .client
            .execute("return document.body.innerText", vec![])
            .await;
        text.ok()
            .and_then(|text| text.as_str().map(str::to_owned))
            .unwrap_or_default()
    }

    /// Waits until a text is there to be read.
    pub(crate) async fn sees(&self, text: &str) {
        self.until(&format!("{text:?} is shown"), || async {
            contains(&self.text().await, text).then_some(())
        })
        .await;
    }

    /// Waits until a text is not there any more.
    pub(crate) async fn misses(&self, text: &str) {
        self.until(&format!("{text:?} is not shown any more"), || async {
            let shown = self.text().await;
            (!shown.is_empty() && !contains(&shown, text)).then_some(())
        })
        .await;
    }

    /// Loads the page anew until a text is there: for what pages do not tell by themselves.
    pub(crate) async fn reloads_until_sees(&self, text: &str) {
        self.until(&format!("{text:?} is shown after a reload"), || async {
            if contains(&self.text().await, text) {
                return Some(());
            }
            drop(self.client.refresh().await);
            contains(&self.text().await, text).then_some(())
        })
        .await;
    }

    pub(crate) async fn has(&self, kind: Kind, name: &str) -> bool {
        let around = None;
        Wanted { kind, name, around }.find(&self.client).await.is_some()
    }

    pub(crate) async fn finds(&self, kind: Kind, name: &str) -> Element {
        let around = None;
        let wanted = Wanted { kind, name, around };
        self.until(&format!("{wanted:?}"), || wanted.find(&self.client))
            .await
    }

    pub(crate) async fn clicks(&self, kind: Kind, name: &str) {
        let around = None;
        self.acts(Wanted { kind, name, around }, |element| async move {
            element.click().await
        })
        .await;
    }

    /// As [`Self::clicks`], of several the one beside this text.
    pub(crate) async fn clicks_at(&self, around: &str, kind: Kind, name: &str) {
        let around = Some(around);
        self.acts(Wanted { kind, name, around }, |element| async move {
            element.click().await
        })
        .await;
    }

    /// Empties a field and types into it.
    pub(crate) async fn fills(&self, label: &str, text: &str) {
        self.acts(field(label), |element| async move {
            element.clear().await?;
            element.send_keys(text).await
        })
        .await;
    }

    /// Chooses a file; there is nothing to empty.
    pub(crate) async fn attaches(&self, label: &str, file: &std::path::Path) {
        let file = file.display().to_string();
        let file = file.as_str();
        self.acts(
            field(label),
            |element| async move { element.send_keys(file).await },
        )
        .await;
    }

    /// Chooses what a list offers.
    pub(crate) async fn chooses(&self, label: &str, option: &str) {
        self.acts(field(label), |element| async move {
            element.select_by_label(option).await
        })
        .await;
    }

    /// Does it again when the page changed under the hand, which happens while it loads and where it is live.
    async fn acts<F, T>(&self, wanted: Wanted<'_>, act: impl Fn(Element) -> F) -> T
    where
        F: Future<Output = Result<T, CmdError>>,
    {
        let begun = Instant::now();
        let mut refused = None;
        loop {
            if let Some(element) = wanted.find(&self.client).await {
                match act(element).await {
                    Ok(done) => return done,
                    Err(error) => refused = Some(error),
                }
            }
            if begun.elapsed() > PATIENCE {
                let path = self.path().await;
                let text = self.text().await;
                panic!("{wanted:?} on {path}: {refused:?}\n--- the page says\n{text}\n---");
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// As `eventually`, and says what the page shows when it does not happen.
    pub(crate) async fn until<T, F>(&self, what: &str, mut probe: impl FnMut() -> F) -> T
    where
        F: Future<Output = Option<T>>,
    {
        let begun = Instant::now();
        loop {
            if let Some(answer) = probe().await {
                return answer;
            }
            if begun.elapsed() > PATIENCE {
                let path = self.path().await;
                let text = self.text().await;
                panic!("did not happen on {path}: {what}\n--- the page says\n{text}\n---");
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Types on whatever has the focus.
    pub(crate) async fn types(&self, keys: &str) {
        let active = self.client.active_element().await.unwrap();
        active.send_keys(keys).await.unwrap();
    }

    /// Presses Tab until what has the focus is called like this. Fails when the focus comes round without it, or cannot be
    /// seen where it is.
    pub(crate) async fn tabs_to(&self, kind: Kind, name: &str) {
        let wanted = self.finds(kind, name).await;
        for _ in 0..200 {
            let script = "const [wanted] = arguments; const active = document.activeElement; \
                const style = getComputedStyle(active); \
                return [active === wanted, \
                    active === document.body || style.outlineStyle !== 'none' || style.boxShadow !== 'none']";
            let arguments = vec![serde_json::to_value(&wanted).unwrap()];
            let Ok(Value::Array(told)) = self.client.execute(script, arguments).await else {
                panic!("the page changed while the focus went to {name:?}");
            };
            assert_eq!(
                told[1],
                json!(true),
                "the focus can be seen on the way to {name:?}"
            );
            if told[0] == json!(true) {
                return;
            }
            self.types("\u{e004}").await;
        }
        panic!("Tab does not lead to the {kind:?} {name:?}");
    }

    /// Nothing went wrong in the browser since it was asked for the last time: no script failed, nothing was missing, and
    /// the pages' own policy refused nothing.
    pub(crate) async fn is_clean(&self) {
        let wrong: Vec<ConsoleLine> = self.complaints().await;
        assert!(wrong.is_empty(), "the browser complains: {wrong:#?}");
    }

    /// As [`Self::is_clean`] on a page that was refused on purpose: that it was refused is no complaint.
    pub(crate) async fn is_clean_but_refused(&self) {
        let mut wrong = self.complaints().await;
        wrong.retain(|line| line.source != "network");
        assert!(wrong.is_empty(), "the browser complains: {wrong:#?}");
    }

    async fn complaints(&self) -> Vec<ConsoleLine> {
        let mut lines = console(&self.client).await;
        lines.retain(|line| line.level == "SEVERE" || line.message.contains("Content Security Policy"));
        lines
    }
}

const fn field(name: &str) -> Wanted<'_> {
    Wanted {
        kind: Kind::Field,
        name,
        around: None,
    }
}

/// However the lines are broken, and whatever style sheets make of small letters.
fn contains(shown: &str, text: &str) -> bool {
    let tidy = |text: &str| {
        text.split_whitespace()
            .collect::<Vec<_>>()
            .join(" ")
            .to_lowercase()
    };
    tidy(shown).contains(&tidy(text))
}
