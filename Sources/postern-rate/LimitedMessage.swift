// One message of Postfix's through postern-rate. What a request is worth is LimitJudge's; here it becomes an answer and
// a line in the log, and the message's end without END-OF-MESSAGE gives back what it had reserved.

import PosternAdmission
import PosternDaemon
import PosternMail
import PosternPolicy

final class LimitedMessage: PolicyTransaction {
    private let service: RateService
    /// All of a message's requests have the same instance and client.
    private var last: PolicyRequest?

    private let recorder: RequestRecorder?

    /// - Parameter recorder: keeps what is judged, if it is to be kept.
    init(service: RateService, recorder: RequestRecorder? = nil) {
        self.service = service
        self.recorder = recorder
    }

    func answer(_ request: PolicyRequest) -> PolicyOutcome {
        last = request
        let verdict = service.verdict(on: request)
        record(.limits, request, RecordedDecision(verdict))
        guard Self.isWorthALine(verdict) else { return .silent(verdict.answer) }
        return .logged(
            verdict.answer, as: verdict.word, text: verdict.text,
            counted: Tally(verdict).readings
                + verdict.limitsOver.map { CounterReading(LimitVerdict.limitOver($0), 1) })
    }

    func end() {
        guard let last else { return }
        service.judge.end(last, ledger: service.ledger, now: service.now())
        // After END-OF-MESSAGE the end changes nothing.
        if last.stage != .endOfMessage { record(.end, last, RecordedDecision(word: "pass")) }
    }

    private func record(_ kind: RecordedRequest.Kind, _ request: PolicyRequest, _ decision: RecordedDecision) {
        guard let recorder, recorder.isRecording else { return }
        recorder.record(RecordedRequest(kind, at: service.now(), request, decision))
    }

    /// Whatever is not let go on, and what would not be.
    private static func isWorthALine(_ verdict: LimitVerdict) -> Bool {
        verdict.answer != .dunno || verdict.withheld != nil || verdict.findings.contains(where: \.isShadow)
    }
}
