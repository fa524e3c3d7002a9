import Foundation
import PosternMail
import PosternSocket
import Synchronization
import TestSupport
import Testing

@testable import PosternDaemon

@Suite("reload")
struct LifeReloadTests {
    /// A configuration file in a folder of its own, and a desk that stands for a daemon.
    final class Office: Sendable {
        let folder: URL
        let recording = RecordingLog()
        let log: DaemonLog
        let adopted = Mutex<[Configuration]>([])
        private let made = Mutex<ConfigurationDesk?>(nil)

        init(_ text: String, role: ConfigurationRole = .dkim) throws {
            folder = FileManager.default.temporaryDirectory.appending(path: "postern-reload-\(UUID().uuidString)")
            try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
            log = DaemonLog(recording)
            try write(text)
            let configuration = try #require(Configuration.load(path: path, for: role).configuration)
            let desk = ConfigurationDesk(
                path: path, role: role, started: configuration, log: log, notification: ServiceNotification(path: nil)
            ) { [weak self] new in self?.adopted.withLock { $0.append(new) } }
            made.withLock { $0 = desk }
        }
        deinit { try? FileManager.default.removeItem(at: folder) }  // what stays is the system's to clean

        var path: String { folder.appending(path: "postern.toml").path }
        var desk: ConfigurationDesk { get throws { try #require(made.withLock { $0 }) } }
        var names: [String] { adopted.withLock { $0.map { $0.host.authservID } } }

        func write(_ text: String) throws { try text.write(toFile: path, atomically: true, encoding: .utf8) }
    }

    static func text(_ id: String, more: String = "") -> String {
        "[host]\nname = \"mx1.example.org\"\nauthserv_id = \"\(id)\"\n\(more)\n"
    }

    @Test("a file without a problem takes the old one's place, and the generation counts up")
    func adopted() throws {
        let office = try Office(Self.text("one.example"))
        #expect(try office.desk.current.generation == 1)
        try office.write(Self.text("two.example"))
        guard case .adopted(generation: 2, notices: []) = try office.desk.reload() else {
            Issue.record("not adopted")
            return
        }
        #expect(office.names == ["two.example"])
        #expect(office.recording.lines == ["reloaded \(office.path): generation 2"])
        #expect(office.recording.warnings == [])
    }

    @Test(
        "any problem, be it in another daemon's table, changes nothing and is told",
        arguments: [
            ("syntax", "[[["), ("an unknown key", "x = 1"), ("another's table", "[dns]\ncache = \"1\""),
            ("its own table", "[dkim]\nmax_signatures = 0"),
            ("a key file that is not there", "[[dkim.key]]\ndomain = \"a.example\"\nselector = \"s\"\nfile = \"none\""),
        ])
    func refused(_ what: String, _ more: String) throws {
        let office = try Office(Self.text("one.example"))
        try office.write(Self.text("two.example", more: more))
        guard case .refused(generation: 1, let problems) = try office.desk.reload() else {
            Issue.record("not refused: \(what)")
            return
        }
        #expect(office.names == [])
        #expect(problems.count >= 1)
        let count = problems.count == 1 ? "1 problem" : "\(problems.count) problems"
        #expect(
            office.recording.warnings
                == problems.map { "\($0)" } + ["reload refused: \(count); going on with generation 1"])
        let refusal = try #require(try office.desk.current.refusal)
        #expect(refusal.problems == problems)

        try office.write(Self.text("three.example"))
        try office.desk.reload()
        #expect(office.names == ["three.example"])
        #expect(try office.desk.current.refusal == nil)
        #expect(try office.desk.current.generation == 2)
    }

    @Test("a file that is gone changes nothing")
    func gone() throws {
        let office = try Office(Self.text("one.example"))
        try FileManager.default.removeItem(atPath: office.path)
        guard case .refused = try office.desk.reload() else {
            Issue.record("not refused")
            return
        }
        #expect(office.names == [])
        #expect(office.recording.warnings.last == "reload refused: 1 problem; going on with generation 1")
    }

    @Test(
        "what is read at a start only is told, each time it differs from the start",
        arguments: [
            ("[listen]\ndkim = \"unix:/run/x.sock\"", ["listen.dkim"]), ("[listen]\ndmarc = \"unix:/run/x.sock\"", []),
            ("[listen]\ndns = [\"unix:/run/x.sock\"]", ["listen.dns"]),
            ("[listen]\ndns = [\"unix:/run/postern/dns.sock\", \"udp:127.0.0.1:5300\"]", []),
            ("[listen]\ncontrol = \"/run/x\"\nmode = \"0600\"", ["listen.control", "listen.mode"]),
            (
                "[log]\nto = \"stderr\"\nfacility = \"daemon\"\nformat = \"json\"",
                ["log.to", "log.facility", "log.format"]
            ),
            ("[log]\nlevel = \"debug\"", []), ("[dkim]\nverify = false", []),
        ])
    func nextStart(_ more: String, _ keys: [String]) throws {
        let office = try Office(Self.text("one.example"))
        for generation in 2...3 {
            try office.write(Self.text("two.example", more: more))
            guard case .adopted(generation, let notices) = try office.desk.reload() else {
                Issue.record("not adopted: \(more)")
                return
            }
            #expect(notices == keys.map { "\($0) is another than at the start; it takes effect at the next start" })
        }
        #expect(office.recording.warnings.count == 2 * keys.count)
    }

    @Test("the level of the log follows at once")
    func level() throws {
        let office = try Office(Self.text("one.example"))
        try office.write(Self.text("one.example", more: "[log]\nlevel = \"error\""))
        try office.desk.reload()
        office.log.warning("not shown")
        office.log.error("shown")
        #expect(office.recording.lines == ["shown"])
    }

    @Test("reloads from many threads come one at a time, and a reader sees one whole configuration")
    func threads() throws {
        let office = try Office(Self.text("id0.example", more: "strip_authserv_ids = [\"id0.example\"]"))
        let snapshot = Snapshot(try #require(Configuration.load(path: office.path, for: .dkim).configuration))
        let isBusy = Atomic<Bool>(false)
        let desk = ConfigurationDesk(
            path: office.path, role: .dkim, started: snapshot.current, log: office.log,
            notification: ServiceNotification(path: nil)
        ) { new in
            #expect(isBusy.exchange(true, ordering: .acquiringAndReleasing) == false)
            snapshot.replace(by: new)
            isBusy.store(false, ordering: .releasing)
        }
        let done = Atomic<Bool>(false)
        let mixed = Mutex<[String]>([])
        let readers = DispatchGroup()
        for _ in 0..<2 {
            readers.enter()
            Foundation.Thread.detachNewThread {
                while !done.load(ordering: .acquiring) {
                    let host = snapshot.current.host
                    if host.stripAuthservIDs != [host.authservID] { mixed.withLock { $0.append(host.authservID) } }
                }
                readers.leave()
            }
        }
        let writers = DispatchGroup()
        for _ in 0..<4 {
            writers.enter()
            Foundation.Thread.detachNewThread {
                for _ in 0..<25 {
                    let id = "id\(UInt8.random(in: 0...255)).example"
                    // A failure is told by the count below.
                    try? office.write(Self.text(id, more: "strip_authserv_ids = [\"\(id)\"]"))
                    desk.reload()
                }
                writers.leave()
            }
        }
        writers.wait()
        done.store(true, ordering: .releasing)
        readers.wait()
        #expect(mixed.withLock { $0 } == [])
        #expect(desk.current.generation == 101)
    }

    @Test("systemd is told of the beginning and the end, also of a refusal")  // sd_notify(3)
    func notifications() throws {
        let office = try Office(Self.text("one.example"))
        let receiver = try LifeLogTests.Receiver(LifeLogTests.path())
        defer { unlink(receiver.path) }
        let desk = ConfigurationDesk(
            path: office.path, role: .dkim,
            started: try #require(Configuration.load(path: office.path, for: .dkim).configuration), log: office.log,
            notification: ServiceNotification(path: receiver.path)
        ) { _ in }
        for text in [Self.text("one.example"), "[[["] {
            try office.write(text)
            desk.reload()
            let beginning = receiver.next().split(separator: "\n")
            #expect(beginning.first == "RELOADING=1")
            #expect(beginning.dropFirst().first?.hasPrefix("MONOTONIC_USEC=") == true)
            #expect(receiver.next() == "READY=1\n")
        }
    }
}
