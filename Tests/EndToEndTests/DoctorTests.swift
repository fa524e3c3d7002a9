// `postern doctor` on a real Postfix: silent where all is wired as contrib/postfix says, loud where one thing is not,
// and silent again once the line that it proposes has been run.

import Foundation
import Glibc
import PostfixHarness
import TestSupport
import Testing

extension EndToEnd {
    @Suite("doctor", .serialized) struct Doctor {
        /// One thing that goes wrong.
        struct Row: Sendable {
            let id: String
            let severity: String
            let breaking: @Sendable (DoctorHost) throws -> Void

            init(
                _ id: String, _ severity: String = "error", _ breaking: @escaping @Sendable (DoctorHost) throws -> Void
            ) {
                (self.id, self.severity, self.breaking) = (id, severity, breaking)
            }

            /// By words for postconf.
            static func postconf(_ id: String, _ severity: String = "error", _ words: String...) -> Row {
                Row(id, severity) { try $0.postconf(words) }
            }
        }

        private static let policy =
            "check_policy_service { unix:postern/policy.sock, timeout=12s, default_action=DUNNO }"
        private static let dkim = "{ unix:postern/dkim.sock, default_action=accept, command_timeout=30s }"
        private static let dmarc = "{ unix:postern/dmarc.sock, default_action=accept, command_timeout=30s }"

        /// Findings whose lines are about systemd, the machine's users or its own resolver, which no test may touch. The
        /// first is in `down` below, the others in PosternAdminTests.
        static let ofTheMachine: Set<String> = ["daemon_down", "clock", "dns_loop", "key_file", "state"]
        /// In `down` below: a daemon must be stopped for it.
        static let withoutDaemon: Set<String> = ["verified_never"]

        static let rows: [Row] = [
            .postconf("milter_missing", "error", "-e", "smtpd_milters ="),
            .postconf("milter_missing", "error", "-X", "non_smtpd_milters"),
            .postconf(
                "milter_order", "error", "-e",
                "smtpd_milters = { unix:postern/dmarc.sock, default_action=accept }, "
                    + "{ unix:postern/dkim.sock, default_action=accept }"),
            .postconf(
                "milter_default_action", "error", "-e",
                "smtpd_milters = unix:postern/dkim.sock unix:postern/dmarc.sock"),
            .postconf(
                "milter_default_action", "error", "-e",
                "non_smtpd_milters = { unix:postern/dkim.sock, default_action=accept }"),
            .postconf("milter_protocol", "error", "-e", "milter_protocol = 4"),
            .postconf("milter_bypassed", "error", "-e", "receive_override_options = no_milters"),
            .postconf("milter_timeout", "warning", "-e", "milter_content_timeout = 10s"),
            .postconf("strangers_are_ours", "error", "-e", "milter_macro_daemon_name = ORIGINATING"),
            .postconf("networks_differ", "warning", "-e", "mynetworks = 127.0.0.0/8, 192.0.2.0/24"),
            .postconf("strangers_mail_altered", "error", "-e", "remote_header_rewrite_domain = domain.invalid"),
            .postconf(
                "signed_mail_altered", "warning", "-e", "smtp_generic_maps = inline:{a@example.org=b@example.org}"),
            .postconf("signed_mail_altered", "warning", "-e", "smtp_discard_ehlo_keywords = 8bitmime, dsn"),
            .postconf("signed_mail_altered", "warning", "-e", "smtp_line_length_limit = 100"),
            .postconf("soft_bounce", "warning", "-e", "soft_bounce = yes"),
            .postconf("policy_missing", "error", "-e", "smtpd_recipient_restrictions = reject_unauth_destination"),
            .postconf(
                "policy_unlisted_recipient", "warning", "-e",
                "smtpd_recipient_restrictions = reject_unauth_destination, \(policy)"),
            .postconf(
                "policy_order", "note", "-e", "smtpd_recipient_restrictions = \(policy), reject_unauth_destination"),
            .postconf(
                "policy_never_reached", "error", "-e",
                "smtpd_recipient_restrictions = permit_mynetworks, reject, \(policy)"),
            .postconf(
                "policy_default_action", "error", "-e",
                "smtpd_recipient_restrictions = reject_unauth_destination, reject_unlisted_recipient, "
                    + "check_policy_service unix:postern/policy.sock"),
            .postconf("milter_syntax", "error", "-e", "smtpd_milters = { unix:postern/dkim.sock, \(dmarc)"),
            .postconf(
                "milter_needless", "note", "-e",
                "non_smtpd_milters = \(dkim.replacing("accept", with: "tempfail")), "
                    + "\(dmarc.replacing("accept", with: "tempfail"))"),
            .postconf(
                "milter_timeout", "warning", "-e", "smtpd_milters = \(dkim.replacing("30s", with: "9s")), \(dmarc)"),
            .postconf("strangers_mail_altered", "error", "-e", "local_header_rewrite_clients = static:all"),
            .postconf(
                "policy_timeout", "warning", "-e",
                "smtpd_recipient_restrictions = reject_unauth_destination, reject_unlisted_recipient, "
                    + policy.replacing("12s", with: "3s")),
            .postconf(
                "peer_still_asked", "warning", "-e",
                "smtpd_recipient_restrictions = reject_unauth_destination, reject_unlisted_recipient, "
                    + "check_policy_service inet:127.0.0.1:10023, \(policy)"),
            .postconf("helo_name", "error", "-e", "smtp_helo_name = vm"),
            .postconf("helo_name", "error", "-e", "myhostname = vm"),
            .postconf("ptr", "warning", "-e", "smtp_helo_name = mx9.example.org"),
            .postconf("inbound_tls", "warning", "-e", "smtpd_tls_security_level = none"),
            .postconf("limit_never_asked", "error", "-e", "smtpd_end_of_data_restrictions ="),
            Row("limit_unsettled", "warning") { host in
                try host.postconf([
                    "-e",
                    "smtpd_recipient_restrictions = reject_unauth_destination, reject_unlisted_recipient, \(policy), "
                        + "check_policy_service { unix:postern/rate.sock, timeout=5s, default_action=DUNNO }",
                ])
                try host.postconf(["-P", "\(try host.mx())/smtpd_end_of_data_restrictions="])
            },
            Row("verified_twice", "warning") { try $0.set("[dkim]\nverify = true") },
            Row("networks_differ", "warning") {
                try $0.set("[host]\nnetworks = [\"127.0.0.0/8\", \"::1/128\", \"198.51.100.0/24\"]")
            },
            Row("backup", "note") { try $0.forgetBackup("backup.last") },
            Row("backup", "warning") { try $0.ageBackup("backup.last", days: 2) },
            Row("backup", "note") { try $0.forgetBackup("backup.tested") },
            Row("backup", "note") { try $0.ageBackup("backup.tested", days: 15) },
            .postconf("limit_doubled", "warning", "-e", "smtpd_client_message_rate_limit = 50"),
            .postconf(
                "peer_still_asked", "warning", "-e",
                "smtpd_milters = inet:localhost:8891, { unix:postern/dkim.sock, default_action=accept, "
                    + "command_timeout=30s }, { unix:postern/dmarc.sock, default_action=accept, command_timeout=30s }"),
            Row("milter_missing") { try $0.postconf(["-P", "\(try $0.submission())/smtpd_milters="]) },
            Row("milter_default_action") { try $0.postconf(["-PX", "\(try $0.submission())/smtpd_milters"]) },
            Row("limit_never_asked") {
                try $0.postconf(["-P", "\(try $0.submission())/smtpd_end_of_data_restrictions="])
            },
            Row("socket_elsewhere") { host in
                try host.postconf([
                    "-e",
                    "non_smtpd_milters = { unix:\(host.postern.path)/dkim.sock, default_action=tempfail, "
                        + "command_timeout=30s }",
                ])
            },
            Row("socket_unreachable") { chmod($0.postern.path, 0o700) },
            Row("socket_unreachable") { chmod($0.postern.appending(path: "policy.sock").path, 0o600) },
            Row("reinjection_judged") { host in
                try host.postconf(["-e", "content_filter = smtp:[127.0.0.1]:10024"])
                try host.postconf([
                    "-Me", "127.0.0.1:10025/inet=127.0.0.1:10025 inet n - n - - smtpd -o content_filter=",
                ])
            },
        ]

        @Test("silent as contrib/postfix wires it, loud where it is not, silent when the line is run")
        func findings() throws {
            let host = try DoctorHost()
            let right = try host.doctor()
            #expect(right.serious.isEmpty, "\(right.findings)")
            // What depends on this machine's Postfix is a note.
            #expect(right.findings.filter { $0.severity == "note" && $0.id != "postfix_version" }.isEmpty, "\(right)")
            for row in Self.rows {
                try row.breaking(host)
                let broken = try host.doctor()
                let found = broken.first(row.id)
                #expect(found?.severity == row.severity, "\(row.id): \(broken.findings)")
                #expect(broken.status == (row.severity == "error" ? 1 : right.status), "\(row.id)")
                try host.apply(row.id, of: broken)
                let mended = try host.doctor()
                #expect(mended.first(row.id) == nil, "\(row.id): \(broken.findings)\n\(mended.findings)")
                // Postfix takes what was written.
                #expect(try host.postfix.command("postfix", ["check"]).status == 0, "\(row.id)")
                try host.restore()
            }
            #expect(try host.doctor().serious.isEmpty)
        }

        @Test("every finding that a line mends is among them")
        func complete() throws {
            let host = try DoctorHost()
            let help = try host.help()
            let words = try #require(help.firstMatch(of: /FINDING is one of\n((?:  .*\n)+)/)).1
                .split { $0.isWhitespace || $0 == "," }.map(String.init)
            #expect(words.count > 40 && Set(words).count == words.count)
            let shown = Set(Self.rows.map(\.id)).union(Self.withoutDaemon)
            #expect(shown.union(Self.ofTheMachine).union(DoctorWords.withoutLine) == Set(words))
            #expect(shown.isDisjoint(with: Self.ofTheMachine) && shown.isDisjoint(with: DoctorWords.withoutLine))
        }

        @Test("a host that comes from OpenDKIM, OpenDMARC and postgrey: the lines make mail flow, signed and judged")
        func mail() throws {
            let host = try DoctorHost()
            // As their packages' README files say.
            try host.postconf([
                "-e", "smtpd_milters = local:opendkim/opendkim.sock, local:opendmarc/opendmarc.sock",
                "non_smtpd_milters = $smtpd_milters", "milter_default_action = accept",
                "smtpd_end_of_data_restrictions =",
                "smtpd_recipient_restrictions = permit_mynetworks, permit_sasl_authenticated, "
                    + "reject_unauth_destination, check_policy_service inet:127.0.0.1:10023",
            ])
            try host.postconf(["-PX", "\(try host.submission())/smtpd_milters"])
            let broken = try host.doctor()
            #expect(broken.status == 1)
            let text = try host.run([]).text
            let lines = text.split(separator: "\n").filter { $0.hasPrefix("  run: postconf ") }.map { $0.dropFirst(7) }
            #expect(lines.count >= 5, "\(text)")
            for line in lines { try host.shell(String(line)) }
            let reload = try #require(
                text.split(separator: "\n").first { $0.hasPrefix("after changes to Postfix: ") }, "\(text)")
            try host.shell(String(reload.dropFirst(26)))
            // master(8) starts smtpd by the old master.cf until it has seen the signal.
            try host.postfix.await(line: "the reload") { $0.service == "master" && $0.text.hasPrefix("reload ") }
            let mended = try host.doctor()
            #expect(mended.serious.isEmpty, "\(mended.findings)")

            let user = try host.postfix.connect("submission")
            try user.expect("EHLO laptop")
            let reply = try user.send(
                from: "ann@example.org", to: ["bo@example.org"],
                Array("From: Ann <ann@example.org>\r\nSubject: a letter\r\n\r\nHello\r\n".utf8))
            let message = try host.postfix.delivered(queueID: try #require(reply.queueID, "\(reply)"))
            #expect(message.fields("DKIM-Signature").count == 1)
            let stranger = try host.postfix.connect()
            try stranger.xclient(name: "mx.example.net", address: "192.0.2.7")
            try stranger.expect("EHLO mx.example.net")
            let spoof = try stranger.send(
                from: "ann@example.org", to: ["bo@example.org"],
                Array("From: Ann <ann@example.org>\r\nSubject: a spoof\r\n\r\nHello\r\n".utf8))
            let judged = try host.postfix.delivered(queueID: try #require(spoof.queueID, "\(spoof)"))
            #expect(judged.fields("Authentication-Results").first?.value.contains("dmarc=fail") == true)
        }

        @Test("a daemon that does not run is told")
        func down() throws {
            let host = try DoctorHost()
            try host.stop("dmarc")
            let report = try host.doctor()
            #expect(report.serious.map(\.id) == ["daemon_down"], "\(report.findings)")
            #expect(report.status == 1)
            #expect(report.first("daemon_down")?.mend.first?.text == "systemctl enable --now postern-dmarc")
            // Who wants no judgement takes it out of the list; then nobody verifies.
            try host.postconf(["-e", "smtpd_milters = \(Self.dkim)"])
            let alone = try host.doctor()
            #expect(alone.serious.map(\.id) == ["verified_never"], "\(alone.findings)")
            try host.apply("verified_never", of: alone)
            #expect(try host.doctor().serious.isEmpty)
        }

        @Test("who is not root is told what was not looked at")
        func nobody() throws {
            let host = try DoctorHost()
            let result = try host.run([], as: 65_534)
            #expect(
                result.errors.contains("not looked at: sockets: only root can try it as Postfix would"), "\(result)")
            #expect(!result.text.contains("error: socket_unreachable"), "\(result.text)")
        }
    }
}
