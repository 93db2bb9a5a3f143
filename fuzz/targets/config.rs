//! Configuration documents: any bytes give a configuration that can be written, and read as the same again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use outpost::config::{EFFECTIVE_MAX, load};

fuzz_target!(|data: &[u8]| {
    let loaded = load(Some(data));
    let mut buffer = [0; EFFECTIVE_MAX];
    let effective = loaded.config.effective(&mut buffer);
    assert!(effective.ends_with('}'));
    for problem in &loaded.problems {
        assert!(!problem.text.is_empty() && !problem.to_string().contains(char::is_control));
    }
    if loaded.config.collector.as_ref().is_none_or(|collector| collector.key.is_none()) {
        let again = load(Some(effective.as_bytes()));
        assert_eq!(again.config, loaded.config, "{effective}");
        // What a mistake has left out, another value may need: names need DNS.
        assert!(again.problem_count == 0 || loaded.problem_count > 0, "{effective}");
    }
});
