import PosternMail
import TestSupport
import Testing

@testable import PosternForwarder

@Suite("admission")
struct AdmissionTests {
    /// 16 places: halves of 8, the last 2 and 1 of them for mail authentication.
    private let limits = Limits(active: 16, total: 64)

    private func applicant(_ client: Int32, _ zone: String, mail: Bool = false) throws -> Applicant {
        try applicant(client, zone, mail ? .policy : .other)
    }

    private func applicant(_ client: Int32, _ zone: String, _ precedence: Precedence) throws -> Applicant {
        Applicant(accounts: [.process(client), .zone(try DomainName(zone))], precedence: precedence)
    }

    /// Lets `count` in; the standing of each.
    private func enter(
        _ admission: inout Admission<Applicant>, _ count: Int, mail: Bool = false,
        _ accounts: (Int) -> (Int32, String)
    ) throws -> [Bool?] {
        try (0..<count).map { number in
            let (client, zone) = accounts(number)
            return admission.enter(try applicant(client, zone, mail: mail))
        }
    }

    @Test("a client holds at most half of the places, an eighth of that for mail authentication alone")
    func client() throws {
        var admission = Admission<Applicant>(limits)
        let flood = try enter(&admission, 20) { (1, "z\($0).test") }
        #expect(flood == Array(repeating: true, count: 7) + Array(repeating: false, count: 13))
        #expect(try enter(&admission, 2, mail: true) { (1, "m\($0).test") } == [true, false])
        #expect(try enter(&admission, 1) { _ in (2, "z0.test") } == [true])
    }

    @Test("a zone holds at most half of the places")
    func zone() throws {
        var admission = Admission<Applicant>(limits)
        let flood = try enter(&admission, 20) { (Int32($0), "dnsbl.test") }
        #expect(flood == Array(repeating: true, count: 7) + Array(repeating: false, count: 13))
        #expect(try enter(&admission, 1) { _ in (1, "other.test") } == [true])
    }

    @Test("the last eighth of all places is for mail authentication")
    func reserve() throws {
        var admission = Admission<Applicant>(limits)
        let flood = try enter(&admission, 20) { (Int32($0), "z\($0).test") }
        #expect(flood == Array(repeating: true, count: 14) + Array(repeating: false, count: 6))
        #expect(try enter(&admission, 3, mail: true) { (Int32($0), "m\($0).test") } == [true, true, false])
    }

    @Test("there is an end to the line, for one client and for all")
    func total() throws {
        var admission = Admission<Applicant>(limits)
        let one = try enter(&admission, 40) { (1, "z\($0).test") }
        #expect(one.filter { $0 != nil }.count == 32)
        let all = try enter(&admission, 40) { (Int32($0) + 2, "y\($0).test") }
        #expect(all.filter { $0 != nil }.count == 24)  // 56 of 64
        let mail = try enter(&admission, 20, mail: true) { (Int32($0) + 2, "x\($0).test") }
        #expect(mail.filter { $0 != nil }.count == 8)
    }

    @Test("mail authentication comes first when a place is free")
    func order() throws {
        var admission = Admission<Applicant>(limits)
        let first = try (0..<16).map { try applicant(Int32($0), "z\($0).test", mail: true) }
        for member in first { #expect(admission.enter(member) == true) }
        let other = try applicant(50, "a.test")
        let mail = try applicant(51, "b.test", mail: true)
        #expect(admission.enter(other) == false)
        #expect(admission.enter(mail) == false)
        var started: [ObjectIdentifier] = []
        for member in first.prefix(4) { started += admission.leave(member).map(ObjectIdentifier.init) }
        #expect(started == [ObjectIdentifier(mail), ObjectIdentifier(other)])
        #expect(admission.leave(mail).isEmpty && admission.leave(mail).isEmpty)
    }

    @Test("keys and SPF records leave the last sixteenth, and of each half, to policies, which go first")
    func policies() throws {
        var admission = Admission<Applicant>(Limits(active: 32, total: 64))
        // One daemon's questions, at names that nobody answers for: half of the places, one of them kept.
        let flood = try (0..<20).map { try applicant(1, "k\($0).test", .authentication) }
        #expect(
            flood.map { admission.enter($0) } == Array(repeating: true, count: 15) + Array(repeating: false, count: 5))
        #expect(admission.enter(try applicant(1, "p1.test", .policy)) == true)
        let waiting = try applicant(1, "p2.test", .policy)
        #expect(admission.enter(waiting) == false)
        // The next free place is a policy's, though the flood has stood in line for longer.
        #expect(admission.leave(try #require(flood.first)).map(ObjectIdentifier.init) == [ObjectIdentifier(waiting)])
        #expect(admission.leave(flood[1]).isEmpty)  // of 16 places 14 keys and two policies were taken: 15 are left
    }

    @Test("against a model: no cap is ever passed, and nobody waits who has a place")
    func model() throws {
        var random = SeededRandom(seed: 9)
        for round in 0..<20 {
            var admission = Admission<Applicant>(limits)
            var members: [Applicant] = []
            for step in 0..<2000 {
                if members.isEmpty || Int.random(in: 0..<100, using: &random) < 52 {
                    let member = try applicant(
                        Int32.random(in: 0..<4, using: &random), "z\(Int.random(in: 0..<4, using: &random)).test",
                        Precedence.allCases.randomElement(using: &random) ?? .other)
                    if let mayStart = admission.enter(member) {
                        #expect(mayStart == (member.standing == .active))
                        members.append(member)
                    }
                } else {
                    let gone = members.remove(at: Int.random(in: 0..<members.count, using: &random))
                    for started in admission.leave(gone) where started.standing != .active {
                        Issue.record("started and not active")
                    }
                }
                let problem = Self.problem(members, limits, admission)
                if let problem {
                    Issue.record("round \(round), step \(step): \(problem)")
                    return
                }
            }
            for member in members { _ = admission.leave(member) }
            #expect(try enter(&admission, 1) { _ in (1, "a.test") } == [true])
        }
    }

    private static func problem(
        _ members: [Applicant], _ limits: Limits, _ admission: Admission<Applicant>
    ) -> String? {
        let active = members.filter { $0.standing == .active }
        if active.count > limits.active { return "\(active.count) active" }
        for account in Set(active.flatMap(\.accounts)) {
            let held = active.count { $0.accounts.contains(account) }
            if held > limits.active / 2 { return "\(account) holds \(held)" }
        }
        if let waiting = members.first(where: { $0.standing == .waiting && admission.hasPlace($0) }) {
            return "\(waiting.accounts) waits for nothing"
        }
        return nil
    }
}
