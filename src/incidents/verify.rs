//! The envelope of a signed document, and whether its signature is right.
//!
//! ```text
//! outpost-incidents-1 <128 hex digits: Ed25519 (RFC 8032) of everything behind this line>\n
//! { the document }
//! ```
//! One static file, so any web server can serve it. What always holds: nothing behind the first line is looked at before
//! its signature is known to be right.

use curve25519_dalek::edwards::{CompressedEdwardsY, EdwardsPoint};
use curve25519_dalek::scalar::Scalar;
use outpost_wire::IncidentRefusal;
use sha2::{Digest, Sha512};

/// What the first line begins with: the form of the file, with its version.
pub const MARK: &str = "outpost-incidents-1 ";

/// Bytes of the first line.
pub const FIRST_LINE: usize = MARK.len() + 2 * 64 + 1;

/// The document in this file, if the signature is one of this key for it.
#[inline(never)]
pub fn open<'f>(file: &'f [u8], public_key: &[u8; 32]) -> Result<&'f [u8], IncidentRefusal> {
    let (line, document) = file.split_at_checked(FIRST_LINE).ok_or(IncidentRefusal::Envelope)?;
    let signature = line.strip_prefix(MARK.as_bytes()).and_then(|rest| rest.strip_suffix(b"\n"));
    let signature = signature.and_then(unhex::<64>).ok_or(IncidentRefusal::Envelope)?;
    is_signed(document, &signature, public_key).filter(|right| *right).ok_or(IncidentRefusal::Signature)?;
    Ok(document)
}

/// RFC 8032, section 5.1.7, with what it leaves open decided strictly: S is below the order of the group, and neither key
/// nor R is of small order, so that no other signature, and no other document, can pass for the same.
fn is_signed(message: &[u8], signature: &[u8; 64], public_key: &[u8; 32]) -> Option<bool> {
    let (r, s) = signature.split_first_chunk::<32>()?;
    let (r, s) = (CompressedEdwardsY(*r), Option::from(Scalar::from_canonical_bytes(*s.first_chunk()?))?);
    let key = CompressedEdwardsY(*public_key).decompress()?;
    if key.is_small_order() || r.decompress()?.is_small_order() {
        return None;
    }
    let hash = Sha512::new().chain_update(r.as_bytes()).chain_update(public_key).chain_update(message).finalize();
    let k = Scalar::from_bytes_mod_order_wide(hash.as_slice().first_chunk()?);
    Some(EdwardsPoint::vartime_double_scalar_mul_basepoint(&k, &-key, &s).compress() == r)
}

/// The bytes that these hex digits stand for, if they are exactly so many.
pub fn unhex<const N: usize>(digits: &[u8]) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    let digit = |digit: &u8| char::from(*digit).to_digit(16);
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = (digit(pair.first()?)? << 4 | digit(pair.get(1)?)?) as u8;
    }
    (digits.len() == 2 * N).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 8032, section 7.1, tests 1 to 3: public key, message, signature.
    const VECTORS: [(&str, &[u8], &str); 3] = [
        (
            "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
            b"",
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
        ),
        (
            "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
            &[0x72],
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
        ),
        (
            "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
            &[0xaf, 0x82],
            "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
        ),
    ];

    fn file(signature: &str, message: &[u8]) -> std::vec::Vec<u8> {
        [MARK.as_bytes(), signature.as_bytes(), b"\n", message].concat()
    }

    fn key(digits: &str) -> [u8; 32] {
        unhex(digits.as_bytes()).unwrap()
    }

    #[test]
    fn the_signatures_of_the_rfc_are_right_and_every_changed_bit_is_wrong() {
        // A check that takes everything shows whatever the web server was made to serve.
        for (public, message, signature) in VECTORS {
            assert_eq!(open(&file(signature, message), &key(public)), Ok(message));
            let right: [u8; 64] = unhex(signature.as_bytes()).unwrap();
            for bit in 0..512 {
                let mut wrong = right;
                wrong[bit / 8] ^= 1 << (bit % 8);
                assert_ne!(is_signed(message, &wrong, &key(public)), Some(true), "bit {bit}");
            }
            assert_ne!(is_signed(b"x", &right, &key(public)), Some(true));
        }
    }

    #[test]
    fn what_other_verifiers_let_pass_is_refused() {
        // With a key of small order one signature is right for every document; with S + L there are two for one.
        let (public, message, signature) = VECTORS[2];
        let mut more: [u8; 64] = unhex(signature.as_bytes()).unwrap();
        let order = key("edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010");
        let mut carry = 0u16;
        for (byte, add) in more[32..].iter_mut().zip(order) {
            carry += u16::from(*byte) + u16::from(add);
            *byte = carry as u8;
            carry >>= 8;
        }
        assert_eq!((carry, is_signed(message, &more, &key(public))), (0, None));
        // The neutral element as key and as R, and S = 0: true of any message without the rule.
        let mut neutral = [0; 32];
        neutral[0] = 1;
        let mut forged = [0; 64];
        forged[0] = 1;
        assert_eq!(is_signed(b"anything", &forged, &neutral), None);
    }

    #[test]
    fn an_envelope_is_one_line_of_one_form() {
        let (public, message, signature) = VECTORS[1];
        let good = file(signature, message);
        for wrong in [
            &good[..FIRST_LINE - 1],
            &good[1..],
            b"",
            &file(&signature.replace('9', "g"), message),
            &file(&format!("{signature}\r"), message),
            &[b"outpost-incidents-2", &good[MARK.len() - 1..]].concat(),
            b"<html>",
        ] {
            assert_eq!(open(wrong, &key(public)), Err(IncidentRefusal::Envelope), "{wrong:?}");
        }
        assert_eq!(open(&file(signature, b"r "), &key(public)), Err(IncidentRefusal::Signature));
        assert_eq!(open(&good[..FIRST_LINE], &key(public)), Err(IncidentRefusal::Signature));
    }
}
