// postern-policy behind a real Postfix with the lines of contrib/postfix/main.cf.policy: rules and their tables, DNS
// lists, greylisting, what Postfix refuses by itself, and strangers' texts in the log.

import Foundation
import PostfixHarness
import Testing

extension EndToEnd {
    @Suite("policy service", .serialized) struct Policy {
        @Test("a rule refuses, at RCPT, and the log tells which")
        func rule() throws {
            let host = try PolicyHost.shared()
            let reply = try host.rcpt("192.0.2.7", from: "spam@example.net")
            #expect("\(reply)" == "550 5.7.1 <bo@example.org>: Recipient address rejected: No spam")
            let line = try host.policy.await(line: "the refusal") { $0.contains("from=<spam@example.net>") }
            #expect(
                line.hasSuffix(
                    "NOQUEUE: reject: RCPT from mx.example.net[192.0.2.7]: 550 5.7.1 No spam (rule no spam); "
                        + "from=<spam@example.net> to=<bo@example.org> proto=ESMTP helo=<mx.example.net>"))
        }

        @Test("a header field is added once for a message with two recipients")
        func prepend() throws {
            let host = try PolicyHost.shared()
            let client = try host.session("192.0.2.7")
            let reply = try client.send(
                from: "marked@example.net", to: ["bo@example.org", "cy@example.org"], PolicyHost.letter)
            let message = try host.postfix.delivered(queueID: try #require(reply.queueID, "\(reply)"))
            #expect(message.fields("X-Policy").map(\.value) == ["marked"])
        }

        @Test("what Postfix refuses is refused for good, and postern-policy is not asked")
        func unknown() throws {
            let host = try PolicyHost.shared()
            let unknown = try host.rcpt("192.0.2.7", from: "unknown@example.net", to: "nobody@example.org")
            #expect(unknown.code == 550, "\(unknown)")
            let relay = try host.rcpt("192.0.2.7", from: "unknown@example.net", to: "ann@example.com")
            #expect(relay.code == 454, "\(relay)")  // by smtpd_relay_restrictions, which Postfix looks at first
            #expect(!host.policy.lines.contains { $0.contains("from=<unknown@example.net>") })
        }

        @Test("a listed client is refused, and one that is not is let in")
        func listed() throws {
            let host = try PolicyHost.shared()
            // A list is asked only once its test entries were right, in its daemon's first second.
            try Await.until("the list to be proved") { try host.postern(["dnsbl", "status"]).status == 0 }
            let reply = try host.rcpt("203.0.113.66", from: "ann@example.net")
            #expect(reply.code == 550 || reply.code == 554, "\(reply)")
            let line = try host.policy.await(line: "the refusal") { $0.contains("[203.0.113.66]") }
            #expect(line.contains("NOQUEUE: reject: RCPT from mx.example.net[203.0.113.66]: 5"), "\(line)")
            #expect(line.contains("bl.example.org"), "\(line)")
            #expect(try host.rcpt("203.0.113.67", from: "ann@example.net").isPositive)
            #expect(try host.postern(["dnsbl", "test", "203.0.113.66"]).status == 1)
            #expect(try host.postern(["dnsbl", "test", "203.0.113.67"]).status == 0)
        }

        @Test("a new sender is asked to come back, comes back, and is let in; who does not exist is 550 at once")
        func greylisted() throws {
            let host = try PolicyHost.shared()
            let sender = "ann@new.example.net"
            let explained = try host.postern([
                "explain", "--client", "192.0.2.7", "--client-name", "mx.example.net", "--helo", "mx.example.net",
                "--sender", sender, "--recipient", "bo@example.org",
            ])
            #expect(explained.text.hasPrefix("defer: 450 4.2.0 "), "\(explained)")
            let first = try host.rcpt("192.0.2.7", from: sender)
            #expect(first.code == 450 && first.lines.first?.hasPrefix("4.2.0 ") == true, "\(first)")
            #expect(try host.rcpt("192.0.2.7", from: sender, to: "nobody@example.org").code == 550)
            // The delay is a second: who asks again and again finds its end.
            try Await.until("the end of the wait") { try host.rcpt("192.0.2.7", from: sender).isPositive }
            let reply = try host.session("192.0.2.7").send(from: sender, to: ["bo@example.org"], PolicyHost.letter)
            #expect(reply.queueID != nil, "\(reply)")
            let lines = host.policy.lines.filter { $0.contains("from=<\(sender)>") }
            #expect(lines.first?.contains("NOQUEUE: defer: RCPT from mx.example.net[192.0.2.7]: 450 4.2.0 ") == true)
            #expect(lines.last?.contains("NOQUEUE: pass: RCPT from mx.example.net[192.0.2.7]: ") == true)
            let shown = try host.postern(["greylist", "show", "192.0.2.7"])
            #expect(shown.status == 0 && shown.text.contains("state         known"), "\(shown)")
            #expect(try host.postern(["greylist", "forget", "192.0.2.7"]).status == 0)
            #expect(try host.rcpt("192.0.2.7", from: sender).code == 450)
        }

        @Test("explain says what Postfix is told")
        func explain() throws {
            let host = try PolicyHost.shared()
            let result = try host.postern([
                "explain", "--client", "192.0.2.7", "--client-name", "mx.example.net", "--helo", "mx.example.net",
                "--sender", "spam@example.net", "--recipient", "bo@example.org",
            ])
            #expect(result.status == 1 && result.errors.isEmpty, "\(result)")
            #expect(result.text.hasPrefix("reject: 550 5.7.1 No spam (rule no spam)\n"), "\(result.text)")
        }

        @Test("reload puts new rules in force on connections that are open")
        func reload() throws {
            let host = try PolicyHost()
            #expect(try host.rcpt("192.0.2.7", from: "late@example.net").isPositive)
            try host.configure(
                rules: PolicyHost.rules + """
                    [[rule]]
                    name = "too late"
                    sender = ["late@example.net"]
                    action = "reject 5.7.1 Too late"

                    """)
            #expect(try host.postern(["reload", "policy"]).status == 0)
            #expect(try host.rcpt("192.0.2.7", from: "late@example.net").code == 550)
        }

        @Test("every action of a rule does what Postfix makes of it")
        func actions() throws {
            let host = try PolicyHost()
            try Await.until("the list to be proved") { try host.postern(["dnsbl", "status"]).status == 0 }
            let actions = [
                "defer": "defer 451 4.7.1 Later", "reject": "reject 554 5.7.1 Never", "hold": "hold odd",
                "redirect": "redirect cy@example.org", "bcc": "bcc cy@example.org", "filter": "filter discard:away",
                "accept": "accept", "score": "score 4",
            ]
            var rules = "[[rule]]\nname = \"skip\"\nsender = [\"skip@example.com\"]\nskip = [\"dnsbl\"]\n"
            rules += "[[rule]]\nname = \"shadow\"\nsender = [\"shadow@example.com\"]\nshadow = true\n"
            rules += "action = \"reject 5.7.1 Seen\"\n"
            for (name, action) in actions {
                rules += "[[rule]]\nname = \"\(name)\"\nsender = [\"\(name)@example.com\"]\naction = \"\(action)\"\n"
            }
            try host.configure(rules: rules)
            #expect(try host.postern(["reload", "policy"]).status == 0)
            func send(_ name: String, from client: String = "192.0.2.7") throws -> SMTPReply {
                try host.session(client).send(from: "\(name)@example.com", to: ["bo@example.org"], PolicyHost.letter)
            }
            func queueID(_ name: String, from client: String = "192.0.2.7") throws -> String {
                let reply = try send(name, from: client)
                return try #require(reply.queueID, "\(name): \(reply)")
            }
            /// By virtual(8)'s lines: a message names whom it was meant for at first.
            func recipients(_ queueID: String) throws -> [String] {
                _ = try host.postfix.delivered(queueID: queueID)
                return host.postfix.log(queueID: queueID).filter { $0.service == "virtual" }.compactMap {
                    $0.text.firstMatch(of: /: to=<([^>]*)>.*status=sent/).map { String($0.1) }
                }.sorted()
            }
            #expect("\(try send("defer"))".hasPrefix("451 4.7.1 "))
            #expect("\(try send("reject"))".hasPrefix("554 5.7.1 "))
            let held = try queueID("hold")
            #expect(try host.postfix.queued().contains("\(held)!"))  // postqueue(1): the hold queue
            #expect(try recipients(try queueID("redirect")) == ["cy@example.org"])
            #expect(try recipients(try queueID("bcc")) == ["bo@example.org", "cy@example.org"])
            let filtered = try queueID("filter")
            try host.postfix.await(line: "discard(8)") { $0.service == "discard" && $0.text.hasPrefix(filtered) }
            // From a listed client: only who is accepted or skips the lists comes in.
            #expect(try send("nobody", from: "203.0.113.66").code >= 500)
            _ = try queueID("accept", from: "203.0.113.66")
            _ = try queueID("skip", from: "203.0.113.66")
            #expect(try send("score").code >= 500)
            let seen = try queueID("shadow")
            #expect(try recipients(seen) == ["bo@example.org"])
            let line = try host.policy.await(line: "what a shadow would do") {
                $0.contains("from=<shadow@example.com>")
            }
            #expect(
                line.contains("NOQUEUE: pass: ") && line.contains("shadow: would reject: 550 5.7.1 Seen"), "\(line)")
        }

        @Test("tables of rules: addresses, domains, networks, names and expressions; a wrong one changes nothing")
        func tables() throws {
            let host = try PolicyHost()
            let rules =
                PolicyHost.rules + """
                    [[rule]]
                    name = "their senders"
                    sender = ["file:senders"]
                    action = "reject 5.7.1 Not this sender"
                    [[rule]]
                    name = "their networks"
                    client = ["file:networks"]
                    action = "reject 5.7.1 Not this client"
                    [[rule]]
                    name = "their names"
                    helo = ["file:names"]
                    not_sender = ["", "@friends.example"]
                    action = "reject 5.7.1 Not this name"

                    """
            try host.write("senders", "# a comment\n\neve@example.com\n@example.info\n/^bounce-[0-9]+@/\n")
            try host.write("networks", "203.0.113.0/24\n2001:db8:bad::/48\n198.51.100.9\n")
            try host.write("names", "*.dyn.example.net\nbad.example\n/^[0-9.]+$/\n")
            try host.configure(rules: rules)
            #expect(try host.postern(["reload", "policy"]).status == 0)
            func answer(_ client: String, _ sender: String, helo: String = "mx.example.net") throws -> String {
                let reply = try host.session(client, helo: helo).recipient("bo@example.org", from: sender)
                return reply.isPositive ? "in" : reply.lines.last?.components(separatedBy: "rejected: ").last ?? ""
            }
            let rows: [(client: String, sender: String, helo: String, answer: String)] = [
                ("192.0.2.7", "eve@example.com", "mx.example.net", "Not this sender"),
                ("192.0.2.7", "EVE@Example.COM", "mx.example.net", "Not this sender"),
                ("192.0.2.7", "adam@example.com", "mx.example.net", "in"),
                ("192.0.2.7", "anybody@example.info", "mx.example.net", "Not this sender"),
                ("192.0.2.7", "anybody@sub.example.info", "mx.example.net", "in"),
                ("192.0.2.7", "bounce-17@example.com", "mx.example.net", "Not this sender"),
                ("192.0.2.7", "bounce-x@example.com", "mx.example.net", "in"),
                ("203.0.113.200", "ann@example.com", "mx.example.net", "Not this client"),
                ("IPV6:2001:db8:bad:7::1", "ann@example.com", "mx.example.net", "Not this client"),
                ("IPV6:2001:db8:bae:7::1", "ann@example.com", "mx.example.net", "in"),
                ("198.51.100.9", "ann@example.com", "mx.example.net", "Not this client"),
                ("198.51.100.10", "ann@example.com", "mx.example.net", "in"),
                ("192.0.2.7", "ann@example.com", "a.b.dyn.example.net", "Not this name"),
                ("192.0.2.7", "ann@example.com", "dyn.example.net", "in"),
                ("192.0.2.7", "ann@example.com", "BAD.example", "Not this name"),
                ("192.0.2.7", "ann@example.com", "192.0.2.7", "Not this name"),
                ("192.0.2.7", "ann@friends.example", "bad.example", "in"),
                ("192.0.2.7", "", "bad.example", "in"),
            ]
            for row in rows { #expect(try answer(row.client, row.sender, helo: row.helo) == row.answer, "\(row)") }
            // A table that cannot be read: the reload says where, and the rules from before stay in force.
            try host.write("networks", "203.0.113.0/24\n203.0.113.0/33\n")
            let refused = try host.postern(["reload", "policy"])
            #expect(refused.status != 0 && (refused.text + refused.errors).contains("networks:2"), "\(refused)")
            #expect(try answer("198.51.100.9", "ann@example.com") == "Not this client")
            let checked = try host.postern(["check"])
            #expect(checked.status == 78 && (checked.text + checked.errors).contains("networks:2"), "\(checked)")
        }

        @Test("IPv6: listed by its nibbles and refused; greylisted by its /64")
        func ipv6() throws {
            let host = try PolicyHost.shared()
            try Await.until("the list to be proved") { try host.postern(["dnsbl", "status"]).status == 0 }
            let listed = try host.rcpt("IPV6:2001:db8::66", from: "ann@example.com")
            #expect("\(listed)".contains("client [2001:db8::66] is listed by bl.example.org"), "\(listed)")
            let sender = "six@new.example.net"
            #expect(try host.rcpt("IPV6:2001:db8:1:2::7", from: sender).code == 450)
            #expect(try host.rcpt("IPV6:2001:db8:1:3::7", from: sender).code == 450)
            try Await.until("the end of the wait, in another host of the network") {
                try host.rcpt("IPV6:2001:db8:1:2:ffff::9", from: sender).isPositive
            }
            let shown = try host.postern(["greylist", "show", "2001:db8:1:2::abcd"])
            #expect(shown.text.contains("2001:db8:1:2::/64") && shown.text.contains("known"), "\(shown)")
        }

        @Test("a pool of addresses with SPF pass comes back as one; who passes by +all does not")
        func pool() throws {
            let host = try PolicyHost.shared()
            let (pool, all) = ("ann@pool.example.net", "ann@all.example.net")
            for number in 0..<15 {
                #expect(try host.rcpt("198.18.\(number).1", from: pool).isGreylisting)
                #expect(try host.rcpt("198.19.\(number).1", from: all).code == 450)
            }
            var number = 15
            try Await.until("the end of the wait, at another address each time") {
                number += 1
                return try host.rcpt("198.18.\(number).1", from: pool).isPositive
            }
            #expect(
                try host.policy.await(line: "the reason") { $0.contains("pass: ") && $0.contains(pool) }
                    .contains("pool.example.net has come back with this sender and recipient, by SPF"))
            #expect(try host.rcpt("198.19.200.1", from: all).code == 450)
        }

        /// Postfix itself makes `?` of some of it, in HELO more than in an address.
        @Test("texts in HELO and sender begin no line of the log, and end no angle brackets")
        func logInjection() throws {
            let host = try PolicyHost.shared()
            // After it the daemon has nothing to say of its own.
            try Await.until("the list to be proved") { try host.postern(["dnsbl", "status"]).status == 0 }
            let helo = "x> [192.0.2.1]: NOQUEUE: pass: to=<\u{1B}[2J\u{E9}"
            let sender = "\"no> to=<x>; a\\\"b\"@inject.example.net"
            let client = try host.session("192.0.2.77", helo: helo)
            let before = host.policy.lines.count
            #expect(try client.recipient("bo@example.org", from: sender).isPositive)
            let line = try host.policy.await(line: "the outcome") { $0.contains("inject.example.net") }
            #expect(
                line.hasSuffix(
                    "NOQUEUE: pass: RCPT from mx.example.net[192.0.2.77]: no objection; "
                        + "from=<no\\x3E to=\\x3Cx\\x3E; a\"b@inject.example.net> to=<bo@example.org> proto=ESMTP "
                        + "helo=<x??[192.0.2.1]:?NOQUEUE:?pass:?to=??[2J\\xC3\\xA9>"), "\(line)")
            let new = host.policy.lines.dropFirst(before)
            #expect(new.count == 1 && new.first == line, "\(new)")
        }
    }
}
