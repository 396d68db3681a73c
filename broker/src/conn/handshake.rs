//! From the first byte to the CONNACK: CONNECT in time, login, the client's seat, its session.

mod hello;
mod proof;
mod refusal;

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use self::hello::Hello;
use self::refusal::{Refusal, login_refused, malformed, no_memory, no_room, no_seat, not_its_own, too_small};
use super::gate;
use super::input::{Input, Read};
use super::junk;
use crate::broker::Core;
use crate::clients::Presence;
use crate::clock;
use crate::codec::{self, DecodeError, Decoded, ProtocolVersion, ReasonCode};
use crate::hooks::{Login, LoginRefused, Principal, Standing};
use crate::limits::Limits;
use crate::metrics::Refused;
use crate::outbox::Close;
use crate::peer::{Listener, Peer};
use crate::registry::Seat;
use crate::session::{Log as _, record};
use crate::transport::Transport;
use crate::wills;
use crate::worker::{self, Worker};

/// How long a new connection waits until the one before it has left.
const TAKEOVER: Duration = Duration::from_secs(10);

/// A connection that is let in. Its CONNACK is in the outbox.
pub(super) struct Accepted {
    pub(super) seat: Seat,
    pub(super) epoch: u64,
    pub(super) version: ProtocolVersion,
    pub(super) principal: Arc<dyn Principal>,
    pub(super) keep_alive: Option<Duration>,
    pub(super) input: Input,
    pub(super) manner: Manner,
}

/// How this client wants to be spoken with, beside its version.
#[derive(Clone, Debug, Default)]
pub(super) struct Manner {
    /// Reasons in words and user properties may go on any packet [MQTT5-3.1.2-29].
    pub(super) problem_information: bool,
    /// The largest packet that the client takes.
    pub(super) maximum_packet: Option<u32>,
    /// The client is a broker itself.
    pub(super) bridge: bool,
    /// The method by which it has logged in.
    pub(super) method: Option<Arc<str>>,
    /// What its topics begin with, unseen by it.
    pub(super) mount: Option<Arc<str>>,
}

/// Lets a connection in, or turns it away with a word in the log.
pub(super) async fn shake_hands<T: Transport>(
    core: &Arc<Core>,
    socket: &mut T,
    peer: &Peer,
    deadline: Instant,
    permit: &mut Option<OwnedSemaphorePermit>,
) -> Option<Accepted> {
    let mut stop = core.connections.stop_signal();
    let result = tokio::select! {
        biased;
        () = stop.stopped() => return None,
        result = negotiate(core, socket, peer, deadline, permit) => result,
    };
    let refusal = match result {
        Ok(accepted) => return Some(accepted),
        Err(refusal) => refusal,
    };
    core.metrics.refused(refusal.reason);
    if let Some(client) = &refusal.client {
        core.note_refusal(client, &refusal.words);
    }
    if let Some(left_out) = core.lines.allow(clock::now()) {
        tracing::info!(%peer, left_out, "connection refused: {}", refusal.words);
    }
    refusal.tell(socket).await;
    None
}

async fn negotiate<T: Transport>(
    core: &Arc<Core>,
    socket: &mut T,
    peer: &Peer,
    deadline: Instant,
    permit: &mut Option<OwnedSemaphorePermit>,
) -> Result<Accepted, Refusal> {
    let limits = Arc::clone(&core.limits());
    let listener = &*peer.listener;
    let mut input = Input::new(Arc::clone(&core.unfinished));
    let hello = first_packet(core, &mut input, socket, &limits, peer);
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
    accepts(listener, &hello)?;
    redirect(&hello, &limits)?;
    hello.check_will(&limits)?;
    if !gate::has_memory(core) {
        return Err(no_memory(&hello));
    }
    let checked =
        tokio::time::timeout(limits.connect_timeout, log_in(core, &mut input, socket, &hello, peer));
    let (principal, proof) =
        checked.await.unwrap_or_else(|_| Err(login_refused(LoginRefused::Unavailable, &hello)))?;
    if let Some(root) = principal.mount() {
        hello.move_below(root);
    }
    if hello.maximum_packet.is_some()
        && !hello.takes(hello.connack(false, &limits, listener, proof.as_deref()).len())
    {
        return Err(too_small(&hello));
    }
    gate::hold_back(core, &hello.client_id, peer, &limits, permit).await;
    if !gate::is_of_the_same_root(core, &hello.client_id, &*principal) {
        return Err(not_its_own(&hello));
    }
    gate::note_takeover(core, &hello.client_id, peer);
    let seat = core
        .registry
        .sit(&hello.client_id, TAKEOVER, core, || core.make_client(&hello.client_id, &principal));
    let seat = seat.await.map_err(|why| no_seat(why, &hello))?;
    let keep_alive = hello::silence(hello.keep_alive(&limits, listener).0);
    let (clean, version) = (hello.clean, hello.version);
    let user = principal.user().or(hello.user.as_deref()).unwrap_or("-").to_owned();
    let manner = manner(&hello, &*principal, listener);
    let proof = proof.as_deref();
    let begun = Begin { core, seat: &seat, peer, limits: &limits, proof, manner: &manner };
    let (epoch, present) = begun.session(hello, &principal);
    // Users may have changed since the login, when nobody could ask this connection yet.
    if principal.standing() != Standing::Welcome {
        seat.client.tell(Close::NotAuthorized);
    }
    let client = &*seat.client.id;
    tracing::info!(client, %peer, user, %version, clean, session_present = present, "connected");
    Ok(Accepted { seat, epoch, version, principal, keep_alive, input, manner })
}

/// How the client wants to be spoken with, and what its topics begin with: the root of its user, then the mount point of the listener.
fn manner(hello: &Hello, principal: &dyn Principal, listener: &Listener) -> Manner {
    let mount = match principal.mount() {
        Some(root) => Some(format!("{root}{}", listener.mount_point.as_deref().unwrap_or_default()).into()),
        None => listener.mount_point.clone(),
    };
    Manner {
        problem_information: hello.problem_information,
        maximum_packet: hello.maximum_packet,
        bridge: hello.bridge,
        method: hello.authentication.as_ref().map(|used| Arc::clone(&used.method)),
        mount,
    }
}

/// Does the listener accept clients of this version?
fn accepts(listener: &Listener, hello: &Hello) -> Result<(), Refusal> {
    let accepted = match hello.version {
        ProtocolVersion::V3_1 => listener.versions.v3_1,
        ProtocolVersion::V3_1_1 => listener.versions.v3_1_1,
        ProtocolVersion::V5 => listener.versions.v5,
    };
    if accepted {
        return Ok(());
    }
    let words = format!("{} is not accepted by listener {}", hello.version, listener.name);
    Err(Refusal::new(Refused::ProtocolLevel, Some(ReasonCode::UnsupportedProtocolVersion), words).to(hello))
}

/// Who comes in is not served here, but is told where.
fn redirect(hello: &Hello, limits: &Limits) -> Result<(), Refusal> {
    let Some(redirect) = &limits.offer.redirect else { return Ok(()) };
    let words = format!("client {} is sent to {}", hello.client_id, redirect.to);
    let refusal = Refusal::new(Refused::Redirected, Some(redirect.reason()), words);
    Err(refusal.to(hello).with_reference(&redirect.to))
}

/// Checks who it is: by user name and password, or by the method that the client asks for. The second is the last word of that
/// method, for the CONNACK.
async fn log_in<T: Transport>(
    core: &Core,
    input: &mut Input,
    socket: &mut T,
    hello: &Hello,
    peer: &Peer,
) -> Result<(Arc<dyn Principal>, Option<Vec<u8>>), Refusal> {
    let login = Login {
        client_id: &hello.client_id,
        user: hello.user.as_deref(),
        password: hello.password.as_deref(),
        peer,
    };
    if let Some(wanted) = &hello.authentication {
        return proof::exchange(core, input, socket, hello, wanted, &login).await;
    }
    let principal = core.hooks.authenticate(login).await.map_err(|why| login_refused(why, hello))?;
    Ok((principal, None))
}

/// What is at hand when a session begins its new connection.
struct Begin<'a> {
    core: &'a Core,
    seat: &'a Seat,
    peer: &'a Peer,
    limits: &'a Limits,
    proof: Option<&'a [u8]>,
    manner: &'a Manner,
}

impl Begin<'_> {
    /// Begins the connection's epoch of the session: CONNACK first, then what waited, then whatever comes.
    fn session(&self, mut hello: Hello, principal: &Arc<dyn Principal>) -> (u64, bool) {
        let (core, client) = (self.core, &self.seat.client);
        let now = clock::unix_time().as_secs();
        // A session whose time is over is none, even if nobody has looked at it since.
        hello.clean |= {
            let mut locked = client.lock();
            let session = locked.session();
            let end = session.expires_at(self.limits.session_expiry);
            session.is_recorded() && end.is_some_and(|end| end <= now)
        };
        if hello.clean {
            // The tree before the session, which may not be locked meanwhile. With the seat nobody adds to them.
            let filters: Vec<_> =
                client.lock().session().subscriptions().map(|(filter, _)| Arc::clone(filter)).collect();
            core.metrics.subscriptions.sub(core.router.unsubscribe(client, &filters) as u64);
        }
        let waited = core.wills.cancel(&client.id);
        // Kept is who was proven, whatever the CONNECT says beside it: the session goes on with his rights after a restart.
        let claimed = std::mem::replace(&mut hello.user, principal.user().map(Arc::from));
        let connect = hello.for_session(self.limits, || core.records.number());
        let keep_alive = hello.keep_alive(self.limits, &self.peer.listener).0;
        let presence = Presence {
            peer: self.peer.address.clone(),
            listener: Arc::clone(&self.peer.listener),
            since: now,
            keep_alive,
            claimed,
        };
        let mut recorder = core.records.recorder();
        let mut locked = client.lock();
        locked.session().set_limits(self.limits.of_session());
        let left_behind = if hello.clean { locked.session().take_unanswered() } else { Vec::new() };
        // The session for whose end the will waited goes on, or is over by now [MQTT5-3.1.3-9]. One that waits since a restart has
        // its client back.
        let (published, discarded) = match waited {
            Some(will) if hello.clean && will.will.delay > 0 => (Some(will), None),
            waited => (None, waited),
        };
        if let Some(will) = discarded {
            record::will_gone(recorder.buffer(), will.number);
            recorder.append();
        }
        let connected = locked.session().connect(connect, now, &mut recorder);
        let before = locked.principal();
        locked.log_in(Arc::clone(principal), self.manner.mount.clone());
        locked.set_presence(presence);
        let connack = hello.connack(connected.session_present, self.limits, &self.peer.listener, self.proof);
        client.outbox.open(self.limits, hello.taste(self.limits, self.manner.mount.as_deref()), &connack);
        worker::with(|Worker { routing, .. }| {
            client.outbox.lock().mark(recorder.mark());
            locked.transmit(routing, &mut recorder, core);
            locked.count_queue(core);
            drop(locked);
            // The second only if the task before failed: otherwise it has published it itself.
            for will in [&published, &connected.will].into_iter().flatten() {
                wills::publish(core, &*before, will, routing);
            }
            for left in &left_behind {
                core.router.hand_on(left, routing, core);
            }
            routing.finish(None, core);
        });
        (connected.epoch, connected.session_present)
    }
}

/// Reads the CONNECT.
async fn first_packet<T: Transport>(
    core: &Core,
    input: &mut Input,
    socket: &mut T,
    limits: &Limits,
    peer: &Peer,
) -> Result<Hello, Refusal> {
    let limit = peer.listener.packet_bytes(limits);
    let mount = peer.listener.mount_point.as_deref();
    let mut decode = |bytes: &[u8]| match codec::decode_connect(bytes, limit) {
        Ok(Decoded::Packet { packet, len }) => {
            Ok(Decoded::Packet { packet: Hello::new(&packet, mount), len })
        }
        Ok(Decoded::NeedMore { at_least }) => Ok(Decoded::NeedMore { at_least }),
        Err(error) => Err(malformed(&error, bytes, codec::connect_version(bytes))),
    };
    poll_fn(|cx| poll_packet(input, socket, core, cx, &mut decode)).await
}

/// Looks for one kind of packet at the beginning of some bytes.
type Decode<'a, P> = dyn FnMut(&[u8]) -> Result<Decoded<P>, Refusal> + Send + 'a;

/// Reads one packet, as `decode` sees it.
fn poll_packet<T: Transport, P>(
    input: &mut Input,
    socket: &mut T,
    core: &Core,
    cx: &mut Context<'_>,
    decode: &mut Decode<'_, P>,
) -> Poll<Result<P, Refusal>> {
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
            match decode(bytes) {
                Ok(Decoded::Packet { packet, len }) => {
                    core.metrics.packets_received.add(1);
                    if input.keep(&bytes[len..], 0, len < bytes.len()) {
                        return Poll::Ready(Ok(packet));
                    }
                    return Poll::Ready(Err(no_room()));
                }
                Ok(Decoded::NeedMore { at_least }) => {
                    if !input.keep(bytes, at_least, false) {
                        return Poll::Ready(Err(no_room()));
                    }
                }
                Err(refusal) => return Poll::Ready(Err(refusal)),
            }
        }
    })
}

/// A packet that does not belong into a handshake.
fn out_of_place(what: &str, hello: &Hello) -> Refusal {
    let words = format!("{what} instead of AUTH (client {})", hello.client_id);
    Refusal::new(Refused::NotMqtt, Some(ReasonCode::ProtocolError), words).to(hello)
}

/// A packet of the exchange that breaks the protocol.
fn broken(error: &DecodeError, hello: &Hello) -> Refusal {
    let words = format!("{error} (client {})", hello.client_id);
    Refusal::new(Refused::NotMqtt, Some(error.reason()), words).to(hello)
}
