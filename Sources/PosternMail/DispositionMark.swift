// Postern-Disposition: the field by which postern-dmarc tells a mailbox's filter (contrib/sieve) that a message belongs
// in quarantine. Only we write it: fields of that name that come in are removed from all mail, whoever sent it, and
// count among what ForgedResults.maxRemovals bounds.

public enum DispositionMark {
    /// The name as text; header fields are octets.
    public static let name: StaticString = "Postern-Disposition"

    /// `Postern-Disposition: quarantine (dmarc example.com)`.
    /// - Parameter check: `spf` or `dmarc`.
    /// - Parameter domain: whose policy it is; `nil` where there is none.
    public static func quarantine(_ check: String, _ domain: DomainName?) -> HeaderField {
        // A name's text holds `\` before what ends a comment (RFC 1035 §5.1), which is a quoted-pair here.
        HeaderField("\(name)", "quarantine (\(check)\(domain.map { " \($0)" } ?? ""))")
    }
}

/// Finds the fields of that name in a header that comes field by field.
public struct DispositionMarkCollector: Sendable {
    /// How many there are.
    public private(set) var count = 0

    public init() {}

    /// The next field of the header as it was received, whatever its name.
    public mutating func add(_ field: HeaderField) {
        if field.isNamed(DispositionMark.name) { count += 1 }
    }

    /// Removals from the highest occurrence down, so that none shifts the next; to be used when there are not too many.
    public var edits: [HeaderEdit] {
        (0..<count).map { .remove(name: Array("\(DispositionMark.name)".utf8), occurrence: count - $0) }
    }
}
