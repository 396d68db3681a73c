//! When two values are the same: exactly, and in the loose sense of conditions.
//!
//! | | exactly the same | equal |
//! |---|---|---|
//! | how an integer, a length is encoded | no matter | no matter |
//! | the order of a map's pairs | no matter | no matter |
//! | a map that has a key twice | the last one counts | the last one counts |
//! | 3, 3.0; 1, true | differ | equal |
//! | a string, a byte string of the same bytes | differ | differ |
//! | a path (extension 3), an array of the same elements | differ | differ |
//!
//! A value is always equal to itself, also if there is a NaN in it.

use super::{EXT_BIG, EXT_PATH, Packer, Token, Tokens, Value};

/// How numbers are compared.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Numbers {
    /// By their amount: 3, 3.0 are equal, and so are 1, true.
    Amount,
    /// By amount and type.
    Typed,
}

impl Value {
    /// Whether both are equal, numbers by their amount: 3 equals 3.0, and 1 equals true.
    pub fn equals(&self, other: &Self) -> bool {
        equal(self, other, Numbers::Amount)
    }

    /// Whether both are exactly the same, types included, however they are encoded.
    pub fn is_same(&self, other: &Self) -> bool {
        equal(self, other, Numbers::Typed)
    }
}

fn equal(a: &Value, b: &Value, numbers: Numbers) -> bool {
    if a.as_bytes() == b.as_bytes() {
        return true;
    }
    // Values which differ mostly do so at once, and need no second form for that.
    let (mut left, mut right) = (a.tokens(), b.tokens());
    let mut ordered = true;
    while let (Some(one), Some(other)) = (left.next(), right.next()) {
        let (mut here, mut there) = (Vec::new(), Vec::new());
        let scalar = plain(one, numbers, &mut here) & plain(other, numbers, &mut there);
        let same = match (one, other) {
            (Token::Array(count), Token::Array(other)) => count == other,
            (Token::Map(_), Token::Map(_)) => {
                ordered = false;
                break;
            }
            _ => scalar && here == there,
        };
        if !same {
            return false;
        }
    }
    ordered || canonical(a, numbers) == canonical(b, numbers)
}

/// The one form of all values that are equal to this one.
fn canonical(value: &Value, numbers: Numbers) -> Vec<u8> {
    let mut out = Vec::with_capacity(value.as_bytes().len());
    let mut tokens = value.tokens();
    put(&mut tokens, numbers, &mut out);
    out
}

/// Puts the canonical form of the next value. It goes as deep as values do: [`super::MAX_DEPTH`].
fn put(tokens: &mut Tokens<'_>, numbers: Numbers, out: &mut Vec<u8>) {
    let Some(token) = tokens.next() else { return };
    if plain(token, numbers, out) {
        return;
    }
    match token {
        Token::Array(count) => {
            Packer(out).array(count);
            (0..count).for_each(|_| put(tokens, numbers, out));
        }
        Token::Map(count) => {
            let mut pairs: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
            for _ in 0..count {
                let mut pair = (Vec::new(), Vec::new());
                put(tokens, numbers, &mut pair.0);
                put(tokens, numbers, &mut pair.1);
                pairs.push(pair);
            }
            // Of the same key the last pair comes first, and stays.
            pairs.reverse();
            pairs.sort_by(|(a, _), (b, _)| a.cmp(b));
            pairs.dedup_by(|(later, _), (kept, _)| later == kept);
            Packer(out).map(pairs.len() as u32);
            for (key, value) in &pairs {
                out.extend_from_slice(key);
                out.extend_from_slice(value);
            }
        }
        _ => {}
    }
}

/// Puts the canonical form of a token that is a whole value; false if it is the head of one.
fn plain(token: Token<'_>, numbers: Numbers, out: &mut Vec<u8>) -> bool {
    let loose = numbers == Numbers::Amount;
    let mut pack = Packer(out);
    match token {
        Token::Array(_) | Token::Map(_) => return false,
        Token::Nil => pack.nil(),
        Token::Bool(it) if loose => pack.uint(it.into()),
        Token::Bool(it) => pack.bool(it),
        Token::Int(it) => pack.int(it),
        Token::UInt(it) => pack.uint(it),
        Token::Float(it) => match whole(it).filter(|_| loose) {
            Some((true, magnitude)) => match i64::try_from(-as_i128(&magnitude)) {
                Ok(it) => pack.int(it),
                // Below every integer there is.
                Err(_) => pack.float(it),
            },
            Some((false, magnitude)) => big(&magnitude, &mut pack),
            // Both zeros are one number.
            None => pack.float(if it == 0.0 { 0.0 } else { it }),
        },
        Token::Str(it) => pack.str(it),
        Token::Bin(it) => pack.bin(it),
        Token::Ext(EXT_BIG, magnitude) => big(magnitude, &mut pack),
        // Paths are equal if their elements are, however these are encoded.
        Token::Ext(EXT_PATH, packed) => {
            let mut whole = Vec::new();
            Packer(&mut whole).ext(EXT_PATH, packed);
            match Value::packed(whole).to_path() {
                Ok(path) => pack.path(path.as_path()),
                Err(_) => pack.ext(EXT_PATH, packed),
            }
        }
        Token::Ext(kind, content) => pack.ext(kind, content),
    }
    true
}

/// An integer by its magnitude, big-endian.
fn big(magnitude: &[u8], pack: &mut Packer<'_>) {
    let zeros = magnitude.iter().take_while(|&&digit| digit == 0).count();
    let digits = magnitude.get(zeros..).unwrap_or_default();
    if digits.len() <= 8 {
        pack.uint(digits.iter().fold(0, |number, &digit| number << 8 | u64::from(digit)));
    } else {
        pack.ext(EXT_BIG, digits);
    }
}

/// The float's sign (true: negative) and magnitude, big-endian, if it is a whole number.
fn whole(it: f64) -> Option<(bool, Vec<u8>)> {
    if it.fract() != 0.0 || !it.is_finite() {
        return None;
    }
    let negative = it < 0.0;
    let it = it.abs();
    if it < 2_f64.powi(64) {
        return Some((negative, (it as u64).to_be_bytes().to_vec()));
    }
    // 53 bits, and as many zeros behind them as the exponent says: at least 12.
    let bits = it.to_bits();
    let mantissa = bits & ((1 << 52) - 1) | 1 << 52;
    let shift = ((bits >> 52) & 0x7FF) as usize - 1075;
    let mut digits = (u128::from(mantissa) << (shift % 8)).to_be_bytes().to_vec();
    digits.resize(digits.len() + shift / 8, 0);
    Some((negative, digits))
}

/// A magnitude of few digits as a number; a large one is some large number.
fn as_i128(magnitude: &[u8]) -> i128 {
    match magnitude.len() {
        0..=8 => magnitude.iter().fold(0, |number, &digit| number << 8 | i128::from(digit)),
        _ => i128::MAX,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn value(put: impl FnOnce(&mut Packer<'_>)) -> Value {
        let mut out = Vec::new();
        put(&mut Packer(&mut out));
        Value::from_msgpack(&out).unwrap()
    }

    fn int(it: i64) -> Value {
        value(|pack| pack.int(it))
    }

    fn float(it: f64) -> Value {
        value(|pack| pack.float(it))
    }

    /// A map from strings.
    fn map(pairs: &[(&str, &Value)]) -> Value {
        value(|pack| {
            pack.map(pairs.len() as u32);
            for (key, value) in pairs {
                pack.str(key);
                pack.raw(value.as_bytes());
            }
        })
    }

    #[track_caller]
    fn check(a: &Value, b: &Value, equal: bool, same: bool) {
        for (a, b) in [(a, b), (b, a)] {
            assert_eq!((a.equals(b), a.is_same(b)), (equal, same), "{a:?} {b:?}");
        }
    }

    #[test]
    fn numbers_are_equal_by_amount_and_the_same_by_type() {
        check(&int(3), &float(3.0), true, false);
        check(&int(-3), &float(-3.0), true, false);
        check(&int(1), &value(|pack| pack.bool(true)), true, false);
        check(&float(0.0), &value(|pack| pack.bool(false)), true, false);
        check(&float(0.0), &float(-0.0), true, true);
        check(&int(3), &float(3.5), false, false);
        check(&int(1 << 53), &float((1_u64 << 53) as f64), true, false);
        check(&int((1 << 53) + 1), &float((1_u64 << 53) as f64), false, false);
        check(&int(i64::MIN), &float(i64::MIN as f64), true, false);
        check(&float(-(2_f64.powi(70))), &float(2_f64.powi(70)), false, false);
        check(&int(3), &Value::string("3"), false, false);
        check(&Value::string("a"), &Value::binary(b"a"), false, false);
        check(&Value::nil(), &value(|pack| pack.bool(false)), false, false);
        check(&float(f64::NAN), &float(f64::NAN), true, true);
    }

    #[test]
    fn large_numbers_are_compared_exactly() {
        let big = |digits: &[u8]| value(|pack| pack.ext(EXT_BIG, digits));
        check(&float(2_f64.powi(64)), &big(&[1, 0, 0, 0, 0, 0, 0, 0, 0]), true, false);
        check(&float(2_f64.powi(64)), &big(&[1, 0, 0, 0, 0, 0, 0, 0, 1]), false, false);
        check(&big(&[0, 7]), &int(7), true, true);
        let mut large = [0; 126];
        large[0] = 8;
        check(&float(2_f64.powi(1003)), &big(&large), true, false);
        check(&value(|pack| pack.uint(u64::MAX)), &float(2_f64.powi(64)), false, false);
    }

    #[test]
    fn maps_are_equal_whatever_the_order_of_their_keys() {
        let (one, other) = (int(1), float(1.0));
        check(&map(&[("a", &one), ("b", &other)]), &map(&[("b", &one), ("a", &one)]), true, false);
        check(&map(&[("a", &one), ("b", &other)]), &map(&[("b", &other), ("a", &one)]), true, true);
        check(&map(&[("a", &one)]), &map(&[("a", &one), ("b", &one)]), false, false);
        check(&map(&[("a", &int(2)), ("a", &one)]), &map(&[("a", &one)]), true, true);
        check(&map(&[("a", &int(2)), ("a", &one)]), &map(&[("a", &int(2))]), false, false);
    }

    #[test]
    fn encodings_do_not_matter() {
        let long = Value::from_msgpack(&[0xDD, 0, 0, 0, 1, 0xD3, 0, 0, 0, 0, 0, 0, 0, 5]).unwrap();
        check(&long, &Value::from_msgpack(&[0x91, 5]).unwrap(), true, true);
        let path: crate::path::Path = "a.b".parse().unwrap();
        let odd = value(|pack| pack.ext(EXT_PATH, &[0xD9, 1, b'a', 0xA1, b'b']));
        check(&Value::path(path.as_path()), &odd, true, true);
        check(&odd, &Value::from_msgpack(&[0x92, 0xA1, b'a', 0xA1, b'b']).unwrap(), false, false);
    }

    proptest! {
        #[test]
        fn any_values_can_be_compared(a in prop::collection::vec(any::<u8>(), 1..24), b in prop::collection::vec(any::<u8>(), 1..24)) {
            if let (Ok(a), Ok(b)) = (Value::from_msgpack(&a), Value::from_msgpack(&b)) {
                prop_assert!(a.equals(&a) && a.is_same(&a));
                prop_assert_eq!(a.equals(&b), b.equals(&a));
                prop_assert!(!a.is_same(&b) || a.equals(&b));
                prop_assert_eq!(a.equals(&b), canonical(&a, Numbers::Amount) == canonical(&b, Numbers::Amount));
            }
        }
    }
}
