//! Client id -> client: its session, its outbox, and the one seat for a connection.
//!
//! A connection must hold the client's [`Seat`]. A second one with the same id asks the first to leave and waits until it
//! has handed over; so there are never two at once. The newest always wins.

mod client;
mod counts;
pub(crate) mod expiry;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use dashmap::DashMap;
use foldhash::fast::RandomState;
use parking_lot::Mutex;
use tokio::sync::Notify;

pub(crate) use client::{Client, Estate, Verdict};

use crate::broker::Core;
use crate::metrics::Metrics;
use crate::outbox::Close;

/// All clients that have a connection or a session.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    clients: DashMap<Arc<str>, Arc<Client>, RandomState>,
}

/// Who may serve a client.
#[derive(Debug, Default)]
pub(crate) struct Chair {
    state: Mutex<ChairState>,
    freed: Notify,
}

#[derive(Debug, Default)]
struct ChairState {
    taken: bool,
    /// The client has left the registry; who waits must look it up again.
    gone: bool,
    /// The number of the newest connection that asked for the seat.
    newest: u64,
}

/// Why a connection got no seat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoSeat {
    /// An even newer connection of the client came.
    Overtaken,
    /// The previous connection did not leave in time.
    Timeout,
    /// The client is unknown and there is no room for another session.
    Full,
}

/// The right to be a client's connection.
pub(crate) struct Seat {
    pub(crate) client: Arc<Client>,
    left: bool,
}

impl fmt::Debug for Seat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Seat").field("client", &self.client.id).finish_non_exhaustive()
    }
}

impl Registry {
    /// Takes the seat of a client, who is made if unknown. A connection that sits there is told to leave.
    pub(crate) async fn sit(
        &self,
        id: &Arc<str>,
        wait: Duration,
        core: &Core,
        make: impl Fn() -> Option<Arc<Client>>,
    ) -> Result<Seat, NoSeat> {
        tokio::time::timeout(wait, async {
            loop {
                let client = self.get_or_make(id, core, &make).ok_or(NoSeat::Full)?;
                if let Some(seated) = client.chair.sit(&client, Close::TakenOver, &core.metrics).await {
                    return seated;
                }
            }
        })
        .await
        .unwrap_or(Err(NoSeat::Timeout))
    }

    /// Takes the seat of a client to end its session. A connection that sits there is told to leave. `None`: the client is gone
    /// already.
    pub(crate) async fn unseat(
        &self,
        client: &Arc<Client>,
        wait: Duration,
        core: &Core,
    ) -> Option<Result<Seat, NoSeat>> {
        let seated = client.chair.sit(client, Close::Administrative, &core.metrics);
        tokio::time::timeout(wait, seated).await.unwrap_or(Some(Err(NoSeat::Timeout)))
    }

    /// Adds a client that was restored.
    pub(crate) fn insert(&self, client: Arc<Client>) {
        self.clients.insert(Arc::clone(&client.id), client);
    }

    /// The client of that id.
    pub(crate) fn get(&self, id: &str) -> Option<Arc<Client>> {
        self.clients.get(id).map(|entry| Arc::clone(entry.value()))
    }

    /// All clients at this moment. No lock is held afterwards.
    pub(crate) fn all(&self) -> Vec<Arc<Client>> {
        self.clients.iter().map(|entry| Arc::clone(entry.value())).collect()
    }

    /// Takes the seat if nobody sits there.
    pub(crate) fn sit_if_free(client: &Arc<Client>) -> Option<Seat> {
        let mut state = client.chair.state.lock();
        if state.taken || state.gone {
            return None;
        }
        state.taken = true;
        Some(Seat { client: Arc::clone(client), left: false })
    }

    /// Gets up. `keep`: the client has a session that stays.
    pub(crate) fn leave(&self, mut seat: Seat, keep: bool) {
        seat.left = true;
        let client = &seat.client;
        let mut state = client.chair.state.lock();
        state.taken = false;
        if !keep {
            state.gone = true;
            self.clients.remove_if(&client.id, |_, known| Arc::ptr_eq(known, client));
        }
        client.outbox.shut();
        drop(state);
        client.chair.freed.notify_waiters();
    }

    fn get_or_make(
        &self,
        id: &Arc<str>,
        core: &Core,
        make: impl Fn() -> Option<Arc<Client>>,
    ) -> Option<Arc<Client>> {
        if let Some(known) = self.get(id) {
            return Some(known);
        }
        // Made before the shard is locked: making one locks the tree. The loser of a race is thrown away.
        let made = make()?;
        let client =
            Arc::clone(self.clients.entry(Arc::clone(id)).or_insert_with(|| Arc::clone(&made)).value());
        if !Arc::ptr_eq(&client, &made) {
            made.abandon(core);
        }
        Some(client)
    }
}

impl Chair {
    /// Waits for the seat; who sits there is told `reason`. `None`: the client is gone from the registry.
    async fn sit(
        &self,
        client: &Arc<Client>,
        reason: Close,
        metrics: &Metrics,
    ) -> Option<Result<Seat, NoSeat>> {
        let mut ticket = None;
        loop {
            let freed = self.freed.notified();
            {
                let mut state = self.state.lock();
                if state.gone {
                    return None;
                }
                let first = ticket.is_none();
                let mine = *ticket.get_or_insert_with(|| {
                    state.newest += 1;
                    state.newest
                });
                if mine != state.newest {
                    return Some(Err(NoSeat::Overtaken));
                }
                if !state.taken {
                    state.taken = true;
                    return Some(Ok(Seat { client: Arc::clone(client), left: false }));
                }
                if first {
                    // Under the lock, so that it can't hit whoever sits down next.
                    client.outbox.close(reason);
                    match reason {
                        Close::TakenOver => metrics.takeovers.add(1),
                        Close::Administrative => metrics.admin_disconnects.add(1),
                        Close::NotAuthorized | Close::Shutdown | Close::Now => {}
                    }
                }
            }
            // Woken by `leave`; those overtaken meanwhile are woken then, too. Registered before the check above.
            freed.await;
        }
    }
}

impl Chair {
    /// Tells the connection that sits there to end. `false`: there is none. Under the lock, so that it can't hit the next one.
    fn tell(&self, client: &Client, reason: Close) -> bool {
        let state = self.state.lock();
        if state.taken {
            client.outbox.close(reason);
        }
        state.taken
    }

    fn is_taken(&self) -> bool {
        self.state.lock().taken
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if !self.left {
            // The connection's task failed or was cut off: the client must not be locked out for ever.
            self.client.chair.state.lock().taken = false;
            self.client.outbox.shut();
            self.client.chair.freed.notify_waiters();
        }
    }
}
