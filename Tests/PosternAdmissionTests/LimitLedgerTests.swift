// What limits count and when, one rule a test: reservations, ends of messages, connections, blocks, room, clocks. What
// Postfix sends is in SMTPD_POLICY_README; that `allow` is kept under everything at once is LimitModelTests'.

import AdmissionSupport
import PosternAdmission
import PosternMail
import TestSupport
import Testing

@Suite("limits")
struct LimitLedgerTests {
    private static let hour = Duration.seconds(3600)
    private static let minute = Duration.seconds(60)

    @Test("200 are allowed and the 201st is deferred, in one message or in many")
    func amount() throws {
        for isAttached in [false, true] {
            let ground = try LimitGround([.of(allow: [(200, Self.hour)])])
            if isAttached { ground.attachHook() }
            let message = ground.message()
            #expect(ground.recipients(message, 201) == 200)
            #expect(ground.end(message, 200).answer == .dunno)
            #expect(ground.recipient(ground.message()).answer.word == "defer")

            let other = try LimitGround([.of(allow: [(200, Self.hour)])])
            if isAttached { other.attachHook() }
            for number in 0..<201 {
                let message = other.message()
                #expect((other.recipient(message).answer == .dunno) == (number < 200))
                if number < 200 { #expect(other.end(message, 1).answer == .dunno) }
            }
            #expect(other.used("ann") == [200])
        }
    }

    @Test("a refused request is charged to none, and shadows refuse nobody")
    func several() throws {
        let ground = try LimitGround([
            .of("wide", allow: [(10, Self.hour)]), .of("narrow", allow: [(2, Self.minute)]),
            .of("shadow", allow: [(1, Self.hour)], shadow: true),
        ])
        #expect(ground.recipients(ground.message(), 5) == 2)
        #expect(ground.used("ann") == [2, 2, 1])
        let verdict = ground.recipient(ground.message())
        #expect(verdict.decision?.limit == "narrow")
        #expect(verdict.findings.map(\.limit) == ["narrow", "shadow"])
        #expect(verdict.text.contains("shadow: would defer"))
    }

    @Test("hold lets the message in and does not charge what is over")
    func hold() throws {
        let ground = try LimitGround([
            .of("held", allow: [(2, Self.hour)], action: .hold("too many")), .of("all", allow: [(10, Self.hour)]),
        ])
        ground.attachHook()
        let message = ground.message()
        let words = (0..<4).map { ground.recipient(message, "r\($0)@example.net").answer.word }
        #expect(words == ["pass", "pass", "hold", "hold"])
        #expect(ground.end(message, 4).answer.word == "hold")
        #expect(ground.used("ann") == [2, 4])
    }

    @Test("the whole suite in shadow answers nothing")
    func shadow() throws {
        let ground = try LimitGround([.of(allow: [(1, Self.hour)])], isShadow: true)
        #expect(ground.recipients(ground.message(), 3) == 3)
        let verdict = ground.recipient(ground.message())
        #expect(verdict.word == "shadow")
        #expect(verdict.withheld?.word == "defer")
        #expect(ground.used("ann") == [1])
    }

    // MARK: Reservations

    @Test("a message refused at DATA gives its reservation back: at the next on its connection, or after 10 minutes")
    func refusedAtData() throws {
        let ground = try LimitGround([.of(allow: [(5, Self.hour)])])
        ground.attachHook()
        #expect(ground.recipients(ground.message(), 5) == 5)
        #expect(ground.reserved("ann") == 5)
        let next = ground.message()
        #expect(ground.recipients(next, 5) == 5, "the message before is over")
        ground.clock.advance(by: .seconds(599))
        var elsewhere = ground.message()
        elsewhere.port = "40002"
        #expect(ground.recipient(elsewhere).answer.word == "defer")
        ground.clock.advance(by: .seconds(1))
        #expect(ground.recipients(elsewhere, 6) == 5)
        #expect(ground.used("ann") == [0])
    }

    @Test("without an end-of-data hook RCPT charges at once, and what is refused later stays charged")
    func withoutHook() throws {
        let ground = try LimitGround([.of(allow: [(5, Self.hour)])])
        #expect(ground.recipients(ground.message(), 3) == 3)
        #expect(ground.used("ann") == [3])
        ground.clock.advance(by: .seconds(700))
        #expect(ground.recipients(ground.message(), 5) == 2)
        // Another port's hook says nothing of this one.
        var other = ground.message()
        other.account = "cy"
        other.service = "25"
        _ = ground.end(other, 1)
        #expect(ground.ledger.counts().reserving == ["25"])
        #expect(ground.recipient(ground.message()).answer.word == "defer")
    }

    @Test("a hook that is not heard any more is not believed in")
    func lostHook() throws {
        let ground = try LimitGround([.of(allow: [(1000, Self.hour)])])
        ground.attachHook()
        for _ in 0..<30 { _ = ground.recipient(ground.message()) }
        #expect(ground.ledger.counts().reserving.isEmpty)
        #expect(ground.used("ann") == [22], "8 were given back")
    }

    @Test("the end of a message counts what it has, repeated ends count once")
    func end() throws {
        let ground = try LimitGround([
            .of("recipients", allow: [(10, Self.hour)]), .of("messages", count: .messages, allow: [(3, Self.hour)]),
            .of("octets", count: .octets, allow: [(10_000, Self.hour)]),
        ])
        ground.attachHook()
        var message = ground.message()
        message.size = 500
        #expect(ground.recipients(message, 3) == 3)
        #expect(ground.reserved("ann") == 3 + 1 + 500)
        #expect(ground.end(message, 2, size: 700).answer == .dunno, "one recipient was refused by others")
        #expect(ground.used("ann") == [2, 1, 700])
        #expect(ground.reserved("ann") == 0)
        #expect(ground.end(message, 2, size: 700).answer == .dunno)
        #expect(ground.used("ann") == [2, 1, 700])
    }

    @Test("a message that is too large is refused as a whole and gives everything back")
    func tooLarge() throws {
        let ground = try LimitGround([
            .of("recipients", allow: [(10, Self.hour)]), .of("octets", count: .octets, allow: [(10_000, Self.hour)]),
        ])
        ground.attachHook()
        let message = ground.message()
        #expect(ground.recipients(message, 3) == 3)
        #expect(ground.end(message, 3, size: 10_001).decision?.limit == "octets")
        #expect(ground.used("ann") == [0, 0])
        #expect(ground.reserved("ann") == 0)
    }

    @Test("more than 4 GiB")
    func wide() throws {
        let ground = try LimitGround([.of(count: .octets, allow: [(1 << 40, Self.hour)])])
        for _ in 0..<4 { #expect(ground.end(ground.message(), 1, size: 1 << 38).answer == .dunno) }
        #expect(ground.used("ann") == [1 << 40])
        #expect(ground.end(ground.message(), 1, size: 1).answer.word == "defer")
    }

    @Test("a hook at END-OF-MESSAGE alone, and one at DATA")
    func lateHooks() throws {
        let ground = try LimitGround([.of(allow: [(10, Self.hour)])])
        #expect(ground.end(ground.message(), 6).answer == .dunno)
        let message = ground.message()
        #expect(ground.verdict(message.request(.data, recipients: 5)).answer.word == "defer")
        #expect(ground.verdict(message.request(.data, recipients: 4)).answer == .dunno)
        #expect(ground.reserved("ann") == 4)
        #expect(ground.end(message, 4).answer == .dunno)
        #expect(ground.used("ann") == [10])
    }

    @Test("a key with the recipient: each has its own, and the end settles all of them")
    func recipients() throws {
        let ground = try LimitGround([
            .of("domain", per: [.recipientDomain], allow: [(3, Self.hour)]),
            .of("size", per: [.recipient], count: .octets, allow: [(1000, Self.hour)]),
        ])
        ground.attachHook()
        let message = ground.message()
        for address in ["a@one.example", "b@one.example", "c@two.example"] {
            #expect(ground.recipient(message, address).answer == .dunno)
        }
        #expect(ground.reserved("one.example") == 2)
        #expect(ground.end(message, 3, size: 900).answer == .dunno)
        #expect(ground.used("one.example") == [2])
        #expect(ground.used("two.example") == [1])
        // The size was not announced: the end charges the keys that RCPT has named.
        #expect(["a@one.example", "b@one.example", "c@two.example"].map(ground.used) == [[900], [900], [900]])
        let next = ground.message()
        #expect(ground.recipient(next, "a@one.example").answer == .dunno)
        #expect(ground.recipient(next, "d@two.example").answer == .dunno)
        #expect(ground.end(next, 2, size: 101).decision?.key?.description == "a@one.example")
        #expect(ground.used("d@two.example").isEmpty, "a refused message is charged to none")
    }

    @Test("a message that takes over 10 minutes to come in is charged at its end")
    func slow() throws {
        let ground = try LimitGround([
            .of("account", allow: [(5, Self.hour)]), .of("domain", per: [.recipientDomain], allow: [(9, Self.hour)]),
        ])
        ground.attachHook()
        let slow = ground.message()
        #expect(ground.recipients(slow, 4) == 4)
        ground.clock.advance(by: .seconds(601))
        var other = ground.message()
        other.port = "40002"
        #expect(ground.recipients(other, 2) == 2)
        #expect(ground.end(slow, 4).answer.word == "defer", "its place is taken")
        #expect(ground.end(other, 2).answer == .dunno)
        #expect(ground.used("example.net") == [2])
        #expect(ground.end(slow, 3).answer == .dunno)
    }

    // MARK: Connections

    @Test("a connection counts once, whatever comes on it, and again when its port is another's")
    func connections() throws {
        let ground = try LimitGround([.of(per: [.client], count: .connections, allow: [(2, Self.hour)])])
        var message = ground.message()
        #expect(ground.recipients(message, 10) == 10)
        #expect(ground.used("192.0.2.7") == [1])
        message.port = "40002"
        #expect(ground.recipients(message, 2) == 2)
        message.port = "40003"
        #expect(ground.recipients(message, 2) == 0)
        message.port = "40001"
        #expect(ground.recipient(message).answer == .dunno)
        message.port = ""
        let verdict = ground.recipient(message)
        #expect(verdict.answer == .dunno && verdict.missing == 1)
        ground.clock.advance(by: .seconds(601))
        message.port = "40002"
        #expect(ground.recipient(message).answer.word == "defer")
        #expect(ground.verdict(message.request(.connect)).answer.word == "defer")
    }

    // MARK: Whom it concerns

    @Test("what is not known does not count; clients, users and except choose")
    func concerns() throws {
        let network = try Network("192.0.2.0/24")
        let ground = try LimitGround([
            .of("login", allow: [(1, Self.hour)]),
            .of("clients", per: [.client], allow: [(1, Self.hour)], clients: [network]),
            .of("users", per: [.client], allow: [(1, Self.hour)], users: [.exact("cy")]),
            .of(
                "except", per: [.senderDomain], allow: [(1, Self.hour)],
                except: [.domain(try DomainName("example.org"))]),
        ])
        var message = ground.message()
        message.account = ""
        message.client = "198.51.100.1"
        let verdict = ground.recipient(message)
        #expect(verdict.missing == 1 && ground.ledger.counts().keys == 0)
        message.sender = "cy@example.com"
        message.account = "cy"
        message.client = "192.0.2.9"
        #expect(ground.recipient(message).answer == .dunno)
        #expect(ground.used("cy") == [1])
        #expect(ground.used("192.0.2.9") == [1, 1])
        #expect(ground.used("example.com") == [1])
        let findings = ground.judge.explanation(
            of: message.request(.rcpt, recipient: "x@example.net"), ledger: ground.ledger, now: ground.clock.now()
        ).findings
        #expect(findings.map(\.outcome) == [.over, .over, .over, .over])
        #expect(ground.used("cy") == [1], "explaining counts nothing")
    }

    @Test("keys: networks by their length, case and strange octets")
    func keys() throws {
        let ground = try LimitGround([
            .of("net", per: [.client, .sender], allow: [(9, Self.hour)], prefixes: (24, 56)),
            .of("helo", per: [.helo], allow: [(9, Self.hour)]),
        ])
        for (client, sender, key) in [
            ("192.0.2.200", "Ann@Example.ORG", "192.0.2.0/24,ann@example.org"),
            ("2001:db8:1:2ff::1", "", "2001:db8:1:200::/56,<>"),
            ("::ffff:192.0.2.1", "a,b%\u{e9}@x", "192.0.2.0/24,a%2cb%25%c3%a9@x"),
        ] {
            var message = ground.message()
            message.client = client
            message.sender = sender
            #expect(ground.recipient(message).answer == .dunno)
            #expect(ground.used(key) == [1])
        }
        #expect(ground.used("CLIENT.example") == [3])
    }

    // MARK: Reaction

    @Test("one that goes over is refused for the time of block, and told once")
    func block() throws {
        let ground = try LimitGround([.of(allow: [(2, Self.minute)], warnAt: 50, block: .seconds(600))])
        let message = ground.message()
        let first = ground.recipient(message)
        #expect(first.events.map(\.kind) == [.nearing])
        #expect(ground.recipient(message).events.isEmpty)
        let over = ground.recipient(message)
        let event = try #require(over.events.first)
        #expect(event.kind == .over && event.blockedFor == .seconds(600))
        #expect(event.clients == [try #require(IPAddress("192.0.2.7"))])
        #expect(
            "\(event)"
                == "limit test over: ann: 2 of 2 recipients in 60s; blocked for 600s; account=<ann> clients=192.0.2.7")
        ground.clock.advance(by: .milliseconds(599_999))
        let still = ground.recipient(message)
        #expect(still.decision?.reason == "ann: blocked, free in 1s")
        #expect(still.events.isEmpty)
        ground.clock.advance(by: .milliseconds(1))
        #expect(ground.recipient(message).answer == .dunno)
    }

    @Test("what was admitted before a block goes through, but not past an admin's")
    func blockedOnTheWay() throws {
        for isAdmin in [false, true] {
            let ground = try LimitGround([.of(allow: [(3, Self.hour)], block: Self.hour)])
            ground.attachHook()
            let message = ground.message()
            #expect(ground.recipients(message, 4) == 3)
            if isAdmin {
                #expect(
                    ground.ledger.block(LimitKey(text: "ANN"), limit: nil, for: Self.hour, now: ground.clock.now()) == 1
                )
            }
            #expect((ground.end(message, 3).answer == .dunno) == !isAdmin)
        }
    }

    @Test("admins list, show, block, unblock and clear")
    func admin() throws {
        let ground = try LimitGround([
            .of("a", allow: [(2, Self.hour)]), .of("b", per: [.client], allow: [(100, Self.hour)]),
        ])
        _ = ground.recipients(ground.message(), 3)
        var now: UnixTime { ground.clock.now() }
        let ann = LimitKey(text: "ann")
        #expect(ground.ledger.entries(onlyOver: true, after: nil, limit: 10, now: now).entries.map(\.limit) == ["a"])
        var pages: [String] = []
        var cursor: String?
        repeat {
            let page = ground.ledger.entries(onlyOver: false, after: cursor, limit: 1, now: now)
            pages += page.entries.map { "\($0.limit) \($0.key)" }
            cursor = page.next
        } while cursor != nil
        #expect(pages == ["a ann", "b 192.0.2.7"])
        #expect(ground.ledger.entries(onlyOver: false, after: "-1:x", limit: 5, now: now).entries.count == 2)
        #expect(ground.ledger.clear(ann, limit: "b", now: now) == 0)
        #expect(ground.ledger.clear(ann, limit: nil, now: now) == 1)
        #expect(ground.recipient(ground.message()).answer == .dunno)
        #expect(ground.ledger.block(LimitKey(text: "new"), limit: nil, for: .seconds(9), now: now) == 0)
        #expect(ground.ledger.block(LimitKey(text: "new"), limit: "a", for: .seconds(9), now: now) == 1)
        var message = ground.message()
        message.account = "new"
        #expect(ground.recipient(message).answer.word == "defer")
        #expect(ground.ledger.unblock(LimitKey(text: "new"), limit: nil, now: now) == 1)
        #expect(ground.recipient(message).answer == .dunno)
    }

    // MARK: Room and clocks

    @Test("a flood of keys costs its own network's keys, and never what is over its limit")
    func flood() throws {
        let ground = try LimitGround([.of(per: [.sender], allow: [(2, Self.hour)])], maxKeys: 1000)
        for number in 0..<100 {
            var message = ground.message()
            message.client = "203.0.\(number).1"
            message.sender = "\(number)@example.org"
            _ = ground.recipients(message, number < 50 ? 1 : 2)
        }
        // The flood's own network has some that are over their limit.
        for number in 0..<50 {
            var message = ground.message()
            message.client = "198.51.100.1"
            message.sender = "over\(number)@example.com"
            #expect(ground.recipients(message, 3) == 2)
        }
        for number in 0..<20_000 {
            var message = ground.message()
            message.client = "198.51.100.\(number % 250)"
            message.port = "\(number % 60_000 + 1)"
            message.sender = "flood\(number)@example.com"
            #expect(ground.recipient(message).answer == .dunno)
        }
        #expect(ground.ledger.counts().keys == 1000)
        #expect(ground.ledger.counts().evicted == 19_150)
        let over = (50..<100).count { ground.used("\($0)@example.org") == [2] }
        #expect(over == 50)
        let overInFlood = (0..<50).count { ground.used("over\($0)@example.com") == [2] }
        #expect(overInFlood == 50)
        let quiet = (0..<50).count { ground.used("\($0)@example.org") == [1] }
        #expect(quiet >= 45, "chance has its share: some 8 in 1000 look only at quiet keys")
    }

    @Test("keys that count nothing any more go")
    func idle() throws {
        let ground = try LimitGround([.of(per: [.sender], allow: [(2, Self.minute)])])
        for number in 0..<500 {
            var message = ground.message()
            message.sender = "\(number)@example.org"
            _ = ground.recipient(message)
        }
        ground.clock.advance(by: .seconds(66))
        for _ in 0..<300 { _ = ground.recipient(ground.message()) }
        #expect(ground.ledger.counts().keys == 1)
    }

    @Test("messages on their way are bounded, and none is kept for longer than it is needed")
    func instances() throws {
        let ground = try LimitGround([.of(allow: [(1_000_000_000, Self.hour)])])
        for _ in 0..<66_000 { _ = ground.recipient(ground.message()) }
        #expect(ground.ledger.counts().instances <= 65_537)
        ground.clock.advance(by: .seconds(3601))
        for _ in 0..<1100 { _ = ground.recipient(ground.message()) }
        #expect(ground.ledger.counts().instances <= 1100)
    }

    @Test("a clock that is set back makes nobody unlimited and keeps nobody for longer than the span and a slot")
    func clockBack() throws {
        let ground = try LimitGround([.of(allow: [(2, Self.minute)])])
        #expect(ground.recipients(ground.message(), 3) == 2)
        ground.clock.advance(by: .seconds(-3600))
        #expect(ground.recipients(ground.message(), 3) == 0)
        ground.clock.advance(by: .seconds(66))
        #expect(ground.recipients(ground.message(), 3) == 2)
    }

    @Test("a clock that jumps ahead gives one allowance, not more")
    func clockAhead() throws {
        let ground = try LimitGround([.of(allow: [(2, Self.minute)])])
        #expect(ground.recipients(ground.message(), 3) == 2)
        ground.clock.advance(by: .seconds(3600))
        #expect(ground.recipients(ground.message(), 3) == 2)
        ground.clock.advance(by: .seconds(-3600))
        #expect(ground.recipients(ground.message(), 3) == 0)
    }

    @Test("requests that say little are answered")
    func strange() throws {
        let ground = try LimitGround([
            .of("a", per: LimitAttribute.allCases, allow: [(2, Self.minute)]),
            .of("b", count: .octets, allow: [(2, Self.minute)]),
            .of("c", per: [.client], count: .connections, allow: [(2, Self.minute)]),
        ])
        for stage in PolicyStage.allCases {
            #expect(ground.verdict(PolicyRequest(stage: stage, [:])).answer == .dunno)
            let long = [UInt8](repeating: 0xFF, count: 5000)
            let all = Dictionary(uniqueKeysWithValues: PolicyAttribute.allCases.map { ($0, long) })
            #expect(ground.verdict(PolicyRequest(stage: stage, all)).answer == .dunno)
        }
    }
}
