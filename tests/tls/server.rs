//! A server of TLS 1.3 that says what a script tells it to say, in any order: for tests of the agent's client. Its
//! arithmetic is its own: what both sides get wrong alike would not be seen. RFC 8446, sections 4, 5 and 7.
#![allow(dead_code, reason = "no test uses all of it")]

use aes_gcm::aead::{AeadInPlace, KeyInit};
use aes_gcm::{Aes128Gcm, Nonce, Tag};
use p256::ecdsa::signature::Signer;
use p256::elliptic_curve::point::AffineCoordinates;
use p256::elliptic_curve::sec1::ToEncodedPoint;
use p256::{NonZeroScalar, PublicKey};
use sha2::{Digest, Sha256};

/// Types of records.
pub const CHANGE_CIPHER_SPEC: u8 = 20;
pub const ALERT: u8 = 21;
pub const HANDSHAKE: u8 = 22;
pub const APPLICATION_DATA: u8 = 23;

/// Types of messages.
pub const NEW_SESSION_TICKET: u8 = 4;
pub const ENCRYPTED_EXTENSIONS: u8 = 8;
pub const CERTIFICATE: u8 = 11;
pub const CERTIFICATE_REQUEST: u8 = 13;
pub const CERTIFICATE_VERIFY: u8 = 15;
pub const FINISHED: u8 = 20;
pub const KEY_UPDATE: u8 = 24;

/// The keys of one direction.
struct Keys {
    secret: [u8; 32],
    key: Aes128Gcm,
    iv: [u8; 12],
    count: u64,
}

impl Keys {
    fn new(secret: [u8; 32]) -> Keys {
        let (key, iv) = (expand(&secret, b"key", &[], 16), expand(&secret, b"iv", &[], 12));
        Keys { secret, key: Aes128Gcm::new_from_slice(&key).unwrap(), iv: iv.try_into().unwrap(), count: 0 }
    }

    fn nonce(&mut self) -> Nonce<aes_gcm::aead::consts::U12> {
        let mut nonce = self.iv;
        nonce[4..].iter_mut().zip(self.count.to_be_bytes()).for_each(|(byte, count)| *byte ^= count);
        self.count += 1;
        nonce.into()
    }
}

/// The server of one connection.
pub struct Server {
    transcript: Vec<u8>,
    handshake_secret: [u8; 32],
    ours: Option<Keys>,
    theirs: Option<Keys>,
    /// What the client said after its handshake.
    pub said: Vec<u8>,
    /// Whether the client's Finished was right.
    pub finished: bool,
    application: Option<Keys>,
}

impl Server {
    /// Answers a record with a ClientHello: the record with the ServerHello. From then on records are sealed.
    pub fn hello(client_hello: &[u8]) -> (Server, Vec<u8>) {
        let message = &client_hello[5..];
        let mut server = Server {
            transcript: message.to_vec(),
            handshake_secret: [0; 32],
            ours: None,
            theirs: None,
            said: Vec::new(),
            finished: false,
            application: None,
        };
        // An uncompressed point of 65 bytes, of group 0x0017.
        let share = message.windows(4).position(|bytes| bytes == [0, 0x17, 0, 65]).expect("a share of P-256") + 4;
        let point = PublicKey::from_sec1_bytes(&message[share..share + 65]).unwrap();
        let secret = NonZeroScalar::try_from(&[0x42u8; 32][..]).unwrap();
        let own = PublicKey::from_secret_scalar(&secret).to_encoded_point(false);
        let shared: [u8; 32] = (point.to_projective() * *secret).to_affine().x().into();

        let mut hello = vec![3, 3];
        hello.extend([7; 32]);
        hello.extend([0, 0x13, 0x01, 0]);
        let mut extensions = vec![0, 0x2b, 0, 2, 3, 4, 0, 0x33, 0, 69, 0, 0x17, 0, 65];
        extensions.extend(own.as_bytes());
        hello.extend((extensions.len() as u16).to_be_bytes());
        hello.extend(extensions);
        let message = message_of(2, &hello);
        server.transcript.extend(&message);

        let early = hmac(&[0; 32], &[0; 32]);
        let derived: [u8; 32] = expand(&early, b"derived", &Sha256::digest([]), 32).try_into().unwrap();
        server.handshake_secret = hmac(&derived, &shared);
        let hash = Sha256::digest(&server.transcript);
        let secret = |label| expand(&server.handshake_secret, label, &hash, 32).try_into().unwrap();
        let (ours, theirs) = (Keys::new(secret(b"s hs traffic")), Keys::new(secret(b"c hs traffic")));
        (server.ours, server.theirs) = (Some(ours), Some(theirs));
        (server, record(HANDSHAKE, &message))
    }

    /// A message, taken into the transcript.
    pub fn say(&mut self, kind: u8, body: &[u8]) -> Vec<u8> {
        let message = message_of(kind, body);
        self.transcript.extend(&message);
        message
    }

    /// EncryptedExtensions without any.
    pub fn extensions(&mut self) -> Vec<u8> {
        self.say(ENCRYPTED_EXTENSIONS, &[0, 0])
    }

    /// Certificate, of these.
    pub fn certificate(&mut self, chain: &[&[u8]]) -> Vec<u8> {
        let mut list = Vec::new();
        for certificate in chain {
            list.extend(&(certificate.len() as u32).to_be_bytes()[1..]);
            list.extend(*certificate);
            list.extend([0, 0]);
        }
        let mut body = vec![0];
        body.extend(&(list.len() as u32).to_be_bytes()[1..]);
        body.extend(list);
        self.say(CERTIFICATE, &body)
    }

    /// What CertificateVerify signs.
    pub fn signed(&self) -> Vec<u8> {
        let mut signed = vec![b' '; 64];
        signed.extend(b"TLS 1.3, server CertificateVerify\0");
        signed.extend(Sha256::digest(&self.transcript));
        signed
    }

    /// CertificateVerify with a P-256 key.
    pub fn verify(&mut self, key: &[u8]) -> Vec<u8> {
        let key = p256::ecdsa::SigningKey::from_slice(key).unwrap();
        let signature: p256::ecdsa::DerSignature = key.sign(&self.signed());
        self.verify_with(0x0403, signature.as_bytes())
    }

    /// CertificateVerify with this signature.
    pub fn verify_with(&mut self, scheme: u16, signature: &[u8]) -> Vec<u8> {
        let mut body = scheme.to_be_bytes().to_vec();
        body.extend((signature.len() as u16).to_be_bytes());
        body.extend(signature);
        self.say(CERTIFICATE_VERIFY, &body)
    }

    /// Finished; what is sealed with [`Server::change_keys`] after it is of the application.
    pub fn finish(&mut self) -> Vec<u8> {
        let key: [u8; 32] = expand(&self.ours.as_ref().unwrap().secret, b"finished", &[], 32).try_into().unwrap();
        let proof = hmac(&key, &Sha256::digest(&self.transcript));
        let message = self.say(FINISHED, &proof);
        let derived: [u8; 32] = expand(&self.handshake_secret, b"derived", &Sha256::digest([]), 32).try_into().unwrap();
        let master = hmac(&derived, &[0; 32]);
        let hash = Sha256::digest(&self.transcript);
        let secret = |label| expand(&master, label, &hash, 32).try_into().unwrap();
        self.application = Some(Keys::new(secret(b"c ap traffic")));
        self.handshake_secret = secret(b"s ap traffic");
        message
    }

    /// The server's keys are those of the application from now on.
    pub fn change_keys(&mut self) {
        self.ours = Some(Keys::new(self.handshake_secret));
    }

    /// The whole flight of a good server, in one record, but for ServerHello.
    pub fn flight(&mut self, chain: &[&[u8]], key: &[u8]) -> Vec<u8> {
        let mut messages = self.extensions();
        messages.extend(self.certificate(chain));
        messages.extend(self.verify(key));
        messages.extend(self.finish());
        let record = self.seal(HANDSHAKE, &messages);
        self.change_keys();
        record
    }

    /// A sealed record.
    pub fn seal(&mut self, kind: u8, content: &[u8]) -> Vec<u8> {
        let mut inner = content.to_vec();
        inner.push(kind);
        self.seal_raw(&inner)
    }

    /// A sealed record of this inner plaintext, as it is.
    pub fn seal_raw(&mut self, inner: &[u8]) -> Vec<u8> {
        let keys = self.ours.as_mut().expect("after hello");
        let len = (inner.len() as u16 + 16).to_be_bytes();
        let header = [APPLICATION_DATA, 3, 3, len[0], len[1]];
        let nonce = keys.nonce();
        let mut sealed = inner.to_vec();
        let tag = keys.key.encrypt_in_place_detached(&nonce, &header, &mut sealed).unwrap();
        [&header[..], &sealed, &tag].concat()
    }

    /// Reads one record of the client.
    pub fn hear(&mut self, record: &[u8]) {
        let (header, body) = record.split_at(5);
        if header[0] != APPLICATION_DATA {
            return;
        }
        let keys = self.theirs.as_mut().expect("after hello");
        let nonce = keys.nonce();
        let (sealed, tag) = body.split_at(body.len() - 16);
        let mut inner = sealed.to_vec();
        let opened = keys.key.decrypt_in_place_detached(&nonce, header, &mut inner, Tag::from_slice(tag));
        assert!(opened.is_ok(), "the client's record is not sealed with its keys");
        let (kind, content) = inner.split_last().unwrap();
        match *kind {
            HANDSHAKE if content[0] == FINISHED => {
                let key: [u8; 32] = expand(&keys.secret, b"finished", &[], 32).try_into().unwrap();
                let proof = hmac(&key, &Sha256::digest(&self.transcript));
                self.finished = content[4..] == proof;
                self.theirs = self.application.take();
            }
            APPLICATION_DATA => self.said.extend(content),
            _ => {}
        }
    }
}

/// A record in clear text.
pub fn record(kind: u8, content: &[u8]) -> Vec<u8> {
    let len = (content.len() as u16).to_be_bytes();
    [&[kind, 3, 3, len[0], len[1]], content].concat()
}

/// A handshake message.
pub fn message_of(kind: u8, body: &[u8]) -> Vec<u8> {
    let len = (body.len() as u32).to_be_bytes();
    [&[kind, len[1], len[2], len[3]], body].concat()
}

/// The whole records that these bytes begin with, each taken away.
pub fn take_records(bytes: &mut Vec<u8>) -> Vec<Vec<u8>> {
    let mut records = Vec::new();
    while bytes.len() >= 5 {
        let len = 5 + usize::from(u16::from_be_bytes([bytes[3], bytes[4]]));
        if bytes.len() < len {
            break;
        }
        records.push(bytes.drain(..len).collect());
    }
    records
}

/// RFC 2104.
fn hmac(key: &[u8; 32], text: &[u8]) -> [u8; 32] {
    let pad = |with: u8| -> Vec<u8> { (0..64).map(|at| key.get(at).copied().unwrap_or(0) ^ with).collect() };
    let inner = Sha256::new().chain_update(pad(0x36)).chain_update(text).finalize();
    Sha256::new().chain_update(pad(0x5c)).chain_update(inner).finalize().into()
}

/// HKDF-Expand-Label (RFC 8446, section 7.1), of one block.
fn expand(secret: &[u8; 32], label: &[u8], context: &[u8], len: usize) -> Vec<u8> {
    let mut info = (len as u16).to_be_bytes().to_vec();
    info.push(6 + label.len() as u8);
    info.extend(b"tls13 ");
    info.extend(label);
    info.push(context.len() as u8);
    info.extend(context);
    info.push(1);
    hmac(secret, &info)[..len].to_vec()
}
