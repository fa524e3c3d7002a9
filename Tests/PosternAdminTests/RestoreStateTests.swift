// Restoring databases: what SQLite keeps beside the one that is replaced must not be taken for the new one's, and goes
// with it.

import Foundation
import Glibc
import PosternAdmission
import PosternMail
import PosternStore
import TestSupport
import Testing

@testable import PosternAdmin

@Suite("restore: databases") struct RestoreStateTests {
    private static let database = "/var/lib/postern/greylist.sqlite"
    private static let kept = database + ".replaced-20261118T110640Z"
    private static let companions = ["-wal", "-journal", "-shm"]

    /// greylist.sqlite as it lies there while postern-policy runs, and once it has ended.
    private struct Ledger {
        let folder: Folder
        private let store: GreylistStore
        private static let now = UnixTime(seconds: 1_795_000_000)

        /// - Parameter clients: networks that an admin has let in.
        init(_ clients: [String]) throws {
            folder = try Folder()
            store = GreylistStore(path: folder.file("greylist.sqlite"), log: RecordingLog(), now: { Self.now })
            store.open()
            for client in clients {
                try store.allow(.origin(try #require(GreylistOrigin(client))), now: Self.now)
            }
            try store.flush()
        }

        /// As a crash would leave it: by suffix.
        func crashed() throws -> [String: [UInt8]] {
            ["": try folder.read("greylist.sqlite"), "-wal": try folder.read("greylist.sqlite-wal")]
        }

        func closed() throws -> [UInt8] {
            store.close()
            return try folder.read("greylist.sqlite")
        }
    }

    /// An archive with a ledger of three clients.
    private static func host() throws -> RestoreHost {
        let new = try Ledger(["192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24"])
        return try RestoreHost(TestArchive.usual() + [.state(.greylist, try new.closed())])
    }

    private static func put(_ files: [String: [UInt8]], _ host: RestoreHost) throws {
        try host.put(database, "")
        for (suffix, octets) in files { try Data(octets).write(to: URL(filePath: host.path(database + suffix))) }
    }

    private static func clients(_ path: String) throws -> Int? {
        try LedgerInspection.greylist(path).first { $0.name == "known clients" }?.number
    }

    @Test("a database that a crash left with its log is settled, and kept as one whole file") func settled() throws {
        let host = try Self.host()
        let old = try Ledger(["192.0.2.0/24", "198.51.100.0/24"])
        try Self.put(try old.crashed(), host)
        let result = try host.restore("--yes")
        #expect(result.status == 0, "\(result.notes)")
        for suffix in Self.companions {
            #expect(!Files.exists(host.path(Self.database + suffix)))
            #expect(!Files.exists(host.path(Self.kept + suffix)))
        }
        #expect(try Self.clients(host.path(Self.kept)) == 2)
        #expect(try Self.clients(host.path(Self.database)) == 3)
    }

    @Test("one that is damaged is kept with what is beside it; the new one is read without that") func damaged() throws
    {
        for octets in [Array("this is no database, and never was one".utf8), []] as [[UInt8]] {
            let host = try Self.host()
            var old = try Ledger(["192.0.2.0/24", "198.51.100.0/24"]).crashed()
            old[""] = octets
            try Self.put(old, host)
            #expect(try host.restore("--yes").status == 0)
            #expect(try Self.clients(host.path(Self.database)) == 3)
            let tree = try FileManager.default.contentsOfDirectory(atPath: host.path("/var/lib/postern"))
            #expect(tree.filter { $0.hasPrefix("greylist.sqlite.replaced") }.count >= 1)
        }
    }

    @Test("a log without a database is not the new one's") func orphan() throws {
        let host = try Self.host()
        var old = try Ledger(["192.0.2.0/24"]).crashed()
        old[""] = nil
        try Self.put(old, host)
        unlink(host.path(Self.database))
        #expect(try host.restore("--yes").status == 0)
        #expect(try Self.clients(host.path(Self.database)) == 3)
        #expect(Files.exists(host.path(Self.kept + "-wal")))
    }

    @Test("one that somebody has open is left alone, and so is everything else") func busy() throws {
        let host = try Self.host()
        try host.put(Self.database, "")
        unlink(host.path(Self.database))
        let store = GreylistStore(
            path: host.path(Self.database), log: RecordingLog(), now: { UnixTime(seconds: 1_795_000_000) })
        store.open()
        try store.allow(.origin(try #require(GreylistOrigin("192.0.2.0/24"))), now: UnixTime(seconds: 1_795_000_000))
        try store.flush()
        let before = try FileManager.default.subpathsOfDirectory(atPath: host.root).sorted()
        let result = try host.restore("--yes")
        #expect(result.status == 69)
        #expect(result.notes.contains("greylist.sqlite: another program has it open; stop it and try again"))
        #expect(try FileManager.default.subpathsOfDirectory(atPath: host.root).sorted() == before)
        store.close()
        #expect(try Self.clients(host.path(Self.database)) == 1)
        #expect(try host.restore("--yes").status == 0)
        #expect(try Self.clients(host.path(Self.database)) == 3)
    }

    @Test("after the restore its owner opens it, and knows what it knew") func opened() throws {
        let host = try Self.host()
        #expect(try host.restore("--yes").status == 0)
        let log = RecordingLog()
        let store = GreylistStore(path: host.path(Self.database), log: log, now: { UnixTime(seconds: 1_795_000_000) })
        store.open()
        #expect(try store.counts().clients == 3)
        store.close()
        #expect(log.warnings.isEmpty)
    }
}
