// A disk that is full or read-only, as it is: half a megabyte of tmpfs. Only root can mount one; elsewhere the limits
// that SQLite sets itself stand for it (FactStoreTests, GreylistStoreTests).

import Foundation
import PosternAdmission
import PosternMail
import PostfixHarness
import TestSupport
import Testing

@testable import PosternStore

@Suite(.serialized, .enabled(if: SmallDisk.isPossible, "expected to be allowed to mount tmpfs"))
struct SmallDiskTests {
    let log = RecordingLog()
    let clock = ScriptedClock(Sample.start)
    let times = GreylistTimes(delay: .seconds(300), retryWithin: .seconds(7200), remember: .seconds(86_400))

    func ask(_ store: GreylistStore, _ client: String) throws -> String {
        GreylistBench.words(store.decide(try GreylistBench.request(client), times: times, now: clock.now()))
    }

    @Test("greylist: full while it writes") func greylistFull() throws {
        let disk = try SmallDisk()
        let store = GreylistStore(
            path: disk.folder.path("greylist.sqlite"), log: log, now: { [clock] in clock.now() })
        #expect(try ask(store, "192.0.2.7") == "wait 300")
        try disk.fill()
        var answers: [String] = []
        for number in 0..<2000 {
            answers.append(try ask(store, "10.\(number / 250).\(number % 250).1"))
            if number % 100 == 99 { try? store.flush() }  // its failure is what is looked for
        }
        #expect(answers.last == "unavailable")
        #expect(log.warnings.count == 1, "\(log.warnings)")
        clock.advance(by: .seconds(11))
        _ = try ask(store, "192.0.2.7")
        #expect(log.warnings.count == 1, "\(log.warnings)")
        try disk.empty()
        clock.advance(by: .seconds(289))
        #expect(try ask(store, "192.0.2.7") == "pass triplet 300")
        #expect(log.lines.last?.hasSuffix("works again") == true)
        #expect(try disk.folder.names.filter { $0.contains("damaged") }.isEmpty)
    }

    @Test("greylist: full from the start") func greylistFullAtStart() throws {
        let disk = try SmallDisk()
        try disk.fill()
        let store = GreylistStore(
            path: disk.folder.path("greylist.sqlite"), log: log, now: { [clock] in clock.now() })
        for _ in 0..<10 { #expect(try ask(store, "192.0.2.7") == "unavailable") }
        #expect(log.warnings.count == 1)
        try disk.empty()
        clock.advance(by: .seconds(11))
        #expect(try ask(store, "192.0.2.7") == "wait 300")
    }

    @Test("greylist: read-only, and writable again") func greylistReadOnly() throws {
        let disk = try SmallDisk()
        let path = disk.folder.path("greylist.sqlite")
        let first = GreylistStore(path: path, log: log, now: { [clock] in clock.now() })
        #expect(try ask(first, "192.0.2.7") == "wait 300")
        first.close()
        try disk.remount(readOnly: true)
        let store = GreylistStore(path: path, log: log, now: { [clock] in clock.now() })
        for _ in 0..<10 { #expect(try ask(store, "192.0.2.7") == "unavailable") }
        #expect(log.warnings.count == 1)
        #expect(try disk.folder.names.filter { $0.contains("damaged") }.isEmpty)
        try disk.remount(readOnly: false)
        clock.advance(by: .seconds(100))
        #expect(try ask(store, "192.0.2.7") == "wait 200")
    }

    @Test("facts: full while it writes; none is lost while the queue holds them") func factsFull() throws {
        let disk = try SmallDisk()
        let store = FactStore(
            path: disk.folder.path("facts.sqlite"), keep: .seconds(100_000), log: log, now: { [clock] in clock.now() })
        store.append(try Sample.full())
        store.work()
        try disk.fill()
        for number in 0..<1000 { store.append(try Sample.full(number)) }
        store.work()
        store.work()
        #expect(log.warnings.count == 1)
        #expect(store.counters[.lost] == 0)
        try disk.empty()
        clock.advance(by: .seconds(11))
        store.work()
        #expect(store.counters[.written] > 100)  // as much as half a megabyte holds
        #expect(store.counters[.lost] == 0)
    }
}
