// What admins see and change of limits that hosts share, what is told of them, copies from store to store, damaged
// values, and what a decision costs the store.

import AdmissionSupport
import PosternAdmission
import PosternMail
import PostfixHarness
import TestSupport
import Testing

@testable import PosternStore

@Suite("shared limits, looked at and changed", .enabled(if: RedisInstance.isAvailable), .serialized)
struct SharedLimitAdminTests {
    private static let hour = Duration.seconds(3600)
    private static let durable = ["appendonly yes", "appendfsync always"]

    // MARK: Blocks and events

    @Test("a block of one host holds at the other, without the store too, and ends at both")
    func blocks() throws {
        let ground = try SharedLimitGround([.of(allow: [(9, Self.hour)])], options: Self.durable)
        let (mx1, mx2) = (ground.mx1, ground.mx2)
        let ann = LimitKey(text: "ann")
        #expect(try mx1.limits.block(ann, limit: nil, for: Self.hour, now: mx1.now) == 0, "no limit has it yet")
        #expect(mx2.recipients(mx2.message(), 1) == 1)
        #expect(try mx1.limits.block(ann, limit: nil, for: Self.hour, now: mx1.now) == 1)
        #expect(mx2.recipient(mx2.message()).decision?.reason == "ann: blocked, free in 3600s")
        #expect(try mx2.entry()?.isBlockedByAdmin == true)
        ground.redis.kill()
        #expect(mx1.recipients(mx1.message(), 1) == 0 && mx2.recipients(mx2.message(), 1) == 0)
        #expect(try mx1.limits.unblock(ann, limit: nil, now: mx1.now) == 1)
        #expect(mx1.recipients(mx1.message(), 1) == 1 && mx2.recipients(mx2.message(), 1) == 0)
        #expect(try mx1.limits.block(LimitKey(text: "bo"), limit: "test", for: Self.hour, now: mx1.now) == 1)
        try ground.redis.start()
        for host in ground.hosts { try host.awaitReturn() }
        #expect(mx2.recipients(mx2.message(), 1) == 1)
        #expect(mx2.recipients(mx2.message("bo"), 1) == 0)
        #expect(try mx2.used() == 3)
        #expect(try mx2.limits.clear(ann, limit: nil, now: mx2.now) == 1)
        #expect(try mx1.used() == 0)
        #expect(try mx1.limits.clear(LimitKey(text: "nobody"), limit: nil, now: mx1.now) == 0)
    }

    @Test("who goes over is blocked everywhere, and told once in a span of time, with the addresses of all hosts")
    func events() throws {
        let ground = try SharedLimitGround([.of(allow: [(4, Self.hour)], warnAt: 75, block: .seconds(7200))])
        let (mx1, mx2) = (ground.mx1, ground.mx2)
        var there = mx2.message()
        there.client = "2001:db8::2"
        #expect(mx1.recipient(mx1.message()).events.isEmpty)
        #expect(mx2.recipient(there).events.isEmpty)
        let near = mx1.recipient(mx1.message())
        #expect(near.events.map(\.kind) == [.nearing])
        #expect(mx2.recipient(there).events.isEmpty)
        let over = try #require(mx2.recipient(there).events.first)
        #expect(
            "\(over)"
                == "limit test over: ann: 4 of 4 recipients in 3600s; blocked for 7200s; account=<ann> "
                + "clients=192.0.2.7,2001:db8::2")
        #expect(mx1.recipient(mx1.message()).events.isEmpty)
        ground.clock.advance(by: .seconds(7199))
        #expect(mx1.recipient(mx1.message()).decision?.reason == "ann: blocked, free in 1s")
        ground.clock.advance(by: .seconds(1))
        #expect(mx1.recipient(mx1.message()).answer == .dunno)
    }

    // MARK: Lists

    @Test("a list shows all keys once, page by page, and nothing of others' in the same database")
    func lists() throws {
        let ground = try SharedLimitGround([
            .of("per account", allow: [(2, Self.hour)]), .of("network", per: [.client], allow: [(100, Self.hour)]),
        ])
        let host = ground.mx1
        for number in 0..<30 {
            var message = host.message("user\(number)")
            message.client = "2001:db8:0:\(number)::1"
            _ = host.recipients(message, number % 3 + 1)
        }
        let others = (0..<1200).map { ["SET", "other:\($0)", "x"].map { Array($0.utf8) } }
        _ = try host.store.commands(others)
        try ground.redis.command("SET", "postern:limit:not:ours", "x")
        try ground.redis.command("SET", "postern:greylist:x", "x")
        for size in [1, 7, 1000] {
            var keys: [String] = []
            var over: [String] = []
            for onlyOver in [false, true] {
                var cursor: String?
                repeat {
                    let page = try ground.mx2.limits.entries(
                        onlyOver: onlyOver, after: cursor, limit: size, now: host.now)
                    #expect(page.entries.count <= size)
                    let found = page.entries.map { "\($0.limit) \($0.key)" }
                    if onlyOver { over += found } else { keys += found }
                    cursor = page.next
                } while cursor != nil
            }
            #expect(keys.count == 60 && Set(keys).count == 60)
            #expect(over.count == 20 && over.allSatisfy { $0.hasPrefix("per account user") }, "\(over)")
        }
        let entry = try #require(try host.limits.entries(for: LimitKey(text: "2001:db8:0:2::/64"), now: host.now).first)
        #expect(entry.limit == "network" && entry.uses == [LimitUse(used: 2, allowed: 100, span: Self.hour)])
        ground.redis.kill()
        let alone = try host.limits.entries(onlyOver: false, after: nil, limit: 100, now: host.now)
        #expect(alone.entries.count == 60, "without the store: what this host knows")
        #expect(throws: LimitUnavailable.self) {
            try host.limits.entries(onlyOver: false, after: "scan:5:0", limit: 100, now: host.now)
        }
    }

    // MARK: Values

    @Test("what is damaged, of another type or a later version counts as nothing, and decisions go on")
    func damage() throws {
        let ground = try SharedLimitGround([.of(allow: [(3, Self.hour)])], hosts: 1)
        let host = ground.mx1
        let key = "postern:limit:test:sasl_username:recipients:3600s:ann"
        _ = host.recipients(host.message(), 1)
        #expect(try ground.redis.keys("postern:limit:*") == [key])
        for damage in [["SET", key, "x"], ["SET", key, ""], ["LPUSH", key, "1"], ["SET", key, "\u{7f}\u{7f}"]] {
            try ground.redis.command("DEL", key)
            for word in damage.dropFirst(2) { try ground.redis.command(damage[0], key, word) }
            #expect(try host.used() == 0, "\(damage)")
            #expect(host.recipients(host.message(), 4) == 3, "\(damage)")
            #expect(try host.used() == 3)
        }
        #expect(ground.log.warnings == [])
    }

    @Test("values that are mutated: the store and this host read them alike, and neither stumbles")
    func mutations() throws {
        let limits: [LimitSettings] = [
            .of("a", allow: [(50, Self.hour), (20, .seconds(60))], warnAt: 10),
            .of("b", allow: [(9, .seconds(90))], window: .fixed),
        ]
        let ground = try SharedLimitGround(limits, hosts: 1)
        let host = ground.mx1
        host.attachHook()
        _ = host.recipients(host.message(), 5)
        _ = host.end(host.message(), 3)
        let shapes = host.local.memory.limits.map(\.shape)
        var (read, unread) = (0, 0)
        let start = ground.clock.now().nanoseconds / 1_000_000
        let samples = try shapes.map { shape in
            let name = SharedLimitCodec.key(Array(shape.text.utf8), Array("ann".utf8))
            let sample = try #require(try host.store.command([Array("GET".utf8), name]).octets)
            let state = try #require(SharedLimitCodec.state(sample, shape, at: start))
            #expect(state.cells.used(0, at: start) + state.reserved == 8)
            return (shape, name, sample)
        }
        // It forgets that Postfix asks at END-OF-MESSAGE: from now on RCPT counts at once.
        host.restart()
        for (shape, name, sample) in samples {
            let probe = host.message().request(.rcpt, recipient: "a@example.net")
            try Mutations.of([sample], count: 1500, seed: 3) { octets in
                _ = try host.store.command([Array("SET".utf8), name, octets])
                // Looked at only, so that the value stays.
                _ = ground.judge.explanation(of: probe, ledger: host.limits, now: host.now)
                _ = try host.limits.entries(onlyOver: false, after: nil, limit: 10, now: host.now)
            }
            for step in 0..<300 {
                // What the other limit has counted is over by then.
                ground.clock.advance(by: .seconds(100))
                let time = ground.clock.now().nanoseconds / 1_000_000
                var random = SeededRandom(seed: UInt64(step))
                var octets = sample
                octets[Int.random(in: octets.indices, using: &random)] = UInt8.random(in: 0...255, using: &random)
                _ = try host.store.command([Array("SET".utf8), name, octets])
                // It would give back what this host knows.
                _ = host.local.clear(LimitKey(text: "ann"), limit: nil, now: host.now)
                let before = SharedLimitCodec.state(octets, shape, at: time)
                guard before.map({ $0.cells.last <= time && $0.blockedUntil <= time }) ?? true else { continue }
                guard host.recipient(host.message()).answer == .dunno else { continue }
                let value = try #require(try host.store.command([Array("GET".utf8), name]).octets)
                let after = try #require(SharedLimitCodec.state(value, shape, at: time), "\(octets) became \(value)")
                func held(_ state: LimitState?) -> Int { state.map { $0.cells.used(0, at: time) + $0.reserved } ?? 0 }
                #expect(held(after) == held(before) + 1, "\(octets) became \(value)")
                read += before == nil ? 0 : 1
                unread += before == nil ? 1 : 0
            }
        }
        #expect(read > 100 && unread > 100, "\(read) \(unread)")
        #expect(host.store.isWorking && ground.log.warnings == [], "\(ground.log.warnings)")
    }

    @Test("keys end with what they count, and a value is small")
    func lifetimes() throws {
        let ground = try SharedLimitGround(
            [.of(allow: [(1000, Self.hour), (100, .seconds(60))])], hosts: 1, usesCallersClock: false)
        let host = ground.mx1
        _ = host.recipients(host.message(), 3)
        let key = "postern:limit:test:sasl_username:recipients:3600s,60s:ann"
        let rest = try #require(Int(try ground.redis.command("PTTL", key).text.split(separator: "\n").first ?? ""))
        #expect(rest > 3_800_000 && rest <= 3_900_000)
        let octets = try #require(
            Int(try ground.redis.command("STRLEN", key).text.split(separator: "\n").first ?? ""))
        #expect(octets < 80)
        #expect(try host.limits.block(LimitKey(text: "ann"), limit: nil, for: .seconds(86_400), now: host.now) == 1)
        let blocked = try #require(Int(try ground.redis.command("PTTL", key).text.split(separator: "\n").first ?? ""))
        #expect(blocked > 86_000_000)
    }

    @Test("a decision is one round trip, with all of a request's limits; what is foreseen writes nothing")
    func roundTrips() throws {
        let ground = try SharedLimitGround(
            [
                .of("a", allow: [(1000, Self.hour)]), .of("b", per: [.client], allow: [(1000, Self.hour)]),
                .of("c", per: [.recipientDomain], count: .messages, allow: [(1000, .seconds(60))]),
            ], hosts: 1)
        let host = ground.mx1
        host.attachHook()
        _ = host.recipients(host.message(), 1)
        func calls() throws -> [String: Int] {
            var calls: [String: Int] = [:]
            for line in try ground.redis.command("INFO", "commandstats").text.split(whereSeparator: \.isNewline) {
                let parts = line.split(whereSeparator: { ":=,".contains($0) })
                guard parts.count > 2, parts[0].hasPrefix("cmdstat_") else { continue }
                calls[String(parts[0].dropFirst(8))] = Int(parts[2])
            }
            return calls
        }
        let before = try calls()
        var decisions = 0
        for _ in 0..<20 {
            let message = host.message()
            #expect(host.recipients(message, 3) == 3)
            #expect(host.end(message, 3).answer == .dunno)
            host.judge.end(message.request(.endOfMessage), ledger: host.limits, now: host.now)
            decisions += 4
        }
        let after = try calls()
        #expect((after["evalsha"] ?? 0) - (before["evalsha"] ?? 0) == decisions)
        #expect(after["eval"] == before["eval"])
        #expect((after["mget"] ?? 0) - (before["mget"] ?? 0) == decisions)
        let writes = after["set"]
        let request = host.message().request(.rcpt, recipient: "x@example.net")
        _ = ground.judge.explanation(of: request, ledger: host.limits, now: host.now)
        #expect(try calls()["set"] == writes)
        #expect(try calls()["evalsha"] == (after["evalsha"] ?? 0) + 1)
    }

    // MARK: Copies

    @Test("copied into the store and out of it, a page at a time, and again: counts, blocks and spans as they were")
    func copies() throws {
        let limits: [LimitSettings] = [
            .of("account", allow: [(20, Self.hour), (9, .seconds(60))]),
            .of("anvil", per: [.client], count: .messages, allow: [(9, Self.hour)], window: .fixed),
            .of("octets", per: [.sender], count: .octets, allow: [(1 << 40, Self.hour)]),
        ]
        let ground = try SharedLimitGround(limits)
        let own = LimitMemory()
        own.prepare(ground.judge.terms)
        for number in 0..<150 {
            var message = LimitMessage("m\(number)")
            message.account = "user\(number % 40)"
            message.client = "192.0.2.\(number % 30)"
            message.sender = "\(number % 50)@example.org"
            message.size = 1 << 33
            _ = ground.judge.verdict(
                on: message.request(.rcpt, recipient: "a@example.net"), ledger: own, now: ground.clock.now())
            ground.clock.advance(by: .seconds(1))
        }
        #expect(own.block(LimitKey(text: "user7"), limit: "account", for: Self.hour, now: ground.clock.now()) == 1)
        func listed(_ ledger: some LimitLedger) throws -> [String] {
            var lines: [String] = []
            var cursor: String?
            repeat {
                let page = try ledger.entries(onlyOver: false, after: cursor, limit: 33, now: ground.clock.now())
                lines += page.entries.filter { $0.blockedFor > .zero || $0.uses.contains { $0.used > 0 } }.map {
                    "\($0.limit) \($0.key) \($0.uses) \($0.blockedFor) \($0.isBlockedByAdmin)"
                }
                cursor = page.next
            } while cursor != nil
            return lines.sorted()
        }
        func copy(_ from: some LimitCopying, _ to: some LimitCopying) throws -> Int {
            var cursor: String?
            var copied = 0
            repeat {
                let page = try from.rows(after: cursor, atMost: 17, now: ground.clock.now())
                copied += try to.merge(page, now: ground.clock.now())
                // Interrupted and taken up again.
                copied += try to.merge(page, now: ground.clock.now()) - page.rows.count
                cursor = page.next
            } while cursor != nil
            return copied
        }
        let expected = try listed(own)
        #expect(expected.count == 120)
        #expect(try copy(own, ground.mx1.limits) == 120)
        #expect(try listed(ground.mx2.limits) == expected)
        #expect(try copy(own, ground.mx1.limits) == 120)
        #expect(try listed(ground.mx2.limits) == expected)
        let other = LimitMemory()
        other.prepare(ground.judge.terms)
        #expect(try copy(ground.mx2.limits, other) == 120)
        #expect(try copy(ground.mx2.limits, other) == 120)
        #expect(try listed(other) == expected)
        // What no longer counts is not taken along.
        ground.clock.advance(by: .seconds(9000))
        let late = own.rows(after: nil, atMost: 500, now: ground.clock.now())
        #expect(other.merge(late, now: ground.clock.now()) == 0)
    }

    @Test("codec: what is no value, key or answer is nothing")
    func codec() throws {
        let shape = try #require(
            LimitShape(
                name: "a:b", per: "client/32/64", count: .octets, spans: [1500], window: .fixed, isWide: true))
        let key = SharedLimitCodec.key(Array(shape.text.utf8), Array("2001:db8::/64".utf8))
        #expect(
            String(decoding: key, as: UTF8.self) == "postern:limit:a%3Ab:client/32/64:octets:1500msfw:2001:db8::/64")
        let parts = try #require(SharedLimitCodec.parts(key))
        #expect(parts.shape == shape && parts.key == LimitKey(text: "2001:db8::/64"))
        for text in [
            "", "postern:limit:", "postern:limit:a:b:octets:1s", "other:a:b:octets:1s:c", "postern:limit:a:b:c:1s:d",
        ] {
            #expect(SharedLimitCodec.parts(Array(text.utf8)) == nil, "\(text)")
        }
        #expect(SharedLimitCodec.parts(Array("postern:limit:a:b:octets:1s:".utf8))?.key == LimitKey(text: ""))
        var writer = MessagePackWriter()
        writer.beginArray(20)
        for number in [0, 127, 128, 255, 256, 65_535, 65_536, 1 << 32, 1 << 50, -5] { writer.append(number) }
        writer.append(octets: Array(repeating: 7, count: 40))
        var reader = MessagePackReader(writer.octets)
        #expect(reader.array() == 20)
        for number in [0, 127, 128, 255, 256, 65_535, 65_536, 1 << 32, 1 << 50, 0] {
            #expect(reader.number() == number)
        }
        #expect(reader.octets(atMost: 40) == Array(repeating: 7, count: 40) && reader.isAtEnd)
        for octets in [[0xFF], [0xD0, 0x80], [0xCF, 0xFF, 0, 0, 0, 0, 0, 0, 0], [0xCD, 1], []] as [[UInt8]] {
            var reader = MessagePackReader(octets)
            #expect(reader.number() == nil)
        }
    }
}
