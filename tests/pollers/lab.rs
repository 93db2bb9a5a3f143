//! A laboratory: a network namespace of its own with guests on taps, and the real programs that ask them.
//!
//! Everything in it ends with the test: the namespace with its taps, the guests, the programs. A test that fails shows
//! the console of its guests.

use crate::answer::{Answer, Body, take_answer};
use crate::image::image;
use crate::namespace::{find, in_a_namespace};
use outpost_qemu::{Link, Machine, Running, Vm};
use serde_json::{Value, json};
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use std::{fs, thread};
use tempfile::TempDir;

/// How long anything may take that takes milliseconds on a quiet machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// How long one of the programs may run, in seconds; each is told to be done much earlier.
const PROGRAM_LIMIT: &str = "90";

/// How often something without a notification is looked at.
const LOOK: Duration = Duration::from_millis(20);

/// How long a client of ours waits for one answer.
const ANSWER: Duration = Duration::from_secs(10);

/// Runs a test in a laboratory, or says why it cannot. `programs` are those that scripts/setup installs.
pub fn lab(name: &str, programs: &[&str], test: impl FnOnce(&Lab) + Send + 'static) {
    in_a_namespace(name, programs, || test(&Lab { folder: tempfile::tempdir().unwrap() }));
}

/// A namespace, and a folder for what is in it.
pub struct Lab {
    folder: TempDir,
}

impl Lab {
    /// The laboratory's folder.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Writes a file into it.
    pub fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder().join(name);
        fs::write(&path, text).unwrap();
        path
    }

    /// Boots a guest that is healthy, on the tap with this number.
    pub fn boot(&self, number: u8) -> Guest {
        self.boot_with(number, json!({}))
    }

    /// Boots a guest that says that it is not ready.
    pub fn boot_in_maintenance(&self, number: u8) -> Guest {
        self.boot_with(number, json!({ "http": { "maintenance": true } }))
    }

    /// Boots a guest with this beside the network in its configuration.
    pub fn boot_with(&self, number: u8, mut config: Value) -> Guest {
        let link = Link::make(number).unwrap();
        link.introduce().unwrap();
        config["name"] = json!(format!("guest{number}"));
        config["network"] = link.config();
        let config = self.file(&format!("guest{number}.json"), &config.to_string());
        let vm = Vm { config: Some(config), network: link.network(), ..Vm::new(Machine::Microvm, image()) };
        let mut running = vm.start().unwrap_or_else(|error| panic!("{error}"));
        // A SYN that comes before is lost, and the next one is sent a second later.
        running.wait_for("network.up", PATIENCE).unwrap_or_else(|error| panic!("{error}"));
        let guest = Guest { running, link };
        wait(|| guest.get("/livez").map(drop));
        guest
    }

    /// Starts a program that stays until the test is over; what it says is in the folder, in a file with its name.
    pub fn start(&self, program: &str, arguments: &[&str]) -> Daemon {
        let log = fs::File::create(self.folder().join(program)).unwrap();
        let mut command = Command::new(find(program).unwrap());
        command.args(arguments).current_dir(self.folder()).stdin(Stdio::null());
        Daemon(command.stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap())
    }
}

/// A program that stays. Dropping it kills it.
pub struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        let (_, _) = (self.0.kill(), self.0.wait());
    }
}

/// What a program did that ended by itself.
#[derive(Debug)]
pub struct Ran {
    /// Its exit code; 124 when it had to be ended.
    pub code: i32,
    /// What it wrote, on both outputs.
    pub said: String,
}

/// Runs a program to its end.
pub fn run(program: &str, arguments: &[&str]) -> Ran {
    run_with(program, arguments, b"")
}

/// Runs a program to its end, with this on its standard input.
pub fn run_with(program: &str, arguments: &[&str], input: &[u8]) -> Ran {
    let mut command = Command::new("timeout");
    command.arg(PROGRAM_LIMIT).arg(find(program).unwrap_or_else(|| PathBuf::from(program))).args(arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // Who wants no input may have ended by now.
    let _ = child.stdin.take().unwrap().write_all(input);
    let output = child.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    Ran { code: output.status.code().unwrap_or(-1), said: String::from_utf8_lossy(&said).into_owned() }
}

/// Waits until something is so; until then it says what is not.
pub fn wait(mut is_so: impl FnMut() -> Result<(), String>) {
    let deadline = Instant::now() + PATIENCE;
    while let Err(problem) = is_so() {
        assert!(Instant::now() < deadline, "after {PATIENCE:?}: {problem}");
        thread::sleep(LOOK);
    }
}

/// The next answer on a connection; `bytes` is what of it has come already, and then what has come beyond it.
pub fn read_answer(stream: &mut TcpStream, bytes: &mut Vec<u8>, body: Body) -> Result<Answer, String> {
    let mut chunk = [0; 4096];
    loop {
        if let Some(answer) = take_answer(bytes, body)? {
            return Ok(answer);
        }
        match stream.read(&mut chunk) {
            Ok(0) => return Err(format!("closed after {:?}", String::from_utf8_lossy(bytes))),
            Ok(len) => bytes.extend_from_slice(&chunk[..len]),
            Err(error) => return Err(format!("{error} after {:?}", String::from_utf8_lossy(bytes))),
        }
    }
}

/// A guest that runs.
pub struct Guest {
    running: Running,
    /// Its tap.
    pub link: Link,
}

impl Guest {
    /// Where its HTTP port is.
    pub fn http(&self) -> SocketAddrV4 {
        SocketAddrV4::new(self.link.guest, 80)
    }

    /// A connection to it.
    pub fn connect(&self) -> io::Result<TcpStream> {
        let stream = TcpStream::connect_timeout(&SocketAddr::V4(self.http()), ANSWER)?;
        stream.set_read_timeout(Some(ANSWER))?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    /// The answer to a GET over a connection of its own, which we close: it leaves nothing behind in the guest.
    pub fn get(&self, path: &str) -> Result<Answer, String> {
        self.get_with(path, "")
    }

    /// The answer to a GET with these header lines.
    pub fn get_with(&self, path: &str, fields: &str) -> Result<Answer, String> {
        let mut stream = self.connect().map_err(|error| error.to_string())?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
        stream.write_all(request.as_bytes()).map_err(|error| error.to_string())?;
        read_answer(&mut stream, &mut Vec::new(), Body::Any)
    }

    /// `/status`.
    pub fn status(&self) -> Value {
        let answer = self.get("/status").unwrap();
        assert_eq!(answer.status, 200);
        serde_json::from_slice(&answer.body).unwrap()
    }

    /// Waits until there is no connection but the one that asks. What the guest closed is in TIME-WAIT for ten seconds.
    pub fn wait_for_no_connections(&self) {
        wait(|| {
            let connections = &self.status()["connections"];
            let none = connections["open"] == 1 && connections["half_open"] == 0;
            if none { Ok(()) } else { Err(format!("not only ours is left: {connections}")) }
        });
    }

    /// Ends it as a power failure does.
    pub fn kill(mut self) -> Ipv4Addr {
        self.running.kill();
        self.link.guest
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("--- the console of {}\n{}\n---", self.link.guest, self.running.serial().tail());
        }
    }
}
