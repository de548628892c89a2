//! Which trace the work in hand belongs to, across HTTP, RabbitMQ and tables, and what is told about it.
//!
//! A trace is all that happens because of one message. Its id is in every line of the log, and travels as W3C's
//! `traceparent`; spans are what each service did meanwhile, for whoever exports them (`runtime`). What comes in is written
//! by strangers: it has a bound, and what does not fit is as if it were not there.

mod context;
mod span;

pub use context::{TRACEPARENT, TraceContext, TraceId, lenient, sample};
pub use span::{
    Attributes, Export, Finished, Kind, Span, call, current, export_to, headers, note_failed, note_status,
    note_tenant, within,
};
