// One condition of a rule, compiled, and what it says of a request. It holds, does not hold, or cannot be told since the
// attribute is not known; a rule matches only where all of its conditions hold.

internal import PosternMail

/// What conditions ask for only where they must; each is asked once for a request.
protocol RuleQuestions {
    /// The score that the DNS lists give; 0 where they are not to be asked.
    mutating func listScore(ruleScore: Int) -> Int
    /// nil where the client has no address.
    mutating func senderPolicy() -> SPFFinding?
}

/// A condition, ready to be asked.
struct RuleCheck: Sendable {
    private enum Wanted: Sendable {
        case patterns(PatternTable, count: Int)
        case numbers([NumberRange])
        case times([TimeOfDayRange])
        case weekdays(Set<Weekday>)
        case spf(Set<SPFResult>)
    }

    let attribute: RuleAttribute
    private let isNegated: Bool
    private let wanted: Wanted

    init(_ condition: RuleCondition) throws(ExpressionError) {
        attribute = condition.attribute
        isNegated = condition.isNegated
        switch condition.values {
        case .patterns(let patterns): wanted = .patterns(try PatternTable(patterns), count: patterns.count)
        case .numbers(let ranges): wanted = .numbers(ranges)
        case .times(let ranges): wanted = .times(ranges)
        case .weekdays(let ranges): wanted = .weekdays(Set(ranges.flatMap(\.days)))
        case .spf(let results): wanted = .spf(Set(results))
        }
    }

    /// What costs more is asked later: first what is there, then the lists, then SPF.
    var cost: Int {
        switch attribute {
        case .spf: 2
        case .dnsblScore: 1
        default: 0
        }
    }

    /// What was compared, for the reason of a finding.
    enum Actual {
        case unknown
        case pattern(PatternSubject)
        case number(Int)
        case minute(Int)
        case weekday(Weekday)
        case spf(SPFResult)
    }

    /// The attribute's value, asked for if it must be.
    ///
    /// - Parameter ruleScore: of the rules above.
    func actual(
        of subject: RuleSubject, ruleScore: Int, asking questions: inout some RuleQuestions
    ) -> Actual {
        switch subject.value(of: attribute) {
        case nil: .unknown
        case .pattern(let subject): .pattern(subject)
        case .number(let number): .number(number)
        case .minute(let minute): .minute(minute)
        case .weekday(let day): .weekday(day)
        case .dnsblScore: .number(questions.listScore(ruleScore: ruleScore).clamped(adding: ruleScore))
        case .spf: questions.senderPolicy().map { .spf($0.result) } ?? .unknown
        }
    }

    /// Whether the condition holds for a value.
    func holds(for actual: Actual) -> Bool {
        switch (actual, wanted) {
        case (.pattern(let subject), .patterns(let table, _)): table.contains(subject) != isNegated
        case (.number(let number), .numbers(let ranges)): ranges.contains { $0.contains(number) } != isNegated
        case (.minute(let minute), .times(let ranges)): ranges.contains { $0.contains(minute: minute) } != isNegated
        case (.weekday(let day), .weekdays(let days)): days.contains(day) != isNegated
        case (.spf(let result), .spf(let results)): results.contains(result) != isNegated
        default: false  // not known, or of another type: in neither form
        }
    }

    /// Why it holds or does not hold: printable.
    func reason(_ actual: Actual) -> String {
        let key = isNegated ? "not_\(attribute.rawValue)" : attribute.rawValue
        guard let value = Self.text(actual) else { return "\(attribute.rawValue) is not known here" }
        let isWanted = holds(for: actual) != isNegated
        if case .pattern(let subject) = actual, case .patterns(let table, let count) = wanted {
            if isWanted, let pattern = table.match(subject) {
                return "\(attribute.rawValue) \(value) matches \(pattern.description.printable)"
                    + (isNegated ? ", which \(key) leaves out" : "")
            }
            return "\(attribute.rawValue) \(value) matches none of the \(count) of \(key)"
        }
        return "\(attribute.rawValue) \(value) is \(isWanted ? "" : "not ")in \(key)"
    }

    private static func text(_ actual: Actual) -> String? {
        switch actual {
        case .unknown: nil
        case .pattern(.address(let address)): "\(address)"
        case .pattern(.text(let text)), .pattern(.name(let text)), .pattern(.mailbox(let text)):
            "<\(LogText.escaped(text))>"
        case .number(let number): "\(number)"
        case .minute(let minute): "\(minute / 60):\(minute % 60 < 10 ? "0" : "")\(minute % 60)"
        case .weekday(let day): day.rawValue
        case .spf(let result): result.rawValue
        }
    }
}

extension Int {
    /// The sum, or the bound that it would pass.
    func clamped(adding other: Int) -> Int {
        let (sum, overflow) = addingReportingOverflow(other)
        return overflow ? (other < 0 ? .min : .max) : sum
    }
}

extension String {
    /// With `?` for what is no printable ASCII.
    var printable: String { String(decoding: utf8.map { $0 >= 0x20 && $0 < 0x7F ? $0 : 0x3F }, as: UTF8.self) }
}
