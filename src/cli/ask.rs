//! Questions of the operator, which the server answers over HTTP: one request, one answer in JSON.

use std::io::{self, Read, Write as _};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::time::Duration;

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::Value;

use super::connect::Connect;
use super::failure::Failure;

/// More than any answer has.
const ANSWER_MAX: u64 = 16 << 20;

/// Where the server's HTTP is.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Http {
    /// Where the server answers HTTP. (It is not encrypted: ask on the machine itself, or through a tunnel.)
    #[arg(long, value_name = "HOST:PORT", env = "DISTKV_HTTP", default_value = "localhost:27588")]
    http: String,
}

impl Http {
    /// Asks, as whom `connect` says.
    pub(super) fn get(&self, connect: &Connect, path: &str) -> anyhow::Result<Value> {
        let login = match connect.credentials()? {
            Some((user, password)) => {
                format!("Authorization: Basic {}\r\n", BASE64.encode(format!("{user}:{password}")))
            }
            None => String::new(),
        };
        let host = &self.http;
        let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{login}\r\n");
        let answer = self.exchange(&request, connect.patience()).map_err(|error| {
            Failure::Unreachable(format!(
                "{host} does not answer HTTP: {error}. Is the server running? --http says where"
            ))
        })?;
        read(&answer)
    }

    fn exchange(&self, request: &str, patience: Duration) -> io::Result<String> {
        let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
        for address in self.http.to_socket_addrs()? {
            match TcpStream::connect_timeout(&address, patience) {
                Ok(mut stream) => {
                    stream.set_read_timeout(Some(patience))?;
                    stream.write_all(request.as_bytes())?;
                    let mut answer = String::new();
                    stream.take(ANSWER_MAX).read_to_string(&mut answer)?;
                    return Ok(answer);
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }
}

/// The answer's JSON, or the error that it tells.
fn read(answer: &str) -> anyhow::Result<Value> {
    let (head, body) = answer.split_once("\r\n\r\n").context("the server's answer is no HTTP")?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse::<u16>().ok()).unwrap_or_default();
    let json: Value = serde_json::from_str(body).context("the server's answer is no JSON")?;
    if status == 200 {
        return Ok(json);
    }
    let told = |key: &str| json.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let (error, help) = (told("error"), told("help"));
    Err(match status {
        401 => Failure::Denied(format!("{error}: say who you are with --user")).into(),
        403 => Failure::Denied(format!("{error}: {help}")).into(),
        404 => Failure::NotFound(error).into(),
        400 => Failure::Usage(error).into(),
        _ => anyhow::anyhow!("{error}: {help}"),
    })
}

/// A text as a part of a path or query.
pub(super) fn escaped(text: &str) -> String {
    use std::fmt::Write as _;
    text.bytes().fold(String::with_capacity(text.len()), |mut out, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            // Writing to a string does not fail.
            let _written = write!(out, "%{byte:02X}");
        }
        out
    })
}

#[cfg(test)]
mod tests {
    use super::super::failure::exit_code;
    use super::*;

    #[test]
    fn an_answer_is_json_or_an_error_with_its_code() {
        let answer =
            |status: &str| format!("HTTP/1.1 {status}\r\nA: b\r\n\r\n{{\"error\":\"e\",\"help\":\"h\"}}");
        assert_eq!(read(&answer("200 OK")).unwrap()["error"], "e");
        for (status, code) in [("401 x", 4), ("403 x", 4), ("404 x", 3), ("400 x", 2), ("503 x", 1)] {
            assert_eq!(exit_code(&read(&answer(status)).unwrap_err()), code, "{status}");
        }
        assert!(read("rubbish").is_err() && read("HTTP/1.1 200 OK\r\n\r\nrubbish").is_err());
    }

    #[test]
    fn what_is_special_is_escaped() {
        assert_eq!(escaped("a/b c+%\u{e4}-1.x"), "a%2Fb%20c%2B%25%C3%A4-1.x");
    }
}
