//! Logins that were right: so that whoever comes again needs no Argon2.
//!
//! What is remembered is a hash, under a key that is new at each start, of the user's name, his record's password hash and what he has shown.
//! Another password in the record makes another hash, so what was right before is not found any more. The number is bounded; who was not
//! seen for longest is forgotten.

use std::collections::HashSet;
use std::net::IpAddr;

use hmac::{Hmac, KeyInit as _, Mac as _};
use parking_lot::Mutex;
use sha2::Sha256;

use super::digest::Digest;

/// Logins that one half holds; both together take a few megabytes.
const HALF: usize = 65_536;

/// A login, as far as it is remembered.
pub(super) type Mark = [u8; 16];

/// See the module.
pub(super) struct Remembered {
    /// With its key; it is cloned for each use, which saves half of the work.
    mac: Hmac<Sha256>,
    halves: Mutex<Halves>,
}

/// When the new half is full it becomes the old one, and what was not used since goes.
#[derive(Default)]
struct Halves {
    new: HashSet<Mark>,
    old: HashSet<Mark>,
}

impl Remembered {
    pub(super) fn new(key: &[u8; 32]) -> Self {
        let mac = Hmac::new_from_slice(key).expect("HMAC takes keys of any length");
        Self { mac, halves: Mutex::default() }
    }

    /// What stands for a login.
    pub(super) fn mark(&self, user: &str, stored: &str, shown: &Digest) -> Mark {
        let mut mac = self.mac.clone();
        // The first has its length, the last always the same: no two logins read alike.
        mac.update(&(user.len() as u64).to_be_bytes());
        mac.update(user.as_bytes());
        mac.update(stored.as_bytes());
        mac.update(shown.as_bytes());
        first_half(mac)
    }

    /// What stands for a user who was right from an address.
    pub(super) fn place(&self, user: &str, address: IpAddr) -> Mark {
        let mut mac = self.mac.clone();
        // No name is that long.
        mac.update(&u64::MAX.to_be_bytes());
        match address {
            IpAddr::V4(v4) => mac.update(&v4.octets()),
            IpAddr::V6(v6) => mac.update(&v6.octets()),
        }
        mac.update(user.as_bytes());
        first_half(mac)
    }

    /// Was it right before?
    pub(super) fn knows(&self, mark: &Mark) -> bool {
        let mut halves = self.halves.lock();
        if halves.new.contains(mark) {
            return true;
        }
        let known = halves.old.remove(mark);
        if known {
            halves.insert(*mark);
        }
        known
    }

    /// It was right.
    pub(super) fn insert(&self, mark: Mark) {
        self.halves.lock().insert(mark);
    }
}

fn first_half(mac: Hmac<Sha256>) -> Mark {
    let whole: [u8; 32] = mac.finalize().into_bytes().into();
    let mut mark = Mark::default();
    mark.copy_from_slice(&whole[..16]);
    mark
}

impl Halves {
    fn insert(&mut self, mark: Mark) {
        if self.new.len() >= HALF {
            self.old = std::mem::take(&mut self.new);
        }
        self.new.insert(mark);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_is_known_by_all_of_its_parts() {
        let remembered = Remembered::new(&[1; 32]);
        let shown = Digest::of(b"secret");
        let mark = remembered.mark("ann", "$hash", &shown);
        assert!(!remembered.knows(&mark));
        remembered.insert(mark);
        assert!(remembered.knows(&remembered.mark("ann", "$hash", &shown)));
        let [here, there] = ["192.0.2.1", "192.0.2.2"].map(|it| remembered.place("ann", it.parse().unwrap()));
        remembered.insert(here);
        assert!(remembered.knows(&here) && !remembered.knows(&there));
        for other in [
            remembered.mark("anna", "$hash", &shown),
            remembered.mark("ann$", "hash", &shown),
            remembered.mark("ann", "$other", &shown),
            remembered.mark("ann", "$hash", &Digest::of(b"Secret")),
            Remembered::new(&[2; 32]).mark("ann", "$hash", &shown),
        ] {
            assert!(!remembered.knows(&other));
        }
    }

    #[test]
    fn what_is_used_stays_and_the_number_is_bounded() {
        let remembered = Remembered::new(&[1; 32]);
        let often = remembered.mark("often", "", &Digest::of(b""));
        remembered.insert(often);
        for n in 0..3 * HALF as u64 {
            let mut mark = Mark::default();
            mark[..8].copy_from_slice(&n.to_be_bytes());
            remembered.insert(mark);
            assert!(n % 1000 != 0 || remembered.knows(&often));
        }
        let halves = remembered.halves.lock();
        assert!(halves.new.len() <= HALF && halves.old.len() <= HALF);
    }
}
