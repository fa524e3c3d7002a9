// The shared store's decisions against the ledger of one host, for every answer and every number, and against a list of
// all that was accepted, at whichever host.
//
// Where both differ by design, and why:
// - A key that counts nothing any more is forgotten by chance here and after its longest span there: only the addresses
//   that were seen with it tell the difference, so they are not compared.
// - Under clocks that step back a host's ledger stands still; the store's values are moved (SharedLimitFailureTests).

import AdmissionSupport
import Glibc
import PosternAdmission
import PosternMail
import PostfixHarness
import Synchronization
import TestSupport
import Testing

@testable import PosternStore

@Suite("shared limits against models", .enabled(if: RedisInstance.isAvailable), .serialized)
struct SharedLimitModelTests {
    private static let minute = Duration.seconds(60)

    private static let limits: [LimitSettings] = [
        .of("recipients", allow: [(6, minute), (20, .seconds(600))], warnAt: 70),
        .of("messages", count: .messages, allow: [(5, minute)], block: .seconds(90)),
        .of("octets", count: .octets, allow: [(9000, .seconds(300))], warnAt: 50),
        .of("connections", per: [.client], count: .connections, allow: [(4, minute)], window: .fixed),
        .of("anvil", per: [.client], allow: [(9, minute), (30, .seconds(1500))], window: .fixed),
        .of("domain", per: [.recipientDomain, .saslUsername], allow: [(5, .seconds(45))]),
        .of("to one", per: [.recipient], count: .octets, allow: [(5000, .seconds(120))]),
        .of("held", allow: [(4, minute)], action: .hold("many"), warnAt: 100, block: .seconds(30)),
        .of("shadow", per: [.sender], count: .messages, allow: [(3, minute)], shadow: true),
    ]

    private static func essence(_ decision: LimitDecision) -> [String] {
        var lines = decision.refusals.map { refusal in
            "over \(refusal.terms.shape.name) \(refusal.key) \(refusal.use) \(refusal.reserved) \(refusal.asked) "
                + "\(refusal.isBlocked) \(String(describing: refusal.freeIn))"
        }
        lines += decision.events.map { event in
            "event \(event.kind) \(event.limit) \(event.key) \(event.use) \(event.reserved) \(event.blockedFor) "
                + "\(event.isBinding)"
        }
        lines += decision.standings.map { "stands " + essence($0) }
        return lines
    }

    private static func essence(_ entry: LimitEntry) -> String {
        "\(entry.limit) \(entry.count) \(entry.key) \(entry.uses) \(entry.reserved) \(entry.blockedFor) "
            + "\(entry.isBlockedByAdmin)"
    }

    /// Keeps what was asked, so that another ledger can be asked the same.
    private final class Probe: LimitLedger {
        let asked = Mutex<LimitRequest?>(nil)
        func prepare(_ terms: [LimitTerms]) {}
        func decide(_ request: LimitRequest, now: UnixTime) -> LimitDecision {
            asked.withLock { $0 = request }
            return LimitDecision(refusals: [])
        }
        func foresee(_ request: LimitRequest, now: UnixTime) -> LimitDecision { LimitDecision(refusals: []) }
        func entries(onlyOver: Bool, after: String?, limit: Int, now: UnixTime) -> LimitPage {
            LimitPage(entries: [], next: nil)
        }
        func entries(for key: LimitKey, now: UnixTime) -> [LimitEntry] { [] }
        func clear(_ key: LimitKey, limit: String?, now: UnixTime) -> Int { 0 }
        func block(_ key: LimitKey, limit: String?, for time: Duration, now: UnixTime) -> Int { 0 }
        func unblock(_ key: LimitKey, limit: String?, now: UnixTime) -> Int { 0 }
        func counts() -> LimitCounts { LimitCounts(keys: 0, instances: 0, evicted: 0, reserving: []) }
    }

    @Test("every answer and every number is that of one host's ledger, and the mirror has what the store has")
    func differential() throws {
        let ground = try SharedLimitGround(Self.limits, hosts: 1)
        let host = ground.mx1
        var decisions = 0
        var refused = 0
        var told = 0
        // 5160: a message that is over counts for keys that the next decision is not about.
        for seed in Array(1...250 as ClosedRange<UInt64>) + [5160] {
            let failures = try run(seed, ground, host, &decisions, &refused, &told)
            guard failures == 0 else { break }
        }
        #expect(decisions > 5000 && refused > 2000 && told > 1500, "\(decisions) \(refused) \(told)")
        #expect(ground.log.warnings == [])
    }

    private func run(
        _ seed: UInt64, _ ground: SharedLimitGround, _ host: SharedLimitHost, _ decisions: inout Int,
        _ refused: inout Int, _ told: inout Int
    ) throws -> Int {
        var random = SeededRandom(seed: seed)
        let own = LimitMemory(maxKeys: 10_000)
        own.prepare(ground.judge.terms)
        // A host of its own for each seed: nothing is on its way at its beginning.
        let shared = SharedLimits(
            host.store, local: LimitStore(path: "/nonexistent/limits", log: ground.log, wall: { UnixTime(seconds: 0) }),
            log: ground.log, scripted: { [clock = ground.clock] in clock.now() })
        shared.prepare(ground.judge.terms)
        let probe = Probe()
        var open: [LimitMessage] = []
        var failures = 0
        func compare(_ left: [String], _ right: [String], _ what: String) {
            guard left != right else { return }
            failures += 1
            let differences = zip(left + [""], right + [""]).first { $0 != $1 }
            Issue.record("seed \(seed) \(what): \(String(describing: differences))")
        }
        func ask(_ request: PolicyRequest, foresees: Bool = false) {
            probe.asked.withLock { $0 = nil }
            _ = ground.judge.verdict(on: request, ledger: probe, now: ground.clock.now())
            guard let asked = probe.asked.withLock({ $0 }) else { return }
            let now = ground.clock.now()
            if foresees {
                compare(
                    Self.essence(own.foresee(asked, now: now)), Self.essence(shared.foresee(asked, now: now)),
                    "foreseen \(request.stage)")
                return
            }
            let (left, right) = (own.decide(asked, now: now), shared.decide(asked, now: now))
            compare(Self.essence(left), Self.essence(right), "\(request.stage)")
            decisions += 1
            refused += left.refusals.contains { $0.terms.isBinding } ? 1 : 0
            told += left.events.count
        }
        for step in 0..<40 where failures == 0 {
            let now = ground.clock.now()
            switch Int.random(in: 0..<100, using: &random) {
            case 0..<45:
                if open.isEmpty || Int.random(in: 0..<3, using: &random) == 0 {
                    var message = LimitMessage("s\(seed)-\(step)")
                    message.account = "ann\(seed)"
                    message.client = "192.0.\(seed % 250).\(Int.random(in: 1...2, using: &random))"
                    message.sender = "\(Int.random(in: 0...1, using: &random))@s\(seed).example"
                    message.port = "\(2000 + step)"
                    message.size = Bool.random(using: &random) ? 0 : Int.random(in: 1...4000, using: &random)
                    open.append(message)
                }
                guard let message = open.randomElement(using: &random) else { break }
                let recipient =
                    "r\(Int.random(in: 0...3, using: &random))@\(Bool.random(using: &random) ? "a" : "b").s\(seed)"
                ask(message.request(.rcpt, recipient: recipient))
            case 45..<60:
                guard let number = open.indices.randomElement(using: &random) else { break }
                let message = open[number]
                ask(
                    message.request(
                        .endOfMessage, recipients: Int.random(in: 0...5, using: &random),
                        size: Int.random(in: 0...5000, using: &random)))
                if Int.random(in: 0..<4, using: &random) > 0 { open.remove(at: number) }
            case 60..<64:
                guard let message = open.randomElement(using: &random) else { break }
                ask(message.request(.data, recipients: Int.random(in: 1...5, using: &random)))
            case 64..<70:
                guard let number = open.indices.randomElement(using: &random) else { break }
                let message = open.remove(at: number)
                let client = IPAddress(message.client)
                own.end(instance: Array(message.instance.utf8), client: client, now: now)
                shared.end(instance: Array(message.instance.utf8), client: client, now: now)
            case 70..<75:
                guard let message = open.randomElement(using: &random) else { break }
                ask(message.request(.rcpt, recipient: "r0@a.s\(seed)"), foresees: true)
            case 75..<79:
                let key = LimitKey(text: "ann\(seed)")
                let limit = Bool.random(using: &random) ? nil : "recipients"
                // Keys that count nothing any more may be forgotten in one and not in the other: blocks name the limit,
                // and the numbers of keys that were found are not compared.
                switch Int.random(in: 0..<3, using: &random) {
                case 0:
                    _ = own.block(key, limit: "recipients", for: .seconds(50), now: now)
                    _ = try shared.block(key, limit: "recipients", for: .seconds(50), now: now)
                case 1:
                    _ = own.unblock(key, limit: limit, now: now)
                    _ = try shared.unblock(key, limit: limit, now: now)
                default:
                    _ = own.clear(key, limit: limit, now: now)
                    _ = try shared.clear(key, limit: limit, now: now)
                }
            default:
                let isLong = Int.random(in: 0..<7, using: &random) == 0
                let most: Int64 = isLong ? 700_000 : 15_000
                ground.clock.advance(by: .milliseconds(Int64.random(in: 0...most, using: &random)))
                // What has lapsed goes with the next decision, whoever it is about; there by itself, a minute later.
                var message = LimitMessage("s\(seed)-other-\(step)")
                message.account = "other\(seed)"
                message.client = "198.51.\(seed % 250).9"
                message.sender = "other\(seed)@example.com"
                message.port = "\(4000 + step)"
                ask(message.request(.rcpt, recipient: "other\(seed)@example.com"))
            }
            guard step % 4 == 3 else { continue }
            let time = ground.clock.now()
            for key in ["ann\(seed)", "192.0.\(seed % 250).1", "0@s\(seed).example"] {
                func lines(_ entries: [LimitEntry]) -> [String] {
                    entries.filter { $0.reserved > 0 || $0.blockedFor > .zero || $0.uses.contains { $0.used > 0 } }
                        .map(Self.essence).sorted()
                }
                let expected = lines(own.entries(for: LimitKey(text: key), now: time))
                compare(
                    expected, lines(try shared.entries(for: LimitKey(text: key), now: time)),
                    "step \(step) entries of \(key)")
                compare(
                    expected, lines(shared.local.entries(for: LimitKey(text: key), now: time)),
                    "step \(step) mirror of \(key)")
            }
        }
        return failures
    }

    // MARK: The promise

    @Test("no interval holds more than is allowed, over both hosts together; refusals have a reason")
    func promise() throws {
        let rates: [(amount: Int, span: Int64)] = [(10, 60_000), (25, 600_000)]
        let ground = try SharedLimitGround([.of(allow: rates.map { ($0.amount, .milliseconds($0.span)) })])
        for seed in 1...40 as ClosedRange<UInt64> {
            var random = SeededRandom(seed: seed)
            var accepted: [(at: Int64, amount: Int)] = []
            var open: [(host: SharedLimitHost, message: LimitMessage, reserved: Int)] = []
            var time: Int64 = 0
            var (admitted, refused) = (0, 0)
            func sum(_ span: Int64) -> Int {
                accepted.reduce(0) { $1.at >= time - span && $1.at <= time ? $0 + $1.amount : $0 }
            }
            for host in ground.hosts { host.attachHook() }
            for step in 0..<150 {
                let here: Comment = "seed \(seed) step \(step)"
                let held = open.reduce(0) { $0 + $1.reserved }
                switch Int.random(in: 0..<10, using: &random) {
                case 0..<5:
                    var number = Int.random(in: 0...open.count, using: &random)
                    if number >= min(open.count, 4) {
                        guard let host = ground.hosts.randomElement(using: &random) else { break }
                        number = open.count
                        open.append((host, host.message("ann\(seed)"), 0))
                    }
                    let isIn = open[number].host.recipient(open[number].message, "r\(step)@x.example").answer == .dunno
                    if isIn {
                        admitted += 1
                        open[number].reserved += 1
                        #expect(rates.allSatisfy { sum($0.span) + held + 1 <= $0.amount }, here)
                    } else {
                        refused += 1
                        #expect(
                            rates.contains { sum($0.span + ($0.span + 11) / 12) + held + 1 > $0.amount }, here)
                    }
                case 5..<7:
                    guard let number = open.indices.randomElement(using: &random), open[number].reserved > 0 else {
                        break
                    }
                    let message = open.remove(at: number)
                    let count = Int.random(in: 1...message.reserved, using: &random)
                    #expect(message.host.end(message.message, count).answer == .dunno, here)
                    accepted.append((time, count))
                case 7 where step % 3 == 0:
                    guard let number = open.indices.randomElement(using: &random) else { break }
                    let message = open.remove(at: number)
                    ground.judge.end(
                        message.message.request(.rcpt), ledger: message.host.limits, now: ground.clock.now())
                default:
                    let step = Int64.random(in: 0...15_000, using: &random)
                    ground.clock.advance(by: .milliseconds(step))
                    time += step
                    open.removeAll { _ in time > 1_000_000_000 }
                }
                if time > 550_000 { break }  // before reservations lapse
            }
            #expect(admitted > 10 && refused > 3, "seed \(seed): \(admitted), \(refused)")
            ground.clock.advance(by: .seconds(2000))
        }
    }

    @Test("many sessions of two hosts at once get as much as is allowed, and no more")
    func parallel() throws {
        let ground = try SharedLimitGround(
            [.of(allow: [(200, .seconds(3600))]), .of("others", per: [.client], allow: [(100_000, .seconds(3600))])],
            usesCallersClock: false)
        // Both ways: at once, and reserved until the end.
        for (account, reserves) in [("ann", false), ("bo", true)] {
            if reserves { for host in ground.hosts { host.attachHook() } }
            let admitted = Atomic<Int>(0)
            let (judge, now) = (ground.judge, ground.clock.now())
            let ledgers = ground.hosts.map(\.limits)
            let threads = try (0..<8).map { worker in
                try SystemThread.start {
                    for number in 0..<60 {
                        var message = LimitMessage("\(account)-\(worker)-\(number)")
                        message.account = account
                        message.port = "\(3000 + worker * 100 + number)"
                        let ledger = ledgers[worker % 2]
                        let first = judge.verdict(
                            on: message.request(.rcpt, recipient: "a@example.net"), ledger: ledger, now: now)
                        guard first.answer == .dunno else { continue }
                        if reserves {
                            // A third of the messages is refused later.
                            guard number % 3 > 0 else {
                                judge.end(message.request(.rcpt), ledger: ledger, now: now)
                                continue
                            }
                            let end = judge.verdict(
                                on: message.request(.endOfMessage, recipients: 1, size: 1), ledger: ledger, now: now)
                            guard end.answer == .dunno else { continue }
                        }
                        admitted.add(1, ordering: .relaxed)
                    }
                }
            }
            for thread in threads { pthread_join(thread, nil) }
            #expect(admitted.load(ordering: .relaxed) == 200)
            #expect(try ground.mx2.entry(account)?.uses.first?.used == 200)
            #expect(try ground.mx2.entry(account)?.reserved == 0)
        }
        #expect(ground.log.warnings == [])
    }
}
