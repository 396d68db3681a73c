//! What must hold for any bytes at all, as one function: the operation of the fuzzer and of property tests.

use super::{ApplicationProperties, DecodeError, Decoded, Packet, ProtocolVersion, decode, decode_connect};

/// Reads `bytes` as a connection would: a CONNECT if there is one, then packet after packet until an error or
/// the end. Returns how many packets there were.
///
/// # Panics
/// If the decoder breaks its word: a packet that is not the same when written and read again, a wish for more
/// bytes that is no larger than what is there, or a part of a packet that is judged otherwise than the whole.
pub fn check_stream(bytes: &[u8], version: ProtocolVersion, limit: usize) -> usize {
    let mut rest = bytes;
    let mut version = version;
    let mut packets = 0;
    if let Ok(Decoded::Packet { packet, .. }) = decode_connect(rest, limit) {
        version = packet.version;
    }
    loop {
        let result = decode(rest, version, limit);
        check_cuts(rest, &result, version, limit);
        match result {
            Ok(Decoded::Packet { packet, len }) => {
                check_packet(&packet, version);
                rest = rest.get(len..).expect("a packet is no longer than what it was read from");
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
    match again {
        Ok(Decoded::Packet { packet: again, len }) => {
            assert_eq!((again, len), (packet.clone(), written.len()));
        }
        other => panic!("{packet:?} was written and read again as {other:?}"),
    }
    if let Packet::Publish(publish) = packet {
        assert_eq!(publish.header().packet_len(version), written.len());
        check_application(&publish.properties.application);
    }
}

/// What is kept of a message's properties is taken up again as the same.
fn check_application(properties: &ApplicationProperties<'_>) {
    let mut kept = Vec::new();
    properties.append_to(&mut kept);
    assert_eq!(kept.len(), properties.len());
    assert_eq!(ApplicationProperties::from_block(&kept), Ok(*properties));
    let again = ApplicationProperties::from_valid_block(&kept);
    assert_eq!(again, *properties);
    assert_eq!(again.user(), properties.user());
}

/// A part of a packet is either not enough or already as bad as the whole. (Of a long one, not every part.)
fn check_cuts(
    buf: &[u8],
    result: &Result<Decoded<Packet<'_>>, DecodeError>,
    version: ProtocolVersion,
    limit: usize,
) {
    let whole = match result {
        Ok(Decoded::Packet { len, .. }) => *len,
        _ => buf.len(),
    };
    for cut in (0..whole).step_by(1 + whole / 64) {
        let part = buf.get(..cut).unwrap_or_default();
        match decode(part, version, limit) {
            Ok(Decoded::NeedMore { at_least }) => {
                assert!(at_least > cut, "{at_least} bytes wanted, {cut} there");
                if let Ok(Decoded::Packet { len, .. }) = result {
                    assert!(at_least <= *len, "{at_least} bytes wanted, the packet has {len}");
                }
            }
            Err(error) => assert_eq!(Err(error), *result, "the first {cut} bytes"),
            Ok(packet) => panic!("the first {cut} bytes are {packet:?}, all of them {result:?}"),
        }
    }
}
