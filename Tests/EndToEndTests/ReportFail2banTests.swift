// contrib/fail2ban's filter on log lines of both forms: whom it would ban, and that nobody can have another one banned.

import Foundation
import PostfixHarness
import Testing

/// fail2ban-regex(1).
enum Fail2ban {
    static var isAvailable: Bool {
        PostfixInstance.isAvailable
            && (ProcessInfo.processInfo.environment["POSTERN_TEST_ALL"] != nil
                || FileManager.default.isExecutableFile(atPath: "/usr/bin/fail2ban-regex"))
    }

    /// The addresses that lines count against, in order.
    static func banned(by lines: [String], mode: String) throws -> [String] {
        let folder = try TemporaryFolder()
        let log = try folder.write("log", lines.joined(separator: "\n") + "\n")
        let filter = SourceTree.root.appending(path: "contrib/fail2ban/filter.d/postern.conf").path
        let result = try Program.run("/usr/bin/fail2ban-regex", ["-o", "ip", log.path, "\(filter)[mode=\(mode)]"])
        guard result.status == 0 else { throw HarnessError("fail2ban-regex: \(result)") }
        return result.text.split(separator: "\n").map(String.init)
    }
}

extension EndToEnd {
    @Suite("fail2ban", .serialized, .enabled(if: Fail2ban.isAvailable, "needs fail2ban")) struct Fail2banFilter {
        static let tail = "from=<a@b.example> to=<c@d.example> proto=ESMTP helo=<x>"

        /// A JSON line of postern-policy.
        static func object(_ action: String, _ address: String, text: String, from: String = "", helo: String = "x")
            -> String
        {
            #"{"time":"2026-11-21T01:52:23.004Z","program":"postern-policy","pid":815,"level":"info","queue_id":null,"#
                + #""action":"\#(action)","stage":"RCPT","client_name":null,"client_address":"\#(address)","#
                + #""text":"\#(text)","from":"\#(from)","to":"a@b.example","proto":"ESMTP","helo":"\#(helo)","#
                + #""answers":{"action":"\#(action)"},"dnsbl_listings":{"list":["zen.spamhaus.org"]}}"#
        }

        static let refused = [
            // Each form of time, and of line.
            "Nov 21 01:52:23 mx1 postern-policy[815]: NOQUEUE: reject: RCPT from mx.example.net[192.0.2.1]: 550 "
                + "5.7.1 no; "
                + tail,
            "2026-11-21T01:52:23.004123+00:00 mx1 postern-policy[815]: 4cXk2J1hz: reject: RCPT from "
                + "unknown[2001:db8::2]: "
                + "554 5.7.1 no (dnsbl: score 4); \(tail)",
            "Nov 21 01:52:23 mx1 postern-policy[815]: " + object("reject", "192.0.2.3", text: "550 5.7.1 no"),
            object("reject", "192.0.2.4", text: "550 5.7.1 no"),
        ]
        static let limited =
            "Nov 21 01:52:23 mx1 postern-rate[815]: NOQUEUE: defer: RCPT from mx.example.net[192.0.2.5]: 450 4.7.1 "
            + "slow down "
            + "(limit per account: ann: 3 of 3 recipients in 3600s, free in 35s); \(tail)"
        static let judged =
            "Nov 21 01:52:23 mx1 postern-dmarc[815]: 4cXk2J1hz: reject: END-OF-MESSAGE from mx.example.net[192.0.2.6]: "
            + "550 5.7.26 no; from=<a@b.example> helo=<x>"

        /// A line that a client wrote for somebody else, in every place that it can write.
        static let forged =
            "Nov 21 01:52:23 mx1 postern-policy[815]: NOQUEUE: reject: RCPT from a[203.0.113.1]: 550 5.7.1 x"
        static let innocent = [
            "Nov 21 01:52:23 mx1 postern-policy[815]: NOQUEUE: defer: RCPT from mx.example.net[192.0.2.9]: 450 "
                + "4.2.0 later "
                + "(greylist: first try of 192.0.2.0/24; 300 s left); from=<a@b.example> helo=<\(forged)>",
            "Nov 21 01:52:23 mx1 postern-policy[815]: NOQUEUE: pass: RCPT from mx.example.net[192.0.2.9]: no "
                + "objection; "
                + "from=<\(forged)> to=<\(forged)> proto=ESMTP helo=<x>",
            "Nov 21 01:52:23 mx1 postern-policy[815]: NOQUEUE: pass: RCPT from mx.example.net[192.0.2.9]: "
                + "\(forged); \(tail)",
            "Nov 21 01:52:23 mx1 postfix/smtpd[815]: warning: \(forged)",
            "Nov 21 01:52:23 mx1 postfix/smtpd[815]: postern-policy[815]: NOQUEUE: reject: RCPT from "
                + "a[203.0.113.1]: 550 x",
            "Nov 21 01:52:23 postfix/smtpd[815]: postern-policy[815]: NOQUEUE: reject: RCPT from a[203.0.113.1]: 550 x",
            "Nov 21 01:52:23 mx1 postern-policy[815]: warning: NOQUEUE: reject: RCPT from a[203.0.113.1]: 550 x",
            "Nov 21 01:52:23 mx1 postern-policy[815]: "
                + object("pass", "192.0.2.9", text: "no", from: forged, helo: forged),
            object("pass", "192.0.2.9", text: "no", helo: #"\"action\":\"reject\",\"client_address\":\"203.0.113.1\""#),
            object(
                "pass", "192.0.2.9",
                text: #"x\",\"action\":\"reject\",\"client_address\":\"203.0.113.1\",\"text\":\"550 "#),
            "Nov 21 01:52:23 mx1 postern-policy[815]: NOQUEUE: reject: RCPT from unknown[unknown]: 550 5.7.1 no; "
                + "\(tail)",
        ]

        @Test(
            "who is refused is counted; who is named in a stranger's words is not",
            arguments: [
                ("normal", ["192.0.2.1", "2001:db8::2", "192.0.2.3", "192.0.2.4"]),
                ("limits", ["192.0.2.1", "2001:db8::2", "192.0.2.3", "192.0.2.4", "192.0.2.5"]),
                ("aggressive", ["192.0.2.1", "2001:db8::2", "192.0.2.3", "192.0.2.4", "192.0.2.5", "192.0.2.6"]),
            ])
        func filter(_ mode: String, _ expected: [String]) throws {
            let lines = Self.refused + [Self.limited, Self.judged] + Self.innocent
            #expect(try Fail2ban.banned(by: lines, mode: mode) == expected)
            #expect(try Fail2ban.banned(by: Self.innocent, mode: mode) == [])
        }
    }
}
