//! Who a server is: our own verifier. With a pin, the server that has this one key and proves it; without, whoever
//! answers: its certificate is read and shown, and nobody says that it is authentic.
//!
//! ```text
//! Start ── Certificate ──▶ Shown ── CertificateVerify ──▶ Proven
//! ```
//! `embedded-tls` also takes a handshake for complete in which the server showed no certificate, or proved nothing. So
//! [`Judge::is_satisfied`] is asked before anything is said to the server. What always holds: with a pin, only `Proven`
//! satisfies, and each message counts once, in this order.

use super::certificate::Certificate;
use super::signature::OwnKey;
use super::suite::Suite;
use crate::watch::Seen;
use embedded_tls::{
    CertificateEntryRef, CertificateRef, CertificateVerifyRef, CryptoProvider, CryptoRngCore, Sha256, TlsError,
    TlsVerifier,
};
use p256::ecdsa::signature::digest::Digest;

/// What is signed (RFC 8446, section 4.4.3): 64 spaces, the context, a zero, the hash of the handshake so far.
const CONTEXT: &[u8] = b"TLS 1.3, server CertificateVerify\0";
const SIGNED: usize = 64 + CONTEXT.len() + 32;

#[allow(clippy::large_enum_variant, reason = "there is one of it in a session, and no heap")]
enum Trust {
    Start,
    /// A certificate was shown: with a pin, the key in it, and what is to be signed with it.
    Shown(Option<(OwnKey, [u8; SIGNED])>),
    Proven,
}

/// The verifier of one handshake.
pub struct Judge<'j> {
    pin: Option<[u8; 32]>,
    /// The name that the server was asked for; empty: none.
    name: &'j str,
    trust: Trust,
    seen: Option<Seen>,
    /// The certificate, not the handshake, is what is wrong.
    refused: bool,
}

impl<'j> Judge<'j> {
    /// Nothing was shown yet.
    pub fn new(pin: Option<[u8; 32]>, name: &'j str) -> Judge<'j> {
        Judge { pin, name, trust: Trust::Start, seen: None, refused: false }
    }

    /// Whether the server has proven what it must: with a pin, that it has the key.
    pub fn is_satisfied(&self) -> bool {
        match self.trust {
            Trust::Start => false,
            Trust::Shown(_) => self.pin.is_none(),
            Trust::Proven => true,
        }
    }

    /// Whether the certificate is what is wrong: it is not the one that is pinned, cannot be read, or was not proven.
    pub fn is_refused(&self) -> bool {
        self.refused
    }

    /// The certificate that was shown.
    pub fn seen(&self) -> Option<&Seen> {
        self.seen.as_ref()
    }

    fn show(&mut self, transcript: &Sha256, certificate: &CertificateRef<'_>) -> Option<()> {
        let Trust::Start = self.trust else { return None };
        let Some(CertificateEntryRef::X509(bytes)) = certificate.entries.first() else { return None };
        let certificate = Certificate::read(bytes)?;
        let pin = Sha256::digest(certificate.spki).into();
        let (not_before, not_after) = (certificate.not_before, certificate.not_after);
        self.seen = Some(Seen { not_before, not_after, pin, names: certificate.shown(), authenticated: false });
        let proof = match self.pin {
            // Browsers would not take it for the name; with a pin the key is all that counts.
            None if !(self.name.is_empty() || certificate.covers(self.name)) => return None,
            None => None,
            Some(pinned) if pinned != pin => return None,
            Some(_) => {
                let mut signed = [b' '; SIGNED];
                let (context, hash) = signed[64..].split_at_mut(CONTEXT.len());
                context.copy_from_slice(CONTEXT);
                hash.copy_from_slice(&transcript.clone().finalize());
                Some((OwnKey::new(certificate.key)?, signed))
            }
        };
        self.trust = Trust::Shown(proof);
        Some(())
    }

    fn prove(&mut self, verify: &CertificateVerifyRef<'_>) -> Option<()> {
        match core::mem::replace(&mut self.trust, Trust::Start) {
            Trust::Shown(Some((key, signed))) if key.verifies(verify.signature_scheme, &signed, verify.signature) => {
                self.trust = Trust::Proven;
                Some(())
            }
            // Whoever it is, it is not said to be authentic.
            Trust::Shown(None) => {
                self.trust = Trust::Shown(None);
                Some(())
            }
            _ => None,
        }
    }
}

impl TlsVerifier<Suite> for Judge<'_> {
    fn set_hostname_verification(&mut self, _: &str) -> Result<(), TlsError> {
        Ok(())
    }

    fn verify_certificate(&mut self, transcript: &Sha256, certificate: CertificateRef<'_>) -> Result<(), TlsError> {
        let shown = self.show(transcript, &certificate);
        self.refused |= shown.is_none();
        shown.ok_or(TlsError::InvalidCertificate)
    }

    fn verify_signature(&mut self, verify: CertificateVerifyRef<'_>) -> Result<(), TlsError> {
        let proven = self.prove(&verify);
        self.refused |= proven.is_none();
        proven.ok_or(TlsError::InvalidSignature)
    }
}

/// What `embedded-tls` asks for in a handshake.
pub struct Provider<'j, 'n> {
    /// The verifier.
    pub judge: &'j mut Judge<'n>,
    /// Where its secrets come from.
    pub random: super::Secrets,
}

impl CryptoProvider for Provider<'_, '_> {
    type CipherSuite = Suite;
    // We have no certificate, so nothing is signed.
    type Signature = &'static [u8];

    fn rng(&mut self) -> impl CryptoRngCore {
        &mut self.random
    }

    fn verifier(&mut self) -> Result<&mut impl TlsVerifier<Suite>, TlsError> {
        Ok(&mut *self.judge)
    }
}
