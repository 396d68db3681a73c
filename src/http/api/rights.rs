//! `/api/acl/why` and `/api/clients/{id}/drops`: why something is allowed, denied, or did not arrive.

use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::Json;
use distkv_broker::clients::Drop;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Answer, Id, Problem, Source, render, there};
use crate::bridge::why::{Deed, NoAnswer, Target};

/// The parameters of `/api/acl/why`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Question {
    user: Option<String>,
    client_id: Option<String>,
    topic: Option<String>,
    path: Option<String>,
    action: String,
}

pub(super) async fn why(
    State(source): State<Source>,
    parameters: Result<Query<Question>, QueryRejection>,
) -> Answer {
    let Query(Question { user, client_id, topic, path, action }) = parameters?;
    let help = "name `topic` or `path` and `action`, and `user` unless it is somebody without a name";
    let bad = |error: String| Problem::new(StatusCode::BAD_REQUEST, error, help);
    let target = match (topic, path) {
        (Some(topic), None) => Target::Topic(topic),
        (None, Some(path)) => {
            let parsed = path.parse().map_err(|error| bad(format!("`{path}` is no path: {error}")))?;
            Target::Path(parsed)
        }
        _ => return Err(bad("there must be either a `topic` or a `path`".to_owned())),
    };
    let deed: Deed = action.parse().map_err(|error: NoAnswer| bad(error.to_string()))?;
    let bridge = &there(&source)?.bridge;
    let why =
        bridge.why(user.as_deref(), client_id.as_deref(), &target, deed).map_err(|error| match error {
            NoAnswer::NoUser(_) => Problem::new(StatusCode::NOT_FOUND, error.to_string(), help),
            _ => bad(error.to_string()),
        })?;
    let (topic, path) = match &target {
        Target::Topic(topic) => (Some(topic.clone()), None),
        Target::Path(path) => (None, Some(path.to_string())),
    };
    Ok(Json(json!({
        "user": user, "topic": topic, "path": path, "action": action,
        "allowed": why.allowed, "reason": why.reason,
    })))
}

pub(super) async fn drops(State(source): State<Source>, id: Id) -> Answer {
    let Path(id) = id?;
    let broker = &there(&source)?.broker;
    let (client, drops) = (broker.client(&id), broker.drops(&id));
    // Who was refused never became a client.
    if client.is_none() && drops.is_empty() {
        return Err(Problem::unknown_client(&id));
    }
    let drops: Vec<Value> = drops.iter().map(drop_as_json).collect();
    let client = client.as_ref().map(render::client);
    Ok(Json(json!({ "client": client, "drops": drops })))
}

fn drop_as_json(drop: &Drop) -> Value {
    let Drop { at_ms, reason, topic, detail, times } = drop;
    let topic = Some(topic).filter(|topic| !topic.is_empty());
    let detail = Some(detail).filter(|detail| !detail.is_empty());
    json!({ "at": *at_ms as f64 / 1000.0, "reason": reason, "topic": topic, "detail": detail, "times": times })
}
