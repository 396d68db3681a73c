//! Writes an event log: every change, on the disk as soon as it was made, until it is stopped or another log takes over.
//!
//! [`EventLog`] is what clients' requests go to, [`LogWriter`] the one task that does the work. It follows the store by a watch; when the disk is
//! so slow that this loses its place, the log goes on with what has changed since then, each entry as it is now. So a log may lack
//! a value that was replaced at once, but no entry's last one.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::time::Duration;

use distkv_store::store::{Store, WatchEvent};
use distkv_store::ticks::Tock;
use distkv_store::view::{View, Watch, Who};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::folder::{Folder, FolderError};
use super::record::{self, Recorder};
use super::save::{everything, since, survey};
use super::sink::Sink;

/// How many requests may wait.
const REQUESTS: usize = 16;

/// How many changes are written at a time.
const BATCH: usize = 1024;

/// After so many changes the state is written again; in a large store later, as it takes a look at all entries.
const STATE_EVENTS: u64 = 1000;
const STATE_SHARE: u64 = 100;

/// After so long as well, if anything has changed.
const STATE_PERIOD: Duration = Duration::from_secs(60);

/// Why there is no log.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The file can't be written.
    #[error(transparent)]
    File(#[from] FolderError),
    /// The store changed faster than the disk takes it, or was closed.
    #[error("the data changes faster than it can be written: try again later")]
    TooFast,
    /// The server is about to stop.
    #[error("the server is stopping")]
    Stopping,
}

/// Figures of the logs of a server.
#[derive(Debug, Default)]
pub struct LogFigures {
    /// How many changes were written.
    pub changes: AtomicU64,
    /// How many bytes.
    pub bytes: AtomicU64,
    /// How often a log has lost its place and gone on with what had changed.
    pub skipped: AtomicU64,
    /// How many logs have ended since they could not be written.
    pub failed: AtomicU64,
}

/// Starts and stops the log. Clones are the same one.
#[derive(Clone, Debug)]
pub struct EventLog {
    requests: mpsc::Sender<Request>,
    figures: Arc<LogFigures>,
}

/// The task that writes. It ends when no [`EventLog`] is left, or its log has come to its end in order.
pub struct LogWriter {
    store: Store,
    folder: Folder,
    requests: mpsc::Receiver<Request>,
    figures: Arc<LogFigures>,
}

#[derive(Debug)]
enum Request {
    Start { name: String, fetch: bool, reply: oneshot::Sender<Result<(), LogError>> },
    Stop { reply: oneshot::Sender<Result<bool, LogError>> },
}

impl EventLog {
    /// A log of `store` into files in `folder`. The writer must be run.
    pub fn new(store: Store, folder: Folder) -> (Self, LogWriter) {
        let (sender, requests) = mpsc::channel(REQUESTS);
        let figures = Arc::<LogFigures>::default();
        let log = Self { requests: sender, figures: Arc::clone(&figures) };
        (log, LogWriter { store, folder, requests, figures })
    }

    /// Begins a log in the file `name`, in the place of one that had that name; with all there is at its beginning, if that is to be
    /// fetched. When this is done the new log is on the disk, follows all changes from then on, and the one before has ended.
    pub async fn start(&self, name: &str, fetch: bool) -> Result<(), LogError> {
        let (reply, answer) = oneshot::channel();
        self.ask(Request::Start { name: name.to_owned(), fetch, reply }, answer).await?
    }

    /// Ends the log, with all that has happened before on the disk. Answers whether there was one.
    pub async fn stop(&self) -> Result<bool, LogError> {
        let (reply, answer) = oneshot::channel();
        self.ask(Request::Stop { reply }, answer).await?
    }

    /// Figures for metrics.
    pub fn figures(&self) -> &LogFigures {
        &self.figures
    }

    async fn ask<T>(&self, request: Request, answer: oneshot::Receiver<T>) -> Result<T, LogError> {
        self.requests.send(request).await.map_err(|_| LogError::Stopping)?;
        answer.await.map_err(|_| LogError::Stopping)
    }
}

/// A log under way.
struct Open {
    store: Store,
    view: View,
    watch: Watch,
    sink: Sink,
    recorder: Recorder,
    period: Interval,
    /// Everything up to here was written.
    tock: Tock,
    /// All that is there is told, and has not been told to the end.
    whole: bool,
    /// Changes since the state was written last.
    unstated: u64,
}

/// What there is to do.
enum Next {
    Request(Option<Request>),
    Events(Vec<WatchEvent>),
    State,
}

impl LogWriter {
    /// Does the work.
    pub async fn run(mut self) {
        let mut open: Option<Open> = None;
        loop {
            let next = match &mut open {
                None => Next::Request(self.requests.recv().await),
                Some(open) => open.next(&mut self.requests).await,
            };
            let done = match next {
                Next::Request(None) => {
                    let _ended = self.end(&mut open).await;
                    return;
                }
                Next::Request(Some(Request::Stop { reply })) => {
                    // Whoever has asked may have gone.
                    let _ = reply.send(self.end(&mut open).await);
                    Ok(())
                }
                Next::Request(Some(Request::Start { name, fetch, reply })) => {
                    let begun = self.begin(&mut open, &name, fetch).await;
                    let _ = reply.send(begun);
                    Ok(())
                }
                Next::Events(events) => self.write(&mut open, events).await,
                Next::State => match &mut open {
                    Some(open) => open.state().await,
                    None => Ok(()),
                },
            };
            if let Err(error) = done {
                tracing::error!("the event log ends: {error}");
                self.figures.failed.fetch_add(1, Ordering::Relaxed);
                open = None;
            }
        }
    }

    async fn begin(&self, open: &mut Option<Open>, name: &str, fetch: bool) -> Result<(), LogError> {
        let new = Open::begin(&self.store, &self.folder, name, fetch).await?;
        if let Err(error) = self.end(open).await {
            tracing::error!("the event log before could not be ended: {error}");
        }
        tracing::info!("an event log is written to '{name}'");
        *open = Some(new);
        Ok(())
    }

    /// Ends a log with all that has happened.
    async fn end(&self, open: &mut Option<Open>) -> Result<bool, LogError> {
        let Some(mut old) = open.take() else { return Ok(false) };
        let mut events = Vec::new();
        loop {
            let event = poll_fn(|cx| Poll::Ready(old.watch.poll_next(cx))).await;
            match event {
                Poll::Ready(Some(event)) => events.push(event),
                Poll::Ready(None) | Poll::Pending => break,
            }
        }
        *open = Some(old);
        let ended = self.write(open, events).await;
        if let Some(mut old) = open.take()
            && ended.is_ok()
        {
            old.state().await?;
            tracing::info!("the event log has ended");
        }
        ended.map(|()| true)
    }

    async fn write(&self, open: &mut Option<Open>, events: Vec<WatchEvent>) -> Result<(), LogError> {
        let Some(open) = open else { return Ok(()) };
        let before = open.sink.bytes;
        let changes = open.write(events, &self.figures).await?;
        self.figures.changes.fetch_add(changes, Ordering::Relaxed);
        self.figures.bytes.fetch_add(open.sink.bytes - before, Ordering::Relaxed);
        Ok(())
    }
}

impl Open {
    async fn begin(store: &Store, folder: &Folder, name: &str, fetch: bool) -> Result<Self, LogError> {
        let sink = Sink::create(folder, name).await?;
        let view = store.view(Who::system());
        let tock = store.tock();
        let watch = everything(&view, true, fetch);
        let mut period = interval(STATE_PERIOD);
        period.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // The first one is over at once.
        period.tick().await;
        let store = store.clone();
        let recorder = Recorder::default();
        let mut open = Self { store, view, watch, sink, recorder, period, tock, whole: fetch, unstated: 0 };
        open.put_state().await;
        while open.whole {
            match poll_fn(|cx| open.watch.poll_next(cx)).await {
                Some(WatchEvent::Lagged | WatchEvent::TooOld) | None => return Err(LogError::TooFast),
                Some(event) => {
                    open.put(&event);
                }
            }
            open.sink.relieve().await?;
        }
        open.sink.publish().await?;
        Ok(open)
    }

    async fn next(&mut self, requests: &mut mpsc::Receiver<Request>) -> Next {
        let state_due = self.unstated >= STATE_EVENTS.max(self.store.counts().values / STATE_SHARE);
        if state_due {
            return Next::State;
        }
        let (watch, period) = (&mut self.watch, &mut self.period);
        let changed = self.unstated > 0;
        poll_fn(|cx| {
            if let Poll::Ready(request) = requests.poll_recv(cx) {
                return Poll::Ready(Next::Request(request));
            }
            let mut events = Vec::new();
            while events.len() < BATCH
                && let Poll::Ready(Some(event)) = watch.poll_next(cx)
            {
                events.push(event);
            }
            if !events.is_empty() {
                return Poll::Ready(Next::Events(events));
            }
            match period.poll_tick(cx) {
                Poll::Ready(_) if changed => Poll::Ready(Next::State),
                Poll::Ready(_) => {
                    // Asked again, it wakes this task in its time.
                    let _pending = period.poll_tick(cx);
                    Poll::Pending
                }
                Poll::Pending => Poll::Pending,
            }
        })
        .await
    }

    /// Puts what has happened on the disk; answers how many changes that were.
    async fn write(&mut self, events: Vec<WatchEvent>, figures: &LogFigures) -> Result<u64, LogError> {
        let mut changes = 0;
        for event in events {
            if event == WatchEvent::Lagged {
                figures.skipped.fetch_add(1, Ordering::Relaxed);
                self.watch = since(&self.view, self.tock);
                self.whole = false;
                continue;
            }
            changes += u64::from(self.put(&event));
        }
        self.sink.sync().await?;
        self.unstated += changes;
        Ok(changes)
    }

    /// Notes an event; answers whether it was a change.
    fn put(&mut self, event: &WatchEvent) -> bool {
        let out = &mut self.sink.out;
        let entry = match event {
            WatchEvent::Existing { path, entry } => {
                self.recorder.entry(out, path.as_path(), entry);
                return true;
            }
            WatchEvent::Changed { path, entry, .. } => {
                self.recorder.change(out, path.as_path(), entry);
                entry
            }
            WatchEvent::Complete { tock } => {
                self.tock = self.tock.max(*tock);
                self.whole = false;
                return false;
            }
            WatchEvent::TooOld => {
                self.whole = true;
                return false;
            }
            WatchEvent::Lagged => return false,
        };
        if !self.whole {
            self.tock = self.tock.max(entry.version.tock());
        }
        true
    }

    async fn state(&mut self) -> Result<(), LogError> {
        self.put_state().await;
        self.sink.sync().await?;
        Ok(())
    }

    async fn put_state(&mut self) {
        let states = survey(&self.view).await;
        record::state(&mut self.sink.out, &states, self.store.node(), self.store.tock());
        self.unstated = 0;
    }
}
