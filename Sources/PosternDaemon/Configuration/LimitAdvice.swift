// What is right in a limit and yet hardly meant: limits that strangers use up for others, what is hardly ever counted,
// and actions that come too early. What Postfix asks at all is in main.cf and master.cf: whoever has read them says so.

import PosternAdmission
import PosternMail

enum LimitAdvice {
    static func give(on limit: LimitSettings, _ values: TableValues, _ reader: inout ValueReader) {
        func advise(_ text: String, _ key: String, at position: SourcePosition) {
            reader.advise(text, at: position, keyPath: "\(values.path).\(key)")
        }
        for key in [LimitTable.ipv4Prefix, LimitTable.ipv6Prefix]
        where values.gives(key) && !limit.per.contains(.client) {
            advise("\(key.name) changes nothing without \"client\" in per", key.name, at: values.position(of: key))
        }
        if limit.isForStrangers {
            advise(
                "strangers can use this limit up for others: add \"client\" or \"sasl_username\" to per, or keep it to "
                    + "clients or users", "per", at: values.position(of: LimitTable.per))
        }
        if limit.count == .connections, case .hold = limit.action {
            advise(
                "Postfix ignores hold where it asks before there is a message (smtpd_delay_reject = no), and a "
                    + "connection is counted at its first request", "action", at: values.position(of: LimitTable.action)
            )
        }
    }
}

extension LimitSettings {
    /// What anyone can write (a sender, a HELO), anyone can use up for others.
    fileprivate var isForStrangers: Bool {
        let isOfOne = per.contains { [.client, .clientName, .saslUsername].contains($0) }
        let isForSome = clients.map { networks in !networks.contains { $0.prefixLength == 0 } } ?? false
        // Without a login there is an empty one.
        let isForLogins = users.map { patterns in !patterns.contains { $0.matchesNoLogin } } ?? false
        return !isOfOne && !isForSome && !isForLogins
    }
}

extension MatchPattern {
    /// Of an expression that is wrong nothing is said: it is a problem already.
    fileprivate var matchesNoLogin: Bool {
        guard let table = try? PatternTable([self]) else { return false }
        return table.contains(.text([]))
    }
}

// MARK: Where Postfix asks

/// What main.cf and master.cf were found to say.
public struct LimitHooks: Hashable, Sendable {
    /// Some smtpd asks postern-rate about recipients.
    public let atRecipients: Bool
    /// Some smtpd asks it at the end of messages.
    public let atEnd: Bool

    public init(atRecipients: Bool, atEnd: Bool) {
        self.atRecipients = atRecipients
        self.atEnd = atEnd
    }
}

extension Configuration {
    /// What limits count otherwise than it looks, where Postfix does not ask; one for each way, at its first limit.
    public func advice(on hooks: LimitHooks, file: String) -> [ConfigurationProblem] {
        var advice: [ConfigurationProblem] = []
        func advise(_ text: String, _ isMeant: (LimitSettings) -> Bool) {
            guard let limit = limits.first(where: isMeant),
                let table = tables[LimitTable.declaration.path]?.first(where: { $0[LimitTable.name] == limit.name })
            else { return }
            let place = table.position(of: LimitTable.count)
            advice.append(
                ConfigurationProblem(
                    file: file, line: place.line, column: place.column, keyPath: "\(table.path).count", text: text,
                    severity: .warning, anchor: place))
        }
        if !hooks.atRecipients, !hooks.atEnd {
            advise("Postfix does not ask postern-rate: no smtpd restriction has its check_policy_service") { _ in true }
            return advice
        }
        if !hooks.atEnd {
            advise(
                "RCPT charges at once, also for what is refused or given up later: smtpd_end_of_data_restrictions do "
                    + "not ask postern-rate"
            ) { [.messages, .recipients].contains($0.count) }
            advise(
                "only sizes that clients announce are counted: smtpd_end_of_data_restrictions do not ask postern-rate"
            ) { $0.count == .octets }
        }
        if !hooks.atRecipients {
            advise(
                "only messages with a single recipient are counted: no recipient restriction asks postern-rate"
            ) { $0.isPerRecipient }
        }
        return advice
    }
}
