//! The cipher suite, with two guards that only stand where plaintext is: `embedded-tls` panics on a record with nothing
//! in it, and on a handshake message after the handshake. Neither reaches it through this.
//!
//! TLS_AES_128_GCM_SHA256, which every server of TLS 1.3 must have (RFC 8446, section 9.1). The header of a record is the
//! cipher's associated data, and `embedded-tls` looks at its type and length alone. So [`super::wire`], which has checked
//! the version in it, puts there whether the handshake is over.

use aes_gcm::aead::consts::{U0, U12, U16, U54};
use aes_gcm::aead::{AeadCore, AeadInPlace, Error, KeyInit, KeySizeUser, generic_array::GenericArray};
use aes_gcm::{Aes128Gcm, Nonce, Tag};
use embedded_tls::{Sha256, TlsCipherSuite};

/// The version that stands in each record (RFC 8446, section 5.1).
pub const VERSION: [u8; 2] = [3, 3];

/// What [`super::wire`] puts there once the handshake is over.
pub const AFTER_HANDSHAKE: [u8; 2] = [3, 0xff];

/// Types of records, and of the one handshake message that may come later (RFC 8446, sections 5.1 and 4).
pub const CHANGE_CIPHER_SPEC: u8 = 20;
/// An alert.
pub const ALERT: u8 = 21;
/// Handshake messages.
pub const HANDSHAKE: u8 = 22;
/// Anything, encrypted; inside: bytes of the application.
pub const APPLICATION_DATA: u8 = 23;
const NEW_SESSION_TICKET: u8 = 4;

/// The suite.
pub struct Suite;

impl TlsCipherSuite for Suite {
    const CODE_POINT: u16 = 0x1301;
    type Cipher = Checked;
    type KeyLen = U16;
    type IvLen = U12;
    type Hash = Sha256;
    // The hash and the longest label with its length: 32 + 12 + 10.
    type LabelBufferSize = U54;
}

/// AES-128-GCM that gives out only what `embedded-tls` can read.
pub struct Checked(Aes128Gcm);

impl KeySizeUser for Checked {
    type KeySize = U16;
}

impl KeyInit for Checked {
    fn new(key: &GenericArray<u8, U16>) -> Checked {
        Checked(Aes128Gcm::new(key))
    }
}

impl AeadCore for Checked {
    type NonceSize = U12;
    type TagSize = U16;
    type CiphertextOverhead = U0;
}

impl AeadInPlace for Checked {
    fn encrypt_in_place_detached(&self, nonce: &Nonce<U12>, header: &[u8], buffer: &mut [u8]) -> Result<Tag, Error> {
        self.0.encrypt_in_place_detached(nonce, header, buffer)
    }

    fn decrypt_in_place_detached(
        &self,
        nonce: &Nonce<U12>,
        header: &[u8],
        buffer: &mut [u8],
        tag: &Tag,
    ) -> Result<(), Error> {
        let &[kind, high, low, length_high, length_low] = header else { return Err(Error) };
        let sent = [kind, VERSION[0], VERSION[1], length_high, length_low];
        self.0.decrypt_in_place_detached(nonce, &sent, buffer, tag)?;
        if [high, low] == AFTER_HANDSHAKE { after_handshake(buffer) } else { during_handshake(buffer) }
    }
}

/// TLSInnerPlaintext (RFC 8446, section 5.2): the content, its type, zeros.
fn inner(plain: &[u8]) -> Result<(&[u8], u8), Error> {
    let end = plain.iter().rposition(|byte| *byte != 0).ok_or(Error)?;
    Ok((&plain[..end], plain[end]))
}

/// A message of the handshake or an alert, and not an empty one.
fn during_handshake(plain: &[u8]) -> Result<(), Error> {
    match inner(plain)? {
        ([_, ..], HANDSHAKE | ALERT) => Ok(()),
        _ => Err(Error),
    }
}

/// Data or an alert. A ticket for another session is of no use here, so it becomes a record of no data: then the reader of
/// handshake messages never sees any. All other messages are refused, a request for a certificate or new keys among them.
fn after_handshake(plain: &mut [u8]) -> Result<(), Error> {
    match inner(plain)? {
        (_, APPLICATION_DATA) | ([_, ..], ALERT) => Ok(()),
        ([NEW_SESSION_TICKET, ..], HANDSHAKE) => {
            plain.fill(0);
            plain[0] = APPLICATION_DATA;
            Ok(())
        }
        _ => Err(Error),
    }
}
