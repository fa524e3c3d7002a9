// What is right in rules and yet hardly meant, told by `check`: header fields and copies that meet another answer, since
// Postfix takes one action for a request (access(5)), and conditions on a score that nothing gives.

internal import PosternAdmission
internal import PosternMail

enum RuleAdvice {
    /// - Parameter rules: in their order.
    /// - Parameter tables: the rules' tables; those of rules that are wrong are passed over.
    /// - Parameter hasLists: there is a `[[dnsbl.list]]`.
    static func give(
        on rules: [RuleSettings], _ tables: [TableValues], hasLists: Bool, _ reader: inout ValueReader
    ) {
        var collecting: [(rule: RuleSettings, path: String)] = []
        var givesScore = hasLists
        for (rule, table) in pairs(rules, tables) {
            let place = table.position(of: RuleTable.action)
            if !givesScore, rule.looksForAnotherScore {
                reader.advise(
                    "this never matches: no [[dnsbl.list]] and no rule above gives a score", at: table.position,
                    keyPath: table.path)
            }
            guard !rule.shadow, let action = rule.action else { continue }
            if case .score = action { givesScore = true }
            guard action.isToldAlone else { continue }
            if let other = collecting.first(where: { rule.canMatch(with: $0.rule) }) {
                let lost =
                    action.isCollected
                    ? "this is not done where \(other.path) matches too"
                    : "what \(other.path) adds is not done where this matches too"
                reader.advise(
                    "\(lost): Postfix takes one action for a request", at: place, keyPath: "\(table.path).action")
            }
            if action.isCollected { collecting.append((rule, table.path)) }
        }
    }

    private static func pairs(_ rules: [RuleSettings], _ tables: [TableValues]) -> [(RuleSettings, TableValues)] {
        var tables = tables[...]
        return rules.compactMap { rule in
            while let table = tables.popFirst() {
                if table[RuleTable.name] == rule.name { return (rule, table) }
            }
            return nil
        }
    }
}

extension RuleAction {
    /// A header field or a copy.
    fileprivate var isCollected: Bool {
        switch self {
        case .prepend, .bcc: true
        default: false
        }
    }

    /// Postfix is told of it, and the message goes on: two of them cannot be told at once. Who refuses wants nothing
    /// else to happen.
    fileprivate var isToldAlone: Bool {
        switch self {
        case .prepend, .bcc, .hold, .filter, .redirect: true
        case .accept, .reject, .defer, .score, .greylist: false
        }
    }
}

extension RuleSettings {
    /// Whether one request could match both, as far as single values of one attribute tell.
    fileprivate func canMatch(with other: RuleSettings) -> Bool {
        !conditions.contains { condition in
            other.conditions.contains { condition.excludes($0) || $0.excludes(condition) }
        }
    }

    /// It wants a score other than that of a client of whom nothing is known.
    fileprivate var looksForAnotherScore: Bool {
        conditions.contains { condition in
            guard condition.attribute == .dnsblScore, case .numbers(let ranges) = condition.values else { return false }
            return ranges.contains { $0.contains(0) } == condition.isNegated
        }
    }
}

extension RuleCondition {
    /// Whether no request fulfils both: all values of this are in the other's `not_` form, or both name single values
    /// and share none.
    fileprivate func excludes(_ other: RuleCondition) -> Bool {
        guard attribute == other.attribute, !isNegated, !values.isEmpty else { return false }
        if other.isNegated { return RuleCoverage(other).holds(values) }
        guard let own = values.singles, let others = other.values.singles else { return false }
        return own.isDisjoint(with: others)
    }
}

extension RuleCondition.Values {
    /// The values, where each is one value of the attribute; nil where one may be several.
    fileprivate var singles: Set<String>? {
        switch self {
        case .patterns(let patterns):
            var texts: Set<String> = []
            for pattern in patterns {
                switch pattern {
                case .exact(let text): texts.insert(text.lowercased())
                case .domain(let name): texts.insert(name.description)
                case .below, .addresses, .network, .expression: return nil
                }
            }
            return texts
        case .weekdays(let ranges): return Set(ranges.flatMap(\.days).map(\.rawValue))
        case .spf(let results): return Set(results.map(\.rawValue))
        case .numbers, .times: return nil
        }
    }
}
