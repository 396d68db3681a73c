//! The events that a file tells, for whoever does not take them in as they are.

use std::io::Read;

use distkv_store::replica::Foreign;

use super::reader::{ReadError, Reader, Record};

/// Why a file's events end before it does.
#[derive(Debug, thiserror::Error)]
pub enum EventsError {
    /// A record is not as it should be.
    #[error("record {record}: {source}")]
    Read {
        /// Which one; the first is 1.
        record: u64,
        /// What is wrong with it.
        source: ReadError,
    },
    /// Its writer was stopped in the middle of a record.
    #[error("it ends in the middle of a record, the one behind number {record}")]
    Cut {
        /// The last whole one.
        record: u64,
    },
}

/// The events of a snapshot or a log, in their order. It ends at the first error.
pub struct Events<R> {
    reader: Reader<R>,
    ended: bool,
}

impl<R: Read> Events<R> {
    /// Reads from the beginning of a file.
    pub fn new(source: R) -> Self {
        Self { reader: Reader::new(source), ended: false }
    }
}

impl<R: Read> Iterator for Events<R> {
    type Item = Result<Foreign, EventsError>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.ended {
            match self.reader.next() {
                Ok(Some(Record::Event(event))) => return Some(Ok(*event)),
                Ok(Some(Record::State(_) | Record::Strange)) => {}
                Ok(None) => {
                    self.ended = true;
                    let record = self.reader.records;
                    return (self.reader.rest() > 0).then_some(Err(EventsError::Cut { record }));
                }
                Err(source) => {
                    self.ended = true;
                    return Some(Err(EventsError::Read { record: self.reader.records.max(1), source }));
                }
            }
        }
        None
    }
}
