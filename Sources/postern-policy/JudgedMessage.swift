// One message of Postfix's through postern-policy: what is known of its client and sender is kept for its next
// recipient. What a request is worth is PolicyJudge's; here it becomes an answer, a line in the log, and counts.

import PosternAdmission
import PosternDaemon
import PosternMail
import PosternPolicy

final class JudgedMessage: PolicyTransaction {
    private let service: PolicyService
    private var facts = InstanceFacts()
    private let recorder: RequestRecorder?

    /// - Parameter recorder: keeps what is judged, if it is to be kept.
    init(service: PolicyService, recorder: RequestRecorder? = nil) {
        self.service = service
        self.recorder = recorder
    }

    func answer(_ request: PolicyRequest) -> PolicyOutcome {
        let (lists, senderPolicy) = (facts.lists, facts.senderPolicy)
        let verdict = service.verdict(on: request, facts: &facts)
        var tally = Tally<CheckCounter>()
        tally.count(verdict)
        if let found = facts.lists, found != lists { tally.count(found.lists) }
        if let found = facts.senderPolicy, senderPolicy == nil { tally.count(CheckCounter(found.result)) }
        service.counters.count(tally)
        if case .rule(let name) = verdict.decision?.check { service.ruleDecisions.count(name) }
        record(request, verdict, before: (lists, senderPolicy))
        guard Self.isWorthALine(verdict, request) else { return .silent(verdict.answer) }
        return .logged(
            verdict.answer, as: verdict.word, text: verdict.logText, counted: tally.readings + verdict.namesCounted)
    }

    /// Keeps the request, with what was found out for it; what was known of its message before is in an earlier record.
    private func record(
        _ request: PolicyRequest, _ verdict: PolicyVerdict, before: (lists: DNSBLFinding?, senderPolicy: SPFFinding?)
    ) {
        guard let recorder, recorder.isRecording else { return }
        recorder.record(
            RecordedRequest(
                .policy, at: service.now(), request, RecordedDecision(verdict),
                lists: facts.lists != before.lists ? facts.lists?.heard : nil,
                senderPolicy: before.senderPolicy == nil ? facts.senderPolicy : nil,
                greylist: verdict.findings.last { $0.check == .greylist }?.memory))
    }

    /// A line for each recipient that was looked at, and for whatever is not let go on.
    private static func isWorthALine(_ verdict: PolicyVerdict, _ request: PolicyRequest) -> Bool {
        if verdict.answer != .dunno || verdict.withheld != nil { return true }
        if verdict.findings.contains(where: \.isShadow) { return true }
        return request.stage == .rcpt && !verdict.findings.isEmpty
    }
}

extension PolicyVerdict {
    /// The rule that has decided, and the lists that speak of the client or sender. Lists are counted where they answer,
    /// once a message; their names stand in the lines of all of its recipients.
    fileprivate var namesCounted: [CounterReading] {
        var names: [CounterReading] = []
        if case .rule(let name) = decision?.check { names.append(CounterReading(PolicyService.ruleDecision(name), 1)) }
        for finding in findings where finding.outcome == .listed {
            guard case .list(let zone) = finding.check else { continue }
            names.append(CounterReading(ListReadings.name("listings_total", zone), 1))
        }
        return names
    }

    /// Its text; where mail goes on since greylisting let it, with the reason.
    var logText: String {
        guard decision == nil, let greylist = findings.last(where: { $0.check == .greylist }), !greylist.isShadow else {
            return text
        }
        return "\(text) (greylist: \(greylist.reason))"
    }
}
