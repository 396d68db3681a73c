//! Session state of the broker as local records of the store's journal.

use std::task::{Context, Poll};

use distkv_broker::hooks::{LogFailed, Mark, SessionLog};
use distkv_store::journal::Lsn;

use super::Bridge;

impl SessionLog for Bridge {
    fn append(&self, record: &[u8]) -> Mark {
        Mark(self.shared.store.append_local(record).0)
    }

    fn poll_settled(&self, mark: Mark, cx: &mut Context<'_>) -> Poll<Result<(), LogFailed>> {
        self.shared.store.poll_settled(Lsn(mark.0), cx).map_err(|error| LogFailed(error.to_string().into()))
    }
}
