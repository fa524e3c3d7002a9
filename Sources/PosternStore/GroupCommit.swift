// Lets threads that ask at the same time share one transaction, without a thread of its own: the first one to come does
// the work of all who have come meanwhile, and then gives the lead to the next.

import Synchronization

final class GroupCommit<Request: Sendable, Answer: Sendable>: Sendable {
    /// One thread's question.
    private final class Ticket: Sendable {
        let request: Request
        let answer = Mutex<Answer?>(nil)
        /// Raised when there is an answer, or when it is this thread's turn to lead.
        let signal = Signal()

        init(_ request: Request) { self.request = request }
    }

    private struct State {
        var waiting: [Ticket] = []
        var isLed = false
    }

    /// More than threads that ask; bounds a transaction.
    private let maxBatch: Int
    private let state = Mutex(State())
    private let work: @Sendable ([Request]) -> [Answer]

    /// - Parameter work: answers each request, in their order; called by one thread at a time.
    init(maxBatch: Int, work: @escaping @Sendable ([Request]) -> [Answer]) {
        self.maxBatch = maxBatch
        self.work = work
    }

    func answer(to request: Request) -> Answer {
        let ticket = Ticket(request)
        let leads = state.withLock { state in
            state.waiting.append(ticket)
            defer { state.isLed = true }
            return !state.isLed
        }
        if !leads {
            ticket.signal.wait(atMost: nil)
            if let answer = ticket.answer.withLock({ $0 }) { return answer }
        }
        while true {
            let batch = state.withLock { state in
                let batch = Array(state.waiting.prefix(maxBatch))
                state.waiting.removeFirst(batch.count)
                return batch
            }
            let answers = work(batch.map(\.request))
            precondition(answers.count == batch.count, "every request has its answer")
            var own: Answer?
            for (other, answer) in zip(batch, answers) {
                if other === ticket {
                    own = answer
                } else {
                    other.answer.withLock { $0 = answer }
                    other.signal.raise()
                }
            }
            // Whoever leads is among the first `maxBatch`: it was first in line when it was given the lead.
            guard let own else { continue }
            let next = state.withLock { state in
                state.isLed = !state.waiting.isEmpty
                return state.waiting.first
            }
            next?.signal.raise()
            return own
        }
    }

    /// Threads whose work has not begun.
    var waitingForTests: Int { state.withLock { $0.waiting.count } }
}
