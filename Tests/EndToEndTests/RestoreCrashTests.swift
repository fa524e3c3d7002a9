// kill -9 before every single call of create and of restore that changes a file, and in the middle of every write: what
// is there afterwards is the old or the new, never a file that looks complete and is not; and the next run mends it.

import Foundation
import Glibc
import PostfixHarness
import Testing

@Suite("backups, killed at every step", .onOwnThreads) struct BackupCrashTests {
    /// More calls than a run makes.
    private static let maxCalls = 2000

    /// A host whose daemons do not run: configuration, list, key, a database with its log, a journal and keys' state.
    private struct Host {
        let folder: TemporaryFolder
        let halted: HaltedProgram

        private static let maker = """
            import os, sqlite3, sys
            store = sqlite3.connect(sys.argv[1])
            for line in ("PRAGMA page_size=4096", "PRAGMA journal_mode=WAL", "PRAGMA application_id=0x50737447",
                         "PRAGMA user_version=1",
                         "CREATE TABLE entry (id INTEGER PRIMARY KEY, kind INTEGER, word TEXT)"):
                store.execute(line)
            store.commit()
            for number in range(int(sys.argv[3])):
                store.execute("INSERT INTO entry (kind, word) VALUES (1, ?)", (sys.argv[2] * 100,))
                store.commit()
            if sys.argv[4] == "crash": os._exit(0)
            store.close()
            """

        init() throws {
            folder = try TemporaryFolder()
            halted = try HaltedProgram()
            for name in ["host/state", "host/run"] {
                try FileManager.default.createDirectory(at: folder.file(name), withIntermediateDirectories: true)
            }
        }

        var configuration: String { folder.file("host/etc/postern.toml").path }

        /// Makes the host's files anew, all of them with `word` in them.
        func fill(_ word: String, entries: Int, crashes: Bool) throws {
            for name in ["host/etc", "host/state"] { try? FileManager.default.removeItem(at: folder.file(name)) }
            try folder.write(
                "host/etc/postern.toml",
                """
                # \(word)
                [host]
                name = "mx1.example.org"
                networks = ["file:lists/friends"]
                [listen]
                control = "\(folder.path)/host/run"
                [state]
                directory = "\(folder.path)/host/state"
                [[dkim.key]]
                domain = "example.org"
                selector = "s"
                file = "keys/s.pem"

                """, mode: 0o640)
            try folder.write("host/etc/lists/friends", "# \(word)\n192.0.2.0/24\n")
            try folder.write("host/etc/keys/s.pem", word + "\n" + Self.pem, mode: 0o400)
            try folder.write("host/state/limits.journal", Self.journal(word), mode: 0o600)
            try folder.write("host/state/dkim-keys", "# \(word)\n", mode: 0o600)
            let made = try Program.run(
                "/usr/bin/python3",
                ["-c", Self.maker, database, word, "\(entries)", crashes ? "crash" : "close"])
            guard made.status == 0 else { throw HarnessError("python3: \(made.errors)") }
        }

        private static let pem = """
            -----BEGIN PRIVATE KEY-----
            MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g
            -----END PRIVATE KEY-----

            """

        /// Two empty frames of LimitJournalFormat, the second with the word's length as its time.
        private static func journal(_ word: String) -> [UInt8] {
            func frame(_ payload: [UInt8]) -> [UInt8] {
                let length = UInt32(payload.count)
                return [length, crc(payload)].flatMap { word in
                    [0, 8, 16, 24].map { UInt8(truncatingIfNeeded: word >> $0) }
                }
                    + payload
            }
            return Array("PSTNLIM1".utf8) + frame([1, 1]) + frame([UInt8(word.count), 1])
        }

        /// CRC-32C. Source: RFC 3720 §B.4.
        private static func crc(_ octets: [UInt8]) -> UInt32 {
            ~octets.reduce(UInt32.max) { value, octet in
                (0..<8).reduce(value ^ UInt32(octet)) { value, _ in
                    value & 1 == 1 ? value >> 1 ^ 0x82F6_3B78 : value >> 1
                }
            }
        }

        var database: String { folder.file("host/state/greylist.sqlite").path }

        /// The files that daemons and admins look at, but for the database: by name, what is in them.
        func plain() throws -> [String: [UInt8]] {
            var found: [String: [UInt8]] = [:]
            for name in [
                "etc/postern.toml", "etc/lists/friends", "etc/keys/s.pem", "state/limits.journal", "state/dkim-keys",
            ] {
                found[name] = try folder.read("host/\(name)")
            }
            return found
        }

        private static let counter = """
            import sqlite3, sys
            store = sqlite3.connect(sys.argv[1])
            print(store.execute("PRAGMA integrity_check").fetchone()[0],
                  store.execute("SELECT count(*), min(word) FROM entry").fetchone())
            """

        /// What a database says, read from a copy as its daemon would find it; nil where there is none.
        func says(_ path: String) throws -> String? {
            guard access(path, F_OK) == 0 else { return nil }
            let copy = try TemporaryFolder()
            for suffix in ["", "-wal"] {
                guard let octets = try? Data(contentsOf: URL(filePath: path + suffix)) else { continue }  // none
                try copy.write("copy\(suffix)", Array(octets))
            }
            let result = try Program.run("/usr/bin/python3", ["-c", Self.counter, copy.file("copy").path])
            return result.status == 0 ? result.text : result.errors
        }

        func names(_ folder: String) throws -> [String] {
            // A folder that was not made yet is empty.
            ((try? FileManager.default.subpathsOfDirectory(atPath: self.folder.file(folder).path)) ?? []).sorted()
        }

        func postern(_ arguments: [String], until call: Int? = nil, exchanges: Bool = true) throws -> ProgramResult {
            let path = try Products.path("postern")
            guard let call else { return try Program.run(path, arguments) }
            return try halted.run(path, arguments, until: call, exchanges: exchanges)
        }
    }

    @Test("create: an archive has its name only when it is whole; the next run takes away what is left")
    func create() throws {
        let host = try Host()
        try host.fill("one", entries: 20, crashes: true)
        let plain = try host.plain()
        let database = try host.says(host.database)
        let words = ["backup", "create", "--config", host.configuration, "--to", host.folder.file("to").path]
        var call = 0
        var placed = 0
        while call < Self.maxCalls {
            call += 1
            let result = try host.postern(words, until: call)
            #expect(try host.plain() == plain)
            #expect(try host.says(host.database) == database)
            for name in try host.names("to") where !name.hasPrefix(".") {
                let verified = try host.postern(["backup", "test", "--json", host.folder.file("to/\(name)").path])
                // Its contents are these tests' own, and not all of use; whole it is.
                #expect([0, 1].contains(verified.status), "call \(call): \(verified.errors)")
                placed += 1
                try FileManager.default.removeItem(at: host.folder.file("to/\(name)"))
            }
            guard result.status == HaltedProgram.killed else {
                #expect(result.status == 0, "\(result.errors)")
                break
            }
        }
        #expect(call > 20 && call < Self.maxCalls)
        // Killed behind the name, and not killed at all.
        #expect(placed >= 2)
        #expect(try host.names("to") == [])
        #expect(!(try host.names("host/state").contains { $0.contains("backup") && $0 != "backup.last" }))
    }

    /// - Parameter exchanges: whether the file system lets two names change places; where not, every third call will
    ///   do.
    @Test(
        "restore: each file is the old one or the new one, the configuration last; run again, it is the new one",
        arguments: [true, false])
    func restore(exchanges: Bool) throws {
        let host = try Host()
        try host.fill("new", entries: 30, crashes: false)
        let new = (plain: try host.plain(), database: try host.says(host.database))
        let to = host.folder.file("to").path
        let made = try host.postern(["backup", "create", "--config", host.configuration, "--to", to])
        #expect(made.status == 0, "\(made)")
        let archive = try #require(try host.names("to").first)
        try host.fill("old", entries: 12, crashes: true)
        let old = (plain: try host.plain(), database: try host.says(host.database))
        #expect(old.database?.hasPrefix("ok (12, ") == true && new.database?.hasPrefix("ok (30, ") == true)
        let words = ["backup", "restore", "--yes", host.folder.file("to/\(archive)").path]
        var call = 0
        var between = 0
        while call < Self.maxCalls {
            call += exchanges ? 1 : 3
            try host.fill("old", entries: 12, crashes: true)
            let result = try host.postern(words, until: call, exchanges: exchanges)
            let now = (plain: try host.plain(), database: try host.says(host.database))
            var isAllNew = true
            for (name, octets) in now.plain {
                #expect(octets == old.plain[name] || octets == new.plain[name], "call \(call): \(name)")
                if name != "etc/postern.toml", octets != new.plain[name] { isAllNew = false }
            }
            #expect(
                now.database == old.database || now.database == new.database, "call \(call): \(now.database ?? "none")")
            if now.database != new.database { isAllNew = false }
            if now.plain["etc/postern.toml"] == new.plain["etc/postern.toml"] {
                #expect(isAllNew, "call \(call): the configuration came before what it names")
            } else if now.database == new.database {
                between += 1
            }
            try Self.checkKept(host, old.plain, old.database, call)
            guard result.status == HaltedProgram.killed else {
                #expect([0, 1].contains(result.status), "\(result.errors)")
                break
            }
            let again = try host.postern(words)
            #expect([0, 1].contains(again.status), "call \(call): \(again.errors)")
            #expect(try host.plain() == new.plain, "call \(call)")
            #expect(try host.says(host.database) == new.database, "call \(call)")
        }
        #expect(call > 40 && call < Self.maxCalls)
        #expect(between > (exchanges ? 5 : 1))
    }

    @Test(
        "restore on a full disk: nothing is changed, nothing is left; with room it is done",
        .enabled(if: SmallDisk.isPossible, "needs to mount a tmpfs"))
    func fullDisk() throws {
        let host = try Host()
        try host.fill("new", entries: 30, crashes: false)
        let to = host.folder.file("to").path
        #expect(try host.postern(["backup", "create", "--config", host.configuration, "--to", to]).status == 0)
        let archive = try #require(try host.names("to").first)
        let disk = try SmallDisk()
        let words = ["backup", "restore", "--root", disk.url.path, host.folder.file("to/\(archive)").path]
        try disk.fill()
        let full = try host.postern(words)
        #expect(full.status == 69 && full.errors.contains(" needed, 0 octets free"), "\(full.errors)")
        #expect(try FileManager.default.contentsOfDirectory(atPath: disk.url.path) == ["filler"])
        try disk.empty()
        let done = try host.postern(words)
        #expect([0, 1].contains(done.status), "\(done.errors)")
        let restored = URL(filePath: disk.url.path + host.configuration)
        #expect(try Array(Data(contentsOf: restored)) == host.folder.read("host/etc/postern.toml"))
    }

    /// What has a kept file's name is the whole old file.
    private static func checkKept(
        _ host: Host, _ old: [String: [UInt8]], _ database: String?, _ call: Int
    ) throws {
        for name in try host.names("host") {
            guard let mark = name.range(of: ".replaced-") else { continue }
            let original = String(name[..<mark.lowerBound])
            if original == "state/greylist.sqlite" {
                #expect(try host.says(host.folder.file("host/\(name)").path) == database, "call \(call): \(name)")
            } else {
                #expect(try host.folder.read("host/\(name)") == old[original], "call \(call): \(name)")
            }
        }
    }
}
