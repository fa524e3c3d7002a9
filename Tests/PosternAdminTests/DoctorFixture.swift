// A host that is wired as contrib/postfix says, as texts: what postconf prints, a postern.toml, a machine. Tests
// change one thing and see what the doctor says; and they apply the lines that it proposes, as a shell and postconf
// would.

import Foundation
import PosternDaemon
import PosternMail

@testable import PosternAdmin

struct DoctorFixture {
    /// `postconf -x`; what is not here is empty.
    var main: [String: String] = DoctorFixture.defaults.merging(DoctorFixture.contrib) { _, new in new }
    /// `postconf -F`: name, type, chroot, command.
    var services = [
        ["smtp", "inet", "y", "smtpd"], ["submission", "inet", "y", "smtpd"], ["pickup", "unix", "n", "pickup"],
        ["cleanup", "unix", "y", "cleanup"], ["smtp", "unix", "-", "smtp"], ["relay", "unix", "-", "smtp"],
    ]
    /// `postconf -Px`.
    var overrides = [
        "submission/inet/smtpd_milters":
            "{ unix:postern/dkim.sock, default_action=tempfail, command_timeout=30s }",
        "submission/inet/milter_macro_daemon_name": "ORIGINATING",
        "submission/inet/smtpd_recipient_restrictions": """
        check_policy_service { unix:postern/rate.sock, timeout=5s, default_action=DUNNO, policy_context=submission }, \
        permit_sasl_authenticated, reject
        """,
    ]
    var toml = """
        [host]
        name = "mx1.example.org"
        networks = ["127.0.0.0/8", "::1/128"]
        [listen]
        dns = ["unix:/run/postern/dns.sock", "udp:127.0.0.1:53"]
        [dkim]
        verify = false
        [[dkim.key]]
        domain = "example.org"
        selector = "s1"
        file = "s1.pem"
        [[rule]]
        name = "a rule"
        helo = ["bad.example"]
        action = "reject 5.7.1 No"
        [[limit]]
        name = "per account"
        per = ["sasl_username"]
        count = "recipients"
        allow = ["200/1h"]
        action = "defer 4.7.1 Slow down"

        """
    var machine = DoctorMachine(
        running: Set(DaemonName.allCases), isClockSynchronised: true, backup: .made(ago: 3600, tested: 86_400))
    /// `--postfix-config`.
    var folder: String?

    private static let defaults = [
        "mail_version": "3.7.11", "queue_directory": "/var/spool/postfix", "mail_owner": "postfix",
        "compatibility_level": "3.6", "milter_default_action": "tempfail", "milter_protocol": "6",
        "milter_command_timeout": "30s", "milter_content_timeout": "300s",
        "milter_macro_daemon_name": "mx1.example.org",
        "myhostname": "mx1.example.org", "smtp_helo_name": "mx1.example.org",
        "smtpd_policy_service_default_action": "451 4.3.5 Server configuration problem",
        "smtpd_policy_service_timeout": "100s", "message_size_limit": "10240000",
        "smtpd_relay_before_recipient_restrictions": "yes",
        "smtpd_relay_restrictions": "permit_mynetworks permit_sasl_authenticated defer_unauth_destination",
        "local_header_rewrite_clients": "permit_inet_interfaces", "soft_bounce": "no", "smtpd_use_tls": "no",
        "smtpd_client_message_rate_limit": "0", "smtpd_client_connection_rate_limit": "0",
        "mynetworks": "127.0.0.0/8 [::ffff:127.0.0.0]/104 [::1]/128", "smtpd_sasl_auth_enable": "no",
    ]

    private static let contrib = [
        "smtpd_milters": """
        { unix:postern/dkim.sock, default_action=accept, command_timeout=30s }, \
        { unix:postern/dmarc.sock, default_action=accept, command_timeout=30s }
        """,
        "non_smtpd_milters": "{ unix:postern/dkim.sock, default_action=tempfail, command_timeout=30s }",
        "smtpd_recipient_restrictions": """
        permit_mynetworks, permit_sasl_authenticated, reject_unauth_destination, reject_unlisted_recipient, \
        check_policy_service { unix:postern/policy.sock, timeout=12s, default_action=DUNNO }
        """,
        "smtpd_end_of_data_restrictions":
            "check_policy_service { unix:postern/rate.sock, timeout=5s, default_action=DUNNO }",
    ]

    // MARK: What postconf prints

    var parameterText: String { main.map { "\($0) =\($1.isEmpty ? "" : " ")\($1)\n" }.sorted().joined() }
    var fieldText: String {
        services.map { service in
            let place = "\(service[0])/\(service[1])"
            return zip(["service", "type", "chroot", "command"], service).map { "\(place)/\($0) = \($1)\n" }.joined()
        }.joined()
    }
    var overrideText: String { overrides.map { "\($0) =\($1.isEmpty ? "" : " ")\($1)\n" }.sorted().joined() }

    func view() throws -> PostfixView {
        try PostfixView(
            parameters: Array(parameterText.utf8), fields: Array(fieldText.utf8), overrides: Array(overrideText.utf8),
            folder: folder)
    }

    func subject() throws -> DoctorSubject {
        let result = Configuration.read(Array(toml.utf8), file: "postern.toml", folder: "/nowhere", for: .check)
        guard let configuration = result.readable else { throw Mistake(text: "\(result.problems)") }
        // The key's file is nowhere: that is another test's business.
        let others = result.problems.filter { !$0.keyPath.hasSuffix(".file") }
        guard others.isEmpty else { throw Mistake(text: "\(others)") }
        return DoctorSubject(postfix: try view(), configuration: configuration, machine: machine)
    }

    func findings() throws -> [DoctorFinding] { DoctorFinding.merged(DoctorCommand.findings(try subject())) }
    func ids() throws -> [String] { try findings().map(\.id.rawValue) }

    // MARK: Applying what is proposed

    struct Mistake: Error { let text: String }

    /// Does what a shell would do with the lines that a finding proposes.
    mutating func apply(_ finding: DoctorFinding) throws {
        for mend in finding.mends {
            switch mend {
            case .command(let line): try run(line)
            case .configuration(let text): set(text)
            case .advice: break
            }
        }
    }

    /// The words of a line of shell with single quotes.
    static func words(_ line: String) -> [String] {
        var words: [String] = []
        var (word, isQuoted, isOpen) = ("", false, false)
        var rest = Substring(line)
        while let character = rest.popFirst() {
            if character == "'" {
                isQuoted.toggle()
                isOpen = true
            } else if character == "\\", !isQuoted, let next = rest.popFirst() {
                word.append(next)
                isOpen = true
            } else if character == " ", !isQuoted {
                if isOpen { words.append(word) }
                (word, isOpen) = ("", false)
            } else {
                word.append(character)
                isOpen = true
            }
        }
        return isOpen ? words + [word] : words
    }

    private mutating func run(_ line: String) throws {
        var words = Self.words(line)
        guard words.first == "postconf" else { return }
        words.removeFirst()
        if let folder {
            guard words.starts(with: ["-c", folder]) else { throw Mistake(text: line) }
            words.removeFirst(2)
        }
        guard words.count == 2, let option = words.first, let argument = words.last else { throw Mistake(text: line) }
        let parts = argument.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
        let name = parts[0].trimmingCharacters(in: .whitespaces)
        let value = (parts.dropFirst().first ?? "").trimmingCharacters(in: .whitespaces)
            .replacingOccurrences(of: "$$", with: "$")
        switch option {
        case "-e": main[name] = value
        case "-X": main[name] = Self.defaults[name]
        case "-P":
            // postconf: fatal: -Pe does not accept whitespace in parameter value
            guard !value.contains(" ") else { throw Mistake(text: line) }
            overrides[name] = value
        case "-PX": overrides[name] = nil
        default: throw Mistake(text: line)
        }
    }

    private mutating func set(_ text: String) {
        var table = ""
        for line in text.split(separator: "\n").map(String.init) {
            if line.hasPrefix("[") {
                table = line
                if !toml.contains("\(table)\n") { toml += "\(table)\n" }
                continue
            }
            let key = line.prefix { $0 != "=" }
            var kept = toml.components(separatedBy: "\n")
            let start = kept.firstIndex(of: table).map { $0 + 1 } ?? 0
            let end = kept[start...].firstIndex { $0.hasPrefix("[") } ?? kept.endIndex
            if let old = kept[start..<end].firstIndex(where: { $0.hasPrefix(key) }) { kept.remove(at: old) }
            kept.insert(line, at: start)
            toml = kept.joined(separator: "\n")
        }
    }
}
