//! The first words on a connection: the server's greeting, and our login.

use distkv_store::value::{Token, Tokens};

use super::error::Error;
use super::exchange::{Exchange, NONCE_BYTES, PRIVATE_BYTES, SharedKey};
use super::link::Link;
use super::options::{Login, Options};
use super::reply::{Reply, State};
use super::request::Request;
use crate::native::wire;

/// Greets and logs in; what is left is a connection that takes any request.
pub(super) async fn log_in(link: &mut Link, options: &Options) -> Result<(), Error> {
    let greeting = link.receive().await.map_err(|error| not_a_server(error, options))?;
    if greeting.seq() != Some(0) || greeting.field("version").is_none() {
        let reason = "it greets with another message".to_owned();
        return Err(Error::NotAServer { server: options.server.clone(), reason });
    }
    if let Some(theirs) = greeting.number("qlen").filter(|theirs| *theirs >= wire::WINDOW_MIN) {
        link.window = theirs.min(options.window);
        link.send_as(0, &Request::follow_up().count("qlen", link.window)).await?;
    }
    let Some(method) = wanted(&greeting) else { return Ok(()) };
    link.logged_in = true;
    if options.login.method() != Some(&method) {
        return Err(match &options.login {
            Login::None => Error::LoginNeeded { server: options.server.clone(), method },
            other => Error::LoginRefused {
                user: other.user().to_owned(),
                reason: format!("the server wants a login by `{method}`"),
            },
        });
    }
    let request = Request::new("auth").text("typ", &method).text("ident", options.login.user());
    let request = match &options.login {
        Login::Password { password, .. } => {
            let key = agree(link).await?;
            request.bytes("password", &key.seal_password(&password.0, &random::<NONCE_BYTES>()?))
        }
        _ => request,
    };
    let seq = link.send(&request).await?;
    finish(link, seq).await.map_err(|error| match error {
        Error::Refused(refusal) => {
            Error::LoginRefused { user: options.login.user().to_owned(), reason: refusal.to_string() }
        }
        // A server may close at once on a bad login.
        Error::Lost { .. } => Error::LoginRefused {
            user: options.login.user().to_owned(),
            reason: "the server closed the connection".to_owned(),
        },
        other => other,
    })
}

/// The method of login that is in force, if one is.
fn wanted(greeting: &Reply) -> Option<String> {
    let mut tokens = Tokens::new(greeting.field("auth")?);
    let Some(Token::Array(1..)) = tokens.next() else { return None };
    match tokens.next() {
        Some(Token::Str(method)) => Some(method.to_owned()),
        _ => None,
    }
}

fn not_a_server(error: Error, options: &Options) -> Error {
    let server = options.server.clone();
    match error {
        Error::Malformed(reason) => Error::NotAServer { server, reason },
        Error::Lost { .. } => {
            let reason = "it closed the connection without a greeting".to_owned();
            Error::NotAServer { server, reason }
        }
        other => other,
    }
}

/// Agrees on a key, as passwords travel in a box.
async fn agree(link: &mut Link) -> Result<SharedKey, Error> {
    let (request, exchange) = offer()?;
    let seq = link.send(&request).await?;
    let reply = loop {
        let reply = link.receive().await?;
        if reply.seq() == Some(seq) {
            break reply.accepted()?;
        }
        // Without a number it is the last word before the connection ends.
        reply.accepted()?;
    };
    accept(exchange, &reply)
}

/// Our half of a key exchange, and the request that carries it.
pub(super) fn offer() -> Result<(Request, Exchange), Error> {
    let exchange = Exchange::new(&random::<PRIVATE_BYTES>()?);
    let request =
        Request::new("diffie_hellman").bytes("pubkey", &exchange.public_key()).count("length", 1024);
    Ok((request, exchange))
}

/// The key, from the server's half.
pub(super) fn accept(exchange: Exchange, reply: &Reply) -> Result<SharedKey, Error> {
    let theirs = reply.bytes("pubkey").unwrap_or_default();
    exchange.agree(theirs).map_err(|error| Error::Malformed(error.to_string()))
}

/// Waits for the end of the login's stream: it was good if there was no error in it.
async fn finish(link: &mut Link, seq: u64) -> Result<(), Error> {
    let mut result = Ok(());
    loop {
        let reply = link.receive().await?;
        if let Some(error) = reply.refusal() {
            result = Err(error);
        }
        match (reply.seq(), reply.state()) {
            (Some(number), Some(State::End)) if number == seq => return result,
            (None, _) => return result,
            _ => {}
        }
    }
}

/// Random bytes of the system.
pub(super) fn random<const LEN: usize>() -> Result<[u8; LEN], Error> {
    let mut bytes = [0; LEN];
    match getrandom::fill(&mut bytes) {
        Ok(()) => Ok(bytes),
        Err(error) => Err(Error::Invalid(format!("the system gives no random numbers: {error}"))),
    }
}
