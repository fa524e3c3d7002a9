// Which fields of a message are to be removed because they speak in our name (RFC 8601 §5): all of them, from
// strangers' mail and from our own, before our field goes on top. Postfix deletes in quadratic time, so that a message
// with more than `maxRemovals` of them is not cleaned but refused. A filter feeds every field that it is given to the
// collector, also those past its cap on kept header octets.

/// The forged Authentication-Results fields of one header.
public struct ForgedResults: Hashable, Sendable {
    /// Most fields that are removed from one message; more are refused with 550 5.7.1, since deleting 1,000 takes
    /// Postfix 0.3 s and 4,000 take 3.9 s.
    public static let maxRemovals = 50

    /// The answer to a message with more.
    public static let refusal = Reply(
        code: 550, enhanced: "5.7.1", text: "Message claims to carry more than \(maxRemovals) results of this host")

    /// Octets of Authentication-Results fields that are looked through in one message; real mail has a few thousand.
    /// Every such field after them counts as forged: a full cap is the sender's doing and hides nothing.
    public static let maxOctets = 262_144
    /// What a malformed field counts beside its octets, since looking through it takes that much longer.
    static let octetsOfMalformed = 256

    /// How many fields claim one of our ids; what is over `maxRemovals` counts as one.
    public let count: Int
    /// Removals from the highest occurrence down, so that none shifts the next; none at all when there are too many.
    public let edits: [HeaderEdit]

    /// Whether the message is to be refused.
    public var isTooMany: Bool { count > Self.maxRemovals }

    public init(header: [HeaderField], ids: AuthservIDs) {
        var collector = ForgedResultsCollector(ids: ids)
        for field in header { collector.add(field) }
        self = collector.forged
    }

    /// - Parameter occurrences: numbers among the fields named Authentication-Results, from 1, ascending.
    fileprivate init(occurrences: [Int]) {
        count = occurrences.count
        edits =
            count > Self.maxRemovals
            ? []
            : occurrences.reversed().map { .remove(name: Array("Authentication-Results".utf8), occurrence: $0) }
    }
}

/// Finds forged results in a header that comes field by field.
public struct ForgedResultsCollector: Sendable {
    private let ids: AuthservIDs
    private var fields = 0
    private var octetsLeft = ForgedResults.maxOctets
    private var occurrences: [Int] = []

    public init(ids: AuthservIDs) { self.ids = ids }

    /// The next field of the header as it was received, whatever its name.
    public mutating func add(_ field: HeaderField) {
        guard field.isNamed("Authentication-Results") else { return }
        fields += 1
        // A message that is refused anyway costs no more looking.
        guard occurrences.count <= ForgedResults.maxRemovals else { return }
        guard octetsLeft > 0 else {
            if !ids.isEmpty { occurrences.append(fields) }
            return
        }
        let claim = ids.claim(by: field)
        if claim == .made { occurrences.append(fields) }
        let octets = field.value.count + (claim == .noneInAnyReading ? ForgedResults.octetsOfMalformed : 0)
        octetsLeft -= min(octetsLeft, octets)
    }

    /// What was found so far.
    public var forged: ForgedResults { ForgedResults(occurrences: occurrences) }
}
