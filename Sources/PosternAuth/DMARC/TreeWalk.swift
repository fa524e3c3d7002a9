// The DNS tree walk (RFC 9989 §4.10): which names are asked for a policy record, what each answer says, and which
// organizational domain follows (§4.10.2). All names are asked at once instead of one after the other; those above
// the place where the RFC's walk stops are not looked at, so what became of them does not matter. Trouble below it
// leaves several domains possible, and all of them are told, so that a judge can see whether it matters.

public import PosternDNS
public import PosternMail

/// The names of a walk.
public struct TreeWalk: Hashable, Sendable {
    /// Where records may be, longest first: the start, its 7 rightmost labels if it has 8 or more, and so on up to one
    /// label.
    public let names: [DomainName]

    /// Most names of a walk. Source: RFC 9989 §4.10.
    public static let maxNames = 8

    /// - Source: RFC 9989 §4.10 steps 1, 3, 4 and 7.
    public init(from start: DomainName) {
        var names = [start]
        var next = start.labelCount < Self.maxNames ? start.parent : start.suffix(labels: Self.maxNames - 1)
        while let name = next, name != .root, names.count < Self.maxNames {
            names.append(name)
            next = name.parent
        }
        self.names = names
    }

    /// The question for the records of a domain; `nil` for a name too long to be asked, which has none.
    public static func question(for domain: DomainName) -> Question? {
        guard domain != .root, let name = try? domain.prefixed("_dmarc") else { return nil }  // `try?`: name too long
        return Question(name, .txt)
    }

    /// The questions of the walk.
    public var questions: [Question] { names.compactMap(Self.question) }
}

/// What one name of a walk says.
public enum WalkAnswer: Hashable, Sendable {
    /// No policy record, or a name that cannot be asked.
    case none
    case record(DMARCRecord)
    /// Several policy records, which count as none. Source: RFC 9989 §4.10 step 2.
    case several
    /// Nobody could tell.
    case unknown(String)

    /// - Source: RFC 9989 §4.10 step 2: what is no policy record is discarded first.
    public init(_ answer: Answer) {
        switch answer {
        case .noData, .noSuchName: self = .none
        case .temporaryFailure(let detail): self = .unknown(detail)
        case .records(let data, _):
            var found: DMARCRecord?
            for case .txt(let text) in data {
                guard let record = DMARCRecord(text) else { continue }
                guard found == nil else {
                    self = .several
                    return
                }
                found = record
            }
            self = found.map { .record($0) } ?? .none
        }
    }

    var record: DMARCRecord? { if case .record(let record) = self { record } else { nil } }
}

/// The organizational domain that follows from a walk. Source: RFC 9989 §4.10.2.
struct OrganizationalDomain {
    /// The domain, or with trouble on the way every domain that it may be.
    private(set) var candidates: [DomainName] = []
    /// Where the walk ended at `psd=y` above its start.
    private(set) var publicSuffix: DomainName?
    /// The first name that nobody could tell of, and why.
    private(set) var trouble: (name: DomainName, detail: String)?

    /// Known without a walk.
    init(_ domain: DomainName) { candidates = [domain] }

    init(_ walk: TreeWalk, answer: (DomainName) -> WalkAnswer) {
        guard let start = walk.names.first else { return }
        // RFC 9989 §4.10.2 step 3, or the start where no record is found.
        var shortest = start
        for name in walk.names {
            let isStart = name == start
            let below = start.suffix(labels: name.labelCount + 1)
            switch answer(name) {
            case .none, .several: continue
            case .unknown(let detail):
                if trouble == nil { trouble = (name, detail) }
                add(name)  // psd=n, or a record that turns out to be the last
                if !isStart { add(below) }  // psd=y
            case .record(let record):
                switch record.published.publicSuffix {
                case .no:  // step 1
                    add(name)
                    return
                case .yes:
                    // Step 2 leaves out the start, which has nothing below it: a public suffix domain that writes mail
                    // is its own organizational domain (step 3).
                    add(below)
                    if !isStart { publicSuffix = name }
                    return
                case .unknown: shortest = name
                }
            }
        }
        add(shortest)
    }

    private mutating func add(_ domain: DomainName) {
        if !candidates.contains(domain) { candidates.append(domain) }
    }

    /// The domain, when it is known.
    var domain: DomainName? { candidates.count == 1 ? candidates.first : nil }
}
