//! Who may use `/api` while there are no users: programs of this machine, by hand. Not other machines, not what a proxy passes
//! on, and not web pages that a browser of this machine shows.
//!
//! A web page can make a browser send requests to this machine. It can't choose the names by which it does: `Host` says the name in
//! the address, which must be one of this machine's own, so that a page whose name was bound to 127.0.0.1 is found out; `Origin`
//! says whose page it is. Requests that change something need the header `X-Requested-With` as well, which no page of another
//! origin may send without having asked first; and the answer to such a question is no.

use std::net::IpAddr;

use axum::http::{HeaderMap, HeaderName, Method, Uri, header};

/// What changes something must say this.
const REQUESTED_WITH: (&str, &str) = ("x-requested-with", "distkv");

/// What proxies add.
const FORWARDED: [&str; 4] = ["forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip"];

/// Why not, and what to do.
pub(in crate::http) type Refused = (String, &'static str);

/// May this request be answered while nobody has to log in?
pub(in crate::http) fn judge(
    peer: IpAddr,
    method: &Method,
    uri: &Uri,
    headers: &HeaderMap,
) -> Result<(), Refused> {
    if !peer.to_canonical().is_loopback() {
        let error = format!("there are no users yet, so /api answers this machine only, and not {peer}");
        return Err((error, "ask on the machine itself, for example through ssh"));
    }
    if let Some(name) = FORWARDED.iter().find(|name| headers.contains_key(**name)) {
        let error = format!("a proxy has passed this request on (it has the header {name})");
        return Err((error, "there are no users yet: ask on the machine itself, without a proxy"));
    }
    // In the absolute form of a request the name stands in its first line.
    let named = uri.host().into_iter().chain(texts(headers, &header::HOST));
    let mut hosts = 0;
    for host in named {
        hosts += 1;
        if !is_local_host(host) {
            let error =
                format!("the request is for the host `{host}`, which is not a name of this machine alone");
            return Err((error, "use localhost, 127.0.0.1 or [::1] in the address"));
        }
    }
    if hosts == 0 {
        return Err(("the request has no header Host".to_owned(), "send Host: localhost"));
    }
    for origin in texts(headers, &header::ORIGIN) {
        let host = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
        if !host.is_some_and(is_local_host) {
            let error = format!("a web page of `{origin}` has sent this request");
            return Err((error, "only pages of this machine may; close that page if you don't know it"));
        }
    }
    judge_change(method, headers)
}

/// May this request of an admin be answered? Not if a web page makes his browser send it.
pub(in crate::http) fn judge_page(method: &Method, headers: &HeaderMap) -> Result<(), Refused> {
    if let Some(origin) = texts(headers, &header::ORIGIN).next() {
        let error = format!("a web page of `{origin}` has sent this request");
        return Err((error, "pages of others may not; close that page if you don't know it"));
    }
    judge_change(method, headers)
}

fn judge_change(method: &Method, headers: &HeaderMap) -> Result<(), Refused> {
    let (name, value) = REQUESTED_WITH;
    let asks = method == Method::GET || method == Method::HEAD;
    if !asks && headers.get(name).is_none_or(|given| given != value) {
        let error = format!("a request that changes something needs the header {name}: {value}");
        return Err((error, "with curl: -H 'X-Requested-With: distkv'"));
    }
    Ok(())
}

/// The values of a header; one that is no text becomes one that is no host.
fn texts<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    headers.get_all(name).iter().map(|value| value.to_str().unwrap_or("?"))
}

/// Is this, with or without a port, a name that only this machine has?
fn is_local_host(host: &str) -> bool {
    let name = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((name, port)) if port.is_empty() || is_port(port) => name,
        Some(_) => return false,
        None => match host.rsplit_once(':') {
            Some((name, port)) if is_port(&format!(":{port}")) => name,
            _ => host,
        },
    };
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

fn is_port(text: &str) -> bool {
    text.strip_prefix(':').is_some_and(|port| !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    fn judged(peer: IpAddr, method: &Method, uri: &str, headers: &[(&str, &str)]) -> Result<(), String> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(
                name.parse::<HeaderName>().unwrap(),
                HeaderValue::from_bytes(value.as_bytes()).unwrap(),
            );
        }
        judge(peer, method, &uri.parse().unwrap(), &map).map_err(|(error, _)| error)
    }

    fn asked(headers: &[(&str, &str)]) -> Result<(), String> {
        judged(HERE, &Method::GET, "/api/clients", headers)
    }

    #[test]
    fn this_machine_may_ask_by_its_own_names() {
        for host in ["localhost", "LocalHost:27588", "127.0.0.1:1", "127.9.9.9", "[::1]", "[::1]:27588"] {
            assert_eq!(asked(&[("host", host)]), Ok(()), "{host}");
        }
        let mapped: IpAddr = "::ffff:127.0.0.1".parse().unwrap();
        assert_eq!(judged(mapped, &Method::GET, "/api/clients", &[("host", "localhost")]), Ok(()));
    }

    #[test]
    fn other_machines_are_refused_whatever_they_say() {
        for peer in ["192.0.2.1", "::ffff:10.0.0.1", "2001:db8::1", "0.0.0.0"] {
            let refused =
                judged(peer.parse().unwrap(), &Method::GET, "/api/clients", &[("host", "localhost")]);
            assert!(refused.unwrap_err().contains("this machine only"), "{peer}");
        }
    }

    #[test]
    fn names_that_others_can_have_are_refused() {
        for host in [
            "evil.example",
            "evil.example:27588",
            "localhost.evil.example",
            "127.0.0.1.nip.io",
            "192.168.0.2",
            "",
            "localhost:x",
            "[::1]x",
            "[::1",
            "\u{e4}",
        ] {
            assert!(asked(&[("host", host)]).is_err(), "{host}");
            assert!(asked(&[("host", "localhost"), ("host", host)]).is_err(), "{host}");
        }
        assert!(asked(&[]).unwrap_err().contains("no header Host"));
        let absolute =
            judged(HERE, &Method::GET, "http://evil.example/api/clients", &[("host", "localhost")]);
        assert!(absolute.is_err());
    }

    #[test]
    fn pages_of_others_and_proxies_are_refused() {
        let host = ("host", "localhost");
        for origin in ["http://evil.example", "https://localhost.evil.example", "null", "file://localhost"] {
            assert!(asked(&[host, ("origin", origin)]).unwrap_err().contains("web page"), "{origin}");
        }
        assert_eq!(asked(&[host, ("origin", "http://localhost:27588")]), Ok(()));
        assert!(asked(&[host, ("X-Forwarded-For", "192.0.2.1")]).unwrap_err().contains("proxy"));
    }

    #[test]
    fn what_changes_something_says_that_no_page_sent_it() {
        let host = ("host", "localhost");
        for method in [Method::POST, Method::DELETE, Method::OPTIONS] {
            assert!(judged(HERE, &method, "/api/clients/a", &[host]).is_err());
            let other = [host, ("x-requested-with", "XMLHttpRequest")];
            assert!(judged(HERE, &method, "/api/clients/a", &other).is_err());
            let ours = [host, ("X-Requested-With", "distkv")];
            assert_eq!(judged(HERE, &method, "/api/clients/a", &ours), Ok(()));
        }
    }
}
