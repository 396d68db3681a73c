//! What can be asked for, one module a family.

mod acl;
mod files;
mod login;
mod messages;
mod state;
mod trees;
mod users;
mod values;
mod watch;
mod work;

use std::task::{Context, Poll};

use super::failure::Failure;
use super::session::{Home, Out, Request, Session};
use super::stream::{Next, Source};
use super::wire::Writer;

/// The actions that a client may begin with a `state`, since they are dialogues or streams.
const STATED: &[&str] = &[
    "get_tree",
    "get_tree_internal",
    "watch",
    "msg_monitor",
    "delete_tree",
    "auth",
    "auth_get",
    "auth_set",
    "auth_list",
];

/// Runs an action: replies, or opens a stream. `stated` tells that the request has a `state`, as those have which begin a dialogue.
pub(super) fn run(
    session: &mut Session,
    action: &str,
    stated: bool,
    request: &Request<'_>,
    out: &mut Out,
) -> Result<(), Failure> {
    if stated && !STATED.contains(&action) {
        return Err(Failure::NoStream(action.to_owned()));
    }
    match dispatch(session, action, stated, request, out) {
        // Clients wait for the start of a stream, whatever comes of it.
        Err(failure) if is_stream(action, request) && !failure.ends_connection() => {
            session.open_stream(request, Box::new(Refused(Some(failure))))
        }
        result => result,
    }
}

/// Whether an action is answered with a stream.
fn is_stream(action: &str, request: &Request<'_>) -> bool {
    match action {
        "get_tree" | "get_tree_internal" | "watch" | "msg_monitor" | "auth" => true,
        "auth_list" => !request.fields.has("ident"),
        "delete_tree" => request.fields.flag("nchain"),
        _ => false,
    }
}

/// A stream that says only why there is none.
struct Refused(Option<Failure>);

impl Source for Refused {
    fn poll_next(&mut self, _cx: &mut Context<'_>, _message: &mut Writer<'_>) -> Poll<Next> {
        Poll::Ready(self.0.take().map_or(Next::End, Next::Failed))
    }
}

fn dispatch(
    session: &mut Session,
    action: &str,
    stated: bool,
    request: &Request<'_>,
    out: &mut Out,
) -> Result<(), Failure> {
    match action {
        "get_value" => values::get(session, request, Home::Data, out),
        "get_internal" => values::get(session, request, Home::Internal, out),
        "set_value" => values::set(session, request, Home::Data, out),
        "set_internal" => values::set(session, request, Home::Internal, out),
        "delete_value" => values::delete(session, request, Home::Data, out),
        "delete_internal" => values::delete(session, request, Home::Internal, out),
        "set_many" => values::set_many(session, request, out),
        "enum" | "enumerate" => trees::enumerate(session, request, Home::Data, out),
        "enum_internal" => trees::enumerate(session, request, Home::Internal, out),
        "get_tree" => trees::get(session, request, Home::Data),
        "get_tree_internal" => trees::get(session, request, Home::Internal),
        "delete_tree" => trees::delete(session, request),
        "root" => trees::root(session, request, out),
        "watch" => watch::watch(session, request),
        "stop" => watch::stop(session, request, out),
        "diffie_hellman" => login::exchange(session, request),
        "auth" => login::log_in(session, request),
        "auth_set" => users::set(session, request, stated),
        "auth_get" => users::get(session, request, stated, out),
        "auth_list" => users::list(session, request, out),
        "auth_info" => users::info(session, request, out),
        "set_auth_typ" => users::set_method(session, request, out),
        "test_acl" => acl::test(session, request, out),
        "save" => files::save(session, request),
        "log" => files::log(session, request),
        "msg_send" => messages::send(session, request, out),
        "msg_monitor" => messages::monitor(session, request),
        "get_tock" => state::tock(session, request, out),
        "get_state" => state::get(session, request),
        "enum_node" => state::events(session, request),
        "kill_node" => state::kill(session, request),
        "check_deleted" => state::check_deleted(session, request, out),
        "fake_info" | "fake_info_send" => state::fake_info(session, request, out),
        "update" => state::update(session),
        _ => {
            session.view()?;
            let shown: String = action.chars().take(40).collect();
            Err(Failure::UnknownAction(shown))
        }
    }
}
