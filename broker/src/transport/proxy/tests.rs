//! Headers as proxies send them, byte by byte, and what must not pass as one.

use super::*;

fn whole(bytes: &[u8]) -> Header<'_> {
    match parse(bytes, true, true) {
        Ok(Parsed::Header(header)) => header,
        other => panic!("{other:?} of {bytes:?}"),
    }
}

fn refused(bytes: &[u8]) -> ProxyError {
    parse(bytes, true, true).expect_err("it should be refused")
}

fn v2(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
    let mut header = SIGNATURE.to_vec();
    header.extend([0x20 | command, family]);
    header.extend(u16::try_from(body.len()).unwrap().to_be_bytes());
    header.extend(body);
    header
}

fn field(kind: u8, value: &[u8]) -> Vec<u8> {
    let mut field = vec![kind];
    field.extend(u16::try_from(value.len()).unwrap().to_be_bytes());
    field.extend(value);
    field
}

/// A client with a certificate for `name`, as `verify` judged it.
fn tls(name: &str, client: u8, verify: u32) -> Vec<u8> {
    let mut value = vec![client];
    value.extend(verify.to_be_bytes());
    value.extend(field(0x21, b"TLSv1.3"));
    value.extend(field(FIELD_COMMON_NAME, name.as_bytes()));
    field(FIELD_TLS, &value)
}

const TCP4: [u8; 12] = [192, 0, 2, 1, 192, 0, 2, 2, 0x12, 0x67, 0x07, 0x5b];

#[test]
fn a_line_tells_the_clients_address() {
    let line = b"PROXY TCP4 192.0.2.1 192.0.2.2 4711 1883\r\n\x10\x0c";
    let header = whole(line);
    assert_eq!(header.len, line.len() - 2);
    assert_eq!(header.source, Some("192.0.2.1:4711".parse().unwrap()));
    let line = b"PROXY TCP6 2001:db8::1 ::1 65535 0\r\n";
    assert_eq!(whole(line).source, Some("[2001:db8::1]:65535".parse().unwrap()));
    assert_eq!(whole(b"PROXY UNKNOWN\r\n").source, None);
    assert_eq!(whole(b"PROXY UNKNOWN 1 2 whatever\r\n").source, None);
}

#[test]
fn a_line_that_deviates_is_refused() {
    for line in [
        "PROXY TCP4 192.0.2.1 192.0.2.2 4711\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 4711 1883 1\r\n",
        "PROXY TCP4  192.0.2.1 192.0.2.2 4711 1883\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 04711 1883\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 +4711 1883\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 65536 1883\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 1 x\r\n",
        "PROXY TCP4 192.0.2.01 192.0.2.2 1 1\r\n",
        "PROXY TCP4 ::1 ::1 4711 1883\r\n",
        "PROXY TCP6 192.0.2.1 192.0.2.2 4711 1883\r\n",
        "PROXY UDP4 192.0.2.1 192.0.2.2 4711 1883\r\n",
        "PROXY  UNKNOWN\r\n",
        "PROXY \r\n",
    ] {
        assert!(matches!(refused(line.as_bytes()), ProxyError::Malformed(_)), "{line}");
    }
    assert!(matches!(refused(&[b"PROXY TCP4 ".as_slice(), &[b'1'; 96]].concat()), ProxyError::Malformed(_)));
    for start in
        [&b"\x10\x0c"[..], b"GET / HTTP/1.1\r\n", b"proxy TCP4", b"PROXZ", b"\x16\x03\x01", b"\r\n\r\n\x01"]
    {
        assert_eq!(refused(start), ProxyError::Missing, "{start:?}");
    }
}

#[test]
fn a_binary_header_tells_address_and_certificate() {
    let header = v2(1, 0x11, &[&TCP4[..], &field(4, b"padding"), &tls("kitchen", 7, 0)].concat());
    let found = whole(&header);
    assert_eq!((found.len, found.source), (header.len(), Some("192.0.2.1:4711".parse().unwrap())));
    assert_eq!(found.tls, Some(ProxyTls { verified: true, common_name: Some("kitchen") }));
    let addresses: Vec<u8> = [[0; 15].as_slice(), &[1], &[0; 16], &[0, 80, 7, 0x5b]].concat();
    assert_eq!(whole(&v2(1, 0x21, &addresses)).source, Some("[::1]:80".parse().unwrap()));
    assert_eq!(whole(&v2(1, 0x31, &[0; 216])).source, None);
    assert_eq!(whole(&v2(1, 0x00, &[])).source, None);
    // A health check of the proxy itself: addresses and fields are to be ignored, whatever they are.
    assert_eq!(whole(&v2(0, 0xff, &[9; 30])).source, None);
}

#[test]
fn a_certificate_counts_only_if_the_proxy_has_verified_it() {
    for (client, verify) in [(1, 0), (3, 1), (0, 0)] {
        let header = v2(1, 0x11, &[&TCP4[..], &tls("kitchen", client, verify)].concat());
        assert!(!whole(&header).tls.unwrap().verified, "{client} {verify}");
    }
    let header = v2(1, 0x11, &[&TCP4[..], &tls("kitchen", 5, 0)].concat());
    assert!(whole(&header).tls.unwrap().verified, "of the session that was resumed");
}

#[test]
fn a_binary_header_that_deviates_is_refused() {
    let malformed = [
        v2(2, 0x11, &TCP4),
        v2(1, 0x12, &TCP4),
        v2(1, 0x41, &TCP4),
        v2(1, 0x11, &TCP4[..11]),
        v2(1, 0x21, &[0; 35]),
        v2(1, 0x31, &[0; 215]),
        v2(1, 0x11, &[&TCP4[..], &[4, 0]].concat()),
        v2(1, 0x11, &[&TCP4[..], &[4, 0, 9, 1]].concat()),
        v2(1, 0x11, &[&TCP4[..], &field(FIELD_TLS, &[1, 0, 0, 0])].concat()),
        v2(1, 0x11, &[&TCP4[..], &tls("a", 7, 0), &tls("b", 7, 0)].concat()),
        v2(1, 0x11, &[&TCP4[..], &field(FIELD_CHECKSUM, &[0; 3])].concat()),
    ];
    for header in malformed {
        assert!(matches!(refused(&header), ProxyError::Malformed(_)), "{header:?}");
    }
    let mut version_3 = v2(1, 0x11, &TCP4);
    version_3[12] = 0x31;
    assert!(matches!(refused(&version_3), ProxyError::Malformed(_)));
    assert_eq!(refused(&v2(1, 0x11, &[0; HEADER_MAX])), ProxyError::TooLong);
}

#[test]
fn a_checksum_is_checked() {
    let mut header = v2(1, 0x11, &[&TCP4[..], &field(FIELD_CHECKSUM, &[0; 4]), &field(4, b"x")].concat());
    let sum = crc32c::crc32c(&header).to_be_bytes();
    header[16 + 12 + 3..16 + 12 + 7].copy_from_slice(&sum);
    assert!(whole(&header).source.is_some());
    header[17] ^= 1;
    assert_eq!(refused(&header), ProxyError::Checksum);
}

#[test]
fn a_version_that_is_not_wanted_is_refused() {
    assert_eq!(parse(b"PROXY UNKNOWN\r\n", false, true), Err(ProxyError::Version(1)));
    assert_eq!(parse(&v2(1, 0x11, &TCP4), true, false), Err(ProxyError::Version(2)));
}

#[test]
fn nothing_behind_the_header_is_asked_for() {
    for header in [
        b"PROXY TCP4 1.1.1.1 1.1.1.1 1 1\r\n".to_vec(),
        b"PROXY TCP4 192.168.100.200 192.168.100.201 64711 51883\r\n".to_vec(),
        b"PROXY TCP6 :: :: 1 1\r\n".to_vec(),
        b"PROXY UNKNOWN\r\n".to_vec(),
        b"PROXY UNKNOWN with something\r\n".to_vec(),
        v2(0, 0, &[]),
        v2(1, 0x11, &[&TCP4[..], &tls("kitchen", 7, 0)].concat()),
    ] {
        for end in 0..header.len() {
            match parse(&header[..end], true, true) {
                Ok(Parsed::NeedMore(more)) => {
                    assert!(more > 0 && end + more <= header.len(), "{end} and {more} of {header:?}");
                }
                other => panic!("{other:?} at {end} of {header:?}"),
            }
        }
    }
}

#[test]
fn networks_contain_what_they_should() {
    let contains =
        |network: &str, address: &str| network.parse::<Network>().unwrap().contains(address.parse().unwrap());
    assert!(contains("10.0.0.0/8", "10.255.0.1") && !contains("10.0.0.0/8", "11.0.0.1"));
    assert!(contains("192.0.2.1", "192.0.2.1") && !contains("192.0.2.1", "192.0.2.2"));
    assert!(contains("0.0.0.0/0", "203.0.113.9") && !contains("0.0.0.0/0", "::1"));
    assert!(contains("::/0", "2001:db8::1") && contains("2001:db8::/32", "2001:db8:1::1"));
    assert!(contains("127.0.0.1", "::ffff:127.0.0.1"), "IPv4 within IPv6");
    for text in ["", "10.0.0.0/33", "::/129", "10.0.0.0/", "10.0.0.0/a", "example.org"] {
        assert!(text.parse::<Network>().is_err(), "{text}");
    }
}
