//! The HTTP server: a bound listener, the common layers around a service's routes, and an end that finishes what
//! is in hand.

use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::middleware::{Next, from_fn};
use actix_web::web::{self, ServiceConfig};
use actix_web::{App, Error, HttpMessage as _, HttpRequest, HttpResponse, HttpServer};
use runtime::shutdown::Shutdown;
use tracing::Span;
use tracing_actix_web::{RequestId, RootSpanBuilder, TracingLogger};

use crate::context::{trace_id, with_context};
use crate::error::{ApiError, ErrorField};
use crate::health::Health;
use crate::metrics_page::MetricsToken;

/// What every service's server has in common.
#[derive(Clone)]
pub struct ServerSettings {
    /// Field of error texts.
    pub error_field: ErrorField,
    /// Health of the service.
    pub health: Health,
    /// Who may read metrics.
    pub metrics: MetricsToken,
    /// Worker threads.
    pub workers: usize,
    /// Give a handler up when its caller has left. Right for a proxy; wrong where accepted work must be finished.
    pub cancel_when_caller_leaves: bool,
}

/// The time in which open requests are finished at the end; below the process's whole grace.
const REQUEST_GRACE: Duration = Duration::from_secs(8);

/// Takes the port, so that a taken one stops the start before anything else runs.
///
/// # Errors
/// When the address is taken or not ours.
pub fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    let listener = TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Serves until `shutdown` begins and then finishes open requests.
///
/// # Errors
/// When the server cannot run on the listener.
pub async fn serve(
    listener: TcpListener,
    settings: ServerSettings,
    routes: impl Fn(&mut ServiceConfig) + Clone + Send + 'static,
    shutdown: Shutdown,
) -> std::io::Result<()> {
    let field = settings.error_field;
    let workers = settings.workers;
    let half_closed = !settings.cancel_when_caller_leaves;
    shutdown.spawn("health", settings.health.clone().watch(shutdown.clone()));
    let server = HttpServer::new(move || {
        let context = move |request: ServiceRequest, next: Next<_>| with_context(field, request, next);
        App::new()
            .app_data(extractor_errors())
            .configure(|config| settings.health.routes(config))
            .configure(|config| settings.metrics.routes(config))
            .configure(routes.clone())
            .default_service(web::to(no_route))
            .wrap(from_fn(context))
            .wrap(TracingLogger::<RequestSpan>::new())
    })
    .workers(workers)
    .h1_allow_half_closed(half_closed)
    .client_request_timeout(Duration::from_secs(10))
    .keep_alive(Duration::from_secs(75))
    .shutdown_timeout(REQUEST_GRACE.as_secs())
    .disable_signals()
    .listen(listener)?
    .run();
    let handle = server.handle();
    tokio::spawn(async move {
        shutdown.begun().await;
        handle.stop(true).await;
    });
    server.await
}

async fn no_route(request: HttpRequest) -> Result<HttpResponse, ApiError> {
    Err(ApiError::no_route(request.path()))
}

/// actix's own errors are plain text; ours are JSON everywhere.
fn extractor_errors() -> web::PathConfig {
    web::PathConfig::default().error_handler(|_, _| {
        ApiError::bad_request("bad_path", "The path holds a value that cannot be read").into()
    })
}

/// One span a request. Paths are shown without their query, which may hold tokens.
struct RequestSpan;

impl RootSpanBuilder for RequestSpan {
    fn on_request_start(request: &ServiceRequest) -> Span {
        let id = request.extensions().get::<RequestId>().copied();
        // On the stack: there is one for every request, and mostly nobody reads it.
        let (mut id_digits, mut trace_digits) = ([0; 36], [0; 32]);
        let request_id = id.map(|id| &*id.hyphenated().encode_lower(&mut id_digits));
        let trace_id = trace_id(request).encode(&mut trace_digits);
        // Of the level of the gravest line: a filter that keeps only errors must not lose whose they are.
        tracing::error_span!(
            "request",
            method = request.method().as_str(),
            path = request.path(),
            request_id = request_id.unwrap_or_default(),
            trace_id,
            tenant = tracing::field::Empty,
            delivery = tracing::field::Empty,
        )
    }

    fn on_request_end<B: MessageBody>(_span: Span, outcome: &Result<ServiceResponse<B>, Error>) {
        match outcome {
            Ok(response) if response.status().is_server_error() => {
                tracing::error!(status = response.status().as_u16(), "request failed");
            }
            Ok(response) => tracing::info!(status = response.status().as_u16(), "request done"),
            Err(error) => tracing::error!(%error, "request failed"),
        }
    }
}
