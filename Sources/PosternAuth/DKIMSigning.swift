// Signs one message with any number of keys (RFC 6376 §5; RFC 8463 for Ed25519): one DKIM-Signature field for each.
// The body is hashed once as it streams past. Never made: `l=` (anyone could add to the body), `i=` (the SDID is what
// receivers use), `q=` and `z=` (nobody needs them), and rsa-sha1.

public import PosternMail

/// How we sign.
public struct DKIMSigningSettings: Sendable, Hashable {
    public var headerCanonicalization: HeaderCanonicalization
    public var bodyCanonicalization: BodyCanonicalization
    /// Fields to sign; From always is. Oversigned as in `DKIMSigning.defaultFields`, and always when they are not
    /// there. Empty for that list. Received, Return-Path and DKIM-Signature are passed over.
    public var fields: [String]
    /// How long a signature holds; `nil` or nothing positive for ever.
    public var expire: Duration?

    public init(
        headerCanonicalization: HeaderCanonicalization = .relaxed,
        bodyCanonicalization: BodyCanonicalization = .relaxed, fields: [String] = [], expire: Duration? = nil
    ) {
        self.headerCanonicalization = headerCanonicalization
        self.bodyCanonicalization = bodyCanonicalization
        self.fields = fields
        self.expire = expire
    }
}

/// One message on its way to its signatures. Has one owner, the message; calls come one at a time.
public final class DKIMSigning {
    /// How often a field is listed in `h=` beyond the times that it occurs.
    public enum Oversigning: Hashable, Sendable {
        /// Listed once more, so that nobody can add one, also when there is none.
        case always
        /// Listed once more when there is one: forwarders may add the first one.
        case whenPresent
        /// Listed as often as it occurs: forwarders add more of them rightfully.
        case never
    }

    /// What is signed when the settings name no fields: RFC 6376 §5.4.1, and the fields that say how the body is read
    /// (RFC 6376 §8.2 tells why). `List-Unsubscribe-Post` is RFC 8058 §4's demand. Date and Message-ID may be missing:
    /// a submission server behind us adds them rightfully (RFC 6409 §8.2, §8.3).
    public static let defaultFields: [(name: String, oversigning: Oversigning)] = [
        ("From", .always), ("To", .always), ("Cc", .always), ("Subject", .always), ("Date", .whenPresent),
        ("Reply-To", .always), ("Message-ID", .whenPresent), ("In-Reply-To", .always), ("References", .always),
        ("MIME-Version", .always), ("Content-Type", .always), ("Content-Transfer-Encoding", .always),
        ("Sender", .whenPresent), ("List-Id", .whenPresent), ("List-Help", .whenPresent),
        ("List-Unsubscribe", .whenPresent), ("List-Unsubscribe-Post", .whenPresent),
        ("List-Subscribe", .whenPresent), ("List-Post", .whenPresent), ("List-Owner", .whenPresent),
        ("List-Archive", .whenPresent), ("Resent-Date", .never), ("Resent-From", .never), ("Resent-To", .never),
        ("Resent-Cc", .never),
    ]
    /// Never signed: the signature means itself, and each host on the way adds to the others. Source: RFC 6376 §5.4.
    private static let unsignedFields = ["dkim-signature", "received", "return-path"]
    /// Fields of one name that are signed, from the bottom up; keeps `h=` below what verifiers take.
    static let maxOfOneName = 32

    private let keys: [DKIMSigningKey]
    private let settings: DKIMSigningSettings
    private let index: HeaderIndex
    private let now: UnixTime
    private var bodies = BodyDigests()
    private let body: Result<BodyDigest, CryptoError>

    /// - Parameter header: all fields, top to bottom, as the receiver will see them.
    /// - Parameter keys: one signature each.
    public init(header: [HeaderField], keys: [DKIMSigningKey], settings: DKIMSigningSettings, now: UnixTime) {
        self.keys = keys
        self.settings = settings
        self.now = now
        index = HeaderIndex(header)
        var bodies = BodyDigests()
        if keys.isEmpty {
            body = .failure(.openSSL("no key"))  // never asked for
        } else {
            do throws(CryptoError) {
                body = .success(try bodies.digest(settings.bodyCanonicalization))
            } catch { body = .failure(error) }
        }
        self.bodies = bodies
    }

    /// Whether the hash needs more of the body; false from the start when there is no key.
    public var wantsBody: Bool { bodies.needMore }

    /// Takes the next octets of the body: CRLF line ends, cut anywhere.
    public func update(_ chunk: Span<UInt8>) { bodies.update(chunk) }

    /// The body has ended: signs.
    /// - Returns: a field for each key, in their order, to be put on top of the header. Values begin with their SP
    ///   and are folded by CRLF HTAB below 78 columns, where a tag has places to fold.
    /// - Source: RFC 6376 §5.5, §5.6.
    public func finish() throws(CryptoError) -> [HeaderField] {
        guard !keys.isEmpty else { return [] }
        bodies.finish()
        let bodyHash = try body.get().finish()
        let names = signedNames()
        let fields = index.fields(named: names.map { Array($0.utf8).asciiLowercased }, except: nil)
        var signatures: [HeaderField] = []
        for key in keys {
            var field = HeaderField(
                name: Array("DKIM-Signature".utf8), value: value(key: key, names: names, bodyHash: bodyHash))
            let hash = try SignedHeader.hash(
                fields, signature: field, canonicalization: settings.headerCanonicalization, maxOctets: .max)
            guard let hash else { throw .openSSL("header of more than \(Int.max) octets") }
            var folded = FoldedText(column: Self.tabColumns + 2)
            folded.appendBreakable(Base64.encode(try key.privateKey.sign(hash: hash)))
            field.value += folded.octets
            signatures.append(field)
        }
        return signatures
    }

    /// The names for `h=`. Source: RFC 6376 §5.4.
    private func signedNames() -> [String] {
        var names: [String] = []
        for (name, oversigning) in wantedFields() {
            let count = index.count(of: Array(name.utf8).asciiLowercased)
            names += repeatElement(name, count: min(count, Self.maxOfOneName))
            if oversigning == .always || (oversigning == .whenPresent && count > 0) { names.append(name) }
        }
        return names
    }

    private func wantedFields() -> [(name: String, oversigning: Oversigning)] {
        guard !settings.fields.isEmpty else { return Self.defaultFields }
        var seen = Set(Self.unsignedFields.map { Array($0.utf8) })
        var wanted: [(name: String, oversigning: Oversigning)] = []
        for name in ["From"] + settings.fields {  // RFC 6376 §5.4: From MUST be signed
            let lowered = Array(name.utf8).asciiLowercased
            guard Self.isFieldName(lowered), seen.insert(lowered).inserted else { continue }
            let known = Self.defaultFields.first { $0.name.utf8.asciiLowercased == lowered }
            wanted.append((name, known?.oversigning ?? .always))
        }
        return wanted
    }

    /// RFC 5322 §3.6.8, ftext; and no ";", which would end `h=`.
    private static func isFieldName(_ name: [UInt8]) -> Bool {
        !name.isEmpty && name.allSatisfy { $0 > 0x20 && $0 < 0x7F && $0 != 0x3A && $0 != 0x3B }
    }

    // MARK: The field

    /// Columns of the HTAB that begins a folded line.
    fileprivate static let tabColumns = 8

    /// The value up to and including `b=`. Source: RFC 6376 §3.5.
    private func value(key: DKIMSigningKey, names: [String], bodyHash: [UInt8]) -> [UInt8] {
        var text = FoldedText(column: "DKIM-Signature:".utf8.count)
        let (header, body) = (settings.headerCanonicalization, settings.bodyCanonicalization)
        text.append(tag: "v=1;")
        text.append(tag: "a=\(key.privateKey.algorithm.rawValue);")
        text.append(tag: "c=\(header.rawValue)/\(body.rawValue);")
        text.append(tag: "d=\(key.domain);")
        text.append(tag: "s=\(key.selector);")
        let time = max(0, now.seconds)
        text.append(tag: "t=\(time);")
        if let expire = settings.expire, expire > .zero {
            // RFC 6376 §3.5, x=: must be after t=; parts of a second are rounded up.
            text.append(tag: "x=\(max(time + 1, (now + expire).seconds));")
        }
        text.fold()
        text.append("h=")
        for (number, name) in names.enumerated() {
            text.append(name + (number + 1 == names.count ? ";" : ":"))
        }
        text.fold()
        text.append("bh=\(String(decoding: Base64.encode(bodyHash), as: UTF8.self));")
        text.fold()
        text.append("b=")
        return text.octets
    }
}

/// Header text that folds itself: CRLF HTAB between pieces before a line would reach 78 columns.
/// Source: RFC 5322 §2.1.1, §2.2.3.
private struct FoldedText {
    private(set) var octets: [UInt8] = []
    private var column: Int
    private static let maxColumn = 77

    init(column: Int) { self.column = column }

    mutating func fold() {
        octets += [0x0D, 0x0A, 0x09]
        column = DKIMSigning.tabColumns
    }

    /// A piece that is not cut; no white space before it but a fold.
    mutating func append(_ piece: String) {
        if column + piece.utf8.count > Self.maxColumn, column > DKIMSigning.tabColumns { fold() }
        octets += piece.utf8
        column += piece.utf8.count
    }

    /// A tag, with a SP or a fold before it.
    mutating func append(tag: String) {
        if column + 1 + tag.utf8.count > Self.maxColumn, column > DKIMSigning.tabColumns {
            fold()
            octets += tag.utf8
            column += tag.utf8.count
        } else {
            octets.append(0x20)
            octets += tag.utf8
            column += 1 + tag.utf8.count
        }
    }

    /// A text that may be cut anywhere.
    mutating func appendBreakable(_ text: [UInt8]) {
        var rest = text[...]
        while !rest.isEmpty {
            var count = min(rest.count, max(1, Self.maxColumn - column))
            if (1..<4).contains(rest.count - count), count > 4 { count -= 4 }  // no line of padding alone
            octets += rest.prefix(count)
            column += count
            rest = rest.dropFirst(count)
            if !rest.isEmpty { fold() }
        }
    }
}
