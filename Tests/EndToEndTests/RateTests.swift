// postern-rate behind a real Postfix with the lines of contrib/postfix/main.cf.rate and master.cf.rate: what is allowed is
// accepted, the next recipient is deferred, whoever sends and however; what is not sent in the end is not counted; and
// what was counted outlives the daemon.

import Foundation
import PostfixHarness
import Synchronization
import Testing

extension EndToEnd {
    @Suite("limits", .serialized) struct Rate {
        @Test("three recipients are accepted, in one message and another; the fourth is deferred until it is cleared")
        func recipients() throws {
            let host = try RateHost(limits: RateTables.perClient(allow: "3/1h"))
            let stranger = RateSender.stranger("192.0.2.7")
            let first = try host.session(stranger).send(
                from: "ann@example.org", to: ["bo@example.org", "cy@example.org"], RateHost.letter)
            #expect(first.queueID != nil, "\(first)")
            let second = try host.session(stranger).send(
                from: "ann@example.org", to: ["bo@example.org"], RateHost.letter)
            #expect(second.queueID != nil, "\(second)")
            let refused = try host.rcpt(stranger)
            #expect(refused.code == 450 && "\(refused)".contains("Slow down"), "\(refused)")
            let line = try host.rate.await(line: "the warning") { $0.contains("limit per client over") }
            #expect(line.contains("192.0.2.7: 3 of 3 recipients in 3600s"), "\(line)")
            #expect(try host.rcpt(.stranger("192.0.2.8")).isPositive)
            let listed = try host.postern(["limit", "list", "--over"])
            #expect(listed.status == 0 && listed.text.contains("192.0.2.7"), "\(listed)")
            #expect(try host.postern(["limit", "clear", "192.0.2.7"]).status == 0)
            #expect(try host.rcpt(stranger).isPositive)
        }

        @Test("where Postfix does not ask at END-OF-MESSAGE, recipients are counted at once and for good")
        func withoutEndOfData() throws {
            let host = try RateHost(
                limits: RateTables.perClient(allow: "3/1h"), mainLines: ["smtpd_end_of_data_restrictions ="])
            let client = try host.session(.stranger("192.0.2.7"))
            try client.expect("MAIL FROM:<ann@example.org>")
            for recipient in Mailboxes.some(2) { try client.expect("RCPT TO:<\(recipient)>") }
            try client.expect("RSET")
            #expect(try host.standing("192.0.2.7", in: "per client") == LimitStanding(used: 2))
            let reply = try client.send(from: "ann@example.org", to: ["bo@example.org"], RateHost.letter)
            #expect(reply.queueID != nil, "\(reply)")
            #expect(try host.standing("192.0.2.7", in: "per client") == LimitStanding(used: 3, isOver: true))
            #expect(try host.rcpt(.stranger("192.0.2.7")).code == 450)
        }

        @Test("SIGKILL: mail flows by default_action=DUNNO")
        func killed() throws {
            let host = try RateHost(limits: RateTables.perClient(allow: "3/1h"))
            host.rate.kill()
            for _ in 0..<4 {
                let reply = try host.session(.stranger("192.0.2.7")).send(
                    from: "ann@example.org", to: ["bo@example.org"], RateHost.letter)
                #expect(reply.isPositive, "\(reply)")
            }
        }

        @Test("what was counted outlives the daemon, killed or stopped")
        func restarted() throws {
            let host = try RateHost(limits: RateTables.twoHundred, accounts: ["ann"])
            let ann = RateSender.account("ann")
            let sent = try host.session(ann).send(from: "ann@example.org", to: Mailboxes.some(150), RateHost.letter)
            #expect(sent.queueID != nil, "\(sent)")
            // What was counted is on the disk within a second: with what was counted after it at the latest.
            let octets = try host.journalOctets()
            #expect(try host.rcpt(.stranger("192.0.2.9")).isPositive)
            try Await.until("the journal to grow") { try host.journalOctets() > octets }
            let underWay = try host.session(ann)
            try underWay.expect("MAIL FROM:<ann@example.org>")
            for recipient in Mailboxes.some(40) { try underWay.expect("RCPT TO:<\(recipient)>") }
            #expect(try host.standing("ann", in: "per account") == LimitStanding(used: 150, reserved: 40))
            host.rate.kill()
            try host.restart()
            // What was reserved is forgotten, and the message's end brings all of it.
            #expect(try host.standing("ann", in: "per account") == LimitStanding(used: 150))
            #expect(try underWay.command("DATA").code == 354)
            #expect(try underWay.endOfData(RateHost.letter).queueID != nil)
            #expect(try host.standing("ann", in: "per account") == LimitStanding(used: 190))
            #expect(try host.rate.stop() == 0)
            try host.restart()
            #expect(try host.standing("ann", in: "per account") == LimitStanding(used: 190))
            let client = try host.session(ann)
            try client.expect("MAIL FROM:<ann@example.org>")
            for recipient in Mailboxes.some(10) { try client.expect("RCPT TO:<\(recipient)>") }
            #expect(try client.command("RCPT TO:<bo@example.org>").code == 450)
        }

        @Test("connections, messages and octets are counted where Postfix tells them")
        func others() throws {
            let host = try RateHost(limits: RateTables.others)
            // Three connections with two messages each; the fourth is refused at its first recipient.
            for _ in 0..<3 {
                let client = try host.session(.stranger("192.0.2.1"))
                for _ in 0..<2 {
                    let reply = try client.send(from: "ann@example.net", to: ["bo@example.org"], RateHost.letter)
                    #expect(reply.queueID != nil, "\(reply)")
                }
            }
            #expect(try host.rcpt(.stranger("192.0.2.1")).code == 450)
            #expect(try host.standing("192.0.2.1", in: "connections") == LimitStanding(used: 3, isOver: true))
            // Four messages of two recipients on one connection, and one that is given up.
            let client = try host.session(.stranger("192.0.3.1"))
            for round in 0..<4 {
                let recipients = ["bo@example.org", "cy@example.org"]
                let reply = try client.send(from: "ann@example.net", to: recipients, RateHost.letter)
                #expect(reply.queueID != nil, "\(reply)")
                guard round == 0 else { continue }
                try client.expect("MAIL FROM:<ann@example.net>")
                try client.expect("RCPT TO:<bo@example.org>")
                try client.expect("RSET")
            }
            #expect(try client.send(from: "ann@example.net", to: ["bo@example.org"], RateHost.letter).code == 450)
            #expect(try host.standing("192.0.3.1", in: "messages") == LimitStanding(used: 4, isOver: true))
            // What is announced counts at RCPT, what is not at the message's end.
            let large = Array(repeating: Array("0123456789".utf8), count: 90).joined() + Array("\r\n".utf8)
            let letter = RateHost.letter + Array(repeating: large, count: 3).joined()
            let third = try host.session(.stranger("192.0.4.1"))
            #expect(try third.send(from: "ann@example.net", to: ["bo@example.org"], letter).queueID != nil)
            let atEnd = try third.send(from: "ann@example.net", to: ["bo@example.org"], letter)
            #expect(atEnd.code == 450 && "\(atEnd)".contains("Slow down"), "\(atEnd)")
            try third.expect("RSET")
            try third.expect("MAIL FROM:<ann@example.net> SIZE=\(letter.count)")
            #expect(try third.command("RCPT TO:<bo@example.org>").code == 450)
        }

        @Test("what is over goes to the hold queue, and a shadow's goes on")
        func mild() throws {
            let host = try RateHost(limits: RateTables.mild)
            let queueIDs = try ["192.0.2.1", "192.0.2.2"].map { address in
                let client = try host.session(.stranger(address))
                return try (0..<2).map { _ in
                    let reply = try client.send(from: "ann@example.net", to: ["bo@example.org"], RateHost.letter)
                    return try #require(reply.queueID, "\(reply)")
                }
            }
            // A line for what is over, and one warning for each key.
            for (word, address) in [("hold", "192.0.2.1"), ("would reject", "192.0.2.2")] {
                let lines = host.rate.lines.filter { $0.contains(": \(word): ") && $0.contains("[\(address)]") }
                #expect(!lines.isEmpty, "\(host.rate.lines)")
            }
            #expect(host.rate.lines.count { $0.contains(" over: 192.0.2.") } == 2)
            // Source: postqueue(1): an id with `!` is on hold.
            let queue = try host.postfix.queued()
            let held = queueIDs.joined().filter { queue.contains("\($0)!") }
            #expect(held == queueIDs.first?.suffix(1).map { $0 }, "\(queue)")
        }
    }
}

/// Tables of the configuration.
enum RateTables {
    static func perClient(allow: String) -> String {
        """
        [[limit]]
        name = "per client"
        per = ["client"]
        count = "recipients"
        allow = ["\(allow)"]
        except = ["127.0.0.0/8"]
        action = "defer 4.7.1 Slow down"

        """
    }

    /// Each of a network's own.
    static let others =
        each("connections", of: "192.0.2.0/24", allow: "3/1h") + each("messages", of: "192.0.3.0/24", allow: "4/1h")
        + each("octets", of: "192.0.4.0/24", allow: "5000/1h")

    private static func each(_ count: String, of network: String, allow: String) -> String {
        """
        [[limit]]
        name = "\(count)"
        per = ["client"]
        count = "\(count)"
        clients = ["\(network)"]
        allow = ["\(allow)"]
        action = "defer 4.7.1 Slow down"

        """
    }

    /// Each refuses nothing: one message goes, the next is held or only told of.
    static let mild = """
        [[limit]]
        name = "held"
        per = ["client"]
        count = "messages"
        clients = ["192.0.2.1"]
        allow = ["1/1h"]
        action = "hold Too many messages"
        [[limit]]
        name = "observed"
        per = ["client"]
        count = "messages"
        clients = ["192.0.2.2"]
        allow = ["1/1h"]
        action = "reject 5.7.1 Too many messages"
        shadow = true

        """

    /// Of accounts and of strangers.
    static let twoHundred =
        perClient(allow: "200/1h") + """
            [[limit]]
            name = "per account"
            per = ["sasl_username"]
            count = "recipients"
            allow = ["200/1h"]
            action = "defer 4.7.1 Slow down"

            """
}

/// Recipients, none twice.
enum Mailboxes {
    static func some(_ count: Int) -> [String] { (1...count).map { "r\($0)@example.org" } }
}
