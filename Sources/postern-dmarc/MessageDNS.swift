// The well as one message sees it: each question is asked once, whichever judge asks it and how often, so that all of
// them can be asked in one batch before a judge runs, and a name that never answers costs its time once.
// Belongs to one message; not Sendable on purpose.

import PosternDNS
import PosternMail
import PosternSocket

final class MessageDNS: DNSAnswering {
    private let view: (Duration) -> any DNSAnswering
    private let clock: () -> MonotonicTime
    private var known: [Question: Answer] = [:]
    private var deadline: MonotonicTime
    private var inSteps = false
    /// How often a judge was told that there is no answer.
    private(set) var failures = 0

    /// Has no time to ask anything before `begin`.
    /// - Parameter view: a view of the well with a budget, which begins at the call.
    init(_ view: @escaping (Duration) -> any DNSAnswering, _ clock: @escaping () -> MonotonicTime) {
        self.view = view
        self.clock = clock
        deadline = clock()
    }

    /// What is asked from here on has this budget, which begins now.
    /// - Parameter inSteps: questions come one after the other, and not all of them matter: SPF goes on without a client's
    ///   name (RFC 7208 §5.5) or an explanation. Each wait takes half of what is left at most, so that a name at a tarpit
    ///   leaves time for those that do matter.
    func begin(within budget: Duration, inSteps: Bool = false) {
        deadline = clock() + budget
        self.inSteps = inSteps
    }

    private var current: any DNSAnswering {
        let left = max(.zero, deadline - clock())
        return view(inSteps ? left / 2 : left)
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
        return questions.map { question in
            let answer = known[question] ?? .temporaryFailure("no answer")
            if case .temporaryFailure = answer { failures += 1 }
            return answer
        }
    }

    func prefetch(_ questions: [Question]) { current.prefetch(questions.filter { known[$0] == nil }) }
}

/// The well when nothing may be waited for.
struct NoDNS: DNSAnswering {
    let reason: String

    func answers(to questions: [Question]) -> [Answer] { questions.map { _ in .temporaryFailure(reason) } }
    func prefetch(_ questions: [Question]) {}
}
