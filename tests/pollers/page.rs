//! The status page where text is read. tests/page has it in a browser.

use crate::lab::{lab, run};

/// A terminal is where people look first.
#[test]
fn lynx_and_curl_read_text() {
    lab("page::lynx_and_curl_read_text", &["ip", "lynx", "curl"], |lab| {
        let guest = lab.boot(1);
        let url = format!("http://{}/", guest.link.guest);
        for (program, arguments) in [("lynx", ["-dump", &url]), ("curl", ["--silent", &url])] {
            let ran = run(program, &arguments);
            let wrong = ran.said.contains('<') || !ran.said.contains("guest1");
            assert!(ran.code == 0 && !wrong, "{program}: {ran:?}");
        }
    });
}
