// Lists that die, refuse, are parked, fall silent or list the world (RFC 5782 §5): none of it refuses mail, each is told
// once, and each list comes back by itself. Zone and clock are the test's.

import Foundation
import PosternDNS
import PosternMail
import Synchronization
import TestSupport
import Testing

@testable import PosternAdmission

@Suite("health of DNS lists")
struct DNSBLHealthTests {
    private let clock = ScriptedClock(noon)

    /// A judge of lists, their health, and the well that both ask.
    private final class Rig: Sendable {
        let judge: DNSBLJudge
        let health: DNSBLHealth
        let well: ChangingWell
        let clock: ScriptedClock
        let told: Told

        init(_ lists: [DNSBLListSettings], _ zone: String, clock: ScriptedClock, isProved: Bool = true) throws {
            self.clock = clock
            well = try ChangingWell(zone)
            let told = Told()
            self.told = told
            health = DNSBLHealth(lists) { notice in told.notices.withLock { $0.append(notice) } }
            judge = DNSBLJudge(dnsblSettings(lists), health: health)
            if isProved { probe() }
            well.forget()
        }

        /// What was told; beside the rig, so that nothing holds itself.
        final class Told: Sendable {
            let notices = Mutex<[DNSBLNotice]>([])
        }

        func probe(after time: Duration = .zero) {
            clock.advance(by: time)
            health.probe(now: clock.now()) { well }
        }

        func ask(_ client: String = "192.0.2.7", telling: PolicyTelling = .outcome) -> DNSBLFinding {
            judge.finding(
                for: request([.clientAddress: client]), ruleScore: 0, wantsScore: true, telling: telling, dns: well,
                now: clock.now())
        }

        /// What a recipient is told.
        func outcome(_ client: String = "192.0.2.7") -> PolicyFinding.Outcome {
            judge.decision(on: request(), ruleScore: 0, lists: ask(client)).outcome
        }

        var states: [DNSBLListStatus.State] { health.statuses.map(\.state) }
        var notices: [String] { told.notices.withLock { $0.map(\.text) } }
    }

    private static let well = testEntries("l.example") + "7.2.0.192.l.example. A 127.0.0.2\n"

    private func rig(_ zone: String = well, isProved: Bool = true, by: DNSBLSubject = .client) throws -> Rig {
        try Rig([try list("l.example", by: by)], zone, clock: clock, isProved: isProved)
    }

    // MARK: Proving

    @Test(
        "what proves a list, and what is wrong with it",
        arguments: [
            ("2.0.0.127.l.example. A 127.0.0.2", .client, .working, nil),
            // RFC 5782 §5: any answer in 127/8 will do.
            ("2.0.0.127.l.example. A 127.0.1.99", .client, .working, nil),
            ("x.example. A 192.0.2.1", .client, .suspended, "127.0.0.2 is not listed"),
            ("*.l.example. A 127.0.0.2", .client, .suspended, "127.0.0.1 is listed"),
            ("2.0.0.127.l.example. A 127.0.0.2\n1.0.0.127.l.example. A 127.0.0.2", .client, .suspended, "127.0.0.1 is"),
            ("*.l.example. A 192.0.2.80", .client, .suspended, "it answers 192.0.2.80"),
            ("2.0.0.127.l.example. A 127.255.255.254", .client, .suspended, "refuses to answer"),
            // RFC 5782 §5: IPv6 lists have ::FFFF:7F00:2 and have not ::FFFF:7F00:1.
            (
                "2.0.0.127.l.example. A 127.0.0.2\n"
                    + "2.0.0.0.0.0.f.7.f.f.f.f.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.l.example. A 127.0.0.2",
                .client, .working, nil
            ),
            (
                "2.0.0.127.l.example. A 127.0.0.2\n"
                    + "1.0.0.0.0.0.f.7.f.f.f.f.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.l.example. A 127.0.0.2",
                .client, .suspended, "::ffff:127.0.0.1 is listed"
            ),
            // RFC 5782 §5: lists of names have TEST and have not INVALID; that TEST is missing is only told.
            ("test.l.example. A 127.0.0.2", .sender, .working, nil),
            ("x.example. A 192.0.2.1", .helo, .working, "TEST is not listed"),
            ("*.l.example. A 127.0.0.2", .clientName, .suspended, "INVALID is listed"),
            ("test.l.example. A 127.255.255.255", .sender, .suspended, "refuses to answer"),
        ] as [(String, DNSBLSubject, DNSBLListStatus.State, String?)])
    func proof(_ zone: String, _ by: DNSBLSubject, _ state: DNSBLListStatus.State, _ reason: String?) throws {
        let rig = try rig(zone, by: by)
        let status = try #require(rig.health.statuses.first)
        #expect(status.state == state && status.zone == "l.example" && status.by == by)
        #expect(reason.map { status.reason?.contains($0) == true } ?? (status.reason == nil))
        #expect(rig.notices.count == (state == .suspended ? 1 : 0))
        if by == .client { #expect(state != .working || status.listsIPv6 == zone.contains("2.0.0.0.0.0.f.7")) }
        _ = rig.ask()
        #expect(rig.well.asked.isEmpty == (state == .suspended))
    }

    @Test("a list is not asked before it is proved; where DNS is not up yet it is tried again soon")
    func unproved() throws {
        let rig = try rig(isProved: false)
        #expect(rig.outcome() == .pass && rig.states == [.unproved] && rig.well.asked.isEmpty)
        try rig.well.change("", failing: ["2.0.0.127.l.example", "1.0.0.127.l.example"])
        rig.probe()
        #expect(rig.states == [.unproved] && rig.notices.isEmpty)
        try rig.well.change(Self.well)
        rig.probe(after: .seconds(4))
        #expect(rig.states == [.unproved])
        rig.probe(after: .seconds(1))
        #expect(rig.states == [.working] && rig.outcome() == .reject && rig.notices.isEmpty)
    }

    @Test("a list that works is proved every quarter of an hour, not with every request")
    func interval() throws {
        let rig = try rig()
        for _ in 0..<100 { _ = rig.ask() }
        for _ in 0..<899 { rig.probe(after: .seconds(1)) }
        #expect(Set(rig.well.askedNames) == ["7.2.0.192.l.example"])
        rig.well.forget()
        rig.probe(after: .seconds(1))
        #expect(
            Set(rig.well.askedNames.map { String($0.prefix(9)) }) == [
                "2.0.0.127", "1.0.0.127", "2.0.0.0.0", "1.0.0.0.0",
            ])
        #expect(rig.well.batches == 1)
        // A clock that is set back by a day does not stop it.
        rig.well.forget()
        rig.probe(after: .seconds(-86_400))
        #expect(rig.well.batches == 1)
    }

    // MARK: Watching

    @Test(
        "a list that starts to refuse, or is parked, in the middle: suspended with the first such answer",
        arguments: ["127.255.255.254", "127.255.255.252", "127.255.255.255", "203.0.113.80"])
    func refusal(_ address: String) throws {
        let rig = try rig()
        #expect(rig.outcome() == .reject)
        try rig.well.change("*.l.example. A \(address)\n2.0.0.127.l.example. A \(address)")
        #expect(rig.outcome() == .pass)
        #expect(rig.states == [.suspended])
        rig.well.forget()
        for _ in 0..<50 { #expect(rig.outcome() == .pass) }
        #expect(rig.well.asked.isEmpty && rig.notices.count == 1)
        #expect(rig.notices.first?.contains("l.example is suspended: it ") == true)
        // It goes on refusing: it is looked at after 1, 2, 4 ... minutes, in the end once an hour, and nothing is said.
        var probed: [Int] = []
        for minute in 1...600 {
            rig.well.forget()
            rig.probe(after: .seconds(60))
            if rig.well.batches > 0 { probed.append(minute) }
        }
        #expect(probed == [1, 2, 4, 8, 16, 32, 64, 124, 184, 244, 304, 364, 424, 484, 544])
        #expect(rig.notices.count == 1 && rig.health.statuses.first?.suspensions == 1)
        // It is well again.
        try rig.well.change(Self.well)
        rig.probe(after: .seconds(3600))
        #expect(rig.states == [.working] && rig.outcome() == .reject)
        #expect(rig.notices.count == 2 && rig.notices.last?.contains("works again") == true)
    }

    @Test("a silent list: suspended after failures in a row that last, not by one bad second")
    func silence() throws {
        let rig = try Rig(
            [try list("l.example"), try list("m.example")],
            testEntries("l.example", "m.example") + "7.2.0.192.m.example. A 127.0.0.2", clock: clock)
        let failing = ["7.2.0.192.l.example", "2.0.0.127.l.example", "1.0.0.127.l.example"]
        let broken = testEntries("m.example") + "7.2.0.192.m.example. A 127.0.0.2"
        try rig.well.change(broken, failing: failing)
        for _ in 0..<100 { #expect(rig.outcome() == .reject) }  // m.example still lists
        #expect(rig.states == [.working, .working])
        clock.advance(by: .seconds(11))
        #expect(rig.ask().lists.map(\.outcome) == [.unanswered, .listed])
        #expect(rig.states == [.suspended, .working] && rig.notices.count == 1)
        #expect(rig.ask().lists.map(\.outcome) == [.suspended, .listed])
        rig.probe(after: .seconds(60))
        #expect(rig.states == [.suspended, .working] && rig.notices.count == 1)
        // Where all are silent our own DNS is down: nobody waits for longer and longer.
        try rig.well.change(testEntries("l.example", "m.example"))
        rig.probe(after: .seconds(61))
        #expect(rig.states == [.working, .working] && rig.notices.count == 2)
    }

    @Test("one answer ends a row of failures")
    func notSilent() throws {
        let rig = try rig()
        for _ in 0..<20 {
            try rig.well.change(Self.well, failing: ["7.2.0.192.l.example"])
            for _ in 0..<7 { _ = rig.ask() }
            try rig.well.change(Self.well)
            _ = rig.ask()
            clock.advance(by: .seconds(20))
        }
        #expect(rig.states == [.working] && rig.notices.isEmpty)
    }

    @Test("a list that lists the world: nobody is refused once it shows, and it comes back when it is proved")
    func world() throws {
        let rig = try rig()
        for number in 0..<250 { _ = rig.ask("198.51.100.\(number)") }  // nobody listed
        try rig.well.change("*.l.example. A 127.0.0.2\n2.0.0.127.l.example. A 127.0.0.2")
        let outcomes = (0..<250).map { rig.outcome("203.0.113.\($0)") }
        let refused = outcomes.filter { $0 == .reject }.count
        #expect(refused < DNSBLListState.window && outcomes.last == .pass)
        #expect(rig.states == [.suspended] && rig.notices.count == 1)
        rig.probe()  // at once, and the test entries confirm it
        #expect(rig.health.statuses.first?.reason?.contains("127.0.0.1 is listed") == true)
        #expect(rig.notices.count == 1)
        try rig.well.change(Self.well)
        rig.probe(after: .seconds(60))
        #expect(rig.states == [.working])
    }

    @Test("a few clients listed in a row have a list proved at once, once a minute")
    func doubt() throws {
        let rig = try rig(testEntries("l.example") + "*.113.0.203.l.example. A 127.0.0.2")
        clock.advance(by: .seconds(60))
        for number in 0..<7 { #expect(rig.outcome("203.0.113.\(number)") == .reject) }
        rig.well.forget()
        rig.probe()
        #expect(rig.well.batches == 0)
        try rig.well.change("*.l.example. A 127.0.0.2\n2.0.0.127.l.example. A 127.0.0.2")
        #expect(rig.outcome("203.0.113.7") == .reject)
        rig.probe(after: .seconds(1))
        #expect(rig.states == [.suspended] && rig.outcome("203.0.113.8") == .pass)
        try rig.well.change(testEntries("l.example") + "*.113.0.203.l.example. A 127.0.0.2")
        rig.probe(after: .seconds(60))
        rig.well.forget()
        for number in 0..<20 { #expect(rig.outcome("203.0.113.\(number)") == .reject) }
        rig.well.forget()
        rig.probe(after: .seconds(59))
        #expect(rig.well.batches == 0 && rig.states == [.working])
        _ = rig.ask("203.0.113.99")  // too soon
        rig.probe(after: .seconds(1))
        #expect(rig.well.batches == 1)
        _ = rig.ask("203.0.113.100")
        rig.probe()
        #expect(rig.well.batches == 3)  // the request and the probe
        _ = rig.ask("203.0.113.101")
        rig.probe(after: .seconds(1))
        #expect(rig.well.batches == 4)
    }

    @Test("a wave of spam: the list is proved at once and goes on")
    func wave() throws {
        let rig = try rig()
        for number in 0..<250 { _ = rig.ask("198.51.100.\(number)") }
        try rig.well.change(testEntries("l.example") + "*.113.0.203.l.example. A 127.0.0.2")
        for number in 0..<64 { _ = rig.ask("203.0.113.\(number)") }
        #expect(rig.states == [.suspended])
        rig.probe(after: .seconds(1))
        #expect(rig.states == [.working])
        for number in 64..<250 { #expect(rig.outcome("203.0.113.\(number)") == .reject) }
        #expect(rig.states == [.working] && rig.notices.count == 2)
    }

    @Test("one client that comes often, and a list that always lists nearly all, are no jump")
    func noJump() throws {
        let often = try rig()
        for number in 0..<250 { _ = often.ask("198.51.100.\(number)") }
        for _ in 0..<1000 { #expect(often.outcome() == .reject) }
        let wide = try rig(testEntries("l.example") + "*.113.0.203.l.example. A 127.0.0.2")
        for host in 0..<2000 { _ = wide.ask("203.0.113.\(host % 250)") }
        #expect(often.states == [.working] && wide.states == [.working])
    }

    // MARK: Beside

    @Test("explain neither heals nor sickens, and shows what is suspended and why")
    func explain() throws {
        let rig = try rig()
        try rig.well.change("*.l.example. A 127.255.255.254")
        #expect(rig.ask(telling: .everything).lists.map(\.outcome) == [.unanswered])
        #expect(rig.states == [.working])
        _ = rig.ask()
        let told = try #require(rig.ask(telling: .everything).lists.first)
        #expect(told.outcome == .suspended && told.reason.contains("127.255.255.254"))
    }

    @Test("a reload keeps what is known of lists that stay")
    func reload() throws {
        let rig = try rig()
        try rig.well.change("*.l.example. A 127.255.255.254")
        _ = rig.ask()
        let next = DNSBLHealth([try list("n.example"), try list("l.example")], after: rig.health)
        #expect(next.statuses.map(\.state) == [.unproved, .suspended])
        #expect(next.statuses.last?.suspensions == 1)
    }

    @Test("a key is not in notices or status")
    func keys() throws {
        let zone = "abcdefghijklmnopqrstuvwxyz.zen.dq.spamhaus.net"
        let rig = try Rig([try list(zone)], "*.\(zone). A 127.255.255.252", clock: clock)
        #expect(rig.notices.count == 1 && rig.notices.first?.contains("(key).zen.dq.spamhaus.net") == true)
        #expect(!"\(rig.notices) \(rig.health.statuses)".contains("abcdefgh"))
    }

    @Test("many threads ask while lists fall ill and are proved: each change is told once")
    func threads() throws {
        let rig = try rig()
        for round in 0..<20 {
            try rig.well.change(round % 2 == 0 ? "*.l.example. A 127.255.255.254" : Self.well)
            DispatchThreads.run(8) { _ in
                for _ in 0..<20 { _ = rig.ask() }
            }
            rig.probe(after: .seconds(7200))
        }
        let changes = rig.told.notices.withLock { $0.map(\.change) }
        #expect(changes == (0..<20).map { $0 % 2 == 0 ? .suspended : .returned })
    }
}

private enum DispatchThreads {
    static func run(_ count: Int, _ body: @escaping @Sendable (Int) -> Void) {
        DispatchQueue.concurrentPerform(iterations: count, execute: body)
    }
}
