//! A log that can lose what is not settled, and forget what is older than a checkpoint.

use super::super::record::{self, Log, Origin};
use crate::message::Message;

/// See the module. Records are counted from the beginning, also those that are forgotten.
#[derive(Debug, Default)]
pub(super) struct Disk {
    forgotten: usize,
    records: Vec<Vec<u8>>,
    settled: usize,
    generation: u64,
    next_mid: u64,
    buffer: Vec<u8>,
    /// Bodies of their own for messages without an origin as well.
    shared: bool,
    origin: Option<Origin>,
    /// The body of the message under way and the generation it is in.
    body: Option<(u64, u64)>,
}

impl Disk {
    pub(super) fn len(&self) -> usize {
        self.forgotten + self.records.len()
    }

    pub(super) fn records(&self) -> impl Iterator<Item = &[u8]> {
        self.records.iter().map(Vec::as_slice)
    }

    /// Records that no crash can take.
    pub(super) fn settled(&self) -> usize {
        self.settled
    }

    pub(super) fn settle(&mut self, records: usize) {
        self.settled = (self.settled + records).min(self.len());
    }

    pub(super) fn settle_all(&mut self) {
        self.settled = self.len();
    }

    /// Takes some of the records that are not settled. Returns how many.
    pub(super) fn crash(&mut self, argument: usize) -> usize {
        let unsettled = self.len() - self.settled;
        let lost = argument % (unsettled + 1);
        self.records.truncate(self.records.len() - lost);
        self.settled = self.len();
        lost
    }

    /// The broker writes again, with numbers of bodies from the beginning.
    pub(super) fn restart(&mut self) {
        self.next_mid = 0;
        self.generation = 1;
        record::reset(&mut self.buffer);
        self.append();
    }

    /// Returns where the generation begins.
    pub(super) fn begin_generation(&mut self) -> usize {
        self.generation += 1;
        self.len()
    }

    /// Everything before `start` goes, as soon as what came since is settled.
    pub(super) fn trim(&mut self, start: usize) {
        self.settle_all();
        self.records.drain(..start - self.forgotten);
        self.forgotten = start;
    }

    pub(super) fn begin_message(&mut self, shared: bool, origin: Option<Origin>) {
        self.shared = shared;
        self.origin = origin;
        self.body = None;
    }

    pub(super) fn end_message(&mut self) {
        if let Some((mid, _)) = self.body.take() {
            record::body_end(&mut self.buffer, mid);
            self.append();
        }
        self.begin_message(false, None);
    }
}

impl Log for Disk {
    fn buffer(&mut self) -> &mut Vec<u8> {
        assert!(self.buffer.is_empty(), "one record at a time");
        &mut self.buffer
    }

    fn append(&mut self) {
        self.records.push(std::mem::take(&mut self.buffer));
    }

    fn generation(&self) -> u64 {
        self.generation
    }

    fn body(&mut self, message: &Message, generation: u64) -> Option<u64> {
        if !self.shared && self.origin.is_none() {
            return None;
        }
        if let Some((mid, appended)) = self.body
            && appended >= generation
        {
            return Some(mid);
        }
        self.next_mid += 1;
        record::body(&mut self.buffer, self.next_mid, self.origin, message);
        self.append();
        self.body = Some((self.next_mid, self.generation));
        Some(self.next_mid)
    }
}
