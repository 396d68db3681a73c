//! Where a message ends: msgpack split incrementally, so that no byte is looked at twice however slowly it arrives.

use smallvec::SmallVec;

/// How deep a message may nest: a value and the map around it.
const DEPTH_MAX: usize = distkv_store::value::MAX_DEPTH + 1;

/// Why no message can be found any more. What follows can't be understood, so the connection must end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The byte 0xC1, which msgpack never uses.
    #[error("byte 0xC1 is not msgpack")]
    Reserved,
    /// A message longer than the limit, or one that says it will be.
    #[error("a message takes at most {limit} bytes")]
    TooLong {
        /// The limit.
        limit: usize,
    },
    /// Arrays and maps nest too deep.
    #[error("arrays and maps nest at most {DEPTH_MAX} deep in a message")]
    TooDeep,
}

/// Finds the end of the message that a buffer begins with.
#[derive(Debug)]
pub struct Frames {
    limit: usize,
    /// How much of the message has been looked at; it may lie behind what has arrived.
    scanned: usize,
    /// How many values are still to come, per open container.
    open: SmallVec<[u64; 8]>,
}

impl Frames {
    /// For messages of at most `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self { limit, scanned: 0, open: SmallVec::new() }
    }

    /// From now on messages may have so many bytes.
    pub fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
    }

    /// Whether nothing is known yet of the message that comes next. Of another one the beginning was looked at, and is not again.
    pub(super) fn is_fresh(&self) -> bool {
        self.scanned == 0
    }

    /// Whether a message that is all there may be taken as it is, if it has so many bytes and so many arrays and maps in it.
    pub(super) fn takes(&self, len: usize, containers: usize) -> bool {
        len <= self.limit && containers <= DEPTH_MAX
    }

    /// The length of the message that `bytes` begins with; `None` if its end has not arrived. Until the answer is a length, `bytes` must
    /// begin with what it began with before.
    ///
    /// # Errors
    /// As soon as its beginning shows that it can't be a message.
    pub fn next(&mut self, bytes: &[u8]) -> Result<Option<usize>, FrameError> {
        if self.is_fresh()
            && let Some((len, containers)) = value_len(bytes)
            && self.takes(len, containers)
        {
            // It is all there, as most are.
            return Ok(Some(len));
        }
        loop {
            if self.scanned > 0 && self.open.is_empty() {
                return Ok(self.finish(bytes.len()));
            }
            let Some(head) = bytes.get(self.scanned..).and_then(head).transpose()? else { return Ok(None) };
            self.step(head)?;
        }
    }

    /// The whole message has been looked at; is it here?
    fn finish(&mut self, arrived: usize) -> Option<usize> {
        let len = self.scanned;
        if len > arrived {
            return None;
        }
        self.scanned = 0;
        Some(len)
    }

    fn step(&mut self, Head { len, inside }: Head) -> Result<(), FrameError> {
        // Each value inside takes a byte at least.
        let least = (self.scanned as u64).saturating_add(len).saturating_add(inside);
        if least > self.limit as u64 {
            return Err(FrameError::TooLong { limit: self.limit });
        }
        self.scanned += len as usize;
        if inside > 0 {
            if self.open.len() == DEPTH_MAX {
                return Err(FrameError::TooDeep);
            }
            self.open.push(inside);
            return Ok(());
        }
        while let Some(count) = self.open.last_mut() {
            *count -= 1;
            if *count > 0 {
                break;
            }
            self.open.pop();
        }
        Ok(())
    }
}

/// The length of the value that `bytes` begins with, and how many arrays and maps are in it. Nothing else of what is in it is looked at. `None`
/// if it is not all there.
pub(super) fn value_len(bytes: &[u8]) -> Option<(usize, usize)> {
    let (mut at, mut left, mut containers) = (0_usize, 1_u64, 0_usize);
    while left > 0 {
        let Head { len, inside } = head(bytes.get(at..)?)?.ok()?;
        at = at.checked_add(usize::try_from(len).ok()?)?;
        containers += usize::from(inside > 0);
        left = (left - 1).checked_add(inside)?;
    }
    (at <= bytes.len()).then_some((at, containers))
}

/// The beginning of a value.
struct Head {
    /// The length of the value; of a container, of its head.
    len: u64,
    /// How many values follow in it.
    inside: u64,
}

/// Reads the head of the value that `bytes` begins with; `None` if it has not arrived.
#[inline(always)]
fn head(bytes: &[u8]) -> Option<Result<Head, FrameError>> {
    let (&first, rest) = bytes.split_first()?;
    // Short strings are what most messages consist of.
    if first & 0xE0 == 0xA0 {
        return Some(Ok(Head { len: 1 + u64::from(first & 0x1F), inside: 0 }));
    }
    let number = |width: usize| {
        rest.get(..width)
            .map(|digits| digits.iter().fold(0_u64, |number, &digit| number << 8 | u64::from(digit)))
    };
    let fixed = |len: u64| Some(Head { len, inside: 0 });
    let counted = |width: usize, more: u64| {
        number(width).map(|len| Head { len: 1 + width as u64 + more + len, inside: 0 })
    };
    let holding = |width: usize, each: u64| {
        number(width).map(|count| Head { len: 1 + width as u64, inside: count * each })
    };
    let head = match first {
        0x00..=0x7F | 0xC0 | 0xC2..=0xC3 | 0xE0..=0xFF => fixed(1),
        0x80..=0x8F => Some(Head { len: 1, inside: u64::from(first & 0x0F) * 2 }),
        0x90..=0x9F => Some(Head { len: 1, inside: u64::from(first & 0x0F) }),
        0xA0..=0xBF => fixed(1 + u64::from(first & 0x1F)),
        0xC1 => return Some(Err(FrameError::Reserved)),
        0xC4..=0xC6 => counted(1 << (first - 0xC4), 0),
        0xC7..=0xC9 => counted(1 << (first - 0xC7), 1),
        0xCA => fixed(5),
        0xCB => fixed(9),
        0xCC..=0xCF => fixed(1 + (1 << (first - 0xCC))),
        0xD0..=0xD3 => fixed(1 + (1 << (first - 0xD0))),
        0xD4..=0xD8 => fixed(2 + (1 << (first - 0xD4))),
        0xD9..=0xDB => counted(1 << (first - 0xD9), 0),
        0xDC..=0xDD => holding(2 << (first - 0xDC), 1),
        0xDE..=0xDF => holding(2 << (first - 0xDE), 2),
    };
    head.map(Ok)
}

#[cfg(test)]
mod tests {
    use distkv_store::value::Value;
    use proptest::prelude::*;

    use super::*;

    /// Feeds `bytes` in pieces of `step` and collects the lengths of messages.
    fn lengths(bytes: &[u8], step: usize, limit: usize) -> Result<Vec<usize>, FrameError> {
        let mut frames = Frames::new(limit);
        let (mut from, mut arrived, mut lengths) = (0, 0, Vec::new());
        loop {
            while let Some(len) = frames.next(&bytes[from..arrived])? {
                lengths.push(len);
                from += len;
            }
            if arrived == bytes.len() {
                return Ok(lengths);
            }
            arrived = bytes.len().min(arrived + step);
        }
    }

    #[test]
    fn messages_are_found_however_they_arrive() {
        let mut bytes = Vec::new();
        let mut expected = Vec::new();
        for message in [
            &b"\x81\xa3seq\x01"[..],
            b"\xc0",
            b"\x92\x93\x01\x02\x03\xda\x00\x02hi",
            b"\xc7\x00\x03",
            b"\xd5\x03\xa1a",
            b"\xcb\x00\x00\x00\x00\x00\x00\x00\x00",
            b"\x80",
            b"\x90",
        ] {
            expected.push(message.len());
            bytes.extend_from_slice(message);
        }
        for step in 1..bytes.len() {
            assert_eq!(lengths(&bytes, step, 100).unwrap(), expected, "by {step}");
        }
    }

    #[test]
    fn giants_and_towers_are_refused_by_their_heads() {
        let too_long = Err(FrameError::TooLong { limit: 1000 });
        for giant in [
            &b"\xc6\xff\xff\xff\xff"[..],
            b"\xdb\x7f\xff\xff\xff",
            b"\xdd\xff\xff\xff\xff",
            b"\xdf\xff\xff\xff\xff",
            b"\xc9\xff\xff\xff\xff",
            b"\xde\x01\xf5",
        ] {
            assert_eq!(Frames::new(1000).next(giant), too_long, "{giant:x?}");
        }
        assert_eq!(Frames::new(1000).next(&[0x91; 200]), Err(FrameError::TooDeep));
        assert_eq!(Frames::new(1000).next(b"\x81\xc1"), Err(FrameError::Reserved));
    }

    proptest! {
        #[test]
        fn an_end_is_where_a_value_ends(bytes in prop::collection::vec(any::<u8>(), 0..60), step in 1_usize..9) {
            // What the store takes as one value is one message, at the same length.
            for len in 0..=bytes.len() {
                if Value::from_msgpack(&bytes[..len]).is_ok() {
                    let found = lengths(&bytes[..len], step, 1000);
                    prop_assert_eq!(found, Ok(vec![len]));
                }
            }
            let _any = lengths(&bytes, step, 40);
        }
    }
}
