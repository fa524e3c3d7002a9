// The snapshot as a file: its rights, its replacement, and all the ways in which it can be wrong at a start.

import Foundation
import Glibc
import PosternDaemon
import PosternForwarder
import PosternMail
import TestSupport
import Testing

@testable import PosternDNS
@testable import postern_dns

@Suite("the cache over a restart")
struct SnapshotKeeperTests {
    /// It goes with the last who has it.
    final class Folder: Sendable {
        let path: String

        init() throws {
            var template = Array((NSTemporaryDirectory() + "/postern-dns-XXXXXX").utf8CString)
            path = try String(cString: #require(mkdtemp(&template)))
        }
        deinit { try? FileManager.default.removeItem(atPath: path) }  // what stays behind is in /tmp
    }

    /// A folder, and a postern-dns that listens nowhere.
    final class Rig: Sendable {
        private let owned: Folder
        let server: ForwarderServer
        let log = RecordingLog()

        /// - Parameter earlier: whose folder it takes over.
        init(after earlier: Rig? = nil) throws {
            owned = try earlier?.owned ?? Folder()
            server = ForwarderServer(ForwarderSettings(upstreams: [], listen: []), log: log)
            try server.start()
        }
        deinit { server.stop() }

        var folder: String { owned.path }
        var path: String { "\(folder)/dns.snapshot" }
        func keeper(now: Int64 = 1_795_000_000) throws -> SnapshotKeeper {
            try SnapshotKeeper(folder: folder, server: server, log: log, now: { UnixTime(seconds: now) })
        }
        var names: [String] { get throws { try FileManager.default.contentsOfDirectory(atPath: folder).sorted() } }
    }

    static func entries(_ count: Int) throws -> [CacheSnapshot.Entry] {
        try (0..<count).map { number in
            let question = Question(try DomainName("n\(number).example"), .a)
            let record = ResourceRecord(owner: question.name, type: .a, ttl: 300, octets: [192, 0, 2, 1])
            return CacheSnapshot.Entry(
                question: question, body: ResponseBody(question: question, rcode: .noError, answers: [record]),
                elapsed: 0, left: .seconds(300), staleLeft: .zero)
        }
    }

    @Test("what one daemon leaves the next one finds, in a file of its user alone")
    func roundTrip() throws {
        let first = try Rig()
        #expect(first.server.restore(try Self.entries(3000)) == 3000)
        try first.keeper().stop()
        #expect(try first.names == ["dns.snapshot"])
        var status = stat()
        #expect(stat(first.path, &status) == 0 && status.st_mode & 0o777 == 0o600)
        let next = try Rig(after: first)
        try next.keeper(now: 1_795_000_100).load()
        #expect(next.server.counters.cachedAnswers == 3000)
        #expect(next.log.lines == ["took 3000 answers from \(next.path)"])
        // Later than all their times, and on a clock that was set back.
        let late = try Rig(after: first)
        try late.keeper(now: 1_795_000_300).load()
        #expect(late.server.counters.cachedAnswers == 0 && late.log.warnings == [])
        let early = try Rig(after: first)
        try early.keeper(now: 1_794_000_000).load()
        #expect(early.server.counters.cachedAnswers == 0)
        #expect(early.log.warnings.count == 1 && early.log.warnings.first?.contains("the clock was set back") == true)
    }

    @Test("without a file there is nothing to say")
    func absent() throws {
        let rig = try Rig()
        try rig.keeper().load()
        #expect(rig.log.lines == [])
    }

    @Test("a damaged file costs one warning and is replaced")
    func damaged() throws {
        let rig = try Rig()
        for octets in [[], Array("PosternDNS".utf8), [UInt8](repeating: 0, count: 100_000)] as [[UInt8]] {
            try Data(octets).write(to: URL(filePath: rig.path))
            let before = rig.log.warnings.count
            let keeper = try rig.keeper()
            keeper.load()
            #expect(rig.log.warnings.count == before + 1)
            #expect(rig.log.warnings.last?.hasSuffix("; beginning with an empty cache") == true)
            keeper.save()
            #expect(
                try CacheSnapshot.entries(
                    in: Array(Data(contentsOf: URL(filePath: rig.path))), now: UnixTime(seconds: 1_795_000_000)) == [])
        }
    }

    @Test("what is no plain file of ours is not read, nor waited for")
    func strange() throws {
        let rig = try Rig()
        let target = "\(rig.folder)/target"
        try Data("PosternDNS".utf8).write(to: URL(filePath: target))
        try FileManager.default.createSymbolicLink(atPath: rig.path, withDestinationPath: target)
        try rig.keeper().load()
        try rig.keeper().save()  // takes the link's place, not its target's
        #expect(try Data(contentsOf: URL(filePath: target)) == Data("PosternDNS".utf8))
        unlink(rig.path)
        mkfifo(rig.path, 0o600)
        try rig.keeper().load()
        unlink(rig.path)
        try FileManager.default.createDirectory(atPath: rig.path, withIntermediateDirectories: false)
        try rig.keeper().load()
        #expect(rig.log.warnings.count == 3)
        #expect(rig.log.warnings.last?.contains("expected a plain file of our own user") == true)
    }

    @Test("a folder that is not there is told once, until it is there and goes again")
    func noFolder() throws {
        let rig = try Rig()
        let keeper = try SnapshotKeeper(folder: "\(rig.folder)/state", server: rig.server, log: rig.log)
        keeper.load()
        keeper.save()
        keeper.save()
        #expect(rig.log.warnings.count == 1)
        #expect(rig.log.warnings.first?.hasSuffix("; the cache will not outlive a restart") == true)
        try FileManager.default.createDirectory(atPath: "\(rig.folder)/state", withIntermediateDirectories: false)
        keeper.save()
        try FileManager.default.removeItem(atPath: "\(rig.folder)/state")
        keeper.save()
        #expect(rig.log.warnings.count == 2)
    }

    @Test("a crash while writing leaves the old file; its remains go at the next time")
    func crash() throws {
        let rig = try Rig()
        let file = StateFile(path: rig.path)
        try file.replace { write in try write([1, 2, 3]) }
        struct Stop: Error {}
        #expect(throws: Stop.self) {
            try file.replace { write in
                try write([4])
                throw Stop()
            }
        }
        #expect(try file.read(atMost: 10) == [1, 2, 3])
        #expect(try rig.names == ["dns.snapshot"])
        try Data([9]).write(to: URL(filePath: rig.path + ".new"))
        try file.replace { write in try write([5]) }
        #expect(try file.read(atMost: 10) == [5])
        #expect(try rig.names == ["dns.snapshot"])
        #expect(throws: StateFile.Failure.self) { try file.read(atMost: 0) }
    }

    @Test("it is written soon after it was asked for, and never after the stop")
    func thread() throws {
        let rig = try Rig()
        let keeper = try rig.keeper()
        try keeper.start()
        keeper.saveSoon()
        while access(rig.path, F_OK) != 0 { sched_yield() }
        keeper.stop()
        unlink(rig.path)
        keeper.save()
        #expect(access(rig.path, F_OK) != 0)
    }
}
