//! Where to forward to, as the command line says it: `otlp=http://host:4318`, `syslog=host:601?facility=local3`; and whom
//! to notify: a URL or a command.

use super::{Sink, channel::Channel, notify::Notify, otlp::Otlp, syslog::Syslog};
use sha2::{Digest, Sha256};
use std::str::FromStr;

/// The syslog facilities with the numbers of RFC 5424, table 1.
const FACILITIES: [(&str, u8); 13] = [
    ("user", 1),
    ("daemon", 3),
    ("auth", 4),
    ("syslog", 5),
    ("authpriv", 10),
    ("local0", 16),
    ("local1", 17),
    ("local2", 18),
    ("local3", 19),
    ("local4", 20),
    ("local5", 21),
    ("local6", 22),
    ("local7", 23),
];

/// The facility of a system service that is not of the mail, printing or clock kind.
const FACILITY: u8 = 3;

/// A receiver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// As it was given; its cursor in the store has this name.
    pub name: String,
    kind: Kind,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    Otlp { url: String },
    Syslog { address: String, facility: u8 },
    Notify(Channel),
}

impl Target {
    /// A receiver of notifications: an `http://` URL, or else a command for the shell.
    pub fn notify(text: &str) -> Result<Target, String> {
        let Some(rest) = text.strip_prefix("http://") else {
            if text.starts_with("https://") {
                return Err("TLS is not in this version: give a command that posts it, like curl --json @- URL (docs/notify.md has one)".to_owned());
            }
            let (command, name) = (text.trim().to_owned(), format!("notify={}", text.trim()));
            return match command.is_empty() || command.contains(char::is_control) {
                true => Err("neither a URL nor a command: write http://HOST/PATH or the path of a program".to_owned()),
                false => Ok(Target { name, kind: Kind::Notify(Channel::Command(command)) }),
            };
        };
        let authority = rest.split(['/', '?']).next().unwrap_or_default();
        if authority.is_empty() || rest.contains(['@', '#']) || rest.contains(char::is_whitespace) {
            return Err(
                "not a URL to post to: write it like http://127.0.0.1:8080/alert, without user or fragment".to_owned()
            );
        }
        // What comes after the host is often a secret, and the name stands in metrics and in the log.
        let name = match rest.len() - authority.len() {
            0 | 1 => format!("notify=http://{authority}"),
            _ => {
                let digest = Sha256::digest(text);
                let mark: String = digest.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
                format!("notify=http://{authority}/#{mark}")
            }
        };
        Ok(Target { name, kind: Kind::Notify(Channel::Url(text.to_owned())) })
    }

    /// Whether it is told only of what happens from its first start on.
    pub(super) fn begins_now(&self) -> bool {
        matches!(self.kind, Kind::Notify(_))
    }

    pub(super) fn sink(&self, tell: fn(&str)) -> Box<dyn Sink> {
        match &self.kind {
            Kind::Otlp { url } => Box::new(Otlp::new(url.clone())),
            Kind::Syslog { address, facility } => Box::new(Syslog::new(address.clone(), *facility)),
            Kind::Notify(channel) => Box::new(Notify::new(self.name.clone(), channel.clone(), tell)),
        }
    }
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Target, String> {
        let kind = match text.split_once('=') {
            Some(("otlp", url)) => Kind::Otlp { url: endpoint(url)? },
            Some(("syslog", rest)) => syslog(rest)?,
            _ => return Err("not a receiver. Write otlp=http://HOST:4318 or syslog=HOST:601".to_owned()),
        };
        Ok(Target { name: text.to_owned(), kind })
    }
}

/// The URL of the logs signal below a base (OTLP specification, "OTLP/HTTP Request").
fn endpoint(url: &str) -> Result<String, String> {
    if url.starts_with("https://") {
        return Err(
            "TLS is not in this version: send to an OpenTelemetry Collector on this machine, and let it send on \
                    by https"
                .to_owned(),
        );
    }
    let Some(rest) = url.strip_prefix("http://") else {
        return Err("an OTLP receiver is a URL like http://127.0.0.1:4318".to_owned());
    };
    let authority = rest.split('/').next().unwrap_or_default();
    if authority.is_empty() || authority.contains('@') || rest.contains(['?', '#', ' ']) {
        return Err("an OTLP receiver is a URL like http://127.0.0.1:4318, without user, query or fragment".to_owned());
    }
    let base = url.trim_end_matches('/');
    Ok(if base.ends_with("/v1/logs") { base.to_owned() } else { format!("{base}/v1/logs") })
}

fn syslog(text: &str) -> Result<Kind, String> {
    let (address, option) = match text.split_once('?') {
        Some((address, option)) => (address, Some(option)),
        None => (text, None),
    };
    let facility = match option.map(|option| option.strip_prefix("facility=")) {
        None => FACILITY,
        Some(name) => {
            let found = FACILITIES.iter().find(|(known, _)| Some(*known) == name);
            found.map(|(_, number)| *number).ok_or_else(|| {
                let names = FACILITIES.map(|(name, _)| name).join(", ");
                format!("after ? comes facility= and one of {names}")
            })?
        }
    };
    let port = address.rsplit_once(':').filter(|(host, _)| !host.is_empty()).map(|(_, port)| port.parse::<u16>());
    match port {
        Some(Ok(1..)) => Ok(Kind::Syslog { address: address.to_owned(), facility }),
        _ => Err("a syslog receiver is HOST:PORT; by TCP the port is usually 601 or 514".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_receivers_and_refuses_the_rest() {
        // What is misread would send the log to nobody.
        let kind = |text: &str| text.parse::<Target>().map(|target| target.kind);
        let otlp = |url: &str| Ok(Kind::Otlp { url: url.to_owned() });
        assert_eq!(kind("otlp=http://h:4318"), otlp("http://h:4318/v1/logs"));
        assert_eq!(kind("otlp=http://h:4318/"), otlp("http://h:4318/v1/logs"));
        assert_eq!(kind("otlp=http://h/base"), otlp("http://h/base/v1/logs"));
        assert_eq!(kind("otlp=http://h/v1/logs"), otlp("http://h/v1/logs"));
        let syslog = |address: &str, facility| Ok(Kind::Syslog { address: address.to_owned(), facility });
        assert_eq!(kind("syslog=h:601"), syslog("h:601", 3));
        assert_eq!(kind("syslog=[::1]:514?facility=local7"), syslog("[::1]:514", 23));
        for wrong in [
            "",
            "otlp",
            "otlp=",
            "otlp=h:4318",
            "otlp=https://h",
            "otlp=http://",
            "otlp=http://u@h",
            "otlp=http://h?x=1",
            "syslog=h",
            "syslog=:601",
            "syslog=h:0",
            "syslog=h:x",
            "syslog=h:1?facility=mail2",
            "syslog=h:1?x=local1",
            "kafka=h:9092",
        ] {
            assert!(kind(wrong).is_err(), "{wrong}");
        }
    }
}
