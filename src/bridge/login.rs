//! A login by SCRAM-SHA-256: the steps of `auth::scram` as the broker asks for them.

use distkv_broker::Peer;
use distkv_broker::hooks::{BoxFuture, Exchange, LoginRefused, Step};

use super::Bridge;
use crate::auth::scram::{self, Challenge, ClientFirst, ScramError};

/// Random bytes of our part of the nonce, before they become text.
const NONCE_BYTES: usize = 18;

/// An exchange under way.
pub(super) struct Scram {
    bridge: Bridge,
    client_id: String,
    peer: Peer,
    /// Who he says he is.
    name: String,
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
    pub(super) fn new(bridge: Bridge, client_id: &str, peer: &Peer) -> Self {
        let (client_id, name) = (client_id.to_owned(), String::new());
        Self { bridge, client_id, peer: peer.clone(), name, state: State::Begun }
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
                let principal = match self.bridge.shared.logins.by_scram(&name) {
                    Some(login) => self.bridge.let_in(&self.client_id, login)?,
                    None => self.bridge.let_in_proven(&self.client_id, &name)?,
                };
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
        first.name().clone_into(&mut self.name);
        let account = self.bridge.shared.logins.scram_account(first.name());
        let (challenge, words) = first.challenge(account, &scram::nonce(&random));
        self.state = State::Challenged(Box::new(challenge));
        Ok(Step::Continue(words.into_bytes()))
    }

    fn refused(&self, why: ScramError) -> LoginRefused {
        tracing::debug!(client = self.client_id, "a login by {} failed: {why}", scram::METHOD);
        if why == ScramError::WrongProof {
            self.bridge.shared.logins.checks().note_failure(&self.name, self.peer.address.ip());
        }
        LoginRefused::BadCredentials
    }
}

impl Exchange for Scram {
    fn step<'a>(&'a mut self, data: Vec<u8>) -> BoxFuture<'a, Result<Step, LoginRefused>> {
        Box::pin(async move {
            if matches!(self.state, State::Begun | State::Asked) {
                let logins = &self.bridge.shared.logins;
                let waited = logins.checks().wait_at(self.peer.address.ip()).await;
                waited.map_err(|_| LoginRefused::Unavailable)?;
            }
            self.advance(&data)
        })
    }
}
