// Limits against models that are slow and obviously right: a list of everything that was accepted, summed up for every
// interval; and anvil(8)'s arithmetic.

import AdmissionSupport
import PosternAdmission
import PosternMail
import TestSupport
import Testing

/// What a customer of a limit could complain of, from the outside: what was accepted, and when.
private struct PromiseModel {
    let rates: [(amount: Int, span: Int64)]
    var accepted: [(at: Int64, amount: Int)] = []

    /// Of an interval of the span's length that ends now, both ends counted in.
    func sum(_ span: Int64, before now: Int64) -> Int {
        accepted.filter { $0.at >= now - span && $0.at <= now }.reduce(0) { $0 + $1.amount }
    }

    /// Whether it holds no more than is allowed, with what is reserved.
    func isKept(now: Int64, reserved: Int) -> Bool {
        rates.allSatisfy { sum($0.span, before: now) + reserved <= $0.amount }
    }

    /// Whether a refusal has a reason, a slot included.
    func mayRefuse(now: Int64, reserved: Int, asked: Int) -> Bool {
        rates.contains { sum($0.span + ($0.span + 11) / 12, before: now) + reserved + asked > $0.amount }
    }
}

@Suite("limits against models")
struct LimitModelTests {
    private struct Open {
        var message: LimitMessage
        var recipients = 0
        /// What the ledger should hold for it: reserved, or counted already at RCPT.
        var reserved = 0
        var counted = 0
        var began: Int64?
    }

    @Test("accepted and reserved never exceed what is allowed, in any interval; refusals have a reason")
    func promise() throws {
        for seed in 1...60 as ClosedRange<UInt64> { try run(seed: seed, stepsClock: false) }
    }

    @Test("nor under clocks that step back and ahead, and restarts")
    func promiseUnderSteps() throws {
        for seed in 101...160 as ClosedRange<UInt64> { try run(seed: seed, stepsClock: true) }
    }

    /// One account in several sessions, at random.
    private func run(seed: UInt64, stepsClock: Bool) throws {
        var random = SeededRandom(seed: seed)
        let rates = [(10, Int64(60_000)), (25, 600_000), (60, 3_600_000)]
        let limits: [LimitSettings] = [
            .of("recipients", allow: rates.map { ($0.0, .milliseconds($0.1)) }),
            .of("messages", count: .messages, allow: [(6, .seconds(60))]),
        ]
        let ground = try LimitGround(limits)
        ground.ledger = LimitMemory(maxKeys: 100, tracksChanges: true)
        ground.attachHook()
        var isAttached = true
        var journal: [LimitKey: [String: LimitRow]] = [:]
        var recipients = PromiseModel(rates: rates)
        var messages = PromiseModel(rates: [(6, 60_000)])
        /// The time that has passed: the clock's, but for its steps back.
        var time: Int64 = 0
        var open: [Open] = []
        func lapse() {
            for number in open.indices {
                if let began = open[number].began, time - began >= 600_000 { open[number].reserved = 0 }
            }
        }
        func advance(_ milliseconds: Int64) {
            ground.clock.advance(by: .milliseconds(milliseconds))
            time += milliseconds
            lapse()
        }
        var refused = 0
        var admitted = 0
        for step in 0..<400 {
            let here: Comment = "seed \(seed) step \(step)"
            if isAttached { ground.attachHook() }  // others' messages come to their end
            let held = open.reduce(0) { $0 + $1.reserved }
            let heldMessages = open.count { $0.reserved > 0 && $0.counted == 0 }
            switch Int.random(in: 0..<100, using: &random) {
            case 0..<50:  // RCPT, of an open session or a new one
                var number = Int.random(in: 0...max(0, open.count), using: &random)
                if number >= min(open.count, 4) {
                    number = open.count
                    var message = ground.message()
                    message.port = "\(41_000 + step)"
                    open.append(Open(message: message))
                }
                let isFirst = open[number].reserved + open[number].counted == 0
                if isFirst, open[number].recipients > 0 { continue }  // it has lapsed
                let verdict = ground.recipient(open[number].message, "r\(step)@example.net")
                if verdict.answer == .dunno {
                    admitted += 1
                    open[number].recipients += 1
                    if open[number].began == nil { open[number].began = time }
                    if isAttached {
                        open[number].reserved += 1
                    } else {
                        open[number].counted += 1
                        recipients.accepted.append((time, 1))
                        if isFirst { messages.accepted.append((time, 1)) }
                    }
                    let now = open.reduce(0) { $0 + $1.reserved }
                    #expect(recipients.isKept(now: time, reserved: now), here)
                    #expect(
                        messages.isKept(now: time, reserved: open.count { $0.reserved > 0 && $0.counted == 0 }), here)
                } else if !stepsClock {
                    refused += 1
                    let isRightly =
                        recipients.mayRefuse(now: time, reserved: held, asked: 1)
                        || messages.mayRefuse(now: time, reserved: heldMessages, asked: isFirst ? 1 : 0)
                    #expect(isRightly, here)
                }
            case 50..<70:  // the end, of a message with recipients
                guard let number = open.indices.randomElement(using: &random), open[number].recipients > 0 else {
                    break
                }
                let message = open.remove(at: number)
                // Some recipients may have been refused by others.
                let count = Int.random(in: 1...message.recipients, using: &random)
                let verdict = ground.end(message.message, count)
                isAttached = true
                guard verdict.answer == .dunno else {
                    #expect(message.reserved == 0, "what is reserved is not refused: \(here)")
                    break
                }
                let more = max(0, count - message.counted)
                if more > 0 { recipients.accepted.append((time, more)) }
                if message.counted == 0 { messages.accepted.append((time, 1)) }
                let now = open.reduce(0) { $0 + $1.reserved }
                #expect(recipients.isKept(now: time, reserved: now), here)
                #expect(messages.isKept(now: time, reserved: open.count { $0.reserved > 0 && $0.counted == 0 }), here)
            case 70..<74:  // refused at DATA: another message on the connection
                guard let number = open.indices.randomElement(using: &random), isAttached else { break }
                var next = ground.message()
                next.port = open[number].message.port
                next.account = "nobody-else"
                _ = ground.recipient(next)
                open.remove(at: number)
            case 74..<96: advance(Int64.random(in: 0...20_000, using: &random))
            case 96: advance(Int64.random(in: 0...700_000, using: &random))
            case 97 where stepsClock:
                // The time that has passed since the last request is not known.
                _ = ground.recipients(LimitMessage(""), 0)
                _ = ground.used("ann")
                ground.clock.advance(by: .seconds(-3600))
                _ = ground.used("ann")
            case 98 where stepsClock: advance(3_600_000)
            case 99 where stepsClock:
                let changes = ground.ledger.takeChanges(atMost: .max)
                for row in changes.rows { journal[row.key, default: [:]][row.shape.name] = row }
                ground.ledger = LimitMemory(maxKeys: 100, tracksChanges: true)
                ground.ledger.resume(at: changes.time, now: ground.clock.now())
                ground.ledger.restore(journal.values.flatMap(\.values))
                // Reservations are forgotten, and where Postfix asks; what was counted at RCPT counts again.
                isAttached = false
                open = []
            default: break
            }
        }
        #expect(admitted > 20, "seed \(seed)")
        if !stepsClock { #expect(refused > 5, "seed \(seed)") }
    }

    @Test("fixed windows answer as anvil does, for recipients that are all accepted")
    func anvil() throws {
        for seed in 1...40 as ClosedRange<UInt64> {
            var random = SeededRandom(seed: seed)
            let allowed = Int.random(in: 1...30, using: &random)
            let ground = try LimitGround([.of(per: [.client], allow: [(allowed, .seconds(60))], window: .fixed)])
            ground.attachHook()
            // anvil_remote: when its window began, in whole seconds, and what it counted.
            var start: Int64?
            var count = 0
            for step in 0..<1500 {
                let milliseconds = Int64.random(in: 0...(step % 10 == 0 ? 30_000 : 2000), using: &random)
                ground.clock.advance(by: .milliseconds(milliseconds))
                let now = ground.clock.now().seconds
                if start.map({ $0 + 60 < now }) ?? true { (start, count) = (now, 0) }
                count += 1
                let message = ground.message()
                let isAdmitted = ground.recipient(message, "r\(step)@example.net").answer == .dunno
                #expect(isAdmitted == (count <= allowed), "seed \(seed) step \(step)")
                if isAdmitted { #expect(ground.end(message, 1).answer == .dunno) }
            }
        }
    }
}
