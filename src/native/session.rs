//! A session: one client's dialogue with the store. Messages go in one by one; replies and what streams have to say come out. It knows no
//! socket.

use std::net::SocketAddr;
use std::sync::Arc;
use std::task::Context;

use distkv_broker::hooks::Principal;
use distkv_store::path::{Element, Path, PathBuilder, PathRef};
use distkv_store::store::{Lsn, Store};
use distkv_store::view::{View, Who};
use tokio::sync::oneshot;

use super::actions;
use super::failure::Failure;
use super::figures::Figures;
use super::stream::{Source, Streams};
use super::wire::{BadMessage, Fields, FrameError, Frames, Seq, VERSION, Window, Writer};
use super::{Face, Options};
use crate::auth::logins::{LoggedIn, Standing};
use crate::client::exchange::SharedKey;

/// From here on what is on its way out is sent before anything else is done.
const OUT_FULL: usize = 64 << 10;

/// How much memory the buffer for replies keeps.
const OUT_KEPT: usize = 16 << 10;

/// Messages on their way to the client.
#[derive(Debug, Default)]
pub(super) struct Out {
    pub(super) bytes: Vec<u8>,
    /// What was written to the store must be kept up to here before they leave.
    lsn: Lsn,
    /// They tell of what others have written.
    tells: bool,
    closing: bool,
}

impl Out {
    /// Whether it is time to send.
    pub(super) fn is_full(&self) -> bool {
        self.bytes.len() >= OUT_FULL
    }

    /// Whether there is something to send or to end.
    pub(super) fn has_something(&self) -> bool {
        !self.bytes.is_empty() || self.closing
    }

    /// Has the connection closed when all is sent.
    pub(super) fn close(&mut self) {
        self.closing = true;
    }

    pub(super) fn is_closing(&self) -> bool {
        self.closing
    }

    /// The replies promise that everything up to there is kept.
    pub(super) fn keep(&mut self, lsn: Lsn) {
        self.lsn = self.lsn.max(lsn);
    }

    /// The place of the journal that must be settled before the bytes may leave.
    pub(super) fn promise(&self, store: &Store) -> Lsn {
        if self.tells { store.end() } else { self.lsn }
    }

    /// All was sent.
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.shrink_to(OUT_KEPT);
        self.lsn = Lsn::default();
        self.tells = false;
    }

    /// Writes why a request or a stream has failed; `number` is that of a stream's message.
    pub(super) fn failure(&mut self, seq: Option<&Seq>, failure: &Failure, tock: u64, number: Option<u64>) {
        let mut message = Writer::new(&mut self.bytes);
        message.str("error", &failure.to_string()).str("etype", failure.kind()).uint("tock", tock);
        if let Some(seq) = seq {
            message.seq(seq);
        }
        if let Some(number) = number {
            message.uint("wseq", number);
        }
    }
}

/// A request: a message with an action.
#[derive(Debug)]
pub(super) struct Request<'a> {
    pub(super) seq: Seq,
    pub(super) fields: Fields<'a>,
}

/// What has come of something that all further messages wait for.
pub(super) enum Outcome {
    /// A key is agreed on.
    Key(SharedKey),
    /// The client has logged in.
    LoggedIn(LoggedIn),
}

/// Which data an action is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Home {
    /// What users keep, below the connection's root.
    Data,
    /// What the system keeps, below the null element.
    Internal,
}

/// See the module.
pub(super) struct Session {
    pub(super) face: Arc<Face>,
    pub(super) peer: SocketAddr,
    /// What the client sees of the store; `None` until it has logged in.
    view: Option<View>,
    /// As whom it has logged in; `None` also where nobody needs to.
    user: Option<LoggedIn>,
    /// The key for passwords, once it is agreed on.
    key: Option<SharedKey>,
    /// Whether a key exchange was begun.
    exchanged: bool,
    /// What all further messages wait for.
    awaited: Option<oneshot::Receiver<Outcome>>,
    /// The action `root` has made this the whole of the data.
    pub(super) root: Path,
    /// The window that was agreed on; 0: no flow control.
    window: u64,
    greeted: bool,
    streams: Streams,
    /// The client as a sender of messages, once it has sent one.
    sender: Option<Arc<dyn Principal>>,
    /// Paths are built here: no allocation per request.
    path: PathBuilder,
}

impl Session {
    pub(super) fn new(face: Arc<Face>, peer: SocketAddr) -> Self {
        let view = (!face.logins.are_on()).then(|| face.store.view(Who::system()));
        Self {
            face,
            peer,
            view,
            user: None,
            key: None,
            exchanged: false,
            awaited: None,
            root: Path::root(),
            window: 0,
            greeted: false,
            streams: Streams::default(),
            sender: None,
            path: PathBuilder::new(),
        }
    }

    /// Says what this server is. (The server speaks first.)
    pub(super) fn greet(&mut self, out: &mut Out) {
        let tick = self.face.store.last_tick().0;
        let tock = self.tock();
        let mut message = Writer::new(&mut out.bytes);
        message.uint("seq", 0).str("node", &self.face.node).uint("tock", tock);
        message.uint("qlen", self.face.options.window);
        let mut version = message.key("version");
        version.array(VERSION.len() as u32);
        VERSION.iter().for_each(|&number| version.uint(number));
        match tick {
            0 => message.nil("tick"),
            tick => message.uint("tick", tick),
        };
        let methods = self.methods();
        if !methods.is_empty() {
            let mut pack = message.key("auth");
            pack.array(methods.len() as u32);
            for method in methods {
                match method {
                    Some(method) => pack.str(&method),
                    None => pack.nil(),
                }
            }
        }
        let open = !self.face.logins.are_on() && !self.face.options.allow_anonymous;
        if open && !self.peer.ip().to_canonical().is_loopback() {
            self.refuse(None, &Failure::NobodyFromElsewhere, out);
        }
    }

    /// The method by which users log in, if that is needed; then the others which have users. Empty if there are none at all.
    fn methods(&self) -> Vec<Option<Arc<str>>> {
        let access = self.face.store.access();
        let current = access.method(&Path::root());
        let mut all = vec![current.clone()];
        for user in access.users().iter().filter(|user| user.realm.is_root()) {
            let method = Some(Arc::clone(&user.method));
            if !all.contains(&method) {
                all.push(method);
            }
        }
        if all == [None] { Vec::new() } else { all }
    }

    /// Users or access lists have changed: is the client still who it was?
    pub(super) fn recheck(&mut self, out: &mut Out) {
        let logins = &self.face.logins;
        match &self.user {
            Some(user) if logins.standing(user) != Standing::Fine => {
                self.refuse(None, &Failure::UserChanged, out);
            }
            None if self.view.is_some() && logins.are_on() => {
                // Until now nobody needed to log in.
                self.view = None;
                self.streams.fail_all();
            }
            _ => {}
        }
    }

    /// Whether the client has logged in.
    pub(super) fn is_admitted(&self) -> bool {
        self.view.is_some()
    }

    /// Whether something is under way that all further messages must wait for.
    pub(super) fn is_busy(&self) -> bool {
        self.awaited.is_some()
    }

    /// Takes the message that `bytes` begins with, if it is all there, and answers its length.
    ///
    /// # Errors
    /// No message can be found any more.
    pub(super) fn take_first(
        &mut self,
        bytes: &[u8],
        frames: &mut Frames,
        out: &mut Out,
    ) -> Result<Option<usize>, FrameError> {
        if let Some((fields, len)) = Fields::first(bytes, frames) {
            self.take(fields, out);
            return Ok(Some(len));
        }
        let len = frames.next(bytes)?;
        if let Some(message) = len.and_then(|len| bytes.get(..len)) {
            self.handle(message, out);
        }
        Ok(len)
    }

    /// Takes one message.
    fn handle(&mut self, message: &[u8], out: &mut Out) {
        match Fields::parse(message) {
            Err(BadMessage { seq, fault }) => self.refuse(seq.as_ref(), &fault.into(), out),
            Ok(fields) => self.take(fields, out),
        }
    }

    /// Takes the fields of one message.
    fn take(&mut self, fields: Fields<'_>, out: &mut Out) {
        match fields.seq() {
            None => self.refuse(None, &Failure::NoSeq, out),
            Some(seq) if seq.is_zero() => {
                if let Err(failure) = self.hello(&fields) {
                    self.refuse(None, &failure, out);
                }
            }
            Some(seq) => {
                Figures::count(&self.face.figures.requests);
                let start = out.bytes.len();
                let request = Request { seq, fields };
                if let Err(failure) = self.answer(&request, out) {
                    out.bytes.truncate(start);
                    self.refuse(Some(&request.seq), &failure, out);
                }
            }
        }
    }

    /// The client's answer to the greeting: how large windows are.
    fn hello(&mut self, fields: &Fields<'_>) -> Result<(), Failure> {
        if std::mem::replace(&mut self.greeted, true) {
            return Err(Failure::SecondHello);
        }
        if let Some(window) = fields.uint("qlen")? {
            let window = window.min(self.options().window);
            self.window = Window::new(window).map(|_| window).ok_or(Failure::TinyWindow)?;
        }
        Ok(())
    }

    fn answer(&mut self, request: &Request<'_>, out: &mut Out) -> Result<(), Failure> {
        let fields = &request.fields;
        let state = fields.text("state")?;
        if state == Some("ack") {
            // One for a stream that is over is late, which is no fault.
            self.streams.read_to(&request.seq, fields.uint("ack")?.unwrap_or(0));
            return Ok(());
        }
        if self.streams.has(&request.seq) {
            return match state {
                // The client has said everything. (It ends a stream with `stop`.)
                Some("end") => Ok(()),
                _ => self.streams.tell(&request.seq, fields),
            };
        }
        let Some(action) = fields.text("action")? else {
            return match state {
                Some("end") => Ok(()),
                _ => Err(Failure::NoAction),
            };
        };
        actions::run(self, action, state.is_some(), request, out)
    }

    /// Writes why something has failed.
    pub(super) fn refuse(&self, seq: Option<&Seq>, failure: &Failure, out: &mut Out) {
        Figures::count(&self.face.figures.failed);
        out.failure(seq, failure, self.tock(), None);
        if failure.ends_connection() {
            out.close();
        }
    }

    /// Lets streams write what they have, until `out` is full; `cx` is woken when there is more.
    pub(super) fn pump(&mut self, cx: &mut Context<'_>, out: &mut Out) {
        if self.streams.len() == 0 || out.is_closing() {
            self.take_outcome();
            return;
        }
        let before = out.bytes.len();
        let store = &self.face.store;
        self.streams.pump(cx, out, &|| store.tock().get(), &self.face.figures);
        out.tells |= out.bytes.len() > before;
        self.take_outcome();
    }
}

// For logins.
impl Session {
    fn take_outcome(&mut self) {
        let Some(awaited) = &mut self.awaited else { return };
        match awaited.try_recv() {
            Err(oneshot::error::TryRecvError::Empty) => return,
            // It has failed, which the reply says.
            Err(oneshot::error::TryRecvError::Closed) => {}
            Ok(Outcome::Key(key)) => self.key = Some(key),
            Ok(Outcome::LoggedIn(user)) => {
                self.view = Some(self.face.store.view(user.who()));
                self.user = Some(user);
                self.sender = None;
            }
        }
        self.awaited = None;
    }

    /// From now on messages wait for the outcome of a login.
    pub(super) fn begin_login(&mut self) -> oneshot::Sender<Outcome> {
        let (tell, hear) = oneshot::channel();
        self.awaited = Some(hear);
        tell
    }

    /// From now on messages wait for a key, which is agreed on once.
    pub(super) fn begin_exchange(&mut self) -> Result<oneshot::Sender<Outcome>, Failure> {
        if std::mem::replace(&mut self.exchanged, true) {
            return Err(Failure::Invalid("a key is agreed on once for a connection".to_owned()));
        }
        Ok(self.begin_login())
    }

    /// The key for passwords.
    pub(super) fn key(&self) -> Option<&SharedKey> {
        self.key.as_ref()
    }
}

// For actions.
impl Session {
    pub(super) fn options(&self) -> &Options {
        &self.face.options
    }

    /// What the client sees of the store.
    pub(super) fn view(&self) -> Result<&View, Failure> {
        self.view.as_ref().ok_or(Failure::LoginFirst)
    }

    /// May the client do what concerns the whole server?
    pub(super) fn operator(&self) -> Result<(), Failure> {
        if self.view()?.is_operator() {
            return Ok(());
        }
        Err(Failure::NotAllowed("this needs an admin of the whole server".to_owned()))
    }

    /// The user's name, for the broker.
    pub(super) fn user_name(&self) -> Option<Arc<str>> {
        self.view.as_ref()?.who().name().cloned()
    }

    /// The client as a sender of messages.
    pub(super) fn sender(&mut self) -> Result<Arc<dyn Principal>, Failure> {
        self.view()?;
        if self.sender.is_none() {
            self.sender = self.face.bridge.sender(self.user.as_ref());
        }
        let no_topics = || Failure::NotAllowed("your root is no place of topics".to_owned());
        self.sender.clone().ok_or_else(no_topics)
    }

    /// The tock for a reply that is about no entry.
    pub(super) fn tock(&self) -> u64 {
        self.face.store.tock().get()
    }

    /// Begins the reply to a request.
    pub(super) fn reply<'o>(&self, request: &Request<'_>, out: &'o mut Out) -> Writer<'o> {
        let mut message = Writer::new(&mut out.bytes);
        message.seq(&request.seq);
        message
    }

    /// Does something at the path that a request names, in the data it is about.
    pub(super) fn at<T>(
        &mut self,
        request: &Request<'_>,
        home: Home,
        then: impl FnOnce(&mut Self, PathRef<'_>) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let mut path = std::mem::take(&mut self.path);
        let result = self.fill(request, home, &mut path).and_then(|()| then(self, path.as_path()));
        self.path = path;
        result
    }

    fn fill(&self, request: &Request<'_>, home: Home, path: &mut PathBuilder) -> Result<(), Failure> {
        self.begin(home, path)?;
        request.fields.path_into("path", path)?;
        Ok(())
    }

    /// Lets `path` begin where the data of `home` does.
    pub(super) fn begin(&self, home: Home, path: &mut PathBuilder) -> Result<(), Failure> {
        match home {
            Home::Data => path.restart(self.root.as_path()),
            Home::Internal => {
                path.restart(Path::root().as_path());
                path.push(&Element::Null)?;
            }
        }
        Ok(())
    }

    /// How many elements lie before what a client names, in paths of the store.
    pub(super) fn base_len(&self, home: Home) -> usize {
        match home {
            Home::Data => self.root.len(),
            Home::Internal => 1,
        }
    }

    /// A path as the client knows it.
    pub(super) fn shown(&self, path: PathRef<'_>, home: Home) -> Path {
        path.without(self.base_len(home)).to_path()
    }

    /// Opens a stream as the reply to a request.
    pub(super) fn open_stream(
        &mut self,
        request: &Request<'_>,
        source: Box<dyn Source>,
    ) -> Result<(), Failure> {
        let window = request.fields.uint("qlen")?.unwrap_or(self.window).min(self.options().window);
        let window = Window::new(window).ok_or(Failure::TinyWindow)?;
        self.admit_stream()?;
        self.streams.open(&request.seq, window, source);
        Ok(())
    }

    /// Has a request answered with one message when its source has it.
    pub(super) fn answer_later(
        &mut self,
        request: &Request<'_>,
        source: Box<dyn Source>,
    ) -> Result<(), Failure> {
        self.admit_stream()?;
        self.streams.later(&request.seq, source);
        Ok(())
    }

    fn admit_stream(&self) -> Result<(), Failure> {
        let limit = self.options().streams;
        if self.streams.len() >= limit {
            let text = format!("a connection has at most {limit} streams at a time: end some with `stop`");
            return Err(Failure::Limit(text));
        }
        Figures::count(&self.face.figures.streams);
        Ok(())
    }

    pub(super) fn stop_stream(&mut self, seq: &Seq) -> bool {
        self.streams.stop(seq)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        for _ in 0..self.streams.len() {
            Figures::uncount(&self.face.figures.streams);
        }
    }
}
