//! A machine that is measured: what it boots, where it answers, and what its QEMU uses.

use crate::client;
use crate::command::run;
use crate::namespace::Link;
use outpost_qemu::{Machine, Network, Vm};
use rustix::process::{Pid, Signal, kill_process};
use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The last bytes of a console that are quoted when a guest does not answer.
const QUOTED: usize = 600;

/// How long a clock tick lasts that /proc counts in: USER_HZ is 100 on every Linux for x86.
const TICK: Duration = Duration::from_millis(10);

/// A guest that answers GET on one address.
#[derive(Clone, Debug)]
pub struct Guest {
    /// How the table calls it.
    pub name: String,
    /// The files that are deployed to run it.
    pub deployed: Vec<PathBuf>,
    /// What is booted; its network is the link's tap.
    pub vm: Vm,
    /// The machines it is made for.
    pub machines: &'static [Machine],
    /// How it is reached.
    pub link: Link,
    /// The path of its health answer.
    pub path: &'static str,
    /// How long it may take to its first answer.
    pub boot_limit: Duration,
    /// Where its console goes.
    pub console: PathBuf,
}

impl Guest {
    /// Where it answers.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from((self.link.guest, 80))
    }

    /// The URL that load generators are given.
    pub fn url(&self) -> String {
        self.url_of(self.path)
    }

    /// The same of another path.
    pub fn url_of(&self, path: &str) -> String {
        format!("http://{}{path}", self.link.guest)
    }

    /// Starts it and waits for its first 200; how long that took from the start of QEMU.
    pub fn boot(&self) -> Result<(Process, Duration), String> {
        self.boot_with(|_| ())
    }

    /// The same with something changed about the machine.
    pub fn boot_with(&self, change: impl FnOnce(&mut Vm)) -> Result<(Process, Duration), String> {
        let mut vm = Vm { network: Network::Tap(self.link.tap.clone()), ..self.vm.clone() };
        change(&mut vm);
        self.link.introduce()?;
        let begin = Instant::now();
        let mut process = Process::start(&vm, &self.console)?;
        let answered =
            client::first_answer(self.address(), self.path, begin + self.boot_limit, || process.is_running());
        if !answered {
            let state = if process.is_running() { "runs and does not answer" } else { "ended by itself" };
            return Err(format!("{} {state}; its console ends: {}", self.name, self.console_tail()));
        }
        Ok((process, begin.elapsed()))
    }

    /// The sum of what is deployed, in bytes.
    pub fn deployed_bytes(&self) -> Result<u64, String> {
        let size = |path: &PathBuf| fs::metadata(path).map(|file| file.len()).map_err(|e| format!("{path:?}: {e}"));
        self.deployed.iter().map(size).sum()
    }

    fn console_tail(&self) -> String {
        let bytes = fs::read(&self.console).unwrap_or_default();
        let tail = bytes.get(bytes.len().saturating_sub(QUOTED)..).unwrap_or_default();
        let tail = String::from_utf8_lossy(tail);
        let lines: Vec<&str> = tail.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        if lines.is_empty() { String::from("(empty)") } else { lines.join(" / ") }
    }
}

/// A QEMU. Dropping it kills it.
pub struct Process {
    child: Child,
}

impl Process {
    /// Starts a machine with its console in a file.
    pub fn start(vm: &Vm, console: &PathBuf) -> Result<Process, String> {
        let mut command = vm.command().map_err(|error| error.to_string())?;
        Process::spawn(&mut command, console)
    }

    /// Starts any program that stays, with its output in a file.
    pub fn spawn(command: &mut Command, output: &PathBuf) -> Result<Process, String> {
        let name = command.get_program().to_string_lossy().into_owned();
        let failed = |error: std::io::Error| format!("{name} could not be started: {error}");
        let file = File::create(output).map_err(failed)?;
        command.stdin(Stdio::null()).stderr(file.try_clone().map_err(failed)?).stdout(file);
        Ok(Process { child: command.spawn().map_err(failed)? })
    }

    /// Whether it has not ended yet.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Its exit code, once it has ended by itself.
    pub fn wait(mut self, limit: Duration) -> Result<Option<i32>, String> {
        let deadline = Instant::now() + limit;
        // As often as the first answer is looked for, so that both have the same error.
        while self.is_running() {
            if Instant::now() >= deadline {
                return Err(format!("it did not end within {limit:?}"));
            }
            std::thread::sleep(client::LOOK);
        }
        self.child.wait().map(|status| status.code()).map_err(|error| error.to_string())
    }

    /// Stops it where it is until [`Process::go_on`]; what is sent to it meanwhile waits in the kernel.
    pub fn pause(&self) -> Result<(), String> {
        self.signal(Signal::STOP)
    }

    /// Lets it go on.
    pub fn go_on(&self) -> Result<(), String> {
        self.signal(Signal::CONT)
    }

    fn signal(&self, signal: Signal) -> Result<(), String> {
        kill_process(Pid::from_child(&self.child), signal)
            .map_err(|error| format!("a signal could not be sent: {error}"))
    }

    /// CPU time used so far, user and system, of all threads.
    pub fn cpu_time(&self) -> Result<Duration, String> {
        let threads = self.proc_file("task").and_then(|path| fs::read_dir(path).map_err(|error| error.to_string()))?;
        // In nanoseconds where the kernel keeps them, in ticks of 10 ms otherwise. QEMU's threads live as long as it.
        let precise: Option<u64> = threads.map(|thread| schedstat(&thread.ok()?.path())).sum();
        match precise {
            Some(nanoseconds) => Ok(Duration::from_nanos(nanoseconds)),
            None => {
                let stat =
                    self.proc_file("stat").and_then(|path| fs::read_to_string(path).map_err(|e| e.to_string()))?;
                ticks(&stat).map(|ticks| TICK * ticks).ok_or_else(|| format!("not understood: {stat}"))
            }
        }
    }

    /// Resident memory in KiB.
    pub fn resident_kib(&self) -> Result<u64, String> {
        let status = self.proc_file("status").and_then(|path| fs::read_to_string(path).map_err(|e| e.to_string()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        line.and_then(|line| line.split_whitespace().next()?.parse().ok()).ok_or_else(|| String::from("no VmRSS"))
    }

    fn proc_file(&self, name: &str) -> Result<PathBuf, String> {
        Ok(PathBuf::from(format!("/proc/{}/{name}", self.child.id())))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail only when it has ended already.
        let (_, _) = (self.child.kill(), self.child.wait());
    }
}

/// Nanoseconds on a CPU: the first field of a thread's `schedstat`.
fn schedstat(thread: &std::path::Path) -> Option<u64> {
    fs::read_to_string(thread.join("schedstat")).ok()?.split_whitespace().next()?.parse().ok()
}

/// utime + stime: fields 14 and 15 of proc(5)'s `stat`, counted behind the name, which may contain anything.
fn ticks(stat: &str) -> Option<u32> {
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    Some(fields.next()?.parse::<u32>().ok()? + fields.next()?.parse::<u32>().ok()?)
}

/// The version that a program states in its first line.
pub fn version(program: &str, argument: &str) -> String {
    // wrk says its version and fails.
    let output = Command::new(program).arg(argument).output();
    let text = output.map(|output| [output.stdout, output.stderr].concat()).unwrap_or_default();
    let text = String::from_utf8_lossy(&text).into_owned();
    text.lines().find(|line| !line.trim().is_empty()).map_or_else(|| format!("{program} unknown"), String::from)
}

/// What a short program prints, on one line; empty when it fails.
pub fn ask(program: &str, arguments: &[&str]) -> String {
    let answer = run(Command::new(program).args(arguments), Duration::from_secs(10));
    answer.unwrap_or_default().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_a_bracket_does_not_shift_the_fields() {
        // The second field is the program's name in brackets, and may contain both blanks and brackets.
        let stat = "7 (a) b) S 1 7 7 0 -1 4194304 100 0 0 0 31 11 0 0 20 0 3 0 9 1 1";
        assert_eq!(ticks(stat), Some(42));
        assert_eq!(ticks("nonsense"), None);
    }
}
