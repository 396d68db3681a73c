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
mod rights;
mod topic;
pub mod why;

use std::sync::{Arc, OnceLock, Weak};

use distkv_broker::hooks::{BoxFuture, Exchange, Hooks, Login, LoginRefused, Principal};
use distkv_broker::pressure::{Pressure, Shed};
use distkv_broker::{Broker, Peer};
use distkv_store::feed::ObserverId;
use distkv_store::path::{Path, PathError};
use distkv_store::store::Store;

use crate::auth::checks::Refused;
use crate::auth::digest::Digest;
use crate::auth::logins::{LoggedIn, Logins};
use crate::auth::scram;
use principal::{Basis, User};
use tokio::sync::Notify;
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
    /// Who may log in.
    logins: Arc<Logins>,
    /// Users or rights have changed.
    changed: Arc<Notify>,
}

/// What stands for the client id (`%c`) of those who have none.
const SENDER: &str = "";

impl Bridge {
    /// Topics live below `mount`, whose elements are strings; the root is the default.
    pub fn new(store: Store, mount: Path, logins: Arc<Logins>) -> Result<Self, PathError> {
        let shared = Shared {
            store,
            mapping: Mapping::new(mount)?,
            observer: OnceLock::new(),
            pressure: OnceLock::new(),
            logins,
            changed: Arc::default(),
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Connects the store's feed to the broker. Call it once, before the broker starts: until then no retained message is taken.
    pub fn attach(&self, broker: &Arc<Broker>) {
        let Shared { store, mapping, observer, pressure, changed, .. } = &*self.shared;
        pressure.get_or_init(|| broker.pressure());
        observer.get_or_init(|| {
            // The store outlives the broker; it must not keep it alive.
            let (changed, rights): (_, Weak<Broker>) = (Arc::clone(changed), Arc::downgrade(broker));
            store.access().on_change(Box::new(move || {
                if let Some(broker) = rights.upgrade() {
                    broker.rights_changed();
                }
                changed.notify_one();
            }));
            store.observe(Arc::new(feed::Messages::new(mapping.clone(), Arc::clone(broker))))
        });
    }

    /// From now on snapshots are taken, with all sessions of the broker, which has started.
    pub fn keep_sessions(&self, broker: &Arc<Broker>) {
        let broker = Arc::clone(broker);
        self.shared.store.on_checkpoint(Box::new(move |_| broker.checkpoint()));
        self.shared.store.release_snapshots();
    }

    /// Closes the connections of users who may not stay, whenever users have changed. It never ends.
    pub async fn watch_users(self, broker: Arc<Broker>) {
        loop {
            self.shared.changed.notified().await;
            broker.recheck_users().await;
        }
    }

    /// Somebody who sends messages by another face than MQTT: a user, or whoever is there while nobody has to log in. `None`: his root is no
    /// place of topics.
    pub fn sender(&self, login: Option<&LoggedIn>) -> Option<Arc<dyn Principal>> {
        let basis = login.cloned().map_or(Basis::Open { anonymous: false }, Basis::Login);
        self.principal(SENDER, None, basis)
    }

    fn principal(&self, client: &str, name: Option<&str>, basis: Basis) -> Option<Arc<dyn Principal>> {
        Some(Arc::new(User::new(Arc::clone(&self.shared), client, name, basis)?))
    }

    /// A user who has logged in.
    fn let_in(&self, client: &str, login: LoggedIn) -> Result<Arc<dyn Principal>, LoginRefused> {
        let user = Arc::clone(login.user());
        self.principal(client, None, Basis::Login(login)).ok_or_else(|| {
            let (user, root) = (&*user.login, &user.root);
            tracing::warn!(user, %root, "the user can't use MQTT: his root is no place of topics");
            LoginRefused::NotAuthorized
        })
    }

    /// A user of the file of SCRAM users, whom the store does not know: as long as there are no others.
    fn let_in_proven(&self, client: &str, name: &str) -> Result<Arc<dyn Principal>, LoginRefused> {
        if self.shared.logins.are_on() {
            return Err(LoginRefused::NotAuthorized);
        }
        let basis = Basis::Open { anonymous: false };
        self.principal(client, Some(name), basis).ok_or(LoginRefused::NotAuthorized)
    }

    /// Somebody of whom nothing is proven but, by a certificate, what `name` says.
    fn let_in_unchecked(
        &self,
        client: &str,
        name: Option<&str>,
        peer: &Peer,
    ) -> Result<Arc<dyn Principal>, LoginRefused> {
        let (logins, listener) = (&self.shared.logins, &peer.listener);
        let basis = match name {
            // Whose certificate names nobody of the store.
            Some(_) if logins.are_on() => return Err(LoginRefused::NotAuthorized),
            None if logins.are_on() && !listener.allow_anonymous => return Err(LoginRefused::NotAuthorized),
            None if logins.are_on() => Basis::Anonymous,
            None if !(listener.allow_anonymous || listener.open_without_users) => {
                return Err(LoginRefused::NotAuthorized);
            }
            _ => Basis::Open { anonymous: listener.allow_anonymous },
        };
        self.principal(client, name, basis).ok_or(LoginRefused::NotAuthorized)
    }

    async fn log_in(&self, login: Login<'_>) -> Result<Arc<dyn Principal>, LoginRefused> {
        let Login { client_id, user, password, peer } = login;
        let logins = &self.shared.logins;
        if let Some(name) = &peer.identity {
            return match logins.by_identity(name) {
                Some(login) => self.let_in(client_id, login),
                None => self.let_in_unchecked(client_id, Some(name), peer),
            };
        }
        if !logins.are_on() {
            // As there are no users, no password can be right.
            let anonymous = self.let_in_unchecked(client_id, None, peer);
            return anonymous.map_err(|why| if user.is_some() { LoginRefused::BadCredentials } else { why });
        }
        if let Some(login) = logins.by_nothing() {
            return self.let_in(client_id, login);
        }
        let Some(user) = user else { return self.let_in_unchecked(client_id, None, peer) };
        let shown = Digest::of(password.unwrap_or_default());
        let login = logins.by_secret(user, shown, peer.address.ip()).await.map_err(refused)?;
        self.let_in(client_id, login)
    }
}

fn refused(why: Refused) -> LoginRefused {
    match why {
        Refused::Wrong => LoginRefused::BadCredentials,
        Refused::TooOften | Refused::Busy => LoginRefused::Unavailable,
    }
}

impl Shared {
    /// What a client is called by itself: the broker puts the root of its user in front.
    fn id_inside<'c>(&self, client: &'c str, login: &LoggedIn) -> &'c str {
        let prefix = self.mapping.prefix(login.user().root.as_path());
        prefix.and_then(|prefix| client.strip_prefix(&*prefix)).unwrap_or(client)
    }

    /// Is memory so short that topics without a retained message get none?
    fn refuses_new(&self) -> bool {
        self.pressure.get().is_some_and(|pressure| pressure.sheds(Shed::NewRetained))
    }
}

/// What an entry takes in memory beside its path and value, about: nodes of the tree, version and meta.
const ENTRY_OVERHEAD: u64 = 250;

impl Hooks for Bridge {
    /// Who shows a certificate is known by it. Others by name and password, once logins are on; until then they are anonymous.
    fn authenticate<'a>(
        &'a self,
        login: Login<'a>,
    ) -> BoxFuture<'a, Result<Arc<dyn Principal>, LoginRefused>> {
        Box::pin(self.log_in(login))
    }

    fn exchange(&self, method: &str, login: &Login<'_>) -> Option<Box<dyn Exchange>> {
        if method != scram::METHOD || !self.shared.logins.offer_scram() {
            return None;
        }
        Some(Box::new(login::Scram::new(self.clone(), login.client_id, login.peer)))
    }

    /// With the rights that he would have if he logged in now.
    fn restored(&self, client_id: &str, user: Option<&str>) -> Arc<dyn Principal> {
        let logins = &self.shared.logins;
        let basis = match user {
            _ if !logins.are_on() => Basis::Open { anonymous: false },
            None => Basis::Anonymous,
            Some(name) => logins.by_identity(name).map_or(Basis::Gone, Basis::Login),
        };
        let client_id = match &basis {
            Basis::Login(login) => self.shared.id_inside(client_id, login),
            _ => client_id,
        };
        // A user whose root is no place of topics, too, is nobody here.
        let gone = || User::gone(Arc::clone(&self.shared), client_id);
        match User::new(Arc::clone(&self.shared), client_id, user, basis) {
            Some(user) => Arc::new(user),
            None => Arc::new(gone()),
        }
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
