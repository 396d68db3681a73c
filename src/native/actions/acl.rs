//! Questions about access lists.

use distkv_store::access::{Names, Right};
use distkv_store::path::{Path, PathRef};
use distkv_store::store::Store;
use distkv_store::view::View;

use super::super::failure::Failure;
use super::super::session::{Home, Out, Request, Session};
use super::super::wire::{Fault, Fields};

/// `test_acl`: what an access list says about a path.
pub(super) fn test(session: &mut Session, request: &Request<'_>, out: &mut Out) -> Result<(), Failure> {
    session.at(request, Home::Data, |session, path| {
        let answer = ask(session.view()?, &session.face.store, &request.fields, path)?;
        let tock = session.tock();
        let mut message = session.reply(request, out);
        match answer {
            Answer::Yes => message.bool("access", true),
            Answer::No => message.bool("access", false),
            Answer::Rights(letters) => message.str("access", &letters),
        };
        message.uint("tock", tock);
        Ok(())
    })
}

/// What may be told of rights.
enum Answer {
    /// It is allowed, or nothing limits the user; he may not know more.
    Yes,
    No,
    /// The letters of the rights, for those who may ask (`a`).
    Rights(String),
}

/// The user's own rights on `path`; or, with `acl`, whether that list, and his own rights, allow `mode` there.
fn ask(view: &View, store: &Store, fields: &Fields<'_>, path: PathRef<'_>) -> Result<Answer, Failure> {
    let user = view.user();
    let Some(name) = fields.text("acl")? else {
        let limited = user.as_ref().is_some_and(|user| user.acl.is_some());
        return Ok(match (limited, view.may(path, Right::Ask)) {
            (false, _) => Answer::Yes,
            (true, false) => Answer::No,
            (true, true) => Answer::Rights(view.rights(path).to_string()),
        });
    };
    let mode = match fields.text("mode")? {
        None => Right::Pass,
        Some(letter) => letter
            .parse::<char>()
            .ok()
            .and_then(Right::from_letter)
            .ok_or(Fault::Type { field: "mode", expected: "one of the letters r w c d x e n a" })?,
    };
    // Other lists, and which there are, are for those who may ask.
    let own = user.as_ref().is_some_and(|user| user.acl.as_deref() == Some(name));
    if !own && !view.is_admin() && !view.may(path, Right::Ask) {
        return Ok(Answer::No);
    }
    let realm = user.as_ref().map_or_else(Path::root, |user| user.realm.clone());
    let unknown = || Failure::Unknown(format!("there is no access list `{name}`"));
    let list = store.access().acl(&realm, name).ok_or_else(unknown)?;
    let names = Names::new(user.as_ref().map(|user| &*user.name), None)?;
    let grant = list.grant(path, &names);
    Ok(if !view.may(path, mode) || !grant.may(mode) {
        Answer::No
    } else if grant.may(Right::Ask) && view.may(path, Right::Ask) {
        Answer::Rights(grant.rights.to_string())
    } else {
        Answer::Yes
    })
}
