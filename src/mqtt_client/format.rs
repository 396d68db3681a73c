//! How `distkv mqtt sub` prints a message: the payload, topic and payload, or a format with mosquitto_sub's sequences.

use std::io::Write as _;
use std::time::Duration;

use serde_json::Value;

use super::calendar::Moment;

/// Wider fields are refused: nobody needs them, and each costs memory for every message.
const WIDTH_MAX: usize = 4096;

/// A message as it is printed.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    /// Its topic.
    pub topic: &'a str,
    /// Its payload.
    pub payload: &'a [u8],
    /// The QoS it came with.
    pub qos: u8,
    /// Was it a retained one, sent because of the subscription?
    pub retain: bool,
    /// Its packet identifier; 0 at QoS 0.
    pub id: u16,
    /// When it arrived, since 1970.
    pub arrived: Duration,
}

/// What is printed of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// The payload as it came.
    Payload,
    /// Topic, space, payload; `(null)` stands for an empty payload.
    Verbose,
    /// By a format.
    Format(Format),
}

/// A message that can't be printed as asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the payload is not valid JSON")]
pub struct NotJson;

impl Output {
    /// Appends the message, without an end of line. On an error nothing is appended.
    pub fn append(&self, message: &Message<'_>, out: &mut Vec<u8>) -> Result<(), NotJson> {
        match self {
            Self::Payload => out.extend_from_slice(message.payload),
            Self::Verbose => {
                out.extend_from_slice(message.topic.as_bytes());
                out.push(b' ');
                out.extend_from_slice(if message.payload.is_empty() { b"(null)" } else { message.payload });
            }
            Self::Format(format) => {
                let before = out.len();
                if let Err(error) = format.append(message, out) {
                    out.truncate(before);
                    return Err(error);
                }
            }
        }
        Ok(())
    }
}

/// A parsed format string.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Format {
    pieces: Vec<Piece>,
}

/// Why a format string is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// A sequence that does not exist.
    #[error("format: unknown sequence {0:?}")]
    Unknown(String),
    /// It ends in the middle of a sequence.
    #[error("format: it ends after {0:?}")]
    Unfinished(char),
    /// A field's width is too large.
    #[error("format: a field is at most {WIDTH_MAX} wide")]
    TooWide,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    /// `%t` and the like.
    Field(Field, Layout),
    /// `%I`, `%U`, `%j`, `%J`.
    Iso(Layout),
    Unix,
    Json,
    JsonInner,
    /// `@X`.
    Time(char),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    Length,
    Id,
    Payload,
    Qos,
    Retain,
    Topic,
    HexLower,
    HexUpper,
    /// A property of MQTT 5: absent.
    Property,
}

/// `%[0|-][width][.width_max]X`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Layout {
    zeros: bool,
    left: bool,
    width: usize,
    width_max: Option<usize>,
}

impl Format {
    /// Parses a format string.
    pub fn parse(text: &str) -> Result<Self, FormatError> {
        let mut pieces = Vec::new();
        let mut plain = String::new();
        let mut rest = text.chars().peekable();
        while let Some(c) = rest.next() {
            let piece = match c {
                '%' => percent(&mut rest)?,
                '@' => at(&mut rest)?,
                '\\' => Piece::Text(backslash(&mut rest)?.to_string()),
                c => Piece::Text(c.to_string()),
            };
            match piece {
                Piece::Text(text) => plain.push_str(&text),
                piece => {
                    if !plain.is_empty() {
                        pieces.push(Piece::Text(std::mem::take(&mut plain)));
                    }
                    pieces.push(piece);
                }
            }
        }
        if !plain.is_empty() {
            pieces.push(Piece::Text(plain));
        }
        Ok(Self { pieces })
    }

    fn append(&self, message: &Message<'_>, out: &mut Vec<u8>) -> Result<(), NotJson> {
        let moment = Moment::new(message.arrived);
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => out.extend_from_slice(text.as_bytes()),
                Piece::Field(field, layout) => append_field(*field, *layout, message, out),
                Piece::Iso(layout) => layout.append_text(&moment.iso(), out),
                Piece::Unix => out.extend_from_slice(moment.unix().as_bytes()),
                Piece::Json => append_json(message, &moment, false, out)?,
                Piece::JsonInner => append_json(message, &moment, true, out)?,
                Piece::Time(letter) => {
                    let mut text = String::new();
                    moment.append(*letter, &mut text);
                    out.extend_from_slice(text.as_bytes());
                }
            }
        }
        Ok(())
    }
}

type Chars<'a> = std::iter::Peekable<std::str::Chars<'a>>;

fn percent(rest: &mut Chars<'_>) -> Result<Piece, FormatError> {
    let mut layout = Layout::default();
    while let Some(flag) = rest.next_if(|c| matches!(c, '0' | '-')) {
        match flag {
            '0' => layout.zeros = true,
            _ => layout.left = true,
        }
    }
    layout.width = number(rest)?.unwrap_or(0);
    if rest.next_if_eq(&'.').is_some() {
        layout.width_max = Some(number(rest)?.unwrap_or(0));
    }
    let field = match rest.next().ok_or(FormatError::Unfinished('%'))? {
        '%' => return Ok(Piece::Text("%".to_owned())),
        'I' => return Ok(Piece::Iso(layout)),
        'U' => return Ok(Piece::Unix),
        'j' => return Ok(Piece::Json),
        'J' => return Ok(Piece::JsonInner),
        'l' => Field::Length,
        'm' => Field::Id,
        'p' => Field::Payload,
        'q' => Field::Qos,
        'r' => Field::Retain,
        't' => Field::Topic,
        'x' => Field::HexLower,
        'X' => Field::HexUpper,
        'A' | 'C' | 'D' | 'E' | 'F' | 'P' | 'R' | 'S' => Field::Property,
        other => return Err(FormatError::Unknown(format!("%{other}"))),
    };
    Ok(Piece::Field(field, layout))
}

fn number(rest: &mut Chars<'_>) -> Result<Option<usize>, FormatError> {
    let mut number = None;
    while let Some(digit) = rest.peek().and_then(|c| c.to_digit(10)) {
        rest.next();
        let value = number.unwrap_or(0) * 10 + digit as usize;
        if value > WIDTH_MAX {
            return Err(FormatError::TooWide);
        }
        number = Some(value);
    }
    Ok(number)
}

fn at(rest: &mut Chars<'_>) -> Result<Piece, FormatError> {
    match rest.next().ok_or(FormatError::Unfinished('@'))? {
        '@' => Ok(Piece::Text("@".to_owned())),
        letter if Moment::new(Duration::ZERO).append(letter, &mut String::new()) => Ok(Piece::Time(letter)),
        other => Err(FormatError::Unknown(format!("@{other}"))),
    }
}

fn backslash(rest: &mut Chars<'_>) -> Result<char, FormatError> {
    match rest.next().ok_or(FormatError::Unfinished('\\'))? {
        '\\' => Ok('\\'),
        '0' => Ok('\0'),
        'a' => Ok('\u{7}'),
        'e' => Ok('\u{1b}'),
        'n' => Ok('\n'),
        'r' => Ok('\r'),
        't' => Ok('\t'),
        'v' => Ok('\u{b}'),
        other => Err(FormatError::Unknown(format!("\\{other}"))),
    }
}

fn append_field(field: Field, layout: Layout, message: &Message<'_>, out: &mut Vec<u8>) {
    match field {
        Field::Length => layout.append_number(message.payload.len(), out),
        Field::Id => layout.append_number(message.id.into(), out),
        Field::Payload => layout.append_bytes(message.payload, out),
        Field::Qos => out.push(b'0' + message.qos),
        Field::Retain => out.push(b'0' + u8::from(message.retain)),
        Field::Topic => layout.append_text(message.topic, out),
        Field::HexLower => layout.append_digits(&hex(message.payload, false), out),
        Field::HexUpper => layout.append_digits(&hex(message.payload, true), out),
        Field::Property => layout.append_bytes(b"", out),
    }
}

fn hex(bytes: &[u8], upper: bool) -> String {
    use std::fmt::Write as _;
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        // Writing to a String does not fail.
        let _ = if upper { write!(text, "{byte:02X}") } else { write!(text, "{byte:02x}") };
    }
    text
}

impl Layout {
    fn append_text(self, text: &str, out: &mut Vec<u8>) {
        let cut: String = text.chars().take(self.width_max.unwrap_or(usize::MAX)).collect();
        self.pad(cut.as_bytes(), cut.chars().count(), b' ', out);
    }

    fn append_number(self, number: usize, out: &mut Vec<u8>) {
        self.append_digits(&number.to_string(), out);
    }

    fn append_digits(self, digits: &str, out: &mut Vec<u8>) {
        self.pad(digits.as_bytes(), digits.len(), if self.zeros { b'0' } else { b' ' }, out);
    }

    fn append_bytes(self, bytes: &[u8], out: &mut Vec<u8>) {
        self.pad(bytes, bytes.len(), b' ', out);
    }

    /// Appends `bytes`, which are `len` characters wide, and fills up to the field's width.
    fn pad(self, bytes: &[u8], len: usize, filler: u8, out: &mut Vec<u8>) {
        let missing = self.width.saturating_sub(len);
        if self.left {
            out.extend_from_slice(bytes);
            out.resize(out.len() + missing, b' ');
        } else {
            out.resize(out.len() + missing, filler);
            out.extend_from_slice(bytes);
        }
    }
}

/// Appends a message as one JSON object, its keys in mosquitto_sub's order.
/// With `inner` the payload is put in as the JSON that it must be, else as a string.
fn append_json(
    message: &Message<'_>,
    moment: &Moment,
    inner: bool,
    out: &mut Vec<u8>,
) -> Result<(), NotJson> {
    let payload = if inner {
        if serde_json::from_slice::<serde::de::IgnoredAny>(message.payload).is_err() {
            return Err(NotJson);
        }
        message.payload.trim_ascii().to_vec()
    } else if message.payload.is_empty() {
        b"null".to_vec()
    } else {
        Value::from(String::from_utf8_lossy(message.payload)).to_string().into_bytes()
    };
    let Message { qos, id, .. } = message;
    let (time, topic) = (moment.json(), Value::from(message.topic));
    let (retain, len) = (u8::from(message.retain), message.payload.len());
    // Writing to a Vec does not fail.
    let _ =
        write!(out, r#"{{"tst":"{time}","topic":{topic},"qos":{qos},"retain":{retain},"payloadlen":{len},"#);
    if *qos > 0 {
        let _ = write!(out, r#""mid":{id},"#);
    }
    out.extend_from_slice(br#""payload":"#);
    out.extend_from_slice(&payload);
    out.push(b'}');
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const MESSAGE: Message<'static> = Message {
        topic: "a/b",
        payload: b"he\"llo",
        qos: 1,
        retain: false,
        id: 7,
        arrived: Duration::new(1_795_403_902, 6_813_000),
    };

    fn print(format: &str, message: &Message<'_>) -> String {
        let mut out = Vec::new();
        let output = Output::Format(Format::parse(format).expect("a format"));
        output.append(message, &mut out).expect("printable");
        String::from_utf8(out).expect("UTF-8")
    }

    #[test]
    fn plain_output_is_the_payload_and_verbose_output_has_the_topic_before_it() {
        let mut out = Vec::new();
        Output::Payload.append(&MESSAGE, &mut out).expect("printable");
        assert_eq!(out, b"he\"llo");
        out.clear();
        Output::Verbose.append(&MESSAGE, &mut out).expect("printable");
        assert_eq!(out, b"a/b he\"llo");
        out.clear();
        Output::Verbose.append(&Message { payload: b"", ..MESSAGE }, &mut out).expect("printable");
        assert_eq!(out, b"a/b (null)");
    }

    #[test]
    fn each_parameter_of_a_message_has_its_sequence() {
        assert_eq!(print("%t|%p|%q|%r|%l|%m|%%", &MESSAGE), "a/b|he\"llo|1|0|6|7|%");
        assert_eq!(print("%x %X", &Message { payload: b"\x0a\xff", ..MESSAGE }), "0aff 0AFF");
    }

    #[test]
    fn properties_of_mqtt_5_are_absent() {
        assert_eq!(print("<%A%C%D%E%F%P%R%S>", &MESSAGE), "<>");
    }

    #[test]
    fn fields_are_filled_and_cut_to_their_widths() {
        assert_eq!(
            print("%6t|%-6t|%.2t|%5.1t|%05l|%-05l|%2x", &MESSAGE),
            "   a/b|a/b   |a/|    a|00006|6    |6865226c6c6f"
        );
    }

    #[test]
    fn times_are_in_utc() {
        assert_eq!(print("%I %U", &MESSAGE), "2026-11-23T03:18:22+0000 1795403902.006813000");
        assert_eq!(print("@Y-@m-@d @H:@M:@S.@N @@", &MESSAGE), "2026-11-23 03:18:22.006813000 @");
    }

    #[test]
    fn backslashes_stand_for_control_characters() {
        assert_eq!(print(r"\\\0\a\e\n\r\t\v", &MESSAGE), "\\\0\x07\x1b\n\r\t\x0b");
    }

    #[test]
    fn json_has_the_keys_of_mosquitto_sub() {
        assert_eq!(
            print("%j", &MESSAGE),
            r#"{"tst":"2026-11-23T03:18:22.006813Z+0000","topic":"a/b","qos":1,"retain":0,"payloadlen":6,"mid":7,"payload":"he\"llo"}"#
        );
        assert!(
            print("%j", &Message { payload: b"", qos: 0, ..MESSAGE })
                .ends_with(r#""payloadlen":0,"payload":null}"#)
        );
    }

    #[test]
    fn inner_json_must_be_json_and_nothing_is_printed_otherwise() {
        let format = Output::Format(Format::parse("x%J").expect("a format"));
        let mut out = Vec::new();
        format.append(&Message { payload: b" {\"a\": 1}\n", ..MESSAGE }, &mut out).expect("printable");
        assert!(out.ends_with(br#""payload":{"a": 1}}"#));
        out.clear();
        assert_eq!(format.append(&Message { payload: b"{\"a\":", ..MESSAGE }, &mut out), Err(NotJson));
        assert_eq!(out, b"");
    }

    #[test]
    fn a_format_with_an_unknown_sequence_is_refused() {
        assert_eq!(Format::parse("%t %z"), Err(FormatError::Unknown("%z".to_owned())));
        assert_eq!(Format::parse("@Q"), Err(FormatError::Unknown("@Q".to_owned())));
        assert_eq!(Format::parse(r"\q"), Err(FormatError::Unknown(r"\q".to_owned())));
        assert_eq!(Format::parse("%"), Err(FormatError::Unfinished('%')));
        assert_eq!(Format::parse("%99999t"), Err(FormatError::TooWide));
    }
}
