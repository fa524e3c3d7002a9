// What hosts of a fleet tell of themselves, and what of their differences breaks mail. The store is EndToEndTests' business.

import Foundation
import PosternDaemon
import Testing

@testable import PosternAdmin

@Suite("fleet") struct FleetTests {
    private static func host(
        _ name: String, authservID: String = "example.org", strip: [String] = ["example.org"],
        keys: [(String, String?)] = [("s1", "aa")], settings: [String: String] = ["greylist.delay": "5m"],
        daemons: [HostDocument.Health] = [], version: String = "0.1.0", clock: Int64? = now, signs: [String: Bool] = [:]
    ) -> HostDocument {
        HostDocument(
            name: name, version: version, clock: clock, authservID: authservID, stripAuthservIDs: strip + [name],
            keys: keys.map {
                HostDocument.Key(domain: "example.org", selector: $0.0, digest: $0.1, signs: signs[$0.0])
            }, daemons: daemons, settings: settings)
    }

    /// By the store's clock.
    private static let now: Int64 = 1_795_000_000

    private static func member(
        _ name: String, age: Int64 = 3, _ document: HostDocument?, isDamaged: Bool = false
    ) -> FleetStore.Member {
        FleetStore.Member(name: name, age: age, heard: now, document: document, isDamaged: isDamaged)
    }

    private static func found(_ hosts: [HostDocument]) -> [String] {
        let members = hosts.map { member($0.name, $0) }
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
            Row(description: "a clock as far away as telling takes", other: host("mx2", clock: now - 5), found: []),
            Row(description: "a clock that is late", other: host("mx2", clock: now - 6), found: ["warning clock"]),
            Row(description: "a clock beyond all", other: host("mx2", clock: .max), found: ["warning clock"]),
            Row(description: "an older release that tells no clock", other: host("mx2", clock: nil), found: []),
            Row(
                description: "another release, which knows a setting less and a rule more",
                other: host("mx2", settings: ["rule[1]": "{}"], version: "0.0.9"),
                found: ["warning version", "warning rule[1]"]),
            Row(
                description: "another release, and another value of what both know",
                other: host("mx2", settings: ["greylist.delay": "9m"], version: "0.0.9"),
                found: ["warning version", "warning greylist.delay"]),
        ])
    func differences(_ row: Row) {
        #expect(Self.found([Self.host("mx1"), row.other]) == row.found)
        // Who comes first does not matter.
        #expect(Self.found([row.other, Self.host("mx1")]) == row.found)
    }

    @Test("a host that is not heard of is told, and does not hide what the others differ in")
    func silent() {
        let members = [
            Self.member("mx1", age: 2, Self.host("mx1")), Self.member("mx2", age: 7200, nil),
            Self.member("mx3", age: 1, Self.host("mx3", authservID: "x.example")),
            Self.member("mx4", nil, isDamaged: true),
        ]
        let report = FleetReport(url: "redis://192.0.2.1:6379/0", members: members)
        #expect(report.status == .negative)
        #expect(report.text.contains("mx2   2h 0m ago  silent"), "\(report.text)")
        #expect(report.text.contains("warning: host: mx2\n  why: not heard of for 2h 0m"), "\(report.text)")
        #expect(
            report.text.contains("error: host.authserv_id: example.org on mx1; x.example on mx3\n"), "\(report.text)")
        #expect(report.text.contains("mx4   3s ago     damaged"), "\(report.text)")
        #expect(report.text.contains("warning: host: mx4\n  why: what the store has of it is not"), "\(report.text)")
    }

    @Test("a key that one host has rotated and the other has not: its old record must stay")
    func rotated() {
        // mx1 has the new key and signs with it; mx2 has not got its file.
        let old = Self.host("mx2", keys: [("s1", "aa")], signs: ["s1": true])
        let both: [(String, String?)] = [("s1", "aa"), ("s2", "bb")]
        let waiting = Self.host("mx1", keys: both, signs: ["s1": true, "s2": false])
        let turned = Self.host("mx1", keys: both, signs: ["s1": false, "s2": true])
        func report(_ hosts: [HostDocument]) -> FleetReport {
            FleetReport(url: "redis://192.0.2.1:6379/0", members: hosts.map { Self.member($0.name, $0) })
        }
        // The copy comes before the record does.
        #expect(Self.found([waiting, old]) == ["warning s2._domainkey.example.org"])
        #expect(report([waiting, old]).text.contains("SHA-256 bb… on mx1; nothing on mx2\n"))
        #expect(
            report([waiting, old]).text.contains("whose record must stay until this one is on every host: copy it"))
        // And where nobody did so mx1's log says some day that the old record may go, which mx2 still signs with.
        #expect(
            Self.found([turned, old]) == ["warning s1._domainkey.example.org", "warning s2._domainkey.example.org"])
        let text = report([turned, old]).text
        #expect(
            text.contains(
                "warning: s1._domainkey.example.org: does not sign on mx1; signs on mx2\n"
                    + "  why: its record must stay as long as any host signs with it\n"), "\(text)")
        // Both turned; or a daemon that cannot be asked.
        let second = Self.host("mx2", keys: both, signs: ["s1": false, "s2": true])
        #expect(Self.found([turned, second]) == [])
        #expect(Self.found([turned, Self.host("mx2", keys: both)]) == [])
    }

    @Test("of a hundred hosts the few that differ are named, the others counted")
    func hundred() {
        let hosts = (1...100).map { number in
            Self.host("mx\(number)", settings: ["greylist.delay": number == 42 ? "10m" : "5m"])
        }
        let report = FleetReport(url: "redis://192.0.2.1:6379/0", members: hosts.map { Self.member($0.name, $0) })
        #expect(report.text.contains("warning: greylist.delay: 5m on 99 hosts; 10m on mx42\n"), "\(report.text)")
        #expect(report.text.split(separator: "\n").count == 100 + 3)
    }

    @Test("a document is read as it was written; what no host wrote is none")
    func document() throws {
        let host = Self.host(
            "mx1", keys: [("s1", "aa"), ("s2", nil), ("s3", "cc")],
            daemons: [
                .init(
                    name: "postern-dkim", isRunning: true, version: "0.1.0", generation: 3,
                    trouble: "a reload was refused")
            ], signs: ["s1": true, "s3": false])
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
