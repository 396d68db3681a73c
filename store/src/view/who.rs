//! Whom a view is for.

use std::sync::Arc;

use super::guard::Bound;
use crate::access::User;

/// Whom a view is for, and what he is bound by.
#[derive(Clone, Debug, Default)]
pub struct Who {
    name: Option<Arc<str>>,
    pub(super) client: Option<Arc<str>>,
    /// `None`: nothing.
    pub(super) bound: Option<Bound>,
    pub(super) is_absolute: bool,
}

impl Who {
    /// A user of the store. He has the rights that his record gives him at each moment: none at all when it is gone, or has another root.
    pub fn login(user: Arc<User>) -> Self {
        let name = Some(Arc::clone(&user.login));
        Self { name, bound: Some(Bound::Record(user)), ..Self::default() }
    }

    /// Somebody without a name, bound by an access list of the store; without one he may do everything but touch internal data.
    pub fn anonymous(acl: Option<Arc<str>>) -> Self {
        Self { bound: Some(Bound::List(acl)), ..Self::default() }
    }

    /// Somebody whom the store does not know and who may do everything; `None` for one without a name.
    pub fn user(name: Option<Arc<str>>) -> Self {
        Self { name, ..Self::default() }
    }

    /// The program itself: jobs, imports, the command line.
    pub fn system() -> Self {
        Self::default()
    }

    /// With the id of the MQTT client, for rules with `%c`.
    #[must_use]
    pub fn with_client(mut self, id: Arc<str>) -> Self {
        self.client = Some(id);
        self
    }

    /// His paths are the store's, with his root in front, although what lies outside of it does not exist for him. (As where the root
    /// is put in front of topics anyway.)
    #[must_use]
    pub fn absolute(mut self) -> Self {
        self.is_absolute = true;
        self
    }

    /// The user's name, as he logs in.
    pub fn name(&self) -> Option<&Arc<str>> {
        self.name.as_ref()
    }
}
