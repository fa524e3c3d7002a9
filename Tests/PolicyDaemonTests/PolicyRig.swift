// postern-policy without its sockets: requests go to a transaction as the door would hand them over. DNS is a zone's
// text and may change, the clock is a test's, greylisting's memory has no file.

import AdmissionSupport
import PosternAdmission
import PosternDNS
import PosternDaemon
import PosternMail
import PosternPolicy
import Synchronization
import TestSupport

@testable import postern_policy

/// A well whose zone a test may change.
final class ChangingWell: DNSAnswering, Sendable {
    private let zone: Mutex<ZoneResolver>

    init(_ zone: ZoneResolver) { self.zone = Mutex(zone) }

    func change(to zone: ZoneResolver) { self.zone.withLock { $0 = zone } }
    var asked: [Question] { zone.withLock { $0 }.asked }
    func answers(to questions: [Question]) -> [Answer] { zone.withLock { $0 }.answers(to: questions) }
    func prefetch(_ questions: [Question]) { zone.withLock { $0 }.prefetch(questions) }
}

final class PolicyRig {
    let ledger = InMemoryGreylist()
    let log = RecordingLog()
    let clock: ScriptedClock
    let well: ChangingWell
    private(set) var service: PolicyService

    init(
        configuration: String, zone: String = "", failing: Set<DomainName> = [],
        now: UnixTime = UnixTime(seconds: 1_790_000_000)
    ) throws {
        let (clock, well) = (ScriptedClock(now), ChangingWell(try ZoneResolver(zone: zone, failing: failing)))
        (self.clock, self.well) = (clock, well)
        service = try PolicyService(
            try Self.read(configuration), after: nil, greylist: ledger, log: log, now: clock.now
        ) { _ in well }
    }

    private static func read(_ text: String) throws -> Configuration {
        let text = text.contains("[host]") ? text : "[host]\nname = \"mx1.example.org\"\n\(text)"
        let result = Configuration.read(Array(text.utf8), file: "scenario", folder: "/", for: .policy)
        guard let configuration = result.configuration else { throw WrongConfiguration(problems: result.problems) }
        return configuration
    }

    struct WrongConfiguration: Error { let problems: [ConfigurationProblem] }

    /// Puts another configuration in force, for messages that begin from now on.
    func reload(_ configuration: String) throws {
        let well = well
        service = try PolicyService(
            try Self.read(configuration), after: service, greylist: ledger, log: log, now: clock.now
        ) { _ in well }
    }

    /// What the daemon does each second.
    func proveLists() { service.health.probe(now: clock.now()) { well } }

    /// A message begins.
    func message() -> JudgedMessage { JudgedMessage(service: service) }

    var commands: PolicyCommands { PolicyCommands(service: service, greylist: ledger, log: log) }

    /// All documents of an answer.
    func ask(_ name: String, _ arguments: ControlDocument = [:]) throws -> [ControlDocument]? {
        switch try commands.answer(ControlCommand(name, arguments)) {
        case .document(let document)?: return [document]
        case .documents(let feed)?:
            var all: [ControlDocument] = []
            while true {
                switch feed.nextPart() {
                case .documents(let documents): all += documents
                case .nothingYet: continue
                case .end: return all
                }
            }
        case nil: return nil
        }
    }

    /// A counter by its metric's name without `postern_policy_` and `_total`.
    func counted(_ metric: String, _ label: String) -> UInt64? {
        service.counters.readings.first {
            $0.name.metric == "postern_policy_\(metric)_total" && $0.name.label?.value == label
        }?.value
    }
}

/// One request, as Postfix would make it.
struct Recipient {
    var stage = PolicyStage.rcpt
    var client = "192.0.2.7"
    var clientName = "mx.example.net"
    var helo = "mx.example.net"
    var sender = "ann@example.net"
    var recipient = "bo@example.org"
    var login = ""
    var instance = "1"

    var request: PolicyRequest {
        let values: [PolicyAttribute: String] = [
            .clientAddress: client, .clientName: clientName, .reverseClientName: clientName, .heloName: helo,
            .sender: sender, .recipient: recipient, .saslUsername: login, .instance: instance, .protocolName: "ESMTP",
        ]
        return PolicyRequest(stage: stage, values.mapValues { Array($0.utf8) })
    }
}

extension PolicyOutcome {
    /// `reject 550 5.7.1 No spam`.
    var text: String { "\(answer.word) \(answer.summary)" }
    /// `reject: 550 5.7.1 No spam (rule no spam)`; nil where the log says nothing.
    var line: String? { remark.map { "\($0.action): \($0.text)" } }
}
