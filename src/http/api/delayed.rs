//! `/api/delayed`: the messages that wait to be published later.

use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::Json;
use distkv_broker::delayed;
use distkv_broker::topic;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Answer, Problem, Source, limit, render, there};

/// The parameters of `/api/delayed`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Parameters {
    client: Option<String>,
    topic: Option<String>,
    after: Option<u64>,
    limit: Option<usize>,
}

pub(super) async fn list(
    State(broker): State<Source>,
    parameters: Result<Query<Parameters>, QueryRejection>,
) -> Answer {
    let Query(Parameters { client, topic, after, limit: wanted }) = parameters?;
    if let Some(Err(wrong)) = topic.as_deref().map(topic::check_filter) {
        let error = format!("`topic` is no topic filter: {wrong}");
        return Err(Problem::new(StatusCode::BAD_REQUEST, error, "it may have the wildcards + and #"));
    }
    let query = delayed::Query { client, topic, after, limit: limit(wanted)? };
    let page = there(&broker)?.broker.delayed(&query);
    let next = page.items.last().filter(|_| page.more).map(|message| message.number);
    let messages: Vec<Value> = page.items.iter().map(render::delayed).collect();
    Ok(Json(json!({ "delayed": messages, "next": next })))
}

pub(super) async fn cancel(State(broker): State<Source>, number: Result<Path<u64>, PathRejection>) -> Answer {
    let Ok(Path(number)) = number else {
        let help = "GET /api/delayed lists the messages with their numbers";
        return Err(Problem::new(StatusCode::BAD_REQUEST, "this is no number of a message", help));
    };
    if there(&broker)?.broker.cancel_delayed(number).await {
        return Ok(Json(json!({ "cancelled": number })));
    }
    let help = "it may be published already; GET /api/delayed lists those that wait";
    Err(Problem::new(StatusCode::NOT_FOUND, format!("no message {number} waits"), help))
}
