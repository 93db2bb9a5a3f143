//! The event catalogue: the one home of every event.
//!
//! Ids are for ever and fields only grow at the end, as [`Later`](crate::Later) ones once their event was released; a
//! committed lock file holds both (see the tests). The doc comment of an event is its published meaning, `action` is
//! what an operator does about it.

use crate::event::{EventDoc, EventSpec, FieldSpec, Lane, events};
use crate::value::words;
use crate::{Field, Ip4, NameId, Severity, Text, limits};

words! {
    /// How an HTTP request's method reads.
    Method {
        /// GET
        Get = 0 "GET",
        /// HEAD
        Head = 1 "HEAD",
        /// OPTIONS
        Options = 2 "OPTIONS",
        /// Any other; it was refused.
        Unsupported = 3 "unsupported",
        /// POST
        Post = 4 "POST",
    }
}

words! {
    /// Where the configuration came from; where there are several sources, the last of them in this order.
    ConfigSource {
        /// None was given; defaults are in force.
        Default = 0 "default",
        /// The first PVH module (`-initrd config.json`).
        Module = 1 "module",
        /// The file `opt/outpost/config` of QEMU's fw_cfg device.
        FwCfg = 2 "fw_cfg",
        /// Words `outpost.key=value` of the kernel command line.
        CommandLine = 3 "command_line",
        /// The file `outpost/config.json` of the EFI system partition that the machine was booted from.
        Esp = 4 "esp",
    }
}

words! {
    /// Why the network stopped being usable.
    DownReason {
        /// The machine has no network card that Outpost can drive.
        NoNic = 0 "no_nic",
        /// The card reports no link.
        NoLink = 1 "no_link",
        /// The address is gone: the lease ran out or was withdrawn.
        NoAddress = 2 "no_address",
    }
}

words! {
    /// Why the session to the collector, or the connection to a syslog server, ended or did not come up.
    SessionEnd {
        /// No connection within the deadline.
        ConnectTimeout = 0 "connect_timeout",
        /// The other end closed or reset the connection.
        Closed = 1 "closed",
        /// Nothing came from the other end for too long.
        Silent = 2 "silent",
        /// What came is not the session protocol, or not in this state.
        Protocol = 3 "protocol",
        /// The other end refused us, for a reason that this version does not know.
        Refused = 4 "refused",
        /// Our own network went away.
        NetworkDown = 5 "network_down",
        /// Connection refused: nothing listens at the address.
        ConnectRefused = 6 "connect_refused",
        /// The other end did not prove that it knows our key: another key or name, or bytes changed on their way.
        NotAuthenticated = 7 "not_authenticated",
        /// A key is configured, but our own randomness can be guessed: no keyed session is opened.
        WeakEntropy = 8 "weak_entropy",
        /// The collector refused us: it speaks another version.
        RefusedVersion = 9 "refused_version",
        /// The collector refused us: it requires a key, and we have none.
        RefusedKey = 10 "refused_key",
        /// The collector refused us: it cannot store, its disk is full or failing.
        RefusedStorage = 11 "refused_storage",
        /// The collector refused us: it is shutting down.
        RefusedShutdown = 12 "refused_shutdown",
        /// The collector refused us: what we sent breaks the protocol.
        RefusedProtocol = 13 "refused_protocol",
    }
}

words! {
    /// What a probe is known by.
    ProbeClass {
        /// A path that only attacks ask for.
        AttackPath = 0 "attack_path",
        /// A path with `..` in it, written out or encoded.
        Traversal = 1 "traversal",
        /// Bytes that are no HTTP request.
        Malformed = 2 "malformed",
        /// The first bytes of a TLS handshake.
        Tls = 3 "tls",
        /// One client asked for one unknown path after the other.
        UnknownPaths = 4 "unknown_paths",
        /// One client wanted more connections than `http.connections_per_source` allows.
        OverShare = 5 "over_share",
    }
}

words! {
    /// Why an answer of a time server is not believed.
    ClockRefusal {
        /// It is no SNTP answer of version 3 or 4.
        Malformed = 0 "malformed",
        /// It does not answer what was asked: late, or forged.
        Origin = 1 "origin",
        /// The server is not synchronised itself.
        Unsynchronised = 2 "unsynchronised",
        /// Its times make no sense.
        Times = 3 "times",
        /// The server is too far from a reference clock.
        Distance = 4 "distance",
        /// The server asked to be asked less often.
        Rate = 5 "rate",
        /// The server refuses us for good.
        Denied = 6 "denied",
    }
}

words! {
    /// Why the lookup of a host name failed.
    DnsFailure {
        /// No DNS server answered.
        Timeout = 0 "timeout",
        /// The name is not there (NXDOMAIN).
        NoSuchName = 1 "no_such_name",
        /// The name is there and has no IPv4 address that a machine can have.
        NoAddress = 2 "no_address",
        /// The DNS server could not find out (SERVFAIL and the like).
        ServerFailure = 3 "server_failure",
        /// The DNS server does not answer us (REFUSED).
        Refused = 4 "refused",
        /// The answer does not fit a packet of 512 bytes.
        Truncated = 5 "truncated",
        /// The answer makes no sense.
        Malformed = 6 "malformed",
        /// Neither the configuration nor DHCP names a DNS server.
        NoServer = 7 "no_server",
    }
}

words! {
    /// Why the agent ends in an orderly way.
    ShutdownCause {
        /// The machine's power button.
        PowerButton = 0 "power_button",
    }
}

words! {
    /// How a boot ended, as far as the next one can know.
    EndCause {
        /// Nothing says how: its last words did not survive.
        Unknown = 0 "unknown",
        /// In an orderly way.
        Shutdown = 1 "shutdown",
        /// By a failed assertion of the image.
        Panic = 2 "panic",
        /// By a processor exception.
        Fault = 3 "fault",
        /// The watchdog reset a machine that no longer turned.
        Watchdog = 4 "watchdog",
        /// Without a word: the reset button, a triple fault, or the VMM.
        Reset = 5 "reset",
        /// Not at all: the machine was stopped and goes on under another boot id, perhaps as a copy.
        Resumed = 6 "resumed",
    }
}

words! {
    /// By what the machine noticed that it had stood still.
    ResumeSign {
        /// Its own wall clock jumped against its monotonic one.
        WallClock = 0 "wall_clock",
        /// The VMM gave it another generation id: it was restored from a snapshot, or is a copy.
        Generation = 1 "generation",
    }
}

words! {
    /// Where the random seed came from.
    EntropySource {
        /// Nothing better than timing: connections can be guessed, keyed sessions are refused.
        Weak = 0 "weak",
        /// The processor's RDSEED or RDRAND.
        Cpu = 1 "cpu",
        /// A virtio-rng device.
        Virtio = 2 "virtio",
    }
}

words! {
    /// What a probe of a target found.
    ProbeReason {
        /// The target did as it should.
        Ok = 0 "ok",
        /// We had no network: it says nothing of the target.
        NoNetwork = 1 "no_network",
        /// Its name has no address.
        Dns = 2 "dns",
        /// Connection refused: nothing listens there.
        Refused = 3 "refused",
        /// The connection did not come about in time.
        TimeoutConnect = 4 "timeout_connect",
        /// The answer did not come in time.
        TimeoutResponse = 5 "timeout_response",
        /// The target closed the connection before it had answered.
        Closed = 6 "closed",
        /// What came is no HTTP answer, or ends before its end.
        Malformed = 7 "malformed",
        /// Another status than those that are good.
        Status = 8 "status",
        /// The text that must stand in the body does not.
        Body = 9 "body",
        /// The server's first words are not those expected.
        Banner = 10 "banner",
        /// A right answer that took too long.
        Slow = 11 "slow",
        /// It leads elsewhere, further than its check allows.
        Redirect = 12 "redirect",
        /// A router or the target itself says that it cannot be reached (ICMP).
        Unreachable = 13 "unreachable",
        /// The DNS server answers, but not what is expected.
        Answer = 14 "answer",
        /// The TLS handshake failed.
        Tls = 15 "tls",
        /// The server speaks no TLS 1.3.
        TlsVersion = 16 "tls_version",
        /// The certificate is not the one that is pinned, or does not prove itself.
        Certificate = 17 "certificate",
        /// The certificate is not valid any more, or not yet.
        Expired = 18 "expired",
        /// The time server is further from our clock than its check allows.
        Offset = 19 "offset",
        /// The time server is not synchronised, or further from a reference clock than its check allows.
        Stratum = 20 "stratum",
        /// No heartbeat came in time.
        Late = 21 "late",
        /// Who sends the heartbeats says that it failed.
        Reported = 22 "reported",
        /// Our own clock is not good enough to judge by: it says nothing of the target.
        NoClock = 23 "no_clock",
    }
}

words! {
    /// Why a content bundle is not used.
    ContentReason {
        /// It is no content bundle, or lies about what is in it.
        Malformed = 0 "malformed",
        /// It is longer than the image has room for.
        TooLong = 1 "too_long",
        /// It is of a version that this image does not know.
        Version = 2 "version",
        /// It ends before its end, or goes on behind it.
        Truncated = 3 "truncated",
        /// It was changed after it was made.
        Digest = 4 "digest",
    }
}

words! {
    /// How bad an incident is for customers.
    IncidentImpact {
        /// Nobody notices.
        None = 0 "none",
        /// Something is slow, or fails now and then.
        Minor = 1 "minor",
        /// Something does not work.
        Major = 2 "major",
        /// Nothing works.
        Critical = 3 "critical",
    }
}

words! {
    /// How far those who work on an incident are.
    IncidentStatus {
        /// What is wrong is looked for.
        Investigating = 0 "investigating",
        /// The cause is known.
        Identified = 1 "identified",
        /// It is repaired, and watched.
        Monitoring = 2 "monitoring",
        /// It is over.
        Resolved = 3 "resolved",
        /// It is over, and it is told what happened and why.
        Postmortem = 4 "postmortem",
        /// The document does not have it any more; it was never said that it is over.
        Withdrawn = 5 "withdrawn",
    }
}

words! {
    /// Why no new document of incidents and maintenances was taken.
    IncidentRefusal {
        /// The name of the server has no address, or there is no network.
        NoAddress = 0 "no_address",
        /// The connection did not come about.
        Connect = 1 "connect",
        /// The server did not send all of it in time.
        Timeout = 2 "timeout",
        /// The server answers with another status than 200; redirects are not followed.
        Status = 3 "status",
        /// What came is no HTTP answer, or ends before its end.
        Http = 4 "http",
        /// It is longer than a document may be.
        TooLarge = 5 "too_large",
        /// It does not begin with the line of the signature.
        Envelope = 6 "envelope",
        /// The signature is not one of the configured key for these bytes.
        Signature = 7 "signature",
        /// The document breaks a rule: `outpost incident verify` says which.
        Document = 8 "document",
        /// Its revision is older than the one that is shown, or than `incidents.min_revision`.
        Older = 9 "older",
        /// Another document with the same revision.
        SameRevision = 10 "same_revision",
        /// It is not valid any more.
        Expired = 11 "expired",
    }
}

events! {
    /// The agent has started and this is its first record.
    1 BootStarted<'a> = "boot.started", Vital, INFO, since "0.1.0",
    action "Nothing to do; several within a minute mean a crash loop: look for panic before them."
    {
        /// Version of the image.
        version: Text<'a, 24>,
        /// Git revision of the image, or `unknown`.
        revision: Text<'a, 16>,
        /// The machine as it was found (VMM and board).
        machine: Text<'a, 40>,
        /// RAM of the machine in bytes.
        memory_bytes: u64,
        /// Where the random seed came from.
        entropy: EntropySource,
        /// Where the configuration came from.
        config: ConfigSource,
        /// From the entry of the image to this record, in microseconds.
        boot_us: u64,
    }

    /// A text was given an id; records after this one name it by that id.
    2 Intern<'a> = "intern", Vital, DEBUG, since "0.1.0",
    action "Nothing to do; decoders use it."
    {
        /// The id, from 1.
        id: NameId,
        /// The text.
        text: Text<'a, { limits::INTERN_TEXT_MAX }>,
    }

    /// The network is usable: there is a link and an address.
    3 NetworkUp = "network.up", Vital, INFO, since "0.1.0",
    action "Nothing to do."
    {
        /// Our address.
        address: Ip4,
        /// Its prefix length in bits.
        prefix: u8,
        /// The gateway, or 0.0.0.0.
        gateway: Ip4,
    }

    /// The network is not usable.
    4 NetworkDown = "network.down", Vital, ERROR, since "0.1.0",
    action "Check the VM's network card and its bridge; the reason says which part is missing."
    {
        /// Which part is missing.
        reason: DownReason,
    }

    /// A DHCP server gave us a lease.
    5 DhcpBound = "dhcp.bound", Vital, INFO, since "0.1.0",
    action "Nothing to do."
    {
        /// The address leased.
        address: Ip4,
        /// Its prefix length in bits.
        prefix: u8,
        /// The server that gave it.
        server: Ip4,
        /// The router it named, or 0.0.0.0.
        router: Ip4,
        /// How many DNS servers it named.
        dns_servers: u8,
        /// From the start of the search to the lease, in milliseconds.
        waited_ms: u32,
    }

    /// The DHCP lease is gone: it expired or the server withdrew it.
    6 DhcpLost = "dhcp.lost", Vital, WARN, since "0.1.0",
    action "Check the DHCP server; the agent goes on asking."
    {
        /// The address that was leased.
        address: Ip4,
    }

    /// No DHCP server has answered so far.
    7 DhcpTimeout = "dhcp.timeout", Vital, WARN, since "0.1.0",
    action "Check that a DHCP server serves this network, or configure a static address."
    {
        /// How long the agent has been asking, in seconds.
        waited_s: u32,
    }

    /// An HTTP request was answered. The first per route and status in each second is recorded; the others are counted in http.requests.
    8 HttpRequest = "http.request", Bulk, INFO, since "0.1.0",
    action "Nothing to do."
    {
        /// Its method.
        method: Method,
        /// The route that answered.
        route: NameId,
        /// The status answered.
        status: u16,
        /// The client's address.
        client: Ip4,
        /// From the poll that saw the request's first byte to the poll that answered it, in microseconds; 0 when it was one.
        duration_us: u32,
    }

    /// Requests that were answered but not recorded one by one, since the last such record for this route and status.
    9 HttpRequests = "http.requests", Bulk, INFO, since "0.1.0",
    action "Nothing to do."
    {
        /// The route that answered.
        route: NameId,
        /// The status answered.
        status: u16,
        /// How many.
        count: u32,
    }

    /// The collector accepted our session.
    10 CollectorConnected = "collector.connected", Vital, INFO, since "0.1.0",
    action "Nothing to do."
    {
        /// Its address.
        address: Ip4,
        /// Its port.
        port: u16,
        /// The first record of this boot it does not hold yet.
        resume_seq: u64,
        /// Whether the session is authenticated and encrypted.
        keyed: bool,
    }

    /// The session to the collector ended, or could not be opened; records are kept and sent later.
    11 CollectorLost = "collector.lost", Vital, WARN, since "0.1.0",
    action "Check that the collector runs and that nothing blocks its port; the reason says how it ended. refused_storage: make room on the collector's disk, or let it keep less with --keep or --max-size. refused_key: give the agent its collector.key. refused_version: update the collector before its agents."
    {
        /// Its address.
        address: Ip4,
        /// Its port.
        port: u16,
        /// How it ended.
        reason: SessionEnd,
        /// Attempts that failed since the last such record.
        attempts: u32,
    }

    /// The image hit a fault or a failed assertion and resets.
    12 Panic<'a> = "panic", Vital, FATAL, since "0.1.0",
    action "Report it with this record; the next boot sends what this one could not."
    {
        /// What went wrong.
        message: Text<'a, 96>,
        /// Source file and line, or the exception's name.
        location: Text<'a, 48>,
        /// Instruction pointer, or 0.
        rip: u64,
        /// Where it was called from, innermost first: up to 8 addresses, each as its low 4 bytes in network order (the
        /// high ones are ffffffff), then zeros. `outpost symbolize` names them.
        backtrace: [u8; 32],
    }

    /// The agent ends in an orderly way; this is the last record of the boot.
    13 Shutdown = "shutdown", Vital, INFO, since "0.1.0",
    action "Nothing to do if you asked for it."
    {
        /// Who asked for it.
        cause: ShutdownCause,
        /// How long the agent had been up, in seconds.
        uptime_s: u64,
    }

    /// A library inside the image logged a line.
    14 DependencyLog<'a> = "dependency.log", Bulk, INFO, since "0.1.0",
    action "Read it; report it if it names an error."
    {
        /// Its level as the library gave it: 1 error, 2 warn, 3 info.
        level: u8,
        /// The library's module.
        target: Text<'a, 40>,
        /// The line, cut where it is too long.
        text: Text<'a, 120>,
    }

    /// The configuration has an error; defaults are in force for what could not be read.
    15 ConfigInvalid<'a> = "config.invalid", Vital, ERROR, since "0.1.0",
    action "Run `outpost check` on the document, mend it and boot again."
    {
        /// Where: the JSON pointer.
        pointer: Text<'a, 64>,
        /// What is wrong and what is allowed.
        problem: Text<'a, 130>,
        /// How many errors there are in all.
        errors: u16,
    }

    /// Records of one event were held back by its volume rule.
    16 Suppressed = "suppressed", Vital, NOTICE, since "0.1.0",
    action "Look at what causes so many of them; the metric has the totals."
    {
        /// The event's id.
        event: u16,
        /// How many records were not emitted.
        count: u32,
        /// Monotonic time of the first, in microseconds.
        from_us: u64,
        /// Monotonic time of the last, in microseconds.
        to_us: u64,
    }

    /// An HTTP request could not be understood or was refused before it reached a route.
    17 HttpRejected = "http.rejected", Bulk, NOTICE, since "0.1.0",
    action "One is a broken client; many are a scan: see /metrics for the classes."
    {
        /// The status answered.
        status: u16,
        /// The client's address.
        client: Ip4,
    }

    /// Connections were closed to make room for newer ones.
    18 HttpRecycled = "http.recycled", Bulk, WARN, since "0.1.0",
    action "More clients than the connection limit: look for one that holds many."
    {
        /// How many half-open ones since the last such record.
        half_open: u32,
        /// How many idle ones since the last such record.
        idle: u32,
        /// How many new connections were refused since the last such record.
        refused: u32,
    }

    /// A transaction was given an id from outside: its records join the caller's.
    19 TransactionBound<'a> = "transaction.bound", Bulk, INFO, since "0.1.0",
    action "Nothing to do; `outpost logs --transaction ID` finds the transaction by either id."
    {
        /// W3C trace id (Trace Context, section 3.2.2.3), or zeros.
        trace_id: [u8; 16],
        /// The caller's span, or zeros.
        parent_id: [u8; 8],
        /// What X-Request-ID said, or empty.
        request_id: Text<'a, 64>,
    }

    /// What UTC was at the monotonic time of this record: from it every record of the boot gets its UTC.
    20 ClockSync = "clock.sync", Vital, INFO, since "0.1.0",
    action "Nothing to do; a large step means that the clock was wrong until now."
    {
        /// Microseconds since 1970-01-01 UTC.
        unix_us: u64,
        /// How far off that may be, in microseconds.
        error_us: u32,
        /// Stratum of the server, 1 to 15.
        stratum: u8,
        /// The server.
        server: Ip4,
        /// By how much this differs from what was believed before, in microseconds; 0 at the first.
        step_us: u64,
        /// Whether UTC went back by that.
        backwards: bool,
    }

    /// No time server has been believed for too long: UTC is carried on with a growing error, or still unknown.
    21 ClockLost = "clock.lost", Vital, WARN, since "0.1.0",
    action "Check that the time servers answer (UDP port 123) and are synchronised."
    {
        /// How many servers are asked.
        servers: u8,
        /// For how long none was believed, in seconds.
        silent_s: u32,
    }

    /// An answer of a time server was not believed.
    22 ClockRejected = "clock.rejected", Bulk, WARN, since "0.1.0",
    action "Check that server; many with reason origin mean that somebody forges answers."
    {
        /// The server.
        server: Ip4,
        /// Why.
        reason: ClockRefusal,
    }

    /// The log region holds an earlier boot: how it ended, and what of its records was saved.
    23 BootPreviousEnded = "boot.previous_ended", Vital, WARN, since "0.1.0",
    action "Unless you reset it: read the last records of that boot, `outpost symbolize` names the addresses of a panic."
    {
        /// How it ended.
        cause: EndCause,
        /// Its last record, a panic's own included.
        last_seq: u64,
        /// Records that the collector did not have yet, and that are sent now.
        salvaged: u64,
        /// Places in the region where a record was found damaged.
        torn: u32,
        /// Its id.
        boot_id: [u8; 8],
        /// How long it had been up, in seconds.
        uptime_s: u32,
        /// How many boots in a row, this one included, did not end in an orderly way.
        abnormal_ends: u32,
        /// Whether this boot is in safe mode because of that: network, HTTP and log only.
        safe_mode: bool,
    }

    /// Load made on purpose: the configuration asks for it.
    24 DrillRecord = "drill.record", Bulk, DEBUG, since "0.1.0",
    action "Take `drill` out of the configuration when the drill is over."
    {
        /// How many the drill has made, this one included.
        number: u64,
    }

    /// Another machine says that it has our address: some clients reach it instead of us.
    25 NetworkConflict = "network.conflict", Vital, WARN, since "0.1.0",
    action "Find the machine by its MAC and give one of the two another address."
    {
        /// The address.
        address: Ip4,
        /// The other machine's MAC.
        mac: [u8; 6],
        /// How often it said so since the last such record.
        claims: u32,
    }

    /// The connection to the syslog server is open. It is the next hop only: nothing that it takes counts as delivered.
    26 SinkConnected = "sink.connected", Vital, INFO, since "0.1.0",
    action "Nothing to do; configure a collector where no record may go missing unnoticed."
    {
        /// Its address.
        address: Ip4,
        /// Its port.
        port: u16,
    }

    /// The connection to the syslog server ended, or could not be opened; records that its TCP did not take are sent later.
    27 SinkLost = "sink.lost", Vital, WARN, since "0.1.0",
    action "Check that the syslog server runs and that nothing blocks its port; the reason says how it ended."
    {
        /// Its address.
        address: Ip4,
        /// Its port.
        port: u16,
        /// How it ended.
        reason: SessionEnd,
        /// Attempts that failed since the last such record.
        attempts: u32,
    }

    /// Requests or connections of a kind that scans and attacks are made of; they were answered or refused as always.
    28 HttpProbed = "http.probed", Bulk, NOTICE, since "0.1.0",
    action "On a public address this is everyday noise. Look at the client if it is one of yours, or if the count grows."
    {
        /// What they are known by.
        class: ProbeClass,
        /// How many since the last such record of this class.
        count: u32,
        /// Who sent the last one.
        client: Ip4,
    }

    /// A host name of the configuration has an address: the first one, another one, or one again after a failure.
    29 DnsResolved<'a> = "dns.resolved", Vital, INFO, since "0.1.0",
    action "Nothing to do; look into the zone if you did not move the host. A session that is open stays where it is."
    {
        /// The name, cut where it is too long.
        name: Text<'a, 128>,
        /// Its first address: the one that is tried first.
        address: Ip4,
        /// The one before, or 0.0.0.0.
        before: Ip4,
        /// How many addresses it has, at most 4.
        addresses: u8,
        /// For how long they are good, in seconds, within the agent's own bounds.
        ttl_s: u32,
        /// The DNS server that gave them.
        server: Ip4,
    }

    /// A host name of the configuration could not be looked up; its last good address stays in use. Told once, then every 10 minutes.
    30 DnsFailed<'a> = "dns.failed", Vital, WARN, since "0.1.0",
    action "Check the DNS servers that /debug/net names, and the zone; the reason says which of them."
    {
        /// The name, cut where it is too long.
        name: Text<'a, 128>,
        /// Why.
        reason: DnsFailure,
        /// The address that stays in use, or 0.0.0.0 when there never was one.
        kept: Ip4,
        /// Lookups that failed since one did not.
        failures: u32,
    }

    /// The machine had stood still and goes on: it was paused, restored from a snapshot, or is a copy. Where it may be
    /// a copy it has begun a new boot, for two machines must not go on under one boot id.
    31 MachineResumed = "machine.resumed", Vital, WARN, since "0.1.0",
    action "Expected after a snapshot, a migration or a pause of the VM; else ask who operates the host."
    {
        /// By what that was noticed.
        sign: ResumeSign,
        /// By how much wall time jumped against monotonic time, in microseconds; 0 where the machine has no wall clock.
        jump_us: u64,
        /// Whether wall time went back by that.
        backwards: bool,
        /// The boot id until then.
        old_boot: [u8; 8],
        /// The boot id from then on: the same one when the VMM says that this is no copy.
        new_boot: [u8; 8],
    }

    /// A probe of a target was bad. What is believed of the target may still be otherwise.
    32 ProbeFailed = "probe.failed", Bulk, WARN, since "0.1.0",
    action "One is noise; target.down tells when they are too many."
    {
        /// The check's name.
        check: NameId,
        /// What was wrong.
        reason: ProbeReason,
        /// The status that was answered, or 0.
        status: u16,
        /// From the start of the probe to its end, in microseconds.
        took_us: u32,
        /// The address that was probed, or 0.0.0.0.
        address: Ip4,
    }

    /// A target is up: as many probes in a row as its check asks for were good.
    33 TargetUp = "target.up", Vital, NOTICE, since "0.1.0",
    action "Nothing to do."
    {
        /// The check's name.
        check: NameId,
        /// For how long it had been down, in seconds; 0 when nothing was known of it.
        down_s: u32,
        /// From the start of the last probe to its end, in microseconds.
        took_us: u32,
        /// Whether a maintenance of it is under way: nobody is to be woken.
        maintenance: bool,
    }

    /// A target is down: as many probes in a row as its check asks for were bad.
    34 TargetDown = "target.down", Vital, ERROR, since "0.1.0",
    action "Follow the check's runbook; its owner and what it means for customers stand beside it on the status page."
    {
        /// The check's name.
        check: NameId,
        /// What was wrong with the last probe.
        reason: ProbeReason,
        /// The status that was answered, or 0.
        status: u16,
        /// For how long it had been up, in seconds; 0 when nothing was known of it.
        up_s: u32,
        /// The address that was probed, or 0.0.0.0.
        address: Ip4,
        /// Whether a maintenance of it is under way: nobody is to be woken.
        maintenance: bool,
    }

    /// The runbooks and contacts that came along are served.
    35 ContentLoaded = "content.loaded", Vital, INFO, since "0.1.0",
    action "Nothing to do, unless missing is not 0: then write those runbooks, `outpost check --content` names them."
    {
        /// Runbooks in the bundle.
        runbooks: u16,
        /// Checks whose runbook is not among them.
        missing: u16,
        /// Length of the bundle in bytes.
        bytes: u32,
        /// How its SHA-256 begins.
        digest: [u8; 8],
    }

    /// A content bundle came along and is not used: there are no runbooks.
    36 ContentRefused = "content.refused", Vital, WARN, since "0.1.0",
    action "Build it again with `outpost content build`; `outpost content show` says what the image will make of it."
    {
        /// What is wrong with it.
        reason: ContentReason,
    }

    /// What the configuration says about a target: once in each boot, before its first probe.
    37 TargetWatched<'a> = "target.watched", Vital, INFO, since "0.1.0",
    action "Nothing to do; what tells of the target later takes owner, impact and runbook from here."
    {
        /// The check's name.
        check: NameId,
        /// Who looks after it, cut where it is too long.
        owner: Text<'a, 40>,
        /// What it means for customers when it is down.
        impact: Text<'a, 128>,
        /// The anchor of its runbook.
        runbook: Text<'a, 32>,
    }

    /// A drill is configured: every record of this boot is of an exercise.
    38 DrillStarted = "drill.started", Vital, NOTICE, since "0.1.0",
    action "Take `drill` out of the configuration when the drill is over."
    {
        /// Seconds after which the image panics, or 0.
        panic_after_s: u16,
        /// Seconds after which the image stands still, or 0.
        hang_after_s: u16,
        /// drill.record events in each second.
        records_per_s: u16,
    }

    /// How a check's day is so far, told every hour, and once more when the day is over: what its history consists of.
    39 CheckDay = "check.day", Bulk, INFO, since "0.1.0",
    action "Nothing to do: the days of the status page can be made from these again."
    {
        /// The check's name.
        check: NameId,
        /// The day, counted from 1970-01-01 UTC.
        day: u32,
        /// Probes that were good.
        good: u32,
        /// Probes that were bad; those that could not be made for want of a network count as neither.
        bad: u32,
    }

    /// The day is known, and with it which days of the checks are left of earlier boots.
    40 HistoryKept = "history.kept", Vital, INFO, since "0.1.0",
    action "Nothing to do; 0 after a cold start, for memory forgets."
    {
        /// Days with data, of all checks.
        days: u16,
    }

    /// Days of the checks were not what had been written: they count as days without data.
    41 HistoryDamaged = "history.damaged", Vital, WARN, since "0.1.0",
    action "Suspect the host's memory when the machine was reset without a new image; else nothing to do."
    {
        /// How many.
        days: u16,
    }

    /// Nobody answers any more, neither the targets nor who else there is: it is the agent that is cut off. Until it has rejoined,
    /// silence changes nothing that is believed of the targets.
    42 AgentIsolated = "agent.isolated", Vital, WARN, since "0.1.0",
    action "Look at the agent's own way out: its cable, switch, gateway and firewall. What it shows of its targets is old."
    {
        /// For how long nobody had said anything, in seconds.
        quiet_s: u32,
        /// Targets that were tried.
        targets: u8,
        /// There is a gateway, and it is silent.
        gateway: bool,
        /// There is a collector, and it is silent.
        collector: bool,
    }

    /// Somebody answers again.
    43 AgentRejoined = "agent.rejoined", Vital, INFO, since "0.1.0",
    action "None. What happened to the targets meanwhile, nobody saw from here."
    {
        /// For how long the agent was isolated, in seconds.
        isolated_s: u32,
    }

    /// There is news of an incident: it is new, has another update, or is not in the document any more.
    44 IncidentChanged<'a> = "incident.changed", Vital, NOTICE, since "0.1.0",
    action "Read the update on the status page."
    {
        /// Its id in the document.
        incident: Text<'a, { limits::INCIDENT_ID_MAX }>,
        /// Its title.
        title: Text<'a, { limits::INCIDENT_TITLE_MAX }>,
        /// How far those who work on it are.
        status: IncidentStatus,
        /// How bad it is.
        impact: IncidentImpact,
        /// When this was said, in seconds since 1970-01-01 UTC.
        posted_unix_s: u64,
        /// When more is to be said, alike; 0: nothing was promised.
        next_update_unix_s: u64,
    }

    /// An incident is open and the update that was promised did not come.
    45 IncidentOverdue<'a> = "incident.overdue", Vital, WARN, since "0.1.0",
    action "Say how things are now, even when nothing is new: outpost incident update."
    {
        /// Its id in the document.
        incident: Text<'a, { limits::INCIDENT_ID_MAX }>,
        /// Its title.
        title: Text<'a, { limits::INCIDENT_TITLE_MAX }>,
        /// When the update was due, in seconds since 1970-01-01 UTC.
        due_unix_s: u64,
    }

    /// A maintenance has begun: until it ends, target.down and target.up of its targets say so.
    46 MaintenanceStarted<'a> = "maintenance.started", Vital, NOTICE, since "0.1.0",
    action "Nothing to do: the agent goes on probing, notifications are held."
    {
        /// Its id in the document.
        maintenance: Text<'a, { limits::INCIDENT_ID_MAX }>,
        /// Its title.
        title: Text<'a, { limits::INCIDENT_TITLE_MAX }>,
        /// When it ends, in seconds since 1970-01-01 UTC.
        ends_unix_s: u64,
    }

    /// A maintenance is over, or is not in the document any more.
    47 MaintenanceEnded<'a> = "maintenance.ended", Vital, NOTICE, since "0.1.0",
    action "A target that is still down is an incident now."
    {
        /// Its id in the document.
        maintenance: Text<'a, { limits::INCIDENT_ID_MAX }>,
        /// Its title.
        title: Text<'a, { limits::INCIDENT_TITLE_MAX }>,
    }

    /// A document of incidents and maintenances was taken.
    48 IncidentsAccepted = "incidents.accepted", Vital, INFO, since "0.1.0",
    action "Nothing to do."
    {
        /// Its revision.
        revision: u32,
        /// Until when it is valid, in seconds since 1970-01-01 UTC.
        expires_unix_s: u64,
    }

    /// No new document of incidents and maintenances was taken; the last good one stays. Told once for each reason and
    /// each document.
    49 IncidentsRefused = "incidents.refused", Vital, WARN, since "0.1.0",
    action "Pull it yourself and ask why: curl URL | outpost incident verify --public-key KEY -"
    {
        /// Why.
        reason: IncidentRefusal,
        /// Its revision; 0 where that is not known.
        revision: u32,
        /// The revision of the document that stays; 0: there is none.
        kept_revision: u32,
        /// The status of the server, or 0.
        status: u16,
        /// How often nothing was taken since it last was.
        failures: u32,
    }

    /// Days of the checks that came along in the content bundle were taken over where nothing was known of them.
    50 HistoryRestored = "history.restored", Vital, INFO, since "0.1.0",
    action "Nothing to do, unless left_out is not 0: then compare the names of the checks, and the clocks."
    {
        /// Days that have data now, of all checks; 0 after a reset, which kept what was brought before.
        days: u16,
        /// Days of checks that are not configured here, of the future, or counted higher than can be.
        left_out: u16,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_in_order_and_names_are_unique() {
        // Two events of one id would make every decoder wrong for one of them.
        for pair in CATALOGUE.windows(2) {
            assert!(pair[0].id < pair[1].id, "{} and {}", pair[0].name, pair[1].name);
        }
        for (i, spec) in CATALOGUE.iter().enumerate() {
            assert!(CATALOGUE[..i].iter().all(|other| other.name != spec.name), "{}", spec.name);
            assert!(spec.name.len() <= 32, "{} is longer than a syslog MSGID (RFC 5424, section 6.2.7)", spec.name);
        }
    }

    #[test]
    fn fields_survive_the_round_trip() {
        // A field read back in another order or type would tell the operator a wrong story.
        let event = Event::from(HttpRequest {
            method: Method::Head,
            route: NameId(300),
            status: 503,
            client: Ip4([192, 0, 2, 1]),
            duration_us: 70_000,
        });
        let mut buffer = [0; limits::FIELDS_MAX];
        let len = event.encode(&mut buffer).unwrap();
        assert_eq!(buffer[..len], [1, 0xac, 0x02, 0xf7, 0x03, 192, 0, 2, 1, 0xf0, 0xa2, 0x04]);
        assert_eq!(Event::decode(8, &buffer[..len]), Some(event));
        // A newer version's extra field is passed over, a missing one is refused.
        assert_eq!(Event::decode(8, &buffer[..len + 1]), Some(event));
        assert_eq!(Event::decode(8, &buffer[..len - 1]), None);
        assert_eq!(Event::decode(9999, &buffer[..len]), None);
    }
}
