//! What can be asked for, one module a family.

mod acl;
mod files;
mod login;
mod messages;
mod state;
mod trees;
mod values;
mod watch;

use super::failure::Failure;
use super::session::{Home, Out, Request, Session};

/// Runs an action: replies, or opens a stream. `stated` tells that the request has a `state`, as those have which begin a dialogue.
pub(super) fn run(
    session: &mut Session,
    action: &str,
    stated: bool,
    request: &Request<'_>,
    out: &mut Out,
) -> Result<(), Failure> {
    const STREAMS: &[&str] = &[
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
    if stated && !STREAMS.contains(&action) {
        return Err(Failure::NoStream(action.to_owned()));
    }
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
        "auth_set" => login::set(session, request, stated),
        "auth_get" => login::get(session, request, stated, out),
        "auth_list" => login::list(session, request, out),
        "auth_info" => login::info(session, request, out),
        "set_auth_typ" => login::set_method(session, request, out),
        "test_acl" => login::test_acl(session, request, out),
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
