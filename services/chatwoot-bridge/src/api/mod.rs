//! What is asked of us over HTTP besides webhooks, a file per noun.

pub mod files;
