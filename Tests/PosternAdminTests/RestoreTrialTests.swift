// `backup test`: backups that would do, and those that would not, each with what is wrong; and that nothing of it
// stays.

import Foundation
import Glibc
import PosternMail
import PosternStore
import TestSupport
import Testing

@testable import PosternAdmin

@Suite("backup test") struct RestoreTrialTests {
    private static let toml = """
        [host]
        name = "mx1.example.org"
        networks = ["127.0.0.0/8", "file:lists/friends"]
        [[dkim.key]]
        domain = "example.org"
        selector = "a"
        file = "keys/example.org/a.pem"
        [[dkim.key]]
        domain = "example.net"
        selector = "b"
        file = "/etc/postern/keys/example.org/b.pem"

        """

    /// Of the archives that are made here.
    private static let host = "mx1.example.org"

    /// A configuration with its list, two keys, and a journal of limits.
    private static func good() throws -> [ArchivedFile] {
        let keys = try MadeKeys.shared.get().files
        let folder = try Folder()
        let limits = LimitStore(
            path: folder.file("limits.journal"), log: RecordingLog(), wall: { UnixTime(seconds: 1_795_000_000) })
        limits.open(now: UnixTime(seconds: 1_795_000_000), writes: false)
        limits.flush()
        return [
            .config(TestArchive.configuration, toml), .config("/etc/postern/lists/friends", "192.0.2.1/32\n"),
            .key("/etc/postern/keys/example.org/a.pem", try #require(keys["r.pem"])),
            .key("/etc/postern/keys/example.org/b.pem", try #require(keys["e.pem"])),
            .state(.limits, try folder.read("limits.journal")), .state(.dkimKeys, Array("# none\n".utf8)),
        ]
    }

    private static func test(
        _ files: [ArchivedFile], _ words: String...
    ) throws -> (result: Postern.Result, left: [String]) {
        let folder = try Folder()
        let archive = try folder.write(try TestArchive.octets(files), to: "a")
        chmod(archive, 0o600)
        let scratch = folder.file("scratch")
        try FileManager.default.createDirectory(atPath: scratch, withIntermediateDirectories: true)
        let result = try Postern().run(["backup", "test", "--scratch", scratch, archive] + words)
        return (result, try FileManager.default.subpathsOfDirectory(atPath: scratch))
    }

    @Test("that a backup of this host would do is noted for the metrics; of another one, or a bad one, nothing is")
    func noted() throws {
        let state = try Folder()
        func noted(host: String, _ files: [ArchivedFile]) throws -> LastBackup? {
            let config = try state.write(
                "[host]\nname = \"\(host)\"\n[state]\ndirectory = \"\(state.path)\"\n", to: "p.toml")
            let (result, _) = try Self.test(files, "--config", config)
            #expect(result.notes.isEmpty, "\(result.notes)")
            return LastBackup.read(.tested, in: state.path)
        }
        #expect(try noted(host: "mx9.example.org", Self.good()) == nil)
        #expect(try noted(host: Self.host, Self.good().dropLast(3) + [.key("/etc/postern/k", [1])]) == nil)
        let tested = try noted(host: Self.host, Self.good())
        #expect(tested?.time == Postern().now && tested?.octets ?? 0 > 0)
        // Where it cannot be noted, that is told, and the test is as good.
        let config = try state.write(
            "[host]\nname = \"\(Self.host)\"\n[state]\ndirectory = \"\(state.file("absent"))\"\n", to: "q.toml")
        let (result, _) = try Self.test(try Self.good(), "--config", config)
        #expect(
            result.status == 0 && result.notes.hasSuffix("; the metrics do not tell of this test"), "\(result.notes)")
    }

    @Test("one that would do, told on a screen; nothing stays") func good() throws {
        let (result, left) = try Self.test(try Self.good())
        #expect(result.status == 0, "\(result.text)")
        let lines = result.text.split(separator: "\n").map { $0.split(separator: " ").joined(separator: " ") }
        for line in [
            "configuration /etc/postern/postern.toml: ok", "keys 2, all of which can sign",
            "limits.journal 0 keys of limits", "result this backup would do",
        ] { #expect(lines.contains(line), "\(line) in \(lines)") }
        #expect(result.text.split(separator: "\n").count < 24)
        #expect(left.isEmpty)
        let json = try Self.test(try Self.good(), "--json").result.json()
        #expect(json["good"] as? Bool == true)
        #expect(
            (json["parts"] as? [[String: Any]])?.compactMap { $0["part"] as? String } == [
                "configuration", "keys", "dkim-keys", "limits.journal",
            ])
    }

    @Test("what would not do, each with its reason, paths as they are on the host") func bad() throws {
        let rows: [(what: String, text: String, change: (inout [ArchivedFile]) -> Void)] = [
            ("a list is missing", "found \"No such file or directory\"", { $0.remove(at: 1) }),
            ("a key is missing", "dkim.key[1].file: expected", { $0.remove(at: 2) }),
            ("a key is none", "a.pem: expected a private key", { $0[2].octets = Array("x".utf8) }),
            ("the configuration is none", "postern.toml:1:", { $0[0].octets = Array("[host".utf8) }),
            ("a store is damaged", "limits.journal", { $0[4].octets = Array("PSTNLIM1x".utf8) }),
            ("a store is another's", "file is not a database", { $0.append(.state(.greylist, Array("nothing".utf8))) }),
        ]
        for (what, text, change) in rows {
            var files = try Self.good()
            change(&files)
            let (result, left) = try Self.test(files)
            #expect(result.status == 1, "\(what): \(result.text) \(result.notes)")
            #expect(result.text.contains("error: "), "\(what)")
            #expect(result.text.contains(text), "\(what): \(result.text)")
            #expect(result.text.contains("this backup would NOT do\n"), "\(what)")
            #expect(!result.text.contains("scratch"), "\(what): \(result.text)")
            #expect(left.isEmpty, "\(what)")
        }
    }

    @Test("what is not in the archive is not looked for on this host, but for what packages bring") func host() throws {
        let folder = try Folder()
        let list = try folder.write("192.0.2.1/32\n", to: "friends")
        var files = try Self.good()
        files[0].octets = Array("[host]\nname = \"mx1.example.org\"\nnetworks = [\"file:\(list)\"]\n".utf8)
        let result = try Self.test(files).result
        #expect(result.status == 1)
        #expect(result.text.contains("host.networks: expected a readable file"))
    }

    @Test("the newest of a folder; none there, and no archive, are told") func newest() throws {
        let folder = try Folder()
        #expect(try Postern().run(["backup", "test", folder.path]).status == 69)
        let host = "mx1.example.org"
        for (seconds, name) in [(0, "old"), (86_400, "new")] as [(Int64, String)] {
            let archive = BackupName(host: host, created: UnixTime(seconds: 1_795_000_000 + seconds))
            let files = [ArchivedFile.config(TestArchive.configuration, "[host]\nname = \"\(name).example.org\"\n")]
            try folder.write(try TestArchive.octets(files), to: archive.text)
        }
        let result = try Postern().run(["backup", "test", folder.path])
        #expect(result.status == 0)
        #expect(result.text.contains("\(BackupName(host: host, created: UnixTime(seconds: 1_795_086_400)).text)\n"))
        try folder.write("no archive", to: "x")
        #expect(try Postern().run(["backup", "test", folder.file("x")]).status == 65)
    }

    @Test("whoever interrupts it leaves nothing either") func interrupted() throws {
        let folder = try Folder()
        let archive = try folder.write(try TestArchive.octets(try Self.good()), to: "a")
        let scratch = folder.file("scratch")
        try FileManager.default.createDirectory(atPath: scratch, withIntermediateDirectories: true)
        var ends = 0
        for count in 1...1000 {
            let left = Countdown(count)
            var postern = Postern()
            postern.isInterrupted = { left.isOver }
            guard try postern.run(["backup", "test", "--scratch", scratch, archive]).status != 0 else { break }
            #expect(try FileManager.default.contentsOfDirectory(atPath: scratch).isEmpty)
            ends = count
        }
        #expect(ends > 10)
    }
}
