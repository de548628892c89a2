//! What the consoles of our services have in common: two languages, light and dark, a skeleton with its navigation, the
//! style and the scripts, and the headers of a page.
//!
//! A service's templates extend `base.html` and import `macros.html` of this crate; each has a field `frame`.

pub mod assets;
mod frame;
mod language;
mod look;
mod moment;
mod page;
pub mod plot;

pub use frame::{Frame, NavItem, NavSection, Notice, Person, TenantHead, Tone};
pub use language::Language;
pub use look::{Look, Theme, own_path, switch};
pub use moment::{Moment, Whole};
pub use page::{Message, address, page, see_other};
