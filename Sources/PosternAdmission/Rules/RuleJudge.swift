// The rules: tried in their order, each matching where all of its conditions hold. A rule that accepts, rejects, defers,
// holds, redirects, filters or greylists ends the list; skips, scores, header fields and copies are collected, and the
// list goes on; so it does after a rule that only observes (DESIGN §4). Which of what was collected is told to Postfix
// is PolicyJudge's.

internal import PosternMail

/// What the rules say of a request.
struct RuleOutcome: Sendable {
    /// Those that matched; where everything is told, all of them.
    var findings: [PolicyFinding] = []
    /// The rule that ended the list; its finding's answer is nil for `greylist`.
    var ending: (action: RuleAction, finding: PolicyFinding)?
    /// Header fields and copies, each a finding with its answer, in the rules' order.
    var collected: [PolicyFinding] = []
    var score = 0
    var skip: Set<PolicyCheck> = []
}

struct RuleJudge: Sendable {
    private struct Rule: Sendable {
        let settings: RuleSettings
        /// The cheapest first.
        let checks: [RuleCheck]
        /// The rule only skips, or what it does.
        let wish: String
    }

    private let rules: [Rule]

    /// - Throws: what is wrong with an expression, and in which rule; `check` has told it before.
    init(_ rules: [RuleSettings]) throws(ExpressionError) {
        var compiled: [Rule] = []
        for settings in rules {
            var checks: [RuleCheck] = []
            for condition in settings.conditions {
                do throws(ExpressionError) { checks.append(try RuleCheck(condition)) } catch {
                    throw ExpressionError("rule \(settings.name), \(condition.attribute.rawValue): \(error)")
                }
            }
            let order = checks.enumerated().sorted { ($0.element.cost, $0.offset) < ($1.element.cost, $1.offset) }
            compiled.append(Rule(settings: settings, checks: order.map(\.element), wish: Self.wish(settings)))
        }
        self.rules = compiled
    }

    func outcome(
        for request: PolicyRequest, at time: PolicyTime, telling: PolicyTelling,
        asking questions: inout some RuleQuestions
    ) -> RuleOutcome {
        var outcome = RuleOutcome()
        let subject = RuleSubject(request, at: time)
        for rule in rules {
            let check = PolicyFinding.Check.rule(rule.settings.name)
            if let ending = outcome.ending {
                guard telling == .everything else { break }
                outcome.findings.append(
                    PolicyFinding(check, .notReached, reason: "\(ending.finding.check) has ended the list"))
                continue
            }
            if let reasons = matches(rule, subject, &outcome, telling, &questions) {
                outcome.add(rule.settings, "\(rule.wish): \(reasons.joined(separator: "; "))")
            }
        }
        return outcome
    }

    /// - Returns: why each condition holds; nil where one does not, which is told if everything is.
    private func matches(
        _ rule: Rule, _ subject: RuleSubject, _ outcome: inout RuleOutcome, _ telling: PolicyTelling,
        _ questions: inout some RuleQuestions
    ) -> [String]? {
        var values: [RuleCheck.Actual] = []
        for check in rule.checks {
            // A list that a rule above skips is not asked; then the score is the rules' alone.
            let actual =
                check.attribute == .dnsblScore && outcome.skip.contains(.dnsbl)
                ? .number(outcome.score) : check.actual(of: subject, ruleScore: outcome.score, asking: &questions)
            guard check.holds(for: actual) else {
                if telling == .everything {
                    outcome.findings.append(
                        PolicyFinding(
                            .rule(rule.settings.name), .notMatched, reason: check.reason(actual),
                            isShadow: rule.settings.shadow))
                }
                return nil
            }
            values.append(actual)
        }
        return zip(rule.checks, values).map { $0.reason($1) }
    }

    private static func wish(_ rule: RuleSettings) -> String {
        var wishes: [String] = []
        switch rule.action {
        case nil: break
        case .accept: wishes.append("accept")
        case .score(let score): wishes.append("score \(score)")
        case .greylist: wishes.append("greylist")
        case .reject, .defer, .hold, .prepend, .filter, .redirect, .bcc:
            if let answer = rule.action?.answer {
                wishes.append(answer.summary.isEmpty ? answer.word : "\(answer.word) \(answer.summary)")
            }
        }
        if !rule.skip.isEmpty { wishes.append("skip \(rule.skip.map(\.rawValue).sorted().joined(separator: ", "))") }
        return wishes.joined(separator: ", ")
    }
}

extension RuleOutcome {
    /// A rule that matched.
    fileprivate mutating func add(_ rule: RuleSettings, _ reason: String) {
        var score = 0
        if case .score(let amount) = rule.action { score = amount }
        let finding = PolicyFinding(
            .rule(rule.name), .matched, reason: reason, score: score, answer: rule.action?.answer,
            isShadow: rule.shadow)
        findings.append(finding)
        guard !rule.shadow else { return }
        skip.formUnion(rule.skip)
        self.score = self.score.clamped(adding: score)
        guard let action = rule.action else { return }
        switch action {
        case .prepend, .bcc: collected.append(finding)
        default: if action.endsList { ending = (action, finding) }
        }
    }
}

extension RuleAction {
    /// What Postfix is told; nil for what only Postern does.
    fileprivate var answer: PolicyAnswer? {
        switch self {
        case .accept: .dunno
        case .reject(let reply): .reject(reply)
        case .defer(let reply): .defer(reply)
        case .hold(let text): .hold(text)
        case .prepend(let name, let value): .prepend(name: name, value: value)
        case .filter(let transport, let destination): .filter(transport: transport, destination: destination)
        case .redirect(let address): .redirect(address)
        case .bcc(let address): .bcc(address)
        case .score, .greylist: nil
        }
    }
}
