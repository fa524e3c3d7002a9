// `postern status --publish` and `--fleet` of two hosts with daemons of their own, through Debian's redis-server: what
// differs, who is silent, and a store that is gone.

import Foundation
import Glibc
import PostfixHarness
import Testing

extension EndToEnd {
    @Suite("fleet", .serialized, .enabled(if: RedisInstance.isAvailable, "needs redis-server")) struct Fleet {
        /// A host with postern-dns and postern-dkim, and no Postfix: nobody asks them for mail here.
        private struct Host {
            let folder: TemporaryFolder
            let daemons: [Daemon]
            let name: String

            init(_ name: String, key: PeerKey, _ store: RedisInstance, more: String = "") throws {
                self.name = name
                folder = try TemporaryFolder(isGuarded: true)
                try folder.shareRunAndState()
                try folder.writeKey("s1.pem", key.pem)
                try folder.write("password", "sesame\n", mode: 0o600)
                try folder.write(
                    "postern.toml",
                    """
                    [host]
                    name = "\(name)"
                    authserv_id = "example.org"
                    [listen]
                    dkim = "unix:\(folder.path)/run/milter.sock"
                    dns = ["unix:\(folder.path)/run/dns.sock"]
                    control = "\(folder.path)/run"
                    [state]
                    directory = "\(folder.path)/state"
                    [log]
                    to = "stderr"
                    [dns]
                    upstream = ["127.0.0.1:9"]
                    [store]
                    url = "redis://127.0.0.1:\(store.port)/3"
                    password_file = "password"
                    timeout = "3s"
                    [[dkim.key]]
                    domain = "example.org"
                    selector = "s1"
                    file = "keys/s1.pem"
                    \(more)

                    """)
                let path = folder.file("postern.toml").path
                daemons = try ["postern-dns", "postern-dkim"].map { try Daemon($0, configuration: path, as: .of($0)) }
            }

            func status(_ words: String...) throws -> ProgramResult {
                try Program.run(
                    try Products.path("postern"), ["status"] + words + ["--config", folder.file("postern.toml").path])
            }
        }

        @Test("hosts see one another, and what of their differences breaks mail")
        func status() throws {
            let store = try RedisInstance(password: "sesame")
            let key = try PeerKey(.ed25519)
            let first = try Host("mx1.example.org", key: key, store)
            let second = try Host("mx2.example.org", key: key, store)
            for host in [first, second] {
                let told = try host.status("--publish")
                #expect(told.status == 0, "\(told.errors)")
                #expect(told.text == "\(host.name): told to redis://127.0.0.1:\(store.port)/3\n")
            }
            // A busy machine may be slow to tell a document, whose clock is late then: it is told anew.
            var fleet = try Await.value("clocks that agree") {
                let fleet = try second.status("--fleet")
                guard fleet.text.contains("warning: clock: ") else { return fleet }
                for host in [first, second] { _ = try host.status("--publish") }
                return nil
            }
            #expect(fleet.status == 0, "\(fleet.errors)")
            #expect(fleet.text.contains("2 hosts") && fleet.text.contains("nothing differs"), "\(fleet.text)")
            #expect(fleet.text.contains("mx1.example.org") && fleet.text.contains("2 of 2"), "\(fleet.text)")
            // Nothing secret lies there, and each key goes by itself.
            let lying = try store.command("-n", "3", "GET", "postern:host:mx1.example.org").text
            #expect(
                lying.contains("\"authserv_id\"") && !lying.contains("PRIVATE") && !lying.contains("sesame"), "\(lying)"
            )
            let left = Int(try store.command("-n", "3", "TTL", "postern:host:mx1.example.org").text.filter(\.isNumber))
            #expect((1...300).contains(left ?? 0), "\(left ?? 0)")

            // Another key under the same name, another wait, and a daemon that is down.
            let third = try Host(
                "mx3.example.org", key: try PeerKey(.ed25519), store, more: "[greylist]\ndelay = \"7m\"\n")
            try third.daemons[1].stop()
            #expect(try third.status("--publish").status == 0)
            fleet = try first.status("--fleet")
            #expect(fleet.status == 1)
            for part in [
                "error: s1._domainkey.example.org: ", "warning: greylist.delay: ", " on mx3.example.org",
                "warning: postern-dkim: does not run on mx3.example.org",
            ] {
                #expect(fleet.text.contains(part), "\(part) in \(fleet.text)")
            }
            let json = try first.status("--fleet", "--json")
            let object = try JSONSerialization.jsonObject(with: Data(json.output)) as? [String: Any]
            #expect((object?["hosts"] as? [Any])?.count == 3 && json.status == 1)

            // Silent: its document has gone.
            _ = try store.command("-n", "3", "DEL", "postern:host:mx3.example.org")
            fleet = try first.status("--fleet")
            #expect(fleet.status == 0 && fleet.text.contains("warning: host: mx3.example.org"), "\(fleet.text)")
            #expect(try first.status("--fleet", "--forget", "mx3.example.org").status == 0)
            #expect(try first.status("--fleet", "--forget", "mx3.example.org").status == 1)
            #expect(try first.status("--fleet").text.contains("2 hosts"))

            try store.stop()
            let alone = try first.status("--fleet")
            #expect(alone.status == 69 && alone.errors.contains("store redis://127.0.0.1:"), "\(alone.errors)")
            #expect(try first.status("--publish").status == 69)
        }
    }
}
