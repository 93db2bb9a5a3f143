//! Every bound of the agent, with the reason for its number. Relations between bounds are checked here at
//! compile time.

use smoltcp::time::Duration;

/// Connections served at the same time: room for every poller of a fleet and an attacker's thousand.
pub const CONNECTIONS: usize = if cfg!(feature = "small-pool") { 64 } else { 1024 };

/// Longest URI of `security.contact`, in bytes.
pub const SECURITY_CONTACT_MAX: usize = 100;

/// Receive buffer of a connection, in bytes: a request line or one header line fits.
pub const CONNECTION_RX: usize = 1024;

/// Send buffer of a connection, in bytes: the common answers fit with their headers.
pub const CONNECTION_TX: usize = 2048;

/// Bytes of the log region at its fixed place in memory: an hour at 20 records/s.
pub const LOG_REGION: usize = 4 * 1024 * 1024;

/// Bytes at the end of the log region that a boot keeps its last words in: what the ring's segments leave over.
pub const LAST_WORDS: usize = 512;

/// How long a boot leaves undone what nobody waits for (the console, the way to the collector), while somebody may be
/// waiting for its first answer. Where code is translated, as under QEMU without KVM, each thing done for the first time is dear.
pub const SERVE_FIRST: Duration = Duration::from_millis(20);

/// How often a boot notes that it lives, and feeds its watchdog: seldom enough to cost nothing.
pub const MARK_EVERY: Duration = Duration::from_secs(1);

/// A watchdog that was not fed for this long resets the machine: longer than any host takes the processor away for.
/// Both kinds can count to it.
pub const WATCHDOG_TIME: Duration = Duration::from_secs(16);

/// Addresses of a panic's backtrace.
pub const BACKTRACE: usize = 8;

/// So many abnormal ends in a row ...
pub const CRASHES: u32 = 3;

/// ... the last of them within this time, and the next boot is in safe mode.
pub const CRASH_TIME: Duration = Duration::from_secs(60);

/// A boot that lives this long leaves safe mode.
pub const SAFE_MODE_TIME: Duration = Duration::from_secs(600);

/// Shortest wait before a reset while the image crashes again and again; it doubles each time.
pub const CRASH_BACKOFF_MIN: Duration = Duration::from_secs(1);

/// Longest such wait: somebody who comes to look must not wait for the next attempt.
pub const CRASH_BACKOFF_MAX: Duration = Duration::from_secs(60);

/// How often the machine's wall clock is held against its monotonic one.
pub const WALL_LOOK: Duration = Duration::from_secs(4);

/// A machine whose wall clock jumps by this much between two looks has stood still: more than a clock of whole seconds
/// and a host that takes the processor away can make.
pub const WALL_JUMP: Duration = Duration::from_secs(5);

/// A drill's load is made this often at most, so that the agent still sleeps between.
pub const DRILL_EVERY: Duration = Duration::from_millis(5);

/// Records that a drill makes in one poll, so that it does not hold up what it is to load.
pub const DRILL_PER_POLL: u64 = 64;

const _: () = assert!(MARK_EVERY.total_micros() * 4 <= WATCHDOG_TIME.total_micros());
const _: () = assert!(WALL_JUMP.total_micros() > 2_000_000 && WALL_LOOK.total_micros() >= MARK_EVERY.total_micros());
const _: () = assert!(SAFE_MODE_TIME.total_micros() > CRASH_TIME.total_micros());

/// Longest configuration document, in bytes.
pub const CONFIG_MAX: usize = 64 * 1024;

/// Longest content bundle, in bytes: some fifty runbooks of a few pages each.
pub const CONTENT_MAX: usize = 256 * 1024;

/// Pages of a content bundle: a runbook for each check, and as many for events.
pub const CONTENT_PAGES: usize = 128;

/// Deepest nesting of the configuration document.
pub const CONFIG_DEPTH: usize = 8;

/// Longest string of the configuration document, in bytes: every value and key that is allowed is shorter.
pub const CONFIG_TEXT_MAX: usize = 260;

/// Longest name, telephone number or mail address of the contact, in bytes: a line on a phone.
pub const CONTACT_MAX: usize = 64;

/// Longest sentence about a configuration error, in bytes: what its event `config.invalid` carries, so that serial and
/// collector have it whole.
pub const CONFIG_PROBLEM_MAX: usize = 130;

/// Configuration errors that are kept and shown one by one; more are counted.
pub const CONFIG_PROBLEMS: usize = 8;

const _: () = assert!(CONFIG_TEXT_MAX > HOST_NAME_MAX + ":65535".len());

/// Longest host name, in bytes: what DNS can carry (RFC 1035, section 2.3.4: 255 with the lengths of its labels).
pub const HOST_NAME_MAX: usize = 253;

/// Longest label of a host name, in bytes (RFC 1035, section 2.3.4).
pub const HOST_LABEL_MAX: usize = 63;

/// Time servers that the configuration names: more than three adds nothing to a majority but one spare.
pub const TIME_SERVERS: usize = 4;

/// Machines that the agent itself needs: the collector, the syslog server, the one with the incidents, and the time servers.
pub const HOST_KEYS: usize = 3 + TIME_SERVERS;

/// Host names of all checks: targets that share a name share a lookup.
pub const CHECK_NAMES: usize = 16;

/// Shortest token of a heartbeat, in bytes: 128 bits where each byte has six (`outpost token` makes 40).
pub const BEAT_TOKEN_MIN: usize = 22;

/// Longest one, in bytes.
pub const BEAT_TOKEN_MAX: usize = 64;

/// Longest body that a beat may bring, in bytes: the last lines of a job's output. It is read and dropped.
pub const BEAT_BODY: u64 = 16 * 1024;

/// Host names that are looked up.
pub const DNS_NAMES: usize = HOST_KEYS + CHECK_NAMES;

/// DNS servers that are asked, those of the configuration or of DHCP.
pub const DNS_SERVERS: usize = 4;

/// Addresses of one name that are kept: the next one is tried when one does not answer.
pub const DNS_ADDRESSES: usize = 4;

/// Longest answer of a DNS server, in bytes: who does not ask for more gets no more (RFC 1035, section 4.2.1).
pub const DNS_ANSWER: usize = 512;

/// Answers that can wait for the next poll: the one that is awaited, and some that are too late or forged.
pub const DNS_PACKETS: usize = 4;

/// A DNS server's answer is awaited this long, then the next one is asked.
pub const DNS_TIMEOUT: Duration = Duration::from_secs(2);

/// So often each DNS server is asked before a lookup has failed: packets get lost.
pub const DNS_ROUNDS: usize = 2;

/// Aliases that are followed from a name to its addresses: more is a loop, or an attack.
pub const DNS_CHAIN: usize = 8;

/// Addresses are used at least this long before the name is asked for again, whatever its TTL: a fleet of agents must not
/// load a DNS server because of a zone with TTL 0.
pub const DNS_TTL_MIN: Duration = Duration::from_secs(30);

/// And at most this long, so that a TTL of days that was a mistake does not outlast the day.
pub const DNS_TTL_MAX: Duration = Duration::from_secs(3600);

/// Shortest wait after a lookup that failed; it doubles with each.
pub const DNS_RETRY_MIN: Duration = Duration::from_secs(1);

/// Longest such wait.
pub const DNS_RETRY_MAX: Duration = Duration::from_secs(60);

/// A name that cannot be looked up, or has other addresses each time, is told this often.
pub const DNS_REMIND: Duration = Duration::from_secs(600);

const _: () = assert!(DNS_TTL_MIN.total_micros() < DNS_TTL_MAX.total_micros());

/// Receive buffer of the connection to a syslog server, in bytes: it has nothing to say.
pub const SINK_RX: usize = 64;

/// Send buffer of the connection to a syslog server, in bytes: what goes out in one round trip, about 30 records.
pub const SINK_TX: usize = 8 * 1024;

/// Receive buffer of the collector session, in bytes: acknowledgements are 12 bytes each.
pub const COLLECTOR_RX: usize = 1024;

/// Send buffer of the collector session, in bytes: a few frames on their way.
pub const COLLECTOR_TX: usize = 8 * 1024;

/// Longest request head in bytes, as common servers have it (nginx: 4 × 8 KiB, Apache: 8 KiB a line).
pub const HTTP_HEAD: usize = 8 * 1024;

/// Most lines of a request head; Apache allows 100.
pub const HTTP_HEAD_LINES: u8 = 100;

/// Shared buffers for answers that are rendered before they are sent.
pub const ANSWERS: usize = 16;

/// How many of them may be shared: slow clients that hold an answer together cannot be made to give it up one by one.
pub const ANSWERS_SHARED: usize = ANSWERS / 4;

/// How long a rendered answer that is for everyone is given again: an incident brings many who look at one page, and
/// what they see is in whole seconds.
pub const SHOWN_AGAIN: Duration = Duration::from_millis(100);

/// Size of such a buffer, in bytes: the status page fits.
pub const ANSWER: usize = 16 * 1024;

/// Longest head of an answer, in bytes.
pub const ANSWER_HEAD: usize = 480;

/// Header lines of one answer alone, in bytes, within [`ANSWER_HEAD`].
pub const ANSWER_HEADERS: usize = 120;

/// Longest status page, in bytes: with its head it is what a server may send before the first acknowledgement, ten
/// segments of 1,460 bytes (RFC 6928).
pub const PAGE: usize = 14_600 - ANSWER_HEAD;

/// Request heads and short answers that are kept because they come again: a load balancer, Prometheus, a browser and
/// a person ask at the same time.
pub const FAMILIAR: usize = 4;

/// Longest such head, in bytes: those of the common pollers have 60 to 250.
pub const FAMILIAR_HEAD: usize = 256;

/// Longest such answer with its body, in bytes.
pub const FAMILIAR_ANSWER: usize = 384;

/// Frames taken from the card in one poll, so that serving them is never put off for long.
pub const FRAMES_PER_POLL: usize = 64;

/// Requests of one connection answered in one poll, so that a pipelining client does not starve the others.
pub const REQUESTS_PER_POLL: usize = 8;

/// Segments that one connection may send in one poll: its whole send buffer, SYN or FIN, and one to spare.
pub const SEGMENTS_PER_POLL: usize = 4;

/// Bytes that fit one segment of any client: its MSS where it names none (RFC 9293, section 3.7.1). To one that names less
/// the rest goes with its acknowledgement.
pub const SEGMENT_MIN: usize = 536;

/// The least time after which TCP sends anything once more (RFC 6298, section 2.4); smoltcp keeps to it.
pub const RETRANSMIT_MIN: Duration = Duration::from_secs(1);

/// How long a client may take to send a request's head once it has begun, and to begin its first.
pub const HEAD_TIME: Duration = Duration::from_secs(10);

/// How long a connection may wait for its next request: longer than the common poll intervals of 10 s and 30 s.
pub const IDLE_TIME: Duration = Duration::from_secs(75);

/// How long a client may take nothing of an answer before it is given up.
pub const SEND_TIME: Duration = Duration::from_secs(30);

/// How long a half-open connection, or one that is closing, is kept.
pub const CLOSE_TIME: Duration = Duration::from_secs(10);

/// A half-open connection this old gives way to a new one: handshakes take a round trip, not a second.
pub const HALF_OPEN_GRACE: Duration = Duration::from_secs(1);

/// Idle connections are in the order of their last requests but for so much: a connection that asks more often than that
/// need not change its place each time.
pub const IDLE_ORDER: Duration = Duration::from_millis(100);

/// Neighbours that are remembered for people to see: routers, servers and pollers of one link.
pub const NEIGHBOURS: usize = 16;

/// Connections that `/debug/net` shows one by one; beyond them only numbers are shown. They fit half an answer buffer.
pub const CONNECTIONS_SHOWN: usize = 40;

/// Records of one answer of `/events` when the client names no `limit`: a screen or two.
pub const EVENTS_DEFAULT: u16 = 100;

/// The highest `limit` of `/events`; fewer come when the buffers are full.
pub const EVENTS_MAX: u16 = 1000;

/// Probes of one class are told this often at most: a scan of hours is some hundred records.
pub const PROBE_TELL: Duration = Duration::from_secs(60);

/// Clients whose unknown paths are counted apart at the same time.
pub const WANDERERS: usize = 4;

/// So many unknown paths of one client are a search: browsers and crawlers ask for a handful.
pub const WANDERER_PATHS: u16 = 10;

/// Within this time.
pub const WANDERER_TIME: Duration = Duration::from_secs(60);

/// While there is no network, what needs one looks again this often.
pub const OFFLINE: Duration = Duration::from_secs(1);

/// Another machine with our address is warned of for this long after it last said so: longer than any host keeps an
/// answer to ARP without asking again.
pub const CONFLICT_TIME: Duration = Duration::from_secs(300);

/// It is told again this often at most.
pub const CONFLICT_TELL: Duration = Duration::from_secs(60);

/// So many losses of the link ...
pub const LINK_FLAPS: usize = 3;

/// ... within this time are worth a warning, for as long as that is so.
pub const LINK_FLAP_TIME: Duration = Duration::from_secs(300);

/// When what could not be sent (transmit queue full) is tried again.
pub const RETRY: Duration = Duration::from_millis(1);

const _: () = assert!(CONNECTION_TX >= ANSWER_HEAD + 512, "a small answer is written in one piece");
const _: () = assert!(CONNECTIONS <= 32_768, "connections are numbered in 16 bits");
const _: () = assert!(HTTP_HEAD <= u16::MAX as usize);
const _: () = assert!(ANSWER <= u16::MAX as usize);
const _: () = assert!(PAGE <= ANSWER);
const _: () = assert!(COLLECTOR_TX >= 2 * outpost_wire::limits::FRAME_MAX);

/// Bytes of one segment of the log's ring: what is freed or given up at once (about 150 records).
pub const LOG_SEGMENT: usize = 4096;

/// Fewest segments that make a ring: two are open, and each lane must be able to lose one and keep one.
pub const LOG_SEGMENTS_MIN: usize = 8;

/// Boots with undelivered records that the ring keeps apart: the current one and a crash loop before it.
pub const LOG_BOOTS: usize = 8;

/// Texts that can have an id in one boot: routes, and the names of checks and groups.
pub const LOG_NAMES: usize = 128;

/// Bytes of all those texts.
pub const LOG_NAMES_BYTES: usize = 4096;

/// Kinds of requests (route and status) counted apart within a second; our own routes and statuses stay below it.
pub const LOG_REQUEST_KINDS: usize = 64;

/// Records of one rate-limited event in a second: enough to see what happens, too few to fill the ring.
pub const LOG_LIMITED_PER_SECOND: u16 = 10;

/// Transaction ids from outside that are recorded in a second, on the mean: each costs two bulk records.
pub const LOG_TRACED_PER_SECOND: u64 = 3;

/// More of them at once, after a time with fewer: a person's session, or a burst of a traced client.
pub const LOG_TRACED_BURST: u64 = 256;

/// Most that such a request takes in the ring, in bytes: `transaction.bound` with the longest id, and `http.request`.
const LOG_TRACED_BYTES: u64 = 140;

/// The same of what tells the others in a second: `suppressed` and `http.requests`.
const LOG_SUMMARY_BYTES: u64 = 60;

/// A mean record in the ring, in bytes (PROMISES).
const LOG_MEAN_BYTES: u64 = 28;

// An hour at 20 records/s stays in the ring beside an hour of requests whose sender makes up ids without end.
const _: () = assert!(
    3600 * (20 * LOG_MEAN_BYTES + LOG_TRACED_PER_SECOND * LOG_TRACED_BYTES + LOG_SUMMARY_BYTES)
        + LOG_TRACED_BURST * LOG_TRACED_BYTES
        <= (LOG_REGION - LAST_WORDS - crate::watch::DAYS_REGION) as u64
);

/// Lines of libraries that wait for the next poll.
pub const LOG_DEPENDENCY_LINES: usize = 32;

/// Longest line on the serial console, in bytes.
pub const LOG_CONSOLE_LINE: usize = 400;

/// Lines of one lane shown on the console in a second: 115,200 baud carries about 100.
pub const LOG_CONSOLE_PER_SECOND: u16 = 40;

/// Lines written in one call, so that serial does not hold up the network.
pub const LOG_CONSOLE_PER_CALL: usize = 4;

/// Records looked at in one call of the console.
pub const LOG_CONSOLE_STEPS: usize = 64;

/// Above this fill, in percent, the ring is worth a warning.
pub const LOG_FILL_HIGH: u64 = 80;

const _: () = assert!(LOG_NAMES_BYTES <= u16::MAX as usize);

/// Rules "this event has that severity" in the configuration.
pub const LOG_SEVERITY_RULES: usize = 32;

/// Frames of the log session on their way to the collector: two commits' worth at 1,000 records/s, with room for
/// frames of a single record.
pub const LOG_IN_FLIGHT: usize = 64;

/// Frames of the log session taken or sent in one poll.
pub const LOG_FRAMES_PER_POLL: usize = 16;

/// So many records are worth a frame at once.
pub const LOG_BATCH_RECORDS: u64 = 48;

/// Fewer wait this long for company.
pub const LOG_BATCH_HOLD: Duration = Duration::from_millis(20);

/// From the first segment to the connection, and from Hello to Welcome: three SYNs of TCP (1, 2 and 4 s).
pub const LOG_CONNECT_TIME: Duration = Duration::from_secs(10);

/// The agent says something at least this often.
pub const LOG_ALIVE: Duration = Duration::from_secs(15);

/// A collector that owes an answer and says nothing for this long is given up, as is a dead connection.
pub const LOG_SILENCE: Duration = Duration::from_secs(45);

/// Shortest wait before the next attempt to reach the collector.
pub const LOG_BACKOFF_MIN: Duration = Duration::from_millis(200);

/// Longest wait before the next attempt to reach the collector.
pub const LOG_BACKOFF_MAX: Duration = Duration::from_secs(10);

/// A long time without a collector is told again this often.
pub const LOG_OUTAGE_REMINDER: Duration = Duration::from_secs(600);

/// Longest message to a syslog server, in bytes: receivers should take 2,048 (RFC 5424, section 6.1), and only a record that
/// is full of characters to be escaped is cut.
pub const LOG_SINK_MESSAGE: usize = 1024;

/// So many of the last records of the boot before are sent to a syslog server again.
pub const LOG_SINK_LAST_WORDS: u64 = 64;

/// So long after the last loss of records the collector's health warns of it.
pub const LOG_LOSS_RECENT: Duration = Duration::from_secs(600);

const _: () = assert!(LOG_ALIVE.total_micros() * 2 < LOG_SILENCE.total_micros());

/// A machine of our link is asked for its MAC again after this time (RFC 1122, section 2.3.2.1: at most once a second).
pub const ARP_AGAIN: Duration = Duration::from_secs(1);

/// What it said counts for this long: less than the 60 s after which smoltcp forgets it.
pub const ARP_FRESH: Duration = Duration::from_secs(45);

/// Machines of our link that are sought at the same time: every target, and what the agent itself needs.
pub const HOPS: usize = CHECKS + 16;

/// Checks of one agent.
pub const CHECKS: usize = 64;

/// Bytes of all their names, addresses and sentences: 256 for each.
pub const CHECK_TEXT: usize = 16 * 1024;

/// Longest name of a group of checks, in bytes.
pub const CHECK_GROUP: usize = 32;

/// Statuses that one check takes for good.
pub const CHECK_STATUSES: usize = 8;

/// Hosts that the redirects of one check may lead to, besides its own.
pub const CHECK_REDIRECTS: usize = 4;

/// Values that one check expects of a DNS server.
pub const CHECK_ANSWERS: usize = 4;

/// Longest sentence about a check, in bytes: a line or two on a phone.
pub const CHECK_SENTENCE: usize = 128;

/// Bytes of one check in `/metrics`, at their longest.
pub const CHECK_METRICS: usize = 800;

/// Bytes of one check in `/status`, at their longest: most of them its sentences, each byte of which may be escaped.
pub const CHECK_STATUS: usize = 460 + 4 * CHECK_SENTENCE + 300 + TLS_NAMES;

/// Bytes of one check in `/config`, at their longest.
pub const CHECK_CONFIG: usize = 128;

/// Bytes of one check in `/api/v2/summary.json`, at their longest, and of a group of its own.
pub const CHECK_STATUSPAGE: usize = 700 + 2 * CHECK_SENTENCE;

/// Longest document of incidents and maintenances, in bytes: half of a status page.
pub const INCIDENT_DOCUMENT: usize = 8 * 1024;

/// Bytes of all its texts: what is left of that when the keys are taken off.
pub const INCIDENT_TEXTS: usize = 6000;

/// Incidents of one document: those that are open, and the last that were.
pub const INCIDENTS: usize = 8;

/// Updates of all of them.
pub const INCIDENT_UPDATES: usize = 32;

/// Maintenances of one document.
pub const MAINTENANCES: usize = 8;

/// Longest text of an update, in bytes: a postmortem of three paragraphs.
pub const INCIDENT_TEXT: usize = 1200;

/// Targets of one incident or maintenance.
pub const INCIDENT_TARGETS: usize = 16;

/// Longest path of the document's URL, in bytes.
pub const INCIDENT_PATH: usize = 128;

/// Receive and send buffer of the connection that pulls it, in bytes: more comes as it is read; the request fits.
pub const INCIDENT_RX: usize = 1024;
/// See [`INCIDENT_RX`].
pub const INCIDENT_TX: usize = 768;

/// So long the server may take for all of its answer once it is asked: a document is a handful of segments.
pub const INCIDENT_ANSWER_TIME: Duration = Duration::from_secs(10);

/// Shortest wait after an attempt that failed; it doubles with each.
pub const INCIDENT_RETRY_MIN: Duration = Duration::from_secs(5);

/// Longest such wait, unless the interval is longer.
pub const INCIDENT_RETRY_MAX: Duration = Duration::from_secs(600);

/// At least this often what the clock alone changes is looked at: UTC may be corrected meanwhile.
pub const INCIDENT_LOOK: Duration = Duration::from_secs(10);

/// Bytes of all of them in `/status`, at their longest: each byte of a title may be escaped.
pub const INCIDENTS_STATUS: usize = 200 + (INCIDENTS + MAINTENANCES) * 450;

/// Bytes of all of them in `/api/v2/`, at their longest: each byte of a text may be escaped.
pub const INCIDENTS_STATUSPAGE: usize = (INCIDENTS + MAINTENANCES) * 600 + INCIDENT_UPDATES * 400 + 2 * INCIDENT_TEXTS;

const _: () = assert!(INCIDENT_TX >= INCIDENT_PATH + HOST_NAME_MAX + 200);

/// Past outcomes of a check that are kept: half an hour at the common interval.
pub const CHECK_HISTORY: usize = 60;

/// Days of a check that are kept, today among them.
pub const CHECK_DAYS: usize = 90;

/// Changes from up to down and back that are kept, of all checks together: what a reader of the feed who asks once an hour
/// wants of a bad one.
pub const CHECK_CHANGES: usize = 32;

/// Receive buffer of a probe, in bytes: more comes as it is read.
pub const PROBE_RX: usize = 2048;

/// Send buffer of a probe, in bytes: the longest request fits.
pub const PROBE_TX: usize = 768;

/// Longest packet of a probe that is one, in bytes: a DNS question about the longest name, and the header of UDP.
pub const PROBE_PACKET: usize = 8 + 12 + HOST_NAME_MAX + 2 + 4;

/// How long a probe's connection may take to come about: two SYNs that are lost (1 and 2 s), and the third.
pub const PROBE_CONNECT_TIME: Duration = Duration::from_secs(5);

/// Longest head of a probed server's answer with the framing of its body, in bytes: as common clients have it.
pub const PROBE_HEAD: usize = 16 * 1024;

/// Bytes of a line of it that are looked at: a redirect leads to a URL that is no longer than one in the configuration.
pub const PROBE_LINE: usize = CONFIG_TEXT_MAX + 20;

/// Redirects that one probe follows.
pub const PROBE_REDIRECTS: u8 = 4;

/// Bytes of its body that are searched.
pub const PROBE_BODY: usize = 64 * 1024;

/// Longest text that is looked for, in bytes.
pub const PROBE_NEEDLE: usize = 64;

/// Bytes of a server's first words that are searched: the longest reply line of SMTP (RFC 5321, section 4.5.3.1.5).
pub const PROBE_BANNER: usize = 512;

/// Segments that one probe may send in one poll: a request, its end, and one to spare.
pub const PROBE_SEGMENTS: usize = 3;

/// Checks that speak TLS. Each has a session of its own, so that a server that hangs in a handshake holds up no other.
pub const TLS_CHECKS: usize = 16;

/// Bytes of each pipe between a session of TLS and the rest: more comes as they are read.
pub const TLS_PIPE: usize = 512;

/// Bytes of a record that a session sends: a ClientHello with the longest name, or the longest request.
pub const TLS_WRITE: usize = 1024;

/// Bytes of a session's future.
pub const TLS_FUTURE: usize = 4096;

/// Longest RSA key that is verified, in bytes; the shortest is half of it.
pub const RSA_MAX: usize = 512;

/// Bytes of a certificate's names that are shown.
pub const TLS_NAMES: usize = 96;

// The longest request: the path and the name at their longest, and what is the same in each.
const _: () = assert!(PROBE_TX >= PROBE_LINE + HOST_NAME_MAX + 200);
