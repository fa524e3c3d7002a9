// From findings and what is decided about them to the verdict and its line in the log.

import PosternAuth
import PosternMail
import PosternMilter

extension MessageOutcome {
    /// - Parameter removed: what the line says of fields that are removed, if any.
    init(_ message: JudgedMessage, _ decision: LocalDecision, _ removed: [String], _ service: JudgingService) {
        let measure = decision.measure
        var (verdict, reply) = (Verdict(.accept), Reply?.none)
        switch (measure.action, measure.reply) {
        case (.reject, let told?), (.defer, let told?):
            verdict.disposition = .refuse(told)
            reply = told
        case (.hold, _):
            verdict = Verdict(.hold(measure.name), edits: Self.edits(message, service))
        case (.quarantine, _):
            verdict.edits =
                Self.edits(message, service) + [
                    .insertOnTop(DispositionMark.quarantine(measure.check, measure.domain))
                ]
        case (.accept, _), (.reject, nil), (.defer, nil):
            verdict.edits = Self.edits(message, service)
        }
        self.init(
            verdict, action: measure.action == .accept ? "judge" : measure.action.rawValue,
            text: Self.text(of: message, decision, reply, reply == nil ? removed : []))
    }

    /// Our results, of the identities that are to be told.
    private static func edits(_ message: JudgedMessage, _ service: JudgingService) -> [HeaderEdit] {
        let spf = service.identities.compactMap { identity in message.spf.first { $0.isOf(identity) } }
        let results = AuthenticationResults(
            authservID: service.authservID, spf: spf, dkim: message.dkim, dmarc: message.governing)
        return [.insertOnTop(results.field())]
    }

    /// Everything that was found, and what was not done about it. The verdict and its reasons stand first, and the
    /// signatures get the room that is left: however many a stranger adds, they push nothing out of the line.
    private static func text(
        of message: JudgedMessage, _ decision: LocalDecision, _ reply: Reply?, _ removed: [String]
    ) -> String {
        let governing = message.governing
        var parts = [(reply.map { "\($0); " } ?? "") + governing.logText]
        if let override = decision.override { parts.append("override=\(override.rawValue)") }
        if let shadowed = decision.shadowed {
            parts.append("would \(shadowed.action.rawValue): \(shadowed.reply.map { "\($0)" } ?? shadowed.name)")
        }
        parts += message.dmarc.filter { $0 != governing }.map(\.logText)
        parts += message.spf.map(\.logText)
        let octets = (parts + removed).reduce(0) { $0 + $1.utf8.count + ", ".utf8.count }
        parts.append(message.dkim.logText(within: OutcomeLine.maxTextOctets - octets))
        return (parts + removed).joined(separator: ", ")
    }
}

extension LocalDecision.Measure {
    /// `dmarc example.com`.
    fileprivate var name: String { check + (domain.map { " \($0)" } ?? "") }
}
