// What goes wrong around postern-policy while a real Postfix asks it: it is killed under load, its file is deleted or
// damaged, its disk is full, its clock is set back, clients of its own dawdle. Mail flows, and none is refused for it.

import Foundation
import Glibc
import PostfixHarness
import TestSupport
import Testing

extension EndToEnd {
    @Suite("life of postern-policy", .serialized) struct PolicyLife {
        static let recipient = "bo@example.org"

        // MARK: Killed

        @Test("killed under load, four times: no mail is refused for it, and what was on the disk is remembered")
        func killedUnderLoad() throws {
            let host = try PolicyHost()
            let known = "ann@new.example.net"
            #expect(try host.rcpt("192.0.2.7", from: known).code == 450)
            try Await.until("the end of the wait") { try host.rcpt("192.0.2.7", from: known).isPositive }
            let waiting = "early@new.example.net"
            #expect(try host.rcpt("198.51.100.7", from: waiting).code == 450)
            // A decision is on the disk within a second or so: what is younger may be lost with the process.
            try host.awaitOnDisk("192.0.2.0/24")
            try host.awaitOnDisk("198.51.100.0/24 \(waiting) \(Self.recipient)")
            let triplet = [
                "greylist", "show", "198.51.100.7", "--sender", waiting, "--recipient", Self.recipient, "--json",
            ]
            let before = try host.postern(triplet)
            #expect(before.status == 0 && before.text.contains("\"first_seen\":\"20"), "\(before)")

            let load = PolicyLoad(host)
            for round in 0..<4 {
                load.start()
                try Await.until("an answer of daemon \(round)") {
                    host.policy.lines.count { $0.contains(": RCPT ") } > 20
                }
                host.policy.kill()
                try load.awaitMessages(12)  // while nobody answers Postfix
                try host.restart()
                try load.awaitMessages(12)
            }
            load.stop()
            #expect(load.wrong == [])
            #expect(load.messages >= 96)
            // Postfix says in its own log what it missed; that is all that is seen of it.
            #expect(host.postfix.troubles.contains { "\($0)".contains("policy.sock") })

            #expect(try host.rcpt("192.0.2.7", from: "other@new.example.net").isPositive)
            #expect(try host.policy.await(line: "the reason") { $0.contains("other@") }.contains("is known"))
            #expect(try host.postern(triplet).text == before.text)
            #expect(try host.rcpt("198.51.100.7", from: waiting).isPositive)  // its second is long over
            #expect(try host.rcpt("192.0.2.7", from: "spam@example.net").code == 550)
            #expect(host.troubles == [])
            #expect(try host.setAside() == [])
        }

        @Test("SIGKILL: mail flows by default_action=DUNNO, and the next daemon takes over the stale socket")
        func killed() throws {
            let host = try PolicyHost()
            #expect(try host.rcpt("192.0.2.7", from: "spam@example.net").code == 550)
            host.policy.kill()
            let reply = try host.session("192.0.2.7").send(
                from: "spam@example.net", to: [Self.recipient], PolicyHost.letter)
            #expect(reply.isPositive, "\(reply)")
            #expect(!host.postfix.troubles.isEmpty)  // Postfix says so, in its own log
            try host.restart()
            #expect(try host.rcpt("192.0.2.7", from: "spam@example.net").code == 550)
        }

        @Test("it hangs: mail flows after Postfix's own time limit, and it is asked again when it answers")
        func hangs() throws {
            let host = try PolicyHost()
            #expect(try host.rcpt("192.0.2.7", from: "spam@example.net").code == 550)
            host.policy.send(signal: SIGSTOP)
            let client = try host.session("192.0.2.7")
            // Twice the timeout of main.cf.policy, and a second.
            let reply = try client.send(from: "spam@example.net", to: [Self.recipient], PolicyHost.letter)
            #expect(reply.queueID != nil, "\(reply)")
            host.policy.send(signal: SIGCONT)
            try Await.until("an answer of its own") {
                try host.rcpt("192.0.2.7", from: "spam@example.net").code == 550
            }
            #expect(host.troubles == [])
        }

        // MARK: Its file

        @Test("its file is deleted while it runs: one warning, a new one, and greylisting goes on")
        func deleted() throws {
            let host = try PolicyHost()
            #expect(try host.rcpt("192.0.2.7", from: "ann@new.example.net").code == 450)
            try host.awaitOnDisk("192.0.2.0/24 ann@new.example.net \(Self.recipient)")
            // Its log first: a daemon that has missed its file makes a new log, which is not to be deleted with the old.
            for suffix in ["-wal", ""] { unlink(host.memory.path + suffix) }
            try Await.until("the end of the wait") {
                let reply = try host.rcpt("192.0.2.7", from: "ann@new.example.net")
                #expect(reply.isGreylisting, "\(reply)")
                return reply.isPositive
            }
            try host.awaitOnDisk("192.0.2.0/24")
            #expect(host.troubles.count == 1 && host.troubles[0].contains("greylist.sqlite"), "\(host.troubles)")
            #expect(try host.policy.stop() == 0)
            try host.restart()
            #expect(try host.rcpt("192.0.2.7", from: "other@new.example.net").isPositive)
            #expect(host.troubles == [])
        }

        @Test("its file is damaged while it runs: mail flows, it is set aside with one warning, a new one is begun")
        func damagedWhileRunning() throws {
            let host = try PolicyHost()
            #expect(try host.policy.stop() == 0)
            try host.fillMemory(250_000)  // more than is looked over at a start, and than is kept in memory
            try host.restart()
            #expect(try host.rcpt("192.0.2.7", from: "ann@new.example.net").code == 450)
            try host.damageMemory()
            var number = 0
            try Await.until("the damage to be seen", context: { "\(host.policy.lines.suffix(20))" }) {
                number += 1
                let reply = try host.rcpt("10.77.\(number % 250).7", from: "eve\(number)@new.example.net")
                #expect(reply.isGreylisting, "\(reply)")
                return !host.troubles.isEmpty
            }
            #expect(host.troubles.count == 1 && host.troubles[0].contains("greylist.sqlite"), "\(host.troubles)")
            #expect(try host.setAside().count == 1)
            try Await.until("greylisting in the new file") {
                number += 1
                return try host.rcpt("10.78.\(number % 250).7", from: "eve@new.example.net").code == 450
            }
            try Await.until("the end of the wait") {
                try host.rcpt("192.0.2.7", from: "ann@new.example.net").isPositive
            }
            try host.awaitOnDisk("192.0.2.0/24")
            #expect(host.troubles.count == 1, "\(host.troubles)")
        }

        @Test("its file is damaged before it starts: set aside with one warning, and a new one is begun")
        func damagedBefore() throws {
            let host = try PolicyHost()
            let sender = "ann@new.example.net"
            #expect(try host.rcpt("192.0.2.7", from: sender).code == 450)
            #expect(try host.policy.stop() == 0)
            try host.damageMemory()
            try host.restart()
            #expect(try host.rcpt("192.0.2.7", from: sender).code == 450)
            try Await.until("the end of the wait") { try host.rcpt("192.0.2.7", from: sender).isPositive }
            #expect(host.troubles.count == 1 && host.troubles[0].contains("greylist.sqlite"), "\(host.troubles)")
            #expect(try host.setAside().count == 1)
        }

        // MARK: Its disk

        @Test(
            "its disk is full: mail flows, one warning; with room again it greylists, and has lost nothing",
            .enabled(if: SmallDisk.isPossible, "expected to be allowed to mount tmpfs"))
        func fullDisk() throws {
            let disk = try SmallDisk()
            let host = try PolicyHost(disk: disk)
            let known = "ann@new.example.net"
            #expect(try host.rcpt("192.0.2.7", from: known).code == 450)
            try Await.until("the end of the wait") { try host.rcpt("192.0.2.7", from: known).isPositive }
            try host.awaitOnDisk("192.0.2.0/24")
            try disk.fill()
            var number = 0
            func tryAnother() throws -> SMTPReply {
                number += 1
                return try host.rcpt("10.\(number / 250).\(number % 250).7", from: "new@new.example.net")
            }
            try Await.until("the warning", context: { "\(host.policy.lines.suffix(20))" }) {
                let reply = try tryAnother()
                #expect(reply.isGreylisting, "\(reply)")
                return !host.troubles.isEmpty
            }
            #expect(host.troubles[0].contains("greylist.sqlite"), "\(host.troubles)")
            // Nobody who is new waits for longer than the delay; others are judged as ever.
            try Await.until("a way in") { try host.rcpt("203.0.113.7", from: "new@new.example.net").isPositive }
            let reply = try host.session("192.0.2.7").send(
                from: "ann@example.net", to: [Self.recipient], PolicyHost.letter)
            #expect(reply.queueID != nil, "\(reply)")
            #expect(try host.rcpt("192.0.2.7", from: "spam@example.net").code == 550)
            #expect(host.troubles.count == 1, "\(host.troubles)")
            #expect(try host.setAside() == [])

            try disk.empty()
            try Await.until("it works again", context: { "\(host.policy.lines.suffix(20))" }) {
                _ = try tryAnother()
                return host.policy.lines.contains { $0.contains("greylist.sqlite: works again") }
            }
            #expect(try host.rcpt("198.51.100.7", from: "late@new.example.net").code == 450)
            try host.awaitOnDisk("198.51.100.0/24 late@new.example.net \(Self.recipient)")
            #expect(try host.policy.stop() == 0)
            try host.restart()
            #expect(try host.rcpt("192.0.2.7", from: "other@new.example.net").isPositive)
            #expect(host.troubles == [])
        }

        @Test(
            "its disk is full when it starts: it starts, and mail flows",
            .enabled(if: SmallDisk.isPossible, "expected to be allowed to mount tmpfs"))
        func fullFromTheStart() throws {
            let disk = try SmallDisk()
            try disk.fill()
            let host = try PolicyHost(disk: disk)
            try Await.until("a way in") {
                let reply = try host.rcpt("203.0.113.7", from: "new@new.example.net")
                #expect(reply.isGreylisting, "\(reply)")
                return reply.isPositive
            }
            #expect(try host.rcpt("192.0.2.7", from: "spam@example.net").code == 550)
            #expect(host.troubles.count == 1 && host.troubles[0].contains("greylist.sqlite"), "\(host.troubles)")
        }

        // MARK: Its clock

        @Test("its clock is set back by an hour: nobody waits longer than the delay, and who is known stays known")
        func clockSetBack() throws {
            let clock = try FakeClock()
            let host = try PolicyHost(clock: clock, delay: "5m")
            func left(_ client: String, _ sender: String) throws -> Int? {
                let reply = try host.rcpt(client, from: sender)
                #expect(reply.isGreylisting, "\(reply)")
                return reply.isPositive ? 0 : reply.seconds
            }
            let (ann, cy) = ("ann@new.example.net", "cy@new.example.net")
            let first = try #require(try left("192.0.2.7", ann))
            #expect((200...300).contains(first))
            try clock.set(200)
            let second = try #require(try left("192.0.2.7", ann))
            #expect((1...100).contains(second))
            try clock.set(301)
            #expect(try left("192.0.2.7", ann) == 0)
            #expect(try #require(try left("198.51.100.7", cy)) > 0)

            try clock.set(301 - 3600)
            #expect(try left("192.0.2.7", ann) == 0)
            #expect(try left("192.0.2.7", "other@new.example.net") == 0)  // the client is known
            let third = try #require(try left("198.51.100.7", cy))
            #expect((1...300).contains(third))
            try clock.set(602 - 3600)
            #expect(try left("198.51.100.7", cy) == 0)

            // And over a restart, another hour back.
            try host.awaitOnDisk("198.51.100.0/24")
            host.policy.kill()
            try clock.set(602 - 7200)
            try host.restart()
            #expect(try left("192.0.2.7", "third@new.example.net") == 0)
            #expect(try left("198.51.100.7", "third@new.example.net") == 0)
            let shown = try host.postern(["greylist", "show", "192.0.2.7"])
            #expect(shown.text.contains("state         known"), "\(shown)")
            #expect(host.troubles == [])
        }

        // MARK: Its DNS

        @Test(
            "postern-dns is dead: who is listed comes in, rules and greylisting go on; with it again the list refuses")
        func withoutDNS() throws {
            let host = try PolicyHost()
            let listed = "203.0.113.66"
            try Await.until("the list to be proved") { try host.postern(["dnsbl", "status"]).status == 0 }
            #expect(try host.rcpt(listed, from: "ann@example.com").code == 554)
            try host.withoutDNS {
                let reply = try host.session(listed).send(
                    from: "ann@example.com", to: [Self.recipient], PolicyHost.letter)
                #expect(reply.queueID != nil, "\(reply)")
                #expect(try host.rcpt("192.0.2.7", from: "spam@example.net").code == 550)
                #expect(try host.rcpt("192.0.2.7", from: "ann@new.example.net").code == 450)
                let line = try host.policy.await(line: "the list's silence") { $0.contains("postern-dns") }
                #expect(line.contains("]: warning: "), "\(line)")
            }
            try Await.until("the list to refuse again", context: { "\(host.policy.lines.suffix(10))" }) {
                try host.rcpt(listed, from: "ann@example.com").code == 554
            }
            try Await.until("the end of the wait") {
                try host.rcpt("192.0.2.7", from: "ann@new.example.net").isPositive
            }
        }

        // MARK: Its clients

        @Test("clients that send an octet now and then or never read do not disturb Postfix")
        func slowClients() throws {
            let host = try PolicyHost()
            let path = host.postfix.socketPath("policy.sock")
            let slow = try (0..<200).map { _ in try PolicyClient(path: path) }
            let deaf = try (0..<50).map { _ in try PolicyClient(path: path) }
            let query = PolicyQuery(sender: "spam@example.net")
            let parts = query.octets.prefix(60)
            for octet in parts {
                for client in slow { try client.send([octet]) }
            }
            for client in deaf { try client.send((0..<200).flatMap { _ in query.octets }) }
            let load = PolicyLoad(host)
            load.start()
            try load.awaitMessages(20)
            load.stop()
            #expect(load.wrong == [])
            #expect(try host.rcpt("192.0.2.7", from: "spam@example.net").code == 550)
            #expect(try host.rcpt("192.0.2.7", from: "ann@new.example.net").code == 450)
            #expect(!host.postfix.troubles.contains { "\($0)".contains("policy.sock") }, "\(host.postfix.troubles)")
            withExtendedLifetime((slow, deaf)) {}
        }
    }
}
