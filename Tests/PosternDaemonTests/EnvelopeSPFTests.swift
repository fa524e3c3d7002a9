// What SPF may take of a policy request's time.

import PosternAdmission
import PosternDNS
import PosternMail
import PosternSocket
import Synchronization
import TestSupport
import Testing

@testable import PosternDaemon

@Suite("SPF of a policy request")
struct EnvelopeSPFTests {
    /// A well on scripted time, in which names at and below a tarpit use up what a question may take.
    final class SlowWell: DNSAnswering, Sendable {
        let zone: ZoneResolver
        let tarpit: DomainName
        private let time = Mutex(MonotonicTime(nanoseconds: 1_000_000_000))

        init(zone: String, tarpit: String) throws {
            self.zone = try ZoneResolver(zone: zone)
            self.tarpit = try DomainName(tarpit)
        }

        func now() -> MonotonicTime { time.withLock { $0 } }

        func answers(to questions: [Question]) -> [Answer] {
            Issue.record("a question without a limit: \(questions)")
            return zone.answers(to: questions)
        }
        func answers(
            to questions: [Question], within limit: Duration, until isEnough: ([Answer?]) -> Bool
        ) -> [Answer?] {
            guard questions.contains(where: { $0.name.isEqualOrBelow(tarpit) }) else {
                return zone.answers(to: questions)
            }
            time.withLock { $0 = $0 + limit }
            return questions.map { _ in .temporaryFailure("late") }
        }
        func prefetch(_ questions: [Question]) {}
    }

    static let zone = """
        ptr.example. 60 TXT "v=spf1 ptr include:inc.example -all"
        inc.example. 60 TXT "v=spf1 ip4:192.0.2.0/24 -all"
        slow.example. 60 TXT "v=spf1 include:tarpit.example -all"
        7.2.0.192.in-addr.arpa. 60 PTR x.tarpit.example.
        """

    @Test(
        "slow names leave time for what matters, and half the request for others",
        arguments: [
            ("ptr.example", "2.0.192.in-addr.arpa", SPFResult.pass), ("ptr.example", "tarpit.example", .pass),
            ("slow.example", "tarpit.example", .temperror), ("x.tarpit.example", "tarpit.example", .temperror),
        ])
    func share(_ domain: String, _ tarpit: String, _ result: SPFResult) throws {
        let well = try SlowWell(zone: Self.zone, tarpit: tarpit)
        let began = well.now()
        let spf = EnvelopeSPF(receiver: try DomainName("mx.example.net"), clock: well.now)
        let request = PolicyRequest(stage: .rcpt, [.sender: Array("ann@\(domain)".utf8)])
        let client = try #require(IPAddress("192.0.2.7"))
        let finding = spf.senderPolicy(for: request, client: client, dns: well, now: UnixTime(seconds: 0))
        #expect(finding.result == result)
        #expect(well.now() - began <= EnvelopeSPF.share)
    }
}
