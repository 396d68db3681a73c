//! Flow control of a stream: how much may be under way to a receiver, and when that one says what it has read.

use super::WINDOW_MIN;

/// The sender's side. It numbers the messages of one stream, and stops before `size` of them are unread.
#[derive(Clone, Debug)]
pub struct Window {
    /// 0: the receiver asked for no flow control.
    size: u64,
    sent: u64,
    read: u64,
}

impl Window {
    /// A window of `size` messages; 0 for no limit and no numbers. `None` for a size that can't work.
    pub fn new(size: u64) -> Option<Self> {
        (size == 0 || size >= WINDOW_MIN).then_some(Self { size, sent: 0, read: 0 })
    }

    /// May another message be sent? The one that would fill the window waits.
    pub fn is_open(&self) -> bool {
        self.room() > 0
    }

    /// How many messages may be sent.
    pub fn room(&self) -> u64 {
        if self.size == 0 {
            return u64::MAX;
        }
        (self.size - 1).saturating_sub(self.sent.saturating_sub(self.read))
    }

    /// The number of the next message, which is sent now; `None` if they have none.
    pub fn take(&mut self) -> Option<u64> {
        self.sent += 1;
        (self.size > 0).then_some(self.sent)
    }

    /// The receiver has read everything up to this number. More than was sent counts as all.
    pub fn read_to(&mut self, number: u64) {
        self.read = self.read.max(number.min(self.sent));
    }
}

/// The receiver's side. It says how far it has read when that is more than a third of the window.
#[derive(Clone, Debug)]
pub struct Acks {
    size: u64,
    said: u64,
}

impl Acks {
    /// For a stream with a window of `size` messages; 0 for one without flow control.
    pub fn new(size: u64) -> Self {
        Self { size, said: 0 }
    }

    /// A message with this number was read: is the sender to be told now?
    pub fn is_due(&mut self, number: u64) -> bool {
        let due = self.size > 0 && number.saturating_sub(self.said) > self.size / 3;
        if due {
            self.said = number;
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_message_that_would_fill_the_window_waits() {
        let mut window = Window::new(4).unwrap();
        for number in 1..=3 {
            assert!(window.is_open());
            assert_eq!(window.take(), Some(number));
        }
        assert!(!window.is_open());
        window.read_to(2);
        assert_eq!(window.room(), 2);
        window.take();
        window.read_to(200);
        assert_eq!(window.room(), 3);
        window.read_to(1);
        assert_eq!(window.room(), 3, "what was read stays read");
    }

    #[test]
    fn tiny_windows_are_refused_and_none_is_no_limit() {
        assert!((1..4).all(|size| Window::new(size).is_none()));
        let mut window = Window::new(0).unwrap();
        assert_eq!(window.take(), None);
        assert!(window.is_open());
    }

    #[test]
    fn the_original_window_is_acknowledged_every_fourth_message() {
        let mut acks = Acks::new(10);
        let due: Vec<u64> = (1..=12).filter(|&number| acks.is_due(number)).collect();
        assert_eq!(due, [4, 8, 12]);
        assert!(!Acks::new(0).is_due(100));
    }
}
