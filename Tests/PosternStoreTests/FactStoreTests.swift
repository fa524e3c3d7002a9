// Facts come back as they went in, and no trouble with their file reaches mail.

import Foundation
import PosternMail
import PostfixHarness
import TestSupport
import Testing

@testable import PosternStore

@Suite struct FactStoreTests {
    let folder: TemporaryFolder
    let log = RecordingLog()
    let clock = ScriptedClock(Sample.start)

    init() throws { folder = try TemporaryFolder() }

    func store(keep: Duration = .seconds(90 * 86_400), _ change: (inout FactStore.Limits) -> Void = { _ in })
        -> FactStore
    {
        var limits = FactStore.Limits()
        change(&limits)
        return FactStore(
            path: folder.path("facts.sqlite"), keep: keep, limits: limits, log: log, now: { [clock] in clock.now() })
    }

    func all(_ store: FactStore) throws -> [MessageFacts] {
        var found: [MessageFacts] = []
        var cursor: FactCursor?
        repeat {
            let page = try store.facts(
                since: UnixTime(seconds: 0), before: UnixTime(nanoseconds: .max), after: cursor, limit: 3)
            #expect(page.unreadable == 0)
            found += page.facts
            cursor = page.next
        } while cursor != nil
        return found
    }

    @Test("every field comes back") func roundTrip() throws {
        let store = store()
        let facts = [try Sample.full(), Sample.empty, try Sample.full(2, time: Sample.start + .milliseconds(1))]
        for facts in facts { store.append(facts) }
        store.work()
        #expect(try all(store) == [Sample.full(), Sample.empty, Sample.full(2, time: Sample.start + .milliseconds(1))])
        #expect(store.counters[.written] == 3)
        #expect(log.warnings.isEmpty)
    }

    @Test("every reason and every word comes back") func everyReason() throws {
        let name = try DomainName("example.org")
        let spf: [SPFReason] =
            SPFReason.plainCases + [
                .badDomain("x"), .severalRecords(name), .syntax(name, "x"), .tooManyMXHosts(name),
                .dnsFailure(name, ""),
            ]
        let dkim: [DKIMReason] =
            DKIMReason.plainCases + [
                .syntax("x"), .missingTag("d"), .keyTooSmall(bits: 512), .keyTooLarge(bits: 8192), .keyUnavailable("x"),
                .keySyntax(""), .internalError("x"),
            ]
        let dmarc: [DMARCReason] =
            DMARCReason.plainCases + [
                .recordUnavailable(name, "x"), .identifierUnavailable(name, "x"), .existenceUnknown(name, "x"),
                .invalidAuthor("x"),
            ]
        #expect(spf.map { SPFReason($0.words) } == spf)
        #expect(dkim.map { DKIMReason($0.words) } == dkim)
        #expect(dmarc.map { DMARCReason($0.words) } == dmarc)
        for words in [spf.map(\.words.word), dkim.map(\.words.word), dmarc.map(\.words.word)] {
            #expect(Set(words).count == words.count)
        }
        let store = store()
        var expected: [MessageFacts] = []
        for (number, result) in SPFResult.allCases.enumerated() {
            var facts = Sample.empty
            facts.time = Sample.start + .seconds(number)
            facts.spf = spf.map {
                SPFFinding(result: result, reason: $0, identity: .helo(HELOIdentity([0x00, 0xFF])))
            }
            facts.dkim = dkim.map { DKIMFinding(result: DKIMResult.allCases[number], reason: $0) }
            facts.dmarc.reason = dmarc[number]
            expected.append(facts)
        }
        for facts in expected { store.append(facts) }
        store.work()
        #expect(try all(store) == expected)
    }

    @Test("what a stranger can make long is cut before it waits in memory, to what is written") func longTexts() throws
    {
        let store = store()
        var facts = try Sample.full()
        let long = String(repeating: "x", count: 65_536)
        facts.dkim = [
            DKIMFinding(result: .fail, reason: .signatureMismatch, auid: Array(long.utf8)),
            DKIMFinding(result: .pass, reason: .none, auid: Array("@example.org".utf8)),
        ]
        facts.dmarc.published?.aggregateReports = long
        facts.dmarc.published?.failureReports = long
        store.append(facts)
        let waiting = try #require(store.waiting.first)
        #expect(waiting.dkim.map { $0.auid?.count } == [FactOctets.maxText, 12])
        #expect(waiting.dmarc.published?.aggregateReports?.utf8.count == FactOctets.maxText)
        #expect(waiting.dmarc.published?.failureReports?.utf8.count == FactOctets.maxText)
        store.work()
        #expect(try all(store) == [waiting])
    }

    @Test("a policy is kept once and goes with its last fact") func policies() throws {
        let store = store(keep: .seconds(100))
        store.append(try Sample.full())
        store.append(try Sample.full(1, time: Sample.start + .seconds(50)))
        store.work()
        func policies() throws -> Int64? {
            try Database(path: folder.path("facts.sqlite"), options: .init()).integer("SELECT count(*) FROM policy")
        }
        store.stop()
        store.run()
        #expect(try policies() == 1)
        clock.advance(by: .seconds(120))
        let next = self.store(keep: .seconds(100))
        next.work()
        #expect(try next.count() == 1)
        #expect(next.counters[.pruned] == 1)
        clock.advance(by: .seconds(120))
        next.stop()
        next.run()
        #expect(next.counters[.pruned] == 2)
        #expect(try policies() == 0)
        #expect(log.warnings.isEmpty)
    }

    @Test("the thread writes what is appended; stop writes the rest") func thread() throws {
        let store = store { $0.batch = 8 }
        let thread = Thread { store.run() }
        thread.start()
        for number in 0..<100 { store.append(try Sample.full(number)) }
        store.stop()
        while !thread.isFinished { usleep(1000) }
        #expect(store.counters[.written] == 100)
        #expect(try self.store().count() == 100)
        #expect(log.warnings.isEmpty)
    }

    @Test("a full queue loses facts, counts them and says so once") func fullQueue() throws {
        let store = store { $0.queued = 10 }
        for number in 0..<25 { store.append(try Sample.full(number)) }
        #expect(store.counters[.lost] == 15)
        #expect(log.warnings == ["10 facts for reports wait to be written: more are lost, mail goes on"])
        store.work()
        #expect(try store.count() == 10)
        #expect(log.warnings.last == "15 facts for reports were lost; new ones are kept again")
    }

    @Test("the file is its owner's alone") func mode() throws {
        let store = store()
        store.append(Sample.empty)
        store.work()
        #expect(try folder.names == ["facts.sqlite", "facts.sqlite-wal"])
        #expect(try folder.mode("facts.sqlite") == 0o600)
        #expect(try folder.mode("facts.sqlite-wal") == 0o600)
    }

    @Test("a file with another mode gets ours", arguments: [0o400, 0o666, 0o640]) func otherMode(mode: Int) throws {
        let old = store()
        old.append(Sample.empty)
        old.stop()
        old.run()
        try FileManager.default.setAttributes([.posixPermissions: mode], ofItemAtPath: folder.path("facts.sqlite"))
        #expect(try store().count() == 1)
        #expect(try folder.mode("facts.sqlite") == 0o600)
    }

    @Test("the file keeps to its size: the oldest facts go") func size() throws {
        let store = store { $0.octets = 400_000 }
        for number in 0..<3000 {
            store.append(try Sample.full(number, time: Sample.start + .seconds(number)))
            if number % 100 == 99 { store.work() }
        }
        #expect(store.counters[.written] == 3000)
        #expect(store.counters[.pruned] > 1000)
        #expect(try folder.octets("facts.sqlite").count <= 450_000)
        let kept = try all(store)
        #expect(kept.last?.queueID == "4cXk2J2999")
        #expect(try kept == (3000 - kept.count..<3000).map { try Sample.full($0, time: Sample.start + .seconds($0)) })
        #expect(log.warnings.isEmpty)
    }

    @Test("a damaged file is set aside, and nothing is lost that was not in it", arguments: [0, 4096])
    func damaged(offset: UInt64) throws {
        let old = store()
        for number in 0..<50 { old.append(try Sample.full(number)) }
        old.stop()
        old.run()
        try damage(folder.path("facts.sqlite"), at: offset, with: Array(repeating: 0x55, count: 20_000))
        let store = store()
        store.append(try Sample.full(50))
        store.append(try Sample.full(51))
        store.stop()
        store.run()
        let names = try folder.names.filter { !$0.hasSuffix("-wal") }
        #expect(names == ["facts.sqlite", "facts.sqlite.damaged-1790000000"])
        #expect(try all(self.store()).map(\.queueID) == ["4cXk2J50", "4cXk2J51"])
        #expect(log.warnings.count == 1)
        #expect(log.warnings.first?.contains("set aside as") == true)
    }

    @Test("damage that shows while it is open costs no fact that is not written yet") func damagedWhileOpen() throws {
        let store = store()
        store.append(try Sample.full(1))
        store.work()
        let damage = DatabaseError(.damaged, "malformed", operation: "read")
        #expect(throws: damage) { try store.inDatabase { _ throws(DatabaseError) in throw damage } }
        store.append(try Sample.full(2))
        store.work()
        #expect(try all(store) == [Sample.full(2)])
        #expect(try folder.names.contains("facts.sqlite.damaged-1790000000"))
        #expect(log.warnings.count == 1)
    }

    @Test("only so many damaged files are kept") func manyDamaged() throws {
        let store = store()
        for _ in 0..<10 {
            store.append(Sample.empty)
            store.work()
            try? store.inDatabase { _ throws(DatabaseError) in
                throw DatabaseError(.damaged, "malformed", operation: "read")
            }
            clock.advance(by: LedgerFile.setAsideAgainAfter)
        }
        #expect(store.counters[.written] == 10)
        let kept = try folder.names.filter { $0.contains("damaged") && !$0.hasSuffix("-wal") }
        #expect(kept.count == LedgerFile.maxSetAside)
        #expect(log.warnings.last?.contains("it is removed") == true)
    }

    @Test("what damages one file after the other is not followed at its pace") func damagedAgain() throws {
        let store = store()
        let damage = DatabaseError(.damaged, "malformed", operation: "read")
        for _ in 0..<100 {
            store.append(Sample.empty)
            store.work()
            try? store.inDatabase { _ throws(DatabaseError) in throw damage }
        }
        #expect(try folder.names.filter { $0.contains("damaged") && !$0.hasSuffix("-wal") }.count == 1)
        #expect(log.warnings.count == 2)  // one file is set aside, the next one rests
        clock.advance(by: LedgerFile.setAsideAgainAfter)
        store.work()
        #expect(store.counters[.written] == 100)
        #expect(log.lines.last?.hasSuffix("works again") == true)
    }

    @Test("where none are kept, none are taken") func keepNone() throws {
        let store = store(keep: .zero)
        store.append(Sample.empty)
        store.work()
        #expect(try store.count() == 0)
        store.keep(.seconds(1000))
        store.append(Sample.empty)
        store.work()
        #expect(try store.count() == 1)
        #expect(store.counters[.lost] == 0)
    }

    @Test("a row that SQLite refuses is lost, counted and told, not tried for ever") func refused() throws {
        let store = store()
        store.work()
        try store.inDatabase { database throws(DatabaseError) in
            try database.execute(
                "CREATE TRIGGER no BEFORE INSERT ON fact BEGIN SELECT RAISE(ABORT, 'refused by the test'); END")
        }
        store.append(Sample.empty)
        store.work()
        #expect(store.counters[.lost] == 1)
        #expect(log.warnings.count == 1)
        try store.inDatabase { database throws(DatabaseError) in try database.execute("DROP TRIGGER no") }
        store.append(Sample.empty)
        store.work()
        #expect(store.counters[.written] == 1)
    }

    @Test("a file of somebody else's is set aside, not written into") func foreign() throws {
        do {
            let other = try Database(path: folder.path("facts.sqlite"), options: .init())
            try other.execute("CREATE TABLE t (x); INSERT INTO t VALUES (1); CREATE TABLE u (x)")
        }
        let store = store()
        store.append(Sample.empty)
        store.work()
        #expect(try store.count() == 1)
        #expect(log.warnings.count == 1)
        #expect(log.warnings.first?.contains("expected a file of ours") == true)
    }

    @Test("a symbolic link is not followed") func symbolicLink() throws {
        try folder.write(Array("secret".utf8), to: "other")
        try FileManager.default.createSymbolicLink(
            atPath: folder.path("facts.sqlite"), withDestinationPath: folder.path("other"))
        let store = store()
        store.append(Sample.empty)
        store.work()
        #expect(try store.count() == 1)
        #expect(try folder.octets("other") == Array("secret".utf8))
        #expect(log.warnings.count == 1)
    }

    @Test("a full disk: facts wait, one warning, and it works again by itself") func fullDisk() throws {
        let store = store()
        store.append(Sample.empty)
        store.work()
        // It ends the file where the disk would, until it is opened anew (SQLITE_FULL).
        try store.inDatabase { database throws(DatabaseError) in try database.execute("PRAGMA max_page_count=16") }
        for number in 0..<2000 { store.append(try Sample.full(number)) }
        store.work()
        store.work()
        #expect(log.warnings.count == 1)
        #expect(log.warnings.first?.contains("is full") == true)
        #expect(store.counters[.lost] == 0)
        clock.advance(by: .seconds(11))
        store.work()  // opened anew, without the limit
        #expect(try store.count() == 2001)
        #expect(log.lines.last?.hasSuffix("works again") == true)
        #expect(try folder.names.filter { $0.contains("damaged") }.isEmpty)
    }

    @Test("a folder that is not there: facts wait, and come in when it is") func noFolder() throws {
        let path = folder.path("later/facts.sqlite")
        let store = FactStore(
            path: path, keep: .seconds(1000), log: log, now: { [clock] in clock.now() })
        store.append(Sample.empty)
        store.work()
        store.work()
        #expect(log.warnings.count == 1)
        try FileManager.default.createDirectory(atPath: folder.path("later"), withIntermediateDirectories: true)
        store.work()
        #expect(store.counters[.written] == 0)  // not tried again at once
        clock.advance(by: .seconds(11))
        store.work()
        #expect(store.counters[.written] == 1)
        #expect(log.warnings.count == 1)
        #expect(log.lines.last == "\(path): works again")
    }

    @Test("a file that was deleted under it is begun anew") func deleted() throws {
        let store = store()
        store.append(Sample.empty)
        store.work()
        try FileManager.default.removeItem(atPath: folder.path("facts.sqlite"))
        store.append(try Sample.full())
        store.work()
        store.stop()
        store.run()
        #expect(try all(self.store()) == [Sample.full()])
        #expect(log.warnings.count == 1)
    }

    @Test("mutations of the file never trap, and facts can always be appended") func mutations() throws {
        let store = store()
        for number in 0..<40 { store.append(try Sample.full(number)) }
        store.stop()
        store.run()
        let good = try folder.octets("facts.sqlite")
        var random = SeededRandom(seed: 7)
        for round in 0..<100 {
            var octets = good
            for _ in 0..<Int.random(in: 1...40, using: &random) {
                let place = Int.random(in: 0..<octets.count, using: &random)
                octets[place] = UInt8.random(in: 0...255, using: &random)
            }
            if round % 10 == 0 { octets = Array(octets.prefix(Int.random(in: 0...octets.count, using: &random))) }
            let folder = try TemporaryFolder()
            try folder.write(octets, to: "facts.sqlite")
            let store = FactStore(
                path: folder.path("facts.sqlite"), keep: .seconds(1_000_000), log: RecordingLog(),
                now: { [clock] in clock.now() })
            _ = try? store.count()
            _ = try? store.facts(since: UnixTime(seconds: 0), before: UnixTime(nanoseconds: .max))
            store.append(try Sample.full(99))
            store.stop()
            store.run()
            #expect(store.counters[.written] + store.counters[.lost] == 1, "round \(round)")
        }
    }
}
