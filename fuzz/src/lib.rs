//! What is fuzzed, one function a target: it takes any bytes, and panics if the program breaks its word. The targets
//! below `fuzz_targets/` call these, and so does a test of the whole, for the inputs that are kept in `corpus/`.

use distkv::config::Config;
use distkv::native::check_session;
use distkv_broker::codec::{ProtocolVersion, check_stream};
use distkv_broker::session::{self, SessionLimits, check_operations};
use distkv_broker::transport::certificate::Certificate;
use distkv_broker::transport::proxy::{self as proxy_protocol, Parsed};
use distkv_broker::transport::websocket::{check_frames, check_request};
use distkv_store::journal::read_bytes;
use distkv_store::meta::{Meta, Users};
use distkv_store::path::{Path, Pattern};
use distkv_store::replica;
use distkv_store::value::Value;

/// What a client sends. The first byte picks the version and the size limit.
pub fn packet(data: &[u8]) {
    let Some((first, bytes)) = data.split_first() else { return };
    let version = match first & 0b101 {
        0 => ProtocolVersion::V3_1_1,
        1 => ProtocolVersion::V3_1,
        _ => ProtocolVersion::V5,
    };
    let limit = if first & 2 == 0 { 1 << 20 } else { 64 };
    check_stream(bytes, version, limit);
}

/// Operations on a session, its client and the log.
pub fn session(data: &[u8]) {
    let _report = check_operations(data);
}

/// Paths in both of their forms.
pub fn path(data: &[u8]) {
    if let Ok(path) = Path::from_bytes(data) {
        same_in_both_forms(&path);
    }
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(path) = text.parse::<Path>() else { return };
    same_in_both_forms(&path);
    assert!(path.starts_with(&path));
    if let Ok(pattern) = Pattern::from_path(path.as_path()) {
        // What a pattern says of a path, and where it would go on, must agree.
        let _matches = pattern.matches(path.as_path());
        let _seek = pattern.seek_into(path.as_path(), &mut Vec::new());
    }
    if let Ok(exactly) = Pattern::exactly(path.as_path()) {
        assert!(exactly.matches(path.as_path()), "{path}");
    }
}

fn same_in_both_forms(path: &Path) {
    let printed = path.to_string();
    assert_eq!(printed.parse::<Path>().as_ref(), Ok(path), "{printed}");
    assert_eq!(Path::from_bytes(path.as_bytes()).as_ref(), Ok(path), "{printed}");
    let elements: Vec<_> = path.elements().collect();
    assert_eq!(elements.len(), path.len(), "{printed}");
    assert_eq!(Path::from_elements(elements).as_ref(), Ok(path), "{printed}");
}

/// A file of the data directory; and records, values and meta data without the checksums that a fuzzer can't guess.
pub fn journal(data: &[u8]) {
    read_bytes(data);
    let mut mended = data.to_vec();
    if let Some((header, _)) = mended.split_first_chunk_mut::<64>() {
        let sum = crc32c::crc32c(&header[..60]);
        header[60..].copy_from_slice(&sum.to_le_bytes());
        read_bytes(&mended);
    }
    let mut replica = replica::Recovery::new();
    let mut sessions = session::Recovery::new(SessionLimits::default(), 0);
    for record in records(data) {
        let _refused = replica.apply(record);
        let _refused = sessions.apply(record);
        let _refused = Meta::decode(record, &mut Users::default());
        if let Ok(value) = Value::from_msgpack(record) {
            assert_eq!(value.as_bytes(), record);
            let _tokens = value.tokens().count();
        }
    }
    let _recovered = sessions.finish();
}

/// Cuts `data` into records: a byte of length before each.
fn records(mut data: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (length, rest) = data.split_first()?;
        let (record, rest) = rest.split_at(rest.len().min((*length).into()));
        data = rest;
        Some(record)
    })
}

/// A PROXY header. The first byte picks the versions.
pub fn proxy(data: &[u8]) {
    let Some((first, bytes)) = data.split_first() else { return };
    let parse = |bytes| proxy_protocol::parse(bytes, first & 1 == 0, first & 2 == 0);
    match parse(bytes) {
        Ok(Parsed::Header(header)) => {
            // It ends where it says: with less there is none yet, and what follows makes no difference.
            assert!(header.len <= bytes.len());
            assert_eq!(parse(&bytes[..header.len]), Ok(Parsed::Header(header)));
            for end in 0..header.len {
                match parse(&bytes[..end]) {
                    Ok(Parsed::NeedMore(more)) => assert!(more > 0 && end + more <= header.len),
                    other => panic!("{other:?} at {end}"),
                }
            }
        }
        Ok(Parsed::NeedMore(more)) => assert!(more > 0),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

/// What a client of the native port sends. The first byte tells in what pieces.
pub fn native(data: &[u8]) {
    check_session(data);
}

/// Frames of a WebSocket client, and the request before them. The first two bytes pick where they are cut, and the limit.
pub fn websocket(data: &[u8]) {
    check_request(data);
    let Some((&[cuts, limit], bytes)) = data.split_first_chunk() else { return };
    check_frames(bytes, cuts, u64::from(limit) * 16);
}

/// A client's certificate.
pub fn certificate(data: &[u8]) {
    let Some(certificate) = Certificate::parse(data) else { return };
    let _validity = certificate.validity();
    let subject = certificate.subject();
    let printed = subject.to_string();
    assert!(!printed.contains(char::is_control), "{printed:?}");
    let _name = subject.common_name();
}

/// The text of a configuration file.
pub fn config(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match Config::from_toml(text) {
        Ok(config) => {
            // A configuration that can be read can be checked, and compared with itself.
            let _broken_rule = config.check();
            let changes = config.changes(&config);
            assert!(changes.live.is_empty() && changes.restart.is_empty(), "{text}");
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}
