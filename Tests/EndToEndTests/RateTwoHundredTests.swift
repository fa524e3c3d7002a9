// Two hundred recipients an hour, on a real Postfix: the 201st is deferred however they come, and what postern-rate says that
// it counted is what Postfix has accepted.

import Foundation
import PostfixHarness
import Synchronization
import Testing

extension EndToEnd.Rate {
    @Suite("two hundred an hour", .serialized) struct TwoHundred {
        struct Row: Sendable, CustomTestStringConvertible {
            let testDescription: String
            let sender: RateSender
            /// How many recipients a message has.
            let recipients: Int
            /// Messages of one session, or commands of one write.
            let isPipelined: Bool
            /// Messages of a session, so that connections come and go.
            let messages: Int

            init(
                _ name: String, _ sender: RateSender, recipients: Int, messages: Int = 40, isPipelined: Bool = false
            ) {
                testDescription = name
                self.sender = sender
                self.recipients = recipients
                self.messages = messages
                self.isPipelined = isPipelined
            }
        }

        @Test(
            "two hundred recipients are accepted, the next is deferred",
            arguments: [
                Row("an account, one message", .account("ann"), recipients: 201),
                Row("an account, many messages", .account("bo"), recipients: 1),
                Row("an account, messages of seven", .account("cy"), recipients: 7),
                Row("an account, one message, pipelined", .account("di"), recipients: 201, isPipelined: true),
                Row("an account, many messages, pipelined", .account("ed"), recipients: 1, isPipelined: true),
                Row("a stranger, one message", .stranger("192.0.2.1"), recipients: 201),
                Row("a stranger, many messages", .stranger("192.0.2.2"), recipients: 1),
                Row("a stranger, one message, pipelined", .stranger("192.0.2.3"), recipients: 201, isPipelined: true),
                Row("a stranger, many messages, pipelined", .stranger("192.0.2.4"), recipients: 1, isPipelined: true),
                Row("a stranger, messages of seven", .stranger("192.0.2.5"), recipients: 7, messages: 5),
            ])
        func counted(row: Row) throws {
            let host = try TwoHundredHost.shared()
            let deferred = try host.counter("postern_rate_answers_total", "defer")
            let passed = try host.counter("postern_rate_answers_total", "dunno")
            var tally = Tally()
            while tally.refused == 0 {
                let client = try host.session(row.sender)
                for _ in 0..<row.messages where tally.refused == 0 {
                    try tally.send(row, on: client)
                }
                try client.quit()
            }
            #expect(tally.accepted == 200)
            #expect(tally.refusal?.code == 450 && tally.refusal?.lines.first?.hasSuffix(": Slow down") == true)
            // Postfix, limit show and the counters say the same.
            #expect(try tally.queued.map { try host.acceptedRecipients($0) }.reduce(0, +) == 200)
            #expect(try host.standing(row.sender.key, in: row.sender.limit) == LimitStanding(used: 200, isOver: true))
            #expect(try host.counter("postern_rate_answers_total", "defer") == deferred + tally.refused)
            #expect(try host.counter("postern_rate_answers_total", "dunno") == passed + 200 + tally.queued.count)
        }

        /// How a message is given up.
        enum Ending: String, Sendable, CaseIterable {
            case reset = "RSET"
            case greeting = "EHLO laptop.example.org"
            /// Refused there by a restriction of Postfix's own.
            case data = "DATA"
            /// Refused there by another limit.
            case endOfData = "."
        }

        @Test("a message that is given up or refused after its recipients gives them back", arguments: Ending.allCases)
        func givenBack(ending: Ending) throws {
            let host = try TwoHundredHost.shared()
            let user = "flo-\(ending)"
            let client = try host.session(.account(user))
            // Where Postfix asks at END-OF-MESSAGE is known from the first message on.
            #expect(try client.send(from: "flo@example.org", to: ["bo@example.org"], RateHost.letter).queueID != nil)
            // The null sender's several recipients are refused at DATA (reject_multi_recipient_bounce).
            try client.expect("MAIL FROM:<\(ending == .data ? "" : "flo@example.org")>")
            for recipient in Mailboxes.some(199) { try client.expect("RCPT TO:<\(recipient)>") }
            #expect(try host.standing(user, in: "per account") == LimitStanding(used: 1, reserved: 199, isOver: true))
            switch ending {
            case .reset, .greeting: try client.expect(ending.rawValue)
            case .data:
                let refusal = try client.command("DATA")
                #expect(refusal.code == 550, "\(refusal)")
            case .endOfData:
                #expect(try client.command("DATA").code == 354)
                let line = [UInt8](repeating: 0x78, count: 900) + Array("\r\n".utf8)
                let refusal = try client.endOfData(RateHost.letter + line + line + line)
                #expect(refusal.code == 450 && "\(refusal)".contains("Too much"), "\(refusal)")
                #expect(try host.standing(user, in: "per account") == LimitStanding(used: 1))
            }
            try client.expect("RSET")
            let accepted = try client.send(from: "flo@example.org", to: Mailboxes.some(199), RateHost.letter)
            #expect(try host.acceptedRecipients(try #require(accepted.queueID, "\(accepted)")) == 199)
            #expect(try host.standing(user, in: "per account") == LimitStanding(used: 200, isOver: true))
            try client.expect("MAIL FROM:<flo@example.org>")
            #expect(try client.command("RCPT TO:<bo@example.org>").code == 450)
        }

        @Test("twenty submission sessions at once have two hundred together")
        func together() throws {
            let host = try TwoHundredHost.shared()
            let tally = Mutex(Tally())
            let failures = Mutex<[String]>([])
            let all = DispatchGroup()
            for session in 0..<20 {
                all.enter()
                Thread.detachNewThread {
                    defer { all.leave() }
                    do {
                        // Some with many recipients, some with one, some pipelined: 15 or more each, 300 in all.
                        let row = Row(
                            "", .account("gus"), recipients: [15, 1, 4][session % 3], isPipelined: session % 2 == 0)
                        let client = try host.session(row.sender)
                        var own = Tally()
                        while own.accepted + own.refused < 15 { try own.send(row, on: client) }
                        try client.quit()
                        tally.withLock { $0.add(own) }
                    } catch {
                        failures.withLock { $0.append("\(error)") }
                    }
                }
            }
            all.wait()
            #expect(failures.withLock { $0 } == [])
            let sum = tally.withLock { $0 }
            #expect(sum.accepted == 200 && sum.refused >= 100)
            #expect(try sum.queued.map { try host.acceptedRecipients($0) }.reduce(0, +) == 200)
            #expect(try host.standing("gus", in: "per account") == LimitStanding(used: 200, isOver: true))
            let warnings = host.rate.lines.filter { $0.contains("limit per account over: gus: ") }
            #expect(warnings.count == 1, "\(warnings)")
        }
    }
}

/// What was answered to a sender's recipients.
private struct Tally {
    private(set) var accepted = 0
    private(set) var refused = 0
    /// The messages that Postfix has.
    private(set) var queued: [String] = []
    private(set) var refusal: SMTPReply?
    private var sent = 0

    mutating func add(_ other: Tally) {
        accepted += other.accepted
        refused += other.refused
        queued += other.queued
    }

    /// One message; nobody is named twice.
    mutating func send(_ row: EndToEnd.Rate.TwoHundred.Row, on client: SMTPClient) throws {
        let recipients = (0..<row.recipients).map { "RCPT TO:<r\(sent + $0)@example.org>" }
        sent += row.recipients
        let commands = ["MAIL FROM:<ann@example.org>"] + recipients + ["DATA"]
        let replies = row.isPipelined ? try client.pipeline(commands) : try commands.map { try client.command($0) }
        let answers = replies.dropFirst().dropLast()
        let good = answers.count(where: \.isPositive)
        accepted += good
        refused += answers.count - good
        refusal = refusal ?? answers.first { !$0.isPositive }
        guard replies.first?.isPositive == true, let data = replies.last, (data.code == 354) == (good > 0) else {
            throw HarnessError("\(replies)")
        }
        guard data.code == 354 else {
            try client.expect("RSET")
            return
        }
        let reply = try client.endOfData(RateHost.letter)
        guard let queueID = reply.queueID else { throw HarnessError("\(reply)") }
        queued.append(queueID)
    }
}

/// The machine of these tests.
private enum TwoHundredHost {
    private static let made = Result {
        try RateHost(
            limits: RateTables.twoHundred + """
                [[limit]]
                name = "octets"
                per = ["sasl_username"]
                count = "octets"
                allow = ["2000/1h"]
                users = ["flo-endOfData"]
                action = "defer 4.7.1 Too much"

                """,
            accounts: ["ann", "bo", "cy", "di", "ed", "gus"]
                + EndToEnd.Rate.TwoHundred.Ending.allCases.map { "flo-\($0)" },
            mainLines: ["smtpd_data_restrictions = reject_multi_recipient_bounce"])
    }
    static func shared() throws -> RateHost { try made.get() }
}
