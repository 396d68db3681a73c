//! Enhanced authentication before the CONNACK: AUTH packets go to and fro until the method is satisfied [MQTT 5: 4.12].

use std::future::poll_fn;
use std::sync::Arc;

use tokio::io::AsyncWriteExt as _;

use super::super::input::Input;
use super::hello::{Authentication, Hello};
use super::refusal::{Refusal, login_refused};
use super::{broken, out_of_place, poll_packet};
use crate::broker::Core;
use crate::codec::{self, Auth, Decoded, Packet, ProtocolVersion, ReasonCode};
use crate::hooks::{Login, LoginRefused, Principal, Step};
use crate::metrics::Refused;
use crate::transport::Transport;

/// Steps of one exchange, at most.
const STEPS: usize = 16;

/// Carries the exchange out. Answers who it is, and the method's last word.
pub(super) async fn exchange<T: Transport>(
    core: &Core,
    input: &mut Input,
    socket: &mut T,
    hello: &Hello,
    wanted: &Authentication,
    login: &Login<'_>,
) -> Result<(Arc<dyn Principal>, Option<Vec<u8>>), Refusal> {
    let Some(mut exchange) = core.hooks.exchange(&wanted.method, login) else {
        return Err(login_refused(LoginRefused::BadMethod, hello));
    };
    let mut data = wanted.data.clone();
    for _ in 0..STEPS {
        match exchange.step(data).await.map_err(|why| login_refused(why, hello))? {
            Step::Done { principal, data } => return Ok((principal, data)),
            Step::Continue(word) => {
                send(socket, &wanted.method, &word).await.map_err(|_| {
                    Refusal::new(Refused::NotMqtt, None, "closed by the peer amid its authentication")
                })?;
                data = answer(core, input, socket, hello, &wanted.method).await?;
            }
        }
    }
    Err(login_refused(LoginRefused::NotAuthorized, hello))
}

async fn send<T: Transport>(socket: &mut T, method: &str, word: &[u8]) -> std::io::Result<()> {
    let auth = Auth {
        reason: ReasonCode::ContinueAuthentication,
        method: Some(method),
        data: Some(word),
        ..Auth::default()
    };
    let mut packet = Vec::new();
    auth.encode(&mut packet).map_err(std::io::Error::other)?;
    socket.write_all(&packet).await?;
    socket.flush().await
}

/// The client's next word: an AUTH of the same method [MQTT5-4.12.0-3, 4.12.0-5].
async fn answer<T: Transport>(
    core: &Core,
    input: &mut Input,
    socket: &mut T,
    hello: &Hello,
    method: &str,
) -> Result<Vec<u8>, Refusal> {
    let limit = core.limits().packet_bytes.min(codec::CONNECT_LEN_MAX);
    let mut decode = |bytes: &[u8]| match codec::decode(bytes, ProtocolVersion::V5, limit) {
        Ok(Decoded::NeedMore { at_least }) => Ok(Decoded::NeedMore { at_least }),
        Ok(Decoded::Packet { packet: Packet::Auth(auth), len }) => {
            if auth.reason != ReasonCode::ContinueAuthentication || auth.method != Some(method) {
                return Err(out_of_place("an AUTH of another exchange", hello));
            }
            Ok(Decoded::Packet { packet: auth.data.unwrap_or_default().to_vec(), len })
        }
        Ok(Decoded::Packet { packet, .. }) => Err(out_of_place(&packet.packet_type().to_string(), hello)),
        Err(error) => Err(broken(&error, hello)),
    };
    poll_fn(|cx| poll_packet(input, socket, core, cx, &mut decode)).await
}
