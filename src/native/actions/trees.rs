//! Many entries at once: lists of children, trees, the deletion of a tree; and `root`, which makes a subtree the whole.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll};

use distkv_store::access::Right;
use distkv_store::meta::Meta;
use distkv_store::path::{Element, Path, PathRef, Pattern};
use distkv_store::tree::{Entry, Progress};
use distkv_store::value::Packer;
use distkv_store::view::{Child, Cursor, Step, View, Walk, WalkOptions};

use super::super::failure::Failure;
use super::super::session::{Home, Out, Request, Session};
use super::super::stream::{Next, Source};
use super::super::wire::{PathForm, Shortener, Writer};
use super::values::write_entry;

/// How many entries, and bytes of them, are fetched at a time.
const SLICE: usize = 256;
const SLICE_BYTES: usize = 128 << 10;

/// How many children are listed at a time.
const CHILDREN: usize = 1024;

/// The longest list of children that is sent as one message.
const LIST_BYTES: usize = 16 << 20;

/// `enum`, `enumerate`, `enum_internal`: the names right below a path, or a map from them to their values. Own addition: with `living`,
/// `empty` leaves out names which have nothing but deleted entries.
pub(super) fn enumerate(
    session: &mut Session,
    request: &Request<'_>,
    home: Home,
    out: &mut Out,
) -> Result<(), Failure> {
    let (with_data, empty) = (request.fields.flag("with_data"), request.fields.flag("empty"));
    let living = request.fields.flag("living");
    session.at(request, home, |session, path| {
        let view = session.view()?;
        let mut list = Vec::new();
        let mut count = 0;
        let mut after: Option<Element<'static>> = None;
        loop {
            let (children, next) = view.children(path, after.as_ref(), CHILDREN)?;
            for child in &children {
                let hidden = path.is_root() && child.name == Element::Null;
                let value = child.value();
                // Whoever may not read a value gets the name alone.
                let shown = if with_data { value.is_some() } else { child.has_value };
                if hidden || (!shown && (!empty || (living && !lives(view, child)))) {
                    continue;
                }
                count += 1;
                let mut pack = Packer(&mut list);
                pack.element(&child.name);
                match value.filter(|_| with_data) {
                    Some(value) => pack.raw(value.as_bytes()),
                    None if with_data => pack.nil(),
                    None => {}
                }
                if list.len() > LIST_BYTES {
                    let text = "there is too much right below this path for one reply: use `get_tree`";
                    return Err(Failure::Limit(text.to_owned()));
                }
            }
            after = next;
            if after.is_none() {
                break;
            }
        }
        if count == 0 && !is_there(view, path, session.base_len(home)) {
            return Err(Failure::NotFound(session.shown(path, home)));
        }
        let mut message = session.reply(request, out);
        message.uint("tock", session.tock());
        let mut pack = message.key("result");
        if with_data {
            pack.map(count);
        } else {
            pack.array(count);
        }
        pack.raw(&list);
        Ok(())
    })
}

/// Whether an entry below a child has a value. After a long search among deleted ones it counts as such.
fn lives(view: &View, child: &Child) -> bool {
    let options = WalkOptions { min_depth: 0, max_depth: None, empty: false };
    let Ok(mut walk) = view.walk(child.path.as_path(), options) else { return false };
    let mut found = false;
    let progress = view.walk_on(&mut walk, 1, 1, &mut |_, _| {
        found = true;
        Step::On
    });
    found || progress == Progress::More
}

/// Whether there is anything at `path` or below. What the client calls the whole is always there.
fn is_there(view: &View, path: PathRef<'_>, base_len: usize) -> bool {
    path.len() <= base_len || view.exists(path)
}

/// How paths in the replies of a stream are written, and what with them.
pub(super) struct Shape {
    /// The path that was asked for, in the store.
    pub(super) base: Path,
    /// That path as the client knows it.
    pub(super) shown: Path,
    pub(super) shortener: Shortener,
    /// How many links of chains are told.
    pub(super) length: usize,
    /// Whether paths that nothing was cut off from are extensions.
    from_root: bool,
}

impl Shape {
    pub(super) fn new(session: &Session, path: PathRef<'_>, home: Home, length: usize) -> Self {
        let shown = session.shown(path, home);
        let from_root = home == Home::Data && shown.is_root();
        Self { base: path.to_path(), shown, shortener: Shortener::default(), length, from_root }
    }

    /// Writes where an entry is: shortened, relative to what was asked for.
    pub(super) fn write_path(&mut self, message: &mut Writer<'_>, path: PathRef<'_>) {
        let relative = path.below(self.base.as_path()).unwrap_or(path);
        let (depth, rest) = self.shortener.shorten(relative);
        let form = if depth == 0 && self.from_root { PathForm::Ext } else { PathForm::Array };
        message.path("path", rest, form).uint("depth", depth as u64);
    }
}

/// `get_tree`, `get_tree_internal`.
pub(super) fn get(session: &mut Session, request: &Request<'_>, home: Home) -> Result<(), Failure> {
    let fields = &request.fields;
    let length = fields.chain_length(0)?;
    let options = WalkOptions {
        min_depth: fields.depth("min_depth")?.unwrap_or(0),
        max_depth: fields.depth("max_depth")?,
        empty: fields.flag("empty"),
    };
    let tree = session.at(request, home, |session, path| {
        let view = session.view()?.clone();
        let missing = !is_there(&view, path, session.base_len(home));
        let shape = Shape::new(session, path, home, length);
        Ok(Tree { walk: view.walk(path, options)?, view, ready: VecDeque::new(), shape, missing })
    })?;
    session.open_stream(request, Box::new(tree))
}

/// A tree on its way to the client: it holds a place in the store and a handful of entries.
struct Tree {
    view: View,
    walk: Walk,
    ready: VecDeque<(Path, Option<Arc<Entry>>)>,
    shape: Shape,
    /// There is nothing there.
    missing: bool,
}

impl Source for Tree {
    fn poll_next(&mut self, cx: &mut Context<'_>, message: &mut Writer<'_>) -> Poll<Next> {
        if std::mem::take(&mut self.missing) {
            return Poll::Ready(Next::Failed(Failure::NotFound(self.shape.shown.clone())));
        }
        let Self { view, walk, ready, .. } = self;
        if ready.is_empty() && !walk.is_done() {
            view.walk_on(walk, SLICE, SLICE_BYTES, &mut |path, entry| {
                ready.push_back((path.to_path(), entry.cloned()));
                Step::On
            });
        }
        let Some((path, entry)) = ready.pop_front() else {
            if walk.is_done() {
                return Poll::Ready(Next::End);
            }
            // Nothing so far: others have their turn.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        };
        if let Some(entry) = &entry {
            write_entry(message, entry, self.shape.length);
        }
        self.shape.write_path(message, path.as_path());
        Poll::Ready(Next::Message { has_tock: entry.is_some() })
    }
}

/// `root`: from now on the data is what lies at and below this path. There is no way back.
pub(super) fn root(session: &mut Session, request: &Request<'_>, out: &mut Out) -> Result<(), Failure> {
    /// As many links of the chain as are told if nothing is said.
    const ROOT_CHAIN: usize = 2;
    let length = request.fields.chain_length(ROOT_CHAIN)?;
    let (root, entry) = session.at(request, Home::Data, |session, path| {
        no_internal(path)?;
        let view = session.view()?;
        view.check(path, Right::Pass)?;
        let entry = if view.may(path, Right::Read) { view.entry(path)? } else { None };
        Ok((path.to_path(), entry))
    })?;
    session.root = root;
    let mut message = session.reply(request, out);
    message.path("path", Path::root().as_path(), PathForm::Array);
    match entry {
        Some(entry) => write_entry(&mut message, &entry, length),
        None => {
            message.uint("tock", session.tock());
        }
    }
    Ok(())
}

fn no_internal(path: PathRef<'_>) -> Result<(), Failure> {
    if path.is_internal() {
        return Err(Failure::Invalid("this can't be done with internal data as a whole".to_owned()));
    }
    Ok(())
}

/// `delete_tree`: with a chain wanted, a stream of all that was deleted; else how much it was.
pub(super) fn delete(session: &mut Session, request: &Request<'_>) -> Result<(), Failure> {
    let length = request.fields.chain_length(0)?;
    let deletion = session.at(request, Home::Data, |session, path| {
        if path.len() == session.base_len(Home::Data) {
            return Err(Failure::Invalid(
                "the root can't be deleted: delete what is below it, one by one".to_owned(),
            ));
        }
        let view = session.view()?.clone();
        let pattern = Pattern::subtree(path).or_else(|_| Pattern::exactly(path))?;
        let shape = Shape::new(session, path, Home::Data, length);
        Ok(Deletion {
            cursor: view.cursor(pattern),
            view,
            done: false,
            ready: VecDeque::new(),
            shape,
            count: 0,
        })
    })?;
    if length == 0 {
        session.answer_later(request, Box::new(Counted(deletion)))
    } else {
        session.open_stream(request, Box::new(deletion))
    }
}

/// The deletion of a tree, some entries at a time.
struct Deletion {
    view: View,
    cursor: Cursor,
    done: bool,
    /// What was deleted and not told yet.
    ready: VecDeque<(Path, Gone)>,
    shape: Shape,
    count: u64,
}

/// A deleted entry: its tombstone, and what it was.
type Gone = (Arc<Entry>, Option<Arc<Entry>>);

impl Deletion {
    /// Deletes some more, unless some are still to be told.
    fn advance(&mut self) -> Result<(), Failure> {
        if self.done || !self.ready.is_empty() {
            return Ok(());
        }
        let Self { view, cursor, ready, count, .. } = self;
        let progress = view
            .delete_some(cursor, Meta::default(), &mut |path, committed| {
                *count += 1;
                if let Some(entry) = &committed.entry {
                    ready.push_back((path.to_path(), (Arc::clone(entry), committed.previous.clone())));
                }
            })
            .map_err(Failure::Write)?;
        self.done = progress == Progress::Done;
        Ok(())
    }
}

impl Source for Deletion {
    fn poll_next(&mut self, cx: &mut Context<'_>, message: &mut Writer<'_>) -> Poll<Next> {
        if let Err(failure) = self.advance() {
            return Poll::Ready(Next::Failed(failure));
        }
        let Some((path, (entry, previous))) = self.ready.pop_front() else {
            if self.done {
                return Poll::Ready(Next::End);
            }
            cx.waker().wake_by_ref();
            return Poll::Pending;
        };
        message.flat_chain(&entry.version, self.shape.length);
        self.shape.write_path(message, path.as_path());
        if let Some(value) = previous.as_ref().and_then(|previous| previous.value.as_ref()) {
            message.raw("old_value", value.as_bytes());
        }
        message.uint("tock", entry.version.tock().get());
        Poll::Ready(Next::Message { has_tock: true })
    }
}

/// A deletion of which only the number of entries is told.
struct Counted(Deletion);

impl Source for Counted {
    fn poll_next(&mut self, cx: &mut Context<'_>, message: &mut Writer<'_>) -> Poll<Next> {
        if let Err(failure) = self.0.advance() {
            return Poll::Ready(Next::Failed(failure));
        }
        self.0.ready.clear();
        if !self.0.done {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        message.uint("changed", self.0.count);
        Poll::Ready(Next::Message { has_tock: false })
    }
}
