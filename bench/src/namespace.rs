//! A network of our own: nothing here touches that of the host.
//!
//! The benchmark starts itself again in new network, process and mount namespaces without names. They end with it: however it
//! is ended, the kernel then kills every QEMU, collector and load generator in it and removes the taps.

use crate::command::run;
use std::net::Ipv4Addr;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use std::{env, fs};

/// The argument by which the second start is known.
pub const INSIDE: &str = "--inside";

/// Open files: 1,000 held connections and as many again of the load generators, with room.
const OPEN_FILES: u32 = 16384;

/// How long one `ip` command may take.
const IP_LIMIT: Duration = Duration::from_secs(10);

/// The MAC address that QEMU gives the first card of every machine.
const GUEST_MAC: &str = "52:54:00:12:34:56";

/// Whether we may do all this; otherwise a sentence says how.
pub fn check_root() -> Result<(), String> {
    // /proc/self belongs to the effective user.
    match fs::metadata("/proc/self").map(|own| own.uid()) {
        Ok(0) => Ok(()),
        _ => Err(String::from(
            "measuring needs root, for a network namespace with taps of its own (the host's network is not touched). \
             Run: sudo make bench",
        )),
    }
}

/// Starts this program again inside. Returns only when that did not work.
pub fn enter() -> String {
    let program = match env::current_exe() {
        Ok(program) => program,
        Err(error) => return format!("this program's own path cannot be read: {error}"),
    };
    let error = Command::new("prlimit")
        .arg(format!("--nofile={OPEN_FILES}"))
        .args("unshare --net --pid --fork --kill-child --mount-proc --".split(' '))
        .arg(program)
        .arg(INSIDE)
        .args(env::args_os().skip(1))
        .exec();
    format!("prlimit and unshare (Debian package util-linux) could not be started: {error}")
}

/// Prepares the namespace, after making sure that it is one.
pub fn prepare() -> Result<(), String> {
    let devices = fs::read_to_string("/proc/net/dev").map_err(|error| format!("/proc/net/dev: {error}"))?;
    if !is_bare(&devices) {
        return Err(String::from(
            "this is not an empty network namespace, so nothing is changed in it. Run: make bench",
        ));
    }
    ip("link set lo up")?;
    // Thousands of short connections to one port, one after the other.
    setting("net/ipv4/ip_local_port_range", "1024 65000")?;
    setting("net/ipv4/tcp_tw_reuse", "1")?;
    setting("net/core/somaxconn", "4096")
}

/// Whether there is no interface but the loopback.
fn is_bare(devices: &str) -> bool {
    let mut names = devices.lines().skip(2).filter_map(|line| Some(line.split_once(':')?.0.trim()));
    names.next() == Some("lo") && names.next().is_none()
}

/// One guest's link to us: a tap with its own subnet.
#[derive(Clone, Debug)]
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

    /// Makes the tap of the guest with this number.
    pub fn make(number: u8) -> Result<Link, String> {
        let address = |last| Ipv4Addr::new(10, 77, number, last);
        let link = Link { tap: format!("bench{number}"), host: address(1), guest: address(2) };
        let Link { tap, host, .. } = &link;
        ip(&format!("tuntap add dev {tap} mode tap"))?;
        // IPv6 would send neighbour discovery into the measurements.
        if Path::new("/proc/sys/net/ipv6").exists() {
            setting(&format!("net/ipv6/conf/{tap}/disable_ipv6"), "1")?;
        }
        ip(&format!("address add {host}/{} dev {tap}", Link::PREFIX))?;
        ip(&format!("link set {tap} up"))?;
        Ok(link)
    }

    /// Before a boot: makes the guest's MAC address known for good. Otherwise an ARP request that the guest is too young
    /// to answer silences us for a second, and boots take 0, 1 or 2 seconds.
    pub fn introduce(&self) -> Result<(), String> {
        let Link { tap, guest, .. } = self;
        ip(&format!("neigh replace {guest} lladdr {GUEST_MAC} dev {tap} nud permanent"))
    }
}

fn ip(arguments: &str) -> Result<(), String> {
    run(Command::new("ip").args(arguments.split(' ')), IP_LIMIT).map(drop)
}

fn setting(name: &str, value: &str) -> Result<(), String> {
    fs::write(Path::new("/proc/sys").join(name), value).map_err(|error| format!("/proc/sys/{name}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hosts_network_is_not_taken_for_ours() {
        // Taps and sysctls on the real machine would outlive the benchmark.
        let head = "Inter-|   Receive\n face |bytes\n";
        assert!(is_bare(&format!("{head}    lo:       0       0\n")));
        assert!(!is_bare(&format!("{head}    lo:       0       0\n  eth0:    1 2\n")));
        assert!(!is_bare(&format!("{head}  eth0:    1 2\n")));
        assert!(!is_bare(""));
    }
}
