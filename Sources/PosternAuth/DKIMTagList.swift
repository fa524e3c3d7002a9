// The tag=value lists of DKIM-Signature fields and key records (RFC 6376 §3.2), over octets. It knows no tag: what a
// value means is the business of `DKIMSignature` and `DKIMKeyRecord`. Octets over 0x7E are let through in values,
// since internationalized mail has U-labels there (RFC 8616 §4).

import PosternMail

struct DKIMTagList {
    /// One tag of the list.
    struct Tag {
        var name: ArraySlice<UInt8>
        /// The value without white space around it; white space inside is kept.
        var value: ArraySlice<UInt8>
        /// Where everything between "=" and ";" stands in the text, white space included: what is emptied for `b=`.
        var rawValue: Range<Int>
    }

    /// Longest list that is read. Real signatures have 1 to 2 KiB; the cap bounds the work for one field.
    static let maxOctets = 64 * 1024
    /// Most tags in a list. RFC 6376 defines 14; unknown ones are ignored, but the search for repeated ones is
    /// quadratic.
    static let maxTags = 64

    let tags: [Tag]

    /// Reads a list.
    /// - Throws: the first rule that it breaks.
    /// - Source: RFC 6376 §3.2.
    init(_ text: [UInt8]) throws(DKIMTagListError) {
        guard text.count <= Self.maxOctets else { throw .tooLong }
        var tags: [Tag] = []
        var rest = text[...]
        while true {
            let end = rest.firstIndex(of: 0x3B) ?? rest.endIndex  // ";"
            let spec = rest[..<end]
            let isLast = end == rest.endIndex
            rest = isLast ? rest[end...] : rest[(end + 1)...]
            if spec.allSatisfy(\.isFoldingWhiteSpace) {
                // RFC 6376 §3.2: tag-list = tag-spec *( ";" tag-spec ) [ ";" ]: nothing may follow the last ";" alone.
                guard isLast, !tags.isEmpty else { throw .emptyTag }
                break
            }
            let tag = try Self.tag(spec)
            guard tags.count < Self.maxTags else { throw .tooManyTags }
            // RFC 6376 §3.2: "Tags with duplicate names MUST NOT occur within a single tag-list"
            guard !tags.contains(where: { $0.name.elementsEqual(tag.name) }) else { throw .repeatedTag }
            tags.append(tag)
            if isLast { break }
        }
        self.tags = tags
    }

    private static func tag(_ spec: ArraySlice<UInt8>) throws(DKIMTagListError) -> Tag {
        guard let equals = spec.firstIndex(of: 0x3D) else { throw .noEqualsSign }
        let name = spec[..<equals].trimmingFoldingWhiteSpace
        // RFC 6376 §3.2: tag-name = ALPHA *ALNUMPUNC
        guard let first = name.first, first.isASCIILetter,
            name.allSatisfy({ $0.isASCIILetter || $0.isASCIIDigit || $0 == 0x5F })
        else { throw .badTagName }
        let raw = spec[(equals + 1)...]
        let value = raw.trimmingFoldingWhiteSpace
        guard value.allSatisfy({ !$0.isASCIIControl || $0.isFoldingWhiteSpace }) else { throw .badOctet }
        return Tag(name: name, value: value, rawValue: raw.startIndex..<raw.endIndex)
    }

    /// The tag of that name; names are case-sensitive. Source: RFC 6376 §3.2.
    func tag(_ name: StaticString) -> Tag? {
        tags.first { tag in name.withUTF8Buffer { tag.name.elementsEqual($0) } }
    }

    /// The value of the tag of that name.
    subscript(_ name: StaticString) -> ArraySlice<UInt8>? { tag(name)?.value }
}

/// Why octets are no tag list.
enum DKIMTagListError: Error, Hashable, CustomStringConvertible {
    case tooLong, tooManyTags, emptyTag, noEqualsSign, badTagName, repeatedTag, badOctet

    var description: String {
        switch self {
        case .tooLong: "a tag list of more than \(DKIMTagList.maxOctets) octets"
        case .tooManyTags: "more than \(DKIMTagList.maxTags) tags"
        case .emptyTag: "an empty tag"
        case .noEqualsSign: "a tag without ="
        case .badTagName: "a tag name that is none"
        case .repeatedTag: "a tag given twice"
        case .badOctet: "a control character"
        }
    }
}

extension ArraySlice<UInt8> {
    /// The members of a colon-separated list without the white space around them; empty ones are kept. From
    /// `DKIMSignature.maxFields` on the rest is one last member.
    /// Source: RFC 6376 §3.5, `*( [FWS] ":" [FWS] ... )`.
    var colonSeparated: [ArraySlice<UInt8>] {
        split(separator: 0x3A, maxSplits: DKIMSignature.maxFields, omittingEmptySubsequences: false)
            .map(\.trimmingFoldingWhiteSpace)
    }
}
