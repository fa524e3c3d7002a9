// contrib/backup with Debian's own rsync and age: an archive goes elsewhere, stays what it was, and comes back.

import Foundation
import Glibc
import PostfixHarness
import Testing

@Suite(
    "backups, taken elsewhere",
    .enabled(
        if: ["age", "age-keygen", "rsync"].allSatisfy { access("/usr/bin/\($0)", X_OK) == 0 },
        "contrib/test installs them"))
struct BackupScriptTests {
    /// A host's archive, keys of age, and places for all that the scripts write.
    private struct Host {
        let folder: TemporaryFolder
        let archive: String

        init() throws {
            folder = try TemporaryFolder()
            let place = folder.path
            try folder.write(
                "postern.toml",
                """
                [host]
                name = "mx1.example.org"
                [listen]
                control = "\(place)/run"
                [state]
                directory = "\(place)"

                """)
            for name in ["tmp", "copies", "none"] {
                try FileManager.default.createDirectory(at: folder.file(name), withIntermediateDirectories: true)
            }
            chmod(folder.file("copies").path, 0o755)
            let made = try Program.run(
                try Products.path("postern"),
                ["backup", "create", "--config", "\(place)/postern.toml", "--to", "\(place)/made"])
            guard made.status == 0 else { throw HarnessError("\(made)") }
            archive = try FileManager.default.contentsOfDirectory(atPath: "\(place)/made").first ?? ""
            for name in ["key", "other"] {
                let key = try Program.run("/usr/bin/age-keygen", ["-o", "\(place)/\(name)"])
                guard key.status == 0 else { throw HarnessError("\(key)") }
            }
        }

        func path(_ name: String) -> String { folder.file(name).path }

        /// Whom archives are encrypted for.
        func recipient() throws -> String {
            let text = String(decoding: try folder.read("key"), as: UTF8.self)
            return String(try #require(text.firstMatch(of: /age1[0-9a-z]+/)?.output))
        }

        func run(_ script: String, _ arguments: String...) throws -> ProgramResult { try run(script, arguments) }

        func run(_ script: String, _ arguments: [String]) throws -> ProgramResult {
            let products = URL(filePath: try Products.path("postern")).deletingLastPathComponent().path
            return try Program.run(
                "/bin/sh", [SourceTree.root.appending(path: "contrib/backup/\(script)").path] + arguments,
                environment: ["PATH": "\(products):/usr/sbin:/usr/bin:/sbin:/bin", "TMPDIR": path("tmp")])
        }

        func names(_ name: String) throws -> [String] {
            try FileManager.default.contentsOfDirectory(atPath: path(name)).sorted()
        }
        func mode(_ name: String) throws -> mode_t {
            var status = stat()
            guard stat(path(name), &status) == 0 else { throw HarnessError("no \(name)") }
            return status.st_mode & 0o777
        }
    }

    @Test("postern-backup-rsync: what is whole goes out encrypted, and what is there stays as it is")
    func rsync() throws {
        let host = try Host()
        let (made, copies, recipient) = (host.path("made"), host.path("copies"), try host.recipient())
        // A damaged one keeps no other back, and is told.
        var damaged = try host.folder.read("made/\(host.archive)")
        damaged[damaged.count / 2] ^= 1
        let broken = "made/postern-mx1.example.org-20200101T000000Z.tar.zst"
        try host.folder.write(broken, damaged)
        let first = try host.run("postern-backup-rsync", "\(copies)/", recipient, made)
        #expect(first.status == 65 && first.errors.contains("it is damaged"), "\(first)")
        let copy = "copies/\(host.archive).age"
        #expect(try host.names("copies") == ["\(host.archive).age"])
        #expect(try host.mode(copy) == 0o600)
        #expect(try host.mode("copies") == 0o755)
        #expect(try host.names("tmp").isEmpty)

        let octets = try host.folder.read(copy)
        try FileManager.default.removeItem(atPath: host.path(broken))
        let second = try host.run("postern-backup-rsync", "\(copies)/", recipient, made)
        #expect(second.status == 0, "\(second)")
        #expect(try host.folder.read(copy) == octets)

        // What goes here stays there.
        try FileManager.default.removeItem(atPath: host.path("made/\(host.archive)"))
        let none = try host.run("postern-backup-rsync", "\(copies)/", recipient, made)
        #expect(none.status == 69 && none.errors.contains("no archives in \(made)"), "\(none)")
        #expect(try host.names("copies") == ["\(host.archive).age"])
        #expect(try host.run("postern-backup-rsync", copies).status == 64)
    }

    @Test(
        "postern-backup-drill: the copy is decrypted, restored where nobody notices, and would do; what fails is told")
    func drill() throws {
        let host = try Host()
        let sent = try host.run(
            "postern-backup-rsync", host.path("copies") + "/", try host.recipient(), host.path("made"))
        #expect(sent.status == 0, "\(sent)")
        let copy = host.path("copies/\(host.archive).age")
        let good = try host.run("postern-backup-drill", host.path("key"), "cat", copy)
        #expect(good.status == 0, "\(good)")
        #expect(good.text.contains("this backup would do\n"), "\(good)")
        #expect(good.text.hasSuffix("\n1 the same already\n"), "\(good)")
        let plain = try host.run("postern-backup-drill", "-", "cat", host.path("made/\(host.archive)"))
        #expect(plain.status == 0, "\(plain)")
        for (words, status, text) in [
            ([host.path("key"), "false"], 69, "could not be fetched"),
            ([host.path("other"), "cat", copy], 65, "could not be decrypted"),
            (["-", "cat", copy], 65, "one that age has encrypted"),
            ([host.path("key")], 64, "usage: "),
        ] as [([String], Int32, String)] {
            let failed = try host.run("postern-backup-drill", words)
            #expect(failed.status == status && failed.errors.contains(text), "\(words): \(failed)")
        }
        #expect(try host.names("tmp").isEmpty)
    }
}
