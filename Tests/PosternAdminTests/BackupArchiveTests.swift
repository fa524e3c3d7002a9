// Archives: what is written is read again, one flipped bit anywhere is found, and what is not exactly as we write it is
// refused. Hostile archives are made here octet by octet, with a right trailer, so that nothing stops them early.

import Foundation
import Glibc
import PosternDaemon
import PosternMail
import TestSupport
import Testing

@testable import PosternAdmin

@Suite("backup: archives")
struct BackupArchiveTests {
    private static let files = [
        ArchivedFile.config(TestArchive.configuration, TestArchive.toml), .key("/etc/postern/keys/s1.pem", [1, 2, 3]),
        .state(.limits, (0..<3000).map { UInt8(truncatingIfNeeded: $0) }),
    ]

    // MARK: Whole

    @Test("what is written is read again, and tar reads it too")
    func roundTrip() throws {
        var files = Self.files
        files.append(.config("/etc/postern/größe und leer.list", ""))
        files.append(.config("/" + String(repeating: "long-name/", count: 40) + "list", "x\n"))
        let folder = try Folder()
        let path = try folder.write(try TestArchive.octets(files), to: "a.tar.zst")
        let reader = try ArchiveReader(path)
        #expect(reader.manifest == (try TestArchive.manifest(files)))
        var found: [[UInt8]] = []
        try reader.read { piece throws(CommandFailure) in
            switch piece {
            case .begin: found.append([])
            case .octets(let octets): found[found.count - 1] += octets
            case .end: break
            }
        }
        #expect(found == files.map(\.octets))
        // The trailer is a skippable frame: Zstandard's own program passes over it (RFC 8878 §3.1.2).
        let tar = Process()
        tar.executableURL = URL(filePath: "/bin/sh")
        tar.arguments = ["-c", "zstd -dqc \"$1\" | tar -tf - | sed -n 2p", "sh", path]
        let output = Pipe()
        tar.standardOutput = output
        try tar.run()
        let text = String(decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        tar.waitUntilExit()
        #expect(text == "config/etc/postern/postern.toml\n")
    }

    @Test("a file that changes between hashing and writing ends the backup")
    func changed() throws {
        let manifest = try TestArchive.manifest([Self.files[0]])
        for other in [[UInt8](repeating: 0x61, count: 3), Array((TestArchive.toml + "#").utf8), []] {
            let writer = try ArchiveWriter(manifest) { _ in }
            var pieces = [other]
            let failure = #expect(throws: CommandFailure.self) {
                try writer.add { () throws(CommandFailure) in pieces.popLast() ?? [] }
            }
            #expect(failure?.text.contains("changed while it was backed up") == true)
        }
    }

    // MARK: Damaged

    @Test("one flipped bit anywhere is found")
    func flippedBits() throws {
        let folder = try Folder()
        let whole = try TestArchive.octets(Array(Self.files.prefix(2)))
        var unseen: [Int] = []
        for index in whole.indices {
            for bit in 0..<8 {
                var octets = whole
                octets[index] ^= 1 << UInt8(bit)
                if Self.trouble(try folder.write(octets, to: "a")) == nil { unseen.append(index * 8 + bit) }
            }
        }
        #expect(unseen.isEmpty, "bits of \(whole.count) octets that were not found: \(unseen)")
        #expect(Self.trouble(try folder.write(whole, to: "a")) == nil)
    }

    @Test("an archive that breaks off anywhere, or goes on behind its end, is found")
    func cut() throws {
        let folder = try Folder()
        let whole = try TestArchive.octets(Self.files)
        for count in 0..<whole.count {
            let trouble = Self.trouble(try folder.write(Array(whole.prefix(count)), to: "a"))
            #expect(trouble?.status == .badData, "cut after \(count) of \(whole.count) octets")
        }
        for more in [[UInt8(0)], [0x0A], whole] {
            #expect(Self.trouble(try folder.write(whole + more, to: "a"))?.status == .badData)
        }
        #expect(Self.trouble(folder.path)?.status == .badData)
        #expect(
            Self.trouble(folder.path)?.text.hasSuffix("found a folder; `postern backup list` tells what is in it")
                == true)
        #expect(Self.trouble(folder.file("none"))?.status == .unavailable)
    }

    // MARK: Hostile

    /// A member as tar has it.
    struct Member {
        var name: String
        var octets: [UInt8] = []
        var type: Character = "0"
        var link = ""
        var size: Int?

        /// Source: POSIX.1-2001, ustar Interchange Format.
        var block: [UInt8] {
            func field(_ text: String, _ count: Int) -> [UInt8] {
                Array((Array(text.utf8) + [UInt8](repeating: 0, count: count)).prefix(count))
            }
            func number(_ value: Int, _ count: Int) -> [UInt8] {
                let digits = String(value, radix: 8)
                return field(String(repeating: "0", count: max(0, count - 1 - digits.count)) + digits, count)
            }
            let head = field(name, 100) + number(0o600, 8) + number(0, 8) + number(0, 8)
            let tail =
                field(String(type), 1) + field(link, 100) + field("ustar", 6) + field("00", 2) + field("root", 32)
                + field("root", 32) + number(0, 8) + number(0, 8) + field("", 155) + field("", 12)
            let start = head + number(size ?? octets.count, 12) + number(0, 12)
            let sum = (start + field("        ", 8) + tail).reduce(0) { $0 + Int($1) }
            let padding = [UInt8](repeating: 0, count: (512 - octets.count % 512) % 512)
            return start + Array((String(number(sum, 7).dropLast().map { Character(Unicode.Scalar($0)) }) + "\0 ").utf8)
                + tail + octets + padding
        }
    }

    static let end = [UInt8](repeating: 0, count: 1024)

    static func archive(_ body: [UInt8]) throws -> [UInt8] {
        body + ArchiveTrailer.make(hash: try ContentDigest.hash(body))
    }

    static func archive(_ members: [Member], after: [UInt8] = end) throws -> [UInt8] {
        try archive(ZstandardFrame.raw(members.flatMap(\.block) + after))
    }

    /// What reading all of it says.
    static func trouble(_ path: String) -> CommandFailure? {
        do throws(CommandFailure) {
            try ArchiveReader(path).read { (_: ArchivePiece) throws(CommandFailure) in }
            return nil
        } catch {
            return error
        }
    }

    private static let key = files[1]
    private static func manifestMember(_ files: [ArchivedFile] = [files[0], key]) throws -> Member {
        Member(name: BackupManifest.path, octets: try TestArchive.manifest(files).json)
    }
    private static let members = [
        Member(name: "config/etc/postern/postern.toml", octets: files[0].octets),
        Member(name: "keys/etc/postern/keys/s1.pem", octets: files[1].octets),
    ]

    @Test("hostile archives are refused, each for its own reason")
    func hostile() throws {
        let folder = try Folder()
        let manifest = try Self.manifestMember()
        let (config, key) = (Self.members[0], Self.members[1])
        func with(_ change: (inout Member) -> Void) -> Member {
            var member = key
            change(&member)
            return member
        }
        let rows: [(String, [Member], after: [UInt8], expected: String)] = [
            ("nothing", [], Self.end, "expected a manifest"),
            ("no manifest", [config, key], Self.end, "expected manifest.json"),
            ("the manifest is not the first", [config, manifest, key], Self.end, "expected manifest.json"),
            ("two manifests", [manifest, manifest, config, key], Self.end, "expected config/etc"),
            ("a file is missing", [manifest, config], Self.end, "found the archive's end"),
            (
                "another order", [manifest, key, config], Self.end,
                "expected config/etc/postern/postern.toml, found keys"
            ),
            ("one file twice", [manifest, config, config, key], Self.end, "expected keys/etc"),
            ("one more at the end", [manifest, config, key, key], Self.end, "which the manifest does not have"),
            ("an absolute path", [manifest, config, with { $0.name = "/etc/shadow" }], Self.end, "found /etc/shadow"),
            (
                "a path upwards", [manifest, config, with { $0.name = "keys/../../etc/x" }], Self.end,
                "found keys/../.."
            ),
            (
                "a symbolic link",
                [manifest, config, with { ($0.type, $0.link, $0.octets) = ("2", "/etc/shadow", []) }],
                Self.end, "plain files only"
            ),
            (
                "a hard link", [manifest, config, with { ($0.type, $0.link, $0.octets) = ("1", "/etc/shadow", []) }],
                Self.end, "plain files only"
            ),
            (
                "a character device", [manifest, config, with { ($0.type, $0.octets) = ("3", []) }], Self.end,
                "plain files"
            ),
            ("a block device", [manifest, config, with { ($0.type, $0.octets) = ("4", []) }], Self.end, "plain files"),
            ("a folder", [manifest, config, with { ($0.type, $0.octets) = ("5", []) }], Self.end, "plain files only"),
            ("a pipe", [manifest, config, with { ($0.type, $0.octets) = ("6", []) }], Self.end, "plain files only"),
            (
                "shorter than the manifest says", [manifest, config, with { $0.octets = [1, 2] }], Self.end,
                "expected 3 octets, found 2"
            ),
            (
                "longer than the manifest says", [manifest, config, with { $0.octets = [1, 2, 3, 4] }], Self.end,
                "expected 3 octets, found 4"
            ),
            ("other octets", [manifest, config, with { $0.octets = [1, 2, 4] }], Self.end, "expected the SHA-256"),
            (
                "a size that the tar does not have", [manifest, config, with { $0.size = 1 << 30 }], Self.end,
                "expected 3 octets"
            ),
            ("no end of the tar", [manifest, config, key], [], ""),
            ("a second tar behind the end", [manifest, config, key], Self.end + key.block + Self.end, "does not have"),
            (
                "something else behind the end", [manifest, config, key],
                Self.end + [UInt8](repeating: 0x41, count: 512) + Self.end, "expected an archive of Postern's"
            ),
        ]
        for row in rows {
            let path = try folder.write(try Self.archive(row.1, after: row.after), to: "a")
            let trouble = Self.trouble(path)
            // A tar may end without its two blocks of zeros; nothing is missing then.
            guard !row.expected.isEmpty else {
                #expect(trouble == nil, "\(row.0)")
                continue
            }
            #expect(trouble?.status == .badData, "\(row.0)")
            #expect(trouble?.text.contains(row.expected) == true, "\(row.0): \(trouble?.text ?? "taken")")
        }
        let good = try Self.archive([manifest, config, key])
        #expect(Self.trouble(try folder.write(good, to: "a")) == nil)
    }

    @Test("an archive that is still encrypted is told from one that is damaged")
    func encrypted() throws {
        let folder = try Folder()
        let tail = [UInt8](repeating: 0x5A, count: 300)
        let rows: [(head: [UInt8], program: String?)] = [
            (Array("age-encryption.org/v1\n".utf8), "age"), (Array("-----BEGIN AGE ENCRYPTED FILE-----\n".utf8), "age"),
            (Array("-----BEGIN PGP MESSAGE-----\n".utf8), "gpg"), ([0x85, 0x01, 0x8C], "gpg"), ([0x84, 0x5E], "gpg"),
            ([0x8C, 0x0D], "gpg"), ([0xC1, 0x5E], "gpg"), ([0xC3, 0x0D], "gpg"), ([0x28, 0xB5, 0x2F, 0xFD], nil),
            ([], nil),
        ]
        for row in rows {
            let trouble = try #require(Self.trouble(try folder.write(row.head + tail, to: "a")))
            #expect(trouble.status == .badData)
            let words = row.program.map { "one that \($0) has encrypted" } ?? "it is cut off, damaged"
            #expect(trouble.text.contains(words), "\(row.head): \(trouble.text)")
        }
    }

    @Test("octets around the compressed tar are refused")
    func around() throws {
        let folder = try Folder()
        let tar = [try Self.manifestMember(), Self.members[0], Self.members[1]].flatMap(\.block) + Self.end
        let frame = ZstandardFrame.raw(tar)
        let rows: [(String, [UInt8])] = [
            ("a plain tar", tar), ("gzip's magic", [0x1F, 0x8B, 8, 0] + frame),
            ("octets behind the frame", frame + [1, 2, 3]),
            ("another frame behind it", frame + ZstandardFrame.raw(Self.members[1].block)),
            ("half a frame", Array(frame.dropLast(200))), ("nothing", []),
        ]
        for (name, body) in rows {
            #expect(Self.trouble(try folder.write(try Self.archive(body), to: "a"))?.status == .badData, "\(name)")
        }
    }

    @Test("what unpacks to more than its manifest has is refused, and not unpacked to the end")
    func bomb() throws {
        let folder = try Folder()
        let manifest = try Self.manifestMember()
        let tar = [manifest, Self.members[0], Self.members[1]].flatMap(\.block)
        let lastBlock: [UInt8] = [1, 0, 0]
        let most = "expected a tar of at most"
        // 2 MiB of zeros behind a tar are a tape's; 40 are none's. What is wrong behind 4 GiB of them is not read.
        let rows: [(String, [UInt8], expected: String?)] = [
            ("a few zeros", ZstandardFrame.open(tar, mebibytes: 2) + lastBlock, nil),
            ("many zeros", ZstandardFrame.open(tar, mebibytes: 40) + lastBlock, most),
            ("a broken block behind 4 GiB", ZstandardFrame.open(tar, mebibytes: 4096) + [7, 0, 0], most),
            ("zeros before the manifest", ZstandardFrame.open([], mebibytes: 4096) + [7, 0, 0], most),
        ]
        for (name, body, expected) in rows {
            let trouble = Self.trouble(try folder.write(try Self.archive(body), to: "a"))
            guard let expected else {
                #expect(trouble == nil, "\(name)")
                continue
            }
            #expect(trouble?.status == .badData, "\(name)")
            #expect(trouble?.text.contains(expected) == true, "\(name): \(trouble?.text ?? "taken")")
        }
    }

    @Test("a manifest of more values than the most files have is refused")
    func manifestValues() throws {
        let good = try TestArchive.manifest(Self.files).json
        _ = try ControlDocument(
            good, maxValues: BackupManifest.maxValues / BackupManifest.maxEntries * Self.files.count)
        // Members that a later Postern adds are passed over, but not any number of them.
        for (count, isTaken) in [(100_000, true), (BackupManifest.maxValues, false)] {
            let more = Array(#","later":[\#(String(repeating: "0,", count: count))0]"#.utf8)
            let close = try #require(good.lastIndex(of: UInt8(ascii: "}")))
            let text = good[..<close] + more + good[close...]
            do throws(BackupManifestError) {
                _ = try BackupManifest(json: Array(text))
                #expect(isTaken, "\(count) values were taken")
            } catch {
                #expect(!isTaken && error.description.contains("at most 320000 values"), "\(count): \(error)")
            }
        }
    }

    @Test("manifests that are not ours are refused")
    func manifests() throws {
        let good = String(decoding: try TestArchive.manifest(Self.files).json, as: UTF8.self)
        #expect(try BackupManifest(json: Array(good.utf8)) == TestArchive.manifest(Self.files))
        let old = good.replacing(#"  "missing": [],\#n"#, with: "")
        #expect(old != good)
        #expect(try BackupManifest(json: Array(old.utf8)) == TestArchive.manifest(Self.files))
        let rows: [(String, String, String)] = [
            (#""format": 1"#, #""format": 2"#, "another Postern"),
            (#""format": 1"#, #""form": 1"#, "expected a format"),
            (#""created": 1794999000"#, #""created": -1"#, "a time"),
            (#""kind":"keys""#, #""kind":"links""#, "all of its members"),
            (#""mode":"400""#, #""mode":"4755""#, "at most 0777"),
            (#""mode":"400""#, #""mode":"+1""#, "at most 0777|taken"),
            (#""size":3,"#, #""size":-1,"#, "octets, found -1"), (#""size":3,"#, #""size":3000000000,"#, "at most"),
            ("keys/etc/postern/keys/s1.pem", "keys/etc/postern/keys/s2.pem", "expected the path"),
            (
                "/etc/postern/keys/s1.pem", "/etc/postern/keys/../s1.pem",
                "without . and .."
            ),
            ("/etc/postern/keys/s1.pem", "etc/s1.pem", "without . and .."),
            ("/etc/postern/keys/s1.pem", "/etc//s1.pem", "without . and .."),
            ("/etc/postern/keys/s1.pem", "/etc/a\\nb", "without . and .."),
            (#""state":"limits""#, #""state":"limit""#, "a state of ours"),
            (#""state":"limits""#, #""state":null"#, "a state's name"),
            (#""missing": []"#, #""missing": "all""#, "a list for missing"),
            (#""missing": []"#, #""missing": [1]"#, "names of what is missing"),
            (#""missing": []"#, #""missing": [""]"#, "names of what is missing"),
            (
                #""missing": []"#, #""missing": [\#(Array(repeating: #""x""#, count: 101).joined(separator: ","))]"#,
                "at most 100 names"
            ),
            (
                #""configuration": "/etc/postern/postern.toml""#, #""configuration": "/etc/postern/other.toml""#,
                "expected the configuration"
            ),
            (
                #""configuration": "/etc/postern/postern.toml""#, #""configuration": "../postern.toml""#,
                "absolute paths"
            ),
        ]
        for (from, to, expected) in rows {
            let text = good.replacing(from, with: to)
            #expect(text != good, "\(from)")
            do throws(BackupManifestError) {
                _ = try BackupManifest(json: Array(text.utf8))
                #expect(expected.contains("taken"), "\(to) was taken")
            } catch {
                #expect(expected.split(separator: "|").contains { error.description.contains($0) }, "\(to): \(error)")
            }
        }
        for (name, change) in [
            ("the same twice", { (files: inout [ArchivedFile]) in files.append(files[0]) }),
            ("a file that is a folder", { $0.append(.config("/etc/postern", "")) }),
            ("an owner with a slash", { $0[0].owner = "../root" }),
            ("an owner that is an option", { $0[0].owner = "-R" }),
            ("no group", { $0[0].group = "" }),
        ] as [(String, (inout [ArchivedFile]) -> Void)] {
            var files = Self.files
            change(&files)
            #expect(throws: BackupManifestError.self, "\(name)") { try TestArchive.manifest(files).check() }
        }
    }

    @Test("damaged archives with a right trailer never trap")
    func mutations() throws {
        let folder = try Folder()
        let tar = [try Self.manifestMember(), Self.members[0], Self.members[1]].flatMap(\.block) + Self.end
        let samples = [
            Array(try TestArchive.octets(Self.files).dropLast(ArchiveTrailer.octets)), ZstandardFrame.raw(tar),
        ]
        try Mutations.of(samples, count: 1500, seed: 9) { body in
            _ = Self.trouble(try folder.write(try Self.archive(body), to: "a"))
        }
        try Mutations.of([tar], count: 1500, seed: 10) { tar in
            _ = Self.trouble(try folder.write(try Self.archive(ZstandardFrame.raw(tar)), to: "a"))
        }
        let manifest = try TestArchive.manifest(Self.files).json
        Mutations.of([manifest], count: 1500, seed: 11) { json in
            // Most are none; what is one is rendered as another.
            guard let manifest = try? BackupManifest(json: json) else { return }
            #expect((try? BackupManifest(json: manifest.json)) == manifest)
        }
    }

    // MARK: Names

    @Test("names of archives are told from others")
    func names() {
        let name = BackupName(host: "mx-1.example.com", created: UnixTime(seconds: 1_795_000_000))
        #expect(name.text == "postern-mx-1.example.com-20261118T110640Z.tar.zst")
        #expect(BackupName(name.text) == name)
        for other in [
            "postern-mx1-20261118T110640Z.tar.gz", "postern-20261118T110640Z.tar.zst",
            "postern--20261118T110640Z.tar.zst",
            "postern-mx1-20261131T112640Z.tar.zst", "postern-mx1-2026111T1126400Z.tar.zst",
            "postern-mx1-+0261118T112640Z.tar.zst",
            "postern-mx/1-20261118T110640Z.tar.zst", "Postern-mx1-20261118T110640Z.tar.zst",
            "postern-mx1-20261118T110640Z.tar.zst.age", ".postern-1-a.partial",
            "postern-mx1-20261118T110640Z.tar.zst\n",
        ] { #expect(BackupName(other) == nil, "\(other)") }
    }
}
