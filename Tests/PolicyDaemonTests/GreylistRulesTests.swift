// Greylisting as RFC 6647 recommends it (§2.4, §5), through the whole service with its defaults: one row a rule, each
// a sender's tries with the time between them.

import TestSupport
import Testing

@testable import postern_policy

@Suite("greylisting by RFC 6647") struct GreylistRulesTests {
    /// One try: after so many seconds, by whom, and what it is answered.
    struct Try: Sendable {
        let after: Int
        let recipient: Recipient
        let answer: String

        init(_ after: Int, _ answer: String, _ change: (inout Recipient) -> Void = { _ in }) {
            var recipient = Recipient()
            change(&recipient)
            (self.after, self.recipient, self.answer) = (after, recipient, answer)
        }
    }
    struct Row: Sendable, CustomTestStringConvertible {
        let rule: String
        var more = ""
        let tries: [Try]
        var testDescription: String { rule }
    }

    private static let day = 86_400
    private static let wait = "defer 450 4.2.0 Greylisted, try again in 300 seconds"
    private static func other(_ recipient: inout Recipient) {
        (recipient.client, recipient.sender, recipient.recipient) = ("192.0.2.99", "cy@example.com", "di@example.org")
    }

    static let rows = [
        Row(
            rule: "§2.4: a first try is asked to come back, with a code of its own that is not final",
            tries: [Try(0, wait)]),
        Row(
            rule: "§2.4: the triplet is client, sender and recipient: another of them is a first try",
            tries: [
                Try(0, wait), Try(300, wait) { $0.client = "192.0.3.7" },
                Try(0, wait) { $0.sender = "eve@example.net" },
                Try(0, wait) { $0.recipient = "cy@example.org" }, Try(0, "pass"),
            ]),
        Row(
            rule: "§5: a try before the range begins is no retry, and does not make the wait longer",
            tries: [Try(0, wait), Try(1, "defer 450 4.2.0"), Try(298, "defer 450 4.2.0"), Try(1, "pass")]),
        Row(rule: "§5: a retry in the first minutes of the range", tries: [Try(0, wait), Try(301, "pass")]),
        Row(rule: "§5: a retry after 24 hours, which the range has to hold", tries: [Try(0, wait), Try(day, "pass")]),
        Row(rule: "§5: a retry at the end of the range", tries: [Try(0, wait), Try(2 * day, "pass")]),
        Row(
            rule: "§5: a retry after the range is a first try",
            tries: [Try(0, wait), Try(2 * day + 1, wait), Try(300, "pass")]),
        Row(
            rule: "§5: a client that has come back is known, whatever it sends then",
            tries: [Try(0, wait), Try(300, "pass"), Try(0, "pass", other)]),
        Row(
            rule: "§5: it is known for longer than a week without traffic, and from its last mail on",
            tries: [Try(0, wait), Try(300, "pass"), Try(34 * day, "pass"), Try(34 * day, "pass", other)]),
        Row(
            rule: "§5: a client that sends no more is forgotten",
            tries: [Try(0, wait), Try(300, "pass"), Try(35 * day + 1, wait)]),
        Row(
            rule: "§5: IPv4 clients count by /24",
            tries: [
                Try(0, wait) { $0.client = "192.0.2.1" }, Try(300, "pass") { $0.client = "192.0.2.254" },
                Try(0, wait) { $0.client = "192.0.3.1" },
            ]),
        Row(
            rule: "§5: IPv6 clients count by /64",
            tries: [
                Try(0, wait) { $0.client = "2001:db8:0:1::1" },
                Try(300, "pass") { $0.client = "2001:db8:0:1:ffff::1" },
                Try(0, wait) { $0.client = "2001:db8:0:2::1" },
            ]),
        Row(rule: "who has logged in is never asked to come back", tries: [Try(0, "pass") { $0.login = "ann" }]),
        Row(rule: "nor are our own networks", tries: [Try(0, "pass") { $0.client = "127.0.0.1" }]),
        Row(
            rule: "§5: exemptions by client, sender and recipient",
            more: "skip_clients = [\"198.51.100.0/24\"]\nskip_senders = [\"@partner.example\"]\n"
                + "skip_recipients = [\"postmaster@example.org\"]\n",
            tries: [
                Try(0, "pass") { $0.client = "198.51.100.7" }, Try(0, "pass") { $0.sender = "ann@partner.example" },
                Try(0, "pass") { $0.recipient = "postmaster@example.org" }, Try(0, wait),
            ]),
        Row(
            rule: "the null sender waits too, for each recipient (RFC 5321 §4.5.5)",
            tries: [
                Try(0, wait) { $0.sender = "" },
                Try(300, wait) {
                    $0.sender = ""
                    $0.recipient = "cy@example.org"
                }, Try(0, "pass") { $0.sender = "" },
            ]),
    ]

    @Test("recommendations", arguments: rows)
    func recommendations(row: Row) throws {
        let rig = try PolicyRig(configuration: "[greylist]\nclients = \"all\"\n" + row.more)
        for (number, attempt) in row.tries.enumerated() {
            rig.clock.advance(by: .seconds(attempt.after))
            var recipient = attempt.recipient
            recipient.instance = "\(number)"
            let answer = rig.message().answer(recipient.request).text
            #expect(answer.hasPrefix(attempt.answer), "try \(number)")
        }
        #expect(rig.log.warnings.isEmpty)
    }
}
