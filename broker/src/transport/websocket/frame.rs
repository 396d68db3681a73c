//! WebSocket frames (RFC 6455) out of the bytes of a client, in the place where they were read: payload is unmasked and moved to the
//! front of the buffer, so that what is left is the stream of MQTT. No input or output here, and no buffer but for control frames.
//!
//! The borders of frames and of messages mean nothing: MQTT packets may span or share them [MQTT-6.0.0-2, MQTT5-6.0.0-2].

/// The longest head: two bytes, a length of 8, a mask of 4.
const HEAD_MAX: usize = 14;
/// The longest payload of a control frame.
pub(super) const CONTROL_MAX: usize = 125;

const CONTINUATION: u8 = 0x0;
const TEXT: u8 = 0x1;
const BINARY: u8 = 0x2;
pub(super) const CLOSE: u8 = 0x8;
pub(super) const PING: u8 = 0x9;
pub(super) const PONG: u8 = 0xa;

const FIN: u8 = 0x80;
const RESERVED: u8 = 0x70;
const MASKED: u8 = 0x80;

/// What a client did wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Text, where MQTT has to be binary [MQTT-6.0.0-1, MQTT5-6.0.0-1].
    #[error("a WebSocket text frame; MQTT must be in binary ones")]
    Text,
    /// A frame beyond the limit.
    #[error("a WebSocket frame of {0} bytes is longer than the limit")]
    TooLong(u64),
    /// Anything else that is not as RFC 6455 has it.
    #[error("malformed WebSocket frame: {0}")]
    Malformed(&'static str),
}

impl FrameError {
    /// The status code that the client is told.
    #[must_use]
    pub fn close_code(self) -> u16 {
        match self {
            Self::Malformed(_) => 1002,
            Self::Text => 1003,
            Self::TooLong(_) => 1009,
        }
    }
}

/// A control frame of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Control<'a> {
    /// To be answered with the same bytes.
    Ping(&'a [u8]),
    /// The end: with the client's status code, if it gave one.
    Close(Option<u16>),
}

/// Where in the stream of frames the last read ended.
#[derive(Debug)]
pub struct Decoder {
    /// The longest payload of a data frame.
    limit: u64,
    head: [u8; HEAD_MAX],
    head_len: u8,
    /// The opcode of the frame whose payload comes; `None` between two frames.
    frame: Option<u8>,
    /// Payload of it that is still to come.
    left: u64,
    mask: [u8; 4],
    /// Which byte of the mask is next.
    turn: u8,
    /// A message has begun whose last frame has not.
    unfinished: bool,
    control: [u8; CONTROL_MAX],
    control_len: u8,
    closed: bool,
}

impl Decoder {
    /// Of a connection on which nothing has come yet. Data frames may have so many bytes.
    #[must_use]
    pub fn new(limit: u64) -> Self {
        Self {
            limit,
            head: [0; HEAD_MAX],
            head_len: 0,
            frame: None,
            left: 0,
            mask: [0; 4],
            turn: 0,
            unfinished: false,
            control: [0; CONTROL_MAX],
            control_len: 0,
            closed: false,
        }
    }

    /// Decodes all of `bytes`, which follow those of the call before. The payload of data frames is then at the front of it; its
    /// length is returned. Control frames are told to `control` as they come. Behind a Close nothing is looked at.
    ///
    /// # Errors
    /// The client broke the rules; the connection is to end.
    pub fn decode(
        &mut self,
        bytes: &mut [u8],
        control: &mut dyn FnMut(Control<'_>),
    ) -> Result<usize, FrameError> {
        let (mut read, mut written) = (0, 0);
        while read < bytes.len() && !self.closed {
            let Some(opcode) = self.frame else {
                read += self.take_head(&bytes[read..])?;
                // An empty frame ends where it begins.
                if self.frame.is_some() && self.left == 0 {
                    self.end_of_frame(control)?;
                }
                continue;
            };
            let len = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len() - read);
            let payload = &mut bytes[read..read + len];
            self.unmask(payload);
            if opcode < CLOSE {
                bytes.copy_within(read..read + len, written);
                written += len;
            } else {
                let at = usize::from(self.control_len);
                self.control[at..at + len].copy_from_slice(payload);
                self.control_len += len as u8;
            }
            read += len;
            self.left -= len as u64;
            if self.left == 0 {
                self.end_of_frame(control)?;
            }
        }
        Ok(written)
    }

    /// Takes bytes of a head; when it is whole, the frame begins. Answers how many.
    fn take_head(&mut self, bytes: &[u8]) -> Result<usize, FrameError> {
        let mut taken = 0;
        for byte in bytes {
            self.head[usize::from(self.head_len)] = *byte;
            self.head_len += 1;
            taken += 1;
            let needed = match (self.head_len, self.head[1] & !MASKED) {
                (1, _) => continue,
                (_, 126) => 8,
                (_, 127) => HEAD_MAX,
                _ => 6,
            };
            if self.head_len == 2 {
                self.check_head()?;
            }
            if usize::from(self.head_len) == needed {
                self.begin_frame(needed)?;
                break;
            }
        }
        Ok(taken)
    }

    /// Checks what the first two bytes say, so that a client which speaks something else is not waited for.
    fn check_head(&self) -> Result<(), FrameError> {
        let [first, second, ..] = self.head;
        let opcode = first & 0x0f;
        let malformed = |what| Err(FrameError::Malformed(what));
        if first & RESERVED != 0 {
            return malformed("a reserved bit is set");
        }
        if second & MASKED == 0 {
            return malformed("a client must mask its frames");
        }
        match opcode {
            TEXT => Err(FrameError::Text),
            CONTINUATION if !self.unfinished => malformed("there is nothing to continue"),
            BINARY if self.unfinished => malformed("the message before has not ended"),
            CONTINUATION | BINARY => Ok(()),
            CLOSE..=PONG if first & FIN == 0 => malformed("a control frame in parts"),
            CLOSE..=PONG if usize::from(second & !MASKED) > CONTROL_MAX => {
                malformed("a control frame is too long")
            }
            CLOSE..=PONG => Ok(()),
            _ => malformed("an unknown kind of frame"),
        }
    }

    fn begin_frame(&mut self, len: usize) -> Result<(), FrameError> {
        let [first, second, lengths @ ..] = self.head;
        let payload = match second & !MASKED {
            126 => u64::from(u16::from_be_bytes([lengths[0], lengths[1]])),
            127 => {
                let [a, b, c, d, e, f, g, h, ..] = lengths;
                u64::from_be_bytes([a, b, c, d, e, f, g, h])
            }
            short => u64::from(short),
        };
        let minimal = match len {
            8 => payload > 125,
            HEAD_MAX => payload > 0xffff && payload >> 63 == 0,
            _ => true,
        };
        if !minimal {
            return Err(FrameError::Malformed("a length in a longer form than it needs"));
        }
        let opcode = first & 0x0f;
        if opcode < CLOSE {
            if payload > self.limit {
                return Err(FrameError::TooLong(payload));
            }
            self.unfinished = first & FIN == 0;
        }
        self.mask.copy_from_slice(&self.head[len - 4..len]);
        self.turn = 0;
        self.head_len = 0;
        self.left = payload;
        self.frame = Some(opcode);
        Ok(())
    }

    fn unmask(&mut self, payload: &mut [u8]) {
        let mut mask = self.mask;
        mask.rotate_left(usize::from(self.turn));
        // Sixteen at a time are one instruction.
        let wide: [u8; 16] = std::array::from_fn(|at| mask[at % 4]);
        let mut chunks = payload.chunks_exact_mut(16);
        for chunk in &mut chunks {
            chunk.iter_mut().zip(&wide).for_each(|(byte, mask)| *byte ^= mask);
        }
        chunks.into_remainder().iter_mut().zip(&wide).for_each(|(byte, mask)| *byte ^= mask);
        self.turn = ((usize::from(self.turn) + payload.len()) % 4) as u8;
    }

    fn end_of_frame(&mut self, control: &mut dyn FnMut(Control<'_>)) -> Result<(), FrameError> {
        let opcode = self.frame.take();
        let payload = &self.control[..usize::from(std::mem::take(&mut self.control_len))];
        match opcode {
            Some(PING) => control(Control::Ping(payload)),
            Some(CLOSE) => {
                self.closed = true;
                let code = match payload {
                    [] => None,
                    [_] => return Err(FrameError::Malformed("a status code of one byte")),
                    [high, low, ..] => Some(u16::from_be_bytes([*high, *low])),
                };
                control(Control::Close(code));
            }
            _ => {}
        }
        Ok(())
    }
}

/// The head of a frame to a client, which is never masked; and its length.
pub(super) fn head(opcode: u8, payload: usize) -> ([u8; 10], u8) {
    let mut head = [0; 10];
    head[0] = FIN | opcode;
    let len = match payload {
        0..=125 => {
            head[1] = payload as u8;
            2
        }
        126..=0xffff => {
            head[1] = 126;
            head[2..4].copy_from_slice(&(payload as u16).to_be_bytes());
            4
        }
        _ => {
            head[1] = 127;
            head[2..].copy_from_slice(&(payload as u64).to_be_bytes());
            10
        }
    };
    (head, len)
}

/// The head of a data frame.
pub(super) fn binary_head(payload: usize) -> ([u8; 10], u8) {
    head(BINARY, payload)
}

/// Decodes `bytes` whole and cut at every place that `cuts` names, and panics if that makes a difference: for the fuzzer.
pub fn check_frames(bytes: &[u8], cuts: u8, limit: u64) {
    let told = |step: usize| {
        let mut decoder = Decoder::new(limit);
        let (mut payload, mut controls) = (Vec::new(), Vec::new());
        for chunk in bytes.chunks(step.max(1)) {
            let mut chunk = chunk.to_vec();
            let decoded = decoder.decode(&mut chunk, &mut |control| controls.push(format!("{control:?}")));
            match decoded {
                Ok(len) => payload.extend_from_slice(&chunk[..len]),
                // What came before the fault depends on the cuts, the fault itself does not.
                Err(error) => return (Vec::new(), controls, Some(error)),
            }
        }
        (payload, controls, None)
    };
    assert_eq!(told(bytes.len()), told(usize::from(cuts)));
}

#[cfg(test)]
mod tests {
    use super::*;

    const MASK: [u8; 4] = [1, 2, 3, 4];

    fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let mut frame = vec![first];
        match payload.len() {
            len @ 0..=125 => frame.push(MASKED | len as u8),
            len @ 126..=0xffff => {
                frame.push(MASKED | 126);
                frame.extend((len as u16).to_be_bytes());
            }
            len => {
                frame.push(MASKED | 127);
                frame.extend((len as u64).to_be_bytes());
            }
        }
        frame.extend(MASK);
        frame.extend(payload.iter().enumerate().map(|(at, byte)| byte ^ MASK[at % 4]));
        frame
    }

    fn decode(bytes: &[u8], step: usize) -> Result<(Vec<u8>, Vec<String>), FrameError> {
        let mut decoder = Decoder::new(1 << 20);
        let (mut payload, mut controls) = (Vec::new(), Vec::new());
        for chunk in bytes.chunks(step) {
            let mut chunk = chunk.to_vec();
            let len = decoder.decode(&mut chunk, &mut |control| controls.push(format!("{control:?}")))?;
            payload.extend_from_slice(&chunk[..len]);
        }
        Ok((payload, controls))
    }

    #[test]
    fn frames_of_every_length_come_out_whole_however_they_are_cut() {
        for len in [0, 1, 15, 16, 17, 125, 126, 1000, 65_535, 65_536, 70_000] {
            let payload: Vec<u8> = (0..len).map(|n| (n % 251) as u8).collect();
            let two = [frame(0x82, &payload), frame(0x82, b"end")].concat();
            let wanted = [&payload[..], b"end"].concat();
            for step in [1, 2, 7, 64, 4096, two.len()] {
                assert_eq!(decode(&two, step).unwrap().0, wanted, "{len} by {step}");
            }
        }
    }

    #[test]
    fn control_frames_come_between_the_parts_of_a_message() {
        let bytes =
            [frame(0x02, b"con"), frame(0x89, b"are you there"), frame(0x00, b""), frame(0x80, b"nect")]
                .concat();
        for step in [1, 3, bytes.len()] {
            let (payload, controls) = decode(&bytes, step).unwrap();
            assert_eq!(payload, b"connect");
            assert_eq!(controls, [format!("{:?}", Control::Ping(b"are you there"))]);
        }
    }

    #[test]
    fn behind_a_close_nothing_is_looked_at() {
        let bytes = [frame(0x82, b"a"), frame(0x88, &[0x03, 0xe8]), frame(0x81, b"text")].concat();
        let (payload, controls) = decode(&bytes, bytes.len()).unwrap();
        assert_eq!((payload, controls), (b"a".to_vec(), vec![format!("{:?}", Control::Close(Some(1000)))]));
        assert_eq!(decode(&frame(0x88, b""), 100).unwrap().1, [format!("{:?}", Control::Close(None))]);
    }

    #[test]
    fn what_breaks_the_rules_ends_with_the_right_code() {
        let long = [&[0x82, 0xff][..], &[0, 0, 0, 0, 0, 0x20, 0, 0], &MASK].concat();
        let not_minimal = [&[0x82, 0xfe][..], &[0, 5], &MASK].concat();
        let not_minimal_either = [&[0x82, 0xff][..], &[0, 0, 0, 0, 0, 0, 0xff, 0xff], &MASK].concat();
        let negative = [&[0x82, 0xff][..], &[0x80, 0, 0, 0, 0, 0, 0, 0], &MASK].concat();
        for (bytes, code) in [
            (frame(0x81, b"text"), 1003),
            (frame(0x01, b"text"), 1003),
            (long, 1009),
            (not_minimal, 1002),
            (not_minimal_either, 1002),
            (negative, 1002),
            (vec![0x82, 3, 1, 2, 3], 1002),
            (frame(0xc2, b"compressed"), 1002),
            (frame(0x80, b"continues nothing"), 1002),
            ([frame(0x02, b"a"), frame(0x82, b"b")].concat(), 1002),
            (frame(0x83, b"unknown"), 1002),
            (frame(0x8b, b"unknown"), 1002),
            (frame(0x09, b"a ping in parts"), 1002),
            (frame(0x89, &[0; 126]), 1002),
            (frame(0x88, b"1"), 1002),
        ] {
            for step in [1, bytes.len()] {
                let error = decode(&bytes, step).unwrap_err();
                assert_eq!(error.close_code(), code, "{error} for {bytes:?}");
            }
        }
    }

    #[test]
    fn heads_to_clients_have_the_shortest_length() {
        assert_eq!(head(PONG, 125), ([0x8a, 125, 0, 0, 0, 0, 0, 0, 0, 0], 2));
        assert_eq!(binary_head(126), ([0x82, 126, 0, 126, 0, 0, 0, 0, 0, 0], 4));
        assert_eq!(binary_head(65_536), ([0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0], 10));
    }
}
