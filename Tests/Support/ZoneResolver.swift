// A judge's DNS, made from the text of a zone: no mock, but the same static zone that postern-dns serves. Names that
// the text has not do not exist; names in `failing` answer with a temporary failure. It remembers what it was asked.

public import PosternDNS
public import PosternMail
import Synchronization

public final class ZoneResolver: DNSAnswering, Sendable {
    private let zone: StaticZone
    private let failing: Set<DomainName>
    private let questions = Mutex<[Question]>([])
    private let prefetchedQuestions = Mutex<[Question]>([])

    /// - Parameter zone: a master file (RFC 1035 §5); names are relative to the root, a SOA record is not needed.
    /// - Parameter failing: names whose every question ends in a temporary failure, also at the end of a CNAME chain.
    /// - Throws: the first line of the zone that is wrong.
    public init(zone: String, failing: Set<DomainName> = []) throws {
        self.zone = try StaticZone(text: zone)
        self.failing = failing
    }

    /// A text as a zone file has it: in character-strings, of 255 octets at most (RFC 1035 §3.3).
    public static func strings(_ text: String) -> String {
        var rest = Substring(text)
        var parts: [String] = []
        while !rest.isEmpty {
            parts.append("\"\(rest.prefix(200))\"")
            rest = rest.dropFirst(200)
        }
        return "( \(parts.joined(separator: " ")) )"
    }

    /// All questions asked until now, in their order; those of `prefetch` are not among them.
    public var asked: [Question] { questions.withLock { $0 } }
    /// All questions of `prefetch` until now.
    public var prefetched: [Question] { prefetchedQuestions.withLock { $0 } }

    public func answers(to questions: [Question]) -> [Answer] {
        self.questions.withLock { $0 += questions }
        return questions.map(answer)
    }

    public func prefetch(_ questions: [Question]) { prefetchedQuestions.withLock { $0 += questions } }

    private func answer(_ question: Question) -> Answer {
        if failing.contains(question.name) { return .temporaryFailure("SERVFAIL") }
        switch zone.lookup(question) {
        case .complete(let resolution):
            let targets = resolution.records.compactMap { record -> DomainName? in
                if case .cname(let target)? = try? record.data() { target } else { nil }  // checked by StaticZone
            }
            return failing.isDisjoint(with: targets) ? resolution.answer : .temporaryFailure("SERVFAIL")
        case .continues(_, let next): return answer(next)
        case nil: return zone.isEmptyNonTerminal(question.name) ? .noData : .noSuchName  // RFC 8020 §2
        }
    }
}
