//! Tests of values.

use proptest::prelude::*;

use super::*;

fn packed(write: impl FnOnce(&mut Packer<'_>)) -> Vec<u8> {
    let mut out = Vec::new();
    write(&mut Packer(&mut out));
    out
}

#[test]
fn each_thing_is_written_in_its_shortest_form() {
    let cases: [(Vec<u8>, &[u8]); 14] = [
        (packed(|p| p.uint(127)), &[0x7F]),
        (packed(|p| p.uint(128)), &[0xCC, 0x80]),
        (packed(|p| p.uint(65536)), &[0xCE, 0, 1, 0, 0]),
        (packed(|p| p.uint(u64::MAX)), &[0xCF, 255, 255, 255, 255, 255, 255, 255, 255]),
        (packed(|p| p.int(-32)), &[0xE0]),
        (packed(|p| p.int(-33)), &[0xD0, 0xDF]),
        (packed(|p| p.int(-129)), &[0xD1, 0xFF, 0x7F]),
        (packed(|p| p.int(i64::MIN)), &[0xD3, 0x80, 0, 0, 0, 0, 0, 0, 0]),
        (packed(|p| p.float(1.5)), &[0xCB, 0x3F, 0xF8, 0, 0, 0, 0, 0, 0]),
        (packed(|p| p.bin(b"a")), &[0xC4, 1, b'a']),
        (packed(|p| p.ext(3, b"")), &[0xC7, 0, 3]),
        (packed(|p| p.ext(3, b"ab")), &[0xD5, 3, b'a', b'b']),
        (packed(|p| p.array(16)), &[0xDC, 0, 16]),
        (packed(|p| p.map(1)), &[0x81]),
    ];
    for (found, wanted) in cases {
        assert_eq!(found, wanted);
    }
}

#[test]
fn strings_and_binaries_of_every_head_give_their_content_back() {
    for len in [0, 1, 31, 32, 255, 256, 65535, 65536, 100_000] {
        let text = "x".repeat(len);
        let string = Value::string(&text);
        assert_eq!(string.as_str(), Some(&text[..]));
        assert_eq!(string.payload().as_deref(), Some(text.as_bytes()));
        assert_eq!(Value::from_msgpack(string.as_bytes()), Ok(string));
        let binary = Value::binary(text.as_bytes());
        assert_eq!(binary.as_payload(), Some(text.as_bytes()));
        assert_eq!(binary.as_str(), None);
        assert_eq!(Value::from_msgpack(binary.as_bytes()), Ok(binary));
    }
}

#[test]
fn what_is_not_one_whole_value_is_refused() {
    for (bytes, error) in [
        (&[][..], ValueError::Truncated),
        (&[0x92, 1], ValueError::Truncated),
        (&[0xA2, b'a'], ValueError::Truncated),
        (&[0xC7, 0], ValueError::Truncated),
        (&[0xDD, 255, 255, 255, 255], ValueError::Truncated),
        (&[0xDF, 255, 255, 255, 255, 1], ValueError::Truncated),
        (&[0xC1], ValueError::Reserved),
        (&[1, 2], ValueError::Trailing(1)),
        (&[0xA1, 0xFF], ValueError::NotUtf8),
        (&[0x91; 100], ValueError::TooDeep),
    ] {
        assert_eq!(Value::from_msgpack(bytes), Err(error), "{bytes:?}");
    }
    let deep = [&[0x91; MAX_DEPTH][..], &[1]].concat();
    assert!(Value::from_msgpack(&deep).is_ok());
}

#[test]
fn tokens_show_all_that_is_inside() {
    let bytes = packed(|p| {
        p.map(2);
        p.str("a");
        p.array(2);
        p.int(-5);
        p.nil();
        p.uint(u64::MAX);
        p.ext(9, b"xyz");
    });
    let value = Value::from_msgpack(&bytes).unwrap();
    let wanted = [
        Token::Map(2),
        Token::Str("a"),
        Token::Array(2),
        Token::Int(-5),
        Token::Nil,
        Token::UInt(u64::MAX),
        Token::Ext(9, b"xyz"),
    ];
    assert_eq!(value.tokens().collect::<Vec<_>>(), wanted);
    assert_eq!(value.as_payload(), None);
}

#[test]
fn paths_travel_as_extension_3() {
    for (text, bytes) in [
        (":", &[0xC7, 0, 3][..]),
        ("a", &[0xD5, 3, 0xA1, b'a']),
        ("a:n.b", &[0xC7, 5, 3, 0xA1, b'a', 0xC0, 0xA1, b'b']),
        (":1:.5", &[0xC7, 9, 3, 0xCB, 0x3F, 0xF8, 0, 0, 0, 0, 0, 0]),
        (":1180591620717411303424", &[0xC7, 12, 3, 0xC7, 9, 2, 0x40, 0, 0, 0, 0, 0, 0, 0, 0]),
        (":[1,2]", &[0xC7, 3, 3, 0x92, 1, 2]),
        (":y00ff", &[0xD6, 3, 0xC4, 2, 0, 255]),
    ] {
        let path: Path = text.parse().unwrap();
        let value = Value::path(path.as_path());
        assert_eq!(value.as_bytes(), bytes, "{text}");
        assert_eq!(value.to_path(), Ok(path));
    }
    let read = |bytes: &[u8]| Value::from_msgpack(bytes).unwrap().to_path().map(|path| path.to_string());
    assert_eq!(read(&[0x92, 0xA1, b'a', 0x91, 1]), Ok("a:[1]".into()));
    assert_eq!(read(&[0xD6, 3, 0xD5, 3, 0xA1, b'x']), Ok(":['x']".into()));
    assert_eq!(read(&[0x91, 0x80]), Err(ValueError::NotAPath));
    assert_eq!(read(&[0xA1, b'a']), Err(ValueError::NotAPath));
    assert_eq!(read(&[0xD5, 3, 0x91, 0x91]), Err(ValueError::Truncated));
}

proptest! {
    #[test]
    fn any_bytes_are_one_value_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..32)) {
        if let Ok(value) = Value::from_msgpack(&bytes) {
            prop_assert_eq!(value.as_bytes(), &bytes[..]);
            let mut tokens = value.tokens();
            while tokens.next().is_some() {}
            prop_assert!(tokens.rest().is_empty());
            let _ = value.to_path();
        }
    }

    #[test]
    fn integers_are_read_as_written(signed in any::<i64>(), unsigned in any::<u64>(), shift in 0_u32..64) {
        let (signed, unsigned) = (signed >> shift, unsigned >> shift);
        let read = |bytes: &[u8]| Value::from_msgpack(bytes).unwrap().decode() == Token::Int(signed);
        prop_assert!(read(&packed(|p| p.int(signed))));
        let value = Value::packed(packed(|p| p.uint(unsigned)));
        prop_assert_eq!(value.decode(), i64::try_from(unsigned).map_or(Token::UInt(unsigned), Token::Int));
    }
}
