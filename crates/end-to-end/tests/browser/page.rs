//! What a person does on a page and sees on it. Everything is waited for; nothing is slept for.

use std::future::Future;
use std::time::{Duration, Instant};

use fantoccini::Client;
use fantoccini::actions::{InputSource as _, KeyAction, KeyActions};
use fantoccini::elements::Element;
use fantoccini::error::CmdError;
use serde_json::json;

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

    /// Loads the page anew until a text is there: for what pages do not tell by themselves.
    pub(crate) async fn reloads_until_sees(&self, text: &str) {
        self.reloads_until(&format!("{text:?} is shown"), |shown| contains(shown, text))
            .await;
    }

    /// As [`Self::reloads_until_sees`], for what is to go.
    pub(crate) async fn reloads_until_misses(&self, text: &str) {
        self.reloads_until(&format!("{text:?} is not shown"), |shown| {
            !shown.is_empty() && !contains(shown, text)
        })
        .await;
    }

    async fn reloads_until(&self, what: &str, is_so: impl Fn(&str) -> bool) {
        self.until(&format!("{what} after a reload"), || async {
            if is_so(&self.text().await) {
                return Some(());
            }
            drop(self.client.refresh().await);
            is_so(&self.text().await).then_some(())
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

    /// Empties a field and types into it.
    pub(crate) async fn fills(&self, label: &str, text: &str) {
        self.acts(field(label), |element| async move {
            element.clear().await?;
            element.send_keys(text).await
        })
        .await;
    }

    /// Ticks a box, or chooses one of several.
    pub(crate) async fn marks(&self, label: &str) {
        self.acts(field(label), |element| async move {
            if !element.is_selected().await? {
                element.click().await?;
            }
            Ok(())
        })
        .await;
    }

    /// Chooses what a list offers, by the words that it begins with.
    pub(crate) async fn chooses(&self, label: &str, option: &str) {
        let script = "const [list, words] = arguments; \
            return [...list.options].find(option => option.text.trim().startsWith(words))?.value";
        self.acts(field(label), |list| async move {
            let arguments = vec![serde_json::to_value(&list)?, json!(option)];
            let value = self.client.execute(script, arguments).await?;
            list.select_by_value(value.as_str().unwrap_or_default()).await
        })
        .await;
    }

    /// Marks the page, so that [`Self::was_not_reloaded`] can tell.
    pub(crate) async fn is_marked(&self) {
        self.client
            .execute("window.stillTheSame = true", vec![])
            .await
            .unwrap();
    }

    /// What has changed since [`Self::is_marked`] has changed by itself.
    pub(crate) async fn was_not_reloaded(&self) {
        let marked = "return window.stillTheSame === true";
        let marked = self.client.execute(marked, vec![]).await.unwrap();
        assert_eq!(marked, json!(true), "the page was loaded anew");
    }

    /// Logs out; the menu for it has the person's name.
    pub(crate) async fn leaves(&self, name: &str) {
        self.clicks(Kind::Button, name).await;
        self.clicks(Kind::Button, self.t("Log out", "Keluar")).await;
        self.arrives_at("/login").await;
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
        let strokes = keys
            .chars()
            .fold(KeyActions::new("keyboard".to_owned()), |strokes, value| {
                strokes
                    .then(KeyAction::Down { value })
                    .then(KeyAction::Up { value })
            });
        self.client.perform_actions(strokes).await.unwrap();
    }

    /// Presses Tab until what has the focus is called like this. Fails when the focus comes round without it, or cannot be
    /// seen where it is.
    pub(crate) async fn tabs_to(&self, kind: Kind, name: &str) {
        let wanted = self.finds(kind, name).await;
        for _ in 0..200 {
            if self.focus_is_on(&wanted, name).await {
                return;
            }
            self.types("\u{e004}").await;
        }
        panic!("Tab does not lead to the {kind:?} {name:?}");
    }

    async fn focus_is_on(&self, wanted: &Element, name: &str) -> bool {
        let script = "const [wanted] = arguments; const active = document.activeElement; \
            const style = getComputedStyle(active); \
            const seen = active === document.body || style.outlineStyle !== 'none' || style.boxShadow !== 'none'; \
            return {reached: active === wanted, seen, \
                where: active.cloneNode().outerHTML, in_front: document.hasFocus(), state: document.readyState}";
        let arguments = vec![serde_json::to_value(wanted).unwrap()];
        let Ok(told) = self.client.execute(script, arguments).await else {
            panic!("the page changed while the focus went to {name:?}");
        };
        assert_eq!(
            told["seen"],
            json!(true),
            "on the way to {name:?} the focus cannot be seen: {told}"
        );
        told["reached"] == json!(true)
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
