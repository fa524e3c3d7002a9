// The greylist's file: it holds what it may, and no trouble with it stops mail. What is in memory before it is in
// GreylistMemoryTests.

import Foundation
import PosternAdmission
import PosternMail
import PostfixHarness
import Synchronization
import TestSupport
import Testing

@testable import PosternStore

@Suite struct GreylistStoreTests {
    let folder: TemporaryFolder
    let log = RecordingLog()
    let clock = ScriptedClock(Sample.start)
    let times = GreylistTimes(delay: .seconds(300), retryWithin: .seconds(7200), remember: .seconds(86_400))

    init() throws { folder = try TemporaryFolder() }

    func store(entries: Int = 1_000_000) -> GreylistStore {
        var limits = GreylistStore.Limits()
        limits.entries = entries
        return GreylistStore(
            path: folder.path("greylist.sqlite"), limits: limits, log: log, now: { [clock] in clock.now() })
    }

    func ask(_ store: GreylistStore, _ client: String, _ sender: String = "ann@example.net") throws -> String {
        GreylistBench.words(
            store.decide(try GreylistBench.request(client, sender), times: times, now: clock.now()))
    }

    @Test("SipHash-2-4 is that of its authors, for every length") func sipHash() throws {
        // Source: the paper's appendix A, and vectors of the reference implementation.
        let hash = try #require(SipHash(key: Array(0..<16)))
        #expect(hash([]) == 0x726F_DB47_DD0E_0E31)
        #expect(hash(Array(0..<8)) == 0x93F5_F579_9A93_2462)
        #expect(hash(Array(0..<15)) == 0xA129_CA61_49BE_45E5)
        #expect(SipHash(key: [1]) == nil)
    }

    @Test("it remembers over a restart, and its file is its owner's alone") func restart() throws {
        let first = store()
        #expect(try ask(first, "192.0.2.7") == "wait 300")
        #expect(try folder.mode("greylist.sqlite") == 0o600)
        first.close()
        #expect(try folder.names == ["greylist.sqlite"])
        clock.advance(by: .seconds(300))
        let second = store()
        second.open()
        #expect(try ask(second, "192.0.2.7") == "pass triplet 300")
        #expect(try second.counts() == GreylistCounts(waiting: 0, passed: 1, clients: 1, domains: 0))
        #expect(log.events.isEmpty)
    }

    @Test("what has expired is swept along, and the counts stay true") func sweep() throws {
        let store = store()
        for number in 0..<500 { _ = try ask(store, "192.0.\(number % 200).7", "s\(number)@example.net") }
        clock.advance(by: .seconds(300))
        for number in 0..<10 { _ = try ask(store, "192.0.\(number).7", "s\(number)@example.net") }
        try store.allow(.origin(try #require(GreylistOrigin("203.0.113.0/24"))), now: clock.now())
        #expect(try store.counts() == GreylistCounts(waiting: 490, passed: 10, clients: 11, domains: 0))
        clock.advance(by: .seconds(7200))
        for _ in 0..<10 {
            _ = try ask(store, "203.0.113.7")
            clock.advance(by: .seconds(1))
        }
        #expect(try store.counts() == GreylistCounts(waiting: 0, passed: 10, clients: 11, domains: 0))
        clock.advance(by: .seconds(90_000))
        _ = try ask(store, "203.0.113.7")
        #expect(try store.counts() == GreylistCounts(waiting: 0, passed: 0, clients: 1, domains: 0))
        try expectTrueCounts(store)
    }

    @Test("triplets of a clock that was years ahead do not stay for years") func astray() throws {
        let store = store()
        clock.advance(by: .seconds(100_000_000))
        _ = try ask(store, "192.0.2.7")
        clock.advance(by: .seconds(-100_000_000))
        _ = try ask(store, "198.51.100.7")
        #expect(try store.counts().waiting == 1)
    }

    @Test("under a flood the oldest that wait go, what is known stays") func flood() throws {
        let store = store(entries: 1000)
        for number in 0..<50 { _ = try ask(store, "10.0.\(number).1") }
        clock.advance(by: .seconds(300))
        for number in 0..<50 { #expect(try ask(store, "10.0.\(number).1") == "pass triplet 300") }
        for number in 0..<5000 {
            _ = try ask(store, "172.\(number / 250).\(number % 250).1")
            clock.advance(by: .milliseconds(1))
        }
        let counts = try store.counts()
        #expect(counts.clients == 50)
        #expect(counts.passed == 50)
        #expect(counts.waiting > 800)
        #expect(counts.waiting + counts.passed + counts.clients <= 1000)
        for number in 0..<50 { #expect(try ask(store, "10.0.\(number).1") == "pass knownClient") }
        #expect(try ask(store, "172.19.249.1") == "wait 299")
        clock.advance(by: .seconds(1))
        #expect(try ask(store, "172.19.248.1") == "wait 298")  // the youngest are still there
        #expect(try ask(store, "172.0.1.1") == "wait 300")  // the oldest are not
        try expectTrueCounts(store)
    }

    @Test("where all room is taken by what is known, a new client can still come back") func allKnown() throws {
        let store = store(entries: 20)
        for number in 0..<30 {
            try store.allow(.origin(try #require(GreylistOrigin("10.0.\(number).0/24"))), now: clock.now())
        }
        #expect(try ask(store, "192.0.2.7") == "wait 300")
        clock.advance(by: .seconds(300))
        #expect(try ask(store, "192.0.2.7") == "pass triplet 300")
    }

    // With a writer that never rests and room for eight rows in memory: each of them is written, let go and read again by
    // many at once.
    @Test("300 threads at once: each triplet is new once", arguments: [true, false]) func threads(isWritten: Bool)
        throws
    {
        var limits = GreylistStore.Limits()
        limits.gather = .microseconds(100)
        limits.remembered = 8
        let store = GreylistStore(
            path: folder.path("greylist.sqlite"), limits: limits, log: log, now: { [clock] in clock.now() })
        if isWritten { store.open() }
        defer { store.close() }
        let results = Mutex<[GreylistAnswer]>([])
        let requests = try (0..<100).map { try GreylistBench.request("192.0.\($0).1") }
        let group = DispatchGroup()
        for thread in 0..<300 {
            group.enter()
            Thread { [times, clock] in
                var answers: [GreylistAnswer] = []
                for step in 0..<20 {
                    answers.append(
                        store.decide(requests[(thread + step * 7) % 100], times: times, now: clock.now()))
                }
                results.withLock { $0 += answers }
                group.leave()
            }.start()
        }
        group.wait()
        let answers = results.withLock { $0 }
        #expect(answers.count == 6000)
        #expect(answers.allSatisfy { $0 == .wait(remaining: .seconds(300), firstSeen: Sample.start) })
        #expect(try store.counts().waiting == 100)
        try expectTrueCounts(store)
    }

    @Test("a damaged file is set aside and a new one decides at once", arguments: [0, 4096])
    func damaged(offset: UInt64) throws {
        let old = store()
        for number in 0..<500 { _ = try ask(old, "192.0.\(number % 250).7", "s\(number)@example.net") }
        old.close()
        try damage(folder.path("greylist.sqlite"), at: offset, with: Array(repeating: 0x55, count: 30_000))
        let store = store()
        #expect(try ask(store, "192.0.2.7") == "wait 300")
        #expect(try folder.names.contains("greylist.sqlite.damaged-1790000000"))
        #expect(log.warnings.count == 1)
        #expect(try ask(store, "192.0.2.8") == "wait 300")
        #expect(log.warnings.count == 1)
    }

    @Test("a full disk: mail passes, one warning, and it works again by itself") func fullDisk() throws {
        let store = store()
        _ = try ask(store, "192.0.2.7")
        try store.inDatabase { database throws(DatabaseError) in try database.execute("PRAGMA max_page_count=16") }
        var answers: [String] = []
        for number in 0..<2000 {
            answers.append(try ask(store, "10.\(number / 250).\(number % 250).1"))
            if number % 100 == 99 { try? store.flush() }  // its failure is what is looked for
        }
        #expect(answers.first == "wait 300")
        #expect(answers.last == "unavailable")
        #expect(log.warnings.count == 1)
        #expect(log.warnings.first?.contains("mail passes without greylisting") == true)
        #expect(throws: GreylistUnavailable.self) { try store.counts() }
        clock.advance(by: .seconds(11))
        #expect(try ask(store, "192.0.2.7") == "wait 289")
        #expect(try ask(store, "10.0.99.1") == "wait 289")  // nothing that was answered is lost
        #expect(log.lines.last?.hasSuffix("works again") == true)
        #expect(try folder.names.filter { $0.contains("damaged") }.isEmpty)
        try expectTrueCounts(store)
    }

    @Test("a folder that nobody may write to: mail passes, one warning") func readOnlyFolder() throws {
        // A file where the folder should be: root may write to any folder.
        try folder.write([], to: "state")
        let path = folder.path("state/greylist.sqlite")
        let store = GreylistStore(path: path, log: log, now: { [clock] in clock.now() })
        for _ in 0..<100 { #expect(try ask(store, "192.0.2.7") == "unavailable") }
        #expect(log.warnings.count == 1)
        clock.advance(by: .seconds(3600))
        #expect(try ask(store, "192.0.2.7") == "unavailable")
        #expect(log.warnings.count == 1)
    }

    @Test("a read-only connection: the file stays, mail passes, and it works again") func readOnly() throws {
        let store = store()
        _ = try ask(store, "192.0.2.7")
        try store.inDatabase { database throws(DatabaseError) in try database.execute("PRAGMA query_only=1") }
        #expect(throws: GreylistUnavailable.self) { try store.flush() }
        #expect(try ask(store, "198.51.100.7") == "unavailable")
        #expect(log.warnings.count == 1)
        clock.advance(by: .seconds(11))
        #expect(try ask(store, "198.51.100.7") == "wait 300")
        #expect(try ask(store, "192.0.2.7") == "wait 289")
        #expect(try folder.names.filter { $0.contains("damaged") }.isEmpty)
    }

    @Test("another process has it open: mail passes, and is greylisted when that is gone") func busy() throws {
        let other: GreylistStore? = store()
        _ = try ask(try #require(other), "192.0.2.7")
        let store = store()
        #expect(try ask(store, "192.0.2.7") == "unavailable")
        #expect(log.warnings.count == 1)
        other?.close()
        clock.advance(by: .seconds(1))
        #expect(try ask(store, "192.0.2.7") == "wait 299")
    }

    @Test("a file that was deleted under it is begun anew at the next writing") func deleted() throws {
        let store = store()
        _ = try ask(store, "192.0.2.7")
        try store.flush()
        clock.advance(by: .seconds(100))
        _ = try ask(store, "198.51.100.7")
        try FileManager.default.removeItem(atPath: folder.path("greylist.sqlite"))
        try store.flush()
        #expect(log.warnings.count == 1)
        #expect(try ask(store, "192.0.2.7") == "wait 300")
        clock.advance(by: .seconds(1))
        #expect(try ask(store, "198.51.100.7") == "wait 299")  // that waited to be written
        store.close()
        #expect(try ask(self.store(), "198.51.100.7") == "wait 299")
        #expect(log.warnings.count == 1)
    }

    @Test("a newer Postern's file is kept, not written into") func newer() throws {
        let old = store()
        _ = try ask(old, "192.0.2.7")
        try old.inDatabase { database throws(DatabaseError) in try database.execute("PRAGMA user_version=99") }
        old.close()
        #expect(try ask(store(), "192.0.2.7") == "wait 300")
        #expect(log.warnings.count == 1)
        #expect(log.warnings.first?.contains("a newer Postern's file") == true)
        #expect(try folder.names.contains("greylist.sqlite.damaged-1790000000"))
    }

    @Test("an older file is brought up to date, in one transaction") func migration() throws {
        let path = folder.path("m.sqlite")
        let steps = ["CREATE TABLE a (x)", "ALTER TABLE a ADD COLUMN y; INSERT INTO a VALUES (1, 2)"]
        func version(_ steps: [String]) throws -> Int64? {
            let database = try Database(path: path, options: .init())
            try Schema(applicationID: 7, steps: steps).apply(to: database)
            return try database.integer("PRAGMA user_version")
        }
        #expect(try version(Array(steps.prefix(1))) == 1)
        #expect(throws: DatabaseError.self) { try version(steps + ["CREATE TABLE a (x)"]) }  // the third step fails
        #expect(try version(Array(steps.prefix(1))) == 1)  // so the second was not done either
        #expect(try version(steps) == 2)
        #expect(try version(steps) == 2)
    }

    @Test("mutations of the file never trap, and mail always has its answer") func mutations() throws {
        let old = store()
        for number in 0..<200 { _ = try ask(old, "192.0.\(number).7") }
        old.close()
        let good = try folder.octets("greylist.sqlite")
        var random = SeededRandom(seed: 8)
        for round in 0..<100 {
            var octets = good
            for _ in 0..<Int.random(in: 1...60, using: &random) {
                octets[Int.random(in: 0..<octets.count, using: &random)] = UInt8.random(in: 0...255, using: &random)
            }
            if round % 10 == 0 { octets = Array(octets.prefix(Int.random(in: 0...octets.count, using: &random))) }
            let folder = try TemporaryFolder()
            try folder.write(octets, to: "greylist.sqlite")
            let store = GreylistStore(
                path: folder.path("greylist.sqlite"), log: RecordingLog(), now: { [clock] in clock.now() })
            for number in 0..<20 { _ = try ask(store, "192.0.\(number * 10).7") }
            var cursor: GreylistCursor?
            repeat {
                let page = try? store.entries(withPrefix: "", after: cursor, limit: 50)
                cursor = page?.next
            } while cursor != nil
            _ = try? store.forget(.origin(try #require(GreylistOrigin("192.0.10.0/24"))))
            #expect(try ask(store, "203.0.113.9") != "unavailable", "\(round)")
        }
    }

    /// What is counted is what is there.
    func expectTrueCounts(_ store: GreylistStore) throws {
        var counted = GreylistCounts()
        var keys: Set<GreylistKey> = []
        var cursor: GreylistCursor?
        repeat {
            let page = try store.entries(withPrefix: "", after: cursor, limit: 1000)
            for row in page.rows {
                counted.add(1, row.key, row.entry)
                keys.insert(row.key)
            }
            cursor = page.next
        } while cursor != nil
        #expect(try store.counts() == counted)
        // One row for a key.
        #expect(keys.count == counted.waiting + counted.passed + counted.clients + counted.domains)
    }
}
