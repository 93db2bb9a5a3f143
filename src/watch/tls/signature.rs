//! Whether who speaks has the key of its certificate: the signatures of TLS 1.3 (RFC 8446, section 4.2.3) that servers
//! are met with: ECDSA on P-256, RSA-PSS, Ed25519. Nothing here is secret, so nothing has to take the same time always.

use super::certificate::Key;
use super::modular::power;
use crate::limits::RSA_MAX;
use embedded_tls::{Sha256, SignatureScheme};
use heapless::Vec;
use p256::ecdsa::signature::Verifier;
use p256::ecdsa::signature::digest::Digest;
use p256::ecdsa::{Signature, VerifyingKey};

/// Bytes of a SHA-256.
const HASH: usize = 32;

/// A key that outlives the certificate it stood in.
#[derive(Clone, Debug)]
#[allow(clippy::large_enum_variant, reason = "there is one of it in a session, and no heap")]
pub enum OwnKey {
    /// See [`Key::P256`].
    P256(VerifyingKey),
    /// See [`Key::Rsa`].
    Rsa(Vec<u8, RSA_MAX>, u32),
    /// See [`Key::Ed25519`].
    Ed25519([u8; 32]),
}

impl OwnKey {
    /// `None` when nothing that is signed with it can be checked.
    pub fn new(key: Key<'_>) -> Option<OwnKey> {
        match key {
            Key::P256(point) => VerifyingKey::from_sec1_bytes(point).ok().map(OwnKey::P256),
            Key::Rsa(modulus, exponent) => {
                let exponent = exponent.iter().fold(0, |number, byte| number << 8 | u32::from(*byte));
                Some(OwnKey::Rsa(Vec::from_slice(modulus).ok()?, exponent))
            }
            Key::Ed25519(bytes) => Some(OwnKey::Ed25519(*bytes)),
            Key::Other => None,
        }
    }

    /// Whether this is a signature of this message by the key.
    #[inline(never)]
    pub fn verifies(&self, scheme: SignatureScheme, message: &[u8], signature: &[u8]) -> bool {
        match (self, scheme) {
            (OwnKey::P256(key), SignatureScheme::EcdsaSecp256r1Sha256) => {
                Signature::from_der(signature).is_ok_and(|signature| key.verify(message, &signature).is_ok())
            }
            (OwnKey::Rsa(modulus, exponent), SignatureScheme::RsaPssRsaeSha256) => {
                pss(modulus, *exponent, &Sha256::digest(message).into(), signature)
            }
            (OwnKey::Ed25519(key), SignatureScheme::Ed25519) => {
                let key = ed25519_dalek::VerifyingKey::from_bytes(key);
                let signature = ed25519_dalek::Signature::from_slice(signature);
                matches!((key, signature), (Ok(key), Ok(signature)) if key.verify_strict(message, &signature).is_ok())
            }
            _ => false,
        }
    }
}

/// RSASSA-PSS-VERIFY (RFC 8017, section 8.1.2) with SHA-256 for both hashes and a salt as long, as TLS has it.
fn pss(modulus: &[u8], exponent: u32, hash: &[u8; HASH], signature: &[u8]) -> bool {
    // RSAVP1.
    let Some(mut message) = power(signature, exponent, modulus).filter(|_| signature.len() == modulus.len()) else {
        return false;
    };
    let unused = modulus.first().map_or(0, |top| top.leading_zeros());
    emsa_pss(&mut message, modulus.len() * 8 - 1 - unused as usize, hash)
}

/// EMSA-PSS-VERIFY (RFC 8017, section 9.1.2): `number`, in big-endian bytes, as an encoded message of so many bits.
fn emsa_pss(number: &mut [u8], bits: usize, hash: &[u8; HASH]) -> bool {
    let len = bits.div_ceil(8);
    let Some((zeros, encoded)) = number.split_at_mut_checked(number.len().wrapping_sub(len)) else { return false };
    let Some((data, trailer)) = encoded.split_at_mut_checked(len.wrapping_sub(HASH + 1)) else { return false };
    let [seed @ .., 0xbc] = trailer else { return false };
    let unused = !(0xff >> (len * 8 - bits));
    if zeros.iter().any(|byte| *byte != 0) || data.first().is_none_or(|first| first & unused != 0) {
        return false;
    }
    // MGF1 (appendix B.2.1).
    for (count, block) in (0u32..).zip(data.chunks_mut(HASH)) {
        let mask = Sha256::new().chain_update(&*seed).chain_update(count.to_be_bytes()).finalize();
        block.iter_mut().zip(mask).for_each(|(byte, mask)| *byte ^= mask);
    }
    data[0] &= !unused;
    let Some((padding, salt)) = data.split_at_checked(data.len().wrapping_sub(HASH)) else { return false };
    let [padding @ .., 1] = padding else { return false };
    let again = Sha256::new().chain_update([0; 8]).chain_update(hash).chain_update(salt).finalize();
    padding.iter().all(|byte| *byte == 0) && again[..] == *seed
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watch::tls::certificate::Certificate;

    const MESSAGE: &[u8] = b"outpost";

    #[test]
    fn rsa_signatures_of_openssl_verify_and_others_do_not() {
        // A verifier that says yes to anything makes a pin worthless; one that says no to a size hides a good server.
        for (certificate, signature) in [
            (
                &include_bytes!("../../../tests/data/tls/rsa2048.der")[..],
                &include_bytes!("../../../tests/data/tls/rsa2048.sig")[..],
            ),
            (
                include_bytes!("../../../tests/data/tls/rsa3072.der"),
                include_bytes!("../../../tests/data/tls/rsa3072.sig"),
            ),
            (
                include_bytes!("../../../tests/data/tls/rsa4096.der"),
                include_bytes!("../../../tests/data/tls/rsa4096.sig"),
            ),
        ] {
            let key = OwnKey::new(Certificate::read(certificate).unwrap().key).unwrap();
            let verifies =
                |message: &[u8], signature: &[u8]| key.verifies(SignatureScheme::RsaPssRsaeSha256, message, signature);
            assert!(verifies(MESSAGE, signature));
            assert!(!verifies(b"outposT", signature));
            assert!(!verifies(MESSAGE, &signature[1..]));
            assert!(!verifies(MESSAGE, &[0; RSA_MAX][..signature.len()]));
            assert!(!verifies(MESSAGE, &[0xff; RSA_MAX][..signature.len()]));
            for at in [0, 1, signature.len() / 2, signature.len() - 1] {
                let mut other = signature.to_vec();
                other[at] ^= 1;
                assert!(!verifies(MESSAGE, &other), "byte {at}");
            }
            // The signature schemes of other keys, and those that TLS 1.3 forbids in a handshake.
            for scheme in
                [SignatureScheme::RsaPkcs1Sha256, SignatureScheme::EcdsaSecp256r1Sha256, SignatureScheme::Ed25519]
            {
                assert!(!key.verifies(scheme, MESSAGE, signature));
            }
        }
    }

    #[test]
    fn each_part_of_the_padding_counts() {
        // Bleichenbacher's forgeries lived on padding that nobody looked at. The message is made here, without a key.
        let hash: [u8; HASH] = Sha256::digest(MESSAGE).into();
        for bits in [2040, 2047, 2048, 4095] {
            let len = usize::div_ceil(bits, 8);
            let salt = [7; HASH];
            let seed = Sha256::new().chain_update([0; 8]).chain_update(hash).chain_update(salt).finalize();
            let mut right = std::vec![0; len];
            right[len - 2 * HASH - 2] = 1;
            right[len - 2 * HASH - 1..len - HASH - 1].copy_from_slice(&salt);
            for (count, block) in (0u32..).zip(right[..len - HASH - 1].chunks_mut(HASH)) {
                let mask = Sha256::new().chain_update(seed).chain_update(count.to_be_bytes()).finalize();
                block.iter_mut().zip(mask).for_each(|(byte, mask)| *byte ^= mask);
            }
            right[0] &= 0xff >> (len * 8 - bits);
            right[len - HASH - 1..len - 1].copy_from_slice(&seed);
            right[len - 1] = 0xbc;
            let check = |change: &dyn Fn(&mut [u8])| {
                let mut number = [0; RSA_MAX];
                number[RSA_MAX - len..].copy_from_slice(&right);
                change(&mut number);
                emsa_pss(&mut number, bits, &hash)
            };
            assert!(check(&|_| ()), "{bits}");
            for at in 0..RSA_MAX {
                assert!(!check(&|number| number[at] ^= 0x80), "{bits} bits, byte {at}");
                assert!(!check(&|number| number[at] ^= 1), "{bits} bits, byte {at}");
            }
        }
        assert!(!emsa_pss(&mut [0xbc; 64], 512, &hash), "too short for a salt");
        assert!(!emsa_pss(&mut [0xbc; 20], 160, &hash), "too short for a hash");
        assert!(!emsa_pss(&mut [0xbc; 20], 512, &hash));
    }
}
