//! A host of its own for libvirt: namespaces of network, mounts and processes, with a real libvirtd as root has it.
//!
//! libvirt keeps what it knows in fixed places of the system. Here these are empty file systems that only this host sees,
//! so that nothing of the machine's own libvirt is touched, shipped files work with the paths that stand in them, and
//! nothing is left: with the host's first process the kernel ends all the others.

use crate::image::image;
use crate::support::{Why, left_out};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use std::{fs, thread};
use tempfile::TempDir;

/// How long anything may take that takes a second on a quiet machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// How long one program may run, in seconds.
const PROGRAM_LIMIT: &str = "90";

/// How often something without a notification is looked at.
const LOOK: Duration = Duration::from_millis(100);

/// Where shipped domains look for images and configurations, and where libvirt's consoles go.
pub const IMAGES: &str = "/var/lib/libvirt/images";
pub const CONSOLES: &str = "/var/log/libvirt/qemu";

/// Debian's libvirt-daemon-system makes this user; that package would also exchange systemd.
const SETUP: &str = r#"
set -e
mount --make-rprivate /
for place in /etc/libvirt /run /var/lib /var/log /var/cache; do mount -t tmpfs tmpfs $place; done
mkdir -p /run/lock /run/haproxy /var/lib/libvirt/images /var/log/libvirt/qemu
cp /etc/passwd /etc/group /run
grep -q ^libvirt-qemu: /run/passwd || echo libvirt-qemu:x:64055:64055::/nonexistent:/bin/false >>/run/passwd
grep -q ^libvirt-qemu: /run/group || echo libvirt-qemu:x:64055: >>/run/group
mount --bind /run/passwd /etc/passwd
mount --bind /run/group /etc/group
# A /dev/kvm that is there and does not work makes libvirt ask QEMU anew what it can at every step, for half a minute each.
touch /run/no-kvm
chmod 0 /run/no-kvm
[ ! -e /dev/kvm ] || mount --bind /run/no-kvm /dev/kvm
ip link set lo up
echo ready
# It stays, and waits for whoever lost their parent: libvirt takes a zombie for a process that does not end.
sleep 600 &
wait
"#;

/// No cgroups and no /dev of a guest's own: they belong to the machine. Everything else is as it comes.
const QEMU_CONF: &str = "security_driver = \"none\"\ncgroup_controllers = []\nnamespaces = []\n";

/// libvirt's default network as every host has it, but for NAT, which there is nowhere to.
const NETWORK: &str = "<network><name>default</name><forward mode='open'/><bridge name='virbr0' stp='off'/>\
    <ip address='192.168.122.1' netmask='255.255.255.0'><dhcp><range start='192.168.122.2' end='192.168.122.254'/></dhcp>\
    </ip></network>";

/// What it needs, all of it installed by scripts/setup.
const PROGRAMS: &[&str] =
    &["libvirtd", "virtlogd", "virsh", "virt-xml-validate", "dnsmasq", "socat", "haproxy", "curl"];

/// Runs a test on a host with libvirt, or says why it cannot.
pub fn host(name: &str, test: impl FnOnce(&Host)) {
    if !nix::unistd::geteuid().is_root() {
        return left_out(Why::NotHere, name, "a private libvirtd in namespaces of its own needs root");
    }
    if let Some(missing) = PROGRAMS.iter().find(|program| find(program).is_none()) {
        return left_out(Why::Skipped, name, &format!("{missing} is not installed: scripts/setup test"));
    }
    test(&Host::start());
}

/// A file of this checkout.
pub fn beside(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

/// Where a program is.
pub fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]);
    folders.map(|folder| folder.join(program)).find(|path| path.is_file())
}

/// What a program did.
#[derive(Debug)]
pub struct Ran {
    /// Its exit code; 124 when it had to be ended.
    pub code: i32,
    /// What it wrote, on both outputs.
    pub said: String,
}

/// The host. Dropping it ends everything on it.
pub struct Host {
    first: Child,
    folder: TempDir,
}

impl Host {
    fn start() -> Host {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new("unshare");
        command.args(["--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", SETUP]);
        let mut first = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let mut said = String::new();
        BufReader::new(first.stdout.take().unwrap()).read_line(&mut said).unwrap();
        let host = Host { first, folder };
        assert_eq!(said, "ready\n", "the namespaces could not be made");
        host.write("/etc/libvirt/qemu.conf", QEMU_CONF);
        host.write("/etc/libvirt/libvirtd.conf", "auth_unix_rw = \"none\"\n");
        host.start_program("virtlogd", &[]);
        host.wait(|| host.run("test", &["-S", "/run/libvirt/virtlogd-sock"]));
        host.start_program("libvirtd", &[]);
        host.wait(|| host.run("virsh", &["version"]));
        host.write("/run/network.xml", NETWORK);
        host.ok("virsh", &["net-define", "/run/network.xml"]);
        host.ok("virsh", &["net-start", "default"]);
        host.ok("cp", &[&image().display().to_string(), &format!("{IMAGES}/outpost.elf")]);
        host
    }

    /// A program on this host.
    fn command(&self, program: &str, arguments: &[&str]) -> Command {
        let of = |namespace: &str| format!("--{}=/proc/{}/ns/{}", namespace, self.first.id(), namespace);
        let mut command = Command::new("nsenter");
        command.args([of("mount").replace("/mount", "/mnt"), of("net"), of("pid") + "_for_children"]);
        command.arg(find(program).unwrap_or_else(|| PathBuf::from(program))).args(arguments).stdin(Stdio::null());
        command
    }

    /// A folder outside of it that both sides see.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Starts a program that stays; what it says is in the folder, in a file with its name.
    pub fn start_program(&self, program: &str, arguments: &[&str]) {
        let name = Path::new(program).file_name().unwrap();
        let log = fs::File::create(self.folder().join(name)).unwrap();
        let mut command = self.command(program, arguments);
        // Not waited for: it ends with the host, whose first process the kernel lets nothing survive.
        drop(command.stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap());
    }

    /// Runs a program to its end.
    pub fn run(&self, program: &str, arguments: &[&str]) -> Ran {
        let output =
            self.command("timeout", &[&["--kill-after", "5", PROGRAM_LIMIT, program], arguments].concat()).output();
        let output = output.unwrap();
        let said = [output.stdout, output.stderr].concat();
        Ran { code: output.status.code().unwrap_or(-1), said: String::from_utf8_lossy(&said).into_owned() }
    }

    /// Runs a program that must not fail; what it said.
    pub fn ok(&self, program: &str, arguments: &[&str]) -> String {
        let ran = self.run(program, arguments);
        assert_eq!(ran.code, 0, "{program} {arguments:?}: {}{}", ran.said, self.consoles());
        ran.said
    }

    /// Writes a file that only this host has.
    pub fn write(&self, path: &str, text: &str) {
        let outside = self.folder().join("file");
        fs::write(&outside, text).unwrap();
        self.ok("cp", &[&outside.display().to_string(), path]);
    }

    /// Waits until a command succeeds; what it said.
    pub fn wait(&self, mut attempt: impl FnMut() -> Ran) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let ran = attempt();
            if ran.code == 0 {
                return ran.said;
            }
            assert!(Instant::now() < deadline, "after {PATIENCE:?}: {ran:?}{}", self.consoles());
            thread::sleep(LOOK);
        }
    }

    /// Waits until a command says something of this kind.
    pub fn wait_until(&self, program: &str, arguments: &[&str], is_so: impl Fn(&str) -> bool) -> String {
        self.wait(|| {
            let ran = self.run(program, arguments);
            Ran { code: if ran.code == 0 && is_so(&ran.said) { 0 } else { 1 }, ..ran }
        })
    }

    /// Defines a domain of `deploy/libvirt/` after these changes; without KVM, which this machine may not have.
    pub fn define(&self, file: &str, changes: &[(&str, &str)]) {
        let mut domain = fs::read_to_string(beside("deploy/libvirt").join(file)).unwrap();
        for (from, to) in [("<domain type='kvm'>", "<domain type='qemu'>")].iter().chain(changes) {
            assert!(domain.contains(from), "{file} has no {from}");
            domain = domain.replace(from, to);
        }
        self.write("/run/domain.xml", &domain);
        self.ok("virsh", &["define", "--validate", "/run/domain.xml"]);
    }

    /// The address that libvirt's DHCP server has given to a domain.
    pub fn address(&self, domain: &str) -> String {
        let said =
            self.wait_until("virsh", &["--quiet", "domifaddr", domain, "--source", "lease"], |said| said.contains('/'));
        let address = said.split_whitespace().find_map(|word| word.split_once('/')).unwrap().0;
        String::from(address)
    }

    /// The answer to a GET, with its status as the last line.
    pub fn get(&self, url: &str) -> Ran {
        self.run("curl", &["--silent", "--show-error", "--max-time", "5", "--write-out", "\n%{http_code}\n", url])
    }

    /// Waits until a GET is answered with 200; the answer.
    pub fn get_ok(&self, url: &str) -> String {
        let answer = self.wait(|| {
            let ran = self.get(url);
            Ran { code: if ran.said.ends_with("\n200\n") { 0 } else { 1 }, ..ran }
        });
        String::from(answer.trim_end_matches("\n200\n"))
    }

    /// What a domain's console has said since it was defined.
    pub fn console(&self, domain: &str) -> String {
        self.run("cat", &[&format!("{CONSOLES}/{domain}-console.log")]).said
    }

    /// For whoever looks for the cause: the end of every console, and what libvirt complains of.
    fn consoles(&self) -> String {
        let said = self.run("sh", &["-c", "tail -n 20 /var/log/libvirt/qemu/*.log"]).said;
        let daemon = fs::read_to_string(self.folder().join("libvirtd")).unwrap_or_default();
        let last: Vec<_> = daemon.lines().filter(|line| !line.contains("ethtool")).collect();
        format!("\n{said}\nlibvirtd:\n{}", last.join("\n"))
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let (_, _) = (self.first.kill(), self.first.wait());
    }
}
