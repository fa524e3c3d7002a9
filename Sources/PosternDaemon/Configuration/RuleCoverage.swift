// Which values hold all that others hold: how `check` finds rules that can never match and rules that are never reached.
// What it says is sure; what it does not find may still be so, above all between expressions.

internal import PosternAdmission
internal import PosternMail

/// The values of one condition, for asking whether they hold those of others.
struct RuleCoverage {
    let condition: RuleCondition
    /// Most patterns of a condition that is compared with those of other rules.
    static let maxCompared = 10_000

    private let patterns: Set<MatchPattern>
    /// nil where an expression is wrong, which is a problem already.
    private let table: PatternTable?

    /// - Parameter most: of longer lists only that they are equal is seen.
    init(_ condition: RuleCondition, atMost most: Int = .max) {
        self.condition = condition
        if case .patterns(let patterns) = condition.values, patterns.count <= most {
            self.patterns = Set(patterns.map(\.inOneCase))
            table = try? PatternTable(patterns)  // wrong expressions were reported where they are read
        } else {
            patterns = []
            table = nil
        }
    }

    /// Whether each of the values is held by these; of the same attribute, whichever form the conditions have.
    func holds(_ values: RuleCondition.Values) -> Bool {
        guard !values.isEmpty else { return false }
        switch (values, condition.values) {
        case (.patterns(let values), .patterns): return values.allSatisfy(holds)
        case (.numbers(let values), .numbers(let ranges)):
            return values.allSatisfy { value in
                ranges.contains { range in
                    (range.least ?? .min) <= (value.least ?? .min) && (value.most ?? .max) <= (range.most ?? .max)
                }
            }
        case (.times(let values), .times(let ranges)):
            return (0..<1440).allSatisfy { minute in
                !values.contains { $0.contains(minute: minute) } || ranges.contains { $0.contains(minute: minute) }
            }
        case (.weekdays(let values), .weekdays(let ranges)):
            return Set(values.flatMap(\.days)).isSubset(of: ranges.flatMap(\.days))
        case (.spf(let values), .spf(let results)): return Set(values).isSubset(of: results)
        default: return false
        }
    }

    private func holds(_ pattern: MatchPattern) -> Bool {
        if patterns.contains(pattern.inOneCase) { return true }
        switch pattern {
        case .exact(let text): return table?.contains(condition.attribute.subject(text)) == true
        case .domain(let name): return table?.contains(condition.attribute.subject(name.description)) == true
        case .below(let name):
            var parent = name.parent
            while let next = parent {
                if patterns.contains(.below(next)) { return true }
                parent = next.parent
            }
            return false
        case .network(let network):
            return (0...network.prefixLength).contains { length in
                patterns.contains(.network(Network(containing: network.base, prefixLength: length)))
            }
        case .addresses, .expression: return false
        }
    }

    /// Whether every request of which the other condition holds is one of which this holds.
    func isImplied(by other: RuleCondition) -> Bool {
        guard other.attribute == condition.attribute, other.isNegated == condition.isNegated else { return false }
        if other == condition { return true }
        guard other.values.count <= Self.maxCompared, condition.values.count <= Self.maxCompared else { return false }
        return condition.isNegated ? RuleCoverage(other).holds(condition.values) : holds(other.values)
    }

    /// Whether the domain of a sender or recipient that the pattern names matches; nil where it names no single domain.
    func holdsDomain(of pattern: MatchPattern) -> Bool? {
        switch pattern {
        case .exact(let text):
            let domain = text.utf8.lastIndex(of: UInt8(ascii: "@")).map { Array(text.utf8[$0...].dropFirst()) } ?? []
            return table?.contains(.name(domain[...]))
        case .addresses(let name): return table?.contains(.name(Array(name.description.utf8)[...]))
        case .domain, .below, .network, .expression: return nil
        }
    }
}

extension RuleCondition {
    /// Why no request can fulfil it, whatever other conditions there are; nil where one can.
    var impossibility: String? {
        let key = isNegated ? "not_\(attribute.rawValue)" : attribute.rawValue
        guard let all = attribute.allValues else { return nil }
        if isNegated {
            return all.contains { RuleCoverage(self).holds($0) } ? "a value that \(key) leaves over" : nil
        }
        guard case .numbers(let ranges) = values, case .numbers(let possible)? = all.first, let bounds = possible.first
        else { return nil }
        let isPossible = ranges.contains { range in
            (range.least ?? .min) <= (bounds.most ?? .max) && (bounds.least ?? .min) <= (range.most ?? .max)
        }
        return isPossible ? nil : "a value that \(key) can have"
    }
}

extension RuleAttribute {
    /// What a text is to the judge where it is this attribute's value.
    fileprivate func subject(_ text: String) -> PatternSubject {
        let octets = Array(text.utf8)[...]
        return switch self {
        case .clientName, .reverseClientName, .helo, .tlsSNI, .senderDomain, .recipientDomain: .name(octets)
        case .sender, .recipient: .mailbox(octets)
        default: .text(octets)
        }
    }

    /// All values that it can have, as values of a condition; nil where they cannot be written down.
    fileprivate var allValues: [RuleCondition.Values]? {
        switch self {
        case .client, .serverAddress:
            let all = [IPAddress.v4(0), .v6(0, 0)].map {
                MatchPattern.network(Network(containing: $0, prefixLength: 0))
            }
            return [.patterns(all)]
        case .size: return [.numbers([NumberRange(least: 1)])]  // 0 is Postfix's word for none announced
        case .serverPort: return [.numbers([NumberRange(least: 1, most: 65_535)])]
        case .encryptionKeysize: return [.numbers([NumberRange(least: 0)])]
        case .time: return [.times([TimeOfDayRange(start: 0, end: 1440)])]
        case .weekday: return [.weekdays([WeekdayRange(first: .mon, last: .sun)])]
        case .spf: return [.spf(SPFResult.allCases)]
        default: return nil
        }
    }
}

extension MatchPattern {
    /// Exact texts in lower case, since they are compared so.
    fileprivate var inOneCase: MatchPattern {
        if case .exact(let text) = self {
            return .exact(String(decoding: text.utf8.asciiLowercased, as: UTF8.self))
        }
        return self
    }
}

extension RuleCondition.Values {
    var count: Int {
        switch self {
        case .patterns(let values): values.count
        case .numbers(let values): values.count
        case .times(let values): values.count
        case .weekdays(let values): values.count
        case .spf(let values): values.count
        }
    }

    var isEmpty: Bool { count == 0 }
}
