//! Who logs in, for all faces: finds the user in the store, has checked what he shows, and says later whether he may stay.
//!
//! Logins are *on* when a method is in force (`[null, "auth"]` holds `{current: METHOD}`). Until then nobody has to log in and everybody may do
//! everything, as far as the face lets him in. The methods:
//!
//! | method | asks for |
//! |---|---|
//! | `password` | the password, or a device token |
//! | `root` | nothing: it is for a first set-up, as in the original |
//! | `_test` | nothing but a name of a user; only if the server was told to offer it |

use std::net::IpAddr;
use std::sync::Arc;

use distkv_store::access::{self, AccessStats, User, users};
use distkv_store::meta::Meta;
use distkv_store::path::Path;
use distkv_store::store::Store;
use distkv_store::view::{Condition, View, Who};

use super::checks::{Bounds, Checks, ChecksError, Claim, Credential, Refused};
use super::digest::Digest;
use super::password::Hashed;
use super::scram::{Account, Verifier};
use super::secrets::{self, Secrets};
use super::users::Users;

/// The method by which whoever comes is in.
pub const ROOT: &str = "root";
/// The method for tests.
pub const TEST: &str = "_test";
/// The method with passwords and tokens.
pub const PASSWORD: &str = "password";

/// The one user of the method `root`.
const ANYBODY: &str = "*";

/// What is set for all faces.
#[derive(Clone, Debug)]
pub struct Rules {
    /// What checking takes.
    pub bounds: Bounds,
    /// The access list of those without a name, while logins are on.
    pub anonymous_acl: Arc<str>,
    /// Offer the method `_test`.
    pub allow_test: bool,
}

/// See the module.
pub struct Logins {
    store: Store,
    checks: Checks,
    rules: Rules,
    /// Who may log in by SCRAM, beside those in the store; also makes decoys.
    files: Option<Arc<Users>>,
    decoys: Users,
}

/// Somebody who has logged in.
#[derive(Clone, Debug)]
pub struct LoggedIn {
    user: Arc<User>,
    by: Credential,
}

/// How somebody stands who has logged in before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// His login would be right now, too.
    Fine,
    /// He sees something else as the whole: he has to log in anew.
    Moved,
    /// His login would be refused now.
    Gone,
}

impl LoggedIn {
    /// Who, as he was then.
    #[must_use]
    pub fn user(&self) -> &Arc<User> {
        &self.user
    }

    /// Whom a view of his is for.
    #[must_use]
    pub fn who(&self) -> Who {
        Who::login(Arc::clone(&self.user))
    }
}

impl Logins {
    /// For the users of a store, and those of a file of SCRAM users.
    ///
    /// # Errors
    /// There are no random numbers, or the cost of a hash is out of bounds.
    pub fn new(store: Store, rules: Rules, files: Option<Arc<Users>>) -> Result<Self, ChecksError> {
        let checks = Checks::new(rules.bounds)?;
        let decoys = Users::none().map_err(ChecksError::Random)?;
        Ok(Self { store, checks, rules, files, decoys })
    }

    /// Does anybody have to log in?
    #[must_use]
    pub fn are_on(&self) -> bool {
        self.store.access().method(&Path::root()).is_some()
    }

    /// The checks themselves, for new passwords and for figures.
    #[must_use]
    pub fn checks(&self) -> &Checks {
        &self.checks
    }

    /// How many users and access lists there are.
    #[must_use]
    pub fn access_stats(&self) -> AccessStats {
        self.store.access().stats()
    }

    /// Whom a view of somebody without a name is for, while logins are on.
    #[must_use]
    pub fn anonymous(&self) -> Who {
        Who::anonymous(Some(Arc::clone(&self.rules.anonymous_acl)))
    }

    /// The user who is meant by what somebody says as his name: NAME, or NAME@ROOT. Nobody while logins are off.
    #[must_use]
    pub fn find(&self, login: &str) -> Option<Arc<User>> {
        let access = self.store.access();
        let method = access.method(&Path::root())?;
        if let Some(user) = access.user(&Path::root(), &method, login) {
            return Some(user);
        }
        let root: Path = login.rsplit_once('@')?.1.parse().ok()?;
        access.find(login, &access.method(&root)?)
    }

    /// A login by name and secret: a password, or a token.
    ///
    /// # Errors
    /// It is wrong, or can't be checked now.
    pub async fn by_secret(
        &self,
        login: &str,
        shown: Digest,
        address: Option<IpAddr>,
    ) -> Result<LoggedIn, Refused> {
        let user = self.find(login).or_else(|| self.anybody());
        if let Some(user) = user.as_ref().filter(|user| self.asks_nothing(user)) {
            return Ok(LoggedIn { user: Arc::clone(user), by: Credential::Elsewhere });
        }
        let claim = Claim { user: login, shown, address };
        let kept = user.as_deref().filter(|user| *user.method == *PASSWORD).map(Secrets::of_user);
        let passed = self.checks.check(claim, kept.as_ref()).await?;
        let user = user.ok_or(Refused::Wrong)?;
        if let Some(hashed) = &passed.upgrade {
            self.upgrade(&user, hashed);
        }
        Ok(LoggedIn { user, by: passed.by })
    }

    /// The same without waiting, as far as that goes: nothing if more has to be done than a few microseconds.
    #[must_use]
    pub fn by_secret_at_once(&self, login: &str, shown: Digest, address: Option<IpAddr>) -> Option<LoggedIn> {
        let user = self.find(login).filter(|user| *user.method == *PASSWORD)?;
        let claim = Claim { user: login, shown, address };
        let passed = self.checks.check_at_once(&claim, Some(&Secrets::of_user(&user)))?;
        Some(LoggedIn { user, by: passed.by })
    }

    /// A login of somebody whose name was proven elsewhere: by a certificate. `None`: there is no such user.
    #[must_use]
    pub fn by_identity(&self, login: &str) -> Option<LoggedIn> {
        Some(LoggedIn { user: self.find(login)?, by: Credential::Elsewhere })
    }

    /// Whoever comes, if the method in force lets everybody in.
    #[must_use]
    pub fn by_nothing(&self) -> Option<LoggedIn> {
        let user = self.anybody().filter(|user| self.asks_nothing(user))?;
        Some(LoggedIn { user, by: Credential::Elsewhere })
    }

    /// What a SCRAM exchange of this name is checked against: the user's verifier, or one of the file, or a decoy.
    #[must_use]
    pub fn scram_account(&self, login: &str) -> Account {
        let decoy = match &self.files {
            Some(files) => files.account(login),
            None => self.decoys.account(login),
        };
        let kept = self.find(login).and_then(|user| Secrets::of_user(&user).scram?.parse::<Verifier>().ok());
        match kept {
            Some(verifier) => Account { verifier: Arc::new(verifier), known: true },
            None => decoy,
        }
    }

    /// Is SCRAM offered: are there users of a file, or can there be some in the store?
    #[must_use]
    pub fn offer_scram(&self) -> bool {
        self.files.is_some() || self.are_on()
    }

    /// A login by SCRAM, which was right. `None`: there is no such user in the store.
    #[must_use]
    pub fn by_scram(&self, login: &str) -> Option<LoggedIn> {
        let user = self.find(login)?;
        let by = match Secrets::of_user(&user).scram {
            Some(verifier) => Credential::Scram(verifier.into()),
            None => Credential::Elsewhere,
        };
        Some(LoggedIn { user, by })
    }

    /// May he stay?
    #[must_use]
    pub fn standing(&self, who: &LoggedIn) -> Standing {
        let before = &who.user;
        match self.find(&before.login).or_else(|| self.anybody()) {
            Some(now)
                if now.method != before.method || now.name != before.name || now.realm != before.realm =>
            {
                Standing::Gone
            }
            Some(now) if !self.checks.still_holds(&before.login, &who.by, &Secrets::of_user(&now)) => {
                Standing::Gone
            }
            Some(now) if now.root != before.root => Standing::Moved,
            Some(_) => Standing::Fine,
            None => Standing::Gone,
        }
    }

    /// The user of the method `root`, if that is in force.
    fn anybody(&self) -> Option<Arc<User>> {
        self.find(ANYBODY).filter(|user| *user.method == *ROOT)
    }

    fn asks_nothing(&self, user: &User) -> bool {
        *user.method == *ROOT || (self.rules.allow_test && *user.method == *TEST)
    }

    /// Keeps an imported password in the better form. If that fails, it is done at the next login.
    fn upgrade(&self, user: &User, hashed: &Hashed) {
        let upgraded = self.try_upgrade(user, hashed);
        if upgraded.is_none() {
            tracing::warn!(user = &*user.login, "an imported password could not be kept in a better form");
        }
    }

    fn try_upgrade(&self, user: &User, hashed: &Hashed) -> Option<()> {
        let home = access::home(user.realm.as_path()).ok()?;
        let path = users::path(home.as_path(), &user.method, &user.name).ok()?;
        let view: View = self.store.view(Who::system());
        let entry = view.get(path.as_path()).ok()??;
        let record = secrets::upgraded(entry.value.as_ref()?, hashed).ok()?;
        let dot = entry.version.dot();
        let unchanged = Condition::Version { node: dot.origin.node().as_str(), tick: dot.tick.0 };
        view.write_if(path.as_path(), unchanged, Some(record), Meta::default(), None).ok()?;
        Some(())
    }
}

impl std::fmt::Debug for Logins {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Logins").field("rules", &self.rules).finish_non_exhaustive()
    }
}
