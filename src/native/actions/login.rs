//! Logging in: `auth`, and the key exchange before it.
//!
//! A password travels as its SHA-256 in a box that the exchanged key closes. Who is who is found out by [`Logins`](crate::auth::logins::Logins),
//! for all faces alike.

use std::sync::Arc;

use distkv_store::path::Path;
use tokio::task::spawn_blocking;

use super::super::Figures;
use super::super::failure::Failure;
use super::super::session::{Outcome, Request, Session};
use super::super::stream::Next;
use super::super::wire::{Fault, Fields};
use super::work::{Reply, Work};
use crate::auth::checks::Claim;
use crate::auth::digest::Digest;
use crate::auth::logins::{PASSWORD, ROOT};
use crate::auth::secrets::Secrets;
use crate::client::exchange::{Exchange, PRIVATE_BYTES, SharedKey};

/// A prime shorter than this is no protection; the original can be told to use one.
const KEY_BITS_MIN: u64 = 32;

/// `diffie_hellman`: agrees on a key, once for a connection.
pub(super) fn exchange(session: &mut Session, request: &Request<'_>) -> Result<(), Failure> {
    let theirs = request.fields.binary("pubkey")?.ok_or(Fault::Missing("pubkey"))?.to_vec();
    if request.fields.uint("length")?.is_some_and(|bits| bits < KEY_BITS_MIN) {
        return Err(Failure::Invalid(
            "a key exchange as short as that protects nothing: take 1024".to_owned(),
        ));
    }
    let outcome = session.begin_exchange()?;
    let places = Arc::clone(&session.face.exchanges);
    let work = async move {
        // The semaphore is never closed.
        let _place = places.acquire_owned().await;
        let agreed = spawn_blocking(move || agree(&theirs)).await;
        let (ours, key) = agreed.map_err(|_| Failure::Internal("the key exchange failed".to_owned()))??;
        // The connection may be gone.
        let _gone = outcome.send(Outcome::Key(key));
        let reply: Reply = Box::new(move |message| {
            message.bin("pubkey", &ours);
            Next::Message { has_tock: false }
        });
        Ok(reply)
    };
    session.answer_later(request, Work::new(work))
}

/// Our public key, and the key that both have.
fn agree(theirs: &[u8]) -> Result<(Vec<u8>, SharedKey), Failure> {
    let mut private = [0; PRIVATE_BYTES];
    getrandom::fill(&mut private)
        .map_err(|error| Failure::Internal(format!("the system gives no random numbers: {error}")))?;
    let exchange = Exchange::new(&private);
    let ours = exchange.public_key();
    let key = exchange.agree(theirs).map_err(|error| Failure::Invalid(error.to_string()))?;
    Ok((ours, key))
}

/// What is in the box with a password.
pub(super) fn digest_in(session: &Session, fields: &Fields<'_>) -> Result<Digest, Failure> {
    let sealed = fields.binary("password")?.ok_or(Fault::Missing("password"))?;
    let key = session.key().ok_or_else(|| {
        Failure::Invalid(
            "agree on a key first, with `diffie_hellman`: a password is never sent in clear".to_owned(),
        )
    })?;
    let opened = key.open(sealed).map_err(|error| Failure::Invalid(error.to_string()))?;
    let digest = opened
        .try_into()
        .map_err(|_| Failure::Invalid("what is in the box is not the SHA-256 of a password".to_owned()))?;
    Ok(Digest::from_bytes(digest))
}

/// `auth`: a login; or, where that is not needed or done already, a trial which changes nothing.
pub(super) fn log_in(session: &mut Session, request: &Request<'_>) -> Result<(), Failure> {
    let method = request.fields.needed_text("typ")?;
    let ident = match request.fields.text("ident")? {
        None if method != ROOT => return Err(Fault::Missing("ident").into()),
        ident => ident.unwrap_or("*").to_owned(),
    };
    if session.view().is_ok() {
        return try_out(session, request, method, &ident);
    }
    let logins = Arc::clone(&session.face.logins);
    let in_force = session.face.store.access().method(&Path::root());
    if in_force.as_deref() != Some(method) && !ident.contains('@') {
        let in_force = in_force.as_deref().unwrap_or("none");
        return Err(Failure::NotAllowed(format!("users log in by the method `{in_force}` here")));
    }
    let shown = match method {
        PASSWORD => digest_in(session, &request.fields)?,
        _ => Digest::of(b""),
    };
    let address = session.peer.ip();
    let outcome = session.begin_login();
    let face = Arc::clone(&session.face);
    let work = async move {
        match logins.by_secret(&ident, shown, Some(address)).await {
            Ok(user) => {
                tracing::info!(user = &*user.user().login, %address, "a native client has logged in");
                let _gone = outcome.send(Outcome::LoggedIn(user));
                let reply: Reply = Box::new(|_| Next::End);
                Ok(reply)
            }
            Err(refused) => {
                Figures::count(&face.figures.refused);
                tracing::info!(user = ident, %address, "a login of a native client was refused: {refused}");
                Err(Failure::Refused(refused))
            }
        }
    };
    session.open_stream(request, Work::new(work))
}

/// Would this login be right, if logins by that method were on?
fn try_out(session: &mut Session, request: &Request<'_>, method: &str, ident: &str) -> Result<(), Failure> {
    let user = session.face.store.access().user(&Path::root(), method, ident);
    let logins = Arc::clone(&session.face.logins);
    let shown = if method == PASSWORD { digest_in(session, &request.fields)? } else { Digest::of(b"") };
    let (method, ident, address) = (method.to_owned(), ident.to_owned(), session.peer.ip());
    let work = async move {
        let kept = user.as_deref().map(Secrets::of_user);
        if method == PASSWORD {
            let claim = Claim { user: &ident, shown, address: Some(address) };
            logins.checks().check(claim, kept.as_ref()).await.map_err(Failure::Refused)?;
        } else if kept.is_none() {
            return Err(Failure::NotAllowed("there is no such user".to_owned()));
        }
        let reply: Reply = Box::new(|_| Next::End);
        Ok(reply)
    };
    session.open_stream(request, Work::new(work))
}
