//! A machine that runs: its console, its monitor, its end.

use crate::serial::Waited;
use crate::{Error, Forward, Network, PROGRAM, Qmp, Serial, Vm};
use std::io;
use std::net::{SocketAddrV4, TcpListener};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// How long QEMU may take until its monitor answers: seconds on a loaded host.
const START_TIMEOUT: Duration = Duration::from_secs(30);

/// How often something without a notification is looked at.
const POLL: Duration = Duration::from_millis(5);

/// How long the pipes of a QEMU that has ended may take to say so.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// How often another free port is tried when somebody else took the one we had found.
const PORT_ATTEMPTS: usize = 5;

/// What QEMU says when it could not bind a forwarded port.
const PORT_TAKEN: &str = "Could not set up host forwarding rule";

/// A guest under QEMU. Dropping it kills QEMU.
pub struct Running {
    child: Child,
    serial: Serial,
    stderr: Serial,
    qmp: Qmp,
    forwards: Vec<Forward>,
    /// Holds the monitor's socket as long as QEMU runs.
    _folder: TempDir,
}

impl Running {
    pub(crate) fn start(vm: &Vm) -> Result<Running, Error> {
        let wanted = match &vm.network {
            Network::User(forwards) => forwards.as_slice(),
            Network::Silent | Network::Tap(_) => &[],
        };
        let any_port = wanted.iter().any(|forward| forward.host.port() == 0);
        for _ in 1..PORT_ATTEMPTS {
            match Running::start_once(vm, choose_ports(wanted)?) {
                Err(Error::Ended { stderr, .. }) if any_port && stderr.contains(PORT_TAKEN) => {}
                result => return result,
            }
        }
        Running::start_once(vm, choose_ports(wanted)?)
    }

    fn start_once(vm: &Vm, forwards: Vec<Forward>) -> Result<Running, Error> {
        let deadline = Instant::now() + START_TIMEOUT;
        let folder = tempfile::Builder::new().prefix("outpost-").tempdir().map_err(Error::Start)?;
        let socket = folder.path().join("qmp");
        let mut command = Command::new(PROGRAM);
        command.args(vm.arguments(&forwards, Some(&socket))?);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        if vm.shielded {
            command.process_group(0);
        }
        let mut child = command.spawn().map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => Error::NotInstalled,
            _ => Error::Start(error),
        })?;
        let (Some(stdout), Some(stderr)) = (child.stdout.take(), child.stderr.take()) else {
            return Err(Error::Start(io::Error::other("its output could not be read")));
        };
        let (serial, stderr) = (Serial::read(stdout), Serial::read(stderr));
        loop {
            if let Some(qmp) = Qmp::connect(&socket) {
                let mut running = Running { child, serial, stderr, qmp, forwards, _folder: folder };
                return match running.qmp.negotiate() {
                    Ok(()) => Ok(running),
                    // QEMU opens its monitor before it looks at all of its arguments.
                    Err(error) => Err(running.ended_soon().unwrap_or(error)),
                };
            }
            if let Ok(Some(status)) = child.try_wait() {
                return Err(ended(Some(status), &serial, &stderr));
            }
            if Instant::now() >= deadline {
                let (_, _) = (child.kill(), child.wait());
                let what = String::from("QEMU's monitor");
                return Err(Error::Timeout { what, waited: START_TIMEOUT, console: serial.tail() });
            }
            thread::sleep(POLL);
        }
    }

    /// The guest's serial console.
    pub fn serial(&self) -> &Serial {
        &self.serial
    }

    /// QEMU's monitor.
    pub fn qmp(&mut self) -> &mut Qmp {
        &mut self.qmp
    }

    /// QEMU's process id.
    pub fn process_id(&self) -> u32 {
        self.child.id()
    }

    /// The host's end of the forward to this port of the guest.
    pub fn forwarded(&self, guest_port: u16) -> Option<SocketAddrV4> {
        self.forwards.iter().find(|forward| forward.guest_port == guest_port).map(|forward| forward.host)
    }

    /// Waits until the guest's console has said `text`.
    pub fn wait_for(&mut self, text: &str, timeout: Duration) -> Result<(), Error> {
        match self.serial.wait_for(text, Instant::now() + timeout) {
            Waited::Seen => Ok(()),
            Waited::Ended => Err(self.ended_soon().unwrap_or_else(|| ended(None, &self.serial, &self.stderr))),
            Waited::TimedOut => Err(self.timeout(format!("`{text}` on the serial console"), timeout)),
        }
    }

    /// Waits until QEMU has ended by itself.
    pub fn wait_exit(&mut self, timeout: Duration) -> Result<ExitStatus, Error> {
        let deadline = Instant::now() + timeout;
        loop {
            if let Some(status) = self.child.try_wait().map_err(Error::Start)? {
                // The console is complete once the pipes have been read to their end.
                self.serial.wait_end(Instant::now() + LAST_WORDS);
                return Ok(status);
            }
            if Instant::now() >= deadline {
                return Err(self.timeout(String::from("QEMU's end"), timeout));
            }
            thread::sleep(POLL);
        }
    }

    /// Why the machine is not running any more; `None` while it is.
    pub fn ended(&mut self) -> Option<Error> {
        match self.child.try_wait() {
            Ok(None) => None,
            Ok(status) => Some(ended(status, &self.serial, &self.stderr)),
            Err(error) => Some(Error::Start(error)),
        }
    }

    /// Kills QEMU and waits for its end.
    pub fn kill(&mut self) {
        // Both fail only when it has ended already.
        let (_, _) = (self.child.kill(), self.child.wait());
    }

    fn ended_soon(&mut self) -> Option<Error> {
        let deadline = Instant::now() + LAST_WORDS;
        while Instant::now() < deadline {
            if let Some(error) = self.ended() {
                return Some(error);
            }
            thread::sleep(POLL);
        }
        None
    }

    fn timeout(&self, what: String, waited: Duration) -> Error {
        Error::Timeout { what, waited, console: self.serial.tail() }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}

fn ended(status: Option<ExitStatus>, serial: &Serial, stderr: &Serial) -> Error {
    let deadline = Instant::now() + LAST_WORDS;
    serial.wait_end(deadline);
    stderr.wait_end(deadline);
    Error::Ended { status, stderr: stderr.tail(), console: serial.tail() }
}

/// Gives each forward that wants any port a free one: the kernel names it and we let go of it for QEMU.
fn choose_ports(wanted: &[Forward]) -> Result<Vec<Forward>, Error> {
    let mut held = Vec::new();
    let mut chosen = Vec::new();
    for forward in wanted {
        let mut forward = *forward;
        if forward.host.port() == 0 {
            let listener = TcpListener::bind(forward.host).map_err(Error::Start)?;
            forward.host.set_port(listener.local_addr().map_err(Error::Start)?.port());
            held.push(listener);
        }
        chosen.push(forward);
    }
    Ok(chosen)
}
