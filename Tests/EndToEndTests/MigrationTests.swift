// A host of Debian's OpenDKIM, OpenDMARC and postgrey becomes Postern, by the commands that contrib/doc/migration.md prints
// and in their order, while mail flows: what it costs is counted by the clock, and must be no mail at all.

import Foundation
import PostfixHarness
import Testing

extension EndToEnd {
    @Suite("migration", .serialized, .enabled(if: MigrationHost.isPossible, "needs opendkim, opendmarc and postgrey"))
    struct Migration {
        @Test("a host becomes Postern by the document's commands, and nothing is lost on the way")
        func byTheClock() throws {
            let host = try MigrationHost()
            // Known to postgrey, and not seen again before all is done.
            #expect(try Self.comesBack("198.51.100.77", to: host) > 0)
            #expect(try Self.comesBack("192.0.2.7", to: host) > 0)

            let traffic = MigrationTraffic(through: host.postfix)
            traffic.start()
            try traffic.awaitMore()
            // A session that lasts over the change.
            let lasting = try host.postfix.connect()
            try lasting.expect("EHLO localhost")

            let clock = ContinuousClock()
            let began = clock.now
            let blocks = try MigrationHost.blocks()
            #expect(blocks.count == 10)
            for (index, block) in blocks.enumerated() {
                traffic.phase = "block \(index + 1)"
                if block.hasPrefix("systemctl restart postern.target") {
                    try host.startDaemons()
                } else if block.hasPrefix("systemctl disable --now opendkim opendmarc postgrey") {
                    let reply = try lasting.send(
                        from: "ann@example.org", to: ["bo@example.org"], Letter.octets(from: "ann@example.org"))
                    #expect(reply.isPositive, "\(reply)")
                    try lasting.quit()
                    try host.stopPeers()
                } else {
                    let result = try host.run(block)
                    #expect(result.status == 0, "\(block)\n\(result.text)\n\(result.errors)")
                    if block.contains("postern doctor") { Self.check(doctor: result.text) }
                    // Nothing of it may be overlooked: what import leaves out is told.
                    if block.contains("import all") { #expect(result.errors.contains("left out"), "\(result.errors)") }
                    if block.contains("greylist allow") { #expect(result.text.contains("198.51.100.0/24 is allowed")) }
                }
                try traffic.awaitMore(2)
            }
            traffic.phase = "after"
            try traffic.awaitMore()
            try traffic.end()
            let took = clock.now - began

            // Who was known to postgrey does not wait; who is new does.
            #expect(try Self.comesBack("198.51.100.77", to: host, sender: "other@example.net") == 0)
            #expect(try Self.comesBack("203.0.113.77", to: host) > 0)
            try Self.check(traffic, host)
            let count = traffic.sent.count
            print(
                "migration: \(blocks.count) steps in \(took), \(count) messages delivered, \(traffic.refusedSpoofs) spoofs "
                    + "refused; of ours \(traffic.sent.count { $0.kind.isOurs }) signed by the same key")
        }

        /// Sends until it is taken.
        /// - Returns: how often it was put off.
        private static func comesBack(_ address: String, to host: MigrationHost, sender: String = "cy@example.net")
            throws -> Int
        {
            var delays = 0
            try Await.until("mail of \(address) to be taken") {
                let client = try host.postfix.connect()
                try client.xclient(name: "[UNAVAILABLE]", address: address)
                try client.expect("EHLO mx.example.net")
                let reply = try client.recipient("bo@example.org", from: sender)
                if reply.isPositive { return true }
                guard reply.code / 100 == 4 else { throw HarnessError("\(address): \(reply)") }
                delays += 1
                return false
            }
            return delays
        }

        private static func check(doctor text: String) {
            // The machine that the tests run on is not this host's.
            let found = text.split(separator: "\n").filter { line in
                (line.hasPrefix("error: ") || line.hasPrefix("warning: "))
                    && !["clock", "disk_space"].contains { line.hasPrefix("warning: \($0): ") }
            }
            #expect(found.isEmpty, "\(text)")
        }

        private static func check(_ traffic: MigrationTraffic, _ host: MigrationHost) throws {
            #expect(traffic.wrong == [])
            let sent = traffic.sent
            var delivered: [String: DeliveredMessage] = [:]
            for message in sent { delivered[message.queueID] = try host.postfix.delivered(queueID: message.queueID) }
            let queued = try host.postfix.queued()
            #expect(queued.contains("Mail queue is empty"), "\(queued)")
            #expect(!host.postfix.logLines.contains { $0.service == "bounce" })
            let all = try host.postfix.messages()
            let identifiers = all.compactMap { $0.fields("Message-ID").first?.value }.filter {
                $0.contains("@migration.")
            }
            #expect(Set(identifiers).count == identifiers.count, "a message came twice")
            #expect(Set(identifiers) == Set(sent.map { "<\($0.number)@migration.example>" }))

            let records = ["old._domainkey.example.org": host.key.record]
            for message in sent {
                let arrived = try #require(delivered[message.queueID])
                let signatures = arrived.fields("DKIM-Signature").map(\.value)
                let results = arrived.fields("Authentication-Results").map(\.value)
                #expect(!results.contains { $0.contains("header.d=bank.example") }, "\(message): \(results)")
                guard message.kind.isOurs else {
                    #expect(!results.isEmpty, "\(message) was not judged")
                    continue
                }
                // Two in the moment of the change only.
                #expect((1...2).contains(signatures.count), "\(message): \(signatures)")
                if message.phase == "before" || message.phase == "after" { #expect(signatures.count == 1) }
                for signature in signatures {
                    let tags = signature.split(separator: ";").map { $0.filter { !$0.isWhitespace } }
                    #expect(tags.contains("d=example.org") && tags.contains("s=old"), "\(signature)")
                }
                let opinion = try OpenDKIM.verify(arrived.octets, records: records)
                #expect(
                    opinion.results == Array(repeating: "pass", count: signatures.count), "\(message): \(opinion.field)"
                )
            }
            // Each kind was seen on both sides of the change.
            for phase in ["before", "after"] {
                for kind in MigrationTraffic.Kind.allCases where kind != .spoof {
                    #expect(sent.contains { $0.kind == kind && $0.phase == phase }, "\(kind) \(phase)")
                }
            }
        }
    }
}
