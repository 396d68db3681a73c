//! MQTT and the store joined: a retained topic is an entry.
//!
//! It owns what a broker asks of its embedder: a retained PUBLISH becomes a write through the publisher's view, a replay a
//! cursor, session state a stream of local records in the store's journal. In the other direction it turns every change
//! of an entry that did not come from a PUBLISH of this broker into a message.

mod feed;
pub(crate) mod json;
mod log;
mod login;
mod payload;
mod principal;
mod provenance;
mod replay;
mod topic;

use std::sync::{Arc, OnceLock};

use distkv_broker::Broker;
use distkv_broker::hooks::{BoxFuture, Exchange, Hooks, Login, LoginRefused, Principal};
use distkv_broker::pressure::{Pressure, Shed};
use distkv_store::feed::ObserverId;
use distkv_store::path::{Path, PathError};
use distkv_store::store::Store;
use distkv_store::view::Who;

use crate::auth::scram;
use crate::auth::users::Users;
use principal::User;
use topic::Mapping;

/// A store as the broker sees it. Clones are one bridge.
#[derive(Clone)]
pub struct Bridge {
    shared: Arc<Shared>,
}

struct Shared {
    store: Store,
    mapping: Mapping,
    /// The broker's place in the store's feed, once it has one.
    observer: OnceLock<ObserverId>,
    /// How short memory is, as the broker sees it.
    pressure: OnceLock<Arc<Pressure>>,
    /// Who may log in by SCRAM, if that is offered.
    users: Option<Arc<Users>>,
}

impl Bridge {
    /// Topics live below `mount`, whose elements are strings; the root is the default. With `users`, enhanced authentication by
    /// SCRAM-SHA-256 is offered to them.
    pub fn new(store: Store, mount: Path, users: Option<Arc<Users>>) -> Result<Self, PathError> {
        let shared = Shared {
            store,
            mapping: Mapping::new(mount)?,
            observer: OnceLock::new(),
            pressure: OnceLock::new(),
            users,
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Connects the store's feed to the broker. Call it once, before the broker starts: until then no retained message is taken.
    pub fn attach(&self, broker: &Arc<Broker>) {
        let Shared { store, mapping, observer, pressure, .. } = &*self.shared;
        pressure.get_or_init(|| broker.pressure());
        observer.get_or_init(|| {
            store.observe(Arc::new(feed::Messages::new(mapping.clone(), Arc::clone(broker))))
        });
    }

    /// From now on snapshots are taken, with all sessions of the broker, which has started.
    pub fn keep_sessions(&self, broker: &Arc<Broker>) {
        let broker = Arc::clone(broker);
        self.shared.store.on_checkpoint(Box::new(move |_| broker.checkpoint()));
        self.shared.store.release_snapshots();
    }

    /// Nobody has rights of his own yet. A name that nobody has checked is not kept.
    fn principal(&self, name: Option<Arc<str>>) -> Arc<dyn Principal> {
        let view = self.shared.store.view(Who::user(name));
        Arc::new(User::new(Arc::clone(&self.shared), view))
    }
}

impl Shared {
    /// Is memory so short that topics without a retained message get none?
    fn refuses_new(&self) -> bool {
        self.pressure.get().is_some_and(|pressure| pressure.sheds(Shed::NewRetained))
    }
}

/// What an entry takes in memory beside its path and value, about: nodes of the tree, version and meta.
const ENTRY_OVERHEAD: u64 = 250;

impl Hooks for Bridge {
    /// Who shows a certificate is known by it. Others are anonymous, and as there are no users, no password of theirs can be right.
    fn authenticate<'a>(
        &'a self,
        login: Login<'a>,
    ) -> BoxFuture<'a, Result<Arc<dyn Principal>, LoginRefused>> {
        let peer = login.peer;
        let result = match &peer.identity {
            Some(name) => Ok(self.principal(Some(Arc::clone(name)))),
            None if peer.listener.allow_anonymous => Ok(self.principal(None)),
            None if login.user.is_some() => Err(LoginRefused::BadCredentials),
            None => Err(LoginRefused::NotAuthorized),
        };
        Box::pin(std::future::ready(result))
    }

    fn exchange(&self, method: &str, login: &Login<'_>) -> Option<Box<dyn Exchange>> {
        let users = self.shared.users.as_ref().filter(|_| method == scram::METHOD)?;
        Some(Box::new(login::Scram::new(self.clone(), Arc::clone(users), login.client_id)))
    }

    fn restored(&self, _client_id: &str, _user: Option<&str>) -> Arc<dyn Principal> {
        self.principal(None)
    }

    fn retained_count(&self) -> u64 {
        self.shared.store.counts().values
    }

    fn retained_bytes(&self) -> u64 {
        let counts = self.shared.store.counts();
        counts.bytes + (counts.values + counts.internal + counts.tombstones) * ENTRY_OVERHEAD
    }

    fn tock(&self) -> u64 {
        self.shared.store.tock().get()
    }
}
