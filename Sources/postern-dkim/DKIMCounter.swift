// What postern-dkim counts, at its door.

import PosternAuth
import PosternMail

enum DKIMCounter: Int, CounterSet {
    // What became of messages; each is counted once here.
    case signed, verified, passed, refused, deferred
    // Why messages passed as they were.
    case relay, passthrough, reinjected, unsigned, verifyOff
    // What relays may alter in a signed message.
    case fragileEightBit, fragileLongLine, fragileBareLineEnd
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
        case .fragileEightBit: Self.fragile("eight_bit")
        case .fragileLongLine: Self.fragile("long_line")
        case .fragileBareLineEnd: Self.fragile("bare_line_end")
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

    init(_ fragility: Fragility) {
        self =
            switch fragility {
            case .eightBit: .fragileEightBit
            case .longLine: .fragileLongLine
            case .bareLineEnd: .fragileBareLineEnd
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
    private static func fragile(_ reason: String) -> CounterName {
        CounterName("postern_dkim_fragile_total", "reason", reason)
    }
    private static func result(_ result: DKIMResult) -> CounterName {
        CounterName("postern_dkim_signatures_total", "result", result.rawValue)
    }
}

extension Tally<DKIMCounter> {
    /// The results of one message's signatures.
    mutating func count(_ findings: [DKIMFinding]) {
        if findings.isEmpty { count(.resultNone) }
        for finding in findings {
            count(DKIMCounter(finding.result))
            if finding.result == .temperror, case .keyUnavailable = finding.reason { count(.dnsTemporaryFailures) }
        }
    }
}
