// A DMARC policy record: the TXT record at _dmarc.domain (RFC 9989 §4.7, §4.8), parsed. Only `v` decides whether it is
// one; any other mistake costs the tag that it is in, never the record, and is kept for who asks about the domain.
// Tag names are taken in any case, as §4.8 has them. `pct`, `rf` and `ri` of RFC 7489 are gone and ignored.

public import PosternMail

public struct DMARCRecord: Hashable, Sendable {
    /// What the record says, defaults filled in; `p` is "none" where §4.10.1 says so.
    public let published: DMARCPublishedPolicy
    /// `false`: no DMARC processing for the domains that the record governs. The record still shapes a tree walk.
    /// - Source: RFC 9989 §4.10.1.
    public let isUsable: Bool
    /// What is wrong with the record, at most `maxMistakes`, in its order.
    public let mistakes: [DMARCRecordMistake]

    /// Longest text that is read: a TXT record has no more. Reading takes time in proportion, so all of it may be read.
    public static let maxOctets = 65_535
    /// Most mistakes that are kept; one is enough to look at the record.
    public static let maxMistakes = 32

    /// Reads one TXT record.
    /// - Returns: `nil` for what is no policy record and is ignored by a tree walk.
    /// - Source: RFC 9989 §4.7, §4.8.
    public init?(_ text: [UInt8]) {
        // RFC 9989 §4.7, v: first in the list, and "DMARC1" in that case, or the entire record is ignored. §4.8: no
        // white space stands before it.
        guard text.count <= Self.maxOctets, let first = text.first, !first.isWSP else { return nil }
        let end = text.firstIndex(of: 0x3B) ?? text.endIndex
        guard let version = DMARCTag(text[..<end]), version.name.equalsIgnoringASCIICase("v"),
            version.value.elementsEqual("DMARC1".utf8)
        else { return nil }
        var reader = DMARCRecordReader()
        reader.read(text[end...])
        published = reader.published
        isUsable = reader.isUsable
        mistakes = reader.mistakes
    }
}

/// What is wrong with a policy record.
public enum DMARCRecordMistake: Hashable, Sendable, CustomStringConvertible {
    case emptyTag
    /// No `name=value`.
    case notATag
    /// A tag name with capital letters: other readers may not know it.
    case capitalsInName(String)
    /// A tag given again; the first one holds.
    case repeatedTag(String)
    /// A value that the tag cannot have: the tag's default holds.
    case badValue(String)
    /// A tag that nobody knows.
    case unknownTag(String)
    /// A tag of RFC 7489 that RFC 9989 has no more.
    case obsoleteTag(String)
    case noPolicy
    /// A URI in `rua` or `ruf` that is none.
    case badURI(String)
    /// `!size` behind a URI, which RFC 9989 has no more.
    case obsoleteSize(String)
    case tooManyURIs(String)
    case failureOptionsWithoutAddress

    public var description: String {
        switch self {
        case .emptyTag: "an empty tag"
        case .notATag: "a tag that is not name=value"
        case .capitalsInName(let tag): "\(tag)= is not written in lower case"
        case .repeatedTag(let tag): "\(tag)= is given twice; the first one holds"
        case .badValue(let tag): "\(tag)= has no valid value"
        case .unknownTag(let tag): "unknown tag \(tag)="
        case .obsoleteTag(let tag): "\(tag)= is obsolete"
        case .noPolicy: "no p="
        case .badURI(let tag): "\(tag)= has an invalid URI"
        case .obsoleteSize(let tag): "a size limit in \(tag)= is obsolete"
        case .tooManyURIs(let tag): "\(tag)= has more URIs than are read"
        case .failureOptionsWithoutAddress: "fo= without ruf="
        }
    }
}

/// One tag and its value. Source: RFC 9989 §4.8, `dmarc-tag`.
struct DMARCTag {
    var name: ArraySlice<UInt8>
    /// Without white space around it; any octets.
    var value: ArraySlice<UInt8>

    init?(_ spec: ArraySlice<UInt8>) {
        guard let equals = spec.firstIndex(of: 0x3D) else { return nil }
        name = spec[..<equals].trimmingWSP
        value = spec[(equals + 1)...].trimmingWSP
        guard !name.isEmpty, name.allSatisfy(\.isASCIILetter) else { return nil }
    }
}

extension ArraySlice<UInt8> {
    /// Without SP and HTAB at both ends. Source: RFC 9989 §4.8: there is no folding in a record.
    var trimmingWSP: ArraySlice<UInt8> {
        var rest = self
        while rest.first?.isWSP == true { rest.removeFirst() }
        while rest.last?.isWSP == true { rest.removeLast() }
        return rest
    }
}
