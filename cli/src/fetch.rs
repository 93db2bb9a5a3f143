//! HTTP as every command speaks it, bounded in time and size; and an agent's answers to GET.

use std::io::Read;
use std::time::Duration;
use ureq::http::header::CONTENT_TYPE;

/// Bytes of one answer that are read at most: twice what an agent can render, and a hundred times its longest document.
pub const ANSWER_MAX: u64 = 1024 * 1024;

/// Bytes of an answer's head: many times what servers send.
pub const HEAD_MAX: usize = 16 * 1024;

/// An HTTP client whose requests end within `timeout`. It goes where it is told to and nowhere else: to no proxy of the
/// environment and after no redirect; every status is an answer.
pub fn http(timeout: Duration) -> ureq::Agent {
    ureq::Agent::config_builder()
        .timeout_global(Some(timeout))
        .max_response_header_size(HEAD_MAX)
        .http_status_as_error(false)
        .max_redirects(0)
        .max_idle_connections(0)
        .proxy(None)
        .user_agent(concat!("outpost/", env!("CARGO_PKG_VERSION")))
        .build()
        .into()
}

/// The agent at one URL.
pub struct Client {
    http: ureq::Agent,
    base: String,
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Status code.
    pub status: u16,
    /// Content-Type.
    pub media: String,
    /// The body; at most [`ANSWER_MAX`] bytes of it.
    pub body: Vec<u8>,
}

impl Client {
    /// A client of the agent at `url`: `http://10.0.0.5`, `10.0.0.5:8080`.
    pub fn new(url: &str, timeout: Duration) -> Result<Client, String> {
        let rest = url.strip_prefix("http://").unwrap_or(url).trim_end_matches('/');
        if rest.is_empty() || rest.contains(['/', '?', '#', '@']) || rest.contains(char::is_whitespace) {
            return Err(format!(
                "{url:?} is not the URL of an agent. Write it like http://10.0.0.5 or 127.0.0.1:8080: agents speak \
                 HTTP without TLS, and nothing comes after the host and port"
            ));
        }
        Ok(Client { http: http(timeout), base: format!("http://{rest}") })
    }

    /// The agent's URL.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// The answer to GET of this path, whatever its status; an error is a sentence that says why there is none.
    pub fn get(&self, path: &str) -> Result<Answer, String> {
        let url = format!("{}{path}", self.base);
        let mut response = self.http.get(&url).call().map_err(|error| error.to_string())?;
        let media = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("").to_owned();
        let mut body = Vec::new();
        let read = response.body_mut().as_reader().take(ANSWER_MAX + 1).read_to_end(&mut body);
        read.map_err(|error| format!("its answer broke off: {error}"))?;
        if body.len() as u64 > ANSWER_MAX {
            return Err(format!("its answer is longer than {ANSWER_MAX} bytes, which no agent's is"));
        }
        Ok(Answer { status: response.status().as_u16(), media, body })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_taken_as_people_write_it_and_no_other() {
        // A path behind the host would be fetched from another place than people think.
        for (written, base) in [
            ("http://10.0.0.5", "http://10.0.0.5"),
            ("http://10.0.0.5:8080/", "http://10.0.0.5:8080"),
            ("agent.example.org", "http://agent.example.org"),
        ] {
            assert_eq!(Client::new(written, Duration::from_secs(1)).ok().unwrap().base(), base);
        }
        for wrong in ["", "http://", "https://10.0.0.5", "10.0.0.5/status", "a b", "http://a?x", "user@host"] {
            assert!(Client::new(wrong, Duration::from_secs(1)).is_err(), "{wrong}");
        }
    }
}
