// window = "fixed" beside Postfix's own anvil with the same number: two Postfixes, one limited by anvil(8), one by
// postern-rate, hear the same clients say the same, and answer the same. anvil(8) does not count clients that may say
// XCLIENT (smtpd.c), so that clients here come from addresses of their own.

import Foundation
import PostfixHarness
import TestSupport
import Testing

extension EndToEnd.Rate {
    @Suite("beside anvil", .serialized) struct Anvil {
        @Test("recipients of messages that are sent and given up, of four clients by turns")
        func recipients() throws {
            let pair = try Pair(allow: 20, seconds: 3600)
            for seed in 1...3 as ClosedRange<UInt64> {
                var random = SeededRandom(seed: seed)
                var asked: [String: Int] = [:]
                var accepted: [String: Int] = [:]
                for round in 0..<60 {
                    let client = "127.0.\(seed).\(1 + random.next() % 4)"
                    let count = Int(1 + random.next() % 5)
                    let ending = random.next() % 4
                    let (anvil, rate) = try pair.both { postfix in
                        try Self.message(of: count, round, ending, on: postfix.connect(from: client))
                    }
                    #expect(anvil == rate, "seed \(seed), \(client), round \(round)")
                    asked[client, default: 0] += count
                    accepted[client, default: 0] += rate.count { $0 == "250" }
                }
                #expect(accepted == asked.mapValues { min($0, 20) })
                #expect(asked.values.contains { $0 > 20 })
            }
        }

        @Test("a window ends, and the next one has as much")
        func windows() throws {
            let pair = try Pair(allow: 20, seconds: 6)
            let (anvil, rate) = try pair.both { postfix in
                var host = 1
                return try Await.value("two bursts within a window each") {
                    host += 1
                    return try Self.bursts(within: .seconds(6), on: postfix.connect(from: "127.0.0.\(host)"))
                }
            }
            #expect(anvil == rate)
            let accepted = [String](repeating: "250", count: 20)
            let refused = [String](repeating: "450 4.7.1", count: 5)
            // The first of the second window was the one that was waited for.
            #expect(rate == accepted + refused + accepted.dropFirst() + refused + ["450 4.7.1"])
        }

        /// - Returns: the answers to a burst, and to another in the next window; nil where a slow machine took longer for
        ///   one of them than a window lasts.
        private static func bursts(within window: Duration, on client: SMTPClient) throws -> [String]? {
            try client.expect("EHLO laptop.example.net")
            try client.expect("MAIL FROM:<ann@example.net>")
            func burst(_ name: String) throws -> [String] {
                try client.pipeline((0..<25).map { "RCPT TO:<\(name)\($0)@example.org>" }).map(short)
            }
            var began = ContinuousClock.now
            let first = try burst("a")
            guard ContinuousClock.now - began < window else { return nil }
            var number = 0
            try Await.until("the window's end") {
                number += 1
                began = .now
                return try client.command("RCPT TO:<b\(number)@example.org>").isPositive
            }
            let second = try burst("c")
            guard ContinuousClock.now - began < window else { return nil }
            return first + second
        }

        /// A session with one message; the answers to its recipients.
        private static func message(
            of count: Int, _ round: Int, _ ending: UInt64, on client: SMTPClient
        ) throws -> [String] {
            try client.expect("EHLO laptop.example.net")
            try client.expect("MAIL FROM:<ann@example.net>")
            let replies = try client.pipeline((0..<count).map { "RCPT TO:<r\(round)-\($0)@example.org>" })
            switch ending {
            case 0: try client.expect("RSET")
            case 1: break  // it hangs up
            default:
                guard try client.command("DATA").code == 354 else { break }
                let reply = try client.endOfData(RateHost.letter)
                guard reply.queueID != nil else { throw HarnessError("\(reply)") }
                try client.quit()
            }
            return replies.map(short)
        }

        /// `250`, or the refusal's codes.
        private static func short(_ reply: SMTPReply) -> String {
            guard !reply.isPositive else { return "\(reply.code)" }
            return "\(reply.code) \(reply.lines.first?.prefix { $0 != " " } ?? "")"
        }
    }
}

/// Two Postfixes with the same number.
private struct Pair {
    let anvil: PostfixInstance
    let rate: RateHost

    init(allow: Int, seconds: Int) throws {
        let common = [
            // Else loopback is not counted: by default clients in mynetworks are not.
            "smtpd_client_event_limit_exceptions =", "smtpd_authorized_xclient_hosts =",
            "anvil_rate_time_unit = \(seconds)s", "virtual_transport = discard:",
            "in_flow_delay = 0", "smtpd_peername_lookup = no", "smtpd_error_sleep_time = 0",
            "smtpd_soft_error_limit = 100000",
            "smtpd_hard_error_limit = 100000",
        ]
        var settings = PostfixSettings()
        settings.mainLines = common + ["smtpd_client_recipient_rate_limit = \(allow)"]
        anvil = try PostfixInstance(settings)
        rate = try RateHost(
            limits: """
                [[limit]]
                name = "as anvil"
                per = ["client"]
                count = "recipients"
                allow = ["\(allow)/\(seconds)s"]
                window = "fixed"
                action = "defer 4.7.1 Too many recipients"

                """,
            mainLines: common.prefix(2) + ["smtpd_peername_lookup = no"])
    }

    func both(_ body: (PostfixInstance) throws -> [String]) throws -> (anvil: [String], rate: [String]) {
        (try body(anvil), try body(rate.postfix))
    }
}
