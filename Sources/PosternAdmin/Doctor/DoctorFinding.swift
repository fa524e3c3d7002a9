// What `postern doctor` has found: what is wrong, why it matters, and what mends it. A value; how it is printed is
// below, who found it is in the files named …Findings. A line that is to be run is complete: it can be pasted as it
// stands.

internal import PosternDaemon
internal import PosternMail

struct DoctorFinding: Hashable, Sendable {
    enum Severity: String, Hashable, Sendable, Comparable {
        /// Mail is lost, stopped, unsigned or judged wrongly, now or as soon as a daemon of ours is down.
        case error
        /// It works; someone should look.
        case warning
        /// Optional things, and what depends on the admin's intentions.
        case note

        private var rank: Int { self == .error ? 0 : self == .warning ? 1 : 2 }
        static func < (left: Severity, right: Severity) -> Bool { left.rank < right.rank }
    }

    /// What mends it.
    enum Mend: Hashable, Sendable {
        /// A line for the shell.
        case command(String)
        /// Lines for postern.toml.
        case configuration(String)
        /// What nobody can do by one line.
        case advice(String)
    }

    /// One word for programs; see `postern doctor --help`.
    let id: ID
    let severity: Severity
    /// Services of master.cf, domains, zones, files: where it was found; none for the host as a whole.
    var places: [String]
    let what: String
    let why: String
    let mends: [Mend]

    init(
        _ id: ID, _ severity: Severity, at places: [String] = [], _ what: String, why: String, mends: [Mend]
    ) {
        (self.id, self.severity, self.places) = (id, severity, places)
        (self.what, self.why, self.mends) = (what, why, mends)
    }

    /// Findings that differ in their places only become one; errors come first, else the order stays.
    static func merged(_ findings: [DoctorFinding]) -> [DoctorFinding] {
        var order: [DoctorFinding] = []
        var index: [DoctorFinding: Int] = [:]
        for finding in findings {
            var key = finding
            key.places = []
            if let known = index[key] {
                order[known].places += finding.places.filter { !order[known].places.contains($0) }
            } else {
                index[key] = order.count
                order.append(finding)
            }
        }
        return order.enumerated().sorted { ($0.element.severity, $0.offset) < ($1.element.severity, $1.offset) }
            .map(\.element)
    }

    // MARK: For people and for programs

    /// Each line with its line end.
    var lines: String {
        func shown(_ text: String) -> String { DaemonControl.printable(text) }
        let place = places.isEmpty ? "" : " (\(shown(places.joined(separator: ", "))))"
        var lines = ["\(severity.rawValue): \(id.rawValue)\(place): \(shown(what))", "  why: \(shown(why))"]
        for mend in mends {
            switch mend {
            case .command(let line): lines.append("  run: \(shown(line))")
            case .configuration(let toml):
                lines += toml.split(separator: "\n").map { "  set: \(shown(String($0)))" }
            case .advice(let text): lines.append("  do: \(shown(text))")
            }
        }
        return lines.map { $0 + "\n" }.joined()
    }

    /// Every member is always there.
    var json: JSONValue {
        [
            "id": .text(id.rawValue), "severity": .text(severity.rawValue),
            "where": .list(places.map(JSONValue.text)), "what": .text(what), "why": .text(why),
            "mend": .list(mends.map(\.json)),
        ]
    }
}

extension DoctorFinding.Mend {
    fileprivate var json: JSONValue {
        let (kind, text) =
            switch self {
            case .command(let line): ("run", line)
            case .configuration(let toml): ("set", toml)
            case .advice(let text): ("do", text)
            }
        return ["kind": .text(kind), "text": .text(text)]
    }

    /// It changes Postfix's files, so that Postfix must be told.
    var isOfPostfix: Bool { if case .command(let line) = self { line.hasPrefix("postconf ") } else { false } }
}

extension DoctorFinding {
    /// The words of findings, in the order of the files that find them.
    enum ID: String, CaseIterable, Sendable {
        // MilterFindings
        case milterMissing = "milter_missing"
        case milterOrder = "milter_order"
        case milterNeedless = "milter_needless"
        case milterDefaultAction = "milter_default_action"
        case milterTimeout = "milter_timeout"
        case milterProtocol = "milter_protocol"
        case milterBypassed = "milter_bypassed"
        case milterHeaderChecks = "milter_header_checks"
        case milterSyntax = "milter_syntax"
        case verifiedTwice = "verified_twice"
        case verifiedNever = "verified_never"
        case peerStillAsked = "peer_still_asked"
        // OriginFindings
        case strangersAreOurs = "strangers_are_ours"
        case networksDiffer = "networks_differ"
        // PolicyFindings
        case policyMissing = "policy_missing"
        case policyOrder = "policy_order"
        case policyUnlistedRecipient = "policy_unlisted_recipient"
        case policyNeverReached = "policy_never_reached"
        case policyDefaultAction = "policy_default_action"
        case policyTimeout = "policy_timeout"
        // LimitFindings
        case limitNeverAsked = "limit_never_asked"
        case limitUnsettled = "limit_unsettled"
        case limitDoubled = "limit_doubled"
        // ContentFindings
        case reinjectionJudged = "reinjection_judged"
        case signedMailAltered = "signed_mail_altered"
        case strangersMailAltered = "strangers_mail_altered"
        case softBounce = "soft_bounce"
        // VersionFindings
        case postfixVersion = "postfix_version"
        // SocketFindings
        case socketElsewhere = "socket_elsewhere"
        case socketUnreachable = "socket_unreachable"
        case daemonDown = "daemon_down"
        case storeUnreachable = "store_unreachable"
        // DNSFindings
        case dnsSilent = "dns_silent"
        case dnsLoop = "dns_loop"
        case listRefused = "list_refused"
        case listDead = "list_dead"
        // DomainFindings
        case heloName = "helo_name"
        case ptr = "ptr"
        case spf = "spf"
        case spfExcludesUs = "spf_excludes_us"
        case dkimKey = "dkim_key"
        case dmarc = "dmarc"
        case inboundTLS = "inbound_tls"
        // FileFindings
        case configuration = "configuration"
        case keyFile = "key_file"
        case state = "state"
        case diskSpace = "disk_space"
        case clock = "clock"
        case backup = "backup"
    }
}
