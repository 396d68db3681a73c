//! Checks who comes in, by what he shows and what is kept of him. All faces log in here.
//!
//! 1. A token is looked at first: it costs two hashes, and nobody can guess one.
//! 2. Who (by his address) has failed before waits, and so does whoever wants to be a user for whom others have failed, unless his login
//!    is remembered. Who was right from there before waits for his own failures only.
//! 3. A login that was right before is remembered.
//! 4. Everything else is Argon2, on threads of its own: so many at a time, so many in the queue, the rest is told to come again. For
//!    users that there are not it is done as well, so that time does not tell.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use thiserror::Error;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::clock;
use super::delays::{Delays, Key, Turn, network};
use super::digest::Digest;
use super::password::{BadHash, Cost, Hashed, SALT_BYTES};
use super::remembered::{Mark, Remembered};
use super::scram::NAME_MAX;
use super::secrets::{Password, Secrets};

/// What checking takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Of hashes that are made here.
    pub cost: Cost,
    /// Passwords hashed at a time.
    pub parallel: usize,
    /// Logins that wait for that.
    pub queue: usize,
}

/// Who wants to come in.
#[derive(Clone, Copy, Debug)]
pub struct Claim<'a> {
    /// Who he says he is.
    pub user: &'a str,
    /// What he shows for it.
    pub shown: Digest,
    /// Where he is, if he is not on this machine by a Unix socket.
    pub address: Option<IpAddr>,
}

/// A login that is right.
#[derive(Debug)]
pub struct Passed {
    /// By what.
    pub by: Credential,
    /// The same password as it should be kept from now on: the record has it in a weaker form ([`secrets::upgraded`](super::secrets::upgraded)).
    pub upgrade: Option<Hashed>,
}

/// By what somebody has logged in: enough to say later whether that would still let him in.
#[derive(Clone)]
pub enum Credential {
    /// A token, as it is kept.
    Token([u8; 32]),
    /// A password, by the hash that it was checked against.
    Password(Arc<str>),
    /// A password that was kept as a bare digest, which is upgraded.
    Imported {
        /// What he has shown.
        shown: Digest,
    },
    /// A SCRAM verifier, as text.
    Scram(Arc<str>),
    /// Nothing of the record: a certificate, or a method that asks for nothing.
    Elsewhere,
}

/// Why a login is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Refused {
    /// There is no such user, or what he shows is wrong.
    #[error("there is no such user, or the password is wrong")]
    Wrong,
    /// Others from there, or for that user, have failed and wait.
    #[error("too many logins have failed: try again later")]
    TooOften,
    /// More logins are to be checked than there is room for.
    #[error("too many logins are being checked: try again later")]
    Busy,
}

/// Why nothing can be checked.
#[derive(Debug, Error)]
pub enum ChecksError {
    /// There are no random numbers.
    #[error("the system gives no random numbers: {0}")]
    Random(getrandom::Error),
    /// What hashes are to cost.
    #[error(transparent)]
    Cost(#[from] BadHash),
}

/// What happened so far.
#[derive(Debug, Default)]
pub struct Counters {
    /// Passwords hashed.
    pub hashed: AtomicU64,
    /// Logins by token.
    pub tokens: AtomicU64,
    /// Logins that were remembered.
    pub remembered: AtomicU64,
    /// Logins that were wrong.
    pub failed: AtomicU64,
    /// Logins that had to wait since others had failed.
    pub delayed: AtomicU64,
    /// Logins refused unseen since too many waited: for failures, or for their check.
    pub turned_away: AtomicU64,
    /// Addresses and users whose failures were forgotten for lack of room.
    pub forgotten: AtomicU64,
}

/// See the module.
pub struct Checks {
    bounds: Bounds,
    decoy: Arc<Hashed>,
    remembered: Arc<Remembered>,
    delays: Arc<Mutex<Delays>>,
    running: Arc<Semaphore>,
    /// Those that run and those that wait for it.
    places: Arc<Semaphore>,
    began: Instant,
    counters: Counters,
}

impl Checks {
    /// Nobody has come yet.
    ///
    /// # Errors
    /// There are no random numbers, or a hash can't cost that.
    pub fn new(bounds: Bounds) -> Result<Self, ChecksError> {
        let mut key = [0; 32];
        getrandom::fill(&mut key).map_err(ChecksError::Random)?;
        let parallel = bounds.parallel.max(1);
        Ok(Self {
            bounds,
            decoy: Arc::new(Hashed::decoy(bounds.cost)?),
            remembered: Arc::new(Remembered::new(&key)),
            delays: Arc::default(),
            running: Arc::new(Semaphore::new(parallel)),
            places: Arc::new(Semaphore::new(
                parallel.saturating_add(bounds.queue).min(Semaphore::MAX_PERMITS),
            )),
            began: clock::now(),
            counters: Counters::default(),
        })
    }

    /// The numbers.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Checks a login without waiting, as far as that goes: a token, or one that is remembered of an address without failures. Below
    /// two microseconds.
    #[must_use]
    pub fn check_at_once(&self, claim: &Claim<'_>, kept: Option<&Secrets<'_>>) -> Option<Passed> {
        let secrets = kept?;
        if !secrets.tokens.is_empty() {
            let stored = claim.shown.as_stored_token();
            if secrets.has_token(&stored) {
                count(&self.counters.tokens);
                return Some(Passed { by: Credential::Token(stored), upgrade: None });
            }
        }
        let Some(Password::Hashed(stored)) = secrets.password else { return None };
        let mark = self.remembered.mark(claim.user, stored, &claim.shown);
        if !self.remembered.knows(&mark) || self.has_to_wait(claim) {
            return None;
        }
        count(&self.counters.remembered);
        Some(Passed { by: Credential::Password(stored.into()), upgrade: None })
    }

    /// Checks a login. `kept`: the secrets of the user, if there is such a user.
    ///
    /// # Errors
    /// It is wrong, or can't be checked now. Neither tells whether there is such a user.
    pub async fn check(&self, claim: Claim<'_>, kept: Option<&Secrets<'_>>) -> Result<Passed, Refused> {
        if let Some(passed) = self.check_at_once(&claim, kept) {
            return Ok(passed);
        }
        let password = kept.and_then(|kept| kept.password);
        let hashed = match password {
            Some(Password::Hashed(text)) => Some(text),
            _ => None,
        };
        let mark = hashed.map(|stored| self.remembered.mark(claim.user, stored, &claim.shown));
        let remembered = mark.is_some_and(|mark| self.remembered.knows(&mark));
        let keys = self.keys(claim.user, claim.address);
        for key in keys.iter().filter(|key| !(remembered && matches!(key, Key::User(_)))) {
            self.wait_for(key).await?;
        }
        let passed = match (password, hashed.zip(mark)) {
            (Some(Password::Imported(digest)), _) if claim.shown.is(digest) => {
                Some(self.import(&claim).await?)
            }
            (_, Some((stored, mark))) => self.argon2(&claim, stored, mark).await?,
            // Whatever else is kept of the user, and if it is nothing: it costs the same.
            (_, None) => {
                self.hash(Arc::clone(&self.decoy), claim.shown, None).await?;
                None
            }
        };
        let Some(passed) = passed else {
            self.failed(&keys);
            return Err(Refused::Wrong);
        };
        self.succeeded(&claim, &keys);
        Ok(passed)
    }

    /// A login failed that was checked elsewhere (SCRAM): the next ones of that address and that user wait, too.
    pub fn note_failure(&self, user: &str, address: Option<IpAddr>) {
        self.failed(&self.keys(user, address));
    }

    /// Waits as whoever comes from there has to. For logins that are checked elsewhere.
    ///
    /// # Errors
    /// Too many wait.
    pub async fn wait_at(&self, address: Option<IpAddr>) -> Result<(), Refused> {
        match address.map(Key::address) {
            Some(address) => self.wait_for(&address).await,
            None => Ok(()),
        }
    }

    /// Would this still let its owner in, by his secrets as they are now?
    #[must_use]
    pub fn still_holds(&self, user: &str, by: &Credential, secrets: &Secrets<'_>) -> bool {
        match by {
            Credential::Token(stored) => secrets.has_token(stored),
            Credential::Password(before) => secrets.password == Some(Password::Hashed(before)),
            Credential::Imported { shown } => match secrets.password {
                Some(Password::Imported(digest)) => shown.is(digest),
                // Upgraded since: that was remembered.
                Some(Password::Hashed(now)) => self.remembered.knows(&self.remembered.mark(user, now, shown)),
                None => false,
            },
            Credential::Scram(before) => secrets.scram == Some(&**before),
            Credential::Elsewhere => true,
        }
    }

    /// Hashes a new password.
    ///
    /// # Errors
    /// There is no room for that now.
    pub async fn make(&self, digest: Digest) -> Result<Hashed, Refused> {
        let place = self.place()?;
        let running = self.run().await?;
        let cost = self.bounds.cost;
        count(&self.counters.hashed);
        let made = Handle::current().spawn_blocking(move || {
            let _until_it_is_done = (place, running);
            let mut salt = [0; SALT_BYTES];
            getrandom::fill(&mut salt).ok()?;
            Hashed::make(&digest, &salt, cost).ok()
        });
        made.await.ok().flatten().ok_or(Refused::Busy)
    }

    async fn import(&self, claim: &Claim<'_>) -> Result<Passed, Refused> {
        let hashed = self.make(claim.shown).await?;
        self.remembered.insert(self.remembered.mark(claim.user, &hashed.to_string(), &claim.shown));
        Ok(Passed { by: Credential::Imported { shown: claim.shown }, upgrade: Some(hashed) })
    }

    async fn argon2(&self, claim: &Claim<'_>, stored: &str, mark: Mark) -> Result<Option<Passed>, Refused> {
        let hashed = match stored.parse::<Hashed>() {
            Ok(hashed) => Arc::new(hashed),
            Err(error) => {
                tracing::error!(user = claim.user, "the user's password hash is of no use: {error}");
                Arc::clone(&self.decoy)
            }
        };
        if !self.hash(hashed, claim.shown, Some(mark)).await? {
            return Ok(None);
        }
        Ok(Some(Passed { by: Credential::Password(stored.into()), upgrade: None }))
    }

    /// Is it right? Others who showed the same may have found out while this one waited.
    async fn hash(&self, hashed: Arc<Hashed>, shown: Digest, mark: Option<Mark>) -> Result<bool, Refused> {
        let place = self.place()?;
        let running = self.run().await?;
        if mark.is_some_and(|mark| self.remembered.knows(&mark)) {
            count(&self.counters.remembered);
            return Ok(true);
        }
        count(&self.counters.hashed);
        let remembered = Arc::clone(&self.remembered);
        let checked = Handle::current().spawn_blocking(move || {
            // The client may go away meanwhile; the work goes on, and takes its place until it is done.
            let _until_it_is_done = (place, running);
            let right = hashed.check(&shown);
            // Before the next one has its turn, who may have shown the same.
            if let Some(mark) = mark.filter(|_| right) {
                remembered.insert(mark);
            }
            right
        });
        checked.await.map_err(|_| Refused::Busy)
    }

    fn place(&self) -> Result<OwnedSemaphorePermit, Refused> {
        Arc::clone(&self.places).try_acquire_owned().map_err(|_| {
            count(&self.counters.turned_away);
            Refused::Busy
        })
    }

    async fn run(&self) -> Result<OwnedSemaphorePermit, Refused> {
        // It is never closed.
        Arc::clone(&self.running).acquire_owned().await.map_err(|_| Refused::Busy)
    }

    async fn wait_for(&self, key: &Key) -> Result<(), Refused> {
        let turn = self.delays.lock().begin(key, self.now());
        match turn {
            Turn::Wait(Duration::ZERO) => Ok(()),
            Turn::Wait(delay) => {
                count(&self.counters.delayed);
                let waiting = Waiting { delays: Arc::clone(&self.delays), key: key.clone() };
                tokio::time::sleep(delay).await;
                drop(waiting);
                Ok(())
            }
            Turn::Refused => {
                count(&self.counters.turned_away);
                Err(Refused::TooOften)
            }
        }
    }

    /// Whose failures count for a login: the user's own at a place that is known of him, else those of the place and those for the user.
    fn keys(&self, user: &str, address: Option<IpAddr>) -> Vec<Key> {
        // What is longer is cut: it is kept, and somebody unknown says it.
        let user = user.get(..user.floor_char_boundary(NAME_MAX)).unwrap_or_default();
        let name = Key::User(user.into());
        match address {
            None => vec![name],
            Some(address) if self.remembered.knows(&self.remembered.place(user, network(address))) => {
                vec![Key::known(address, user.into())]
            }
            Some(address) => vec![Key::address(address), name],
        }
    }

    /// Does a login that is remembered have to wait for where it comes from?
    fn has_to_wait(&self, claim: &Claim<'_>) -> bool {
        let Some(address) = claim.address else { return false };
        if self.delays.lock().is_empty() {
            return false;
        }
        let place = self.remembered.place(claim.user, network(address));
        let key = match self.remembered.knows(&place) {
            true => Key::known(address, claim.user.into()),
            false => Key::address(address),
        };
        self.delays.lock().is_late(&key, self.now())
    }

    fn succeeded(&self, claim: &Claim<'_>, keys: &[Key]) {
        if let Some(address) = claim.address {
            self.remembered.insert(self.remembered.place(claim.user, network(address)));
        }
        let mut delays = self.delays.lock();
        // The address is not forgiven: whoever has a user of his own there could go on with others.
        keys.iter().filter(|key| !matches!(key, Key::Address(_))).for_each(|key| delays.succeeded(key));
    }

    fn failed(&self, keys: &[Key]) {
        count(&self.counters.failed);
        let now = self.now();
        let mut delays = self.delays.lock();
        let first: Vec<&Key> = keys.iter().filter(|key| delays.failed(key, now)).collect();
        self.counters.forgotten.fetch_add(delays.take_forgotten(), Ordering::Relaxed);
        drop(delays);
        for key in first {
            match key {
                Key::Address(address) => {
                    tracing::warn!(%address, "logins from there fail again and again: they are answered late");
                }
                Key::User(user) | Key::Known(_, user) => {
                    tracing::warn!(%user, "logins for this user fail again and again: they are answered late");
                }
            }
        }
    }

    fn now(&self) -> Duration {
        // Failures of long ago and none are alike, so time does not begin with zero.
        clock::now().duration_since(self.began) + Duration::from_secs(3600)
    }
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// One that waits. It may also give up.
struct Waiting {
    delays: Arc<Mutex<Delays>>,
    key: Key,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.delays.lock().waited(&self.key);
    }
}

/// Without secrets.
impl std::fmt::Debug for Credential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Token(_) => "Token",
            Self::Password(_) => "Password",
            Self::Imported { .. } => "Imported",
            Self::Scram(_) => "Scram",
            Self::Elsewhere => "Elsewhere",
        })
    }
}

impl std::fmt::Debug for Checks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Checks").field("bounds", &self.bounds).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
