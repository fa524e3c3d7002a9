// The drill: a machine at work is backed up under load, loses everything, is restored, and goes on where it was.

import Foundation
import Glibc
import PostfixHarness
import Testing

extension EndToEnd {
    @Suite("restore") struct Restore {
        @Test(
            "a backup under load; everything deleted; restored: mail flows, the old keys sign, what was known is known")
        func drill() throws {
            let host = try DrillHost()
            // A triplet that is known, a limit that is used up, facts, and keys that the world has seen.
            let known = ("192.0.2.7", "ann@example.net")
            #expect(try host.rcpt(known.0, from: known.1).code == 450)
            var last = "none"
            try Await.until("the triplet's delay to be over", context: { "\(last)\n\(host.troubles)" }) {
                let reply = try host.rcpt(known.0, from: known.1)
                last = "\(reply)"
                return reply.isPositive
            }
            let heavy = "192.0.2.200"
            var queueIDs: Set<String> = []
            for _ in 0..<2 {
                queueIDs.insert(try #require(try host.send(heavy, from: "list@example.net", recipients: 100).queueID))
            }
            let over = try host.rcpt(heavy, from: "list@example.net")
            #expect(over.code == 450 && "\(over)".contains("Slow down"), "\(over)")
            let records = host.keys.records
            #expect(try DKIMPy.verify(try host.signed().octets, records: records) == [.passed, .passed])
            try Await.until("facts of the mail") { try host.facts().isSuperset(of: queueIDs) }
            let before = try host.files()

            // The backup, while many strangers come.
            let load = DrillLoad(host, sessions: 4)
            try Await.until("the load to be under way") { load.tries > 20 }
            let made = try host.postern(["backup", "create", "--config", host.configurationPath, "--to", host.backups])
            #expect(made.status == 0, "\(made)")
            let tries = load.tries
            try Await.until("the load to go on") { load.tries > tries + 8 }
            let replies = try load.stop()
            #expect(Set(replies.keys).isSubset(of: ["250", "450"]), "\(replies)")
            #expect(host.troubles == [])

            let tested = try host.postern(["backup", "test", host.backups])
            #expect(tested.status == 0, "\(tested)")
            let archive = try #require(
                try FileManager.default.contentsOfDirectory(atPath: host.backups).first { $0.hasSuffix(".tar.zst") })
            let restore = ["backup", "restore", "\(host.backups)/\(archive)"]
            // Not while the owners of the state run.
            let early = try host.postern(restore + ["--yes", "--only", "state"])
            #expect(early.status == 69 && early.errors.contains("postern-policy runs and owns state"), "\(early)")
            #expect(Set(try host.files().keys).isSuperset(of: before.keys))

            // The disk dies.
            try host.stop()
            try host.lose()
            let restored = try host.postern(restore)
            #expect(restored.status == 0, "\(restored)")
            #expect(restored.text.contains("the configuration there: ok\n"), "\(restored)")
            let after = try host.files()
            for (path, rights) in before where !path.hasSuffix("-wal") { #expect(after[path] == rights, "\(path)") }

            try host.start()
            #expect(host.troubles == [])
            #expect(try host.rcpt(known.0, from: known.1).isPositive)
            #expect(try host.rcpt("198.51.100.77", from: known.1).code == 450)
            let still = try host.rcpt(heavy, from: "list@example.net")
            #expect(still.code == 450 && "\(still)".contains("Slow down"), "\(still)")
            #expect(try DKIMPy.verify(try host.signed().octets, records: records) == [.passed, .passed])
            let reply = try host.send("192.0.2.201", from: "later@example.net")
            queueIDs.insert(try #require(reply.queueID))
            try Await.until("facts of before and of now") { try host.facts().isSuperset(of: queueIDs) }
            #expect(host.troubles == [])
        }
    }
}
