// The well as one message sees it: each question is asked once, whichever judge asks it and how often, so that all of
// them can be asked in one batch before a judge runs, and a name that never answers costs its time once.
// Belongs to one message; not Sendable on purpose.

import PosternDNS
import PosternMail

final class MessageDNS: DNSAnswering {
    private let view: (Duration) -> any DNSAnswering
    private var current: any DNSAnswering
    private var known: [Question: Answer]

    /// - Parameter view: a view of the well with a budget, which begins at the call.
    /// - Parameter known: what was answered before.
    init(_ view: @escaping (Duration) -> any DNSAnswering, within budget: Duration, known: [Question: Answer] = [:]) {
        self.view = view
        self.known = known
        current = view(budget)
    }

    /// What is asked from here on has this budget, which begins now.
    func begin(within budget: Duration) { current = view(budget) }

    /// What was answered; without failures, which may be over when they are asked again.
    var answered: [Question: Answer] {
        known.filter { _, answer in if case .temporaryFailure = answer { false } else { true } }
    }

    func answers(to questions: [Question]) -> [Answer] {
        var unknown: [Question] = []
        var seen: Set<Question> = []
        for question in questions where known[question] == nil && seen.insert(question).inserted {
            unknown.append(question)
        }
        if !unknown.isEmpty {
            for (question, answer) in zip(unknown, current.answers(to: unknown)) { known[question] = answer }
        }
        return questions.map { known[$0] ?? .temporaryFailure("no answer") }
    }

    func prefetch(_ questions: [Question]) { current.prefetch(questions.filter { known[$0] == nil }) }
}

/// The well when nothing may be waited for.
struct NoDNS: DNSAnswering {
    let reason: String

    func answers(to questions: [Question]) -> [Answer] { questions.map { _ in .temporaryFailure(reason) } }
    func prefetch(_ questions: [Question]) {}
}
