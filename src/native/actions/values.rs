//! Single values: read, written, deleted; several written at once.

use std::task::{Context, Poll};

use distkv_store::meta::Meta;
use distkv_store::path::{Element, Path, PathBuilder, PathRef};
use distkv_store::tree::Entry;
use distkv_store::value::{Packer, Token, Tokens, Value};
use distkv_store::view::{
    BATCH_WRITES_MAX, BatchError, Committed, Condition, Finder, Found, Terms, View, Write,
};
use smallvec::SmallVec;

use super::super::failure::Failure;
use super::super::session::{Home, Out, Request, Session};
use super::super::stream::{Next, Source};
use super::super::wire::{Fault, Fields, PathForm, Writer};

/// Names of internal data which stand for kinds, and hold no data of their own.
const KINDS: &[&str] = &["type", "match", "acl", "codec", "conv"];

/// How many links of the chain a reply to a write has, if nothing is said.
pub(super) const WRITE_CHAIN: usize = 1;

/// `get_value`, `get_internal`: by path, or by the event that made the value.
pub(super) fn get(
    session: &mut Session,
    request: &Request<'_>,
    home: Home,
    out: &mut Out,
) -> Result<(), Failure> {
    let length = request.fields.chain_length(0)?;
    if request.fields.has("node") {
        return get_event(session, request, length);
    }
    session.at(request, home, |session, path| {
        let entry = session.view()?.entry(path)?;
        reply_with_entry(session, request, entry.as_deref(), length, out);
        Ok(())
    })
}

/// Replies with an entry, or that there is none.
pub(super) fn reply_with_entry(
    session: &Session,
    request: &Request<'_>,
    entry: Option<&Entry>,
    length: usize,
    out: &mut Out,
) {
    let mut message = session.reply(request, out);
    match entry {
        Some(entry) => write_entry(&mut message, entry, length),
        None => write_nothing(&mut message, session.tock(), length),
    }
}

/// Says that there is no entry.
fn write_nothing(message: &mut Writer<'_>, tock: u64, length: usize) {
    message.uint("tock", tock);
    if length > 0 {
        message.nil("chain");
    }
}

/// The value that a node's event of that number has made. Looking for it takes a while where there are many entries.
fn get_event(session: &mut Session, request: &Request<'_>, length: usize) -> Result<(), Failure> {
    let node = request.fields.needed_text("node")?;
    let tick = request.fields.uint("tick")?.ok_or(Fault::Missing("tick"))?;
    let nothing = format!("no entry has the event {node}:{tick}: it never was, or was replaced");
    let view = session.view()?.clone();
    let Some(finder) = view.finder(node, tick) else { return Err(Failure::Unknown(nothing)) };
    let search = Search { view, finder, root: session.root.clone(), length, nothing };
    session.answer_later(request, Box::new(search))
}

struct Search {
    view: View,
    finder: Finder,
    root: Path,
    length: usize,
    /// What is said if there is nothing to be found.
    nothing: String,
}

impl Source for Search {
    fn poll_next(&mut self, cx: &mut Context<'_>, message: &mut Writer<'_>) -> Poll<Next> {
        let found = match self.view.find(&mut self.finder) {
            Found::Searching => {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            Found::Here(path, entry) => Some((path, entry)),
            Found::Nowhere => None,
        };
        let shown = found
            .as_ref()
            .and_then(|(path, entry)| Some((path.as_path().below(self.root.as_path())?, entry)));
        let Some((path, entry)) = shown else {
            return Poll::Ready(Next::Failed(Failure::Unknown(std::mem::take(&mut self.nothing))));
        };
        message.path("path", path, PathForm::Ext);
        write_entry(message, entry, self.length);
        Poll::Ready(Next::Message { has_tock: true })
    }
}

/// What is told of an entry: its value, if it has one, its chain, its tock.
pub(super) fn write_entry(message: &mut Writer<'_>, entry: &Entry, length: usize) {
    if let Some(value) = &entry.value {
        message.raw("value", value.as_bytes());
    }
    message.chain(&entry.version, length).uint("tock", entry.version.tock().get());
}

/// What must hold for a write, as a request says it.
pub(super) struct Wanted<'a> {
    prev: Option<Value>,
    /// The version that must be there: `Some(None)` for none.
    pub(super) version: Option<Option<(&'a str, u64)>>,
    idempotent: bool,
}

impl<'a> Wanted<'a> {
    pub(super) fn read(fields: &Fields<'a>) -> Result<Self, Failure> {
        let version = match fields.chain("chain")?.as_deref() {
            None => None,
            Some([]) => Some(None),
            Some([head, ..]) => {
                let tick =
                    head.tick.ok_or(Fault::Type { field: "chain", expected: "a chain with a `tick`" })?;
                Some(Some((head.node, tick)))
            }
        };
        Ok(Self { prev: fields.value("prev")?, version, idempotent: fields.flag("idem") })
    }

    fn conditions(&self) -> SmallVec<[Condition<'_>; 2]> {
        let prev = self.prev.as_ref().map(Condition::Value);
        let version = self.version.map(|version| match version {
            None => Condition::New,
            Some((node, tick)) => Condition::Version { node, tick },
        });
        prev.into_iter().chain(version).collect()
    }

    /// Is the value of before told? Who names it knows it.
    fn tells_previous(&self) -> bool {
        self.prev.is_none() && self.version.is_none()
    }
}

/// `set_value`, `set_internal`.
pub(super) fn set(
    session: &mut Session,
    request: &Request<'_>,
    home: Home,
    out: &mut Out,
) -> Result<(), Failure> {
    if !request.fields.has("value") {
        return Err(Failure::Invalid("`value` is missing: call `delete_value` to clear a value".to_owned()));
    }
    let value = request.fields.value("value")?;
    write(session, request, home, value, out)
}

/// `delete_value`, `delete_internal`.
pub(super) fn delete(
    session: &mut Session,
    request: &Request<'_>,
    home: Home,
    out: &mut Out,
) -> Result<(), Failure> {
    if request.fields.has("value") {
        return Err(Failure::Invalid("a deleted entry can't have a value: call `set_value`".to_owned()));
    }
    write(session, request, home, None, out)
}

fn write(
    session: &mut Session,
    request: &Request<'_>,
    home: Home,
    value: Option<Value>,
    out: &mut Out,
) -> Result<(), Failure> {
    let length = request.fields.chain_length(WRITE_CHAIN)?;
    let wanted = Wanted::read(&request.fields)?;
    session.at(request, home, |session, path| {
        may_hold_data(path)?;
        is_rule(path, value.as_ref())?;
        let conditions = wanted.conditions();
        let terms = Terms { conditions: &conditions, idempotent: wanted.idempotent };
        let write = Write { path, value, meta: Meta::default(), terms };
        let committed = session
            .view()?
            .write(write, None)
            .map_err(|error| Failure::of_write(error, &session.shown(path, home)))?;
        out.keep(committed.lsn);
        let tells_previous = wanted.tells_previous() && committed.entry.is_some();
        let mut message = session.reply(request, out);
        write_committed(&mut message, &committed, tells_previous, length, &|| session.tock());
        Ok(())
    })
}

/// What is told of a write.
pub(super) fn write_committed(
    message: &mut Writer<'_>,
    committed: &Committed,
    tells_previous: bool,
    length: usize,
    tock: &dyn Fn() -> u64,
) {
    let previous = committed.previous_value();
    let changed = match (&committed.entry, previous) {
        (None, _) => false,
        (Some(entry), Some(previous)) => entry.value.as_ref().is_none_or(|value| !value.equals(previous)),
        (Some(_), None) => true,
    };
    message.bool("changed", changed);
    if let Some(previous) = previous.filter(|_| tells_previous) {
        message.raw("prev", previous.as_bytes());
    }
    match committed.now() {
        Some(now) => {
            message.chain(&now.version, length).uint("tock", now.version.tock().get());
        }
        None => write_nothing(message, tock(), length),
    }
}

/// Some places hold no data: null stands at the front of a path only, and what names a kind of internal data is no data itself.
pub(super) fn may_hold_data(path: PathRef<'_>) -> Result<(), Failure> {
    let mut rest = path;
    while let Some((_, below)) = rest.split_first() {
        if below.is_internal() {
            return Err(Failure::Invalid(
                "null stands at the front of a path only, for internal data".to_owned(),
            ));
        }
        rest = below;
    }
    if !path.is_internal() {
        return Ok(());
    }
    let mut elements = path.elements().skip(1);
    let (second, below) = (elements.next(), elements.next());
    let is_kind = match (&second, &below) {
        (None, _) => true,
        (Some(Element::Str(kind)), None) => KINDS.contains(&kind.as_ref()),
        (Some(Element::Str(kind)), Some(_)) => kind == "conv" && path.len() == 3,
        _ => false,
    };
    if is_kind {
        return Err(Failure::Invalid(
            "this entry can't have data: it stands for what lies below it".to_owned(),
        ));
    }
    Ok(())
}

/// An entry of an access list is a string of letters.
fn is_rule(path: PathRef<'_>, value: Option<&Value>) -> Result<(), Failure> {
    let mut elements = path.elements();
    let is_rule = elements.next() == Some(Element::Null) && elements.next() == Some(Element::str("acl"));
    match value {
        Some(value) if is_rule && value.as_str().is_none() => {
            let text = "an entry of an access list is a string of the letters r w c d x e n a";
            Err(Failure::Invalid(text.to_owned()))
        }
        _ => Ok(()),
    }
}

/// `set_many`: a list of writes, each a map as for `set_value` and `delete_value`, in one commit.
pub(super) fn set_many(session: &mut Session, request: &Request<'_>, out: &mut Out) -> Result<(), Failure> {
    let items = items_of(&request.fields)?;
    let length = request.fields.chain_length(WRITE_CHAIN)?;
    let mut paths: Vec<Path> = Vec::with_capacity(items.len());
    let mut wanted = Vec::with_capacity(items.len());
    let mut path = PathBuilder::new();
    for fields in &items {
        session.begin(Home::Data, &mut path)?;
        fields.path_into("path", &mut path)?;
        may_hold_data(path.as_path())?;
        paths.push(path.finish());
        wanted.push(Wanted::read(fields)?);
    }
    let conditions: Vec<_> = wanted.iter().map(Wanted::conditions).collect();
    let mut writes = Vec::with_capacity(items.len());
    for (((fields, path), wanted), conditions) in items.iter().zip(&paths).zip(&wanted).zip(&conditions) {
        let terms = Terms { conditions, idempotent: wanted.idempotent };
        writes.push(Write {
            path: path.as_path(),
            value: fields.value("value")?,
            meta: Meta::default(),
            terms,
        });
    }
    let committed = session.view()?.set_many(writes).map_err(|error| match error {
        BatchError::Write { at, error } => {
            let path =
                paths.get(at).map(|path| session.shown(path.as_path(), Home::Data)).unwrap_or_default();
            Failure::of_write(error, &path)
        }
        error => Failure::Batch(error),
    })?;
    let tock = session.tock();
    committed.iter().for_each(|committed| out.keep(committed.lsn));
    let mut message = session.reply(request, out);
    message.uint("tock", tock);
    let pack = message.key("result");
    let results = pack.0;
    Packer(results).array(committed.len() as u32);
    for (committed, wanted) in committed.iter().zip(&wanted) {
        let tells_previous = wanted.tells_previous() && committed.entry.is_some();
        write_committed(&mut Writer::new(results), committed, tells_previous, length, &|| tock);
    }
    Ok(())
}

/// The writes of a `set_many`.
fn items_of<'a>(fields: &Fields<'a>) -> Result<Vec<Fields<'a>>, Failure> {
    let bad = Fault::Type {
        field: "entries",
        expected: "an array of maps, each with `path` and, unless it deletes, `value`",
    };
    let raw = fields.raw("entries").ok_or(Fault::Missing("entries"))?;
    let mut tokens = Tokens::new(raw);
    let Some(Token::Array(count)) = tokens.next() else { return Err(bad.into()) };
    if count as usize > BATCH_WRITES_MAX {
        let text = format!("a batch has at most {} writes", BATCH_WRITES_MAX);
        return Err(Failure::Limit(text));
    }
    let mut items = Vec::with_capacity(count as usize);
    for _ in 0..count {
        let item = tokens.whole().map_err(Fault::Value)?;
        items.push(Fields::parse(item).map_err(|bad| bad.fault)?);
    }
    Ok(items)
}
