// Every finding of the doctor's about Postfix's wiring: what triggers it, what does not, and that the lines which it
// proposes silence it and bring no other.

import Glibc
import PosternMail
import Testing

@testable import PosternAdmin

@Suite("doctor: wiring") struct DoctorWiringTests {
    /// One change of a host that is wired right.
    struct Row: CustomTestStringConvertible, Sendable {
        let name: String
        /// All that is found then, in order; "note:" where it is a note, "warning:" likewise.
        let found: [String]
        let change: @Sendable (inout DoctorFixture) -> Void

        init(_ name: String, _ found: String..., change: @escaping @Sendable (inout DoctorFixture) -> Void) {
            (self.name, self.found, self.change) = (name, found, change)
        }
        var testDescription: String { name }
    }

    static func shown(_ findings: [DoctorFinding]) -> [String] {
        findings.map { $0.severity == .error ? $0.id.rawValue : "\($0.severity.rawValue):\($0.id.rawValue)" }
    }

    /// What holds on every Postfix 3.7.11.
    static let always = "note:postfix_version"
    private static let dkim = "{ unix:postern/dkim.sock, default_action=accept, command_timeout=30s }"
    private static let dmarc = "{ unix:postern/dmarc.sock, default_action=accept, command_timeout=30s }"
    private static let policy =
        "check_policy_service { unix:postern/policy.sock, timeout=12s, default_action=DUNNO }"
    /// Whose lines change more than texts.
    private static let ofTheMachine: [DoctorFinding.ID] = [.socketUnreachable, .daemonDown, .state, .clock, .backup]
    private static let submission = "submission/inet/smtpd_milters"
    private static let recipients = "smtpd_recipient_restrictions"

    static let rows = [
        Row("wired as contrib/postfix says") { _ in },
        // Milters
        Row("no milters at the MX", "milter_missing", "milter_missing") { $0.main["smtpd_milters"] = "" },
        Row("postern-dkim missing", "milter_missing") { $0.main["smtpd_milters"] = dmarc },
        Row("postern-dmarc missing", "milter_missing") { $0.main["smtpd_milters"] = dkim },
        Row("postern-dmarc is not used, and nobody verifies", "warning:verified_never") {
            $0.main["smtpd_milters"] = dkim
            $0.machine.running.remove(.dmarc)
        },
        Row("nothing signs at submission", "milter_missing") { $0.overrides[submission] = "" },
        Row("nothing signs what sendmail sends", "milter_missing") { $0.main["non_smtpd_milters"] = "" },
        Row("an empty list is right where nothing is to be signed") {
            $0.main["non_smtpd_milters"] = ""
            $0.overrides[submission] = ""
            $0.toml = $0.toml.replacing(/\[\[dkim\.key\]\](\n[a-z].*)+/, with: "")
        },
        Row("postern-dmarc first", "milter_order") { $0.main["smtpd_milters"] = "\(dmarc), \(dkim)" },
        Row("postern-dkim twice", "milter_order") { $0.main["smtpd_milters"] = "\(dkim), \(dkim), \(dmarc)" },
        Row("another milter between them") { $0.main["smtpd_milters"] = "\(dkim), inet:127.0.0.1:11332, \(dmarc)" },
        Row("postern-dmarc for mail of ours", "note:milter_needless") {
            $0.main["non_smtpd_milters"] = "\(dkim.replacing("accept", with: "tempfail")) \(dmarc)"
        },
        Row("Postfix's own default action at the MX", "milter_default_action", "milter_default_action") {
            $0.main["smtpd_milters"] = "unix:postern/dkim.sock unix:postern/dmarc.sock"
        },
        Row("accept as Postfix's own default action") {
            $0.main["milter_default_action"] = "accept"
            $0.main["smtpd_milters"] = "unix:postern/dkim.sock unix:postern/dmarc.sock"
        },
        Row("reject at the MX", "milter_default_action") {
            $0.main["smtpd_milters"] = "\(dkim.replacing("accept", with: "reject")), \(dmarc)"
        },
        Row("quarantine at the MX", "milter_default_action") {
            $0.main["smtpd_milters"] = "\(dkim), \(dmarc.replacing("accept", with: "quarantine"))"
        },
        Row("accept at submission", "milter_default_action") { $0.overrides[submission] = dkim },
        Row("shutdown at submission") {
            $0.overrides[submission] = dkim.replacing("accept", with: "shutdown")
        },
        Row("submission takes main.cf's list", "note:milter_needless", "milter_default_action") {
            $0.overrides[submission] = nil
        },
        Row("accept for sendmail", "milter_default_action") { $0.main["non_smtpd_milters"] = dkim },
        Row("a short command_timeout", "warning:milter_timeout") {
            $0.main["smtpd_milters"] = "\(dkim), \(dmarc.replacing("30s", with: "10s"))"
        },
        Row("a short milter_command_timeout that nobody uses") { $0.main["milter_command_timeout"] = "5s" },
        Row("a short milter_content_timeout", "warning:milter_timeout") {
            $0.main["milter_content_timeout"] = "20"
        },
        Row("a minute is long enough") { $0.main["milter_content_timeout"] = "1m" },
        Row("an old protocol", "milter_protocol", "milter_protocol") { $0.main["milter_protocol"] = "4" },
        Row("an old protocol for one", "milter_protocol") {
            $0.main["smtpd_milters"] = "\(dkim.replacing("command", with: "protocol=2, command")), \(dmarc)"
        },
        Row("version 6 without replies to headers") { $0.main["milter_protocol"] = "6 no_header_reply" },
        Row("no_milters", "milter_bypassed") {
            $0.main["receive_override_options"] = "no_milters, no_address_mappings"
        },
        Row("other overrides") { $0.main["receive_override_options"] = "no_address_mappings" },
        Row("a filter before the milters", "milter_bypassed") { $0.main["smtpd_proxy_filter"] = "127.0.0.1:10024" },
        Row("milters by client", "note:milter_bypassed") { $0.main["smtpd_milter_maps"] = "cidr:/etc/postfix/m" },
        Row("checks of what milters add", "note:milter_header_checks") {
            $0.main["milter_header_checks"] = "pcre:/etc/postfix/milter_header_checks"
        },
        Row("a brace too few", "milter_syntax") { $0.main["smtpd_milters"] = "{ unix:postern/dkim.sock, \(dmarc)" },
        Row("both verify", "warning:verified_twice") {
            $0.toml = $0.toml.replacing("verify = false", with: "verify = true")
        },
        Row("OpenDKIM too", "warning:peer_still_asked") {
            $0.main["smtpd_milters"] = "inet:localhost:8891, \(dkim), \(dmarc)"
        },
        Row("OpenDMARC too", "warning:peer_still_asked") {
            $0.main["smtpd_milters"] = "\(dkim), \(dmarc), unix:opendmarc/opendmarc.sock"
        },
        Row(
            "a host that comes from OpenDKIM, OpenDMARC, postgrey and policyd-spf", "milter_missing", "milter_missing",
            "milter_missing", "milter_missing", "policy_missing", "limit_never_asked", "warning:peer_still_asked",
            "warning:peer_still_asked", "warning:peer_still_asked"
        ) {
            $0.main["smtpd_milters"] = "local:opendkim/opendkim.sock, local:opendmarc/opendmarc.sock"
            $0.main["non_smtpd_milters"] = "local:opendkim/opendkim.sock"
            $0.main["milter_default_action"] = "accept"
            $0.main[recipients] = """
                permit_mynetworks permit_sasl_authenticated reject_unauth_destination \
                check_policy_service unix:private/policyd-spf check_policy_service inet:127.0.0.1:10023
                """
            $0.main["smtpd_end_of_data_restrictions"] = ""
            $0.overrides = ["submission/inet/smtpd_recipient_restrictions": "permit_sasl_authenticated,reject"]
        },
        Row(
            "the same, and submission inherits main.cf's list", "milter_missing", "milter_missing", "milter_missing",
            "milter_missing", "policy_missing", "limit_never_asked", "warning:peer_still_asked",
            "warning:peer_still_asked", "warning:peer_still_asked"
        ) {
            $0.main["smtpd_milters"] = "local:opendkim/opendkim.sock, local:opendmarc/opendmarc.sock"
            $0.main["non_smtpd_milters"] = "local:opendkim/opendkim.sock, local:opendmarc/opendmarc.sock"
            $0.main[recipients] = "reject_unauth_destination, check_policy_service inet:127.0.0.1:10023"
            $0.main["smtpd_end_of_data_restrictions"] = ""
            $0.overrides = [:]
        },
        // Origin
        Row("ORIGINATING for all", "strangers_are_ours") { $0.main["milter_macro_daemon_name"] = "ORIGINATING" },
        Row("ORIGINATING at port 25", "strangers_are_ours") {
            $0.overrides["smtp/inet/milter_macro_daemon_name"] = "ORIGINATING"
        },
        Row("everybody passes", "strangers_are_ours") {
            $0.overrides["smtp/inet/milter_macro_daemon_name"] = "REINJECT"
        },
        Row("a network that only Postfix knows", "warning:networks_differ") {
            $0.main["mynetworks"] = "127.0.0.0/8 [::1]/128 192.0.2.0/24"
        },
        Row("a network that only Postern knows", "warning:networks_differ") {
            $0.toml = $0.toml.replacing("\"::1/128\"", with: "\"::1/128\", \"198.51.100.0/24\"")
        },
        Row("both know it") {
            $0.main["mynetworks"] = "127.0.0.0/8 192.0.2.0/24 [2001:db8::]/32"
            $0.toml = $0.toml.replacing("\"::1/128\"", with: "\"::1/128\", \"192.0.2.0/24\", \"2001:db8::/32\"")
        },
        Row("a relay is known too") {
            $0.main["mynetworks"] = "127.0.0.0/8 192.0.2.25"
            $0.toml = $0.toml.replacing("[listen]", with: "relays = [\"192.0.2.25\"]\n[listen]")
        },
        Row("tables are not looked into") { $0.main["mynetworks"] = "127.0.0.0/8 cidr:/etc/postfix/networks" },
        // Policy services
        Row("postern-policy is not asked", "policy_missing") {
            $0.main[recipients] = "permit_mynetworks, reject_unauth_destination"
        },
        Row("nobody is asked anything", "policy_missing") { $0.main[recipients] = "" },
        Row("before reject_unauth_destination", "note:policy_order") {
            $0.main[recipients] =
                "permit_mynetworks, reject_unlisted_recipient, \(policy), reject_unauth_destination"
        },
        Row("before it, and nothing else refuses", "warning:policy_order") {
            $0.main["smtpd_relay_before_recipient_restrictions"] = "no"
            $0.main[recipients] =
                "permit_mynetworks, reject_unlisted_recipient, \(policy), reject_unauth_destination"
        },
        Row("without reject_unlisted_recipient", "warning:policy_unlisted_recipient") {
            $0.main[recipients] = "permit_mynetworks, reject_unauth_destination, \(policy), permit"
        },
        Row("behind what ends the list", "policy_never_reached") {
            $0.main[recipients] =
                "reject_unauth_destination, reject_unlisted_recipient, permit, \(policy)"
        },
        Row("behind permit_auth_destination", "policy_never_reached") {
            $0.main[recipients] = "permit_auth_destination, reject_unlisted_recipient, \(policy)"
        },
        Row("Postfix's own default action, and its timeout", "policy_default_action", "warning:policy_timeout") {
            $0.main[recipients] =
                "reject_unauth_destination reject_unlisted_recipient check_policy_service unix:postern/policy.sock"
        },
        Row("OK while it is down", "warning:policy_default_action") {
            $0.main[recipients] = $0.main[recipients]?.replacing("DUNNO", with: "OK")
        },
        Row("a short timeout", "warning:policy_timeout") {
            $0.main[recipients] = $0.main[recipients]?.replacing("12s", with: "3s")
        },
        Row("a long timeout of postern-rate's", "warning:policy_timeout") {
            $0.main["smtpd_end_of_data_restrictions"] =
                $0.main["smtpd_end_of_data_restrictions"]?.replacing("5s", with: "2m")
        },
        Row("in a restriction class") {
            $0.main["smtpd_restriction_classes"] = "gate"
            $0.main["gate"] = policy
            $0.main[recipients] = "reject_unauth_destination, reject_unlisted_recipient, gate"
        },
        Row("in a restriction class that only a table names") {
            $0.main["smtpd_restriction_classes"] = "gate"
            $0.main["gate"] = policy
            $0.main[recipients] = "reject_unauth_destination, check_recipient_access hash:/etc/postfix/gates"
        },
        Row("postgrey too", "warning:peer_still_asked") {
            $0.main[recipients]? += ", check_policy_service inet:127.0.0.1:10023"
        },
        Row("policyd-spf too", "warning:peer_still_asked") {
            $0.main[recipients]? += ", check_policy_service unix:private/policyd-spf"
        },
        // Limits
        Row("no end of data", "limit_never_asked", "warning:limit_unsettled") {
            $0.main["smtpd_end_of_data_restrictions"] = ""
            $0.toml = $0.toml.replacing("\"recipients\"", with: "\"octets\"")
        },
        Row("submission without postern-rate", "limit_never_asked") {
            $0.overrides["submission/inet/smtpd_recipient_restrictions"] = nil
            $0.overrides["submission/inet/smtpd_end_of_data_restrictions"] = ""
        },
        Row("recipients alone", "warning:limit_unsettled") {
            $0.overrides["submission/inet/smtpd_end_of_data_restrictions"] = ""
        },
        Row("the end alone") { $0.overrides["submission/inet/smtpd_recipient_restrictions"] = nil },
        Row("single recipients need RCPT", "limit_never_asked") {
            $0.overrides["submission/inet/smtpd_recipient_restrictions"] = nil
            $0.toml = $0.toml.replacing("[\"sasl_username\"]", with: "[\"sasl_username\", \"recipient\"]")
        },
        Row("a context that nobody gives", "limit_never_asked") {
            $0.overrides["submission/inet/smtpd_recipient_restrictions"] = nil
            $0.toml = $0.toml.replacing("[\"sasl_username\"]", with: "[\"sasl_username\", \"policy_context\"]")
        },
        Row("single recipients of strangers", "limit_never_asked") {
            $0.toml = $0.toml.replacing("[\"sasl_username\"]", with: "[\"client\", \"recipient\"]")
            $0.overrides["submission/inet/smtpd_recipient_restrictions"] = nil
            $0.services.remove(at: 1)
            $0.overrides = [:]
        },
        Row("behind permit_sasl_authenticated logins are not seen", "limit_never_asked") {
            $0.toml = $0.toml.replacing("[\"sasl_username\"]", with: "[\"sasl_username\", \"recipient\"]")
            $0.overrides["submission/inet/smtpd_recipient_restrictions"] =
                "permit_sasl_authenticated, check_policy_service { unix:postern/rate.sock, timeout=5s, "
                + "default_action=DUNNO }"
        },
        Row("single recipients of logins at the MX", "limit_never_asked") {
            $0.toml = $0.toml.replacing("[\"sasl_username\"]", with: "[\"sasl_username\", \"recipient\"]")
            $0.services.remove(at: 1)
            $0.overrides = ["smtp/inet/smtpd_sasl_auth_enable": "yes"]
        },
        Row("nobody logs in", "warning:limit_never_asked") {
            $0.services.remove(at: 1)
            $0.overrides = [:]
        },
        Row("logins at the MX") {
            $0.services.remove(at: 1)
            $0.overrides = ["smtp/inet/smtpd_sasl_auth_enable": "yes"]
        },
        Row("anvil counts too", "warning:limit_doubled") {
            $0.toml = $0.toml.replacing("[\"sasl_username\"]", with: "[\"client\"]")
            $0.main["smtpd_client_recipient_rate_limit"] = "100"
        },
        Row("anvil counts something else") {
            $0.toml = $0.toml.replacing("[\"sasl_username\"]", with: "[\"client\"]")
            $0.main["smtpd_client_connection_rate_limit"] = "100"
        },
        // Content
        Row("a filter's way back is judged", "reinjection_judged") {
            $0.main["content_filter"] = "smtp-amavis:[127.0.0.1]:10024"
            $0.services.append(["127.0.0.1:10025", "inet", "n", "smtpd"])
            $0.overrides["127.0.0.1:10025/inet/content_filter"] = ""
        },
        Row("a filter's way back that passes") {
            $0.main["content_filter"] = "smtp-amavis:[127.0.0.1]:10024"
            $0.services.append(["127.0.0.1:10025", "inet", "n", "smtpd"])
            $0.overrides["127.0.0.1:10025/inet/content_filter"] = ""
            $0.overrides["127.0.0.1:10025/inet/milter_macro_daemon_name"] = "REINJECT"
        },
        Row("a filter's way back without milters") {
            $0.main["content_filter"] = "smtp-amavis:[127.0.0.1]:10024"
            $0.services.append(["127.0.0.1:10025", "inet", "n", "smtpd"])
            $0.overrides["127.0.0.1:10025/inet/content_filter"] = ""
            $0.overrides["127.0.0.1:10025/inet/receive_override_options"] = "no_milters"
        },
        Row("generic maps", "warning:signed_mail_altered") {
            $0.main["smtp_generic_maps"] = "hash:/etc/postfix/generic"
        },
        Row("header checks on the way out, of one transport", "warning:signed_mail_altered") {
            $0.overrides["relay/unix/smtp_header_checks"] = "pcre:/etc/postfix/out"
        },
        Row("8-bit text is converted on the way out", "warning:signed_mail_altered") {
            $0.main["smtp_discard_ehlo_keywords"] = "dsn, 8BITMIME"
        },
        Row("of one transport", "warning:signed_mail_altered") {
            $0.overrides["relay/unix/smtp_discard_ehlo_keywords"] = "8bitmime"
        },
        Row("other keywords are nobody's business") { $0.main["smtp_discard_ehlo_keywords"] = "dsn, pipelining" },
        Row("lines are broken early", "warning:signed_mail_altered") { $0.main["smtp_line_length_limit"] = "512" },
        Row("lines are never broken, or where all break them") {
            $0.main["smtp_line_length_limit"] = "0"
            $0.overrides["relay/unix/smtp_line_length_limit"] = "998"
        },
        Row("the same, and nothing is signed") {
            $0.main["smtp_generic_maps"] = "hash:/etc/postfix/generic"
            $0.main["non_smtpd_milters"] = ""
            $0.overrides[submission] = ""
            $0.toml = $0.toml.replacing(/\[\[dkim\.key\]\](\n[a-z].*)+/, with: "")
        },
        Row("strangers' headers are completed", "strangers_mail_altered") {
            $0.main["remote_header_rewrite_domain"] = "domain.invalid"
        },
        Row("everybody's headers are rewritten", "strangers_mail_altered") {
            $0.main["local_header_rewrite_clients"] = "static:all"
        },
        Row("canonical maps", "note:strangers_mail_altered") { $0.main["canonical_maps"] = "hash:/etc/canonical" },
        Row("masquerading", "note:strangers_mail_altered") { $0.main["masquerade_domains"] = "example.org" },
        Row("soft_bounce", "warning:soft_bounce") { $0.main["soft_bounce"] = "yes" },
        // Sockets
        Row("an absolute path from inside of the chroot", "socket_elsewhere") {
            $0.main["smtpd_milters"] =
                "\(dkim.replacing("unix:", with: "unix:/var/spool/postfix/")), \(dmarc)"
        },
        Row("an absolute path without a chroot") {
            $0.services[0][2] = "n"
            $0.main["smtpd_milters"] =
                "\(dkim.replacing("unix:", with: "unix:/var/spool/postfix/")), \(dmarc)"
        },
        Row("another folder", "socket_elsewhere") {
            $0.toml = $0.toml.replacing("[listen]\n", with: "[listen]\npolicy = \"unix:/run/postern/policy.sock\"\n")
        },
        Row("TCP") {
            $0.toml = $0.toml.replacing("[listen]\n", with: "[listen]\npolicy = \"inet:9000@127.0.0.1\"\n")
            $0.main[recipients] = $0.main[recipients]?.replacing(
                "unix:postern/policy.sock", with: "inet:localhost:9000")
        },
        Row("not let in", "socket_unreachable") {
            $0.machine.trials = [
                SocketTrial(spelling: "unix:postern/dkim.sock", isChrooted: true, outcome: .refused(EACCES))
            ]
        },
        Row("let in, or not tried") {
            $0.machine.trials = [
                SocketTrial(spelling: "unix:postern/dkim.sock", isChrooted: true, outcome: .reached),
                SocketTrial(spelling: "unix:postern/dmarc.sock", isChrooted: true, outcome: .untried("not root")),
            ]
        },
        Row("nobody there, and the daemon is down", "daemon_down") {
            $0.machine.running.remove(.dkim)
            $0.machine.trials = [
                SocketTrial(spelling: "unix:postern/dkim.sock", isChrooted: true, outcome: .refused(ECONNREFUSED))
            ]
        },
        Row("a store that other hosts share is away", "warning:store_unreachable") {
            $0.toml += "[store]\nurl = \"redis://192.0.2.10\"\n"
            $0.machine.storeTrouble = "connect: Connection refused"
        },
        Row("it is there") { $0.toml += "[store]\nurl = \"redis://192.0.2.10\"\n" },
        // DNS, machine
        Row("a loop", "dns_loop") { $0.machine.resolvers = [.v4(0x7F00_0001)] },
        Row("the system asks somebody else") { $0.machine.resolvers = [.v4(0xC000_0235)] },
        Row("somebody else is asked for us") {
            $0.machine.resolvers = [.v4(0x7F00_0001)]
            $0.toml += "[dns]\nupstream = [\"192.0.2.53\"]\n"
        },
        Row("a dead list", "warning:list_dead") {
            $0.toml += "[[dnsbl.list]]\nzone = \"dnsbl.sorbs.net\"\nscores = { \"127.0.0.2\" = 4 }\n"
        },
        Row("a list by a public resolver", "warning:list_refused") {
            $0.toml += "[[dnsbl.list]]\nzone = \"zen.spamhaus.org\"\nscores = { \"127.0.0.2\" = 4 }\n"
            $0.machine.resolvers = [.v4(0x0808_0808)]
        },
        Row("no rights", "state") {
            $0.machine.stateTroubles = [.init(daemon: .policy, text: "expected …, found …", command: "chown x y")]
        },
        Row("no rights of a daemon that nobody uses") {
            $0.machine.running.remove(.rate)
            $0.toml = $0.toml.replacing(/\[\[limit\]\](\n[a-z].*)+/, with: "")
            $0.main["smtpd_end_of_data_restrictions"] = ""
            $0.overrides["submission/inet/smtpd_recipient_restrictions"] = nil
            $0.machine.stateTroubles = [.init(daemon: .rate, text: "expected …, found …", command: "chown x y")]
        },
        Row("a disk that the kernel has stopped to write to", "state") {
            $0.machine.disks = [
                .init(
                    folder: "/var/lib/postern", free: 1 << 40, total: 1 << 40, freeFiles: 1 << 20, isReadOnly: true)
            ]
        },
        Row("a full disk", "disk_space") {
            $0.machine.disks = [.init(folder: "/var/lib/postern", free: 1 << 20, total: 1 << 40, freeFiles: 1 << 20)]
        },
        Row("no files left", "disk_space") {
            $0.machine.disks = [.init(folder: "/var/lib/postern", free: 1 << 40, total: 1 << 40, freeFiles: 0)]
        },
        Row("little room", "warning:disk_space") {
            $0.machine.disks = [.init(folder: "/var/lib/postern", free: 100 << 20, total: 1 << 40, freeFiles: 1 << 20)]
        },
        Row("room for one message", "disk_space") {
            $0.main["message_size_limit"] = "\(200 << 20)"
            $0.machine.disks = [
                .init(folder: "/var/spool/postfix", free: 290 << 20, total: 1 << 40, freeFiles: 1 << 20)
            ]
        },
        Row("room") {
            $0.machine.disks = [.init(folder: "/var/lib/postern", free: 1 << 30, total: 1 << 40, freeFiles: 1 << 20)]
        },
        Row("a clock that nobody keeps", "warning:clock") { $0.machine.isClockSynchronised = false },
        Row("a clock that nobody knows of") { $0.machine.isClockSynchronised = nil },
        Row("never a backup", "note:backup") { $0.machine.backup = .never },
        Row("no backup for two nights", "warning:backup") {
            $0.machine.backup = .made(ago: 2 * 86_400, tested: 86_400)
        },
        Row("backups that nobody has ever tried", "note:backup") {
            $0.machine.backup = .made(ago: 3600, tested: nil)
        },
        Row("backups that nobody has tried for long", "note:backup") {
            $0.machine.backup = .made(ago: 3600, tested: 15 * 86_400)
        },
        Row("a backup of last night") { $0.machine.backup = .made(ago: 30 * 3600, tested: 13 * 86_400) },
        Row("backups that nobody could look at") { $0.machine.backup = .unknown },
    ]

    @Test("what is found", arguments: rows) func found(row: Row) throws {
        var fixture = DoctorFixture()
        row.change(&fixture)
        let findings = try fixture.findings().filter { $0.id != .postfixVersion }
        #expect(Self.shown(findings).sorted() == row.found.sorted(), "\(findings.map(\.lines).joined())")
        for finding in findings {
            #expect(!finding.what.isEmpty && !finding.why.isEmpty && !finding.mends.isEmpty)
            // Everything is one line.
            #expect(!finding.lines.contains("\n\n"))
        }
    }

    @Test("what is proposed silences it, and brings no other finding", arguments: rows) func mended(row: Row) throws {
        for folder in [nil, "/etc/post fix"] {
            var fixture = DoctorFixture()
            fixture.folder = folder
            row.change(&fixture)
            let before = try fixture.findings()
            for finding in before where finding.mends.contains(where: { if case .advice = $0 { false } else { true } })
            {
                var copy = fixture
                // Those about the machine are tried on a real one.
                guard !Self.ofTheMachine.contains(finding.id) else { continue }
                try copy.apply(finding)
                let after = try copy.findings()
                #expect(!after.contains(finding), "\(finding.lines)\(copy.main)")
                let known = Set(before.map(\.id))
                // Where much is wrong a mended list may be inherited by who needs another one.
                #expect(
                    after.count < before.count || after.allSatisfy { known.contains($0.id) },
                    "\(finding.lines)\(after.map(\.lines).joined())")
            }
            // All of them, one after another.
            for finding in before { try fixture.apply(finding) }
            let left = try fixture.findings().filter { finding in
                !finding.mends.allSatisfy { if case .advice = $0 { true } else { false } }
                    && !Self.ofTheMachine.contains(finding.id)
            }
            #expect(left.isEmpty, "\(left.map(\.lines).joined())")
        }
    }

    @Test(
        "versions of Postfix",
        arguments: [
            ("3.7.11", ["note:postfix_version"]), ("3.7.10", ["warning:postfix_version", "note:postfix_version"]),
            ("3.7.22", []), ("3.6.14", ["warning:postfix_version", "note:postfix_version"]),
            ("3.8.6", ["note:postfix_version"]), ("3.9.0", ["note:postfix_version"]), ("3.11.6", []), ("3.12.0", []),
            ("3.12-20260821", []),
            ("3.4.9", ["warning:postfix_version", "warning:postfix_version", "note:postfix_version"]),
            ("3.4.10", ["warning:postfix_version", "note:postfix_version"]),
            ("2.11.3", ["postfix_version"]), ("unknown", []),
        ]) func versions(version: String, expected: [String]) throws
    {
        var fixture = DoctorFixture()
        fixture.main["mail_version"] = version
        #expect(Self.shown(try fixture.findings()) == expected)
    }

    @Test("services that share a mistake share a finding") func merged() throws {
        var fixture = DoctorFixture()
        fixture.services.append(["2525", "inet", "y", "smtpd"])
        fixture.main["smtpd_milters"] = "\(Self.dmarc), \(Self.dkim)"
        let finding = try #require(try fixture.findings().first)
        #expect(finding.id == .milterOrder && finding.places == ["smtp/inet", "2525/inet"])
        #expect(
            finding.mends == [.command("postconf -e 'smtpd_milters = \(Self.dkim), \(Self.dmarc)'")])
    }

    @Test("what comes from the peers becomes what contrib/postfix says") func migrated() throws {
        var fixture = DoctorFixture()
        let row = try #require(Self.rows.first { $0.name.hasPrefix("a host that comes from") })
        row.change(&fixture)
        for finding in try fixture.findings() { try fixture.apply(finding) }
        #expect(fixture.main["smtpd_milters"] == "\(Self.dkim), \(Self.dmarc)")
        #expect(
            fixture.main[Self.recipients] == """
                permit_mynetworks, permit_sasl_authenticated, reject_unauth_destination, reject_unlisted_recipient, \
                \(Self.policy)
                """)
        #expect(
            fixture.overrides[Self.submission]
                == "{unix:postern/dkim.sock,default_action=tempfail,command_timeout=30s}")
    }

    @Test("the lines of one service, with --postfix-config") func lines() throws {
        var fixture = DoctorFixture()
        fixture.folder = "/etc/postfix-out"
        fixture.overrides["submission/inet/smtpd_milters"] = nil
        let findings = try fixture.findings().filter { $0.id == .milterDefaultAction }
        #expect(
            findings.first?.lines == """
                error: milter_default_action (submission/inet): its default_action is accept for postern-dkim in \
                smtpd_milters
                  why: while postern-dkim is down, mail of ours leaves unsigned; under p=reject that is lost mail
                  run: postconf -c /etc/postfix-out -P \
                'submission/inet/smtpd_milters={unix:postern/dkim.sock,default_action=tempfail,command_timeout=30s}'

                """)
    }
}
