//! Which clients a list holds: the filters, and the first of those behind a place in the order of ids.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::net::IpAddr;
use std::sync::Arc;

use super::PAGE_MAX;
use crate::codec::ProtocolVersion;
use crate::registry::Client;

/// What to list. The default is all clients, in pages of 100. A client must fit all that is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    /// The client id has this in it.
    pub id: Option<String>,
    /// The client id begins with this.
    pub id_prefix: Option<String>,
    /// The user name is this.
    pub user: Option<String>,
    /// The address of the present or last connection.
    pub address: Option<IpAddr>,
    /// The protocol version of the present or last connection.
    pub version: Option<ProtocolVersion>,
    /// Connected, or not.
    pub connected: Option<bool>,
    /// Only client ids behind this one: the last one of the page before.
    pub after: Option<String>,
    /// Clients of one page, at most [`PAGE_MAX`].
    pub limit: usize,
}

impl Default for Query {
    fn default() -> Self {
        Self {
            id: None,
            id_prefix: None,
            user: None,
            address: None,
            version: None,
            connected: None,
            after: None,
            limit: 100,
        }
    }
}

impl Query {
    /// Does the id alone fit?
    fn fits_id(&self, id: &str) -> bool {
        self.after.as_deref().is_none_or(|after| id > after)
            && self.id_prefix.as_deref().is_none_or(|prefix| id.starts_with(prefix))
            && self.id.as_deref().is_none_or(|part| id.contains(part))
    }

    /// Does the rest fit?
    fn fits_state(&self, client: &Client) -> bool {
        if self.user.is_none() && self.address.is_none() && self.version.is_none() && self.connected.is_none()
        {
            return true;
        }
        let mut locked = client.lock();
        let address = locked.presence().and_then(|presence| presence.peer.ip());
        let claimed = locked.presence().and_then(|presence| presence.claimed.clone());
        let session = locked.session();
        let user = session.user().cloned().or(claimed);
        self.user.as_deref().is_none_or(|wanted| user.is_some_and(|user| *user == *wanted))
            && self.address.is_none_or(|wanted| address == Some(wanted.to_canonical()))
            && self.version.is_none_or(|version| session.version() == version)
            && self.connected.is_none_or(|connected| session.is_connected() == connected)
    }
}

/// The first clients in the order of their ids, out of those offered in any order.
pub(super) struct Selection<'a> {
    query: &'a Query,
    limit: usize,
    /// The greatest id on top: it goes first when there are too many.
    first: BinaryHeap<ById>,
}

struct ById(Arc<Client>);

impl<'a> Selection<'a> {
    pub(super) fn new(query: &'a Query) -> Self {
        Self { query, limit: query.limit.clamp(1, PAGE_MAX), first: BinaryHeap::new() }
    }

    pub(super) fn offer(&mut self, client: &Arc<Client>) {
        // One more than asked for shows that there is more.
        let full = self.first.len() > self.limit;
        if full && self.first.peek().is_some_and(|last| client.id >= last.0.id) {
            return;
        }
        if !self.query.fits_id(&client.id) || !self.query.fits_state(client) {
            return;
        }
        if full {
            self.first.pop();
        }
        self.first.push(ById(Arc::clone(client)));
    }

    /// Those that the page holds, and whether there are more.
    pub(super) fn finish(self) -> (Vec<Arc<Client>>, bool) {
        let mut clients: Vec<_> = self.first.into_sorted_vec().into_iter().map(|by_id| by_id.0).collect();
        let more = clients.len() > self.limit;
        clients.truncate(self.limit);
        (clients, more)
    }
}

impl PartialEq for ById {
    fn eq(&self, other: &Self) -> bool {
        self.0.id == other.0.id
    }
}

impl Eq for ById {}

impl PartialOrd for ById {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for ById {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.id.cmp(&other.0.id)
    }
}
