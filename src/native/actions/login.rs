//! Logging in, and the users who can: `auth`, the key exchange before it, and what administrates users.
//!
//! A password travels as its SHA-256 in a box that the exchanged key closes. Who is who is found out by [`Logins`](crate::auth::logins::Logins),
//! for all faces alike.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use distkv_store::access::{User, users};
use distkv_store::meta::Meta;
use distkv_store::path::{Element, Path, PathBuilder, PathRef};
use distkv_store::value::{Token, Value};
use distkv_store::view::{Committed, Condition, Terms, View, Write};
use tokio::task::spawn_blocking;

use super::super::failure::Failure;
use super::super::session::{Home, Out, Outcome, Request, Session};
use super::super::stream::{Next, Source};
use super::super::wire::{Fault, Fields, Writer};
use super::values::{Wanted, write_committed, write_entry};
use crate::auth::checks::Claim;
use crate::auth::digest::Digest;
use crate::auth::logins::{PASSWORD, ROOT, TEST};
use crate::auth::secrets::{self, Secrets};
use crate::client::exchange::{Exchange, PRIVATE_BYTES, SharedKey};

/// A prime shorter than this is no protection; the original can be told to use one.
const KEY_BITS_MIN: u64 = 32;

/// How many links of the chain are told if nothing is said.
const WRITE_CHAIN: usize = 1;

/// How many users are looked up at a time.
const SOME_USERS: usize = 256;

/// What is done when some work is through: it writes the reply.
pub(super) type Reply = Box<dyn FnOnce(&mut Writer<'_>) -> Next + Send>;

/// Work under way.
type Running = Pin<Box<dyn Future<Output = Result<Reply, Failure>> + Send>>;

/// Work that goes on elsewhere, until it is through.
pub(super) struct Work(Option<Running>);

impl Work {
    pub(super) fn new(work: impl Future<Output = Result<Reply, Failure>> + Send + 'static) -> Box<Self> {
        Box::new(Self(Some(Box::pin(work))))
    }
}

impl Source for Work {
    fn poll_next(&mut self, cx: &mut Context<'_>, message: &mut Writer<'_>) -> Poll<Next> {
        let Some(work) = &mut self.0 else { return Poll::Ready(Next::End) };
        let Poll::Ready(done) = work.as_mut().poll(cx) else { return Poll::Pending };
        self.0 = None;
        Poll::Ready(match done {
            Ok(reply) => reply(message),
            Err(failure) => Next::Failed(failure),
        })
    }
}

/// `diffie_hellman`: agrees on a key, once for a connection.
pub(super) fn exchange(session: &mut Session, request: &Request<'_>) -> Result<(), Failure> {
    let theirs = request.fields.binary("pubkey")?.ok_or(Fault::Missing("pubkey"))?.to_vec();
    if request.fields.uint("length")?.is_some_and(|bits| bits < KEY_BITS_MIN) {
        return Err(Failure::Invalid(
            "a key exchange as short as that protects nothing: take 1024".to_owned(),
        ));
    }
    let outcome = session.begin_exchange()?;
    let places = Arc::clone(&session.face.exchanges);
    let work = async move {
        // The semaphore is never closed.
        let _place = places.acquire_owned().await;
        let agreed = spawn_blocking(move || agree(&theirs)).await;
        let (ours, key) = agreed.map_err(|_| Failure::Internal("the key exchange failed".to_owned()))??;
        // The connection may be gone.
        let _gone = outcome.send(Outcome::Key(key));
        let reply: Reply = Box::new(move |message| {
            message.bin("pubkey", &ours);
            Next::Message { has_tock: false }
        });
        Ok(reply)
    };
    session.answer_later(request, Work::new(work))
}

/// Our public key, and the key that both have.
fn agree(theirs: &[u8]) -> Result<(Vec<u8>, SharedKey), Failure> {
    let mut private = [0; PRIVATE_BYTES];
    getrandom::fill(&mut private)
        .map_err(|error| Failure::Internal(format!("the system gives no random numbers: {error}")))?;
    let exchange = Exchange::new(&private);
    let ours = exchange.public_key();
    let key = exchange.agree(theirs).map_err(|error| Failure::Invalid(error.to_string()))?;
    Ok((ours, key))
}

/// What is in the box with a password.
fn digest_in(session: &Session, fields: &Fields<'_>) -> Result<Digest, Failure> {
    let sealed = fields.binary("password")?.ok_or(Fault::Missing("password"))?;
    let key = session.key().ok_or_else(|| {
        Failure::Invalid(
            "agree on a key first, with `diffie_hellman`: a password is never sent in clear".to_owned(),
        )
    })?;
    let opened = key.open(sealed).map_err(|error| Failure::Invalid(error.to_string()))?;
    let digest = opened
        .try_into()
        .map_err(|_| Failure::Invalid("what is in the box is not the SHA-256 of a password".to_owned()))?;
    Ok(Digest::from_bytes(digest))
}

/// `auth`: a login; or, where that is not needed or done already, a trial which changes nothing.
pub(super) fn log_in(session: &mut Session, request: &Request<'_>) -> Result<(), Failure> {
    let method = request.fields.needed_text("typ")?;
    let ident = match request.fields.text("ident")? {
        None if method != ROOT => return Err(Fault::Missing("ident").into()),
        ident => ident.unwrap_or("*").to_owned(),
    };
    if session.view().is_ok() {
        return try_out(session, request, method, &ident);
    }
    let logins = Arc::clone(&session.face.logins);
    let in_force = session.face.store.access().method(&Path::root());
    if in_force.as_deref() != Some(method) && !ident.contains('@') {
        let in_force = in_force.as_deref().unwrap_or("none");
        return Err(Failure::NotAllowed(format!("users log in by the method `{in_force}` here")));
    }
    let shown = match method {
        PASSWORD => digest_in(session, &request.fields)?,
        _ => Digest::of(b""),
    };
    let address = session.peer.ip();
    let outcome = session.begin_login();
    let face = Arc::clone(&session.face);
    let work = async move {
        match logins.by_secret(&ident, shown, Some(address)).await {
            Ok(user) => {
                tracing::info!(user = &*user.user().login, %address, "a native client has logged in");
                let _gone = outcome.send(Outcome::LoggedIn(user));
                let reply: Reply = Box::new(|_| Next::End);
                Ok(reply)
            }
            Err(refused) => {
                super::super::Figures::count(&face.figures.refused);
                tracing::info!(user = ident, %address, "a login of a native client was refused: {refused}");
                Err(Failure::Refused(refused))
            }
        }
    };
    session.open_stream(request, Work::new(work))
}

/// Would this login be right, if logins by that method were on?
fn try_out(session: &mut Session, request: &Request<'_>, method: &str, ident: &str) -> Result<(), Failure> {
    let user = session.face.store.access().user(&Path::root(), method, ident);
    let logins = Arc::clone(&session.face.logins);
    let shown = if method == PASSWORD { digest_in(session, &request.fields)? } else { Digest::of(b"") };
    let (method, ident, address) = (method.to_owned(), ident.to_owned(), session.peer.ip());
    let work = async move {
        let kept = user.as_deref().map(Secrets::of_user);
        if method == PASSWORD {
            let claim = Claim { user: &ident, shown, address: Some(address) };
            logins.checks().check(claim, kept.as_ref()).await.map_err(Failure::Refused)?;
        } else if kept.is_none() {
            return Err(Failure::NotAllowed("there is no such user".to_owned()));
        }
        let reply: Reply = Box::new(|_| Next::End);
        Ok(reply)
    };
    session.open_stream(request, Work::new(work))
}

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
        return Ok(session.face.store.view(distkv_store::view::Who::system()));
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
        write_committed(message, &committed, false, length, 0);
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
            Step::Named(name, version) => Poll::Ready(match self.make(&name, version) {
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
    fn make(&self, name: &str, version: Version) -> Result<Reply, Failure> {
        if self.ident.as_ref().is_some_and(|ident| ident != name) {
            return Err(Failure::Invalid("`name` is another one than `ident` before".to_owned()));
        }
        let home = Path::from_elements([Element::Null])?;
        let path = users::path(home.as_path(), TEST, name)?;
        keep(&self.view, &path, users::record(&[], false, None), &version, self.length)
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
    entry: Arc<distkv_store::tree::Entry>,
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

fn write_user(
    message: &mut Writer<'_>,
    method: &str,
    ident: &str,
    version: &distkv_store::chain::Version,
    length: usize,
) {
    message.str("typ", method).str("kind", "user").str("ident", ident).chain(version, length);
}

/// The users of a method on their way to the client.
struct Users {
    view: View,
    method: String,
    parent: Path,
    after: Option<Element<'static>>,
    /// Some of them, the next one last.
    ready: Vec<(String, distkv_store::chain::Version)>,
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
    let mut message = session.reply(request, out);
    match entry {
        Some(entry) => write_entry(&mut message, &entry, length),
        None => {
            message.uint("tock", session.tock());
            if length > 0 {
                message.nil("chain");
            }
        }
    }
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
    write_committed(&mut message, &committed, true, length, tock);
    Ok(())
}

fn write_method(
    view: &View,
    path: PathRef<'_>,
    value: Option<Value>,
) -> Result<Committed, distkv_store::view::WriteError> {
    let terms = Terms { conditions: &[], idempotent: false };
    view.write(Write { path, value, meta: Meta::default(), terms }, None)
}

/// `test_acl`: what an access list says about a path.
pub(super) fn test_acl(session: &mut Session, request: &Request<'_>, out: &mut Out) -> Result<(), Failure> {
    session.at(request, Home::Data, |session, path| {
        let answer = super::acl::ask(session.view()?, &session.face.store, &request.fields, path)?;
        let tock = session.tock();
        let mut message = session.reply(request, out);
        match answer {
            super::acl::Answer::Yes => message.bool("access", true),
            super::acl::Answer::No => message.bool("access", false),
            super::acl::Answer::Rights(letters) => message.str("access", &letters),
        };
        message.uint("tock", tock);
        Ok(())
    })
}
