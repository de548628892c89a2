//! Spans: what was done in a trace, from when to when, and as part of what.
//!
//! While nobody exports, a span is three numbers on the stack and its end is nothing.

use std::borrow::Cow;
use std::cell::RefCell;
use std::future::Future;
use std::sync::OnceLock;
use std::time::SystemTime;

use futures_util::TryFutureExt as _;
use futures_util::future::Either;
use http::{HeaderMap, HeaderValue};

use crate::context::{TRACEPARENT, TraceContext};

/// What a span is to its neighbours. The numbers are OTLP's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A step within a service.
    Internal = 1,
    /// A request that is answered.
    Server = 2,
    /// A request that is made.
    Client = 3,
    /// A task or event that another one left.
    Consumer = 5,
}

/// Everything that a span can tell beside its name and times. There is no place for anything else: no text, no phone
/// number, no URL.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Attributes {
    /// Method of the request.
    pub method: Option<&'static str>,
    /// Pattern of the path, not the path.
    pub route: Option<String>,
    /// Status of the answer.
    pub status: Option<u16>,
    /// For whom.
    pub tenant: Option<String>,
}

/// A span that is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finished {
    /// Its place.
    pub context: TraceContext,
    /// The place it is part of.
    pub parent: Option<TraceContext>,
    /// What was done.
    pub name: Cow<'static, str>,
    /// What it is to its neighbours.
    pub kind: Kind,
    /// When it began.
    pub began: SystemTime,
    /// When it was over.
    pub ended: SystemTime,
    /// What else is told.
    pub attributes: Attributes,
    /// Did it fail?
    pub failed: bool,
}

/// Takes spans that are over, without waiting.
pub trait Export: Send + Sync {
    /// Takes one, or lets it go.
    fn export(&self, span: Finished);
}

static EXPORT: OnceLock<Box<dyn Export>> = OnceLock::new();

/// Says who gets the spans; the first call decides.
pub fn export_to(export: impl Export + 'static) {
    EXPORT.get_or_init(|| Box::new(export));
}

/// Something that is being done. Over when it is dropped, also when its work was given up.
#[derive(Debug)]
pub struct Span {
    context: TraceContext,
    /// Only while somebody wants to know.
    told: Option<Box<Finished>>,
}

impl Span {
    /// A span below `parent`, or the first one of a new trace.
    #[must_use]
    pub fn new(kind: Kind, name: &'static str, parent: Option<TraceContext>) -> Self {
        let context = parent.map_or_else(|| TraceContext::root([0; 16]), TraceContext::child);
        Self::begin(context, parent, kind, || Cow::Borrowed(name))
    }

    /// The answering of a request to `route`, which is a pattern. Without a parent it begins a trace that has the `seed`
    /// as its id.
    #[must_use]
    pub fn server(parent: Option<TraceContext>, seed: [u8; 16], method: &'static str, route: &str) -> Self {
        let context = parent.map_or_else(|| TraceContext::root(seed), TraceContext::child);
        let mut span = Self::begin(context, parent, Kind::Server, || {
            Cow::Owned(format!("{method} {route}"))
        });
        if let Some(told) = &mut span.told {
            told.attributes.method = Some(method);
            told.attributes.route = Some(route.to_owned());
        }
        span
    }

    /// A request that nobody wants to follow, and nothing that comes of it.
    #[must_use]
    pub fn untold(seed: [u8; 16]) -> Self {
        Self {
            context: TraceContext::root(seed).unsampled(),
            told: None,
        }
    }

    fn begin(
        context: TraceContext,
        parent: Option<TraceContext>,
        kind: Kind,
        name: impl FnOnce() -> Cow<'static, str>,
    ) -> Self {
        let is_wanted = context.is_sampled() && EXPORT.get().is_some();
        let told = is_wanted.then(|| {
            let now = SystemTime::now();
            Box::new(Finished {
                context,
                parent,
                name: name(),
                kind,
                began: now,
                ended: now,
                attributes: Attributes::default(),
                failed: false,
            })
        });
        Self { context, told }
    }

    /// Its place in the trace.
    #[must_use]
    pub const fn context(&self) -> TraceContext {
        self.context
    }
}

impl Drop for Span {
    fn drop(&mut self) {
        if let (Some(mut told), Some(export)) = (self.told.take(), EXPORT.get()) {
            told.ended = SystemTime::now();
            export.export(*told);
        }
    }
}

tokio::task_local! {
    static CURRENT: RefCell<Span>;
}

/// Does the work of a span. What is asked for and noted below meanwhile is about this span.
pub fn within<T>(span: Span, work: impl Future<Output = T>) -> impl Future<Output = T> {
    CURRENT.scope(RefCell::new(span), work)
}

/// The place of the work in hand, where it is known.
#[must_use]
pub fn current() -> Option<TraceContext> {
    CURRENT.try_with(|span| span.borrow().context).ok()
}

/// Makes a call as part of the work in hand. Outside a trace it is just made.
///
/// # Errors
/// Those of the call.
pub fn call<T, E>(
    name: &'static str,
    call: impl Future<Output = Result<T, E>>,
) -> impl Future<Output = Result<T, E>> {
    match current() {
        None => Either::Left(call),
        Some(here) => {
            let span = Span::new(Kind::Client, name, Some(here));
            Either::Right(within(span, call.inspect_err(|_| note_failed())))
        }
    }
}

/// What tells another service of ours which trace a request belongs to. Not for strangers.
#[must_use]
pub fn headers() -> HeaderMap {
    let value = current().and_then(|here| HeaderValue::from_str(&here.to_string()).ok());
    value
        .map(|value| (http::HeaderName::from_static(TRACEPARENT), value))
        .into_iter()
        .collect()
}

/// For whom the work in hand is done.
pub fn note_tenant(tenant: &str) {
    note(|told| told.attributes.tenant = Some(tenant.to_owned()));
}

/// What the request in hand was answered. From 500 on it counts as failed.
pub fn note_status(status: u16) {
    note(|told| {
        told.attributes.status = Some(status);
        told.failed |= status >= 500;
    });
}

/// The work in hand failed.
pub fn note_failed() {
    note(|told| told.failed = true);
}

fn note(change: impl FnOnce(&mut Finished)) {
    // An error says that there is no span, and then there is nothing to note.
    let _ = CURRENT.try_with(|span| {
        if let Some(told) = &mut span.borrow_mut().told {
            change(told);
        }
    });
}

#[cfg(test)]
mod tests {
    use std::sync::{LazyLock, Mutex};

    use super::*;

    static TOLD: LazyLock<Mutex<Vec<Finished>>> = LazyLock::new(|| {
        export_to(Keep);
        Mutex::default()
    });

    struct Keep;

    impl Export for Keep {
        fn export(&self, span: Finished) {
            TOLD.lock().unwrap().push(span);
        }
    }

    fn of_trace(context: TraceContext) -> Vec<Finished> {
        let told = TOLD.lock().unwrap();
        let own = told
            .iter()
            .filter(|span| span.context.trace_id() == context.trace_id());
        own.cloned().collect()
    }

    #[tokio::test]
    async fn a_call_is_told_as_part_of_the_request_it_is_made_for() {
        drop(TOLD.lock().unwrap());
        let request = Span::server(None, [9; 16], "GET", "/number/{id}");
        let root = request.context();
        let sent = within(request, async {
            note_tenant("desa");
            let sent = call("ask", async { Err::<(), _>(headers()) }).await;
            note_status(503);
            sent
        })
        .await;
        let told = of_trace(root);
        let [ask, answer] = &told[..] else {
            panic!("{told:?}")
        };
        assert_eq!(
            (ask.kind, ask.parent, ask.failed),
            (Kind::Client, Some(root), true)
        );
        assert_eq!(sent.unwrap_err()[TRACEPARENT], ask.context.to_string());
        assert_eq!((answer.context, answer.parent, answer.failed), (root, None, true));
        assert_eq!(answer.name, "GET /number/{id}");
        let attributes = &answer.attributes;
        assert_eq!(
            (attributes.status, attributes.tenant.as_deref()),
            (Some(503), Some("desa"))
        );
        assert_eq!(current(), None, "forgotten outside");
        assert!(headers().is_empty());
    }

    #[tokio::test]
    async fn what_was_not_chosen_elsewhere_is_not_told_and_travels_on() {
        drop(TOLD.lock().unwrap());
        let text = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";
        let parent = TraceContext::parse(text).unwrap();
        let span = Span::new(Kind::Consumer, "task", Some(parent));
        let here = within(span, async { current().unwrap() }).await;
        assert_eq!(here.trace_id(), parent.trace_id());
        assert!(here.to_string().ends_with("-00"));
        assert!(of_trace(parent).is_empty());
    }

    #[tokio::test]
    async fn work_that_is_given_up_is_over_too() {
        drop(TOLD.lock().unwrap());
        let span = Span::new(Kind::Internal, "endless", None);
        let root = span.context();
        let endless = within(span, std::future::pending::<()>());
        assert!(
            tokio::time::timeout(std::time::Duration::from_millis(5), endless)
                .await
                .is_err()
        );
        assert_eq!(of_trace(root).len(), 1);
    }
}
