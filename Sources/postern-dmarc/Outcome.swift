// From findings and what is decided about them to the verdict and its line in the log.

import PosternAuth
import PosternMail

extension MessageState.Outcome {
    init(_ message: JudgedMessage, _ decision: LocalDecision, _ service: JudgingService) {
        let measure = decision.measure
        var text = Self.text(of: message, decision)
        switch (measure.action, measure.reply) {
        case (.reject, let reply?), (.defer, let reply?):
            verdict = Verdict(.refuse(reply))
            text = "\(reply); \(text)"
        case (.hold, _):
            verdict = Verdict(.hold(measure.name), edits: Self.edits(message, service))
        case (.quarantine, _):
            verdict = Verdict(
                .accept,
                edits: Self.edits(message, service) + [
                    .insertOnTop(DispositionMark.quarantine(measure.check, measure.domain))
                ])
        case (.accept, _), (.reject, nil), (.defer, nil):
            verdict = Verdict(.accept, edits: Self.edits(message, service))
        }
        self.text = text
        action = measure.action == .accept ? "judge" : measure.action.rawValue
    }

    /// Our results, of the identities that are to be told.
    private static func edits(_ message: JudgedMessage, _ service: JudgingService) -> [HeaderEdit] {
        let spf = service.identities.compactMap { identity in message.spf.first { $0.isOf(identity) } }
        let results = AuthenticationResults(
            authservID: service.authservID, spf: spf, dkim: message.dkim, dmarc: message.governing)
        return [.insertOnTop(results.field())]
    }

    /// Octets of the signatures in a line: what comes behind them must not be cut off, however many a stranger adds and
    /// however long their names are.
    private static let maxSignatureOctets = 1000

    /// The signatures, as many as there is room for.
    private static func signatures(_ findings: [DKIMFinding]) -> [String] {
        guard !findings.isEmpty else { return ["dkim=none"] }
        var texts: [String] = []
        var octets = 0
        for text in findings.lazy.map(\.logText) {
            octets += text.utf8.count
            guard octets <= maxSignatureOctets else { break }
            texts.append(text)
        }
        let rest = findings.count - texts.count
        return rest == 0 ? texts : texts + ["dkim: \(rest) more"]
    }

    /// Everything that was found, and what was not done about it.
    private static func text(of message: JudgedMessage, _ decision: LocalDecision) -> String {
        var parts = message.spf.map(\.logText)
        parts += signatures(message.dkim)
        parts += message.dmarc.map(\.logText)
        if let override = decision.override { parts.append("override=\(override.rawValue)") }
        var text = parts.joined(separator: ", ")
        if let shadowed = decision.shadowed {
            text += ", would \(shadowed.action.rawValue): \(shadowed.reply.map { "\($0)" } ?? shadowed.name)"
        }
        return text
    }
}

extension LocalDecision.Measure {
    /// `dmarc example.com`.
    fileprivate var name: String { check + (domain.map { " \($0)" } ?? "") }
}
