// Greylisting while its shared store is gone, hangs, is full or takes no writes, with a real server: nobody is refused or
// waits longer for it, and what was decided meanwhile is there afterwards. The clock is scripted; the store is not.

import Glibc
import PosternAdmission
import PosternMail
import PostfixHarness
import Synchronization
import TestSupport
import Testing

@testable import PosternStore

@Suite("The shared greylist without its store", .enabled(if: RedisInstance.isAvailable))
struct SharedGreylistFailureTests {
    private let known = "192.0.2.7"
    private let early = "198.51.100.7"
    private let stranger = "203.0.113.7"

    /// Before the trouble: one client is known, and another waits since 100 s.
    private func prepared(_ bench: SharedBench) throws {
        #expect(try bench.ask(known) == "wait 300")
        bench.clock.advance(by: .seconds(300))
        #expect(try bench.ask(known) == "pass triplet 300")
        #expect(try bench.ask(early) == "wait 300")
        bench.clock.advance(by: .seconds(100))
        try bench.ledger.flush()
        #expect(bench.localDecisions == 0)
    }

    /// What the host answers alone, for 300 s.
    private func alone(_ bench: SharedBench) throws {
        #expect(try bench.ask(known, "new@example.com") == "pass knownClient")
        #expect(try bench.ask(early) == "wait 200")  // its wait goes on
        #expect(try bench.ask(stranger) == "wait 300")
        bench.clock.advance(by: .seconds(200))
        #expect(try bench.ask(early) == "pass triplet 300")
        bench.clock.advance(by: .seconds(100))
        #expect(try bench.ask(stranger) == "pass triplet 300")
        #expect(bench.localDecisions > 0)
        #expect(bench.ledger.courier.debts > 0)
    }

    /// The store works again: all is told to it, and another host sees it.
    private func returned(_ bench: SharedBench) throws {
        try Await.until("the store to be back") { bench.store.isWorking }
        try Await.until("everything to be merged") {
            try bench.ledger.flush()
            return bench.ledger.courier.debts == 0
        }
        let local = bench.localDecisions
        let other = try SharedBench(bench.instance, at: bench.clock.now())
        for client in [known, early, stranger] {
            #expect(try other.ask(client, "else@example.com") == "pass knownClient")
            #expect(try bench.ask(client, "more@example.com") == "pass knownClient")
        }
        #expect(try other.ask("203.0.112.1") == "wait 300")
        #expect(bench.localDecisions == local && other.localDecisions == 0)
        #expect(bench.log.warnings.count == 1, "\(bench.log.warnings)")
        #expect(bench.log.lines.contains { $0.contains("greylist entries that this host decided about") })
    }

    @Test("killed, and back with nothing")
    func killed() throws {
        let bench = try SharedBench()
        try prepared(bench)
        bench.instance.kill()
        try alone(bench)
        try bench.instance.start()
        try returned(bench)
    }

    @Test("stopped in the middle of everything: a decision waits for the store's timeout at most")
    func paused() throws {
        let bench = try SharedBench(timeout: .seconds(3))
        try prepared(bench)
        bench.instance.pause()
        try alone(bench)
        bench.instance.resume()
        try returned(bench)
    }

    @Test("full: what is known is told by the host, what is new is kept by it")
    func full() throws {
        let bench = try SharedBench()
        try prepared(bench)
        try bench.instance.command("CONFIG", "SET", "maxmemory-policy", "noeviction")
        try bench.instance.command("CONFIG", "SET", "maxmemory", "1")
        #expect(try bench.ask(stranger) == "wait 300")  // this write fails
        try alone(bench)
        try bench.instance.command("CONFIG", "SET", "maxmemory", "0")
        try returned(bench)
    }

    @Test("read-only: a replica of a master that is gone")
    func readOnly() throws {
        let bench = try SharedBench()
        try prepared(bench)
        try bench.instance.command("REPLICAOF", "127.0.0.1", "1")
        #expect(try bench.ask(stranger) == "wait 300")
        try alone(bench)
        try bench.instance.command("REPLICAOF", "NO", "ONE")
        try returned(bench)
    }

    @Test("a wait that was served here counts before the store has been told of it")
    func window() throws {
        let bench = try SharedBench()
        try prepared(bench)
        bench.instance.kill()
        #expect(try bench.ask(stranger) == "wait 300")
        bench.clock.advance(by: .seconds(300))
        try bench.instance.start()
        try Await.until("the store to be back") { bench.store.isWorking }
        #expect(bench.ledger.courier.debts > 0)
        #expect(try bench.ask(stranger) == "pass triplet 300")
        #expect(try bench.ask("203.0.112.1") == "wait 300")  // another is the store's to decide
    }

    @Test("the host's thread learns and tells by itself")
    func thread() throws {
        let bench = try SharedBench()
        bench.ledger.open()
        defer { bench.ledger.close() }
        #expect(try bench.ask(known) == "wait 300")
        try Await.until("the host to learn") { try bench.local.counts().waiting == 1 }
        bench.instance.kill()
        bench.clock.advance(by: .seconds(300))
        try Await.until("the store to be missed") {
            try bench.ask(stranger, "a@b.example") != "" && !bench.store.isWorking
        }
        #expect(try bench.ask(known) == "pass triplet 300")
        try bench.instance.start()
        try Await.until("the store to be told") { bench.ledger.courier.debts == 0 }
        #expect(try bench.ledger.counts().clients == 1)
    }

    @Test("it restarts between two decisions and has lost everything: it gets it back, and nobody waits for that")
    func lost() throws {
        var limits = SharedGreylistCourier.Limits()
        limits.pulse = .zero
        let bench = try SharedBench(limits: limits)
        try prepared(bench)
        let many = 3000
        let rows = (0..<many).map { number in
            let network = Network(containing: .v4(UInt32(0x0A00_0000 + number << 8)), prefixLength: 24)
            return GreylistPage.Row(
                .origin(.client(network)),
                GreylistEntry(firstSeen: Sample.start, lastSeen: bench.clock.now(), passedSince: Sample.start))
        }
        _ = try bench.local.adopt(rows, times: bench.times, now: bench.clock.now())
        try bench.instance.restart()
        #expect(try bench.ask("203.0.112.1") == "wait 300")
        try bench.ledger.flush()
        #expect(bench.log.lines.contains { $0.contains("it has lost what it knew") })
        #expect(bench.ledger.courier.isMending)
        #expect(try bench.ask(known, "else@example.com") == "pass knownClient")
        #expect(try bench.ask(early) == "wait 200")
        try Await.until("everything to be back") {
            try bench.ledger.flush()
            return try bench.rows().count >= many + 4
        }
        #expect(bench.ledger.courier.count(.restored) >= many)
        let other = try SharedBench(bench.instance, at: bench.clock.now())
        #expect(try other.ask(known, "more@example.com") == "pass knownClient")
        #expect(try other.ask(early) == "wait 200")
        #expect(bench.log.warnings.isEmpty && other.log.warnings.isEmpty)
    }

    @Test("it comes back with what it knew a while ago: what is newer goes back, what is older does not")
    func lostInPart() throws {
        var limits = SharedGreylistCourier.Limits()
        limits.pulse = .zero
        let bench = try SharedBench(limits: limits)
        try prepared(bench)
        try bench.instance.command("SAVE")
        bench.clock.advance(by: .seconds(1000))
        #expect(try bench.ask(stranger) == "wait 300")
        bench.clock.advance(by: .seconds(300))
        #expect(try bench.ask(stranger) == "pass triplet 300")
        try bench.ledger.flush()
        bench.instance.kill()  // without another snapshot
        try bench.instance.start()
        #expect(try bench.rows().count == 3)
        // An entry that only the host has, from before the snapshot.
        let old = GreylistKey.origin(try #require(GreylistOrigin("10.0.0.0/24")))
        _ = try bench.local.adopt(
            [GreylistPage.Row(old, GreylistEntry(firstSeen: Sample.start, passedSince: Sample.start))],
            times: bench.times, now: bench.clock.now())
        try bench.ledger.flush()
        #expect(bench.log.lines.contains { $0.contains("of the last 1400 s") }, "\(bench.log.lines)")
        #expect(try bench.rows().count == 5)
        #expect(try bench.ledger.entry(for: old) == nil)
    }

    @Test("a busy client is learnt once")
    func learntOnce() throws {
        let bench = try SharedBench()
        try prepared(bench)
        let learnt = bench.ledger.courier.count(.learnt)
        for _ in 0..<50 { #expect(try bench.ask(known) == "pass knownClient") }
        try bench.ledger.flush()
        #expect(bench.ledger.courier.count(.learnt) <= learnt + 1)
    }

    private final class Tally: Sendable {
        let isEnding = Atomic(false)
        let decided = Atomic(0)
        let wrong = Atomic(0)
        let asked = Mutex<Set<GreylistKey>>([])
    }

    @Test("threads decide while it comes and goes: each gets an answer, and the store has them all in the end")
    func flapping() throws {
        var limits = SharedGreylistCourier.Limits()
        (limits.pulse, limits.pause, limits.gather) = (.milliseconds(20), .milliseconds(10), .milliseconds(5))
        let bench = try SharedBench(timeout: .milliseconds(300), limits: limits)
        bench.ledger.open()
        defer { bench.ledger.close() }
        let threads = 4
        let tally = Tally()
        let handles = try (0..<threads).map { thread in
            try SystemThread.start {
                var number = 0
                while !tally.isEnding.load(ordering: .relaxed) {
                    number += 1
                    let client = Network(containing: .v4(UInt32(thread << 24 + number << 8)), prefixLength: 24)
                    let request = GreylistRequest(client: client, sender: [], recipient: [0x62], identity: .none)
                    let answer = bench.ledger.decide(request, times: bench.times, now: bench.clock.now())
                    if case .wait(.seconds(300), _) = answer {} else { tally.wrong.add(1, ordering: .relaxed) }
                    tally.decided.add(1, ordering: .relaxed)
                    _ = tally.asked.withLock {
                        $0.insert(.normalTriplet(.client(client), sender: [], recipient: [0x62]))
                    }
                    usleep(1000)
                }
            }
        }
        func more(_ count: Int) throws {
            let before = tally.decided.load(ordering: .relaxed)
            try Await.until("\(count) decisions") { tally.decided.load(ordering: .relaxed) >= before + count }
        }
        for _ in 0..<3 {
            try more(300)
            bench.instance.kill()
            try more(300)
            try bench.instance.start()
            try Await.until("the store to be back") { bench.store.isWorking }
            try more(300)
            bench.instance.pause()
            try more(100)
            bench.instance.resume()
            try Await.until("the store to be back") { bench.store.isWorking }
        }
        tally.isEnding.store(true, ordering: .relaxed)
        for handle in handles { pthread_join(handle, nil) }
        #expect(tally.wrong.load(ordering: .relaxed) == 0)
        #expect(bench.localDecisions > 0)
        let all = tally.asked.withLock { $0 }
        #expect(bench.ledger.courier.count(.dropped) == 0 && bench.ledger.courier.count(.unmerged) == 0)
        try Await.until("the store to have all of them") {
            // A page that is late on a busy machine is none: all are asked for again.
            guard let rows = try? bench.rows() else { return false }
            let missing = all.subtracting(rows.keys)
            // Told by a server that died before the answer was kept: one of each thread at most.
            return missing.count <= 3 * threads && bench.ledger.courier.debts == 0
        }
    }

    @Test("what does not fit is counted, and told once")
    func bounds() throws {
        var limits = SharedGreylistCourier.Limits()
        (limits.learns, limits.owes) = (10, 4)
        let bench = try SharedBench(limits: limits)
        for number in 0..<20 { #expect(try bench.ask("192.0.\(number).7") == "wait 300") }
        #expect(bench.ledger.courier.count(.dropped) == 10)
        try bench.ledger.flush()
        #expect(bench.ledger.courier.count(.learnt) == 10)
        bench.instance.kill()
        for number in 20..<40 { #expect(try bench.ask("192.0.\(number).7") == "wait 300") }
        #expect(bench.ledger.courier.debts == 4)
        #expect(bench.ledger.courier.count(.unmerged) == 36)
        #expect(bench.log.warnings.filter { $0.contains("4 entries") }.count == 1)
        bench.ledger.close()
        #expect(bench.ledger.courier.count(.unmerged) == 40)
        #expect(bench.log.warnings.contains { $0.contains("4 greylist entries") })
    }

    /// The store is not tried by itself.
    private static let patient = Duration.seconds(1000) ... .seconds(1000)

    @Test("at its end it tells the store what waits, if that is back")
    func farewell() throws {
        let bench = try SharedBench(pauses: Self.patient)
        bench.ledger.open()
        try prepared(bench)
        bench.instance.kill()
        #expect(try bench.ask(stranger) == "wait 300")
        let waiting = CounterName("postern_shared_store_waiting", "ledger", "greylist")
        #expect(bench.ledger.waiting > 0)
        #expect(bench.ledger.readings.first { $0.name == waiting }?.value == UInt64(bench.ledger.waiting))
        try bench.instance.start()
        #expect(!bench.store.isWorking)
        bench.ledger.close()
        #expect(bench.ledger.waiting == 0)
        #expect(bench.log.warnings.count == 1, "\(bench.log.warnings)")
        let other = try SharedBench(bench.instance, at: bench.clock.now())
        other.clock.advance(by: .seconds(300))
        #expect(try other.ask(stranger) == "pass triplet 300")
    }

    @Test("at its end it waits for a store that hangs no longer than the timeout, and says what that was not told")
    func farewellToNobody() throws {
        let bench = try SharedBench(timeout: .milliseconds(100), pauses: Self.patient)
        bench.instance.pause()
        #expect(try bench.ask(stranger) == "wait 300")
        let waiting = bench.ledger.waiting
        bench.ledger.close()
        #expect(bench.log.warnings.count == 2, "\(bench.log.warnings)")
        #expect(bench.log.warnings.last?.contains(": \(waiting) greylist entries") == true)
    }

    @Test("what an admin has made the store forget is not brought back by a host that was cut off")
    func forgotten() throws {
        let bench = try SharedBench()
        try prepared(bench)
        let other = try SharedBench(bench.instance, at: bench.clock.now())
        let client = GreylistKey.origin(try #require(GreylistOrigin("192.0.2.0/24")))
        #expect(try other.ask(stranger) == "wait 300")
        #expect(try other.ledger.forget(client) == 2)
        bench.instance.pause()
        bench.clock.advance(by: .seconds(10))
        // This host has not heard of it, and goes by its own ledger.
        let cutOff = try SharedBench(bench.instance, at: bench.clock.now(), timeout: .seconds(2))
        _ = try cutOff.local.adopt(
            [GreylistPage.Row(client, GreylistEntry(firstSeen: Sample.start, passedSince: Sample.start))],
            times: cutOff.times, now: cutOff.clock.now())
        #expect(try cutOff.ask(known) == "pass knownClient")
        bench.instance.resume()
        try Await.until("the store to be back") { cutOff.store.isWorking }
        try Await.until("everything to be merged") {
            try cutOff.ledger.flush()
            return cutOff.ledger.courier.debts == 0
        }
        #expect(try cutOff.ledger.entry(for: client) == nil)
        other.clock.advance(by: .seconds(10))
        #expect(try other.ask(known) == "wait 300")
    }

    @Test("admins are told that there is no answer")
    func admin() throws {
        let bench = try SharedBench()
        try prepared(bench)
        bench.instance.kill()
        _ = try bench.ask(known)
        let client = GreylistKey.origin(try #require(GreylistOrigin("192.0.2.0/24")))
        #expect(throws: GreylistUnavailable.self) { try bench.ledger.counts() }
        #expect(throws: GreylistUnavailable.self) { try bench.ledger.entry(for: client) }
        #expect(throws: GreylistUnavailable.self) { try bench.ledger.allow(client, now: bench.clock.now()) }
        #expect(throws: GreylistUnavailable.self) { try bench.ledger.forget(client) }
        #expect(throws: GreylistUnavailable.self) {
            try bench.ledger.adopt(
                [GreylistPage.Row(client, GreylistEntry(firstSeen: Sample.start))], times: bench.times,
                now: Sample.start)
        }
        #expect(throws: GreylistUnavailable.self) { try bench.ledger.entries(withPrefix: "", after: nil, limit: 5) }
    }
}
