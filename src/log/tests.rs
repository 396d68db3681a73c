//! Tests of the text format and of filters.

use std::sync::Arc;

use parking_lot::Mutex;
use tracing_subscriber::fmt::MakeWriter;

use super::*;

#[derive(Clone, Default)]
struct Buffer(Arc<Mutex<Vec<u8>>>);

impl io::Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Buffer {
    type Writer = Self;
    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

fn logged(colours: bool, log: impl FnOnce()) -> String {
    let buffer = Buffer::default();
    let lines = tracing_subscriber::fmt::layer().with_writer(buffer.clone()).event_format(Text { colours });
    tracing::subscriber::with_default(tracing_subscriber::registry().with(lines), log);
    let bytes = buffer.0.lock().clone();
    String::from_utf8(bytes).unwrap()
}

#[test]
fn an_event_is_one_line_whatever_its_fields_hold() {
    let evil = "a\nb\x1b[31m\r";
    let text = logged(false, || tracing::info!(client = %evil, user = evil, "connected from {evil}"));
    assert_eq!(text.matches('\n').count(), 1, "{text:?}");
    assert!(!text.contains('\x1b') && !text.contains('\r'), "{text:?}");
    assert!(text.contains(r"client=a\nb\u{1b}[31m\r"), "{text:?}");
    assert!(text.contains(r#"user="a\nb\u{1b}[31m\r""#), "{text:?}");
}

#[test]
fn a_line_has_level_module_message_and_fields() {
    let text = logged(false, || tracing::warn!(target: "distkv_broker", count = 3, "too many"));
    assert!(text.ends_with("  WARN distkv_broker: too many count=3\n"), "{text:?}");
}

#[test]
fn colours_are_used_only_when_asked_for() {
    let log = || tracing::error!("x");
    assert!(logged(true, log).contains("\x1b[31mERROR\x1b[0m"));
    assert!(!logged(false, log).contains('\x1b'));
}

#[test]
fn filters_are_levels_with_exceptions_for_modules() {
    for good in ["info", "WARN", "off", "info,distkv_broker=debug", "warn,distkv_store::journal=trace"] {
        assert_eq!(good.parse::<Filter>().map(String::from), Ok(good.to_owned()));
    }
    assert_eq!(" warn , a=debug".parse::<Filter>().map(String::from), Ok("warn,a=debug".to_owned()));
    for bad in ["", "loud", "info,", "distkv_broker", "distkv_broker=loud", "=debug", "info;debug"] {
        assert_eq!(bad.parse::<Filter>(), Err(BadFilter(bad.to_owned())));
    }
}
