// A well on scripted time: what the zone has is answered at once, names at a tarpit never, which uses up the budget of
// whoever asks, slow names after some time, if the budget has it. Time goes by nowhere else.

import PosternDNS
import PosternMail
import PosternSocket
import Synchronization
import TestSupport

final class TarpitWell: Sendable {
    let zone: ZoneResolver
    /// Names at and below which nobody ever answers.
    private let tarpits: [DomainName]
    /// Names at and below which answers take so long.
    private let slow: [(name: DomainName, wait: Duration)]
    private let time = Mutex(MonotonicTime(nanoseconds: 1_000_000_000))
    /// How long the last answer to each question was waited for.
    private let waits = Mutex<[(questions: [Question], waited: Duration)]>([])

    init(zone: ZoneResolver, tarpits: [DomainName] = [], slow: [(name: DomainName, wait: Duration)] = []) {
        self.zone = zone
        self.tarpits = tarpits
        self.slow = slow
    }

    func now() -> MonotonicTime { time.withLock { $0 } }

    /// The batches that were asked, and how long each took.
    var asked: [(questions: [Question], waited: Duration)] { waits.withLock { $0 } }

    /// How long a question is waited for; nil for ever.
    private func wait(for question: Question) -> Duration? {
        if tarpits.contains(where: question.name.isEqualOrBelow) { return nil }
        return slow.first { question.name.isEqualOrBelow($0.name) }?.wait ?? .zero
    }

    func view(_ budget: Duration) -> any DNSAnswering { View(well: self, deadline: now() + budget) }

    private struct View: DNSAnswering {
        let well: TarpitWell
        let deadline: MonotonicTime

        func answers(to questions: [Question]) -> [Answer] {
            let began = well.now()
            let answers = questions.map { question -> Answer in
                guard let wait = well.wait(for: question), began < deadline, began + wait <= deadline else {
                    return .temporaryFailure("no answer in time")
                }
                return well.zone.answer(to: question)
            }
            // All are asked at once: the slowest, or the budget, is what passes.
            let last = questions.map { well.wait(for: $0).map { began + $0 } ?? deadline }.max() ?? began
            well.time.withLock { $0 = max($0, min(last, deadline)) }
            let ended = well.now()
            well.waits.withLock { $0.append((questions, ended - began)) }
            return answers
        }
        func prefetch(_ questions: [Question]) { well.zone.prefetch(questions) }
    }
}
