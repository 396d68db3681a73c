//! Users: made, changed, told of; and by what method they log in.

use std::sync::Arc;
use std::task::{Context, Poll};

use distkv_store::access::{User, users};
use distkv_store::chain;
use distkv_store::meta::Meta;
use distkv_store::path::{Element, Path, PathBuilder, PathRef};
use distkv_store::tree::Entry;
use distkv_store::value::{Token, Value};
use distkv_store::view::{Committed, Condition, Terms, View, Who, Write, WriteError};

use super::super::failure::Failure;
use super::super::session::{Out, Request, Session};
use super::super::stream::{Next, Source};
use super::super::wire::{Fault, Fields, Writer};
use super::login::digest_in;
use super::values::{WRITE_CHAIN, Wanted, reply_with_entry, write_committed};
use super::work::{Reply, Work};
use crate::auth::logins::{PASSWORD, ROOT, TEST};
use crate::auth::secrets;

/// How many users are looked up at a time.
const SOME_USERS: usize = 256;

/// Where the record of the user lies whom a request is about, with the method and his name.
fn place<'a>(fields: &Fields<'a>) -> Result<(Path, &'a str, &'a str), Failure> {
    let (method, ident) = (fields.needed_text("typ")?, fields.text("ident")?.unwrap_or("*"));
    if fields.text("kind")?.is_some_and(|kind| kind != "user") {
        return Err(Failure::Invalid("`kind` is \"user\": there is no other".to_owned()));
    }
    let home = Path::from_elements([Element::Null])?;
    Ok((users::path(home.as_path(), method, ident)?, method, ident))
}

/// `auth_set`: makes a user, or gives him a new password.
pub(super) fn set(session: &mut Session, request: &Request<'_>, stated: bool) -> Result<(), Failure> {
    let (path, method, ident) = place(&request.fields)?;
    let view = admin(session, method, ident)?;
    let length = request.fields.chain_length(WRITE_CHAIN)?;
    match method {
        ROOT => {
            let chain = version_of(&request.fields)?;
            if chain.is_none() {
                return Err(Fault::Missing("chain").into());
            }
            let work = async move { keep(&view, &path, users::record(&[], false, None), &chain, length) };
            session.answer_later(request, Work::new(work))
        }
        TEST if stated => {
            let ident = request.fields.text("ident")?.map(str::to_owned);
            session.open_stream(request, Box::new(NameAsked { view, ident, length, step: Step::Give }))
        }
        PASSWORD => {
            let digest = digest_in(session, &request.fields)?;
            let chain = version_of(&request.fields)?;
            let logins = Arc::clone(&session.face.logins);
            let work = async move {
                let hashed = logins.checks().make(digest).await.map_err(Failure::Refused)?;
                let before = view.get(path.as_path())?;
                let record = match before.as_ref().and_then(|entry| entry.value.as_ref()) {
                    Some(record) => secrets::with_password(record, &hashed, None)
                        .map_err(|error| Failure::Invalid(error.to_string()))?,
                    None => users::record(&[("password", Value::string(&hashed.to_string()))], false, None),
                };
                // What was read must still be there, or somebody's change would be lost.
                let read = before.map(|entry| {
                    let dot = entry.version.dot();
                    (dot.origin.node().as_str().to_owned(), dot.tick.0)
                });
                keep(&view, &path, record, &chain.or(Some(read)), length)
            };
            session.answer_later(request, Work::new(work))
        }
        _ => Err(Failure::Invalid(format!("a user of the method `{method}` can't be made so"))),
    }
}

/// The view by which somebody may change a user: his own, if he is an admin; for his own password the program's.
fn admin(session: &Session, method: &str, ident: &str) -> Result<View, Failure> {
    let view = session.view()?;
    if view.is_admin() {
        return Ok(view.clone());
    }
    let own = |user: &Arc<User>| *user.method == *method && *user.name == *ident && user.realm.is_root();
    if method == PASSWORD && view.user().as_ref().is_some_and(own) {
        return Ok(session.face.store.view(Who::system()));
    }
    Err(Failure::NotAllowed("only an admin may see and change users".to_owned()))
}

/// The version that must be there: `Some(None)` for none.
type Version = Option<Option<(String, u64)>>;

fn version_of(fields: &Fields<'_>) -> Result<Version, Failure> {
    Ok(Wanted::read(fields)?.version.map(|version| version.map(|(node, tick)| (node.to_owned(), tick))))
}

/// Writes a record, and makes the reply.
fn keep(view: &View, path: &Path, record: Value, version: &Version, length: usize) -> Result<Reply, Failure> {
    let condition = version.as_ref().map(|version| match version {
        None => Condition::New,
        Some((node, tick)) => Condition::Version { node, tick: *tick },
    });
    let terms = Terms { conditions: condition.as_slice(), idempotent: false };
    let write = Write { path: path.as_path(), value: Some(record), meta: Meta::default(), terms };
    let committed = view.write(write, None).map_err(|error| Failure::of_write(error, path))?;
    Ok(Box::new(move |message| {
        write_committed(message, &committed, false, length, &|| 0);
        Next::Message { has_tock: true }
    }))
}

/// How far the dialogue about a name is.
enum Step {
    /// The name is to be asked for.
    Give,
    /// It was asked for.
    Asked,
    /// It has come, with the version that must be there.
    Named(String, Version),
    Done,
}

/// The dialogue in which the method `_test` makes a user.
struct NameAsked {
    view: View,
    ident: Option<String>,
    length: usize,
    step: Step,
}

impl Source for NameAsked {
    fn poll_next(&mut self, _cx: &mut Context<'_>, message: &mut Writer<'_>) -> Poll<Next> {
        match std::mem::replace(&mut self.step, Step::Done) {
            Step::Give => {
                message.str("step", "GiveName");
                self.step = Step::Asked;
                Poll::Ready(Next::Message { has_tock: false })
            }
            // What is told next wakes the session anyway.
            Step::Asked => {
                self.step = Step::Asked;
                Poll::Pending
            }
            Step::Named(name, version) => Poll::Ready(match self.make(&name, &version) {
                Ok(reply) => reply(message),
                Err(failure) => Next::Failed(failure),
            }),
            Step::Done => Poll::Ready(Next::End),
        }
    }

    fn told(&mut self, fields: &Fields<'_>) -> Result<(), Failure> {
        if fields.text("step")? != Some("HasName") || !matches!(self.step, Step::Asked) {
            return Err(Failure::Invalid("`step` is \"HasName\" now, with `name` and `chain`".to_owned()));
        }
        let name = fields.needed_text("name")?.to_owned();
        self.step = Step::Named(name, version_of(fields)?);
        Ok(())
    }
}

impl NameAsked {
    fn make(&self, name: &str, version: &Version) -> Result<Reply, Failure> {
        if self.ident.as_ref().is_some_and(|ident| ident != name) {
            return Err(Failure::Invalid("`name` is another one than `ident` before".to_owned()));
        }
        let home = Path::from_elements([Element::Null])?;
        let path = users::path(home.as_path(), TEST, name)?;
        keep(&self.view, &path, users::record(&[], false, None), version, self.length)
    }
}

/// `auth_get`: whether there is a user, and the version of his record. Nothing of its secrets is told.
pub(super) fn get(
    session: &mut Session,
    request: &Request<'_>,
    stated: bool,
    out: &mut Out,
) -> Result<(), Failure> {
    let (path, method, ident) = place(&request.fields)?;
    let view = admin(session, method, ident)?;
    let length = request.fields.chain_length(0)?;
    let entry =
        view.get(path.as_path())?.ok_or_else(|| Failure::Unknown(format!("there is no user {ident}")))?;
    if stated && method == TEST {
        // This dialogue wants a chain whatever was asked for.
        let told = NameTold { name: ident.to_owned(), entry, length: length.max(1), step: 0 };
        return session.open_stream(request, Box::new(told));
    }
    let mut message = session.reply(request, out);
    message.str("name", ident).chain(&entry.version, length).uint("tock", entry.version.tock().get());
    Ok(())
}

/// The dialogue in which the method `_test` tells a user.
struct NameTold {
    name: String,
    entry: Arc<Entry>,
    length: usize,
    /// 0: it offers the name; 1: it waits to be asked; 2: it tells; 3: it is over.
    step: u8,
}

impl Source for NameTold {
    fn poll_next(&mut self, _cx: &mut Context<'_>, message: &mut Writer<'_>) -> Poll<Next> {
        match self.step {
            0 => {
                message.str("step", "SendWant");
            }
            1 => return Poll::Pending,
            2 => {
                message
                    .str("step", "SendName")
                    .str("name", &self.name)
                    .chain(&self.entry.version, self.length);
            }
            _ => return Poll::Ready(Next::End),
        }
        self.step += 1;
        Poll::Ready(Next::Message { has_tock: false })
    }

    fn told(&mut self, fields: &Fields<'_>) -> Result<(), Failure> {
        if fields.text("step")? != Some("WantName") || self.step != 1 {
            return Err(Failure::Invalid("`step` is \"WantName\" now".to_owned()));
        }
        self.step = 2;
        Ok(())
    }
}

/// `auth_list`: the users of a method; or one, if `ident` names one.
pub(super) fn list(session: &mut Session, request: &Request<'_>, out: &mut Out) -> Result<(), Failure> {
    let (path, method, ident) = place(&request.fields)?;
    let view = session.view()?.clone();
    if !view.is_admin() {
        return Err(Failure::NotAllowed("only an admin may see and change users".to_owned()));
    }
    let length = request.fields.chain_length(0)?;
    if request.fields.text("ident")?.is_some() {
        let entry =
            view.get(path.as_path())?.ok_or_else(|| Failure::Unknown(format!("there is no user {ident}")))?;
        let mut message = session.reply(request, out);
        write_user(&mut message, method, ident, &entry.version, length);
        message.uint("tock", entry.version.tock().get());
        return Ok(());
    }
    let mut parent = PathBuilder::new();
    for element in [Element::Null, Element::str("auth"), Element::str(method), Element::str("user")] {
        parent.push(&element)?;
    }
    let parent = parent.finish();
    let users = Users {
        view,
        method: method.to_owned(),
        parent,
        after: None,
        ready: Vec::new(),
        done: false,
        length,
    };
    session.open_stream(request, Box::new(users))
}

fn write_user(message: &mut Writer<'_>, method: &str, ident: &str, version: &chain::Version, length: usize) {
    message.str("typ", method).str("kind", "user").str("ident", ident).chain(version, length);
}

/// The users of a method on their way to the client.
struct Users {
    view: View,
    method: String,
    parent: Path,
    after: Option<Element<'static>>,
    /// Some of them, the next one last.
    ready: Vec<(String, chain::Version)>,
    done: bool,
    length: usize,
}

impl Source for Users {
    fn poll_next(&mut self, _cx: &mut Context<'_>, message: &mut Writer<'_>) -> Poll<Next> {
        while self.ready.is_empty() && !self.done {
            let (some, next) =
                match self.view.children(self.parent.as_path(), self.after.as_ref(), SOME_USERS) {
                    Ok(found) => found,
                    Err(denied) => return Poll::Ready(Next::Failed(denied.into())),
                };
            self.done = next.is_none();
            self.after = next;
            let named =
                some.into_iter().filter_map(|child| match (&child.name, child.value(), &child.entry) {
                    (Element::Str(name), Some(_), Some(entry)) => {
                        Some((name.to_string(), entry.version.clone()))
                    }
                    _ => None,
                });
            self.ready = named.collect();
            self.ready.reverse();
        }
        let Some((ident, version)) = self.ready.pop() else { return Poll::Ready(Next::End) };
        write_user(message, &self.method, &ident, &version, self.length);
        Poll::Ready(Next::Message { has_tock: false })
    }
}

/// `auth_info`: the entry which says by what method users log in.
pub(super) fn info(session: &mut Session, request: &Request<'_>, out: &mut Out) -> Result<(), Failure> {
    let length = request.fields.chain_length(0)?;
    let path = method_path()?;
    let view = session.view()?;
    let entry = view.entry(path.as_path())?;
    reply_with_entry(session, request, entry.as_deref(), length, out);
    Ok(())
}

fn method_path() -> Result<Path, Failure> {
    let home = Path::from_elements([Element::Null])?;
    Ok(users::method_path(home.as_path())?)
}

/// `set_auth_typ`: from now on users log in by this method; with nil nobody needs to.
pub(super) fn set_method(session: &mut Session, request: &Request<'_>, out: &mut Out) -> Result<(), Failure> {
    let length = request.fields.chain_length(WRITE_CHAIN)?;
    let method = match request.fields.token("typ") {
        None => return Err(Fault::Missing("typ").into()),
        Some(Token::Nil) => None,
        Some(_) => Some(request.fields.needed_text("typ")?),
    };
    let view = session.view()?;
    if !view.is_admin() {
        return Err(Failure::NotAllowed("only an admin may say how users log in".to_owned()));
    }
    if let Some(method) = method {
        let realm = view.root();
        let has_users = session
            .face
            .store
            .access()
            .users()
            .iter()
            .any(|user| *user.method == *method && user.realm == realm);
        if !has_users {
            let text = format!("there is no user of the method `{method}` yet: nobody could log in any more");
            return Err(Failure::Invalid(text));
        }
    }
    let path = method_path()?;
    let committed = write_method(view, path.as_path(), method.map(users::current))
        .map_err(|error| Failure::of_write(error, &path))?;
    out.keep(committed.lsn);
    let tock = session.tock();
    let mut message = session.reply(request, out);
    write_committed(&mut message, &committed, true, length, &|| tock);
    Ok(())
}

fn write_method(view: &View, path: PathRef<'_>, value: Option<Value>) -> Result<Committed, WriteError> {
    let terms = Terms { conditions: &[], idempotent: false };
    view.write(Write { path, value, meta: Meta::default(), terms }, None)
}
