// `postern store copy` and `store stats` with postern-policy and postern-rate, and Debian's redis-server: what one host has
// learnt by itself is known to its fleet, and back again; a copy that breaks off goes on.

import Foundation
import Glibc
import PostfixHarness
import TestSupport
import Testing

extension EndToEnd {
    @Suite("store copies", .serialized, .enabled(if: RedisInstance.isAvailable, "needs redis-server"))
    struct StoreCopies {
        /// A host that is asked by its policy sockets; there is no Postfix.
        private final class Host {
            let folder: TemporaryFolder
            private(set) var daemons: [String: Daemon] = [:]

            init() throws {
                folder = try TemporaryFolder(isGuarded: true)
                try folder.shareRunAndState()
                try folder.write(
                    "static.zone", "$TTL 300\nnet. IN SOA ns.net. admin.net. 1 3600 600 86400 60\n")
            }

            /// Starts anew, with a shared store or without one.
            /// - Parameter clients: who is greylisted.
            func start(store: RedisInstance?, clients: String = "all", hasLimits: Bool = true) throws {
                let limits = """
                    [[limit]]
                    name = "per sender"
                    per = ["sender"]
                    count = "recipients"
                    allow = ["3/1h"]
                    action = "defer 4.7.1 Slow down"
                    """
                try folder.write(
                    "postern.toml",
                    """
                    [host]
                    name = "mx1.example.org"
                    [listen]
                    policy = "unix:\(folder.path)/run/policy.sock"
                    rate = "unix:\(folder.path)/run/rate.sock"
                    dns = ["unix:\(folder.path)/run/dns.sock"]
                    control = "\(folder.path)/run"
                    [state]
                    directory = "\(folder.path)/state"
                    [log]
                    to = "stderr"
                    [dns]
                    upstream = ["127.0.0.1:9"]
                    static = "static.zone"
                    [greylist]
                    clients = "\(clients)"
                    delay = "1h"
                    \(hasLimits ? limits : "")
                    \(store.map { "[store]\nurl = \"redis://127.0.0.1:\($0.port)/0\"\ntimeout = \"3s\"" } ?? "")

                    """)
                let path = folder.file("postern.toml").path
                for name in ["postern-dns", "postern-policy", "postern-rate"] {
                    try daemons[name]?.stop()
                    daemons[name] = nil
                    daemons[name] = try Daemon(name, configuration: path, as: .of(name))
                }
            }

            func postern(_ words: String...) throws -> ProgramResult {
                try Program.run(
                    try Products.path("postern"), words + ["--config", folder.file("postern.toml").path])
            }

            /// What postern-policy has answered to a client's first or later try.
            func greylisted(_ client: String) throws -> String {
                try PolicyClient(path: folder.file("run/policy.sock").path).ask(PolicyQuery(client: client))
            }

            /// Recipients of a sender, at END-OF-MESSAGE.
            func counted(_ sender: String) throws -> String {
                try PolicyClient(path: folder.file("run/rate.sock").path).ask(
                    PolicyQuery(sender: sender, instance: "1.\(UInt32.random(in: 0...UInt32.max))"))
            }
        }

        @Test("what one host has learnt is copied to its fleet and back, and a copy may be repeated")
        func copies() throws {
            let store = try RedisInstance()
            let url = "redis://127.0.0.1:\(store.port)/0"
            let first = try Host()
            try first.start(store: nil)
            #expect(try first.postern("greylist", "allow", "192.0.2.7").status == 0)
            for number in 0..<1200 { _ = try first.greylisted("198.\(18 + number / 250).\(number % 250).1") }
            for _ in 0..<3 { #expect(!(try first.counted("ann@example.net").contains("Slow down"))) }
            #expect(try first.counted("ann@example.net").contains("Slow down"))
            // Without a store there is nothing to copy to.
            #expect(try first.postern("store", "copy", "--from", "embedded", "--to", url).status == 78)
            let alone = try first.postern("store", "stats")
            #expect(alone.status == 0 && alone.text.contains("greylist: on this host alone"), "\(alone.text)")

            try first.start(store: store)
            let copied = try first.postern("store", "copy", "--from", "embedded", "--to", url, "--json")
            #expect(copied.status == 0, "\(copied.errors)")
            struct Outcome: Decodable {
                struct Ledger: Decodable {
                    let ledger: String
                    let looked, copied: Int
                }
                let copied: [Ledger]
            }
            let outcome = try JSONDecoder().decode(Outcome.self, from: Data(copied.output)).copied
            #expect(outcome.map(\.ledger) == ["greylist", "limits"])
            #expect(outcome.first.map { $0.looked >= 1201 && $0.copied >= 1201 } == true, "\(copied.text)")
            #expect(outcome.last.map { $0.copied >= 1 } == true, "\(copied.text)")
            let again = try first.postern("store", "copy", "--from", "embedded", "--to", url, "--json")
            #expect(try JSONDecoder().decode(Outcome.self, from: Data(again.output)).copied.first?.copied == 0)
            let stats = try first.postern("store", "stats")
            #expect(stats.text.contains("greylist: shared at \(url), which works"), "\(stats.text) \(stats.errors)")
            #expect(stats.text.contains("maxmemory_policy noeviction"), "\(stats.text)")

            // Another host knows it from there, and by itself after the way back.
            let second = try Host()
            try second.start(store: store)
            #expect(try second.greylisted("192.0.2.99").hasPrefix("DUNNO"))
            let stranger = try second.greylisted("203.0.113.1")
            #expect(stranger.contains("4.2.0"), "\(stranger)")
            #expect(try second.counted("ann@example.net").contains("Slow down"))
            let back = try second.postern("store", "copy", "--from", url, "--to", "embedded")
            #expect(back.status == 0, "\(back.errors)")
            try store.stop()
            try second.start(store: nil)
            #expect(try second.greylisted("192.0.2.99").hasPrefix("DUNNO"))
            #expect(try second.counted("ann@example.net").contains("Slow down"))
        }

        @Test("a ledger that nothing is kept in is not in use, whether its store is there or not")
        func unused() throws {
            let store = try RedisInstance()
            let url = "redis://127.0.0.1:\(store.port)/0"
            let host = try Host()
            try host.start(store: store, clients: "none")
            // Looked for in the background.
            var stats = try host.postern("store", "stats")
            try Await.until("the store to be found", context: { stats.text }) {
                stats = try host.postern("store", "stats")
                return stats.text.contains("limits: shared at \(url), which works")
            }
            #expect(stats.status == 0, "\(stats.text) \(stats.errors)")
            #expect(stats.text.hasPrefix("greylist: not in use; nobody is greylisted here\nlimits: "), "\(stats.text)")
            struct Stats: Decodable {
                struct Ledger: Decodable {
                    struct Store: Decodable {
                        let working: Bool
                        let waiting: Int
                    }
                    let ledger: String
                    let in_use: Bool
                    let store: Store?
                }
                let ledgers: [Ledger]
            }
            let ledgers = try JSONDecoder().decode(
                Stats.self, from: Data(try host.postern("store", "stats", "--json").output)
            ).ledgers
            #expect(ledgers.map(\.ledger) == ["greylist", "limits"])
            #expect(ledgers.map(\.in_use) == [false, true] && ledgers.first?.store == nil)
            #expect(ledgers.last?.store?.working == true && ledgers.last?.store?.waiting == 0)
            #expect(!(try host.counted("ann@example.net").contains("Slow down")))
            let copied = try host.postern("store", "copy", "--from", "embedded", "--to", url)
            #expect(copied.status == 0, "\(copied.errors)")
            #expect(
                copied.text.hasPrefix("greylist: not in use; nobody is greylisted here\nlimits: "), "\(copied.text)")

            try host.start(store: store, hasLimits: false)
            try Await.until("the store to be found", context: { stats.text }) {
                stats = try host.postern("store", "stats")
                return stats.text.contains("greylist: shared at \(url), which works")
            }
            #expect(stats.status == 0 && stats.text.contains("limits: not in use; there are no limits here"))
        }

        @Test("what waits for a store that is away is told by stats, status and metrics, and by nobody once it is back")
        func waiting() throws {
            let store = try RedisInstance()
            let host = try Host()
            try host.start(store: store)
            try Await.until("the store to work") { try host.postern("store", "stats").status == 0 }
            store.kill()
            #expect(try host.greylisted("198.51.100.7").contains("4.2.0"))
            #expect(!(try host.counted("ann@example.net").contains("Slow down")))
            let stats = try host.postern("store", "stats")
            #expect(stats.status == 69, "\(stats.text)")
            let lines = stats.text.split(separator: "\n").filter { $0.contains("does not answer") }
            #expect(lines.count == 2 && lines.allSatisfy { !$0.hasSuffix("waiting 0") }, "\(stats.text)")
            let status = try host.postern("status", "policy", "rate").text
            for ledger in ["greylist", "limits"] {
                let metric = "postern_shared_store_waiting{ledger=\"\(ledger)\"}"
                #expect(status.contains(metric), "\(status)")
            }
            let page = try host.postern("metrics", "--once").text
            let told = page.split(separator: "\n").filter { $0.hasPrefix("postern_shared_store_waiting{") }
            #expect(told.count == 2 && told.allSatisfy { !$0.hasSuffix(" 0") }, "\(told)")

            // The daemons end, and the store is back: they tell it, and do not wait for their next try. On a machine
            // where it does not answer in time they say how much it was not told.
            try store.start()
            for (name, keys, part) in [
                ("postern-policy", "postern:greylist:*", "198.51.100.0/24"),
                ("postern-rate", "postern:limit:*", "ann@example.net"),
            ] {
                let daemon = try #require(host.daemons[name])
                try daemon.stop()
                let isTold = try store.keys(keys).contains { $0.contains(part) }
                #expect(isTold || daemon.lines.contains { $0.contains("told to it") || $0.contains("told of: ") })
            }
        }

        @Test("a copy goes on over the end of a daemon, and tells where it was when it cannot")
        func broken() throws {
            let store = try RedisInstance()
            let url = "redis://127.0.0.1:\(store.port)/0"
            let host = try Host()
            try host.start(store: store)
            let gone = host.daemons["postern-policy"]
            try gone?.stop()
            let failed = try host.postern("store", "copy", "--from", "embedded", "--to", url, "--after", "greylist:1")
            #expect(failed.status == 69, "\(failed.text)")
            #expect(failed.errors.contains("go on by --after greylist:1"), "\(failed.errors)")
            #expect(try host.postern("store", "copy", "--from", "embedded", "--to", url, "--after", "x").status == 64)
        }
    }
}
