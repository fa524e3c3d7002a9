// What greylisting has in memory before its file: it is seen at once, written soon, bounded, and lost by no trouble but the
// process's end.

import Foundation
import PosternAdmission
import PosternMail
import PostfixHarness
import TestSupport
import Testing

@testable import PosternStore

@Suite struct GreylistMemoryTests {
    let folder: TemporaryFolder
    let log = RecordingLog()
    let clock = ScriptedClock(Sample.start)
    let times = GreylistTimes(delay: .seconds(300), retryWithin: .seconds(7200), remember: .seconds(86_400))

    init() throws { folder = try TemporaryFolder() }

    func store(_ change: (inout GreylistStore.Limits) -> Void = { _ in }) -> GreylistStore {
        var limits = GreylistStore.Limits()
        change(&limits)
        return GreylistStore(
            path: folder.path("greylist.sqlite"), limits: limits, log: log, now: { [clock] in clock.now() })
    }

    func ask(_ store: GreylistStore, _ client: String, _ sender: String = "ann@example.net") throws -> String {
        GreylistBench.words(
            store.decide(try GreylistBench.request(client, sender), times: times, now: clock.now()))
    }

    @Test("a decision is seen by the next, and by an admin, before it is written") func seenAtOnce() throws {
        let store = store()
        _ = try ask(store, "192.0.2.7")
        clock.advance(by: .seconds(299))
        #expect(try ask(store, "192.0.2.7") == "wait 1")
        clock.advance(by: .seconds(1))
        #expect(try ask(store, "192.0.2.7") == "pass triplet 300")
        #expect(try ask(store, "192.0.2.7", "else@example.net") == "pass knownClient")
        #expect(store.pendingForTests == 2)
        #expect(try store.entries(withPrefix: "192.", after: nil, limit: 10).rows.count == 2)
        #expect(store.pendingForTests == 0)

        _ = try ask(store, "198.51.100.7")
        let key = GreylistKey.origin(try #require(GreylistOrigin("198.51.100.0/24")))
        #expect(try store.forget(key) == 1)
        #expect(try ask(store, "198.51.100.7") == "wait 300")
        try store.allow(key, now: clock.now())
        #expect(store.pendingForTests == 0)  // what an admin changes is written when he is told
        #expect(try ask(store, "198.51.100.7") == "pass knownClient")
        #expect(try store.entry(for: key)?.isAllowed == true)
    }

    @Test("it is written without anybody asking for it, and at the stop at once") func written() throws {
        let first = store { $0.gather = .milliseconds(1) }
        first.open()
        _ = try ask(first, "192.0.2.7")
        while first.pendingForTests > 0 { usleep(500) }
        _ = try ask(first, "198.51.100.7")
        first.close()
        #expect(first.pendingForTests == 0)
        let second = store { $0.gather = .seconds(1000) }
        second.open()
        _ = try ask(second, "203.0.113.7")
        #expect(try second.counts().waiting == 3)
        _ = try ask(second, "203.0.112.7")
        second.close()
        #expect(try store().counts().waiting == 4)
        #expect(log.events.isEmpty)
    }

    @Test("a great many are written without waiting for more") func enough() throws {
        let store = store { $0.gather = .seconds(1000) }
        store.open()
        // Twice as many as are enough, since the thread may write some when it begins.
        let count = GreylistWriter.commitRows * 2 + 10
        for number in 0..<count { _ = try ask(store, "10.0.0.1", "s\(number)@example.net") }
        while store.pendingForTests > GreylistWriter.commitRows { usleep(500) }
        store.close()
        #expect(try self.store().counts().waiting == count)
    }

    @Test("what waits to be written is bounded: then mail passes, one warning") func bounded() throws {
        let store = store { $0.unwritten = 10 }
        for number in 0..<10 { #expect(try ask(store, "10.0.\(number).1") == "wait 300") }
        for number in 10..<20 { #expect(try ask(store, "10.0.\(number).1") == "unavailable") }
        #expect(try ask(store, "10.0.3.1") == "wait 300")  // what changes nothing is still answered
        #expect(log.warnings.count == 1)
        #expect(log.warnings.first?.contains("10 changes wait to be written; mail passes") == true)
        try store.flush()
        #expect(try ask(store, "10.0.11.1") == "wait 300")
        #expect(log.warnings.count == 1)
        #expect(try store.counts().waiting == 11)
    }

    @Test("decisions that come faster than they are written slow down, and none is let pass") func crowded() throws {
        let store = store {
            $0.unwritten = 64
            $0.gather = .milliseconds(1)
        }
        store.open()
        for number in 0..<2000 { #expect(try ask(store, "10.0.0.1", "s\(number)@example.net") == "wait 300") }
        store.close()
        #expect(try self.store().counts().waiting == 2000)
        #expect(log.events.isEmpty)
    }

    @Test("memory holds few rows, the file the others") func smallMemory() throws {
        let store = store { $0.remembered = 4 }
        for number in 0..<200 { _ = try ask(store, "10.0.\(number).1") }
        try store.flush()
        clock.advance(by: .seconds(300))
        for number in 0..<200 { #expect(try ask(store, "10.0.\(number).1") == "pass triplet 300") }
        try store.flush()
        for number in 0..<200 { #expect(try ask(store, "10.0.\(number).1") == "pass knownClient") }
        #expect(try store.counts() == GreylistCounts(waiting: 0, passed: 200, clients: 200, domains: 0))
    }

    @Test("the filter of a file that is there already knows all of it, whenever it is made") func filterOfFile() throws
    {
        let old = store()
        for number in 0..<20_000 { _ = try ask(old, "10.\(number / 250).\(number % 250).1") }
        old.close()
        clock.advance(by: .seconds(300))
        let new = store { $0.remembered = 4 }
        new.open()  // its thread makes the filter meanwhile
        for number in 0..<20_000 {
            #expect(try ask(new, "10.\(number / 250).\(number % 250).1") == "pass triplet 300")
            if number == 10_000 { new.buildFilterForTests() }
        }
        new.close()
        #expect(log.events.isEmpty)
    }

    @Test("a filter forgets nothing, takes few strangers for friends, and says when it is full") func filter() {
        var random = SeededRandom(seed: 5)
        let inside = (0..<GreylistFilter.leastCapacity).map { _ in random.next() }
        var filter = GreylistFilter(capacity: 0)
        for hash in inside + inside.prefix(1000) { filter.insert(hash) }
        #expect(inside.allSatisfy { filter.mayHold($0) })
        let mistaken = (0..<100_000).count { _ in filter.mayHold(random.next()) }
        #expect((1..<3000).contains(mistaken))
        // Whom it took for a friend when he came is not counted, nor who came twice.
        #expect((filter.capacity * 98 / 100...filter.capacity).contains(filter.count))
        #expect(!GreylistFilter(capacity: 0).mayHold(0))
    }

    @Test("what was committed is let go, what was not never") func letGo() throws {
        let hash = try #require(SipHash(key: Array(0..<16)))
        func key(_ number: Int) -> GreylistRowKey {
            GreylistRowKey(octets: Array("192.0.2.0/24\0\(number)\0b".utf8), form: .triplet, hash: hash)
        }
        var memory = GreylistMemory(capacity: 10, maxPending: 1000, enough: 50)
        memory.adopt(serial: 1, hash: hash, isEmpty: true, capacity: 0)
        let wakes = (0..<100).filter { memory.set(GreylistEntry(firstSeen: Sample.start), for: key($0)) }
        #expect(wakes == [0, 49])
        #expect(memory.pending == 100)
        let changes = memory.take(atMost: 60)
        #expect(changes.map(\.key) == (0..<60).map(key))
        #expect(memory.pending == 100)
        _ = memory.set(nil, for: key(0))  // while it is being written
        #expect(memory.take(atMost: 1000).map(\.key) == (60..<100).map(key))  // a row for a key: that one waits
        #expect(memory.take(atMost: 1000).isEmpty)
        memory.takeBack((60..<100).map { GreylistMemory.Change(key: key($0), entry: nil, place: .none) })
        memory.wrote(changes.map { ($0.key, .row(id: 7, kind: 0)) }, 1)
        #expect(memory.pending == 41)
        for number in 200..<400 { memory.load(key(number), nil, .none) }
        #expect((0..<60).filter { memory.entry(key($0)) != nil }.isEmpty)
        #expect((60..<100).allSatisfy { memory.entry(key($0)) != nil })
        let rest = memory.take(atMost: 1000)
        #expect(rest.first?.key == key(0))
        #expect(rest.first?.place == .row(id: 7, kind: 0))
        #expect(rest.first?.entry == nil)
        memory.takeBack(rest)
        #expect(memory.pending == 41)
        // The file is replaced: what waits is written to the new one, whose secret is another.
        let other = try #require(SipHash(key: Array(1...16)))
        memory.adopt(serial: 2, hash: other, isEmpty: true, capacity: 0)
        memory.wrote(changes.map { ($0.key, .row(id: 7, kind: 0)) }, 1)  // too late
        let again = memory.take(atMost: 1000)
        #expect(again.count == 41)
        #expect(again.allSatisfy { $0.place == .unknown && $0.key.hash == other($0.key.octets) })
    }

    @Test("a row's octets are its key's") func rowKeys() throws {
        let hash = try #require(SipHash(key: Array(0..<16)))
        let texts = ["2001:db8::/64", "::/0", "0.0.0.0/0", "255.255.255.255", "example.net", "_a.xn--4ca.example"]
        var origins = texts.compactMap { GreylistOrigin($0) }
        #expect(origins.count == texts.count)
        origins.append(.domain(try DomainName(labels: [Array("a.b\\".utf8), Array("c".utf8)])))
        origins.append(.domain(.root))
        var random = SeededRandom(seed: 6)
        for _ in 0..<500 {
            let length = Int.random(in: 0...32, using: &random)
            origins.append(
                .client(Network(containing: .v4(UInt32.random(in: 0 ... .max, using: &random)), prefixLength: length)))
        }
        for origin in origins {
            for key in [
                GreylistKey.origin(origin), .triplet(origin, [], []), .triplet(origin, Array("A@b".utf8), [0xFF]),
            ] {
                #expect(GreylistRowKey(key, hash: hash).octets == key.octets)
            }
        }
    }
}
