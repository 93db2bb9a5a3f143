//! The cable between a guest and a network namespace that somebody made for it: a tap.
//!
//! For benchmarks and for tests of TCP, where QEMU's user network would complete handshakes in the guest's place. The
//! interface ends with its namespace; in the host's own namespace no tap is made.

use crate::Network;
use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;

/// How long one `ip` command may take, in seconds.
const IP_LIMIT: &str = "10";

/// The MAC address that QEMU gives the first card of every machine.
const GUEST_MAC: &str = "52:54:00:12:34:56";

/// One guest's link to us: a tap with its own subnet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// The interface.
    pub tap: String,
    /// Our address on it.
    pub host: Ipv4Addr,
    /// The guest's address.
    pub guest: Ipv4Addr,
}

impl Link {
    /// Length of the subnet's prefix.
    pub const PREFIX: u8 = 24;

    /// Prepares a new network namespace, after making sure that it is one.
    pub fn prepare() -> Result<(), String> {
        let path = "/proc/thread-self/net/dev";
        let devices = fs::read_to_string(path).map_err(|error| format!("{path}: {error}"))?;
        if !is_bare(&devices) {
            return Err(String::from("this is not an empty network namespace, so nothing is changed in it"));
        }
        ip("link set lo up")?;
        // Thousands of short connections to one port, one after the other.
        setting("net/ipv4/ip_local_port_range", "1024 65000")?;
        setting("net/ipv4/tcp_tw_reuse", "1")?;
        setting("net/core/somaxconn", "4096")
    }

    /// Makes the tap of the guest with this number.
    pub fn make(number: u8) -> Result<Link, String> {
        let address = |last| Ipv4Addr::new(10, 77, number, last);
        let link = Link { tap: format!("outpost{number}"), host: address(1), guest: address(2) };
        let Link { tap, host, .. } = &link;
        ip(&format!("tuntap add dev {tap} mode tap"))?;
        // IPv6 would send neighbour discovery into what is measured.
        if Path::new("/proc/sys/net/ipv6").exists() {
            setting(&format!("net/ipv6/conf/{tap}/disable_ipv6"), "1")?;
        }
        ip(&format!("address add {host}/{} dev {tap}", Link::PREFIX))?;
        ip(&format!("link set {tap} up"))?;
        Ok(link)
    }

    /// Another address of ours on it: another client.
    pub fn add_host(&self, last: u8) -> Result<Ipv4Addr, String> {
        let [a, b, c, _] = self.host.octets();
        let address = Ipv4Addr::new(a, b, c, last);
        ip(&format!("address add {address}/{} dev {}", Link::PREFIX, self.tap))?;
        Ok(address)
    }

    /// Before a boot: makes the guest's MAC address known for good. Otherwise an ARP request that the guest is too young
    /// to answer silences us for a second, and boots take 0, 1 or 2 seconds.
    pub fn introduce(&self) -> Result<(), String> {
        let Link { tap, guest, .. } = self;
        ip(&format!("neigh replace {guest} lladdr {GUEST_MAC} dev {tap} nud permanent"))
    }

    /// What a guest's card is plugged into.
    pub fn network(&self) -> Network {
        Network::Tap(self.tap.clone())
    }

    /// The configuration's `network` for the guest.
    pub fn config(&self) -> serde_json::Value {
        let address = format!("{}/{}", self.guest, Link::PREFIX);
        serde_json::json!({ "static": { "address": address, "gateway": self.host.to_string() } })
    }
}

/// Whether there is no interface but the loopback.
fn is_bare(devices: &str) -> bool {
    let mut names = devices.lines().skip(2).filter_map(|line| Some(line.split_once(':')?.0.trim()));
    names.next() == Some("lo") && names.next().is_none()
}

fn ip(arguments: &str) -> Result<(), String> {
    let output = Command::new("timeout").args([IP_LIMIT, "ip"]).args(arguments.split(' ')).output();
    let output = output.map_err(|error| format!("ip could not be run: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("ip {arguments}: {}, {}", output.status, String::from_utf8_lossy(&output.stderr).trim()))
}

fn setting(name: &str, value: &str) -> Result<(), String> {
    fs::write(Path::new("/proc/sys").join(name), value).map_err(|error| format!("/proc/sys/{name}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hosts_network_is_not_taken_for_ours() {
        // Taps on the real machine would outlive the test.
        let head = "Inter-|   Receive\n face |bytes\n";
        assert!(is_bare(&format!("{head}    lo:       0       0\n")));
        assert!(!is_bare(&format!("{head}    lo:       0       0\n  eth0:    1 2\n")));
        assert!(!is_bare(&format!("{head}  eth0:    1 2\n")));
        assert!(!is_bare(""));
    }
}
