//! A certificate that a server sent: any bytes give one whose parts are parts of it, or none.
#![no_main]

use libfuzzer_sys::fuzz_target;
use outpost::watch::tls::certificate::{Certificate, Key};

fuzz_target!(|data: &[u8]| {
    let Some(certificate) = Certificate::read(data) else { return };
    let within = data.as_ptr_range();
    assert!(within.contains(&certificate.spki.as_ptr()) && certificate.spki.len() < data.len());
    assert!(certificate.names().count() <= data.len() / 2);
    assert!(certificate.shown().bytes().all(|byte| byte.is_ascii_graphic() || byte == b' '));
    assert!(!certificate.covers(""));
    certificate.covers("www.shop.example");
    if let Key::Rsa(modulus, exponent) = certificate.key {
        assert!(modulus[0] != 0 && (256..=512).contains(&modulus.len()) && (1..=4).contains(&exponent.len()));
    }
});
