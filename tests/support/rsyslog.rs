//! The real rsyslog, on a port of loopback, with a configuration, files and a pid of its own.

use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long it may take to listen.
const PATIENCE: Duration = Duration::from_secs(60);

/// What it writes of each message. For a time that is not known it would have its own.
const TEMPLATE: &str =
    "%syslogfacility-text%.%syslogseverity-text%|%hostname%|%app-name%|%procid%|%msgid%|%structured-data%|%msg%\\n";

/// A running rsyslog; killed when it is dropped.
pub struct Rsyslog {
    program: PathBuf,
    child: Child,
    directory: PathBuf,
    port: u16,
}

impl Rsyslog {
    /// Where it is installed, if it is.
    pub fn program() -> Option<PathBuf> {
        let places = ["/usr/sbin/rsyslogd", "/sbin/rsyslogd", "/usr/local/sbin/rsyslogd"];
        places.into_iter().map(PathBuf::from).find(|path| path.exists())
    }

    /// Starts it on this port, with its files in this folder.
    pub fn start(program: &Path, directory: &Path, port: u16) -> Rsyslog {
        let shown = directory.display();
        let configuration = format!(
            "global(workDirectory=\"{shown}\")\n\
             module(load=\"imtcp\")\n\
             input(type=\"imtcp\" address=\"127.0.0.1\" port=\"{port}\")\n\
             template(name=\"line\" type=\"string\" string=\"{TEMPLATE}\")\n\
             action(type=\"omfile\" file=\"{shown}/out\" template=\"line\")\n"
        );
        std::fs::write(directory.join("rsyslog.conf"), configuration).unwrap();
        let child = Command::new(program)
            .arg("-n")
            .arg("-f")
            .arg(directory.join("rsyslog.conf"))
            .arg("-i")
            .arg(directory.join("pid"))
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let rsyslog = Rsyslog { program: program.to_owned(), child, directory: directory.to_owned(), port };
        let deadline = Instant::now() + PATIENCE;
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < deadline, "rsyslog does not listen on port {port}");
            std::thread::sleep(Duration::from_millis(10));
        }
        rsyslog
    }

    /// SIGSTOP: it reads no more, and its connections stay.
    pub fn stop(&self) {
        assert!(Command::new("kill").args(["-STOP", &self.child.id().to_string()]).status().unwrap().success());
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        // A pid file that a dead process left keeps rsyslog from starting when the pid was given again.
        let _ = std::fs::remove_file(self.directory.join("pid"));
    }

    /// SIGKILL, and a new one on the same port.
    pub fn kill_and_restart(&mut self) {
        self.kill();
        *self = Rsyslog::start(&self.program.clone(), &self.directory.clone(), self.port);
    }

    /// What it wrote down.
    pub fn out(&self) -> String {
        let bytes = std::fs::read(self.directory.join("out")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Every uid that was written down. A kill can cut a line; what is cut has no closing quote.
    pub fn uids(&self) -> Vec<String> {
        let out = self.out();
        let of = |part: &str| part.split_once('"').map(|(uid, _)| uid.to_owned());
        out.split("[outpost@32473 uid=\"").skip(1).filter_map(of).collect()
    }
}

impl Drop for Rsyslog {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
