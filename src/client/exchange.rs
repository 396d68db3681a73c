//! The secret that both ends of a native connection agree on before a password travels, and the box that it travels in.
//!
//! Diffie-Hellman in group 14 of RFC 3526 (2048 bits, generator 2); the key is the first 32 bytes of the shared number, written
//! big-endian without leading zeros. The box is NaCl's secretbox (XSalsa20 and Poly1305), its nonce in front. What is in the box is the
//! SHA-256 of the password. So a listener learns nothing; who can change what travels, can: that is what TLS is for.
//!
//! Pure: random bytes come in as arguments.

use std::fmt;

use crypto_bigint::modular::{FixedMontyForm, FixedMontyParams};
use crypto_bigint::{Odd, U256, U2048};
use poly1305::Poly1305;
use poly1305::universal_hash::KeyInit as _;
use salsa20::XSalsa20;
use salsa20::cipher::{KeyIvInit as _, StreamCipher as _};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

/// The prime of group 14.
const PRIME: Odd<U2048> = Odd::<U2048>::from_be_hex(concat!(
    "FFFFFFFFFFFFFFFFC90FDAA22168C234C4C6628B80DC1CD129024E088A67CC74020BBEA63B139B22514A08798E3404DD",
    "EF9519B3CD3A431B302B0A6DF25F14374FE1356D6D51C245E485B576625E7EC6F44C42E9A637ED6B0BFF5CB6F406B7ED",
    "EE386BFB5A899FA5AE9F24117C4B1FE649286651ECE45B3DC2007CB8A163BF0598DA48361C55D39A69163FA8FD24CF5F",
    "83655D23DCA3AD961C62F356208552BB9ED529077096966D670C354E4ABC9804F1746C08CA18217C32905E462E36CE3B",
    "E39E772C180E86039B2783A2EC07A28FB5C55DF06F4C52C9DE2BCBF6955817183995497CEA956AE515D2261898FA0510",
    "15728E5A8AACAA68FFFFFFFFFFFFFFFF"
));

/// The length of the longest public key.
pub const PUBLIC_BYTES_MAX: usize = 256;
/// The length of a private key: 256 bits, as RFC 3526 has it for twice the strength of this group.
pub const PRIVATE_BYTES: usize = 32;
/// The length of a box's nonce.
pub const NONCE_BYTES: usize = 24;
const TAG_BYTES: usize = 16;

/// Why an exchange or a box is no good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExchangeError {
    /// The other end's public key is no member of the group, so that the secret would be none.
    #[error("the public key of the key exchange is not one of group 14")]
    PublicKey,
    /// The box was made with another key, or changed on its way.
    #[error("the encrypted password can't be opened: it was made with another key, or changed on its way")]
    Box,
}

/// One end of an exchange, until it has the other's public key.
pub struct Exchange {
    private: U256,
    public: U2048,
}

/// The key that both ends have.
pub struct SharedKey([u8; 32]);

impl fmt::Debug for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Exchange(..)")
    }
}

impl fmt::Debug for SharedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SharedKey(..)")
    }
}

impl Exchange {
    /// Begins with a private key: random bytes, which nobody else knows and which are used once.
    pub fn new(private: &[u8; PRIVATE_BYTES]) -> Self {
        let private = U256::from_be_slice(private);
        Self { private, public: power(&U2048::from_u8(2), &private) }
    }

    /// The public key, for the other end: a big-endian number without leading zeros.
    pub fn public_key(&self) -> Vec<u8> {
        minimal(&self.public)
    }

    /// The key, with the other end's public key. A key which would make the secret guessable is refused.
    pub fn agree(self, public_key: &[u8]) -> Result<SharedKey, ExchangeError> {
        let zeros = public_key.iter().take_while(|&&byte| byte == 0).count();
        let digits = public_key.get(zeros..).unwrap_or_default();
        let mut padded = [0; PUBLIC_BYTES_MAX];
        let at = PUBLIC_BYTES_MAX.checked_sub(digits.len()).ok_or(ExchangeError::PublicKey)?;
        padded[at..].copy_from_slice(digits);
        let other = U2048::from_be_slice(&padded);
        // 1 < key < p - 1 leaves out the two members whose powers anybody knows.
        let within = other > U2048::ONE && other < PRIME.wrapping_sub(&U2048::ONE);
        // The squares are the subgroup of prime order in which 2 lies; outside, a key could tell a bit of ours.
        let half = PRIME.shr_vartime(1);
        if !within || power(&other, &half) != U2048::ONE {
            return Err(ExchangeError::PublicKey);
        }
        let secret = minimal(&power(&other, &self.private));
        let mut key = [0; 32];
        for (to, from) in key.iter_mut().zip(secret) {
            *to = from;
        }
        Ok(SharedKey(key))
    }
}

impl SharedKey {
    /// Closes `content` into a box. A nonce is used once.
    pub fn seal(&self, content: &[u8], nonce: &[u8; NONCE_BYTES]) -> Vec<u8> {
        let (mut cipher, tagger) = self.start(nonce);
        let mut hidden = content.to_vec();
        cipher.apply_keystream(&mut hidden);
        let tag = tagger.compute_unpadded(&hidden);
        let mut out = Vec::with_capacity(NONCE_BYTES + TAG_BYTES + hidden.len());
        out.extend_from_slice(nonce);
        out.extend_from_slice(&tag);
        out.extend_from_slice(&hidden);
        out
    }

    /// Opens a box.
    pub fn open(&self, sealed: &[u8]) -> Result<Vec<u8>, ExchangeError> {
        let (nonce, rest) = sealed.split_first_chunk::<NONCE_BYTES>().ok_or(ExchangeError::Box)?;
        let (tag, hidden) = rest.split_first_chunk::<TAG_BYTES>().ok_or(ExchangeError::Box)?;
        let (mut cipher, tagger) = self.start(nonce);
        let computed = tagger.compute_unpadded(hidden);
        if !bool::from(computed.as_slice().ct_eq(tag)) {
            return Err(ExchangeError::Box);
        }
        let mut content = hidden.to_vec();
        cipher.apply_keystream(&mut content);
        Ok(content)
    }

    /// The box around a password.
    pub fn seal_password(&self, password: &str, nonce: &[u8; NONCE_BYTES]) -> Vec<u8> {
        self.seal(&Sha256::digest(password.as_bytes()), nonce)
    }

    /// The stream behind its first 32 bytes, which are the key of the tag.
    fn start(&self, nonce: &[u8; NONCE_BYTES]) -> (XSalsa20, Poly1305) {
        let mut cipher = XSalsa20::new(&self.0.into(), &(*nonce).into());
        let mut tag_key = [0; 32];
        cipher.apply_keystream(&mut tag_key);
        (cipher, Poly1305::new(&tag_key.into()))
    }
}

/// `base` to the power of `exponent`, in time that depends on the length of the exponent's type alone.
fn power<const LIMBS: usize>(base: &U2048, exponent: &crypto_bigint::Uint<LIMBS>) -> U2048 {
    const PARAMS: FixedMontyParams<{ U2048::LIMBS }> = FixedMontyParams::new_vartime(PRIME);
    FixedMontyForm::new(base, &PARAMS).pow(exponent).retrieve()
}

/// Big-endian, without leading zeros.
fn minimal(number: &U2048) -> Vec<u8> {
    let bytes = number.to_be_bytes();
    bytes.as_ref().iter().copied().skip_while(|&byte| byte == 0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A recorded exchange with the original server.
    mod recorded {
        pub(super) const PRIVATE: u64 = 0xab54_a98c_eb1f_0ad2;
        pub(super) const CLIENT: &str = "fd73a4dc53ada27992358086f79edf977a83d3e11c0126af446688715bd5dde16d9ef5e8add51a8714eac3d9f1167321a7bc448fa43f42c36f1f6a17ab2575c5ba9d7317785e35a35cb454e6a48c28dd900807eb0fb3b94025ee84abb5bce79d424f0b849b2fa9f1505491d7da0b35ba63b9c0f46715b34676f712cc8956c1f164a8c19ccdb96742ea40c0e10edb95a705009d599cb97b36121d973da22e46ad4ef9410a1b85980c3cbfddc44de87226939ae42e73eb73578246bcfb861c43774095ebbd8c6e115780dcdd889f071e18c586f0f4886b4b74b1d43dccbffbbf13c9a53f6719ac6238bebb19e81dac15dafdb4ac9fa73bd01a083ca5595ffe97e1";
        pub(super) const SERVER: &str = "3fbd9dc619a51074855eb830554f39ed64e472a26ed4e41afdc9fc0bd912995383b8eb288716036587215ec24c1dd83f220706b947ecced41e44e7d71729c80ca6d3621757d3867362ddff080b402aa582655cc33f4713f925a634898034719a8db361502086439ddd2bfec466e6c879458bea2b14a3baac0815a70d63a2f2651c2d88eacabbe2750eb0e3f6995146f34491726e6d1ebcbd99dd6713839e868dc5e75468e66d752304765917e8f08c5745e4a6cbda617de1def554a0316c141b10c6ffe8a429837ea6afa7f01f38f5745b0d2b810f173ed881c9b9127f68bdc6484d8b46bb7b7fc044b385821d5dfd84fb36a82c1936f19c76d7c1390b1bf382";
        pub(super) const KEY: &str = "21d1dabc3f2a49a848bf68bf5940df3a50187add2277bee4188f12e5d9198350";
        pub(super) const BOX: &str = "000102030405060708090a0b0c0d0e0f1011121314151617b562b6bebf10b0f67b7baf93253a25c8a7228ad4ad7cf5032c8639f13378010d8e186df0acedbe614ea776a12062d7f9";
        pub(super) const SHA256: &str = "5eba94de7ce67cf9fd0d84ee54e239e39d9b3426990674f8f4760419cd440ed9";
    }

    fn bytes(hex: &str) -> Vec<u8> {
        (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
    }

    fn private(number: u64) -> [u8; PRIVATE_BYTES] {
        let mut key = [0; PRIVATE_BYTES];
        key[PRIVATE_BYTES - 8..].copy_from_slice(&number.to_be_bytes());
        key
    }

    #[test]
    fn the_recorded_exchange_is_repeated() {
        let exchange = Exchange::new(&private(recorded::PRIVATE));
        assert_eq!(exchange.public_key(), bytes(recorded::CLIENT));
        let key = exchange.agree(&bytes(recorded::SERVER)).unwrap();
        assert_eq!(key.0.to_vec(), bytes(recorded::KEY));
        let mut nonce = [0; NONCE_BYTES];
        nonce.iter_mut().enumerate().for_each(|(at, byte)| *byte = at as u8);
        let sealed = key.seal_password("pass-word", &nonce);
        assert_eq!(sealed, bytes(recorded::BOX));
        assert_eq!(key.open(&sealed).unwrap(), bytes(recorded::SHA256));
    }

    #[test]
    fn both_ends_get_one_key_and_only_it_opens() {
        let (here, there) = (Exchange::new(&[7; 32]), Exchange::new(&[9; 32]));
        let (here_public, there_public) = (here.public_key(), there.public_key());
        let (here, there) = (here.agree(&there_public).unwrap(), there.agree(&here_public).unwrap());
        let mut sealed = here.seal(b"content", &[3; NONCE_BYTES]);
        assert_eq!(there.open(&sealed).unwrap(), b"content");
        for at in 0..sealed.len() {
            sealed[at] ^= 1;
            assert_eq!(there.open(&sealed), Err(ExchangeError::Box), "byte {at}");
            sealed[at] ^= 1;
        }
        for len in 0..NONCE_BYTES + TAG_BYTES {
            assert_eq!(there.open(&sealed[..len]), Err(ExchangeError::Box));
        }
    }

    #[test]
    fn keys_outside_of_the_group_are_refused() {
        let prime = minimal(PRIME.as_ref());
        let below = minimal(&PRIME.wrapping_sub(&U2048::ONE));
        // 11 is no square modulo this prime.
        for key in [&[][..], &[0], &[1], &[0, 1], &prime, &below, &[11], &[0xFF; 257]] {
            assert!(Exchange::new(&[5; 32]).agree(key).is_err(), "{key:?}");
        }
        assert!(Exchange::new(&[5; 32]).agree(&[0, 0, 4]).is_ok());
    }

    #[test]
    fn nothing_secret_is_shown() {
        let exchange = Exchange::new(&[7; 32]);
        assert_eq!(format!("{exchange:?}"), "Exchange(..)");
        assert_eq!(format!("{:?}", exchange.agree(&[4]).unwrap()), "SharedKey(..)");
    }
}
