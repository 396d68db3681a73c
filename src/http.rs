//! The HTTP face: health and metrics, for machines; and clients, for the operator. Once users have to log in, all but health needs an
//! admin; until then, what shows or changes clients answers this machine only (see [`login`]).
//!
//! | path | answers |
//! |---|---|
//! | `/health/live` | 200 as long as the process answers at all |
//! | `/health/ready` | 200 while clients are served, else 503; JSON with the reason |
//! | `/metrics` | every number, as OpenMetrics text |
//! | `/api/...` | clients and their sessions, see [`api`] |
//!
//! A client can occupy one of `http.max_connections` places, for at most [`CONNECTION_LIFE`] and a head of a request at most
//! [`READ_BUFFER`] long, and nothing else.

mod api;
mod health;
mod login;
mod metrics;
mod process;

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::middleware;
use axum::response::{IntoResponse, Json};
use axum::routing::get;
use distkv_broker::Broker;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::accept::accept;
use crate::auth::logins::Logins;
use crate::bridge::Bridge;

pub use health::{Failure, Health, Phase};
pub use metrics::{Kind, Metrics, Sample, Source, Value};

/// A connection is closed when it is that old, between two requests if it can be.
const CONNECTION_LIFE: Duration = Duration::from_secs(60);

/// The time which a response under way has after [`CONNECTION_LIFE`].
const LAST_RESPONSE: Duration = Duration::from_secs(10);

/// Bytes of a request's head.
const READ_BUFFER: usize = 16 << 10;

/// What the HTTP face tells.
#[derive(Debug, Default)]
pub struct Face {
    /// Is the program alive, is it ready?
    pub health: Health,
    /// Its numbers.
    pub metrics: Metrics,
    shown: api::Source,
}

impl Face {
    /// From now on `/api` is about the clients of this broker, whose bridge and users these are. Only the first call counts.
    pub fn show_clients(&self, broker: Arc<Broker>, bridge: Bridge, logins: Arc<Logins>) {
        let _second = self.shown.set(Arc::new(api::Shown { broker, bridge, logins }));
    }
}

/// What a client may take.
#[derive(Clone, Debug)]
pub struct Bounds {
    places: Arc<Semaphore>,
    header_timeout: Duration,
}

impl Bounds {
    /// So many connections at a time over all listeners, and so much time for the head of a request.
    pub fn new(connections: u32, header_timeout: Duration) -> Self {
        Self { places: Arc::new(Semaphore::new(connections as usize)), header_timeout }
    }
}

/// Serves one listener, until the future is dropped.
pub async fn serve(listener: TcpListener, face: Arc<Face>, bounds: Bounds) -> Infallible {
    let mut connections = FuturesUnordered::new();
    loop {
        tokio::select! {
            (stream, peer, place) = accept("HTTP", &listener, &bounds.places) => {
                let router = router(&login::Door { face: Arc::clone(&face), peer });
                connections.push(connection(stream, place, router, bounds.header_timeout));
            }
            Some(()) = connections.next(), if !connections.is_empty() => {}
        }
    }
}

async fn connection(
    stream: TcpStream,
    place: Option<OwnedSemaphorePermit>,
    router: Router,
    header_timeout: Duration,
) {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(header_timeout).max_buf_size(READ_BUFFER);
    let mut served = pin!(http.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router)));
    // How a connection ends (rubbish, silence, a reset) is the client's affair; it gets an answer where HTTP has one.
    match timeout(CONNECTION_LIFE, served.as_mut()).await {
        Ok(_ended) => {}
        Err(_elapsed) => {
            served.as_mut().graceful_shutdown();
            let _ended = timeout(LAST_RESPONSE, served).await;
        }
    }
    drop(place);
}

/// Everything, for one peer.
fn router(door: &login::Door) -> Router {
    let metrics = Router::new()
        .route("/metrics", get(metrics))
        .layer(middleware::from_fn_with_state(door.clone(), login::check));
    Router::new()
        .route("/health/live", get(live))
        .route("/health/ready", get(ready))
        .merge(metrics)
        .fallback(other)
        .with_state(Arc::clone(&door.face))
        .merge(api::router(door))
}

async fn live() -> impl IntoResponse {
    Json(json!({ "live": true }))
}

async fn ready(State(face): State<Arc<Face>>) -> impl IntoResponse {
    match face.health.ready() {
        Ok(()) => (StatusCode::OK, Json(json!({ "ready": true }))),
        Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, Json(json!({ "ready": false, "reason": reason }))),
    }
}

async fn metrics(State(face): State<Arc<Face>>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, Metrics::CONTENT_TYPE)], face.metrics.text())
}

async fn other() -> impl IntoResponse {
    (StatusCode::NOT_FOUND, "There is /health/live, /health/ready, /metrics and /api/clients.\n")
}

#[cfg(test)]
mod tests;
