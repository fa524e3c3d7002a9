// What an admin and a sender are told of a limit: how a key stands, why a limit does not apply, and when what was asked
// is let in, which must be true to the millisecond.

import AdmissionSupport
import PosternAdmission
import PosternMail
import TestSupport
import Testing

@Suite("limits explained")
struct LimitExplanationTests {
    private static let hour = Duration.seconds(3600)
    private static let minute = Duration.seconds(60)

    private func explained(
        _ ground: LimitGround, _ request: PolicyRequest? = nil
    ) -> LimitVerdict {
        let request = request ?? LimitMessage("explained").request(.rcpt, recipient: "bo@example.net")
        return ground.judge.explanation(of: request, ledger: ground.ledger, now: ground.clock.now())
    }

    @Test(
        "free in: a millisecond before, it is refused, and then it is let in", arguments: [LimitWindow.sliding, .fixed])
    func freeIn(_ window: LimitWindow) throws {
        var random = SeededRandom(seed: 7)
        var refused = 0
        var longest = Duration.zero
        for _ in 0..<200 {
            let narrow = Int.random(in: 1...4, using: &random)
            let ground = try LimitGround([
                .of(
                    allow: [(narrow + Int.random(in: 1...6, using: &random), .seconds(600)), (narrow, Self.minute)],
                    block: .seconds(Int.random(in: 0...1, using: &random) * 90), window: window)
            ])
            ground.clock.advance(by: .milliseconds(Int.random(in: 0...700_000, using: &random)))
            for _ in 0..<20 {
                ground.clock.advance(by: .milliseconds(Int.random(in: 0...40_000, using: &random)))
                _ = ground.recipient(ground.message())
            }
            // A block begins with what is refused.
            guard ground.recipient(ground.message()).answer.word == "defer" else { continue }
            let free = try #require(explained(ground).findings.first?.freeIn)
            refused += 1
            longest = max(longest, free)
            ground.clock.advance(by: free - .milliseconds(1))
            #expect(explained(ground).answer.word == "defer")
            ground.clock.advance(by: .milliseconds(1))
            #expect(explained(ground).answer == .dunno && explained(ground).findings.first?.freeIn == .zero)
            #expect(ground.recipient(ground.message()).answer == .dunno)
        }
        #expect(refused > 50)
        // A cell more than the span, or anvil's second.
        #expect(longest <= (window == .sliding ? .seconds(650) : .seconds(601)))
    }

    @Test("of several spans, the one that is over for longest is told; what is never let in is told so")
    func spans() throws {
        let ground = try LimitGround([.of(allow: [(2, Self.minute), (4, Self.hour)])])
        for _ in 0..<2 {
            #expect(ground.recipients(ground.message(), 2) == 2)
            ground.clock.advance(by: .seconds(70))
        }
        #expect(
            ground.recipient(ground.message()).findings.first?.reason.contains("4 of 4 recipients in 3600s") == true)
        let many = LimitMessage("i").request(.endOfMessage, recipients: 9, size: 1)
        let finding = try #require(explained(ground, many).findings.first)
        #expect(finding.outcome == .over && finding.freeIn == nil)
        #expect(finding.reason.hasSuffix(", asked for 9, more than is ever free"))
    }

    @Test("what messages on their way hold is free when they have lapsed and are gone, at the latest")
    func reserved() throws {
        let ground = try LimitGround([.of(allow: [(2, Self.hour)])])
        ground.attachHook()
        #expect(ground.recipients(ground.message(), 2) == 2)
        let free = try #require(explained(ground).findings.first?.freeIn)
        #expect(free == .seconds(600 + 3600 + 300))
        ground.clock.advance(by: free)
        #expect(ground.recipient(ground.message()).answer == .dunno)
    }

    @Test("each limit: over, pass or why not; nothing is counted")
    func findings() throws {
        let ground = try LimitGround([
            .of("used up", allow: [(2, Self.hour), (1, Self.minute)]), .of("free", allow: [(9, Self.hour)]),
            .of("others", allow: [(1, Self.hour)], users: [.exact("cy")]),
            .of("names", per: [.clientName], allow: [(1, Self.hour)]),
            .of("late", count: .octets, allow: [(1, Self.hour)]),
            .of("shadow", allow: [(1, Self.hour)], shadow: true),
        ])
        #expect(ground.recipients(ground.message(), 1) == 1)
        let before = ground.used("ann")
        let verdict = explained(ground)
        #expect(verdict.answer.word == "defer" && verdict.decision?.limit == "used up")
        #expect(verdict.findings.map(\.outcome) == [.over, .pass, .skipped, .skipped, .skipped, .over])
        #expect(
            verdict.findings.map(\.reason) == [
                "ann: 1 of 2 recipients in 3600s; 1 of 1 recipients in 60s, free in 65s",
                "ann: 1 of 9 recipients in 3600s", "the login is none of users", "client_name is not known",
                "size is not announced", "ann: 1 of 1 recipients in 3600s, free in 3700s",
            ])
        #expect(verdict.findings.map { $0.standing?.uses.count } == [2, 1, nil, nil, nil, 1])
        #expect(verdict.events.isEmpty && ground.used("ann") == before)
    }

    @Test("a block is told, and what is used up behind it")
    func blocked() throws {
        let ground = try LimitGround([.of(allow: [(1, Self.hour)], block: .seconds(90))])
        _ = ground.recipients(ground.message(), 2)
        let finding = try #require(explained(ground).findings.first)
        #expect(finding.reason == "ann: 1 of 1 recipients in 3600s; blocked for 90s, free in 3700s")
        _ = ground.ledger.clear(LimitKey(text: "ann"), limit: nil, now: ground.clock.now())
        _ = ground.ledger.block(LimitKey(text: "ann"), limit: nil, for: Self.minute, now: ground.clock.now())
        #expect(
            explained(ground).findings.first?.reason
                == "ann: 0 of 1 recipients in 3600s; blocked for 60s, free in 60s")
    }
}
