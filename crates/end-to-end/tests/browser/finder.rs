//! Finds what a person would point at: by what it is and what it is called, not by its place in the markup.

use fantoccini::Client;
use fantoccini::elements::{Element, ElementRef};
use serde_json::{Value, json};

const FINDER: &str = include_str!("finder.js");
/// The standard's name for a reference to an element.
const REFERENCE: &str = "element-6066-11e4-a52e-4f735466cecf";

/// What a person would call it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Button,
    Link,
    /// Whatever can be filled in, by its label.
    Field,
    Heading,
}

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Self::Button => "button",
            Self::Link => "link",
            Self::Field => "field",
            Self::Heading => "heading",
        }
    }
}

/// Something on a page.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted<'a> {
    pub(crate) kind: Kind,
    pub(crate) name: &'a str,
    /// Text in the row, list item, form or card around it.
    pub(crate) around: Option<&'a str>,
}

impl Wanted<'_> {
    /// Nothing when it is not there, not visible, or the page is just changing.
    pub(crate) async fn find(self, client: &Client) -> Option<Element> {
        let arguments = vec![json!(self.kind.name()), json!(self.name), json!(self.around)];
        let found = client.execute(FINDER, arguments).await.ok()?;
        element(client, &found)
    }
}

pub(crate) fn element(client: &Client, reference: &Value) -> Option<Element> {
    let id = reference.get(REFERENCE)?.as_str()?;
    Some(Element::from_element_id(
        client.clone(),
        ElementRef::from(id.to_owned()),
    ))
}
