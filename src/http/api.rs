//! `/api`: what an operator asks about clients and delayed messages and does to them, as JSON. `docs/http-api.md` is its description for people.
//!
//! Who may ask is said by [`login`](super::login); [`guard`] keeps web pages of others out, and, while there are no users, other machines.

mod delayed;
pub(super) mod guard;
mod render;
mod rights;

use std::net::IpAddr;
use std::sync::{Arc, OnceLock};

use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Json, Response};
use axum::routing::{delete, get, post};
use axum::{Router, middleware};
use distkv_broker::Broker;
use distkv_broker::clients::{self, NotDropped};
use distkv_broker::codec::ProtocolVersion;
use distkv_broker::topic;
use serde::Deserialize;
use serde_json::{Value, json};

use super::login::{self, Door};
use crate::auth::logins::Logins;
use crate::bridge::Bridge;

/// Items of a page where nothing is said.
const PAGE: usize = 100;

/// What is shown.
pub(super) struct Shown {
    pub(super) broker: Arc<Broker>,
    pub(super) bridge: Bridge,
    pub(super) logins: Arc<Logins>,
}

impl std::fmt::Debug for Shown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shown").finish_non_exhaustive()
    }
}

/// It, once it is there.
pub(super) type Source = Arc<OnceLock<Arc<Shown>>>;

/// All of `/api`, for one peer.
pub(super) fn router(door: &Door) -> Router {
    Router::new()
        .route("/api/clients", get(list))
        .route("/api/clients/{id}", get(one).delete(drop_session))
        .route("/api/clients/{id}/subscriptions", get(subscriptions))
        .route("/api/clients/{id}/disconnect", post(disconnect))
        .route("/api/clients/{id}/drops", get(rights::drops))
        .route("/api/acl/why", get(rights::why))
        .route("/api/subscriptions", get(who_gets))
        .route("/api/delayed", get(delayed::list))
        .route("/api/delayed/{number}", delete(delayed::cancel))
        .route("/api/{*other}", axum::routing::any(other))
        .method_not_allowed_fallback(wrong_method)
        .layer(middleware::from_fn_with_state(door.clone(), login::check_api))
        .with_state(Arc::clone(&door.face.shown))
}

/// What is wrong with a request, and what to do about it.
#[derive(Debug)]
pub(super) struct Problem {
    status: StatusCode,
    error: String,
    help: &'static str,
}

impl Problem {
    pub(super) fn new(status: StatusCode, error: impl Into<String>, help: &'static str) -> Self {
        Self { status, error: error.into(), help }
    }

    fn unknown_client(id: &str) -> Self {
        let error = format!("there is no client with the id `{id}`");
        Self::new(StatusCode::NOT_FOUND, error, "GET /api/clients lists those that there are")
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        (self.status, Json(json!({ "error": self.error, "help": self.help }))).into_response()
    }
}

impl From<QueryRejection> for Problem {
    fn from(rejection: QueryRejection) -> Self {
        let help = "docs/http-api.md describes the parameters of each path";
        Self::new(StatusCode::BAD_REQUEST, rejection.body_text(), help)
    }
}

impl From<PathRejection> for Problem {
    fn from(rejection: PathRejection) -> Self {
        let help =
            "a client id stands in the path in UTF-8, with %XX for special characters (a slash is %2F)";
        Self::new(StatusCode::BAD_REQUEST, rejection.body_text(), help)
    }
}

type Answer = Result<Json<Value>, Problem>;
type Id = Result<Path<String>, PathRejection>;

/// The parameters of `/api/clients`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct ListParameters {
    id: Option<String>,
    id_prefix: Option<String>,
    user: Option<String>,
    address: Option<IpAddr>,
    protocol: Option<String>,
    connected: Option<bool>,
    after: Option<String>,
    limit: Option<usize>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct PageParameters {
    after: Option<String>,
    limit: Option<usize>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct TopicParameters {
    topic: String,
    limit: Option<usize>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct ReasonParameters {
    reason: Option<String>,
}

async fn list(
    State(broker): State<Source>,
    parameters: Result<Query<ListParameters>, QueryRejection>,
) -> Answer {
    let Query(parameters) = parameters?;
    let query = clients::Query {
        id: parameters.id,
        id_prefix: parameters.id_prefix,
        user: parameters.user,
        address: parameters.address,
        version: parameters.protocol.map(|name| version(&name)).transpose()?,
        connected: parameters.connected,
        after: parameters.after,
        limit: limit(parameters.limit)?,
    };
    let page = there(&broker)?.broker.clients(&query).await;
    let next = page.items.last().filter(|_| page.more).map(|client| &*client.id);
    let clients: Vec<Value> = page.items.iter().map(render::client).collect();
    Ok(Json(json!({ "clients": clients, "next": next })))
}

async fn one(State(broker): State<Source>, id: Id) -> Answer {
    let Path(id) = id?;
    let client = there(&broker)?.broker.client(&id).ok_or_else(|| Problem::unknown_client(&id))?;
    Ok(Json(render::client(&client)))
}

async fn subscriptions(
    State(broker): State<Source>,
    id: Id,
    parameters: Result<Query<PageParameters>, QueryRejection>,
) -> Answer {
    let (Path(id), Query(parameters)) = (id?, parameters?);
    let limit = limit(parameters.limit)?;
    let page = there(&broker)?.broker.subscriptions_of(&id, parameters.after.as_deref(), limit);
    let page = page.ok_or_else(|| Problem::unknown_client(&id))?;
    let next = page.items.last().filter(|_| page.more).map(|last| &*last.filter);
    let subscriptions: Vec<Value> = page.items.iter().map(render::subscription).collect();
    Ok(Json(json!({ "subscriptions": subscriptions, "next": next })))
}

async fn disconnect(
    State(broker): State<Source>,
    id: Id,
    parameters: Result<Query<ReasonParameters>, QueryRejection>,
) -> Answer {
    let (Path(id), Query(parameters)) = (id?, parameters?);
    let broker = &there(&broker)?.broker;
    if broker.disconnect(&id, parameters.reason.as_deref().unwrap_or("-")) {
        return Ok(Json(json!({ "disconnected": id })));
    }
    if broker.client(&id).is_none() {
        return Err(Problem::unknown_client(&id));
    }
    let error = format!("the client `{id}` is not connected");
    Err(Problem::new(StatusCode::CONFLICT, error, "there is nothing to do; DELETE drops its session"))
}

async fn drop_session(State(broker): State<Source>, id: Id) -> Answer {
    let Path(id) = id?;
    match there(&broker)?.broker.drop_session(&id).await {
        Ok(()) => Ok(Json(json!({ "dropped": id }))),
        Err(NotDropped::Unknown) => Err(Problem::unknown_client(&id)),
        Err(busy @ NotDropped::Busy) => {
            Err(Problem::new(StatusCode::CONFLICT, busy.to_string(), "try again"))
        }
    }
}

async fn who_gets(
    State(broker): State<Source>,
    parameters: Result<Query<TopicParameters>, QueryRejection>,
) -> Answer {
    let Query(parameters) = parameters?;
    let topic = parameters.topic;
    if let Err(wrong) = topic::check_name(&topic) {
        let error = format!("`{topic}` is no topic: {wrong}");
        let help = "ask for one topic; /api/clients/{id}/subscriptions lists the filters of a client";
        return Err(Problem::new(StatusCode::BAD_REQUEST, error, help));
    }
    let page = there(&broker)?.broker.who_gets(&topic, limit(parameters.limit)?);
    let receivers: Vec<Value> = page.items.iter().map(render::receiver).collect();
    Ok(Json(json!({ "topic": topic, "subscriptions": receivers, "more": page.more })))
}

async fn other() -> Problem {
    let help = "there is /api/clients, /api/clients/{id}, /api/clients/{id}/subscriptions, \
                /api/clients/{id}/disconnect, /api/clients/{id}/drops, /api/subscriptions, /api/acl/why, /api/delayed and /api/delayed/{number}";
    Problem::new(StatusCode::NOT_FOUND, "there is nothing at this path", help)
}

async fn wrong_method() -> Problem {
    let help = "GET asks; POST /api/clients/{id}/disconnect, DELETE /api/clients/{id} and DELETE /api/delayed/{number} do something";
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "this path does not know this method", help)
}

fn there(broker: &Source) -> Result<&Arc<Shown>, Problem> {
    broker.get().ok_or_else(|| {
        let help = "try again when /health/ready answers 200";
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "the server is starting", help)
    })
}

fn limit(limit: Option<usize>) -> Result<usize, Problem> {
    match limit.unwrap_or(PAGE) {
        limit @ 1..=clients::PAGE_MAX => Ok(limit),
        limit => {
            let error = format!("`limit` is {limit}; it must be from 1 to {}", clients::PAGE_MAX);
            let help = "ask for the rest with `after` set to the last item of the page before";
            Err(Problem::new(StatusCode::BAD_REQUEST, error, help))
        }
    }
}

fn version(name: &str) -> Result<ProtocolVersion, Problem> {
    render::VERSIONS.iter().find(|(_, known)| *known == name).map(|(version, _)| *version).ok_or_else(|| {
        let error = format!("`protocol` is `{name}`, which is no version of MQTT");
        Problem::new(StatusCode::BAD_REQUEST, error, "it can be 3.1, 3.1.1 or 5")
    })
}
