//! Who may ask: once users have to log in, an admin of the whole server, by name and password or by a token; everything but `/health`
//! needs that. Until then `/metrics` answers whoever reaches it, and `/api` this machine only.
//!
//! | header | is |
//! |---|---|
//! | `Authorization: Basic BASE64` | `NAME:PASSWORD`, or a token in place of the password |
//! | `Authorization: Bearer TOKEN` | a token, which has its user's name in it |

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::Face;
use super::api::{Problem, guard};
use crate::auth::checks::Refused;
use crate::auth::digest::Digest;
use crate::auth::logins::Logins;
use crate::auth::token;

/// The longest header that is looked at.
const HEADER_MAX: usize = 4096;

/// What a request has to pass: the face with its users, and who is at the other end.
#[derive(Clone)]
pub(super) struct Door {
    pub(super) face: Arc<Face>,
    pub(super) peer: SocketAddr,
}

/// Lets a request to `/api` through, or answers why not.
pub(super) async fn check_api(State(door): State<Door>, request: Request, next: Next) -> Response {
    let judged = match door.logins() {
        Some(logins) => match door.admit(logins, request.headers()).await {
            Ok(()) => guard::judge_page(request.method(), request.headers()),
            Err(refused) => return refused,
        },
        None => guard::judge(door.peer.ip(), request.method(), request.uri(), request.headers()),
    };
    match judged {
        Ok(()) => next.run(request).await,
        Err((error, help)) => Problem::new(StatusCode::FORBIDDEN, error, help).into_response(),
    }
}

/// Lets a request to `/metrics` through, or answers why not.
pub(super) async fn check(State(door): State<Door>, request: Request, next: Next) -> Response {
    let refused = match door.logins() {
        Some(logins) => door.admit(logins, request.headers()).await.err(),
        None => None,
    };
    match refused {
        Some(refused) => refused,
        None => next.run(request).await,
    }
}

/// What somebody shows.
struct Shown {
    user: String,
    secret: Digest,
}

impl Door {
    /// The users, if anybody has to log in.
    fn logins(&self) -> Option<&Logins> {
        self.face.shown.get().map(|shown| &*shown.logins).filter(|logins| logins.are_on())
    }

    /// Is this an admin?
    async fn admit(&self, logins: &Logins, headers: &HeaderMap) -> Result<(), Response> {
        let login = match (logins.by_nothing(), shown(headers)) {
            (Some(login), _) => login,
            (None, None) => {
                return Err(unauthorized("this needs an admin's name and password, or his token"));
            }
            (None, Some(Shown { user, secret })) => {
                let ip = self.peer.ip().to_canonical();
                logins.by_secret(&user, secret, Some(ip)).await.map_err(refused)?
            }
        };
        if login.user().is_operator() {
            return Ok(());
        }
        let error = "this needs an admin of the whole server";
        let help = "log in as a user without an access list, or with the mark `admin`, and without a root";
        Err(Problem::new(StatusCode::FORBIDDEN, error, help).into_response())
    }
}

/// Reads the header; `None` if there is none that is of use.
fn shown(headers: &HeaderMap) -> Option<Shown> {
    let header = headers.get(header::AUTHORIZATION)?.to_str().ok().filter(|it| it.len() <= HEADER_MAX)?;
    let (scheme, credentials) = header.split_once(' ')?;
    let credentials = credentials.trim();
    if scheme.eq_ignore_ascii_case("bearer") {
        let user = token::user_of(credentials)?;
        return Some(Shown { user, secret: Digest::of(credentials.as_bytes()) });
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = BASE64.decode(credentials).ok()?;
    let at = decoded.iter().position(|byte| *byte == b':')?;
    let (user, secret) = (decoded.get(..at)?, decoded.get(at + 1..)?);
    Some(Shown { user: std::str::from_utf8(user).ok()?.to_owned(), secret: Digest::of(secret) })
}

fn refused(why: Refused) -> Response {
    match why {
        Refused::Wrong => unauthorized(&why.to_string()),
        Refused::TooOften | Refused::Busy => {
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, why.to_string(), "wait some seconds")
                .into_response()
        }
    }
}

fn unauthorized(error: &str) -> Response {
    let help = "with curl: -u NAME, or -H 'Authorization: Bearer TOKEN'";
    let mut response = Problem::new(StatusCode::UNAUTHORIZED, error, help).into_response();
    let asked = HeaderValue::from_static("Basic realm=\"distkv\", charset=\"UTF-8\"");
    response.headers_mut().insert(header::WWW_AUTHENTICATE, asked);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(header: &str) -> Option<(String, Digest)> {
        let mut headers = HeaderMap::new();
        headers.insert(header::AUTHORIZATION, HeaderValue::from_str(header).unwrap());
        shown(&headers).map(|shown| (shown.user, shown.secret))
    }

    #[test]
    fn name_and_secret_are_read_from_either_scheme() {
        let (user, secret) = read(&format!("basic {}", BASE64.encode("ann@a.b:se:cret"))).unwrap();
        assert!(user == "ann@a.b" && secret.is(Digest::of(b"se:cret").as_bytes()));
        let token = token::Token::make("lamp").unwrap();
        let (user, secret) = read(&format!("Bearer {}", token.text)).unwrap();
        assert!(user == "lamp" && secret.as_stored_token() == token.stored);
        let long = format!("Basic {}", "A".repeat(HEADER_MAX));
        for none in ["", "Basic", "Basic !", "Basic YW5u", "Bearer x", "Digest x", &long] {
            assert!(read(none).is_none(), "{none}");
        }
    }
}
