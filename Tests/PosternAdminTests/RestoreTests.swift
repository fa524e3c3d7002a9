// `backup restore`: into folders that stand for `/`, over what is there, and from archives that are not what they
// should be.

import Foundation
import Glibc
import PosternMail
import TestSupport
import Testing

@testable import PosternAdmin

@Suite("backup restore") struct RestoreTests {
    private static let inner = TestArchive.usual().map(\.path).sorted()

    @Test("on an empty root: every file, with mode and time, and no others") func empty() throws {
        var files = TestArchive.usual()
        files[3].modified = UnixTime(nanoseconds: 1_700_000_000_123_456_789)
        let host = try RestoreHost(files)
        let result = try host.restore()
        #expect(result.status == 0, "\(result.notes)")
        let tree = try host.tree()
        #expect(tree.keys.filter { !$0.hasSuffix("/") }.sorted() == Self.inner)
        for file in files { #expect(tree[file.path] == String(decoding: file.octets, as: UTF8.self)) }
        for file in files { #expect(UInt32(try host.status(file.path).st_mode & 0o7777) == file.mode, "\(file.path)") }
        let time = try host.status(files[3].path).st_mtim
        #expect(time.tv_sec == 1_700_000_000 && time.tv_nsec == 123_456_789)
        #expect(try host.status("/etc/postern").st_mode & 0o7777 == 0o750)
        #expect(result.text.contains("mx1.example.org, made 2026-11-18"))
        #expect(result.text.contains("restored 6 of 6 files\n"))
        #expect(result.text.contains("\nthe configuration there: ok\n"))

        let again = try host.restore()
        #expect(again.status == 0)
        #expect(again.text.hasSuffix("\n6 the same already\n"))
        #expect(try host.tree() == tree)
    }

    @Test("what is there is replaced only when somebody agrees, and is kept") func replaced() throws {
        let host = try RestoreHost()
        try host.put("/etc/postern/postern.toml", "old")
        try host.put("/etc/postern/keys/example.org/a.pem", "old key")
        let before = try host.tree()

        let nobody = try host.restore()
        #expect(nobody.status == 69)
        #expect(nobody.notes.contains("2 files that are there would be changed, and nobody can be asked"))
        for refusal in [try host.restore(answer: "n"), try host.restore(answer: ""), try host.restore("--json")] {
            #expect(refusal.status == 69)
        }
        let dry = try host.restore("--dry-run")
        #expect(dry.status == 0)
        #expect(dry.text.contains("4 new, 2 replaced\n"))
        #expect(try host.tree() == before)

        let done = try host.restore(answer: "y")
        #expect(done.status == 0, "\(done.notes)")
        let kept = "/etc/postern/postern.toml.replaced-20261118T110640Z"
        #expect(try host.text(kept) == "old")
        #expect(try host.text("/etc/postern/postern.toml") == TestArchive.toml)
        #expect(done.text.contains("kept: \(host.path(kept))\n"))
        // What it says about what is kept is a command that does it.
        let says = "when all is well, what is kept goes by: "
        let line = try #require(done.text.split(separator: "\n").first { $0.hasPrefix(says) })
        #expect(Self.shell(String(line.dropFirst(says.count))) == 0)
        #expect(try host.tree().keys.filter { !$0.hasSuffix("/") }.sorted() == Self.inner)
    }

    private static func shell(_ command: String) -> Int32 {
        let process = Process()
        process.executableURL = URL(filePath: "/bin/sh")
        process.arguments = ["-c", command]
        guard (try? process.run()) != nil else { return -1 }  // the expectation tells
        process.waitUntilExit()
        return process.terminationStatus
    }

    @Test("--yes agrees; JSON says what was done and what is kept") func yes() throws {
        let host = try RestoreHost()
        try host.put("/etc/postern/postern.toml", "old")
        let json = try host.restore("--yes", "--json").json()
        #expect(json["done"] as? Bool == true)
        #expect((json["problems"] as? [Any])?.isEmpty == true)
        let files = try #require(json["files"] as? [[String: Any]])
        let configuration = try #require(files.last)
        #expect(configuration["change"] as? String == "replaced")
        #expect(configuration["kept"] as? String == host.path("/etc/postern/postern.toml.replaced-20261118T110640Z"))
        #expect(configuration["mode"] as? String == "640")
        #expect(files.first?["kept"] is NSNull)
        #expect(
            json["folders"] as? [String]
                == [
                    "/etc/postern/keys", "/etc/postern/keys/example.org", "/etc/postern/lists", "/var", "/var/lib",
                    "/var/lib/postern",
                ].map(host.path))
    }

    @Test("a mode alone is set in place, and nothing is kept") func rights() throws {
        let host = try RestoreHost()
        #expect(try host.restore().status == 0)
        chmod(host.path("/etc/postern/keys/example.org/a.pem"), 0o644)
        let before = try host.status("/etc/postern/keys/example.org/a.pem").st_ino
        let result = try host.restore("--yes")
        #expect(result.text.contains("owner or mode"))
        let after = try host.status("/etc/postern/keys/example.org/a.pem")
        #expect(after.st_ino == before && after.st_mode & 0o7777 == 0o400)
        #expect(!result.text.contains("kept"))
    }

    @Test("one kind only, and more than one") func only() throws {
        let host = try RestoreHost()
        #expect(try host.restore("--only", "keys").status == 0)
        #expect(
            try host.tree().keys.filter { !$0.hasSuffix("/") }.sorted() == Self.inner.filter { $0.contains("/keys/") })
        #expect(try host.restore("--only", "config", "--only", "state").status == 0)
        #expect(try host.tree().keys.filter { !$0.hasSuffix("/") }.sorted() == Self.inner)
        #expect(try host.restore("--only", "postfix").status == 64)
    }

    @Test("problems of the configuration that is there afterwards are told, and end with 1") func problems() throws {
        let host = try RestoreHost(TestArchive.usual("[host]\nnam = \"x\"\nnetworks = [\"file:lists/gone\"]\n"))
        let result = try host.restore()
        #expect(result.status == 1)
        #expect(result.text.contains("/etc/postern/postern.toml:2:1: host.nam: expected"))
        #expect(result.text.contains(host.path("/etc/postern/lists/gone")))
    }

    @Test("the configuration goes where --config says, and what lay beside it") func elsewhere() throws {
        let host = try RestoreHost()
        let result = try host.restore("--config", "/usr/local/etc/p.toml")
        #expect(result.status == 0, "\(result.text)\(result.notes)")
        #expect(try host.text("/usr/local/etc/lists/friends") == "192.0.2.1\n")
        #expect(try host.restore("--config", "p.toml").status == 64)
    }

    // MARK: Archives that are not whole

    @Test("one bit flipped anywhere, and every cut, is refused; nothing is touched") func damaged() throws {
        let host = try RestoreHost()
        try host.put("/etc/postern/postern.toml", "old")
        let before = try host.tree()
        let whole = try host.folder.read("a.tar.zst")
        var random = SeededRandom(seed: 9)
        for place in whole.indices {
            var octets = whole
            octets[place] ^= 1 << UInt8.random(in: 0..<8, using: &random)
            try host.folder.write(octets, to: "a.tar.zst")
            #expect(try host.restore("--yes").status == 65, "octet \(place)")
        }
        for count in stride(from: 0, to: whole.count, by: 7) {
            try host.folder.write(Array(whole.prefix(count)), to: "a.tar.zst")
            #expect(try host.restore("--yes").status == 65, "\(count) octets")
        }
        #expect(try host.tree() == before)
        try host.folder.write(whole, to: "a.tar.zst")
        #expect(try host.restore("--yes").status == 0)
    }

    // MARK: Ways out of the root

    @Test("a link on the way is not followed; a link at a file's place is replaced and kept") func links() throws {
        let host = try RestoreHost()
        let outside = host.folder.file("outside")
        try FileManager.default.createDirectory(atPath: outside, withIntermediateDirectories: true)
        try FileManager.default.createDirectory(atPath: host.path("/etc"), withIntermediateDirectories: true)
        for target in [outside, "../../outside"] {
            symlink(target, host.path("/etc/postern"))
            let result = try host.restore("--yes")
            #expect(result.status == 65)
            #expect(
                result.notes.contains("expected folders on the way, found postern, which is a file or a symbolic link"))
            unlink(host.path("/etc/postern"))
        }
        #expect(try FileManager.default.contentsOfDirectory(atPath: outside).isEmpty)

        try Data("theirs".utf8).write(to: URL(filePath: outside + "/theirs"))
        try FileManager.default.createDirectory(atPath: host.path("/etc/postern"), withIntermediateDirectories: true)
        symlink(outside + "/theirs", host.path("/etc/postern/postern.toml"))
        #expect(try host.restore("--yes").status == 0)
        #expect(try String(contentsOfFile: outside + "/theirs", encoding: .utf8) == "theirs")
        #expect(try host.status("/etc/postern/postern.toml").st_mode & S_IFMT == S_IFREG)
        #expect(try host.tree()["/etc/postern/postern.toml.replaced-20261118T110640Z"] == "link")
    }

    @Test("where the root is /, a link that only root can have made is followed", .enabled(if: geteuid() == 0))
    func trustedLinks() throws {
        let folder = try Folder()
        let place = folder.path.replacing("//", with: "/")
        let real = try Folder()
        symlink(real.path, folder.file("link"))
        let file = ArchivedFile.config("\(place)/link/etc/postern.toml", TestArchive.toml)
        var manifest = try TestArchive.manifest([file])
        manifest.configuration = file.path
        let archive = try folder.write(try TestArchive.octets([file], manifest), to: "a")
        chmod(folder.path, 0o777)
        let refused = try Postern().run(["backup", "restore", archive])
        #expect(refused.status == 65, "\(refused.text)")
        #expect(try real.names.isEmpty)
        chmod(folder.path, 0o755)
        let done = try Postern().run(["backup", "restore", archive])
        #expect(done.status == 0, "\(done.notes)")
        #expect(try real.names == ["etc", "etc/postern.toml"])
    }

    @Test("more folders than are kept open") func folders() throws {
        var files = TestArchive.usual()
        for number in 0..<300 { files.append(.key("/etc/postern/keys/d\(number).example/k.pem", Array("k".utf8))) }
        let host = try RestoreHost(files)
        #expect(try host.restore().status == 0)
        #expect(try host.tree().keys.count { $0.hasSuffix("/k.pem") } == 300)
        #expect(try host.restore().text.hasSuffix("306 the same already\n"))
    }

    @Test("a folder at a file's place, and a root that is none, are told before anything is written") func inTheWay()
        throws
    {
        let host = try RestoreHost()
        try host.put("/etc/postern/postern.toml/x", "")
        let before = try host.tree()
        let result = try host.restore("--yes")
        #expect(result.status == 69)
        #expect(result.notes.contains("/etc/postern/postern.toml: expected a file or nothing"))
        #expect(try host.tree() == before)
        let gone = try Postern().run(["backup", "restore", "--root", host.folder.file("gone"), host.archive])
        #expect(gone.status == 69)
    }

    @Test("users that this machine has not are told before anything is written", .enabled(if: geteuid() == 0))
    func users() throws {
        var files = TestArchive.usual()
        files[2].owner = "postern-nobody-has"
        let host = try RestoreHost(files)
        let result = try host.restore()
        #expect(result.status == 69)
        #expect(result.notes.contains("this machine has no user postern-nobody-has; install Postern's package"))
        #expect(try host.tree().isEmpty)
    }

    // MARK: In between

    @Test("whoever interrupts it before anything is in place finds nothing changed") func interrupted() throws {
        let host = try RestoreHost()
        try host.put("/etc/postern/postern.toml", "old")
        let before = try host.tree()
        var asked = 0
        for count in 1...1000 {
            let left = Countdown(count)
            var postern = Postern(now: UnixTime(seconds: 1_795_000_000))
            postern.isInterrupted = { left.isOver }
            let result = try postern.run(["backup", "restore", "--root", host.root, "--yes", host.archive])
            guard result.status != 0 else { break }
            #expect(result.status == 69)
            #expect(result.notes == "error: interrupted; nothing was changed")
            #expect(try host.tree() == before)
            asked = count
        }
        #expect(asked > 10)
        #expect(try host.text("/etc/postern/postern.toml") == TestArchive.toml)
    }

    @Test("what a killed restore has left is told of") func leftovers() throws {
        let host = try RestoreHost()
        try host.put("/etc/postern/.restore-20261118T100000Z-3", "half")
        let result = try host.restore()
        #expect(result.status == 0)
        #expect(
            result.notes.contains("warning: \(host.path("/etc/postern/.restore-20261118T100000Z-3")) is of a restore"))
    }

    // MARK: Daemons

    @Test("state of a daemon that runs is not restored; keys and configuration are") func running() throws {
        let folder = try Folder()
        let place = folder.path.replacing("//", with: "/")
        var files = TestArchive.usual()
        for index in files.indices { files[index].path = place + files[index].path }
        let configuration = place + TestArchive.configuration
        var manifest = try TestArchive.manifest(files)
        manifest.configuration = configuration
        let archive = try folder.write(try TestArchive.octets(files, manifest), to: "a")
        let daemons = try StatusTests.Daemons([.rate: ["status": #"{"name":"postern-rate"}"#]])
        func restore(_ words: String...) throws -> Postern.Result {
            try Postern().run(["backup", "restore", "--control", daemons.folder.path] + words + [archive])
        }
        let refused = try restore()
        #expect(refused.status == 69)
        #expect(refused.notes.contains("systemctl stop postern-rate.socket postern-rate.service"))
        #expect(try folder.names == ["a"])
        #expect(try restore("--dry-run").notes.contains("note: postern-rate runs"))
        let others = try restore("--only", "config", "--only", "keys")
        #expect(others.status == 0, "\(others.notes)")
        #expect(others.text.contains("next: `postern reload`"))
    }
}
