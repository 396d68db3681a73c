//! A login by SCRAM-SHA-256: the steps of `auth::scram` as the broker asks for them.

use std::sync::Arc;

use distkv_broker::hooks::{BoxFuture, Exchange, LoginRefused, Step};

use super::Bridge;
use crate::auth::scram::{self, Challenge, ClientFirst, ScramError};
use crate::auth::users::Users;

/// Random bytes of our part of the nonce, before they become text.
const NONCE_BYTES: usize = 18;

/// An exchange under way.
pub(super) struct Scram {
    bridge: Bridge,
    users: Arc<Users>,
    client_id: String,
    state: State,
}

enum State {
    /// The client has said nothing yet.
    Begun,
    /// It was asked for its first message, which was not in the packet that began the exchange.
    Asked,
    /// It was told what to prove.
    Challenged(Box<Challenge>),
    /// It is over.
    Over,
}

impl Scram {
    pub(super) fn new(bridge: Bridge, users: Arc<Users>, client_id: &str) -> Self {
        Self { bridge, users, client_id: client_id.to_owned(), state: State::Begun }
    }

    fn advance(&mut self, message: &[u8]) -> Result<Step, LoginRefused> {
        match std::mem::replace(&mut self.state, State::Over) {
            State::Begun if message.is_empty() => {
                self.state = State::Asked;
                Ok(Step::Continue(Vec::new()))
            }
            State::Begun | State::Asked => self.challenge(message),
            State::Challenged(challenge) => {
                let (name, words) = challenge.finish(message).map_err(|why| self.refused(why))?;
                let principal = self.bridge.principal(Some(name.into()));
                Ok(Step::Done { principal, data: Some(words.into_bytes()) })
            }
            State::Over => Err(LoginRefused::NotAuthorized),
        }
    }

    fn challenge(&mut self, message: &[u8]) -> Result<Step, LoginRefused> {
        let first = ClientFirst::parse(message).map_err(|why| self.refused(why))?;
        let mut random = [0; NONCE_BYTES];
        getrandom::fill(&mut random).map_err(|error| {
            tracing::error!("the system gives no random numbers: {error}");
            LoginRefused::Unavailable
        })?;
        let account = self.users.account(first.name());
        let (challenge, words) = first.challenge(account, &scram::nonce(&random));
        self.state = State::Challenged(Box::new(challenge));
        Ok(Step::Continue(words.into_bytes()))
    }

    fn refused(&self, why: ScramError) -> LoginRefused {
        tracing::debug!(client = self.client_id, "a login by {} failed: {why}", scram::METHOD);
        LoginRefused::BadCredentials
    }
}

impl Exchange for Scram {
    fn step<'a>(&'a mut self, data: Vec<u8>) -> BoxFuture<'a, Result<Step, LoginRefused>> {
        Box::pin(std::future::ready(self.advance(&data)))
    }
}
