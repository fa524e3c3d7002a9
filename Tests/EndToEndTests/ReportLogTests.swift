// `postern report` and `postern why` on the logs of a real Postfix: their counts against what was sent, and against
// lines counted by words alone; and fail2ban's filter on the same logs.

import Foundation
import PostfixHarness
import Testing

extension EndToEnd {
    @Suite("report and why", .serialized, .enabled(if: Fail2ban.isAvailable, "needs root, Postfix and fail2ban"))
    struct Logs {
        static let many = 1200

        @Test("a thousand messages and those that were refused, counted twice; the way of some of them")
        func counts() throws {
            let host = try ReportHost()
            try host.send(Self.many, from: "ann@example.net")
            let refused = try Self.sendOthers(through: host)
            let accepted = Self.many + 2 + 1 + 1
            try host.awaitEnd(of: accepted)

            let report = try Self.object(host.postern(["report", "--json"]))
            let postfix = try #require(report["postfix"] as? [String: Any])
            // What was sent.
            #expect(postfix["messages"] as? Int == accepted + refused.atEnd)
            #expect(postfix["recipients_sent"] as? Int == accepted + 1)
            // The same by words alone.
            let lines = try String(contentsOfFile: host.postfixLog, encoding: .utf8).components(separatedBy: "\n")
            func count(_ words: String...) -> Int { lines.count { line in words.allSatisfy { line.contains($0) } } }
            // Behind the word: a queue id before it may begin with either digit.
            func refusals(_ code: String) -> Int {
                lines.count { line in
                    line.range(of: "reject: ").map { line[$0.upperBound...].contains("]: \(code)") } ?? false
                }
            }
            let expected = [
                "connections": count("/smtpd[", ": connect from "), "messages": count("/cleanup[", ": message-id="),
                "messages_from_clients": count("/smtpd[", ": client="), "recipients_sent": count("status=sent"),
                "recipients_bounced": count("status=bounced"), "tries_deferred": count("status=deferred"),
                "refused_for_good": refusals("5"), "refused_for_now": refusals("4"),
            ]
            for (key, number) in expected {
                #expect(
                    postfix[key] as? Int == number, "\(key): \(String(describing: postfix[key])), counted \(number)")
            }
            #expect(expected["refused_for_now"] ?? 0 > 0 && expected["refused_for_good"] ?? 0 >= 12)
            try Self.compareVerdicts(report, host)
            try Self.compareWords(host)
            try Self.comparePage(host)
            try Self.tellWhy(host, refused)
            try Self.compareFail2ban(host)
        }

        /// What one session each brought that is not let in, or only later.
        struct Refused {
            var atEnd = 0
            /// The queue ids of what came in.
            var greylisted = ""
            var twoRecipients = ""
        }

        static func sendOthers(through host: ReportHost) throws -> Refused {
            var refused = Refused()
            for number in 1...7 {
                let client = try host.session("198.51.100.\(number)")
                try client.expect("MAIL FROM:<spam@example.net>")
                #expect(try client.command("RCPT TO:<bo@example.org>").code == 550)
                try client.quit()
            }
            for number in 1...5 {
                // A HELO name and a sender that look like a line about somebody else.
                let client = try host.session("203.0.113.\(number)", helo: "a.example;from=<x>")
                let sender = "\"NOQUEUE: reject: RCPT from a[192.0.2.99]: 550 5.7.1 x\"@example.net"
                try client.expect("MAIL FROM:<\(sender)>")
                #expect(try client.command("RCPT TO:<nobody@example.org>").code == 550)
                try client.quit()
            }
            for _ in 1...3 {
                let reply = try host.session("192.0.2.66").send(
                    from: "ann@bank.example", to: ["bo@example.org"],
                    Array("From: ann@bank.example\r\nSubject: forged\r\n\r\nHello\r\n".utf8))
                #expect(reply.code == 550, "\(reply)")
                refused.atEnd += 1
            }
            // Asked to come back, and back.
            let sender = "ann@new.example"
            func rcpt() throws -> Bool {
                let client = try host.session("192.0.2.7")
                try client.expect("MAIL FROM:<\(sender)>")
                return try client.command("RCPT TO:<bo@example.org>").isPositive
            }
            #expect(try !rcpt())
            try Await.until("the end of the wait", condition: rcpt)
            let greylisted = try host.session("192.0.2.7").send(
                from: sender, to: ["bo@example.org"],
                Array("From: \(sender)\r\nSubject: a letter\r\n\r\nHello\r\n".utf8))
            refused.greylisted = try #require(greylisted.queueID, "\(greylisted)")
            let session = try host.session("192.0.2.8")
            for _ in 1...2 {
                let reply = try session.send(from: "ann@example.net", to: ["bo@example.org"], ReportHost.letter)
                #expect(reply.isPositive, "\(reply)")
            }
            let two = try host.session("192.0.2.9").send(
                from: "cy@example.net", to: ["bo@example.org", "cy@example.org"], ReportHost.letter)
            refused.twoRecipients = try #require(two.queueID, "\(two)")
            return refused
        }

        static func object(_ result: ProgramResult) throws -> [String: Any] {
            guard let object = try JSONSerialization.jsonObject(with: Data(result.output)) as? [String: Any] else {
                throw HarnessError("expected a JSON object, found \(result)")
            }
            return object
        }

        /// A query for the log and one for the metrics say the same: JSON lines counted by their words are what postern-dmarc
        /// counts, and every word is one that contrib's table of metrics knows.
        private static func compareWords(_ host: ReportHost) throws {
            let table = try String(
                contentsOf: SourceTree.root.appending(path: "contrib/prometheus/metrics.md"), encoding: .utf8)
            let log = try String(contentsOf: SourceTree.root.appending(path: "contrib/doc/log.md"), encoding: .utf8)
            var counted: [String: Int] = [:]
            for line in host.json {
                let object = try #require(
                    try JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any], "\(line)")
                for (noun, value) in object where !log.contains("\n| `\(noun)` |") {
                    if let amount = value as? Int {
                        #expect(table.contains(" `\(noun)` |"), "\(noun)")
                        counted["postern_dmarc_\(noun)_total", default: 0] += amount
                        continue
                    }
                    let words = try #require(value as? [String: Any], "\(noun): \(line)")
                    for (label, value) in words {
                        let values = value as? [String] ?? [value as? String ?? ""]
                        #expect(table.contains(" `\(noun).\(label)\(value is [String] ? "[]" : "")` |"), "\(noun)")
                        for value in values { counted["postern_dmarc_\(noun)_total \(value)", default: 0] += 1 }
                    }
                }
            }
            let status = try object(host.status("dmarc"))
            let daemon = (status["daemons"] as? [[String: Any]])?.first?["status"] as? [String: Any]
            var metrics: [String: Int] = [:]
            for counter in daemon?["counters"] as? [[String: Any]] ?? [] {
                guard let metric = counter["metric"] as? String, let value = counter["value"] as? Int, value > 0,
                    metric.hasPrefix("postern_dmarc_"), !metric.contains("_facts_")
                else { continue }
                metrics[metric + ((counter["label_value"] as? String).map { " \($0)" } ?? "")] = value
            }
            #expect(counted == metrics && metrics.count > 6)
        }

        private static func compareVerdicts(_ report: [String: Any], _ host: ReportHost) throws {
            let postern = try #require(report["postern"] as? [String: Any])
            var told: [String: Int] = [:]
            for verdict in postern["verdicts"] as? [[String: Any]] ?? [] {
                let key = ["daemon", "action"].map { verdict[$0] as? String ?? "" }.joined(separator: " ")
                told[key, default: 0] += verdict["count"] as? Int ?? 0
            }
            var counted: [String: Int] = [:]
            let pattern = #/^(postern-[a-z]+)\[[0-9]+\]: [0-9A-Za-z]+: ([a-z]+): [A-Z-]+ from /#
            for line in host.text {
                guard let match = line.firstMatch(of: pattern)
                else { continue }
                counted["\(match.1) \(match.2)", default: 0] += 1
            }
            for line in host.json {
                let object = try #require(
                    try JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any], "\(line)")
                guard let action = object["action"] as? String, let program = object["program"] as? String else {
                    continue
                }
                counted["\(program) \(action)", default: 0] += 1
            }
            #expect(told == counted)
            #expect(counted["postern-policy reject"] == 7 && counted["postern-dmarc reject"] == 3, "\(counted)")
            #expect(counted["postern-dmarc judge"] == many + 4, "\(counted)")
            let greylist = try #require(postern["greylist"] as? [String: Any])
            #expect(greylist["first_tries"] as? Int == 1 && greylist["came_back"] as? Int == 1, "\(greylist)")
        }

        private static func comparePage(_ host: ReportHost) throws {
            let page = try host.postern(["report", "--html", "-"])
            #expect(page.status == 0 && page.text.hasPrefix("<!DOCTYPE html>") && !page.text.contains("<script"))
            let text = try host.postern(["report"])
            #expect(text.status == 0 && text.text.contains("rule no spam"), "\(text)")
        }

        private static func tellWhy(_ host: ReportHost, _ refused: Refused) throws {
            #expect(try host.postern(["why", "--client", "198.51.100.3"]).text.contains("(rule no spam)"))
            #expect(try host.postern(["why", "4cXk2J1hB"]).status == 1)
            // Short names are used again: once in a thousand runs one of a thousand others had one of these two.
            for name in [refused.greylisted, refused.twoRecipients] {
                let messages = host.postfix.log(queueID: name).count { $0.text.contains(": message-id=") }
                guard messages == 1 else { return }
            }
            let first = try host.postern(["why", refused.greylisted])
            #expect(first.status == 0, "\(first)")
            for words in [
                "from <ann@new.example>, client mx.example.net[192.0.2.7]", "to <bo@example.org>: sent",
                "defer: RCPT from mx.example.net[192.0.2.7]: 450 4.2.0", "pass: RCPT from mx.example.net[192.0.2.7]",
                "has come back with this sender and recipient", "client=mx.example.net[192.0.2.7]", "message-id=<",
                "judge: END-OF-MESSAGE", "postern-dkim", "removed", "before it had a queue id",
            ] { #expect(first.text.contains(words), "\(words) is not in\n\(first.text)") }
            #expect(!first.text.contains("192.0.2.8") && !first.text.contains("@example.net"), "\(first.text)")

            let two = try object(host.postern(["why", refused.twoRecipients, "--json"]))
            let message = try #require((two["messages"] as? [[String: Any]])?.first)
            #expect((message["recipients"] as? [[String: Any]])?.count == 2)
            let lines = host.postfix.log(queueID: refused.twoRecipients)
            let events = message["events"] as? [[String: Any]] ?? []
            let own = events.filter { event in
                (event["program"] as? String)?.hasPrefix("postfix/") == true && event["part"] as? String == "message"
            }
            #expect(own.count == lines.count, "\(events)")
        }

        private static func compareFail2ban(_ host: ReportHost) throws {
            // Standard error has no times, without which fail2ban takes no line.
            let log = host.text.map { "Nov 21 01:02:03 mx1 \($0)" } + host.json
            #expect(try Fail2ban.banned(by: log, mode: "normal") == (1...7).map { "198.51.100.\($0)" })
            let all = try Fail2ban.banned(by: log, mode: "aggressive")
            #expect(all.count == 10 && Set(all).subtracting((1...7).map { "198.51.100.\($0)" }) == ["192.0.2.66"])
        }
    }
}
