// `postern backup create`, `list`, `verify` and `prune` of a host whose daemons do not run: what is taken, what is
// refused, and what a crash between any two steps leaves behind.

import Foundation
import Glibc
import PosternMail
import TestSupport
import Testing

@testable import PosternAdmin

/// A host's files in a folder of a test.
struct BackedUpHost {
    let folder: Folder
    var postern = Postern()

    init(_ more: String = "") throws {
        folder = try Folder()
        for name in ["etc", "etc/keys", "state", "out"] {
            try FileManager.default.createDirectory(atPath: folder.file(name), withIntermediateDirectories: true)
        }
        try folder.write("192.0.2.0/24\n", to: "etc/nets.list")
        try folder.write("a.example. A 192.0.2.1\n", to: "etc/static.zone")
        try folder.write(try Self.key, to: "etc/keys/s1.pem")
        chmod(folder.file("etc/keys/s1.pem"), 0o400)
        try folder.write("1", to: "state/dkim-keys")
        try configure(more)
    }

    static var key: [UInt8] { get throws { try #require(try MadeKeys.shared.get().files["e.pem"]) } }
    var path: String { folder.file("etc/postern.toml") }
    var out: String { folder.file("out") }

    func configure(_ more: String) throws {
        try folder.write(
            """
            [host]
            name = "mx1.example.com"
            networks = ["file:nets.list"]
            [listen]
            control = "\(folder.file("run"))"
            [state]
            directory = "\(folder.file("state"))"
            [dns]
            static = "static.zone"
            [[dkim.key]]
            domain = "example.com"
            selector = "s1"
            file = "keys/s1.pem"
            \(more)
            """, to: "etc/postern.toml")
    }

    func run(_ words: String...) throws -> Postern.Result {
        try postern.run(["backup"] + words + ["--config", path])
    }

    /// Names in the folder of archives.
    var names: [String] { get throws { try FileManager.default.contentsOfDirectory(atPath: out).sorted() } }
    func archive() throws -> ArchiveReader {
        let name = try #require(try names.last { $0.hasSuffix(".zst") })
        return try ArchiveReader("\(out)/\(name)")
    }
}

@Suite("backup create")
struct BackupCreateTests {
    static let name = "postern-mx1.example.com-20261118T110640Z.tar.zst"

    @Test("takes the configuration, what it names, keys and state")
    func contents() throws {
        let host = try BackedUpHost()
        let result = try host.run("create", "--to", host.out)
        #expect(result.status == 0)
        #expect(try host.names == [Self.name])
        #expect(result.text.hasPrefix("\(host.out)/\(Self.name): "))
        #expect(result.text.contains("\n  keys: 1 file, "))
        #expect(result.notes.contains("note: the archive holds 1 private key"))
        #expect(result.notes.contains("age -r"))
        var status = stat()
        #expect(stat("\(host.out)/\(Self.name)", &status) == 0)
        #expect(status.st_mode & 0o7777 == 0o600)

        let manifest = try host.archive().manifest
        #expect(manifest.host == "mx1.example.com")
        #expect(manifest.configuration == host.path.replacing("//", with: "/"))
        let etc = host.folder.file("etc").replacing("//", with: "/")
        #expect(
            manifest.entries.map(\.path) == [
                "config\(etc)/postern.toml", "config\(etc)/nets.list", "config\(etc)/static.zone",
                "keys\(etc)/keys/s1.pem", "state\(host.folder.file("state").replacing("//", with: "/"))/dkim-keys",
            ])
        let key = try #require(manifest.entries.first { $0.kind == .keys })
        #expect(key.mode == 0o400)
        #expect(key.sha256 == (try ContentDigest.hash(BackedUpHost.key)))
        #expect(manifest.entries.last?.state == .dkimKeys)
        // What `postern metrics` reads.
        let last = try #require(LastBackup.read(in: host.folder.file("state")))
        #expect(last == LastBackup(time: manifest.created, octets: try host.archive().octets))
    }

    @Test("keeps when a key was written: a directory's keys take turns by it")
    func modified() throws {
        let host = try BackedUpHost()
        var times = [timespec(tv_sec: 1_700_000_000, tv_nsec: 5), timespec(tv_sec: 1_700_000_000, tv_nsec: 5)]
        #expect(utimensat(AT_FDCWD, host.folder.file("etc/keys/s1.pem"), &times, 0) == 0)
        _ = try host.run("create", "--to", host.out)
        let key = try #require(try host.archive().manifest.entries.first { $0.kind == .keys })
        #expect(key.modified == UnixTime(nanoseconds: 1_700_000_000_000_000_005))
    }

    @Test("goes to standard output as a stream, never to a terminal")
    func stream() throws {
        var host = try BackedUpHost()
        let result = try host.run("create", "--to", "-")
        #expect(result.status == 0)
        let reader = try ArchiveReader(try host.folder.write(result.output.octets, to: "stream"))
        #expect(reader.manifest.entries.count == 5)
        #expect(result.notes.contains("private key"))

        host.postern.writesToTerminal = true
        let refused = try host.run("create", "--to", "-")
        #expect(refused.status == 64)
        #expect(refused.output.octets.isEmpty)
        #expect(refused.notes.contains("found a terminal"))
        #expect(try host.run("create", "--to", "-", "--json").status == 64)

        host.postern.writesToTerminal = false
        for room in [0, 100, 600] {
            host.postern.room = room
            let full = try host.run("create", "--to", "-")
            #expect(full.status == 69)
            let path = try host.folder.write(full.output.octets, to: "cut")
            #expect(throws: CommandFailure.self) { try ArchiveReader(path) }
        }
    }

    @Test("what is not there is told, what cannot be had ends it")
    func troubles() throws {
        let host = try BackedUpHost()
        try FileManager.default.removeItem(atPath: host.folder.file("etc/nets.list"))
        let missing = try host.run("create", "--to", host.out)
        #expect(missing.status == 0)
        #expect(missing.notes.contains("nets.list, which the configuration names, is not there"))

        for (words, status, text) in [
            (["--to", host.folder.file("none/out")], 69, "is not there"),
            (["--to", host.path], 69, "cannot"), (["--to", ""], 64, "--to"),
        ] as [([String], Int32, String)] {
            let result = try host.postern.run(["backup", "create", "--config", host.path] + words)
            #expect(result.status == status)
            #expect(result.notes.contains(text), "\(result.notes)")
        }
        try host.folder.write("no toml", to: "etc/postern.toml")
        #expect(try host.run("create", "--to", host.out).status == 78)
        try host.configure("unknown = 1")
        let wrong = try host.run("create", "--to", "-")
        #expect(wrong.notes.contains("`postern check` tells them"))
        #expect(try host.postern.run(["backup", "create", "--config", host.folder.file("none")]).status == 78)
    }

    @Test("state is taken from plain files of its owner only", arguments: [true, false])
    func links(isSymbolic: Bool) throws {
        let host = try BackedUpHost()
        let state = host.folder.file("state/dkim-keys")
        try FileManager.default.removeItem(atPath: state)
        let secret = try host.folder.write("secret", to: "secret")
        #expect((isSymbolic ? symlink(secret, state) : link(secret, state)) == 0)
        let result = try host.run("create", "--to", host.out)
        #expect(result.status == 1)
        #expect(result.notes.contains("its state is not in the archive"))
        #expect(try host.archive().manifest.states.isEmpty)
        #expect(LastBackup.read(in: host.folder.file("state")) == nil)
    }

    @Test("a database at rest is copied with its log, and nothing is left beside it")
    func atRest() throws {
        let host = try BackedUpHost()
        let database = host.folder.file("state/facts.sqlite")
        let python = Process()
        python.executableURL = URL(filePath: "/usr/bin/python3")
        // Ends without closing, as a crash does: what was committed is in the log alone.
        python.arguments = [
            "-c",
            "import sqlite3,os,sys\nd=sqlite3.connect(sys.argv[1])\nd.execute('PRAGMA journal_mode=WAL')\n"
                + "d.execute('CREATE TABLE t (x)')\nd.execute('INSERT INTO t VALUES (42)')\nd.execute('PRAGMA user_version=3')\n"
                + "d.commit()\nos._exit(0)", database,
        ]
        try python.run()
        python.waitUntilExit()
        let before = try FileManager.default.contentsOfDirectory(atPath: host.folder.file("state")).sorted()
        #expect(before.contains("facts.sqlite-wal"))
        #expect(try host.run("create", "--to", host.out).status == 0)
        let after = try FileManager.default.contentsOfDirectory(atPath: host.folder.file("state")).sorted()
        #expect(after == (before + [LastBackup.Kind.made.rawValue]).sorted())
        #expect(try host.names.count == 1)

        var copy: [UInt8] = []
        let archive = try host.archive()
        var isFacts = false
        try archive.read { piece throws(CommandFailure) in
            switch piece {
            case .begin(let entry): isFacts = entry.state == .facts
            case .octets(let octets): if isFacts { copy += octets }
            case .end: break
            }
        }
        let path = try host.folder.write(copy, to: "copy.sqlite")
        let asked = Process()
        asked.executableURL = URL(filePath: "/usr/bin/python3")
        asked.arguments = [
            "-c", "import sqlite3,sys\nprint(sqlite3.connect(sys.argv[1]).execute('SELECT x FROM t').fetchall())", path,
        ]
        let output = Pipe()
        asked.standardOutput = output
        try asked.run()
        let text = String(decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        asked.waitUntilExit()
        #expect(text == "[(42,)]\n")
        #expect(archive.manifest.entries.first { $0.state == .facts }?.schema == 3)
    }

    @Test("Postfix's files are taken where they are wanted, with the tables that they name")
    func postfix() throws {
        let host = try BackedUpHost()
        let folder = host.folder.file("postfix").replacing("//", with: "/")
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        try host.folder.write("a b\n", to: "postfix/virtual")
        try host.folder.write("/x/ DUNNO\n", to: "postfix/checks")
        try host.folder.write(
            "virtual_alias_maps = hash:\(folder)/virtual, mysql:\(folder)/none.cf\n"
                + "header_checks = pcre:$config_directory/checks\n#old = hash:\(folder)/checks2\n"
                + "smtpd_milters = unix:/var/run/x.sock, inet:127.0.0.1:8891\n", to: "postfix/main.cf")
        try host.folder.write("smtp inet n - y - - smtpd\n", to: "postfix/master.cf")
        let without = try host.run("create", "--to", host.out)
        #expect(without.status == 0)
        var later = host
        later.postern.now = UnixTime(seconds: 1_795_000_001)
        let result = try later.run("create", "--to", host.out, "--with-postfix", "--postfix-config", folder)
        #expect(result.status == 0)
        #expect(
            try later.archive().manifest.entries.filter { $0.kind == .postfix }.map {
                $0.original.dropFirst(folder.count)
            }
                == ["/main.cf", "/master.cf", "/virtual", "/checks"])
    }

    // MARK: Ends in between

    @Test("an end after any step leaves no file that looks complete, and the next backup tidies up")
    func steps() throws {
        var host = try BackedUpHost()
        var seen: [String: [String]] = [:]
        let (out, copies) = (host.out, host.folder.file("copies"))
        try FileManager.default.createDirectory(atPath: copies, withIntermediateDirectories: true)
        host.postern.reached = { step in
            seen[step] = try? FileManager.default.contentsOfDirectory(atPath: out)
            // What `kill -9` would leave at this moment.
            try? FileManager.default.copyItem(atPath: out, toPath: "\(copies)/\(step)")
        }
        #expect(try host.run("create", "--to", out).status == 0)
        #expect(Set(seen.keys) == Set(BackupRun.Step.allCases.map { "backup \($0.rawValue)" }))
        for (step, names) in seen {
            let complete = names.filter { BackupName($0) != nil }
            #expect(complete == (step == "backup placed" ? [Self.name] : []), "\(step)")
            #expect(names.count <= 1)
        }
        host.postern.reached = { _ in }
        host.postern.now = UnixTime(seconds: 1_795_000_060)
        for step in seen.keys {
            let folder = "\(copies)/\(step)"
            #expect(try host.postern.run(["backup", "list", folder]).text.contains("no whole archive") == false)
            #expect(try host.postern.run(["backup", "create", "--config", host.path, "--to", folder]).status == 0)
            let names = try FileManager.default.contentsOfDirectory(atPath: folder)
            #expect(names.allSatisfy { BackupName($0) != nil }, "\(step): \(names)")
            #expect(names.count == (step == "backup placed" ? 2 : 1))
        }
    }

    @Test("an interruption ends it, and leaves nothing")
    func interrupted() throws {
        for step in BackupRun.Step.allCases.prefix(4) {
            var host = try BackedUpHost()
            let flag = Flag()
            host.postern.isInterrupted = { flag.isUp }
            host.postern.reached = { if $0 == "backup \(step.rawValue)" { flag.isUp = true } }
            let result = try host.run("create", "--to", host.out)
            #expect(result.status == 69, "\(step)")
            #expect(result.notes.contains("no archive was made"))
            #expect(try host.names.isEmpty, "\(step)")
        }
    }

    private final class Flag: @unchecked Sendable { var isUp = false }  // one thread

    @Test("what another backup works on is left alone")
    func locked() throws {
        let host = try BackedUpHost()
        let other = try PartialArchive(in: BackupFolder(path: host.out))
        try other.write([1, 2, 3])
        let working = try host.names
        #expect(working.count == 1)
        #expect(try host.run("create", "--to", host.out).status == 0)
        #expect(try host.names.count == 2)
        #expect(Set(try host.names).isSuperset(of: working))
        // Two within a second: the first stays.
        let again = try host.run("create", "--to", host.out)
        #expect(again.status == 69)
        #expect(again.notes.contains("is there already"))
        #expect(try host.names.count == 2)
        try other.place(as: "postern-other-20261118T110640Z.tar.zst") {}
        #expect(try host.names.count == 2)
    }

    @Test("long work is told of in one line, which goes in the end; short work is not")
    func progress() {
        var lines: [String] = []
        var surroundings = Surroundings.process
        surroundings.showProgress = { lines.append($0) }
        let progress = Progress(surroundings, interval: .zero)
        progress.tell("reading", 1024, of: 4096)
        progress.tell("reading", 9000, of: 4096)
        progress.tell("nothing", 0, of: 0)
        progress.end()
        progress.end()
        #expect(lines == ["reading: 25 % of 4.0 KiB", "reading: 100 % of 4.0 KiB", "nothing: of 0 octets", ""])
        lines = []
        let short = Progress(surroundings, interval: .seconds(3600))
        short.tell("reading", 1, of: 2)
        short.end()
        #expect(lines.isEmpty)
    }

    // MARK: list, verify

    @Test("list shows archives, newest first, and what is none")
    func list() throws {
        var host = try BackedUpHost()
        #expect(try host.run("list", host.out).text == "\(host.out): no archives\n")
        _ = try host.run("create", "--to", host.out)
        host.postern.now = UnixTime(seconds: 1_795_000_100)
        _ = try host.run("create", "--to", host.out)
        let json = try host.run("list", host.out, "--json").json()
        let archives = try #require(json["archives"] as? [[String: Any]])
        #expect(archives.map { $0["created"] as? Int } == [1_795_000_100, 1_795_000_000])
        #expect(archives.first?["files"] as? Int == 5)
        #expect(archives.first?["trouble"] is NSNull)

        let whole = try Data(contentsOf: URL(filePath: "\(host.out)/\(Self.name)"))
        try whole.prefix(60).write(to: URL(filePath: "\(host.out)/postern-mx1.example.com-20261119T110640Z.tar.zst"))
        let broken = try host.run("list", host.out)
        #expect(broken.status == 1)
        #expect(broken.text.split(separator: "\n").count == 4)
        #expect(broken.text.contains("no whole archive"))
        #expect(try host.run("list", host.folder.file("none")).status == 69)
    }

    @Test("verify tells what an archive holds, and that a flipped bit damages it")
    func verify() throws {
        let host = try BackedUpHost()
        _ = try host.run("create", "--to", host.out)
        let path = "\(host.out)/\(Self.name)"
        let good = try host.run("verify", path)
        #expect(good.status == 0, "\(good.text) \(good.notes)")
        #expect(good.text.contains("whole: 5 files of mx1.example.com, made 2026-11-18T11:06:40Z by Postern "))
        #expect(good.text.contains("keys: 1, which can sign"))
        #expect(try host.run("verify", path, "--json").json()["good"] as? Bool == true)
        #expect(good.notes.isEmpty)
        // It holds a private key.
        chmod(path, 0o644)
        #expect(
            try host.run("verify", path).notes
                == "warning: \(path) may be read by others than its owner, and it holds private keys: chmod 600")
        #expect(try host.run("test", path).notes.contains("may be read by others"))

        var octets = [UInt8](try Data(contentsOf: URL(filePath: path)))
        octets[octets.count / 2] ^= 4
        try Data(octets).write(to: URL(filePath: path))
        let bad = try host.run("verify", path)
        #expect(bad.status == 65)
        #expect(bad.notes.contains("it is damaged"))
    }
}
