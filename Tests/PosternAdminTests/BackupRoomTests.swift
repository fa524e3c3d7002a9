// Room: what does not fit is refused before anything is written, with what is needed and what is free; a disk that
// fills up in the middle changes nothing either; and archives that lack something say so from then on.

import Foundation
import Glibc
import PosternMail
import PostfixHarness
import TestSupport
import Testing

@testable import PosternAdmin

@Suite("backup: room", .enabled(if: SmallDisk.isPossible, "expected to be allowed to mount tmpfs"))
struct BackupRoomTests {
    /// Octets of which Zstandard makes nothing shorter.
    private static func noise(_ count: Int) -> [UInt8] {
        var random = SeededRandom(seed: 7)
        var octets: [UInt8] = []
        octets.reserveCapacity(count + 8)
        while octets.count < count { withUnsafeBytes(of: random.next()) { octets += $0 } }
        return Array(octets.prefix(count))
    }

    private static func names(_ disk: SmallDisk) throws -> [String] {
        try FileManager.default.contentsOfDirectory(atPath: disk.folder.path).sorted()
    }

    /// - Parameter isInterrupted: asked before each piece that is read or written.
    private static func restore(
        _ host: RestoreHost, on disk: SmallDisk, _ words: String...,
        isInterrupted: @escaping @Sendable () -> Bool = { false }
    ) throws -> Postern.Result {
        var postern = Postern(now: UnixTime(seconds: 1_795_000_000))
        postern.isInterrupted = isInterrupted
        return try postern.run(["backup", "restore", "--root", disk.folder.path] + words + [host.archive])
    }

    // MARK: Restore

    @Test("restore: what does not fit is refused before anything is written, a part of it goes")
    func restore() throws {
        var files = TestArchive.usual()
        files.append(.state(.dns, Self.noise(300 << 10)))
        let host = try RestoreHost(files)
        let disk = try SmallDisk(size: "256k")
        let full = try Self.restore(host, on: disk, "--yes")
        #expect(full.status == 69)
        #expect(full.notes.contains("no room for the archive's files, and nothing was changed"), "\(full.notes)")
        let figures = /error: \/\S+[^\/]: (\d+\.\d) KiB needed, (\d+\.\d) KiB free/
        let found = try #require(full.notes.firstMatch(of: figures), "\(full.notes)")
        #expect(try #require(Double(found.output.1)) > 300)
        #expect(try #require(Double(found.output.2)) <= 256)
        #expect(full.text.isEmpty)
        #expect(try Self.names(disk).isEmpty)
        let dry = try Self.restore(host, on: disk, "--dry-run")
        #expect(dry.status == 0)
        #expect(dry.notes.contains("warning: no room at "))
        #expect(try Self.names(disk).isEmpty)
        let part = try Self.restore(host, on: disk, "--only", "config", "--only", "keys")
        #expect(part.status == 0, "\(part.notes)")
    }

    @Test(
        "restore: what is replaced stays beside it, so it needs room as if nothing were there; what is the same, none")
    func replaced() throws {
        var files = TestArchive.usual()
        files.append(.state(.dns, Self.noise(100 << 10)))
        let host = try RestoreHost(files)
        let disk = try SmallDisk(size: "200k")
        #expect(try Self.restore(host, on: disk).status == 0)
        let same = try Self.restore(host, on: disk)
        #expect(same.status == 0 && same.text.hasSuffix("\n7 the same already\n"))
        try disk.folder.write("var/lib/postern/dns.snapshot", Array(Self.noise(120 << 10).reversed()))
        #expect(try Self.restore(host, on: disk, "--yes").notes.contains("KiB needed"))
        try disk.folder.write("var/lib/postern/dns.snapshot", Array("short".utf8))
        #expect(try Self.restore(host, on: disk, "--yes").status == 0)
    }

    @Test("restore: a disk that fills up in the middle changes nothing, and leaves nothing")
    func filling() throws {
        var files = TestArchive.usual()
        files.append(.state(.dns, Self.noise(1 << 20)))
        let host = try RestoreHost(files)
        let disk = try SmallDisk(size: "2m")
        let path = disk.folder.path
        let full = try Self.restore(
            host, on: disk,
            isInterrupted: {
                // As soon as a file is being written; the restore tells what comes of it.
                let names = (try? FileManager.default.subpathsOfDirectory(atPath: path)) ?? []
                if names.contains(where: { $0.contains("/.restore-") }) { try? disk.fill() }
                return false
            })
        #expect(full.status == 69)
        #expect(full.notes.contains("No space left on device"), "\(full.notes)")
        #expect(try Self.names(disk) == ["filler"])
        try disk.empty()
        #expect(try Self.restore(host, on: disk).status == 0)
    }

    @Test("test: no room for looking is told, with where to say another folder; nothing is left")
    func trial() throws {
        let host = try RestoreHost([
            .config(TestArchive.configuration, TestArchive.toml), .state(.dns, Self.noise(300 << 10)),
        ])
        let disk = try SmallDisk(size: "256k")
        let full = try Postern().run(["backup", "test", "--scratch", disk.folder.path, host.archive])
        #expect(full.status == 69)
        #expect(full.notes.contains("no room for looking at the archive's files") && full.notes.contains(" needed, "))
        #expect(full.notes.contains("TMPDIR") && full.notes.contains("error: \(disk.folder.path): "), "\(full.notes)")
        #expect(try Self.names(disk).isEmpty)
    }

    // MARK: Create

    @Test("create: what cannot fit is refused before anything is written")
    func create() throws {
        let host = try BackedUpHost()
        try host.folder.write(Self.noise(1 << 20), to: "state/dns.snapshot")
        let disk = try SmallDisk(size: "256k")
        let full = try host.run("create", "--to", disk.folder.path)
        #expect(full.status == 69)
        #expect(full.notes.contains("no room for an archive in \(disk.folder.path): about "), "\(full.notes)")
        #expect(full.notes.contains(" needed, 25") && full.notes.contains("--to"), "\(full.notes)")
        #expect(try Self.names(disk).isEmpty)
        #expect(try host.run("create", "--to", "-").status == 0)
    }

    @Test("create: a disk that fills up in the middle has no archive, and nothing of one")
    func createFilling() throws {
        let host = try BackedUpHost()
        // A third of it would fit.
        try host.folder.write(Self.noise(400 << 10), to: "state/dns.snapshot")
        let disk = try SmallDisk(size: "256k")
        let full = try host.run("create", "--to", disk.folder.path)
        #expect(full.status == 69)
        #expect(full.notes.contains("No space left on device"), "\(full.notes)")
        #expect(try Self.names(disk).isEmpty)
    }

    @Test("create: the last archive of this host tells what the next will take")
    func estimate() throws {
        let folder = try Folder()
        let place = BackupFolder(path: folder.path)
        #expect(place.archiveOctets(of: 3000, host: "mx1") == 1000)
        func put(_ days: Int, _ host: String, _ content: [UInt8]) throws {
            let name = BackupName(host: host, created: UnixTime(seconds: 1_795_000_000) + .seconds(days * 86400))
            try folder.write(
                try TestArchive.octets([.config(TestArchive.configuration, TestArchive.toml), .state(.dns, content)]),
                to: name.text)
        }
        try put(0, "mx1", [UInt8](repeating: 0x20, count: 1 << 20))
        #expect((1..<100_000).contains(place.archiveOctets(of: 1 << 20, host: "mx1")))
        #expect(place.archiveOctets(of: 3000, host: "mx2") == 1000)
        try put(1, "mx1", Self.noise(100 << 10))
        #expect(place.archiveOctets(of: 3000, host: "mx1") == 3000)
        // One of much less tells nothing of so much.
        #expect((1..<100_000).contains(place.archiveOctets(of: 1 << 20, host: "mx1")))
        // Nor does what is no archive.
        try folder.write([], to: BackupName(host: "mx1", created: UnixTime(seconds: 1_796_000_000)).text)
        #expect(place.archiveOctets(of: 3000, host: "mx1") == 3000)
    }

    // MARK: Archives that lack something

    @Test("a database that there is no room to copy is left out, and every subcommand says so from then on")
    func missing() throws {
        let host = try BackedUpHost()
        // Of zeros: the archive would be small, the copy is not.
        try host.folder.write([UInt8](repeating: 0, count: 500 << 10), to: "state/facts.sqlite")
        let disk = try SmallDisk(size: "256k")
        let made = try host.run("create", "--to", disk.folder.path)
        #expect(made.status == 1)
        #expect(
            made.notes.contains("error: postern-dmarc: no room for a copy of facts.sqlite in \(disk.folder.path): "),
            "\(made.notes)")
        #expect(made.notes.contains("500.0 KiB needed"), "\(made.notes)")
        let names = try Self.names(disk)
        #expect(names.count == 1)
        let archive = "\(disk.folder.path)/\(try #require(names.first))"
        #expect(try ArchiveReader(archive).manifest.missing == ["facts.sqlite"])

        let list = try host.run("list", disk.folder.path)
        #expect(list.status == 0 && list.text.contains("dkim-keys, without facts.sqlite"), "\(list.text)")
        for words in [["verify"], ["test"]] {
            let result = try Postern().run(["backup"] + words + [archive])
            #expect(result.status == 1, "\(words): \(result.notes)")
            #expect(result.text.contains("error: facts.sqlite could not be had when it was made"), "\(result.text)")
        }
        #expect(try Postern().run(["backup", "test", archive]).text.contains("this backup would NOT do"))
        let root = try Folder()
        let restored = try Postern().run(["backup", "restore", "--root", root.path, "--only", "keys", archive])
        #expect(restored.status == 0, "\(restored.text)")
        #expect(restored.notes.contains("warning: the archive is without facts.sqlite"), "\(restored.notes)")
    }

    // MARK: Figures

    @Test("shortages are told in octets, or in files where those are short") func shortages() throws {
        let disk = try SmallDisk(size: "64k")
        let room = try #require(FreeRoom(at: disk.folder.path))
        #expect(room.octets == 64 << 10)
        #expect(room.shortage(of: 64 << 10) == nil)
        #expect(room.shortage(of: 65 << 10) == "65.0 KiB needed, 64.0 KiB free")
        #expect(room.taken(by: 1) == room.unit && room.taken(by: 0) == 0)
        let files = try #require(room.files)
        #expect(room.shortage(of: 1, files: files + 1)?.contains("\(files) more possible (inodes)") == true)
        #expect(FreeRoom(at: disk.folder.path + "/none") == nil)
        #expect(FreeRoom(of: -1) == nil)
    }
}
