// Who wrote a message: the mailboxes of RFC5322.From (RFC 5322 §3.6.2, RFC 6854, RFC 6532). DMARC and the choice of a
// signing key hang on the one author, so the finding is never a guess: where two readers could see two authors, there
// is none. The octets are read by AuthorParser.

/// One mailbox of an author.
public struct Mailbox: Hashable, Sendable {
    /// The local-part without quotes and quoted-pairs, case kept. Octets of a stranger.
    public var localPart: [UInt8]
    /// A hostname, A-labels.
    public var domain: DomainName

    public init(localPart: [UInt8], domain: DomainName) {
        self.localPart = localPart
        self.domain = domain
    }
}

/// What a header says of its author.
public enum AuthorFinding: Hashable, Sendable {
    /// One From field with one mailbox.
    case one(Mailbox)
    /// One From field with two to `maxMailboxes` mailboxes. Source: RFC 5322 §3.6.2.
    case several([Mailbox])
    /// No From field.
    case missing
    /// Several From fields, which RFC 5322 §3.6 forbids: readers differ on which one they show.
    case repeated
    /// A From field that is no list of mailboxes, or that readers could read differently; why, in printable ASCII.
    case invalid(String)

    /// Longest From field that is read, in octets; there is room for `maxMailboxes` longest addresses with names.
    public static let maxFromOctets = 16_384
    /// Most mailboxes that are read in a From field.
    public static let maxMailboxes = 5

    /// The author of a message with that header.
    public static func author(of header: [HeaderField]) -> AuthorFinding {
        var collector = AuthorCollector()
        for field in header { collector.add(field) }
        return collector.finding
    }

    /// The mailboxes; none unless `one` or `several`.
    public var mailboxes: [Mailbox] {
        switch self {
        case .one(let mailbox): [mailbox]
        case .several(let mailboxes): mailboxes
        case .missing, .repeated, .invalid: []
        }
    }
}

/// Finds the author in a header that comes field by field; sees every field, also past a cap on kept octets.
public struct AuthorCollector: Sendable {
    /// What was found so far.
    public private(set) var finding = AuthorFinding.missing

    public init() {}

    /// The next field of the header, whatever its name.
    public mutating func add(_ field: HeaderField) {
        guard field.isNamed("From") else { return }
        finding = finding == .missing ? AuthorParser.finding(in: field.value) : .repeated
    }
}

extension AuthorFinding: CustomStringConvertible {
    /// A few words for logs and header comments, without anything from the message.
    public var description: String {
        switch self {
        case .one: "one author"
        case .several(let mailboxes): "\(mailboxes.count) authors"
        case .missing: "no From field"
        case .repeated: "several From fields"
        case .invalid(let reason): "bad From field: \(reason)"
        }
    }
}
