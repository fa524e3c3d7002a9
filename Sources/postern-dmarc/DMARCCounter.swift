// What postern-dmarc counts, at its door.

import PosternAuth
import PosternMail

enum DMARCCounter: Int, CounterSet {
    // What became of messages; each is counted once here.
    case accepted, quarantined, held, deferred, rejected, refused, passed
    // Why messages passed unjudged.
    case ours, relay, passthrough, reinjected
    // What would have become of messages that were accepted or let off more lightly in shadow.
    case wouldQuarantine, wouldHold, wouldDefer, wouldReject
    // What DMARC says of messages; each judged one is counted once.
    case dmarcNone, dmarcPass, dmarcFail, dmarcTemperror, dmarcPermerror
    // What SPF says of MAIL FROM; each judged message once.
    case spfNone, spfNeutral, spfPass, spfFail, spfSoftfail, spfTemperror, spfPermerror
    // What signatures are worth, each one; `none` for a message without any.
    case dkimNone, dkimPass, dkimFail, dkimPolicy, dkimNeutral, dkimTemperror, dkimPermerror
    // Why policies were not applied as published.
    case localPolicy, mailingList, other, policyTestMode, trustedForwarder
    case resultsRemoved, marksRemoved, dnsTemporaryFailures, overloaded

    var name: CounterName {
        switch self {
        case .accepted: Self.message("accepted")
        case .quarantined: Self.message("quarantined")
        case .held: Self.message("held")
        case .deferred: Self.message("deferred")
        case .rejected: Self.message("rejected")
        case .refused: Self.message("refused")
        case .passed: Self.message("passed")
        case .ours: Self.passed("ours")
        case .relay: Self.passed("relay")
        case .passthrough: Self.passed("passthrough")
        case .reinjected: Self.passed("reinjected")
        case .wouldQuarantine: Self.would("quarantine")
        case .wouldHold: Self.would("hold")
        case .wouldDefer: Self.would("defer")
        case .wouldReject: Self.would("reject")
        case .dmarcNone: Self.dmarc(.none)
        case .dmarcPass: Self.dmarc(.pass)
        case .dmarcFail: Self.dmarc(.fail)
        case .dmarcTemperror: Self.dmarc(.temperror)
        case .dmarcPermerror: Self.dmarc(.permerror)
        case .spfNone: Self.spf(.none)
        case .spfNeutral: Self.spf(.neutral)
        case .spfPass: Self.spf(.pass)
        case .spfFail: Self.spf(.fail)
        case .spfSoftfail: Self.spf(.softfail)
        case .spfTemperror: Self.spf(.temperror)
        case .spfPermerror: Self.spf(.permerror)
        case .dkimNone: Self.dkim(.none)
        case .dkimPass: Self.dkim(.pass)
        case .dkimFail: Self.dkim(.fail)
        case .dkimPolicy: Self.dkim(.policy)
        case .dkimNeutral: Self.dkim(.neutral)
        case .dkimTemperror: Self.dkim(.temperror)
        case .dkimPermerror: Self.dkim(.permerror)
        case .localPolicy: Self.override(.localPolicy)
        case .mailingList: Self.override(.mailingList)
        case .other: Self.override(.other)
        case .policyTestMode: Self.override(.policyTestMode)
        case .trustedForwarder: Self.override(.trustedForwarder)
        case .resultsRemoved: CounterName("postern_dmarc_results_fields_removed_total")
        case .marksRemoved: CounterName("postern_dmarc_disposition_fields_removed_total")
        case .dnsTemporaryFailures: CounterName("postern_dmarc_dns_temporary_failures_total")
        case .overloaded: CounterName("postern_dmarc_overloaded_total")
        }
    }

    private static func message(_ verdict: String) -> CounterName {
        CounterName("postern_dmarc_messages_total", "verdict", verdict)
    }
    private static func passed(_ reason: String) -> CounterName {
        CounterName("postern_dmarc_passed_total", "reason", reason)
    }
    private static func would(_ verdict: String) -> CounterName {
        CounterName("postern_dmarc_shadow_total", "verdict", verdict)
    }
    private static func dmarc(_ result: DMARCResult) -> CounterName {
        CounterName("postern_dmarc_results_total", "result", result.rawValue)
    }
    private static func spf(_ result: SPFResult) -> CounterName {
        CounterName("postern_dmarc_spf_total", "result", result.rawValue)
    }
    private static func dkim(_ result: DKIMResult) -> CounterName {
        CounterName("postern_dmarc_signatures_total", "result", result.rawValue)
    }
    private static func override(_ reason: DMARCOverride) -> CounterName {
        CounterName("postern_dmarc_overrides_total", "reason", reason.rawValue)
    }
}

extension DMARCCounter {
    /// Why a message passes unjudged; `nil` for a stranger's, which is judged.
    init?(passed origin: MailOrigin) {
        switch origin {
        case .ours: self = .ours
        case .relay: self = .relay
        case .passthrough: self = .passthrough
        case .reinjected: self = .reinjected
        case .stranger: return nil
        }
    }

    init(_ action: MailAction) {
        self =
            switch action {
            case .accept: .accepted
            case .quarantine: .quarantined
            case .hold: .held
            case .defer: .deferred
            case .reject: .rejected
            }
    }

    /// `nil` for `accept`, which is never stricter than what was done.
    init?(shadowed action: MailAction) {
        switch action {
        case .accept: return nil
        case .quarantine: self = .wouldQuarantine
        case .hold: self = .wouldHold
        case .defer: self = .wouldDefer
        case .reject: self = .wouldReject
        }
    }

    init(_ result: DMARCResult) {
        self =
            switch result {
            case .none: .dmarcNone
            case .pass: .dmarcPass
            case .fail: .dmarcFail
            case .temperror: .dmarcTemperror
            case .permerror: .dmarcPermerror
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

    init(_ result: DKIMResult) {
        self =
            switch result {
            case .none: .dkimNone
            case .pass: .dkimPass
            case .fail: .dkimFail
            case .policy: .dkimPolicy
            case .neutral: .dkimNeutral
            case .temperror: .dkimTemperror
            case .permerror: .dkimPermerror
            }
    }

    init(_ override: DMARCOverride) {
        self =
            switch override {
            case .localPolicy: .localPolicy
            case .mailingList: .mailingList
            case .other: .other
            case .policyTestMode: .policyTestMode
            case .trustedForwarder: .trustedForwarder
            }
    }
}

extension Tally<DMARCCounter> {
    /// One judged message.
    mutating func count(_ message: JudgedMessage, _ decision: LocalDecision) {
        count(DMARCCounter(decision.measure.action))
        if let shadowed = decision.shadowed.flatMap({ DMARCCounter(shadowed: $0.action) }) { count(shadowed) }
        if let override = decision.override { count(DMARCCounter(override)) }
        count(DMARCCounter(message.governing.result))
        if let mailFrom = message.mailFrom { count(DMARCCounter(mailFrom.result)) }
        if message.dkim.isEmpty { count(.dkimNone) }
        for finding in message.dkim { count(DMARCCounter(finding.result)) }
        count(.dnsTemporaryFailures, by: message.dnsTemporaryFailures)
    }
}

extension JudgedMessage {
    /// Findings that say nothing because DNS did not answer.
    fileprivate var dnsTemporaryFailures: Int {
        spf.count { $0.result == .temperror }
            + dkim.count { finding in
                if finding.result == .temperror, case .keyUnavailable = finding.reason { true } else { false }
            }
            + dmarc.count { finding in
                switch finding.reason {
                case .recordUnavailable, .existenceUnknown: true
                default: false
                }
            }
    }
}
