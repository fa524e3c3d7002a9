// What postern-dkim counts, at its door.

import PosternMail

enum DKIMCounter: Int, CounterSet {
    // What became of messages; each is counted once here.
    case signed, verified, passed, refused, deferred
    // Why messages passed as they were.
    case relay, passthrough, reinjected, unsigned, verifyOff
    // What signatures are worth, each one; `none` for a message without any.
    case resultNone, resultPass, resultFail, resultPolicy, resultNeutral, resultTemperror, resultPermerror
    case forgedRemoved, dnsTemporaryFailures, overloaded

    var name: CounterName {
        switch self {
        case .signed: Self.message("signed")
        case .verified: Self.message("verified")
        case .passed: Self.message("passed")
        case .refused: Self.message("refused")
        case .deferred: Self.message("deferred")
        case .relay: Self.passed("relay")
        case .passthrough: Self.passed("passthrough")
        case .reinjected: Self.passed("reinjected")
        case .unsigned: Self.passed("no_key")
        case .verifyOff: Self.passed("verify_off")
        case .resultNone: Self.result(.none)
        case .resultPass: Self.result(.pass)
        case .resultFail: Self.result(.fail)
        case .resultPolicy: Self.result(.policy)
        case .resultNeutral: Self.result(.neutral)
        case .resultTemperror: Self.result(.temperror)
        case .resultPermerror: Self.result(.permerror)
        case .forgedRemoved: CounterName("postern_dkim_forged_fields_removed_total")
        case .dnsTemporaryFailures: CounterName("postern_dkim_dns_temporary_failures_total")
        case .overloaded: CounterName("postern_dkim_overloaded_total")
        }
    }

    init(_ result: DKIMResult) {
        self =
            switch result {
            case .none: .resultNone
            case .pass: .resultPass
            case .fail: .resultFail
            case .policy: .resultPolicy
            case .neutral: .resultNeutral
            case .temperror: .resultTemperror
            case .permerror: .resultPermerror
            }
    }

    private static func message(_ verdict: String) -> CounterName {
        CounterName("postern_dkim_messages_total", "verdict", verdict)
    }
    private static func passed(_ reason: String) -> CounterName {
        CounterName("postern_dkim_passed_total", "reason", reason)
    }
    private static func result(_ result: DKIMResult) -> CounterName {
        CounterName("postern_dkim_signatures_total", "result", result.rawValue)
    }
}

extension CounterSink<DKIMCounter> {
    /// The results of one message's signatures.
    func count(_ findings: [DKIMFinding]) {
        if findings.isEmpty { count(.resultNone) }
        for finding in findings {
            count(DKIMCounter(finding.result))
            if finding.result == .temperror, case .keyUnavailable = finding.reason { count(.dnsTemporaryFailures) }
        }
    }
}
