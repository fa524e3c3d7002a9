// Reads the value of a From field: RFC 5322 §3.4 with groups (RFC 6854 §2.1), UTF-8 (RFC 6532) and those obsolete forms
// of §4.4 that have one reading. What two readers could take differently is an error: see AuthorError.
// Encoded-words are atoms and stay as they are. Octets over 0x7F that are no UTF-8 are let pass in display names and
// comments, where old software still writes them and no reader looks for an address; controls are not, since
// ISO-2022-JP hides `"` and `@` behind ESC. Linear in the field: the parser moves forwards only.

enum AuthorParser {
    /// - Parameter value: what stands after the colon, folds as CRLF WSP.
    static func finding(in value: [UInt8]) -> AuthorFinding {
        guard value.count <= AuthorFinding.maxFromOctets else {
            return .invalid("longer than \(AuthorFinding.maxFromOctets) octets")
        }
        do {
            var reader = Reader(text: StructuredText(value))
            let mailboxes = try reader.from()
            guard let first = mailboxes.first else { throw AuthorError.noAddress }
            return mailboxes.count == 1 ? .one(first) : .several(mailboxes)
        } catch {
            return .invalid("\(error)")
        }
    }

    private struct Reader {
        var text: StructuredText

        /// `mailbox-list / address-list` up to the end. Source: RFC 5322 §3.6.2, RFC 6854 §2.1.
        mutating func from() throws -> [Mailbox] {
            var mailboxes: [Mailbox] = []
            var isInGroup = false
            var groupBegan = 0  // how many mailboxes there were when the group began
            var needsComma = false
            while true {
                try text.skipCFWS()
                guard let next = text.rest.first else { break }
                switch next {
                case 0x2C:  // RFC 5322 §4.4, obs-mbox-list and obs-group-list: members may be empty
                    _ = text.take(next)
                    needsComma = false
                case 0x3B where isInGroup:
                    _ = text.take(next)
                    guard mailboxes.count > groupBegan else { throw AuthorError.emptyGroup }
                    isInGroup = false
                    needsComma = true
                case _ where needsComma: throw AuthorError.unexpected(next)
                default:
                    if let mailbox = try member(mayBeGroup: !isInGroup) {
                        guard mailboxes.count < AuthorFinding.maxMailboxes else { throw AuthorError.tooMany }
                        mailboxes.append(mailbox)
                        needsComma = true
                    } else {
                        isInGroup = true
                        groupBegan = mailboxes.count
                    }
                }
            }
            guard !isInGroup else { throw AuthorError.openGroup }
            guard !text.hasAngleInComment else { throw AuthorError.angleInComment }
            return mailboxes
        }

        /// One mailbox; `nil` for the beginning of a group, its name and colon.
        mutating func member(mayBeGroup: Bool) throws -> Mailbox? {
            let words = try words()
            switch text.rest.first {
            case 0x3C: return try angleAddress()
            case 0x3A where mayBeGroup && !words.isEmpty:
                _ = text.take(0x3A)
                return nil
            case 0x40:
                let mailbox = try address(localPart: words)
                // Not RFC 5322: `joe@example.com <joe@example.com>` is everyday mail, and both readings are the same
                // while both addresses are.
                if text.rest.first == 0x3C, try angleAddress() != mailbox { throw AuthorError.twoAddresses }
                return mailbox
            case let octet?: throw AuthorError.unexpected(octet)
            case nil: throw AuthorError.noAddress
            }
        }

        /// Source: RFC 5322 §3.4, `angle-addr`.
        mutating func angleAddress() throws -> Mailbox {
            _ = text.take(0x3C)
            try text.skipCFWS()
            // Not RFC 5322 §4.4: in `<@a.example:joe@b.example>` some readers take the route for the address.
            if text.rest.first == 0x40 || text.rest.first == 0x2C { throw AuthorError.route }
            let words = try words()
            guard text.rest.first == 0x40 else {
                throw text.rest.first.map { $0 == 0x3E ? .noAddress : .unexpected($0) } ?? AuthorError.openAngle
            }
            let mailbox = try address(localPart: words)
            guard let end = text.rest.first else { throw AuthorError.openAngle }
            guard text.take(0x3E) else { throw AuthorError.unexpected(end) }
            return mailbox
        }

        /// The `@`, the domain and the CFWS after it. Source: RFC 5322 §3.4.1, §4.4.
        mutating func address(localPart: Words) throws -> Mailbox {
            _ = text.take(0x40)
            guard localPart.isLocalPart, String(validating: localPart.joined, as: UTF8.self) != nil else {
                throw AuthorError.badLocalPart
            }
            // A reader who cuts at an `@` or `<` without looking at quotes, or decodes encoded-words where RFC 2047
            // §5 forbids them, would see another address.
            let hidden: [UInt8] = [0x22, 0x2C, 0x3A, 0x3B, 0x3C, 0x3E, 0x40, 0x5C]
            guard !localPart.joined.contains(where: hidden.contains),
                localPart.joined.firstOccurrence(of: [0x3D, 0x3F]) == nil,
                localPart.joined.firstOccurrence(of: [0x3F, 0x3D]) == nil
            else { throw AuthorError.hiddenInLocalPart }
            return Mailbox(localPart: localPart.joined, domain: try domain())
        }

        /// `dot-atom`, or `obs-domain` where a reader who stops at the gap has no name with a dot.
        mutating func domain() throws -> DomainName {
            try text.skipCFWS()
            if text.rest.first == 0x5B { throw AuthorError.addressLiteral }
            var name: [UInt8] = []
            while true {
                let atom = text.run(where: \.isAtomText)
                guard !atom.isEmpty else { throw AuthorError.badDomain }
                name += atom
                var isGap = try text.skipCFWS()
                guard text.take(0x2E) else { break }
                isGap = try text.skipCFWS() || isGap
                guard !isGap || !name.contains(0x2E) else { throw AuthorError.gapInDomain }
                name.append(0x2E)
            }
            // No hostname, no domain of anybody: also what IDNA does not allow.
            guard let domain = try? DomainName(text: name), domain.isHostname() else { throw AuthorError.badDomain }
            return domain
        }

        /// What may stand before `<`, `:` or `@`.
        struct Words {
            var isEmpty = true
            /// The words and dots, without what is between them.
            var joined: [UInt8] = []
            /// Whether they are `word *("." word)` without gaps. Not RFC 5322 §4.4, obs-local-part: of `joe . doe@`
            /// some readers take `doe@`.
            var isLocalPart = true
        }

        /// Words, dots and the CFWS between and after them. Source: RFC 5322 §3.2.5, §4.1, `obs-phrase`.
        mutating func words() throws -> Words {
            var words = Words()
            var isAfterWord = false
            var isGap = false
            while let next = text.rest.first {
                if next == 0x2E, !words.isEmpty {
                    _ = text.take(next)
                    words.joined.append(next)
                    if !isAfterWord || isGap { words.isLocalPart = false }
                    isAfterWord = false
                } else if next == 0x22 || next.isAtomText {
                    let quoted = try text.quotedString()
                    words.joined += quoted ?? Array(text.run(where: \.isAtomText))
                    if isAfterWord || isGap { words.isLocalPart = false }
                    isAfterWord = true
                } else {
                    break
                }
                words.isEmpty = false
                isGap = try text.skipCFWS()
            }
            if !isAfterWord { words.isLocalPart = false }
            return words
        }
    }
}

/// Why a From field names no author without doubt.
enum AuthorError: Error, Hashable, CustomStringConvertible {
    case noAddress, emptyGroup, openGroup, openAngle, tooMany, twoAddresses, route, addressLiteral
    case badLocalPart, hiddenInLocalPart, badDomain, gapInDomain, angleInComment
    case unexpected(UInt8)

    var description: String {
        switch self {
        case .noAddress: "no address"
        case .emptyGroup: "an empty group"
        case .openGroup: "a group that does not end"
        case .openAngle: "an angle bracket that does not close"
        case .tooMany: "more than \(AuthorFinding.maxMailboxes) mailboxes"
        case .twoAddresses: "two different addresses for one mailbox"
        case .route: "a source route"
        case .addressLiteral: "an address literal instead of a domain"
        case .badLocalPart: "what stands before @ is no local-part"
        case .hiddenInLocalPart: "a local-part that could be read as an address"
        case .badDomain: "what stands after @ is no domain"
        case .gapInDomain: "a gap in the domain"
        case .angleInComment: "an angle bracket in a comment"
        case .unexpected(let octet):
            octet > 0x20 && octet < 0x7F
                ? "an unexpected \"\(Unicode.Scalar(octet))\"" : "an unexpected octet \(octet)"
        }
    }
}
