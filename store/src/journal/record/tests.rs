//! Tests of the journal's records.

use proptest::prelude::*;

use super::*;

const SEED: u64 = 7;

fn log(payloads: &[&[u8]], base: u64) -> Vec<u8> {
    let mut out = Vec::new();
    for payload in payloads {
        let position = base + out.len() as u64;
        put(&mut out, Seed::log(SEED), position, Kind::Local, payload, crc32c::crc32c(payload));
    }
    out
}

fn read(bytes: &[u8], base: u64) -> (Vec<Vec<u8>>, Option<(u64, Flaw)>) {
    let mut records = Records::new(bytes, Seed::log(SEED), 0, base);
    let mut found = Vec::new();
    loop {
        match records.step().unwrap() {
            Step::Record { payload, .. } => found.push(payload.to_vec()),
            Step::End { .. } => return (found, None),
            Step::Flaw { offset, flaw } => return (found, Some((offset, flaw))),
        }
    }
}

#[test]
fn what_is_put_is_read_again_up_to_the_zeros() {
    let mut bytes = log(&[b"one", b"", b"three"], 100);
    assert_eq!(bytes.len(), 3 * RECORD_HEADER + 8);
    bytes.resize(5000, 0);
    assert_eq!(read(&bytes, 100), (vec![b"one".to_vec(), vec![], b"three".to_vec()], None));
}

#[test]
fn records_longer_than_a_chunk_are_read() {
    let long = vec![42; 3 * CHUNK + 5];
    let bytes = log(&[b"a", &long, b"b"], 0);
    let (found, flaw) = read(&bytes, 0);
    assert_eq!(flaw, None);
    assert_eq!(found, [b"a".to_vec(), long, b"b".to_vec()]);
}

#[test]
fn a_record_is_valid_at_its_own_place_only() {
    let bytes = log(&[b"one"], 100);
    assert_eq!(read(&bytes, 101), (vec![], Some((0, Flaw::Header))));
    let mut records = Records::new(&bytes[..], Seed::log(SEED + 1), 0, 100);
    assert_eq!(records.step().unwrap(), Step::Flaw { offset: 0, flaw: Flaw::Header });
}

#[test]
fn zeros_before_other_bytes_are_a_hole_not_the_end() {
    let mut bytes = log(&[b"one", b"two", b"three"], 0);
    let second = RECORD_HEADER + 3;
    bytes[second..2 * second].fill(0);
    let mut records = Records::new(&bytes[..], Seed::log(SEED), 0, 0);
    assert!(matches!(records.step().unwrap(), Step::Record { payload: b"one", .. }));
    assert_eq!(records.step().unwrap(), Step::Flaw { offset: second as u64, flaw: Flaw::Hole });
    assert!(records.resync().unwrap());
    assert!(matches!(records.step().unwrap(), Step::Record { payload: b"three", .. }));
}

#[test]
fn a_record_inside_a_payload_is_not_found_by_a_search() {
    let inner = log(&[b"not me"], 0);
    let mut bytes = log(&[&inner, b"but me"], 0);
    bytes[5] ^= 1;
    let mut records = Records::new(&bytes[..], Seed::log(SEED), 0, 0);
    assert!(matches!(records.step().unwrap(), Step::Flaw { offset: 0, flaw: Flaw::Header }));
    assert!(records.resync().unwrap());
    assert!(matches!(records.step().unwrap(), Step::Record { payload: b"but me", .. }));
}

#[test]
fn a_record_of_an_unknown_kind_is_told_from_a_damaged_one() {
    let mut bytes = log(&[b"one"], 0);
    let sum = crc32c::crc32c(b"one");
    bytes[4] = 99;
    bytes[5..8].copy_from_slice(&Seed::log(SEED).check(0, 3, 99, sum));
    assert_eq!(read(&bytes, 0), (vec![], Some((0, Flaw::Kind(99)))));
}

#[test]
fn a_header_that_claims_too_much_is_refused() {
    let mut bytes = vec![0xff; 64];
    assert_eq!(read(&bytes, 0), (vec![], Some((0, Flaw::Header))));
    // A right header whose payload lies beyond the end of the file.
    let length = PAYLOAD_MAX as u32;
    bytes[..4].copy_from_slice(&length.to_le_bytes());
    bytes[4] = Kind::Local as u8;
    let check = Seed::log(SEED).check(0, length, Kind::Local as u8, u32::MAX);
    bytes[5..8].copy_from_slice(&check);
    assert_eq!(read(&bytes, 0), (vec![], Some((0, Flaw::Short))));
}

proptest! {
    #[test]
    fn every_flipped_bit_is_noticed(
        payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 1..6),
        at in any::<prop::sample::Index>(),
        bit in 0..8u8,
    ) {
        let slices: Vec<&[u8]> = payloads.iter().map(Vec::as_slice).collect();
        let mut bytes = log(&slices, 9);
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        let (found, flaw) = read(&bytes, 9);
        prop_assert!(flaw.is_some());
        prop_assert!(payloads.starts_with(&found));
        prop_assert!(found.len() < payloads.len());
    }

    #[test]
    fn every_cut_leaves_the_whole_records_before_it(
        payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 1..6),
        cut in any::<prop::sample::Index>(),
    ) {
        let slices: Vec<&[u8]> = payloads.iter().map(Vec::as_slice).collect();
        let bytes = log(&slices, 9);
        let cut = cut.index(bytes.len());
        let (found, _) = read(&bytes[..cut], 9);
        let mut length = 0;
        let whole = payloads.iter().take_while(|p| { length += RECORD_HEADER + p.len(); length <= cut }).count();
        prop_assert_eq!(found.len(), whole);
        prop_assert!(payloads.starts_with(&found));
    }

    #[test]
    fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut records = Records::new(&bytes[..], Seed::log(SEED), 0, 0);
        while let Step::Record { .. } = records.step().unwrap() {}
        while records.resync().unwrap() {
            records.step().unwrap();
        }
    }
}
