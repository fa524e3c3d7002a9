// What becomes of limits when the store that hosts share is killed, stands still, is full or takes no writes, and when
// clocks disagree: nothing is refused for its absence, decisions go on from what is known, and afterwards the store has
// all that was counted, once.

import AdmissionSupport
import Glibc
import PosternAdmission
import PosternMail
import PostfixHarness
import Synchronization
import TestSupport
import Testing

@testable import PosternStore

@Suite("shared limits without their store", .enabled(if: RedisInstance.isAvailable), .serialized)
struct SharedLimitFailureTests {
    private static let hour = Duration.seconds(3600)
    /// A kill -9 loses nothing that was answered.
    private static let durable = ["appendonly yes", "appendfsync always"]

    @Test("killed: each host goes on from what it knew, and the store is told of all when it is back")
    func killed() throws {
        let ground = try SharedLimitGround([.of(allow: [(10, Self.hour)])], options: Self.durable)
        let (mx1, mx2) = (ground.mx1, ground.mx2)
        #expect(mx1.recipients(mx1.message(), 4) == 4)
        #expect(mx2.recipients(mx2.message(), 3) == 3)
        ground.redis.kill()
        #expect(mx2.recipients(mx2.message(), 5) == 3, "it knew of 7")
        #expect(mx1.recipients(mx1.message(), 2) == 2, "it knew of 4")
        #expect(mx1.limits.debts.keys == 1)
        #expect(mx1.limits.counts().keys == 1)
        try ground.redis.start()
        for host in ground.hosts { try host.awaitReturn() }
        #expect(try mx1.used() == 12)
        #expect(mx1.recipients(mx1.message(), 1) == 0 && mx2.recipients(mx2.message(), 1) == 0)
        ground.clock.advance(by: .seconds(3900))
        #expect(mx1.recipients(mx1.message(), 11) == 10, "what was told late went when it should")
    }

    @Test("paused: what was sent is taken for done, and it was; what came then is told afterwards")
    func paused() throws {
        let ground = try SharedLimitGround(
            [.of(allow: [(100, Self.hour)])], hosts: 1, timeout: .seconds(2))
        let host = ground.mx1
        #expect(host.recipients(host.message(), 1) == 1)
        ground.redis.pause()
        #expect(host.recipients(host.message(), 6) == 6)
        ground.redis.resume()
        try host.awaitReturn()
        #expect(try host.used() == 7)
    }

    @Test(
        "full, or without its replicas: it says no, and is told afterwards",
        arguments: [("maxmemory", "1", "0"), ("min-replicas-to-write", "1", "0")])
    func refusing(_ option: String, _ bad: String, _ good: String) throws {
        let ground = try SharedLimitGround([.of(allow: [(5, Self.hour)])])
        // Redis 6.0 asks for replicas where a command writes, and not where a script does.
        if option == "min-replicas-to-write", try ground.redis.version().hasPrefix("6.0.") { return }
        let (mx1, mx2) = (ground.mx1, ground.mx2)
        #expect(mx1.recipients(mx1.message(), 2) == 2)
        try ground.redis.command("CONFIG", "SET", option, bad)
        #expect(mx1.recipients(mx1.message(), 2) == 2)
        try ground.redis.command("CONFIG", "SET", option, good)
        try mx1.awaitReturn()
        #expect(try mx2.used() == 4)
        try Await.until("the store to be asked again") { mx2.store.isWorking }
        #expect(mx2.recipients(mx2.message(), 2) == 1)
        #expect(ground.log.warnings.count == 1, "\(ground.log.warnings)")
    }

    @Test(
        "killed and started again under load: nobody is refused, nothing counts twice, lost is only what was on its way"
    )
    func underLoad() throws {
        let ground = try SharedLimitGround(
            [.of(allow: [(1_000_000, Self.hour)])], options: Self.durable, usesCallersClock: false)
        let admitted = Atomic<Int>(0)
        let isEnding = Atomic<Bool>(false)
        let (judge, ledgers) = (ground.judge, ground.hosts.map(\.limits))
        let clock = LimitClock(wall: UnixTime(seconds: 1_790_000_000))
        let refused = Atomic<Int>(0)
        let threads = try (0..<8).map { worker in
            try SystemThread.start {
                var number = 0
                while !isEnding.load(ordering: .relaxed) {
                    number += 1
                    var message = LimitMessage("load-\(worker)-\(number)")
                    message.port = "\(worker + 1)"
                    let verdict = judge.verdict(
                        on: message.request(.rcpt, recipient: "a@example.net"), ledger: ledgers[worker % 2],
                        now: clock.now())
                    if verdict.answer == .dunno {
                        admitted.add(1, ordering: .relaxed)
                    } else {
                        refused.add(1, ordering: .relaxed)
                    }
                }
            }
        }
        func awaitDecisions(_ more: Int) throws {
            let goal = admitted.load(ordering: .relaxed) + more
            try Await.until("decisions") { admitted.load(ordering: .relaxed) >= goal }
        }
        for _ in 0..<3 {
            try awaitDecisions(200)
            ground.redis.kill()
            try awaitDecisions(200)
            try ground.redis.start()
            for host in ground.hosts { try Await.until("its return") { host.store.isWorking } }
        }
        try awaitDecisions(100)
        isEnding.store(true, ordering: .relaxed)
        for thread in threads { pthread_join(thread, nil) }
        for host in ground.hosts { try host.awaitReturn() }
        let total = admitted.load(ordering: .relaxed)
        #expect(refused.load(ordering: .relaxed) == 0)
        let used = try ground.mx1.used()
        // At each of three kills every thread may have had a call on its way.
        #expect(used <= total && used >= total - 24, "\(used) of \(total)")
    }

    @Test("killed without a disk: it gets back what each host knows, blocks too, and not what an admin has ended")
    func lost() throws {
        let ground = try SharedLimitGround([.of(allow: [(10, Self.hour), (8, .seconds(60))])])
        let (mx1, mx2) = (ground.mx1, ground.mx2)
        for (account, count) in [("ann", 6), ("bo", 1), ("cy", 5), ("di", 8)] {
            #expect(mx1.recipients(mx1.message(account), count) == count)
            #expect(mx2.recipients(mx2.message(account), 0) == 0)
        }
        #expect(mx2.recipients(mx2.message("cy"), 1) == 1)
        #expect(try mx1.limits.block(LimitKey(text: "bo"), limit: nil, for: .seconds(7200), now: mx1.now) == 1)
        #expect(mx2.recipients(mx2.message("bo"), 1) == 0)
        // Ended by one host: the other's copy is not what the store has lost.
        #expect(try mx2.limits.clear(LimitKey(text: "cy"), limit: nil, now: mx2.now) == 1)
        #expect(try mx2.limits.unblock(LimitKey(text: "bo"), limit: nil, now: mx2.now) == 1)
        #expect(mx1.recipients(mx1.message("cy"), 1) == 1)
        #expect(try mx2.used("cy") == 1)
        #expect(mx1.recipients(mx1.message("bo"), 1) == 1)
        #expect(try mx1.limits.block(LimitKey(text: "bo"), limit: nil, for: .seconds(7200), now: mx1.now) == 1)
        #expect(mx2.recipients(mx2.message("bo"), 1) == 0)
        #expect(mx1.limits.debts.keys == 0 && mx2.limits.debts.keys == 0)

        // Another cell of an hour: in one and the same the greater of both counts.
        ground.clock.advance(by: .seconds(400))
        ground.redis.kill()
        try ground.redis.start()
        for host in ground.hosts { try host.awaitReturn() }
        #expect(try ground.redis.keys("postern:limit:*") == [])
        // A host that does not know of ann comes first.
        #expect(mx2.recipients(mx2.message(), 1) == 1)
        ground.clock.advance(by: .seconds(2))
        #expect(mx1.recipients(mx1.message(), 1) == 1, "one for each host that knew of it")
        #expect(try mx2.used() == 8)
        #expect(mx2.recipients(mx2.message(), 3) == 2)
        _ = mx2.recipients(mx2.message("bo"), 1)
        #expect(mx1.recipients(mx1.message("bo"), 1) == 0)
        #expect(ground.log.lines.contains { $0.contains("it lacks counts of limits") })
        ground.clock.advance(by: .seconds(7201))
        #expect(mx1.recipients(mx1.message("bo"), 1) == 1)
    }

    @Test("the user may no longer write: each host goes on by itself, and the store is told of it later")
    func rights() throws {
        let ground = try SharedLimitGround([.of(allow: [(5, Self.hour)])])
        let (mx1, mx2) = (ground.mx1, ground.mx2)
        #expect(mx1.recipients(mx1.message(), 1) == 1)
        try ground.redis.command("ACL", "SETUSER", "default", "-set")
        #expect(mx1.recipients(mx1.message(), 2) == 2)
        #expect(mx1.limits.waiting == 1)
        try ground.redis.command("ACL", "SETUSER", "default", "+set")
        #expect(mx1.recipients(mx1.message("bo"), 1) == 1)  // the next decision tells it
        #expect(mx1.limits.waiting == 0)
        #expect(try mx2.used() == 3)
        #expect(ground.log.warnings.count == 1, "\(ground.log.warnings)")
        #expect(ground.log.warnings.first?.contains("the user needs ~postern:*") == true)
    }

    @Test("a daemon's end: what waits is told to a store that is back, else a line says how much was not")
    func farewell() throws {
        let ground = try SharedLimitGround(
            [.of(allow: [(10, Self.hour)])], pauses: .seconds(1000) ... .seconds(1000))
        let (mx1, mx2) = (ground.mx1, ground.mx2)
        #expect(mx1.recipients(mx1.message(), 1) == 1)
        ground.redis.kill()
        #expect(mx1.recipients(mx1.message(), 2) == 2)
        #expect(try mx1.limits.block(LimitKey(text: "cy"), limit: nil, for: Self.hour, now: mx1.now) == 0)
        #expect(mx1.limits.waiting == 2)
        #expect(mx1.limits.readings.map(\.value) == [2])
        try ground.redis.start()
        #expect(!mx1.store.isWorking)
        mx1.limits.close()
        #expect(mx1.limits.waiting == 0 && mx1.store.isWorking)
        #expect(try mx2.used() >= 2, "what was counted meanwhile")
        #expect(ground.log.warnings.count == 1, "\(ground.log.warnings)")

        ground.redis.kill()
        #expect(mx1.recipients(mx1.message(), 1) == 1 && mx1.recipients(mx1.message("bo"), 1) == 1)
        mx1.limits.close()
        #expect(ground.log.warnings.count == 3, "\(ground.log.warnings)")
        #expect(ground.log.warnings.last?.contains("limits that it was not told of: \(mx1.limits.waiting);") == true)
    }

    @Test("a host that begins to share brings along what it has counted; what it foresees without the store is its own")
    func beginning() throws {
        let ground = try SharedLimitGround([.of(allow: [(10, Self.hour)])])
        let (mx1, mx2) = (ground.mx1, ground.mx2)
        for number in 0..<6 {
            let request = mx1.message().request(.rcpt, recipient: "\(number)@example.net")
            _ = ground.judge.verdict(on: request, ledger: mx1.local, now: mx1.now)
        }
        ground.clock.advance(by: .seconds(400))
        #expect(mx1.recipients(mx1.message(), 1) == 1)
        #expect(try mx2.used() == 7)
        #expect(mx2.recipients(mx2.message(), 9) == 3)
        ground.redis.kill()
        let request = mx2.message().request(.rcpt, recipient: "a@example.net")
        let explained = ground.judge.explanation(of: request, ledger: mx2.limits, now: mx2.now)
        #expect(explained.findings.map(\.outcome) == [.over])
        #expect(explained.findings.first?.standing?.uses.first?.used == 10)
    }

    @Test("a message of thousands of recipients ends in one step, and many that lapse at once go a part at a time")
    func large() throws {
        let ground = try SharedLimitGround([
            .of("one", per: [.recipient], count: .messages, allow: [(5, Self.hour)]),
            .of("all", allow: [(10_000, Self.hour)]),
        ])
        let (mx1, mx2) = (ground.mx1, ground.mx2)
        mx1.attachHook()
        let message = mx1.message()
        #expect(mx1.recipients(message, 1500) == 1500)
        #expect(mx1.end(message, 1500).answer == .dunno)
        #expect(try mx2.used("r1499@example.net") == 1)
        for _ in 0..<3 { #expect(mx1.recipients(mx1.message(), 200) == 200) }
        ground.clock.advance(by: .seconds(601))
        _ = mx1.recipient(mx1.message("bo"))
        try mx1.awaitReturn()
        let entries = try mx2.limits.entries(for: LimitKey(text: "ann"), now: mx2.now)
        #expect(entries.map(\.reserved) == [0])
        #expect(try mx2.limits.entries(for: LimitKey(text: "r150@example.net"), now: mx2.now).map(\.reserved) == [0])
        #expect(ground.log.warnings == [])
    }

    // MARK: Reservations

    @Test("messages that began with the store and end without it, and the other way round, are counted once")
    func reservations() throws {
        let ground = try SharedLimitGround([.of(allow: [(20, Self.hour)])], options: Self.durable)
        let (mx1, mx2) = (ground.mx1, ground.mx2)
        mx1.attachHook()
        let (first, second) = (mx1.message(), mx1.message())
        #expect(mx1.recipients(first, 3) == 3 && mx1.recipients(second, 2) == 2)
        #expect(try mx2.entry()?.reserved == 5)
        ground.redis.kill()
        #expect(mx1.end(first, 3).answer == .dunno)
        mx1.judge.end(second.request(.rcpt), ledger: mx1.limits, now: mx1.now)
        let third = mx1.message()
        #expect(mx1.recipients(third, 4) == 4)
        try ground.redis.start()
        try mx1.awaitReturn()
        #expect(mx1.end(third, 4).answer == .dunno)
        let entry = try #require(try mx1.entry())
        #expect(entry.uses.first?.used == 7 && entry.reserved == 0)
    }

    @Test("reservations of a host that dies lapse by themselves")
    func deadHost() throws {
        let ground = try SharedLimitGround([.of(allow: [(5, Self.hour)])])
        let (mx1, mx2) = (ground.mx1, ground.mx2)
        for host in ground.hosts { host.attachHook() }
        #expect(mx1.recipients(mx1.message(), 5) == 5)
        #expect(mx2.recipients(mx2.message(), 1) == 0)
        ground.clock.advance(by: .seconds(599))
        #expect(mx2.recipients(mx2.message(), 1) == 0)
        ground.clock.advance(by: .seconds(61))
        #expect(mx2.recipients(mx2.message(), 6) == 5)
    }

    @Test("a host that begins anew without the store knows what it knew")
    func restart() throws {
        let ground = try SharedLimitGround([.of(allow: [(10, Self.hour)], block: .seconds(600))])
        let (mx1, mx2) = (ground.mx1, ground.mx2)
        #expect(mx2.recipients(mx2.message(), 4) == 4)
        #expect(mx1.recipients(mx1.message(), 3) == 3)
        #expect(try mx1.limits.block(LimitKey(text: "cy"), limit: "test", for: Self.hour, now: mx1.now) == 1)
        ground.redis.kill()
        mx1.restart()
        #expect(mx1.recipients(mx1.message(), 4) == 3)
        #expect(mx1.recipients(mx1.message("cy"), 1) == 0)
    }

    // MARK: Clocks

    @Test("a store whose clock goes back, as another server's may: what counts still counts for as long, blocks too")
    func storesClock() throws {
        let ground = try SharedLimitGround(
            [.of(allow: [(5, Self.hour)]), .of("fixed", allow: [(100, Self.hour)], window: .fixed)])
        let host = ground.mx1
        #expect(host.recipients(host.message(), 6) == 5)
        #expect(try host.limits.block(LimitKey(text: "cy"), limit: "test", for: Self.hour, now: host.now) == 1)
        #expect(host.recipients(host.message("cy"), 1) == 0)
        ground.clock.advance(by: .seconds(-86_400))
        #expect(host.recipients(host.message(), 1) == 0)
        #expect(host.recipients(host.message("cy"), 1) == 0)
        let entries = try host.limits.entries(for: LimitKey(text: "ann"), now: host.now)
        #expect(entries.map { $0.uses.map(\.used) } == [[5], [5]])
        ground.clock.advance(by: .seconds(3599))
        #expect(host.recipients(host.message(), 1) == 0)
        #expect(host.recipients(host.message("cy"), 1) == 0)
        ground.clock.advance(by: .seconds(602))
        #expect(host.recipients(host.message(), 6) == 5)
        #expect(host.recipients(host.message("cy"), 1) == 1)
    }

    @Test("hosts whose own clocks are hours apart agree, and go on alone for as long as anybody else would")
    func hostsClocks() throws {
        let ground = try SharedLimitGround([.of(allow: [(6, Self.hour)])], options: Self.durable)
        let (mx1, mx2) = (ground.mx1, ground.mx2)
        mx1.skew = .seconds(7205)
        mx2.skew = .seconds(-86_400)
        #expect(mx1.recipients(mx1.message(), 2) == 2)
        #expect(mx2.recipients(mx2.message(), 2) == 2)
        #expect(mx1.recipients(mx1.message(), 1) == 1)
        #expect(mx2.recipients(mx2.message(), 0) == 0)
        ground.redis.kill()
        #expect(mx1.recipients(mx1.message(), 2) == 1)
        #expect(mx2.recipients(mx2.message(), 3) == 2)
        ground.clock.advance(by: .seconds(3000))
        #expect(mx1.recipients(mx1.message(), 1) == 0)
        #expect(mx2.recipients(mx2.message(), 1) == 0)
        try ground.redis.start()
        for host in ground.hosts { try host.awaitReturn() }
        #expect(try mx1.used() == 8 && mx2.used() == 8)
        ground.clock.advance(by: .seconds(1200))
        #expect(mx2.recipients(mx2.message(), 7) == 6, "what was told is as old as it was")
    }
}
