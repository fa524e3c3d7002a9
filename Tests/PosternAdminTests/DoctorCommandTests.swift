// `postern doctor` as a command: what it prints, its JSON and exit statuses, what it finds wrong with files. Postfix is
// a folder of a test's own, read by the real postconf where there is one.

import Foundation
import Glibc
import PosternDaemon
import PosternMail
import Testing

@testable import PosternAdmin

@Suite("doctor: command") struct DoctorCommandTests {
    private static let finding = DoctorFinding(
        .milterOrder, .error, at: ["smtp/inet"], "what\u{1B}[2J", why: "why",
        mends: [.command("postconf -e 'a = b'"), .configuration("[dkim]\nverify = false"), .advice("look")])
    private static let note = DoctorFinding(.dmarc, .note, "a note", why: "why", mends: [.advice("look")])

    @Test("text") func text() {
        let report = DoctorCommand.Report(
            findings: [Self.finding, Self.note], notLookedAt: ["sockets: no"], version: "3.7.11",
            reload: "postfix reload")
        let output = report.text(withNotes: false, notes: ["warning: x"])
        #expect(
            String(decoding: output.octets, as: UTF8.self) == """
                error: milter_order (smtp/inet): what?[2J
                  why: why
                  run: postconf -e 'a = b'
                  set: [dkim]
                  set: verify = false
                  do: look

                after changes to Postfix: postfix reload
                1 error, 0 warnings, 1 note; --notes shows them

                """)
        #expect(output.status == .negative)
        #expect(output.notes == ["warning: x", "warning: not looked at: sockets: no"])
    }

    @Test("notes alone are ok") func notes() {
        let report = DoctorCommand.Report(
            findings: [Self.note], notLookedAt: [], version: "3.7.11", reload: "postfix reload")
        let quiet = report.text(withNotes: false, notes: [])
        #expect(
            String(decoding: quiet.octets, as: UTF8.self) == "ok: 0 errors, 0 warnings, 1 note; --notes shows them\n")
        #expect(quiet.status == .done)
        let loud = report.text(withNotes: true, notes: [])
        #expect(
            String(decoding: loud.octets, as: UTF8.self)
                == "note: dmarc: a note\n  why: why\n  do: look\n\nok: 0 errors, 0 warnings, 1 note\n")
    }

    @Test("JSON") func json() throws {
        let report = DoctorCommand.Report(
            findings: [Self.finding, Self.note], notLookedAt: ["sockets: no"], version: "3.7.11",
            reload: "postfix reload")
        let output = report.json(notes: [])
        let object = try #require(
            try JSONSerialization.jsonObject(with: Data(output.octets)) as? [String: Any])
        #expect(Set(object.keys) == ["postfix", "errors", "warnings", "notes", "findings", "not_looked_at"])
        #expect(object["errors"] as? Int == 1 && object["notes"] as? Int == 1)
        let findings = try #require(object["findings"] as? [[String: Any]])
        #expect(findings.allSatisfy { Set($0.keys) == ["id", "severity", "where", "what", "why", "mend"] })
        let mends = try #require(findings.first?["mend"] as? [[String: String]])
        #expect(mends.map { $0["kind"] } == ["run", "set", "do"])
        #expect(output.status == .negative)
    }

    @Test("errors come first, and the order stays") func order() {
        let warning = DoctorFinding(.spf, .warning, at: ["a"], "w", why: "", mends: [])
        var second = warning
        second.places = ["b"]
        let merged = DoctorFinding.merged([Self.note, warning, Self.finding, second, warning])
        #expect(merged.map(\.id) == [.milterOrder, .spf, .dmarc])
        #expect(merged.dropFirst().first?.places == ["a", "b"])
    }

    @Test("words of findings are unlike, and the help names them all") func ids() throws {
        let ids = DoctorFinding.ID.allCases.map(\.rawValue)
        #expect(Set(ids).count == ids.count)
        let help = try Postern()("doctor", "--help").text
        #expect(ids.allSatisfy(help.contains))
    }

    @Test("a relative --postfix-config is a wrong command line") func relative() throws {
        #expect(try Postern()("doctor", "--postfix-config", "etc").status == 64)
    }

    @Test("no configuration, no doctor") func configuration() throws {
        let folder = try Folder()
        #expect(try Postern()("doctor", "--config", folder.file("none.toml")).status == 78)
        try folder.write("[host\n", to: "bad.toml")
        #expect(try Postern()("doctor", "--config", folder.file("bad.toml")).status == 78)
    }

    @Test("a folder without main.cf is told", .enabled(if: access("/usr/sbin/postconf", X_OK) == 0))
    func noPostfix() throws {
        let folder = try Folder()
        try folder.write("[host]\nname = \"mx1.example.org\"\n", to: "p.toml")
        let result = try Postern()(
            "doctor", "--config", folder.file("p.toml"), "--postfix-config", folder.file("absent"))
        #expect(result.status == 69)
        #expect(result.notes.contains("postconf -c \(folder.file("absent")) -x: expected exit status 0, found "))
        // In its own words.
        #expect(result.notes.contains("fatal: open \(folder.file("absent"))/main.cf: No such file"), "\(result.notes)")
        #expect(throws: CommandFailure.self) { try PostconfRun(folder: nil, candidates: ["/absent"]).view() }
    }

    @Test("a program that does not end or says too much is ended") func endless() throws {
        let folder = try Folder()
        let path = try folder.write("#!/bin/sh\nyes 'a = b'\n", to: "postconf")
        chmod(path, 0o755)
        #expect(throws: CommandFailure.self) { try PostconfRun(folder: nil, candidates: [path]).view() }
    }

    @Test("the real postconf's output of a whole host", .enabled(if: access("/usr/sbin/postconf", X_OK) == 0))
    func real() throws {
        let folder = try Folder()
        try folder.write(
            """
            compatibility_level = 3.6
            queue_directory = /var/spool/postfix
            myhostname = mx1.example.org
            mynetworks = 127.0.0.0/8
            smtpd_milters = { unix:postern/dmarc.sock, default_action=accept },
              { unix:postern/dkim.sock, default_action=accept }

            """, to: "main.cf")
        try folder.write(
            """
            smtp inet n - y - - smtpd
            submission inet n - y - - smtpd
              -o { smtpd_milters = { unix:postern/dkim.sock, default_action=tempfail } }
            cleanup unix n - y - 0 cleanup

            """, to: "master.cf")
        let config = try folder.write(
            "[host]\nname = \"mx1.example.org\"\n[listen]\ncontrol = \"\(folder.path)\"\n", to: "p.toml")
        let result = try Postern(zone: DoctorDNSTests.zone)(
            "doctor", "--json", "--config", config, "--postfix-config", folder.path)
        #expect(result.status == 1)
        let object = try result.json()
        #expect((object["postfix"] as? String)?.hasPrefix("3.") == true)
        let ids = try #require(object["findings"] as? [[String: Any]]).compactMap { $0["id"] as? String }
        #expect(ids.contains("milter_order") && ids.contains("daemon_down"))
        #expect(!ids.contains("milter_missing") && !ids.contains("milter_default_action"))
    }

    /// What is found of a file with one key.
    /// - Parameter mode: the key's.
    static func fileFindings(isSensible: Bool = true, mode: mode_t = 0o400) throws -> [DoctorFinding] {
        let folder = try Folder()
        _ = try Postern()(
            "dkim", "genkey", "--domain", "example.org", "--selector", "s1", "--ed25519", "--out", folder.file("s1.pem")
        )
        let path = try folder.write(
            "[dkim]\n\(isSensible ? "" : "nonsense = 1\n")[[dkim.key]]\ndomain = \"example.org\"\nselector = \"s1\"\n"
                + "file = \"s1.pem\"\n", to: "p.toml")
        chmod(folder.file("s1.pem"), mode)
        let result = Configuration.load(path: path, for: .check, as: .current)
        let entries = try #require(result.readable?.dkim.entries)
        return FileFindings.configuration(result.problems, entries, check: "postern check").map { finding in
            DoctorFinding(
                finding.id, finding.severity, at: finding.places, finding.what, why: finding.why,
                mends: finding.mends.map { mend in
                    guard case .command(let line) = mend else { return mend }
                    return .command(line.replacing(folder.path, with: "/folder"))
                })
        }
    }

    @Test("a key that others can read is a finding with the command that mends it") func keyFile() throws {
        #expect(try Self.fileFindings() == [])
        #expect(try Self.fileFindings(isSensible: false).map(\.id) == [.configuration])
        let found = try Self.fileFindings(isSensible: false, mode: 0o644)
        #expect(Set(found.map(\.id)) == [.configuration, .keyFile] && found.count == 2)
        let key = try #require(found.first { $0.id == .keyFile })
        #expect(key.mends == [.command("chown postern-dkim /folder/s1.pem && chmod 0400 /folder/s1.pem")])
    }

    @Test("backups are known by the word that they leave") func backups() throws {
        let folder = try Folder()
        let now = UnixTime(seconds: 1_795_000_000)
        func backup() -> DoctorMachine.Backup { DoctorMachine.backup(in: folder.path, now: now) }
        #expect(backup() == .never)
        func write(_ kind: LastBackup.Kind, ago: Int64) throws {
            try LastBackup(time: UnixTime(seconds: 1_795_000_000 - ago), octets: 1).write(as: kind, in: folder.path)
        }
        try write(.made, ago: 7200)
        #expect(backup() == .made(ago: 7200, tested: nil))
        try write(.tested, ago: 3600)
        #expect(backup() == .made(ago: 7200, tested: 3600))
        // A clock that was set back.
        try write(.made, ago: -50)
        #expect(backup() == .made(ago: 0, tested: 3600))
        try folder.write("{\"time\":", to: "backup.last")
        #expect(backup() == .unknown)
        #expect(DoctorMachine.backup(in: folder.file("absent"), now: now) == .unknown)
    }

    @Test("networks that nobody compares are told") func unread() throws {
        var fixture = DoctorFixture()
        #expect(OriginFindings.unread(try fixture.subject()) == [])
        fixture.main["mynetworks"] = "127.0.0.0/8 !192.0.2.1 cidr:/etc/postfix/networks"
        #expect(
            OriginFindings.unread(try fixture.subject()) == [
                "mynetworks against host.networks: !192.0.2.1 is no network but a table, a file or an exclusion"
            ])
    }
}

@Suite(
    "doctor: sockets", .enabled(if: geteuid() == 0 && UserIdentity(named: "postfix") != nil, "needs root and Postfix"))
struct DoctorSocketTests {
    /// A socket that somebody listens at, below a folder like a queue directory.
    private static func listening(_ folder: Folder, _ body: (SocketProbe) throws -> Void) throws {
        chmod(folder.path, 0o755)
        let postern = folder.file("postern")
        mkdir(postern, 0o755)
        let descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
        defer { close(descriptor) }
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: Array("\(postern)/a.sock".utf8)) }
        let bound = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        #expect(bound == 0)
        listen(descriptor, 8)
        try body(SocketProbe(queueFolder: folder.path, user: UserIdentity(named: "postfix")))
    }

    @Test("reached, chrooted or not, by a path that is right from there") func reached() throws {
        let folder = try Folder()
        try Self.listening(folder) { probe in
            chmod(folder.file("postern/a.sock"), 0o666)
            #expect(probe.outcome("unix:postern/a.sock", isChrooted: true) == .reached)
            #expect(probe.outcome("unix:postern/a.sock", isChrooted: false) == .reached)
            #expect(probe.outcome("unix:/postern/a.sock", isChrooted: true) == .reached)
            #expect(probe.outcome("unix:\(folder.path)/postern/a.sock", isChrooted: false) == .reached)
            #expect(probe.outcome("unix:\(folder.path)/postern/a.sock", isChrooted: true) == .refused(ENOENT))
        }
    }

    @Test("not let in, as user postfix and not as root") func refused() throws {
        let folder = try Folder()
        try Self.listening(folder) { probe in
            chmod(folder.file("postern/a.sock"), 0o600)
            #expect(probe.outcome("unix:postern/a.sock", isChrooted: true) == .refused(EACCES))
            chmod(folder.file("postern/a.sock"), 0o666)
            chmod(folder.file("postern"), 0o700)
            #expect(probe.outcome("unix:postern/a.sock", isChrooted: true) == .refused(EACCES))
        }
    }

    @Test("nobody listens") func nobody() throws {
        let probe = SocketProbe(queueFolder: "/tmp", user: UserIdentity(named: "postfix"))
        #expect(probe.outcome("unix:no-such.sock", isChrooted: true) == .refused(ENOENT))
        #expect(probe.outcome("inet:127.0.0.1:1", isChrooted: true) == .refused(ECONNREFUSED))
        #expect(probe.outcome("nonsense", isChrooted: true) == .untried("no socket that can be dialled"))
        let long = String(repeating: "x", count: 200)
        #expect(probe.outcome("unix:\(long)", isChrooted: true) == .refused(ENAMETOOLONG))
        #expect(
            SocketProbe(queueFolder: "/tmp", user: nil).outcome("unix:x", isChrooted: true)
                == .untried("this machine has no user of Postfix's"))
    }
}
