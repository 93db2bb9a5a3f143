//! How many records each second a receiver takes: our collector, beside rsyslog with the same records as syslog.
//!
//! Both get them by TCP from senders on this machine that send as fast as they are let. What "taken" means differs, as
//! the systems do: the collector acknowledges a record once it is durable, and a run ends with the last
//! acknowledgement; rsyslog acknowledges nothing, and a run ends when the last line is in its file, as far as the file
//! system's cache is concerned.

use super::bytes::named_opening;
use super::hour::{BEGIN_UNIX_US, Hour};
use super::receivers::messages;
use crate::guest::Process;
use crate::lab;
use outpost_wire::Record;
use outpost_wire::limits::{FRAME_MAX, RECORD_MAX};
use outpost_wire::session::{DataWriter, Message};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

/// Records of one run, for all senders together.
pub const RECORDS: usize = 32_000;

/// How long one run may take.
const LIMIT: Duration = Duration::from_secs(120);

/// How often rsyslog's file is looked at.
const LOOK: Duration = Duration::from_millis(5);

/// An hour in microseconds: by so much the reference hour is shifted when it is told again.
const HOUR_US: u64 = 3_600_000_000;

/// Places where Debian has rsyslogd, which is not in every user's PATH.
const RSYSLOGD: [&str; 2] = ["/usr/sbin/rsyslogd", "/sbin/rsyslogd"];

/// One run.
#[derive(Clone, Copy, Debug)]
pub struct Run {
    /// Records each second.
    pub per_second: f64,
    /// CPU time of the receiver for each, in microseconds.
    pub cpu_us: f64,
}

/// Something that takes records.
pub trait Receiver {
    /// Sends it so many records from this many senders, and waits until it has taken them.
    fn take(&mut self, senders: usize) -> Result<Run, String>;
}

/// Measures one run: what `send` does, until it returns.
fn measure(process: &Process, records: usize, send: impl FnOnce() -> Result<(), String>) -> Result<Run, String> {
    let (cpu, begin) = (process.cpu_time()?, Instant::now());
    send()?;
    let (took, cpu) = (begin.elapsed(), process.cpu_time()? - cpu);
    let records = records as f64;
    Ok(Run { per_second: records / took.as_secs_f64(), cpu_us: cpu.as_secs_f64() * 1e6 / records })
}

/// Runs one sender for each of `work` at the same time; the first problem that any of them had.
fn all<T: Sync>(work: &[T], send: impl Fn(&T) -> Result<(), String> + Sync) -> Result<(), String> {
    thread::scope(|scope| {
        let senders: Vec<_> = work.iter().map(|work| scope.spawn(|| send(work))).collect();
        let ends = senders.into_iter().map(|sender| sender.join().unwrap_or(Err(String::from("a sender panicked"))));
        ends.collect::<Result<Vec<()>, _>>().map(drop)
    })
}

/// `outpost collect`.
pub struct Collector<'h> {
    process: Process,
    address: SocketAddr,
    hour: &'h Hour,
    /// Boots told of so far: each is another.
    boots: u64,
}

impl<'h> Collector<'h> {
    /// Starts it with an empty store in this folder.
    pub fn start(folder: &Path, hour: &'h Hour) -> Result<Collector<'h>, String> {
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()?));
        let process = lab::collector(folder, "throughput", address, &[])?;
        Ok(Collector { process, address, hour, boots: 0 })
    }
}

impl Receiver for Collector<'_> {
    fn take(&mut self, senders: usize) -> Result<Run, String> {
        let each = RECORDS / senders;
        let frames = told_again(self.hour, each);
        let sessions: Vec<Vec<u8>> = (0..senders)
            .map(|sender| {
                self.boots += 1;
                named_opening(&format!("agent-{sender}"), self.boots, each)
            })
            .collect();
        let address = self.address;
        measure(&self.process, each * senders, || {
            all(&sessions, |opening| session(address, opening, &frames, each as u64))
        })
    }
}

/// One session, until everything is acknowledged.
fn session(address: SocketAddr, opening: &[u8], frames: &[u8], last: u64) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("the collector's session broke: {error}");
    let mut stream = TcpStream::connect(address).map_err(failed)?;
    stream.set_nodelay(true).map_err(failed)?;
    stream.set_read_timeout(Some(LIMIT)).map_err(failed)?;
    stream.write_all(opening).map_err(failed)?;
    let mut sender = Some(stream.try_clone().map_err(failed)?);
    let mut inbox = Vec::new();
    thread::scope(|scope| {
        loop {
            let mut chunk = [0; 4096];
            let count = stream.read(&mut chunk).map_err(failed)?;
            inbox.extend_from_slice(chunk.get(..count).unwrap_or_default());
            while let Ok(Some((message, taken))) = Message::decode(&inbox) {
                match message {
                    Message::Welcome(_) => {
                        let sender = sender.take();
                        scope.spawn(|| sender.map(|mut stream| stream.write_all(frames)));
                    }
                    Message::Ack(ack) if ack.seq >= last => return Ok(()),
                    Message::Bye(bye) => return Err(format!("the collector ended the session: {:?}", bye.reason)),
                    _ => {}
                }
                inbox.drain(..taken);
            }
            if count == 0 {
                return Err(String::from("the collector closed the session"));
            }
        }
    })
}

/// The records of the hour, told again and again as one boot, in full frames.
fn told_again(hour: &Hour, records: usize) -> Vec<u8> {
    let once = || hour.boots.iter().flat_map(|boot| boot.records().map(|r| (boot.unix_us - BEGIN_UNIX_US, r)));
    let again = (0..).flat_map(|turn| once().map(move |(begin, record)| (turn * HOUR_US + begin, record)));
    let mut bodies = (1..).zip(again).take(records).filter_map(|(seq, (shift, record))| {
        let mut body = [0; RECORD_MAX];
        let len = Record { mono_us: record.mono_us + shift, ..record }.encode_body(&mut body)?;
        Some((seq, body, len))
    });
    let (mut frames, mut next) = (Vec::new(), bodies.next());
    while let Some((first, ..)) = next {
        let mut frame = [0; FRAME_MAX];
        let Some(mut writer) = DataWriter::new(&mut frame, 0, first) else { break };
        while let Some((seq, body, len)) = &next
            && writer.push(*seq, &body[..*len])
        {
            next = bodies.next();
        }
        let Some(len) = writer.finish() else { break };
        frames.extend_from_slice(&frame[..len]);
    }
    frames
}

/// rsyslog with a configuration of its own.
pub struct Rsyslog {
    process: Process,
    port: u16,
    out: PathBuf,
    /// What is sent, one reference hour of it.
    stream: Vec<u8>,
}

impl Rsyslog {
    /// The program, where it is installed.
    pub fn program() -> Result<PathBuf, String> {
        let places = RSYSLOGD.map(PathBuf::from);
        places.into_iter().find(|path| path.exists()).ok_or_else(|| String::from("rsyslogd is not installed"))
    }

    /// Starts it; `stream` is what its senders send again and again. `synced`: it syncs its file after each batch.
    pub fn start(folder: &Path, stream: &[u8], synced: bool) -> Result<Rsyslog, String> {
        let port = free_port()?;
        let name = if synced { "rsyslog-synced" } else { "rsyslog" };
        let (out, configuration) = (folder.join(format!("{name}.log")), folder.join(format!("{name}.conf")));
        let sync = if synced { " sync=\"on\"" } else { "" };
        let text = format!(
            "global(workDirectory=\"{}\")\n\
             module(load=\"imtcp\" maxSessions=\"500\")\n\
             input(type=\"imtcp\" address=\"127.0.0.1\" port=\"{port}\")\n\
             action(type=\"omfile\" file=\"{}\" template=\"RSYSLOG_SyslogProtocol23Format\"{sync})\n",
            folder.display(),
            out.display()
        );
        std::fs::write(&configuration, text).map_err(|error| format!("{}: {error}", configuration.display()))?;
        let mut command = Command::new(Rsyslog::program()?);
        command.arg("-n").arg("-f").arg(&configuration).arg("-i").arg(folder.join(format!("{name}.pid")));
        let mut process = Process::spawn(&mut command, &folder.join(format!("{name}.out")))?;
        let deadline = Instant::now() + LIMIT;
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            if Instant::now() >= deadline || !process.is_running() {
                return Err(format!("rsyslogd does not listen; see {name}.out in {}", folder.display()));
            }
            thread::sleep(LOOK);
        }
        Ok(Rsyslog { process, port, out, stream: stream.to_vec() })
    }
}

impl Receiver for Rsyslog {
    fn take(&mut self, senders: usize) -> Result<Run, String> {
        let each = RECORDS / senders;
        let mut stream = Vec::new();
        for message in messages(&self.stream).collect::<Vec<_>>().iter().cycle().take(each) {
            // Writing into memory does not fail.
            let _ = write!(stream, "{} ", message.len());
            stream.extend_from_slice(message);
        }
        let mut lines = Lines::after(&self.out)?;
        let port = self.port;
        measure(&self.process, each * senders, || {
            all(&vec![(); senders], |()| {
                let failed = |error: std::io::Error| format!("rsyslog's connection broke: {error}");
                let mut connection = TcpStream::connect(("127.0.0.1", port)).map_err(failed)?;
                connection.write_all(&stream).and_then(|()| connection.shutdown(Shutdown::Write)).map_err(failed)
            })?;
            lines.wait_for(each * senders)
        })
    }
}

/// The lines that come into a file.
struct Lines {
    path: PathBuf,
    at: u64,
}

impl Lines {
    /// Those after what the file holds now.
    fn after(path: &Path) -> Result<Lines, String> {
        let at = std::fs::metadata(path).map_or(0, |file| file.len());
        Ok(Lines { path: path.to_owned(), at })
    }

    fn wait_for(&mut self, count: usize) -> Result<(), String> {
        let failed = |error: std::io::Error| format!("rsyslog's file cannot be read: {error}");
        let (mut found, mut chunk) = (0, vec![0; 1 << 20]);
        let deadline = Instant::now() + LIMIT;
        while found < count {
            if Instant::now() >= deadline {
                return Err(format!("rsyslog wrote {found} of {count} lines within {LIMIT:?}"));
            }
            let read = match File::open(&self.path) {
                Ok(mut file) => {
                    file.seek(SeekFrom::Start(self.at)).and_then(|_| file.read(&mut chunk)).map_err(failed)?
                }
                Err(_) => 0,
            };
            found += chunk.iter().take(read).filter(|byte| **byte == b'\n').count();
            self.at += read as u64;
            if read == 0 {
                thread::sleep(LOOK);
            }
        }
        Ok(())
    }
}

/// A port of the loopback that nobody has now.
fn free_port() -> Result<u16, String> {
    let listener = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    listener.map(|address| address.port()).map_err(|error| format!("no free port: {error}"))
}
