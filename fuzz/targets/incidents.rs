//! Documents of incidents: any bytes give a document by its rules, or none; and no bytes pass for signed.
#![no_main]

use libfuzzer_sys::fuzz_target;
use outpost::config::read_pulled;
use outpost::incidents::document::Document;
use outpost::incidents::verify;

fuzz_target!(|data: &[u8]| {
    let mut document = Document::new();
    match read_pulled(data, &mut document) {
        Ok(()) => {
            assert!(document.revision > 0 && document.expires_at > document.issued_at);
            for incident in document.incidents() {
                assert!(!document.text(incident.id).is_empty() && !document.text(incident.title).is_empty());
                assert!(document.latest(incident).is_some_and(|update| !document.text(update.text).is_empty()));
            }
            assert!(document.maintenances().iter().all(|one| one.ends_at > one.starts_at));
        }
        Err(problem) => {
            assert!(!problem.text.is_empty() && !problem.to_string().contains(char::is_control));
            assert_eq!(document.revision, 0);
        }
    }
    // A key that nobody has the secret of (RFC 8032, section 7.1, test 1).
    let key = verify::unhex(b"d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a").unwrap();
    assert!(verify::open(data, &key).is_err());
});
