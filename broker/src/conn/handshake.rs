//! From the first byte to the CONNACK: CONNECT in time, login, the client's seat, its session.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::AsyncWriteExt;
use tokio::time::Instant;

use super::input::{Input, Read};
use super::junk;
use crate::broker::Core;
use crate::clock;
use crate::codec::{self, Answer, Connack, ConnectReturnCode, DecodeError, Decoded, ProtocolVersion};
use crate::hooks::{Login, LoginRefused, Principal};
use crate::metrics::Refused;
use crate::peer::Peer;
use crate::registry::{NoSeat, Seat};
use crate::session::{Connect, Will, keep_alive_timeout};
use crate::transport::Transport;
use crate::wills;
use crate::worker::{self, Worker};

/// How long a new connection waits until the one before it has left.
const TAKEOVER: Duration = Duration::from_secs(10);
/// How long a refused client may take to read why.
const REFUSAL: Duration = Duration::from_secs(2);

/// A connection that is let in. Its CONNACK is in the outbox.
pub(super) struct Accepted {
    pub(super) seat: Seat,
    pub(super) epoch: u64,
    pub(super) version: ProtocolVersion,
    pub(super) principal: Arc<dyn Principal>,
    pub(super) keep_alive: Option<Duration>,
    pub(super) input: Input,
}

/// Why a connection is turned away, and what its client is told.
struct Refusal {
    reason: Refused,
    answer: Option<ConnectReturnCode>,
    words: String,
}

impl Refusal {
    fn new(reason: Refused, answer: Option<ConnectReturnCode>, words: impl Into<String>) -> Self {
        Self { reason, answer, words: words.into() }
    }
}

/// What a CONNECT says, out of the read buffer.
struct Hello {
    version: ProtocolVersion,
    clean: bool,
    keep_alive: u16,
    client_id: Arc<str>,
    will: Option<Will>,
    user: Option<Arc<str>>,
    password: Option<Vec<u8>>,
}

/// Lets a connection in, or turns it away with a word in the log.
pub(super) async fn shake_hands<T: Transport>(
    core: &Arc<Core>,
    socket: &mut T,
    peer: &Peer,
    deadline: Instant,
) -> Option<Accepted> {
    let mut stop = core.connections.stop_signal();
    let result = tokio::select! {
        biased;
        () = stop.stopped() => return None,
        result = negotiate(core, socket, peer, deadline) => result,
    };
    let refusal = match result {
        Ok(accepted) => return Some(accepted),
        Err(refusal) => refusal,
    };
    core.metrics.refused(refusal.reason);
    if let Some(left_out) = core.lines.allow(clock::now()) {
        tracing::info!(%peer, left_out, "connection refused: {}", refusal.words);
    }
    if let Some(code) = refusal.answer {
        let mut connack = Vec::new();
        Connack::Refused(code).encode(&mut connack, ProtocolVersion::V3_1_1);
        let answered = async {
            socket.write_all(&connack).await?;
            socket.shutdown().await
        };
        // Whoever does not read it does not want to know.
        let _ = tokio::time::timeout(REFUSAL, answered).await;
    }
    None
}

async fn negotiate<T: Transport>(
    core: &Arc<Core>,
    socket: &mut T,
    peer: &Peer,
    deadline: Instant,
) -> Result<Accepted, Refusal> {
    let limits = Arc::clone(&core.limits());
    let mut input = Input::new(Arc::clone(&core.unfinished));
    let hello = poll_fn(|cx| poll_hello(&mut input, socket, core, cx));
    let mut hello = match tokio::time::timeout_at(deadline, hello).await {
        Ok(hello) => hello?,
        Err(_) => {
            let what = junk::recognise(input.kept());
            return Err(Refusal::new(Refused::ConnectTimeout, None, format!("no CONNECT in time: {what}")));
        }
    };
    // Who has shown a certificate is who that says, whatever he calls himself.
    if let Some(identity) = &peer.identity {
        hello.user = Some(Arc::clone(identity));
    }
    let login = Login {
        client_id: &hello.client_id,
        user: hello.user.as_deref(),
        password: hello.password.as_deref(),
        peer,
    };
    let login = tokio::time::timeout(limits.connect_timeout, core.hooks.authenticate(login)).await;
    let principal =
        login.unwrap_or(Err(LoginRefused::Unavailable)).map_err(|why| login_refused(why, &hello))?;
    let seat = core
        .registry
        .sit(&hello.client_id, TAKEOVER, core, || core.make_client(&hello.client_id, &principal));
    let seat = seat.await.map_err(|why| no_seat(why, &hello))?;
    if let Some(will) = core.wills.cancel(&hello.client_id) {
        core.records.will_gone(will.number);
    }
    let keep_alive = keep_alive_timeout(hello.keep_alive);
    let (clean, version) = (hello.clean, hello.version);
    let user = hello.user.as_deref().unwrap_or("-").to_owned();
    let (epoch, present) = begin(core, &seat, hello, &principal);
    let client = &*seat.client.id;
    tracing::info!(client, %peer, user, %version, clean, session_present = present, "connected");
    Ok(Accepted { seat, epoch, version, principal, keep_alive, input })
}

/// Begins the connection's epoch of the session: CONNACK first, then what waited, then whatever comes.
fn begin(core: &Core, seat: &Seat, hello: Hello, principal: &Arc<dyn Principal>) -> (u64, bool) {
    let client = &seat.client;
    let limits = Arc::clone(&core.limits());
    let (version, clean) = (hello.version, hello.clean);
    if clean {
        // The tree before the session, which may not be locked meanwhile. With the seat nobody adds to them.
        let filters: Vec<_> =
            client.lock().session().subscriptions().map(|(filter, _)| Arc::clone(filter)).collect();
        core.metrics.subscriptions.sub(core.router.unsubscribe(client, &filters) as u64);
    }
    let connect = Connect {
        clean,
        user: hello.user,
        version,
        will: hello.will.map(|will| (core.records.number(), will)),
    };
    let now = clock::unix_time().as_secs();
    let mut recorder = core.records.recorder();
    let mut locked = client.lock();
    locked.session().set_limits(limits.of_session());
    let connected = locked.session().connect(connect, now, &mut recorder);
    let before = locked.principal();
    locked.log_in(Arc::clone(principal));
    let mut connack = Vec::new();
    Connack::Accepted { session_present: connected.session_present }.encode(&mut connack, version);
    client.outbox.open(&limits, &connack);
    worker::with(|Worker { routing, .. }| {
        client.outbox.lock().mark(recorder.mark());
        locked.transmit(routing, &mut recorder, core);
        locked.count_queue(core);
        drop(locked);
        // Only if the task before failed: otherwise it has published it itself.
        if let Some(will) = &connected.will {
            wills::publish(core, &*before, will, routing);
        }
        routing.finish(None, core);
    });
    (connected.epoch, connected.session_present)
}

fn poll_hello<T: Transport>(
    input: &mut Input,
    socket: &mut T,
    core: &Core,
    cx: &mut Context<'_>,
) -> Poll<Result<Hello, Refusal>> {
    let limit = core.limits().packet_bytes;
    worker::with(|Worker { buffer, .. }| {
        loop {
            let Poll::Ready(read) = input.poll_read(socket, cx, buffer) else { return Poll::Pending };
            let packet;
            let (bytes, received): (&[u8], usize) = match read {
                Ok(Read::Bytes { len, received }) => (&buffer[..len], received),
                Ok(Read::Packet { packet: whole, received }) => {
                    packet = whole;
                    (&packet, received)
                }
                Ok(Read::Part { received }) => {
                    core.metrics.bytes_received.add(received as u64);
                    continue;
                }
                // The timeout decides: there is no room for a CONNECT of this size.
                Ok(Read::NoRoom) => return Poll::Pending,
                Ok(Read::End) | Err(_) => {
                    let what = junk::recognise(input.kept());
                    let words = format!("closed by the peer before CONNECT: {what}");
                    return Poll::Ready(Err(Refusal::new(Refused::NotMqtt, None, words)));
                }
            };
            core.metrics.bytes_received.add(received as u64);
            match codec::decode_connect(bytes, limit) {
                Ok(Decoded::Packet { packet, len }) => {
                    core.metrics.packets_received.add(1);
                    let hello = hello(&packet);
                    if input.keep(&bytes[len..], 0, len < bytes.len()) {
                        return Poll::Ready(Ok(hello));
                    }
                    return Poll::Ready(Err(no_room()));
                }
                Ok(Decoded::NeedMore { at_least }) => {
                    if !input.keep(bytes, at_least, false) {
                        return Poll::Ready(Err(no_room()));
                    }
                }
                Err(error) => return Poll::Ready(Err(malformed(&error, bytes))),
            }
        }
    })
}

fn hello(connect: &codec::Connect<'_>) -> Hello {
    let will = connect.will.map(|will| Will {
        topic: will.topic.into(),
        payload: Bytes::copy_from_slice(will.payload),
        qos: will.qos,
        retain: will.retain,
    });
    let client_id = if connect.client_id.is_empty() { generated_id() } else { connect.client_id.into() };
    Hello {
        version: connect.version,
        clean: connect.clean_session,
        keep_alive: connect.keep_alive,
        client_id,
        will,
        user: connect.user.map(Arc::from),
        password: connect.password.map(<[u8]>::to_vec),
    }
}

/// An identifier for a client without one [MQTT-3.1.3-6]: random, so that nobody can guess it to take over.
fn generated_id() -> Arc<str> {
    let mut random = [0; 16];
    if getrandom::fill(&mut random).is_err() {
        // No randomness from the system: unique is what matters most.
        random = clock::unix_time().as_nanos().to_be_bytes();
    }
    format!("auto-{:032x}", u128::from_be_bytes(random)).into()
}

fn malformed(error: &DecodeError, bytes: &[u8]) -> Refusal {
    let answer = match error.answer() {
        Answer::Connack(code) => Some(code),
        Answer::Close => None,
    };
    match error {
        DecodeError::NotConnect | DecodeError::Tls | DecodeError::ProtocolName => {
            Refusal::new(Refused::NotMqtt, answer, format!("{error}: {}", junk::recognise(bytes)))
        }
        DecodeError::ProtocolLevel(_) => Refusal::new(Refused::ProtocolLevel, answer, error.to_string()),
        DecodeError::ClientIdEmpty => Refusal::new(Refused::ClientId, answer, error.to_string()),
        _ => Refusal::new(Refused::NotMqtt, answer, error.to_string()),
    }
}

fn no_room() -> Refusal {
    Refusal::new(Refused::Unavailable, None, "there is no room for an unfinished packet")
}

fn login_refused(why: LoginRefused, hello: &Hello) -> Refusal {
    let (reason, code, words) = match why {
        LoginRefused::BadCredentials => {
            (Refused::BadCredentials, ConnectReturnCode::BadUserNameOrPassword, "wrong user name or password")
        }
        LoginRefused::NotAuthorized => {
            (Refused::NotAuthorized, ConnectReturnCode::NotAuthorized, "not authorized")
        }
        LoginRefused::Unavailable => {
            (Refused::Unavailable, ConnectReturnCode::ServerUnavailable, "logins can't be checked")
        }
    };
    let user = hello.user.as_deref().unwrap_or("-");
    Refusal::new(reason, Some(code), format!("{words} (client {}, user {user})", hello.client_id))
}

fn no_seat(why: NoSeat, hello: &Hello) -> Refusal {
    let client = &hello.client_id;
    match why {
        NoSeat::Overtaken => {
            Refusal::new(Refused::Unavailable, None, format!("client {client} connected once more meanwhile"))
        }
        NoSeat::Timeout => {
            let words = format!("the previous connection of client {client} did not end in time");
            Refusal::new(Refused::Unavailable, Some(ConnectReturnCode::ServerUnavailable), words)
        }
        NoSeat::Full => {
            let words = format!("the limit of sessions is reached (client {client})");
            Refusal::new(Refused::TooManySessions, Some(ConnectReturnCode::ServerUnavailable), words)
        }
    }
}
