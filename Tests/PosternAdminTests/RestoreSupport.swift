// Archives of the restore's tests, made as `create` makes them, and folders that stand for `/`.

import Foundation
import Glibc
import PosternMail
import Testing

@testable import PosternAdmin

/// What an archive is made of.
struct ArchivedFile {
    var kind: BackupManifest.Kind
    var path: String
    var octets: [UInt8]
    var mode: UInt32 = 0o640
    var owner = "\(geteuid())"
    var group = "\(getegid())"
    var state: BackupManifest.State?
    var modified: UnixTime?

    static func config(_ path: String, _ text: String) -> ArchivedFile {
        ArchivedFile(kind: .config, path: path, octets: Array(text.utf8))
    }
    static func key(_ path: String, _ octets: [UInt8]) -> ArchivedFile {
        ArchivedFile(kind: .keys, path: path, octets: octets, mode: 0o400)
    }
    static func state(_ state: BackupManifest.State, _ octets: [UInt8]) -> ArchivedFile {
        ArchivedFile(
            kind: .state, path: "/var/lib/postern/\(state.fileName)", octets: octets, mode: 0o600, state: state)
    }

    func entry() throws -> BackupManifest.Entry {
        BackupManifest.Entry(
            kind: kind, original: path, owner: owner, group: group, mode: mode, size: octets.count,
            sha256: try ContentDigest.hash(octets), state: state, modified: modified)
    }
}

enum TestArchive {
    static let configuration = "/etc/postern/postern.toml"
    static let toml = "[host]\nname = \"mx1.example.org\"\n"

    static func manifest(_ files: [ArchivedFile]) throws -> BackupManifest {
        BackupManifest(
            version: "0.1.0", host: "mx1.example.org", created: UnixTime(seconds: 1_794_999_000),
            configuration: configuration, stateDirectory: "/var/lib/postern", entries: try files.map { try $0.entry() })
    }

    /// The octets of an archive.
    static func octets(_ files: [ArchivedFile], _ given: BackupManifest? = nil) throws -> [UInt8] {
        var archive: [UInt8] = []
        let writer = try ArchiveWriter(try given ?? manifest(files)) { archive += $0 }
        for file in files {
            var rest = file.octets[...]
            try writer.add { () throws(CommandFailure) in
                defer { rest = rest.dropFirst(1000) }
                return Array(rest.prefix(1000))
            }
        }
        try writer.finish()
        return archive
    }

    /// The usual one: a configuration, a list, two keys and some state.
    static func usual(_ text: String = toml) -> [ArchivedFile] {
        [
            .config(configuration, text), .config("/etc/postern/lists/friends", "192.0.2.1\n"),
            .key("/etc/postern/keys/example.org/a.pem", Array("key a".utf8)),
            .key("/etc/postern/keys/example.org/b.pem", Array("key b".utf8)),
            .state(.limits, Array("PSTNLIM1 no frames".utf8)), .state(.dkimKeys, Array("# none\n".utf8)),
        ]
    }
}

/// A folder that stands for `/`, and an archive beside it.
struct RestoreHost {
    let folder: Folder
    let archive: String

    init(_ files: [ArchivedFile] = TestArchive.usual()) throws {
        folder = try Folder()
        try FileManager.default.createDirectory(atPath: folder.file("root"), withIntermediateDirectories: true)
        archive = try folder.write(try TestArchive.octets(files), to: "a.tar.zst")
        chmod(archive, 0o600)
    }

    var root: String { folder.file("root").replacing("//", with: "/") }
    func path(_ inner: String) -> String { root + inner }

    func restore(_ words: String..., now: Int64 = 1_795_000_000, answer: String? = nil) throws -> Postern.Result {
        var postern = Postern(now: UnixTime(seconds: now))
        postern.answer = answer
        return try postern.run(["backup", "restore", "--root", root] + words + [archive])
    }

    /// Writes a file below the root, and the folders that it needs.
    func put(_ inner: String, _ text: String) throws {
        try FileManager.default.createDirectory(
            atPath: Files.folder(of: path(inner)), withIntermediateDirectories: true)
        try Data(text.utf8).write(to: URL(filePath: path(inner)))
    }

    func text(_ inner: String) throws -> String {
        String(decoding: try Data(contentsOf: URL(filePath: path(inner))), as: UTF8.self)
    }

    /// Every file below the root, with its content.
    func tree() throws -> [String: String] {
        var found: [String: String] = [:]
        for name in try FileManager.default.subpathsOfDirectory(atPath: root) {
            var status = stat()
            guard lstat(path("/" + name), &status) == 0 else { continue }
            switch status.st_mode & S_IFMT {
            case S_IFDIR: found["/\(name)/"] = ""
            case S_IFLNK: found["/" + name] = "link"
            default: found["/" + name] = try text("/" + name)
            }
        }
        return found
    }

    func status(_ inner: String) throws -> stat {
        var status = stat()
        guard lstat(path(inner), &status) == 0 else { throw POSIXError(.init(rawValue: errno) ?? .EIO) }
        return status
    }
}

/// Is over when it was asked so often.
final class Countdown: @unchecked Sendable {
    // Unchecked: one test's thread asks.
    private var left: Int
    init(_ count: Int) { left = count }
    var isOver: Bool {
        left -= 1
        return left < 0
    }
}
