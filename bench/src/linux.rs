//! The peer: Linux + nginx that serves one static health document, made of Debian's own packages.
//!
//! ```text
//! apt-get download ──▶ dpkg -x ──▶ files ──▶ cpio (newc) ──zstd──▶ initramfs      vmlinuz as it is
//! ```
//!
//! As small as the job allows: busybox as the shell that loads virtio-net, then nginx as process 1. What we measure
//! against must not be slow for want of care: access log off, keep-alive without end, the answer from memory.

use crate::command::run;
use crate::guest::Guest;
use crate::namespace::Link;
use outpost_qemu::{Machine, Vm};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// Memory of this guest in MiB.
const MEMORY: u32 = 256;

/// How long it may take to its first answer.
const BOOT_LIMIT: Duration = Duration::from_secs(30);

/// How long one step of making it may take.
const STEP_LIMIT: Duration = Duration::from_secs(300);

/// The package that names the current kernel for virtual machines.
const KERNEL: &str = "linux-image-cloud-amd64";

/// Everything else.
const PACKAGES: [&str; 7] = ["nginx", "busybox-static", "libc6", "libcrypt1", "libpcre2-8-0", "libssl3", "zlib1g"];

/// The kernel's modules, in the order in which they need each other.
const MODULES: [&str; 6] = [
    "drivers/virtio/virtio_ring.ko",
    "drivers/virtio/virtio.ko",
    "drivers/virtio/virtio_mmio.ko",
    "net/core/failover.ko",
    "drivers/net/net_failover.ko",
    "drivers/net/virtio_net.ko",
];

/// What nginx is linked with.
const LIBRARIES: [&str; 6] =
    ["libc.so.6", "libcrypt.so.1", "libpcre2-8.so.0", "libssl.so.3", "libcrypto.so.3", "libz.so.1"];

/// The loader that nginx names.
const LOADER: &str = "lib64/ld-linux-x86-64.so.2";

const NGINX_CONFIG: &str = r#"
user root;
worker_processes 1;
daemon off;
error_log stderr crit;
pid /run/nginx.pid;
events { worker_connections 2048; }
http {
    access_log off;
    server_tokens off;
    keepalive_requests 1000000000;
    server {
        listen 80 backlog=1024;
        location = /healthz {
            default_type application/json;
            return 200 '{"status":"pass","version":"1","checks":{"network":"pass","config":"pass","clock":"pass"}}';
        }
    }
}
"#;

/// Downloads and unpacks the packages into `folder`, unless they are there. Needs a network.
pub fn fetch(folder: &Path) -> Result<(), String> {
    if find(folder, &root(folder)).is_ok() {
        return Ok(());
    }
    let failed = |error: std::io::Error| format!("{}: {error}", folder.display());
    let depends = run(Command::new("apt-cache").args(["depends", KERNEL]), STEP_LIMIT)?;
    let kernel = depends.lines().find_map(|line| line.trim().strip_prefix("Depends: "));
    let kernel = kernel.ok_or_else(|| format!("apt-cache does not know {KERNEL}"))?;
    let downloads = folder.join("packages");
    if downloads.exists() {
        fs::remove_dir_all(&downloads).map_err(failed)?;
    }
    fs::create_dir_all(&downloads).map_err(failed)?;
    let mut download = Command::new("apt-get");
    run(download.arg("download").arg(kernel).args(PACKAGES).current_dir(&downloads), STEP_LIMIT)?;
    for package in fs::read_dir(&downloads).map_err(failed)? {
        let package = package.map_err(failed)?.path();
        run(Command::new("dpkg").arg("-x").args([&package, &root(folder)]), STEP_LIMIT)?;
    }
    find(folder, &root(folder)).map(drop)
}

/// The guest, made of what [`fetch`] put into `folder`.
pub fn guest(folder: &Path, temporary: &Path, link: Link) -> Result<Guest, String> {
    let found = find(folder, &root(folder))?;
    let archive = temporary.join("linux.cpio");
    let failed = |error: std::io::Error| format!("{}: {error}", archive.display());
    fs::write(&archive, initramfs(&found, &link)?).map_err(failed)?;
    run(Command::new("zstd").args(["-q", "-19", "-f"]).arg(&archive), STEP_LIMIT)?;
    let initramfs = temporary.join("linux.cpio.zst");
    let vm = Vm {
        memory_mib: MEMORY,
        config: Some(initramfs.clone()),
        // Under TCG microvm has no clock that this kernel can measure the TSC with: it would wait for ever.
        command_line: format!("console=ttyS0 quiet panic=-1 tsc_early_khz={}", host_khz()),
        ..Vm::new(Machine::Microvm, &found.kernel)
    };
    Ok(Guest {
        name: String::from("Linux + nginx"),
        deployed: vec![found.kernel, initramfs],
        vm,
        machines: &[Machine::Microvm],
        link,
        path: "/healthz",
        boot_limit: BOOT_LIMIT,
        console: temporary.join("linux.console"),
    })
}

fn root(folder: &Path) -> PathBuf {
    folder.join("root")
}

/// What the guest is made of, on this machine.
struct Found {
    kernel: PathBuf,
    /// Where it goes, and what it is.
    files: Vec<(String, PathBuf)>,
}

fn find(folder: &Path, root: &Path) -> Result<Found, String> {
    let missing = |what: &str| format!("{what} is not among the packages in {}", folder.display());
    let boot = fs::read_dir(root.join("boot")).map_err(|_| missing("the kernel"))?;
    let version = boot.flatten().find_map(|file| file.file_name().to_str()?.strip_prefix("vmlinuz-").map(String::from));
    let version = version.ok_or_else(|| missing("the kernel"))?;
    let mut files = vec![
        (String::from("bin/busybox"), root.join("bin/busybox")),
        (String::from("sbin/nginx"), root.join("usr/sbin/nginx")),
        (String::from(LOADER), root.join("lib/x86_64-linux-gnu/ld-linux-x86-64.so.2")),
    ];
    for module in MODULES {
        let name = Path::new(module).file_name().unwrap_or_default().to_string_lossy();
        files.push((format!("modules/{name}"), root.join(format!("lib/modules/{version}/kernel/{module}"))));
    }
    for library in LIBRARIES {
        let places = ["lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu"];
        let place = places.iter().map(|place| root.join(place).join(library)).find(|path| path.exists());
        files.push((format!("lib/{library}"), place.ok_or_else(|| missing(library))?));
    }
    match files.iter().find(|(_, path)| !path.exists()) {
        Some((name, _)) => Err(missing(name)),
        None => Ok(Found { kernel: root.join(format!("boot/vmlinuz-{version}")), files }),
    }
}

/// The root file system as a cpio archive.
fn initramfs(found: &Found, link: &Link) -> Result<Vec<u8>, String> {
    let mut archive = Archive::default();
    for folder in [
        "bin",
        "sbin",
        "lib",
        "lib64",
        "modules",
        "dev",
        "proc",
        "sys",
        "run",
        "etc",
        "var",
        "var/lib",
        "var/lib/nginx",
    ] {
        archive.add(folder, FOLDER, &[]);
    }
    for (name, path) in &found.files {
        let bytes = fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
        archive.add(name, PROGRAM, &bytes);
    }
    let mut init = String::from("#!/bin/busybox sh\nb=/bin/busybox\n");
    for (what, place) in [("devtmpfs", "/dev"), ("proc", "/proc"), ("sysfs", "/sys")] {
        init += &format!("$b mount -t {what} {what} {place}\n");
    }
    for module in MODULES {
        init += &format!("$b insmod /modules/{}\n", module.rsplit('/').next().unwrap_or(module));
    }
    init += &format!("$b ifconfig lo 127.0.0.1 up\n$b ifconfig eth0 {} netmask 255.255.255.0 up\n", link.guest);
    init += "$b sysctl -qw net.core.somaxconn=1024 net.ipv4.tcp_max_syn_backlog=1024\n";
    init += "exec /sbin/nginx -e stderr -c /etc/nginx.conf\n";
    archive.add("init", PROGRAM, init.as_bytes());
    archive.add("etc/nginx.conf", FILE, NGINX_CONFIG.as_bytes());
    archive.add("etc/passwd", FILE, b"root:x:0:0:root:/:/bin/sh\n");
    archive.add("etc/group", FILE, b"root:x:0:\n");
    Ok(archive.finish())
}

/// File modes (inode(7)).
const FOLDER: u32 = 0o040_755;
const PROGRAM: u32 = 0o100_755;
const FILE: u32 = 0o100_644;

/// A cpio archive of the form "newc", which the kernel unpacks (Documentation/driver-api/early-userspace/buffer-format).
#[derive(Default)]
struct Archive {
    bytes: Vec<u8>,
    entries: u32,
}

impl Archive {
    fn add(&mut self, name: &str, mode: u32, content: &[u8]) {
        self.entries += 1;
        let length = |bytes: usize| u32::try_from(bytes).unwrap_or(u32::MAX);
        let links = if mode == FOLDER { 2 } else { 1 };
        // inode, mode, owner, group, links, time, size, device (4 fields), length of the name, no checksum
        let (size, name_size) = (length(content.len()), length(name.len() + 1));
        let fields = [self.entries, mode, 0, 0, links, 0, size, 0, 0, 0, 0, name_size, 0];
        self.bytes.extend(b"070701");
        self.bytes.extend(fields.iter().flat_map(|field| format!("{field:08X}").into_bytes()));
        self.bytes.extend(name.bytes().chain([0]));
        self.align();
        self.bytes.extend(content);
        self.align();
    }

    fn finish(mut self) -> Vec<u8> {
        self.add("TRAILER!!!", 0, &[]);
        self.bytes
    }

    /// Names and contents begin on multiples of four.
    fn align(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

/// The host's clock rate in kHz, which is what TCG shows the guest as TSC.
fn host_khz() -> u64 {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let line = cpu.lines().find(|line| line.starts_with("cpu MHz"));
    let mhz = line.and_then(|line| line.split_once(':')?.1.trim().parse::<f64>().ok());
    (mhz.unwrap_or(1000.0) * 1000.0) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_is_what_cpio_reads() {
        // The kernel skips an archive it does not understand and panics without a word about it.
        let mut archive = Archive::default();
        archive.add("a", FOLDER, &[]);
        archive.add("a/b", FILE, b"hello");
        let bytes = archive.finish();
        let text = String::from_utf8_lossy(&bytes);
        let entry = text.find("a/b\0").unwrap();
        assert_eq!(entry % 4, 110 % 4);
        let header = &text[entry - 110..entry];
        assert!(header.starts_with("07070100000002000081A4"), "{header}");
        assert_eq!((&header[54..62], &header[94..102]), ("00000005", "00000004"));
        assert_eq!(&text[(entry + 4).next_multiple_of(4)..][..8], "hello\0\0\0");
        assert!(text.trim_end_matches('\0').ends_with("TRAILER!!!"));
        assert_eq!(bytes.len() % 4, 0);
    }
}
