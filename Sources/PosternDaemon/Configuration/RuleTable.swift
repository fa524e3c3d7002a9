// `[[rule]]`: what postern-policy does before all other checks, in the order in which the rules are written.

internal import PosternAdmission
internal import PosternMail

enum RuleTable {
    /// Most values of one condition, those of files counted.
    static let maxValues = 1_000_000

    static let name = RequiredKey(
        "name", .text(.word("a name such as \"partner\"")), example: "partner",
        "What logs and explain call it; no two are called alike.")
    static let skip = Key(
        "skip", .set(of: .oneOf(PolicyCheck.self)), default: [],
        "Checks that are left out: \"dnsbl\", \"greylist\". A rule has a skip, an action or both.")
    static let action = Key<WrittenAction?>(
        "action", .text(.ruleAction), example: WrittenAction.example("reject 5.7.1 You are not me"),
        "What is done: accept (no more checks of ours), reject and defer with [CODE] [STATUS] TEXT, hold TEXT, "
            + "greylist, redirect ADDRESS, filter TRANSPORT:DESTINATION: these end the list. "
            + "score NUMBER, prepend FIELD: TEXT, bcc ADDRESS: these go on. Postfix takes one action for a recipient: "
            + "of several prepend and bcc the first, none where something refuses.")
    static let shadow = Key("shadow", .boolean, default: false, "Only log and count that it matches, and go on.")

    static let declaration = TableDeclaration(
        "rule", isArray: true,
        "A rule of postern-policy; write this table once for each. They are tried in order, before DNS lists and "
            + "greylisting. All conditions that are given must hold, by any of their values; not_KEY instead of KEY "
            + "negates. What is not known when Postfix asks, such as a size that was not announced, fulfils neither. "
            + "Long lists go to files: client = \"file:partners\". /EXPRESSION/ is in Perl's syntax, without regard to "
            + "case, without back-references and look-around.",
        keys: [name, action, skip, shadow] + RuleAttribute.keys)
}

extension WrittenAction {
    /// For the sample file, where the text is a right one.
    static func example(_ text: String) -> WrittenAction {
        (try? WrittenAction(text, of: ActionWord.allCases))
            ?? WrittenAction(text: text, action: nil, skip: [], isShadow: false)
    }
}

extension RuleSettings {
    /// All rules that are right, in their order; none where the files of rules are not opened.
    static func rules(_ tables: [TableValues], _ reader: inout ValueReader) -> [RuleSettings] {
        reportSharedNames(tables, RuleTable.name, &reader)
        var rules: [RuleSettings] = []
        var ends = Ends()
        for table in tables {
            guard let rule = RuleSettings(table, &reader) else { continue }
            ends.report(rule, table, &reader)
            rules.append(rule)
        }
        return reader.opensFiles ? rules : []
    }

    /// The rules so far that end the list.
    private struct Ends {
        private var rules: [(conditions: [RuleCoverage], path: String)] = []

        /// Reports a rule that is never reached: a rule above it matches all that it matches, and ends the list.
        mutating func report(_ rule: RuleSettings, _ table: TableValues, _ reader: inout ValueReader) {
            // Lists in files that are not opened here would look alike, and empty ones match nothing yet.
            guard reader.opensFiles, !rule.conditions.contains(where: \.values.isEmpty) else { return }
            let above = rules.first { above in
                above.conditions.allSatisfy { condition in rule.conditions.contains(where: condition.isImplied) }
            }
            if let above {
                reader.report(
                    "expected a rule that can be reached, found that \(above.path) ends the list for all that it "
                        + "matches",
                    at: table.position, keyPath: table.path)
            } else if rule.action?.endsList == true, !rule.shadow {
                rules.append((rule.conditions.map { RuleCoverage($0, atMost: RuleCoverage.maxCompared) }, table.path))
            }
        }
    }

    private init?(_ values: TableValues, _ reader: inout ValueReader) {
        let keys = RuleAttribute.keys.filter { values.gives($0) }
        if keys.isEmpty {
            reader.report(
                "expected at least one condition such as client or helo, found none", at: values.position,
                keyPath: values.path)
        }
        guard values.gives(RuleTable.action) || values.gives(RuleTable.skip) else {
            reader.report("expected an action or skip, found neither", at: values.position, keyPath: values.path)
            return nil
        }
        let written = values[RuleTable.action]
        let conditions = keys.compactMap { key in
            values[key].map { RuleCondition(attribute: key.attribute, isNegated: key.isNegated, values: $0) }
        }
        Self.reportContradictions(conditions, values, &reader)
        Self.reportCrowds(conditions, values, &reader)
        let skip = Set(values[RuleTable.skip]).union(written?.skip ?? [])
        if values.held(RuleTable.skip) != nil, skip.isEmpty, !values.gives(RuleTable.action) {
            reader.report(
                "expected an action or something to skip, found an empty list",
                at: values.position(of: RuleTable.skip), keyPath: "\(values.path).skip")
        }
        let action = written?.action
        if action == .greylist, skip.contains(.greylist) {
            reader.report(
                "expected greylisting or skipping it, found both", at: values.position(of: RuleTable.action),
                keyPath: "\(values.path).action")
        }
        let shadow = values[RuleTable.shadow] || written?.isShadow == true
        // A condition that was not read must not read as one that holds.
        guard let name = values[RuleTable.name], !keys.isEmpty, conditions.count == keys.count,
            action != nil || !skip.isEmpty
        else { return nil }
        self.init(name: name, conditions: conditions, skip: skip, action: action, shadow: shadow)
    }

    /// Reports conditions with more expressions than the judge takes: each is tried for each request.
    private static func reportCrowds(
        _ conditions: [RuleCondition], _ values: TableValues, _ reader: inout ValueReader
    ) {
        for condition in conditions {
            guard case .patterns(let patterns) = condition.values,
                let key = RuleAttribute.keys.first(where: {
                    $0.attribute == condition.attribute && $0.isNegated == condition.isNegated
                })
            else { continue }
            let count = patterns.lazy.filter { if case .expression = $0 { true } else { false } }.count
            guard count > PatternTable.maxExpressions else { continue }
            reader.report(
                "expected at most \(PatternTable.maxExpressions) expressions, found \(count); they are tried one by one",
                at: values.position(of: key), keyPath: "\(values.path).\(key.name)")
        }
    }

    /// Reports rules that can never match: no value fulfils a condition, or none fulfils two of them.
    private static func reportContradictions(
        _ conditions: [RuleCondition], _ values: TableValues, _ reader: inout ValueReader
    ) {
        guard reader.opensFiles else { return }  // without its files a list is not whole
        func report(_ expected: String, _ condition: RuleCondition) {
            let key = RuleAttribute.keys.first {
                $0.attribute == condition.attribute && $0.isNegated == condition.isNegated
            }
            guard let key else { return }
            reader.report(
                "expected \(expected), found none: the rule can never match", at: values.position(of: key),
                keyPath: "\(values.path).\(key.name)")
        }
        for condition in conditions {
            if let impossible = condition.impossibility {
                report(impossible, condition)
            } else if !condition.isNegated,
                let opposite = conditions.first(where: { $0.attribute == condition.attribute && $0.isNegated }),
                RuleCoverage(opposite).holds(condition.values)
            {
                report("values that not_\(condition.attribute.rawValue) leaves over", condition)
            }
        }
        for (mailbox, domain) in [(RuleAttribute.sender, RuleAttribute.senderDomain), (.recipient, .recipientDomain)] {
            guard let named = conditions.first(where: { $0.attribute == mailbox && !$0.isNegated }),
                case .patterns(let patterns) = named.values, !patterns.isEmpty
            else { continue }
            for condition in conditions where condition.attribute == domain && !condition.values.isEmpty {
                let coverage = RuleCoverage(condition)
                guard patterns.allSatisfy({ coverage.holdsDomain(of: $0) == condition.isNegated }) else { continue }
                report(
                    condition.isNegated
                        ? "values that not_\(domain.rawValue) leaves over" : "values in one of \(domain.rawValue)",
                    named)
            }
        }
    }
}

extension TableValues {
    /// The condition's values; nil if the key is absent or wrong.
    fileprivate subscript(key: RuleConditionKey) -> RuleCondition.Values? { held(key) as? RuleCondition.Values }
}

/// Reports tables of one kind that are called alike.
func reportSharedNames(_ tables: [TableValues], _ key: RequiredKey<String>, _ reader: inout ValueReader) {
    var owners: [String: String] = [:]
    for table in tables {
        guard let name = table[key] else { continue }
        if let owner = owners[name] {
            reader.report(
                "expected a name of its own, found \(quoted(name)), which is \(owner)'s", at: table.position(of: key),
                keyPath: "\(table.path).name")
        } else {
            owners[name] = table.path
        }
    }
}
