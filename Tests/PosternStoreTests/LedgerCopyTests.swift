// Copies of ledgers that are made while others decide: of one moment, whole, and in nobody's way.

import Foundation
import Glibc
import PosternAdmission
import PosternMail
import PostfixHarness
import Synchronization
import TestSupport
import Testing

@testable import PosternStore

@Suite("ledgers: copies for backups")
struct LedgerCopyTests {
    let folder: TemporaryFolder
    let log = RecordingLog()
    let clock = ScriptedClock(Sample.start)
    private let times = GreylistTimes(delay: .seconds(300), retryWithin: .seconds(7200), remember: .seconds(86_400))

    init() throws { folder = try TemporaryFolder() }

    private func greylist(_ name: String = "greylist.sqlite") -> GreylistStore {
        GreylistStore(path: folder.path(name), log: log, now: { [clock] in clock.now() })
    }

    private func ask(_ store: GreylistStore, _ number: Int) throws -> String {
        let request = try GreylistBench.request("192.0.\(number / 250 % 250).\(number % 250)", "s\(number)@example.net")
        return GreylistBench.words(store.decide(request, times: times, now: clock.now()))
    }

    @Test("a greylist is copied while it decides: all from before the copy, whole, and no decision fails")
    func greylistUnderLoad() throws {
        let store = greylist()
        store.open()
        let before = 20_000
        for number in 0..<before { #expect(try ask(store, number) == "wait 300") }
        let isEnding = Atomic<Bool>(false)
        let decided = Atomic<Int>(0)
        let load = Foundation.Thread { [self] in
            var number = before
            while !isEnding.load(ordering: .relaxed) {
                if (try? ask(store, number)) == "wait 300" { decided.add(1, ordering: .relaxed) }
                number += 1
            }
        }
        load.start()
        while decided.load(ordering: .relaxed) < 1000 { usleep(1000) }
        var told: [(Int, Int)] = []
        #expect(
            try store.copy(to: folder.path("copy.sqlite")) { written, total in
                told.append((written, total))
                return true
            })
        isEnding.store(true, ordering: .relaxed)
        #expect(told.count >= 2)
        #expect(told.allSatisfy { $0.0 <= $0.1 })
        #expect(try folder.mode("copy.sqlite") == 0o600)
        let real = try #require(realpath(folder.path("copy.sqlite"), nil))
        defer { free(real) }
        let counts = try LedgerInspection.greylist(String(cString: real))
        let waiting = try #require(counts.first?.number)
        #expect(waiting >= before + 1000)
        store.close()
        let copy = greylist("copy.sqlite")
        clock.advance(by: .seconds(300))
        for number in [0, before / 2, before - 1] { #expect(try ask(copy, number) == "pass triplet 300") }
        copy.close()
        #expect(log.events.isEmpty)
    }

    @Test("a copy that is no longer wanted ends, and the ledger goes on")
    func unwanted() throws {
        let store = greylist()
        for number in 0..<20_000 { _ = try ask(store, number) }
        var count = 0
        #expect(throws: DatabaseError.self) {
            try store.copy(to: folder.path("copy.sqlite")) { _, _ in
                count += 1
                return false
            }
        }
        #expect(count == 1)
        #expect(try ask(store, 20_000) == "wait 300")
        #expect(try store.copy(to: folder.path("copy.sqlite")) { _, _ in true })
        store.close()
        #expect(try folder.names == ["copy.sqlite", "greylist.sqlite"])
        #expect(log.events.isEmpty)
    }

    @Test("a copy that cannot be written is its own trouble, not the ledger's")
    func unwritable() throws {
        let store = greylist()
        _ = try ask(store, 1)
        #expect(throws: DatabaseError.self) { try store.copy(to: folder.path("none/copy")) { _, _ in true } }
        #expect(store.health.isWorking)
        #expect(try ask(store, 2) == "wait 300")
        store.close()
        #expect(log.events.isEmpty)
    }

    @Test("of what has no file nothing is copied, and none is made")
    func nothing() throws {
        #expect(try !greylist().copy(to: folder.path("copy")) { _, _ in true })
        let facts = FactStore(
            path: folder.path("facts.sqlite"), keep: .seconds(60), log: log, now: { [clock] in clock.now() })
        #expect(try !facts.copy(to: folder.path("copy")) { _, _ in true })
        let limits = LimitStore(path: folder.path(LimitStore.name), log: log, wall: { [clock] in clock.now() })
        #expect(throws: Never.self) { _ = limits.health }
        #expect(try folder.names.isEmpty)
    }

    @Test("facts are copied with what belongs to them")
    func facts() throws {
        let store = FactStore(
            path: folder.path("facts.sqlite"), keep: .seconds(86_400 * 90), log: log, now: { [clock] in clock.now() })
        for number in 0..<300 { store.append(try Sample.full(number)) }
        store.work()
        #expect(try store.copy(to: folder.path("copy.sqlite")) { _, _ in true })
        let real = try #require(realpath(folder.path("copy.sqlite"), nil))
        defer { free(real) }
        #expect(try LedgerInspection.facts(String(cString: real)).first?.number == 300)
    }

    @Test("limits are copied up to the moment of the copy, and a torn end is told from whole records")
    func limits() throws {
        let settings = LimitSettings(
            name: "per account", per: [.saslUsername], count: .recipients,
            allow: [AllowedRate(amount: 1000, span: .seconds(3600))], action: .hold(""), ipv4Prefix: 32, ipv6Prefix: 64,
            except: [], block: .zero, window: .sliding, shadow: false)
        let terms = LimitTerms(settings, number: 0)
        func opened(_ name: String) -> LimitStore {
            let store = LimitStore(path: folder.path(name), log: log, wall: { [clock] in clock.now() })
            store.prepare([terms])
            store.open(now: clock.now(), writes: false)
            return store
        }
        let store = opened(LimitStore.name)
        for number in 0..<400 {
            let charge = LimitCharge(terms, LimitKey(text: "ann\(number % 40)"), amount: 1, isTotal: false)
            let request = LimitRequest(
                charges: [charge], instance: [], connection: [], service: [], client: nil, account: [], totals: nil)
            _ = store.decide(request, now: clock.now())
            if number % 100 == 0 { store.flush() }
        }
        #expect(try store.copy(to: folder.path("copy")) { _, _ in true })  // nothing was flushed before
        let copy = opened("copy")
        #expect(copy.entries(for: LimitKey(text: "ann7"), now: clock.now()).first?.uses.first?.used == 10)
        copy.close()

        let whole = try Data(contentsOf: URL(filePath: folder.path("copy")))
        for more in [0, 1, 7, 40] {
            let path = folder.path("torn")
            try (whole + Data(repeating: 0x5A, count: more)).write(to: URL(filePath: path))
            let file = open(path, O_RDONLY)
            defer { Glibc.close(file) }
            #expect(try LedgerRest.wholeOctets(ofLimits: file) == whole.count, "\(more)")
        }
        let file = open("/dev/null", O_RDONLY)
        defer { Glibc.close(file) }
        #expect(throws: DatabaseError.self) { try LedgerRest.wholeOctets(ofLimits: file) }
        store.close()
    }
}
