//! Re-authentication: a client proves anew who it is while its connection goes on [MQTT 5: 4.12.1].

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use super::Connection;
use super::end::End;
use crate::codec::{Auth, ProtocolVersion, ReasonCode};
use crate::hooks::{Exchange, Login, LoginRefused, Mark, Principal, Step};
use crate::router::Routing;
use crate::transport::Transport;

/// Steps of one exchange, at most.
const STEPS: usize = 16;

type Answer = (Box<dyn Exchange>, Result<Step, LoginRefused>);

/// An exchange on a connection that stands.
#[derive(Default)]
pub(super) enum Reauthentication {
    /// None is under way.
    #[default]
    None,
    /// The embedder thinks.
    Thinks { steps: usize, answer: Pin<Box<dyn Future<Output = Answer> + Send>> },
    /// The client is to say something.
    Waits { steps: usize, exchange: Box<dyn Exchange> },
}

impl Reauthentication {
    fn step(mut exchange: Box<dyn Exchange>, data: Vec<u8>, steps: usize) -> Self {
        let answer = async move {
            let step = exchange.step(data).await;
            (exchange, step)
        };
        Self::Thinks { steps: steps + 1, answer: Box::pin(answer) }
    }
}

impl<T: Transport> Connection<T> {
    /// An AUTH of the client: it begins anew, or goes on.
    pub(super) fn authenticate_again(&mut self, auth: &Auth<'_>) -> Result<(), End> {
        let method = self.manner.method.clone();
        let Some(method) = method.filter(|_| self.version == ProtocolVersion::V5) else {
            return Err(broken("AUTH from a client that has not used it in its CONNECT"));
        };
        if auth.method != Some(&*method) {
            let words = "AUTH with another method than the CONNECT"; // MQTT5-4.12.1-1
            return Err(End::Protocol(ReasonCode::BadAuthenticationMethod, words.into()));
        }
        let data = auth.data.unwrap_or_default().to_vec();
        let before = std::mem::take(&mut self.reauthentication);
        self.reauthentication = match (auth.reason, before) {
            (ReasonCode::ReAuthenticate, Reauthentication::None) => {
                let login = Login {
                    client_id: &self.client.id,
                    user: self.principal.user(),
                    password: None,
                    peer: &self.peer,
                };
                let Some(exchange) = self.core.hooks.exchange(&method, &login) else {
                    return Err(End::Unauthorized(ReasonCode::BadAuthenticationMethod));
                };
                Reauthentication::step(exchange, data, 0)
            }
            (ReasonCode::ContinueAuthentication, Reauthentication::Waits { steps, exchange })
                if steps < STEPS =>
            {
                Reauthentication::step(exchange, data, steps)
            }
            _ => return Err(broken("AUTH where none belongs")),
        };
        Ok(())
    }

    /// Takes up the embedder's answer, if it is there. Answers whether it was.
    pub(super) fn poll_reauthentication(
        &mut self,
        cx: &mut Context<'_>,
        routing: &mut Routing,
    ) -> Result<bool, End> {
        let Reauthentication::Thinks { steps, answer } = &mut self.reauthentication else { return Ok(false) };
        let steps = *steps;
        let Poll::Ready((exchange, step)) = answer.as_mut().poll(cx) else { return Ok(false) };
        self.reauthentication = Reauthentication::None;
        match step {
            Ok(Step::Continue(word)) => {
                self.say(ReasonCode::ContinueAuthentication, Some(&word), routing);
                self.reauthentication = Reauthentication::Waits { steps, exchange };
            }
            Ok(Step::Done { principal, data }) if principal.user() == self.principal.user() => {
                self.log_in_again(principal);
                self.say(ReasonCode::Success, data.as_deref(), routing);
            }
            Ok(Step::Done { .. }) | Err(_) => return Err(End::Unauthorized(ReasonCode::NotAuthorized)),
        }
        Ok(true)
    }

    fn log_in_again(&mut self, principal: Arc<dyn Principal>) {
        self.client.lock().log_in(Arc::clone(&principal), self.manner.mount.clone());
        self.principal = principal;
    }

    fn say(&self, reason: ReasonCode, data: Option<&[u8]>, routing: &mut Routing) {
        let auth = Auth { reason, method: self.manner.method.as_deref(), data, ..Auth::default() };
        let mut packet = Vec::new();
        if auth.encode(&mut packet).is_ok() {
            routing.acks.packet(&packet, Mark::default());
            self.acknowledge(routing);
        }
    }
}

fn broken(words: &str) -> End {
    End::Protocol(ReasonCode::ProtocolError, words.into())
}
