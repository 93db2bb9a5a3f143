//! Outpost as it is measured: the image of dist/ with a static address, and its collector.

use crate::command::run;
use crate::guest::{Guest, Process};
use crate::namespace::Link;
use outpost_qemu::{Machine, Vm};
use serde_json::{Value, json};
use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

/// The checkout, as it was when this was built.
pub const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// The collector's usual port.
pub const COLLECTOR_PORT: u16 = 7600;

/// How long Outpost may take to its first answer.
const BOOT_LIMIT: Duration = Duration::from_secs(10);

/// How long a collector may take until it listens.
const LISTEN_LIMIT: Duration = Duration::from_secs(10);

/// How long a file system in memory may take to be there.
const MOUNT_LIMIT: Duration = Duration::from_secs(10);

/// How often it is looked for.
const LOOK: Duration = Duration::from_millis(20);

/// The image.
pub fn image() -> PathBuf {
    Path::new(ROOT).join("dist/outpost.elf")
}

/// The image with a table of fewer connections, as the Makefile builds it before it builds the one above.
pub fn small_pool_image() -> PathBuf {
    Path::new(ROOT).join("target/bench-small-pool.elf")
}

/// The image with its symbols.
pub fn debug_image() -> PathBuf {
    Path::new(ROOT).join("dist/outpost.debug.elf")
}

/// The source of the counting plugin.
pub fn plugin() -> PathBuf {
    Path::new(ROOT).join("bench/plugin/count.c")
}

/// The configuration of an Outpost at this end of a link that tells its records to this collector.
pub fn config(link: &Link, collector: SocketAddr) -> Value {
    let network = json!({ "static": { "address": format!("{}/{}", link.guest, Link::PREFIX), "gateway": link.host } });
    json!({ "name": "outpost-bench", "network": network, "collector": { "address": collector } })
}

/// A guest with this configuration, whose files are in `folder` under this name.
pub fn guest(folder: &Path, name: &str, config: &Value, link: Link) -> Result<Guest, String> {
    let vm = Vm { config: Some(write_config(folder, name, config)?), ..Vm::new(Machine::Microvm, image()) };
    Ok(Guest {
        name: String::from("Outpost"),
        deployed: vec![image()],
        vm,
        machines: &[Machine::Microvm, Machine::Q35],
        link,
        path: "/livez",
        boot_limit: BOOT_LIMIT,
        console: folder.join(format!("{name}.console")),
    })
}

/// Writes a configuration document.
pub fn write_config(folder: &Path, name: &str, config: &Value) -> Result<PathBuf, String> {
    let path = folder.join(format!("{name}.json"));
    fs::write(&path, config.to_string()).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(path)
}

/// A folder in memory, for a collector's store where disks are not what is measured: on a busy disk a record is on its
/// way to the store for half a second instead of a fiftieth, and what the agent does meanwhile costs more. It is gone with
/// our namespaces.
pub fn memory(folder: &Path) -> Result<PathBuf, String> {
    let memory = folder.join("memory");
    fs::create_dir_all(&memory).map_err(|error| format!("{}: {error}", memory.display()))?;
    run(Command::new("mount").args(["-t", "tmpfs", "tmpfs"]).arg(&memory), MOUNT_LIMIT)?;
    Ok(memory)
}

/// `outpost collect` in a process of its own, listening; its store is `NAME.db` in `folder`.
pub fn collector(folder: &Path, name: &str, listen: SocketAddr, more: &[&str]) -> Result<Process, String> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?.with_file_name("outpost");
    let mut collect = Command::new(program);
    collect.args(["collect", "--insecure", "--json", "--listen", &listen.to_string(), "--store"]);
    collect.arg(store(folder, name)).args(more);
    let mut process = Process::spawn(&mut collect, &folder.join(format!("{name}.out")))?;
    let deadline = Instant::now() + LISTEN_LIMIT;
    while TcpStream::connect(listen).is_err() {
        if Instant::now() >= deadline || !process.is_running() {
            return Err(format!("the collector does not listen on {listen}; see {name}.out in {}", folder.display()));
        }
        thread::sleep(LOOK);
    }
    Ok(process)
}

/// The store of the collector with this name.
pub fn store(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("{name}.db"))
}
