//! What must hold for any bytes at all, as one function: the operation of the fuzzer and of property tests.

use super::{Decoded, Packet, ProtocolVersion, decode, decode_connect};

/// Reads `bytes` as a connection would: a CONNECT if there is one, then packet after packet until an error or the end.
/// Returns how many packets there were.
///
/// # Panics
/// If the decoder breaks its word: a packet that is not the same when written and read again, a wish for more bytes that is
/// no larger than what is there, or a part of a packet that is judged otherwise than the whole.
pub fn check_stream(bytes: &[u8], version: ProtocolVersion, limit: usize) -> usize {
    let mut rest = bytes;
    let mut version = version;
    let mut packets = 0;
    if let Ok(Decoded::Packet { packet, .. }) = decode_connect(rest, limit) {
        version = packet.version;
    }
    loop {
        match decode(rest, version, limit) {
            Ok(Decoded::Packet { packet, len }) => {
                check_packet(&packet, version);
                let (whole, after) = rest.split_at(len);
                check_cuts(whole, version, limit);
                rest = after;
                packets += 1;
            }
            Ok(Decoded::NeedMore { at_least }) => {
                assert!(at_least > rest.len(), "{at_least} bytes wanted, {} there", rest.len());
                assert!(at_least <= limit.max(5), "{at_least} bytes wanted, {limit} is the limit");
                return packets;
            }
            Err(error) => {
                assert!(!error.to_string().is_empty());
                return packets;
            }
        }
    }
}

/// What is written and read again is the same.
fn check_packet(packet: &Packet<'_>, version: ProtocolVersion) {
    let mut written = Vec::new();
    assert_eq!(packet.encode(&mut written, version), Ok(()));
    let again = decode(&written, version, usize::MAX);
    assert_eq!(again, Ok(Decoded::Packet { packet: *packet, len: written.len() }));
}

/// A part of a good packet is good as far as it goes. (Of a long packet, not every part.)
fn check_cuts(whole: &[u8], version: ProtocolVersion, limit: usize) {
    for cut in (0..whole.len()).step_by(1 + whole.len() / 64) {
        let part = whole.get(..cut).unwrap_or_default();
        match decode(part, version, limit) {
            Ok(Decoded::NeedMore { at_least }) => assert!(at_least > cut && at_least <= whole.len()),
            other => panic!("{cut} of {} bytes are taken for {other:?}", whole.len()),
        }
    }
}
