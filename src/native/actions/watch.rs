//! Watches: what changes below a path, as it does; and `stop`, which ends a stream.

use std::task::{Context, Poll};

use distkv_store::feed::WatchEvent;
use distkv_store::path::{Path, PathRef, Pattern};
use distkv_store::ticks::Tock;
use distkv_store::tree::Entry;
use distkv_store::view::{Watch, WatchOptions};

use super::super::failure::Failure;
use super::super::session::{Home, Out, Request, Session};
use super::super::stream::{Next, Source};
use super::super::wire::{Fault, Seq, Writer};
use super::trees::Shape;
use super::values::write_entry;

/// Where programs of the original keep their configuration.
const CONFIGURATION: [&str; 2] = [".distkv", "config"];

/// How many bytes of changes may wait for the reader of one watch.
const WATCH_BYTES: usize = 16 << 20;

/// `watch`. Own addition: with `since`, a tock, it goes on where an earlier watch ended. Its `start` then says `resumed`: true if what
/// follows, up to `uptodate`, is all that has changed since; false if it is all that is there.
pub(super) fn watch(session: &mut Session, request: &Request<'_>) -> Result<(), Failure> {
    let fields = &request.fields;
    let length = fields.chain_length(0)?;
    let (min_depth, max_depth) = (fields.depth("min_depth")?.unwrap_or(0), fields.depth("max_depth")?);
    let since = match fields.uint("since")? {
        None => None,
        Some(number) => {
            let expected = "a tock: a number below 2^62";
            Some(Tock::new(number).ok_or(Fault::Type { field: "since", expected })?)
        }
    };
    let fetch = fields.flag("fetch");
    let events = session.options().watch_events;
    let changes = session.at(request, Home::Data, |session, path| {
        let view = session.view()?;
        let pattern = Pattern::subtree(path).or_else(|_| Pattern::exactly(path))?;
        // Each client of the original watches the configuration, and dies if it may not: it sees nothing, then.
        if !path.starts_with(Path::from_strs(CONFIGURATION)?.as_path()) {
            view.check_list(&pattern)?;
        }
        let options = WatchOptions {
            existing: fetch && since.is_none(),
            since,
            programs: true,
            internal: false,
            events,
            bytes: WATCH_BYTES,
        };
        let watch = view.watch(pattern, options);
        let base_len = path.len();
        let shape = Shape::new(session, path, Home::Data, length);
        let begun = if since.is_some() { Begun::No } else { Begun::Yes };
        let tells_complete = fetch || since.is_some();
        Ok(Changes { watch, shape, base_len, min_depth, max_depth, tells_complete, begun })
    })?;
    session.open_stream(request, Box::new(changes))
}

/// Whether the reader knows how a watch goes on.
enum Begun {
    /// Not before the first event is there.
    No,
    /// That is there, and comes next.
    With(WatchEvent),
    Yes,
}

/// The changes below a path on their way to the client.
struct Changes {
    watch: Watch,
    shape: Shape,
    base_len: usize,
    min_depth: usize,
    max_depth: Option<usize>,
    tells_complete: bool,
    begun: Begun,
}

impl Changes {
    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Option<WatchEvent>> {
        match std::mem::replace(&mut self.begun, Begun::Yes) {
            Begun::With(event) => Poll::Ready(Some(event)),
            Begun::No | Begun::Yes => self.watch.poll_next(cx),
        }
    }

    fn write(&mut self, message: &mut Writer<'_>, path: &Path, entry: &Entry) -> bool {
        let path: PathRef<'_> = path.as_path();
        let depth = path.len().saturating_sub(self.base_len);
        if depth < self.min_depth || self.max_depth.is_some_and(|max| depth > max) {
            return false;
        }
        write_entry(message, entry, self.shape.length);
        self.shape.write_path(message, path);
        true
    }
}

impl Source for Changes {
    fn poll_start(&mut self, cx: &mut Context<'_>, message: &mut Writer<'_>) -> Poll<()> {
        if matches!(self.begun, Begun::No) {
            let Poll::Ready(event) = self.watch.poll_next(cx) else { return Poll::Pending };
            message.bool("resumed", !matches!(event, Some(WatchEvent::TooOld)));
            self.begun = match event {
                None | Some(WatchEvent::TooOld) => Begun::Yes,
                Some(event) => Begun::With(event),
            };
        }
        Poll::Ready(())
    }

    fn poll_next(&mut self, cx: &mut Context<'_>, message: &mut Writer<'_>) -> Poll<Next> {
        loop {
            let next = match self.poll_event(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(None) => Next::Failed(Failure::Closing),
                Poll::Ready(Some(WatchEvent::Lagged)) => Next::Failed(Failure::TooSlow),
                Poll::Ready(Some(WatchEvent::TooOld)) => continue,
                Poll::Ready(Some(WatchEvent::Complete { tock })) => {
                    if !self.tells_complete {
                        continue;
                    }
                    message.str("state", "uptodate").uint("tock", tock.get());
                    Next::Message { has_tock: true }
                }
                Poll::Ready(Some(
                    WatchEvent::Existing { path, entry } | WatchEvent::Changed { path, entry, .. },
                )) => {
                    if !self.write(message, &path, &entry) {
                        continue;
                    }
                    Next::Message { has_tock: true }
                }
            };
            return Poll::Ready(next);
        }
    }
}

/// `stop`: ends a stream of this connection.
pub(super) fn stop(session: &mut Session, request: &Request<'_>, out: &mut Out) -> Result<(), Failure> {
    session.view()?;
    let task = request.fields.raw("task").ok_or(Fault::Missing("task"))?;
    let task = Seq::read(task).ok_or(Fault::Type { field: "task", expected: "the `seq` of a stream" })?;
    let found = session.stop_stream(&task);
    let tock = session.tock();
    session.reply(request, out).bool("result", found).uint("tock", tock);
    Ok(())
}
