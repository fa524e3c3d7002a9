// What hosts of a fleet tell of themselves, and what of their differences breaks mail. The store is EndToEndTests' business.

import Foundation
import PosternDaemon
import Testing

@testable import PosternAdmin

@Suite("fleet") struct FleetTests {
    private static func host(
        _ name: String, authservID: String = "example.org", strip: [String] = ["example.org"],
        keys: [(String, String?)] = [("s1", "aa")], settings: [String: String] = ["greylist.delay": "5m"],
        daemons: [HostDocument.Health] = []
    ) -> HostDocument {
        HostDocument(
            name: name, version: "0.1.0", authservID: authservID, stripAuthservIDs: strip + [name],
            keys: keys.map { HostDocument.Key(domain: "example.org", selector: $0.0, digest: $0.1) }, daemons: daemons,
            settings: settings)
    }

    private static func found(_ hosts: [HostDocument]) -> [String] {
        let members = hosts.map { FleetStore.Member(name: $0.name, age: 3, document: $0) }
        return FleetComparison.differences(members).map { "\($0.severity.rawValue) \($0.subject)" }
    }

    struct Row: Sendable, CustomStringConvertible {
        let description: String
        let other: HostDocument
        let found: [String]
    }

    @Test(
        "what differs, and whether it breaks mail",
        arguments: [
            Row(description: "alike but for their names", other: host("mx2"), found: []),
            Row(
                description: "two authserv-ids", other: host("mx2", authservID: "other.example"),
                found: ["error host.authserv_id"]),
            Row(
                description: "a name that one does not remove",
                other: host("mx2", strip: ["example.org", "*.example.org"]),
                found: ["warning host.strip_authserv_ids"]),
            Row(
                description: "two keys of one selector", other: host("mx2", keys: [("s1", "bb")]),
                found: ["error s1._domainkey.example.org"]),
            Row(
                description: "a domain without a key", other: host("mx2", keys: []),
                found: ["error s1._domainkey.example.org"]),
            Row(
                description: "one key more", other: host("mx2", keys: [("s1", "aa"), ("s2", "cc")]),
                found: ["warning s2._domainkey.example.org"]),
            Row(
                description: "a key that cannot be read", other: host("mx2", keys: [("s1", nil)]),
                found: ["error s1._domainkey.example.org"]),
            Row(
                description: "another delay", other: host("mx2", settings: ["greylist.delay": "10m"]),
                found: ["warning greylist.delay"]),
            Row(
                description: "a limit that one has not",
                other: host("mx2", settings: ["greylist.delay": "5m", "limit[1]": "{}"]), found: ["warning limit[1]"]),
            Row(
                description: "a daemon that is down",
                other: host(
                    "mx2",
                    daemons: [
                        .init(name: "postern-rate", isRunning: false, version: nil, generation: nil, trouble: nil)
                    ]), found: ["warning postern-rate"]),
        ])
    func differences(_ row: Row) {
        #expect(Self.found([Self.host("mx1"), row.other]) == row.found)
        // Who comes first does not matter.
        #expect(Self.found([row.other, Self.host("mx1")]) == row.found)
    }

    @Test("a host that is not heard of is told, and does not hide what the others differ in")
    func silent() {
        let members = [
            FleetStore.Member(name: "mx1", age: 2, document: Self.host("mx1")),
            FleetStore.Member(name: "mx2", age: 7200, document: nil),
            FleetStore.Member(name: "mx3", age: 1, document: Self.host("mx3", authservID: "x.example")),
        ]
        let report = FleetReport(url: "redis://192.0.2.1:6379/0", members: members)
        #expect(report.status == .negative)
        #expect(report.text.contains("mx2   2h 0m ago  silent"), "\(report.text)")
        #expect(report.text.contains("warning: host: mx2\n  why: not heard of for 2h 0m"), "\(report.text)")
        #expect(
            report.text.contains("error: host.authserv_id: example.org on mx1; x.example on mx3\n"), "\(report.text)")
    }

    @Test("a document is read as it was written; what no host wrote is none")
    func document() throws {
        let host = Self.host(
            "mx1", keys: [("s1", "aa"), ("s2", nil)],
            daemons: [
                .init(
                    name: "postern-dkim", isRunning: true, version: "0.1.0", generation: 3,
                    trouble: "a reload was refused")
            ])
        #expect(HostDocument(Array(host.document.description.utf8), of: "mx1") == host)
        for text in ["", "{}", "[]", "{\"version\":1,\"authserv_id\":\"x\"}", "{\"version\":\"1\"}"] {
            #expect(HostDocument(Array(text.utf8), of: "mx1") == nil, "\(text)")
        }
        let hostile =
            "{\"version\":\"\\u001b[2J\",\"authserv_id\":\"a\\nb\",\"keys\":[1,{}],\"settings\":{\"x\\ty\":\"\\u202e\"}}"
        let read = try #require(HostDocument(Array(hostile.utf8), of: "mx\u{1B}1"))
        #expect(read.name == "mx?1" && read.version == "?[2J" && read.authservID == "a?b")
        #expect(read.keys == [] && read.settings == ["x?y": "?"])
    }

    @Test("what is a host's own is not compared; query keys and private keys are told nowhere")
    func settings() throws {
        let text = """
            [host]
            name = "mx1.example.org"
            networks = ["192.0.2.0/24"]
            [listen]
            control = "/run/elsewhere"
            [dns]
            upstream = ["192.0.2.53"]
            [greylist]
            delay = "7m"
            [[dnsbl.list]]
            zone = "abcdefghijklmnopqrstuvwxyz.zen.dq.spamhaus.net"
            scores = { "127.0.0.[2..11]" = 4 }
            [[limit]]
            name = "per client"
            per = ["client"]
            count = "messages"
            allow = ["100/1h"]
            action = "defer 4.7.1 Slow down"
            """
        let result = Configuration.read(Array(text.utf8), file: "p", folder: "/", for: .dns)
        let configuration = try #require(result.readable, "\(result.problems)")
        let values = try ComparedSettings.values(of: configuration.shown(all: true).json)
        #expect(values["greylist.delay"] == "7m" || values["greylist.delay"] == "420s", "\(values)")
        #expect(values["host.networks"]?.contains("192.0.2.0/24") == true)
        #expect(values.keys.contains { $0.hasPrefix("limit[1]") })
        for (path, value) in values {
            #expect(!value.contains("abcdefghij"), "\(path)")
            for own in ["listen", "dns.", "state", "log", "host.name", "store"] {
                #expect(!path.hasPrefix(own), "\(path)")
            }
        }
    }

    @Test("a command line that makes no sense, and a host without a store")
    func usage() throws {
        #expect(try Postern()("status", "--fleet", "--publish").status == 64)
        #expect(try Postern()("status", "--fleet", "dkim").status == 64)
        #expect(try Postern()("status", "--forget", "mx2").status == 64)
        let folder = try Folder()
        let file = try folder.write(Array("[host]\nname = \"mx1.example.org\"\n".utf8), to: "p.toml")
        let result = try Postern()("status", "--fleet", "--config", file)
        #expect(result.status == 78 && result.notes.contains("expected store.url"), "\(result.notes)")
    }
}
