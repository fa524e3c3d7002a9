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
            func start(store: RedisInstance?) throws {
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
                    clients = "all"
                    delay = "1h"
                    [[limit]]
                    name = "per sender"
                    per = ["sender"]
                    count = "recipients"
                    allow = ["3/1h"]
                    action = "defer 4.7.1 Slow down"
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
