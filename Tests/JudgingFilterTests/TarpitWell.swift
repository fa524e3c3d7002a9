// A well on scripted time: what the zone has is answered at once, names at a tarpit never, which uses up the budget of
// whoever asks. Time goes by nowhere else.

import PosternDNS
import PosternMail
import PosternSocket
import Synchronization
import TestSupport

final class TarpitWell: Sendable {
    let zone: ZoneResolver
    /// Names at and below which nobody ever answers.
    private let tarpits: [DomainName]
    private let time = Mutex(MonotonicTime(nanoseconds: 1_000_000_000))
    /// How long the last answer to each question was waited for.
    private let waits = Mutex<[(questions: [Question], waited: Duration)]>([])

    init(zone: ZoneResolver, tarpits: [DomainName] = []) {
        self.zone = zone
        self.tarpits = tarpits
    }

    func now() -> MonotonicTime { time.withLock { $0 } }

    /// The batches that were asked, and how long each took.
    var asked: [(questions: [Question], waited: Duration)] { waits.withLock { $0 } }

    func view(_ budget: Duration) -> any DNSAnswering { View(well: self, deadline: now() + budget) }

    private struct View: DNSAnswering {
        let well: TarpitWell
        let deadline: MonotonicTime

        func answers(to questions: [Question]) -> [Answer] {
            let began = well.now()
            let isLate = began >= deadline
            let answers = questions.map { question -> Answer in
                guard !isLate, !well.tarpits.contains(where: question.name.isEqualOrBelow) else {
                    return .temporaryFailure("no answer in time")
                }
                return well.zone.answer(to: question)
            }
            if questions.contains(where: { question in well.tarpits.contains(where: question.name.isEqualOrBelow) }) {
                well.time.withLock { $0 = max($0, deadline) }
            }
            let ended = well.now()
            well.waits.withLock { $0.append((questions, ended - began)) }
            return answers
        }
        func prefetch(_ questions: [Question]) { well.zone.prefetch(questions) }
    }
}
