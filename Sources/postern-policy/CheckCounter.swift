// What postern-policy counts of its checks; what it answers is counted by the door.

import PosternAdmission
import PosternMail
import PosternStore

enum CheckCounter: Int, CounterSet {
    // Who has decided; each judged request once. `none` where nobody objected.
    case byRule, byLists, byGreylist, byNone
    // What a check, or the whole suite, would have done if it did not only observe.
    case shadowReject, shadowDefer, shadowOther
    // What lists say; each list of a message that was asked once.
    case listed, notListed, unanswered, suspended
    // Lists that fell ill, and those that came back.
    case listSuspended, listReturned
    case greylistWait, greylistPass
    // What SPF says; each message that it was asked for once.
    case spfNone, spfNeutral, spfPass, spfFail, spfSoftfail, spfTemperror, spfPermerror

    var name: CounterName {
        switch self {
        case .byRule: Self.decided("rule")
        case .byLists: Self.decided("dnsbl")
        case .byGreylist: Self.decided("greylist")
        case .byNone: Self.decided("none")
        case .shadowReject: Self.shadow("reject")
        case .shadowDefer: Self.shadow("defer")
        case .shadowOther: Self.shadow("other")
        case .listed: Self.lists(.listed)
        case .notListed: Self.lists(.notListed)
        case .unanswered: Self.lists(.unanswered)
        case .suspended: Self.lists(.suspended)
        case .listSuspended: CounterName("postern_policy_list_changes_total", "change", "suspended")
        case .listReturned: CounterName("postern_policy_list_changes_total", "change", "returned")
        case .greylistWait: CounterName("postern_policy_greylist_total", "outcome", "defer")
        case .greylistPass: CounterName("postern_policy_greylist_total", "outcome", "pass")
        case .spfNone: Self.spf(.none)
        case .spfNeutral: Self.spf(.neutral)
        case .spfPass: Self.spf(.pass)
        case .spfFail: Self.spf(.fail)
        case .spfSoftfail: Self.spf(.softfail)
        case .spfTemperror: Self.spf(.temperror)
        case .spfPermerror: Self.spf(.permerror)
        }
    }

    private static func decided(_ check: String) -> CounterName {
        CounterName("postern_policy_decisions_total", "check", check)
    }
    private static func shadow(_ action: String) -> CounterName {
        CounterName("postern_policy_shadow_total", "action", action)
    }
    private static func lists(_ outcome: PolicyFinding.Outcome) -> CounterName {
        CounterName("postern_policy_list_answers_total", "outcome", "\(outcome)")
    }
    private static func spf(_ result: SPFResult) -> CounterName {
        CounterName("postern_policy_spf_total", "result", result.rawValue)
    }
}

extension CheckCounter {
    init(_ decision: PolicyFinding?) {
        self =
            switch decision?.check {
            case .rule: .byRule
            case .dnsbl, .list: .byLists
            case .greylist: .byGreylist
            case .spf, nil: .byNone
            }
    }

    init(shadowed answer: PolicyAnswer) {
        self =
            switch answer {
            case .reject: .shadowReject
            case .defer, .deferIfPermit: .shadowDefer
            case .dunno, .hold, .prepend, .filter, .redirect, .bcc: .shadowOther
            }
    }

    init(_ result: SPFResult) {
        self =
            switch result {
            case .none: .spfNone
            case .neutral: .spfNeutral
            case .pass: .spfPass
            case .fail: .spfFail
            case .softfail: .spfSoftfail
            case .temperror: .spfTemperror
            case .permerror: .spfPermerror
            }
    }
}

extension Tally<CheckCounter> {
    /// One judged request.
    mutating func count(_ verdict: PolicyVerdict) {
        count(CheckCounter(verdict.decision))
        if let withheld = verdict.withheld { count(CheckCounter(shadowed: withheld)) }
        for finding in verdict.findings {
            if finding.isShadow, let answer = finding.answer { count(CheckCounter(shadowed: answer)) }
            if finding.check == .greylist { count(finding.outcome == .defer ? .greylistWait : .greylistPass) }
        }
    }

    /// What the lists said of one message.
    mutating func count(_ lists: [PolicyFinding]) {
        for list in lists {
            switch list.outcome {
            case .listed: count(.listed)
            case .notListed: count(.notListed)
            case .unanswered: count(.unanswered)
            case .suspended: count(.suspended)
            default: break  // without a subject for it
            }
        }
    }
}

/// How much greylisting remembers.
enum GreylistReadings {
    static func of(_ store: GreylistStore) -> [CounterReading] {
        guard let counts = try? store.counts() else { return [] }  // told where it was found
        return [
            ("waiting", counts.waiting), ("passed", counts.passed), ("clients", counts.clients),
            ("domains", counts.domains),
        ].map { kind, value in
            CounterReading(CounterName("postern_policy_greylist_entries", "kind", kind), UInt64(clamping: value))
        }
    }
}
