//! The rules of the configuration, as tables: each text a person can meet, and what stays in force beside it.

use super::*;
use crate::limits::CONFIG_TEXT_MAX;
use std::string::ToString;
use std::{format, string::String as Text, vec::Vec as List};

const FLEET: &[u8] = include_bytes!("../../tests/data/config/fleet.json");
const MISTAKES: &[u8] = include_bytes!("../../tests/data/config/mistakes.json");

fn problems(document: impl AsRef<[u8]>) -> List<Text> {
    load(Some(document.as_ref())).problems.iter().map(ToString::to_string).collect()
}

fn named(name: &str) -> Host {
    Host::Name(name.try_into().unwrap())
}

fn effective(loaded: &Loaded) -> Text {
    loaded.config.effective(&mut [0; EFFECTIVE_MAX]).to_string()
}

/// A document that is right must mean what it says.
#[test]
fn reads_every_key() {
    let loaded = load(Some(FLEET));
    assert_eq!((loaded.problems.len(), loaded.problem_count, loaded.source), (0, 0, ConfigSource::Module));
    let expected = Config {
        name: "outpost-fra1".try_into().unwrap(),
        network: Network::Static(StaticNetwork {
            address: Ipv4Cidr::new(Ipv4Addr::new(10, 0, 2, 15), 24),
            gateway: Some(Ipv4Addr::new(10, 0, 2, 2)),
            dns: [Ipv4Addr::new(10, 0, 2, 3), Ipv4Addr::new(192, 0, 2, 53)].into_iter().collect(),
        }),
        time: Time {
            servers: [Host::Address(Ipv4Addr::new(10, 0, 2, 2)), named("ntp.example.org")].into_iter().collect(),
        },
        collector: Some(Collector {
            address: SocketAddrV4::new(Ipv4Addr::new(10, 0, 2, 2), 7600).into(),
            key: Some(Secret(core::array::from_fn(|index| index as u8))),
        }),
        sink: Some(Sink { syslog: Peer { host: named("syslog.example.org"), port: 601 } }),
        http: Http {
            port: 80,
            operator_allow: [([10, 0, 0, 0], 8), ([192, 168, 7, 0], 24)]
                .map(|(address, prefix)| Ipv4Cidr::new(address.into(), prefix))
                .into_iter()
                .collect(),
            maintenance: false,
            connections_per_source: Some(64),
        },
        severity: Severities([(4, Severity::WARN), (8, Severity::DEBUG)].into_iter().collect()),
        contact: Some(Contact {
            name: Some("On-call <fra1> & \"night\"".try_into().unwrap()),
            tel: Some("+49 (30) 000-000".try_into().unwrap()),
            mail: Some("oncall+fra1@example.org".try_into().unwrap()),
        }),
        security: Some(Security {
            contact: "mailto:security@example.org".try_into().unwrap(),
            expires: "2027-12-31T23:59:59Z".try_into().unwrap(),
        }),
        incidents: None,
        drill: None,
        on_panic: OnPanic::Reset,
    };
    assert_eq!(loaded.config, expected);
}

/// No document is fine; an empty object says the same and is a document.
#[test]
fn defaults_hold_without_a_document() {
    let absent = load(None);
    assert_eq!((absent.source, absent.problem_count), (ConfigSource::Default, 0));
    let empty = load(Some(b" {} \r\n"));
    assert_eq!((empty.source, empty.problem_count), (ConfigSource::Module, 0));
    assert_eq!(absent.config, empty.config);
    assert_eq!(absent.config, Config::default());
    assert_eq!(
        effective(&absent),
        r#"{"name":"outpost","network":"dhcp","http":{"port":80,"operator_allow":["10.0.0.0/8","172.16.0.0/12","192.168.0.0/16","127.0.0.0/8"],"maintenance":false},"on_panic":"reset"}"#
    );
}

/// Each mistake gives one sentence with the place, the value and what is allowed.
#[test]
fn every_problem_has_its_sentence() {
    let long_name = format!(r#"{{"name": "{}"}}"#, "a".repeat(64));
    let longer_name = format!(r#"{{"name": "{}"}}"#, "a".repeat(CONFIG_TEXT_MAX + 1));
    let long_key = format!(r#"{{"{}": 1}}"#, "k".repeat(5000));
    let table: &[(&str, &str)] = &[
        // The document as a whole.
        ("", "1:1: the document is empty: allowed is one JSON object, at least {}"),
        (" \n ", "1:1: the document is empty: allowed is one JSON object, at least {}"),
        ("[1]", r#"1:1: an array is not an object: allowed is one like {"name": "outpost"}"#),
        ("nope", r#"1:1: nope is not an object: allowed is one like {"name": "outpost"}"#),
        ("\u{feff}{}", "1:1: a byte order mark comes first: save the document as UTF-8 without it"),
        ("{} x", r#"1:4: found x, expected is the end of the document: allowed is one object"#),
        ("{}\0", r#"1:3: found \u{0}, expected is the end of the document: allowed is one object"#),
        ("name: x", r#"1:1: name is not an object: allowed is one like {"name": "outpost"}"#),
        // Broken structure.
        ("{", r#"1:2: the document ends too early, expected is "," or "}": was it cut off?"#),
        (r#"{"name""#, r#"1:8: the document ends too early, expected is ":" after the key: was it cut off?"#),
        (
            r#"{"name": "x"#,
            r#"1:12: /name: the document ends too early, expected is the closing " of the string: was it cut off?"#,
        ),
        (
            r#"{"name": "x\"#,
            r#"1:13: /name: the document ends too early, expected is the closing " of the string: was it cut off?"#,
        ),
        ("{\"name\": \"x\n}", r#"1:12: /name: found \u{a}, expected is the closing " of the string"#),
        (r#"{"name" "x"}"#, r#"1:9: found ", expected is ":" after the key"#),
        (r#"{"name": }"#, r#"1:10: /name: found }, expected is a value"#),
        (r#"{name: "x"}"#, r#"1:2: found n, expected is a key in double quotes"#),
        (r#"{'name': "x"}"#, r#"1:2: found ', expected is a key in double quotes (JSON has double quotes only)"#),
        ("{ // a comment\n}", r#"1:3: found /, expected is a key in double quotes (JSON has no comments)"#),
        (r#"{"name": "x",}"#, r#"1:14: found }, expected is another item after the comma: remove the comma"#),
        (r#"{"name": "x" "http": {}}"#, r#"1:14: found ", expected is "," or "}""#),
        (
            r#"{"http": {"operator_allow": ["10.0.0.0/8" 1]}}"#,
            r#"1:43: /http/operator_allow: found 1, expected is "," or "]""#,
        ),
        (r#"{"name": [}"#, r#"1:11: /name: found }, expected is a value"#),
        (r#"{"name":[[[[[[[[1]]]]]]]]}"#, "1:16: /name: nested too deep: allowed are 8 brackets inside each other"),
        // Keys.
        (r#"{"nmae": "x"}"#, r#"1:2: /nmae: unknown key: did you mean "name"?"#),
        (
            r#"{"targets": []}"#,
            r#"1:2: /targets: unknown key: known are name, network, time, collector, sink, http, severity, contact, security, incidents, drill, on_panic, checks"#,
        ),
        (
            r#"{"a/b~": {"x": [1, "}", {}]}}"#,
            r#"1:2: /a~1b~0: unknown key: known are name, network, time, collector, sink, http, severity, contact, security, incidents, drill, on_panic, checks"#,
        ),
        (
            r#"{"\u001b[2J": 1}"#,
            r#"1:2: /\u001b[2J: unknown key: known are name, network, time, collector, sink, http, severity, contact, security, incidents, drill, on_panic, checks"#,
        ),
        (
            &long_key,
            r#"1:2: /kkkkkkkkkkkkkkkkkkkkkkkkkkkkk...: unknown key: known are name, network, time, collector, sink, http, severity, contact, security, incidents, drill, on_panic, checks"#,
        ),
        (
            r#"{"name": "a", "name": "b"}"#,
            "1:15: /name: the key is there twice: the first one counts, remove the other",
        ),
        (
            r#"{"name": "a", "n\u0061me": "b"}"#,
            "1:15: /name: the key is there twice: the first one counts, remove the other",
        ),
        // Strings.
        (
            r#"{"name": "a\tb"}"#,
            r#"1:10: /name: "a\tb" has a control character (tab, line break, NUL or alike): remove it"#,
        ),
        (
            "{\"name\": \"a\tb\"}",
            r#"1:10: /name: "a\u{9}b" has a control character (tab, line break, NUL or alike): remove it"#,
        ),
        (
            r#"{"name": "\u0000"}"#,
            r#"1:10: /name: "\u0000" has a control character (tab, line break, NUL or alike): remove it"#,
        ),
        (
            r#"{"name": "\x"}"#,
            r#"1:10: /name: "\x" has a broken escape: allowed are \" \\ \/ \b \f \n \r \t \uXXXX, surrogates in pairs"#,
        ),
        (
            r#"{"name": "\ud83d"}"#,
            r#"1:10: /name: "\ud83d" has a broken escape: allowed are \" \\ \/ \b \f \n \r \t \uXXXX, surrogates in pairs"#,
        ),
        (
            r#"{"name": "\ud83d\ude00"}"#,
            r#"1:10: /name: "\ud83d\ude00" is not a host name: allowed are at most 63 of a-z, 0-9, "-" and ".", like "outpost-fra1""#,
        ),
        // name
        (
            r#"{"name": 5}"#,
            r#"1:10: /name: 5 is not a host name: allowed are at most 63 of a-z, 0-9, "-" and ".", like "outpost-fra1""#,
        ),
        (
            r#"{"name": ""}"#,
            r#"1:10: /name: "" is not a host name: allowed are at most 63 of a-z, 0-9, "-" and ".", like "outpost-fra1""#,
        ),
        (
            r#"{"name": "Büro_1"}"#,
            r#"1:10: /name: "B\u{fc}ro_1" is not a host name: allowed are at most 63 of a-z, 0-9, "-" and ".", like "outpost-fra1""#,
        ),
        (
            r#"{"name": "-a"}"#,
            r#"1:10: /name: "-a" is not a host name: allowed are at most 63 of a-z, 0-9, "-" and ".", like "outpost-fra1""#,
        ),
        (
            r#"{"name": "a..b"}"#,
            r#"1:10: /name: "a..b" is not a host name: allowed are at most 63 of a-z, 0-9, "-" and ".", like "outpost-fra1""#,
        ),
        (
            &long_name,
            r#"1:10: /name: "aaaaaaaaaaaaaaaaaaaaaaaaaaaa... is not a host name: allowed are at most 63 of a-z, 0-9, "-" and ".", like "outpost-fra1""#,
        ),
        (
            &longer_name,
            r#"1:10: /name: "aaaaaaaaaaaaaaaaaaaaaaaaaaaa... is not a host name: allowed are at most 63 of a-z, 0-9, "-" and ".", like "outpost-fra1""#,
        ),
        // network
        (
            r#"{"network": null}"#,
            r#"1:13: /network: null is not a network: allowed are "dhcp" and {"static": {"address": ...}}"#,
        ),
        (
            r#"{"network": "DHCP"}"#,
            r#"1:13: /network: "DHCP" is not a network: allowed are "dhcp" and {"static": {"address": ...}}"#,
        ),
        (r#"{"network": {}}"#, r#"1:13: /network: the key "static" is missing: it is required here"#),
        (
            r#"{"network": {"static": "10.0.2.15/24"}}"#,
            r#"1:24: /network/static: "10.0.2.15/24" is not an object: allowed is one like {"address": "10.0.2.15/24"}"#,
        ),
        (
            r#"{"network": {"static": {}}}"#,
            r#"1:24: /network/static: the key "address" is missing: it is required here"#,
        ),
        (
            r#"{"network": {"static": {"address": "10.0.2.15"}}}"#,
            r#"1:36: /network/static/address: "10.0.2.15" is not an address with its prefix: allowed is IPv4/prefix, like "10.0.2.15/24""#,
        ),
        (
            r#"{"network": {"static": {"address": "10.0.2.15/33"}}}"#,
            r#"1:36: /network/static/address: "10.0.2.15/33" is not an address with its prefix: allowed is IPv4/prefix, like "10.0.2.15/24""#,
        ),
        (
            r#"{"network": {"static": {"address": "10.0.2.15/ 24"}}}"#,
            r#"1:36: /network/static/address: "10.0.2.15/ 24" is not an address with its prefix: allowed is IPv4/prefix, like "10.0.2.15/24""#,
        ),
        (
            r#"{"network": {"static": {"address": "10.0.2.15/0"}}}"#,
            r#"1:36: /network/static/address: "10.0.2.15/0" is not an address with its prefix: allowed is IPv4/prefix, like "10.0.2.15/24""#,
        ),
        (
            r#"{"network": {"static": {"address": "224.0.0.1/4"}}}"#,
            r#"1:36: /network/static/address: "224.0.0.1/4" is not the address of a machine: not allowed are 0.x, 127.x, multicast and above"#,
        ),
        (
            r#"{"network": {"static": {"address": "127.0.0.1/8"}}}"#,
            r#"1:36: /network/static/address: "127.0.0.1/8" is not the address of a machine: not allowed are 0.x, 127.x, multicast and above"#,
        ),
        (
            r#"{"network": {"static": {"address": "10.0.2.0/24"}}}"#,
            r#"1:36: /network/static/address: "10.0.2.0/24" is the subnet's network or broadcast address: allowed are the addresses between them"#,
        ),
        (
            r#"{"network": {"static": {"address": "10.0.2.255/24"}}}"#,
            r#"1:36: /network/static/address: "10.0.2.255/24" is the subnet's network or broadcast address: allowed are the addresses between them"#,
        ),
        (
            r#"{"network": {"static": {"address": "10.0.2.15/24", "gateway": "10.0.3.1"}}}"#,
            r#"1:63: /network/static/gateway: "10.0.3.1" is not another machine in the subnet of 10.0.2.15/24: allowed is a router there"#,
        ),
        (
            r#"{"network": {"static": {"gateway": "10.0.2.15", "address": "10.0.2.15/24"}}}"#,
            r#"1:36: /network/static/gateway: "10.0.2.15" is not another machine in the subnet of 10.0.2.15/24: allowed is a router there"#,
        ),
        (
            r#"{"network": {"static": {"address": "10.0.2.15/24", "gateway": "::1"}}}"#,
            r#"1:63: /network/static/gateway: "::1" is not the IPv4 address of a machine: allowed is one like "10.0.2.2""#,
        ),
        (
            r#"{"network": {"static": {"address": "10.0.2.15/24", "dns": "10.0.2.3"}}}"#,
            r#"1:59: /network/static/dns: "10.0.2.3" is not a list of servers: allowed is one like ["10.0.2.3"]"#,
        ),
        (
            r#"{"network": {"static": {"address": "10.0.2.15/24", "dns": ["a.b"]}}}"#,
            r#"1:60: /network/static/dns/0: "a.b" is not the IPv4 address of a machine: allowed is one like "10.0.2.2""#,
        ),
        (
            r#"{"network": {"static": {"address": "10.0.2.15/24", "dns": ["1.0.0.1","1.0.0.2","1.0.0.3","1.0.0.4","1.0.0.5"]}}}"#,
            r#"1:100: /network/static/dns/4: "1.0.0.5" is one too many: allowed are at most 4"#,
        ),
        // collector
        (
            r#"{"collector": "10.0.2.2:7600"}"#,
            r#"1:15: /collector: "10.0.2.2:7600" is not an object: allowed is one like {"address": "10.0.2.2:7600"}"#,
        ),
        (r#"{"collector": {}}"#, r#"1:15: /collector: the key "address" is missing: it is required here"#),
        (
            r#"{"collector": {"address": "logs.example.org"}}"#,
            r#"1:27: /collector/address: "logs.example.org" is not a machine's HOST:PORT: allowed is one like "10.0.2.2:7600" or "logs.example.org:7600""#,
        ),
        (
            r#"{"collector": {"address": "Logs.example.org:7600"}}"#,
            r#"1:27: /collector/address: "Logs.example.org:7600" is not a machine's HOST:PORT: allowed is one like "10.0.2.2:7600" or "logs.example.org:7600""#,
        ),
        (
            r#"{"collector": {"address": "logs..example.org:7600"}}"#,
            r#"1:27: /collector/address: "logs..example.org:7600" is not a machine's HOST:PORT: allowed is one like "10.0.2.2:7600" or "logs.example.org:7600""#,
        ),
        (
            r#"{"collector": {"address": "10.0.2.300:7600"}}"#,
            r#"1:27: /collector/address: "10.0.2.300:7600" is not a machine's HOST:PORT: allowed is one like "10.0.2.2:7600" or "logs.example.org:7600""#,
        ),
        (
            r#"{"collector": {"address": "10.0.2.2"}}"#,
            r#"1:27: /collector/address: "10.0.2.2" is not a machine's HOST:PORT: allowed is one like "10.0.2.2:7600" or "logs.example.org:7600""#,
        ),
        (
            r#"{"collector": {"address": "10.0.2.2:0"}}"#,
            r#"1:27: /collector/address: "10.0.2.2:0" is not a machine's HOST:PORT: allowed is one like "10.0.2.2:7600" or "logs.example.org:7600""#,
        ),
        (
            r#"{"collector": {"address": "127.0.0.1:7600"}}"#,
            r#"1:27: /collector/address: "127.0.0.1:7600" is not a machine's HOST:PORT: allowed is one like "10.0.2.2:7600" or "logs.example.org:7600""#,
        ),
        (
            r#"{"collector": {"address": "[::1]:7600"}}"#,
            r#"1:27: /collector/address: "[::1]:7600" is not a machine's HOST:PORT: allowed is one like "10.0.2.2:7600" or "logs.example.org:7600""#,
        ),
        (
            r#"{"collector": {"address": "10.0.2.2:7600", "key": "hush"}}"#,
            "1:51: /collector/key: the value (secret, not shown) is not a key: allowed are 64 hex digits, like those of openssl rand -hex 32",
        ),
        (
            r#"{"collector": {"address": "10.0.2.2:7600", "key": 12}}"#,
            "1:51: /collector/key: the value (secret, not shown) is not a key: allowed are 64 hex digits, like those of openssl rand -hex 32",
        ),
        (
            r#"{"collector": {"address": "10.0.2.2:7600", "kye": "hush"}}"#,
            r#"1:44: /collector/kye: unknown key: did you mean "key"?"#,
        ),
        // sink
        (
            r#"{"sink": "10.0.2.2:514"}"#,
            r#"1:10: /sink: "10.0.2.2:514" is not an object: allowed is one like {"syslog": "10.0.2.2:514"}"#,
        ),
        (r#"{"sink": {}}"#, r#"1:10: /sink: the key "syslog" is missing: it is required here"#),
        (
            r#"{"sink": {"syslog": "10.0.2.2"}}"#,
            r#"1:21: /sink/syslog: "10.0.2.2" is not a machine's HOST:PORT: allowed is one like "10.0.2.2:7600" or "logs.example.org:7600""#,
        ),
        // severity
        (
            r#"{"severity": ["panic"]}"#,
            r#"1:14: /severity: an array is not an object: allowed is one like {"network.down": "warn"}"#,
        ),
        (
            r#"{"severity": {"network.dwon": "warn"}}"#,
            r#"1:15: /severity/network.dwon: unknown event: did you mean "network.down"?"#,
        ),
        (
            r#"{"severity": {"cpu.hot": "warn"}}"#,
            "1:15: /severity/cpu.hot: unknown event: `outpost explain` lists those there are",
        ),
        (
            r#"{"severity": {"panic": "warning"}}"#,
            r#"1:24: /severity/panic: "warning" is not a severity: allowed are trace, debug, info, notice, warn, error, fatal and 1 to 24"#,
        ),
        (
            r#"{"severity": {"panic": 25}}"#,
            "1:24: /severity/panic: 25 is not a severity: allowed are trace, debug, info, notice, warn, error, fatal and 1 to 24",
        ),
        (
            r#"{"severity": {"panic": "warn", "panic": 9}}"#,
            "1:32: /severity/panic: the key is there twice: the first one counts, remove the other",
        ),
        // http
        (r#"{"http": 80}"#, r#"1:10: /http: 80 is not an object: allowed is one like {"port": 80}"#),
        (r#"{"http": {"port": 70000}}"#, "1:19: /http/port: 70000 is not a port: allowed are 1 to 65535"),
        (r#"{"http": {"port": 0}}"#, "1:19: /http/port: 0 is not a port: allowed are 1 to 65535"),
        (r#"{"http": {"port": -1}}"#, "1:19: /http/port: -1 is not a port: allowed are 1 to 65535"),
        (r#"{"http": {"port": 080}}"#, "1:19: /http/port: 080 is not a port: allowed are 1 to 65535"),
        (r#"{"http": {"port": +80}}"#, "1:19: /http/port: +80 is not a port: allowed are 1 to 65535"),
        (r#"{"http": {"port": 80.0}}"#, "1:19: /http/port: 80.0 is not a port: allowed are 1 to 65535"),
        (r#"{"http": {"port": 8e1}}"#, "1:19: /http/port: 8e1 is not a port: allowed are 1 to 65535"),
        (
            r#"{"http": {"port": 18446744073709551696}}"#,
            "1:19: /http/port: 18446744073709551696 is not a port: allowed are 1 to 65535",
        ),
        (r#"{"http": {"port": [80]}}"#, "1:19: /http/port: an array is not a port: allowed are 1 to 65535"),
        (r#"{"http": {"port": {"a": 1}}}"#, "1:19: /http/port: an object is not a port: allowed are 1 to 65535"),
        (
            r#"{"http": {"port": "80"}}"#,
            r#"1:19: /http/port: "80" is a string, not a port: allowed are 1 to 65535, without quotes"#,
        ),
        (
            r#"{"http": {"maintenance": "yes"}}"#,
            r#"1:26: /http/maintenance: "yes" is not a boolean: allowed are true and false, without quotes"#,
        ),
        (
            r#"{"http": {"maintenance": True}}"#,
            "1:26: /http/maintenance: True is not a boolean: allowed are true and false, without quotes",
        ),
        (
            r#"{"http": {"operator_allow": {}}}"#,
            r#"1:29: /http/operator_allow: an object is not a list of networks: allowed is one like ["10.0.0.0/8"]"#,
        ),
        (
            r#"{"http": {"operator_allow": ["10.0.0.0/8", "10.0.0.1"]}}"#,
            r#"1:44: /http/operator_allow/1: "10.0.0.1" is not a network: allowed is IPv4/prefix, like "10.0.0.0/8""#,
        ),
        // contact
        (
            r#"{"contact": "On-call"}"#,
            r#"1:13: /contact: "On-call" is not an object: allowed is one like {"tel": "+49 30 000000"}"#,
        ),
        (
            r#"{"contact": {"name": " "}}"#,
            r#"1:22: /contact/name: " " is not the name of a contact: allowed are 1 to 64 bytes of text, like "On-call""#,
        ),
        (
            r#"{"contact": {"tel": "112; rm"}}"#,
            r#"1:21: /contact/tel: "112; rm" is not a telephone number: allowed are 3 to 15 digits, like "+49 30 000000""#,
        ),
        (
            r#"{"contact": {"tel": "0+49 30"}}"#,
            r#"1:21: /contact/tel: "0+49 30" is not a telephone number: allowed are 3 to 15 digits, like "+49 30 000000""#,
        ),
        (
            r#"{"contact": {"mail": "a@b?cc=c@d"}}"#,
            r#"1:22: /contact/mail: "a@b?cc=c@d" is not a mail address: allowed are at most 64 bytes, like "oncall@example.org""#,
        ),
        (
            r#"{"contact": {"mail": "a..b@c"}}"#,
            r#"1:22: /contact/mail: "a..b@c" is not a mail address: allowed are at most 64 bytes, like "oncall@example.org""#,
        ),
        // http.connections_per_source
        (
            r#"{"http": {"connections_per_source": 0}}"#,
            r#"1:37: /http/connections_per_source: 0 is not a number of connections: allowed are 1 to 1024"#,
        ),
        (
            r#"{"http": {"connections_per_source": 1025}}"#,
            r#"1:37: /http/connections_per_source: 1025 is not a number of connections: allowed are 1 to 1024"#,
        ),
        // security
        (
            r#"{"security": "mailto:a@b"}"#,
            r#"1:14: /security: "mailto:a@b" is not an object: allowed are "contact" and "expires""#,
        ),
        (
            r#"{"security": {"contact": "http://example.org", "expires": "2027-12-31T23:59:59Z"}}"#,
            r#"1:26: /security/contact: "http://example.org" is not a contact: allowed is "mailto:" or "https://" and more, at most 100 bytes"#,
        ),
        (
            r#"{"security": {"contact": "https://a b", "expires": "2027-12-31T23:59:59Z"}}"#,
            r#"1:26: /security/contact: "https://a b" is not a contact: allowed is "mailto:" or "https://" and more, at most 100 bytes"#,
        ),
        (
            r#"{"security": {"contact": "mailto:a@b", "expires": "2027-02-30T00:00:00Z"}}"#,
            r#"1:51: /security/expires: "2027-02-30T00:00:00Z" is not a moment of UTC: allowed is one like "2027-12-31T23:59:59Z""#,
        ),
        (
            r#"{"security": {"contact": "mailto:a@b", "expires": "2027-12-31T23:59:5+Z"}}"#,
            r#"1:51: /security/expires: "2027-12-31T23:59:5+Z" is not a moment of UTC: allowed is one like "2027-12-31T23:59:59Z""#,
        ),
        // drill
        (r#"{"drill": 5}"#, r#"1:11: /drill: 5 is not an object: allowed is one like {"panic_after_s": 60}"#),
        (
            r#"{"drill": {"panic_after_s": 0}}"#,
            "1:29: /drill/panic_after_s: 0 is not a time: allowed are 1 to 3600 seconds",
        ),
        (
            r#"{"drill": {"hang_after_s": 3601}}"#,
            "1:28: /drill/hang_after_s: 3601 is not a time: allowed are 1 to 3600 seconds",
        ),
        (
            r#"{"drill": {"records_per_s": 10001}}"#,
            "1:29: /drill/records_per_s: 10001 is not a rate: allowed are 1 to 10000 records/s",
        ),
        (
            r#"{"drill": {"exercise": 1}}"#,
            "1:24: /drill/exercise: 1 is not a boolean: allowed are true and false, without quotes",
        ),
        // on_panic
        (r#"{"on_panic": "halt"}"#, r#"1:14: /on_panic: "halt" is not known: allowed are "reset" and "stop""#),
        (r#"{"on_panic": true}"#, r#"1:14: /on_panic: true is not known: allowed are "reset" and "stop""#),
    ];
    for (document, sentence) in table {
        assert_eq!(problems(document), [*sentence], "{document}");
    }
}

/// What people hand over by mistake gets one sentence, not a hundred.
#[test]
fn what_is_no_text_has_its_sentence() {
    let table: &[(&[u8], &str)] = &[
        (b"\x7fELF\x02\x01\x01\0\0", "1:1: this is an ELF file, not text: the configuration is one JSON object"),
        (b"\x1f\x8b\x08\0\0", "1:1: this is a gzip file, not text: the configuration is one JSON object"),
        (b"070701000000", "1:1: this is a cpio archive, not text: the configuration is one JSON object"),
        (b"\xff\xfe{\0}\0", "1:1: this is UTF-16, not text: the configuration is one JSON object"),
        (b"{\"name\": \"B\xfcro\"}", "1:12: /name: the byte 0xfc is not UTF-8: save the document as UTF-8"),
        (b"{}\xff", "1:3: the byte 0xff is not UTF-8: save the document as UTF-8"),
        (b"{\"name\": \"\xc3", "1:11: /name: the byte 0xc3 is not UTF-8: save the document as UTF-8"),
        (b"\xff", "1:1: the byte 0xff is not UTF-8: save the document as UTF-8"),
        (b"\0\0\0\0", "1:1: found \\u{0}, expected is a value"),
    ];
    for (document, sentence) in table {
        assert_eq!(problems(document), [*sentence], "{}", document.escape_ascii());
    }
    for magic in ["\x7fELF", "PK\x03\x04"] {
        let texts = problems(magic.repeat(CONFIG_MAX));
        assert_eq!(texts.len(), 1, "{texts:?}");
    }
}

/// One mistake must not hide the next one, and none may take the network away.
#[test]
fn finds_all_mistakes_and_keeps_what_is_right() {
    let loaded = load(Some(MISTAKES));
    let texts: List<Text> = loaded.problems.iter().map(ToString::to_string).collect();
    assert_eq!(
        texts,
        [
            r#"2:3: /nmae: unknown key: did you mean "name"?"#,
            r#"7:27: /network/static/dns/1: "dns.example.org" is not the IPv4 address of a machine: allowed is one like "10.0.2.2""#,
            r#"6:18: /network/static/gateway: "10.0.3.1" is not another machine in the subnet of 10.0.2.15/24: allowed is a router there"#,
            r#"10:29: /collector/address: "logs.example.org" is not a machine's HOST:PORT: allowed is one like "10.0.2.2:7600" or "logs.example.org:7600""#,
            "10:56: /collector/key: the value (secret, not shown) is not a key: allowed are 64 hex digits, like those of openssl rand -hex 32",
            "11:21: /http/port: 70000 is not a port: allowed are 1 to 65535",
            "11:28: /http/port: the key is there twice: the first one counts, remove the other",
            r#"11:59: /http/operator_allow/0: "10.0.0.0" is not a network: allowed is IPv4/prefix, like "10.0.0.0/8""#,
        ]
    );
    assert_eq!(loaded.problem_count, 12);
    assert_eq!(
        effective(&loaded),
        r#"{"name":"outpost","network":{"static":{"address":"10.0.2.15/24","dns":["10.0.2.3"]}},"http":{"port":80,"operator_allow":[],"maintenance":false},"on_panic":"reset"}"#
    );
}

/// A document that was cut off, at whatever byte, says so, and the network that was read stays in force.
#[test]
fn a_cut_document_keeps_its_network() {
    let end_of_network = FLEET.windows(9).position(|bytes| bytes == b"collector").unwrap();
    let whole = load(Some(FLEET));
    let end = FLEET.iter().rposition(|byte| *byte == b'}').unwrap();
    for length in 0..=end {
        let loaded = load(FLEET.get(..length));
        let last = loaded.problems.last().map(ToString::to_string).unwrap_or_default();
        assert!(last.contains("too early") || length == 0 && last.contains("is empty"), "cut at {length}: {last}");
        if length > end_of_network {
            assert_eq!(loaded.config.network, whole.config.network, "cut at {length}");
        }
    }
}

/// A list of who is let in never grows, and records never go out in clear text, because of a mistake.
#[test]
fn a_mistake_opens_nothing() {
    let lists = [
        (r#"{"http": {"operator_allow": ["192.0.2.1/32", "10.0.0"]}}"#, 1),
        (r#"{"http": {"operator_allow": "192.0.2.1/32"}}"#, 0),
        (r#"{"http": {"operator_allow": ["192.0.2.1/32", "#, 1),
    ];
    for (document, entries) in lists {
        let loaded = load(Some(document.as_bytes()));
        assert_eq!((loaded.config.http.operator_allow.len(), loaded.problem_count), (entries, 1), "{document}");
    }
    for member in [r#""key": 1"#, r#""kye": "00""#, r#""address": "10.0.2.3:1""#, r#""key": "00"#] {
        let document = format!(r#"{{"collector": {{"address": "10.0.2.2:7600", {member}}}}}"#);
        let loaded = load(Some(document.as_bytes()));
        assert_eq!((loaded.config.collector, loaded.problem_count), (None, 1), "{document}");
    }
}

/// No message and no effective document may give a key away, wherever it was pasted.
#[test]
fn secrets_are_never_shown() {
    let secret: Text = "5ec2e7".chars().cycle().take(64).collect();
    let half = &secret[..32];
    let places = [
        format!(r#"{{"collector": {{"address": "10.0.2.2:7600", "key": "{secret}"}}}}"#),
        format!(r#"{{"collector": {{"address": "10.0.2.2:7600", "key": "{secret}0"}}}}"#),
        format!(r#"{{"collector": {{"address": "10.0.2.2:7600", "key": "{secret}\n"}}}}"#),
        format!(r#"{{"collector": {{"address": "10.0.2.2:7600", "key": {secret}}}}}"#),
        format!(r#"{{"collector": {{"address": "10.0.2.2:7600", "key": ["{secret}"]}}}}"#),
        format!(r#"{{"collector": {{"address": "10.0.2.2:7600", "key": "{secret}"#),
        format!(r#"{{"collector": {{"address": "10.0.2.2:7600", "secret": "{secret}"}}}}"#),
        format!(r#"{{"collector": {{"address": "{secret}"}}}}"#),
        format!(r#"{{"collector": {{"{secret}": 1}}}}"#),
        format!(r#"{{"collector": "{secret}"}}"#),
        format!(r#"{{"name": "{secret}"}}"#),
    ];
    for document in places {
        let loaded = load(Some(document.as_bytes()));
        assert!(!format!("{loaded:?}").contains(half), "{document} gave {loaded:?}");
        assert!(!effective(&loaded).contains(half), "{document}");
    }
}

/// The bounds: a document at them is read, one beyond gets a sentence and what is in front of the bound counts.
#[test]
fn bounds_are_exact() {
    let mut document = br#"{"name": "a"}"#.to_vec();
    document.resize(CONFIG_MAX, b' ');
    assert_eq!(problems(&document), [] as [Text; 0]);
    document.push(b' ');
    assert_eq!(problems(&document), ["1:1: the document is too long: allowed are at most 65536 bytes"]);

    let mut document = br#"{"name": "a", "#.to_vec();
    document.resize(1 << 20, b' ');
    let loaded = load(Some(&document));
    assert_eq!((loaded.config.name.as_str(), loaded.problem_count), ("a", 1));

    // A character that lies across the bound is not called bad UTF-8.
    let mut document = vec![b' '; CONFIG_MAX - 1];
    document.splice(0..10, *br#"{"name": ""#);
    document.extend("äöü".as_bytes());
    assert_eq!(problems(&document), ["1:1: the document is too long: allowed are at most 65536 bytes"]);

    let list = |entries| List::from_iter((0..entries).map(|n| format!(r#""10.{n}.0.0/16""#))).join(",");
    let document = |entries| format!(r#"{{"http": {{"operator_allow": [{}]}}}}"#, list(entries));
    assert_eq!(problems(document(16)), [] as [Text; 0]);
    assert_eq!(load(Some(document(20).as_bytes())).problem_count, 4);

    let labels = format!("{}.{}", "a".repeat(31), "b".repeat(31));
    assert_eq!(problems(format!(r#"{{"name": "{labels}"}}"#)), [] as [Text; 0]);
    for address in ["10.0.2.0/31", "10.0.2.1/31", "10.0.2.7/32", "223.255.255.254/1", "1.0.0.1/30"] {
        let document = format!(r#"{{"network": {{"static": {{"address": "{address}"}}}}}}"#);
        assert_eq!(problems(document), [] as [Text; 0], "{address}");
    }
    let many = format!("{{{}}}", List::from_iter((0..4000).map(|n| format!(r#""k{n}":1"#))).join(","));
    let loaded = load(Some(many.as_bytes()));
    assert_eq!((loaded.problems.len(), loaded.problem_count), (CONFIG_PROBLEMS, 4000));
}

/// No sentence may lose its end, with the remedy, to the bound of its text.
#[test]
fn no_sentence_is_cut() {
    let value = format!("\"{}\"", "\\u0041".repeat(40));
    let places = [
        r#"{"name": @}"#,
        r#"{"network": @}"#,
        r#"{"network": {"static": @}}"#,
        r#"{"network": {"static": {"address": @}}}"#,
        r#"{"network": {"static": {"address": "10.0.2.15/24", "gateway": @}}}"#,
        r#"{"network": {"static": {"address": "10.0.2.15/24", "dns": @}}}"#,
        r#"{"network": {"static": {"address": "10.0.2.15/24", "dns": [@]}}}"#,
        r#"{"collector": @}"#,
        r#"{"collector": {"address": @}}"#,
        r#"{"collector": {"address": "10.0.2.2:7600", "key": @}}"#,
        r#"{"http": @}"#,
        r#"{"http": {"port": @}}"#,
        r#"{"http": {"operator_allow": @}}"#,
        r#"{"http": {"operator_allow": [@]}}"#,
        r#"{"http": {"maintenance": @}}"#,
        r#"{"contact": @}"#,
        r#"{"contact": {"tel": @}}"#,
        r#"{"contact": {"mail": @}}"#,
        r#"{"http": {"connections_per_source": @}}"#,
        r#"{"security": @}"#,
        r#"{"security": {"contact": @, "expires": "2027-12-31T23:59:59Z"}}"#,
        r#"{"security": {"contact": "https://a", "expires": @}}"#,
        r#"{"on_panic": @}"#,
        r#"{"zzzzzzzzzzzz": @}"#,
    ];
    let wide = "\"".to_string() + &"\u{10ffff}".repeat(40) + "\"";
    let broken = "\"".to_string() + &"x".repeat(40) + "\\q\"";
    for place in places {
        for value in [&value, &wide, &broken] {
            let texts = problems(place.replace('@', value));
            assert_eq!(texts.len(), 1, "{place}: {texts:?}");
            assert!(!texts[0].ends_with("..."), "{texts:?}");
        }
    }
    let far = r#"{"network": {"static": {"address": "223.255.255.254/30", "gateway": "223.255.255.250"}}}"#;
    assert!(problems(far)[0].ends_with("a router there"));
}

/// The longest configuration must fit its effective document, else its hash would be that of nothing.
#[test]
fn the_longest_effective_document_fits() {
    let mut config = load(Some(FLEET)).config;
    config.name = core::iter::repeat_n('a', AGENT_NAME_MAX).collect();
    let longest = Ipv4Cidr::new(Ipv4Addr::new(223, 255, 255, 254), 31);
    let address = longest.address();
    config.network = Network::Static(StaticNetwork {
        address: longest,
        gateway: Some(address),
        dns: [address; 4].into_iter().collect(),
    });
    let far = Host::Name(core::iter::repeat_n('a', HOST_NAME_MAX).collect());
    config.time.servers = core::array::from_fn::<_, TIME_SERVERS, _>(|_| far.clone()).into_iter().collect();
    let peer = Peer { host: far, port: 65535 };
    config.collector = Some(Collector { address: peer.clone(), key: Some(Secret([0; 32])) });
    config.sink = Some(Sink { syslog: peer });
    config.http.operator_allow = [longest; 16].into_iter().collect();
    config.http.port = 65535;
    let longest = CATALOGUE.iter().max_by_key(|spec| spec.name.len()).unwrap();
    let rule = (longest.id, Severity::from_number(24).unwrap());
    config.severity.0 = [rule; LOG_SEVERITY_RULES].into_iter().collect();
    let wide: String<CONTACT_MAX> = core::iter::repeat_n('"', CONTACT_MAX).collect();
    let long: String<CONTACT_MAX> = core::iter::repeat_n('a', CONTACT_MAX).collect();
    config.contact = Some(Contact { name: Some(wide), tel: Some(long.clone()), mail: Some(long) });
    config.http.connections_per_source = Some(1024);
    config.security = Some(Security {
        contact: core::iter::repeat_n('a', crate::limits::SECURITY_CONTACT_MAX).collect(),
        expires: "2027-12-31T23:59:59Z".try_into().unwrap(),
    });
    config.drill = Some(Drill {
        panic_after_s: Some(3600),
        hang_after_s: Some(3600),
        records_per_s: Some(10_000),
        exercise: true,
    });
    let mut buffer = [0; EFFECTIVE_MAX];
    let document = config.effective(&mut buffer);
    assert!(document.ends_with(r#""on_panic":"reset"}"#), "{document}");
}

/// A drill that was mistyped must not run as another one, and one that asks for nothing is none.
#[test]
fn only_a_drill_that_was_understood_runs() {
    let drill = |document: &str| load(Some(document.as_bytes())).config.drill;
    let asked = Drill { panic_after_s: Some(3), hang_after_s: None, records_per_s: Some(500), exercise: false };
    assert_eq!(drill(r#"{"drill": {"panic_after_s": 3, "records_per_s": 500}}"#), Some(asked));
    assert_eq!(drill(r#"{"drill": {"panic_after_s": 3, "hang_after_s": 0, "records_per_s": 500}}"#), Some(asked));
    assert_eq!(drill(r#"{"drill": {"panic_after_s": -1}}"#), None);
    assert_eq!(drill(r#"{"drill": {}}"#), None);
    assert_eq!(drill(r#"{"drill": {"exercise": false}}"#), None);
    assert!(drill(r#"{"drill": {"exercise": true}}"#).is_some_and(|drill| drill.exercise));
}

/// Agents that are configured alike must show the same hash, others another; it is public, so no key is in it.
#[test]
fn the_hash_covers_the_redacted_document() {
    let mut checks = Box::new(Checks::new());
    let mut read = |document: &str| {
        let loaded = load_into(Some(document.as_bytes()), &mut checks);
        loaded.config.hash(&checks)
    };
    // The first bytes of sha256sum over the text in `defaults_hold_without_a_document`.
    assert_eq!(read("{}"), DEFAULT_HASH);
    assert_eq!(read(r#"{"http": {"port": 80}}"#), DEFAULT_HASH);
    assert_ne!(read(r#"{"http": {"port": 81}}"#), DEFAULT_HASH);
    let mut keyed = |digit: &str| {
        read(&format!(r#"{{"collector": {{"address": "10.0.2.2:7600", "key": "{}"}}}}"#, digit.repeat(64)))
    };
    assert_eq!(keyed("a"), keyed("b"));
    let mut watching = |impact: &str| {
        let check = format!(r#""name": "a", "owner": "o", "impact": "{impact}", "runbook": "r""#);
        read(&format!(r#"{{"checks": [{{{check}, "tcp": {{"address": "192.0.2.1:22"}}}}]}}"#))
    };
    assert_ne!(watching("x"), watching("y"));
    assert_ne!(watching("x"), DEFAULT_HASH);
}

const DEFAULT_HASH: [u8; 8] = [210, 163, 101, 106, 197, 138, 9, 83];

/// The hash that Hello and `/about` show must be one that anybody can compute from the configuration.
#[test]
fn the_hash_of_severities_is_that_of_their_json() {
    let read = |document: &str| load(Some(document.as_bytes())).config.severity.hash();
    assert_eq!(read("{}"), [0; 8]);
    let both = read(r#"{"severity": {"panic": "error", "boot.started": 5}}"#);
    assert_eq!(both, Sha256::of(&[br#"{"boot.started":5,"panic":17}"#])[..8]);
    assert_eq!(both, read(r#"{"severity": {"boot.started": "debug", "panic": 17}}"#));
}

/// What is written must be read as the same again, apart from the secret.
#[test]
fn the_effective_document_is_a_document() {
    for document in [&b"{}"[..], FLEET, include_bytes!("../../tests/data/config/dhcp.json"), MISTAKES] {
        let mut loaded = load(Some(document));
        if let Some(collector) = &mut loaded.config.collector {
            collector.key = None;
        }
        let again = load(Some(effective(&loaded).as_bytes()));
        assert_eq!((&again.config, again.problem_count), (&loaded.config, 0));
    }
}

/// A small generator of numbers (SplitMix64): the seed alone reproduces a run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }
}

/// A valid document with a few things done to it that no valid document has.
fn mutated(random: &mut Random) -> List<u8> {
    const PIECES: &[&[u8]] = &[
        b"{",
        b"}",
        b"[",
        b"]",
        b"\"",
        b"\\",
        b",",
        b":",
        b"\n",
        b"\0",
        b"\\ud83d",
        b"\\u00",
        b"\xff",
        b"\xc3",
        b"\xe2\x82",
        b"true",
        b"null",
        b"1e999",
        b"-",
        b"\"key\":",
        b"\"static\":{",
        b"[[[[[[[[[",
        b"{\"a\":",
        b"\xef\xbb\xbf",
        b"//",
    ];
    let mut document = [FLEET, MISTAKES, b"{}"][random.below(3)].to_vec();
    for _ in 0..=random.below(6) {
        let at = random.below(document.len() + 1);
        match random.below(5) {
            0 => document.truncate(at),
            1 if at < document.len() => document[at] ^= 1 << random.below(8),
            2 => {
                let to = (at + random.below(20)).min(document.len());
                document.drain(at..to);
            }
            3 => {
                let piece = PIECES[random.below(PIECES.len())].repeat(1 + random.below(12));
                document.splice(at..at, piece);
            }
            _ => {
                let from = random.below(document.len() + 1).min(at);
                let copy = document[from..at].to_vec();
                document.splice(at..at, copy);
            }
        }
    }
    document
}

/// Whatever the bytes: no panic, an end, counts that agree, texts that can be printed, and a configuration that runs.
#[test]
fn any_bytes_leave_a_usable_configuration() {
    const RUNS: u64 = 20_000;
    for seed in 0..RUNS {
        let document = mutated(&mut Random(seed));
        let loaded = load(Some(&document));
        let context = || format!("seed {seed}: {}", document.escape_ascii());
        assert_eq!(loaded.problems.len(), usize::from(loaded.problem_count).min(CONFIG_PROBLEMS), "{}", context());
        for problem in &loaded.problems {
            let text = problem.to_string();
            assert!(text.bytes().all(|byte| matches!(byte, b' '..=b'~')), "{text} in {}", context());
            let in_document = problem.line > 0 && problem.column > 0;
            assert!(!problem.text.is_empty() && (in_document || text.contains(LOST_NAME)), "{}", context());
        }
        let again = load(Some(effective(&without_key(&loaded)).as_bytes()));
        let only_names = again.problems.iter().all(|problem| problem.text.contains(LOST_NAME));
        assert!(only_names && again.config == without_key(&loaded).config, "{}", context());
    }
}

/// What is said of a name in a network without a DNS server: it stays in force, and so is said of it again.
const LOST_NAME: &str = "is a name that no server can look up";

fn without_key(loaded: &Loaded) -> Loaded {
    let mut loaded = loaded.clone();
    if let Some(collector) = &mut loaded.config.collector {
        collector.key = None;
    }
    loaded
}

/// Every prefix and every single flipped bit of a valid document.
#[test]
fn every_prefix_and_every_flipped_bit_ends() {
    for length in 0..FLEET.len() {
        let _ = load(FLEET.get(..length));
    }
    for bit in 0..FLEET.len() * 8 {
        let mut document = FLEET.to_vec();
        document[bit / 8] ^= 1 << (bit % 8);
        let _ = load(Some(&document));
    }
}

/// Nesting must not be what the stack pays for: the worst documents run on a small one.
#[test]
fn the_stack_is_bounded() {
    const STACK: usize = 64 * 1024;
    let documents =
        [b"[".repeat(CONFIG_MAX), br#"{"a":"#.repeat(10_000), br#"{"http":{"port":[[[[[["#.to_vec(), MISTAKES.to_vec()];
    let mut checks = Box::new(Checks::new());
    let count = move |document: &std::vec::Vec<u8>| u64::from(load_into(Some(document), &mut checks).problem_count);
    let run = move || documents.iter().map(count).sum::<u64>();
    let thread = std::thread::Builder::new().stack_size(STACK).spawn(run).unwrap();
    assert_eq!(thread.join().unwrap(), 1 + 2 + 1 + 12);
}

#[test]
fn later_sources_count_and_say_so() {
    // An override that loses the key of the collector sends the log in clear; one that is not marked misleads.
    let key = "ab".repeat(32);
    let mut checks = Checks::new();
    let mut loader = Loader::new(&mut checks);
    let module = format!(
        r#"{{"name":"a","collector":{{"address":"10.0.2.2:7600","key":"{key}"}},"severity":{{"network.down":"warn"}},
            "http":{{"port":81,"maintenance":true}},"drill":{{"panic_after_s":9}}}}"#
    );
    loader.document(ConfigSource::Module, module.as_bytes());
    loader.document(ConfigSource::FwCfg, br#"{"name":"b","http":{"port":70000},"severity":{"network.up":"warn"}}"#);
    loader.command_line("outpost.collector.address=10.0.2.3:7601 outpost.http.maintenance=false outpost.nam=c");
    let loaded = loader.finish();
    let config = &loaded.config;
    assert_eq!((config.name.as_str(), config.http.port, config.http.maintenance), ("b", 81, false));
    let collector = config.collector.as_ref().unwrap();
    assert_eq!(collector.address.to_string(), "10.0.2.3:7601");
    assert_eq!(collector.key.as_ref().unwrap().0, [0xab; 32]);
    assert_eq!(config.severity.0.len(), 1);
    let origin = |pointer| loaded.origins.get(pointer).unwrap();
    assert_eq!(origin("/name"), ConfigSource::FwCfg);
    assert_eq!(origin("/http/port"), ConfigSource::Module, "the later value was refused");
    assert_eq!(origin("/http/maintenance"), ConfigSource::CommandLine);
    assert_eq!(origin("/collector/address"), ConfigSource::CommandLine);
    assert_eq!(origin("/collector/key"), ConfigSource::Module);
    assert_eq!(origin("/severity"), ConfigSource::FwCfg);
    assert_eq!(origin("/on_panic"), ConfigSource::Default);
    assert_eq!(origin("/drill/panic_after_s"), ConfigSource::Module);
    assert_eq!(loaded.origins.get("/nothing"), None);
    let problems: List<_> = loaded.problems.iter().map(|problem| (problem.source, problem.to_string())).collect();
    assert_eq!(problems.len(), 2);
    assert_eq!(problems[0].0, ConfigSource::FwCfg);
    assert_eq!(problems[0].1, "1:28: /http/port: 70000 is not a port: allowed are 1 to 65535");
    assert_eq!(problems[1], (ConfigSource::CommandLine, "unknown setting: did you mean \"outpost.name\"?".into()));
}

#[test]
fn a_refused_collector_is_not_half_in_force() {
    // The address of one source with the mistyped key of another would be a session in clear.
    let mut checks = Checks::new();
    let mut loader = Loader::new(&mut checks);
    loader.document(ConfigSource::Module, br#"{"collector":{"address":"10.0.2.2:7600"}}"#);
    loader.document(ConfigSource::FwCfg, br#"{"collector":{"address":"10.0.2.2:7600","key":"ab"}}"#);
    assert_eq!(loader.finish().config.collector, None);
}

/// A name that nobody can look up is found at the desk, not when the collector is missed; with DHCP nobody can say.
#[test]
fn a_name_without_a_dns_server_is_a_problem() {
    let network = |dns: &str| format!(r#""network": {{"static": {{"address": "10.0.2.15/24"{dns}}}}}"#);
    let document = |network: &str| {
        format!(
            r#"{{"collector": {{"address": "logs.example.org:7600"}}, {network}, "sink": {{"syslog": "10.0.2.2:601"}},
                "time": {{"servers": ["a.{}", "10.0.2.2"]}}}}"#,
            "x".repeat(40)
        )
    };
    assert_eq!(
        problems(document(&network(""))),
        [
            "/collector/address: logs.example.org is a name that no server can look up: add network.static.dns, or give an address",
            "/time/servers: a.xxxxxxxxxxxxxxxxxxxxxxxxxxx... is a name that no server can look up: add network.static.dns, or give an address",
        ]
    );
    for network in [network(r#", "dns": ["10.0.2.3"]"#), r#""network": "dhcp""#.to_string()] {
        assert_eq!(problems(document(&network)), [] as [Text; 0]);
    }
    // The two sources together are what counts.
    let mut checks = Checks::new();
    let mut loader = Loader::new(&mut checks);
    loader.document(ConfigSource::Module, br#"{"network": {"static": {"address": "10.0.2.15/24"}}}"#);
    loader.command_line("outpost.collector.address=logs.example.org:7600");
    let loaded = loader.finish();
    assert_eq!((loaded.problem_count, loaded.problems[0].source), (1, ConfigSource::CommandLine));
}

/// What DNS cannot carry must not become a name that is never found (RFC 1035, section 2.3.4).
#[test]
fn names_are_as_long_as_dns_can_carry_them() {
    let reads = |host: &str| {
        let document = format!(r#"{{"time": {{"servers": ["{host}"]}}, "sink": {{"syslog": "{host}:65535"}}}}"#);
        let loaded = load(Some(document.as_bytes()));
        (loaded.problem_count == 0).then(|| loaded.config.time.servers[0].to_string())
    };
    let label = "a".repeat(63);
    let longest = [&label[..], &label, &label, &label[..61]].join(".");
    assert_eq!(longest.len(), HOST_NAME_MAX);
    for good in ["a", "a1", "1a.b", "xn--bcher-kva.example", "a-b.c-d", &label, &longest] {
        assert_eq!(reads(good).as_deref(), Some(good));
    }
    let too_long = format!("{longest}a");
    let long_label = format!("{label}a");
    for bad in ["", ".", "a.", ".a", "a..b", "-a", "a-", "a_b", "A", "a b", "1", "a.1", "10.0.2.300", "0x7f.1"] {
        assert_eq!(reads(bad), None, "{bad}");
    }
    assert_eq!([reads(&too_long), reads(&long_label)], [None, None]);
}

/// A fleet has one template, and its VMs another address each: what a source does not mention stays.
#[test]
fn a_later_address_keeps_gateway_and_dns() {
    let template = br#"{"network":{"static":{"address":"10.0.2.2/24","gateway":"10.0.2.1","dns":["10.0.2.3"]}}}"#;
    let load = |line: &str| {
        let mut checks = Checks::new();
        let mut loader = Loader::new(&mut checks);
        loader.document(ConfigSource::Module, template);
        loader.command_line(line);
        loader.finish()
    };
    let loaded = load("outpost.network.static.address=10.0.2.15/24");
    assert_eq!(loaded.problem_count, 0);
    let network = r#""network":{"static":{"address":"10.0.2.15/24","gateway":"10.0.2.1","dns":["10.0.2.3"]}}"#;
    assert!(effective(&loaded).contains(network), "{}", effective(&loaded));
    // In another subnet the router of the template is none: no packet would find its way, and that is said.
    let elsewhere = load("outpost.network.static.address=10.9.2.15/24");
    assert!(elsewhere.problems[0].text.contains("not another machine in the subnet of 10.9.2.15/24"));
    let both = load("outpost.network.static.address=10.9.2.15/24 outpost.network.static.gateway=10.9.2.1");
    assert_eq!(both.problem_count, 0);
    assert!(effective(&load("outpost.network=dhcp")).contains(r#""network":"dhcp""#));
}

#[test]
fn checks_are_read_whole_or_not_at_all() {
    // A check that watches something else than it says is worse than none.
    let mut checks = Box::new(Checks::new());
    let base = r#""owner": "team-shop", "impact": "customers cannot pay", "runbook": "shop""#;
    let shop = format!(
        r#"{{"name": "shop", "group": "Shop", {base}, "interval_s": 20, "slow_ms": 800, "rise": 1, "fall": 2,
            "http": {{"url": "http://shop.example.org:8080/health?x=1", "status": [200, 204], "body": "ok", "method": "HEAD"}}}}"#
    );
    let ssh = format!(
        r#"{{"name": "ssh", {base}, "interval_s": 5, "tcp": {{"address": "192.0.2.10:22", "banner": "SSH-"}}}}"#
    );
    let loaded = load_into(Some(format!(r#"{{"checks": [{shop}, {ssh}]}}"#).as_bytes()), &mut checks);
    assert_eq!(loaded.problem_count, 0, "{:?}", loaded.problems);
    let [shop_check, ssh_check] = checks.list() else { panic!("{checks:?}") };
    assert_eq!((shop_check.interval_s, shop_check.timeout_s, shop_check.rise, shop_check.fall), (20, 10, 1, 2));
    assert_eq!((ssh_check.interval_s, ssh_check.timeout_s, ssh_check.rise, ssh_check.fall), (5, 5, 2, 3));
    assert_eq!(shop_check.peer.to_string(), "shop.example.org:8080");
    let checks::Kind::Http { path, head, statuses, body, .. } = &shop_check.kind else { panic!("{shop_check:?}") };
    assert_eq!(
        (checks.text(*path), *head, statuses.as_slice(), checks.text(*body)),
        ("/health?x=1", true, &[200, 204][..], "ok")
    );
    assert_eq!(checks.text(shop_check.impact), "customers cannot pay");

    for (check, sentence) in [
        (
            format!(r#"{{"name": "a", {base}}}"#),
            "a check has exactly one of the keys \"http\", \"https\", \"tcp\", \"tls\", \"icmp\", \"dns\", \"ntp\" and \"heartbeat\"",
        ),
        (format!(r#"{{"name": "a", {base}, "tcp": {{"address": "192.0.2.1"}}}}"#), "is not a machine's HOST:PORT"),
        (format!(r#"{{"name": "a", {base}, "http": {{"url": "https://192.0.2.1/"}}}}"#), "is not a URL"),
        (
            format!(r#"{{"name": "a", {base}, "http": {{"url": "http://192.0.2.1/a b"}}}}"#),
            "has a sign that no URL may have",
        ),
        (format!(r#"{{"name": "a b", {base}, "tcp": {{"address": "192.0.2.1:1"}}}}"#), "is not a name"),
        (format!(r#"{{"name": "ssh", {base}, "tcp": {{"address": "192.0.2.1:1"}}}}"#), "another check has this name"),
        (
            format!(r#"{{"name": "a", {base}, "interval_s": 5, "timeout_s": 6, "tcp": {{"address": "192.0.2.1:1"}}}}"#),
            "6 is longer than interval_s, which is 5",
        ),
        (
            format!(r#"{{"name": "a", {base}, "interval_s": 0, "tcp": {{"address": "192.0.2.1:1"}}}}"#),
            "is not a time: allowed are 1 to 3600 seconds",
        ),
        (
            format!(r#"{{"name": "a", {base}, "rise": 21, "tcp": {{"address": "192.0.2.1:1"}}}}"#),
            "is not a number of probes",
        ),
        (
            format!(r#"{{"name": "a", {base}, "http": {{"url": "http://192.0.2.1/", "status": [99]}}}}"#),
            "is not a status",
        ),
        (
            format!(
                r#"{{"name": "a", {base}, "heartbeat": {{"token_sha256": "6f75742d6f662d72", "period_s": 1, "grace_s": 1}}}}"#
            ),
            "the value (secret, not shown) is not the SHA-256 of a token",
        ),
        (
            r#"{"name": "a", "impact": "x", "runbook": "r", "tcp": {"address": "192.0.2.1:1"}}"#.to_string(),
            "\"owner\" is missing",
        ),
        ("7".to_string(), "is not a check"),
    ] {
        let loaded = load_into(Some(format!(r#"{{"checks": [{ssh}, {check}]}}"#).as_bytes()), &mut checks);
        assert_eq!(checks.list().len(), 1, "{check}");
        let told = loaded.problems.first().map(|problem| problem.text.as_str()).unwrap_or_default();
        assert!(loaded.problem_count == 1 && told.contains(sentence), "{check}: {told}");
    }
}

#[test]
fn each_kind_of_check_is_read_and_its_mistakes_are_told() {
    // A key that is read as something else makes a check of something that nobody asked about.
    let mut checks = Box::new(Checks::new());
    let mut read = |kind: &str| {
        let base = r#""name": "a", "owner": "o", "impact": "i", "runbook": "r""#;
        let loaded = load_into(Some(format!(r#"{{"checks": [{{{base}, {kind}}}]}}"#).as_bytes()), &mut checks);
        let told = loaded.problems.first().map(|problem| format!("{} {}", problem.pointer, problem.text));
        let check = checks.list().first().map(|check| {
            let text = |words: &checks::Words| checks.text(*words).to_string();
            let kind = match &check.kind {
                checks::Kind::Dns { name, record, rcode, answers } => {
                    format!(
                        "{} {record:?} {rcode} {:?}",
                        text(name),
                        answers.iter().map(text).collect::<std::vec::Vec<_>>()
                    )
                }
                checks::Kind::Ntp { max_offset_ms, max_stratum } => format!("{max_offset_ms} {max_stratum}"),
                checks::Kind::Http { redirects, .. } => {
                    format!("{:?}", redirects.iter().map(text).collect::<std::vec::Vec<_>>())
                }
                _ => std::string::String::new(),
            };
            format!("{} {} {kind}", check.kind.name(), check.peer)
        });
        assert_eq!(told.is_some(), check.is_none(), "{kind}");
        told.or(check).unwrap_or_default()
    };
    for (kind, found) in [
        (r#""icmp": {"address": "192.0.2.1"}"#, "icmp 192.0.2.1:0 "),
        (r#""dns": {"server": "192.0.2.53", "name": "_a.Example.org"}"#, "dns 192.0.2.53:53 _a.Example.org A 0 []"),
        (
            r#""dns": {"answers": ["10 mx.a"], "type": "MX", "name": "a", "server": "ns.example:5353"}"#,
            r#"dns ns.example:5353 a Mx 0 ["10 mx.a"]"#,
        ),
        (r#""dns": {"server": "192.0.2.53", "name": "a", "rcode": "NXDOMAIN"}"#, "dns 192.0.2.53:53 a A 3 []"),
        (r#""ntp": {"server": "192.0.2.123"}"#, "ntp 192.0.2.123:123 0 15"),
        (
            r#""ntp": {"server": "192.0.2.123:124", "max_offset_ms": 250, "max_stratum": 3}"#,
            "ntp 192.0.2.123:124 250 3",
        ),
        (
            r#""http": {"url": "http://192.0.2.1/", "redirects": ["www.example.org", "192.0.2.2"]}"#,
            r#"http 192.0.2.1:80 ["www.example.org", "192.0.2.2"]"#,
        ),
        (r#""icmp": {"address": "192.0.2.1:7"}"#, "/checks/0/icmp/address is not a machine's address or name"),
        (r#""icmp": {}"#, "/checks/0/icmp \"address\" is missing"),
        (r#""icmp": 7"#, "/checks/0/icmp is not an object"),
        (r#""dns": {"server": "192.0.2.53"}"#, "/checks/0/dns \"name\" is missing"),
        (r#""dns": {"server": "192.0.2.53:0", "name": "a"}"#, "/checks/0/dns/server is not a server"),
        (r#""dns": {"server": "192.0.2.53", "name": "a..b"}"#, "/checks/0/dns/name is not a name"),
        (r#""dns": {"server": "192.0.2.53", "name": "a", "type": "ANY"}"#, "/checks/0/dns/type is not a type"),
        (r#""dns": {"server": "192.0.2.53", "name": "a", "rcode": "3"}"#, "/checks/0/dns/rcode is not an rcode"),
        (
            r#""dns": {"server": "192.0.2.53", "name": "a", "answers": ["192.0.2"]}"#,
            "/checks/0/dns/answers a value is none of this type: allowed is one like \"192.0.2.10\"",
        ),
        (
            r#""dns": {"server": "192.0.2.53", "name": "a", "type": "AAAA", "answers": ["192.0.2.1"]}"#,
            "/checks/0/dns/answers a value is none of this type: allowed is one like \"2001:db8::10\"",
        ),
        (
            r#""dns": {"server": "192.0.2.53", "name": "a", "rcode": "NXDOMAIN", "answers": ["192.0.2.1"]}"#,
            "/checks/0/dns/answers an answer with this rcode has no values",
        ),
        (
            r#""dns": {"server": "192.0.2.53", "name": "a", "type": "TXT", "answers": ["a", "b", "c", "d", "e"]}"#,
            "/checks/0/dns/answers/4 is one too many: allowed are at most 4",
        ),
        (r#""ntp": {"server": "192.0.2.123", "max_offset_ms": 0}"#, "/checks/0/ntp/max_offset_ms is not a time"),
        (r#""ntp": {"server": "192.0.2.123", "max_stratum": 16}"#, "/checks/0/ntp/max_stratum is not a stratum"),
        (
            r#""http": {"url": "http://192.0.2.1/", "redirects": ["127.0.0.1"]}"#,
            "/checks/0/http/redirects/0 is not a machine's address or name",
        ),
        (
            r#""icmp": {"address": "192.0.2.1"}, "tcp": {"address": "192.0.2.1:1"}"#,
            "/checks/0 a check has exactly one of the keys",
        ),
    ] {
        let told = read(kind);
        let whole = match found.split_once(' ') {
            Some((pointer, sentence)) if pointer.starts_with('/') => {
                told.split_once(' ').is_some_and(|(at, told)| at == pointer && told.contains(sentence))
            }
            _ => told == found,
        };
        assert!(whole, "{kind}: {told}");
    }
}

#[test]
fn the_names_that_redirects_may_lead_to_count_among_all() {
    // A name that is not looked up is a redirect that is refused, for no reason that anybody can see.
    let mut checks = Box::new(Checks::new());
    let mut kept = |per_check: usize, count: usize| {
        let check = |number: usize| {
            let hosts: std::vec::Vec<_> = (0..per_check).map(|host| format!(r#""h{number}-{host}""#)).collect();
            format!(
                r#"{{"name": "c{number}", "owner": "o", "impact": "i", "runbook": "r",
                    "http": {{"url": "http://shop/", "redirects": [{}]}}}}"#,
                hosts.join(",")
            )
        };
        let all: std::vec::Vec<_> = (0..count).map(check).collect();
        let loaded = load_into(Some(format!(r#"{{"checks": [{}]}}"#, all.join(",")).as_bytes()), &mut checks);
        (checks.list().len(), checks.names().count(), loaded.problem_count)
    };
    assert_eq!(kept(3, 5), (5, 5 * 4, 0), "one name is that of all");
    assert_eq!(kept(3, 6), (5, 5 * 4, 1));
}

#[test]
fn checks_with_tls_are_read() {
    // What was meant to be asked over TLS must never be asked in clear text, nor of somebody else.
    let mut checks = Box::new(Checks::new());
    let mut read = |kind: &str, count: usize| {
        let all: std::vec::Vec<_> = (0..count)
            .map(|number| format!(r#"{{"name": "c{number}", "owner": "o", "impact": "i", "runbook": "r", {kind}}}"#))
            .collect();
        let loaded = load_into(Some(format!(r#"{{"checks": [{}]}}"#, all.join(",")).as_bytes()), &mut checks);
        let told = loaded.problems.first().map(|problem| problem.text.to_string()).unwrap_or_default();
        (checks.clone(), told)
    };
    let pin = "0123456789abcdefABCDEF00".repeat(2) + "0123456789abcdef";
    let https = format!(
        r#""https": {{"url": "https://192.0.2.1/x", "pin": "{pin}", "server_name": "shop.example", "expiry_days": 30,
            "redirects": ["www.shop.example"]}}"#
    );
    let tls = r#""tls": {"address": "192.0.2.1:465", "banner": "220 "}"#;
    let (checks, told) = read(&https, 1);
    let [check] = checks.list() else { panic!("{told}") };
    let secure = check.tls.expect("it is https");
    assert_eq!((check.kind_name(), check.peer.port, secure.expiry_days), ("https", 443, 30));
    assert_eq!(
        (checks.text(secure.server_name), secure.pin.map(|pin| pin[..4].to_vec())),
        ("shop.example", Some(vec![1, 0x23, 0x45, 0x67]))
    );
    let (checks, told) = read(tls, 1);
    let [check] = checks.list() else { panic!("{told}") };
    assert_eq!((check.kind_name(), check.tls.map(|tls| (tls.pin, tls.expiry_days))), ("tls", Some((None, 14))));
    for (kind, sentence) in [
        (r#""https": {"url": "http://192.0.2.1/"}"#, "is not a URL"),
        (r#""https": {"url": "https://192.0.2.1/", "pin": "00"}"#, "is not the SHA-256 of a public key"),
        (r#""https": {"url": "https://192.0.2.1/", "server_name": "192.0.2.1"}"#, "is not a host name"),
        (r#""https": {"url": "https://192.0.2.1/", "redirects": ["127.0.0.1"]}"#, "is not a machine's address or name"),
        (r#""tls": {"address": "192.0.2.1:443", "expiry_days": 366}"#, "is not a number of days"),
        (r#""http": {"url": "http://192.0.2.1/", "expiry_days": 1}"#, "unknown key"),
    ] {
        let (checks, told) = read(kind, 1);
        assert!(checks.list().is_empty() && told.contains(sentence), "{kind}: {told}");
    }
    let (checks, told) = read(tls, crate::limits::TLS_CHECKS + 1);
    assert_eq!(checks.list().len(), crate::limits::TLS_CHECKS);
    assert!(told.contains("is one check with TLS too many"), "{told}");
}

#[test]
fn there_is_a_bound_to_checks_their_names_and_their_texts() {
    // Each bound is told, and those that found room are watched.
    let mut checks = Box::new(Checks::new());
    let mut read = |count: usize, text: usize, host: &dyn Fn(usize) -> std::string::String| {
        let check = |number| {
            format!(
                r#"{{"name": "c{number}", "owner": "o", "impact": "{}", "runbook": "r", "tcp": {{"address": "{}:1"}}}}"#,
                "x".repeat(text),
                host(number)
            )
        };
        let all: std::vec::Vec<_> = (0..count).map(check).collect();
        let document = format!(
            r#"{{"network": {{"static": {{"address": "10.0.0.2/24", "dns": ["10.0.0.3"]}}}}, "checks": [{}]}}"#,
            all.join(",")
        );
        let loaded = load_into(Some(document.as_bytes()), &mut checks);
        let told = loaded.problems.first().map(|problem| problem.text.to_string());
        (checks.list().len(), loaded.problem_count, told.unwrap_or_default())
    };
    let literal = |_| "192.0.2.1".to_string();
    assert_eq!(read(64, 100, &literal), (64, 0, String::<0>::new().to_string()));
    let (kept, problems, told) = read(65, 100, &literal);
    assert_eq!((kept, problems), (64, 1), "{told}");
    assert!(told.contains("allowed are at most 64 checks"), "{told}");
    let named = |number: usize| format!("host-{}.example.org", number % 17);
    let (kept, problems, told) = read(34, 10, &named);
    assert_eq!((kept, problems), (32, 2), "{told}");
    assert!(told.contains("allowed are 16 in all checks"), "{told}");
}
