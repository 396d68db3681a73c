//! The PROXY protocol, versions 1 and 2: a load balancer's word on whose connection this is, before anything else.
//!
//! Whoever may send such a header may claim to be anybody. So it is read from the addresses in [`ProxyOptions::from`] only;
//! a header from elsewhere is just no MQTT. What deviates from the specification ends the connection: a header that is read in
//! two ways is a way around access rules. No bytes behind the header are read, and nothing is allocated.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use tokio::io::{AsyncRead, AsyncReadExt as _};

use crate::peer::Address;

/// The longest header that is read. Version 1 has at most 107 bytes; version 2 with all that is known of a TLS session some hundreds.
pub const HEADER_MAX: usize = 2048;

const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
const V1_MAX: usize = 107;
/// The shortest header of either version: `PROXY UNKNOWN` and the end of the line.
const SHORTEST: usize = 15;

/// From whom headers are taken, and which.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProxyOptions {
    /// Take version 1, the line of text.
    pub v1: bool,
    /// Take version 2, the binary one.
    pub v2: bool,
    /// The proxies. Each connection of theirs must begin with a header; those of others have none.
    pub from: Vec<Network>,
    /// Is whoever connects by a Unix socket a proxy?
    pub from_unix: bool,
    /// Take the user's name from the common name of the client certificate which the proxy has verified.
    pub identity: bool,
}

/// A range of IP addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    bits: u8,
}

/// A text that is no network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no network; write an address, or ADDRESS/BITS such as 10.0.0.0/8")]
pub struct BadNetwork(String);

/// How far a header is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parsed<'a> {
    /// It is whole.
    Header(Header<'a>),
    /// At most so many bytes belong to it for certain.
    NeedMore(usize),
}

/// A whole header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header<'a> {
    /// Its length.
    pub len: usize,
    /// The client's address; `None` if the proxy speaks for itself or does not know.
    pub source: Option<SocketAddr>,
    /// What the proxy tells of the client's TLS.
    pub tls: Option<ProxyTls<'a>>,
}

/// A client's TLS as its proxy tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProxyTls<'a> {
    /// There was a client certificate, and the proxy found it valid.
    pub verified: bool,
    /// The common name in that certificate.
    pub common_name: Option<&'a str>,
}

/// Why a header is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProxyError {
    /// The first bytes are none.
    #[error("it does not begin with a PROXY header, and it comes from an address of `proxy.from`")]
    Missing,
    /// A version that is not taken.
    #[error("PROXY protocol version {0} is not accepted here")]
    Version(u8),
    /// A line that is not as it should be.
    #[error("malformed PROXY header: {0}")]
    Malformed(&'static str),
    /// More than [`HEADER_MAX`].
    #[error("the PROXY header is longer than {HEADER_MAX} bytes")]
    TooLong,
    /// The checksum is another one.
    #[error("the checksum of the PROXY header is wrong")]
    Checksum,
}

impl ProxyOptions {
    /// Is this a proxy?
    #[must_use]
    pub fn trusts(&self, address: &Address) -> bool {
        match address.ip() {
            Some(ip) => self.from.iter().any(|network| network.contains(ip)),
            None => self.from_unix,
        }
    }
}

impl Network {
    /// Is the address in it?
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                let shift = 32 - u32::from(self.bits);
                own.to_bits().checked_shr(shift) == other.to_bits().checked_shr(shift)
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                let shift = 128 - u32::from(self.bits);
                own.to_bits().checked_shr(shift) == other.to_bits().checked_shr(shift)
            }
            _ => false,
        }
    }
}

impl FromStr for Network {
    type Err = BadNetwork;

    fn from_str(text: &str) -> Result<Self, BadNetwork> {
        let bad = || BadNetwork(text.to_owned());
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits.parse::<u8>().map_err(|_| bad())?)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| bad())?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.unwrap_or(most);
        if bits > most { Err(bad()) } else { Ok(Self { address, bits }) }
    }
}

impl std::fmt::Display for Network {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}

/// Reads a header from the beginning of `bytes`.
///
/// # Errors
/// It is none, or one that is not taken.
pub fn parse(bytes: &[u8], v1: bool, v2: bool) -> Result<Parsed<'_>, ProxyError> {
    const TEXT: &[u8] = b"PROXY ";
    let begins = |with: &[u8]| bytes.iter().zip(with).all(|(byte, other)| byte == other);
    match bytes.first() {
        None => Ok(Parsed::NeedMore(SHORTEST)),
        Some(b'P') if begins(TEXT) && !v1 => Err(ProxyError::Version(1)),
        Some(b'P') if begins(TEXT) => parse_v1(bytes),
        Some(b'\r') if begins(SIGNATURE) && !v2 => Err(ProxyError::Version(2)),
        Some(b'\r') if begins(SIGNATURE) => parse_v2(bytes),
        Some(_) => Err(ProxyError::Missing),
    }
}

fn parse_v1(bytes: &[u8]) -> Result<Parsed<'_>, ProxyError> {
    let line = &bytes[..bytes.len().min(V1_MAX)];
    let Some(end) = line.windows(2).position(|two| two == b"\r\n") else {
        if line.len() == V1_MAX {
            return Err(ProxyError::Malformed("the line does not end in time"));
        }
        return Ok(Parsed::NeedMore(rest_of_line(line)));
    };
    let malformed = ProxyError::Malformed;
    let text = std::str::from_utf8(&line[..end]).map_err(|_| malformed("it is no text"))?;
    let mut words = text.split(' ').skip(1);
    let family = words.next();
    let header = |source| Ok(Parsed::Header(Header { len: end + 2, source, tls: None }));
    if family == Some("UNKNOWN") {
        return header(None);
    }
    let (Some(source), Some(destination), Some(source_port), Some(destination_port), None) =
        (words.next(), words.next(), words.next(), words.next(), words.next())
    else {
        return Err(malformed("it needs two addresses and two ports"));
    };
    let (source, _): (IpAddr, IpAddr) = match family {
        Some("TCP4") => (ip::<Ipv4Addr>(source)?.into(), ip::<Ipv4Addr>(destination)?.into()),
        Some("TCP6") => (ip::<Ipv6Addr>(source)?.into(), ip::<Ipv6Addr>(destination)?.into()),
        _ => return Err(malformed("it is neither TCP4, TCP6 nor UNKNOWN")),
    };
    let _ = port(destination_port)?;
    header(Some(SocketAddr::new(source, port(source_port)?)))
}

/// How many bytes a line needs at least that is not at its end.
fn rest_of_line(line: &[u8]) -> usize {
    let shortest = match line.get(6..10) {
        Some(b"TCP4") => "PROXY TCP4 1.1.1.1 1.1.1.1 1 1\r\n".len(),
        Some(b"TCP6") => "PROXY TCP6 :: :: 1 1\r\n".len(),
        _ => SHORTEST,
    };
    let missing = if line.ends_with(b"\r") { 1 } else { 2 };
    shortest.saturating_sub(line.len()).max(missing)
}

fn ip<T: FromStr>(text: &str) -> Result<T, ProxyError> {
    text.parse().map_err(|_| ProxyError::Malformed("an address is none of its family"))
}

/// A port in digits, without sign or leading zeros.
fn port(text: &str) -> Result<u16, ProxyError> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    let port = text.parse().ok().filter(|_| plain);
    port.ok_or(ProxyError::Malformed("a port is none"))
}

fn parse_v2(bytes: &[u8]) -> Result<Parsed<'_>, ProxyError> {
    let Some((head, rest)) = bytes.split_first_chunk::<16>() else {
        return Ok(Parsed::NeedMore(16 - bytes.len()));
    };
    let [.., version_and_command, family, high, low] = *head;
    let length = usize::from(u16::from_be_bytes([high, low]));
    let len = head.len() + length;
    if version_and_command >> 4 != 2 {
        return Err(ProxyError::Malformed("its version is not 2"));
    }
    if len > HEADER_MAX {
        return Err(ProxyError::TooLong);
    }
    let Some(body) = rest.get(..length) else { return Ok(Parsed::NeedMore(length - rest.len())) };
    match version_and_command & 0x0f {
        // The proxy looks whether we are alive: what it says of addresses is to be ignored.
        0 => Ok(Parsed::Header(Header { len, source: None, tls: None })),
        1 => {
            let (source, fields) = addresses(family, body)?;
            let tls = read_fields(fields, &bytes[..len])?;
            Ok(Parsed::Header(Header { len, source, tls }))
        }
        _ => Err(ProxyError::Malformed("its command is neither LOCAL nor PROXY")),
    }
}

/// The client's address, and what follows the addresses.
fn addresses(family: u8, body: &[u8]) -> Result<(Option<SocketAddr>, &[u8]), ProxyError> {
    let short = ProxyError::Malformed("its addresses are cut off");
    match family {
        0x00 => Ok((None, body)),
        0x11 => {
            let (block, fields) = body.split_first_chunk::<12>().ok_or(short)?;
            let [a, b, c, d, _, _, _, _, high, low, _, _] = *block;
            let port = u16::from_be_bytes([high, low]);
            Ok((Some(SocketAddr::new(Ipv4Addr::new(a, b, c, d).into(), port)), fields))
        }
        0x21 => {
            let (source, rest) = body.split_first_chunk::<16>().ok_or(short)?;
            let (_destination, rest) = rest.split_first_chunk::<16>().ok_or(short)?;
            let (ports, fields) = rest.split_first_chunk::<4>().ok_or(short)?;
            let port = u16::from_be_bytes([ports[0], ports[1]]);
            Ok((Some(SocketAddr::new(Ipv6Addr::from(*source).into(), port)), fields))
        }
        // Unix sockets of the proxy's machine: nothing that could be told here.
        0x31 => body.split_first_chunk::<216>().map(|(_, fields)| (None, fields)).ok_or(short),
        _ => Err(ProxyError::Malformed("its addresses are of no stream")),
    }
}

const FIELD_CHECKSUM: u8 = 0x03;
const FIELD_TLS: u8 = 0x20;
const FIELD_COMMON_NAME: u8 = 0x22;
/// There was a certificate on this connection, or on the one whose session it resumed.
const CERTIFICATE: u8 = 0x02 | 0x04;

/// What the fields behind the addresses say of TLS; and the checksum is checked, if there is one.
fn read_fields<'a>(fields: &'a [u8], header: &'a [u8]) -> Result<Option<ProxyTls<'a>>, ProxyError> {
    let mut tls = None;
    let mut rest = fields;
    while !rest.is_empty() {
        let (kind, value) = field(&mut rest)?;
        match kind {
            FIELD_CHECKSUM => {
                let before = &header[..header.len() - rest.len() - value.len()];
                let sum: [u8; 4] =
                    value.try_into().map_err(|_| ProxyError::Malformed("a checksum has 4 bytes"))?;
                let ours = crc32c::crc32c_append(crc32c::crc32c(before), &[0; 4]);
                if crc32c::crc32c_append(ours, rest) != u32::from_be_bytes(sum) {
                    return Err(ProxyError::Checksum);
                }
            }
            FIELD_TLS if tls.is_some() => return Err(ProxyError::Malformed("it tells of TLS twice")),
            FIELD_TLS => tls = Some(tls_field(value)?),
            _ => {}
        }
    }
    Ok(tls)
}

fn tls_field(value: &[u8]) -> Result<ProxyTls<'_>, ProxyError> {
    let Some((&[client, a, b, c, d], mut rest)) = value.split_first_chunk::<5>() else {
        return Err(ProxyError::Malformed("what it tells of TLS is cut off"));
    };
    let verified = client & CERTIFICATE != 0 && u32::from_be_bytes([a, b, c, d]) == 0;
    let mut common_name = None;
    while !rest.is_empty() {
        let (kind, value) = field(&mut rest)?;
        if kind == FIELD_COMMON_NAME {
            if common_name.is_some() {
                return Err(ProxyError::Malformed("it tells two names"));
            }
            let text = std::str::from_utf8(value);
            common_name = Some(text.map_err(|_| ProxyError::Malformed("a name is no text"))?);
        }
    }
    Ok(ProxyTls { verified, common_name })
}

/// Takes the next field: type, length, value.
fn field<'a>(rest: &mut &'a [u8]) -> Result<(u8, &'a [u8]), ProxyError> {
    let cut_off = ProxyError::Malformed("a field is cut off");
    let (&[kind, high, low], behind) = rest.split_first_chunk::<3>().ok_or(cut_off)?;
    let length = usize::from(u16::from_be_bytes([high, low]));
    let (value, behind) = behind.split_at_checked(length).ok_or(cut_off)?;
    *rest = behind;
    Ok((kind, value))
}

/// What came of reading a header.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) source: Option<SocketAddr>,
    /// The common name of a certificate that the proxy has verified.
    pub(crate) verified_name: Option<String>,
}

/// Reads the header, and not a byte more.
pub(crate) async fn read<S: AsyncRead + Unpin>(socket: &mut S, options: &ProxyOptions) -> io::Result<Told> {
    let mut buffer = [0; HEADER_MAX];
    let mut len = 0;
    loop {
        match parse(&buffer[..len], options.v1, options.v2).map_err(invalid)? {
            Parsed::Header(header) => {
                let tls = header.tls.filter(|tls| tls.verified);
                let verified_name = tls.and_then(|tls| tls.common_name).map(str::to_owned);
                return Ok(Told { source: header.source, verified_name });
            }
            Parsed::NeedMore(more) => {
                let room = buffer.get_mut(len..len + more).ok_or_else(|| invalid(ProxyError::TooLong))?;
                let read = socket.read(room).await?;
                if read == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                len += read;
            }
        }
    }
}

fn invalid(error: ProxyError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

#[cfg(test)]
mod tests;
